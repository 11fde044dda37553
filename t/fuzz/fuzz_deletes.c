/*
 * fuzz_deletes.c - any bytes as DELETES: refused, or read and printed again
 * as something that reads as the same.  The bytes are tried as they are and
 * as lines that get their checksums here.
 */
#include <stdlib.h>

#include "nlt_deletes.h"
#include "nlt_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t store_id[NLT_STORE_ID_BYTES];

/* Refused with a reason, or read, and printed so that it reads the same. */
static void
check(nlt_str_t input)
{
    nlt_delete_list_t *l, *back = NULL;
    nlt_buf_t text, again;
    nlt_err_t err;

    err.len = 0;
    if (nlt_deletes_parse(&nlt_env_posix, input, NULL, &l, &err) != NLT_OK) {
        if (l != NULL || err.len == 0) {
            abort();
        }
        return;
    }
    nlt_buf_init(&text, &nlt_mem_libc, NLT_DELETES_BYTES_MAX);
    nlt_buf_init(&again, &nlt_mem_libc, NLT_DELETES_BYTES_MAX);
    nlt_deletes_print(l, store_id, &text);
    if (text.rc != NLT_OK
        || nlt_deletes_parse(&nlt_env_posix, nlt_buf_str(&text), store_id,
                             &back, &err)
               != NLT_OK) {
        abort();
    }
    nlt_deletes_print(back, store_id, &again);
    if (!nlt_str_eq(nlt_buf_str(&text), nlt_buf_str(&again))) {
        abort();
    }
    nlt_buf_deinit(&again);
    nlt_buf_deinit(&text);
    nlt_deletes_free(&nlt_env_posix, back);
    nlt_deletes_free(&nlt_env_posix, l);
}

/* The lines of the input with right checksums, and their end. */
static void
check_sealed(nlt_str_t input)
{
    nlt_lines_out_t lines;
    nlt_buf_t text;

    nlt_buf_init(&text, &nlt_mem_libc, NLT_DELETES_BYTES_MAX);
    nlt_lines_begin(&lines, &text);
    for (size_t i = 0, from = 0; i <= input.len; i++) {
        if (i == input.len || input.data[i] == '\n') {
            nlt_buf_add(&text, input.data + from, i - from);
            nlt_lines_end_line(&lines);
            from = i + 1;
        }
    }
    nlt_lines_finish(&lines);
    check(nlt_buf_str(&text));
    nlt_buf_deinit(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_str_t input = {size, (const char *) data};

    check(input);
    if (size > 0) {
        check_sealed(input);
    }
    return 0;
}

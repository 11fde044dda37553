/*
 * fuzz_deletes.c - any bytes as DELETES: refused, or read and printed again
 * as something that reads as the same.
 */
#include <stdlib.h>

#include "nlt_deletes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t store_id[NLT_STORE_ID_BYTES];

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_delete_list_t *l, *back = NULL;
    nlt_buf_t text, again;
    nlt_err_t err;

    err.len = 0;
    if (nlt_deletes_parse(&nlt_env_posix,
                          (nlt_str_t){size, (const char *) data}, NULL, &l,
                          &err)
        != NLT_OK) {
        if (l != NULL || err.len == 0) {
            abort();
        }
        return 0;
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
    return 0;
}

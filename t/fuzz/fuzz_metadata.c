/*
 * fuzz_metadata.c - the parser of METADATA on any bytes.
 *
 * The bytes are a text; when its first byte is '!', the lines behind it get
 * right checksums, since no fuzzer guesses a CRC.  What parses prints to a
 * text that parses to the same.
 */
#include <stdlib.h>

#include "fuzz_lines.h"
#include "nlt_metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t id[NLT_STORE_ID_BYTES] = "0123456789abcdef";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_str_t text = {size, (const char *) data};
    nlt_metadata_list_t l, again;
    nlt_buf_t fixed, out;
    nlt_pool_t pool;
    nlt_err_t err;

    nlt_buf_init(&fixed, &nlt_mem_libc, 1 << 20);
    nlt_buf_init(&out, &nlt_mem_libc, 1 << 20);
    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    if (size > 0 && data[0] == '!') {
        fuzz_add_checksums((nlt_str_t){size - 1, text.data + 1}, &fixed);
        text = nlt_buf_str(&fixed);
    }
    if (nlt_metadata_parse(text, NULL, &pool, &l, &err) == NLT_OK) {
        nlt_metadata_print(&l, id, &out);
        if (out.rc != NLT_OK
            || nlt_metadata_parse(nlt_buf_str(&out), id, &pool, &again, &err)
                   != NLT_OK
            || again.n != l.n) {
            abort();
        }
        for (size_t i = 0; i < l.n; i++) {
            if (again.v[i].tenant != l.v[i].tenant
                || again.v[i].type != l.v[i].type
                || again.seen_ms[i] != l.seen_ms[i]
                || !nlt_str_eq(again.v[i].name, l.v[i].name)
                || !nlt_str_eq(again.v[i].help, l.v[i].help)
                || !nlt_str_eq(again.v[i].unit, l.v[i].unit)) {
                abort();
            }
        }
    }
    nlt_pool_deinit(&pool);
    nlt_buf_deinit(&out);
    nlt_buf_deinit(&fixed);
    return 0;
}

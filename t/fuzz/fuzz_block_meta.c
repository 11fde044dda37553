/*
 * fuzz_block_meta.c - arbitrary text as meta.json.
 *
 * What is read and printed again reads the same.
 */
#include <stdlib.h>

#include "nlt_block_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_str_t text = {size, (const char *) data};
    nlt_block_meta_t m, again;
    nlt_pool_t pool;
    nlt_buf_t b;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    if (nlt_block_meta_parse(&pool, text, &m, &err) == NLT_OK) {
        nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
        nlt_block_meta_print(&b, &m);
        if (b.rc != NLT_OK
            || nlt_block_meta_parse(&pool, nlt_buf_str(&b), &again, &err)
                   != NLT_OK
            || again.t_min_ms != m.t_min_ms || again.t_end_ms != m.t_end_ms
            || again.n_samples != m.n_samples || again.arena != m.arena
            || again.level != m.level || again.n_parents != m.n_parents
            || memcmp(&again.ulid, &m.ulid, sizeof(m.ulid)) != 0) {
            abort();
        }
        nlt_buf_deinit(&b);
    }
    nlt_pool_deinit(&pool);
    return 0;
}

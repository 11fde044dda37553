/*
 * fuzz_tombstones.c - any bytes as tombstones: refused, or intervals of
 * ascending series that are joined and read the same when written again.  The
 * bytes are tried as a file and as its entries, with a right checksum.
 */
#include <stdlib.h>

#include "nlt_tombstones.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const nlt_tombstones_t *t, nlt_buf_t *out)
{
    nlt_tombstones_begin(out);
    for (size_t i = 0; i < t->n; i++) {
        size_t n;
        const nlt_interval_t *v = nlt_tombstones_of(t, t->id[i], &n);

        if (n == 0 || (i > 0 && t->id[i] <= t->id[i - 1])) {
            abort();
        }
        for (size_t k = 0; k < n; k++) {
            if (v[k].t_min_ms > v[k].t_max_ms
                || (k > 0 && v[k].t_min_ms - 1 <= v[k - 1].t_max_ms)) {
                abort();
            }
            nlt_tombstones_add(out, t->id[i], &v[k]);
        }
    }
    nlt_tombstones_end(out);
}

static void
check_file(nlt_str_t input)
{
    nlt_tombstones_t t;
    nlt_buf_t text, again;
    nlt_pool_t pool;
    nlt_err_t err;

    err.len = 0;
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_buf_init(&text, &nlt_mem_libc, 64 << 20);
    nlt_buf_init(&again, &nlt_mem_libc, 64 << 20);
    if (nlt_tombstones_parse(&pool, input, &t, &err) == NLT_OK) {
        check(&t, &text);
        if (nlt_tombstones_parse(&pool, nlt_buf_str(&text), &t, &err)
            != NLT_OK) {
            abort();
        }
        check(&t, &again);
        if (!nlt_str_eq(nlt_buf_str(&text), nlt_buf_str(&again))) {
            abort();
        }
    } else if (t.n != 0 || err.len == 0) {
        abort();
    }
    nlt_buf_deinit(&again);
    nlt_buf_deinit(&text);
    nlt_pool_deinit(&pool);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_buf_t file;

    check_file((nlt_str_t){size, (const char *) data});
    nlt_buf_init(&file, &nlt_mem_libc, 64 << 20);
    nlt_tombstones_begin(&file);
    nlt_buf_add(&file, data, size);
    nlt_tombstones_end(&file);
    check_file(nlt_buf_str(&file));
    nlt_buf_deinit(&file);
    return 0;
}

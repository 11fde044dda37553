/*
 * fuzz_index.c - arbitrary bytes as the index of a block.
 *
 * Checksums would stop nearly every input at the door, so each is tried as it
 * is, and once more with all checksums that can be found made right.
 */
#include <stdlib.h>

#include "nlt_hash.h"
#include "nlt_index_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
use(const uint8_t *data, size_t size)
{
    nlt_index_file_t *ix;
    nlt_pool_t pool;
    nlt_err_t err;

    if (nlt_index_file_open(&nlt_mem_libc, data, size, &ix, &err) != NLT_OK) {
        return;
    }
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    (void) !nlt_index_file_validate(ix, &pool, NULL, &err);
    for (size_t i = 0; i < nlt_index_file_n_names(ix); i++) {
        nlt_str_t name = nlt_index_file_name(ix, i);
        nlt_index_values_t it = nlt_index_file_values(ix, name);
        nlt_postings_t list, again;
        uint64_t ref;

        (void) nlt_index_file_find_symbol(ix, name, &ref);
        while (nlt_index_values_next(&it)) {
            nlt_pool_mark_t mark = nlt_pool_mark(&pool);

            /* Either way to a list leads to the same one. */
            if (nlt_index_file_postings_at(ix, &pool, it.postings_off, &list,
                                           &err)
                == NLT_OK) {
                if (nlt_index_file_postings(ix, &pool, name, it.value, &again,
                                            &err)
                        != NLT_OK
                    || again.n != list.n
                    || nlt_index_file_postings_n(ix, it.postings_off)
                           != list.n) {
                    if (!pool.over_budget) {
                        abort();
                    }
                }
            }
            nlt_pool_rewind(&pool, mark);
        }
    }
    nlt_pool_deinit(&pool);
    nlt_index_file_close(ix);
}

/* be32 length, content, be32 checksum at off, if it lies in p. */
static void
seal(uint8_t *p, size_t size, uint64_t off)
{
    uint32_t n;

    if (off > size || size - off < 8) {
        return;
    }
    n = nlt_be32(p + off);
    if (n <= size - off - 8) {
        nlt_put_be32(p + off + 4 + n, nlt_crc32c(0, p + off + 4, n));
    }
}

static void
seal_series(uint8_t *p, size_t size, uint64_t off, uint64_t end)
{
    for (off = nlt_align_u64(off, 16); off < end && off < size; off += 16) {
        nlt_reader_t r = nlt_reader(p + off, size - off);
        uint64_t n = nlt_read_uvarint(&r);

        if (!r.failed && nlt_reader_left(&r) >= 4
            && n <= nlt_reader_left(&r) - 4) {
            size_t at = (size_t) (r.p - p);

            nlt_put_be32(p + at + n, nlt_crc32c(0, p + at, n));
            off += (at + n + 4 - off) / 16 * 16;
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *p, *toc;

    use(data, size);
    if (size < 5 + NLT_INDEX_TOC_BYTES) {
        return 0;
    }
    p = malloc(size);
    if (p == NULL) {
        abort();
    }
    memcpy(p, data, size);
    toc = p + size - NLT_INDEX_TOC_BYTES;
    size_t n = size - NLT_INDEX_TOC_BYTES;
    uint64_t postings = nlt_be64(toc + 32), table = nlt_be64(toc + 40);

    for (uint64_t off = postings; off < table && off < n; off += 4) {
        uint64_t before = off;

        seal(p, n, off);
        if (n - off >= 8 && nlt_be32(p + off) <= n - off - 8) {
            off += (nlt_be32(p + off) + 4) / 4 * 4;
        }
        if (off < before) {
            break;
        }
    }
    seal_series(p, n, nlt_be64(toc + 8), postings);
    seal(p, n, table);
    seal(p, n, nlt_be64(toc));
    nlt_put_be32(toc + 48, nlt_crc32c(0, toc, 48));
    use(p, size);
    free(p);
    return 0;
}

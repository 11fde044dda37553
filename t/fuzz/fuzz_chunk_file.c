/*
 * fuzz_chunk_file.c - arbitrary bytes as a segment of chunks.
 *
 * Walks the chunks one after another, with checksums made right, and decodes
 * those that say they are XOR chunks.
 */
#include <stdlib.h>

#include "nlt_bytes.h"
#include "nlt_chunk_file.h"
#include "nlt_hash.h"
#include "nlt_xor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
decode(nlt_str_t data)
{
    uint32_t n = data.len < 2 ? 0 : nlt_be16(data.data);
    int64_t *t = malloc(n * sizeof(*t) + 1);
    double *v = malloc(n * sizeof(*v) + 1);

    if (t == NULL || v == NULL) {
        abort();
    }
    if (n > 0) {
        (void) !nlt_xor_decode((const uint8_t *) data.data + 2, data.len - 2,
                               n, t, v, NULL, NULL);
    }
    free(t);
    free(v);
}

/* The checksum of the chunk at off, if it lies in p. */
static void
seal(uint8_t *p, size_t size, uint64_t off)
{
    nlt_reader_t r = nlt_reader(p + off, (size_t) (size - off));
    uint64_t n = nlt_read_uvarint(&r);

    if (!r.failed && nlt_reader_left(&r) >= 5
        && n <= nlt_reader_left(&r) - 5) {
        size_t at = (size_t) (r.p - p);

        nlt_put_be32(p + at + n + 1, nlt_crc32c(0, p + at, n + 1));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t off = NLT_CHUNK_FILE_HEADER_BYTES, end;
    nlt_chunk_view_t view;
    nlt_err_t err;
    uint8_t *p;

    (void) !nlt_chunk_file_check(data, size, &err);
    for (uint64_t at = 0; at < 64; at++) {
        (void) !nlt_chunk_file_get(data, size, at, &view, NULL, &err);
    }
    p = malloc(size + 1);
    if (p == NULL) {
        abort();
    }
    memcpy(p, data, size);
    while (off < size) {
        seal(p, size, off);
        if (nlt_chunk_file_get(p, size, off, &view, &end, &err) != NLT_OK) {
            break;
        }
        if (end <= off || end > size) {
            abort();
        }
        if (view.encoding == NLT_CHUNK_XOR) {
            decode(view.data);
        }
        off = end;
    }
    free(p);
    return 0;
}

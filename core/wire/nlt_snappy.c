/*
 * nlt_snappy.c - snappy blocks, by the snappy library's C interface.
 *
 * The length in front of a block is the sender's claim.  It is believed only
 * within max, and only when the block is long enough to produce that much:
 * the densest element is a copy of 3 bytes that emits 64.
 */
#include <snappy-c.h>

#include "nlt_remote_write.h"

#define COPY_BYTES 3
#define COPY_EMITS 64

static nlt_rc_t
corrupt(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_EINVAL, "s2: corrupt input");
}

nlt_rc_t
nlt_snappy_length(nlt_str_t body, size_t max, size_t *out, nlt_err_t *err)
{
    size_t n;

    *out = 0;
    if (body.len == 0
        || snappy_uncompressed_length(body.data, body.len, &n) != SNAPPY_OK) {
        return corrupt(err);
    }
    if (n > max) {
        return nlt_err_set(err, NLT_ETOOBIG,
                           "decoded size exceeds the %zu bytes limit", max);
    }
    if (n / COPY_EMITS > body.len / COPY_BYTES + 1) {
        return corrupt(err);
    }
    *out = n;
    return NLT_OK;
}

nlt_rc_t
nlt_snappy_decode(nlt_str_t body, char *out, size_t n, nlt_err_t *err)
{
    size_t len = n;

    if (snappy_uncompress(body.data, body.len, out, &len) != SNAPPY_OK
        || len != n) {
        return corrupt(err);
    }
    return NLT_OK;
}

size_t
nlt_snappy_bound(size_t n)
{
    return snappy_max_compressed_length(n);
}

size_t
nlt_snappy_encode(nlt_str_t in, char *out)
{
    size_t n = snappy_max_compressed_length(in.len);

    return snappy_compress(in.data, in.len, out, &n) == SNAPPY_OK ? n : 0;
}

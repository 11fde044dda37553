/*
 * fuzz_dense.c - arbitrary bytes as a dense chunk, and as values.
 *
 *   byte 0, 1    the number of values, little-endian, modulo the maximum
 *   rest         a chunk of that many; and doubles, which must come back
 */
#include <stdlib.h>

#include "nlt_dense.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static nlt_dense_work_t work;
static uint8_t out[32 * NLT_DENSE_SAMPLES_MAX + 4096];

static void
decode(const uint8_t *p, size_t len, size_t n)
{
    double *v = malloc(n * sizeof(*v));
    int64_t *t = malloc(n * sizeof(*t));

    if (v == NULL || t == NULL) {
        abort();
    }
    (void) !nlt_dense_decode_values(p, len, n, 0, n, v);
    (void) !nlt_dense_decode_values(p, len, n, n / 2, n / 2 + 1, v);
    (void) !nlt_dense_decode_times(p, len, n, 0, n, t);
    free(v);
    free(t);
}

static void
round_trip(const uint8_t *p, size_t n)
{
    double *v = malloc(n * sizeof(*v)), *back = malloc(n * sizeof(*v));
    size_t len;

    if (v == NULL || back == NULL) {
        abort();
    }
    memcpy(v, p, n * sizeof(*v));
    len = nlt_dense_encode_values(&work, v, n, out);
    if (len > nlt_dense_bytes_max(n)
        || nlt_dense_decode_values(out, len, n, 0, n, back) != NLT_OK
        || memcmp(v, back, n * sizeof(*v)) != 0) {
        abort();
    }
    free(v);
    free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n;

    if (size < 3) {
        return 0;
    }
    n = (size_t) (data[0] | data[1] << 8) % NLT_DENSE_SAMPLES_MAX + 1;
    decode(data + 2, size - 2, n);
    n = (size - 2) / 8;
    if (n > 0) {
        round_trip(data + 2,
                   n < NLT_DENSE_SAMPLES_MAX ? n : NLT_DENSE_SAMPLES_MAX);
    }
    return 0;
}

/*
 * fuzz_xor.c - arbitrary bytes as an XOR chunk: count header and stream.
 *
 * What decodes must survive encoding, greedy and with look-ahead, and being
 * joined to itself as it is.
 */
#include <stdlib.h>

#include "nlt_bytes.h"
#include "nlt_xor_many.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_encodes(const int64_t *t, const double *v, uint32_t n, unsigned ahead)
{
    uint8_t *p = malloc(nlt_xor_chunk_bytes_max(n));
    int64_t *t2 = malloc(n * sizeof(*t2));
    double *v2 = malloc(n * sizeof(*v2));
    size_t len;

    if (p == NULL || t2 == NULL || v2 == NULL) {
        abort();
    }
    len = nlt_xor_encode_chunk(t, v, n, ahead, p);
    if (len > nlt_xor_chunk_bytes_max(n)
        || nlt_xor_decode(p + 2, len - 2, n, t2, v2, NULL, NULL) != NLT_OK
        || memcmp(t, t2, n * sizeof(*t)) != 0
        || memcmp(v, v2, n * sizeof(*v)) != 0) {
        abort();
    }
    free(p);
    free(t2);
    free(v2);
}

static void
check_joins(const uint8_t *stream, const nlt_xor_state_t *end, uint64_t n_bits,
            const int64_t *t, const double *v)
{
    uint32_t n = end->count;
    uint8_t *p = malloc(nlt_xor_chunk_bytes_max(2 * (size_t) n));
    int64_t *t2 = malloc(2 * n * sizeof(*t2));
    double *v2 = malloc(2 * n * sizeof(*v2));
    nlt_xor_join_t j;
    size_t len = 0;

    if (p == NULL || t2 == NULL || v2 == NULL) {
        abort();
    }
    nlt_xor_join_init(&j);
    for (int i = 0; i < 2; i++) {
        len = nlt_xor_join(&j, stream, end, n_bits, t, v, p);
    }
    if (len > nlt_xor_chunk_bytes_max(2 * (size_t) n)
        || nlt_xor_decode(p + 2, len - 2, 2 * n, t2, v2, NULL, NULL) != NLT_OK
        || memcmp(t, t2, n * sizeof(*t)) != 0
        || memcmp(v, v2, n * sizeof(*v)) != 0
        || memcmp(t, t2 + n, n * sizeof(*t)) != 0
        || memcmp(v, v2 + n, n * sizeof(*v)) != 0) {
        abort();
    }
    free(p);
    free(t2);
    free(v2);
}

/* The stream in six lanes, or whatever there is, is as by itself. */
static void
check_form(nlt_xor_form_t form, const uint8_t *data, size_t len, uint32_t n)
{
    enum {
        JOBS = 6
    };
    uint8_t *p = calloc(1, len + NLT_XOR_MANY_PAD);
    int64_t *t = malloc((JOBS + 1) * n * sizeof(*t) + 1);
    double *v = malloc((JOBS + 1) * n * sizeof(*v) + 1);
    nlt_xor_job_t job[JOBS];
    nlt_rc_t rc;

    if (p == NULL || t == NULL || v == NULL) {
        abort();
    }
    memcpy(p, data, len);
    for (size_t i = 0; i < JOBS; i++) {
        job[i] = (nlt_xor_job_t){
            .p = p, .len = len, .count = n, .t_ms = t + i * n, .v = v + i * n};
    }
    nlt_xor_decode_many_by(form, job, JOBS);
    rc = nlt_xor_decode_rising(data, len, n, t + JOBS * n, v + JOBS * n, NULL,
                               NULL);
    for (size_t i = 0; i < JOBS; i++) {
        if (job[i].rc != rc
            || (rc == NLT_OK
                && (memcmp(job[i].t_ms, t + JOBS * n, n * sizeof(*t)) != 0
                    || memcmp(job[i].v, v + JOBS * n, n * sizeof(*v)) != 0))) {
            abort();
        }
    }
    free(p);
    free(t);
    free(v);
}

static void
check_many(const uint8_t *data, size_t len, uint32_t n)
{
    for (nlt_xor_form_t f = NLT_XOR_ONE; f <= nlt_xor_many_form(); f++) {
        check_form(f, data, len, n);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nlt_xor_state_t state;
    uint64_t n_bits;
    uint32_t n;
    int64_t *t;
    double *v;

    if (size < 2) {
        return 0;
    }
    n = nlt_be16(data);
    t = malloc(n * sizeof(*t) + 1);
    v = malloc(n * sizeof(*v) + 1);
    if (t == NULL || v == NULL) {
        abort();
    }
    check_many(data + 2, size - 2, n);
    if (nlt_xor_decode(data + 2, size - 2, n, t, v, &state, &n_bits) == NLT_OK
        && n > 0) {
        if (n_bits > (size - 2) * 8 || state.count != n) {
            abort();
        }
        check_encodes(t, v, n, 0);
        check_encodes(t, v, n, 16);
        if (n <= NLT_XOR_SAMPLES_MAX / 2) {
            check_joins(data + 2, &state, n_bits, t, v);
        }
    }
    free(t);
    free(v);
    return 0;
}

/*
 * bench_xor.c - what XOR chunks cost, in JSON lines.
 *
 *   bench_xor [series]      default 400, of 5760 samples each
 *
 * Samples are 15 s apart with a jitter of 5 ms.  Four kinds of series in
 * equal parts: counters of integers, counters of float seconds, gauges of
 * two decimals, and constants.  Sizes are of complete chunks, count header
 * included; times are of one thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "nlt_xor.h"

#define N     5760
#define CHUNK 480

static uint64_t state = 1;

static uint64_t
rnd(uint64_t n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (state >> 33) % n;
}

static double
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

static void
make_series(size_t kind, int64_t *t, double *v)
{
    double x = (double) rnd(100000), step = 1 + (double) rnd(200);

    for (size_t i = 0; i < N; i++) {
        t[i] = INT64_C(1700000000000) + (int64_t) (i * 15000 + rnd(11)) - 5;
        switch (kind % 4) {
        case 0:
            x += (double) (uint64_t) (step * (double) rnd(1000) / 500);
            v[i] = x;
            break;
        case 1:
            x += (double) rnd(15000) / 1000;
            v[i] = x;
            break;
        case 2:
            v[i] = (double) (5000 + rnd(2000)) / 100;
            break;
        default:
            v[i] = x;
            break;
        }
    }
}

/* Encodes and decodes all series; one line. */
static void
run(size_t n_series, unsigned ahead, size_t chunk, int64_t *t, double *v,
    uint8_t *out)
{
    static int64_t t2[N];
    static double v2[N];
    double enc = 0, dec = 0, from;
    size_t total = 0, n = n_series * N;

    for (size_t s = 0; s < n_series; s++) {
        for (size_t i = 0; i < N; i += chunk) {
            size_t k = i + chunk < N ? chunk : N - i, len;
            const int64_t *tc = t + s * N + i;
            const double *vc = v + s * N + i;

            from = now_ns();
            len = nlt_xor_encode_chunk(tc, vc, k, ahead, out);
            enc += now_ns() - from;
            total += len;
            from = now_ns();
            if (nlt_xor_decode(out + 2, len - 2, (uint32_t) k, t2, v2, NULL,
                               NULL)
                != NLT_OK) {
                exit(1);
            }
            dec += now_ns() - from;
        }
    }
    printf("{\"bench\":\"xor\",\"samples_per_chunk\":%zu,\"lookahead\":%u,"
           "\"samples\":%zu,\"bytes_per_sample\":%.3f,"
           "\"encode_ns\":%.2f,\"decode_ns\":%.2f}\n",
           chunk, ahead, n, (double) total / (double) n, enc / (double) n,
           dec / (double) n);
}

int
main(int argc, char **argv)
{
    size_t n_series = argc > 1 ? strtoul(argv[1], NULL, 10) : 400;
    int64_t *t = malloc(n_series * N * sizeof(*t));
    double *v = malloc(n_series * N * sizeof(*v));
    uint8_t *out = malloc(nlt_xor_chunk_bytes_max(N));

    if (n_series == 0 || t == NULL || v == NULL || out == NULL) {
        return 1;
    }
    for (size_t s = 0; s < n_series; s++) {
        make_series(s, t + s * N, v + s * N);
    }
    run(n_series, 0, 120, t, v, out);
    run(n_series, 0, CHUNK, t, v, out);
    run(n_series, 16, 120, t, v, out);
    run(n_series, 16, CHUNK, t, v, out);
    free(t);
    free(v);
    free(out);
    return 0;
}

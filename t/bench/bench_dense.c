/*
 * bench_dense.c - what dense chunks cost, in JSON lines.
 *
 *   bench_dense [series]     default 20 of each model, of 5760 samples
 *
 * Sizes are of values alone, without frame; "decode_hour_ns" is the time to
 * decode 240 values in the middle of a chunk.  One thread, the fastest of
 * three rounds.
 */
#include <stdio.h>
#include <time.h>

#include "nlt_dense.h"
#include "nlt_dense_models.h"

#define N 5760

static nlt_dense_work_t work;
static double v[N], back[N];
static int64_t t[N], t_back[N];
static uint8_t out[32 * N + 4096];

typedef struct {
    double bytes;
    double enc_ns;
    double dec_ns;
    double hour_ns;
    double n;
} sum_t;

static double
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

static void
fail(const char *what)
{
    fprintf(stderr, "bench_dense: %s\n", what);
    exit(1);
}

/* The best of three. */
static void
take(double *best, double from)
{
    double ns = now_ns() - from;

    *best = *best == 0 || ns < *best ? ns : *best;
}

static void
one_chunk(const double *p, size_t n, sum_t *s)
{
    double enc = 0, dec = 0, hour = 0, from;
    size_t len = 0, k = n < 240 ? n : 240, at = (n - k) / 2;

    for (int round = 0; round < 3; round++) {
        from = now_ns();
        len = nlt_dense_encode_values(&work, p, n, out);
        take(&enc, from);
        from = now_ns();
        if (nlt_dense_decode_values(out, len, n, 0, n, back) != NLT_OK
            || memcmp(back, p, n * sizeof(*p)) != 0) {
            fail("a chunk came back otherwise");
        }
        take(&dec, from);
        from = now_ns();
        if (nlt_dense_decode_values(out, len, n, at, at + k, back) != NLT_OK) {
            fail("a part could not be read");
        }
        take(&hour, from);
    }
    s->bytes += (double) len;
    s->enc_ns += enc;
    s->dec_ns += dec;
    s->hour_ns += hour;
    s->n += (double) n;
}

static void
print(const char *name, size_t chunk, const sum_t *s)
{
    printf("{\"bench\":\"dense\",\"model\":\"%s\",\"samples_per_chunk\":%zu,"
           "\"bytes_per_sample\":%.3f,\"encode_ns\":%.2f,\"decode_ns\":%.2f,"
           "\"decode_hour_ns\":%.0f}\n",
           name, chunk, s->bytes / s->n, s->enc_ns / s->n, s->dec_ns / s->n,
           s->hour_ns / (s->n / (double) chunk));
}

static void
run(size_t n_series, size_t chunk)
{
    sum_t realistic = {0, 0, 0, 0, 0};

    model_state = 1;
    for (model_t m = 0; m < M_END; m++) {
        sum_t s = {0, 0, 0, 0, 0};

        for (size_t i = 0; i < n_series; i++) {
            model_values(m, v, N);
            for (size_t at = 0; at + chunk <= N; at += chunk) {
                one_chunk(v + at, chunk, &s);
            }
        }
        print(model_names[m], chunk, &s);
        if (m < M_REALISTIC_END) {
            realistic.bytes += s.bytes;
            realistic.enc_ns += s.enc_ns;
            realistic.dec_ns += s.dec_ns;
            realistic.hour_ns += s.hour_ns;
            realistic.n += s.n;
        }
    }
    print("all_realistic", chunk, &realistic);
}

int
main(int argc, char **argv)
{
    size_t n_series = argc > 1 ? strtoul(argv[1], NULL, 10) : 20, len;
    double enc = 0, dec = 0, from;

    if (n_series == 0) {
        return 1;
    }
    run(n_series, 480);
    run(n_series, 5760);
    model_times(t, N);
    for (int round = 0; round < 3; round++) {
        from = now_ns();
        len = nlt_dense_encode_times(&work, t, N, out);
        take(&enc, from);
        from = now_ns();
        if (nlt_dense_decode_times(out, len, N, 0, N, t_back) != NLT_OK
            || memcmp(t, t_back, sizeof(t)) != 0) {
            fail("times came back otherwise");
        }
        take(&dec, from);
    }
    printf("{\"bench\":\"dense_times\",\"bytes_per_sample\":%.3f,"
           "\"encode_ns\":%.2f,\"decode_ns\":%.2f}\n",
           (double) len / N, enc / N, dec / N);
    return 0;
}

/*
 * nlt_dense_models.h - series as they occur, for test and bench of dense.
 *
 * Three families: what exporters send (realistic: counters, gauges of few
 * decimals, constants, sizes in pages, histogram buckets), what programs
 * under load show (bursts: long idle times, steps, resets, sums of
 * durations), and what no decimal is (hard: noise of all digits, specials,
 * numbers beyond 2^53, random bits).
 */
#ifndef NLT_DENSE_MODELS_H
#define NLT_DENSE_MODELS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nlt_types.h"

typedef enum {
    M_CONST,
    M_GAUGE_INT,
    M_GAUGE_3,
    M_PAGES,
    M_COUNTER,
    M_COUNTER_6,
    M_COUNTER_2,
    M_BUCKET,
    M_REALISTIC_END,
    M_IDLE = M_REALISTIC_END,
    M_STEPS,
    M_RESETS,
    M_SUM,
    M_UNIX,
    M_LINE,
    M_BURSTS_END,
    M_WALK = M_BURSTS_END,
    M_DIGITS_17,
    M_SPECIALS,
    M_HUGE,
    M_FLOAT32,
    M_BITS,
    M_NAN_ONLY,
    M_DENORMAL,
    M_END
} model_t;

static const char *const model_names[M_END] = {
    "const",     "gauge_int", "gauge_3",  "pages",   "counter", "counter_6",
    "counter_2", "bucket",    "idle",     "steps",   "resets",  "sum",
    "unix",      "line",      "walk",     "digits",  "special", "huge",
    "float32",   "bits",      "nan_only", "denormal"};

static uint64_t model_state = 1;

static inline uint64_t
model_u64(void)
{
    uint64_t z = model_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t
model_rand(uint64_t n)
{
    return model_u64() % n;
}

static inline double
model_from_bits(uint64_t u)
{
    double v;

    memcpy(&v, &u, sizeof(v));
    return v;
}

static inline double
model_special(void)
{
    static const uint64_t v[] = {
        UINT64_C(0x7ff0000000000002), UINT64_C(0x7ff8000000000001),
        UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000),
        UINT64_C(0x8000000000000000), UINT64_C(0xfff8dead0000beef),
        UINT64_C(0x0000000000000001), UINT64_C(0x7fefffffffffffff),
        UINT64_C(0x800fffffffffffff), UINT64_C(0x7ff4000000000000),
    };

    return model_from_bits(v[model_rand(10)]);
}

/* The next value of a model whose state is x and y. */
static inline double
model_next(model_t m, double *x, double *y)
{
    double u = (double) model_rand(1000000) / 1e6;

    switch (m) {
    case M_CONST:
        return *x;
    case M_GAUGE_INT:
        *x += (double) model_rand(7) - 3;
        return *x;
    case M_GAUGE_3:
        return floor(300000 + 20000 * u) / 1000;
    case M_PAGES:
        return 4096 * (30000 + (double) model_rand(900));
    case M_COUNTER:
        return *x += (double) model_rand(1 + (uint64_t) *y);
    case M_COUNTER_6:
        *x += floor(*y * 1000 * u);
        return *x / 1e6;
    case M_COUNTER_2:
        *x += (double) model_rand(30);
        return *x / 100;
    case M_BUCKET:
        return *x += floor(*y / 50 + 4 * u);
    case M_IDLE:
        return *x += model_rand(200) ? 0 : 1;
    case M_STEPS:
        return *x = model_rand(40) ? *x : (double) model_rand(1000) / 10;
    case M_RESETS:
        return *x = model_rand(500) ? *x + (double) model_rand(9) : 0;
    case M_SUM:
        return *x += (double) model_rand(15000) / 1e6;
    case M_UNIX:
        return 1.7e9 + (*x += 15 + (double) model_rand(3) / 1000);
    case M_LINE:
        return *x += *y;
    case M_WALK:
        return *x += u - 0.5;
    case M_DIGITS_17:
        return exp(6 * u) / 1000;
    case M_SPECIALS:
        return model_rand(30) ? floor(500 * u) / 10 : model_special();
    case M_HUGE:
        return *x += 9e15 * (1 + u);
    case M_FLOAT32:
        return (double) (float) u;
    case M_BITS:
        return model_from_bits(model_u64());
    case M_NAN_ONLY:
        return model_rand(5) ? model_from_bits(0x7ff0000000000002)
                             : model_special();
    default:
        return model_from_bits(model_rand(1u << 20));
    }
}

static inline void
model_values(model_t m, double *v, size_t n)
{
    double x = (double) model_rand(100000), y = (double) model_rand(400);

    for (size_t i = 0; i < n; i++) {
        v[i] = model_next(m, &x, &y);
    }
}

/* Times 15 s apart, a tenth of them with a jitter of 5 ms. */
static inline void
model_times(int64_t *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        t[i] = INT64_C(1700000000000) + (int64_t) i * 15000;
        if (model_rand(10) == 0) {
            t[i] += (int64_t) model_rand(11) - 5;
        }
    }
}

#endif

/*
 * nlt_test.h - unit tests in C that speak TAP.
 *
 * A test file has functions `static void name(void)` whose names state
 * behaviour, and a main that lists them:
 *
 *     int
 *     main(void)
 *     {
 *         NLT_TEST(wal_read_stops_at_torn_tail);
 *         return nlt_test_done();
 *     }
 *
 * A failed check prints file, line and values, and the test goes on; a test
 * with a failed check is "not ok".  Random tests take their seed from
 * nlt_test_seed(): NLT_TEST_SEED in the environment, or the time; it is
 * printed at the first call, so that a failure can be repeated.  Likewise
 * NLT_TEST_FORMAT, for blocks of stores: nlt_test_dense().
 */
#ifndef NLT_TEST_H
#define NLT_TEST_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nlt_types.h"

/* A NUL-terminated string as a counted one. */
static inline nlt_str_t
nlt_test_str(const char *c)
{
    return (nlt_str_t){strlen(c), c};
}

static int nlt_test_count, nlt_test_failed_tests, nlt_test_failed_checks;
static uint64_t nlt_test_rand_state;

static inline void
nlt_test_fail(const char *file, int line, const char *what)
{
    nlt_test_failed_checks++;
    if (nlt_test_failed_checks < 50) {
        printf("# %s:%d: %s\n", file, line, what);
    }
}

#define NLT_CHECK(cond)                                                       \
    do {                                                                      \
        if (!(cond)) {                                                        \
            nlt_test_fail(__FILE__, __LINE__, "failed: " #cond);              \
        }                                                                     \
    } while (0)

#define NLT_CHECK_INT(got, want)                                              \
    do {                                                                      \
        long long nlt_g_ = (long long) (got), nlt_w_ = (long long) (want);    \
        if (nlt_g_ != nlt_w_) {                                               \
            printf("# got %lld, want %lld\n", nlt_g_, nlt_w_);                \
            nlt_test_fail(__FILE__, __LINE__, #got " == " #want);             \
        }                                                                     \
    } while (0)

/* got: an nlt_str_t; want: a C string. */
#define NLT_CHECK_STR(got, want)                                              \
    do {                                                                      \
        nlt_str_t nlt_g_ = (got);                                             \
        const char *nlt_w_ = (want);                                          \
        if (nlt_g_.len != strlen(nlt_w_)                                      \
            || (nlt_g_.len && memcmp(nlt_g_.data, nlt_w_, nlt_g_.len))) {     \
            printf("# got  '%.*s'\n# want '%s'\n", (int) nlt_g_.len,          \
                   nlt_g_.len ? nlt_g_.data : "", nlt_w_);                    \
            nlt_test_fail(__FILE__, __LINE__, #got " == " #want);             \
        }                                                                     \
    } while (0)

/* Values by their bits: NaN payloads and zero signs count. */
#define NLT_CHECK_BITS(got, want)                                             \
    do {                                                                      \
        double nlt_g_ = (got), nlt_w_ = (want);                               \
        if (memcmp(&nlt_g_, &nlt_w_, sizeof(double)) != 0) {                  \
            printf("# got %.17g, want %.17g\n", nlt_g_, nlt_w_);              \
            nlt_test_fail(__FILE__, __LINE__, #got " == " #want);             \
        }                                                                     \
    } while (0)

#define NLT_TEST(fn)                                                          \
    do {                                                                      \
        int nlt_before_ = nlt_test_failed_checks;                             \
        fn();                                                                 \
        nlt_test_count++;                                                     \
        if (nlt_test_failed_checks != nlt_before_) {                          \
            nlt_test_failed_tests++;                                          \
            printf("not ok %d - %s\n", nlt_test_count, #fn);                  \
        } else {                                                              \
            printf("ok %d - %s\n", nlt_test_count, #fn);                      \
        }                                                                     \
        fflush(stdout);                                                       \
    } while (0)

static inline int
nlt_test_done(void)
{
    printf("1..%d\n", nlt_test_count);
    return nlt_test_failed_tests != 0;
}

static inline uint64_t
nlt_test_seed(void)
{
    const char *s = getenv("NLT_TEST_SEED");
    uint64_t seed = s ? strtoull(s, NULL, 10) : (uint64_t) time(NULL);

    printf("# seed: NLT_TEST_SEED=%" PRIu64 "\n", seed);
    nlt_test_rand_state = seed * 2654435769u + 1;
    return seed;
}

/*
 * Are the blocks of a store that is tested dense?  NLT_TEST_FORMAT=dense or
 * =portable says so; else each run takes one of the two by its seed.
 */
static inline bool
nlt_test_dense(void)
{
    static int dense = -1;

    if (dense < 0) {
        const char *f = getenv("NLT_TEST_FORMAT"),
                   *s = getenv("NLT_TEST_SEED");
        uint64_t seed = s ? strtoull(s, NULL, 10) : (uint64_t) time(NULL);

        dense = f ? strcmp(f, "dense") == 0 : seed % 2 == 1;
        printf("# blocks: NLT_TEST_FORMAT=%s\n", dense ? "dense" : "portable");
    }
    return dense;
}

/* Uniform 64 bits (splitmix64 on nlt_test_rand_state). */
static inline uint64_t
nlt_test_rand(void)
{
    uint64_t z = (nlt_test_rand_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform in [0, n), n > 0. */
static inline uint64_t
nlt_test_below(uint64_t n)
{
    return nlt_test_rand() % n;
}

#endif

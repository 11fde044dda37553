/*
 * nlt_pair.h - two doubles at a time, on every processor.
 *
 * Floor 0 (base).  Compilers turn loops into vectors when they like; these
 * they always do, two by two, which is what each processor of the baseline
 * has instructions for.  Each lane is rounded as if it were alone.
 * Memory, threads: values only.
 */
#ifndef NLT_BASE_PAIR_H
#define NLT_BASE_PAIR_H

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "nlt_types.h"

typedef double nlt_pair_t __attribute__((vector_size(16)));

/* What comparing gives: all bits of a lane, or none. */
typedef int64_t nlt_pair_mask_t __attribute__((vector_size(16)));

static inline nlt_pair_t
nlt_pair_load(const double *p)
{
    nlt_pair_t x;

    memcpy(&x, p, sizeof(x));
    return x;
}

static inline void
nlt_pair_store(double *p, nlt_pair_t x)
{
    memcpy(p, &x, sizeof(x));
}

static inline nlt_pair_t
nlt_pair_of(double x)
{
    return (nlt_pair_t){x, x};
}

/* Of each lane a where m says so, else b. */
static inline nlt_pair_t
nlt_pair_select(nlt_pair_mask_t m, nlt_pair_t a, nlt_pair_t b)
{
    return (nlt_pair_t) (((nlt_pair_mask_t) a & m)
                         | ((nlt_pair_mask_t) b & ~m));
}

/* Lanes where a or b is not a number. */
static inline nlt_pair_mask_t
nlt_pair_any_nan(nlt_pair_t a, nlt_pair_t b)
{
#if defined(__SSE2__)
    return (nlt_pair_mask_t) _mm_cmpunord_pd(a, b);
#else
    return (nlt_pair_mask_t) (a != a) | (nlt_pair_mask_t) (b != b);
#endif
}

/*
 * What t = s + x lost by rounding, exactly (Knuth), unless one of the three is
 * infinite or NaN.
 */
static inline nlt_pair_t
nlt_pair_lost(nlt_pair_t s, nlt_pair_t x, nlt_pair_t t)
{
    nlt_pair_t b = t - s;

    return (s - (t - b)) + (x - b);
}

static inline bool
nlt_pair_any(nlt_pair_mask_t m)
{
    return (m[0] | m[1]) != 0;
}

#endif

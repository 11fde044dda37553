/*
 * nlt_pql_lanes.h - sums over several windows of a series side by side.
 *
 * Floor 3 (promql); uses base.
 * Memory: caller's, never allocates.  Threads: none of its own.
 *
 * A compensated sum is one long chain: every addition waits for the one
 * before.  The windows of a range function overlap, but each is a sum of its
 * own, from its own first sample on, so their chains are independent and run
 * in the lanes of vectors, each in the order in which it runs alone:
 *
 *     v        0 1 2 3 4 5 6 7 8 9 ...
 *     lane 0   [. . . . . .|. .)           at[0] = 0
 *     lane 1       [. . . . . .|.)         at[1] = 2
 *     lane 2           [. . . . . .)       at[2] = 4
 *               common part |rest
 *
 * A kernel does the common part; the rest of the longer windows is done
 * alone, from the state that the kernel left.
 *
 * The error of an addition, which Neumaier finds by comparing the two terms,
 * is taken by Knuth's method here, which needs no comparison.  Both are exact,
 * so both give the same bits, unless something is or becomes infinite or NaN:
 * then the compensation ends as one of those.  So a result whose compensation
 * is finite is Neumaier's; any other has to be found anew, the slow way.
 */
#ifndef NLT_PROMQL_PQL_LANES_H
#define NLT_PROMQL_PQL_LANES_H

#include <stddef.h>
#include <stdint.h>

/* Windows at a time. */
#define NLT_PQL_LANES_SUM  4
#define NLT_PQL_LANES_VAR  8
#define NLT_PQL_LANES_LINE 4
#define NLT_PQL_LANES_MAX  8

/* Greatest distance of a time from its origin, exclusive, ms. */
#define NLT_PQL_LANES_FAR_MS (INT64_C(1) << 51)

/* A sum and its compensation, a lane each. */
typedef struct {
    double sum[NLT_PQL_LANES_MAX];
    double c[NLT_PQL_LANES_MAX];
} nlt_pql_lane_sums_t;

/* Sums of a regression: of x (seconds), y, x * y, x * x. */
typedef struct {
    nlt_pql_lane_sums_t x, y, xy, xx;
    /* Not 0: some value differs from the window's first one. */
    uint64_t varies[NLT_PQL_LANES_MAX];
} nlt_pql_lane_lines_t;

/*
 * The kernels of one instruction set.  Lane k reads the samples from at[k] on,
 * n of them, and begins with sums of 0; all lanes of a kernel have to be
 * given, the same one twice if need be.
 */
typedef struct {
    /* Sums of NLT_PQL_LANES_SUM windows. */
    void (*sum)(const double *v, const size_t *at, size_t n,
                nlt_pql_lane_sums_t *out);
    /* Welford's mean and sum of squared distances (m2) of NLT_PQL_LANES_VAR
     * windows, both compensated. */
    void (*variance)(const double *v, const size_t *at, size_t n,
                     nlt_pql_lane_sums_t *mean, nlt_pql_lane_sums_t *m2);
    /* Regressions of NLT_PQL_LANES_LINE windows, x from origin_ms[k], which
     * must be less than NLT_PQL_LANES_FAR_MS away. */
    void (*line)(const int64_t *t_ms, const double *v, const size_t *at,
                 const int64_t *origin_ms, size_t n,
                 nlt_pql_lane_lines_t *out);
    /* The same, but for the sums of x and x * x, which are left alone. */
    void (*line_y)(const int64_t *t_ms, const double *v, const size_t *at,
                   const int64_t *origin_ms, size_t n,
                   nlt_pql_lane_lines_t *out);
} nlt_pql_lanes_t;

/* The quickest kernels for this processor.  O(1). */
const nlt_pql_lanes_t *nlt_pql_lanes(void);

/* All that this processor can run: the i-th, or NULL after the last. */
const nlt_pql_lanes_t *nlt_pql_lanes_at(size_t i);

#endif

/*
 * nlt_pql_fn.h - what the function files of PromQL share (internal).
 *
 * Floor 3 (promql); uses base, model, nlt_pql_func.
 * Follows: prometheus promql/functions.go and promql/quantile.go in every
 * rounding; differs: nothing.
 *
 * Two families, both pure and declared by their types: RANGE functions fold
 * a window to one value (and some, as STEPS, all windows of a series in one
 * pass), MAP functions change one value.  Besides them the
 * arithmetic that the evaluator needs for what works on whole vectors:
 * compensated sums, quantiles, classic histograms.
 *
 * Numbers: the order of float operations is part of PromQL's contract, so
 * sums are Neumaier's variant of Kahan's, kept as (sum, c) pairs and added up
 * once at the end.  The build must not contract a * b + c nor reorder.
 */
#ifndef NLT_PROMQL_PQL_FN_H
#define NLT_PROMQL_PQL_FN_H

#include <math.h>

#include "nlt_pql_func.h"

/* Declares or begins the definition of nlt_pql_fn_<name>. */
#define NLT_PQL_RANGE_FN(name)                                                \
    bool nlt_pql_fn_##name(nlt_pql_fctx_t *f, const nlt_pql_window_t *w,      \
                           double *out)
/* The same for all windows of a series, nlt_pql_steps_<name>. */
#define NLT_PQL_STEPS_FN(name)                                                \
    void nlt_pql_steps_##name(nlt_pql_fctx_t *f, const nlt_pql_steps_t *s,    \
                              double *out, uint64_t *present)
#define NLT_PQL_MAP_FN(name)                                                  \
    bool nlt_pql_fn_##name(double v, int64_t eval_ms, const double *params,   \
                           size_t n_params, double *out)

/* Notes that step i has a value. */
static inline void
nlt_pql_mark(uint64_t *present, size_t i)
{
    present[i / 64] |= UINT64_C(1) << (i % 64);
}

/* ---- compensated sums ---- */

/* The value is sum + c, unless sum is infinite: then c is 0. */
typedef struct {
    double sum;
    double c;
} nlt_pql_kahan_t;

/* Adds one term.  O(1).  Quicker where it pays: nlt_pql_lanes.h. */
static inline void
nlt_pql_kahan_add(nlt_pql_kahan_t *k, double term)
{
    double t = k->sum + term;

    if (isinf(t)) {
        k->c = 0;
    } else if (fabs(k->sum) >= fabs(term)) {
        k->c += (k->sum - t) + term;
    } else {
        k->c += (term - t) + k->sum;
    }
    k->sum = t;
}

/* The sum so far. */
static inline double
nlt_pql_kahan_value(const nlt_pql_kahan_t *k)
{
    return isinf(k->sum) ? k->sum : k->sum + k->c;
}

/*
 * The running average of avg and avg_over_time: a compensated sum divided at
 * the end, which turns into an incremental mean when the sum overflows.
 * Start with a zeroed struct.
 */
typedef struct {
    nlt_pql_kahan_t k; /* of the sum, or of the mean */
    double n;          /* terms so far */
    bool incremental;
} nlt_pql_avg_t;

/* The same of any term: the first one, and those after an overflow, too. */
void nlt_pql_avg_add_large(nlt_pql_avg_t *a, double term);

/* Adds one term.  O(1). */
static inline void
nlt_pql_avg_add(nlt_pql_avg_t *a, double term)
{
    nlt_pql_kahan_t next = a->k;

    nlt_pql_kahan_add(&next, term);
    if (nlt_likely(a->n > 0 && !a->incremental && !isinf(next.sum))) {
        a->n++;
        a->k = next;
    } else {
        nlt_pql_avg_add_large(a, term);
    }
}

/* The average of the terms so far; NaN of none. */
double nlt_pql_avg_value(const nlt_pql_avg_t *a);

/* ---- order statistics ---- */

/*
 * The q-quantile of v[n], whose order it changes (the evaluator may give its
 * own array).  Linear between neighbours, NaN sorts before everything.
 * q < 0: -Inf, q > 1: +Inf, q NaN or n == 0: NaN; the caller warns (A1).
 * O(n) on average, O(n log n) at worst.
 */
double nlt_pql_quantile(double q, double *v, size_t n);

/* math.Max and math.Min of Go: an infinity that decides wins over NaN. */
double nlt_pql_max(double a, double b);
double nlt_pql_min(double a, double b);

/* ---- anchored and smoothed ranges ---- */

/*
 * Value at t_ms on the line through two samples, t1_ms < t2_ms.  Of a
 * counter that was reset between them the line starts at 0.
 */
double nlt_pql_interpolate(int64_t t1_ms, double v1, int64_t t2_ms, double v2,
                           int64_t t_ms, bool counter);

typedef struct {
    int64_t *t_ms;
    double *v;
    size_t n;
} nlt_pql_points_t;

/*
 * The samples of an anchored or smoothed window brought to its edges: first
 * a sample at range_start, then those strictly inside, last one at
 * range_end.  In pool.  Nothing (n == 0) when no sample lies after
 * range_start.  NLT_ENOMEM.  O(w->n).
 */
NLT_CHECKED nlt_rc_t nlt_pql_extend(nlt_pool_t *pool,
                                    const nlt_pql_window_t *w,
                                    nlt_pql_points_t *out);

/* ---- start times ---- */

/*
 * increase() and irate() of a window whose st_ms is set.  false: no value.
 * O(w->n).
 */
bool nlt_pql_started_increase(const nlt_pql_window_t *w, double *out);
bool nlt_pql_started_irate(const nlt_pql_window_t *w, double *out);

/* ---- classic histograms ---- */

typedef struct {
    double le;    /* upper bound, inclusive; not NaN */
    double count; /* cumulative */
} nlt_pql_bucket_t;

/* What nlt_pql_bucket_quantile() had to repair. */
typedef struct {
    bool forced;       /* counts decreased beyond tolerance: tell A2 */
    double bucket_min; /* bounds of the lowest and highest bucket changed */
    double bucket_max;
    double max_diff; /* the largest decrease */
} nlt_pql_fixed_t;

/*
 * The q-quantile of the buckets of one histogram, in any order; sorts and
 * changes them.  Buckets of equal bound are added up; decreasing counts are
 * raised (silently when within 1e-12 relative).  NaN when q is NaN, without
 * a +Inf bucket, with fewer than two buckets or no observation; q < 0 -Inf,
 * q > 1 +Inf; A1 is the caller's.  *fixed is always filled.  n >= 1.
 * O(n log n).
 */
double nlt_pql_bucket_quantile(double q, nlt_pql_bucket_t *b, size_t n,
                               nlt_pql_fixed_t *fixed);

/*
 * The fraction of observations between lower and upper, likewise.  NaN
 * without a +Inf bucket or observations, or when a bound is NaN; 0 when
 * lower >= upper.
 */
double nlt_pql_bucket_fraction(double lower, double upper, nlt_pql_bucket_t *b,
                               size_t n);

/* ---- RANGE functions, as PromQL names them ---- */

/* nlt_pql_fn_rate.c */
NLT_PQL_RANGE_FN(rate);
NLT_PQL_RANGE_FN(increase);
NLT_PQL_RANGE_FN(delta);
NLT_PQL_RANGE_FN(irate);
NLT_PQL_RANGE_FN(idelta);
NLT_PQL_RANGE_FN(changes);
NLT_PQL_RANGE_FN(resets);
NLT_PQL_RANGE_FN(double_exponential_smoothing);

NLT_PQL_STEPS_FN(rate);
NLT_PQL_STEPS_FN(increase);
NLT_PQL_STEPS_FN(delta);
NLT_PQL_STEPS_FN(irate);
NLT_PQL_STEPS_FN(idelta);
NLT_PQL_STEPS_FN(changes);
NLT_PQL_STEPS_FN(resets);

/* nlt_pql_fn_over_time.c */
NLT_PQL_RANGE_FN(count_over_time);
NLT_PQL_RANGE_FN(first_over_time);
NLT_PQL_RANGE_FN(last_over_time);
NLT_PQL_RANGE_FN(mad_over_time);
NLT_PQL_RANGE_FN(max_over_time);
NLT_PQL_RANGE_FN(min_over_time);
NLT_PQL_RANGE_FN(present_over_time);
NLT_PQL_RANGE_FN(quantile_over_time);
NLT_PQL_RANGE_FN(ts_of_first_over_time);
NLT_PQL_RANGE_FN(ts_of_last_over_time);
NLT_PQL_RANGE_FN(ts_of_max_over_time);
NLT_PQL_RANGE_FN(ts_of_min_over_time);

NLT_PQL_STEPS_FN(count_over_time);
NLT_PQL_STEPS_FN(first_over_time);
NLT_PQL_STEPS_FN(last_over_time);
NLT_PQL_STEPS_FN(max_over_time);
NLT_PQL_STEPS_FN(min_over_time);
NLT_PQL_STEPS_FN(present_over_time);

/* nlt_pql_fn_sums.c */
NLT_PQL_RANGE_FN(avg_over_time);
NLT_PQL_RANGE_FN(deriv);
NLT_PQL_RANGE_FN(predict_linear);
NLT_PQL_RANGE_FN(stddev_over_time);
NLT_PQL_RANGE_FN(stdvar_over_time);
NLT_PQL_RANGE_FN(sum_over_time);

NLT_PQL_STEPS_FN(avg_over_time);
NLT_PQL_STEPS_FN(deriv);
NLT_PQL_STEPS_FN(predict_linear);
NLT_PQL_STEPS_FN(stddev_over_time);
NLT_PQL_STEPS_FN(stdvar_over_time);
NLT_PQL_STEPS_FN(sum_over_time);

/* ---- MAP functions ---- */

/* nlt_pql_fn_math.c */
NLT_PQL_MAP_FN(abs);
NLT_PQL_MAP_FN(acos);
NLT_PQL_MAP_FN(acosh);
NLT_PQL_MAP_FN(asin);
NLT_PQL_MAP_FN(asinh);
NLT_PQL_MAP_FN(atan);
NLT_PQL_MAP_FN(atanh);
NLT_PQL_MAP_FN(ceil);
NLT_PQL_MAP_FN(clamp);
NLT_PQL_MAP_FN(clamp_max);
NLT_PQL_MAP_FN(clamp_min);
NLT_PQL_MAP_FN(cos);
NLT_PQL_MAP_FN(cosh);
NLT_PQL_MAP_FN(deg);
NLT_PQL_MAP_FN(exp);
NLT_PQL_MAP_FN(floor);
NLT_PQL_MAP_FN(ln);
NLT_PQL_MAP_FN(log10);
NLT_PQL_MAP_FN(log2);
NLT_PQL_MAP_FN(rad);
NLT_PQL_MAP_FN(round);
NLT_PQL_MAP_FN(sgn);
NLT_PQL_MAP_FN(sin);
NLT_PQL_MAP_FN(sinh);
NLT_PQL_MAP_FN(sqrt);
NLT_PQL_MAP_FN(tan);
NLT_PQL_MAP_FN(tanh);

/* nlt_pql_fn_time.c: v is Unix seconds */
NLT_PQL_MAP_FN(day_of_month);
NLT_PQL_MAP_FN(day_of_week);
NLT_PQL_MAP_FN(day_of_year);
NLT_PQL_MAP_FN(days_in_month);
NLT_PQL_MAP_FN(hour);
NLT_PQL_MAP_FN(minute);
NLT_PQL_MAP_FN(month);
NLT_PQL_MAP_FN(year);

/* nlt_pql_fn_hist.c: functions of native histograms drop every float. */
NLT_PQL_MAP_FN(histogram_only);

#endif

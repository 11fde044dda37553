/*
 * nlt_pql_fn_hist.c - quantiles and fractions of classic histograms.
 *
 * Buckets come as cumulative counts of series scraped or aggregated apart, so
 * they may be incomplete, doubled (equal bounds written differently) or
 * decreasing; all of that is repaired here in one order of steps, which
 * decides the answer.
 */
#include "nlt_pql_fn.h"
#include "nlt_sort.h"

/* Up to so many elements Go sorts by insertion. */
#define STABLE_MAX 12

/* Relative difference of counts that float errors explain. */
#define SMALL_DELTA 1e-12

/* Least normal double: below it relative differences mean nothing. */
#define MIN_NORMAL 2.2250738585072014e-308

NLT_PQL_MAP_FN(histogram_only)
{
    (void) v;
    (void) eval_ms;
    (void) params;
    (void) n_params;
    (void) out;
    return false;
}

static bool
bound_less(const nlt_pql_bucket_t *a, const nlt_pql_bucket_t *b,
           const void *ctx)
{
    (void) ctx;
    return a->le < b->le;
}

NLT_HEAP_SORT(heap_sort, nlt_pql_bucket_t, bound_less);

/*
 * A few are sorted stably, as in Prometheus: the order in which counts of
 * equal bound ("1", "1.0") are added up decides the last digit.
 */
static void
sort_buckets(nlt_pql_bucket_t *b, size_t n)
{
    bool sorted = true;

    if (n <= STABLE_MAX) {
        for (size_t i = 1; i < n; i++) {
            nlt_pql_bucket_t moved = b[i];
            size_t at = i;

            for (; at > 0 && b[at - 1].le > moved.le; at--) {
                b[at] = b[at - 1];
            }
            b[at] = moved;
        }
        return;
    }

    for (size_t i = 1; i < n; i++) {
        sorted &= b[i - 1].le <= b[i].le;
    }
    if (!sorted) {
        heap_sort(b, n, NULL);
    }
}

/* Adds up buckets of equal bound; returns how many are left. */
static size_t
coalesce(nlt_pql_bucket_t *b, size_t n)
{
    size_t last = 0;

    for (size_t i = 1; i < n; i++) {
        if (b[i].le == b[last].le) {
            b[last].count += b[i].count;
        } else {
            b[++last] = b[i];
        }
    }
    return last + 1;
}

static bool
almost_equal(double a, double b)
{
    double sum = fabs(a) + fabs(b), diff = fabs(a - b);

    if (isnan(a) && isnan(b)) {
        return true;
    }
    if (a == b) {
        return true;
    }
    if (a == 0 || b == 0 || sum < MIN_NORMAL) {
        return diff < SMALL_DELTA * MIN_NORMAL;
    }
    return diff / fmin(sum, 1.7976931348623157e308) < SMALL_DELTA;
}

static void
make_monotonic(nlt_pql_bucket_t *b, size_t n, nlt_pql_fixed_t *fixed)
{
    double prev = b[0].count;

    for (size_t i = 1; i < n; i++) {
        double cur = b[i].count;

        if (cur == prev) {
            continue;
        }
        if (almost_equal(prev, cur)) {
            b[i].count = prev;
            continue;
        }
        if (!(cur < prev)) {
            prev = cur;
            continue;
        }
        b[i].count = prev;
        if (!fixed->forced) {
            fixed->forced = true;
            fixed->bucket_min = b[i].le;
        }
        fixed->bucket_max = b[i].le;
        fixed->max_diff = fmax(fixed->max_diff, prev - cur);
    }
}

double
nlt_pql_bucket_quantile(double q, nlt_pql_bucket_t *b, size_t n,
                        nlt_pql_fixed_t *fixed)
{
    *fixed = (nlt_pql_fixed_t){0};
    if (isnan(q)) {
        return NAN;
    }
    if (q < 0) {
        return -INFINITY;
    }
    if (q > 1) {
        return INFINITY;
    }
    sort_buckets(b, n);
    if (!(isinf(b[n - 1].le) && b[n - 1].le > 0)) {
        return NAN;
    }
    n = coalesce(b, n);
    make_monotonic(b, n, fixed);
    if (n < 2 || b[n - 1].count == 0) {
        return NAN;
    }

    double rank = q * b[n - 1].count;
    size_t lo = 0, hi = n - 1;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (b[mid].count >= rank) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    if (lo == n - 1) {
        return b[n - 2].le;
    }
    if (lo == 0 && b[0].le <= 0) {
        return b[0].le;
    }

    double start = 0, end = b[lo].le, count = b[lo].count;

    if (lo > 0) {
        start = b[lo - 1].le;
        count -= b[lo - 1].count;
        rank -= b[lo - 1].count;
    }
    return start + (end - start) * (rank / count);
}

/* Observations below v, which lies inside bucket i; `below` are those in the
 * buckets before it. */
static double
rank_inside(const nlt_pql_bucket_t *b, size_t i, double below, double v)
{
    double start = i > 0 ? b[i - 1].le : b[0].le > 0 ? 0 : -INFINITY;

    if (isinf(start)) {
        return b[i].count;
    }
    return below + (b[i].count - below) * (v - start) / (b[i].le - start);
}

/* Observations below v; all of them when v lies beyond the last bound. */
static double
rank_of(const nlt_pql_bucket_t *b, size_t n, double v)
{
    double below = 0, total = b[n - 1].count;

    for (size_t i = 0; i < n; i++) {
        double start = i > 0 ? b[i - 1].le : b[0].le > 0 ? 0 : -INFINITY;

        if (start >= v) {
            return below > total ? total : below;
        }
        if (b[i].le > v) {
            double r = rank_inside(b, i, below, v);

            return r > total ? total : r;
        }
        below = b[i].count;
    }
    return total;
}

double
nlt_pql_bucket_fraction(double lower, double upper, nlt_pql_bucket_t *b,
                        size_t n)
{
    sort_buckets(b, n);
    if (!(isinf(b[n - 1].le) && b[n - 1].le > 0)) {
        return NAN;
    }
    n = coalesce(b, n);

    double total = b[n - 1].count;

    if (total == 0 || isnan(lower) || isnan(upper)) {
        return NAN;
    }
    if (lower >= upper) {
        return 0;
    }
    return (rank_of(b, n, upper) - rank_of(b, n, lower)) / total;
}

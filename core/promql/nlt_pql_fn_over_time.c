/*
 * nlt_pql_fn_over_time.c - aggregations over the samples of a window, but for
 * those that add them up: nlt_pql_fn_sums.c.
 */
#include "nlt_num.h"
#include "nlt_pair.h"
#include "nlt_pql_fn.h"
#include "nlt_sort.h"

NLT_PQL_RANGE_FN(count_over_time)
{
    (void) f;
    *out = (double) w->n;
    return true;
}

NLT_PQL_RANGE_FN(present_over_time)
{
    (void) f;
    (void) w;
    *out = 1;
    return true;
}

NLT_PQL_RANGE_FN(first_over_time)
{
    (void) f;
    *out = w->v[0];
    return true;
}

NLT_PQL_RANGE_FN(last_over_time)
{
    (void) f;
    *out = w->v[w->n - 1];
    return true;
}

/* Index of the greatest value; NaN loses against anything.  Of equal ones the
 * first or the last. */
static size_t
argmax(const nlt_pql_window_t *w, bool last_of_equal)
{
    size_t best = 0;

    for (size_t i = 0; i < w->n; i++) {
        double v = w->v[i], b = w->v[best];

        if (v > b || isnan(b) || (last_of_equal && v == b)) {
            best = i;
        }
    }
    return best;
}

static size_t
argmin(const nlt_pql_window_t *w, bool last_of_equal)
{
    size_t best = 0;

    for (size_t i = 0; i < w->n; i++) {
        double v = w->v[i], b = w->v[best];

        if (v < b || isnan(b) || (last_of_equal && v == b)) {
            best = i;
        }
    }
    return best;
}

NLT_PQL_RANGE_FN(max_over_time)
{
    (void) f;
    *out = w->v[argmax(w, false)];
    return true;
}

NLT_PQL_RANGE_FN(min_over_time)
{
    (void) f;
    *out = w->v[argmin(w, false)];
    return true;
}

/* ---- the same for all windows of a series ---- */

NLT_PQL_STEPS_FN(count_over_time)
{
    (void) f;
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->hi[i] > s->lo[i]) {
            out[i] = (double) (s->hi[i] - s->lo[i]);
            nlt_pql_mark(present, i);
        }
    }
}

NLT_PQL_STEPS_FN(present_over_time)
{
    (void) f;
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->hi[i] > s->lo[i]) {
            out[i] = 1;
            nlt_pql_mark(present, i);
        }
    }
}

NLT_PQL_STEPS_FN(first_over_time)
{
    (void) f;
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->hi[i] > s->lo[i]) {
            out[i] = s->v[s->lo[i]];
            nlt_pql_mark(present, i);
        }
    }
}

NLT_PQL_STEPS_FN(last_over_time)
{
    (void) f;
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->hi[i] > s->lo[i]) {
            out[i] = s->v[s->hi[i] - 1];
            nlt_pql_mark(present, i);
        }
    }
}

/* ---- greatest and least of all windows ---- */

/* The greatest or least value of a window that is not empty. */
static double
best_of(const double *v, size_t n, bool greatest)
{
    const double worst = greatest ? -INFINITY : INFINITY;
    nlt_pair_t a = nlt_pair_of(worst), b = a;
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        nlt_pair_t x = nlt_pair_load(v + i), y = nlt_pair_load(v + i + 2);

        a = nlt_pair_select((nlt_pair_mask_t) (greatest ? x > a : x < a), x,
                            a);
        b = nlt_pair_select((nlt_pair_mask_t) (greatest ? y > b : y < b), y,
                            b);
    }

    double best = worst, of[4] = {a[0], a[1], b[0], b[1]};

    for (size_t k = 0; k < 4; k++) {
        best = (greatest ? of[k] > best : of[k] < best) ? of[k] : best;
    }
    for (; i < n; i++) {
        best = (greatest ? v[i] > best : v[i] < best) ? v[i] : best;
    }
    if (best == 0 || best == worst) {
        /* The first zero's sign, or the last NaN. */
        nlt_pql_window_t w = {.v = v, .n = n};

        return v[greatest ? argmax(&w, false) : argmin(&w, false)];
    }
    return best;
}

#define NONE UINT32_MAX

/* The best of some samples.  NaN is never that. */
typedef struct {
    double v;
    uint32_t at; /* or NONE */
} best_t;

static inline best_t
best_of_none(bool greatest)
{
    return (best_t){greatest ? -INFINITY : INFINITY, NONE};
}

/* Without a branch: which sample is best cannot be foretold. */
static inline void
best_take(best_t *b, bool take, double x, uint32_t at)
{
    b->v = take ? x : b->v;
    b->at ^= (b->at ^ at) & (0 - (uint32_t) take);
}

/*
 * A window is cut in two at `mid`.  Before it work[i] has the best of
 * [i, mid), made once from right to left; behind it one best grows with the
 * window.  When the window has left what is before mid, mid becomes its end.
 * So each sample is looked at twice, however long windows are; those that
 * hardly overlap are quicker alone.
 */
static inline void
steps_best(const nlt_pql_steps_t *s, bool greatest, double *out,
           uint64_t *present)
{
    const double *v = s->v;
    best_t right = best_of_none(greatest);
    size_t mid = 0, next = 0;

    if (s->n_steps == 1 || s->range_ms / 2 <= s->step_ms) {
        for (size_t i = 0; i < s->n_steps; i++) {
            if (s->hi[i] > s->lo[i]) {
                out[i] = best_of(v + s->lo[i], s->hi[i] - s->lo[i], greatest);
                nlt_pql_mark(present, i);
            }
        }
        return;
    }
    for (size_t i = 0; i < s->n_steps; i++) {
        size_t lo = s->lo[i], hi = s->hi[i];

        if (lo == hi) {
            continue;
        }
        if (lo >= mid) {
            best_t left = right = best_of_none(greatest);

            for (size_t k = hi; k-- > lo;) {
                best_take(&left, greatest ? v[k] >= left.v : v[k] <= left.v,
                          v[k], (uint32_t) k);
                s->work[k] = left.at;
            }
            mid = next = hi;
        }
        for (; next < hi; next++) {
            best_take(&right, greatest ? v[next] > right.v : v[next] < right.v,
                      v[next], (uint32_t) next);
        }
        uint32_t at = s->work[lo];

        if (at == NONE && right.at == NONE) {
            /* Nothing but NaN and the infinity that loses. */
            out[i] = best_of(v + lo, hi - lo, greatest);
        } else {
            double x = at == NONE ? right.v : v[at];

            out[i] = (greatest ? right.v > x : right.v < x) ? right.v : x;
        }
        nlt_pql_mark(present, i);
    }
}

NLT_PQL_STEPS_FN(max_over_time)
{
    (void) f;
    steps_best(s, true, out, present);
}

NLT_PQL_STEPS_FN(min_over_time)
{
    (void) f;
    steps_best(s, false, out, present);
}

/* ---- times ---- */

static bool
time_at(const nlt_pql_window_t *w, size_t i, double *out)
{
    *out = (double) w->t_ms[i] / 1000;
    return true;
}

NLT_PQL_RANGE_FN(ts_of_first_over_time)
{
    (void) f;
    return time_at(w, 0, out);
}

NLT_PQL_RANGE_FN(ts_of_last_over_time)
{
    (void) f;
    (void) time_at(w, w->n - 1, out);
    *out = fmax(*out, 0); /* as if there were a histogram at 0 */
    return true;
}

NLT_PQL_RANGE_FN(ts_of_max_over_time)
{
    (void) f;
    return time_at(w, argmax(w, true), out);
}

NLT_PQL_RANGE_FN(ts_of_min_over_time)
{
    (void) f;
    return time_at(w, argmin(w, true), out);
}

/* The window's values in scratch, to be reordered; NULL fails the query. */
static double *
copy_values(nlt_pql_fctx_t *f, const nlt_pql_window_t *w)
{
    double *v = nlt_pool_array(f->scratch, w->n, sizeof(*v));

    if (v == NULL) {
        f->rc = nlt_err_set(f->err, NLT_ENOMEM,
                            "query needs more memory than its limit");
        return NULL;
    }
    memcpy(v, w->v, w->n * sizeof(*v));
    return v;
}

NLT_PQL_RANGE_FN(quantile_over_time)
{
    double q = w->params[0];
    double *v = copy_values(f, w);

    if (v == NULL) {
        return false;
    }
    if (isnan(q) || q < 0 || q > 1) {
        char text[NLT_NUM_TEXT_MAX];
        size_t len = nlt_num_g(text, q);

        nlt_pql_annots_add(f->annots, NLT_PQL_WARNING, nlt_pql_arg_place(f, 0),
                           "quantile value should be between 0 and 1, got "
                           "%.*s",
                           (int) len, text);
    }
    *out = nlt_pql_quantile(q, v, w->n);
    return true;
}

NLT_PQL_RANGE_FN(mad_over_time)
{
    double *v = copy_values(f, w);
    double median;

    if (v == NULL) {
        return false;
    }
    for (size_t i = 0; i < w->n; i++) {
        if (isnan(v[i])) {
            *out = NAN;
            return true;
        }
    }
    median = nlt_pql_quantile(0.5, v, w->n);
    for (size_t i = 0; i < w->n; i++) {
        v[i] = fabs(v[i] - median);
    }
    *out = nlt_pql_quantile(0.5, v, w->n);
    return true;
}

/* ---- quantiles by selection ---- */

static void
swap(double *a, double *b)
{
    double t = *a;

    *a = *b;
    *b = t;
}

static bool
value_less(const double *a, const double *b, const void *ctx)
{
    (void) ctx;
    return *a < *b;
}

NLT_HEAP_SORT(heap_sort, double, value_less);

static void
insertion_sort(double *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        double x = v[i];
        size_t j = i;

        for (; j > 0 && v[j - 1] > x; j--) {
            v[j] = v[j - 1];
        }
        v[j] = x;
    }
}

static double
median_of_three(double a, double b, double c)
{
    if (a > b) {
        swap(&a, &b);
    }
    return c <= a ? a : c >= b ? b : c;
}

/*
 * Puts the k-th smallest of v[n] (no NaN) at its place, the smaller ones
 * before and the greater ones behind it.  Quickselect; values arranged to
 * defeat it end in a heap sort after a fixed number of poor rounds.
 */
static void
select_kth(double *v, size_t n, size_t k)
{
    for (int poor = 0; n > 24;) {
        double pivot = median_of_three(v[0], v[n / 2], v[n - 1]);
        size_t lt = 0, i = 0, gt = n;

        while (i < gt) {
            if (v[i] < pivot) {
                swap(&v[lt++], &v[i++]);
            } else if (v[i] > pivot) {
                swap(&v[i], &v[--gt]);
            } else {
                i++;
            }
        }
        if (k >= lt && k < gt) {
            return;
        }
        if (k < lt) {
            poor += lt > n - n / 8;
            n = lt;
        } else {
            poor += n - gt > n - n / 8;
            v += gt;
            k -= gt;
            n -= gt;
        }
        if (poor > 8) {
            heap_sort(v, n, NULL);
            return;
        }
    }
    insertion_sort(v, n);
}

double
nlt_pql_quantile(double q, double *v, size_t n)
{
    size_t n_nan = 0;

    if (n == 0 || isnan(q)) {
        return NAN;
    }
    if (q < 0) {
        return -INFINITY;
    }
    if (q > 1) {
        return INFINITY;
    }
    for (size_t i = 0; i < n; i++) {
        if (isnan(v[i])) {
            swap(&v[i], &v[n_nan++]);
        }
    }
    double rank = q * (double) (n - 1);
    double lower = floor(rank);
    double weight = rank - lower;
    size_t lo = (size_t) lower;
    size_t hi = lo + 1 < n ? lo + 1 : n - 1;

    if (lo >= n_nan) {
        select_kth(v + n_nan, n - n_nan, lo - n_nan);
    }
    /* All behind lo are at least as great: the next one is their minimum. */
    double next = v[hi];

    for (size_t i = hi; i < n; i++) {
        next = v[i] < next ? v[i] : next;
    }
    return v[lo] * (1 - weight) + next * weight;
}

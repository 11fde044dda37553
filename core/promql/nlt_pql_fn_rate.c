/*
 * nlt_pql_fn_rate.c - how fast a series changes: rate and its relatives,
 * regression, smoothing.
 *
 * rate, increase and delta extrapolate: the samples of a window seldom reach
 * its edges, so the difference of the outermost ones is stretched to them,
 * unless a gap of more than 1.1 average distances says that the series began
 * or ended inside, and never so far that a counter would have been negative.
 * anchored and smoothed windows bring their edges along instead.
 */
#include "nlt_num.h"
#include "nlt_pql_fn.h"

/* Bytes of a quoted metric name; a longer one loses its note. */
#define QUOTED_MAX 65536

static bool
ends_with(nlt_str_t s, nlt_str_t suffix)
{
    return s.len >= suffix.len
           && memcmp(s.data + s.len - suffix.len, suffix.data, suffix.len)
                  == 0;
}

/* A16: the name does not look like a counter's. */
static void
note_non_counter(nlt_pql_fctx_t *f, nlt_str_t name)
{
    if (name.len == 0
        || (name.data == f->noted.data && name.len == f->noted.len)
        || ends_with(name, NLT_STR("_total"))
        || ends_with(name, NLT_STR("_sum"))
        || ends_with(name, NLT_STR("_count"))
        || ends_with(name, NLT_STR("_bucket"))) {
        return;
    }
    f->noted = name;

    nlt_buf_t quoted;

    nlt_buf_init(&quoted, f->annots->pool->mem, QUOTED_MAX);
    nlt_utf8_quote(&quoted, name);
    if (quoted.rc == NLT_OK) {
        nlt_pql_annots_add(f->annots, NLT_PQL_INFO, nlt_pql_arg_place(f, 0),
                           "metric might not be a counter, name does not end "
                           "in _total/_sum/_count/_bucket: %.*s",
                           NLT_FMT(nlt_buf_str(&quoted)));
    } else {
        f->annots->failed = true;
    }
    nlt_buf_deinit(&quoted);
}

/* Seconds as Go converts a duration: whole ones and the rest apart. */
static double
seconds_of(int64_t ms)
{
    return (double) (ms / 1000) + (double) (ms % 1000 * 1000000) / 1e9;
}

/* What counter resets between samples took away. */
static double
reset_sum(double prev, const double *v, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        if (v[i] < prev) {
            sum += prev;
        }
        prev = v[i];
    }
    return sum;
}

typedef enum {
    DELTA,
    INCREASE,
    RATE
} kind_t;

static bool
extrapolated(const nlt_pql_window_t *w, kind_t kind, double *out)
{
    if (w->n < 2) {
        return false;
    }
    const double *v = w->v;
    int64_t first_ms = w->t_ms[0], last_ms = w->t_ms[w->n - 1];
    double change = v[w->n - 1] - v[0];

    if (kind != DELTA) {
        double prev = v[0];

        /* Not reset_sum(): here the additions start from the difference. */
        for (size_t i = 1; i < w->n; i++) {
            if (v[i] < prev) {
                change += prev;
            }
            prev = v[i];
        }
    }

    double to_start = (double) (first_ms - w->range_start_ms) / 1000;
    double to_end = (double) (w->range_end_ms - last_ms) / 1000;
    double span = (double) (last_ms - first_ms) / 1000;
    double average = span / (double) (w->n - 1);
    double threshold = average * 1.1;

    if (to_start >= threshold) {
        to_start = average / 2;
    }
    if (kind != DELTA && change > 0 && v[0] >= 0) {
        double to_zero = span * (v[0] / change);

        to_start = to_zero < to_start ? to_zero : to_start;
    }
    if (to_end >= threshold) {
        to_end = average / 2;
    }

    double factor = (span + to_start + to_end) / span;

    if (kind == RATE) {
        factor /= seconds_of(w->range_end_ms - w->range_start_ms);
    }
    *out = change * factor;
    return true;
}

double
nlt_pql_interpolate(int64_t t1_ms, double v1, int64_t t2_ms, double v2,
                    int64_t t_ms, bool counter)
{
    if (counter && v2 < v1) {
        v1 = 0;
    }
    return v1 + (v2 - v1) * (double) (t_ms - t1_ms) / (double) (t2_ms - t1_ms);
}

/* The samples of a window that bear on its edges, and the edges' values. */
typedef struct {
    size_t first; /* at or before the left edge, else the first of all */
    size_t last;  /* at or after the right edge, else the last of all */
    double left;
    double right;
} edges_t;

/* false: no sample after the left edge, or all after the right one. */
static bool
find_edges(const nlt_pql_window_t *w, bool counter, edges_t *e)
{
    size_t last = w->n - 1, first = 0;

    while (first < last && w->t_ms[first] <= w->range_start_ms) {
        first++;
    }
    first -= first > 0;
    if (w->smoothed) {
        size_t i = 0;

        while (i < last && w->t_ms[i] < w->range_end_ms) {
            i++;
        }
        last = i;
    }
    if (w->t_ms[last] <= w->range_start_ms
        || w->t_ms[first] > w->range_end_ms) {
        return false;
    }
    e->first = first;
    e->last = last;
    e->left = w->v[first];
    e->right = w->v[last];
    if (w->smoothed && w->t_ms[first] < w->range_start_ms) {
        e->left = nlt_pql_interpolate(w->t_ms[first], w->v[first],
                                      w->t_ms[first + 1], w->v[first + 1],
                                      w->range_start_ms, counter);
    }
    if (w->smoothed && last > 0 && w->t_ms[last] > w->range_end_ms) {
        e->right = nlt_pql_interpolate(w->t_ms[last - 1], w->v[last - 1],
                                       w->t_ms[last], w->v[last],
                                       w->range_end_ms, counter);
    }
    return true;
}

static bool
between_edges(const nlt_pql_window_t *w, kind_t kind, double *out)
{
    edges_t e;

    if (!find_edges(w, kind != DELTA, &e)) {
        return false;
    }
    *out = e.right - e.left;
    if (kind != DELTA) {
        size_t from = e.first + (w->t_ms[e.first] <= w->range_start_ms);
        size_t to = e.last + (w->t_ms[e.last] < w->range_end_ms);
        double prev = e.left, sum = 0;

        if (to > from) {
            sum = reset_sum(prev, w->v + from, to - from);
            prev = w->v[to - 1];
        }
        if (e.right < prev) {
            sum += prev;
        }
        *out += sum;
    }
    if (kind == RATE) {
        *out /= seconds_of(w->range_end_ms - w->range_start_ms);
    }
    return true;
}

static bool
change_of(const nlt_pql_window_t *w, kind_t kind, double *out)
{
    return w->anchored || w->smoothed ? between_edges(w, kind, out)
                                      : extrapolated(w, kind, out);
}

nlt_rc_t
nlt_pql_extend(nlt_pool_t *pool, const nlt_pql_window_t *w,
               nlt_pql_points_t *out)
{
    edges_t e;
    size_t n = 0;

    *out = (nlt_pql_points_t){0};
    if (!find_edges(w, false, &e)) {
        return NLT_OK;
    }
    int64_t *t_ms = nlt_pool_array(pool, w->n + 2, sizeof(*t_ms));
    double *v = nlt_pool_array(pool, w->n + 2, sizeof(*v));

    if (t_ms == NULL || v == NULL) {
        return NLT_ENOMEM;
    }
    t_ms[n] = w->range_start_ms;
    v[n++] = e.left;
    for (size_t i = e.first; i <= e.last; i++) {
        if (w->t_ms[i] > w->range_start_ms && w->t_ms[i] < w->range_end_ms) {
            t_ms[n] = w->t_ms[i];
            v[n++] = w->v[i];
        }
    }
    t_ms[n] = w->range_end_ms;
    v[n++] = e.right;
    *out = (nlt_pql_points_t){t_ms, v, n};
    return NLT_OK;
}

NLT_PQL_RANGE_FN(rate)
{
    if (!change_of(w, RATE, out)) {
        return false;
    }
    note_non_counter(f, w->metric_name);
    return true;
}

NLT_PQL_RANGE_FN(increase)
{
    if (!change_of(w, INCREASE, out)) {
        return false;
    }
    note_non_counter(f, w->metric_name);
    return true;
}

NLT_PQL_RANGE_FN(delta)
{
    (void) f;
    return change_of(w, DELTA, out);
}

NLT_PQL_RANGE_FN(irate)
{
    (void) f;
    if (w->n < 2) {
        return false;
    }
    double last = w->v[w->n - 1], prev = w->v[w->n - 2];
    int64_t ms = w->t_ms[w->n - 1] - w->t_ms[w->n - 2];

    /* After a reset the counter grew from 0 to last. */
    *out = (last < prev ? last : last - prev) / ((double) ms / 1000);
    return true;
}

NLT_PQL_RANGE_FN(idelta)
{
    (void) f;
    if (w->n < 2) {
        return false;
    }
    *out = w->v[w->n - 1] - w->v[w->n - 2];
    return true;
}

/* The samples to count in: those of the window or, anchored, extended. */
static bool
points_of(nlt_pql_fctx_t *f, const nlt_pql_window_t *w, const double **v,
          size_t *n)
{
    nlt_pql_points_t p;

    *v = w->v;
    *n = w->n;
    if (!w->anchored) {
        return true;
    }
    f->rc = nlt_pql_extend(f->scratch, w, &p);
    if (f->rc != NLT_OK) {
        (void) nlt_err_set(f->err, f->rc,
                           "query needs more memory than its limit");
        return false;
    }
    *v = p.v;
    *n = p.n;
    return p.n > 0;
}

NLT_PQL_RANGE_FN(changes)
{
    const double *v;
    size_t n, changes = 0;

    if (!points_of(f, w, &v, &n)) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        changes += v[i] != v[i - 1] && !(isnan(v[i]) && isnan(v[i - 1]));
    }
    *out = (double) changes;
    return true;
}

NLT_PQL_RANGE_FN(resets)
{
    const double *v;
    size_t n, resets = 0;

    if (!points_of(f, w, &v, &n)) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        resets += v[i] < v[i - 1];
    }
    *out = (double) resets;
    return true;
}

/*
 * Least squares with x in seconds from origin_ms.  A constant series has
 * slope 0 exactly; an infinite constant has none.
 */
static void
regression(const nlt_pql_window_t *w, int64_t origin_ms, double *slope,
           double *intercept)
{
    nlt_pql_kahan_t sx = {0}, sy = {0}, sxy = {0}, sxx = {0};
    double n = (double) w->n;
    bool constant = true;

    for (size_t i = 0; i < w->n; i++) {
        double y = w->v[i];
        double x = (double) (w->t_ms[i] - origin_ms) / 1e3;

        constant &= i == 0 || y == w->v[0];
        nlt_pql_kahan_add(&sx, x);
        nlt_pql_kahan_add(&sy, y);
        nlt_pql_kahan_add(&sxy, x * y);
        nlt_pql_kahan_add(&sxx, x * x);
    }
    if (constant) {
        *slope = isinf(w->v[0]) ? NAN : 0;
        *intercept = isinf(w->v[0]) ? NAN : w->v[0];
        return;
    }
    double x = sx.sum + sx.c, y = sy.sum + sy.c;
    double covariance = (sxy.sum + sxy.c) - x * y / n;
    double variance = (sxx.sum + sxx.c) - x * x / n;

    *slope = covariance / variance;
    *intercept = y / n - *slope * x / n;
}

NLT_PQL_RANGE_FN(deriv)
{
    double intercept;

    (void) f;
    if (w->n < 2) {
        return false;
    }
    regression(w, w->t_ms[0], out, &intercept);
    return true;
}

/* params: seconds from the evaluation time. */
NLT_PQL_RANGE_FN(predict_linear)
{
    double slope, intercept;

    (void) f;
    if (w->n < 2) {
        return false;
    }
    regression(w, w->eval_ms, &slope, &intercept);
    *out = slope * w->params[0] + intercept;
    return true;
}

/* NaN passes, as in Prometheus. */
static bool
factor_ok(nlt_pql_fctx_t *f, double factor, const char *what, const char *name)
{
    char text[NLT_NUM_PLAIN_MAX];

    if (!(factor <= 0 || factor >= 1)) {
        return true;
    }
    size_t len = nlt_num_fixed(text, factor, 6);

    f->rc = nlt_err_set(f->err, NLT_EEXEC,
                        "invalid %s factor. Expected: 0 < %s < 1, got: %.*s",
                        what, name, (int) len, text);
    return false;
}

/* params: smoothing factor, trend factor. */
NLT_PQL_RANGE_FN(double_exponential_smoothing)
{
    double sf = w->params[0], tf = w->params[1];

    if (!factor_ok(f, sf, "smoothing", "sf")
        || !factor_ok(f, tf, "trend", "tf") || w->n < 2) {
        return false;
    }
    double level = w->v[0], before = 0, trend = w->v[1] - w->v[0];

    for (size_t i = 1; i < w->n; i++) {
        double x = sf * w->v[i];

        if (i > 1) {
            trend = tf * (level - before) + (1 - tf) * trend;
        }
        double y = (1 - sf) * (level + trend);

        before = level;
        level = x + y;
    }
    *out = level;
    return true;
}

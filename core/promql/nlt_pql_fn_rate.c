/*
 * nlt_pql_fn_rate.c - how fast a series changes: rate and its relatives,
 * smoothing.
 *
 * anchored and smoothed windows bring their edges along, where others
 * extrapolate to them (nlt_pql_change.h).
 */
#include "nlt_num.h"
#include "nlt_pql_change.h"

/* Bytes of a quoted metric name; a longer one loses its note. */
#define QUOTED_MAX 65536

static bool
ends_with(nlt_str_t s, nlt_str_t suffix)
{
    return s.len >= suffix.len
           && memcmp(s.data + s.len - suffix.len, suffix.data, suffix.len)
                  == 0;
}

void
nlt_pql_note_counter(nlt_pql_fctx_t *f, nlt_str_t name)
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

static bool
extrapolated(const nlt_pql_window_t *w, nlt_pql_change_t kind, double *out)
{
    if (w->n < 2) {
        return false;
    }
    const double *v = w->v;
    nlt_pql_reach_t r = {
        .start_ms = w->range_start_ms,
        .end_ms = w->range_end_ms,
        .first_ms = w->t_ms[0],
        .last_ms = w->t_ms[w->n - 1],
        .n = w->n,
        .first = v[0],
        .change = v[w->n - 1] - v[0],
        .range_s = nlt_pql_seconds_of(w->range_end_ms - w->range_start_ms)};

    if (kind != NLT_PQL_DELTA) {
        double prev = v[0];

        /* Not reset_sum(): here the additions start from the difference. */
        for (size_t i = 1; i < w->n; i++) {
            if (v[i] < prev) {
                r.change += prev;
            }
            prev = v[i];
        }
    }
    *out = nlt_pql_stretched(&r, kind);
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
between_edges(const nlt_pql_window_t *w, nlt_pql_change_t kind, double *out)
{
    edges_t e;

    if (!find_edges(w, kind != NLT_PQL_DELTA, &e)) {
        return false;
    }
    *out = e.right - e.left;
    if (kind != NLT_PQL_DELTA) {
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
    if (kind == NLT_PQL_RATE) {
        *out /= nlt_pql_seconds_of(w->range_end_ms - w->range_start_ms);
    }
    return true;
}

static bool
change_of(const nlt_pql_window_t *w, nlt_pql_change_t kind, double *out)
{
    if (w->st_ms && kind != NLT_PQL_DELTA && !w->anchored && !w->smoothed) {
        if (!nlt_pql_started_increase(w, out)) {
            return false;
        }
        *out /= kind == NLT_PQL_RATE
                    ? nlt_pql_seconds_of(w->range_end_ms - w->range_start_ms)
                    : 1;
        return true;
    }
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
    if (!change_of(w, NLT_PQL_RATE, out)) {
        return false;
    }
    nlt_pql_note_counter(f, w->metric_name);
    return true;
}

NLT_PQL_RANGE_FN(increase)
{
    if (!change_of(w, NLT_PQL_INCREASE, out)) {
        return false;
    }
    nlt_pql_note_counter(f, w->metric_name);
    return true;
}

NLT_PQL_RANGE_FN(delta)
{
    (void) f;
    return change_of(w, NLT_PQL_DELTA, out);
}

/* ---- the same for all windows of a series ---- */

/* What changes (or fell) within each window: all that did up to its end, less
 * what did up to its first sample. */
static void
steps_count(const nlt_pql_steps_t *s, bool fell, double *out,
            uint64_t *present)
{
    uint32_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        double x = s->v[i], prev = i ? s->v[i - 1] : x;

        n += fell ? x < prev : x != prev && !(isnan(x) && isnan(prev));
        s->work[i] = n;
    }
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->hi[i] > s->lo[i]) {
            out[i] = (double) (s->work[s->hi[i] - 1] - s->work[s->lo[i]]);
            nlt_pql_mark(present, i);
        }
    }
}

NLT_PQL_STEPS_FN(changes)
{
    (void) f;
    steps_count(s, false, out, present);
}

NLT_PQL_STEPS_FN(resets)
{
    (void) f;
    steps_count(s, true, out, present);
}

/* ---- the last two samples ---- */

static inline double
instant_rate(const int64_t *t_ms, const double *v)
{
    /* After a reset the counter grew from 0 to last. */
    return (v[1] < v[0] ? v[1] : v[1] - v[0])
           / ((double) (t_ms[1] - t_ms[0]) / 1000);
}

NLT_PQL_RANGE_FN(irate)
{
    (void) f;
    if (w->st_ms) {
        return nlt_pql_started_irate(w, out);
    }
    if (w->n < 2) {
        return false;
    }
    *out = instant_rate(w->t_ms + w->n - 2, w->v + w->n - 2);
    return true;
}

NLT_PQL_STEPS_FN(irate)
{
    (void) f;
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->hi[i] - s->lo[i] >= 2) {
            out[i] = instant_rate(s->t_ms + s->hi[i] - 2, s->v + s->hi[i] - 2);
            nlt_pql_mark(present, i);
        }
    }
}

NLT_PQL_STEPS_FN(idelta)
{
    (void) f;
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->hi[i] - s->lo[i] >= 2) {
            out[i] = s->v[s->hi[i] - 1] - s->v[s->hi[i] - 2];
            nlt_pql_mark(present, i);
        }
    }
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

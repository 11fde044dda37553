/*
 * nlt_pql_fn_sums.c - functions that add a window up: sums, averages,
 * deviations, regression.
 *
 * Each window is a chain of additions of its own, in the order of its samples.
 * All are made by Knuth's method first (nlt_pql_lanes.h, which says why),
 * several windows side by side where there are several.  What comes out not
 * finite is found anew as Prometheus finds it: exact_*().
 */
#include "nlt_pair.h"
#include "nlt_pql_fn.h"
#include "nlt_pql_lanes.h"

/* nlt_pql_kahan_add() as long as all is finite; else c ends as not finite. */
static inline void
add(nlt_pql_kahan_t *k, double x)
{
    double t = k->sum + x, b = t - k->sum;

    k->c += (k->sum - (t - b)) + (x - b);
    k->sum = t;
}

/* ---- groups of windows ---- */

typedef struct {
    size_t n;      /* windows */
    size_t common; /* samples that each has; 0: too few windows for lanes */
    size_t step[NLT_PQL_LANES_MAX];
    size_t at[NLT_PQL_LANES_MAX]; /* first sample; filled up with the last */
    size_t len[NLT_PQL_LANES_MAX];
} group_t;

/*
 * Up to n_lanes of the windows from *next on that have at least len_min
 * samples; false: there is none.
 */
static bool
next_group(const nlt_pql_steps_t *s, size_t *next, size_t n_lanes,
           size_t len_min, group_t *g)
{
    size_t i = *next, common = SIZE_MAX;

    g->n = 0;
    for (; i < s->n_steps && g->n < n_lanes; i++) {
        size_t len = s->hi[i] - s->lo[i];

        if (len >= len_min) {
            g->step[g->n] = i;
            g->at[g->n] = s->lo[i];
            g->len[g->n++] = len;
            common = len < common ? len : common;
        }
    }
    *next = i;
    if (g->n == 0) {
        return false;
    }
    for (size_t k = g->n; k < n_lanes; k++) {
        g->at[k] = g->at[g->n - 1];
    }
    g->common = g->n > n_lanes / 4 ? common : 0;
    return true;
}

static inline nlt_pql_kahan_t
lane(const nlt_pql_lane_sums_t *sums, size_t k)
{
    return (nlt_pql_kahan_t){sums->sum[k], sums->c[k]};
}

/* ---- sum and average ---- */

void
nlt_pql_avg_add_large(nlt_pql_avg_t *a, double term)
{
    a->n++;
    if (a->n == 1) {
        a->k.sum = term;
        return;
    }
    if (!a->incremental) {
        nlt_pql_kahan_t next = a->k;

        nlt_pql_kahan_add(&next, term);
        if (!isinf(next.sum)) {
            a->k = next;
            return;
        }
        a->incremental = true;
        a->k.sum /= a->n - 1;
        a->k.c /= a->n - 1;
    }
    double q = (a->n - 1) / a->n;

    a->k.sum *= q;
    a->k.c *= q;
    nlt_pql_kahan_add(&a->k, term / a->n);
}

double
nlt_pql_avg_value(const nlt_pql_avg_t *a)
{
    if (a->incremental) {
        return a->k.sum + a->k.c;
    }
    return a->k.sum / a->n + a->k.c / a->n;
}

static double
exact_avg(const double *v, size_t n)
{
    nlt_pql_avg_t a = {0};

    for (size_t i = 0; i < n; i++) {
        nlt_pql_avg_add(&a, v[i]);
    }
    return nlt_pql_avg_value(&a);
}

static double
exact_sum(const double *v, size_t n)
{
    nlt_pql_kahan_t k = {0};

    for (size_t i = 0; i < n; i++) {
        nlt_pql_kahan_add(&k, v[i]);
    }
    return nlt_pql_kahan_value(&k);
}

/* The sum or average of v[n], of which k has what begins with v[0] and ends
 * before v[done]. */
static inline double
end_sum(nlt_pql_kahan_t k, const double *v, size_t done, size_t n, bool avg)
{
    for (size_t i = done; i < n; i++) {
        add(&k, v[i]);
    }
    if (!isfinite(k.c)) {
        return avg ? exact_avg(v, n) : exact_sum(v, n);
    }
    return avg ? k.sum / (double) n + k.c / (double) n : k.sum + k.c;
}

static void
steps_sum(const nlt_pql_steps_t *s, bool avg, double *out, uint64_t *present)
{
    const nlt_pql_lanes_t *lanes = nlt_pql_lanes();
    group_t g;

    for (size_t next = 0; next_group(s, &next, NLT_PQL_LANES_SUM, 1, &g);) {
        nlt_pql_lane_sums_t sums = {{0}, {0}};

        lanes->sum(s->v, g.at, g.common, &sums);
        for (size_t k = 0; k < g.n; k++) {
            out[g.step[k]] = end_sum(lane(&sums, k), s->v + g.at[k], g.common,
                                     g.len[k], avg);
            nlt_pql_mark(present, g.step[k]);
        }
    }
}

NLT_PQL_RANGE_FN(avg_over_time)
{
    (void) f;
    *out = end_sum((nlt_pql_kahan_t){0, 0}, w->v, 0, w->n, true);
    return true;
}

NLT_PQL_STEPS_FN(avg_over_time)
{
    (void) f;
    steps_sum(s, true, out, present);
}

NLT_PQL_RANGE_FN(sum_over_time)
{
    (void) f;
    *out = end_sum((nlt_pql_kahan_t){0, 0}, w->v, 0, w->n, false);
    return true;
}

NLT_PQL_STEPS_FN(sum_over_time)
{
    (void) f;
    steps_sum(s, false, out, present);
}

/* ---- deviations ---- */

/* Welford's method with both accumulators compensated. */
static double
exact_variance(const double *v, size_t n)
{
    nlt_pql_kahan_t mean = {0}, m2 = {0};
    double count = 0;

    for (size_t i = 0; i < n; i++) {
        double delta = v[i] - (mean.sum + mean.c);

        count++;
        nlt_pql_kahan_add(&mean, delta / count);
        nlt_pql_kahan_add(&m2, delta * (v[i] - (mean.sum + mean.c)));
    }
    return (m2.sum + m2.c) / count;
}

/* The same from a state on; see end_sum(). */
static double
end_variance(nlt_pql_kahan_t mean, nlt_pql_kahan_t m2, const double *v,
             size_t done, size_t n)
{
    double count = (double) done;

    for (size_t i = done; i < n; i++) {
        double delta = v[i] - (mean.sum + mean.c);

        count++;
        add(&mean, delta / count);
        add(&m2, delta * (v[i] - (mean.sum + mean.c)));
    }
    double sum = m2.sum + m2.c;

    return isfinite(sum) ? sum / count : exact_variance(v, n);
}

static void
steps_variance(const nlt_pql_steps_t *s, bool root, double *out,
               uint64_t *present)
{
    const nlt_pql_lanes_t *lanes = nlt_pql_lanes();
    group_t g;

    for (size_t next = 0; next_group(s, &next, NLT_PQL_LANES_VAR, 1, &g);) {
        nlt_pql_lane_sums_t mean = {{0}, {0}}, m2 = {{0}, {0}};

        lanes->variance(s->v, g.at, g.common, &mean, &m2);
        for (size_t k = 0; k < g.n; k++) {
            double variance = end_variance(lane(&mean, k), lane(&m2, k),
                                           s->v + g.at[k], g.common, g.len[k]);

            out[g.step[k]] = root ? sqrt(variance) : variance;
            nlt_pql_mark(present, g.step[k]);
        }
    }
}

NLT_PQL_RANGE_FN(stdvar_over_time)
{
    (void) f;
    *out = exact_variance(w->v, w->n);
    return true;
}

NLT_PQL_STEPS_FN(stdvar_over_time)
{
    (void) f;
    steps_variance(s, false, out, present);
}

NLT_PQL_RANGE_FN(stddev_over_time)
{
    (void) f;
    *out = sqrt(exact_variance(w->v, w->n));
    return true;
}

NLT_PQL_STEPS_FN(stddev_over_time)
{
    (void) f;
    steps_variance(s, true, out, present);
}

/* ---- regression ---- */

/* Sums over a window; x is in seconds from an origin. */
typedef struct {
    nlt_pql_kahan_t x, y, xy, xx;
    bool varies; /* some y differs from the first */
} line_t;

static inline double
seconds(int64_t t_ms, int64_t origin_ms)
{
    return (double) (t_ms - origin_ms) / 1e3;
}

static void
exact_line(const int64_t *t_ms, const double *v, size_t n, int64_t origin_ms,
           line_t *l)
{
    *l = (line_t){.varies = false};
    for (size_t i = 0; i < n; i++) {
        double x = seconds(t_ms[i], origin_ms);

        l->varies |= i > 0 && v[i] != v[0];
        nlt_pql_kahan_add(&l->x, x);
        nlt_pql_kahan_add(&l->y, v[i]);
        nlt_pql_kahan_add(&l->xy, x * v[i]);
        nlt_pql_kahan_add(&l->xx, x * x);
    }
}

/* From the state in l on; see end_sum().  Two sums a vector. */
static void
end_line(const int64_t *t_ms, const double *v, size_t done, size_t n,
         int64_t origin_ms, line_t *l)
{
    nlt_pair_t s1 = {l->x.sum, l->y.sum}, c1 = {l->x.c, l->y.c};
    nlt_pair_t s2 = {l->xx.sum, l->xy.sum}, c2 = {l->xx.c, l->xy.c};
    bool varies = l->varies;

    for (size_t i = done; i < n; i++) {
        double x = seconds(t_ms[i], origin_ms);
        nlt_pair_t p1 = {x, v[i]}, p2 = nlt_pair_of(x) * p1;
        nlt_pair_t t1 = s1 + p1, t2 = s2 + p2;

        varies |= i > 0 && v[i] != v[0];
        c1 += nlt_pair_lost(s1, p1, t1);
        c2 += nlt_pair_lost(s2, p2, t2);
        s1 = t1;
        s2 = t2;
    }
    if (!isfinite((c1[0] + c1[1]) + (c2[0] + c2[1]))) {
        exact_line(t_ms, v, n, origin_ms, l);
        return;
    }
    *l = (line_t){{s1[0], c1[0]},
                  {s1[1], c1[1]},
                  {s2[1], c2[1]},
                  {s2[0], c2[0]},
                  varies};
}

/*
 * Least squares; x and xx are the sums of x and x * x.  A constant series has
 * slope 0 exactly; an infinite constant has none.
 */
static void
regression(const line_t *l, double x, double xx, double first, double n,
           double *slope, double *intercept)
{
    if (!l->varies) {
        *slope = isinf(first) ? NAN : 0;
        *intercept = isinf(first) ? NAN : first;
        return;
    }
    double y = l->y.sum + l->y.c;
    double covariance = (l->xy.sum + l->xy.c) - x * y / n;
    double variance = xx - x * x / n;

    *slope = covariance / variance;
    *intercept = y / n - *slope * x / n;
}

static void
window_line(const nlt_pql_window_t *w, int64_t origin_ms, double *slope,
            double *intercept)
{
    line_t l = {.varies = false};

    end_line(w->t_ms, w->v, 0, w->n, origin_ms, &l);
    regression(&l, l.x.sum + l.x.c, l.xx.sum + l.xx.c, w->v[0], (double) w->n,
               slope, intercept);
}

/* Can the kernels take all times of a group from these origins? */
static bool
origins_near(const nlt_pql_steps_t *s, const group_t *g,
             const int64_t *origin_ms)
{
    for (size_t k = 0; k < g->n; k++) {
        const int64_t *t_ms = s->t_ms + g->at[k];
        int64_t first, last;

        if (__builtin_sub_overflow(t_ms[0], origin_ms[k], &first)
            || __builtin_sub_overflow(t_ms[g->len[k] - 1], origin_ms[k], &last)
            || first <= -NLT_PQL_LANES_FAR_MS
            || last >= NLT_PQL_LANES_FAR_MS) {
            return false;
        }
    }
    return true;
}

/*
 * The slope of each window or, with params, the value on its line.  The sums
 * of x hang on times alone, so the next series that has the same is spared
 * them.
 */
static void
steps_line(const nlt_pql_steps_t *s, bool predict, double *out,
           uint64_t *present)
{
    const nlt_pql_lanes_t *lanes = nlt_pql_lanes();
    nlt_pql_stretch_t *kept = s->stretch;
    bool known = kept && kept->known;
    group_t g;

    for (size_t next = 0; next_group(s, &next, NLT_PQL_LANES_LINE, 2, &g);) {
        nlt_pql_lane_lines_t sums = {.varies = {0}};
        int64_t origin_ms[NLT_PQL_LANES_LINE];

        for (size_t k = 0; k < NLT_PQL_LANES_LINE; k++) {
            size_t i = g.step[k < g.n ? k : g.n - 1];

            origin_ms[k] = predict ? s->eval_ms + (int64_t) i * s->step_ms
                                   : s->t_ms[g.at[k]];
        }
        if (!origins_near(s, &g, origin_ms)) {
            g.common = 0;
        }
        (known ? lanes->line_y : lanes->line)(s->t_ms, s->v, g.at, origin_ms,
                                              g.common, &sums);
        for (size_t k = 0; k < g.n; k++) {
            line_t l = {lane(&sums.x, k), lane(&sums.y, k), lane(&sums.xy, k),
                        lane(&sums.xx, k), sums.varies[k] != 0};
            size_t i = g.step[k], at = g.at[k];
            double slope, intercept, x, xx;

            end_line(s->t_ms + at, s->v + at, g.common, g.len[k], origin_ms[k],
                     &l);
            x = known ? kept->factor[i] : l.x.sum + l.x.c;
            xx = known ? kept->squares[i] : l.xx.sum + l.xx.c;
            if (kept) {
                kept->factor[i] = x;
                kept->squares[i] = xx;
            }
            regression(&l, x, xx, s->v[at], (double) g.len[k], &slope,
                       &intercept);
            out[i] = predict ? slope * s->params[0][i] + intercept : slope;
            nlt_pql_mark(present, i);
        }
    }
    if (kept) {
        kept->known = true;
    }
}

NLT_PQL_RANGE_FN(deriv)
{
    double intercept;

    (void) f;
    if (w->n < 2) {
        return false;
    }
    window_line(w, w->t_ms[0], out, &intercept);
    return true;
}

NLT_PQL_STEPS_FN(deriv)
{
    (void) f;
    steps_line(s, false, out, present);
}

/* params: seconds from the evaluation time. */
NLT_PQL_RANGE_FN(predict_linear)
{
    double slope, intercept;

    (void) f;
    if (w->n < 2) {
        return false;
    }
    window_line(w, w->eval_ms, &slope, &intercept);
    *out = slope * w->params[0] + intercept;
    return true;
}

NLT_PQL_STEPS_FN(predict_linear)
{
    (void) f;
    steps_line(s, true, out, present);
}

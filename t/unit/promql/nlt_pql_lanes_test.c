/*
 * nlt_pql_lanes_test.c - windows side by side, by each instruction set that
 * this processor has: the bits that each window has alone.
 */
#include "nlt_pql_fn.h"
#include "nlt_pql_lanes.h"
#include "nlt_test.h"

#define SAMPLES_MAX 200

typedef struct {
    int64_t t_ms[SAMPLES_MAX];
    double v[SAMPLES_MAX];
    size_t at[NLT_PQL_LANES_MAX];
    int64_t origin_ms[NLT_PQL_LANES_MAX];
    size_t n;
} fix_t;

/* Sometimes finite to the end, sometimes not. */
static double
random_value(unsigned kind)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, 1e308, -1e308};

    switch (kind) {
    case 0:
        return ldexp((double) nlt_test_below(1 << 30) - (1 << 29),
                     (int) nlt_test_below(120) - 60);
    case 1:
        return (double) nlt_test_below(1000000) / 1000;
    case 2:
        return nlt_test_below(2) ? 0.0 : -0.0;
    case 3:
        return ldexp((double) nlt_test_below(1 << 20) - (1 << 19), -1074);
    default:
        return nlt_test_below(200) ? 0.1 : odd[nlt_test_below(5)];
    }
}

static void
random_windows(fix_t *x)
{
    unsigned kind = (unsigned) nlt_test_below(5);
    int64_t t = 1700000000000;

    for (size_t i = 0; i < SAMPLES_MAX; i++) {
        t += 1 + (int64_t) nlt_test_below(30000);
        x->t_ms[i] = t;
        x->v[i] = random_value(kind);
    }
    x->n = nlt_test_below(SAMPLES_MAX / 2);
    for (size_t k = 0; k < NLT_PQL_LANES_MAX; k++) {
        x->at[k] = nlt_test_below(SAMPLES_MAX / 2);
        x->origin_ms[k] = x->t_ms[x->at[k]];
        if (nlt_test_below(4) == 0) {
            x->origin_ms[k] -= INT64_C(1) << nlt_test_below(50);
        }
    }
}

static bool
same(double a, double b)
{
    return nlt_bits_of(a) == nlt_bits_of(b);
}

/* want was made by Neumaier's method; was all of it finite? */
static void
check_lane(const char *what, const nlt_pql_lane_sums_t *got, size_t k,
           nlt_pql_kahan_t want, bool finite)
{
    if (finite ? !same(got->sum[k], want.sum) || !same(got->c[k], want.c)
               : isfinite(got->c[k])) {
        printf("# %s, lane %zu: %g %g, not %g %g\n", what, k, got->sum[k],
               got->c[k], want.sum, want.c);
        nlt_test_fail(__FILE__, __LINE__, "differs");
    }
}

static void
kahan(nlt_pql_kahan_t *k, double x, bool *finite)
{
    nlt_pql_kahan_add(k, x);
    *finite = *finite && isfinite(x) && isfinite(k->sum);
}

static void
check_sums(const nlt_pql_lanes_t *lanes, const fix_t *x)
{
    nlt_pql_lane_sums_t got;

    lanes->sum(x->v, x->at, x->n, &got);
    for (size_t k = 0; k < NLT_PQL_LANES_SUM; k++) {
        nlt_pql_kahan_t want = {0};
        bool finite = true;

        for (size_t i = 0; i < x->n; i++) {
            kahan(&want, x->v[x->at[k] + i], &finite);
        }
        check_lane("sum", &got, k, want, finite);
    }
}

static void
check_variances(const nlt_pql_lanes_t *lanes, const fix_t *x)
{
    nlt_pql_lane_sums_t mean, m2;

    lanes->variance(x->v, x->at, x->n, &mean, &m2);
    for (size_t k = 0; k < NLT_PQL_LANES_VAR; k++) {
        nlt_pql_kahan_t want = {0}, want2 = {0};
        bool finite = true;

        for (size_t i = 0; i < x->n; i++) {
            double v = x->v[x->at[k] + i];
            double delta = v - (want.sum + want.c);

            kahan(&want, delta / (double) (i + 1), &finite);
            kahan(&want2, delta * (v - (want.sum + want.c)), &finite);
        }
        check_lane("m2", &m2, k, want2, finite);
        if (finite) {
            check_lane("mean", &mean, k, want, true);
        }
    }
}

static void
check_lines(const nlt_pql_lanes_t *lanes, const fix_t *x)
{
    nlt_pql_lane_lines_t got, alone;

    lanes->line(x->t_ms, x->v, x->at, x->origin_ms, x->n, &got);
    memset(&alone, 0, sizeof(alone));
    lanes->line_y(x->t_ms, x->v, x->at, x->origin_ms, x->n, &alone);
    for (size_t k = 0; k < NLT_PQL_LANES_LINE; k++) {
        nlt_pql_kahan_t sx = {0}, sy = {0}, sxy = {0}, sxx = {0};
        bool fx = true, fy = true, fxy = true, varies = false;

        for (size_t i = 0; i < x->n; i++) {
            double y = x->v[x->at[k] + i];
            double t =
                (double) (x->t_ms[x->at[k] + i] - x->origin_ms[k]) / 1e3;

            varies |= y != x->v[x->at[k]];
            kahan(&sx, t, &fx);
            kahan(&sy, y, &fy);
            kahan(&sxy, t * y, &fxy);
            kahan(&sxx, t * t, &fx);
        }
        check_lane("x", &got.x, k, sx, fx);
        check_lane("y", &got.y, k, sy, fy);
        check_lane("xy", &got.xy, k, sxy, fxy);
        check_lane("y alone", &alone.y, k, sy, fy);
        check_lane("xy without x", &alone.xy, k, sxy, fxy);
        NLT_CHECK(alone.x.sum[k] == 0 && alone.xx.sum[k] == 0);
        NLT_CHECK_INT(alone.varies[k] != 0, varies);
        check_lane("xx", &got.xx, k, sxx, fx);
        NLT_CHECK_INT(got.varies[k] != 0, varies);
    }
}

static void
each_lane_is_a_window_alone(void)
{
    size_t n_sets = 0;

    (void) nlt_test_seed();
    for (; nlt_pql_lanes_at(n_sets); n_sets++) {
        for (int round = 0; round < 2000; round++) {
            fix_t x;

            random_windows(&x);
            check_sums(nlt_pql_lanes_at(n_sets), &x);
            check_variances(nlt_pql_lanes_at(n_sets), &x);
            check_lines(nlt_pql_lanes_at(n_sets), &x);
        }
    }
    printf("# %zu instruction sets\n", n_sets);
    NLT_CHECK(n_sets >= 1);
}

static void
the_quickest_is_one_of_all(void)
{
    size_t i = 0;

    while (nlt_pql_lanes_at(i) && nlt_pql_lanes_at(i) != nlt_pql_lanes()) {
        i++;
    }
    NLT_CHECK(nlt_pql_lanes_at(i) != NULL);
}

int
main(void)
{
    NLT_TEST(each_lane_is_a_window_alone);
    NLT_TEST(the_quickest_is_one_of_all);
    return nlt_test_done();
}

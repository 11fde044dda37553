/*
 * nlt_pql_fn_rate_test.c - rates, with the extrapolation worked out by hand.
 */
#include "nlt_pql_fn.h"
#include "nlt_test.h"

typedef struct {
    nlt_pool_t pool;
    nlt_pql_annots_t annots;
    nlt_err_t err;
    nlt_pql_fctx_t f;
    nlt_pql_window_t w;
    int64_t t_ms[16];
    double out;
} fix_t;

static const int32_t arg_pos[] = {5, 40, 50};

static void
open_fix(fix_t *x)
{
    memset(x, 0, sizeof(*x));
    nlt_pool_init(&x->pool, &nlt_mem_libc, 1 << 20);
    nlt_pql_annots_init(&x->annots, &x->pool);
    x->f = (nlt_pql_fctx_t){.annots = &x->annots,
                            .arg_pos = arg_pos,
                            .err = &x->err,
                            .scratch = &x->pool};
    x->w = (nlt_pql_window_t){.t_ms = x->t_ms, .range_end_ms = 60000};
    x->w.eval_ms = 60000;
}

/* Samples every 10 s from first_s on, in the window (0, 60 s]. */
static bool
run(fix_t *x, nlt_pql_range_fn_t fn, int64_t first_s, const double *v,
    size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x->t_ms[i] = (first_s + 10 * (int64_t) i) * 1000;
    }
    x->w.v = v;
    x->w.n = n;
    x->out = -12345;
    return fn(&x->f, &x->w, &x->out);
}

#define RUN(x, name, first_s, ...)                                            \
    run(x, nlt_pql_fn_##name, first_s, (const double[]){__VA_ARGS__},         \
        sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void
near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-13 * fabs(want))) {
        NLT_CHECK_BITS(got, want);
    }
}

static void
full_window_is_stretched_to_its_edges(void)
{
    fix_t x;

    open_fix(&x);
    NLT_CHECK(RUN(&x, increase, 10, 100, 110, 120, 130, 140, 150));
    near(x.out, 60); /* 50 in 50 s, 10 s more at the start */
    NLT_CHECK(RUN(&x, rate, 10, 100, 110, 120, 130, 140, 150));
    near(x.out, 1);
    NLT_CHECK(RUN(&x, delta, 10, 150, 140, 130, 120, 110, 100));
    near(x.out, -60);
    nlt_pool_deinit(&x.pool);
}

static void
one_sample_has_no_rate(void)
{
    fix_t x;

    open_fix(&x);
    NLT_CHECK(!RUN(&x, rate, 10, 100));
    NLT_CHECK(!RUN(&x, delta, 10, 100));
    NLT_CHECK(!RUN(&x, irate, 10, 100));
    NLT_CHECK(!RUN(&x, idelta, 10, 100));
    NLT_CHECK(!RUN(&x, deriv, 10, 100));
    nlt_pool_deinit(&x.pool);
}

static void
far_edges_get_half_a_distance(void)
{
    fix_t x;

    open_fix(&x);
    /* 30 s before, 20 s after: 5 s each */
    NLT_CHECK(RUN(&x, increase, 30, 100, 110));
    near(x.out, 20);
    nlt_pool_deinit(&x.pool);
}

static void
counters_are_not_stretched_below_zero(void)
{
    fix_t x;

    open_fix(&x);
    /* from 2 it took 2 s since zero, not 5 s; 10 s + 2 s + 0 s */
    NLT_CHECK(RUN(&x, increase, 50, 2, 12));
    near(x.out, 12);
    NLT_CHECK(RUN(&x, delta, 50, 2, 12));
    near(x.out, 15);
    nlt_pool_deinit(&x.pool);
}

static void
resets_are_added_back(void)
{
    fix_t x;

    open_fix(&x);
    /* 20 to 30, reset, 0 to 5 and 10: 10 + 5 + 5 in 30 s */
    NLT_CHECK(RUN(&x, increase, 30, 20, 30, 5, 10));
    near(x.out, 20 * (30 + 5.0) / 30);
    NLT_CHECK(RUN(&x, resets, 10, 1, 2, 1, 1, 3, 0));
    NLT_CHECK_BITS(x.out, 2);
    nlt_pool_deinit(&x.pool);
}

static void
instant_rate_uses_the_last_two(void)
{
    fix_t x;

    open_fix(&x);
    NLT_CHECK(RUN(&x, irate, 10, 1, 50, 60));
    NLT_CHECK_BITS(x.out, 1);
    NLT_CHECK(RUN(&x, irate, 10, 1, 50, 20));
    NLT_CHECK_BITS(x.out, 2); /* reset: from zero */
    NLT_CHECK(RUN(&x, idelta, 10, 1, 50, 20));
    NLT_CHECK_BITS(x.out, -30);
    nlt_pool_deinit(&x.pool);
}

static void
nan_to_nan_is_no_change(void)
{
    fix_t x;

    open_fix(&x);
    NLT_CHECK(RUN(&x, changes, 10, 1, 1, NAN, NAN, 2, 1));
    NLT_CHECK_BITS(x.out, 3);
    nlt_pool_deinit(&x.pool);
}

static void
regression_finds_the_line(void)
{
    fix_t x;
    double ahead = 30;

    open_fix(&x);
    x.w.params = &ahead;
    NLT_CHECK(RUN(&x, deriv, 10, 5, 10, 15, 20));
    near(x.out, 0.5);
    NLT_CHECK(RUN(&x, predict_linear, 10, 5, 10, 15, 20));
    near(x.out, 45); /* 0.5 * t at t = 90 */
    NLT_CHECK(RUN(&x, deriv, 10, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7));
    NLT_CHECK_BITS(x.out, 0);
    NLT_CHECK(RUN(&x, deriv, 10, INFINITY, INFINITY));
    NLT_CHECK(isnan(x.out));
    nlt_pool_deinit(&x.pool);
}

static void
smoothing_follows_level_and_trend(void)
{
    fix_t x;
    double factors[] = {0.5, 0.1}, bad[] = {1, 0.5}, bad2[] = {0.5, 0};

    open_fix(&x);
    x.w.params = factors;
    /* 4, trend 2: level .5*6 + .5*(4+2) = 6, trend .1*2 + .9*2 = 2,
     * level .5*10 + .5*(6+2) = 9 */
    NLT_CHECK(RUN(&x, double_exponential_smoothing, 10, 4, 6, 10));
    near(x.out, 9);
    x.w.params = bad;
    NLT_CHECK(!RUN(&x, double_exponential_smoothing, 10, 4, 6));
    NLT_CHECK_INT(x.f.rc, NLT_EEXEC);
    NLT_CHECK(strcmp(x.err.text, "invalid smoothing factor. Expected: 0 < sf "
                                 "< 1, got: 1.000000")
              == 0);
    x.w.params = bad2;
    NLT_CHECK(!RUN(&x, double_exponential_smoothing, 10, 4, 6));
    NLT_CHECK(strcmp(x.err.text, "invalid trend factor. Expected: 0 < tf < "
                                 "1, got: 0.000000")
              == 0);
    nlt_pool_deinit(&x.pool);
}

static void
anchored_window_begins_with_the_sample_before(void)
{
    fix_t x;

    open_fix(&x);
    x.w.anchored = true;
    /* at -5 s: 3, then 5 s: 7, 15 s: 8; no stretching */
    NLT_CHECK(RUN(&x, increase, -5, 3, 7, 8));
    NLT_CHECK_BITS(x.out, 5);
    NLT_CHECK(RUN(&x, delta, -5, 3, 7, 1));
    NLT_CHECK_BITS(x.out, -2);
    NLT_CHECK(RUN(&x, rate, -5, 3, 7, 8));
    near(x.out, 5.0 / 60);
    NLT_CHECK(RUN(&x, changes, -5, 3, 7, 8));
    NLT_CHECK_BITS(x.out, 2);
    NLT_CHECK(RUN(&x, increase, -5, 3, 7, 2)); /* reset between 7 and 2 */
    NLT_CHECK_BITS(x.out, 6);
    NLT_CHECK(!RUN(&x, increase, -20, 3, 7)); /* all before the window */
    nlt_pool_deinit(&x.pool);
}

static void
smoothed_window_interpolates_its_edges(void)
{
    fix_t x;

    open_fix(&x);
    x.w.smoothed = true;
    x.w.range_end_ms = 20000;
    /* -5 s: 0, 5 s: 10, 15 s: 20, 25 s: 30: value 5 at 0, 25 at 20 s */
    NLT_CHECK(RUN(&x, delta, -5, 0, 10, 20, 30));
    near(x.out, 20);
    NLT_CHECK(RUN(&x, rate, -5, 0, 10, 20, 30));
    near(x.out, 1);
    nlt_pool_deinit(&x.pool);
}

static void
interpolation_knows_resets(void)
{
    NLT_CHECK_BITS(nlt_pql_interpolate(0, 10, 10, 20, 5, true), 15);
    NLT_CHECK_BITS(nlt_pql_interpolate(0, 20, 10, 10, 5, false), 15);
    NLT_CHECK_BITS(nlt_pql_interpolate(0, 20, 10, 10, 5, true), 5);
}

/* 100 at -5 s, 10 at 25 s; both edges are after the reset. */
static void
smoothed_window_within_a_reset(void)
{
    fix_t x;
    int64_t t_ms[] = {-5000, 25000};
    double v[] = {100, 10};

    open_fix(&x);
    x.w.smoothed = true;
    x.w.range_end_ms = 10000;
    x.w.t_ms = t_ms;
    x.w.v = v;
    x.w.n = 2;
    NLT_CHECK(nlt_pql_fn_increase(&x.f, &x.w, &x.out));
    near(x.out, 10.0 * 15 / 30 - 10.0 * 5 / 30);
    NLT_CHECK(nlt_pql_fn_delta(&x.f, &x.w, &x.out));
    near(x.out, -30);
    nlt_pool_deinit(&x.pool);
}

static void
smoothed_window_before_all_samples_is_empty(void)
{
    fix_t x;

    open_fix(&x);
    x.w.smoothed = true;
    x.w.range_end_ms = 5000;
    NLT_CHECK(!RUN(&x, rate, 10, 5, 6));
    x.w.range_end_ms = 15000;
    NLT_CHECK(RUN(&x, increase, 10, 5, 6));
    near(x.out, 0.5);
    nlt_pool_deinit(&x.pool);
}

static void
odd_counter_names_are_noted_once(void)
{
    fix_t x;
    nlt_annots_t shown = {0};
    nlt_str_t fine[] = {NLT_STR("a_total"), NLT_STR("a_sum"),
                        NLT_STR("a_count"), NLT_STR("a_bucket"), NLT_STR("")};

    open_fix(&x);
    for (size_t i = 0; i < NLT_COUNT(fine); i++) {
        x.w.metric_name = fine[i];
        NLT_CHECK(RUN(&x, rate, 10, 1, 2));
    }
    NLT_CHECK_INT(x.annots.n, 0);
    x.w.metric_name = NLT_STR("a\"b");
    NLT_CHECK(RUN(&x, rate, 10, 1, 2));
    NLT_CHECK(RUN(&x, increase, 10, 1, 2));
    NLT_CHECK(RUN(&x, irate, 10, 1, 2));
    NLT_CHECK_INT(x.annots.n, 1);
    NLT_CHECK_INT(
        nlt_pql_annots_render(&x.annots, NLT_STR("rate(x[1m])"), &shown),
        NLT_OK);
    NLT_CHECK_INT(shown.n_infos, 1);
    if (shown.infos != NULL) {
        NLT_CHECK_STR(shown.infos->text,
                      "PromQL info: metric might not be a counter, name does "
                      "not end in _total/_sum/_count/_bucket: \"a\\\"b\" "
                      "(1:6)");
    }
    nlt_pool_deinit(&x.pool);
}

int
main(void)
{
    NLT_TEST(full_window_is_stretched_to_its_edges);
    NLT_TEST(one_sample_has_no_rate);
    NLT_TEST(far_edges_get_half_a_distance);
    NLT_TEST(counters_are_not_stretched_below_zero);
    NLT_TEST(resets_are_added_back);
    NLT_TEST(instant_rate_uses_the_last_two);
    NLT_TEST(nan_to_nan_is_no_change);
    NLT_TEST(regression_finds_the_line);
    NLT_TEST(smoothing_follows_level_and_trend);
    NLT_TEST(anchored_window_begins_with_the_sample_before);
    NLT_TEST(smoothed_window_interpolates_its_edges);
    NLT_TEST(interpolation_knows_resets);
    NLT_TEST(smoothed_window_within_a_reset);
    NLT_TEST(smoothed_window_before_all_samples_is_empty);
    NLT_TEST(odd_counter_names_are_noted_once);
    return nlt_test_done();
}

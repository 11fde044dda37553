/*
 * nlt_pql_fn_over_time_test.c - aggregations of one window.
 */
#include "nlt_pql_fn.h"
#include "nlt_test.h"

#define MAX 400

/* Runs fn over v[n], one sample every 10 s, the first at 10 s. */
static double
over(nlt_pql_range_fn_t fn, const double *v, size_t n, double param)
{
    static const int32_t arg_pos[] = {7, 9};
    int64_t t_ms[MAX];
    nlt_pool_t pool;
    nlt_pql_annots_t annots;
    nlt_err_t err;
    double out = -12345;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_pql_annots_init(&annots, &pool);
    for (size_t i = 0; i < n; i++) {
        t_ms[i] = 10000 * ((int64_t) i + 1);
    }
    nlt_pql_fctx_t f = {
        .annots = &annots, .arg_pos = arg_pos, .err = &err, .scratch = &pool};
    nlt_pql_window_t w = {.t_ms = t_ms,
                          .v = v,
                          .n = n,
                          .range_end_ms = 10000 * (int64_t) n,
                          .params = &param};

    NLT_CHECK(fn(&f, &w, &out));
    NLT_CHECK_INT(f.rc, NLT_OK);
    nlt_pool_deinit(&pool);
    return out;
}

#define OVER(name, ...)                                                       \
    over(nlt_pql_fn_##name, (const double[]){__VA_ARGS__},                    \
         sizeof((const double[]){__VA_ARGS__}) / sizeof(double), 0)

static void
near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * fabs(want))) {
        NLT_CHECK_BITS(got, want);
    }
}

static void
sums_are_compensated(void)
{
    NLT_CHECK_BITS(OVER(sum_over_time, 1, 1e100, 1, -1e100), 2);
    NLT_CHECK_BITS(OVER(sum_over_time, 5, INFINITY), INFINITY);
    NLT_CHECK(isnan(OVER(sum_over_time, INFINITY, -INFINITY)));
    NLT_CHECK_BITS(OVER(avg_over_time, 1, 1e100, 1, -1e100), 0.5);
}

static void
averages_survive_overflow(void)
{
    double big = 1.7e308;

    NLT_CHECK_BITS(OVER(avg_over_time, big, big, big), big);
    NLT_CHECK_BITS(OVER(avg_over_time, -big, -big), -big);
    NLT_CHECK_BITS(OVER(avg_over_time, 2), 2);
    NLT_CHECK_BITS(OVER(avg_over_time, 1, 2, 6), 3);
    NLT_CHECK_BITS(OVER(avg_over_time, INFINITY), INFINITY);
}

static void
average_of_nothing_is_nan(void)
{
    nlt_pql_avg_t a = {0};

    NLT_CHECK(isnan(nlt_pql_avg_value(&a)));
}

static void
counting_ignores_values(void)
{
    NLT_CHECK_BITS(OVER(count_over_time, NAN, 1, 2), 3);
    NLT_CHECK_BITS(OVER(present_over_time, NAN), 1);
    NLT_CHECK_BITS(OVER(first_over_time, 4, 5, 6), 4);
    NLT_CHECK_BITS(OVER(last_over_time, 4, 5, 6), 6);
}

static void
extremes_ignore_nan_unless_alone(void)
{
    NLT_CHECK_BITS(OVER(max_over_time, NAN, 3, NAN, 5, 1), 5);
    NLT_CHECK_BITS(OVER(min_over_time, NAN, 3, NAN, 5, 1, NAN), 1);
    NLT_CHECK(isnan(OVER(max_over_time, NAN, NAN)));
    NLT_CHECK(isnan(OVER(min_over_time, NAN)));
}

static void
times_of_samples_are_seconds(void)
{
    NLT_CHECK_BITS(OVER(ts_of_first_over_time, 1, 2, 3), 10);
    NLT_CHECK_BITS(OVER(ts_of_last_over_time, 1, 2, 3), 30);
    NLT_CHECK_BITS(OVER(ts_of_max_over_time, 1, 7, 7, 3), 30);
    NLT_CHECK_BITS(OVER(ts_of_min_over_time, NAN, 1, 7, 1, 3), 40);
}

static void
variance_is_of_the_population(void)
{
    near(OVER(stdvar_over_time, 0, 8, 8, 2, 3), 10.56);
    near(OVER(stddev_over_time, 0, 8, 8, 2, 3), 3.2496153618543844);
    NLT_CHECK_BITS(OVER(stdvar_over_time, 1e17, 1e17, 1e17), 0);
    near(OVER(stdvar_over_time, 1e9, 1e9 + 1, 1e9 + 2), 2.0 / 3);
    NLT_CHECK(isnan(OVER(stddev_over_time, 1, NAN)));
}

static void
median_deviation_is_robust(void)
{
    /* median 6, deviations 2 0 1 0 5 3 10 -> median 2 */
    NLT_CHECK_BITS(OVER(mad_over_time, 4, 6, 7, 6, 1, 9, 16), 2);
    NLT_CHECK(isnan(OVER(mad_over_time, 1, 2, NAN, 4)));
}

static int
cmp_nan_first(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    if (isnan(x) || isnan(y)) {
        return (int) isnan(y) - (int) isnan(x);
    }
    return (x > y) - (x < y);
}

/* The definition: sort everything, take two neighbours. */
static double
slow_quantile(double q, double *v, size_t n)
{
    double rank = q * (double) (n - 1);
    size_t lo = (size_t) floor(rank);
    size_t hi = lo + 1 < n ? lo + 1 : n - 1;
    double weight = rank - floor(rank);

    qsort(v, n, sizeof(*v), cmp_nan_first);
    return v[lo] * (1 - weight) + v[hi] * weight;
}

static bool
same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void
quantile_equals_its_definition(void)
{
    nlt_test_seed();
    for (int round = 0; round < 3000; round++) {
        double a[MAX], b[MAX];
        size_t n = 1 + nlt_test_below(round % 2 ? 12 : MAX);
        uint64_t kinds = 1 + nlt_test_below(50);
        double q = (double) nlt_test_below(101) / 100;

        for (size_t i = 0; i < n; i++) {
            uint64_t k = nlt_test_below(kinds);

            a[i] = b[i] = k == 40 ? NAN : k == 41 ? INFINITY : (double) k - 20;
        }
        double want = slow_quantile(q, a, n);
        double got = nlt_pql_quantile(q, b, n);

        if (!same(got, want)) {
            NLT_CHECK_BITS(got, want);
        }
    }
}

#define KILLER_N 2000

/*
 * McIlroy's adversary: answers comparisons of undecided elements ("gas") so
 * that each pivot turns out to be as bad as can be, and so finds values that
 * defeat the selection.
 */
typedef struct {
    int value[KILLER_N];
    int solid;
    int candidate;
} killer_t;

static int
killer_cmp(killer_t *k, int x, int y)
{
    const int gas = KILLER_N;

    if (k->value[x] == gas && k->value[y] == gas) {
        k->value[x == k->candidate ? x : y] = k->solid++;
    }
    if (k->value[x] == gas) {
        k->candidate = x;
    } else if (k->value[y] == gas) {
        k->candidate = y;
    }
    return (k->value[x] > k->value[y]) - (k->value[x] < k->value[y]);
}

static void
swap_int(int *a, int *b)
{
    int t = *a;

    *a = *b;
    *b = t;
}

/* Three-way partition around the median of three, as the code has it. */
static void
killer_run(killer_t *k, int *v, int n)
{
    while (n > 24) {
        int a = v[0], b = v[n / 2], c = v[n - 1], lt = 0, i = 0, gt = n;

        if (killer_cmp(k, a, b) > 0) {
            swap_int(&a, &b);
        }
        int p = killer_cmp(k, c, a) <= 0   ? a
                : killer_cmp(k, c, b) >= 0 ? b
                                           : c;

        while (i < gt) {
            int r = v[i] == p ? 0 : killer_cmp(k, v[i], p);

            if (r < 0) {
                swap_int(&v[lt++], &v[i++]);
            } else if (r > 0) {
                swap_int(&v[i], &v[--gt]);
            } else {
                i++;
            }
        }
        v += gt;
        n -= gt;
    }
}

static void
quantile_survives_its_worst_order(void)
{
    static killer_t k;
    static int idx[KILLER_N];
    static double v[KILLER_N];

    for (int i = 0; i < KILLER_N; i++) {
        idx[i] = i;
        k.value[i] = KILLER_N;
    }
    killer_run(&k, idx, KILLER_N);
    NLT_CHECK(k.solid > KILLER_N - 50);
    for (int i = 0; i < KILLER_N; i++) {
        v[i] = k.value[i];
    }
    /* The last of the solid values lie far up: all rounds are needed. */
    double got = nlt_pql_quantile(0.98, v, KILLER_N);
    double want = slow_quantile(0.98, v, KILLER_N);

    NLT_CHECK_BITS(got, want);
}

static void
quantile_outside_is_infinite(void)
{
    double v[] = {3, 1, 2};

    NLT_CHECK_BITS(nlt_pql_quantile(-0.1, v, 3), -INFINITY);
    NLT_CHECK_BITS(nlt_pql_quantile(1.1, v, 3), INFINITY);
    NLT_CHECK(isnan(nlt_pql_quantile(NAN, v, 3)));
    NLT_CHECK(isnan(nlt_pql_quantile(0.5, v, 0)));
    NLT_CHECK_BITS(nlt_pql_quantile(0, v, 3), 1);
    NLT_CHECK_BITS(nlt_pql_quantile(1, v, 3), 3);
    NLT_CHECK_BITS(over(nlt_pql_fn_quantile_over_time, v, 3, 0.5), 2);
}

/* Rendered through the shared collector: text and place of A1. */
static void
wrong_quantile_is_told_where(void)
{
    static const int32_t arg_pos[] = {19, 24};
    int64_t t_ms = 1;
    double v = 1, q = 1.5, out;
    nlt_pool_t pool;
    nlt_pql_annots_t annots;
    nlt_annots_t shown = {0};

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_pql_annots_init(&annots, &pool);
    nlt_pql_fctx_t f = {
        .annots = &annots, .arg_pos = arg_pos, .scratch = &pool};
    nlt_pql_window_t w = {.t_ms = &t_ms, .v = &v, .n = 1, .params = &q};

    NLT_CHECK(nlt_pql_fn_quantile_over_time(&f, &w, &out));
    NLT_CHECK_BITS(out, INFINITY);
    NLT_CHECK_INT(
        nlt_pql_annots_render(
            &annots, NLT_STR("quantile_over_time(1.5, x[1m])"), &shown),
        NLT_OK);
    NLT_CHECK_INT(shown.n_warnings, 1);
    if (shown.warnings != NULL) {
        NLT_CHECK_STR(shown.warnings->text,
                      "PromQL warning: quantile value should be between 0 "
                      "and 1, got 1.5 (1:20)");
    }
    nlt_pool_deinit(&pool);
}

static void
no_memory_fails_the_query(void)
{
    static double v[MAX];
    int64_t t_ms[MAX] = {0};
    double q = 0.5, out;
    nlt_pool_t none;
    nlt_err_t err;

    nlt_pool_init(&none, &nlt_mem_libc, 64);
    nlt_pql_fctx_t f = {.err = &err, .scratch = &none};
    nlt_pql_window_t w = {.t_ms = t_ms, .v = v, .n = MAX, .params = &q};

    NLT_CHECK(!nlt_pql_fn_quantile_over_time(&f, &w, &out));
    NLT_CHECK_INT(f.rc, NLT_ENOMEM);
    NLT_CHECK(err.len > 0);
    nlt_pool_deinit(&none);
}

int
main(void)
{
    NLT_TEST(sums_are_compensated);
    NLT_TEST(averages_survive_overflow);
    NLT_TEST(average_of_nothing_is_nan);
    NLT_TEST(counting_ignores_values);
    NLT_TEST(extremes_ignore_nan_unless_alone);
    NLT_TEST(times_of_samples_are_seconds);
    NLT_TEST(variance_is_of_the_population);
    NLT_TEST(median_deviation_is_robust);
    NLT_TEST(quantile_equals_its_definition);
    NLT_TEST(quantile_survives_its_worst_order);
    NLT_TEST(quantile_outside_is_infinite);
    NLT_TEST(wrong_quantile_is_told_where);
    NLT_TEST(no_memory_fails_the_query);
    return nlt_test_done();
}

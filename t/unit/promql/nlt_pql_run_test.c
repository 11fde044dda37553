/*
 * nlt_pql_run_test.c - whole queries: limits, errors, order of results.
 *
 * What expressions compute is in t/promql and in the twin test; here is what
 * happens around them.
 */
#include <math.h>

#include "nlt_pql.h"
#include "nlt_test.h"

#define N_SERIES 4
#define N_POINTS 50

/* m{i="0"} .. m{i="3"}: one sample every ten seconds, value = seconds * i */

static nlt_rc_t source_rc;
static bool odd; /* values are those of odd_values */
static double odd_values[N_SERIES][N_POINTS];
static int canceled;
static int64_t clock_ns;

static nlt_rc_t
src_select(const nlt_source_t *src, nlt_pool_t *pool, const nlt_select_t *sel,
           nlt_series_set_t **out, nlt_err_t *err)
{
    nlt_series_set_t *s = nlt_pool_zalloc(pool, sizeof(*s));

    (void) sel;
    if (source_rc != NLT_OK) {
        return nlt_err_set(err, source_rc, "the disk is gone");
    }
    if (s) {
        s->source = src;
        s->n = N_SERIES;
        *out = s;
    }
    return s ? NLT_OK : NLT_ENOMEM;
}

static nlt_str_t
src_label(const nlt_series_set_t *set, size_t idx, nlt_str_t name)
{
    static const char digits[] = "0123";

    (void) set;
    if (nlt_str_eq(name, NLT_METRIC_NAME)) {
        return NLT_STR("m");
    }
    return nlt_str_eq(name, NLT_STR("i")) ? (nlt_str_t){1, digits + idx}
                                          : (nlt_str_t){0, NULL};
}

static nlt_rc_t
src_labels(const nlt_series_set_t *set, size_t idx, nlt_pool_t *pool,
           nlt_labels_t *out)
{
    nlt_label_t *v = nlt_pool_array(pool, 2, sizeof(*v));

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    v[0] = (nlt_label_t){NLT_METRIC_NAME, NLT_STR("m")};
    v[1] = (nlt_label_t){NLT_STR("i"), src_label(set, idx, NLT_STR("i"))};
    *out = (nlt_labels_t){v, 2};
    return NLT_OK;
}

static nlt_rc_t
src_read(const nlt_series_set_t *set, size_t idx, nlt_read_t what,
         int64_t t_min, int64_t t_max, nlt_samples_t *out, nlt_err_t *err)
{
    (void) set;
    (void) err;
    if (!nlt_samples_reserve(out, N_POINTS)) {
        return NLT_ENOMEM;
    }
    out->n = 0;
    for (int64_t i = 0; i < N_POINTS; i++) {
        int64_t t = i * 10000;

        if (t >= t_min && t <= t_max) {
            out->n = what == NLT_READ_NEWEST ? 0 : out->n;
            out->t_ms[out->n] = t;
            out->v[out->n++] =
                odd ? odd_values[idx][i] : (double) t / 1000 * (double) idx;
        }
    }
    return NLT_OK;
}

static void
src_close(nlt_series_set_t *set)
{
    (void) set;
}

static const nlt_source_ops_t src_ops = {.select = src_select,
                                         .label = src_label,
                                         .labels = src_labels,
                                         .read = src_read,
                                         .close = src_close};
static const nlt_source_t src = {.ops = &src_ops};

static int64_t
slow_clock(void *ctx)
{
    (void) ctx;
    return clock_ns += 1000000;
}

static nlt_pool_t pool;
static nlt_value_t out;
static nlt_annots_t notes;
static nlt_pql_stats_t stats;
static nlt_err_t err;
static nlt_env_t env;
static nlt_pql_query_t q;

/* A range query over 0..490 s, or an instant one at 490 s. */
static nlt_rc_t
run_in(const char *text, bool instant, size_t budget)
{
    nlt_pool_deinit(&pool);
    nlt_pool_init(&pool, &nlt_mem_libc, budget);
    env = nlt_env_posix;
    env.mono_ns = slow_clock;
    q.text = (nlt_str_t){strlen(text), text};
    q.instant = instant;
    q.t_start_ms = instant ? 490000 : 0;
    q.t_end_ms = 490000;
    q.step_ms = 1000;
    q.lookback_ms = 300000;
    q.subquery_step_ms = 60000;
    q.samples_max = q.samples_max ? q.samples_max : 1000000;
    q.features = NLT_PQL_F_ALL & ~(unsigned) NLT_PQL_F_DELAYED_NAME;
    q.env = &env;
    q.source = &src;
    return nlt_pql_run(&pool, &q, &out, &notes, &stats, &err);
}

static nlt_rc_t
run(const char *text, bool instant)
{
    memset(&q, 0, sizeof(q));
    return run_in(text, instant, (size_t) 64 << 20);
}

static nlt_str_t
err_text(void)
{
    return (nlt_str_t){err.len, err.text};
}

static void
sum_of_rates_is_summed_by_label(void)
{
    NLT_CHECK_INT(run("sum by (i) (rate(m[1m]))", true), NLT_OK);
    NLT_CHECK_INT(out.type, NLT_VALUE_VECTOR);
    NLT_CHECK_INT(out.n_series, N_SERIES);
    for (size_t i = 0; i < out.n_series; i++) {
        NLT_CHECK_INT(out.series[i].labels.n, 1);
        NLT_CHECK(out.series[i].v[0] == (double) i);
    }
    NLT_CHECK_INT(stats.series_read, N_SERIES);
}

/* Values whose sums lose digits; in some rounds they overflow, or worse. */
static double
odd_value(bool special)
{
    static const double specials[] = {NAN,      INFINITY, -INFINITY, 1.7e308,
                                      -1.7e308, 1e300,    -0.0,      5e-324};
    double v = (double) nlt_test_below(UINT64_C(1) << 53);

    if (special && nlt_test_below(4) == 0) {
        return specials[nlt_test_below(NLT_COUNT(specials))];
    }
    v = ldexp(v, (int) nlt_test_below(120) - 60);
    return nlt_test_below(2) ? v : -v;
}

/* Prometheus's sum, as it stands there. */
static double
sum_at(size_t point)
{
    double sum = odd_values[0][point], c = 0;

    for (size_t k = 1; k < N_SERIES; k++) {
        double x = odd_values[k][point], t = sum + x;

        if (isinf(t)) {
            c = 0;
        } else if (fabs(sum) >= fabs(x)) {
            c += (sum - t) + x;
        } else {
            c += (x - t) + sum;
        }
        sum = t;
    }
    return isinf(sum) ? sum : sum + c;
}

static void
sums_are_compensated_step_by_step(void)
{
    (void) nlt_test_seed();
    odd = true;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < N_SERIES * N_POINTS; i++) {
            odd_values[i / N_POINTS][i % N_POINTS] = odd_value(round % 2);
        }
        NLT_CHECK_INT(run("sum(m)", false), NLT_OK);
        NLT_CHECK_INT(out.n_series, 1);
        NLT_CHECK_INT(out.series[0].n, 491);
        for (size_t i = 0; i < out.series[0].n; i++) {
            double got = out.series[0].v[i], want = sum_at(i / 10);

            if (nlt_bits_of(got) != nlt_bits_of(want)
                && !(isnan(got) && isnan(want))) {
                printf("# round %d, step %zu: %a, not %a\n", round, i, got,
                       want);
                nlt_test_fail(__FILE__, __LINE__, "differs");
                break;
            }
        }
    }
    odd = false;
}

static void
samples_are_counted_as_often_as_steps_see_them(void)
{
    static const struct {
        const char *text;
        bool instant;
        uint64_t seen;
    } cases[] = {
        {"m", true, 4},
        {"m", false, 4 * 491},
        {"m @ 5", false, 4 * 491},
        {"rate(m[1m])", true, 4 * 6},
        {"last_over_time(m[1m])", true, 4 * 6},
        {"rate(m[1m] @ 490)", false, 4 * 6 * 491},
        {"absent_over_time(m[1m])", true, 4 * 6},
        {"m[1m]", true, 4 * 6},
        /* what is below a subquery does not count, but for a bare one */
        {"sum_over_time(m[5m:1m])", true, 4 * 5},
        {"sum_over_time(rate(m[1m])[5m:1m])", true, 4 * 5},
        {"rate(m[1m])[5m:1m]", true, 4 * 5 * 6},
        {"sum_over_time((m @ 5)[5m:1m])", true, 4 * 5},
        {"m + m", true, 8},
        {"time()", true, 0},
    };

    memset(&q, 0, sizeof(q));
    q.exact_stats = true;
    for (size_t i = 0; i < NLT_COUNT(cases); i++) {
        NLT_CHECK_INT(run_in(cases[i].text, cases[i].instant, 64u << 20),
                      NLT_OK);
        NLT_CHECK_INT(stats.samples_seen, cases[i].seen);
    }
    NLT_CHECK_INT(run("last_over_time(m[1m])", true), NLT_OK);
    NLT_CHECK_INT(stats.samples_read, 4);
}

static void
results_keep_their_type(void)
{
    NLT_CHECK_INT(run("1 + 1", true), NLT_OK);
    NLT_CHECK_INT(out.type, NLT_VALUE_SCALAR);
    NLT_CHECK(out.series[0].v[0] == 2);
    NLT_CHECK_INT(run("1 + 1", false), NLT_OK);
    NLT_CHECK_INT(out.type, NLT_VALUE_MATRIX);
    NLT_CHECK_INT(out.n_steps, 491);
    NLT_CHECK_INT(run("\"x\"", true), NLT_OK);
    NLT_CHECK_INT(out.type, NLT_VALUE_STRING);
    NLT_CHECK_STR(out.string, "x");
    NLT_CHECK_INT(run("m[30s]", true), NLT_OK);
    NLT_CHECK_INT(out.type, NLT_VALUE_MATRIX);
    NLT_CHECK_INT(out.series[1].n, 3);
    NLT_CHECK_INT(out.series[1].t_ms[0], 470000);
    NLT_CHECK_INT(run("m[30s:20s] offset 10s", true), NLT_OK);
    NLT_CHECK_INT(out.series[1].n, 2);
    NLT_CHECK_INT(out.series[1].t_ms[1], 480000);
}

static void
sorted_vectors_stay_sorted(void)
{
    NLT_CHECK_INT(run("sort_desc(m)", true), NLT_OK);
    NLT_CHECK_STR(nlt_labels_get(out.series[0].labels, NLT_STR("i")), "3");
    NLT_CHECK_INT(run("bottomk(2, m)", true), NLT_OK);
    NLT_CHECK_INT(out.n_series, 2);
    NLT_CHECK_STR(nlt_labels_get(out.series[1].labels, NLT_STR("i")), "1");
    NLT_CHECK_INT(run("sort_desc(m)", false), NLT_OK);
    NLT_CHECK_STR(nlt_labels_get(out.series[0].labels, NLT_STR("i")), "0");
    NLT_CHECK_INT(notes.n_warnings, 1);
}

static void
wrong_types_are_bad_requests(void)
{
    NLT_CHECK_INT(run("m[1m]", false), NLT_EINVAL);
    NLT_CHECK_STR(err_text(),
                  "invalid expression type \"range vector\" for range query, "
                  "must be Scalar or instant Vector");
    NLT_CHECK_INT(run("m +", true), NLT_EINVAL);
}

static void
duplicates_are_evaluation_errors(void)
{
    NLT_CHECK_INT(run("label_replace(m, \"i\", \"\", \"\", \"\")", false),
                  NLT_EEXEC);
    NLT_CHECK_STR(err_text(),
                  "vector cannot contain metrics with the same labelset");
    NLT_CHECK_INT(run("m * on () m", true), NLT_EEXEC);
    NLT_CHECK_STR(
        err_text(),
        "found duplicate series for the match group {} on the right "
        "hand-side of the operation: [{__name__=\"m\", i=\"0\"}, "
        "{__name__=\"m\", i=\"1\"}];many-to-many matching not allowed: "
        "matching labels must be unique on one side");
    NLT_CHECK_INT(run("m * on () sum(m)", true), NLT_EEXEC);
    NLT_CHECK_STR(err_text(),
                  "multiple matches for labels: many-to-one matching must be "
                  "explicit (group_left/group_right)");
    NLT_CHECK_INT(run("m * on () group_left (i) sum(m)", true), NLT_EEXEC);
    NLT_CHECK_STR(err_text(),
                  "multiple matches for labels: grouping labels must ensure "
                  "unique matches");
    NLT_CHECK_INT(run("topk(NaN, m)", true), NLT_EEXEC);
    NLT_CHECK_STR(err_text(), "Parameter value is NaN");
}

static void
too_many_samples_are_refused(void)
{
    memset(&q, 0, sizeof(q));
    q.samples_max = 491;
    NLT_CHECK_INT(run_in("m", false, (size_t) 64 << 20), NLT_ELIMIT);
    NLT_CHECK_STR(err_text(),
                  "query processing would load too many samples into memory "
                  "in query execution");
    NLT_CHECK_INT(run("sum_over_time(sum(m)[290y:1ms])", true), NLT_ELIMIT);
    NLT_CHECK_INT(run("sum_over_time(sum(m)[20y:1ms])", true), NLT_ENOMEM);
    /* A sum holds its output, not its input. */
    q.samples_max = 2 * 491 + N_POINTS;
    NLT_CHECK_INT(run_in("sum(m)", false, (size_t) 64 << 20), NLT_OK);
    NLT_CHECK(stats.samples_peak <= q.samples_max);
}

static void
too_many_series_are_refused(void)
{
    memset(&q, 0, sizeof(q));
    q.series_max = N_SERIES - 1;
    NLT_CHECK_INT(run_in("sum(m)", false, (size_t) 64 << 20), NLT_ELIMIT);
    NLT_CHECK_STR(err_text(), "query selects too many series");
    q.series_max = N_SERIES;
    NLT_CHECK_INT(run_in("sum(m)", false, (size_t) 64 << 20), NLT_OK);
    /* selectors count together */
    NLT_CHECK_INT(run_in("sum(m) + sum(m)", false, (size_t) 64 << 20),
                  NLT_ELIMIT);
    q.series_max = 2 * N_SERIES;
    NLT_CHECK_INT(run_in("sum(m) + sum(m)", false, (size_t) 64 << 20), NLT_OK);
}

static void
time_and_cancel_end_a_query(void)
{
    memset(&q, 0, sizeof(q));
    q.cancel = &canceled;
    canceled = 1;
    NLT_CHECK_INT(run_in("sum_over_time(m[5m])", false, (size_t) 64 << 20),
                  NLT_ECANCELED);
    NLT_CHECK_STR(err_text(), "query was canceled in expression evaluation");
    canceled = 0;
    q.deadline_ns = clock_ns + 3000000;
    NLT_CHECK_INT(run_in("sum_over_time(m[5m])", false, (size_t) 64 << 20),
                  NLT_ETIMEOUT);
    NLT_CHECK_STR(err_text(), "query timed out in expression evaluation");
}

static void
a_failing_source_is_named(void)
{
    source_rc = NLT_EIO;
    NLT_CHECK_INT(run("m", true), NLT_EIO);
    NLT_CHECK_STR(err_text(), "expanding series: the disk is gone");
    source_rc = NLT_OK;
}

static const char *const hungry[] = {
    "sum by (i) (rate(m[1m])) + on (i) group_left () m",
    "label_replace(m, \"j\", \"$1\", \"i\", \"(.*)\") or m unless m",
    "topk(2, m) + quantile(0.5, m) + count_values(\"v\", m)",
    "histogram_quantile(0.9, label_join(m, \"le\", \"\", \"i\"))",
    "info(m, {i=~\"1|2\"})",
    "sum_over_time(avg(m)[5m:10s]) * absent(m) + scalar(m)",
};

static void
every_small_budget_is_an_error_with_a_text(void)
{
    for (size_t i = 0; i < NLT_COUNT(hungry); i++) {
        size_t budget = 1024;
        nlt_rc_t rc = NLT_ENOMEM;

        while (rc == NLT_ENOMEM && budget < (size_t) 8 << 20) {
            memset(&q, 0, sizeof(q));
            rc = run_in(hungry[i], false, budget);
            NLT_CHECK(rc == NLT_OK || err.len > 0);
            budget += budget / 9;
        }
        NLT_CHECK(rc != NLT_ENOMEM && rc != NLT_EINVAL);
    }
}

int
main(void)
{
    NLT_TEST(sum_of_rates_is_summed_by_label);
    NLT_TEST(sums_are_compensated_step_by_step);
    NLT_TEST(samples_are_counted_as_often_as_steps_see_them);
    NLT_TEST(results_keep_their_type);
    NLT_TEST(sorted_vectors_stay_sorted);
    NLT_TEST(wrong_types_are_bad_requests);
    NLT_TEST(duplicates_are_evaluation_errors);
    NLT_TEST(too_many_samples_are_refused);
    NLT_TEST(too_many_series_are_refused);
    NLT_TEST(time_and_cancel_end_a_query);
    NLT_TEST(a_failing_source_is_named);
    NLT_TEST(every_small_budget_is_an_error_with_a_text);
    nlt_pool_deinit(&pool);
    return nlt_test_done();
}

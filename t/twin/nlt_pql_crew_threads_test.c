/*
 * nlt_pql_crew_threads_test.c - queries with help against the same without.
 *
 * Everything that a query says is written down, bit by bit, and has to be the
 * same whether none, one, two or three threads help: values, labels, order,
 * notes, errors, statistics.
 */
#include <math.h>
#include <sched.h>

#include "nlt_pql.h"
#include "nlt_test.h"
#include "nlt_test_help.h"

#define N_SERIES   48
#define BUDGET     ((size_t) 64 << 20)
#define POINTS_MAX 200
#define LONG       60000 /* samples of one that is too long for helpers */

/* Three metrics whose series are alike but for the name. */
static const char *const metric[3] = {"a_total", "b", "c"};

typedef struct {
    char i[4], g[4];
    int64_t t[POINTS_MAX];
    double v[POINTS_MAX];
    size_t n;
} series_t;

static series_t data[N_SERIES];

/* What goes wrong; -1: nothing. */
static struct {
    int fail_at;   /* series that cannot be read */
    int cancel_at; /* or whose reading cancels the query */
    int long_at; /* or that has LONG samples more, in the first millisecond */
    int canceled;
    int fail_alloc; /* of a helper, so many from now */
} bad;

static size_t n_helped; /* reads by those who help */
static bool yields;     /* does the query's own thread let them? */

typedef struct {
    nlt_series_set_t set;
    size_t idx[N_SERIES];
} set_t;

static size_t
at(const nlt_series_set_t *set, size_t idx)
{
    return ((const set_t *) (const void *) set)->idx[idx];
}

static size_t
labels_of(size_t i, nlt_label_t *v)
{
    v[0] = (nlt_label_t){NLT_METRIC_NAME, nlt_test_str(metric[i % 3])};
    v[1] = (nlt_label_t){NLT_STR("g"), nlt_test_str(data[i].g)};
    v[2] = (nlt_label_t){NLT_STR("i"), nlt_test_str(data[i].i)};
    return 3;
}

static nlt_rc_t
src_select(const nlt_source_t *src, nlt_pool_t *pool, const nlt_select_t *sel,
           nlt_series_set_t **out, nlt_err_t *err)
{
    set_t *s = nlt_pool_zalloc(pool, sizeof(*s));

    (void) err;
    if (s == NULL) {
        return NLT_ENOMEM;
    }
    s->set.source = src;
    for (size_t i = 0; i < N_SERIES; i++) {
        nlt_label_t v[3];
        nlt_labels_t l = {v, labels_of(i, v)};

        if (nlt_matchers_test(sel->matchers, sel->n_matchers, l) == NLT_OK) {
            s->idx[s->set.n++] = i;
        }
    }
    *out = &s->set;
    return NLT_OK;
}

static nlt_str_t
src_label(const nlt_series_set_t *set, size_t idx, nlt_str_t name)
{
    nlt_label_t v[3];

    return nlt_labels_get((nlt_labels_t){v, labels_of(at(set, idx), v)}, name);
}

static nlt_rc_t
src_labels(const nlt_series_set_t *set, size_t idx, nlt_pool_t *pool,
           nlt_labels_t *out)
{
    nlt_label_t *v = nlt_pool_array(pool, 3, sizeof(*v));

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    *out = (nlt_labels_t){v, labels_of(at(set, idx), v)};
    return NLT_OK;
}

static nlt_rc_t
src_read(const nlt_series_set_t *set, size_t idx, nlt_read_t what,
         int64_t t_min, int64_t t_max, nlt_samples_t *out, nlt_err_t *err)
{
    size_t i = at(set, idx);
    const series_t *s = &data[i];
    size_t more = (int) i == bad.long_at ? LONG : 0;

    if (nlt_test_is_help) {
        (void) __atomic_fetch_add(&n_helped, 1, __ATOMIC_RELAXED);
    } else if (yields) {
        (void) sched_yield();
    }
    if ((int) i == bad.fail_at) {
        return nlt_err_set(err, NLT_EDATA, "series %zu is gone", i);
    }
    if ((int) i == bad.cancel_at) {
        __atomic_store_n(&bad.canceled, 1, __ATOMIC_RELAXED);
    }
    if (!nlt_samples_reserve(out, POINTS_MAX + more)) {
        return NLT_ENOMEM;
    }
    out->n = 0;
    for (size_t k = 0; k < s->n; k++) {
        if (s->t[k] >= t_min && s->t[k] <= t_max) {
            out->n = what == NLT_READ_NEWEST ? 0 : out->n;
            out->t_ms[out->n] = s->t[k];
            out->v[out->n++] = s->v[k];
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

static void
make_data(void)
{
    for (size_t i = 0; i < N_SERIES; i++) {
        series_t *s = &data[i];
        int64_t t = 1000 * (int64_t) nlt_test_below(200);
        double v = (double) nlt_test_below(50);

        (void) snprintf(s->i, sizeof(s->i), "%zu", i / 3);
        (void) snprintf(s->g, sizeof(s->g), "%zu", i / 3 % 4);
        for (s->n = 0; s->n < POINTS_MAX && t < 1800000; s->n++) {
            v = nlt_test_below(10)
                    ? v + (double) nlt_test_below(1000000) / 77777
                    : 0;
            s->t[s->n] = t;
            s->v[s->n] = nlt_test_below(25) ? v
                         : nlt_test_below(3)
                             ? nlt_double_of(NLT_STALE_NAN_BITS)
                             : NAN;
            t += 1000
                 * (1
                    + (int64_t) nlt_test_below(nlt_test_below(15) ? 15 : 400));
        }
    }
    bad.fail_at = bad.cancel_at = bad.long_at = -1;
    bad.canceled = 0;
    bad.fail_alloc = -1;
}

/* ---- everything a query says ---- */

static char said[2][4 << 20];
static size_t n_said;

static void
say(int which, const void *p, size_t n)
{
    if (n_said + n <= sizeof(said[0])) {
        memcpy(said[which] + n_said, p, n);
        n_said += n;
    }
}

static void
say_notes(int which, const nlt_annot_t *a)
{
    for (; a != NULL; a = a->next) {
        say(which, a->text.data, a->text.len);
        say(which, "\n", 1);
    }
}

static void
say_value(int which, const nlt_value_t *v)
{
    say(which, &v->type, sizeof(v->type));
    say(which, &v->n_series, sizeof(v->n_series));
    for (size_t i = 0; i < v->n_series; i++) {
        const nlt_value_series_t *s = &v->series[i];

        for (size_t k = 0; k < s->labels.n; k++) {
            say(which, s->labels.v[k].name.data, s->labels.v[k].name.len);
            say(which, "=", 1);
            say(which, s->labels.v[k].value.data, s->labels.v[k].value.len);
        }
        for (size_t k = 0; k < s->n; k++) {
            if (nlt_value_has(s, k)) {
                say(which, &k, sizeof(k));
                say(which, &s->v[k], sizeof(s->v[k]));
            }
        }
    }
}

/* Memory that fails in threads that help. */
static void *
mem_alloc(void *ctx, size_t size)
{
    (void) ctx;
    if (nlt_test_is_help
        && __atomic_load_n(&bad.fail_alloc, __ATOMIC_RELAXED) >= 0
        && __atomic_fetch_sub(&bad.fail_alloc, 1, __ATOMIC_RELAXED) == 0) {
        return NULL;
    }
    return malloc(size);
}

static void
mem_free(void *ctx, void *p, size_t size)
{
    (void) ctx;
    (void) size;
    free(p);
}

static const nlt_mem_t mem = {mem_alloc, mem_free, NULL};

/* Stands still until reading a series has canceled the query. */
static int64_t
clock_read(void *ctx)
{
    (void) ctx;
    return bad.cancel_at >= 0
                   && __atomic_load_n(&bad.canceled, __ATOMIC_RELAXED)
               ? 1000
               : 0;
}

static size_t n_hands; /* in all queries so far */

/* Runs it and writes down what it says. */
static nlt_rc_t
run(int which, nlt_pql_query_t *q, const nlt_help_t *help, size_t budget)
{
    nlt_env_t env = nlt_env_posix;
    nlt_pool_t pool;
    nlt_value_t out;
    nlt_annots_t notes;
    nlt_pql_stats_t st;
    nlt_err_t err;
    nlt_rc_t rc;

    env.mono_ns = clock_read;
    q->env = &env;
    q->help = help;
    nlt_pool_init(&pool, &mem, budget);
    rc = nlt_pql_run(&pool, q, &out, &notes, &st, &err);
    n_hands += st.helpers;
    st.helpers = 0;
    st.prepare_ns = st.eval_ns = st.sort_ns = 0;
    n_said = 0;
    say(which, &rc, sizeof(rc));
    say(which, &st, sizeof(st));
    if (rc == NLT_OK) {
        say_value(which, &out);
        say_notes(which, notes.warnings);
        say_notes(which, notes.infos);
    } else {
        say(which, err.text, err.len);
    }
    nlt_pool_deinit(&pool);
    return rc;
}

static const char *const queries[] = {
    "b",
    "{__name__=~\"a_total|b|c\"}",
    "sum by (g) (rate(a_total[2m]))",
    "sum(b)",
    "avg without (i) (c)",
    "stddev by (g) ({__name__!=\"\"})",
    "rate(b[1m])",
    "rate({__name__=~\"b|c\"}[2m])",
    "sum by (g) (rate({__name__=~\"b|c|a_total\"}[2m]))",
    "quantile_over_time(1.5, b[2m])",
    "quantile_over_time(scalar(b{i=\"1\"}), c[2m]) + rate(c[1m])",
    "topk(3, c)",
    "limitk(2, b)",
    "b / on (i) c",
    "rate(a_total[1m]) / on (i) group_left () rate(b[3m])",
    "b and on (g) (c > 20)",
    "last_over_time(b[5m])",
    "count_values(\"v\", b)",
    "max_over_time(b[1m]) > 3",
    "sum(b offset 1m)",
    "sum(c @ 600)",
    "stddev_over_time(c[3m])",
    "sum without (i) (increase(a_total[5m] offset 30s))",
    "max_over_time(rate(a_total[1m])[5m:30s])",
    "absent(b > 1e9)",
    "timestamp(b)",
    "-b",
    "abs(b - 20)",
    "predict_linear(c[5m], 60)",
    "double_exponential_smoothing(b[5m], 0.5, 0.5)",
    "double_exponential_smoothing(b[5m], 2, 0.5)",
    "rate(a_total[2m] smoothed)",
    "increase(a_total[2m] anchored)",
    "b smoothed",
    "label_replace(rate(b[1m]), \"h\", \"$1\", \"i\", \"(.).*\")",
    "histogram_quantile(0.5, b)",
    "sort_desc(avg_over_time(b[2m]))",
    "b[5m]",
    "min_over_time(c[10m]) + on (i) max_over_time(b[10m])",
};

static nlt_pql_query_t
random_query(const char *text)
{
    nlt_pql_query_t q = {.text = nlt_test_str(text),
                         .instant = nlt_test_below(3) == 0,
                         .t_start_ms =
                             300000 + 500 * (int64_t) nlt_test_below(900),
                         .step_ms = 1000 * (1 + (int64_t) nlt_test_below(60)),
                         .lookback_ms = 60000,
                         .subquery_step_ms = 60000,
                         .samples_max = 1000000,
                         .features = NLT_PQL_F_ALL,
                         .source = &src,
                         .cancel = &bad.canceled,
                         .exact_stats = nlt_test_below(2)};

    if (nlt_test_below(3)) {
        q.features &= ~(unsigned) NLT_PQL_F_DELAYED_NAME;
    }
    q.t_end_ms =
        q.instant ? q.t_start_ms
                  : q.t_start_ms + q.step_ms * (int64_t) nlt_test_below(150);
    return q;
}

/* Asks alone, then with one to three; all say the same. */
static nlt_rc_t
compare(nlt_pql_query_t *q)
{
    static nlt_test_help_t h;
    nlt_rc_t alone = run(0, q, NULL, BUDGET);
    size_t n = n_said;

    for (unsigned n_max = 1; n_max <= 3; n_max++) {
        nlt_test_help_init(&h, n_max);
        yields = nlt_test_below(4) != 0;

        nlt_rc_t rc = run(1, q, &h.help, BUDGET);
        bool good =
            rc == alone && n_said == n && memcmp(said[0], said[1], n) == 0;

        nlt_test_help_done(&h);
        if (!good) {
            printf("# %s: %zu and %zu bytes, %s and %s, %u help\n",
                   q->text.data, n, n_said, nlt_rc_text(alone),
                   nlt_rc_text(rc), n_max);
            NLT_CHECK(good);
            break;
        }
    }
    return alone;
}

static void
for_all_queries(size_t rounds, void (*prepare)(nlt_pql_query_t *q))
{
    size_t n_failed = 0;

    for (size_t r = 0; r < rounds; r++) {
        make_data();
        for (size_t i = 0; i < NLT_COUNT(queries); i++) {
            nlt_pql_query_t q = random_query(queries[i]);

            if (prepare) {
                prepare(&q);
            }
            n_failed += compare(&q) != NLT_OK;
        }
    }
    NLT_CHECK(n_failed < rounds * NLT_COUNT(queries));
}

static void
answers_are_those_of_one_thread(void)
{
    n_hands = n_helped = 0;
    for_all_queries(3, NULL);
    printf("# %zu hands, %zu reads by them\n", n_hands, n_helped);
    NLT_CHECK(n_hands > 100);
    NLT_CHECK(n_helped > 300);
}

static void
limit_samples(nlt_pql_query_t *q)
{
    q->samples_max = nlt_test_below(3000);
}

static void
limits_end_at_the_same_series(void)
{
    for_all_queries(2, limit_samples);
}

static void
fail_somewhere(nlt_pql_query_t *q)
{
    (void) q;
    bad.fail_at = (int) nlt_test_below(N_SERIES);
}

static void
a_series_that_cannot_be_read_gives_the_same_error(void)
{
    for_all_queries(2, fail_somewhere);
}

static void
one_is_long(nlt_pql_query_t *q)
{
    (void) q;
    bad.long_at = (int) nlt_test_below(N_SERIES);
}

/* BUDGET / 8 / (lanes and one) is less than such a series has. */
static void
what_is_too_large_for_a_helper_is_made_without(void)
{
    for_all_queries(1, one_is_long);
}

static void
helpers_may_get_no_memory(void)
{
    static nlt_test_help_t h;

    make_data();
    for (int n = 0; n < 40; n++) {
        nlt_pql_query_t q =
            random_query(queries[(size_t) n % NLT_COUNT(queries)]);
        nlt_rc_t alone = run(0, &q, NULL, BUDGET);
        size_t len = n_said;

        nlt_test_help_init(&h, 2);
        bad.fail_alloc = n % 5;
        NLT_CHECK_INT(run(1, &q, &h.help, BUDGET), alone);
        NLT_CHECK_INT(n_said, len);
        NLT_CHECK(memcmp(said[0], said[1], len) == 0);
        nlt_test_help_done(&h);
        bad.fail_alloc = -1;
    }
}

static void
a_small_budget_is_not_shared(void)
{
    static nlt_test_help_t h;
    nlt_pql_query_t q = random_query("sum by (g) (rate(a_total[2m]))");

    make_data();
    nlt_test_help_init(&h, 3);
    n_hands = 0;
    /* less is left than a row needs */
    q.instant = false;
    q.step_ms = 100;
    q.t_end_ms = q.t_start_ms + 9999 * q.step_ms;
    NLT_CHECK_INT(run(0, &q, &h.help, (size_t) 2500 << 10), NLT_OK);
    NLT_CHECK_INT(n_hands, 0);
    nlt_test_help_done(&h);
}

static void
all_leave_when_it_is_canceled_or_late(void)
{
    static nlt_test_help_t h;
    size_t n_canceled = 0, n_late = 0;

    for (size_t r = 0; r < 60; r++) {
        nlt_pql_query_t q =
            random_query("sum(last_over_time({__name__!=\"\"}[5m]))");

        q.instant = false;
        q.t_end_ms = q.t_start_ms + 900 * q.step_ms;
        make_data();
        bad.cancel_at = (int) nlt_test_below(N_SERIES / 2);
        if (r % 2) {
            q.cancel = NULL;
            q.deadline_ns = 1000;
        }
        nlt_test_help_init(&h, 1 + (unsigned) r % 3);

        nlt_rc_t rc = run(0, &q, &h.help, BUDGET);

        n_canceled += rc == NLT_ECANCELED;
        n_late += rc == NLT_ETIMEOUT;
        nlt_test_help_done(&h);
    }
    NLT_CHECK_INT(n_canceled, 30);
    NLT_CHECK_INT(n_late, 30);
}

/* ---- help that comes too late, or never ---- */

static nlt_help_call_t *kept[64];
static size_t n_kept;

static bool
post_later(void *ctx, nlt_help_call_t *call)
{
    (void) ctx;
    if (n_kept == NLT_COUNT(kept)) {
        return false;
    }
    kept[n_kept++] = call;
    return true;
}

static void
help_that_never_comes_costs_no_answer(void)
{
    const nlt_help_t help = {post_later, NULL, &nlt_mem_libc, 3, 0};

    make_data();
    n_kept = 0;
    for (size_t i = 0; i < NLT_COUNT(queries); i++) {
        nlt_pql_query_t q = random_query(queries[i]);
        nlt_rc_t alone = run(0, &q, NULL, BUDGET);
        size_t n = n_said;

        NLT_CHECK_INT(run(1, &q, &help, BUDGET), alone);
        NLT_CHECK(n_said == n && memcmp(said[0], said[1], n) == 0);
    }
    NLT_CHECK_INT(n_kept, NLT_COUNT(kept));
    while (n_kept > 0) {
        n_kept--;
        n_kept % 2 ? nlt_help_run(kept[n_kept]) : nlt_help_end(kept[n_kept]);
    }
}

int
main(void)
{
    nlt_test_seed();
    NLT_TEST(answers_are_those_of_one_thread);
    NLT_TEST(limits_end_at_the_same_series);
    NLT_TEST(a_series_that_cannot_be_read_gives_the_same_error);
    NLT_TEST(what_is_too_large_for_a_helper_is_made_without);
    NLT_TEST(helpers_may_get_no_memory);
    NLT_TEST(a_small_budget_is_not_shared);
    NLT_TEST(all_leave_when_it_is_canceled_or_late);
    NLT_TEST(help_that_never_comes_costs_no_answer);
    return nlt_test_done();
}

/*
 * nlt_api_query.c - query and query_range.
 *
 * The order of the checks is part of the contract: of several mistakes in
 * one request Prometheus reports a certain one.
 */
#include "nlt_api_range.h"
#include "nlt_num.h"

/* What follows when a duration is one, but too long. */
#define OVERFLOWS ". It overflows int64"

#define NS_PER_MS 1000000

/* H5: a step or timeout that is missing or no duration. */
static bool
param_duration(nlt_api_t *a, const char *name, int64_t *out_ns)
{
    nlt_str_t s = nlt_api_param_text(a, name);
    nlt_rc_t rc = nlt_time_parse_step(s, out_ns);

    if (rc == NLT_OK) {
        return true;
    }
    nlt_api_bad_param(a, name, "cannot parse %.*s to a valid duration%s",
                      NLT_FMT(nlt_api_quote(a, s)),
                      rc == NLT_ELIMIT ? OVERFLOWS : "");
    return false;
}

/* timeout and lookback_delta, which both endpoints have. */
static bool
common_params(nlt_api_t *a, nlt_pql_query_t *q)
{
    nlt_str_t s = nlt_api_param(a, "timeout");
    int64_t ns, timeout_ns = a->conf.timeout_ms * NS_PER_MS;
    nlt_rc_t rc;

    if (s.len > 0) {
        if (!param_duration(a, "timeout", &ns)) {
            return false;
        }
        if (ns <= 0) {
            nlt_api_bad_param(a, "query", "context deadline exceeded");
            return false;
        }
        timeout_ns = nlt_min_i64(timeout_ns, ns);
    }
    q->timeout_ms = timeout_ns / NS_PER_MS;
    q->deadline_ns = a->start_ns + timeout_ns;

    q->lookback_ms = a->conf.lookback_ms;
    s = nlt_api_param(a, "lookback_delta");
    if (s.len > 0) {
        rc = nlt_time_parse_step(s, &ns);
        if (rc != NLT_OK) {
            nlt_api_fail(a, "bad_data", 400,
                         "error parsing lookback delta duration: cannot "
                         "parse %.*s to a valid duration%s",
                         NLT_FMT(nlt_api_quote(a, s)),
                         rc == NLT_ELIMIT ? OVERFLOWS : "");
            return false;
        }
        if (ns > 0) {
            /* times are milliseconds: less than one sees nothing */
            q->lookback_ms = ns < NS_PER_MS ? 1 : ns / NS_PER_MS;
        }
    }
    return true;
}

/* Seconds as Go prints a float in JSON. */
static void
add_seconds(nlt_buf_t *b, const char *name, int64_t ns)
{
    char text[NLT_NUM_TEXT_MAX];

    nlt_buf_addf(b, "\"%s\":%.*s", name,
                 (int) nlt_num_sample(text, (double) ns / 1e9), text);
}

/*
 * The stats object of the answer, when it is asked for: where the time went,
 * from the request until now.
 */
static nlt_str_t
stats_text(nlt_api_t *a, const nlt_pql_stats_t *st, int64_t run_ns)
{
    nlt_buf_t b;
    nlt_str_t out;
    int64_t total_ns = nlt_mono_ns(a->env) - a->start_ns;
    int64_t queue_ns = run_ns - a->start_ns;

    if (nlt_api_param(a, "stats").len == 0) {
        return (nlt_str_t){0, NULL};
    }
    nlt_buf_init(&b, a->env->mem, 4096);
    nlt_buf_add_c(&b, ",\"stats\":{\"timings\":{");
    add_seconds(&b, "evalTotalTime", total_ns - queue_ns);
    nlt_buf_add_c(&b, ",");
    add_seconds(&b, "resultSortTime", st->sort_ns);
    nlt_buf_add_c(&b, ",");
    add_seconds(&b, "queryPreparationTime", st->prepare_ns);
    nlt_buf_add_c(&b, ",");
    add_seconds(&b, "innerEvalTime", st->eval_ns - st->sort_ns);
    nlt_buf_add_c(&b, ",");
    add_seconds(&b, "execQueueTime", queue_ns);
    nlt_buf_add_c(&b, ",");
    add_seconds(&b, "execTotalTime", total_ns);
    nlt_buf_addf(&b,
                 "},\"samples\":{\"totalQueryableSamples\":%llu,"
                 "\"samplesRead\":%llu,\"peakSamples\":%llu}}",
                 (unsigned long long) st->samples_seen,
                 (unsigned long long) st->samples_read,
                 (unsigned long long) st->samples_peak);
    out = nlt_pool_str(&a->pool, nlt_buf_str(&b));
    nlt_buf_deinit(&b);
    return out;
}

nlt_rc_t
nlt_api_name_limit(const nlt_api_t *a, const nlt_pql_query_t *q, nlt_rc_t rc,
                   nlt_err_t *err)
{
    static const char series[] = "query selects too many series";
    static const char samples[] = "query processing would load too many";
    nlt_err_t met = *err;
    char duration[64];
    size_t len;

    if (rc == NLT_ELIMIT
        && strncmp(met.text, series, sizeof(series) - 1) == 0) {
        return nlt_err_set(err, rc, "%s (nightlight_query_max_series is %llu)",
                           met.text, (unsigned long long) q->series_max);
    }
    if (rc == NLT_ELIMIT
        && strncmp(met.text, samples, sizeof(samples) - 1) == 0) {
        return nlt_err_set(err, rc,
                           "%s (nightlight_query_max_samples is %llu)",
                           met.text, (unsigned long long) q->samples_max);
    }
    if (rc == NLT_ETIMEOUT) {
        len = nlt_time_print_duration(duration, q->timeout_ms);
        return nlt_err_set(err, rc, "%s (%s is %.*s)", met.text,
                           q->timeout_ms == a->conf.timeout_ms
                               ? "nightlight_query_timeout"
                               : "timeout",
                           (int) len, duration);
    }
    return rc;
}

/* Adds a text in front of the warnings. */
static bool
warn(nlt_api_t *a, nlt_str_t text)
{
    nlt_annot_t *w = nlt_pool_alloc(&a->pool, sizeof(*w));

    if (w == NULL) {
        return false;
    }
    w->text = text;
    w->next = a->annots.warnings;
    a->annots.warnings = w;
    return true;
}

/* Any value of `stats` asks for them; two are meant to. */
static bool
warn_stats(nlt_api_t *a)
{
    nlt_str_t s = nlt_api_param(a, "stats");
    nlt_buf_t b;
    nlt_str_t text;

    if (s.len == 0 || nlt_str_eq(s, NLT_STR("true"))
        || nlt_str_eq(s, NLT_STR("all"))) {
        return true;
    }
    nlt_buf_init(&b, a->env->mem, 8192);
    nlt_buf_addf(&b,
                 "value %.*s for parameter \"stats\" is deprecated and will "
                 "be rejected in the next major release, use \"true\" or "
                 "\"all\"",
                 NLT_FMT(nlt_api_quote(a, s)));
    text = nlt_pool_str(&a->pool, nlt_buf_str(&b));
    nlt_buf_deinit(&b);
    return text.data != NULL && warn(a, text);
}

typedef struct {
    nlt_pql_query_t *q;
    size_t limit;
} run_t;

static nlt_rc_t
run_eval(nlt_api_t *a, void *ctx, nlt_err_t *err)
{
    const run_t *r = ctx;
    nlt_value_t *value = nlt_pool_zalloc(&a->pool, sizeof(*value));
    nlt_pql_stats_t stats = {0};
    int64_t run_ns = nlt_mono_ns(a->env);
    nlt_rc_t rc;

    if (value == NULL) {
        return NLT_ENOMEM;
    }
    r->q->source = &a->view.source;
    rc = nlt_pql_run(&a->pool, r->q, value, &a->annots, &stats, err);
    a->answer.samples_read = stats.samples_read;
    a->answer.series_read = stats.series_read;
    a->answer.help += stats.helpers;
    nlt_api_note_samples(a, stats.samples_peak);
    nlt_api_note_series(a, stats.series_selected);
    if (rc == NLT_EINVAL) {
        nlt_api_bad_param(a, "query", "%s", err->text);
        return NLT_OK;
    }
    if (rc != NLT_OK) {
        return nlt_api_name_limit(a, r->q, rc, err);
    }
    if (r->limit > 0 && value->n_series > r->limit
        && value->type != NLT_VALUE_SCALAR) {
        value->n_series = r->limit;
        if (!warn(a, NLT_STR("results truncated due to limit"))) {
            return NLT_ENOMEM;
        }
    }
    if (!warn_stats(a)) {
        return NLT_ENOMEM;
    }
    a->json.kind = NLT_JSON_VALUE;
    a->json.value = value;
    a->json.annots = &a->annots;
    a->json.stats = stats_text(a, &stats, run_ns);
    nlt_api_json(a);
    return NLT_OK;
}

static void
run(nlt_api_t *a, nlt_pql_query_t *q, size_t limit)
{
    run_t r = {q, limit};

    q->text = nlt_api_param_text(a, "query");
    q->subquery_step_ms = 60 * 1000;
    q->samples_max = a->conf.samples_max;
    q->series_max = a->conf.series_max;
    q->features = a->conf.features;
    q->exact_stats = nlt_api_param(a, "stats").len > 0;
    q->cancel = &a->cancel;
    q->env = a->env;
    q->help = a->conf.help;
    if (a->stop_ns != 0) {
        q->deadline_ns = nlt_min_i64(q->deadline_ns, a->stop_ns);
        q->help = NULL; /* it would be done before help comes */
    }
    /* what is made within a try's time is not large */
    if (!q->instant && limit == 0 && a->stop_ns == 0
        && nlt_api_param(a, "stats").len == 0
        && nlt_api_range_in_parts(a, q)) {
        return;
    }
    nlt_api_over_view(a, run_eval, &r);
}

void
nlt_api_run_query(nlt_api_t *a)
{
    nlt_pql_query_t q = {.instant = true, .step_ms = 1};
    size_t limit;

    if (!nlt_api_param_limit(a, &limit)
        || !nlt_api_param_time(a, "time", nlt_now_ms(a->env), &q.t_start_ms)
        || !common_params(a, &q)) {
        return;
    }
    q.t_end_ms = q.t_start_ms;
    run(a, &q, limit);
}

/* A time that must be there (H2). */
static bool
required_time(nlt_api_t *a, const char *name, int64_t *out)
{
    nlt_str_t s = nlt_api_param_text(a, name);

    if (s.len > 0 && nlt_time_parse_instant(s, out) == NLT_OK) {
        return true;
    }
    nlt_api_bad_param(a, name, "cannot parse %.*s to a valid timestamp",
                      NLT_FMT(nlt_api_quote(a, s)));
    return false;
}

/* The step, which must not make too many points (H5 to H7). */
static bool
param_step(nlt_api_t *a, nlt_pql_query_t *q)
{
    /* unsigned: start and end may be at opposite ends of int64 */
    uint64_t range_ms = (uint64_t) q->t_end_ms - (uint64_t) q->t_start_ms;
    int64_t ns;

    if (!param_duration(a, "step", &ns)) {
        return false;
    }
    q->step_ms = ns / NS_PER_MS;
    if (ns > 0
        && (q->step_ms > 0
                ? range_ms / (uint64_t) q->step_ms > NLT_QUERY_POINTS_MAX
                : range_ms
                      > (uint64_t) ns * NLT_QUERY_POINTS_MAX / NS_PER_MS)) {
        nlt_api_fail(a, "bad_data", 400,
                     "exceeded maximum resolution of 11,000 points per "
                     "timeseries. Try decreasing the query resolution "
                     "(?step=XX)");
        return false;
    }
    if (q->step_ms <= 0) {
        nlt_api_bad_param(a, "step",
                          "zero or negative query resolution step widths are "
                          "not accepted. Try a positive integer");
        return false;
    }
    return true;
}

void
nlt_api_run_query_range(nlt_api_t *a)
{
    nlt_pql_query_t q = {.instant = false};
    size_t limit;

    if (!nlt_api_param_limit(a, &limit)
        || !required_time(a, "start", &q.t_start_ms)
        || !required_time(a, "end", &q.t_end_ms)) {
        return;
    }
    if (q.t_end_ms < q.t_start_ms) {
        nlt_api_bad_param(a, "end",
                          "end timestamp must not be before start time");
        return;
    }
    if (!param_step(a, &q) || !common_params(a, &q)) {
        return;
    }
    run(a, &q, limit);
}

/*
 * nlt_api_status.c - status/...: what the store is, and how it is configured.
 *
 * The forms are Prometheus's.  What is in them is the store's own: the
 * directives as `config`; those that mean the same as a flag of Prometheus
 * under the name of that flag.
 */
#include "nlt_api.h"
#include "nlt_num.h"
#include "nlt_pql_func.h"

/*
 * The version whose API this is: clients gate features on it (Grafana sends
 * match[] to labels from 2.24 on).  Which program answers stands in branch.
 */
#define API_VERSION "3.5.0"

/* Of nothing that was configured. */
static const nlt_api_server_t no_server;

static const nlt_api_server_t *
server_of(const nlt_api_t *a)
{
    return a->conf.server != NULL ? a->conf.server : &no_server;
}

/* Never "features" beside these: Grafana would take it for Mimir. */
void
nlt_api_run_buildinfo(nlt_api_t *a)
{
    nlt_api_data(a, "{\"version\":\"" API_VERSION "\",\"revision\":\"\","
                    "\"branch\":\"nightlight-" NLT_VERSION "\","
                    "\"buildUser\":\"\",\"buildDate\":\"\","
                    "\"goVersion\":\"\"}");
}

/* ---- values ---- */

/* "15d". */
static void
add_duration(nlt_buf_t *b, int64_t ms)
{
    char text[64];

    nlt_buf_add(b, text, nlt_time_print_duration(text, ms));
}

/*
 * A size in the largest unit that it is a multiple of; suffix follows the
 * letter: "1g", or "1GiB" as Prometheus has it.
 */
static void
add_size(nlt_buf_t *b, uint64_t bytes, const char *units, const char *suffix,
         const char *none)
{
    unsigned i = 0;

    while (units[i] != '\0' && bytes > 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    nlt_buf_add_u64(b, bytes);
    if (i > 0) {
        nlt_buf_add_byte(b, (uint8_t) units[i - 1]);
        nlt_buf_add_c(b, suffix);
    } else {
        nlt_buf_add_c(b, none);
    }
}

static void
add_nginx_size(nlt_buf_t *b, uint64_t bytes)
{
    add_size(b, bytes, "kmg", "", "");
}

static void
add_go_size(nlt_buf_t *b, uint64_t bytes)
{
    add_size(b, bytes, "KMGTPE", "iB", "B");
}

/* The parts of PromQL that are on, with a prefix each. */
static void
add_features(nlt_buf_t *b, unsigned features, const char *prefix,
             const char *separator)
{
    size_t n, printed = 0;
    const nlt_pql_feature_t *f = nlt_pql_feature_table(&n);

    for (size_t i = 0; i < n; i++) {
        if (features & f[i].bit) {
            nlt_buf_add_c(b, printed++ > 0 ? separator : "");
            nlt_buf_add_c(b, prefix);
            nlt_buf_add_c(b, f[i].name);
        }
    }
}

/* {"status":"success","data": of text that is no more than json says. */
static nlt_buf_t *
begin(nlt_api_t *a)
{
    nlt_buf_t *b = nlt_api_begin_text(a);

    nlt_buf_add_c(b, "{\"status\":\"success\",\"data\":");
    return b;
}

static void
end(nlt_api_t *a)
{
    nlt_buf_add_byte(&a->text, '}');
    nlt_api_end_text(a);
}

/* ---- config ---- */

static void
add_sync(nlt_buf_t *b, int64_t ms)
{
    if (ms == NLT_WAL_SYNC_OFF) {
        nlt_buf_add_c(b, "off");
    } else if (ms == NLT_WAL_SYNC_ALWAYS) {
        nlt_buf_add_c(b, "always");
    } else {
        add_duration(b, ms);
    }
}

static void
add_path(nlt_buf_t *b, const char *key, const char *path)
{
    nlt_buf_add_c(b, key);
    nlt_json_string(b, (nlt_str_t){strlen(path), path}, true);
}

static void
add_store(nlt_buf_t *b, const nlt_api_t *a)
{
    const nlt_store_conf_t *s = nlt_store_conf(a->store);

    nlt_buf_add_c(b, "nightlight_store:\n  name: ");
    nlt_json_string(b, a->conf.store_name, true);
    add_path(b, "\n  path: ", s->path);
    add_path(b, "\n  head: ", s->head_path);
    nlt_buf_add_c(b, "\n  memory: ");
    add_nginx_size(b, s->memory_bytes);
    nlt_buf_add_c(b, "\n  retention: ");
    add_duration(b, s->retention_ms);
    if (s->retention_bytes > 0) {
        nlt_buf_add_c(b, "\n  retention_size: ");
        add_nginx_size(b, s->retention_bytes);
    }
    if (s->min_free_bytes > 0) {
        nlt_buf_add_c(b, "\n  min_free: ");
        add_nginx_size(b, s->min_free_bytes);
    }
    nlt_buf_add_c(b, "\n  wal_sync: ");
    add_sync(b, s->wal_sync_ms);
    nlt_buf_add_c(b, s->dense ? "\n  block_format: dense"
                              : "\n  block_format: portable");
}

static void
add_location(nlt_buf_t *b, const nlt_api_conf_t *c)
{
    nlt_buf_add_c(b, "\nnightlight_query_timeout: ");
    add_duration(b, c->timeout_ms);
    nlt_buf_add_c(b, "\nnightlight_query_max_samples: ");
    nlt_buf_add_u64(b, c->samples_max);
    nlt_buf_add_c(b, "\nnightlight_query_max_series: ");
    nlt_buf_add_u64(b, c->series_max);
    nlt_buf_add_c(b, "\nnightlight_query_memory: ");
    add_nginx_size(b, c->memory_max);
    nlt_buf_add_c(b, "\nnightlight_lookback: ");
    add_duration(b, c->lookback_ms);
    nlt_buf_add_c(b, "\nnightlight_promql_features: [");
    add_features(b, c->features, "", ", ");
    nlt_buf_add_c(b, "]\n");
}

void
nlt_api_run_config(nlt_api_t *a)
{
    nlt_buf_t yaml, *b;

    nlt_buf_init(&yaml, a->env->mem, 1u << 16);
    add_store(&yaml, a);
    add_location(&yaml, &a->conf);
    b = begin(a);
    nlt_buf_add_c(b, "{\"yaml\":");
    nlt_json_string(b, nlt_buf_str(&yaml), true);
    nlt_buf_add_byte(b, '}');
    if (yaml.rc != NLT_OK) {
        b->rc = yaml.rc;
    }
    nlt_buf_deinit(&yaml);
    end(a);
}

/* ---- flags ---- */

static void
add_path_flag(nlt_buf_t *b, const char *key, nlt_str_t value)
{
    nlt_buf_add_c(b, key);
    nlt_json_string(b, value, true);
}

void
nlt_api_run_flags(nlt_api_t *a)
{
    const nlt_store_conf_t *s = nlt_store_conf(a->store);
    const nlt_api_server_t *server = server_of(a);
    nlt_buf_t *b = begin(a);

    add_path_flag(b, "{\"config.file\":", server->conf_file);
    nlt_buf_add_c(b, ",\"enable-feature\":\"");
    add_features(b, a->conf.features, "promql-", ",");
    nlt_buf_add_c(b, "\",\"query.lookback-delta\":\"");
    add_duration(b, a->conf.lookback_ms);
    nlt_buf_add_c(b, "\",\"query.max-concurrency\":\"");
    nlt_buf_add_u64(b, server->n_queries);
    nlt_buf_add_c(b, "\",\"query.max-samples\":\"");
    nlt_buf_add_u64(b, a->conf.samples_max);
    nlt_buf_add_c(b, "\",\"query.timeout\":\"");
    add_duration(b, a->conf.timeout_ms);
    add_path_flag(
        b, "\",\"storage.tsdb.path\":", (nlt_str_t){strlen(s->path), s->path});
    nlt_buf_add_c(b, ",\"storage.tsdb.retention.size\":\"");
    add_go_size(b, s->retention_bytes);
    nlt_buf_add_c(b, "\",\"storage.tsdb.retention.time\":\"");
    add_duration(b, s->retention_ms);
    nlt_buf_add_c(b, "\"}");
    end(a);
}

/* ---- runtimeinfo ---- */

/* RFC 3339 with as many digits of the second as there are. */
static void
add_time(nlt_buf_t *b, const char *key, int64_t t_ms)
{
    char text[48];
    size_t n = nlt_time_print_rfc3339(text, t_ms);
    unsigned ms = (unsigned) ((t_ms % 1000 + 1000) % 1000);

    nlt_buf_add_c(b, key);
    nlt_buf_add(b, text, n - 1);
    if (ms > 0) {
        char frac[4] = {'.', (char) ('0' + ms / 100),
                        (char) ('0' + ms / 10 % 10), (char) ('0' + ms % 10)};

        nlt_buf_add(b, frac, ms % 100 == 0 ? 2 : ms % 10 == 0 ? 3 : 4);
    }
    nlt_buf_add_c(b, "Z\"");
}

void
nlt_api_run_runtimeinfo(nlt_api_t *a)
{
    const nlt_store_conf_t *s = nlt_store_conf(a->store);
    const nlt_api_server_t *server = server_of(a);
    nlt_store_gauges_t g;
    nlt_buf_t *b = begin(a);

    nlt_store_gauges(a->store, &g);
    add_time(b, "{\"startTime\":\"", server->t_start_ms);
    add_path_flag(b, ",\"CWD\":", server->cwd);
    add_path_flag(b, ",\"hostname\":", server->hostname);
    add_time(b, ",\"serverTime\":\"", nlt_now_ms(a->env));
    /* a configuration that is not good is never in force */
    nlt_buf_add_c(b, ",\"reloadConfigSuccess\":true");
    add_time(b, ",\"lastConfigTime\":\"",
             server->t_config_ms - server->t_config_ms % 1000);
    nlt_buf_add_c(b, ",\"corruptionCount\":");
    nlt_buf_add_u64(b, g.blocks_left_out);
    nlt_buf_add_c(b, ",\"goroutineCount\":0,\"GOMAXPROCS\":");
    nlt_buf_add_u64(b, server->n_cpus);
    nlt_buf_add_c(b, ",\"GOMEMLIMIT\":");
    nlt_buf_add_u64(b, s->memory_bytes);
    nlt_buf_add_c(b,
                  ",\"GOGC\":\"\",\"GODEBUG\":\"\",\"storageRetention\":\"");
    add_duration(b, s->retention_ms);
    if (s->retention_bytes > 0) {
        nlt_buf_add_c(b, " or ");
        add_go_size(b, s->retention_bytes);
    }
    nlt_buf_add_c(b, "\"}");
    end(a);
}

/* In bytes; Prometheus counts segments, clients divide. */
void
nlt_api_run_walreplay(nlt_api_t *a)
{
    nlt_store_status_t st;
    nlt_buf_t *b = begin(a);

    nlt_store_status(a->store, &st);
    nlt_buf_add_c(b, "{\"min\":0,\"max\":");
    nlt_buf_add_u64(b, st.ready ? 0 : st.replay_total);
    nlt_buf_add_c(b, ",\"current\":");
    nlt_buf_add_u64(b, st.ready ? 0 : st.replay_done);
    nlt_buf_add_byte(b, '}');
    end(a);
}

/* ---- features ---- */

static void
add_feature(nlt_buf_t *b, const char *name, bool on)
{
    size_t len = b->len;

    /* the first of its category comes behind the brace */
    if (len > 0 && b->data[len - 1] != '{') {
        nlt_buf_add_byte(b, ',');
    }
    nlt_json_string(b, (nlt_str_t){strlen(name), name}, true);
    nlt_buf_add_c(b, on ? ":true" : ":false");
}

static void
add_always(nlt_buf_t *b, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_feature(b, names[i], true);
    }
}

static void
add_language(nlt_buf_t *b, unsigned on)
{
    static const char *const plain[] = {"at_modifier", "bool", "by"};
    static const char *const matching[] = {"group_left",
                                           "group_right",
                                           "ignoring",
                                           "negative_offset",
                                           "offset",
                                           "on",
                                           "per_query_lookback_delta"};

    nlt_buf_add_c(b, "},\"promql\":{");
    add_feature(b, "anchored", on & NLT_PQL_F_EXTENDED);
    add_always(b, plain, NLT_COUNT(plain));
    add_feature(b, "delayed_name_removal", on & NLT_PQL_F_DELAYED_NAME);
    add_feature(b, "duration_expr", on & NLT_PQL_F_DURATION_EXPR);
    add_feature(b, "fill", on & NLT_PQL_F_FILL);
    add_always(b, matching, NLT_COUNT(matching));
    add_feature(b, "per_step_stats", false);
    add_feature(b, "smoothed", on & NLT_PQL_F_EXTENDED);
    add_feature(b, "subqueries", true);
    add_feature(b, "type_and_unit_labels", false);
    add_feature(b, "without", true);
}

static void
add_functions(nlt_buf_t *b, unsigned on)
{
    size_t n;
    const nlt_pql_func_t *f = nlt_pql_func_table(&n);

    nlt_buf_add_c(b, "},\"promql_functions\":{");
    for (size_t i = 0; i < n; i++) {
        add_feature(b, f[i].name,
                    !f[i].experimental || (on & NLT_PQL_F_FUNCTIONS));
    }
}

/* Those of the features that are by name what the parser has. */
static void
add_operators(nlt_buf_t *b, unsigned on)
{
    static const char *const ops[] = {
        "!=",   "!~",  "%",     "*",   "+",       "-",     "/",
        "<",    "<=",  "==",    "=~",  ">",       ">=",    "@",
        "^",    "and", "atan2", "avg", "bottomk", "count", "count_values",
        "group"};
    static const char *const more[] = {"max",      "min",    "or",
                                       "quantile", "stddev", "stdvar",
                                       "sum",      "topk",   "unless"};

    nlt_buf_add_c(b, "},\"promql_operators\":{");
    add_always(b, ops, NLT_COUNT(ops));
    add_feature(b, "limit_ratio", on & NLT_PQL_F_FUNCTIONS);
    add_feature(b, "limitk", on & NLT_PQL_F_FUNCTIONS);
    add_always(b, more, NLT_COUNT(more));
}

void
nlt_api_run_features(nlt_api_t *a)
{
    static const char *const api[] = {
        "query_stats", "query_warnings", "remote_write_receiver",
        "time_range_labels", "time_range_series"};
    nlt_buf_t *b = begin(a);

    nlt_buf_add_c(b, "{\"api\":{");
    add_feature(b, "exclude_alerts", true);
    add_feature(b, "label_values_match", true);
    add_feature(b, "lifecycle", false);
    add_feature(b, "otlp_write_receiver", false);
    add_always(b, api, NLT_COUNT(api));
    add_language(b, a->conf.features);
    add_functions(b, a->conf.features);
    add_operators(b, a->conf.features);
    nlt_buf_add_c(b, "},\"tsdb\":{");
    add_feature(b, "delayed_compaction", false);
    add_feature(b, "isolation", false);
    add_feature(b, "native_histograms", false);
    nlt_buf_add_c(b, "}}");
    end(a);
}

/* ---- self_metrics ---- */

static void
add_number(nlt_buf_t *b, const char *key, double value)
{
    char text[NLT_NUM_TEXT_MAX];

    nlt_buf_add_c(b, key);
    nlt_buf_add(b, text, nlt_num_sample(text, value));
}

/* Labels but for the bucket's. */
static void
add_metric_labels(nlt_buf_t *b, const nlt_self_metric_t *m)
{
    size_t n = m->n_labels - (m->type == NLT_SELF_HISTOGRAM);

    nlt_buf_add_c(b, n > 0 ? "\"label\":[" : "");
    for (size_t i = 0; i < n; i++) {
        nlt_buf_add_c(b, i > 0 ? ",{\"name\":" : "{\"name\":");
        nlt_json_string(b, m->label[i].name, true);
        nlt_buf_add_c(b, ",\"value\":");
        nlt_json_string(b, m->label[i].value, true);
        nlt_buf_add_byte(b, '}');
    }
    nlt_buf_add_c(b, n > 0 ? "]," : "");
}

/* One histogram, which begins at m; how many samples it was. */
static size_t
add_buckets(nlt_buf_t *b, const nlt_self_metric_t *m)
{
    size_t n = 0;

    while (strcmp(m[n].suffix, "_bucket") == 0) {
        n++;
    }
    /* protobuf's JSON has 64-bit integers as strings, and no last bucket */
    add_number(b, "\"histogram\":{\"sampleCount\":\"", m[n + 1].value);
    add_number(b, "\",\"sampleSum\":", m[n].value);
    nlt_buf_add_c(b, ",\"bucket\":[");
    for (size_t i = 0; i + 1 < n; i++) {
        nlt_buf_add_c(b, i > 0 ? "," : "");
        add_number(b, "{\"cumulativeCount\":\"", m[i].value);
        nlt_buf_add_c(b, "\",\"upperBound\":");
        nlt_buf_add_str(b, m[i].label[m[i].n_labels - 1].value);
        nlt_buf_add_byte(b, '}');
    }
    nlt_buf_add_c(b, "]}");
    return n + 2;
}

/* One family as protobuf's JSON has it. */
static void
add_family(nlt_buf_t *b, const nlt_self_metric_t *m, size_t n)
{
    static const char *const type[] = {"GAUGE", "COUNTER", "HISTOGRAM"};

    nlt_buf_add_c(b, "{\"name\":");
    nlt_json_string(b, (nlt_str_t){strlen(m->name), m->name}, true);
    nlt_buf_add_c(b, ",\"help\":");
    nlt_json_string(b, (nlt_str_t){strlen(m->help), m->help}, true);
    nlt_buf_addf(b, ",\"type\":\"%s\",\"metric\":[", type[m->type]);
    for (size_t i = 0; i < n; /* void */) {
        nlt_buf_add_c(b, i > 0 ? ",{" : "{");
        add_metric_labels(b, &m[i]);
        if (m->type == NLT_SELF_HISTOGRAM) {
            i += add_buckets(b, &m[i]);
        } else {
            add_number(b,
                       m->type == NLT_SELF_COUNTER ? "\"counter\":{\"value\":"
                                                   : "\"gauge\":{\"value\":",
                       m[i++].value);
            nlt_buf_add_byte(b, '}');
        }
        nlt_buf_add_byte(b, '}');
    }
    nlt_buf_add_c(b, "]}");
}

/*
 * Leaves of l what a tenant may know: that the store is there, which program
 * it is, and what is counted of the tenant itself, which has its name.
 */
static void
keep_own(nlt_api_t *a, nlt_self_list_t *l)
{
    static const nlt_str_t common[] = {
        {sizeof("nightlight_up") - 1, "nightlight_up"},
        {sizeof("nightlight_ready") - 1, "nightlight_ready"},
        {sizeof("nightlight_build_info") - 1, "nightlight_build_info"}};
    nlt_str_t own = nlt_store_tenant_name(a->store, a->conf.tenant, &a->pool);
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++) {
        const nlt_self_metric_t *m = &l->v[i];
        nlt_str_t name = {strlen(m->name), m->name};
        bool is_own = false;

        for (size_t k = 0; k < NLT_COUNT(common); k++) {
            is_own |= nlt_str_eq(name, common[k]);
        }
        for (size_t k = 0; k < m->n_labels; k++) {
            is_own |= own.len > 0
                      && nlt_str_eq(m->label[k].name, NLT_STR("tenant"))
                      && nlt_str_eq(m->label[k].value, own);
        }
        if (is_own) {
            l->v[kept++] = *m;
        }
    }
    l->n = kept;
}

void
nlt_api_run_self_metrics(nlt_api_t *a)
{
    nlt_str_t pattern = nlt_api_param(a, "metric_name_pattern");
    nlt_self_list_t l = {.pool = &a->pool};
    nlt_regex_t *re = NULL;
    nlt_err_t err;
    nlt_rc_t rc = NLT_OK;
    size_t n, printed = 0;
    nlt_buf_t *b;

    if (pattern.len > 0) {
        rc = nlt_regex_compile(&a->pool, pattern, &re, &err);
    }
    if (rc == NLT_EINVAL) {
        nlt_api_fail(a, "bad_data", 400, "invalid metric_name_pattern: %s",
                     err.text);
        return;
    }
    if (rc == NLT_OK) {
        rc = nlt_self_collect(a->store, &a->conn, &l);
        (void) nlt_err_set(&err, rc, "%s", nlt_rc_text(rc));
    }
    if (rc != NLT_OK) {
        nlt_regex_destroy(re);
        nlt_api_fail_rc(a, &err);
        return;
    }
    if (a->conf.tenant != 0) {
        keep_own(a, &l);
    }
    b = begin(a);
    nlt_buf_add_byte(b, '[');
    for (size_t i = 0; i < l.n; i += n) {
        nlt_str_t name = {strlen(l.v[i].name), l.v[i].name};

        for (n = 1; i + n < l.n && strcmp(l.v[i + n].name, name.data) == 0;
             n++) {
            /* void */
        }
        if (re != NULL && nlt_regex_match(re, name) != NLT_OK) {
            continue;
        }
        nlt_buf_add_c(b, printed++ > 0 ? "," : "");
        add_family(b, &l.v[i], n);
    }
    nlt_buf_add_byte(b, ']');
    nlt_regex_destroy(re);
    end(a);
}

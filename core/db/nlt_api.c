/*
 * nlt_api.c - a job of the HTTP API: create, route, run, render, destroy.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "nlt_api.h"

/* Beside the evaluation: parameters, quoted texts, the plan. */
#define POOL_EXTRA (1u << 20)

/* Texts of one answer; and of those that grow with the store or the query. */
#define TEXT_MAX      (1u << 20)
#define LONG_TEXT_MAX (64u << 20)

#define GET_POST (NLT_API_M_GET | NLT_API_M_POST)
#define GET_HEAD (NLT_API_M_GET | NLT_API_M_HEAD)
#define POST_PUT (NLT_API_M_POST | NLT_API_M_PUT)

#define TIME(name) offsetof(nlt_head_counters_t, time_##name)

#define GET   NLT_API_M_GET
#define QUICK NLT_API_QUICK
#define STORE NLT_API_STORE
#define PLAIN NLT_API_PLAIN
#define TRIED NLT_API_TRIED
#define WAITS NLT_API_WAITS

static const nlt_api_route_t routes[] = {
    {NLT_API_QUERY, "query", GET_POST, TRIED, nlt_api_run_query,
     TIME(instant)},
    {NLT_API_QUERY, "query_range", GET_POST, TRIED, nlt_api_run_query_range,
     TIME(range)},
    {NLT_API_QUERY, "format_query", GET_POST, 0, nlt_api_run_format_query, 0},
    {NLT_API_QUERY, "parse_query", GET_POST, 0, nlt_api_run_parse_query, 0},
    {NLT_API_QUERY, "series", GET_POST, TRIED, nlt_api_run_series,
     TIME(series)},
    {NLT_API_QUERY, "labels", GET_POST, TRIED, nlt_api_run_labels,
     TIME(labels)},
    {NLT_API_QUERY, "label/*/values", GET, TRIED, nlt_api_run_label_values,
     TIME(labels)},
    {NLT_API_QUERY, "metadata", GET, 0, nlt_api_run_metadata, TIME(other)},
    {NLT_API_QUERY, "query_exemplars", GET_POST, 0,
     nlt_api_run_query_exemplars, TIME(other)},
    {NLT_API_QUERY, "targets", GET, QUICK, nlt_api_run_targets, 0},
    {NLT_API_QUERY, "targets/metadata", GET, 0, nlt_api_run_targets_metadata,
     0},
    {NLT_API_QUERY, "targets/relabel_steps", GET, QUICK,
     nlt_api_run_relabel_steps, 0},
    {NLT_API_QUERY, "scrape_pools", GET, QUICK, nlt_api_run_scrape_pools, 0},
    {NLT_API_QUERY, "scrape_pools/config", GET, QUICK,
     nlt_api_run_scrape_pool_config, 0},
    {NLT_API_QUERY, "alertmanagers", GET, QUICK, nlt_api_run_alertmanagers, 0},
    {NLT_API_QUERY, "rules", GET, 0, nlt_api_run_rules, 0},
    {NLT_API_QUERY, "alerts", GET, QUICK, nlt_api_run_alerts, 0},
    {NLT_API_QUERY, "notifications", GET, QUICK, nlt_api_run_notifications, 0},
    {NLT_API_QUERY, "features", GET, QUICK, nlt_api_run_features, 0},
    {NLT_API_QUERY, "status/buildinfo", GET, QUICK, nlt_api_run_buildinfo, 0},
    {NLT_API_QUERY, "status/config", GET, QUICK, nlt_api_run_config, 0},
    {NLT_API_QUERY, "status/flags", GET, QUICK, nlt_api_run_flags, 0},
    {NLT_API_QUERY, "status/runtimeinfo", GET, QUICK, nlt_api_run_runtimeinfo,
     0},
    {NLT_API_QUERY, "status/walreplay", GET, QUICK, nlt_api_run_walreplay, 0},
    {NLT_API_QUERY, "status/self_metrics", GET, QUICK,
     nlt_api_run_self_metrics, 0},
    {NLT_API_QUERY, "status/tsdb", GET, 0, nlt_api_run_tsdb, TIME(other)},
    {NLT_API_QUERY, "status/tsdb/blocks", GET, 0, nlt_api_run_blocks,
     TIME(other)},
    {NLT_API_QUERY, "read", NLT_API_M_POST, PLAIN, nlt_api_run_read,
     TIME(read)},
    {NLT_API_QUERY, "federate", GET, PLAIN, nlt_api_run_federate,
     TIME(federate)},
    {NLT_API_STATUS, "healthy", GET_HEAD, QUICK | PLAIN, nlt_api_run_healthy,
     0},
    {NLT_API_STATUS, "ready", GET_HEAD, QUICK | PLAIN, nlt_api_run_ready, 0},
    {NLT_API_STATUS, "flush", POST_PUT, QUICK | PLAIN, nlt_api_run_flush, 0},
    {NLT_API_STATUS, "flush/wait", POST_PUT, PLAIN | WAITS,
     nlt_api_run_flush_wait, 0},
    {NLT_API_METRICS, "*", GET_HEAD, QUICK | PLAIN, nlt_api_run_metrics, 0},
    {NLT_API_ADMIN, "drain", POST_PUT, QUICK | STORE, nlt_api_run_drain, 0},
    {NLT_API_ADMIN, "resume", POST_PUT, QUICK | STORE, nlt_api_run_resume, 0},
    {NLT_API_ADMIN, "tsdb/snapshot", POST_PUT, WAITS, nlt_api_run_snapshot, 0},
    {NLT_API_ADMIN, "tsdb/delete_series", POST_PUT, 0,
     nlt_api_run_delete_series, 0},
    {NLT_API_ADMIN, "tsdb/clean_tombstones", POST_PUT, STORE,
     nlt_api_run_clean_tombstones, 0},
    {NLT_API_ADMIN, "tenants", GET, STORE, nlt_api_run_tenants, 0},
    {NLT_API_ADMIN, "tenants/delete", POST_PUT, STORE,
     nlt_api_run_delete_tenant, 0},
};

/* Does the path match, with one * for a part without slashes? */
static bool
route_matches(const nlt_api_route_t *r, nlt_str_t path, nlt_str_t *arg)
{
    const char *star = strchr(r->path, '*');
    size_t len = strlen(r->path);

    if (star == NULL) {
        return path.len == len && memcmp(path.data, r->path, len) == 0;
    }
    if (len == 1) {
        return true;
    }

    size_t before = (size_t) (star - r->path);
    size_t after = len - before - 1;

    if (path.len <= before + after || memcmp(path.data, r->path, before) != 0
        || memcmp(path.data + path.len - after, star + 1, after) != 0) {
        return false;
    }
    *arg = (nlt_str_t){path.len - before - after, path.data + before};
    return memchr(arg->data, '/', arg->len) == NULL;
}

static const nlt_api_route_t *
find_route(nlt_api_t *a)
{
    for (size_t i = 0; i < NLT_COUNT(routes); i++) {
        if (routes[i].kind == a->req.kind
            && route_matches(&routes[i], a->req.suffix, &a->path_arg)) {
            return &routes[i];
        }
    }
    return NULL;
}

nlt_rc_t
nlt_api_create(const nlt_env_t *env, nlt_store_t *s,
               const nlt_api_conf_t *conf, const nlt_api_request_t *req,
               nlt_api_t **out)
{
    size_t bytes = req->suffix.len + req->args.len + req->form.len
                   + req->content_type.len + req->accept.len;
    nlt_api_t *a;

    if (bytes > NLT_API_REQUEST_MAX) {
        return NLT_ETOOBIG;
    }
    a = nlt_mem_zalloc(env->mem, sizeof(*a));
    if (a == NULL) {
        return NLT_ENOMEM;
    }
    a->env = env;
    a->store = s;
    a->conf = *conf;
    a->req = *req;
    a->start_ns = nlt_mono_ns(env);
    /* the request, its copy unescaped, and what is parsed of it */
    a->extra_bytes = 4 * bytes + POOL_EXTRA;
    nlt_pool_init(&a->pool, env->mem, conf->memory_max + a->extra_bytes);
    nlt_buf_init(&a->text, env->mem, TEXT_MAX);
    nlt_json_stream_init(&a->json, env->mem);

    nlt_str_t *copies[] = {&a->req.suffix, &a->req.args, &a->req.form,
                           &a->req.content_type, &a->req.accept};

    for (size_t i = 0; i < NLT_COUNT(copies); i++) {
        size_t len = copies[i]->len;

        *copies[i] = nlt_pool_str(&a->pool, *copies[i]);
        if (len > 0 && copies[i]->data == NULL) {
            nlt_api_destroy(a);
            return NLT_ENOMEM;
        }
    }
    a->route = find_route(a);
    *out = a;
    return NLT_OK;
}

void
nlt_api_set_conn(nlt_api_t *a, const nlt_self_conn_t *conn)
{
    a->conn = *conn;
}

static unsigned
method_bit(nlt_http_method_t m)
{
    switch (m) {
    case NLT_HTTP_GET:
        return NLT_API_M_GET;
    case NLT_HTTP_POST:
        return NLT_API_M_POST;
    case NLT_HTTP_HEAD:
        return NLT_API_M_HEAD;
    case NLT_HTTP_PUT:
        return NLT_API_M_PUT;
    default:
        return 0;
    }
}

bool
nlt_api_is_quick(const nlt_api_t *a)
{
    return a->route == NULL || (a->route->flags & NLT_API_QUICK)
           || (a->route->methods & method_bit(a->req.method)) == 0;
}

/* An error that no handler has made. */
static void
plain(nlt_api_t *a, int status, const char *text)
{
    nlt_buf_reset(&a->text);
    nlt_buf_add_c(&a->text, text);
    nlt_api_text(a, status, "text/plain; charset=utf-8");
    a->answer.nosniff = true;
}

/* What Allow says for a route; HEAD only where GET has it. */
static nlt_str_t
allow_text(unsigned methods)
{
    switch (methods) {
    case NLT_API_M_GET:
        return NLT_STR("GET, OPTIONS");
    case GET_HEAD:
        return NLT_STR("GET, HEAD, OPTIONS");
    case GET_POST:
        return NLT_STR("GET, OPTIONS, POST");
    case NLT_API_M_POST:
        return NLT_STR("OPTIONS, POST");
    default:
        return NLT_STR("OPTIONS, POST, PUT");
    }
}

/* Is the request about the JSON API, which browsers may use from elsewhere? */
static bool
is_json_api(const nlt_api_t *a)
{
    if (a->route == NULL) {
        return a->req.kind == NLT_API_QUERY || a->req.kind == NLT_API_ADMIN;
    }
    return (a->route->flags & NLT_API_PLAIN) == 0;
}

/*
 * Browsers ask with OPTIONS before they send what is not quite simple, and
 * Prometheus says yes to any path of its API, which /federate is not part of.
 */
static void
answer_options(nlt_api_t *a)
{
    bool alone = a->route != NULL && a->route->run == nlt_api_run_federate;

    if ((a->req.kind == NLT_API_QUERY || a->req.kind == NLT_API_ADMIN)
        && !alone) {
        a->answer.status = 204;
        a->answer.cors = true;
    } else if (a->route == NULL) {
        plain(a, 404, "404 page not found\n");
    } else {
        a->answer.status = 200;
        a->answer.allow = allow_text(a->route->methods);
    }
}

bool
nlt_api_is_counted(const nlt_api_t *a)
{
    return a->route != NULL && a->route->time != 0 && !nlt_api_is_quick(a);
}

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
    if (n == 0) {
        return;
    }
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Likewise for its tenant. */
static void
count_tenant(nlt_api_t *a, bool reads)
{
    static const nlt_outcome_t limits[] = {
        [NLT_QUERY_LIMIT_TIME] = NLT_OUTCOME_TIMEOUT,
        [NLT_QUERY_LIMIT_SAMPLES] = NLT_OUTCOME_LIMIT_SAMPLES,
        [NLT_QUERY_LIMIT_SERIES] = NLT_OUTCOME_LIMIT_SERIES,
        [NLT_QUERY_LIMIT_MEMORY] = NLT_OUTCOME_LIMIT_MEMORY,
        [NLT_QUERY_LIMIT_QUEUE] = NLT_OUTCOME_LIMIT_QUEUE,
    };
    nlt_tenant_counters_t *c;

    if (!nlt_store_hold_tenant(a->store, a->conf.tenant_term)) {
        return;
    }
    c = nlt_store_tenant_hold(a->store, a->conf.tenant);
    nlt_store_release_tenant(a->store);
    if (c == NULL) {
        return;
    }
    _Static_assert(NLT_COUNT(limits) == NLT_TENANT_QUERY_LIMITS, "all");
    for (size_t i = 0; i < NLT_COUNT(limits); i++) {
        count(&c->query_refused[i], a->outcome == limits[i]);
    }
    if (!reads) {
        nlt_store_ctl_release(a->store);
        return;
    }
    count(&c->queries, 1);
    count(&c->query_samples, a->answer.samples_read);
    count(&c->query_ns, (uint64_t) a->busy_ns);
    count(&c->query_errors, a->outcome != NLT_OUTCOME_OK);
    atomic_store(&c->queried_ms, nlt_now_ms(a->env));
    nlt_store_ctl_release(a->store);
}

void
nlt_api_note_samples(nlt_api_t *a, uint64_t n)
{
    a->used.samples_max = n > a->used.samples_max ? n : a->used.samples_max;
}

void
nlt_api_note_series(nlt_api_t *a, uint64_t n)
{
    a->used.series_max = n > a->used.series_max ? n : a->used.series_max;
}

void
nlt_api_note_memory(nlt_api_t *a, size_t bytes)
{
    a->used.memory_max =
        bytes > a->used.memory_max ? bytes : a->used.memory_max;
}

/* Likewise what threads took for it in one go. */
static void
note_time(nlt_api_t *a, int64_t ns)
{
    a->used.timeout_ms = nlt_max_i64(a->used.timeout_ms, ns / 1000000);
}

/* Which of the limits that are only tried did it go beyond? */
static void
compare_tried(nlt_api_t *a)
{
    const nlt_api_tried_t *t = &a->conf.tried, *u = &a->used;

    nlt_api_note_series(a, a->flow.walk.selected);
    nlt_api_note_memory(a, a->flow.walk.peak_bytes);
    if (a->pool.peak_bytes > a->extra_bytes) {
        nlt_api_note_memory(a, a->pool.peak_bytes - a->extra_bytes);
    }
#define OVER(limit, field)                                                    \
    (t->field != 0 && u->field > t->field ? 1u << NLT_QUERY_LIMIT_##limit : 0u)
    a->over_tried |= OVER(TIME, timeout_ms) | OVER(SAMPLES, samples_max)
                     | OVER(SERIES, series_max) | OVER(MEMORY, memory_max);
#undef OVER
}

/*
 * Counts a query, once, when it has ended.  `reads` says whether it came to
 * read anything.
 */
static void
count_query(nlt_api_t *a, bool reads)
{
    nlt_head_counters_t *c;
    nlt_head_ctl_t *ctl;

    if (a->counted || !nlt_api_is_counted(a)) {
        return;
    }
    a->counted = true;
    compare_tried(a);
    ctl = nlt_store_ctl_hold(a->store);
    if (ctl == NULL) {
        return;
    }
    c = &ctl->counters;
    count(&c->outcomes[a->outcome], 1);
    for (size_t i = 0; i < NLT_N_QUERY_LIMITS; i++) {
        count(&c->queries_dry_run[i], a->over_tried >> i & 1);
    }
    if (a->run_ns != 0) {
        nlt_head_observe(
            (nlt_head_histogram_t *) ((uint8_t *) c + a->route->time),
            a->busy_ns);
        nlt_head_observe(&c->time_queue, a->run_ns - a->start_ns);
    }
    if (reads) {
        count(&c->queries, 1);
        count(&c->query_samples, a->answer.samples_read);
        count(&c->query_help, a->answer.help);
        count(&c->query_ns, (uint64_t) a->answer.elapsed_ns);
        count(&c->query_errors, a->outcome != NLT_OUTCOME_OK);
    }
    nlt_store_ctl_release(a->store);
    count_tenant(a, reads);
}

/* Is it about the store, and asked by a tenant? */
static bool
is_operators(const nlt_api_t *a)
{
    return a->conf.tenant != 0 && (a->route->flags & NLT_API_STORE) != 0;
}

static void
answer(nlt_api_t *a)
{
    if (a->req.method == NLT_HTTP_OPTIONS) {
        answer_options(a);
    } else if (a->route == NULL) {
        plain(a, 404, "404 page not found\n");
    } else if ((a->route->methods & method_bit(a->req.method)) == 0) {
        plain(a, 405, "Method Not Allowed\n");
        a->answer.allow = allow_text(a->route->methods);
    } else {
        if (is_operators(a)) {
            nlt_api_fail(a, "forbidden", 403,
                         "this is about all of the store, and only where "
                         "there is no \"nightlight_tenant\"");
        } else if (nlt_api_parse_params(a)) {
            a->route->run(a);
        }
        a->answer.cors = is_json_api(a);
    }
}

/*
 * Answers from the head in which the tenant was looked up: another may know
 * somebody else by that number.  A view that stays open goes on holding it.
 */
static void
answer_from_its_head(nlt_api_t *a)
{
    bool held;

    if (a->conf.tenant_term == 0
        || (a->route != NULL && (a->route->flags & NLT_API_WAITS))) {
        answer(a);
        return;
    }
    held = nlt_store_hold_tenant(a->store, a->conf.tenant_term);
    if (!held) {
        a->conf.tenant = NLT_TENANT_UNKNOWN;
    }
    answer(a);
    if (held) {
        nlt_store_release_tenant(a->store);
    }
}

/* Is the answer complete?  Else more of it has to be made. */
static bool
run(nlt_api_t *a)
{
    int64_t now;

    a->run_ns = nlt_mono_ns(a->env);
    answer_from_its_head(a);
    now = nlt_mono_ns(a->env);
    a->answer.elapsed_ns = now - a->start_ns;
    a->busy_ns = now - a->run_ns;
    note_time(a, a->answer.elapsed_ns);
    return a->flow.ops == NULL || a->flow.done;
}

void
nlt_api_run(nlt_api_t *a)
{
    if (run(a)) {
        count_query(a, a->view_open);
        /* The answer is complete and lies in the pool: a client that takes it
         * slowly must not keep arenas and blocks. */
        nlt_api_close_view(a);
    }
}

bool
nlt_api_try(nlt_api_t *a, int64_t budget_ns, bool blocks)
{
    nlt_head_ctl_t *ctl;
    bool whole;

    a->stop_ns = nlt_mono_ns(a->env) + budget_ns;
    a->head_only = !blocks;
    whole = run(a) && a->answer.status == 200;
    if (whole) {
        count_query(a, a->view_open);
        ctl = nlt_store_ctl_hold(a->store);
        if (ctl != NULL) {
            count(&ctl->counters.queries_at_once, 1);
            nlt_store_ctl_release(a->store);
        }
    } else {
        a->counted = true; /* by who runs it instead */
        nlt_api_flow_end(a);
    }
    nlt_api_close_view(a);
    return whole;
}

void
nlt_api_more(nlt_api_t *a)
{
    int64_t start_ns = nlt_mono_ns(a->env), ns;

    nlt_api_flow_more(a);
    ns = nlt_mono_ns(a->env) - start_ns;
    a->busy_ns += ns;
    note_time(a, ns);
    a->answer.elapsed_ns += ns;
    if (a->flow.done || a->flow.rc != NLT_OK) {
        count_query(a, true);
    }
}

void
nlt_api_refuse(nlt_api_t *a, nlt_outcome_t outcome, int status,
               const char *text)
{
    if (outcome == NLT_OUTCOME_TIMEOUT) {
        nlt_api_fail_timeout(a, text);
    } else {
        nlt_api_fail(a, status == 429 ? "too_many_requests" : "unavailable",
                     status, "%s", text);
    }
    a->outcome = outcome;
    a->answer.cors = is_json_api(a);
    count_query(a, false);
}

void
nlt_api_refuse_sender(nlt_api_t *a, int status, const char *text)
{
    nlt_api_fail(a,
                 status == 403   ? "forbidden"
                 : status == 400 ? "bad_data"
                                 : "internal",
                 status, "%s", text);
    a->answer.cors = is_json_api(a);
}

void
nlt_api_cost(const nlt_api_t *a, nlt_api_cost_t *out)
{
    *out = (nlt_api_cost_t){
        .outcome = a->outcome,
        .samples_read = a->answer.samples_read,
        .series_read = a->answer.series_read,
        .memory_bytes = nlt_api_bytes(a),
        .queue_ns =
            (a->run_ns != 0 ? a->run_ns : nlt_mono_ns(a->env)) - a->start_ns,
        .busy_ns = a->busy_ns,
        .needs_block = a->needs_block || (a->view_open && a->view.needs_block),
        .over_tried = a->over_tried,
        .used = a->used,
    };
    if (!a->counted && a->cancel == NLT_API_CANCELED) {
        out->outcome = NLT_OUTCOME_CANCELED;
    }
}

const char *
nlt_outcome_text(nlt_outcome_t outcome)
{
    static const char *const texts[] = {
#define TEXT(name, text) text,
        NLT_OUTCOMES(TEXT)
#undef TEXT
    };

    return texts[outcome];
}

nlt_str_t
nlt_api_request_param(const nlt_api_t *a, const char *name)
{
    return nlt_api_param(a, name);
}

void
nlt_api_count_dry_run(nlt_api_t *a, nlt_query_limit_t limit)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl_hold(a->store);

    if (ctl != NULL) {
        count(&ctl->counters.queries_dry_run[limit], 1);
        nlt_store_ctl_release(a->store);
    }
}

void
nlt_api_count_slow(nlt_api_t *a)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl_hold(a->store);

    if (ctl != NULL) {
        count(&ctl->counters.slow_queries, 1);
        nlt_store_ctl_release(a->store);
    }
}

void
nlt_api_cancel(nlt_api_t *a)
{
    __atomic_store_n(&a->cancel, NLT_API_CANCELED, __ATOMIC_RELAXED);
}

void
nlt_api_expire(nlt_api_t *a)
{
    int running = 0;

    /* who canceled first is right */
    (void) __atomic_compare_exchange_n(&a->cancel, &running, NLT_API_EXPIRED,
                                       false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

const nlt_api_answer_t *
nlt_api_answer(const nlt_api_t *a)
{
    return &a->answer;
}

size_t
nlt_api_bytes(const nlt_api_t *a)
{
    return a->pool.used_bytes + a->flow.buf.cap
           + nlt_walk_bytes(&a->flow.walk);
}

static nlt_rc_t
take_pieces(nlt_api_t *a, char *out, size_t cap, size_t *len)
{
    *len = 0;
    while (a->pieces != NULL) {
        const nlt_rr_piece_t *p = a->pieces;
        size_t n = p->len - a->taken;

        n = n < cap - *len ? n : cap - *len;
        if (n > 0) {
            memcpy(out + *len, p->data + a->taken, n);
        }
        *len += n;
        a->taken += n;
        if (a->taken < p->len) {
            return NLT_AGAIN;
        }
        a->taken = 0;
        if (p->next == NULL) {
            return NLT_OK;
        }
        a->pieces = p->next;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_api_render(nlt_api_t *a, char *out, size_t cap, size_t *len)
{
    if (a->flow.ops != NULL) {
        return nlt_api_flow_take(a, out, cap, len);
    }
    if (a->pieces != NULL) {
        return take_pieces(a, out, cap, len);
    }
    return nlt_json_stream_take(&a->json, out, cap, len);
}

void
nlt_api_destroy(nlt_api_t *a)
{
    if (a == NULL) {
        return;
    }
    if (!a->counted) {
        /* the client left before the end of it */
        a->outcome = NLT_OUTCOME_CANCELED;
        count_query(a, a->run_ns != 0);
    }
    nlt_api_flow_end(a);
    nlt_json_stream_deinit(&a->json);
    nlt_buf_deinit(&a->text);
    nlt_pool_deinit(&a->pool);
    nlt_mem_free(a->env->mem, a, sizeof(*a));
}

/* ---- answers ---- */

void
nlt_api_text(nlt_api_t *a, int status, const char *content_type)
{
    if (a->text.rc != NLT_OK) {
        status = 500;
        nlt_buf_reset(&a->text);
    }
    a->answer.status = status;
    a->answer.content_type = (nlt_str_t){strlen(content_type), content_type};
    a->answer.has_body = true;
    a->json.kind = NLT_JSON_TEXT;
    a->json.text = nlt_buf_str(&a->text);
}

void
nlt_api_json(nlt_api_t *a)
{
    a->answer.status = 200;
    a->answer.content_type = NLT_STR("application/json");
    a->answer.has_body = true;
}

/* Go's http.Error(): what is no part of the JSON API. */
static bool
is_plain(const nlt_api_t *a)
{
    return a->route != NULL
           && (a->route->run == nlt_api_run_read
               || a->route->run == nlt_api_run_federate);
}

void
nlt_api_data(nlt_api_t *a, const char *json)
{
    nlt_buf_reset(&a->text);
    nlt_buf_add_c(&a->text, "{\"status\":\"success\",\"data\":");
    nlt_buf_add_c(&a->text, json);
    nlt_buf_add_byte(&a->text, '}');
    nlt_api_text(a, 200, "application/json");
}

nlt_buf_t *
nlt_api_begin_text(nlt_api_t *a)
{
    nlt_buf_reset(&a->text);
    a->text.max = LONG_TEXT_MAX;
    return &a->text;
}

void
nlt_api_end_text(nlt_api_t *a)
{
    if (a->text.rc != NLT_OK) {
        nlt_api_fail(a, "execution", 422, "the answer would be too long");
        return;
    }
    nlt_api_text(a, 200, "application/json");
}

static nlt_outcome_t
outcome_of(const char *type)
{
    static const struct {
        const char *type;
        nlt_outcome_t outcome;
    } map[] = {
        {"bad_data", NLT_OUTCOME_BAD_DATA},
        {"execution", NLT_OUTCOME_EXECUTION},
        {"timeout", NLT_OUTCOME_TIMEOUT},
        {"canceled", NLT_OUTCOME_CANCELED},
        {"unavailable", NLT_OUTCOME_NOT_READY},
    };

    for (size_t i = 0; i < NLT_COUNT(map); i++) {
        if (strcmp(map[i].type, type) == 0) {
            return map[i].outcome;
        }
    }
    return NLT_OUTCOME_ERROR;
}

void
nlt_api_fail(nlt_api_t *a, const char *type, int status, const char *fmt, ...)
{
    char text[2 * NLT_ERR_TEXT_MAX];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0) {
        n = 0;
    } else if (n >= (int) sizeof(text)) {
        n = (int) sizeof(text) - 1;
    }
    a->outcome = outcome_of(type);
    nlt_buf_reset(&a->text);
    if (is_plain(a)) {
        nlt_buf_add(&a->text, text, (size_t) n);
        nlt_buf_add_byte(&a->text, '\n');
        nlt_api_text(a, status, "text/plain; charset=utf-8");
        a->answer.nosniff = true;
    } else {
        nlt_json_error(&a->text, type, (nlt_str_t){(size_t) n, text});
        nlt_api_text(a, status, "application/json");
    }
    if (status == 503 || status == 429) {
        a->answer.retry_after_s = 1;
    }
}

void
nlt_api_bad_param(nlt_api_t *a, const char *name, const char *fmt, ...)
{
    char text[2 * NLT_ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    nlt_api_fail(a, "bad_data", 400, "invalid parameter \"%s\": %s", name,
                 text);
}

void
nlt_api_fail_timeout(nlt_api_t *a, const char *text)
{
    char duration[64];
    size_t len = nlt_time_print_duration(duration, a->conf.timeout_ms);

    nlt_api_fail(a, "timeout", 503, "%s (nightlight_query_timeout is %.*s)",
                 text, (int) len, duration);
}

/* The texts are Prometheus's, where it has such a limit. */
static nlt_outcome_t
which_limit(const char *text)
{
    return strstr(text, "too many series")    ? NLT_OUTCOME_LIMIT_SERIES
           : strstr(text, "too many samples") ? NLT_OUTCOME_LIMIT_SAMPLES
                                              : NLT_OUTCOME_EXECUTION;
}

void
nlt_api_fail_rc(nlt_api_t *a, const nlt_err_t *err)
{
    static const struct {
        nlt_rc_t rc;
        const char *type;
        int status;
    } map[] = {
        {NLT_EINVAL, "bad_data", 400},       {NLT_EEXEC, "execution", 422},
        {NLT_ELIMIT, "execution", 422},      {NLT_ETOOBIG, "execution", 422},
        {NLT_ETIMEOUT, "timeout", 503},      {NLT_ECANCELED, "canceled", 499},
        {NLT_ENOTREADY, "unavailable", 503},
    };

    if (err->rc == NLT_ENOMEM) {
        /* of whichever floor: the pool's budget is the operator's limit */
        nlt_api_fail(a, "execution", 422,
                     "query needs more memory than "
                     "nightlight_query_memory allows (%zu bytes)",
                     a->conf.memory_max);
        a->outcome = NLT_OUTCOME_LIMIT_MEMORY;
        return;
    }
    if (err->rc == NLT_ECANCELED
        && __atomic_load_n(&a->cancel, __ATOMIC_RELAXED) == NLT_API_EXPIRED) {
        nlt_api_fail_timeout(a, "query timed out in query execution");
        return;
    }
    for (size_t i = 0; i < NLT_COUNT(map); i++) {
        if (map[i].rc == err->rc) {
            nlt_api_fail(a, map[i].type, map[i].status, "%s", err->text);
            if (err->rc == NLT_ELIMIT) {
                a->outcome = which_limit(err->text);
            }
            return;
        }
    }
    nlt_log_todo(a->env, NLT_LOG_ERROR, nlt_rc_todo(err->rc),
                 "query failed: %s", err->text);
    nlt_api_fail(a, "internal", 500, "%s", err->text);
}

/*
 * nlt_api_range.c - see the header.
 */
#include "nlt_api_range.h"

#include "nlt_pql_func.h"

/* ---- which queries ---- */

static bool
is_number(const nlt_pql_node_t *n)
{
    while (n->kind == NLT_PQL_N_PAREN || n->kind == NLT_PQL_N_UNARY) {
        n = n->kind == NLT_PQL_N_PAREN ? n->u.paren : n->u.unary.expr;
    }
    return n->kind == NLT_PQL_N_NUMBER;
}

/*
 * The one selector that each series of n is made of alone, or NULL.  *names:
 * its metric name is kept.
 */
static const nlt_pql_vector_t *
one_selector(const nlt_pql_node_t *n, bool *names);

static const nlt_pql_vector_t *
of_call(const nlt_pql_call_t *call, bool *names)
{
    const nlt_pql_node_t *arg = NULL;

    if (call->func->kind != NLT_PQL_FK_RANGE
        && call->func->kind != NLT_PQL_FK_MAP) {
        return NULL;
    }
    for (size_t i = 0; i < call->n_args; i++) {
        if (is_number(call->args[i])) {
            continue;
        }
        if (arg != NULL) {
            return NULL;
        }
        arg = call->args[i];
    }
    while (arg != NULL && arg->kind == NLT_PQL_N_PAREN) {
        arg = arg->u.paren;
    }
    if (arg == NULL) {
        return NULL;
    }
    if (call->func->kind == NLT_PQL_FK_MAP) {
        const nlt_pql_vector_t *v = one_selector(arg, names);

        *names = *names && call->func->keeps_name;
        return v;
    }
    *names = call->func->keeps_name;
    return arg->kind == NLT_PQL_N_MATRIX ? &arg->u.matrix.vector->u.vector
                                         : NULL;
}

static const nlt_pql_vector_t *
of_binary(const nlt_pql_binary_t *b, bool *names)
{
    const nlt_pql_vector_t *v = NULL;

    if (is_number(b->rhs)) {
        v = one_selector(b->lhs, names);
    } else if (is_number(b->lhs)) {
        v = one_selector(b->rhs, names);
    }
    *names = *names && nlt_pql_op_is_comparison(b->op) && !b->return_bool;
    return v;
}

static const nlt_pql_vector_t *
one_selector(const nlt_pql_node_t *n, bool *names)
{
    const nlt_pql_vector_t *v;

    /* not deeper than NLT_PQL_DEPTH_MAX */
    switch (n->kind) {
    case NLT_PQL_N_PAREN:
        return one_selector(n->u.paren, names);
    case NLT_PQL_N_VECTOR:
        *names = true;
        return &n->u.vector;
    case NLT_PQL_N_UNARY:
        v = one_selector(n->u.unary.expr, names);
        *names = *names && !n->u.unary.negate;
        return v;
    case NLT_PQL_N_CALL:
        return of_call(&n->u.call, names);
    case NLT_PQL_N_BINARY:
        return of_binary(&n->u.binary, names);
    default:
        return NULL;
    }
}

/* Does a matcher say that all series have the same name? */
static bool
has_one_name(const nlt_pql_vector_t *v)
{
    for (size_t i = 0; i < v->n_matchers; i++) {
        if (v->matchers[i].op == NLT_MATCH_EQ && v->matchers[i].value.len > 0
            && nlt_str_eq(v->matchers[i].name, NLT_METRIC_NAME)) {
            return true;
        }
    }
    return false;
}

/* ---- what PromQL sees ---- */

typedef struct {
    nlt_series_set_t set; /* first */
    const nlt_walk_item_t *item;
} slice_set_t;

/* A source of n series that somebody has found, or a probe (item NULL). */
typedef struct {
    nlt_source_t source;
    const nlt_walk_item_t *item;
    size_t n;
    nlt_select_t asked; /* for what, by the last select */
    size_t n_asked;
    nlt_pool_t *keep; /* of the matchers in asked, when it is a probe */
} slice_t;

static const nlt_walk_item_t *
item_of(const nlt_series_set_t *set, size_t idx)
{
    return &((const slice_set_t *) (const void *) set)->item[idx];
}

/* The matchers die with the query that asks; names and values do not. */
static nlt_rc_t
keep_matchers(slice_t *s, const nlt_select_t *sel, nlt_err_t *err)
{
    nlt_matcher_t *m = nlt_pool_array(s->keep, sel->n_matchers, sizeof(*m));

    s->asked = *sel;
    s->asked.matchers = m;
    if (m == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < sel->n_matchers; i++) {
        m[i] = (nlt_matcher_t){
            .op = sel->matchers[i].op,
            .name = nlt_pool_str(s->keep, sel->matchers[i].name),
            .value = nlt_pool_str(s->keep, sel->matchers[i].value)};
    }
    return s->keep->over_budget ? nlt_err_set(err, NLT_ENOMEM, "out of memory")
                                : NLT_OK;
}

static nlt_rc_t
slice_select(const nlt_source_t *src, nlt_pool_t *pool,
             const nlt_select_t *sel, nlt_series_set_t **out, nlt_err_t *err)
{
    slice_t *s = src->ctx;
    slice_set_t *set = nlt_pool_zalloc(pool, sizeof(*set));

    if (set == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    set->set = (nlt_series_set_t){src, s->n};
    set->item = s->item;
    *out = &set->set;
    s->n_asked++;
    return s->item == NULL ? keep_matchers(s, sel, err) : NLT_OK;
}

static nlt_str_t
slice_label(const nlt_series_set_t *set, size_t idx, nlt_str_t name)
{
    return nlt_labels_get(item_of(set, idx)->labels, name);
}

static nlt_rc_t
slice_labels(const nlt_series_set_t *set, size_t idx, nlt_pool_t *pool,
             nlt_labels_t *out)
{
    nlt_labels_t l = item_of(set, idx)->labels;
    nlt_label_t *v = nlt_pool_array(pool, l.n, sizeof(*v));

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    if (l.n > 0) {
        memcpy(v, l.v, l.n * sizeof(*v));
    }
    *out = (nlt_labels_t){v, l.n};
    return NLT_OK;
}

static nlt_rc_t
slice_read(const nlt_series_set_t *set, size_t idx, nlt_read_t what,
           int64_t t_min_ms, int64_t t_max_ms, nlt_samples_t *out,
           nlt_err_t *err)
{
    const nlt_walk_item_t *i = item_of(set, idx);

    return i->set->source->ops->read(i->set, i->idx, what, t_min_ms, t_max_ms,
                                     out, err);
}

static nlt_rc_t
slice_histograms(const nlt_series_set_t *set, size_t idx, int64_t t_min_ms,
                 int64_t t_max_ms, bool *out, nlt_err_t *err)
{
    const nlt_walk_item_t *i = item_of(set, idx);

    *out = false;
    return i->set->source->ops->histograms == NULL
               ? NLT_OK
               : i->set->source->ops->histograms(i->set, i->idx, t_min_ms,
                                                 t_max_ms, out, err);
}

static void
slice_close(nlt_series_set_t *set)
{
    (void) set; /* the walk's */
}

static const nlt_source_ops_t slice_ops = {
    .select = slice_select,
    .label = slice_label,
    .labels = slice_labels,
    .read = slice_read,
    .histograms = slice_histograms,
    .close = slice_close,
};

static void
slice_init(slice_t *s, const nlt_walk_item_t *item, size_t n, nlt_pool_t *keep,
           const int *cancel)
{
    *s = (slice_t){.item = item, .n = n, .keep = keep};
    s->source = (nlt_source_t){&slice_ops, s, cancel};
}

/* ---- the flow ---- */

typedef struct {
    nlt_pql_query_t q;
    nlt_select_t sel;
    size_t n_compiled;
    nlt_walk_cmp_t cmp;
    size_t per_part;       /* series */
    nlt_walk_item_t *item; /* per_part of them */
    nlt_pool_t pool;       /* of one evaluation */
    bool begun;
    bool any; /* a series is in the answer */
} range_t;

/* Order of label sets that will lose their name. */
static int
cmp_nameless(nlt_labels_t a, nlt_labels_t b)
{
    size_t i = 0, j = 0;

    for (;;) {
        int c;

        i += i < a.n && nlt_str_eq(a.v[i].name, NLT_METRIC_NAME);
        j += j < b.n && nlt_str_eq(b.v[j].name, NLT_METRIC_NAME);
        if (i == a.n || j == b.n) {
            return (i < a.n) - (j < b.n);
        }
        c = nlt_str_cmp(a.v[i].name, b.v[j].name);
        if (c == 0) {
            c = nlt_str_cmp(a.v[i].value, b.v[j].value);
        }
        if (c != 0) {
            return c;
        }
        i++;
        j++;
    }
}

static void
range_begin(nlt_api_t *a)
{
    range_t *r = a->flow.ctx;

    nlt_walk_deinit(&a->flow.walk);
    nlt_walk_init(&a->flow.walk, a->env->mem, a->conf.memory_max, &r->sel, 1,
                  a->conf.series_max, r->cmp);
    a->annots = (nlt_annots_t){.warnings = NULL};
    r->begun = false;
    r->any = false;
}

static void
range_end(nlt_api_t *a)
{
    range_t *r = a->flow.ctx;

    for (size_t i = 0; i < r->n_compiled; i++) {
        /* made here, const only for the source */
        nlt_matcher_release((nlt_matcher_t *) (uintptr_t) &r->sel.matchers[i]);
    }
    r->n_compiled = 0;
    nlt_pool_deinit(&r->pool);
}

static void
add_series(nlt_buf_t *b, const nlt_value_t *v, const nlt_value_series_t *s)
{
    bool any = false;

    nlt_buf_add_c(b, "{\"metric\":");
    nlt_json_labels(b, s->labels);
    nlt_buf_add_c(b, ",\"values\":[");
    for (size_t i = 0; i < s->n; i++) {
        if (!nlt_value_has(s, i)) {
            continue;
        }
        if (any) {
            nlt_buf_add_byte(b, ',');
        }
        any = true;
        nlt_json_point(b, v->t_start_ms + (int64_t) i * v->step_ms, s->v[i]);
    }
    nlt_buf_add_c(b, "]}");
}

/* Evaluates the query for n series, and renders what comes out. */
static nlt_rc_t
add_part(nlt_api_t *a, range_t *r, size_t n, nlt_err_t *err)
{
    nlt_buf_t *b = &a->flow.buf;
    nlt_pql_stats_t stats = {0};
    nlt_annots_t annots = {.warnings = NULL};
    nlt_value_t v = {.n_series = 0};
    nlt_pql_query_t q = r->q;
    slice_t slice;
    nlt_rc_t rc;

    slice_init(&slice, r->item, n, NULL, &a->cancel);
    q.source = &slice.source;
    q.deadline_ns = nlt_mono_ns(a->env) + q.timeout_ms * 1000000;
    rc = nlt_pql_run(&r->pool, &q, &v, &annots, &stats, err);
    a->answer.samples_read += stats.samples_read;
    a->answer.series_read += stats.series_read;
    a->answer.help += stats.helpers;
    nlt_api_note_samples(a, stats.samples_peak);
    nlt_api_note_memory(a, r->pool.peak_bytes);
    if (rc != NLT_OK) {
        rc = nlt_api_name_limit(a, &q, rc, err);
    }
    for (size_t i = 0; rc == NLT_OK && i < v.n_series; i++) {
        if (r->any) {
            nlt_buf_add_byte(b, ',');
        }
        r->any = true;
        add_series(b, &v, &v.series[i]);
    }
    if (rc == NLT_OK
        && (nlt_api_flow_note(a, &a->annots.warnings, annots.warnings)
                != NLT_OK
            || nlt_api_flow_note(a, &a->annots.infos, annots.infos)
                   != NLT_OK)) {
        rc = nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    nlt_pool_deinit(&r->pool);
    return rc;
}

static nlt_rc_t
range_make(nlt_api_t *a, nlt_err_t *err)
{
    range_t *r = a->flow.ctx;
    nlt_walk_t *w = &a->flow.walk;
    nlt_rc_t rc = NLT_OK;

    if (!r->begun) {
        r->begun = true;
        nlt_buf_add_c(&a->flow.buf, "{\"status\":\"success\",\"data\":{"
                                    "\"resultType\":\"matrix\",\"result\":[");
    }
    while (rc == NLT_OK && a->flow.buf.len < NLT_API_FLOW_BYTES) {
        size_t n = 0;

        /* one batch of the walk: the next one voids its items */
        do {
            rc = nlt_walk_next(w, &a->view.source, &r->item[n], err);
            n += rc == NLT_OK;
        } while (rc == NLT_OK && n < r->per_part && w->at < w->n);
        if (rc == NLT_OK) {
            rc = add_part(a, r, n, err);
        }
    }
    if (rc == NLT_EOF) {
        nlt_rc_t end = nlt_api_flow_missing(a, err);

        nlt_buf_add_c(&a->flow.buf, "]}");
        nlt_json_annots(&a->flow.buf, &a->annots);
        nlt_buf_add_byte(&a->flow.buf, '}');
        rc = end == NLT_OK ? NLT_EOF : end;
    }
    return rc;
}

static const nlt_api_flow_ops_t range_ops = {
    .begin = range_begin,
    .make = range_make,
    .end = range_end,
    .missing_is_told = true,
};

/* ---- is it large? ---- */

/* Finds out what the query selects: it is run over a source without series. */
static bool
probe(nlt_api_t *a, range_t *r)
{
    nlt_pql_query_t q = r->q;
    nlt_pql_stats_t stats;
    nlt_annots_t annots;
    nlt_value_t v;
    nlt_err_t err;
    slice_t slice;
    nlt_rc_t rc;

    slice_init(&slice, NULL, 0, &a->pool, &a->cancel);
    q.source = &slice.source;
    rc = nlt_pql_run(&r->pool, &q, &v, &annots, &stats, &err);
    nlt_pool_deinit(&r->pool);
    r->sel = slice.asked;
    return rc == NLT_OK && slice.n_asked == 1;
}

static bool
compile(nlt_api_t *a, range_t *r)
{
    nlt_err_t err;

    for (size_t i = 0; i < r->sel.n_matchers; i++) {
        nlt_matcher_t *m = (nlt_matcher_t *) (uintptr_t) &r->sel.matchers[i];

        if (nlt_matcher_compile(&a->pool, m, &err) != NLT_OK) {
            return false;
        }
        r->n_compiled++;
    }
    return true;
}

/* Opens the view, if that is possible, and counts. */
static bool
is_large(nlt_api_t *a, range_t *r, size_t n_steps)
{
    const nlt_source_t *src = &a->view.source;
    nlt_series_set_t *set;
    nlt_err_t err;
    size_t n = 0;

    if (nlt_api_open_view(a, &err) != NLT_OK) {
        return false;
    }
    if (src->ops->select(src, &r->pool, &r->sel, &set, &err) == NLT_OK) {
        n = set->n;
        src->ops->close(set);
    }
    nlt_pool_deinit(&r->pool);
    return n * n_steps * sizeof(double) >= NLT_API_RANGE_LARGE;
}

/* Is it a query that can be answered in parts? */
static bool
is_fit(range_t *r)
{
    const nlt_pql_vector_t *v = NULL;
    nlt_pql_node_t *node;
    bool names = true;
    nlt_err_t err;

    if (nlt_pql_parse(&r->pool, r->q.text, r->q.features, &node, &err)
        == NLT_OK) {
        v = one_selector(node, &names);
    }
    r->cmp = names ? nlt_labels_cmp : cmp_nameless;
    if (v != NULL && !names && !has_one_name(v)) {
        v = NULL;
    }
    nlt_pool_deinit(&r->pool);
    return v != NULL;
}

bool
nlt_api_range_in_parts(nlt_api_t *a, const nlt_pql_query_t *q)
{
    uint64_t n_steps = ((uint64_t) q->t_end_ms - (uint64_t) q->t_start_ms)
                           / (uint64_t) q->step_ms
                       + 1;
    range_t *r = nlt_pool_zalloc(&a->pool, sizeof(*r));

    if (r == NULL || (q->features & NLT_PQL_F_DELAYED_NAME) != 0) {
        return false;
    }
    r->q = *q;
    r->per_part = NLT_API_RANGE_PART / n_steps + 1;
    nlt_pool_init(&r->pool, a->env->mem, a->conf.memory_max);
    if (is_fit(r) && probe(a, r) && compile(a, r)
        && is_large(a, r, (size_t) n_steps)) {
        r->item = nlt_pool_array(&a->pool, r->per_part, sizeof(*r->item));
        if (r->item != NULL) {
            a->answer.status = 200;
            a->answer.content_type = NLT_STR("application/json");
            nlt_api_flow_run(a, &range_ops, r);
            return true;
        }
    }
    for (size_t i = 0; i < r->n_compiled; i++) {
        nlt_matcher_release((nlt_matcher_t *) (uintptr_t) &r->sel.matchers[i]);
    }
    nlt_pool_deinit(&r->pool);
    return false;
}

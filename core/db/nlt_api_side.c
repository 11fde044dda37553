/*
 * nlt_api_side.c - query_exemplars and metadata.
 *
 * Both answers are written whole: exemplars are bounded by exemplars= of the
 * store, metadata by a part of memory=.
 */
#include "nlt_api.h"
#include "nlt_num.h"

/* As in nlt_api_meta.c: whatever the store can have. */
#define TIME_MIN (INT64_MIN / 4)
#define TIME_MAX (INT64_MAX / 4)

/* The larger of the two, all its characters escaped. */
#define ANSWER_MAX ((size_t) 1 << 30)

#define MORE_INIT 16

/* ---- selectors of an expression ---- */

typedef struct {
    nlt_api_t *a;
    nlt_exemplar_set_t *v;
    size_t n;
    size_t cap;
    nlt_err_t err;
    nlt_rc_t rc;
} sets_t;

static void
add_set(sets_t *s, const nlt_pql_vector_t *v)
{
    nlt_matcher_t *m;

    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : MORE_INIT;
        nlt_exemplar_set_t *more =
            nlt_pool_array(&s->a->pool, cap, sizeof(*more));

        if (more == NULL) {
            s->rc = nlt_err_set(&s->err, NLT_ENOMEM, "no memory");
            return;
        }
        if (s->n > 0) {
            memcpy(more, s->v, s->n * sizeof(*more));
        }
        s->v = more;
        s->cap = cap;
    }
    m = v->matchers;
    s->v[s->n++] = (nlt_exemplar_set_t){m, 0};
    for (size_t i = 0; i < v->n_matchers && s->rc == NLT_OK; i++) {
        s->rc = nlt_matcher_compile(&s->a->pool, &m[i], &s->err);
        s->v[s->n - 1].n = i + (s->rc == NLT_OK);
    }
}

/* The tree is at most NLT_PQL_DEPTH_MAX high. */
static void
add_node(sets_t *s, const nlt_pql_node_t *node)
{
    if (node == NULL || s->rc != NLT_OK) {
        return;
    }
    switch (node->kind) {
    case NLT_PQL_N_VECTOR:
        add_set(s, &node->u.vector);
        break;
    case NLT_PQL_N_MATRIX:
        add_node(s, node->u.matrix.vector);
        break;
    case NLT_PQL_N_SUBQUERY:
        add_node(s, node->u.subquery.expr);
        break;
    case NLT_PQL_N_CALL:
        for (size_t i = 0; i < node->u.call.n_args; i++) {
            add_node(s, node->u.call.args[i]);
        }
        break;
    case NLT_PQL_N_AGGR:
        add_node(s, node->u.aggr.param);
        add_node(s, node->u.aggr.expr);
        break;
    case NLT_PQL_N_BINARY:
        add_node(s, node->u.binary.lhs);
        add_node(s, node->u.binary.rhs);
        break;
    case NLT_PQL_N_UNARY:
        add_node(s, node->u.unary.expr);
        break;
    case NLT_PQL_N_PAREN:
        add_node(s, node->u.paren);
        break;
    case NLT_PQL_N_NUMBER:
    case NLT_PQL_N_STRING:
        break;
    }
}

static void
release(sets_t *s)
{
    for (size_t i = 0; i < s->n; i++) {
        for (size_t k = 0; k < s->v[i].n; k++) {
            /* made here, const only for the search */
            nlt_matcher_release((nlt_matcher_t *) (uintptr_t) &s->v[i].v[k]);
        }
    }
}

/* ---- query_exemplars ---- */

static void
add_exemplar(nlt_buf_t *b, const nlt_exemplar_t *x)
{
    char number[NLT_NUM_TEXT_MAX];

    nlt_buf_add_c(b, "{\"labels\":");
    nlt_json_labels(b, x->labels);
    nlt_buf_add_c(b, ",\"value\":\"");
    nlt_buf_add(b, number, nlt_num_sample(number, x->v));
    nlt_buf_add_c(b, "\",\"timestamp\":");
    nlt_json_time(b, x->t_ms);
    nlt_buf_add_byte(b, '}');
}

static void
add_series(nlt_buf_t *b, const nlt_exemplar_series_t *s)
{
    nlt_buf_add_c(b, "{\"seriesLabels\":");
    nlt_json_labels(b, s->labels);
    nlt_buf_add_c(b, ",\"exemplars\":[");
    for (size_t i = 0; i < s->n; i++) {
        if (i > 0) {
            nlt_buf_add_byte(b, ',');
        }
        add_exemplar(b, &s->v[i]);
    }
    nlt_buf_add_c(b, "]}");
}

static void
answer(nlt_api_t *a)
{
    if (a->text.rc != NLT_OK) {
        nlt_api_fail(a, "execution", 422, "the answer would be too long");
        return;
    }
    nlt_api_text(a, 200, "application/json");
}

static void
find_exemplars(nlt_api_t *a, nlt_exemplar_query_t *q, sets_t *sets)
{
    nlt_exemplar_series_t *v = NULL;
    size_t n = 0;
    nlt_err_t err;
    nlt_rc_t rc;

    q->tenant = a->conf.tenant;
    q->sets = sets->v;
    q->n_sets = sets->n;
    q->cancel = &a->cancel;
    rc = nlt_store_exemplars(a->store, q, &a->pool, &v, &n, &err);
    if (rc != NLT_OK) {
        err.rc = rc;
        nlt_api_fail_rc(a, &err);
        return;
    }
    a->text.max = ANSWER_MAX;
    nlt_buf_add_c(&a->text, "{\"status\":\"success\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            nlt_buf_add_byte(&a->text, ',');
        }
        add_series(&a->text, &v[i]);
    }
    nlt_buf_add_c(&a->text, "]}");
    answer(a);
}

void
nlt_api_run_query_exemplars(nlt_api_t *a)
{
    nlt_exemplar_query_t q = {.tenant = 0};
    sets_t sets = {.a = a, .rc = NLT_OK};
    nlt_pql_node_t *tree = NULL;

    if (!nlt_api_param_time(a, "start", TIME_MIN, &q.t_min_ms)
        || !nlt_api_param_time(a, "end", TIME_MAX, &q.t_max_ms)) {
        return;
    }
    if (q.t_max_ms < q.t_min_ms) {
        nlt_api_fail(a, "bad_data", 400,
                     "end timestamp must not be before start timestamp");
        return;
    }
    sets.rc = nlt_pql_parse(&a->pool, nlt_api_param(a, "query"),
                            a->conf.features, &tree, &sets.err);
    if (sets.rc == NLT_EINVAL) {
        nlt_api_fail(a, "bad_data", 400, "%s", sets.err.text);
        return;
    }
    add_node(&sets, tree);
    if (sets.rc != NLT_OK) {
        sets.err.rc = sets.rc;
        nlt_api_fail_rc(a, &sets.err);
    } else if (sets.n == 0) {
        a->answer.status = 204; /* as Prometheus, for `1` */
    } else {
        find_exemplars(a, &q, &sets);
    }
    release(&sets);
}

/* ---- metadata ---- */

/* A number that may be missing: *n is left then.  false: answered. */
static bool
optional_number(nlt_api_t *a, const char *name, int64_t *n)
{
    nlt_str_t s = nlt_api_param(a, name);

    if (s.len == 0 || nlt_num_parse_i64(s, n)) {
        return true;
    }
    nlt_api_fail(a, "bad_data", 400, "%s must be a number", name);
    return false;
}

static void
add_family(nlt_buf_t *b, const nlt_metadata_t *m)
{
    nlt_json_string(b, m->name, true);
    nlt_buf_add_c(b, ":[{\"type\":");
    nlt_json_string(b, nlt_metadata_type_text(m->type), true);
    nlt_buf_add_c(b, ",\"help\":");
    nlt_json_string(b, m->help, true);
    nlt_buf_add_c(b, ",\"unit\":");
    nlt_json_string(b, m->unit, true);
    nlt_buf_add_c(b, "}]");
}

void
nlt_api_run_metadata(nlt_api_t *a)
{
    nlt_str_t name = nlt_api_param(a, "metric");
    int64_t limit = -1, per_metric = -1;
    nlt_metadata_list_t l;
    nlt_err_t err;
    nlt_rc_t rc;

    if (!optional_number(a, "limit", &limit)
        || !optional_number(a, "limit_per_metric", &per_metric)) {
        return;
    }
    if (name.len == 0) {
        name.data = NULL;
    }
    rc =
        nlt_store_metadata(a->store, a->conf.tenant, name, &a->pool, &l, &err);
    if (rc != NLT_OK) {
        err.rc = rc;
        nlt_api_fail_rc(a, &err);
        return;
    }
    a->text.max = ANSWER_MAX;
    nlt_buf_add_c(&a->text, "{\"status\":\"success\",\"data\":{");
    for (size_t i = 0; i < l.n && (limit < 0 || i < (uint64_t) limit); i++) {
        if (i > 0) {
            nlt_buf_add_byte(&a->text, ',');
        }
        add_family(&a->text, &l.v[i]);
    }
    nlt_buf_add_c(&a->text, "}}");
    answer(a);
}

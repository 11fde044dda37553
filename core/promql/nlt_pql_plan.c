/*
 * nlt_pql_plan.c - see nlt_pql_plan.h.
 *
 * Top-down, because a subquery decides the grid of what is below it; whether
 * a node is the same at every step is asked of the tree beneath it first.
 */
#include "nlt_pql_plan.h"
#include "nlt_pql_duration.h"

typedef struct {
    nlt_pool_t *pool;
    const nlt_pql_query_t *q;
    nlt_err_t *err;
    const nlt_pql_node_t *root;
    uint64_t repeat; /* of what is being built, as in its plan */
    bool in_param;   /* likewise */
} planner_t;

static nlt_rc_t build(planner_t *p, nlt_pql_node_t *ast,
                      const nlt_pql_grid_t *grid, nlt_pql_plan_t **out);

/*
 * Functions whose value depends on the step even when their arguments do
 * not (Prometheus's AtModifierUnsafeFunctions).
 */
static bool
depends_on_step(const nlt_pql_func_t *f)
{
    static const char *const names[] = {
        "days_in_month", "day_of_month", "day_of_week",    "day_of_year",
        "hour",          "minute",       "month",          "year",
        "time",          "timestamp",    "predict_linear",
    };

    for (size_t i = 0; i < NLT_COUNT(names); i++) {
        if (strcmp(f->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_constant(const nlt_pql_node_t *n)
{
    switch (n->kind) {
    case NLT_PQL_N_NUMBER:
    case NLT_PQL_N_STRING:
        return true;
    case NLT_PQL_N_VECTOR:
        return n->u.vector.shift.at != NLT_PQL_AT_NONE;
    case NLT_PQL_N_MATRIX:
        return is_constant(n->u.matrix.vector);
    case NLT_PQL_N_SUBQUERY:
        return n->u.subquery.shift.at != NLT_PQL_AT_NONE;
    case NLT_PQL_N_CALL:
        if (depends_on_step(n->u.call.func)) {
            return false;
        }
        for (size_t i = 0; i < n->u.call.n_args; i++) {
            if (!is_constant(n->u.call.args[i])) {
                return false;
            }
        }
        return true;
    case NLT_PQL_N_AGGR:
        return is_constant(n->u.aggr.expr); /* whatever its parameter does */
    case NLT_PQL_N_BINARY:
        return is_constant(n->u.binary.lhs) && is_constant(n->u.binary.rhs);
    case NLT_PQL_N_UNARY:
        return is_constant(n->u.unary.expr);
    case NLT_PQL_N_PAREN:
        return is_constant(n->u.paren);
    }
    return false;
}

int32_t
nlt_pql_arg_pos(const nlt_pql_plan_t *call, size_t i)
{
    nlt_pql_node_t *arg = call->ast->u.call.args[i];
    nlt_pql_node_t *inner = nlt_pql_unparen(arg);

    if (inner->kind == NLT_PQL_N_SUBQUERY) {
        return 0;
    }
    return is_constant(arg) && !is_constant(call->ast) && !call->in_param
               ? arg->start
               : inner->start;
}

static nlt_rc_t
resolve(planner_t *p, const nlt_pql_duration_t *d, int64_t *ms)
{
    const nlt_pql_query_t *q = p->q;

    return nlt_pql_duration_resolve(
        d, q->instant ? 0 : q->step_ms,
        q->instant ? 0 : nlt_pql_t_sub(q->t_end_ms, q->t_start_ms), ms,
        p->err);
}

/* offset and @ of a selector or subquery. */
static nlt_rc_t
plan_shift(planner_t *p, const nlt_pql_shift_t *s, nlt_pql_fetch_t *f)
{
    nlt_rc_t rc = resolve(p, &s->offset, &f->offset_ms);

    if (rc != NLT_OK) {
        return rc;
    }
    f->fixed = s->at != NLT_PQL_AT_NONE;
    switch (s->at) {
    case NLT_PQL_AT_NONE:
        return NLT_OK;
    case NLT_PQL_AT_TIME:
        f->fixed_ms = s->at_ms;
        break;
    case NLT_PQL_AT_START:
        f->fixed_ms = p->q->t_start_ms;
        break;
    case NLT_PQL_AT_END:
        f->fixed_ms = p->q->t_end_ms;
        break;
    }
    f->fixed_ms = nlt_pql_t_sub(f->fixed_ms, f->offset_ms);
    return NLT_OK;
}

/* Window reach and the span to fetch, once range and shift are known. */
static void
plan_span(planner_t *p, const nlt_pql_grid_t *g, nlt_pql_fetch_t *f)
{
    int64_t first = nlt_pql_fetch_at(f, g->t0_ms);
    int64_t last = nlt_pql_fetch_at(f, g->n ? nlt_pql_last_step(g) : g->t0_ms);
    int64_t reach = f->range_ms ? f->range_ms : p->q->lookback_ms;

    if (f->smoothed) {
        f->after_ms = p->q->lookback_ms;
    }
    if (f->range_ms && (f->smoothed || f->anchored)) {
        f->before_ms = p->q->lookback_ms;
    }
    f->t_min_ms = nlt_pql_t_add(
        nlt_pql_t_sub(nlt_pql_t_sub(first, reach), f->before_ms), 1);
    f->t_max_ms = nlt_pql_t_add(last, f->after_ms);
}

static nlt_rc_t
plan_vector(planner_t *p, const nlt_pql_node_t *ast, nlt_pql_plan_t *n)
{
    const nlt_pql_vector_t *v = &ast->u.vector;
    nlt_pql_fetch_t *f = &n->fetch;
    nlt_rc_t rc = plan_shift(p, &v->shift, f);

    if (rc != NLT_OK) {
        return rc;
    }
    f->anchored = v->anchored;
    f->smoothed = v->smoothed;
    plan_span(p, &n->grid, f);
    f->matchers = nlt_pool_array(p->pool, v->n_matchers, sizeof(*f->matchers));
    if (f->matchers == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < v->n_matchers; i++) {
        f->matchers[i] = v->matchers[i];
        rc = nlt_matcher_compile(p->pool, &f->matchers[i], p->err);
        if (rc != NLT_OK) {
            return rc;
        }
        f->n_matchers++;
    }
    return NLT_OK;
}

/*
 * No grid has more steps: far beyond any memory limit, far below where sizes
 * of rows overflow.
 */
#define STEPS_MAX (UINT64_C(1) << 40)

static nlt_rc_t
grid_steps(uint64_t span_ms, int64_t step_ms, size_t *n, nlt_err_t *err)
{
    if (span_ms / (uint64_t) step_ms >= STEPS_MAX) {
        return nlt_err_set(err, NLT_ELIMIT,
                           "query processing would load too many samples "
                           "into memory in query execution");
    }
    *n = (size_t) (span_ms / (uint64_t) step_ms) + 1;
    return NLT_OK;
}

/*
 * The steps of a subquery are the multiples of its step inside the union of
 * all its windows: absolute, so that neighbouring queries see the same ones.
 */
static nlt_rc_t
subquery_grid(const nlt_pql_plan_t *n, int64_t step_ms, nlt_pql_grid_t *out,
              nlt_err_t *err)
{
    const nlt_pql_fetch_t *f = &n->fetch;
    int64_t after =
        nlt_pql_t_sub(nlt_pql_fetch_at(f, n->grid.t0_ms), f->range_ms);
    int64_t last = nlt_pql_fetch_at(f, nlt_pql_last_step(&n->grid));
    int64_t k = after / step_ms - (after % step_ms < 0);

    if (k >= INT64_MAX / step_ms || k <= INT64_MIN / step_ms) {
        return nlt_err_set(err, NLT_EEXEC, "subquery time out of range");
    }
    out->step_ms = step_ms;
    out->t0_ms = (k + 1) * step_ms; /* the first multiple > after */
    out->n = 0;
    return last < out->t0_ms
               ? NLT_OK
               : grid_steps((uint64_t) last - (uint64_t) out->t0_ms, step_ms,
                            &out->n, err);
}

static nlt_rc_t
plan_subquery(planner_t *p, nlt_pql_node_t *ast, nlt_pql_plan_t *n)
{
    const nlt_pql_subquery_t *s = &ast->u.subquery;
    nlt_pql_grid_t grid;
    int64_t step_ms = 0;
    nlt_rc_t rc = plan_shift(p, &s->shift, &n->fetch);

    if (rc == NLT_OK) {
        rc = resolve(p, &s->range, &n->fetch.range_ms);
    }
    if (rc == NLT_OK) {
        rc = resolve(p, &s->step, &step_ms);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (step_ms <= 0) {
        step_ms = p->q->subquery_step_ms;
    }
    if (n->grid.n == 0) {
        grid = (nlt_pql_grid_t){n->grid.t0_ms, step_ms, 0};
    } else {
        rc = subquery_grid(n, step_ms, &grid, p->err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    n->n_kids = 1;
    n->kids = nlt_pool_zalloc(p->pool, sizeof(*n->kids));
    if (n->kids == NULL) {
        return NLT_ENOMEM;
    }
    if (ast != p->root) {
        p->repeat = 0;
    }
    rc = build(p, s->expr, &grid, &n->kids[0]);
    p->repeat = n->repeat;
    return rc;
}

static nlt_rc_t
plan_kids(planner_t *p, nlt_pql_plan_t *n, nlt_pql_node_t **asts, size_t count)
{
    n->kids = nlt_pool_zalloc(p->pool, (count ? count : 1) * sizeof(*n->kids));
    if (n->kids == NULL) {
        return NLT_ENOMEM;
    }
    n->n_kids = count;
    for (size_t i = 0; i < count; i++) {
        bool outer = p->in_param;

        p->in_param |= n->kind == NLT_PQL_P_AGGR && i > 0;
        nlt_rc_t rc = build(p, asts[i], &n->grid, &n->kids[i]);

        p->in_param = outer;

        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

static nlt_rc_t
plan_node(planner_t *p, nlt_pql_node_t *ast, nlt_pql_plan_t *n)
{
    nlt_pql_node_t *two[2];
    nlt_rc_t rc;

    switch (ast->kind) {
    case NLT_PQL_N_NUMBER:
        n->kind = NLT_PQL_P_NUMBER;
        return NLT_OK;
    case NLT_PQL_N_STRING:
        n->kind = NLT_PQL_P_STRING;
        return NLT_OK;
    case NLT_PQL_N_VECTOR:
        n->kind = NLT_PQL_P_SELECT;
        return plan_vector(p, ast, n);
    case NLT_PQL_N_MATRIX:
        n->kind = NLT_PQL_P_RANGE;
        rc = resolve(p, &ast->u.matrix.range, &n->fetch.range_ms);
        return rc != NLT_OK ? rc : plan_vector(p, ast->u.matrix.vector, n);
    case NLT_PQL_N_SUBQUERY:
        n->kind = NLT_PQL_P_SUBQUERY;
        return plan_subquery(p, ast, n);
    case NLT_PQL_N_CALL:
        n->kind = NLT_PQL_P_CALL;
        return plan_kids(p, n, ast->u.call.args, ast->u.call.n_args);
    case NLT_PQL_N_AGGR:
        n->kind = NLT_PQL_P_AGGR;
        two[0] = ast->u.aggr.expr;
        two[1] = ast->u.aggr.param;
        return plan_kids(p, n, two, two[1] ? 2 : 1);
    case NLT_PQL_N_BINARY:
        n->kind = NLT_PQL_P_BINARY;
        two[0] = ast->u.binary.lhs;
        two[1] = ast->u.binary.rhs;
        return plan_kids(p, n, two, 2);
    case NLT_PQL_N_UNARY:
        n->kind = NLT_PQL_P_NEGATE;
        return plan_kids(p, n, &ast->u.unary.expr, 1);
    case NLT_PQL_N_PAREN:
        break;
    }
    return nlt_err_set(p->err, NLT_EBUG, "unexpected error: node kind %d",
                       (int) ast->kind);
}

static nlt_rc_t
build(planner_t *p, nlt_pql_node_t *ast, const nlt_pql_grid_t *grid,
      nlt_pql_plan_t **out)
{
    nlt_pql_plan_t *n;

    while (ast->kind == NLT_PQL_N_PAREN
           || (ast->kind == NLT_PQL_N_UNARY && !ast->u.unary.negate)) {
        ast = ast->kind == NLT_PQL_N_PAREN ? ast->u.paren : ast->u.unary.expr;
    }
    n = nlt_pool_zalloc(p->pool, sizeof(*n));
    if (n == NULL) {
        return NLT_ENOMEM;
    }
    *out = n;
    n->ast = ast;
    n->grid = *grid;
    n->repeat = p->repeat;
    n->in_param = p->in_param;
    if (grid->n > 1 && ast->kind != NLT_PQL_N_NUMBER
        && ast->kind != NLT_PQL_N_STRING && ast->type != NLT_PQL_MATRIX
        && is_constant(ast)) {
        nlt_pql_plan_t *kid = nlt_pool_zalloc(p->pool, sizeof(*kid));

        n->kind = NLT_PQL_P_ONCE;
        n->kids = nlt_pool_zalloc(p->pool, sizeof(*n->kids));
        if (kid == NULL || n->kids == NULL) {
            return NLT_ENOMEM;
        }
        n->n_kids = 1;
        n->kids[0] = kid;
        kid->ast = ast;
        kid->grid = *grid;
        kid->in_param = p->in_param;
        kid->grid.n = 1;
        kid->repeat = p->repeat *= grid->n;
        nlt_rc_t rc = plan_node(p, ast, kid);

        p->repeat = n->repeat;
        return rc;
    }
    return plan_node(p, ast, n);
}

nlt_pql_plan_t *
nlt_pql_plan_kid(const nlt_pql_plan_t *plan, size_t i)
{
    size_t first = 0;

    if (plan->kind == NLT_PQL_P_AGGR) {
        return plan->kids[plan->n_kids - 1 - i];
    }
    while (first < plan->n_kids
           && plan->kids[first]->kind != NLT_PQL_P_SUBQUERY) {
        first++;
    }
    if (first == plan->n_kids || i > first) {
        return plan->kids[i];
    }
    return i == 0 ? plan->kids[first] : plan->kids[i - 1];
}

/* Numbers the nodes. */
static void
rank_nodes(nlt_pql_plan_t *plan, uint32_t *rank)
{
    for (size_t i = 0; i < plan->n_kids; i++) {
        rank_nodes(nlt_pql_plan_kid(plan, i), rank);
    }
    plan->rank = (*rank)++;
}

nlt_rc_t
nlt_pql_plan(nlt_pool_t *pool, const nlt_pql_query_t *q, nlt_pql_node_t *ast,
             nlt_pql_plan_t **out, nlt_err_t *err)
{
    planner_t p = {.pool = pool,
                   .q = q,
                   .err = err,
                   .root = nlt_pql_unparen(ast),
                   .repeat = 1};
    nlt_pql_grid_t grid = {q->t_start_ms, q->step_ms > 0 ? q->step_ms : 1, 1};
    uint32_t rank = 0;
    nlt_rc_t rc;

    *out = NULL;
    if (!q->instant) {
        rc = grid_steps((uint64_t) q->t_end_ms - (uint64_t) q->t_start_ms,
                        grid.step_ms, &grid.n, err);

        if (rc != NLT_OK) {
            return rc;
        }
    }
    rc = build(&p, ast, &grid, out);
    if (rc == NLT_OK) {
        rank_nodes(*out, &rank);
    }
    return rc;
}

void
nlt_pql_plan_release(nlt_pql_plan_t *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->fetch.n_matchers; i++) {
        nlt_matcher_release(&plan->fetch.matchers[i]);
    }
    for (size_t i = 0; i < plan->n_kids; i++) {
        nlt_pql_plan_release(plan->kids[i]);
    }
}

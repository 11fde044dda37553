/*
 * nlt_pql_blame.c - see nlt_pql_blame.h.
 */
#include "nlt_pql_blame.h"

typedef struct {
    nlt_pql_ctx_t *ctx;
    nlt_pql_drain_t drain; /* how the node at work is evaluated */
    bool lost;             /* the search has failed itself */
} blame_t;

static nlt_rc_t
drain_node(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan)
{
    nlt_pql_iter_t *op;
    nlt_pql_row_t row;
    nlt_rc_t rc = nlt_pql_open(ctx, plan, &op);

    while (rc == NLT_OK) {
        rc = op->next(op, &row);
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

static nlt_rc_t
open_node(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan)
{
    nlt_pql_iter_t *op;

    return nlt_pql_open(ctx, plan, &op);
}

/* Does the plan fail?  What it takes is given back. */
static bool
fails(blame_t *b, const nlt_pql_plan_t *plan)
{
    nlt_pql_ctx_t *ctx = b->ctx;
    nlt_pql_annots_t *told = ctx->annots, ignored;
    nlt_pool_mark_t mark = nlt_pool_mark(ctx->pool);
    nlt_pool_mark_t scratch = nlt_pool_mark(&ctx->scratch);
    nlt_rc_t rc;

    nlt_pql_annots_init(&ignored, ctx->pool);
    ctx->annots = &ignored;
    ctx->samples_held = 0;
    ctx->series_selected = 0;
    rc = b->drain(ctx, plan);
    nlt_pql_close_sets(ctx);
    nlt_pool_rewind(ctx->pool, mark);
    nlt_pool_rewind(&ctx->scratch, scratch);
    ctx->annots = told;
    b->lost |= rc != NLT_OK && rc != NLT_EEXEC;
    return rc == NLT_EEXEC;
}

/*
 * Cuts the grids of plan, and of what has the same grid, to some steps of
 * them, or gives the others back; what is read moves along.
 */
static void
set_steps(nlt_pql_plan_t *plan, int64_t t0_ms, size_t n)
{
    nlt_pql_grid_t was = plan->grid;
    nlt_pql_fetch_t *f = &plan->fetch;

    plan->grid.t0_ms = t0_ms;
    plan->grid.n = n;
    if (!f->fixed
        && (plan->kind == NLT_PQL_P_SELECT || plan->kind == NLT_PQL_P_RANGE)) {
        f->t_min_ms += t0_ms - was.t0_ms;
        f->t_max_ms +=
            nlt_pql_last_step(&plan->grid) - nlt_pql_last_step(&was);
    }
    for (size_t i = 0; i < plan->n_kids; i++) {
        if (plan->kind != NLT_PQL_P_ONCE && plan->kind != NLT_PQL_P_SUBQUERY) {
            set_steps(plan->kids[i], t0_ms, n);
        }
    }
}

/*
 * The first step at which plan fails, which it does at some step of all; the
 * error is that of this step alone.
 */
static void
find_step(blame_t *b, nlt_pql_plan_t *plan)
{
    nlt_pql_grid_t all = plan->grid;
    size_t lo = 0, hi = all.n; /* no failure before lo, one before hi */

    while (!b->lost && hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        set_steps(plan, nlt_pql_step(&all, lo), mid - lo);
        if (fails(b, plan)) {
            hi = mid;
        } else {
            lo = mid;
        }
    }
    set_steps(plan, nlt_pql_step(&all, lo), hi - lo);
    b->lost |= !fails(b, plan);
    set_steps(plan, all.t0_ms, all.n);
}

/* Are arguments of the node looked at before its operand is evaluated? */
static bool
checks_first(const nlt_pql_plan_t *plan)
{
    if (plan->kind == NLT_PQL_P_AGGR) {
        return plan->ast->u.aggr.op == NLT_PQL_AGGR_COUNT_VALUES;
    }
    return plan->kind == NLT_PQL_P_CALL
           && (plan->ast->u.call.func->special == NLT_PQL_SP_LABEL_REPLACE
               || plan->ast->u.call.func->special == NLT_PQL_SP_LABEL_JOIN);
}

/* Opening a node meets its own check, or what opening its kids meets. */
static bool
is_check(const nlt_err_t *err)
{
    static const char begin[] = "invalid ";

    return err->len >= sizeof(begin) - 1
           && memcmp(err->text, begin, sizeof(begin) - 1) == 0;
}

/* Is the node's own error about a parameter at all steps together? */
static bool
checks_all_steps(const nlt_pql_plan_t *plan)
{
    return plan->kind == NLT_PQL_P_AGGR && plan->n_kids > 1;
}

/* Finds the error at or below plan; true: ctx->err has it. */
static bool
search(blame_t *b, nlt_pql_plan_t *plan, nlt_pql_drain_t drain)
{
    if (checks_first(plan)) {
        b->drain = open_node;
        if (fails(b, plan) && is_check(b->ctx->err)) {
            return true;
        }
    }
    for (size_t i = 0; !b->lost && i < plan->n_kids; i++) {
        if (search(b, nlt_pql_plan_kid(plan, i), drain_node)) {
            return true;
        }
    }
    if (b->lost || plan->n_kids == 0 || plan->kind == NLT_PQL_P_SUBQUERY
        || plan->grid.n == 0) {
        return false;
    }
    b->drain = drain;
    if (!fails(b, plan)) {
        return false;
    }
    if (!checks_all_steps(plan)) {
        find_step(b, plan);
    }
    return !b->lost;
}

void
nlt_pql_blame(nlt_pql_ctx_t *ctx, nlt_pql_plan_t *plan, nlt_pql_drain_t root)
{
    blame_t b = {.ctx = ctx};
    nlt_err_t met = *ctx->err;

    if (!search(&b, plan, root)) {
        *ctx->err = met;
    }
}

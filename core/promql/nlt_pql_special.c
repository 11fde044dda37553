/*
 * nlt_pql_special.c - absent, scalar, vector, time and other functions that
 * give one row.
 */
#include <math.h>

#include "nlt_pql_fn.h"
#include "nlt_pql_special.h"

/* All of them: computed at open, given once. */
typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_row_t row;
    bool done;
} single_t;

static nlt_rc_t
single_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    single_t *e = (single_t *) op;

    if (e->done || !nlt_pql_any(e->row.present, op->n)) {
        return NLT_EOF;
    }
    e->done = true;
    *row = e->row;
    return NLT_OK;
}

/* ---- absent ---- */

/* Does m only take series away, also those without the label? */
static bool
subtracts(const nlt_matcher_t *m)
{
    return (m->op == NLT_MATCH_NE || m->op == NLT_MATCH_NRE)
           && nlt_matcher_test(m, (nlt_str_t){0, NULL}) == NLT_OK;
}

/* Takes one matcher into the labels of an absent vector. */
static void
absent_label(nlt_pql_edit_t *edit, const nlt_pql_fetch_t *f, size_t i)
{
    const nlt_matcher_t *m = &f->matchers[i];
    bool before = false;

    if (nlt_str_eq(m->name, NLT_METRIC_NAME)) {
        return;
    }
    for (size_t k = 0; k < i; k++) {
        before |= f->matchers[k].op == NLT_MATCH_EQ
                  && nlt_str_eq(f->matchers[k].name, m->name);
    }
    nlt_pql_edit_set(edit, m->name,
                     m->op == NLT_MATCH_EQ && !before ? m->value
                                                      : (nlt_str_t){0, NULL});
}

/*
 * Labels of an absent vector: those that the selector demands to be equal,
 * unless a later matcher has the same name.  Later means after the storage
 * of Prometheus has put those last that subtract.
 */
static nlt_rc_t
absent_labels(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *arg, nlt_labels_t *out)
{
    const nlt_pql_fetch_t *f = &arg->fetch;
    nlt_pql_edit_t edit;
    nlt_labels_t none = {NULL, 0};

    if (!nlt_pql_edit_init(ctx->pool, none, f->n_matchers, &edit)) {
        return NLT_ENOMEM;
    }
    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < f->n_matchers; i++) {
            if (subtracts(&f->matchers[i]) == last) {
                absent_label(&edit, f, i);
            }
        }
    }
    *out = (nlt_labels_t){edit.v, edit.n};
    return NLT_OK;
}

/* Marks the steps whose window of the series is not empty. */
static void
mark_windows(const nlt_pql_feed_t *feed, const nlt_pql_grid_t *g,
             uint64_t *present)
{
    const nlt_pql_fetch_t *f = feed->fetch;
    nlt_pql_span_t span = {0, 0};

    for (size_t i = 0; i < g->n; i++) {
        int64_t end = nlt_pql_fetch_at(f, nlt_pql_step(g, i));

        nlt_pql_span_move(&span, &feed->s, nlt_pql_t_sub(end, f->range_ms),
                          end);
        if (span.lo < span.hi) {
            nlt_pql_set(present, i);
            nlt_pql_seen(feed->ctx, feed->plan, span.hi - span.lo);
        }
    }
}

static nlt_rc_t
fill_absent(single_t *e, const nlt_pql_plan_t *arg)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    size_t n = e->op.n, words = nlt_pql_words(n);
    bool over_time = arg->ast->type == NLT_PQL_MATRIX;
    nlt_pql_feed_t feed;
    nlt_pql_iter_t *child = NULL;
    nlt_pql_row_t row;
    nlt_rc_t rc;

    rc = over_time ? nlt_pql_feed_open(ctx, arg, &feed)
                   : nlt_pql_open(ctx, arg, &child);
    while (rc == NLT_OK) {
        rc = over_time ? nlt_pql_feed_next(&feed, &row)
                       : child->next(child, &row);
        if (rc != NLT_OK) {
            break;
        }
        if (over_time) {
            mark_windows(&feed, &e->op.plan->grid, e->row.present);
        } else {
            for (size_t w = 0; w < words; w++) {
                e->row.present[w] |= row.present[w];
            }
        }
        rc = nlt_pql_poll(ctx, words);
    }
    if (rc != NLT_EOF) {
        return rc;
    }
    for (size_t w = 0; w < words; w++) {
        e->row.present[w] = ~e->row.present[w];
    }
    if (n % 64) {
        e->row.present[words - 1] &= (UINT64_C(1) << (n % 64)) - 1;
    }
    for (size_t i = 0; i < n; i++) {
        e->row.v[i] = 1;
    }
    if (arg->kind == NLT_PQL_P_ONCE) {
        arg = arg->kids[0];
    }
    if (nlt_pql_unparen(e->op.plan->ast->u.call.args[0])->kind
        == NLT_PQL_N_UNARY) {
        return NLT_OK; /* an unary plus, which is not in the plan */
    }
    return absent_labels(ctx, arg, &e->row.labels);
}

/* ---- scalar ---- */

static nlt_rc_t
fill_scalar(single_t *e, const nlt_pql_plan_t *arg)
{
    nlt_pql_iter_t *child;
    nlt_pql_row_t row;
    uint64_t *twice = nlt_pool_zalloc(
        e->op.ctx->pool, (nlt_pql_words(e->op.n) + 1) * sizeof(*twice));
    nlt_rc_t rc;

    if (twice == NULL) {
        return NLT_ENOMEM;
    }
    rc = nlt_pql_open(e->op.ctx, arg, &child);
    if (rc != NLT_OK) {
        return rc;
    }
    while ((rc = child->next(child, &row)) == NLT_OK) {
        for (size_t w = 0; w < nlt_pql_words(e->op.n); w++) {
            uint64_t bits = row.present[w];

            twice[w] |= bits & e->row.present[w];
            e->row.present[w] |= bits;
            for (; bits; bits &= bits - 1) {
                size_t i = w * 64 + (size_t) __builtin_ctzll(bits);

                e->row.v[i] = row.v[i];
            }
        }
    }
    if (rc != NLT_EOF) {
        return rc;
    }
    for (size_t i = 0; i < e->op.n; i++) {
        if (!nlt_pql_has(e->row.present, i) || nlt_pql_has(twice, i)) {
            e->row.v[i] = NAN;
        }
    }
    nlt_pql_set_all(e->row.present, e->op.n);
    return NLT_OK;
}

/* ---- min_of, max_of, and what the query itself knows ---- */

static nlt_rc_t
fill_extreme(single_t *e, const nlt_pql_plan_t *plan, bool max)
{
    for (size_t k = 0; k < plan->n_kids; k++) {
        double *v;
        nlt_rc_t rc = nlt_pql_scalar_values(e->op.ctx, plan->kids[k], &v);

        if (rc != NLT_OK) {
            return rc;
        }
        for (size_t i = 0; i < e->op.n; i++) {
            if (k == 0) {
                e->row.v[i] = v[i];
            } else {
                e->row.v[i] = max ? nlt_pql_max(e->row.v[i], v[i])
                                  : nlt_pql_min(e->row.v[i], v[i]);
            }
        }
    }
    nlt_pql_set_all(e->row.present, e->op.n);
    return NLT_OK;
}

static double
constant(const nlt_pql_query_t *q, nlt_pql_special_t sp)
{
    switch (sp) {
    case NLT_PQL_SP_PI:
        return 3.14159265358979323846;
    case NLT_PQL_SP_START:
        return (double) q->t_start_ms / 1000;
    case NLT_PQL_SP_END:
        return (double) q->t_end_ms / 1000;
    case NLT_PQL_SP_STEP:
        return q->instant ? 0 : (double) q->step_ms / 1000;
    case NLT_PQL_SP_RANGE:
        return q->instant
                   ? 0
                   : (double) nlt_pql_t_sub(q->t_end_ms, q->t_start_ms) / 1000;
    default:
        return NAN;
    }
}

static nlt_rc_t
fill(single_t *e, const nlt_pql_plan_t *plan, nlt_pql_special_t sp)
{
    const nlt_pql_grid_t *g = &plan->grid;
    double *v;
    nlt_rc_t rc;

    switch (sp) {
    case NLT_PQL_SP_ABSENT:
    case NLT_PQL_SP_ABSENT_OVER_TIME:
        return fill_absent(e, plan->kids[0]);
    case NLT_PQL_SP_SCALAR:
        return fill_scalar(e, plan->kids[0]);
    case NLT_PQL_SP_MIN_OF:
    case NLT_PQL_SP_MAX_OF:
        return fill_extreme(e, plan, sp == NLT_PQL_SP_MAX_OF);
    case NLT_PQL_SP_VECTOR:
        rc = nlt_pql_scalar_values(e->op.ctx, plan->kids[0], &v);
        if (rc != NLT_OK) {
            return rc;
        }
        memcpy(e->row.v, v, g->n * sizeof(*v));
        break;
    case NLT_PQL_SP_TIME:
        for (size_t i = 0; i < g->n; i++) {
            e->row.v[i] = (double) nlt_pql_step(g, i) / 1000;
        }
        break;
    default:
        for (size_t i = 0; i < g->n; i++) {
            e->row.v[i] = constant(e->op.ctx->q, sp);
        }
        break;
    }
    nlt_pql_set_all(e->row.present, g->n);
    return NLT_OK;
}

/* ---- timestamp ---- */

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
    bool given; /* the selector gives times already */
} timestamp_t;

static nlt_rc_t
timestamp_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    timestamp_t *e = (timestamp_t *) op;
    nlt_rc_t rc = e->child->next(e->child, row);

    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t i = 0; !e->given && i < op->n; i++) {
        row->v[i] = (double) nlt_pql_step(&op->plan->grid, i) / 1000;
    }
    return nlt_pql_row_drop_name(op->ctx, row);
}

static nlt_rc_t
open_timestamp(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
               nlt_pql_iter_t **out)
{
    timestamp_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), timestamp_next);
    const nlt_pql_plan_t *arg = plan->kids[0];
    nlt_rc_t rc;

    if (e == NULL) {
        return NLT_ENOMEM;
    }
    /* a unary plus, which is not in the plan, makes it an expression */
    e->given =
        nlt_pql_unparen(plan->ast->u.call.args[0])->kind == NLT_PQL_N_VECTOR;
    if (e->given && arg->kind == NLT_PQL_P_SELECT) {
        rc = nlt_pql_open_select(ctx, arg, true, &e->child);
    } else if (e->given) {
        /* Below ONCE: its operator over a selector of times. */
        rc = nlt_pql_open_select(ctx, arg->kids[0], true, &e->child);
        if (rc == NLT_OK) {
            rc = nlt_pql_open_once(ctx, arg, e->child, &e->child);
        }
    } else {
        rc = nlt_pql_open(ctx, arg, &e->child);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    *out = &e->op;
    return nlt_pql_name_dropped(out, e->child->unique);
}

/* ---- dispatch ---- */

nlt_rc_t
nlt_pql_open_special(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                     nlt_pql_iter_t **out)
{
    nlt_pql_special_t sp = plan->ast->u.call.func->special;
    single_t *e;

    switch (sp) {
    case NLT_PQL_SP_TIMESTAMP:
        return open_timestamp(ctx, plan, out);
    case NLT_PQL_SP_LABEL_JOIN:
    case NLT_PQL_SP_LABEL_REPLACE:
        return nlt_pql_open_label(ctx, plan, out);
    case NLT_PQL_SP_SORT:
    case NLT_PQL_SP_SORT_DESC:
    case NLT_PQL_SP_SORT_BY_LABEL:
    case NLT_PQL_SP_SORT_BY_LABEL_DESC:
        return nlt_pql_open_sort(ctx, plan, out);
    case NLT_PQL_SP_HISTOGRAM_FRACTION:
    case NLT_PQL_SP_HISTOGRAM_QUANTILE:
    case NLT_PQL_SP_HISTOGRAM_QUANTILES:
        return nlt_pql_open_hist(ctx, plan, out);
    case NLT_PQL_SP_INFO:
        return nlt_pql_open_info(ctx, plan, out);
    case NLT_PQL_SP_NONE:
        return nlt_pql_eval_err(ctx, NLT_EBUG, "unexpected error: function");
    default:
        break;
    }
    e = nlt_pql_iter_new(ctx, plan, sizeof(*e), single_next);
    if (e == NULL || !nlt_pql_row_alloc(ctx, plan->grid.n, &e->row)) {
        return NLT_ENOMEM;
    }
    e->op.unique = true;
    *out = &e->op;
    return fill(e, plan, sp);
}

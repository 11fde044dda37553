/*
 * nlt_pql.c - see nlt_pql.h: runs one query from text to result.
 */
#include "nlt_pql_blame.h"
#include "nlt_pql_fn.h"
#include "nlt_pql_rows.h"

/* ---- rows to results ---- */

typedef struct {
    const nlt_value_series_t *v;
    size_t alike; /* so many labels are the same in all */
} by_labels_t;

static bool
labels_before(const void *ctx, uint32_t a, uint32_t b)
{
    const by_labels_t *s = ctx;

    return nlt_labels_cmp(nlt_labels_from(s->v[a].labels, s->alike),
                          nlt_labels_from(s->v[b].labels, s->alike))
           < 0;
}

static nlt_rc_t
sort_series(nlt_pql_ctx_t *ctx, nlt_value_t *out)
{
    size_t n = out->n_series;
    uint32_t *idx = nlt_pool_array(ctx->pool, n + 1, 2 * sizeof(*idx));
    nlt_value_series_t *v = nlt_pool_array(ctx->pool, n + 1, sizeof(*v));
    by_labels_t by = {out->series, n > 0 ? out->series[0].labels.n : 0};

    if (idx == NULL || v == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        idx[i] = (uint32_t) i;
        by.alike = nlt_labels_alike(out->series[0].labels,
                                    out->series[i].labels, by.alike);
    }
    nlt_pql_sort(idx, idx + n, n, labels_before, &by);
    for (size_t i = 0; i < n; i++) {
        v[i] = out->series[idx[i]];
    }
    out->series = v;
    return NLT_OK;
}

/* Room for one more series. */
static nlt_value_series_t *
series_new(nlt_pql_ctx_t *ctx, nlt_value_t *out, size_t *cap)
{
    nlt_value_series_t *s;

    if (out->n_series == *cap) {
        size_t more = *cap ? *cap * 2 : 8;

        s = nlt_pool_grow(ctx->pool, out->series, *cap * sizeof(*s),
                          more * sizeof(*s));
        if (s == NULL) {
            return NULL;
        }
        out->series = s;
        *cap = more;
    }
    s = &out->series[out->n_series++];
    memset(s, 0, sizeof(*s));
    return s;
}

/* Strings of labels must survive the sets: copied. */
static nlt_rc_t
own_labels(nlt_pql_ctx_t *ctx, const nlt_pql_row_t *row, nlt_labels_t *out)
{
    nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
    nlt_labels_t l;
    nlt_rc_t rc = nlt_pql_row_labels(ctx, row, &ctx->scratch, &l);

    if (rc == NLT_OK && !nlt_labels_copy(ctx->pool, l, out)) {
        rc = NLT_ENOMEM;
    }
    nlt_pool_rewind(&ctx->scratch, mark);
    return rc;
}

/*
 * Delayed removal of names: rows marked for it lose theirs now, and may
 * become one with others.
 */
typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
} cleanup_t;

static nlt_rc_t
cleanup_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    cleanup_t *e = (cleanup_t *) op;
    nlt_rc_t rc = e->child->next(e->child, row);

    if (rc == NLT_OK && row->drop_name) {
        rc = nlt_pql_row_strip(op->ctx, row);
    }
    return rc;
}

static nlt_rc_t
cleanup_names(nlt_pql_iter_t **op)
{
    cleanup_t *e;

    if (!(*op)->ctx->delayed) {
        return NLT_OK;
    }
    e = nlt_pql_iter_new((*op)->ctx, (*op)->plan, sizeof(*e), cleanup_next);
    if (e == NULL) {
        return NLT_ENOMEM;
    }
    e->child = *op;
    *op = &e->op;
    return nlt_pql_merge(op, false);
}

/* The whole query without keeping anything: nlt_pql_blame(). */
static nlt_rc_t
drain_query(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan)
{
    nlt_pql_iter_t *op;
    nlt_pql_row_t row;
    nlt_rc_t rc = nlt_pql_open(ctx, plan, &op);

    if (rc == NLT_OK) {
        rc = cleanup_names(&op);
    }
    while (rc == NLT_OK) {
        rc = op->next(op, &row);
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

static nlt_rc_t
run_vector(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan, nlt_value_t *out)
{
    nlt_pql_iter_t *op;
    nlt_pql_row_t row;
    nlt_pql_rows_t kept = {NULL, 0, 0};
    size_t cap = 0;
    nlt_rc_t rc = nlt_pql_open(ctx, plan, &op);

    if (rc == NLT_OK) {
        rc = cleanup_names(&op);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    while ((rc = op->next(op, &row)) == NLT_OK) {
        nlt_value_series_t *s;

        if (!nlt_pql_any(row.present, op->n)) {
            continue;
        }
        kept.n = 0;
        rc = nlt_pql_rows_keep(ctx, op->n, &kept, &row);
        if (rc != NLT_OK) {
            return rc;
        }
        s = series_new(ctx, out, &cap);
        if (s == NULL) {
            return NLT_ENOMEM;
        }
        s->v = kept.v[0].v;
        s->present = kept.v[0].present;
        s->n = op->n;
        rc = own_labels(ctx, &row, &s->labels);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

/* Makes b part of a, which has the same labels; E8 if a time is in both. */
static nlt_rc_t
join_samples(nlt_pql_ctx_t *ctx, nlt_value_series_t *a,
             const nlt_value_series_t *b)
{
    nlt_value_series_t s = *a;
    size_t i = 0, k = 0;

    s.n = a->n + b->n;
    s.t_ms = nlt_pool_array(ctx->pool, s.n, sizeof(*s.t_ms));
    s.v = nlt_pool_array(ctx->pool, s.n, sizeof(*s.v));
    if (s.t_ms == NULL || s.v == NULL) {
        return NLT_ENOMEM;
    }
    while (i + k < s.n) {
        bool from_a = k == b->n || (i < a->n && a->t_ms[i] < b->t_ms[k]);

        if (i < a->n && k < b->n && a->t_ms[i] == b->t_ms[k]) {
            return nlt_pql_eval_err(ctx, NLT_EEXEC,
                                    "vector cannot contain metrics with the "
                                    "same labelset");
        }
        s.t_ms[i + k] = from_a ? a->t_ms[i] : b->t_ms[k];
        s.v[i + k] = from_a ? a->v[i] : b->v[k];
        *(from_a ? &i : &k) += 1;
    }
    *a = s;
    return NLT_OK;
}

/* Sorts the series; those that have become equal without a name are one. */
static nlt_rc_t
sort_matrix(nlt_pql_ctx_t *ctx, nlt_value_t *out)
{
    nlt_rc_t rc = sort_series(ctx, out);
    size_t n = 0;

    for (size_t i = 0; rc == NLT_OK && i < out->n_series; i++) {
        nlt_value_series_t *s = &out->series[i];

        if (n && nlt_labels_eq(out->series[n - 1].labels, s->labels)) {
            rc = join_samples(ctx, &out->series[n - 1], s);
        } else {
            out->series[n++] = *s;
        }
    }
    out->n_series = n;
    return rc;
}

/* A bare range: raw samples of an instant query. */
static nlt_rc_t
run_matrix(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan, nlt_value_t *out)
{
    const nlt_pql_fetch_t *f = &plan->fetch;
    int64_t end = nlt_pql_fetch_at(f, plan->grid.t0_ms);
    int64_t start = nlt_pql_t_sub(end, f->range_ms);
    nlt_pql_feed_t feed;
    nlt_pql_row_t row;
    size_t cap = 0;
    nlt_rc_t rc = nlt_pql_feed_open(ctx, plan, &feed);

    if (rc != NLT_OK) {
        return rc;
    }
    while ((rc = nlt_pql_feed_next(&feed, &row)) == NLT_OK) {
        nlt_pql_window_t w = {.t_ms = feed.s.t_ms,
                              .v = feed.s.v,
                              .n = feed.s.n,
                              .range_start_ms = start,
                              .range_end_ms = end,
                              .eval_ms = plan->grid.t0_ms,
                              .anchored = f->anchored,
                              .smoothed = f->smoothed};
        nlt_pql_points_t p = {feed.s.t_ms, feed.s.v, feed.s.n};
        nlt_value_series_t *s;

        if (f->anchored || f->smoothed) {
            rc = nlt_pql_extend(ctx->pool, &w, &p);
            if (rc != NLT_OK) {
                return rc;
            }
        }
        if (plan->kind == NLT_PQL_P_RANGE) {
            nlt_pql_seen(ctx, plan, p.n);
        }
        ctx->samples_held += p.n;
        rc = nlt_pql_count(ctx, 0);
        if (rc != NLT_OK || p.n == 0) {
            if (rc != NLT_OK) {
                return rc;
            }
            continue;
        }
        s = series_new(ctx, out, &cap);
        if (s == NULL) {
            return NLT_ENOMEM;
        }
        s->n = p.n;
        s->t_ms = nlt_pool_array(ctx->pool, p.n, sizeof(*s->t_ms));
        s->v = nlt_pool_array(ctx->pool, p.n, sizeof(*s->v));
        if (s->t_ms == NULL || s->v == NULL) {
            return NLT_ENOMEM;
        }
        memcpy(s->t_ms, p.t_ms, p.n * sizeof(*s->t_ms));
        memcpy(s->v, p.v, p.n * sizeof(*s->v));
        if (row.drop_name) {
            rc = nlt_pql_row_strip(ctx, &row);
        }
        if (rc == NLT_OK) {
            rc = own_labels(ctx, &row, &s->labels);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return rc == NLT_EOF ? sort_matrix(ctx, out) : rc;
}

static nlt_rc_t
evaluate(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan, nlt_value_t *out)
{
    const nlt_pql_query_t *q = ctx->q;
    nlt_rc_t rc;

    memset(out, 0, sizeof(*out));
    out->t_start_ms = plan->grid.t0_ms;
    out->step_ms = plan->grid.step_ms;
    out->n_steps = plan->grid.n;
    switch (plan->ast->type) {
    case NLT_PQL_STRING:
        out->type = NLT_VALUE_STRING;
        out->string = nlt_pql_string_value(plan);
        return NLT_OK;
    case NLT_PQL_MATRIX:
        out->type = NLT_VALUE_MATRIX;
        return run_matrix(ctx, plan, out);
    case NLT_PQL_SCALAR:
        out->type = NLT_VALUE_SCALAR;
        break;
    default:
        out->type = NLT_VALUE_VECTOR;
        break;
    }
    rc = run_vector(ctx, plan, out);
    if (rc == NLT_OK && !q->instant) {
        int64_t from_ns = nlt_mono_ns(q->env);

        out->type = NLT_VALUE_MATRIX;
        rc = sort_series(ctx, out);
        ctx->stats->sort_ns = nlt_mono_ns(q->env) - from_ns;
    }
    return rc;
}

/* Every failure has a text; the annotations are told only with a result. */
static nlt_rc_t
finish(nlt_pql_ctx_t *ctx, nlt_annots_t *annots, nlt_rc_t rc)
{
    if (rc == NLT_OK) {
        rc = nlt_pql_annots_render(ctx->annots, ctx->q->text, annots);
    }
    if (rc == NLT_ENOMEM) {
        return nlt_pql_eval_err(
            ctx, rc,
            "query needs more memory than its limit of %zu "
            "bytes",
            ctx->pool->budget_bytes);
    }
    if (rc != NLT_OK && ctx->err->len == 0) {
        return nlt_pql_eval_err(ctx, rc, "%s", nlt_rc_text(rc));
    }
    return rc;
}

/* Buffers live in the query's pool, so none is left behind by an error. */
static void *
pool_mem_alloc(void *pool, size_t size)
{
    return nlt_pool_alloc(pool, size);
}

static void
pool_mem_free(void *pool, void *p, size_t size)
{
    (void) pool;
    (void) p;
    (void) size;
}

nlt_mem_t
nlt_pql_pool_mem(nlt_pool_t *pool)
{
    return (nlt_mem_t){pool_mem_alloc, pool_mem_free, pool};
}

nlt_rc_t
nlt_pql_run(nlt_pool_t *pool, const nlt_pql_query_t *q, nlt_value_t *out,
            nlt_annots_t *annots, nlt_pql_stats_t *stats, nlt_err_t *err)
{
    nlt_pql_annots_t notes;
    nlt_err_t own_err;
    nlt_pql_ctx_t ctx = {.pool = pool,
                         .q = q,
                         .annots = &notes,
                         .stats = stats,
                         .err = err ? err : &own_err,
                         .mem = nlt_pql_pool_mem(pool),
                         .delayed = q->features & NLT_PQL_F_DELAYED_NAME};
    nlt_pql_node_t *ast;
    nlt_pql_plan_t *plan = NULL;
    int64_t from_ns = nlt_mono_ns(q->env);
    nlt_rc_t rc;

    memset(out, 0, sizeof(*out));
    memset(annots, 0, sizeof(*annots));
    memset(stats, 0, sizeof(*stats));
    nlt_err_clear(ctx.err);
    nlt_pql_annots_init(&notes, pool);
    nlt_pool_init(&ctx.scratch, pool->mem, pool->budget_bytes / 4 + 65536);
    /* A first page that no rewind gives back. */
    (void) nlt_pool_alloc(&ctx.scratch, 1);

    rc = nlt_pql_parse(pool, q->text, q->features, &ast, ctx.err);
    if (rc == NLT_OK && !q->instant && ast->type != NLT_PQL_SCALAR
        && ast->type != NLT_PQL_VECTOR) {
        rc =
            nlt_pql_eval_err(&ctx, NLT_EINVAL,
                             "invalid expression type \"%s\" for range query, "
                             "must be Scalar or instant Vector",
                             nlt_pql_type_text(ast->type));
    }
    if (rc == NLT_OK) {
        rc = nlt_pql_plan(pool, q, ast, &plan, ctx.err);
    }
    if (rc == NLT_OK) {
        nlt_pool_mark_t mark = nlt_pool_mark(pool);
        int64_t planned_ns = nlt_mono_ns(q->env);

        stats->prepare_ns = planned_ns - from_ns;
        rc = evaluate(&ctx, plan, out);
        stats->eval_ns = nlt_mono_ns(q->env) - planned_ns;
        if (rc == NLT_EEXEC) {
            nlt_pql_close_sets(&ctx);
            nlt_pool_rewind(pool, mark);
            memset(out, 0, sizeof(*out));
            nlt_pql_annots_init(&notes, pool);
            nlt_pql_blame(&ctx, plan, drain_query);
        }
    }
    rc = finish(&ctx, annots, rc);
    nlt_pql_close_sets(&ctx);
    nlt_pql_plan_release(plan);
    nlt_pool_deinit(&ctx.scratch);
    return rc;
}

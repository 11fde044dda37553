/*
 * nlt_pql_eval.c - operators of the simple nodes, and the machine's helpers.
 */
#include <stdarg.h>
#include <stdio.h>

#include "nlt_pql_aggr.h"
#include "nlt_pql_binop.h"
#include "nlt_pql_crew.h"
#include "nlt_pql_edges.h"
#include "nlt_pql_rows.h"

/* Work between two looks at the clock, in samples. */
#define POLL_CREDIT 1000

/* ---- helpers ---- */

nlt_rc_t
nlt_pql_eval_err(nlt_pql_ctx_t *ctx, nlt_rc_t rc, const char *fmt, ...)
{
    char text[NLT_ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return nlt_err_set(ctx->err, rc, "%s", text);
}

nlt_rc_t
nlt_pql_poll_slow(nlt_pql_ctx_t *ctx)
{
    const nlt_pql_query_t *q = ctx->q;

    ctx->poll_credit = POLL_CREDIT;
    if (ctx->leave && __atomic_load_n(ctx->leave, __ATOMIC_RELAXED)) {
        return NLT_ECANCELED; /* heard by nobody */
    }
    if (q->cancel && __atomic_load_n(q->cancel, __ATOMIC_RELAXED)) {
        return nlt_pql_eval_err(ctx, NLT_ECANCELED,
                                "query was canceled in expression evaluation");
    }
    if (q->deadline_ns && nlt_mono_ns(q->env) >= q->deadline_ns) {
        return nlt_pql_eval_err(ctx, NLT_ETIMEOUT,
                                "query timed out in expression evaluation");
    }
    return NLT_OK;
}

nlt_rc_t
nlt_pql_count(nlt_pql_ctx_t *ctx, uint64_t n)
{
    uint64_t now = ctx->samples_held + n;

    if (now > ctx->stats->samples_peak) {
        ctx->stats->samples_peak = now;
    }
    if (now > ctx->q->samples_max) {
        return nlt_pql_eval_err(ctx, NLT_ELIMIT,
                                "query processing would load too many samples "
                                "into memory in query execution");
    }
    return NLT_OK;
}

size_t
nlt_pql_popcount(const uint64_t *present, size_t n)
{
    size_t sum = 0;

    for (size_t w = 0; w < nlt_pql_words(n); w++) {
        sum += (size_t) __builtin_popcountll(present[w]);
    }
    return sum;
}

void *
nlt_pql_iter_new(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan, size_t size,
                 nlt_pql_next_t next)
{
    nlt_pql_iter_t *op = nlt_pool_zalloc(ctx->pool, size);

    if (op) {
        op->next = next;
        op->ctx = ctx;
        op->plan = plan;
        op->n = plan->grid.n;
    }
    return op;
}

bool
nlt_pql_row_alloc(nlt_pql_ctx_t *ctx, size_t n, nlt_pql_row_t *row)
{
    size_t words = nlt_pql_words(n);
    uint64_t *block = nlt_pool_array(ctx->pool, n + words, sizeof(*block));

    if (block == NULL) {
        return false;
    }
    row->present = block;
    memset(row->present, 0, words * sizeof(*row->present));
    row->v = (double *) (void *) (block + words);
    return true;
}

nlt_rc_t
nlt_pql_name_dropped(nlt_pql_iter_t **op, bool unique)
{
    nlt_rc_t rc;

    if (unique || (*op)->ctx->delayed) {
        (*op)->unique = unique;
        return NLT_OK;
    }
    rc = nlt_pql_merge(op, false);
    (*op)->unique = true;
    return rc;
}

void
nlt_pql_sort(uint32_t *v, uint32_t *tmp, size_t n, nlt_pql_less_t less,
             const void *ctx)
{
    uint32_t *from = v, *to = tmp;

    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t a = at, a_end = at + width < n ? at + width : n;
            size_t b = a_end, b_end = b + width < n ? b + width : n;

            for (size_t k = at; k < b_end; k++) {
                bool take_b =
                    a == a_end || (b < b_end && less(ctx, from[b], from[a]));

                to[k] = take_b ? from[b++] : from[a++];
            }
        }
        uint32_t *swap = from;

        from = to;
        to = swap;
    }
    if (from != v) {
        memcpy(v, from, n * sizeof(*v));
    }
}

nlt_str_t
nlt_pql_string_value(const nlt_pql_plan_t *plan)
{
    return plan->ast->u.string;
}

nlt_rc_t
nlt_pql_scalar_values(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                      double **out)
{
    nlt_pql_iter_t *op;
    nlt_pql_row_t row;
    nlt_rc_t rc = nlt_pql_open(ctx, plan, &op);

    if (rc == NLT_OK) {
        rc = op->next(op, &row);
    }
    if (rc == NLT_EOF) {
        return nlt_pql_eval_err(ctx, NLT_EBUG, "unexpected error: no scalar");
    }
    *out = rc == NLT_OK ? row.v : NULL;
    return rc;
}

/* First index in [0, n) with t_ms > at, or n. */
static size_t
upper_bound(const int64_t *t_ms, size_t n, int64_t at)
{
    size_t lo = 0;

    if (n > 0 && t_ms[n - 1] <= at) {
        return n; /* an instant query's only step */
    }
    while (lo < n) {
        size_t mid = lo + (n - lo) / 2;

        if (t_ms[mid] <= at) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    return lo;
}

void
nlt_pql_count_upto(const int64_t *t_ms, size_t n, int64_t at_ms,
                   int64_t step_ms, size_t n_steps, uint32_t *out)
{
    size_t at = n_steps ? upper_bound(t_ms, n, at_ms) : 0, stride = 0;

    for (size_t i = 0; i < n_steps; i++, at_ms += step_ms) {
        /* As many as for the step before, then to where it is. */
        size_t from = at;

        at = stride < n - at ? at + stride : n;
        while (at > from && t_ms[at - 1] > at_ms) {
            at--;
        }
        while (at < n && t_ms[at] <= at_ms) {
            at++;
        }
        stride = at - from;
        out[i] = (uint32_t) at;
    }
}

/* ---- numbers ---- */

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_row_t row;
    bool done;
} number_t;

static nlt_rc_t
number_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    number_t *e = (number_t *) op;
    double v = op->plan->ast->u.number.value;

    if (e->done) {
        return NLT_EOF;
    }
    e->done = true;
    for (size_t i = 0; i < op->n; i++) {
        e->row.v[i] = v;
    }
    nlt_pql_set_all(e->row.present, op->n);
    *row = e->row;
    return NLT_OK;
}

static nlt_rc_t
open_number(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
            nlt_pql_iter_t **out)
{
    number_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), number_next);

    if (e == NULL || !nlt_pql_row_alloc(ctx, plan->grid.n, &e->row)) {
        return NLT_ENOMEM;
    }
    e->op.unique = true;
    *out = &e->op;
    return NLT_OK;
}

/* ---- once: one step repeated ---- */

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
    nlt_pql_row_t row;
} once_t;

static nlt_rc_t
once_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    once_t *e = (once_t *) op;
    nlt_rc_t rc;

    do {
        rc = e->child->next(e->child, row);
        if (rc != NLT_OK) {
            return rc;
        }
    } while (!nlt_pql_has(row->present, 0));
    for (size_t i = 0; i < op->n; i++) {
        e->row.v[i] = row->v[0];
    }
    nlt_pql_set_all(e->row.present, op->n);
    row->v = e->row.v;
    row->present = e->row.present;
    return nlt_pql_poll(op->ctx, op->n / 8);
}

nlt_rc_t
nlt_pql_open_once(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                  nlt_pql_iter_t *child, nlt_pql_iter_t **out)
{
    once_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), once_next);

    if (e == NULL || !nlt_pql_row_alloc(ctx, plan->grid.n, &e->row)) {
        return NLT_ENOMEM;
    }
    e->child = child;
    e->op.unique = child->unique;
    *out = &e->op;
    return NLT_OK;
}

/* ---- unary minus ---- */

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
} negate_t;

static nlt_rc_t
negate_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    negate_t *e = (negate_t *) op;
    nlt_rc_t rc = e->child->next(e->child, row);

    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t i = 0; i < op->n; i++) {
        row->v[i] = -row->v[i];
    }
    return nlt_pql_row_drop_name(op->ctx, row);
}

static nlt_rc_t
open_negate(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
            nlt_pql_iter_t **out)
{
    negate_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), negate_next);
    nlt_rc_t rc;

    if (e == NULL) {
        return NLT_ENOMEM;
    }
    rc = nlt_pql_open(ctx, plan->kids[0], &e->child);
    if (rc != NLT_OK) {
        return rc;
    }
    *out = &e->op;
    return nlt_pql_name_dropped(out, e->child->unique);
}

/* ---- functions of one value ---- */

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child; /* NULL: the time of the step, once */
    const nlt_pql_func_t *func;
    double *params[NLT_PQL_ARGS_MAX];
    size_t n_params;
    nlt_pql_row_t row;
    bool done;
} map_t;

static void
map_values(const map_t *e, const nlt_pql_row_t *row)
{
    const nlt_pql_grid_t *g = &e->op.plan->grid;
    nlt_pql_map_fn_t fn = e->func->map;
    double params[NLT_PQL_ARGS_MAX];

    for (size_t w = 0; w < nlt_pql_words(g->n); w++) {
        for (uint64_t bits = row->present[w]; bits; bits &= bits - 1) {
            size_t i = w * 64 + (size_t) __builtin_ctzll(bits);

            for (size_t k = 0; k < e->n_params; k++) {
                params[k] = e->params[k][i];
            }
            if (!fn(row->v[i], nlt_pql_step(g, i), params, e->n_params,
                    &row->v[i])) {
                nlt_pql_clear(row->present, i);
            }
        }
    }
}

static nlt_rc_t
map_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    map_t *e = (map_t *) op;
    nlt_rc_t rc;

    if (e->child == NULL) {
        if (e->done) {
            return NLT_EOF;
        }
        e->done = true;
        for (size_t i = 0; i < op->n; i++) {
            e->row.v[i] = (double) nlt_pql_step(&op->plan->grid, i) / 1000;
        }
        nlt_pql_set_all(e->row.present, op->n);
        *row = e->row;
        map_values(e, row);
        return NLT_OK;
    }
    do {
        rc = e->child->next(e->child, row);
        if (rc == NLT_OK) {
            map_values(e, row);
            rc = nlt_pql_poll(op->ctx, op->n / 4);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    } while (!nlt_pql_any(row->present, op->n));
    return e->func->keeps_name ? NLT_OK : nlt_pql_row_drop_name(op->ctx, row);
}

nlt_rc_t
nlt_pql_open_map(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                 nlt_pql_iter_t **out)
{
    map_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), map_next);
    nlt_rc_t rc;

    if (e == NULL) {
        return NLT_ENOMEM;
    }
    e->func = plan->ast->u.call.func;
    for (size_t i = 0; i < plan->n_kids && i < NLT_PQL_ARGS_MAX; i++) {
        const nlt_pql_plan_t *kid = plan->kids[i];

        if (kid->ast->type == NLT_PQL_VECTOR) {
            rc = nlt_pql_open(ctx, kid, &e->child);
        } else {
            rc = nlt_pql_scalar_values(ctx, kid, &e->params[e->n_params++]);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    *out = &e->op;
    if (e->child == NULL) {
        e->op.unique = true;
        return nlt_pql_row_alloc(ctx, plan->grid.n, &e->row) ? NLT_OK
                                                             : NLT_ENOMEM;
    }
    e->op.unique = e->child->unique;
    return e->func->keeps_name ? NLT_OK
                               : nlt_pql_name_dropped(out, e->child->unique);
}

/* ---- functions over ranges ---- */

typedef struct {
    nlt_pql_leaf_t leaf; /* over a subquery it is no leaf, and uses the row */
    nlt_pql_feed_t feed;
    const nlt_pql_func_t *func;
    nlt_pql_fctx_t fctx;
    int32_t arg_pos[NLT_PQL_ARGS_MAX];
    double *params[NLT_PQL_ARGS_MAX];
    size_t n_params;
    nlt_str_t metric_name; /* of all series, if they have the same */
    nlt_pql_steps_t steps; /* n_steps is 0: goes window by window */
    nlt_pql_edges_t edges;
    size_t work_cap; /* of steps.work */
} window_t;

/*
 * Prepares for all steps at once, if the function knows how to and no time
 * comes near the ends of int64.
 */
static nlt_rc_t
open_steps(window_t *e)
{
    const nlt_pql_fetch_t *f = e->feed.fetch;
    const nlt_pql_grid_t *g = &e->leaf.op.plan->grid;
    nlt_pql_steps_t *s = &e->steps;
    int64_t span, last, first;

    if (e->func->steps == NULL || g->n == 0 || f->anchored || f->smoothed
        || (f->fixed && g->n > 1)) {
        return NLT_OK;
    }
    s->end_ms = nlt_pql_fetch_at(f, g->t0_ms);
    s->step_ms = g->step_ms;
    s->range_ms = f->range_ms;
    s->eval_ms = g->t0_ms;
    if (__builtin_mul_overflow((int64_t) g->n, g->step_ms, &span)
        || __builtin_add_overflow(s->end_ms, span, &last)
        || __builtin_sub_overflow(s->end_ms, s->range_ms, &first)
        || (!f->fixed
            && __builtin_sub_overflow(g->t0_ms, f->offset_ms, &first))) {
        return NLT_OK;
    }
    s->n_steps = g->n;
    return nlt_pql_edges_open(e->leaf.op.ctx, g->n, e->func->stretches,
                              &e->edges);
}

/* Calls the function for the steps [from, from + n), from a multiple of 64. */
static void
some_steps(window_t *e, size_t from, size_t n)
{
    const double *params[NLT_PQL_ARGS_MAX];
    nlt_pql_steps_t s = e->steps;
    int64_t after = (int64_t) from * s.step_ms;
    nlt_pql_stretch_t part;

    if (s.stretch && e->func->each) {
        part = *s.stretch;
        part.factor += from;
        part.squares += from;
        part.present += from / 64;
        s.stretch = &part;
    }

    for (size_t k = 0; k < e->n_params; k++) {
        params[k] = e->params[k] + from;
    }
    s.params = params;
    s.lo += from;
    s.hi += from;
    s.n_steps = n;
    s.end_ms += after;
    s.eval_ms += after;
    e->func->steps(&e->fctx, &s, e->leaf.row.v + from,
                   e->leaf.row.present + from / 64);
}

/* The steps of a function that goes through each window: 64 at a time, so
 * that a query can be stopped. */
static void
each_step(window_t *e)
{
    const nlt_pql_steps_t *s = &e->steps;

    for (size_t from = 0; from < s->n_steps; from += 64) {
        size_t n = s->n_steps - from < 64 ? s->n_steps - from : 64, work = 0;

        some_steps(e, from, n);
        for (size_t i = from; i < from + n; i++) {
            work += s->hi[i] - s->lo[i];
        }
        if (e->fctx.rc == NLT_OK) {
            e->fctx.rc = nlt_pql_poll(e->leaf.op.ctx, work / 8);
        }
        if (nlt_unlikely(e->fctx.rc != NLT_OK)) {
            return;
        }
    }
    if (s->stretch) {
        s->stretch->known = true;
    }
}

static void
all_steps(window_t *e, nlt_str_t name)
{
    nlt_pql_steps_t *s = &e->steps;
    const nlt_samples_t *in = &e->feed.s;
    nlt_pql_ctx_t *ctx = e->leaf.op.ctx;

    if (in->n > e->work_cap) {
        size_t cap = e->work_cap ? e->work_cap : 64;

        while (cap < in->n) {
            cap *= 2;
        }
        s->work = nlt_pool_grow(ctx->pool, s->work, e->work_cap * 4, cap * 4);
        if (s->work == NULL) {
            e->fctx.rc = NLT_ENOMEM;
            return;
        }
        e->work_cap = cap;
    }
    s->t_ms = in->t_ms;
    s->v = in->v;
    s->n = in->n;
    s->metric_name = name;
    nlt_pql_edges_find(ctx, &e->edges, s);
    nlt_pql_seen(ctx, e->feed.plan, e->edges.n_seen);
    memset(e->leaf.row.present, 0,
           nlt_pql_words(s->n_steps) * sizeof(uint64_t));
    if (e->func->each) {
        each_step(e);
        return;
    }
    some_steps(e, 0, s->n_steps);
    if (e->fctx.rc == NLT_OK) {
        e->fctx.rc = nlt_pql_poll(ctx, (s->n_steps + s->n) / 8);
    }
}

/* All steps of one series: a window that moves over its samples. */
static void
window_steps(window_t *e, nlt_str_t name)
{
    const nlt_pql_fetch_t *f = e->feed.fetch;
    const nlt_pql_grid_t *g = &e->leaf.op.plan->grid;
    const nlt_samples_t *s = &e->feed.s;
    nlt_pool_mark_t mark = nlt_pool_mark(e->fctx.scratch);
    nlt_pql_range_fn_t fn = e->func->range;
    double params[NLT_PQL_ARGS_MAX];
    nlt_pql_window_t w = {.params = params,
                          .metric_name = name,
                          .anchored = f->anchored,
                          .smoothed = f->smoothed};
    nlt_pql_span_t span = {0, 0};

    memset(e->leaf.row.present, 0, nlt_pql_words(g->n) * sizeof(uint64_t));
    for (size_t i = 0; i < g->n; i++) {
        w.eval_ms = nlt_pql_step(g, i);
        w.range_end_ms = nlt_pql_fetch_at(f, w.eval_ms);
        w.range_start_ms = nlt_pql_t_sub(w.range_end_ms, f->range_ms);
        nlt_pql_span_move(&span, s,
                          nlt_pql_t_sub(w.range_start_ms, f->before_ms),
                          nlt_pql_t_add(w.range_end_ms, f->after_ms));
        if (span.lo == span.hi) {
            continue;
        }
        w.t_ms = s->t_ms + span.lo;
        w.v = s->v + span.lo;
        w.st_ms = s->st_ms ? s->st_ms + span.lo : NULL;
        w.n = span.hi - span.lo;
        nlt_pql_seen(e->leaf.op.ctx, e->feed.plan, w.n);
        for (size_t k = 0; k < e->n_params; k++) {
            params[k] = e->params[k][i];
        }
        if (fn(&e->fctx, &w, &e->leaf.row.v[i])) {
            nlt_pql_set(e->leaf.row.present, i);
        }
        nlt_pool_rewind(e->fctx.scratch, mark);
        if (e->fctx.rc == NLT_OK) {
            e->fctx.rc = nlt_pql_poll(e->leaf.op.ctx, w.n / 8);
        }
        if (nlt_unlikely(e->fctx.rc != NLT_OK)) {
            return;
        }
    }
}

/* The samples of the feed to the leaf's row; name: of whom, if it is wanted.
 */
static nlt_rc_t
window_values(window_t *e, nlt_str_t name)
{
    if (e->steps.n_steps > 0 && e->feed.s.n < UINT32_MAX
        && e->feed.s.st_ms == NULL) {
        all_steps(e, name);
    } else {
        window_steps(e, name);
    }
    if (e->fctx.rc != NLT_OK) {
        return e->fctx.rc;
    }
    return nlt_pql_any(e->leaf.row.present, e->leaf.op.n) ? NLT_OK : NLT_EOF;
}

static nlt_rc_t
window_one(nlt_pql_leaf_t *leaf, size_t idx)
{
    window_t *e = (window_t *) leaf;
    nlt_str_t name = e->metric_name;
    nlt_rc_t rc = nlt_pql_feed_one(&e->feed, idx);

    if (rc != NLT_OK) {
        return rc;
    }
    if (e->func->counter && name.len == 0) {
        name = leaf->set->source->ops->label(leaf->set, idx, NLT_METRIC_NAME);
    }
    return window_values(e, name);
}

/* Over a subquery. */
static nlt_rc_t
window_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    window_t *e = (window_t *) op;
    nlt_rc_t rc;

    do {
        rc = nlt_pql_feed_next(&e->feed, row);
        if (rc != NLT_OK) {
            return rc;
        }
        rc = window_values(e, e->func->counter
                                  ? nlt_pql_row_label(row, NLT_METRIC_NAME)
                                  : (nlt_str_t){0, NULL});
    } while (rc == NLT_EOF);
    if (rc != NLT_OK) {
        return rc;
    }
    row->v = e->leaf.row.v;
    row->present = e->leaf.row.present;
    row->drop_name = false; /* forgotten behind a subquery, as there */
    return e->func->keeps_name ? NLT_OK : nlt_pql_row_drop_name(op->ctx, row);
}

static nlt_samples_t *
window_samples(nlt_pql_leaf_t *leaf)
{
    return &((window_t *) leaf)->feed.s;
}

static nlt_rc_t
window_settle(nlt_pql_leaf_t *copy)
{
    window_t *e = (window_t *) copy;
    nlt_pql_ctx_t *ctx = copy->op.ctx;

    e->feed.ctx = ctx;
    e->feed.s = (nlt_samples_t){.pool = ctx->pool};
    e->fctx.annots = ctx->annots;
    e->fctx.err = ctx->err;
    e->fctx.scratch = &ctx->scratch;
    e->fctx.noted = (nlt_str_t){0, NULL};
    e->steps.work = NULL;
    e->work_cap = 0;
    memset(&e->edges, 0, sizeof(e->edges));
    return open_steps(e);
}

static const nlt_pql_leaf_ops_t window_ops = {.one = window_one,
                                              .settle = window_settle,
                                              .samples = window_samples,
                                              .size = sizeof(window_t)};

nlt_rc_t
nlt_pql_open_window(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                    nlt_pql_iter_t **out)
{
    window_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), window_next);
    nlt_rc_t rc = NLT_OK;

    if (e == NULL || !nlt_pql_row_alloc(ctx, plan->grid.n, &e->leaf.row)) {
        return NLT_ENOMEM;
    }
    e->func = plan->ast->u.call.func;
    e->fctx = (nlt_pql_fctx_t){.annots = ctx->annots,
                               .arg_pos = e->arg_pos,
                               .call_pos = plan->ast->start,
                               .rank = plan->rank,
                               .err = ctx->err,
                               .scratch = &ctx->scratch};
    for (size_t i = 0; i < plan->n_kids && i < NLT_PQL_ARGS_MAX; i++) {
        const nlt_pql_plan_t *kid = plan->kids[i];

        e->arg_pos[i] = nlt_pql_arg_pos(plan, i);
        if (kid->ast->type == NLT_PQL_MATRIX) {
            rc = nlt_pql_feed_open(ctx, kid, &e->feed);
            if (rc == NLT_OK) {
                rc = nlt_pql_func_edges(e->func, e->feed.fetch->anchored,
                                        e->feed.fetch->smoothed, ctx->err);
            }
        } else {
            rc = nlt_pql_scalar_values(ctx, kid, &e->params[e->n_params++]);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    if (e->feed.plan->kind == NLT_PQL_P_RANGE) {
        e->leaf.op.next = nlt_pql_leaf_next;
        e->leaf.ops = &window_ops;
        e->leaf.set = e->feed.set;
        e->leaf.drops_name = !e->func->keeps_name;
        if (e->func->counter) {
            e->metric_name = nlt_pql_fetch_name(e->feed.fetch);
        }
        e->feed.newest = e->func->newest && plan->grid.n == 1
                         && !e->feed.fetch->anchored
                         && !e->feed.fetch->smoothed && !ctx->q->exact_stats;
    }
    rc = open_steps(e);
    if (rc != NLT_OK) {
        return rc;
    }
    *out = &e->leaf.op;
    e->leaf.op.unique = e->feed.unique;
    return e->func->keeps_name ? NLT_OK
                               : nlt_pql_name_dropped(out, e->feed.unique);
}

/* ---- dispatch ---- */

static nlt_rc_t
open_call(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan, nlt_pql_iter_t **out)
{
    const nlt_pql_func_t *f = plan->ast->u.call.func;

    switch (f->kind) {
    case NLT_PQL_FK_RANGE:
        return nlt_pql_open_window(ctx, plan, out);
    case NLT_PQL_FK_MAP:
        return nlt_pql_open_map(ctx, plan, out);
    case NLT_PQL_FK_SPECIAL:
        return nlt_pql_open_special(ctx, plan, out);
    case NLT_PQL_FK_NONE:
        break;
    }
    return nlt_pql_eval_err(ctx, NLT_EEXEC, "function \"%s\" is not supported",
                            f->name);
}

nlt_rc_t
nlt_pql_open(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
             nlt_pql_iter_t **out)
{
    nlt_rc_t rc = nlt_pql_poll(ctx, 0);
    nlt_pql_iter_t *child;

    if (rc != NLT_OK) {
        return rc;
    }
    switch (plan->kind) {
    case NLT_PQL_P_NUMBER:
        return open_number(ctx, plan, out);
    case NLT_PQL_P_SELECT:
        return nlt_pql_open_select(ctx, plan, false, out);
    case NLT_PQL_P_CALL:
        return open_call(ctx, plan, out);
    case NLT_PQL_P_AGGR:
        return nlt_pql_open_aggr(ctx, plan, out);
    case NLT_PQL_P_BINARY:
        return nlt_pql_open_binary(ctx, plan, out);
    case NLT_PQL_P_NEGATE:
        return open_negate(ctx, plan, out);
    case NLT_PQL_P_ONCE:
        rc = nlt_pql_open(ctx, plan->kids[0], &child);
        return rc != NLT_OK ? rc : nlt_pql_open_once(ctx, plan, child, out);
    case NLT_PQL_P_STRING:
    case NLT_PQL_P_RANGE:
    case NLT_PQL_P_SUBQUERY:
        break;
    }
    return nlt_pql_eval_err(ctx, NLT_EBUG, "unexpected error: no operator");
}

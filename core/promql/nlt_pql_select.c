/*
 * nlt_pql_select.c - selectors: reading series, lookback, staleness, ranges.
 *
 * One series is read for the whole time span of its plan node and walked
 * once: the index of the newest sample only moves forward as steps do.
 */
#include "nlt_pair.h"
#include "nlt_pql_crew.h"
#include "nlt_pql_rows.h"

struct nlt_pql_open_set_s {
    nlt_pql_open_set_t *next;
    nlt_series_set_t *set;
};

struct nlt_pql_own_matcher_s {
    nlt_pql_own_matcher_t *next;
    nlt_matcher_t *m;
};

/* E4: what a source says about its failure, with Prometheus's beginning. */
static nlt_rc_t
source_err(nlt_pql_ctx_t *ctx, nlt_rc_t rc)
{
    nlt_str_t text = {ctx->err->len, ctx->err->text};

    if (rc == NLT_OK || rc == NLT_ENOMEM) {
        return rc;
    }
    if (rc == NLT_ECANCELED) {
        text = NLT_STR("context canceled");
    } else if (text.len == 0) {
        text = (nlt_str_t){strlen(nlt_rc_text(rc)), nlt_rc_text(rc)};
    }
    return nlt_pql_eval_err(ctx, rc, "expanding series: %.*s", NLT_FMT(text));
}

nlt_rc_t
nlt_pql_open_set(nlt_pql_ctx_t *ctx, const nlt_pql_fetch_t *f,
                 nlt_series_set_t **out)
{
    const nlt_source_t *src = ctx->q->source;
    nlt_select_t sel = {f->matchers, f->n_matchers, f->t_min_ms, f->t_max_ms};
    nlt_pql_open_set_t *o = nlt_pool_zalloc(ctx->pool, sizeof(*o));
    nlt_rc_t rc;

    if (o == NULL) {
        return NLT_ENOMEM;
    }
    rc = src->ops->select(src, ctx->pool, &sel, &o->set, ctx->err);
    if (rc != NLT_OK) {
        return source_err(ctx, rc);
    }
    o->next = ctx->sets;
    ctx->sets = o;
    *out = o->set;
    ctx->series_selected += o->set->n;
    if (ctx->series_selected > ctx->stats->series_selected) {
        ctx->stats->series_selected = ctx->series_selected;
    }
    if (ctx->q->series_max && ctx->series_selected > ctx->q->series_max) {
        return nlt_pql_eval_err(ctx, NLT_ELIMIT,
                                "query selects too many series");
    }
    return NLT_OK;
}

nlt_rc_t
nlt_pql_own_matcher(nlt_pql_ctx_t *ctx, nlt_matcher_t *m)
{
    nlt_pql_own_matcher_t *o = nlt_pool_zalloc(ctx->pool, sizeof(*o));

    if (o == NULL) {
        nlt_matcher_release(m);
        return NLT_ENOMEM;
    }
    o->m = m;
    o->next = ctx->own;
    ctx->own = o;
    return NLT_OK;
}

void
nlt_pql_close_sets(nlt_pql_ctx_t *ctx)
{
    nlt_pql_crews_end(ctx);
    for (; ctx->sets; ctx->sets = ctx->sets->next) {
        ctx->q->source->ops->close(ctx->sets->set);
    }
    for (; ctx->own; ctx->own = ctx->own->next) {
        nlt_matcher_release(ctx->own->m);
    }
}

nlt_rc_t
nlt_pql_read(nlt_pql_ctx_t *ctx, const nlt_series_set_t *set, size_t idx,
             nlt_read_t what, const nlt_pql_fetch_t *f, nlt_samples_t *out)
{
    nlt_rc_t rc;

    out->n = 0;
    rc = set->source->ops->read(set, idx, what, f->t_min_ms, f->t_max_ms, out,
                                ctx->err);
    if (rc == NLT_OK) {
        ctx->stats->series_read++;
        ctx->stats->samples_read += out->n;
        rc = nlt_pql_count(ctx, out->n);
        return rc == NLT_OK ? nlt_pql_poll(ctx, out->n) : rc;
    }
    return source_err(ctx, rc);
}

/* Is one of 16 values a stale marker?  All are NaN, which few values are. */
static inline bool
any_stale(const double *v)
{
    nlt_pair_mask_t nan = {0, 0};
    bool stale = false;

    for (size_t i = 0; i < 16; i += 4) {
        nan |=
            nlt_pair_any_nan(nlt_pair_load(v + i), nlt_pair_load(v + i + 2));
    }
    if (nlt_likely(!nlt_pair_any(nan))) {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        stale = stale || nlt_is_stale(v[i]);
    }
    return stale;
}

void
nlt_pql_drop_stale(nlt_samples_t *s)
{
    size_t n = 0;

    /* They are rare: 16 at a time. */
    while (n + 16 <= s->n && !any_stale(s->v + n)) {
        n += 16;
    }
    while (n < s->n && !nlt_is_stale(s->v[n])) {
        n++;
    }
    for (size_t i = n; i < s->n; i++) {
        if (!nlt_is_stale(s->v[i])) {
            s->t_ms[n] = s->t_ms[i];
            if (s->st_ms) {
                s->st_ms[n] = s->st_ms[i];
            }
            s->v[n++] = s->v[i];
        }
    }
    s->n = n;
}

nlt_str_t
nlt_pql_fetch_name(const nlt_pql_fetch_t *f)
{
    for (size_t i = 0; i < f->n_matchers; i++) {
        if (f->matchers[i].op == NLT_MATCH_EQ
            && nlt_str_eq(f->matchers[i].name, NLT_METRIC_NAME)) {
            return f->matchers[i].value;
        }
    }
    return (nlt_str_t){0, NULL};
}

/*
 * May rows of a set be equal but for __name__ and its kin?  Not when the
 * name is given and none has the other two.
 */
static bool
set_is_unique(nlt_pql_ctx_t *ctx, const nlt_pql_fetch_t *f,
              const nlt_series_set_t *set)
{
    const nlt_str_t names[] = {NLT_STR("__type__"), NLT_STR("__unit__")};
    const nlt_source_ops_t *ops = set->source->ops;
    nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
    void *keys;
    bool none;

    if (nlt_pql_fetch_name(f).len == 0) {
        return false;
    }
    none = ops->keys_open != NULL
           && ops->keys_open(set, names, 2, &ctx->scratch, &keys) == NLT_OK
           && keys == NULL;
    nlt_pool_rewind(&ctx->scratch, mark);
    if (none) {
        return true;
    }
    for (size_t i = 0; i < set->n; i++) {
        if (set->source->ops->label(set, i, NLT_STR("__type__")).len
            || set->source->ops->label(set, i, NLT_STR("__unit__")).len) {
            return false;
        }
    }
    return true;
}

/* ---- instant vectors ---- */

typedef struct {
    nlt_pql_leaf_t leaf;
    const nlt_pql_fetch_t *fetch;
    nlt_samples_t s;
    bool timestamps; /* the sample's time instead of its value */
    nlt_read_t what;
} select_t;

/* Step i has the value of the newest sample not older than the lookback. */
static void
select_steps(const select_t *e)
{
    const nlt_pql_grid_t *g = &e->leaf.op.plan->grid;
    const int64_t lookback = e->leaf.op.ctx->q->lookback_ms;
    const int64_t *t = e->s.t_ms;
    const double *v = e->s.v;
    size_t n = e->s.n, j = 0, stride = 0;
    uint64_t bits = 0;

    for (size_t i = 0; i < g->n; i++) {
        int64_t at = nlt_pql_fetch_at(e->fetch, nlt_pql_step(g, i));
        size_t from = j;

        /* As many samples on as last time, then to where it is. */
        j = stride < n - j ? j + stride : n;
        while (j > from && t[j - 1] > at) {
            j--;
        }
        while (j < n && t[j] <= at) {
            j++;
        }
        stride = j - from;
        if (j > 0 && t[j - 1] > nlt_pql_t_sub(at, lookback)
            && !nlt_is_stale(v[j - 1])) {
            e->leaf.row.v[i] =
                e->timestamps ? (double) t[j - 1] / 1000 : v[j - 1];
            bits |= UINT64_C(1) << (i % 64);
        }
        if (i % 64 == 63 || i + 1 == g->n) {
            e->leaf.row.present[i / 64] = bits;
            bits = 0;
        }
    }
}

/*
 * The same with `smoothed`: on the line between the neighbours of the step,
 * if both are near; else the older one.
 */
static void
smoothed_steps(const select_t *e)
{
    const nlt_pql_grid_t *g = &e->leaf.op.plan->grid;
    const int64_t lookback = e->leaf.op.ctx->q->lookback_ms;
    const nlt_samples_t *s = &e->s;
    size_t j = 0;

    memset(e->leaf.row.present, 0, nlt_pql_words(g->n) * sizeof(uint64_t));
    for (size_t i = 0; i < g->n; i++) {
        int64_t at = nlt_pql_fetch_at(e->fetch, nlt_pql_step(g, i));
        double v;

        while (j < s->n && s->t_ms[j] <= at) {
            j++;
        }
        if (j == 0 || s->t_ms[j - 1] <= nlt_pql_t_sub(at, lookback)) {
            continue;
        }
        v = s->v[j - 1];
        if (s->t_ms[j - 1] != at && j < s->n
            && s->t_ms[j] <= nlt_pql_t_add(at, lookback)) {
            v += (s->v[j] - v) * (double) (at - s->t_ms[j - 1])
                 / (double) (s->t_ms[j] - s->t_ms[j - 1]);
        }
        e->leaf.row.v[i] = e->timestamps ? (double) at / 1000 : v;
        nlt_pql_set(e->leaf.row.present, i);
    }
}

static nlt_rc_t
select_one(nlt_pql_leaf_t *leaf, size_t idx)
{
    select_t *e = (select_t *) leaf;
    nlt_pql_ctx_t *ctx = leaf->op.ctx;
    nlt_rc_t rc = nlt_pql_read(ctx, leaf->set, idx, e->what, e->fetch, &e->s);

    if (rc != NLT_OK) {
        return rc;
    }
    if (e->s.n == 0) {
        return NLT_EOF;
    }
    if (e->fetch->smoothed) {
        nlt_pql_drop_stale(&e->s);
        smoothed_steps(e);
    } else {
        select_steps(e);
    }
    if (!nlt_pql_any(leaf->row.present, leaf->op.n)) {
        return NLT_EOF;
    }
    nlt_pql_seen(ctx, leaf->op.plan,
                 nlt_pql_popcount(leaf->row.present, leaf->op.n));
    return nlt_pql_poll(ctx, leaf->op.n / 8);
}

static nlt_samples_t *
select_samples(nlt_pql_leaf_t *leaf)
{
    return &((select_t *) leaf)->s;
}

static nlt_rc_t
select_settle(nlt_pql_leaf_t *copy)
{
    ((select_t *) copy)->s = (nlt_samples_t){.pool = copy->op.ctx->pool};
    return NLT_OK;
}

static const nlt_pql_leaf_ops_t select_ops = {.one = select_one,
                                              .settle = select_settle,
                                              .samples = select_samples,
                                              .size = sizeof(select_t)};

nlt_rc_t
nlt_pql_open_select(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                    bool timestamps, nlt_pql_iter_t **out)
{
    select_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), nlt_pql_leaf_next);
    nlt_series_set_t *set;
    nlt_rc_t rc;

    if (e == NULL || !nlt_pql_row_alloc(ctx, plan->grid.n, &e->leaf.row)) {
        return NLT_ENOMEM;
    }
    e->leaf.ops = &select_ops;
    e->fetch = &plan->fetch;
    e->timestamps = timestamps;
    e->s.pool = ctx->pool;
    e->what = (plan->grid.n == 1 || e->fetch->fixed) && !e->fetch->smoothed
                  ? NLT_READ_NEWEST
                  : NLT_READ_ALL;
    rc = nlt_pql_open_set(ctx, e->fetch, &set);
    if (rc != NLT_OK) {
        return rc;
    }
    e->leaf.set = set;
    e->leaf.op.unique = set_is_unique(ctx, e->fetch, set);
    *out = &e->leaf.op;
    return NLT_OK;
}

/* ---- series for functions over ranges ---- */

nlt_rc_t
nlt_pql_feed_open(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                  nlt_pql_feed_t *feed)
{
    nlt_rc_t rc;

    memset(feed, 0, sizeof(*feed));
    feed->ctx = ctx;
    feed->plan = plan;
    feed->fetch = &plan->fetch;
    feed->s.pool = ctx->pool;
    if (plan->kind == NLT_PQL_P_SUBQUERY) {
        return nlt_pql_subquery_open(feed);
    }
    rc = nlt_pql_open_set(ctx, feed->fetch, &feed->set);
    if (rc == NLT_OK) {
        feed->unique = set_is_unique(ctx, feed->fetch, feed->set);
    }
    return rc;
}

nlt_rc_t
nlt_pql_feed_one(nlt_pql_feed_t *feed, size_t idx)
{
    nlt_rc_t rc = nlt_pql_read(feed->ctx, feed->set, idx,
                               feed->newest ? NLT_READ_NEWEST : NLT_READ_ALL,
                               feed->fetch, &feed->s);

    if (rc == NLT_OK && feed->newest && feed->s.n > 0
        && nlt_is_stale(feed->s.v[feed->s.n - 1])) {
        /* The one before the marker, then. */
        rc = nlt_pql_read(feed->ctx, feed->set, idx, NLT_READ_ALL, feed->fetch,
                          &feed->s);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_pql_drop_stale(&feed->s);
    return feed->s.n ? NLT_OK : NLT_EOF;
}

nlt_rc_t
nlt_pql_feed_next(nlt_pql_feed_t *feed, nlt_pql_row_t *row)
{
    if (feed->plan->kind == NLT_PQL_P_SUBQUERY) {
        return nlt_pql_subquery_next(feed, row);
    }
    while (feed->next < feed->set->n) {
        size_t idx = feed->next++;
        nlt_rc_t rc = nlt_pql_feed_one(feed, idx);

        if (rc == NLT_EOF) {
            continue;
        }
        if (rc == NLT_OK) {
            memset(row, 0, sizeof(*row));
            row->set = feed->set;
            row->idx = idx;
        }
        return rc;
    }
    return NLT_EOF;
}

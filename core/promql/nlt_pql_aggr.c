/*
 * nlt_pql_aggr.c - aggregations that fold rows into groups.
 *
 * The loops run over one row of a series and the arrays of its group; where
 * all 64 steps of a word are present on both sides they are dense.
 */
#include <math.h>

#include "nlt_pair.h"
#include "nlt_pql_aggr.h"
#include "nlt_pql_fn.h"

/* One group; arrays of n steps. */
typedef struct {
    double *v; /* sum, min, max; stddev: sum of squared distances */
    double *c; /* sum: compensation; stddev: mean */
    double *n; /* count; stddev: terms */
    nlt_pql_avg_t *avg;
    uint64_t *seen;
    bool drop_name;
} group_t;

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
    nlt_pql_aggr_t kind;
    nlt_pql_grouping_t by;
    nlt_pql_memo_t memo;
    nlt_pql_table_t table;
    group_t *groups;
    size_t cap;
    bool filled;
    size_t next;
    nlt_pql_row_t row;
    /* count_values */
    nlt_str_t value_label;
} aggr_t;

/* More sets than this: their rows come mixed, numbers are of no use. */
#define MEMO_SETS_MAX 16

static nlt_rc_t
memo_begin(nlt_pql_ctx_t *ctx, nlt_pql_memo_t *m, const nlt_pql_grouping_t *g,
           const nlt_series_set_t *set)
{
    const nlt_source_ops_t *ops = set->source->ops;

    m->set = set;
    m->keys = NULL;
    m->n = 0;
    if (m->n_slots) {
        memset(m->slots, 0, m->n_slots * (g->n + 1) * sizeof(*m->slots));
    }
    if (ops->keys_open == NULL || m->n_sets++ >= MEMO_SETS_MAX) {
        return NLT_OK;
    }
    if (m->now == NULL) {
        m->now = nlt_pool_array(ctx->pool, g->n, sizeof(*m->now));
        if (m->now == NULL) {
            return NLT_ENOMEM;
        }
    }
    return ops->keys_open(set, g->names, g->n, ctx->pool, &m->keys);
}

/* The slot of these numbers: theirs, or an empty one.  There is one. */
static uint64_t *
memo_slot(const nlt_pql_memo_t *m, const uint64_t *key, size_t n)
{
    uint64_t h = 0;
    size_t i;

    for (size_t k = 0; k < n; k++) {
        h = (h ^ key[k]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    for (i = h & (m->n_slots - 1);; i = (i + 1) & (m->n_slots - 1)) {
        uint64_t *slot = m->slots + i * (n + 1);

        if (*slot == 0 || memcmp(slot + 1, key, n * sizeof(*key)) == 0) {
            return slot;
        }
    }
}

static bool
memo_grow(nlt_pql_ctx_t *ctx, nlt_pql_memo_t *m, size_t n)
{
    nlt_pql_memo_t more = *m;

    more.n_slots = m->n_slots ? m->n_slots * 2 : 64;
    more.slots =
        nlt_pool_array(ctx->pool, more.n_slots, (n + 1) * sizeof(*more.slots));
    if (more.slots == NULL) {
        return false;
    }
    memset(more.slots, 0, more.n_slots * (n + 1) * sizeof(*more.slots));
    for (size_t i = 0; i < m->n_slots; i++) {
        const uint64_t *slot = m->slots + i * (n + 1);

        if (*slot) {
            memcpy(memo_slot(&more, slot + 1, n), slot,
                   (n + 1) * sizeof(*slot));
        }
    }
    *m = more;
    return true;
}

/* *slot: the row's, empty when it was not met yet; NULL: has no numbers. */
static nlt_rc_t
memo_find(nlt_pql_ctx_t *ctx, nlt_pql_memo_t *m, const nlt_pql_grouping_t *g,
          const nlt_pql_row_t *row, uint64_t **slot)
{
    const nlt_series_set_t *set = row->set;
    nlt_rc_t rc;

    *slot = NULL;
    if (set == NULL || g->without || g->n == 0 || (row->bare && g->has_meta)) {
        return NLT_OK;
    }
    if (m->set != set) {
        rc = memo_begin(ctx, m, g, set);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    if (m->keys == NULL
        || !set->source->ops->keys(set, m->keys, row->idx, m->now)) {
        return NLT_OK;
    }
    if (m->n >= m->n_slots / 2 && !memo_grow(ctx, m, g->n)) {
        return NLT_ENOMEM;
    }
    *slot = memo_slot(m, m->now, g->n);
    return NLT_OK;
}

nlt_rc_t
nlt_pql_aggr_group(nlt_pql_ctx_t *ctx, const nlt_pql_grouping_t *g,
                   nlt_pql_memo_t *memo, nlt_pql_table_t *table,
                   const nlt_pql_row_t *row, uint32_t *group, bool *added)
{
    nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
    nlt_labels_t key = {NULL, 0};
    uint64_t *slot;
    nlt_rc_t rc = memo_find(ctx, memo, g, row, &slot);

    if (rc == NLT_OK && slot && *slot) {
        *group = (uint32_t) (*slot - 1);
        *added = false;
        return NLT_OK;
    }
    if (rc == NLT_OK && (g->n || g->without)) {
        rc = nlt_pql_grouping_key(ctx, g, row, &ctx->scratch, &key);
    }
    if (rc == NLT_OK && key.n == 0 && !g->without && g->n == 0 && table->n) {
        *group = 0;
        *added = false;
    } else if (rc == NLT_OK) {
        /* Arrays of labels that the table keeps are copied by it. */
        rc = nlt_pql_table_put(ctx, table, key, group, added);
    }
    if (rc == NLT_OK && slot) {
        memcpy(slot + 1, memo->now, g->n * sizeof(*slot));
        *slot = (uint64_t) *group + 1;
        memo->n++;
    }
    nlt_pool_rewind(&ctx->scratch, mark);
    return rc;
}

static double *
doubles(nlt_pql_ctx_t *ctx, size_t n)
{
    return nlt_pool_zalloc(ctx->pool, (n ? n : 1) * sizeof(double));
}

static nlt_rc_t
group_new(aggr_t *e, uint32_t at)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    size_t n = e->op.n;
    group_t *g;
    bool ok;

    if (at >= e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 8;

        g = nlt_pool_grow(ctx->pool, e->groups, e->cap * sizeof(*g),
                          cap * sizeof(*g));
        if (g == NULL) {
            return NLT_ENOMEM;
        }
        e->groups = g;
        e->cap = cap;
    }
    g = &e->groups[at];
    memset(g, 0, sizeof(*g));
    g->seen =
        nlt_pool_zalloc(ctx->pool, (nlt_pql_words(n) + 1) * sizeof(uint64_t));
    ok = g->seen != NULL;
    switch (e->kind) {
    case NLT_PQL_AGGR_STDDEV:
    case NLT_PQL_AGGR_STDVAR:
        g->n = doubles(ctx, n);
        ok = ok && g->n != NULL;
        /* fall through */
    case NLT_PQL_AGGR_SUM:
        g->c = doubles(ctx, n);
        ok = ok && g->c != NULL;
        /* fall through */
    default:
        g->v = doubles(ctx, n);
        ok = ok && g->v != NULL;
        break;
    case NLT_PQL_AGGR_AVG:
        g->avg = nlt_pool_zalloc(ctx->pool, (n + 1) * sizeof(*g->avg));
        ok = ok && g->avg != NULL;
        break;
    }
    return ok ? nlt_pql_count(ctx, ctx->samples_held += n) : NLT_ENOMEM;
}

/* ---- sum ---- */

/* Neumaier's step without branches; see nlt_pql_kahan_add(). */
static inline void
sum_step(double *restrict sum, double *restrict c, double x)
{
    double s = *sum;
    double t = s + x;
    bool swap = fabs(s) < fabs(x);
    double big = swap ? x : s;
    double small = swap ? s : x;
    double next = *c + ((big - t) + small);

    /* Like Go's comparison, NaN takes the second way round. */
    *c = isinf(t) ? 0 : next;
    *sum = t;
}

/* Sums to which this or more is added go the long way: it is far from what
 * overflows. */
#define SUM_LARGE 1e300

/*
 * 64 steps.  What Neumaier adds to c is what the sum lost, without rounding,
 * so the error of Knuth's sum has the same bits and no choice to make; but not
 * where something is infinite, or not a number.
 */
static void
sum_dense(double *restrict sum, double *restrict c, const double *restrict x)
{
    const nlt_pair_t large = nlt_pair_of(SUM_LARGE);
    nlt_pair_mask_t plain = {-1, -1};

    for (size_t i = 0; i < 64; i += 2) {
        nlt_pair_t t = nlt_pair_load(sum + i) + nlt_pair_load(x + i);

        plain &= (nlt_pair_mask_t) (t < large);
        plain &= (nlt_pair_mask_t) (t > -large);
    }
    if (nlt_unlikely((plain[0] & plain[1]) == 0)) {
        for (size_t i = 0; i < 64; i++) {
            sum_step(&sum[i], &c[i], x[i]);
        }
        return;
    }
    for (size_t i = 0; i < 64; i += 2) {
        nlt_pair_t s = nlt_pair_load(sum + i), y = nlt_pair_load(x + i);
        nlt_pair_t t = s + y;

        nlt_pair_store(c + i, nlt_pair_load(c + i) + nlt_pair_lost(s, y, t));
        nlt_pair_store(sum + i, t);
    }
}

static void
fold_sum(group_t *g, const nlt_pql_row_t *row, size_t n)
{
    for (size_t w = 0; w < nlt_pql_words(n); w++) {
        uint64_t bits = row->present[w], seen = g->seen[w];
        size_t at = w * 64;

        if (~(bits & seen) == 0) {
            sum_dense(g->v + at, g->c + at, row->v + at);
            continue;
        }
        if (~bits == 0 && seen == 0) {
            memcpy(g->v + at, row->v + at, 64 * sizeof(double));
            g->seen[w] = bits;
            continue;
        }
        g->seen[w] |= bits;
        for (; bits; bits &= bits - 1) {
            size_t i = at + (size_t) __builtin_ctzll(bits);

            if (seen >> (i % 64) & 1) {
                sum_step(&g->v[i], &g->c[i], row->v[i]);
            } else {
                g->v[i] = row->v[i];
            }
        }
    }
}

/* ---- the others ---- */

static inline void
fold_one(nlt_pql_aggr_t kind, group_t *g, size_t i, double x, bool first)
{
    double delta;

    switch (kind) {
    case NLT_PQL_AGGR_AVG:
        nlt_pql_avg_add(&g->avg[i], x);
        break;
    case NLT_PQL_AGGR_MIN:
        if (first || x < g->v[i] || isnan(g->v[i])) {
            g->v[i] = x;
        }
        break;
    case NLT_PQL_AGGR_MAX:
        if (first || x > g->v[i] || isnan(g->v[i])) {
            g->v[i] = x;
        }
        break;
    case NLT_PQL_AGGR_GROUP:
        g->v[i] = 1;
        break;
    case NLT_PQL_AGGR_COUNT:
        g->v[i] += 1;
        break;
    case NLT_PQL_AGGR_STDDEV:
    case NLT_PQL_AGGR_STDVAR:
        g->n[i] += 1;
        if (first) {
            g->c[i] = x;
            g->v[i] = isfinite(x) ? 0 : NAN;
            break;
        }
        delta = x - g->c[i];
        g->c[i] += delta / g->n[i];
        g->v[i] += delta * (x - g->c[i]);
        break;
    default:
        break;
    }
}

static inline void
fold_kind(nlt_pql_aggr_t kind, group_t *g, const nlt_pql_row_t *row, size_t n)
{
    for (size_t w = 0; w < nlt_pql_words(n); w++) {
        uint64_t bits = row->present[w], seen = g->seen[w];

        g->seen[w] |= bits;
        if (~(bits & seen) == 0) {
            for (size_t i = w * 64; i < w * 64 + 64; i++) {
                fold_one(kind, g, i, row->v[i], false);
            }
            continue;
        }
        for (; bits; bits &= bits - 1) {
            size_t i = w * 64 + (size_t) __builtin_ctzll(bits);

            fold_one(kind, g, i, row->v[i], !(seen >> (i % 64) & 1));
        }
    }
}

/* One copy of the loop a kind, so that the kind is known inside. */
static void
fold(nlt_pql_aggr_t kind, group_t *g, const nlt_pql_row_t *row, size_t n)
{
    switch (kind) {
    case NLT_PQL_AGGR_SUM:
        fold_sum(g, row, n);
        break;
    case NLT_PQL_AGGR_AVG:
        fold_kind(NLT_PQL_AGGR_AVG, g, row, n);
        break;
    case NLT_PQL_AGGR_MIN:
        fold_kind(NLT_PQL_AGGR_MIN, g, row, n);
        break;
    case NLT_PQL_AGGR_MAX:
        fold_kind(NLT_PQL_AGGR_MAX, g, row, n);
        break;
    case NLT_PQL_AGGR_GROUP:
        fold_kind(NLT_PQL_AGGR_GROUP, g, row, n);
        break;
    case NLT_PQL_AGGR_COUNT:
        fold_kind(NLT_PQL_AGGR_COUNT, g, row, n);
        break;
    default:
        fold_kind(NLT_PQL_AGGR_STDVAR, g, row, n);
        break;
    }
}

/* The group's values, in place of its accumulators. */
static void
finish(const aggr_t *e, group_t *g)
{
    size_t n = e->op.n;

    switch (e->kind) {
    case NLT_PQL_AGGR_SUM:
        for (size_t i = 0; i < n; i++) {
            g->v[i] = isinf(g->v[i]) ? g->v[i] : g->v[i] + g->c[i];
        }
        break;
    case NLT_PQL_AGGR_AVG:
        g->v = e->row.v;
        for (size_t i = 0; i < n; i++) {
            if (nlt_pql_has(g->seen, i)) {
                g->v[i] = nlt_pql_avg_value(&g->avg[i]);
            }
        }
        break;
    case NLT_PQL_AGGR_STDDEV:
    case NLT_PQL_AGGR_STDVAR:
        for (size_t i = 0; i < n; i++) {
            double var = g->v[i] / g->n[i];

            g->v[i] = e->kind == NLT_PQL_AGGR_STDDEV ? sqrt(var) : var;
        }
        break;
    default:
        break;
    }
}

static nlt_rc_t
add_row(aggr_t *e, const nlt_pql_row_t *row)
{
    uint32_t at;
    bool added;
    nlt_rc_t rc = nlt_pql_aggr_group(e->op.ctx, &e->by, &e->memo, &e->table,
                                     row, &at, &added);

    if (rc == NLT_OK && added) {
        rc = group_new(e, at);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    e->groups[at].drop_name |= row->drop_name && e->by.keeps_meta;
    fold(e->kind, &e->groups[at], row, e->op.n);
    return nlt_pql_poll(e->op.ctx, e->op.n / 4);
}

/* The group of a row and one of its values, a new one if need be. */
static nlt_rc_t
value_group(aggr_t *e, const nlt_pql_row_t *row, double v, uint32_t *at,
            bool *added)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_pool_t *scratch = &ctx->scratch;
    char text[NLT_NUM_PLAIN_MAX];
    nlt_str_t value = {nlt_num_plain(text, v), text};
    nlt_pql_edit_t edit;
    nlt_labels_t key;
    nlt_rc_t rc = nlt_pql_row_labels(ctx, row, scratch, &key);

    *added = false;
    if (rc == NLT_OK && !nlt_pql_edit_init(scratch, key, 1, &edit)) {
        rc = NLT_ENOMEM;
    }
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_pql_edit_set(&edit, e->value_label, value);
    key = (nlt_labels_t){edit.v, edit.n};
    rc = nlt_pql_grouping_cut(&e->by, key, scratch, &key);
    if (rc != NLT_OK || nlt_pql_table_find(&e->table, key, at)) {
        return rc;
    }
    /* The table borrows strings, so this one has to stay. */
    value = nlt_pool_str(ctx->pool, value);
    if (value.data == NULL) {
        return NLT_ENOMEM;
    }
    nlt_pql_edit_set(&edit, e->value_label, value);
    key = (nlt_labels_t){edit.v, edit.n};
    rc = nlt_pql_grouping_cut(&e->by, key, scratch, &key);
    return rc != NLT_OK ? rc
                        : nlt_pql_table_put(ctx, &e->table, key, at, added);
}

/*
 * count_values: the group of a value is the row's group with one more label.
 * Every row can have another value at every step.
 */
static nlt_rc_t
add_values(aggr_t *e, const nlt_pql_row_t *row)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    double last = 0;
    uint32_t at = 0;
    bool have = false;

    for (size_t i = 0; i < e->op.n; i++) {
        double v = row->v[i];

        if (!nlt_pql_has(row->present, i)) {
            continue;
        }
        if (!have || nlt_bits_of(last) != nlt_bits_of(v)) {
            nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
            bool added;
            nlt_rc_t rc = value_group(e, row, v, &at, &added);

            nlt_pool_rewind(&ctx->scratch, mark);
            if (rc == NLT_OK && added) {
                rc = group_new(e, at);
            }
            if (rc != NLT_OK) {
                return rc;
            }
            last = v;
            have = true;
        }
        /* drop_name is forgotten, as there */
        e->groups[at].v[i] += 1;
        nlt_pql_set(e->groups[at].seen, i);
    }
    return nlt_pql_poll(ctx, e->op.n);
}

static nlt_rc_t
aggr_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    aggr_t *e = (aggr_t *) op;
    group_t *g;

    while (!e->filled) {
        nlt_rc_t rc = e->child->next(e->child, row);

        if (rc == NLT_EOF) {
            e->filled = true;
            break;
        }
        if (rc == NLT_OK) {
            rc = e->kind == NLT_PQL_AGGR_COUNT_VALUES ? add_values(e, row)
                                                      : add_row(e, row);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    if (e->next == e->table.n) {
        return NLT_EOF;
    }
    g = &e->groups[e->next];
    finish(e, g);
    memset(row, 0, sizeof(*row));
    row->labels = e->table.keys[e->next++];
    row->drop_name = g->drop_name;
    row->v = g->v;
    row->present = g->seen;
    return NLT_OK;
}

static nlt_rc_t
open_count_values(aggr_t *e, const nlt_pql_plan_t *plan)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    const nlt_pql_aggr_node_t *a = &plan->ast->u.aggr;
    nlt_pql_names_t names = a->grouping;
    nlt_str_t label = nlt_pql_string_value(plan->kids[1]);
    nlt_str_t *v;

    if (label.len == 0 || !nlt_utf8_valid(label)) {
        nlt_buf_t b;

        nlt_buf_init(&b, &ctx->mem, 4096);
        nlt_utf8_quote(&b, label);
        return nlt_pql_eval_err(ctx, NLT_EEXEC, "invalid label name %.*s",
                                NLT_FMT(nlt_buf_str(&b)));
    }
    e->value_label = label;
    if (a->without) {
        return nlt_pql_grouping_init(ctx, names, true, &e->by);
    }
    v = nlt_pool_array(ctx->pool, names.n + 1, sizeof(*v));
    if (v == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < names.n; i++) {
        v[i] = names.v[i];
    }
    v[names.n] = label;
    return nlt_pql_grouping_init(ctx, (nlt_pql_names_t){v, names.n + 1}, false,
                                 &e->by);
}

nlt_rc_t
nlt_pql_open_aggr(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                  nlt_pql_iter_t **out)
{
    const nlt_pql_aggr_node_t *a = &plan->ast->u.aggr;
    aggr_t *e;
    nlt_rc_t rc;

    switch (a->op) {
    case NLT_PQL_AGGR_TOPK:
    case NLT_PQL_AGGR_BOTTOMK:
    case NLT_PQL_AGGR_QUANTILE:
    case NLT_PQL_AGGR_LIMITK:
    case NLT_PQL_AGGR_LIMIT_RATIO:
        return nlt_pql_open_aggr_rows(ctx, plan, out);
    default:
        break;
    }
    e = nlt_pql_iter_new(ctx, plan, sizeof(*e), aggr_next);
    if (e == NULL || !nlt_pql_row_alloc(ctx, plan->grid.n, &e->row)) {
        return NLT_ENOMEM;
    }
    e->kind = a->op;
    rc = a->op == NLT_PQL_AGGR_COUNT_VALUES
             ? open_count_values(e, plan)
             : nlt_pql_grouping_init(ctx, a->grouping, a->without, &e->by);
    if (rc == NLT_OK) {
        rc = nlt_pql_open(ctx, plan->kids[0], &e->child);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    e->op.unique = e->by.without ? e->child->unique : !e->by.has_meta;
    *out = &e->op;
    return NLT_OK;
}

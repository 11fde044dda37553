/*
 * nlt_pql_rows.c - see nlt_pql_rows.h.
 */
#include "nlt_pql_rows.h"

bool
nlt_pql_is_meta(nlt_str_t name)
{
    return name.len == 8
           && (memcmp(name.data, "__name__", 8) == 0
               || memcmp(name.data, "__type__", 8) == 0
               || memcmp(name.data, "__unit__", 8) == 0);
}

nlt_str_t
nlt_pql_row_label(const nlt_pql_row_t *row, nlt_str_t name)
{
    if (row->set == NULL) {
        return nlt_labels_get(row->labels, name);
    }
    if (row->bare && nlt_pql_is_meta(name)) {
        return (nlt_str_t){0, NULL};
    }
    return row->set->source->ops->label(row->set, row->idx, name);
}

/* labels without __name__ and its kin; l itself when it has none. */
static bool
without_meta(nlt_pool_t *pool, nlt_labels_t l, nlt_labels_t *out)
{
    nlt_label_t *v;
    size_t n = 0;

    *out = l;
    for (size_t i = 0; i < l.n; i++) {
        n += nlt_pql_is_meta(l.v[i].name);
    }
    if (n == 0) {
        return true;
    }
    v = nlt_pool_array(pool, l.n, sizeof(*v));
    if (v == NULL) {
        return false;
    }
    n = 0;
    for (size_t i = 0; i < l.n; i++) {
        if (!nlt_pql_is_meta(l.v[i].name)) {
            v[n++] = l.v[i];
        }
    }
    *out = (nlt_labels_t){v, n};
    return true;
}

nlt_rc_t
nlt_pql_row_labels(nlt_pql_ctx_t *ctx, const nlt_pql_row_t *row,
                   nlt_pool_t *pool, nlt_labels_t *out)
{
    nlt_rc_t rc;

    (void) ctx;
    if (row->set == NULL) {
        *out = row->labels;
        return NLT_OK;
    }
    rc = row->set->source->ops->labels(row->set, row->idx, pool, out);
    if (rc != NLT_OK || !row->bare) {
        return rc;
    }
    return without_meta(pool, *out, out) ? NLT_OK : NLT_ENOMEM;
}

nlt_rc_t
nlt_pql_row_strip(nlt_pql_ctx_t *ctx, nlt_pql_row_t *row)
{
    row->drop_name = false;
    if (row->set) {
        row->bare = true;
        return NLT_OK;
    }
    return without_meta(ctx->pool, row->labels, &row->labels) ? NLT_OK
                                                              : NLT_ENOMEM;
}

nlt_rc_t
nlt_pql_row_drop_name(nlt_pql_ctx_t *ctx, nlt_pql_row_t *row)
{
    if (ctx->delayed) {
        row->drop_name = true;
        return NLT_OK;
    }
    return nlt_pql_row_strip(ctx, row);
}

/* ---- lists of rows ---- */

nlt_rc_t
nlt_pql_rows_keep(nlt_pql_ctx_t *ctx, size_t n_steps, nlt_pql_rows_t *rows,
                  const nlt_pql_row_t *row)
{
    size_t words = nlt_pql_words(n_steps);
    uint64_t n = nlt_pql_popcount(row->present, n_steps);
    nlt_pql_row_t *kept;
    nlt_rc_t rc = nlt_pql_count(ctx, n);

    if (rc != NLT_OK) {
        return rc;
    }
    ctx->samples_held += n;
    if (rows->n == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 8;
        nlt_pql_row_t *v = nlt_pool_grow(
            ctx->pool, rows->v, rows->cap * sizeof(*v), cap * sizeof(*v));

        if (v == NULL) {
            return NLT_ENOMEM;
        }
        rows->v = v;
        rows->cap = cap;
    }
    kept = &rows->v[rows->n];
    *kept = *row;
    if (!nlt_pql_row_alloc(ctx, n_steps, kept)) {
        return NLT_ENOMEM;
    }
    memcpy(kept->v, row->v, n_steps * sizeof(double));
    memcpy(kept->present, row->present, words * sizeof(uint64_t));
    rows->n++;
    return nlt_pql_poll(ctx, n_steps / 8);
}

nlt_rc_t
nlt_pql_rows_collect(nlt_pql_iter_t *op, nlt_pql_rows_t *rows)
{
    nlt_pql_row_t row;
    nlt_rc_t rc;

    while ((rc = op->next(op, &row)) == NLT_OK) {
        rc = nlt_pql_rows_keep(op->ctx, op->n, rows, &row);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_rows_t rows;
    size_t next;
} kept_t;

static nlt_rc_t
kept_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    kept_t *k = (kept_t *) op;

    if (k->next == k->rows.n) {
        return NLT_EOF;
    }
    *row = k->rows.v[k->next++];
    return NLT_OK;
}

nlt_rc_t
nlt_pql_rows_open(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                  const nlt_pql_rows_t *rows, nlt_pql_iter_t **out)
{
    kept_t *k = nlt_pql_iter_new(ctx, plan, sizeof(*k), kept_next);

    if (k == NULL) {
        return NLT_ENOMEM;
    }
    k->rows = *rows;
    *out = &k->op;
    return NLT_OK;
}

/* ---- label sets numbered ---- */

static bool
table_grow(nlt_pql_ctx_t *ctx, nlt_pql_table_t *t)
{
    size_t n_slots = t->n_slots ? t->n_slots * 2 : 16;
    size_t cap = n_slots / 2;
    uint32_t *slots = nlt_pool_zalloc(ctx->pool, n_slots * sizeof(*slots));
    nlt_labels_t *keys = nlt_pool_grow(
        ctx->pool, t->keys, t->cap * sizeof(*keys), cap * sizeof(*keys));
    uint64_t *hashes = nlt_pool_grow(
        ctx->pool, t->hashes, t->cap * sizeof(*hashes), cap * sizeof(*hashes));

    if (keys) {
        t->keys = keys;
    }
    if (hashes) {
        t->hashes = hashes;
    }
    if (slots == NULL || keys == NULL || hashes == NULL || n_slots >> 32) {
        return false;
    }
    for (size_t i = 0; i < t->n; i++) {
        size_t s = t->hashes[i] & (n_slots - 1);

        while (slots[s]) {
            s = (s + 1) & (n_slots - 1);
        }
        slots[s] = (uint32_t) i + 1;
    }
    t->slots = slots;
    t->n_slots = n_slots;
    t->cap = cap;
    return true;
}

/* The slot of a key: occupied by it, or empty.  The table is not full. */
static size_t
table_slot(const nlt_pql_table_t *t, nlt_labels_t key, uint64_t hash)
{
    size_t s = hash & (t->n_slots - 1);

    while (t->slots[s]) {
        size_t i = t->slots[s] - 1;

        if (t->hashes[i] == hash && nlt_labels_eq(t->keys[i], key)) {
            break;
        }
        s = (s + 1) & (t->n_slots - 1);
    }
    return s;
}

nlt_rc_t
nlt_pql_table_put(nlt_pql_ctx_t *ctx, nlt_pql_table_t *t, nlt_labels_t key,
                  uint32_t *index, bool *added)
{
    uint64_t hash = nlt_labels_hash(key);
    nlt_label_t *v = NULL;
    size_t s;

    if (t->n == t->cap && !table_grow(ctx, t)) {
        return NLT_ENOMEM;
    }
    s = table_slot(t, key, hash);
    *added = t->slots[s] == 0;
    if (!*added) {
        *index = t->slots[s] - 1;
        return NLT_OK;
    }
    if (key.n) {
        v = nlt_pool_array(ctx->pool, key.n, sizeof(*v));
        if (v == NULL) {
            return NLT_ENOMEM;
        }
        memcpy(v, key.v, key.n * sizeof(*v));
    }
    *index = (uint32_t) t->n;
    t->keys[t->n] = (nlt_labels_t){v, key.n};
    t->hashes[t->n] = hash;
    t->n++;
    t->slots[s] = (uint32_t) t->n;
    return NLT_OK;
}

bool
nlt_pql_table_find(const nlt_pql_table_t *t, nlt_labels_t key, uint32_t *index)
{
    size_t s;

    if (t->n == 0) {
        return false;
    }
    s = table_slot(t, key, nlt_labels_hash(key));
    if (t->slots[s] == 0) {
        return false;
    }
    *index = t->slots[s] - 1;
    return true;
}

/* ---- groups ---- */

nlt_rc_t
nlt_pql_grouping_init(nlt_pql_ctx_t *ctx, nlt_pql_names_t names, bool without,
                      nlt_pql_grouping_t *g)
{
    nlt_str_t *v = nlt_pool_array(ctx->pool, names.n + 1, sizeof(*v));
    size_t n = 0;

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    memset(g, 0, sizeof(*g));
    for (size_t i = 0; i < names.n; i++) {
        size_t at = n;

        while (at > 0 && nlt_str_cmp(v[at - 1], names.v[i]) > 0) {
            at--;
        }
        if (at > 0 && nlt_str_eq(v[at - 1], names.v[i])) {
            continue;
        }
        memmove(&v[at + 1], &v[at], (n - at) * sizeof(*v));
        v[at] = names.v[i];
        n++;
        g->has_meta |= nlt_pql_is_meta(names.v[i]);
    }
    g->names = v;
    g->n = n;
    g->without = without;
    g->keeps_meta = without || g->has_meta;
    return NLT_OK;
}

nlt_rc_t
nlt_pql_grouping_cut(const nlt_pql_grouping_t *g, nlt_labels_t labels,
                     nlt_pool_t *pool, nlt_labels_t *out)
{
    nlt_label_t *v = nlt_pool_array(pool, labels.n + 1, sizeof(*v));
    size_t n = 0, j = 0;

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < labels.n; i++) {
        nlt_str_t name = labels.v[i].name;
        bool listed;

        while (j < g->n && nlt_str_cmp(g->names[j], name) < 0) {
            j++;
        }
        listed = j < g->n && nlt_str_eq(g->names[j], name);
        if (g->without) {
            listed = !listed && !nlt_str_eq(name, NLT_METRIC_NAME);
        }
        if (listed) {
            v[n++] = labels.v[i];
        }
    }
    *out = (nlt_labels_t){v, n};
    return NLT_OK;
}

nlt_rc_t
nlt_pql_grouping_key(nlt_pql_ctx_t *ctx, const nlt_pql_grouping_t *g,
                     const nlt_pql_row_t *row, nlt_pool_t *pool,
                     nlt_labels_t *out)
{
    nlt_label_t *v;
    size_t n = 0;

    if (g->without || row->set == NULL) {
        nlt_labels_t all;
        nlt_rc_t rc = nlt_pql_row_labels(ctx, row, pool, &all);

        return rc != NLT_OK ? rc : nlt_pql_grouping_cut(g, all, pool, out);
    }
    v = nlt_pool_array(pool, g->n + 1, sizeof(*v));
    if (v == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < g->n; i++) {
        nlt_str_t value = nlt_pql_row_label(row, g->names[i]);

        if (value.len) {
            v[n++] = (nlt_label_t){g->names[i], value};
        }
    }
    *out = (nlt_labels_t){v, n};
    return NLT_OK;
}

/* ---- duplicates ---- */

nlt_rc_t
nlt_pql_rows_join(nlt_pql_ctx_t *ctx, size_t n_steps, nlt_pql_row_t *dst,
                  const nlt_pql_row_t *src, bool matching)
{
    bool first = true; /* no earlier step has a value */

    for (size_t w = 0; w < nlt_pql_words(n_steps); w++) {
        uint64_t bits = src->present[w], both = bits | dst->present[w];

        /* the sample of the earliest step says whether the name goes */
        if (first && both) {
            dst->drop_name =
                bits & both & -both ? src->drop_name : dst->drop_name;
            first = false;
        }
        if (bits & dst->present[w]) {
            if (matching && dst->group == src->group) {
                return nlt_pql_eval_err(
                    ctx, NLT_EEXEC,
                    "multiple matches for labels: grouping "
                    "labels must ensure unique matches");
            }
            return nlt_pql_eval_err(ctx, NLT_EEXEC,
                                    "vector cannot contain metrics with the "
                                    "same labelset");
        }
        dst->present[w] |= bits;
        for (; bits; bits &= bits - 1) {
            size_t i = w * 64 + (size_t) __builtin_ctzll(bits);

            dst->v[i] = src->v[i];
        }
    }
    return NLT_OK;
}

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
    nlt_pql_rows_t rows;
    nlt_pql_table_t table;
    bool matching;
    bool filled;
    size_t next;
} merge_t;

static nlt_rc_t
merge_row(merge_t *m, nlt_pql_row_t *row)
{
    nlt_pql_ctx_t *ctx = m->op.ctx;
    nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
    nlt_labels_t labels;
    uint32_t at = 0;
    bool added = false;
    nlt_rc_t rc;

    rc = nlt_pql_row_labels(ctx, row, &ctx->scratch, &labels);
    if (rc == NLT_OK) {
        rc = nlt_pql_table_put(ctx, &m->table, labels, &at, &added);
    }
    nlt_pool_rewind(&ctx->scratch, mark);
    if (rc != NLT_OK) {
        return rc;
    }
    if (added) {
        row->labels = m->table.keys[at];
        row->set = NULL;
        return nlt_pql_rows_keep(ctx, m->op.n, &m->rows, row);
    }
    return nlt_pql_rows_join(ctx, m->op.n, &m->rows.v[at], row, m->matching);
}

static nlt_rc_t
merge_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    merge_t *m = (merge_t *) op;

    while (!m->filled) {
        nlt_rc_t rc = m->child->next(m->child, row);

        if (rc == NLT_EOF) {
            m->filled = true;
            break;
        }
        if (rc == NLT_OK) {
            rc = merge_row(m, row);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    if (m->next == m->rows.n) {
        return NLT_EOF;
    }
    *row = m->rows.v[m->next++];
    return NLT_OK;
}

nlt_rc_t
nlt_pql_merge(nlt_pql_iter_t **op, bool matching)
{
    merge_t *m =
        nlt_pql_iter_new((*op)->ctx, (*op)->plan, sizeof(*m), merge_next);

    if (m == NULL) {
        return NLT_ENOMEM;
    }
    m->child = *op;
    m->op.n = (*op)->n;
    m->matching = matching;
    *op = &m->op;
    return NLT_OK;
}

/* ---- changing labels ---- */

bool
nlt_pql_edit_init(nlt_pool_t *pool, nlt_labels_t l, size_t more,
                  nlt_pql_edit_t *e)
{
    e->v = nlt_pool_array(pool, l.n + more + 1, sizeof(*e->v));
    e->n = l.n;
    if (e->v == NULL) {
        return false;
    }
    if (l.n) {
        memcpy(e->v, l.v, l.n * sizeof(*e->v));
    }
    return true;
}

void
nlt_pql_edit_set(nlt_pql_edit_t *e, nlt_str_t name, nlt_str_t value)
{
    size_t at = 0;

    while (at < e->n && nlt_str_cmp(e->v[at].name, name) < 0) {
        at++;
    }
    if (at < e->n && nlt_str_eq(e->v[at].name, name)) {
        if (value.len) {
            e->v[at].value = value;
            return;
        }
        e->n--;
        memmove(&e->v[at], &e->v[at + 1], (e->n - at) * sizeof(*e->v));
        return;
    }
    if (value.len) {
        memmove(&e->v[at + 1], &e->v[at], (e->n - at) * sizeof(*e->v));
        e->v[at] = (nlt_label_t){name, value};
        e->n++;
    }
}

/*
 * nlt_pql_special_hist.c - quantiles and fractions of classic histograms.
 *
 * Rows that agree in all labels but le are the buckets of one histogram.  They
 * are kept; then each step of each histogram is computed from the buckets that
 * have a value there.
 */
#include <math.h>

#include "nlt_pql_fn.h"
#include "nlt_pql_special.h"

typedef struct {
    uint32_t first, last; /* of rows, linked by hist_t.next_row */
    size_t n;
} hist_group_t;

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_special_t kind;
    const nlt_pql_plan_t *vector;
    int32_t vector_pos; /* of notes about it */
    nlt_pql_iter_t *child;
    double *params[NLT_PQL_ARGS_MAX + 1]; /* q, or lower and upper */
    double **qs;                          /* of _quantiles */
    int32_t *q_pos;
    size_t n_qs;
    nlt_str_t label; /* of _quantiles: where the q goes */
    nlt_pql_rows_t rows;
    double *le; /* of rows */
    size_t le_cap;
    uint32_t *next_row;
    nlt_pql_table_t table;
    hist_group_t *groups;
    nlt_pql_bucket_t *buckets;
    bool filled;
    size_t at, q_at; /* next group and quantile */
    uint64_t *todo;  /* steps whose quantile was not used yet */
    bool has_todo;
    nlt_pql_row_t row;
} hist_t;

static void
warn_q(hist_t *e, double q, int32_t pos)
{
    char text[NLT_NUM_TEXT_MAX];

    nlt_pql_annots_add(e->op.ctx->annots, NLT_PQL_WARNING,
                       nlt_pql_place(e->op.plan, pos),
                       "quantile value should be between 0 and 1, got %.*s",
                       (int) nlt_num_g(text, q), text);
}

static void
warn_all(hist_t *e, const double *q, int32_t pos)
{
    for (size_t i = 0; i < e->op.n; i++) {
        if (!(q[i] >= 0 && q[i] <= 1)
            && (i == 0 || nlt_bits_of(q[i]) != nlt_bits_of(q[i - 1]))) {
            warn_q(e, q[i], pos);
        }
    }
}

/* The metric's name for annotations: only with delayed removal. */
static nlt_str_t
note_name(const hist_t *e, const nlt_pql_row_t *row)
{
    return e->op.ctx->delayed ? nlt_pql_row_label(row, NLT_METRIC_NAME)
                              : (nlt_str_t){0, NULL};
}

static void
warn_le(hist_t *e, const nlt_pql_row_t *row, nlt_str_t le)
{
    nlt_str_t name = note_name(e, row);
    nlt_buf_t b;

    nlt_buf_init(&b, &e->op.ctx->mem, NLT_ERR_TEXT_MAX);
    nlt_utf8_quote(&b, le);
    if (name.len) {
        nlt_buf_add_c(&b, " for metric name ");
        nlt_utf8_quote(&b, name);
    }
    nlt_pql_annots_add(e->op.ctx->annots, NLT_PQL_WARNING,
                       nlt_pql_place(e->op.plan, e->vector_pos),
                       "bucket label \"le\" is missing or has a malformed "
                       "value of %.*s",
                       NLT_FMT(nlt_buf_str(&b)));
}

/* ---- gathering ---- */

/* Labels of the histogram of a bucket: without le. */
static nlt_rc_t
hist_key(hist_t *e, const nlt_pql_row_t *row, nlt_pool_t *pool,
         nlt_labels_t *out)
{
    nlt_pql_edit_t edit;
    nlt_labels_t l;
    nlt_rc_t rc = nlt_pql_row_labels(e->op.ctx, row, pool, &l);
    size_t n = 0;

    if (rc != NLT_OK) {
        return rc;
    }
    if (!nlt_pql_edit_init(pool, l, 0, &edit)) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < edit.n; i++) {
        if (!nlt_str_eq(edit.v[i].name, NLT_STR("le"))) {
            edit.v[n++] = edit.v[i];
        }
    }
    *out = (nlt_labels_t){edit.v, n};
    return NLT_OK;
}

static nlt_rc_t
keep_bucket(hist_t *e, nlt_pql_row_t *row, double le)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
    nlt_labels_t key;
    uint32_t at = 0;
    bool added;
    nlt_rc_t rc = hist_key(e, row, &ctx->scratch, &key);

    if (rc == NLT_OK) {
        rc = nlt_pql_table_put(ctx, &e->table, key, &at, &added);
    }
    nlt_pool_rewind(&ctx->scratch, mark);
    if (rc != NLT_OK) {
        return rc;
    }
    row->group = at;
    rc = nlt_pql_rows_keep(ctx, e->op.n, &e->rows, row);
    if (rc == NLT_OK && e->rows.cap > e->le_cap) {
        double *v = nlt_pool_grow(ctx->pool, e->le, e->le_cap * sizeof(*v),
                                  e->rows.cap * sizeof(*v));

        if (v == NULL) {
            return NLT_ENOMEM;
        }
        e->le = v;
        e->le_cap = e->rows.cap;
    }
    if (rc == NLT_OK) {
        e->le[e->rows.n - 1] = le;
    }
    return rc;
}

static nlt_rc_t
link_groups(hist_t *e)
{
    nlt_pool_t *pool = e->op.ctx->pool;
    size_t largest = 1;

    e->groups = nlt_pool_zalloc(pool, (e->table.n + 1) * sizeof(*e->groups));
    e->next_row = nlt_pool_array(pool, e->rows.n + 1, sizeof(uint32_t));
    if (!e->groups || !e->next_row) {
        return NLT_ENOMEM;
    }
    for (uint32_t i = 0; i < e->rows.n; i++) {
        const nlt_pql_row_t *row = &e->rows.v[i];
        hist_group_t *g = &e->groups[row->group];

        if (g->n++ == 0) {
            g->first = i;
        } else {
            e->next_row[g->last] = i;
        }
        g->last = i;
        largest = g->n > largest ? g->n : largest;
    }
    e->buckets = nlt_pool_array(pool, largest, sizeof(*e->buckets));
    return e->buckets ? NLT_OK : NLT_ENOMEM;
}

static nlt_rc_t
gather(hist_t *e)
{
    nlt_pql_row_t row;
    nlt_rc_t rc;

    while ((rc = e->child->next(e->child, &row)) == NLT_OK) {
        nlt_str_t le = nlt_pql_row_label(&row, NLT_STR("le"));
        double bound;

        if (nlt_num_parse(le, &bound) != 0) {
            warn_le(e, &row, le);
            continue;
        }
        rc = keep_bucket(e, &row, bound);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return rc == NLT_EOF ? link_groups(e) : rc;
}

/* ---- computing ---- */

/* Buckets of a group at a step; their number. */
static size_t
buckets_at(hist_t *e, const hist_group_t *g, size_t step)
{
    uint32_t r = g->first;
    size_t n = 0;

    for (size_t k = 0; k < g->n; k++, r = e->next_row[r]) {
        const nlt_pql_row_t *row = &e->rows.v[r];

        if (nlt_pql_has(row->present, step)) {
            e->buckets[n++] = (nlt_pql_bucket_t){e->le[r], row->v[step]};
        }
        if (k + 1 == g->n) {
            break;
        }
    }
    return n;
}

static double
quantile_at(hist_t *e, const hist_group_t *g, size_t n, double q, size_t step)
{
    nlt_pql_fixed_t fixed;
    double v = nlt_pql_bucket_quantile(q, e->buckets, n, &fixed);

    if (fixed.forced) {
        nlt_pql_annots_monotonic(
            e->op.ctx->annots, nlt_pql_place(e->op.plan, e->vector_pos),
            note_name(e, &e->rows.v[g->first]), fixed.bucket_min,
            fixed.bucket_max, fixed.max_diff,
            nlt_pql_step(&e->op.plan->grid, step));
    }
    return v;
}

/* Computes the row of a group, at the steps of `only` (NULL: all). */
static nlt_rc_t
compute(hist_t *e, const hist_group_t *g, const double *q,
        const uint64_t *only)
{
    memset(e->row.present, 0, nlt_pql_words(e->op.n) * sizeof(uint64_t));
    for (size_t i = 0; i < e->op.n; i++) {
        size_t n;

        if (only && !nlt_pql_has(only, i)) {
            continue;
        }
        n = buckets_at(e, g, i);
        if (n) {
            nlt_rc_t rc = nlt_pql_poll(e->op.ctx, n);

            if (rc != NLT_OK) {
                return rc;
            }
            nlt_pql_set(e->row.present, i);
            e->row.v[i] =
                q ? quantile_at(e, g, n, q[i], i)
                  : nlt_pql_bucket_fraction(e->params[0][i], e->params[1][i],
                                            e->buckets, n);
        }
    }
    return NLT_OK;
}

/* Like Prometheus prints floats in labels: "0.0", "0.25", "1.0", "+Inf". */
static size_t
print_q(char *text, double q)
{
    size_t n = nlt_num_g(text, q);

    for (size_t i = 0; i < n; i++) {
        if (text[i] == '.' || text[i] == 'e' || text[i] == 'N'
            || text[i] == 'I') {
            return n;
        }
    }
    text[n++] = '.';
    text[n++] = '0';
    return n;
}

/*
 * histogram_quantiles: one row for each quantile; one that changes with the
 * steps gives a row for each of its values.
 */
static nlt_rc_t
next_quantiles(hist_t *e, nlt_pql_row_t *row)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    const hist_group_t *g = &e->groups[e->at];
    const double *q = e->qs[e->q_at];
    size_t words = nlt_pql_words(e->op.n);
    uint64_t *only = e->todo + words;
    char text[NLT_NUM_TEXT_MAX + 2];
    nlt_pql_edit_t edit;
    nlt_str_t value;
    double now = 0;
    bool found = false;
    nlt_rc_t rc;

    if (!e->has_todo) {
        nlt_pql_set_all(e->todo, e->op.n);
        e->has_todo = true;
    }
    memset(only, 0, words * sizeof(*only));
    for (size_t i = 0; i < e->op.n; i++) {
        if (!nlt_pql_has(e->todo, i)) {
            continue;
        }
        if (!found) {
            now = q[i];
            found = true;
        }
        if (nlt_bits_of(q[i]) == nlt_bits_of(now)) {
            nlt_pql_set(only, i);
            nlt_pql_clear(e->todo, i);
        }
    }
    rc = compute(e, g, q, only);
    if (rc != NLT_OK) {
        return rc;
    }
    value = nlt_pool_str(ctx->pool, (nlt_str_t){print_q(text, now), text});
    if (value.data == NULL
        || !nlt_pql_edit_init(ctx->pool, e->table.keys[e->at], 1, &edit)) {
        return NLT_ENOMEM;
    }
    nlt_pql_edit_set(&edit, e->label, value);
    *row = e->row;
    row->labels = (nlt_labels_t){edit.v, edit.n};
    if (!nlt_pql_any(e->todo, e->op.n)) {
        e->has_todo = false;
        if (++e->q_at == e->n_qs) {
            e->q_at = 0;
            e->at++;
        }
    }
    return NLT_OK;
}

static nlt_rc_t
hist_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    hist_t *e = (hist_t *) op;
    nlt_rc_t rc;

    if (!e->filled) {
        rc = gather(e);
        if (rc != NLT_OK) {
            return rc;
        }
        e->filled = true;
    }
    if (e->at == e->table.n
        || (e->kind == NLT_PQL_SP_HISTOGRAM_QUANTILES && e->n_qs == 0)) {
        return NLT_EOF;
    }
    if (e->kind == NLT_PQL_SP_HISTOGRAM_QUANTILES) {
        rc = next_quantiles(e, row);
    } else {
        rc = compute(e, &e->groups[e->at],
                     e->kind == NLT_PQL_SP_HISTOGRAM_QUANTILE ? e->params[0]
                                                              : NULL,
                     NULL);
        *row = e->row;
        row->labels = e->table.keys[e->at++];
    }
    return rc == NLT_OK ? nlt_pql_row_drop_name(op->ctx, row) : rc;
}

static nlt_rc_t
open_quantiles(hist_t *e, const nlt_pql_plan_t *plan)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    size_t n = plan->n_kids - 2;

    e->label = nlt_pql_string_value(plan->kids[1]);
    if (e->label.len == 0 || !nlt_utf8_valid(e->label)) {
        return nlt_pql_eval_err(ctx, NLT_EEXEC, "invalid label name %.*s",
                                NLT_FMT(e->label));
    }
    e->qs = nlt_pool_array(ctx->pool, n + 1, sizeof(*e->qs));
    e->todo = nlt_pool_zalloc(ctx->pool, (2 * nlt_pql_words(e->op.n) + 1)
                                             * sizeof(*e->todo));
    if (e->qs == NULL || e->todo == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        nlt_rc_t rc = nlt_pql_scalar_values(ctx, plan->kids[i + 2], &e->qs[i]);

        if (rc != NLT_OK) {
            return rc;
        }
        warn_all(e, e->qs[i], nlt_pql_arg_pos(plan, i + 2));
        e->n_qs++;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_pql_open_hist(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                  nlt_pql_iter_t **out)
{
    hist_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), hist_next);
    size_t n_scalars = 0;
    nlt_rc_t rc = NLT_OK;

    if (e == NULL || !nlt_pql_row_alloc(ctx, plan->grid.n, &e->row)) {
        return NLT_ENOMEM;
    }
    e->kind = plan->ast->u.call.func->special;
    switch (e->kind) {
    case NLT_PQL_SP_HISTOGRAM_QUANTILES:
        rc = open_quantiles(e, plan);
        e->vector = plan->kids[0];
        break;
    case NLT_PQL_SP_HISTOGRAM_FRACTION:
        n_scalars = 2;
        break;
    default:
        n_scalars = 1;
        break;
    }
    for (size_t i = 0; rc == NLT_OK && i < n_scalars; i++) {
        rc = nlt_pql_scalar_values(ctx, plan->kids[i], &e->params[i]);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (n_scalars) {
        e->vector = plan->kids[n_scalars];
    }
    if (e->kind == NLT_PQL_SP_HISTOGRAM_QUANTILE) {
        warn_all(e, e->params[0], nlt_pql_arg_pos(plan, 0));
    }
    e->vector_pos = nlt_pql_arg_pos(plan, n_scalars);
    rc = nlt_pql_open(ctx, e->vector, &e->child);
    if (rc != NLT_OK) {
        return rc;
    }
    *out = &e->op;
    if (e->kind == NLT_PQL_SP_HISTOGRAM_QUANTILES) {
        rc = nlt_pql_merge(out, false);
        (*out)->unique = !ctx->delayed;
        return rc;
    }
    return nlt_pql_name_dropped(out, e->child->unique);
}

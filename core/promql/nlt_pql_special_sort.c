/*
 * nlt_pql_special_sort.c - sort, sort_desc, sort_by_label, _desc.
 *
 * Order can only be seen in an instant query's result; elsewhere rows pass.
 */
#include <math.h>

#include "nlt_pql_special.h"

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
    bool by_label;
    bool desc;
    nlt_str_t *names;
    size_t n_names;
    nlt_pql_rows_t rows;
    uint32_t *order;
    nlt_labels_t *labels; /* of rows, for by_label */
    bool sorted;
    size_t next;
} sort_t;

/*
 * Ascending or descending by value, NaN last in both.  Prometheus's comparison
 * puts each NaN before those that came earlier.
 */
static bool
value_before(const void *ctx, uint32_t a, uint32_t b)
{
    const sort_t *e = ctx;
    double x = e->rows.v[a].v[0], y = e->rows.v[b].v[0];

    if (isnan(x) || isnan(y)) {
        return isnan(x) ? isnan(y) && a > b : true;
    }
    return e->desc ? x > y : x < y;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of the run of digits, or of others, at the start of s. */
static size_t
run_length(nlt_str_t s)
{
    size_t n = 0;

    while (n < s.len && is_digit(s.data[n]) == is_digit(s.data[0])) {
        n++;
    }
    return n;
}

/* Natural order: runs of digits compare as numbers. */
static int
natural_cmp(nlt_str_t a, nlt_str_t b)
{
    while (a.len && b.len) {
        nlt_str_t x = {run_length(a), a.data};
        nlt_str_t y = {run_length(b), b.data};
        int c = 0;

        a = (nlt_str_t){a.len - x.len, a.data + x.len};
        b = (nlt_str_t){b.len - y.len, b.data + y.len};
        if (is_digit(x.data[0]) && is_digit(y.data[0])) {
            while (x.len > 1 && x.data[0] == '0') {
                x = (nlt_str_t){x.len - 1, x.data + 1};
            }
            while (y.len > 1 && y.data[0] == '0') {
                y = (nlt_str_t){y.len - 1, y.data + 1};
            }
            c = (x.len > y.len) - (x.len < y.len);
        }
        c = c ? c : nlt_str_cmp(x, y);
        if (c) {
            return c;
        }
    }
    return (a.len > 0) - (b.len > 0);
}

static bool
label_before(const void *ctx, uint32_t a, uint32_t b)
{
    const sort_t *e = ctx;
    int c = 0;

    for (size_t i = 0; c == 0 && i < e->n_names; i++) {
        c = natural_cmp(nlt_labels_get(e->labels[a], e->names[i]),
                        nlt_labels_get(e->labels[b], e->names[i]));
    }
    if (c == 0) {
        c = nlt_labels_cmp(e->labels[a], e->labels[b]);
    }
    return e->desc ? c > 0 : c < 0;
}

static nlt_rc_t
sort_rows(sort_t *e)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_rc_t rc = nlt_pql_rows_collect(e->child, &e->rows);
    uint32_t *tmp;

    if (rc != NLT_OK) {
        return rc;
    }
    e->order = nlt_pool_array(ctx->pool, e->rows.n + 1, sizeof(*e->order));
    tmp = nlt_pool_array(ctx->pool, e->rows.n + 1, sizeof(*tmp));
    e->labels = nlt_pool_array(ctx->pool, e->rows.n + 1, sizeof(*e->labels));
    if (e->order == NULL || tmp == NULL || e->labels == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < e->rows.n; i++) {
        e->order[i] = (uint32_t) i;
        if (e->by_label) {
            rc = nlt_pql_row_labels(ctx, &e->rows.v[i], ctx->pool,
                                    &e->labels[i]);
            if (rc != NLT_OK) {
                return rc;
            }
        }
    }
    nlt_pql_sort(e->order, tmp, e->rows.n,
                 e->by_label ? label_before : value_before, e);
    return NLT_OK;
}

static nlt_rc_t
sort_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    sort_t *e = (sort_t *) op;

    if (op->n > 1) {
        return e->child->next(e->child, row);
    }
    if (!e->sorted) {
        nlt_rc_t rc = sort_rows(e);

        if (rc != NLT_OK) {
            return rc;
        }
        e->sorted = true;
    }
    if (e->next == e->rows.n) {
        return NLT_EOF;
    }
    *row = e->rows.v[e->order[e->next++]];
    return NLT_OK;
}

nlt_rc_t
nlt_pql_open_sort(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                  nlt_pql_iter_t **out)
{
    sort_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), sort_next);
    nlt_pql_special_t sp = plan->ast->u.call.func->special;
    nlt_rc_t rc;

    if (e == NULL) {
        return NLT_ENOMEM;
    }
    e->by_label =
        sp == NLT_PQL_SP_SORT_BY_LABEL || sp == NLT_PQL_SP_SORT_BY_LABEL_DESC;
    e->desc =
        sp == NLT_PQL_SP_SORT_DESC || sp == NLT_PQL_SP_SORT_BY_LABEL_DESC;
    e->names = nlt_pool_array(ctx->pool, plan->n_kids, sizeof(*e->names));
    if (e->names == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 1; i < plan->n_kids; i++) {
        e->names[e->n_names++] = nlt_pql_string_value(plan->kids[i]);
    }
    if (!ctx->q->instant && ctx->q->t_start_ms != ctx->q->t_end_ms) {
        nlt_pql_annots_add(ctx->annots, NLT_PQL_WARNING,
                           nlt_pql_place(plan, plan->ast->start),
                           "sort is ineffective for range queries since "
                           "results are always ordered by labels");
    }
    rc = nlt_pql_open(ctx, plan->kids[0], &e->child);
    if (rc == NLT_OK) {
        e->op.unique = e->child->unique;
        *out = &e->op;
    }
    return rc;
}

/*
 * nlt_pql_setop.c - and, or, unless.
 *
 * Which match groups have a value at a step is a bitmap per group.  and,
 * unless: of the right side, then the left side streams past it.  or: the
 * left side streams first and leaves its bitmaps, then the right side.
 */
#include "nlt_pql_binop.h"
#include "nlt_pql_rows.h"

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *lhs;
    nlt_pql_iter_t *rhs;
    nlt_pql_op_t code;
    nlt_pql_grouping_t on;
    nlt_pql_table_t table;
    uint64_t **present; /* by group */
    size_t cap;
    bool marked; /* and, unless: the right side is in the bitmaps */
    bool second; /* or: the left side is done */
} setop_t;

static nlt_rc_t
match_key(setop_t *e, const nlt_pql_row_t *row, nlt_labels_t *key)
{
    return nlt_pql_grouping_key(e->op.ctx, &e->on, row, &e->op.ctx->scratch,
                                key);
}

/* Adds the row's bits to its group. */
static nlt_rc_t
mark_row(setop_t *e, const nlt_pql_row_t *row)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
    size_t words = nlt_pql_words(e->op.n);
    nlt_labels_t key;
    uint32_t at = 0;
    bool added = false;
    nlt_rc_t rc = match_key(e, row, &key);

    if (rc == NLT_OK) {
        rc = nlt_pql_table_put(ctx, &e->table, key, &at, &added);
    }
    nlt_pool_rewind(&ctx->scratch, mark);
    if (rc != NLT_OK) {
        return rc;
    }
    if (at >= e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 8;
        uint64_t **v = nlt_pool_grow(ctx->pool, e->present,
                                     e->cap * sizeof(*v), cap * sizeof(*v));

        if (v == NULL) {
            return NLT_ENOMEM;
        }
        e->present = v;
        e->cap = cap;
    }
    if (added) {
        e->present[at] = nlt_pool_zalloc(ctx->pool, words * sizeof(uint64_t));
        if (e->present[at] == NULL) {
            return NLT_ENOMEM;
        }
    }
    for (size_t w = 0; w < words; w++) {
        e->present[at][w] |= row->present[w];
    }
    return NLT_OK;
}

/* Leaves the row's bits where its group has one (keep) or has none. */
static nlt_rc_t
mask_row(setop_t *e, nlt_pql_row_t *row, bool keep)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
    size_t words = nlt_pql_words(e->op.n);
    nlt_labels_t key;
    uint32_t at = 0;
    bool found = false;
    nlt_rc_t rc = match_key(e, row, &key);

    if (rc == NLT_OK) {
        found = nlt_pql_table_find(&e->table, key, &at);
    }
    nlt_pool_rewind(&ctx->scratch, mark);
    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t w = 0; w < words; w++) {
        uint64_t theirs = found ? e->present[at][w] : 0;

        row->present[w] &= keep ? theirs : ~theirs;
    }
    return NLT_OK;
}

static nlt_rc_t
or_next(setop_t *e, nlt_pql_row_t *row)
{
    nlt_rc_t rc = NLT_EOF;

    if (!e->second) {
        rc = e->lhs->next(e->lhs, row);
        if (rc == NLT_OK) {
            return mark_row(e, row);
        }
        if (rc != NLT_EOF) {
            return rc;
        }
        e->second = true;
    }
    rc = e->rhs->next(e->rhs, row);
    return rc == NLT_OK ? mask_row(e, row, false) : rc;
}

static nlt_rc_t
setop_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    setop_t *e = (setop_t *) op;
    nlt_rc_t rc;

    while (e->code != NLT_PQL_OP_OR && !e->marked) {
        rc = e->rhs->next(e->rhs, row);
        if (rc == NLT_EOF) {
            e->marked = true;
            break;
        }
        if (rc == NLT_OK) {
            rc = mark_row(e, row);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    do {
        if (e->code == NLT_PQL_OP_OR) {
            rc = or_next(e, row);
        } else {
            rc = e->lhs->next(e->lhs, row);
            if (rc == NLT_OK) {
                rc = mask_row(e, row, e->code == NLT_PQL_OP_AND);
            }
        }
        if (rc == NLT_OK) {
            rc = nlt_pql_poll(op->ctx, op->n / 64);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    } while (!nlt_pql_any(row->present, op->n));
    return NLT_OK;
}

nlt_rc_t
nlt_pql_open_setop(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                   nlt_pql_iter_t **out)
{
    const nlt_pql_binary_t *b = &plan->ast->u.binary;
    setop_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), setop_next);
    nlt_rc_t rc;

    if (e == NULL) {
        return NLT_ENOMEM;
    }
    e->code = b->op;
    rc = nlt_pql_grouping_init(ctx, b->labels, !b->on, &e->on);
    if (rc == NLT_OK) {
        rc = nlt_pql_open(ctx, plan->kids[0], &e->lhs);
    }
    if (rc == NLT_OK) {
        rc = nlt_pql_open(ctx, plan->kids[1], &e->rhs);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    *out = &e->op;
    if (b->op == NLT_PQL_OP_OR) {
        return nlt_pql_merge(out, false);
    }
    e->op.unique = e->lhs->unique;
    return NLT_OK;
}

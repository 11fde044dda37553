/*
 * nlt_pql_binop.c - operators with a scalar on at least one side.
 */
#include <math.h>

#include "nlt_pql_binop.h"
#include "nlt_pql_libm.h"
#include "nlt_pql_rows.h"

#define LOOP(expr)                                                            \
    for (size_t i = 0; i < n; i++) {                                          \
        double x = a[i], y = b[i];                                            \
        out[i] = (expr);                                                      \
    }                                                                         \
    break

void
nlt_pql_binop_values(nlt_pql_op_t op, const double *a, const double *b,
                     double *out, size_t n)
{
    switch (op) {
    case NLT_PQL_OP_ADD:
        LOOP(x + y);
    case NLT_PQL_OP_SUB:
        LOOP(x - y);
    case NLT_PQL_OP_MUL:
        LOOP(x * y);
    case NLT_PQL_OP_DIV:
        LOOP(x / y);
    case NLT_PQL_OP_MOD:
        LOOP(fmod(x, y));
    case NLT_PQL_OP_POW:
        LOOP(nlt_pql_pow(x, y));
    case NLT_PQL_OP_ATAN2:
        LOOP(nlt_pql_atan2(x, y));
    case NLT_PQL_OP_EQ:
        LOOP(x == y);
    case NLT_PQL_OP_NE:
        LOOP(x != y);
    case NLT_PQL_OP_GT:
        LOOP(x > y);
    case NLT_PQL_OP_LT:
        LOOP(x < y);
    case NLT_PQL_OP_GE:
        LOOP(x >= y);
    case NLT_PQL_OP_LE:
        LOOP(x <= y);
    case NLT_PQL_OP_AND:
    case NLT_PQL_OP_OR:
    case NLT_PQL_OP_UNLESS:
    case NLT_PQL_OP_TRIM_UPPER:
    case NLT_PQL_OP_TRIM_LOWER:
        break;
    }
}

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
    nlt_pql_op_t code;
    double *scalar;
    bool scalar_left;
    bool filter;     /* comparison without bool */
    bool drops_name; /* everything else */
    double *truth;   /* of a filter */
    bool done;       /* scalar op scalar */
    nlt_pql_row_t row;
} binary_t;

/* Clears the bits of steps at which a filter says no. */
static void
keep_true(uint64_t *present, const double *truth, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (truth[i] == 0) {
            nlt_pql_clear(present, i);
        }
    }
}

static void
trim_info(const binary_t *e)
{
    const nlt_pql_node_t *ast = e->op.plan->ast;

    nlt_pql_annots_add(e->op.ctx->annots, NLT_PQL_INFO,
                       nlt_pql_place(e->op.plan, ast->start),
                       "incompatible sample types encountered for binary "
                       "operator \"%s\": float %s float",
                       nlt_pql_op_text(e->code), nlt_pql_op_text(e->code));
}

static nlt_rc_t
vector_scalar_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    binary_t *e = (binary_t *) op;
    double *out;

    do {
        nlt_rc_t rc = e->child->next(e->child, row);

        if (rc == NLT_OK) {
            rc = nlt_pql_poll(op->ctx, op->n / 4);
        }
        if (rc != NLT_OK) {
            return rc;
        }
        if (e->code == NLT_PQL_OP_TRIM_UPPER
            || e->code == NLT_PQL_OP_TRIM_LOWER) {
            trim_info(e);
            memset(row->present, 0, nlt_pql_words(op->n) * sizeof(uint64_t));
            continue;
        }
        out = e->filter ? e->truth : row->v;
        nlt_pql_binop_values(e->code, e->scalar_left ? e->scalar : row->v,
                             e->scalar_left ? row->v : e->scalar, out, op->n);
        if (e->filter) {
            keep_true(row->present, e->truth, op->n);
        }
    } while (!nlt_pql_any(row->present, op->n));
    return e->drops_name ? nlt_pql_row_drop_name(op->ctx, row) : NLT_OK;
}

static nlt_rc_t
scalars_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    binary_t *e = (binary_t *) op;

    if (e->done) {
        return NLT_EOF;
    }
    e->done = true;
    *row = e->row;
    return NLT_OK;
}

static nlt_rc_t
open_scalars(binary_t *e, nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan)
{
    double *a, *b;
    nlt_rc_t rc = nlt_pql_scalar_values(ctx, plan->kids[0], &a);

    if (rc == NLT_OK) {
        rc = nlt_pql_scalar_values(ctx, plan->kids[1], &b);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (e->code >= NLT_PQL_OP_TRIM_UPPER) {
        return nlt_pql_eval_err(ctx, NLT_EEXEC,
                                "operator \"%s\" not allowed for Scalar "
                                "operations",
                                nlt_pql_op_text(e->code));
    }
    if (!nlt_pql_row_alloc(ctx, e->op.n, &e->row)) {
        return NLT_ENOMEM;
    }
    nlt_pql_binop_values(e->code, a, b, e->row.v, e->op.n);
    nlt_pql_set_all(e->row.present, e->op.n);
    e->op.unique = true;
    e->op.next = scalars_next;
    return NLT_OK;
}

nlt_rc_t
nlt_pql_open_binary(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                    nlt_pql_iter_t **out)
{
    const nlt_pql_binary_t *b = &plan->ast->u.binary;
    nlt_pql_type_t lt = plan->kids[0]->ast->type;
    nlt_pql_type_t rt = plan->kids[1]->ast->type;
    binary_t *e;
    nlt_rc_t rc;

    if (lt == NLT_PQL_VECTOR && rt == NLT_PQL_VECTOR) {
        return nlt_pql_op_is_set(b->op) ? nlt_pql_open_setop(ctx, plan, out)
                                        : nlt_pql_open_match(ctx, plan, out);
    }
    e = nlt_pql_iter_new(ctx, plan, sizeof(*e), vector_scalar_next);
    if (e == NULL) {
        return NLT_ENOMEM;
    }
    *out = &e->op;
    e->code = b->op;
    if (lt == NLT_PQL_SCALAR && rt == NLT_PQL_SCALAR) {
        return open_scalars(e, ctx, plan);
    }
    e->scalar_left = lt == NLT_PQL_SCALAR;
    e->filter = nlt_pql_op_is_comparison(b->op) && !b->return_bool;
    e->drops_name = !e->filter;
    rc = nlt_pql_open(ctx, plan->kids[e->scalar_left ? 1 : 0], &e->child);
    if (rc == NLT_OK) {
        rc = nlt_pql_scalar_values(ctx, plan->kids[e->scalar_left ? 0 : 1],
                                   &e->scalar);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    e->truth = nlt_pool_array(ctx->pool, plan->grid.n + 1, sizeof(double));
    if (e->truth == NULL) {
        return NLT_ENOMEM;
    }
    e->op.unique = e->child->unique;
    return e->drops_name ? nlt_pql_name_dropped(out, e->child->unique)
                         : NLT_OK;
}

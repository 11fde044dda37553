/*
 * nlt_pql_duration.c - evaluates expressions of time.
 *
 * The parser has bounded the height of the tree, so recursion is safe, and
 * lets only the kinds of nodes below through.
 */
#include <math.h>

#include "nlt_pql_duration.h"
#include "nlt_pql_func.h"
#include "nlt_pql_libm.h"

typedef struct {
    double step_s;
    double range_s;
    nlt_err_t *err;
    nlt_rc_t rc;
} resolver_t;

static double value(resolver_t *r, const nlt_pql_node_t *node);

/* Positions are byte offsets of both ends here, not line and column. */
static void
fail(resolver_t *r, const nlt_pql_node_t *node, const char *what)
{
    if (r->rc == NLT_OK) {
        r->rc = nlt_err_set_at(r->err, NLT_EINVAL, node->start, "%d:%d: %s",
                               (int) node->start, (int) node->end, what);
    }
}

static double
call(resolver_t *r, const nlt_pql_node_t *node)
{
    const nlt_pql_call_t *c = &node->u.call;

    switch (c->func->special) {
    case NLT_PQL_SP_STEP:
        return r->step_s;
    case NLT_PQL_SP_RANGE:
        return r->range_s;
    case NLT_PQL_SP_MIN_OF:
        return fmin(value(r, c->args[0]), value(r, c->args[1]));
    case NLT_PQL_SP_MAX_OF:
        return fmax(value(r, c->args[0]), value(r, c->args[1]));
    default:
        r->rc =
            nlt_err_set(r->err, NLT_EBUG, "%s() in a duration", c->func->name);
        return 0;
    }
}

static double
binary(resolver_t *r, const nlt_pql_node_t *node)
{
    double a = value(r, node->u.binary.lhs);
    double b = value(r, node->u.binary.rhs);

    switch (node->u.binary.op) {
    case NLT_PQL_OP_ADD:
        return a + b;
    case NLT_PQL_OP_SUB:
        return a - b;
    case NLT_PQL_OP_MUL:
        return a * b;
    case NLT_PQL_OP_DIV:
        if (b == 0) {
            fail(r, node, "division by zero");
            return 0;
        }
        return a / b;
    case NLT_PQL_OP_MOD:
        if (b == 0) {
            fail(r, node, "modulo by zero");
            return 0;
        }
        return fmod(a, b);
    case NLT_PQL_OP_POW:
        return nlt_pql_pow(a, b);
    default:
        r->rc = nlt_err_set(r->err, NLT_EBUG, "operator %s in a duration",
                            nlt_pql_op_text(node->u.binary.op));
        return 0;
    }
}

static double
value(resolver_t *r, const nlt_pql_node_t *node)
{
    switch (node->kind) {
    case NLT_PQL_N_NUMBER:
        return node->u.number.value;
    case NLT_PQL_N_PAREN:
        return value(r, node->u.paren);
    case NLT_PQL_N_UNARY:
        return -value(r, node->u.unary.expr);
    case NLT_PQL_N_CALL:
        return call(r, node);
    case NLT_PQL_N_BINARY:
        return binary(r, node);
    default:
        r->rc = nlt_err_set(r->err, NLT_EBUG, "unknown part of a duration");
        return 0;
    }
}

nlt_rc_t
nlt_pql_duration_resolve(const nlt_pql_duration_t *d, int64_t step_ms,
                         int64_t range_ms, int64_t *ms, nlt_err_t *err)
{
    resolver_t r = {.step_s = (double) step_ms / 1000,
                    .range_s = (double) range_ms / 1000,
                    .err = err,
                    .rc = NLT_OK};

    if (d->expr == NULL) {
        *ms = d->ms;
        return NLT_OK;
    }
    double s = value(&r, d->expr);

    if (r.rc == NLT_OK && !isfinite(s)) {
        fail(&r, d->expr, "duration is NaN or infinite");
    }
    if (d->positive && s <= 0) {
        fail(&r, d->expr, "duration must be greater than 0");
    }
    /* 2^63 nanoseconds, as for literals. */
    if (fabs(s) > 9223372036854775808.0 / 1e9) {
        fail(&r, d->expr, "duration is out of range");
    }
    if (r.rc != NLT_OK) {
        return r.rc;
    }
    *ms = (int64_t) (s * 1000); /* cut off, as there */
    if (d->positive && *ms == 0) {
        *ms = 1; /* a step of zero would never end */
    }
    return NLT_OK;
}

/*
 * nlt_pql_parse_duration.c - literals and expressions of time.
 *
 * A literal is folded at once (signs included), so that the usual query has
 * milliseconds in its tree; anything else stays a tree of its own.
 */
#include <math.h>

#include "nlt_pql_func.h"
#include "nlt_pql_parser.h"

/* Binds like '*': only '^' is stronger than a sign. */
#define UNARY_POWER 5

/* Largest length of time in seconds: 2^63 ns, as Prometheus has it. */
#define SECONDS_MAX (9223372036854775808.0 / 1e9)

static bool
is_sign(nlt_pql_token_kind_t kind)
{
    return kind == NLT_PQL_T_ADD || kind == NLT_PQL_T_SUB;
}

static bool
in_bounds(nlt_pql_parser_t *p, const nlt_pql_node_t *number, int32_t pos)
{
    /* NaN is refused when the query is prepared. */
    if (fabs(number->u.number.value) > SECONDS_MAX) {
        nlt_pql_fail(p, pos, "duration out of range");
        return false;
    }
    return true;
}

static bool
enabled(nlt_pql_parser_t *p, const nlt_pql_node_t *at)
{
    if ((p->features & NLT_PQL_F_DURATION_EXPR) == 0) {
        nlt_pql_fail(p, at->start,
                     "experimental duration expression is not enabled");
        return false;
    }
    return true;
}

static nlt_pql_node_t *expression(nlt_pql_parser_t *p, int power_min);

static nlt_pql_node_t *
literal(nlt_pql_parser_t *p)
{
    return nlt_pql_parse_number(p, nlt_pql_take(p));
}

/* step(), range(), min_of(a, b), max_of(a, b). */
static nlt_pql_node_t *
call(nlt_pql_parser_t *p)
{
    nlt_pql_token_t word = nlt_pql_take(p);
    const char *name = nlt_pql_token_info(word.kind)->text;
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_CALL, word.pos);
    size_t n_args =
        word.kind == NLT_PQL_T_MIN_OF || word.kind == NLT_PQL_T_MAX_OF ? 2 : 0;

    if (node == NULL) {
        return NULL;
    }
    node->u.call.func = nlt_pql_func_find((nlt_str_t){strlen(name), name});
    node->u.call.args = nlt_pool_array(p->pool, 2, sizeof(nlt_pql_node_t *));
    if (node->u.call.func == NULL || node->u.call.args == NULL) {
        nlt_pql_fail_memory(p);
        return NULL;
    }
    if (!nlt_pql_accept(p, NLT_PQL_T_LEFT_PAREN)) {
        nlt_pql_syntax(p);
        return NULL;
    }
    for (size_t i = 0; i < n_args; i++) {
        if (i > 0 && !nlt_pql_accept(p, NLT_PQL_T_COMMA)) {
            nlt_pql_syntax(p);
            return NULL;
        }
        nlt_pql_node_t *arg = expression(p, 1);

        if (arg == NULL || !nlt_pql_adopt(p, node, arg)) {
            return NULL;
        }
        node->u.call.args[i] = arg;
    }
    if (!nlt_pql_accept(p, NLT_PQL_T_RIGHT_PAREN)) {
        nlt_pql_syntax(p);
        return NULL;
    }
    node->u.call.n_args = n_args;
    node->end = p->end;
    return enabled(p, node) ? node : NULL;
}

/*
 * inner in parentheses.  A number needs none; around anything else they are
 * kept once, at the position of what they hold.
 */
static nlt_pql_node_t *
wrap(nlt_pql_parser_t *p, nlt_pql_node_t *inner)
{
    if (inner->kind == NLT_PQL_N_NUMBER || inner->kind == NLT_PQL_N_PAREN) {
        return inner;
    }
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_PAREN, inner->start);

    if (node == NULL || !nlt_pql_adopt(p, node, inner)) {
        return NULL;
    }
    node->u.paren = inner;
    node->end = inner->end;
    return node;
}

/* '(' expression ')'. */
static nlt_pql_node_t *
parenthesized(nlt_pql_parser_t *p)
{
    (void) nlt_pql_take(p);
    nlt_pql_node_t *inner = expression(p, 1);

    if (inner == NULL) {
        return NULL;
    }
    if (!nlt_pql_accept(p, NLT_PQL_T_RIGHT_PAREN)) {
        nlt_pql_syntax(p);
        return NULL;
    }
    if (!enabled(p, inner)) {
        return NULL;
    }
    return wrap(p, inner);
}

/* sign operand; folds numbers, drops '+'. */
static nlt_pql_node_t *
signed_operand(nlt_pql_parser_t *p, nlt_pql_token_t sign,
               nlt_pql_node_t *operand)
{
    bool negate = sign.kind == NLT_PQL_T_SUB;

    if (operand == NULL) {
        return NULL;
    }
    if (operand->kind == NLT_PQL_N_NUMBER) {
        if (negate) {
            operand->u.number.value = -operand->u.number.value;
        }
        operand->start = sign.pos;
        return in_bounds(p, operand, sign.pos) ? operand : NULL;
    }
    if (!negate) {
        return operand;
    }
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_UNARY, sign.pos);

    if (node == NULL || !nlt_pql_adopt(p, node, operand)) {
        return NULL;
    }
    node->u.unary.negate = true;
    node->u.unary.expr = operand;
    node->end = operand->end;
    return node;
}

static nlt_pql_node_t *
operand(nlt_pql_parser_t *p)
{
    nlt_pql_node_t *node;

    switch (nlt_pql_peek_kind(p)) {
    case NLT_PQL_T_NUMBER:
    case NLT_PQL_T_DURATION:
        node = literal(p);
        return node != NULL && in_bounds(p, node, node->start) ? node : NULL;
    case NLT_PQL_T_ADD:
    case NLT_PQL_T_SUB: {
        nlt_pql_token_t sign = nlt_pql_take(p);

        return signed_operand(p, sign, expression(p, UNARY_POWER + 1));
    }
    case NLT_PQL_T_LEFT_PAREN:
        return parenthesized(p);
    case NLT_PQL_T_STEP:
    case NLT_PQL_T_RANGE:
    case NLT_PQL_T_MIN_OF:
    case NLT_PQL_T_MAX_OF:
        return call(p);
    default:
        nlt_pql_syntax(p);
        return NULL;
    }
}

static nlt_pql_node_t *
binary(nlt_pql_parser_t *p, nlt_pql_node_t *lhs, int power)
{
    nlt_pql_token_t op = nlt_pql_take(p);
    bool right = op.kind == NLT_PQL_T_POW;
    nlt_pql_node_t *rhs = expression(p, right ? power : power + 1);

    if (rhs == NULL || !enabled(p, lhs)) {
        return NULL;
    }
    if ((op.kind == NLT_PQL_T_DIV || op.kind == NLT_PQL_T_MOD)
        && rhs->kind == NLT_PQL_N_NUMBER && rhs->u.number.value == 0) {
        nlt_pql_fail(p, op.pos, "%s by zero",
                     op.kind == NLT_PQL_T_DIV ? "division" : "modulo");
        return NULL;
    }
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_BINARY, lhs->start);

    if (node == NULL || !nlt_pql_adopt(p, node, lhs)
        || !nlt_pql_adopt(p, node, rhs)) {
        return NULL;
    }
    node->u.binary.op = (nlt_pql_op_t) (op.kind - NLT_PQL_T_ADD);
    node->u.binary.op_pos = op.pos;
    node->u.binary.lhs = lhs;
    node->u.binary.rhs = rhs;
    node->end = rhs->end;
    return node;
}

/* An expression whose operators all bind at least as strong as power_min. */
static nlt_pql_node_t *
expression(nlt_pql_parser_t *p, int power_min)
{
    if (!nlt_pql_enter(p)) {
        return NULL;
    }
    nlt_pql_node_t *node = operand(p);

    while (node != NULL) {
        nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);
        int power = nlt_pql_token_info(kind)->power;

        if (kind < NLT_PQL_T_ADD || kind > NLT_PQL_T_POW
            || power < power_min) {
            break;
        }
        node = binary(p, node, power);
    }
    p->depth--;
    return node;
}

/* Seconds to whole milliseconds by way of nanoseconds, as Prometheus. */
static int64_t
to_ms(double seconds)
{
    double ns = round(seconds * 1e9);

    if (ns >= 9223372036854775807.0) {
        return INT64_MAX / 1000000;
    }
    if (ns <= -9223372036854775808.0) {
        return INT64_MIN / 1000000;
    }
    return (int64_t) ns / 1000000;
}

static void
set(nlt_pql_duration_t *out, nlt_pql_node_t *node, bool positive)
{
    *out = (nlt_pql_duration_t){.positive = positive};
    if (node->kind != NLT_PQL_N_NUMBER || isnan(node->u.number.value)) {
        out->expr = node;
        return;
    }
    out->ms = to_ms(node->u.number.value);
    /* Below a millisecond nothing can be told apart, but a step of zero
     * would never end. */
    if (positive && out->ms == 0) {
        out->ms = 1;
    }
}

bool
nlt_pql_parse_range(nlt_pql_parser_t *p, nlt_pql_duration_t *out)
{
    nlt_pql_node_t *node = expression(p, 1);

    if (node == NULL) {
        return false;
    }
    if (node->kind == NLT_PQL_N_NUMBER && node->u.number.value <= 0) {
        nlt_pql_fail(p, node->start, "duration must be greater than 0");
        return false;
    }
    set(out, node, true);
    return true;
}

/*
 * Parentheses around a whole expression that was written without: only so
 * it stays one when it is printed (`m offset (5) - step()`).
 */
static nlt_pql_node_t *
wrap_offset(nlt_pql_parser_t *p, nlt_pql_node_t *node)
{
    nlt_pql_kind_t kind =
        node->kind == NLT_PQL_N_UNARY ? node->u.unary.expr->kind : node->kind;

    return kind == NLT_PQL_N_CALL || kind == NLT_PQL_N_PAREN ? node
                                                             : wrap(p, node);
}

/*
 * After `offset` a literal or a call, with or without one sign, ends where it
 * ends, and so do signed parentheses: in `m offset -(5m) + 3` the 3 is added
 * to the metric.  Anything else is a whole expression.
 */
bool
nlt_pql_parse_offset(nlt_pql_parser_t *p, nlt_pql_duration_t *out)
{
    const char *context = p->context, *expected = p->expected;
    nlt_pql_token_t sign = {.kind = NLT_PQL_T_END};
    nlt_pql_node_t *node;

    p->context = "offset";
    p->expected = "number, duration, step(), or range()";
    if (is_sign(nlt_pql_peek_kind(p))) {
        sign = nlt_pql_take(p);
    }
    nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);

    if (is_sign(kind) && sign.kind != NLT_PQL_T_END) {
        nlt_pql_put_back(p, sign);
        node = expression(p, 1);
    } else if (kind == NLT_PQL_T_LEFT_PAREN && sign.kind == NLT_PQL_T_END) {
        node = expression(p, 1);
    } else if (kind == NLT_PQL_T_NUMBER || kind == NLT_PQL_T_DURATION) {
        node = literal(p);
        if (node != NULL && sign.kind == NLT_PQL_T_END
            && !in_bounds(p, node, node->start)) {
            node = NULL;
        }
        if (sign.kind != NLT_PQL_T_END) {
            node = signed_operand(p, sign, node);
        }
    } else {
        node = operand(p);
        if (sign.kind != NLT_PQL_T_END) {
            node = signed_operand(p, sign, node);
        }
    }
    if (node != NULL) {
        node = wrap_offset(p, node);
    }
    if (node != NULL) {
        set(out, node, false);
    }
    p->context = context;
    p->expected = expected;
    return node != NULL;
}

/*
 * nlt_pql_parse_postfix.c - what binds to the operand before it: ranges,
 * subqueries, offset, @, anchored and smoothed.
 */
#include <math.h>

#include "nlt_num.h"
#include "nlt_pql_parser.h"

#define NEEDS_SELECTOR                                                        \
    " must be preceded by an instant vector selector or range vector "        \
    "selector or a subquery"

bool
nlt_pql_is_postfix(nlt_pql_token_kind_t kind)
{
    return kind == NLT_PQL_T_LEFT_BRACKET || kind == NLT_PQL_T_OFFSET
           || kind == NLT_PQL_T_AT || kind == NLT_PQL_T_ANCHORED
           || kind == NLT_PQL_T_SMOOTHED;
}

/* Where offset and @ of an operand are kept; NULL: it takes none. */
static nlt_pql_shift_t *
shift_of(nlt_pql_node_t *node)
{
    switch (node->kind) {
    case NLT_PQL_N_VECTOR:
        return &node->u.vector.shift;
    case NLT_PQL_N_MATRIX:
        return &node->u.matrix.vector->u.vector.shift;
    case NLT_PQL_N_SUBQUERY:
        return &node->u.subquery.shift;
    default:
        return NULL;
    }
}

static nlt_pql_node_t *
parse_offset(nlt_pql_parser_t *p, nlt_pql_node_t *operand)
{
    nlt_pql_shift_t *shift = shift_of(operand);
    nlt_pql_duration_t offset;

    if (!nlt_pql_parse_offset(p, &offset)) {
        return NULL;
    }
    if (shift == NULL) {
        nlt_pql_fail(p, operand->start, "offset modifier" NEEDS_SELECTOR);
        return NULL;
    }
    if (shift->has_offset) {
        nlt_pql_fail(p, operand->start,
                     "offset may not be set multiple times");
        return NULL;
    }
    shift->offset = offset;
    /* No offset at all and an offset of zero are the same. */
    shift->has_offset = offset.expr != NULL || offset.ms != 0;
    operand->end = p->end;
    return operand;
}

/* A number of seconds after '@', one sign allowed. */
static bool
parse_timestamp(nlt_pql_parser_t *p, double *out)
{
    bool negate = false;

    if (nlt_pql_peek_kind(p) == NLT_PQL_T_ADD
        || nlt_pql_peek_kind(p) == NLT_PQL_T_SUB) {
        negate = nlt_pql_take(p).kind == NLT_PQL_T_SUB;
    }
    if (nlt_pql_peek_kind(p) != NLT_PQL_T_NUMBER
        && nlt_pql_peek_kind(p) != NLT_PQL_T_DURATION) {
        nlt_pql_unexpected(p, "@", "timestamp");
        return false;
    }
    nlt_pql_node_t *number = nlt_pql_parse_number(p, nlt_pql_take(p));

    if (number == NULL) {
        return false;
    }
    *out = negate ? -number->u.number.value : number->u.number.value;
    return true;
}

static bool
at_in_bounds(nlt_pql_parser_t *p, const nlt_pql_node_t *operand, double t)
{
    if (!(fabs(t) < 9223372036854775808.0)) {
        char text[NLT_NUM_PLAIN_MAX];
        size_t n = nlt_num_fixed(text, t, 6);

        nlt_pql_fail(p, operand->start,
                     "timestamp out of bounds for @ modifier: %.*s", (int) n,
                     text);
        return false;
    }
    return true;
}

static int64_t
at_ms(double t)
{
    double ms = round(t * 1000);

    if (ms >= 9223372036854775807.0) {
        return INT64_MAX;
    }
    return ms <= -9223372036854775808.0 ? INT64_MIN : (int64_t) ms;
}

static nlt_pql_node_t *
parse_at(nlt_pql_parser_t *p, nlt_pql_node_t *operand)
{
    nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);
    nlt_pql_at_kind_t at = NLT_PQL_AT_TIME;
    nlt_pql_shift_t *shift = shift_of(operand);
    double t = 0;

    if (kind == NLT_PQL_T_START || kind == NLT_PQL_T_END_OF) {
        (void) nlt_pql_take(p);
        if (!nlt_pql_accept(p, NLT_PQL_T_LEFT_PAREN)
            || !nlt_pql_accept(p, NLT_PQL_T_RIGHT_PAREN)) {
            nlt_pql_unexpected(p, "@", "timestamp");
            return NULL;
        }
        at = kind == NLT_PQL_T_START ? NLT_PQL_AT_START : NLT_PQL_AT_END;
    } else if (!parse_timestamp(p, &t) || !at_in_bounds(p, operand, t)) {
        return NULL;
    }
    if (shift == NULL) {
        nlt_pql_fail(p, operand->start, "@ modifier" NEEDS_SELECTOR);
        return NULL;
    }
    if (shift->at != NLT_PQL_AT_NONE) {
        nlt_pql_fail(p, operand->start,
                     "@ <timestamp> may not be set multiple times");
        return NULL;
    }
    shift->at = at;
    shift->at_ms = at_ms(t);
    operand->end = p->end;
    return operand;
}

static nlt_pql_node_t *
parse_extended(nlt_pql_parser_t *p, nlt_pql_node_t *operand, bool smoothed)
{
    const char *word = smoothed ? "smoothed" : "anchored";
    nlt_pql_node_t *selector = operand;

    if ((p->features & NLT_PQL_F_EXTENDED) == 0) {
        nlt_pql_fail(p, operand->start,
                     "%s modifier is experimental and not enabled", word);
        return NULL;
    }
    if (operand->kind == NLT_PQL_N_MATRIX) {
        selector = operand->u.matrix.vector;
    }
    if (selector->kind != NLT_PQL_N_VECTOR) {
        nlt_pql_fail(p, operand->start,
                     operand->kind == NLT_PQL_N_SUBQUERY
                         ? "%s modifier is not supported for subqueries"
                         : "%s modifier not implemented",
                     word);
        return NULL;
    }
    nlt_pql_vector_t *v = &selector->u.vector;

    v->smoothed = v->smoothed || smoothed;
    v->anchored = v->anchored || !smoothed;
    if (v->smoothed && v->anchored) {
        nlt_pql_fail(p, operand->start,
                     "anchored and smoothed modifiers cannot be used "
                     "together");
        return NULL;
    }
    operand->end = p->end;
    return operand;
}

static nlt_pql_node_t *
make_matrix(nlt_pql_parser_t *p, nlt_pql_node_t *vector, int32_t bracket,
            nlt_pql_duration_t range)
{
    const char *wrong = NULL;

    if (vector->kind != NLT_PQL_N_VECTOR) {
        wrong = "ranges only allowed for vector selectors";
    } else if (vector->u.vector.shift.has_offset) {
        wrong = "no offset modifiers allowed before range";
    } else if (vector->u.vector.shift.at != NLT_PQL_AT_NONE) {
        wrong = "no @ modifiers allowed before range";
    }
    if (wrong != NULL) {
        nlt_pql_fail(p, bracket, "%s", wrong);
        return NULL;
    }
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_MATRIX, vector->start);

    if (node == NULL || !nlt_pql_adopt(p, node, vector)) {
        return NULL;
    }
    node->u.matrix.vector = vector;
    node->u.matrix.range = range;
    node->end = p->end;
    return node;
}

/* After the ':' of a subquery. */
static nlt_pql_node_t *
parse_subquery(nlt_pql_parser_t *p, nlt_pql_node_t *expr,
               nlt_pql_duration_t range)
{
    nlt_pql_duration_t step = {.positive = true};

    if (nlt_pql_peek_kind(p) != NLT_PQL_T_RIGHT_BRACKET) {
        p->context = "subquery selector";
        p->expected = "number, duration, step(), range(), or \"]\"";
        if (!nlt_pql_parse_range(p, &step)) {
            return NULL;
        }
    }
    if (!nlt_pql_accept(p, NLT_PQL_T_RIGHT_BRACKET)) {
        nlt_pql_unexpected(p, "subquery selector", "\"]\"");
        return NULL;
    }
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_SUBQUERY, expr->start);

    if (node == NULL || !nlt_pql_adopt(p, node, expr)) {
        return NULL;
    }
    node->u.subquery.expr = expr;
    node->u.subquery.range = range;
    node->u.subquery.step = step;
    node->end = p->end;
    return node;
}

/* After '[' at byte `bracket`. */
static nlt_pql_node_t *
parse_brackets(nlt_pql_parser_t *p, nlt_pql_node_t *operand, int32_t bracket)
{
    const char *context = p->context, *expected = p->expected;
    nlt_pql_duration_t range;
    nlt_pql_node_t *node = NULL;

    p->context = "subquery or range selector";
    p->expected = "number, duration, step(), or range()";
    if (nlt_pql_parse_range(p, &range)) {
        if (nlt_pql_accept(p, NLT_PQL_T_RIGHT_BRACKET)) {
            node = make_matrix(p, operand, bracket, range);
        } else if (nlt_pql_accept(p, NLT_PQL_T_COLON)) {
            node = parse_subquery(p, operand, range);
        } else {
            nlt_pql_unexpected(p, "subquery or range", "\":\" or \"]\"");
        }
    }
    p->context = context;
    p->expected = expected;
    return node;
}

nlt_pql_node_t *
nlt_pql_parse_postfix(nlt_pql_parser_t *p, nlt_pql_node_t *operand)
{
    nlt_pql_token_t tok = nlt_pql_take(p);

    switch (tok.kind) {
    case NLT_PQL_T_LEFT_BRACKET:
        return parse_brackets(p, operand, tok.pos);
    case NLT_PQL_T_OFFSET:
        return parse_offset(p, operand);
    case NLT_PQL_T_AT:
        return parse_at(p, operand);
    default:
        return parse_extended(p, operand, tok.kind == NLT_PQL_T_SMOOTHED);
    }
}

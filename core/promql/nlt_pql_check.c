/*
 * nlt_pql_check.c - types, one function a kind of node.
 *
 * A function checks its children first and returns false after an error.
 * Recursion is bounded by the height of the tree, which the parser bounds.
 */
#include <stdarg.h>
#include <stdio.h>

#include "nlt_pql_check.h"
#include "nlt_pql_func.h"
#include "nlt_pql_lex.h"

typedef struct {
    nlt_pool_t *pool;
    nlt_str_t text;
    nlt_err_t *err;
    nlt_rc_t rc;
} checker_t;

static bool check(checker_t *c, nlt_pql_node_t *node);

static bool
fail(checker_t *c, int32_t pos, const char *fmt, ...) NLT_PRINTF(3, 4);

/* Always false. */
static bool
fail(checker_t *c, int32_t pos, const char *fmt, ...)
{
    char what[NLT_ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void) vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    c->rc = nlt_pql_err_at(c->err, c->text, pos, "%s", what);
    return false;
}

static bool
fail_memory(checker_t *c)
{
    c->rc = nlt_err_set(c->err, NLT_ENOMEM,
                        "query needs more memory than it may have");
    return false;
}

/* fail() with two strings shown quoted: "before %q between %q". */
static bool
fail_quoted(checker_t *c, int32_t pos, const char *before, nlt_str_t first,
            const char *between, nlt_str_t second, const char *after)
{
    nlt_buf_t b;

    if (first.len > NLT_ERR_TEXT_MAX) {
        first.len = NLT_ERR_TEXT_MAX;
    }
    if (second.len > NLT_ERR_TEXT_MAX) {
        second.len = NLT_ERR_TEXT_MAX;
    }
    nlt_buf_init(&b, c->pool->mem, 32 * NLT_ERR_TEXT_MAX);
    nlt_buf_add_c(&b, before);
    nlt_utf8_quote(&b, first);
    nlt_buf_add_c(&b, between);
    if (second.data != NULL) {
        nlt_utf8_quote(&b, second);
    }
    nlt_buf_add_c(&b, after);
    (void) fail(c, pos, "%.*s", NLT_FMT(nlt_buf_str(&b)));
    nlt_buf_deinit(&b);
    return false;
}

/* Checks node and its type; `where` goes between "in " and ", got". */
static bool
expect(checker_t *c, nlt_pql_node_t *node, nlt_pql_type_t want,
       const char *where)
{
    if (!check(c, node)) {
        return false;
    }
    if (node->type != want) {
        return fail(c, node->start, "expected type %s in %s, got %s",
                    nlt_pql_type_text(want), where,
                    nlt_pql_type_text(node->type));
    }
    return true;
}

static bool
check_aggr(checker_t *c, nlt_pql_node_t *node)
{
    nlt_pql_aggr_node_t *aggr = &node->u.aggr;

    node->type = NLT_PQL_VECTOR;
    return expect(c, aggr->expr, NLT_PQL_VECTOR, "aggregation expression")
           && (aggr->param == NULL
               || expect(c, aggr->param,
                         aggr->op == NLT_PQL_AGGR_COUNT_VALUES
                             ? NLT_PQL_STRING
                             : NLT_PQL_SCALAR,
                         "aggregation parameter"));
}

static bool
is_operand(nlt_pql_type_t type)
{
    return type == NLT_PQL_SCALAR || type == NLT_PQL_VECTOR;
}

/* The rules of the operator itself; operands are checked. */
static bool
check_operator(checker_t *c, const nlt_pql_binary_t *b)
{
    bool comparison = nlt_pql_op_is_comparison(b->op);

    if (b->return_bool && !comparison) {
        return fail(c, b->op_pos,
                    "bool modifier can only be used on comparison operators");
    }
    if (comparison && !b->return_bool && b->lhs->type == NLT_PQL_SCALAR
        && b->rhs->type == NLT_PQL_SCALAR) {
        return fail(c, b->op_pos,
                    "comparisons between scalars must use BOOL modifier");
    }
    for (size_t i = 0; b->on && i < b->labels.n; i++) {
        for (size_t k = 0; k < b->include.n; k++) {
            if (nlt_str_eq(b->labels.v[i], b->include.v[k])) {
                return fail_quoted(
                    c, b->op_pos, "label ", b->labels.v[i],
                    " must not occur in ON and GROUP clause at once",
                    (nlt_str_t){0, NULL}, "");
            }
        }
    }
    if (!is_operand(b->lhs->type) || !is_operand(b->rhs->type)) {
        return fail(c,
                    is_operand(b->lhs->type) ? b->rhs->start : b->lhs->start,
                    "binary expression must contain only scalar and instant "
                    "vector types");
    }
    return true;
}

/* Matching and fill modifiers, which only two vectors may have. */
static bool
check_matching(checker_t *c, nlt_pql_node_t *node)
{
    nlt_pql_binary_t *b = &node->u.binary;
    bool vectors =
        b->lhs->type == NLT_PQL_VECTOR && b->rhs->type == NLT_PQL_VECTOR;
    bool fill = b->fill_left_set || b->fill_right_set;

    if (!vectors) {
        if (b->labels.n > 0) {
            return fail(c, node->start,
                        "vector matching only allowed between instant "
                        "vectors");
        }
        if (fill) {
            return fail(c, node->start,
                        "filling in missing series only allowed between "
                        "instant vectors");
        }
        b->has_matching = b->on = b->has_group = false;
        b->card = NLT_PQL_CARD_ONE_TO_ONE;
        b->include = (nlt_pql_names_t){NULL, 0};
    }
    if (!nlt_pql_op_is_set(b->op)) {
        return true;
    }
    if (!vectors) {
        return fail(c, node->start,
                    "set operator \"%s\" not allowed in binary scalar "
                    "expression",
                    nlt_pql_op_text(b->op));
    }
    if (b->has_group) {
        return fail(c, node->start, "no grouping allowed for \"%s\" operation",
                    nlt_pql_op_text(b->op));
    }
    if (fill) {
        return fail(c, node->start,
                    "filling in missing series not allowed for set "
                    "operators");
    }
    b->card = NLT_PQL_CARD_MANY_TO_MANY;
    return true;
}

static bool
check_binary(checker_t *c, nlt_pql_node_t *node)
{
    nlt_pql_binary_t *b = &node->u.binary;

    if (!check(c, b->lhs) || !check(c, b->rhs)) {
        return false;
    }
    node->type =
        b->lhs->type == NLT_PQL_SCALAR && b->rhs->type == NLT_PQL_SCALAR
            ? NLT_PQL_SCALAR
            : NLT_PQL_VECTOR;
    return check_operator(c, b) && check_matching(c, node);
}

static size_t
n_arg_types(const nlt_pql_func_t *func)
{
    size_t n = 0;

    while (n < NLT_PQL_ARGS_MAX && func->args[n] != NLT_PQL_NONE) {
        n++;
    }
    return n;
}

static bool
check_arg_count(checker_t *c, const nlt_pql_node_t *node, size_t n_types)
{
    const nlt_pql_func_t *func = node->u.call.func;
    size_t n = node->u.call.n_args, min = n_types, max = n_types;
    const char *bound = "";

    if (func->variadic != 0) {
        min = n_types - 1;
        max = func->variadic > 0 ? min + (size_t) func->variadic : SIZE_MAX;
        bound = n < min ? "at least " : "at most ";
    }
    if (n >= min && n <= max) {
        return true;
    }
    return fail(c, node->start,
                "expected %s%zu argument(s) in call to \"%s\", got %zu", bound,
                n < min ? min : max, func->name, n);
}

/* The second argument of info(): matchers of labels, possibly none. */
static bool
check_info(checker_t *c, nlt_pql_node_t *node)
{
    nlt_pql_node_t *arg = node->u.call.args[1];

    if (arg->kind != NLT_PQL_N_VECTOR) {
        return expect(c, arg, NLT_PQL_VECTOR, "call to function \"info\"")
               && fail(c, arg->start, "expected label selectors only");
    }
    if (arg->u.vector.name.len > 0) {
        return fail(c, arg->start,
                    "expected label selectors only, got vector selector "
                    "instead");
    }
    arg->type = NLT_PQL_VECTOR;
    return true;
}

static bool
check_call(checker_t *c, nlt_pql_node_t *node)
{
    nlt_pql_call_t *call = &node->u.call;
    const nlt_pql_func_t *func = call->func;
    size_t n_types = n_arg_types(func);
    bool info = func->special == NLT_PQL_SP_INFO;
    char where[128];

    node->type = func->ret;
    (void) snprintf(where, sizeof(where), "call to function \"%s\"",
                    func->name);
    if (!check_arg_count(c, node, n_types)) {
        return false;
    }
    if (info && call->n_args > 1 && !check_info(c, node)) {
        return false;
    }
    for (size_t i = 0; i < call->n_args; i++) {
        nlt_pql_type_t want = func->args[i < n_types ? i : n_types - 1];

        if (info && i == 1) {
            continue; /* done; here {} is allowed */
        }
        if (!expect(c, call->args[i], want, where)) {
            return false;
        }
    }
    return true;
}

/* Does the matcher let the empty value, an absent label, through? */
static bool
matches_empty(checker_t *c, nlt_matcher_t m, bool *yes)
{
    if (m.op == NLT_MATCH_EQ || m.op == NLT_MATCH_NE) {
        *yes = (m.value.len == 0) == (m.op == NLT_MATCH_EQ);
        return true;
    }
    nlt_pool_mark_t mark = nlt_pool_mark(c->pool);
    nlt_rc_t rc = nlt_matcher_compile(c->pool, &m, c->err);

    if (rc == NLT_OK) {
        *yes = nlt_matcher_test(&m, (nlt_str_t){0, NULL}) == NLT_OK;
        nlt_matcher_release(&m);
    }
    nlt_pool_rewind(c->pool, mark);
    c->rc = rc;
    return rc == NLT_OK;
}

static bool
check_vector(checker_t *c, nlt_pql_node_t *node)
{
    const nlt_pql_vector_t *v = &node->u.vector;

    node->type = NLT_PQL_VECTOR;
    if (v->name.len > 0) {
        /* The last matcher is the one made of the name. */
        for (size_t i = 0; i + 1 < v->n_matchers; i++) {
            if (nlt_str_eq(v->matchers[i].name, NLT_METRIC_NAME)) {
                nlt_str_t value = v->matchers[i].value;

                if (value.data == NULL) {
                    value.data = "";
                }
                return fail_quoted(c, node->start,
                                   "metric name must not be set twice: ",
                                   v->name, " or ", value, "");
            }
        }
        return true;
    }
    for (size_t i = 0; i < v->n_matchers; i++) {
        bool empty;

        if (!matches_empty(c, v->matchers[i], &empty)) {
            return c->rc == NLT_ENOMEM ? fail_memory(c) : false;
        }
        if (!empty) {
            return true;
        }
    }
    return fail(c, node->start,
                "vector selector must contain at least one non-empty "
                "matcher");
}

static bool
check_unary(checker_t *c, nlt_pql_node_t *node)
{
    nlt_pql_node_t *inner = node->u.unary.expr;

    if (!check(c, inner)) {
        return false;
    }
    node->type = inner->type;
    if (!is_operand(inner->type)) {
        return fail(c, node->start,
                    "unary expression only allowed on expressions of type "
                    "scalar or instant vector, got \"%s\"",
                    nlt_pql_type_text(inner->type));
    }
    return true;
}

static bool
check_subquery(checker_t *c, nlt_pql_node_t *node)
{
    nlt_pql_node_t *inner = node->u.subquery.expr;

    if (!check(c, inner)) {
        return false;
    }
    node->type = NLT_PQL_MATRIX;
    if (inner->type != NLT_PQL_VECTOR) {
        return fail(c, node->start,
                    "subquery is only allowed on instant vector, got %s "
                    "instead",
                    inner->type == NLT_PQL_MATRIX
                        ? "matrix"
                        : nlt_pql_type_text(inner->type));
    }
    return true;
}

static bool
check(checker_t *c, nlt_pql_node_t *node)
{
    switch (node->kind) {
    case NLT_PQL_N_NUMBER:
        node->type = NLT_PQL_SCALAR;
        return true;
    case NLT_PQL_N_STRING:
        node->type = NLT_PQL_STRING;
        return true;
    case NLT_PQL_N_VECTOR:
        return check_vector(c, node);
    case NLT_PQL_N_MATRIX:
        node->type = NLT_PQL_MATRIX;
        return check(c, node->u.matrix.vector);
    case NLT_PQL_N_SUBQUERY:
        return check_subquery(c, node);
    case NLT_PQL_N_CALL:
        return check_call(c, node);
    case NLT_PQL_N_AGGR:
        return check_aggr(c, node);
    case NLT_PQL_N_BINARY:
        return check_binary(c, node);
    case NLT_PQL_N_UNARY:
        return check_unary(c, node);
    case NLT_PQL_N_PAREN:
        if (!check(c, node->u.paren)) {
            return false;
        }
        node->type = node->u.paren->type;
        return true;
    }
    c->rc = nlt_err_set(c->err, NLT_EBUG, "unknown kind of expression");
    return false;
}

nlt_rc_t
nlt_pql_check(nlt_pool_t *pool, nlt_str_t text, nlt_pql_node_t *root,
              nlt_err_t *err)
{
    checker_t c = {.pool = pool, .text = text, .err = err, .rc = NLT_OK};

    (void) check(&c, root);
    return c.rc;
}

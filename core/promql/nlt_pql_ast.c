/*
 * nlt_pql_ast.c - names of operators, aggregations, types and features.
 */
#include "nlt_pql_ast.h"
#include "nlt_pql_lex.h"
#include "nlt_pql_parse.h"

const char *
nlt_pql_op_text(nlt_pql_op_t op)
{
    /* The token list stands in the order of the tree's enums. */
    _Static_assert((int) NLT_PQL_T_TRIM_LOWER - (int) NLT_PQL_T_ADD
                       == (int) NLT_PQL_OP_TRIM_LOWER - (int) NLT_PQL_OP_ADD,
                   "operators");
    _Static_assert((int) NLT_PQL_T_UNLESS - (int) NLT_PQL_T_ADD
                       == (int) NLT_PQL_OP_UNLESS - (int) NLT_PQL_OP_ADD,
                   "operators");
    return nlt_pql_token_info(
               (nlt_pql_token_kind_t) ((int) NLT_PQL_T_ADD + (int) op))
        ->text;
}

const char *
nlt_pql_aggr_text(nlt_pql_aggr_t op)
{
    _Static_assert((int) NLT_PQL_T_LIMIT_RATIO - (int) NLT_PQL_T_SUM
                       == (int) NLT_PQL_AGGR_LIMIT_RATIO
                              - (int) NLT_PQL_AGGR_SUM,
                   "aggregations");
    return nlt_pql_token_info(
               (nlt_pql_token_kind_t) ((int) NLT_PQL_T_SUM + (int) op))
        ->text;
}

const char *
nlt_pql_type_text(nlt_pql_type_t type)
{
    switch (type) {
    case NLT_PQL_SCALAR:
        return "scalar";
    case NLT_PQL_VECTOR:
        return "instant vector";
    case NLT_PQL_MATRIX:
        return "range vector";
    case NLT_PQL_STRING:
        return "string";
    case NLT_PQL_NONE:
        break;
    }
    return "none";
}

nlt_pql_node_t *
nlt_pql_unparen(nlt_pql_node_t *node)
{
    while (node->kind == NLT_PQL_N_PAREN) {
        node = node->u.paren;
    }
    return node;
}

const nlt_pql_feature_t *
nlt_pql_feature_table(size_t *n)
{
    static const nlt_pql_feature_t table[] = {
        {"binop-fill-modifiers", NLT_PQL_F_FILL},
        {"delayed-name-removal", NLT_PQL_F_DELAYED_NAME},
        {"duration-expr", NLT_PQL_F_DURATION_EXPR},
        {"experimental-functions", NLT_PQL_F_FUNCTIONS},
        {"extended-range-selectors", NLT_PQL_F_EXTENDED},
    };

    *n = NLT_COUNT(table);
    return table;
}

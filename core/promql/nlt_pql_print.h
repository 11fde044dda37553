/*
 * nlt_pql_print.h - pieces of canonical text, for the two who put them
 * together.
 *
 * Floor 3 (promql); uses nlt_pql_ast.  Only nlt_pql_print.c, which prints on
 * one line, and nlt_pql_pretty.c, which breaks lines, include it.
 *
 * All append to b, whose rc tells whether there was room.  `arithmetic`: one
 * of + - * / % ^ follows the text, see print_shift().
 */
#ifndef NLT_PROMQL_PQL_PRINT_H
#define NLT_PROMQL_PQL_PRINT_H

#include "nlt_pql_ast.h"

/* A node and all below it.  Ends soon when b has no room. */
void
nlt_pql_print_node(nlt_buf_t *b, const nlt_pql_node_t *node, bool arithmetic);

/* Operator, bool, matching and fill of a binary expression: "> bool on (a)".
 */
void nlt_pql_print_operator(nlt_buf_t *b, const nlt_pql_binary_t *n);

/* Name and grouping of an aggregation: "sum by (a, b) ". */
void nlt_pql_print_aggr(nlt_buf_t *b, const nlt_pql_aggr_node_t *n);

/* What stands behind the expression of a subquery: "[1h:5m] offset 1m". */
void nlt_pql_print_window(nlt_buf_t *b, const nlt_pql_subquery_t *s,
                          bool arithmetic);

/*
 * A number before '^', which binds stronger than the number's sign.  Only a
 * duration has a negative one there: it lost its parentheses when it was
 * read, and will again.
 */
void nlt_pql_print_base(nlt_buf_t *b, const nlt_pql_node_t *number);

/* Is the left side of n such a number? */
static inline bool
nlt_pql_is_base(const nlt_pql_binary_t *n)
{
    return n->op == NLT_PQL_OP_POW && n->lhs->kind == NLT_PQL_N_NUMBER;
}

#endif

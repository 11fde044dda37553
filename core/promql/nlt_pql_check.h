/*
 * nlt_pql_check.h - types of a syntax tree.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_ast, nlt_pql_func.
 * Contract: messages.md part 3d of the project's reference.
 *
 * The second half of nlt_pql_parse(): gives every node its type and finds
 * what the grammar cannot.  Errors come in Prometheus's order: operands
 * before the operator around them, the number of arguments before their
 * types.
 */
#ifndef NLT_PROMQL_PQL_CHECK_H
#define NLT_PROMQL_PQL_CHECK_H

#include "nlt_pql_ast.h"

/*
 * Types the tree in place.  Set operators become many-to-many, and matching
 * between operands that are not both vectors is dropped (it may then only
 * have been empty).  The pool is used for scratch and rewound.  NLT_EINVAL
 * with "LINE:COLUMN: parse error: ..."; NLT_ENOMEM.  O(nodes).
 */
NLT_CHECKED nlt_rc_t nlt_pql_check(nlt_pool_t *pool, nlt_str_t text,
                                   nlt_pql_node_t *root, nlt_err_t *err);

#endif

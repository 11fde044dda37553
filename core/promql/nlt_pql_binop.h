/*
 * nlt_pql_binop.h - binary operators.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_eval.
 *
 *   scalar op scalar    one row, bool or arithmetic
 *   vector op scalar    row by row, in place
 *   vector op vector    by match groups: rows whose labels agree on on(..),
 *                       or on all but ignoring(..)
 *   and, or, unless     by presence of the match group at each step
 *
 * Of a pair of vectors the "one" side is kept in memory (its rows by group,
 * those of disjoint times made one), and the "many" side streams past it.
 * What Prometheus checks at each step is presence arithmetic here: two rows
 * of one group with a value at the same step are an error, but only if the
 * other side has any value at that step at all.
 */
#ifndef NLT_PROMQL_PQL_BINOP_H
#define NLT_PROMQL_PQL_BINOP_H

#include "nlt_pql_eval.h"

/* The operator of a BINARY plan node. */
NLT_CHECKED nlt_rc_t nlt_pql_open_binary(nlt_pql_ctx_t *ctx,
                                         const nlt_pql_plan_t *plan,
                                         nlt_pql_iter_t **out);

/* Its two vector-vector parts (nlt_pql_match.c, nlt_pql_setop.c). */
NLT_CHECKED nlt_rc_t nlt_pql_open_match(nlt_pql_ctx_t *ctx,
                                        const nlt_pql_plan_t *plan,
                                        nlt_pql_iter_t **out);
NLT_CHECKED nlt_rc_t nlt_pql_open_setop(nlt_pql_ctx_t *ctx,
                                        const nlt_pql_plan_t *plan,
                                        nlt_pql_iter_t **out);

/*
 * n values of a op b into out, which may be a or b.  Comparisons give 1 or
 * 0 and never look at presence.
 */
void nlt_pql_binop_values(nlt_pql_op_t op, const double *a, const double *b,
                          double *out, size_t n);

#endif

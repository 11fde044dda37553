/*
 * nlt_pql_aggr.h - aggregations.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_eval.
 *
 * Two kinds.  Those that fold (sum, avg, min, max, count, group, stddev,
 * stdvar, count_values) add one row after another to the accumulators of its
 * group and forget the row, so they hold their output only.  Those that
 * choose or sort (topk, bottomk, limitk, limit_ratio, quantile) keep the rows
 * and look at them step by step.
 */
#ifndef NLT_PROMQL_PQL_AGGR_H
#define NLT_PROMQL_PQL_AGGR_H

#include "nlt_pql_rows.h"

/* The operator of an AGGR plan node. */
NLT_CHECKED nlt_rc_t nlt_pql_open_aggr(nlt_pql_ctx_t *ctx,
                                       const nlt_pql_plan_t *plan,
                                       nlt_pql_iter_t **out);

/* Its parts that keep rows (nlt_pql_aggr_rows.c). */
NLT_CHECKED nlt_rc_t nlt_pql_open_aggr_rows(nlt_pql_ctx_t *ctx,
                                            const nlt_pql_plan_t *plan,
                                            nlt_pql_iter_t **out);

/*
 * Number of the row's group, and whether it is new; rows of a group mark it
 * for delayed removal of the name.  The memo is one of its own for each table
 * and grouping.  For both parts.
 */
NLT_CHECKED nlt_rc_t nlt_pql_aggr_group(nlt_pql_ctx_t *ctx,
                                        const nlt_pql_grouping_t *g,
                                        nlt_pql_memo_t *memo,
                                        nlt_pql_table_t *table,
                                        const nlt_pql_row_t *row,
                                        uint32_t *group, bool *added);

#endif

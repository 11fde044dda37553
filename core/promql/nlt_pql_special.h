/*
 * nlt_pql_special.h - functions that are no pure function of a value or a
 * window.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_eval.
 *
 * They look across series (absent, scalar, sort, histogram_quantile, info),
 * at labels (label_replace, label_join), or at the query itself (time, step).
 * nlt_pql_open_special() of nlt_pql_eval.h chooses.
 */
#ifndef NLT_PROMQL_PQL_SPECIAL_H
#define NLT_PROMQL_PQL_SPECIAL_H

#include "nlt_pql_rows.h"

/* label_replace, label_join: nlt_pql_special_label.c */
NLT_CHECKED nlt_rc_t nlt_pql_open_label(nlt_pql_ctx_t *ctx,
                                        const nlt_pql_plan_t *plan,
                                        nlt_pql_iter_t **out);

/* sort, sort_desc, sort_by_label(_desc): nlt_pql_special_sort.c */
NLT_CHECKED nlt_rc_t nlt_pql_open_sort(nlt_pql_ctx_t *ctx,
                                       const nlt_pql_plan_t *plan,
                                       nlt_pql_iter_t **out);

/* histogram_quantile, _quantiles, _fraction: nlt_pql_special_hist.c */
NLT_CHECKED nlt_rc_t nlt_pql_open_hist(nlt_pql_ctx_t *ctx,
                                       const nlt_pql_plan_t *plan,
                                       nlt_pql_iter_t **out);

/* info: nlt_pql_special_info.c */
NLT_CHECKED nlt_rc_t nlt_pql_open_info(nlt_pql_ctx_t *ctx,
                                       const nlt_pql_plan_t *plan,
                                       nlt_pql_iter_t **out);

#endif

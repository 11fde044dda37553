/*
 * nlt_pql_duration.h - values of durations that are expressions.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_ast.
 * Contract: messages.md E29 of the project's reference.
 *
 * Most durations are literals whose milliseconds the parser knows.  An
 * expression such as [step() * 2] or offset (range() / 4) has to wait until
 * the step and the range of the query are known; the plan then asks here.
 * Arithmetic is in seconds and doubles, as in Prometheus, and only the
 * result is rounded to milliseconds.
 */
#ifndef NLT_PROMQL_PQL_DURATION_H
#define NLT_PROMQL_PQL_DURATION_H

#include "nlt_pql_ast.h"

/*
 * The milliseconds of d.
 *   step_ms, range_ms  of the query: step() and range(); 0 for an instant
 *                      query
 * d->positive (set by the parser for ranges and steps of subqueries) says
 * whether zero and less are errors.  NLT_EINVAL with the text
 * "4:10: division by zero" and the like, where the numbers are the byte
 * offsets of the expression's start and end (not line and column), as
 * Prometheus has them; *ms is unchanged then.  O(size of the expression).
 */
NLT_CHECKED nlt_rc_t nlt_pql_duration_resolve(const nlt_pql_duration_t *d,
                                              int64_t step_ms,
                                              int64_t range_ms, int64_t *ms,
                                              nlt_err_t *err);

#endif

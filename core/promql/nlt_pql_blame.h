/*
 * nlt_pql_blame.h - which of several evaluation errors is the one to tell.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_eval.
 *
 * Prometheus evaluates a node over all steps before it looks at the node
 * above, and a node step by step; so of several errors it tells that of the
 * deepest node in its order, at the earliest step.  This evaluator works by
 * series and meets another one first.  A query that has failed is therefore
 * looked at again: each node is evaluated alone, in Prometheus's order, until
 * one fails; its first failing step is found by bisection.
 *
 *     a + b * c    fails somewhere:  a?  b?  c?  b * c? <- this one
 *                                    steps 0..63?  0..31?  16..23? ... 19
 *
 * That costs a few evaluations more, of parts of the query, and happens only
 * to queries that fail.
 */
#ifndef NLT_PROMQL_PQL_BLAME_H
#define NLT_PROMQL_PQL_BLAME_H

#include "nlt_pql_eval.h"

/* Evaluates a plan to its end and forgets the result; of the whole query. */
typedef nlt_rc_t (*nlt_pql_drain_t)(nlt_pql_ctx_t *ctx,
                                    const nlt_pql_plan_t *plan);

/*
 * Sets ctx->err to the error that Prometheus tells, after an evaluation of
 * plan that ended with NLT_EEXEC and ctx->err set.  The grids of the plan are
 * changed and put back.  Where the search itself fails (time, memory) the
 * error stays.  root evaluates the whole query, with what is done after its
 * last node.  Cost: evaluations of each node and log2(steps) more.
 */
void
nlt_pql_blame(nlt_pql_ctx_t *ctx, nlt_pql_plan_t *plan, nlt_pql_drain_t root);

#endif

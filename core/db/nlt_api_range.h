/*
 * nlt_api_range.h - large answers of query_range, a few series at a time.
 *
 * Floor 4 (db); uses nlt_api_flow, nlt_walk, promql.
 *
 * A dashboard's answer is small, and is evaluated as a whole.  But `m` over
 * 11,000 steps and a thousand series are 500 MB of JSON, and of values still
 * 90 MB, which would be held as long as the client takes to read them.
 *
 * Where each series of the answer is made of one series of the store alone,
 * nothing has to be held: the query is evaluated for some series, these are
 * rendered and sent, and then the next ones.  That is so for a selector, for
 * functions of one value or one range of it, and for arithmetic of these with
 * numbers, and it is what large answers are: aggregations are small.
 *
 *     source of the store:   a b c d e f g ...      in order, by a walk
 *     slice that PromQL sees: [a b c]               one part
 *                                   [d e f]         the next
 *
 * The order of the answer is that of its labels.  Functions drop the metric
 * name; so the walk goes by labels without it, and only where a matcher says
 * that there is one name, so that no two series end up with the same labels.
 *
 * What it costs: an error that is met after the first part can only be told
 * by breaking off.  So such an answer is only made of what is large.
 */
#ifndef NLT_DB_API_RANGE_H
#define NLT_DB_API_RANGE_H

#include "nlt_api.h"

/* Values of an answer, in bytes, from which on it is made in parts. */
#define NLT_API_RANGE_LARGE (4u << 20)

/* Values of one part: 64 Ki of them, some 2 MB of JSON. */
#define NLT_API_RANGE_PART 65536

/*
 * Answers q, which has all but text's tree, source and deadline set, in parts,
 * and returns true; or returns false, and nothing has been answered: it is not
 * of that kind, not large, or wrong.  A view may then be open.
 */
bool nlt_api_range_in_parts(nlt_api_t *a, const nlt_pql_query_t *q);

#endif

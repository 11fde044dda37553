/*
 * nlt_pql.h - running a PromQL query: the door of this folder.
 *
 * Floor 3 (promql); uses base, model.
 * Threads: a query belongs to one thread, and others help it if there is help
 * (nlt_pql_crew.h); any number run at once.
 *
 * parse -> check -> plan (read-only) -> evaluate (state mirrors the plan).
 * Evaluation is series-major (D9): each series is computed over all steps in
 * one pass before the next one is looked at, so an aggregation holds its
 * output, not its input.  Everything is in the caller's pool, whose budget
 * is the query's memory limit; destroying the pool ends the query.
 */
#ifndef NLT_PROMQL_PQL_H
#define NLT_PROMQL_PQL_H

#include "nlt_env.h"
#include "nlt_help.h"
#include "nlt_pql_parse.h"
#include "nlt_source.h"
#include "nlt_value.h"

typedef struct {
    nlt_str_t text;
    bool instant; /* start == end, result keeps its own type */
    int64_t t_start_ms;
    int64_t t_end_ms;         /* >= start */
    int64_t step_ms;          /* > 0; instant: anything */
    int64_t lookback_ms;      /* > 0; 5 minutes by default */
    int64_t subquery_step_ms; /* default step of subqueries; 1 minute */
    uint64_t samples_max;     /* held at once; 50 million by default */
    uint64_t series_max;      /* of all selectors together; 0: any number */
    unsigned features;        /* nlt_pql_features_t */
    int64_t deadline_ns;      /* of env->mono_ns, or 0: none */
    bool exact_stats;         /* samples_seen and samples_peak are looked at:
                                 read also what does not decide the result */
    int64_t timeout_ms;       /* what the deadline came from, for texts */
    const int *cancel;        /* another thread sets it; or NULL */
    const nlt_env_t *env;
    const nlt_source_t *source;
    const nlt_help_t *help; /* for parts of it (nlt_pql_crew.h); or NULL */
} nlt_pql_query_t;

typedef struct {
    uint64_t samples_read; /* samples that the source handed over */
    uint64_t samples_seen; /* by all steps, as Prometheus counts: one for a
                              value, all for a range; what is below a
                              subquery only when that is the whole query.
                              Less without exact_stats */
    uint64_t samples_peak; /* most samples held at once */
    uint64_t series_read;
    uint64_t series_selected; /* by all selectors together */
    uint64_t helpers;         /* that were asked for and not refused */
    int64_t prepare_ns;       /* text to plan */
    int64_t eval_ns;          /* plan to result, sorting included */
    int64_t sort_ns;          /* of a range query's result */
} nlt_pql_stats_t;

/*
 * Runs the query.  *out, the annotations and the statistics are in the pool.
 * An instant query answers scalar, string, vector (unsorted as Prometheus
 * leaves it, but sort() and topk keep theirs) or matrix (raw samples); a
 * range query always a matrix, sorted by labels.  Series without any value
 * are left out.
 *
 *   NLT_EINVAL    parse, type and preparation errors: HTTP 400, wrapped by
 *                 the API as invalid parameter "query"
 *   NLT_EEXEC     evaluation errors (messages.md part 2): 422
 *   NLT_ELIMIT    too many samples or series: 422
 *   NLT_ENOMEM    over the memory limit: 422, text names the limit
 *   NLT_ETIMEOUT  503; NLT_ECANCELED 499
 *   NLT_EIO, NLT_EDATA, NLT_EBUG  500
 *
 * err always has the text when the result is not NLT_OK.
 */
NLT_CHECKED nlt_rc_t nlt_pql_run(nlt_pool_t *pool, const nlt_pql_query_t *q,
                                 nlt_value_t *out, nlt_annots_t *annots,
                                 nlt_pql_stats_t *stats, nlt_err_t *err);

#endif

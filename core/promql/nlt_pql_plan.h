/*
 * nlt_pql_plan.h - from the syntax tree to what will be computed.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_ast.
 * Threads: a finished plan is never written again.
 *
 * The tree says what was written; the plan says when things are evaluated:
 *
 *   - every node has its grid: the steps at which it has values.  That is
 *     the query's own, but below a subquery the subquery's, and below ONCE a
 *     single step;
 *   - offset and @ are resolved, so a selector knows at which time it reads
 *     for each step, and which span of time it needs from the source;
 *   - what has the same value at every step (an @ in all its selectors) is
 *     put below a ONCE node: computed at one step, repeated for the others;
 *   - parentheses and unary plus are gone.
 *
 *     rate(m[5m] offset 1m) - n @ 60         steps 600s, 610s, .. 1200s
 *
 *     BINARY -                grid 600s..1200s
 *       |-- CALL rate
 *       |     `-- RANGE m     offset 60s, range 300s, fetch (240s, 1140s]
 *       `-- ONCE
 *             `-- SELECT n    grid of one step, always at 60s,
 *                             fetch (60s - lookback, 60s]
 */
#ifndef NLT_PROMQL_PQL_PLAN_H
#define NLT_PROMQL_PQL_PLAN_H

#include "nlt_pql.h"
#include "nlt_pql_func.h"

/* Steps: t0_ms, t0_ms + step_ms, ...; n of them. */
typedef struct {
    int64_t t0_ms;
    int64_t step_ms; /* > 0 */
    size_t n;        /* 0 only below a subquery whose range has no step */
} nlt_pql_grid_t;

typedef enum {
    NLT_PQL_P_NUMBER,
    NLT_PQL_P_STRING,
    NLT_PQL_P_SELECT,   /* instant vector */
    NLT_PQL_P_RANGE,    /* range vector: below a CALL, or the root */
    NLT_PQL_P_SUBQUERY, /* likewise; kid 0 has a grid of its own */
    NLT_PQL_P_CALL,     /* kids: the arguments */
    NLT_PQL_P_AGGR,     /* kids: operand, then the parameter if any */
    NLT_PQL_P_BINARY,   /* kids: left, right */
    NLT_PQL_P_NEGATE,
    NLT_PQL_P_ONCE
} nlt_pql_plan_kind_t;

/* When a selector or subquery looks, for each step of its grid. */
typedef struct {
    nlt_matcher_t *matchers; /* compiled; of the selector, else none */
    size_t n_matchers;
    bool fixed;        /* @: the same time at every step, ... */
    int64_t fixed_ms;  /* ... this one, offset included */
    int64_t offset_ms; /* not fixed: the time is step time - offset_ms */
    int64_t range_ms;  /* windows are (time - range, time]; SELECT: 0 */
    int64_t before_ms; /* windows reach this much further back ... */
    int64_t after_ms;  /* ... and ahead: anchored, smoothed */
    int64_t t_min_ms;  /* what is wanted from the source, inclusive */
    int64_t t_max_ms;
    bool anchored, smoothed;
} nlt_pql_fetch_t;

typedef struct nlt_pql_plan_s nlt_pql_plan_t;

struct nlt_pql_plan_s {
    nlt_pql_plan_kind_t kind;
    const nlt_pql_node_t *ast; /* of ONCE: that of its kid */
    nlt_pql_grid_t grid;
    nlt_pql_plan_t **kids;
    size_t n_kids;
    uint64_t repeat; /* how many steps of the query have what a step here
                        has: below ONCE many, below a subquery 0,
                        if it is not the whole query */
    bool in_param;   /* somewhere in the parameter of an aggregation */
    uint32_t rank;   /* in the order of Prometheus's evaluation: below first */
    nlt_pql_fetch_t fetch; /* SELECT, RANGE, SUBQUERY */
};

/*
 * Makes the plan of a checked tree for q's time range, in the pool.
 * Matchers are compiled: nlt_pql_plan_release() must be called before the
 * pool goes, also after an error.  NLT_EINVAL: a duration expression that
 * has no value, or a regex that does not compile; NLT_ENOMEM.  O(nodes).
 */
NLT_CHECKED nlt_rc_t nlt_pql_plan(nlt_pool_t *pool, const nlt_pql_query_t *q,
                                  nlt_pql_node_t *ast, nlt_pql_plan_t **out,
                                  nlt_err_t *err);

/*
 * Where notes about the i-th argument of a CALL point, in Prometheus's eyes:
 * inside of its parentheses, but at them when only the argument is the same
 * at all steps (its plan puts a node around them, though not in parameters of
 * aggregations); of a subquery, which is evaluated to a new node there, at
 * the very beginning.  O(nodes below).
 */
int32_t nlt_pql_arg_pos(const nlt_pql_plan_t *call, size_t i);

/* The i-th kid in the order in which Prometheus evaluates them. */
nlt_pql_plan_t *nlt_pql_plan_kid(const nlt_pql_plan_t *plan, size_t i);

/* What a note of this node at this position is about. */
static inline nlt_pql_place_t
nlt_pql_place(const nlt_pql_plan_t *plan, int32_t pos)
{
    return (nlt_pql_place_t){pos, plan->rank};
}

/* Gives back what the compiled matchers hold; NULL is allowed. */
void nlt_pql_plan_release(nlt_pql_plan_t *plan);

/* Sums that stop at the ends of int64 instead of wrapping. */
static inline int64_t
nlt_pql_t_add(int64_t a, int64_t b)
{
    int64_t r;

    if (__builtin_add_overflow(a, b, &r)) {
        return b > 0 ? INT64_MAX : INT64_MIN;
    }
    return r;
}

static inline int64_t
nlt_pql_t_sub(int64_t a, int64_t b)
{
    int64_t r;

    if (__builtin_sub_overflow(a, b, &r)) {
        return b > 0 ? INT64_MIN : INT64_MAX;
    }
    return r;
}

/* Time of step i; i < g->n. */
static inline int64_t
nlt_pql_step(const nlt_pql_grid_t *g, size_t i)
{
    return (int64_t) ((uint64_t) g->t0_ms
                      + (uint64_t) i * (uint64_t) g->step_ms);
}

/* Time of the last step; g->n > 0. */
static inline int64_t
nlt_pql_last_step(const nlt_pql_grid_t *g)
{
    return nlt_pql_step(g, g->n - 1);
}

/* The time at which a selector looks for a step of time t_ms. */
static inline int64_t
nlt_pql_fetch_at(const nlt_pql_fetch_t *f, int64_t t_ms)
{
    return f->fixed ? f->fixed_ms : nlt_pql_t_sub(t_ms, f->offset_ms);
}

#endif

/*
 * nlt_pql_edges.h - where the windows of a series begin and end.
 *
 * Floor 3 (promql); uses base, nlt_pql_eval, nlt_pql_func.
 *
 * Series of one scrape have the same times, and often follow each other.  So
 * the times of a series are kept with what was found out about them, and
 * compared with those of the next one, which costs a fraction of finding it
 * out again.
 */
#ifndef NLT_PROMQL_PQL_EDGES_H
#define NLT_PROMQL_PQL_EDGES_H

#include "nlt_pql_eval.h"

/* One of an operator (and of a thread); zeroed before it is opened. */
typedef struct {
    uint32_t *lo, *hi; /* of each step; see nlt_pql_steps_t */
    uint64_t n_seen;   /* samples in all windows together */
    size_t n_steps;
    /* Times that all this is of; NULL: none. */
    int64_t *t_ms;
    size_t n;
    size_t cap;
    nlt_pql_stretch_t stretch; /* factor is NULL: nothing is kept */
} nlt_pql_edges_t;

/*
 * Makes room for n_steps > 0 in the query's pool; stretches: of the function
 * that is going to look at the windows.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_pql_edges_open(nlt_pql_ctx_t *ctx, size_t n_steps,
                                        bool stretches, nlt_pql_edges_t *e);

/*
 * Sets lo, hi and stretch of s, whose other fields are set, and n_seen.
 * O(n_steps), or O(n) when times are compared or are not evenly spaced.
 */
void
nlt_pql_edges_find(nlt_pql_ctx_t *ctx, nlt_pql_edges_t *e, nlt_pql_steps_t *s);

#endif

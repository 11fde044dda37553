/*
 * nlt_pql_change.h - rate, increase and delta of one window (internal).
 *
 * Floor 3 (promql); uses base, nlt_pql_fn.
 *
 * They extrapolate: the samples of a window seldom reach its edges, so the
 * difference of the outermost ones is stretched to them, unless a gap of more
 * than 1.1 average distances says that the series began or ended inside, and
 * never so far that a counter would have been negative.
 */
#ifndef NLT_PROMQL_PQL_CHANGE_H
#define NLT_PROMQL_PQL_CHANGE_H

#include "nlt_pql_fn.h"

typedef enum {
    NLT_PQL_DELTA,
    NLT_PQL_INCREASE,
    NLT_PQL_RATE
} nlt_pql_change_t;

/* Seconds as Go converts a duration: whole ones and the rest apart. */
static inline double
nlt_pql_seconds_of(int64_t ms)
{
    return (double) (ms / 1000) + (double) (ms % 1000 * 1000000) / 1e9;
}

/* The outermost samples of a window of n >= 2, and its edges. */
typedef struct {
    int64_t start_ms, end_ms;
    int64_t first_ms, last_ms;
    size_t n;
    double first;   /* value */
    double change;  /* first to last, resets of a counter made up for */
    double range_s; /* of RATE */
} nlt_pql_reach_t;

/* The change stretched to the window's edges. */
static inline double
nlt_pql_stretched(const nlt_pql_reach_t *r, nlt_pql_change_t kind)
{
    double to_start = (double) (r->first_ms - r->start_ms) / 1000;
    double to_end = (double) (r->end_ms - r->last_ms) / 1000;
    double span = (double) (r->last_ms - r->first_ms) / 1000;
    double average = span / (double) (r->n - 1);
    double threshold = average * 1.1;

    if (to_start >= threshold) {
        to_start = average / 2;
    }
    if (kind != NLT_PQL_DELTA && r->change > 0 && r->first >= 0) {
        double to_zero = span * (r->first / r->change);

        to_start = to_zero < to_start ? to_zero : to_start;
    }
    if (to_end >= threshold) {
        to_end = average / 2;
    }

    double factor = (span + to_start + to_end) / span;

    if (kind == NLT_PQL_RATE) {
        factor /= r->range_s;
    }
    return r->change * factor;
}

/* A16: notes that a name does not look like a counter's, if it does not. */
void nlt_pql_note_counter(nlt_pql_fctx_t *f, nlt_str_t name);

#endif

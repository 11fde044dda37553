/*
 * nlt_xor_plan.h - which windows the look-ahead encoder takes.
 *
 * Floor 2 (codec); for nlt_xor.c.
 * Memory: the caller's.  Threads: none of its own.
 *
 * What matters are the changing values of a chunk; a run of them shares one
 * window, whose cost is
 *
 *     11 bits for a new window + length * (2 + width)
 *
 * with the narrowest window that covers the run.  A dynamic program over run
 * ends finds the cheapest cut into runs of a bounded length; joining a run to
 * the window before it, where that covers it, is tried as well, so that a
 * long run of equal windows is not cut at every bound.  Of equal costs the
 * shortest last run is taken, and of these a new window: plans are the same
 * on every machine.
 */
#ifndef NLT_CODEC_XOR_PLAN_H
#define NLT_CODEC_XOR_PLAN_H

#include "nlt_types.h"

/* Changing values planned at a time. */
#define NLT_XOR_PLAN_MAX 1024

/* Runs of up to so many are tried side by side where there is SSE2. */
#define NLT_XOR_PLAN_RUN 17

/* Leading zeros in the low byte, trailing ones in the high one. */
typedef uint16_t nlt_xor_window_t;

#define NLT_XOR_WINDOW_NONE UINT16_MAX /* covers nothing */

static inline nlt_xor_window_t
nlt_xor_window(unsigned leading, unsigned trailing)
{
    return (nlt_xor_window_t) (leading | trailing << 8);
}

typedef struct {
    nlt_xor_window_t window[NLT_XOR_PLAN_MAX];
    /* Of the best way to have encoded the first k values: the window that it
     * leaves, and where its last run began. */
    nlt_xor_window_t end[NLT_XOR_PLAN_MAX + 1];
    uint16_t from[NLT_XOR_PLAN_MAX + 1];
} nlt_xor_plan_t;

/*
 * Plans n values, at most NLT_XOR_PLAN_MAX.  In window[] is the narrowest
 * that covers each of them, afterwards the one to use for it; before is the
 * one that is in use.  Runs are of at most run_max (1..65) values.  With
 * NLT_XOR_PLAN_RUN and SSE2 10 ns a value.
 */
void nlt_xor_plan(nlt_xor_plan_t *p, size_t n, nlt_xor_window_t before,
                  unsigned run_max);

/* The same, one run after the other: what the above is tested against. */
void nlt_xor_plan_plainly(nlt_xor_plan_t *p, size_t n, nlt_xor_window_t before,
                          unsigned run_max);

#endif

/*
 * nlt_intervals.h - intervals of time that are deleted.
 *
 * Floor 3 (store); uses base, model.
 *
 * Joined intervals are an array, ascending, with a gap of at least one
 * millisecond between neighbours; most series have none, and few have many.
 */
#ifndef NLT_STORE_INTERVALS_H
#define NLT_STORE_INTERVALS_H

#include "nlt_source.h"

/* Inclusive. */
typedef struct {
    int64_t t_min_ms;
    int64_t t_max_ms;
} nlt_interval_t;

/*
 * Sorts n intervals and joins those that touch or overlap; returns how many
 * are left, ascending, with a gap of at least one millisecond between them.
 */
size_t nlt_intervals_join(nlt_interval_t *v, size_t n);

/* Index of the first of n joined intervals that ends at t or later, or n. */
size_t nlt_intervals_find(const nlt_interval_t *v, size_t n, int64_t t_ms);

/* Do n joined intervals cover all of [t_min_ms, t_max_ms]?  O(log n). */
bool nlt_intervals_cover(const nlt_interval_t *v, size_t n, int64_t t_min_ms,
                         int64_t t_max_ms);

/*
 * Takes the samples from index `from` on that lie in one of n joined
 * intervals out of s; O(samples + n).
 */
void nlt_intervals_cut(const nlt_interval_t *v, size_t n, nlt_samples_t *s,
                       size_t from);

#endif

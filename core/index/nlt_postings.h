/*
 * nlt_postings.h - set operations over sorted lists of series numbers.
 *
 * Floor 2 (index); uses base.
 * Memory: caller's arrays, or a pool.  Threads: none of its own.
 *
 * A postings list is an array of uint32, strictly ascending.  Matchers become
 * intersections, unions and differences of such lists.  Lists of one query
 * often differ in length by a factor of a thousand (one metric against one
 * datacentre), so the shorter list leads and the longer is searched by
 * galloping: steps of 1, 2, 4, ... from where the last hit was, then bisection
 * inside the last step.  That costs O(short * log(long / short)), and is
 * never much worse than a merge; for lists of like length a merge is used.
 */
#ifndef NLT_INDEX_POSTINGS_H
#define NLT_INDEX_POSTINGS_H

#include "nlt_mem.h"

typedef struct {
    const uint32_t *v; /* n of them, strictly ascending */
    size_t n;
} nlt_postings_t;

/*
 * Index of the first element >= x at or after `from` (n if there is none).
 * O(log of the distance).
 */
size_t nlt_postings_seek(const uint32_t *v, size_t n, size_t from, uint32_t x);

/*
 * Elements of both a and b into out (room for the shorter of both; out may
 * be a.v or b.v itself).  Returns how many.
 */
size_t
nlt_postings_intersect(nlt_postings_t a, nlt_postings_t b, uint32_t *out);

/* Elements of a that are not in b into out (room for a.n; may be a.v). */
size_t
nlt_postings_subtract(nlt_postings_t a, nlt_postings_t b, uint32_t *out);

/* Elements of a or b into out (room for a.n + b.n; neither a.v nor b.v). */
size_t nlt_postings_union(nlt_postings_t a, nlt_postings_t b, uint32_t *out);

/*
 * Elements of any of n lists, in the pool; *out may borrow lists[i].v when
 * there is only one that is not empty.  Overwrites lists[].  Merges pairwise:
 * O(total * log n); many lists of numbers that lie together are united by a
 * bit for each, in O(total).  False when the pool is out of memory.
 */
NLT_CHECKED bool
nlt_postings_union_many(nlt_pool_t *pool, nlt_postings_t *lists, size_t n,
                        nlt_postings_t *out);

#endif

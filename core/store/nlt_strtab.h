/*
 * nlt_strtab.h - unique strings with dense numbers, and sorting by number.
 *
 * Floor 3 (store); uses base.
 * Threads: none of its own.  Memory: a pool.
 *
 * Flush ranks the strings of an arena once, so that sorting a million series
 * compares small integers; the source unites label names and values of
 * several parts.  Both need the same thing: each string once, a number for
 * it, and the numbers in the order of the strings.
 */
#ifndef NLT_STORE_STRTAB_H
#define NLT_STORE_STRTAB_H

#include "nlt_mem.h"

typedef struct {
    nlt_pool_t *pool;
    nlt_str_t *v;   /* the strings, borrowed, by number */
    uint32_t *hash; /* low half of their hashes */
    size_t n;
    size_t cap;
    uint32_t *slot; /* number + 1, or 0 */
    size_t n_slots; /* a power of two, at least twice n */
} nlt_strtab_t;

/* An empty table; pool is retained, and all memory is in it. */
void nlt_strtab_init(nlt_strtab_t *t, nlt_pool_t *pool);

/*
 * Number of s, a new one if it is new.  s is borrowed as long as the table
 * lives.  *is_new may be NULL.  false: the pool is out of budget.  O(1).
 */
NLT_CHECKED bool
nlt_strtab_add(nlt_strtab_t *t, nlt_str_t s, uint32_t *no, bool *is_new);

/* Numbers in ascending order of their strings, in the pool; NULL: no room. */
uint32_t *nlt_strtab_order(const nlt_strtab_t *t);

/*
 * The same for any n strings, equal ones in the order in which they come;
 * needs 32 bytes a string for the time.  O(n log n), some 30 ns each if they
 * differ in a few places.
 */
uint32_t *nlt_strings_order(nlt_pool_t *pool, const nlt_str_t *v, size_t n);

/*
 * Sorts n numbers in place, stably, by cmp (< 0, 0, > 0); tmp has room for n.
 * O(n log n) whatever the input.  poll, when not NULL, is asked now and then
 * and ends the sort with its code.
 */
NLT_CHECKED nlt_rc_t nlt_sort_u32(uint32_t *v, size_t n, uint32_t *tmp,
                                  int (*cmp)(const void *ctx, uint32_t a,
                                             uint32_t b),
                                  const void *ctx, nlt_rc_t (*poll)(void *ctx),
                                  void *poll_ctx);

#endif

/*
 * nlt_mem.h - where memory comes from: allocators and budgeted pools.
 *
 * Floor 0 (base); uses nlt_types, nlt_rc.
 * Threads: an nlt_mem_t may be shared by threads if its functions may; a pool
 * belongs to one thread at a time.
 *
 * Core never calls malloc.  Long-lived objects take an nlt_mem_t, an
 * allocator given by the embedding program; work that ends as a whole (a
 * query, a request, one flush) takes an nlt_pool_t: a bump allocator on top
 * of an nlt_mem_t which cannot exist without a budget, and which is given
 * back with one call.  A query that would need too much is thus stopped by
 * its own pool, not by the kernel.
 *
 *     pool --> [page 8K|used....free] --> [page 16K|used.......] --> ...
 *
 * Pages double from 8 KiB to 1 MiB; an allocation larger than half a page
 * gets a page of its own, so that resizing arrays by doubling wastes little.
 * The last pages before the budget's end are cut to what is left of it.
 */
#ifndef NLT_BASE_MEM_H
#define NLT_BASE_MEM_H

#include "nlt_rc.h"

typedef struct {
    /* Returns size bytes aligned for any type, or NULL.  size > 0. */
    void *(*alloc)(void *ctx, size_t size);
    /* Takes back what alloc returned for this size. */
    void (*free)(void *ctx, void *p, size_t size);
    void *ctx;
} nlt_mem_t;

/* The C library's allocator; for programs and tests. */
extern const nlt_mem_t nlt_mem_libc;

/* size bytes from mem, zeroed, or NULL.  Gives. */
void *nlt_mem_zalloc(const nlt_mem_t *mem, size_t size);

/* Gives p back; NULL is allowed. */
void nlt_mem_free(const nlt_mem_t *mem, void *p, size_t size);

typedef struct nlt_pool_page_s nlt_pool_page_t;

typedef struct {
    const nlt_mem_t *mem;
    nlt_pool_page_t *page; /* newest page; list of all behind it */
    nlt_pool_page_t *bump; /* the one that small allocations are cut from */
    uint64_t serial;       /* of the newest page ever */
    size_t used_bytes;     /* taken from mem, page headers included */
    size_t peak_bytes;     /* the most that used_bytes ever was */
    size_t budget_bytes;   /* used_bytes never exceeds it */
    size_t page_bytes;     /* of the next page */
    bool over_budget;      /* an allocation failed for the budget */
} nlt_pool_t;

/*
 * Makes an empty pool that will never take more than budget_bytes from mem.
 * Allocates nothing.  mem is retained until nlt_pool_deinit().
 */
void
nlt_pool_init(nlt_pool_t *pool, const nlt_mem_t *mem, size_t budget_bytes);

/* Gives all memory back; the pool is empty and usable again. */
void nlt_pool_deinit(nlt_pool_t *pool);

/*
 * size bytes aligned to 16, in the pool, or NULL when the budget (then
 * pool->over_budget is set) or mem is exhausted.  size 0 gives a valid
 * pointer to nothing.  O(1).
 */
void *nlt_pool_alloc(nlt_pool_t *pool, size_t size);

/* The same, zeroed. */
void *nlt_pool_zalloc(nlt_pool_t *pool, size_t size);

/* n elements of size bytes, overflow-checked; NULL as above. */
void *nlt_pool_array(nlt_pool_t *pool, size_t n, size_t size);

/*
 * A copy of p's first old_size bytes in room for new_size >= old_size; grows
 * in place when p was the last allocation of its page, and gives a large old
 * page back to mem.  NULL leaves p as it was.
 */
void *
nlt_pool_grow(nlt_pool_t *pool, void *p, size_t old_size, size_t new_size);

/* A copy of s in the pool; data is NULL when memory ran out and s.len > 0. */
nlt_str_t nlt_pool_str(nlt_pool_t *pool, nlt_str_t s);

/* A point to go back to; what is in it concerns nobody else. */
typedef struct {
    nlt_pool_page_t *page; /* bump page */
    size_t page_used;
    uint64_t serial;   /* newest page */
    size_t page_bytes; /* of the next page */
} nlt_pool_mark_t;

/*
 * Everything allocated after nlt_pool_mark() goes back at nlt_pool_rewind():
 * for scratch inside a long query.  Marks nest.  What was allocated before a
 * mark must not be grown between it and its rewind.
 */
nlt_pool_mark_t nlt_pool_mark(const nlt_pool_t *pool);

/* Back to the mark; the ones made after it are void.  O(pages given back). */
void nlt_pool_rewind(nlt_pool_t *pool, nlt_pool_mark_t mark);

#endif

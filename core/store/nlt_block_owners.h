/*
 * nlt_block_owners.h - the tenants that a block has series of.
 *
 * Floor 3 (store); uses nlt_block_tenant.
 * Threads: as nlt_block.h.
 *
 * The series of a tenant are neighbours in a block, those of tenant 0 behind
 * all others (nlt_block_tenant.h).  So a block is cut into a few ranges of
 * numbers, and whose a series is, is a search among them.
 */
#ifndef NLT_STORE_BLOCK_OWNERS_H
#define NLT_STORE_BLOCK_OWNERS_H

#include "nlt_block.h"

typedef struct {
    uint32_t tenant; /* UINT32_MAX: its number cannot be read */
    nlt_block_series_t last;
    size_t n_series;
} nlt_block_owner_t;

/*
 * The tenants other than 0 of a block, by their last series, in the pool;
 * none of one that is tenant 0's alone.  A pass over their postings.
 * NLT_EDATA, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_owners(const nlt_block_t *b, nlt_pool_t *pool,
                                      nlt_block_owner_t **out, size_t *n,
                                      nlt_err_t *err);

/* Whose series is it: index of the owner, or n: tenant 0's.  O(log n). */
size_t nlt_block_owner_of(const nlt_block_owner_t *v, size_t n,
                          nlt_block_series_t id);

#endif

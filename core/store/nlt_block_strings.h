/*
 * nlt_block_strings.h - names or values of the labels of series of a block.
 *
 * Floor 3 (store); uses nlt_block.
 * Threads: none of its own.  Memory: a pool.
 *
 * A label of a series is two numbers of symbols.  Many series share few, so a
 * bit for each symbol says whether its text was handed out, and no other text
 * is looked up:
 *
 *     nlt_block_strings_init(&s, block, &name, pool, err)
 *     nlt_block_strings_of(&s, ids, n, &to, err)      as often as liked
 */
#ifndef NLT_STORE_BLOCK_STRINGS_H
#define NLT_STORE_BLOCK_STRINGS_H

#include "nlt_block.h"

typedef struct {
    const nlt_block_t *b;
    bool names;    /* names, or values of one label */
    uint64_t name; /* number of its symbol + 1; 0: no series has it.  Of names,
                      that of the tenant's label, which is none */
    uint64_t *seen;
    size_t n_seen; /* bits */
} nlt_block_strings_t;

/*
 * For the values of *name, or, when it is NULL, the names of labels; never
 * those of the tenant's.  The bits are in the pool.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_strings_init(nlt_block_strings_t *s,
                                            const nlt_block_t *b,
                                            const nlt_str_t *name,
                                            nlt_pool_t *pool, nlt_err_t *err);

/* Where they go. */
typedef struct {
    /* Does series id count?  Asked only if it has a string that none before
     * had. */
    nlt_rc_t (*counts)(void *ctx, nlt_block_series_t id, bool *yes,
                       nlt_err_t *err);
    nlt_rc_t (*add)(void *ctx, nlt_str_t text);
    void *ctx;
} nlt_block_strings_to_t;

/*
 * Hands the strings that those of these n series have which count, and none
 * before had, to add().  They lie in the mapping.  NLT_EDATA, and what the
 * functions return.  About 50 ns a series in cache.
 */
NLT_CHECKED nlt_rc_t nlt_block_strings_of(nlt_block_strings_t *s,
                                          const nlt_block_series_t *id,
                                          size_t n,
                                          const nlt_block_strings_to_t *to,
                                          nlt_err_t *err);

#endif

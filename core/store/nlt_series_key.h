/*
 * nlt_series_key.h - keys of label sets, to tell which series of several parts
 * are one.
 *
 * Floor 3 (store); uses nlt_block, nlt_head.
 * Threads: none of its own.
 *
 * A series that lies in a block and in the head has its labels in both, as
 * numbers of symbols and as numbers of pairs, which mean nothing elsewhere.
 * Its key means the same everywhere: the sum, in two halves of 64 bits, of the
 * keyed hashes (nlt_head_key()) of its pairs of name and value.
 *
 *     key {a="1", b="2"} = H(a, 1) + H(b, 2)
 *
 * Equal label sets have equal keys; two others have them no more often than
 * 128 random bits, and who writes series cannot aim at that without the secret
 * of the head.  It is by such keys, of fewer bits, that the head tells series
 * apart (docs/formats/head.md).
 *
 * Series share most of their pairs, so the hashes of those that were met are
 * kept, each at a place that its number gives: texts are looked up for the
 * others only.
 */
#ifndef NLT_STORE_SERIES_KEY_H
#define NLT_STORE_SERIES_KEY_H

#include "nlt_block.h"
#include "nlt_head.h"

/* Hashes that are kept at most: 24 bytes each. */
#define NLT_SERIES_KEYS_KEPT 4096u

typedef struct nlt_series_keys_s {
    const nlt_head_ctl_t *ctl; /* whose secret it is */
    const nlt_block_t *block;  /* one of the two */
    const nlt_arena_t *arena;
    uint64_t tenant_name; /* number of the tenant's label in the block, or 0 */
    struct nlt_series_kept_s *kept;
    size_t n_kept; /* a power of two */
} nlt_series_keys_t;

/*
 * Room for hashes in the pool, enough for n series; begin() before the first
 * key.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_series_keys_init(nlt_series_keys_t *k,
                                          const nlt_head_ctl_t *ctl, size_t n,
                                          nlt_pool_t *pool);

/* From now on of this block, or of this arena; the other is NULL. */
void nlt_series_keys_begin(nlt_series_keys_t *k, const nlt_block_t *block,
                           const nlt_arena_t *arena);

/* Has what will be read for id[i] and some behind it come to the cache; keys
 * of all n are asked for in order. */
void nlt_series_keys_fetch(const nlt_series_keys_t *k, const uint32_t *id,
                           size_t n, size_t i);

/*
 * The key of series id, whatever its tenant.  NLT_EDATA.  Some 70 ns, and 50
 * for each pair that is not kept.
 */
NLT_CHECKED nlt_rc_t nlt_series_key(nlt_series_keys_t *k, uint32_t id,
                                    nlt_hash128_t *out, nlt_err_t *err);

#endif

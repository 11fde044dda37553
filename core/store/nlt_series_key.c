/*
 * nlt_series_key.c - see the header.
 */
#include "nlt_series_key.h"

#include "nlt_block_priv.h"
#include "nlt_block_tenant.h"
#include "nlt_head_pairs.h"

typedef struct nlt_series_kept_s {
    uint64_t no; /* of the pair + 1; 0: none is kept */
    nlt_hash128_t hash;
} kept_t;

#define KEPT_MIN 64u
#define PAIRS    8u /* of a series that others have not, at a guess */

nlt_rc_t
nlt_series_keys_init(nlt_series_keys_t *k, const nlt_head_ctl_t *ctl, size_t n,
                     nlt_pool_t *pool)
{
    *k = (nlt_series_keys_t){.ctl = ctl, .n_kept = KEPT_MIN};
    while (k->n_kept < NLT_SERIES_KEYS_KEPT && k->n_kept / PAIRS < n) {
        k->n_kept *= 2;
    }
    k->kept = nlt_pool_array(pool, k->n_kept, sizeof(*k->kept));
    return k->kept != NULL ? NLT_OK : NLT_ENOMEM;
}

void
nlt_series_keys_begin(nlt_series_keys_t *k, const nlt_block_t *block,
                      const nlt_arena_t *arena)
{
    k->block = block;
    k->arena = arena;
    k->tenant_name =
        block != NULL ? nlt_block_symbol(block, NLT_TENANT_NAME) : 0;
    memset(k->kept, 0, k->n_kept * sizeof(*k->kept));
}

/* Hash of a pair: of the hashes of both texts, which have any length. */
static nlt_hash128_t
pair_hash(const nlt_series_keys_t *k, nlt_str_t name, nlt_str_t value)
{
    const nlt_hash128_t both[2] = {
        nlt_head_key(k->ctl, 0, name.data, name.len),
        nlt_head_key(k->ctl, 0, value.data, value.len),
    };

    return nlt_head_key(k->ctl, 0, both, sizeof(both));
}

static inline void
add(nlt_hash128_t *sum, nlt_hash128_t h)
{
    sum->lo += h.lo;
    sum->hi += h.hi;
}

/* ---- blocks ---- */

/* Hash of a pair of symbols. */
static nlt_rc_t
add_symbols(nlt_series_keys_t *k, uint64_t name, uint64_t value,
            nlt_hash128_t *sum, nlt_err_t *err)
{
    uint64_t no = (name << 32 | value) + 1;
    kept_t *at =
        &k->kept[(value * 5 + name * UINT64_C(0x9e3779b1)) & (k->n_kept - 1)];
    nlt_str_t texts[2];
    nlt_rc_t rc;

    if (nlt_likely(at->no == no && (name | value) >> 32 == 0)) {
        add(sum, at->hash);
        return NLT_OK;
    }
    /* Numbers of more than 32 bits are refused here. */
    rc = nlt_index_file_symbol(k->block->index, name, &texts[0], err);
    if (rc == NLT_OK) {
        rc = nlt_index_file_symbol(k->block->index, value, &texts[1], err);
    }
    if (rc == NLT_OK) {
        *at = (kept_t){no, pair_hash(k, texts[0], texts[1])};
        add(sum, at->hash);
    }
    return rc;
}

static nlt_rc_t
block_key(nlt_series_keys_t *k, uint32_t id, nlt_hash128_t *out,
          nlt_err_t *err)
{
    nlt_index_series_t s;
    nlt_rc_t rc = nlt_index_series_open(k->block->index, id, &s, err);

    while (rc == NLT_OK && s.n_labels > 0) {
        uint64_t name, value;

        rc = nlt_index_series_refs(&s, &name, &value, err);
        if (rc == NLT_OK && name + 1 != k->tenant_name) {
            rc = add_symbols(k, name, value, out, err);
        }
    }
    return nlt_block_done(k->block, rc, err);
}

/* ---- arenas ---- */

static bool
add_pair(nlt_series_keys_t *k, uint32_t pair, nlt_hash128_t *sum)
{
    kept_t *at = &k->kept[pair & (k->n_kept - 1)];
    const nlt_arena_pair_t *p;

    if (nlt_unlikely(at->no != (uint64_t) pair + 1)) {
        p = nlt_arena_pair(k->arena, pair);
        if (p == NULL) {
            return false;
        }
        *at = (kept_t){(uint64_t) pair + 1,
                       pair_hash(k, nlt_arena_pair_name(k->arena, p),
                                 nlt_arena_pair_value(k->arena, p))};
    }
    add(sum, at->hash);
    return true;
}

static nlt_rc_t
arena_key(nlt_series_keys_t *k, uint32_t id, nlt_hash128_t *out,
          nlt_err_t *err)
{
    const nlt_arena_series_t *e = nlt_arena_series(k->arena, id);
    const nlt_arena_labels_t *l =
        e != NULL ? nlt_arena_labels_of(k->arena, e) : NULL;
    bool good = l != NULL;

    for (uint32_t i = 0; good && i < l->n; i++) {
        good = add_pair(k, l->pair[i], out);
    }
    return good ? NLT_OK
                : nlt_err_set(err, NLT_EDATA, "labels of series %u: %s", id,
                              nlt_rc_text(NLT_EDATA));
}

void
nlt_series_keys_fetch(const nlt_series_keys_t *k, const uint32_t *id, size_t n,
                      size_t i)
{
    if (k->arena != NULL) { /* those of blocks lie one behind the other */
        nlt_arena_labels_fetch(k->arena, id, n, i);
    }
}

nlt_rc_t
nlt_series_key(nlt_series_keys_t *k, uint32_t id, nlt_hash128_t *out,
               nlt_err_t *err)
{
    *out = (nlt_hash128_t){0, 0};
    return k->block != NULL ? block_key(k, id, out, err)
                            : arena_key(k, id, out, err);
}

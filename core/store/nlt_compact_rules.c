/*
 * nlt_compact_rules.c - deletes, tombstones and retention as intervals of
 * each series.
 */
#include "nlt_compact_priv.h"

size_t
nlt_compact_budget(const nlt_compact_source_t *sources, size_t n,
                   const nlt_delete_list_t *deletes)
{
    size_t bytes = (size_t) 64 << 20;
    size_t rules = deletes ? deletes->n : 0;

    for (size_t i = 0; i < n; i++) {
        bytes += (4 + rules) * sources[i].block->index_map.len;
    }
    return bytes;
}

/* How many tombstones a series of the block has at most. */
static size_t
most_tombstones(const nlt_block_t *b)
{
    const nlt_tombstones_t *t = &b->tombstones;
    size_t most = 0;

    for (size_t i = 0; i < t->n; i++) {
        size_t n = t->first[i + 1] - t->first[i];

        most = n > most ? n : most;
    }
    return most;
}

/* The borders of tenants, for the block's series. */
static nlt_rc_t
find_owners(nlt_compact_rules_t *r, const nlt_compact_conf_t *conf,
            nlt_pool_t *keep, nlt_err_t *err)
{
    nlt_rc_t rc =
        nlt_block_owners(r->block, keep, &r->owners, &r->n_owners, err);

    if (rc != NLT_OK || r->n_owners == 0 || conf->tenant_oldest == NULL) {
        return rc;
    }
    r->owner_oldest =
        nlt_pool_array(keep, r->n_owners, sizeof(*r->owner_oldest));
    if (r->owner_oldest == NULL) {
        return nlt_err_set(err, NLT_ENOMEM,
                           "compaction: no memory for tenants");
    }
    for (size_t i = 0; i < r->n_owners; i++) {
        r->owner_oldest[i] =
            conf->tenant_oldest(conf->tenant_ctx, r->owners[i].tenant);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_compact_rules_init(nlt_compact_rules_t *r, nlt_cutter_t *cutter,
                       const nlt_compact_source_t *source,
                       const nlt_compact_conf_t *conf, nlt_pool_t *keep,
                       nlt_err_t *err)
{
    nlt_rc_t rc;

    *r = (nlt_compact_rules_t){.block = source->block,
                               .tenant = conf->tenant,
                               .t_oldest_ms = conf->t_oldest_ms};
    rc = nlt_cutter_block(cutter, keep, source->block, source->info.arena,
                          source->info.deletes, NULL, &r->cuts, err);
    if (rc == NLT_OK) {
        size_t n = NLT_DELETES_MAX + 1 + most_tombstones(r->block);

        r->v = nlt_pool_array(keep, n, sizeof(*r->v));
        rc = r->v ? NLT_OK
                  : nlt_err_set(err, NLT_ENOMEM,
                                "compaction: no memory for deletes");
    }
    return rc == NLT_OK
                   && (conf->tenant_oldest != NULL || conf->tenant != NULL)
               ? find_owners(r, conf, keep, err)
               : rc;
}

/* Oldest time that stays of a series. */
static int64_t
oldest_of(const nlt_compact_rules_t *r, uint32_t id)
{
    size_t i = nlt_block_owner_of(r->owners, r->n_owners, id);

    return i < r->n_owners && r->owner_oldest != NULL ? r->owner_oldest[i]
                                                      : r->t_oldest_ms;
}

bool
nlt_compact_rules_want(const nlt_compact_rules_t *r, uint32_t id)
{
    size_t i;

    if (r->tenant == NULL) {
        return true;
    }
    i = nlt_block_owner_of(r->owners, r->n_owners, id);
    return (i < r->n_owners ? r->owners[i].tenant : 0) == *r->tenant;
}

void
nlt_compact_rules_series(nlt_compact_rules_t *r, uint32_t id)
{
    size_t n = nlt_cuts_of(&r->cuts, id, r->v), n_dead;
    int64_t oldest = oldest_of(r, id);
    const nlt_interval_t *dead =
        nlt_tombstones_of(&r->block->tombstones, id, &n_dead);

    for (size_t i = 0; i < n_dead; i++) {
        r->v[n++] = dead[i];
    }
    if (oldest > r->block->meta.t_min_ms) {
        r->v[n++] = (nlt_interval_t){INT64_MIN, oldest - 1};
    }
    r->n = n > 1 ? nlt_intervals_join(r->v, n) : n;
}

nlt_compact_fate_t
nlt_compact_rules_chunk(const nlt_compact_rules_t *r, int64_t *t_min_ms,
                        int64_t *t_max_ms)
{
    nlt_compact_fate_t fate = NLT_COMPACT_CHUNK_STAYS;

    for (size_t i = nlt_intervals_find(r->v, r->n, *t_min_ms);
         i < r->n && r->v[i].t_min_ms <= *t_max_ms; i++) {
        const nlt_interval_t *iv = &r->v[i];

        if (iv->t_min_ms <= *t_min_ms && iv->t_max_ms >= *t_max_ms) {
            return NLT_COMPACT_CHUNK_GONE;
        }
        fate = NLT_COMPACT_CHUNK_CUT;
        if (iv->t_min_ms <= *t_min_ms) {
            *t_min_ms = iv->t_max_ms + 1;
        } else if (iv->t_max_ms >= *t_max_ms) {
            *t_max_ms = iv->t_min_ms - 1;
        }
    }
    return fate;
}

nlt_rc_t
nlt_compact_is_dirty(const nlt_env_t *env, const nlt_compact_source_t *source,
                     const nlt_delete_list_t *deletes, bool *dirty,
                     nlt_err_t *err)
{
    nlt_cutter_t cutter;
    nlt_cuts_t cuts;
    nlt_pool_t pool;
    nlt_rc_t rc;

    *dirty = false;
    nlt_pool_init(&pool, env->mem, nlt_compact_budget(source, 1, deletes));
    nlt_cutter_init(&cutter, env->mem, deletes, NLT_TENANTS_ALL);
    rc = nlt_cutter_block(&cutter, &pool, source->block, source->info.arena,
                          source->info.deletes, NULL, &cuts, err);
    for (size_t i = 0; rc == NLT_OK && i < cuts.n && !*dirty; i++) {
        const nlt_cut_t *cut = &cuts.v[i];

        for (size_t k = 0; rc == NLT_OK && k < cut->n && !*dirty; k++) {
            rc = nlt_block_overlaps(source->block, cut->id[k],
                                    cut->interval.t_min_ms,
                                    cut->interval.t_max_ms, dirty, err);
        }
    }
    nlt_cutter_deinit(&cutter);
    nlt_pool_deinit(&pool);
    return rc == NLT_OK ? nlt_block_intact(source->block, err) : rc;
}

/*
 * nlt_helper_expire.c - blocks that a tenant's own retention has passed.
 *
 * A merge leaves out what is past a tenant's border, but a large block is not
 * merged any more.  So a block in which all samples of a tenant are past is
 * written anew without them, as one under a delete is; each block at most once
 * for each retention there is.
 *
 * When that will be is known as soon as the tenants of a block are: the end of
 * the block, less the difference between the retentions, compared with the
 * border of the store.  So a block is looked into once, when it is new.
 */
#include "nlt_helper_priv.h"

#include "nlt_block_owners.h"
#include "nlt_compact.h"
#include "nlt_tenant_keep.h"

#define LOOK_MS    10000
#define POOL_BYTES ((size_t) 1 << 30)

/* May one be written anew, of which nothing is known yet? */
#define NOT_KNOWN INT64_MIN

int64_t
nlt_helper_tenant_border(void *ctx, uint32_t tenant)
{
    const nlt_helper_t *h = ctx;
    const nlt_tenant_keeps_t keeps = nlt_store_keeps(&h->conf);

    return nlt_tenant_border(&keeps, nlt_head_tenants(h->head), tenant,
                             atomic_load(&nlt_helper_ctl(h)->t_oldest_ms));
}

/* The store's border at which the first of a block's tenants is past. */
static nlt_rc_t
first_due(nlt_helper_t *h, const nlt_manifest_block_t *info, int64_t *due,
          nlt_err_t *err)
{
    const nlt_tenant_keeps_t keeps = nlt_store_keeps(&h->conf);
    nlt_block_owner_t *v;
    nlt_block_t *b;
    nlt_pool_t pool;
    size_t n = 0;
    nlt_rc_t rc =
        nlt_block_open(h->env, h->dir.blocks_fd, info->ulid.c, &b, err);

    *due = INT64_MAX;
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_pool_init(&pool, h->env->mem, POOL_BYTES);
    rc = nlt_block_owners(b, &pool, &v, &n, err);
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        int64_t less = keeps.store_ms
                       - nlt_tenant_keep_ms(&keeps, nlt_head_tenants(h->head),
                                            v[i].tenant);

        if (less > 0) {
            *due = nlt_min_i64(*due, info->t_end_ms - less);
        }
    }
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
    return rc;
}

/* What was found out about a block before, or NULL. */
static const nlt_helper_expiry_t *
known(const nlt_helper_t *h, const nlt_ulid_t *ulid)
{
    for (size_t i = 0; i < h->expire.n; i++) {
        if (strcmp(h->expire.v[i].ulid.c, ulid->c) == 0) {
            return &h->expire.v[i];
        }
    }
    return NULL;
}

/* Brings h->expire.v up to the MANIFEST. */
static nlt_rc_t
survey(nlt_helper_t *h, nlt_err_t *err)
{
    size_t n = h->manifest.n_blocks;
    nlt_helper_expiry_t *v =
        n > 0 ? nlt_mem_zalloc(h->env->mem, n * sizeof(*v)) : NULL;
    nlt_rc_t rc = NLT_OK;

    if (v == NULL && n > 0) {
        return nlt_err_set(err, NLT_ENOMEM, "retention: no memory");
    }
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        const nlt_manifest_block_t *b = &h->manifest.blocks[i];
        const nlt_helper_expiry_t *was = known(h, &b->ulid);
        nlt_err_t why;

        v[i] = (nlt_helper_expiry_t){b->ulid, was ? was->due_ms : NOT_KNOWN};
        if (was == NULL) {
            /* A block that cannot be read is others' to find out. */
            if (first_due(h, b, &v[i].due_ms, &why) != NLT_OK) {
                v[i].due_ms = INT64_MAX;
            }
            rc = nlt_helper_poll_cb(h);
        }
    }
    if (rc != NLT_OK) {
        nlt_mem_free(h->env->mem, v, n * sizeof(*v));
        return rc;
    }
    nlt_helper_expire_end(h);
    h->expire.v = v;
    h->expire.n = n;
    return NLT_OK;
}

void
nlt_helper_expire_end(nlt_helper_t *h)
{
    nlt_mem_free(h->env->mem, h->expire.v, h->expire.n * sizeof(*h->expire.v));
    h->expire.v = NULL;
    h->expire.n = 0;
}

nlt_rc_t
nlt_helper_expire(nlt_helper_t *h, bool *did, nlt_err_t *err)
{
    int64_t border = atomic_load(&nlt_helper_ctl(h)->t_oldest_ms);
    bool any = false, *dirty;
    nlt_pool_t pool;
    nlt_rc_t rc;

    *did = false;
    if (h->conf.n_tenant_keeps == 0
        || !nlt_helper_older(h, h->expire.looked_ns, LOOK_MS)) {
        return NLT_OK;
    }
    rc = survey(h, err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_pool_init(&pool, h->env->mem, NLT_MANIFEST_BLOCKS_MAX + 65536);
    dirty = nlt_pool_zalloc(&pool, h->expire.n + 1);
    for (size_t i = 0; dirty != NULL && i < h->expire.n; i++) {
        dirty[i] = h->expire.v[i].due_ms <= border;
        any |= dirty[i];
    }
    if (any) {
        rc = nlt_helper_compact(h, dirty, did, err);
    }
    if (!*did) {
        h->expire.looked_ns = nlt_mono_ns(h->env);
    }
    nlt_pool_deinit(&pool);
    return dirty == NULL && h->expire.n > 0
               ? nlt_err_set(err, NLT_ENOMEM, "retention: no memory")
               : rc;
}

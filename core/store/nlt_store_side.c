/*
 * nlt_store_side.c - exemplars and metadata, as queries see them.
 */
#include "nlt_head_side.h"
#include "nlt_store_priv.h"

/* A stash that is being replaced is asked for again; once is the rule. */
#define TRIES 3

static nlt_rc_t
not_ready(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOTREADY, "the store is not ready");
}

nlt_rc_t
nlt_store_exemplars(nlt_store_t *s, const nlt_exemplar_query_t *q,
                    nlt_pool_t *pool, nlt_exemplar_series_t **out, size_t *n,
                    nlt_err_t *err)
{
    nlt_head_t *head = nlt_store_hold_for(s, q->tenant);
    nlt_rc_t rc = NLT_ENOTREADY;

    *out = NULL;
    *n = 0;
    if (head == NULL) {
        return not_ready(err);
    }
    for (int i = 0; i < TRIES && rc == NLT_ENOTREADY; i++) {
        nlt_stash_t *stash = nlt_head_exemplars(head);

        rc = stash == NULL ? NLT_OK
                           : nlt_exemplars_select(stash, q, pool, out, n, err);
    }
    nlt_store_let_go(s);
    return rc == NLT_ENOTREADY ? not_ready(err) : rc;
}

nlt_rc_t
nlt_store_metadata(nlt_store_t *s, uint32_t tenant, nlt_str_t name,
                   nlt_pool_t *pool, nlt_metadata_list_t *out, nlt_err_t *err)
{
    nlt_head_t *head = nlt_store_hold_for(s, tenant);
    nlt_rc_t rc = NLT_ENOTREADY;

    *out = (nlt_metadata_list_t){.n = 0};
    if (head == NULL) {
        return not_ready(err);
    }
    for (int i = 0; i < TRIES && rc == NLT_ENOTREADY; i++) {
        nlt_stash_t *stash = nlt_head_metadata(head);

        rc = stash == NULL
                 ? NLT_OK
                 : nlt_metadata_list(stash, tenant, name, pool, out, err);
    }
    nlt_store_let_go(s);
    return rc == NLT_ENOTREADY ? not_ready(err) : rc;
}

void
nlt_store_gauge_side(nlt_head_t *head, nlt_store_gauges_t *out)
{
    const nlt_stash_t *x = nlt_head_exemplars(head);
    const nlt_stash_t *m = nlt_head_metadata(head);

    if (x != NULL) {
        out->exemplars = atomic_load(&x->hdr->n_items);
        out->exemplar_series = atomic_load(&x->hdr->n_groups);
        out->exemplar_bytes = nlt_stash_reserved(x);
        out->exemplars_evicted = atomic_load(&x->hdr->evicted);
    }
    if (m != NULL) {
        out->metadata_families = atomic_load(&m->hdr->n_groups);
        out->metadata_evicted = atomic_load(&m->hdr->evicted);
    }
}

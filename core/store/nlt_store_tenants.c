/*
 * nlt_store_tenants.c - tenants as administrators see them: list, delete.
 */
#include "nlt_store_tenants.h"

#include "nlt_store_priv.h"

static nlt_rc_t
not_ready(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOTREADY, "the store is not ready");
}

uint32_t
nlt_store_find_tenant(nlt_store_t *s, nlt_str_t name, uint64_t *term)
{
    nlt_head_t *head = nlt_store_hold(s);
    uint32_t number;

    *term = 0;
    if (head == NULL) {
        return NLT_TENANT_UNKNOWN;
    }
    *term = nlt_head_ctl(head)->term;
    number = nlt_tenants_find(nlt_head_tenants(head), name);
    nlt_store_let_go(s);
    return number != 0 ? number : NLT_TENANT_NOBODY;
}

bool
nlt_store_hold_tenant(nlt_store_t *s, uint64_t term)
{
    return nlt_store_hold_term(s, term) != NULL;
}

void
nlt_store_release_tenant(nlt_store_t *s)
{
    nlt_store_let_go(s);
}

nlt_str_t
nlt_store_tenant_name(nlt_store_t *s, uint32_t tenant, nlt_pool_t *pool)
{
    nlt_head_t *head = nlt_store_hold(s);
    const nlt_tenant_t *slot;
    nlt_str_t name = {0, NULL};

    if (head != NULL) {
        slot = nlt_tenants_slot(nlt_head_tenants(head), tenant);
        if (slot != NULL) {
            name = nlt_pool_str(pool, nlt_tenant_name(slot));
        }
        nlt_store_let_go(s);
    }
    return name;
}

/* Series of a tenant in the arena where most of them are. */
static uint64_t
series_of(const nlt_head_view_t *v, uint32_t tenant)
{
    uint64_t most = 0, n;

    for (size_t i = 0; i < v->n; i++) {
        n = nlt_arena_tenant_series(v->arena[i], tenant);
        most = n > most ? n : most;
    }
    return most;
}

static nlt_rc_t
list(nlt_head_t *head, nlt_pool_t *pool, nlt_tenant_info_t **out, size_t *n,
     nlt_err_t *err)
{
    const nlt_tenants_t *t = nlt_head_tenants(head);
    uint32_t end = nlt_tenants_end(t);
    size_t cap = (size_t) nlt_tenants_count(t) + 1;
    nlt_head_view_t view;

    *out = nlt_pool_array(pool, cap, sizeof(**out));
    if (*out == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "no memory for a list of tenants");
    }
    nlt_head_pin(head, &view);
    for (uint32_t no = 0; no < end && *n < cap; no++) {
        nlt_tenant_t *slot = nlt_tenants_slot(t, no);

        if (slot != NULL && nlt_tenants_lives(t, no)) {
            (*out)[(*n)++] = (nlt_tenant_info_t){
                .number = no,
                .name = nlt_pool_str(pool, nlt_tenant_name(slot)),
                .series = series_of(&view, no),
                .samples = atomic_load(&slot->counters.samples),
                .created_ms = slot->created_ms,
                .written_ms = atomic_load(&slot->counters.written_ms),
                .queried_ms = atomic_load(&slot->counters.queried_ms),
            };
        }
    }
    nlt_head_unpin(head, &view);
    return NLT_OK;
}

nlt_rc_t
nlt_store_list_tenants(nlt_store_t *s, nlt_pool_t *pool,
                       nlt_tenant_info_t **out, size_t *n, nlt_err_t *err)
{
    nlt_head_t *head = nlt_store_hold(s);
    nlt_rc_t rc;

    *out = NULL;
    *n = 0;
    if (head == NULL) {
        return not_ready(err);
    }
    rc = list(head, pool, out, n, err);
    nlt_store_let_go(s);
    return rc;
}

/* The helper has written TENANTS without it; else NLT_AGAIN. */
static nlt_rc_t
is_saved(nlt_store_t *s, uint64_t changes, nlt_err_t *err)
{
    nlt_head_t *head = nlt_store_hold(s);
    nlt_rc_t rc;

    if (head == NULL) {
        return not_ready(err);
    }
    rc = atomic_load(&nlt_head_tenants(head)->hdr->saved) >= changes
             ? NLT_OK
             : NLT_AGAIN;
    nlt_store_let_go(s);
    return rc;
}

/*
 * The head is held to the end: number and count of changes are its own, and
 * mean nothing in the next one.
 */
nlt_rc_t
nlt_store_remove_tenant(nlt_store_t *s, nlt_str_t name,
                        const nlt_store_wait_t *wait, nlt_err_t *err)
{
    /* Every series has another name than this, or none. */
    nlt_matcher_t all = {NLT_MATCH_NE, NLT_METRIC_NAME, NLT_STR("\x01"), NULL};
    nlt_delete_set_t set = {&all, 1};
    nlt_delete_t d = {.t_min_ms = INT64_MIN,
                      .t_max_ms = INT64_MAX,
                      .sets = &set,
                      .n_sets = 1};
    nlt_head_t *head = nlt_store_hold(s);
    uint64_t changes = 0;
    nlt_rc_t rc;

    if (head == NULL) {
        return not_ready(err);
    }
    rc = nlt_tenants_remove(nlt_head_tenants(head), name, &d.tenant, err);
    if (rc == NLT_OK) {
        changes = atomic_load(&nlt_head_tenants(head)->hdr->changes);
        rc = nlt_store_delete(s, &d, wait, err);
    }
    while (rc == NLT_OK) {
        rc = is_saved(s, changes, err);
        if (rc != NLT_AGAIN) {
            break;
        }
        rc = wait->pause(wait->ctx);
        if (rc != NLT_OK) {
            rc = nlt_err_set(err, rc, "the tenant is being deleted");
        }
    }
    nlt_store_let_go(s);
    return rc;
}

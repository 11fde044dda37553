/*
 * nlt_store_tenants.h - tenants of an open store.
 *
 * Floor 3 (store); uses nlt_store, nlt_tenants.
 */
#ifndef NLT_STORE_STORE_TENANTS_H
#define NLT_STORE_STORE_TENANTS_H

#include "nlt_store.h"
#include "nlt_tenants.h"

/*
 * The table of tenants, NULL while not ready; for writers, who may make one,
 * and begin their request in the same event.
 */
nlt_tenants_t *nlt_store_tenants(nlt_store_t *s);

/*
 * Number of a tenant for a reader: NLT_TENANT_NOBODY, of whom there is
 * nothing, when there is no such tenant.  NLT_TENANT_UNKNOWN when the store is
 * not ready: whatever is asked for it is NLT_ENOTREADY, also afterwards.
 *
 * The number is that of one head, whose term is *term.  A head that comes
 * after it is made of what was saved and logged, and a number that was
 * neither may be somebody else's there: who uses it later does so between
 * nlt_store_hold_tenant() and nlt_store_release_tenant().  [any]
 */
uint32_t nlt_store_find_tenant(nlt_store_t *s, nlt_str_t name, uint64_t *term);

/*
 * Keeps the head of that term (0: whichever it is), so that what is asked of
 * the store meanwhile is asked of it, or is NLT_ENOTREADY.  false: it is not
 * the store's any more, and nothing is to be released.  Whoever holds it keeps
 * this process from having the next one.  [any]
 */
NLT_CHECKED bool nlt_store_hold_tenant(nlt_store_t *s, uint64_t term);
void nlt_store_release_tenant(nlt_store_t *s);

/* Name of a tenant, in the pool; empty: it has none, or there is none.  [any]
 */
nlt_str_t
nlt_store_tenant_name(nlt_store_t *s, uint32_t tenant, nlt_pool_t *pool);

typedef struct {
    uint32_t number;
    nlt_str_t name;     /* empty: the default tenant */
    uint64_t series;    /* in the arena that has most of them */
    uint64_t samples;   /* accepted by this head */
    int64_t created_ms; /* or when this head learned of it; 0: default */
    int64_t written_ms; /* last accepted request; 0: none by this head */
    int64_t queried_ms; /* likewise */
} nlt_tenant_info_t;

/* All that live, by number; in the pool.  NLT_ENOTREADY, NLT_ENOMEM.  [any] */
NLT_CHECKED nlt_rc_t nlt_store_list_tenants(nlt_store_t *s, nlt_pool_t *pool,
                                            nlt_tenant_info_t **out, size_t *n,
                                            nlt_err_t *err);

/*
 * Deletes a tenant: the name is free at once, what was written under it is
 * deleted as by nlt_store_delete(), metadata and exemplars go with it, and
 * that all is durable is waited for. Who writes under the name again is
 * another tenant.  NLT_ENOENT: there is no such tenant; else as
 * nlt_store_delete(), when the name is free all the same. [any thread]
 */
NLT_CHECKED nlt_rc_t nlt_store_remove_tenant(nlt_store_t *s, nlt_str_t name,
                                             const nlt_store_wait_t *wait,
                                             nlt_err_t *err);

#endif

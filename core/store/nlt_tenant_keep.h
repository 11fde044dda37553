/*
 * nlt_tenant_keep.h - how long the samples of a tenant are kept.
 *
 * Floor 3 (store); uses nlt_tenants.
 * Threads: [any]; reads a configuration and the table of tenants.
 *
 * A store has one retention; a tenant may have a shorter one of its own.  It
 * is configuration, by the tenant's name, so every process knows it and a
 * reload changes it.  What it means:
 *
 *   - a view of the tenant begins at its border: nothing older is answered
 *   - a merge leaves out of each series what its tenant's border has passed
 *   - a block in which all of a tenant's samples are past is written anew
 *     without them (nlt_helper_expire.c)
 *
 * The border of a tenant is that of the store, moved by the difference of the
 * two: it follows min(now, newest sample) as that one does (D12).
 */
#ifndef NLT_STORE_TENANT_KEEP_H
#define NLT_STORE_TENANT_KEEP_H

#include "nlt_tenants.h"

typedef struct {
    nlt_str_t name; /* of the tenant; empty: of all others but tenant 0 */
    int64_t ms;     /* > 0 */
} nlt_tenant_keep_t;

typedef struct {
    const nlt_tenant_keep_t *v; /* by name, each once */
    size_t n;
    int64_t store_ms; /* retention of the store: of who has none, or more */
} nlt_tenant_keeps_t;

/* Puts them in the order that the functions here rely on. */
void nlt_tenant_keeps_sort(nlt_tenant_keep_t *v, size_t n);

/* How long; store_ms for tenant 0.  O(log n). */
int64_t nlt_tenant_keep_ms(const nlt_tenant_keeps_t *k,
                           const nlt_tenants_t *tenants, uint32_t tenant);

/*
 * Oldest time that is kept of the tenant, when that of the store is
 * t_oldest_ms (INT64_MIN: not known yet, then it is not, either).
 */
int64_t
nlt_tenant_border(const nlt_tenant_keeps_t *k, const nlt_tenants_t *tenants,
                  uint32_t tenant, int64_t t_oldest_ms);

#endif

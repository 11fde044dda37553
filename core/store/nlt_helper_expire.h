/*
 * nlt_helper_expire.h - the helper's part of the retention of tenants.
 *
 * Floor 3 (store); uses nlt_store, nlt_manifest.
 * Threads: the helper's.  See nlt_tenant_keep.h.
 */
#ifndef NLT_STORE_HELPER_EXPIRE_H
#define NLT_STORE_HELPER_EXPIRE_H

#include "nlt_manifest.h"
#include "nlt_store.h"

/* When a block is to be written anew without a tenant's samples. */
typedef struct {
    nlt_ulid_t ulid;
    int64_t due_ms; /* when the store's border is here; INT64_MAX: never */
} nlt_helper_expiry_t;

/* What is known of blocks; all zero: nothing. */
typedef struct {
    nlt_helper_expiry_t *v; /* n of them, those of the last look */
    size_t n;
    int64_t looked_ns; /* when nothing was due; 0: never */
} nlt_helper_expire_t;

/* Oldest time that is kept of a tenant; ctx is the helper, with a head. */
int64_t nlt_helper_tenant_border(void *ctx, uint32_t tenant);

/*
 * Writes one block anew of which a tenant's samples are past its retention,
 * if there is one; *did then.  Looks every ten seconds.  Errors as
 * nlt_helper_compact().
 */
NLT_CHECKED nlt_rc_t nlt_helper_expire(nlt_helper_t *h, bool *did,
                                       nlt_err_t *err);

/* Forgets what it knows of blocks. */
void nlt_helper_expire_end(nlt_helper_t *h);

#endif

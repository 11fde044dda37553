/*
 * nlt_helper_tenants.h - the helper's side of TENANTS.
 *
 * Floor 3 (store); uses nlt_helper_priv.
 * Threads: the helper's.
 *
 * Blocks have numbers of tenants.  Whose they are is in TENANTS, and that they
 * are given is in the MANIFEST too.  So if the file is lost, or is an old one
 * from a backup, what it does not name is nobody's: kept, said in the log, and
 * read by no one.  A MANIFEST of before format 3 does not have it; then all
 * blocks are looked into.
 */
#ifndef NLT_STORE_HELPER_TENANTS_H
#define NLT_STORE_HELPER_TENANTS_H

#include "nlt_helper_priv.h"

/*
 * Can TENANTS be read?  Asked before a head is made that would be of no use:
 * while there is none, workers look for the reason themselves.  Errors as of
 * nlt_helper_load_tenants().
 */
NLT_CHECKED nlt_rc_t nlt_helper_try_tenants(nlt_helper_t *h, nlt_err_t *err);

/*
 * TENANTS into a new head, and no number is given that blocks may have.
 * Errors are no start: nobody knows whose blocks are whose.
 */
NLT_CHECKED nlt_rc_t nlt_helper_load_tenants(nlt_helper_t *h, nlt_err_t *err);

/* All logs are replayed: says which tenants of blocks have no name. */
void nlt_helper_say_strays(nlt_helper_t *h);

/*
 * A head was found, which knows all names: a file that is missing, damaged or
 * older than the MANIFEST is written again soon.
 */
void nlt_helper_check_tenants(nlt_helper_t *h);

/* TENANTS, before blocks are committed, unless it is of now. */
NLT_CHECKED nlt_rc_t nlt_helper_save_tenants(nlt_helper_t *h, nlt_err_t *err);

/* Likewise, if one was deleted since: somebody waits for that. */
void nlt_helper_tend_tenants(nlt_helper_t *h);

#endif

/*
 * nlt_block_tenant.h - whose series a block has.
 *
 * Floor 3 (store); uses nlt_block.
 * Threads: as nlt_block.h.
 *
 * A block of ours may have series of several tenants.  Those of tenant 0, the
 * only one unless nightlight_tenant is configured, are as in any block; those
 * of another have one label more, NLT_TENANT_NAME, with its number:
 *
 *     ref   labels
 *      5    {"\0t"="12", __name__="up", job="a"}     tenant 12
 *      9    {"\0t"="3",  __name__="up", job="a"}     tenant 3
 *     12    {__name__="up", job="a"}                 tenant 0
 *
 * No other name begins with NUL: senders and imports with one are refused.  So
 * this label sorts before all others, the series of a tenant are neighbours,
 * and those of tenant 0 come last.  To compaction, checks and tombstones it is
 * a label like others; who answers a tenant uses the functions here, which
 * never let it be seen.
 */
#ifndef NLT_STORE_BLOCK_TENANT_H
#define NLT_STORE_BLOCK_TENANT_H

#include "nlt_block.h"

/* Room for a number as text, without NUL. */
#define NLT_TENANT_TEXT_BYTES 10

/* The number as text into buf; the string lies there. */
nlt_str_t nlt_tenant_text(uint32_t tenant, char buf[NLT_TENANT_TEXT_BYTES]);

/* The number of a text; UINT32_MAX, which no tenant has, of what is none. */
uint32_t nlt_tenant_of_text(nlt_str_t text);

/* The labels without the tenant's. */
nlt_labels_t nlt_tenant_strip(nlt_labels_t labels);

/* Has any label of it a name that begins with NUL? */
bool nlt_block_has_private(const nlt_block_t *b);

/* Has the block series of other tenants than 0? */
bool nlt_block_has_tenants(const nlt_block_t *b);

/*
 * As nlt_block_select_polled(), of the tenant's series alone.  A matcher of
 * the label above meets series that do not have it.
 */
NLT_CHECKED nlt_rc_t nlt_block_tenant_select(const nlt_block_t *b,
                                             nlt_pool_t *pool, uint32_t tenant,
                                             const nlt_matcher_t *matchers,
                                             size_t n_matchers,
                                             const nlt_block_poll_t *poll,
                                             nlt_block_series_t **out,
                                             size_t *n, nlt_err_t *err);

#endif

/*
 * nlt_ingest_side.h - exemplars and metadata of requests: gather, log, put.
 *
 * Floor 3 (store); uses nlt_ingest_priv, nlt_exemplars, nlt_metadata.
 * Threads: the event loop's.
 *
 *     begin(arena, tenant)
 *       exemplar, exemplar, metadata ...   checked; what is news is gathered
 *     end                                  one write to the log; then put
 *
 * Logged before put, unlike samples: what is in a stash is taken for known and
 * not logged again, so it must not be there unlogged.  What is known already,
 * nearly all of the metadata and what a sender repeats, ends at a look into
 * the stash; metadata of a series that said the same before (2.0) at a look
 * into a table of this process.
 *
 * Exemplars and metadata never fail a request on their own: a stash that is
 * not there or has no room costs them, and is counted.  The log can fail, and
 * then the request does.
 */
#ifndef NLT_STORE_INGEST_SIDE_H
#define NLT_STORE_INGEST_SIDE_H

#include "nlt_exemplars.h"
#include "nlt_ingest_priv.h"
#include "nlt_metadata.h"
#include "nlt_tenants.h"

/*
 * What follows is of this tenant; exemplars are of series of arena a.  What
 * was gathered and not ended is forgotten.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_side_begin(nlt_ingest_t *in, nlt_arena_t *a,
                                           uint32_t tenant);

/*
 * An exemplar of series number `series` of the arena; labels unsorted, not
 * checked.  Counted in the control page.
 */
nlt_exemplar_result_t
nlt_ingest_side_exemplar(nlt_ingest_t *in, uint32_t series,
                         nlt_labels_t labels, int64_t t_ms, uint64_t v_bits);

/* Metadata of a family; m->tenant is that of begin.  Invalid: counted. */
void nlt_ingest_side_metadata(nlt_ingest_t *in, const nlt_metadata_t *m);

/*
 * Did series number `series` say metadata with this hash, not 0, a moment ago?
 * If not, it counts as said from now on.  False now and then without a reason.
 */
bool nlt_ingest_side_said(nlt_ingest_t *in, uint32_t series, uint32_t hash);

/*
 * Logs and puts what was gathered.  A write's number is in in->n_writes then:
 * *wrote.  Errors as nlt_ingest_log().
 */
NLT_CHECKED nlt_rc_t nlt_ingest_side_end(nlt_ingest_t *in, bool *wrote,
                                         nlt_err_t *err);

/* Begins a batch in the open log; after its commit: names are in the log. */
void nlt_ingest_log_begin(nlt_ingest_t *in);
void nlt_ingest_log_named(nlt_ingest_t *in);

/* Puts the name of a tenant into the batch, unless the log has it. */
void nlt_ingest_log_tenant(nlt_ingest_t *in, uint32_t tenant);

/*
 * (nlt_ingest_log.c)  Adds the record of a series of arena a, made from what
 * that knows of it, to the write that has begun.  pool and canonical are for
 * its use.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_log_series(nlt_ingest_t *in,
                                           const nlt_arena_t *a,
                                           uint32_t series, nlt_pool_t *pool,
                                           nlt_buf_t *canonical,
                                           nlt_err_t *err);

/* Frees what was kept; NULL is allowed. */
void nlt_ingest_side_free(nlt_ingest_t *in);

#endif

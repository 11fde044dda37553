/*
 * nlt_ingest_v2.h - remote_write 2.0: symbols, series and labels of a request.
 *
 * Floor 3 (store); uses nlt_ingest_priv.h.
 */
#ifndef NLT_STORE_INGEST_V2_H
#define NLT_STORE_INGEST_V2_H

#include "nlt_ingest_priv.h"

/* Notes the symbols.  NLT_OK: all; NLT_AGAIN; NLT_ECANCELED. */
NLT_CHECKED nlt_rc_t nlt_ingest_scan(nlt_ingest_req_t *r);

/* What is known of the symbols is of a from now on: before a walk goes on. */
void nlt_ingest_symbols_of(nlt_ingest_req_t *r, const nlt_arena_t *a);

/*
 * The next series becomes the current one, as nlt_rw_walk_next(): its number
 * in a, if it follows those before it, or else its key; and what is beside its
 * samples.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_next2(nlt_ingest_req_t *r,
                                      const nlt_arena_t *a, nlt_err_t *err);

/*
 * Labels of a series into s->labels, checked; *n is their number.  What
 * nlt_rw_labels() says, and BROKEN if a reference is bad: *err has the text.
 */
nlt_rw_labels_t
nlt_ingest_labels2(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
                   size_t *n, nlt_err_t *err);

/* Labels of a series as they came, unchecked, at most max; their number. */
size_t nlt_ingest_peek2(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
                        nlt_label_t *out, size_t max, bool *cut);

/* A series whose references are bad (NLT_INGEST_BAD_REFS) is a fault. */
nlt_rc_t
nlt_ingest_fault_refs(nlt_ingest_req_t *r, const nlt_ingest_series_t *e);

#endif

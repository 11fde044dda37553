/*
 * nlt_rw_side.h - what remote_write carries beside samples: exemplars, and
 * metadata of metrics.
 *
 * Floor 2 (wire); uses base, model, nlt_rw2.h.
 * Contract: remote_write 1.0 and 2.0.
 * Memory: caller's buffers, never allocates.  Threads: none of its own.
 *
 *   1.0   TimeSeries 3: Exemplar [1: Label]*, 2: value, 3: time
 *         WriteRequest 3: Metadata  1: type, 2: family, 4: help, 5: unit
 *   2.0   TimeSeries 4: Exemplar [1: labels_refs], 2: value, 3: time
 *         TimeSeries 5: Metadata   1: type, 3: help_ref, 4: unit_ref
 *
 * The bytes have been walked before (nlt_rw_walk_next(), nlt_rw2_walk_next()),
 * and the walk has checked them as protobuf; what is left to go wrong is a
 * reference that is not in the symbol table.  In 1.0 metadata is of the
 * request and names its metric family; in 2.0 it is of a series, whose metric
 * name says which family it is about.
 */
#ifndef NLT_WIRE_RW_SIDE_H
#define NLT_WIRE_RW_SIDE_H

#include "nlt_rw2.h"

/* ---- exemplars of one series ---- */

typedef struct {
    int64_t t_ms;
    uint64_t v_bits;
    size_t n_labels; /* all of them, also those that did not fit */
} nlt_rw_exemplar_t;

typedef struct {
    const uint8_t *p;
    const uint8_t *end;
    const nlt_rw2_symbols_t *symbols; /* NULL: 1.0 */
} nlt_rw_exemplars_t;

/*
 * Begins at the first exemplar of a series; body is its TimeSeries message
 * (nlt_rw_series_t.body).  symbols is NULL for 1.0, else retained.
 */
void nlt_rw_exemplars_init(nlt_rw_exemplars_t *it, nlt_str_t body,
                           const nlt_rw2_symbols_t *symbols);

/*
 * The next one.  Its labels go into labels[] as they came: unsorted, not
 * checked, empty and double ones too; at most max are kept, out->n_labels
 * counts all.
 *   NLT_EOF     there is none
 *   NLT_EINVAL  references are odd in number or not in the table, with
 *               Prometheus's text; the call after that has the next exemplar
 * Strings borrow from the request.
 */
NLT_CHECKED nlt_rc_t nlt_rw_exemplars_next(nlt_rw_exemplars_t *it,
                                           nlt_rw_exemplar_t *out,
                                           nlt_label_t *labels, size_t max,
                                           nlt_err_t *err);

/* ---- metadata ---- */

/* Types as both versions number them. */
enum {
    NLT_RW_UNKNOWN = 0,
    NLT_RW_COUNTER = 1,
    NLT_RW_GAUGE = 2,
    NLT_RW_HISTOGRAM = 3,
    NLT_RW_GAUGEHISTOGRAM = 4,
    NLT_RW_SUMMARY = 5,
    NLT_RW_INFO = 6,
    NLT_RW_STATESET = 7
};

typedef struct {
    uint32_t type;    /* of the above; any other number is the sender's own */
    nlt_str_t family; /* 1.0 only; empty in 2.0 */
    nlt_str_t help;   /* as they came: UTF-8 is not checked */
    nlt_str_t unit;
} nlt_rw_metadata_t;

/* Metadata of a 1.0 request, one after another. */
typedef struct {
    const uint8_t *p;
    const uint8_t *end;
} nlt_rw_metadata_iter_t;

/* Begins at the first of a decompressed 1.0 request. */
void nlt_rw_metadata_init(nlt_rw_metadata_iter_t *it, nlt_str_t request);

/* The next one; false at the end.  Strings borrow from the request. */
bool nlt_rw_metadata_next(nlt_rw_metadata_iter_t *it, nlt_rw_metadata_t *out);

/*
 * Metadata of a 2.0 series.  A series without a Metadata message has type 0
 * and symbol 0 as help and unit: the same as an empty message.  NLT_EINVAL
 * with Prometheus's text ("metadata unit_ref 7 outside of symbols table (size
 * 5)"): not in the table.
 */
NLT_CHECKED nlt_rc_t nlt_rw2_metadata(const nlt_rw2_symbols_t *symbols,
                                      const nlt_rw2_series_t *series,
                                      nlt_rw_metadata_t *out, nlt_err_t *err);

#endif

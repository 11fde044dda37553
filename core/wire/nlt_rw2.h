/*
 * nlt_rw2.h - walks a remote_write 2.0 request without decoding it.
 *
 * Floor 2 (wire); uses base, model, nlt_remote_write.h.
 * Contract: remote_write 2.0 (io.prometheus.write.v2.Request).
 * Memory: caller's buffers, never allocates.  Threads: none of its own.
 *
 * In 2.0 all strings of a request stand once in a symbol table, and series
 * name them by their index:
 *
 *   Request      [4: symbol]* [5: TimeSeries]*
 *   TimeSeries   [1: labels_refs: name value name value ...]
 *                [2: Sample]* [3: Histogram]* [4: Exemplar]* [5: Metadata]
 *   Sample       1: value, 2: time, 3: start of a counter (not kept)
 *
 *   symbols      ""  "__name__"  "up"  "job"  "node"
 *   labels_refs       1 2             3 4              is  {up, job="node"}
 *
 * Indexes are good for one request only: the next one may number its symbols
 * otherwise, so what stays the same is the bytes behind them.  The walker
 * hands out the numbers; who wants to know a series again compares bytes, or
 * hashes each symbol of a request once and then combines hashes.
 *
 * Fields may come in any order, symbols behind the series too.  So there are
 * two passes: a scan of the top level, which notes where each symbol lies,
 * and the walk from series to series.  References are plain numbers to the
 * walk; whether they are in the table is asked by who uses them.
 *
 * Field 6 of a TimeSeries, a creation time in old release candidates, is
 * skipped like any unknown field; fields 1 to 3 of the Request are those of
 * 1.0 and not ours, so that a body of the other version is an empty request.
 */
#ifndef NLT_WIRE_RW2_H
#define NLT_WIRE_RW2_H

#include "nlt_remote_write.h"

/* Where a symbol lies, from the start of the request. */
typedef struct {
    uint32_t off;
    uint32_t len;
} nlt_rw2_symbol_t;

/* The symbols of a request; borrows from it and from the caller's array. */
typedef struct {
    const char *request;
    const nlt_rw2_symbol_t *v;
    uint32_t n;
} nlt_rw2_symbols_t;

/* Symbol number ref, which must be below s->n. */
static inline nlt_str_t
nlt_rw2_symbol(const nlt_rw2_symbols_t *s, uint32_t ref)
{
    return (nlt_str_t){s->v[ref].len, s->request + s->v[ref].off};
}

/* A scan of the top level; resumable. */
typedef struct {
    const uint8_t *base;
    const uint8_t *p;
    const uint8_t *end;
    nlt_rw2_symbol_t *v; /* the caller's, which may exchange it for more */
    uint32_t n;
    uint32_t cap;
} nlt_rw2_scan_t;

/* Begins a scan; v and cap are to be set before the first step. */
void nlt_rw2_scan_init(nlt_rw2_scan_t *s, nlt_str_t request);

/*
 * Goes on for at most max fields.
 *   NLT_OK      the whole request is scanned: s->n symbols
 *   NLT_AGAIN   max fields done, more to come
 *   NLT_EFULL   s->cap symbols are noted and there is one more: give s->v and
 *               s->cap more room and call again
 *   NLT_EINVAL  broken protobuf, with text and position
 * About 2 ns a field.
 */
NLT_CHECKED nlt_rc_t nlt_rw2_scan(nlt_rw2_scan_t *s, uint32_t max,
                                  nlt_err_t *err);

/* One TimeSeries of 2.0. */
typedef struct {
    nlt_rw_series_t s;  /* labels is empty, n_labels n_refs / 2, samples as
                           in 1.0: nlt_rw_samples_init() takes it */
    uint32_t n_refs;    /* all of labels_refs, also what did not fit */
    uint32_t meta_type; /* of Metadata, 0 where there is none */
    uint32_t help_ref;
    uint32_t unit_ref;
} nlt_rw2_series_t;

typedef struct {
    const uint8_t *base;
    const uint8_t *p;
    const uint8_t *end;
    uint32_t *refs;    /* labels_refs of the series that was handed out last */
    uint32_t refs_cap; /* numbers beyond it are counted, not kept */
    uint32_t n_series; /* walked so far */
} nlt_rw2_walk_t;

/* Begins a walk; refs has room for refs_cap numbers. */
void nlt_rw2_walk_init(nlt_rw2_walk_t *w, nlt_str_t request, uint32_t *refs,
                       uint32_t refs_cap);

/*
 * The next series.  NLT_EOF at the end; NLT_EINVAL with Prometheus's text for
 * broken protobuf, whose position counts from the start of the request; then
 * the walk is over.  Everything in the series is checked but what references
 * point to.  About 1 ns a reference, 5 a sample.
 */
NLT_CHECKED nlt_rc_t nlt_rw2_walk_next(nlt_rw2_walk_t *w,
                                       nlt_rw2_series_t *out, nlt_err_t *err);

/*
 * One TimeSeries by itself, to come back to it: as nlt_rw_series_parse().
 * refs gets its labels_refs, at most refs_cap.
 */
NLT_CHECKED nlt_rc_t nlt_rw2_series_parse(nlt_str_t body, uint32_t *refs,
                                          uint32_t refs_cap,
                                          nlt_rw2_series_t *out,
                                          nlt_err_t *err);

/*
 * Labels behind n references, as they came, into out (room for n / 2).
 * NLT_EINVAL with Prometheus's text: an odd number of them, or one that is
 * not in the table; out has those before it then, and *n_out their number.
 */
NLT_CHECKED nlt_rc_t nlt_rw2_labels(const nlt_rw2_symbols_t *symbols,
                                    const uint32_t *refs, size_t n,
                                    nlt_label_t *out, size_t *n_out,
                                    nlt_err_t *err);

#endif

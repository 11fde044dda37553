/*
 * nlt_remote_write.h - walks a remote_write request without decoding it.
 *
 * Floor 2 (wire); uses base, model.
 * Contract: remote_write 1.0 (prometheus.WriteRequest), snappy block format.
 * Memory: caller's buffers, never allocates.  Threads: none of its own.
 *
 * The hot path (D7) wants three things of a TimeSeries: the bytes of its
 * labels as they came, to hash them; its samples; and nothing else.  So the
 * walker does not build objects.  It steps from series to series and hands
 * out where the label bytes lie; only a series that nobody has seen before
 * has its labels parsed, by nlt_rw_labels().
 *
 *   WriteRequest  [1: TimeSeries]* [3: metadata]*
 *   TimeSeries    [1: Label]* [2: Sample]* [3: exemplar]* [4: histogram]*
 *
 * Senders write fields in order, so the labels are one contiguous run and
 * the walk is one pass.  Protobuf allows any order and unknown fields; such
 * a series takes the slow way: its label fields are collected into scratch.
 * Everything is checked: lengths, wire types, varints.  protobuf-c is the
 * oracle the walker is fuzzed against.
 */
#ifndef NLT_WIRE_REMOTE_WRITE_H
#define NLT_WIRE_REMOTE_WRITE_H

#include "nlt_labels.h"
#include "nlt_bytes.h"
#include "nlt_sample.h"

/* One TimeSeries; borrows from the body (or scratch, see below). */
typedef struct {
    nlt_str_t labels; /* all label fields, tags included, in order */
    uint32_t n_labels;
    uint32_t n_samples;
    uint32_t n_exemplars;
    uint32_t n_histograms;
    nlt_str_t body;     /* the whole TimeSeries message */
    size_t samples_off; /* of the first sample field in body */
    uint32_t idx;       /* position in the request, from 0 */
    bool gathered;      /* labels lie in scratch, until the next series */
    int64_t t_ms;       /* the last sample, if there is one: most series */
    uint64_t v_bits;    /* have one, and need no second pass */
} nlt_rw_series_t;

typedef struct {
    const uint8_t *base; /* of the request: error positions count from it */
    const uint8_t *p;
    const uint8_t *end;
    char *scratch; /* for labels that are not contiguous */
    size_t scratch_cap;
    uint32_t n_series;   /* walked so far */
    uint32_t n_metadata; /* skipped so far */
} nlt_rw_walk_t;

/*
 * Begins a walk over a decompressed request.  scratch may be smaller than
 * any label set: then a non-contiguous one answers NLT_ETOOBIG.
 */
void nlt_rw_walk_init(nlt_rw_walk_t *w, nlt_str_t request, char *scratch,
                      size_t scratch_cap);

/*
 * The next series.  NLT_EOF at the end; NLT_EINVAL with Prometheus's text
 * for broken protobuf and the byte position; NLT_ETOOBIG when the labels are
 * scattered and longer than scratch.  After a failure the walk is over.
 * Checked: everything as protobuf, exemplars, histograms and metadata too;
 * only the insides of labels are left to nlt_rw_labels().  About 2 ns a label
 * and 5 ns a sample.
 */
NLT_CHECKED nlt_rc_t nlt_rw_walk_next(nlt_rw_walk_t *w, nlt_rw_series_t *out,
                                      nlt_err_t *err);

/*
 * One TimeSeries message by itself, as the walk does it: to come back to a
 * series (its body) after the walk has gone on.  idx is 0; err counts from
 * the start of body.  Results as nlt_rw_walk_next(), but never NLT_EOF.
 */
NLT_CHECKED nlt_rc_t nlt_rw_series_parse(nlt_str_t body, char *scratch,
                                         size_t scratch_cap,
                                         nlt_rw_series_t *out, nlt_err_t *err);

/* Steps through the samples of one series. */
typedef struct {
    const uint8_t *p;
    const uint8_t *end;
} nlt_rw_samples_t;

/* Begins at the first sample of s, which must come from a walk. */
void nlt_rw_samples_init(nlt_rw_samples_t *it, const nlt_rw_series_t *s);

/* The next sample; false at the end (the walk has checked the bytes). */
bool
nlt_rw_samples_next(nlt_rw_samples_t *it, int64_t *t_ms, uint64_t *v_bits);

/* Limits that a label set is held to (directives). */
typedef struct {
    uint32_t labels_max;
    uint32_t name_bytes_max;
    uint32_t value_bytes_max;
} nlt_rw_limits_t;

typedef enum {
    NLT_RW_LABELS_OK,
    NLT_RW_LABELS_INVALID,   /* no or invalid name, UTF-8: 1.0 answers 204
                                and skips the series */
    NLT_RW_LABELS_DUPLICATE, /* a name twice, else all well: the same */
    NLT_RW_LABELS_LIMIT,     /* over one of the limits: 400 */
    NLT_RW_LABELS_BROKEN     /* a Label message is broken protobuf: 400 */
} nlt_rw_labels_t;

/*
 * Parses, checks and sorts the labels of a series into out[] (room for
 * limits->labels_max); empty values are dropped.  *n is the count.  err says
 * what is wrong with which label ("label name \"a\" is not unique").
 * DUPLICATE leaves the sorted labels in out and *n at the second of the two.
 * Sets of more than NLT_SERIES_BYTES_MAX canonical bytes are over the limit,
 * whatever *limits says.  Labels with an empty value count for labels_max
 * and for uniqueness.  Strings of out borrow from s.  About 20 ns a label.
 */
nlt_rw_labels_t
nlt_rw_labels(const nlt_rw_series_t *s, const nlt_rw_limits_t *limits,
              nlt_label_t *out, size_t *n, nlt_err_t *err);

/*
 * The same for the usual label set only, in a third of the time: one whose
 * label fields are what nlt_rw_canonical() would make of it.  True: all is
 * well, out and *n are as nlt_rw_labels() has them, and s->labels are the
 * canonical bytes.  False: nothing is said about it; ask nlt_rw_labels().
 */
bool
nlt_rw_labels_usual(const nlt_rw_series_t *s, const nlt_rw_limits_t *limits,
                    nlt_label_t *out, size_t *n);

/*
 * The labels of canonical bytes that nlt_rw_labels_usual() has said yes to, or
 * that nlt_rw_canonical() has made: what they are is not checked again.  *n is
 * their number.  False: more than max, or longer than it knows.
 */
bool nlt_rw_labels_split(nlt_str_t canonical, nlt_label_t *out, size_t max,
                         size_t *n);

/*
 * Checks and sorts *n labels that lie in v already, as nlt_rw_labels() does,
 * but for the limit of their number; never BROKEN.
 */
nlt_rw_labels_t nlt_rw_labels_check(const nlt_rw_limits_t *limits,
                                    nlt_label_t *v, size_t *n, nlt_err_t *err);

/*
 * The first labels of a series, at most max, as they came: for messages about
 * a set that is refused.  Nothing is checked but framing; what is broken ends
 * the list.  Returns their number.
 */
size_t
nlt_rw_labels_peek(const nlt_rw_series_t *s, nlt_label_t *out, size_t max);

/* Bytes that nlt_rw_canonical() will append. */
size_t nlt_rw_canonical_len(nlt_labels_t labels);

/*
 * Appends the canonical bytes of a sorted label set: its remote_write 1.0
 * encoding, minimal varints.  Series records of the WAL and keys of the head
 * are made of it.
 */
void nlt_rw_canonical(nlt_buf_t *b, nlt_labels_t labels);

/*
 * Parses canonical bytes back; NLT_EDATA if they are not canonical (order,
 * duplicates, UTF-8, empty value).  out has room for max labels.
 */
NLT_CHECKED nlt_rc_t nlt_rw_canonical_parse(nlt_str_t bytes, nlt_label_t *out,
                                            size_t max, size_t *n);

/*
 * Length of a snappy block's content by its own header, believed only when
 * the body is long enough to hold it (at most 64 bytes come out of 3): so a
 * lying header allocates nothing.  NLT_EINVAL: not snappy ("s2: corrupt
 * input", also for an empty body); NLT_ETOOBIG over max.
 */
NLT_CHECKED nlt_rc_t nlt_snappy_length(nlt_str_t body, size_t max, size_t *out,
                                       nlt_err_t *err);

/* Decompresses all of body into out (n bytes, as nlt_snappy_length said). */
NLT_CHECKED nlt_rc_t nlt_snappy_decode(nlt_str_t body, char *out, size_t n,
                                       nlt_err_t *err);

/* Room that nlt_snappy_encode() needs for n bytes. */
size_t nlt_snappy_bound(size_t n);

/*
 * Compresses in into out (nlt_snappy_bound(in.len) bytes); the length.  0 if
 * the library fails, which it has no reason to.
 */
size_t nlt_snappy_encode(nlt_str_t in, char *out);

/*
 * Judges Content-Type and Content-Encoding (empty: header absent), before a
 * byte of the body is looked at.  NLT_OK: remote_write and snappy; NLT_ETYPE
 * with Prometheus's text (415).  *version is 1 or 2, also when it is the
 * encoding that is refused; 1 where the type does not say.
 */
NLT_CHECKED nlt_rc_t nlt_rw_negotiate(nlt_str_t content_type,
                                      nlt_str_t content_encoding, int *version,
                                      nlt_err_t *err);

#endif

/*
 * nlt_remote_read.h - requests and answers of remote_read on the wire.
 *
 * Floor 2 (wire); uses base, model, nlt_pb.
 * Contract: prometheus.ReadRequest, ReadResponse and ChunkedReadResponse.
 * Memory: the caller's pool and buffers.  Threads: none of its own.
 *
 *   ReadRequest  [1: Query]* [2: response type]*
 *   Query        1 start_ms  2 end_ms  [3: LabelMatcher]*  4 hints
 *   hints        1 step_ms 2 func 3 start_ms 4 end_ms [5 grouping]* 6 by
 *                7 range_ms
 *
 * A request comes from outside: every field is checked to lie inside of its
 * message, nothing is allocated before what it is for has been counted, and
 * there is no recursion.  protobuf-c is the oracle it is fuzzed against.
 *
 * There are two kinds of answers.  SAMPLES is one ReadResponse in one snappy
 * block, all of it: nlt_rr_pack_t compresses it as it grows, so that what is
 * held is never more than what is sent.  STREAMED_XOR_CHUNKS is a sequence of
 * frames, each with the chunks of one series:
 *
 *   uvarint length | crc32c, 4 bytes big-endian | ChunkedReadResponse
 */
#ifndef NLT_WIRE_REMOTE_READ_H
#define NLT_WIRE_REMOTE_READ_H

#include "nlt_buf.h"
#include "nlt_matcher.h"

/* Decompressed; one of ten thousand matchers is still far below. */
#define NLT_RR_REQUEST_MAX (16u << 20)

/* Content types of the two kinds of answers. */
#define NLT_RR_TYPE_SAMPLES "application/x-protobuf"
#define NLT_RR_TYPE_STREAMED                                                  \
    "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"

typedef enum {
    NLT_RR_SAMPLES = 0,
    NLT_RR_STREAMED = 1
} nlt_rr_type_t;

typedef struct {
    nlt_matcher_t *matchers; /* not compiled; names and values borrow */
    size_t n_matchers;
    int64_t t_start_ms; /* inclusive, as all of them */
    int64_t t_end_ms;
    bool has_hints;
    int64_t hint_start_ms; /* 0 when there are no hints */
    int64_t hint_end_ms;
    nlt_str_t func; /* "series": no samples are wanted */
} nlt_rr_query_t;

typedef struct {
    nlt_rr_query_t *queries;
    size_t n_queries;
    int32_t *types; /* that the client takes, best first */
    size_t n_types;
} nlt_rr_request_t;

/*
 * Reads a decompressed request into the pool; strings borrow from it.
 *   NLT_EINVAL  malformed; the text is Prometheus's
 *   NLT_EEXEC   a matcher of an unknown type ("invalid matcher type"): the
 *               rest is good, and *out has what it says about types
 *   NLT_ENOMEM  the pool's budget
 * O(bytes).
 */
NLT_CHECKED nlt_rc_t nlt_rr_parse(nlt_pool_t *pool, nlt_str_t request,
                                  nlt_rr_request_t *out, nlt_err_t *err);

/*
 * The kind of answer that the client likes best of those there are.  Of none
 * named it is SAMPLES.  NLT_EINVAL: it takes neither.
 */
NLT_CHECKED nlt_rc_t nlt_rr_negotiate(const nlt_rr_request_t *req,
                                      nlt_rr_type_t *out, nlt_err_t *err);

/*
 * Appends the fields of a label set, each with tag 1, as TimeSeries and
 * ChunkedSeries have them.
 */
void nlt_rr_add_labels(nlt_buf_t *b, nlt_labels_t labels);

/* Appends samples as fields with tag 2 of a TimeSeries. */
void nlt_rr_add_samples(nlt_buf_t *b, const int64_t *t_ms, const double *v,
                        size_t n);

/*
 * Appends one XOR chunk as field with tag 2 of a ChunkedSeries.  data is the
 * chunk with its count header; t_first and t_last are its times.
 */
void nlt_rr_add_chunk(nlt_buf_t *b, int64_t t_first_ms, int64_t t_last_ms,
                      nlt_str_t data);

/* Appends a whole frame: the ChunkedSeries `series` of query query_idx. */
void nlt_rr_add_frame(nlt_buf_t *b, nlt_str_t series, size_t query_idx);

/* ---- one snappy block that grows ---- */

/* Bytes that are compressed together, as snappy's own encoder does. */
#define NLT_RR_FRAGMENT 65536

typedef struct nlt_rr_piece_s nlt_rr_piece_t;

struct nlt_rr_piece_s {
    nlt_rr_piece_t *next;
    size_t len;
    const char *data;
};

/*
 * A ReadResponse on its way into a snappy block.  A block begins with the
 * length of all that is in it, and a QueryResult with its own, which are only
 * known at the end; so pieces are kept in a list, and lengths are put before
 * those they are about.
 *
 *   [length of all] [length of result 0] [fragment]... [length of result 1]...
 */
typedef struct {
    nlt_pool_t *pool;      /* of the pieces */
    nlt_rr_piece_t *first; /* to be sent, in order; valid after end() */
    nlt_rr_piece_t *last;
    nlt_rr_piece_t *head; /* length of the open result, filled at its end */
    uint64_t n_result;    /* bytes of the open result */
    uint64_t n_total;     /* bytes of all */
    char *raw;            /* NLT_RR_FRAGMENT, in the pool */
    char *packed;         /* room to compress it, in the pool */
    size_t n_raw;
} nlt_rr_pack_t;

/* Begins a block; pool is retained.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_rr_pack_begin(nlt_rr_pack_t *p, nlt_pool_t *pool);

/* Begins and ends a QueryResult.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_rr_pack_result(nlt_rr_pack_t *p);
NLT_CHECKED nlt_rc_t nlt_rr_pack_result_end(nlt_rr_pack_t *p);

/* Appends a TimeSeries to the open result.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_rr_pack_series(nlt_rr_pack_t *p, nlt_str_t series);

/* The block is complete.  NLT_ENOMEM; NLT_ETOOBIG: over 4 GiB. */
NLT_CHECKED nlt_rc_t nlt_rr_pack_end(nlt_rr_pack_t *p);

#endif

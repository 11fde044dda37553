/*
 * nlt_tombstones.h - the tombstones file of a block.
 *
 * Floor 3 (store); uses base, nlt_intervals.
 * Format: docs/formats/block.md.  Follows: prometheus/prometheus:
 * tsdb/tombstones/tombstones.go; differs: entries that delete nothing (no such
 * series, an end before its beginning) are read and passed over.
 * Threads: what was read is immutable.
 *
 * Prometheus writes down for each series of a block which intervals are
 * deleted.  Ours are empty, since our deletes are rules (nlt_deletes.h); but a
 * block that is imported may have some, and a snapshot writes what the rules
 * mean for a block, so that others need not know of rules.
 */
#ifndef NLT_STORE_TOMBSTONES_H
#define NLT_STORE_TOMBSTONES_H

#include "nlt_buf.h"
#include "nlt_intervals.h"

/* Entries of one file, and hence its bytes. */
#define NLT_TOMBSTONES_MAX       (4u << 20)
#define NLT_TOMBSTONES_BYTES_MAX (64u << 20)

/* What a file says; zeroed: nothing. */
typedef struct {
    uint32_t *id;  /* series with tombstones, ascending */
    size_t *first; /* [n + 1] of series i: v[first[i] .. first[i + 1]) */
    nlt_interval_t *v;
    size_t n;
} nlt_tombstones_t;

/*
 * Reads the content of a file; arrays in the pool.  NLT_EDATA (err says
 * what), NLT_EVERSION, NLT_ELIMIT (too many), NLT_ENOMEM.
 * O(n log n) for n entries.
 */
NLT_CHECKED nlt_rc_t nlt_tombstones_parse(nlt_pool_t *pool, nlt_str_t bytes,
                                          nlt_tombstones_t *out,
                                          nlt_err_t *err);

/*
 * The joined intervals of a series: *n of them, 0 mostly.  Lives as long as
 * t.  O(log n).
 */
const nlt_interval_t *
nlt_tombstones_of(const nlt_tombstones_t *t, uint32_t id, size_t *n);

/*
 * Writing: begin, an entry for each interval, end.  out is empty before;
 * failures are sticky in it.
 */
void nlt_tombstones_begin(nlt_buf_t *out);
void nlt_tombstones_add(nlt_buf_t *out, uint32_t id,
                        const nlt_interval_t *interval);
void nlt_tombstones_end(nlt_buf_t *out);

#endif

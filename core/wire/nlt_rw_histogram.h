/*
 * nlt_rw_histogram.h - is a native histogram of remote_write a valid one?
 *
 * Floor 2 (wire); uses base.
 * Contract: the Histogram message, the same in 1.0 and 2.0, and what
 * Prometheus's receiver refuses about it, with its texts.
 * Memory: none.  Threads: none of its own.
 *
 * A histogram has a number of buckets on each side of zero, of exponential
 * width, or buckets with bounds of its own ("custom").  Which buckets there
 * are is said by spans: `offset` that are not there, then `length` that are.
 * Counts are integers, coded as differences to the bucket before, or floats.
 *
 * The message is read several times instead of being decoded: spans and
 * counts may come in any order, and nothing has to be kept.
 */
#ifndef NLT_WIRE_RW_HISTOGRAM_H
#define NLT_WIRE_RW_HISTOGRAM_H

#include "nlt_rw2.h"

/* Native histograms of one series. */
typedef struct {
    const uint8_t *p;
    const uint8_t *end;
    uint32_t no; /* of the field */
} nlt_rw_histograms_t;

typedef struct {
    nlt_str_t msg; /* the Histogram message; borrows */
    int64_t t_ms;
} nlt_rw_histogram_t;

/* Begins at the first histogram of a series that has been walked; body is
 * its TimeSeries message, version 1 or 2. */
void
nlt_rw_histograms_init(nlt_rw_histograms_t *it, nlt_str_t body, int version);

/* The next one; false at the end. */
bool nlt_rw_histograms_next(nlt_rw_histograms_t *it, nlt_rw_histogram_t *out);

/*
 * NLT_OK: valid; NLT_EDATA: not, err has Prometheus's text.  Exponential
 * schemas from -4 to 52 are valid, of which those above 8 would be scaled
 * down.  O(bytes); about 1 ns a byte.
 */
NLT_CHECKED nlt_rc_t nlt_rw_histogram_validate(const nlt_rw_histogram_t *h,
                                               nlt_err_t *err);

#endif

/*
 * mem_source.h - series in arrays, as a source for queries.
 *
 * The slow obvious model: every select is a scan over all series, every read
 * a scan over all samples of one.  The script runner loads it; tests of
 * anything that implements nlt_source_t may compare with it.
 *
 * A point may be a native histogram: only the fact is kept.  It hides floats
 * as in Prometheus (newest point wins), and reading it sets `met_histogram`,
 * so that the runner can tell "not supported" from "wrong".
 */
#ifndef NLT_T_PROMQL_MEM_SOURCE_H
#define NLT_T_PROMQL_MEM_SOURCE_H

#include "nlt_source.h"

typedef struct {
    int64_t t_ms;
    double v;
    bool histogram;
    int64_t st_ms; /* start time, 0: unknown */
} nlt_mem_point_t;

typedef struct {
    nlt_labels_t labels;     /* owned */
    nlt_mem_point_t *points; /* ascending times */
    size_t n;
    size_t cap;
} nlt_mem_series_t;

typedef struct {
    nlt_source_t source; /* give &source to a query */
    nlt_mem_series_t *series;
    size_t n;
    size_t cap;
    bool met_histogram; /* a read came across one; reset by the user */
} nlt_mem_source_t;

/* Makes an empty source.  Memory is libc's; running out ends the program. */
void nlt_mem_source_init(nlt_mem_source_t *m);

/* Gives all series back; the source is empty and usable again. */
void nlt_mem_source_clear(nlt_mem_source_t *m);

/*
 * Adds one point to a series, which is made if it is not there.  labels are
 * normalized and copied.  At an equal time the first point stays.  O(series).
 */
void nlt_mem_source_add(nlt_mem_source_t *m, nlt_labels_t labels,
                        nlt_mem_point_t point);

#endif

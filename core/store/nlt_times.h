/*
 * nlt_times.h - decoded times that the series of a query share.
 *
 * Floor 3 (store); uses base.
 * Threads: any number at once, but for init and deinit.
 *
 * Series that are scraped together name one column of times in a dense block
 * (docs/formats/dense.md).  What a query decodes of a column is kept here
 * until the query ends, in parts of up to NLT_TIMES_PART, and the next series
 * of the column copies it: a thousand targets of five hundred series each
 * have their times decoded a thousand times, not half a million.
 *
 * Bounded: NLT_TIMES_PARTS_MAX parts, 4.3 MB, or less (nlt_times_limit()).
 * Nothing is ever thrown out, which is why a reader needs no lock; what finds
 * no room any more is decoded again by each series.  Nothing is allocated
 * before the first part.
 */
#ifndef NLT_STORE_TIMES_H
#define NLT_STORE_TIMES_H

#include <stdatomic.h>

#include "nlt_env.h"

#define NLT_TIMES_PART      513 /* 512 and the one that begins the column */
#define NLT_TIMES_PARTS_MAX 1024

typedef struct {
    const nlt_mem_t *mem;
    uint32_t n_max;          /* parts that may be kept, */
    bool limited;            /* by nlt_times_limit() */
    _Atomic uintptr_t table; /* of nlt_times_table_t; 0: nothing is kept */
} nlt_times_t;

/* A part of one column. */
typedef struct {
    const void *column; /* where it lies in memory; as long as the query */
    uint32_t n_column;  /* times of all of it */
    uint32_t no;
} nlt_times_key_t;

/* Empty; mem is borrowed. */
void nlt_times_init(nlt_times_t *t, const nlt_mem_t *mem);

/*
 * Has it keep no more than fits into size bytes, before the first part; how
 * many bytes that may be.
 */
size_t nlt_times_limit(nlt_times_t *t, size_t size);

/* Frees all; also one that is all zeros. */
void nlt_times_deinit(nlt_times_t *t);

/* The times of the part until deinit, or NULL.  About 5 ns. */
const int64_t *nlt_times_find(const nlt_times_t *t, const nlt_times_key_t *k);

/*
 * Keeps a copy of the n <= NLT_TIMES_PART times of a part; does nothing when
 * there is no room or no memory, or it is kept already.
 */
void nlt_times_keep(nlt_times_t *t, const nlt_times_key_t *k,
                    const int64_t *t_ms, size_t n);

#endif

/*
 * nlt_head_stats.h - what fills the head: counts by names and pairs of labels.
 *
 * Floor 3 (store); uses nlt_head.
 * Threads: [any]; reads without locks what is published.
 *
 * The question is Prometheus's, status/tsdb: who has so many series?  A series
 * that several arenas hold, because it was carried over, is one series.
 *
 *     arena 7 (sealed)   {a="1"} {a="2"}          counted where no newer arena
 *     arena 8 (active)           {a="2"} {a="3"}  has the same label set
 *                                                 -> 3 series, a=2 once
 *
 * The newest arena's counts are those of its postings, so they cost nothing
 * per series; each series of the others is looked up in the newer ones.
 */
#ifndef NLT_STORE_HEAD_STATS_H
#define NLT_STORE_HEAD_STATS_H

#include "nlt_head.h"

typedef struct {
    nlt_str_t name;  /* of a label, or value of __name__ */
    nlt_str_t value; /* of a pair, else empty */
    uint64_t n;
} nlt_stat_t;

/* The largest first; of equal ones in order of names and values. */
typedef struct {
    nlt_stat_t *v;
    size_t n;
} nlt_stat_list_t;

typedef struct {
    uint64_t n_series;
    uint64_t n_pairs;
    uint64_t n_chunks; /* of all arenas; samples out of order included */
    int64_t t_min_ms;  /* INT64_MAX when there is no sample */
    int64_t t_max_ms;  /* INT64_MIN likewise */
    nlt_stat_list_t series_by_metric;
    nlt_stat_list_t values_by_name;
    nlt_stat_list_t bytes_by_name; /* name and value once for each series, as
                                      Prometheus keeps them */
    nlt_stat_list_t series_by_pair;
} nlt_head_stats_t;

/*
 * Counts what the pinned arenas of view hold of a tenant; lists have at most
 * `limit` entries.  All memory is in the pool, strings in the mappings: valid
 * while view is pinned.  *cancel may be set by another thread; NULL: never.
 * NLT_ECANCELED, NLT_EDATA, NLT_ENOMEM.
 * Half a million series with as many pairs take some 0.6 s, and 0.9 s when an
 * older arena has all of them too.
 */
NLT_CHECKED nlt_rc_t nlt_head_stats(const nlt_head_view_t *view,
                                    uint32_t tenant, size_t limit,
                                    nlt_pool_t *pool, const int *cancel,
                                    nlt_head_stats_t *out, nlt_err_t *err);

/* The series of a that this process registered last; 0: none. */
uint32_t nlt_arena_registered(const nlt_arena_t *a);

/* What processes do beside writing: each says so of itself in its slot. */
typedef struct {
    uint32_t n_processes; /* attached, the helper included; of get only */
    uint32_t n_running;   /* queries in threads */
    uint32_t n_waiting;   /* for a thread */
    uint64_t held_bytes;  /* answers that wait for their readers */
    int64_t t_config_ms;  /* when its configuration was read; of all: the
                             newest; 0: not known */
} nlt_head_load_t;

/* Says it of this process. */
void nlt_head_set_load(nlt_head_t *h, const nlt_head_load_t *load);

/* The sum of all processes, of times the newest; dead ones count until the
 * helper sees it. */
void nlt_head_get_load(const nlt_head_t *h, nlt_head_load_t *out);

#endif

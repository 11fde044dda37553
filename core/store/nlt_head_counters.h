/*
 * nlt_head_counters.h - what all processes of a store count together.
 *
 * Floor 3 (store); uses nothing.
 *
 * The counters lie in the head's control page, so they go on through reload
 * and restart, and begin anew with a new head.  Their names and meaning for
 * people are in core/db/nlt_self.c.
 */
#ifndef NLT_STORE_HEAD_COUNTERS_H
#define NLT_STORE_HEAD_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* Counters; relaxed adds, once a batch. */
#define NLT_HEAD_COUNTERS(X)                                                  \
    X(samples_appended)  /* taken, in order */                                \
    X(samples_ooo)       /* taken, older than the newest of the series */     \
    X(samples_duplicate) /* equal time and value, already there */            \
    X(samples_conflict)  /* equal time, other value: first one kept */        \
    X(samples_too_old)                                                        \
    X(samples_too_new)                                                        \
    X(samples_no_room)                                                        \
    X(samples_dropped)     /* by nightlight_drop */                           \
    X(samples_over_series) /* of series over nightlight_limit_series */       \
    X(series_over_labels)  /* too many or too long labels */                  \
    X(requests_over_rate)  /* refused unread: nightlight_limit_samples */     \
    X(requests_over_size)  /* decoded: nightlight_write_max_decoded */        \
    X(dry_run_requests_over_rate)                                             \
    X(dry_run_requests_over_size)                                             \
    X(dry_run_samples_over_series)                                            \
    X(dry_run_series_over_labels)                                             \
    X(dry_run_series_dropped)                                                 \
    X(dry_run_samples_over_age)                                               \
    X(series_created)                                                         \
    X(series_carried) /* taken over from the previous arena */                \
    X(series_refused)                                                         \
    X(aliases_created)                                                        \
    X(series_invalid)        /* in requests: with labels that are not */      \
    X(histograms_not_stored) /* native ones, valid */                         \
    X(histograms_invalid)                                                     \
    X(exemplars_added)                                                        \
    X(exemplars_duplicate) /* were there already */                           \
    X(exemplars_refused)   /* too long, invalid, out of bounds */             \
    X(exemplars_no_room)   /* larger than a part of the stash, or none */     \
    X(metadata_updates)                                                       \
    X(metadata_refused) /* too long, invalid, no room */                      \
    X(requests_ok)                                                            \
    X(requests_refused)                                                       \
    X(requests_partial) /* 2.0: some of it refused */                         \
    X(requests_failed)                                                        \
    X(bytes_received) /* compressed bodies */                                 \
    X(bytes_decoded)                                                          \
    X(wal_bytes)                                                              \
    X(wal_records)                                                            \
    X(wal_fsyncs)                                                             \
    X(wal_sync_waits) /* requests that waited for one: wal_sync=always */     \
    X(wal_sync_ns)    /* time in fsync */                                     \
    X(wal_errors)                                                             \
    X(flushes)                                                                \
    X(flush_errors)                                                           \
    X(blocks_written)                                                         \
    X(blocks_removed)                                                         \
    X(blocks_quarantined) /* found damaged, moved aside */                    \
    X(blocks_imported)                                                        \
    X(imports_refused)                                                        \
    X(compactions)                                                            \
    X(compaction_errors)                                                      \
    X(compaction_blocks)  /* that went into them */                           \
    X(compaction_samples) /* that came out of them */                         \
    X(compaction_bytes)   /* written */                                       \
    X(compaction_ns)                                                          \
    X(conversions) /* of these, for another format alone */                   \
    X(deletes)     /* accepted */                                             \
    X(snapshots)                                                              \
    X(early_flushes) /* rotated because the arena was full */                 \
    X(queries)                                                                \
    X(query_errors)                                                           \
    X(query_samples)                                                          \
    X(query_ns)                                                               \
    X(queries_at_once) /* in event loops */                                   \
    X(query_help)      /* threads that joined in queries of others */         \
    X(slow_queries)                                                           \
    X(recoveries)        /* stripes taken over from a dead process */         \
    X(wal_skipped_bytes) /* by resync during replay */                        \
    X(replayed_samples)

/* When something ended well the last time, Unix milliseconds; 0: not yet. */
#define NLT_HEAD_MARKS(X)                                                     \
    X(flush_last_ms)                                                          \
    X(compaction_last_ms)

/* How a request to the API ended. */
#define NLT_OUTCOMES(X)                                                       \
    X(OK, "ok")                                                               \
    X(BAD_DATA, "bad_data")                                                   \
    X(CANCELED, "canceled")                                                   \
    X(TIMEOUT, "timeout")                                                     \
    X(LIMIT_SAMPLES, "limit_samples")                                         \
    X(LIMIT_SERIES, "limit_series")                                           \
    X(LIMIT_MEMORY, "limit_memory")                                           \
    X(LIMIT_QUEUE, "limit_queue") /* no place to wait for a thread */         \
    X(EXECUTION, "execution")     /* the query itself is wrong */             \
    X(NOT_READY, "not_ready")                                                 \
    X(ERROR, "error") /* of the store, or of ours */

/* Limits of a query that can be tried before they hold. */
#define NLT_QUERY_LIMITS(X)                                                   \
    X(TIME, "time")                                                           \
    X(SAMPLES, "samples")                                                     \
    X(SERIES, "series")                                                       \
    X(MEMORY, "memory")                                                       \
    X(QUEUE, "queue")

typedef enum {
#define NLT_QUERY_LIMIT_ENUM(name, text) NLT_QUERY_LIMIT_##name,
    NLT_QUERY_LIMITS(NLT_QUERY_LIMIT_ENUM)
#undef NLT_QUERY_LIMIT_ENUM
    NLT_N_QUERY_LIMITS
} nlt_query_limit_t;

typedef enum {
#define NLT_OUTCOME_ENUM(name, text) NLT_OUTCOME_##name,
    NLT_OUTCOMES(NLT_OUTCOME_ENUM)
#undef NLT_OUTCOME_ENUM
    NLT_N_OUTCOMES
} nlt_outcome_t;

/*
 * Durations.  A query's is the time that threads worked on it; how long it
 * waited for one is counted apart.  A write's is from its body to its answer,
 * the turns of others and the wait for a sync in it.
 */
#define NLT_HEAD_HISTOGRAMS(X)                                                \
    X(time_instant)                                                           \
    X(time_range)                                                             \
    X(time_series)                                                            \
    X(time_labels) /* names and values */                                     \
    X(time_read)                                                              \
    X(time_federate)                                                          \
    X(time_other)                                                             \
    X(time_queue)         /* of all of these */                               \
    X(time_write_ok)      /* of remote_write, by how it ended */              \
    X(time_write_refused) /* 4xx, also in part */                             \
    X(time_write_failed)  /* 5xx */                                           \
    X(time_wal_write)     /* one write(2) of a batch */                       \
    X(time_wal_sync)                                                          \
    X(time_flush)                                                             \
    X(time_compaction)

/* Upper bounds of the buckets; one more takes what is longer. */
#define NLT_HEAD_BUCKETS 16
#define NLT_HEAD_BUCKET_SECONDS                                               \
    {                                                                         \
        0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,   \
            0.5, 1, 2.5, 10, 30, 120                                          \
    }

typedef struct {
    _Atomic uint64_t n[NLT_HEAD_BUCKETS + 1]; /* of each bucket alone */
    _Atomic uint64_t sum_ns;
} nlt_head_histogram_t;

typedef struct {
#define NLT_HEAD_COUNTER_FIELD(name) _Atomic uint64_t name;
    NLT_HEAD_COUNTERS(NLT_HEAD_COUNTER_FIELD)
    NLT_HEAD_MARKS(NLT_HEAD_COUNTER_FIELD)
#undef NLT_HEAD_COUNTER_FIELD
    _Atomic uint64_t outcomes[NLT_N_OUTCOMES];
    /* queries that a limit would have refused */
    _Atomic uint64_t queries_dry_run[NLT_N_QUERY_LIMITS];
#define NLT_HEAD_HISTOGRAM_FIELD(name) nlt_head_histogram_t name;
    NLT_HEAD_HISTOGRAMS(NLT_HEAD_HISTOGRAM_FIELD)
#undef NLT_HEAD_HISTOGRAM_FIELD
} nlt_head_counters_t;

/* Counts a duration; a negative one is none.  [any]  About 20 ns. */
static inline void
nlt_head_observe(nlt_head_histogram_t *h, int64_t ns)
{
    static const double bound[NLT_HEAD_BUCKETS] = NLT_HEAD_BUCKET_SECONDS;
    double seconds;
    unsigned i = 0;

    ns = ns < 0 ? 0 : ns;
    seconds = (double) ns / 1e9;
    while (i < NLT_HEAD_BUCKETS && seconds > bound[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&h->n[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns, (uint64_t) ns, memory_order_relaxed);
}

#endif

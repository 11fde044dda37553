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
    X(deletes) /* accepted */                                                 \
    X(snapshots)                                                              \
    X(early_flushes) /* rotated because the arena was full */                 \
    X(queries)                                                                \
    X(query_errors)                                                           \
    X(query_samples)                                                          \
    X(query_ns)                                                               \
    X(recoveries)        /* stripes taken over from a dead process */         \
    X(wal_skipped_bytes) /* by resync during replay */                        \
    X(replayed_samples)

typedef struct {
#define NLT_HEAD_COUNTER_FIELD(name) _Atomic uint64_t name;
    NLT_HEAD_COUNTERS(NLT_HEAD_COUNTER_FIELD)
#undef NLT_HEAD_COUNTER_FIELD
} nlt_head_counters_t;

#endif

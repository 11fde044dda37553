/*
 * nlt_replay.h - brings the samples of a log into the head again.
 *
 * Floor 3 (store); uses nlt_head, nlt_wal.
 * Threads: the helper's.  Memory: twelve bytes a series of the log, about
 * 2 MiB, and of the log's mapping the MiB in hand; some 30 for one of which
 * something is deleted.
 *
 * A head that is gone (reboot, another layout, quarantine) is rebuilt from
 * the logs of the arenas that are not in blocks.  Series and samples go
 * through the same functions as those of a request, and everything is logged
 * again, in the log of the arena that takes them:
 *
 *     log 5 --> arena 8 + log 8 --sync--> MANIFEST "5 is finished" --> rm 5
 *
 * So there is one rule for what may be removed: a log goes when the MANIFEST
 * says so, and the MANIFEST says so when another log or a block has all of
 * it.  A replay that dies half-way is repeated from the start; samples that
 * are there twice then are equal and count once.  An arena that fills up
 * meanwhile is rotated and flushed as usual: replay needs the memory of the
 * steady state.
 *
 * Exemplars and metadata come back into the stashes of the head, and are
 * logged again as samples are.
 *
 * One log normally fits one arena, since it came from one.  It does not when
 * memory= was lowered.  Then the next arena takes over in the midst of it, and
 * a series that was met before comes into that with its next sample: its
 * labels are read from the log again, at the place of its record.
 */
#ifndef NLT_STORE_REPLAY_H
#define NLT_STORE_REPLAY_H

#include "nlt_deletes.h"
#include "nlt_head.h"
#include "nlt_head_side.h"
#include "nlt_wal.h"

typedef struct {
    const nlt_env_t *env;
    nlt_head_t *head;
    int wal_fd; /* directory of the logs */
    const uint8_t *store_id;
    uint64_t done_before; /* bytes of earlier logs, for progress */
    /*
     * What these concern of the log is left out; NULL: there are none.  They
     * are the rules of now: read after the head was made, or under the lock
     * (nlt_deletes.h).
     */
    const nlt_delete_list_t *deletes;
    /* The active arena is full: makes another one active, log included. */
    nlt_rc_t (*make_room)(void *ctx, nlt_err_t *err);
    /* Asked now and then; another code than NLT_OK ends the replay. */
    nlt_rc_t (*poll)(void *ctx);
    void *ctx;
} nlt_replay_conf_t;

typedef struct {
    uint64_t bytes;           /* of the log */
    uint64_t samples;         /* met in it */
    uint64_t exemplars;       /* likewise */
    uint64_t metadata;        /* likewise */
    uint64_t dropped_samples; /* their series was lost in a torn stretch */
    uint64_t dropped_series;  /* not a label set */
    uint64_t deleted_samples; /* left out */
    bool deletes_left;      /* an expression took too long: something stays */
    uint64_t skipped_bytes; /* torn stretches */
    uint64_t arenas;        /* that had to be rotated away */
} nlt_replay_stats_t;

/*
 * Replays the log of arena_no into the active arena.  NLT_OK: everything
 * readable in it is in the head and, synced, in other logs.  An empty or
 * missing log is fine.  NLT_EDATA: not a log of this store; NLT_EVERSION;
 * NLT_EFULL: not even an empty arena takes it; NLT_EIO; NLT_ENOMEM; what
 * make_room or poll returned.  May be repeated after any failure, but into
 * another arena if the log of the active one has failed
 * (nlt_head_log_failed()): its series count as logged and would not be logged
 * again.
 */
NLT_CHECKED nlt_rc_t nlt_replay_log(const nlt_replay_conf_t *conf,
                                    uint64_t arena_no,
                                    nlt_replay_stats_t *stats, nlt_err_t *err);

/*
 * The labels of canonical bytes (nlt_head_key), array in the pool, strings
 * borrowed.  NLT_EDATA: not canonical; NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_replay_labels(nlt_str_t canonical, nlt_pool_t *pool,
                                       nlt_labels_t *out);

#endif

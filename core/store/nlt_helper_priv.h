/*
 * nlt_helper_priv.h - what the files of the helper share.
 *
 * Floor 3 (store); uses nlt_store_dir, nlt_manifest.  Only nlt_helper*.c
 * include it.  Threads: the helper's one.
 *
 * nlt_helper.c has the stages, nlt_helper_lease.c who is the helper and who is
 * next, nlt_helper_recover.c the way to an open head, nlt_helper_arena.c what
 * keeps it small: rotation, flush, commits; nlt_helper_retain.c what has to
 * go, nlt_helper_import.c what is in import/, nlt_helper_compact.c merges.
 * The order of every commit is that of nlt_store.h.
 */
#ifndef NLT_STORE_HELPER_PRIV_H
#define NLT_STORE_HELPER_PRIV_H

#include "nlt_compact.h"
#include "nlt_deletes.h"
#include "nlt_filenames.h"
#include "nlt_helper_expire.h"
#include "nlt_import.h"
#include "nlt_retention.h"
#include "nlt_store_dir.h"

/*
 * An arena is rotated when this share of it is used.  It must stay well below
 * the 90 % from which on the arena refuses new series: flush early comes
 * before refusing (D4), and a store full of new series stops at 90 % exactly.
 */
#define NLT_HELPER_FULL_PERCENT NLT_ARENA_FLUSH_PERCENT

/* Failures that are not logged again while they last. */
#define NLT_HELPER_SAID 4

/*
 * How often logs are synced that every writer syncs itself before it
 * acknowledges (wal_sync=always): what nobody waits for, own metrics.
 */
#define NLT_HELPER_SYNC_ALWAYS_MS 1000

/* From this share on the helper looks more often. */
#define NLT_HELPER_BUSY_PERCENT 50

/*
 * From so many blocks on merging goes before what makes more of them, and if
 * they cannot be merged (no room, histograms that overlap), flushes end at the
 * second number.  Every process has all blocks open, with two mappings (of
 * 65530 that Linux grants) and some memory each.
 */
#define NLT_HELPER_BLOCKS_MANY 1000
#define NLT_HELPER_BLOCKS_MAX  8192

/* Blocks that no merge takes for a while. */
#define NLT_HELPER_AVOID 128

typedef enum {
    NLT_HELPER_LOAD,   /* read the MANIFEST, remove what it does not know */
    NLT_HELPER_ATTACH, /* is there a head? */
    NLT_HELPER_DRAIN,  /* it is dead: wait until others have let go */
    NLT_HELPER_CREATE, /* make one */
    NLT_HELPER_REPLAY, /* read logs into it; it is not open yet */
    NLT_HELPER_SETTLE, /* an open one: finish what a crash interrupted */
    NLT_HELPER_RUN
} nlt_helper_stage_t;

/* The log of one arena, opened to be synced. */
typedef struct {
    uint64_t no; /* 0: unused */
    nlt_wal_t *wal;
    int64_t synced_bytes; /* its size when the last sync began */
    bool failed;          /* an fsync failed: never again on this file (D5) */
} nlt_helper_log_t;

#define NLT_HELPER_VERDICTS 1024 /* on blocks that were complained of */

typedef struct {
    nlt_ulid_t ulid;
    nlt_rc_t rc; /* NLT_OK: sound */
    int64_t ns;  /* of the monotonic clock */
} nlt_helper_verdict_t;

/* Blocks that are known to have deleted samples, until they are rewritten. */
typedef struct {
    nlt_ulid_t *v; /* cap of them */
    size_t n;
    size_t cap;
    int64_t since_ns;     /* the first of them; 0: none */
    int64_t settled_ns;   /* when last; 0: never */
    uint64_t deletes_gen; /* of then */
    uint64_t generation;  /* of the MANIFEST, then */
    bool urgent;          /* somebody asked to clean */
} nlt_helper_dirt_t;

typedef struct {
    nlt_ulid_t ulid;
    int64_t until_ns;
} nlt_helper_avoid_t;

struct nlt_helper_s {
    const nlt_env_t *env;
    nlt_store_conf_t conf;
    char path[NLT_STORE_PATH_MAX];
    char head_path[NLT_STORE_PATH_MAX];
    nlt_store_dir_t dir;
    int lock_fd;
    int next_fd;  /* to see who waits for the lease */
    int users_fd; /* lock of nlt_users.h */
    nlt_helper_stage_t stage;
    nlt_manifest_t manifest; /* what is on disk, except in stage LOAD */
    nlt_head_t *head;        /* NULL before ATTACH or CREATE succeeded */
    nlt_helper_log_t logs[NLT_HEAD_ARENAS];
    const int *cancel; /* of the step that runs */
    _Atomic int flush_soon;
    bool rotate_now;  /* a log is lost, or a flush was asked for */
    bool step_failed; /* the last one */
    bool warned_foreign;
    int64_t housekept_ns; /* when last; 0: never */
    int64_t synced_ns;
    int64_t retention_ns;
    int64_t credit_ns;        /* when the first sum began */
    uint64_t credit_bytes[2]; /* of removed blocks: free soon */
    /* Sources of the merge that runs: nothing takes them away. */
    const nlt_compact_source_t *merging;
    size_t n_merging;
    nlt_helper_avoid_t avoid[NLT_HELPER_AVOID];
    unsigned n_avoid;                /* ever */
    int64_t compact_after_ns;        /* not before; 0: any time */
    int64_t convert_after_ns;        /* likewise, for another format */
    int64_t planned_ns;              /* when a plan found nothing to do, */
    uint64_t planned_generation;     /* and in which MANIFEST */
    bool starved;                    /* it was said that there is no room */
    nlt_import_t *import;            /* made in stage LOAD */
    int64_t drain_ns;                /* since when; 0: not draining */
    uint64_t replayed_bytes;         /* of logs that are done */
    nlt_err_t said[NLT_HELPER_SAID]; /* last failures logged, and when */
    int64_t said_ns[NLT_HELPER_SAID];
    unsigned n_said;                /* ever */
    nlt_helper_verdict_t *verdicts; /* NLT_HELPER_VERDICTS; NULL: none yet */
    size_t n_verdicts;              /* ever */
    int64_t tended_ns;              /* quarantine, when last; 0: never */
    nlt_err_t refused; /* why a log was, a moment ago; rc NLT_OK: none was */
    int64_t refused_ns;
    uint64_t early_no; /* arenas up to this one were sealed as too full */
    nlt_deletes_t *deletes;
    nlt_helper_dirt_t dirt;
    nlt_helper_expire_t expire;
    uint64_t metadata_changes; /* of the stash, when METADATA was written */
    uint32_t metadata_resets;  /* of the stash, when METADATA was read */
    bool metadata_known;       /* the two above are of this head */
    uint32_t tenants_end;      /* TENANTS has no higher number, nor blocks */
    bool strays;               /* blocks may have tenants without a name */
};

/* ---- nlt_helper.c ---- */

/* Has it been ms since that time of the monotonic clock (0: never)? */
bool nlt_helper_older(const nlt_helper_t *h, int64_t since_ns, int64_t ms);

/* Shall the step that runs give up? */
bool nlt_helper_canceled(const nlt_helper_t *h);

/* Logs a failure, but not the same one every second. */
void
nlt_helper_complain(nlt_helper_t *h, const char *what, const nlt_err_t *err);

/* Closes the log of a slot; the slot is free. */
void nlt_helper_forget_log(nlt_helper_log_t *l);
/* Lets go of the head, if any. */
void nlt_helper_detach(nlt_helper_t *h);

/*
 * Frees what dead processes held.  False: the head was lost, declared dead or
 * has to be; the stage is another one.
 */
bool nlt_helper_head_is_well(nlt_helper_t *h);

/* ---- nlt_helper_lease.c ---- */

/* Takes the lease; NLT_AGAIN: another process has it; NLT_EIO. */
NLT_CHECKED nlt_rc_t nlt_helper_take_lease(nlt_helper_t *h, nlt_err_t *err);

/* Gives it up, if it was taken. */
void nlt_helper_drop_lease(nlt_helper_t *h);
/* ---- nlt_helper_arena.c ---- */

/* Control page of the head, which must be there. */
nlt_head_ctl_t *nlt_helper_ctl(const nlt_helper_t *h);

/* Is there a head, and is it open? */
bool nlt_helper_is_open(const nlt_helper_t *h);

/* The slot of the oldest arena in this state, or NULL. */
nlt_head_arena_slot_t *
nlt_helper_oldest(const nlt_helper_t *h, nlt_arena_state_t state);
size_t nlt_helper_count(const nlt_helper_t *h, nlt_arena_state_t state);

/* Has the active arena used this share of its room? */
bool nlt_helper_used(const nlt_helper_t *h, unsigned percent);

/* Makes the log of an arena unless it is there. */
NLT_CHECKED nlt_rc_t nlt_helper_create_log(nlt_helper_t *h, uint64_t no,
                                           nlt_err_t *err);

/* Seals the active arena and begins the next; NLT_EFULL: no room for one. */
NLT_CHECKED nlt_rc_t nlt_helper_rotate(nlt_helper_t *h, nlt_err_t *err);

/* How often the helper syncs the logs, in milliseconds; 0: never. */
int64_t nlt_helper_sync_ms(const nlt_helper_t *h);

/* Sets the retention border in the control page. */
void nlt_helper_update_border(nlt_helper_t *h);

/* What may not wait for a flush: sync, prefault, prepare, rotate. */
void nlt_helper_housekeep(nlt_helper_t *h);

/* Callback of long work: cancel and, when the head is open, housekeeping. */
nlt_rc_t nlt_helper_poll_cb(void *ctx);

/*
 * Makes `next` the manifest, on disk and here (it gets the old one), and
 * tells the workers.  After a failure the stage is LOAD.
 */
NLT_CHECKED nlt_rc_t nlt_helper_commit(nlt_helper_t *h, nlt_manifest_t *next,
                                       nlt_err_t *err);

/* Commits next with arena `no` finished. */
NLT_CHECKED nlt_rc_t nlt_helper_finish(nlt_helper_t *h, nlt_manifest_t *next,
                                       uint64_t no, nlt_err_t *err);

/* The log of a finished arena goes; it may be gone already. */
NLT_CHECKED nlt_rc_t nlt_helper_remove_log(nlt_helper_t *h, uint64_t no,
                                           nlt_err_t *err);

/* The head is not what the logs say: declares it dead; stage DRAIN. */
void nlt_helper_quarantine(nlt_helper_t *h, const char *why);

/*
 * Blocks, commit, retire, log: steps 2 to 5 of nlt_store.h.  A damaged arena
 * gives NLT_EDATA, and the head is quarantined.
 */
NLT_CHECKED nlt_rc_t nlt_helper_flush(nlt_helper_t *h, uint64_t no,
                                      nlt_err_t *err);

/* Callback of replay: flushes what is sealed, rotates the active arena. */
nlt_rc_t nlt_helper_make_room_cb(void *ctx, nlt_err_t *err);

/* ---- nlt_helper_suspect.c ---- */

/*
 * Looks at one block that a process found damaged, if any was posted, and
 * moves it to quarantine/ if it is.  NLT_EIO, NLT_ENOMEM, NLT_ELIMIT (too
 * many in quarantine), NLT_ECANCELED.
 */
NLT_CHECKED nlt_rc_t nlt_helper_judge(nlt_helper_t *h, nlt_err_t *err);

/*
 * Moves to quarantine/ what the MANIFEST calls damaged and is still in
 * blocks/.  At start: after imports were recovered, because a repaired copy
 * may lie there by the same name, and before rubbish is removed.
 */
void nlt_helper_finish_quarantine(nlt_helper_t *h);

/* Every few seconds: forgets blocks that were removed from quarantine/. */
NLT_CHECKED nlt_rc_t nlt_helper_tend_quarantine(nlt_helper_t *h,
                                                nlt_err_t *err);

/* ---- nlt_helper_retain.c ---- */

/* Newest sample of head and blocks, INT64_MIN when there is none. */
int64_t nlt_helper_newest_ms(const nlt_helper_t *h);

/*
 * About how large the blocks of arena `no` will be, whose log has that many
 * bytes; never more than the log.
 */
uint64_t nlt_helper_block_estimate(const nlt_helper_t *h, uint64_t no,
                                   uint64_t log_bytes);

/* Bytes that were removed and will be free soon. */
void nlt_helper_credit(nlt_helper_t *h, uint64_t bytes);
/* Is it time to look? */
bool nlt_helper_retention_is_due(const nlt_helper_t *h);

/*
 * Takes away what is past the retention, beyond retention_size= or needed for
 * min_free=, up to 256 blocks for one reason; *more: some went, call again.
 * When nothing can go, says in the control page whether the disk is low.
 * Errors as commit; NLT_ENOMEM; NLT_AGAIN: the merge that runs is in the way,
 * and nothing was done.
 */
NLT_CHECKED nlt_rc_t nlt_helper_retain(nlt_helper_t *h, bool *more,
                                       nlt_err_t *err);

/*
 * Callback of long work between commits (nlt_helper_compact.c): what
 * nlt_helper_poll_cb() does, and every NLT_HELPER_WATCH_MS it removes what
 * expires and flushes arenas that were sealed meanwhile, each with a commit of
 * its own.  Blocks are added and taken away, so the MANIFEST is not what it
 * was.  NLT_ECANCELED: the stage is another now, or the head is to be given
 * up; errors as nlt_helper_flush() and nlt_helper_retain().
 */
#define NLT_HELPER_WATCH_MS 200
typedef struct {
    nlt_helper_t *h;
    int64_t since_ns; /* of the monotonic clock: when last, or the start */
    int64_t began_ns; /* set by the first call */
    nlt_rc_t rc;      /* of what was done in between, not of the work */
    nlt_err_t err;    /* likewise */
} nlt_helper_watch_t;
nlt_rc_t nlt_helper_watch_cb(void *ctx);

/* ---- nlt_helper_import.c ---- */

/* In stage LOAD, with the MANIFEST: undoes what a crash left.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_helper_import_recover(nlt_helper_t *h,
                                               nlt_err_t *err);

/*
 * Looks into import/ and takes in or refuses at most one; *more: it did, look
 * again at once.  NLT_EFULL, NLT_EIO, NLT_ENOMEM, NLT_ECANCELED.
 */
NLT_CHECKED nlt_rc_t nlt_helper_import(nlt_helper_t *h, bool *more,
                                       nlt_err_t *err);

/* ---- nlt_helper_deletes.c ---- */

/* Frees what the helper has of deletes. */
void nlt_helper_deletes_end(nlt_helper_t *h);
/*
 * The rules of now, until nlt_deletes_release(h->deletes).  Errors as
 * nlt_deletes_acquire(), but NLT_EIO also for a file that is damaged: what the
 * caller is about to apply them to is not.
 */
NLT_CHECKED nlt_rc_t nlt_helper_rules(nlt_helper_t *h,
                                      const nlt_delete_list_t **out,
                                      nlt_err_t *err);

/* Raises *arena_no beyond all arenas that rules concern.  Errors likewise. */
NLT_CHECKED nlt_rc_t nlt_helper_beyond_rules(nlt_helper_t *h,
                                             uint64_t *arena_no,
                                             nlt_err_t *err);

/*
 * Brings deletes nearer to their end, when something has changed: counts up
 * clean blocks, drops rules that are done, rewrites one dirty block if it is
 * due: *did.  Errors as commit and nlt_helper_compact(); NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_helper_tend_deletes(nlt_helper_t *h, bool *did,
                                             nlt_err_t *err);
/* ---- nlt_helper_side.c ---- */
/* Bytes of memory= that metadata has. */
uint64_t nlt_helper_metadata_bytes(const nlt_store_conf_t *conf);

/* A head was found: its side file gets the sizes of now. */
void nlt_helper_side_attached(nlt_helper_t *h);

/*
 * Puts what METADATA has, and the head has not, into the head.  A file that is
 * damaged or of another version is set aside in quarantine/: the senders will
 * say it again.
 */
void nlt_helper_load_metadata(nlt_helper_t *h);

/* Before a log goes: METADATA, if it is not of now.  As nlt_metadata_save() */
NLT_CHECKED nlt_rc_t nlt_helper_save_metadata(nlt_helper_t *h, nlt_err_t *err);

/* ---- nlt_helper_compact.c ---- */

/*
 * Plans, and carries out one merge if there is one: *did.  dirty as in
 * nlt_compact_in_t.  Failures are not tried again at once: NLT_EDATA (posted
 * as suspect), NLT_ELIMIT, NLT_EFULL, NLT_EIO, NLT_ENOMEM, NLT_EVERSION; what
 * a flush in between gave; NLT_ECANCELED.
 */
NLT_CHECKED nlt_rc_t nlt_helper_compact(nlt_helper_t *h, const bool *dirty,
                                        bool *did, nlt_err_t *err);

/* ---- nlt_helper_recover.c: one step of a stage each ---- */

/* Reads the MANIFEST and removes what it does not know. */
NLT_CHECKED nlt_rc_t nlt_helper_load(nlt_helper_t *h, nlt_err_t *err);

/* Takes the head that is there, or decides on another. */
NLT_CHECKED nlt_rc_t nlt_helper_attach(nlt_helper_t *h, nlt_err_t *err);

/* Have the others let go of the dead head, or had time?  Then we do. */
bool nlt_helper_drained(nlt_helper_t *h);

/* Makes an empty head whose arena numbers were never used. */
NLT_CHECKED nlt_rc_t nlt_helper_create(nlt_helper_t *h, nlt_err_t *err);

/* Replays one log; when there is none left, opens the head. */
NLT_CHECKED nlt_rc_t nlt_helper_settle(nlt_helper_t *h, nlt_err_t *err);

#endif

/*
 * nlt_store.h - one store: its directory, its head, its blocks, its life.
 *
 * Floor 3 (store); uses everything of floor 3 and below.
 *
 * On disk (path=):
 *
 *   store.id            16 random bytes in hex: names the head files (D3)
 *   lock                flock of the helper's lease; taken after the fork
 *   lock.next           flock of those that wait for it
 *   users               flock of who is attached to the head, and where
 *   term                number of the current head: outdates others
 *   MANIFEST            which blocks count, which arenas are in blocks
 *   DELETES             what was deleted and is not gone yet
 *   TENANTS             names and numbers of tenants
 *   METADATA            type, help and unit of metric families
 *   wal/<arena>.wal     one log per arena that is not in blocks yet
 *   blocks/<ULID>/      Prometheus blocks
 *   quarantine/         what was found corrupt, moved aside
 *
 * Commit order of a flush (D4, D5); after each line a crash is harmless:
 *
 *   1  rotate: the arena is sealed, complete
 *   2  its samples are written as blocks, split at aligned borders;
 *      TENANTS and METADATA are replaced, if anything has changed
 *      (crash: blocks that the MANIFEST does not name, with our arena key,
 *       are removed at start; log and arena still have the data)
 *   3  MANIFEST {+ blocks, arena n is in blocks} replaced atomically
 *   4  manifest generation + 1: workers load the list, queries see blocks
 *   5  arena retired, its file unlinked; log removed
 *      (crash between 3 and 5: start removes logs and arenas that the
 *       MANIFEST says are in blocks)
 *
 * The MANIFEST is a small text file, one record a line with a CRC-32C, see
 * docs/formats/manifest.md; it is replaced as a whole (write, sync, rename,
 * sync directory).
 *
 * Two faces: nlt_store_t is what every process opens to read and write;
 * nlt_helper_t is the one process (or thread) that holds the lease and does
 * all that takes time.
 */
#ifndef NLT_STORE_STORE_H
#define NLT_STORE_STORE_H

#include "nlt_block.h"
#include "nlt_cuts.h"
#include "nlt_exemplars.h"
#include "nlt_head.h"
#include "nlt_head_stats.h"
#include "nlt_ingest.h"
#include "nlt_metadata.h"
#include "nlt_source.h"
#include "nlt_tenant_keep.h"
#include "nlt_times.h"

typedef struct nlt_store_s nlt_store_t;
typedef struct nlt_helper_s nlt_helper_t;

#define NLT_WAL_SYNC_OFF    (-1)
#define NLT_WAL_SYNC_ALWAYS 0

typedef struct {
    const char *path;      /* absolute, NUL-terminated */
    const char *head_path; /* directory of the head files */
    uint64_t memory_bytes;
    int64_t retention_ms;
    const nlt_tenant_keep_t *tenant_keeps; /* sorted; borrowed until close */
    size_t n_tenant_keeps;
    uint64_t retention_bytes; /* of blocks and logs; 0: no limit */
    uint64_t min_free_bytes;  /* of the file system; 0: no reserve */
    /*
     * Interval > 0: the helper syncs the logs of all processes that often.
     * NLT_WAL_SYNC_ALWAYS: requests are begun with `sync`, and who answers
     * them lets nlt_ingest_sync_begin() and its kin run before; the helper
     * syncs once a second what nobody waits for.
     */
    int64_t wal_sync_ms;
    uint64_t exemplar_bytes; /* of memory_bytes, about 200 each; 0: none */
    uint32_t tenants;        /* besides the default one, at most */
    bool dense; /* blocks are written dense, and others become it; or not */
    int64_t arena_age_ms; /* rotate an arena that is older; 2 h */
} nlt_store_conf_t;

/*
 * Creates what is missing below conf->path (which must exist): directories,
 * store.id; and makes the name of conf->path itself durable.  Safe when
 * several processes do it at once.  NLT_EIO with path and errno in the text.
 */
NLT_CHECKED nlt_rc_t nlt_store_prepare_dir(const nlt_env_t *env,
                                           const nlt_store_conf_t *conf,
                                           nlt_err_t *err);

/*
 * Opens the store for reading and writing.  Succeeds also when there is no
 * head yet: the store is then not ready, and nlt_store_tick() attaches as
 * soon as the helper has made one.
 */
NLT_CHECKED nlt_rc_t nlt_store_open(const nlt_env_t *env,
                                    const nlt_store_conf_t *conf,
                                    nlt_head_role_t role, nlt_store_t **out,
                                    nlt_err_t *err);

/* No request and no query may be running. */
void nlt_store_close(nlt_store_t *s);

/*
 * Housekeeping of a process: attach, map and unmap arenas, load the manifest
 * when its generation moved; let a dead head go as soon as no request and no
 * view holds it, and attach the new one.  Called from a timer about every
 * 100 ms until ready, then every second, and cheap.
 */
void nlt_store_tick(nlt_store_t *s);

#define NLT_STORE_REASON_MAX 400

typedef struct {
    bool ready;
    nlt_head_state_t state;
    uint64_t replay_done; /* bytes */
    uint64_t replay_total;
    char reason[NLT_STORE_REASON_MAX]; /* why not ready; a sentence */
} nlt_store_status_t;

/* Is it ready, and if not, why?  [any] */
void nlt_store_status(nlt_store_t *s, nlt_store_status_t *out);

/*
 * What is not as it should be although the store is ready: rules of deletes
 * that cannot be read, or blocks that are left out.  Sentences, or the empty
 * string.  [any]
 */
void nlt_store_note(nlt_store_t *s, char out[NLT_STORE_REASON_MAX]);

/* NULL while not ready.  The event loop's; not thread-safe. */
nlt_ingest_t *nlt_store_ingest(nlt_store_t *s);

/* The control page, or NULL while not ready: counters. */
nlt_head_ctl_t *nlt_store_ctl(nlt_store_t *s);

/* For any thread, which gives it back; the head stays mapped.  [any] */
nlt_head_ctl_t *nlt_store_ctl_hold(nlt_store_t *s);
void nlt_store_ctl_release(nlt_store_t *s);

/* Likewise, counts of a tenant; NULL also when the number was never given. */
nlt_tenant_counters_t *nlt_store_tenant_hold(nlt_store_t *s, uint32_t tenant);

/* A certificate of the tenant ends at that Unix time; the latest is kept. */
void nlt_store_saw_certificate(nlt_store_t *s, uint32_t tenant, int64_t end_s);

/* What it was opened with; its strings live as long as the store.  [any] */
const nlt_store_conf_t *nlt_store_conf(const nlt_store_t *s);

/* Levels of compaction told apart; the last has all above it too. */
#define NLT_STORE_LEVELS 6

/* One arena as its slot in the head has it. */
typedef struct {
    uint64_t no; /* 0: the slot is free */
    uint64_t size_bytes;
    uint64_t reserved_bytes; /* of it, that have memory */
    bool sealed;             /* being written as blocks */
    bool active;             /* takes samples */
} nlt_store_arena_t;

/* Gauges for /metrics; cheap. */
typedef struct {
    nlt_store_arena_t arena[NLT_HEAD_ARENAS];
    nlt_head_load_t load;                    /* of all processes */
    uint64_t level_blocks[NLT_STORE_LEVELS]; /* [0]: level 1 */
    uint64_t level_bytes[NLT_STORE_LEVELS];
    uint64_t head_bytes;   /* reserved head files */
    uint64_t memory_bytes; /* memory= */
    nlt_memory_stage_t memory_stage;
    uint64_t active_series;
    uint64_t active_samples;
    uint64_t arenas;
    uint64_t blocks;
    uint64_t blocks_left_out; /* damaged, in quarantine, or unreadable */
    uint64_t block_bytes;
    uint64_t block_samples;
    uint64_t dense_blocks; /* of blocks, in dense format */
    uint64_t dense_bytes;
    uint64_t dense_samples;
    uint64_t delete_rules;    /* deletes that are still on the disk */
    uint64_t disk_free_bytes; /* where the store lies; 0: not known */
    uint64_t exemplars;
    uint64_t exemplar_series;
    uint64_t exemplar_bytes;    /* memory that they have so far */
    uint64_t exemplars_evicted; /* by newer ones, of this head */
    uint64_t metadata_families;
    uint64_t metadata_evicted;
    uint64_t failed_logs; /* arenas not yet in blocks whose log has failed */
    int64_t oldest_ms;    /* of all data; 0 when none */
    int64_t newest_ms;
} nlt_store_gauges_t;

/* Fills out; zeros of what is not there yet.  [any] */
void nlt_store_gauges(nlt_store_t *s, nlt_store_gauges_t *out);

/* Says what this process has to do, for the gauges.  [event loop] */
void nlt_store_set_load(nlt_store_t *s, const nlt_head_load_t *load);

/*
 * Asks the helper, whichever process it is, to seal the active arena and
 * write it as blocks; it does so within about a second, and the samples are
 * served all the time.  NLT_ENOTREADY.  [any]
 */
NLT_CHECKED nlt_rc_t nlt_store_flush_soon(nlt_store_t *s, nlt_err_t *err);

/* How a thread that needs the helper waits for it. */
typedef struct {
    /*
     * Waits a little, some 20 ms.  Another code than NLT_OK ends the waiting
     * with it.
     */
    nlt_rc_t (*pause)(void *ctx);
    /* The same without waiting; asked inside of longer work. */
    nlt_rc_t (*poll)(void *ctx);
    void *ctx;
} nlt_store_wait_t;

/*
 * Deletes the samples that d says: tenant, times and sets are the caller's,
 * which are borrowed; number and arena_max are set.  On success it is durable
 * and holds for every query that any process begins from now on; what is
 * written from now on is not concerned.  It may have to wait for the helper to
 * seal an arena, about a second.
 *   NLT_EINVAL, NLT_ELIMIT  not a rule, see nlt_delete_check()
 *   NLT_ELIMIT              an expression exceeds its limits on a value that
 *                           is there: nothing is deleted
 *   NLT_ENOTREADY           no open head, or it is being replaced
 *   NLT_AGAIN               too many rules, or no arena can be sealed now
 *   NLT_EFULL, NLT_EIO, NLT_EDATA, NLT_EVERSION, NLT_ENOMEM; what pause or
 *   poll returned.
 * After NLT_EIO and NLT_ENOTREADY it may hold or not, and is best repeated.
 * [any thread]
 */
NLT_CHECKED nlt_rc_t nlt_store_delete(nlt_store_t *s, nlt_delete_t *d,
                                      const nlt_store_wait_t *wait,
                                      nlt_err_t *err);

/*
 * Has what was deleted so far taken off the disk, in blocks of ours as in
 * those that came with tombstones, and waits until it is.  NLT_ENOTREADY,
 * NLT_EIO, NLT_EDATA, NLT_EVERSION, NLT_ENOMEM; what pause returned: the
 * helper goes on.  [any thread]
 */
NLT_CHECKED nlt_rc_t nlt_store_clean(nlt_store_t *s,
                                     const nlt_store_wait_t *wait,
                                     nlt_err_t *err);

/*
 * Exemplars as nlt_exemplars_select() finds them; none when they are off.
 * NLT_ENOTREADY: the store is.  [any thread]
 */
NLT_CHECKED nlt_rc_t nlt_store_exemplars(nlt_store_t *s,
                                         const nlt_exemplar_query_t *q,
                                         nlt_pool_t *pool,
                                         nlt_exemplar_series_t **out,
                                         size_t *n, nlt_err_t *err);

/* Metadata as nlt_metadata_list() has it.  Likewise. */
NLT_CHECKED nlt_rc_t nlt_store_metadata(nlt_store_t *s, uint32_t tenant,
                                        nlt_str_t name, nlt_pool_t *pool,
                                        nlt_metadata_list_t *out,
                                        nlt_err_t *err);

/* What one query reads; see nlt_view_open(). */
typedef struct {
    nlt_source_t source;
    nlt_store_t *store;
    uint32_t tenant;
    const nlt_delete_list_t *deletes; /* the rules in force */
    nlt_cutter_t cutter;              /* of them; the thread of select() */
    nlt_head_view_t head;
    void *blocks;       /* the list that was current */
    uint8_t *marks;     /* of its blocks, then of those in quarantine */
    _Atomic bool again; /* a block turned out damaged */
    int64_t t_oldest_ms;
    nlt_times_t times; /* decoded ones of dense blocks */
    /* Of the monotonic clock; 0: none.  From then on select() and its kin fail
     * with NLT_ECANCELED; and, where head_only, at once when they need a
     * block, which may have to come from the disk.  Both are set after open.
     */
    int64_t stop_ns;
    bool head_only;
    bool needs_block; /* one of them did */
} nlt_view_t;

/*
 * A view for one query: takes the rules of deletes first, then pins arenas,
 * then blocks, until close.  The source merges both: per series, samples in
 * time order, equal timestamps once, the first written (older block, older
 * arena) winning.  Samples that are deleted or older than the retention are
 * not served.  Sets must be closed before the view. The source points into
 * *out, which must therefore stay where it is. NLT_ENOTREADY (err says why),
 * NLT_EIO, NLT_EDATA (list of blocks), NLT_ENOMEM.  [any thread]
 *
 * Damage.  A block is either wholly in an answer or wholly left out.  When a
 * function of the source meets a damaged block it fails with NLT_EDATA (or
 * NLT_EVERSION), or, where it cannot fail, gives something empty.  So whoever
 * has evaluated something, with whatever result, asks nlt_view_again():
 *
 *     do {
 *         answer = evaluate(view)
 *     } while (nlt_view_again(view))
 *     nlt_view_warnings(view)     what the answer misses
 */
NLT_CHECKED nlt_rc_t nlt_view_open(nlt_store_t *s, uint32_t tenant,
                                   const int *cancel, nlt_view_t *out,
                                   nlt_err_t *err);

/*
 * Has a block that was read turned out damaged?  Then what was made of it is
 * void, and must be made again: the view leaves the block out from now on.
 * true at most once a block.  All sets are closed.  The helper has been told.
 */
bool nlt_view_again(nlt_view_t *v);

/*
 * One text for each block that overlaps the times of what was selected since
 * the view was opened, or nlt_view_again() said true, and that was left out;
 * in the pool, in order of blocks, at most NLT_VIEW_WARNINGS_MAX and one that
 * counts the others.  NLT_ENOMEM.
 */
#define NLT_VIEW_WARNINGS_MAX 10
NLT_CHECKED nlt_rc_t nlt_view_warnings(const nlt_view_t *v, nlt_pool_t *pool,
                                       nlt_str_t **out, size_t *n,
                                       nlt_err_t *err);

/* Blocks of the view, those that are left out included. */
size_t nlt_view_n_blocks(const nlt_view_t *v);

/* What block i says of itself; NULL when it is left out. */
const nlt_block_meta_t *nlt_view_block_meta(const nlt_view_t *v, size_t i);

/* Lets go of arenas and blocks.  All sets are closed.  [any thread] */
void nlt_view_close(nlt_view_t *v);

/* ---- the helper ---- */

/*
 * Tries to become the helper.  NLT_AGAIN: another process holds the lease, try
 * at the next tick; NLT_ENOTREADY: processes of another container use the
 * store, try once a second (nlt_users.h).  The caller runs step() then.
 */
NLT_CHECKED nlt_rc_t nlt_helper_open(const nlt_env_t *env,
                                     const nlt_store_conf_t *conf,
                                     nlt_helper_t **out, nlt_err_t *err);

/*
 * Does one piece of work and says when it wants to be called again
 * (milliseconds, at most 1000).  The first steps recover: attach the
 * surviving head, or make one and replay the logs; then open it; then
 * rotation, flush, retention, prefault, reaping.  *cancel (set by another
 * thread) makes a long step give up within a second, leaving everything to
 * be done again.  Failures are logged and tried again.
 */
int64_t nlt_helper_step(nlt_helper_t *h, const int *cancel);

/* Asks for the head to be flushed to blocks at the next step. [any] */
void nlt_helper_flush_soon(nlt_helper_t *h);

/*
 * Handing over.  A helper whose process leaves can give up what it is at, and
 * the next one begins it anew; with reloads faster than a flush, no flush
 * would ever end.  So who waits for the lease announces itself, and a helper
 * that is awaited finishes its step.  Its data is served and its logs are
 * synced meanwhile, and processes that go without a successor leave at once.
 *
 *     old   step ........................ done, close
 *     new   announce  open: AGAIN  AGAIN  AGAIN  open: OK, withdraw
 */

/*
 * Announces this process, until withdraw or its death.  NLT_AGAIN: the
 * helper is just looking, try again; NLT_EIO.
 */
NLT_CHECKED nlt_rc_t nlt_helper_announce(const nlt_env_t *env,
                                         const nlt_store_conf_t *conf, int *fd,
                                         nlt_err_t *err);

/* Takes it back; fd < 0 is allowed. */
void nlt_helper_withdraw(const nlt_env_t *env, int fd);

/* Does another process wait for the lease of h?  Two system calls.  [any] */
bool nlt_helper_is_awaited(const nlt_helper_t *h);

/*
 * Is it reading logs into a new head, which the next helper would throw away
 * and make anew?  Then one that is awaited goes on stepping until it has
 * them, or fails: the next one may have a better configuration.  From the
 * thread that steps.
 */
bool nlt_helper_is_recovering(const nlt_helper_t *h);

/* Gives up the lease. */
void nlt_helper_close(nlt_helper_t *h);

#endif

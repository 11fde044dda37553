/*
 * nlt_head.h - the head: shared memory that outlives the processes.
 *
 * Floor 3 (store); uses base, model, codec, index.
 * Layout: nlt_head_layout.h.  Decisions: D3, D4, D7, D8 of the architecture.
 * Threads: a handle belongs to a process; functions marked [any] may be
 * called by any of its threads at once, the others by one at a time.
 *
 * Three users: the *helper* creates the head, prepares, seals and retires
 * arenas (it alone, under the store's lease); *workers* attach and append
 * from their event loop; *queries* in worker threads pin what they read.
 *
 *     helper                      worker                    query thread
 *     create / attach             attach
 *     prepare  (next arena)       active -> find/register   pin
 *     rotate   (seal, activate)      check, append          select, read
 *     .. flush to blocks ..       (sealed? active again)    unpin
 *     retire   (unlink)           refresh: unmap retired
 *
 * Sealing: the helper takes every stripe lock and the registration lock
 * once each and sets `sealed` under them; a writer looks at it after taking
 * a lock, so after nlt_head_rotate() no sample enters the old arena, and
 * what was appended before is complete for the flush.
 *
 * A process that dies holding a stripe leaves EOWNERDEAD: the next holder
 * rebuilds the encoder of the series in flight from its published bits.  One
 * that dies holding the registration lock may leave postings or a hash
 * segment half changed; all published counts are still right, so readers and
 * flush are safe, but nobody registers there again: `registration_broken`
 * asks the helper for a rotation.
 */
#ifndef NLT_STORE_HEAD_H
#define NLT_STORE_HEAD_H

#include "nlt_env.h"
#include "nlt_head_layout.h"
#include "nlt_matcher.h"
#include "nlt_source.h"

typedef struct nlt_head_s nlt_head_t;
typedef struct nlt_arena_s nlt_arena_t; /* an arena as this process maps it */

typedef enum {
    NLT_ROLE_WORKER = 1,
    NLT_ROLE_HELPER,
    NLT_ROLE_TOOL
} nlt_head_role_t;

typedef struct {
    const nlt_env_t *env;
    int dir_fd; /* directory of the head files; borrowed */
    uint8_t store_id[NLT_STORE_ID_BYTES];
    uint64_t memory_bytes; /* of memory=: a third becomes the arena size */
    nlt_head_role_t role;
    /* Of it, for the stashes (nlt_head_side.h); 0: none. */
    uint64_t exemplar_bytes;
    uint64_t metadata_bytes;
    uint32_t tenants; /* room for so many: nlt_tenants.h */
    /*
     * Current term of the store (nlt_term.h), retained; NULL: not looked at.
     * A head made in another term is dead.
     */
    const _Atomic uint64_t *term;
} nlt_head_conf_t;

/* Smallest memory= that works: three arenas of 8 MiB. */
#define NLT_HEAD_MEMORY_MIN (24u << 20)

/*
 * [helper] Makes a new, empty head in state REPLAYING with one active arena
 * numbered first_arena, removing files of an older head of this store.
 * NLT_EFULL (no space in dir_fd's file system), NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_head_create(const nlt_head_conf_t *conf,
                                     uint64_t first_arena, nlt_head_t **out,
                                     nlt_err_t *err);

/*
 * [helper] Declares the head in conf->dir_fd dead, if there is one, and
 * removes its files; who has it mapped lets go by and by.  NLT_EVERSION: it
 * is of another layout and in use; NLT_EIO.
 */
NLT_CHECKED nlt_rc_t nlt_head_remove(const nlt_head_conf_t *conf,
                                     nlt_err_t *err);

/*
 * Attaches to the head of conf->store_id.  NLT_ENOENT: there is none, or it
 * is of another boot, layout or term, or dead (err says which): the helper
 * makes a new one.  NLT_EDATA: one of its arenas is damaged, likewise.
 * NLT_EVERSION: another layout with live processes attached: stay away until
 * they are gone.  Milliseconds.
 */
NLT_CHECKED nlt_rc_t nlt_head_attach(const nlt_head_conf_t *conf,
                                     nlt_head_t **out, nlt_err_t *err);

/* Gives up the process slot and the mappings.  No query may be running. */
void nlt_head_detach(nlt_head_t *h);

/* The control page: counters, state, progress, secret.  [any] */
nlt_head_ctl_t *nlt_head_ctl(const nlt_head_t *h);

/* [helper] Says to all processes why the head cannot be opened; "": it can. */
void nlt_head_set_trouble(nlt_head_t *h, const char *text);

/* What it said last; out gets a NUL.  [any] */
void
nlt_head_trouble(const nlt_head_ctl_t *ctl, char out[NLT_HEAD_TROUBLE_MAX]);

/*
 * Looks for arenas that came or went, maps and unmaps, and moves the two
 * arenas of nlt_head_active() and _previous() on; pointers got from those
 * hold until then.  Cheap when nothing changed (one load).  Called by a worker
 * before each batch and from a timer (an idle worker would keep a retired
 * arena in memory), by the helper each tick; always by the same thread, the
 * one that writes.  NLT_ENOMEM, NLT_EIO, NLT_EDATA: an arena cannot be
 * mapped.
 */
NLT_CHECKED nlt_rc_t nlt_head_refresh(nlt_head_t *h, nlt_err_t *err);

/*
 * Has this head been declared dead, or is it not the store's any more: detach
 * and attach the new one?  Who logged a write asks this before he says so to
 * anybody.  [any]
 */
bool nlt_head_is_dead(const nlt_head_t *h);

/* Has somebody removed or replaced files of this head?  Who has them mapped
 * works on, but nobody can attach any more.  A few stat() calls. */
bool nlt_head_is_lost(const nlt_head_t *h);

/*
 * A write or sync of the log of an arena has failed: from now on no process
 * appends to the arena, or acknowledges what it appended, and the helper
 * rotates it away and makes it a block (D5).  The same holds for arenas before
 * it, which takes nothing from anybody: they are sealed.  [any]
 */
void nlt_head_fail_log(nlt_head_ctl_t *ctl, uint64_t arena_no);

/* Has it?  One load.  [any] */
bool nlt_head_log_failed(const nlt_head_ctl_t *ctl, uint64_t arena_no);

/*
 * Does the head hold the samples of an arena, or shall it?  False: the arena
 * is in blocks (or was never there).  [any]
 */
bool nlt_head_holds(const nlt_head_ctl_t *ctl, uint64_t arena_no);

/* ---- helper ---- */

/* Creates the next arena, unless one is READY.  NLT_EFULL. */
NLT_CHECKED nlt_rc_t nlt_head_prepare(nlt_head_t *h, nlt_err_t *err);

/*
 * Arenas made from now on are a third of memory_bytes, but for the side file
 * of the conf.  True when that is
 * another size than before; then an arena that is READY is discarded, and
 * the caller prepares one and rotates.
 */
bool nlt_head_set_memory(nlt_head_t *h, uint64_t memory_bytes);

/* Reserves pages for what the active arena will soon need. */
void nlt_head_prefault(nlt_head_t *h);

/*
 * Seals the active arena and makes the READY one active; *sealed is the
 * number of the old one.  NLT_ENOTREADY: none is READY.
 */
NLT_CHECKED nlt_rc_t nlt_head_rotate(nlt_head_t *h, uint64_t *sealed,
                                     nlt_err_t *err);

/* Marks an arena retired and unlinks its file; mappings live on. */
NLT_CHECKED nlt_rc_t nlt_head_retire(nlt_head_t *h, uint64_t arena_no,
                                     nlt_err_t *err);

/*
 * Frees slots of processes that died and counts crash episodes (deaths
 * within one second are one).  Frees slots of retired arenas that nobody
 * maps any more.  Returns false when the quarantine rule fires (4 episodes
 * within 60 s): the caller marks the head dead and rebuilds.
 */
bool nlt_head_reap(nlt_head_t *h);

/* Sets the state word (REPLAYING -> OPEN, or DEAD). */
void nlt_head_set_state(nlt_head_t *h, nlt_head_state_t state);

/* Bytes of head files reserved now, retired but mapped ones included. [any] */
uint64_t nlt_head_bytes(const nlt_head_t *h);

/* ---- writers ---- */

/*
 * The active arena, mapped; NULL when there is none, or when it cannot be
 * mapped, or when a helper died between sealing and activating: 503.
 */
nlt_arena_t *nlt_head_active(nlt_head_t *h);

/*
 * The arena before it, to carry series from, until it is retired: a helper
 * that retires late (a scrape interval or two) saves senders' first samples
 * the parsing.  NULL when there is none.
 */
nlt_arena_t *nlt_head_previous(nlt_head_t *h);

/* Number of a mapped arena, and its header: valid as long as the arena is
 * pinned, or until the owner's next refresh.  [any] */
uint64_t nlt_arena_no(const nlt_arena_t *a);
const nlt_arena_header_t *nlt_arena_header(const nlt_arena_t *a);

/* From this share on the active arena is flushed early. */
#define NLT_ARENA_FLUSH_PERCENT 80

/*
 * What an arena that takes samples makes the store do, by the share of it
 * that is used:
 *
 *     0           80          85          90        all but 64 KiB
 *     | OK        | FLUSHING  | NO_SERIES             | NO_SAMPLES
 *                             '- new    '- carried over
 *
 * The helper seals it at 80 %, and the next one begins at OK; the further
 * stages come when flushes do not keep up and there are three arenas already.
 * The border of NO_SAMPLES is before the real end, so that requests are
 * refused by it, and not series by series as chunks find no room.  [any]
 */
nlt_memory_stage_t nlt_arena_stage(const nlt_arena_t *a);

/*
 * Key of a label set: keyed 128-bit hash of tenant and bytes.  The canonical
 * bytes of a series are its sorted labels in remote_write 1.0 encoding
 * (0x0a len (0x0a len name 0x12 len value))*, so a sender that sorts sends
 * them as they are, and its raw key is the canonical key.  [any]
 */
nlt_hash128_t nlt_head_key(const nlt_head_ctl_t *ctl, uint32_t tenant,
                           const void *bytes, size_t n);

/* Series number of a raw or canonical key, or 0.  Two cache misses.  [any] */
uint32_t nlt_arena_find(const nlt_arena_t *a, nlt_hash128_t key);

/* Is `no` the series of this canonical key?  What is asked lies in the order
 * of numbers, hash slots lie all over the memory.  [any] */
bool nlt_arena_is(const nlt_arena_t *a, uint32_t no, nlt_hash128_t canonical);

/* Bring the lines that find / append will touch into the cache; `behind`:
 * those that nlt_arena_is() and append will, of numbers some way behind. */
void nlt_arena_prefetch_behind(const nlt_arena_t *a, uint32_t series);
void nlt_arena_prefetch_key(const nlt_arena_t *a, nlt_hash128_t key);
void nlt_arena_prefetch_series(const nlt_arena_t *a, uint32_t series);

/*
 * Finds or creates the series of `labels` (valid, sorted, unique, no empty
 * value, canonical key `canonical`), and remembers `raw` as one more key of
 * it if it is another and there is room (NLT_ALIASES_PER_SERIES_MAX).
 *   NLT_EFULL     no room for new series (a tenth is kept for samples of
 *                 existing ones), or registration_broken
 *   NLT_EEXIST    sealed: ask nlt_head_active() again
 *   NLT_EINVAL    more than 10,000 labels
 * Counts series_created, _refused and aliases_created.  About 1 us for a new
 * series, holding the registration lock.
 */
NLT_CHECKED nlt_rc_t nlt_arena_register(nlt_arena_t *a, uint32_t tenant,
                                        nlt_labels_t labels,
                                        nlt_hash128_t canonical,
                                        nlt_hash128_t raw, uint32_t *series);

/*
 * Takes series `from_series` of the arena before over into a, under its
 * canonical key and `raw`; no string is parsed, validated or sorted.
 * Results as nlt_arena_register().  About 1 us.
 */
NLT_CHECKED nlt_rc_t nlt_arena_carry(nlt_arena_t *a, const nlt_arena_t *from,
                                     uint32_t from_series, nlt_hash128_t raw,
                                     uint32_t *series);
/* Its number in a if it came already, under whatever bytes; else 0.  [any] */
uint32_t nlt_arena_find_carried(const nlt_arena_t *a, const nlt_arena_t *from,
                                uint32_t from_series);

typedef enum {
    NLT_APPEND_PENDING = 0,
    NLT_APPEND_OK,        /* in order */
    NLT_APPEND_OOO,       /* taken, older than the newest */
    NLT_APPEND_DUPLICATE, /* was there, bit for bit */
    NLT_APPEND_CONFLICT   /* was there with another value: not taken */
} nlt_append_result_t;

typedef struct {
    uint32_t series;
    uint32_t result; /* nlt_append_result_t */
    int64_t t_ms;
    uint64_t v_bits;
} nlt_head_sample_t;

/*
 * Compares samples with what is committed, changes nothing: the index of the
 * first that conflicts (same time as the newest of its series, other bits),
 * or n.  *existing gets the value that is there.
 */
size_t nlt_arena_check(const nlt_arena_t *a, const nlt_head_sample_t *s,
                       size_t n, uint64_t *existing);

/*
 * Appends samples in the order given and sets each one's result; *done
 * counts those that have one.  Runs of the same stripe share one lock.
 *   NLT_EEXIST  sealed meanwhile: resolve and append the rest elsewhere
 *   NLT_EFULL   no room
 * Counts samples_appended, _ooo, _duplicate and _conflict, and moves
 * t_newest_ms.  About 25 ns a sample when the lines are in the cache, 40 for a
 * hundred thousand series in order of their numbers, 25 more where each sample
 * has another stripe.
 */
NLT_CHECKED nlt_rc_t nlt_arena_append(nlt_arena_t *a, nlt_head_sample_t *s,
                                      size_t n, size_t *done);

/* Is the series record in the arena's WAL?  Set after it was written. */
bool nlt_arena_series_logged(const nlt_arena_t *a, uint32_t series);
void nlt_arena_series_set_logged(nlt_arena_t *a, uint32_t series);

/* ---- readers ---- */

/*
 * The arenas that hold samples, oldest first, pinned: they stay mapped until
 * nlt_head_unpin().  Arenas are pinned before blocks are (D4).  [any]
 */
typedef struct {
    size_t n;
    nlt_arena_t *arena[NLT_HEAD_ARENAS];
    bool complete; /* false: one could not be mapped (no memory) */
} nlt_head_view_t;

/* Fills view.  An arena that had to be mapped and could not is left out and
 * complete is false: the answer of a query would lack its samples. */
void nlt_head_pin(nlt_head_t *h, nlt_head_view_t *view);
/* Lets go of them; retired ones may then be unmapped.  view is empty. */
void nlt_head_unpin(nlt_head_t *h, nlt_head_view_t *view);

/* Pins one arena by number; NULL when it is not there. */
nlt_arena_t *nlt_head_pin_arena(nlt_head_t *h, uint64_t arena_no);
void nlt_head_unpin_arena(nlt_head_t *h, nlt_arena_t *a);

/*
 * Numbers of the series of a tenant that match, ascending, in the pool; all
 * of them when there is no matcher.  Lock-free.  [any]
 */
NLT_CHECKED nlt_rc_t nlt_arena_select(const nlt_arena_t *a, nlt_pool_t *pool,
                                      uint32_t tenant,
                                      const nlt_matcher_t *matchers,
                                      size_t n_matchers, uint32_t **out,
                                      size_t *n, nlt_err_t *err);

/* Sorted labels; array in the pool, strings in the mapping.  [any] */
NLT_CHECKED nlt_rc_t nlt_arena_labels(const nlt_arena_t *a, uint32_t series,
                                      nlt_pool_t *pool, nlt_labels_t *out);

/* One label's value, empty when absent.  [any] */
nlt_str_t
nlt_arena_label(const nlt_arena_t *a, uint32_t series, nlt_str_t name);

/*
 * The same by numbers: nlt_arena_name_no() gives that of a name, 0 when no
 * series has it; nlt_arena_label_nos() those of the pairs (name and value) of
 * a series that have one of n names, 0 for those it has not.  False: no such
 * series, or corrupt.  [any]
 */
uint32_t
nlt_arena_name_no(const nlt_arena_t *a, uint32_t tenant, nlt_str_t name);
bool nlt_arena_label_nos(const nlt_arena_t *a, uint32_t series,
                         const uint64_t *names, size_t n, uint64_t *out);

/* Tenant of a series, 0 when there is no such series; its series.  [any] */
uint32_t nlt_arena_tenant(const nlt_arena_t *a, uint32_t series);
uint64_t nlt_arena_tenant_series(const nlt_arena_t *a, uint32_t tenant);

/*
 * Appends the samples of a series in [t_min_ms, t_max_ms] to out, ascending,
 * in-order and out-of-order ones merged, the first written winning.  What
 * out has already is left alone.  NLT_ENOMEM, NLT_EDATA.  [any]
 */
NLT_CHECKED nlt_rc_t nlt_arena_read(const nlt_arena_t *a, uint32_t series,
                                    nlt_read_t what, int64_t t_min_ms,
                                    int64_t t_max_ms, nlt_samples_t *out,
                                    nlt_err_t *err);

/*
 * A hint: the first NLT_ARENA_AHEAD of these n series are going to be read, in
 * a range that begins at t_min_ms.  Reading one series after another waits
 * for memory at every step; this asks for what all of them need.  [any]
 */
#define NLT_ARENA_AHEAD 32
void nlt_arena_read_ahead(const nlt_arena_t *a, const uint32_t *series,
                          size_t n, int64_t t_min_ms);

/* Names and values of labels of a tenant, unsorted, unique, in the pool. */
NLT_CHECKED nlt_rc_t nlt_arena_label_names(const nlt_arena_t *a,
                                           nlt_pool_t *pool, uint32_t tenant,
                                           nlt_str_t **out, size_t *n);
NLT_CHECKED nlt_rc_t nlt_arena_label_values(const nlt_arena_t *a,
                                            nlt_pool_t *pool, uint32_t tenant,
                                            nlt_str_t name, nlt_str_t **out,
                                            size_t *n);

#endif

/*
 * nlt_helper_recover.c - from whatever a crash left to an open head.
 */
#include "nlt_helper_tenants.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "nlt_replay.h"
#include "nlt_snapshot.h"
#include "nlt_suspects.h"
#include "nlt_term.h"

/* So long others may hold on to a dead head. */
#define DRAIN_MS 10000

/* A log of a later version does not change; somebody may take it away. */
#define REFUSED_MS 60000

/* ---- LOAD: what does the store consist of? ---- */

/* No MANIFEST: a new store, unless there are blocks of ours already. */
static nlt_rc_t
begin_manifest(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_manifest_t first;
    nlt_block_dirs_stats_t dirs;
    nlt_rc_t rc;

    nlt_manifest_init(&first, h->env->mem, h->dir.store_id);
    rc = nlt_block_dirs_clean(h->env, h->dir.blocks_fd, &first, true, &dirs,
                              err);
    if (rc == NLT_OK && dirs.removed > 0) {
        rc = nlt_err_set(err, NLT_EDATA,
                         "MANIFEST is missing, but blocks/ has %zu blocks of "
                         "this store: restore it from a backup, or move the "
                         "blocks away",
                         dirs.removed);
    }
    if (rc == NLT_OK) {
        rc = nlt_manifest_store(&first, h->env, h->dir.dir_fd, err);
    }
    if (rc == NLT_OK) {
        nlt_manifest_deinit(&h->manifest);
        h->manifest = first;
        return NLT_OK;
    }
    nlt_manifest_deinit(&first);
    return rc;
}

nlt_rc_t
nlt_helper_load(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_block_dirs_stats_t dirs;
    size_t n_snapshots = 0;
    nlt_rc_t rc;

    /* What is read next must not be undone by a power loss later. */
    rc = nlt_io_sync_dir(h->env->io, h->dir.dir_fd, err);
    if (rc == NLT_OK) {
        rc = nlt_manifest_load(&h->manifest, h->env, h->dir.dir_fd,
                               h->dir.store_id, err);
        if (rc == NLT_ENOENT) {
            rc = begin_manifest(h, err);
        }
    }
    if (rc == NLT_OK) {
        rc = nlt_helper_import_recover(h, err);
    }
    if (rc == NLT_OK) {
        nlt_helper_finish_quarantine(h);
        nlt_snapshot_clean(h->env, h->dir.dir_fd, &n_snapshots);
        rc = nlt_block_dirs_clean(h->env, h->dir.blocks_fd, &h->manifest,
                                  false, &dirs, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (dirs.removed > 0) {
        nlt_log(h->env, NLT_LOG_NOTICE, "%zu unfinished blocks removed",
                dirs.removed);
    }
    if (n_snapshots > 0) {
        nlt_log(h->env, NLT_LOG_NOTICE, "%zu unfinished snapshots removed",
                n_snapshots);
    }
    if (dirs.foreign > 0 && !h->warned_foreign) {
        h->warned_foreign = true;
        nlt_log_todo(h->env, NLT_LOG_WARN,
                     "move them to " NLT_DIR_IMPORT
                     "/ to have them served, or away",
                     "%zu blocks are not of this store and are left alone, "
                     "not served (%s, ...)",
                     dirs.foreign, dirs.first_foreign.c);
    }
    if (h->head != NULL) {
        atomic_fetch_add(&nlt_helper_ctl(h)->manifest_gen, 1);
        h->stage =
            nlt_helper_is_open(h) ? NLT_HELPER_SETTLE : NLT_HELPER_REPLAY;
    } else {
        h->stage = NLT_HELPER_ATTACH;
    }
    return NLT_OK;
}

/* ---- ATTACH, DRAIN, CREATE: a head ---- */

static nlt_head_conf_t
head_conf(const nlt_helper_t *h)
{
    nlt_head_conf_t c = {
        .env = h->env,
        .dir_fd = h->dir.head_fd,
        .memory_bytes = h->conf.memory_bytes,
        .exemplar_bytes = h->conf.exemplar_bytes,
        .metadata_bytes = nlt_helper_metadata_bytes(&h->conf),
        .tenants = h->conf.tenants,
        .role = NLT_ROLE_HELPER,
        .term = h->dir.term,
    };

    memcpy(c.store_id, h->dir.store_id, sizeof(c.store_id));
    return c;
}

/* Does the head that survived fit what the MANIFEST says? */
static const char *
head_fault(const nlt_helper_t *h)
{
    nlt_head_arena_slot_t *active = nlt_helper_oldest(h, NLT_ARENA_ACTIVE);

    if (!nlt_helper_is_open(h)) {
        return "its replay was not finished";
    }
    if (active == NULL || nlt_head_active(h->head) == NULL) {
        return "it has no active arena";
    }
    if (nlt_manifest_is_finished(&h->manifest, atomic_load(&active->no))) {
        return "its active arena is finished in the MANIFEST";
    }
    return NULL;
}

/*
 * Is there a log that is older than the arenas of the head, and needed?  Then
 * *out.  Whether a head was being filled is a word in memory that anything may
 * have written to; that there is something to fill it from is on the disk.
 */
static nlt_rc_t
has_originals(nlt_helper_t *h, bool *out, nlt_err_t *err)
{
    nlt_head_ctl_t *ctl = nlt_helper_ctl(h);
    uint64_t *logs, lowest = UINT64_MAX;
    size_t n = 0;
    nlt_pool_t pool;
    nlt_rc_t rc;

    *out = false;
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        uint64_t no = atomic_load(&ctl->arenas[i].no);

        if (no != 0 && no < lowest) {
            lowest = no;
        }
    }
    nlt_pool_init(&pool, h->env->mem, 16u << 20);
    rc = nlt_store_dir_logs(h->env, h->dir.wal_fd, &pool, &logs, &n, err);
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        *out |= logs[i] < lowest
                && !nlt_manifest_is_finished(&h->manifest, logs[i]);
    }
    nlt_pool_deinit(&pool);
    return rc;
}

/*
 * The logs of a head whose replay was cut off have nothing but copies, unless
 * one of the logs that were read is finished.  They go, or starts that do not
 * live long enough would fill the disk.
 */
static nlt_rc_t
remove_copies(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_head_ctl_t *ctl = nlt_helper_ctl(h);
    bool copies = false;
    nlt_rc_t rc;

    if (nlt_helper_is_open(h) || atomic_load(&ctl->replay_kept)) {
        return NLT_OK;
    }
    rc = has_originals(h, &copies, err);
    if (rc != NLT_OK || !copies) {
        return rc;
    }
    for (size_t i = 0; i < NLT_HEAD_ARENAS && rc == NLT_OK; i++) {
        uint64_t no = atomic_load(&ctl->arenas[i].no);

        if (no != 0 && nlt_head_holds(ctl, no)) {
            rc = nlt_helper_remove_log(h, no, err);
        }
    }
    return rc;
}

nlt_rc_t
nlt_helper_attach(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_head_conf_t conf = head_conf(h);
    const char *fault;
    nlt_rc_t rc = nlt_head_attach(&conf, &h->head, err);

    if (rc == NLT_ENOENT || rc == NLT_EDATA) {
        h->head = NULL;
        if (rc == NLT_ENOENT) {
            nlt_log(h->env, NLT_LOG_NOTICE, "new head: %s", err->text);
        } else {
            nlt_log_todo(h->env, NLT_LOG_CRIT,
                         "nothing is lost, but look for what damaged it",
                         "new head: %s", err->text);
        }
        h->stage = NLT_HELPER_CREATE;
        return NLT_OK;
    }
    if (rc != NLT_OK) {
        h->head = NULL;
        return rc;
    }
    (void) nlt_head_reap(h->head);
    nlt_suspects_reset(nlt_helper_ctl(h));
    fault = head_fault(h);
    if (fault != NULL) {
        rc = remove_copies(h, err);
        if (rc != NLT_OK) {
            nlt_helper_detach(h);
            return rc;
        }
        nlt_helper_quarantine(h, fault);
    } else {
        h->rotate_now |= nlt_head_set_memory(h->head, h->conf.memory_bytes);
        nlt_helper_side_attached(h);
        nlt_helper_check_tenants(h);
        /* Whoever changed a file may have died before he said so. */
        atomic_fetch_add(&nlt_helper_ctl(h)->manifest_gen, 1);
        atomic_fetch_add(&nlt_helper_ctl(h)->deletes_gen, 1);
        h->stage = NLT_HELPER_SETTLE;
    }
    return NLT_OK;
}

/* Waits for others to let go of the dead head: they may still be logging. */
bool
nlt_helper_drained(nlt_helper_t *h)
{
    size_t others = 0;

    (void) nlt_head_reap(h->head);
    for (size_t i = 0; i < NLT_HEAD_PROCESSES; i++) {
        uint64_t pid = atomic_load(&nlt_helper_ctl(h)->processes[i].pid);
        uint32_t role = atomic_load(&nlt_helper_ctl(h)->processes[i].role);

        others += pid != 0 && role == NLT_ROLE_WORKER;
    }
    if (h->drain_ns == 0) {
        h->drain_ns = nlt_mono_ns(h->env);
    }
    if (others > 0 && !nlt_helper_older(h, h->drain_ns, DRAIN_MS)) {
        return false;
    }
    h->drain_ns = 0;
    nlt_helper_detach(h);
    h->stage = NLT_HELPER_CREATE;
    return true;
}

/* A head that was made when head= was another directory. */
static nlt_rc_t
remove_elsewhere(nlt_helper_t *h, const char *path, nlt_err_t *err)
{
    nlt_head_conf_t conf = head_conf(h);
    nlt_rc_t rc;

    conf.dir_fd = h->env->io->open(h->env->io->ctx, AT_FDCWD, path,
                                   O_RDONLY | O_DIRECTORY, 0);
    if (conf.dir_fd < 0) {
        return NLT_OK; /* gone, with all that is in it */
    }
    rc = nlt_head_remove(&conf, err);
    (void) h->env->io->close(h->env->io->ctx, conf.dir_fd);
    return rc;
}

/*
 * From here on no process acknowledges what it appends to an older head.
 * Heads of another layout that are in use are not outdated: their program
 * was there first.
 */
static nlt_rc_t
begin_term(nlt_helper_t *h, const nlt_head_conf_t *conf, nlt_err_t *err)
{
    char before[NLT_TERM_PATH_MAX];
    nlt_rc_t rc = nlt_head_remove(conf, err);

    nlt_term_head_path(h->env, h->dir.dir_fd, before);
    if (rc == NLT_OK && before[0] != '\0'
        && strcmp(before, h->head_path) != 0) {
        rc = remove_elsewhere(h, before, err);
    }
    return rc == NLT_OK
               ? nlt_term_begin(h->env, h->dir.dir_fd, h->head_path, err)
               : rc;
}

nlt_rc_t
nlt_helper_create(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_head_conf_t conf = head_conf(h);
    uint64_t first = h->manifest.floor, *logs, total = 0;
    size_t n = 0;
    nlt_pool_t pool;
    nlt_rc_t rc;

    nlt_pool_init(&pool, h->env->mem, 16u << 20);
    rc = nlt_store_dir_logs(h->env, h->dir.wal_fd, &pool, &logs, &n, err);
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        first = logs[i] >= first ? logs[i] + 1 : first;
        if (!nlt_manifest_is_finished(&h->manifest, logs[i])) {
            total += nlt_store_dir_log_bytes(h->env, h->dir.wal_fd, logs[i]);
        }
    }
    nlt_pool_deinit(&pool);
    for (size_t i = 0; i < h->manifest.n_finished; i++) {
        if (h->manifest.finished[i] >= first) {
            first = h->manifest.finished[i] + 1;
        }
    }
    if (rc == NLT_OK) {
        rc = nlt_helper_beyond_rules(h, &first, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_helper_try_tenants(h, err);
    }
    if (rc == NLT_OK) {
        rc = begin_term(h, &conf, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_head_create(&conf, first, &h->head, err);
    }
    if (rc != NLT_OK) {
        h->head = NULL;
        return rc;
    }
    rc = nlt_helper_load_tenants(h, err);
    if (rc != NLT_OK) {
        nlt_helper_detach(h);
        return rc;
    }
    nlt_deletes_forget(h->deletes);
    nlt_helper_load_metadata(h);
    atomic_store(&nlt_helper_ctl(h)->replay_total, total);
    h->replayed_bytes = 0;
    h->stage = NLT_HELPER_REPLAY;
    return NLT_OK;
}

/* ---- REPLAY and NLT_HELPER_SETTLE: nothing is left of what was before ----
 */

/*
 * The oldest log that is neither finished nor of an arena of the head, in
 * *no, or 0.  Logs of finished arenas are removed on the way.
 */
static nlt_rc_t
next_log(nlt_helper_t *h, uint64_t *no, nlt_err_t *err)
{
    uint64_t *logs;
    size_t n = 0;
    nlt_pool_t pool;
    nlt_rc_t rc;

    *no = 0;
    nlt_pool_init(&pool, h->env->mem, 16u << 20);
    rc = nlt_store_dir_logs(h->env, h->dir.wal_fd, &pool, &logs, &n, err);
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        if (nlt_manifest_is_finished(&h->manifest, logs[i])) {
            rc = nlt_helper_remove_log(h, logs[i], err);
        } else if (*no == 0 && !nlt_head_holds(nlt_helper_ctl(h), logs[i])) {
            *no = logs[i];
        }
    }
    nlt_pool_deinit(&pool);
    return rc;
}

/* A log each for the arenas of the head; a lost one means: flush soon. */
static nlt_rc_t
ensure_logs(nlt_helper_t *h, nlt_err_t *err)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *s = &nlt_helper_ctl(h)->arenas[i];
        uint64_t no = atomic_load(&s->no);
        uint32_t state = atomic_load(&s->state);
        nlt_rc_t rc;

        if (no == 0 || state == NLT_ARENA_NONE || state == NLT_ARENA_RETIRED) {
            continue;
        }
        if (state == NLT_ARENA_ACTIVE && h->stage == NLT_HELPER_SETTLE
            && nlt_store_dir_log_bytes(h->env, h->dir.wal_fd, no) == 0) {
            h->rotate_now = true;
        }
        rc = nlt_helper_create_log(h, no, err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/*
 * A log that belongs to another store: whoever put it there shall find it,
 * and the store shall start.
 */
static nlt_rc_t
set_log_aside(nlt_helper_t *h, uint64_t no, nlt_err_t *err)
{
    char name[NLT_WAL_NAME_SIZE];
    char from[sizeof(NLT_DIR_WAL "/") + NLT_WAL_NAME_SIZE];
    char to[sizeof(NLT_DIR_QUARANTINE "/") + NLT_WAL_NAME_SIZE];
    int sys;

    nlt_wal_name(name, no);
    (void) snprintf(from, sizeof(from), NLT_DIR_WAL "/%s", name);
    (void) snprintf(to, sizeof(to), NLT_DIR_QUARANTINE "/%s", name);
    nlt_log_todo(h->env, NLT_LOG_CRIT,
                 "bring it to the store that it is of, or remove it",
                 "log %s is set aside in " NLT_DIR_QUARANTINE "/: %s", name,
                 err ? err->text : "damaged");
    sys = h->env->io->rename(h->env->io->ctx, h->dir.dir_fd, from, to);
    return sys < 0
               ? nlt_err_set_errno(err, NLT_EIO, -sys, "rename log %s", name)
               : NLT_OK;
}

/* Is the active arena one that must not be replayed into? */
static bool
active_log_failed(nlt_helper_t *h)
{
    nlt_arena_t *a = nlt_head_active(h->head);

    return a != NULL
           && nlt_head_log_failed(nlt_helper_ctl(h), nlt_arena_no(a));
}

/*
 * A replay has failed half way.  Read once more into this head, its samples
 * would be late ones beside themselves, and take memory each time; and series
 * count as logged though the log may have failed.  So: another head.
 */
static void
begin_again(nlt_helper_t *h)
{
    nlt_arena_t *a = nlt_head_active(h->head);
    nlt_err_t err;

    if (a != NULL && atomic_load(&nlt_arena_header(a)->n_series) == 0) {
        return; /* nothing was taken: a disk that does not give the log */
    }
    if (remove_copies(h, &err) != NLT_OK) {
        nlt_helper_complain(h, "logs of copies stay", &err);
    }
    nlt_head_set_state(h->head, NLT_HEAD_DEAD);
    h->drain_ns = 0;
    h->stage = NLT_HELPER_DRAIN;
}

static void
log_replay(nlt_helper_t *h, uint64_t no, const nlt_replay_stats_t *stats)
{
    nlt_log(h->env, NLT_LOG_NOTICE,
            "log %llu: %llu samples of %llu bytes replayed; %llu samples and "
            "%llu series were unreadable, %llu bytes torn, %llu samples "
            "deleted",
            (unsigned long long) no, (unsigned long long) stats->samples,
            (unsigned long long) stats->bytes,
            (unsigned long long) stats->dropped_samples,
            (unsigned long long) stats->dropped_series,
            (unsigned long long) stats->skipped_bytes,
            (unsigned long long) stats->deleted_samples);
    if (stats->dropped_samples + stats->dropped_series > 0) {
        nlt_log_todo(h->env, NLT_LOG_WARN,
                     "look for trouble of the disk, and send them again if "
                     "somebody has them",
                     "log %llu: %llu samples and %llu series are lost: they "
                     "could not be read",
                     (unsigned long long) no,
                     (unsigned long long) stats->dropped_samples,
                     (unsigned long long) stats->dropped_series);
    }
    if (stats->deletes_left) {
        nlt_log_todo(h->env, NLT_LOG_WARN,
                     "delete it again, without nested repetitions",
                     "log %llu: an expression of a delete took too long on "
                     "some series; what it deletes of them is there again",
                     (unsigned long long) no);
    }
}

/*
 * Replays one log into the active arena and commits that it is finished, by
 * the rules of now.
 */
static nlt_rc_t
replay_by(nlt_helper_t *h, uint64_t no, const nlt_delete_list_t *rules,
          nlt_err_t *err)
{
    nlt_replay_conf_t conf = {
        .env = h->env,
        .head = h->head,
        .wal_fd = h->dir.wal_fd,
        .store_id = h->dir.store_id,
        .done_before = h->replayed_bytes,
        .deletes = rules,
        .make_room = nlt_helper_make_room_cb,
        .poll = nlt_helper_poll_cb,
        .ctx = h,
    };
    nlt_replay_stats_t stats;
    nlt_manifest_t next = {.mem = h->env->mem};
    nlt_rc_t rc = nlt_replay_log(&conf, no, &stats, err);

    if (rc == NLT_EDATA && h->stage != NLT_HELPER_DRAIN) {
        return set_log_aside(h, no, err);
    }
    if (rc == NLT_EVERSION && err != NULL) {
        h->refused = *err;
        h->refused.rc = rc;
        h->refused_ns = nlt_mono_ns(h->env);
    }
    if (rc != NLT_OK) {
        if (h->stage == NLT_HELPER_REPLAY && rc != NLT_ECANCELED) {
            begin_again(h);
        }
        return rc;
    }
    atomic_store(&nlt_helper_ctl(h)->replay_kept, 1);
    rc = nlt_manifest_copy(&next, &h->manifest);
    if (rc == NLT_OK) {
        rc = nlt_helper_finish(h, &next, no, err);
    }
    nlt_manifest_deinit(&next);
    if (rc != NLT_OK) {
        return rc;
    }
    h->replayed_bytes += stats.bytes;
    atomic_fetch_add(&nlt_helper_ctl(h)->counters.wal_skipped_bytes,
                     stats.skipped_bytes);
    log_replay(h, no, &stats);
    return nlt_helper_remove_log(h, no, err);
}

/*
 * Into an open head a log is replayed under the lock of deletes: else one
 * could look at the active arena before its samples come up there.
 */
static nlt_rc_t
replay(nlt_helper_t *h, uint64_t no, nlt_err_t *err)
{
    const nlt_delete_list_t *rules;
    int lock = -1;
    nlt_rc_t rc = NLT_OK;

    if (h->stage == NLT_HELPER_SETTLE) {
        rc = nlt_deletes_lock(h->env, h->dir.dir_fd, &lock, err);
        nlt_deletes_forget(h->deletes);
    }
    if (rc == NLT_OK) {
        rc = nlt_helper_rules(h, &rules, err);
    }
    if (rc == NLT_OK) {
        rc = replay_by(h, no, rules, err);
        nlt_deletes_release(h->deletes, rules);
    }
    nlt_deletes_unlock(h->env, lock);
    return rc;
}

/* Is so much of the active arena used that the next log gets a new one? */
static bool
wants_fresh_arena(nlt_helper_t *h, uint64_t log_no)
{
    nlt_arena_t *a = nlt_head_active(h->head);
    uint64_t bytes = nlt_store_dir_log_bytes(h->env, h->dir.wal_fd, log_no);
    const nlt_arena_header_t *head;

    if (a == NULL) {
        return false;
    }
    head = nlt_arena_header(a);
    /* A log is about as large as what it becomes in memory. */
    return atomic_load(&head->n_samples) > 0
           && atomic_load(&head->used_bytes) + bytes
                  > head->size_bytes / 100 * NLT_HELPER_FULL_PERCENT;
}

/* All arenas below the oldest of the head are finished: nothing has them. */
static nlt_rc_t
raise_floor(nlt_helper_t *h, nlt_err_t *err)
{
    uint64_t lowest = UINT64_MAX;
    nlt_manifest_t next = {.mem = h->env->mem};
    nlt_rc_t rc;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        uint64_t no = atomic_load(&nlt_helper_ctl(h)->arenas[i].no);

        if (no != 0 && nlt_head_holds(nlt_helper_ctl(h), no) && no < lowest) {
            lowest = no;
        }
    }
    if (lowest == UINT64_MAX || lowest <= h->manifest.floor) {
        return NLT_OK;
    }
    rc = nlt_manifest_copy(&next, &h->manifest);
    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "manifest: no memory");
    }
    nlt_manifest_raise_floor(&next, lowest);
    rc = nlt_helper_commit(h, &next, err);
    nlt_manifest_deinit(&next);
    return rc;
}

/* One log a step; after the last one the head opens. */
nlt_rc_t
nlt_helper_settle(nlt_helper_t *h, nlt_err_t *err)
{
    uint64_t no = 0;
    nlt_rc_t rc;

    if (h->refused.rc != NLT_OK
        && !nlt_helper_older(h, h->refused_ns, REFUSED_MS)) {
        return nlt_err_set(err, h->refused.rc, "%s", h->refused.text);
    }
    rc = ensure_logs(h, err);
    if (rc == NLT_OK) {
        rc = next_log(h, &no, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (no != 0) {
        if (h->stage == NLT_HELPER_REPLAY ? wants_fresh_arena(h, no)
                                          : active_log_failed(h)) {
            rc = nlt_helper_make_room_cb(h, err);
        }
        return rc == NLT_OK ? replay(h, no, err) : rc;
    }
    /* Arenas that are in blocks, but were not retired before a crash. */
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *s = &nlt_helper_ctl(h)->arenas[i];

        no = atomic_load(&s->no);
        if (no != 0 && atomic_load(&s->state) == NLT_ARENA_SEALED
            && nlt_manifest_is_finished(&h->manifest, no)) {
            rc = nlt_head_retire(h->head, no, err);
            if (rc != NLT_OK) {
                return rc;
            }
        }
    }
    rc = raise_floor(h, err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_helper_update_border(h);
    if (h->stage == NLT_HELPER_REPLAY) {
        nlt_head_set_state(h->head, NLT_HEAD_OPEN);
        nlt_helper_say_strays(h);
    }
    h->stage = NLT_HELPER_RUN;
    return NLT_OK;
}

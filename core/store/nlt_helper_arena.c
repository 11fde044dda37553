/*
 * nlt_helper_arena.c - rotation, syncs, commits and flushes.
 *
 * While a flush runs it asks nlt_helper_poll_cb() in again and again, so
 * that syncs and rotations do not wait for a large block.
 */
#include "nlt_helper_tenants.h"

#include <errno.h>

#include "nlt_flush.h"

#define HOUSEKEEP_MS 50

/* Why an arena is rotated before its time. */
#define FULL "full"

/* ---- arenas ---- */

nlt_head_ctl_t *
nlt_helper_ctl(const nlt_helper_t *h)
{
    return nlt_head_ctl(h->head);
}

bool
nlt_helper_is_open(const nlt_helper_t *h)
{
    return h->head != NULL
           && atomic_load(&nlt_helper_ctl(h)->state) == NLT_HEAD_OPEN;
}

/* The slot of the oldest arena in this state, or NULL. */
nlt_head_arena_slot_t *
nlt_helper_oldest(const nlt_helper_t *h, nlt_arena_state_t state)
{
    nlt_head_arena_slot_t *found = NULL;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *s = &nlt_helper_ctl(h)->arenas[i];

        if (atomic_load(&s->no) != 0 && atomic_load(&s->state) == state
            && (found == NULL
                || atomic_load(&s->no) < atomic_load(&found->no))) {
            found = s;
        }
    }
    return found;
}

size_t
nlt_helper_count(const nlt_helper_t *h, nlt_arena_state_t state)
{
    size_t n = 0;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *s = &nlt_helper_ctl(h)->arenas[i];

        n += atomic_load(&s->no) != 0 && atomic_load(&s->state) == state;
    }
    return n;
}

nlt_rc_t
nlt_helper_create_log(nlt_helper_t *h, uint64_t no, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_wal_create(h->env, h->dir.wal_fd, h->dir.store_id, no,
                                 nlt_now_ms(h->env), err);

    return rc == NLT_EEXIST ? NLT_OK : rc;
}

/* The next arena and its log, when there is memory for one more. */
static nlt_rc_t
prepare_next(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_head_arena_slot_t *ready = nlt_helper_oldest(h, NLT_ARENA_READY);
    nlt_rc_t rc;

    if (ready == NULL) {
        size_t n = nlt_helper_count(h, NLT_ARENA_ACTIVE)
                   + nlt_helper_count(h, NLT_ARENA_SEALED)
                   + nlt_helper_count(h, NLT_ARENA_RETIRED);

        if (n > 2) {
            return nlt_err_set(err, NLT_EFULL, "three arenas are in use");
        }
        rc = nlt_head_prepare(h->head, err);
        if (rc != NLT_OK) {
            return rc;
        }
        ready = nlt_helper_oldest(h, NLT_ARENA_READY);
        if (ready == NULL) {
            return nlt_err_set(err, NLT_EBUG, "no arena was prepared");
        }
        return nlt_helper_create_log(h, atomic_load(&ready->no), err);
    }
    return NLT_OK;
}

/* Its log is there before it becomes active: writers open it at once. */
nlt_rc_t
nlt_helper_rotate(nlt_helper_t *h, nlt_err_t *err)
{
    uint64_t sealed = 0;
    nlt_head_arena_slot_t *ready;
    nlt_rc_t rc = prepare_next(h, err);

    if (rc != NLT_OK) {
        return rc;
    }
    ready = nlt_helper_oldest(h, NLT_ARENA_READY);
    rc = nlt_helper_create_log(h, atomic_load(&ready->no), err);
    if (rc == NLT_OK) {
        rc = nlt_head_rotate(h->head, &sealed, err);
    }
    if (rc == NLT_OK) {
        h->rotate_now = false;
        nlt_log(h->env, NLT_LOG_NOTICE, "arena %llu is sealed",
                (unsigned long long) sealed);
    }
    return rc;
}

bool
nlt_helper_used(const nlt_helper_t *h, unsigned percent)
{
    nlt_arena_t *a = nlt_head_active(h->head);

    return a != NULL
           && atomic_load(&nlt_arena_header(a)->used_bytes)
                  >= nlt_arena_header(a)->size_bytes / 100 * percent;
}

/* Why the active arena should be rotated, or NULL. */
static const char *
rotation_due(nlt_helper_t *h)
{
    nlt_head_arena_slot_t *s = nlt_helper_oldest(h, NLT_ARENA_ACTIVE);
    nlt_arena_t *a = nlt_head_active(h->head);
    const nlt_arena_header_t *head;
    int64_t age;

    if (s == NULL || a == NULL) {
        return NULL;
    }
    head = nlt_arena_header(a);
    if (atomic_load(&head->registration_broken)) {
        return "a writer died in it";
    }
    if (nlt_head_log_failed(nlt_helper_ctl(h), nlt_arena_no(a))) {
        return "its log has failed";
    }
    if (nlt_helper_used(h, NLT_HELPER_FULL_PERCENT)) {
        return FULL;
    }
    if (atomic_load(&nlt_helper_ctl(h)->seal_asked) == nlt_arena_no(a)) {
        return "a delete";
    }
    if (atomic_load(&head->n_samples) == 0) {
        h->rotate_now = false;
        return NULL;
    }
    age = nlt_now_ms(h->env) - atomic_load(&s->active_ms);
    return h->rotate_now                 ? "flush"
           : age >= h->conf.arena_age_ms ? "age"
                                         : NULL;
}

/* ---- syncing the logs ---- */

static nlt_helper_log_t *
log_of(nlt_helper_t *h, uint64_t no, nlt_err_t *err)
{
    nlt_helper_log_t *free_slot = NULL;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        if (h->logs[i].no == no) {
            return &h->logs[i];
        }
        if (h->logs[i].no == 0) {
            free_slot = &h->logs[i];
        }
    }
    if (free_slot == NULL) {
        (void) nlt_err_set(err, NLT_EBUG, "more logs than arenas");
        return NULL;
    }
    if (nlt_wal_open(h->env, h->dir.wal_fd, no, &free_slot->wal, err)
        != NLT_OK) {
        free_slot->wal = NULL;
        return NULL;
    }
    free_slot->no = no;
    return free_slot;
}

/*
 * A failure is for all processes to see: what the log had may be lost in the
 * page cache, so nobody adds to it, and its arena becomes a block.
 */
static void
sync_log(nlt_helper_t *h, uint64_t no, bool active)
{
    nlt_head_counters_t *c = &nlt_helper_ctl(h)->counters;
    int64_t start = nlt_mono_ns(h->env), bytes;
    nlt_err_t err;
    nlt_helper_log_t *l = log_of(h, no, &err);

    if (l == NULL) {
        nlt_helper_complain(h, "log cannot be opened", &err);
        h->rotate_now |= active;
        return;
    }
    bytes = nlt_wal_bytes(l->wal);
    if (l->failed || (bytes == l->synced_bytes && bytes > 0)) {
        return;
    }
    atomic_fetch_add(&c->wal_fsyncs, 1);
    if (nlt_wal_sync(l->wal, &err) != NLT_OK) {
        l->failed = true;
        nlt_head_fail_log(nlt_helper_ctl(h), no);
        atomic_fetch_add(&c->wal_errors, 1);
        nlt_helper_complain(h, "log cannot be synced", &err);
    } else {
        l->synced_bytes = bytes;
    }
    start = nlt_mono_ns(h->env) - start;
    atomic_fetch_add(&c->wal_sync_ns, (uint64_t) start);
    nlt_head_observe(&c->time_wal_sync, start);
}

/* Milliseconds from sync to sync; 0: none. */
int64_t
nlt_helper_sync_ms(const nlt_helper_t *h)
{
    return h->conf.wal_sync_ms == NLT_WAL_SYNC_ALWAYS
               ? NLT_HELPER_SYNC_ALWAYS_MS
               : nlt_max_i64(h->conf.wal_sync_ms, 0);
}

static void
sync_logs(nlt_helper_t *h)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *s = &nlt_helper_ctl(h)->arenas[i];
        uint64_t no = atomic_load(&s->no);
        uint32_t state = atomic_load(&s->state);

        if (no != 0
            && (state == NLT_ARENA_ACTIVE || state == NLT_ARENA_SEALED)) {
            sync_log(h, no, state == NLT_ARENA_ACTIVE);
        }
    }
    h->synced_ns = nlt_mono_ns(h->env);
}

/* ---- what may not wait ---- */

void
nlt_helper_update_border(nlt_helper_t *h)
{
    atomic_store(&nlt_helper_ctl(h)->t_oldest_ms,
                 nlt_retention_border(nlt_now_ms(h->env),
                                      nlt_helper_newest_ms(h),
                                      h->conf.retention_ms));
}

/* Number of the newest sealed arena, or 0. */
static uint64_t
sealed_last(const nlt_helper_t *h)
{
    uint64_t last = 0;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *s = &nlt_helper_ctl(h)->arenas[i];
        uint64_t no = atomic_load(&s->no);

        if (no > last && atomic_load(&s->state) == NLT_ARENA_SEALED) {
            last = no;
        }
    }
    return last;
}

/* The store is flushing early until all that was sealed early is in blocks. */
static void
note_stage(nlt_helper_t *h)
{
    nlt_arena_t *a = nlt_head_active(h->head);
    nlt_memory_stage_t stage = a ? nlt_arena_stage(a) : NLT_MEMORY_OK;
    nlt_head_arena_slot_t *oldest = nlt_helper_oldest(h, NLT_ARENA_SEALED);

    if (stage == NLT_MEMORY_OK && oldest != NULL
        && atomic_load(&oldest->no) <= h->early_no) {
        stage = NLT_MEMORY_FLUSHING;
    }
    atomic_store(&nlt_helper_ctl(h)->memory_stage, stage);
}

/* Sync, prefault, prepare, rotate.  Called inside a flush too. */
void
nlt_helper_housekeep(nlt_helper_t *h)
{
    nlt_err_t err;
    const char *why;
    nlt_rc_t rc;

    h->housekept_ns = nlt_mono_ns(h->env);
    if (nlt_head_refresh(h->head, &err) != NLT_OK) {
        nlt_helper_complain(h, "head", &err);
    }
    if (nlt_helper_sync_ms(h) > 0
        && nlt_helper_older(h, h->synced_ns, nlt_helper_sync_ms(h))) {
        sync_logs(h);
    }
    nlt_helper_update_border(h);
    nlt_helper_tend_tenants(h);
    nlt_head_prefault(h->head);
    if (atomic_exchange(&nlt_helper_ctl(h)->flush_asked, 0)
        || atomic_exchange(&h->flush_soon, 0)) {
        h->rotate_now = true;
    }
    rc = prepare_next(h, &err);
    if (rc != NLT_OK && nlt_helper_count(h, NLT_ARENA_SEALED) == 0
        && nlt_helper_count(h, NLT_ARENA_RETIRED) == 0) {
        nlt_helper_complain(h, "no room for the next arena", &err);
    }
    why = rotation_due(h);
    if (rc == NLT_OK && why != NULL) {
        bool early = strcmp(why, FULL) == 0;

        nlt_log(h->env, NLT_LOG_DEBUG, "rotation: %s", why);
        if (nlt_helper_rotate(h, &err) != NLT_OK) {
            nlt_helper_complain(h, "rotation", &err);
        } else if (early) {
            atomic_fetch_add(&nlt_helper_ctl(h)->counters.early_flushes, 1);
            h->early_no = sealed_last(h);
        }
    }
    note_stage(h);
}

nlt_rc_t
nlt_helper_poll_cb(void *ctx)
{
    nlt_helper_t *h = ctx;

    if (nlt_helper_canceled(h)) {
        return NLT_ECANCELED;
    }
    if (h->stage == NLT_HELPER_RUN
        && nlt_helper_older(h, h->housekept_ns, HOUSEKEEP_MS)) {
        nlt_helper_housekeep(h);
    }
    return NLT_OK;
}

/* ---- commits ---- */

/*
 * Makes `next` the manifest, on disk and here, and tells the workers.  After
 * a failure nobody knows which one is on disk: LOAD finds out.
 */
nlt_rc_t
nlt_helper_commit(nlt_helper_t *h, nlt_manifest_t *next, nlt_err_t *err)
{
    nlt_manifest_t old = h->manifest;
    nlt_rc_t rc;

    if (h->head != NULL) {
        next->tenants = nlt_max_u32(next->tenants, h->tenants_end);
    }
    rc = nlt_manifest_store(next, h->env, h->dir.dir_fd, err);
    if (rc != NLT_OK) {
        h->stage = NLT_HELPER_LOAD;
        return rc;
    }
    h->manifest = *next;
    *next = old;
    if (h->head != NULL) {
        atomic_fetch_add(&nlt_helper_ctl(h)->manifest_gen, 1);
    }
    return NLT_OK;
}

/* The log of a finished arena goes; it may be gone already. */
nlt_rc_t
nlt_helper_remove_log(nlt_helper_t *h, uint64_t no, nlt_err_t *err)
{
    char name[NLT_WAL_NAME_SIZE];
    int sys;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        if (h->logs[i].no == no) {
            nlt_helper_forget_log(&h->logs[i]);
        }
    }
    nlt_wal_name(name, no);
    sys = h->env->io->unlink(h->env->io->ctx, h->dir.wal_fd, name);
    return sys < 0 && sys != -ENOENT
               ? nlt_err_set_errno(err, NLT_EIO, -sys, "remove log %s", name)
               : NLT_OK;
}

/* Commits that arena `no` is finished; m has its blocks, if any. */
nlt_rc_t
nlt_helper_finish(nlt_helper_t *h, nlt_manifest_t *m, uint64_t no,
                  nlt_err_t *err)
{
    nlt_rc_t rc = nlt_manifest_finish(m, no);

    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "manifest: %s", nlt_rc_text(rc));
    }
    return nlt_helper_commit(h, m, err);
}

/* ---- flush ---- */

/* The head is not what the logs say: stop using it.  Said when it is so. */
void
nlt_helper_quarantine(nlt_helper_t *h, const char *why)
{
    nlt_head_set_state(h->head, NLT_HEAD_DEAD);
    h->drain_ns = 0;
    h->stage = NLT_HELPER_DRAIN;
    nlt_log_todo(h->env, NLT_LOG_CRIT,
                 "nothing is lost, but report what made the processes die",
                 "the head is given up and rebuilt from the logs: %s", why);
}

static nlt_rc_t
write_arena(nlt_helper_t *h, uint64_t no, nlt_manifest_t *m, size_t *n_blocks,
            nlt_err_t *err)
{
    nlt_flush_conf_t conf = {
        .env = h->env,
        .blocks_fd = h->dir.blocks_fd,
        .store_id = h->dir.store_id,
        .now_ms = nlt_now_ms(h->env),
        .retention_ms = h->conf.retention_ms,
        .dense = h->conf.dense,
        .poll = nlt_helper_poll_cb,
        .poll_ctx = h,
    };
    nlt_arena_t *a = nlt_head_pin_arena(h->head, no);
    nlt_err_t why;
    nlt_rc_t rc;

    if (a == NULL) {
        return nlt_err_set(err, NLT_EDATA, "arena %llu cannot be mapped",
                           (unsigned long long) no);
    }
    if (nlt_helper_rules(h, &conf.deletes, &why) != NLT_OK) {
        /* None is applied, and the blocks say so: all concern them. */
        nlt_helper_complain(h, "deletes", &why);
        conf.deletes = NULL;
    }
    rc = nlt_flush_arena(&conf, a, m, n_blocks, &why);
    nlt_head_unpin_arena(h->head, a);
    if (conf.deletes != NULL) {
        nlt_deletes_release(h->deletes, conf.deletes);
    }
    return rc == NLT_OK
               ? rc
               : nlt_err_set(err, rc, "arena %llu stays in memory: %s",
                             (unsigned long long) no, why.text);
}

/* Blocks, commit, retire, log: steps 2 to 5 of nlt_store.h. */
nlt_rc_t
nlt_helper_flush(nlt_helper_t *h, uint64_t no, nlt_err_t *err)
{
    int64_t start = nlt_mono_ns(h->env);
    nlt_manifest_t next = {.mem = h->env->mem};
    nlt_head_counters_t *c;
    size_t n_blocks = 0;
    nlt_rc_t rc = nlt_manifest_copy(&next, &h->manifest);

    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "flush: no memory");
    }
    rc = write_arena(h, no, &next, &n_blocks, err);
    if (rc == NLT_OK) {
        rc = nlt_helper_save_tenants(h, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_helper_save_metadata(h, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_helper_finish(h, &next, no, err);
    }
    nlt_manifest_deinit(&next);
    if (rc != NLT_OK) {
        atomic_fetch_add(&nlt_helper_ctl(h)->counters.flush_errors,
                         rc != NLT_ECANCELED);
        if (rc == NLT_EDATA) {
            nlt_helper_quarantine(h, err ? err->text : "damaged");
        }
        return rc;
    }
    c = &nlt_helper_ctl(h)->counters;
    atomic_fetch_add(&c->flushes, 1);
    atomic_fetch_add(&c->blocks_written, n_blocks);
    atomic_store(&c->flush_last_ms, (uint64_t) nlt_now_ms(h->env));
    nlt_head_observe(&c->time_flush, nlt_mono_ns(h->env) - start);
    rc = nlt_head_retire(h->head, no, err);
    if (rc == NLT_OK) {
        rc = nlt_helper_remove_log(h, no, err);
    }
    nlt_log(h->env, NLT_LOG_NOTICE,
            "arena %llu is in %zu blocks, after %lld ms",
            (unsigned long long) no, n_blocks,
            (long long) ((nlt_mono_ns(h->env) - start) / 1000000));
    return rc;
}

/* For replay: the active arena is full.  Keeps to three arenas. */
nlt_rc_t
nlt_helper_make_room_cb(void *ctx, nlt_err_t *err)
{
    nlt_helper_t *h = ctx;

    while (nlt_helper_count(h, NLT_ARENA_SEALED) > 0) {
        uint64_t no = atomic_load(&nlt_helper_oldest(h, NLT_ARENA_SEALED)->no);
        nlt_rc_t rc = nlt_helper_flush(h, no, err);

        if (rc != NLT_OK) {
            return rc;
        }
        (void) nlt_head_reap(h->head);
    }
    return nlt_helper_rotate(h, err);
}

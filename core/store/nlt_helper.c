/*
 * nlt_helper.c - the one process that does all that takes time.
 *
 *   LOAD ----> ATTACH --survived--> SETTLE ----> RUN
 *    ^           |  |                 ^           |
 *    |           |  '-dead--> DRAIN   |           |
 *    |      none |             |      |           |
 *    |           '--> CREATE <-'      |           |
 *    |                  '---> REPLAY -'           |
 *    '--------- a commit failed: which state is on disk? ---'
 *
 * Every stage may be interrupted and begun again.  RUN does the first thing
 * that is due: sync, prepare, rotate; retention; flush of one arena; damaged
 * blocks; a merge of blocks.
 */
#include "nlt_helper_priv.h"

#include "nlt_users.h"

#define STEP_MS_MAX   1000
#define BUSY_MS       50
#define REPEAT_LOG_MS 60000

bool
nlt_helper_older(const nlt_helper_t *h, int64_t since_ns, int64_t ms)
{
    return since_ns == 0 || nlt_mono_ns(h->env) - since_ns >= ms * 1000000;
}

bool
nlt_helper_canceled(const nlt_helper_t *h)
{
    return h->cancel != NULL && __atomic_load_n(h->cancel, __ATOMIC_RELAXED);
}

/* Logs a failure, but not the same one every second. */
void
nlt_helper_complain(nlt_helper_t *h, const char *what, const nlt_err_t *err)
{
    if (err->rc == NLT_ECANCELED) {
        return;
    }
    for (unsigned i = 0; i < NLT_HELPER_SAID; i++) {
        const nlt_err_t *said = &h->said[i];

        if (err->rc == said->rc && err->len == said->len
            && memcmp(err->text, said->text, err->len) == 0
            && !nlt_helper_older(h, h->said_ns[i], REPEAT_LOG_MS)) {
            return;
        }
    }
    h->said[h->n_said % NLT_HELPER_SAID] = *err;
    h->said_ns[h->n_said % NLT_HELPER_SAID] = nlt_mono_ns(h->env);
    h->n_said++;
    nlt_log_todo(h->env, NLT_LOG_CRIT, nlt_rc_todo(err->rc), "%s: %s", what,
                 err->text);
}

/* ---- opening ---- */

nlt_rc_t
nlt_helper_open(const nlt_env_t *env, const nlt_store_conf_t *conf,
                nlt_helper_t **out, nlt_err_t *err)
{
    nlt_helper_t *h = nlt_mem_zalloc(env->mem, sizeof(*h));
    nlt_rc_t rc;

    *out = NULL;
    if (h == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "helper: no memory");
    }
    h->env = env;
    h->lock_fd = -1;
    h->next_fd = -1;
    h->users_fd = -1;
    rc = nlt_store_conf_copy(conf, &h->conf, h->path, h->head_path, err);
    if (rc == NLT_OK) {
        rc = nlt_store_dir_open(env, &h->conf, &h->dir, err);
    }
    if (rc != NLT_OK) {
        nlt_mem_free(env->mem, h, sizeof(*h));
        return rc;
    }
    rc = nlt_helper_take_lease(h, err);
    if (rc == NLT_OK) {
        rc = nlt_users_lead(env, h->dir.dir_fd, h->dir.head_fd, &h->users_fd,
                            err);
    }
    nlt_manifest_init(&h->manifest, env->mem, h->dir.store_id);
    if (rc == NLT_OK) {
        rc = nlt_deletes_create(env, h->dir.dir_fd, h->dir.store_id,
                                &h->deletes, err);
    }
    if (rc != NLT_OK) {
        nlt_helper_close(h);
        return rc;
    }
    *out = h;
    return NLT_OK;
}

void
nlt_helper_forget_log(nlt_helper_log_t *l)
{
    if (l->wal != NULL) {
        nlt_wal_close(l->wal);
    }
    *l = (nlt_helper_log_t){.no = 0};
}

void
nlt_helper_detach(nlt_helper_t *h)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_helper_forget_log(&h->logs[i]);
    }
    if (h->head != NULL) {
        nlt_head_detach(h->head);
        h->head = NULL;
    }
}

void
nlt_helper_close(nlt_helper_t *h)
{
    if (h == NULL) {
        return;
    }
    nlt_helper_detach(h);
    nlt_import_destroy(h->import);
    nlt_manifest_deinit(&h->manifest);
    nlt_helper_deletes_end(h);
    nlt_helper_expire_end(h);
    nlt_mem_free(h->env->mem, h->verdicts,
                 NLT_HELPER_VERDICTS * sizeof(*h->verdicts));
    nlt_store_dir_close(h->env, &h->dir);
    nlt_users_leave(h->env, &h->users_fd);
    nlt_helper_drop_lease(h);
    nlt_mem_free(h->env->mem, h, sizeof(*h));
}

void
nlt_helper_flush_soon(nlt_helper_t *h)
{
    atomic_store(&h->flush_soon, 1);
}

bool
nlt_helper_is_recovering(const nlt_helper_t *h)
{
    return h->stage == NLT_HELPER_REPLAY && !h->step_failed;
}

/* ---- RUN ---- */

bool
nlt_helper_head_is_well(nlt_helper_t *h)
{
    const char *why = nlt_head_is_dead(h->head)   ? "it was declared dead"
                      : nlt_head_is_lost(h->head) ? "its files have been "
                                                    "removed"
                      : nlt_head_reap(h->head)
                          ? NULL
                          : "several processes died while using it";

    if (why != NULL) {
        nlt_helper_quarantine(h, why);
    }
    return why == NULL;
}

/* A merge before anything makes more blocks, if there are many of them. */
static nlt_rc_t
make_fewer(nlt_helper_t *h, bool *did, nlt_err_t *err)
{
    return h->manifest.n_blocks < NLT_HELPER_BLOCKS_MANY
               ? NLT_OK
               : nlt_helper_compact(h, NULL, did, err);
}

static nlt_rc_t
flush(nlt_helper_t *h, uint64_t no, nlt_err_t *err)
{
    bool did = false;
    nlt_rc_t rc = make_fewer(h, &did, err);

    if (rc == NLT_OK && !did) {
        /* It gives back disk that the flush may need. */
        rc = nlt_helper_retain(h, &did, err);
    }
    if (rc != NLT_OK || did) {
        return rc;
    }
    if (h->manifest.n_blocks >= NLT_HELPER_BLOCKS_MAX) {
        return nlt_err_set(err, NLT_ELIMIT,
                           "there are %zu blocks: until some of them can be "
                           "merged, no more are written",
                           h->manifest.n_blocks);
    }
    return nlt_helper_flush(h, no, err);
}

static nlt_rc_t
run(nlt_helper_t *h, int64_t *wait_ms, nlt_err_t *err)
{
    nlt_head_arena_slot_t *sealed;
    bool did = false;
    nlt_rc_t rc;

    if (!nlt_helper_head_is_well(h)) {
        return NLT_OK;
    }
    nlt_helper_housekeep(h);
    if (nlt_helper_retention_is_due(h)) {
        return nlt_helper_retain(h, &did, err);
    }
    sealed = nlt_helper_oldest(h, NLT_ARENA_SEALED);
    if (sealed != NULL) {
        return flush(h, atomic_load(&sealed->no), err);
    }
    rc = nlt_helper_judge(h, err);
    if (rc == NLT_OK) {
        rc = nlt_helper_tend_quarantine(h, err);
    }
    if (rc == NLT_OK) {
        rc = make_fewer(h, &did, err);
    }
    if (rc == NLT_OK && !did) {
        rc = nlt_helper_import(h, &did, err);
    }
    if (rc == NLT_OK && !did) {
        rc = nlt_helper_tend_deletes(h, &did, err);
    }
    if (rc == NLT_OK && !did) {
        rc = nlt_helper_expire(h, &did, err);
    }
    if (rc == NLT_OK && !did) {
        rc = nlt_helper_compact(h, NULL, &did, err);
    }
    if (rc != NLT_OK || did) {
        return rc;
    }
    *wait_ms =
        nlt_helper_used(h, NLT_HELPER_BUSY_PERCENT) ? BUSY_MS : STEP_MS_MAX;
    if (nlt_helper_sync_ms(h) > 0) {
        *wait_ms = nlt_min_i64(*wait_ms, nlt_helper_sync_ms(h));
    }
    return NLT_OK;
}

static nlt_rc_t
step(nlt_helper_t *h, int64_t *wait_ms, nlt_err_t *err)
{
    switch (h->stage) {
    case NLT_HELPER_LOAD:
        return nlt_helper_load(h, err);
    case NLT_HELPER_ATTACH:
        return nlt_helper_attach(h, err);
    case NLT_HELPER_DRAIN:
        *wait_ms = nlt_helper_drained(h) ? 0 : 100;
        return NLT_OK;
    case NLT_HELPER_CREATE:
        return nlt_helper_create(h, err);
    case NLT_HELPER_REPLAY:
    case NLT_HELPER_SETTLE:
        return nlt_helper_settle(h, err);
    case NLT_HELPER_RUN:
        break;
    }
    return run(h, wait_ms, err);
}

/* To those who wait for the head. */
static void
tell_trouble(nlt_helper_t *h, const char *text)
{
    if (h->head != NULL
        && strncmp(nlt_helper_ctl(h)->trouble, text, NLT_HEAD_TROUBLE_MAX - 1)
               != 0) {
        nlt_head_set_trouble(h->head, text);
    }
}

int64_t
nlt_helper_step(nlt_helper_t *h, const int *cancel)
{
    static const char *const what[] = {
        "cannot load the store",
        "cannot attach the head",
        "head",
        "cannot make a head",
        "replay",
        "start",
        "work of the helper",
    };
    nlt_helper_stage_t stage = h->stage;
    int64_t wait_ms = 0;
    nlt_err_t err = {.rc = NLT_OK};
    nlt_rc_t rc;

    h->cancel = cancel;
    /* A store that cannot be loaded again still serves its open head. */
    if (nlt_helper_is_open(h)
        && (stage == NLT_HELPER_LOAD || stage == NLT_HELPER_SETTLE)) {
        nlt_helper_housekeep(h);
    }
    rc = step(h, &wait_ms, &err);
    h->cancel = NULL;
    h->step_failed = rc != NLT_OK;
    if (rc != NLT_OK) {
        err.rc = rc;
        nlt_helper_complain(h, what[stage], &err);
        wait_ms = STEP_MS_MAX;
    }
    tell_trouble(h, rc == NLT_OK || rc == NLT_ECANCELED ? "" : err.text);
    return wait_ms;
}

/*
 * nlt_store.c - a store as a process that reads and writes has it.
 */
#include "nlt_store_priv.h"
#include "nlt_store_tenants.h"

#include <stdio.h>

#include "nlt_users.h"

/* So often a store without a head looks for the reason. */
#define LOOK_NS INT64_C(1000000000)

nlt_rc_t
nlt_store_open(const nlt_env_t *env, const nlt_store_conf_t *conf,
               nlt_head_role_t role, nlt_store_t **out, nlt_err_t *err)
{
    nlt_store_t *s = nlt_mem_zalloc(env->mem, sizeof(*s));
    nlt_rc_t rc;

    *out = NULL;
    if (s == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "store: no memory");
    }
    s->env = env;
    s->role = role;
    s->users_fd = -1;
    rc = nlt_store_conf_copy(conf, &s->conf, s->path, s->head_path, err);
    if (rc == NLT_OK) {
        rc = nlt_store_dir_open(env, &s->conf, &s->dir, err);
    }
    if (rc != NLT_OK) {
        nlt_mem_free(env->mem, s, sizeof(*s));
        return rc;
    }
    rc = nlt_block_set_create(env, s->dir.dir_fd, s->dir.blocks_fd,
                              s->dir.store_id, &s->blocks, err);
    if (rc == NLT_OK) {
        rc = nlt_deletes_create(env, s->dir.dir_fd, s->dir.store_id,
                                &s->deletes, err);
    }
    if (rc != NLT_OK) {
        nlt_block_set_destroy(s->blocks);
        nlt_store_dir_close(env, &s->dir);
        nlt_mem_free(env->mem, s, sizeof(*s));
        return rc;
    }
    (void) pthread_mutex_init(&s->mutex, NULL);
    (void) snprintf(s->reason, sizeof(s->reason), "The store is starting.");
    nlt_store_tick(s);
    *out = s;
    return NLT_OK;
}

/* Lets go of the head; no view is open. */
static void
detach(nlt_store_t *s)
{
    if (s->ingest != NULL) {
        nlt_ingest_destroy(s->ingest);
        s->ingest = NULL;
    }
    if (s->head != NULL) {
        nlt_head_detach(s->head);
        s->head = NULL;
    }
    nlt_users_leave(s->env, &s->users_fd);
    s->open = false;
    s->leaving = false;
}

void
nlt_store_close(nlt_store_t *s)
{
    if (s == NULL) {
        return;
    }
    detach(s);
    nlt_block_set_destroy(s->blocks);
    nlt_deletes_destroy(s->deletes);
    nlt_store_dir_close(s->env, &s->dir);
    (void) pthread_mutex_destroy(&s->mutex);
    nlt_mem_free(s->env->mem, s, sizeof(*s));
}

nlt_head_t *
nlt_store_hold(nlt_store_t *s)
{
    nlt_head_t *h = NULL;

    (void) pthread_mutex_lock(&s->mutex);
    if (s->head != NULL && s->open && !s->leaving
        && !nlt_head_is_dead(s->head)) {
        h = s->head;
        s->n_views++;
    }
    (void) pthread_mutex_unlock(&s->mutex);
    return h;
}

nlt_head_t *
nlt_store_hold_term(nlt_store_t *s, uint64_t term)
{
    nlt_head_t *h = nlt_store_hold(s);

    if (h != NULL && term != 0 && nlt_head_ctl(h)->term != term) {
        nlt_store_let_go(s);
        return NULL;
    }
    return h;
}

nlt_head_t *
nlt_store_hold_for(nlt_store_t *s, uint32_t tenant)
{
    return tenant != NLT_TENANT_UNKNOWN ? nlt_store_hold(s) : NULL;
}

void
nlt_store_let_go(nlt_store_t *s)
{
    (void) pthread_mutex_lock(&s->mutex);
    s->n_views--;
    (void) pthread_mutex_unlock(&s->mutex);
}

void
nlt_store_report(nlt_store_t *s, nlt_head_ctl_t *ctl)
{
    nlt_block_list_t *list = nlt_block_set_acquire(s->blocks);

    for (size_t i = 0; i < list->n; i++) {
        if (nlt_block_entry_is_out(list->v[i])) {
            nlt_suspects_post(ctl, list->v[i]->info.ulid.c);
        }
    }
    nlt_block_set_release(s->blocks, list);
}

/* ---- the tick; with the mutex, in the event loop ---- */

static void
set_reason(nlt_store_t *s, const char *why, const nlt_err_t *err)
{
    (void) snprintf(s->reason, sizeof(s->reason), "%s%s%.300s", why,
                    err ? ": " : "", err ? err->text : "");
}

/* What a helper has to read before it can make a head. */
static nlt_rc_t
read_files(nlt_store_t *s, nlt_err_t *err)
{
    nlt_delete_list_t *rules = NULL;
    nlt_tenants_list_t tenants;
    nlt_manifest_t m;
    nlt_pool_t pool;
    nlt_rc_t rc;

    nlt_manifest_init(&m, s->env->mem, s->dir.store_id);
    rc = nlt_manifest_load(&m, s->env, s->dir.dir_fd, s->dir.store_id, err);
    nlt_manifest_deinit(&m);
    if (rc != NLT_OK && rc != NLT_ENOENT) {
        return rc;
    }
    rc = nlt_deletes_load(s->env, s->dir.dir_fd, s->dir.store_id, &rules, err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_deletes_free(s->env, rules);
    nlt_pool_init(&pool, s->env->mem, NLT_TENANTS_PARSED_MAX);
    rc = nlt_tenants_read(s->env, s->dir.dir_fd, s->dir.store_id, &pool,
                          &tenants, err);
    nlt_pool_deinit(&pool);
    return rc;
}

/*
 * A helper that cannot load the store makes no head, and without a head it
 * cannot say why: so we look for ourselves, now and then.
 */
static void
look_for_trouble(nlt_store_t *s, nlt_err_t *err)
{
    int64_t now_ns = nlt_mono_ns(s->env);
    nlt_err_t why;
    nlt_rc_t rc;

    if (s->looked_ns == 0 || now_ns - s->looked_ns > LOOK_NS) {
        s->looked_ns = now_ns;
        rc = read_files(s, &why);
        (void) snprintf(s->found, sizeof(s->found), "%.300s",
                        rc == NLT_OK ? "" : why.text);
    }
    if (s->found[0] != '\0') {
        (void) nlt_err_set(err, NLT_EDATA, "%s", s->found);
    }
}

static void
try_attach(nlt_store_t *s)
{
    nlt_head_conf_t conf = {
        .env = s->env,
        .dir_fd = s->dir.head_fd,
        .memory_bytes = s->conf.memory_bytes,
        .role = s->role,
        .term = s->dir.term,
    };
    nlt_err_t err;
    nlt_rc_t rc;

    rc = nlt_users_join(s->env, s->dir.dir_fd, s->dir.head_fd, &s->users_fd,
                        &err);
    if (rc != NLT_OK) {
        set_reason(s, "The head cannot be used", &err);
        return;
    }
    memcpy(conf.store_id, s->dir.store_id, sizeof(conf.store_id));
    rc = nlt_head_attach(&conf, &s->head, &err);
    if (rc != NLT_OK) {
        s->head = NULL;
        nlt_users_leave(s->env, &s->users_fd);
        if (rc == NLT_ENOENT) {
            look_for_trouble(s, &err);
        }
        set_reason(s, "The helper has not made the head yet", &err);
        return;
    }
    nlt_block_set_forget(s->blocks);
    nlt_deletes_forget(s->deletes);
}

/*
 * Reads the rules when they have changed, before a query has to.  Without them
 * writing goes on, but no query is answered.
 */
static nlt_rc_t
refresh_deletes(nlt_store_t *s, nlt_head_ctl_t *ctl, nlt_err_t *err)
{
    const nlt_delete_list_t *rules;
    nlt_rc_t rc = nlt_deletes_acquire(
        s->deletes, atomic_load(&ctl->deletes_gen), &rules, err);

    s->no_rules[0] = '\0';
    if (rc == NLT_OK) {
        s->n_rules = rules->n;
        nlt_deletes_release(s->deletes, rules);
    } else {
        (void) snprintf(s->no_rules, sizeof(s->no_rules), "%.200s", err->text);
    }
    return rc;
}

/* Once the helper has opened the head: blocks, then writing. */
static void
try_open(nlt_store_t *s)
{
    nlt_head_ctl_t *ctl = nlt_head_ctl(s->head);
    nlt_err_t err;

    if (atomic_load(&ctl->state) != NLT_HEAD_OPEN) {
        set_reason(s, "The logs are being read.", NULL);
        return;
    }
    if (nlt_block_set_reload(s->blocks, atomic_load(&ctl->manifest_gen), &err)
        != NLT_OK) {
        set_reason(s, "The list of blocks cannot be read", &err);
        return;
    }
    if (s->role == NLT_ROLE_WORKER
        && nlt_ingest_create(s->env, s->head, s->dir.wal_fd, &s->ingest, &err)
               != NLT_OK) {
        s->ingest = NULL;
        set_reason(s, "Writing cannot begin", &err);
        return;
    }
    s->open = true;
    s->reason[0] = '\0';
    nlt_store_report(s, ctl);
}

/* Logs a failure once for each text, not once a tick. */
static void
complain(nlt_store_t *s, const char *what, const nlt_err_t *err)
{
    if (strcmp(s->said, err->text) != 0) {
        (void) snprintf(s->said, sizeof(s->said), "%s", err->text);
        nlt_log_todo(s->env, NLT_LOG_ERROR, nlt_rc_todo(err->rc), "%s: %s",
                     what, err->text);
    }
}

static void
refresh_blocks(nlt_store_t *s)
{
    nlt_head_ctl_t *ctl = nlt_head_ctl(s->head);
    nlt_err_t err;

    nlt_block_set_retry(s->blocks);
    if (nlt_block_set_reload(s->blocks, atomic_load(&ctl->manifest_gen), &err)
        != NLT_OK) {
        complain(s, "blocks", &err);
    } else if (refresh_deletes(s, ctl, &err) != NLT_OK) {
        complain(s, "deletes", &err);
    } else {
        s->said[0] = '\0';
    }
    nlt_store_report(s, ctl);
}

static void
refresh(nlt_store_t *s)
{
    nlt_err_t err;

    if (nlt_head_refresh(s->head, &err) != NLT_OK) {
        complain(s, "head", &err);
    } else {
        refresh_blocks(s);
    }
    if (s->ingest != NULL) {
        nlt_ingest_tick(s->ingest);
    }
}

void
nlt_store_tick(nlt_store_t *s)
{
    (void) pthread_mutex_lock(&s->mutex);
    if (s->head != NULL && nlt_head_is_dead(s->head)) {
        s->leaving = true;
        set_reason(s, "The head is being rebuilt.", NULL);
        /* A sliced request and a query hold on to what they began with. */
        if (s->n_views == 0
            && (s->ingest == NULL || nlt_ingest_requests(s->ingest) == 0)) {
            detach(s);
        }
    }
    if (s->head == NULL) {
        try_attach(s);
    }
    if (s->head != NULL && !s->leaving) {
        if (!s->open) {
            try_open(s);
        } else {
            refresh(s);
        }
    }
    (void) pthread_mutex_unlock(&s->mutex);
}

/* How far is the replay, or what keeps it? */
static void
show_progress(const char *trouble, nlt_store_status_t *st)
{
    uint64_t total = st->replay_total;
    uint64_t done = st->replay_done < total ? st->replay_done : total;

    if (trouble[0] != '\0') {
        (void) snprintf(st->reason, sizeof(st->reason), "%s", trouble);
    } else if (total > 0) {
        (void) snprintf(st->reason, sizeof(st->reason),
                        "The logs are being read: %llu of %llu bytes, %u %%.",
                        (unsigned long long) done, (unsigned long long) total,
                        (unsigned) ((double) done * 100 / (double) total));
    }
}

const nlt_store_conf_t *
nlt_store_conf(const nlt_store_t *s)
{
    return &s->conf;
}

void
nlt_store_status(nlt_store_t *s, nlt_store_status_t *out)
{
    char trouble[NLT_HEAD_TROUBLE_MAX] = "";

    *out = (nlt_store_status_t){.state = NLT_HEAD_CREATING};
    (void) pthread_mutex_lock(&s->mutex);
    if (s->head != NULL) {
        nlt_head_ctl_t *ctl = nlt_head_ctl(s->head);

        out->state = (nlt_head_state_t) atomic_load(&ctl->state);
        out->replay_done = atomic_load(&ctl->replay_done);
        out->replay_total = atomic_load(&ctl->replay_total);
        nlt_head_trouble(ctl, trouble);
    }
    out->ready = s->head != NULL && s->open && !s->leaving
                 && out->state == NLT_HEAD_OPEN && !nlt_head_is_dead(s->head);
    memcpy(out->reason, s->reason, sizeof(out->reason));
    (void) pthread_mutex_unlock(&s->mutex);
    if (!out->ready && out->reason[0] == '\0') {
        (void) snprintf(out->reason, sizeof(out->reason),
                        "The head is being rebuilt.");
    }
    if (!out->ready && out->state == NLT_HEAD_REPLAYING) {
        show_progress(trouble, out);
    }
}

nlt_rc_t
nlt_store_not_ready(nlt_store_t *s, nlt_err_t *err)
{
    nlt_store_status_t status;

    nlt_store_status(s, &status);
    return nlt_err_set(err, NLT_ENOTREADY, "store is not ready: %s",
                       status.ready ? "It was not when this was asked."
                                    : status.reason);
}

static void
note_rules(nlt_store_t *s, char out[NLT_STORE_REASON_MAX])
{
    out[0] = '\0';
    (void) pthread_mutex_lock(&s->mutex);
    if (s->no_rules[0] != '\0') {
        (void) snprintf(out, NLT_STORE_REASON_MAX,
                        "No query is answered, since what was deleted is not "
                        "known: %s",
                        s->no_rules);
    }
    (void) pthread_mutex_unlock(&s->mutex);
}

void
nlt_store_note(nlt_store_t *s, char out[NLT_STORE_REASON_MAX])
{
    nlt_block_list_t *list = nlt_block_set_acquire(s->blocks);
    const nlt_block_entry_t *newer = NULL;
    size_t n = list->n_damaged;

    for (size_t i = 0; i < list->n; i++) {
        if (nlt_block_entry_is_out(list->v[i])) {
            n++;
            newer = newer == NULL && list->v[i]->error.rc == NLT_EVERSION
                        ? list->v[i]
                        : newer;
        }
    }
    note_rules(s, out);
    if (n > 0 && out[0] == '\0') {
        (void) snprintf(out, NLT_STORE_REASON_MAX,
                        "%zu blocks are left out of answers, see the log.%s%s"
                        "%s%.250s",
                        n, newer ? " Block " : "",
                        newer ? newer->info.ulid.c : "",
                        newer ? " has a newer format: " : "",
                        newer ? newer->error.text : "");
    }
    nlt_block_set_release(s->blocks, list);
}

nlt_ingest_t *
nlt_store_ingest(nlt_store_t *s)
{
    return s->open && !s->leaving ? s->ingest : NULL;
}

nlt_tenants_t *
nlt_store_tenants(nlt_store_t *s)
{
    return nlt_store_ingest(s) != NULL && !nlt_head_is_dead(s->head)
               ? nlt_head_tenants(s->head)
               : NULL;
}

nlt_head_ctl_t *
nlt_store_ctl(nlt_store_t *s)
{
    return s->head != NULL && s->open ? nlt_head_ctl(s->head) : NULL;
}

nlt_head_ctl_t *
nlt_store_ctl_hold(nlt_store_t *s)
{
    nlt_head_t *h = nlt_store_hold(s);

    return h != NULL ? nlt_head_ctl(h) : NULL;
}

void
nlt_store_ctl_release(nlt_store_t *s)
{
    nlt_store_let_go(s);
}

nlt_tenant_counters_t *
nlt_store_tenant_hold(nlt_store_t *s, uint32_t tenant)
{
    nlt_head_t *h = nlt_store_hold(s);
    nlt_tenant_t *slot = NULL;

    if (h == NULL) {
        return NULL;
    }
    if (nlt_head_tenants(h) != NULL) {
        slot = nlt_tenants_slot(nlt_head_tenants(h), tenant);
    }
    if (slot == NULL) {
        nlt_store_let_go(s);
        return NULL;
    }
    return &slot->counters;
}

void
nlt_store_saw_certificate(nlt_store_t *s, uint32_t tenant, int64_t end_s)
{
    nlt_tenant_counters_t *c = nlt_store_tenant_hold(s, tenant);

    if (c != NULL) {
        int64_t was = atomic_load(&c->cert_not_after_s);

        while (end_s > was
               && !atomic_compare_exchange_weak(&c->cert_not_after_s, &was,
                                                end_s)) {
            /* another process has seen one too */
        }
        nlt_store_let_go(s);
    }
}

/* ---- gauges ---- */

static void
gauge_arenas(nlt_head_ctl_t *ctl, nlt_store_gauges_t *out)
{
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        const nlt_head_arena_slot_t *slot = &ctl->arenas[i];
        uint32_t state = atomic_load(&slot->state);

        out->arena[i] = (nlt_store_arena_t){
            .no = state == NLT_ARENA_NONE ? 0 : atomic_load(&slot->no),
            .size_bytes = slot->size_bytes,
            .reserved_bytes = atomic_load(&slot->reserved_bytes),
            .sealed = state == NLT_ARENA_SEALED,
            .active = state == NLT_ARENA_ACTIVE,
        };
    }
}

/* Of older arenas only the newest that failed is known. */
static uint64_t
failed_logs(const nlt_head_ctl_t *ctl)
{
    uint32_t failed = atomic_load(&ctl->sync_failed);
    uint64_t n = 0;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        uint64_t no = atomic_load(&ctl->arenas[i].no);

        n += failed != 0 && (uint32_t) no == failed && nlt_head_holds(ctl, no);
    }
    return n;
}

static void
gauge_head(nlt_head_t *head, nlt_store_gauges_t *out)
{
    nlt_head_view_t view;

    nlt_head_pin(head, &view);
    out->head_bytes = nlt_head_bytes(head);
    out->memory_stage = NLT_MEMORY_OK;
    out->failed_logs = failed_logs(nlt_head_ctl(head));
    out->arenas = view.n;
    for (size_t i = 0; i < view.n; i++) {
        const nlt_arena_header_t *h = nlt_arena_header(view.arena[i]);
        uint64_t n = atomic_load(&h->n_samples);

        if (i + 1 == view.n) {
            /* What sealed arenas do the helper knows; it may be stuck. */
            out->memory_stage = nlt_arena_stage(view.arena[i]);
            out->active_series = atomic_load(&h->n_series);
            out->active_samples = n;
        }
        if (n > 0) {
            out->oldest_ms =
                nlt_min_i64(out->oldest_ms, atomic_load(&h->t_min_ms));
            out->newest_ms =
                nlt_max_i64(out->newest_ms, atomic_load(&h->t_max_ms));
        }
    }
    if (out->memory_stage == NLT_MEMORY_OK
        && atomic_load(&nlt_head_ctl(head)->memory_stage) != NLT_MEMORY_OK) {
        out->memory_stage = NLT_MEMORY_FLUSHING;
    }
    nlt_head_unpin(head, &view);
    gauge_arenas(nlt_head_ctl(head), out);
    nlt_head_get_load(head, &out->load);
    nlt_store_gauge_side(head, out);
}

static void
gauge_blocks(nlt_block_set_t *set, nlt_store_gauges_t *out)
{
    nlt_block_list_t *list = nlt_block_set_acquire(set);

    out->blocks = list->n;
    out->blocks_left_out = list->n_damaged;
    for (size_t i = 0; i < list->n; i++) {
        const nlt_manifest_block_t *b = &list->v[i]->info;
        uint64_t level = b->level > 0 ? b->level - 1 : 0;

        level = level < NLT_STORE_LEVELS ? level : NLT_STORE_LEVELS - 1;
        out->level_blocks[level]++;
        out->level_bytes[level] += b->bytes;
        out->blocks_left_out += nlt_block_entry_is_out(list->v[i]);
        out->block_bytes += b->bytes;
        out->block_samples += b->n_samples;
        if (b->dense) {
            out->dense_blocks++;
            out->dense_bytes += b->bytes;
            out->dense_samples += b->n_samples;
        }
        out->oldest_ms = nlt_min_i64(out->oldest_ms, b->t_min_ms);
        out->newest_ms = nlt_max_i64(out->newest_ms, b->t_end_ms - 1);
    }
    nlt_block_set_release(set, list);
}

void
nlt_store_gauges(nlt_store_t *s, nlt_store_gauges_t *out)
{
    int64_t free_bytes;
    nlt_head_t *head = nlt_store_hold(s);

    *out = (nlt_store_gauges_t){
        .memory_bytes = s->conf.memory_bytes,
        .oldest_ms = INT64_MAX,
        .newest_ms = INT64_MIN,
    };
    if (head != NULL) {
        gauge_head(head, out);
        nlt_store_let_go(s);
    }
    gauge_blocks(s->blocks, out);
    free_bytes = s->env->io->free_bytes(s->env->io->ctx, s->dir.dir_fd);
    out->disk_free_bytes = free_bytes > 0 ? (uint64_t) free_bytes : 0;
    (void) pthread_mutex_lock(&s->mutex);
    out->delete_rules = s->n_rules;
    (void) pthread_mutex_unlock(&s->mutex);
    if (out->oldest_ms > out->newest_ms) {
        out->oldest_ms = 0;
        out->newest_ms = 0;
    }
}

void
nlt_store_set_load(nlt_store_t *s, const nlt_head_load_t *load)
{
    if (s->head != NULL) {
        nlt_head_set_load(s->head, load);
    }
}

nlt_rc_t
nlt_store_flush_soon(nlt_store_t *s, nlt_err_t *err)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl(s);

    if (ctl == NULL) {
        return nlt_err_set(err, NLT_ENOTREADY, "the store is not ready");
    }
    atomic_store(&ctl->flush_asked, 1);
    return NLT_OK;
}

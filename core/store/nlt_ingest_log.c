/*
 * nlt_ingest_log.c - which logs are open; logging; group commit.
 *
 * One log is written, that of the active arena.  Older ones stay open while
 * requests wait for their sync, or the thread has them.  The thread of a sync
 * looks at nothing but its jobs and the control page; everything else is the
 * event loop's.
 *
 * Numbers of writes rise through all logs, and arenas follow each other, so
 * `durable` and `failed` are one number each, however many logs there are.  A
 * request that wrote before or with the last write to a failed log is not
 * acknowledged, even if its own writes were to an older one: it sends again,
 * and finds its samples there.
 */
#include "nlt_ingest_side.h"

/* ---- which are open ---- */

static void
close_log(nlt_ingest_t *in, nlt_ingest_log_t *l)
{
    if (in->log == l) {
        in->log = NULL;
    }
    nlt_wal_close(l->wal);
    *l = (nlt_ingest_log_t){.awaited = 0};
}

void
nlt_ingest_close_logs(nlt_ingest_t *in)
{
    for (size_t i = 0; i < NLT_COUNT(in->logs); i++) {
        close_log(in, &in->logs[i]);
    }
}

/* Does nobody wait for a sync of it? */
static bool
is_settled(const nlt_ingest_t *in, const nlt_ingest_log_t *l)
{
    return l->awaited <= in->durable || l->awaited <= in->failed;
}

/* Closes logs that are neither of arena `active` nor needed for a sync. */
static void
release(nlt_ingest_t *in, uint64_t active)
{
    for (size_t i = 0; i < NLT_COUNT(in->logs); i++) {
        nlt_ingest_log_t *l = &in->logs[i];

        if (l->wal != NULL && !l->in_sync && nlt_wal_arena(l->wal) != active
            && (is_settled(in, l)
                || !nlt_head_holds(in->ctl, nlt_wal_arena(l->wal)))) {
            close_log(in, l);
        }
    }
}

void
nlt_ingest_tick(nlt_ingest_t *in)
{
    nlt_arena_t *a = nlt_head_active(in->head);

    if (a != NULL) {
        release(in, nlt_arena_no(a));
    }
}

/* Makes the log of arena a the one that is written. */
static nlt_rc_t
open_log(nlt_ingest_t *in, const nlt_arena_t *a, nlt_err_t *err)
{
    uint64_t no = nlt_arena_no(a);
    nlt_ingest_log_t *free_slot = NULL;
    nlt_rc_t rc;

    release(in, no);
    in->log = NULL;
    for (size_t i = 0; i < NLT_COUNT(in->logs); i++) {
        nlt_ingest_log_t *l = &in->logs[i];

        if (l->wal == NULL) {
            free_slot = l;
        } else if (nlt_wal_arena(l->wal) == no) {
            in->log = l;
            return NLT_OK;
        }
    }
    if (free_slot == NULL) {
        return nlt_err_set(err, NLT_EFULL,
                           "the logs of %zu arenas wait for the disk",
                           NLT_COUNT(in->logs));
    }
    rc = nlt_wal_open(in->env, in->wal_dir_fd, no, &free_slot->wal, err);
    if (rc == NLT_EDATA || rc == NLT_ENOENT) {
        /* It does not come back: another one is needed. */
        nlt_head_fail_log(in->ctl, no);
    }
    if (rc == NLT_OK) {
        in->log = free_slot;
    }
    return rc;
}

nlt_rc_t
nlt_ingest_log_open(nlt_ingest_t *in, const nlt_arena_t *a, nlt_err_t *err)
{
    nlt_rc_t rc;

    if (nlt_likely(in->log != NULL
                   && nlt_wal_arena(in->log->wal) == nlt_arena_no(a))) {
        return NLT_OK;
    }
    rc = open_log(in, a, err);
    if (rc != NLT_OK) {
        nlt_ingest_count(&in->ctl->counters.wal_errors, 1);
    }
    return rc;
}

/* ---- logging ---- */

void
nlt_ingest_log_begin(nlt_ingest_t *in)
{
    in->naming = 0;
    nlt_wal_begin(in->log->wal);
}

void
nlt_ingest_log_tenant(nlt_ingest_t *in, uint32_t tenant)
{
    const nlt_tenants_t *t = nlt_head_tenants(in->head);

    if (nlt_likely(tenant == in->naming)
        || nlt_tenants_logged(t, tenant, nlt_wal_arena(in->log->wal))) {
        return;
    }
    nlt_wal_add_tenant(in->log->wal, tenant,
                       nlt_tenant_name(nlt_tenants_slot(t, tenant)));
    in->naming = tenant;
}

void
nlt_ingest_log_named(nlt_ingest_t *in)
{
    nlt_tenants_set_logged(nlt_head_tenants(in->head), in->naming,
                           nlt_wal_arena(in->log->wal));
    in->naming = 0;
}

static void
log_labels(nlt_ingest_t *in, uint32_t series, uint32_t tenant,
           nlt_str_t canonical)
{
    nlt_ingest_log_tenant(in, tenant);
    nlt_wal_add_series(in->log->wal, series, tenant, canonical);
}

nlt_rc_t
nlt_ingest_log_series(nlt_ingest_t *in, const nlt_arena_t *a, uint32_t series,
                      nlt_pool_t *pool, nlt_buf_t *canonical, nlt_err_t *err)
{
    nlt_pool_mark_t mark;
    nlt_labels_t labels;
    nlt_rc_t rc;

    if (pool->page == NULL) {
        /* In front of the mark, or each rewind would give the page back. */
        (void) nlt_pool_alloc(pool, 1);
    }
    mark = nlt_pool_mark(pool);
    rc = nlt_arena_labels(a, series, pool, &labels);
    if (rc == NLT_OK) {
        nlt_buf_reset(canonical);
        nlt_rw_canonical(canonical, labels);
        rc = canonical->rc;
    }
    if (rc == NLT_OK) {
        log_labels(in, series, nlt_arena_tenant(a, series),
                   nlt_buf_str(canonical));
    }
    nlt_pool_rewind(pool, mark);
    return rc == NLT_OK ? rc
                        : nlt_err_set(err, rc, "labels of a series: %s",
                                      nlt_rc_text(rc));
}

/* The labels of a series where a request has them ready; empty: nowhere. */
static nlt_str_t
labels_at_hand(const nlt_ingest_scratch_t *of, size_t *at, uint32_t series)
{
    const nlt_ingest_series_t *e;

    /* Samples come in the order of their series. */
    while (of != NULL && *at < of->n_series && of->series[*at].no != series) {
        ++*at;
    }
    if (of == NULL || *at == of->n_series
        || of->series[*at].canonical_len == 0) {
        return (nlt_str_t){0, NULL};
    }
    e = &of->series[*at];
    return (nlt_str_t){e->canonical_len,
                       e->kept ? of->kept.data + e->kept - 1 : e->body};
}

/* Series records first; *n_series counts them. */
static nlt_rc_t
log_new_series(nlt_ingest_t *in, const nlt_arena_t *a,
               const nlt_head_sample_t *s, size_t n,
               const nlt_ingest_scratch_t *of, uint64_t *n_series,
               nlt_err_t *err)
{
    uint32_t before = 0;
    nlt_rc_t rc = NLT_OK;
    nlt_buf_t canonical;
    nlt_pool_t pool;
    size_t at = 0;

    *n_series = 0;
    nlt_pool_init(&pool, in->env->mem, 4u << 20);
    nlt_buf_init(&canonical, in->env->mem, NLT_SERIES_BYTES_MAX);
    for (size_t i = 0; i < n && rc == NLT_OK; i++) {
        nlt_str_t labels;

        if (s[i].series == before) {
            continue;
        }
        before = s[i].series;
        if (nlt_likely(nlt_arena_series_logged(a, before))) {
            continue;
        }
        ++*n_series;
        labels = labels_at_hand(of, &at, before);
        if (nlt_likely(labels.len != 0)) {
            log_labels(in, before, nlt_arena_tenant(a, before), labels);
        } else {
            rc = nlt_ingest_log_series(in, a, before, &pool, &canonical, err);
        }
    }
    nlt_buf_deinit(&canonical);
    nlt_pool_deinit(&pool);
    return rc;
}

nlt_rc_t
nlt_ingest_log(nlt_ingest_t *in, nlt_arena_t *a, const nlt_head_sample_t *s,
               size_t n, const nlt_ingest_scratch_t *of, uint64_t *accepted,
               nlt_err_t *err)
{
    nlt_head_counters_t *c = &in->ctl->counters;
    uint64_t n_series;
    uint32_t before = 0;
    nlt_wal_t *wal;
    int64_t start;
    size_t bytes;
    nlt_rc_t rc;

    *accepted = 0;
    rc = nlt_ingest_log_open(in, a, err);
    if (rc != NLT_OK) {
        return rc;
    }
    wal = in->log->wal;
    nlt_ingest_log_begin(in);
    rc = log_new_series(in, a, s, n, of, &n_series, err);
    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        /* What is there with another value was not taken; all else is
         * logged, also what was there already: its writer may have died
         * before it logged it. */
        if (nlt_likely(s[i].result != NLT_APPEND_CONFLICT)) {
            nlt_wal_add_sample(wal, s[i].series, s[i].t_ms, s[i].v_bits);
            ++*accepted;
        }
    }
    start = nlt_mono_ns(in->env);
    rc = nlt_wal_commit(wal, &bytes, err);
    nlt_head_observe(&c->time_wal_write, nlt_mono_ns(in->env) - start);
    nlt_ingest_count(&c->wal_bytes, bytes);
    if (rc != NLT_OK) {
        nlt_ingest_count(&c->wal_errors, 1);
        *accepted = 0;
        if (rc == NLT_EIO) {
            nlt_head_fail_log(in->ctl, nlt_arena_no(a));
        }
        return rc;
    }
    in->n_writes++;
    nlt_ingest_log_named(in);
    nlt_ingest_count(&c->wal_records, *accepted + n_series);
    for (size_t i = 0; n_series && i < n; i++) {
        if (s[i].series != before) {
            before = s[i].series;
            nlt_arena_series_set_logged(a, before);
        }
    }
    return NLT_OK;
}

/* ---- group commit ---- */

/* No write to it is acknowledged any more. */
static void
give_up(nlt_ingest_t *in, nlt_ingest_log_t *l, const nlt_err_t *err)
{
    nlt_wal_give_up(l->wal);
    if (l->awaited > in->failed) {
        in->failed = l->awaited;
        in->failure = *err;
    }
}

nlt_rc_t
nlt_ingest_sync_begin(nlt_ingest_t *in)
{
    nlt_err_t err;

    if (in->syncing) {
        return NLT_AGAIN;
    }
    in->n_jobs = 0;
    in->sync_upto = in->n_writes;
    for (size_t i = 0; i < NLT_COUNT(in->logs); i++) {
        nlt_ingest_log_t *l = &in->logs[i];
        uint64_t no = l->wal ? nlt_wal_arena(l->wal) : 0;

        if (no == 0 || is_settled(in, l) || !nlt_head_holds(in->ctl, no)) {
            continue;
        }
        if (nlt_head_log_failed(in->ctl, no)) {
            (void) nlt_err_set(&err, NLT_EIO,
                               "log of arena %llu: an earlier write or sync "
                               "has failed",
                               (unsigned long long) no);
            give_up(in, l, &err);
            continue;
        }
        l->in_sync = true;
        in->jobs[in->n_jobs++] =
            (nlt_ingest_job_t){.log = l, .wal = l->wal, .rc = NLT_OK};
    }
    if (in->n_jobs == 0) {
        in->durable = in->sync_upto;
        return NLT_EOF;
    }
    in->syncing = true;
    return NLT_OK;
}

void
nlt_ingest_sync_run(nlt_ingest_t *in)
{
    nlt_head_counters_t *c = &in->ctl->counters;

    for (size_t i = 0; i < in->n_jobs; i++) {
        nlt_ingest_job_t *j = &in->jobs[i];
        int64_t start = nlt_mono_ns(in->env);

        j->rc = nlt_wal_sync_aside(j->wal, &j->err);
        if (j->rc != NLT_OK) {
            nlt_head_fail_log(in->ctl, nlt_wal_arena(j->wal));
            nlt_ingest_count(&c->wal_errors, 1);
        }
        start = nlt_mono_ns(in->env) - start;
        nlt_ingest_count(&c->wal_fsyncs, 1);
        nlt_ingest_count(&c->wal_sync_ns, (uint64_t) start);
        nlt_head_observe(&c->time_wal_sync, start);
    }
}

void
nlt_ingest_sync_end(nlt_ingest_t *in)
{
    for (size_t i = 0; i < in->n_jobs; i++) {
        nlt_ingest_job_t *j = &in->jobs[i];

        j->log->in_sync = false;
        if (j->rc != NLT_OK) {
            nlt_log_todo(in->env, NLT_LOG_CRIT, nlt_rc_todo(j->err.rc), "%s",
                         j->err.text);
            give_up(in, j->log, &j->err);
        }
    }
    in->durable = in->sync_upto;
    in->syncing = false;
}

void
nlt_ingest_sync_cancel(nlt_ingest_t *in)
{
    for (size_t i = 0; i < in->n_jobs; i++) {
        in->jobs[i].log->in_sync = false;
    }
    in->syncing = false;
}

nlt_rc_t
nlt_ingest_durable(const nlt_ingest_req_t *r, nlt_err_t *err)
{
    const nlt_ingest_t *in = r->in;

    if (r->first_write <= in->failed) {
        *err = in->failure;
        return NLT_EIO;
    }
    return r->last_write <= in->durable ? NLT_OK : NLT_AGAIN;
}

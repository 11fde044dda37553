/*
 * nlt_ingest_apply.c - register what is new, append, log.
 */
#include "nlt_ingest_priv.h"

/* ---- register ---- */

/* No memory for a series: the others go on, the answer will be 503. */
static void
drop_for_room(nlt_ingest_req_t *r, nlt_ingest_series_t *e)
{
    nlt_ingest_count(&r->in->ctl->counters.samples_no_room, e->n);
    r->no_room = true;
    e->n = 0;
}

/* NLT_OK also when the series was dropped. */
static nlt_rc_t
register_one(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev,
             nlt_ingest_series_t *e)
{
    nlt_hash128_t canonical;
    nlt_labels_t labels;
    nlt_rc_t rc;

    /* An earlier series of the batch may have brought it. */
    e->no = nlt_arena_find(a, e->key);
    if (e->no) {
        return NLT_OK;
    }
    rc = NLT_EDATA;
    if (prev != NULL) {
        uint32_t no = e->prev ? e->prev : nlt_arena_find(prev, e->key);

        r->budget -= NLT_INGEST_PARSE_COST / 2;
        if (no) {
            rc = nlt_arena_carry(a, prev, no, e->key, &e->no);
        }
    }
    if (rc == NLT_EDATA) {
        rc = nlt_ingest_labels(r, e, &labels);
        if (rc == NLT_EINVAL) {
            e->n = 0;
            r->at.n_skipped++;
            return NLT_OK;
        }
        if (rc != NLT_OK) {
            return rc;
        }
        canonical = nlt_head_key(r->in->ctl, r->conf.tenant,
                                 r->s->canonical.data, r->s->canonical.len);
        r->budget -= NLT_INGEST_PARSE_COST;
        rc = nlt_arena_register(a, r->conf.tenant, labels, canonical, e->key,
                                &e->no);
    }
    if (rc == NLT_EFULL) {
        drop_for_room(r, e);
        return NLT_OK;
    }
    if (rc != NLT_OK && rc != NLT_EEXIST) {
        return nlt_ingest_refuse(r, 500, rc, e, "cannot register: %s",
                                 nlt_rc_text(rc));
    }
    return rc;
}

nlt_rc_t
nlt_ingest_register(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rc_t rc;

    for (; r->registered < s->n_series; r->registered++) {
        nlt_ingest_series_t *e = &s->series[r->registered];

        if (nlt_likely(e->no != 0) || e->n == 0
            || (size_t) e->first + e->n <= r->done) {
            continue;
        }
        if (r->budget <= 0) {
            return NLT_AGAIN;
        }
        rc = register_one(r, a, prev, e);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* ---- log ---- */

/* Opens the log of arena a, if another one is open. */
static nlt_rc_t
log_of(nlt_ingest_t *in, const nlt_arena_t *a, nlt_err_t *err)
{
    if (nlt_likely(in->wal != NULL
                   && nlt_wal_arena(in->wal) == nlt_arena_no(a))) {
        return NLT_OK;
    }
    /* The helper syncs the one before, and makes it a block soon. */
    nlt_ingest_close_log(in);
    return nlt_wal_open(in->env, in->wal_dir_fd, nlt_arena_no(a), &in->wal,
                        err);
}

/* Adds the record of a series, made from what the arena knows of it. */
static nlt_rc_t
log_series(nlt_ingest_t *in, const nlt_arena_t *a, uint32_t series,
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
        nlt_wal_add_series(in->wal, series, nlt_arena_tenant(a, series),
                           nlt_buf_str(canonical));
    }
    nlt_pool_rewind(pool, mark);
    return rc == NLT_OK ? rc
                        : nlt_err_set(err, rc, "labels of a series: %s",
                                      nlt_rc_text(rc));
}

/* Series records first; *n counts them. */
static nlt_rc_t
log_new_series(nlt_ingest_t *in, const nlt_arena_t *a,
               const nlt_head_sample_t *s, size_t n, uint64_t *n_series,
               nlt_err_t *err)
{
    uint32_t before = 0;
    nlt_rc_t rc = NLT_OK;
    nlt_buf_t canonical;
    nlt_pool_t pool;

    *n_series = 0;
    nlt_pool_init(&pool, in->env->mem, 4u << 20);
    nlt_buf_init(&canonical, in->env->mem, NLT_SERIES_BYTES_MAX);
    for (size_t i = 0; i < n && rc == NLT_OK; i++) {
        if (s[i].series == before) {
            continue;
        }
        before = s[i].series;
        if (nlt_unlikely(!nlt_arena_series_logged(a, before))) {
            rc = log_series(in, a, before, &pool, &canonical, err);
            ++*n_series;
        }
    }
    nlt_buf_deinit(&canonical);
    nlt_pool_deinit(&pool);
    return rc;
}

nlt_rc_t
nlt_ingest_log(nlt_ingest_t *in, nlt_arena_t *a, const nlt_head_sample_t *s,
               size_t n, uint64_t *accepted, nlt_err_t *err)
{
    nlt_head_counters_t *c = &in->ctl->counters;
    uint64_t n_series;
    uint32_t before = 0;
    size_t bytes;
    nlt_rc_t rc;

    *accepted = 0;
    rc = log_of(in, a, err);
    if (rc != NLT_OK) {
        nlt_ingest_count(&c->wal_errors, 1);
        return rc;
    }
    nlt_wal_begin(in->wal);
    rc = log_new_series(in, a, s, n, &n_series, err);
    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        /* What is there with another value was not taken; all else is
         * logged, also what was there already: its writer may have died
         * before it logged it. */
        if (nlt_likely(s[i].result != NLT_APPEND_CONFLICT)) {
            nlt_wal_add_sample(in->wal, s[i].series, s[i].t_ms, s[i].v_bits);
            ++*accepted;
        }
    }
    rc = nlt_wal_commit(in->wal, &bytes, err);
    in->wal_dirty = true;
    nlt_ingest_count(&c->wal_bytes, bytes);
    if (rc != NLT_OK) {
        nlt_ingest_count(&c->wal_errors, 1);
        *accepted = 0;
        return rc;
    }
    nlt_ingest_count(&c->wal_records, *accepted + n_series);
    for (size_t i = 0; n_series && i < n; i++) {
        if (s[i].series != before) {
            before = s[i].series;
            nlt_arena_series_set_logged(a, before);
        }
    }
    return NLT_OK;
}

/* ---- append ---- */

/*
 * Moves the samples that are to be appended together, with their numbers;
 * their count.
 */
static size_t
gather_samples(nlt_ingest_req_t *r)
{
    nlt_ingest_scratch_t *s = r->s;
    size_t n = 0;

    for (size_t i = 0; i < s->n_series; i++) {
        const nlt_ingest_series_t *e = &s->series[i];
        const nlt_head_sample_t *from = s->samples + e->first;

        for (uint32_t k = 0; k < e->n; k++) {
            if (nlt_likely(e->first + k >= r->done)) {
                s->samples[n] = from[k];
                s->samples[n].series = e->no;
                n++;
            }
        }
    }
    return n;
}

/* Place in the batch of the sample that gather_samples() put at n. */
static size_t
place_of(const nlt_ingest_req_t *r, size_t n)
{
    const nlt_ingest_scratch_t *s = r->s;

    for (size_t i = 0; i < s->n_series; i++) {
        const nlt_ingest_series_t *e = &s->series[i];

        for (uint32_t k = 0; k < e->n; k++) {
            if (e->first + k >= r->done && n-- == 0) {
                return e->first + k;
            }
        }
    }
    return s->n_samples;
}

static nlt_rc_t
refuse_log(nlt_ingest_req_t *r, const nlt_err_t *err)
{
    switch (err->rc) {
    case NLT_EFULL:
    case NLT_ENOMEM:
    case NLT_ENOENT:
        return nlt_ingest_refuse(r, 503, err->rc, NULL, "%s", err->text);
    default:
        return nlt_ingest_refuse(r, 500, err->rc, NULL, "%s", err->text);
    }
}

nlt_rc_t
nlt_ingest_append(nlt_ingest_req_t *r, nlt_arena_t *a)
{
    nlt_head_sample_t *samples = r->s->samples;
    size_t n = gather_samples(r), done = 0;
    uint64_t accepted = 0;
    nlt_err_t err;
    nlt_rc_t rc;

    r->budget -= (int) n;
    rc = n ? nlt_arena_append(a, samples, n, &done) : NLT_OK;
    if (done) {
        nlt_rc_t logged =
            nlt_ingest_log(r->in, a, samples, done, &accepted, &err);

        if (logged != NLT_OK) {
            err.rc = logged;
            return refuse_log(r, &err);
        }
    }
    r->res.samples += accepted;
    switch (rc) {
    case NLT_OK:
        return NLT_OK;
    case NLT_EEXIST:
        r->done = place_of(r, done);
        return NLT_EEXIST;
    case NLT_EFULL:
        nlt_ingest_count(&r->in->ctl->counters.samples_no_room, n - done);
        return nlt_ingest_refuse(r, 503, rc, NULL,
                                 "memory= is used up: %zu samples were not "
                                 "taken",
                                 n - done);
    default:
        return nlt_ingest_refuse(r, 500, rc, NULL, "cannot append: %s",
                                 nlt_rc_text(rc));
    }
}

/*
 * nlt_ingest_apply.c - register what is new, append.
 */
#include "nlt_head_stats.h"
#include "nlt_ingest_priv.h"

/* How far ahead slots of series that are to be registered are fetched. */
#define REGISTER_AHEAD 6

/* ---- register ---- */

void
nlt_ingest_no_room(nlt_ingest_req_t *r, uint64_t n)
{
    nlt_ingest_count(&r->in->ctl->counters.samples_no_room, n);
    r->n_no_room += n;
}

/* No memory for a series: the others go on, the answer will be 503. */
static void
drop_for_room(nlt_ingest_req_t *r, nlt_ingest_series_t *e)
{
    nlt_ingest_no_room(r, e->n);
    r->no_room = true;
    e->n = 0;
    e->side = 0;
}

/* Nothing of it is kept, and that was counted. */
static void
leave_out(nlt_ingest_series_t *e)
{
    e->n = 0;
    e->side = 0;
}

/*
 * Takes series `no` of prev over, if it may be in a.  NLT_EOF: it may not,
 * else as nlt_arena_carry().
 */
static nlt_rc_t
carry(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev,
      nlt_ingest_series_t *e, uint32_t no)
{
    bool charged = r->conf.screen != NULL && r->conf.screen->n_quotas != 0
                   && nlt_arena_find_carried(a, prev, no) == 0;
    nlt_rc_t rc;

    if (nlt_unlikely(charged)) {
        if (nlt_ingest_recall(r, e) || !nlt_ingest_admit(r, a, e, false)) {
            return NLT_EOF;
        }
    }
    rc = nlt_arena_carry(a, prev, no, e->key, &e->no);
    if (nlt_unlikely(charged && rc != NLT_OK)) {
        nlt_ingest_unadmit(r, a);
    }
    return rc;
}

/* May a series be registered?  One that is there by other bytes may. */
static bool
admit(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev,
      nlt_hash128_t canonical, nlt_ingest_series_t *e, bool *charged)
{
    if (nlt_likely(r->conf.screen == NULL || r->conf.screen->n_quotas == 0)
        || nlt_arena_find(a, canonical) != 0) {
        return true;
    }
    *charged = true;
    return nlt_ingest_admit(
        r, a, e, prev == NULL || nlt_arena_find(prev, canonical) == 0);
}

/* NLT_OK also when the series was dropped; NLT_AGAIN: waits for room. */
static nlt_rc_t
register_one(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev,
             nlt_ingest_series_t *e)
{
    nlt_hash128_t canonical;
    nlt_labels_t labels;
    bool charged = false;
    uint32_t last;
    nlt_rc_t rc;

    /* An earlier series of the batch may have brought it; whoever registers
     * asks again, under its canonical key. */
    e->no = nlt_ingest_sent_canonical(e) ? 0 : nlt_arena_find(a, e->key);
    if (e->no) {
        return NLT_OK;
    }
    rc = NLT_EDATA;
    if (prev != NULL) {
        uint32_t no = e->prev ? e->prev : nlt_arena_find(prev, e->key);

        r->budget -= NLT_INGEST_PARSE_COST / 2;
        if (no) {
            rc = carry(r, a, prev, e, no);
        }
    }
    if (rc == NLT_EDATA) {
        if (nlt_ingest_recall(r, e)) {
            leave_out(e);
            return NLT_OK;
        }
        rc = nlt_ingest_labels(r, e, &labels, &canonical);
        if (rc == NLT_EINVAL || rc == NLT_EEXIST) {
            leave_out(e);
            r->at.found.n_skipped += rc == NLT_EINVAL;
            return NLT_OK;
        }
        if (rc != NLT_OK) {
            return rc;
        }
        r->budget -= NLT_INGEST_PARSE_COST;
        if (nlt_arena_stage(a) >= NLT_MEMORY_NO_SERIES
            && nlt_ingest_await_room(r, a)) {
            return NLT_AGAIN;
        }
        if (!admit(r, a, prev, canonical, e, &charged)) {
            leave_out(e);
            return NLT_OK;
        }
        last = nlt_arena_registered(a);
        rc = nlt_arena_register(a, r->conf.tenant, labels, canonical, e->key,
                                &e->no);
        r->n_created += nlt_arena_registered(a) != last;
        if (rc != NLT_OK && charged) {
            nlt_ingest_unadmit(r, a);
        }
    }
    if (rc == NLT_EOF) {
        leave_out(e);
        return NLT_OK;
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

/*
 * The series that exemplars without samples are of; nothing is made for them
 * but the place in a of one that was in the arena before.  A 1.0 sender cannot
 * be told that it is not known.
 */
static nlt_rc_t
find_one(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev,
         nlt_ingest_series_t *e)
{
    uint32_t no;
    nlt_rc_t rc;

    e->no = nlt_arena_find(a, e->key);
    if (e->no == 0 && prev != NULL) {
        no = e->prev ? e->prev : nlt_arena_find(prev, e->key);
        r->budget -= NLT_INGEST_PARSE_COST / 2;
        if (no) {
            rc = nlt_arena_carry(a, prev, no, e->key, &e->no);
            if (rc == NLT_EEXIST) {
                return rc;
            }
            e->no = rc == NLT_OK ? e->no : 0;
        }
    }
    if (e->no != 0) {
        return NLT_OK;
    }
    nlt_ingest_count(&r->in->ctl->counters.exemplars_refused, 1);
    e->side = 0;
    return r->conf.version != 2
               ? NLT_OK
               : nlt_ingest_fault(r, NLT_EINVAL, e,
                                  "TimeSeries must contain at least one "
                                  "sample or histogram");
}

nlt_rc_t
nlt_ingest_register(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rc_t rc;

    for (; r->registered < s->n_series; r->registered++) {
        nlt_ingest_series_t *e = &s->series[r->registered];

        if (nlt_likely(e->no != 0)
            || (e->n == 0 ? !nlt_ingest_only_exemplars(e)
                          : (size_t) e->first + e->n <= r->done)) {
            continue;
        }
        if (r->budget <= 0) {
            return NLT_AGAIN;
        }
        if (r->registered + REGISTER_AHEAD < s->n_series) {
            nlt_arena_prefetch_key(a, e[REGISTER_AHEAD].key);
        }
        rc = e->n ? register_one(r, a, prev, e) : find_one(r, a, prev, e);
        if (rc != NLT_OK) {
            return rc;
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

/* Notes what was written to the log of a, and that it is to be synced. */
static void
await(nlt_ingest_req_t *r, const nlt_arena_t *a)
{
    nlt_ingest_t *in = r->in;

    if (r->logged_no == 0) {
        r->logged_no = nlt_arena_no(a);
    }
    if (r->conf.sync) {
        in->log->awaited = in->n_writes;
        if (r->first_write == 0) {
            r->first_write = in->n_writes;
        }
        r->last_write = in->n_writes;
    }
}

nlt_rc_t
nlt_ingest_append(nlt_ingest_req_t *r, nlt_arena_t *a)
{
    nlt_head_sample_t *samples = r->s->samples;
    size_t n = gather_samples(r), done = 0;
    uint64_t accepted = 0;
    bool wrote = false;
    nlt_err_t err;
    nlt_rc_t rc;

    r->budget -= (int) n;
    rc = n ? nlt_arena_append(a, samples, n, &done) : NLT_OK;
    if (done) {
        nlt_rc_t logged =
            nlt_ingest_log(r->in, a, samples, done, r->s, &accepted, &err);

        if (logged != NLT_OK) {
            err.rc = logged;
            return nlt_ingest_refuse_log(r, &err);
        }
    }
    if (rc == NLT_OK || rc == NLT_EEXIST) {
        nlt_rc_t beside = nlt_ingest_beside(
            r, a, rc == NLT_OK ? SIZE_MAX : place_of(r, done), &wrote);

        if (beside != NLT_OK) {
            return beside;
        }
    }
    if (done || wrote) {
        await(r, a);
    }
    r->res.samples += accepted;
    /* As Prometheus counts: also one that another value was before. */
    r->res.written_samples += done;
    switch (rc) {
    case NLT_OK:
        return NLT_OK;
    case NLT_EEXIST:
        r->done = place_of(r, done);
        return NLT_EEXIST;
    case NLT_EFULL:
        nlt_ingest_no_room(r, n - done);
        return nlt_ingest_refuse(r, 503, rc, NULL,
                                 "memory= is used up: %zu samples were not "
                                 "taken",
                                 n - done);
    default:
        return nlt_ingest_refuse(r, 500, rc, NULL, "cannot append: %s",
                                 nlt_rc_text(rc));
    }
}

/*
 * nlt_ingest_load.c - from decoded bytes to a checked batch.
 *
 * Series go in groups: walk and hash a group while its hash slots are on
 * their way from memory, then find them while the series entries are, then
 * compare.  A cache miss costs more than all the work on one series.
 */
#include "nlt_ingest_priv.h"
#include "nlt_num.h"

#define GROUP 64

/* ---- walk ---- */

/* The next series that has samples becomes the current one. */
static nlt_rc_t
next_series(nlt_ingest_req_t *r)
{
    nlt_ingest_cursor_t *c = &r->at;
    nlt_rw_series_t *s = &c->series;
    nlt_err_t err;
    nlt_rc_t rc;

    do {
        if (r->budget <= 0) {
            return NLT_AGAIN;
        }
        r->budget--;
        rc = nlt_rw_walk_next(&c->walk, s, &err);
        if (rc == NLT_EOF) {
            r->eof = true;
            return NLT_EOF;
        }
        if (nlt_unlikely(rc != NLT_OK)) {
            return nlt_ingest_refuse(r, 400, rc, NULL, "%s", err.text);
        }
        c->n_histograms += s->n_histograms;
    } while (s->n_samples == 0);

    c->key = nlt_head_key(r->in->ctl, r->conf.tenant, s->labels.data,
                          s->labels.len);
    c->left = s->n_samples;
    nlt_rw_samples_init(&c->samples, s);
    return NLT_OK;
}

/* Puts what fits of the current series into the batch. */
static bool
take_series(nlt_ingest_req_t *r)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_ingest_cursor_t *c = &r->at;
    size_t n = NLT_INGEST_BATCH - s->n_samples;
    nlt_head_sample_t *to;

    n = n < c->left ? n : c->left;
    if (!nlt_ingest_room(r->in, s, 1, n)) {
        return false;
    }
    s->series[s->n_series++] = (nlt_ingest_series_t){
        .key = c->key,
        .body = c->series.body.data,
        .body_len = (uint32_t) c->series.body.len,
        .first = (uint32_t) s->n_samples,
        .n = (uint32_t) n,
    };
    to = s->samples + s->n_samples;
    if (nlt_likely(c->series.n_samples == 1)) {
        *to = (nlt_head_sample_t){0, 0, c->series.t_ms, c->series.v_bits};
    } else {
        for (size_t i = 0; i < n; i++) {
            to[i].series = 0;
            (void) nlt_rw_samples_next(&c->samples, &to[i].t_ms,
                                       &to[i].v_bits);
        }
    }
    s->n_samples += n;
    c->left -= (uint32_t) n;
    r->budget -= (int) n;
    return true;
}

/* A group of series; they are in the batch, with their keys. */
static nlt_rc_t
load_group(nlt_ingest_req_t *r, const nlt_arena_t *a)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rc_t rc;

    for (unsigned i = 0; i < GROUP; i++) {
        if (s->n_series == NLT_INGEST_BATCH
            || s->n_samples == NLT_INGEST_BATCH) {
            return NLT_OK;
        }
        if (r->at.left == 0) {
            rc = next_series(r);
            if (rc != NLT_OK) {
                return rc == NLT_EOF ? NLT_OK : rc;
            }
        }
        nlt_arena_prefetch_key(a, r->at.key);
        if (!take_series(r)) {
            return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL,
                                     "out of memory");
        }
    }
    return NLT_OK;
}

/* ---- labels ---- */

nlt_rc_t
nlt_ingest_labels(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
                  nlt_labels_t *out)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rw_series_t series;
    nlt_rw_labels_t verdict;
    nlt_err_t err;
    nlt_rc_t rc;
    size_t n;

    r->budget -= NLT_INGEST_PARSE_COST;
    if (!nlt_ingest_label_room(r->in, s, r->conf.labels.labels_max)) {
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    rc = nlt_rw_series_parse((nlt_str_t){e->body_len, e->body}, s->gather,
                             sizeof(s->gather), &series, &err);
    if (rc != NLT_OK) {
        return nlt_ingest_refuse(r, 400, rc, NULL, "%s", err.text);
    }
    verdict = nlt_rw_labels(&series, &r->conf.labels, s->labels, &n, &err);
    switch (verdict) {
    case NLT_RW_LABELS_OK:
        break;
    case NLT_RW_LABELS_INVALID:
        return NLT_EINVAL;
    case NLT_RW_LABELS_LIMIT:
        return nlt_ingest_refuse(r, 400, NLT_ELIMIT, e, "%s", err.text);
    default:
        return nlt_ingest_refuse(r, 400, NLT_EINVAL, NULL, "%s", err.text);
    }
    *out = (nlt_labels_t){s->labels, n};
    nlt_buf_reset(&s->canonical);
    nlt_rw_canonical(&s->canonical, *out);
    if (s->canonical.rc != NLT_OK) {
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    return NLT_OK;
}

/* ---- checks ---- */

static nlt_rc_t
refuse_time(nlt_ingest_req_t *r, const nlt_ingest_series_t *e, int64_t t_ms)
{
    nlt_head_counters_t *c = &r->in->ctl->counters;

    if (t_ms > r->t_max_ms) {
        nlt_ingest_count(&c->samples_too_new, 1);
        return nlt_ingest_refuse(r, 400, NLT_EORDER, e,
                                 "out of bounds: timestamp is too far in the "
                                 "future");
    }
    nlt_ingest_count(&c->samples_too_old, 1);
    return nlt_ingest_refuse(r, 400, NLT_EORDER, e, "too old sample");
}

static nlt_rc_t
refuse_conflict(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
                const nlt_head_sample_t *s, uint64_t existing)
{
    char was[NLT_NUM_TEXT_MAX], is[NLT_NUM_TEXT_MAX];
    size_t was_n = nlt_num_g(was, nlt_double_of(existing));
    size_t is_n = nlt_num_g(is, nlt_double_of(s->v_bits));

    nlt_ingest_count(&r->in->ctl->counters.samples_conflict, 1);
    if (s->t_ms == 0) {
        return nlt_ingest_refuse(r, 400, NLT_EDUP, e,
                                 "duplicate sample for timestamp");
    }
    return nlt_ingest_refuse(r, 400, NLT_EDUP, e,
                             "duplicate sample for timestamp %lld; overrides "
                             "not allowed: existing %.*s, new value %.*s",
                             (long long) s->t_ms, (int) was_n, was, (int) is_n,
                             is);
}

/* Do samples of series `no` of arena a, those of e, agree with what is in
 * it?  Leaves them without a number. */
static nlt_rc_t
check_in(nlt_ingest_req_t *r, const nlt_arena_t *a,
         const nlt_ingest_series_t *e, uint32_t no)
{
    nlt_head_sample_t *s = r->s->samples + e->first;
    uint64_t existing;
    size_t bad;

    for (uint32_t k = 0; k < e->n; k++) {
        s[k].series = no;
    }
    bad = nlt_arena_check(a, s, e->n, &existing);
    if (bad < e->n) {
        return refuse_conflict(r, e, &s[bad], existing);
    }
    for (uint32_t k = 0; k < e->n; k++) {
        s[k].series = 0;
    }
    return NLT_OK;
}

/*
 * A series whose label bytes are not known in the active arena: is it known
 * in the one before, or by its canonical labels, or is it valid at all?  It
 * is registered, or gets an alias, only when everything has been checked.
 */
static nlt_rc_t
check_miss(nlt_ingest_req_t *r, const nlt_arena_t *a, const nlt_arena_t *prev,
           nlt_ingest_series_t *e)
{
    nlt_hash128_t key;
    nlt_labels_t labels;
    uint32_t no;
    nlt_rc_t rc;

    if (prev != NULL) {
        e->prev = nlt_arena_find(prev, e->key);
        if (e->prev) {
            return check_in(r, prev, e, e->prev);
        }
    }
    rc = nlt_ingest_labels(r, e, &labels);
    if (rc == NLT_EINVAL) {
        e->n = 0;
        r->at.n_skipped++;
        return NLT_OK;
    }
    if (rc != NLT_OK) {
        return rc;
    }
    key = nlt_head_key(r->in->ctl, r->conf.tenant, r->s->canonical.data,
                       r->s->canonical.len);
    no = nlt_arena_find(a, key);
    if (no) {
        return check_in(r, a, e, no);
    }
    e->prev = prev ? nlt_arena_find(prev, key) : 0;
    return e->prev ? check_in(r, prev, e, e->prev) : NLT_OK;
}

static nlt_rc_t
check_times(nlt_ingest_req_t *r, const nlt_ingest_series_t *e)
{
    nlt_head_sample_t *s = r->s->samples + e->first;

    for (uint32_t k = 0; k < e->n; k++) {
        s[k].series = e->no;
        if (nlt_unlikely(s[k].t_ms > r->t_max_ms || s[k].t_ms < r->t_min_ms)) {
            return refuse_time(r, e, s[k].t_ms);
        }
    }
    return NLT_OK;
}

/* Checks series [from, n) of the batch; known ones have their number. */
static nlt_rc_t
check_group(nlt_ingest_req_t *r, const nlt_arena_t *a, const nlt_arena_t *prev,
            size_t from)
{
    nlt_ingest_scratch_t *s = r->s;
    size_t first, n, bad;
    uint64_t existing;
    nlt_rc_t rc;

    for (size_t i = from; i < s->n_series; i++) {
        if (nlt_unlikely(s->series[i].no == 0)) {
            rc = check_miss(r, a, prev, &s->series[i]);
            if (rc != NLT_OK) {
                return rc;
            }
        }
        rc = check_times(r, &s->series[i]);
        if (nlt_unlikely(rc != NLT_OK)) {
            return rc;
        }
    }
    if (from == s->n_series) {
        return NLT_OK;
    }
    first = s->series[from].first;
    n = s->n_samples - first;
    bad = nlt_arena_check(a, s->samples + first, n, &existing);
    if (nlt_likely(bad == n)) {
        return NLT_OK;
    }
    bad += first;
    while (bad >= (size_t) s->series[from].first + s->series[from].n) {
        from++;
    }
    return refuse_conflict(r, &s->series[from], &s->samples[bad], existing);
}

/* ---- batch ---- */

nlt_rc_t
nlt_ingest_load(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rc_t rc, loaded;
    size_t from;

    do {
        from = s->n_series;
        loaded = load_group(r, a);
        if (loaded != NLT_OK && loaded != NLT_AGAIN) {
            return loaded;
        }
        for (size_t i = from; i < s->n_series; i++) {
            nlt_ingest_series_t *e = &s->series[i];

            e->no = nlt_arena_find(a, e->key);
            nlt_arena_prefetch_series(a, e->no);
        }
        if (!r->applying) {
            rc = check_group(r, a, prev, from);
            if (rc != NLT_OK) {
                return rc;
            }
        }
        if (r->eof || s->n_series == NLT_INGEST_BATCH
            || s->n_samples == NLT_INGEST_BATCH) {
            return NLT_OK;
        }
    } while (loaded == NLT_OK && r->budget > 0);
    return NLT_AGAIN;
}

/*
 * nlt_ingest_load.c - from decoded bytes to a checked batch.
 *
 * Series go in groups: walk and hash a group while its hash slots are on
 * their way from memory, then find them while the series entries are, then
 * compare.  A cache miss costs more than all the work on one series.
 */
#include "nlt_ingest_v2.h"
#include "nlt_num.h"
#include "nlt_rw_histogram.h"

#define GROUP 64

/*
 * Histograms of one series that are judged.  More are only counted, as none
 * is stored: one call cannot stop inside of a series.
 */
#define HISTOGRAMS_MAX 1024

/* ---- walk ---- */

/* 1.0: the next series that has something to look at. */
static nlt_rc_t
next1(nlt_ingest_req_t *r, nlt_err_t *err)
{
    nlt_ingest_cursor_t *c = &r->at;
    nlt_rw_series_t *s = &c->series.s;
    nlt_rc_t rc;

    do {
        if (r->budget <= 0) {
            return NLT_AGAIN;
        }
        r->budget--;
        rc = nlt_rw_walk_next(&c->walk, s, err);
        if (nlt_unlikely(rc != NLT_OK)) {
            return rc;
        }
        c->found.n_histograms += s->n_histograms;
    } while (s->n_samples == 0 && s->n_exemplars == 0
             && (s->n_histograms == 0 || r->applying));

    c->key = nlt_head_key(r->in->ctl, r->conf.tenant, s->labels.data,
                          s->labels.len);
    c->key.lo ^= r->seed.lo;
    c->key.hi ^= r->seed.hi;
    c->side = 0;
    return NLT_OK;
}

/* The next series becomes the current one. */
static nlt_rc_t
next_series(nlt_ingest_req_t *r, const nlt_arena_t *a)
{
    nlt_ingest_cursor_t *c = &r->at;
    const nlt_rw_series_t *s = &c->series.s;
    nlt_err_t err;
    nlt_rc_t rc;

    if (r->conf.version == 2) {
        if (r->budget <= 0) {
            return NLT_AGAIN;
        }
        r->budget--;
        rc = nlt_ingest_next2(r, a, &err);
    } else {
        rc = next1(r, &err);
    }
    if (nlt_unlikely(rc != NLT_OK)) {
        if (rc == NLT_EOF) {
            r->eof = true;
        }
        return rc == NLT_EOF || rc == NLT_AGAIN
                   ? rc
                   : nlt_ingest_refuse(r, 400, rc, NULL, "%s", err.text);
    }
    if (nlt_unlikely((s->n_exemplars | s->n_histograms) != 0)) {
        c->side |= s->n_exemplars ? NLT_INGEST_EXEMPLARS : 0;
        c->side |= s->n_histograms ? NLT_INGEST_HISTOGRAMS : 0;
    }
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
        .body = c->series.s.body.data,
        .body_len = (uint32_t) c->series.s.body.len,
        .first = (uint32_t) s->n_samples,
        .n = (uint32_t) n,
        .no = c->no,
        .side = c->side,
        .labels_len = c->series.s.labels.data == c->series.s.body.data
                          ? (uint32_t) c->series.s.labels.len
                          : 0,
    };
    c->side &= NLT_INGEST_BAD_REFS;
    to = s->samples + s->n_samples;
    if (nlt_likely(c->series.s.n_samples == 1)) {
        *to = (nlt_head_sample_t){0, 0, c->series.s.t_ms, c->series.s.v_bits};
    } else {
        for (size_t i = 0; i < n; i++) {
            to[i].series = 0;
            (void) nlt_rw_samples_next(&c->samples, &to[i].t_ms,
                                       &to[i].v_bits);
        }
    }
    s->n_samples += n;
    c->seen += n;
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
            rc = next_series(r, a);
            if (rc != NLT_OK) {
                return rc == NLT_EOF ? NLT_OK : rc;
            }
        }
        if (nlt_unlikely(!nlt_ingest_is_in_order(r))) {
            nlt_arena_prefetch_key(a, r->at.key);
            nlt_ingest_prefetch_refused(r, r->at.key);
        }
        if (!take_series(r)) {
            return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL,
                                     "out of memory");
        }
    }
    return NLT_OK;
}

/* ---- labels ---- */

/*
 * 1.0: labels of a series into s->labels.  Those that lie there as they will
 * be logged are noted in e.
 */
static nlt_rw_labels_t
labels1(nlt_ingest_req_t *r, nlt_ingest_series_t *e, size_t *n, nlt_err_t *err)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rw_series_t series = {.labels = {e->labels_len, e->body},
                              .n_labels = r->conf.labels.labels_max};

    if (nlt_likely(e->labels_len != 0)
        && nlt_rw_labels_usual(&series, &r->conf.labels, s->labels, n)) {
        e->canonical_len = e->labels_len;
        return NLT_RW_LABELS_OK;
    }
    if (nlt_rw_series_parse((nlt_str_t){e->body_len, e->body}, s->gather,
                            sizeof(s->gather), &series, err)
        != NLT_OK) {
        return NLT_RW_LABELS_BROKEN;
    }
    if (nlt_rw_labels_usual(&series, &r->conf.labels, s->labels, n)) {
        if (series.labels.data == e->body) {
            e->canonical_len = (uint32_t) series.labels.len;
        }
        return NLT_RW_LABELS_OK;
    }
    return nlt_rw_labels(&series, &r->conf.labels, s->labels, n, err);
}

/* Invalid labels: 1.0 skips the series without a word. */
static nlt_rc_t
fault_labels(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
             nlt_rw_labels_t verdict, size_t n)
{
    char text[NLT_INGEST_SHOWN_BYTES];
    nlt_rc_t rc;

    if (r->conf.version != 2) {
        return NLT_EINVAL;
    }
    if (r->at.found.n_untold) {
        rc = nlt_ingest_fault(r, NLT_EINVAL, NULL, "not told");
        return rc == NLT_OK ? NLT_EINVAL : rc;
    }
    nlt_ingest_describe(r, e, text);
    if (verdict == NLT_RW_LABELS_DUPLICATE) {
        nlt_str_t name = r->s->labels[n].name;

        name.len = name.len < 64 ? name.len : 64;
        rc = nlt_ingest_fault(r, NLT_EINVAL, NULL,
                              "invalid labels for series, labels %s, "
                              "duplicated label %.*s",
                              text, NLT_FMT(name));
    } else {
        rc = nlt_ingest_fault(r, NLT_EINVAL, NULL,
                              "invalid metric name or labels, got %s", text);
    }
    return rc == NLT_OK ? NLT_EINVAL : rc;
}

/* Does the screen leave labels as they are, and has no rule about them? */
static bool
keeps_labels(const nlt_ingest_req_t *r)
{
    const nlt_ingest_screen_t *sc = r->conf.screen;

    return sc == NULL || (sc->n_stamps == 0 && sc->n_drops == 0);
}

/* Takes the labels that were made, or found, canonical when the series was
 * checked. */
static bool
ready_labels(nlt_ingest_req_t *r, const nlt_ingest_series_t *e, size_t *n,
             nlt_hash128_t *key)
{
    nlt_str_t canonical = {e->canonical_len, e->body};

    if (e->canonical_len == 0 || r->conf.screen != NULL) {
        return false;
    }
    *key = e->key;
    if (e->kept != 0) {
        canonical.data = r->s->kept.data + e->kept - 1;
        *key = nlt_head_key(r->in->ctl, r->conf.tenant, canonical.data,
                            canonical.len);
    }
    return nlt_rw_labels_split(canonical, r->s->labels, r->s->labels_cap, n);
}

/* Keeps s->canonical for whoever registers and logs the series, if it fits. */
static void
keep_labels(nlt_ingest_req_t *r, nlt_ingest_series_t *e)
{
    nlt_ingest_scratch_t *s = r->s;
    size_t at = s->kept.len;

    e->kept = 0;
    e->canonical_len = 0;
    if (r->conf.screen == NULL) {
        nlt_buf_add(&s->kept, s->canonical.data, s->canonical.len);
        if (s->kept.rc == NLT_OK) {
            e->kept = (uint32_t) at + 1;
            e->canonical_len = (uint32_t) s->canonical.len;
        }
    }
}

nlt_rc_t
nlt_ingest_labels(nlt_ingest_req_t *r, nlt_ingest_series_t *e,
                  nlt_labels_t *out, nlt_hash128_t *key)
{
    nlt_ingest_scratch_t *s = r->s;
    size_t n = 0;
    nlt_rw_labels_t verdict;
    nlt_err_t err;
    nlt_rc_t rc;

    if (!nlt_ingest_label_room(
            r->in, s,
            r->conf.labels.labels_max
                + (r->conf.screen ? r->conf.screen->n_stamps : 0))) {
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    if (ready_labels(r, e, &n, key)) {
        *out = (nlt_labels_t){s->labels, n};
        return NLT_OK;
    }
    r->budget -= NLT_INGEST_PARSE_COST;
    e->canonical_len = 0;
    verdict = r->conf.version == 2 ? nlt_ingest_labels2(r, e, &n, &err)
                                   : labels1(r, e, &n, &err);
    switch (verdict) {
    case NLT_RW_LABELS_OK:
        break;
    case NLT_RW_LABELS_INVALID:
    case NLT_RW_LABELS_DUPLICATE:
        return fault_labels(r, e, verdict, n);
    case NLT_RW_LABELS_LIMIT:
        r->at.found.out.n_over_labels++;
        rc = nlt_ingest_fault(r, NLT_ELIMIT, e, "%s", err.text);
        return rc == NLT_OK ? NLT_EINVAL : rc;
    default:
        return nlt_ingest_refuse(r, 400, NLT_EINVAL, NULL, "%s", err.text);
    }
    if (nlt_unlikely(r->conf.screen != NULL)) {
        r->budget -= NLT_INGEST_SCREEN_COST;
        rc = nlt_ingest_screen(r, e, &n);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    *out = (nlt_labels_t){s->labels, n};
    if (nlt_likely(e->canonical_len != 0 && keeps_labels(r))) {
        r->budget -= (int) (e->canonical_len / NLT_INGEST_LABEL_BYTES);
        *key = e->key; /* the hash of these bytes, and no seed */
        return NLT_OK;
    }
    nlt_buf_reset(&s->canonical);
    nlt_rw_canonical(&s->canonical, *out);
    r->budget -= (int) (s->canonical.len / NLT_INGEST_LABEL_BYTES);
    if (s->canonical.rc != NLT_OK) {
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    keep_labels(r, e);
    *key = nlt_head_key(r->in->ctl, r->conf.tenant, s->canonical.data,
                        s->canonical.len);
    return NLT_OK;
}

/* ---- checks ---- */

static inline bool
is_bad(const nlt_ingest_req_t *r, size_t place)
{
    return (r->s->bad[place / 64] >> (place % 64) & 1) != 0;
}

/* 2.0: sample `place` of the batch, one of e, is dropped. */
static void
drop_sample(nlt_ingest_req_t *r, nlt_ingest_series_t *e, size_t place)
{
    r->s->bad[place / 64] |= UINT64_C(1) << (place % 64);
    r->s->any_bad = true;
    e->side |= NLT_INGEST_HAS_BAD;
    r->s->samples[place].series = 0;
}

/* A series is dropped; in 2.0 for good, should the batch be loaded again. */
static void
drop_series(nlt_ingest_req_t *r, nlt_ingest_series_t *e)
{
    for (uint32_t k = 0; r->conf.version == 2 && k < e->n; k++) {
        drop_sample(r, e, e->first + k);
    }
    e->n = 0;
    e->side = 0;
}

/* Closes the gaps that dropped samples of a series leave. */
static void
close_gaps(nlt_ingest_req_t *r, nlt_ingest_series_t *e)
{
    nlt_head_sample_t *s = r->s->samples + e->first;
    uint32_t n = 0;

    for (uint32_t k = 0; k < e->n; k++) {
        if (!is_bad(r, e->first + k)) {
            s[n++] = s[k];
        }
    }
    for (uint32_t k = n; k < e->n; k++) {
        s[k].series = 0;
    }
    e->n = n;
}

static nlt_rc_t
fault_time(nlt_ingest_req_t *r, const nlt_ingest_series_t *e, int64_t t_ms)
{
    if (t_ms > r->t_max_ms) {
        r->at.found.n_too_new++;
        if (t_ms <= r->t_hard_max_ms) {
            return nlt_ingest_fault(
                r, NLT_EORDER, e,
                "out of bounds: timestamp is too far in the future, limit is "
                "%lld s (nightlight_max_sample_future)",
                (long long) r->conf.screen->future_max_ms / 1000);
        }
        return nlt_ingest_fault(r, NLT_EORDER, e,
                                "out of bounds: timestamp is too far in the "
                                "future");
    }
    /* After a reload with a longer retention the helper moves the border. */
    if (t_ms >= r->t_wanted_ms && t_ms < r->t_hard_min_ms) {
        return nlt_ingest_refuse(r, 503, NLT_ENOTREADY, e,
                                 "the longer retention does not hold yet");
    }
    r->at.found.n_too_old++;
    if (t_ms >= r->t_hard_min_ms) {
        return nlt_ingest_fault(r, NLT_EORDER, e,
                                "too old sample, limit is %lld s "
                                "(nightlight_max_sample_age)",
                                (long long) r->conf.screen->age_max_ms / 1000);
    }
    return nlt_ingest_fault(r, NLT_EORDER, e, "too old sample");
}

/* Is the limit that it is over one that is only tried out? */
static bool
is_tried(const nlt_ingest_req_t *r, int64_t t_ms)
{
    return r->conf.screen != NULL && r->conf.screen->dry_run
           && t_ms >= r->t_hard_min_ms && t_ms <= r->t_hard_max_ms;
}

static nlt_rc_t
fault_conflict(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
               const nlt_head_sample_t *s, uint64_t existing)
{
    char was[NLT_NUM_TEXT_MAX], is[NLT_NUM_TEXT_MAX];
    size_t was_n = nlt_num_g(was, nlt_double_of(existing));
    size_t is_n = nlt_num_g(is, nlt_double_of(s->v_bits));

    r->at.found.n_conflicts++;
    if (s->t_ms == 0) {
        return nlt_ingest_fault(r, NLT_EDUP, e,
                                "duplicate sample for timestamp");
    }
    return nlt_ingest_fault(r, NLT_EDUP, e,
                            "duplicate sample for timestamp %lld; overrides "
                            "not allowed: existing %.*s, new value %.*s",
                            (long long) s->t_ms, (int) was_n, was, (int) is_n,
                            is);
}

/* Do samples of series `no` of arena a, those of e, agree with what is in
 * it?  Leaves them without a number. */
static nlt_rc_t
check_in(nlt_ingest_req_t *r, const nlt_arena_t *a, nlt_ingest_series_t *e,
         uint32_t no)
{
    nlt_head_sample_t *s = r->s->samples + e->first;
    uint64_t existing;
    nlt_rc_t rc;

    for (uint32_t k = 0; k < e->n; k++) {
        s[k].series = no;
    }
    for (uint32_t k = 0; k < e->n; k++) {
        k += (uint32_t) nlt_arena_check(a, s + k, e->n - k, &existing);
        if (k < e->n) {
            rc = fault_conflict(r, e, &s[k], existing);
            if (rc != NLT_OK) {
                return rc;
            }
            drop_sample(r, e, e->first + k);
        }
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
            /* Other label bytes may have brought it into a. */
            no = nlt_arena_find_carried(a, prev, e->prev);
            return no ? check_in(r, a, e, no) : check_in(r, prev, e, e->prev);
        }
    }
    if (nlt_ingest_recall(r, e)) {
        drop_series(r, e);
        return NLT_EINVAL;
    }
    rc = nlt_ingest_labels(r, e, &labels, &key);
    if (rc == NLT_EINVAL || rc == NLT_EEXIST) {
        drop_series(r, e);
        r->at.found.n_skipped += rc == NLT_EINVAL;
        return NLT_EINVAL;
    }
    if (rc != NLT_OK) {
        return rc;
    }
    /* Under the key of the bytes as they came it was looked up just now. */
    no = nlt_ingest_sent_canonical(e) ? 0 : nlt_arena_find(a, key);
    if (no) {
        /* What has no samples gets no alias, and is not looked up again. */
        e->no = e->n == 0 ? no : 0;
        return check_in(r, a, e, no);
    }
    e->prev =
        prev && !nlt_ingest_sent_canonical(e) ? nlt_arena_find(prev, key) : 0;
    return e->prev ? check_in(r, prev, e, e->prev) : NLT_OK;
}

static nlt_rc_t
check_times(nlt_ingest_req_t *r, nlt_ingest_series_t *e)
{
    nlt_head_sample_t *s = r->s->samples + e->first;
    nlt_rc_t rc;

    for (uint32_t k = 0; k < e->n; k++) {
        s[k].series = e->no;
        if (nlt_unlikely(s[k].t_ms > r->t_max_ms || s[k].t_ms < r->t_min_ms)) {
            if (is_bad(r, e->first + k)) {
                continue;
            }
            if (is_tried(r, s[k].t_ms)) {
                r->at.found.out.n_age_dry++;
                continue;
            }
            rc = fault_time(r, e, s[k].t_ms);
            if (rc != NLT_OK) {
                return rc;
            }
            drop_sample(r, e, e->first + k);
        }
    }
    return NLT_OK;
}

/*
 * Native histograms of a series with valid labels.  They are not stored yet:
 * a 2.0 sender is told, a 1.0 sender cannot be.
 */
static nlt_rc_t
check_histograms(nlt_ingest_req_t *r, const nlt_ingest_series_t *e)
{
    nlt_str_t body = {e->body_len, e->body};
    nlt_ingest_found_t *f = &r->at.found;
    nlt_rw_histograms_t it;
    nlt_rw_histogram_t h;
    uint64_t n = 0;
    uint32_t looked = 0;
    nlt_err_t err;
    nlt_rc_t rc = NLT_OK;

    nlt_rw_histograms_init(&it, body, r->conf.version);
    while (rc == NLT_OK && nlt_rw_histograms_next(&it, &h)) {
        if (++looked > HISTOGRAMS_MAX) {
            n++;
            continue;
        }
        r->budget -= 1 + (int) (h.msg.len / 64);
        if (nlt_rw_histogram_validate(&h, f->n_untold ? NULL : &err)
            != NLT_OK) {
            f->n_bad_histograms++;
            rc = nlt_ingest_fault(r, NLT_EINVAL, e, "%s",
                                  f->n_untold ? "" : err.text);
        } else if ((h.t_ms > r->t_max_ms || h.t_ms < r->t_min_ms)
                   && !is_tried(r, h.t_ms)) {
            rc = fault_time(r, e, h.t_ms);
        } else {
            n++;
        }
    }
    if (rc == NLT_OK && n && r->conf.version == 2) {
        f->n_histograms += n;
        rc = nlt_ingest_fault(r, NLT_EINVAL, e,
                              "native histograms are not stored yet, %llu "
                              "not taken",
                              (unsigned long long) n);
    }
    return rc;
}

/* One series of the batch, but for conflicts of one that is known. */
static nlt_rc_t
check_series(nlt_ingest_req_t *r, const nlt_arena_t *a,
             const nlt_arena_t *prev, nlt_ingest_series_t *e)
{
    nlt_rc_t rc;

    if (nlt_unlikely(e->no == 0 || (e->side & NLT_INGEST_BAD_REFS))) {
        if (e->side & NLT_INGEST_BAD_REFS) {
            rc = nlt_ingest_fault_refs(r, e);
            drop_series(r, e);
            r->at.found.n_skipped++;
            return rc;
        }
        rc = check_miss(r, a, prev, e);
        if (rc != NLT_OK) {
            return rc == NLT_EINVAL ? NLT_OK : rc;
        }
    }
    rc = check_times(r, e);
    if (nlt_likely((e->side & NLT_INGEST_HISTOGRAMS) == 0)) {
        if (nlt_likely(e->n != 0) || rc != NLT_OK
            || (e->side & NLT_INGEST_EXEMPLARS)) {
            return rc;
        }
        return nlt_ingest_fault(r, NLT_EINVAL, e,
                                "TimeSeries must contain at least one sample "
                                "or histogram");
    }
    return rc == NLT_OK ? check_histograms(r, e) : rc;
}

/* Do known series of the batch, from series `from` on, agree with a? */
static nlt_rc_t
check_conflicts(nlt_ingest_req_t *r, const nlt_arena_t *a, size_t from)
{
    nlt_ingest_scratch_t *s = r->s;
    size_t at = s->series[from].first, i = from;
    uint64_t existing;
    nlt_rc_t rc;

    for (;;) {
        at +=
            nlt_arena_check(a, s->samples + at, s->n_samples - at, &existing);
        if (nlt_likely(at == s->n_samples)) {
            break;
        }
        while (at >= (size_t) s->series[i].first + s->series[i].n) {
            i++;
        }
        rc = fault_conflict(r, &s->series[i], &s->samples[at], existing);
        if (rc != NLT_OK) {
            return rc;
        }
        drop_sample(r, &s->series[i], at++);
    }
    return NLT_OK;
}

/* Checks series [from, n) of the batch; known ones have their number. */
static nlt_rc_t
check_group(nlt_ingest_req_t *r, const nlt_arena_t *a, const nlt_arena_t *prev,
            size_t from)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rc_t rc = NLT_OK;

    if (from == s->n_series) {
        return NLT_OK;
    }
    if (nlt_likely(!r->checked)) {
        for (size_t i = from; i < s->n_series; i++) {
            rc = check_series(r, a, prev, &s->series[i]);
            if (nlt_unlikely(rc != NLT_OK)) {
                return rc;
            }
        }
        rc = check_conflicts(r, a, from);
    }
    for (size_t i = from; nlt_unlikely(r->s->any_bad) && i < s->n_series;
         i++) {
        close_gaps(r, &s->series[i]);
    }
    return rc;
}

/* ---- batch ---- */

/*
 * The number of a known series, or 0.  It was registered with the request that
 * brought it first, so the next series of a request has the next number, or
 * one soon after where two processes registered at the same time.
 */
static inline uint32_t
find_series(nlt_ingest_req_t *r, const nlt_arena_t *a, nlt_hash128_t key)
{
    uint32_t no;

    if (nlt_likely(r->conf.version != 2 && nlt_ingest_is_in_order(r))) {
        for (uint32_t i = 1; i <= NLT_INGEST_NEXT_MAX; i++) {
            no = r->found + i;
            if (nlt_likely(nlt_arena_is(a, no, key))) {
                nlt_arena_prefetch_behind(a, no);
                r->found = no;
                r->astray -= r->astray > 0;
                return no;
            }
        }
        r->astray++;
    }
    no = nlt_arena_find(a, key);
    nlt_arena_prefetch_series(a, no);
    r->found = no && r->conf.version != 2 ? no : r->found;
    return no;
}

nlt_rc_t
nlt_ingest_load(nlt_ingest_req_t *r, nlt_arena_t *a, nlt_arena_t *prev)
{
    nlt_ingest_scratch_t *s = r->s;
    nlt_rc_t rc, loaded;
    size_t from;

    if (r->conf.version == 2) {
        nlt_ingest_symbols_of(r, a);
    }
    do {
        from = s->n_series;
        loaded = load_group(r, a);
        if (loaded != NLT_OK && loaded != NLT_AGAIN) {
            return loaded;
        }
        for (size_t i = from; i < s->n_series; i++) {
            if (s->series[i].no == 0) {
                s->series[i].no = find_series(r, a, s->series[i].key);
            }
        }
        if (!r->applying || r->conf.version == 2) {
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

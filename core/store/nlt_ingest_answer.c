/*
 * nlt_ingest_answer.c - what a request is answered, and what is wrong with it.
 *
 * Texts are bounded: a series is shown with its first labels, and the faults
 * of a 2.0 request, of which there may be one for every sample, with as many
 * lines as fit.
 */
#include <stdarg.h>
#include <stdio.h>

#include "nlt_ingest_v2.h"

#define RETRY_SOON_S  1
#define RETRY_LATER_S 5
#define RETRY_OVER_S  60

/* Labels and bytes of each that a message about a series shows. */
#define SHOWN_LABELS 24
#define SHOWN_BYTES  128
#define SHOWN_TEXT   (NLT_INGEST_SHOWN_BYTES - 4)

/* ---- texts ---- */

static size_t
peek1(nlt_ingest_req_t *r, const nlt_ingest_series_t *e, nlt_label_t *out,
      size_t max, bool *cut)
{
    nlt_rw_series_t series;
    size_t n;

    if (nlt_rw_series_parse((nlt_str_t){e->body_len, e->body}, r->s->gather,
                            sizeof(r->s->gather), &series, NULL)
        != NLT_OK) {
        return 0;
    }
    n = nlt_rw_labels_peek(&series, out, max);
    *cut = n < series.n_labels;
    return n;
}

void
nlt_ingest_describe(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
                    char text[NLT_INGEST_SHOWN_BYTES])
{
    nlt_label_t v[SHOWN_LABELS];
    bool cut = false;
    nlt_buf_t b;
    nlt_str_t dup;
    size_t n;

    /* lines about one series come together, and it may have 30 MB */
    if (e->body == r->shown_body && e->body != NULL) {
        memcpy(text, r->shown, strlen(r->shown) + 1);
        return;
    }
    n = r->conf.version == 2 ? nlt_ingest_peek2(r, e, v, SHOWN_LABELS, &cut)
                             : peek1(r, e, v, SHOWN_LABELS, &cut);
    for (size_t i = 0; i < n; i++) {
        if (v[i].name.len > SHOWN_BYTES || v[i].value.len > SHOWN_BYTES) {
            v[i].name.len =
                v[i].name.len < SHOWN_BYTES ? v[i].name.len : SHOWN_BYTES;
            v[i].value.len =
                v[i].value.len < SHOWN_BYTES ? v[i].value.len : SHOWN_BYTES;
            cut = true;
        }
    }
    n = nlt_labels_normalize(v, n, &dup);
    nlt_buf_init(&b, r->in->env->mem, 64u << 10);
    nlt_labels_print(&b, (nlt_labels_t){v, n});
    (void) snprintf(text, SHOWN_TEXT, "%.*s", NLT_FMT(nlt_buf_str(&b)));
    if (cut || b.len >= SHOWN_TEXT) {
        memcpy(text + strlen(text), "...", 4);
    }
    nlt_buf_deinit(&b);
    r->shown_body = e->body;
    memcpy(r->shown, text, strlen(text) + 1);
}

/* What is wrong, and with which series, into r->res.err. */
static void
say(nlt_ingest_req_t *r, nlt_rc_t rc, const nlt_ingest_series_t *about,
    const char *fmt, va_list ap)
{
    char what[400], series[NLT_INGEST_SHOWN_BYTES];

    if (about == NULL) {
        char all[NLT_ERR_TEXT_MAX];

        (void) vsnprintf(all, sizeof(all), fmt, ap);
        (void) nlt_err_set(&r->res.err, rc, "%s", all);
        return;
    }
    (void) vsnprintf(what, sizeof(what), fmt, ap);
    nlt_ingest_describe(r, about, series);
    (void) nlt_err_set(&r->res.err, rc, "%s for series %s", what, series);
}

/* ---- answers ---- */

/* Adds what was found to the counters of the store. */
static void
count_found(nlt_ingest_req_t *r)
{
    nlt_head_counters_t *c = &r->in->ctl->counters;
    const nlt_ingest_found_t *f = &r->at.found;

    r->res.skipped_series = f->n_skipped;
    r->res.skipped_histograms = f->n_histograms;
    nlt_ingest_count(&c->series_invalid, f->n_skipped);
    nlt_ingest_count(&c->histograms_not_stored, f->n_histograms);
    nlt_ingest_count(&c->histograms_invalid, f->n_bad_histograms);
    nlt_ingest_count(&c->samples_too_old, f->n_too_old);
    nlt_ingest_count(&c->samples_too_new, f->n_too_new);
    nlt_ingest_count(&c->samples_conflict, f->n_conflicts);
    nlt_ingest_count(&c->series_over_labels, f->out.n_over_labels);
    if (nlt_likely(r->conf.screen == NULL)) {
        return;
    }
    nlt_ingest_count(&c->samples_dropped, f->out.n_dropped);
    nlt_ingest_count(&c->samples_over_series, f->out.n_over);
    nlt_ingest_count(&c->dry_run_series_dropped, f->out.n_dropped_dry);
    nlt_ingest_count(&c->dry_run_samples_over_series, f->out.n_over_dry);
    nlt_ingest_count(&c->dry_run_series_over_labels, f->out.n_over_labels_dry);
    nlt_ingest_count(&c->dry_run_samples_over_age, f->out.n_age_dry);
}

nlt_rc_t
nlt_ingest_refuse(nlt_ingest_req_t *r, int status, nlt_rc_t rc,
                  const nlt_ingest_series_t *about, const char *fmt, ...)
{
    nlt_head_counters_t *c = &r->in->ctl->counters;
    va_list ap;

    va_start(ap, fmt);
    say(r, rc, about, fmt, ap);
    va_end(ap);
    r->res.status = status;
    r->res.retry_after_s = status != 503         ? 0
                           : rc == NLT_ENOTREADY ? RETRY_SOON_S
                                                 : RETRY_LATER_S;
    /* What was written will be sent again, and counted then. */
    r->res.written_samples = 0;
    r->res.written_histograms = 0;
    r->res.written_exemplars = 0;
    nlt_ingest_count(status < 500 ? &c->requests_refused : &c->requests_failed,
                     1);
    count_found(r);
    r->phase = NLT_INGEST_FINISHED;
    return NLT_ECANCELED;
}

nlt_rc_t
nlt_ingest_fault(nlt_ingest_req_t *r, nlt_rc_t rc,
                 const nlt_ingest_series_t *about, const char *fmt, ...)
{
    nlt_ingest_found_t *f = &r->at.found;
    va_list ap;

    if (r->conf.version == 2) {
        f->n_faults++;
        if (r->faults.len > NLT_INGEST_FAULTS_BYTES) {
            f->n_untold++;
            return NLT_OK;
        }
        r->budget -= NLT_INGEST_PARSE_COST;
    }
    va_start(ap, fmt);
    say(r, rc, about, fmt, ap);
    va_end(ap);
    if (r->conf.version != 2) {
        return nlt_ingest_refuse(r, 400, rc, NULL, "%s", r->res.err.text);
    }
    if (r->faults.len != 0) {
        nlt_buf_add_byte(&r->faults, '\n');
    }
    nlt_buf_add(&r->faults, r->res.err.text, r->res.err.len);
    f->faults_size = r->faults.len;
    return NLT_OK;
}

nlt_rc_t
nlt_ingest_refuse_log(nlt_ingest_req_t *r, const nlt_err_t *err)
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

/* The notes become the text of the answer. */
static void
tell_faults(nlt_ingest_req_t *r)
{
    nlt_ingest_t *in = r->in;
    const nlt_ingest_found_t *f = &r->at.found;
    const char *end;

    if (f->n_untold) {
        nlt_buf_addf(&r->faults, "\nand %llu more",
                     (unsigned long long) f->n_untold);
    }
    nlt_buf_deinit(&in->told);
    in->told = r->faults;
    nlt_buf_init(&r->faults, in->env->mem, 0);
    if (in->told.len == 0) {
        (void) nlt_err_set(&r->res.err, NLT_EINVAL, "%llu faults",
                           (unsigned long long) f->n_faults);
        return;
    }
    r->res.text = nlt_buf_str(&in->told);
    end = memchr(r->res.text.data, '\n', r->res.text.len);
    (void) nlt_err_set(&r->res.err, NLT_EINVAL, "%.*s",
                       end ? (int) (end - r->res.text.data)
                           : (int) r->res.text.len,
                       r->res.text.data);
}

/* Some series were over a quota, and that comes before other faults. */
static nlt_rc_t
accept_rest(nlt_ingest_req_t *r)
{
    nlt_head_counters_t *c = &r->in->ctl->counters;
    nlt_buf_t all;

    nlt_buf_init(&all, r->in->env->mem, NLT_INGEST_FAULTS_BYTES + 4096);
    nlt_ingest_say_over(r, &all);
    if (r->faults.len) {
        nlt_buf_add_byte(&all, '\n');
        nlt_buf_add(&all, r->faults.data, r->faults.len);
    }
    nlt_buf_deinit(&r->faults);
    r->faults = all;
    r->at.found.n_faults++;
    tell_faults(r);
    r->res.status = r->conf.screen->over_status;
    r->res.retry_after_s = r->res.status == 429 ? RETRY_OVER_S : 0;
    nlt_ingest_count(
        r->res.samples ? &c->requests_partial : &c->requests_refused, 1);
    return NLT_OK;
}

nlt_rc_t
nlt_ingest_accept(nlt_ingest_req_t *r)
{
    nlt_head_counters_t *c = &r->in->ctl->counters;

    count_found(r);
    r->phase = NLT_INGEST_FINISHED;
    if (nlt_unlikely(r->at.found.out.n_over_series != 0)
        && r->conf.screen->over_status != 204) {
        return accept_rest(r);
    }
    if (r->at.found.n_faults == 0) {
        r->res.status = 204;
        nlt_ingest_count(&c->requests_ok, 1);
        return NLT_OK;
    }
    r->res.status = 400;
    tell_faults(r);
    nlt_ingest_count(r->res.written_samples ? &c->requests_partial
                                            : &c->requests_refused,
                     1);
    return NLT_OK;
}

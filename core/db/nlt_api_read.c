/*
 * nlt_api_read.c - remote_read: the request, and answers of samples.
 *
 * Of the hints only the range and "series" say something about the answer;
 * the others (step, grouping, by) tell a store what it need not send, and
 * this one sends the samples as they are.  Nothing outside of the range that
 * was asked for is sent in either kind of answer: not every client would cut
 * it away.
 */
#include "nlt_api_read.h"

void
nlt_api_read_release(nlt_api_read_t *r)
{
    for (size_t i = 0; i < r->n_compiled; i++) {
        nlt_rr_query_t *q = &r->req.queries[i];

        for (size_t j = 0; j < q->n_matchers; j++) {
            nlt_matcher_release(&q->matchers[j]);
        }
    }
    r->n_compiled = 0;
}

/* The part of the query's range that its hints leave. */
static void
set_range(const nlt_rr_query_t *q, nlt_select_t *sel)
{
    sel->t_min_ms = q->t_start_ms;
    sel->t_max_ms = q->t_end_ms;
    if (q->hint_start_ms != 0 || q->hint_end_ms != 0) {
        sel->t_min_ms = nlt_max_i64(sel->t_min_ms, q->hint_start_ms);
        sel->t_max_ms = nlt_min_i64(sel->t_max_ms, q->hint_end_ms);
    }
}

/* Compiles all matchers: a mistake in the last query is told at once. */
static bool
compile(nlt_api_t *a, nlt_api_read_t *r)
{
    nlt_err_t err;

    r->sels = nlt_pool_array(&a->pool, r->req.n_queries, sizeof(nlt_select_t));
    if (r->sels == NULL) {
        (void) nlt_err_set(&err, NLT_ENOMEM, "out of memory");
        nlt_api_fail_rc(a, &err);
        return false;
    }
    for (size_t i = 0; i < r->req.n_queries; i++) {
        nlt_rr_query_t *q = &r->req.queries[i];
        size_t n = q->n_matchers;
        nlt_rc_t rc = NLT_OK;

        /* release looks at those that are done */
        q->n_matchers = 0;
        r->n_compiled = i + 1;
        for (size_t j = 0; rc == NLT_OK && j < n; j++) {
            rc = nlt_matcher_compile(&a->pool, &q->matchers[j], &err);
            q->n_matchers += rc == NLT_OK;
        }
        if (rc != NLT_OK) {
            nlt_api_read_release(r);
            if (rc == NLT_EINVAL) {
                /* a regular expression; the status is Prometheus's */
                nlt_api_fail(a, "internal", 500, "%s", err.text);
            } else {
                nlt_api_fail_rc(a, &err);
            }
            return false;
        }
        r->sels[i] = (nlt_select_t){.matchers = q->matchers, .n_matchers = n};
        set_range(q, &r->sels[i]);
    }
    return true;
}

/* Decompresses and reads the request; false: answered. */
static bool
parse(nlt_api_t *a, nlt_api_read_t *r)
{
    nlt_err_t err;
    size_t n;
    char *raw;
    nlt_rc_t rc = nlt_snappy_length(a->req.form, NLT_RR_REQUEST_MAX, &n, &err);
    nlt_rc_t parsed;

    if (rc == NLT_ETOOBIG) {
        nlt_api_fail(a, "bad_data", 400,
                     "snappy: decoded length exceeds limit %u",
                     NLT_RR_REQUEST_MAX);
        return false;
    }
    raw = rc == NLT_OK ? nlt_pool_alloc(&a->pool, n) : NULL;
    if (rc == NLT_OK && raw == NULL) {
        (void) nlt_err_set(&err, NLT_ENOMEM, "out of memory");
        nlt_api_fail_rc(a, &err);
        return false;
    }
    if (rc != NLT_OK
        || nlt_snappy_decode(a->req.form, raw, n, &err) != NLT_OK) {
        nlt_api_fail(a, "bad_data", 400, "snappy: corrupt input");
        return false;
    }
    parsed = nlt_rr_parse(&a->pool, (nlt_str_t){n, raw}, &r->req, &err);
    if (parsed == NLT_OK || parsed == NLT_EEXEC) {
        nlt_err_t none;

        rc = nlt_rr_negotiate(&r->req, &r->type, &none);
        if (rc != NLT_OK) {
            nlt_api_fail(a, "bad_data", 400, "%s", none.text);
            return false;
        }
    }
    if (parsed == NLT_EEXEC) {
        nlt_api_fail(a, "internal", 500, "%s", err.text);
    } else if (parsed != NLT_OK) {
        nlt_api_fail_rc(a, &err);
    }
    return parsed == NLT_OK;
}

/* ---- answers of samples ---- */

typedef struct {
    nlt_api_t *a;
    nlt_api_read_t *r;
    nlt_rr_pack_t pack;
    nlt_buf_t series; /* a message */
    nlt_samples_t samples;
    uint64_t n_samples;
} sampled_t;

/* Is there anything of the series in the range?  Of "series" only that. */
static nlt_rc_t
read_series(sampled_t *s, const nlt_walk_item_t *item, bool only_names,
            nlt_err_t *err)
{
    return item->set->source->ops->read(
        item->set, item->idx, only_names ? NLT_READ_NEWEST : NLT_READ_ALL,
        item->sel->t_min_ms, item->sel->t_max_ms, &s->samples, err);
}

static nlt_rc_t
add_series(sampled_t *s, const nlt_walk_item_t *item, bool only_names,
           nlt_err_t *err)
{
    nlt_rc_t rc = read_series(s, item, only_names, err);

    if (rc != NLT_OK || s->samples.n == 0) {
        return rc;
    }
    nlt_buf_reset(&s->series);
    nlt_rr_add_labels(&s->series, item->labels);
    if (!only_names) {
        s->n_samples += s->samples.n;
        if (s->n_samples > s->a->conf.samples_max) {
            return nlt_err_set(err, NLT_ELIMIT, "too many samples");
        }
        nlt_rr_add_samples(&s->series, s->samples.t_ms, s->samples.v,
                           s->samples.n);
    }
    rc = s->series.rc;
    if (rc == NLT_OK) {
        rc = nlt_rr_pack_series(&s->pack, nlt_buf_str(&s->series));
    }
    return rc == NLT_OK ? NLT_OK
                        : nlt_err_set(err, rc == NLT_EBUG ? rc : NLT_ENOMEM,
                                      "answer: %s", nlt_rc_text(rc));
}

static nlt_rc_t
add_result(sampled_t *s, size_t idx, nlt_err_t *err)
{
    nlt_api_t *a = s->a;
    bool only_names = nlt_api_read_only_names(&s->r->req.queries[idx]);
    nlt_walk_item_t item;
    nlt_walk_t walk;
    nlt_rc_t rc = nlt_rr_pack_result(&s->pack);

    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "out of memory");
    }
    nlt_walk_init(&walk, a->env->mem, a->conf.memory_max, &s->r->sels[idx], 1,
                  a->conf.series_max, nlt_labels_cmp);
    do {
        rc = nlt_walk_next(&walk, &a->view.source, &item, err);
        if (rc == NLT_OK) {
            rc = add_series(s, &item, only_names, err);
        }
    } while (rc == NLT_OK);
    nlt_walk_deinit(&walk);
    nlt_api_note_series(a, walk.selected);
    nlt_api_note_memory(a, walk.peak_bytes);
    if (rc == NLT_EOF) {
        rc = nlt_rr_pack_result_end(&s->pack);
        if (rc != NLT_OK) {
            (void) nlt_err_set(err, rc, "out of memory");
        }
    }
    return rc;
}

static nlt_rc_t
sampled_eval(nlt_api_t *a, void *ctx, nlt_err_t *err)
{
    sampled_t s = {.a = a, .r = ctx};
    nlt_pool_t scratch;
    nlt_rc_t rc = nlt_rr_pack_begin(&s.pack, &a->pool);

    a->pieces = NULL;
    nlt_pool_init(&scratch, a->env->mem, a->conf.memory_max);
    s.samples.pool = &scratch;
    nlt_buf_init(&s.series, a->env->mem, a->conf.memory_max);
    for (size_t i = 0; rc == NLT_OK && i < s.r->req.n_queries; i++) {
        rc = add_result(&s, i, err);
    }
    nlt_buf_deinit(&s.series);
    nlt_pool_deinit(&scratch);
    nlt_api_note_memory(a, scratch.peak_bytes);
    nlt_api_note_samples(a, s.n_samples);
    a->answer.samples_read = s.n_samples;
    if (rc == NLT_OK) {
        rc = nlt_rr_pack_end(&s.pack);
        (void) nlt_err_set(err, rc, "the answer would be too large");
    }
    if (rc == NLT_ELIMIT && s.n_samples > a->conf.samples_max) {
        nlt_api_fail(a, "execution", 400,
                     "exceeded sample limit (%llu) "
                     "(nightlight_query_max_samples)",
                     (unsigned long long) a->conf.samples_max);
        a->outcome = NLT_OUTCOME_LIMIT_SAMPLES;
        return NLT_OK;
    }
    if (rc == NLT_OK) {
        a->answer.status = 200;
        a->answer.content_type = NLT_STR(NLT_RR_TYPE_SAMPLES);
        a->answer.content_encoding = NLT_STR("snappy");
        a->answer.has_body = true;
        a->pieces = s.pack.first;
    }
    return rc;
}

static void
run_sampled(nlt_api_t *a, nlt_api_read_t *r)
{
    nlt_api_over_view(a, sampled_eval, r);
    nlt_api_read_release(r);
    if (a->answer.status == 200 && a->annots.warnings != NULL) {
        /* a block is missing: who copies data by this must know */
        nlt_str_t text = a->annots.warnings->text;

        a->pieces = NULL;
        a->answer.content_encoding = (nlt_str_t){0, NULL};
        nlt_api_fail(a, "internal", 500, "%.*s", NLT_FMT(text));
    }
}

void
nlt_api_run_read(nlt_api_t *a)
{
    nlt_api_read_t *r = nlt_pool_zalloc(&a->pool, sizeof(*r));

    if (r == NULL) {
        nlt_api_fail(a, "execution", 422, "out of memory");
        return;
    }
    if (!parse(a, r) || !compile(a, r)) {
        return;
    }
    if (r->type == NLT_RR_STREAMED) {
        nlt_api_read_stream(a, r);
    } else {
        run_sampled(a, r);
    }
}

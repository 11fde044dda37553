/*
 * nlt_ingest_beside.c - what a request has beside its samples.
 *
 * Called when samples of a batch are in arena a and logged.  Exemplars and
 * metadata of series whose samples are all done come now; those of others with
 * the arena that takes their last sample.
 */
#include "nlt_ingest_side.h"
#include "nlt_rw_side.h"

/*
 * So many of each are looked at for one batch; further ones are counted as
 * refused.  They are a few hundred for ordinary requests, and the event loop
 * waits for all of them.
 */
#define BESIDE_MAX 20000

typedef struct {
    nlt_ingest_req_t *r;
    nlt_arena_t *a;
    unsigned n_exemplars;
    unsigned n_metadata;
} beside_t;

static bool
is_v2(const nlt_ingest_req_t *r)
{
    return r->conf.version == 2;
}

/* ---- exemplars ---- */

/* A part of the request that 2.0 hears of, and 1.0 does not. */
static nlt_rc_t
tell(beside_t *b, const nlt_ingest_series_t *e, const char *what)
{
    return is_v2(b->r) ? nlt_ingest_fault(b->r, NLT_EINVAL, e, "%s", what)
                       : NLT_OK;
}

static nlt_rc_t
take_exemplar(beside_t *b, const nlt_ingest_series_t *e,
              const nlt_rw_exemplar_t *x, const nlt_label_t *labels)
{
    nlt_ingest_t *in = b->r->in;
    nlt_exemplar_result_t res = NLT_EXEMPLAR_TOO_LONG;

    if (x->n_labels <= NLT_EXEMPLAR_LABELS_MAX
        && b->n_exemplars < BESIDE_MAX) {
        res = nlt_ingest_side_exemplar(in, e->no,
                                       (nlt_labels_t){labels, x->n_labels},
                                       x->t_ms, x->v_bits);
    } else {
        nlt_ingest_count(&in->ctl->counters.exemplars_refused, 1);
    }
    b->n_exemplars++;
    switch (res) {
    case NLT_EXEMPLAR_OK:
    case NLT_EXEMPLAR_DUPLICATE:
    case NLT_EXEMPLAR_OFF:
        b->r->res.written_exemplars++;
        return NLT_OK;
    case NLT_EXEMPLAR_TOO_LONG:
        return NLT_OK;
    case NLT_EXEMPLAR_OUT_OF_BOUNDS:
        return tell(b, e, "out of bounds exemplar");
    case NLT_EXEMPLAR_INVALID:
        break;
    }
    return tell(b, e, "invalid labels of an exemplar");
}

/* References of an exemplar lead nowhere: 2.0 only. */
static nlt_rc_t
bad_refs(beside_t *b, const nlt_ingest_series_t *e, const nlt_err_t *err)
{
    char shown[NLT_INGEST_SHOWN_BYTES];

    b->n_exemplars++;
    if (b->r->at.found.n_untold) {
        return nlt_ingest_fault(b->r, NLT_EINVAL, NULL, "not told");
    }
    nlt_ingest_describe(b->r, e, shown);
    return nlt_ingest_fault(b->r, NLT_EINVAL, NULL,
                            "parsing exemplar for series %s: %s", shown,
                            err->text);
}

static nlt_rc_t
take_exemplars(beside_t *b, const nlt_ingest_series_t *e)
{
    nlt_label_t labels[NLT_EXEMPLAR_LABELS_MAX];
    nlt_rw_exemplars_t it;
    nlt_rw_exemplar_t x;
    nlt_err_t err;
    nlt_rc_t rc;

    nlt_rw_exemplars_init(&it, (nlt_str_t){e->body_len, e->body},
                          is_v2(b->r) ? &b->r->s->symbols : NULL);
    while (
        (rc = nlt_rw_exemplars_next(&it, &x, labels, NLT_COUNT(labels), &err))
        != NLT_EOF) {
        rc = rc == NLT_OK ? take_exemplar(b, e, &x, labels)
                          : bad_refs(b, e, &err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* ---- metadata ---- */

static void
take_metadata(beside_t *b, const nlt_rw_metadata_t *md, nlt_str_t family)
{
    nlt_ingest_t *in = b->r->in;
    nlt_metadata_t m = {b->r->conf.tenant, md->type, family, md->help,
                        md->unit};

    if (b->n_metadata++ < BESIDE_MAX) {
        nlt_ingest_side_metadata(in, &m);
    } else {
        nlt_ingest_count(&in->ctl->counters.metadata_refused, 1);
    }
}

/* 2.0: of a series, whose name says the family. */
static void
take_of_series(beside_t *b, const nlt_ingest_series_t *e)
{
    nlt_ingest_scratch_t *s = b->r->s;
    nlt_rw2_series_t series;
    nlt_rw_metadata_t md;
    nlt_str_t name;

    if (nlt_ingest_side_said(b->r->in, e->no, e->side & NLT_INGEST_META_MASK)
        || nlt_rw2_series_parse((nlt_str_t){e->body_len, e->body}, s->refs,
                                (uint32_t) s->refs_cap, &series, NULL)
               != NLT_OK
        || nlt_rw2_metadata(&s->symbols, &series, &md, NULL) != NLT_OK) {
        return;
    }
    name = nlt_arena_label(b->a, e->no, NLT_METRIC_NAME);
    take_metadata(b, &md, nlt_metadata_family(name, md.type));
}

/* 1.0: of the request. */
static void
take_of_request(beside_t *b)
{
    const nlt_rw_walk_t *w = &b->r->at.walk;
    nlt_rw_metadata_iter_t it;
    nlt_rw_metadata_t md;

    nlt_rw_metadata_init(
        &it, (nlt_str_t){(size_t) (w->end - w->base), (const char *) w->base});
    while (nlt_rw_metadata_next(&it, &md)) {
        take_metadata(b, &md, md.family);
    }
}

/* ---- a batch ---- */

/* Does the last sample of e, or its place, lie in [from, to) of the batch? */
static bool
ends_in(const nlt_ingest_series_t *e, size_t from, size_t to)
{
    size_t end = (size_t) e->first + e->n;

    if (nlt_ingest_only_exemplars(e)) {
        return e->no != 0 && e->first >= from && e->first < to;
    }
    return e->n > 0 && e->no != 0 && end > from && end <= to;
}

static nlt_rc_t
take_all(beside_t *b, size_t from, size_t to)
{
    const nlt_ingest_scratch_t *s = b->r->s;
    nlt_rc_t rc;

    for (size_t i = 0; i < s->n_series; i++) {
        const nlt_ingest_series_t *e = &s->series[i];

        if (nlt_likely(e->side == 0) || !ends_in(e, from, to)) {
            continue;
        }
        if (is_v2(b->r) && (e->side & NLT_INGEST_META_MASK) != 0) {
            take_of_series(b, e);
        }
        if (e->side & NLT_INGEST_EXEMPLARS) {
            rc = take_exemplars(b, e);
            if (rc != NLT_OK) {
                return rc;
            }
        }
    }
    return NLT_OK;
}

/* Has the batch, or the request that it ends, anything of that? */
static bool
has_any(const nlt_ingest_req_t *r, bool metadata)
{
    const nlt_ingest_scratch_t *s = r->s;

    if (metadata) {
        return true;
    }
    for (size_t i = 0; i < s->n_series; i++) {
        if (s->series[i].side
            & (NLT_INGEST_EXEMPLARS | NLT_INGEST_META_MASK)) {
            return true;
        }
    }
    return false;
}

nlt_rc_t
nlt_ingest_beside(nlt_ingest_req_t *r, nlt_arena_t *a, size_t to, bool *wrote)
{
    bool metadata =
        to == SIZE_MAX && r->eof && !is_v2(r) && r->at.walk.n_metadata > 0;
    beside_t b = {.r = r, .a = a};
    nlt_err_t err;
    nlt_rc_t rc;

    *wrote = false;
    if (nlt_likely(!has_any(r, metadata))) {
        return NLT_OK;
    }
    if (nlt_ingest_side_begin(r->in, a, r->conf.tenant) != NLT_OK) {
        return nlt_ingest_refuse(r, 503, NLT_ENOMEM, NULL, "out of memory");
    }
    rc = take_all(&b, r->done, to);
    if (rc == NLT_OK && metadata) {
        take_of_request(&b);
    }
    r->budget -= (int) ((b.n_exemplars + b.n_metadata) * 2);
    if (rc != NLT_OK) {
        return rc;
    }
    rc = nlt_ingest_side_end(r->in, wrote, &err);
    if (rc != NLT_OK) {
        err.rc = rc;
        return nlt_ingest_refuse_log(r, &err);
    }
    return NLT_OK;
}

/*
 * nlt_block_validate.c - checks a whole block, sample by sample.
 */
#include "nlt_block_priv.h"

#define POLL_CHUNKS 1024

typedef struct {
    const nlt_block_t *b;
    nlt_rc_t (*poll)(void *ctx);
    void *poll_ctx;
    nlt_samples_t samples; /* of one chunk */
    uint64_t last_ref;
    uint32_t last_id;
    nlt_block_facts_t facts;
} validate_t;

static nlt_rc_t
poll_cb(void *ctx)
{
    validate_t *va = ctx;

    return va->poll ? va->poll(va->poll_ctx) : NLT_OK;
}

static nlt_rc_t
check_place(const validate_t *va, uint32_t id, const nlt_index_chunk_t *c,
            nlt_err_t *err)
{
    const nlt_block_meta_t *meta = &va->b->meta;

    if (c->t_min_ms < meta->t_min_ms || c->t_max_ms >= meta->t_end_ms) {
        return nlt_err_set(err, NLT_EDATA,
                           "series %u has a chunk of %lld..%lld outside the "
                           "block",
                           id, (long long) c->t_min_ms,
                           (long long) c->t_max_ms);
    }
    if (va->facts.n_chunks > 0 && c->ref <= va->last_ref) {
        return nlt_err_set(err, NLT_EDATA,
                           "series %u has a chunk that lies before the one "
                           "before it",
                           id);
    }
    return NLT_OK;
}

static nlt_rc_t
check_floats(validate_t *va, uint32_t id, const nlt_index_chunk_t *c,
             const nlt_chunk_view_t *view, nlt_err_t *err)
{
    nlt_rc_t rc;

    va->samples.n = 0;
    rc = nlt_block_decode_chunk(c, view, &va->samples, err);
    if (rc != NLT_OK) {
        return rc;
    }
    if (va->samples.t_ms[0] != c->t_min_ms
        || va->samples.t_ms[va->samples.n - 1] != c->t_max_ms) {
        return nlt_err_set(err, NLT_EDATA,
                           "series %u has a chunk shorter than the index "
                           "says",
                           id);
    }
    va->facts.n_floats += va->samples.n;
    return NLT_OK;
}

static nlt_rc_t
check_histograms(validate_t *va, uint32_t id, const nlt_chunk_view_t *view,
                 nlt_err_t *err)
{
    unsigned n = view->data.len < 2 ? 0 : nlt_be16(view->data.data);

    if (n == 0) {
        return nlt_err_set(err, NLT_EDATA,
                           "series %u has an empty chunk of histograms", id);
    }
    va->facts.n_histograms += n;
    return NLT_OK;
}

static nlt_rc_t
check_chunk_cb(void *ctx, uint32_t id, const nlt_index_chunk_t *c,
               nlt_err_t *err)
{
    validate_t *va = ctx;
    nlt_block_facts_t *f = &va->facts;
    nlt_chunk_view_t view;
    nlt_rc_t rc = check_place(va, id, c, err);

    if (rc == NLT_OK) {
        rc = nlt_block_get_chunk(va->b, c, &view, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (nlt_chunk_is_float(view.encoding)) {
        rc = check_floats(va, id, c, &view, err);
    } else {
        rc = check_histograms(va, id, &view, err);
    }
    f->n_series += f->n_chunks == 0 || id != va->last_id;
    f->n_chunks++;
    f->t_min_ms = nlt_min_i64(f->t_min_ms, c->t_min_ms);
    f->t_max_ms = nlt_max_i64(f->t_max_ms, c->t_max_ms);
    va->last_ref = c->ref;
    va->last_id = id;
    return rc == NLT_OK && f->n_chunks % POLL_CHUNKS == 0 ? poll_cb(va) : rc;
}

/* Every byte of the segments belongs to a chunk; as many as the index has. */
static nlt_rc_t
check_segments(validate_t *va, nlt_err_t *err)
{
    uint64_t n = 0;

    for (size_t i = 0; i < va->b->n_segments; i++) {
        const nlt_guard_t *s = va->b->segments[i];
        uint64_t off = NLT_CHUNK_FILE_HEADER_BYTES;

        while (off < s->len) {
            nlt_chunk_view_t view;
            nlt_rc_t rc =
                nlt_chunk_file_get(s->p, s->len, off, &view, &off, err);

            if (rc == NLT_OK && view.encoding == NLT_CHUNK_TIMES
                && va->b->meta.dense) {
                continue;
            }
            if (rc == NLT_OK && ++n % POLL_CHUNKS == 0) {
                rc = poll_cb(va);
            }
            if (rc != NLT_OK) {
                return rc;
            }
        }
    }
    if (n != va->facts.n_chunks) {
        return nlt_err_set(
            err, NLT_EDATA, "chunk files have %llu chunks, the index %llu",
            (unsigned long long) n, (unsigned long long) va->facts.n_chunks);
    }
    return NLT_OK;
}

/* Older writers do not tell floats and histograms apart: both are 0 then. */
static nlt_rc_t
check_stats(const validate_t *va, nlt_err_t *err)
{
    const nlt_block_meta_t *m = &va->b->meta;
    const nlt_block_facts_t *f = &va->facts;
    uint64_t n = f->n_floats + f->n_histograms;

    if (m->n_series != f->n_series || m->n_chunks != f->n_chunks
        || m->n_samples != n) {
        return nlt_err_set(
            err, NLT_EDATA,
            "meta.json counts %llu series, %llu chunks, %llu samples; there "
            "are %llu, %llu, %llu",
            (unsigned long long) m->n_series, (unsigned long long) m->n_chunks,
            (unsigned long long) m->n_samples,
            (unsigned long long) f->n_series, (unsigned long long) f->n_chunks,
            (unsigned long long) n);
    }
    if (m->n_float_samples + m->n_histogram_samples > 0
        && (m->n_float_samples != f->n_floats
            || m->n_histogram_samples != f->n_histograms)) {
        return nlt_err_set(
            err, NLT_EDATA,
            "meta.json counts %llu floats and %llu histograms; there are "
            "%llu and %llu",
            (unsigned long long) m->n_float_samples,
            (unsigned long long) m->n_histogram_samples,
            (unsigned long long) f->n_floats,
            (unsigned long long) f->n_histograms);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_block_check(const nlt_block_t *b, nlt_pool_t *pool,
                nlt_rc_t (*poll)(void *ctx), void *ctx,
                nlt_block_facts_t *facts, nlt_err_t *err)
{
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    validate_t va = {
        .b = b,
        .poll = poll,
        .poll_ctx = ctx,
        .samples = {.pool = pool},
        .facts = {.t_min_ms = INT64_MAX, .t_max_ms = INT64_MIN},
    };
    nlt_index_check_t check = {check_chunk_cb, poll_cb, &va};
    nlt_rc_t rc = nlt_samples_reserve(&va.samples, UINT16_MAX)
                      ? NLT_OK
                      : nlt_err_set(err, NLT_ENOMEM, "out of memory");

    if (rc == NLT_OK) {
        rc = nlt_index_file_validate(b->index, pool, &check, err);
    }
    if (rc == NLT_OK) {
        rc = check_segments(&va, err);
    }
    if (rc == NLT_OK) {
        rc = check_stats(&va, err);
    }
    nlt_pool_rewind(pool, mark);
    if (rc == NLT_OK && facts != NULL) {
        *facts = va.facts;
    }
    return nlt_block_done(b, rc, err);
}

nlt_rc_t
nlt_block_validate(const nlt_block_t *b, nlt_pool_t *pool, nlt_err_t *err)
{
    return nlt_block_check(b, pool, NULL, NULL, NULL, err);
}

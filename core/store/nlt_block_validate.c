/*
 * nlt_block_validate.c - checks a whole block, sample by sample.
 */
#include "nlt_block_priv.h"

typedef struct {
    const nlt_block_t *b;
    nlt_samples_t samples; /* of one chunk */
    uint64_t last_ref;
    uint64_t n_chunks;
    uint64_t n_floats;
    uint64_t n_histograms;
    uint32_t last_id;
    uint64_t n_series;
} validate_t;

static nlt_rc_t
check_chunk(void *ctx, uint32_t id, const nlt_index_chunk_t *c, nlt_err_t *err)
{
    validate_t *va = ctx;
    const nlt_block_meta_t *meta = &va->b->meta;
    nlt_chunk_view_t view;
    nlt_rc_t rc;

    if (c->t_min_ms < meta->t_min_ms || c->t_max_ms >= meta->t_end_ms) {
        return nlt_err_set(err, NLT_EDATA,
                           "series %u has a chunk of %lld..%lld outside the "
                           "block",
                           id, (long long) c->t_min_ms,
                           (long long) c->t_max_ms);
    }
    if (va->n_chunks > 0 && c->ref <= va->last_ref) {
        return nlt_err_set(err, NLT_EDATA,
                           "series %u has a chunk that lies before the one "
                           "before it",
                           id);
    }
    rc = nlt_block_get_chunk(va->b, c, &view, err);
    if (rc != NLT_OK) {
        return rc;
    }
    if (view.encoding == NLT_CHUNK_XOR) {
        va->samples.n = 0;
        rc = nlt_block_decode_chunk(c, &view, &va->samples, err);
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
        va->n_floats += va->samples.n;
    } else if (view.encoding == NLT_CHUNK_HISTOGRAM
               || view.encoding == NLT_CHUNK_FLOAT_HISTOGRAM) {
        va->n_histograms += view.data.len < 2 ? 0 : nlt_be16(view.data.data);
    } else {
        return nlt_err_set(err, NLT_EDATA,
                           "series %u has a chunk of unknown encoding %u", id,
                           view.encoding);
    }
    va->n_series += va->n_chunks == 0 || id != va->last_id;
    va->n_chunks++;
    va->last_ref = c->ref;
    va->last_id = id;
    return NLT_OK;
}

/* Every byte of the segments belongs to a chunk; as many as the index has. */
static nlt_rc_t
check_segments(const validate_t *va, nlt_err_t *err)
{
    uint64_t n = 0;

    for (size_t i = 0; i < va->b->n_segments; i++) {
        const nlt_block_map_t *s = &va->b->segments[i];
        uint64_t off = NLT_CHUNK_FILE_HEADER_BYTES;

        while (off < s->len) {
            nlt_chunk_view_t view;
            nlt_rc_t rc =
                nlt_chunk_file_get(s->p, s->len, off, &view, &off, err);

            if (rc != NLT_OK) {
                return rc;
            }
            n++;
        }
    }
    if (n != va->n_chunks) {
        return nlt_err_set(
            err, NLT_EDATA, "chunk files have %llu chunks, the index %llu",
            (unsigned long long) n, (unsigned long long) va->n_chunks);
    }
    return NLT_OK;
}

static nlt_rc_t
check_stats(const validate_t *va, nlt_err_t *err)
{
    const nlt_block_meta_t *m = &va->b->meta;
    uint64_t n = va->n_floats + va->n_histograms;

    if (m->n_series != va->n_series || m->n_chunks != va->n_chunks
        || m->n_samples != n) {
        return nlt_err_set(
            err, NLT_EDATA,
            "meta.json counts %llu series, %llu chunks, %llu samples; there "
            "are %llu, %llu, %llu",
            (unsigned long long) m->n_series, (unsigned long long) m->n_chunks,
            (unsigned long long) m->n_samples,
            (unsigned long long) va->n_series,
            (unsigned long long) va->n_chunks, (unsigned long long) n);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_block_validate(const nlt_block_t *b, nlt_pool_t *pool, nlt_err_t *err)
{
    validate_t va = {.b = b, .samples = {.pool = pool}};
    nlt_rc_t rc = nlt_samples_reserve(&va.samples, UINT16_MAX)
                      ? NLT_OK
                      : nlt_err_set(err, NLT_ENOMEM, "out of memory");

    if (rc == NLT_OK) {
        rc = nlt_index_file_validate(b->index, pool, check_chunk, &va, err);
    }
    if (rc == NLT_OK) {
        rc = check_segments(&va, err);
    }
    if (rc == NLT_OK) {
        rc = check_stats(&va, err);
    }
    return nlt_block_located(b, rc, err);
}

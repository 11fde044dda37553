/*
 * nlt_head_spans.c - the chain of chunks, from the newest on.
 */
#include "nlt_head_spans.h"

#include "nlt_head_priv.h"

/* The last time of a chunk that is not closed. */
static nlt_rc_t
last_of(const nlt_arena_t *a, uint32_t off, nlt_chunk_pub_t pub,
        int64_t *t_max_ms)
{
    nlt_chunk_scratch_t s;
    nlt_rc_t rc;

    if (pub.n_samples == 0 || pub.n_samples > NLT_CHUNK_SAMPLES_MAX) {
        return NLT_EDATA;
    }
    rc = nlt_chunk_decode(a, off, pub, s.bytes, s.t_ms, s.v, NULL, NULL);
    *t_max_ms = rc == NLT_OK ? s.t_ms[pub.n_samples - 1] : 0;
    return rc;
}

nlt_rc_t
nlt_arena_spans(const nlt_arena_t *a, uint32_t series, int64_t t_min_ms,
                int64_t t_max_ms, nlt_arena_span_cb *cb, void *ctx)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    nlt_chunk_pub_t pub;
    uint32_t off;

    if (e == NULL) {
        return NLT_EDATA;
    }
    if (atomic_load_explicit(&e->ooo, memory_order_acquire) != 0) {
        return NLT_AGAIN;
    }
    off = nlt_chunk_newest(a, e, &pub);
    for (bool newest = true; off != 0; newest = false) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(a, off);
        int64_t last;
        nlt_rc_t rc;

        if (c == NULL || c->next.u >= off) {
            return NLT_EDATA; /* older ones lie before it */
        }
        last = c->t_max_ms;
        if (newest) {
            rc = last_of(a, off, pub, &last);
            if (rc != NLT_OK) {
                return rc;
            }
        } else {
            pub = nlt_chunk_pub_unpack(
                atomic_load_explicit(&c->pub, memory_order_acquire));
        }
        if (last < t_min_ms) {
            break;
        }
        if (last < c->t_min_ms || pub.n_samples == 0) {
            return NLT_EDATA;
        }
        if (c->t_min_ms <= t_max_ms
            && !cb(ctx, c->t_min_ms, last, pub.n_samples)) {
            break;
        }
        off = c->next.u;
    }
    return NLT_OK;
}

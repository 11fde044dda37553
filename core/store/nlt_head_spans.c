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

/* Notes a chunk and goes on to the one before it; false: none in the range. */
static bool
note(const nlt_arena_t *a, uint32_t *at, uint32_t *off, uint32_t *left,
     size_t *n, int64_t t_min_ms, int64_t t_max_ms)
{
    const nlt_arena_chunk_t *c = nlt_chunk_at(a, *at);
    nlt_chunk_pub_t pub;

    if (c == NULL || c->next.u >= *at) {
        return false;
    }
    pub = nlt_chunk_pub_unpack(
        atomic_load_explicit(&c->pub, memory_order_relaxed));
    /* A chunk that is not closed says nothing of its end: too little is
     * fetched of one a series. */
    if (pub.n_samples > 0 && c->t_max_ms < t_min_ms) {
        return false;
    }
    if (c->t_min_ms <= t_max_ms && *n < NLT_CHUNKS_FETCH) {
        off[*n] = *at;
        left[(*n)++] = pub.n_bits / 8 + 1;
    }
    *at = c->next.u;
    __builtin_prefetch(nlt_chunk_at(a, *at));
    return *n < NLT_CHUNKS_FETCH;
}

void
nlt_arena_fetch(const nlt_arena_t *a, const uint32_t *series, size_t n,
                int64_t t_min_ms, int64_t t_max_ms)
{
    uint32_t at[NLT_ARENA_AHEAD], off[NLT_CHUNKS_FETCH];
    uint32_t left[NLT_CHUNKS_FETCH];
    size_t n_at = 0, found = 0;

    n = n < NLT_ARENA_AHEAD ? n : NLT_ARENA_AHEAD;
    for (size_t i = 0; i < n; i++) {
        __builtin_prefetch(nlt_arena_series(a, series[i]));
    }
    for (size_t i = 0; i < n; i++) {
        const nlt_arena_series_t *e = nlt_arena_series(a, series[i]);

        if (e != NULL) {
            at[n_at] = atomic_load_explicit(&e->chunk, memory_order_acquire);
            __builtin_prefetch(nlt_chunk_at(a, at[n_at++]));
        }
    }
    while (n_at > 0 && found < NLT_CHUNKS_FETCH) {
        size_t kept = 0;

        for (size_t i = 0; i < n_at; i++) {
            if (note(a, &at[i], off, left, &found, t_min_ms, t_max_ms)) {
                at[kept++] = at[i];
            }
        }
        n_at = kept;
    }
    nlt_chunks_fetch(a, off, left, found);
}

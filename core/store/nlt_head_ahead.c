/*
 * nlt_head_ahead.c - chunks of an arena, noted and copied for nlt_ahead.c.
 */
#include "nlt_ahead.h"
#include "nlt_head_priv.h"

_Static_assert(NLT_AHEAD_FETCH <= NLT_CHUNKS_FETCH,
               "they are asked for at once");

#define ACQUIRE memory_order_acquire

/* Takes chunk c, which pub is published of, unless there is no more room. */
static bool
take(nlt_ahead_chunks_t *out, uint32_t off, const nlt_arena_chunk_t *c,
     nlt_chunk_pub_t pub, bool closed)
{
    size_t len = ((size_t) pub.n_bits + 7) / 8;

    if (out->n == NLT_AHEAD_CHUNKS || pub.n_samples == 0
        || pub.n_samples > NLT_CHUNK_SAMPLES_MAX
        || len > NLT_CHUNK_BYTES_MAX) {
        return false;
    }
    out->v[out->n++] =
        (nlt_ahead_chunk_t){.ref = off,
                            .t_min_ms = c->t_min_ms,
                            .t_max_ms = closed ? c->t_max_ms : INT64_MAX,
                            .n = pub.n_samples,
                            .len = len,
                            .copy = true};
    return true;
}

/* What was noted from `from` on is newest first: turns it round. */
static void
turn(nlt_ahead_chunks_t *out, size_t from)
{
    for (size_t i = from, j = out->n; i + 1 < j; i++) {
        nlt_ahead_chunk_t c = out->v[i];

        out->v[i] = out->v[--j];
        out->v[j] = c;
    }
}

bool
nlt_arena_ahead_note(const nlt_arena_t *a, uint32_t series, nlt_read_t what,
                     int64_t t_min_ms, int64_t t_max_ms,
                     nlt_ahead_chunks_t *out, nlt_ahead_mark_t *mark)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    size_t from = out->n;
    nlt_chunk_pub_t pub;
    bool closed = false;
    uint32_t off;
    int64_t t;
    double v;

    if (e == NULL || atomic_load_explicit(&e->ooo, ACQUIRE) != 0
        || (what == NLT_READ_NEWEST
            && nlt_arena_peek_newest(a, series, e, &t, &v) && t <= t_max_ms)) {
        return false;
    }
    off = nlt_chunk_newest(a, e, &pub);
    mark->e = e;
    mark->pub = nlt_chunk_pub_pack(pub.n_bits, pub.n_samples, pub.seq);
    while (off != 0) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(a, off);

        if (c == NULL) {
            return false;
        }
        if (closed) {
            pub = nlt_chunk_pub_unpack(atomic_load_explicit(&c->pub, ACQUIRE));
            if (c->t_max_ms < t_min_ms) {
                break;
            }
        }
        if (c->t_min_ms <= t_max_ms) {
            if (!take(out, off, c, pub, closed)) {
                return false;
            }
            if (what == NLT_READ_NEWEST || c->t_min_ms <= t_min_ms) {
                break;
            }
        }
        if (c->next.u >= off) {
            return false;
        }
        off = c->next.u;
        closed = true;
    }
    turn(out, from);
    return true;
}

bool
nlt_arena_ahead_same(const nlt_ahead_mark_t *mark)
{
    return atomic_load_explicit(&mark->e->pub, ACQUIRE) == mark->pub
           && atomic_load_explicit(&mark->e->ooo, ACQUIRE) == 0;
}

void
nlt_arena_ahead_fetch(const nlt_arena_t *a, const nlt_ahead_chunk_t *c,
                      size_t n)
{
    uint32_t off[NLT_CHUNKS_FETCH], left[NLT_CHUNKS_FETCH];

    for (size_t i = 0; i < n; i++) {
        off[i] = (uint32_t) c[i].ref;
        left[i] = (uint32_t) c[i].len;
    }
    nlt_chunks_fetch(a, off, left, n);
}

bool
nlt_arena_ahead_copy(const nlt_arena_t *a, const nlt_ahead_chunk_t *c,
                     uint8_t *to)
{
    return nlt_chunk_copy(a, (uint32_t) c->ref, c->len, to);
}

/*
 * nlt_head_chunk.c - gathers the pieces of a chunk and decodes it.
 */
#include "nlt_head_priv.h"

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire

nlt_arena_chunk_t *
nlt_chunk_at(const nlt_arena_t *a, uint32_t off)
{
    return nlt_arena_at(a, off,
                        sizeof(nlt_arena_chunk_t) + sizeof(nlt_arena_piece_t));
}

/*
 * A writer that begins a chunk first links it, then publishes its first
 * sample.  In between (or for ever, if it died) the chunk's seq is one ahead
 * of what is published, and the newest chunk that counts is the one behind
 * it, whose own pub is valid.
 */
uint32_t
nlt_chunk_newest(const nlt_arena_t *a, const nlt_arena_series_t *e,
                 nlt_chunk_pub_t *pub)
{
    uint32_t off = 0;

    for (unsigned tries = 0; tries < 64; tries++) {
        const nlt_arena_chunk_t *c;
        uint64_t w = atomic_load_explicit(&e->pub, ACQUIRE);

        *pub = nlt_chunk_pub_unpack(w);
        off = atomic_load_explicit(&e->chunk, ACQUIRE);
        c = nlt_chunk_at(a, off);
        if (c == NULL) {
            return 0;
        }
        if (nlt_likely(c->seq == pub->seq)) {
            return off;
        }
        if (tries < 2 || (uint16_t) (pub->seq + 1) != c->seq) {
            continue; /* most likely the writer is at it just now */
        }
        off = c->next.u;
        c = nlt_chunk_at(a, off);
        if (c == NULL) {
            return 0;
        }
        *pub = nlt_chunk_pub_unpack(atomic_load_explicit(&c->pub, ACQUIRE));
        if (c->seq == pub->seq) {
            return off;
        }
    }
    return 0;
}

/* The piece at off, whole; NULL: corrupt. */
static inline const nlt_arena_piece_t *
piece_at(const nlt_arena_t *a, uint32_t off)
{
    const nlt_arena_piece_t *p = nlt_arena_at(a, off, sizeof(*p));

    return p != NULL && p->cap != 0
                   && nlt_arena_at(a, off, sizeof(*p) + (uint64_t) p->cap)
               ? p
               : NULL;
}

bool
nlt_chunk_copy(const nlt_arena_t *a, uint32_t off, size_t n_bytes, uint8_t *to)
{
    off += (uint32_t) (sizeof(nlt_arena_chunk_t) >> 3);
    for (;;) {
        const nlt_arena_piece_t *p = piece_at(a, off);

        if (p == NULL) {
            return false;
        }
        if (p->cap >= n_bytes) {
            memcpy(to, p->data, n_bytes);
            return true;
        }
        memcpy(to, p->data, p->cap);
        to += p->cap;
        n_bytes -= p->cap;
        off = p->next.u;
    }
}

/*
 * The first n_bytes of a chunk's stream in one stretch: where they lie, when
 * one piece has them all, or copied into scratch.  NULL: corrupt.
 */
static const uint8_t *
gather(const nlt_arena_t *a, uint32_t chunk, size_t n_bytes, uint8_t *scratch)
{
    const nlt_arena_piece_t *p =
        piece_at(a, chunk + (uint32_t) (sizeof(nlt_arena_chunk_t) >> 3));

    if (n_bytes > NLT_CHUNK_BYTES_MAX || p == NULL) {
        return NULL;
    }
    if (n_bytes <= p->cap) {
        return p->data;
    }
    return nlt_chunk_copy(a, chunk, n_bytes, scratch) ? scratch : NULL;
}

nlt_rc_t
nlt_chunk_decode(const nlt_arena_t *a, uint32_t off, nlt_chunk_pub_t pub,
                 uint8_t *scratch, int64_t *t_ms, double *v,
                 nlt_xor_state_t *state, uint64_t *n_bits)
{
    size_t n_bytes = ((size_t) pub.n_bits + 7) / 8;
    const uint8_t *p;

    if (pub.n_samples == 0 || pub.n_samples > NLT_CHUNK_SAMPLES_MAX) {
        return NLT_EDATA;
    }
    p = gather(a, off, n_bytes, scratch);
    if (p == NULL) {
        return NLT_EDATA;
    }
    /* EDATA, or EORDER: one as bad as the other. */
    return nlt_xor_decode_rising(p, n_bytes, pub.n_samples, t_ms, v, state,
                                 n_bits)
                   == NLT_OK
               ? NLT_OK
               : NLT_EDATA;
}

bool
nlt_chunk_find(const nlt_chunk_scratch_t *c, int64_t t_ms, uint64_t *v_bits)
{
    size_t lo = 0, hi = c->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (c->t_ms[mid] < t_ms) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == c->n || c->t_ms[lo] != t_ms) {
        return false;
    }
    *v_bits = nlt_bits_of(c->v[lo]);
    return true;
}

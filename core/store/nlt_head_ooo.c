/*
 * nlt_head_ooo.c - samples older than the newest of their series.
 *
 * They collect in a raw buffer of up to NLT_OOO_RAW_MAX; a full one is
 * sorted and encoded into a chunk of its own, and the chunks are chained
 * newest first.  Readers merge (nlt_head_read.c).
 *
 *   entry.ooo --> [gen n chunks cap | raw samples ..]
 *                            |
 *                            v
 *                        OOO chunk --> older OOO chunk --> ...
 *
 * What is in order was always there before what is out of order with the
 * same time, so "the first written wins" is: in-order, then chunks from the
 * oldest, then raw.  Because of that the search for duplicates here may stop
 * early (SEARCH_MAX): a duplicate that it misses costs room, not truth.
 */
#include "nlt_head_priv.h"

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

#define OOO_CAP_FIRST 4

/* Chunks looked at for a sample of the same time: bounds what a sender of
 * old samples can cost. */
#define SEARCH_MAX 64

/* Does the in-order part have a sample at t? */
static bool
find_in_order(const nlt_arena_t *a, const nlt_arena_series_t *e, int64_t t_ms,
              uint64_t *v_bits)
{
    nlt_chunk_scratch_t s;
    nlt_chunk_pub_t pub;
    uint32_t off = nlt_chunk_newest(a, e, &pub);

    for (unsigned i = 0; off && i < SEARCH_MAX; i++) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(a, off);

        if (c == NULL) {
            return false;
        }
        if (c->t_min_ms <= t_ms) {
            /* Chunks follow each other in time: here or nowhere. */
            if ((i > 0 && c->t_max_ms < t_ms)
                || nlt_chunk_decode(a, off, pub, s.bytes, s.t_ms, s.v, NULL,
                                    NULL)
                       != NLT_OK) {
                return false;
            }
            s.n = pub.n_samples;
            return nlt_chunk_find(&s, t_ms, v_bits);
        }
        off = c->next.u;
        c = nlt_chunk_at(a, off);
        if (c) {
            pub = nlt_chunk_pub_unpack(atomic_load_explicit(&c->pub, ACQUIRE));
        }
    }
    return false;
}

static bool
find_in_ooo_chunks(const nlt_arena_t *a, uint32_t off, int64_t t_ms,
                   uint64_t *v_bits)
{
    nlt_chunk_scratch_t s;

    for (unsigned i = 0; off && i < SEARCH_MAX; i++) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(a, off);
        nlt_chunk_pub_t pub;

        if (c == NULL) {
            return false;
        }
        if (c->t_min_ms <= t_ms && t_ms <= c->t_max_ms) {
            pub = nlt_chunk_pub_unpack(atomic_load_explicit(&c->pub, ACQUIRE));
            if (nlt_chunk_decode(a, off, pub, s.bytes, s.t_ms, s.v, NULL, NULL)
                == NLT_OK) {
                s.n = pub.n_samples;
                if (nlt_chunk_find(&s, t_ms, v_bits)) {
                    return true;
                }
            }
        }
        off = c->next.u;
    }
    return false;
}

/* Encodes the full raw buffer into a chunk and empties it. */
static bool
flush_raw(nlt_arena_t *a, nlt_arena_ooo_t *o)
{
    uint8_t bytes[NLT_OOO_RAW_MAX * NLT_XOR_SAMPLE_BYTES_MAX + 8];
    int64_t t[NLT_OOO_RAW_MAX];
    uint64_t v[NLT_OOO_RAW_MAX], pos = 0;
    uint32_t older = atomic_load_explicit(&o->chunks, RELAXED), cap, n = 0;
    nlt_xor_state_t x;
    nlt_xor_bits_t bits;
    nlt_arena_chunk_t *c;
    nlt_arena_piece_t *piece;
    nlt_off_t off;

    for (uint32_t i = 0; i < NLT_OOO_RAW_MAX; i++) {
        uint32_t k = n;

        while (k > 0 && t[k - 1] > o->raw[i].t_ms) {
            k--;
        }
        if (k > 0 && t[k - 1] == o->raw[i].t_ms) {
            continue; /* the first one stays */
        }
        memmove(t + k + 1, t + k, (n - k) * sizeof(t[0]));
        memmove(v + k + 1, v + k, (n - k) * sizeof(v[0]));
        t[k] = o->raw[i].t_ms;
        v[k] = o->raw[i].v_bits;
        n++;
    }
    nlt_xor_state_init(&x);
    for (uint32_t i = 0; i < n; i++) {
        nlt_xor_encode(&x, t[i], v[i], &bits);
        nlt_xor_put(bytes, pos, &bits);
        pos += bits.n_bits;
    }
    cap = (uint32_t) nlt_align_u64((pos + 7) / 8, 8);
    off = nlt_arena_alloc(a, sizeof(*c) + sizeof(*piece) + cap, 8, a->size);
    c = nlt_arena_at(a, off.u, sizeof(*c) + sizeof(*piece) + cap);
    if (c == NULL) {
        return false;
    }
    piece = (nlt_arena_piece_t *) (void *) (c + 1);
    piece->cap = cap;
    memcpy(piece->data, bytes, (size_t) (pos + 7) / 8);
    c->next.u = older;
    c->flags = NLT_CHUNK_OOO;
    c->t_min_ms = t[0];
    c->t_max_ms = t[n - 1];
    atomic_store_explicit(&c->pub, nlt_chunk_pub_pack(pos, n, 0), RELAXED);

    /* A reader may see the samples in both places, but never in none. */
    atomic_store_explicit(&o->chunks, off.u, RELEASE);
    atomic_store_explicit(&o->n, 0, RELEASE);
    atomic_store_explicit(&o->gen, atomic_load_explicit(&o->gen, RELAXED) + 1,
                          RELEASE);
    atomic_thread_fence(memory_order_seq_cst);
    return true;
}

/* A raw buffer with a free slot; the entry leads to it.  NULL: no room. */
static nlt_arena_ooo_t *
raw_room(nlt_arena_t *a, nlt_arena_series_t *e, nlt_arena_ooo_t *o)
{
    uint32_t n = o ? atomic_load_explicit(&o->n, RELAXED) : 0, cap;
    nlt_arena_ooo_t *fresh;
    nlt_off_t off;

    if (o && n < o->cap) {
        return o;
    }
    if (o && o->cap >= NLT_OOO_RAW_MAX) {
        return flush_raw(a, o) ? o : NULL;
    }
    cap = o ? o->cap * 2 : OOO_CAP_FIRST;
    cap = cap < NLT_OOO_RAW_MAX ? cap : NLT_OOO_RAW_MAX;
    off = nlt_arena_alloc(a, sizeof(*fresh) + cap * sizeof(fresh->raw[0]), 8,
                          a->size);
    fresh =
        nlt_arena_at(a, off.u, sizeof(*fresh) + cap * sizeof(fresh->raw[0]));
    if (fresh == NULL) {
        return NULL;
    }
    fresh->cap = cap;
    if (o) {
        memcpy(fresh->raw, o->raw, n * sizeof(o->raw[0]));
        atomic_store_explicit(&fresh->n, n, RELAXED);
        atomic_store_explicit(&fresh->chunks,
                              atomic_load_explicit(&o->chunks, RELAXED),
                              RELAXED);
    }
    atomic_store_explicit(&e->ooo, off.u, RELEASE);
    return fresh;
}

static nlt_append_result_t
compare(uint64_t there, uint64_t v_bits)
{
    return there == v_bits ? NLT_APPEND_DUPLICATE : NLT_APPEND_CONFLICT;
}

nlt_append_result_t
nlt_ooo_add(nlt_arena_t *a, nlt_arena_series_t *e, int64_t t_ms,
            uint64_t v_bits)
{
    uint32_t off = atomic_load_explicit(&e->ooo, RELAXED), n;
    nlt_arena_ooo_t *o = NULL;
    uint64_t there;

    if (find_in_order(a, e, t_ms, &there)) {
        return compare(there, v_bits);
    }
    if (off) {
        o = nlt_arena_at(a, off, sizeof(*o));
        if (o == NULL || o->cap > NLT_OOO_RAW_MAX
            || !nlt_arena_at(a, off, sizeof(*o) + o->cap * sizeof(o->raw[0]))
            || atomic_load_explicit(&o->n, RELAXED) > o->cap) {
            return NLT_APPEND_PENDING; /* corrupt */
        }
        n = atomic_load_explicit(&o->n, RELAXED);
        for (uint32_t i = 0; i < n; i++) {
            if (o->raw[i].t_ms == t_ms) {
                return compare(o->raw[i].v_bits, v_bits);
            }
        }
        if (find_in_ooo_chunks(a, atomic_load_explicit(&o->chunks, RELAXED),
                               t_ms, &there)) {
            return compare(there, v_bits);
        }
    }
    o = raw_room(a, e, o);
    if (o == NULL) {
        return NLT_APPEND_PENDING;
    }
    n = atomic_load_explicit(&o->n, RELAXED);
    if (nlt_unlikely(n >= o->cap || n >= NLT_OOO_RAW_MAX)) {
        return NLT_APPEND_PENDING; /* corrupt */
    }
    o->raw[n].t_ms = t_ms;
    o->raw[n].v_bits = v_bits;
    atomic_store_explicit(&o->n, n + 1, RELEASE);
    return NLT_APPEND_OOO;
}

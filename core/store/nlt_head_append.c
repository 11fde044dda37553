/*
 * nlt_head_append.c - stripes, samples in order, and recovery.
 *
 * What one in-order sample writes, in this order:
 *
 *   stripe.in_flight   who it is, for the next holder if we die, and for
 *                      readers of the writer's state (nlt_head_read.c)
 *   tail piece         bits behind the published ones; assigned, not ORed
 *   [new piece]        filled first, then linked
 *   entry.tail, .enc   writer's state
 *   entry.pub          one 64-bit store: the sample is there
 *
 * and when it begins a chunk: the old chunk's own pub and t_max, the new
 * chunk with the sample in it, entry.chunk, entry.pub.  Whatever a dead
 * writer left unfinished lies behind what pub covers, so recovery is to
 * decode what pub covers and set the writer's state from it.
 *
 * The byte in which published bits end is stored again with those bits
 * unchanged while a reader may load it: the one place where plain loads and
 * stores meet, on purpose (a thread sanitizer reports nlt_xor_put here).
 */
#include "nlt_head_priv.h"

#include <errno.h>


#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

/* Pieces of a chunk: 24 bytes, 32, 40, ... 128, 128, ... */
#define PIECE_BYTES_FIRST 24
#define PIECE_BYTES_STEP  8
#define PIECE_BYTES_MAX   128

/* Samples appended before the stripe is let go for a moment. */
#define RUN_MAX 1024

/* How far ahead entries and tails are fetched. */
#define AHEAD_ENTRY 16
#define AHEAD_TAIL  8
#define RING        32

/* ---- recovery ---- */

/* Finds the piece that bit n_bits lies in; false: corrupt. */
static bool
find_tail(const nlt_arena_t *a, nlt_arena_series_t *e, uint32_t chunk,
          uint64_t n_bits)
{
    uint32_t off = chunk + (uint32_t) (sizeof(nlt_arena_chunk_t) >> 3);
    uint64_t start = 0;

    for (;;) {
        const nlt_arena_piece_t *p = nlt_arena_at(a, off, sizeof(*p));

        if (p == NULL || p->cap == 0 || p->cap > UINT8_MAX * 8
            || !nlt_arena_at(a, off, sizeof(*p) + (uint64_t) p->cap)) {
            return false;
        }
        if (n_bits <= (start + p->cap) * 8) {
            e->tail.u = off;
            e->tail_start = (uint16_t) start;
            e->tail_cap = (uint8_t) (p->cap / 8);
            return true;
        }
        start += p->cap;
        off = p->next.u;
    }
}

/* Sets what the writer keeps of a series from what is published. */
static void
rebuild(nlt_arena_t *a, nlt_arena_series_t *e)
{
    nlt_chunk_scratch_t c;
    nlt_chunk_pub_t pub;
    uint64_t n_bits = 0;
    uint32_t off = nlt_chunk_newest(a, e, &pub);

    if (off == 0) {
        atomic_store_explicit(&e->chunk, 0, RELEASE);
        nlt_xor_state_init(&e->enc);
        return;
    }
    if (nlt_chunk_decode(a, off, pub, c.bytes, c.t_ms, c.v, &e->enc, &n_bits)
            != NLT_OK
        || n_bits != pub.n_bits || !find_tail(a, e, off, n_bits)) {
        /* Nothing to go on from: the next sample begins a new chunk. */
        const nlt_arena_chunk_t *chunk = nlt_chunk_at(a, off);

        nlt_xor_state_init(&e->enc);
        e->enc.t_ms = chunk ? chunk->t_min_ms : 0;
        e->enc.count = NLT_CHUNK_SAMPLES_MAX;
        return;
    }
    atomic_store_explicit(&e->chunk, off, RELEASE);
}

bool
nlt_stripe_lock(nlt_arena_t *a, uint32_t stripe)
{
    nlt_stripe_t *st = &a->hdr->stripes[stripe & (NLT_STRIPES - 1)];
    int rc = pthread_mutex_lock(&st->mutex);

    if (nlt_likely(rc == 0)) {
        return true;
    }
    if (rc != EOWNERDEAD) {
        return false;
    }
    nlt_arena_series_t *e =
        nlt_arena_series(a, atomic_load_explicit(&st->in_flight, RELAXED));

    if (e) {
        rebuild(a, e);
    }
    atomic_store_explicit(&st->in_flight, 0, RELAXED);
    (void) atomic_fetch_add_explicit(&a->ctl->counters.recoveries, 1, RELAXED);
    return pthread_mutex_consistent(&st->mutex) == 0;
}

void
nlt_stripe_unlock(nlt_arena_t *a, uint32_t stripe)
{
    (void) pthread_mutex_unlock(
        &a->hdr->stripes[stripe & (NLT_STRIPES - 1)].mutex);
}

/* ---- in order ---- */

/* A sample's bits over the end of the tail into a new piece. */
static bool
spill(nlt_arena_t *a, nlt_arena_series_t *e, nlt_arena_piece_t *tail,
      uint64_t pos, const nlt_xor_bits_t *bits)
{
    uint32_t old_cap = e->tail_cap * 8u, cap = old_cap + PIECE_BYTES_STEP;
    uint8_t buf[8 * 4] = {0};
    size_t from = (size_t) (pos >> 3), n = old_cap - from;
    size_t total = (size_t) ((pos & 7) + bits->n_bits + 7) / 8;
    nlt_arena_piece_t *piece;
    nlt_off_t off;

    if (from > old_cap || n > total) {
        return false; /* corrupt */
    }
    cap = cap < PIECE_BYTES_MAX ? cap : PIECE_BYTES_MAX;
    off = nlt_arena_alloc(a, sizeof(*piece) + cap, 8, a->size);
    piece = nlt_arena_at(a, off.u, sizeof(*piece) + cap);
    if (piece == NULL) {
        return false;
    }
    buf[0] = n ? tail->data[from] : 0;
    nlt_xor_put(buf, pos & 7, bits);
    memcpy(tail->data + from, buf, n);
    memcpy(piece->data, buf + n, total - n);
    piece->cap = cap;
    tail->next = off;
    e->tail = off;
    e->tail_start = (uint16_t) (e->tail_start + old_cap);
    e->tail_cap = (uint8_t) (cap / 8);
    return true;
}

/* The first sample of a new chunk. */
static bool
open_chunk(nlt_arena_t *a, nlt_arena_series_t *e, int64_t t_ms,
           uint64_t v_bits)
{
    uint32_t old_off = atomic_load_explicit(&e->chunk, RELAXED);
    uint64_t pub = atomic_load_explicit(&e->pub, RELAXED);
    uint16_t seq = (uint16_t) (nlt_chunk_pub_unpack(pub).seq + 1);
    nlt_arena_chunk_t *c, *old = NULL;
    nlt_arena_piece_t *piece;
    nlt_xor_state_t x;
    nlt_xor_bits_t bits;
    nlt_off_t off = nlt_arena_alloc(
        a, sizeof(*c) + sizeof(*piece) + PIECE_BYTES_FIRST, 8, a->size);

    c = nlt_arena_at(a, off.u,
                     sizeof(*c) + sizeof(*piece) + PIECE_BYTES_FIRST);
    if (c == NULL) {
        return false;
    }
    if (old_off) {
        old = nlt_chunk_at(a, old_off);
        if (old == NULL) {
            return false;
        }
        old->t_max_ms = e->enc.t_ms;
        atomic_store_explicit(&old->pub, pub, RELEASE);
    }
    nlt_xor_state_init(&x);
    nlt_xor_encode(&x, t_ms, v_bits, &bits);
    c->next.u = old_off;
    c->seq = seq;
    c->t_min_ms = t_ms;
    piece = (nlt_arena_piece_t *) (void *) (c + 1);
    piece->cap = PIECE_BYTES_FIRST;
    nlt_xor_put(piece->data, 0, &bits);

    atomic_store_explicit(&e->chunk, off.u, RELEASE);
    e->tail.u = off.u + (uint32_t) (sizeof(*c) >> 3);
    e->tail_start = 0;
    e->tail_cap = PIECE_BYTES_FIRST / 8;
    e->enc = x;
    atomic_store_explicit(&e->pub, nlt_chunk_pub_pack(bits.n_bits, 1, seq),
                          RELEASE);
    return true;
}

/* What nlt_arena_append() works on. */
typedef struct {
    nlt_arena_t *a;
    nlt_head_sample_t *s;
    size_t n;
    nlt_arena_series_t *entry[RING]; /* of sample i at i % RING */
    uint64_t stretch; /* where the 2 hours begin that times lie in of late */
    uint64_t counts[NLT_APPEND_CONFLICT + 1];
} batch_t;

/* nlt_chunk_border() of both is the same?  Mostly without a division. */
static inline bool
same_border(batch_t *b, int64_t t_ms, int64_t last_ms)
{
    if (nlt_likely((uint64_t) t_ms - b->stretch < NLT_BORDER_MS
                   && (uint64_t) last_ms - b->stretch < NLT_BORDER_MS)) {
        return true;
    }
    b->stretch = (uint64_t) nlt_chunk_border(t_ms) * NLT_BORDER_MS;
    return (uint64_t) last_ms - b->stretch < NLT_BORDER_MS;
}

static inline bool
append_in_order(batch_t *b, nlt_arena_series_t *e, int64_t t_ms,
                uint64_t v_bits)
{
    nlt_arena_t *a = b->a;
    nlt_xor_state_t x = e->enc;
    nlt_chunk_pub_t pub =
        nlt_chunk_pub_unpack(atomic_load_explicit(&e->pub, RELAXED));
    nlt_arena_piece_t *tail;
    nlt_xor_bits_t bits;
    uint64_t pos;

    if (nlt_unlikely(x.count == 0 || x.count >= NLT_CHUNK_SAMPLES_MAX
                     || !same_border(b, t_ms, x.t_ms))) {
        return open_chunk(a, e, t_ms, v_bits);
    }
    tail = nlt_arena_at(a, e->tail.u, sizeof(*tail) + e->tail_cap * 8u);
    if (nlt_unlikely(tail == NULL || pub.n_bits < e->tail_start * 8u)) {
        return false;
    }
    nlt_xor_encode(&x, t_ms, v_bits, &bits);
    pos = pub.n_bits - e->tail_start * 8u;
    if (nlt_likely(pos + bits.n_bits <= e->tail_cap * 64u)) {
        nlt_xor_put(tail->data, pos, &bits);
    } else if (!spill(a, e, tail, pos, &bits)) {
        return false;
    }
    e->enc = x;
    atomic_store_explicit(&e->pub,
                          nlt_chunk_pub_pack(pub.n_bits + bits.n_bits,
                                             pub.n_samples + 1u, pub.seq),
                          RELEASE);
    return true;
}

/* PENDING: no room. */
static inline nlt_append_result_t
append_one(batch_t *b, nlt_arena_series_t *e, const nlt_head_sample_t *s)
{
    if (nlt_likely(e->enc.count == 0 || s->t_ms > e->enc.t_ms)) {
        return append_in_order(b, e, s->t_ms, s->v_bits) ? NLT_APPEND_OK
                                                         : NLT_APPEND_PENDING;
    }
    if (s->t_ms == e->enc.t_ms) {
        return s->v_bits == e->enc.v_bits ? NLT_APPEND_DUPLICATE
                                          : NLT_APPEND_CONFLICT;
    }
    return nlt_ooo_add(b->a, e, s->t_ms, s->v_bits);
}

/* ---- batches ---- */

static void
lower_i64(_Atomic int64_t *mark, int64_t to)
{
    int64_t now = atomic_load_explicit(mark, RELAXED);

    while (now > to
           && !atomic_compare_exchange_weak_explicit(mark, &now, to, RELEASE,
                                                     RELAXED)) {
    }
}

static void
raise_i64(_Atomic int64_t *mark, int64_t to)
{
    int64_t now = atomic_load_explicit(mark, RELAXED);

    while (now < to
           && !atomic_compare_exchange_weak_explicit(mark, &now, to, RELEASE,
                                                     RELAXED)) {
    }
}

/* Finds the entry of sample i and has it fetched. */
static inline void
look_ahead(batch_t *b, size_t i)
{
    nlt_arena_series_t *e = nlt_arena_series(b->a, b->s[i].series);

    b->entry[i % RING] = e;
    __builtin_prefetch(e, 1);
}

/* Has the bytes fetched that sample i, looked ahead for, will go to. */
static inline void
prefetch_tail(const batch_t *b, size_t i)
{
    const nlt_arena_series_t *e = b->entry[i % RING];

    if (nlt_likely(e != NULL)) {
        /* A hint only: it may be anything while others write. */
        uint64_t at = ((uint64_t) e->tail.u << 3) - e->tail_start;

        at +=
            nlt_chunk_pub_unpack(atomic_load_explicit(&e->pub, RELAXED)).n_bits
            / 8;
        __builtin_prefetch((const void *) ((uintptr_t) b->a->base + at + 8),
                           1);
    }
}

/*
 * Appends samples [i, end), all of one stripe, whose lock is held.  Returns
 * the first that has no result; *rc says what stopped it.
 */
static size_t
append_run(batch_t *b, size_t i, size_t end, nlt_rc_t *rc)
{
    nlt_stripe_t *st = &b->a->hdr->stripes[nlt_stripe_of(b->s[i].series)];

    for (; i < end; i++) {
        nlt_arena_series_t *e = b->entry[i % RING];
        nlt_append_result_t result;

        if (nlt_likely(i + AHEAD_ENTRY < b->n)) {
            look_ahead(b, i + AHEAD_ENTRY);
            prefetch_tail(b, i + AHEAD_TAIL);
        }
        if (nlt_unlikely(e == NULL)) {
            *rc = NLT_EINVAL;
            break;
        }
        atomic_store_explicit(&st->in_flight, b->s[i].series, RELAXED);
        atomic_signal_fence(memory_order_seq_cst);
        result = append_one(b, e, &b->s[i]);
        atomic_signal_fence(memory_order_seq_cst);
        if (nlt_unlikely(result == NLT_APPEND_PENDING)) {
            *rc = NLT_EFULL;
            break;
        }
        b->s[i].result = result;
        b->counts[result]++;
    }
    atomic_store_explicit(&st->in_flight, 0, RELAXED);
    return i;
}

/* Samples from s[0] on that share its stripe; their times into the bounds. */
static size_t
run_of(const nlt_head_sample_t *s, size_t n, int64_t *t_min, int64_t *t_max)
{
    uint32_t stripe = nlt_stripe_of(s[0].series);
    size_t i;

    n = n < RUN_MAX ? n : RUN_MAX;
    *t_min = *t_max = s[0].t_ms;
    for (i = 1; i < n && nlt_stripe_of(s[i].series) == stripe; i++) {
        *t_min = nlt_min_i64(*t_min, s[i].t_ms);
        *t_max = nlt_max_i64(*t_max, s[i].t_ms);
    }
    return i;
}

static void
add_counts(nlt_arena_t *a, const uint64_t *counts, int64_t t_newest)
{
    nlt_head_counters_t *c = &a->ctl->counters;
    _Atomic uint64_t *to[] = {
        [NLT_APPEND_OK] = &c->samples_appended,
        [NLT_APPEND_OOO] = &c->samples_ooo,
        [NLT_APPEND_DUPLICATE] = &c->samples_duplicate,
        [NLT_APPEND_CONFLICT] = &c->samples_conflict,
    };
    uint64_t taken = counts[NLT_APPEND_OK] + counts[NLT_APPEND_OOO];

    for (size_t i = NLT_APPEND_OK; i <= NLT_APPEND_CONFLICT; i++) {
        if (counts[i]) {
            (void) atomic_fetch_add_explicit(to[i], counts[i], RELAXED);
        }
    }
    if (taken) {
        (void) atomic_fetch_add_explicit(&a->hdr->n_samples, taken, RELAXED);
        raise_i64(&a->ctl->t_newest_ms, t_newest);
    }
}

nlt_rc_t
nlt_arena_append(nlt_arena_t *a, nlt_head_sample_t *s, size_t n, size_t *done)
{
    batch_t b = {.a = a, .s = s, .n = n};
    int64_t t_newest = INT64_MIN;
    nlt_rc_t rc = NLT_OK;
    size_t i = 0;

    for (size_t k = 0; k < n && k < AHEAD_ENTRY; k++) {
        look_ahead(&b, k);
    }
    while (i < n && rc == NLT_OK) {
        int64_t t_min, t_max;
        size_t run = run_of(s + i, n - i, &t_min, &t_max);
        uint32_t stripe = nlt_stripe_of(s[i].series);

        if (!nlt_stripe_lock(a, stripe)) {
            rc = NLT_EDATA;
            break;
        }
        if (nlt_unlikely(atomic_load_explicit(&a->hdr->sealed, ACQUIRE))) {
            rc = NLT_EEXIST;
        } else {
            /* Before the samples: who dies leaves bounds that hold. */
            lower_i64(&a->hdr->t_min_ms, t_min);
            raise_i64(&a->hdr->t_max_ms, t_max);
            i = append_run(&b, i, i + run, &rc);
            t_newest = nlt_max_i64(t_newest, t_max);
        }
        nlt_stripe_unlock(a, stripe);
    }
    add_counts(a, b.counts, t_newest);
    *done = i;
    return rc;
}

/* Newest sample of a series, exact.  False: none. */
static bool
newest_locked(nlt_arena_t *a, const nlt_head_sample_t *s, uint64_t *v_bits)
{
    uint32_t stripe = nlt_stripe_of(s->series);
    const nlt_arena_series_t *e = nlt_arena_series(a, s->series);
    bool same = false;

    if (e && nlt_stripe_lock(a, stripe)) {
        same = e->enc.count > 0 && e->enc.t_ms == s->t_ms;
        *v_bits = e->enc.v_bits;
        nlt_stripe_unlock(a, stripe);
    }
    return same;
}

size_t
nlt_arena_check(const nlt_arena_t *a, const nlt_head_sample_t *s, size_t n,
                uint64_t *existing)
{
    for (size_t i = 0; i < n; i++) {
        const nlt_arena_series_t *e = nlt_arena_series(a, s[i].series);
        int64_t t_ms;

        if (nlt_likely(i + AHEAD_ENTRY < n)) {
            nlt_arena_prefetch_series(a, s[i + AHEAD_ENTRY].series);
        }
        if (nlt_unlikely(e == NULL)) {
            continue;
        }
        /* A peek at the writer's state, perhaps torn: what looks like a
         * conflict is looked at again under the lock, and one that is not
         * seen here is seen by the append. */
        t_ms = __atomic_load_n(&e->enc.t_ms, __ATOMIC_RELAXED);
        if (nlt_unlikely(t_ms == s[i].t_ms)
            && __atomic_load_n(&e->enc.v_bits, __ATOMIC_RELAXED)
                   != s[i].v_bits) {
            /* The mapping is writable; const is about what is stored. */
            nlt_arena_t self = *a;

            if (newest_locked(&self, &s[i], existing)
                && *existing != s[i].v_bits) {
                return i;
            }
        }
    }
    return n;
}

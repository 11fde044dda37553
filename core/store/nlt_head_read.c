/*
 * nlt_head_read.c - samples of a series, without a lock.
 *
 * In-order chunks are decoded straight into the caller's arrays, oldest
 * first; the chain runs from the newest, so it is walked once to note the
 * chunks of the range, a bounded number at a time.  Out-of-order samples are
 * collected aside, sorted, and merged in from the back.
 */
#include "nlt_head_priv.h"
#include "nlt_head_side.h"
#include "nlt_xor_many.h"

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire

/* Chunks noted at a time; longer chains are walked again for the rest. */
#define NOTED_MAX NLT_CHUNKS_FETCH

/* Less chunks than this are decoded one by one; more of them together, as
 * many as have so many bytes. */
#define BATCH_MIN   5
#define BATCH_BYTES (48u << 10)

typedef struct {
    const nlt_arena_t *a;
    int64_t t_min_ms;
    int64_t t_max_ms;
    nlt_samples_t *out;
    size_t n_before; /* samples that out had when we began */
    nlt_chunk_scratch_t *scratch;
} read_t;

/* The chunk behind one: older, so it lies before it.  False: corrupt. */
static bool
older_chunk(const nlt_arena_chunk_t *c, uint32_t *off)
{
    bool ok = c->next.u < *off;

    *off = c->next.u;
    return ok;
}

/* Decodes one chunk behind what out has and keeps what is in the range. */
static nlt_rc_t
read_chunk(read_t *r, uint32_t off, nlt_chunk_pub_t pub)
{
    nlt_samples_t *out = r->out;
    size_t n = pub.n_samples, lo = 0, hi = n;
    int64_t *t;
    double *v;
    nlt_rc_t rc;

    if (n > NLT_CHUNK_SAMPLES_MAX) {
        return NLT_EDATA;
    }
    if (!nlt_samples_reserve(out, out->n + n)) {
        return NLT_ENOMEM;
    }
    t = out->t_ms + out->n;
    v = out->v + out->n;
    rc = nlt_chunk_decode(r->a, off, pub, r->scratch->bytes, t, v, NULL, NULL);
    if (rc != NLT_OK) {
        return rc;
    }
    while (hi > 0 && t[hi - 1] > r->t_max_ms) {
        hi--;
    }
    while (lo < hi && t[lo] < r->t_min_ms) {
        lo++;
    }
    if (lo > 0) {
        memmove(t, t + lo, (hi - lo) * sizeof(*t));
        memmove(v, v + lo, (hi - lo) * sizeof(*v));
    }
    if (hi > lo && out->n > r->n_before && t[0] <= out->t_ms[out->n - 1]) {
        return NLT_EDATA; /* chunks follow each other */
    }
    out->n += hi - lo;
    return NLT_OK;
}

typedef struct {
    uint32_t off;
    nlt_chunk_pub_t pub;
} noted_t;

/*
 * Notes up to NOTED_MAX chunks of the range, oldest last, but for the `skip`
 * oldest ones.  *total counts all in the range.
 */
static nlt_rc_t
note_chunks(const read_t *r, uint32_t off, nlt_chunk_pub_t pub, noted_t *noted,
            size_t *n, size_t *total, size_t want_from)
{
    size_t seen = 0, steps = 0;

    *n = 0;
    while (off) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(r->a, off);

        if (c == NULL) {
            return NLT_EDATA;
        }
        if (steps++ > 0) {
            pub = nlt_chunk_pub_unpack(atomic_load_explicit(&c->pub, ACQUIRE));
            if (c->t_max_ms < r->t_min_ms) {
                break;
            }
        }
        if (c->t_min_ms <= r->t_max_ms) {
            if (seen >= want_from && *n < NOTED_MAX) {
                noted[*n].off = off;
                noted[(*n)++].pub = pub;
            }
            seen++;
        }
        if (!older_chunk(c, &off)) {
            return NLT_EDATA;
        }
    }
    *total = seen;
    return NLT_OK;
}

/* Chunks that are decoded together. */
typedef struct {
    nlt_xor_job_t job[NOTED_MAX];
    size_t n;
    size_t n_samples;
    size_t n_bytes;
    uint8_t bytes[BATCH_BYTES + NLT_XOR_MANY_PAD];
} batch_t;

/* Takes chunks of noted[0, n), from the end, while there is room. */
static nlt_rc_t
batch_fill(const read_t *r, batch_t *b, const noted_t *noted, size_t n)
{
    b->n = b->n_samples = b->n_bytes = 0;
    while (n-- > 0) {
        nlt_chunk_pub_t pub = noted[n].pub;
        size_t len = ((size_t) pub.n_bits + 7) / 8;

        if (pub.n_samples == 0 || pub.n_samples > NLT_CHUNK_SAMPLES_MAX
            || len > NLT_CHUNK_BYTES_MAX) {
            return NLT_EDATA;
        }
        if (len > BATCH_BYTES - b->n_bytes) {
            break;
        }
        if (!nlt_chunk_copy(r->a, noted[n].off, len, b->bytes + b->n_bytes)) {
            return NLT_EDATA;
        }
        b->job[b->n++] = (nlt_xor_job_t){
            .p = b->bytes + b->n_bytes, .len = len, .count = pub.n_samples};
        b->n_bytes += len;
        b->n_samples += pub.n_samples;
    }
    memset(b->bytes + b->n_bytes, 0, NLT_XOR_MANY_PAD);
    return NLT_OK;
}

/*
 * About how many samples of a closed chunk are before the range, if they are
 * as far apart as they mostly are.  A little late is in time.
 */
static size_t
guess_before(const read_t *r, const nlt_arena_chunk_t *c, size_t n)
{
    double all = (double) c->t_max_ms - (double) c->t_min_ms;
    double before = (double) r->t_min_ms - (double) c->t_min_ms, i;

    if (before <= 0 || all <= 0) {
        return 0;
    }
    i = before / all * (double) (n - 1) + 1 - 1.0 / 64;
    return i < (double) n ? (size_t) i : n;
}

/* Keeps what is in the range of what follows out, in the order of jobs. */
static nlt_rc_t
batch_keep(read_t *r, const batch_t *b)
{
    nlt_samples_t *out = r->out;

    for (size_t i = 0; i < b->n; i++) {
        const int64_t *t = b->job[i].t_ms;
        const double *v = b->job[i].v;
        size_t lo = 0, hi = b->job[i].count;

        while (hi > 0 && t[hi - 1] > r->t_max_ms) {
            hi--;
        }
        while (lo < hi && t[lo] < r->t_min_ms) {
            lo++;
        }
        if (hi == lo) {
            continue;
        }
        if (out->n > r->n_before && t[lo] <= out->t_ms[out->n - 1]) {
            return NLT_EDATA; /* chunks follow each other */
        }
        if (t + lo != out->t_ms + out->n) {
            memmove(out->t_ms + out->n, t + lo, (hi - lo) * sizeof(*t));
            memmove(out->v + out->n, v + lo, (hi - lo) * sizeof(*v));
        }
        out->n += hi - lo;
    }
    return NLT_OK;
}

/*
 * Decodes the last chunks of noted[0, n) behind what out has; *done is how
 * many.  The samples of the first that are before the range are dropped, and
 * all others have to follow what is left of it, before it is known how many
 * that are: it is decoded aside, and its place is guessed.
 */
static nlt_rc_t
read_batch(read_t *r, batch_t *b, const noted_t *noted, size_t n, size_t *done)
{
    nlt_samples_t *out = r->out;
    const nlt_arena_chunk_t *c = nlt_chunk_at(r->a, noted[n - 1].off);
    nlt_rc_t rc = c ? batch_fill(r, b, noted, n) : NLT_EDATA;
    size_t at = out->n, n_first, guess, before = 0;
    nlt_xor_job_t *first = &b->job[0];

    if (rc != NLT_OK) {
        return rc;
    }
    *done = b->n;
    n_first = first->count;
    guess = n > 1 ? guess_before(r, c, n_first) : 0;
    if (!nlt_samples_reserve(out, out->n + b->n_samples)) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < b->n; i++) {
        b->job[i].t_ms = out->t_ms + at;
        b->job[i].v = out->v + at;
        at += b->job[i].count - (i == 0 ? guess : 0);
    }
    if (guess > 0) {
        first->t_ms = r->scratch->t_ms;
        first->v = r->scratch->v;
    }
    nlt_xor_decode_many(b->job, b->n);
    for (size_t i = 0; i < b->n; i++) {
        if (b->job[i].rc != NLT_OK) {
            return NLT_EDATA;
        }
    }
    if (guess > 0) {
        while (before < n_first && first->t_ms[before] < r->t_min_ms) {
            before++;
        }
        if (before != guess) {
            size_t from = out->n + n_first - guess;
            size_t to = out->n + n_first - before;

            memmove(out->t_ms + to, out->t_ms + from,
                    (at - from) * sizeof(*out->t_ms));
            memmove(out->v + to, out->v + from, (at - from) * sizeof(*out->v));
            for (size_t i = 1; i < b->n; i++) {
                b->job[i].t_ms += (ptrdiff_t) guess - (ptrdiff_t) before;
                b->job[i].v += (ptrdiff_t) guess - (ptrdiff_t) before;
            }
        }
    }
    return batch_keep(r, b);
}

/* Asks for memory that is going to be read. */
static inline void
fetch(const nlt_arena_t *a, uint32_t off, size_t size)
{
    uintptr_t p = (uintptr_t) a->base + ((uintptr_t) off << 3);

    for (uintptr_t at = p & ~(uintptr_t) 63; at < p + size; at += 64) {
        __builtin_prefetch((const void *) at);
    }
}

/*
 * A chunk is a chain of pieces far apart, so to follow it is to wait for
 * memory at each piece; the chains are followed side by side, and the waits
 * fall together.
 */
void
nlt_chunks_fetch(const nlt_arena_t *a, uint32_t *off, uint32_t *left, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        off[i] += (uint32_t) (sizeof(nlt_arena_chunk_t) >> 3);
    }
    while (n > 0) {
        size_t kept = 0;

        for (size_t i = 0; i < n; i++) {
            const nlt_arena_piece_t *p = nlt_arena_at(a, off[i], sizeof(*p));

            if (p == NULL || p->cap == 0 || p->cap >= left[i]) {
                continue;
            }
            left[kept] = left[i] - p->cap;
            off[kept] = p->next.u;
            /* The next one is at most a step larger, mostly. */
            fetch(a, off[kept], p->cap + 16);
            kept++;
        }
        n = kept;
    }
}

static void
fetch_noted(const read_t *r, const noted_t *noted, size_t n)
{
    uint32_t off[NLT_CHUNKS_FETCH], left[NLT_CHUNKS_FETCH];

    for (size_t i = 0; i < n; i++) {
        off[i] = noted[i].off;
        left[i] = noted[i].pub.n_bits / 8 + 1;
    }
    nlt_chunks_fetch(r->a, off, left, n);
}

void
nlt_arena_read_ahead(const nlt_arena_t *a, const uint32_t *series, size_t n,
                     int64_t t_min_ms)
{
    uint32_t off[NLT_ARENA_AHEAD], left[NLT_ARENA_AHEAD];
    size_t k = 0, some = 0;

    n = n < NLT_ARENA_AHEAD ? n : NLT_ARENA_AHEAD;
    for (size_t i = 0; i < n; i++) {
        __builtin_prefetch(nlt_arena_series(a, series[i]));
    }
    for (size_t i = 0; i < n; i++) {
        const nlt_arena_series_t *e = nlt_arena_series(a, series[i]);

        if (e) {
            fetch(a, e->labels.u, 128);
            off[some] = atomic_load_explicit(&e->chunk, ACQUIRE);
            left[some] =
                nlt_chunk_pub_unpack(atomic_load_explicit(&e->pub, RELAXED))
                        .n_bits
                    / 8
                + 1;
            fetch(a, off[some++], 64);
        }
    }
    for (size_t i = 0; i < some; i++) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(a, off[i]);

        /* Older ones are needed, too: they are fetched when read. */
        if (c && c->t_min_ms <= t_min_ms) {
            off[k] = off[i];
            left[k++] = left[i];
        }
    }
    nlt_chunks_fetch(a, off, left, k);
}

static nlt_rc_t
read_in_order(read_t *r, const nlt_arena_series_t *e)
{
    noted_t noted[NOTED_MAX];
    batch_t batch;
    nlt_chunk_pub_t pub;
    size_t n, total, from;
    bool many = nlt_xor_many_lanes();
    uint32_t newest = nlt_chunk_newest(r->a, e, &pub);
    nlt_rc_t rc = note_chunks(r, newest, pub, noted, &n, &total, 0);

    if (rc != NLT_OK) {
        return rc;
    }
    from = total > NOTED_MAX ? (total - 1) / NOTED_MAX * NOTED_MAX : 0;
    for (;;) {
        if (total > NOTED_MAX) {
            size_t again;

            rc = note_chunks(r, newest, pub, noted, &n, &again, from);
        }
        if (rc == NLT_OK) {
            fetch_noted(r, noted, n > 1 ? n : 0);
        }
        while (rc == NLT_OK && n >= BATCH_MIN && many) {
            size_t done = 0;

            rc = read_batch(r, &batch, noted, n, &done);
            n -= done;
        }
        while (rc == NLT_OK && n > 0) {
            n--;
            rc = read_chunk(r, noted[n].off, noted[n].pub);
        }
        if (rc != NLT_OK || from == 0) {
            return rc;
        }
        from -= NOTED_MAX;
    }
}

static nlt_rc_t
add_one(read_t *r, int64_t t_ms, double v)
{
    if (!nlt_samples_reserve(r->out, r->out->n + 1)) {
        return NLT_ENOMEM;
    }
    r->out->t_ms[r->out->n] = t_ms;
    r->out->v[r->out->n++] = v;
    return NLT_OK;
}

/* The first or last sample of a chunk in the range, without its value. */
static nlt_rc_t
read_any_in_order(read_t *r, const nlt_arena_series_t *e, bool *found)
{
    nlt_chunk_pub_t pub;
    size_t steps = 0;
    uint32_t off = nlt_chunk_newest(r->a, e, &pub);

    *found = false;
    while (off && !*found) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(r->a, off);
        bool closed = steps++ > 0;

        if (c == NULL) {
            return NLT_EDATA;
        }
        if (closed && c->t_max_ms < r->t_min_ms) {
            break;
        }
        if (c->t_min_ms >= r->t_min_ms && c->t_min_ms <= r->t_max_ms) {
            *found = true;
        } else if (closed && c->t_max_ms <= r->t_max_ms) {
            *found = true;
        }
        if (!older_chunk(c, &off)) {
            return NLT_EDATA;
        }
    }
    if (*found) {
        return add_one(r, r->t_min_ms, 0);
    }
    return NLT_OK;
}

/*
 * What the writer keeps has no lock for readers, but the stripe says which
 * series is being written from before the first store to after the last one,
 * and pub changes in between.  That holds where stores and loads are seen in
 * the order of the program, so only there.
 */
bool
nlt_arena_peek_newest(const nlt_arena_t *a, uint32_t series,
                      const nlt_arena_series_t *e, int64_t *t_ms, double *v)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    const nlt_stripe_t *st = &a->hdr->stripes[nlt_stripe_of(series)];
    uint64_t w = atomic_load_explicit(&e->pub, ACQUIRE), v_bits;
    uint32_t n = nlt_chunk_pub_unpack(w).n_samples;

    /* A full chunk may be one that a dead writer's heir could not read. */
    if (n == 0 || n >= NLT_CHUNK_SAMPLES_MAX
        || __atomic_load_n(&e->enc.count, __ATOMIC_RELAXED) != n) {
        return false;
    }
    *t_ms = __atomic_load_n(&e->enc.t_ms, __ATOMIC_RELAXED);
    v_bits = __atomic_load_n(&e->enc.v_bits, __ATOMIC_RELAXED);
    *v = nlt_double_of(v_bits);
    atomic_thread_fence(ACQUIRE);
    return atomic_load_explicit(&st->in_flight, ACQUIRE) != series
           && atomic_load_explicit(&e->pub, ACQUIRE) == w;
#else
    (void) a;
    (void) series;
    (void) e;
    (void) t_ms;
    (void) v;
    return false;
#endif
}

/* The newest in-order sample of the range, appended to out. */
static nlt_rc_t
read_newest_in_order(read_t *r, uint32_t series, const nlt_arena_series_t *e)
{
    nlt_chunk_scratch_t *s = r->scratch;
    int64_t t_ms;
    double v;
    nlt_chunk_pub_t pub;
    size_t steps = 0;
    uint32_t off;

    if (nlt_arena_peek_newest(r->a, series, e, &t_ms, &v)
        && t_ms <= r->t_max_ms) {
        return t_ms < r->t_min_ms ? NLT_OK : add_one(r, t_ms, v);
    }
    off = nlt_chunk_newest(r->a, e, &pub);
    while (off) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(r->a, off);

        if (c == NULL) {
            return NLT_EDATA;
        }
        if (steps++ > 0) {
            pub = nlt_chunk_pub_unpack(atomic_load_explicit(&c->pub, ACQUIRE));
            if (c->t_max_ms < r->t_min_ms) {
                return NLT_OK;
            }
        }
        if (c->t_min_ms <= r->t_max_ms) {
            size_t n = pub.n_samples;
            nlt_rc_t rc = nlt_chunk_decode(r->a, off, pub, s->bytes, s->t_ms,
                                           s->v, NULL, NULL);

            if (rc != NLT_OK) {
                return rc;
            }
            while (n > 0 && s->t_ms[n - 1] > r->t_max_ms) {
                n--;
            }
            if (n == 0 || s->t_ms[n - 1] < r->t_min_ms) {
                return NLT_OK;
            }
            return add_one(r, s->t_ms[n - 1], s->v[n - 1]);
        }
        if (!older_chunk(c, &off)) {
            return NLT_EDATA;
        }
    }
    return NLT_OK;
}

/* ---- out of order ---- */

typedef struct {
    int64_t t_ms;
    uint64_t v_bits;
} old_t;

typedef struct {
    nlt_pool_t *pool;
    old_t *v;
    size_t n;
    size_t cap;
} olds_t;

static nlt_rc_t
add_old(const read_t *r, olds_t *olds, int64_t t_ms, uint64_t v_bits)
{
    if (t_ms < r->t_min_ms || t_ms > r->t_max_ms) {
        return NLT_OK;
    }
    if (olds->n == olds->cap) {
        size_t cap = olds->cap ? olds->cap * 2 : 64;
        old_t *v = nlt_pool_grow(olds->pool, olds->v, olds->cap * sizeof(*v),
                                 cap * sizeof(*v));

        if (v == NULL) {
            return NLT_ENOMEM;
        }
        olds->v = v;
        olds->cap = cap;
    }
    olds->v[olds->n++] = (old_t){t_ms, v_bits};
    return NLT_OK;
}

/* What is in the raw buffer and the newest chunk made of it, as of one
 * moment.  NLT_AGAIN: a writer was quicker. */
static nlt_rc_t
copy_raw(const read_t *r, const nlt_arena_series_t *e, old_t *raw, size_t *n,
         uint32_t *chunks)
{
    uint32_t off = atomic_load_explicit(&e->ooo, ACQUIRE), gen, count;
    nlt_arena_ooo_t *o = nlt_arena_at(r->a, off, sizeof(*o));

    *n = 0;
    *chunks = 0;
    if (o == NULL) {
        return NLT_EDATA;
    }
    gen = atomic_load_explicit(&o->gen, ACQUIRE);
    count = atomic_load_explicit(&o->n, ACQUIRE);
    if (count > NLT_OOO_RAW_MAX
        || !nlt_arena_at(r->a, off, sizeof(*o) + count * sizeof(o->raw[0]))) {
        return NLT_EDATA;
    }
    for (uint32_t i = 0; i < count; i++) {
        raw[i].t_ms = __atomic_load_n(&o->raw[i].t_ms, __ATOMIC_RELAXED);
        raw[i].v_bits = __atomic_load_n(&o->raw[i].v_bits, __ATOMIC_RELAXED);
    }
    *chunks = atomic_load_explicit(&o->chunks, ACQUIRE);
    atomic_thread_fence(ACQUIRE);
    if (atomic_load_explicit(&o->gen, RELAXED) != gen) {
        return NLT_AGAIN;
    }
    *n = count;
    return NLT_OK;
}

/* All of the range into olds, the last written first. */
static nlt_rc_t
collect_old(const read_t *r, const nlt_arena_series_t *e, olds_t *olds)
{
    nlt_chunk_scratch_t *s = r->scratch;
    old_t raw[NLT_OOO_RAW_MAX];
    size_t n, tries = 0;
    uint32_t off;
    nlt_rc_t rc;

    do {
        rc = copy_raw(r, e, raw, &n, &off);
    } while (rc == NLT_AGAIN && ++tries < 1000);
    if (rc != NLT_OK) {
        return NLT_EDATA;
    }
    while (n > 0 && rc == NLT_OK) {
        n--;
        rc = add_old(r, olds, raw[n].t_ms, raw[n].v_bits);
    }
    while (off && rc == NLT_OK) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(r->a, off);
        nlt_chunk_pub_t pub;

        if (c == NULL) {
            return NLT_EDATA;
        }
        if (c->t_min_ms <= r->t_max_ms && c->t_max_ms >= r->t_min_ms) {
            pub = nlt_chunk_pub_unpack(atomic_load_explicit(&c->pub, ACQUIRE));
            rc = nlt_chunk_decode(r->a, off, pub, s->bytes, s->t_ms, s->v,
                                  NULL, NULL);
            for (size_t i = pub.n_samples; rc == NLT_OK && i > 0; i--) {
                rc =
                    add_old(r, olds, s->t_ms[i - 1], nlt_bits_of(s->v[i - 1]));
            }
        }
        if (!older_chunk(c, &off)) {
            return NLT_EDATA;
        }
    }
    return rc;
}

/* Stable merge sort by time; tmp has room for n.  O(n log n). */
static old_t *
sort_old(old_t *v, old_t *tmp, size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t i = at, mid = at + width < n ? at + width : n;
            size_t end = at + 2 * width < n ? at + 2 * width : n;
            size_t j = mid, k = at;

            while (i < mid && j < end) {
                tmp[k++] = v[j].t_ms < v[i].t_ms ? v[j++] : v[i++];
            }
            while (i < mid) {
                tmp[k++] = v[i++];
            }
            while (j < end) {
                tmp[k++] = v[j++];
            }
        }
        old_t *swap = v;

        v = tmp;
        tmp = swap;
    }
    return v;
}

/* Of equal times the last stays, which was written first; then what the
 * in-order samples out[from..] have as well is dropped.  Returns the rest. */
static size_t
drop_equal(old_t *v, size_t n, const nlt_samples_t *out, size_t from)
{
    size_t kept = 0, i = from;

    for (size_t k = 0; k < n; k++) {
        if (k + 1 < n && v[k + 1].t_ms == v[k].t_ms) {
            continue;
        }
        while (i < out->n && out->t_ms[i] < v[k].t_ms) {
            i++;
        }
        if (i < out->n && out->t_ms[i] == v[k].t_ms) {
            continue;
        }
        v[kept++] = v[k];
    }
    return kept;
}

/* Merges olds into out[from..] from the back; the room is there. */
static void
merge_old(nlt_samples_t *out, size_t from, const old_t *v, size_t n)
{
    size_t i = out->n, to = out->n + n;

    out->n = to;
    while (n > 0) {
        to--;
        if (i > from && out->t_ms[i - 1] > v[n - 1].t_ms) {
            i--;
            out->t_ms[to] = out->t_ms[i];
            out->v[to] = out->v[i];
        } else {
            n--;
            out->t_ms[to] = v[n].t_ms;
            out->v[to] = nlt_double_of(v[n].v_bits);
        }
    }
}

static nlt_rc_t
read_old(read_t *r, const nlt_arena_series_t *e, nlt_read_t what)
{
    /* Scratch in the same pool, beside the arrays it must not grow between
     * mark and rewind: those get their room before. */
    nlt_pool_t *pool = r->out->pool;
    nlt_pool_t scratch_pool;
    olds_t olds = {.pool = &scratch_pool};
    size_t budget = pool->budget_bytes - pool->used_bytes;
    old_t *sorted, *tmp;
    nlt_rc_t rc;

    nlt_pool_init(&scratch_pool, pool->mem, budget);
    rc = collect_old(r, e, &olds);
    tmp = rc == NLT_OK ? nlt_pool_array(&scratch_pool, olds.n, sizeof(*tmp))
                       : NULL;
    if (rc == NLT_OK && tmp == NULL) {
        rc = NLT_ENOMEM;
    }
    if (rc == NLT_OK && olds.n > 0) {
        sorted = sort_old(olds.v, tmp, olds.n);
        olds.n = drop_equal(sorted, olds.n, r->out, r->n_before);
        if (what == NLT_READ_NEWEST && olds.n > 1) {
            sorted += olds.n - 1;
            olds.n = 1;
        }
        if (nlt_samples_reserve(r->out, r->out->n + olds.n)) {
            merge_old(r->out, r->n_before, sorted, olds.n);
        } else {
            rc = NLT_ENOMEM;
        }
    }
    nlt_pool_deinit(&scratch_pool);
    return rc;
}

nlt_rc_t
nlt_arena_read(const nlt_arena_t *a, uint32_t series, nlt_read_t what,
               int64_t t_min_ms, int64_t t_max_ms, nlt_samples_t *out,
               nlt_err_t *err)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    nlt_chunk_scratch_t scratch;
    read_t r = {a, t_min_ms, t_max_ms, out, out->n, &scratch};
    uint32_t ooo = e ? atomic_load_explicit(&e->ooo, ACQUIRE) : 0;
    nlt_rc_t rc = NLT_OK;

    if (e == NULL) {
        return nlt_err_set(err, NLT_EDATA, "head arena %llu has no series %u",
                           (unsigned long long) a->no, series);
    }
    if (what == NLT_READ_ANY) {
        bool found;

        rc = read_any_in_order(&r, e, &found);
        if (rc == NLT_OK && found) {
            return NLT_OK;
        }
        what = NLT_READ_NEWEST; /* not so cheap */
    }
    if (rc == NLT_OK) {
        rc = what == NLT_READ_NEWEST ? read_newest_in_order(&r, series, e)
                                     : read_in_order(&r, e);
    }
    if (rc == NLT_OK && ooo) {
        rc = read_old(&r, e, what);
    }
    if (rc == NLT_OK && what == NLT_READ_NEWEST && out->n > r.n_before + 1) {
        out->t_ms[r.n_before] = out->t_ms[out->n - 1];
        out->v[r.n_before] = out->v[out->n - 1];
        out->n = r.n_before + 1;
    }
    if (rc != NLT_OK) {
        out->n = r.n_before;
        return nlt_err_set(err, rc, "head arena %llu, series %u: %s",
                           (unsigned long long) a->no, series,
                           nlt_rc_text(rc));
    }
    return NLT_OK;
}

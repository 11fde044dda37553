/*
 * nlt_head_ahead.c - newest chunks of neighbours, decoded together.
 *
 * Queries of the last minutes need a chunk or two of each series, and one
 * stream cannot be decoded quickly; those of the next series can be, side by
 * side (nlt_xor_many.h).  What was decoded is used only if the series is as it
 * was then, so that a read has the same answer as without; everything that is
 * out of the ordinary is left to the ordinary way.
 */
#include "nlt_head_ahead.h"
#include "nlt_head_priv.h"
#include "nlt_xor_many.h"

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire

#define AHEAD_SAMPLES 4096u       /* of all series together */
#define AHEAD_BYTES   (16u << 10) /* of their streams */
#define AHEAD_BUDGET  (1u << 20)  /* with less memory left: not at all */
#define AHEAD_CHUNKS  4u          /* of one series */
#define AHEAD_JOBS    48u         /* chunks of all */
#define AHEAD_MIN     5u          /* chunks that are worth it */
#define AHEAD_PAUSE   256u        /* series, where there are less */

struct nlt_arena_ahead_s {
    const nlt_arena_t *a;
    int64_t t_min_ms; /* for reads of this range and kind only */
    int64_t t_max_ms;
    nlt_read_t what;
    const void *of;  /* whose series these are, */
    size_t idx_next; /* and the first that was not looked at */
    size_t n;        /* items */
    size_t next;     /* the one that is likely read next */
    struct {
        uint32_t series;
        uint32_t n;   /* samples, from */
        uint32_t at;  /* here on in t_v: times, then values */
        uint64_t pub; /* as it was published then */
    } item[NLT_ARENA_AHEAD];
    union {
        int64_t t;
        double v;
    } t_v[2 * AHEAD_SAMPLES];
};

/* What is decoded at once. */
typedef struct {
    nlt_xor_job_t job[AHEAD_JOBS];
    uint32_t item[AHEAD_JOBS]; /* whose chunk it is */
    size_t n;
    size_t n_bytes;
    size_t n_samples;
    uint8_t bytes[AHEAD_BYTES + NLT_XOR_MANY_PAD];
} work_t;

/* The chunks that a read of a series needs, newest first. */
typedef struct {
    uint64_t pub; /* of the series */
    uint32_t off[AHEAD_CHUNKS];
    nlt_chunk_pub_t of[AHEAD_CHUNKS];
    size_t n;
} chunks_t;

/* Notes them; false: none, too many, or not a matter for us. */
static bool
note(const nlt_arena_t *a, uint32_t series, nlt_read_t what, int64_t t_min_ms,
     int64_t t_max_ms, chunks_t *out)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    nlt_chunk_pub_t pub;
    uint32_t off;
    int64_t t;
    double v;

    if (e == NULL || atomic_load_explicit(&e->ooo, ACQUIRE) != 0
        || (what == NLT_READ_NEWEST
            && nlt_arena_peek_newest(a, series, e, &t, &v) && t <= t_max_ms)) {
        return false;
    }
    off = nlt_chunk_newest(a, e, &pub);
    out->pub = nlt_chunk_pub_pack(pub.n_bits, pub.n_samples, pub.seq);
    out->n = 0;
    for (size_t steps = 0; off != 0; steps++) {
        const nlt_arena_chunk_t *c = nlt_chunk_at(a, off);

        if (c == NULL || steps > AHEAD_CHUNKS) {
            return false;
        }
        if (steps > 0) {
            pub = nlt_chunk_pub_unpack(atomic_load_explicit(&c->pub, ACQUIRE));
            if (c->t_max_ms < t_min_ms) {
                break;
            }
        }
        if (c->t_min_ms <= t_max_ms) {
            if (out->n == AHEAD_CHUNKS) {
                return false;
            }
            out->off[out->n] = off;
            out->of[out->n++] = pub;
            if (what == NLT_READ_NEWEST || c->t_min_ms <= t_min_ms) {
                break;
            }
        }
        off = c->next.u;
    }
    return out->n > 0;
}

/* Takes a series' chunks among what is decoded; false: no room for them. */
static bool
add(nlt_arena_ahead_t *h, work_t *w, uint32_t series, const chunks_t *c)
{
    size_t n = 0, n_bytes = 0, at = 2 * w->n_samples, done = 0;
    size_t n_jobs = w->n;

    for (size_t i = 0; i < c->n; i++) {
        n += c->of[i].n_samples;
        n_bytes += ((size_t) c->of[i].n_bits + 7) / 8;
    }
    if (n > AHEAD_SAMPLES - w->n_samples || n_bytes > AHEAD_BYTES - w->n_bytes
        || c->n > AHEAD_JOBS - w->n) {
        return false;
    }
    for (size_t i = c->n; i-- > 0;) {
        size_t len = ((size_t) c->of[i].n_bits + 7) / 8;
        uint8_t *p = w->bytes + w->n_bytes;

        if (c->of[i].n_samples == 0
            || !nlt_chunk_copy(h->a, c->off[i], len, p)) {
            w->n = n_jobs; /* who reads it is told */
            return true;
        }
        w->item[w->n] = (uint32_t) h->n;
        w->job[w->n++] = (nlt_xor_job_t){.p = p,
                                         .len = len,
                                         .count = c->of[i].n_samples,
                                         .t_ms = &h->t_v[at + done].t,
                                         .v = &h->t_v[at + n + done].v};
        done += c->of[i].n_samples;
        w->n_bytes += len;
    }
    h->item[h->n].series = series;
    h->item[h->n].n = (uint32_t) n;
    h->item[h->n].at = (uint32_t) at;
    h->item[h->n].pub = c->pub;
    h->n++;
    w->n_samples += n;
    return true;
}

/* Forgets the series of which a chunk is not as it should be. */
static void
check(nlt_arena_ahead_t *h, const work_t *w)
{
    const nlt_xor_job_t *last = NULL;

    for (size_t i = 0; i < w->n; i++) {
        const nlt_xor_job_t *j = &w->job[i];
        bool follows = i > 0 && w->item[i] == w->item[i - 1];

        if (j->rc != NLT_OK
            || (follows && j->t_ms[0] <= last->t_ms[last->count - 1])) {
            h->item[w->item[i]].series = 0; /* which no series is */
        }
        last = j;
    }
}

/* Begins with nothing, and makes the memory if there is plenty. */
static nlt_arena_ahead_t *
begin(const nlt_arena_t *a, const void *of, size_t idx, nlt_samples_t *out)
{
    nlt_pool_t *pool = out->pool;
    nlt_arena_ahead_t *h = out->ahead;

    if (h == NULL) {
        if (idx != 0 || pool->budget_bytes - pool->used_bytes < AHEAD_BUDGET) {
            return NULL;
        }
        h = nlt_pool_alloc(pool, sizeof(*h));
        if (h == NULL) {
            return NULL;
        }
        out->ahead = h;
    } else if (idx != 0 && (h->of != of || h->idx_next != idx)) {
        return NULL;
    }
    h->a = a;
    h->of = of;
    h->n = h->next = 0;
    return h;
}

void
nlt_arena_decode_ahead(const nlt_arena_t *a, const void *of, size_t idx,
                       const uint32_t *series, size_t n, nlt_read_t what,
                       int64_t t_min_ms, int64_t t_max_ms, nlt_samples_t *out)
{
    nlt_arena_ahead_t *h = begin(a, of, idx, out);
    work_t w;
    size_t i;

    if (h == NULL) {
        return;
    }
    h->t_min_ms = t_min_ms;
    h->t_max_ms = t_max_ms;
    h->what = what;
    w.n = w.n_bytes = w.n_samples = 0;
    for (i = 0; i < n && i < NLT_ARENA_AHEAD; i++) {
        chunks_t c;

        if (note(a, series[i], what, t_min_ms, t_max_ms, &c)
            && !add(h, &w, series[i], &c)) {
            break;
        }
    }
    h->idx_next = idx + (i > 0 ? i : 1);
    if (w.n < AHEAD_MIN) {
        h->n = 0;
        h->idx_next = idx + AHEAD_PAUSE;
        return;
    }
    memset(w.bytes + w.n_bytes, 0, NLT_XOR_MANY_PAD);
    nlt_xor_decode_many(w.job, w.n);
    check(h, &w);
}

bool
nlt_arena_ahead_read(nlt_samples_t *out, const nlt_arena_t *a, uint32_t series,
                     const nlt_arena_series_t *e, nlt_read_t what,
                     int64_t t_min_ms, int64_t t_max_ms)
{
    nlt_arena_ahead_t *h = out->ahead;
    const int64_t *t;
    const double *v;
    size_t k, lo = 0, hi;

    while (h->next < h->n && h->item[h->next].series == 0) {
        h->next++;
    }
    if (h->next >= h->n || h->item[h->next].series != series || h->a != a) {
        return false;
    }
    k = h->next++;
    if (what != h->what || t_min_ms != h->t_min_ms || t_max_ms != h->t_max_ms
        || atomic_load_explicit(&e->pub, ACQUIRE) != h->item[k].pub
        || atomic_load_explicit(&e->ooo, ACQUIRE) != 0) {
        return false;
    }
    t = &h->t_v[h->item[k].at].t;
    v = &h->t_v[h->item[k].at + h->item[k].n].v;
    hi = h->item[k].n;
    while (hi > 0 && t[hi - 1] > t_max_ms) {
        hi--;
    }
    if (what == NLT_READ_NEWEST) {
        lo = hi > 0 && t[hi - 1] >= t_min_ms ? hi - 1 : hi;
    } else {
        while (lo < hi && t[lo] < t_min_ms) {
            lo++;
        }
    }
    if (lo == hi) {
        return true; /* out may have no memory yet */
    }
    if (!nlt_samples_reserve(out, out->n + (hi - lo))) {
        return false; /* said by the ordinary way */
    }
    memcpy(out->t_ms + out->n, t + lo, (hi - lo) * sizeof(*t));
    memcpy(out->v + out->n, v + lo, (hi - lo) * sizeof(*v));
    out->n += hi - lo;
    return true;
}

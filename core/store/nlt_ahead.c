/*
 * nlt_ahead.c - series that are going to be read, decoded side by side.
 *
 * A slot is a series with arrays of its own.  Its chunks are noted from index
 * and chain, found or copied, and become jobs whose samples land where they
 * stay, one chunk behind the other.  Of the first chunk the samples before the
 * range are dropped, and all others have to follow what is left of it, before
 * it is known how many that are: it is decoded behind the others, and its
 * place is guessed.
 *
 * A read exchanges its arrays for those of the slot.
 */
#include "nlt_ahead.h"
#include "nlt_xor_many.h"

#define SLOTS   32u
#define SAMPLES 24576u      /* no more series when there are so many */
#define JOBS    64u         /* decoded at once */
#define ROOM    (48u << 10) /* of streams that are copied */
#define ARENAS  3u
#define PAUSE   256u       /* series, where none was to be read ahead */
#define BUDGET  (1u << 20) /* with less memory left: not at all */

typedef struct {
    nlt_samples_t s; /* cap, arrays and, when it is ready, n */
    bool ready;
    size_t n_first; /* samples of the first chunk, */
    size_t guess;   /* and how many of them may be before the range; 0: it
                       lies where it was decoded */
    size_t n_all;
    int64_t last_ms; /* of what was decoded */
    nlt_ahead_mark_t mark[ARENAS];
    size_t n_marks;
} slot_t;

typedef struct {
    const void *of; /* whose series these are, */
    size_t first;   /* the number of slot 0, */
    size_t next;    /* and of the first that was not looked at */
    nlt_read_t what;
    int64_t t_min_ms; /* for reads of this range and kind only */
    int64_t t_max_ms;
    uint8_t *room; /* ROOM and NLT_XOR_MANY_PAD, or NULL */
    size_t n;
    size_t n_made; /* slots that were used before; the others have never
                      been set */
    slot_t slot[SLOTS];
} ahead_t;

/* What is noted and decoded at once. */
typedef struct {
    ahead_t *h;
    nlt_ahead_ref_t ref[NLT_AHEAD_PARTS];
    nlt_ahead_chunks_t chunks; /* of one series */
    nlt_xor_job_t job[JOBS];
    slot_t *slot[JOBS];     /* whose chunk it is */
    int64_t t_min_ms[JOBS]; /* where its samples lie */
    int64_t t_max_ms[JOBS];
    size_t n;
    size_t n_bytes; /* of room */
    size_t n_samples;
    const nlt_block_t *block[NLT_AHEAD_PARTS]; /* that were read */
    size_t n_blocks;
} work_t;

/* ---- decoding ---- */

static void
run(work_t *w)
{
    if (w->n_bytes > 0) {
        memset(w->h->room + w->n_bytes, 0, NLT_XOR_MANY_PAD);
    }
    nlt_xor_decode_many(w->job, w->n);
    for (size_t i = 0; i < w->n; i++) {
        const nlt_xor_job_t *j = &w->job[i];
        slot_t *s = w->slot[i];

        if (j->rc != NLT_OK || j->t_ms[0] <= s->last_ms
            || j->t_ms[0] < w->t_min_ms[i]
            || j->t_ms[j->count - 1] > w->t_max_ms[i]) {
            s->ready = false;
        } else {
            s->last_ms = j->t_ms[j->count - 1];
        }
    }
    w->n = w->n_bytes = 0;
}

/* Copies a stream that cannot be decoded where it lies. */
static const uint8_t *
copy(work_t *w, const nlt_ahead_chunk_t *c, nlt_pool_t *pool)
{
    const nlt_arena_t *a = w->ref[c->part].arena;
    uint8_t *to;

    if (c->len > ROOM) {
        return NULL;
    }
    if (c->len > ROOM - w->n_bytes) {
        run(w);
    }
    if (w->h->room == NULL) {
        w->h->room = nlt_pool_alloc(pool, ROOM + NLT_XOR_MANY_PAD);
        if (w->h->room == NULL) {
            return NULL;
        }
    }
    to = w->h->room + w->n_bytes;
    if (a == NULL) {
        memcpy(to, c->p, c->len);
    } else if (!nlt_arena_ahead_copy(a, c, to)) {
        return NULL;
    }
    w->n_bytes += c->len;
    return to;
}

/* Makes jobs of all chunks; false: one cannot be. */
static bool
queue(work_t *w, slot_t *s, nlt_pool_t *pool)
{
    size_t at = s->guess > 0 ? s->n_all : 0;

    for (size_t i = 0; i < w->chunks.n; i++) {
        const nlt_ahead_chunk_t *c = &w->chunks.v[i];
        const uint8_t *p = c->copy ? copy(w, c, pool) : c->p;

        if (p == NULL) {
            return false;
        }
        w->slot[w->n] = s;
        w->t_min_ms[w->n] = c->t_min_ms;
        w->t_max_ms[w->n] = c->t_max_ms;
        w->job[w->n++] = (nlt_xor_job_t){.p = p,
                                         .len = c->len,
                                         .count = c->n,
                                         .t_ms = s->s.t_ms + at,
                                         .v = s->s.v + at};
        at += c->n;
        if (i == 0 && s->guess > 0) {
            at = s->n_first - s->guess;
        }
        if (w->n == JOBS) {
            run(w);
        }
    }
    return true;
}

/* ---- noting ---- */

/* The chunks of a series that overlap the range, oldest first. */
static bool
note(work_t *w, slot_t *s, size_t n_refs)
{
    const ahead_t *h = w->h;
    nlt_ahead_chunks_t *c = &w->chunks;

    c->n = 0;
    for (size_t i = 0; i < n_refs; i++) {
        const nlt_ahead_ref_t *r = &w->ref[i];
        size_t from = c->n;
        bool ok;

        if (r->arena != NULL) {
            ok = s->n_marks < ARENAS
                 && nlt_arena_ahead_note(r->arena, r->id, h->what, h->t_min_ms,
                                         h->t_max_ms, c,
                                         &s->mark[s->n_marks++]);
        } else {
            ok = nlt_block_ahead_note(r->block, r->id, h->t_min_ms,
                                      h->t_max_ms, c);
        }
        if (!ok) {
            return false;
        }
        for (size_t k = from; k < c->n; k++) {
            c->v[k].part = (uint32_t) i;
        }
    }
    /* Where the end of one is not known its samples will tell. */
    for (size_t i = 1; i < c->n; i++) {
        const nlt_ahead_chunk_t *before = &c->v[i - 1];

        if (before->t_max_ms >= c->v[i].t_min_ms
            && (before->t_max_ms != INT64_MAX || h->what == NLT_READ_NEWEST)) {
            return false;
        }
    }
    if (h->what == NLT_READ_NEWEST && c->n > 1) {
        c->v[0] = c->v[c->n - 1];
        c->n = 1;
    }
    return true;
}

/* That the block was read; false: too many of them. */
static bool
note_block(work_t *w, const nlt_block_t *b)
{
    for (size_t i = 0; i < w->n_blocks; i++) {
        if (w->block[i] == b) {
            return true;
        }
    }
    if (w->n_blocks == NLT_AHEAD_PARTS) {
        return false;
    }
    w->block[w->n_blocks++] = b;
    return true;
}

/* Finds the streams of the chunks, and how long they are. */
static bool
find(work_t *w, slot_t *s)
{
    nlt_ahead_chunks_t *c = &w->chunks;
    size_t kept = 0;

    for (size_t i = 0; i < c->n; i++) {
        const nlt_ahead_ref_t *r = &w->ref[c->v[i].part];

        if (r->arena == NULL) {
            if (!note_block(w, r->block)
                || !nlt_block_ahead_find(r->block, &c->v[i])) {
                return false;
            }
            if (c->v[i].n == 0) { /* of histograms */
                if (w->h->what == NLT_READ_NEWEST) {
                    return false;
                }
                continue;
            }
        }
        s->n_all += c->v[i].n;
        c->v[kept++] = c->v[i];
    }
    c->n = kept;
    for (size_t i = 0, k; i < kept; i = k) {
        const nlt_arena_t *a = w->ref[c->v[i].part].arena;

        for (k = i + 1; k < kept && k - i < NLT_AHEAD_FETCH
                        && w->ref[c->v[k].part].arena == a;
             k++) {
        }
        if (a != NULL && k - i > 1) {
            nlt_arena_ahead_fetch(a, &c->v[i], k - i);
        }
    }
    return true;
}

/*
 * About how many samples of a chunk are before t, if they are as far apart as
 * they mostly are.  A little late is in time.
 */
static size_t
guess_before(const nlt_ahead_chunk_t *c, int64_t t)
{
    double all = (double) c->t_max_ms - (double) c->t_min_ms;
    double before = (double) t - (double) c->t_min_ms, i;

    if (before <= 0 || all <= 0 || c->t_max_ms == INT64_MAX) {
        return 0;
    }
    i = before / all * (double) (c->n - 1) + 1 - 1.0 / 64;
    return i < (double) c->n ? (size_t) i : c->n;
}

/* Room for what the series has, and for its first chunk aside. */
static bool
reserve(const work_t *w, slot_t *s, nlt_pool_t *pool)
{
    const nlt_ahead_chunk_t *first = &w->chunks.v[0];
    size_t cap = s->n_all;

    s->n_first = first->n;
    s->guess = w->chunks.n > 1 ? guess_before(first, w->h->t_min_ms) : 0;
    cap += s->guess > 0 ? s->n_first : 0;
    /* It is 16 bytes a sample, and room may double. */
    if (cap > s->s.cap
        && (cap > s->s.cap * 2 ? cap : s->s.cap * 2)
               > (pool->budget_bytes - pool->used_bytes) / 64) {
        return false;
    }
    s->s.pool = pool;
    return nlt_samples_reserve(&s->s, cap);
}

/* Notes series idx, and has it decoded, now or by the next run(). */
static void
plan(work_t *w, slot_t *s, size_t idx, nlt_ahead_refs_t refs, nlt_pool_t *pool)
{
    size_t n_refs = refs(w->h->of, idx, w->ref);

    s->ready = false;
    s->n_all = s->n_first = s->guess = s->n_marks = 0;
    s->last_ms = INT64_MIN;
    if (n_refs == 0 || !note(w, s, n_refs) || !find(w, s)) {
        return;
    }
    s->ready = true;
    if (w->chunks.n > 0 && (!reserve(w, s, pool) || !queue(w, s, pool))) {
        s->ready = false;
    }
    w->n_samples += s->n_all;
}

/* ---- what was decoded ---- */

/* Puts what is left of the first chunk before the others. */
static size_t
close_up(slot_t *s, int64_t t_min_ms)
{
    size_t n_rest = s->n_all - s->n_first, before = 0, kept;
    size_t at = s->n_first - s->guess;
    int64_t *t = s->s.t_ms;
    double *v = s->s.v;

    while (before < s->n_first && t[s->n_all + before] < t_min_ms) {
        before++;
    }
    kept = s->n_first - before;
    if (kept != at) {
        memmove(t + kept, t + at, n_rest * sizeof(*t));
        memmove(v + kept, v + at, n_rest * sizeof(*v));
    }
    memcpy(t, t + s->n_all + before, kept * sizeof(*t));
    memcpy(v, v + s->n_all + before, kept * sizeof(*v));
    return kept + n_rest;
}

/* Leaves what a read would give. */
static void
finish(const ahead_t *h, slot_t *s)
{
    int64_t *t = s->s.t_ms;
    double *v = s->s.v;
    size_t lo = 0, hi = s->n_all;

    s->s.n = 0;
    if (!s->ready || hi == 0) {
        return;
    }
    if (s->guess > 0) {
        hi = close_up(s, h->t_min_ms);
    }
    while (hi > 0 && t[hi - 1] > h->t_max_ms) {
        hi--;
    }
    if (h->what == NLT_READ_NEWEST) {
        s->ready = hi > 0; /* it was to begin before the end of the range */
        lo = hi > 0 && t[hi - 1] >= h->t_min_ms ? hi - 1 : hi;
    }
    while (lo < hi && t[lo] < h->t_min_ms) {
        lo++;
    }
    if (lo > 0) {
        memmove(t, t + lo, (hi - lo) * sizeof(*t));
        memmove(v, v + lo, (hi - lo) * sizeof(*v));
    }
    s->s.n = hi - lo;
}

/* Are the files of all blocks that were read still there? */
static bool
intact(const work_t *w)
{
    for (size_t i = 0; i < w->n_blocks; i++) {
        if (nlt_block_intact(w->block[i], NULL) != NLT_OK) {
            return false;
        }
    }
    return true;
}

static void
fill(ahead_t *h, size_t idx, size_t n_of, nlt_ahead_refs_t refs,
     nlt_pool_t *pool)
{
    bool any = false;
    work_t w;

    w.h = h;
    w.n = w.n_bytes = w.n_samples = w.n_blocks = 0;
    h->first = idx;
    h->n = 0;
    while (h->n < SLOTS && idx + h->n < n_of && w.n_samples < SAMPLES) {
        if (h->n == h->n_made) {
            h->slot[h->n_made++] = (slot_t){.ready = false};
        }
        plan(&w, &h->slot[h->n], idx + h->n, refs, pool);
        h->n++;
    }
    run(&w);
    if (!intact(&w)) {
        h->n = 0;
    }
    for (size_t i = 0; i < h->n; i++) {
        finish(h, &h->slot[i]);
        any |= h->slot[i].ready;
    }
    h->next = idx + (any ? h->n : PAUSE);
}

/* The memory, made if there is plenty; NULL: not to be read ahead. */
static ahead_t *
get(nlt_samples_t *out)
{
    nlt_pool_t *pool = out->pool;

    if (out->ahead == NULL
        && pool->budget_bytes - pool->used_bytes >= BUDGET) {
        ahead_t *h = nlt_pool_alloc(pool, sizeof(*h));

        if (h != NULL) {
            memset(h, 0, offsetof(ahead_t, slot));
        }
        out->ahead = h;
    }
    return out->ahead;
}

/* Exchanges the arrays. */
static void
give(slot_t *s, nlt_samples_t *out)
{
    nlt_samples_t had = *out;

    out->n = s->s.n;
    s->ready = false;
    if (out->n > 0) {
        out->t_ms = s->s.t_ms;
        out->v = s->s.v;
        out->cap = s->s.cap;
        s->s.t_ms = had.t_ms;
        s->s.v = had.v;
        s->s.cap = had.cap;
    }
}

bool
nlt_ahead_read(nlt_samples_t *out, const void *of, size_t idx, size_t n_of,
               nlt_ahead_refs_t refs, nlt_read_t what, int64_t t_min_ms,
               int64_t t_max_ms)
{
    bool begins = idx == out->from;
    ahead_t *h = begins ? get(out) : out->ahead;
    slot_t *s;

    if (h == NULL || (!begins && h->of != of)) {
        return false;
    }
    if (begins || idx == h->next) {
        h->of = of;
        h->what = what;
        h->t_min_ms = t_min_ms;
        h->t_max_ms = t_max_ms;
        fill(h, idx, out->upto > idx && out->upto < n_of ? out->upto : n_of,
             refs, out->pool);
        out->read_upto = idx + h->n;
        out->read_n = h->n;
    }
    if (idx < h->first || idx - h->first >= h->n || what != h->what
        || t_min_ms != h->t_min_ms || t_max_ms != h->t_max_ms) {
        return false;
    }
    s = &h->slot[idx - h->first];
    for (size_t i = 0; s->ready && i < s->n_marks; i++) {
        s->ready = nlt_arena_ahead_same(&s->mark[i]);
    }
    if (!s->ready) {
        return false;
    }
    give(s, out);
    return true;
}

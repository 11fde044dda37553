/*
 * nlt_xor_plan.c - the dynamic program, a run at a time or seventeen.
 *
 * In lanes there are the sixteen runs that begin before the value in hand;
 * each step makes all of them one value longer, and begins another in the
 * place of the oldest.  Costs have 12 bits, relative to that of a value not
 * long ago: within 17 values they differ by less than 17 * 77.  In the 4 bits
 * below is the run's length, so that the least number says which run and what
 * it costs.
 */
#include "nlt_xor_plan.h"

#define NEW_BITS 11 /* of a window, besides the 2 of each value */

/* Bits of a value in window w, with the 2 before it. */
static inline unsigned
value_bits(nlt_xor_window_t w)
{
    return 2 + 64 - (w & 0xffu) - (w >> 8);
}

static inline bool
covers(nlt_xor_window_t w, unsigned leading, unsigned trailing)
{
    return ((w & 0xffu) <= leading) & ((unsigned) w >> 8 <= trailing);
}

/* From the end to the beginning: every value gets the window of its run. */
static void
assign(nlt_xor_plan_t *p, size_t n)
{
    for (size_t k = n, j; k > 0; k = j) {
        j = p->from[k];
        for (size_t i = j; i < k; i++) {
            p->window[i] = p->end[k];
        }
    }
}

void
nlt_xor_plan_plainly(nlt_xor_plan_t *p, size_t n, nlt_xor_window_t before,
                     unsigned run_max)
{
    uint32_t cost[NLT_XOR_PLAN_MAX + 1];

    cost[0] = 0;
    p->end[0] = before;
    for (size_t k = 1; k <= n; k++) {
        unsigned leading = 64, trailing = 64;
        uint32_t best = UINT32_MAX;

        for (size_t j = k; j-- > 0 && k - j <= run_max;) {
            nlt_xor_window_t w = p->window[j];
            uint32_t len = (uint32_t) (k - j), bits;

            leading = (w & 0xffu) < leading ? w & 0xffu : leading;
            trailing = w >> 8 < (int) trailing ? w >> 8 : trailing;
            w = nlt_xor_window(leading, trailing);
            bits = cost[j] + NEW_BITS + len * value_bits(w);
            if (bits < best) {
                best = bits;
                p->from[k] = (uint16_t) j;
                p->end[k] = w;
            }
            bits = cost[j] + len * value_bits(p->end[j]);
            if (covers(p->end[j], leading, trailing) && bits < best) {
                best = bits;
                p->from[k] = (uint16_t) j;
                p->end[k] = p->end[j];
            }
        }
        cost[k] = best;
    }
    assign(p, n);
}

#if defined(__SSE2__)

#include <emmintrin.h>

#define HALF 8

/* Cost of a lane that has no run yet: never the least, also 16 values on. */
#define NO_RUN 600

typedef int16_t eight_t __attribute__((vector_size(16)));

/* Eight lanes. */
typedef struct {
    __m128i fresh;  /* cost before the run, and of a window of its own */
    __m128i joined; /* cost with it, in the window that was there before */
    __m128i window; /* the narrowest that covers it */
    __m128i before; /* the one that was there before */
    __m128i bits;   /* of a value in that */
} half_t;

typedef struct {
    nlt_xor_plan_t *plan;
    half_t now;    /* runs that begin in these eight values */
    half_t before; /* in the eight before */
    size_t k;      /* the value in hand */
    int cost;      /* best for the k before it; relative, as all costs */
    int cost_before;
    unsigned bits_before; /* of a value in the window of those before */
} lanes_t;

/* Lengths of the runs in the lanes of both halves after 1 .. 8 steps. */
static const _Alignas(16) int16_t run_len[2][HALF][HALF] = {
    {
        {2, 17, 16, 15, 14, 13, 12, 11},
        {3, 2, 17, 16, 15, 14, 13, 12},
        {4, 3, 2, 17, 16, 15, 14, 13},
        {5, 4, 3, 2, 17, 16, 15, 14},
        {6, 5, 4, 3, 2, 17, 16, 15},
        {7, 6, 5, 4, 3, 2, 17, 16},
        {8, 7, 6, 5, 4, 3, 2, 17},
        {9, 8, 7, 6, 5, 4, 3, 2},
    },
    {
        {10, 9, 8, 7, 6, 5, 4, 3},
        {11, 10, 9, 8, 7, 6, 5, 4},
        {12, 11, 10, 9, 8, 7, 6, 5},
        {13, 12, 11, 10, 9, 8, 7, 6},
        {14, 13, 12, 11, 10, 9, 8, 7},
        {15, 14, 13, 12, 11, 10, 9, 8},
        {16, 15, 14, 13, 12, 11, 10, 9},
        {17, 16, 15, 14, 13, 12, 11, 10},
    },
};

/* a or b, without a branch that could not be foretold. */
static inline int
pick(bool first, int a, int b)
{
    return b ^ ((a ^ b) & -(int) first);
}

static inline __m128i
all16(int x)
{
    return _mm_set1_epi16((short) x);
}

static inline __m128i
with(__m128i x, unsigned lane, unsigned v)
{
    eight_t y = (eight_t) x;

    y[lane] = (int16_t) v;
    return (__m128i) y;
}

static inline void
half_init(half_t *h)
{
    h->fresh = all16(NO_RUN);
    h->joined = h->window = h->bits = _mm_setzero_si128();
    h->before = all16(NLT_XOR_WINDOW_NONE);
}

/*
 * All runs get one value more and have `len`, 2 to 17; returns what they cost
 * with windows of their own, times 16, + len, and in *join with those that
 * were there before.
 */
static inline __m128i
half_step(half_t *h, __m128i window, __m128i len, __m128i *join)
{
    __m128i width, cost, covered;

    h->window = _mm_min_epu8(h->window, window);
    width = _mm_add_epi16(_mm_and_si128(h->window, all16(0xff)),
                          _mm_srli_epi16(h->window, 8));
    width = _mm_sub_epi16(all16(2 + 64), width);
    cost = _mm_add_epi16(h->fresh, _mm_mullo_epi16(len, width));
    h->joined = _mm_add_epi16(h->joined, h->bits);
    covered = _mm_cmpeq_epi16(_mm_min_epu8(h->window, h->before), h->before);
    *join = _mm_adds_epi16(_mm_add_epi16(_mm_slli_epi16(h->joined, 4), len),
                           _mm_andnot_si128(covered, all16(INT16_MAX)));
    return _mm_add_epi16(_mm_slli_epi16(cost, 4), len);
}

/* The least of a's eight in the low half, that of b's in the high half. */
static inline uint32_t
least(__m128i a, __m128i b)
{
    __m128i x =
        _mm_min_epi16(_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b));

    x = _mm_min_epi16(x, _mm_shuffle_epi32(x, 0x4e));
    x = _mm_min_epi16(x, _mm_shuffle_epi32(x, 0xb1));
    return (uint32_t) _mm_cvtsi128_si32(x);
}

/*
 * Value k, which is number 1 + i of its eight.  What is best for the first k +
 * 1 follows from the run of value k alone, and from those that begin before
 * it.  These do not depend on what is best for the first k, so lanes need not
 * wait for that.
 */
static inline __attribute__((always_inline)) void
step(lanes_t *l, unsigned i)
{
    _Alignas(16) nlt_xor_window_t window[2][HALF];
    nlt_xor_plan_t *p = l->plan;
    size_t k = l->k, n = 1, m;
    nlt_xor_window_t w = p->window[k], w1 = p->window[k - 1];
    nlt_xor_window_t e = p->end[k], e1 = p->end[k - 1];
    int cost = l->cost + NEW_BITS + (int) value_bits(w);
    unsigned bits = value_bits(e);
    int join = l->cost + (int) bits, fresh, best;
    __m128i all = all16(w), f0, f1, j0, j1;
    uint32_t both;

    l->now.fresh = with(l->now.fresh, i, (unsigned) l->cost_before + NEW_BITS);
    l->now.joined =
        with(l->now.joined, i, (unsigned) l->cost_before + l->bits_before);
    l->now.window = with(l->now.window, i, w1);
    l->now.before = with(l->now.before, i, e1);
    l->now.bits = with(l->now.bits, i, l->bits_before);
    f0 = half_step(&l->now, all, _mm_load_si128((const void *) run_len[0][i]),
                   &j0);
    f1 = half_step(&l->before, all,
                   _mm_load_si128((const void *) run_len[1][i]), &j1);
    _mm_store_si128((void *) window[0], l->now.window);
    _mm_store_si128((void *) window[1], l->before.window);
    both = least(_mm_min_epi16(f0, f1), _mm_min_epi16(j0, j1));
    /* of the run of value k alone */
    join = pick(covers(e, w & 0xffu, w >> 8), join, INT16_MAX);
    e = (nlt_xor_window_t) pick(join < cost, e, w);
    cost = pick(join < cost, join, cost);
    /* of the others */
    fresh = (int16_t) both;
    join = (int32_t) both >> 16;
    best = pick(join < fresh, join, fresh) - 2;
    m = ((size_t) best & 15) + 2;
    best >>= 4;
    e1 = (nlt_xor_window_t) pick(
        join < fresh, p->end[k + 1 - m],
        window[(i + HALF * 2 + 2 - m) / HALF % 2][(i + 2 - m) % HALF]);
    e = (nlt_xor_window_t) pick(best < cost, e1, e);
    n = (size_t) pick(best < cost, (int) m, (int) n);
    l->bits_before = bits;
    l->cost_before = l->cost;
    l->cost = pick(best < cost, best, cost);
    p->from[k + 1] = (uint16_t) (k + 1 - n);
    p->end[k + 1] = e;
    l->k++;
}

/* After eight values: costs begin anew, and the older runs go. */
static inline void
turn(lanes_t *l)
{
    half_t h = l->before;
    __m128i less = all16(l->cost_before);

    l->before = l->now;
    l->now = h;
    l->before.fresh = _mm_sub_epi16(l->before.fresh, less);
    l->before.joined = _mm_sub_epi16(l->before.joined, less);
    l->now.fresh = _mm_sub_epi16(l->now.fresh, less);
    l->now.joined = _mm_sub_epi16(l->now.joined, less);
    l->cost -= l->cost_before;
    l->cost_before = 0;
}

/* The first value has a window of its own, or takes the one before. */
static void
first(lanes_t *l, nlt_xor_window_t before)
{
    nlt_xor_plan_t *p = l->plan;
    nlt_xor_window_t w = p->window[0];
    bool join = covers(before, w & 0xffu, w >> 8)
                && value_bits(before) < NEW_BITS + value_bits(w);

    p->from[1] = 0;
    p->end[1] = join ? before : w;
    l->cost = (int) (value_bits(p->end[1]) + (join ? 0 : NEW_BITS));
    l->cost_before = 0;
    l->bits_before = before == NLT_XOR_WINDOW_NONE ? 0 : value_bits(before);
    l->k = 1;
}

static void
plan_lanes(nlt_xor_plan_t *p, size_t n, nlt_xor_window_t before)
{
    lanes_t l = {.plan = p};

    p->end[0] = before;
    if (n == 0) {
        return;
    }
    half_init(&l.now);
    half_init(&l.before);
    first(&l, before);
    while (l.k + HALF <= n) {
        step(&l, 0);
        step(&l, 1);
        step(&l, 2);
        step(&l, 3);
        step(&l, 4);
        step(&l, 5);
        step(&l, 6);
        step(&l, 7);
        turn(&l);
    }
    for (unsigned i = 0; l.k < n; i++) {
        step(&l, i);
    }
    assign(p, n);
}

void
nlt_xor_plan(nlt_xor_plan_t *p, size_t n, nlt_xor_window_t before,
             unsigned run_max)
{
    if (run_max == NLT_XOR_PLAN_RUN) {
        plan_lanes(p, n, before);
    } else {
        nlt_xor_plan_plainly(p, n, before, run_max);
    }
}

#else

void
nlt_xor_plan(nlt_xor_plan_t *p, size_t n, nlt_xor_window_t before,
             unsigned run_max)
{
    nlt_xor_plan_plainly(p, n, before, run_max);
}

#endif

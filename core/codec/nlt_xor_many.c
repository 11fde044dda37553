/*
 * nlt_xor_many.c - sixteen XOR streams in the lanes of two registers each.
 *
 * A lane begins a stream with its first two samples decoded the ordinary way.
 * Then all lanes step together, a sample a step, eight steps a block; after a
 * block the samples, which lie a row a step, are turned so that they lie a
 * row a lane.  When a lane has decoded its stream it is given the next one;
 * when too few streams are left, they are ended one by one.
 *
 * A step takes a time that is as far from the one before as that from its
 * own, or 14 bits further; when any lane has a longer form (a scrape was
 * missed), all take a way that knows four of the five.
 *
 * AVX2 has no shift of two words into one and no leading zeros: eight lanes,
 * two loads of 57 bits a step instead of one of 128, and a lane whose values
 * are wider than that is marked.
 *
 * Everything out of the ordinary (corrupt windows, a time that does not rise,
 * a difference of 64 bits, an end too early) only marks the lane: its stream
 * is then decoded anew by nlt_xor_decode_rising(), which says what there is
 * to say.  A marked lane goes on to the end of the block, on bytes that mean
 * nothing; a step moves by at most STEP_BITS, whatever it reads.
 */
#include "nlt_xor_many.h"

#include "nlt_bytes.h"

static void
one_by_one(nlt_xor_job_t *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        nlt_xor_job_t *j = &jobs[i];

        j->rc = nlt_xor_decode_rising(j->p, j->len, j->count, j->t_ms, j->v,
                                      NULL, NULL);
    }
}

#if defined(__x86_64__)

#include <immintrin.h>

#define HALF   8
#define LANES  (2 * HALF)
#define BLOCK  8
#define RUN    512 /* steps at most until lanes are looked at */
#define FEW    5   /* less streams than this are quicker one by one */
#define SHORT  8   /* so are streams shorter than this */
#define NO_JOB SIZE_MAX

/* Longest form of a sample that a lane takes: 24 of time, 13 + 64 of value. */
#define STEP_BITS 101

_Static_assert((BLOCK * STEP_BITS + 7) / 8 + 2 * 8 + 1 <= NLT_XOR_MANY_PAD,
               "a block that begins in the stream ends in the padding");

#define TARGET                                                                \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,"      \
                          "avx512vbmi2,bmi,bmi2,lzcnt")))
#define INLINE TARGET inline __attribute__((always_inline))

typedef struct {
    _Alignas(64) int64_t pos[LANES]; /* bit of memory: address * 8 + bit */
    int64_t end[LANES];              /* of the stream, likewise */
    int64_t t_ms[LANES];
    int64_t delta[LANES];
    int64_t v_bits[LANES];
    int64_t narrow[LANES];   /* 64 - width of the window */
    int64_t trailing[LANES]; /* -1: there was no window yet */
    int64_t *t_out[LANES];   /* where the next sample goes */
    int64_t *v_out[LANES];
    size_t job[LANES];
    uint32_t left[LANES]; /* samples of the job that are not decoded yet */
    uint32_t active;      /* lanes that have a job */
    nlt_xor_job_t *jobs;
    size_t n;
    size_t next;
    /* What lanes without a job read and write. */
    uint8_t nothing[RUN * 2 / 8 + NLT_XOR_MANY_PAD];
    int64_t waste[RUN];
} lanes_t;

/* Eight lanes in registers. */
typedef struct {
    __m512i pos, t_ms, delta, v_bits, narrow, trailing;
    __m512i bad; /* sign bits */
} half_t;

/* ---- streams come and go ---- */

/* A lane without a stream decodes zeros: steps of 1 ms, the same value. */
static inline void
lane_rest(lanes_t *l, unsigned i)
{
    l->pos[i] = (int64_t) ((uintptr_t) l->nothing * 8);
    l->end[i] = l->pos[i] + RUN * 2;
    l->t_ms[i] = l->v_bits[i] = 0;
    l->delta[i] = 1;
    l->narrow[i] = l->trailing[i] = 0;
    l->t_out[i] = l->v_out[i] = l->waste;
    l->job[i] = NO_JOB;
    l->active &= ~(1u << i);
}

/* 64 bits of p from bit `used` < 8 on. */
static inline uint64_t
load64(const uint8_t *p, unsigned used)
{
    return nlt_be64(p) << used | (uint64_t) p[8] >> (8 - used);
}

/*
 * The first two samples of a stream.  False: not one for lanes.  Reads no
 * more than 10 + 8 + 10 + 2 + 9 bytes, and those are there.
 */
static inline bool
lane_begin(lanes_t *l, unsigned i, const nlt_xor_job_t *j)
{
    nlt_reader_t r = nlt_reader(j->p, j->len);
    int64_t t = nlt_read_varint(&r), delta, narrow = 63, trailing = -1;
    uint64_t v = nlt_read_be64(&r), w;
    unsigned used = 1;

    if (j->count < SHORT || j->count > NLT_XOR_SAMPLES_MAX) {
        return false;
    }
    delta = (int64_t) nlt_read_uvarint(&r);
    if (r.failed || delta <= 0 || delta >= NLT_XOR_STEP_MAX
        || t > INT64_MAX / 2) {
        return false;
    }
    j->t_ms[0] = t;
    j->v[0] = nlt_double_of(v);
    w = nlt_be64(r.p);
    if (w >> 63) {
        int64_t leading = (int64_t) (w >> 57 & 31);

        narrow = (int64_t) (-(w >> 51) & 63);
        trailing = narrow - leading;
        if (w >> 62 != 3 || trailing < 0) {
            return false;
        }
        v ^= load64(r.p + 1, 5) >> narrow << trailing;
        used = (unsigned) (13 + 64 - narrow);
    }
    t += delta;
    j->t_ms[1] = t;
    j->v[1] = nlt_double_of(v);
    l->pos[i] = (int64_t) ((uintptr_t) r.p * 8 + used);
    l->end[i] = (int64_t) (((uintptr_t) j->p + j->len) * 8);
    l->t_ms[i] = t;
    l->delta[i] = delta;
    l->v_bits[i] = (int64_t) v;
    l->narrow[i] = narrow;
    l->trailing[i] = trailing;
    return true;
}

/* Gives lane i the next stream that is one for lanes, if there is one. */
static void
lane_next(lanes_t *l, unsigned i)
{
    while (l->next < l->n) {
        nlt_xor_job_t *j = &l->jobs[l->next++];

        if (!lane_begin(l, i, j)) {
            one_by_one(j, 1);
            continue;
        }
        j->rc = NLT_OK;
        l->job[i] = (size_t) (j - l->jobs);
        l->left[i] = j->count - 2;
        l->t_out[i] = j->t_ms + 2;
        l->v_out[i] = (int64_t *) (void *) (j->v + 2);
        l->active |= 1u << i;
        return;
    }
    lane_rest(l, i);
}

/* The rest of a lane's stream, the ordinary way. */
static void
lane_end(const lanes_t *l, unsigned i)
{
    nlt_xor_job_t *j = &l->jobs[l->job[i]];
    nlt_xor_state_t s = {.t_ms = l->t_ms[i],
                         .v_bits = (uint64_t) l->v_bits[i],
                         .delta = l->delta[i],
                         .count = j->count - l->left[i],
                         .leading = 0xff};

    if (l->trailing[i] >= 0) {
        s.leading = (uint8_t) (l->narrow[i] - l->trailing[i]);
        s.trailing = (uint8_t) l->trailing[i];
    }
    j->rc = nlt_xor_decode_rest(j->p, j->len, &s,
                                (uint64_t) l->pos[i]
                                    - (uint64_t) (uintptr_t) j->p * 8,
                                j->count, j->t_ms, j->v);
}

/* Into lane `to`, which rests. */
static void
lane_move(lanes_t *l, unsigned to, unsigned from)
{
    l->pos[to] = l->pos[from];
    l->end[to] = l->end[from];
    l->t_ms[to] = l->t_ms[from];
    l->delta[to] = l->delta[from];
    l->v_bits[to] = l->v_bits[from];
    l->narrow[to] = l->narrow[from];
    l->trailing[to] = l->trailing[from];
    l->t_out[to] = l->t_out[from];
    l->v_out[to] = l->v_out[from];
    l->job[to] = l->job[from];
    l->left[to] = l->left[from];
    l->active |= 1u << to;
    lane_rest(l, from);
}

/* All streams that are left into the lower half, if they fit; do they? */
static bool
lower_half(lanes_t *l)
{
    if (l->next < l->n || __builtin_popcount(l->active) > HALF) {
        return false;
    }
    while (l->active >> HALF != 0) {
        lane_move(l, (unsigned) __builtin_ctz(~l->active),
                  31u - (unsigned) __builtin_clz(l->active));
    }
    return true;
}

/* ---- steps ---- */

/* The 128 bits at each address, as two words. */
static INLINE void
load_words(__m512i at, __m512i *hi, __m512i *lo)
{
    const __m512i swap = _mm512_set_epi64(
        0x08090a0b0c0d0e0f, 0x0001020304050607, 0x08090a0b0c0d0e0f,
        0x0001020304050607, 0x08090a0b0c0d0e0f, 0x0001020304050607,
        0x08090a0b0c0d0e0f, 0x0001020304050607);

    *hi = _mm512_shuffle_epi8(_mm512_i64gather_epi64(at, (void *) 0, 1), swap);
    *lo = _mm512_shuffle_epi8(_mm512_i64gather_epi64(at, (void *) 8, 1), swap);
}

/*
 * Steps' changes of any form but the longest at the top of w; returns their
 * lengths in bits.  By the number of leading ones: 0 | 10 | 110 | 1110, and
 * 1111, which is left to others.
 */
static INLINE __m512i
half_long_dod(half_t *h, __m512i w)
{
    const __m512i heads = _mm512_setr_epi64(1, 2, 3, 4, 4, 4, 4, 4);
    const __m512i fields = _mm512_setr_epi64(0, 14, 17, 20, 0, 0, 0, 0);
    const __m512i halves = _mm512_setr_epi64(1, 1 << 13, 1 << 16, 1 << 19,
                                             INT64_MAX, INT64_MAX, 0, 0);
    __m512i ones = _mm512_min_epi64(
        _mm512_lzcnt_epi64(_mm512_xor_si512(w, _mm512_set1_epi64(-1))),
        _mm512_set1_epi64(4));
    __m512i head = _mm512_permutexvar_epi64(ones, heads);
    __m512i field = _mm512_permutexvar_epi64(ones, fields);
    __m512i half = _mm512_permutexvar_epi64(ones, halves);
    __m512i v =
        _mm512_srlv_epi64(_mm512_sllv_epi64(w, head),
                          _mm512_sub_epi64(_mm512_set1_epi64(64), field));
    __mmask8 below = _mm512_cmpgt_epi64_mask(v, half);

    v = _mm512_mask_sub_epi64(v, below, v, _mm512_slli_epi64(half, 1));
    h->delta = _mm512_add_epi64(h->delta, v);
    h->bad =
        _mm512_or_si512(h->bad, _mm512_sub_epi64(_mm512_set1_epi64(3), ones));
    return _mm512_add_epi64(head, field);
}

/*
 * One sample of each lane.  hi:lo is the memory from the byte that has the
 * first bit on; o is a bit of it, first of the time, then of the value, then
 * of the value's field.
 */
static INLINE void
half_step(half_t *h)
{
    const __m512i one = _mm512_set1_epi64(1);
    const __m512i second = _mm512_set1_epi64(INT64_C(1) << 62);
    __m512i o = _mm512_and_si512(h->pos, _mm512_set1_epi64(7));
    __m512i hi, lo, w, x, end, leading, field;
    __mmask8 later, changed, window;

    load_words(_mm512_srli_epi64(h->pos, 3), &hi, &lo);
    h->pos = _mm512_sub_epi64(h->pos, o);
    w = _mm512_shldv_epi64(hi, lo, o);
    later = _mm512_movepi64_mask(w);
    if (nlt_unlikely(_mm512_mask_test_epi64_mask(later, w, second))) {
        o = _mm512_add_epi64(o, half_long_dod(h, w));
    } else {
        /* The field f behind two bits is f or, above 8192, f - 16384; with
         * all that is below it x is -1 - that. */
        x = _mm512_sub_epi64(_mm512_set1_epi64((INT64_C(1) << 50) - 1),
                             _mm512_slli_epi64(w, 2));
        x = _mm512_srai_epi64(x, 50);
        h->delta = _mm512_mask_sub_epi64(h->delta, later, h->delta, x);
        o = _mm512_add_epi64(o, one);
        o = _mm512_mask_add_epi64(o, later, o, _mm512_set1_epi64(15));
    }
    /* Too large it cannot get: it was less than NLT_XOR_STEP_MAX, and there
     * are less than 2^16 changes of less than 2^20. */
    h->bad = _mm512_or_si512(h->bad, _mm512_sub_epi64(h->delta, one));
    h->t_ms = _mm512_add_epi64(h->t_ms, h->delta);

    w = _mm512_shldv_epi64(hi, lo, o);
    changed = _mm512_movepi64_mask(w);
    window = _mm512_mask_test_epi64_mask(changed, w, second);
    /* A width of 0 stands for 64; 64 - width, in six bits. */
    x = _mm512_sub_epi64(_mm512_setzero_si512(), _mm512_srli_epi64(w, 51));
    h->narrow =
        _mm512_mask_and_epi64(h->narrow, window, x, _mm512_set1_epi64(63));
    leading =
        _mm512_and_si512(_mm512_srli_epi64(w, 57), _mm512_set1_epi64(31));
    h->trailing =
        _mm512_mask_sub_epi64(h->trailing, window, h->narrow, leading);
    h->bad = _mm512_mask_or_epi64(h->bad, changed, h->bad, h->trailing);
    end = _mm512_add_epi64(o, one);
    /* 2 or 13 bits on; 64 more are nothing to a shift. */
    o = _mm512_add_epi64(o,
                         _mm512_mask_mov_epi64(_mm512_set1_epi64(66), window,
                                               _mm512_set1_epi64(77)));
    field = _mm512_srlv_epi64(_mm512_shldv_epi64(hi, lo, o), h->narrow);
    field = _mm512_sllv_epi64(field, h->trailing);
    h->v_bits = _mm512_mask_xor_epi64(h->v_bits, changed, h->v_bits, field);
    end = _mm512_mask_sub_epi64(end, changed, o, h->narrow);
    h->pos = _mm512_add_epi64(h->pos, end);
}

/* Of four rows of eight: pair[k] has their parts of columns k and k + 4. */
static INLINE void
turn_rows(const int64_t *rows, __m512i pair[4])
{
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    __m512i r0 = _mm512_load_si512(rows), r1 = _mm512_load_si512(rows + 8);
    __m512i r2 = _mm512_load_si512(rows + 16);
    __m512i r3 = _mm512_load_si512(rows + 24);
    __m512i b0 = _mm512_unpacklo_epi64(r0, r1);
    __m512i b1 = _mm512_unpackhi_epi64(r0, r1);
    __m512i b2 = _mm512_unpacklo_epi64(r2, r3);
    __m512i b3 = _mm512_unpackhi_epi64(r2, r3);

    pair[0] = _mm512_permutex2var_epi64(b0, low, b2);
    pair[1] = _mm512_permutex2var_epi64(b1, low, b3);
    pair[2] = _mm512_permutex2var_epi64(b0, high, b2);
    pair[3] = _mm512_permutex2var_epi64(b1, high, b3);
}

/* Columns i and i + 4, of their upper and lower halves. */
static INLINE void
put_pair(int64_t *const *to, size_t at, __mmask8 mask, const __m512i *upper,
         const __m512i *lower, unsigned i)
{
    _mm512_mask_storeu_epi64(to[i] + at, mask,
                             _mm512_shuffle_i64x2(upper[i], lower[i], 0x44));
    _mm512_mask_storeu_epi64(to[i + 4] + at, mask,
                             _mm512_shuffle_i64x2(upper[i], lower[i], 0xee));
}

/*
 * Turns eight rows of eight, and stores the first of each that mask has.  No
 * loop: gcc would keep the halves in memory.
 */
static INLINE void
put_rows(int64_t *const *to, size_t at, const int64_t *rows, __mmask8 mask)
{
    __m512i upper[4], lower[4];

    turn_rows(rows, upper);
    turn_rows(rows + 32, lower);
    put_pair(to, at, mask, upper, lower, 0);
    put_pair(to, at, mask, upper, lower, 1);
    put_pair(to, at, mask, upper, lower, 2);
    put_pair(to, at, mask, upper, lower, 3);
}

static INLINE void
half_load(half_t *h, const lanes_t *l, unsigned from)
{
    h->pos = _mm512_load_si512(l->pos + from);
    h->t_ms = _mm512_load_si512(l->t_ms + from);
    h->delta = _mm512_load_si512(l->delta + from);
    h->v_bits = _mm512_load_si512(l->v_bits + from);
    h->narrow = _mm512_load_si512(l->narrow + from);
    h->trailing = _mm512_load_si512(l->trailing + from);
    h->bad = _mm512_setzero_si512();
}

static INLINE void
half_save(const half_t *h, lanes_t *l, unsigned from)
{
    _mm512_store_si512(l->pos + from, h->pos);
    _mm512_store_si512(l->t_ms + from, h->t_ms);
    _mm512_store_si512(l->delta + from, h->delta);
    _mm512_store_si512(l->v_bits + from, h->v_bits);
    _mm512_store_si512(l->narrow + from, h->narrow);
    _mm512_store_si512(l->trailing + from, h->trailing);
}

/* Lanes that are marked or beyond the end of their stream. */
static INLINE uint32_t
half_bad(const half_t *h, const lanes_t *l, unsigned from)
{
    __m512i left = _mm512_sub_epi64(_mm512_load_si512(l->end + from), h->pos);

    return (uint32_t) _mm512_movepi64_mask(_mm512_or_si512(h->bad, left))
           << from;
}

/*
 * n steps of all lanes, or of the lower half, or less when lanes are found
 * bad; returns those that are, and how many steps were done.
 */
static INLINE uint32_t
run_halves(lanes_t *l, uint32_t n, uint32_t *steps, bool both)
{
    _Alignas(64) int64_t t[2][BLOCK * HALF], v[2][BLOCK * HALF];
    half_t a, b = {0};
    uint32_t bad = 0, done = 0;

    half_load(&a, l, 0);
    if (both) {
        half_load(&b, l, HALF);
    }
    while (done < n && bad == 0) {
        unsigned some = n - done < BLOCK ? n - done : BLOCK;
        __mmask8 mask = (__mmask8) (0xff >> (BLOCK - some));

        for (unsigned i = 0; i < some; i++) {
            half_step(&a);
            _mm512_store_si512(t[0] + HALF * i, a.t_ms);
            _mm512_store_si512(v[0] + HALF * i, a.v_bits);
            if (both) {
                half_step(&b);
                _mm512_store_si512(t[1] + HALF * i, b.t_ms);
                _mm512_store_si512(v[1] + HALF * i, b.v_bits);
            }
        }
        bad = half_bad(&a, l, 0);
        put_rows(l->t_out, done, t[0], mask);
        put_rows(l->v_out, done, v[0], mask);
        if (both) {
            bad |= half_bad(&b, l, HALF);
            put_rows(l->t_out + HALF, done, t[1], mask);
            put_rows(l->v_out + HALF, done, v[1], mask);
        }
        done += some;
    }
    half_save(&a, l, 0);
    if (both) {
        half_save(&b, l, HALF);
    }
    *steps = done;
    return bad;
}

static TARGET uint32_t
run_both(lanes_t *l, uint32_t n, uint32_t *steps)
{
    return run_halves(l, n, steps, true);
}

static TARGET uint32_t
run_lower(lanes_t *l, uint32_t n, uint32_t *steps)
{
    return run_halves(l, n, steps, false);
}

/* ---- steps of four lanes in AVX2, where there are no better ---- */

#define TARGET_2 __attribute__((target("avx2")))
#define INLINE_2 TARGET_2 inline __attribute__((always_inline))

#define FOUR 4

/* Fields of more bits than 57 are not in one load: they mark the lane. */
#define NARROW_MIN 7

typedef struct {
    __m256i pos, t_ms, delta, v_bits, narrow, trailing;
    __m256i bad; /* sign bits */
} four_t;

static INLINE_2 __m256i
four_of(const int64_t *p)
{
    return _mm256_load_si256((const __m256i *) (const void *) p);
}

static INLINE_2 void
four_to(int64_t *p, __m256i x)
{
    _mm256_store_si256((__m256i *) (void *) p, x);
}

static INLINE_2 __m256i
all(int64_t x)
{
    return _mm256_set1_epi64x(x);
}

/* What has its sign set of y, the others of x. */
static INLINE_2 __m256i
where(__m256i sign, __m256i y, __m256i x)
{
    return _mm256_castpd_si256(_mm256_blendv_pd(_mm256_castsi256_pd(x),
                                                _mm256_castsi256_pd(y),
                                                _mm256_castsi256_pd(sign)));
}

static INLINE_2 __m256i
signs(__m256i x)
{
    return _mm256_cmpgt_epi64(_mm256_setzero_si256(), x);
}

/* The eight bytes at an address. */
static INLINE_2 int64_t
eight_at(int64_t at)
{
    return (int64_t) nlt_le64((const uint8_t *) (uintptr_t) at);
}

/*
 * 57 or more bits from pos on, at the top.  Four loads, and no gather, which
 * is slow on many of the processors that come here.
 */
static INLINE_2 __m256i
four_words(__m256i pos)
{
    const __m256i swap =
        _mm256_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607,
                          0x08090a0b0c0d0e0f, 0x0001020304050607);
    __m256i at = _mm256_srli_epi64(pos, 3);
    __m128i a = _mm256_castsi256_si128(at);
    __m128i b = _mm256_extracti128_si256(at, 1);
    __m128i x = _mm_cvtsi64_si128(eight_at(_mm_cvtsi128_si64(a)));
    __m128i y = _mm_cvtsi64_si128(eight_at(_mm_cvtsi128_si64(b)));
    __m256i w;

    x = _mm_insert_epi64(x, eight_at(_mm_extract_epi64(a, 1)), 1);
    y = _mm_insert_epi64(y, eight_at(_mm_extract_epi64(b, 1)), 1);
    w = _mm256_shuffle_epi8(_mm256_set_m128i(y, x), swap);
    return _mm256_sllv_epi64(w, _mm256_and_si256(pos, all(7)));
}

/* Changes of steps in any form but the longest, a lane at a time; returns
 * their lengths. */
static TARGET_2 __attribute__((noinline)) __m256i
four_long_dod(four_t *h, __m256i words)
{
    _Alignas(32) int64_t w[FOUR], delta[FOUR], bad[FOUR], len[FOUR];

    four_to(w, words);
    four_to(delta, h->delta);
    four_to(bad, h->bad);
    for (unsigned i = 0; i < FOUR; i++) {
        uint64_t x = (uint64_t) w[i];
        unsigned ones = x == UINT64_MAX ? 64 : (unsigned) __builtin_clzll(~x);

        if (ones == 0 || ones > 3) {
            len[i] = ones == 0 ? 1 : 4;
            bad[i] = ones == 0 ? bad[i] : -1;
        } else {
            unsigned n = ones == 1 ? 14 : 14 + 3 * (ones - 1);
            int64_t v = (int64_t) (x << (ones + 1) >> (64 - n));

            delta[i] += v > INT64_C(1) << (n - 1) ? v - (INT64_C(1) << n) : v;
            len[i] = ones + 1 + n;
        }
    }
    h->delta = four_of(delta);
    h->bad = four_of(bad);
    return four_of(len);
}

/* One sample of each lane. */
static INLINE_2 void
four_step(four_t *h)
{
    __m256i w = four_words(h->pos), x, len, changed, window, field;

    x = _mm256_and_si256(w, _mm256_slli_epi64(w, 1));
    if (nlt_unlikely(_mm256_movemask_pd(_mm256_castsi256_pd(x)))) {
        len = four_long_dod(h, w);
    } else {
        __m256i later = signs(w);

        /* The field f behind two bits is f or, above 8192, f - 16384. */
        x = _mm256_srli_epi64(_mm256_slli_epi64(w, 2), 50);
        x = _mm256_and_si256(_mm256_add_epi64(x, all(8191)), all(16383));
        x = _mm256_sub_epi64(x, all(8191));
        h->delta = _mm256_add_epi64(h->delta, _mm256_and_si256(later, x));
        len = _mm256_add_epi64(all(1), _mm256_and_si256(later, all(15)));
    }
    h->bad = _mm256_or_si256(h->bad, _mm256_sub_epi64(h->delta, all(1)));
    h->t_ms = _mm256_add_epi64(h->t_ms, h->delta);

    w = _mm256_sllv_epi64(w, len); /* 33 bits or more are left */
    changed = signs(w);
    window = _mm256_and_si256(w, _mm256_slli_epi64(w, 1));
    x = _mm256_sub_epi64(_mm256_setzero_si256(), _mm256_srli_epi64(w, 51));
    h->narrow = where(window, _mm256_and_si256(x, all(63)), h->narrow);
    x = _mm256_and_si256(_mm256_srli_epi64(w, 57), all(31));
    h->trailing = where(window, _mm256_sub_epi64(h->narrow, x), h->trailing);
    x = _mm256_or_si256(h->trailing,
                        _mm256_sub_epi64(h->narrow, all(NARROW_MIN)));
    h->bad = _mm256_or_si256(h->bad, _mm256_and_si256(changed, x));
    len = _mm256_add_epi64(len, where(window, all(13), all(2)));
    h->pos = _mm256_add_epi64(h->pos, len);
    field = _mm256_srlv_epi64(four_words(h->pos), h->narrow);
    field = _mm256_and_si256(changed, _mm256_sllv_epi64(field, h->trailing));
    h->v_bits = _mm256_xor_si256(h->v_bits, field);
    x = where(changed, _mm256_sub_epi64(all(64), h->narrow), all(-1));
    h->pos = _mm256_add_epi64(h->pos, x);
}

/* Turns four rows of four and stores them. */
static INLINE_2 void
four_put(int64_t *const *to, size_t at, const int64_t *rows)
{
    __m256i a = four_of(rows), b = four_of(rows + 4);
    __m256i c = four_of(rows + 8), d = four_of(rows + 12);
    __m256i ab = _mm256_unpacklo_epi64(a, b), cd = _mm256_unpacklo_epi64(c, d);
    __m256i x[FOUR];

    x[0] = _mm256_permute2x128_si256(ab, cd, 0x20);
    x[2] = _mm256_permute2x128_si256(ab, cd, 0x31);
    ab = _mm256_unpackhi_epi64(a, b);
    cd = _mm256_unpackhi_epi64(c, d);
    x[1] = _mm256_permute2x128_si256(ab, cd, 0x20);
    x[3] = _mm256_permute2x128_si256(ab, cd, 0x31);
    for (unsigned i = 0; i < FOUR; i++) {
        _mm256_storeu_si256((__m256i *) (void *) (to[i] + at), x[i]);
    }
}

/* The first n <= BLOCK steps of four lanes. */
static INLINE_2 void
four_put_some(int64_t *const *to, size_t at, const int64_t *rows, unsigned n)
{
    if (nlt_likely(n == BLOCK)) {
        four_put(to, at, rows);
        four_put(to, at + FOUR, rows + FOUR * FOUR);
        return;
    }
    for (unsigned i = 0; i < n * FOUR; i++) {
        to[i % FOUR][at + i / FOUR] = rows[i];
    }
}

static INLINE_2 void
four_load(four_t *h, const lanes_t *l, unsigned from)
{
    h->pos = four_of(l->pos + from);
    h->t_ms = four_of(l->t_ms + from);
    h->delta = four_of(l->delta + from);
    h->v_bits = four_of(l->v_bits + from);
    h->narrow = four_of(l->narrow + from);
    h->trailing = four_of(l->trailing + from);
    h->bad = _mm256_setzero_si256();
}

static INLINE_2 void
four_save(const four_t *h, lanes_t *l, unsigned from)
{
    four_to(l->pos + from, h->pos);
    four_to(l->t_ms + from, h->t_ms);
    four_to(l->delta + from, h->delta);
    four_to(l->v_bits + from, h->v_bits);
    four_to(l->narrow + from, h->narrow);
    four_to(l->trailing + from, h->trailing);
}

static INLINE_2 uint32_t
four_bad(const four_t *h, const lanes_t *l, unsigned from)
{
    __m256i left = _mm256_sub_epi64(four_of(l->end + from), h->pos);

    left = _mm256_or_si256(left, h->bad);
    return (uint32_t) _mm256_movemask_pd(_mm256_castsi256_pd(left)) << from;
}

/* As run_halves(), of the lower half. */
static TARGET_2 uint32_t
run_fours(lanes_t *l, uint32_t n, uint32_t *steps)
{
    _Alignas(32) int64_t t[2][BLOCK * FOUR], v[2][BLOCK * FOUR];
    four_t a, b;
    uint32_t bad = 0, done = 0;

    four_load(&a, l, 0);
    four_load(&b, l, FOUR);
    while (done < n && bad == 0) {
        unsigned some = n - done < BLOCK ? n - done : BLOCK;

        for (unsigned i = 0; i < some; i++) {
            four_step(&a);
            four_to(t[0] + FOUR * i, a.t_ms);
            four_to(v[0] + FOUR * i, a.v_bits);
            four_step(&b);
            four_to(t[1] + FOUR * i, b.t_ms);
            four_to(v[1] + FOUR * i, b.v_bits);
        }
        bad = four_bad(&a, l, 0) | four_bad(&b, l, FOUR);
        four_put_some(l->t_out, done, t[0], some);
        four_put_some(l->v_out, done, v[0], some);
        four_put_some(l->t_out + FOUR, done, t[1], some);
        four_put_some(l->v_out + FOUR, done, v[1], some);
        done += some;
    }
    four_save(&a, l, 0);
    four_save(&b, l, FOUR);
    *steps = done;
    return bad;
}

/* ---- all of it ---- */

/* Samples that every lane with a job still has before it. */
static uint32_t
steps_left(const lanes_t *l)
{
    uint32_t n = RUN;

    for (uint32_t m = l->active; m != 0; m &= m - 1) {
        uint32_t left = l->left[__builtin_ctz(m)];

        n = left < n ? left : n;
    }
    return n;
}

/* What lane i has decoded: the stream goes on, or it was the last of it. */
static void
lane_after(lanes_t *l, unsigned i, uint32_t steps, bool bad)
{
    if ((l->active >> i & 1) == 0) {
        lane_rest(l, i); /* back to the first zero */
        return;
    }
    l->left[i] -= steps;
    l->t_out[i] += steps;
    l->v_out[i] += steps;
    if (nlt_unlikely(bad)) {
        one_by_one(&l->jobs[l->job[i]], 1);
        lane_next(l, i);
    } else if (l->left[i] == 0) {
        lane_next(l, i);
    }
}

/* n steps of all lanes that there are. */
static uint32_t
run(lanes_t *l, nlt_xor_form_t form, uint32_t n, uint32_t *steps)
{
    if (form == NLT_XOR_AVX2) {
        return run_fours(l, n, steps);
    }
    return lower_half(l) ? run_lower(l, n, steps) : run_both(l, n, steps);
}

static void
in_lanes(nlt_xor_job_t *jobs, size_t n, nlt_xor_form_t form)
{
    unsigned n_lanes = form == NLT_XOR_AVX2 ? HALF : LANES;
    lanes_t l;

    l.active = 0;
    l.jobs = jobs;
    l.n = n;
    l.next = 0;
    memset(l.nothing, 0, sizeof(l.nothing));
    for (unsigned i = 0; i < n_lanes; i++) {
        lane_next(&l, i);
    }
    while (l.active != 0) {
        uint32_t steps, bad;

        if (l.next == n && __builtin_popcount(l.active) < FEW) {
            for (; l.active != 0; l.active &= l.active - 1) {
                lane_end(&l, (unsigned) __builtin_ctz(l.active));
            }
            return;
        }
        bad = run(&l, form, steps_left(&l), &steps);
        for (unsigned i = 0; i < n_lanes; i++) {
            lane_after(&l, i, steps, bad >> i & 1);
        }
    }
}

static nlt_xor_form_t
form_of_processor(void)
{
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512cd")
        && __builtin_cpu_supports("avx512vbmi2")
        && __builtin_cpu_supports("bmi2")) {
        return NLT_XOR_AVX512;
    }
    return __builtin_cpu_supports("avx2") ? NLT_XOR_AVX2 : NLT_XOR_ONE;
}

nlt_xor_form_t
nlt_xor_many_form(void)
{
    nlt_xor_form_t form = form_of_processor();

    return form < NLT_XOR_FORM_MAX ? form : NLT_XOR_FORM_MAX;
}

void
nlt_xor_decode_many_by(nlt_xor_form_t form, nlt_xor_job_t *jobs, size_t n)
{
    if (n < FEW || form == NLT_XOR_ONE) {
        one_by_one(jobs, n);
    } else {
        in_lanes(jobs, n, form);
    }
}

#else

nlt_xor_form_t
nlt_xor_many_form(void)
{
    return NLT_XOR_ONE;
}

void
nlt_xor_decode_many_by(nlt_xor_form_t form, nlt_xor_job_t *jobs, size_t n)
{
    (void) form;
    one_by_one(jobs, n);
}

#endif

bool
nlt_xor_many_lanes(void)
{
    return nlt_xor_many_form() != NLT_XOR_ONE;
}

void
nlt_xor_decode_many(nlt_xor_job_t *jobs, size_t n)
{
    nlt_xor_decode_many_by(nlt_xor_many_form(), jobs, n);
}

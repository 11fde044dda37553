/*
 * nlt_xor.c - encodes and decodes XOR chunks.
 *
 * The encoder of the head collects one sample in three words and never looks
 * at memory; nlt_xor_put() stores them with whole-word writes.  That of chunks
 * has the bits that do not fill a byte yet in a register.  The decoder keeps a
 * bit position and loads eight bytes at it, mostly once a sample: loads of
 * neighbouring samples overlap in the pipeline.  It may read 32 bytes past a
 * sample's first, so the last ones are decoded from a zero-padded copy, by the
 * same code.
 */
#include "nlt_xor.h"

#include "nlt_bytes.h"
#include "nlt_xor_plan.h"

/* What decode_sample() may read from the byte that holds its first bit. */
#define DECODE_READ_MAX 32

static inline void
push(nlt_xor_bits_t *out, uint64_t value, unsigned n)
{
    unsigned i = out->n_bits >> 6, used = out->n_bits & 63;

    value <<= 64 - n;
    out->w[i] |= value >> used;
    if (used + n > 64) {
        out->w[i + 1] |= value << (64 - used);
    }
    out->n_bits += n;
}

/* A LEB128 number, low group first; it begins at a byte, but need not. */
static void
push_uvarint(nlt_xor_bits_t *out, uint64_t v)
{
    while (v >= 0x80) {
        push(out, (v & 0x7f) | 0x80, 8);
        v >>= 7;
    }
    push(out, v, 8);
}

/* -(2^(n-1) - 1) .. 2^(n-1): the format's asymmetric range of n bits. */
static inline bool
in_range(int64_t dod, unsigned n)
{
    int64_t half = INT64_C(1) << (n - 1);

    return dod >= -(half - 1) && dod <= half;
}

/* Prefix and field of a delta of delta in 20 bits or less; 0 bits: longer. */
static inline uint64_t
short_dod(int64_t dod, unsigned *n)
{
    uint64_t u = (uint64_t) dod;

    if (dod == 0) {
        *n = 1;
        return 0;
    }
    if (in_range(dod, 14)) {
        *n = 16;
        return UINT64_C(2) << 14 | (u & 0x3fff);
    }
    if (in_range(dod, 17)) {
        *n = 20;
        return UINT64_C(6) << 17 | (u & 0x1ffff);
    }
    if (in_range(dod, 20)) {
        *n = 24;
        return UINT64_C(14) << 20 | (u & 0xfffff);
    }
    *n = 0;
    return 0;
}

/*
 * The time of the samples for which the short form below does not do: the
 * first two, and steps far from the step before.  Moves the state on.
 */
static void
encode_time(nlt_xor_state_t *s, int64_t t_ms, nlt_xor_bits_t *out)
{
    uint64_t step = (uint64_t) t_ms - (uint64_t) s->t_ms;

    if (s->count > 1) {
        push(out, 15, 4);
        push(out, step - (uint64_t) s->delta, 64);
    } else if (s->count == 1) {
        push_uvarint(out, step);
    } else {
        push_uvarint(out, nlt_zigzag(t_ms));
        step = 0;
    }
    s->delta = (int64_t) step;
    s->t_ms = t_ms;
    s->count++;
}

static inline unsigned
leading_of(uint64_t x)
{
    unsigned n = (unsigned) __builtin_clzll(x);

    return n < 31 ? n : 31; /* five bits are all there is for it */
}

static inline unsigned
trailing_of(uint64_t x)
{
    return (unsigned) __builtin_ctzll(x);
}

/* A sample but the first, in two numbers. */
typedef struct {
    uint64_t head;  /* low bits: of the time, and what precedes the field */
    uint64_t field; /* high bits: those of the value */
    unsigned n_head;
    unsigned n_field;
} parts_t;

/*
 * One sample but the first.  With `window` false the window is chosen as
 * Prometheus does; else the next one is to be leading, trailing, which covers
 * the value.  Nearly always the time and the prefix of the value take at most
 * 37 bits; false: not here, the time is apart in *time.
 */
static inline __attribute__((always_inline)) bool
encode_next(nlt_xor_state_t *s, int64_t t_ms, uint64_t v_bits, bool window,
            unsigned leading, unsigned trailing, parts_t *out,
            nlt_xor_bits_t *time)
{
    uint64_t x = v_bits ^ s->v_bits, head, field = 0;
    uint64_t step = (uint64_t) t_ms - (uint64_t) s->t_ms;
    unsigned n_head, n_field = 0;
    bool is_short;

    head = short_dod((int64_t) (step - (uint64_t) s->delta), &n_head);
    is_short = n_head > 0 && s->count > 1;
    if (is_short) {
        s->delta = (int64_t) step;
        s->t_ms = t_ms;
        s->count++;
    } else {
        *time = (nlt_xor_bits_t){{0, 0, 0}, 0};
        encode_time(s, t_ms, time);
        head = 0;
        n_head = 0;
    }
    s->v_bits = v_bits;
    if (x == 0) {
        head <<= 1;
        n_head += 1;
    } else {
        bool reuse;

        if (window) {
            reuse = s->leading == leading && s->trailing == trailing;
        } else {
            leading = leading_of(x);
            trailing = trailing_of(x);
            /* 0xff, none yet, is more than any. */
            reuse = leading >= s->leading && trailing >= s->trailing;
        }
        if (reuse) {
            head = head << 2 | 2;
            n_head += 2;
        } else {
            n_field = 64 - leading - trailing;
            head =
                head << 13 | UINT64_C(3) << 11 | leading << 6 | (n_field & 63);
            n_head += 13;
            s->leading = (uint8_t) leading;
            s->trailing = (uint8_t) trailing;
        }
        n_field = 64u - s->leading - s->trailing;
        field = x >> s->trailing << (64 - n_field);
    }
    *out = (parts_t){head, field, n_head, n_field};
    return is_short;
}

void
nlt_xor_encode(nlt_xor_state_t *s, int64_t t_ms, uint64_t v_bits,
               nlt_xor_bits_t *out)
{
    parts_t x;

    if (nlt_likely(s->count > 0)) {
        if (nlt_likely(encode_next(s, t_ms, v_bits, false, 0, 0, &x, out))) {
            out->w[0] = x.head << (64 - x.n_head) | x.field >> x.n_head;
            out->w[1] = x.field << (64 - x.n_head);
            out->w[2] = 0;
            out->n_bits = x.n_head + x.n_field;
            return;
        }
        push(out, x.head, x.n_head);
        if (x.n_field > 0) {
            push(out, x.field >> (64 - x.n_field), x.n_field);
        }
        return;
    }
    *out = (nlt_xor_bits_t){{0, 0, 0}, 0};
    encode_time(s, t_ms, out);
    push(out, v_bits, 64);
    s->v_bits = v_bits;
}

void
nlt_xor_put(uint8_t *p, uint64_t pos, const nlt_xor_bits_t *bits)
{
    unsigned used = (unsigned) (pos & 7);
    unsigned n = (used + bits->n_bits + 7) / 8;
    uint64_t w0 = bits->w[0], w1 = bits->w[1], w2 = bits->w[2];

    p += pos >> 3;
    if (used) {
        w2 = w2 >> used | w1 << (64 - used);
        w1 = w1 >> used | w0 << (64 - used);
        w0 >>= used;
        w0 |= (uint64_t) (*p & (0xff00u >> used & 0xff)) << 56;
    }
    while (n >= 8) {
        nlt_put_be64(p, w0);
        w0 = w1;
        w1 = w2;
        w2 = 0;
        p += 8;
        n -= 8;
    }
    if (n & 4) {
        nlt_put_be32(p, (uint32_t) (w0 >> 32));
        w0 <<= 32;
        p += 4;
    }
    if (n & 2) {
        nlt_put_be16(p, (uint16_t) (w0 >> 48));
        w0 <<= 16;
        p += 2;
    }
    if (n & 1) {
        *p = (uint8_t) (w0 >> 56);
    }
}

/* 57 or more bits of the stream from bit position pos, left-aligned. */
static inline uint64_t
peek(const uint8_t *p, uint64_t pos)
{
    return nlt_be64(p + (pos >> 3)) << (pos & 7);
}

static inline uint64_t
peek64(const uint8_t *p, uint64_t pos)
{
    unsigned used = (unsigned) (pos & 7);
    uint64_t w = peek(p, pos);

    /* Two shifts: one by 8 - used is not defined for the whole word. */
    return w | (uint64_t) p[(pos >> 3) + 8] >> 1 >> (7 - used);
}

/* A field of n bits at the top of w, in the format's asymmetric range. */
static inline int64_t
signed_field(uint64_t w, unsigned n)
{
    int64_t v = (int64_t) (w >> (64 - n));

    return v > INT64_C(1) << (n - 1) ? v - (INT64_C(1) << n) : v;
}

/* A delta of delta that is not 0: its first bit is set. */
static inline int64_t
decode_dod(const uint8_t *p, uint64_t *pos, uint64_t w)
{
    int64_t dod;

    if ((w >> 62) == 2) {
        dod = signed_field(w << 2, 14);
        *pos += 16;
    } else if ((w >> 61) == 6) {
        dod = signed_field(w << 3, 17);
        *pos += 20;
    } else if ((w >> 60) == 14) {
        dod = signed_field(w << 4, 20);
        *pos += 24;
    } else {
        dod = (int64_t) peek64(p, *pos + 4);
        *pos += 68;
    }
    return dod;
}

typedef struct {
    int64_t *t_ms;
    double *v;
    uint32_t i; /* samples decoded */
    bool odd;   /* a step was not in (0, NLT_XOR_STEP_MAX) */
    nlt_xor_state_t s;
} decoder_t;

/*
 * Decodes samples from bit position *pos of p until `count` are there or the
 * next one begins at or after bit `limit`; p must be readable for
 * DECODE_READ_MAX bytes from every byte before that.  False: corrupt.
 *
 * One load nearly always has a whole sample: 57 bits or more, of which `used`
 * are gone.
 */
static inline bool
decode_run(decoder_t *d, const uint8_t *p, uint64_t *pos_io, uint64_t limit,
           uint32_t count)
{
    uint64_t pos = *pos_io, v_bits = d->s.v_bits;
    int64_t t_ms = d->s.t_ms, delta = d->s.delta;
    /* Of the window; none yet: 0, which no window has. */
    unsigned width = 0, trailing = d->s.trailing;
    uint32_t i = d->i;
    bool ok = true, odd = d->odd;

    if (d->s.leading != 0xff) {
        width = 64u - d->s.leading - d->s.trailing;
    }
    while (i < count && pos < limit) {
        uint64_t w = peek(p, pos);
        unsigned used = 0;

        if (nlt_likely(i > 1)) {
            if ((int64_t) w >= 0) {
                w <<= 1;
                used = 1;
                pos += 1;
            } else {
                delta = (int64_t) ((uint64_t) delta
                                   + (uint64_t) decode_dod(p, &pos, w));
                odd |= delta <= 0 || delta >= NLT_XOR_STEP_MAX;
                w = peek(p, pos);
            }
            t_ms = (int64_t) ((uint64_t) t_ms + (uint64_t) delta);
        }
        d->t_ms[i] = t_ms;
        if ((int64_t) w >= 0) {
            pos += 1;
        } else {
            if ((w >> 62) == 3) {
                unsigned leading = (unsigned) (w >> 57) & 31;

                width = (unsigned) (w >> 51) & 63;
                width = width ? width : 64;
                if (nlt_unlikely(leading + width > 64)) {
                    ok = false;
                    break;
                }
                trailing = 64 - leading - width;
                w <<= 13;
                used += 13;
                pos += 13;
            } else {
                w <<= 2;
                used += 2;
                pos += 2;
            }
            if (nlt_unlikely(used + width > 57)) {
                w = peek64(p, pos);
            } else if (nlt_unlikely(width == 0)) {
                ok = false;
                break;
            }
            v_bits ^= w >> (64 - width) << trailing;
            pos += width;
        }
        d->v[i] = nlt_double_of(v_bits);
        i++;
    }
    d->s.t_ms = t_ms;
    d->s.delta = delta;
    d->s.v_bits = v_bits;
    if (width) {
        d->s.leading = (uint8_t) (64 - width - trailing);
        d->s.trailing = (uint8_t) trailing;
    }
    d->i = i;
    d->odd = odd;
    *pos_io = pos;
    return ok;
}

/* From bit position pos of the stream on, until `count` are there. */
static nlt_rc_t
decode_from(decoder_t *d, const uint8_t *p, size_t len, uint64_t pos,
            uint32_t count, uint64_t *n_bits)
{
    if (len >= DECODE_READ_MAX
        && !decode_run(d, p, &pos, (len - DECODE_READ_MAX + 1) * 8, count)) {
        return NLT_EDATA;
    }
    if (d->i < count) {
        uint8_t tail[2 * DECODE_READ_MAX] = {0};
        size_t base = (size_t) (pos >> 3);
        uint64_t tail_pos = pos & 7;

        if (base >= len) {
            return NLT_EDATA;
        }
        memcpy(tail, p + base, len - base);
        if (!decode_run(d, tail, &tail_pos, (len - base) * 8, count)) {
            return NLT_EDATA;
        }
        pos = (uint64_t) base * 8 + tail_pos;
    }
    if (d->i < count || pos > (uint64_t) len * 8) {
        return NLT_EDATA;
    }
    d->s.count = count;
    *n_bits = pos;
    return NLT_OK;
}

static nlt_rc_t
decode_all(decoder_t *d, const uint8_t *p, size_t len, uint32_t count,
           uint64_t *n_bits)
{
    nlt_reader_t r = nlt_reader(p, len);

    nlt_xor_state_init(&d->s);
    if (count > 0) {
        d->s.t_ms = nlt_read_varint(&r);
        d->s.v_bits = nlt_read_be64(&r);
        if (r.failed) {
            return NLT_EDATA;
        }
        d->t_ms[0] = d->s.t_ms;
        d->v[0] = nlt_double_of(d->s.v_bits);
        d->i = 1;
    }
    if (count > 1) {
        d->s.delta = (int64_t) nlt_read_uvarint(&r);
        d->s.t_ms = (int64_t) ((uint64_t) d->s.t_ms + (uint64_t) d->s.delta);
        d->odd = d->s.delta <= 0 || d->s.delta >= NLT_XOR_STEP_MAX;
        if (r.failed) {
            return NLT_EDATA;
        }
    }
    return decode_from(d, p, len, (uint64_t) (r.p - p) * 8, count, n_bits);
}

/* The steps say whether times rise, unless they could have wrapped around. */
static nlt_rc_t
check_rising(const decoder_t *d, uint32_t count)
{
    if (nlt_unlikely(d->odd || (count > 0 && d->t_ms[0] > INT64_MAX / 2))) {
        for (uint32_t i = 1; i < count; i++) {
            if (d->t_ms[i] <= d->t_ms[i - 1]) {
                return NLT_EORDER;
            }
        }
    }
    return NLT_OK;
}

nlt_rc_t
nlt_xor_decode(const uint8_t *p, size_t len, uint32_t count, int64_t *t_ms,
               double *v, nlt_xor_state_t *state, uint64_t *n_bits)
{
    decoder_t d = {.t_ms = t_ms, .v = v};
    uint64_t pos;
    nlt_rc_t rc = decode_all(&d, p, len, count, &pos);

    if (rc != NLT_OK) {
        return rc;
    }
    if (state) {
        *state = d.s;
    }
    if (n_bits) {
        *n_bits = pos;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_xor_decode_rising(const uint8_t *p, size_t len, uint32_t count,
                      int64_t *t_ms, double *v, nlt_xor_state_t *state,
                      uint64_t *n_bits)
{
    decoder_t d = {.t_ms = t_ms, .v = v};
    uint64_t pos;
    nlt_rc_t rc = decode_all(&d, p, len, count, &pos);

    if (rc == NLT_OK) {
        rc = check_rising(&d, count);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (state) {
        *state = d.s;
    }
    if (n_bits) {
        *n_bits = pos;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_xor_decode_rest(const uint8_t *p, size_t len, const nlt_xor_state_t *state,
                    uint64_t pos, uint32_t count, int64_t *t_ms, double *v)
{
    decoder_t d = {.t_ms = t_ms, .v = v, .i = state->count, .s = *state};
    nlt_rc_t rc = decode_from(&d, p, len, pos, count, &pos);

    return rc == NLT_OK ? check_rising(&d, count) : rc;
}

/*
 * The look-ahead encoder: plans the changing values of v[from, n).  Returns
 * the end of what is planned.
 */
static size_t
plan_windows(nlt_xor_plan_t *pl, const nlt_xor_state_t *s, const double *v,
             size_t from, size_t n, unsigned lookahead)
{
    nlt_xor_window_t before = NLT_XOR_WINDOW_NONE;
    size_t i = from, k = 0;

    for (; i < n && k < NLT_XOR_PLAN_MAX; i++) {
        uint64_t x = nlt_bits_of(v[i]) ^ nlt_bits_of(v[i - 1]);

        if (x) {
            pl->window[k++] = nlt_xor_window(leading_of(x), trailing_of(x));
        }
    }
    if (s->leading != 0xff) {
        before = nlt_xor_window(s->leading, s->trailing);
    }
    nlt_xor_plan(pl, k, before, lookahead + 1);
    return i;
}

/* A chunk that is written from its beginning to its end. */
typedef struct {
    uint8_t *p;
    uint64_t acc;  /* bits not yet written, from the highest on */
    unsigned used; /* of them, < 8; those are not at p for good */
} writer_t;

/* The highest n <= 56 bits of x; the others are zero. */
static inline void
write_bits(writer_t *w, uint64_t x, unsigned n)
{
    unsigned used = w->used + n;

    w->acc |= x >> w->used;
    nlt_put_be64(w->p, w->acc);
    w->p += used >> 3;
    w->acc <<= used & 56;
    w->used = used & 7;
}

/* The same of up to 64 bits. */
static inline void
write_long(writer_t *w, uint64_t x, unsigned n)
{
    if (nlt_unlikely(n > 56)) {
        write_bits(w, x & ~UINT64_C(0xff), 56);
        x <<= 56;
        n -= 56;
    }
    write_bits(w, x, n);
}

static inline void
write_sample(writer_t *w, const parts_t *x)
{
    if (nlt_likely(x->n_head + x->n_field <= 56)) {
        write_bits(w, x->head << (64 - x->n_head) | x->field >> x->n_head,
                   x->n_head + x->n_field);
        return;
    }
    write_bits(w, x->head << (64 - x->n_head), x->n_head);
    write_long(w, x->field, x->n_field);
}

static void
write_all(writer_t *w, const nlt_xor_bits_t *bits)
{
    for (unsigned i = 0, n = bits->n_bits; n > 0; i++) {
        unsigned k = n < 64 ? n : 64;

        write_long(w, bits->w[i], k);
        n -= k;
    }
}

size_t
nlt_xor_encode_chunk(const int64_t *t_ms, const double *v, size_t n,
                     unsigned lookahead, uint8_t *out)
{
    writer_t w = {.p = out + 2};
    nlt_xor_state_t s;
    nlt_xor_bits_t bits;
    nlt_xor_plan_t pl;
    size_t planned = 1, k = 0;

    nlt_put_be16(out, (uint16_t) n);
    nlt_xor_state_init(&s);
    if (lookahead > NLT_XOR_LOOKAHEAD_MAX) {
        lookahead = NLT_XOR_LOOKAHEAD_MAX;
    }
    nlt_xor_encode(&s, t_ms[0], nlt_bits_of(v[0]), &bits);
    write_all(&w, &bits);
    for (size_t i = 1; i < n; i++) {
        uint64_t v_bits = nlt_bits_of(v[i]);
        bool is_short;
        parts_t x;

        if (lookahead == 0) {
            is_short =
                encode_next(&s, t_ms[i], v_bits, false, 0, 0, &x, &bits);
        } else {
            if (i == planned) {
                planned = plan_windows(&pl, &s, v, i, n, lookahead);
                k = 0;
            }
            is_short =
                encode_next(&s, t_ms[i], v_bits, true, pl.window[k] & 0xffu,
                            pl.window[k] >> 8, &x, &bits);
            k += v_bits != nlt_bits_of(v[i - 1]);
        }
        if (nlt_unlikely(!is_short)) {
            write_all(&w, &bits);
        }
        write_sample(&w, &x);
    }
    return (size_t) (w.p - out) + (w.used > 0);
}

/*
 * Puts n_bits of in, which begin at a byte, at bit position pos of out; what
 * is behind them in their last byte becomes zero.  May write the byte after.
 */
static void
copy_bits(uint8_t *out, uint64_t pos, const uint8_t *in, uint64_t n_bits)
{
    unsigned used = (unsigned) (pos & 7), rest = (unsigned) (n_bits & 7);
    uint8_t *p = out + (pos >> 3);
    size_t n = (size_t) (n_bits >> 3), i = 0;

    if (used == 0) {
        memcpy(p, in, n);
        p[n] = (uint8_t) (rest ? in[n] & 0xff00u >> rest : 0);
        return;
    }
    *p &= (uint8_t) (0xff00u >> used);
    for (; i + 8 <= n; i += 8) {
        uint64_t w = nlt_be64(in + i);

        nlt_put_be64(p + i, (uint64_t) p[i] << 56 | w >> used);
        p[i + 8] = (uint8_t) (w << (8 - used));
    }
    for (; i < n; i++) {
        p[i] |= (uint8_t) (in[i] >> used);
        p[i + 1] = (uint8_t) (in[i] << (8 - used));
    }
    if (rest > 0) {
        unsigned last = in[n] & 0xff00u >> rest;

        p[n] |= (uint8_t) (last >> used);
        if (used + rest > 8) {
            p[n + 1] = (uint8_t) (last << (8 - used));
        }
    }
}

/* The time of a sample but the first two, as bits. */
static void
push_time(nlt_xor_state_t *s, int64_t t_ms, nlt_xor_bits_t *out)
{
    uint64_t step = (uint64_t) t_ms - (uint64_t) s->t_ms;
    unsigned n = 0;
    uint64_t dod = short_dod((int64_t) (step - (uint64_t) s->delta), &n);

    *out = (nlt_xor_bits_t){{0, 0, 0}, 0};
    if (n > 0) {
        push(out, dod, n);
    } else {
        encode_time(s, t_ms, out);
    }
}

static void
join_put(nlt_xor_join_t *j, const nlt_xor_bits_t *bits, uint8_t *out)
{
    nlt_xor_put(out, j->n_bits, bits);
    j->n_bits += bits->n_bits;
}

size_t
nlt_xor_join(nlt_xor_join_t *j, const uint8_t *p, const nlt_xor_state_t *end,
             uint64_t n_bits, const int64_t *t_ms, const double *v,
             uint8_t *out)
{
    nlt_xor_state_t *s = &j->s;
    uint32_t before = s->count;
    uint64_t from = 0; /* bit of p from which on it is copied */
    nlt_xor_bits_t bits;

    if (before > 0) {
        nlt_xor_encode(s, t_ms[0], nlt_bits_of(v[0]), &bits);
        join_put(j, &bits, out);
        from = n_bits;
    }
    if (before > 0 && end->count > 1) {
        nlt_reader_t r = nlt_reader(p, (size_t) (n_bits / 8));

        (void) nlt_read_varint(&r);
        (void) nlt_read_be64(&r);
        (void) nlt_read_uvarint(&r);
        from = 8 * (uint64_t) (r.p - p);
        push_time(s, t_ms[1], &bits);
        join_put(j, &bits, out);
    }
    copy_bits(out, j->n_bits, p + from / 8, n_bits - from);
    j->n_bits += n_bits - from;
    if (before == 0) {
        *s = *end;
    } else {
        s->delta = end->count > 1 ? end->delta : s->delta;
        s->t_ms = end->t_ms;
        s->v_bits = end->v_bits;
        s->count = before + end->count;
        if (end->leading != 0xff) {
            s->leading = end->leading;
            s->trailing = end->trailing;
        }
    }
    nlt_put_be16(out, (uint16_t) s->count);
    return (size_t) ((j->n_bits + 7) / 8);
}

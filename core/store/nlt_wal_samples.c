/*
 * nlt_wal_samples.c - the compact form of samples in the log.
 *
 * The writer must find out in a few ns whether a double is a short decimal.
 * v * 10^e is within two units of its last place of an integer if v is a
 * decimal of e places; only then is the division worth its price, and the
 * division alone decides.  A value that is near no integer at 10^9 has no
 * short decimal form at all and goes raw after one multiplication.
 */
#include <math.h>

#include "nlt_wal_samples.h"

#define HAS_SERIES 0x80u
#define HAS_TIME   0x40u
#define CLASS_MASK 0x3fu

enum {
    CLASS_E0 = 0,
    CLASS_E3 = 9,
    CLASS_E6 = 18,
    CLASS_EX = 27,
    CLASS_SAME = 36,
    CLASS_STALE = 37,
    CLASS_NAN = 38,
    CLASS_INF = 39,
    CLASS_NEG_INF = 40,
    CLASS_RAW = 40, /* + 1..8 bytes */
    CLASS_END = 49
};

#define EXPONENT_MAX 22 /* 10^22 is the last power that a double holds */

#define INF_BITS     UINT64_C(0x7ff0000000000000)
#define NEG_INF_BITS UINT64_C(0xfff0000000000000)

/* Integers up to here are doubles, and M stays below it. */
#define MANTISSA_MAX 9007199254740992.0

static const double powers[EXPONENT_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Bytes that hold m in two's complement; 0 for 0. */
static inline unsigned
int_bytes(int64_t m)
{
    uint64_t u = (uint64_t) (m ^ (m >> 63));

    return m ? (unsigned) (64 - __builtin_clzll(u | 1) + 8) / 8 : 0;
}

static inline void
put8(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof(v));
}

/* Is v the quotient of a whole number and scale = 10^e? */
static inline bool
decimal_of(double v, double scale, int64_t *m)
{
    double d = v * scale, whole;

    if (!(fabs(d) < MANTISSA_MAX)) {
        return false;
    }
    *m = (int64_t) llrint(d);
    whole = (double) *m;
    if (fabs(d - whole) > fabs(d) * 0x1p-51) {
        return false;
    }
    return nlt_bits_of(whole / scale) == nlt_bits_of(v);
}

/* A finite value; *n is the bytes written at p.  Returns the class. */
static inline unsigned
value_put(uint8_t *p, uint64_t bits, size_t *n)
{
    double v = nlt_double_of(bits);
    unsigned raw = bits ? 8 - (unsigned) __builtin_ctzll(bits) / 8 : 0;
    unsigned base, size;
    int64_t m = 0;

    if (fabs(v) < 0x1p62) {
        m = (int64_t) v;
        size = int_bytes(m);
        if (size <= raw && nlt_bits_of((double) m) == bits) {
            put8(p, (uint64_t) m);
            *n = size;
            return CLASS_E0 + size;
        }
    }
    base = CLASS_END;
    if (raw > 2 && fabs(v) < MANTISSA_MAX / 1e3) {
        if (decimal_of(v, 1e3, &m)) {
            base = CLASS_E3;
        } else if (decimal_of(v, 1e6, &m)) {
            base = CLASS_E6;
        } else if (decimal_of(v, 1e9, &m)) {
            base = CLASS_EX;
        }
    }
    if (base != CLASS_END) {
        size = int_bytes(m);
        if (base == CLASS_EX && size + 1 <= raw) {
            p[0] = 9;
            put8(p + 1, (uint64_t) m);
            *n = size + 1;
            return CLASS_EX + size;
        }
        if (base != CLASS_EX && size <= raw) {
            put8(p, (uint64_t) m);
            *n = size;
            return base + size;
        }
    }
    put8(p, bits >> (64 - 8 * raw));
    *n = raw;
    return CLASS_RAW + raw;
}

size_t
nlt_wal_sample_put(nlt_wal_prev_t *prev, uint8_t *p, uint32_t series,
                   int64_t t_ms, uint64_t v_bits)
{
    uint8_t *q = p + 1;
    unsigned control = 0;
    size_t n = 0;

    if (series != prev->series + 1) {
        control |= HAS_SERIES;
        q += nlt_put_varint(q, (int64_t) series - (int64_t) prev->series);
    }
    if (t_ms != prev->t_ms) {
        control |= HAS_TIME;
        /* Modulo 2^64: any two times have a difference. */
        q += nlt_put_varint(
            q, (int64_t) ((uint64_t) t_ms - (uint64_t) prev->t_ms));
    }
    if (v_bits == prev->v_bits) {
        control |= CLASS_SAME;
    } else if (nlt_unlikely((v_bits & INF_BITS) == INF_BITS)) {
        if (v_bits == NLT_STALE_NAN_BITS) {
            control |= CLASS_STALE;
        } else if (v_bits == NLT_NORMAL_NAN_BITS) {
            control |= CLASS_NAN;
        } else if (v_bits == INF_BITS) {
            control |= CLASS_INF;
        } else if (v_bits == NEG_INF_BITS) {
            control |= CLASS_NEG_INF;
        } else {
            control |= CLASS_RAW + 8;
            put8(q, v_bits);
            n = 8;
        }
    } else {
        control |= value_put(q, v_bits, &n);
    }
    p[0] = (uint8_t) control;
    *prev = (nlt_wal_prev_t){series, t_ms, v_bits};
    return (size_t) (q - p) + n;
}

/* n bytes, little-endian, sign-extended. */
static int64_t
read_int(nlt_reader_t *r, unsigned n)
{
    const uint8_t *p = nlt_read_bytes(r, n);
    uint64_t v = 0;

    if (p == NULL || n == 0) {
        return 0;
    }
    for (unsigned i = 0; i < n; i++) {
        v |= (uint64_t) p[i] << (8 * i);
    }
    return (int64_t) (v << (64 - 8 * n)) >> (64 - 8 * n);
}

static uint64_t
value_get(nlt_reader_t *r, unsigned class, uint64_t before)
{
    static const uint64_t fixed[] = {NLT_STALE_NAN_BITS, NLT_NORMAL_NAN_BITS,
                                     INF_BITS, NEG_INF_BITS};
    unsigned e;

    if (class < CLASS_EX) {
        e = class / 9 * 3;
        return nlt_bits_of((double) read_int(r, class % 9) / powers[e]);
    }
    if (class < CLASS_SAME) {
        e = nlt_read_u8(r);
        if (e > EXPONENT_MAX) {
            r->failed = true;
            return 0;
        }
        return nlt_bits_of((double) read_int(r, class - CLASS_EX) / powers[e]);
    }
    if (class == CLASS_SAME) {
        return before;
    }
    if (class <= CLASS_NEG_INF) {
        return fixed[class - CLASS_STALE];
    }
    e = class - CLASS_RAW;
    return (uint64_t) read_int(r, e) << (64 - 8 * e);
}

nlt_rc_t
nlt_wal_sample_get(nlt_wal_prev_t *prev, nlt_reader_t *r,
                   nlt_wal_sample_t *out)
{
    unsigned control = nlt_read_u8(r);
    int64_t series = (int64_t) prev->series + 1;
    uint64_t delta;

    if (control & HAS_SERIES) {
        delta = nlt_read_uvarint(r);
        /* 33 bits and the sign span every pair of 32-bit numbers. */
        if (delta >> 34) {
            r->failed = true;
            delta = 0;
        }
        series = (int64_t) prev->series + nlt_unzigzag(delta);
    }
    out->t_ms = prev->t_ms;
    if (control & HAS_TIME) {
        delta = (uint64_t) nlt_read_varint(r);
        out->t_ms = (int64_t) ((uint64_t) prev->t_ms + delta);
    }
    if ((control & CLASS_MASK) >= CLASS_END || series < 1
        || series > UINT32_MAX) {
        r->failed = true;
    }
    if (r->failed) {
        return NLT_EDATA;
    }
    out->series = (uint32_t) series;
    out->v_bits = value_get(r, control & CLASS_MASK, prev->v_bits);
    if (r->failed) {
        return NLT_EDATA;
    }
    *prev = (nlt_wal_prev_t){out->series, out->t_ms, out->v_bits};
    return NLT_OK;
}

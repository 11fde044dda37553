/*
 * nlt_decimal.c - shortest decimals, and correctly rounded doubles.
 *
 * Both directions need powers of ten to 128 bits.  They are not stored: 26
 * powers, every 27th, are kept to 192 bits, and one of them times a power of
 * five that fits in 64 bits gives any 10^k from 1e-342 to 1e324 with its top
 * 128 bits exact (the unit test recomputes all 667 with long arithmetic).
 *
 * Printing is Raffaello Giulietti's Schubfach: of the decimals in the
 * interval that rounds to v there are at most four candidates worth a look,
 * two in each of two neighbouring decades, and scaled by one multiplication
 * with a power of ten, rounded to odd, they can be told apart in 64 bits.
 *
 * Reading multiplies the first 19 digits by a power of ten to 192 bits.  The
 * power is cut off, so the product may be too small by less than one in its
 * 128th bit; whenever that could change the rounding, or digits were left
 * out, or the result is subnormal, long arithmetic decides.
 */
#include "nlt_decimal.h"

#include <math.h>

typedef unsigned __int128 u128_t;

#define POWER_MIN  (-342)
#define POWER_MAX  324
#define POWER_STEP 27

/* 10^(27 i - 351), the top 192 bits, highest word first. */
static const uint64_t powers[26][3] = {
    {0x8049a4ac0c5811ae, 0x205b896d777d6278, 0xac261e9f5141430b},
    {0xcf42894a5dce35ea, 0x52064cac828675b9, 0x475f2b7d7df1ad7a},
    {0xa76c582338ed2621, 0xaf2af2b80af6f24e, 0x657c8f4d43323a36},
    {0x873e4f75e2224e68, 0x5a7744a6e804a291, 0xcc35eddfcf0996d7},
    {0xda7f5bf590966848, 0xaf39a475506a899e, 0xa30294cc2934e662},
    {0xb080392cc4349dec, 0xbd8d794d96aacfb3, 0xfe13a5c86af64418},
    {0x8e938662882af53e, 0x547eb47b7282ee9c, 0x41b0230e1421487d},
    {0xe65829b3046b0afa, 0x0cb4a5a3112a5112, 0xa3b561b1cb208396},
    {0xba121a4650e4ddeb, 0x92f34d62616ce413, 0x21a0183e10583cd3},
    {0x964e858c91ba2655, 0x3a6a07f8d510f86f, 0xe9082f25e9c5e9ec},
    {0xf2d56790ab41c2a2, 0xfae27299423fb9c3, 0x3695dad7e8858901},
    {0xc428d05aa4751e4c, 0xaa97e14c3c26b886, 0x96842dc95323f5a8},
    {0x9e74d1b791e07e48, 0x775ea264cf55347d, 0xca49f1c05120c9c7},
    {0x8000000000000000, 0x0000000000000000, 0x0000000000000000},
    {0xcecb8f27f4200f3a, 0x0000000000000000, 0x0000000000000000},
    {0xa70c3c40a64e6c51, 0x999090b65f67d924, 0x0000000000000000},
    {0x86f0ac99b4e8dafd, 0x69a028bb3ded71a3, 0xdf9f915627c04e28},
    {0xda01ee641a708de9, 0xe80e6f4820cc9495, 0xd74baad03bc1d8d3},
    {0xb01ae745b101e9e4, 0x5ec05dcff72e7f8f, 0xc04c79ffe324301f},
    {0x8e41ade9fbebc27d, 0x14588f13be847307, 0x23bd6a2059c002f5},
    {0xe5d3ef282a242e81, 0x8f1668c8a86da5fa, 0xf0b5ccf5176ecc7c},
    {0xb9a74a0637ce2ee1, 0x6d953e2bd7173692, 0x88efb0037ac08bde},
    {0x95f83d0a1fb69cd9, 0x4abdaf101564f98e, 0x0d5a4af7b3a98e47},
    {0xf24a01a73cf2dccf, 0xbc633b39673c8cec, 0x3d9c44cd2f36917c},
    {0xc3b8358109e84f07, 0x0a862f80ec4700c8, 0x02606ea01029dc37},
    {0x9e19db92b4e31ba9, 0x6c07a2c26a8346d1, 0x4944d9f52cd0dec2},
};

static const uint64_t fives[POWER_STEP] = {
    0x1,
    0x5,
    0x19,
    0x7d,
    0x271,
    0xc35,
    0x3d09,
    0x1312d,
    0x5f5e1,
    0x1dcd65,
    0x9502f9,
    0x2e90edd,
    0xe8d4a51,
    0x48c27395,
    0x16bcc41e9,
    0x71afd498d,
    0x2386f26fc1,
    0xb1a2bc2ec5,
    0x3782dace9d9,
    0x1158e460913d,
    0x56bc75e2d631,
    0x1b1ae4d6e2ef5,
    0x878678326eac9,
    0x2a5a058fc295ed,
    0xd3c21bcecceda1,
    0x422ca8b0a00a425,
    0x14adf4b7320334b9,
};

/* floor(log2(10^e)) and floor(log10(2^e)), for |e| <= 1233 and 1500. */
static inline int
log2_of_power_of_10(int e)
{
    return (e * 1741647) >> 19;
}

static inline int
log10_of_power_of_2(int e)
{
    return (e * 1262611) >> 22;
}

/* floor(log10(3/4 * 2^e)) */
static inline int
log10_of_three_quarters(int e)
{
    return (e * 1262611 - 524031) >> 22;
}

/*
 * 10^k = p * 2^(floor(log2(10^k)) - 127): the top 128 bits, rest cut off.
 */
static inline u128_t
power_of_10(int k)
{
    unsigned i = (unsigned) (k + 13 * POWER_STEP);
    const uint64_t *b = powers[i / POWER_STEP];
    uint64_t five = fives[i % POWER_STEP];
    u128_t low = (u128_t) b[2] * five;
    u128_t mid = (u128_t) b[1] * five + (uint64_t) (low >> 64);
    u128_t top = (u128_t) b[0] * five + (uint64_t) (mid >> 64);

    /* five is below 2^63 and b[0] at least that: 1 to 64 zeros. */
    uint64_t word = (uint64_t) (top >> 64);
    int zeros = word == 0 ? 64 : __builtin_clzll(word);

    return top << zeros | (uint64_t) mid >> (64 - zeros);
}

void
nlt_decimal_power(int k, uint64_t *hi, uint64_t *lo)
{
    u128_t p = power_of_10(k);

    *hi = (uint64_t) (p >> 64);
    *lo = (uint64_t) p;
}

/* The integer part of p * c / 2^128, its last bit set if there was a rest. */
static inline uint64_t
scale_to_odd(u128_t p, uint64_t c)
{
    u128_t low = (u128_t) (uint64_t) p * c;
    u128_t top = (u128_t) (uint64_t) (p >> 64) * c + (uint64_t) (low >> 64);

    return (uint64_t) (top >> 64) | ((uint64_t) top > 1);
}

/* The same for a power that is the top 64 bits of p and 1 in the last. */
static inline uint64_t
scale_short_to_odd(uint64_t p, uint64_t c)
{
    u128_t top = (u128_t) p * c;

    return (uint64_t) (top >> 64) | ((uint64_t) top > 1);
}

/* Drops zeros at the end of d, which is not 0. */
static inline nlt_decimal_t
strip_zeros(uint64_t d, int exp10)
{
    while (d % 10 == 0) {
        if (d % 10000 == 0) {
            d /= 10000;
            exp10 += 4;
        } else {
            d /= 10;
            exp10++;
        }
    }
    return (nlt_decimal_t){d, exp10};
}

nlt_decimal_t
nlt_decimal_shortest(double v)
{
    uint64_t bits = nlt_bits_of(v);
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int biased = (int) (bits >> 52 & 0x7ff);
    uint64_t c = biased ? fraction | UINT64_C(1) << 52 : fraction;
    int q = biased ? biased - 1075 : -1074;

    /* Integers: their digits are there already. */
    if (q <= 0 && q > -53 && (c & ((UINT64_C(1) << -q) - 1)) == 0) {
        return strip_zeros(c >> -q, 0);
    }
    /*
     * v = c * 2^q lies in (lower, upper), whose ends round to even c.  All
     * three times 4, so that the ends are integers; below a power of two the
     * neighbour is nearer.
     */
    bool nearer = fraction == 0 && biased > 1;
    uint64_t outside = c & 1;
    uint64_t lower = 4 * c - (nearer ? 1 : 2);
    uint64_t upper = 4 * c + 2;
    int k = nearer ? log10_of_three_quarters(q) : log10_of_power_of_2(q);
    int shift = q + log2_of_power_of_10(-k) + 1;
    uint64_t lo, mid, hi;

    if (nlt_likely((unsigned) -k < POWER_STEP)) {
        /* 1e-10 to 1e16 and more: the power is 5^-k and zeros. */
        uint64_t p = fives[-k] << __builtin_clzll(fives[-k]);

        lo = scale_short_to_odd(p, lower << shift) + outside;
        mid = scale_short_to_odd(p, (4 * c) << shift);
        hi = scale_short_to_odd(p, upper << shift) - outside;
    } else {
        u128_t p = power_of_10(-k) + 1;

        lo = scale_to_odd(p, lower << shift) + outside;
        mid = scale_to_odd(p, (4 * c) << shift);
        hi = scale_to_odd(p, upper << shift) - outside;
    }
    uint64_t s = mid / 4;

    /* One digit less: at most one of two neighbours is inside. */
    if (s >= 10) {
        uint64_t s10 = s / 10;
        bool below = lo <= 40 * s10;
        bool above = 40 * s10 + 40 <= hi;

        if (below != above) {
            return strip_zeros(s10 + above, k + 1);
        }
    }
    bool below = lo <= 4 * s;
    bool above = 4 * s + 4 <= hi;

    if (below != above) {
        return strip_zeros(s + above, k);
    }
    /* Both are: the closer one, the even one if equally close. */
    uint64_t half = 4 * s + 2;
    bool up = mid > half || (mid == half && (s & 1));

    return strip_zeros(s + up, k);
}

/*
 * Long arithmetic: natural numbers of a bounded length, least word first.
 * The longest number here is 801 digits or a double's mantissa times 5^1143,
 * shifted by less than 2200 bits.
 */
#define LONG_WORDS 96

typedef struct {
    size_t n; /* words, the highest is not 0 */
    uint64_t w[LONG_WORDS];
} long_t;

static void
long_mul_add(long_t *a, uint64_t by, uint64_t plus)
{
    uint64_t carry = plus;

    for (size_t i = 0; i < a->n; i++) {
        u128_t x = (u128_t) a->w[i] * by + carry;

        a->w[i] = (uint64_t) x;
        carry = (uint64_t) (x >> 64);
    }
    if (carry > 0 && a->n < LONG_WORDS) {
        a->w[a->n++] = carry;
    }
}

static void
long_mul_power_of_5(long_t *a, unsigned e)
{
    for (; e >= POWER_STEP - 1; e -= POWER_STEP - 1) {
        long_mul_add(a, fives[POWER_STEP - 1], 0);
    }
    long_mul_add(a, fives[e], 0);
}

static void
long_shift(long_t *a, unsigned bits)
{
    size_t words = bits / 64;

    long_mul_add(a, UINT64_C(1) << bits % 64, 0);
    if (a->n == 0 || a->n + words > LONG_WORDS) {
        return;
    }
    memmove(a->w + words, a->w, a->n * sizeof(a->w[0]));
    memset(a->w, 0, words * sizeof(a->w[0]));
    a->n += words;
}

static int
long_cmp(const long_t *a, const long_t *b)
{
    if (a->n != b->n) {
        return a->n < b->n ? -1 : 1;
    }
    for (size_t i = a->n; i-- > 0;) {
        if (a->w[i] != b->w[i]) {
            return a->w[i] < b->w[i] ? -1 : 1;
        }
    }
    return 0;
}

/* Compares d * 10^exp10 with m * 2^exp2. */
static int
compare(const long_t *d, int exp10, uint64_t m, int exp2)
{
    long_t a = *d;
    long_t b = {1, {m}};
    int shift = exp10 - exp2;

    if (exp10 >= 0) {
        long_mul_power_of_5(&a, (unsigned) exp10);
    } else {
        long_mul_power_of_5(&b, (unsigned) -exp10);
    }
    if (shift >= 0) {
        long_shift(&a, (unsigned) shift);
    } else {
        long_shift(&b, (unsigned) -shift);
    }
    return long_cmp(&a, &b);
}

/* Digits beyond these matter only by being there: 767 decide any double. */
#define DIGITS_MAX 800

/* All digits of s as a number, and the exponent of its last digit. */
static void
read_long(nlt_str_t s, int64_t *exp10, long_t *d)
{
    unsigned n = 0;
    bool point = false, rest = false;

    d->n = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint64_t digit = (uint64_t) (unsigned char) s.data[i] - '0';

        if (s.data[i] == '.') {
            point = true;
            continue;
        }
        if (n >= DIGITS_MAX) {
            rest = rest || digit != 0;
            *exp10 += point ? 0 : 1;
            continue;
        }
        n += n > 0 || digit > 0;
        long_mul_add(d, 10, digit);
        *exp10 -= point ? 1 : 0;
    }
    if (rest) {
        long_mul_add(d, 10, 1);
        *exp10 -= 1;
    }
}

/* m * 2^exp2; m has at most 53 bits, or is 2^53. */
static double
make_double(uint64_t m, int exp2)
{
    return ldexp((double) m, exp2);
}

/*
 * The double nearest to the number in s, given floor, a lower bound: m *
 * 2^exp2 with 53 bits in m (fewer if subnormal), at most a few steps away.
 */
static double
read_slow(nlt_str_t s, int64_t exp10, uint64_t m, int exp2)
{
    long_t d;
    int order;

    read_long(s, &exp10, &d);
    while (compare(&d, (int) exp10, m + 1, exp2) >= 0) {
        m++;
    }
    order = compare(&d, (int) exp10, 2 * m + 1, exp2 - 1);
    if (order > 0 || (order == 0 && (m & 1))) {
        m++;
    }
    return make_double(m, exp2);
}

typedef struct {
    uint64_t w;    /* the first 19 significant digits */
    int64_t exp10; /* of the last of them */
    bool more;     /* others than 0 follow */
} lead_t;

static lead_t
read_lead(nlt_str_t s, int64_t exp10)
{
    lead_t l = {0, exp10, false};
    unsigned n = 0;
    size_t i = 0;

    for (; i < s.len && s.data[i] != '.'; i++) {
        unsigned digit = (unsigned char) s.data[i] - (unsigned) '0';

        if (n < 19) {
            l.w = l.w * 10 + digit;
            n += l.w > 0;
        } else {
            l.more = l.more || digit != 0;
            l.exp10++;
        }
    }
    for (i++; i < s.len; i++) {
        unsigned digit = (unsigned char) s.data[i] - (unsigned) '0';

        if (n < 19) {
            l.w = l.w * 10 + digit;
            n += l.w > 0;
            l.exp10--;
        } else {
            l.more = l.more || digit != 0;
        }
    }
    return l;
}

double
nlt_decimal_read(nlt_str_t s, int64_t exp10)
{
    static const double tens[] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    lead_t l = read_lead(s, exp10);

    if (l.w == 0 || l.exp10 < POWER_MIN) {
        if (l.w == 0 || l.exp10 < POWER_MIN - 19) {
            return 0;
        }
        return read_slow(s, exp10, 0, -1074);
    }
    if (l.exp10 > 308) {
        return (double) INFINITY;
    }
    /* Both factors are exact, so one rounding is all there is. */
    if (!l.more && l.w <= UINT64_C(1) << 53 && l.exp10 >= -22
        && l.exp10 <= 22) {
        return l.exp10 < 0 ? (double) l.w / tens[-l.exp10]
                           : (double) l.w * tens[l.exp10];
    }
    int e = (int) l.exp10;
    int zeros = __builtin_clzll(l.w);
    u128_t p = power_of_10(e);
    uint64_t w = l.w << zeros;
    u128_t low = (u128_t) (uint64_t) p * w;
    u128_t top = (u128_t) (uint64_t) (p >> 64) * w + (uint64_t) (low >> 64);

    /* The number is in [top, top + 1] * 2^exp2, and more if digits follow. */
    int exp2 = log2_of_power_of_10(e) - 127 + 64 - zeros;

    if (top >> 127 == 0) {
        top <<= 1; /* the bit shifted in counts as unknown */
        exp2--;
    }
    exp2 += 75;
    uint64_t m = (uint64_t) (top >> 75);

    if (exp2 > 971) {
        return (double) INFINITY;
    }
    if (exp2 < -1074) {
        unsigned cut = (unsigned) (-1074 - exp2);

        return read_slow(s, exp10, cut > 63 ? 0 : m >> cut, -1074);
    }
    u128_t half = (u128_t) 1 << 74;
    u128_t rest = top & (half * 2 - 1);
    /* What top may be too small by: bits cut off, and digits left out. */
    u128_t slack = 2 + (l.more ? (u128_t) 1 << 70 : 0);

    if (rest > half) {
        m++;
    } else if (rest + slack >= half) {
        return read_slow(s, exp10, m, exp2);
    }
    return make_double(m, exp2);
}

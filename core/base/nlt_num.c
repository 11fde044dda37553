/*
 * nlt_num.c - layouts of numbers, and their syntax.
 *
 * What digits a double has is decided in nlt_decimal.c; here they are laid
 * out in Go's forms and read back from them.
 */
#include "nlt_num.h"

#include <math.h>
#include <stdio.h>

#include "nlt_bytes.h"
#include "nlt_decimal.h"

/* A double taken apart for printing: 0.d1d2d3.. * 10^point. */
typedef struct {
    char room[2 * NLT_DIGITS_ROOM]; /* all of it may be read */
    const char *d; /* in room, digits of them; none for zero */
    unsigned n;
    int point;
    bool negative;
} digits_t;

static void
digits_of(digits_t *g, double v)
{
    double a = fabs(v);
    nlt_decimal_t dec;
    unsigned at;

    g->negative = signbit(v) != 0;
    g->d = g->room;
    g->n = 0;
    g->point = 1;
    if (a == 0) {
        return;
    }
    dec = nlt_decimal_shortest(a);
    at = nlt_put_digits(g->room, dec.digits);
    g->d = g->room + at;
    g->n = NLT_DIGITS_ROOM - at;
    g->point = dec.exp10 + (int) g->n;
}

/* The names of what is not finite; 0 when v is. */
static size_t
put_special(char *out, double v)
{
    if (nlt_likely(isfinite(v))) {
        return 0;
    }
    if (isnan(v)) {
        memcpy(out, "NaN", 3);
        return 3;
    }
    memcpy(out, v > 0 ? "+Inf" : "-Inf", 4);
    return 4;
}

static size_t
put_exponent(char *out, const digits_t *g)
{
    size_t n = 0;
    int exp = g->n > 0 ? g->point - 1 : 0;
    unsigned e = (unsigned) (exp < 0 ? -exp : exp);

    if (g->negative) {
        out[n++] = '-';
    }
    out[n++] = g->n > 0 ? g->d[0] : '0';
    if (g->n > 1) {
        out[n++] = '.';
        memcpy(out + n, g->d + 1, g->n - 1);
        n += g->n - 1;
    }
    out[n++] = 'e';
    out[n++] = exp < 0 ? '-' : '+';
    if (e >= 100) {
        out[n++] = (char) ('0' + e / 100);
    }
    out[n++] = (char) ('0' + e / 10 % 10);
    out[n++] = (char) ('0' + e % 10);
    return n;
}

/* At most 17 digits, as one block: what is behind them does not matter. */
static inline void
put_block(char *out, const char *digits)
{
    memcpy(out, digits, NLT_DIGITS_ROOM);
}

static size_t
put_plain(char *out, const digits_t *g)
{
    size_t n = 0;

    if (g->negative) {
        out[n++] = '-';
    }
    if (g->n == 0) {
        out[n++] = '0';
    } else if (g->point <= 0) {
        size_t zeros = (size_t) -g->point;

        memcpy(out + n, "0.", 2);
        n += 2;
        memset(out + n, '0', zeros);
        n += zeros;
        put_block(out + n, g->d);
        n += g->n;
    } else if ((unsigned) g->point >= g->n) {
        size_t zeros = (unsigned) g->point - g->n;

        put_block(out + n, g->d);
        n += g->n;
        memset(out + n, '0', zeros);
        n += zeros;
    } else {
        unsigned whole = (unsigned) g->point;

        put_block(out + n, g->d);
        n += whole;
        out[n++] = '.';
        put_block(out + n, g->d + whole);
        n += g->n - whole;
    }
    return n;
}

/* Integers below this have their digits in 53 bits. */
#define WHOLE_MAX 9007199254740992.0

/* An integer that is not 0, and below WHOLE_MAX. */
static size_t
put_whole(char *out, double v)
{
    char room[2 * NLT_DIGITS_ROOM];
    unsigned at = nlt_put_digits(room, (uint64_t) fabs(v));
    size_t n = 0;

    if (v < 0) {
        out[n++] = '-';
    }
    put_block(out + n, room + at);
    return n + NLT_DIGITS_ROOM - at;
}

size_t
nlt_num_sample(char *out, double v)
{
    digits_t g;
    double a = fabs(v);
    size_t n;

    if (a < WHOLE_MAX && a >= 1 && (double) (int64_t) v == v) {
        return put_whole(out, v);
    }
    n = put_special(out, v);
    if (n > 0) {
        return n;
    }
    digits_of(&g, v);
    if (a != 0 && (a < 1e-6 || a >= 1e21)) {
        return put_exponent(out, &g);
    }
    return put_plain(out, &g);
}

size_t
nlt_num_g(char *out, double v)
{
    digits_t g;
    size_t n = put_special(out, v);

    if (n > 0) {
        return n;
    }
    digits_of(&g, v);
    if (g.n > 0 && (g.point - 1 < -4 || g.point - 1 >= 6)) {
        return put_exponent(out, &g);
    }
    return put_plain(out, &g);
}

size_t
nlt_num_plain(char *out, double v)
{
    digits_t g;
    size_t n = put_special(out, v);

    if (n > 0) {
        return n;
    }
    digits_of(&g, v);
    return put_plain(out, &g);
}

size_t
nlt_num_fixed(char *out, double v, unsigned digits)
{
    size_t n = put_special(out, v);
    int len;

    if (n > 0) {
        return n;
    }
    if (digits > 20) {
        digits = 20;
    }
    /* glibc is exact here, but its point depends on the locale. */
    len = snprintf(out, NLT_NUM_PLAIN_MAX, "%.*f", (int) digits, v);
    if (len < 0 || len >= NLT_NUM_PLAIN_MAX) {
        return 0;
    }
    while (out[n] == '-' || (out[n] >= '0' && out[n] <= '9')) {
        n++;
    }
    if (digits > 0) {
        out[n++] = '.';
        memmove(out + n, out + (size_t) len - digits, digits);
        n += digits;
    }
    return n;
}

static inline bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c + 32) : c;
}

/* Is s the ASCII word w in any case? */
static bool
is_word(nlt_str_t s, nlt_str_t w)
{
    if (s.len != w.len) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (lower(s.data[i]) != w.data[i]) {
            return false;
        }
    }
    return true;
}

/*
 * Reads [+-]digits to the end of s; false when there is anything else.  Far
 * beyond what an exponent can mean it saturates.
 */
static bool
read_exponent(nlt_str_t s, int64_t *out)
{
    size_t i = 0;
    bool negative = false;
    int64_t e = 0;

    if (i < s.len && (s.data[i] == '+' || s.data[i] == '-')) {
        negative = s.data[i++] == '-';
    }
    if (i == s.len) {
        return false;
    }
    for (; i < s.len; i++) {
        if (!is_digit(s.data[i])) {
            return false;
        }
        if (e < INT64_C(100000000)) {
            e = e * 10 + (s.data[i] - '0');
        }
    }
    *out = negative ? -e : e;
    return true;
}

/* mantissa * 2^exp2, rounded to nearest even; sticky: bits were lost. */
static double
round_binary(uint64_t mantissa, int64_t exp2, bool sticky)
{
    int64_t top, cut;
    uint64_t kept, rest, half;

    if (mantissa == 0) {
        return 0;
    }
    /* The bits below what a double of this magnitude can hold go. */
    top = exp2 + 63 - __builtin_clzll(mantissa);
    if (top > 1023) {
        return (double) INFINITY;
    }
    cut = (top >= -1022 ? top - 52 : -1074) - exp2;
    if (cut <= 0) {
        return ldexp((double) mantissa, (int) exp2);
    }
    if (cut > 64) {
        return 0;
    }
    kept = cut == 64 ? 0 : mantissa >> cut;
    rest = cut == 64 ? mantissa : mantissa & ((UINT64_C(1) << cut) - 1);
    half = UINT64_C(1) << (cut - 1);
    if (rest > half || (rest == half && (sticky || (kept & 1)))) {
        kept++;
    }
    return ldexp((double) kept, (int) (exp2 + cut));
}

/* What follows 0x: the exponent is obligatory, as in Go. */
static int
parse_hex(nlt_str_t s, double *v)
{
    uint64_t mantissa = 0;
    int64_t exp2 = 0, exponent;
    bool sticky = false, any = false, point = false;
    size_t i;

    for (i = 0; i < s.len; i++) {
        int x = nlt_hex_digit(s.data[i]);

        if (s.data[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (x < 0) {
            break;
        }
        any = true;
        if (mantissa >> 60 == 0) {
            mantissa = mantissa << 4 | (unsigned) x;
            exp2 -= point ? 4 : 0;
        } else {
            sticky = sticky || x != 0;
            exp2 += point ? 0 : 4;
        }
    }
    if (!any || i == s.len || lower(s.data[i]) != 'p'
        || !read_exponent((nlt_str_t){s.len - i - 1, s.data + i + 1},
                          &exponent)) {
        return 1;
    }
    *v = round_binary(mantissa, exp2 + exponent, sticky);
    return isinf(*v) ? 2 : 0;
}

static int
parse_decimal(nlt_str_t s, double *v)
{
    int64_t exp10 = 0;
    bool any = false, point = false;
    size_t i;

    for (i = 0; i < s.len; i++) {
        if (is_digit(s.data[i])) {
            any = true;
        } else if (s.data[i] == '.' && !point) {
            point = true;
        } else {
            break;
        }
    }
    if (!any) {
        return 1;
    }
    if (i < s.len
        && (lower(s.data[i]) != 'e'
            || !read_exponent((nlt_str_t){s.len - i - 1, s.data + i + 1},
                              &exp10))) {
        return 1;
    }
    *v = nlt_decimal_read((nlt_str_t){i, s.data}, exp10);
    return isinf(*v) ? 2 : 0;
}

int
nlt_num_parse(nlt_str_t s, double *v)
{
    bool negative = false;
    int rc;

    *v = 0;
    if (is_word(s, NLT_STR("nan"))) {
        *v = nlt_double_of(NLT_NORMAL_NAN_BITS);
        return 0;
    }
    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+')) {
        negative = s.data[0] == '-';
        s.data++;
        s.len--;
    }
    if (is_word(s, NLT_STR("inf")) || is_word(s, NLT_STR("infinity"))) {
        *v = (double) INFINITY;
        rc = 0;
    } else if (s.len > 2 && s.data[0] == '0' && lower(s.data[1]) == 'x') {
        rc = parse_hex((nlt_str_t){s.len - 2, s.data + 2}, v);
    } else {
        rc = parse_decimal(s, v);
    }
    if (negative) {
        *v = -*v;
    }
    return rc;
}

bool
nlt_num_parse_i64(nlt_str_t s, int64_t *v)
{
    bool negative = false;
    uint64_t u = 0;
    size_t i = 0;

    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+')) {
        negative = s.data[0] == '-';
        i = 1;
    }
    if (i == s.len) {
        return false;
    }
    for (; i < s.len; i++) {
        if (!is_digit(s.data[i])
            || __builtin_mul_overflow(u, (uint64_t) 10, &u)
            || __builtin_add_overflow(u, (uint64_t) (s.data[i] - '0'), &u)) {
            return false;
        }
    }
    if (u > (uint64_t) INT64_MAX + negative) {
        return false;
    }
    *v = negative ? (int64_t) (0 - u) : (int64_t) u;
    return true;
}

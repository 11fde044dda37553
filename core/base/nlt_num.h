/*
 * nlt_num.h - numbers to text and back, exactly as Go's strconv does.
 *
 * Floor 0 (base); uses nlt_types.  Locale-independent, no allocation.
 *
 * Prometheus prints doubles as the shortest decimal that reads back to the
 * same bits (of the shortest ones the closest), in three layouts.  Shortest
 * digits need more than printf: for 2^-44 the correctly rounded 16 digits do
 * not read back, yet another 16-digit number does.  Short decimals (the bulk
 * of real samples) take a fast exact path, the rest the general algorithm.
 */
#ifndef NLT_BASE_NUM_H
#define NLT_BASE_NUM_H

#include "nlt_types.h"

/* Room for any result of the functions below but nlt_num_plain(), and for what
 * they write behind it: digits are copied as a block. */
#define NLT_NUM_TEXT_MAX 64

/* Room for the longest result of nlt_num_plain(): 5e-324 in full. */
#define NLT_NUM_PLAIN_MAX 400

/* API sample values: `1e+21` and `1e-07` from 1e21 and below 1e-6, else
 * plain; "+Inf", "-Inf", "NaN", "-0".  Returns the length; no NUL. */
size_t nlt_num_sample(char *out, double v);

/* Go's %g and %v in messages: shortest digits, exponent form iff the decimal
 * exponent is < -4 or >= 6: "100000", "1.234567e+06". */
size_t nlt_num_g(char *out, double v);

/* Plain digits without exponent, any magnitude ('f', -1). */
size_t nlt_num_plain(char *out, double v);

/* Go's %.<digits>f, at most 20 digits after the point; out has
 * NLT_NUM_PLAIN_MAX. */
size_t nlt_num_fixed(char *out, double v, unsigned digits);

/* Go's strconv.ParseFloat on all of s: decimal, exponent, hex floats,
 * underscores not accepted, "inf", "+Inf", "infinity", "nan" in any case.
 * NLT_EINVAL-like answers as a code: 0 ok, 1 syntax, 2 out of range (v is
 * then +-Inf). */
int nlt_num_parse(nlt_str_t s, double *v);

/* Value of a hexadecimal digit of either case, -1 when c is none. */
static inline int
nlt_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char) (c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A decimal int64, all of s, optional sign; false on anything else. */
bool nlt_num_parse_i64(nlt_str_t s, int64_t *v);

#endif

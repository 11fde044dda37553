/*
 * nlt_decimal.h - the arithmetic under nlt_num: shortest decimals, and
 * correctly rounded doubles.
 *
 * Floor 0 (base); uses nlt_types.  No allocation, no locale, no rounding
 * mode but the default.
 */
#ifndef NLT_BASE_DECIMAL_H
#define NLT_BASE_DECIMAL_H

#include "nlt_types.h"

/* The number digits * 10^exp10; digits has at most 17 digits. */
typedef struct {
    uint64_t digits;
    int exp10;
} nlt_decimal_t;

/*
 * The shortest decimal that reads back as v, of those the closest to v;
 * digits does not end in 0.  v is finite and > 0.
 */
nlt_decimal_t nlt_decimal_shortest(double v);

/*
 * The double nearest to the number that is written in s (ties to even),
 * +Inf when it is beyond the largest.  s has the form digits[.digits], at
 * least one digit, and is multiplied by 10^exp10.
 */
double nlt_decimal_read(nlt_str_t s, int64_t exp10);

/* The top 128 bits of 10^k, the rest cut off; k in [-342, 324].  O(1). */
void nlt_decimal_power(int k, uint64_t *hi, uint64_t *lo);

#endif

/*
 * nlt_dense_fit.h - values as decimals: constants of encoder and decoder.
 *
 * Floor 2 (codec); for nlt_dense*.c only.
 */
#ifndef NLT_CODEC_DENSE_FIT_H
#define NLT_CODEC_DENSE_FIT_H

#include "nlt_types.h"

/*
 * What X is: v = X / 10^e; the bits of v; or bits(v) = bits(X / 10^e) + Y,
 * for sums of decimals, which are some ulps off.
 */
enum {
    NLT_DENSE_DEC,
    NLT_DENSE_BIN,
    NLT_DENSE_ULP
};

#define NLT_DENSE_RAW 5 /* class of an exception: its 64 bits follow */

extern const double nlt_dense_pow10[16];

/* Classes of exceptions below NLT_DENSE_RAW. */
extern const uint64_t nlt_dense_special[NLT_DENSE_RAW];

#endif

/*
 * nlt_dense.h - many samples of one series in few bits, each bit kept.
 *
 * Floor 2 (codec); uses base.  Format: docs/formats/dense.md.
 * Memory: caller's buffers; decoding needs about 64 KiB of stack.
 * Threads: no state of its own.
 *
 * An XOR chunk pays for the mantissa of a decimal fraction: 0.1 has no end in
 * binary, so two neighbours that differ in one digit differ in forty bits.
 * But what is measured are decimals, of few digits.  So
 *
 *     v  = X / 10^e             exact, or v is an exception, or X is its bits
 *     xs = (X - X0) / g         g: greatest common divisor of all steps
 *     r  = xs | its change | change of its change | distance from a line
 *     u  = r - base             the narrow number that is stored
 *
 * and the u are packed in as many bits as nearly all of them need, those that
 * need more patched; or, where that saves at least a bit of each, coded by
 * how often each of them occurs (Huffman); or, where nearly all are equal,
 * the others listed.  The encoder tries it backwards before it believes it:
 * only a v that comes back as the same 64 bits is taken as a decimal.
 *
 *     1.25 1.5 1.75 2.25   e=2   X 125 150 175 225   g=25   xs 0 1 2 4
 *                                steps 1 1 2         base 1, 1 bit: 0 0 1
 *
 * Times are integers already and pass through the second half alone.  They
 * are kept apart from the values since all series of one scrape share them.
 *
 * A column is cut into segments of 512 values, and says where each begins and
 * with what, so an hour of a day costs what lies in the hour.
 *
 * Decoders distrust every byte: whatever they are given, they write no more
 * than asked for, read nothing outside [p, p + len), do work in proportion to
 * len and to what is asked, and answer NLT_EDATA where the bytes cannot be a
 * chunk.  Damage that leaves the form alone is for a checksum to find.
 */
#ifndef NLT_CODEC_DENSE_H
#define NLT_CODEC_DENSE_H

#include "nlt_rc.h"

#define NLT_DENSE_SAMPLES_MAX 8192 /* of one chunk or column of times */
#define NLT_DENSE_SEGMENT     512

/* Room of an encoder, 272 KiB; needs no initialisation. */
typedef struct {
    uint64_t x[NLT_DENSE_SAMPLES_MAX];  /* scaled values, wrapping */
    uint64_t y[NLT_DENSE_SAMPLES_MAX];  /* what rounding left, in ulps */
    uint64_t xs[NLT_DENSE_SAMPLES_MAX]; /* of the column in hand */
    uint64_t r[NLT_DENSE_SAMPLES_MAX];
    uint16_t odd[NLT_DENSE_SAMPLES_MAX]; /* indices of exceptions, rising */
} nlt_dense_work_t;

/* Room that an encoder of n values needs at most. */
static inline size_t
nlt_dense_bytes_max(size_t n)
{
    return 32 * n + 4096;
}

/*
 * Encodes n values (1..NLT_DENSE_SAMPLES_MAX) into out, which has room for
 * nlt_dense_bytes_max(n); returns the length.  The number n is not in it.
 * About 25 ns a value.
 */
size_t nlt_dense_encode_values(nlt_dense_work_t *w, const double *v, size_t n,
                               uint8_t *out);

/*
 * Decodes values [from, to) of the n that were encoded into v[0..to-from).
 * NLT_EDATA (v is then undefined), NLT_EINVAL (not 0 <= from < to <= n, or n
 * out of range).  1-2 ns a value when all are asked for; of less, that of the
 * segments that are touched.
 */
NLT_CHECKED nlt_rc_t nlt_dense_decode_values(const uint8_t *p, size_t len,
                                             size_t n, size_t from, size_t to,
                                             double *v);

/* The same for times, which may be any numbers in any order. */
size_t nlt_dense_encode_times(nlt_dense_work_t *w, const int64_t *t_ms,
                              size_t n, uint8_t *out);
NLT_CHECKED nlt_rc_t nlt_dense_decode_times(const uint8_t *p, size_t len,
                                            size_t n, size_t from, size_t to,
                                            int64_t *t_ms);

#endif

/*
 * nlt_wal_samples.h - samples as they lie in a frame of the log.
 *
 * Floor 3 (store); uses base.  Format: docs/formats/wal.md, "Samples".
 * Memory: none.  Threads: none of its own.
 *
 * A scrape is a run of consecutive series at one time, and its values are
 * mostly counters and short decimals.  So a sample is one control byte, what
 * differs from the sample before it, and the value in as few bytes as say it
 * exactly:
 *
 *    bit 7   a series difference follows; else series = previous + 1
 *    bit 6   a time difference follows; else the same time
 *    0..5    class of the value
 *
 *    [control] [zigzag series - previous] [zigzag time - previous] [value]
 *
 *    class       value bytes
 *     0.. 8      integer M in class bytes
 *     9..17      M / 10^3,  M in class - 9 bytes
 *    18..26      M / 10^6,  M in class - 18 bytes
 *    27..35      one byte e <= 22; M / 10^e, M in class - 27 bytes
 *    36          none: the bits of the sample before it
 *    37 38       none: stale marker, ordinary NaN
 *    39 40       none: +Inf, -Inf
 *    41..48      the class - 40 high bytes of the double, low ones zero
 *    49..63      reserved
 *
 * M is a signed number, little-endian, two's complement, in 0 to 8 bytes (0
 * bytes: zero).  M / 10^e is one correctly rounded IEEE division, which the
 * writer has verified to give the same bits; what is no such decimal goes as
 * raw bits.  Example: series 8 after 7, same time, 12.5 = 12500 / 10^3:
 *
 *    0b          class 11: M / 10^3 in two bytes
 *    d4 30       12500
 *
 * Each frame starts anew from series 0, time 0 and +0.0, so a frame can be
 * read without those around it.
 */
#ifndef NLT_STORE_WAL_SAMPLES_H
#define NLT_STORE_WAL_SAMPLES_H

#include "nlt_bytes.h"
#include "nlt_wal.h"

/* Room that the writer needs for one sample: 25 bytes at most are used. */
#define NLT_WAL_SAMPLE_BYTES_MAX 32

/* The sample before; zero at the start of a frame. */
typedef struct {
    uint32_t series;
    int64_t t_ms;
    uint64_t v_bits;
} nlt_wal_prev_t;

/*
 * Writes one sample at p (room for NLT_WAL_SAMPLE_BYTES_MAX; all of it may
 * be scribbled on) and moves *prev to it.  Returns the bytes that count.
 * About 8 ns for integers and short decimals.
 */
size_t nlt_wal_sample_put(nlt_wal_prev_t *prev, uint8_t *p, uint32_t series,
                          int64_t t_ms, uint64_t v_bits);

/*
 * Reads one sample and moves *prev to it.  NLT_EDATA: cut off, a reserved
 * class or exponent, or a series number outside 1..2^32-1; r has failed.
 */
NLT_CHECKED nlt_rc_t nlt_wal_sample_get(nlt_wal_prev_t *prev, nlt_reader_t *r,
                                        nlt_wal_sample_t *out);

#endif

/*
 * nlt_xor_many.h - XOR chunks decoded side by side.
 *
 * Floor 2 (codec); uses base, nlt_xor.h.
 * Memory: caller's buffers, never allocates.  Threads: none of its own.
 *
 * A stream is one long chain: where a sample begins depends on the one
 * before, and whether a value changed cannot be foretold.  Of one stream a
 * processor therefore does a sample in about ten cycles, however wide it is.
 * Sixteen streams in the lanes of AVX-512 (with VBMI2), or eight in those of
 * AVX2, have no branch on what is decoded, and wait for each other's loads
 * instead of their own; other processors do them one by one.  The result is
 * that of nlt_xor_decode_rising() in every bit and every error.
 *
 *     jobs     chunk 0 | chunk 1 | ... | chunk 15 | chunk 16 ...
 *                 |         |               |          |
 *     lanes       0         1      ...     15    <-----' when a lane is done
 *     a step      one sample of each lane; eight steps, then rows of lanes
 *                 are turned into rows of samples and stored
 */
#ifndef NLT_CODEC_XOR_MANY_H
#define NLT_CODEC_XOR_MANY_H

#include "nlt_xor.h"

/* So many bytes behind a stream must be readable; what they are is the same
 * to the result (those of the next stream, for instance). */
#define NLT_XOR_MANY_PAD 128

typedef struct {
    const uint8_t *p; /* without the count header, NLT_XOR_MANY_PAD behind */
    size_t len;
    uint32_t count; /* <= NLT_XOR_SAMPLES_MAX */
    nlt_rc_t rc;    /* set: that of nlt_xor_decode_rising() */
    int64_t *t_ms;  /* room for count each */
    double *v;
} nlt_xor_job_t;

/* How many are decoded side by side; each is quicker than those before it. */
typedef enum {
    NLT_XOR_ONE,   /* none */
    NLT_XOR_AVX2,  /* eight */
    NLT_XOR_AVX512 /* sixteen */
} nlt_xor_form_t;

/* The best form that is taken; a build with another one (-D) measures what a
 * lesser processor would do. */
#ifndef NLT_XOR_FORM_MAX
#define NLT_XOR_FORM_MAX NLT_XOR_AVX512
#endif

/*
 * Decodes each of n jobs; the outcome of each is in its rc, and where that is
 * not NLT_OK its arrays hold anything.  Jobs of like length fill the lanes
 * best.  About 1.5 ns a sample from twelve jobs on with AVX-512, 2.8 from
 * eight on with AVX2; with less than five, or neither, that of
 * nlt_xor_decode_rising().  8 KiB of stack.
 */
void nlt_xor_decode_many(nlt_xor_job_t *jobs, size_t n);

/* The same in a form that the processor has: for tests of all. */
void
nlt_xor_decode_many_by(nlt_xor_form_t form, nlt_xor_job_t *jobs, size_t n);

/* The form that nlt_xor_decode_many() takes here.  Constant. */
nlt_xor_form_t nlt_xor_many_form(void);

/* Does nlt_xor_decode_many() do better here than one by one?  Constant. */
bool nlt_xor_many_lanes(void);

#endif

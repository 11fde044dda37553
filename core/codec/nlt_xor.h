/*
 * nlt_xor.h - Gorilla-style chunk of float samples, as Prometheus has it.
 *
 * Floor 2 (codec); uses base.  Format: docs/formats/block.md, "XOR chunk".
 * Follows: Prometheus chunk encoding 1; differs: nothing in the bits; the
 * encoder may choose windows with look-ahead, which any reader understands.
 * Memory: caller's buffers, never allocates.  Threads: none of its own.
 *
 * A chunk on disk is a big-endian uint16 sample count and a bit stream, most
 * significant bit first.  The head keeps the same stream without the count,
 * in pieces, and the state of the encoder in the series entry; therefore the
 * encoder is split in two: nlt_xor_encode() turns one sample into at most
 * 157 bits, and the caller puts them where they belong.
 *
 *   sample 0   varint t, 64 bits v
 *   sample 1   uvarint t - t0, xor(v)
 *   sample n   delta of delta: 0 | 10+14 | 110+17 | 1110+20 | 1111+64 bits,
 *              xor(v): 0 (same) | 10 + bits in the old window
 *                    | 11 + 5 bits leading + 6 bits length + bits
 */
#ifndef NLT_CODEC_XOR_H
#define NLT_CODEC_XOR_H

#include "nlt_rc.h"

/* 157 bits: a step of 2^63 ms or more (80) and a new window of 64 (77). */
#define NLT_XOR_SAMPLE_BYTES_MAX 20
#define NLT_XOR_SAMPLES_MAX      65535

/* Steps in time that stay below this cannot make a time wrap around. */
#define NLT_XOR_STEP_MAX (INT64_C(1) << 44)

/* What the next sample is encoded against; 32 bytes, lives in shared memory
 * too.  All zero (with leading = 0xff) before the first sample. */
typedef struct {
    int64_t t_ms;    /* of the last sample */
    uint64_t v_bits; /* of the last sample */
    int64_t delta;   /* last t minus the one before */
    uint32_t count;  /* samples so far, <= NLT_XOR_SAMPLES_MAX */
    uint8_t leading; /* of the current window; 0xff: none yet */
    uint8_t trailing;
    uint16_t zero; /* reserved */
} nlt_xor_state_t;

/* Up to 157 bits, left-aligned, most significant first; zero behind. */
typedef struct {
    uint64_t w[3];
    unsigned n_bits;
} nlt_xor_bits_t;

static inline void
nlt_xor_state_init(nlt_xor_state_t *s)
{
    *s = (nlt_xor_state_t){.leading = 0xff};
}

/*
 * Encodes one sample and moves the state on.  Timestamps must rise; any
 * step is representable.  The caller keeps count <= NLT_XOR_SAMPLES_MAX.
 * About 16 ns on noisy values with jittered times.
 */
void nlt_xor_encode(nlt_xor_state_t *s, int64_t t_ms, uint64_t v_bits,
                    nlt_xor_bits_t *out);

/*
 * Places bits at bit position `pos` of p: assigns the partial first byte's
 * low bits and all following bytes, never ORs into what a dead writer may
 * have left.  p must have room for pos + n_bits bits, rounded up to bytes.
 */
void nlt_xor_put(uint8_t *p, uint64_t pos, const nlt_xor_bits_t *bits);

/*
 * Decodes count samples from a bit stream of len bytes (without the count
 * header) into t_ms[] and v[] (room for count each).  NLT_EDATA when the
 * stream ends early, a varint is too long, or a window is used before there
 * was one or leaves the 64 bits; what was decoded until then is in the
 * arrays, state and n_bits are untouched.  state, when not NULL, is left as
 * the encoder's after the last sample, and *n_bits as the length of the
 * stream: this is how an appender is rebuilt.  Does not demand rising
 * timestamps.  About 3.5 ns a sample.
 */
NLT_CHECKED nlt_rc_t nlt_xor_decode(const uint8_t *p, size_t len,
                                    uint32_t count, int64_t *t_ms, double *v,
                                    nlt_xor_state_t *state, uint64_t *n_bits);

/*
 * The same that also demands that each time is after the one before, else
 * NLT_EORDER; costs nothing more.
 */
NLT_CHECKED nlt_rc_t nlt_xor_decode_rising(const uint8_t *p, size_t len,
                                           uint32_t count, int64_t *t_ms,
                                           double *v, nlt_xor_state_t *state,
                                           uint64_t *n_bits);

/*
 * The samples of a stream from number state->count >= 2 on, as
 * nlt_xor_decode_rising() decodes them: state is the encoder's after those
 * before, which are in t_ms[] and v[] and rise, and pos the bit where the
 * next one begins.  NLT_EDATA, NLT_EORDER.
 */
NLT_CHECKED nlt_rc_t nlt_xor_decode_rest(const uint8_t *p, size_t len,
                                         const nlt_xor_state_t *state,
                                         uint64_t pos, uint32_t count,
                                         int64_t *t_ms, double *v);

#define NLT_XOR_LOOKAHEAD_MAX 64

/*
 * Encodes n samples (1..65535, rising) as a complete chunk with its count
 * header into out (room for nlt_xor_chunk_bytes_max(n)); returns its length.
 * lookahead > 0 chooses windows by looking that many changing values ahead
 * (at most NLT_XOR_LOOKAHEAD_MAX), about 8 % smaller on real data and about
 * four times slower; 16 is within 0.3 % of the best possible.  0 is what
 * Prometheus writes, bit for bit.  Needs about 8 KiB of stack.
 */
size_t nlt_xor_encode_chunk(const int64_t *t_ms, const double *v, size_t n,
                            unsigned lookahead, uint8_t *out);

/* A chunk that grows by whole chunks; zeroed (nlt_xor_join_init): empty. */
typedef struct {
    nlt_xor_state_t s; /* after its last sample */
    uint64_t n_bits;   /* of the chunk, count header included */
} nlt_xor_join_t;

static inline void
nlt_xor_join_init(nlt_xor_join_t *j)
{
    nlt_xor_state_init(&j->s);
    j->n_bits = 16;
}

/*
 * Appends the samples of another chunk to the one at out, without encoding
 * them anew: what depends on the samples before are the time and value of its
 * first and the time of its second; the first value that changes opens a
 * window, so all that follows is copied as bits.  The windows stay those of
 * the parts, so a chunk that was joined of many short ones is larger than one
 * that is encoded as a whole.
 *   p      its stream, without the count header
 *   end    what nlt_xor_decode() has left of state, and
 *   n_bits of n_bits, when it decoded it to
 *   t_ms, v   end->count samples, > 0, later than those that are there
 *   out    room for nlt_xor_chunk_bytes_max() of all samples, the header
 *          included; complete after each call
 * Together at most NLT_XOR_SAMPLES_MAX samples.  Returns the length of the
 * chunk at out.  About 0.2 ns a sample.
 */
size_t nlt_xor_join(nlt_xor_join_t *j, const uint8_t *p,
                    const nlt_xor_state_t *end, uint64_t n_bits,
                    const int64_t *t_ms, const double *v, uint8_t *out);

static inline size_t
nlt_xor_chunk_bytes_max(size_t n)
{
    return 2 + n * NLT_XOR_SAMPLE_BYTES_MAX + 8;
}

#endif

/*
 * nlt_dense_priv.h - columns of 64-bit numbers, for nlt_dense*.c only.
 *
 * Floor 2 (codec); uses base.
 *
 *   nlt_dense.c          values as decimals, exceptions; times
 *   nlt_dense_fit.c      encoder: which decimals
 *   nlt_dense_column.c   encoder: which residual, which mode
 *   nlt_dense_pack.c     encoder of widths, patches and lists
 *   nlt_dense_huff.c     encoder and tables of Huffman columns
 *   nlt_dense_read.c     decoder of columns
 *
 * All arithmetic on numbers of a column wraps at 64 bits; where they are
 * compared they are signed.
 */
#ifndef NLT_CODEC_DENSE_PRIV_H
#define NLT_CODEC_DENSE_PRIV_H

#include "nlt_bytes.h"
#include "nlt_dense.h"

#define NLT_DENSE_BLOCK     128 /* values with a width of their own */
#define NLT_DENSE_SEGS_MAX  (NLT_DENSE_SAMPLES_MAX / NLT_DENSE_SEGMENT)
#define NLT_DENSE_EVENTS    NLT_DENSE_SEGMENT /* of a SPARSE column, at most */
#define NLT_DENSE_CODE_BITS 9
#define NLT_DENSE_CODES     (1u << NLT_DENSE_CODE_BITS)
#define NLT_DENSE_RAW_MAX   45   /* bits behind a symbol */
#define NLT_DENSE_SYMBOLS   1024 /* more than any symbol */
#define NLT_DENSE_SLACK     16   /* readable behind a segment */

enum {
    NLT_DENSE_CONST,
    NLT_DENSE_SPARSE,
    NLT_DENSE_PACK,
    NLT_DENSE_HUFF
};

/* Residuals: xs itself, its change, the change of that, off a line. */
enum {
    NLT_DENSE_T0,
    NLT_DENSE_T1,
    NLT_DENSE_T2,
    NLT_DENSE_T3
};

/* Bits of u, 0 for 0.  Without a branch: numbers are 0 now and then. */
static inline unsigned
nlt_dense_bits(uint64_t u)
{
    return 64 - (unsigned) __builtin_clzll(u | 1) - (u == 0);
}

static inline uint64_t
nlt_dense_low(unsigned n_bits)
{
    return n_bits >= 64 ? UINT64_MAX : (UINT64_C(1) << n_bits) - 1;
}

/* ---- encoding ---- */

/* Bytes that are written; the caller has made sure of the room. */
typedef struct {
    uint8_t *p;
    uint64_t acc; /* bits not yet written, low first */
    unsigned n;   /* of them, < 64 */
} nlt_dense_out_t;

static inline void
nlt_dense_put_bits(nlt_dense_out_t *o, uint64_t v, unsigned n_bits)
{
    if (n_bits == 0) {
        return;
    }
    o->acc |= v << o->n;
    if (o->n + n_bits >= 64) {
        nlt_put_le64(o->p, o->acc);
        o->p += 8;
        o->acc = o->n == 0 ? 0 : v >> (64 - o->n);
        o->n = o->n + n_bits - 64;
        return;
    }
    o->n += n_bits;
}

static inline void
nlt_dense_put_flush(nlt_dense_out_t *o)
{
    for (unsigned i = 0; i < o->n; i += 8) {
        *o->p++ = (uint8_t) (o->acc >> i);
    }
    o->acc = 0;
    o->n = 0;
}

static inline void
nlt_dense_put_uv(nlt_dense_out_t *o, uint64_t v)
{
    o->p += nlt_put_uvarint(o->p, v);
}

static inline void
nlt_dense_put_sv(nlt_dense_out_t *o, uint64_t v)
{
    o->p += nlt_put_varint(o->p, (int64_t) v);
}

/* How numbers are packed: u = r - base in width bits, longer ones patched. */
typedef struct {
    uint64_t base;
    unsigned width;
    bool patched;
    uint64_t bits; /* what it costs, patches included */
} nlt_dense_width_t;

/* The best for n numbers.  O(n). */
nlt_dense_width_t nlt_dense_width(const uint64_t *r, size_t n);

/* Writes patches and bits of n numbers. */
void nlt_dense_put_packed(nlt_dense_out_t *o, const uint64_t *r, size_t n,
                          const nlt_dense_width_t *w);

/* How a column becomes Huffman codes. */
typedef struct {
    uint64_t c;
    unsigned k;
    bool zigzag;
    uint64_t bits; /* what it costs, table included; UINT64_MAX: impossible */
    uint16_t first;
    uint16_t last;
    uint8_t len[NLT_DENSE_SYMBOLS];
    uint16_t code[NLT_DENSE_SYMBOLS]; /* low bit first */
} nlt_dense_huff_t;

/* The best of its kinds for n numbers.  O(n). */
void nlt_dense_huff(nlt_dense_huff_t *h, const uint64_t *r, size_t n);

/* Writes the lengths of all codes. */
void nlt_dense_put_table(nlt_dense_out_t *o, const nlt_dense_huff_t *h);

/* Writes the streams of one segment. */
void nlt_dense_put_codes(nlt_dense_out_t *o, const nlt_dense_huff_t *h,
                         const uint64_t *r, size_t n);

/*
 * Encodes a column of n numbers, x.  Not sparse: it is itself a part of a
 * sparse column.  w->xs and r are used.
 */
void nlt_dense_put_column(nlt_dense_out_t *o, nlt_dense_work_t *w,
                          const uint64_t *x, size_t n, bool sparse);

/* ---- decoding ---- */

/* What the next bits of a HUFF column mean. */
typedef struct {
    uint64_t base; /* of the number: its leading bits */
    uint64_t meta; /* bits of the code, 8; with raw ones, 8; mask of those */
} nlt_dense_code_t;

/* A column that was opened; all lengths in it are checked. */
typedef struct {
    size_t n;
    uint8_t mode;
    uint8_t t;
    bool z;
    unsigned width; /* PACK, flat */
    bool patched;
    size_t n_segs;
    uint64_t x0;
    uint64_t g;
    uint64_t slope;
    uint64_t c; /* base of all residuals; SPARSE: the usual one */
    const uint8_t *end;
    const uint8_t *seg[NLT_DENSE_SEGS_MAX + 1];
    uint64_t xs[NLT_DENSE_SEGS_MAX]; /* before the segment's first */
    uint64_t delta[NLT_DENSE_SEGS_MAX];
    size_t n_events;    /* SPARSE */
    unsigned code_bits; /* HUFF: of the longest, raw ones included */
    union {
        struct {                           /* SPARSE */
            uint16_t at[NLT_DENSE_EVENTS]; /* residuals not c, rising */
            uint64_t event[NLT_DENSE_EVENTS];
        };
        nlt_dense_code_t table[NLT_DENSE_CODES]; /* HUFF */
    };
} nlt_dense_column_t;

/* Opens a column of n numbers.  NLT_EDATA. */
NLT_CHECKED nlt_rc_t nlt_dense_open(nlt_dense_column_t *c, const uint8_t *p,
                                    size_t len, size_t n, bool sparse);

/*
 * The first `want` of the up to 512 numbers from 1 + s * 512 on; number 0 is
 * c->x0.  out has room for 512 whatever their number.  NLT_EDATA; what is
 * wrong behind `want` may go unnoticed.
 */
NLT_CHECKED nlt_rc_t nlt_dense_segment(const nlt_dense_column_t *c, size_t s,
                                       size_t want, uint64_t *out);

/* How many numbers segment s has. */
static inline size_t
nlt_dense_segment_len(const nlt_dense_column_t *c, size_t s)
{
    size_t left = c->n - 1 - s * NLT_DENSE_SEGMENT;

    return left < NLT_DENSE_SEGMENT ? left : NLT_DENSE_SEGMENT;
}

/* Reads the code table of a column; base is added to all.  NLT_EDATA. */
NLT_CHECKED nlt_rc_t nlt_dense_read_table(nlt_reader_t *r, unsigned k,
                                          uint64_t base,
                                          nlt_dense_column_t *c);

/* Gives the symbols from first on their codes, in order of length. */
void nlt_dense_codes(const uint8_t *len, size_t n, uint16_t *code);

#endif

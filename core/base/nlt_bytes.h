/*
 * nlt_bytes.h - integers in byte strings, and bounded reading of them.
 *
 * Floor 0 (base); uses nlt_types.
 *
 * Disk and wire formats are read and written with these, never by casting a
 * struct over bytes.  A reader is a pointer, an end and an error flag: a read
 * past the end gives 0 and sets the flag, so that a decoder can read a whole
 * header and look once.  Sticky, like nlt_buf_t.
 */
#ifndef NLT_BASE_BYTES_H
#define NLT_BASE_BYTES_H

#include "nlt_types.h"

#define NLT_UVARINT_BYTES_MAX 10

static inline uint16_t
nlt_be16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t
nlt_be32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t
nlt_be64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline uint32_t
nlt_le32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t
nlt_le64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void
nlt_put_be16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void
nlt_put_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void
nlt_put_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

static inline void
nlt_put_le32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline void
nlt_put_le64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof(v));
}

/* Zig-zag: small magnitudes become small unsigned numbers. */
static inline uint64_t
nlt_zigzag(int64_t v)
{
    return ((uint64_t) v << 1) ^ (uint64_t) (v >> 63);
}

static inline int64_t
nlt_unzigzag(uint64_t u)
{
    return (int64_t) (u >> 1) ^ -(int64_t) (u & 1);
}

/* Writes a LEB128 number at p (room for NLT_UVARINT_BYTES_MAX); its length. */
static inline size_t
nlt_put_uvarint(void *p, uint64_t v)
{
    uint8_t *b = p;
    size_t n = 0;

    while (v >= 0x80) {
        b[n++] = (uint8_t) (v | 0x80);
        v >>= 7;
    }
    b[n++] = (uint8_t) v;
    return n;
}

/* A length and the text, as nlt_read_uvarint_str() reads them; where it ends.
 */
static inline char *
nlt_put_uvarint_str(char *p, nlt_str_t s)
{
    p += nlt_put_uvarint(p, s.len);
    if (s.len > 0) {
        memcpy(p, s.data, s.len);
    }
    return p + s.len;
}

/* How many bytes nlt_put_uvarint() writes. */
static inline size_t
nlt_uvarint_len(uint64_t v)
{
    size_t n = 1;

    for (; v >= 0x80; v >>= 7) {
        n++;
    }
    return n;
}

static inline size_t
nlt_put_varint(void *p, int64_t v)
{
    return nlt_put_uvarint(p, nlt_zigzag(v));
}

typedef struct {
    const uint8_t *p;
    const uint8_t *end;
    bool failed; /* a read went past the end or a varint past 64 bits */
} nlt_reader_t;

static inline nlt_reader_t
nlt_reader(const void *data, size_t len)
{
    const uint8_t *p = data;

    return (nlt_reader_t){p, len ? p + len : p, false};
}

static inline size_t
nlt_reader_left(const nlt_reader_t *r)
{
    return (size_t) (r->end - r->p);
}

/* n bytes where they lie, or NULL and the failed flag. */
static inline const uint8_t *
nlt_read_bytes(nlt_reader_t *r, size_t n)
{
    const uint8_t *p = r->p;

    if (nlt_unlikely(r->failed || nlt_reader_left(r) < n)) {
        r->failed = true;
        r->p = r->end;
        return NULL;
    }
    r->p += n;
    return p;
}

static inline uint8_t
nlt_read_u8(nlt_reader_t *r)
{
    const uint8_t *p = nlt_read_bytes(r, 1);

    return p ? *p : 0;
}

static inline uint16_t
nlt_read_be16(nlt_reader_t *r)
{
    const uint8_t *p = nlt_read_bytes(r, 2);

    return p ? nlt_be16(p) : 0;
}

static inline uint32_t
nlt_read_be32(nlt_reader_t *r)
{
    const uint8_t *p = nlt_read_bytes(r, 4);

    return p ? nlt_be32(p) : 0;
}

static inline uint64_t
nlt_read_be64(nlt_reader_t *r)
{
    const uint8_t *p = nlt_read_bytes(r, 8);

    return p ? nlt_be64(p) : 0;
}

static inline uint64_t
nlt_read_le64(nlt_reader_t *r)
{
    const uint8_t *p = nlt_read_bytes(r, 8);

    return p ? nlt_le64(p) : 0;
}

static inline uint64_t
nlt_read_uvarint(nlt_reader_t *r)
{
    uint64_t v = 0;
    unsigned shift = 0;

    if (nlt_likely(r->p < r->end && *r->p < 0x80 && !r->failed)) {
        return *r->p++;
    }
    if (nlt_likely(nlt_reader_left(r) >= 8 && !r->failed)) {
        uint64_t stop;

        v = nlt_le64(r->p);
        stop = ~v & UINT64_C(0x8080808080808080);
        if (nlt_likely(stop != 0)) {
            /* Up to the first byte without the high bit; groups of 7 bits move
             * together, then those of 14, of 28. */
            v &= (stop ^ (stop - 1)) & UINT64_C(0x7f7f7f7f7f7f7f7f);
            v = (v & UINT64_C(0x007f007f007f007f))
                | (v & UINT64_C(0x7f007f007f007f00)) >> 1;
            v = (v & UINT64_C(0x00003fff00003fff))
                | (v & UINT64_C(0x3fff00003fff0000)) >> 2;
            v = (v & UINT64_C(0x000000000fffffff))
                | (v & UINT64_C(0x0fffffff00000000)) >> 4;
            r->p += __builtin_ctzll(stop) / 8 + 1;
            return v;
        }
        v = 0;
    }
    while (r->p < r->end && !r->failed) {
        uint8_t b = *r->p++;

        if (shift == 63 && b > 1) {
            break;
        }
        v |= (uint64_t) (b & 0x7f) << shift;
        if (b < 0x80) {
            return v;
        }
        shift += 7;
    }
    r->failed = true;
    r->p = r->end;
    return 0;
}

static inline int64_t
nlt_read_varint(nlt_reader_t *r)
{
    return nlt_unzigzag(nlt_read_uvarint(r));
}

/*
 * Passes n uvarints over, eight bytes at a time: the last byte of each has no
 * high bit.  One that is too long is not noticed.
 */
static inline void
nlt_skip_uvarints(nlt_reader_t *r, uint64_t n)
{
    while (n > 0 && nlt_reader_left(r) >= 8) {
        uint64_t last = ~nlt_le64(r->p) & UINT64_C(0x8080808080808080);
        uint64_t k = (last >> 7) * UINT64_C(0x0101010101010101) >> 56;

        if (k >= n) {
            for (; n > 1; n--) {
                last &= last - 1;
            }
            r->p += __builtin_ctzll(last) / 8 + 1;
            return;
        }
        r->p += 8;
        n -= k;
    }
    for (; n > 0 && r->p < r->end; r->p++) {
        n -= *r->p < 0x80;
    }
    r->failed |= n > 0;
}

/* A uvarint length and that many bytes, borrowed from the input. */
static inline nlt_str_t
nlt_read_uvarint_str(nlt_reader_t *r)
{
    uint64_t n = nlt_read_uvarint(r);
    const uint8_t *p = nlt_read_bytes(r, n);

    return (nlt_str_t){p ? n : 0, (const char *) p};
}

/* Eight decimal digits of v < 10^8, one a byte, the first one lowest. */
static inline uint64_t
nlt_digits8(uint32_t v)
{
    /* Halves of four, of two, of one digit, all at once. */
    uint64_t x = v / 10000 | (uint64_t) (v % 10000) << 32;
    uint64_t high = (x * 10486 >> 20) & UINT64_C(0x0000007f0000007f);

    x = high | (x - 100 * high) << 16;
    high = (x * 103 >> 10) & UINT64_C(0x000f000f000f000f);
    return high | (x - 10 * high) << 8;
}

#define NLT_DIGITS_ROOM 24

/*
 * The decimal digits of v at the end of out[NLT_DIGITS_ROOM]; returns where
 * the first one is that is not a leading zero (the last one for 0).
 */
static inline unsigned
nlt_put_digits(char *out, uint64_t v)
{
    const uint64_t zeros = UINT64_C(0x3030303030303030);
    unsigned at = 16;
    uint64_t first = nlt_digits8((uint32_t) (v % 100000000));

    nlt_put_le64(out + 16, first | zeros);
    v /= 100000000;
    if (v > 0) {
        at = 8;
        first = nlt_digits8((uint32_t) (v % 100000000));
        nlt_put_le64(out + 8, first | zeros);
        v /= 100000000;
    }
    if (v > 0) {
        at = 0;
        first = nlt_digits8((uint32_t) v);
        nlt_put_le64(out, first | zeros);
    }
    /* the last digit counts also when it is 0 */
    return at + (unsigned) __builtin_ctzll(first | UINT64_C(1) << 56) / 8;
}

#endif

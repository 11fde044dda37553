/*
 * nlt_buf.h - a growable byte buffer that cannot exist without a maximum.
 *
 * Floor 0 (base); uses nlt_mem, nlt_num.
 *
 * Appending never fails in the middle of an expression: the first failure is
 * remembered in `rc`, later appends do nothing, and the caller looks once at
 * the end.
 */
#ifndef NLT_BASE_BUF_H
#define NLT_BASE_BUF_H

#include "nlt_mem.h"

typedef struct {
    const nlt_mem_t *mem;
    char *data;
    size_t len;  /* bytes written */
    size_t cap;  /* bytes allocated */
    size_t max;  /* cap never exceeds it */
    nlt_rc_t rc; /* NLT_OK, NLT_ENOMEM, or NLT_ETOOBIG at the maximum */
} nlt_buf_t;

/* An empty buffer; allocates nothing.  mem is retained until deinit. */
void nlt_buf_init(nlt_buf_t *b, const nlt_mem_t *mem, size_t max);

/* Gives the memory back; the buffer is empty and usable again. */
void nlt_buf_deinit(nlt_buf_t *b);

/* Forgets content and error, keeps the memory. */
void nlt_buf_reset(nlt_buf_t *b);

/* What nlt_buf_reserve() does when the room has to be made. */
char *nlt_buf_reserve_slow(nlt_buf_t *b, size_t n);

/*
 * Room for n more bytes: a pointer to where they go, or NULL (rc is set).
 * nlt_buf_advance() then counts those that were written.
 */
static inline char *
nlt_buf_reserve(nlt_buf_t *b, size_t n)
{
    if (nlt_likely(b->rc == NLT_OK && b->data != NULL
                   && b->cap - b->len >= n)) {
        return b->data + b->len;
    }
    return nlt_buf_reserve_slow(b, n);
}

static inline void
nlt_buf_advance(nlt_buf_t *b, size_t n)
{
    b->len += n;
}

/* Appends; remembers failure in b->rc.  O(n) amortised. */
static inline void
nlt_buf_add(nlt_buf_t *b, const void *p, size_t n)
{
    char *to = n ? nlt_buf_reserve(b, n) : NULL;

    if (to != NULL) {
        memcpy(to, p, n);
        b->len += n;
    }
}

static inline void
nlt_buf_add_str(nlt_buf_t *b, nlt_str_t s)
{
    nlt_buf_add(b, s.data, s.len);
}

static inline void
nlt_buf_add_byte(nlt_buf_t *b, uint8_t byte)
{
    char *to = nlt_buf_reserve(b, 1);

    if (to != NULL) {
        *to = (char) byte;
        b->len++;
    }
}

/* The same of other kinds: C strings, decimal numbers, printf's. */
void nlt_buf_add_c(nlt_buf_t *b, const char *c_str);
void nlt_buf_add_u64(nlt_buf_t *b, uint64_t decimal);
void nlt_buf_add_i64(nlt_buf_t *b, int64_t decimal);
void nlt_buf_addf(nlt_buf_t *b, const char *fmt, ...) NLT_PRINTF(2, 3);

/* Big- and little-endian integers, LEB128 and zig-zag varints. */
void nlt_buf_add_be16(nlt_buf_t *b, uint16_t v);
void nlt_buf_add_be32(nlt_buf_t *b, uint32_t v);
void nlt_buf_add_be64(nlt_buf_t *b, uint64_t v);
void nlt_buf_add_le32(nlt_buf_t *b, uint32_t v);
void nlt_buf_add_le64(nlt_buf_t *b, uint64_t v);
void nlt_buf_add_uvarint(nlt_buf_t *b, uint64_t v);
void nlt_buf_add_varint(nlt_buf_t *b, int64_t v);

/* What is in it; borrowed until the next append. */
static inline nlt_str_t
nlt_buf_str(const nlt_buf_t *b)
{
    return (nlt_str_t){b->len, b->data};
}

#endif

/*
 * nlt_buf.c - a growable byte buffer that cannot exist without a maximum.
 *
 * Capacity doubles from 64 bytes; the last step is cut to the maximum.
 */
#include "nlt_buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "nlt_bytes.h"

#define BUF_BYTES_MIN 64u

void
nlt_buf_init(nlt_buf_t *b, const nlt_mem_t *mem, size_t max)
{
    memset(b, 0, sizeof(*b));
    b->mem = mem;
    b->max = max;
    b->rc = NLT_OK;
}

void
nlt_buf_deinit(nlt_buf_t *b)
{
    nlt_mem_free(b->mem, b->data, b->cap);
    nlt_buf_init(b, b->mem, b->max);
}

void
nlt_buf_reset(nlt_buf_t *b)
{
    b->len = 0;
    b->rc = NLT_OK;
}

static bool
buf_grow(nlt_buf_t *b, size_t n)
{
    size_t cap = b->cap < BUF_BYTES_MIN ? BUF_BYTES_MIN : b->cap;
    size_t want;
    char *data;

    if (__builtin_add_overflow(b->len, n, &want) || want > b->max) {
        b->rc = NLT_ETOOBIG;
        return false;
    }
    while (cap < want) {
        cap = cap > b->max / 2 ? b->max : cap * 2;
    }
    if (cap > b->max) {
        cap = b->max;
    }
    data = b->mem->alloc(b->mem->ctx, cap);
    if (data == NULL) {
        b->rc = NLT_ENOMEM;
        return false;
    }
    if (b->len > 0) {
        memcpy(data, b->data, b->len);
    }
    nlt_mem_free(b->mem, b->data, b->cap);
    b->data = data;
    b->cap = cap;
    return true;
}

char *
nlt_buf_reserve_slow(nlt_buf_t *b, size_t n)
{
    if (b->rc != NLT_OK) {
        return NULL;
    }
    /* Zero bytes also need an address, hence at least one. */
    if (b->cap - b->len < n || b->data == NULL) {
        return buf_grow(b, n > 0 ? n : 1) ? b->data + b->len : NULL;
    }
    return b->data + b->len;
}

void
nlt_buf_add_c(nlt_buf_t *b, const char *c_str)
{
    nlt_buf_add(b, c_str, strlen(c_str));
}

void
nlt_buf_add_u64(nlt_buf_t *b, uint64_t decimal)
{
    char room[NLT_DIGITS_ROOM];
    unsigned at = nlt_put_digits(room, decimal);

    nlt_buf_add(b, room + at, sizeof(room) - at);
}

void
nlt_buf_add_i64(nlt_buf_t *b, int64_t decimal)
{
    if (decimal < 0) {
        nlt_buf_add_byte(b, '-');
        nlt_buf_add_u64(b, 0 - (uint64_t) decimal);
        return;
    }
    nlt_buf_add_u64(b, (uint64_t) decimal);
}

void
nlt_buf_addf(nlt_buf_t *b, const char *fmt, ...)
{
    va_list args;
    size_t room = 128;

    /* A second turn knows the length; the NUL needs one byte more. */
    for (int turn = 0; turn < 2; turn++) {
        char *to = nlt_buf_reserve(b, 1);

        if (to == NULL) {
            return;
        }
        if (b->cap - b->len < room
            && (to = nlt_buf_reserve(b, room)) == NULL) {
            if (turn > 0 || b->rc != NLT_ETOOBIG) {
                return;
            }
            b->rc = NLT_OK; /* it may be shorter than the guess */
            to = b->data + b->len;
        }
        va_start(args, fmt);
        int n = vsnprintf(to, b->cap - b->len, fmt, args);
        va_end(args);
        if (n < 0) {
            b->rc = NLT_EINVAL;
            return;
        }
        if ((size_t) n < b->cap - b->len) {
            b->len += (size_t) n;
            return;
        }
        room = (size_t) n + 1;
    }
}

void
nlt_buf_add_be16(nlt_buf_t *b, uint16_t v)
{
    v = __builtin_bswap16(v);
    nlt_buf_add(b, &v, sizeof(v));
}

void
nlt_buf_add_be32(nlt_buf_t *b, uint32_t v)
{
    v = __builtin_bswap32(v);
    nlt_buf_add(b, &v, sizeof(v));
}

void
nlt_buf_add_be64(nlt_buf_t *b, uint64_t v)
{
    v = __builtin_bswap64(v);
    nlt_buf_add(b, &v, sizeof(v));
}

void
nlt_buf_add_le32(nlt_buf_t *b, uint32_t v)
{
    nlt_buf_add(b, &v, sizeof(v));
}

void
nlt_buf_add_le64(nlt_buf_t *b, uint64_t v)
{
    nlt_buf_add(b, &v, sizeof(v));
}

void
nlt_buf_add_uvarint(nlt_buf_t *b, uint64_t v)
{
    char room[NLT_UVARINT_BYTES_MAX];

    nlt_buf_add(b, room, nlt_put_uvarint(room, v));
}

void
nlt_buf_add_varint(nlt_buf_t *b, int64_t v)
{
    nlt_buf_add_uvarint(b, nlt_zigzag(v));
}

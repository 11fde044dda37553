/*
 * nlt_rw_build.h - writes remote_write requests by hand, for tests and
 * benchmarks: so that odd forms can be written too.
 *
 *     rwb_t b;
 *     rwb_init(&b);
 *     rwb_label(&b, "__name__", "up");
 *     rwb_sample(&b, T0, 1.0);
 *     rwb_end(&b);                       the series is in the request
 *     nlt_str_t body = rwb_snappy(&b);   borrowed until the next call
 */
#ifndef NLT_RW_BUILD_H
#define NLT_RW_BUILD_H

#include <stdlib.h>

#include "nlt_buf.h"
#include "nlt_bytes.h"
#include "nlt_remote_write.h"

typedef struct {
    nlt_buf_t request;
    nlt_buf_t series; /* the one being written */
    nlt_buf_t packed;
} rwb_t;

static inline void
rwb_init(rwb_t *b)
{
    nlt_buf_init(&b->request, &nlt_mem_libc, 1u << 30);
    nlt_buf_init(&b->series, &nlt_mem_libc, 1u << 30);
    nlt_buf_init(&b->packed, &nlt_mem_libc, 1u << 30);
}

static inline void
rwb_free(rwb_t *b)
{
    nlt_buf_deinit(&b->request);
    nlt_buf_deinit(&b->series);
    nlt_buf_deinit(&b->packed);
}

static inline void
rwb_reset(rwb_t *b)
{
    nlt_buf_reset(&b->request);
    nlt_buf_reset(&b->series);
}

static inline size_t
rwb_varint_len(uint64_t v)
{
    char p[NLT_UVARINT_BYTES_MAX];

    return nlt_put_uvarint(p, v);
}

static inline void
rwb_label_n(rwb_t *b, nlt_str_t name, nlt_str_t value)
{
    size_t len = 2 + rwb_varint_len(name.len) + name.len
                 + rwb_varint_len(value.len) + value.len;

    nlt_buf_add_byte(&b->series, 0x0a);
    nlt_buf_add_uvarint(&b->series, len);
    nlt_buf_add_byte(&b->series, 0x0a);
    nlt_buf_add_uvarint(&b->series, name.len);
    nlt_buf_add_str(&b->series, name);
    nlt_buf_add_byte(&b->series, 0x12);
    nlt_buf_add_uvarint(&b->series, value.len);
    nlt_buf_add_str(&b->series, value);
}

static inline void
rwb_label(rwb_t *b, const char *name, const char *value)
{
    rwb_label_n(b, (nlt_str_t){strlen(name), name},
                (nlt_str_t){strlen(value), value});
}

static inline void
rwb_sample_bits(rwb_t *b, int64_t t_ms, uint64_t bits)
{
    nlt_buf_add_byte(&b->series, 0x12);
    nlt_buf_add_uvarint(&b->series, 10 + rwb_varint_len((uint64_t) t_ms));
    nlt_buf_add_byte(&b->series, 0x09);
    nlt_buf_add_le64(&b->series, bits);
    nlt_buf_add_byte(&b->series, 0x10);
    nlt_buf_add_uvarint(&b->series, (uint64_t) t_ms);
}

static inline void
rwb_sample(rwb_t *b, int64_t t_ms, double v)
{
    rwb_sample_bits(b, t_ms, nlt_bits_of(v));
}

/* An exemplar of the series, with one label. */
static inline void
rwb_exemplar(rwb_t *b, const char *name, const char *value, int64_t t_ms,
             double v)
{
    size_t n = strlen(name), m = strlen(value), label = 4 + n + m;

    /* short texts only: their lengths take one byte */
    nlt_buf_add_byte(&b->series, 0x1a);
    nlt_buf_add_uvarint(&b->series,
                        2 + label + 9 + 1 + rwb_varint_len((uint64_t) t_ms));
    nlt_buf_add_byte(&b->series, 0x0a);
    nlt_buf_add_uvarint(&b->series, label);
    nlt_buf_add_byte(&b->series, 0x0a);
    nlt_buf_add_uvarint(&b->series, n);
    nlt_buf_add_c(&b->series, name);
    nlt_buf_add_byte(&b->series, 0x12);
    nlt_buf_add_uvarint(&b->series, m);
    nlt_buf_add_c(&b->series, value);
    nlt_buf_add_byte(&b->series, 0x11);
    nlt_buf_add_le64(&b->series, nlt_bits_of(v));
    nlt_buf_add_byte(&b->series, 0x18);
    nlt_buf_add_uvarint(&b->series, (uint64_t) t_ms);
}

/* Metadata of a family, in the request; texts of less than 128 bytes. */
static inline void
rwb_metadata(rwb_t *b, const char *family, unsigned type, const char *help,
             const char *unit)
{
    const char *texts[] = {family, help, unit};
    const uint8_t tags[] = {0x12, 0x22, 0x2a};
    size_t len = 2;

    for (int i = 0; i < 3; i++) {
        len += 2 + strlen(texts[i]);
    }
    nlt_buf_add_byte(&b->request, 0x1a);
    nlt_buf_add_uvarint(&b->request, len);
    nlt_buf_add_byte(&b->request, 0x08);
    nlt_buf_add_uvarint(&b->request, type);
    for (int i = 0; i < 3; i++) {
        nlt_buf_add_byte(&b->request, tags[i]);
        nlt_buf_add_uvarint(&b->request, strlen(texts[i]));
        nlt_buf_add_c(&b->request, texts[i]);
    }
}

/* Puts the series into the request and begins another. */
static inline void
rwb_end(rwb_t *b)
{
    nlt_buf_add_byte(&b->request, 0x0a);
    nlt_buf_add_uvarint(&b->request, b->series.len);
    nlt_buf_add_str(&b->request, nlt_buf_str(&b->series));
    nlt_buf_reset(&b->series);
}

static inline nlt_str_t
rwb_snappy(rwb_t *b)
{
    size_t n = nlt_snappy_bound(b->request.len);
    char *p;

    nlt_buf_reset(&b->packed);
    p = nlt_buf_reserve(&b->packed, n);
    if (p == NULL) {
        abort();
    }
    nlt_buf_advance(&b->packed,
                    nlt_snappy_encode(nlt_buf_str(&b->request), p));
    return nlt_buf_str(&b->packed);
}

#endif

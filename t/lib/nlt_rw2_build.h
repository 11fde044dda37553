/*
 * nlt_rw2_build.h - writes remote_write 2.0 requests by hand, for tests and
 * benchmarks: so that odd forms can be written too.
 *
 *     rw2b_t b;
 *     rw2b_init(&b);
 *     rw2b_label(&b, "__name__", "up");
 *     rw2b_sample(&b, T0, 1.0);
 *     rw2b_end(&b);                       the series is in the request
 *     nlt_str_t body = rw2b_snappy(&b);   borrowed until the next call
 *
 * Symbols are numbered as they come; number 0 is "".
 */
#ifndef NLT_RW2_BUILD_H
#define NLT_RW2_BUILD_H

#include <stdlib.h>

#include "nlt_buf.h"
#include "nlt_bytes.h"
#include "nlt_hash.h"
#include "nlt_rw2.h"

#define RW2B_SLOTS (1u << 20)

typedef struct {
    nlt_buf_t symbols; /* fields of the request */
    nlt_buf_t series;  /* the same */
    nlt_buf_t refs;    /* of the series being written */
    nlt_buf_t rest;    /* its other fields */
    nlt_buf_t request;
    nlt_buf_t packed;
    uint64_t *seen; /* hash of a symbol, and its number in ref[] */
    uint32_t *ref;
    uint32_t n_symbols;
} rw2b_t;

static inline uint32_t rw2b_symbol_n(rw2b_t *b, nlt_str_t s);

static inline void
rw2b_reset(rw2b_t *b)
{
    nlt_buf_reset(&b->symbols);
    nlt_buf_reset(&b->series);
    nlt_buf_reset(&b->refs);
    nlt_buf_reset(&b->rest);
    nlt_buf_reset(&b->request);
    memset(b->seen, 0, RW2B_SLOTS * sizeof(*b->seen));
    b->n_symbols = 0;
    (void) rw2b_symbol_n(b, (nlt_str_t){0, ""});
}

static inline void
rw2b_init(rw2b_t *b)
{
    nlt_buf_t *all[] = {&b->symbols, &b->series,  &b->refs,
                        &b->rest,    &b->request, &b->packed};

    for (size_t i = 0; i < NLT_COUNT(all); i++) {
        nlt_buf_init(all[i], &nlt_mem_libc, 1u << 30);
    }
    b->seen = calloc(RW2B_SLOTS, sizeof(*b->seen));
    b->ref = calloc(RW2B_SLOTS, sizeof(*b->ref));
    if (b->seen == NULL || b->ref == NULL) {
        abort();
    }
    rw2b_reset(b);
}

static inline void
rw2b_free(rw2b_t *b)
{
    nlt_buf_t *all[] = {&b->symbols, &b->series,  &b->refs,
                        &b->rest,    &b->request, &b->packed};

    for (size_t i = 0; i < NLT_COUNT(all); i++) {
        nlt_buf_deinit(all[i]);
    }
    free(b->seen);
    free(b->ref);
}

/* Adds a symbol, also one that is there. */
static inline uint32_t
rw2b_symbol_new(rw2b_t *b, nlt_str_t s)
{
    nlt_buf_add_byte(&b->symbols, 0x22);
    nlt_buf_add_uvarint(&b->symbols, s.len);
    nlt_buf_add_str(&b->symbols, s);
    return b->n_symbols++;
}

/* Number of a symbol. */
static inline uint32_t
rw2b_symbol_n(rw2b_t *b, nlt_str_t s)
{
    uint64_t h = nlt_hash64(s.data, s.len, 1) | 1;
    size_t at = h % RW2B_SLOTS;

    while (b->seen[at] != 0 && b->seen[at] != h) {
        at = (at + 1) % RW2B_SLOTS;
    }
    if (b->seen[at] == 0) {
        b->seen[at] = h;
        b->ref[at] = rw2b_symbol_new(b, s);
    }
    return b->ref[at];
}

static inline uint32_t
rw2b_symbol(rw2b_t *b, const char *s)
{
    return rw2b_symbol_n(b, (nlt_str_t){strlen(s), s});
}

static inline void
rw2b_ref(rw2b_t *b, uint32_t ref)
{
    nlt_buf_add_uvarint(&b->refs, ref);
}

static inline void
rw2b_label(rw2b_t *b, const char *name, const char *value)
{
    rw2b_ref(b, rw2b_symbol(b, name));
    rw2b_ref(b, rw2b_symbol(b, value));
}

static inline void
rw2b_field(nlt_buf_t *to, uint8_t tag, nlt_str_t bytes)
{
    nlt_buf_add_byte(to, tag);
    nlt_buf_add_uvarint(to, bytes.len);
    nlt_buf_add_str(to, bytes);
}

static inline void
rw2b_sample_bits(rw2b_t *b, int64_t t_ms, uint64_t bits)
{
    char p[NLT_UVARINT_BYTES_MAX];

    nlt_buf_add_byte(&b->rest, 0x12);
    nlt_buf_add_uvarint(&b->rest, 10 + nlt_put_uvarint(p, (uint64_t) t_ms));
    nlt_buf_add_byte(&b->rest, 0x09);
    nlt_buf_add_le64(&b->rest, bits);
    nlt_buf_add_byte(&b->rest, 0x10);
    nlt_buf_add_uvarint(&b->rest, (uint64_t) t_ms);
}

static inline void
rw2b_sample(rw2b_t *b, int64_t t_ms, double v)
{
    rw2b_sample_bits(b, t_ms, nlt_bits_of(v));
}

static inline void
rw2b_metadata(rw2b_t *b, unsigned type, const char *help, const char *unit)
{
    char p[3 * (1 + NLT_UVARINT_BYTES_MAX)], *q = p;

    *q++ = 0x08;
    q += nlt_put_uvarint(q, type);
    *q++ = 0x18;
    q += nlt_put_uvarint(q, rw2b_symbol(b, help));
    *q++ = 0x20;
    q += nlt_put_uvarint(q, rw2b_symbol(b, unit));
    rw2b_field(&b->rest, 0x2a, (nlt_str_t){(size_t) (q - p), p});
}

/* An exemplar of one label. */
static inline void
rw2b_exemplar(rw2b_t *b, const char *name, const char *value, int64_t t_ms,
              double v)
{
    char p[80], *q = p;
    size_t n;

    n = nlt_put_uvarint(q + 2, rw2b_symbol(b, name));
    n += nlt_put_uvarint(q + 2 + n, rw2b_symbol(b, value));
    *q++ = 0x0a;
    *q++ = (char) n;
    q += n;
    *q++ = 0x11;
    nlt_put_le64(q, nlt_bits_of(v));
    q += 8;
    *q++ = 0x18;
    q += nlt_put_uvarint(q, (uint64_t) t_ms);
    rw2b_field(&b->rest, 0x22, (nlt_str_t){(size_t) (q - p), p});
}

/* A histogram of no buckets: valid when zero == count. */
static inline void
rw2b_histogram(rw2b_t *b, uint64_t count, uint64_t zero, int64_t t_ms)
{
    char p[80], *q = p;

    *q++ = 0x08;
    q += nlt_put_uvarint(q, count);
    *q++ = 0x30;
    q += nlt_put_uvarint(q, zero);
    *q++ = 0x78;
    q += nlt_put_uvarint(q, (uint64_t) t_ms);
    rw2b_field(&b->rest, 0x1a, (nlt_str_t){(size_t) (q - p), p});
}

/* Puts the series into the request and begins another. */
static inline void
rw2b_end(rw2b_t *b)
{
    nlt_buf_t *s = &b->request;

    nlt_buf_reset(s);
    if (b->refs.len) {
        rw2b_field(s, 0x0a, nlt_buf_str(&b->refs));
    }
    nlt_buf_add_str(s, nlt_buf_str(&b->rest));
    rw2b_field(&b->series, 0x2a, nlt_buf_str(s));
    nlt_buf_reset(&b->refs);
    nlt_buf_reset(&b->rest);
}

/* The request, symbols first. */
static inline nlt_str_t
rw2b_request(rw2b_t *b)
{
    nlt_buf_reset(&b->request);
    nlt_buf_add_str(&b->request, nlt_buf_str(&b->symbols));
    nlt_buf_add_str(&b->request, nlt_buf_str(&b->series));
    return nlt_buf_str(&b->request);
}

static inline nlt_str_t
rw2b_snappy(rw2b_t *b)
{
    nlt_str_t s = rw2b_request(b);
    char *p;

    nlt_buf_reset(&b->packed);
    p = nlt_buf_reserve(&b->packed, nlt_snappy_bound(s.len));
    if (p == NULL) {
        abort();
    }
    nlt_buf_advance(&b->packed, nlt_snappy_encode(s, p));
    return nlt_buf_str(&b->packed);
}

#endif

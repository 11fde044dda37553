/*
 * nlt_dense_read.c - decoder of dense columns.
 *
 * A segment is decoded in three steps, each a plain loop over at most 512
 * numbers: bits to u, u to residual, residual to number.  The loops that take
 * bits apart read eight or nine bytes wherever they stand, so a segment near
 * the end of the column is copied first to where more can be read; that is
 * the price of having no check in them.
 */
#include "nlt_dense_priv.h"

/* No encoder makes a longer one: 512 numbers of 8 bytes, all patched. */
#define SEGMENT_BYTES_MAX (NLT_DENSE_SEGMENT * 22)

static nlt_rc_t
read_directory(nlt_dense_column_t *c, nlt_reader_t *r, uint64_t d1)
{
    size_t lens[NLT_DENSE_SEGS_MAX];
    uint64_t xs = 0, delta = d1;

    for (size_t s = 0; s < c->n_segs; s++) {
        c->xs[s] = xs;
        c->delta[s] = delta;
        if (s + 1 == c->n_segs) {
            break;
        }
        lens[s] = nlt_read_uvarint(r);
        if (c->t == NLT_DENSE_T1 || c->t == NLT_DENSE_T2) {
            xs += (uint64_t) nlt_read_varint(r);
        }
        if (c->t == NLT_DENSE_T2) {
            delta += (uint64_t) nlt_read_varint(r);
        }
    }
    c->seg[0] = r->p;
    for (size_t s = 0; s + 1 < c->n_segs; s++) {
        if (nlt_read_bytes(r, lens[s]) == NULL) {
            return NLT_EDATA;
        }
        c->seg[s + 1] = r->p;
    }
    c->seg[c->n_segs] = r->end;
    return r->failed ? NLT_EDATA : NLT_OK;
}

/* A list of n <= 512 numbers that is a column of its own. */
static nlt_rc_t
read_list(const uint8_t *p, size_t len, size_t n, uint64_t *out)
{
    nlt_dense_column_t c;
    uint64_t rest[NLT_DENSE_SEGMENT];
    nlt_rc_t rc = nlt_dense_open(&c, p, len, n, false);

    if (rc != NLT_OK) {
        return rc;
    }
    out[0] = c.x0;
    if (n == 1) {
        return NLT_OK;
    }
    rc = nlt_dense_segment(&c, 0, n - 1, rest);
    if (rc == NLT_OK) {
        memcpy(out + 1, rest, (n - 1) * sizeof(*rest));
    }
    return rc;
}

static nlt_rc_t
read_events(nlt_dense_column_t *c, nlt_reader_t *r)
{
    uint64_t gap[NLT_DENSE_EVENTS], n = nlt_read_uvarint(r), at = 0;
    nlt_str_t list;

    if (r->failed || n > NLT_DENSE_EVENTS || n >= c->n) {
        return NLT_EDATA;
    }
    c->n_events = n;
    if (n == 0) {
        return NLT_OK;
    }
    list = nlt_read_uvarint_str(r);
    if (list.data == NULL
        || read_list((const uint8_t *) list.data, list.len, n, gap) != NLT_OK
        || read_list(r->p, nlt_reader_left(r), n, c->event) != NLT_OK) {
        return NLT_EDATA;
    }
    for (size_t i = 0; i < n; i++) {
        if (gap[i] >= c->n - 1 - at) {
            return NLT_EDATA;
        }
        at += gap[i];
        c->at[i] = (uint16_t) at++;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_dense_open(nlt_dense_column_t *c, const uint8_t *p, size_t len, size_t n,
               bool sparse)
{
    nlt_reader_t r = nlt_reader(p, len);
    uint8_t head = nlt_read_u8(&r);
    uint64_t d1 = 0;

    c->n = n;
    c->n_segs = (n + NLT_DENSE_SEGMENT - 2) / NLT_DENSE_SEGMENT;
    c->mode = head & 3;
    c->t = (head >> 2) & 3;
    c->z = (head >> 4) & 1;
    c->end = p + len;
    c->x0 = (uint64_t) nlt_read_varint(&r);
    if (c->mode == NLT_DENSE_CONST) {
        return r.failed ? NLT_EDATA : NLT_OK;
    }
    c->g = nlt_read_uvarint(&r);
    if (c->t == NLT_DENSE_T2) {
        d1 = (uint64_t) nlt_read_varint(&r);
    }
    c->slope = c->t == NLT_DENSE_T3 ? (uint64_t) nlt_read_varint(&r) : 0;
    c->c = 0;
    if (c->mode != NLT_DENSE_PACK || c->z) {
        c->c = (uint64_t) nlt_read_varint(&r);
    }
    if (r.failed || n < 2) {
        return NLT_EDATA;
    }
    if (c->mode == NLT_DENSE_SPARSE) {
        return sparse && c->t != NLT_DENSE_T2 ? read_events(c, &r) : NLT_EDATA;
    }
    if (c->mode == NLT_DENSE_PACK && c->z) {
        uint8_t width = nlt_read_u8(&r);

        c->width = width & 127;
        c->patched = width >> 7;
    }
    if (c->mode == NLT_DENSE_HUFF
        && nlt_dense_read_table(&r, 2 * (head >> 5), c->z ? 0 : c->c, c)
               != NLT_OK) {
        return NLT_EDATA;
    }
    return read_directory(c, &r, d1);
}

/* ---- bits ---- */

/*
 * Eight numbers of `width` bits, which is a constant where this is inlined:
 * they fill just `width` bytes, and where each of them lies is known.
 */
static inline __attribute__((always_inline)) void
unpack8(const uint8_t *p, unsigned width, uint64_t base, uint64_t *out)
{
    uint64_t mask = nlt_dense_low(width);

#define ONE(i)                                                                \
    out[i] = base + ((nlt_le64(p + (i) *width / 8) >> ((i) *width % 8)) & mask)
    ONE(0);
    ONE(1);
    ONE(2);
    ONE(3);
    ONE(4);
    ONE(5);
    ONE(6);
    ONE(7);
#undef ONE
}

/* As many of n numbers as come in eights; how many. */
static size_t
unpack_eights(const uint8_t *p, size_t n, unsigned width, uint64_t base,
              uint64_t *out)
{
    size_t i = 0;

    n -= n % 8;
#define CASE(w)                                                               \
    case w:                                                                   \
        for (; i < n; i += 8, p += w) {                                       \
            unpack8(p, w, base, out + i);                                     \
        }                                                                     \
        break
#define FOUR(w)                                                               \
    CASE(w);                                                                  \
    CASE((w) + 1);                                                            \
    CASE((w) + 2);                                                            \
    CASE((w) + 3)
    switch (width) {
        FOUR(1);
        FOUR(5);
        FOUR(9);
        FOUR(13);
        FOUR(17);
        FOUR(21);
        FOUR(25);
        FOUR(29);
        FOUR(33);
        FOUR(37);
    default:
        break;
    }
#undef CASE
#undef FOUR
    return i;
}

/* Takes n numbers of `width` bits apart; 9 bytes behind are readable. */
static void
unpack(const uint8_t *p, size_t n, unsigned width, uint64_t base,
       uint64_t *out)
{
    uint64_t mask = nlt_dense_low(width);
    size_t i, bit;

    if (width == 0) {
        for (i = 0; i < n; i++) {
            out[i] = base;
        }
        return;
    }
    i = unpack_eights(p, n, width, base, out);
    bit = i * width;
    if (width <= 57) {
        for (; i < n; i++, bit += width) {
            out[i] = base + ((nlt_le64(p + (bit >> 3)) >> (bit & 7)) & mask);
        }
        return;
    }
    for (; i < n; i++, bit += width) {
        const uint8_t *at = p + (bit >> 3);
        unsigned sh = bit & 7;
        uint64_t v = nlt_le64(at) >> sh;

        v |= sh == 0 ? 0 : (uint64_t) at[8] << (64 - sh);
        out[i] = base + (v & mask);
    }
}

/* The first `want` of n numbers with patches; moves r behind all n. */
static nlt_rc_t
read_packed(nlt_reader_t *r, size_t n, size_t want, unsigned width,
            bool patched, uint64_t base, uint64_t *out)
{
    nlt_reader_t patches = *r;
    uint64_t n_patches = 0, at = 0;
    const uint8_t *p;

    if (width > 64 || (patched && width == 64)) {
        return NLT_EDATA;
    }
    if (patched) {
        n_patches = nlt_read_uvarint(r);
        if (n_patches > n) {
            return NLT_EDATA;
        }
        patches = *r;
        for (size_t i = 0; i < n_patches; i++) {
            (void) nlt_read_uvarint(r);
            (void) nlt_read_uvarint(r);
        }
    }
    p = nlt_read_bytes(r, (n * width + 7) / 8);
    if (p == NULL) {
        return NLT_EDATA;
    }
    unpack(p, want, width, base, out);
    for (size_t i = 0; i < n_patches; i++) {
        uint64_t gap = nlt_read_uvarint(&patches);
        uint64_t high = nlt_read_uvarint(&patches);

        if (gap >= n - at) {
            return NLT_EDATA;
        }
        at += gap;
        if (at < want) {
            out[at] += high << width;
        }
        at++;
    }
    return NLT_OK;
}

static nlt_rc_t
segment_pack(const nlt_dense_column_t *c, nlt_reader_t *r, size_t n,
             size_t want, uint64_t *out)
{
    if (c->z) {
        return read_packed(r, n, want, c->width, c->patched, c->c, out);
    }
    for (size_t i = 0; i < want; i += NLT_DENSE_BLOCK) {
        size_t k = n - i < NLT_DENSE_BLOCK ? n - i : NLT_DENSE_BLOCK;
        uint64_t base = (uint64_t) nlt_read_varint(r);
        uint8_t width = nlt_read_u8(r);
        nlt_rc_t rc =
            r->failed ? NLT_EDATA
                      : read_packed(r, k, want - i < k ? want - i : k,
                                    width & 127, width >> 7, base, out + i);

        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* One stream of codes. */
typedef struct {
    const uint8_t *p;
    size_t pos; /* in bits; no more than end + 1, which says that codes went
                   past the end, so no load leaves the slack */
    size_t end;
} stream_t;

/* The next code of w, which is moved on, and the number it is. */
static inline __attribute__((always_inline)) uint64_t
next_code(uint64_t *w, size_t *pos, const nlt_dense_code_t *table)
{
    const nlt_dense_code_t *e = &table[*w & (NLT_DENSE_CODES - 1)];
    uint64_t m = e->meta;
    uint64_t u = e->base + ((*w >> (m & 63)) & (m >> 16));
    unsigned bits = (m >> 8) & 63;

    *w >>= bits;
    *pos += bits;
    return u;
}

/* `per` codes, which together have no more than the 57 bits of one load. */
static inline __attribute__((always_inline)) void
next_codes(stream_t *s, const nlt_dense_code_t *table, unsigned per,
           uint64_t *out)
{
    uint64_t w = nlt_le64(s->p + (s->pos >> 3)) >> (s->pos & 7);
    size_t pos = s->pos;

    out[0] = next_code(&w, &pos, table);
    if (per > 1) {
        out[1] = next_code(&w, &pos, table);
    }
    if (per > 2) {
        out[2] = next_code(&w, &pos, table);
    }
    if (per > 3) {
        out[3] = next_code(&w, &pos, table);
    }
    s->pos = pos <= s->end ? pos : s->end + 1;
}

/* The first `rows` of four streams, each `q` numbers behind the last. */
static inline __attribute__((always_inline)) void
four_streams(stream_t *s, const nlt_dense_code_t *table, size_t rows, size_t q,
             unsigned per, uint64_t *out)
{
    stream_t a = s[0], b = s[1], c = s[2], d = s[3];
    size_t i = 0;

    for (; i + per <= rows; i += per) {
        next_codes(&a, table, per, out + i);
        next_codes(&b, table, per, out + i + q);
        next_codes(&c, table, per, out + i + 2 * q);
        next_codes(&d, table, per, out + i + 3 * q);
    }
    for (; i < rows; i++) {
        next_codes(&a, table, 1, out + i);
        next_codes(&b, table, 1, out + i + q);
        next_codes(&c, table, 1, out + i + 2 * q);
        next_codes(&d, table, 1, out + i + 3 * q);
    }
    s[0] = a;
    s[1] = b;
    s[2] = c;
    s[3] = d;
}

/* Where each stream lies.  NLT_EDATA. */
static nlt_rc_t
open_streams(nlt_reader_t *r, stream_t *s, size_t n_streams)
{
    size_t len[4] = {0};

    for (size_t k = 0; k + 1 < n_streams; k++) {
        len[k] = nlt_read_uvarint(r);
    }
    for (size_t k = 0; k < n_streams; k++) {
        if (k + 1 == n_streams) {
            len[k] = nlt_reader_left(r);
        }
        s[k] = (stream_t){nlt_read_bytes(r, len[k]), 0, len[k] * 8};
        if (s[k].p == NULL) {
            return NLT_EDATA;
        }
    }
    return NLT_OK;
}

/* Four streams at a time hide that each waits for its last code. */
static nlt_rc_t
segment_codes(const nlt_dense_column_t *c, nlt_reader_t *r, size_t n,
              size_t want, uint64_t *out)
{
    size_t n_streams = n < 64 ? 1 : 4, q = (n + n_streams - 1) / n_streams;
    size_t tail = n - (n_streams - 1) * q, rows = want < tail ? want : tail;
    stream_t s[4];

    if (open_streams(r, s, n_streams) != NLT_OK) {
        return NLT_EDATA;
    }
    if (n_streams == 1) {
        for (size_t i = 0; i < want; i++) {
            next_codes(&s[0], c->table, 1, out + i);
        }
    } else if (c->code_bits <= 14) {
        four_streams(s, c->table, rows, q, 4, out);
    } else if (c->code_bits <= 19) {
        four_streams(s, c->table, rows, q, 3, out);
    } else if (c->code_bits <= 28) {
        four_streams(s, c->table, rows, q, 2, out);
    } else {
        four_streams(s, c->table, rows, q, 1, out);
    }
    for (size_t i = rows; n_streams == 4 && i < q && i < want; i++) {
        for (size_t k = 0; k < 3; k++) {
            next_codes(&s[k], c->table, 1, out + k * q + i);
        }
    }
    for (size_t k = 0; k < n_streams; k++) {
        if (s[k].pos > s[k].end || (want == n && s[k].end - s[k].pos > 7)) {
            return NLT_EDATA;
        }
    }
    return NLT_OK;
}

/* ---- residuals ---- */

/*
 * n residuals of segment s to numbers, from xs and delta before it.  z: they
 * are zigzags of their distance from c->c.
 */
static inline __attribute__((always_inline)) void
integrate_as(const nlt_dense_column_t *c, size_t s, uint64_t xs, size_t n,
             bool z, uint64_t *out)
{
    uint64_t g = c->g, x = c->x0 + g * xs, d = g * c->delta[s], base = c->c;

#define R(i) (z ? base + (uint64_t) nlt_unzigzag(out[i]) : out[i])
    switch (c->t) {
    case NLT_DENSE_T0:
        for (size_t i = 0; i < n; i++) {
            out[i] = c->x0 + g * R(i);
        }
        break;
    case NLT_DENSE_T1:
        for (size_t i = 0; i < n; i++) {
            x += g * R(i);
            out[i] = x;
        }
        break;
    case NLT_DENSE_T2:
        for (size_t i = 0; i < n; i++) {
            d += g * R(i);
            x += d;
            out[i] = x;
        }
        break;
    default:
        x = c->x0 + g * c->slope * (s * NLT_DENSE_SEGMENT);
        for (size_t i = 0; i < n; i++) {
            x += g * c->slope;
            out[i] = x + g * R(i);
        }
        break;
    }
#undef R
}

static void
integrate(const nlt_dense_column_t *c, size_t s, uint64_t xs, size_t n,
          uint64_t *out)
{
    if (c->mode == NLT_DENSE_HUFF && c->z) {
        integrate_as(c, s, xs, n, true, out);
    } else {
        integrate_as(c, s, xs, n, false, out);
    }
}

static void
segment_sparse(const nlt_dense_column_t *c, size_t s, size_t n, uint64_t *out)
{
    size_t from = s * NLT_DENSE_SEGMENT, i = 0;
    uint64_t xs = c->c * from;

    for (; i < c->n_events && c->at[i] < from; i++) {
        xs += c->event[i];
    }
    for (size_t k = 0; k < n; k++) {
        out[k] = c->c;
    }
    for (; i < c->n_events && c->at[i] - from < n; i++) {
        out[c->at[i] - from] += c->event[i];
    }
    integrate(c, s, xs, n, out);
}

/* Does segment s, decoded, end where the next one begins? */
static bool
joins(const nlt_dense_column_t *c, size_t s, const uint64_t *x)
{
    const uint64_t *last = x + NLT_DENSE_SEGMENT - 1;

    if (c->t != NLT_DENSE_T1 && c->t != NLT_DENSE_T2) {
        return true;
    }
    return *last == c->x0 + c->g * c->xs[s + 1]
           && (c->t == NLT_DENSE_T1
               || *last - last[-1] == c->g * c->delta[s + 1]);
}

nlt_rc_t
nlt_dense_segment(const nlt_dense_column_t *c, size_t s, size_t want,
                  uint64_t *out)
{
    size_t n = nlt_dense_segment_len(c, s), len;
    uint8_t copy[SEGMENT_BYTES_MAX + NLT_DENSE_SLACK];
    const uint8_t *p;
    nlt_reader_t r;
    nlt_rc_t rc;

    if (c->mode == NLT_DENSE_CONST) {
        for (size_t i = 0; i < want; i++) {
            out[i] = c->x0;
        }
        return NLT_OK;
    }
    if (c->mode == NLT_DENSE_SPARSE) {
        segment_sparse(c, s, want, out);
        return NLT_OK;
    }
    p = c->seg[s];
    len = (size_t) (c->seg[s + 1] - p);
    if (len > SEGMENT_BYTES_MAX) {
        return NLT_EDATA;
    }
    if (c->end - c->seg[s + 1] < NLT_DENSE_SLACK) {
        memcpy(copy, p, len);
        memset(copy + len, 0, NLT_DENSE_SLACK);
        p = copy;
    }
    r = nlt_reader(p, len);
    rc = c->mode == NLT_DENSE_PACK ? segment_pack(c, &r, n, want, out)
                                   : segment_codes(c, &r, n, want, out);
    if (rc != NLT_OK || (want == n && nlt_reader_left(&r) > 0)) {
        return NLT_EDATA;
    }
    integrate(c, s, c->xs[s], want, out);
    return want < n || s + 1 == c->n_segs || joins(c, s, out) ? NLT_OK
                                                              : NLT_EDATA;
}

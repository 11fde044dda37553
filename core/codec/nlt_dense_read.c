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
    rc = nlt_dense_segment(&c, 0, rest);
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
        && nlt_dense_read_table(&r, 2 * (head >> 5), c->table) != NLT_OK) {
        return NLT_EDATA;
    }
    return read_directory(c, &r, d1);
}

/* ---- bits ---- */

/* Takes n numbers of `width` bits apart; 9 bytes behind are readable. */
static void
unpack(const uint8_t *p, size_t n, unsigned width, uint64_t base,
       uint64_t *out)
{
    uint64_t mask = nlt_dense_low(width);
    size_t bit = 0;

    if (width == 0) {
        for (size_t i = 0; i < n; i++) {
            out[i] = base;
        }
    } else if (width <= 57) {
        for (size_t i = 0; i < n; i++, bit += width) {
            out[i] = base + ((nlt_le64(p + (bit >> 3)) >> (bit & 7)) & mask);
        }
    } else {
        for (size_t i = 0; i < n; i++, bit += width) {
            const uint8_t *at = p + (bit >> 3);
            unsigned sh = bit & 7;
            uint64_t v = nlt_le64(at) >> sh;

            v |= sh == 0 ? 0 : (uint64_t) at[8] << (64 - sh);
            out[i] = base + (v & mask);
        }
    }
}

/* n numbers with patches; moves r on. */
static nlt_rc_t
read_packed(nlt_reader_t *r, size_t n, unsigned width, bool patched,
            uint64_t base, uint64_t *out)
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
    unpack(p, n, width, base, out);
    for (size_t i = 0; i < n_patches; i++) {
        uint64_t gap = nlt_read_uvarint(&patches);

        if (gap >= n - at) {
            return NLT_EDATA;
        }
        at += gap;
        out[at++] += nlt_read_uvarint(&patches) << width;
    }
    return NLT_OK;
}

static nlt_rc_t
segment_pack(const nlt_dense_column_t *c, nlt_reader_t *r, size_t n,
             uint64_t *out)
{
    if (c->z) {
        return read_packed(r, n, c->width, c->patched, c->c, out);
    }
    for (size_t i = 0; i < n; i += NLT_DENSE_BLOCK) {
        size_t k = n - i < NLT_DENSE_BLOCK ? n - i : NLT_DENSE_BLOCK;
        uint64_t base = (uint64_t) nlt_read_varint(r);
        uint8_t width = nlt_read_u8(r);
        nlt_rc_t rc = r->failed ? NLT_EDATA
                                : read_packed(r, k, width & 127, width >> 7,
                                              base, out + i);

        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* One stream of codes; pos never passes end, so no load leaves the slack. */
typedef struct {
    const uint8_t *p;
    size_t pos; /* in bits */
    size_t end;
} stream_t;

static inline uint64_t
next_code(stream_t *s, const uint16_t *table)
{
    uint64_t w = nlt_le64(s->p + (s->pos >> 3)) >> (s->pos & 7);
    uint16_t e = table[w & (NLT_DENSE_CODES - 1)];
    unsigned len = e & 15, raw = (e >> 4) & 63;
    uint64_t u = ((uint64_t) (e >> 10) << raw)
                 | ((w >> len) & ((UINT64_C(1) << raw) - 1));

    s->pos += len + raw;
    s->pos = s->pos < s->end ? s->pos : s->end;
    return u;
}

/* Four streams at a time hide that each waits for its last code. */
static nlt_rc_t
segment_codes(const nlt_dense_column_t *c, nlt_reader_t *r, size_t n,
              uint64_t *out)
{
    size_t n_streams = n < 64 ? 1 : 4, q = (n + n_streams - 1) / n_streams;
    size_t len[4] = {0}, tail = n - (n_streams - 1) * q;
    stream_t s[4];

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
    if (n_streams == 4) {
        stream_t a = s[0], b = s[1], d = s[2], e = s[3];

        for (size_t i = 0; i < tail; i++) {
            out[i] = next_code(&a, c->table);
            out[i + q] = next_code(&b, c->table);
            out[i + 2 * q] = next_code(&d, c->table);
            out[i + 3 * q] = next_code(&e, c->table);
        }
        s[0] = a, s[1] = b, s[2] = d, s[3] = e;
        for (size_t i = tail; i < q; i++) {
            for (size_t k = 0; k < 3; k++) {
                out[i + k * q] = next_code(&s[k], c->table);
            }
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            out[i] = next_code(&s[0], c->table);
        }
    }
    for (size_t k = 0; k < n_streams; k++) {
        if ((s[k].pos + 7) / 8 != len[k]) {
            return NLT_EDATA;
        }
    }
    return NLT_OK;
}

static nlt_rc_t
segment_huff(const nlt_dense_column_t *c, nlt_reader_t *r, size_t n,
             uint64_t *out)
{
    nlt_rc_t rc = segment_codes(c, r, n, out);

    if (c->z) {
        for (size_t i = 0; i < n; i++) {
            out[i] = c->c + (uint64_t) nlt_unzigzag(out[i]);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            out[i] += c->c;
        }
    }
    return rc;
}

/* ---- residuals ---- */

/* Residuals of segment s to numbers, from xs and delta before it. */
static void
integrate(const nlt_dense_column_t *c, size_t s, uint64_t xs, size_t n,
          uint64_t *out)
{
    uint64_t g = c->g, x = c->x0 + g * xs, d = g * c->delta[s];

    switch (c->t) {
    case NLT_DENSE_T0:
        for (size_t i = 0; i < n; i++) {
            out[i] = c->x0 + g * out[i];
        }
        break;
    case NLT_DENSE_T1:
        for (size_t i = 0; i < n; i++) {
            x += g * out[i];
            out[i] = x;
        }
        break;
    case NLT_DENSE_T2:
        for (size_t i = 0; i < n; i++) {
            d += g * out[i];
            x += d;
            out[i] = x;
        }
        break;
    default:
        x = c->x0 + g * c->slope * (s * NLT_DENSE_SEGMENT);
        for (size_t i = 0; i < n; i++) {
            x += g * c->slope;
            out[i] = x + g * out[i];
        }
        break;
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

nlt_rc_t
nlt_dense_segment(const nlt_dense_column_t *c, size_t s, uint64_t *out)
{
    size_t n = nlt_dense_segment_len(c, s), len;
    uint8_t copy[SEGMENT_BYTES_MAX + NLT_DENSE_SLACK];
    const uint8_t *p;
    nlt_reader_t r;
    nlt_rc_t rc;

    if (c->mode == NLT_DENSE_CONST) {
        for (size_t i = 0; i < n; i++) {
            out[i] = c->x0;
        }
        return NLT_OK;
    }
    if (c->mode == NLT_DENSE_SPARSE) {
        segment_sparse(c, s, n, out);
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
    rc = c->mode == NLT_DENSE_PACK ? segment_pack(c, &r, n, out)
                                   : segment_huff(c, &r, n, out);
    if (rc != NLT_OK || nlt_reader_left(&r) > 0) {
        return NLT_EDATA;
    }
    integrate(c, s, c->xs[s], n, out);
    return NLT_OK;
}

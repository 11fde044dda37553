/*
 * nlt_remote_read.c - see the header.
 */
#include <snappy-c.h>

#include "nlt_remote_read.h"

#include "nlt_hash.h"
#include "nlt_pb.h"

/* ---- the request ---- */

typedef struct {
    nlt_pool_t *pool;
    const uint8_t *base; /* positions of errors count from it */
    bool bad_matcher;    /* of an unknown type */
    nlt_err_t *err;
} parse_t;

static nlt_rc_t
wrong_type(const parse_t *c, const nlt_pb_field_t *f, const char *name)
{
    return nlt_err_set_at(c->err, NLT_EINVAL, f->p - c->base,
                          "proto: wrong wireType = %u for field %s", f->type,
                          name);
}

/* What a field has to look like; type 0xff: of a number not known, skipped. */
typedef struct {
    unsigned type;
    const char *name;
} field_t;

/*
 * The next field of a message that the table (n entries, by number) knows.
 * NLT_EOF: there is none; NLT_EINVAL.
 */
static nlt_rc_t
next_field(const parse_t *c, const uint8_t **p, const uint8_t *end,
           const field_t *table, size_t n, nlt_pb_field_t *f)
{
    nlt_pb_t what;

    while ((what = nlt_pb_next(p, end, f)) == NLT_PB_FIELD) {
        if (f->no >= n || table[f->no].name == NULL) {
            continue;
        }
        return f->type == table[f->no].type
                   ? NLT_OK
                   : wrong_type(c, f, table[f->no].name);
    }
    return what == NLT_PB_END ? NLT_EOF
                              : nlt_pb_error(c->err, what, f, *p - c->base);
}

static nlt_str_t
str_of(const nlt_pb_field_t *f)
{
    return (nlt_str_t){f->n, (const char *) f->p};
}

static int64_t
int_of(const nlt_pb_field_t *f)
{
    return (int64_t) nlt_pb_varint(f->p, f->n);
}

static nlt_rc_t
parse_matcher(parse_t *c, nlt_str_t text, nlt_matcher_t *m)
{
    static const field_t fields[] = {[1] = {NLT_PB_VARINT, "Type"},
                                     [2] = {NLT_PB_BYTES, "Name"},
                                     [3] = {NLT_PB_BYTES, "Value"}};
    static const nlt_match_op_t ops[] = {NLT_MATCH_EQ, NLT_MATCH_NE,
                                         NLT_MATCH_RE, NLT_MATCH_NRE};
    const uint8_t *p = (const uint8_t *) text.data;
    const uint8_t *end = p + text.len;
    uint32_t type = 0;
    nlt_pb_field_t f;
    nlt_rc_t rc;

    *m = (nlt_matcher_t){.op = NLT_MATCH_EQ};
    while ((rc = next_field(c, &p, end, fields, NLT_COUNT(fields), &f))
           == NLT_OK) {
        if (f.no == 1) {
            type = (uint32_t) nlt_pb_varint(f.p, f.n);
        } else if (f.no == 2) {
            m->name = str_of(&f);
        } else {
            m->value = str_of(&f);
        }
    }
    if (type < NLT_COUNT(ops)) {
        m->op = ops[type];
    } else {
        c->bad_matcher = true;
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

static nlt_rc_t
parse_hints(parse_t *c, nlt_str_t text, nlt_rr_query_t *q)
{
    static const field_t fields[] = {
        [1] = {NLT_PB_VARINT, "StepMs"},  [2] = {NLT_PB_BYTES, "Func"},
        [3] = {NLT_PB_VARINT, "StartMs"}, [4] = {NLT_PB_VARINT, "EndMs"},
        [5] = {NLT_PB_BYTES, "Grouping"}, [6] = {NLT_PB_VARINT, "By"},
        [7] = {NLT_PB_VARINT, "RangeMs"}};
    const uint8_t *p = (const uint8_t *) text.data;
    const uint8_t *end = p + text.len;
    nlt_pb_field_t f;
    nlt_rc_t rc;

    q->has_hints = true;
    while ((rc = next_field(c, &p, end, fields, NLT_COUNT(fields), &f))
           == NLT_OK) {
        if (f.no == 2) {
            q->func = str_of(&f);
        } else if (f.no == 3) {
            q->hint_start_ms = int_of(&f);
        } else if (f.no == 4) {
            q->hint_end_ms = int_of(&f);
        }
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

static const field_t query_fields[] = {
    [1] = {NLT_PB_VARINT, "StartTimestampMs"},
    [2] = {NLT_PB_VARINT, "EndTimestampMs"},
    [3] = {NLT_PB_BYTES, "Matchers"},
    [4] = {NLT_PB_BYTES, "Hints"}};

/* How many matchers a query has; its framing is good after that. */
static nlt_rc_t
count_matchers(const parse_t *c, nlt_str_t text, size_t *n)
{
    const uint8_t *p = (const uint8_t *) text.data;
    const uint8_t *end = p + text.len;
    nlt_pb_field_t f;
    nlt_rc_t rc;

    *n = 0;
    while ((rc = next_field(c, &p, end, query_fields, NLT_COUNT(query_fields),
                            &f))
           == NLT_OK) {
        *n += f.no == 3;
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

static nlt_rc_t
parse_query(parse_t *c, nlt_str_t text, nlt_rr_query_t *q)
{
    const uint8_t *p = (const uint8_t *) text.data;
    const uint8_t *end = p + text.len;
    nlt_pb_field_t f;
    size_t n;
    nlt_rc_t rc = count_matchers(c, text, &n);

    if (rc != NLT_OK) {
        return rc;
    }
    *q = (nlt_rr_query_t){
        .matchers = nlt_pool_array(c->pool, n, sizeof(nlt_matcher_t))};
    if (q->matchers == NULL) {
        return nlt_err_set(c->err, NLT_ENOMEM, "out of memory");
    }
    while ((rc = next_field(c, &p, end, query_fields, NLT_COUNT(query_fields),
                            &f))
           == NLT_OK) {
        if (f.no == 1) {
            q->t_start_ms = int_of(&f);
        } else if (f.no == 2) {
            q->t_end_ms = int_of(&f);
        } else {
            rc = f.no == 3 ? parse_matcher(c, str_of(&f),
                                           &q->matchers[q->n_matchers++])
                           : parse_hints(c, str_of(&f), q);
            if (rc != NLT_OK) {
                return rc;
            }
        }
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

/* Response types: one number, or several packed into one field. */
static nlt_rc_t
parse_types(const parse_t *c, const nlt_pb_field_t *f, nlt_rr_request_t *out)
{
    const uint8_t *p = f->p, *end = f->p + f->n;

    while (p < end) {
        const uint8_t *from = p;

        while (p < end && *p >= 0x80) {
            p++;
        }
        if (p == end) {
            return nlt_pb_error(c->err, NLT_PB_TRUNCATED, f, from - c->base);
        }
        p++;
        if (p - from > 10) {
            return nlt_pb_error(c->err, NLT_PB_OVERFLOW, f, from - c->base);
        }
        out->types[out->n_types++] =
            (int32_t) nlt_pb_varint(from, (size_t) (p - from));
    }
    return NLT_OK;
}

/* Fields of the request by number; types come in either of two forms. */
static nlt_rc_t
next_part(const parse_t *c, const uint8_t **p, const uint8_t *end,
          nlt_pb_field_t *f)
{
    nlt_pb_t what;

    while ((what = nlt_pb_next(p, end, f)) == NLT_PB_FIELD) {
        if (f->no == 1) {
            return f->type == NLT_PB_BYTES ? NLT_OK
                                           : wrong_type(c, f, "Queries");
        }
        if (f->no == 2) {
            return f->type == NLT_PB_BYTES || f->type == NLT_PB_VARINT
                       ? NLT_OK
                       : wrong_type(c, f, "AcceptedResponseTypes");
        }
    }
    return what == NLT_PB_END ? NLT_EOF
                              : nlt_pb_error(c->err, what, f, *p - c->base);
}

nlt_rc_t
nlt_rr_parse(nlt_pool_t *pool, nlt_str_t request, nlt_rr_request_t *out,
             nlt_err_t *err)
{
    const uint8_t *base =
        (const uint8_t *) (request.len > 0 ? request.data : "");
    const uint8_t *p = base, *end = base + request.len;
    parse_t c = {pool, base, false, err};
    size_t n_queries = 0, n_types = 0;
    nlt_pb_field_t f;
    nlt_rc_t rc;

    *out = (nlt_rr_request_t){.queries = NULL};
    while ((rc = next_part(&c, &p, end, &f)) == NLT_OK) {
        n_queries += f.no == 1;
        n_types += f.no == 2 ? f.n : 0; /* a byte each at least */
    }
    if (rc != NLT_EOF) {
        return rc;
    }
    out->queries = nlt_pool_array(pool, n_queries, sizeof(nlt_rr_query_t));
    out->types = nlt_pool_array(pool, n_types, sizeof(int32_t));
    if (out->queries == NULL || out->types == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    for (p = base; (rc = next_part(&c, &p, end, &f)) == NLT_OK;) {
        rc = f.no == 1
                 ? parse_query(&c, str_of(&f), &out->queries[out->n_queries++])
                 : parse_types(&c, &f, out);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    if (rc == NLT_EOF && c.bad_matcher) {
        return nlt_err_set(err, NLT_EEXEC, "invalid matcher type");
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

nlt_rc_t
nlt_rr_negotiate(const nlt_rr_request_t *req, nlt_rr_type_t *out,
                 nlt_err_t *err)
{
    char text[256];
    nlt_err_t part;
    size_t len = 0;

    *out = NLT_RR_SAMPLES;
    for (size_t i = 0; i < req->n_types; i++) {
        if (req->types[i] == NLT_RR_SAMPLES
            || req->types[i] == NLT_RR_STREAMED) {
            *out = (nlt_rr_type_t) req->types[i];
            return NLT_OK;
        }
    }
    if (req->n_types == 0) {
        return NLT_OK;
    }
    for (size_t i = 0; i < req->n_types && len + 16 < sizeof(text); i++) {
        (void) nlt_err_set(&part, NLT_OK, "%s%d", i > 0 ? " " : "",
                           (int) req->types[i]);
        memcpy(text + len, part.text, part.len);
        len += part.len;
    }
    return nlt_err_set(err, NLT_EINVAL,
                       "server does not support any of the requested response "
                       "types: [%.*s]; supported: map[SAMPLES:{} "
                       "STREAMED_XOR_CHUNKS:{}]",
                       (int) len, text);
}

/* ---- messages of the answer ---- */

/* Bytes of a field of type 2 with n bytes and a number below 16. */
static size_t
field_len(size_t n)
{
    return 1 + nlt_uvarint_len(n) + n;
}

static void
add_field(nlt_buf_t *b, unsigned no, nlt_str_t s)
{
    nlt_buf_add_byte(b, (uint8_t) (no << 3 | NLT_PB_BYTES));
    nlt_buf_add_uvarint(b, s.len);
    nlt_buf_add_str(b, s);
}

void
nlt_rr_add_labels(nlt_buf_t *b, nlt_labels_t labels)
{
    for (size_t i = 0; i < labels.n; i++) {
        nlt_label_t l = labels.v[i];

        nlt_buf_add_byte(b, 1 << 3 | NLT_PB_BYTES);
        nlt_buf_add_uvarint(b, field_len(l.name.len) + field_len(l.value.len));
        add_field(b, 1, l.name);
        add_field(b, 2, l.value);
    }
}

void
nlt_rr_add_samples(nlt_buf_t *b, const int64_t *t_ms, const double *v,
                   size_t n)
{
    /* tag, length; tag, 8 bytes; tag, varint */
    enum {
        SAMPLE_MAX = 2 + 9 + 1 + NLT_UVARINT_BYTES_MAX
    };
    char *out = nlt_buf_reserve(b, n * SAMPLE_MAX);
    size_t len = 0;

    if (out == NULL) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char *s = out + len;
        size_t k = 2;

        /* proto3: what is zero is not written */
        if (nlt_bits_of(v[i]) != 0) {
            s[k] = 1 << 3 | NLT_PB_FIXED64;
            nlt_put_le64(s + k + 1, nlt_bits_of(v[i]));
            k += 9;
        }
        if (t_ms[i] != 0) {
            s[k] = 2 << 3 | NLT_PB_VARINT;
            k += 1 + nlt_put_uvarint(s + k + 1, (uint64_t) t_ms[i]);
        }
        s[0] = 2 << 3 | NLT_PB_BYTES;
        s[1] = (char) (k - 2);
        len += k;
    }
    nlt_buf_advance(b, len);
}

static void
add_number(nlt_buf_t *b, unsigned no, uint64_t v)
{
    if (v != 0) {
        nlt_buf_add_byte(b, (uint8_t) (no << 3 | NLT_PB_VARINT));
        nlt_buf_add_uvarint(b, v);
    }
}

static size_t
number_len(uint64_t v)
{
    return v != 0 ? 1 + nlt_uvarint_len(v) : 0;
}

void
nlt_rr_add_chunk(nlt_buf_t *b, int64_t t_first_ms, int64_t t_last_ms,
                 nlt_str_t data)
{
    enum {
        ENCODING_XOR = 1
    };

    nlt_buf_add_byte(b, 2 << 3 | NLT_PB_BYTES);
    nlt_buf_add_uvarint(
        b, number_len((uint64_t) t_first_ms) + number_len((uint64_t) t_last_ms)
               + number_len(ENCODING_XOR) + field_len(data.len));
    add_number(b, 1, (uint64_t) t_first_ms);
    add_number(b, 2, (uint64_t) t_last_ms);
    add_number(b, 3, ENCODING_XOR);
    add_field(b, 4, data);
}

void
nlt_rr_add_frame(nlt_buf_t *b, nlt_str_t series, size_t query_idx)
{
    size_t len = field_len(series.len) + number_len(query_idx);
    size_t at;

    nlt_buf_add_uvarint(b, len);
    nlt_buf_add_be32(b, 0);
    at = b->len;
    add_field(b, 1, series);
    add_number(b, 2, query_idx);
    if (b->rc == NLT_OK) {
        nlt_put_be32(b->data + at - 4, nlt_crc32c(0, b->data + at, len));
    }
}

/* ---- one snappy block that grows ---- */

static nlt_rr_piece_t *
add_piece(nlt_rr_pack_t *p, size_t len)
{
    nlt_rr_piece_t *piece = nlt_pool_alloc(p->pool, sizeof(*piece) + len);

    if (piece != NULL) {
        *piece = (nlt_rr_piece_t){NULL, len, (char *) (piece + 1)};
        p->last->next = piece;
        p->last = piece;
    }
    return piece;
}

/* Compresses what lies in raw, without the length in front of it. */
static nlt_rc_t
flush(nlt_rr_pack_t *p)
{
    size_t n = snappy_max_compressed_length(NLT_RR_FRAGMENT);
    nlt_rr_piece_t *piece;
    size_t skip;

    if (p->n_raw == 0) {
        return NLT_OK;
    }
    if (snappy_compress(p->raw, p->n_raw, p->packed, &n) != SNAPPY_OK) {
        return NLT_EBUG;
    }
    skip = nlt_uvarint_len(p->n_raw);
    piece = add_piece(p, n - skip);
    if (piece == NULL) {
        return NLT_ENOMEM;
    }
    memcpy(piece + 1, p->packed + skip, n - skip);
    p->n_raw = 0;
    return NLT_OK;
}

nlt_rc_t
nlt_rr_pack_begin(nlt_rr_pack_t *p, nlt_pool_t *pool)
{
    *p = (nlt_rr_pack_t){.pool = pool};
    p->raw = nlt_pool_alloc(pool, NLT_RR_FRAGMENT);
    p->packed =
        nlt_pool_alloc(pool, snappy_max_compressed_length(NLT_RR_FRAGMENT));
    p->first = nlt_pool_alloc(pool, sizeof(*p->first) + NLT_UVARINT_BYTES_MAX);
    if (p->raw == NULL || p->packed == NULL || p->first == NULL) {
        return NLT_ENOMEM;
    }
    p->last = p->first;
    *p->first = (nlt_rr_piece_t){NULL, 0, (char *) (p->first + 1)};
    return NLT_OK;
}

/* A piece of a literal: one byte says how long it is, up to 60. */
#define HEAD_MAX (1 + 1 + NLT_UVARINT_BYTES_MAX)

nlt_rc_t
nlt_rr_pack_result(nlt_rr_pack_t *p)
{
    p->n_result = 0;
    p->head = add_piece(p, HEAD_MAX);
    return p->head == NULL ? NLT_ENOMEM : NLT_OK;
}

nlt_rc_t
nlt_rr_pack_result_end(nlt_rr_pack_t *p)
{
    char *head = (char *) (p->head + 1);
    nlt_rc_t rc = flush(p);

    head[1] = 1 << 3 | NLT_PB_BYTES;
    p->head->len = 2 + nlt_put_uvarint(head + 2, p->n_result);
    head[0] = (char) ((p->head->len - 2) << 2);
    p->n_total += p->head->len - 1 + p->n_result;
    return rc;
}

static nlt_rc_t
add_raw(nlt_rr_pack_t *p, nlt_str_t s)
{
    p->n_result += s.len;
    while (s.len > 0) {
        size_t n = NLT_RR_FRAGMENT - p->n_raw;
        nlt_rc_t rc;

        n = n < s.len ? n : s.len;
        memcpy(p->raw + p->n_raw, s.data, n);
        p->n_raw += n;
        s.data += n;
        s.len -= n;
        rc = p->n_raw == NLT_RR_FRAGMENT ? flush(p) : NLT_OK;
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

nlt_rc_t
nlt_rr_pack_series(nlt_rr_pack_t *p, nlt_str_t series)
{
    char head[1 + NLT_UVARINT_BYTES_MAX];
    size_t n;
    nlt_rc_t rc;

    head[0] = 1 << 3 | NLT_PB_BYTES;
    n = 1 + nlt_put_uvarint(head + 1, series.len);
    rc = add_raw(p, (nlt_str_t){n, head});
    return rc == NLT_OK ? add_raw(p, series) : rc;
}

nlt_rc_t
nlt_rr_pack_end(nlt_rr_pack_t *p)
{
    if (p->n_total > UINT32_MAX) {
        return NLT_ETOOBIG;
    }
    p->first->len = nlt_put_uvarint(p->first + 1, p->n_total);
    return NLT_OK;
}

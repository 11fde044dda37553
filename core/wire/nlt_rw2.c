/*
 * nlt_rw2.c - symbols and series of a remote_write 2.0 request.
 *
 * As in 1.0, what encoders write has a fast path and anything else the
 * general one: packed references, samples of value and time, and metadata of
 * three small numbers.
 */
#include "nlt_limits.h"
#include "nlt_rw_priv.h"

#define F_RQ_SYMBOLS    4
#define F_RQ_TIMESERIES 5
#define F_TS_REFS       1
#define F_TS_SAMPLES    2
#define F_TS_HISTOGRAMS 3
#define F_TS_EXEMPLARS  4
#define F_TS_METADATA   5
#define F_MD_TYPE       1
#define F_MD_HELP       3
#define F_MD_UNIT       4

#define TAG_REFS     0x0a
#define TAG_SAMPLE   0x12
#define TAG_METADATA 0x2a

#define TAG_SYMBOL     (F_RQ_SYMBOLS << 3 | NLT_PB_BYTES)
#define TAG_TIMESERIES (F_RQ_TIMESERIES << 3 | NLT_PB_BYTES)

/*
 * nlt_pb_next() for what nearly all fields of a request are: symbols and
 * series of up to 16383 bytes.
 */
static inline nlt_pb_t
next_field(const uint8_t **p, const uint8_t *end, nlt_pb_field_t *f)
{
    const uint8_t *q = *p;

    if (nlt_likely(end - q >= 3
                   && (q[0] == TAG_TIMESERIES || q[0] == TAG_SYMBOL)
                   && (q[1] < 0x80 || q[2] < 0x80))) {
        size_t n = q[1];
        const uint8_t *body = q + 2;

        if (n >= 0x80) {
            n = (n & 0x7f) | (size_t) q[2] << 7;
            body++;
        }
        if (nlt_likely((size_t) (end - body) >= n)) {
            *f = (nlt_pb_field_t){q[0] >> 3, NLT_PB_BYTES, body, n};
            *p = body + n;
            return NLT_PB_FIELD;
        }
    }
    return nlt_pb_next(p, end, f);
}

/* ---- symbols ---- */

void
nlt_rw2_scan_init(nlt_rw2_scan_t *s, nlt_str_t request)
{
    static const uint8_t nothing[1];

    *s = (nlt_rw2_scan_t){0};
    s->base = request.len ? (const uint8_t *) request.data : nothing;
    s->p = s->base;
    s->end = s->base + request.len;
}

nlt_rc_t
nlt_rw2_scan(nlt_rw2_scan_t *s, uint32_t max, nlt_err_t *err)
{
    nlt_pb_field_t f;
    nlt_pb_t pb;

    for (; max > 0; max--) {
        const uint8_t *at = s->p;

        pb = next_field(&s->p, s->end, &f);
        if (pb == NLT_PB_END) {
            return NLT_OK;
        }
        if (pb != NLT_PB_FIELD) {
            return nlt_pb_error(err, pb, &f, at - s->base);
        }
        if (f.no == F_RQ_TIMESERIES || f.no == F_RQ_SYMBOLS) {
            bool symbol = f.no == F_RQ_SYMBOLS;

            if (f.type != NLT_PB_BYTES) {
                return nlt_rw_wrong_type(err, f.type,
                                         symbol ? "Symbols" : "Timeseries",
                                         at - s->base);
            }
            if (!symbol) {
                continue;
            }
            if (s->n == s->cap) {
                s->p = at;
                return NLT_EFULL;
            }
            s->v[s->n++] =
                (nlt_rw2_symbol_t){(uint32_t) (f.p - s->base), (uint32_t) f.n};
        }
    }
    return NLT_AGAIN;
}

/* ---- series ---- */

typedef struct {
    const uint8_t *base; /* for error positions */
    uint32_t *refs;
    uint32_t cap;
} series_walk_t;

/*
 * One reference of any length; false if it is not whole.  Bits beyond 32 are
 * dropped, as decoders do.
 */
static bool
long_ref(const uint8_t **p, const uint8_t *end, uint32_t *v)
{
    const uint8_t *q = *p;
    size_t k = 0;

    while (q + k < end && k < 9 && q[k] >= 0x80) {
        k++;
    }
    if (q + k == end || q[k] >= 0x80) {
        return false;
    }
    *v = (uint32_t) nlt_pb_varint(q, k + 1);
    *p = q + k + 1;
    return true;
}

/* Packed references [p, end) that may not fit. */
static bool
many_refs(series_walk_t *w, const uint8_t *p, const uint8_t *end,
          nlt_rw2_series_t *out)
{
    uint32_t v;

    for (; p < end; out->n_refs++) {
        if (!long_ref(&p, end, &v)) {
            return false;
        }
        if (out->n_refs < w->cap) {
            w->refs[out->n_refs] = v;
        }
    }
    return true;
}

/* Packed references [p, end); false when they are not whole varints. */
static inline bool
packed_refs(series_walk_t *w, const uint8_t *p, const uint8_t *end,
            nlt_rw2_series_t *out)
{
    uint32_t n = out->n_refs, *to, v;

    /* Each takes a byte at least. */
    if (nlt_unlikely(n > w->cap || (size_t) (end - p) > w->cap - n)) {
        return many_refs(w, p, end, out);
    }
    for (to = w->refs + n; p < end; *to++ = v) {
        v = *p++;
        if (v >= 0x80) {
            if (nlt_likely(p < end && *p < 0x80)) {
                v += ((uint32_t) *p++ << 7) - 0x80;
            } else {
                p--;
                if (!long_ref(&p, end, &v)) {
                    return false;
                }
            }
        }
    }
    out->n_refs = (uint32_t) (to - w->refs);
    return true;
}

static nlt_rc_t
add_refs(series_walk_t *w, const uint8_t *at, const nlt_pb_field_t *f,
         nlt_rw2_series_t *out, nlt_err_t *err)
{
    static const nlt_rw_shape_t refs[] = {
        {F_TS_REFS, NLT_PB_VARINT, true, "LabelsRefs", NULL},
        {0, 0, false, NULL, NULL}};

    if (f->type != NLT_PB_BYTES && f->type != NLT_PB_VARINT) {
        return nlt_rw_wrong_type(err, f->type, "LabelsRefs", at - w->base);
    }
    /* The payload of one that is not packed is a run of one. */
    if (packed_refs(w, f->p, f->p + f->n, out)) {
        return NLT_OK;
    }
    /* For the text. */
    return nlt_rw_check_shape(w->base, at, (size_t) (f->p + f->n - at), refs,
                              err);
}

static nlt_rc_t
read_metadata(series_walk_t *w, const nlt_pb_field_t *msg,
              nlt_rw2_series_t *out, nlt_err_t *err)
{
    const uint8_t *p = msg->p;
    nlt_pb_field_t f;
    nlt_rc_t rc;

    rc = nlt_rw_check_shape(w->base, msg->p, msg->n, nlt_rw_shape_metadata2,
                            err);
    while (rc == NLT_OK
           && nlt_pb_next(&p, msg->p + msg->n, &f) == NLT_PB_FIELD) {
        if (f.no == F_MD_TYPE) {
            out->meta_type = (uint32_t) nlt_pb_varint(f.p, f.n);
        } else if (f.no == F_MD_HELP) {
            out->help_ref = (uint32_t) nlt_pb_varint(f.p, f.n);
        } else if (f.no == F_MD_UNIT) {
            out->unit_ref = (uint32_t) nlt_pb_varint(f.p, f.n);
        }
    }
    return rc;
}

/* A number of one or two bytes behind `tag`, if that is what there is. */
static inline bool
small(const uint8_t **p, const uint8_t *end, uint8_t tag, uint32_t *out)
{
    const uint8_t *q = *p;

    if (end - q >= 2 && q[0] == tag && q[1] < 0x80) {
        *out = q[1];
        *p = q + 2;
        return true;
    }
    if (end - q >= 3 && q[0] == tag && q[2] < 0x80) {
        *out = (q[1] & 0x7fu) | (uint32_t) q[2] << 7;
        *p = q + 3;
        return true;
    }
    return false;
}

/*
 * The usual Metadata: numbers in order, each at most once.  false: another
 * form; what has been set is set again by read_metadata().
 */
static inline bool
metadata_usual(const uint8_t *p, size_t n, nlt_rw2_series_t *out)
{
    const uint8_t *end = p + n;

    (void) small(&p, end, F_MD_TYPE << 3, &out->meta_type);
    (void) small(&p, end, F_MD_HELP << 3, &out->help_ref);
    (void) small(&p, end, F_MD_UNIT << 3, &out->unit_ref);
    return p == end;
}

static nlt_rc_t
series_field(series_walk_t *w, const uint8_t *at, const nlt_pb_field_t *f,
             nlt_rw2_series_t *out, nlt_err_t *err)
{
    static const char *const names[] = {"",           "",          "Samples",
                                        "Histograms", "Exemplars", "Metadata"};
    nlt_rc_t rc;

    if (f->no > F_TS_METADATA) {
        return NLT_OK;
    }
    if (f->no == F_TS_REFS) {
        return add_refs(w, at, f, out, err);
    }
    if (f->type != NLT_PB_BYTES) {
        return nlt_rw_wrong_type(err, f->type, names[f->no], at - w->base);
    }
    switch (f->no) {
    case F_TS_SAMPLES:
        if (out->s.n_samples++ == 0) {
            out->s.samples_off =
                (size_t) (at - (const uint8_t *) out->s.body.data);
        }
        if (nlt_rw_sample_usual(f->p, f->n, &out->s.t_ms, &out->s.v_bits)) {
            return NLT_OK;
        }
        rc =
            nlt_rw_check_shape(w->base, f->p, f->n, nlt_rw_shape_sample2, err);
        return rc != NLT_OK
                   ? rc
                   : nlt_rw_sample_fields(w->base, f->p, f->p + f->n,
                                          &out->s.t_ms, &out->s.v_bits, err);
    case F_TS_HISTOGRAMS:
        out->s.n_histograms++;
        return nlt_rw_check_shape(w->base, f->p, f->n, nlt_rw_shape_histogram2,
                                  err);
    case F_TS_EXEMPLARS:
        out->s.n_exemplars++;
        return nlt_rw_check_shape(w->base, f->p, f->n, nlt_rw_shape_exemplar2,
                                  err);
    default:
        if (metadata_usual(f->p, f->n, out)) {
            return NLT_OK;
        }
        return read_metadata(w, f, out, err);
    }
}

/* The usual series, as far as it goes: packed references, short samples,
 * metadata.
 * Returns where the unusual begins. */
static const uint8_t *
series_usual(series_walk_t *w, nlt_rw2_series_t *out)
{
    const uint8_t *start = (const uint8_t *) out->s.body.data;
    const uint8_t *p = start, *end = start + out->s.body.len;
    uint32_t n;

    if (end - p >= 2 && p[0] == TAG_REFS && p[1] < 0x80 && end - p - 2 >= p[1]
        && packed_refs(w, p + 2, p + 2 + p[1], out)) {
        p += 2 + p[1];
    }
    out->s.samples_off = (size_t) (p - start);
    for (n = 0; end - p >= 2 && p[0] == TAG_SAMPLE && end - p - 2 >= p[1];
         n++) {
        if (!nlt_rw_sample_usual(p + 2, p[1], &out->s.t_ms, &out->s.v_bits)) {
            break;
        }
        p += 2 + p[1];
    }
    out->s.n_samples = n;
    if (end - p >= 2 && p[0] == TAG_METADATA && end - p - 2 >= p[1]
        && p[1] < 0x80 && metadata_usual(p + 2, p[1], out)) {
        p += 2 + p[1];
    }
    return p;
}

/* out->s.body and .idx are set, the rest of *out is zero. */
static nlt_rc_t
series_walk(series_walk_t *w, nlt_rw2_series_t *out, nlt_err_t *err)
{
    const uint8_t *end = (const uint8_t *) out->s.body.data + out->s.body.len;
    const uint8_t *p = series_usual(w, out);
    nlt_pb_field_t f;
    nlt_pb_t pb;
    nlt_rc_t rc;

    while (p < end) {
        const uint8_t *at = p;

        pb = nlt_pb_next(&p, end, &f);
        if (nlt_unlikely(pb != NLT_PB_FIELD)) {
            return nlt_pb_error(err, pb, &f, at - w->base);
        }
        rc = series_field(w, at, &f, out, err);
        if (nlt_unlikely(rc != NLT_OK)) {
            return rc;
        }
    }
    out->s.n_labels = out->n_refs / 2;
    return NLT_OK;
}

void
nlt_rw2_walk_init(nlt_rw2_walk_t *w, nlt_str_t request, uint32_t *refs,
                  uint32_t refs_cap)
{
    static const uint8_t nothing[1];

    *w = (nlt_rw2_walk_t){0};
    w->base = request.len ? (const uint8_t *) request.data : nothing;
    w->p = w->base;
    w->end = w->base + request.len;
    w->refs = refs;
    w->refs_cap = refs_cap;
}

nlt_rc_t
nlt_rw2_walk_next(nlt_rw2_walk_t *w, nlt_rw2_series_t *out, nlt_err_t *err)
{
    series_walk_t sw;
    nlt_pb_field_t f;
    nlt_pb_t pb;
    nlt_rc_t rc;

    for (;;) {
        const uint8_t *at = w->p;

        pb = next_field(&w->p, w->end, &f);
        if (pb == NLT_PB_END) {
            return NLT_EOF;
        }
        if (pb != NLT_PB_FIELD) {
            w->p = w->end;
            return nlt_pb_error(err, pb, &f, at - w->base);
        }
        if (nlt_likely(f.no == F_RQ_TIMESERIES)) {
            if (f.type == NLT_PB_BYTES) {
                break;
            }
            w->p = w->end;
            return nlt_rw_wrong_type(err, f.type, "Timeseries", at - w->base);
        }
    }

    *out = (nlt_rw2_series_t){0};
    out->s.body = (nlt_str_t){f.n, (const char *) f.p};
    out->s.idx = w->n_series++;
    sw = (series_walk_t){w->base, w->refs, w->refs_cap};
    rc = series_walk(&sw, out, err);
    if (nlt_unlikely(rc != NLT_OK)) {
        w->p = w->end;
    }
    return rc;
}

nlt_rc_t
nlt_rw2_series_parse(nlt_str_t body, uint32_t *refs, uint32_t refs_cap,
                     nlt_rw2_series_t *out, nlt_err_t *err)
{
    static const char nothing[1];
    series_walk_t sw;

    *out = (nlt_rw2_series_t){0};
    out->s.body = body.len ? body : (nlt_str_t){0, nothing};
    sw = (series_walk_t){(const uint8_t *) out->s.body.data, refs, refs_cap};
    return series_walk(&sw, out, err);
}

nlt_rc_t
nlt_rw2_labels(const nlt_rw2_symbols_t *symbols, const uint32_t *refs,
               size_t n, nlt_label_t *out, size_t *n_out, nlt_err_t *err)
{
    size_t count = 0;

    *n_out = 0;
    if (n % 2 != 0) {
        return nlt_err_set(err, NLT_EINVAL, "invalid labelRefs length %zu", n);
    }
    for (size_t i = 0; i < n; i += 2) {
        if (refs[i] >= symbols->n || refs[i + 1] >= symbols->n) {
            *n_out = count;
            return nlt_err_set(err, NLT_EINVAL,
                               "labelRefs %u (name) = %u (value) outside of "
                               "symbols table (size %u)",
                               refs[i], refs[i + 1], symbols->n);
        }
        out[count++] = (nlt_label_t){nlt_rw2_symbol(symbols, refs[i]),
                                     nlt_rw2_symbol(symbols, refs[i + 1])};
    }
    *n_out = count;
    return NLT_OK;
}

/*
 * nlt_remote_write.c - the walker, and the judgement of the headers.
 *
 * Nearly all of a request is what encoders write: labels of less than 128
 * bytes in one run, then one sample of both fields in order.  Both have a
 * fast path of a few compares; anything else takes the general one, which
 * accepts the same messages and more.
 */
#include "nlt_limits.h"
#include "nlt_rw_priv.h"

#define F_WR_TIMESERIES 1
#define F_WR_METADATA   3
#define F_TS_LABELS     1
#define F_TS_SAMPLES    2
#define F_TS_EXEMPLARS  3
#define F_TS_HISTOGRAMS 4
#define F_SAMPLE_VALUE  1
#define F_SAMPLE_TIME   2

#define TAG_LABEL  0x0a
#define TAG_SAMPLE 0x12

/* State of one series walk: where it is and where the labels are. */
typedef struct {
    const uint8_t *base; /* for error positions */
    const uint8_t *run;  /* the current run of label fields, or NULL */
    const uint8_t *run_end;
    char *scratch;
    size_t scratch_cap;
    size_t scratch_len; /* labels gathered from runs that have ended */
} series_walk_t;

nlt_rc_t
nlt_rw_wrong_type(nlt_err_t *err, unsigned type, const char *field,
                  int64_t pos)
{
    return nlt_err_set_at(err, NLT_EINVAL, pos,
                          "proto: wrong wireType = %u for field %s", type,
                          field);
}

nlt_rc_t
nlt_rw_sample_fields(const uint8_t *base, const uint8_t *p, const uint8_t *end,
                     int64_t *t_ms, uint64_t *v_bits, nlt_err_t *err)
{
    nlt_pb_field_t f;
    nlt_pb_t rc;

    *t_ms = 0;
    *v_bits = 0;
    while ((rc = nlt_pb_next(&p, end, &f)) == NLT_PB_FIELD) {
        if (f.no == F_SAMPLE_VALUE) {
            if (f.type != NLT_PB_FIXED64) {
                return nlt_rw_wrong_type(err, f.type, "Value", f.p - base);
            }
            *v_bits = nlt_le64(f.p);
        } else if (f.no == F_SAMPLE_TIME) {
            if (f.type != NLT_PB_VARINT) {
                return nlt_rw_wrong_type(err, f.type, "Timestamp", f.p - base);
            }
            *t_ms = (int64_t) nlt_pb_varint(f.p, f.n);
        }
    }
    return rc == NLT_PB_END ? NLT_OK : nlt_pb_error(err, rc, &f, p - base);
}

/* Appends the current run of labels to scratch. */
static bool
gather(series_walk_t *w)
{
    size_t n = (size_t) (w->run_end - w->run);

    if (n > w->scratch_cap - w->scratch_len) {
        return false;
    }
    memcpy(w->scratch + w->scratch_len, w->run, n);
    w->scratch_len += n;
    return true;
}

/* Notes the label field [from, to). */
static nlt_rc_t
add_label(series_walk_t *w, const uint8_t *from, const uint8_t *to,
          nlt_rw_series_t *out, nlt_err_t *err)
{
    if (w->run != NULL && w->run_end != from) {
        if (!gather(w)) {
            return nlt_err_set_at(err, NLT_ETOOBIG, from - w->base,
                                  "labels of a series exceed %zu bytes",
                                  w->scratch_cap);
        }
        out->gathered = true;
        w->run = NULL;
    }
    if (w->run == NULL) {
        w->run = from;
    }
    w->run_end = to;
    out->n_labels++;
    return NLT_OK;
}

/* A field of a TimeSeries that begins at `at`. */
static nlt_rc_t
series_field(series_walk_t *w, const uint8_t *at, const nlt_pb_field_t *f,
             nlt_rw_series_t *out, nlt_err_t *err)
{
    static const char *const names[] = {"", "Labels", "Samples", "Exemplars",
                                        "Histograms"};

    if (f->no > F_TS_HISTOGRAMS) {
        return NLT_OK;
    }
    if (f->type != NLT_PB_BYTES) {
        return nlt_rw_wrong_type(err, f->type, names[f->no], at - w->base);
    }
    switch (f->no) {
    case F_TS_LABELS:
        return add_label(w, at, f->p + f->n, out, err);
    case F_TS_SAMPLES:
        if (out->n_samples++ == 0) {
            out->samples_off =
                (size_t) (at - (const uint8_t *) out->body.data);
        }
        if (nlt_rw_sample_usual(f->p, f->n, &out->t_ms, &out->v_bits)) {
            return NLT_OK;
        }
        return nlt_rw_sample_fields(w->base, f->p, f->p + f->n, &out->t_ms,
                                    &out->v_bits, err);
    case F_TS_EXEMPLARS:
        out->n_exemplars++;
        return nlt_rw_check_shape(w->base, f->p, f->n, nlt_rw_shape_exemplar,
                                  err);
    default:
        out->n_histograms++;
        return nlt_rw_check_shape(w->base, f->p, f->n, nlt_rw_shape_histogram,
                                  err);
    }
}

/*
 * The usual series, as far as it goes: short labels in one run, then samples
 * of both fields.  Returns where the unusual begins; the general walk goes on
 * from there.
 */
static const uint8_t *
series_usual(series_walk_t *w, nlt_rw_series_t *out)
{
    const uint8_t *start = (const uint8_t *) out->body.data;
    const uint8_t *p = start, *end = start + out->body.len;
    uint32_t n = 0;

    while (end - p >= 2 && p[0] == TAG_LABEL && p[1] < 0x80
           && end - p - 2 >= p[1]) {
        p += 2 + p[1];
        n++;
    }
    if (n) {
        w->run = start;
        w->run_end = p;
        out->n_labels = n;
    }
    out->samples_off = (size_t) (p - start);
    for (n = 0; end - p >= 2 && p[0] == TAG_SAMPLE && end - p - 2 >= p[1];
         n++) {
        if (!nlt_rw_sample_usual(p + 2, p[1], &out->t_ms, &out->v_bits)) {
            break;
        }
        p += 2 + p[1];
    }
    out->n_samples = n;
    return p;
}

/* out->body and out->idx are set, the rest of *out is zero. */
static nlt_rc_t
series_walk(series_walk_t *w, nlt_rw_series_t *out, nlt_err_t *err)
{
    const uint8_t *end = (const uint8_t *) out->body.data + out->body.len;
    const uint8_t *p = series_usual(w, out);
    nlt_pb_field_t f;
    nlt_pb_t pb;
    nlt_rc_t rc;

    for (;;) {
        const uint8_t *at = p;

        pb = nlt_pb_next(&p, end, &f);
        if (pb != NLT_PB_FIELD) {
            break;
        }
        rc = series_field(w, at, &f, out, err);
        if (nlt_unlikely(rc != NLT_OK)) {
            return rc;
        }
    }
    if (nlt_unlikely(pb != NLT_PB_END)) {
        return nlt_pb_error(err, pb, &f, p - w->base);
    }

    if (nlt_unlikely(out->gathered)) {
        if (!gather(w)) {
            return nlt_err_set_at(err, NLT_ETOOBIG, p - w->base,
                                  "labels of a series exceed %zu bytes",
                                  w->scratch_cap);
        }
        out->labels = (nlt_str_t){w->scratch_len, w->scratch};
    } else if (w->run != NULL) {
        out->labels =
            (nlt_str_t){(size_t) (w->run_end - w->run), (const char *) w->run};
    }
    return NLT_OK;
}

void
nlt_rw_walk_init(nlt_rw_walk_t *w, nlt_str_t request, char *scratch,
                 size_t scratch_cap)
{
    static const uint8_t nothing[1];

    *w = (nlt_rw_walk_t){0};
    w->base = request.len ? (const uint8_t *) request.data : nothing;
    w->p = w->base;
    w->end = w->base + request.len;
    w->scratch = scratch;
    w->scratch_cap = scratch_cap;
}

nlt_rc_t
nlt_rw_walk_next(nlt_rw_walk_t *w, nlt_rw_series_t *out, nlt_err_t *err)
{
    series_walk_t sw;
    nlt_pb_field_t f;
    nlt_pb_t pb;
    nlt_rc_t rc;

    for (;;) {
        const uint8_t *at = w->p;

        pb = nlt_pb_next(&w->p, w->end, &f);
        if (pb == NLT_PB_END) {
            return NLT_EOF;
        }
        if (pb != NLT_PB_FIELD) {
            w->p = w->end;
            return nlt_pb_error(err, pb, &f, at - w->base);
        }
        if (nlt_likely(f.no == F_WR_TIMESERIES)) {
            if (f.type == NLT_PB_BYTES) {
                break;
            }
            w->p = w->end;
            return nlt_rw_wrong_type(err, f.type, "Timeseries", at - w->base);
        }
        if (f.no == F_WR_METADATA) {
            if (f.type != NLT_PB_BYTES) {
                w->p = w->end;
                return nlt_rw_wrong_type(err, f.type, "Metadata",
                                         at - w->base);
            }
            rc = nlt_rw_check_shape(w->base, f.p, f.n, nlt_rw_shape_metadata,
                                    err);
            if (rc != NLT_OK) {
                w->p = w->end;
                return rc;
            }
            w->n_metadata++;
        }
    }

    *out = (nlt_rw_series_t){0};
    out->body = (nlt_str_t){f.n, (const char *) f.p};
    out->idx = w->n_series++;
    sw = (series_walk_t){w->base, NULL, NULL, w->scratch, w->scratch_cap, 0};
    rc = series_walk(&sw, out, err);
    if (nlt_unlikely(rc != NLT_OK)) {
        w->p = w->end;
    }
    return rc;
}

nlt_rc_t
nlt_rw_series_parse(nlt_str_t body, char *scratch, size_t scratch_cap,
                    nlt_rw_series_t *out, nlt_err_t *err)
{
    static const char nothing[1];
    series_walk_t sw;

    *out = (nlt_rw_series_t){0};
    out->body = body.len ? body : (nlt_str_t){0, nothing};
    sw = (series_walk_t){
        (const uint8_t *) out->body.data, NULL, NULL, scratch, scratch_cap, 0};
    return series_walk(&sw, out, err);
}

void
nlt_rw_samples_init(nlt_rw_samples_t *it, const nlt_rw_series_t *s)
{
    it->p = (const uint8_t *) s->body.data;
    it->end = it->p + s->body.len;
    it->p = s->n_samples ? it->p + s->samples_off : it->end;
}

bool
nlt_rw_samples_next(nlt_rw_samples_t *it, int64_t *t_ms, uint64_t *v_bits)
{
    nlt_pb_field_t f;

    while (nlt_pb_next(&it->p, it->end, &f) == NLT_PB_FIELD) {
        if (f.no != F_TS_SAMPLES) {
            continue;
        }
        return nlt_rw_sample_usual(f.p, f.n, t_ms, v_bits)
               || nlt_rw_sample_fields(it->p, f.p, f.p + f.n, t_ms, v_bits,
                                       NULL)
                      == NLT_OK;
    }
    it->p = it->end;
    return false;
}

/* ---- headers ---- */

static nlt_str_t
trim(nlt_str_t s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* Equal without regard to the case of ASCII letters; lower is lower case. */
static bool
eq_nocase(nlt_str_t s, nlt_str_t lower)
{
    if (s.len != lower.len) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];

        if (c >= 'A' && c <= 'Z') {
            c = (char) (c - 'A' + 'a');
        }
        if (c != lower.data[i]) {
            return false;
        }
    }
    return true;
}

/* Cuts s at the first sep; what was before it. */
static nlt_str_t
cut(nlt_str_t *s, char sep)
{
    const char *at = s->len ? memchr(s->data, sep, s->len) : NULL;
    nlt_str_t head = *s;

    if (at == NULL) {
        *s = (nlt_str_t){0, NULL};
        return head;
    }
    head.len = (size_t) (at - s->data);
    s->data = at + 1;
    s->len -= head.len + 1;
    return head;
}

#define PROTO_V1 "prometheus.WriteRequest"
#define PROTO_V2 "io.prometheus.write.v2.Request"

/* The value of the parameter proto=, or empty. */
static nlt_rc_t
content_type_proto(nlt_str_t whole, nlt_str_t *proto, nlt_err_t *err)
{
    nlt_str_t rest = whole, media;

    *proto = (nlt_str_t){0, NULL};
    media = trim(cut(&rest, ';'));
    if (!eq_nocase(media, NLT_STR("application/x-protobuf"))) {
        return nlt_err_set(err, NLT_ETYPE,
                           "expected application/x-protobuf as the first "
                           "(media) part, got %.*s content-type",
                           NLT_FMT(whole));
    }
    while (rest.len) {
        nlt_str_t part = cut(&rest, ';'), value = part, key;

        key = trim(cut(&value, '='));
        if (value.data == NULL
            || (value.len && memchr(value.data, '=', value.len))) {
            return nlt_err_set(
                err, NLT_ETYPE,
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter "
                "expected parameters to be key-values, got %.*s in %.*s "
                "content-type",
                NLT_FMT(part), NLT_FMT(whole));
        }
        value = trim(value);
        if (eq_nocase(key, NLT_STR("proto"))) {
            if (value.len >= 2 && value.data[0] == '"'
                && value.data[value.len - 1] == '"') {
                value = (nlt_str_t){value.len - 2, value.data + 1};
            }
            *proto = value;
            if (value.len == 0) {
                /* Given but empty: not the same as absent. */
                *proto = (nlt_str_t){0, value.data};
            }
            return NLT_OK;
        }
    }
    return NLT_OK;
}

nlt_rc_t
nlt_rw_negotiate(nlt_str_t content_type, nlt_str_t content_encoding,
                 int *version, nlt_err_t *err)
{
    nlt_str_t proto;
    nlt_rc_t rc;

    *version = 1;
    content_type = trim(content_type);
    if (content_type.len) {
        rc = content_type_proto(content_type, &proto, err);
        if (rc != NLT_OK) {
            return rc;
        }
        if (nlt_str_eq(proto, NLT_STR(PROTO_V2))) {
            *version = 2;
        } else if (proto.data != NULL
                   && !nlt_str_eq(proto, NLT_STR(PROTO_V1))) {
            return nlt_err_set(err, NLT_ETYPE,
                               "got %.*s content type; unknown type for "
                               "remote write protobuf message %.*s, "
                               "supported: " PROTO_V1 ", " PROTO_V2,
                               NLT_FMT(content_type), NLT_FMT(proto));
        }
    }
    content_encoding = trim(content_encoding);
    if (content_encoding.len
        && !eq_nocase(content_encoding, NLT_STR("snappy"))) {
        return nlt_err_set(err, NLT_ETYPE,
                           "%.*s encoding (compression) is not accepted by "
                           "this server; only snappy is acceptable",
                           NLT_FMT(content_encoding));
    }
    return NLT_OK;
}

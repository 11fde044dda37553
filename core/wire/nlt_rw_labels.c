/*
 * nlt_rw_labels.c - label sets of remote_write: parsed, and canonical.
 *
 * Only series that nobody has seen before come here, and the permutations
 * of a sender that tries to be one.
 */
#include "nlt_limits.h"
#include "nlt_rw_priv.h"

#define F_LABEL_NAME  1
#define F_LABEL_VALUE 2

#define TAG_LABEL 0x0a
#define TAG_NAME  0x0a
#define TAG_VALUE 0x12

/* One Label message; *at is where a fault is. */
static nlt_pb_t
label_parse(const nlt_pb_field_t *msg, nlt_label_t *out, nlt_pb_field_t *f,
            bool *wrong_type, const uint8_t **at)
{
    const uint8_t *p = msg->p;
    nlt_pb_t rc;

    *out = (nlt_label_t){{0, ""}, {0, ""}};
    *wrong_type = false;
    while (*at = p,
           (rc = nlt_pb_next(&p, msg->p + msg->n, f)) == NLT_PB_FIELD) {
        if (f->no != F_LABEL_NAME && f->no != F_LABEL_VALUE) {
            continue;
        }
        if (f->type != NLT_PB_BYTES) {
            *wrong_type = true;
            return NLT_PB_WIRETYPE;
        }
        nlt_str_t s = {f->n, (const char *) f->p};

        if (f->no == F_LABEL_NAME) {
            out->name = s;
        } else {
            out->value = s;
        }
    }
    return rc;
}

void
nlt_rw_label_of(const nlt_pb_field_t *msg, nlt_label_t *out)
{
    const uint8_t *at;
    nlt_pb_field_t f;
    bool wrong_type;

    (void) label_parse(msg, out, &f, &wrong_type, &at);
}

static nlt_rw_labels_t
invalid(nlt_err_t *err, const char *what, nlt_str_t name)
{
    (void) nlt_err_set(err, NLT_EINVAL, "label name \"%.*s\" %s",
                       NLT_FMT(name), what);
    return NLT_RW_LABELS_INVALID;
}

static nlt_rw_labels_t
check_limits(const nlt_label_t *v, const nlt_rw_limits_t *limits,
             size_t *bytes, nlt_err_t *err)
{
    if (v->name.len > limits->name_bytes_max) {
        nlt_str_t shown = {64 < v->name.len ? 64 : v->name.len, v->name.data};

        (void) nlt_err_set(err, NLT_ELIMIT,
                           "label name \"%.*s...\" has %zu bytes, limit is %u "
                           "(nightlight_max_label_name)",
                           NLT_FMT(shown), v->name.len,
                           limits->name_bytes_max);
        return NLT_RW_LABELS_LIMIT;
    }
    if (v->value.len > limits->value_bytes_max) {
        nlt_str_t shown = {256 < v->name.len ? 256 : v->name.len,
                           v->name.data};

        (void) nlt_err_set(
            err, NLT_ELIMIT,
            "value of label \"%.*s\" has %zu bytes, limit is %u "
            "(nightlight_max_label_value)",
            NLT_FMT(shown), v->value.len, limits->value_bytes_max);
        return NLT_RW_LABELS_LIMIT;
    }
    *bytes += v->name.len + v->value.len;
    if (*bytes > NLT_SERIES_BYTES_MAX) {
        (void) nlt_err_set(err, NLT_ELIMIT,
                           "labels have more than %u bytes in all",
                           NLT_SERIES_BYTES_MAX);
        return NLT_RW_LABELS_LIMIT;
    }
    return NLT_RW_LABELS_OK;
}

/* Names, values, duplicates of n sorted labels; drops empty values. */
static nlt_rw_labels_t
check_sorted(nlt_label_t *v, size_t n, size_t *n_out, nlt_err_t *err)
{
    size_t kept = 0, twice = 0;
    bool named = false;

    for (size_t i = 0; i < n; i++) {
        if (v[i].name.len == 0) {
            (void) nlt_err_set(err, NLT_EINVAL, "empty label name");
            return NLT_RW_LABELS_INVALID;
        }
        if (nlt_unlikely(v[i].name.data[0] == '\0')) {
            (void) nlt_err_set(err, NLT_EINVAL,
                               "a label name begins with NUL");
            return NLT_RW_LABELS_INVALID;
        }
        if (!nlt_utf8_valid(v[i].name)) {
            return invalid(err, "is not valid UTF-8", v[i].name);
        }
        if (i && twice == 0 && nlt_str_eq(v[i].name, v[i - 1].name)) {
            twice = i;
        }
        if (!nlt_utf8_valid(v[i].value)) {
            return invalid(err, "has a value that is not valid UTF-8",
                           v[i].name);
        }
        named |= v[i].value.len && nlt_str_eq(v[i].name, NLT_METRIC_NAME);
    }
    if (!named) {
        (void) nlt_err_set(err, NLT_EINVAL, "no metric name");
        return NLT_RW_LABELS_INVALID;
    }
    if (twice) {
        (void) invalid(err, "is not unique", v[twice].name);
        *n_out = twice;
        return NLT_RW_LABELS_DUPLICATE;
    }
    for (size_t i = 0; i < n; i++) {
        if (v[i].value.len) {
            v[kept++] = v[i];
        }
    }
    *n_out = kept;
    return NLT_RW_LABELS_OK;
}

/* Of `count` labels, each within its limits. */
static nlt_rw_labels_t
check_set(nlt_label_t *v, size_t count, bool sorted, size_t *n, nlt_err_t *err)
{
    nlt_rw_labels_t verdict;

    if (!sorted) {
        nlt_labels_sort(v, count);
    }
    verdict = check_sorted(v, count, n, err);
    if (verdict == NLT_RW_LABELS_OK
        && nlt_rw_canonical_len((nlt_labels_t){v, *n})
               > NLT_SERIES_BYTES_MAX) {
        (void) nlt_err_set(err, NLT_ELIMIT,
                           "labels have more than %u bytes in all",
                           NLT_SERIES_BYTES_MAX);
        return NLT_RW_LABELS_LIMIT;
    }
    return verdict;
}

nlt_rw_labels_t
nlt_rw_labels_check(const nlt_rw_limits_t *limits, nlt_label_t *v, size_t *n,
                    nlt_err_t *err)
{
    size_t count = *n, bytes = 0;
    nlt_rw_labels_t verdict;
    bool sorted = true;

    *n = 0;
    for (size_t i = 0; i < count; i++) {
        verdict = check_limits(&v[i], limits, &bytes, err);
        if (verdict != NLT_RW_LABELS_OK) {
            return verdict;
        }
        sorted &= i == 0 || nlt_str_cmp(v[i - 1].name, v[i].name) < 0;
    }
    return check_set(v, count, sorted, n, err);
}

nlt_rw_labels_t
nlt_rw_labels(const nlt_rw_series_t *s, const nlt_rw_limits_t *limits,
              nlt_label_t *out, size_t *n, nlt_err_t *err)
{
    const uint8_t *p = (const uint8_t *) s->labels.data;
    const uint8_t *end = s->labels.len ? p + s->labels.len : p;
    const uint8_t *base = (const uint8_t *) s->body.data, *at;
    bool sorted = true, wrong_type;
    size_t count = 0, bytes = 0;
    nlt_rw_labels_t verdict;
    nlt_pb_field_t f, g;
    nlt_pb_t pb;

    *n = 0;
    if (s->n_labels > limits->labels_max) {
        (void) nlt_err_set(err, NLT_ELIMIT,
                           "%u labels, limit is %u "
                           "(nightlight_max_labels)",
                           s->n_labels, limits->labels_max);
        return NLT_RW_LABELS_LIMIT;
    }
    /* n_labels fields are there; the count keeps a wrong one harmless. */
    while (count < s->n_labels && nlt_pb_next(&p, end, &f) == NLT_PB_FIELD) {
        pb = label_parse(&f, &out[count], &g, &wrong_type, &at);
        if (pb != NLT_PB_END) {
            int64_t pos = s->gathered ? -1 : at - base;

            if (wrong_type) {
                (void) nlt_err_set_at(
                    err, NLT_EINVAL, pos,
                    "proto: wrong wireType = %u for field %s", g.type,
                    g.no == F_LABEL_NAME ? "Name" : "Value");
            } else {
                (void) nlt_pb_error(err, pb, &g, pos);
            }
            return NLT_RW_LABELS_BROKEN;
        }
        verdict = check_limits(&out[count], limits, &bytes, err);
        if (verdict != NLT_RW_LABELS_OK) {
            return verdict;
        }
        sorted &= count == 0
                  || nlt_str_cmp(out[count - 1].name, out[count].name) < 0;
        count++;
    }
    return check_set(out, count, sorted, n, err);
}

/* ---- the usual set ---- */

/* Is there no byte of 128 or more? */
static bool
is_ascii(const uint8_t *p, size_t n)
{
    uint64_t all = 0, word;

    for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        all |= word;
    }
    for (; n; n--) {
        all |= *p++;
    }
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

/* tag, length of one or two bytes, string; false: another form. */
static inline bool
take_str(const uint8_t **p, const uint8_t *end, uint8_t tag, nlt_str_t *out)
{
    const uint8_t *q = *p;
    size_t len;

    if (nlt_unlikely(end - q < 2 || q[0] != tag)) {
        return false;
    }
    len = q[1];
    q += 2;
    if (nlt_unlikely(len >= 0x80)) {
        if (q == end || *q == 0 || *q >= 0x80) {
            return false;
        }
        len = (len & 0x7f) | (size_t) *q++ << 7;
    }
    if (nlt_unlikely((size_t) (end - q) < len)) {
        return false;
    }
    *out = (nlt_str_t){len, (const char *) q};
    *p = q + len;
    return true;
}

/* Does b come behind a? Mostly their first bytes say so. */
static inline bool
is_behind(nlt_str_t a, nlt_str_t b)
{
    return a.data[0] != b.data[0] ? (uint8_t) a.data[0] < (uint8_t) b.data[0]
                                  : nlt_str_cmp(a, b) < 0;
}

bool
nlt_rw_labels_usual(const nlt_rw_series_t *s, const nlt_rw_limits_t *limits,
                    nlt_label_t *out, size_t *n)
{
    const uint8_t *p = (const uint8_t *) s->labels.data;
    const uint8_t *end = s->labels.len ? p + s->labels.len : p;
    bool ascii, named = false;
    size_t count = 0;

    *n = 0;
    if (s->n_labels > limits->labels_max
        || s->labels.len > NLT_SERIES_BYTES_MAX) {
        return false;
    }
    ascii = is_ascii(p, s->labels.len);
    while (p < end) {
        nlt_label_t *l = &out[count];
        nlt_str_t field;
        const uint8_t *q;

        if (count == s->n_labels || !take_str(&p, end, TAG_LABEL, &field)) {
            return false;
        }
        q = (const uint8_t *) field.data;
        if (!take_str(&q, p, TAG_NAME, &l->name)
            || !take_str(&q, p, TAG_VALUE, &l->value) || q != p
            || l->name.len == 0 || l->value.len == 0 || l->name.data[0] == '\0'
            || l->name.len > limits->name_bytes_max
            || l->value.len > limits->value_bytes_max
            || (count && !is_behind(out[count - 1].name, l->name))
            || (!ascii
                && (!nlt_utf8_valid(l->name) || !nlt_utf8_valid(l->value)))) {
            return false;
        }
        named |= nlt_str_eq(l->name, NLT_METRIC_NAME);
        count++;
    }
    *n = count;
    return named;
}

bool
nlt_rw_labels_split(nlt_str_t canonical, nlt_label_t *out, size_t max,
                    size_t *n)
{
    const uint8_t *p = (const uint8_t *) canonical.data;
    const uint8_t *end = canonical.len ? p + canonical.len : p;
    size_t count = 0;

    for (*n = 0; p < end; count++) {
        nlt_str_t field;
        const uint8_t *q;

        if (count == max || !take_str(&p, end, TAG_LABEL, &field)) {
            return false;
        }
        q = (const uint8_t *) field.data;
        if (!take_str(&q, p, TAG_NAME, &out[count].name)
            || !take_str(&q, p, TAG_VALUE, &out[count].value)) {
            return false;
        }
    }
    *n = count;
    return true;
}

size_t
nlt_rw_labels_peek(const nlt_rw_series_t *s, nlt_label_t *out, size_t max)
{
    const uint8_t *p = (const uint8_t *) s->labels.data, *at;
    const uint8_t *end = s->labels.len ? p + s->labels.len : p;
    nlt_pb_field_t f, g;
    bool wrong_type;
    size_t n = 0;

    while (n < max && nlt_pb_next(&p, end, &f) == NLT_PB_FIELD
           && label_parse(&f, &out[n], &g, &wrong_type, &at) == NLT_PB_END) {
        n++;
    }
    return n;
}

/* ---- canonical bytes ---- */

static size_t
label_len(const nlt_label_t *l)
{
    return 2 + nlt_uvarint_len(l->name.len) + l->name.len
           + nlt_uvarint_len(l->value.len) + l->value.len;
}

size_t
nlt_rw_canonical_len(nlt_labels_t labels)
{
    size_t n = 0;

    for (size_t i = 0; i < labels.n; i++) {
        size_t len = label_len(&labels.v[i]);

        n += 1 + nlt_uvarint_len(len) + len;
    }
    return n;
}

static char *
put_str(char *p, uint8_t tag, nlt_str_t s)
{
    *p++ = (char) tag;
    p += nlt_put_uvarint(p, s.len);
    if (s.len) {
        memcpy(p, s.data, s.len);
    }
    return p + s.len;
}

void
nlt_rw_canonical(nlt_buf_t *b, nlt_labels_t labels)
{
    size_t n = nlt_rw_canonical_len(labels);
    char *p = nlt_buf_reserve(b, n);

    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < labels.n; i++) {
        *p++ = TAG_LABEL;
        p += nlt_put_uvarint(p, label_len(&labels.v[i]));
        p = put_str(p, TAG_NAME, labels.v[i].name);
        p = put_str(p, TAG_VALUE, labels.v[i].value);
    }
    nlt_buf_advance(b, n);
}

/* tag, minimal uvarint length, bytes: all of which must be there. */
static bool
read_str(nlt_reader_t *r, uint8_t tag, nlt_str_t *out)
{
    uint8_t got = nlt_read_u8(r);
    const uint8_t *at = r->p;
    uint64_t n = nlt_read_uvarint(r);
    size_t len = (size_t) (r->p - at);
    const uint8_t *p;

    if (r->failed || got != tag || len != nlt_uvarint_len(n)) {
        return false;
    }
    p = nlt_read_bytes(r, n);
    *out = (nlt_str_t){n, (const char *) p};
    return p != NULL;
}

nlt_rc_t
nlt_rw_canonical_parse(nlt_str_t bytes, nlt_label_t *out, size_t max,
                       size_t *n)
{
    nlt_reader_t r = nlt_reader(bytes.data, bytes.len);
    size_t count = 0;

    *n = 0;
    while (nlt_reader_left(&r)) {
        nlt_str_t label, name, value;
        nlt_reader_t in;

        if (!read_str(&r, TAG_LABEL, &label) || count == max) {
            return NLT_EDATA;
        }
        in = nlt_reader(label.data, label.len);
        if (!read_str(&in, TAG_NAME, &name)
            || !read_str(&in, TAG_VALUE, &value) || nlt_reader_left(&in)
            || name.len == 0 || value.len == 0 || !nlt_utf8_valid(name)
            || !nlt_utf8_valid(value)
            || (count && nlt_str_cmp(out[count - 1].name, name) >= 0)) {
            return NLT_EDATA;
        }
        out[count++] = (nlt_label_t){name, value};
    }
    *n = count;
    return NLT_OK;
}

/*
 * nlt_rw_histogram.c - validity of native histograms, in the order and with
 * the texts of Prometheus.
 */
#include <math.h>
#include <stdio.h>

#include "nlt_num.h"
#include "nlt_rw_histogram.h"
#include "nlt_rw_priv.h"

#define F_TS_HISTOGRAMS  4
#define F_TS2_HISTOGRAMS 3

enum {
    F_COUNT_INT = 1,
    F_COUNT_FLOAT = 2,
    F_SUM = 3,
    F_SCHEMA = 4,
    F_ZERO_THRESHOLD = 5,
    F_ZERO_INT = 6,
    F_ZERO_FLOAT = 7,
    F_NEG_SPANS = 8,
    F_NEG_DELTAS = 9,
    F_NEG_COUNTS = 10,
    F_POS_SPANS = 11,
    F_POS_DELTAS = 12,
    F_POS_COUNTS = 13,
    F_TIMESTAMP = 15,
    F_CUSTOM = 16
};

#define F_SPAN_OFFSET 1
#define F_SPAN_LENGTH 2

#define SCHEMA_MIN    (-4)
#define SCHEMA_MAX    8
#define SCHEMA_SCALED 52 /* down to SCHEMA_MAX */
#define SCHEMA_CUSTOM (-53)

#define NEGATIVE_COUNT                                                        \
    "histogram has a bucket whose observation count is negative"

/* One side: the fields that make it up, and its prefix in messages. */
typedef struct {
    uint32_t spans;
    uint32_t deltas;
    uint32_t counts;
    const char *name;
} side_t;

static const side_t negative = {F_NEG_SPANS, F_NEG_DELTAS, F_NEG_COUNTS,
                                "negative side"};
static const side_t positive = {F_POS_SPANS, F_POS_DELTAS, F_POS_COUNTS,
                                "positive side"};
static const side_t custom = {F_POS_SPANS, F_POS_DELTAS, F_POS_COUNTS,
                              "custom buckets"};

/* The fields that come once. */
typedef struct {
    nlt_str_t msg;
    bool floats;
    uint64_t count; /* bits of a double when floats */
    uint64_t zero_count;
    bool zero_floats;
    double sum;
    double zero_threshold;
    int32_t schema;
    bool has_custom;
} histogram_t;

void
nlt_rw_histograms_init(nlt_rw_histograms_t *it, nlt_str_t body, int version)
{
    static const uint8_t nothing[1];

    it->p = body.len ? (const uint8_t *) body.data : nothing;
    it->end = it->p + body.len;
    it->no = version == 2 ? F_TS2_HISTOGRAMS : F_TS_HISTOGRAMS;
}

bool
nlt_rw_histograms_next(nlt_rw_histograms_t *it, nlt_rw_histogram_t *out)
{
    nlt_pb_field_t f, g;
    const uint8_t *p;

    do {
        if (nlt_pb_next(&it->p, it->end, &f) != NLT_PB_FIELD) {
            it->p = it->end;
            return false;
        }
    } while (f.no != it->no);
    *out = (nlt_rw_histogram_t){{f.n, (const char *) f.p}, 0};
    for (p = f.p; nlt_pb_next(&p, f.p + f.n, &g) == NLT_PB_FIELD;) {
        if (g.no == F_TIMESTAMP) {
            out->t_ms = (int64_t) nlt_pb_varint(g.p, g.n);
        }
    }
    return true;
}

static int32_t
unzigzag32(uint64_t v)
{
    uint32_t u = (uint32_t) v;

    return (int32_t) ((u >> 1) ^ (0 - (u & 1)));
}

static int64_t
unzigzag64(uint64_t u)
{
    return (int64_t) ((u >> 1) ^ (0 - (u & 1)));
}

static void
read_scalars(nlt_str_t msg, histogram_t *h)
{
    const uint8_t *p = (const uint8_t *) msg.data, *end;
    nlt_pb_field_t f;

    *h = (histogram_t){.msg = msg};
    end = msg.len ? p + msg.len : p;
    while (nlt_pb_next(&p, end, &f) == NLT_PB_FIELD) {
        uint64_t v = f.type == NLT_PB_VARINT    ? nlt_pb_varint(f.p, f.n)
                     : f.type == NLT_PB_FIXED64 ? nlt_le64(f.p)
                                                : 0;

        switch (f.no) {
        case F_COUNT_INT:
        case F_COUNT_FLOAT:
            h->floats = f.no == F_COUNT_FLOAT;
            h->count = v;
            break;
        case F_ZERO_INT:
        case F_ZERO_FLOAT:
            h->zero_floats = f.no == F_ZERO_FLOAT;
            h->zero_count = v;
            break;
        case F_SUM:
            h->sum = nlt_double_of(v);
            break;
        case F_SCHEMA:
            h->schema = unzigzag32(v);
            break;
        case F_ZERO_THRESHOLD:
            h->zero_threshold = nlt_double_of(v);
            break;
        case F_CUSTOM:
            h->has_custom |= f.n != 0;
            break;
        default:
            break;
        }
    }
    /* The variant that does not go with the kind of counts counts as none. */
    if (h->zero_floats != h->floats) {
        h->zero_count = 0;
    }
}

/* The count %v of a float in front of the rest of a message. */
static nlt_rc_t
float_message(nlt_err_t *err, const char *before, double v, const char *after)
{
    char text[NLT_NUM_TEXT_MAX];
    size_t n = nlt_num_g(text, v);

    return nlt_err_set(err, NLT_EDATA, "%s%.*s: %s", before, (int) n, text,
                       after);
}

static uint64_t
count_numbers(const histogram_t *h, const side_t *side)
{
    nlt_rw_numbers_t it;
    uint64_t n = 0, v;

    nlt_rw_numbers_init(&it, h->msg, h->floats ? side->counts : side->deltas,
                        h->floats ? NLT_PB_FIXED64 : NLT_PB_VARINT);
    while (nlt_rw_numbers_next(&it, &v)) {
        n++;
    }
    return n;
}

static bool
has_spans(const histogram_t *h, const side_t *side)
{
    const uint8_t *p = (const uint8_t *) h->msg.data;
    const uint8_t *end = h->msg.len ? p + h->msg.len : p;
    nlt_pb_field_t f;

    while (nlt_pb_next(&p, end, &f) == NLT_PB_FIELD) {
        if (f.no == side->spans) {
            return true;
        }
    }
    return false;
}

/*
 * Spans of a side, against the number of its buckets; *total is the length
 * of all, gaps included.
 */
static nlt_rc_t
check_spans(const histogram_t *h, const side_t *side, bool first_too,
            int64_t *total, nlt_err_t *err)
{
    const uint8_t *p = (const uint8_t *) h->msg.data;
    const uint8_t *end = h->msg.len ? p + h->msg.len : p;
    uint64_t buckets = 0, have = count_numbers(h, side);
    nlt_pb_field_t f, g;
    unsigned n = 0;

    *total = 0;
    while (nlt_pb_next(&p, end, &f) == NLT_PB_FIELD) {
        const uint8_t *q = f.p;
        int32_t offset = 0;
        uint32_t length = 0;

        if (f.no != side->spans) {
            continue;
        }
        while (nlt_pb_next(&q, f.p + f.n, &g) == NLT_PB_FIELD) {
            if (g.no == F_SPAN_OFFSET) {
                offset = unzigzag32(nlt_pb_varint(g.p, g.n));
            } else if (g.no == F_SPAN_LENGTH) {
                length = (uint32_t) nlt_pb_varint(g.p, g.n);
            }
        }
        n++;
        if (offset < 0 && (n > 1 || first_too)) {
            return nlt_err_set(err, NLT_EDATA,
                               "%s: span number %u with offset %d: histogram "
                               "has a span whose offset is negative",
                               side->name, n, offset);
        }
        buckets += length;
        *total += (int64_t) length + offset;
    }
    if (buckets != have) {
        return nlt_err_set(err, NLT_EDATA,
                           "%s: spans need %llu buckets, have %llu buckets: "
                           "histogram spans specify different number of "
                           "buckets than provided",
                           side->name, (unsigned long long) buckets,
                           (unsigned long long) have);
    }
    return NLT_OK;
}

/* Counts of a side, none negative; *sum is added to (integers). */
static nlt_rc_t
check_buckets(const histogram_t *h, const side_t *side, uint64_t *sum,
              nlt_err_t *err)
{
    nlt_rw_numbers_t it;
    uint64_t v, last = 0;
    unsigned n = 0;

    nlt_rw_numbers_init(&it, h->msg, h->floats ? side->counts : side->deltas,
                        h->floats ? NLT_PB_FIXED64 : NLT_PB_VARINT);
    while (nlt_rw_numbers_next(&it, &v)) {
        n++;
        if (h->floats) {
            char what[64];

            if (nlt_double_of(v) < 0) {
                (void) snprintf(what, sizeof(what),
                                "%s: bucket number %u has observation count "
                                "of ",
                                side->name, n);
                return float_message(err, what, nlt_double_of(v),
                                     NEGATIVE_COUNT);
            }
            continue;
        }
        /* Wraps like the integers of the sender. */
        last += (uint64_t) unzigzag64(v);
        if ((int64_t) last < 0) {
            return nlt_err_set(err, NLT_EDATA,
                               "%s: bucket number %u has observation count "
                               "of %lld: " NEGATIVE_COUNT,
                               side->name, n, (long long) last);
        }
        *sum += last;
    }
    return NLT_OK;
}

static nlt_rc_t
check_custom_bounds(const histogram_t *h, nlt_err_t *err)
{
    double prev = -INFINITY;
    nlt_rw_numbers_t it;
    uint64_t bits, n = 0;
    int64_t total;
    nlt_rc_t rc;

    nlt_rw_numbers_init(&it, h->msg, F_CUSTOM, NLT_PB_FIXED64);
    while (nlt_rw_numbers_next(&it, &bits)) {
        double v = nlt_double_of(bits);

        n++;
        if (isnan(v)) {
            return nlt_err_set(err, NLT_EDATA,
                               "custom buckets: histogram custom bounds must "
                               "not be NaN");
        }
        if (v <= prev) {
            char a[NLT_NUM_PLAIN_MAX], b[NLT_NUM_PLAIN_MAX];
            size_t a_n = nlt_num_fixed(a, prev, 6),
                   b_n = nlt_num_fixed(b, v, 6);

            return nlt_err_set(err, NLT_EDATA,
                               "custom buckets: previous bound is %.*s and "
                               "current is %.*s: histogram custom bounds must "
                               "be in strictly increasing order",
                               (int) a_n, a, (int) b_n, b);
        }
        prev = v;
    }
    if (n && isinf(prev)) {
        return nlt_err_set(err, NLT_EDATA,
                           "custom buckets: last +Inf bound must not be "
                           "explicitly defined: histogram custom bounds must "
                           "be finite");
    }
    rc = check_spans(h, &custom, true, &total, err);
    if (rc == NLT_OK && (int64_t) n + 1 < total) {
        rc = nlt_err_set(err, NLT_EDATA,
                         "custom buckets: only %llu custom bounds defined "
                         "which is insufficient to cover total span length "
                         "of %lld: histogram custom bounds are too few",
                         (unsigned long long) n, (long long) total);
    }
    return rc;
}

static nlt_rc_t
check_custom(const histogram_t *h, nlt_err_t *err)
{
    nlt_rc_t rc = check_custom_bounds(h, err);
    const char *what;
    double zero =
        h->floats ? nlt_double_of(h->zero_count) : (double) h->zero_count;

    if (rc != NLT_OK) {
        return rc;
    }
    if (zero != 0) {
        what = "have zero count of 0";
    } else if (h->zero_threshold != 0) {
        what = "have zero threshold of 0";
    } else if (has_spans(h, &negative)) {
        what = "not have negative spans";
    } else if (count_numbers(h, &negative) != 0) {
        what = "not have negative buckets";
    } else {
        return NLT_OK;
    }
    return nlt_err_set(err, NLT_EDATA, "custom buckets: must %s", what);
}

static nlt_rc_t
check_exponential(const histogram_t *h, uint64_t *sum, nlt_err_t *err)
{
    int64_t total;
    nlt_rc_t rc = check_spans(h, &positive, false, &total, err);

    if (rc == NLT_OK) {
        rc = check_spans(h, &negative, false, &total, err);
    }
    if (rc == NLT_OK) {
        rc = check_buckets(h, &negative, sum, err);
    }
    if (rc == NLT_OK && h->floats && nlt_double_of(h->zero_count) < 0) {
        rc = float_message(err, "zero bucket has observation count of ",
                           nlt_double_of(h->zero_count), NEGATIVE_COUNT);
    }
    if (rc == NLT_OK && h->has_custom) {
        rc = nlt_err_set(err, NLT_EDATA,
                         "histogram with exponential schema must not have "
                         "custom bounds");
    }
    return rc;
}

/* Do integer buckets add up to the count? */
static nlt_rc_t
check_total(const histogram_t *h, uint64_t sum, nlt_err_t *err)
{
    sum += h->zero_count;
    if (isnan(h->sum) ? sum <= h->count : sum == h->count) {
        return NLT_OK;
    }
    return nlt_err_set(
        err, NLT_EDATA,
        "%llu observations found in buckets, but the Count field is %llu: "
        "histogram's observation count should %s the number of observations "
        "found in the buckets%s",
        (unsigned long long) sum, (unsigned long long) h->count,
        isnan(h->sum) ? "be at least" : "equal",
        isnan(h->sum) ? "" : " (in absence of NaN)");
}

nlt_rc_t
nlt_rw_histogram_validate(const nlt_rw_histogram_t *in, nlt_err_t *err)
{
    uint64_t sum = 0;
    histogram_t h;
    nlt_rc_t rc;

    read_scalars(in->msg, &h);
    if (h.schema == SCHEMA_CUSTOM) {
        rc = check_custom(&h, err);
    } else if (h.schema >= SCHEMA_MIN && h.schema <= SCHEMA_SCALED) {
        rc = check_exponential(&h, &sum, err);
    } else {
        rc = nlt_err_set(err, NLT_EDATA,
                         "histogram has an invalid schema, which must be "
                         "between %d and %d for exponential buckets, or %d "
                         "for custom buckets, got schema %d",
                         SCHEMA_MIN, SCHEMA_MAX, SCHEMA_CUSTOM, h.schema);
    }
    if (rc == NLT_OK && h.floats && nlt_double_of(h.count) < 0) {
        rc = float_message(err, "observation count is  ",
                           nlt_double_of(h.count),
                           "histogram's observation count is negative");
    }
    if (rc == NLT_OK) {
        rc = check_buckets(&h, &positive, &sum, err);
    }
    return rc == NLT_OK && !h.floats ? check_total(&h, sum, err) : rc;
}

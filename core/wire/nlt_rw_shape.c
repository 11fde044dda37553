/*
 * nlt_rw_shape.c - the framing of messages that the walk does not look into,
 * and the numbers of repeated fields.
 */
#include "nlt_rw_priv.h"

static const nlt_rw_shape_t label[] = {{1, NLT_PB_BYTES, false, "Name", NULL},
                                       {2, NLT_PB_BYTES, false, "Value", NULL},
                                       {0, 0, false, NULL, NULL}};

const nlt_rw_shape_t nlt_rw_shape_exemplar[] = {
    {1, NLT_PB_BYTES, false, "Labels", label},
    {2, NLT_PB_FIXED64, false, "Value", NULL},
    {3, NLT_PB_VARINT, false, "Timestamp", NULL},
    {0, 0, false, NULL, NULL}};

const nlt_rw_shape_t nlt_rw_shape_exemplar2[] = {
    {1, NLT_PB_VARINT, true, "LabelsRefs", NULL},
    {2, NLT_PB_FIXED64, false, "Value", NULL},
    {3, NLT_PB_VARINT, false, "Timestamp", NULL},
    {0, 0, false, NULL, NULL}};

const nlt_rw_shape_t nlt_rw_shape_metadata[] = {
    {1, NLT_PB_VARINT, false, "Type", NULL},
    {2, NLT_PB_BYTES, false, "MetricFamilyName", NULL},
    {4, NLT_PB_BYTES, false, "Help", NULL},
    {5, NLT_PB_BYTES, false, "Unit", NULL},
    {0, 0, false, NULL, NULL}};

const nlt_rw_shape_t nlt_rw_shape_metadata2[] = {
    {1, NLT_PB_VARINT, false, "Type", NULL},
    {3, NLT_PB_VARINT, false, "HelpRef", NULL},
    {4, NLT_PB_VARINT, false, "UnitRef", NULL},
    {0, 0, false, NULL, NULL}};

static const nlt_rw_shape_t span[] = {
    {1, NLT_PB_VARINT, false, "Offset", NULL},
    {2, NLT_PB_VARINT, false, "Length", NULL},
    {0, 0, false, NULL, NULL}};

/* clang-format off */
#define HISTOGRAM                                                             \
    {1, NLT_PB_VARINT, false, "CountInt", NULL},                              \
    {2, NLT_PB_FIXED64, false, "CountFloat", NULL},                           \
    {3, NLT_PB_FIXED64, false, "Sum", NULL},                                  \
    {4, NLT_PB_VARINT, false, "Schema", NULL},                                \
    {5, NLT_PB_FIXED64, false, "ZeroThreshold", NULL},                        \
    {6, NLT_PB_VARINT, false, "ZeroCountInt", NULL},                          \
    {7, NLT_PB_FIXED64, false, "ZeroCountFloat", NULL},                       \
    {8, NLT_PB_BYTES, false, "NegativeSpans", span},                          \
    {9, NLT_PB_VARINT, true, "NegativeDeltas", NULL},                         \
    {10, NLT_PB_FIXED64, true, "NegativeCounts", NULL},                       \
    {11, NLT_PB_BYTES, false, "PositiveSpans", span},                         \
    {12, NLT_PB_VARINT, true, "PositiveDeltas", NULL},                        \
    {13, NLT_PB_FIXED64, true, "PositiveCounts", NULL},                       \
    {14, NLT_PB_VARINT, false, "ResetHint", NULL},                            \
    {15, NLT_PB_VARINT, false, "Timestamp", NULL},                            \
    {16, NLT_PB_FIXED64, true, "CustomValues", NULL},
/* clang-format on */

const nlt_rw_shape_t nlt_rw_shape_histogram[] = {
    HISTOGRAM{0, 0, false, NULL, NULL}};

const nlt_rw_shape_t nlt_rw_shape_histogram2[] = {
    HISTOGRAM{17, NLT_PB_VARINT, false, "StartTimestamp", NULL},
    {0, 0, false, NULL, NULL}};

const nlt_rw_shape_t nlt_rw_shape_sample2[] = {
    {1, NLT_PB_FIXED64, false, "Value", NULL},
    {2, NLT_PB_VARINT, false, "Timestamp", NULL},
    {3, NLT_PB_VARINT, false, "StartTimestamp", NULL},
    {0, 0, false, NULL, NULL}};

/* Packed numbers of one type: whole ones, and nothing else. */
static nlt_rc_t
check_packed(const uint8_t *base, const nlt_pb_field_t *f, unsigned type,
             nlt_err_t *err)
{
    size_t digits = 0;

    if (type == NLT_PB_FIXED64) {
        return f->n % 8 == 0
                   ? NLT_OK
                   : nlt_pb_error(err, NLT_PB_TRUNCATED, f, f->p - base);
    }
    for (size_t i = 0; i < f->n; i++) {
        digits = f->p[i] < 0x80 ? 0 : digits + 1;
        if (digits == 10) {
            return nlt_pb_error(err, NLT_PB_OVERFLOW, f, f->p + i - 9 - base);
        }
    }
    return digits == 0
               ? NLT_OK
               : nlt_pb_error(err, NLT_PB_TRUNCATED, f, f->p + f->n - base);
}

static nlt_rc_t
check_field(const uint8_t *base, const nlt_pb_field_t *f, int64_t at,
            const nlt_rw_shape_t *shape, nlt_err_t *err)
{
    for (; shape->no != 0; shape++) {
        if (shape->no != f->no) {
            continue;
        }
        if (f->type == NLT_PB_BYTES && shape->repeated) {
            return check_packed(base, f, shape->type, err);
        }
        if (f->type != shape->type) {
            return nlt_rw_wrong_type(err, f->type, shape->name, at);
        }
        /* Depth is that of the tables: two. */
        return shape->sub != NULL
                   ? nlt_rw_check_shape(base, f->p, f->n, shape->sub, err)
                   : NLT_OK;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_rw_check_shape(const uint8_t *base, const uint8_t *p, size_t n,
                   const nlt_rw_shape_t *shape, nlt_err_t *err)
{
    const uint8_t *end = p + n;
    nlt_pb_field_t f;
    nlt_pb_t pb;
    nlt_rc_t rc;

    for (;;) {
        const uint8_t *at = p;

        pb = nlt_pb_next(&p, end, &f);
        if (pb == NLT_PB_END) {
            return NLT_OK;
        }
        if (pb != NLT_PB_FIELD) {
            return nlt_pb_error(err, pb, &f, at - base);
        }
        rc = check_field(base, &f, at - base, shape, err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
}

void
nlt_rw_numbers_init(nlt_rw_numbers_t *it, nlt_str_t msg, uint32_t no,
                    unsigned type)
{
    static const uint8_t nothing[1];

    *it = (nlt_rw_numbers_t){0};
    it->p = msg.len ? (const uint8_t *) msg.data : nothing;
    it->end = it->p + msg.len;
    it->run = it->run_end = it->p;
    it->no = no;
    it->type = type;
}

bool
nlt_rw_numbers_next(nlt_rw_numbers_t *it, uint64_t *out)
{
    nlt_pb_field_t f;

    while (it->run == it->run_end) {
        do {
            if (nlt_pb_next(&it->p, it->end, &f) != NLT_PB_FIELD) {
                it->p = it->end;
                return false;
            }
        } while (f.no != it->no);
        it->run = f.p;
        it->run_end = f.p + f.n;
    }
    if (it->type == NLT_PB_FIXED64) {
        *out = nlt_le64(it->run);
        it->run += 8;
    } else {
        size_t n = 1;

        while (it->run[n - 1] >= 0x80) {
            n++;
        }
        *out = nlt_pb_varint(it->run, n);
        it->run += n;
    }
    return true;
}

/*
 * nlt_pb.c - protobuf fields, one after another.
 */
#include "nlt_pb.h"

#define VARINT_BYTES_MAX 10

/* Length of the varint payload at p. */
static nlt_pb_t
varint_len(const uint8_t *p, const uint8_t *end, size_t *n)
{
    size_t left = (size_t) (end - p);

    for (size_t i = 0; i < VARINT_BYTES_MAX; i++) {
        if (i == left) {
            return NLT_PB_TRUNCATED;
        }
        if (p[i] < 0x80) {
            *n = i + 1;
            return NLT_PB_FIELD;
        }
    }
    return NLT_PB_OVERFLOW;
}

nlt_pb_t
nlt_pb_next(const uint8_t **p, const uint8_t *end, nlt_pb_field_t *f)
{
    const uint8_t *q = *p;
    uint32_t tag, len;
    nlt_pb_t rc;

    *f = (nlt_pb_field_t){0};
    if (q == end) {
        return NLT_PB_END;
    }
    rc = nlt_pb_u32(&q, end, &tag);
    if (rc != NLT_PB_FIELD) {
        return rc;
    }
    f->no = tag >> 3;
    f->type = tag & 7;
    if (f->no == 0) {
        return NLT_PB_TAG;
    }

    switch (f->type) {
    case NLT_PB_VARINT:
        rc = varint_len(q, end, &f->n);
        if (rc != NLT_PB_FIELD) {
            return rc;
        }
        break;
    case NLT_PB_FIXED64:
        f->n = 8;
        break;
    case NLT_PB_FIXED32:
        f->n = 4;
        break;
    case NLT_PB_BYTES:
        rc = nlt_pb_u32(&q, end, &len);
        if (rc != NLT_PB_FIELD) {
            return rc;
        }
        f->n = len;
        break;
    default:
        return NLT_PB_WIRETYPE;
    }
    if ((size_t) (end - q) < f->n) {
        return NLT_PB_TRUNCATED;
    }
    f->p = q;
    *p = q + f->n;
    return NLT_PB_FIELD;
}

nlt_rc_t
nlt_pb_error(nlt_err_t *err, nlt_pb_t what, const nlt_pb_field_t *f,
             int64_t pos)
{
    switch (what) {
    case NLT_PB_TAG:
        return nlt_err_set_at(err, NLT_EINVAL, pos,
                              "proto: illegal tag %u (wire type %u)", f->no,
                              f->type);
    case NLT_PB_WIRETYPE:
        return nlt_err_set_at(err, NLT_EINVAL, pos,
                              "proto: illegal wireType %u", f->type);
    case NLT_PB_OVERFLOW:
        return nlt_err_set_at(err, NLT_EINVAL, pos, "proto: integer overflow");
    default:
        return nlt_err_set_at(err, NLT_EINVAL, pos, "unexpected EOF");
    }
}

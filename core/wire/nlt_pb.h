/*
 * nlt_pb.h - steps through the fields of one protobuf message.
 *
 * Floor 2 (wire); uses base.
 * Memory: none; fields borrow from the message.  Threads: none of its own.
 *
 * A message is a sequence of (tag, payload).  nlt_pb_next() hands out one
 * field after another and has checked that it lies inside the message; what
 * the field means is the caller's affair.
 *
 *   tag      uvarint, number << 3 | wire type; at most 5 bytes, 32 bits
 *   payload  type 0: varint, at most 10 bytes      1: 8 bytes
 *            type 2: uvarint length (5 bytes, below 2^31), bytes
 *            type 5: 4 bytes                       3, 4 (groups): refused
 *
 * Stricter than protobuf-c in three points, each an attack or a bug of the
 * sender and never something an encoder writes: field number 0, and a tag or
 * a length with bits beyond 32, which protobuf-c cuts off silently.  A varint
 * payload of ten bytes may carry bits beyond 64; as everywhere, they are
 * dropped.
 */
#ifndef NLT_WIRE_PB_H
#define NLT_WIRE_PB_H

#include "nlt_bytes.h"
#include "nlt_rc.h"

typedef enum {
    NLT_PB_FIELD,     /* *f is the next field */
    NLT_PB_END,       /* the message is over */
    NLT_PB_TRUNCATED, /* a field goes past the end */
    NLT_PB_OVERFLOW,  /* a number of too many bytes or bits */
    NLT_PB_WIRETYPE,  /* a group, or an unassigned wire type */
    NLT_PB_TAG        /* field number 0 */
} nlt_pb_t;

enum {
    NLT_PB_VARINT = 0,
    NLT_PB_FIXED64 = 1,
    NLT_PB_BYTES = 2,
    NLT_PB_FIXED32 = 5
};

typedef struct {
    uint32_t no;      /* field number, > 0 */
    unsigned type;    /* wire type */
    const uint8_t *p; /* payload, without a length */
    size_t n;         /* its bytes */
} nlt_pb_field_t;

/*
 * Number at *p of at most 5 bytes and 32 bits: tags and lengths.  Moves *p
 * behind it, only on success.
 */
static inline nlt_pb_t
nlt_pb_u32(const uint8_t **p, const uint8_t *end, uint32_t *out)
{
    const uint8_t *q = *p;
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (nlt_unlikely(q == end)) {
            return NLT_PB_TRUNCATED;
        }
        v |= (uint64_t) (*q & 0x7f) << shift;
        if (*q++ < 0x80) {
            if (v > UINT32_MAX) {
                return NLT_PB_OVERFLOW;
            }
            *p = q;
            *out = (uint32_t) v;
            return NLT_PB_FIELD;
        }
    }
    return NLT_PB_OVERFLOW;
}

/* The number of a varint payload (n bytes, as nlt_pb_next() found them). */
static inline uint64_t
nlt_pb_varint(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        v |= (uint64_t) (p[i] & 0x7f) << (7 * i);
    }
    return v;
}

/*
 * The next field of the message [*p, end).  On NLT_PB_FIELD *p moves behind
 * it; on an error *p stays at the tag, and f->no and f->type are what could
 * be read of it.  O(1).
 */
nlt_pb_t nlt_pb_next(const uint8_t **p, const uint8_t *end, nlt_pb_field_t *f);

/* Sets err to the text Prometheus has for a fault at byte pos of the input,
 * and returns NLT_EINVAL. */
nlt_rc_t nlt_pb_error(nlt_err_t *err, nlt_pb_t what, const nlt_pb_field_t *f,
                      int64_t pos);

#endif

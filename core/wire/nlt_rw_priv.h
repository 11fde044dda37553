/*
 * nlt_rw_priv.h - what the walkers of both versions share.
 *
 * Floor 2 (wire); uses nlt_pb.h, nlt_rw_side.h.
 *
 *   nlt_remote_write.c   1.0: requests, series, samples
 *   nlt_rw2.c            2.0: symbols, requests, series
 *   nlt_rw_shape.c       framing of messages that are not looked into
 *   nlt_rw_side.c        exemplars, metadata
 *   nlt_rw_histogram.c   native histograms: valid or not
 *   nlt_rw_labels.c      label sets
 */
#ifndef NLT_WIRE_RW_PRIV_H
#define NLT_WIRE_RW_PRIV_H

#include "nlt_pb.h"
#include "nlt_rw_side.h"

/* Sets "proto: wrong wireType = ..." and returns NLT_EINVAL. */
nlt_rc_t nlt_rw_wrong_type(nlt_err_t *err, unsigned type, const char *field,
                           int64_t pos);

/* The general way through a Sample message; fields it does not know, like
 * the start time of 2.0, are passed over. */
nlt_rc_t
nlt_rw_sample_fields(const uint8_t *base, const uint8_t *p, const uint8_t *end,
                     int64_t *t_ms, uint64_t *v_bits, nlt_err_t *err);

/*
 * The form all encoders write: 09 <8 bytes> 10 <varint>, nothing else.
 * false: not that form, nothing is said about its validity.
 */
static inline bool
nlt_rw_sample_usual(const uint8_t *p, size_t n, int64_t *t_ms,
                    uint64_t *v_bits)
{
    uint64_t t = 0;

    if (nlt_unlikely(n < 11 || n > 20 || p[0] != 0x09 || p[9] != 0x10)) {
        return false;
    }
    for (size_t i = 10; i < n - 1; i++) {
        if (nlt_unlikely(p[i] < 0x80)) {
            return false;
        }
        t |= (uint64_t) (p[i] & 0x7f) << (7 * (i - 10));
    }
    if (nlt_unlikely(p[n - 1] >= 0x80)) {
        return false;
    }
    t |= (uint64_t) p[n - 1] << (7 * (n - 11));
    *t_ms = (int64_t) t;
    *v_bits = nlt_le64(p + 1);
    return true;
}

/*
 * Shape of a message: which fields have which wire type.  Others are passed
 * over.  A table ends with number 0.
 */
typedef struct nlt_rw_shape_s {
    uint32_t no;
    unsigned type;                    /* of one element */
    bool repeated;                    /* numbers: may also come packed */
    const char *name;                 /* for messages */
    const struct nlt_rw_shape_s *sub; /* of a message inside, or NULL */
} nlt_rw_shape_t;

extern const nlt_rw_shape_t nlt_rw_shape_exemplar[];
extern const nlt_rw_shape_t nlt_rw_shape_exemplar2[]; /* of 2.0 */
extern const nlt_rw_shape_t nlt_rw_shape_metadata[];
extern const nlt_rw_shape_t nlt_rw_shape_metadata2[];
extern const nlt_rw_shape_t nlt_rw_shape_histogram[];
extern const nlt_rw_shape_t nlt_rw_shape_histogram2[];
extern const nlt_rw_shape_t nlt_rw_shape_sample2[];

/*
 * Checks the n bytes at p as a message of that shape, messages inside too.
 * NLT_EINVAL with text; its position counts from base.
 */
nlt_rc_t nlt_rw_check_shape(const uint8_t *base, const uint8_t *p, size_t n,
                            const nlt_rw_shape_t *shape, nlt_err_t *err);

/*
 * Numbers of a repeated field of a checked message, packed or not, in order.
 */
typedef struct {
    const uint8_t *p; /* message */
    const uint8_t *end;
    const uint8_t *run; /* packed numbers */
    const uint8_t *run_end;
    uint32_t no;
    unsigned type; /* NLT_PB_VARINT or NLT_PB_FIXED64 */
} nlt_rw_numbers_t;

/* Begins at the first number of field `no` of the message. */
void nlt_rw_numbers_init(nlt_rw_numbers_t *it, nlt_str_t msg, uint32_t no,
                         unsigned type);

/* The next one; false at the end. */
bool nlt_rw_numbers_next(nlt_rw_numbers_t *it, uint64_t *out);

/* One Label message of 1.0 whose framing has been checked. */
void nlt_rw_label_of(const nlt_pb_field_t *msg, nlt_label_t *out);

#endif

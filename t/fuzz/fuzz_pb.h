/*
 * fuzz_pb.h - where nlt_pb.h refuses what protobuf-c takes.
 */
#ifndef FUZZ_PB_H
#define FUZZ_PB_H

#include <string.h>

#include "nlt_rc.h"

/* Is there a number at pos that nlt_pb.h is stricter about? */
static inline bool
fuzz_pb_strict(const uint8_t *data, size_t size, const nlt_err_t *err)
{
    if (err->pos < 0 || (size_t) err->pos >= size) {
        return false;
    }
    const uint8_t *p = data + err->pos;
    size_t left = size - (size_t) err->pos, n = 0;

    /* A field number of 0: its tag has no bits above the type. */
    if (strstr(err->text, "illegal tag 0") != NULL) {
        return (p[0] & 0x78) == 0;
    }
    if (strcmp(err->text, "proto: integer overflow") != 0) {
        return false;
    }
    /* The tag or, behind it, the length has a fifth byte above 0x0f. */
    for (unsigned number = 0; number < 2; number++) {
        for (n = 0; n < left && p[n] >= 0x80; n++) {
        }
        if (n >= 4 && n < left && (n > 4 || p[4] > 0x0f)) {
            return true;
        }
        if (n + 1 >= left) {
            return false;
        }
        p += n + 1;
        left -= n + 1;
    }
    return false;
}

#endif

/*
 * fuzz_lines.h - lines that vouch for each other, out of any bytes.
 */
#ifndef FUZZ_LINES_H
#define FUZZ_LINES_H

#include "nlt_lines.h"

/* Gives the lines of s right checksums, since no fuzzer guesses a CRC. */
static inline void
fuzz_add_checksums(nlt_str_t s, nlt_buf_t *out)
{
    nlt_lines_out_t l;

    nlt_lines_begin(&l, out);
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\n') {
            nlt_lines_end_line(&l);
        } else {
            nlt_buf_add_byte(out, (uint8_t) s.data[i]);
        }
    }
    nlt_lines_finish(&l);
}

#endif

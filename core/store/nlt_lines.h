/*
 * nlt_lines.h - text files whose lines vouch for each other.
 *
 * Floor 3 (store); uses base.
 *
 * Small files that decide much (MANIFEST, DELETES) are text that a person can
 * read: lines of words, separated by one space.  The last word of each line is
 * the CRC-32C, eight hex digits, of the text of all lines so far, without
 * their checksums, the spaces before those, and the line ends.  A line that is
 * missing, doubled, moved or changed is seen, not only one with a flipped bit:
 *
 *     nightlight-deletes 1 5d0c96d4
 *     store 6f1c...e0 0a3bd6c5
 *     end 2 51e0f00d
 *
 * The line "end N", N lines precede it, is the last one: a file that was cut
 * off between two lines is seen too.
 */
#ifndef NLT_STORE_LINES_H
#define NLT_STORE_LINES_H

#include "nlt_buf.h"

/* ---- writing ---- */

typedef struct {
    nlt_buf_t *out;
    size_t start; /* of the line being written, in out */
    uint32_t crc;
    size_t n; /* lines that are ended */
} nlt_lines_out_t;

/* Begins a text at the end of out, which is borrowed until the last line. */
void nlt_lines_begin(nlt_lines_out_t *l, nlt_buf_t *out);

/*
 * The same, with the two lines that files of a store begin with:
 * "nightlight-KIND FORMAT" and "store ID", NLT_STORE_ID_BYTES in hex.
 */
void nlt_lines_begin_file(nlt_lines_out_t *l, nlt_buf_t *out, const char *kind,
                          unsigned format, const uint8_t *store_id);

/* Ends the line that was added to out: checksum and line end. */
void nlt_lines_end_line(nlt_lines_out_t *l);

/* Writes "end N". */
void nlt_lines_finish(nlt_lines_out_t *l);

/* Appends n bytes as a word of hex digits; "-" for none. */
void nlt_lines_add_hex(nlt_buf_t *out, const void *p, size_t n);

/* ---- reading ---- */

#define NLT_LINES_WORDS_MAX 12

typedef struct {
    const char *name; /* of the file, for errors */
    nlt_str_t text;   /* borrowed, as words are */
    size_t line_max;  /* bytes of a line; 0: any */
    size_t at;        /* where the next line begins */
    uint32_t crc;
    size_t n; /* lines read, this one included */
    nlt_str_t word[NLT_LINES_WORDS_MAX];
    size_t n_words;
    unsigned format; /* from nlt_lines_head() */
    nlt_err_t *err;  /* may be NULL */
} nlt_lines_in_t;

/*
 * The next line: its words, checksum verified and left out.  NLT_OK; NLT_EOF:
 * that was "end", and nothing follows it; NLT_EDATA.  O(length of the line).
 */
NLT_CHECKED nlt_rc_t nlt_lines_next(nlt_lines_in_t *l);

/* NLT_EDATA, with name and number of the line before `what` in err. */
nlt_rc_t nlt_lines_bad(nlt_lines_in_t *l, const char *what);

/* Is the line `key` and n - 1 further words? */
bool nlt_lines_is(const nlt_lines_in_t *l, const char *key, size_t n);

/*
 * Line 1 or 2 of a file that nlt_lines_begin_file() began.  store_id may be
 * NULL: of any store.  NLT_EDATA, NLT_EVERSION: a later format than format.
 */
NLT_CHECKED nlt_rc_t nlt_lines_head(nlt_lines_in_t *l, const char *kind,
                                    unsigned format, const uint8_t *store_id);

/* A decimal number below 2^63. */
bool nlt_lines_count(nlt_str_t word, uint64_t *out);

/* Bytes of a word of hex digits ("-": none); SIZE_MAX: it is not one. */
size_t nlt_lines_hex_len(nlt_str_t word);

/* Its bytes, of which there are nlt_lines_hex_len(). */
void nlt_lines_hex(nlt_str_t word, void *out);

#endif

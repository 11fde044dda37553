/*
 * nlt_utf8.h - UTF-8 validation, and Go's %q quoting.
 *
 * Floor 0 (base); uses nlt_buf.
 */
#ifndef NLT_BASE_UTF8_H
#define NLT_BASE_UTF8_H

#include "nlt_buf.h"

/* Valid UTF-8 (no surrogates, no overlong forms, up to U+10FFFF)? */
bool nlt_utf8_valid(nlt_str_t s);

/*
 * Decodes one rune at s.data (s.len > 0).  Returns its length and the code
 * point; an invalid byte gives length 1 and 0xfffd.
 */
size_t nlt_utf8_decode(nlt_str_t s, uint32_t *rune);

/* Encodes a code point at out (4 bytes of room); the length.  What is no
 * code point becomes U+FFFD. */
size_t nlt_utf8_encode(char *out, uint32_t rune);

/* Appends Go's strconv.Quote(s), quotes included. */
void nlt_utf8_quote(nlt_buf_t *b, nlt_str_t s);

/* Appends Go's %q of a rune: 'x'. */
void nlt_utf8_quote_rune(nlt_buf_t *b, uint32_t rune);

/* Is the rune printable in Go's sense (strconv.IsPrint, Unicode 15.0)? */
bool nlt_utf8_printable(uint32_t rune);

#endif

/*
 * nlt_utf8.c - UTF-8 validation, and Go's %q quoting.
 */
#include "nlt_utf8.h"

#include "nlt_utf8_table.h"

#define RUNE_MAX     0x10ffffu
#define RUNE_INVALID 0xfffdu

/*
 * Length of the valid rune at p, 0 if there is none.  The bounds of the
 * second byte exclude overlong forms (after e0 and f0), surrogates (after
 * ed) and what lies behind U+10FFFF (after f4).
 */
static size_t
rune_len(const uint8_t *p, size_t n)
{
    uint8_t lead = p[0];
    uint8_t low = 0x80, high = 0xbf;
    size_t len;

    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (n < len) {
        return 0;
    }
    if (lead == 0xe0) {
        low = 0xa0;
    } else if (lead == 0xed) {
        high = 0x9f;
    } else if (lead == 0xf0) {
        low = 0x90;
    } else if (lead == 0xf4) {
        high = 0x8f;
    }
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

bool
nlt_utf8_valid(nlt_str_t s)
{
    const uint8_t *p = (const uint8_t *) s.data;
    size_t n = s.len;

    while (n > 0) {
        uint64_t word;
        size_t len;

        /* Labels are ASCII nearly always: eight bytes a look. */
        while (n >= 8) {
            memcpy(&word, p, sizeof(word));
            if (word & UINT64_C(0x8080808080808080)) {
                break;
            }
            p += 8;
            n -= 8;
        }
        if (n == 0) {
            break;
        }
        len = rune_len(p, n);
        if (len == 0) {
            return false;
        }
        p += len;
        n -= len;
    }
    return true;
}

size_t
nlt_utf8_decode(nlt_str_t s, uint32_t *rune)
{
    const uint8_t *p = (const uint8_t *) s.data;
    size_t len = rune_len(p, s.len);

    switch (len) {
    case 0:
        *rune = RUNE_INVALID;
        return 1;
    case 1:
        *rune = p[0];
        return 1;
    case 2:
        *rune = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
        return 2;
    case 3:
        *rune = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        return 3;
    default:
        *rune = (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12
                | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
        return 4;
    }
}

static bool
rune_valid(uint32_t rune)
{
    return rune <= RUNE_MAX && (rune < 0xd800 || rune > 0xdfff);
}

size_t
nlt_utf8_encode(char *out, uint32_t rune)
{
    if (!rune_valid(rune)) {
        rune = RUNE_INVALID;
    }
    if (rune < 0x80) {
        out[0] = (char) rune;
        return 1;
    }
    if (rune < 0x800) {
        out[0] = (char) (0xc0 | rune >> 6);
        out[1] = (char) (0x80 | (rune & 0x3f));
        return 2;
    }
    if (rune < 0x10000) {
        out[0] = (char) (0xe0 | rune >> 12);
        out[1] = (char) (0x80 | (rune >> 6 & 0x3f));
        out[2] = (char) (0x80 | (rune & 0x3f));
        return 3;
    }
    out[0] = (char) (0xf0 | rune >> 18);
    out[1] = (char) (0x80 | (rune >> 12 & 0x3f));
    out[2] = (char) (0x80 | (rune >> 6 & 0x3f));
    out[3] = (char) (0x80 | (rune & 0x3f));
    return 4;
}

static bool
in_ranges_16(uint16_t rune)
{
    size_t lo = 0, hi = NLT_COUNT(unprintable_16);

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (rune > unprintable_16[mid][1]) {
            lo = mid + 1;
        } else if (rune < unprintable_16[mid][0]) {
            hi = mid;
        } else {
            return true;
        }
    }
    return false;
}

static bool
in_ranges_32(uint32_t rune)
{
    size_t lo = 0, hi = NLT_COUNT(unprintable_32);

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (rune > unprintable_32[mid][1]) {
            lo = mid + 1;
        } else if (rune < unprintable_32[mid][0]) {
            hi = mid;
        } else {
            return true;
        }
    }
    return false;
}

bool
nlt_utf8_printable(uint32_t rune)
{
    if (rune < 0x7f) {
        return rune >= 0x20;
    }
    if (rune < 0x10000) {
        return !in_ranges_16((uint16_t) rune);
    }
    return rune <= RUNE_MAX && !in_ranges_32(rune);
}

static void
add_hex(nlt_buf_t *b, char kind, uint32_t v, unsigned digits)
{
    static const char hex[] = "0123456789abcdef";

    nlt_buf_add_byte(b, '\\');
    nlt_buf_add_byte(b, (uint8_t) kind);
    while (digits-- > 0) {
        nlt_buf_add_byte(b, (uint8_t) hex[v >> (4 * digits) & 15]);
    }
}

/* The letter of a two-character escape, or 0. */
static char
short_escape(uint32_t rune)
{
    switch (rune) {
    case '\a':
        return 'a';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\v':
        return 'v';
    default:
        return 0;
    }
}

static void
add_quoted_rune(nlt_buf_t *b, uint32_t rune, char quote)
{
    char room[4];

    if (rune == (uint32_t) quote || rune == '\\') {
        nlt_buf_add_byte(b, '\\');
        nlt_buf_add_byte(b, (uint8_t) rune);
    } else if (nlt_utf8_printable(rune)) {
        nlt_buf_add(b, room, nlt_utf8_encode(room, rune));
    } else if (short_escape(rune) != 0) {
        nlt_buf_add_byte(b, '\\');
        nlt_buf_add_byte(b, (uint8_t) short_escape(rune));
    } else if (rune < 0x20 || rune == 0x7f) {
        add_hex(b, 'x', rune, 2);
    } else if (rune < 0x10000) {
        add_hex(b, 'u', rune, 4);
    } else {
        add_hex(b, 'U', rune, 8);
    }
}

void
nlt_utf8_quote(nlt_buf_t *b, nlt_str_t s)
{
    nlt_buf_add_byte(b, '"');
    while (s.len > 0) {
        uint32_t rune;
        size_t n = nlt_utf8_decode(s, &rune);

        if (n == 1 && rune == RUNE_INVALID) {
            add_hex(b, 'x', (uint8_t) s.data[0], 2);
        } else {
            add_quoted_rune(b, rune, '"');
        }
        s.data += n;
        s.len -= n;
    }
    nlt_buf_add_byte(b, '"');
}

void
nlt_utf8_quote_rune(nlt_buf_t *b, uint32_t rune)
{
    if (!rune_valid(rune)) {
        rune = RUNE_INVALID;
    }
    nlt_buf_add_byte(b, '\'');
    add_quoted_rune(b, rune, '\'');
    nlt_buf_add_byte(b, '\'');
}

/*
 * nlt_pql_lex.c - one token a call.
 *
 * Each place (outside, braces, brackets) has a function that reads one token
 * or skips one run of white space; next() calls the one of the place we are
 * in until there is a token.
 */
#include <stdarg.h>
#include <stdio.h>

#include "nlt_pql_lex.h"

#define END_OF_TEXT (-1)
#define BAD_RUNE    0xfffd

static const nlt_pql_token_info_t token_table[] = {
#define NLT_PQL_TOKEN_ROW(name, text_, class_, power_, metric_)               \
    [NLT_PQL_T_##name] = {                                                    \
        .text = (text_),                                                      \
        .class = NLT_PQL_TC_##class_,                                         \
        .power = (power_),                                                    \
        .metric = (metric_) == 1,                                             \
        .word = (text_)[0] >= 'a' && (text_)[0] <= 'z',                       \
    },
    NLT_PQL_TOKENS(NLT_PQL_TOKEN_ROW)
#undef NLT_PQL_TOKEN_ROW
};

const nlt_pql_token_info_t *
nlt_pql_token_info(nlt_pql_token_kind_t kind)
{
    return &token_table[kind];
}

void
nlt_pql_position(nlt_str_t text, size_t pos, size_t *line, size_t *column)
{
    size_t after_break = 0;

    *line = 1;
    for (size_t i = 0; i < pos && i < text.len; i++) {
        if (text.data[i] == '\n') {
            after_break = i + 1;
            (*line)++;
        }
    }
    *column = pos - after_break + 1;
}

nlt_rc_t
nlt_pql_err_at(nlt_err_t *err, nlt_str_t text, int32_t pos, const char *fmt,
               ...)
{
    char what[NLT_ERR_TEXT_MAX];
    size_t line, column;
    va_list args;

    va_start(args, fmt);
    (void) vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    if (text.len == 0) {
        return nlt_err_set_at(err, NLT_EINVAL, pos,
                              "unknown position: parse error: %s", what);
    }
    nlt_pql_position(text, (size_t) pos, &line, &column);
    return nlt_err_set_at(err, NLT_EINVAL, pos, "%zu:%zu: parse error: %s",
                          line, column, what);
}

void
nlt_pql_lex_init(nlt_pql_lex_t *lex, nlt_str_t text)
{
    *lex = (nlt_pql_lex_t){.text = text};
}

static bool
is_space(int32_t r)
{
    return r == ' ' || r == '\t' || r == '\n' || r == '\r';
}

static bool
is_digit(int32_t r)
{
    return r >= '0' && r <= '9';
}

static bool
is_alpha(int32_t r)
{
    return r == '_' || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z');
}

static bool
is_alnum(int32_t r)
{
    return is_alpha(r) || is_digit(r);
}

/* The rune at pos without taking it. */
static int32_t
peek_rune(const nlt_pql_lex_t *lex, size_t *width)
{
    uint32_t rune;
    nlt_str_t rest = {lex->text.len - lex->pos, lex->text.data + lex->pos};

    *width = 0;
    if (rest.len == 0) {
        return END_OF_TEXT;
    }
    if ((unsigned char) rest.data[0] < 0x80) {
        *width = 1;
        return rest.data[0];
    }
    *width = nlt_utf8_decode(rest, &rune);
    return (int32_t) rune;
}

static int32_t
peek(const nlt_pql_lex_t *lex)
{
    size_t width;

    return peek_rune(lex, &width);
}

static int32_t
take(nlt_pql_lex_t *lex)
{
    int32_t r = peek_rune(lex, &lex->width);

    lex->pos += lex->width;
    return r;
}

/* Takes back the rune taken last; once only. */
static void
back(nlt_pql_lex_t *lex)
{
    lex->pos -= lex->width;
    lex->width = 0;
}

/* Is the next rune one of the set? */
static bool
next_is(const nlt_pql_lex_t *lex, const char *set)
{
    int32_t r = peek(lex);

    return r > 0 && r < 0x80 && strchr(set, r) != NULL;
}

static bool
accept(nlt_pql_lex_t *lex, const char *set)
{
    if (!next_is(lex, set)) {
        return false;
    }
    lex->pos++;
    return true;
}

static void
accept_run(nlt_pql_lex_t *lex, const char *set)
{
    while (accept(lex, set)) {
    }
}

static nlt_pql_token_t
emit(nlt_pql_lex_t *lex, nlt_pql_token_kind_t kind)
{
    nlt_pql_token_t tok = {
        .kind = kind,
        .pos = (int32_t) lex->start,
        .text = {lex->pos - lex->start, lex->text.data + lex->start},
    };

    lex->start = lex->pos;
    return tok;
}

/* A token of kind ERROR at the start of the token in hand. */
static nlt_pql_token_t
fail(nlt_pql_lex_t *lex, const char *before, nlt_pql_lex_arg_t arg,
     int32_t rune, const char *after)
{
    lex->before = before;
    lex->arg = arg;
    lex->rune = rune;
    lex->after = after;
    return (nlt_pql_token_t){
        .kind = NLT_PQL_T_ERROR,
        .pos = (int32_t) lex->start,
        .text = {lex->pos - lex->start, lex->text.data + lex->start},
    };
}

static nlt_pql_token_t
fail_text(nlt_pql_lex_t *lex, const char *text)
{
    return fail(lex, text, NLT_PQL_LA_NONE, 0, "");
}

static nlt_pql_token_t
fail_rune(nlt_pql_lex_t *lex, const char *before, int32_t rune)
{
    return fail(lex, before, NLT_PQL_LA_RUNE, rune, "");
}

/* Go's %#U: "U+0071 'q'", the quoted part only if it can be printed. */
static void
print_code(nlt_buf_t *out, int32_t rune)
{
    nlt_buf_addf(out, "U+%04X", (unsigned) rune);
    if (rune >= 0 && nlt_utf8_printable((uint32_t) rune)) {
        char utf8[4];

        nlt_buf_add_c(out, " '");
        nlt_buf_add(out, utf8, nlt_utf8_encode(utf8, (uint32_t) rune));
        nlt_buf_add_c(out, "'");
    }
}

void
nlt_pql_lex_error(const nlt_pql_lex_t *lex, nlt_buf_t *out)
{
    nlt_str_t source = {lex->pos - lex->start, lex->text.data + lex->start};

    nlt_buf_add_c(out, lex->before);
    switch (lex->arg) {
    case NLT_PQL_LA_NONE:
        break;
    case NLT_PQL_LA_RUNE:
        nlt_utf8_quote_rune(out,
                            lex->rune < 0 ? BAD_RUNE : (uint32_t) lex->rune);
        break;
    case NLT_PQL_LA_CODE:
        print_code(out, lex->rune);
        break;
    case NLT_PQL_LA_SOURCE:
        /* The text of an error is bounded; its argument too. */
        if (source.len > NLT_ERR_TEXT_MAX) {
            source.len = NLT_ERR_TEXT_MAX;
        }
        nlt_utf8_quote(out, source);
        break;
    }
    nlt_buf_add_c(out, lex->after);
}

/* ---- numbers and durations ---- */

#define DIGITS "0123456789"

/*
 * Takes what looks like a number; whether it is one, the parser finds out.
 * false leaves pos where the trouble is, which error texts show.
 */
static bool
scan_number(nlt_pql_lex_t *lex)
{
    size_t begin = lex->pos;
    bool hex = false, dot = false, exponent = false;
    const char *digits = DIGITS;

    if (accept(lex, "0") && accept(lex, "xX")) {
        (void) accept(lex, "_");
        digits = DIGITS "abcdefABCDEF";
        hex = true;
    }
    (void) accept(lex, ".");
    (void) accept(lex, digits);
    while (next_is(lex, digits) || next_is(lex, "._eE")) {
        if ((dot && accept(lex, ".")) || (exponent && accept(lex, "eE"))) {
            return false;
        }
        if (accept(lex, ".")) {
            dot = true;
            if (accept(lex, "_.") || hex) {
                return false;
            }
        } else if (accept(lex, "eE")) {
            exponent = true;
            (void) accept(lex, "+-");
            if (accept(lex, "._eE") || peek(lex) == END_OF_TEXT) {
                return false;
            }
        } else if (accept(lex, "_")) {
            if (accept(lex, "._eE") || peek(lex) == END_OF_TEXT) {
                return false;
            }
        } else {
            accept_run(lex, digits);
        }
    }
    return lex->pos != begin && !is_alnum(peek(lex));
}

/* After a number that ended in a letter: the rest of a duration. */
static bool
scan_duration(nlt_pql_lex_t *lex)
{
    if (!accept(lex, "smhdwy")) {
        return false;
    }
    /* "ms"; wrong ones such as "hs" are the parser's business. */
    (void) accept(lex, "s");
    while (accept(lex, DIGITS)) {
        accept_run(lex, DIGITS);
        if (!accept(lex, "smhdw")) {
            return false;
        }
        (void) accept(lex, "s");
    }
    if (is_alnum(peek(lex))) {
        (void) take(lex);
        return false;
    }
    return true;
}

static nlt_pql_token_t
lex_number(nlt_pql_lex_t *lex)
{
    lex->in_duration = false;
    if (scan_number(lex)) {
        return emit(lex, NLT_PQL_T_NUMBER);
    }
    if (scan_duration(lex)) {
        return emit(lex, NLT_PQL_T_DURATION);
    }
    return fail(lex, "bad number or duration syntax: ", NLT_PQL_LA_SOURCE, 0,
                "");
}

/* ---- strings ---- */

static int
digit_value(int32_t r)
{
    if (is_digit(r)) {
        return r - '0';
    }
    if (r >= 'a' && r <= 'f') {
        return r - 'a' + 10;
    }
    if (r >= 'A' && r <= 'F') {
        return r - 'A' + 10;
    }
    return 16;
}

/* After a backslash.  true, or false and *tok is the error. */
static bool
lex_escape(nlt_pql_lex_t *lex, int32_t quote, nlt_pql_token_t *tok)
{
    int32_t r = take(lex);
    int n, base = 16;
    uint32_t max = 0x10ffff, code = 0;

    if (r == quote || (r > 0 && r < 0x80 && strchr("abfnrtv\\", r))) {
        return true;
    }
    if (r == END_OF_TEXT) {
        *tok = fail_text(lex, "escape sequence not terminated");
        return false;
    }
    if (r >= '0' && r <= '7') {
        back(lex);
        n = 3;
        base = 8;
        max = 255;
    } else if (r == 'x') {
        n = 2;
        max = 255;
    } else if (r == 'u' || r == 'U') {
        n = r == 'u' ? 4 : 8;
    } else {
        *tok = fail(lex, "unknown escape sequence ", NLT_PQL_LA_CODE, r, "");
        return false;
    }
    while (n-- > 0) {
        r = take(lex);
        if (r == END_OF_TEXT) {
            *tok = fail_text(lex, "escape sequence not terminated");
            return false;
        }
        if (digit_value(r) >= base) {
            *tok = fail(lex, "illegal character ", NLT_PQL_LA_CODE, r,
                        " in escape sequence");
            return false;
        }
        code = code * (uint32_t) base + (uint32_t) digit_value(r);
    }
    if (code > max || (code >= 0xd800 && code < 0xe000)) {
        *tok = fail_text(lex, "escape sequence is an invalid Unicode code "
                              "point");
        return false;
    }
    return true;
}

/* A string whose opening quote is taken. */
static nlt_pql_token_t
lex_string(nlt_pql_lex_t *lex, int32_t quote)
{
    bool raw = quote == '`';
    nlt_pql_token_t tok;

    for (;;) {
        int32_t r = take(lex);

        if (r == quote) {
            return emit(lex, NLT_PQL_T_STRING);
        }
        if (r == BAD_RUNE) {
            return fail_text(lex, "invalid UTF-8 rune");
        }
        if (r == END_OF_TEXT || (r == '\n' && !raw)) {
            return fail_text(lex, raw ? "unterminated raw string"
                                      : "unterminated quoted string");
        }
        if (r == '\\' && !raw && !lex_escape(lex, quote, &tok)) {
            return tok;
        }
    }
}

/* ---- words ---- */

/* Is a word, in any case, this lower-case one? */
static bool
word_is(nlt_str_t word, const char *lower)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = word.data[i];

        if (c >= 'A' && c <= 'Z') {
            c = (char) (c - 'A' + 'a');
        }
        if (lower[i] != c) { /* also at its NUL */
            return false;
        }
    }
    return lower[word.len] == '\0';
}

static nlt_pql_token_kind_t
word_kind(nlt_str_t word)
{
    if (word_is(word, "inf") || word_is(word, "nan")) {
        return NLT_PQL_T_NUMBER;
    }
    for (int k = 0; k < NLT_PQL_TOKEN_KINDS; k++) {
        if (token_table[k].word && word_is(word, token_table[k].text)) {
            return (nlt_pql_token_kind_t) k;
        }
    }
    return memchr(word.data, ':', word.len) ? NLT_PQL_T_METRIC_IDENT
                                            : NLT_PQL_T_IDENT;
}

static nlt_pql_token_t
lex_word(nlt_pql_lex_t *lex)
{
    while (is_alnum(peek(lex)) || peek(lex) == ':') {
        lex->pos++;
    }
    nlt_str_t word = {lex->pos - lex->start, lex->text.data + lex->start};

    return emit(lex, word_kind(word));
}

/* In brackets: step, range, min_of, max_of.  false: another word, taken. */
static bool
lex_duration_word(nlt_pql_lex_t *lex, nlt_pql_token_t *tok)
{
    while (is_alpha(peek(lex))) {
        lex->pos++;
    }
    nlt_str_t word = {lex->pos - lex->start, lex->text.data + lex->start};
    nlt_pql_token_kind_t kind = word_kind(word);

    if (kind < NLT_PQL_T_STEP || kind > NLT_PQL_T_MAX_OF) {
        return false;
    }
    *tok = emit(lex, kind);
    return true;
}

/* ---- the places ---- */

static nlt_pql_token_t
lex_right_paren(nlt_pql_lex_t *lex)
{
    nlt_pql_token_t tok = emit(lex, NLT_PQL_T_RIGHT_PAREN);

    lex->paren_depth--;
    if (lex->paren_depth < 0) {
        return fail_rune(lex, "unexpected right parenthesis ", ')');
    }
    return tok;
}

static nlt_pql_token_t
lex_left_paren(nlt_pql_lex_t *lex)
{
    lex->paren_depth++;
    return emit(lex, NLT_PQL_T_LEFT_PAREN);
}

static nlt_pql_token_t
lex_right_bracket(nlt_pql_lex_t *lex)
{
    lex->bracket_open = false;
    lex->in_duration = false;
    return emit(lex, NLT_PQL_T_RIGHT_BRACKET);
}

/* Inside {}. */
static nlt_pql_token_t
lex_braces(nlt_pql_lex_t *lex)
{
    int32_t r = take(lex);

    if (is_alpha(r)) {
        while (is_alnum(peek(lex))) {
            lex->pos++;
        }
        return emit(lex, NLT_PQL_T_IDENT);
    }
    switch (r) {
    case END_OF_TEXT:
        return fail_text(lex, "unexpected end of input inside braces");
    case ',':
        return emit(lex, NLT_PQL_T_COMMA);
    case '"':
    case '\'':
    case '`':
        return lex_string(lex, r);
    case '=':
        return emit(lex,
                    accept(lex, "~") ? NLT_PQL_T_MATCH_RE : NLT_PQL_T_ASSIGN);
    case '!':
        r = take(lex);
        if (r == '~') {
            return emit(lex, NLT_PQL_T_MATCH_NRE);
        }
        if (r == '=') {
            return emit(lex, NLT_PQL_T_NE);
        }
        return fail_rune(lex,
                         "unexpected character after '!' inside braces: ", r);
    case '{':
        return fail_rune(lex, "unexpected left brace ", r);
    case '}':
        lex->brace_open = false;
        return emit(lex, NLT_PQL_T_RIGHT_BRACE);
    default:
        return fail_rune(lex, "unexpected character inside braces: ", r);
    }
}

static nlt_pql_token_t
lex_duration_colon(nlt_pql_lex_t *lex)
{
    nlt_pql_token_t tok = emit(lex, NLT_PQL_T_COLON);

    if (!lex->got_duration) {
        return fail_text(lex, "unexpected colon before duration in duration "
                              "expression");
    }
    if (lex->got_colon) {
        return fail_text(lex, "unexpected repeated colon in duration "
                              "expression");
    }
    lex->got_colon = true;
    return tok;
}

/* Inside [] until the first number. */
static nlt_pql_token_t
lex_duration(nlt_pql_lex_t *lex)
{
    int32_t r = take(lex);
    nlt_pql_token_t tok;

    if (is_digit(r) || (r == '.' && is_digit(peek(lex)))) {
        back(lex);
        lex->got_duration = true;
        return lex_number(lex);
    }
    switch (r) {
    case END_OF_TEXT:
        return fail_text(lex, "unexpected end of input in duration "
                              "expression");
    case ']':
        return lex_right_bracket(lex);
    case ':':
        return lex_duration_colon(lex);
    case '(':
        return lex_left_paren(lex);
    case ')':
        return lex_right_paren(lex);
    case '+':
        return emit(lex, NLT_PQL_T_ADD);
    case '-':
        return emit(lex, NLT_PQL_T_SUB);
    case '*':
        return emit(lex, NLT_PQL_T_MUL);
    case '/':
        return emit(lex, NLT_PQL_T_DIV);
    case '%':
        return emit(lex, NLT_PQL_T_MOD);
    case '^':
        return emit(lex, NLT_PQL_T_POW);
    case ',':
        return emit(lex, NLT_PQL_T_COMMA);
    default:
        if (is_alpha(r) && lex_duration_word(lex, &tok)) {
            return tok;
        }
        return fail_rune(lex,
                         "unexpected character in duration expression: ", r);
    }
}

/* A letter or ':' outside braces, taken as r. */
static nlt_pql_token_t
lex_letter(nlt_pql_lex_t *lex, int32_t r)
{
    nlt_pql_token_t tok;

    if (!lex->bracket_open) {
        return lex_word(lex);
    }
    if (r == ':') {
        if (lex->got_colon) {
            return fail_rune(lex, "unexpected colon ", r);
        }
        lex->got_colon = true;
        return emit(lex, NLT_PQL_T_COLON);
    }
    if (lex_duration_word(lex, &tok)) {
        return tok;
    }
    return fail(lex, "unexpected character: ", NLT_PQL_LA_RUNE, r,
                ", expected ':'");
}

/* After < or >: one of three operators. */
static nlt_pql_token_t
lex_compare(nlt_pql_lex_t *lex, bool less)
{
    if (accept(lex, "=")) {
        return emit(lex, less ? NLT_PQL_T_LE : NLT_PQL_T_GE);
    }
    if (accept(lex, "/")) {
        return emit(lex, less ? NLT_PQL_T_TRIM_UPPER : NLT_PQL_T_TRIM_LOWER);
    }
    return emit(lex, less ? NLT_PQL_T_LT : NLT_PQL_T_GT);
}

static nlt_pql_token_t
lex_end(nlt_pql_lex_t *lex)
{
    if (lex->paren_depth != 0) {
        return fail_text(lex, "unclosed left parenthesis");
    }
    if (lex->bracket_open) {
        return fail_text(lex, "unclosed left bracket");
    }
    return emit(lex, NLT_PQL_T_END);
}

/* Brackets, braces and what else changes the place; r is taken. */
static nlt_pql_token_t
lex_bracket(nlt_pql_lex_t *lex, int32_t r)
{
    switch (r) {
    case '{':
        lex->brace_open = true;
        return emit(lex, NLT_PQL_T_LEFT_BRACE);
    case '[':
        if (lex->bracket_open) {
            return fail_rune(lex, "unexpected left bracket ", r);
        }
        lex->got_colon = false;
        lex->bracket_open = true;
        lex->in_duration = true;
        return emit(lex, NLT_PQL_T_LEFT_BRACKET);
    case ']':
        if (!lex->bracket_open) {
            return fail_rune(lex, "unexpected right bracket ", r);
        }
        return lex_right_bracket(lex);
    default:
        return fail_rune(lex, "unexpected character: ", r);
    }
}

/* After '=' or '!' outside braces. */
static nlt_pql_token_t
lex_equals(nlt_pql_lex_t *lex, int32_t first)
{
    if (accept(lex, "=")) {
        return emit(lex, first == '=' ? NLT_PQL_T_EQ : NLT_PQL_T_NE);
    }
    if (first == '!') {
        return fail_rune(lex, "unexpected character after '!': ", take(lex));
    }
    if (peek(lex) == '~') {
        return fail_rune(lex, "unexpected character after '=': ", '~');
    }
    return emit(lex, NLT_PQL_T_ASSIGN);
}

/* Outside braces, and inside brackets after the first number. */
static nlt_pql_token_t
lex_statement(nlt_pql_lex_t *lex)
{
    int32_t r = take(lex);

    if (is_digit(r) || (r == '.' && is_digit(peek(lex)))) {
        back(lex);
        return lex_number(lex);
    }
    if (is_alpha(r) || r == ':') {
        return lex_letter(lex, r);
    }
    switch (r) {
    case END_OF_TEXT:
        return lex_end(lex);
    case ',':
        return emit(lex, NLT_PQL_T_COMMA);
    case '*':
        return emit(lex, NLT_PQL_T_MUL);
    case '/':
        return emit(lex, NLT_PQL_T_DIV);
    case '%':
        return emit(lex, NLT_PQL_T_MOD);
    case '+':
        return emit(lex, NLT_PQL_T_ADD);
    case '-':
        return emit(lex, NLT_PQL_T_SUB);
    case '^':
        return emit(lex, NLT_PQL_T_POW);
    case '@':
        return emit(lex, NLT_PQL_T_AT);
    case '(':
        return lex_left_paren(lex);
    case ')':
        return lex_right_paren(lex);
    case '=':
    case '!':
        return lex_equals(lex, r);
    case '<':
    case '>':
        return lex_compare(lex, r == '<');
    case '"':
    case '\'':
    case '`':
        return lex_string(lex, r);
    default:
        return lex_bracket(lex, r);
    }
}

/* Skips white space and, but in a duration, comments. */
static void
skip(nlt_pql_lex_t *lex)
{
    for (;;) {
        int32_t r = peek(lex);

        if (r == '#' && !lex->in_duration) {
            while (lex->pos < lex->text.len && lex->text.data[lex->pos] != '\n'
                   && lex->text.data[lex->pos] != '\r') {
                lex->pos++;
            }
        } else if (is_space(r)) {
            lex->pos++;
        } else {
            return;
        }
    }
}

nlt_pql_token_t
nlt_pql_lex_next(nlt_pql_lex_t *lex)
{
    skip(lex);
    lex->start = lex->pos;
    if (lex->brace_open) {
        return lex_braces(lex);
    }
    if (lex->in_duration) {
        return lex_duration(lex);
    }
    return lex_statement(lex);
}

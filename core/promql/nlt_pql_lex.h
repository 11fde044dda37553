/*
 * nlt_pql_lex.h - text to tokens.
 *
 * Floor 3 (promql); uses base, nlt_pql_token_x.
 * Follows: prometheus promql/parser/lex.go in what it accepts, in which
 * errors it gives and where; differs: nothing that can be seen.
 * Memory: allocates nothing; tokens borrow from the text.
 *
 * The lexer runs on demand, one token a call, because its errors compete
 * with those of the parser: the first one recorded is the one that is shown.
 * It knows a little of the grammar, since the same letters mean different
 * things in different places:
 *
 *     outside       words are keywords or names, "5m" is a duration
 *     inside {}     words are label names, =~ and !~ exist
 *     inside []     until the first number only durations, signs, step() ..
 *                   may come; after it everything again, but ':' is a token
 *
 * An error is returned as a token of its own kind whose position is where
 * Prometheus says it is: the start of the token in hand, or, for brackets
 * and parentheses that were counted only after they were taken, the byte
 * behind them.
 */
#ifndef NLT_PROMQL_PQL_LEX_H
#define NLT_PROMQL_PQL_LEX_H

#include "nlt_pql_token_x.h"
#include "nlt_rc.h"
#include "nlt_utf8.h"

typedef enum {
#define NLT_PQL_TOKEN_ENUM(name, text, class, power, metric) NLT_PQL_T_##name,
    NLT_PQL_TOKENS(NLT_PQL_TOKEN_ENUM)
#undef NLT_PQL_TOKEN_ENUM
    NLT_PQL_TOKEN_KINDS
} nlt_pql_token_kind_t;

typedef enum {
    NLT_PQL_TC_END,
    NLT_PQL_TC_NAME,
    NLT_PQL_TC_LITERAL,
    NLT_PQL_TC_PUNCT,
    NLT_PQL_TC_OP,
    NLT_PQL_TC_AGGR,
    NLT_PQL_TC_KEYWORD,
    NLT_PQL_TC_WORD
} nlt_pql_token_class_t;

/* A row of the token list. */
typedef struct {
    const char *text;
    nlt_pql_token_class_t class;
    int power;   /* of a binary operator, 1 (weakest) to 6, or 0 */
    bool metric; /* may begin an expression as a metric name */
    bool word;   /* made of letters: may be a label name */
} nlt_pql_token_info_t;

typedef struct {
    nlt_pql_token_kind_t kind;
    int32_t pos;    /* byte offset of its first byte */
    nlt_str_t text; /* as written; strings with their quotes */
} nlt_pql_token_t;

/* What is shown between `before` and `after` of an error text. */
typedef enum {
    NLT_PQL_LA_NONE,
    NLT_PQL_LA_RUNE,   /* %q of a rune */
    NLT_PQL_LA_CODE,   /* %#U of a rune */
    NLT_PQL_LA_SOURCE, /* %q of the text consumed so far */
} nlt_pql_lex_arg_t;

typedef struct {
    nlt_str_t text;
    size_t pos;   /* of the next rune */
    size_t start; /* of the token in hand */
    size_t width; /* of the rune read last, for going back */
    int paren_depth;
    bool brace_open;
    bool bracket_open;
    bool in_duration;  /* in brackets, no number yet */
    bool got_colon;    /* in these brackets */
    bool got_duration; /* a number in any brackets up to here */
    /* The error, once a token of kind ERROR came: three parts of its text. */
    const char *before;
    const char *after;
    nlt_pql_lex_arg_t arg;
    int32_t rune;
} nlt_pql_lex_t;

/* Starts at the first byte of text, which is borrowed; at most 2 GiB. */
void nlt_pql_lex_init(nlt_pql_lex_t *lex, nlt_str_t text);

/*
 * The next token; END at the end, again and again.  After ERROR the lexer
 * must not be asked any more.  Comments and white space are skipped.  O(size
 * of the token), plus 45 comparisons of lengths for a word.
 */
nlt_pql_token_t nlt_pql_lex_next(nlt_pql_lex_t *lex);

/* Appends the text of the error that an ERROR token stands for. */
void nlt_pql_lex_error(const nlt_pql_lex_t *lex, nlt_buf_t *out);

/* The row of a token kind. */
const nlt_pql_token_info_t *nlt_pql_token_info(nlt_pql_token_kind_t kind);

/* Line and column, both from 1, column in bytes, of offset pos <= text.len.
 * O(pos). */
void
nlt_pql_position(nlt_str_t text, size_t pos, size_t *line, size_t *column);

/*
 * Fills err with NLT_EINVAL, pos and "LINE:COLUMN: parse error: " (for an
 * empty text "unknown position: parse error: ") and the formatted text.
 */
nlt_rc_t nlt_pql_err_at(nlt_err_t *err, nlt_str_t text, int32_t pos,
                        const char *fmt, ...) NLT_PRINTF(4, 5);

#endif

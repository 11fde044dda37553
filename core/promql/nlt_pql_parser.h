/*
 * nlt_pql_parser.h - the parser's own state, shared by its files.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_lex, nlt_pql_ast.
 *
 *   nlt_pql_parse.c           expressions, calls, aggregations, entry points
 *   nlt_pql_parse_postfix.c   [range], offset, @, anchored, smoothed
 *   nlt_pql_parse_selector.c  {matchers}, by (labels), literals
 *   nlt_pql_parse_duration.c  what stands in [ ] and after offset
 *
 * Prometheus's parser is generated (LALR with error recovery); this one is
 * written by hand, and still gives the same first error.  Two rules do it.
 *
 *   - A token is looked at only when the grammar cannot go on without it:
 *     errors of the lexer, of the grammar and of its actions compete, and
 *     the first one recorded is the one shown.  So an unknown function is
 *     reported before a bad character behind its ')'.
 *   - A syntax error is described by the innermost rule that expected one:
 *     lists of labels and matchers describe their own; elsewhere it is the
 *     `context` of the parser, which is that of the aggregation or duration
 *     we are in, or none.
 *
 * Every function returns NULL or false when an error was recorded (rc is set
 * then) and just passes that on.
 */
#ifndef NLT_PROMQL_PQL_PARSER_H
#define NLT_PROMQL_PQL_PARSER_H

#include "nlt_pql_ast.h"
#include "nlt_pql_lex.h"
#include "nlt_pql_parse.h"

typedef struct {
    nlt_pool_t *pool;
    nlt_str_t text;
    unsigned features;
    nlt_err_t *err;
    nlt_rc_t rc; /* NLT_OK until the first error */
    nlt_pql_lex_t lex;
    nlt_pql_lex_t closings;   /* the same text again: take_closing() */
    nlt_pql_token_t ahead[2]; /* tokens looked at, not yet taken */
    unsigned n_ahead;
    int32_t end; /* where the token taken last ended */
    unsigned depth;
    size_t n_nodes;
    const char *context;  /* "aggregation", or NULL */
    const char *expected; /* what to name after "expected", or NULL */
} nlt_pql_parser_t;

/* ---- nlt_pql_parse.c ---- */

/* The next token, not taken.  ERROR when an error is recorded. */
const nlt_pql_token_t *nlt_pql_peek(nlt_pql_parser_t *p);

static inline nlt_pql_token_kind_t
nlt_pql_peek_kind(nlt_pql_parser_t *p)
{
    return nlt_pql_peek(p)->kind;
}

/* Takes the next token. */
nlt_pql_token_t nlt_pql_take(nlt_pql_parser_t *p);

/* Takes the next token if it is of this kind. */
bool nlt_pql_accept(nlt_pql_parser_t *p, nlt_pql_token_kind_t kind);

/* Puts a token that was taken in front again; at most one is ahead. */
void nlt_pql_put_back(nlt_pql_parser_t *p, nlt_pql_token_t tok);

/* Records an error at a byte offset, unless there is one already. */
void nlt_pql_fail(nlt_pql_parser_t *p, int32_t pos, const char *fmt, ...)
    NLT_PRINTF(3, 4);

/* Records that the pool is exhausted. */
void nlt_pql_fail_memory(nlt_pql_parser_t *p);

/* "unexpected TOKEN in CONTEXT, expected EXPECTED" at the next token;
 * context and expected may be NULL. */
void nlt_pql_unexpected(nlt_pql_parser_t *p, const char *context,
                        const char *expected);

/* The same in the parser's own context. */
void nlt_pql_syntax(nlt_pql_parser_t *p);

/* Go's %q of s in the pool, cut at the size of an error text. */
nlt_str_t nlt_pql_quoted(nlt_pool_t *pool, nlt_str_t s);

/* A zeroed node at [start, start), height 1; NULL when out of bounds. */
nlt_pql_node_t *
nlt_pql_node(nlt_pql_parser_t *p, nlt_pql_kind_t kind, int32_t start);

/* Makes child one level below node; false when the tree gets too high. */
bool nlt_pql_adopt(nlt_pql_parser_t *p, nlt_pql_node_t *node,
                   const nlt_pql_node_t *child);

/* One level of recursion deeper; false at the limit. */
bool nlt_pql_enter(nlt_pql_parser_t *p);

/* ---- nlt_pql_parse_postfix.c ---- */

/* May the token follow a whole operand and bind to it at once? */
bool nlt_pql_is_postfix(nlt_pql_token_kind_t kind);

/* The node with the postfix that begins at the next token. */
nlt_pql_node_t *
nlt_pql_parse_postfix(nlt_pql_parser_t *p, nlt_pql_node_t *operand);

/* ---- nlt_pql_parse_selector.c ---- */

/* A VECTOR from its name (END: none, '{' is next) and what follows. */
nlt_pql_node_t *
nlt_pql_parse_vector(nlt_pql_parser_t *p, nlt_pql_token_t name);

/* "(a, b)" after by, without, on, ignoring, group_left, group_right. */
bool nlt_pql_parse_grouping(nlt_pql_parser_t *p, nlt_pql_names_t *out);

/* A string token without quotes and escapes. */
bool nlt_pql_unquote(nlt_pql_parser_t *p, nlt_pql_token_t tok, nlt_str_t *out);

/* A NUMBER node from a NUMBER or DURATION token. */
nlt_pql_node_t *nlt_pql_parse_number(nlt_pql_parser_t *p, nlt_pql_token_t tok);

/* ---- nlt_pql_parse_duration.c ---- */

/* A range or a subquery's step, inside brackets. */
bool nlt_pql_parse_range(nlt_pql_parser_t *p, nlt_pql_duration_t *out);

/* What follows `offset`. */
bool nlt_pql_parse_offset(nlt_pql_parser_t *p, nlt_pql_duration_t *out);

#endif

/*
 * nlt_regex_ast.h - RE2 syntax as a tree.  Private to nlt_regex*.c.
 *
 * Floor 1 (model); uses base.
 *
 *     pattern --parse--> tree --plan--> literals or globs, prefix
 *                             --print-> PCRE2 pattern
 *
 * The parser is RE2's in what it accepts, what it refuses and how it says so
 * (messages.md G26); the printer then uses only such parts of PCRE2's syntax
 * as mean the same in both.  So a lookahead or a backreference in the
 * printed pattern can only come from us.
 *
 * The tree is made in a scratch pool that dies when compiling is over.  Its
 * height is bounded by NLT_RX_HEIGHT_MAX, which bounds the recursion of all
 * that walk it.
 */
#ifndef NLT_MODEL_REGEX_AST_H
#define NLT_MODEL_REGEX_AST_H

#include "nlt_buf.h"
#include "nlt_rc.h"

/* Go's own bounds: height of the tree, instructions, repeat counts. */
#define NLT_RX_HEIGHT_MAX 1000
#define NLT_RX_SIZE_MAX   3355443u
#define NLT_RX_REPEAT_MAX 1000

#define NLT_RX_RUNE_MAX 0x10ffffu

typedef enum {
    NLT_RX_EMPTY,
    NLT_RX_LITERAL,    /* text; fold: in any case */
    NLT_RX_CLASS,      /* cls */
    NLT_RX_ANY,        /* . with (?s) */
    NLT_RX_ANY_NOT_NL, /* . without */
    NLT_RX_BEGIN_TEXT,
    NLT_RX_END_TEXT,
    NLT_RX_BEGIN_LINE,
    NLT_RX_END_LINE,
    NLT_RX_WORD_BOUNDARY,
    NLT_RX_NO_WORD_BOUNDARY,
    NLT_RX_CAPTURE, /* sub; capture */
    NLT_RX_REPEAT,  /* sub; min, max (-1: no end), greedy */
    NLT_RX_CONCAT,  /* sub and what follows it */
    NLT_RX_ALTERNATE,
    /* On the parser's stack only. */
    NLT_RX_LEFT_PAREN,
    NLT_RX_BAR
} nlt_rx_type_t;

typedef struct {
    uint32_t lo;
    uint32_t hi; /* inclusive */
} nlt_rx_range_t;

typedef struct {
    nlt_rx_range_t *v; /* in order of writing, may overlap */
    size_t n;
    size_t cap;
    nlt_buf_t props; /* Unicode properties, as PCRE2 writes them */
    bool negated;
    bool fold;
} nlt_rx_class_t;

typedef struct nlt_rx_node_s nlt_rx_node_t;

struct nlt_rx_node_s {
    nlt_rx_node_t *next; /* sibling; on the stack: the one below */
    nlt_rx_node_t *sub;
    uint8_t type;  /* nlt_rx_type_t */
    uint8_t flags; /* of LEFT_PAREN: to restore; else NLT_RX_FOLD */
    bool greedy;
    bool bad_rune;    /* literal holds a surrogate: matches nothing */
    bool closed;      /* was in parentheses: stays as it is */
    uint16_t height;  /* of the tree below, this node included */
    int16_t min, max; /* of REPEAT */
    uint32_t times;   /* greatest product of {n,m} down any path */
    uint32_t capture; /* number of the group, from 1; 0: none */
    uint64_t size;    /* instructions RE2 would need */
    union {
        nlt_str_t text; /* of LITERAL, UTF-8 */
        nlt_rx_class_t *cls;
    } u;
};

/* A group with a name; the last one first. */
typedef struct nlt_rx_name_s nlt_rx_name_t;

struct nlt_rx_name_s {
    nlt_rx_name_t *next;
    nlt_str_t name; /* in the pattern */
    uint32_t group;
};

/* Flags of the parser and of nodes. */
#define NLT_RX_FOLD       0x01u /* (?i) */
#define NLT_RX_MULTI_LINE 0x02u /* (?m) */
#define NLT_RX_DOT_NL     0x04u /* (?s) */
#define NLT_RX_UNGREEDY   0x08u /* (?U) */

typedef struct {
    nlt_pool_t *pool; /* scratch */
    nlt_mem_t mem;    /* the same as an allocator */
    nlt_str_t whole;  /* the pattern */
    const char *p;    /* what comes next in it */
    const char *end;
    nlt_err_t *err;
    nlt_rx_node_t *stack; /* newest first */
    char *text;           /* all literals, in order of writing */
    size_t text_len;
    uint8_t flags;
    uint32_t n_captures;
    uint32_t n_names;
    nlt_rx_name_t *names;
} nlt_rx_parser_t;

/*
 * Parses pattern with (?s) on.  The tree is in `scratch`, which is also kept
 * in *out as an allocator.  NLT_EINVAL with RE2's text, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_rx_parse(nlt_rx_parser_t *out, nlt_pool_t *scratch,
                                  nlt_str_t pattern, nlt_rx_node_t **root,
                                  nlt_err_t *err);

/* Sets "error parsing regexp: TEXT: `EXCERPT`". */
nlt_rc_t nlt_rx_fail(nlt_rx_parser_t *x, const char *text, const char *from,
                     const char *to);

/* The next rune; NLT_EINVAL for bad UTF-8.  Not at the end. */
NLT_CHECKED nlt_rc_t nlt_rx_next_rune(nlt_rx_parser_t *x, uint32_t *rune);

/* [...]; x->p is at the bracket. */
NLT_CHECKED nlt_rc_t nlt_rx_parse_class(nlt_rx_parser_t *x,
                                        nlt_rx_class_t **out);

/* \d, \pL ...: NLT_EOF if it is not one.  x->p is at the backslash. */
NLT_CHECKED nlt_rc_t nlt_rx_parse_class_escape(nlt_rx_parser_t *x,
                                               nlt_rx_class_t *c);

/* \n, \x41 ...; x->p is at the backslash. */
NLT_CHECKED nlt_rc_t nlt_rx_parse_escape(nlt_rx_parser_t *x, uint32_t *rune);

/* An empty class with the parser's flags, NULL without memory. */
nlt_rx_class_t *nlt_rx_class_new(nlt_rx_parser_t *x);

/* ---- plan ---- */

/* Stand for .* and .+ in strings of nlt_rx_expand(); never in UTF-8. */
#define NLT_RX_GAP_0 '\xff'
#define NLT_RX_GAP_1 '\xfe'

typedef struct {
    nlt_str_t *v;
    size_t n;
} nlt_rx_strings_t;

/*
 * All strings that the tree stands for, if they are few and if .* and .+ are
 * the only other things in it: NLT_OK, sorted and unique.  NLT_EOF: no such
 * list; NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_rx_expand(nlt_pool_t *scratch,
                                   const nlt_rx_node_t *root,
                                   nlt_rx_strings_t *out);

/* Appends the literal that every match begins with. */
void nlt_rx_prefix(const nlt_rx_node_t *root, nlt_buf_t *out);

/* Appends the tree in PCRE2's syntax, with its groups or without. */
void nlt_rx_print(const nlt_rx_node_t *root, bool groups, nlt_buf_t *out);

/* Hands a failure on to the caller. */
#define NLT_RX_TRY(expr)                                                      \
    do {                                                                      \
        nlt_rc_t rc_ = (expr);                                                \
                                                                              \
        if (rc_ != NLT_OK) {                                                  \
            return rc_;                                                       \
        }                                                                     \
    } while (0)

#endif

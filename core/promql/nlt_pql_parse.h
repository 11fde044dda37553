/*
 * nlt_pql_parse.h - text to syntax tree.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_lex, nlt_pql_ast.
 * Contract: the grammar and the error texts of Prometheus 3.14.
 *
 * A Pratt parser by hand: the grammar is small, errors carry positions, and
 * what Prometheus says about a wrong query depends on the exact token where
 * its generated parser gives up.  Depth and node count are bounded, so text
 * from the network can neither overflow the stack nor the pool.
 */
#ifndef NLT_PROMQL_PQL_PARSE_H
#define NLT_PROMQL_PQL_PARSE_H

#include "nlt_pql_ast.h"

/* Parts of the language that Prometheus has behind flags. */
typedef enum {
    NLT_PQL_F_FUNCTIONS = 1,     /* experimental functions, limitk, ... */
    NLT_PQL_F_DURATION_EXPR = 2, /* [5m * 2], offset step() */
    NLT_PQL_F_EXTENDED = 4,      /* anchored, smoothed */
    NLT_PQL_F_FILL = 8,          /* fill(), fill_left(), fill_right() */
    NLT_PQL_F_DELAYED_NAME = 16, /* delayed removal of __name__ */
    NLT_PQL_F_ALL = 31
} nlt_pql_features_t;

/* Their names, as Prometheus has them behind "promql-"; sorted. */
typedef struct {
    const char *name;
    unsigned bit;
} nlt_pql_feature_t;

/* All of them. */
const nlt_pql_feature_t *nlt_pql_feature_table(size_t *n);

/* Prometheus's defaults: duration expressions on, the rest off. */
#define NLT_PQL_F_DEFAULT NLT_PQL_F_DURATION_EXPR

/*
 * Parses and type-checks text into a tree in the pool; text must outlive it.
 * On NLT_EINVAL err holds "1:5: parse error: ..." exactly as Prometheus
 * words it (messages.md part 3) with pos set, and *out is NULL.  NLT_ENOMEM:
 * pool exhausted.  O(length).
 */
NLT_CHECKED nlt_rc_t nlt_pql_parse(nlt_pool_t *pool, nlt_str_t text,
                                   unsigned features, nlt_pql_node_t **out,
                                   nlt_err_t *err);

/*
 * Parses a lone selector, as match[] has it: `up`, `{job="x"}`; no offset,
 * range or at-least-one-matcher rule (the caller's words differ).  The
 * matchers are in the pool, not yet compiled.  Errors as above.
 */
NLT_CHECKED nlt_rc_t nlt_pql_parse_selector(nlt_pool_t *pool, nlt_str_t text,
                                            nlt_matcher_t **out, size_t *n,
                                            nlt_err_t *err);

/*
 * Appends the canonical text of a tree, as Prometheus's format_query without
 * line breaking prints it.  parse(print(parse(x))) equals parse(x).
 */
void nlt_pql_print(nlt_buf_t *b, const nlt_pql_node_t *node);

/*
 * The same with lines broken as Prometheus's format_query does.  What it gives
 * parses to the same tree.  b->rc is NLT_ETOOBIG where the text, indented by
 * up to two columns a level, is longer than b may be.  O(length * depth).
 */
void nlt_pql_pretty(nlt_buf_t *b, const nlt_pql_node_t *node);

#endif

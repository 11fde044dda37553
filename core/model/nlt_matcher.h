/*
 * nlt_matcher.h - label matchers: =, !=, =~, !~.
 *
 * Floor 1 (model); uses base, nlt_regex.
 */
#ifndef NLT_MODEL_MATCHER_H
#define NLT_MODEL_MATCHER_H

#include "nlt_labels.h"
#include "nlt_regex.h"

typedef enum {
    NLT_MATCH_EQ,
    NLT_MATCH_NE,
    NLT_MATCH_RE,
    NLT_MATCH_NRE
} nlt_match_op_t;

typedef struct {
    nlt_match_op_t op;
    nlt_str_t name;
    nlt_str_t value;
    nlt_regex_t *re; /* of RE and NRE, after nlt_matcher_compile() */
} nlt_matcher_t;

/*
 * Compiles the regex, if there is one, into the pool.  Errors as
 * nlt_regex_compile().  nlt_matcher_release() must follow before the pool
 * goes.
 */
NLT_CHECKED nlt_rc_t nlt_matcher_compile(nlt_pool_t *pool, nlt_matcher_t *m,
                                         nlt_err_t *err);
void nlt_matcher_release(nlt_matcher_t *m);

/* Does a value (empty: label absent) match?  NLT_OK, NLT_EOF (no) or
 * NLT_ELIMIT.  */
NLT_CHECKED nlt_rc_t nlt_matcher_test(const nlt_matcher_t *m, nlt_str_t value);

/* Says in *err that a test of m gave rc, an error.  Returns rc. */
nlt_rc_t
nlt_matcher_failed(const nlt_matcher_t *m, nlt_rc_t rc, nlt_err_t *err);

/* Does the whole set match all n matchers?  Results as above. */
NLT_CHECKED nlt_rc_t nlt_matchers_test(const nlt_matcher_t *m, size_t n,
                                       nlt_labels_t labels);

/* "=", "!=", "=~", "!~". */
const char *nlt_match_op_text(nlt_match_op_t op);

/* Appends a="b" or a=~"b", the name quoted when it has to be. */
void nlt_matcher_print(nlt_buf_t *b, const nlt_matcher_t *m);

#endif

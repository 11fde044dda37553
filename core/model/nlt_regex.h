/*
 * nlt_regex.h - RE2 regular expressions, as PromQL has them, on PCRE2.
 *
 * Floor 1 (model); uses base, PCRE2 (JIT).
 *
 * Patterns are fully anchored and '.' matches a newline.  PCRE2 accepts what
 * RE2 refuses (lookaround, backreferences, possessive quantifiers) and can
 * take exponential time, so: the syntax is checked first by a parser of our
 * own that knows RE2's grammar and errors (messages.md G26); literal, prefix
 * and alternation patterns never reach PCRE2; the rest runs under match and
 * depth limits, and exceeding them is an error, not a mismatch.
 *
 * Memory: in the pool given to compile; PCRE2's objects in a pool of the
 * regex's own beside it, at most 16 MiB and no more than the given pool had
 * left; JIT code in pages of its own.
 * Threads: one thread at a time.
 */
#ifndef NLT_MODEL_REGEX_H
#define NLT_MODEL_REGEX_H

#include "nlt_rc.h"
#include "nlt_mem.h"

typedef struct nlt_regex_s nlt_regex_t;

#define NLT_REGEX_CAPTURES_MAX 32

typedef struct {
    size_t n; /* groups filled, the whole match included */
    nlt_str_t group[NLT_REGEX_CAPTURES_MAX]; /* data NULL: did not take part */
} nlt_captures_t;

/*
 * Compiles pattern into the pool.  NLT_EINVAL with RE2's error text and the
 * prefix "error parsing regexp: "; NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_regex_compile(nlt_pool_t *pool, nlt_str_t pattern,
                                       nlt_regex_t **out, nlt_err_t *err);

/*
 * Must be called before the pool of compile goes: gives back what PCRE2
 * holds outside of it.  NULL is allowed.
 */
void nlt_regex_destroy(nlt_regex_t *re);

/*
 * Does the whole of s match?  NLT_OK: yes; NLT_EOF: no; NLT_ELIMIT: the
 * match limit was hit; NLT_ENOMEM.  A string that is not UTF-8 matches
 * literals and .* only.
 */
NLT_CHECKED nlt_rc_t nlt_regex_match(nlt_regex_t *re, nlt_str_t s);

/* The same with groups.  Groups borrow from s. */
NLT_CHECKED nlt_rc_t nlt_regex_capture(nlt_regex_t *re, nlt_str_t s,
                                       nlt_captures_t *out);

/* Index of a named group, the first if several have the name, or -1. */
int nlt_regex_group(const nlt_regex_t *re, nlt_str_t name);

/*
 * If the pattern stands for a list of literals (`a`, `a|b`, `x(a|b)?`,
 * `x[12]`), they are here, sorted and unique, and n > 0: an index can then
 * look them up instead of scanning.  Otherwise n is 0.
 */
size_t nlt_regex_literals(const nlt_regex_t *re, const nlt_str_t **out);

/* The literal every match begins with; may be empty. */
nlt_str_t nlt_regex_prefix(const nlt_regex_t *re);

#endif

/*
 * nlt_regex.c - matching: lists and globs by hand, the rest by PCRE2.
 *
 * A pattern that stands for few strings is matched against them: a sorted
 * list by binary search, strings with gaps by searching their pieces from
 * left to right, which is exact because a gap takes any text.  Everything
 * else, and groups, are PCRE2's, compiled when first needed; what PCRE2 then
 * allocates is in a pool of the regex's own, since the caller may have put
 * a mark on his in the meantime.
 */
#include "nlt_regex.h"

#include "nlt_regex_ast.h"
#include "nlt_utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Longest pattern; PromQL's text has the same bound. */
#define PATTERN_BYTES_MAX (1u << 20)

/* Scratch of one compilation, within what the caller's pool has left. */
#define SCRATCH_BYTES_MAX ((size_t) 64 << 20)

/* What PCRE2 may take for one pattern, likewise. */
#define OWN_BYTES_MAX ((size_t) 16 << 20)

/* More globs than this are left to PCRE2. */
#define GLOBS_MAX 32

/* Backtracking steps and depth: some milliseconds for one value. */
#define MATCH_LIMIT     1000000
#define DEPTH_LIMIT     10000
#define HEAP_KIB_LIMIT  8192
#define JIT_STACK_BYTES ((size_t) 1 << 20)

/* PCRE2's own default of 250 nested groups is below RE2's. */
#define PARENS_NEST_MAX (3 * NLT_RX_HEIGHT_MAX)

typedef struct {
    nlt_str_t name;
    uint32_t group;
} group_name_t;

/* One pattern as PCRE2 has it; compiled when first needed. */
typedef struct {
    nlt_str_t text;
    pcre2_code *code; /* NULL: not yet */
    pcre2_match_data *data;
    bool jit;
} code_t;

struct nlt_regex_s {
    nlt_pool_t *pool; /* of the caller: what compile leaves */
    nlt_pool_t own;   /* what PCRE2 allocates, also later */
    bool listed;      /* strings decide, PCRE2 is for groups only */
    bool globs;       /* the strings have gaps */
    nlt_str_t *strings;
    size_t n_strings; /* sorted, unique */
    nlt_str_t prefix;
    uint32_t n_captures; /* without the whole match */
    group_name_t *names; /* the last group first */
    size_t n_names;
    code_t plain;  /* without groups: yes or no */
    code_t groups; /* with them */
    pcre2_general_context *general;
    pcre2_compile_context *how;
    pcre2_match_context *match;
    pcre2_jit_stack *jit_stack; /* NULL: the 32 KiB of the thread's own */
};

/* ---- PCRE2 ---- */

static void *
pcre_alloc(PCRE2_SIZE size, void *ctx)
{
    return nlt_pool_alloc(ctx, size);
}

/* The pool takes it back as a whole. */
static void
pcre_free(void *p, void *ctx)
{
    (void) p;
    (void) ctx;
}

static bool
contexts_create(nlt_regex_t *re)
{
    if (re->match != NULL) {
        return true;
    }
    re->general =
        pcre2_general_context_create(pcre_alloc, pcre_free, &re->own);
    if (re->general == NULL) {
        return false;
    }
    re->how = pcre2_compile_context_create(re->general);
    re->match = pcre2_match_context_create(re->general);
    if (re->how == NULL || re->match == NULL) {
        re->match = NULL;
        return false;
    }
    (void) pcre2_set_parens_nest_limit(re->how, PARENS_NEST_MAX);
    (void) pcre2_set_match_limit(re->match, MATCH_LIMIT);
    (void) pcre2_set_depth_limit(re->match, DEPTH_LIMIT);
    (void) pcre2_set_heap_limit(re->match, HEAP_KIB_LIMIT);
    return true;
}

static nlt_rc_t
code_compile(nlt_regex_t *re, code_t *c, nlt_err_t *err)
{
    PCRE2_SIZE at;
    int why = 0;

    if (!contexts_create(re)) {
        return NLT_ENOMEM;
    }
    c->code =
        pcre2_compile((PCRE2_SPTR) c->text.data, c->text.len,
                      PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_DOTALL
                          | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                      &why, &at, re->how);
    if (c->code == NULL) {
        if (re->own.over_budget || why == PCRE2_ERROR_HEAP_FAILED) {
            return NLT_ENOMEM;
        }
        /* The parser let nothing else pass; "why" is for a report of a bug. */
        return nlt_err_set(err, NLT_EINVAL,
                           "error parsing regexp: expression too large "
                           "(%d at %zu of %zu)",
                           why, (size_t) at, c->text.len);
    }
    c->jit = pcre2_jit_compile(c->code, PCRE2_JIT_COMPLETE) == 0;
    c->data = pcre2_match_data_create_from_pattern(c->code, re->general);
    if (c->data == NULL) {
        pcre2_code_free(c->code);
        c->code = NULL;
        return NLT_ENOMEM;
    }
    return NLT_OK;
}

static int
code_run(const nlt_regex_t *re, const code_t *c, nlt_str_t s)
{
    PCRE2_SPTR at = (PCRE2_SPTR) (s.len > 0 ? s.data : "");

    if (!c->jit) {
        return pcre2_match(c->code, at, s.len, 0, PCRE2_NO_UTF_CHECK, c->data,
                           re->match);
    }
    return pcre2_jit_match(c->code, at, s.len, 0, 0, c->data, re->match);
}

/* RE2 takes a bad byte for U+FFFD; such labels are refused at the door. */
static nlt_rc_t
code_match(nlt_regex_t *re, code_t *c, nlt_str_t s)
{
    int rc;

    if (c->code == NULL) {
        nlt_rc_t made = code_compile(re, c, NULL);

        if (made != NLT_OK) {
            return made == NLT_EINVAL ? NLT_ELIMIT : made;
        }
    }
    if (!nlt_utf8_valid(s)) {
        return NLT_EOF;
    }
    rc = code_run(re, c, s);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT && re->jit_stack == NULL) {
        re->jit_stack =
            pcre2_jit_stack_create(32 << 10, JIT_STACK_BYTES, re->general);
        if (re->jit_stack != NULL) {
            pcre2_jit_stack_assign(re->match, NULL, re->jit_stack);
            rc = code_run(re, c, s);
        }
    }
    if (rc >= 0) {
        return NLT_OK;
    }
    if (rc == PCRE2_ERROR_NOMEMORY) {
        return NLT_ENOMEM;
    }
    return rc == PCRE2_ERROR_NOMATCH ? NLT_EOF : NLT_ELIMIT;
}

/* ---- strings ---- */

static bool
list_has(const nlt_str_t *v, size_t n, nlt_str_t s)
{
    size_t lo = 0;

    while (lo < n) {
        size_t mid = lo + (n - lo) / 2;
        int c = nlt_str_cmp(v[mid], s);

        if (c == 0) {
            return true;
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    return false;
}

static bool
is_gap(char c)
{
    return c == NLT_RX_GAP_0 || c == NLT_RX_GAP_1;
}

/* Length of the literal that glob begins with. */
static size_t
piece_len(nlt_str_t glob)
{
    size_t n = 0;

    while (n < glob.len && !is_gap(glob.data[n])) {
        n++;
    }
    return n;
}

/*
 * Does all of s match?  A piece between gaps is best taken where it first
 * occurs: that leaves the most to what follows.
 */
static bool
glob_match(nlt_str_t glob, nlt_str_t s)
{
    size_t n = piece_len(glob);

    if (s.len < n || (n > 0 && memcmp(s.data, glob.data, n) != 0)) {
        return false;
    }
    if (n > 0) { /* the data of an empty string may be NULL */
        glob.data += n;
        glob.len -= n;
        s.data += n;
        s.len -= n;
    }
    while (glob.len > 0) {
        /* One gap or several; each .+ takes a rune at least. */
        while (glob.len > 0 && is_gap(glob.data[0])) {
            if (glob.data[0] == NLT_RX_GAP_1) {
                uint32_t rune;

                if (s.len == 0) {
                    return false;
                }
                n = nlt_utf8_decode(s, &rune);
                s.data += n;
                s.len -= n;
            }
            glob.data++;
            glob.len--;
        }
        n = piece_len(glob);
        if (s.len < n) {
            return false;
        }
        if (n == glob.len) {
            return n == 0 || memcmp(s.data + (s.len - n), glob.data, n) == 0;
        }
        const char *at = memmem(s.data, s.len, glob.data, n);

        if (at == NULL) {
            return false;
        }
        at += n;
        s.len -= (size_t) (at - s.data);
        s.data = at;
        glob.data += n;
        glob.len -= n;
    }
    return s.len == 0;
}

/* ---- compilation ---- */

static bool
has_gap(nlt_str_t s)
{
    return piece_len(s) < s.len;
}

/* Copies the list, if it is one that matching by hand pays for. */
static nlt_rc_t
take_strings(nlt_regex_t *re, nlt_rx_strings_t list)
{
    for (size_t i = 0; i < list.n; i++) {
        re->globs = re->globs || has_gap(list.v[i]);
    }
    if (re->globs && list.n > GLOBS_MAX) {
        re->globs = false;
        return NLT_OK;
    }
    re->strings = nlt_pool_array(re->pool, list.n, sizeof(*re->strings));
    if (re->strings == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < list.n; i++) {
        re->strings[i] = nlt_pool_str(re->pool, list.v[i]);
        if (re->strings[i].data == NULL) {
            return NLT_ENOMEM;
        }
    }
    re->n_strings = list.n;
    re->listed = true;
    return NLT_OK;
}

/* What all strings of the list begin with. */
static nlt_str_t
common_prefix(const nlt_str_t *v, size_t n)
{
    nlt_str_t p = {0, ""};

    if (n > 0) {
        p = (nlt_str_t){piece_len(v[0]), v[0].data};
    }
    for (size_t i = 1; i < n; i++) {
        size_t k = 0;

        while (k < p.len && k < v[i].len && p.data[k] == v[i].data[k]) {
            k++;
        }
        p.len = k;
    }
    return p;
}

static nlt_rc_t
take_names(nlt_regex_t *re, const nlt_rx_parser_t *x)
{
    re->names = nlt_pool_array(re->pool, x->n_names, sizeof(*re->names));
    if (re->names == NULL) {
        return NLT_ENOMEM;
    }
    for (const nlt_rx_name_t *n = x->names; n != NULL; n = n->next) {
        nlt_str_t name = nlt_pool_str(re->pool, n->name);

        if (name.data == NULL) {
            return NLT_ENOMEM;
        }
        re->names[re->n_names++] = (group_name_t){name, n->group};
    }
    return NLT_OK;
}

static nlt_rc_t
print_code(nlt_regex_t *re, const nlt_rx_node_t *root, bool groups,
           nlt_buf_t *b, code_t *out)
{
    nlt_buf_reset(b);
    nlt_buf_add_c(b, "\\A(?:");
    nlt_rx_print(root, groups, b);
    nlt_buf_add_c(b, ")\\z");
    out->text = nlt_pool_str(re->pool, nlt_buf_str(b));
    return b->rc != NLT_OK || out->text.data == NULL ? NLT_ENOMEM : NLT_OK;
}

/* From the tree to all that matching needs. */
static nlt_rc_t
plan(nlt_regex_t *re, nlt_rx_parser_t *x, const nlt_rx_node_t *root)
{
    nlt_rx_strings_t list;
    nlt_buf_t b;
    nlt_rc_t rc;

    re->n_captures = x->n_captures;
    rc = take_names(re, x);
    if (rc != NLT_OK) {
        return rc;
    }
    rc = nlt_rx_expand(x->pool, root, &list);
    if (rc == NLT_OK) {
        rc = take_strings(re, list);
    }
    if (rc != NLT_OK && rc != NLT_EOF) {
        return rc;
    }
    nlt_buf_init(&b, &x->mem, SCRATCH_BYTES_MAX);
    if (re->listed) {
        re->prefix = common_prefix(re->strings, re->n_strings);
    } else {
        nlt_rx_prefix(root, &b);
        re->prefix = nlt_pool_str(re->pool, nlt_buf_str(&b));
        if (re->prefix.data == NULL) {
            return NLT_ENOMEM;
        }
    }
    rc = NLT_OK;
    if (!re->listed) {
        rc = print_code(re, root, false, &b, &re->plain);
    }
    if (rc == NLT_OK && re->n_captures > 0) {
        rc = print_code(re, root, true, &b, &re->groups);
    }
    return rc;
}

nlt_rc_t
nlt_regex_compile(nlt_pool_t *pool, nlt_str_t pattern, nlt_regex_t **out,
                  nlt_err_t *err)
{
    size_t left = pool->budget_bytes - pool->used_bytes;
    nlt_regex_t *re = nlt_pool_zalloc(pool, sizeof(*re));
    nlt_rx_parser_t x;
    nlt_rx_node_t *root;
    nlt_pool_t scratch;
    nlt_rc_t rc;

    *out = NULL;
    if (pattern.len > PATTERN_BYTES_MAX) {
        return nlt_err_set(err, NLT_EINVAL,
                           "error parsing regexp: expression too large: "
                           "%zu bytes, at most %u",
                           pattern.len, PATTERN_BYTES_MAX);
    }
    nlt_pool_init(&scratch, pool->mem,
                  left < SCRATCH_BYTES_MAX ? left : SCRATCH_BYTES_MAX);
    if (re == NULL) {
        rc = NLT_ENOMEM;
        goto done;
    }
    re->pool = pool;
    nlt_pool_init(&re->own, pool->mem,
                  left < OWN_BYTES_MAX ? left : OWN_BYTES_MAX);
    rc = nlt_rx_parse(&x, &scratch, pattern, &root, err);
    if (rc == NLT_OK) {
        rc = plan(re, &x, root);
    }
    if (rc == NLT_OK && !re->listed) {
        rc = code_compile(re, &re->plain, err);
    }
    if (rc == NLT_OK) {
        *out = re;
    } else {
        nlt_regex_destroy(re);
    }
done:
    nlt_pool_deinit(&scratch);
    if (rc == NLT_ENOMEM) {
        return nlt_err_set(err, rc,
                           "regular expression of %zu bytes needs more "
                           "memory than the query has",
                           pattern.len);
    }
    return rc;
}

void
nlt_regex_destroy(nlt_regex_t *re)
{
    if (re == NULL) {
        return;
    }
    /* JIT code and its stack are mapped by PCRE2 itself. */
    pcre2_jit_stack_free(re->jit_stack);
    pcre2_code_free(re->plain.code);
    pcre2_code_free(re->groups.code);
    nlt_pool_deinit(&re->own);
    re->jit_stack = NULL;
    re->match = NULL;
    re->plain.code = NULL;
    re->groups.code = NULL;
}

/* ---- matching ---- */

nlt_rc_t
nlt_regex_match(nlt_regex_t *re, nlt_str_t s)
{
    if (!re->listed) {
        return code_match(re, &re->plain, s);
    }
    if (!re->globs) {
        return list_has(re->strings, re->n_strings, s) ? NLT_OK : NLT_EOF;
    }
    for (size_t i = 0; i < re->n_strings; i++) {
        if (glob_match(re->strings[i], s)) {
            return NLT_OK;
        }
    }
    return NLT_EOF;
}

nlt_rc_t
nlt_regex_capture(nlt_regex_t *re, nlt_str_t s, nlt_captures_t *out)
{
    const PCRE2_SIZE *at;
    nlt_rc_t rc;

    memset(out, 0, sizeof(*out));
    if (s.len == 0) {
        s.data = "";
    }
    if (re->listed || re->n_captures == 0) {
        rc = nlt_regex_match(re, s);
    } else {
        rc = code_match(re, &re->groups, s);
    }
    if (rc == NLT_OK && re->listed && re->n_captures > 0) {
        rc = code_match(re, &re->groups, s);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    out->group[0] = s;
    out->n = 1;
    if (re->n_captures == 0) {
        return NLT_OK;
    }
    at = pcre2_get_ovector_pointer(re->groups.data);
    out->n = pcre2_get_ovector_count(re->groups.data);
    if (out->n > NLT_REGEX_CAPTURES_MAX) {
        out->n = NLT_REGEX_CAPTURES_MAX;
    }
    for (size_t i = 1; i < out->n; i++) {
        if (at[2 * i] != PCRE2_UNSET) {
            out->group[i] =
                (nlt_str_t){at[2 * i + 1] - at[2 * i], s.data + at[2 * i]};
        }
    }
    return NLT_OK;
}

int
nlt_regex_group(const nlt_regex_t *re, nlt_str_t name)
{
    /* The list begins with the last group; the first of a name counts. */
    for (size_t i = re->n_names; i-- > 0;) {
        if (nlt_str_eq(re->names[i].name, name)) {
            return (int) re->names[i].group;
        }
    }
    return -1;
}

size_t
nlt_regex_literals(const nlt_regex_t *re, const nlt_str_t **out)
{
    bool list = re->listed && !re->globs;

    *out = list ? re->strings : NULL;
    return list ? re->n_strings : 0;
}

nlt_str_t
nlt_regex_prefix(const nlt_regex_t *re)
{
    return re->prefix;
}

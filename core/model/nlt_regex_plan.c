/*
 * nlt_regex_plan.c - what a tree stands for: strings, a prefix, or PCRE2.
 *
 * Most patterns of dashboards are lists of literals, perhaps with .* around
 * them.  nlt_rx_expand() writes them all down as strings in which a byte that
 * UTF-8 does not have stands for .* or .+, so that alternation is union and
 * concatenation is the product of two lists.
 */
#include "nlt_regex_ast.h"

#include "nlt_sort.h"
#include "nlt_utf8.h"

/* A product or a class may not make more strings than this. */
#define EXPAND_PRODUCT_MAX 256
#define EXPAND_CLASS_MAX   16

/* ---- expansion ---- */

static nlt_rc_t
one_string(nlt_pool_t *pool, nlt_str_t s, nlt_rx_strings_t *out)
{
    out->v = nlt_pool_alloc(pool, sizeof(*out->v));
    out->n = 1;
    if (out->v == NULL) {
        return NLT_ENOMEM;
    }
    out->v[0] = s;
    return NLT_OK;
}

static nlt_rc_t
expand_class(nlt_pool_t *pool, const nlt_rx_class_t *c, nlt_rx_strings_t *out)
{
    uint64_t n = 0;
    char *text;

    if (c->negated || c->fold || c->props.len > 0) {
        return NLT_EOF;
    }
    for (size_t i = 0; i < c->n; i++) {
        n += c->v[i].hi - c->v[i].lo + 1;
        if (n > EXPAND_CLASS_MAX
            || (c->v[i].hi >= 0xd800 && c->v[i].lo <= 0xdfff)) {
            return NLT_EOF;
        }
    }
    out->v = nlt_pool_array(pool, n, sizeof(*out->v));
    text = nlt_pool_alloc(pool, 4 * n);
    out->n = 0;
    if (out->v == NULL || text == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < c->n; i++) {
        for (uint32_t rune = c->v[i].lo; rune <= c->v[i].hi; rune++) {
            size_t len = nlt_utf8_encode(text, rune);

            out->v[out->n++] = (nlt_str_t){len, text};
            text += len;
        }
    }
    return NLT_OK;
}

/* Every string of a before every string of b. */
static nlt_rc_t
product(nlt_pool_t *pool, nlt_rx_strings_t a, nlt_rx_strings_t b,
        nlt_rx_strings_t *out)
{
    size_t n = a.n * b.n;
    size_t bytes = 0;
    char *text;

    if (a.n > 1 && b.n > 1 && (a.n > n / b.n || n > EXPAND_PRODUCT_MAX)) {
        return NLT_EOF;
    }
    for (size_t i = 0; i < a.n; i++) {
        bytes += a.v[i].len * b.n;
    }
    for (size_t i = 0; i < b.n; i++) {
        bytes += b.v[i].len * a.n;
    }
    out->v = nlt_pool_array(pool, n, sizeof(*out->v));
    text = nlt_pool_alloc(pool, bytes);
    if (out->v == NULL || text == NULL) {
        return NLT_ENOMEM;
    }
    out->n = 0;
    for (size_t i = 0; i < n; i++) {
        nlt_str_t first = a.v[i / b.n], second = b.v[i % b.n];

        out->v[out->n++] = (nlt_str_t){first.len + second.len, text};
        if (first.len > 0) {
            memcpy(text, first.data, first.len);
        }
        if (second.len > 0) {
            memcpy(text + first.len, second.data, second.len);
        }
        text += first.len + second.len;
    }
    return NLT_OK;
}

static nlt_rc_t expand(nlt_pool_t *pool, const nlt_rx_node_t *n, bool at_start,
                       bool at_end, nlt_rx_strings_t *out);

static bool
is_anchor(const nlt_rx_node_t *n)
{
    return n->type == NLT_RX_BEGIN_TEXT || n->type == NLT_RX_END_TEXT
           || n->type == NLT_RX_EMPTY;
}

static nlt_rc_t
expand_concat(nlt_pool_t *pool, const nlt_rx_node_t *n, bool at_start,
              bool at_end, nlt_rx_strings_t *out)
{
    const nlt_rx_node_t *last = NULL; /* that takes up text */
    bool past_last;

    for (const nlt_rx_node_t *s = n->sub; s != NULL; s = s->next) {
        if (!is_anchor(s)) {
            last = s;
        }
    }
    past_last = last == NULL;
    nlt_rc_t rc = one_string(pool, (nlt_str_t){0, ""}, out);

    for (const nlt_rx_node_t *s = n->sub; s != NULL && rc == NLT_OK;
         s = s->next) {
        nlt_rx_strings_t part;

        past_last = past_last || s == last;
        rc = expand(pool, s, at_start, at_end && past_last, &part);
        if (rc == NLT_OK && !(part.n == 1 && part.v[0].len == 0)) {
            nlt_rx_strings_t left = *out;

            if (left.n == 1 && left.v[0].len == 0) {
                *out = part;
            } else {
                rc = product(pool, left, part, out);
            }
        }
        at_start = at_start && is_anchor(s);
    }
    return rc;
}

static nlt_rc_t
expand_alternate(nlt_pool_t *pool, const nlt_rx_node_t *n, bool at_start,
                 bool at_end, nlt_rx_strings_t *out)
{
    size_t cap = 0;

    *out = (nlt_rx_strings_t){NULL, 0};
    for (const nlt_rx_node_t *s = n->sub; s != NULL; s = s->next) {
        nlt_rx_strings_t part;
        nlt_rc_t rc = expand(pool, s, at_start, at_end, &part);

        if (rc != NLT_OK) {
            return rc;
        }
        if (out->n + part.n > cap) {
            size_t want = (out->n + part.n) * 2;
            void *v = nlt_pool_grow(pool, out->v, cap * sizeof(*out->v),
                                    want * sizeof(*out->v));

            if (v == NULL) {
                return NLT_ENOMEM;
            }
            out->v = v;
            cap = want;
        }
        if (part.n > 0) {
            memcpy(out->v + out->n, part.v, part.n * sizeof(*out->v));
        }
        out->n += part.n;
    }
    return NLT_OK;
}

static nlt_rc_t
expand_repeat(nlt_pool_t *pool, const nlt_rx_node_t *n, nlt_rx_strings_t *out)
{
    static const char gaps[] = {NLT_RX_GAP_0, NLT_RX_GAP_1};
    nlt_rx_strings_t one, two;
    nlt_rc_t rc;

    if (n->sub->type == NLT_RX_ANY && n->max < 0 && n->min <= 1) {
        return one_string(pool, (nlt_str_t){1, &gaps[n->min]}, out);
    }
    if (n->max == 1 && n->min == 1) {
        return expand(pool, n->sub, false, false, out);
    }
    if (n->max != 1) {
        return NLT_EOF;
    }
    rc = one_string(pool, (nlt_str_t){0, ""}, &one);
    if (rc == NLT_OK) {
        rc = expand(pool, n->sub, false, false, &two);
    }
    if (rc == NLT_OK) {
        out->n = two.n + 1;
        out->v = nlt_pool_array(pool, out->n, sizeof(*out->v));
        if (out->v == NULL) {
            return NLT_ENOMEM;
        }
        out->v[0] = one.v[0];
        if (two.n > 0) {
            memcpy(out->v + 1, two.v, two.n * sizeof(*two.v));
        }
    }
    return rc;
}

/* at_start, at_end: nothing that takes up text is before, or behind it. */
static nlt_rc_t
expand(nlt_pool_t *pool, const nlt_rx_node_t *n, bool at_start, bool at_end,
       nlt_rx_strings_t *out)
{
    bool ok = false;

    switch ((nlt_rx_type_t) n->type) {
    case NLT_RX_LITERAL:
        if ((n->flags & NLT_RX_FOLD) || n->bad_rune) {
            return NLT_EOF;
        }
        return one_string(pool, n->u.text, out);
    case NLT_RX_CLASS:
        return expand_class(pool, n->u.cls, out);
    case NLT_RX_CAPTURE:
        return expand(pool, n->sub, at_start, at_end, out);
    case NLT_RX_REPEAT:
        return expand_repeat(pool, n, out);
    case NLT_RX_CONCAT:
        return expand_concat(pool, n, at_start, at_end, out);
    case NLT_RX_ALTERNATE:
        return expand_alternate(pool, n, at_start, at_end, out);
    case NLT_RX_EMPTY:
        ok = true;
        break;
    case NLT_RX_BEGIN_TEXT:
        ok = at_start;
        break;
    case NLT_RX_END_TEXT:
        ok = at_end;
        break;
    case NLT_RX_ANY:
    case NLT_RX_ANY_NOT_NL:
    case NLT_RX_BEGIN_LINE:
    case NLT_RX_END_LINE:
    case NLT_RX_WORD_BOUNDARY:
    case NLT_RX_NO_WORD_BOUNDARY:
    case NLT_RX_LEFT_PAREN:
    case NLT_RX_BAR:
        break;
    }
    return ok ? one_string(pool, (nlt_str_t){0, ""}, out) : NLT_EOF;
}

static bool
str_less(const nlt_str_t *a, const nlt_str_t *b, const void *ctx)
{
    (void) ctx;
    return nlt_str_cmp(*a, *b) < 0;
}

NLT_HEAP_SORT(heap_sort, nlt_str_t, str_less);

static void
sort_unique(nlt_rx_strings_t *s)
{
    size_t kept = 0;

    heap_sort(s->v, s->n, NULL);
    for (size_t i = 0; i < s->n; i++) {
        if (kept == 0 || !nlt_str_eq(s->v[kept - 1], s->v[i])) {
            s->v[kept++] = s->v[i];
        }
    }
    s->n = kept;
}

nlt_rc_t
nlt_rx_expand(nlt_pool_t *scratch, const nlt_rx_node_t *root,
              nlt_rx_strings_t *out)
{
    nlt_rc_t rc = expand(scratch, root, true, true, out);

    if (rc == NLT_OK) {
        sort_unique(out);
    }
    return rc;
}

/* ---- prefix ---- */

/*
 * Appends what every match of n begins with; true: n is exactly that, so
 * that what follows n goes on.
 */
static bool
prefix(const nlt_rx_node_t *n, nlt_buf_t *out)
{
    switch ((nlt_rx_type_t) n->type) {
    case NLT_RX_LITERAL:
        if ((n->flags & NLT_RX_FOLD) || n->bad_rune) {
            return false;
        }
        nlt_buf_add_str(out, n->u.text);
        return true;
    case NLT_RX_CAPTURE:
        return prefix(n->sub, out);
    case NLT_RX_REPEAT:
        return n->min > 0 && prefix(n->sub, out) && n->min == 1 && n->max == 1;
    case NLT_RX_CONCAT:
        for (const nlt_rx_node_t *s = n->sub; s != NULL; s = s->next) {
            if (!prefix(s, out)) {
                return false;
            }
        }
        return true;
    case NLT_RX_EMPTY:
    case NLT_RX_BEGIN_TEXT:
        return true;
    default:
        return false;
    }
}

void
nlt_rx_prefix(const nlt_rx_node_t *root, nlt_buf_t *out)
{
    (void) prefix(root, out);
}

/* ---- PCRE2 ---- */

#define NEVER "(?!)"

static void
print_rune(nlt_buf_t *b, uint32_t rune)
{
    char room[4];

    if ((rune >= '0' && rune <= '9') || (rune >= 'A' && rune <= 'Z')
        || (rune >= 'a' && rune <= 'z') || rune == '_') {
        nlt_buf_add_byte(b, (uint8_t) rune);
    } else if (rune > 0x20 && rune < 0x7f) {
        nlt_buf_add_byte(b, '\\');
        nlt_buf_add_byte(b, (uint8_t) rune);
    } else if (rune < 0xa0) {
        nlt_buf_addf(b, "\\x{%x}", (unsigned) rune);
    } else {
        nlt_buf_add(b, room, nlt_utf8_encode(room, rune));
    }
}

static void
print_literal(nlt_buf_t *b, const nlt_rx_node_t *n)
{
    bool fold = (n->flags & NLT_RX_FOLD) != 0;
    nlt_str_t s = n->u.text;

    if (n->bad_rune) {
        nlt_buf_add_c(b, NEVER);
        return;
    }
    /* In a group, so that a repetition takes hold of all of it. */
    nlt_buf_add_c(b, fold ? "(?i:" : "(?:");
    while (s.len > 0) {
        uint32_t rune;
        size_t len = nlt_utf8_decode(s, &rune);

        print_rune(b, rune);
        s.data += len;
        s.len -= len;
    }
    nlt_buf_add_byte(b, ')');
}

/* One range, without the surrogates, which PCRE2 refuses. */
static void
print_range(nlt_buf_t *b, uint32_t lo, uint32_t hi)
{
    if (lo < 0xd800 && hi > 0xdfff) {
        print_range(b, lo, 0xd7ff);
        print_range(b, 0xe000, hi);
        return;
    }
    if (lo >= 0xd800 && lo <= 0xdfff) {
        lo = 0xe000;
    }
    if (hi >= 0xd800 && hi <= 0xdfff) {
        hi = 0xd7ff;
    }
    if (lo <= hi) {
        nlt_buf_addf(b, "\\x{%x}-\\x{%x}", (unsigned) lo, (unsigned) hi);
    }
}

static void
print_class(nlt_buf_t *b, const nlt_rx_class_t *c)
{
    size_t at;

    nlt_buf_add_c(b, c->fold ? "(?i:[" : "(?:[");
    if (c->negated) {
        nlt_buf_add_byte(b, '^');
    }
    at = b->len;
    for (size_t i = 0; i < c->n; i++) {
        print_range(b, c->v[i].lo, c->v[i].hi);
    }
    nlt_buf_add_str(b, nlt_buf_str(&c->props));
    if (b->len == at && b->rc == NLT_OK) {
        /* Nothing is in it: [] would not be a class. */
        b->len -= c->negated ? 2 : 1;
        nlt_buf_add_c(b, c->negated ? "." : NEVER);
    } else {
        nlt_buf_add_byte(b, ']');
    }
    nlt_buf_add_byte(b, ')');
}

static void print(nlt_buf_t *b, const nlt_rx_node_t *n, bool groups);

static void
print_repeat(nlt_buf_t *b, const nlt_rx_node_t *n, bool groups)
{
    /* PCRE2 takes no repetition of some assertions without the group. */
    nlt_buf_add_c(b, "(?:");
    print(b, n->sub, groups);
    nlt_buf_add_byte(b, ')');
    if (n->max < 0 && n->min <= 1) {
        nlt_buf_add_byte(b, n->min == 0 ? '*' : '+');
    } else if (n->min == 0 && n->max == 1) {
        nlt_buf_add_byte(b, '?');
    } else if (n->max < 0) {
        nlt_buf_addf(b, "{%d,}", n->min);
    } else {
        nlt_buf_addf(b, "{%d,%d}", n->min, n->max);
    }
    if (!n->greedy) {
        nlt_buf_add_byte(b, '?');
    }
}

static void
print(nlt_buf_t *b, const nlt_rx_node_t *n, bool groups)
{
    switch ((nlt_rx_type_t) n->type) {
    case NLT_RX_LITERAL:
        print_literal(b, n);
        break;
    case NLT_RX_CLASS:
        print_class(b, n->u.cls);
        break;
    case NLT_RX_ANY:
        nlt_buf_add_byte(b, '.');
        break;
    case NLT_RX_ANY_NOT_NL:
        nlt_buf_add_c(b, "[^\\x{a}]");
        break;
    case NLT_RX_BEGIN_TEXT:
        nlt_buf_add_c(b, "\\A");
        break;
    case NLT_RX_END_TEXT:
        nlt_buf_add_c(b, "\\z");
        break;
    case NLT_RX_BEGIN_LINE:
        nlt_buf_add_c(b, "(?<![^\\x{a}])");
        break;
    case NLT_RX_END_LINE:
        nlt_buf_add_c(b, "(?![^\\x{a}])");
        break;
    case NLT_RX_WORD_BOUNDARY:
        nlt_buf_add_c(b, "\\b");
        break;
    case NLT_RX_NO_WORD_BOUNDARY:
        nlt_buf_add_c(b, "\\B");
        break;
    case NLT_RX_CAPTURE:
        nlt_buf_add_c(b, groups ? "(" : "(?:");
        print(b, n->sub, groups);
        nlt_buf_add_byte(b, ')');
        break;
    case NLT_RX_REPEAT:
        print_repeat(b, n, groups);
        break;
    case NLT_RX_CONCAT:
        for (const nlt_rx_node_t *s = n->sub; s != NULL; s = s->next) {
            print(b, s, groups);
        }
        break;
    case NLT_RX_ALTERNATE:
        nlt_buf_add_c(b, "(?:");
        for (const nlt_rx_node_t *s = n->sub; s != NULL; s = s->next) {
            print(b, s, groups);
            nlt_buf_add_byte(b, s->next != NULL ? '|' : ')');
        }
        break;
    case NLT_RX_EMPTY:
    case NLT_RX_LEFT_PAREN:
    case NLT_RX_BAR:
        break;
    }
}

void
nlt_rx_print(const nlt_rx_node_t *root, bool groups, nlt_buf_t *out)
{
    print(out, root, groups);
}

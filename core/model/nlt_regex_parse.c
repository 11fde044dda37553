/*
 * nlt_regex_parse.c - from RE2 syntax to a tree.
 *
 * A stack of nodes, newest first.  `(` and `|` lie on it as marks; what
 * stands above the last mark is what the next `|`, `)` or the end joins into
 * one node.  Nothing recurses.  Order and excerpts of errors are RE2's.
 */
#include "nlt_regex_ast.h"

#include "nlt_utf8.h"

nlt_rc_t
nlt_rx_fail(nlt_rx_parser_t *x, const char *text, const char *from,
            const char *to)
{
    nlt_str_t excerpt = {(size_t) (to - from), from};

    return nlt_err_set(x->err, NLT_EINVAL, "error parsing regexp: %s: `%.*s`",
                       text, NLT_FMT(excerpt));
}

static nlt_rc_t
fail_whole(nlt_rx_parser_t *x, const char *text)
{
    const char *from = x->whole.len > 0 ? x->whole.data : x->p;

    return nlt_rx_fail(x, text, from, from + x->whole.len);
}

static nlt_rc_t
fail_memory(nlt_rx_parser_t *x)
{
    return nlt_err_set(x->err, NLT_ENOMEM,
                       "regular expression of %zu bytes needs more memory "
                       "than the query has",
                       x->whole.len);
}

nlt_rc_t
nlt_rx_next_rune(nlt_rx_parser_t *x, uint32_t *rune)
{
    nlt_str_t rest = {(size_t) (x->end - x->p), x->p};
    size_t n = nlt_utf8_decode(rest, rune);

    if (n == 1 && *rune == 0xfffd) {
        return nlt_rx_fail(x, "invalid UTF-8", x->p, x->end);
    }
    x->p += n;
    return NLT_OK;
}

/* ---- the stack ---- */

static nlt_rx_node_t *
new_node(nlt_rx_parser_t *x, nlt_rx_type_t type)
{
    nlt_rx_node_t *n = nlt_pool_zalloc(x->pool, sizeof(*n));

    if (n != NULL) {
        n->type = (uint8_t) type;
        n->height = 1;
        n->size = 1;
        n->times = 1;
        n->flags = x->flags;
        n->greedy = true;
    }
    return n;
}

static nlt_rc_t
push(nlt_rx_parser_t *x, nlt_rx_type_t type)
{
    nlt_rx_node_t *n = new_node(x, type);

    if (n == NULL) {
        return fail_memory(x);
    }
    n->next = x->stack;
    x->stack = n;
    return NLT_OK;
}

static bool
is_mark(const nlt_rx_node_t *n)
{
    return n == NULL || n->type == NLT_RX_LEFT_PAREN || n->type == NLT_RX_BAR;
}

/* Has the rune another case, so that (?i) changes what it matches? */
static bool
has_case(uint32_t rune)
{
    return rune >= 0x80 || (rune >= 'a' && rune <= 'z')
           || (rune >= 'A' && rune <= 'Z');
}

/* Literals that follow each other become one node. */
static nlt_rc_t
push_literal(nlt_rx_parser_t *x, uint32_t rune)
{
    nlt_rx_node_t *top = x->stack;
    uint8_t fold = has_case(rune) ? x->flags & NLT_RX_FOLD : 0;
    bool bad = rune >= 0xd800 && rune <= 0xdfff;
    char *at = x->text + x->text_len;
    size_t n = nlt_utf8_encode(at, rune);

    x->text_len += n;
    if (top != NULL && top->type == NLT_RX_LITERAL && !top->closed
        && !top->bad_rune && !bad && (top->flags & NLT_RX_FOLD) == fold
        && top->u.text.data + top->u.text.len == at) {
        top->u.text.len += n;
        top->size++;
        return NLT_OK;
    }
    NLT_RX_TRY(push(x, NLT_RX_LITERAL));
    top = x->stack;
    top->flags = fold;
    top->bad_rune = bad;
    top->u.text = (nlt_str_t){n, at};
    return NLT_OK;
}

/* A repetition binds to the last rune only: gives it a node of its own. */
static nlt_rc_t
split_last_rune(nlt_rx_parser_t *x)
{
    nlt_rx_node_t *run = x->stack;
    nlt_str_t text = run->u.text;
    size_t n = 1;

    while (n < text.len && (text.data[text.len - n] & 0xc0) == 0x80) {
        n++;
    }
    if (n == text.len) {
        return NLT_OK;
    }
    run->u.text.len -= n;
    run->size--;
    NLT_RX_TRY(push(x, NLT_RX_LITERAL));
    x->stack->flags = run->flags;
    x->stack->u.text = (nlt_str_t){n, text.data + text.len - n};
    return NLT_OK;
}

/* After a change below it: height, size and repeat product of a node. */
static nlt_rc_t
measure(nlt_rx_parser_t *x, nlt_rx_node_t *n)
{
    uint64_t size = 0;
    unsigned height = 0;
    uint32_t times = 1;

    for (const nlt_rx_node_t *s = n->sub; s != NULL; s = s->next) {
        size += s->size + (n->type == NLT_RX_ALTERNATE);
        height = s->height > height ? s->height : height;
        times = s->times > times ? s->times : times;
        if (n->type == NLT_RX_CAPTURE || n->type == NLT_RX_REPEAT) {
            break;
        }
    }
    if (n->type == NLT_RX_REPEAT) {
        uint64_t m = (uint64_t) (n->max < 0 ? n->min : n->max);

        size = (m > 1 ? m : 1) * size + 2 + m;
    } else if (n->type == NLT_RX_CAPTURE) {
        size += 2;
    }
    if (height + 1 > NLT_RX_HEIGHT_MAX) {
        return fail_whole(x, "expression nests too deeply");
    }
    if (size > NLT_RX_SIZE_MAX) {
        return fail_whole(x, "expression too large");
    }
    n->height = (uint16_t) (height + 1);
    n->size = size;
    n->times = times;
    return NLT_OK;
}

/* Joins what stands above the last mark into one node. */
static nlt_rc_t
concat(nlt_rx_parser_t *x)
{
    nlt_rx_node_t *first = NULL;
    nlt_rx_node_t *joined;

    if (is_mark(x->stack)) {
        return push(x, NLT_RX_EMPTY);
    }
    if (is_mark(x->stack->next)) {
        return NLT_OK;
    }
    while (!is_mark(x->stack)) {
        nlt_rx_node_t *below = x->stack->next;

        x->stack->next = first;
        first = x->stack;
        x->stack = below;
    }
    NLT_RX_TRY(push(x, NLT_RX_CONCAT));
    joined = x->stack;
    joined->sub = first;
    return measure(x, joined);
}

/* Joins `a | b | c` above the last parenthesis. */
static nlt_rc_t
alternate(nlt_rx_parser_t *x)
{
    nlt_rx_node_t *first = NULL;

    NLT_RX_TRY(concat(x));
    if (x->stack->next == NULL || x->stack->next->type != NLT_RX_BAR) {
        return NLT_OK;
    }
    while (x->stack != NULL && x->stack->type != NLT_RX_LEFT_PAREN) {
        nlt_rx_node_t *below = x->stack->next;

        if (x->stack->type != NLT_RX_BAR) {
            x->stack->next = first;
            first = x->stack;
        }
        x->stack = below;
    }
    NLT_RX_TRY(push(x, NLT_RX_ALTERNATE));
    x->stack->sub = first;
    return measure(x, x->stack);
}

static nlt_rc_t
right_paren(nlt_rx_parser_t *x)
{
    nlt_rx_node_t *inner, *paren;

    NLT_RX_TRY(alternate(x));
    inner = x->stack;
    paren = inner->next;
    if (paren == NULL) {
        return fail_whole(x, "unexpected )");
    }
    x->flags = paren->flags;
    if (paren->capture == 0) {
        inner->closed = true;
        inner->next = paren->next;
        return NLT_OK;
    }
    x->stack = paren;
    paren->type = NLT_RX_CAPTURE;
    paren->sub = inner;
    inner->next = NULL;
    return measure(x, paren);
}

/* ---- repetition ---- */

/*
 * Digits at *p: false if there are none or a leading zero; -1 stands for a
 * number beyond 10^8.
 */
static bool
parse_count(const char **p, const char *end, int *out)
{
    const char *s = *p;
    int n = 0;

    if (s == end || *s < '0' || *s > '9') {
        return false;
    }
    if (end - s >= 2 && s[0] == '0' && s[1] >= '0' && s[1] <= '9') {
        return false;
    }
    for (; s < end && *s >= '0' && *s <= '9'; s++) {
        n = n < 0 || n >= 100000000 ? -1 : n * 10 + (*s - '0');
    }
    *p = s;
    *out = n;
    return true;
}

/* {n}, {n,} or {n,m} at x->p; false: the brace is a literal. */
static bool
parse_braces(nlt_rx_parser_t *x, int *min, int *max)
{
    const char *s = x->p + 1;

    if (!parse_count(&s, x->end, min) || s == x->end) {
        return false;
    }
    *max = *min;
    if (*s == ',') {
        s++;
        if (s == x->end) {
            return false;
        }
        if (*s == '}') {
            *max = -1;
        } else {
            if (!parse_count(&s, x->end, max)) {
                return false;
            }
            if (*max < 0) {
                *min = -1;
            }
        }
    }
    if (s == x->end || *s != '}') {
        return false;
    }
    x->p = s + 1;
    return true;
}

/*
 * A repetition of x* is x*, which saves a backtracking matcher from trying
 * all ways to share the text between the two.  Likewise x+ once or more.
 */
static void
flatten(nlt_rx_node_t *n)
{
    const nlt_rx_node_t *s = n->sub;

    if (s->type == NLT_RX_REPEAT && s->max < 0 && s->min <= 1 && n->max != 0
        && (s->min == 0 || n->min <= 1)) {
        n->min = (int16_t) (s->min == 0 || n->min == 0 ? 0 : 1);
        n->max = -1;
        n->greedy = s->greedy;
        n->sub = s->sub;
    }
}

/*
 * Repeats the node on top.  The operator began at `before` and x->p is behind
 * it; `last` is where an operator just before it began, or NULL.
 */
static nlt_rc_t
repeat(nlt_rx_parser_t *x, int min, int max, bool braces, const char *before,
       const char *last)
{
    bool greedy = (x->flags & NLT_RX_UNGREEDY) == 0;
    nlt_rx_node_t *sub, *n;

    if (x->p < x->end && *x->p == '?') {
        x->p++;
        greedy = !greedy;
    }
    if (last != NULL) {
        return nlt_rx_fail(x, "invalid nested repetition operator", last,
                           x->p);
    }
    if (is_mark(x->stack)) {
        return nlt_rx_fail(x, "missing argument to repetition operator",
                           before, x->p);
    }
    if (x->stack->type == NLT_RX_LITERAL && !x->stack->closed) {
        NLT_RX_TRY(split_last_rune(x));
    }
    sub = x->stack;
    x->stack = sub->next;
    NLT_RX_TRY(push(x, NLT_RX_REPEAT));
    n = x->stack;
    n->sub = sub;
    sub->next = NULL;
    n->greedy = greedy;
    n->min = (int16_t) min;
    n->max = (int16_t) max;
    NLT_RX_TRY(measure(x, n));
    if (braces) {
        /* {n,0} takes part in no product, {n,} with n. */
        uint32_t m = (uint32_t) (max < 0 ? min : max);

        if (max == 0) {
            n->times = 1;
        } else if (m > 0) {
            n->times *= m;
        }
        if ((min >= 2 || max >= 2) && n->times > NLT_RX_REPEAT_MAX) {
            return nlt_rx_fail(x, "invalid repeat count", before, x->p);
        }
    }
    flatten(n);
    return NLT_OK;
}

static nlt_rc_t
repeat_braces(nlt_rx_parser_t *x, const char *last, bool *literal)
{
    const char *before = x->p;
    int min, max;

    *literal = !parse_braces(x, &min, &max);
    if (*literal) {
        x->p++;
        return push_literal(x, '{');
    }
    if (min < 0 || min > NLT_RX_REPEAT_MAX || max > NLT_RX_REPEAT_MAX
        || (max >= 0 && min > max)) {
        return nlt_rx_fail(x, "invalid repeat count", before, x->p);
    }
    return repeat(x, min, max, true, before, last);
}

/* ---- groups ---- */

static bool
is_name(nlt_str_t name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];

        if (c != '_' && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z')
            && !(c >= 'a' && c <= 'z')) {
            return false;
        }
    }
    return name.len > 0;
}

/* Notes the name of the group that comes next; names may repeat. */
static nlt_rc_t
add_name(nlt_rx_parser_t *x, nlt_str_t name)
{
    nlt_rx_name_t *n;

    n = nlt_pool_alloc(x->pool, sizeof(*n));
    if (n == NULL) {
        return fail_memory(x);
    }
    *n = (nlt_rx_name_t){x->names, name, x->n_captures + 1};
    x->names = n;
    x->n_names++;
    return NLT_OK;
}

static nlt_rc_t
push_group(nlt_rx_parser_t *x)
{
    NLT_RX_TRY(push(x, NLT_RX_LEFT_PAREN));
    x->stack->capture = ++x->n_captures;
    return NLT_OK;
}

/* (?P<name> or (?<name>; name_at is where the name begins. */
static nlt_rc_t
named_group(nlt_rx_parser_t *x, const char *name_at)
{
    const char *close = memchr(x->p, '>', (size_t) (x->end - x->p));
    nlt_str_t inside = {(size_t) (x->end - x->p), x->p};

    if (close == NULL) {
        if (!nlt_utf8_valid(inside)) {
            return nlt_rx_fail(x, "invalid UTF-8", x->p, x->end);
        }
        return nlt_rx_fail(x, "invalid named capture", x->p, x->end);
    }
    nlt_str_t name = {(size_t) (close - name_at), name_at};

    if (!nlt_utf8_valid(name)) {
        return nlt_rx_fail(x, "invalid UTF-8", name_at, close);
    }
    if (!is_name(name)) {
        return nlt_rx_fail(x, "invalid named capture", x->p, close + 1);
    }
    NLT_RX_TRY(add_name(x, name));
    x->p = close + 1;
    return push_group(x);
}

/* (?flags) or (?flags: or a named group; x->p is at the parenthesis. */
static nlt_rc_t
perl_group(nlt_rx_parser_t *x)
{
    const char *from = x->p;
    unsigned on = x->flags, flag;
    bool minus = false, seen = false;

    if (x->end - from > 4 && from[2] == 'P' && from[3] == '<') {
        return named_group(x, from + 4);
    }
    if (x->end - from > 3 && from[2] == '<') {
        return named_group(x, from + 3);
    }
    x->p += 2;
    while (x->p < x->end) {
        uint32_t c;

        NLT_RX_TRY(nlt_rx_next_rune(x, &c));
        switch (c) {
        case 'i':
            flag = NLT_RX_FOLD;
            break;
        case 'm':
            flag = NLT_RX_MULTI_LINE;
            break;
        case 's':
            flag = NLT_RX_DOT_NL;
            break;
        case 'U':
            flag = NLT_RX_UNGREEDY;
            break;
        case '-':
            if (minus) {
                goto bad;
            }
            minus = true;
            seen = false;
            continue;
        case ':':
        case ')':
            if (minus && !seen) {
                goto bad;
            }
            if (c == ':') {
                NLT_RX_TRY(
                    push(x, NLT_RX_LEFT_PAREN)); /* keeps the old flags */
            }
            x->flags = (uint8_t) on;
            return NLT_OK;
        default:
            goto bad;
        }
        seen = true;
        on = minus ? on & ~flag : on | flag;
    }
bad:
    return nlt_rx_fail(x, "invalid or unsupported Perl syntax", from, x->p);
}

/* ---- everything ---- */

static nlt_rc_t
push_quoted(nlt_rx_parser_t *x)
{
    x->p += 2;
    while (x->p < x->end) {
        uint32_t rune;

        if (x->end - x->p >= 2 && x->p[0] == '\\' && x->p[1] == 'E') {
            x->p += 2;
            break;
        }
        NLT_RX_TRY(nlt_rx_next_rune(x, &rune));
        NLT_RX_TRY(push_literal(x, rune));
    }
    return NLT_OK;
}

static nlt_rc_t
push_class(nlt_rx_parser_t *x, nlt_rx_class_t *cls)
{
    NLT_RX_TRY(push(x, NLT_RX_CLASS));
    x->stack->u.cls = cls;
    return NLT_OK;
}

static nlt_rc_t
backslash(nlt_rx_parser_t *x)
{
    uint32_t rune;
    nlt_rc_t rc;

    if (x->end - x->p >= 2) {
        nlt_rx_type_t type;

        switch (x->p[1]) {
        case 'A':
            type = NLT_RX_BEGIN_TEXT;
            break;
        case 'z':
            type = NLT_RX_END_TEXT;
            break;
        case 'b':
            type = NLT_RX_WORD_BOUNDARY;
            break;
        case 'B':
            type = NLT_RX_NO_WORD_BOUNDARY;
            break;
        case 'C':
            return nlt_rx_fail(x, "invalid escape sequence", x->p, x->p + 2);
        case 'Q':
            return push_quoted(x);
        default:
            type = NLT_RX_EMPTY;
            break;
        }
        if (type != NLT_RX_EMPTY) {
            x->p += 2;
            return push(x, type);
        }
        nlt_rx_class_t *cls = nlt_rx_class_new(x);

        if (cls == NULL) {
            return fail_memory(x);
        }
        rc = nlt_rx_parse_class_escape(x, cls);
        if (rc != NLT_EOF) {
            return rc == NLT_OK ? push_class(x, cls) : rc;
        }
    }
    NLT_RX_TRY(nlt_rx_parse_escape(x, &rune));
    return push_literal(x, rune);
}

/* One token that is no repetition. */
static nlt_rc_t
parse_token(nlt_rx_parser_t *x)
{
    bool lines = (x->flags & NLT_RX_MULTI_LINE) != 0;
    nlt_rx_class_t *cls;
    uint32_t rune;

    switch (*x->p) {
    case '(':
        if (x->end - x->p >= 2 && x->p[1] == '?') {
            return perl_group(x);
        }
        x->p++;
        return push_group(x);
    case ')':
        NLT_RX_TRY(right_paren(x));
        x->p++;
        return NLT_OK;
    case '|':
        NLT_RX_TRY(concat(x));
        x->p++;
        return push(x, NLT_RX_BAR);
    case '^':
        x->p++;
        return push(x, lines ? NLT_RX_BEGIN_LINE : NLT_RX_BEGIN_TEXT);
    case '$':
        x->p++;
        return push(x, lines ? NLT_RX_END_LINE : NLT_RX_END_TEXT);
    case '.':
        x->p++;
        return push(x,
                    x->flags & NLT_RX_DOT_NL ? NLT_RX_ANY : NLT_RX_ANY_NOT_NL);
    case '[':
        NLT_RX_TRY(nlt_rx_parse_class(x, &cls));
        return push_class(x, cls);
    case '\\':
        return backslash(x);
    default:
        NLT_RX_TRY(nlt_rx_next_rune(x, &rune));
        return push_literal(x, rune);
    }
}

static nlt_rc_t
parse_all(nlt_rx_parser_t *x)
{
    const char *last = NULL; /* where a repetition just before began */

    while (x->p < x->end) {
        const char *before = x->p;
        bool literal = false;

        switch (*x->p) {
        case '*':
            x->p++;
            NLT_RX_TRY(repeat(x, 0, -1, false, before, last));
            break;
        case '+':
            x->p++;
            NLT_RX_TRY(repeat(x, 1, -1, false, before, last));
            break;
        case '?':
            x->p++;
            NLT_RX_TRY(repeat(x, 0, 1, false, before, last));
            break;
        case '{':
            NLT_RX_TRY(repeat_braces(x, last, &literal));
            break;
        default:
            NLT_RX_TRY(parse_token(x));
            literal = true;
            break;
        }
        last = literal ? NULL : before;
    }
    NLT_RX_TRY(alternate(x));
    if (x->stack->next != NULL) {
        return fail_whole(x, "missing closing )");
    }
    return NLT_OK;
}

static void *
scratch_alloc(void *ctx, size_t size)
{
    return nlt_pool_alloc(ctx, size);
}

/* What is outgrown stays until the scratch pool goes. */
static void
scratch_free(void *ctx, void *p, size_t size)
{
    (void) ctx;
    (void) p;
    (void) size;
}

nlt_rc_t
nlt_rx_parse(nlt_rx_parser_t *out, nlt_pool_t *scratch, nlt_str_t pattern,
             nlt_rx_node_t **root, nlt_err_t *err)
{
    memset(out, 0, sizeof(*out));
    *root = NULL;
    out->pool = scratch;
    out->mem = (nlt_mem_t){scratch_alloc, scratch_free, scratch};
    out->whole = pattern;
    out->p = pattern.len > 0 ? pattern.data : "";
    out->end = out->p + pattern.len;
    out->err = err;
    out->flags = NLT_RX_DOT_NL;
    /* No rune is longer as UTF-8 than as written, but for a lone surrogate
     * in octal or hexadecimal, and that is longer still. */
    out->text = nlt_pool_alloc(scratch, pattern.len + 4);
    if (out->text == NULL) {
        return fail_memory(out);
    }
    NLT_RX_TRY(parse_all(out));
    *root = out->stack;
    return NLT_OK;
}

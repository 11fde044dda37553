/*
 * nlt_pql_parse_selector.c - names, matchers, lists of labels, literals.
 */
#include "nlt_num.h"
#include "nlt_pql_parser.h"
#include "nlt_time.h"

/* ---- strings ---- */

/* The digits of a numeric escape at s[i]; the lexer has checked them. */
static uint32_t
escape_code(nlt_str_t s, size_t i, size_t n, uint32_t base)
{
    uint32_t code = 0;

    for (size_t k = 0; k < n && i + k < s.len; k++) {
        code = code * base + (uint32_t) nlt_hex_digit(s.data[i + k]);
    }
    return code;
}

/* The byte of a one-letter escape, or the letter itself (a quote). */
static char
escape_letter(char c)
{
    static const char letters[] = "abfnrtv";
    static const char bytes[] = "\a\b\f\n\r\t\v";
    const char *at = strchr(letters, c);

    return at != NULL && c != '\0' ? bytes[at - letters] : c;
}

/*
 * Copies an escape sequence (s[i] is behind the backslash) to out; how many
 * bytes of s it took.
 */
static size_t
unescape(nlt_str_t s, size_t i, char *out, size_t *n_out)
{
    char c = s.data[i];
    size_t n;

    *n_out = 1;
    if (c >= '0' && c <= '7') {
        *out = (char) escape_code(s, i, 3, 8);
        return 3;
    }
    if (c == 'x') {
        *out = (char) escape_code(s, i + 1, 2, 16);
        return 3;
    }
    if (c == 'u' || c == 'U') {
        n = c == 'u' ? 4 : 8;
        *n_out = nlt_utf8_encode(out, escape_code(s, i + 1, n, 16));
        return n + 1;
    }
    *out = escape_letter(c);
    return 1;
}

bool
nlt_pql_unquote(nlt_pql_parser_t *p, nlt_pql_token_t tok, nlt_str_t *out)
{
    nlt_str_t s = {tok.text.len - 2, tok.text.data + 1};
    size_t n = 0;

    if (tok.text.data[0] == '`' || s.len == 0
        || memchr(s.data, '\\', s.len) == NULL) {
        *out = s;
        return true;
    }
    /* No escape is shorter than what it stands for. */
    char *copy = nlt_pool_alloc(p->pool, s.len);

    if (copy == NULL) {
        nlt_pql_fail_memory(p);
        return false;
    }
    for (size_t i = 0; i < s.len;) {
        if (s.data[i] != '\\') {
            copy[n++] = s.data[i++];
        } else {
            size_t n_bytes;

            i += 1 + unescape(s, i + 1, copy + n, &n_bytes);
            n += n_bytes;
        }
    }
    *out = (nlt_str_t){n, copy};
    return true;
}

/* ---- numbers ---- */

/*
 * Go's rule: '_' stands between digits, or between the base prefix and a
 * digit.  Copies s without them, or returns false.
 */
static bool
strip_underscores(nlt_str_t s, char *out, size_t *n)
{
    char last = '^'; /* '0' digit or prefix, '_', '!' anything else */
    bool hex = s.len >= 2 && s.data[0] == '0' && (s.data[1] | 0x20) == 'x';
    size_t i = 0;

    *n = 0;
    if (hex) {
        memcpy(out, s.data, 2);
        *n = i = 2;
        last = '0';
    }
    for (; i < s.len; i++) {
        char c = s.data[i], low = (char) (c | 0x20);

        if ((c >= '0' && c <= '9') || (hex && low >= 'a' && low <= 'f')) {
            last = '0';
        } else if (c == '_') {
            if (last != '0') {
                return false;
            }
            last = '_';
            continue;
        } else {
            if (last == '_') {
                return false;
            }
            last = '!';
        }
        out[(*n)++] = c;
    }
    return last != '_';
}

/* Go's ParseInt with base 0: "0x1f", "017", "42"; false when it is none. */
static bool
parse_integer(nlt_str_t s, double *out)
{
    unsigned base = 10;
    uint64_t v = 0;
    size_t i = 0;

    if (s.len >= 2 && s.data[0] == '0') {
        base = (s.data[1] | 0x20) == 'x' ? 16 : 8;
        i = base == 16 ? 2 : 1;
    }
    if (i == s.len) {
        return false;
    }
    for (; i < s.len; i++) {
        char c = s.data[i];
        bool hex = base == 16 && (c | 0x20) >= 'a' && (c | 0x20) <= 'f';

        if (!hex && (c < '0' || c > '9')) {
            return false;
        }
        unsigned digit = (unsigned) nlt_hex_digit(c);

        if (digit >= base || v > ((uint64_t) INT64_MAX - digit) / base) {
            return false;
        }
        v = v * base + digit;
    }
    *out = (double) v;
    return true;
}

static bool
number_value(nlt_pql_parser_t *p, nlt_pql_token_t tok, double *out)
{
    char *digits = nlt_pool_alloc(p->pool, tok.text.len);
    size_t n;
    int wrong = 1;

    if (digits == NULL) {
        nlt_pql_fail_memory(p);
        return false;
    }
    if (strip_underscores(tok.text, digits, &n)) {
        if (parse_integer((nlt_str_t){n, digits}, out)) {
            return true;
        }
        wrong = nlt_num_parse((nlt_str_t){n, digits}, out);
    }
    if (wrong != 0) {
        nlt_str_t quoted = nlt_pql_quoted(p->pool, tok.text);

        nlt_pql_fail(p, tok.pos,
                     "error parsing number: strconv.ParseFloat: parsing "
                     "%.*s: %s",
                     NLT_FMT(quoted),
                     wrong == 1 ? "invalid syntax" : "value out of range");
    }
    return wrong == 0;
}

nlt_pql_node_t *
nlt_pql_parse_number(nlt_pql_parser_t *p, nlt_pql_token_t tok)
{
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_NUMBER, tok.pos);
    nlt_err_t err;
    int64_t ms = 0;

    if (node == NULL) {
        return NULL;
    }
    node->end = p->end;
    if (tok.kind == NLT_PQL_T_NUMBER) {
        return number_value(p, tok, &node->u.number.value) ? node : NULL;
    }
    if (nlt_time_parse_duration(tok.text, &ms, &err) != NLT_OK) {
        nlt_pql_fail(p, tok.pos, "%s", err.text);
        return NULL;
    }
    node->u.number.value = (double) ms / 1000;
    node->u.number.is_duration = true;
    return node;
}

/* ---- lists of labels ---- */

/* A growing array in the pool. */
typedef struct {
    nlt_str_t *v;
    size_t n;
    size_t cap;
} names_t;

static bool
add_name(nlt_pql_parser_t *p, names_t *names, nlt_str_t name)
{
    if (names->n == names->cap) {
        size_t cap = names->cap ? names->cap * 2 : 4;
        nlt_str_t *v =
            nlt_pool_grow(p->pool, names->v, names->cap * sizeof(nlt_str_t),
                          cap * sizeof(nlt_str_t));

        if (v == NULL) {
            nlt_pql_fail_memory(p);
            return false;
        }
        names->v = v;
        names->cap = cap;
    }
    names->v[names->n++] = name;
    return true;
}

/* One label of a list: a word, whatever it means elsewhere, or a string. */
static bool
parse_label(nlt_pql_parser_t *p, nlt_str_t *out)
{
    const nlt_pql_token_info_t *info =
        nlt_pql_token_info(nlt_pql_peek_kind(p));

    if (nlt_pql_peek_kind(p) == NLT_PQL_T_STRING) {
        nlt_pql_token_t tok = nlt_pql_take(p);

        if (!nlt_pql_unquote(p, tok, out)) {
            return false;
        }
        if (out->len == 0 || !nlt_utf8_valid(*out)) {
            nlt_str_t quoted = nlt_pql_quoted(p->pool, *out);

            nlt_pql_fail(p, tok.pos, "invalid label name for grouping: %.*s",
                         NLT_FMT(quoted));
            return false;
        }
        return true;
    }
    /* Prometheus's grammar has forgotten this word. */
    if ((info->class != NLT_PQL_TC_NAME && !info->word)
        || nlt_pql_peek_kind(p) == NLT_PQL_T_WITHOUT) {
        nlt_pql_unexpected(p, "grouping opts", "label");
        return false;
    }
    *out = nlt_pql_take(p).text;
    return true;
}

bool
nlt_pql_parse_grouping(nlt_pql_parser_t *p, nlt_pql_names_t *out)
{
    names_t names = {0};
    nlt_str_t name;

    if (!nlt_pql_accept(p, NLT_PQL_T_LEFT_PAREN)) {
        nlt_pql_unexpected(p, "grouping opts", "\"(\"");
        return false;
    }
    while (!nlt_pql_accept(p, NLT_PQL_T_RIGHT_PAREN)) {
        if (!parse_label(p, &name) || !add_name(p, &names, name)) {
            return false;
        }
        if (!nlt_pql_accept(p, NLT_PQL_T_COMMA)
            && nlt_pql_peek_kind(p) != NLT_PQL_T_RIGHT_PAREN) {
            nlt_pql_unexpected(p, "grouping opts", "\",\" or \")\"");
            return false;
        }
    }
    *out = (nlt_pql_names_t){names.v, names.n};
    return true;
}

/* ---- matchers ---- */

typedef struct {
    nlt_matcher_t *v;
    size_t n;
    size_t cap;
} matchers_t;

static bool
add_matcher(nlt_pql_parser_t *p, matchers_t *list, nlt_matcher_t m)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 4;
        nlt_matcher_t *v = nlt_pool_grow(
            p->pool, list->v, list->cap * sizeof(m), cap * sizeof(m));

        if (v == NULL) {
            nlt_pql_fail_memory(p);
            return false;
        }
        list->v = v;
        list->cap = cap;
    }
    list->v[list->n++] = m;
    return true;
}

/* Compiles a regex for its error only; the plan compiles it to keep. */
static bool
check_regex(nlt_pql_parser_t *p, nlt_matcher_t m, int32_t pos)
{
    nlt_pool_mark_t mark = nlt_pool_mark(p->pool);
    nlt_err_t err;
    nlt_rc_t rc;

    if (m.op != NLT_MATCH_RE && m.op != NLT_MATCH_NRE) {
        return true;
    }
    rc = nlt_matcher_compile(p->pool, &m, &err);
    if (rc == NLT_OK) {
        nlt_matcher_release(&m);
    } else if (rc == NLT_ENOMEM) {
        nlt_pql_fail_memory(p);
    } else {
        nlt_pql_fail(p, pos, "%s", err.text);
    }
    nlt_pool_rewind(p->pool, mark);
    return rc == NLT_OK;
}

static bool
match_op(nlt_pql_token_kind_t kind, nlt_match_op_t *op)
{
    switch (kind) {
    case NLT_PQL_T_ASSIGN:
        *op = NLT_MATCH_EQ;
        return true;
    case NLT_PQL_T_NE:
        *op = NLT_MATCH_NE;
        return true;
    case NLT_PQL_T_MATCH_RE:
        *op = NLT_MATCH_RE;
        return true;
    case NLT_PQL_T_MATCH_NRE:
        *op = NLT_MATCH_NRE;
        return true;
    default:
        return false;
    }
}

/* label="value", "label"="value", or "metric.name". */
static bool
parse_matcher(nlt_pql_parser_t *p, matchers_t *list)
{
    nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);
    nlt_matcher_t m = {.op = NLT_MATCH_EQ};

    if (kind != NLT_PQL_T_IDENT && kind != NLT_PQL_T_STRING) {
        nlt_pql_unexpected(p, "label matching", "identifier or \"}\"");
        return false;
    }
    nlt_pql_token_t name = nlt_pql_take(p);

    m.name = name.text;
    if (kind == NLT_PQL_T_STRING && !nlt_pql_unquote(p, name, &m.name)) {
        return false;
    }
    if (!match_op(nlt_pql_peek_kind(p), &m.op)) {
        if (kind == NLT_PQL_T_IDENT) {
            nlt_pql_unexpected(p, "label matching", "label matching operator");
            return false;
        }
        m.value = m.name;
        m.name = NLT_METRIC_NAME;
        return add_matcher(p, list, m);
    }
    (void) nlt_pql_take(p);
    if (nlt_pql_peek_kind(p) != NLT_PQL_T_STRING) {
        nlt_pql_unexpected(p, "label matching", "string");
        return false;
    }
    return nlt_pql_unquote(p, nlt_pql_take(p), &m.value)
           && check_regex(p, m, name.pos) && add_matcher(p, list, m);
}

/* After '{'. */
static bool
parse_matchers(nlt_pql_parser_t *p, matchers_t *list)
{
    while (!nlt_pql_accept(p, NLT_PQL_T_RIGHT_BRACE)) {
        if (!parse_matcher(p, list)) {
            return false;
        }
        if (!nlt_pql_accept(p, NLT_PQL_T_COMMA)
            && nlt_pql_peek_kind(p) != NLT_PQL_T_RIGHT_BRACE) {
            nlt_pql_unexpected(p, "label matching", "\",\" or \"}\"");
            return false;
        }
    }
    return true;
}

nlt_pql_node_t *
nlt_pql_parse_vector(nlt_pql_parser_t *p, nlt_pql_token_t name)
{
    bool named = name.kind != NLT_PQL_T_END;
    nlt_pql_node_t *node = nlt_pql_node(
        p, NLT_PQL_N_VECTOR, named ? name.pos : nlt_pql_peek(p)->pos);
    matchers_t list = {0};

    if (node == NULL) {
        return NULL;
    }
    if (nlt_pql_accept(p, NLT_PQL_T_LEFT_BRACE) && !parse_matchers(p, &list)) {
        return NULL;
    }
    if (p->rc != NLT_OK) {
        return NULL;
    }
    if (named) {
        nlt_matcher_t m = {
            .op = NLT_MATCH_EQ, .name = NLT_METRIC_NAME, .value = name.text};

        node->u.vector.name = name.text;
        if (!add_matcher(p, &list, m)) {
            return NULL;
        }
    }
    node->u.vector.matchers = list.v;
    node->u.vector.n_matchers = list.n;
    node->end = p->end;
    return node;
}

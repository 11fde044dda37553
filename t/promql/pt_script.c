/*
 * pt_script.c - parsing of series lines, by hand, from left to right.
 */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "nlt_num.h"
#include "nlt_time.h"
#include "pt_script.h"

#define VALUES_MAX 1000000u
#define LABELS_MAX 100u

/* A line that is being read. */
typedef struct {
    const char *p;
    const char *end;
    nlt_pool_t *pool;
    const char *why;
} cur_t;

static bool
fail(cur_t *c, const char *why)
{
    c->why = why;
    return false;
}

static int
peek(const cur_t *c)
{
    return c->p < c->end ? (unsigned char) *c->p : -1;
}

static bool
take(cur_t *c, int ch)
{
    if (peek(c) != ch) {
        return false;
    }
    c->p++;
    return true;
}

static void
blanks(cur_t *c)
{
    while (c->p < c->end && isspace((unsigned char) *c->p)) {
        c->p++;
    }
}

nlt_str_t
nlt_pt_trim(nlt_str_t s)
{
    while (s.len && isspace((unsigned char) s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len && isspace((unsigned char) s.data[s.len - 1])) {
        s.len--;
    }
    return s;
}

nlt_str_t
nlt_pt_word(nlt_str_t *rest)
{
    nlt_str_t word = {0, rest->data};

    while (word.len < rest->len
           && !isspace((unsigned char) rest->data[word.len])) {
        word.len++;
    }
    rest->data += word.len;
    rest->len -= word.len;
    *rest = nlt_pt_trim(*rest);
    return word;
}

bool
nlt_pt_starts(nlt_str_t s, const char *word)
{
    size_t n = strlen(word);

    return s.len >= n && strncasecmp(s.data, word, n) == 0
           && (s.len == n || isspace((unsigned char) s.data[n]));
}

/* ---- strings ---- */

static int
digit_value(int ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    ch = tolower(ch);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : 99;
}

/* n digits of a base, as in \x41 or \u00e9. */
static bool
escape_number(cur_t *c, int n, int base, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n; i++) {
        int d = digit_value(peek(c));

        if (d >= base) {
            return fail(c, "bad escape in string");
        }
        *out = *out * (uint32_t) base + (uint32_t) d;
        c->p++;
    }
    return true;
}

static bool
escape(cur_t *c, char *out, size_t *n)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    int ch = peek(c);
    const char *simple = ch > 0 ? strchr(from, ch) : NULL;
    uint32_t v;

    if (simple != NULL) {
        c->p++;
        out[(*n)++] = to[simple - from];
        return true;
    }
    if (ch >= '0' && ch <= '7') {
        if (!escape_number(c, 3, 8, &v)) {
            return false;
        }
        out[(*n)++] = (char) v;
        return true;
    }
    c->p += ch >= 0;
    if (ch == 'x') {
        if (!escape_number(c, 2, 16, &v)) {
            return false;
        }
        out[(*n)++] = (char) v;
        return true;
    }
    if ((ch != 'u' && ch != 'U')
        || !escape_number(c, ch == 'u' ? 4 : 8, 16, &v)) {
        return fail(c, "bad escape in string");
    }
    *n += nlt_utf8_encode(out + *n, v);
    return true;
}

static bool
string(cur_t *c, nlt_str_t *out)
{
    int quote = peek(c);
    char *data = nlt_pool_alloc(c->pool, (size_t) (c->end - c->p) + 4);
    size_t n = 0;

    if (data == NULL || (quote != '"' && quote != '\'' && quote != '`')) {
        return fail(c, "expected a quoted string");
    }
    c->p++;
    while (peek(c) >= 0 && peek(c) != quote) {
        if (quote != '`' && take(c, '\\')) {
            if (!escape(c, data, &n)) {
                return false;
            }
        } else {
            data[n++] = *c->p++;
        }
    }
    *out = (nlt_str_t){n, data};
    return take(c, quote) || fail(c, "string is not closed");
}

bool
nlt_pt_unquote(nlt_pool_t *pool, nlt_str_t s, nlt_str_t *out, size_t *used)
{
    cur_t c = {s.data, s.data + s.len, pool, NULL};

    if (!string(&c, out)) {
        return false;
    }
    *used = (size_t) (c.p - s.data);
    return true;
}

/* ---- label sets ---- */

static nlt_str_t
name(cur_t *c)
{
    const char *start = c->p;

    while (isalnum(peek(c)) || peek(c) == '_' || peek(c) == ':') {
        c->p++;
    }
    return (nlt_str_t){(size_t) (c->p - start), start};
}

static bool
label(cur_t *c, nlt_label_t *l)
{
    bool quoted = peek(c) == '"' || peek(c) == '\'' || peek(c) == '`';

    if (quoted) {
        if (!string(c, &l->name)) {
            return false;
        }
    } else {
        l->name = name(c);
    }
    blanks(c);
    if (quoted && peek(c) != '=') {
        l->value = l->name;
        l->name = NLT_METRIC_NAME;
        return true;
    }
    if (l->name.len == 0 || !take(c, '=')) {
        return fail(c, "expected a label");
    }
    blanks(c);
    return string(c, &l->value);
}

static bool
label_set(cur_t *c, nlt_labels_t *out)
{
    nlt_label_t *v = nlt_pool_array(c->pool, LABELS_MAX, sizeof(*v));
    nlt_str_t metric = name(c), dup;
    size_t n = 0;

    if (v == NULL) {
        return fail(c, "out of memory");
    }
    if (metric.len) {
        v[n++] = (nlt_label_t){NLT_METRIC_NAME, metric};
    } else if (peek(c) != '{') {
        return fail(c, "expected a series");
    }
    if (take(c, '{')) {
        blanks(c);
        while (!take(c, '}')) {
            if (n == LABELS_MAX) {
                return fail(c, "too many labels");
            }
            if (!label(c, &v[n])) {
                return false;
            }
            n++;
            blanks(c);
            if (!take(c, ',') && peek(c) != '}') {
                return fail(c, "expected ',' or '}' in labels");
            }
            blanks(c);
        }
    }
    n = nlt_labels_normalize(v, n, &dup);
    *out = (nlt_labels_t){v, n};
    return dup.data == NULL || fail(c, "label occurs twice");
}

/* ---- values ---- */

/* A number with optional sign; not the `x` of a repetition behind it. */
static bool
number(cur_t *c, double *out)
{
    const char *start = c->p;

    if (peek(c) == '+' || peek(c) == '-') {
        c->p++;
    }
    if (c->end - c->p >= 3
        && (strncasecmp(c->p, "inf", 3) == 0
            || strncasecmp(c->p, "nan", 3) == 0)) {
        c->p += 3;
    } else {
        while (isdigit(peek(c)) || peek(c) == '.') {
            c->p++;
        }
        if (peek(c) == 'e' || peek(c) == 'E') {
            c->p++;
            if (peek(c) == '+' || peek(c) == '-') {
                c->p++;
            }
            while (isdigit(peek(c))) {
                c->p++;
            }
        }
    }
    nlt_str_t text = {(size_t) (c->p - start), start};

    return nlt_num_parse(text, out) == 0 || fail(c, "expected a number");
}

static bool
repetition(cur_t *c, size_t *n)
{
    size_t v = 0;

    if (!isdigit(peek(c))) {
        return fail(c, "expected a count after 'x'");
    }
    while (isdigit(peek(c)) && v < VALUES_MAX) {
        v = v * 10 + (size_t) (*c->p++ - '0');
    }
    *n = v;
    return v < VALUES_MAX || fail(c, "too many values");
}

static bool
append(cur_t *c, nlt_pt_series_t *s, size_t *cap, nlt_pt_value_t value)
{
    if (s->n == *cap) {
        size_t cap_new = *cap ? *cap * 2 : 16;
        nlt_pt_value_t *v = nlt_pool_grow(
            c->pool, s->values, *cap * sizeof(*v), cap_new * sizeof(*v));

        if (v == NULL || cap_new > 2 * VALUES_MAX) {
            return fail(c, "too many values");
        }
        s->values = v;
        *cap = cap_new;
    }
    s->values[s->n++] = value;
    return true;
}

/* {{schema:1 ...}}, also with +{{..}} behind it; content is not looked at. */
static bool
histogram(cur_t *c)
{
    while (c->end - c->p >= 2 && !(c->p[0] == '}' && c->p[1] == '}')) {
        c->p++;
    }
    if (c->end - c->p < 2) {
        return fail(c, "histogram is not closed");
    }
    c->p += 2;
    if ((peek(c) == '+' || peek(c) == '-') && c->p + 1 < c->end
        && c->p[1] == '{') {
        return histogram(c);
    }
    return true;
}

/* One item of the list: a gap, a value or a sequence. */
static bool
item(cur_t *c, nlt_pt_series_t *s, size_t *cap)
{
    nlt_pt_value_t value = {NLT_PT_FLOAT, 0};
    double step = 0;
    size_t n = 0;

    if (take(c, '_')) {
        n = 1;
        if (take(c, 'x') && !repetition(c, &n)) {
            return false;
        }
        value.kind = NLT_PT_GAP;
        while (n-- > 0) {
            if (!append(c, s, cap, value)) {
                return false;
            }
        }
        return true;
    }
    if (c->end - c->p >= 2 && memcmp(c->p, "{{", 2) == 0) {
        value.kind = NLT_PT_HISTOGRAM;
        if (!histogram(c)) {
            return false;
        }
    } else if (c->end - c->p >= 5 && memcmp(c->p, "stale", 5) == 0) {
        c->p += 5;
        value.v = nlt_double_of(NLT_STALE_NAN_BITS);
    } else if (!number(c, &value.v)) {
        return false;
    }
    if ((peek(c) == '+' || peek(c) == '-') && !number(c, &step)) {
        return false;
    }
    if (take(c, 'x') && !repetition(c, &n)) {
        return false;
    }
    for (size_t i = 0; i <= n; i++) {
        if (!append(c, s, cap, value)) {
            return false;
        }
        if (step != 0) {
            value.v += step;
        }
    }
    return true;
}

/* [+-]duration, or 0: milliseconds. */
static bool
distance(cur_t *c, double *ms)
{
    bool minus = peek(c) == '-';
    nlt_str_t text;
    int64_t v = 0;

    c->p += minus || peek(c) == '+';
    text = (nlt_str_t){0, c->p};
    while (isdigit(peek(c)) || (isalpha(peek(c)) && peek(c) != 'x')) {
        c->p++;
        text.len++;
    }
    if (!nlt_str_eq(text, NLT_STR("0"))
        && nlt_time_parse_duration(text, &v, NULL) != NLT_OK) {
        return fail(c, "expected a duration");
    }
    *ms = minus ? -(double) v : (double) v;
    return true;
}

/* One item of a list of start times: a gap, or a sequence of distances. */
static bool
start_item(cur_t *c, nlt_pt_series_t *s, size_t *cap)
{
    nlt_pt_value_t value = {NLT_PT_FLOAT, 0};
    double step = 0;
    size_t n = 0;

    if (peek(c) == '_') {
        return item(c, s, cap);
    }
    if (!distance(c, &value.v)
        || ((peek(c) == '+' || peek(c) == '-') && !distance(c, &step))
        || (take(c, 'x') && !repetition(c, &n))) {
        return false;
    }
    for (size_t i = 0; i <= n; i++, value.v += step) {
        if (!append(c, s, cap, value)) {
            return false;
        }
    }
    return true;
}

bool
nlt_pt_series(nlt_pool_t *pool, nlt_str_t line, nlt_pt_series_t *out,
              const char **why)
{
    cur_t c = {line.data, line.data + line.len, pool, NULL};
    size_t cap = 0;

    *out = (nlt_pt_series_t){0};
    if (!label_set(&c, &out->labels)) {
        *why = c.why;
        return false;
    }
    if (take(&c, '@')) {
        nlt_str_t st = {(size_t) (c.end - c.p), c.p};

        if (!nlt_pt_starts(st, "st")) {
            *why = "expected @st";
            return false;
        }
        c.p += 2;
        out->start_times = true;
    }
    blanks(&c);
    while (peek(&c) >= 0 && peek(&c) != '#') {
        const char *before = c.p;

        if (!(out->start_times ? start_item : item)(&c, out, &cap)) {
            *why = c.why;
            return false;
        }
        if (c.p == before || (peek(&c) >= 0 && !isspace(peek(&c)))) {
            *why = "unexpected text after a value";
            return false;
        }
        blanks(&c);
    }
    return true;
}

bool
nlt_pt_number(nlt_str_t line, double *out)
{
    char text[64];
    char *end;

    if (nlt_num_parse(line, out) == 0) {
        return true;
    }
    if (line.len == 0 || line.len >= sizeof(text)
        || !isdigit((unsigned char) line.data[line.len - 1])) {
        return false;
    }
    memcpy(text, line.data, line.len);
    text[line.len] = '\0';
    *out = (double) strtoll(text, &end, 0);
    return *end == '\0';
}

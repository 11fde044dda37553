/*
 * nlt_api_multipart.c - see the header.
 */
#include <string.h>
#include <strings.h>

#include "nlt_api_multipart.h"

/* Longest boundary that RFC 2046 allows. */
#define BOUNDARY_MAX 70

typedef struct {
    nlt_str_t rest;              /* of the body */
    char mark[BOUNDARY_MAX + 4]; /* end of line, "--", the boundary */
    size_t mark_len;
    size_t nl; /* bytes of the end of line in it */
} reader_t;

static bool
is_space(char c)
{
    return c == ' ' || c == '\t';
}

static nlt_str_t
skip(nlt_str_t s, size_t n)
{
    return (nlt_str_t){s.len - n, s.data + n};
}

static nlt_str_t
trim(nlt_str_t s)
{
    while (s.len > 0 && is_space(s.data[0])) {
        s = skip(s, 1);
    }
    while (s.len > 0 && is_space(s.data[s.len - 1])) {
        s.len--;
    }
    return s;
}

static bool
begins(nlt_str_t s, const char *word)
{
    size_t n = strlen(word);

    return s.len >= n && strncasecmp(s.data, word, n) == 0;
}

/* ---- "form-data; name=\"x\"; filename=y" ---- */

/* Is the backslash at i, in quotes, about what follows it? */
static bool
is_escape(nlt_str_t s, size_t i)
{
    return s.data[i] == '\\' && i + 1 < s.len && s.data[i + 1] != '\0'
           && strchr("()<>@,;:\\\"/[]?=", s.data[i + 1]) != NULL;
}

/* Up to the next ';' that is not quoted; moves s behind it. */
static nlt_str_t
next_param(nlt_str_t *s)
{
    bool quoted = false;
    size_t i = 0;
    nlt_str_t out;

    for (; i < s->len && (quoted || s->data[i] != ';'); i++) {
        if (s->data[i] == '"') {
            quoted = !quoted;
        } else if (quoted && is_escape(*s, i)) {
            i++;
        }
    }
    out = (nlt_str_t){i, s->data};
    *s = skip(*s, i < s->len ? i + 1 : i);
    return trim(out);
}

/* Copies a token or quoted string into the pool. */
static nlt_rc_t
unquote(nlt_pool_t *pool, nlt_str_t s, nlt_str_t *out)
{
    char *to;
    size_t n = 0;

    if (s.len < 2 || s.data[0] != '"' || s.data[s.len - 1] != '"') {
        *out = nlt_pool_str(pool, s);
        return out->data != NULL || s.len == 0 ? NLT_OK : NLT_ENOMEM;
    }
    to = nlt_pool_alloc(pool, s.len);
    if (to == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 1; i + 1 < s.len; i++) {
        i += i + 2 < s.len && is_escape(s, i);
        to[n++] = s.data[i];
    }
    *out = (nlt_str_t){n, to};
    return NLT_OK;
}

/* Parameter `key` of a header's value; data NULL when it has none. */
static nlt_rc_t
header_param(nlt_pool_t *pool, nlt_str_t value, const char *key,
             nlt_str_t *out)
{
    size_t len = strlen(key);

    *out = (nlt_str_t){0, NULL};
    (void) next_param(&value);
    while (value.len > 0) {
        nlt_str_t p = next_param(&value);

        if (begins(p, key) && p.len > len && p.data[len] == '=') {
            return unquote(pool, skip(p, len + 1), out);
        }
    }
    return NLT_OK;
}

/* ---- parts ---- */

/* The next line without its end; false: no line ends any more. */
static bool
next_line(reader_t *r, nlt_str_t *line)
{
    const char *nl =
        r->rest.len > 0 ? memchr(r->rest.data, '\n', r->rest.len) : NULL;

    if (nl == NULL) {
        return false;
    }
    *line = (nlt_str_t){(size_t) (nl - r->rest.data), r->rest.data};
    r->rest = skip(r->rest, line->len + 1);
    if (line->len > 0 && line->data[line->len - 1] == '\r') {
        line->len--;
    }
    return true;
}

/* Goes behind the first line that is a boundary; NLT_EOF: it is the last. */
static nlt_rc_t
skip_preamble(reader_t *r, nlt_str_t boundary)
{
    nlt_str_t line, tail;

    memcpy(r->mark + 2, "--", 2);
    memcpy(r->mark + 4, boundary.data, boundary.len);
    while (next_line(r, &line)) {
        if (line.len < boundary.len + 2
            || memcmp(line.data, r->mark + 2, boundary.len + 2) != 0) {
            continue;
        }
        tail = trim(skip(line, boundary.len + 2));
        if (tail.len == 0) {
            /* which end of line it has decides for all */
            r->nl = line.data[line.len] == '\r' ? 2 : 1;
            memcpy(r->mark, "\r\n", 2);
            r->mark_len = boundary.len + 4;
            return NLT_OK;
        }
        if (nlt_str_eq(tail, NLT_STR("--"))) {
            return NLT_EOF;
        }
    }
    return NLT_EDATA;
}

/*
 * What is before the next boundary; goes behind it.  NLT_EOF: it was the last;
 * NLT_EDATA: there is none.
 */
static nlt_rc_t
read_body(reader_t *r, nlt_str_t *value)
{
    const char *mark = r->mark + (2 - r->nl);
    size_t len = r->mark_len - (2 - r->nl);

    for (size_t from = 0;;) {
        const char *at =
            r->rest.len - from >= len
                ? memmem(r->rest.data + from, r->rest.len - from, mark, len)
                : NULL;
        nlt_str_t line;
        reader_t behind;

        if (at == NULL) {
            return NLT_EDATA;
        }
        *value = (nlt_str_t){(size_t) (at - r->rest.data), r->rest.data};
        from = value->len + 1;
        behind.rest = skip(r->rest, value->len + len);
        if (behind.rest.len >= 2 && behind.rest.data[0] == '-'
            && behind.rest.data[1] == '-') {
            return NLT_EOF;
        }
        if (next_line(&behind, &line) && trim(line).len == 0) {
            r->rest = behind.rest;
            return NLT_OK;
        }
    }
}

/* The headers of a part: name of its field; data NULL: not a field. */
static nlt_rc_t
read_headers(reader_t *r, nlt_pool_t *pool, nlt_str_t *name)
{
    static const char key[] = "Content-Disposition:";
    nlt_str_t line, file;
    nlt_rc_t rc = NLT_OK;

    *name = (nlt_str_t){0, NULL};
    while (rc == NLT_OK) {
        if (!next_line(r, &line)) {
            return NLT_EDATA;
        }
        if (line.len == 0) {
            return NLT_OK;
        }
        if (!begins(line, key)) {
            continue;
        }
        line = trim(skip(line, sizeof(key) - 1));
        if (!begins(line, "form-data")) {
            continue;
        }
        rc = header_param(pool, line, "filename", &file);
        if (rc == NLT_OK && file.len == 0) {
            rc = header_param(pool, line, "name", name);
        }
    }
    return rc;
}

static nlt_rc_t
read_parts(reader_t *r, nlt_pool_t *pool, nlt_multipart_field_t *v, size_t *n)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t parts = 0; rc == NLT_OK; parts++) {
        nlt_multipart_field_t f;

        if (parts == NLT_MULTIPART_PARTS_MAX) {
            return NLT_EDATA;
        }
        rc = read_headers(r, pool, &f.name);
        if (rc == NLT_OK) {
            /* the end of the headers' last line may begin the mark */
            r->rest.data -= r->nl;
            r->rest.len += r->nl;
            rc = read_body(r, &f.value);
            if (f.value.len >= r->nl) {
                f.value = skip(f.value, r->nl);
            }
        }
        if ((rc == NLT_OK || rc == NLT_EOF) && f.name.len > 0) {
            v[(*n)++] = f;
        }
    }
    return rc == NLT_EOF ? NLT_OK : rc;
}

nlt_rc_t
nlt_multipart_read(nlt_pool_t *pool, nlt_str_t type, nlt_str_t body,
                   nlt_multipart_field_t **out, size_t *n)
{
    reader_t r = {.rest = body};
    nlt_str_t boundary, media = type;
    nlt_rc_t rc;

    *n = 0;
    media = next_param(&media);
    if (media.len != strlen("multipart/form-data")
        || !begins(media, "multipart/form-data")) {
        return NLT_ENOENT;
    }
    rc = header_param(pool, type, "boundary", &boundary);
    if (rc != NLT_OK) {
        return rc;
    }
    if (boundary.len == 0 || boundary.len > BOUNDARY_MAX) {
        return NLT_ENOENT;
    }
    *out = nlt_pool_array(pool, NLT_MULTIPART_PARTS_MAX, sizeof(**out));
    if (*out == NULL) {
        return NLT_ENOMEM;
    }
    rc = skip_preamble(&r, boundary);
    if (rc == NLT_OK) {
        rc = read_parts(&r, pool, *out, n);
    } else if (rc == NLT_EOF) {
        rc = NLT_OK;
    }
    return rc;
}

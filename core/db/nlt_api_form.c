/*
 * nlt_api_form.c - parameters of API requests.
 */
#include <string.h>

#include "nlt_api.h"
#include "nlt_api_multipart.h"
#include "nlt_hash.h"
#include "nlt_num.h"

/* Decodes %XX and + into the pool.  NLT_EINVAL: bad escape; NLT_ENOMEM. */
static nlt_rc_t
unescape(nlt_pool_t *pool, nlt_str_t s, nlt_str_t *to)
{
    char *out = nlt_pool_alloc(pool, s.len + 1);
    size_t n = 0;

    if (out == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];

        if (c == '%') {
            int hi = i + 2 < s.len ? nlt_hex_digit(s.data[i + 1]) : -1;
            int lo = i + 2 < s.len ? nlt_hex_digit(s.data[i + 2]) : -1;

            if (hi < 0 || lo < 0) {
                return NLT_EINVAL;
            }
            c = (char) (hi * 16 + lo);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    *to = (nlt_str_t){n, out};
    return NLT_OK;
}

static size_t
count_params(nlt_str_t s)
{
    size_t n = s.len > 0;

    for (size_t i = 0; i < s.len; i++) {
        n += s.data[i] == '&';
    }
    return n;
}

/* Go says why it cannot take a pair: invalid URL escape "%zz". */
static void
bad_pair(nlt_api_t *a, nlt_str_t s)
{
    const char *at = s.len ? memchr(s.data, '%', s.len) : NULL;
    nlt_str_t part = {0, ""};

    if (s.len && memchr(s.data, ';', s.len) != NULL) {
        nlt_api_fail(a, "bad_data", 400,
                     "error parsing form values: invalid semicolon separator "
                     "in query");
        return;
    }
    while (at != NULL) {
        size_t left = s.len - (size_t) (at - s.data);

        if (left < 3 || nlt_hex_digit(at[1]) < 0 || nlt_hex_digit(at[2]) < 0) {
            part = (nlt_str_t){left < 3 ? left : 3, at};
            break;
        }
        at = memchr(at + 3, '%', left - 3);
    }
    nlt_api_fail(a, "bad_data", 400,
                 "error parsing form values: invalid URL escape %.*s",
                 NLT_FMT(nlt_api_quote(a, part)));
}

/* One name=value; NLT_EINVAL: Go would not take it. */
static nlt_rc_t
parse_pair(nlt_pool_t *pool, nlt_str_t pair, nlt_api_param_t *out)
{
    const char *eq = memchr(pair.data, '=', pair.len);
    size_t name_len = eq != NULL ? (size_t) (eq - pair.data) : pair.len;
    nlt_str_t value = {0, ""};
    nlt_rc_t rc;

    if (eq != NULL) {
        value = (nlt_str_t){pair.len - name_len - 1, eq + 1};
    }
    if (memchr(pair.data, ';', pair.len) != NULL) {
        return NLT_EINVAL;
    }
    rc = unescape(pool, (nlt_str_t){name_len, pair.data}, &out->name);
    return rc == NLT_OK ? unescape(pool, value, &out->value) : rc;
}

/*
 * `series`, `rules` and `delete_series` parse the form before they ask for a
 * value, in Prometheus: they see its errors, and no multipart form.
 */
static bool
parses_first(const nlt_api_t *a)
{
    return a->route->run == nlt_api_run_series
           || a->route->run == nlt_api_run_rules
           || a->route->run == nlt_api_run_delete_series;
}

/*
 * Adds the pairs of one urlencoded string.  A pair that cannot be decoded is
 * left out.
 */
static bool
add_params(nlt_api_t *a, nlt_str_t s)
{
    while (s.len > 0) {
        const char *amp = memchr(s.data, '&', s.len);
        size_t len = amp != NULL ? (size_t) (amp - s.data) : s.len;
        nlt_str_t pair = {len, s.data};
        size_t skip = len + (amp != NULL);
        nlt_rc_t rc;

        s.data += skip;
        s.len -= skip;
        if (pair.len == 0) {
            continue;
        }
        rc = parse_pair(&a->pool, pair, &a->params[a->n_params]);
        if (rc == NLT_OK) {
            a->n_params++;
        } else if (rc != NLT_EINVAL) {
            nlt_api_fail(a, "execution", 422, "out of memory");
            return false;
        } else if (parses_first(a)) {
            bad_pair(a, pair);
            return false;
        }
    }
    return true;
}

static bool
is_form(nlt_str_t type)
{
    nlt_str_t want = NLT_STR("application/x-www-form-urlencoded");

    return type.len >= want.len
           && strncasecmp(type.data, want.data, want.len) == 0
           && (type.len == want.len || type.data[want.len] == ';'
               || type.data[want.len] == ' ');
}

/* Is pair name=..., and what follows? */
static bool
is_pair_of(nlt_str_t pair, nlt_str_t name, nlt_str_t *value)
{
    if (pair.len <= name.len || pair.data[name.len] != '='
        || memcmp(pair.data, name.data, name.len) != 0) {
        return false;
    }
    *value = (nlt_str_t){pair.len - name.len - 1, pair.data + name.len + 1};
    return true;
}

/* Goes on with hash h over the pairs of s, but for those that are times. */
static uint64_t
digest_pairs(nlt_str_t s, uint64_t h, int64_t *start, int64_t *end)
{
    while (s.len > 0) {
        const char *amp = memchr(s.data, '&', s.len);
        size_t len = amp != NULL ? (size_t) (amp - s.data) : s.len;
        nlt_str_t pair = {len, s.data}, value;
        int64_t t;

        s.data += len + (amp != NULL);
        s.len -= len + (amp != NULL);
        if (is_pair_of(pair, NLT_STR("time"), &value)) {
            continue;
        }
        if (is_pair_of(pair, NLT_STR("start"), &value)
            && nlt_time_parse_instant(value, &t) == NLT_OK) {
            *start = t;
        } else if (is_pair_of(pair, NLT_STR("end"), &value)
                   && nlt_time_parse_instant(value, &t) == NLT_OK) {
            *end = t;
        } else {
            h = nlt_hash64(pair.data, pair.len, h);
        }
    }
    return h;
}

uint64_t
nlt_api_digest(const nlt_api_t *a)
{
    uint64_t h = (uint64_t) (uintptr_t) a->store + a->conf.tenant, range;
    int64_t start = 0, end = 0;
    unsigned bits;

    if (nlt_api_is_quick(a) || (a->route->flags & NLT_API_TRIED) == 0) {
        return 0;
    }
    h = nlt_hash64(a->req.suffix.data, a->req.suffix.len, h);
    h = digest_pairs(a->req.args, h, &start, &end);
    h = digest_pairs(a->req.form, h, &start, &end);
    /* about as long is as long: four bits of it */
    range = (uint64_t) end - (uint64_t) start;
    bits = 64 - (unsigned) __builtin_clzll(range | 15);
    return nlt_mix64(h ^ (range >> (bits - 4) << 6 | bits)) | 1;
}

/*
 * The fields of a multipart form, if it is one; a broken one has none, which
 * nobody says.  NLT_ENOMEM.
 */
static nlt_rc_t
read_multipart(nlt_api_t *a, nlt_multipart_field_t **fields, size_t *n)
{
    nlt_rc_t rc = nlt_multipart_read(&a->pool, a->req.content_type,
                                     a->req.form, fields, n);

    if (rc != NLT_OK) {
        *n = 0;
    }
    return rc == NLT_ENOMEM ? rc : NLT_OK;
}

bool
nlt_api_parse_params(nlt_api_t *a)
{
    nlt_str_t form = a->req.form;
    bool body =
        a->req.method == NLT_HTTP_POST || a->req.method == NLT_HTTP_PUT;
    nlt_multipart_field_t *fields = NULL;
    size_t n, n_fields = 0;

    /* Go reads a form of either, too. */
    if (!body || !is_form(a->req.content_type)) {
        form.len = 0;
    }
    if (body && !parses_first(a)
        && read_multipart(a, &fields, &n_fields) != NLT_OK) {
        nlt_api_fail(a, "execution", 422, "out of memory");
        return false;
    }
    n = count_params(form) + count_params(a->req.args) + n_fields;
    if (n > NLT_API_PARAMS_MAX) {
        nlt_api_fail(a, "bad_data", 400, "more than %d parameters",
                     NLT_API_PARAMS_MAX);
        return false;
    }
    a->params = nlt_pool_array(&a->pool, n + 1, sizeof(nlt_api_param_t));
    if (a->params == NULL) {
        nlt_api_fail(a, "execution", 422, "out of memory");
        return false;
    }
    if (!add_params(a, form) || !add_params(a, a->req.args)) {
        return false;
    }
    for (size_t i = 0; i < n_fields; i++) {
        a->params[a->n_params++] =
            (nlt_api_param_t){fields[i].name, fields[i].value};
    }
    return true;
}

nlt_str_t
nlt_api_param(const nlt_api_t *a, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < a->n_params; i++) {
        if (a->params[i].name.len == len
            && memcmp(a->params[i].name.data, name, len) == 0) {
            return a->params[i].value;
        }
    }
    return (nlt_str_t){0, NULL};
}

nlt_str_t
nlt_api_param_text(const nlt_api_t *a, const char *name)
{
    nlt_str_t s = nlt_api_param(a, name);

    return s.data != NULL ? s : NLT_STR("");
}

nlt_str_t
nlt_api_cut(nlt_str_t s)
{
    return (nlt_str_t){s.len < 500 ? s.len : 500, s.data};
}

nlt_str_t
nlt_api_quote(nlt_api_t *a, nlt_str_t s)
{
    nlt_buf_t b;
    nlt_str_t out;

    nlt_buf_init(&b, a->env->mem, 8192);
    nlt_utf8_quote(&b, nlt_api_cut(s));
    out = nlt_pool_str(&a->pool, nlt_buf_str(&b));
    nlt_buf_deinit(&b);
    return out;
}

bool
nlt_api_parse_bool(nlt_str_t s, bool *out)
{
    static const char *const words[] = {"1",    "t",     "T",     "true",
                                        "TRUE", "True",  "0",     "f",
                                        "F",    "false", "FALSE", "False"};

    for (size_t i = 0; i < NLT_COUNT(words); i++) {
        if (nlt_str_eq(s, (nlt_str_t){strlen(words[i]), words[i]})) {
            *out = i < NLT_COUNT(words) / 2;
            return true;
        }
    }
    return false;
}

const char *
nlt_api_integer_error(nlt_str_t s)
{
    bool digits = s.len > 18;

    for (size_t i = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+');
         i < s.len; i++) {
        digits = digits && s.data[i] >= '0' && s.data[i] <= '9';
    }
    return digits ? "value out of range" : "invalid syntax";
}

bool
nlt_api_param_limit(nlt_api_t *a, size_t *limit)
{
    nlt_str_t s = nlt_api_param(a, "limit");
    int64_t n;

    *limit = 0;
    if (s.len == 0) {
        return true;
    }
    if (!nlt_num_parse_i64(s, &n)) {
        nlt_api_bad_param(a, "limit", "strconv.Atoi: parsing %.*s: %s",
                          NLT_FMT(nlt_api_quote(a, s)),
                          nlt_api_integer_error(s));
        return false;
    }
    if (n < 0) {
        nlt_api_bad_param(a, "limit", "limit must be non-negative");
        return false;
    }
    *limit = (size_t) n;
    return true;
}

bool
nlt_api_param_time(nlt_api_t *a, const char *name, int64_t def, int64_t *out)
{
    nlt_str_t s = nlt_api_param(a, name);

    *out = def;
    if (s.len == 0 || nlt_time_parse_instant(s, out) == NLT_OK) {
        return true;
    }
    nlt_api_bad_param(a, name,
                      "invalid time value for '%s': cannot parse %.*s to a "
                      "valid timestamp",
                      name, NLT_FMT(nlt_api_quote(a, s)));
    return false;
}

nlt_str_t
nlt_api_unescape_name(nlt_pool_t *pool, nlt_str_t s)
{
    char *out = nlt_pool_alloc(pool, s.len + 4);
    size_t n = 0;

    if (out == NULL || s.len < 3 || memcmp(s.data, "U__", 3) != 0) {
        return s;
    }
    for (size_t i = 3; i < s.len; i++) {
        uint32_t rune = 0;
        size_t j;

        if (s.data[i] != '_') {
            out[n++] = s.data[i];
            continue;
        }
        if (i + 1 < s.len && s.data[i + 1] == '_') {
            out[n++] = '_';
            i++;
            continue;
        }
        for (j = i + 1; j < s.len && j - i < 8 && s.data[j] != '_'; j++) {
            char c = (char) (s.data[j] | 0x20);
            uint32_t d = c >= '0' && c <= '9'   ? (uint32_t) (c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t) (c - 'a' + 10)
                                                : 99;

            if (d == 99) {
                return s;
            }
            rune = rune * 16 + d;
        }
        if (j >= s.len || s.data[j] != '_' || j == i + 1 || rune > 0x10ffff) {
            return s;
        }
        n += nlt_utf8_encode(out + n, rune);
        i = j;
    }
    return (nlt_str_t){n, out};
}

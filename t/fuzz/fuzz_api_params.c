/*
 * fuzz_api_params.c - any request to the HTTP API is answered: with a status
 * that it may have, and JSON that is JSON.
 *
 * The first byte is the method, the second the type of the body and the parts
 * of PromQL; then come lines: path, query string, body.  The store is one that
 * is not ready, so that everything up to the reading of samples is done.
 *
 * What was understood is compared with a slow reading of the same form, and
 * label names with what their escaping gives back.
 */
#include <dirent.h>

#include "fuzz_store.h"
#include "nlt_num.h"
#include "nlt_utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- is it JSON? ---- */

static const char *value(const char *p, const char *end, unsigned depth);

static const char *
string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if ((unsigned char) *p < 0x20) {
            return end + 1;
        }
        if (*p != '\\') {
            continue;
        }
        p++;
        if (p < end && *p == 'u') {
            for (int i = 0; i < 4; i++) {
                p++;
                if (p >= end || nlt_hex_digit(*p) < 0) {
                    return end + 1;
                }
            }
        } else if (p >= end || strchr("\"\\/bfnrt", *p) == NULL) {
            return end + 1;
        }
    }
    return p + 1;
}

/* A list of values, or of "name":value; p is behind the bracket. */
static const char *
list(const char *p, const char *end, char close, unsigned depth)
{
    if (p < end && *p == close) {
        return p + 1;
    }
    while (p < end) {
        if (close == '}') {
            p = *p == '"' ? string(p, end) : end + 1;
            if (p >= end || *p++ != ':') {
                return end + 1;
            }
        }
        p = value(p, end, depth + 1);
        if (p >= end) {
            return end + 1;
        }
        if (*p++ == close) {
            return p;
        }
        if (p[-1] != ',') {
            return end + 1;
        }
    }
    return end + 1;
}

/* The end of a value; behind `end`: it is none. */
static const char *
value(const char *p, const char *end, unsigned depth)
{
    static const char *const words[] = {"true", "false", "null"};
    const char *from = p;

    if (p >= end || depth > 10 * NLT_PQL_DEPTH_MAX) {
        return end + 1;
    }
    if (*p == '{' || *p == '[') {
        return list(p + 1, end, *p == '{' ? '}' : ']', depth);
    }
    if (*p == '"') {
        return string(p, end);
    }
    for (size_t i = 0; i < NLT_COUNT(words); i++) {
        size_t n = strlen(words[i]);

        if ((size_t) (end - p) >= n && memcmp(p, words[i], n) == 0) {
            return p + n;
        }
    }
    while (p < end && strchr("+-.eE0123456789", *p) != NULL && *p != '\0') {
        p++;
    }
    return p > from ? p : end + 1;
}

/* ---- a slow reading of a form ---- */

typedef struct {
    const nlt_api_t *api;
    size_t n; /* parameters seen */
} reading_t;

/* Decodes into out, which has room; false: Go would not take it. */
static bool
decode(nlt_str_t s, nlt_buf_t *out)
{
    nlt_buf_reset(out);
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '+') {
            nlt_buf_add_byte(out, ' ');
        } else if (s.data[i] != '%') {
            nlt_buf_add_byte(out, (uint8_t) s.data[i]);
        } else {
            if (s.len - i < 3 || nlt_hex_digit(s.data[i + 1]) < 0
                || nlt_hex_digit(s.data[i + 2]) < 0) {
                return false;
            }
            nlt_buf_add_byte(out, (uint8_t) (nlt_hex_digit(s.data[i + 1]) * 16
                                             + nlt_hex_digit(s.data[i + 2])));
            i += 2;
        }
    }
    return true;
}

static void
same(nlt_str_t got, const nlt_buf_t *want)
{
    if (!nlt_str_eq(got, nlt_buf_str(want))) {
        fprintf(stderr, "got \"%.*s\", not \"%.*s\"\n", NLT_FMT(got),
                NLT_FMT(nlt_buf_str(want)));
        abort();
    }
}

static void
read_form(reading_t *r, nlt_str_t s)
{
    nlt_buf_t name, text;

    nlt_buf_init(&name, &nlt_mem_libc, 8u << 20);
    nlt_buf_init(&text, &nlt_mem_libc, 8u << 20);
    for (size_t from = 0, i = 0; i <= s.len; i++) {
        nlt_str_t pair = {i - from, s.data + from}, left = pair;
        nlt_str_t right = {0, ""};
        size_t eq = 0;

        if (i < s.len && s.data[i] != '&') {
            continue;
        }
        from = i + 1;
        while (eq < pair.len && pair.data[eq] != '=') {
            eq++;
        }
        if (eq < pair.len) {
            left.len = eq;
            right = (nlt_str_t){pair.len - eq - 1, pair.data + eq + 1};
        }
        if (pair.len == 0 || memchr(pair.data, ';', pair.len) != NULL
            || !decode(left, &name) || !decode(right, &text)) {
            continue;
        }
        if (r->n >= r->api->n_params) {
            abort();
        }
        same(r->api->params[r->n].name, &name);
        same(r->api->params[r->n].value, &text);
        r->n++;
    }
    nlt_buf_deinit(&name);
    nlt_buf_deinit(&text);
}

/* ---- names of labels ---- */

static void
check_name(nlt_str_t name)
{
    nlt_pool_t pool;
    nlt_buf_t b;
    nlt_str_t rest = name, back;

    if (!nlt_utf8_valid(name) || name.len > 1000) {
        return;
    }
    nlt_buf_init(&b, &nlt_mem_libc, 1u << 20);
    nlt_pool_init(&pool, &nlt_mem_libc, 1u << 20);
    nlt_buf_add_c(&b, "U__");
    while (rest.len > 0) {
        uint32_t rune;
        size_t n = nlt_utf8_decode(rest, &rune);

        if (rune == '_') {
            nlt_buf_add_c(&b, "__");
        } else if ((rune >= '0' && rune <= '9') || (rune >= 'a' && rune <= 'z')
                   || (rune >= 'A' && rune <= 'Z') || rune == ':') {
            nlt_buf_add_byte(&b, (uint8_t) rune);
        } else {
            nlt_buf_addf(&b, "_%x_", (unsigned) rune);
        }
        rest.data += n;
        rest.len -= n;
    }
    back = nlt_api_unescape_name(&pool, nlt_buf_str(&b));
    if (!nlt_str_eq(back, name)) {
        fprintf(stderr, "%.*s is not %.*s\n", NLT_FMT(nlt_buf_str(&b)),
                NLT_FMT(name));
        abort();
    }
    nlt_pool_deinit(&pool);
    nlt_buf_deinit(&b);
}

/* ---- requests ---- */

static void
check_answer(nlt_api_t *a)
{
    static const int statuses[] = {200, 204, 400, 404, 405, 422, 503};
    const nlt_api_answer_t *answer = nlt_api_answer(a);
    char part[4096];
    nlt_buf_t body;
    nlt_rc_t rc = NLT_AGAIN;
    size_t i = 0, len;

    while (i < NLT_COUNT(statuses) && statuses[i] != answer->status) {
        i++;
    }
    nlt_buf_init(&body, &nlt_mem_libc, 128u << 20);
    while (answer->has_body && rc == NLT_AGAIN) {
        rc = nlt_api_render(a, part, sizeof(part), &len);
        nlt_buf_add(&body, part, len);
    }
    if (i == NLT_COUNT(statuses) || (answer->has_body && rc != NLT_OK)
        || (nlt_str_eq(answer->content_type, NLT_STR("application/json"))
            && value(body.data, body.data + body.len, 0)
                   != body.data + body.len)) {
        fprintf(stderr, "%d: %.*s\n", answer->status,
                NLT_FMT(nlt_buf_str(&body)));
        abort();
    }
    nlt_buf_deinit(&body);
}

/* Whatever a form has that can be read is a parameter. */
static void
check_params(const nlt_api_t *a, bool form)
{
    reading_t r = {a, 0};

    if (a->params == NULL || a->answer.status == 422
        || a->route->run == nlt_api_run_series
        || a->route->run == nlt_api_run_rules) {
        return; /* not reached; or it refuses a form with anything wrong */
    }
    if (form) {
        read_form(&r, a->req.form);
    }
    read_form(&r, a->req.args);
    if (r.n != a->n_params) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const nlt_str_t types[] = {
        {33, "application/x-www-form-urlencoded"},
        {10, "text/plain"},
        {0, ""},
        {48, "application/x-www-form-urlencoded; charset=utf-8"}};
    static const nlt_str_t multipart = {31, "multipart/form-data; boundary=b"};
    nlt_api_conf_t conf = {.timeout_ms = 120000,
                           .samples_max = 1000,
                           .series_max = 1000,
                           .memory_max = 4u << 20,
                           .lookback_ms = 300000};
    nlt_api_request_t req = {.kind = NLT_API_QUERY};
    nlt_api_t *a;

    if (size < 2) {
        return 0;
    }
    if (store == NULL) {
        open_store();
    }
    nlt_str_t input = {size - 2, (const char *) data + 2};

    req.method = data[0] % (NLT_HTTP_OTHER + 1);
    req.content_type = data[1] & 4 ? multipart : types[data[1] & 3];
    conf.features = data[1] / 8 & NLT_PQL_F_ALL;
    req.suffix = line(&input);
    req.args = line(&input);
    req.form = input;
    check_name(req.suffix);
    if (nlt_api_create(&nlt_env_posix, store, &conf, &req, &a) != NLT_OK) {
        abort();
    }
    nlt_api_run(a);
    check_answer(a);
    if ((data[1] & 4) == 0) {
        check_params(a, req.method == NLT_HTTP_POST && (data[1] & 3) % 3 == 0);
    }
    nlt_api_destroy(a);
    return 0;
}

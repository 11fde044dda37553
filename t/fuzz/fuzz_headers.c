/*
 * fuzz_headers.c - what requests say beside their parameters: types and
 * encodings, what the client takes, whose the request is, and the endpoints
 * that are not for queries.
 *
 * The first byte says which kind of endpoint is asked and by which method;
 * then come lines: Content-Type, Content-Encoding, Accept, the name of a
 * tenant, path, query string; the rest is the body.  The store is one that is
 * not ready.  Names are judged by a slow reading of the rules beside it.
 */

#include "fuzz_store.h"
#include "nlt_remote_write.h"
#include "nlt_tenants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- names of tenants ---- */

/*
 * Bytes of the character that p begins with, its value in *rune; 0: none.
 * The table of well-formed bytes of the Unicode standard, line by line.
 */
static size_t
character(const unsigned char *p, size_t n, uint32_t *rune)
{
    static const struct {
        unsigned char len, first, last, low, high;
    } rows[] = {{1, 0x00, 0x7f, 0, 0},       {2, 0xc2, 0xdf, 0x80, 0xbf},
                {3, 0xe0, 0xe0, 0xa0, 0xbf}, {3, 0xe1, 0xec, 0x80, 0xbf},
                {3, 0xed, 0xed, 0x80, 0x9f}, {3, 0xee, 0xef, 0x80, 0xbf},
                {4, 0xf0, 0xf0, 0x90, 0xbf}, {4, 0xf1, 0xf3, 0x80, 0xbf},
                {4, 0xf4, 0xf4, 0x80, 0x8f}};

    for (size_t i = 0; i < NLT_COUNT(rows); i++) {
        size_t len = rows[i].len;

        if (p[0] < rows[i].first || p[0] > rows[i].last || len > n) {
            continue;
        }
        *rune = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
        for (size_t k = 1; k < len; k++) {
            unsigned low = k == 1 ? rows[i].low : 0x80;
            unsigned high = k == 1 ? rows[i].high : 0xbf;

            if (p[k] < low || p[k] > high) {
                return 0;
            }
            *rune = *rune << 6 | (p[k] & 0x3fu);
        }
        return len;
    }
    return 0;
}

static bool
is_name(nlt_str_t s)
{
    uint32_t rune = 0;

    if (s.len < 1 || s.len > 128) {
        return false;
    }
    for (size_t i = 0, n; i < s.len; i += n) {
        n = character((const unsigned char *) s.data + i, s.len - i, &rune);
        if (n == 0 || rune < 0x20 || (rune >= 0x7f && rune <= 0x9f)) {
            return false;
        }
    }
    return true;
}

static void
check_tenant(nlt_str_t name)
{
    nlt_err_t err = {.len = 0};
    uint64_t term;
    bool good = nlt_tenant_name_check(name, &err) == NLT_OK;

    if (good != is_name(name) || (!good && err.len == 0)) {
        fprintf(stderr, "\"%.*s\" is %s: %s\n", NLT_FMT(name),
                good ? "a name" : "none", err.text);
        abort();
    }
    if (good
        && nlt_store_find_tenant(store, name, &term) != NLT_TENANT_UNKNOWN) {
        abort(); /* of a store that is not ready */
    }
}

/* ---- types ---- */

/* Is text in s, whatever its case? */
static bool
has(nlt_str_t s, const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i + n <= s.len; i++) {
        size_t k = 0;

        while (k < n && (s.data[i + k] | 0x20) == (text[k] | 0x20)) {
            k++;
        }
        if (k == n) {
            return true;
        }
    }
    return false;
}

static bool
is_blank(nlt_str_t s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != ' ' && s.data[i] != '\t') {
            return false;
        }
    }
    return true;
}

static void
check_types(nlt_str_t type, nlt_str_t encoding)
{
    nlt_err_t err = {.len = 0};
    int version = 0;
    nlt_rc_t rc = nlt_rw_negotiate(type, encoding, &version, &err);

    if ((rc != NLT_OK && (rc != NLT_ETYPE || err.len == 0))
        || (version != 1 && version != 2)
        /* what is taken must say that it is it */
        || (rc == NLT_OK && !is_blank(type)
            && !has(type, "application/x-protobuf"))
        || (rc == NLT_OK && !is_blank(encoding) && !has(encoding, "snappy"))
        || (version == 2 && !has(type, "io.prometheus.write.v2.Request"))) {
        fprintf(stderr, "\"%.*s\", \"%.*s\": %d, version %d\n", NLT_FMT(type),
                NLT_FMT(encoding), rc, version);
        abort();
    }
}

/* ---- endpoints ---- */

static void
check_answer(nlt_api_t *a)
{
    static const int statuses[] = {200, 204, 400, 404, 405, 415, 422, 503};
    const nlt_api_answer_t *answer = nlt_api_answer(a);
    nlt_rc_t rc = answer->has_body ? NLT_AGAIN : NLT_OK;
    nlt_str_t type = answer->content_type;
    char part[4096];
    size_t i = 0, len;

    while (i < NLT_COUNT(statuses) && statuses[i] != answer->status) {
        i++;
    }
    while (rc == NLT_AGAIN) {
        rc = nlt_api_render(a, part, sizeof(part), &len);
    }
    if (i == NLT_COUNT(statuses) || rc != NLT_OK
        || (type.len > 0 && memchr(type.data, '\n', type.len) != NULL)) {
        fprintf(stderr, "status %d, rc %d\n", answer->status, rc);
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const nlt_api_kind_t kinds[] = {NLT_API_QUERY, NLT_API_ADMIN,
                                           NLT_API_STATUS, NLT_API_METRICS};
    nlt_api_conf_t conf = {.timeout_ms = 120000,
                           .samples_max = 1000,
                           .series_max = 1000,
                           .memory_max = 4u << 20,
                           .lookback_ms = 300000};
    nlt_api_request_t req = {.kind = NLT_API_QUERY};
    nlt_str_t encoding;
    nlt_api_t *a;

    if (size < 1) {
        return 0;
    }
    if (store == NULL) {
        open_store();
    }
    nlt_str_t input = {size - 1, (const char *) data + 1};

    req.kind = kinds[data[0] & 3];
    req.method = (data[0] >> 2) % (NLT_HTTP_OTHER + 1);
    req.content_type = line(&input);
    encoding = line(&input);
    req.accept = line(&input);
    check_tenant(line(&input));
    check_types(req.content_type, encoding);
    req.suffix = line(&input);
    req.args = line(&input);
    req.form = input;
    if (nlt_api_create(&nlt_env_posix, store, &conf, &req, &a) != NLT_OK) {
        abort();
    }
    nlt_api_run(a);
    check_answer(a);
    nlt_api_destroy(a);
    return 0;
}

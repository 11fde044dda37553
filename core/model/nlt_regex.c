/* nlt_regex.c */
#include "nlt_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct nlt_regex_s {
    pcre2_code *code;
    pcre2_match_data *md;
};

nlt_rc_t
nlt_regex_compile(nlt_pool_t *pool, nlt_str_t pattern, nlt_regex_t **out,
                  nlt_err_t *err)
{
    int code;
    PCRE2_SIZE at;
    char *text = nlt_pool_alloc(pool, pattern.len + 16);
    nlt_regex_t *re = nlt_pool_zalloc(pool, sizeof(*re));

    *out = NULL;
    if (text == NULL || re == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "regex: out of memory");
    }
    memcpy(text, "\\A(?:", 5);
    if (pattern.len) {
        memcpy(text + 5, pattern.data, pattern.len);
    }
    memcpy(text + 5 + pattern.len, ")\\z", 3);
    re->code = pcre2_compile((PCRE2_SPTR) text, pattern.len + 8,
                             PCRE2_UTF | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY,
                             &code, &at, NULL);
    if (re->code == NULL) {
        char room[128];

        pcre2_get_error_message(code, (PCRE2_UCHAR *) room, sizeof(room));
        return nlt_err_set(err, NLT_EINVAL, "error parsing regexp: %s: `%.*s`",
                           room, NLT_FMT(pattern));
    }
    re->md = pcre2_match_data_create_from_pattern(re->code, NULL);
    *out = re;
    return NLT_OK;
}

void
nlt_regex_destroy(nlt_regex_t *re)
{
    if (re != NULL) {
        pcre2_match_data_free(re->md);
        pcre2_code_free(re->code);
        re->code = NULL;
        re->md = NULL;
    }
}

nlt_rc_t
nlt_regex_match(nlt_regex_t *re, nlt_str_t s)
{
    int rc = pcre2_match(re->code, (PCRE2_SPTR) (s.len ? s.data : ""), s.len,
                         0, 0, re->md, NULL);

    return rc >= 0 ? NLT_OK : rc == PCRE2_ERROR_NOMATCH ? NLT_EOF : NLT_ELIMIT;
}

nlt_rc_t
nlt_regex_capture(nlt_regex_t *re, nlt_str_t s, nlt_captures_t *out)
{
    if (s.len == 0) {
        s.data = "";
    }
    int rc =
        pcre2_match(re->code, (PCRE2_SPTR) s.data, s.len, 0, 0, re->md, NULL);
    PCRE2_SIZE *ov = pcre2_get_ovector_pointer(re->md);

    memset(out, 0, sizeof(*out));
    if (rc < 0) {
        return rc == PCRE2_ERROR_NOMATCH ? NLT_EOF : NLT_ELIMIT;
    }
    out->n = pcre2_get_ovector_count(re->md);
    if (out->n > NLT_REGEX_CAPTURES_MAX) {
        out->n = NLT_REGEX_CAPTURES_MAX;
    }
    for (size_t i = 0; i < out->n; i++) {
        if (ov[2 * i] != PCRE2_UNSET) {
            out->group[i] =
                (nlt_str_t){ov[2 * i + 1] - ov[2 * i], s.data + ov[2 * i]};
        }
    }
    return NLT_OK;
}

int
nlt_regex_group(const nlt_regex_t *re, nlt_str_t name)
{
    char room[64];

    if (name.len >= sizeof(room)) {
        return -1;
    }
    memcpy(room, name.data, name.len);
    room[name.len] = 0;
    int n = pcre2_substring_number_from_name(re->code, (PCRE2_SPTR) room);
    return n > 0 ? n : -1;
}

size_t
nlt_regex_literals(const nlt_regex_t *re, const nlt_str_t **out)
{
    (void) re;
    *out = NULL;
    return 0;
}

nlt_str_t
nlt_regex_prefix(const nlt_regex_t *re)
{
    (void) re;
    return (nlt_str_t){0, NULL};
}

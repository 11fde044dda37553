/*
 * nlt_matcher.c - label matchers.
 */
#include "nlt_matcher.h"

nlt_rc_t
nlt_matcher_compile(nlt_pool_t *pool, nlt_matcher_t *m, nlt_err_t *err)
{
    m->re = NULL;
    if (m->op != NLT_MATCH_RE && m->op != NLT_MATCH_NRE) {
        return NLT_OK;
    }
    return nlt_regex_compile(pool, m->value, &m->re, err);
}

void
nlt_matcher_release(nlt_matcher_t *m)
{
    nlt_regex_destroy(m->re);
    m->re = NULL;
}

nlt_rc_t
nlt_matcher_test(const nlt_matcher_t *m, nlt_str_t value)
{
    nlt_rc_t rc = NLT_EBUG;

    switch (m->op) {
    case NLT_MATCH_EQ:
        rc = nlt_str_eq(m->value, value) ? NLT_OK : NLT_EOF;
        break;
    case NLT_MATCH_NE:
        rc = nlt_str_eq(m->value, value) ? NLT_EOF : NLT_OK;
        break;
    case NLT_MATCH_RE:
        rc = nlt_regex_match(m->re, value);
        break;
    case NLT_MATCH_NRE:
        rc = nlt_regex_match(m->re, value);
        if (rc == NLT_OK) {
            rc = NLT_EOF;
        } else if (rc == NLT_EOF) {
            rc = NLT_OK;
        }
        break;
    }
    return rc;
}

nlt_rc_t
nlt_matcher_failed(const nlt_matcher_t *m, nlt_rc_t rc, nlt_err_t *err)
{
    return nlt_err_set(err, rc,
                       "regular expression \"%.*s\" takes too long on a value "
                       "of label \"%.*s\"",
                       NLT_FMT(m->value), NLT_FMT(m->name));
}

nlt_rc_t
nlt_matchers_test(const nlt_matcher_t *m, size_t n, nlt_labels_t labels)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; i < n && rc == NLT_OK; i++) {
        rc = nlt_matcher_test(&m[i], nlt_labels_get(labels, m[i].name));
    }
    return rc;
}

const char *
nlt_match_op_text(nlt_match_op_t op)
{
    switch (op) {
    case NLT_MATCH_EQ:
        return "=";
    case NLT_MATCH_NE:
        return "!=";
    case NLT_MATCH_RE:
        return "=~";
    case NLT_MATCH_NRE:
        return "!~";
    }
    return "?";
}

void
nlt_matcher_print(nlt_buf_t *b, const nlt_matcher_t *m)
{
    if (nlt_label_name_is_legacy(m->name)) {
        nlt_buf_add_str(b, m->name);
    } else {
        nlt_utf8_quote(b, m->name);
    }
    nlt_buf_add_c(b, nlt_match_op_text(m->op));
    nlt_utf8_quote(b, m->value);
}

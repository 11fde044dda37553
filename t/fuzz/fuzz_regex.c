/*
 * fuzz_regex.c - hostile patterns on hostile text.
 *
 * Input: pattern, newline, text.  Whatever compiles must match the same way
 * with groups and without (but for the limit), and must begin with its
 * prefix; what PCRE2 refuses although RE2's parser took it must be a matter
 * of size.
 */
#include <stdlib.h>

#include "nlt_regex.h"
#include "nlt_utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void
match(nlt_regex_t *re, nlt_str_t s)
{
    nlt_captures_t groups;
    const nlt_str_t *list;
    nlt_rc_t plain = nlt_regex_match(re, s);
    nlt_rc_t full = nlt_regex_capture(re, s, &groups);
    nlt_str_t prefix = nlt_regex_prefix(re);
    size_t n = nlt_regex_literals(re, &list);
    bool listed = false;

    require(plain == NLT_OK || plain == NLT_EOF || plain == NLT_ELIMIT
            || plain == NLT_ENOMEM);
    if (plain != NLT_OK && plain != NLT_EOF) {
        return;
    }
    if (nlt_utf8_valid(s) && (full == NLT_OK || full == NLT_EOF)) {
        require(plain == full);
    }
    if (plain == NLT_OK) {
        require(prefix.len <= s.len
                && (prefix.len == 0
                    || memcmp(prefix.data, s.data, prefix.len) == 0));
    }
    for (size_t i = 0; i < n; i++) {
        listed = listed || nlt_str_eq(list[i], s);
    }
    require(n == 0 || listed == (plain == NLT_OK));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *) data;
    const char *line = size > 0 ? memchr(p, '\n', size) : NULL;
    nlt_str_t pattern = {line != NULL ? (size_t) (line - p) : size, p};
    nlt_str_t text = {0, ""};
    nlt_pool_t pool;
    nlt_regex_t *re;
    nlt_err_t err;

    if (line != NULL) {
        text = (nlt_str_t){size - pattern.len - 1, line + 1};
    }
    nlt_pool_init(&pool, &nlt_mem_libc, 8 << 20);
    nlt_rc_t rc = nlt_regex_compile(&pool, pattern, &re, &err);
    if (rc == NLT_OK) {
        match(re, text);
        match(re, pattern);
        match(re, (nlt_str_t){0, ""});
    } else {
        require(re == NULL && err.len > 0 && err.rc == rc);
        /* With a number it is PCRE2 that refused: for size, nothing else. */
        static const char head[] =
            "error parsing regexp: expression too large (";

        if (strncmp(err.text, head, sizeof(head) - 1) == 0) {
            int code = atoi(err.text + sizeof(head) - 1);

            require(code == 120 || code == 119 || code == 135 || code == 186
                    || code == 187);
        }
    }
    nlt_regex_destroy(re);
    nlt_pool_deinit(&pool);
    return 0;
}

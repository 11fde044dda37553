/* nlt_rc_test.c - codes and error texts. */
#include "nlt_rc.h"
#include "nlt_env.h"
#include "nlt_test.h"

#include <errno.h>

static nlt_str_t
text_of(const nlt_err_t *err)
{
    return (nlt_str_t){err->len, err->text};
}

static void
codes_have_text(void)
{
    NLT_CHECK(strcmp(nlt_rc_text(NLT_EDATA), "corrupt data") == 0);
    NLT_CHECK(strcmp(nlt_rc_text((nlt_rc_t) 77), "unknown result code") == 0);
}

static void
err_set_fills_and_returns_the_code(void)
{
    nlt_err_t err;

    NLT_CHECK_INT(nlt_err_set(&err, NLT_EINVAL, "a %d", 7), NLT_EINVAL);
    NLT_CHECK_INT(err.rc, NLT_EINVAL);
    NLT_CHECK_INT(err.pos, -1);
    NLT_CHECK_STR(text_of(&err), "a 7");
    NLT_CHECK_INT(nlt_err_set_at(&err, NLT_EDATA, 42, "b"), NLT_EDATA);
    NLT_CHECK_INT(err.pos, 42);
    NLT_CHECK_INT(
        nlt_err_set_errno(&err, NLT_EIO, ENOSPC, "write \"%s\"", "f"),
        NLT_EIO);
    NLT_CHECK_STR(text_of(&err), "write \"f\": No space left on device");
    NLT_CHECK_INT(nlt_err_set(NULL, NLT_EBUG, "x"), NLT_EBUG);
    NLT_CHECK_INT(nlt_err_set_at(NULL, NLT_EBUG, 1, "x"), NLT_EBUG);
    NLT_CHECK_INT(nlt_err_set_errno(NULL, NLT_EBUG, 1, "x"), NLT_EBUG);
}

static void
long_texts_end_in_dots(void)
{
    nlt_err_t err;
    char s[3000];

    memset(s, 'x', sizeof(s));
    s[NLT_ERR_TEXT_MAX - 1] = '\0';
    (void) nlt_err_set(&err, NLT_EINVAL, "%s", s);
    NLT_CHECK_INT(err.len, NLT_ERR_TEXT_MAX - 1);
    NLT_CHECK_INT(err.text[err.len - 1], 'x');
    s[NLT_ERR_TEXT_MAX - 1] = 'x';
    s[sizeof(s) - 1] = '\0';
    (void) nlt_err_set_errno(&err, NLT_EINVAL, EIO, "%s", s);
    NLT_CHECK_INT(err.len, NLT_ERR_TEXT_MAX - 1);
    NLT_CHECK(strcmp(err.text + err.len - 4, "x...") == 0);
    /* The errno text is what does not fit. */
    s[NLT_ERR_TEXT_MAX - 10] = '\0';
    (void) nlt_err_set_errno(&err, NLT_EINVAL, ENOSPC, "%s", s);
    NLT_CHECK(strcmp(err.text + err.len - 3, "...") == 0);
    NLT_CHECK_INT(strlen(err.text), err.len);
}

typedef struct {
    nlt_log_level_t level;
    size_t len;
    char text[NLT_ERR_TEXT_MAX + 1];
} line_t;

static void
keep_line(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    line_t *line = ctx;

    NLT_CHECK(len <= NLT_ERR_TEXT_MAX);
    line->level = level;
    line->len = len;
    memcpy(line->text, text, len);
    line->text[len] = '\0';
}

static void
log_lines_end_in_what_to_do(void)
{
    line_t line = {0};
    nlt_env_t env = nlt_env_posix;
    char s[3000];

    env.log = keep_line;
    env.ctx = &line;
    nlt_log(&env, NLT_LOG_NOTICE, "a %s", "b\nc");
    NLT_CHECK(strcmp(line.text, "a b c") == 0);
    nlt_log_todo(&env, NLT_LOG_CRIT, nlt_rc_todo(NLT_EVERSION), "f: %d", 7);
    NLT_CHECK_INT(line.level, NLT_LOG_CRIT);
    NLT_CHECK(strcmp(line.text, "f: 7; install the version that wrote it")
              == 0);
    /* What does not fit is left out of the text, not of the remedy. */
    memset(s, 'x', sizeof(s));
    s[sizeof(s) - 1] = '\0';
    nlt_log_todo(&env, NLT_LOG_WARN, "do this", "%s", s);
    NLT_CHECK(line.len > NLT_ERR_TEXT_MAX - 3);
    NLT_CHECK(strcmp(line.text + line.len - 13, "x...; do this") == 0);
    nlt_log_todo(&env, NLT_LOG_WARN, s, "%s", s);
    NLT_CHECK(line.len > NLT_ERR_TEXT_MAX - 3);
    nlt_log(&env, NLT_LOG_INFO, "%s", s);
    NLT_CHECK(strcmp(line.text + line.len - 4, "x...") == 0);
}

static void
each_code_has_a_remedy(void)
{
#define HAS_REMEDY(name, value, text, todo)                                   \
    NLT_CHECK(strlen(nlt_rc_todo(NLT_##name)) > 5);
    NLT_RC_LIST(HAS_REMEDY)
#undef HAS_REMEDY
    NLT_CHECK(strlen(nlt_rc_todo((nlt_rc_t) 77)) > 5);
}

int
main(void)
{
    NLT_TEST(codes_have_text);
    NLT_TEST(err_set_fills_and_returns_the_code);
    NLT_TEST(long_texts_end_in_dots);
    NLT_TEST(log_lines_end_in_what_to_do);
    NLT_TEST(each_code_has_a_remedy);
    return nlt_test_done();
}

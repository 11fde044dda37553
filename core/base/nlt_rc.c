/*
 * nlt_rc.c - texts of result codes, and formatting of errors.
 *
 * A text that does not fit keeps its beginning and ends in "...": the
 * beginning says what failed, and nothing is allocated on the way of failure.
 */
#include "nlt_rc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *
nlt_rc_text(nlt_rc_t rc)
{
    switch (rc) {
#define NLT_RC_TEXT(name, value, text, todo)                                  \
    case NLT_##name:                                                          \
        return text;
        NLT_RC_LIST(NLT_RC_TEXT)
#undef NLT_RC_TEXT
    }
    return "unknown result code";
}

const char *
nlt_rc_todo(nlt_rc_t rc)
{
    switch (rc) {
#define NLT_RC_TODO(name, value, text, todo)                                  \
    case NLT_##name:                                                          \
        return todo;
        NLT_RC_LIST(NLT_RC_TODO)
#undef NLT_RC_TODO
    }
    return "report it with the lines before it";
}

/* Appends to err->text; the last three bytes become dots when cut. */
__attribute__((format(printf, 2, 0))) static void
err_append(nlt_err_t *err, const char *fmt, va_list args)
{
    size_t room = sizeof(err->text) - err->len;
    int n = vsnprintf(err->text + err->len, room, fmt, args);

    if (n < 0) {
        err->text[err->len] = '\0';
        return;
    }
    if ((size_t) n < room) {
        err->len += (size_t) n;
        return;
    }
    err->len = sizeof(err->text) - 1;
    memcpy(err->text + err->len - 3, "...", 4);
}

__attribute__((format(printf, 4, 0))) static void
err_fill(nlt_err_t *err, nlt_rc_t rc, int64_t pos, const char *fmt,
         va_list args)
{
    err->rc = rc;
    err->pos = pos;
    err->len = 0;
    err_append(err, fmt, args);
}

nlt_rc_t
nlt_err_set(nlt_err_t *err, nlt_rc_t rc, const char *fmt, ...)
{
    va_list args;

    if (err != NULL) {
        va_start(args, fmt);
        err_fill(err, rc, -1, fmt, args);
        va_end(args);
    }
    return rc;
}

nlt_rc_t
nlt_err_set_at(nlt_err_t *err, nlt_rc_t rc, int64_t pos, const char *fmt, ...)
{
    va_list args;

    if (err != NULL) {
        va_start(args, fmt);
        err_fill(err, rc, pos, fmt, args);
        va_end(args);
    }
    return rc;
}

NLT_PRINTF(2, 3)
static void
err_add(nlt_err_t *err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    err_append(err, fmt, args);
    va_end(args);
}

nlt_rc_t
nlt_err_set_errno(nlt_err_t *err, nlt_rc_t rc, int errnum, const char *fmt,
                  ...)
{
    va_list args;
    char room[128];

    if (err != NULL) {
        va_start(args, fmt);
        err_fill(err, rc, -1, fmt, args);
        va_end(args);
        err_add(err, ": %s", strerror_r(errnum, room, sizeof(room)));
    }
    return rc;
}

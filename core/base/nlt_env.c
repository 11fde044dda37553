/*
 * nlt_env.c - the real world: system clocks, log lines to stderr.
 */
#include "nlt_env.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nlt_rc.h"

#define LOG_TODO_MAX (NLT_ERR_TEXT_MAX / 2)

static int64_t
posix_now_ms(void *ctx)
{
    struct timespec ts;

    (void) ctx;
    (void) clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t
posix_mono_ns(void *ctx)
{
    struct timespec ts;

    (void) ctx;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* One write, so that lines of several threads do not mix. */
static void
posix_log(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    static const char names[][16] = {
        "[alert] ",  "[crit] ", "[error] ", "[warn] ",
        "[notice] ", "[info] ", "[debug] ",
    };
    const char *name = (unsigned) level < NLT_COUNT(names) ? names[level] : "";
    char line[NLT_ERR_TEXT_MAX + 32];
    size_t n = strlen(name);

    (void) ctx;
    memcpy(line, name, n);
    if (len > NLT_ERR_TEXT_MAX) {
        len = NLT_ERR_TEXT_MAX;
    }
    memcpy(line + n, text, len);
    n += len;
    line[n++] = '\n';
    /* A log that cannot be written has nowhere to say so. */
    ssize_t written = write(STDERR_FILENO, line, n);
    (void) written;
}

const nlt_env_t nlt_env_posix = {
    .mem = &nlt_mem_libc,
    .io = &nlt_io_posix,
    .now_ms = posix_now_ms,
    .mono_ns = posix_mono_ns,
    .log = posix_log,
    .ctx = NULL,
};

/* The text, cut to max bytes; its length. */
__attribute__((format(printf, 3, 0))) static size_t
log_format(char *text, size_t max, const char *fmt, va_list args)
{
    int n = vsnprintf(text, max, fmt, args);

    if (n < 0) {
        return 0;
    }
    if ((size_t) n >= max) {
        memcpy(text + max - 4, "...", 3);
        return max - 1;
    }
    return (size_t) n;
}

static void
log_line(const nlt_env_t *env, nlt_log_level_t level, char *text, size_t len)
{
    /* Names and values of clients end up here: one record, one line. */
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char) text[i] < 0x20 || text[i] == 0x7f) {
            text[i] = ' ';
        }
    }
    env->log(env->ctx, level, text, len);
}

void
nlt_log(const nlt_env_t *env, nlt_log_level_t level, const char *fmt, ...)
{
    char text[NLT_ERR_TEXT_MAX];
    va_list args;
    size_t len;

    va_start(args, fmt);
    len = log_format(text, sizeof(text), fmt, args);
    va_end(args);
    log_line(env, level, text, len);
}

void
nlt_log_todo(const nlt_env_t *env, nlt_log_level_t level, const char *todo,
             const char *fmt, ...)
{
    char text[NLT_ERR_TEXT_MAX];
    size_t len, n = strlen(todo);
    va_list args;

    n = n > LOG_TODO_MAX ? LOG_TODO_MAX : n;
    va_start(args, fmt);
    len = log_format(text, sizeof(text) - n - 2, fmt, args);
    va_end(args);
    memcpy(text + len, "; ", 2);
    memcpy(text + len + 2, todo, n);
    log_line(env, level, text, len + 2 + n);
}

/*
 * nlt_env.h - what core needs from the world, injected.
 *
 * Floor 0 (base); uses nlt_mem, nlt_io.
 * Threads: the functions may be called from any thread of the process.
 *
 * Core has no globals: memory, files, the clock and the log come from one
 * struct that the embedding program owns and keeps alive as long as anything
 * opened with it.  Tests put a clock that stands still, a disk that tears
 * writes, and an allocator that fails, in their places.
 */
#ifndef NLT_BASE_ENV_H
#define NLT_BASE_ENV_H

#include "nlt_io.h"
#include "nlt_mem.h"

typedef enum {
    NLT_LOG_ALERT,  /* must never happen; a bug or a broken machine */
    NLT_LOG_CRIT,   /* disk or memory trouble that loses or refuses data */
    NLT_LOG_ERROR,  /* one request or one file failed */
    NLT_LOG_WARN,   /* works on, an operator should know */
    NLT_LOG_NOTICE, /* start, stop, rotation, replay */
    NLT_LOG_INFO,   /* faults of clients */
    NLT_LOG_DEBUG
} nlt_log_level_t;

typedef struct {
    const nlt_mem_t *mem;
    const nlt_io_t *io;
    /* Wall clock, Unix milliseconds. */
    int64_t (*now_ms)(void *ctx);
    /* Monotonic clock, nanoseconds since some start; for deadlines. */
    int64_t (*mono_ns)(void *ctx);
    /* One line without its end, at most NLT_ERR_TEXT_MAX bytes. */
    void (*log)(void *ctx, nlt_log_level_t level, const char *text,
                size_t len);
    void *ctx;
} nlt_env_t;

/* The real world: libc memory, POSIX files, system clocks, log to stderr. */
extern const nlt_env_t nlt_env_posix;

/*
 * Formats one log line and hands it to env->log, which adds whose store it is.
 * For NOTICE and below: what has happened, to what.
 */
void nlt_log(const nlt_env_t *env, nlt_log_level_t level, const char *fmt, ...)
    NLT_PRINTF(3, 4);

/*
 * The same for WARN and worse, which somebody has to act on: the text says
 * what, where and why, and "; todo" follows it.  A text that is too long is
 * cut before that.  tools/tidy sees to it that these levels are logged in this
 * way alone.
 */
void nlt_log_todo(const nlt_env_t *env, nlt_log_level_t level,
                  const char *todo, const char *fmt, ...) NLT_PRINTF(4, 5);

static inline int64_t
nlt_now_ms(const nlt_env_t *env)
{
    return env->now_ms(env->ctx);
}

static inline int64_t
nlt_mono_ns(const nlt_env_t *env)
{
    return env->mono_ns(env->ctx);
}

#endif

/*
 * nlt_store_fault.h - a disk that fails from a chosen call on, for tests.
 *
 * Calls are counted; from number fail_at on all of them fail (a crash: what
 * follows never happened), or only that one (a hiccup), or the process is
 * killed in front of that one, or, if it is a write, in the midst of it.
 */
#ifndef NLT_STORE_FAULT_H
#define NLT_STORE_FAULT_H

#include <errno.h>
#include <signal.h>

#include "nlt_io.h"

typedef struct {
    _Atomic long calls;
    long fail_at;   /* number of the first call that fails; 0: none */
    bool transient; /* only that one fails */
    bool kills;     /* that one is the end of the process */
    _Atomic bool hit;
    bool has_free; /* what is free is free_bytes, not what the disk says */
    int64_t free_bytes;
} fx_fault_t;

static inline bool
fx_trip(void *ctx)
{
    fx_fault_t *f = ctx;
    long n = ++f->calls;
    bool fails =
        f->fail_at != 0 && (f->transient ? n == f->fail_at : n >= f->fail_at);

    if (fails) {
        f->hit = true;
    }
    if (fails && f->kills) {
        (void) raise(SIGKILL);
    }
    return fails;
}

static inline int
fx_open(void *ctx, int dir_fd, const char *name, int flags, unsigned mode)
{
    return fx_trip(ctx) ? -EIO
                        : nlt_io_posix.open(NULL, dir_fd, name, flags, mode);
}

/* Closing always works, or a test of crashes would run out of files. */
static inline int
fx_close_fd(void *ctx, int fd)
{
    (void) ctx;
    return nlt_io_posix.close(NULL, fd);
}

static inline ssize_t
fx_read(void *ctx, int fd, void *p, size_t n, int64_t off)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.read(NULL, fd, p, n, off);
}

/* The write that fails leaves half of it: a torn record. */
static inline ssize_t
fx_write_fd(void *ctx, int fd, const void *p, size_t n)
{
    fx_fault_t *f = ctx;

    if (f->kills && f->calls + 1 == f->fail_at) {
        (void) !nlt_io_posix.write(NULL, fd, p, n / 2);
    }
    if (fx_trip(ctx)) {
        if (f->calls == f->fail_at) {
            (void) !nlt_io_posix.write(NULL, fd, p, n / 2);
        }
        return -EIO;
    }
    return nlt_io_posix.write(NULL, fd, p, n);
}

/* What is tested is order and visibility, not the disk: syncs are counted,
 * not done. */
static inline int
fx_fsync(void *ctx, int fd)
{
    (void) fd;
    return fx_trip(ctx) ? -EIO : 0;
}

static inline int
fx_truncate(void *ctx, int fd, int64_t size)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.truncate(NULL, fd, size);
}

static inline int
fx_allocate(void *ctx, int fd, int64_t off, int64_t len)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.allocate(NULL, fd, off, len);
}

static inline int64_t
fx_size(void *ctx, int fd)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.size(NULL, fd);
}

static inline int
fx_stat(void *ctx, int dir_fd, const char *name, nlt_io_stat_t *out)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.stat(NULL, dir_fd, name, out);
}

static inline int
fx_mkdir(void *ctx, int dir_fd, const char *name, unsigned mode)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.mkdir(NULL, dir_fd, name, mode);
}

static inline int
fx_rename(void *ctx, int dir_fd, const char *from, const char *to)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.rename(NULL, dir_fd, from, to);
}

static inline int
fx_link(void *ctx, int dir_fd, const char *name, int to_fd,
        const char *to_name)
{
    return fx_trip(ctx)
               ? -EIO
               : nlt_io_posix.link(NULL, dir_fd, name, to_fd, to_name);
}

static inline int
fx_unlink(void *ctx, int dir_fd, const char *name)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.unlink(NULL, dir_fd, name);
}

static inline int
fx_rmdir(void *ctx, int dir_fd, const char *name)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.rmdir(NULL, dir_fd, name);
}

static inline int64_t
fx_free_bytes(void *ctx, int fd)
{
    const fx_fault_t *f = ctx;

    return fx_trip(ctx)  ? -EIO
           : f->has_free ? f->free_bytes
                         : nlt_io_posix.free_bytes(NULL, fd);
}

static inline int
fx_list(void *ctx, int dir_fd, bool (*cb)(void *cb_ctx, const char *name),
        void *cb_ctx)
{
    return fx_trip(ctx) ? -EIO : nlt_io_posix.list(NULL, dir_fd, cb, cb_ctx);
}

static inline nlt_io_t
fx_fault_io(fx_fault_t *f)
{
    return (nlt_io_t){.open = fx_open,
                      .close = fx_close_fd,
                      .read = fx_read,
                      .write = fx_write_fd,
                      .fsync = fx_fsync,
                      .fdatasync = fx_fsync,
                      .truncate = fx_truncate,
                      .allocate = fx_allocate,
                      .size = fx_size,
                      .stat = fx_stat,
                      .mkdir = fx_mkdir,
                      .rename = fx_rename,
                      .link = fx_link,
                      .unlink = fx_unlink,
                      .rmdir = fx_rmdir,
                      .free_bytes = fx_free_bytes,
                      .list = fx_list,
                      .ctx = f};
}

#endif

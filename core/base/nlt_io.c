/*
 * nlt_io.c - POSIX files behind the table, and what is built on the table.
 */
#include "nlt_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Retries a call that a signal interrupted; gives its value or -errno. */
#define RETRY(type, call)                                                     \
    do {                                                                      \
        type r_;                                                              \
                                                                              \
        do {                                                                  \
            r_ = (call);                                                      \
        } while (r_ < 0 && errno == EINTR);                                   \
        return r_ < 0 ? (type) -errno : r_;                                   \
    } while (0)

static int
posix_open(void *ctx, int dir_fd, const char *name, int flags, unsigned mode)
{
    (void) ctx;
    RETRY(int, openat(dir_fd, name, flags | O_CLOEXEC, (mode_t) mode));
}

/* Linux closes the descriptor also when it says EINTR: never retried. */
static int
posix_close(void *ctx, int fd)
{
    (void) ctx;
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static ssize_t
posix_read(void *ctx, int fd, void *p, size_t n, int64_t off)
{
    (void) ctx;
    RETRY(ssize_t, pread(fd, p, n, off));
}

static ssize_t
posix_write(void *ctx, int fd, const void *p, size_t n)
{
    (void) ctx;
    RETRY(ssize_t, write(fd, p, n));
}

static int
posix_fsync(void *ctx, int fd)
{
    (void) ctx;
    RETRY(int, fsync(fd));
}

static int
posix_fdatasync(void *ctx, int fd)
{
    (void) ctx;
    RETRY(int, fdatasync(fd));
}

static void
posix_write_back(void *ctx, int fd, int64_t off, int64_t len)
{
    (void) ctx;
    (void) sync_file_range(fd, off, len,
                           SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE
                               | SYNC_FILE_RANGE_WAIT_AFTER);
}

static int
posix_truncate(void *ctx, int fd, int64_t size)
{
    (void) ctx;
    RETRY(int, ftruncate(fd, size));
}

static int
posix_allocate(void *ctx, int fd, int64_t off, int64_t len)
{
    (void) ctx;
    RETRY(int, fallocate(fd, 0, off, len));
}

static int64_t
posix_size(void *ctx, int fd)
{
    struct stat st;

    (void) ctx;
    return fstat(fd, &st) < 0 ? -errno : (int64_t) st.st_size;
}

static int
posix_stat(void *ctx, int dir_fd, const char *name, nlt_io_stat_t *out)
{
    struct stat st;

    (void) ctx;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return -errno;
    }
    *out = (nlt_io_stat_t){
        .mode = st.st_mode,
        .uid = st.st_uid,
        .dev = st.st_dev,
        .ino = st.st_ino,
        .size = st.st_size,
        .mtime_ns =
            (int64_t) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
        .ctime_ns =
            (int64_t) st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
    };
    return 0;
}

static int
posix_mkdir(void *ctx, int dir_fd, const char *name, unsigned mode)
{
    (void) ctx;
    return mkdirat(dir_fd, name, (mode_t) mode) < 0 ? -errno : 0;
}

static int
posix_rename(void *ctx, int dir_fd, const char *from, const char *to)
{
    (void) ctx;
    return renameat(dir_fd, from, dir_fd, to) < 0 ? -errno : 0;
}

static int
posix_link(void *ctx, int dir_fd, const char *name, int to_fd,
           const char *to_name)
{
    (void) ctx;
    return linkat(dir_fd, name, to_fd, to_name, 0) < 0 ? -errno : 0;
}

static int
posix_unlink(void *ctx, int dir_fd, const char *name)
{
    (void) ctx;
    return unlinkat(dir_fd, name, 0) < 0 ? -errno : 0;
}

static int
posix_rmdir(void *ctx, int dir_fd, const char *name)
{
    (void) ctx;
    return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int64_t
posix_free_bytes(void *ctx, int fd)
{
    struct statvfs fs;
    int64_t bytes;

    (void) ctx;
    if (fstatvfs(fd, &fs) < 0) {
        return -errno;
    }
    return __builtin_mul_overflow(fs.f_bavail, fs.f_frsize, &bytes) ? INT64_MAX
                                                                    : bytes;
}

static int
posix_list(void *ctx, int dir_fd, bool (*cb)(void *cb_ctx, const char *name),
           void *cb_ctx)
{
    /* A description of its own: the caller's keeps its position. */
    int fd = posix_open(ctx, dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *dir;
    int rc;

    if (fd < 0) {
        return fd;
    }
    dir = fdopendir(fd);
    if (dir == NULL) {
        rc = -errno;
        (void) close(fd);
        return rc;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);

        if (entry == NULL) {
            rc = -errno;
            break;
        }
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            continue;
        }
        if (!cb(cb_ctx, name)) {
            rc = 0;
            break;
        }
    }
    (void) closedir(dir);
    return rc;
}

const nlt_io_t nlt_io_posix = {
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .fsync = posix_fsync,
    .fdatasync = posix_fdatasync,
    .write_back = posix_write_back,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .size = posix_size,
    .stat = posix_stat,
    .mkdir = posix_mkdir,
    .rename = posix_rename,
    .link = posix_link,
    .unlink = posix_unlink,
    .rmdir = posix_rmdir,
    .free_bytes = posix_free_bytes,
    .list = posix_list,
    .ctx = NULL,
};

nlt_rc_t
nlt_io_write_all(const nlt_io_t *io, int fd, const void *p, size_t n,
                 nlt_err_t *err)
{
    const char *from = p;

    while (n > 0) {
        ssize_t done = io->write(io->ctx, fd, from, n);

        if (done < 0) {
            return nlt_err_set_errno(err, NLT_EIO, (int) -done, "write");
        }
        if (done == 0) {
            return nlt_err_set(err, NLT_EIO, "write: nothing was written");
        }
        from += done;
        n -= (size_t) done;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_io_write_paced(const nlt_io_t *io, int fd, const void *p, size_t n,
                   uint64_t *unsynced, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_io_write_all(io, fd, p, n, err);
    int sys;

    *unsynced += n;
    if (rc != NLT_OK || *unsynced < NLT_IO_PACE_BYTES) {
        return rc;
    }
    *unsynced = 0;
    sys = io->fdatasync(io->ctx, fd);
    return sys < 0 ? nlt_err_set_errno(err, NLT_EIO, -sys, "fdatasync")
                   : NLT_OK;
}

nlt_rc_t
nlt_io_read_file(const nlt_io_t *io, int dir_fd, const char *name,
                 nlt_buf_t *out, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;
    int64_t off = 0;
    int fd = io->open(io->ctx, dir_fd, name, O_RDONLY, 0);

    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOENT ? NLT_ENOENT : NLT_EIO,
                                 -fd, "open \"%s\"", name);
    }
    /* One byte more than the size sees the end without growing for it. */
    int64_t size = io->size(io->ctx, fd);
    size_t step = size > 0 ? (size_t) size + 1 : 4096;

    for (;;) {
        size_t room = out->max - out->len;
        char probe;
        char *to = &probe;

        /* At the maximum a byte is read aside, to tell full from too big. */
        if (room > 0) {
            step = step < room ? step : room;
            to = nlt_buf_reserve(out, step);
            if (to == NULL) {
                rc = nlt_err_set(err, out->rc, "read \"%s\": %s", name,
                                 nlt_rc_text(out->rc));
                break;
            }
        }
        ssize_t got = io->read(io->ctx, fd, to, room > 0 ? step : 1, off);
        if (got < 0) {
            rc = nlt_err_set_errno(err, NLT_EIO, (int) -got, "read \"%s\"",
                                   name);
            break;
        }
        if (got == 0) {
            break;
        }
        if (room == 0) {
            rc =
                nlt_err_set(err, NLT_ETOOBIG,
                            "\"%s\" is longer than %zu bytes", name, out->max);
            break;
        }
        nlt_buf_advance(out, (size_t) got);
        off += got;
        step = 64 << 10;
    }
    (void) io->close(io->ctx, fd);
    return rc;
}

/* Writes and fsyncs a new file; what it could not finish stays behind. */
static nlt_rc_t
write_durable(const nlt_io_t *io, int dir_fd, const char *name, const void *p,
              size_t n, nlt_err_t *err)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW;
    int fd = io->open(io->ctx, dir_fd, name, flags, 0600);
    nlt_rc_t rc;
    int sys;

    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "create \"%s\"", name);
    }
    rc = nlt_io_write_all(io, fd, p, n, err);
    if (rc == NLT_OK && (sys = io->fsync(io->ctx, fd)) < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, -sys, "fsync \"%s\"", name);
    }
    sys = io->close(io->ctx, fd);
    if (rc == NLT_OK && sys < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, -sys, "close \"%s\"", name);
    }
    return rc;
}

nlt_rc_t
nlt_io_replace_file(const nlt_io_t *io, int dir_fd, const char *name,
                    const void *p, size_t n, nlt_err_t *err)
{
    char tmp[256];
    nlt_rc_t rc;
    int sys = snprintf(tmp, sizeof(tmp), "%s.tmp", name);

    if (sys < 0 || (size_t) sys >= sizeof(tmp)) {
        return nlt_err_set(err, NLT_EINVAL, "name of %zu bytes is too long",
                           strlen(name));
    }
    rc = write_durable(io, dir_fd, tmp, p, n, err);
    if (rc != NLT_OK) {
        (void) io->unlink(io->ctx, dir_fd, tmp);
        return rc;
    }
    sys = io->rename(io->ctx, dir_fd, tmp, name);
    if (sys < 0) {
        (void) io->unlink(io->ctx, dir_fd, tmp);
        return nlt_err_set_errno(err, NLT_EIO, -sys, "rename \"%s\"", tmp);
    }
    return nlt_io_sync_dir(io, dir_fd, err);
}

nlt_rc_t
nlt_io_sync_dir(const nlt_io_t *io, int dir_fd, nlt_err_t *err)
{
    /* The descriptor given may be an O_PATH one, or AT_FDCWD. */
    int fd = io->open(io->ctx, dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    int sys;

    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "open directory");
    }
    sys = io->fsync(io->ctx, fd);
    (void) io->close(io->ctx, fd);
    if (sys < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -sys, "fsync directory");
    }
    return NLT_OK;
}

#define REMOVE_DEPTH_MAX 8

typedef struct {
    const nlt_io_t *io;
    int dir_fd;
    unsigned depth;
    nlt_rc_t rc;
    nlt_err_t *err;
} remove_t;

static nlt_rc_t remove_at(const nlt_io_t *io, int dir_fd, const char *name,
                          unsigned depth, nlt_err_t *err);

static bool
remove_entry_cb(void *cb_ctx, const char *name)
{
    remove_t *r = cb_ctx;

    r->rc = remove_at(r->io, r->dir_fd, name, r->depth + 1, r->err);
    return r->rc == NLT_OK;
}

/* Empties the directory; entries may be skipped while others go. */
static nlt_rc_t
remove_entries(const nlt_io_t *io, int dir_fd, const char *name,
               unsigned depth, nlt_err_t *err)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    int fd = io->open(io->ctx, dir_fd, name, flags, 0);
    int sys;

    if (fd == -ENOENT) {
        return NLT_OK;
    }
    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "open \"%s\"", name);
    }
    remove_t r = {io, fd, depth, NLT_OK, err};

    sys = io->list(io->ctx, fd, remove_entry_cb, &r);
    (void) io->close(io->ctx, fd);
    if (r.rc == NLT_OK && sys < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -sys, "list \"%s\"", name);
    }
    return r.rc;
}

/* unlink says EISDIR (Linux) or EPERM (POSIX) of a directory. */
static nlt_rc_t
remove_at(const nlt_io_t *io, int dir_fd, const char *name, unsigned depth,
          nlt_err_t *err)
{
    int sys = io->unlink(io->ctx, dir_fd, name);
    nlt_rc_t rc;

    if (sys >= 0 || sys == -ENOENT) {
        return NLT_OK;
    }
    if (sys != -EISDIR && sys != -EPERM) {
        return nlt_err_set_errno(err, NLT_EIO, -sys, "remove \"%s\"", name);
    }
    if (depth >= REMOVE_DEPTH_MAX) {
        return nlt_err_set(err, NLT_ELIMIT,
                           "remove \"%s\": more than %d levels deep", name,
                           REMOVE_DEPTH_MAX);
    }
    rc = remove_entries(io, dir_fd, name, depth, err);
    if (rc != NLT_OK) {
        return rc;
    }
    sys = io->rmdir(io->ctx, dir_fd, name);
    if (sys < 0 && sys != -ENOENT) {
        return nlt_err_set_errno(err, NLT_EIO, -sys, "remove \"%s\"", name);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_io_remove_tree(const nlt_io_t *io, int dir_fd, const char *name,
                   nlt_err_t *err)
{
    return remove_at(io, dir_fd, name, 0, err);
}

static nlt_rc_t
map_fd(int fd, size_t len, int prot, void **out, nlt_err_t *err)
{
    void *p;

    *out = NULL;
    if (len == 0) {
        return nlt_err_set(err, NLT_EINVAL, "mmap of an empty file");
    }
    p = mmap(NULL, len, prot, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return nlt_err_set_errno(err, NLT_EIO, errno, "mmap of %zu bytes",
                                 len);
    }
    *out = p;
    return NLT_OK;
}

nlt_rc_t
nlt_map_read(int fd, size_t len, const uint8_t **out, nlt_err_t *err)
{
    void *p;
    nlt_rc_t rc = map_fd(fd, len, PROT_READ, &p, err);

    *out = p;
    return rc;
}

nlt_rc_t
nlt_map_shared(int fd, size_t len, uint8_t **out, nlt_err_t *err)
{
    void *p;
    nlt_rc_t rc = map_fd(fd, len, PROT_READ | PROT_WRITE, &p, err);

    *out = p;
    return rc;
}

void
nlt_map_forget(const void *p, size_t len)
{
    uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t) p + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t) p + len) & ~(page - 1);

    if (from < to) {
        (void) madvise((void *) from, (size_t) (to - from), MADV_DONTNEED);
    }
}

void
nlt_unmap(const void *p, size_t len)
{
    /* munmap takes what mmap gave; the const is our promise, not its. */
    (void) munmap((void *) (uintptr_t) p, len);
}

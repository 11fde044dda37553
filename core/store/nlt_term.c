/*
 * nlt_term.c - the file `term`.
 *
 * It is written in place, never renamed: processes have it mapped.  The
 * number lies in its first 8 bytes, which no crash tears.
 */
#include "nlt_term.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

#include "nlt_bytes.h"
#include "nlt_filenames.h"

_Static_assert(sizeof(_Atomic uint64_t) == 8, "the file has a plain u64");

static nlt_rc_t
write_at_start(const nlt_env_t *env, int dir_fd, int flags, const uint8_t *p,
               size_t n, nlt_err_t *err)
{
    const nlt_io_t *io = env->io;
    int fd = io->open(io->ctx, dir_fd, NLT_FILE_TERM,
                      O_RDWR | O_NOFOLLOW | flags, 0600);
    nlt_rc_t rc = NLT_OK;
    ssize_t done;

    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd,
                                 "open \"" NLT_FILE_TERM "\"");
    }
    done = io->write(io->ctx, fd, p, n);
    if (done < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, (int) -done,
                               "write \"" NLT_FILE_TERM "\"");
    } else if ((size_t) done < n) {
        rc = nlt_err_set_errno(err, NLT_EIO, ENOSPC,
                               "write \"" NLT_FILE_TERM "\"");
    }
    (void) io->close(io->ctx, fd);
    return rc;
}

static nlt_rc_t
newer(int64_t size, nlt_err_t *err)
{
    return nlt_err_set(err, NLT_EVERSION,
                       "\"" NLT_FILE_TERM "\" has %lld bytes, this program "
                       "knows a format of %d",
                       (long long) size, NLT_TERM_BYTES);
}

nlt_rc_t
nlt_term_prepare(const nlt_env_t *env, int dir_fd, nlt_err_t *err)
{
    static const uint8_t zeros[NLT_TERM_BYTES];
    const nlt_io_t *io = env->io;
    int64_t size = 0;
    int fd =
        io->open(io->ctx, dir_fd, NLT_FILE_TERM, O_RDONLY | O_NOFOLLOW, 0);

    if (fd >= 0) {
        size = io->size(io->ctx, fd);
        (void) io->close(io->ctx, fd);
        if (size < 0) {
            return nlt_err_set_errno(err, NLT_EIO, (int) -size,
                                     "size of \"" NLT_FILE_TERM "\"");
        }
    } else if (fd != -ENOENT) {
        return nlt_err_set_errno(err, NLT_EIO, -fd,
                                 "open \"" NLT_FILE_TERM "\"");
    }
    if (size > NLT_TERM_BYTES) {
        return newer(size, err);
    }
    /* One that is cut off was mapped by nobody. */
    return size >= NLT_TERM_BYTES ? NLT_OK
                                  : write_at_start(env, dir_fd, O_CREAT, zeros,
                                                   sizeof(zeros), err);
}

nlt_rc_t
nlt_term_open(const nlt_env_t *env, int dir_fd, const _Atomic uint64_t **out,
              nlt_err_t *err)
{
    const nlt_io_t *io = env->io;
    int fd =
        io->open(io->ctx, dir_fd, NLT_FILE_TERM, O_RDONLY | O_NOFOLLOW, 0);
    const uint8_t *p = NULL;
    int64_t size;
    nlt_rc_t rc;

    *out = NULL;
    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd,
                                 "open \"" NLT_FILE_TERM "\"");
    }
    size = io->size(io->ctx, fd);
    if (size < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, (int) -size,
                               "size of \"" NLT_FILE_TERM "\"");
    } else if (size < NLT_TERM_BYTES) {
        rc = nlt_err_set(err, NLT_EDATA, "\"" NLT_FILE_TERM "\" is cut off");
    } else if (size > NLT_TERM_BYTES) {
        rc = newer(size, err);
    } else {
        rc = nlt_map_read(fd, NLT_TERM_BYTES, &p, err);
    }
    (void) io->close(io->ctx, fd);
    if (rc == NLT_OK) {
        *out = (const _Atomic uint64_t *) (const void *) p;
    }
    return rc;
}

void
nlt_term_close(const _Atomic uint64_t *term)
{
    if (term != NULL) {
        nlt_unmap(term, NLT_TERM_BYTES);
    }
}

/* The whole file; false: it cannot be read. */
static bool
read_all(const nlt_env_t *env, int dir_fd, uint8_t *buf)
{
    const nlt_io_t *io = env->io;
    int fd =
        io->open(io->ctx, dir_fd, NLT_FILE_TERM, O_RDONLY | O_NOFOLLOW, 0);
    ssize_t n;

    if (fd < 0) {
        return false;
    }
    n = io->read(io->ctx, fd, buf, NLT_TERM_BYTES, 0);
    (void) io->close(io->ctx, fd);
    return n == NLT_TERM_BYTES;
}

void
nlt_term_head_path(const nlt_env_t *env, int dir_fd, char *out)
{
    uint8_t buf[NLT_TERM_BYTES];

    out[0] = '\0';
    if (read_all(env, dir_fd, buf)) {
        memcpy(out, buf + 8, NLT_TERM_PATH_MAX);
        out[NLT_TERM_PATH_MAX - 1] = '\0';
    }
}

nlt_rc_t
nlt_term_begin(const nlt_env_t *env, int dir_fd, const char *head_path,
               nlt_err_t *err)
{
    uint8_t buf[NLT_TERM_BYTES];
    size_t n = strlen(head_path);

    if (n >= NLT_TERM_PATH_MAX) {
        return nlt_err_set(err, NLT_EINVAL, "path of the head is too long");
    }
    if (!read_all(env, dir_fd, buf)) {
        return nlt_err_set(err, NLT_EIO, "cannot read \"" NLT_FILE_TERM "\"");
    }
    nlt_put_le64(buf, nlt_le64(buf) + 1);
    memset(buf + 8, 0, NLT_TERM_PATH_MAX);
    memcpy(buf + 8, head_path, n);
    return write_at_start(env, dir_fd, 0, buf, sizeof(buf), err);
}

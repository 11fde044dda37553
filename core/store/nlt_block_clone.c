/*
 * nlt_block_clone.c - links and copies of a block's files.
 */
#include "nlt_block_clone.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_chunk_file.h"
#include "nlt_hash.h"

#define COPY_BYTES   (1u << 20)
#define SYNC_BYTES   (8 << 20)
#define SEGMENTS_MAX 999999u

/* ---- looking ---- */

static void
add_print(nlt_block_look_t *l, const nlt_io_stat_t *st)
{
    int64_t v[] = {st->size, st->mtime_ns, st->uid, st->mode,
                   (int64_t) st->ino};
    bool is_dir = S_ISDIR(st->mode);

    /* What is linked to, or moved, has another ctime; a directory that gets
     * or loses anything has another time and size. */
    l->content =
        nlt_hash64(v + 2 * is_dir, sizeof(v) - 16 * is_dir, l->content);
    l->print = nlt_hash64(v, sizeof(v), l->print);
    l->print = nlt_hash64(&st->ctime_ns, sizeof(st->ctime_ns), l->print);
    l->bytes += is_dir || st->size < 0 ? 0 : (uint64_t) st->size;
}

/* Whether it is what somebody made of it, or the disk. */
static nlt_rc_t
rc_of(int sys)
{
    switch (sys) {
    case -ENOENT:
        return NLT_ENOENT;
    case -EACCES:
    case -EPERM:
    case -ELOOP:
    case -ENOTDIR:
        return NLT_EDATA;
    case -ENOSPC:
    case -EDQUOT:
        return NLT_EFULL;
    default:
        return NLT_EIO;
    }
}

static nlt_rc_t
look_at(const nlt_env_t *env, int dir_fd, const char *name, bool directory,
        nlt_block_look_t *l, nlt_err_t *err)
{
    nlt_io_stat_t st;
    int sys = env->io->stat(env->io->ctx, dir_fd, name, &st);

    if (sys < 0) {
        return nlt_err_set_errno(err, rc_of(sys), -sys, "cannot look at %s",
                                 name);
    }
    if (directory ? !S_ISDIR(st.mode) : !S_ISREG(st.mode)) {
        return nlt_err_set(err, NLT_EDATA, "%s is no %s", name,
                           directory ? "directory" : "plain file");
    }
    add_print(l, &st);
    return NLT_OK;
}

static int
open_dir(const nlt_env_t *env, int dir_fd, const char *name, nlt_rc_t *rc,
         nlt_err_t *err)
{
    int fd = env->io->open(env->io->ctx, dir_fd, name,
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

    if (fd < 0) {
        *rc = nlt_err_set_errno(err, rc_of(fd), -fd, "cannot open %s", name);
    }
    return fd;
}

static nlt_rc_t
look_in_chunks(const nlt_env_t *env, int fd, nlt_block_look_t *l,
               nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    for (uint32_t i = 0; rc == NLT_OK && i < SEGMENTS_MAX; i++) {
        char name[NLT_CHUNK_FILE_NAME_BYTES];

        nlt_chunk_file_name(name, i);
        rc = look_at(env, fd, name, false, l, err);
    }
    return rc == NLT_ENOENT ? NLT_OK : rc;
}

static const char *const plain_files[] = {"meta.json", "index", "tombstones"};

nlt_rc_t
nlt_block_look(const nlt_env_t *env, int dir_fd, const char *name,
               nlt_block_look_t *out, nlt_err_t *err)
{
    nlt_rc_t rc;
    int fd, chunks_fd;

    *out = (nlt_block_look_t){0, 0, 0};
    rc = look_at(env, dir_fd, name, true, out, err);
    if (rc != NLT_OK) {
        return rc;
    }
    fd = open_dir(env, dir_fd, name, &rc, err);
    if (fd < 0) {
        return rc;
    }
    for (size_t i = 0; i < NLT_COUNT(plain_files); i++) {
        rc = look_at(env, fd, plain_files[i], false, out, err);
        if (rc != NLT_OK && rc != NLT_ENOENT) {
            break;
        }
        /* Which of them are there counts too. */
        out->print = nlt_hash64(&rc, sizeof(rc), out->print);
        out->content = nlt_hash64(&rc, sizeof(rc), out->content);
        rc = NLT_OK;
    }
    if (rc == NLT_OK) {
        rc = look_at(env, fd, "chunks", true, out, err);
    }
    if (rc == NLT_OK) {
        chunks_fd = open_dir(env, fd, "chunks", &rc, err);
        if (chunks_fd >= 0) {
            rc = look_in_chunks(env, chunks_fd, out, err);
            (void) env->io->close(env->io->ctx, chunks_fd);
        }
    }
    (void) env->io->close(env->io->ctx, fd);
    return rc == NLT_ENOENT ? NLT_OK : rc;
}

/* ---- cloning ---- */

typedef struct {
    const nlt_env_t *env;
    const nlt_block_clone_conf_t *conf;
    char *buf; /* COPY_BYTES, made when first needed */
    uint64_t copied;
    nlt_err_t *err;
} cloner_t;

static nlt_rc_t
poll_clone(const cloner_t *c)
{
    return c->conf->poll ? c->conf->poll(c->conf->poll_ctx) : NLT_OK;
}

static nlt_rc_t
failed(const cloner_t *c, int sys, const char *what, const char *name)
{
    return nlt_err_set_errno(c->err, rc_of(sys), -sys, "cannot %s %s", what,
                             name);
}

/* By parts, so that no single call waits for all of a large file. */
static nlt_rc_t
sync_file(const cloner_t *c, int fd, const char *name)
{
    const nlt_io_t *io = c->env->io;
    int64_t size = io->size(io->ctx, fd);
    nlt_rc_t rc = NLT_OK;
    int sys;

    for (int64_t off = 0; rc == NLT_OK && off < size; off += SYNC_BYTES) {
        if (io->write_back != NULL) {
            io->write_back(io->ctx, fd, off, SYNC_BYTES);
        }
        rc = poll_clone(c);
    }
    if (rc == NLT_OK && (sys = io->fsync(io->ctx, fd)) < 0) {
        rc = failed(c, sys, "sync", name);
    }
    return rc;
}

static nlt_rc_t
copy_bytes(cloner_t *c, int from, int to, const char *name)
{
    const nlt_io_t *io = c->env->io;
    nlt_rc_t rc = NLT_OK;

    for (int64_t off = 0; rc == NLT_OK;) {
        ssize_t n = io->read(io->ctx, from, c->buf, COPY_BYTES, off);

        if (n < 0) {
            return failed(c, (int) n, "read", name);
        }
        if (n == 0) {
            return sync_file(c, to, name);
        }
        off += n;
        c->copied += (uint64_t) n;
        for (ssize_t done = 0; done < n;) {
            ssize_t put =
                io->write(io->ctx, to, c->buf + done, (size_t) (n - done));

            if (put <= 0) {
                return failed(c, put < 0 ? (int) put : -EIO, "write", name);
            }
            done += put;
        }
        if (off % SYNC_BYTES < n && io->write_back != NULL) {
            io->write_back(io->ctx, to, nlt_max_i64(0, off - SYNC_BYTES - n),
                           SYNC_BYTES + n);
        }
        rc = poll_clone(c);
    }
    return rc;
}

static nlt_rc_t
copy_file(cloner_t *c, int from_fd, int to_fd, const char *name, int64_t size)
{
    const nlt_io_t *io = c->env->io;
    int64_t room = io->free_bytes(io->ctx, to_fd);
    int from, to;
    nlt_rc_t rc;

    if (room >= 0 && (uint64_t) room < (uint64_t) size + c->conf->room_bytes) {
        return nlt_err_set(c->err, NLT_EFULL,
                           "no room to copy %lld bytes of %s",
                           (long long) size, name);
    }
    if (c->buf == NULL) {
        c->buf = c->env->mem->alloc(c->env->mem->ctx, COPY_BYTES);
        if (c->buf == NULL) {
            return nlt_err_set(c->err, NLT_ENOMEM, "no memory to copy %s",
                               name);
        }
    }
    /* What has become a pipe since it was looked at must not be waited for. */
    from = io->open(io->ctx, from_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
                    0);
    if (from < 0) {
        return failed(c, from, "open", name);
    }
    to = io->open(io->ctx, to_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (to < 0) {
        rc = failed(c, to, "create", name);
    } else {
        rc = copy_bytes(c, from, to, name);
        (void) io->close(io->ctx, to);
    }
    (void) io->close(io->ctx, from);
    return rc;
}

static nlt_rc_t
sync_link(cloner_t *c, int to_fd, const char *name)
{
    const nlt_io_t *io = c->env->io;
    int fd =
        io->open(io->ctx, to_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    nlt_rc_t rc;

    if (fd < 0) {
        return failed(c, fd, "open", name);
    }
    rc = sync_file(c, fd, name);
    (void) io->close(io->ctx, fd);
    return rc;
}

/* Is it a reason to copy, not to give up? */
static bool
cannot_link(int sys)
{
    return sys == -EXDEV || sys == -EPERM || sys == -EACCES || sys == -EMLINK
           || sys == -EOPNOTSUPP || sys == -ENOSYS;
}

static nlt_rc_t
clone_file(cloner_t *c, int from_fd, int to_fd, const char *name)
{
    const nlt_io_t *io = c->env->io;
    nlt_io_stat_t st;
    int sys = io->stat(io->ctx, from_fd, name, &st);

    if (sys < 0) {
        return failed(c, sys, "look at", name);
    }
    if (!S_ISREG(st.mode)) {
        return nlt_err_set(c->err, NLT_EDATA, "%s is no plain file", name);
    }
    if (st.uid == geteuid() && (st.mode & 022) == 0) {
        sys = io->link(io->ctx, from_fd, name, to_fd, name);
        if (sys >= 0) {
            return c->conf->durable ? sync_link(c, to_fd, name) : NLT_OK;
        }
        if (!cannot_link(sys)) {
            return failed(c, sys, "link", name);
        }
    }
    return copy_file(c, from_fd, to_fd, name, st.size);
}

static nlt_rc_t
clone_chunks(cloner_t *c, int from_fd, int to_fd)
{
    nlt_rc_t rc = NLT_OK;

    for (uint32_t i = 0; rc == NLT_OK && i < SEGMENTS_MAX; i++) {
        char name[NLT_CHUNK_FILE_NAME_BYTES];

        nlt_chunk_file_name(name, i);
        rc = clone_file(c, from_fd, to_fd, name);
        if (rc == NLT_ENOENT && i > 0) {
            rc = NLT_OK; /* behind the last */
            break;
        }
        if (rc == NLT_OK) {
            rc = poll_clone(c);
        }
    }
    return rc == NLT_OK ? nlt_io_sync_dir(c->env->io, to_fd, c->err) : rc;
}

/* Makes the directory `to` and opens both. */
static nlt_rc_t
pair_dirs(cloner_t *c, int from_fd, const char *from, int to_fd,
          const char *to, int fds[2])
{
    const nlt_io_t *io = c->env->io;
    nlt_rc_t rc = NLT_OK;
    int sys;

    fds[1] = -1;
    fds[0] = open_dir(c->env, from_fd, from, &rc, c->err);
    if (fds[0] < 0) {
        return rc;
    }
    sys = io->mkdir(io->ctx, to_fd, to, 0700);
    if (sys < 0) {
        return failed(c, sys, "mkdir", to);
    }
    fds[1] = open_dir(c->env, to_fd, to, &rc, c->err);
    if (fds[1] < 0) {
        (void) io->rmdir(io->ctx, to_fd, to);
    }
    return rc;
}

static void
close_pair(const cloner_t *c, const int fds[2])
{
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            (void) c->env->io->close(c->env->io->ctx, fds[i]);
        }
    }
}

static nlt_rc_t
clone_files(cloner_t *c, const int dirs[2])
{
    int chunks[2] = {-1, -1};
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; rc == NLT_OK && i < NLT_COUNT(plain_files); i++) {
        bool optional = strcmp(plain_files[i], "tombstones") == 0;

        if (optional && c->conf->no_tombstones) {
            continue;
        }
        rc = clone_file(c, dirs[0], dirs[1], plain_files[i]);
        if (rc == NLT_ENOENT && optional) {
            rc = NLT_OK;
        }
    }
    if (rc == NLT_OK) {
        rc = pair_dirs(c, dirs[0], "chunks", dirs[1], "chunks", chunks);
        if (rc == NLT_OK) {
            rc = clone_chunks(c, chunks[0], chunks[1]);
        }
        close_pair(c, chunks);
    }
    return rc == NLT_OK ? nlt_io_sync_dir(c->env->io, dirs[1], c->err) : rc;
}

nlt_rc_t
nlt_block_clone(const nlt_env_t *env, int from_fd, const char *from, int to_fd,
                const char *to, const nlt_block_clone_conf_t *conf,
                uint64_t *copied, nlt_err_t *err)
{
    cloner_t c = {.env = env, .conf = conf, .err = err};
    int dirs[2] = {-1, -1};
    nlt_rc_t rc = pair_dirs(&c, from_fd, from, to_fd, to, dirs);

    if (rc == NLT_OK) {
        rc = clone_files(&c, dirs);
    }
    if (rc != NLT_OK && dirs[1] >= 0) {
        nlt_err_t ignored;

        (void) !nlt_io_remove_tree(env->io, to_fd, to, &ignored);
    }
    close_pair(&c, dirs);
    nlt_mem_free(env->mem, c.buf, COPY_BYTES);
    if (copied != NULL) {
        *copied = c.copied;
    }
    return rc;
}

/*
 * nlt_helper_lease.c - who is the helper, and who waits to be the next.
 *
 * Both are locks of open files, so that any death gives them up: the lease an
 * exclusive one on `lock`, waiting a shared one on `lock.next`.  To see
 * whether somebody waits, the helper tries to lock `lock.next` exclusively and
 * lets go at once; who comes in that instant is told to try again.
 */
#include "nlt_helper_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

static nlt_rc_t
open_lock(const nlt_env_t *env, int dir_fd, const char *path, const char *name,
          int *fd, nlt_err_t *err)
{
    *fd = env->io->open(env->io->ctx, dir_fd, name,
                        O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    return *fd < 0 ? nlt_err_set_errno(err, NLT_EIO, -*fd, "open \"%s/%s\"",
                                       path, name)
                   : NLT_OK;
}

static nlt_rc_t
lock(int fd, int how, const char *path, nlt_err_t *err)
{
    if (flock(fd, how | LOCK_NB) == 0) {
        return NLT_OK;
    }
    return nlt_err_set_errno(err, errno == EWOULDBLOCK ? NLT_AGAIN : NLT_EIO,
                             errno, "lease of \"%s\"", path);
}

nlt_rc_t
nlt_helper_take_lease(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_rc_t rc = open_lock(h->env, h->dir.dir_fd, h->path, NLT_FILE_LOCK,
                            &h->lock_fd, err);

    if (rc == NLT_OK) {
        rc = open_lock(h->env, h->dir.dir_fd, h->path, NLT_FILE_LOCK_NEXT,
                       &h->next_fd, err);
    }
    return rc == NLT_OK ? lock(h->lock_fd, LOCK_EX, h->path, err) : rc;
}

static void
close_fd(const nlt_env_t *env, int *fd)
{
    if (*fd >= 0) {
        (void) env->io->close(env->io->ctx, *fd);
        *fd = -1;
    }
}

void
nlt_helper_drop_lease(nlt_helper_t *h)
{
    close_fd(h->env, &h->lock_fd);
    close_fd(h->env, &h->next_fd);
}

nlt_rc_t
nlt_helper_announce(const nlt_env_t *env, const nlt_store_conf_t *conf,
                    int *fd, nlt_err_t *err)
{
    int dir_fd = env->io->open(env->io->ctx, AT_FDCWD, conf->path,
                               O_RDONLY | O_DIRECTORY, 0);
    nlt_rc_t rc;

    *fd = -1;
    if (dir_fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -dir_fd, "open \"%s\"",
                                 conf->path);
    }
    rc = open_lock(env, dir_fd, conf->path, NLT_FILE_LOCK_NEXT, fd, err);
    (void) env->io->close(env->io->ctx, dir_fd);
    if (rc == NLT_OK) {
        rc = lock(*fd, LOCK_SH, conf->path, err);
    }
    if (rc != NLT_OK) {
        nlt_helper_withdraw(env, *fd);
        *fd = -1;
    }
    return rc;
}

void
nlt_helper_withdraw(const nlt_env_t *env, int fd)
{
    close_fd(env, &fd);
}

bool
nlt_helper_is_awaited(const nlt_helper_t *h)
{
    if (flock(h->next_fd, LOCK_EX | LOCK_NB) == 0) {
        (void) flock(h->next_fd, LOCK_UN);
        return false;
    }
    return errno == EWOULDBLOCK;
}

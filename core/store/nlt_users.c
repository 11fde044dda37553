/*
 * nlt_users.c - the file `users`.
 */
#include "nlt_users.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "nlt_bytes.h"
#include "nlt_filenames.h"

typedef struct {
    uint64_t pid_ns; /* 0: not known */
    uint64_t mnt_ns;
    uint64_t head_dev;
    uint64_t head_ino;
} place_t;

/*
 * Number of a namespace; 0 without /proc.  An open that fails for another
 * reason may succeed next time: who took that for 0 would be a stranger to all
 * who know theirs.
 */
static nlt_rc_t
ns_of(const nlt_env_t *env, const char *path, uint64_t *ino, nlt_err_t *err)
{
    int fd = env->io->open(env->io->ctx, AT_FDCWD, path, O_RDONLY, 0);
    struct stat st;

    *ino = 0;
    if (fd >= 0) {
        *ino = fstat(fd, &st) == 0 ? (uint64_t) st.st_ino : 0;
        (void) env->io->close(env->io->ctx, fd);
        return NLT_OK;
    }
    return fd == -ENOENT || fd == -ENOTDIR || fd == -EACCES || fd == -EPERM
               ? NLT_OK
               : nlt_err_set_errno(err, NLT_EIO, -fd, "open \"%s\"", path);
}

static nlt_rc_t
our_place(const nlt_env_t *env, int head_fd, place_t *p, nlt_err_t *err)
{
    struct stat st;
    nlt_rc_t rc;

    if (fstat(head_fd, &st) < 0) {
        return nlt_err_set_errno(err, NLT_EIO, errno,
                                 "stat of the directory of the head");
    }
    *p = (place_t){.head_dev = (uint64_t) st.st_dev,
                   .head_ino = (uint64_t) st.st_ino};
    rc = ns_of(env, "/proc/self/ns/pid", &p->pid_ns, err);
    return rc == NLT_OK ? ns_of(env, "/proc/self/ns/mnt", &p->mnt_ns, err)
                        : rc;
}

static bool
can_share(const place_t *a, const place_t *b)
{
    return a->pid_ns == b->pid_ns
           && (a->mnt_ns == b->mnt_ns
               || (a->head_dev == b->head_dev && a->head_ino == b->head_ino));
}

static nlt_rc_t
open_users(const nlt_env_t *env, int dir_fd, int flags, int *fd,
           nlt_err_t *err)
{
    *fd = env->io->open(env->io->ctx, dir_fd, NLT_FILE_USERS,
                        O_RDWR | O_NOFOLLOW | flags, 0600);
    if (*fd == -ENOENT) {
        return nlt_err_set(err, NLT_AGAIN,
                           "no helper has been at this store yet");
    }
    return *fd < 0 ? nlt_err_set_errno(err, NLT_EIO, -*fd,
                                       "open \"" NLT_FILE_USERS "\"")
                   : NLT_OK;
}

/* What the file says; false: nothing. */
static bool
read_place(const nlt_env_t *env, int fd, place_t *p)
{
    uint8_t b[NLT_USERS_BYTES];

    if (env->io->read(env->io->ctx, fd, b, sizeof(b), 0)
        != (ssize_t) sizeof(b)) {
        return false;
    }
    *p = (place_t){nlt_le64(b), nlt_le64(b + 8), nlt_le64(b + 16),
                   nlt_le64(b + 24)};
    return true;
}

static nlt_rc_t
write_place(const nlt_env_t *env, int fd, const place_t *p, nlt_err_t *err)
{
    uint8_t b[NLT_USERS_BYTES];
    ssize_t n;

    nlt_put_le64(b, p->pid_ns);
    nlt_put_le64(b + 8, p->mnt_ns);
    nlt_put_le64(b + 16, p->head_dev);
    nlt_put_le64(b + 24, p->head_ino);
    n = env->io->write(env->io->ctx, fd, b, sizeof(b));
    return n == (ssize_t) sizeof(b)
               ? NLT_OK
               : nlt_err_set_errno(err, NLT_EIO, n < 0 ? (int) -n : ENOSPC,
                                   "write \"" NLT_FILE_USERS "\"");
}

static nlt_rc_t
elsewhere(const place_t *users, const place_t *us, nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOTREADY,
                       "the store is in use by processes of another "
                       "container, whose %s we do not see; this one takes "
                       "over when they have gone",
                       users->pid_ns == us->pid_ns ? "head"
                                                   : "process numbers");
}

/* With the shared lock: are the users where we are? */
static nlt_rc_t
check_place(const nlt_env_t *env, int fd, const place_t *us, nlt_err_t *err)
{
    place_t users;

    if (!read_place(env, fd, &users)) {
        return nlt_err_set(err, NLT_AGAIN,
                           "no helper has been at this store yet");
    }
    return can_share(&users, us) ? NLT_OK : elsewhere(&users, us, err);
}

static nlt_rc_t
lock_shared(int fd, nlt_err_t *err)
{
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
        return NLT_OK;
    }
    return nlt_err_set_errno(err, errno == EWOULDBLOCK ? NLT_AGAIN : NLT_EIO,
                             errno, "lock of \"" NLT_FILE_USERS "\"");
}

nlt_rc_t
nlt_users_join(const nlt_env_t *env, int dir_fd, int head_fd, int *fd,
               nlt_err_t *err)
{
    place_t us;
    nlt_rc_t rc = our_place(env, head_fd, &us, err);

    *fd = -1;
    if (rc == NLT_OK) {
        rc = open_users(env, dir_fd, 0, fd, err);
    }
    if (rc == NLT_OK) {
        rc = lock_shared(*fd, err);
    }
    if (rc == NLT_OK) {
        rc = check_place(env, *fd, &us, err);
    }
    if (rc != NLT_OK) {
        nlt_users_leave(env, fd);
    }
    return rc;
}

/* With the lease: nobody else tries to get the lock for himself alone. */
static nlt_rc_t
lead(const nlt_env_t *env, int fd, const place_t *us, nlt_err_t *err)
{
    place_t users;
    nlt_rc_t rc;

    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        rc = write_place(env, fd, us, err);
        return rc == NLT_OK ? lock_shared(fd, err) : rc;
    }
    if (errno != EWOULDBLOCK) {
        return nlt_err_set_errno(err, NLT_EIO, errno,
                                 "lock of \"" NLT_FILE_USERS "\"");
    }
    /* Users that the file does not know came in before it was written. */
    if (read_place(env, fd, &users) && !can_share(&users, us)) {
        return elsewhere(&users, us, err);
    }
    rc = write_place(env, fd, us, err);
    return rc == NLT_OK ? lock_shared(fd, err) : rc;
}

nlt_rc_t
nlt_users_lead(const nlt_env_t *env, int dir_fd, int head_fd, int *fd,
               nlt_err_t *err)
{
    place_t us;
    nlt_rc_t rc = our_place(env, head_fd, &us, err);

    *fd = -1;
    if (rc == NLT_OK) {
        rc = open_users(env, dir_fd, O_CREAT, fd, err);
    }
    if (rc == NLT_OK) {
        rc = lead(env, *fd, &us, err);
    }
    if (rc != NLT_OK) {
        nlt_users_leave(env, fd);
    }
    return rc;
}

void
nlt_users_leave(const nlt_env_t *env, int *fd)
{
    if (*fd >= 0) {
        (void) env->io->close(env->io->ctx, *fd);
    }
    *fd = -1;
}

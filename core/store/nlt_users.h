/*
 * nlt_users.h - who may use the store's head: processes that can see it, and
 * each other.
 *
 * Floor 3 (store); uses base.
 * Threads: none of its own.
 *
 * The lease says which helper works, but a lease changes hands whenever a
 * helper ends, and two containers can have one store: then a helper of the
 * second may get it for a moment, finds no head in its own /dev/shm, and would
 * make another while the workers of the first go on with theirs.  Terms
 * (nlt_term.h) keep that from losing anything, but the two would throw each
 * other's head away at every reload.  And where they do share the directory of
 * the head, but not their process numbers, each would take the other's
 * processes for dead ones.
 *
 * So whoever is attached to a head holds a shared lock of the file `users`, in
 * which the helper wrote where the users of the head are:
 *
 *   file `users`, little-endian, NLT_USERS_BYTES
 *    0  u64   namespace of process numbers, inode of /proc/self/ns/pid
 *    8  u64   namespace of mounts, inode of /proc/self/ns/mnt
 *   16  u64   device of the directory of the head
 *   24  u64   inode of it
 *
 * A process may join them if it has the same process numbers and the same
 * mounts or the same directory.  (Of equal mounts the directory need not be
 * the same: head= was changed, and old workers hold on to the head that was.)
 * A helper whose lease finds others there gives it up again.  When none is
 * left, the next helper writes its own place into the file.
 *
 * No checksum: it says nothing when nobody holds the lock, so no crash leaves
 * anything in it that matters.
 */
#ifndef NLT_STORE_USERS_H
#define NLT_STORE_USERS_H

#include "nlt_env.h"

#define NLT_USERS_BYTES 32

/*
 * Becomes one of the users; *fd holds the lock until nlt_users_leave().
 * NLT_ENOTREADY: users are where we are not, err says so for people;
 * NLT_AGAIN: a helper is just looking, or there was none yet; NLT_EIO.
 */
NLT_CHECKED nlt_rc_t nlt_users_join(const nlt_env_t *env, int dir_fd,
                                    int head_fd, int *fd, nlt_err_t *err);

/*
 * The same for who has the lease: makes the file, and if nobody uses the head
 * writes our place into it.  NLT_ENOTREADY, NLT_EIO.
 */
NLT_CHECKED nlt_rc_t nlt_users_lead(const nlt_env_t *env, int dir_fd,
                                    int head_fd, int *fd, nlt_err_t *err);

/* Gives the lock up; *fd is -1 then.  -1 is allowed. */
void nlt_users_leave(const nlt_env_t *env, int *fd);

#endif

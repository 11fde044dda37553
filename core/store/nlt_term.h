/*
 * nlt_term.h - which head is the store's: a number that outdates the others.
 *
 * Floor 3 (store); uses base.
 * Threads: the mapped number may be loaded by any thread of any process.
 *
 * A store has one head at a time, but processes can outlive theirs: head=
 * was changed, somebody emptied the directory, a stopped worker missed that
 * its head was given up.  Such a process still holds the logs open, and what
 * it appends to them after they were replayed is lost.  No lock helps: the
 * process may be stopped for as long as it likes.  So every head has a term,
 * the file `term` in the store's directory has the current one, and
 *
 *     helper                         writer
 *     1  term + 1                    1  apply
 *     2  replay the logs             2  log
 *     3  remove them                 3  acknowledge, if the term is still
 *                                       that of its head
 *
 * Either the replay sees what was logged, or the writer sees the new term.
 *
 *   file `term`, little-endian, NLT_TERM_BYTES
 *    0  u64        the term; heads count from 1
 *    8  char[]     directory of its head, NUL-terminated
 *
 * The directory is there so that the files of a head elsewhere can be
 * removed; nothing else depends on it.  The length is the version: a file that
 * is longer was written by a later program, and is refused.
 */
#ifndef NLT_STORE_TERM_H
#define NLT_STORE_TERM_H

#include "nlt_env.h"

#define NLT_TERM_PATH_MAX 4096
#define NLT_TERM_BYTES    (8 + NLT_TERM_PATH_MAX)

/*
 * Creates the file unless it is there and whole.  Callers exclude each other
 * (the lock of nlt_store_prepare_dir).  NLT_EVERSION, NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_term_prepare(const nlt_env_t *env, int dir_fd,
                                      nlt_err_t *err);

/*
 * Maps the current term at *out for reading, until nlt_term_close().
 * NLT_EIO, also when the file is not there; NLT_EDATA when it is cut off;
 * NLT_EVERSION.
 */
NLT_CHECKED nlt_rc_t nlt_term_open(const nlt_env_t *env, int dir_fd,
                                   const _Atomic uint64_t **out,
                                   nlt_err_t *err);

/* Takes back what nlt_term_open() gave.  NULL is allowed. */
void nlt_term_close(const _Atomic uint64_t *term);

/*
 * Directory of the last head, NUL-terminated, in out, which has room for
 * NLT_TERM_PATH_MAX bytes; empty when there was none, or it is unreadable.
 */
void nlt_term_head_path(const nlt_env_t *env, int dir_fd, char *out);

/*
 * Begins the next term, of a head in head_path: who has the number mapped
 * sees it at once.  For the holder of the lease.  NLT_EIO; then the term may
 * have begun or not.
 */
NLT_CHECKED nlt_rc_t nlt_term_begin(const nlt_env_t *env, int dir_fd,
                                    const char *head_path, nlt_err_t *err);

#endif

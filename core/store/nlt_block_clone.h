/*
 * nlt_block_clone.h - a second directory with the files of a block.
 *
 * Floor 3 (store); uses nlt_chunk_file.
 * Threads: none of its own.
 *
 * Blocks never change, so a second directory of one costs names, not bytes:
 *
 *     from/ meta.json  index  tombstones  chunks/000001 ..
 *             |          |        |            |       hard links
 *     to/   meta.json  index  tombstones  chunks/000001 ..
 *
 * A file that somebody else may change is copied instead: one of another
 * owner (who could also cut it short under a worker's feet), one that others
 * may write, one on another file system.  Only the names above are looked
 * at: what else lies in the directory stays behind, and nothing in it is
 * followed or opened that is not a plain file.
 */
#ifndef NLT_STORE_BLOCK_CLONE_H
#define NLT_STORE_BLOCK_CLONE_H

#include "nlt_env.h"

/* What is seen of a block's directory without opening a file. */
typedef struct {
    uint64_t print;   /* hash of names, sizes, times, owners, modes */
    uint64_t content; /* the same without what links and renames change */
    uint64_t bytes;   /* of the files */
} nlt_block_look_t;

/*
 * Looks at directory `name`.  NLT_ENOENT: it is not there; NLT_EDATA: it, or
 * one of the names in it, is a link or something else than it should be; a
 * file that is missing is none of it.  NLT_EIO.
 */
NLT_CHECKED nlt_rc_t nlt_block_look(const nlt_env_t *env, int dir_fd,
                                    const char *name, nlt_block_look_t *out,
                                    nlt_err_t *err);

typedef struct {
    bool durable;                /* files are synced too: others wrote them */
    bool no_tombstones;          /* the caller writes them */
    uint64_t room_bytes;         /* copying leaves this much free */
    nlt_rc_t (*poll)(void *ctx); /* NULL, or asked every few MiB */
    void *poll_ctx;
} nlt_block_clone_conf_t;

/*
 * Makes directory `to` below to_fd with the files of `from` below from_fd and
 * syncs it, but not to_fd.  *copied (may be NULL) are the bytes that could
 * not be linked.  On failure nothing of `to` remains:
 *   NLT_ENOENT  from, or something of it, is not there (any more)
 *   NLT_EDATA   it has something that is no plain file, or cannot be read
 *   NLT_EFULL   no room to copy; NLT_EIO; NLT_ENOMEM; what poll returned
 */
NLT_CHECKED nlt_rc_t nlt_block_clone(const nlt_env_t *env, int from_fd,
                                     const char *from, int to_fd,
                                     const char *to,
                                     const nlt_block_clone_conf_t *conf,
                                     uint64_t *copied, nlt_err_t *err);

#endif

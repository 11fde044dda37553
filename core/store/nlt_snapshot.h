/*
 * nlt_snapshot.h - the store as a directory of Prometheus blocks.
 *
 * Floor 3 (store); uses nlt_store, nlt_block_clone, nlt_cuts.
 * Threads: [any]; the caller's thread waits and links.
 *
 * A snapshot is snapshots/<name>/<ULID>/...: hard links to the files of the
 * blocks that one MANIFEST names, hence never parents beside children, and
 * where deletes are not yet rewritten a tombstones file of its own that says
 * which samples are gone.  promtool, Prometheus, Thanos read the directory as
 * it is.  With the head in it, the active arena is sealed first and the
 * snapshot waits until it is in blocks.
 *
 *     ask for a flush -> wait until every arena of then has left the head
 *     rules of deletes, list of blocks -> link into <name>.tmp -> sync
 *     rename to <name>, sync
 *
 * It is of one tenant: a block that has series of others is written anew with
 * this tenant's alone, without the private label (nlt_block_tenant.h).  It is
 * of blocks that everybody reads: a dense one (docs/formats/dense.md) is
 * written anew as portable, about three times as large, and one whose format
 * is not known makes it fail; unless who asks wants blocks as they are.
 *
 * The arenas are those that held samples when the snapshot began: what was
 * acknowledged before is in it, what is written meanwhile may be or not.  They
 * leave the head after the MANIFEST that names their blocks (nlt_store.h).  If
 * the head is given up meanwhile, its logs are read into another: the snapshot
 * begins again there.
 *
 * A block that retention or compaction removes meanwhile makes the linking
 * fail with NLT_ENOENT; then it begins again with the list of then.
 *
 * <name>.tmp is locked (flock) by who makes it, so that a helper that starts,
 * and removes what was left behind, does not take one that is being made.
 */
#ifndef NLT_STORE_SNAPSHOT_H
#define NLT_STORE_SNAPSHOT_H

#include "nlt_store.h"

/* "20260102T150405Z-0123456789abcdef" and a NUL, as Prometheus names them. */
#define NLT_SNAPSHOT_NAME_SIZE 34

typedef struct {
    uint32_t tenant;
    uint64_t term;      /* of the head that knows it so; 0: any does */
    bool skip_head;     /* what is not in blocks yet is left out */
    bool as_is;         /* dense blocks stay dense */
    const int *cancel;  /* NULL, or other than 0 ends it */
    int64_t timeout_ms; /* from now */
} nlt_snapshot_conf_t;

/*
 * Makes a snapshot.  NLT_ECANCELED, NLT_ETIMEOUT.  Nothing remains then:
 *   NLT_ENOTREADY  there is no head, or not that of `term` any more
 *   NLT_EDATA      a block is damaged, or DELETES
 *   NLT_EVERSION   a block of a newer format has deletes to be written down,
 *                  or is asked for as portable
 *   NLT_ELIMIT     too many tombstones, or an expression of a delete
 *   NLT_EFULL (also: a block to be written anew does not fit beside
 *   min_free=), NLT_EIO, NLT_ENOMEM
 * Cost beside the flush: four links and two syncs a block, which is half a
 * second for 1000 blocks on a disk that nobody else syncs.  Of a block that
 * tenants share, or a dense one: the merge of one block (nlt_compact.h), 40 ns
 * a sample to make a dense one portable.
 */
NLT_CHECKED nlt_rc_t nlt_snapshot_create(nlt_store_t *s,
                                         const nlt_snapshot_conf_t *conf,
                                         char name[NLT_SNAPSHOT_NAME_SIZE],
                                         nlt_err_t *err);

/*
 * The first step of it alone: has the head written out, and waits until all
 * that it held when this was called lies in blocks.  cancel and timeout_ms as
 * above.  NLT_ECANCELED, NLT_ETIMEOUT: it goes on; NLT_ENOTREADY.
 */
NLT_CHECKED nlt_rc_t nlt_snapshot_flush(nlt_store_t *s, const int *cancel,
                                        int64_t timeout_ms, nlt_err_t *err);

/*
 * [helper] Removes snapshots that were not finished and that nobody is making;
 * *n of them.  What cannot be removed is left.
 */
void nlt_snapshot_clean(const nlt_env_t *env, int dir_fd, size_t *n);

#endif

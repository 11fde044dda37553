/*
 * nlt_snapshot.h - the store as a directory of Prometheus blocks.
 *
 * Floor 3 (store); uses nlt_store, nlt_block_set, nlt_deletes.
 * Threads: [any]; the caller's thread waits and links.
 *
 * A snapshot is snapshots/<name>/<ULID>/...: hard links to the files of the
 * blocks that one MANIFEST names, hence never parents beside children, and a
 * tombstones file of its own that says what deletes are not yet rewritten.
 * promtool, Prometheus, Thanos read the directory as it is.  With the head in
 * it, the active arena is sealed first and the snapshot waits until it is in
 * blocks.
 *
 *     ask for a flush -> wait until the MANIFEST has the arena
 *     hold rules, list of blocks -> link into <name>.tmp -> sync -> rename
 *
 * A block that retention or compaction removes meanwhile makes the linking
 * fail with ENOENT; then it begins again with the list of then.
 */
#ifndef NLT_STORE_SNAPSHOT_H
#define NLT_STORE_SNAPSHOT_H

#include "nlt_store.h"

/* "20260102T150405Z-0123456789abcdef" and a NUL, as Prometheus names them. */
#define NLT_SNAPSHOT_NAME_SIZE 34

/*
 * Makes a snapshot; *cancel (may be NULL) ends the waiting with
 * NLT_ECANCELED.  deadline_ms from now: NLT_ETIMEOUT.  NLT_ENOTREADY,
 * NLT_EFULL, NLT_EIO, NLT_EDATA, NLT_ENOMEM; nothing remains then.
 */
NLT_CHECKED nlt_rc_t nlt_snapshot_create(nlt_store_t *s, bool skip_head,
                                         const int *cancel,
                                         int64_t deadline_ms,
                                         char name[NLT_SNAPSHOT_NAME_SIZE],
                                         nlt_err_t *err);

#endif

/*
 * nlt_retention.h - which blocks go, and how a block directory goes.
 *
 * Floor 3 (store); uses base, nlt_manifest.
 * Threads: the helper's.
 *
 * Retention removes whole blocks whose newest sample is past the border.
 * The border follows min(now, newest data): a clock that runs ahead deletes
 * nothing, and a store that was switched off for a year keeps what it has
 * until new data arrives (D12).
 *
 * Order of a removal: the MANIFEST stops naming the block, then the
 * directory is renamed to <ULID>.tmp-for-deletion, then emptied.  A crash
 * after any step leaves something that start-up recognises and removes.
 * Queries that have the block open keep their mapping.
 */
#ifndef NLT_STORE_RETENTION_H
#define NLT_STORE_RETENTION_H

#include "nlt_manifest.h"

/*
 * Oldest time that is kept.  newest_ms: of all data, INT64_MIN when there is
 * none.  Samples before the result are refused, not served, and removed.
 */
int64_t
nlt_retention_border(int64_t now_ms, int64_t newest_ms, int64_t retention_ms);

/*
 * Takes the blocks that ended at or before the border off m and writes them
 * to out, at most cap; returns how many.
 */
size_t nlt_retention_take(nlt_manifest_t *m, int64_t border_ms,
                          nlt_manifest_block_t *out, size_t cap);

/*
 * Notes in a block's directory, durably, that it belongs to this store: one
 * that was not written here does not say so by its name, and what a crash
 * leaves of it must not stay for ever.  NLT_EIO, NLT_EFULL.
 */
NLT_CHECKED nlt_rc_t nlt_block_dir_mark(const nlt_env_t *env, int dir_fd,
                                        const char *ulid,
                                        const uint8_t *store_id,
                                        nlt_err_t *err);

/*
 * Is the block directory of this store, by its name or by that note?  What
 * cannot be read is not.  meta.json is parsed into the pool.
 */
bool
nlt_block_dir_is_ours(const nlt_env_t *env, int blocks_fd, const char *ulid,
                      const uint8_t *store_id, nlt_pool_t *pool);

/*
 * Removes the directory of a block: renames, syncs the new name, then
 * empties, so that no power loss leaves a part of it under its own.  A missing
 * one is fine.  NLT_EIO; what is left is removed at the next start.
 */
NLT_CHECKED nlt_rc_t nlt_block_dir_remove(const nlt_env_t *env, int blocks_fd,
                                          const char *ulid, nlt_err_t *err);

/* Bytes of the files of a block, two levels deep; 0 when unreadable. */
uint64_t
nlt_block_dir_bytes(const nlt_env_t *env, int blocks_fd, const char *ulid);

/* What nlt_block_dirs_clean() met. */
typedef struct {
    size_t removed; /* half-made, half-removed, or never committed */
    size_t foreign; /* not of this store: left alone */
    nlt_ulid_t first_foreign;
} nlt_block_dirs_stats_t;

/*
 * Removes from blocks_fd what is not data: <ULID>.tmp-for-creation and
 * .tmp-for-deletion, and blocks that this store wrote (nlt_flush_owns) but
 * m does not name; not those that m calls damaged.  With dry set it only
 * counts.  NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_dirs_clean(const nlt_env_t *env, int blocks_fd,
                                          const nlt_manifest_t *m, bool dry,
                                          nlt_block_dirs_stats_t *stats,
                                          nlt_err_t *err);

#endif

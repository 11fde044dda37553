/*
 * nlt_import.h - blocks that somebody copied into import/ become ours.
 *
 * Floor 3 (store); uses nlt_block, nlt_manifest, nlt_filenames.
 * Threads: the helper's.
 *
 * An operator copies block directories (of Prometheus, of another Nightlight,
 * of a snapshot) into import/.  The helper looks there every few seconds:
 *
 *     import/<ULID>         seen twice with the same sizes and times: complete
 *        | validate whole (nlt_block_validate)
 *        |--- fails ------> import/<ULID>.refused, one log line
 *     write import/<ULID>.adopting (empty), sync
 *     rename to blocks/<ULID>, sync both
 *     MANIFEST + block      (arena 0: its samples count as the oldest;
 *        |                   deletes = the last number: none concerns it)
 *     remove the marker
 *
 * A crash in between: at start, a marker whose block is in blocks/ but not in
 * the MANIFEST moves it back to import/; then the marker goes.  A block that
 * is served already, or lies wholly beyond the retention, is refused.
 */
#ifndef NLT_STORE_IMPORT_H
#define NLT_STORE_IMPORT_H

#include "nlt_manifest.h"

typedef struct nlt_import_s nlt_import_t;

/* Remembers what was seen.  dir_fd is the store's, borrowed.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_import_create(const nlt_env_t *env, int dir_fd,
                                       nlt_import_t **out, nlt_err_t *err);
void nlt_import_destroy(nlt_import_t *im);

/*
 * At start, after the MANIFEST was loaded: undoes what a crash left between
 * marker and commit.  NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_import_recover(nlt_import_t *im,
                                        const nlt_manifest_t *m,
                                        nlt_err_t *err);

/*
 * Looks once; at most one block.  NLT_OK and *found: it was validated and lies
 * in blocks/; the caller commits *out and calls nlt_import_done().  NLT_OK
 * without: nothing to do, or a block was refused (logged; *refused counts).
 * poll is asked between files.  NLT_EIO, NLT_ENOMEM, what poll returned.
 */
NLT_CHECKED nlt_rc_t nlt_import_look(nlt_import_t *im, const nlt_manifest_t *m,
                                     int64_t t_oldest_ms,
                                     nlt_rc_t (*poll)(void *ctx), void *ctx,
                                     bool *found, size_t *refused,
                                     nlt_manifest_block_t *out,
                                     nlt_err_t *err);

/* The MANIFEST names it: removes the marker.  NLT_EIO. */
NLT_CHECKED nlt_rc_t nlt_import_done(nlt_import_t *im, const char *ulid,
                                     nlt_err_t *err);

#endif

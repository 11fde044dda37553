/*
 * nlt_import.h - blocks that somebody copied into import/ become ours.
 *
 * Floor 3 (store); uses nlt_block, nlt_block_clone, nlt_manifest.
 * Format: docs/formats/block.md, "import/".
 * Threads: the helper's.
 *
 * An operator copies block directories (of Prometheus, of another Nightlight,
 * of a snapshot) into import/.  The helper looks there every second:
 *
 *     import/<ULID>            unchanged for SETTLE_MS: complete
 *        | its files linked, or copied if they are not only ours, into
 *        | blocks/<ULID>.tmp-for-creation/<ULID>, synced
 *        | that checked whole (nlt_block_check), and marked as ours
 *        |--- fails -------> import/<ULID>.refused says why; one log line
 *     rename to import/<ULID>.adopting, sync
 *     rename the copy to blocks/<ULID>, sync
 *     MANIFEST + block         (arena 0: its samples count as the oldest;
 *        |                      deletes = the last number: none concerns it)
 *     remove import/<ULID>.adopting, sync
 *
 * A crash in between: at start, .adopting tells whose block in blocks/ it was.
 * If the MANIFEST names it, .adopting goes; if not, the copy goes and
 * .adopting is <ULID> again.  What cannot be removed because it is not ours is
 * renamed to <ULID>.adopted, and at each start it is tried again: a block that
 * was taken once must not come back after its samples were deleted.
 *
 * What is checked is what will be served: nobody else can change the copy.  A
 * link is a copy where the file is the helper's own and nobody else's to
 * write; the operator's cp that still has it open is the case that is left,
 * and SETTLE_MS is for it.
 *
 * Refusing.  A copy that stalls looks complete, and fails the check.  So a
 * failure is kept to ourselves until nothing has changed for QUIET_MS, and a
 * refusal moves nothing: the directory stays where it is, a file beside it
 * has the reason in words and what the directory looked like.  When it looks
 * different, or when the file is gone, the block is looked at again.
 *
 * Lineage.  A copy of a living Prometheus may have a block beside the ones
 * that it was made from: meta.json of the child names `parents`, and `sources`
 * that contain theirs.  Both would be twice the samples, and would bring back
 * what was deleted in the child:
 *   - a block waits while a child of it is in import/ and not refused
 *   - it is refused when a child that was imported is served
 *   - a child all of whose sources are served as imported blocks is refused
 *   - a child that has more takes the place of the parents that are served
 *
 * Also refused: a name that the MANIFEST has or that blocks/ has unnamed, a
 * block past the retention or with samples of the future, one without
 * samples, one of an index or chunk encoding that we cannot read.
 */
#ifndef NLT_STORE_IMPORT_H
#define NLT_STORE_IMPORT_H

#include "nlt_manifest.h"

#define NLT_IMPORT_SUFFIX_REFUSED  ".refused"
#define NLT_IMPORT_SUFFIX_ADOPTING ".adopting"
#define NLT_IMPORT_SUFFIX_ADOPTED  ".adopted"

/* Directories of which more than this many are there have to wait. */
#define NLT_IMPORT_DIRS_MAX 16384u

#define NLT_IMPORT_SCAN_MS   1000
#define NLT_IMPORT_SETTLE_MS 2000
#define NLT_IMPORT_QUIET_MS  10000
#define NLT_IMPORT_RETRY_MS  30000 /* after trouble that is not the block's */

/* Its samples may be this much ahead of the clock, as those of writers. */
#define NLT_IMPORT_AHEAD_MS (10 * 60 * 1000)

typedef struct nlt_import_s nlt_import_t;

typedef struct {
    const nlt_env_t *env;    /* retained, as the descriptors, until destroy */
    int dir_fd;              /* of the store */
    int blocks_fd;           /* its blocks/ */
    uint64_t min_free_bytes; /* copying leaves this much */
    uint8_t store_id[NLT_STORE_ID_BYTES];
} nlt_import_conf_t;

/* Remembers what was seen.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_import_create(const nlt_import_conf_t *conf,
                                       nlt_import_t **out, nlt_err_t *err);
/* NULL is allowed. */
void nlt_import_destroy(nlt_import_t *im);

/*
 * Whenever the MANIFEST was loaded, and before blocks/ is cleaned: finishes
 * or undoes what a crash left.  What cannot be done is logged; only a lack of
 * memory is an error.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_import_recover(nlt_import_t *im,
                                        const nlt_manifest_t *m,
                                        nlt_err_t *err);

typedef struct {
    const nlt_manifest_t *manifest; /* not read once poll was called */
    int64_t t_oldest_ms;            /* border of the retention */
    /* Asked every few milliseconds; another code than NLT_OK ends the look,
     * and the block is taken up again at the next. */
    nlt_rc_t (*poll)(void *ctx);
    void *poll_ctx;
} nlt_import_look_t;

typedef struct {
    bool found;                 /* a block lies in blocks/, not committed */
    bool undo;                  /* something is left: see below */
    nlt_manifest_block_t block; /* all but `deletes`, which is 0 */
    /* Blocks that it takes the place of; valid until the next look. */
    const nlt_ulid_t *replaced;
    size_t n_replaced;
    size_t n_refused; /* since the last look */
    uint64_t copied;  /* bytes that could not be linked */
} nlt_import_result_t;

/*
 * Looks once; at most one block.  With out->found the caller commits
 * out->block, in place of those in out->replaced and of a damaged one of the
 * same name, and calls nlt_import_done().  If the commit fails, or with
 * out->undo, it loads the MANIFEST again and calls nlt_import_recover().
 *   NLT_EFULL, NLT_EIO, NLT_ENOMEM: trouble that is not the block's; it is
 *   tried again after RETRY_MS; what poll returned
 * Cost without anything new: one directory is listed, and of each block in it
 * five names are looked at.
 */
NLT_CHECKED nlt_rc_t nlt_import_look(nlt_import_t *im,
                                     const nlt_import_look_t *look,
                                     nlt_import_result_t *out, nlt_err_t *err);

/*
 * The MANIFEST names it: import/<ULID>.adopting goes, or is called .adopted
 * (logged).  NLT_EIO: neither worked, recover will try again.
 */
NLT_CHECKED nlt_rc_t nlt_import_done(nlt_import_t *im, const char *ulid,
                                     nlt_err_t *err);

#endif

/*
 * nlt_compact.h - makes one block out of several.
 *
 * Floor 3 (store); uses nlt_block, nlt_block_write, nlt_deletes.
 * Threads: the helper's.  Memory: 16 bytes a symbol and a bit for each symbol
 * and series of each source, never proportional to samples.
 *
 * Sources are sorted by labels, so the result is a merge of their lists of
 * series.  For each series:
 *
 *   - chunks of sources that do not overlap are taken as they are, without
 *     decoding, if they have at least COPY_MIN samples or nobody to join;
 *     small neighbours are decoded and encoded anew, up to 480 samples each
 *   - where chunks overlap in time, or a delete cuts into one, they are
 *     decoded and merged: at equal times the source that stands first wins
 *   - histogram chunks are copied; where one overlaps another chunk of its
 *     series the merge fails with NLT_ELIMIT, and the plan should not have
 *     asked
 *
 * A first pass over the indexes finds the series that stay and the symbols
 * that they use, so what was deleted leaves no name behind.
 *
 * The result is written as any block (temporary name, sync, rename); it is
 * ours by its name (nlt_flush_ulid) and counts only once the MANIFEST names
 * it instead of its sources.
 */
#ifndef NLT_STORE_COMPACT_H
#define NLT_STORE_COMPACT_H

#include "nlt_block.h"
#include "nlt_deletes.h"
#include "nlt_manifest.h"

/* Chunks with this many samples are copied as they are. */
#define NLT_COMPACT_COPY_MIN 240u

typedef struct {
    const nlt_env_t *env;
    int blocks_fd; /* borrowed */
    const uint8_t *store_id;
    int64_t now_ms;
    int64_t t_oldest_ms;              /* samples before it are left out */
    const nlt_delete_list_t *deletes; /* applied, each source by its own */
    unsigned level;                   /* of the result */
    /* Asked every few hundred series; another code than NLT_OK ends it. */
    nlt_rc_t (*poll)(void *ctx);
    void *poll_ctx;
} nlt_compact_conf_t;

/* One source, in the MANIFEST's order. */
typedef struct {
    const nlt_block_t *block;
    nlt_manifest_block_t info;
} nlt_compact_source_t;

/*
 * Merges n sources (1: rewrites it).  *out is what the MANIFEST will say of
 * the result; out->n_samples is 0 and no block was written when nothing is
 * left of the sources.  On failure nothing remains on disk:
 *   NLT_EDATA   a source is damaged; *damaged (may be NULL) is its index
 *   NLT_ELIMIT  histograms overlap (see above)
 *   NLT_EFULL, NLT_EIO, NLT_ENOMEM; what poll returned
 */
NLT_CHECKED nlt_rc_t nlt_compact_blocks(const nlt_compact_conf_t *conf,
                                        const nlt_compact_source_t *sources,
                                        size_t n, nlt_manifest_block_t *out,
                                        size_t *damaged, nlt_err_t *err);

/*
 * Has the block any sample under these rules?  From the index, by the
 * matchers and the times of chunks; may say yes where a chunk has none at the
 * very times.  NLT_EDATA, NLT_EIO, NLT_ENOMEM, NLT_ELIMIT (a regex).
 */
NLT_CHECKED nlt_rc_t nlt_compact_is_dirty(const nlt_env_t *env,
                                          const nlt_compact_source_t *source,
                                          const nlt_delete_list_t *deletes,
                                          bool *dirty, nlt_err_t *err);

#endif

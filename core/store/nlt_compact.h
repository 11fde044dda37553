/*
 * nlt_compact.h - makes one block out of several.
 *
 * Floor 3 (store); uses nlt_block, nlt_block_write, nlt_deletes.
 * Threads: the helper's.  Memory: 4 bytes for each symbol of each source, 16
 * for each of the result, what the writer of the index needs (up to 140 bytes
 * a series), the samples of one series as far as they overlap, and its new
 * chunks; a bit for each series of a source that is gone, and for each rule
 * the same or 4 bytes for each series that it is about.
 *
 * Sources are sorted by labels, so the result is a merge of their lists of
 * series.  For each series, by time:
 *
 *   - a chunk that overlaps no other and is not cut is taken as it is, without
 *     decoding, its checksum verified.  Neighbours that fit into one chunk of
 *     at most 512 samples together are joined instead: two parts of a window
 *     of two hours, or four of a series that is scraped every minute.  What we
 *     wrote ourselves is appended bit by bit; other blocks' chunks, and very
 *     short ones, are encoded anew, which makes them about 8 % smaller
 *   - where chunks overlap in time, or a delete cuts into one, they are
 *     decoded and merged, and encoded anew in chunks of 360 to 720; at equal
 *     times the source that stands first wins
 *   - histogram chunks are copied; where one overlaps another chunk of its
 *     series the merge fails with NLT_ELIMIT, and the plan should not have
 *     asked.  One that is deleted in part stays whole, with tombstones
 *
 * A dense result (docs/formats/dense.md) has all floats of a series decoded
 * and encoded in chunks of up to 8192, but for dense ones of more than 4096
 * that overlap no other and are not cut; dense sources become what the result
 * is.  Rewriting one block alone converts it, in either direction.
 *
 * A first pass over the indexes finds the series that stay and the symbols
 * that they use, so what was deleted leaves no name behind.
 *
 * What that comes to, of a day of node exporters' series every 15 s (12 blocks
 * of 2.30 bytes a sample become one of 2.09, the index in it), 2 ns a sample
 * copied, 9 joined, 60 merged.  Encoding all anew would gain nothing at a
 * higher level: looking further ahead saves less than 0.01 %; 960 samples a
 * chunk save 1.6 %, but an instant query decodes twice as much.
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

/* Fewer samples than this are decoded to be merged with what follows. */
#define NLT_COMPACT_COPY_MIN 240u

typedef struct {
    const nlt_env_t *env;
    int blocks_fd; /* borrowed */
    const uint8_t *store_id;
    int64_t now_ms;
    int64_t t_oldest_ms; /* samples before it are left out */
    /* NULL, or the same of a tenant other than 0. */
    int64_t (*tenant_oldest)(void *ctx, uint32_t tenant);
    void *tenant_ctx;
    /* Applied to each source that they concern, as are its own tombstones;
     * NULL: there are none. */
    const nlt_delete_list_t *deletes;
    unsigned level; /* of the result */
    /* Only this tenant's series, without its label; NULL: all as they are. */
    const uint32_t *tenant;
    bool dense; /* floats of the result become dense chunks */
    /* Asked every few hundred chunks; another code than NLT_OK ends it. */
    nlt_rc_t (*poll)(void *ctx);
    void *poll_ctx;
} nlt_compact_conf_t;

/* One source, in the MANIFEST's order. */
typedef struct {
    const nlt_block_t *block;
    nlt_manifest_block_t info;
} nlt_compact_source_t;

/*
 * Merges n > 0 sources (1: rewrites it).  *out is what the MANIFEST will say
 * of the result, which begins where the first of the sources begins, also
 * when that sample is gone: the planner relies on it.  out->n_samples is 0 and
 * no block was written when nothing is left of the sources.  On failure
 * nothing remains on disk: NLT_EDATA   a source is damaged; *damaged (may be
 * NULL) is its index NLT_ELIMIT  histograms overlap (see above), or a regex of
 * a rule NLT_EFULL, NLT_EIO, NLT_ENOMEM; what poll returned
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

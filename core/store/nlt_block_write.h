/*
 * nlt_block_write.h - writes one Prometheus TSDB block.
 *
 * Floor 3 (store); uses base, model, codec, index.
 * Format: docs/formats/block.md (Prometheus TSDB, index version 2).
 * Threads: one per writer.  Memory: mem, proportional to the series count
 * (postings), not to the samples.
 *
 * The order is fixed by the index format: first every symbol in ascending
 * order, then the series in ascending label order, each with its chunks in
 * time order.  Chunks go to disk as they come, the index at the end.
 *
 *     open -> symbols -> series* -> finish     (or abort at any point)
 *
 * Everything is written into <ULID>.tmp-for-creation, synced, and renamed,
 * the parent directory synced: a block is there whole or not at all.
 */
#ifndef NLT_STORE_BLOCK_WRITE_H
#define NLT_STORE_BLOCK_WRITE_H

#include "nlt_block_meta.h"
#include "nlt_env.h"
#include "nlt_intervals.h"
#include "nlt_labels.h"

typedef struct nlt_block_writer_s nlt_block_writer_t;

typedef struct {
    int64_t t_min_ms; /* of its first and last sample, inclusive */
    int64_t t_max_ms;
    uint8_t encoding; /* 1 XOR, 2 and 3 histograms (copied only), 128 dense */
    uint32_t n_samples;
    nlt_str_t data; /* as on disk: count header and bit stream; of a dense
                       chunk its values, then n_samples times, int64_t each,
                       perhaps unaligned */
} nlt_block_chunk_t;

/*
 * Begins a block with meta->ulid below dir_fd, portable until the first dense
 * chunk.  NLT_EIO, NLT_ENOMEM.
 * dir_fd and env are retained until finish or abort.
 */
NLT_CHECKED nlt_rc_t nlt_block_writer_open(const nlt_env_t *env, int dir_fd,
                                           const nlt_block_meta_t *meta,
                                           nlt_block_writer_t **out,
                                           nlt_err_t *err);

/* Asks poll while the index is written: see nlt_index_writer_poll(). */
void nlt_block_writer_poll(nlt_block_writer_t *w, nlt_rc_t (*poll)(void *ctx),
                           void *ctx);

/* All symbols (label names and values), ascending, unique.  Once. */
NLT_CHECKED nlt_rc_t nlt_block_writer_symbols(nlt_block_writer_t *w,
                                              const nlt_str_t *symbols,
                                              size_t n, nlt_err_t *err);

/*
 * The next series, greater than the one before; n_chunks > 0, chunks in
 * time order without overlap, inside meta's range.  NLT_EORDER, NLT_EINVAL
 * (a symbol missing), NLT_EIO, NLT_EFULL (format limit).
 */
NLT_CHECKED nlt_rc_t nlt_block_writer_series(nlt_block_writer_t *w,
                                             nlt_labels_t labels,
                                             const nlt_block_chunk_t *chunks,
                                             size_t n_chunks, nlt_err_t *err);

/*
 * The same by ordinals among the symbols: name and value of each of n_labels
 * labels (nlt_index_writer_refs()).
 */
NLT_CHECKED nlt_rc_t nlt_block_writer_refs(nlt_block_writer_t *w,
                                           const uint32_t *refs,
                                           size_t n_labels,
                                           const nlt_block_chunk_t *chunks,
                                           size_t n_chunks, nlt_err_t *err);

/*
 * Says that samples of the series that was written last are deleted in an
 * interval; for histograms, which cannot be cut.  At most NLT_TOMBSTONES_MAX
 * of a block; more are NLT_EFULL.  NLT_EINVAL (no series yet), NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_writer_tombstone(nlt_block_writer_t *w,
                                                const nlt_interval_t *interval,
                                                nlt_err_t *err);

/*
 * Writes index, meta.json (with the counted stats) and the tombstones, mostly
 * none, syncs, renames.  *meta gets the stats and the size.  The writer is
 * gone whatever the result; on failure nothing of the block remains.
 * NLT_EINVAL when no series was written: empty blocks must not exist.
 */
NLT_CHECKED nlt_rc_t nlt_block_writer_finish(nlt_block_writer_t *w,
                                             nlt_block_meta_t *meta,
                                             nlt_err_t *err);

/* Removes what was written; the writer is gone.  NULL is allowed. */
void nlt_block_writer_abort(nlt_block_writer_t *w);

#endif

/*
 * nlt_flush.h - writes a sealed arena as blocks.
 *
 * Floor 3 (store); uses nlt_head, nlt_block_write, nlt_manifest, nlt_strtab,
 * nlt_cuts.
 * Threads: the helper's.  Memory: two pools, proportional to series and
 * labels of the arena, never to its samples.
 *
 * An arena holds series in order of arrival and any acceptable time (D4).  A
 * block holds them in label order and one aligned window of time, the largest
 * that is over and not longer than blocks may become for the retention
 * (nlt_compact_window):
 *
 *     |--- 32 d ---|--- 8 d ---|--- 8 d ---|24 h|24 h|8 h|8 h|2h|2h|2h| now
 *
 * so one request with a sample of each day of ten years makes about 130
 * blocks, not 3650, and what is flushed late lies as what was flushed in time
 * and merged since.  An arena is as old as two hours, so one that has more
 * than five of a day, about as many samples in each of them, was sent a
 * backlog: that becomes one block although the day is not over, since nobody
 * will send it again, and an index for each two hours is a third of a dense
 * block (nlt_compact_plan.h: such a block waits until its day is over).
 *
 * One flush:
 *
 *   1  rank: every string once, sorted; every series becomes a short vector
 *      of ranks, so that label order is a comparison of small integers
 *   2  for up to 64 windows at a time: which series has samples in which
 *   3  per window that has any: its symbols, then its series in order, each
 *      decoded and encoded anew, 360 to 720 samples a chunk, or
 *      dense, up to 8192
 *
 * Samples that are deleted are left out (nlt_cuts.h).  What only they had, a
 * name or a whole series, is in no block.
 *
 * In which windows a series has samples is what its chunks say of their times:
 * for that only the newest one is decoded, and all of a series that has late
 * samples, deletes, or a chunk in several windows.
 *
 * Names.  The random part of a block's ULID is a hash of store, arena, time
 * and first sample: start-up can thus tell a block that this store wrote and
 * did not live to commit from one that somebody copied in, whatever its
 * meta.json says, and only ever removes the former.
 */
#ifndef NLT_STORE_FLUSH_H
#define NLT_STORE_FLUSH_H

#include "nlt_deletes.h"
#include "nlt_head.h"
#include "nlt_manifest.h"

/*
 * Samples of a chunk: as many as this if there are, evenly split.  A chunk
 * costs 30 bytes besides its samples (first sample, frame, index), so 720 take
 * 0.02 bytes a sample less than 480; an hour's query decodes more for it.
 * Twice as many would be the border of what a Thanos fetches at first, 16,000
 * bytes, if every sample took the most that it can.
 */
#define NLT_FLUSH_CHUNK_SAMPLES 720u

#define NLT_DAY_MS (24 * 60 * 60 * 1000)

/* How n > 0 samples are cut: the number of chunks, of sizes that differ by
 * at most one. */
size_t nlt_flush_chunks(size_t n);

/* ULID of the block whose first sample is at t_min, written at now. */
void nlt_flush_ulid(const uint8_t *store_id, uint64_t arena, int64_t t_min_ms,
                    int64_t now_ms, nlt_ulid_t *out);

/* Did this store write this block, committed or not? */
bool nlt_flush_owns(const uint8_t *store_id, const nlt_block_meta_t *meta);

typedef struct {
    const nlt_env_t *env;
    int blocks_fd; /* directory of the blocks; borrowed */
    const uint8_t *store_id;
    int64_t now_ms;
    const nlt_delete_list_t *deletes; /* applied; NULL: there are none */
    int64_t retention_ms;             /* bounds the windows */
    bool dense; /* of dense chunks: docs/formats/dense.md */
    /* Asked at first and every few hundred series; another code than NLT_OK
     * ends the flush. */
    nlt_rc_t (*poll)(void *ctx);
    void *poll_ctx;
} nlt_flush_conf_t;

/*
 * Writes what arena `a` holds, which must be sealed and pinned, and names
 * the blocks in m (not yet on disk: the caller commits), with the number of
 * the last delete that was applied.  An arena without samples that are not
 * deleted makes no block.  After a failure the blocks that were finished are
 * removed again as far as possible and m is unchanged:
 *   NLT_EDATA      the arena is damaged: rebuild the head from the logs
 *   NLT_EFULL, NLT_EIO, NLT_ENOMEM
 *   what poll returned
 * Cost: about 60 ns a sample and 2 us a series and window.
 */
NLT_CHECKED nlt_rc_t nlt_flush_arena(const nlt_flush_conf_t *conf,
                                     const nlt_arena_t *a, nlt_manifest_t *m,
                                     size_t *n_blocks, nlt_err_t *err);

#endif

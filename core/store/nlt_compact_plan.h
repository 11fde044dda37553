/*
 * nlt_compact_plan.h - which blocks should become one, and which must go.
 *
 * Floor 3 (store); uses base, nlt_manifest.
 * Threads: pure functions.  Memory: the pool of the caller.
 *
 * Flush leaves blocks of two hours (of a day, of 32 days, when the samples are
 * old), and often several for the same hours: an arena that was full early,
 * late samples, backfill, the other half of an HA pair.  A query pays for
 * each.  Compaction makes few large ones out of them, and copies each sample
 * only a few times in its life:
 *
 *     level   1     2     3      4       5
 *     range   2 h   8 h   24 h   8 d     32 d     aligned to multiples
 *
 * The highest range is the largest that is at most a tenth of the retention
 * (whole blocks are removed) and never below 24 h unless the retention is that
 * short.
 *
 * What is done, first match wins:
 *
 *  1 deletes    a block that has samples under a delete is rewritten alone
 *               (`urgent` ones when somebody asked to clean; else after a
 *               while, so that many deletes cost one rewriting)
 *  2 overlap    blocks of one aligned range whose times overlap: vertical
 *               merge, when there are at least OVERLAP_MIN of similar size,
 *               or when the range is over.  Sizes are tiered: the smallest
 *               first, and one that is more than TIER times as large as all
 *               the others together stays out while there are fewer than
 *               OVERLAP_MAX; so backfill does not copy a large block for
 *               every small one.
 *  3 level      all blocks of an aligned range of the next level, when that
 *               range is over (it ended before the newest sample less one
 *               range of level 1, so that late samples had their time) and
 *               there are at least two
 *
 * Order of values.  Where two blocks have a sample of one series at one time,
 * the first in the MANIFEST's order wins, and the block that is made sorts by
 * the highest arena of its sources.  So that no winner changes, a set may be
 * merged only if every block that stands between its first and its last in
 * that order, and is not in it, overlaps none of its members in time; blocks
 * of equal arena and t_min count as between each other.
 *
 * Histograms can be copied but not decoded: a block that has any joins a
 * merge only if its time overlaps none of the others'.
 */
#ifndef NLT_STORE_COMPACT_PLAN_H
#define NLT_STORE_COMPACT_PLAN_H

#include "nlt_manifest.h"

#define NLT_COMPACT_OVERLAP_MIN 4u
#define NLT_COMPACT_OVERLAP_MAX 16u
#define NLT_COMPACT_TIER        2u
#define NLT_COMPACT_BLOCKS_MAX  64u /* sources of one merge */

typedef struct {
    int64_t now_ms;       /* of the clock */
    int64_t newest_ms;    /* of all data, head included; INT64_MIN: none */
    int64_t retention_ms; /* bounds the ranges */
    uint64_t free_bytes;  /* of the disk: sources must fit in, or no plan */
    /* dirty[i]: block i has samples under a delete, found out before. */
    const bool *dirty; /* NULL: none */
} nlt_compact_in_t;

typedef enum {
    NLT_COMPACT_NONE,
    NLT_COMPACT_DELETES,
    NLT_COMPACT_OVERLAP,
    NLT_COMPACT_LEVEL
} nlt_compact_why_t;

typedef struct {
    nlt_compact_why_t why;
    size_t n;
    size_t idx[NLT_COMPACT_BLOCKS_MAX]; /* in m->blocks, ascending */
    unsigned level;                     /* of the block to be made */
    uint64_t bytes;                     /* of the sources */
    bool starved; /* there is work, but no room on the disk for it */
} nlt_compact_plan_t;

/*
 * The next thing to do; why is NONE when there is none.  NLT_ENOMEM.
 * O(n log n) for n blocks.
 */
NLT_CHECKED nlt_rc_t nlt_compact_plan(const nlt_manifest_t *m,
                                      const nlt_compact_in_t *in,
                                      nlt_pool_t *pool,
                                      nlt_compact_plan_t *out);

/* Range of a level (1 ..) for a retention, 0 above the highest. */
int64_t nlt_compact_range(unsigned level, int64_t retention_ms);

/*
 * Is merging these blocks (indexes ascending) safe for the order of values?
 * The planner's rule, also for tests.
 */
bool
nlt_compact_keeps_order(const nlt_manifest_t *m, const size_t *idx, size_t n);

/*
 * retention_size= and min_free=: the oldest blocks, by their end, that have
 * to go so that `over` bytes become free, at most cap; returns how many.
 * Blocks that end within the newest day of data stay.
 */
size_t nlt_compact_oldest(const nlt_manifest_t *m, int64_t newest_ms,
                          uint64_t over, size_t *idx, size_t cap);

#endif

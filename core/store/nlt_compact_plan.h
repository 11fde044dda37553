/*
 * nlt_compact_plan.h - which blocks should become one, and which must go.
 *
 * Floor 3 (store); uses base, nlt_manifest.
 * Threads: pure functions.  Memory: the pool of the caller.
 *
 * Flush leaves blocks of two hours, and of longer windows where samples are
 * older, and often several for the same time: an arena that was full early,
 * late samples, backfill, the other half of an HA pair.  A query pays for
 * each.  Compaction makes few large ones out of them, and copies each sample
 * only a few times in its life:
 *
 *     level   1     2     3      4       5
 *     range   2 h   8 h   24 h   8 d     32 d     aligned to multiples
 *
 * The highest range is the largest that is at most a tenth of the retention
 * (whole blocks are removed), and never below 24 h unless the retention is
 * that short.
 *
 * Groups.  The home of a block is the smallest range that is as long as it
 * is.  A window is over when it ended one level-1 range before the newest
 * sample, so that late samples had their time.  Each block belongs to the
 * group of the largest window, from its home up to the highest range, that
 * contains its first sample and is over:
 *
 *     |---------- 8 d, over ----------|- 24 h -|- 24 h -|8 h |8 h |2h|2h|
 *      one group, whatever is in it     group    group   one each   newest
 *
 * Windows that are not over group what has its home in them: the two hours of
 * now, and days of which a backlog was flushed (nlt_flush.h).  Blocks that are
 * longer than the highest range (imports, a retention that was shortened) form
 * groups with others of the same home that they overlap.
 *
 * Runs.  What is merged is a run: blocks of one group that follow each other
 * in the MANIFEST's order.  Blocks differ in size, and a large one shall not
 * be copied for every small one, so a run is only taken
 *
 *  - if its largest is at most TIER times as large as all others together and
 *    there are at least RUN_MIN.  The smallest that will do are preferred:
 *    sizes then grow by a factor of about four from copy to copy
 *  - when the window is over and nothing new came for QUIET_MS: if there are
 *    two, and the largest is at most QUIET_TIER times the others together;
 *    the largest such run, since this is the last time for long.  Blocks
 *    below 1 MiB count as if they had that size, because files are made for
 *    each
 *  - when the group has more than GROUP_MAX: whatever is cheapest
 *
 * So a group holds at most GROUP_MAX blocks, and at rest as many as sizes can
 * grow by QUIET_TIER + 1, which is one, two or three; unless the disk is
 * short, histograms overlap, or merging would change the order of values.
 *
 * Among all runs the one that does away with most blocks for its bytes goes
 * first.  Each merge leaves fewer blocks than it found, so planning ends.
 *
 * Deletes.  A block that has samples under a delete (`dirty`) is rewritten
 * alone, before anything else.  Who calls says when that is due.
 *
 * Format.  When there is nothing else to do, a block that is not of the format
 * that blocks should have is rewritten, too, the smallest first: whatever is
 * merged gets the format anyway.  A block that has histograms alone has none.
 *
 * Order of values.  Where two blocks have a sample of one series at one time,
 * the first in the MANIFEST's order wins: by arena, first time, ULID.  The
 * block that is made has the highest arena of its sources, their lowest
 * t_min_ms (the MANIFEST says so even if that sample was deleted), and a ULID
 * of now, which is later than theirs.  So that no winner changes, every other
 * block that overlaps a source in time must stand on the same side of the
 * result as it stood of that source.  A run of one group gives that but for
 * blocks outside of the group, which cut runs in pieces, and for blocks of
 * one arena that begin at the same time (imports), which are not parted at
 * the end of a run.
 *
 * Histograms can be copied but not decoded: a block that has any joins a
 * merge only if its time overlaps none of the others'.
 */
#ifndef NLT_STORE_COMPACT_PLAN_H
#define NLT_STORE_COMPACT_PLAN_H

#include "nlt_manifest.h"

#define NLT_COMPACT_RUN_MIN    4u
#define NLT_COMPACT_TIER       2u
#define NLT_COMPACT_QUIET_TIER 4u
#define NLT_COMPACT_QUIET_MS   5000
#define NLT_COMPACT_GROUP_MAX  16u
#define NLT_COMPACT_BLOCKS_MAX 64u /* sources of one merge */

typedef struct {
    int64_t now_ms;       /* of the clock; the ULID of the result is of it */
    int64_t newest_ms;    /* of all data, head included; INT64_MIN: none */
    int64_t retention_ms; /* bounds the ranges */
    uint64_t free_bytes;  /* of the disk: sources must fit in, or no plan */
    uint64_t bytes_max;   /* of sources together (retention_size=); 0: any */
    /* dirty[i]: block i has samples under a delete and is due.  NULL: none */
    const bool *dirty;
    /* skip[i]: block i shall stay as it is for now.  NULL: none */
    const bool *skip;
    bool dense;   /* format that blocks should have */
    bool convert; /* blocks of the other may be rewritten now */
} nlt_compact_in_t;

typedef enum {
    NLT_COMPACT_NONE,
    NLT_COMPACT_DELETES,
    NLT_COMPACT_OVERLAP, /* some of the sources overlap */
    NLT_COMPACT_LEVEL,
    NLT_COMPACT_FORMAT /* they are not of the format that they should have */
} nlt_compact_why_t;

typedef struct {
    nlt_compact_why_t why;
    size_t n;
    size_t idx[NLT_COMPACT_BLOCKS_MAX]; /* in m->blocks, ascending */
    unsigned level;                     /* of the block to be made */
    int64_t t_min_ms; /* lowest of the sources: what the MANIFEST will say */
    uint64_t bytes;   /* of the sources */
    bool starved;     /* there is work, but no room on the disk for it */
} nlt_compact_plan_t;

/*
 * The next thing to do; why is NONE when there is none.  NLT_ENOMEM.
 * O(n log n) for n blocks, and n for each block that is wider than the highest
 * range.
 */
NLT_CHECKED nlt_rc_t nlt_compact_plan(const nlt_manifest_t *m,
                                      const nlt_compact_in_t *in,
                                      nlt_pool_t *pool,
                                      nlt_compact_plan_t *out);

/* Range of a level (1 ..) for a retention, 0 above the highest. */
int64_t nlt_compact_range(unsigned level, int64_t retention_ms);

/*
 * [*start, *end): the window that a block with samples of t would be grouped
 * in, when the newest sample is of newest_ms.  Flush writes blocks of these.
 */
void nlt_compact_window(int64_t newest_ms, int64_t retention_ms, int64_t t_ms,
                        int64_t *start, int64_t *end);

/*
 * Is merging these blocks (indexes ascending, n > 0) safe for the order of
 * values, if it is done at now_ms?  O(blocks).
 */
bool nlt_compact_keeps_order(const nlt_manifest_t *m, const size_t *idx,
                             size_t n, int64_t now_ms);

/*
 * retention_size= and min_free=: indexes of the oldest blocks, by their end,
 * that have to go so that `over` bytes become free, at most cap; returns how
 * many.  Blocks that end after keep_ms stay.  O(blocks) for each.
 */
size_t nlt_compact_oldest(const nlt_manifest_t *m, int64_t keep_ms,
                          uint64_t over, size_t *idx, size_t cap);

#endif

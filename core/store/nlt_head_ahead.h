/*
 * nlt_head_ahead.h - chunks of series that are going to be read.
 *
 * Floor 3 (store); uses nlt_head.h.
 * Memory: in the pool of the samples.  Threads: those of the samples.
 */
#ifndef NLT_STORE_HEAD_AHEAD_H
#define NLT_STORE_HEAD_AHEAD_H

#include "nlt_head.h"

/*
 * A hint as well: series[0, n) are those from number idx on of a set, which is
 * read from 0 on into out, with these arguments.  Decodes the chunks of up to
 * NLT_ARENA_AHEAD of them that need a few at most, for nlt_arena_read() to
 * find in out->ahead; does nothing unless idx is 0 or the first that was not
 * looked at before.  `of` tells sets apart.  Worth it where
 * nlt_xor_many_lanes().  Uses 64 KiB of out's pool.  [any]
 */
typedef struct nlt_arena_ahead_s nlt_arena_ahead_t;
void
nlt_arena_decode_ahead(const nlt_arena_t *a, const void *of, size_t idx,
                       const uint32_t *series, size_t n, nlt_read_t what,
                       int64_t t_min_ms, int64_t t_max_ms, nlt_samples_t *out);

/*
 * nlt_arena_read() from what nlt_arena_decode_ahead() has left in out->ahead,
 * not NULL.  False: not there, or the series, whose entry is e, has changed;
 * then nothing was done.
 */
bool nlt_arena_ahead_read(nlt_samples_t *out, const nlt_arena_t *a,
                          uint32_t series, const nlt_arena_series_t *e,
                          nlt_read_t what, int64_t t_min_ms, int64_t t_max_ms);

#endif

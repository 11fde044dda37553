/*
 * nlt_head_spans.h - chunks of series, without decoding them.
 *
 * Floor 3 (store); for nlt_flush.c.
 * Memory: none of its own.  Threads: any, of an arena that is sealed.
 *
 * A closed chunk says when its first and its last sample were and how many it
 * has, so a flush can plan its blocks from a fiftieth of the bytes.
 */
#ifndef NLT_STORE_HEAD_SPANS_H
#define NLT_STORE_HEAD_SPANS_H

#include "nlt_head.h"

/* n > 0 samples, the first at t_min_ms, the last at t_max_ms; false: enough.
 */
typedef bool
nlt_arena_span_cb(void *ctx, int64_t t_min_ms, int64_t t_max_ms, uint32_t n);

/*
 * Calls cb for each chunk of a series that has samples in [t_min_ms,
 * t_max_ms], from the newest on; it may have others, too.  Returns NLT_OK when
 * those are all, or cb had enough; NLT_AGAIN, before any call, when the series
 * has samples that are in no such chunk (out of order): they have to be read.
 * NLT_EDATA.  Only the newest chunk is decoded.
 */
NLT_CHECKED nlt_rc_t nlt_arena_spans(const nlt_arena_t *a, uint32_t series,
                                     int64_t t_min_ms, int64_t t_max_ms,
                                     nlt_arena_span_cb *cb, void *ctx);

/*
 * A hint: the samples in that range of these n series, at most
 * NLT_ARENA_AHEAD, are read next.  Their chunks are chains of pieces far
 * apart; the chains of all of them are followed side by side, so that the
 * waits for memory fall together.  Fetches at most NLT_CHUNKS_FETCH chunks.
 */
void nlt_arena_fetch(const nlt_arena_t *a, const uint32_t *series, size_t n,
                     int64_t t_min_ms, int64_t t_max_ms);

#endif

/*
 * nlt_ahead.h - the next series of a set, read before they are asked for.
 *
 * Floor 3 (store); uses nlt_head.h, nlt_block.h, codec.
 * Memory: in the pool of the samples.  Threads: those of the samples.
 *
 * One XOR stream cannot be decoded quickly, sixteen side by side can
 * (nlt_xor_many.h).  A query reads the series of a set one after another, so
 * what it reads next is known: the chunks of the next series, of all their
 * parts, blocks and arenas, are decoded together, each series into arrays of
 * its own, and a read gives those instead of the caller's.
 *
 *     series   7: block A 3 chunks, block B 2, arena 1   -> slot 0
 *              8: block A 3 chunks, block B 2            -> slot 1
 *              ...                                          16 at once
 *
 * Everything that is out of the ordinary is left to the ordinary way of
 * reading: deletes, samples out of order, parts that overlap, dense chunks,
 * whatever is corrupt.  So a read has the same answer as without, and the
 * same errors.
 */
#ifndef NLT_STORE_AHEAD_H
#define NLT_STORE_AHEAD_H

#include "nlt_block.h"
#include "nlt_head.h"
#include "nlt_head_layout.h"

/* Parts of one series that are looked at, at most. */
#define NLT_AHEAD_PARTS 64

/* Chunks of one series, likewise. */
#define NLT_AHEAD_CHUNKS 512

/* One part that a series is in: one of the two. */
typedef struct {
    const nlt_arena_t *arena;
    const nlt_block_t *block;
    uint32_t id;
} nlt_ahead_ref_t;

/*
 * The parts of series idx of a set, oldest first, into refs (room for
 * NLT_AHEAD_PARTS); how many.  0: not a series to be read ahead.
 */
typedef size_t (*nlt_ahead_refs_t)(const void *of, size_t idx,
                                   nlt_ahead_ref_t *refs);

/*
 * Reads series idx of the n_of series of the set `of` from what was read
 * ahead, and reads ahead, up to out->upto, when idx is out->from or the one
 * that follows; then out->read_upto and read_n say which.  True: out has what
 * there is in [t_min_ms, t_max_ms], its arrays are others than before.
 * False: out is as it was, but for out->ahead; read it the ordinary way.
 * Takes at most a quarter of what is left of out's pool.  [any]
 */
bool nlt_ahead_read(nlt_samples_t *out, const void *of, size_t idx,
                    size_t n_of, nlt_ahead_refs_t refs, nlt_read_t what,
                    int64_t t_min_ms, int64_t t_max_ms);

/* ---- what parts give (nlt_head_ahead.c, nlt_block_ahead.c) ---- */

/* A chunk of a series that may have samples in the range. */
typedef struct {
    uint64_t ref;     /* of a block; offset in an arena */
    int64_t t_min_ms; /* its samples lie in here, so far as is known */
    int64_t t_max_ms;
    uint32_t n;       /* samples */
    uint32_t part;    /* of the series, which it is in */
    const uint8_t *p; /* its stream in the mapping; NULL: in an arena */
    size_t len;
    bool copy; /* it cannot be decoded where it lies */
} nlt_ahead_chunk_t;

/* Those of a series, oldest first. */
typedef struct {
    nlt_ahead_chunk_t v[NLT_AHEAD_CHUNKS];
    size_t n;
} nlt_ahead_chunks_t;

/* What a series of an arena was when its chunks were noted. */
typedef struct {
    const nlt_arena_series_t *e;
    uint64_t pub;
} nlt_ahead_mark_t;

/*
 * Appends the chunks of a series that overlap the range to out.  False: not
 * to be read ahead (something out of the ordinary; the newest sample is to be
 * had without).  An arena gives n and len, a block neither.
 */
bool nlt_arena_ahead_note(const nlt_arena_t *a, uint32_t series,
                          nlt_read_t what, int64_t t_min_ms, int64_t t_max_ms,
                          nlt_ahead_chunks_t *out, nlt_ahead_mark_t *mark);
bool nlt_block_ahead_note(const nlt_block_t *b, nlt_block_series_t id,
                          int64_t t_min_ms, int64_t t_max_ms,
                          nlt_ahead_chunks_t *out);

/* Is the series as it was? */
bool nlt_arena_ahead_same(const nlt_ahead_mark_t *mark);

/* Asks for the memory of chunks [0, n) of one arena. */
#define NLT_AHEAD_FETCH 64
void nlt_arena_ahead_fetch(const nlt_arena_t *a, const nlt_ahead_chunk_t *c,
                           size_t n);

/* Copies the stream of a chunk, c->len bytes; false: corrupt. */
bool nlt_arena_ahead_copy(const nlt_arena_t *a, const nlt_ahead_chunk_t *c,
                          uint8_t *to);

/*
 * Finds the stream of a chunk, checksum verified: n, p and len; n is 0 for one
 * of histograms.  copy is set where there are not NLT_XOR_MANY_PAD readable
 * bytes behind it.  False: corrupt, or a dense one.
 */
bool nlt_block_ahead_find(const nlt_block_t *b, nlt_ahead_chunk_t *c);

#endif

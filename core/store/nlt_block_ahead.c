/*
 * nlt_block_ahead.c - chunks of a block, found for nlt_ahead.c.
 *
 * Streams are decoded where they lie, in the mapping of the segment.  Lanes
 * read up to NLT_XOR_MANY_PAD bytes behind a stream, which are those of the
 * next chunk, or the zeros behind the end of the file in its last page; only
 * where a file ends near the end of a page there are none.
 */
#include "nlt_ahead.h"
#include "nlt_block_priv.h"
#include "nlt_bytes.h"
#include "nlt_xor_many.h"

/* Pages are a multiple of this everywhere. */
#define PAGE 4096u

bool
nlt_block_ahead_note(const nlt_block_t *b, nlt_block_series_t id,
                     int64_t t_min_ms, int64_t t_max_ms,
                     nlt_ahead_chunks_t *out)
{
    size_t n_gone;
    nlt_index_series_t s;

    (void) nlt_tombstones_of(&b->tombstones, id, &n_gone);
    if (n_gone > 0 || nlt_index_series_open(b->index, id, &s, NULL) != NLT_OK
        || nlt_index_series_chunks(&s, NULL) != NLT_OK) {
        return false;
    }
    while (s.n_chunks > 0) {
        nlt_index_chunk_t c;

        if (nlt_index_series_chunk(&s, &c, NULL) != NLT_OK) {
            return false;
        }
        if (c.t_min_ms > t_max_ms) {
            break;
        }
        if (c.t_max_ms < t_min_ms) {
            continue;
        }
        if (b->meta.dense || out->n == NLT_AHEAD_CHUNKS) {
            return false;
        }
        out->v[out->n++] = (nlt_ahead_chunk_t){
            .ref = c.ref, .t_min_ms = c.t_min_ms, .t_max_ms = c.t_max_ms};
    }
    return true;
}

bool
nlt_block_ahead_find(const nlt_block_t *b, nlt_ahead_chunk_t *c)
{
    nlt_index_chunk_t at = {
        .ref = c->ref, .t_min_ms = c->t_min_ms, .t_max_ms = c->t_max_ms};
    nlt_chunk_view_t view;
    const nlt_guard_t *g;
    size_t end, mapped;

    if (nlt_block_get_chunk(b, &at, &view, NULL) != NLT_OK
        || view.encoding == NLT_CHUNK_DENSE) {
        return false;
    }
    c->n = 0;
    if (!nlt_chunk_is_float(view.encoding)) {
        return true;
    }
    if (view.data.len < 2 || nlt_be16(view.data.data) == 0) {
        return false;
    }
    c->n = nlt_be16(view.data.data);
    c->p = (const uint8_t *) view.data.data + 2;
    c->len = view.data.len - 2;
    g = b->segments[c->ref >> 32];
    end = (size_t) (c->p + c->len - g->p);
    mapped = nlt_align_u64(g->len, PAGE);
    c->copy = mapped - end < NLT_XOR_MANY_PAD;
    return true;
}

/*
 * nlt_block_priv.h - the open block, for nlt_block*.c only.
 *
 * Floor 3 (store); uses base, model, index.
 */
#ifndef NLT_STORE_BLOCK_PRIV_H
#define NLT_STORE_BLOCK_PRIV_H

#include "nlt_block.h"
#include "nlt_chunk_file.h"
#include "nlt_guard.h"
#include "nlt_index_file.h"
#include "nlt_times.h"
#include "nlt_tombstones.h"
#include "nlt_xor.h"

struct nlt_block_s {
    const nlt_env_t *env;
    nlt_pool_t pool; /* of meta's lists and tombstones */
    nlt_block_meta_t meta;
    nlt_ulid_t name;
    _Atomic uint32_t hit; /* faults in the mappings: see nlt_guard.h */
    nlt_guard_t index_map;
    nlt_index_file_t *index;
    nlt_guard_t **segments; /* n_segments_cap of room */
    size_t n_segments;
    size_t n_segments_cap;
    nlt_tombstones_t tombstones;
    uint32_t tenants_end; /* last series of another tenant than 0, or 0 */
};

/*
 * The end of every function that reads a block: what was read is void, and
 * the answer NLT_EDATA, when a page of the mappings went away.  Otherwise puts
 * "block NAME: " before err's text (err may be NULL) and returns rc, so that
 * every failure of a block says which one it was.
 */
nlt_rc_t nlt_block_done(const nlt_block_t *b, nlt_rc_t rc, nlt_err_t *err);

/*
 * Finds tenants_end; when the block is opened, a postings list is read of one
 * that has tenants.  NLT_EDATA, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_find_tenants(nlt_block_t *b, nlt_err_t *err);

/*
 * The chunk that the index names, checksum verified, of an encoding that has
 * a meaning.  NLT_EDATA, NLT_EVERSION.
 */
NLT_CHECKED nlt_rc_t nlt_block_get_chunk(const nlt_block_t *b,
                                         const nlt_index_chunk_t *c,
                                         nlt_chunk_view_t *out,
                                         nlt_err_t *err);

/*
 * Finds the times of a dense chunk: view->times.  NLT_EDATA.
 */
NLT_CHECKED nlt_rc_t nlt_block_dense_times(const nlt_block_t *b,
                                           const nlt_index_chunk_t *c,
                                           nlt_chunk_view_t *view,
                                           nlt_err_t *err);

/*
 * All n times of a dense chunk, and the values as they are encoded, in the
 * mapping.  NULL, or what is wrong with them, as below.
 */
const char *
nlt_block_dense_split(const nlt_index_chunk_t *c, const nlt_chunk_view_t *view,
                      uint32_t n, int64_t *t_ms, nlt_str_t *values);

/*
 * All n samples of a dense chunk.  NULL, or what is wrong with it: times
 * ascend, the first and last of them in the chunk's range.
 */
const char *nlt_block_dense_decode(const nlt_index_chunk_t *c,
                                   const nlt_chunk_view_t *view, uint32_t n,
                                   int64_t *t_ms, double *v);

/*
 * Appends the samples of a dense chunk that lie in [t_min_ms, t_max_ms], which
 * overlaps the chunk's range; of times and values only those segments are
 * decoded.  what: all, or only the newest of them.  view->times is not looked
 * at.  shared: as nlt_block_read_shared().
 * NLT_EDATA, NLT_ENOMEM; out is then as it was.
 */
NLT_CHECKED nlt_rc_t nlt_block_dense_read(
    const nlt_block_t *b, const nlt_index_chunk_t *c,
    const nlt_chunk_view_t *view, nlt_read_t what, int64_t t_min_ms,
    int64_t t_max_ms, nlt_times_t *shared, nlt_samples_t *out, nlt_err_t *err);

/*
 * Appends all samples of a chunk of floats to out; they lie in the chunk's
 * range and ascend, or NLT_EDATA.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_decode_chunk(const nlt_index_chunk_t *c,
                                            const nlt_chunk_view_t *view,
                                            nlt_samples_t *out,
                                            nlt_err_t *err);

/* The same; end and n_bits as nlt_xor_decode() leaves them, for joining;
 * NULL for a dense chunk. */
NLT_CHECKED nlt_rc_t nlt_block_decode_state(const nlt_index_chunk_t *c,
                                            const nlt_chunk_view_t *view,
                                            nlt_samples_t *out,
                                            nlt_xor_state_t *end,
                                            uint64_t *n_bits, nlt_err_t *err);

#endif

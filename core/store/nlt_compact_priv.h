/*
 * nlt_compact_priv.h - what the files of the merge share.
 *
 * Floor 3 (store); uses nlt_block, nlt_block_write, nlt_cuts.
 *
 *   nlt_compact.c          which series stay, which symbols, in which order
 *   nlt_compact_rules.c    what is cut out of the series of a source
 *   nlt_compact_chunks.c   the chunks of one series of the result
 */
#ifndef NLT_STORE_COMPACT_PRIV_H
#define NLT_STORE_COMPACT_PRIV_H

#include "nlt_block_owners.h"
#include "nlt_block_priv.h"
#include "nlt_block_write.h"
#include "nlt_compact.h"
#include "nlt_cuts.h"
#include "nlt_dense.h"

/* Chunks of at most so many samples become one with their neighbours. */
#define NLT_COMPACT_CHUNK_MAX 512u

/* A dense chunk of so many is copied: with another it is too long for one. */
#define NLT_COMPACT_DENSE_MIN (NLT_DENSE_SAMPLES_MAX / 2 + 1)

/*
 * Bound of a pool for what is remembered of n sources: their symbols and the
 * lists of series that rules are about are no more than their indexes have
 * bytes, some times.
 */
size_t nlt_compact_budget(const nlt_compact_source_t *sources, size_t n,
                          const nlt_delete_list_t *deletes);

/* ---- what is cut out ---- */

typedef struct {
    const nlt_block_t *block;
    const uint32_t *tenant;    /* NULL: all are wanted */
    int64_t t_oldest_ms;       /* of tenant 0, or all */
    nlt_block_owner_t *owners; /* where others differ, or one is wanted */
    int64_t *owner_oldest;     /* theirs; NULL: as all */
    size_t n_owners;
    nlt_cuts_t cuts;
    nlt_interval_t *v; /* of the series in hand, joined */
    size_t n;
} nlt_compact_rules_t;

/*
 * Finds the series of a source that rules are about; lists of them are in the
 * pool.  Errors as nlt_cutter_block().
 */
NLT_CHECKED nlt_rc_t nlt_compact_rules_init(nlt_compact_rules_t *r,
                                            nlt_cutter_t *cutter,
                                            const nlt_compact_source_t *source,
                                            const nlt_compact_conf_t *conf,
                                            nlt_pool_t *keep, nlt_err_t *err);

/* Is the series of the tenant whose alone are wanted, if one is? */
bool nlt_compact_rules_want(const nlt_compact_rules_t *r, uint32_t id);

/* Puts what is cut out of a series into r->v. */
void nlt_compact_rules_series(nlt_compact_rules_t *r, uint32_t id);

typedef enum {
    NLT_COMPACT_CHUNK_STAYS,
    NLT_COMPACT_CHUNK_CUT, /* perhaps all of it */
    NLT_COMPACT_CHUNK_GONE
} nlt_compact_fate_t;

/*
 * What becomes of a chunk of the series in hand.  Of one that is cut the
 * range is narrowed as far as the cuts alone tell.
 */
nlt_compact_fate_t
nlt_compact_rules_chunk(const nlt_compact_rules_t *r, int64_t *t_min_ms,
                        int64_t *t_max_ms);

/* ---- chunks of one series ---- */

/* One chunk of a series of the result, on its way there. */
typedef struct {
    nlt_index_chunk_t c; /* as the index of its source has it */
    int64_t t_min_ms;    /* of what is left of it, or wider */
    int64_t t_max_ms;
    nlt_chunk_view_t view;
    uint32_t n_samples;         /* before it is cut */
    bool ours;                  /* by us: windows were chosen with care */
    uint32_t source;            /* the lowest wins where times are equal */
    const nlt_interval_t *cuts; /* n_cuts, joined; 0: nothing is cut out */
    size_t n_cuts;
} nlt_compact_chunk_t;

typedef struct {
    nlt_pool_t hold; /* of the arrays, for all series */
    nlt_buf_t bytes; /* of new chunks, for one series */
    nlt_err_t *err;
    nlt_samples_t in;  /* of one chunk */
    nlt_samples_t acc; /* decoded, not yet encoded; ascending */
    uint32_t *who;     /* source of each sample in acc; who_cap of room */
    size_t who_cap;
    const nlt_compact_chunk_t *held; /* neighbours that may become one */
    size_t n_held;
    size_t held_samples;
    nlt_block_chunk_t *out;
    size_t n_out;
    size_t out_cap;
    uint32_t damaged; /* source of the chunk that was NLT_EDATA */
    const nlt_mem_t *mem;
    nlt_dense_work_t *work; /* NULL: the result has XOR chunks */
} nlt_compact_chunks_t;

/* An empty one; err is retained.  Cannot fail. */
void nlt_compact_chunks_init(nlt_compact_chunks_t *j, const nlt_mem_t *mem,
                             nlt_err_t *err);

/* Makes chunks of floats dense from now on.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_compact_chunks_dense(nlt_compact_chunks_t *j);

/* Frees what it holds. */
void nlt_compact_chunks_deinit(nlt_compact_chunks_t *j);

/*
 * Makes the chunks of one series out of n, sorted by t_min_ms, then source.
 * They are in j->out until the next call, bytes in the sources' mappings or
 * in j.  NLT_EDATA (j->damaged), NLT_ELIMIT (histograms overlap),
 * NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_compact_chunks_merge(nlt_compact_chunks_t *j,
                                              const nlt_compact_chunk_t *v,
                                              size_t n);

#endif

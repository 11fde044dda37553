/*
 * nlt_block.h - reads one Prometheus TSDB block.
 *
 * Floor 3 (store); uses base, model, codec, index.
 * Format: docs/formats/block.md.
 * Threads: an open block is read-only; any number of threads.
 *
 * A block is mapped, not read: opening costs its TOC, the table of contents
 * and the sparse postings table, and a query touches what it needs.  Every
 * byte is distrusted: offsets, lengths and checksums are checked where they
 * are used, and NLT_EDATA names block, file and offset.  The checksum of a
 * section is verified when the section is first used, that of a chunk at
 * every read.
 *
 * Pages that go away under the mapping are no death (nlt_guard.h): from then
 * on every function here gives NLT_EDATA.  Strings that it gave before may
 * read as zeros: who used any asks nlt_block_intact() before it relies on
 * what it made of them.
 */
#ifndef NLT_STORE_BLOCK_H
#define NLT_STORE_BLOCK_H

#include "nlt_block_meta.h"
#include "nlt_matcher.h"
#include "nlt_source.h"
#include "nlt_times.h"
#include "nlt_tombstones.h"

typedef struct nlt_block_s nlt_block_t;

/*
 * Opens the block directory `name` (a ULID) below dir_fd.  NLT_ENOENT,
 * NLT_EDATA, NLT_EVERSION, NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_open(const nlt_env_t *env, int dir_fd,
                                    const char *name, nlt_block_t **out,
                                    nlt_err_t *err);

/* Unmaps and frees it; no set or string of it may be in use. */
void nlt_block_close(nlt_block_t *b);

/*
 * NLT_OK while all that was ever read of the block was there; NLT_EDATA when
 * pages of it went away, or the index is shorter than it was.  About 20 ns.
 */
NLT_CHECKED nlt_rc_t nlt_block_intact(const nlt_block_t *b, nlt_err_t *err);

/*
 * Text of an error without the "block NAME: " with which the functions here
 * begin it, for those who say that themselves; in err.
 */
const char *nlt_block_reason(const char *name, const nlt_err_t *err);

/* What meta.json says; lives as long as the block.  Its range is half-open. */
const nlt_block_meta_t *nlt_block_meta(const nlt_block_t *b);

/*
 * What its tombstones file says, by number of series; empty unless the block
 * was imported.  nlt_block_read() and nlt_block_overlaps() keep to it, raw
 * chunks, lists of labels and select do not.
 */
const nlt_tombstones_t *nlt_block_tombstones(const nlt_block_t *b);

/* A series of a block: its number in the index (offset / 16). */
typedef uint32_t nlt_block_series_t;

/*
 * Numbers of all series that match, ascending (which is label order), in the
 * pool.  No matcher: all series.  Matchers are compiled.
 */
NLT_CHECKED nlt_rc_t nlt_block_select(const nlt_block_t *b, nlt_pool_t *pool,
                                      const nlt_matcher_t *matchers,
                                      size_t n_matchers,
                                      nlt_block_series_t **out, size_t *n,
                                      nlt_err_t *err);

/* Asked now and then by what may take long; another code than NLT_OK ends it
 * and describes itself in err. */
typedef struct {
    nlt_rc_t (*poll)(void *ctx, nlt_err_t *err);
    void *ctx;
} nlt_block_poll_t;

/*
 * The same; poll, if not NULL, is asked before each matcher and after 1024
 * values or series.  What it returned.
 */
NLT_CHECKED nlt_rc_t nlt_block_select_polled(
    const nlt_block_t *b, nlt_pool_t *pool, const nlt_matcher_t *matchers,
    size_t n_matchers, const nlt_block_poll_t *poll, nlt_block_series_t **out,
    size_t *n, nlt_err_t *err);

/* Sorted labels of one series; array in the pool, strings in the mapping. */
NLT_CHECKED nlt_rc_t nlt_block_labels(const nlt_block_t *b,
                                      nlt_block_series_t id, nlt_pool_t *pool,
                                      nlt_labels_t *out, nlt_err_t *err);

/*
 * Has a chunk of float samples, of a series without tombstones, an end in the
 * range?  Then the series has a sample there; false: read to know.  alone: the
 * block is known to have no histograms, so chunks need not be looked at.
 */
NLT_CHECKED nlt_rc_t nlt_block_has_floats(const nlt_block_t *b,
                                          nlt_block_series_t id,
                                          int64_t t_min_ms, int64_t t_max_ms,
                                          bool alone, bool *out,
                                          nlt_err_t *err);

/*
 * The same by numbers.  nlt_block_symbol() gives that of a text, 0 when the
 * block has none; nlt_block_label_nos() those of a series' values of n names
 * (numbers, too), 0 for those it has not.  False: corrupt; ask
 * nlt_block_labels() for the text.
 */
uint64_t nlt_block_symbol(const nlt_block_t *b, nlt_str_t s);
bool nlt_block_label_nos(const nlt_block_t *b, nlt_block_series_t id,
                         const uint64_t *names, size_t n, uint64_t *out);

/*
 * Value of one label of a series, empty when absent; in the mapping.  Looks
 * up one name and one value, however many labels there are.  NLT_EDATA.
 */
NLT_CHECKED nlt_rc_t nlt_block_label(const nlt_block_t *b,
                                     nlt_block_series_t id, nlt_str_t name,
                                     nlt_str_t *out, nlt_err_t *err);

/*
 * Appends the float samples of a series in [t_min_ms, t_max_ms] to out
 * (ascending; what out has already is left alone).  Chunks of histograms
 * are passed over.  NLT_EDATA, NLT_EVERSION (a chunk of an encoding that this
 * version does not know), NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_read(const nlt_block_t *b,
                                    nlt_block_series_t id, int64_t t_min_ms,
                                    int64_t t_max_ms, nlt_samples_t *out,
                                    nlt_err_t *err);

/*
 * The same.  Times of dense chunks that were decoded are kept in `shared`, and
 * taken from it; it belongs to one query, and the block stays open until it is
 * no more.  NULL: nothing is kept.
 */
NLT_CHECKED nlt_rc_t nlt_block_read_shared(const nlt_block_t *b,
                                           nlt_block_series_t id,
                                           int64_t t_min_ms, int64_t t_max_ms,
                                           nlt_times_t *shared,
                                           nlt_samples_t *out, nlt_err_t *err);

/*
 * The same, of which only the newest sample counts, the last of what is
 * appended: of all chunks one is decoded, of a dense one a segment.
 */
NLT_CHECKED nlt_rc_t nlt_block_read_newest(const nlt_block_t *b,
                                           nlt_block_series_t id,
                                           int64_t t_min_ms, int64_t t_max_ms,
                                           nlt_times_t *shared,
                                           nlt_samples_t *out, nlt_err_t *err);

/*
 * Does any chunk of the series overlap the range, and is not wholly under a
 * tombstone in it?  From the index alone.
 */
NLT_CHECKED nlt_rc_t nlt_block_overlaps(const nlt_block_t *b,
                                        nlt_block_series_t id,
                                        int64_t t_min_ms, int64_t t_max_ms,
                                        bool *out, nlt_err_t *err);

/*
 * The same with n_gone joined intervals that are not there any more, whatever
 * the tombstones say.
 */
NLT_CHECKED nlt_rc_t nlt_block_has_more(const nlt_block_t *b,
                                        nlt_block_series_t id,
                                        int64_t t_min_ms, int64_t t_max_ms,
                                        const nlt_interval_t *gone,
                                        size_t n_gone, bool *out,
                                        nlt_err_t *err);

/*
 * Has the series a chunk of histograms in the range that is not wholly under
 * a tombstone, or one of n_gone joined intervals?
 */
NLT_CHECKED nlt_rc_t nlt_block_has_histograms(
    const nlt_block_t *b, nlt_block_series_t id, int64_t t_min_ms,
    int64_t t_max_ms, const nlt_interval_t *gone, size_t n_gone, bool *out,
    nlt_err_t *err);

/* One chunk as it lies on disk, checksum verified. */
typedef struct {
    int64_t t_min_ms;
    int64_t t_max_ms;
    uint8_t encoding;
    nlt_str_t data;
} nlt_block_raw_chunk_t;

/* All chunks of a series, in the pool: for compaction and inspection. */
NLT_CHECKED nlt_rc_t nlt_block_chunks(const nlt_block_t *b,
                                      nlt_block_series_t id, nlt_pool_t *pool,
                                      nlt_block_raw_chunk_t **out, size_t *n,
                                      nlt_err_t *err);

/* All label names, sorted; strings in the mapping, array in the pool. */
NLT_CHECKED nlt_rc_t nlt_block_label_names(const nlt_block_t *b,
                                           nlt_pool_t *pool, nlt_str_t **out,
                                           size_t *n, nlt_err_t *err);

/* All values of a label, sorted. */
NLT_CHECKED nlt_rc_t nlt_block_label_values(const nlt_block_t *b,
                                            nlt_str_t name, nlt_pool_t *pool,
                                            nlt_str_t **out, size_t *n,
                                            nlt_err_t *err);

/* What a check of a whole block counted. */
typedef struct {
    uint64_t n_series;
    uint64_t n_chunks;
    uint64_t n_floats;     /* samples */
    uint64_t n_histograms; /* likewise */
    int64_t t_min_ms;      /* of the first and last sample, inclusive */
    int64_t t_max_ms;
} nlt_block_facts_t;

/*
 * Checks everything there is to check, in index, chunks and meta.json: all
 * sections, checksums, order and references; that chunks lie inside the block
 * and do not overlap, that samples of floats lie where the index says, ascend
 * and are as many as meta.json says, that labels are UTF-8.  Of histograms
 * only checksum, number and place are known.  NLT_EDATA, NLT_EVERSION (a
 * chunk of a later encoding), NLT_ENOMEM (the pool: 4 bytes a series, twice,
 * and 1 MiB), what poll returned.
 *   poll   NULL or asked every few milliseconds
 *   facts  NULL or filled
 * 100,000 series of 10 labels and 240 samples take 0.7 s (bench_import).
 */
NLT_CHECKED nlt_rc_t nlt_block_check(const nlt_block_t *b, nlt_pool_t *pool,
                                     nlt_rc_t (*poll)(void *ctx), void *ctx,
                                     nlt_block_facts_t *facts, nlt_err_t *err);

/* The same without poll and facts, for nightlight-inspect and tests. */
NLT_CHECKED nlt_rc_t nlt_block_validate(const nlt_block_t *b, nlt_pool_t *pool,
                                        nlt_err_t *err);

#endif

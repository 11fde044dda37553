/*
 * nlt_index_file.h - reads the index file of a block.
 *
 * Floor 2 (index); uses base, model.  Format: docs/formats/block.md, "index".
 * Follows: Prometheus index format, version 2; differs: versions 1 and 3 are
 * refused by name.
 * Memory: mem, 1 KiB, 4 bytes for every 8 symbols and every 32 label values.
 * Threads: an open index is read-only, but for a cache whose entries are
 * atomic; any number of threads.
 *
 * The index says which series a block has and where their chunks lie:
 *
 *     symbols         every string once, sorted; a label is two ordinals
 *     series          per series: labels, and per chunk its times and place
 *     postings        per label pair the numbers of its series, ascending
 *     offset table    per label pair where its postings list is
 *     TOC             where these begin; the last 52 bytes
 *
 * The caller gives the whole file in memory (a mapping) and keeps it there.
 * Opening reads the TOC and walks symbols and offset table once, verifying
 * their checksums and noting every 8th symbol and every 32nd value; a lookup
 * bisects these notes and walks at most as many entries.  Postings and series
 * carry a checksum each, verified whenever one is read.  The number of a
 * series is its file offset divided by 16; series are in label order, so
 * numbers are too.
 *
 * Every byte is distrusted: all offsets and lengths are checked where they
 * are used; errors say what and at which offset of the file.
 */
#ifndef NLT_INDEX_INDEX_FILE_H
#define NLT_INDEX_INDEX_FILE_H

#include "nlt_bytes.h"
#include "nlt_labels.h"
#include "nlt_postings.h"

#define NLT_INDEX_MAGIC     0xbaaad700u
#define NLT_INDEX_VERSION   2
#define NLT_INDEX_TOC_BYTES 52
/* One of so many is noted at open. */
#define NLT_INDEX_SYMBOLS_SPARSE 8
#define NLT_INDEX_VALUES_SPARSE  32

typedef struct nlt_index_file_s nlt_index_file_t;

/* One chunk of a series as the index knows it. */
typedef struct {
    int64_t t_min_ms; /* of its first and last sample, inclusive */
    int64_t t_max_ms;
    uint64_t ref; /* segment number from 0 << 32 | byte offset in it */
} nlt_index_chunk_t;

/*
 * Opens an index of len bytes at data, which are borrowed until close.
 * NLT_EDATA, NLT_EVERSION (not version 2), NLT_ENOMEM.  O(symbols + label
 * pairs), about 10 ns each.
 */
NLT_CHECKED nlt_rc_t nlt_index_file_open(const nlt_mem_t *mem,
                                         const void *data, size_t len,
                                         nlt_index_file_t **out,
                                         nlt_err_t *err);

/* Frees what open made; NULL is allowed. */
void nlt_index_file_close(nlt_index_file_t *ix);

/*
 * Is the end of the file still what it was?  Symbols and table of postings
 * are verified at open and read afterwards; a file that is cut short later
 * reads as zeros up to the end of its last page, and as a fault behind it.
 * About 20 ns.
 */
bool nlt_index_file_ends(const nlt_index_file_t *ix);

/* How many symbols, and the text of number ref (in the mapping). */
size_t nlt_index_file_n_symbols(const nlt_index_file_t *ix);
NLT_CHECKED nlt_rc_t nlt_index_file_symbol(const nlt_index_file_t *ix,
                                           uint64_t ref, nlt_str_t *out,
                                           nlt_err_t *err);

/*
 * Ordinal of a string among the symbols, for comparing with the ordinals of
 * nlt_index_series_refs(); false when it is none.  O(log symbols).
 */
bool nlt_index_file_find_symbol(const nlt_index_file_t *ix, nlt_str_t s,
                                uint64_t *ref);

/* Stands before the first symbol: nlt_index_file_n_symbols() of them, each
 * read by nlt_read_uvarint_str(), in the order of the file. */
nlt_reader_t nlt_index_file_symbols(const nlt_index_file_t *ix);

/* Label names, sorted, without the empty one of "all series". */
size_t nlt_index_file_n_names(const nlt_index_file_t *ix);
nlt_str_t nlt_index_file_name(const nlt_index_file_t *ix, size_t idx);

/* How many values a label has; 0 when no series has it.  O(log names). */
size_t nlt_index_file_n_values(const nlt_index_file_t *ix, nlt_str_t name);

/* A walk over the values of one label; value and postings_off are of the one
 * it stands on. */
typedef struct {
    nlt_reader_t r;
    size_t left;
    nlt_str_t value;       /* in the mapping */
    uint64_t postings_off; /* for nlt_index_file_postings_at() */
} nlt_index_values_t;

/* Stands before the first value; there is none if no series has the label. */
nlt_index_values_t
nlt_index_file_values(const nlt_index_file_t *ix, nlt_str_t name);

/* Steps to the next value, ascending; false behind the last. */
bool nlt_index_values_next(nlt_index_values_t *it);

/*
 * Offset of the list of a label pair, for those below; 0 when no series has
 * it.  O(log of the values of the label).
 */
uint64_t nlt_index_file_find_postings(const nlt_index_file_t *ix,
                                      nlt_str_t name, nlt_str_t value);

/*
 * How many series the list at an offset is said to have.  Nothing is verified:
 * it may be any number where the file is corrupt, and 0 outside of it.
 */
size_t
nlt_index_file_postings_n(const nlt_index_file_t *ix, uint64_t postings_off);

/*
 * The series of one label pair, ascending, in the pool; n 0 when there are
 * none.  Name and value empty: all series.  NLT_EDATA, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_index_file_postings(const nlt_index_file_t *ix,
                                             nlt_pool_t *pool, nlt_str_t name,
                                             nlt_str_t value,
                                             nlt_postings_t *out,
                                             nlt_err_t *err);
NLT_CHECKED nlt_rc_t nlt_index_file_postings_at(const nlt_index_file_t *ix,
                                                nlt_pool_t *pool,
                                                uint64_t postings_off,
                                                nlt_postings_t *out,
                                                nlt_err_t *err);

/*
 * Reads one series entry: first its labels, then its chunks.
 *
 *     nlt_index_series_open(ix, id, &s, err)
 *     nlt_index_series_labels(&s, labels, err)
 *     nlt_index_series_chunks(&s, err)
 *     while s.n_chunks > 0:  nlt_index_series_chunk(&s, &chunk, err)
 */
typedef struct {
    const nlt_index_file_t *ix;
    uint32_t id;
    nlt_reader_t r;
    uint64_t n_labels; /* not yet read */
    uint64_t n_chunks; /* not yet read */
    bool first_chunk;
    nlt_index_chunk_t chunk; /* the last one read */
} nlt_index_series_t;

/*
 * A walk over all series in the order of the file, which is label order,
 * without a list of them:
 *
 *     for (id = nlt_index_file_first(ix); id; id = nlt_index_series_next(&s))
 *         nlt_index_series_open(ix, id, &s, err)
 *
 * 0: there is none (any more).
 */
uint32_t nlt_index_file_first(const nlt_index_file_t *ix);
uint32_t nlt_index_series_next(const nlt_index_series_t *s);

typedef struct {
    uint32_t first;
    uint32_t end;
} nlt_index_span_t;

/* Bounds of all numbers of series, for tables by number. */
nlt_index_span_t nlt_index_file_span(const nlt_index_file_t *ix);

/* Checks the place and the checksum of entry id.  NLT_EDATA. */
NLT_CHECKED nlt_rc_t nlt_index_series_open(const nlt_index_file_t *ix,
                                           uint32_t id, nlt_index_series_t *s,
                                           nlt_err_t *err);

/* The labels not yet read, into an array of n_labels.  NLT_EDATA. */
NLT_CHECKED nlt_rc_t nlt_index_series_labels(nlt_index_series_t *s,
                                             nlt_label_t *out, nlt_err_t *err);

/* NLT_EDATA, and the text of it. */
nlt_rc_t
nlt_index_series_cut_short(const nlt_index_series_t *s, nlt_err_t *err);

/* The next one, only while n_labels > 0, as ordinals of symbols, whose texts
 * are not looked up.  NLT_EDATA. */
NLT_CHECKED static inline nlt_rc_t
nlt_index_series_refs(nlt_index_series_t *s, uint64_t *name_ref,
                      uint64_t *value_ref, nlt_err_t *err)
{
    *name_ref = nlt_read_uvarint(&s->r);
    *value_ref = nlt_read_uvarint(&s->r);
    s->n_labels--;
    return nlt_likely(!s->r.failed) ? NLT_OK
                                    : nlt_index_series_cut_short(s, err);
}

/*
 * Of the labels not yet read those with n names: numbers of symbols + 1, in
 * out the values' likewise, or 0 where the series has no such label.  Reads no
 * further than it has to.  NLT_EDATA.  Some 3 ns a label.
 */
NLT_CHECKED nlt_rc_t nlt_index_series_values(nlt_index_series_t *s,
                                             const uint64_t *names, size_t n,
                                             uint64_t *out, nlt_err_t *err);

/* Passes over labels not yet read and stands before the chunks. */
NLT_CHECKED nlt_rc_t nlt_index_series_chunks(nlt_index_series_t *s,
                                             nlt_err_t *err);

/*
 * The next chunk; only while n_chunks > 0.  It begins after the one before
 * has ended and does not end before it begins, or NLT_EDATA.
 */
NLT_CHECKED nlt_rc_t nlt_index_series_chunk(nlt_index_series_t *s,
                                            nlt_index_chunk_t *out,
                                            nlt_err_t *err);

/* What nlt_index_file_validate() calls meanwhile; either may be NULL. */
typedef struct {
    /* Gets every chunk of every series; another code than NLT_OK ends it. */
    nlt_rc_t (*chunk)(void *ctx, uint32_t id, const nlt_index_chunk_t *chunk,
                      nlt_err_t *err);
    /* Asked every few hundred series, more often than every 10 ms. */
    nlt_rc_t (*poll)(void *ctx);
    void *ctx;
} nlt_index_check_t;

/*
 * Checks all there is: that symbols are UTF-8, order of symbols, of label
 * pairs, series and postings, every checksum, and that each label of each
 * series is in its postings list and nothing else is.  Scratch in the pool:
 * the list of all series and one other postings list at a time.  check may be
 * NULL.  NLT_EDATA, NLT_ENOMEM, what its functions returned.  About 0.2 us a
 * label of a series.
 */
NLT_CHECKED nlt_rc_t nlt_index_file_validate(const nlt_index_file_t *ix,
                                             nlt_pool_t *pool,
                                             const nlt_index_check_t *check,
                                             nlt_err_t *err);

#endif

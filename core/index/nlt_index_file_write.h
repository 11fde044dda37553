/*
 * nlt_index_file_write.h - writes the index file of a block.
 *
 * Floor 2 (index); uses base, model.  Format: docs/formats/block.md, "index".
 * Follows: Prometheus index format, version 2; differs: label indices, which
 * no reader uses, are left out (their offsets in the TOC are zero).
 * Threads: one per writer.
 *
 * The file is written from front to back, never seeking:
 *
 *     open -> symbols -> series* -> finish        close at any point
 *
 * What must be remembered until the end are the postings: which series has
 * which label.  They are kept as one log of label-pair numbers in series
 * order, four bytes for each label of each series, and turned into lists by
 * counting sort, some million at a time; a hash table of lists would need
 * two to three times the memory.  The symbols are kept as they were written,
 * behind a hash table, because every label of every series is looked up.
 */
#ifndef NLT_INDEX_INDEX_FILE_WRITE_H
#define NLT_INDEX_INDEX_FILE_WRITE_H

#include "nlt_index_file.h"
#include "nlt_io.h"
#include "nlt_labels.h"

typedef struct nlt_index_writer_s nlt_index_writer_t;

/*
 * Begins an index at the position of fd, which must be the start of an empty
 * file.  mem, io and fd are retained until close.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_index_writer_open(const nlt_mem_t *mem,
                                           const nlt_io_t *io, int fd,
                                           nlt_index_writer_t **out,
                                           nlt_err_t *err);

/*
 * Asks poll from now on, every 256 KiB of the file and between steps of
 * finish; another code than NLT_OK ends what is being done.
 */
void nlt_index_writer_poll(nlt_index_writer_t *w, nlt_rc_t (*poll)(void *ctx),
                           void *ctx);

/*
 * Every string that any label will have, ascending by bytes, unique; copied.
 * Exactly once, before the first series.  NLT_EORDER (says which), NLT_EIO,
 * NLT_ENOMEM, NLT_EFULL (4 GiB of symbols), NLT_EINVAL (called twice).
 */
NLT_CHECKED nlt_rc_t nlt_index_writer_symbols(nlt_index_writer_t *w,
                                              const nlt_str_t *symbols,
                                              size_t n, nlt_err_t *err);

/*
 * The next series: labels sorted by name, at least one, none empty; greater
 * than the series before.  Chunks in time order, without overlap, n > 0,
 * references not descending.  NLT_EORDER, NLT_EINVAL (no labels, no chunks,
 * or a string that is no symbol), NLT_EIO, NLT_ENOMEM, NLT_EFULL (64 GiB of
 * series).  About 0.1 us a label.
 */
NLT_CHECKED nlt_rc_t nlt_index_writer_series(nlt_index_writer_t *w,
                                             nlt_labels_t labels,
                                             const nlt_index_chunk_t *chunks,
                                             size_t n_chunks, nlt_err_t *err);

/*
 * The same for a caller who knows the ordinals of the strings among the
 * symbols: name and value of each label, 2 * n_labels numbers, names
 * ascending.  Saves looking them up, and a writer that only gets these needs
 * no table to look them up in.
 */
NLT_CHECKED nlt_rc_t nlt_index_writer_refs(nlt_index_writer_t *w,
                                           const uint32_t *refs,
                                           size_t n_labels,
                                           const nlt_index_chunk_t *chunks,
                                           size_t n_chunks, nlt_err_t *err);

/* Number of the series that was written last; 0: none yet. */
uint32_t nlt_index_writer_last(const nlt_index_writer_t *w);

/*
 * Writes postings, their table and the TOC.  The file is complete but not
 * synced.  *size_bytes (may be NULL) gets its length.  NLT_EIO, NLT_ENOMEM,
 * NLT_EFULL, NLT_EINVAL (no symbols yet).
 */
NLT_CHECKED nlt_rc_t nlt_index_writer_finish(nlt_index_writer_t *w,
                                             uint64_t *size_bytes,
                                             nlt_err_t *err);

/* Frees the writer; fd stays open.  NULL is allowed. */
void nlt_index_writer_close(nlt_index_writer_t *w);

#endif

/*
 * nlt_block_dense.h - dense chunks on their way into a block.
 *
 * Floor 3 (store); uses codec, nlt_chunk_file.
 * Format: docs/formats/dense.md, "In a block".
 * Threads: that of the writer of the block.
 *
 * Series that are scraped together have the same times.  So these are chunks
 * of their own, before the first chunk of values that has them, and each
 * chunk of values names its own.  The writer remembers a thousand of them, by
 * hash, as they were encoded; one is taken again only if it decodes to the
 * very same times.
 */
#ifndef NLT_STORE_BLOCK_DENSE_H
#define NLT_STORE_BLOCK_DENSE_H

#include "nlt_block_write.h"
#include "nlt_chunk_file.h"
#include "nlt_dense.h"

typedef struct nlt_block_dense_s nlt_block_dense_t;

/* Room that nlt_block_dense_encode() of n samples needs at most. */
static inline size_t
nlt_block_dense_bytes_max(size_t n)
{
    return nlt_dense_bytes_max(n) + n * sizeof(int64_t);
}

/*
 * Makes n samples (1..NLT_DENSE_SAMPLES_MAX, times ascending) a dense chunk as
 * the writer of blocks takes it; its data, in out, is that long.
 */
nlt_block_chunk_t
nlt_block_dense_encode(nlt_dense_work_t *work, const int64_t *t_ms,
                       const double *v, size_t n, uint8_t *out);

/*
 * Appends a dense chunk, and its times unless the block has them; *ref names
 * the chunk.  *d is made at the first call, 700 KiB from mem, and grows by
 * the encoded times, 1 KiB of a day each.  NLT_EIO, NLT_ENOMEM, NLT_EFULL,
 * NLT_EINVAL (no samples, more than NLT_DENSE_SAMPLES_MAX).
 */
NLT_CHECKED nlt_rc_t nlt_block_dense_add(nlt_block_dense_t **d,
                                         const nlt_mem_t *mem,
                                         nlt_chunk_writer_t *w,
                                         const nlt_block_chunk_t *c,
                                         uint64_t *ref, nlt_err_t *err);

/* Frees it; NULL is allowed. */
void nlt_block_dense_destroy(nlt_block_dense_t *d);

#endif

/*
 * nlt_chunk_file.h - the chunk segments of a block: chunks/000001 and on.
 *
 * Floor 3 (store); uses base.  Format: docs/formats/block.md, "chunks".
 * Follows: Prometheus chunk files, version 1; differs: nothing.
 * Threads: a writer belongs to one; reading has no state.
 *
 *     be32 85bd40dd | u8 version 1 | 3 zero bytes
 *     per chunk: uvarint length | u8 encoding | data | be32 CRC-32C of both
 *
 * A chunk is named by the number of its segment, from 0, in the upper 32
 * bits and its byte offset in the lower.  Segments end before 512 MiB.  The
 * eight bytes of the header are the only ones without a checksum.
 */
#ifndef NLT_STORE_CHUNK_FILE_H
#define NLT_STORE_CHUNK_FILE_H

#include "nlt_env.h"

#define NLT_CHUNK_FILE_MAGIC        0x85bd40ddu
#define NLT_CHUNK_FILE_VERSION      1
#define NLT_CHUNK_FILE_HEADER_BYTES 8
#define NLT_CHUNK_FILE_BYTES_MAX    (512u << 20)
#define NLT_CHUNK_FILE_NAME_BYTES   8 /* six digits and a NUL, rounded up */

/* Encodings that have a meaning; 4 and up are of later versions. */
#define NLT_CHUNK_XOR             1
#define NLT_CHUNK_HISTOGRAM       2
#define NLT_CHUNK_FLOAT_HISTOGRAM 3

/* Our own: docs/formats/dense.md, "In a block". */
#define NLT_CHUNK_DENSE 128 /* values; names the chunk of its times */
#define NLT_CHUNK_TIMES 129 /* of dense chunks; not in the index */

/* Does this version know what is in chunks of the encoding? */
static inline bool
nlt_chunk_known(uint8_t encoding)
{
    return (encoding >= NLT_CHUNK_XOR && encoding <= NLT_CHUNK_FLOAT_HISTOGRAM)
           || encoding == NLT_CHUNK_DENSE;
}

/* Has it samples of floats? */
static inline bool
nlt_chunk_is_float(uint8_t encoding)
{
    return encoding == NLT_CHUNK_XOR || encoding == NLT_CHUNK_DENSE;
}

/* One chunk as it lies in a segment. */
typedef struct {
    uint8_t encoding;
    nlt_str_t data; /* count header and bits, in the mapping */
    nlt_str_t
        times; /* the column of a dense chunk, from nlt_block_get_chunk */
} nlt_chunk_view_t;

/* Name of segment idx (from 0): "000001".  idx < 999999. */
void nlt_chunk_file_name(char out[NLT_CHUNK_FILE_NAME_BYTES], uint32_t idx);

/* Checks the header of a segment in memory.  NLT_EDATA, NLT_EVERSION. */
NLT_CHECKED nlt_rc_t nlt_chunk_file_check(const void *data, size_t len,
                                          nlt_err_t *err);

/*
 * The chunk at byte `off` of a segment; bounds and checksum are checked.
 * NLT_EDATA.  *end (may be NULL) gets the offset behind it.
 */
NLT_CHECKED nlt_rc_t nlt_chunk_file_get(const void *data, size_t len,
                                        uint64_t off, nlt_chunk_view_t *out,
                                        uint64_t *end, nlt_err_t *err);

typedef struct {
    const nlt_io_t *io;
    int dir_fd;         /* of chunks/; borrowed */
    int fd;             /* of the current segment, -1: none */
    uint32_t n_files;   /* begun so far */
    uint64_t pos;       /* in the current segment */
    uint64_t bytes_max; /* of a segment */
    uint64_t total;     /* bytes of all segments */
    uint64_t unsynced;  /* bytes written of it, but not synced */
    nlt_buf_t out;      /* not yet written */
} nlt_chunk_writer_t;

/*
 * Prepares a writer of segments of at most bytes_max bytes (0: the default;
 * a larger chunk gets a segment of its own) below dir_fd.  Cannot fail.
 */
void nlt_chunk_writer_init(nlt_chunk_writer_t *w, const nlt_env_t *env,
                           int dir_fd, uint64_t bytes_max);

/* Appends a chunk; *ref names it.  NLT_EIO, NLT_ENOMEM, NLT_EFULL. */
NLT_CHECKED nlt_rc_t nlt_chunk_writer_add(nlt_chunk_writer_t *w,
                                          uint8_t encoding, nlt_str_t data,
                                          uint64_t *ref, nlt_err_t *err);

/* Writes and syncs what is left and closes the segment.  NLT_EIO. */
NLT_CHECKED nlt_rc_t nlt_chunk_writer_finish(nlt_chunk_writer_t *w,
                                             nlt_err_t *err);

/* Frees the writer, closing what is open.  Harmless after finish. */
void nlt_chunk_writer_deinit(nlt_chunk_writer_t *w);

#endif

/*
 * nlt_index_file_write_priv.h - the writer, for the files of this folder.
 *
 * Floor 2 (index); uses base.  Shared by nlt_index_file_write.c (symbols and
 * series) and nlt_index_file_finish.c (postings and what follows).
 */
#ifndef NLT_INDEX_INDEX_FILE_WRITE_PRIV_H
#define NLT_INDEX_INDEX_FILE_WRITE_PRIV_H

#include "nlt_index_file_write.h"

/* In the log: ends a series. */
#define NLT_INDEX_LAST_LABEL (UINT32_C(1) << 31)

/* A label: name and value as ordinals of symbols, whose order is theirs. */
typedef struct {
    uint32_t name;
    uint32_t value;
    uint32_t n;      /* series that have it */
    uint32_t cursor; /* in the batch that is being sorted */
    uint64_t off;    /* of its postings list */
} nlt_index_pair_t;

struct nlt_index_writer_s {
    const nlt_mem_t *mem;
    const nlt_io_t *io;
    int fd;
    uint8_t *out; /* 256 KiB, n_out of them in use */
    size_t n_out;
    uint64_t unsynced; /* bytes written, but not synced */
    uint64_t pos;      /* bytes of the file so far, those in out included */
    uint32_t crc;      /* of the section that is being streamed */
    nlt_buf_t series;  /* the entry that is being built */

    nlt_buf_t symbols;    /* entries as in the file, behind 8 bytes */
    uint32_t *symbol_off; /* of each, in that buffer */
    size_t n_symbols;
    uint32_t *symbol_slots; /* hash table of ordinals, UINT32_MAX: free */
    size_t n_symbol_slots;  /* a power of two */

    nlt_buf_t ids; /* uint32: number of each series */
    nlt_buf_t log; /* uint32: index of a pair, and a bit on the last one */
    nlt_buf_t pairs;
    uint32_t *pair_slots; /* hash table of index + 1, 0: free */
    size_t n_pair_slots;  /* a power of two */

    nlt_buf_t prev; /* uint32: name and value of each label */
    nlt_buf_t next;

    uint64_t symbols_off;
    uint64_t series_off;
    uint64_t postings_off;
    uint64_t table_off;

    nlt_rc_t (*poll)(void *ctx); /* or NULL */
    void *poll_ctx;
};

static inline size_t
nlt_index_n_u32(const nlt_buf_t *b)
{
    return b->len / sizeof(uint32_t);
}

static inline uint32_t *
nlt_index_u32(const nlt_buf_t *b)
{
    return (uint32_t *) (void *) b->data;
}

static inline nlt_index_pair_t *
nlt_index_writer_pairs(const nlt_index_writer_t *w)
{
    return (nlt_index_pair_t *) (void *) w->pairs.data;
}

/* Text of a symbol. */
nlt_str_t
nlt_index_writer_symbol_at(const nlt_index_writer_t *w, uint32_t ref);

/* Fills err and returns NLT_ENOMEM. */
nlt_rc_t nlt_index_writer_no_memory(nlt_err_t *err);

/* Asks poll, if there is one. */
NLT_CHECKED nlt_rc_t nlt_index_writer_ask(nlt_index_writer_t *w,
                                          nlt_err_t *err);

/* Writes what is in out to the file. */
NLT_CHECKED nlt_rc_t nlt_index_writer_flush(nlt_index_writer_t *w,
                                            nlt_err_t *err);

/* Appends to the file and to the running checksum. */
NLT_CHECKED nlt_rc_t nlt_index_writer_emit(nlt_index_writer_t *w,
                                           const void *p, size_t n,
                                           nlt_err_t *err);
NLT_CHECKED nlt_rc_t nlt_index_writer_emit_be32(nlt_index_writer_t *w,
                                                uint32_t v, nlt_err_t *err);

/* Appends zeros up to a multiple of align, at most 16. */
NLT_CHECKED nlt_rc_t nlt_index_writer_emit_padding(nlt_index_writer_t *w,
                                                   uint64_t align,
                                                   nlt_err_t *err);

/* Begins a streamed section; its checksum starts after the length. */
NLT_CHECKED nlt_rc_t nlt_index_writer_begin_section(nlt_index_writer_t *w,
                                                    uint64_t content_len,
                                                    const char *what,
                                                    nlt_err_t *err);
NLT_CHECKED nlt_rc_t nlt_index_writer_end_section(nlt_index_writer_t *w,
                                                  nlt_err_t *err);

#endif

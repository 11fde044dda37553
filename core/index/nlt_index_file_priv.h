/*
 * nlt_index_file_priv.h - the open index, for the files of this folder.
 *
 * Floor 2 (index); uses base.  Shared by nlt_index_file.c (tables) and
 * nlt_index_file_series.c (entries, validation).
 */
#ifndef NLT_INDEX_INDEX_FILE_PRIV_H
#define NLT_INDEX_INDEX_FILE_PRIV_H

#include <stdatomic.h>

#include "nlt_index_file.h"

#define NLT_INDEX_HEADER_BYTES 5
#define NLT_INDEX_SERIES_STEP  16
#define NLT_INDEX_CACHE        128 /* a power of two */

typedef struct {
    nlt_str_t name;       /* in the mapping */
    const uint8_t *first; /* entry of its first value */
    size_t first_note;    /* of its values in value_notes[] */
    size_t n_values;
} nlt_index_name_t;

struct nlt_index_file_s {
    const nlt_mem_t *mem;
    const uint8_t *data; /* borrowed */
    size_t len;
    uint64_t toc_off;
    uint64_t symbols_off;
    uint64_t series_off;
    uint64_t series_end;
    uint64_t table_off;

    const uint8_t *symbols; /* content: be32 count, entries */
    size_t symbols_len;
    size_t n_symbols;
    uint32_t *symbol_notes; /* offset in content of every 8th entry */
    size_t n_symbol_notes;
    /* Symbols that were looked up lately, each at its number modulo the size:
     * number + 1 << 32 | offset in content.  Any thread. */
    _Atomic uint64_t *symbol_cache;

    const uint8_t *table; /* content: be32 count, entries */
    const uint8_t *table_end;
    nlt_index_name_t *names; /* sorted; the empty name may be the first */
    size_t n_names;
    uint32_t *value_notes; /* offset in content, every 32nd of each name */
    size_t n_value_notes;
};

/* Text of symbol ref, if it was looked up lately. */
static inline bool
nlt_index_symbol_cached(const nlt_index_file_t *ix, uint64_t ref,
                        nlt_str_t *out)
{
    uint64_t seen = atomic_load_explicit(
        &ix->symbol_cache[ref % NLT_INDEX_CACHE], memory_order_relaxed);
    nlt_reader_t r;

    /* A number that is none would look like an entry that is none. */
    if (ref >= ix->n_symbols || seen >> 32 != ref + 1) {
        return false;
    }
    r = nlt_reader(ix->symbols + (uint32_t) seen,
                   ix->symbols_len - (uint32_t) seen);
    *out = nlt_read_uvarint_str(&r);
    return true;
}

/* Fills err with "index: what at offset N" and returns NLT_EDATA. */
nlt_rc_t nlt_index_corrupt(const nlt_index_file_t *ix, const uint8_t *at,
                           const char *what, nlt_err_t *err);

#endif

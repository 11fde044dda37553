/*
 * nlt_block_meta.h - meta.json of a block, and ULIDs.
 *
 * Floor 3 (store); uses base.
 * Format: docs/formats/block.md.  Keys of Prometheus, and one of our own,
 * "nightlight": {arena, checksum}, which other readers ignore.
 *
 * A block that has dense chunks (docs/formats/dense.md) is no Prometheus
 * block.  Its version is 128, which every other reader refuses by name before
 * it looks at anything else, and "nightlight" has "format": "dense".
 */
#ifndef NLT_STORE_BLOCK_META_H
#define NLT_STORE_BLOCK_META_H

#include "nlt_env.h"

#define NLT_ULID_LEN          26
#define NLT_BLOCK_SOURCES_MAX 1024

typedef struct {
    char c[NLT_ULID_LEN + 1]; /* Crockford base 32, upper case, and a NUL */
} nlt_ulid_t;

/* A new ULID: 48 bits of Unix milliseconds and 80 random bits. */
NLT_CHECKED nlt_rc_t nlt_ulid_new(int64_t now_ms, nlt_ulid_t *out);

/* Is s a ULID in canonical form? */
bool nlt_ulid_valid(nlt_str_t s);

typedef struct {
    nlt_ulid_t ulid;
    int64_t t_min_ms; /* half-open in this file: [min, max) */
    int64_t t_end_ms;
    uint64_t n_samples;
    uint64_t n_float_samples;
    uint64_t n_histogram_samples;
    uint64_t n_series;
    uint64_t n_chunks;
    uint64_t n_tombstones;
    uint64_t bytes; /* of all files, from who has just written them; else 0 */
    unsigned level; /* 1: fresh from the head */
    uint64_t arena; /* highest one whose samples are in it; 0: none */
    bool ours;      /* has our own key (read only: always written) */
    bool dense;     /* may have dense chunks; without it, none are read */
    size_t n_sources;    /* level > 1; a fresh block is its own source */
    nlt_ulid_t *sources; /* in the pool of the reader */
    size_t n_parents;
    nlt_ulid_t *parents;
} nlt_block_meta_t;

/* What its version says. */
int nlt_block_meta_version(const nlt_block_meta_t *meta);

/* Appends the JSON text, ended by a newline. */
void nlt_block_meta_print(nlt_buf_t *b, const nlt_block_meta_t *meta);

/*
 * Reads one: any JSON of at most 1 MiB; unknown keys are skipped.
 * NLT_EDATA (not JSON, a key is missing, version and format disagree),
 * NLT_EVERSION (a version or a format that this program does not know).
 */
NLT_CHECKED nlt_rc_t nlt_block_meta_parse(nlt_pool_t *pool, nlt_str_t json,
                                          nlt_block_meta_t *out,
                                          nlt_err_t *err);

#endif

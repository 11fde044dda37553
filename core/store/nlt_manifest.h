/*
 * nlt_manifest.h - which blocks count, which arenas are in blocks.
 *
 * Floor 3 (store); uses base, nlt_block_meta.
 * Format: docs/formats/manifest.md.
 * Threads: none of its own; one object belongs to one thread at a time.
 *
 * The MANIFEST is the only place that decides what the store consists of.  A
 * block directory that it does not name is not data, a log whose arena it
 * calls finished is not needed any more.  It is small (one line a block),
 * human-readable, and replaced as a whole, so that a reader sees the state
 * before a change or the one after it, never a mixture:
 *
 *     nightlight-manifest 3 1d0cb4a4
 *     store 6f1c...e0 0a3bd6c5
 *     generation 17 f3a81be0
 *     floor 41 99b2c6f1
 *     tenants 3 0d1c88ea
 *     finished 43 5b0e4c77
 *     block 01J... 1718000000000 1718007200000 39 0 1 86400 0 120 412345
 * 0 c0ff01ab damaged 01H... 1717900000000 1717986400000 0badf00d end 7
 * 7e51f00d
 *
 * (checksums here are made up.)  The last word of a line is the CRC-32C of
 * the text of all lines so far, checksums left out: a line that is missing,
 * doubled, moved or changed is seen, not only one hit by a flipped bit.
 *
 * Arenas.  Numbers rise and are never used twice.  All below `floor` are
 * finished: their samples are in blocks, or were logged again under a higher
 * number by a replay.  Replay finishes logs out of order, so single numbers
 * above the floor can be finished too; the floor swallows them as soon as it
 * reaches them, and the list stays short.
 *
 * Order.  Where two blocks have a sample of the same series and time, the
 * first one in the list wins: the older arena, because it was written first.
 * A block made from others has the highest arena of them, so it may only be
 * made from blocks that are neighbours in this order as far as their times
 * overlap (nlt_compact_plan.h).
 *
 * Deletes.  `deletes` of a block is the number of the last delete that it
 * was made after (nlt_deletes.h): later ones are applied when it is read.
 *
 * Tenants.  Of those whose numbers are below `tenants` there may be series in
 * blocks.  The file TENANTS says whose they are; were it lost, their numbers
 * must not be given to others.
 *
 * Damaged blocks were moved to quarantine/.  They stay named, so that a query
 * over their time can say that something is missing, until their directory
 * there is removed.
 */
#ifndef NLT_STORE_MANIFEST_H
#define NLT_STORE_MANIFEST_H

#include "nlt_block_meta.h"
#include "nlt_head_layout.h"

#define NLT_MANIFEST_NAME "MANIFEST"

/* Far more text than 32768 blocks need. */
#define NLT_MANIFEST_BYTES_MAX    (16u << 20)
#define NLT_MANIFEST_BLOCKS_MAX   32768u
#define NLT_MANIFEST_FINISHED_MAX 65536u
#define NLT_MANIFEST_DAMAGED_MAX  1024u

typedef struct {
    nlt_ulid_t ulid;
    int64_t t_min_ms; /* half-open as in meta.json: [min, end) */
    int64_t t_end_ms;
    uint64_t arena;   /* highest one in it; 0: none, it was imported */
    uint64_t deletes; /* deletes up to this number are applied to it */
    uint64_t level;   /* of compaction; 1: fresh from the head */
    uint64_t n_samples;
    uint64_t n_histograms; /* of these samples */
    uint64_t n_series;
    uint64_t bytes; /* of all its files; 0: not counted */
    uint64_t dense; /* 1: it has dense chunks; 0: portable */
} nlt_manifest_block_t;

/* A block in quarantine/: what a query of its time misses. */
typedef struct {
    nlt_ulid_t ulid;
    int64_t t_min_ms; /* half-open */
    int64_t t_end_ms;
} nlt_manifest_damaged_t;

typedef struct {
    const nlt_mem_t *mem;
    uint8_t store_id[NLT_STORE_ID_BYTES];
    uint64_t generation; /* + 1 at each commit */
    uint64_t floor;      /* arenas below it are finished; >= 1 */
    uint64_t *finished;  /* ascending, all >= floor */
    size_t n_finished;
    size_t finished_cap;
    nlt_manifest_block_t *blocks; /* by arena, then t_min, then ULID */
    size_t n_blocks;
    size_t blocks_cap;
    nlt_manifest_damaged_t *damaged; /* in the order they were found */
    size_t n_damaged;
    size_t damaged_cap;
    /*
     * Blocks have tenants of lower numbers only, and none of these is given
     * again (nlt_tenants.h).  0: not known, a format before 3 was read.
     */
    uint32_t tenants;
} nlt_manifest_t;

/* An empty manifest of a new store.  mem is retained.  Allocates nothing. */
void nlt_manifest_init(nlt_manifest_t *m, const nlt_mem_t *mem,
                       const uint8_t *store_id);
void nlt_manifest_deinit(nlt_manifest_t *m);

/* Deep copy into an initialised or empty `to`.  NLT_ENOMEM: to is empty. */
NLT_CHECKED nlt_rc_t nlt_manifest_copy(nlt_manifest_t *to,
                                       const nlt_manifest_t *from);

/*
 * Names a block.  Keeps the order that queries merge in: older arena first.
 * A block that was in quarantine is not any more.  NLT_EDUP, NLT_ENOMEM,
 * NLT_ELIMIT: unchanged.
 */
NLT_CHECKED nlt_rc_t nlt_manifest_add_block(nlt_manifest_t *m,
                                            const nlt_manifest_block_t *b);

/* Takes block idx off the list. */
void nlt_manifest_remove_block(nlt_manifest_t *m, size_t idx);

/*
 * Names a block in quarantine, whose own line was taken off before.
 * NLT_EDUP, NLT_ENOMEM, NLT_ELIMIT: unchanged.
 */
NLT_CHECKED nlt_rc_t nlt_manifest_add_damaged(nlt_manifest_t *m,
                                              const nlt_manifest_damaged_t *d);

/* Takes damaged block idx off the list. */
void nlt_manifest_remove_damaged(nlt_manifest_t *m, size_t idx);

/* Index of a block, or n_blocks. */
size_t nlt_manifest_find(const nlt_manifest_t *m, const char *ulid);

/* Index of a damaged block, or n_damaged. */
size_t nlt_manifest_find_damaged(const nlt_manifest_t *m, const char *ulid);

/* Is everything of this arena in blocks or logged again? */
bool nlt_manifest_is_finished(const nlt_manifest_t *m, uint64_t arena);

/* Says so.  NLT_ENOMEM, NLT_ELIMIT. */
NLT_CHECKED nlt_rc_t nlt_manifest_finish(nlt_manifest_t *m, uint64_t arena);

/* All below `floor` are finished; never lowers it. */
void nlt_manifest_raise_floor(nlt_manifest_t *m, uint64_t floor);

/* Newest sample of all blocks, INT64_MIN when there is none. */
int64_t nlt_manifest_newest_ms(const nlt_manifest_t *m);

/* Appends the text of the file. */
void nlt_manifest_print(const nlt_manifest_t *m, nlt_buf_t *out);

/*
 * Reads a text into m, which must be initialised or empty (mem set); its
 * content is replaced.  Any failure leaves it empty:
 *   NLT_EDATA     not a manifest, a bad checksum, a number out of range, a
 *                 line missing; err says which line
 *   NLT_EVERSION  a newer format
 *   NLT_ENOMEM
 */
NLT_CHECKED nlt_rc_t nlt_manifest_parse(nlt_manifest_t *m, nlt_str_t text,
                                        nlt_err_t *err);

/*
 * Loads MANIFEST from the store's directory.  NLT_ENOENT: there is none;
 * NLT_EDATA also when it belongs to another store_id (NULL: any);
 * else as parse, or NLT_EIO.
 */
NLT_CHECKED nlt_rc_t nlt_manifest_load(nlt_manifest_t *m, const nlt_env_t *env,
                                       int dir_fd, const uint8_t *store_id,
                                       nlt_err_t *err);

/*
 * Counts the generation up and replaces the file durably.  After a failure
 * either state may be on disk: load before doing anything that depends on
 * it.  NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_manifest_store(nlt_manifest_t *m,
                                        const nlt_env_t *env, int dir_fd,
                                        nlt_err_t *err);

#endif

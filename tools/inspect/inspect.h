/*
 * inspect.h - what the files of nightlight-inspect share.
 *
 * A program above core/: it may include any header of it.  Everything is
 * opened for reading only, through the same readers that the store uses, so
 * what it calls corrupt is what the store would refuse.
 *
 * What is not as it should be is one of two things: a fault, after which
 * something is missing or the store does not start; and something left over,
 * which a crash leaves behind and the next start tidies up.  After either
 * stands what a start would do about it.
 */
#ifndef NLT_TOOLS_INSPECT_H
#define NLT_TOOLS_INSPECT_H

#include "nlt_env.h"
#include "nlt_manifest.h"
#include "nlt_store_dir.h"

typedef struct {
    const nlt_env_t *env;
    const char *path;        /* of the store, as it was given */
    nlt_store_dir_t dir;     /* wal_fd, blocks_fd: -1 when not there */
    bool has_manifest;       /* read, or there never was one */
    nlt_manifest_t manifest; /* empty when there is none */
    bool head_lives;         /* a start would go on with it */
    uint64_t head_arenas[NLT_HEAD_ARENAS]; /* that have samples; 0: none */
    unsigned n_faults;
    unsigned n_left_over;
    unsigned n_logs;
    unsigned n_blocks;
    unsigned n_arenas;
    bool no_start; /* something keeps the store from starting */
} inspect_t;

/* Room for a time or a range of times as text. */
#define RANGE_TEXT 96

/* One line of what is wrong, indented below what it is about; counted. */
void inspect_fault(inspect_t *in, const char *fmt, ...) NLT_PRINTF(2, 3);

/* One line of what a crash left behind; counted. */
void inspect_left_over(inspect_t *in, const char *fmt, ...) NLT_PRINTF(2, 3);

/* What a start would do about the line before. */
void inspect_repair(inspect_t *in, const char *fmt, ...) NLT_PRINTF(2, 3);

/* A start would not get past the line before. */
void inspect_no_start(inspect_t *in, const char *fmt, ...) NLT_PRINTF(2, 3);

/* "FROM .. TO" in RFC 3339, both inclusive; "no samples" when min > max. */
const char *
inspect_range(char out[RANGE_TEXT], int64_t t_min_ms, int64_t t_max_ms);

/* Is there a file or directory of this name below dir_fd? */
bool inspect_exists(const inspect_t *in, int dir_fd, const char *name);

/*
 * Names in a directory of the store, sorted, in the pool; none when it cannot
 * be listed, which is a fault.
 */
size_t inspect_list(inspect_t *in, const char *dir, nlt_pool_t *pool,
                    const char ***names);

/* ---- inspect_store.c ---- */

/* MANIFEST, and what it says of blocks in quarantine/. */
void inspect_manifest(inspect_t *in);

/* DELETES: the rules. */
void inspect_deletes(inspect_t *in);

/* TENANTS: how many, and does it fit the MANIFEST? */
void inspect_tenants(inspect_t *in);

/* METADATA: how many families. */
void inspect_metadata(inspect_t *in);

/* The file `term`. */
void inspect_term(inspect_t *in);

/* import/, snapshots/, quarantine/: what lies there. */
void inspect_dirs(inspect_t *in);

/* ---- inspect_files.c ---- */

/* wal/: every frame of every log. */
void inspect_logs(inspect_t *in);

/* blocks/: meta.json of all, everything of each; those too that no MANIFEST
 * names. */
void inspect_blocks(inspect_t *in);

/* ---- inspect_head.c ---- */

/*
 * Looks at the head without a word: in->head_lives, in->head_arenas.  Before
 * all else, because a start depends on it.
 */
void inspect_head_first(inspect_t *in);

/* The head: control file, and everything in its arenas. */
void inspect_head(inspect_t *in);

#endif

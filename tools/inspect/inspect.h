/*
 * inspect.h - what the files of nightlight-inspect share.
 *
 * A program above core/: it may include any header of it.  Everything is
 * opened for reading only, through the same readers that the store uses, so
 * what it calls corrupt is what the store would refuse.
 */
#ifndef NLT_TOOLS_INSPECT_H
#define NLT_TOOLS_INSPECT_H

#include "nlt_env.h"
#include "nlt_manifest.h"
#include "nlt_store_dir.h"

typedef struct {
    const nlt_env_t *env;
    nlt_store_dir_t dir;
    nlt_manifest_t manifest; /* empty when there is none */
    unsigned n_faults;
    unsigned n_logs;
    unsigned n_blocks;
    unsigned n_arenas;
} inspect_t;

/* Room for a time or a range of times as text. */
#define RANGE_TEXT 96

/* One line of what is wrong, indented below what it is about; counted. */
void inspect_fault(inspect_t *in, const char *fmt, ...) NLT_PRINTF(2, 3);

/* "FROM .. TO" in RFC 3339, both inclusive; "no samples" when min > max. */
const char *
inspect_range(char out[RANGE_TEXT], int64_t t_min_ms, int64_t t_max_ms);

/* wal/: every frame of every log. */
void inspect_logs(inspect_t *in);

/* blocks/: meta.json of all, everything of each; those too that no MANIFEST
 * names. */
void inspect_blocks(inspect_t *in);

/* The head: control file, and everything in its arenas. */
void inspect_head(inspect_t *in);

#endif

/*
 * nlt_filenames.h - every name in the store's directory.
 *
 * Floor 3 (store); uses base.
 *
 *   <path>/
 *     store.id                  identity of the store: 32 hex digits, '\n'
 *     lock                      flock: lease of the helper
 *     lock.next                 flock, shared: who waits for the lease
 *     term                      see nlt_term.h
 *     users                     see nlt_users.h
 *     MANIFEST                  see nlt_manifest.h
 *     TENANTS                   see nlt_tenants.h
 *     DELETES, deletes.lock     see nlt_deletes.h; its writers take turns
 *     wal/<arena no, 16 hex>.wal
 *     blocks/<ULID>/            Prometheus blocks
 *     blocks/<ULID>/nightlight.store   whose it is, of one that was imported
 *     import/<ULID>/            blocks that somebody wants served
 *     snapshots/<name>/<ULID>/  hard links to blocks
 *     quarantine/               what was found corrupt, moved aside
 *
 * Files of the head lie elsewhere (head=, a tmpfs by default); their names
 * are in nlt_head_layout.h.  Whatever ends in .tmp, .tmp-for-creation or
 * .tmp-for-deletion is a leftover of something unfinished and may be removed
 * by the helper when it starts.
 */
#ifndef NLT_STORE_FILENAMES_H
#define NLT_STORE_FILENAMES_H

#include "nlt_types.h"

#define NLT_FILE_STORE_ID     "store.id"
#define NLT_FILE_LOCK         "lock"
#define NLT_FILE_LOCK_NEXT    "lock.next"
#define NLT_FILE_USERS        "users"
#define NLT_FILE_TERM         "term"
#define NLT_FILE_DELETES      "DELETES"
#define NLT_FILE_DELETES_LOCK "deletes.lock"
#define NLT_FILE_METADATA     "METADATA"
#define NLT_FILE_TENANTS      "TENANTS"

/* In the directory of a block: see nlt_block_dir_mark(). */
#define NLT_FILE_BLOCK_OWNER "nightlight.store"

#define NLT_DIR_WAL        "wal"
#define NLT_DIR_BLOCKS     "blocks"
#define NLT_DIR_QUARANTINE "quarantine"
#define NLT_DIR_IMPORT     "import"
#define NLT_DIR_SNAPSHOTS  "snapshots"

#define NLT_SUFFIX_TMP        ".tmp"
#define NLT_SUFFIX_BLOCK_TMP  ".tmp-for-creation"
#define NLT_SUFFIX_BLOCK_GONE ".tmp-for-deletion"
#define NLT_SUFFIX_WAL        ".wal"

/* "0123456789abcdef.wal" and a NUL. */
#define NLT_WAL_NAME_SIZE 21

/* Name of the log of an arena, inside NLT_DIR_WAL. */
static inline void
nlt_wal_name(char out[NLT_WAL_NAME_SIZE], uint64_t arena_no)
{
    for (int i = 15; i >= 0; i--, arena_no >>= 4) {
        out[i] = "0123456789abcdef"[arena_no & 15];
    }
    memcpy(out + 16, NLT_SUFFIX_WAL, sizeof(NLT_SUFFIX_WAL));
}

/* Arenas are numbered from 1; no store comes near this many. */
#define NLT_ARENA_NO_MAX (UINT64_C(1) << 48)

/* Is c_name the name of a log?  Then *arena_no is its arena. */
static inline bool
nlt_wal_name_parse(const char *c_name, uint64_t *arena_no)
{
    uint64_t no = 0;

    for (int i = 0; i < 16; i++) {
        char c = c_name[i];

        if (c >= '0' && c <= '9') {
            no = no << 4 | (uint64_t) (c - '0');
        } else if (c >= 'a' && c <= 'f') {
            no = no << 4 | (uint64_t) (c - 'a' + 10);
        } else {
            return false;
        }
    }
    *arena_no = no;
    return no > 0 && no < NLT_ARENA_NO_MAX
           && strcmp(c_name + 16, NLT_SUFFIX_WAL) == 0;
}

#endif

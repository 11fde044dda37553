/*
 * nlt_head_side.h - the side file of the head: exemplars and metadata.
 *
 * Floor 3 (store); uses nlt_head, nlt_stash.
 * Threads: nlt_head_side() by any; the others are the helper's.
 *
 * Beside control file and arenas a head has one file with two stashes:
 *
 *     head.<id>.side.<no>   [ page: sizes | exemplars ... | metadata ... ]
 *
 * Its number is in the control page.  When exemplars= was changed the helper
 * makes the next one, moves the content over and publishes the number; who
 * has the old one mapped finds it marked as moved, or the number changed, and
 * maps the new one.  An old mapping stays until its process detaches: sizes
 * change with a reload, and then processes do, too.
 *
 * Both stashes count as memory=: arenas are a third of what is left.
 */
#ifndef NLT_STORE_HEAD_SIDE_H
#define NLT_STORE_HEAD_SIDE_H

#include "nlt_head.h"
#include "nlt_stash.h"

/* A side file as this process maps it. */
typedef struct nlt_head_side_s {
    struct nlt_head_side_s *older;
    uint64_t no;
    uint64_t exemplar_bytes; /* 0: exemplars=off */
    uint64_t metadata_bytes;
    uint8_t *base;
    uint64_t size;
    int fd;
    nlt_stash_t exemplars;
    nlt_stash_t metadata;
} nlt_head_side_t;

/*
 * The current one; NULL: there is none, or it cannot be mapped.  Valid until
 * the head is detached.
 */
nlt_head_side_t *nlt_head_side(nlt_head_t *h);

/* The stashes of the current one; NULL: there is none. */
nlt_stash_t *nlt_head_exemplars(nlt_head_t *h);
nlt_stash_t *nlt_head_metadata(nlt_head_t *h);

/*
 * [helper] Makes a side file of the sizes in the head's conf the current one,
 * unless it is.  NLT_EFULL, NLT_EIO, NLT_ENOMEM: the old one stays.
 */
NLT_CHECKED nlt_rc_t nlt_head_side_make(nlt_head_t *h, nlt_err_t *err);

/* Bytes of memory that a side file of these sizes takes at most. */
uint64_t nlt_head_side_bytes(uint64_t exemplar_bytes, uint64_t metadata_bytes);

/* Canonical key of a series, the same in all arenas of the head; false: there
 * is no such series.  [any] */
bool nlt_arena_key(const nlt_arena_t *a, uint32_t series, nlt_hash128_t *key);

/* Has somebody removed the current one? */
bool nlt_head_side_is_lost(const nlt_head_t *h);

/* Unmaps all of them; when the head is detached. */
void nlt_head_side_unmap(nlt_head_t *h);

/* Bytes of the current one that have memory, if it is mapped. */
uint64_t nlt_head_side_reserved(const nlt_head_t *h);

#endif

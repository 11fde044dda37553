/*
 * nlt_xhash.h - extendible hash table inside an arena.
 *
 * Floor 3 (store); uses nlt_head_priv.h.
 *
 * Maps a keyed 96-bit hash to a 32-bit number.  The table is a directory of
 * segments of 4 KiB; a segment that fills up is split in two, and only when
 * its depth has reached the directory's the directory doubles, by copying a
 * few KiB.  So no insertion ever costs more than about two segments' work,
 * whatever the size: a table that rehashes a million entries in one event
 * would stop a worker for 50 ms.
 *
 *   directory (depth 2)        segments
 *   lo 00.. ----------------> [depth 1: lo 0...]
 *   lo 01.. ------------^
 *   lo 10.. ----------------> [depth 2: lo 10..]
 *   lo 11.. ----------------> [depth 2: lo 11..]
 *
 * The top bits of lo choose the segment, hi the slot, then linear probing.
 *
 * One writer at a time (the registration lock); readers take no lock.  A
 * slot is written number last, and a reader takes number, key, number again,
 * so it never pairs a key with another key's number.  While a segment is
 * being split a reader may miss an entry that is there: `seq` is odd then,
 * and nlt_xhash_find_settled() waits; nlt_xhash_find() does not, for callers
 * that look again under the lock.
 *
 * A writer that dies inside a split leaves seq odd for ever and a segment
 * half moved: the arena is then `registration_broken` and has no writers any
 * more.
 */
#ifndef NLT_STORE_XHASH_H
#define NLT_STORE_XHASH_H

#include "nlt_head_priv.h"

#define NLT_XHASH_SLOTS     255
#define NLT_XHASH_SLOTS_MAX 216 /* filled, then it is split */
#define NLT_XHASH_DEPTH_MAX 22

typedef struct {
    _Atomic uint64_t lo;
    _Atomic uint32_t hi;
    _Atomic uint32_t number; /* 0: free */
} nlt_xhash_slot_t;

typedef struct {
    uint32_t n;
    uint32_t depth;
    uint64_t zero;
    nlt_xhash_slot_t slot[NLT_XHASH_SLOTS];
} nlt_xhash_seg_t;

_Static_assert(sizeof(nlt_xhash_seg_t) == 4096, "a segment is a page");

typedef struct {
    uint64_t lo;
    uint32_t hi;
} nlt_xhash_key_t;

static inline nlt_xhash_key_t
nlt_xhash_key(nlt_hash128_t h)
{
    return (nlt_xhash_key_t){h.lo, (uint32_t) h.hi};
}

/* Allocates the first segment and directory.  False: no room. */
NLT_CHECKED bool nlt_xhash_init(nlt_arena_t *a, nlt_xhash_root_t *root);

/* The number of a key, or 0.  May miss an entry while a split is going on. */
uint32_t nlt_xhash_find(const nlt_arena_t *a, nlt_xhash_root_t *root,
                        nlt_xhash_key_t key);

/*
 * The same, missing nothing.  *settled is false when a writer died in a
 * split: then a 0 means nothing.
 */
uint32_t nlt_xhash_find_settled(const nlt_arena_t *a, nlt_xhash_root_t *root,
                                nlt_xhash_key_t key, bool *settled);

/* Brings the slot's line into the cache. */
void nlt_xhash_prefetch(const nlt_arena_t *a, nlt_xhash_root_t *root,
                        nlt_xhash_key_t key);

/*
 * Makes sure that one insertion of this key will succeed, splitting if it
 * must.  False: no room, nothing changed.  Registration lock held.  2 us when
 * it splits.
 */
NLT_CHECKED bool
nlt_xhash_room(nlt_arena_t *a, nlt_xhash_root_t *root, nlt_xhash_key_t key);

/*
 * Adds a key that is not there; number > 0.  False: no room, nothing
 * changed; never so after nlt_xhash_room().  Registration lock held.  30 ns.
 */
NLT_CHECKED bool nlt_xhash_insert(nlt_arena_t *a, nlt_xhash_root_t *root,
                                  nlt_xhash_key_t key, uint32_t number);

#endif

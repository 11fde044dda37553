/*
 * nlt_head_strings.h - names, or values of one label, of some series.
 *
 * Floor 3 (store); uses nlt_head.  Threads: as a reader of the arena, one
 * each.
 *
 * Which values has a label among a thousand series?  Their labels are numbers
 * of pairs, and few of them differ; so each series' number is looked up in a
 * set of bits, and only a new one is followed to its text:
 *
 *     series  3: [7 12 31]   series 4: [7 12 40]   values of the third label?
 *     seen    ..............................1........1   -> texts of 31, 40
 *
 * Series beside each other mostly have a label at the same place.
 */
#ifndef NLT_STORE_HEAD_STRINGS_H
#define NLT_STORE_HEAD_STRINGS_H

#include "nlt_head.h"

typedef struct {
    const nlt_arena_t *a;
    bool names;     /* of labels; else values of one */
    uint32_t name;  /* number of that one; 0: nobody has it */
    uint32_t place; /* where the series before had it */
    uint32_t n_seen;
    uint64_t *seen; /* a bit for each pair below n_seen */
} nlt_arena_strings_t;

/*
 * For the values of *name, or, when it is NULL, the names of labels.  The bits
 * are in the pool: one for each pair of the arena.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_arena_strings_init(nlt_arena_strings_t *s,
                                            const nlt_arena_t *a,
                                            uint32_t tenant,
                                            const nlt_str_t *name,
                                            nlt_pool_t *pool);

/*
 * Hands the strings that these n series have, and none before had, to add();
 * names may come more than once.  They lie in the mapping.  NLT_EDATA, and
 * what add() returns.  About 10 ns a series in cache.
 */
NLT_CHECKED nlt_rc_t
nlt_arena_strings_of(nlt_arena_strings_t *s, const uint32_t *series, size_t n,
                     nlt_rc_t (*add)(void *ctx, nlt_str_t text), void *ctx);

#endif

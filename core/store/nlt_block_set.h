/*
 * nlt_block_set.h - the open blocks of a process.
 *
 * Floor 3 (store); uses nlt_block, nlt_manifest.
 * Threads: [any], one mutex inside; opening and closing of blocks happens
 * outside of it, so a query never waits for another one's mmap.
 *
 * What a query sees is a list: immutable, counted by its users, made from
 * one MANIFEST.  When the manifest generation in the head moves, whoever
 * notices first builds the next list out of the blocks that are open already
 * and the new ones.  The old list lives until its last query ends, and with
 * it blocks that are not in the new one any more; their directories may be
 * gone, the mappings still serve.
 *
 *     set -> list 8 {A, B, C}      queries that began later
 *            list 7 {A, B}         2 queries still run; B is unmapped after
 *                                  both lists have let it go
 *
 * A block that cannot be opened, or that a query found damaged, is an entry
 * that is left out, with an error text: views that begin later go without it
 * and say so.  That is what this process knows; the helper looks at the block
 * (nlt_suspects.h), and its next MANIFEST settles the matter: either the block
 * is not in it any more, or it is opened again.  Only one of a newer format
 * stays left out, for it will not change.
 */
#ifndef NLT_STORE_BLOCK_SET_H
#define NLT_STORE_BLOCK_SET_H

#include "nlt_block.h"
#include "nlt_manifest.h"

typedef struct {
    nlt_manifest_block_t info; /* as the MANIFEST has it */
    nlt_block_t *block;        /* NULL: could not be opened */
    nlt_err_t error;           /* why it is left out; set before that */
    _Atomic bool left_out;     /* once true, always */
    size_t refs;               /* lists; under the set's mutex */
} nlt_block_entry_t;

typedef struct {
    size_t n;
    nlt_block_entry_t **v; /* in the order that the MANIFEST has */
    size_t n_damaged;
    nlt_manifest_damaged_t *damaged; /* in quarantine, says the MANIFEST */
    size_t refs;                     /* under the set's mutex */
} nlt_block_list_t;

typedef struct nlt_block_set_s nlt_block_set_t;

/*
 * An empty set.  dir_fd holds MANIFEST, blocks_fd the blocks; both are
 * borrowed until destroy, store_id is copied.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_set_create(const nlt_env_t *env, int dir_fd,
                                          int blocks_fd,
                                          const uint8_t *store_id,
                                          nlt_block_set_t **out,
                                          nlt_err_t *err);

/* No list may be held.  NULL is allowed. */
void nlt_block_set_destroy(nlt_block_set_t *set);

/*
 * Makes the current list that of the MANIFEST if it was made for another
 * generation than `generation`, a number that the caller read before.  Cheap
 * when it was not.  Without a MANIFEST the list is empty.  Errors leave the
 * old list current: NLT_EIO, NLT_EDATA, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_block_set_reload(nlt_block_set_t *set,
                                          uint64_t generation, nlt_err_t *err);

/* Forgets the generation: the next reload reads the MANIFEST again. */
void nlt_block_set_forget(nlt_block_set_t *set);

/*
 * The same if a block could not be opened for a reason that may have passed
 * (not there, no memory, no file descriptors).  From a timer: each try costs
 * a reading of the MANIFEST.
 */
void nlt_block_set_retry(nlt_block_set_t *set);

/*
 * Leaves a block out of all views that begin from now on; the first `why`
 * stays, without the "block NAME: " that it may begin with.  [any]
 */
void nlt_block_set_leave_out(nlt_block_set_t *set, nlt_block_entry_t *e,
                             const nlt_err_t *why);

/* Is it left out?  Then its error may be read. */
static inline bool
nlt_block_entry_is_out(const nlt_block_entry_t *e)
{
    return atomic_load_explicit(&e->left_out, memory_order_acquire);
}

/* The current list, held until release.  Never NULL. */
nlt_block_list_t *nlt_block_set_acquire(nlt_block_set_t *set);
void nlt_block_set_release(nlt_block_set_t *set, nlt_block_list_t *list);

#endif

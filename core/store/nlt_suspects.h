/*
 * nlt_suspects.h - blocks that somebody found damaged, told to the helper.
 *
 * Floor 3 (store); uses nlt_head_layout, nlt_block_meta.
 * Threads: post from any thread of any process; the others are the helper's.
 *
 * Whoever reads a block and meets damage leaves the block out of what it does,
 * and posts its name in the control page.  The helper looks at the block as a
 * whole (nlt_helper_suspect.c) and then takes the name away.  The slots are
 * few; a name that finds none free is posted again by the next query, and one
 * that is there already is not posted twice.
 *
 *     turn   0 empty ---CAS---> 1 being written ---> 2 full ---> 0
 *                 any process                     helper
 *
 * A process that dies at 1 takes the slot with it until the helper starts
 * anew, which empties such slots.
 */
#ifndef NLT_STORE_SUSPECTS_H
#define NLT_STORE_SUSPECTS_H

#include "nlt_block_meta.h"
#include "nlt_head_layout.h"

/* Posts the block `ulid`, a valid name.  O(slots). */
void nlt_suspects_post(nlt_head_ctl_t *ctl, const char *ulid);

/* A posted name, which stays posted; false: there is none. */
bool nlt_suspects_first(nlt_head_ctl_t *ctl, nlt_ulid_t *out);

/* Takes a name away. */
void nlt_suspects_clear(nlt_head_ctl_t *ctl, const char *ulid);

/* Empties what dead processes left half written. */
void nlt_suspects_reset(nlt_head_ctl_t *ctl);

#endif

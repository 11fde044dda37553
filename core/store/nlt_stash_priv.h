/*
 * nlt_stash_priv.h - the cells of a stash, for its own files.
 *
 * Floor 3 (store); uses nlt_stash.h.
 *
 *   nlt_stash_open.c  make, open, lock, reserve
 *   nlt_stash.c       put and remove
 *   nlt_stash_read.c  pages for readers; check, move
 */
#ifndef NLT_STORE_STASH_PRIV_H
#define NLT_STORE_STASH_PRIV_H

#include "nlt_stash.h"

typedef enum {
    NLT_STASH_FREE = 0,
    NLT_STASH_TENANT,
    NLT_STASH_GROUP,
    NLT_STASH_ITEM,
    NLT_STASH_TEXT
} nlt_stash_kind_t;

/* Numbers of cells; 0 is nil. */

typedef struct {
    uint32_t kind;
    uint32_t next; /* in the chain of its head */
    uint32_t number;
    uint32_t heap;  /* where it is in the heap */
    uint32_t cells; /* of its groups, items and their texts */
    uint32_t oldest;
    uint32_t newest;
} nlt_stash_tenant_cell_t;

typedef struct {
    uint32_t kind;
    uint32_t next; /* in the chain of its head */
    nlt_hash128_t key;
    uint32_t tenant; /* its cell */
    uint32_t n;      /* items */
    uint32_t oldest;
    uint32_t newest;
    uint32_t len; /* of the text */
    uint32_t text;
} nlt_stash_group_cell_t;

typedef struct {
    uint32_t kind;
    uint32_t group;
    int64_t t_ms;
    uint64_t v_bits;
    uint64_t serial;
    uint32_t older; /* of the group */
    uint32_t newer;
    uint32_t q_older; /* of the tenant */
    uint32_t q_newer;
    uint32_t len; /* of the text */
    uint32_t text;
} nlt_stash_item_cell_t;

#define NLT_STASH_TEXT_BYTES (NLT_STASH_CELL - 8)

typedef struct {
    uint32_t kind;
    uint32_t next;
    uint8_t bytes[NLT_STASH_TEXT_BYTES];
} nlt_stash_text_cell_t;

_Static_assert(sizeof(nlt_stash_tenant_cell_t) <= NLT_STASH_CELL, "a cell");
_Static_assert(sizeof(nlt_stash_group_cell_t) <= NLT_STASH_CELL, "a cell");
_Static_assert(sizeof(nlt_stash_item_cell_t) <= NLT_STASH_CELL, "a cell");
_Static_assert(sizeof(nlt_stash_text_cell_t) == NLT_STASH_CELL, "a cell");

/* Cells that a text of len bytes takes. */
static inline uint32_t
nlt_stash_text_cells(size_t len)
{
    return (uint32_t) ((len + NLT_STASH_TEXT_BYTES - 1)
                       / NLT_STASH_TEXT_BYTES);
}

/*
 * Takes the lock and makes good what a dead holder left.  False: moved, or
 * beyond repair.
 */
NLT_CHECKED bool nlt_stash_lock(nlt_stash_t *s);

/* Empties the stash if damage was found; gives the lock back. */
void nlt_stash_unlock(nlt_stash_t *s);

/*
 * Cell i if it is of that kind; else NULL, and the stash counts as damaged.
 * The lock is held.
 */
void *nlt_stash_cell(nlt_stash_t *s, uint32_t i, nlt_stash_kind_t kind);

/* Says that the stash is damaged. */
void nlt_stash_damaged(nlt_stash_t *s);

/* Cell of a group, 0 when there is none. */
uint32_t nlt_stash_find(nlt_stash_t *s, nlt_hash128_t key);

/* Copies len bytes of a text to out; false: damaged. */
NLT_CHECKED bool
nlt_stash_text_get(nlt_stash_t *s, uint32_t text, uint32_t len, char *out);

/* Empties it; the lock is held. */
void nlt_stash_reset_locked(nlt_stash_t *s);

/*
 * More memory before it is needed.  Outside of the lock: it is a system call.
 * When there is none, what is there has to do.
 */
void nlt_stash_back(nlt_stash_t *s, uint32_t need);

/* Cells that can be taken. */
static inline uint32_t
nlt_stash_available(const nlt_stash_t *s)
{
    const nlt_stash_header_t *h = s->hdr;

    return atomic_load_explicit(&h->n_free, memory_order_relaxed)
           + atomic_load_explicit(&h->n_backed, memory_order_relaxed)
           - atomic_load_explicit(&h->n_bumped, memory_order_relaxed);
}

/*
 * Around each change.  The compiler may not move what is between them; a
 * process that dies has done what stands before the place where it died.
 */
static inline void
nlt_stash_change_begin(nlt_stash_t *s)
{
    atomic_store(&s->hdr->dirty, 1);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void
nlt_stash_change_end(nlt_stash_t *s)
{
    atomic_signal_fence(memory_order_seq_cst);
    (void) atomic_fetch_add_explicit(&s->hdr->changes, 1,
                                     memory_order_relaxed);
    atomic_store(&s->hdr->dirty, 0);
}

/* Head of the chain that a key, or a tenant, is in. */
static inline uint32_t *
nlt_stash_head_of(const nlt_stash_t *s, nlt_hash128_t key)
{
    return &s->heads[(key.hi ^ key.lo >> 32) & (s->n_heads - 1)];
}

static inline uint32_t *
nlt_stash_head_of_tenant(const nlt_stash_t *s, uint32_t number)
{
    return &s->heads[nlt_mix64(number) & (s->n_heads - 1)];
}

#endif

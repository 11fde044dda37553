/*
 * nlt_head_pairs.h - label names, label pairs and their postings.
 *
 * Floor 3 (store); uses nlt_head_priv.h.  Offsets of nlt_head_layout.h are
 * checked before use; what is corrupt is empty or not there.
 */
#ifndef NLT_STORE_HEAD_PAIRS_H
#define NLT_STORE_HEAD_PAIRS_H

#include "nlt_head_priv.h"

/*
 * Number of a pair, 0 when there is none.  Sees every pair that was complete
 * when it was called; no lock.
 */
uint32_t nlt_arena_pair_find(const nlt_arena_t *a, uint32_t tenant,
                             nlt_str_t name, nlt_str_t value);

/* A name of a tenant, or NULL.  Likewise. */
nlt_arena_name_t *
nlt_arena_name_find(const nlt_arena_t *a, uint32_t tenant, nlt_str_t name);

/* Entry of a name by its offset, checked to its last byte. */
static inline nlt_arena_name_t *
nlt_arena_name_at(const nlt_arena_t *a, uint32_t off)
{
    nlt_arena_name_t *name = nlt_arena_at(a, off, sizeof(*name));

    return nlt_likely(
               name != NULL
               && nlt_arena_at(a, off, sizeof(*name) + (uint64_t) name->len)
                      != NULL)
               ? name
               : NULL;
}

/* Name and value text of a pair; empty when corrupt. */
static inline nlt_str_t
nlt_arena_pair_name(const nlt_arena_t *a, const nlt_arena_pair_t *p)
{
    const nlt_arena_name_t *name = nlt_arena_name_at(a, p->name.u);

    return nlt_likely(name != NULL) ? (nlt_str_t){name->len, name->text}
                                    : (nlt_str_t){0, NULL};
}

static inline nlt_str_t
nlt_arena_pair_value(const nlt_arena_t *a, const nlt_arena_pair_t *p)
{
    const nlt_arena_str_t *s = nlt_arena_at(a, p->value.u, sizeof(*s));

    if (nlt_unlikely(
            s == NULL
            || !nlt_arena_at(a, p->value.u, sizeof(*s) + (uint64_t) s->len))) {
        return (nlt_str_t){0, NULL};
    }
    return (nlt_str_t){s->len, s->text};
}

/* Entries are asked for this many series ahead, their labels half as many. */
#define NLT_ARENA_LABELS_AHEAD 16

/* Has what is read of the labels of series[i] and some behind it come to the
 * cache; those of all n are read in order. */
static inline void
nlt_arena_labels_fetch(const nlt_arena_t *a, const uint32_t *series, size_t n,
                       size_t i)
{
    const size_t far = NLT_ARENA_LABELS_AHEAD, near = far / 2;

    if (i + far < n) {
        __builtin_prefetch(nlt_arena_series(a, series[i + far]));
    }
    if (i + near < n) {
        const nlt_arena_series_t *e = nlt_arena_series(a, series[i + near]);

        if (e != NULL) {
            __builtin_prefetch(nlt_arena_at(a, e->labels.u, 1));
        }
    }
}

/*
 * Finds or makes a pair; 0: no room.  like: a pair of the same tenant and
 * name, which saves looking for the name, or NULL.  Registration lock held.
 */
uint32_t nlt_arena_pair_intern(nlt_arena_t *a, uint32_t tenant, nlt_str_t name,
                               nlt_str_t value, const nlt_arena_pair_t *like);

/* Where a posting goes. */
typedef struct {
    nlt_arena_pair_t *pair;
    nlt_arena_postings_t *tail; /* NULL: it is the first, in the pair */
} nlt_arena_posting_t;

/*
 * Postings are added in two steps, so that lack of room is found before
 * anything is published: make room for `series` (greater than all before)
 * in a pair, then add it, which cannot fail.  Registration lock held.
 */
bool nlt_arena_postings_room(nlt_arena_t *a, uint32_t pair, uint32_t series,
                             nlt_arena_posting_t *at);
void nlt_arena_postings_add(const nlt_arena_posting_t *at, uint32_t series);

/* Walks the postings of a pair in ascending order. */
typedef struct {
    const nlt_arena_t *a;
    const nlt_arena_postings_t *block;
    uint32_t left;  /* postings still to come */
    uint32_t value; /* the last one given */
    uint32_t pos;   /* in block */
    uint32_t used;  /* of block */
    uint32_t first;
    uint32_t next_block;
} nlt_arena_walk_t;

/* At the first of the postings that are published now; no lock. */
void nlt_arena_walk_begin(nlt_arena_walk_t *w, const nlt_arena_t *a,
                          const nlt_arena_pair_t *p);

/* The next number, 0 at the end (also where memory is corrupt). */
uint32_t nlt_arena_walk_next(nlt_arena_walk_t *w);

#endif

/*
 * nlt_walk.h - all series of some selectors in order, a few at a time.
 *
 * Floor 4 (db); uses store, model.
 * Memory: numbers of the series that match, labels of NLT_WALK_BATCH of them.
 * Threads: one at a time; see forget().
 *
 * Answers that are sent while they are made need the series sorted by their
 * labels, and a store has them in no order.  To sort a million of them takes
 * more memory than such an answer is allowed, so the walk looks at all of them
 * several times, and each time keeps the smallest ones behind those it has
 * given out:
 *
 *     labels of all series   c f a h d b g e        batch of 3
 *     first look             a b c                  last = c
 *     second look            d e f                  last = f
 *     third look             g h
 *
 * Up to NLT_WALK_BATCH series, which is nearly always, there is one look.
 *
 * The same `last` lets go of the store: a walk whose client does not read is
 * told to forget its batch, the view is closed, and some other time another
 * view is opened and looked at from there.  No client can hold arenas and
 * blocks by being slow; what is written meanwhile may or may not be seen.
 */
#ifndef NLT_DB_WALK_H
#define NLT_DB_WALK_H

#include "nlt_store.h"

/* 10 labels each: 12 MiB while a batch is chosen. */
#define NLT_WALK_BATCH 16384

typedef int (*nlt_walk_cmp_t)(nlt_labels_t a, nlt_labels_t b);

typedef struct {
    nlt_labels_t labels; /* array in the walk, strings in the view */
    const nlt_series_set_t *set;
    const nlt_select_t *sel; /* the first that has found it */
    size_t idx;              /* in the set */
} nlt_walk_item_t;

typedef struct {
    const nlt_mem_t *mem;
    const nlt_select_t *sels; /* a series is taken if one of them matches */
    size_t n_sels;
    nlt_walk_cmp_t cmp; /* total: 0 for equal label sets only */
    uint64_t series_max;
    nlt_pool_t sets;        /* of the selects */
    nlt_series_set_t **set; /* of the batch */
    size_t n_sets;
    nlt_pool_t chosen[2]; /* label arrays of the batch: in one of them */
    unsigned which;
    nlt_pool_t kept; /* last, when there is no batch */
    nlt_walk_item_t *item;
    size_t n;
    size_t alike;      /* labels that all items begin with, while sorted */
    size_t at;         /* of the next one to give out */
    uint64_t selected; /* most series that a batch was chosen from */
    size_t peak_bytes; /* held at the end of a choice, at most */
    bool complete;     /* nothing comes behind the batch */
    bool have;         /* there is a batch */
    bool begun;        /* last is set */
    bool again;        /* last itself is not done yet */
    nlt_labels_t last;
} nlt_walk_t;

/*
 * A walk over the series of n selectors, sorted by cmp; more than series_max
 * (0: any number) is an error.  A selector without matchers finds
 * nothing, as in Prometheus.  memory_max bounds what it holds.  sels are
 * retained.  Allocates nothing.
 */
void nlt_walk_init(nlt_walk_t *w, const nlt_mem_t *mem, size_t memory_max,
                   const nlt_select_t *sels, size_t n, uint64_t series_max,
                   nlt_walk_cmp_t cmp);
void nlt_walk_deinit(nlt_walk_t *w);

/*
 * The next series, valid until next, forget or deinit.  src may be another
 * one than before only after forget().  NLT_EOF: that was the last;
 * NLT_ELIMIT (too many series, regex), and the errors of select and labels.
 * O(all that match) once a batch, else O(1).
 */
NLT_CHECKED nlt_rc_t nlt_walk_next(nlt_walk_t *w, const nlt_source_t *src,
                                   nlt_walk_item_t *out, nlt_err_t *err);

/*
 * The view is about to be closed.  next() goes on behind the last one that was
 * given out, or with it if `unfinished`.  NLT_ENOMEM: it cannot go on.  A few
 * allocations; any thread, also the event loop.
 */
NLT_CHECKED nlt_rc_t nlt_walk_forget(nlt_walk_t *w, bool unfinished);

/* Bytes held. */
size_t nlt_walk_bytes(const nlt_walk_t *w);

#endif

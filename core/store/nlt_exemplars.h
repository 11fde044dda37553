/*
 * nlt_exemplars.h - exemplars: which are taken, how they lie, how to find
 * them.
 *
 * Floor 3 (store); uses base, model, nlt_stash.
 * Threads: any; the stash has the lock.
 *
 * An exemplar is one observation beside a series: a value, a time, and a few
 * labels of its own, a trace id above all.  They are kept in a stash of a
 * fixed size (exemplars= of the store): the newest of each tenant, whichever
 * series they belong to.
 *
 *     stash group   key   canonical key of the series (tenant in it)
 *                   text  its labels, canonical (nlt_head_key)
 *     stash item    time, value, text: labels of the exemplar
 *
 * Rules, Prometheus's where it has one:
 *   - names and values together have at most 128 characters; an exemplar that
 *     has more is dropped, and the request is fine;
 *   - one that is there already, bit for bit, is fine and not kept twice; the
 *     NLT_STASH_LOOK newest of the series are compared when it comes, all of
 *     them when it is read;
 *   - any value, NaN and infinities too;
 *   - any order.  Prometheus refuses an exemplar older than the newest of its
 *     series, since its window for late samples is 0 by default; this store
 *     takes late samples as any others, and so their exemplars.  What bounds
 *     their times are the bounds of samples.  Readers sort.
 *   - labels: UTF-8, names not empty and unique; one with an empty value is
 *     none.
 *
 * They are logged (type 5 in docs/formats/wal.md) and come back after a power
 * loss as long as the log of their arena is there, that is until the arena is
 * in blocks, some two hours.  They are in no block.
 */
#ifndef NLT_STORE_EXEMPLARS_H
#define NLT_STORE_EXEMPLARS_H

#include "nlt_head.h"
#include "nlt_stash.h"
#include "nlt_wal.h"

/* Characters of all names and values of an exemplar. */
#define NLT_EXEMPLAR_RUNES_MAX 128

/* Each label has a name, so there are no more of them; four bytes a rune at
 * most, and two lengths a label of at most two bytes. */
#define NLT_EXEMPLAR_LABELS_MAX NLT_EXEMPLAR_RUNES_MAX
#define NLT_EXEMPLAR_BYTES_MAX  (NLT_EXEMPLAR_RUNES_MAX * (4 + 4))

typedef enum {
    NLT_EXEMPLAR_OK = 0,
    NLT_EXEMPLAR_DUPLICATE,    /* was there; counts as taken */
    NLT_EXEMPLAR_OFF,          /* exemplars=off; counts as taken */
    NLT_EXEMPLAR_TOO_LONG,     /* dropped, without a word */
    NLT_EXEMPLAR_INVALID,      /* its labels: not UTF-8, no name, twice */
    NLT_EXEMPLAR_OUT_OF_BOUNDS /* its time: before the retention, or future */
} nlt_exemplar_result_t;

/*
 * Encodes labels, in any order, at out (NLT_EXEMPLAR_BYTES_MAX of room):
 * sorted by name, {uvarint length, name, uvarint length, value}*, without
 * those whose value is empty.  OK, TOO_LONG or INVALID.
 */
nlt_exemplar_result_t
nlt_exemplar_encode(nlt_labels_t labels, char *out, size_t *len);

/*
 * The labels back, in out (room for NLT_EXEMPLAR_LABELS_MAX), borrowed from
 * bytes.  NLT_EDATA: nlt_exemplar_encode() did not make these.
 */
NLT_CHECKED nlt_rc_t nlt_exemplar_decode(nlt_str_t bytes, nlt_label_t *out,
                                         size_t *n);

/*
 * Puts an exemplar of a series of arena a, unless it is there: NLT_EDUP.
 * labels as nlt_exemplar_encode() made them.  work: an empty buffer that may
 * grow to NLT_SERIES_BYTES_MAX; pool: for the labels of the series, is left
 * as it was.  NLT_ENOENT: no such series; NLT_ENOMEM; as nlt_stash_put().
 */
NLT_CHECKED nlt_rc_t nlt_exemplars_put(nlt_stash_t *s, const nlt_arena_t *a,
                                       const nlt_wal_exemplar_t *x,
                                       nlt_pool_t *pool, nlt_buf_t *work);

/* Is it there already?  False also when there is no such series. */
bool nlt_exemplars_has(nlt_stash_t *s, const nlt_arena_t *a,
                       const nlt_wal_exemplar_t *x);

/* ---- queries ---- */

typedef struct {
    int64_t t_ms;
    double v;
    nlt_labels_t labels;
    uint64_t serial; /* rises in the order in which they came */
} nlt_exemplar_t;

typedef struct {
    nlt_labels_t labels; /* of the series */
    nlt_exemplar_t *v;   /* ascending in time, as they came where equal */
    size_t n;            /* > 0 */
} nlt_exemplar_series_t;

/* Matchers of one selector. */
typedef struct {
    const nlt_matcher_t *v; /* compiled */
    size_t n;
} nlt_exemplar_set_t;

typedef struct {
    uint32_t tenant;
    int64_t t_min_ms;
    int64_t t_max_ms;
    const nlt_exemplar_set_t *sets; /* a series matches all of one of them */
    size_t n_sets;
    const int *cancel; /* not 0: give up; NULL: never */
} nlt_exemplar_query_t;

/*
 * Finds exemplars with t_min_ms <= time <= t_max_ms of series that match; in
 * the pool, in order of the series' labels.  NLT_ENOMEM (the pool's budget),
 * NLT_ELIMIT (an expression), NLT_ECANCELED; NLT_ENOTREADY: the stash was just
 * replaced, ask for the new one.  O(series of the stash + answer).
 */
NLT_CHECKED nlt_rc_t nlt_exemplars_select(nlt_stash_t *s,
                                          const nlt_exemplar_query_t *q,
                                          nlt_pool_t *pool,
                                          nlt_exemplar_series_t **out,
                                          size_t *n, nlt_err_t *err);

#endif

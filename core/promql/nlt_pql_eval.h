/*
 * nlt_pql_eval.h - the machine that runs a plan: operators that give rows.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_plan.
 * Threads: everything belongs to the query's thread; helpers have contexts of
 * their own (nlt_pql_crew.h).
 *
 * Each plan node becomes an operator; an operator is pulled for rows, and a
 * row is one series over all steps of the node's grid:
 *
 *     labels      a set of the source and an index until someone needs more
 *     v[n]        one value a step
 *     present     one bit a step: is there a value?
 *
 *     sum by (job)  <-- pulls -- rate  <-- pulls -- samples of one series
 *       v[n] per job               one row, overwritten by the next
 *
 * Rows are lent: v and present of a row are good until the same operator is
 * asked for the next one, and may be overwritten by who got them; who wants
 * to keep a row copies it (nlt_pql_rows.h).  Label arrays are in the pool and
 * stay.  So a chain of
 * maps works in one buffer, and memory is that of operators which must keep
 * rows: aggregations (their output), and those where series meet.
 *
 * A function that fails sets ctx->err and returns the code; everybody else
 * passes it up.
 */
#ifndef NLT_PROMQL_PQL_EVAL_H
#define NLT_PROMQL_PQL_EVAL_H

#include "nlt_num.h"
#include "nlt_pql_plan.h"

typedef struct nlt_pql_open_set_s nlt_pql_open_set_t;
typedef struct nlt_pql_own_matcher_s nlt_pql_own_matcher_t;
typedef struct nlt_pql_crew_s nlt_pql_crew_t;

/* State of one query. */
typedef struct {
    nlt_pool_t *pool;   /* all that lives as long as the query */
    nlt_pool_t scratch; /* marked and rewound around short work */
    const nlt_pql_query_t *q;
    nlt_pql_annots_t *annots;
    nlt_pql_stats_t *stats;
    nlt_err_t *err;
    bool delayed;               /* names are removed at the end */
    uint64_t samples_held;      /* in kept rows */
    uint64_t series_selected;   /* by the selectors opened so far */
    int64_t poll_credit;        /* work left until the clock is looked at */
    nlt_mem_t mem;              /* of buffers: allocates from pool */
    nlt_pql_open_set_t *sets;   /* to close at the end */
    nlt_pql_own_matcher_t *own; /* to release at the end */
    nlt_pql_crew_t *crews;      /* to end before that: nlt_pql_crew.h */
    const int *leave;           /* of a helper: set when it has to */
} nlt_pql_ctx_t;

/* One series over the steps of a grid. */
typedef struct {
    nlt_labels_t labels;         /* if set is NULL */
    const nlt_series_set_t *set; /* where the labels are, or NULL */
    size_t idx;                  /* in set */
    bool bare;      /* with set: __name__, __type__, __unit__ do not count */
    bool drop_name; /* delayed removal: they go at the end of the query */
    uint32_t group; /* of binary operators: match group */
    double *v;
    uint64_t *present;
} nlt_pql_row_t;

typedef struct nlt_pql_iter_s nlt_pql_iter_t;

/* NLT_OK and a row, NLT_EOF after the last one, or an error. */
typedef nlt_rc_t (*nlt_pql_next_t)(nlt_pql_iter_t *op, nlt_pql_row_t *row);

/* The beginning of every operator's own structure. */
struct nlt_pql_iter_s {
    nlt_pql_next_t next;
    nlt_pql_ctx_t *ctx;
    const nlt_pql_plan_t *plan;
    size_t n;    /* steps */
    bool unique; /* all rows agree in __name__ (or lack it), none has
                    __type__ or __unit__: without them, rows stay distinct */
};

/* Makes the operator of a plan node of type scalar or vector. */
NLT_CHECKED nlt_rc_t nlt_pql_open(nlt_pql_ctx_t *ctx,
                                  const nlt_pql_plan_t *plan,
                                  nlt_pql_iter_t **out);

/*
 * Values of a scalar plan node at all steps of its grid; the array is the
 * caller's, in the pool.
 */
NLT_CHECKED nlt_rc_t nlt_pql_scalar_values(nlt_pql_ctx_t *ctx,
                                           const nlt_pql_plan_t *plan,
                                           double **out);

/* The string of a string argument. */
nlt_str_t nlt_pql_string_value(const nlt_pql_plan_t *plan);

/*
 * Counts `work` samples (or as much) of work; looks at the cancel flag and
 * the deadline about every thousand.  NLT_ECANCELED, NLT_ETIMEOUT.
 */
NLT_CHECKED nlt_rc_t nlt_pql_poll_slow(nlt_pql_ctx_t *ctx);

static inline nlt_rc_t
nlt_pql_poll(nlt_pql_ctx_t *ctx, size_t work)
{
    ctx->poll_credit -= (int64_t) work + 16;
    return nlt_likely(ctx->poll_credit > 0) ? NLT_OK : nlt_pql_poll_slow(ctx);
}

/*
 * Checks that n samples beside those held in kept rows are allowed, and
 * notes the peak.  NLT_ELIMIT.
 */
NLT_CHECKED nlt_rc_t nlt_pql_count(nlt_pql_ctx_t *ctx, uint64_t n);

/* Counts n samples that the steps of a selector or subquery look at. */
static inline void
nlt_pql_seen(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan, uint64_t n)
{
    ctx->stats->samples_seen += n * plan->repeat;
}

/* Fails the query with a text: NLT_EEXEC and kin. */
nlt_rc_t nlt_pql_eval_err(nlt_pql_ctx_t *ctx, nlt_rc_t rc, const char *fmt,
                          ...) NLT_PRINTF(3, 4);

/* An operator of `size` bytes, zeroed, its head filled; NULL: no memory. */
void *nlt_pql_iter_new(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                       size_t size, nlt_pql_next_t next);

/* Room for one row of n steps in the pool, all absent; false: no memory. */
NLT_CHECKED bool
nlt_pql_row_alloc(nlt_pql_ctx_t *ctx, size_t n, nlt_pql_row_t *row);

/* Opens a selector's set; closed when the query ends.  NLT_ELIMIT: with it,
 * the query has too many series. */
NLT_CHECKED nlt_rc_t nlt_pql_open_set(nlt_pql_ctx_t *ctx,
                                      const nlt_pql_fetch_t *f,
                                      nlt_series_set_t **out);

/* Notes that a matcher compiled here is to be released at the end. */
NLT_CHECKED nlt_rc_t nlt_pql_own_matcher(nlt_pql_ctx_t *ctx, nlt_matcher_t *m);

/* Sends helpers away, closes all sets and releases all matchers. */
void nlt_pql_close_sets(nlt_pql_ctx_t *ctx);

/*
 * Reads one series of a set, counting and polling; out->n may be 0.  The
 * samples are in the buffer of out until the next read.
 */
NLT_CHECKED nlt_rc_t nlt_pql_read(nlt_pql_ctx_t *ctx,
                                  const nlt_series_set_t *set, size_t idx,
                                  nlt_read_t what, const nlt_pql_fetch_t *f,
                                  nlt_samples_t *out);

/* An allocator of buffers that end with a pool. */
nlt_mem_t nlt_pql_pool_mem(nlt_pool_t *pool);

/* The metric name that the matchers demand by equality, or empty. */
nlt_str_t nlt_pql_fetch_name(const nlt_pql_fetch_t *f);

/* Removes stale markers from s. */
void nlt_pql_drop_stale(nlt_samples_t *s);

/*
 * Series of raw samples for functions over ranges: those of a selector, or
 * the steps of a subquery.
 */
typedef struct {
    nlt_pql_ctx_t *ctx;
    const nlt_pql_plan_t *plan;
    const nlt_pql_fetch_t *fetch;
    nlt_series_set_t *set; /* RANGE */
    size_t next;
    nlt_pql_iter_t *child; /* SUBQUERY; NULL: it has no steps */
    nlt_samples_t s;
    bool unique; /* as of operators */
    bool newest; /* the newest sample of the range is all that is needed */
} nlt_pql_feed_t;

/* Opens the series of a RANGE or SUBQUERY node. */
NLT_CHECKED nlt_rc_t nlt_pql_feed_open(nlt_pql_ctx_t *ctx,
                                       const nlt_pql_plan_t *plan,
                                       nlt_pql_feed_t *feed);

/*
 * The next series that has samples: labels in row (its v and present are not
 * set), samples in feed->s, without stale markers.  NLT_EOF at the end.
 */
NLT_CHECKED nlt_rc_t nlt_pql_feed_next(nlt_pql_feed_t *feed,
                                       nlt_pql_row_t *row);

/*
 * The same of series idx of a RANGE alone, which may be asked for in any
 * order; NLT_EOF: it has no samples.
 */
NLT_CHECKED nlt_rc_t nlt_pql_feed_one(nlt_pql_feed_t *feed, size_t idx);

/* Rows of a subquery as raw samples; by nlt_pql_feed_*. */
NLT_CHECKED nlt_rc_t nlt_pql_subquery_open(nlt_pql_feed_t *feed);
NLT_CHECKED nlt_rc_t nlt_pql_subquery_next(nlt_pql_feed_t *feed,
                                           nlt_pql_row_t *row);

/* The window of samples of one step, moved forward from step to step. */
typedef struct {
    size_t lo; /* first sample inside */
    size_t hi; /* first one after it */
} nlt_pql_span_t;

static inline void
nlt_pql_span_move(nlt_pql_span_t *w, const nlt_samples_t *s, int64_t after_ms,
                  int64_t upto_ms)
{
    while (w->hi < s->n && s->t_ms[w->hi] <= upto_ms) {
        w->hi++;
    }
    while (w->lo < w->hi && s->t_ms[w->lo] <= after_ms) {
        w->lo++;
    }
}

/*
 * For each of n_steps times at_ms, at_ms + step_ms, ... the number of samples
 * up to it, out[n_steps].  The times must not overflow, n < 2^32.
 * O(n_steps) when samples are evenly spaced, never worse than
 * O(n_steps + n).
 */
void nlt_pql_count_upto(const int64_t *t_ms, size_t n, int64_t at_ms,
                        int64_t step_ms, size_t n_steps, uint32_t *out);

/* Operators by kind of node; used by nlt_pql_open(). */
NLT_CHECKED nlt_rc_t nlt_pql_open_select(nlt_pql_ctx_t *ctx,
                                         const nlt_pql_plan_t *plan,
                                         bool timestamps,
                                         nlt_pql_iter_t **out);
NLT_CHECKED nlt_rc_t nlt_pql_open_window(nlt_pql_ctx_t *ctx,
                                         const nlt_pql_plan_t *plan,
                                         nlt_pql_iter_t **out);
NLT_CHECKED nlt_rc_t nlt_pql_open_map(nlt_pql_ctx_t *ctx,
                                      const nlt_pql_plan_t *plan,
                                      nlt_pql_iter_t **out);
NLT_CHECKED nlt_rc_t nlt_pql_open_once(nlt_pql_ctx_t *ctx,
                                       const nlt_pql_plan_t *plan,
                                       nlt_pql_iter_t *child,
                                       nlt_pql_iter_t **out);
NLT_CHECKED nlt_rc_t nlt_pql_open_special(nlt_pql_ctx_t *ctx,
                                          const nlt_pql_plan_t *plan,
                                          nlt_pql_iter_t **out);

/*
 * What an operator that drops the name has to do about rows that thereby
 * become equal; unique: as of its child.
 */
NLT_CHECKED nlt_rc_t nlt_pql_name_dropped(nlt_pql_iter_t **op, bool unique);

/* Is a before b?  Of nlt_pql_sort(). */
typedef bool (*nlt_pql_less_t)(const void *ctx, uint32_t a, uint32_t b);

/* Stable sort of numbers; tmp has room for n, too.  O(n log n). */
void nlt_pql_sort(uint32_t *v, uint32_t *tmp, size_t n, nlt_pql_less_t less,
                  const void *ctx);

/* Bits. */
static inline size_t
nlt_pql_words(size_t n)
{
    return n / 64 + (n % 64 != 0);
}

static inline bool
nlt_pql_has(const uint64_t *present, size_t i)
{
    return present[i / 64] >> (i % 64) & 1;
}

static inline void
nlt_pql_set(uint64_t *present, size_t i)
{
    present[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void
nlt_pql_clear(uint64_t *present, size_t i)
{
    present[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static inline void
nlt_pql_set_all(uint64_t *present, size_t n)
{
    size_t full = n / 64;

    memset(present, 0xff, full * sizeof(*present));
    if (n % 64) {
        present[full] = (UINT64_C(1) << (n % 64)) - 1;
    }
}

static inline bool
nlt_pql_any(const uint64_t *present, size_t n)
{
    for (size_t w = 0; w < nlt_pql_words(n); w++) {
        if (present[w]) {
            return true;
        }
    }
    return false;
}

/* How many of n steps have a value. */
size_t nlt_pql_popcount(const uint64_t *present, size_t n);

#endif

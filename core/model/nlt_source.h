/*
 * nlt_source.h - what a query reads: the only way from PromQL to samples.
 *
 * Floor 1 (model); uses base, nlt_matcher.
 *
 * PromQL sees a source: something that finds series by matchers and gives
 * their samples, one series at a time (D9: evaluation is series-major).  The
 * store implements it over head and blocks as one; tests implement it over
 * arrays.  A source hands out a set of series, then the caller reads them by
 * index in any order, as often as it likes:
 *
 *     select(matchers, t_min..t_max) -> set of n series
 *     for i in 0..n-1:
 *         label(set, i, "job")       -> one value, cheap
 *         labels(set, i, pool)       -> the whole sorted set
 *         read(set, i, ..)           -> t_ms[], v[] in time order
 *     close(set)
 *
 * Labels come lazily because most queries aggregate most of them away: a sum
 * over 100k series must not build 100k label arrays.
 *
 * Order: the series of a set come in no particular order, but in the same
 * order for the same data.  No label set occurs twice in a set.  A series of
 * a set may turn out to have no sample in the range.
 * Threads: a set may be read by several threads if each has its own
 * nlt_samples_t; select and close belong to one thread.
 */
#ifndef NLT_MODEL_SOURCE_H
#define NLT_MODEL_SOURCE_H

#include "nlt_matcher.h"

typedef struct {
    const nlt_matcher_t *matchers; /* compiled; n of them, ANDed */
    size_t n_matchers;
    int64_t t_min_ms; /* the only samples of interest, inclusive */
    int64_t t_max_ms;
} nlt_select_t;

/*
 * Samples of one series: parallel arrays in time order, strictly ascending.
 * Grown in `pool` by the source and reused for the next series; the caller
 * zeroes the struct and sets pool once.
 */
typedef struct {
    int64_t *t_ms;
    double *v;      /* bits as written: stale markers are in here */
    int64_t *st_ms; /* when the counter was started, 0: unknown.  Set by a
                       source that knows such times, which the store does not
                       keep; NULL: none */
    size_t n;
    size_t cap;
    nlt_pool_t *pool;
    /* A hint of the caller's: series [from, upto) of a set are going to be
     * read in order; upto 0: to its end. */
    size_t from;
    size_t upto;
    /* One of the source's: series before read_upto are read already, read_n of
     * them at once.  0: it reads none before it is asked. */
    size_t read_upto;
    size_t read_n;
    void *ahead; /* the source's own, in pool: what it has read before it was
                    asked; NULL: nothing */
} nlt_samples_t;

/* Makes room for cap samples; false when the pool is out of budget. */
NLT_CHECKED bool nlt_samples_reserve(nlt_samples_t *s, size_t cap);

typedef enum {
    NLT_READ_ALL,    /* every sample in [t_min, t_max] */
    NLT_READ_NEWEST, /* only the newest one in it: instant selectors */
    NLT_READ_ANY     /* one of it, whichever is cheapest, its value may be
                        anything: who asks whether there are some */
} nlt_read_t;

typedef struct nlt_source_s nlt_source_t;
typedef struct nlt_series_set_s nlt_series_set_t;

/* The beginning of every source's own set structure. */
struct nlt_series_set_s {
    const nlt_source_t *source;
    size_t n; /* series */
};

typedef struct {
    /*
     * Finds series that match and may have samples in the range.  The set
     * lives in the pool and pins what it reads until close().  NLT_ENOMEM
     * (budget), NLT_ELIMIT (regex), NLT_ECANCELED, NLT_EIO, NLT_EDATA.
     */
    nlt_rc_t (*select)(const nlt_source_t *src, nlt_pool_t *pool,
                       const nlt_select_t *sel, nlt_series_set_t **out,
                       nlt_err_t *err);

    /* Value of one label, empty when absent; borrowed until close(). */
    nlt_str_t (*label)(const nlt_series_set_t *set, size_t idx,
                       nlt_str_t name);

    /*
     * Values of labels as numbers, so that series can be grouped without
     * looking at texts.  keys_open() looks up n names once, *out in the pool
     * for as long as the set; keys() gives a number for each of them: equal
     * numbers of one name mean equal values, 0 that the label is absent.  One
     * value may have several numbers.  *out is NULL when no series has any of
     * the names.  keys() is false when it cannot tell;
     * label() can.  Both NULL: the source has none.  NLT_ENOMEM.
     */
    nlt_rc_t (*keys_open)(const nlt_series_set_t *set, const nlt_str_t *names,
                          size_t n, nlt_pool_t *pool, void **out);
    bool (*keys)(const nlt_series_set_t *set, const void *keys, size_t idx,
                 uint64_t *out);

    /* All labels, sorted; array in the pool, strings until close(). */
    nlt_rc_t (*labels)(const nlt_series_set_t *set, size_t idx,
                       nlt_pool_t *pool, nlt_labels_t *out);

    /*
     * Replaces the content of out by the samples in [t_min_ms, t_max_ms],
     * which lies inside the range of select.  NLT_ENOMEM (pool of out),
     * NLT_EDATA (err says which block), NLT_EIO.
     */
    nlt_rc_t (*read)(const nlt_series_set_t *set, size_t idx, nlt_read_t what,
                     int64_t t_min_ms, int64_t t_max_ms, nlt_samples_t *out,
                     nlt_err_t *err);

    /*
     * Has the series native histograms in the range, of which read() says
     * nothing?  Says yes also where a chunk of them only surrounds the range.
     * NULL: the source has none.  Errors as read.
     */
    nlt_rc_t (*histograms)(const nlt_series_set_t *set, size_t idx,
                           int64_t t_min_ms, int64_t t_max_ms, bool *out,
                           nlt_err_t *err);

    void (*close)(nlt_series_set_t *set);

    /*
     * Names of labels of the series that sel matches (all series of the
     * time range when it has no matcher), sorted, unique, in the pool.
     */
    nlt_rc_t (*label_names)(const nlt_source_t *src, nlt_pool_t *pool,
                            const nlt_select_t *sel, nlt_str_t **out,
                            size_t *n, nlt_err_t *err);

    /* Values of one label, likewise. */
    nlt_rc_t (*label_values)(const nlt_source_t *src, nlt_pool_t *pool,
                             nlt_str_t name, const nlt_select_t *sel,
                             nlt_str_t **out, size_t *n, nlt_err_t *err);
} nlt_source_ops_t;

struct nlt_source_s {
    const nlt_source_ops_t *ops;
    void *ctx; /* of the source */
    /*
     * Looked at by long loops, when not NULL: a set flag ends them with
     * NLT_ECANCELED.  Written by another thread.
     */
    const int *cancel;
};

#endif

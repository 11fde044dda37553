/*
 * nlt_ingest_screen.h - what a location adds to series, and keeps out.
 *
 * Floor 3 (store); uses nlt_ingest.h.
 *
 * How it costs a known series nothing is in nlt_ingest_screen.c.
 */
#ifndef NLT_STORE_INGEST_SCREEN_H
#define NLT_STORE_INGEST_SCREEN_H

#include "nlt_ingest.h"

/* Labels of a series in a message. */
#define NLT_INGEST_SHOWN_BYTES 604

typedef struct nlt_ingest_series_s nlt_ingest_series_t;
typedef struct nlt_ingest_refused_s nlt_ingest_refused_t;

/* Why a series was left out. */
typedef enum {
    NLT_INGEST_TAKEN,
    NLT_INGEST_DROPPED,
    NLT_INGEST_OVER_ACTIVE,
    NLT_INGEST_OVER_CREATED
} nlt_ingest_why_t;

/* What was left out of a request so far. */
typedef struct {
    uint64_t n_over_labels; /* series */
    uint64_t n_dropped;     /* samples, by a rule */
    uint64_t n_over;        /* samples of series over a quota */
    uint64_t n_over_series;
    /* what would have been: series, samples, series, samples */
    uint64_t n_dropped_dry;
    uint64_t n_over_dry;
    uint64_t n_over_labels_dry;
    uint64_t n_age_dry;
} nlt_ingest_left_out_t;

/* The first series over a quota. */
typedef struct {
    nlt_ingest_why_t why;            /* TAKEN: none was */
    const nlt_ingest_quota_t *quota; /* which one; NULL: not known any more */
    char shown[NLT_INGEST_SHOWN_BYTES];
} nlt_ingest_over_t;

/* Sets r->seed.  NLT_OK; NLT_ECANCELED: refused, a stamped value is bad. */
NLT_CHECKED nlt_rc_t nlt_ingest_seed(nlt_ingest_req_t *r);

/* Series of this key will be asked about soon. */
void nlt_ingest_prefetch_refused(const nlt_ingest_req_t *r, nlt_hash128_t key);

/*
 * Is e known to be refused?  Then its samples are counted as that, and it is
 * to be left out.
 */
bool nlt_ingest_recall(nlt_ingest_req_t *r, const nlt_ingest_series_t *e);

/*
 * Stamps the *n sorted labels in s->labels, which has room, and asks the drop
 * rules.  Only with a screen.  NLT_OK; NLT_EEXIST: dropped and counted;
 * NLT_EINVAL: too long, noted (2.0); NLT_ECANCELED: refused.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_screen(nlt_ingest_req_t *r,
                                       const nlt_ingest_series_t *e,
                                       size_t *n);

/*
 * May e be registered in a (is_new), or carried over to it?  It is charged
 * then; false: it is remembered and counted as refused.
 */
NLT_CHECKED bool nlt_ingest_admit(nlt_ingest_req_t *r, const nlt_arena_t *a,
                                  const nlt_ingest_series_t *e, bool is_new);

/* It could not be, after all. */
void nlt_ingest_unadmit(nlt_ingest_req_t *r, const nlt_arena_t *a);

/* Counts samples that found no memory. */
void nlt_ingest_no_room(nlt_ingest_req_t *r, uint64_t n);

/* Says which quota some series were over. */
void nlt_ingest_say_over(nlt_ingest_req_t *r, nlt_buf_t *b);

/* Frees what is remembered. */
void nlt_ingest_screen_free(nlt_ingest_t *in);

#endif

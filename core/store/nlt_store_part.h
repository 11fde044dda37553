/*
 * nlt_store_part.h - one arena or block of a view, as a query sees it.
 *
 * Floor 3 (store); uses nlt_store_priv, nlt_cuts.
 * Only nlt_store_{part,source,gather}.c include it.
 *
 * A part answers like the whole store: series by matchers, their labels, their
 * samples, and nothing of what is deleted in it.  Which rules concern it is
 * found out once a select (nlt_cuts.h).
 */
#ifndef NLT_STORE_STORE_PART_H
#define NLT_STORE_STORE_PART_H

#include "nlt_postings.h"
#include "nlt_store_priv.h"

typedef struct {
    nlt_view_t *view;
    const nlt_arena_t *arena; /* one of the two */
    const nlt_block_t *block;
    size_t idx;   /* of the block in the view's list */
    bool whole;   /* every series of it has something in the range */
    uint32_t *id; /* series that matched, ascending */
    size_t n;
    nlt_cuts_t cuts; /* what is deleted of them, in the range of the select */
} nlt_part_t;

/* The view that a source belongs to. */
static inline nlt_view_t *
nlt_part_view(const nlt_source_t *src)
{
    return src->ctx;
}

/* NLT_ECANCELED when the query was canceled, else NLT_OK. */
NLT_CHECKED nlt_rc_t nlt_part_poll(const nlt_source_t *src, nlt_err_t *err);

/* What a function of the part's block or arena gave, which it returns; a
 * damaged block voids the answer. */
nlt_rc_t nlt_part_met(const nlt_part_t *p, nlt_rc_t rc, const nlt_err_t *err);

/* NLT_ENOMEM and its text: the budget of the query is used up. */
nlt_rc_t nlt_part_over_budget(nlt_err_t *err);

/*
 * The parts of the view that may have samples in the range, oldest first, in
 * the pool; nothing is selected yet.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_parts_find(nlt_view_t *v, nlt_pool_t *pool,
                                    int64_t t_min, int64_t t_max,
                                    nlt_part_t **out, size_t *n,
                                    nlt_err_t *err);

/*
 * Finds the series that match and may have samples in the range, into p->id,
 * and what is deleted of them.  A series whose samples are all deleted, so far
 * as the index and the times of the part tell, is not among them.  Not exact:
 * of a block nearly all of whose series have something in the range all may be
 * given, for who reads them finds out at no cost.  Errors as
 * nlt_source_ops_t.select.
 */
NLT_CHECKED nlt_rc_t nlt_part_select(const nlt_source_t *src, nlt_pool_t *pool,
                                     const nlt_select_t *sel, bool exact,
                                     nlt_part_t *p, nlt_err_t *err);

/*
 * The same with all series that match, and a question about one of them: may
 * it have samples in the range, so far as index and times tell?
 */
NLT_CHECKED nlt_rc_t nlt_part_select_all(const nlt_source_t *src,
                                         nlt_pool_t *pool,
                                         const nlt_select_t *sel,
                                         nlt_part_t *p, nlt_err_t *err);
NLT_CHECKED nlt_rc_t nlt_part_may_have(const nlt_part_t *p, uint32_t id,
                                       const nlt_select_t *sel, bool *yes,
                                       nlt_err_t *err);

/*
 * The others: series that match and have nothing in the range any more because
 * it is deleted; ascending, in the pool.  Costs for series that rules are
 * about, not for others.
 */
NLT_CHECKED nlt_rc_t nlt_part_gone(const nlt_source_t *src, nlt_pool_t *pool,
                                   const nlt_select_t *sel, nlt_part_t *p,
                                   nlt_postings_t *out, nlt_err_t *err);

/* Series with this value of a label, deleted or not.  As select. */
NLT_CHECKED nlt_rc_t nlt_part_with(const nlt_part_t *p, nlt_pool_t *pool,
                                   nlt_str_t name, nlt_str_t value,
                                   nlt_postings_t *out, nlt_err_t *err);

/*
 * May it have series of other tenants?  Then nlt_part_strings() must not be
 * asked, which would tell of those.
 */
bool nlt_part_is_shared(const nlt_part_t *p);

/* Sorted labels; array in the pool, strings in the part. */
NLT_CHECKED nlt_rc_t nlt_part_labels(const nlt_part_t *p, uint32_t id,
                                     nlt_pool_t *pool, nlt_labels_t *out,
                                     nlt_err_t *err);

/*
 * Appends samples to out; of NLT_READ_NEWEST the newest is the last of what
 * was appended.  What is deleted is not among them.
 */
NLT_CHECKED nlt_rc_t nlt_part_read(const nlt_part_t *p, uint32_t id,
                                   nlt_read_t what, int64_t t_min,
                                   int64_t t_max, nlt_samples_t *out,
                                   nlt_err_t *err);

/* Are samples of the series deleted, in the range of the select? */
static inline bool
nlt_part_is_cut(const nlt_part_t *p, uint32_t id)
{
    nlt_interval_t gone[NLT_DELETES_MAX];

    return p->cuts.n > 0 && nlt_cuts_of(&p->cuts, id, gone) > 0;
}

/* Has the series histograms in the range?  See nlt_source_ops_t. */
NLT_CHECKED nlt_rc_t nlt_part_histograms(const nlt_part_t *p, uint32_t id,
                                         int64_t t_min, int64_t t_max,
                                         bool *out, nlt_err_t *err);

/*
 * Names of labels (name NULL) or values of one, of all its series, deleted or
 * not; in the pool.  Not of a part that is shared.
 */
NLT_CHECKED nlt_rc_t nlt_part_strings(const nlt_part_t *p, nlt_pool_t *pool,
                                      const nlt_str_t *name, nlt_str_t **out,
                                      size_t *n, nlt_err_t *err);

/* ---- nlt_store_gather.c ---- */

/* label_names of the source. */
nlt_rc_t nlt_store_label_names(const nlt_source_t *src, nlt_pool_t *pool,
                               const nlt_select_t *sel, nlt_str_t **out,
                               size_t *n, nlt_err_t *err);
/* label_values of the source. */
nlt_rc_t nlt_store_label_values(const nlt_source_t *src, nlt_pool_t *pool,
                                nlt_str_t name, const nlt_select_t *sel,
                                nlt_str_t **out, size_t *n, nlt_err_t *err);

#endif

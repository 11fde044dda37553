/*
 * nlt_cuts.h - which samples of an arena, a block or a log are deleted.
 *
 * Floor 3 (store); uses nlt_deletes, nlt_head, nlt_block.
 * Threads: a cutter belongs to one thread (it holds compiled expressions);
 * cuts may be read by any number.
 *
 * Rules speak of labels and times; who reads or copies samples has a part and
 * numbers of series.  A cutter translates: for each rule that concerns the
 * part it selects the series, once, and what comes out says for any series
 * which intervals of time are not there any more:
 *
 *     rule 7 {job="api"}  [0, 900]     series 3, 4, 17  of arena 41
 *     rule 9 {zone="b"}   [800, 1200]  series 4, 9
 *                          nlt_cuts_of(4) = [0, 1200]
 *
 * A query selects by its own matchers and those of the rule at once, so a rule
 * about a million series costs a query of ten no more than ten.
 *
 * Expressions.  A regular expression may exceed its limits on some label
 * value.  For who answers that is an error.  For who writes (flush, replay) it
 * must not be: data would never leave the head.  A lenient cutter passes over
 * such a rule, and `applied` says up to which number all rules were applied,
 * which is what the block records; so the rule stays in force.  Compaction of
 * several blocks cannot be lenient: its result may have a later arena than the
 * rule.
 */
#ifndef NLT_STORE_CUTS_H
#define NLT_STORE_CUTS_H

#include "nlt_block.h"
#include "nlt_deletes.h"
#include "nlt_head.h"

/* One rule's share: these series, this interval. */
typedef struct {
    nlt_interval_t interval;
    const uint32_t *id; /* ascending */
    size_t n;
} nlt_cut_t;

/* What is cut out of one part; zeroed: nothing. */
typedef struct {
    nlt_cut_t *v; /* at most NLT_DELETES_MAX; none without series */
    size_t n;
} nlt_cuts_t;

/*
 * The joined intervals of a series into out; their count, mostly 0.
 * O(rules * log series).
 */
size_t nlt_cuts_of(const nlt_cuts_t *c, uint32_t id,
                   nlt_interval_t out[NLT_DELETES_MAX]);

/* Who copies samples of all tenants keeps to the rules of each. */
#define NLT_TENANTS_ALL UINT32_MAX

typedef struct {
    const nlt_delete_list_t *list; /* NULL: no rules */
    uint32_t tenant;               /* or NLT_TENANTS_ALL */
    bool lenient;
    uint64_t applied; /* all rules up to this number were applied */
    nlt_pool_t pool;  /* of the fields below */
    nlt_delete_t *v;  /* copies with compiled matchers; NULL: none yet */
    bool *compiled;
} nlt_cutter_t;

/*
 * A cutter of the rules of one tenant, or all.  mem and list are borrowed
 * until deinit; list may be NULL.  Allocates nothing.
 */
void nlt_cutter_init(nlt_cutter_t *c, const nlt_mem_t *mem,
                     const nlt_delete_list_t *list, uint32_t tenant);
void nlt_cutter_deinit(nlt_cutter_t *c);

/*
 * What is cut out of arena a, as far as `sel` matches and its range is met;
 * sel may be NULL: all series and times.  Lists of series are in the pool.
 * NLT_ELIMIT (an expression; not when lenient), NLT_EBUG (one that does not
 * compile any more), NLT_ENOMEM, NLT_EDATA.
 */
NLT_CHECKED nlt_rc_t nlt_cutter_arena(nlt_cutter_t *c, nlt_pool_t *pool,
                                      const nlt_arena_t *a,
                                      const nlt_select_t *sel, nlt_cuts_t *out,
                                      nlt_err_t *err);

/*
 * The same for a block that has samples up to `arena` and was made after
 * `deletes` (both as the MANIFEST has them).  NLT_EIO too.
 */
NLT_CHECKED nlt_rc_t nlt_cutter_block(nlt_cutter_t *c, nlt_pool_t *pool,
                                      const nlt_block_t *b, uint64_t arena,
                                      uint64_t deletes,
                                      const nlt_select_t *sel, nlt_cuts_t *out,
                                      nlt_err_t *err);

/*
 * The joined intervals that are cut out of one series of the log of `arena`,
 * which is the cutter's one tenant's, into out; *n is their count.  Errors as
 * above.
 */
NLT_CHECKED nlt_rc_t nlt_cutter_labels(nlt_cutter_t *c, uint64_t arena,
                                       nlt_labels_t labels,
                                       nlt_interval_t out[NLT_DELETES_MAX],
                                       size_t *n, nlt_err_t *err);

#endif

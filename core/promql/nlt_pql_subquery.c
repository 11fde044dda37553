/*
 * nlt_pql_subquery.c - an expression's steps as if they were samples.
 *
 * The steps of all windows are computed as one row (the plan chose a grid
 * that covers them); present steps become samples, over which the windows
 * then move like over those of a selector.
 */
#include "nlt_pql_rows.h"

nlt_rc_t
nlt_pql_subquery_open(nlt_pql_feed_t *feed)
{
    const nlt_pql_plan_t *kid = feed->plan->kids[0];
    nlt_rc_t rc;

    if (kid->grid.n == 0) {
        return NLT_OK;
    }
    rc = nlt_pql_open(feed->ctx, kid, &feed->child);
    if (rc != NLT_OK) {
        return rc;
    }
    feed->unique = feed->child->unique;
    return nlt_samples_reserve(&feed->s, kid->grid.n) ? NLT_OK : NLT_ENOMEM;
}

nlt_rc_t
nlt_pql_subquery_next(nlt_pql_feed_t *feed, nlt_pql_row_t *row)
{
    const nlt_pql_grid_t *g = &feed->plan->kids[0]->grid;
    nlt_samples_t *s = &feed->s;
    nlt_rc_t rc;

    if (feed->child == NULL) {
        return NLT_EOF;
    }
    rc = feed->child->next(feed->child, row);
    if (rc != NLT_OK) {
        return rc;
    }
    s->n = 0;
    for (size_t w = 0; w < nlt_pql_words(g->n); w++) {
        for (uint64_t bits = row->present[w]; bits; bits &= bits - 1) {
            size_t i = w * 64 + (size_t) __builtin_ctzll(bits);

            s->t_ms[s->n] = nlt_pql_step(g, i);
            s->v[s->n++] = row->v[i];
        }
    }
    rc = nlt_pql_count(feed->ctx, s->n);
    return rc == NLT_OK ? nlt_pql_poll(feed->ctx, s->n) : rc;
}

/*
 * nlt_pql_crew.h - leaves: rows made of one series each, by several threads.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_eval.
 * Threads: a leaf belongs to the query's thread, which is the only one that
 * sees its rows; helpers have copies of it, of which below.
 *
 * A leaf is an operator over a set of series whose row i is made of series i
 * alone: an instant selector, or a function over a range of a selector.
 * Nearly all of a query's time is spent here, reading and decoding; what is
 * above, aggregations with their compensated sums, takes rows in the order of
 * the series, and the last digit hangs on that order.
 *
 * So rows are made by many and taken by one.  The series from where the leaf
 * is are cut into blocks; whoever is free begins the next block, and the
 * query's thread takes blocks in order:
 *
 *     taken         ready       begun        not begun
 *     | b0 | b1 | b2(query) | b3 | b4 | b5(helper) | b6 | b7 | ...
 *                  ^ taken next            ^ begun next
 *
 * The query's thread is one of those who make blocks.  When the block it
 * needs is not begun it makes that; when it is being made, the next one that
 * is not begun, as long as there is room for it; and only when there is none
 * it waits, for a thread that is running.  So help that never comes costs
 * nothing, and threads that all wait for help of each other are impossible.
 *
 * What a row did besides its values is recorded beside it and done again when
 * it is taken: counts, limits, notes, polls.  A helper that meets an error
 * leaves its block there; what is left of a block is made by the query's
 * thread as if nobody had tried.  So answers, errors, notes and statistics
 * are those of a query without help, to the last byte, whatever the threads
 * did: t/twin/nlt_pql_crew_threads_test.c.  Only time and memory differ.
 *
 * A leaf begins alone.  After LOOK_NS, when as much is left as is worth
 * asking for (nlt_help_t.worth_ns), it asks; until then, and in queries that
 * have no help to ask, it costs a comparison a series.
 *
 * Memory: blocks and the buffers of helpers are not in the query's pool, which
 * one thread has.  They have a budget of their own, an eighth of what the
 * query's has left when it asks and NLT_PQL_CREW_BYTES_MAX at most, shared out
 * among them; one whose part is used up leaves.
 */
#ifndef NLT_PROMQL_PQL_CREW_H
#define NLT_PROMQL_PQL_CREW_H

#include "nlt_pql_eval.h"

#define NLT_PQL_CREW_BYTES_MAX ((size_t) 32 << 20)

typedef struct nlt_pql_leaf_s nlt_pql_leaf_t;

typedef struct {
    /*
     * Makes the row of series idx, in leaf->row.v and .present, which it has
     * to fill.  NLT_OK; NLT_EOF: it has no value at any step; or an error.
     * Counts, polls and notes by leaf->op.ctx.
     */
    nlt_rc_t (*one)(nlt_pql_leaf_t *leaf, size_t idx);
    /*
     * Makes a copy of a leaf that has another ctx one of its own: buffers
     * begin empty.  NLT_ENOMEM.
     */
    nlt_rc_t (*settle)(nlt_pql_leaf_t *copy);
    /* What is read into. */
    nlt_samples_t *(*samples)(nlt_pql_leaf_t *leaf);
    size_t size; /* of the operator's own structure */
} nlt_pql_leaf_ops_t;

/* The beginning of a leaf's own structure. */
struct nlt_pql_leaf_s {
    nlt_pql_iter_t op; /* first; op.next is nlt_pql_leaf_next */
    const nlt_pql_leaf_ops_t *ops;
    const nlt_series_set_t *set;
    bool drops_name;   /* rows lose it: nlt_pql_row_drop_name() */
    nlt_pql_row_t row; /* room for v and present */
    size_t next;       /* series */
    /* of nlt_pql_crew.c */
    nlt_pql_crew_t *crew; /* NULL: alone */
    size_t look_at;       /* which series to look at the clock before */
    int64_t begun_ns;
    int64_t second_ns; /* when the second series was begun */
};

/* nlt_pql_next_t of leaves. */
NLT_CHECKED nlt_rc_t nlt_pql_leaf_next(nlt_pql_iter_t *op, nlt_pql_row_t *row);

/* Sends all helpers of the query away, and waits until they have gone. */
void nlt_pql_crews_end(nlt_pql_ctx_t *ctx);

#endif

/*
 * nlt_pql_rows.h - keeping rows: labels, groups of equal labels, duplicates.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_eval.
 *
 * Prometheus evaluates step by step and may meet the same label set twice:
 * at one step that is an error; at different steps the two are one series.
 * A series-major evaluator meets both questions whenever labels are taken
 * away, so there is one operator for them, nlt_pql_merge(), which operators
 * that change labels put on top of themselves, unless they know better.
 */
#ifndef NLT_PROMQL_PQL_ROWS_H
#define NLT_PROMQL_PQL_ROWS_H

#include "nlt_pql_eval.h"

/* The value of one label of a row, empty when absent. */
nlt_str_t nlt_pql_row_label(const nlt_pql_row_t *row, nlt_str_t name);

/* The whole label set; the array is in `pool` or the row's own. */
NLT_CHECKED nlt_rc_t nlt_pql_row_labels(nlt_pql_ctx_t *ctx,
                                        const nlt_pql_row_t *row,
                                        nlt_pool_t *pool, nlt_labels_t *out);

/* Is it __name__, __type__ or __unit__? */
bool nlt_pql_is_meta(nlt_str_t name);

/*
 * What functions do to the name: takes __name__, __type__ and __unit__ away,
 * now or (delayed removal) by a mark.
 */
NLT_CHECKED nlt_rc_t nlt_pql_row_drop_name(nlt_pql_ctx_t *ctx,
                                           nlt_pql_row_t *row);

/* The same, always now. */
NLT_CHECKED nlt_rc_t nlt_pql_row_strip(nlt_pql_ctx_t *ctx, nlt_pql_row_t *row);

/* A growing list of rows. */
typedef struct {
    nlt_pql_row_t *v;
    size_t n;
    size_t cap;
} nlt_pql_rows_t;

/* Copies a lent row (values, bits; labels stay lazy) to the end. */
NLT_CHECKED nlt_rc_t nlt_pql_rows_keep(nlt_pql_ctx_t *ctx, size_t n_steps,
                                       nlt_pql_rows_t *rows,
                                       const nlt_pql_row_t *row);

/* All rows of an operator. */
NLT_CHECKED nlt_rc_t nlt_pql_rows_collect(nlt_pql_iter_t *op,
                                          nlt_pql_rows_t *rows);

/* An operator over kept rows: lends them in order. */
NLT_CHECKED nlt_rc_t nlt_pql_rows_open(nlt_pql_ctx_t *ctx,
                                       const nlt_pql_plan_t *plan,
                                       const nlt_pql_rows_t *rows,
                                       nlt_pql_iter_t **out);

/* Label sets numbered in order of first appearance. */
typedef struct {
    nlt_labels_t *keys; /* n of them, in the pool */
    uint64_t *hashes;
    size_t n;
    size_t cap;
    uint32_t *slots; /* open addressing; 0: empty, else index + 1 */
    size_t n_slots;
} nlt_pql_table_t;

/*
 * The number of a key; a new one (*added) is copied into the pool, strings
 * borrowed.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_pql_table_put(nlt_pql_ctx_t *ctx, nlt_pql_table_t *t,
                                       nlt_labels_t key, uint32_t *index,
                                       bool *added);

/* The number of a key, or false. */
bool nlt_pql_table_find(const nlt_pql_table_t *t, nlt_labels_t key,
                        uint32_t *index);

/*
 * Which group rows are in whose labels the source knows as numbers, so that
 * most rows find theirs without a text.  Zeroed: empty.
 */
typedef struct {
    const nlt_series_set_t *set; /* that the numbers belong to */
    void *keys;                  /* of its source; NULL: it has none */
    uint64_t *now;               /* numbers of the row at hand */
    uint64_t *slots;             /* each is group + 1 and the numbers */
    size_t n_slots;
    size_t n;
    unsigned n_sets; /* that were met */
} nlt_pql_memo_t;

/* How rows fall into groups: by (names) or without (names). */
typedef struct {
    nlt_str_t *names; /* sorted, unique */
    size_t n;
    bool without;    /* all labels but these and __name__ */
    bool keeps_meta; /* a group may have some that are to be removed */
    bool has_meta;   /* names has one of __name__, __type__, __unit__ */
} nlt_pql_grouping_t;

/* Sorts the names and drops repeated ones, in the pool. */
NLT_CHECKED nlt_rc_t nlt_pql_grouping_init(nlt_pql_ctx_t *ctx,
                                           nlt_pql_names_t names, bool without,
                                           nlt_pql_grouping_t *g);

/* The group's labels of a row; array in `pool`. */
NLT_CHECKED nlt_rc_t nlt_pql_grouping_key(nlt_pql_ctx_t *ctx,
                                          const nlt_pql_grouping_t *g,
                                          const nlt_pql_row_t *row,
                                          nlt_pool_t *pool, nlt_labels_t *out);

/* The same for labels that are at hand. */
NLT_CHECKED nlt_rc_t nlt_pql_grouping_cut(const nlt_pql_grouping_t *g,
                                          nlt_labels_t labels,
                                          nlt_pool_t *pool, nlt_labels_t *out);

/*
 * Puts an operator on *op that makes rows of equal labels one, in order of
 * first appearance: E8 when two have a value at the same step, or E11 when
 * `matching` is set and they are of the same match group.
 */
NLT_CHECKED nlt_rc_t nlt_pql_merge(nlt_pql_iter_t **op, bool matching);

/* One merge of src into dst of the same labels; errors as above. */
NLT_CHECKED nlt_rc_t nlt_pql_rows_join(nlt_pql_ctx_t *ctx, size_t n_steps,
                                       nlt_pql_row_t *dst,
                                       const nlt_pql_row_t *src,
                                       bool matching);

/* A label set being changed: starts as a copy, names stay sorted. */
typedef struct {
    nlt_label_t *v;
    size_t n;
} nlt_pql_edit_t;

/* A copy of l with room for `more` additional labels, in `pool`. */
NLT_CHECKED bool nlt_pql_edit_init(nlt_pool_t *pool, nlt_labels_t l,
                                   size_t more, nlt_pql_edit_t *e);

/* Sets a label; an empty value deletes it.  Room must have been asked for. */
void nlt_pql_edit_set(nlt_pql_edit_t *e, nlt_str_t name, nlt_str_t value);

#endif

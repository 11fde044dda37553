/*
 * nlt_pql_match.c - arithmetic and comparison of two vectors.
 *
 * The rows of the "one" side are kept by match group.  Rows of one group may
 * take turns (a series that was replaced by another one); without labels to
 * copy from them they are made a single row at once.  Where two of them have
 * a value at the same step is remembered in `conflict` and becomes an error
 * at the end, when it is known at which steps the other side has values.
 */
#include "nlt_pql_binop.h"
#include "nlt_pql_rows.h"

#define NO_ROW UINT32_MAX

typedef struct {
    uint32_t first; /* rows of the one side: index into ones, NO_ROW */
    uint32_t last;
    uint64_t *one;     /* steps at which the one side has a value, or NULL */
    uint64_t *many;    /* with fill: steps at which the other side has one */
    uint64_t *matched; /* one-to-one: steps that have a result */
} group_t;

typedef struct {
    nlt_pql_iter_t op;
    const nlt_pql_binary_t *ast;
    nlt_pql_iter_t *many_side;
    nlt_pql_iter_t *one_side;
    bool swapped;  /* the one side is the left one */
    bool filter;   /* comparison without bool: gives the left value */
    bool strips;   /* arithmetic: no name in the result */
    bool relabels; /* result labels are not those of the many side */
    nlt_pql_grouping_t on;
    nlt_pql_table_t table;
    group_t *groups;
    size_t cap;
    nlt_pql_rows_t ones;
    uint32_t *next_one; /* next row of the same group */
    uint64_t *conflict, *many_any;
    const double *fill_one, *fill_many;
    bool loaded;
    /* the row of the many side at work, and what comes next of it */
    nlt_pql_row_t many;
    bool have_many;
    uint32_t group, one_at;
    /* after the many side: groups to be filled */
    bool filling;
    nlt_pql_row_t out;
    double *tmp, *truth;
} match_t;

/* ---- the one side ---- */

/* The group of a row; NLT_EOF when it is new and `add` is not set. */
static nlt_rc_t
group_of(match_t *e, const nlt_pql_row_t *row, bool add, uint32_t *at)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_pool_mark_t mark = nlt_pool_mark(&ctx->scratch);
    nlt_labels_t key;
    bool added = false;
    nlt_rc_t rc = nlt_pql_grouping_key(ctx, &e->on, row, &ctx->scratch, &key);

    if (rc == NLT_OK && !nlt_pql_table_find(&e->table, key, at)) {
        rc =
            add ? nlt_pql_table_put(ctx, &e->table, key, at, &added) : NLT_EOF;
    }
    nlt_pool_rewind(&ctx->scratch, mark);
    if (rc != NLT_OK || !added) {
        return rc;
    }
    if (*at >= e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 8;
        group_t *g = nlt_pool_grow(ctx->pool, e->groups, e->cap * sizeof(*g),
                                   cap * sizeof(*g));

        if (g == NULL) {
            return NLT_ENOMEM;
        }
        e->groups = g;
        e->cap = cap;
    }
    memset(&e->groups[*at], 0, sizeof(*e->groups));
    e->groups[*at].first = e->groups[*at].last = NO_ROW;
    return NLT_OK;
}

static uint64_t *
bits_new(match_t *e)
{
    return nlt_pool_zalloc(e->op.ctx->pool,
                           (nlt_pql_words(e->op.n) + 1) * sizeof(uint64_t));
}

static nlt_rc_t
load_ones(match_t *e)
{
    size_t words = nlt_pql_words(e->op.n);
    nlt_rc_t rc = nlt_pql_rows_collect(e->one_side, &e->ones);

    if (rc != NLT_OK) {
        return rc;
    }
    e->next_one =
        nlt_pool_array(e->op.ctx->pool, e->ones.n + 1, sizeof(*e->next_one));
    if (e->next_one == NULL || e->ones.n >= NO_ROW) {
        return NLT_ENOMEM;
    }
    for (uint32_t i = 0; i < e->ones.n; i++) {
        nlt_pql_row_t *row = &e->ones.v[i];
        uint32_t at;
        group_t *g;

        e->next_one[i] = NO_ROW;
        rc = group_of(e, row, true, &at);
        if (rc != NLT_OK) {
            return rc;
        }
        row->group = at;
        g = &e->groups[at];
        if (g->first == NO_ROW) {
            g->first = i;
            g->one = bits_new(e);
            if (g->one == NULL) {
                return NLT_ENOMEM;
            }
        } else {
            e->next_one[g->last] = i;
        }
        g->last = i;
        for (size_t w = 0; w < words; w++) {
            e->conflict[w] |= g->one[w] & row->present[w];
            g->one[w] |= row->present[w];
        }
    }
    return NLT_OK;
}

/* E9, if rows of one group meet at a step that the other side has, too. */
static nlt_rc_t
check_conflict(match_t *e)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_str_t text[2];
    nlt_buf_t buf[3];
    uint32_t a = NO_ROW, b = NO_ROW;
    size_t step = SIZE_MAX;
    nlt_labels_t labels;
    int first;

    for (size_t w = 0; step == SIZE_MAX && w < nlt_pql_words(e->op.n); w++) {
        uint64_t bits =
            e->conflict[w] & (e->fill_many ? ~UINT64_C(0) : e->many_any[w]);

        if (bits) {
            step = w * 64 + (size_t) __builtin_ctzll(bits);
        }
    }
    if (step == SIZE_MAX) {
        return NLT_OK;
    }
    /* The first row, in order, that meets an earlier one of its group. */
    for (uint32_t i = 0; b == NO_ROW && i < e->ones.n; i++) {
        uint32_t k = e->groups[e->ones.v[i].group].first;

        if (!nlt_pql_has(e->ones.v[i].present, step)) {
            continue;
        }
        for (; k != i; k = e->next_one[k]) {
            if (nlt_pql_has(e->ones.v[k].present, step)) {
                a = k;
                b = i;
                break;
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        nlt_buf_init(&buf[i], &ctx->mem, NLT_ERR_TEXT_MAX);
    }
    for (int i = 0; i < 2; i++) {
        const nlt_pql_row_t *row = &e->ones.v[i ? b : a];

        if (nlt_pql_row_labels(ctx, row, &ctx->scratch, &labels) == NLT_OK) {
            nlt_labels_print(&buf[i], labels);
        }
        text[i] = nlt_buf_str(&buf[i]);
    }
    nlt_labels_print(&buf[2], e->table.keys[e->ones.v[a].group]);
    first = nlt_str_cmp(text[0], text[1]) <= 0 ? 0 : 1;
    (void) nlt_pql_eval_err(
        ctx, NLT_EEXEC,
        "found duplicate series for the match group %.*s on the %s hand-side "
        "of the operation: [%.*s, %.*s];many-to-many matching not allowed: "
        "matching labels must be unique on one side",
        NLT_FMT(nlt_buf_str(&buf[2])), e->swapped ? "left" : "right",
        NLT_FMT(text[first]), NLT_FMT(text[1 - first]));
    return NLT_EEXEC;
}

/* ---- results ---- */

/*
 * Result labels from those of the many side (row) and, of labels to copy,
 * those of a row of the one side (NULL: filled, they are deleted).
 */
static nlt_rc_t
result_labels(match_t *e, nlt_pql_row_t *row, const nlt_pql_row_t *one)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    const nlt_pql_binary_t *b = e->ast;
    nlt_pql_edit_t edit;
    nlt_labels_t l;
    nlt_rc_t rc = NLT_OK;
    size_t n = 0;

    /* whether the name was to be removed later is forgotten, as there */
    row->drop_name = false;
    if (e->strips) {
        rc = nlt_pql_row_strip(ctx, row);
    } else if (b->return_bool) {
        rc = nlt_pql_row_drop_name(ctx, row);
    }
    if (rc != NLT_OK || !e->relabels) {
        return rc;
    }
    rc = nlt_pql_row_labels(ctx, row, ctx->pool, &l);
    if (rc != NLT_OK) {
        return rc;
    }
    if (!nlt_pql_edit_init(ctx->pool, l, b->include.n, &edit)) {
        return NLT_ENOMEM;
    }
    if (b->card == NLT_PQL_CARD_ONE_TO_ONE) {
        for (size_t i = 0; i < edit.n; i++) {
            bool listed = false;

            for (size_t k = 0; k < e->on.n; k++) {
                listed |= nlt_str_eq(e->on.names[k], edit.v[i].name);
            }
            if (listed == b->on) {
                edit.v[n++] = edit.v[i];
            }
        }
        edit.n = n;
    }
    for (size_t i = 0; i < b->include.n; i++) {
        nlt_str_t name = b->include.v[i];
        nlt_str_t value = {0, NULL};

        if (one) {
            value = nlt_pql_row_label(one, name);
        }
        nlt_pql_edit_set(&edit, name, value);
    }
    row->set = NULL;
    row->labels = (nlt_labels_t){edit.v, edit.n};
    return NLT_OK;
}

static void
trim_info(const match_t *e)
{
    const char *op = nlt_pql_op_text(e->ast->op);

    nlt_pql_annots_add(e->op.ctx->annots, NLT_PQL_INFO,
                       nlt_pql_place(e->op.plan, e->op.plan->ast->start),
                       "incompatible sample types encountered for binary "
                       "operator \"%s\": float %s float",
                       op, op);
}

/*
 * Values of many op one where out->present has a bit; bits of steps that a
 * filter refuses are cleared.
 */
static void
compute(match_t *e, const double *many, const double *one, nlt_pql_row_t *out)
{
    const double *left = e->swapped ? one : many;
    const double *right = e->swapped ? many : one;
    size_t n = e->op.n;

    if (e->ast->op >= NLT_PQL_OP_TRIM_UPPER) {
        if (nlt_pql_any(out->present, n)) {
            trim_info(e);
        }
        memset(out->present, 0, nlt_pql_words(n) * sizeof(uint64_t));
        return;
    }
    if (!e->filter) {
        nlt_pql_binop_values(e->ast->op, left, right, out->v, n);
        return;
    }
    nlt_pql_binop_values(e->ast->op, left, right, e->truth, n);
    for (size_t i = 0; i < n; i++) {
        if (e->truth[i] == 0) {
            nlt_pql_clear(out->present, i);
        }
    }
    if (out->v != left) {
        memcpy(out->v, left, n * sizeof(double));
    }
}

/* E10. */
static nlt_rc_t
check_one_to_one(match_t *e, const uint64_t *present)
{
    group_t *g = &e->groups[e->group];
    bool twice = false;

    if (e->ast->card != NLT_PQL_CARD_ONE_TO_ONE) {
        return NLT_OK;
    }
    if (g->matched == NULL) {
        g->matched = bits_new(e);
        if (g->matched == NULL) {
            return NLT_ENOMEM;
        }
    }
    for (size_t w = 0; w < nlt_pql_words(e->op.n); w++) {
        twice |= (g->matched[w] & present[w]) != 0;
        g->matched[w] |= present[w];
    }
    if (twice) {
        nlt_rc_t rc = check_conflict(e);

        return rc != NLT_OK ? rc
                            : nlt_pql_eval_err(
                                e->op.ctx, NLT_EEXEC,
                                "multiple matches for labels: many-to-one "
                                "matching must be explicit "
                                "(group_left/group_right)");
    }
    return NLT_OK;
}

/*
 * The values of the one side at the steps of the many row, all rows of the
 * group together (labels of theirs do not matter), filled if asked for.
 */
static void
join_ones(match_t *e, const group_t *g, const uint64_t *many)
{
    size_t n = e->op.n;

    for (size_t w = 0; w < nlt_pql_words(n); w++) {
        uint64_t have = g->one ? g->one[w] : 0;

        e->out.present[w] = e->fill_one ? many[w] : many[w] & have;
    }
    if (e->fill_one) {
        for (size_t i = 0; i < n; i++) {
            e->tmp[i] = *e->fill_one;
        }
    }
    for (uint32_t k = g->first; k != NO_ROW; k = e->next_one[k]) {
        const nlt_pql_row_t *one = &e->ones.v[k];

        for (size_t w = 0; w < nlt_pql_words(n); w++) {
            for (uint64_t bits = one->present[w]; bits; bits &= bits - 1) {
                size_t i = w * 64 + (size_t) __builtin_ctzll(bits);

                e->tmp[i] = one->v[i];
            }
        }
    }
}

/* Takes the next row of the many side; NLT_EOF after the last. */
static nlt_rc_t
next_many(match_t *e)
{
    nlt_pql_iter_t *side = e->many_side;
    size_t words = nlt_pql_words(e->op.n);
    nlt_rc_t rc;
    group_t *g;

    rc = side->next(side, &e->many);
    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t w = 0; w < words; w++) {
        e->many_any[w] |= e->many.present[w];
    }
    rc = group_of(e, &e->many, e->fill_one != NULL, &e->group);
    if (rc != NLT_OK) {
        return rc == NLT_EOF ? nlt_pql_poll(e->op.ctx, words) : rc;
    }
    if (e->op.n == 1) {
        /* Prometheus looks at the one side before it matches anything */
        rc = check_conflict(e);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    g = &e->groups[e->group];
    if (e->fill_many) {
        if (g->many == NULL) {
            g->many = bits_new(e);
            if (g->many == NULL) {
                return NLT_ENOMEM;
            }
        }
        for (size_t w = 0; w < words; w++) {
            g->many[w] |= e->many.present[w];
        }
    }
    e->one_at = g->first;
    e->have_many = true;
    return nlt_pql_poll(e->op.ctx, e->op.n / 4);
}

/* Result rows of the many row at work; may have no bit.  NLT_EOF: no more. */
static nlt_rc_t
next_result(match_t *e, nlt_pql_row_t *row)
{
    const group_t *g = &e->groups[e->group];
    size_t words = nlt_pql_words(e->op.n);
    const nlt_pql_row_t *one = NULL;
    nlt_rc_t rc;

    *row = e->many;
    row->group = e->group;
    row->v = e->out.v;
    row->present = e->out.present;
    if (e->ast->include.n == 0) {
        e->have_many = false;
        if (g->first == NO_ROW && e->fill_one == NULL) {
            return NLT_EOF;
        }
        if (g->first != NO_ROW && g->first == g->last && !e->fill_one) {
            one = &e->ones.v[g->first];
            for (size_t w = 0; w < words; w++) {
                row->present[w] = e->many.present[w] & one->present[w];
            }
            compute(e, e->many.v, one->v, row);
        } else {
            join_ones(e, g, e->many.present);
            compute(e, e->many.v, e->tmp, row);
        }
        rc = check_one_to_one(e, row->present);
        return rc == NLT_OK ? result_labels(e, row, NULL) : rc;
    }
    if (e->one_at != NO_ROW) {
        one = &e->ones.v[e->one_at];
        e->one_at = e->next_one[e->one_at];
        for (size_t w = 0; w < words; w++) {
            row->present[w] = e->many.present[w] & one->present[w];
        }
        compute(e, e->many.v, one->v, row);
        return result_labels(e, row, one);
    }
    e->have_many = false;
    if (e->fill_one == NULL) {
        return NLT_EOF;
    }
    for (size_t w = 0; w < words; w++) {
        row->present[w] =
            e->many.present[w] & ~(g->one ? g->one[w] : UINT64_C(0));
    }
    for (size_t i = 0; i < e->op.n; i++) {
        e->tmp[i] = *e->fill_one;
    }
    compute(e, e->many.v, e->tmp, row);
    return result_labels(e, row, NULL);
}

/* Rows for what the many side does not have; NLT_EOF: no more. */
static nlt_rc_t
next_filled(match_t *e, nlt_pql_row_t *row)
{
    const nlt_pql_row_t *one;
    const group_t *g;

    if (e->fill_many == NULL || e->one_at == e->ones.n) {
        return NLT_EOF;
    }
    one = &e->ones.v[e->one_at++];
    g = &e->groups[one->group];
    *row = e->out;
    row->labels = e->table.keys[one->group];
    row->group = one->group;
    for (size_t w = 0; w < nlt_pql_words(e->op.n); w++) {
        row->present[w] = one->present[w] & ~(g->many ? g->many[w] : 0);
    }
    for (size_t i = 0; i < e->op.n; i++) {
        e->tmp[i] = *e->fill_many;
    }
    compute(e, e->tmp, one->v, row);
    return result_labels(e, row, one);
}

static nlt_rc_t
match_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    match_t *e = (match_t *) op;
    nlt_rc_t rc;

    if (!e->loaded) {
        rc = load_ones(e);
        if (rc != NLT_OK) {
            return rc;
        }
        e->loaded = true;
    }
    for (;;) {
        if (e->filling) {
            rc = next_filled(e, row);
            if (rc == NLT_EOF) {
                return rc;
            }
        } else if (e->have_many) {
            rc = next_result(e, row);
            if (rc == NLT_EOF) {
                continue;
            }
        } else {
            rc = next_many(e);
            if (rc == NLT_EOF) {
                rc = check_conflict(e);
                e->filling = true;
                e->one_at = 0;
            }
            if (rc == NLT_OK) {
                continue;
            }
        }
        if (rc != NLT_OK) {
            return rc;
        }
        if (nlt_pql_any(row->present, op->n)) {
            return NLT_OK;
        }
    }
}

nlt_rc_t
nlt_pql_open_match(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                   nlt_pql_iter_t **out)
{
    const nlt_pql_binary_t *b = &plan->ast->u.binary;
    match_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), match_next);
    nlt_pql_iter_t *side[2];
    size_t n = plan->grid.n;
    bool merge;
    nlt_rc_t rc;

    if (e == NULL || !nlt_pql_row_alloc(ctx, n, &e->out)) {
        return NLT_ENOMEM;
    }
    e->ast = b;
    e->swapped = b->card == NLT_PQL_CARD_ONE_TO_MANY;
    e->filter = nlt_pql_op_is_comparison(b->op) && !b->return_bool;
    e->strips = !nlt_pql_op_is_comparison(b->op);
    e->relabels =
        b->include.n
        || (b->card == NLT_PQL_CARD_ONE_TO_ONE && (b->on || b->labels.n));
    /* As in Prometheus, "left" is the many side, also when sides swap. */
    e->fill_one = b->fill_right_set ? &b->fill_right : NULL;
    e->fill_many = b->fill_left_set ? &b->fill_left : NULL;
    e->conflict = bits_new(e);
    e->many_any = bits_new(e);
    e->tmp = nlt_pool_zalloc(ctx->pool, (n + 1) * sizeof(double));
    e->truth = nlt_pool_array(ctx->pool, n + 1, sizeof(double));
    if (!e->conflict || !e->many_any || !e->tmp || !e->truth) {
        return NLT_ENOMEM;
    }
    rc = nlt_pql_grouping_init(ctx, b->labels, !b->on, &e->on);
    for (int i = 0; rc == NLT_OK && i < 2; i++) {
        rc = nlt_pql_open(ctx, plan->kids[i], &side[i]);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    e->many_side = side[e->swapped ? 1 : 0];
    e->one_side = side[e->swapped ? 0 : 1];
    *out = &e->op;
    e->op.unique = e->many_side->unique && !e->fill_many;
    merge =
        e->relabels || e->fill_many || (!e->filter && !e->many_side->unique);
    if (merge) {
        rc = nlt_pql_merge(out, true);
        (*out)->unique = e->strips;
    }
    return rc;
}

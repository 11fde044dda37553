/*
 * nlt_pql_special_info.c - info(): labels of info metrics of the same target.
 *
 * The info series are selected as of the times at which the first argument
 * reads its samples (its offset and @).  A row of the first argument may get
 * other labels at other steps; then it becomes several rows.
 */
#include "nlt_pql_special.h"

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *base;
    nlt_matcher_t *names; /* matchers of __name__ */
    size_t n_names;
    const nlt_matcher_t *data; /* the others */
    size_t n_data;
    nlt_pql_plan_t plan; /* of the selector of info series */
    bool filled;
    nlt_pql_rows_t infos; /* values: times of samples, in seconds */
    nlt_labels_t *info_labels;
    uint32_t *next_info; /* of the same target */
    uint32_t *first_info;
    nlt_pql_table_t targets; /* instance and job */
    uint32_t *chosen;        /* info series of a step, ~0 for none; by name */
    size_t n_chosen;
    nlt_pql_rows_t out;
    size_t next;
    nlt_pql_row_t row;
} info_t;

#define NONE UINT32_MAX

static bool
is_target_label(nlt_str_t name)
{
    return nlt_str_eq(name, NLT_STR("instance"))
           || nlt_str_eq(name, NLT_STR("job"));
}

/* instance and job of a row. */
static nlt_labels_t
target_of(const nlt_pql_row_t *row, nlt_label_t v[2])
{
    nlt_str_t names[2] = {NLT_STR("instance"), NLT_STR("job")};
    size_t n = 0;

    for (size_t i = 0; i < 2; i++) {
        nlt_str_t value = nlt_pql_row_label(row, names[i]);

        if (value.len) {
            v[n++] = (nlt_label_t){names[i], value};
        }
    }
    return (nlt_labels_t){v, n};
}

/* ---- the info series ---- */

static nlt_rc_t
load_infos(info_t *e)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_pql_iter_t *op;
    nlt_rc_t rc = nlt_pql_open_select(ctx, &e->plan, true, &op);

    if (rc == NLT_OK) {
        rc = nlt_pql_rows_collect(op, &e->infos);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    e->info_labels =
        nlt_pool_array(ctx->pool, e->infos.n + 1, sizeof(*e->info_labels));
    e->next_info =
        nlt_pool_array(ctx->pool, e->infos.n + 1, sizeof(*e->next_info));
    e->first_info =
        nlt_pool_array(ctx->pool, e->infos.n + 1, sizeof(*e->first_info));
    e->chosen =
        nlt_pool_array(ctx->pool, e->infos.n + 1, 2 * sizeof(*e->chosen));
    if (!e->info_labels || !e->next_info || !e->first_info || !e->chosen) {
        return NLT_ENOMEM;
    }
    for (uint32_t i = 0; i < e->infos.n; i++) {
        nlt_label_t v[2];
        uint32_t at = 0;
        bool added = false;

        rc = nlt_pql_row_labels(ctx, &e->infos.v[i], ctx->pool,
                                &e->info_labels[i]);
        if (rc == NLT_OK) {
            rc = nlt_pql_table_put(ctx, &e->targets,
                                   target_of(&e->infos.v[i], v), &at, &added);
        }
        if (rc != NLT_OK) {
            return rc;
        }
        e->next_info[i] = added ? NONE : e->first_info[at];
        e->first_info[at] = i;
    }
    return NLT_OK;
}

/*
 * The newest info series of each name that has a sample at the step, into
 * chosen.  E24 when two are equally new.
 */
static nlt_rc_t
choose(info_t *e, uint32_t first, size_t step)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;

    e->n_chosen = 0;
    for (uint32_t i = first; i != NONE; i = e->next_info[i]) {
        nlt_str_t name = nlt_labels_get(e->info_labels[i], NLT_METRIC_NAME);
        double t = e->infos.v[i].v[step];
        size_t k = 0;

        if (!nlt_pql_has(e->infos.v[i].present, step)) {
            continue;
        }
        while (k < e->n_chosen
               && !nlt_str_eq(nlt_labels_get(e->info_labels[e->chosen[k]],
                                             NLT_METRIC_NAME),
                              name)) {
            k++;
        }
        if (k == e->n_chosen) {
            e->chosen[e->n_chosen++] = i;
            continue;
        }
        if (e->infos.v[e->chosen[k]].v[step] == t) {
            nlt_buf_t a, b;

            nlt_buf_init(&a, &ctx->mem, NLT_ERR_TEXT_MAX);
            nlt_buf_init(&b, &ctx->mem, NLT_ERR_TEXT_MAX);
            nlt_labels_print(&a, e->info_labels[i]);
            nlt_labels_print(&b, e->info_labels[e->chosen[k]]);
            return nlt_pql_eval_err(
                ctx, NLT_EEXEC,
                "found duplicate series for info metric: "
                "existing %.*s @ %lld, new %.*s @ %lld",
                NLT_FMT(nlt_buf_str(&a)), (long long) (t * 1000),
                NLT_FMT(nlt_buf_str(&b)), (long long) (t * 1000));
        }
        if (t > e->infos.v[e->chosen[k]].v[step]) {
            e->chosen[k] = i;
        }
    }
    return NLT_OK;
}

/* ---- joining ---- */

static bool
is_wanted(const info_t *e, nlt_str_t name)
{
    if (is_target_label(name) || nlt_str_eq(name, NLT_METRIC_NAME)) {
        return false;
    }
    for (size_t i = 0; i < e->n_data; i++) {
        if (nlt_str_eq(e->data[i].name, name)) {
            return true;
        }
    }
    return e->n_data == 0;
}

/* base and the labels of the chosen info series. */
static nlt_rc_t
enrich(info_t *e, nlt_labels_t base, nlt_labels_t *out)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_pql_edit_t edit;
    size_t more = 0;

    for (size_t k = 0; k < e->n_chosen; k++) {
        more += e->info_labels[e->chosen[k]].n;
    }
    if (!nlt_pql_edit_init(ctx->pool, base, more, &edit)) {
        return NLT_ENOMEM;
    }
    for (size_t k = 0; k < e->n_chosen; k++) {
        nlt_labels_t l = e->info_labels[e->chosen[k]];

        for (size_t i = 0; i < l.n; i++) {
            nlt_labels_t now = {edit.v, edit.n};
            nlt_str_t have = nlt_labels_get(now, l.v[i].name);

            if (!is_wanted(e, l.v[i].name)
                || nlt_labels_get(base, l.v[i].name).len) {
                continue;
            }
            if (have.len && !nlt_str_eq(have, l.v[i].value)) {
                return nlt_pql_eval_err(ctx, NLT_EEXEC,
                                        "conflicting label: %.*s",
                                        NLT_FMT(l.v[i].name));
            }
            nlt_pql_edit_set(&edit, l.v[i].name, l.v[i].value);
        }
    }
    *out = (nlt_labels_t){edit.v, edit.n};
    return NLT_OK;
}

/* Do all matchers of data labels accept that there is none? */
static nlt_rc_t
accepts_empty(const info_t *e)
{
    for (size_t i = 0; i < e->n_data; i++) {
        nlt_rc_t rc = nlt_matcher_test(&e->data[i], (nlt_str_t){0, NULL});

        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* Keeps what was collected in e->row with these labels, and empties it. */
static nlt_rc_t
emit(info_t *e, const nlt_pql_row_t *base, nlt_labels_t labels)
{
    nlt_pql_row_t row = *base;
    nlt_rc_t rc;

    row.set = NULL;
    row.labels = labels;
    row.v = base->v;
    row.present = e->row.present;
    if (!nlt_pql_any(row.present, e->op.n)) {
        return NLT_OK;
    }
    rc = nlt_pql_rows_keep(e->op.ctx, e->op.n, &e->out, &row);
    memset(e->row.present, 0, nlt_pql_words(e->op.n) * sizeof(uint64_t));
    return rc;
}

static nlt_rc_t
join_row(info_t *e, const nlt_pql_row_t *row, nlt_labels_t base,
         uint32_t first)
{
    uint32_t *before = e->chosen + e->infos.n + 1;
    size_t n_before = SIZE_MAX;
    nlt_labels_t labels = base;
    nlt_rc_t empty_ok = accepts_empty(e);
    nlt_rc_t rc = NLT_OK;

    if (empty_ok != NLT_OK && empty_ok != NLT_EOF) {
        return empty_ok;
    }
    for (size_t i = 0; rc == NLT_OK && i < e->op.n; i++) {
        if (!nlt_pql_has(row->present, i)) {
            continue;
        }
        rc = choose(e, first, i);
        if (rc != NLT_OK || (e->n_chosen == 0 && empty_ok != NLT_OK)) {
            continue;
        }
        if (n_before != e->n_chosen
            || memcmp(before, e->chosen, n_before * sizeof(*before)) != 0) {
            rc = emit(e, row, labels);
            if (rc == NLT_OK) {
                rc = enrich(e, base, &labels);
            }
            memcpy(before, e->chosen, e->n_chosen * sizeof(*before));
            n_before = e->n_chosen;
        }
        nlt_pql_set(e->row.present, i);
    }
    return rc == NLT_OK ? emit(e, row, labels) : rc;
}

/* The rows that one row of the first argument becomes, into e->out. */
static nlt_rc_t
take_base(info_t *e, nlt_pql_row_t *row)
{
    nlt_str_t name = nlt_pql_row_label(row, NLT_METRIC_NAME);
    nlt_label_t v[2];
    nlt_labels_t base, target = target_of(row, v);
    uint32_t at, first = NONE;
    bool is_info = true;
    nlt_rc_t rc;

    e->out.n = 0;
    e->next = 0;
    for (size_t i = 0; i < e->n_names; i++) {
        rc = nlt_matcher_test(&e->names[i], name);
        if (rc != NLT_OK && rc != NLT_EOF) {
            return rc;
        }
        is_info &= rc == NLT_OK;
    }
    if (is_info) {
        return nlt_pql_rows_keep(e->op.ctx, e->op.n, &e->out, row);
    }
    if (target.n && nlt_pql_table_find(&e->targets, target, &at)) {
        first = e->first_info[at];
    }
    rc = nlt_pql_row_labels(e->op.ctx, row, e->op.ctx->pool, &base);
    return rc == NLT_OK ? join_row(e, row, base, first) : rc;
}

static nlt_rc_t
info_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    info_t *e = (info_t *) op;
    nlt_rc_t rc;

    if (!e->filled) {
        rc = load_infos(e);
        if (rc != NLT_OK) {
            return rc;
        }
        e->filled = true;
    }
    while (e->next == e->out.n) {
        rc = e->base->next(e->base, row);
        if (rc == NLT_OK) {
            rc = take_base(e, row);
        }
        if (rc == NLT_OK) {
            rc = nlt_pql_poll(op->ctx, op->n);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    *row = e->out.v[e->next++];
    return NLT_OK;
}

/* ---- opening ---- */

/* The times at which the first selector below p reads, into f. */
static bool
find_times(const nlt_pql_plan_t *p, nlt_pql_fetch_t *f)
{
    nlt_pql_fetch_t before = *f;

    if (p->kind == NLT_PQL_P_SELECT || p->kind == NLT_PQL_P_RANGE
        || p->kind == NLT_PQL_P_SUBQUERY) {
        if (p->fetch.fixed) {
            f->fixed = true;
            f->fixed_ms = p->fetch.fixed_ms;
        } else if (f->fixed) {
            f->fixed_ms = nlt_pql_t_sub(f->fixed_ms, p->fetch.offset_ms);
        } else {
            f->offset_ms = nlt_pql_t_add(f->offset_ms, p->fetch.offset_ms);
        }
        if (p->kind != NLT_PQL_P_SUBQUERY) {
            return true;
        }
    }
    for (size_t i = 0; i < p->n_kids; i++) {
        if (find_times(p->kids[i], f)) {
            return true;
        }
    }
    *f = before;
    return false;
}

/*
 * Sorts the matchers of the second argument into those of the name and the
 * others.  Without a positive one for the name there is a default.
 */
static nlt_rc_t
split_matchers(info_t *e, const nlt_pql_plan_t *arg)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    size_t n = arg ? arg->fetch.n_matchers : 0;
    nlt_matcher_t *v = nlt_pool_array(ctx->pool, n + 1, sizeof(*v));
    size_t at = 0;
    bool positive = false;
    nlt_rc_t rc;

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    e->names = v;
    for (size_t i = 0; i < n; i++) {
        if (nlt_str_eq(arg->fetch.matchers[i].name, NLT_METRIC_NAME)) {
            v[at] = arg->fetch.matchers[i];
            positive |= v[at].op == NLT_MATCH_EQ || v[at].op == NLT_MATCH_RE;
            at++;
        }
    }
    if (!positive) {
        v[at] = (nlt_matcher_t){
            at ? NLT_MATCH_RE : NLT_MATCH_EQ, NLT_METRIC_NAME,
            at ? NLT_STR(".+_info") : NLT_STR("target_info"), NULL};
        rc = nlt_matcher_compile(ctx->pool, &v[at], ctx->err);
        if (rc == NLT_OK) {
            rc = nlt_pql_own_matcher(ctx, &v[at]);
        }
        if (rc != NLT_OK) {
            return rc;
        }
        at++;
    }
    e->n_names = at;
    e->data = v + at;
    for (size_t i = 0; i < n; i++) {
        if (!nlt_str_eq(arg->fetch.matchers[i].name, NLT_METRIC_NAME)) {
            v[at++] = arg->fetch.matchers[i];
        }
    }
    e->n_data = at - e->n_names;
    e->plan.fetch.matchers = v;
    e->plan.fetch.n_matchers = at;
    return NLT_OK;
}

nlt_rc_t
nlt_pql_open_info(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                  nlt_pql_iter_t **out)
{
    info_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), info_next);
    nlt_pql_fetch_t *f;
    nlt_rc_t rc;

    if (e == NULL || !nlt_pql_row_alloc(ctx, plan->grid.n, &e->row)) {
        return NLT_ENOMEM;
    }
    f = &e->plan.fetch;
    e->plan.kind = NLT_PQL_P_SELECT;
    e->plan.ast = plan->ast;
    e->plan.grid = plan->grid;
    e->plan.repeat = plan->repeat;
    (void) find_times(plan->kids[0], f);
    f->t_min_ms =
        nlt_pql_t_add(nlt_pql_t_sub(nlt_pql_fetch_at(f, plan->grid.t0_ms),
                                    ctx->q->lookback_ms),
                      1);
    f->t_max_ms = nlt_pql_fetch_at(f, nlt_pql_last_step(&plan->grid));
    rc = split_matchers(e, plan->n_kids > 1 ? plan->kids[1] : NULL);
    if (rc == NLT_OK) {
        rc = nlt_pql_open(ctx, plan->kids[0], &e->base);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    *out = &e->op;
    rc = nlt_pql_merge(out, false);
    (*out)->unique = e->base->unique;
    return rc;
}

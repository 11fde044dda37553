/*
 * nlt_pql_aggr_rows.c - aggregations that choose among rows or sort them.
 *
 * The rows are kept, listed by group, and then each step is looked at across
 * the rows of a group.  Choosers clear the bits of what they do not choose,
 * so their output rows are the input rows.
 */
#include <math.h>

#include "nlt_hash.h"
#include "nlt_pql_aggr.h"
#include "nlt_pql_fn.h"

/* Rows of one group, by index into the kept rows, in order. */
typedef struct {
    uint32_t *rows;
    size_t n;
    bool drop_name;
} members_t;

typedef struct {
    nlt_pql_ctx_t *ctx;
    const nlt_pql_plan_t *plan;
    nlt_pql_aggr_t kind;
    nlt_pql_grouping_t by;
    nlt_pql_memo_t memo;
    nlt_pql_table_t table;
    nlt_pql_rows_t rows;
    members_t *groups;
    double *param;          /* a value for each step */
    size_t n;               /* steps */
    uint32_t *picked, *tmp; /* room for the largest group */
    double *values;
    nlt_buf_t bytes; /* of a label set, to be hashed */
} chooser_t;

/* A label set larger than this is refused by limit_ratio. */
#define LABELS_BYTES_MAX (16u << 20)

/* ---- grouping ---- */

static nlt_rc_t
collect(chooser_t *c, nlt_pql_iter_t *child)
{
    nlt_pql_row_t row;
    uint32_t at;
    bool added;
    nlt_rc_t rc;
    uint32_t *member;
    size_t largest = 1;

    while ((rc = child->next(child, &row)) == NLT_OK) {
        rc = nlt_pql_aggr_group(c->ctx, &c->by, &c->memo, &c->table, &row, &at,
                                &added);
        row.group = at;
        if (rc == NLT_OK) {
            rc = nlt_pql_rows_keep(c->ctx, c->n, &c->rows, &row);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    if (rc != NLT_EOF) {
        return rc;
    }
    c->groups =
        nlt_pool_zalloc(c->ctx->pool, (c->table.n + 1) * sizeof(*c->groups));
    member = nlt_pool_array(c->ctx->pool, c->rows.n + 1, sizeof(*member));
    if (c->groups == NULL || member == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < c->rows.n; i++) {
        c->groups[c->rows.v[i].group].n++;
    }
    for (size_t g = 0; g < c->table.n; g++) {
        c->groups[g].rows = member;
        member += c->groups[g].n;
        largest = c->groups[g].n > largest ? c->groups[g].n : largest;
        c->groups[g].n = 0;
    }
    for (size_t i = 0; i < c->rows.n; i++) {
        members_t *m = &c->groups[c->rows.v[i].group];

        m->rows[m->n++] = (uint32_t) i;
        m->drop_name |= c->rows.v[i].drop_name && c->by.keeps_meta;
    }
    c->picked = nlt_pool_array(c->ctx->pool, largest, sizeof(uint32_t));
    c->tmp = nlt_pool_array(c->ctx->pool, largest, sizeof(uint32_t));
    c->values = nlt_pool_array(c->ctx->pool, largest, sizeof(double));
    return c->picked && c->tmp && c->values ? NLT_OK : NLT_ENOMEM;
}

/* ---- topk, bottomk ---- */

typedef struct {
    const chooser_t *c;
    size_t step;
} at_step_t;

/*
 * Which of equal values are chosen depends on the heap, so this one is
 * Prometheus's: the root is the least of those chosen, NaN is the least of
 * all, and a newcomer must beat the root, not only equal it.
 */
static bool
is_less(const at_step_t *s, uint32_t a, uint32_t b)
{
    double x = s->c->rows.v[a].v[s->step];
    double y = s->c->rows.v[b].v[s->step];

    return isnan(x) || (s->c->kind == NLT_PQL_AGGR_BOTTOMK ? x > y : x < y);
}

/* Does x take the place of the root y? */
static bool
beats(const at_step_t *s, uint32_t a, uint32_t b)
{
    double x = s->c->rows.v[a].v[s->step];
    double y = s->c->rows.v[b].v[s->step];

    return (s->c->kind == NLT_PQL_AGGR_TOPK ? y < x : y > x)
           || (isnan(y) && !isnan(x));
}

/* Order of results: the greatest first. */
static bool
comes_first(const void *ctx, uint32_t a, uint32_t b)
{
    return is_less(ctx, b, a);
}

static void
swap(uint32_t *heap, size_t a, size_t b)
{
    uint32_t was = heap[a];

    heap[a] = heap[b];
    heap[b] = was;
}

static void
sift_up(const at_step_t *s, uint32_t *heap, size_t at)
{
    while (at > 0 && is_less(s, heap[at], heap[(at - 1) / 2])) {
        swap(heap, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void
sift_down(const at_step_t *s, uint32_t *heap, size_t n)
{
    size_t at = 0;

    for (;;) {
        size_t kid = 2 * at + 1;

        if (kid >= n) {
            return;
        }
        if (kid + 1 < n && is_less(s, heap[kid + 1], heap[kid])) {
            kid++;
        }
        if (!is_less(s, heap[kid], heap[at])) {
            return;
        }
        swap(heap, at, kid);
        at = kid;
    }
}

/* The k chosen of a group at a step, as a heap in c->picked; their number. */
static size_t
pick(chooser_t *c, const members_t *m, const at_step_t *s, size_t k)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n; i++) {
        uint32_t r = m->rows[i];

        if (!nlt_pql_has(c->rows.v[r].present, s->step)) {
            continue;
        }
        if (n < k) {
            c->picked[n] = r;
            sift_up(s, c->picked, n++);
        } else if (beats(s, r, c->picked[0])) {
            c->picked[0] = r;
            sift_down(s, c->picked, n);
        }
    }
    return n;
}

static nlt_rc_t
choose_top(chooser_t *c, nlt_pql_rows_t *ordered)
{
    for (size_t g = 0; g < c->table.n; g++) {
        const members_t *m = &c->groups[g];

        for (size_t i = 0; i < c->n; i++) {
            at_step_t s = {c, i};
            double k = c->param[i];
            size_t n =
                k < 1 ? 0
                      : pick(c, m, &s, k >= (double) m->n ? m->n : (size_t) k);
            nlt_rc_t rc = nlt_pql_poll(c->ctx, m->n);

            if (rc != NLT_OK) {
                return rc;
            }
            for (size_t r = 0; r < m->n; r++) {
                nlt_pql_clear(c->rows.v[m->rows[r]].present, i);
            }
            for (size_t r = 0; r < n; r++) {
                nlt_pql_set(c->rows.v[c->picked[r]].present, i);
            }
            if (c->n == 1) {
                nlt_pql_sort(c->picked, c->tmp, n, comes_first, &s);
                for (size_t r = 0; r < n; r++) {
                    ordered->v[ordered->n++] = c->rows.v[c->picked[r]];
                }
            }
        }
    }
    return NLT_OK;
}

/* ---- limitk, limit_ratio ---- */

static nlt_rc_t
choose_first(chooser_t *c)
{
    for (size_t g = 0; g < c->table.n; g++) {
        const members_t *m = &c->groups[g];

        for (size_t i = 0; i < c->n; i++) {
            double left = floor(c->param[i]);
            nlt_rc_t rc = nlt_pql_poll(c->ctx, m->n / 4);

            if (rc != NLT_OK) {
                return rc;
            }
            for (size_t r = 0; r < m->n; r++) {
                uint64_t *present = c->rows.v[m->rows[r]].present;

                if (!nlt_pql_has(present, i)) {
                    continue;
                }
                if (left < 1) {
                    nlt_pql_clear(present, i);
                } else {
                    left -= 1;
                }
            }
        }
    }
    return NLT_OK;
}

/*
 * What limitk and limit_ratio leave of an instant vector comes group by
 * group, in the order of the heap in which Prometheus keeps it.
 */
static void
list_limited(chooser_t *c, nlt_pql_rows_t *out)
{
    at_step_t s = {c, 0};

    for (size_t g = 0; g < c->table.n; g++) {
        const members_t *m = &c->groups[g];
        size_t n = 0;

        for (size_t r = 0; r < m->n; r++) {
            if (nlt_pql_has(c->rows.v[m->rows[r]].present, 0)) {
                c->picked[n] = m->rows[r];
                sift_up(&s, c->picked, n++);
            }
        }
        for (size_t r = 0; r < n; r++) {
            out->v[out->n++] = c->rows.v[c->picked[r]];
        }
    }
}

/* A string behind its length, which is 1 byte, or 255 and 3 bytes. */
static void
put_string(nlt_buf_t *b, nlt_str_t str)
{
    if (str.len < 255) {
        nlt_buf_add_byte(b, (uint8_t) str.len);
    } else {
        nlt_buf_add_le32(b, 255 | (uint32_t) str.len << 8);
    }
    nlt_buf_add_str(b, str);
}

/*
 * Prometheus's hash of a label set, of its memory there, so that limit_ratio
 * chooses the same series.
 */
static nlt_rc_t
peer_hash(chooser_t *c, nlt_labels_t l, uint64_t *hash)
{
    nlt_buf_t *b = &c->bytes;

    nlt_buf_reset(b);
    for (size_t i = 0; i < l.n; i++) {
        put_string(b, l.v[i].name);
        put_string(b, l.v[i].value);
    }
    *hash = nlt_xxh64(b->data, b->len);
    return b->rc;
}

static nlt_rc_t
choose_ratio(chooser_t *c)
{
    for (size_t r = 0; r < c->rows.n; r++) {
        nlt_pool_mark_t mark = nlt_pool_mark(&c->ctx->scratch);
        nlt_labels_t labels;
        nlt_rc_t rc = nlt_pql_row_labels(c->ctx, &c->rows.v[r],
                                         &c->ctx->scratch, &labels);
        uint64_t hash;
        double place;

        if (rc != NLT_OK) {
            return rc;
        }
        rc = peer_hash(c, labels, &hash);
        if (rc != NLT_OK) {
            return rc;
        }
        place = (double) hash / (double) UINT64_MAX;
        nlt_pool_rewind(&c->ctx->scratch, mark);
        for (size_t i = 0; i < c->n; i++) {
            double ratio = c->param[i];

            if (ratio >= 0 ? place >= ratio : place < 1 + ratio) {
                nlt_pql_clear(c->rows.v[r].present, i);
            }
        }
        rc = nlt_pql_poll(c->ctx, c->n / 8);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* ---- quantile ---- */

static nlt_rc_t
quantile_rows(chooser_t *c, nlt_pql_rows_t *out)
{
    nlt_pql_row_t row;

    memset(&row, 0, sizeof(row));
    if (!nlt_pql_row_alloc(c->ctx, c->n, &row)) {
        return NLT_ENOMEM;
    }
    for (size_t g = 0; g < c->table.n; g++) {
        const members_t *m = &c->groups[g];
        nlt_rc_t rc = NLT_OK;

        memset(row.present, 0, nlt_pql_words(c->n) * sizeof(uint64_t));
        row.labels = c->table.keys[g];
        row.drop_name = m->drop_name;
        for (size_t i = 0; rc == NLT_OK && i < c->n; i++) {
            size_t n = 0;

            for (size_t r = 0; r < m->n; r++) {
                const nlt_pql_row_t *in = &c->rows.v[m->rows[r]];

                if (nlt_pql_has(in->present, i)) {
                    c->values[n++] = in->v[i];
                }
            }
            if (n) {
                row.v[i] = nlt_pql_quantile(c->param[i], c->values, n);
                nlt_pql_set(row.present, i);
            }
            rc = nlt_pql_poll(c->ctx, m->n);
        }
        if (rc == NLT_OK) {
            rc = nlt_pql_rows_keep(c->ctx, c->n, out, &row);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* ---- parameters ---- */

static nlt_pql_place_t
param_place(const chooser_t *c)
{
    return nlt_pql_place(c->plan,
                         nlt_pql_unparen(c->plan->ast->u.aggr.param)->start);
}

static void
warn_ratio(chooser_t *c, double v, double cap)
{
    char a[NLT_NUM_TEXT_MAX], b[NLT_NUM_TEXT_MAX];

    nlt_pql_annots_add(c->ctx->annots, NLT_PQL_WARNING, param_place(c),
                       "ratio value should be between -1 and 1, got %.*s, "
                       "capping to %.*s",
                       (int) nlt_num_g(a, v), a, (int) nlt_num_g(b, cap), b);
}

static void
warn_quantile(chooser_t *c, double v)
{
    char a[NLT_NUM_TEXT_MAX];

    nlt_pql_annots_add(c->ctx->annots, NLT_PQL_WARNING, param_place(c),
                       "quantile value should be between 0 and 1, got %.*s",
                       (int) nlt_num_g(a, v), a);
}

/*
 * Prometheus's checks of the parameter over all steps.  *empty: there is no
 * result.
 */
static nlt_rc_t
check_param(chooser_t *c, bool *empty)
{
    double lo = INFINITY, hi = -INFINITY;
    bool nan = false;
    char text[NLT_NUM_TEXT_MAX];

    for (size_t i = 0; i < c->n; i++) {
        double v = c->param[i];

        nan |= isnan(v);
        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
    }
    *empty = false;
    switch (c->kind) {
    case NLT_PQL_AGGR_QUANTILE:
        if (nan) { /* there, greatest and smallest are NaN then */
            warn_quantile(c, NAN);
            return NLT_OK;
        }
        if (hi > 1) {
            warn_quantile(c, hi);
        }
        if (lo < 0) {
            warn_quantile(c, lo);
        }
        return NLT_OK;
    case NLT_PQL_AGGR_LIMIT_RATIO:
        if (!nan && hi == 0 && lo == 0) {
            *empty = true;
            return NLT_OK;
        }
        if (nan) {
            return nlt_pql_eval_err(c->ctx, NLT_EEXEC, "Ratio value is NaN");
        }
        if (hi > 1) {
            warn_ratio(c, hi, 1);
        }
        if (lo < -1) {
            warn_ratio(c, lo, -1);
        }
        for (size_t i = 0; i < c->n; i++) {
            c->param[i] = fmin(1, fmax(-1, c->param[i]));
        }
        return NLT_OK;
    default:
        break;
    }
    if (!nan && hi < 1) {
        *empty = true;
        return NLT_OK;
    }
    if (nan) {
        return nlt_pql_eval_err(c->ctx, NLT_EEXEC, "Parameter value is NaN");
    }
    if (lo <= -9223372036854775808.0) {
        return nlt_pql_eval_err(c->ctx, NLT_EEXEC,
                                "Scalar value %.*s underflows int64",
                                (int) nlt_num_g(text, lo), text);
    }
    if (hi >= 9223372036854774784.0) {
        return nlt_pql_eval_err(c->ctx, NLT_EEXEC,
                                "Scalar value %.*s overflows int64",
                                (int) nlt_num_g(text, hi), text);
    }
    return NLT_OK;
}

static nlt_rc_t
choose(chooser_t *c, nlt_pql_iter_t *child, nlt_pql_rows_t *out)
{
    nlt_pql_ctx_t *ctx = c->ctx;
    nlt_rc_t rc = collect(c, child);
    size_t n = 0;

    if (rc != NLT_OK) {
        return rc;
    }
    if (c->kind == NLT_PQL_AGGR_QUANTILE) {
        return quantile_rows(c, out);
    }
    if (c->n == 1 && c->rows.n) {
        out->cap = c->rows.n;
        out->v = nlt_pool_array(ctx->pool, out->cap, sizeof(*out->v));
        if (out->v == NULL) {
            return NLT_ENOMEM;
        }
    }
    switch (c->kind) {
    case NLT_PQL_AGGR_LIMITK:
        rc = choose_first(c);
        break;
    case NLT_PQL_AGGR_LIMIT_RATIO:
        rc = choose_ratio(c);
        break;
    default:
        rc = choose_top(c, out);
        if (c->n == 1) {
            return rc;
        }
        break;
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (c->n == 1) {
        list_limited(c, out);
        return NLT_OK;
    }
    for (size_t i = 0; i < c->rows.n; i++) {
        if (nlt_pql_any(c->rows.v[i].present, c->n)) {
            c->rows.v[n++] = c->rows.v[i];
        }
    }
    *out = c->rows;
    out->n = n;
    return NLT_OK;
}

/* Evaluates at the first pull. */
typedef struct {
    nlt_pql_iter_t op;
    chooser_t c;
    nlt_pql_iter_t *child;
    nlt_pql_rows_t rows;
    bool empty; /* by the parameter: only errors can come out of it */
    bool filled;
    size_t next;
} aggr_rows_t;

static nlt_rc_t
aggr_rows_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    aggr_rows_t *e = (aggr_rows_t *) op;

    if (!e->filled) {
        nlt_rc_t rc = NLT_OK;

        while (e->empty && rc == NLT_OK) {
            rc = e->child->next(e->child, row);
        }
        rc = rc == NLT_EOF ? NLT_OK
             : e->empty    ? rc
                           : choose(&e->c, e->child, &e->rows);
        if (rc != NLT_OK) {
            return rc;
        }
        e->filled = true;
    }
    if (e->next == e->rows.n) {
        return NLT_EOF;
    }
    *row = e->rows.v[e->next++];
    return NLT_OK;
}

nlt_rc_t
nlt_pql_open_aggr_rows(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                       nlt_pql_iter_t **out)
{
    const nlt_pql_aggr_node_t *a = &plan->ast->u.aggr;
    aggr_rows_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), aggr_rows_next);
    nlt_rc_t rc;

    if (e == NULL) {
        return NLT_ENOMEM;
    }
    e->c.ctx = ctx;
    e->c.plan = plan;
    e->c.kind = a->op;
    e->c.n = plan->grid.n;
    nlt_buf_init(&e->c.bytes, &ctx->mem, LABELS_BYTES_MAX);
    rc = nlt_pql_grouping_init(ctx, a->grouping, a->without, &e->c.by);
    if (rc == NLT_OK) {
        rc = nlt_pql_scalar_values(ctx, plan->kids[1], &e->c.param);
    }
    if (rc == NLT_OK) {
        rc = check_param(&e->c, &e->empty);
    }
    if (rc == NLT_OK) {
        rc = nlt_pql_open(ctx, plan->kids[0], &e->child);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (a->op != NLT_PQL_AGGR_QUANTILE) {
        e->op.unique = e->child->unique;
    } else {
        e->op.unique = a->without ? e->child->unique : !e->c.by.has_meta;
    }
    *out = &e->op;
    return NLT_OK;
}

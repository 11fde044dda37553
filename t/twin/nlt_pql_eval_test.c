/*
 * nlt_pql_eval_test.c - the series-major evaluator against a slow obvious one.
 *
 * Random expressions over random series are printed as PromQL and run; the
 * model walks its own tree once for every step, as Prometheus does, with
 * vectors of (labels, value) pairs and nested loops.  Labels are three small
 * numbers: __name__ (m, n), a (x, y), b (p, q, r); 0 is "absent".  Times are
 * whole seconds, so that samples often lie on the edge of a window.
 */
#include <math.h>
#include <stdarg.h>

#include "nlt_pql.h"
#include "nlt_test.h"
#include "nlt_pql_twin_source.h"

#define VEC_MAX  64
#define LOOKBACK 60000

/* ---- the model: trees ---- */

typedef enum {
    SELECT,
    RANGE, /* function of a range of a selector */
    SUBQ,  /* sum_over_time of a subquery */
    AGGR,
    TOPK,
    SCALAR_OP, /* vector op number */
    MATCH,     /* vector op vector */
    SETOP,
    NEGATE
} kind_t;

typedef struct node_s node_t;

struct node_s {
    kind_t kind;
    node_t *l, *r;
    int name; /* SELECT, RANGE: 1, 2, or 0 for both */
    int b;    /* or only b = this */
    int op;   /* which function, operator, aggregation */
    int64_t range, offset, step;
    bool fixed;    /* @ 300 */
    unsigned mask; /* labels of by, without, on, ignoring */
    bool with;     /* by and on, not without and ignoring */
    bool boolean, group_left;
    double number;
};

static node_t nodes[64];
static size_t n_nodes;
static char text[4096];
static size_t n_text;

static void __attribute__((format(printf, 1, 2))) put(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    n_text +=
        (size_t) vsnprintf(text + n_text, sizeof(text) - n_text, fmt, args);
    va_end(args);
}

static const char *const range_fns[] = {
    "rate",          "increase",        "delta",         "sum_over_time",
    "max_over_time", "count_over_time", "last_over_time"};
static const char *const aggrs[] = {"sum", "min",   "max",   "count",
                                    "avg", "group", "stdvar"};
static const char *const ops[] = {
    "+", "-", "*", "/", "==", "!=", ">", "<", ">=", "<="};
static const char *const set_ops[] = {"and", "or", "unless"};

static node_t *
make(int depth, bool distinct_values)
{
    node_t *n = &nodes[n_nodes++];
    unsigned roll = (unsigned) nlt_test_below(100);

    memset(n, 0, sizeof(*n));
    if (distinct_values) {
        n->kind = roll < 50 ? SELECT : RANGE;
    } else if (depth <= 0 || n_nodes > 40) {
        n->kind = roll < 60 ? SELECT : RANGE;
    } else {
        static const kind_t kinds[] = {SELECT, RANGE, SUBQ,      AGGR,
                                       AGGR,   TOPK,  SCALAR_OP, MATCH,
                                       MATCH,  SETOP, NEGATE};

        n->kind = kinds[nlt_test_below(NLT_COUNT(kinds))];
    }
    n->name = (int) nlt_test_below(8) ? 1 + (int) nlt_test_below(2) : 0;
    n->b = nlt_test_below(3) ? 0 : 1 + (int) nlt_test_below(3);
    n->range = 10000 * (1 + (int64_t) nlt_test_below(12));
    n->step = 10000 * (1 + (int64_t) nlt_test_below(3));
    n->offset = nlt_test_below(4) ? 0 : (int64_t) nlt_test_below(50) * 1000;
    n->fixed = nlt_test_below(8) == 0;
    n->mask = (unsigned) nlt_test_below(8);
    n->with = nlt_test_below(2);
    n->boolean = nlt_test_below(2);
    n->number = (double) nlt_test_below(40) - 10.5;
    n->op = (int) nlt_test_below(1000);
    switch (n->kind) {
    case RANGE:
        n->op = distinct_values ? 3 : n->op % (int) NLT_COUNT(range_fns);
        break;
    case AGGR:
        n->op %= (int) NLT_COUNT(aggrs);
        n->l = make(depth - 1, false);
        break;
    case TOPK:
        n->op %= 2;
        n->number = (double) nlt_test_below(4);
        n->l = make(depth - 1, true);
        break;
    case SETOP:
        n->op %= (int) NLT_COUNT(set_ops);
        n->l = make(depth - 1, false);
        n->r = make(depth - 1, false);
        break;
    case MATCH:
        n->op %= (int) NLT_COUNT(ops);
        n->group_left = nlt_test_below(3) == 0;
        n->l = make(depth - 1, false);
        n->r = make(depth - 1, false);
        break;
    case SCALAR_OP:
        n->op %= (int) NLT_COUNT(ops);
        n->l = make(depth - 1, false);
        break;
    case SUBQ:
        /* Not less than any step: no step falls between two windows, where
         * the evaluator computes it (and may fail) but the model does not. */
        n->range += 20000;
        /* fall through */
    case NEGATE:
        n->l = make(depth - 1, false);
        break;
    case SELECT:
        break;
    }
    return n;
}

static void
print_names(const char *word, unsigned mask)
{
    const char *sep = "";

    put(" %s (", word);
    for (int i = 0; i < N_LABELS; i++) {
        if (mask >> i & 1) {
            put("%s%s", sep, names[i]);
            sep = ", ";
        }
    }
    put(") ");
}

static void
print_shift(const node_t *n)
{
    if (n->offset) {
        put(" offset %dms", (int) n->offset);
    }
    if (n->fixed) {
        put(" @ 300");
    }
}

static void
print_selector(const node_t *n)
{
    if (n->name) {
        put("%s{", values[0][n->name]);
    } else {
        put("{__name__=~\"m|n\",");
    }
    if (n->b) {
        put("b=\"%s\"", values[2][n->b]);
    }
    put("}");
}

static void
print(const node_t *n)
{
    switch (n->kind) {
    case SELECT:
        print_selector(n);
        print_shift(n);
        return;
    case RANGE:
        put("%s(", range_fns[n->op]);
        print_selector(n);
        put("[%dms]", (int) n->range);
        print_shift(n);
        put(")");
        return;
    case SUBQ:
        put("sum_over_time((");
        print(n->l);
        put(")[%dms:%dms]", (int) n->range, (int) n->step);
        print_shift(n);
        put(")");
        return;
    case AGGR:
        put("%s", aggrs[n->op]);
        print_names(n->with ? "by" : "without", n->mask);
        put("(");
        print(n->l);
        put(")");
        return;
    case TOPK:
        put("%s", n->op ? "bottomk" : "topk");
        print_names(n->with ? "by" : "without", n->mask);
        put("(%d, ", (int) n->number);
        print(n->l);
        put(")");
        return;
    case NEGATE:
        put("-(");
        print(n->l);
        put(")");
        return;
    case SCALAR_OP:
        put("((");
        print(n->l);
        put(") %s%s %g)", ops[n->op], n->op >= 4 && n->boolean ? " bool" : "",
            n->number);
        return;
    case MATCH:
    case SETOP:
        put("((");
        print(n->l);
        put(") %s", n->kind == SETOP ? set_ops[n->op] : ops[n->op]);
        if (n->kind == MATCH && n->op >= 4 && n->boolean) {
            put(" bool");
        }
        print_names(n->with ? "on" : "ignoring", n->mask);
        if (n->kind == MATCH && n->group_left) {
            put("group_left () ");
        }
        put("(");
        print(n->r);
        put("))");
        return;
    }
}

/* ---- the model: evaluation at one step ---- */

typedef struct {
    int l[N_LABELS];
    double v;
} elem_t;

typedef struct {
    elem_t e[VEC_MAX];
    size_t n;
    bool failed;
} vec_t;

static void
add(vec_t *out, const int *l, double v)
{
    for (size_t i = 0; i < out->n; i++) {
        if (memcmp(out->e[i].l, l, sizeof(out->e[i].l)) == 0) {
            out->failed = true;
        }
    }
    if (out->n < VEC_MAX) {
        memcpy(out->e[out->n].l, l, sizeof(out->e[0].l));
        out->e[out->n++].v = v;
    }
}

static void
drop_name(const int *l, int *out)
{
    memcpy(out, l, N_LABELS * sizeof(*l));
    out[0] = 0;
}

/* The group: the labels of the mask, or the others but the name. */
static void
group_of(const node_t *n, const int *l, int *out)
{
    for (int i = 0; i < N_LABELS; i++) {
        bool listed = n->mask >> i & 1;

        out[i] = (n->with ? listed : !listed && i != 0) ? l[i] : 0;
    }
}

static double
rate_of(const int64_t *t, const double *v, size_t n, int64_t start,
        int64_t end, int op, bool *ok)
{
    double diff, span, avg, to_start, to_end;

    *ok = n >= 2;
    if (n < 2) {
        return 0;
    }
    diff = v[n - 1] - v[0];
    for (size_t i = 1; op != 2 && i < n; i++) {
        diff += v[i] < v[i - 1] ? v[i - 1] : 0;
    }
    span = (double) (t[n - 1] - t[0]) / 1000;
    avg = span / (double) (n - 1);
    to_start = (double) (t[0] - start) / 1000;
    to_end = (double) (end - t[n - 1]) / 1000;
    to_start = to_start >= avg * 1.1 ? avg / 2 : to_start;
    to_end = to_end >= avg * 1.1 ? avg / 2 : to_end;
    if (op != 2 && diff > 0 && v[0] >= 0) {
        to_start = fmin(to_start, span * (v[0] / diff));
    }
    diff *= (span + to_start + to_end) / span;
    return op == 0 ? diff / ((double) (end - start) / 1000) : diff;
}

static double
fold_range(int op, const int64_t *t, const double *v, size_t n, int64_t start,
           int64_t end, bool *ok)
{
    double r = 0;

    *ok = n > 0;
    switch (op) {
    case 3:
        for (size_t i = 0; i < n; i++) {
            r += v[i];
        }
        return r;
    case 4:
        r = n ? v[0] : 0;
        for (size_t i = 0; i < n; i++) {
            r = v[i] > r || isnan(r) ? v[i] : r;
        }
        return r;
    case 5:
        return (double) n;
    case 6:
        return n ? v[n - 1] : 0;
    default:
        return rate_of(t, v, n, start, end, op, ok);
    }
}

static bool
selected(const node_t *n, const series_t *s)
{
    return (n->name == 0 || s->l[0] == n->name)
           && (n->b == 0 || s->l[2] == n->b);
}

static void eval(const node_t *n, int64_t t, vec_t *out);

static int64_t
time_of(const node_t *n, int64_t t)
{
    return (n->fixed ? 300000 : t) - n->offset;
}

static void
eval_select(const node_t *n, int64_t t, vec_t *out)
{
    for (size_t k = 0; k < n_data; k++) {
        const series_t *s = &data[k];
        int64_t st[POINTS_MAX], at = time_of(n, t);
        double sv[POINTS_MAX], r;
        size_t c = 0;
        bool ok;
        int l[N_LABELS];

        if (!selected(n, s)) {
            continue;
        }
        for (size_t i = 0; i < s->n; i++) {
            int64_t reach = n->kind == SELECT ? LOOKBACK : n->range;

            if (s->t[i] > at - reach && s->t[i] <= at
                && (n->kind == SELECT || !nlt_is_stale(s->v[i]))) {
                st[c] = s->t[i];
                sv[c++] = s->v[i];
            }
        }
        if (n->kind == SELECT) {
            if (c && !nlt_is_stale(sv[c - 1])) {
                add(out, s->l, sv[c - 1]);
            }
            continue;
        }
        r = fold_range(n->op, st, sv, c, at - n->range, at, &ok);
        drop_name(s->l, l);
        if (ok) {
            add(out, n->op == 6 ? s->l : l, r);
        }
    }
}

static void
eval_subquery(const node_t *n, int64_t t, vec_t *out)
{
    int64_t at = time_of(n, t), from = at - n->range;
    vec_t sums = {.n = 0}, *one = malloc(sizeof(*one));
    int64_t k = from / n->step - (from % n->step < 0);

    for (int64_t i = (k + 1) * n->step; i <= at; i += n->step) {
        eval(n->l, i, one);
        out->failed |= one->failed;
        for (size_t e = 0; e < one->n; e++) {
            size_t s = 0;

            while (s < sums.n && !same(sums.e[s].l, one->e[e].l)) {
                s++;
            }
            if (s == sums.n) {
                add(&sums, one->e[e].l, 0);
            }
            sums.e[s].v += one->e[e].v;
        }
    }
    for (size_t i = 0; i < sums.n; i++) {
        int l[N_LABELS];

        drop_name(sums.e[i].l, l);
        add(out, l, sums.e[i].v);
    }
    free(one);
}

static double
fold_group(int op, const double *v, size_t n)
{
    double r = v[0], mean = 0;

    for (size_t i = 0; i < n; i++) {
        mean += v[i] / (double) n;
    }
    switch (op) {
    case 0:
        return mean * (double) n;
    case 3:
        return (double) n;
    case 4:
        return mean;
    case 5:
        return 1;
    case 6:
        r = 0;
        for (size_t i = 0; i < n; i++) {
            r += (v[i] - mean) * (v[i] - mean) / (double) n;
        }
        return r;
    default:
        for (size_t i = 0; i < n; i++) {
            if ((op == 1 ? v[i] < r : v[i] > r) || isnan(r)) {
                r = v[i];
            }
        }
        return r;
    }
}

/* Is a worse than b? */
static bool
is_worse(const node_t *n, double a, double b)
{
    return isnan(a) || (n->op ? a > b : a < b);
}

/*
 * topk as Go's heap does it, with the worst of the chosen on top: which of
 * equal values stay depends on that.  Puts the chosen into member, in order
 * of series; how many.
 */
static size_t
choose(const node_t *n, const double *v, size_t *member, size_t c)
{
    size_t heap[VEC_MAX], size = 0,
                          max = n->number < 1 ? 0 : (size_t) n->number;
    size_t chosen = 0;

    for (size_t i = 0; i < c; i++) {
        size_t at;

        if (size < max) {
            at = size++;
            heap[at] = i;
            for (; at && is_worse(n, v[i], v[heap[(at - 1) / 2]]);
                 at = (at - 1) / 2) {
                heap[at] = heap[(at - 1) / 2];
                heap[(at - 1) / 2] = i;
            }
        } else if (max
                   && ((n->op ? v[i] < v[heap[0]] : v[i] > v[heap[0]])
                       || (isnan(v[heap[0]]) && !isnan(v[i])))) {
            heap[at = 0] = i;
            for (size_t kid; (kid = 2 * at + 1) < size; at = kid) {
                kid += kid + 1 < size
                       && is_worse(n, v[heap[kid + 1]], v[heap[kid]]);
                if (!is_worse(n, v[heap[kid]], v[i])) {
                    break;
                }
                heap[at] = heap[kid];
                heap[kid] = i;
            }
        }
    }
    for (size_t i = 0; i < c; i++) {
        for (size_t k = 0; k < size; k++) {
            if (heap[k] == i) {
                member[chosen++] = member[i];
            }
        }
    }
    return chosen;
}

static void
eval_groups(const node_t *n, const vec_t *in, vec_t *out)
{
    bool done[VEC_MAX] = {false};

    for (size_t i = 0; i < in->n; i++) {
        double v[VEC_MAX] = {0};
        size_t c = 0, member[VEC_MAX];
        int g[N_LABELS], h[N_LABELS];

        if (done[i]) {
            continue;
        }
        group_of(n, in->e[i].l, g);
        for (size_t k = i; k < in->n; k++) {
            group_of(n, in->e[k].l, h);
            if (same(g, h)) {
                done[k] = true;
                member[c] = k;
                v[c++] = in->e[k].v;
            }
        }
        if (n->kind == AGGR) {
            add(out, g, fold_group(n->op, v, c));
            continue;
        }
        c = choose(n, v, member, c);
        for (size_t k = 0; k < c; k++) {
            add(out, in->e[member[k]].l, in->e[member[k]].v);
        }
    }
}

static bool
close_to(double a, double b)
{
    return a == b || (isnan(a) && isnan(b))
           || fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b)) + 1e-9;
}

/* A comparison was decided by rounding alone: another order of sums may
 * decide otherwise, and the query proves nothing. */
static bool ambiguous;

static double
apply(int op, double a, double b)
{
    if (op >= 4 && a != b && close_to(a, b)) {
        ambiguous = true;
    }
    switch (op) {
    case 0:
        return a + b;
    case 1:
        return a - b;
    case 2:
        return a * b;
    case 3:
        return a / b;
    case 4:
        return a == b;
    case 5:
        return a != b;
    case 6:
        return a > b;
    case 7:
        return a < b;
    case 8:
        return a >= b;
    default:
        return a <= b;
    }
}

static void
eval_match(const node_t *n, const vec_t *a, const vec_t *b, vec_t *out)
{
    bool used[VEC_MAX] = {false};

    if (a->n == 0 || b->n == 0) {
        return;
    }
    for (size_t j = 0; j < b->n; j++) {
        for (size_t k = 0; k < j; k++) {
            int g[N_LABELS], h[N_LABELS];

            group_of(n, b->e[j].l, g);
            group_of(n, b->e[k].l, h);
            out->failed |= same(g, h);
        }
    }
    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = 0; j < b->n; j++) {
            int g[N_LABELS], h[N_LABELS], l[N_LABELS];
            double x = a->e[i].v, r = apply(n->op, x, b->e[j].v);

            group_of(n, a->e[i].l, g);
            group_of(n, b->e[j].l, h);
            if (!same(g, h) || (n->op >= 4 && !n->boolean && r == 0)) {
                continue;
            }
            out->failed |= used[j] && !n->group_left;
            used[j] = true;
            memcpy(l, a->e[i].l, sizeof(l));
            if (n->op < 4 || n->boolean) {
                l[0] = 0;
            }
            for (int k = 0; !n->group_left && k < N_LABELS; k++) {
                if ((n->mask >> k & 1) != n->with) {
                    l[k] = 0;
                }
            }
            add(out, l, n->op >= 4 && !n->boolean ? x : r);
        }
    }
}

static void
eval_set(const node_t *n, const vec_t *a, const vec_t *b, vec_t *out)
{
    for (size_t i = 0; i < a->n + b->n; i++) {
        const vec_t *other = i < a->n ? b : a;
        const elem_t *e = i < a->n ? &a->e[i] : &b->e[i - a->n];
        int g[N_LABELS], h[N_LABELS];
        bool found = false;

        group_of(n, e->l, g);
        for (size_t j = 0; j < other->n; j++) {
            group_of(n, other->e[j].l, h);
            found |= same(g, h);
        }
        if (i < a->n ? n->op == 1 || found == (n->op == 0)
                     : n->op == 1 && !found) {
            add(out, e->l, e->v);
        }
    }
}

static void
eval(const node_t *n, int64_t t, vec_t *out)
{
    vec_t *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));

    a->n = b->n = out->n = 0;
    out->failed = a->failed = b->failed = false;
    if (n->l && n->kind != SUBQ) {
        eval(n->l, t, a);
    }
    if (n->r) {
        eval(n->r, t, b);
    }
    switch (n->kind) {
    case SELECT:
    case RANGE:
        eval_select(n, t, out);
        break;
    case SUBQ:
        eval_subquery(n, t, out);
        break;
    case AGGR:
    case TOPK:
        eval_groups(n, a, out);
        break;
    case MATCH:
        eval_match(n, a, b, out);
        break;
    case SETOP:
        eval_set(n, a, b, out);
        break;
    case NEGATE:
    case SCALAR_OP:
        for (size_t i = 0; i < a->n; i++) {
            double x = a->e[i].v, r;
            int l[N_LABELS];

            drop_name(a->e[i].l, l);
            r = n->kind == NEGATE ? -x : apply(n->op, x, n->number);
            if (n->kind == NEGATE || n->op < 4 || n->boolean) {
                add(out, l, r);
            } else if (r != 0) {
                add(out, a->e[i].l, x);
            }
        }
        break;
    }
    out->failed |= a->failed || b->failed;
    free(a);
    free(b);
}

/* ---- random data, comparison ---- */

/* Compares one step of a result with the model's vector. */
static bool
same_step(const nlt_value_t *got, size_t step, const vec_t *want)
{
    size_t n = 0;

    for (size_t i = 0; i < got->n_series; i++) {
        const nlt_value_series_t *s = &got->series[i];
        bool found = false;

        if (!nlt_value_has(s, step)) {
            continue;
        }
        n++;
        for (size_t k = 0; k < want->n; k++) {
            nlt_label_t v[N_LABELS];
            nlt_labels_t l = {v, labels_of(want->e[k].l, v)};

            if (nlt_labels_eq(l, s->labels)) {
                found = close_to(s->v[step], want->e[k].v);
            }
        }
        if (!found) {
            return false;
        }
    }
    return n == want->n;
}

static size_t n_answers, n_failures;

static void
run_one(const node_t *n, bool instant)
{
    nlt_source_t src = {.ops = &src_ops};
    nlt_pql_query_t q = {.text = {n_text, text},
                         .instant = instant,
                         .t_start_ms = 100000,
                         .t_end_ms = instant ? 100000 : 640000,
                         .step_ms = 20000 + 1000 * (int64_t) nlt_test_below(9),
                         .lookback_ms = LOOKBACK,
                         .subquery_step_ms = 60000,
                         .samples_max = 1000000,
                         .features = NLT_PQL_F_DEFAULT,
                         .env = &nlt_env_posix,
                         .source = &src};
    nlt_pool_t pool;
    nlt_value_t out;
    nlt_annots_t notes;
    nlt_pql_stats_t stats;
    nlt_err_t err;
    nlt_rc_t rc;
    vec_t *want = malloc(sizeof(*want));
    bool failed = false, ok = true;

    nlt_pool_init(&pool, &nlt_mem_libc, (size_t) 256 << 20);
    if (instant) {
        q.t_start_ms = q.t_end_ms =
            100000 + 1000 * (int64_t) nlt_test_below(500);
    }
    ambiguous = false;
    rc = nlt_pql_run(&pool, &q, &out, &notes, &stats, &err);
    for (int64_t t = q.t_start_ms; t <= q.t_end_ms; t += q.step_ms) {
        eval(n, t, want);
        failed |= want->failed;
        if (rc == NLT_OK && ok && !want->failed) {
            ok = same_step(&out, (size_t) ((t - q.t_start_ms) / q.step_ms),
                           want);
            if (!ok && !ambiguous) {
                printf("# at %lld: ", (long long) t);
            }
        }
    }
    if (!ambiguous && (!ok || rc != (failed ? NLT_EEXEC : NLT_OK))) {
        printf("# %s: rc %d (%s), model %s\n", text, rc, err.text,
               failed ? "fails" : "answers");
        nlt_test_fail(__FILE__, __LINE__, "evaluator and model disagree");
    }
    n_answers += rc == NLT_OK && out.n_series > 0;
    n_failures += rc != NLT_OK;
    nlt_pool_deinit(&pool);
    free(want);
}

static void
random_expressions_agree_with_the_model(void)
{
    for (int i = 0; i < 4000; i++) {
        node_t *n;

        if (i % 20 == 0) {
            make_data();
        }
        n_nodes = n_text = 0;
        n = make((int) nlt_test_below(4), false);
        print(n);
        run_one(n, i % 4 == 0);
    }
    printf("# %zu with a result, %zu with an error\n", n_answers, n_failures);
    NLT_CHECK(n_answers > 500 && n_failures > 50);
}

int
main(void)
{
    nlt_test_seed();
    NLT_TEST(random_expressions_agree_with_the_model);
    return nlt_test_done();
}

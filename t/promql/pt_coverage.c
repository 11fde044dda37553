/*
 * pt_coverage.c - see pt_coverage.h.
 */
#include <stdio.h>

#include "nlt_pql_func.h"
#include "pt_coverage.h"

static bool
has(const nlt_pt_seen_t *seen, const char *name)
{
    for (size_t i = 0; i < seen->n; i++) {
        if (strcmp(seen->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Notes one part: a name in up to three words. */
static void
mark(nlt_pt_seen_t *seen, const char *a, const char *b, const char *c)
{
    char name[NLT_PT_NAME_BYTES];

    snprintf(name, sizeof(name), "%s%s%s%s%s", a, *b ? " " : "", b,
             *c ? " " : "", c);
    if (!has(seen, name) && seen->n < NLT_PT_PARTS_MAX) {
        memcpy(seen->names[seen->n++], name, sizeof(name));
    }
}

/* ---- what a tree has ---- */

static const char *
side(const nlt_pql_node_t *n)
{
    return n->type == NLT_PQL_SCALAR ? "scalar" : "vector";
}

static const char *
sides(const nlt_pql_binary_t *b)
{
    bool l = b->lhs->type == NLT_PQL_SCALAR,
         r = b->rhs->type == NLT_PQL_SCALAR;

    return l && r ? "scalar, scalar"
           : l    ? "scalar, vector"
           : r    ? "vector, scalar"
                  : "vector, vector";
}

static void
add_duration(nlt_pt_seen_t *seen, const nlt_pql_duration_t *d)
{
    if (d->expr != NULL) {
        mark(seen, "duration expression", "", "");
        nlt_pt_seen_add(seen, d->expr);
    }
}

static void
add_shift(nlt_pt_seen_t *seen, const nlt_pql_shift_t *s)
{
    static const char *const at[] = {"", "@ time", "@ start()", "@ end()"};

    if (s->at != NLT_PQL_AT_NONE) {
        mark(seen, at[s->at], "", "");
    }
    if (s->has_offset) {
        mark(seen, s->offset.ms < 0 ? "negative offset" : "offset", "", "");
    }
    if (s->has_offset && s->at != NLT_PQL_AT_NONE) {
        mark(seen, "offset and @", "", "");
    }
    add_duration(seen, &s->offset);
}

static void
add_vector(nlt_pt_seen_t *seen, const nlt_pql_vector_t *v)
{
    static const char *const ops[] = {"=", "!=", "=~", "!~"};

    for (size_t i = 0; i < v->n_matchers; i++) {
        if (v->matchers[i].op <= NLT_MATCH_NRE) {
            mark(seen, "matcher", ops[v->matchers[i].op], "");
        }
    }
    if (v->anchored || v->smoothed) {
        mark(seen, v->anchored ? "anchored" : "smoothed", "", "");
    }
    add_shift(seen, &v->shift);
}

static void
add_binary(nlt_pt_seen_t *seen, const nlt_pql_binary_t *b)
{
    const char *op = nlt_pql_op_text(b->op);

    mark(seen, "operator", op, sides(b));
    if (b->return_bool) {
        mark(seen, "operator", op, "bool");
    }
    if (b->has_matching) {
        mark(seen, "matching", b->on ? "on" : "ignoring",
             nlt_pql_op_is_set(b->op) ? "of sets" : "");
    }
    if (b->has_group) {
        mark(seen, "matching",
             b->card == NLT_PQL_CARD_MANY_TO_ONE ? "group_left"
                                                 : "group_right",
             b->include.n ? "with labels" : "");
    }
    if (b->fill_left_set || b->fill_right_set) {
        mark(seen, "matching",
             !b->fill_right_set  ? "fill_left"
             : !b->fill_left_set ? "fill_right"
                                 : "fill",
             "");
    }
    nlt_pt_seen_add(seen, b->lhs);
    nlt_pt_seen_add(seen, b->rhs);
}

static void
add_subquery(nlt_pt_seen_t *seen, const nlt_pql_subquery_t *q)
{
    mark(seen, "subquery",
         q->step.ms || q->step.expr ? "with a step" : "without a step", "");
    add_shift(seen, &q->shift);
    add_duration(seen, &q->range);
    add_duration(seen, &q->step);
    nlt_pt_seen_add(seen, q->expr);
}

static void
add_aggr(nlt_pt_seen_t *seen, const nlt_pql_aggr_node_t *a)
{
    mark(seen, "aggregator", nlt_pql_aggr_text(a->op),
         a->without           ? "without"
         : a->grouping.n != 0 ? "by"
                              : "of all");
    if (a->param != NULL) {
        nlt_pt_seen_add(seen, a->param);
    }
    nlt_pt_seen_add(seen, a->expr);
}

void
nlt_pt_seen_add(nlt_pt_seen_t *seen, const nlt_pql_node_t *node)
{
    switch (node->kind) {
    case NLT_PQL_N_NUMBER:
        mark(seen, node->u.number.is_duration ? "duration" : "number", "", "");
        break;
    case NLT_PQL_N_STRING:
        mark(seen, "string", "", "");
        break;
    case NLT_PQL_N_VECTOR:
        add_vector(seen, &node->u.vector);
        break;
    case NLT_PQL_N_MATRIX:
        add_duration(seen, &node->u.matrix.range);
        nlt_pt_seen_add(seen, node->u.matrix.vector);
        break;
    case NLT_PQL_N_SUBQUERY:
        add_subquery(seen, &node->u.subquery);
        break;
    case NLT_PQL_N_CALL:
        mark(seen, "function", node->u.call.func->name, "");
        for (size_t i = 0; i < node->u.call.n_args; i++) {
            nlt_pt_seen_add(seen, node->u.call.args[i]);
        }
        break;
    case NLT_PQL_N_AGGR:
        add_aggr(seen, &node->u.aggr);
        break;
    case NLT_PQL_N_BINARY:
        add_binary(seen, &node->u.binary);
        break;
    case NLT_PQL_N_UNARY:
        mark(seen, node->u.unary.negate ? "minus of a" : "plus of a",
             side(node->u.unary.expr), "");
        nlt_pt_seen_add(seen, node->u.unary.expr);
        break;
    case NLT_PQL_N_PAREN:
        nlt_pt_seen_add(seen, node->u.paren);
        break;
    }
}

/* ---- what there is ---- */

static void
want_operators(nlt_pt_seen_t *want)
{
    for (int op = NLT_PQL_OP_ADD; op <= NLT_PQL_OP_TRIM_LOWER; op++) {
        const char *text = nlt_pql_op_text((nlt_pql_op_t) op);

        mark(want, "operator", text, "vector, vector");
        if (nlt_pql_op_is_set((nlt_pql_op_t) op)) {
            continue;
        }
        mark(want, "operator", text, "vector, scalar");
        if (op < NLT_PQL_OP_TRIM_UPPER) {
            mark(want, "operator", text, "scalar, vector");
            mark(want, "operator", text, "scalar, scalar");
        }
        if (nlt_pql_op_is_comparison((nlt_pql_op_t) op)) {
            mark(want, "operator", text, "bool");
        }
    }
}

static void
want_all(nlt_pt_seen_t *want)
{
    static const char *const modifiers[] = {"@ time",
                                            "@ start()",
                                            "@ end()",
                                            "offset",
                                            "negative offset",
                                            "offset and @",
                                            "anchored",
                                            "smoothed",
                                            "duration expression",
                                            "subquery with a step",
                                            "subquery without a step",
                                            "matcher =",
                                            "matcher !=",
                                            "matcher =~",
                                            "matcher !~",
                                            "matching on",
                                            "matching ignoring",
                                            "matching on of sets",
                                            "matching ignoring of sets",
                                            "matching group_left",
                                            "matching group_right",
                                            "matching group_left with labels",
                                            "matching group_right with labels",
                                            "matching fill",
                                            "matching fill_left",
                                            "matching fill_right",
                                            "minus of a scalar",
                                            "minus of a vector",
                                            "plus of a scalar",
                                            "plus of a vector",
                                            "number",
                                            "duration",
                                            "string"};
    static const char *const grouping[] = {"of all", "by", "without"};
    size_t n;
    const nlt_pql_func_t *f = nlt_pql_func_table(&n);

    for (size_t i = 0; i < n; i++) {
        /* what is not implemented yet has no kind */
        if (f[i].kind != NLT_PQL_FK_NONE) {
            mark(want, "function", f[i].name, "");
        }
    }
    for (int a = NLT_PQL_AGGR_SUM; a <= NLT_PQL_AGGR_LIMIT_RATIO; a++) {
        for (int g = 0; g < 3; g++) {
            mark(want, "aggregator", nlt_pql_aggr_text((nlt_pql_aggr_t) a),
                 grouping[g]);
        }
    }
    want_operators(want);
    for (size_t i = 0; i < NLT_COUNT(modifiers); i++) {
        mark(want, modifiers[i], "", "");
    }
}

bool
nlt_pt_seen_report(const nlt_pt_seen_t *seen)
{
    static nlt_pt_seen_t want;
    bool all = true;

    want_all(&want);
    for (size_t i = 0; i < want.n; i++) {
        bool ok = has(seen, want.names[i]);

        printf("%sok %zu - %s\n", ok ? "" : "not ", i + 1, want.names[i]);
        all &= ok;
    }
    printf("1..%zu\n", want.n);
    return all;
}

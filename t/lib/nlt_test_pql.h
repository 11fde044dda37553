/*
 * nlt_test_pql.h - equality of PromQL trees, for tests of the printer.
 *
 * Two trees are equal when they mean the same: positions do not count, nor
 * the order of matchers, nor an empty by () or ignoring () that nothing hangs
 * on.  Values are compared by their bits, except that any NaN equals any
 * other, because text has only one.
 */
#ifndef NLT_TEST_PQL_H
#define NLT_TEST_PQL_H

#include <math.h>

#include "nlt_pql_ast.h"

static bool nlt_test_pql_eq(const nlt_pql_node_t *a, const nlt_pql_node_t *b);

static inline bool
nlt_test_pql_eq_value(double a, double b)
{
    return nlt_bits_of(a) == nlt_bits_of(b) || (isnan(a) && isnan(b));
}

static inline bool
nlt_test_pql_eq_duration(const nlt_pql_duration_t *a,
                         const nlt_pql_duration_t *b)
{
    if ((a->expr == NULL) != (b->expr == NULL) || a->positive != b->positive) {
        return false;
    }
    return a->expr ? nlt_test_pql_eq(a->expr, b->expr) : a->ms == b->ms;
}

static inline bool
nlt_test_pql_eq_shift(const nlt_pql_shift_t *a, const nlt_pql_shift_t *b)
{
    double at_a = (double) a->at_ms, at_b = (double) b->at_ms;

    /* Beyond 2^53 ms the text, a number of seconds, has fewer digits. */
    return a->at == b->at && fabs(at_a - at_b) <= fabs(at_a) * 0x1p-51
           && a->has_offset == b->has_offset
           && (!a->has_offset
               || nlt_test_pql_eq_duration(&a->offset, &b->offset));
}

static inline bool
nlt_test_pql_eq_names(nlt_pql_names_t a, nlt_pql_names_t b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (!nlt_str_eq(a.v[i], b.v[i])) {
            return false;
        }
    }
    return true;
}

/* How often does m occur in v? */
static inline size_t
nlt_test_pql_count(const nlt_pql_vector_t *v, const nlt_matcher_t *m)
{
    size_t n = 0;

    for (size_t i = 0; i < v->n_matchers; i++) {
        n += v->matchers[i].op == m->op
             && nlt_str_eq(v->matchers[i].name, m->name)
             && nlt_str_eq(v->matchers[i].value, m->value);
    }
    return n;
}

static inline bool
nlt_test_pql_eq_vector(const nlt_pql_vector_t *a, const nlt_pql_vector_t *b)
{
    if (!nlt_str_eq(a->name, b->name) || a->n_matchers != b->n_matchers
        || a->anchored != b->anchored || a->smoothed != b->smoothed
        || !nlt_test_pql_eq_shift(&a->shift, &b->shift)) {
        return false;
    }
    for (size_t i = 0; i < a->n_matchers; i++) {
        if (nlt_test_pql_count(a, &a->matchers[i])
            != nlt_test_pql_count(b, &a->matchers[i])) {
            return false;
        }
    }
    return true;
}

static inline bool
nlt_test_pql_matches(const nlt_pql_binary_t *b)
{
    return b->has_matching && (b->on || b->has_group || b->labels.n > 0);
}

static inline bool
nlt_test_pql_eq_binary(const nlt_pql_binary_t *a, const nlt_pql_binary_t *b)
{
    return a->op == b->op && a->return_bool == b->return_bool
           && nlt_test_pql_matches(a) == nlt_test_pql_matches(b)
           && (!nlt_test_pql_matches(a) || a->on == b->on)
           && nlt_test_pql_eq_names(a->labels, b->labels) && a->card == b->card
           && a->has_group == b->has_group
           && nlt_test_pql_eq_names(a->include, b->include)
           && a->fill_left_set == b->fill_left_set
           && a->fill_right_set == b->fill_right_set
           && nlt_test_pql_eq_value(a->fill_left, b->fill_left)
           && nlt_test_pql_eq_value(a->fill_right, b->fill_right)
           && nlt_test_pql_eq(a->lhs, b->lhs)
           && nlt_test_pql_eq(a->rhs, b->rhs);
}

static inline bool
nlt_test_pql_eq_call(const nlt_pql_call_t *a, const nlt_pql_call_t *b)
{
    if (a->func != b->func || a->n_args != b->n_args) {
        return false;
    }
    for (size_t i = 0; i < a->n_args; i++) {
        if (!nlt_test_pql_eq(a->args[i], b->args[i])) {
            return false;
        }
    }
    return true;
}

static inline bool
nlt_test_pql_eq_aggr(const nlt_pql_aggr_node_t *a,
                     const nlt_pql_aggr_node_t *b)
{
    return a->op == b->op && a->without == b->without
           && nlt_test_pql_eq_names(a->grouping, b->grouping)
           && (a->param == NULL) == (b->param == NULL)
           && (a->param == NULL || nlt_test_pql_eq(a->param, b->param))
           && nlt_test_pql_eq(a->expr, b->expr);
}

static bool
nlt_test_pql_eq(const nlt_pql_node_t *a, const nlt_pql_node_t *b)
{
    if (a->kind != b->kind || a->type != b->type || a->height != b->height) {
        return false;
    }
    switch (a->kind) {
    case NLT_PQL_N_NUMBER:
        return a->u.number.is_duration == b->u.number.is_duration
               && nlt_test_pql_eq_value(a->u.number.value, b->u.number.value);
    case NLT_PQL_N_STRING:
        return nlt_str_eq(a->u.string, b->u.string);
    case NLT_PQL_N_VECTOR:
        return nlt_test_pql_eq_vector(&a->u.vector, &b->u.vector);
    case NLT_PQL_N_MATRIX:
        return nlt_test_pql_eq(a->u.matrix.vector, b->u.matrix.vector)
               && nlt_test_pql_eq_duration(&a->u.matrix.range,
                                           &b->u.matrix.range);
    case NLT_PQL_N_SUBQUERY:
        return nlt_test_pql_eq(a->u.subquery.expr, b->u.subquery.expr)
               && nlt_test_pql_eq_duration(&a->u.subquery.range,
                                           &b->u.subquery.range)
               && nlt_test_pql_eq_duration(&a->u.subquery.step,
                                           &b->u.subquery.step)
               && nlt_test_pql_eq_shift(&a->u.subquery.shift,
                                        &b->u.subquery.shift);
    case NLT_PQL_N_CALL:
        return nlt_test_pql_eq_call(&a->u.call, &b->u.call);
    case NLT_PQL_N_AGGR:
        return nlt_test_pql_eq_aggr(&a->u.aggr, &b->u.aggr);
    case NLT_PQL_N_BINARY:
        return nlt_test_pql_eq_binary(&a->u.binary, &b->u.binary);
    case NLT_PQL_N_UNARY:
        return a->u.unary.negate == b->u.unary.negate
               && nlt_test_pql_eq(a->u.unary.expr, b->u.unary.expr);
    case NLT_PQL_N_PAREN:
        return nlt_test_pql_eq(a->u.paren, b->u.paren);
    }
    return false;
}

#endif

/*
 * nlt_pql_print.c - tree to canonical text.
 *
 * The text is what Prometheus's String() gives, except where that could not
 * be read back: labels that need quotes have them in every list, labels named
 * inf or nan too, an empty ignoring() stays when group_left or group_right
 * needs it, and info(m, {}) keeps its braces.
 */
#include <float.h>
#include <math.h>
#include <strings.h>

#include "nlt_num.h"
#include "nlt_pql_func.h"
#include "nlt_pql_parse.h"
#include "nlt_pql_print.h"
#include "nlt_sort.h"
#include "nlt_time.h"

static void
print_signed_ms(nlt_buf_t *b, int64_t ms)
{
    char text[64];

    if (ms < 0) {
        nlt_buf_add_byte(b, '-');
    }
    nlt_buf_add(b, text, nlt_time_print_duration(text, ms < 0 ? -ms : ms));
}

static void
print_number(nlt_buf_t *b, const nlt_pql_number_t *number)
{
    char text[NLT_NUM_PLAIN_MAX];

    if (!number->is_duration) {
        nlt_buf_add(b, text, nlt_num_plain(text, number->value));
        return;
    }
    if (signbit(number->value)) {
        nlt_buf_add_byte(b, '-');
    }
    print_signed_ms(b, (int64_t) round(fabs(number->value) * 1000));
}

static void
print_duration(nlt_buf_t *b, const nlt_pql_duration_t *d)
{
    if (d->expr != NULL) {
        nlt_pql_print(b, d->expr);
    } else {
        print_signed_ms(b, d->ms);
    }
}

/*
 * offset and @.  An offset in parentheses goes on behind them (`offset (1) +
 * 2` is 3), so one that arithmetic follows gets a sign, which ends it.
 */
static void
print_shift(nlt_buf_t *b, const nlt_pql_shift_t *shift, bool arithmetic)
{
    char text[NLT_NUM_PLAIN_MAX];

    switch (shift->at) {
    case NLT_PQL_AT_NONE:
        break;
    case NLT_PQL_AT_TIME:
        nlt_buf_add_c(b, " @ ");
        nlt_buf_add(b, text,
                    nlt_num_fixed(text, (double) shift->at_ms / 1000, 3));
        break;
    case NLT_PQL_AT_START:
        nlt_buf_add_c(b, " @ start()");
        break;
    case NLT_PQL_AT_END:
        nlt_buf_add_c(b, " @ end()");
        break;
    }
    if (shift->has_offset) {
        const nlt_pql_node_t *expr = shift->offset.expr;

        nlt_buf_add_c(b, " offset ");
        if (arithmetic && expr != NULL && expr->kind == NLT_PQL_N_PAREN) {
            nlt_buf_add_byte(b, '+');
        }
        print_duration(b, &shift->offset);
    }
}

/* Would the lexer take this name for a number? */
static bool
is_number_word(nlt_str_t name)
{
    return name.len == 3
           && (strncasecmp(name.data, "inf", 3) == 0
               || strncasecmp(name.data, "nan", 3) == 0);
}

/* " by (a, b)": word is " by ", the names follow. */
static void
print_names(nlt_buf_t *b, const char *word, nlt_pql_names_t names)
{
    nlt_buf_add_c(b, word);
    nlt_buf_add_c(b, " (");
    for (size_t i = 0; i < names.n; i++) {
        if (i > 0) {
            nlt_buf_add_c(b, ", ");
        }
        if (nlt_metric_name_is_legacy(names.v[i])
            && !is_number_word(names.v[i])) {
            nlt_buf_add_str(b, names.v[i]);
        } else {
            nlt_utf8_quote(b, names.v[i]);
        }
    }
    nlt_buf_add_byte(b, ')');
}

/* ---- selectors: matchers are sorted by their text ---- */

/* Where a matcher's text lies in the scratch buffer. */
typedef struct {
    size_t off;
    size_t len;
} piece_t;

static bool
piece_less(const piece_t *a, const piece_t *b, const void *base)
{
    const char *text = base;

    return nlt_str_cmp((nlt_str_t){a->len, text + a->off},
                       (nlt_str_t){b->len, text + b->off})
           < 0;
}

NLT_HEAP_SORT(sort_pieces, piece_t, piece_less);

/* The matcher that the name before the braces stands for. */
static bool
is_name_matcher(const nlt_pql_vector_t *v, const nlt_matcher_t *m)
{
    return v->name.len > 0 && m->op == NLT_MATCH_EQ
           && nlt_str_eq(m->name, NLT_METRIC_NAME)
           && nlt_str_eq(m->value, v->name);
}

/* Prints the matchers into scratch, sorts the pieces, joins them into b. */
static void
print_matchers(nlt_buf_t *b, const nlt_pql_vector_t *v, piece_t *pieces)
{
    nlt_buf_t scratch;
    size_t n = 0;

    nlt_buf_init(&scratch, b->mem, b->max);
    for (size_t i = 0; i < v->n_matchers; i++) {
        if (!is_name_matcher(v, &v->matchers[i])) {
            pieces[n].off = scratch.len;
            nlt_matcher_print(&scratch, &v->matchers[i]);
            pieces[n].len = scratch.len - pieces[n].off;
            n++;
        }
    }
    if (scratch.rc != NLT_OK) {
        if (b->rc == NLT_OK) {
            b->rc = scratch.rc;
        }
    } else if (n > 0 || v->name.len == 0) {
        sort_pieces(pieces, n, scratch.data);
        nlt_buf_add_byte(b, '{');
        for (size_t i = 0; i < n; i++) {
            if (i > 0) {
                nlt_buf_add_byte(b, ',');
            }
            nlt_buf_add(b, scratch.data + pieces[i].off, pieces[i].len);
        }
        nlt_buf_add_byte(b, '}');
    }
    nlt_buf_deinit(&scratch);
}

/* A VECTOR without offset and @. */
static void
print_selector(nlt_buf_t *b, const nlt_pql_vector_t *v)
{
    size_t n = v->n_matchers ? v->n_matchers : 1;
    piece_t *pieces;

    nlt_buf_add_str(b, v->name);
    pieces = b->mem->alloc(b->mem->ctx, n * sizeof(*pieces));
    if (pieces == NULL) {
        if (b->rc == NLT_OK) {
            b->rc = NLT_ENOMEM;
        }
        return;
    }
    print_matchers(b, v, pieces);
    nlt_mem_free(b->mem, pieces, n * sizeof(*pieces));
}

static void
print_extended(nlt_buf_t *b, const nlt_pql_vector_t *v)
{
    if (v->anchored) {
        nlt_buf_add_c(b, " anchored");
    }
    if (v->smoothed) {
        nlt_buf_add_c(b, " smoothed");
    }
}

static void
print_vector(nlt_buf_t *b, const nlt_pql_vector_t *v, bool arithmetic)
{
    print_selector(b, v);
    print_extended(b, v);
    print_shift(b, &v->shift, arithmetic);
}

static void
print_matrix(nlt_buf_t *b, const nlt_pql_matrix_t *m, bool arithmetic)
{
    const nlt_pql_vector_t *v = &m->vector->u.vector;

    print_selector(b, v);
    nlt_buf_add_byte(b, '[');
    print_duration(b, &m->range);
    nlt_buf_add_byte(b, ']');
    print_extended(b, v);
    print_shift(b, &v->shift, arithmetic);
}

void
nlt_pql_print_window(nlt_buf_t *b, const nlt_pql_subquery_t *s,
                     bool arithmetic)
{
    nlt_buf_add_byte(b, '[');
    print_duration(b, &s->range);
    nlt_buf_add_byte(b, ':');
    if (s->step.expr != NULL || s->step.ms != 0) {
        print_duration(b, &s->step);
    }
    nlt_buf_add_byte(b, ']');
    print_shift(b, &s->shift, arithmetic);
}

/* ---- operators and calls ---- */

static void
print_fill_value(nlt_buf_t *b, const char *word, double v)
{
    char text[NLT_NUM_TEXT_MAX];

    nlt_buf_addf(b, " %s (", word);
    nlt_buf_add(b, text, nlt_num_g(text, v));
    nlt_buf_add_byte(b, ')');
}

static void
print_fill(nlt_buf_t *b, const nlt_pql_binary_t *n)
{
    if (n->fill_left_set && n->fill_right_set
        && nlt_bits_of(n->fill_left) == nlt_bits_of(n->fill_right)) {
        print_fill_value(b, "fill", n->fill_left);
        return;
    }
    if (n->fill_left_set) {
        print_fill_value(b, "fill_left", n->fill_left);
    }
    if (n->fill_right_set) {
        print_fill_value(b, "fill_right", n->fill_right);
    }
}

void
nlt_pql_print_base(nlt_buf_t *b, const nlt_pql_node_t *number)
{
    double v = number->u.number.value;

    if (v > DBL_MAX) {
        nlt_buf_add_c(b, "Inf");
    } else if (signbit(v) && !isnan(v)) {
        nlt_buf_add_byte(b, '(');
        nlt_pql_print(b, number);
        nlt_buf_add_byte(b, ')');
    } else {
        nlt_pql_print(b, number);
    }
}

void
nlt_pql_print_operator(nlt_buf_t *b, const nlt_pql_binary_t *n)
{
    nlt_buf_add_c(b, nlt_pql_op_text(n->op));
    if (n->return_bool) {
        nlt_buf_add_c(b, " bool");
    }
    if (n->has_matching && (n->labels.n > 0 || n->on || n->has_group)) {
        print_names(b, n->on ? " on" : " ignoring", n->labels);
        if (n->has_group) {
            print_names(b,
                        n->card == NLT_PQL_CARD_MANY_TO_ONE ? " group_left"
                                                            : " group_right",
                        n->include);
        }
    }
    print_fill(b, n);
}

static void
print_binary(nlt_buf_t *b, const nlt_pql_binary_t *n, bool arithmetic)
{
    if (nlt_pql_is_base(n)) {
        nlt_pql_print_base(b, n->lhs);
    } else {
        nlt_pql_print_node(b, n->lhs, n->op <= NLT_PQL_OP_POW);
    }
    nlt_buf_add_byte(b, ' ');
    nlt_pql_print_operator(b, n);
    nlt_buf_add_byte(b, ' ');
    nlt_pql_print_node(b, n->rhs, arithmetic);
}

void
nlt_pql_print_aggr(nlt_buf_t *b, const nlt_pql_aggr_node_t *n)
{
    nlt_buf_add_c(b, nlt_pql_aggr_text(n->op));
    if (n->without || n->grouping.n > 0) {
        print_names(b, n->without ? " without" : " by", n->grouping);
        nlt_buf_add_byte(b, ' ');
    }
}

static void
print_aggr(nlt_buf_t *b, const nlt_pql_aggr_node_t *n)
{
    nlt_pql_print_aggr(b, n);
    nlt_buf_add_byte(b, '(');
    if (n->param != NULL) {
        nlt_pql_print(b, n->param);
        nlt_buf_add_c(b, ", ");
    }
    nlt_pql_print(b, n->expr);
    nlt_buf_add_byte(b, ')');
}

static void
print_call(nlt_buf_t *b, const nlt_pql_call_t *n)
{
    nlt_buf_add_c(b, n->func->name);
    nlt_buf_add_byte(b, '(');
    for (size_t i = 0; i < n->n_args; i++) {
        if (i > 0) {
            nlt_buf_add_c(b, ", ");
        }
        nlt_pql_print(b, n->args[i]);
    }
    nlt_buf_add_byte(b, ')');
}

void
nlt_pql_print_node(nlt_buf_t *b, const nlt_pql_node_t *node, bool arithmetic)
{
    if (b->rc != NLT_OK) {
        return;
    }
    switch (node->kind) {
    case NLT_PQL_N_NUMBER:
        print_number(b, &node->u.number);
        break;
    case NLT_PQL_N_STRING:
        nlt_utf8_quote(b, node->u.string);
        break;
    case NLT_PQL_N_VECTOR:
        print_vector(b, &node->u.vector, arithmetic);
        break;
    case NLT_PQL_N_MATRIX:
        print_matrix(b, &node->u.matrix, arithmetic);
        break;
    case NLT_PQL_N_SUBQUERY:
        nlt_pql_print(b, node->u.subquery.expr);
        nlt_pql_print_window(b, &node->u.subquery, arithmetic);
        break;
    case NLT_PQL_N_CALL:
        print_call(b, &node->u.call);
        break;
    case NLT_PQL_N_AGGR:
        print_aggr(b, &node->u.aggr);
        break;
    case NLT_PQL_N_BINARY:
        print_binary(b, &node->u.binary, arithmetic);
        break;
    case NLT_PQL_N_UNARY:
        nlt_buf_add_byte(b, node->u.unary.negate ? '-' : '+');
        nlt_pql_print_node(b, node->u.unary.expr, arithmetic);
        break;
    case NLT_PQL_N_PAREN:
        nlt_buf_add_byte(b, '(');
        nlt_pql_print(b, node->u.paren);
        nlt_buf_add_byte(b, ')');
        break;
    }
}

void
nlt_pql_print(nlt_buf_t *b, const nlt_pql_node_t *node)
{
    nlt_pql_print_node(b, node, false);
}

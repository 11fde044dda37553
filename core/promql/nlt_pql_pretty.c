/*
 * nlt_pql_pretty.c - tree to text on several lines.
 *
 * What is longer than LINE bytes on one line is opened up, its parts two
 * columns further in; what has no parts stays as long as it is.
 *
 *     sum by (job) (
 *       rate(
 *         http_requests_total{...}[5m]
 *       )
 *     )
 *
 * Follows Prometheus, also where that looks odd: a subquery that fits on a
 * line is not indented.
 */
#include "nlt_pql_func.h"
#include "nlt_pql_parse.h"
#include "nlt_pql_print.h"

/* Longest line that is not broken, without its indent. */
#define LINE 100

/* See nlt_pql_print.h. */
static void pretty(nlt_buf_t *b, const nlt_pql_node_t *node, unsigned level,
                   bool arithmetic);

static void
indent(nlt_buf_t *b, unsigned level)
{
    for (unsigned i = 0; i < level; i++) {
        nlt_buf_add(b, "  ", 2);
    }
}

/* The text on one line, if it is short enough. */
static bool
fits(nlt_buf_t *b, const nlt_pql_node_t *node, bool arithmetic)
{
    nlt_buf_t line;
    bool yes;

    nlt_buf_init(&line, b->mem, 4 * LINE);
    nlt_pql_print_node(&line, node, arithmetic);
    yes = line.rc == NLT_OK && line.len <= LINE;
    if (line.rc != NLT_OK && line.rc != NLT_ETOOBIG && b->rc == NLT_OK) {
        b->rc = line.rc;
    }
    if (yes) {
        nlt_buf_add_str(b, nlt_buf_str(&line));
    }
    nlt_buf_deinit(&line);
    return yes;
}

static void
pretty_binary(nlt_buf_t *b, const nlt_pql_binary_t *n, unsigned level,
              bool arithmetic)
{
    if (nlt_pql_is_base(n)) {
        indent(b, level + 1);
        nlt_pql_print_base(b, n->lhs);
    } else {
        pretty(b, n->lhs, level + 1, n->op <= NLT_PQL_OP_POW);
    }
    nlt_buf_add_byte(b, '\n');
    indent(b, level);
    nlt_pql_print_operator(b, n);
    nlt_buf_add_byte(b, '\n');
    pretty(b, n->rhs, level + 1, arithmetic);
}

/* The sign, then the operand without its indent. */
static void
pretty_unary(nlt_buf_t *b, const nlt_pql_unary_t *n, unsigned level,
             bool arithmetic)
{
    size_t from, spaces = 0;

    indent(b, level);
    nlt_buf_add_byte(b, n->negate ? '-' : '+');
    from = b->len;
    pretty(b, n->expr, level, arithmetic);
    if (b->rc == NLT_OK) {
        while (from + spaces < b->len && b->data[from + spaces] == ' ') {
            spaces++;
        }
        memmove(b->data + from, b->data + from + spaces,
                b->len - from - spaces);
        b->len -= spaces;
    }
}

/* "(", then on lines of their own the parts, then ")". */
static void
pretty_parts(nlt_buf_t *b, nlt_pql_node_t *const *part, size_t n,
             unsigned level)
{
    nlt_buf_add_c(b, "(\n");
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            nlt_buf_add_c(b, ",\n");
        }
        pretty(b, part[i], level + 1, false);
    }
    nlt_buf_add_byte(b, '\n');
    indent(b, level);
    nlt_buf_add_byte(b, ')');
}

static void
pretty_aggr(nlt_buf_t *b, const nlt_pql_aggr_node_t *n, unsigned level)
{
    nlt_pql_node_t *part[2] = {n->param, n->expr};

    nlt_pql_print_aggr(b, n);
    if (n->param != NULL) {
        pretty_parts(b, part, 2, level);
    } else {
        pretty_parts(b, part + 1, 1, level);
    }
}

static void
pretty(nlt_buf_t *b, const nlt_pql_node_t *node, unsigned level,
       bool arithmetic)
{
    size_t from = b->len;

    if (b->rc != NLT_OK) {
        return;
    }
    switch (node->kind) {
    case NLT_PQL_N_UNARY:
        pretty_unary(b, &node->u.unary, level, arithmetic);
        return;
    case NLT_PQL_N_SUBQUERY:
        if (!fits(b, node, arithmetic)) {
            pretty(b, node->u.subquery.expr, level, false);
            nlt_pql_print_window(b, &node->u.subquery, arithmetic);
        }
        return;
    case NLT_PQL_N_CALL:
    case NLT_PQL_N_AGGR:
    case NLT_PQL_N_BINARY:
    case NLT_PQL_N_PAREN:
        indent(b, level);
        if (fits(b, node, arithmetic) || b->rc != NLT_OK) {
            return;
        }
        break;
    default:
        indent(b, level);
        nlt_pql_print_node(b, node, arithmetic);
        return;
    }
    if (node->kind == NLT_PQL_N_CALL) {
        nlt_buf_add_c(b, node->u.call.func->name);
        pretty_parts(b, node->u.call.args, node->u.call.n_args, level);
    } else if (node->kind == NLT_PQL_N_AGGR) {
        pretty_aggr(b, &node->u.aggr, level);
    } else if (node->kind == NLT_PQL_N_PAREN) {
        pretty_parts(b, &node->u.paren, 1, level);
    } else {
        b->len = from; /* both sides bring their own indent */
        pretty_binary(b, &node->u.binary, level, arithmetic);
    }
}

void
nlt_pql_pretty(nlt_buf_t *b, const nlt_pql_node_t *node)
{
    pretty(b, node, 0, false);
}

/*
 * nlt_api_parse.c - format_query and parse_query.
 *
 * The tree is written as Prometheus writes it: objects whose keys are in
 * alphabetical order, times in milliseconds.  Of what its experimental parts
 * add, a selector has "anchored" or "smoothed" only where it was written so.
 */
#include "nlt_api.h"
#include "nlt_num.h"
#include "nlt_pql_func.h"

static void add_node(nlt_buf_t *b, const nlt_pql_node_t *node);

/* "name":value, where name comes with its comma and colon. */
static void
add_text(nlt_buf_t *b, const char *key, nlt_str_t s)
{
    nlt_buf_add_c(b, key);
    nlt_json_string(b, s, true);
}

static void
add_c(nlt_buf_t *b, const char *key, const char *s)
{
    add_text(b, key, (nlt_str_t){strlen(s), s});
}

static void
add_ms(nlt_buf_t *b, const char *key, int64_t ms)
{
    nlt_buf_add_c(b, key);
    nlt_buf_add_i64(b, ms);
}

static void
add_bool(nlt_buf_t *b, const char *key, bool yes)
{
    nlt_buf_add_c(b, key);
    nlt_buf_add_c(b, yes ? "true" : "false");
}

static void
add_child(nlt_buf_t *b, const char *key, const nlt_pql_node_t *node)
{
    nlt_buf_add_c(b, key);
    if (node != NULL) {
        add_node(b, node);
    } else {
        nlt_buf_add_c(b, "null");
    }
}

static void
add_names(nlt_buf_t *b, const char *key, nlt_pql_names_t names)
{
    nlt_buf_add_c(b, key);
    nlt_buf_add_byte(b, '[');
    for (size_t i = 0; i < names.n; i++) {
        if (i > 0) {
            nlt_buf_add_byte(b, ',');
        }
        nlt_json_string(b, names.v[i], true);
    }
    nlt_buf_add_byte(b, ']');
}

/* "@ start()" and "@ end()". */
static void
add_edge(nlt_buf_t *b, const nlt_pql_shift_t *shift)
{
    nlt_buf_add_c(b, ",\"startOrEnd\":");
    nlt_buf_add_c(b, shift->at == NLT_PQL_AT_START ? "\"start\""
                     : shift->at == NLT_PQL_AT_END ? "\"end\""
                                                   : "null");
}

/* "@ 12.5". */
static void
add_at(nlt_buf_t *b, const nlt_pql_shift_t *shift)
{
    if (shift->at == NLT_PQL_AT_TIME) {
        add_ms(b, ",\"timestamp\":", shift->at_ms);
    } else {
        nlt_buf_add_c(b, ",\"timestamp\":null");
    }
}

static void
add_matchers(nlt_buf_t *b, const nlt_pql_vector_t *v)
{
    nlt_buf_add_c(b, "\"matchers\":[");
    for (size_t i = 0; i < v->n_matchers; i++) {
        if (i > 0) {
            nlt_buf_add_byte(b, ',');
        }
        add_text(b, "{\"name\":", v->matchers[i].name);
        add_c(b, ",\"type\":", nlt_match_op_text(v->matchers[i].op));
        add_text(b, ",\"value\":", v->matchers[i].value);
        nlt_buf_add_byte(b, '}');
    }
    nlt_buf_add_byte(b, ']');
}

/* A selector; of a MATRIX with its range. */
static void
add_selector(nlt_buf_t *b, const nlt_pql_vector_t *v,
             const nlt_pql_matrix_t *matrix)
{
    if (v->anchored) {
        nlt_buf_add_c(b, "\"anchored\":true,");
    }
    add_matchers(b, v);
    add_text(b, ",\"name\":", v->name);
    add_ms(b, ",\"offset\":", v->shift.offset.ms);
    if (matrix != NULL) {
        add_ms(b, ",\"range\":", matrix->range.ms);
    }
    if (v->smoothed) {
        nlt_buf_add_c(b, ",\"smoothed\":true");
    }
    add_edge(b, &v->shift);
    add_at(b, &v->shift);
    add_c(b,
          ",\"type\":", matrix != NULL ? "matrixSelector" : "vectorSelector");
}

static void
add_subquery(nlt_buf_t *b, const nlt_pql_subquery_t *s)
{
    add_child(b, "\"expr\":", s->expr);
    add_ms(b, ",\"offset\":", s->shift.offset.ms);
    add_ms(b, ",\"range\":", s->range.ms);
    add_edge(b, &s->shift);
    add_ms(b, ",\"step\":", s->step.ms);
    add_at(b, &s->shift);
    nlt_buf_add_c(b, ",\"type\":\"subquery\"");
}

/* Types as the signature of a function has them. */
static const char *
type_word(nlt_pql_type_t type)
{
    switch (type) {
    case NLT_PQL_SCALAR:
        return "scalar";
    case NLT_PQL_VECTOR:
        return "vector";
    case NLT_PQL_MATRIX:
        return "matrix";
    case NLT_PQL_STRING:
        return "string";
    default:
        return "none";
    }
}

static void
add_call(nlt_buf_t *b, const nlt_pql_call_t *c)
{
    const nlt_pql_func_t *f = c->func;

    nlt_buf_add_c(b, "\"args\":[");
    for (size_t i = 0; i < c->n_args; i++) {
        add_child(b, i > 0 ? "," : "", c->args[i]);
    }
    nlt_buf_add_c(b, "],\"func\":{\"argTypes\":[");
    for (size_t i = 0; i < NLT_PQL_ARGS_MAX && f->args[i] != NLT_PQL_NONE;
         i++) {
        add_c(b, i > 0 ? "," : "", type_word(f->args[i]));
    }
    add_c(b, "],\"name\":", f->name);
    add_c(b, ",\"returnType\":", type_word(f->ret));
    add_ms(b, ",\"variadic\":", f->variadic);
    nlt_buf_add_c(b, "},\"type\":\"call\"");
}

static void
add_aggr(nlt_buf_t *b, const nlt_pql_aggr_node_t *n)
{
    add_child(b, "\"expr\":", n->expr);
    add_names(b, ",\"grouping\":", n->grouping);
    add_c(b, ",\"op\":", nlt_pql_aggr_text(n->op));
    add_child(b, ",\"param\":", n->param);
    nlt_buf_add_c(b, ",\"type\":\"aggregation\"");
    add_bool(b, ",\"without\":", n->without);
}

/* A value of fill(); JSON has no word for those that are not finite. */
static void
add_fill(nlt_buf_t *b, const char *key, bool set, double v)
{
    char text[NLT_NUM_TEXT_MAX];
    size_t len = nlt_num_sample(text, v);

    nlt_buf_add_c(b, key);
    if (!set) {
        nlt_buf_add_c(b, "null");
    } else if (v - v != 0) {
        nlt_json_string(b, (nlt_str_t){len, text}, true);
    } else {
        nlt_buf_add(b, text, len);
    }
}

static void
add_matching(nlt_buf_t *b, const nlt_pql_binary_t *n)
{
    static const char *const cards[] = {
        [NLT_PQL_CARD_ONE_TO_ONE] = "one-to-one",
        [NLT_PQL_CARD_MANY_TO_ONE] = "many-to-one",
        [NLT_PQL_CARD_ONE_TO_MANY] = "one-to-many",
        [NLT_PQL_CARD_MANY_TO_MANY] = "many-to-many"};

    nlt_buf_add_c(b, ",\"matching\":");
    if (n->lhs->type != NLT_PQL_VECTOR || n->rhs->type != NLT_PQL_VECTOR) {
        nlt_buf_add_c(b, "null");
        return;
    }
    add_c(b, "{\"card\":", cards[n->card]);
    add_fill(b, ",\"fillValues\":{\"lhs\":", n->fill_left_set, n->fill_left);
    add_fill(b, ",\"rhs\":", n->fill_right_set, n->fill_right);
    add_names(b, "},\"include\":", n->include);
    add_names(b, ",\"labels\":", n->labels);
    add_bool(b, ",\"on\":", n->on);
    nlt_buf_add_byte(b, '}');
}

static void
add_binary(nlt_buf_t *b, const nlt_pql_binary_t *n)
{
    add_bool(b, "\"bool\":", n->return_bool);
    add_child(b, ",\"lhs\":", n->lhs);
    add_matching(b, n);
    add_c(b, ",\"op\":", nlt_pql_op_text(n->op));
    add_child(b, ",\"rhs\":", n->rhs);
    nlt_buf_add_c(b, ",\"type\":\"binaryExpr\"");
}

static void
add_number(nlt_buf_t *b, double v)
{
    char text[NLT_NUM_PLAIN_MAX];
    size_t len = nlt_num_plain(text, v);

    nlt_buf_add_c(b, "\"type\":\"numberLiteral\"");
    add_text(b, ",\"val\":", (nlt_str_t){len, text});
}

/* Recursion is bounded by the height of trees, NLT_PQL_DEPTH_MAX. */
static void
add_node(nlt_buf_t *b, const nlt_pql_node_t *node)
{
    if (b->rc != NLT_OK) {
        return;
    }
    nlt_buf_add_byte(b, '{');
    switch (node->kind) {
    case NLT_PQL_N_NUMBER:
        add_number(b, node->u.number.value);
        break;
    case NLT_PQL_N_STRING:
        nlt_buf_add_c(b, "\"type\":\"stringLiteral\"");
        add_text(b, ",\"val\":", node->u.string);
        break;
    case NLT_PQL_N_VECTOR:
        add_selector(b, &node->u.vector, NULL);
        break;
    case NLT_PQL_N_MATRIX:
        add_selector(b, &node->u.matrix.vector->u.vector, &node->u.matrix);
        break;
    case NLT_PQL_N_SUBQUERY:
        add_subquery(b, &node->u.subquery);
        break;
    case NLT_PQL_N_CALL:
        add_call(b, &node->u.call);
        break;
    case NLT_PQL_N_AGGR:
        add_aggr(b, &node->u.aggr);
        break;
    case NLT_PQL_N_BINARY:
        add_binary(b, &node->u.binary);
        break;
    case NLT_PQL_N_UNARY:
        add_child(b, "\"expr\":", node->u.unary.expr);
        add_c(b, ",\"op\":", node->u.unary.negate ? "-" : "+");
        nlt_buf_add_c(b, ",\"type\":\"unaryExpr\"");
        break;
    case NLT_PQL_N_PAREN:
        add_child(b, "\"expr\":", node->u.paren);
        nlt_buf_add_c(b, ",\"type\":\"parenExpr\"");
        break;
    }
    nlt_buf_add_byte(b, '}');
}

/* The tree of the query parameter; NULL: answered. */
static nlt_pql_node_t *
parse(nlt_api_t *a)
{
    nlt_str_t text = nlt_api_param_text(a, "query");
    nlt_pql_node_t *tree = NULL;
    nlt_err_t err;
    nlt_rc_t rc = nlt_pql_parse(&a->pool, text, a->conf.features, &tree, &err);

    if (rc == NLT_OK) {
        return tree;
    }
    if (rc == NLT_EINVAL) {
        nlt_api_bad_param(a, "query", "%s", err.text);
    } else {
        nlt_api_fail_rc(a, &err);
    }
    return NULL;
}

void
nlt_api_run_parse_query(nlt_api_t *a)
{
    const nlt_pql_node_t *tree = parse(a);
    nlt_buf_t *b;

    if (tree == NULL) {
        return;
    }
    b = nlt_api_begin_text(a);
    nlt_buf_add_c(b, "{\"status\":\"success\",\"data\":");
    add_node(b, tree);
    nlt_buf_add_byte(b, '}');
    nlt_api_end_text(a);
}

void
nlt_api_run_format_query(nlt_api_t *a)
{
    const nlt_pql_node_t *tree = parse(a);
    nlt_buf_t text, *b;

    if (tree == NULL) {
        return;
    }
    b = nlt_api_begin_text(a);
    nlt_buf_init(&text, a->env->mem, b->max);
    nlt_pql_pretty(&text, tree);
    nlt_buf_add_c(b, "{\"status\":\"success\",\"data\":");
    nlt_json_string(b, nlt_buf_str(&text), true);
    nlt_buf_add_byte(b, '}');
    if (text.rc != NLT_OK) {
        b->rc = text.rc;
    }
    nlt_buf_deinit(&text);
    nlt_api_end_text(a);
}

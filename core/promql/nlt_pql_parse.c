/*
 * nlt_pql_parse.c - expressions.
 *
 * Precedence climbing: expression(power) reads an operand and what binds to
 * it, then as many binary operators as bind at least as strong as power.
 */
#include <stdarg.h>
#include <stdio.h>

#include "nlt_limits.h"
#include "nlt_pql_check.h"
#include "nlt_pql_func.h"
#include "nlt_pql_parser.h"

/* A sign binds like '*': only '^' is stronger. */
#define UNARY_POWER 5

/* ---- errors ---- */

void
nlt_pql_fail(nlt_pql_parser_t *p, int32_t pos, const char *fmt, ...)
{
    char what[NLT_ERR_TEXT_MAX];
    va_list args;

    if (p->rc != NLT_OK) {
        return;
    }
    va_start(args, fmt);
    (void) vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    p->rc = nlt_pql_err_at(p->err, p->text, pos, "%s", what);
}

void
nlt_pql_fail_memory(nlt_pql_parser_t *p)
{
    if (p->rc == NLT_OK) {
        p->rc = nlt_err_set(p->err, NLT_ENOMEM,
                            "query needs more memory than it may have");
    }
}

nlt_str_t
nlt_pql_quoted(nlt_pool_t *pool, nlt_str_t s)
{
    nlt_str_t quoted;
    nlt_buf_t b;

    if (s.len > NLT_ERR_TEXT_MAX) {
        s.len = NLT_ERR_TEXT_MAX;
    }
    nlt_buf_init(&b, pool->mem, 16 * NLT_ERR_TEXT_MAX);
    nlt_utf8_quote(&b, s);
    quoted = nlt_pool_str(pool, nlt_buf_str(&b));
    nlt_buf_deinit(&b);
    return quoted.data ? quoted : (nlt_str_t){0, NULL};
}

/* %q of at most ten runes of a literal, and "..." if there were more. */
static void
print_literal(nlt_buf_t *b, nlt_str_t s)
{
    size_t n = 0;
    uint32_t rune;

    if (s.len <= 10) {
        nlt_utf8_quote(b, s);
        return;
    }
    for (int i = 0; i < 10 && n < s.len; i++) {
        n += nlt_utf8_decode((nlt_str_t){s.len - n, s.data + n}, &rune);
    }
    nlt_utf8_quote(b, (nlt_str_t){n, s.data});
    nlt_buf_add_c(b, "...");
}

/* How an error text names a token (messages.md 3b). */
static void
print_token(nlt_buf_t *b, const nlt_pql_token_t *tok)
{
    static const char *const literals[] = {
        [NLT_PQL_T_NUMBER] = "number ",
        [NLT_PQL_T_DURATION] = "duration ",
        [NLT_PQL_T_STRING] = "string ",
    };
    nlt_str_t text = tok->text;

    if (text.len > NLT_ERR_TEXT_MAX) {
        text.len = NLT_ERR_TEXT_MAX;
    }
    switch (nlt_pql_token_info(tok->kind)->class) {
    case NLT_PQL_TC_END:
        nlt_buf_add_c(b, "end of input");
        break;
    case NLT_PQL_TC_NAME:
        nlt_buf_add_c(b, tok->kind == NLT_PQL_T_IDENT ? "identifier "
                                                      : "metric identifier ");
        nlt_utf8_quote(b, text);
        break;
    case NLT_PQL_TC_LITERAL:
        nlt_buf_add_c(b, literals[tok->kind]);
        print_literal(b, tok->text);
        break;
    case NLT_PQL_TC_OP:
        nlt_buf_addf(b, "<op:%.*s>", NLT_FMT(text));
        break;
    case NLT_PQL_TC_AGGR:
        nlt_buf_addf(b, "<aggr:%.*s>", NLT_FMT(text));
        break;
    case NLT_PQL_TC_KEYWORD:
        nlt_buf_addf(b, "<%.*s>", NLT_FMT(text));
        break;
    case NLT_PQL_TC_PUNCT:
    case NLT_PQL_TC_WORD:
        nlt_utf8_quote(b, text);
        break;
    }
}

void
nlt_pql_unexpected(nlt_pql_parser_t *p, const char *context,
                   const char *expected)
{
    const nlt_pql_token_t *tok = nlt_pql_peek(p);
    nlt_buf_t b;

    if (p->rc != NLT_OK) {
        return;
    }
    nlt_buf_init(&b, p->pool->mem, 16 * NLT_ERR_TEXT_MAX);
    print_token(&b, tok);
    nlt_pql_fail(p, tok->pos, "unexpected %.*s%s%s%s%s",
                 NLT_FMT(nlt_buf_str(&b)), context ? " in " : "",
                 context ? context : "", expected ? ", expected " : "",
                 expected ? expected : "");
    nlt_buf_deinit(&b);
}

void
nlt_pql_syntax(nlt_pql_parser_t *p)
{
    nlt_pql_unexpected(p, p->context, p->expected);
}

/* ---- tokens ---- */

static void
fail_lexer(nlt_pql_parser_t *p, const nlt_pql_token_t *tok)
{
    nlt_buf_t b;

    nlt_buf_init(&b, p->pool->mem, 16 * NLT_ERR_TEXT_MAX);
    nlt_pql_lex_error(&p->lex, &b);
    nlt_pql_fail(p, tok->pos, "%.*s", NLT_FMT(nlt_buf_str(&b)));
    nlt_buf_deinit(&b);
}

const nlt_pql_token_t *
nlt_pql_peek(nlt_pql_parser_t *p)
{
    if (p->n_ahead == 0) {
        p->ahead[0] = nlt_pql_lex_next(&p->lex);
        p->n_ahead = 1;
        if (p->ahead[0].kind == NLT_PQL_T_ERROR) {
            fail_lexer(p, &p->ahead[0]);
        }
    }
    return &p->ahead[0];
}

nlt_pql_token_t
nlt_pql_take(nlt_pql_parser_t *p)
{
    nlt_pql_token_t tok = *nlt_pql_peek(p);

    /* The end and an error stay: the lexer has nothing behind them. */
    if (tok.kind != NLT_PQL_T_ERROR && tok.kind != NLT_PQL_T_END) {
        p->ahead[0] = p->ahead[1];
        p->n_ahead--;
    }
    p->end = tok.pos + (int32_t) tok.text.len;
    return tok;
}

bool
nlt_pql_accept(nlt_pql_parser_t *p, nlt_pql_token_kind_t kind)
{
    if (nlt_pql_peek_kind(p) != kind) {
        return false;
    }
    (void) nlt_pql_take(p);
    return true;
}

void
nlt_pql_put_back(nlt_pql_parser_t *p, nlt_pql_token_t tok)
{
    p->ahead[1] = p->ahead[0];
    p->ahead[0] = tok;
    p->n_ahead++;
}

/*
 * The end of the next ')' of the text.  Prometheus queues them as they come
 * and takes one for each call, aggregation and pair of parentheses, but none
 * for those of on (), of durations and others: behind such a one, what it
 * takes for the end of a call is further in front.  It shows where a binary
 * operator is said to be.
 */
static int32_t
take_closing(nlt_pql_parser_t *p)
{
    nlt_pql_token_t tok;

    do {
        tok = nlt_pql_lex_next(&p->closings);
    } while (tok.kind != NLT_PQL_T_RIGHT_PAREN && tok.kind != NLT_PQL_T_END
             && tok.kind != NLT_PQL_T_ERROR);
    return tok.pos + (int32_t) tok.text.len;
}

/* Where Prometheus has the operator behind lhs: after blanks, no more. */
static int32_t
operator_pos(const nlt_pql_parser_t *p, const nlt_pql_node_t *lhs)
{
    size_t at = (size_t) lhs->end;

    while (at < p->text.len && memchr(" \t\n\r", p->text.data[at], 4)) {
        at++;
    }
    return (int32_t) at;
}

/* ---- nodes ---- */

nlt_pql_node_t *
nlt_pql_node(nlt_pql_parser_t *p, nlt_pql_kind_t kind, int32_t start)
{
    if (p->n_nodes == NLT_PQL_NODES_MAX) {
        nlt_pql_fail(p, start, "expression has more than %u parts",
                     NLT_PQL_NODES_MAX);
        return NULL;
    }
    nlt_pql_node_t *node = nlt_pool_zalloc(p->pool, sizeof(*node));

    if (node == NULL) {
        nlt_pql_fail_memory(p);
        return NULL;
    }
    p->n_nodes++;
    node->kind = kind;
    node->start = start;
    node->end = start;
    node->height = 1;
    return node;
}

static void
fail_depth(nlt_pql_parser_t *p, int32_t pos)
{
    nlt_pql_fail(p, pos, "expression is nested more than %u levels deep",
                 NLT_PQL_DEPTH_MAX);
}

bool
nlt_pql_adopt(nlt_pql_parser_t *p, nlt_pql_node_t *node,
              const nlt_pql_node_t *child)
{
    if (child->height >= (int32_t) NLT_PQL_DEPTH_MAX) {
        fail_depth(p, node->start);
        return false;
    }
    if (node->height <= child->height) {
        node->height = child->height + 1;
    }
    return true;
}

bool
nlt_pql_enter(nlt_pql_parser_t *p)
{
    if (p->depth >= NLT_PQL_DEPTH_MAX) {
        fail_depth(p, nlt_pql_peek(p)->pos);
        return false;
    }
    p->depth++;
    return true;
}

/* ---- expressions ---- */

static nlt_pql_node_t *expression(nlt_pql_parser_t *p, int power_min);

typedef struct {
    nlt_pql_node_t **v;
    size_t n;
    size_t cap;
} args_t;

static bool
add_arg(nlt_pql_parser_t *p, args_t *args, nlt_pql_node_t *arg)
{
    if (args->n == args->cap) {
        size_t cap = args->cap ? args->cap * 2 : 4;
        nlt_pql_node_t **v = nlt_pool_grow(
            p->pool, args->v, args->cap * sizeof(arg), cap * sizeof(arg));

        if (v == NULL) {
            nlt_pql_fail_memory(p);
            return false;
        }
        args->v = v;
        args->cap = cap;
    }
    args->v[args->n++] = arg;
    return true;
}

/* May an expression begin with this token? */
static bool
begins_expression(nlt_pql_token_kind_t kind)
{
    const nlt_pql_token_info_t *info = nlt_pql_token_info(kind);

    return info->metric || info->class == NLT_PQL_TC_LITERAL
           || kind == NLT_PQL_T_LEFT_PAREN || kind == NLT_PQL_T_LEFT_BRACE
           || kind == NLT_PQL_T_ADD || kind == NLT_PQL_T_SUB;
}

/* '(' arguments ')' of a function or an aggregation. */
static bool
parse_arguments(nlt_pql_parser_t *p, args_t *args)
{
    if (!nlt_pql_accept(p, NLT_PQL_T_LEFT_PAREN)) {
        nlt_pql_syntax(p);
        return false;
    }
    if (nlt_pql_accept(p, NLT_PQL_T_RIGHT_PAREN)) {
        return true;
    }
    for (;;) {
        nlt_pql_node_t *arg = expression(p, 1);

        if (arg == NULL || !add_arg(p, args, arg)) {
            return false;
        }
        if (nlt_pql_accept(p, NLT_PQL_T_RIGHT_PAREN)) {
            return true;
        }
        int32_t comma = nlt_pql_peek(p)->pos;

        if (!nlt_pql_accept(p, NLT_PQL_T_COMMA)) {
            nlt_pql_syntax(p);
            return false;
        }
        if (!begins_expression(nlt_pql_peek_kind(p))) {
            nlt_pql_fail(p, comma,
                         "trailing commas not allowed in function call args");
            return false;
        }
    }
}

/* After the name of a function; '(' is next. */
static nlt_pql_node_t *
parse_call(nlt_pql_parser_t *p, nlt_pql_token_t name)
{
    nlt_str_t lookup = name.text;
    args_t args = {0};

    if (!parse_arguments(p, &args)) {
        return NULL;
    }
    if (name.kind != NLT_PQL_T_IDENT) { /* a word, in any case */
        const char *text = nlt_pql_token_info(name.kind)->text;

        lookup = (nlt_str_t){strlen(text), text};
    }
    const nlt_pql_func_t *func = nlt_pql_func_find(lookup);

    if (func == NULL
        || (func->experimental && (p->features & NLT_PQL_F_FUNCTIONS) == 0)) {
        nlt_str_t quoted = nlt_pql_quoted(p->pool, name.text);

        nlt_pql_fail(p, name.pos,
                     func == NULL ? "unknown function with name %.*s"
                                  : "function %.*s is not enabled",
                     NLT_FMT(quoted));
        return NULL;
    }
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_CALL, name.pos);

    if (node == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < args.n; i++) {
        if (!nlt_pql_adopt(p, node, args.v[i])) {
            return NULL;
        }
    }
    node->u.call.func = func;
    node->u.call.args = args.v;
    node->u.call.n_args = args.n;
    node->end = take_closing(p);
    return node;
}

static bool
has_param(nlt_pql_aggr_t op)
{
    return op >= NLT_PQL_AGGR_TOPK;
}

/* Puts an aggregation together; args are as written. */
static nlt_pql_node_t *
make_aggregation(nlt_pql_parser_t *p, nlt_pql_node_t *node, args_t args)
{
    nlt_pql_aggr_node_t *aggr = &node->u.aggr;
    size_t wanted = has_param(aggr->op) ? 2 : 1;

    if (args.n == 0) {
        nlt_pql_fail(p, node->start,
                     "no arguments for aggregate expression provided");
        return NULL;
    }
    if ((aggr->op == NLT_PQL_AGGR_LIMITK
         || aggr->op == NLT_PQL_AGGR_LIMIT_RATIO)
        && (p->features & NLT_PQL_F_FUNCTIONS) == 0) {
        nlt_pql_fail(p, node->start,
                     "%s() is experimental and must be enabled with "
                     "--enable-feature=promql-experimental-functions",
                     nlt_pql_aggr_text(aggr->op));
        return NULL;
    }
    if (args.n != wanted) {
        nlt_pql_fail(p, node->start,
                     "wrong number of arguments for aggregate expression "
                     "provided, expected %zu, got %zu",
                     wanted, args.n);
        return NULL;
    }
    for (size_t i = 0; i < args.n; i++) {
        if (!nlt_pql_adopt(p, node, args.v[i])) {
            return NULL;
        }
    }
    aggr->param = wanted == 2 ? args.v[0] : NULL;
    aggr->expr = args.v[wanted - 1];
    if (aggr->has_grouping) {
        (void) take_closing(p);
    }
    node->end = take_closing(p);
    return node;
}

/* "by (...)" or "without (...)" if it is next. */
static bool
parse_aggr_modifier(nlt_pql_parser_t *p, nlt_pql_aggr_node_t *aggr)
{
    nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);

    if (kind != NLT_PQL_T_BY && kind != NLT_PQL_T_WITHOUT) {
        return true;
    }
    (void) nlt_pql_take(p);
    aggr->without = kind == NLT_PQL_T_WITHOUT;
    aggr->has_grouping = true;
    return nlt_pql_parse_grouping(p, &aggr->grouping);
}

/* After the name of an aggregation; '(', by or without is next. */
static nlt_pql_node_t *
parse_aggregation(nlt_pql_parser_t *p, nlt_pql_token_t name)
{
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_AGGR, name.pos);
    const char *context = p->context, *expected = p->expected;
    args_t args = {0};
    bool ok;

    if (node == NULL) {
        return NULL;
    }
    node->u.aggr.op = (nlt_pql_aggr_t) (name.kind - NLT_PQL_T_SUM);
    p->context = "aggregation";
    p->expected = NULL;
    ok = parse_aggr_modifier(p, &node->u.aggr) && parse_arguments(p, &args);
    p->context = context;
    p->expected = expected;
    if (!ok) {
        return NULL;
    }
    if (!node->u.aggr.has_grouping && !parse_aggr_modifier(p, &node->u.aggr)) {
        return NULL;
    }
    return make_aggregation(p, node, args);
}

static nlt_pql_node_t *
parse_paren(nlt_pql_parser_t *p)
{
    nlt_pql_node_t *node =
        nlt_pql_node(p, NLT_PQL_N_PAREN, nlt_pql_take(p).pos);
    nlt_pql_node_t *inner = node ? expression(p, 1) : NULL;

    if (inner == NULL) {
        return NULL;
    }
    if (!nlt_pql_accept(p, NLT_PQL_T_RIGHT_PAREN)) {
        nlt_pql_syntax(p);
        return NULL;
    }
    if (!nlt_pql_adopt(p, node, inner)) {
        return NULL;
    }
    node->u.paren = inner;
    (void) take_closing(p);
    node->end = p->end;
    return node;
}

/* A sign and its operand; the sign of a number becomes part of it. */
static nlt_pql_node_t *
parse_unary(nlt_pql_parser_t *p)
{
    nlt_pql_token_t sign = nlt_pql_take(p);
    nlt_pql_node_t *inner = expression(p, UNARY_POWER + 1);

    if (inner == NULL) {
        return NULL;
    }
    if (inner->kind == NLT_PQL_N_NUMBER) {
        if (sign.kind == NLT_PQL_T_SUB) {
            inner->u.number.value = -inner->u.number.value;
        }
        inner->start = sign.pos;
        return inner;
    }
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_UNARY, sign.pos);

    if (node == NULL || !nlt_pql_adopt(p, node, inner)) {
        return NULL;
    }
    node->u.unary.negate = sign.kind == NLT_PQL_T_SUB;
    node->u.unary.expr = inner;
    node->end = inner->end;
    return node;
}

static nlt_pql_node_t *
parse_string(nlt_pql_parser_t *p)
{
    nlt_pql_token_t tok = nlt_pql_take(p);
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_STRING, tok.pos);

    if (node == NULL || !nlt_pql_unquote(p, tok, &node->u.string)) {
        return NULL;
    }
    node->end = p->end;
    return node;
}

/* What begins with a word: a selector, a call, an aggregation. */
static nlt_pql_node_t *
parse_named(nlt_pql_parser_t *p)
{
    nlt_pql_token_t name = nlt_pql_take(p);
    nlt_pql_token_class_t class = nlt_pql_token_info(name.kind)->class;
    nlt_pql_token_kind_t next = nlt_pql_peek_kind(p);

    if (next == NLT_PQL_T_LEFT_PAREN
        && (name.kind == NLT_PQL_T_IDENT || class == NLT_PQL_TC_WORD)) {
        return parse_call(p, name);
    }
    if (class == NLT_PQL_TC_AGGR
        && (next == NLT_PQL_T_LEFT_PAREN || next == NLT_PQL_T_BY
            || next == NLT_PQL_T_WITHOUT)) {
        return parse_aggregation(p, name);
    }
    return nlt_pql_parse_vector(p, name);
}

static nlt_pql_node_t *
parse_operand(nlt_pql_parser_t *p)
{
    nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);

    switch (kind) {
    case NLT_PQL_T_NUMBER:
    case NLT_PQL_T_DURATION:
        return nlt_pql_parse_number(p, nlt_pql_take(p));
    case NLT_PQL_T_STRING:
        return parse_string(p);
    case NLT_PQL_T_LEFT_PAREN:
        return parse_paren(p);
    case NLT_PQL_T_LEFT_BRACE:
        return nlt_pql_parse_vector(p,
                                    (nlt_pql_token_t){.kind = NLT_PQL_T_END});
    case NLT_PQL_T_ADD:
    case NLT_PQL_T_SUB:
        return parse_unary(p);
    default:
        break;
    }
    if (nlt_pql_token_info(kind)->metric) {
        return parse_named(p);
    }
    nlt_pql_syntax(p);
    return NULL;
}

/* "(5)" or "(-5)" after fill, fill_left or fill_right. */
static bool
parse_fill_value(nlt_pql_parser_t *p, double *out)
{
    bool negate = false;

    (void) nlt_pql_take(p);
    if (nlt_pql_peek_kind(p) == NLT_PQL_T_ADD
        || nlt_pql_peek_kind(p) == NLT_PQL_T_SUB) {
        negate = nlt_pql_take(p).kind == NLT_PQL_T_SUB;
    }
    if (nlt_pql_peek_kind(p) != NLT_PQL_T_NUMBER
        && nlt_pql_peek_kind(p) != NLT_PQL_T_DURATION) {
        nlt_pql_syntax(p);
        return false;
    }
    nlt_pql_node_t *number = nlt_pql_parse_number(p, nlt_pql_take(p));

    if (number == NULL) {
        return false;
    }
    if (!nlt_pql_accept(p, NLT_PQL_T_RIGHT_PAREN)) {
        nlt_pql_syntax(p);
        return false;
    }
    *out = negate ? -number->u.number.value : number->u.number.value;
    return true;
}

/*
 * The fill modifiers, if any.  The words are modifiers only before '(':
 * "a + fill" adds a metric of that name.
 */
static bool
parse_fill(nlt_pql_parser_t *p, nlt_pql_binary_t *b)
{
    for (;;) {
        nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);
        bool left = kind == NLT_PQL_T_FILL_LEFT && !b->fill_left_set;
        bool right = kind == NLT_PQL_T_FILL_RIGHT && !b->fill_right_set;
        bool both =
            kind == NLT_PQL_T_FILL && !b->fill_left_set && !b->fill_right_set;
        double value;

        if (!left && !right && !both) {
            return true;
        }
        nlt_pql_token_t word = nlt_pql_take(p);

        if (nlt_pql_peek_kind(p) != NLT_PQL_T_LEFT_PAREN) {
            nlt_pql_put_back(p, word);
            return true;
        }
        if (!parse_fill_value(p, &value)) {
            return false;
        }
        if (left || both) {
            b->fill_left_set = true;
            b->fill_left = value;
        }
        if (right || both) {
            b->fill_right_set = true;
            b->fill_right = value;
        }
    }
}

/* group_left or group_right, if it is next. */
static bool
parse_group(nlt_pql_parser_t *p, nlt_pql_binary_t *b)
{
    nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);

    if (kind != NLT_PQL_T_GROUP_LEFT && kind != NLT_PQL_T_GROUP_RIGHT) {
        return true;
    }
    (void) nlt_pql_take(p);
    b->has_group = true;
    b->card = kind == NLT_PQL_T_GROUP_LEFT ? NLT_PQL_CARD_MANY_TO_ONE
                                           : NLT_PQL_CARD_ONE_TO_MANY;
    /* The list may be left out, but then an operand has to follow. */
    if (nlt_pql_peek_kind(p) != NLT_PQL_T_LEFT_PAREN
        && begins_expression(nlt_pql_peek_kind(p))) {
        return true;
    }
    return nlt_pql_parse_grouping(p, &b->include);
}

/* What may stand between a binary operator and its right operand. */
static bool
parse_binary_modifiers(nlt_pql_parser_t *p, nlt_pql_binary_t *b)
{
    b->return_bool = nlt_pql_accept(p, NLT_PQL_T_BOOL);
    nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);

    if (kind == NLT_PQL_T_ON || kind == NLT_PQL_T_IGNORING) {
        (void) nlt_pql_take(p);
        b->has_matching = true;
        b->on = kind == NLT_PQL_T_ON;
        if (!nlt_pql_parse_grouping(p, &b->labels) || !parse_group(p, b)) {
            return false;
        }
    }
    return parse_fill(p, b);
}

/* The operator is next; lhs is its left operand. */
static nlt_pql_node_t *
parse_binary(nlt_pql_parser_t *p, nlt_pql_node_t *lhs, int power)
{
    nlt_pql_token_t op = nlt_pql_take(p);
    nlt_pql_node_t *node = nlt_pql_node(p, NLT_PQL_N_BINARY, lhs->start);

    if (node == NULL) {
        return NULL;
    }
    nlt_pql_binary_t *b = &node->u.binary;

    b->op = (nlt_pql_op_t) (op.kind - NLT_PQL_T_ADD);
    b->op_pos = operator_pos(p, lhs);
    b->lhs = lhs;
    if (!parse_binary_modifiers(p, b)) {
        return NULL;
    }
    b->rhs = expression(p, op.kind == NLT_PQL_T_POW ? power : power + 1);
    if (b->rhs == NULL || !nlt_pql_adopt(p, node, lhs)
        || !nlt_pql_adopt(p, node, b->rhs)) {
        return NULL;
    }
    node->end = b->rhs->end;
    if ((b->fill_left_set || b->fill_right_set)
        && (p->features & NLT_PQL_F_FILL) == 0) {
        nlt_pql_fail(p, node->start,
                     "binop fill modifiers are experimental and not enabled");
        return NULL;
    }
    return node;
}

static nlt_pql_node_t *
expression(nlt_pql_parser_t *p, int power_min)
{
    if (!nlt_pql_enter(p)) {
        return NULL;
    }
    nlt_pql_node_t *node = parse_operand(p);

    while (node != NULL) {
        nlt_pql_token_kind_t kind = nlt_pql_peek_kind(p);
        int power = nlt_pql_token_info(kind)->power;

        if (nlt_pql_is_postfix(kind)) {
            node = nlt_pql_parse_postfix(p, node);
        } else if (power > 0 && power >= power_min) {
            node = parse_binary(p, node, power);
        } else {
            break;
        }
    }
    p->depth--;
    return node;
}

/* ---- entry points ---- */

static void
init(nlt_pql_parser_t *p, nlt_pool_t *pool, nlt_str_t text, unsigned features,
     nlt_err_t *err)
{
    *p = (nlt_pql_parser_t){
        .pool = pool, .text = text, .features = features, .err = err};
    nlt_pql_lex_init(&p->lex, text);
    p->closings = p->lex;
    if (text.len > NLT_PQL_TEXT_MAX) {
        nlt_pql_fail(p, 0, "query is longer than %u bytes", NLT_PQL_TEXT_MAX);
    }
}

nlt_rc_t
nlt_pql_parse(nlt_pool_t *pool, nlt_str_t text, unsigned features,
              nlt_pql_node_t **out, nlt_err_t *err)
{
    nlt_pql_parser_t p;
    nlt_pql_node_t *root = NULL;

    *out = NULL;
    init(&p, pool, text, features, err);
    if (p.rc == NLT_OK) {
        if (nlt_pql_peek_kind(&p) == NLT_PQL_T_END) {
            nlt_pql_fail(&p, 0, "no expression found in input");
        } else {
            root = expression(&p, 1);
        }
        if (root != NULL && nlt_pql_peek_kind(&p) != NLT_PQL_T_END) {
            nlt_pql_syntax(&p);
        }
    }
    if (p.rc == NLT_OK) {
        p.rc = nlt_pql_check(pool, text, root, err);
    }
    *out = p.rc == NLT_OK ? root : NULL;
    return p.rc;
}

nlt_rc_t
nlt_pql_parse_selector(nlt_pool_t *pool, nlt_str_t text, nlt_matcher_t **out,
                       size_t *n, nlt_err_t *err)
{
    nlt_pql_token_t name = {.kind = NLT_PQL_T_END};
    nlt_pql_node_t *node = NULL;
    nlt_pql_parser_t p;

    *out = NULL;
    *n = 0;
    init(&p, pool, text, NLT_PQL_F_DEFAULT, err);
    if (p.rc != NLT_OK) {
        return p.rc;
    }
    if (nlt_pql_token_info(nlt_pql_peek_kind(&p))->metric) {
        name = nlt_pql_take(&p);
    }
    if (name.kind != NLT_PQL_T_END
        || nlt_pql_peek_kind(&p) == NLT_PQL_T_LEFT_BRACE) {
        node = nlt_pql_parse_vector(&p, name);
    } else {
        nlt_pql_syntax(&p);
    }
    if (node != NULL && nlt_pql_peek_kind(&p) != NLT_PQL_T_END) {
        nlt_pql_syntax(&p);
    }
    if (p.rc == NLT_OK) {
        *out = node->u.vector.matchers;
        *n = node->u.vector.n_matchers;
    }
    return p.rc;
}

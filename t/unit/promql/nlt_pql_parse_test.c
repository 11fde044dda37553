/*
 * nlt_pql_parse_test.c - trees, and every error text with its position.
 *
 * Texts and positions are those of Prometheus; where the newest server could
 * be asked, it was.
 */
#include <math.h>

#include "nlt_limits.h"
#include "nlt_pql_duration.h"
#include "nlt_pql_func.h"
#include "nlt_pql_parse.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

typedef struct {
    const char *text;
    const char *error; /* without ": parse error" */
} wrong_t;

/* error is "1:5: text"; what is given is "1:5: parse error: text". */
static void
check_wrong(const wrong_t *w, size_t n, unsigned features)
{
    for (size_t i = 0; i < n; i++) {
        const char *text = strstr(w[i].error, ": ");
        char want[512];
        nlt_pool_t pool;
        nlt_pql_node_t *tree;
        nlt_err_t err = {.len = 0};

        snprintf(want, sizeof(want), "%.*s: parse error%s",
                 (int) (text - w[i].error), w[i].error, text);
        nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
        NLT_CHECK_INT(nlt_pql_parse(&pool, nlt_test_str(w[i].text), features,
                                    &tree, &err),
                      NLT_EINVAL);
        NLT_CHECK(tree == NULL);
        NLT_CHECK_STR(((nlt_str_t){err.len, err.text}), want);
        nlt_pool_deinit(&pool);
    }
}

/* ---- errors ---- */

static const wrong_t unexpected_tokens[] = {
    {"", "unknown position: no expression found in input"},
    {" # c", "1:1: no expression found in input"},
    {"foo bar", "1:5: unexpected identifier \"bar\""},
    {"foo a:b", "1:5: unexpected metric identifier \"a:b\""},
    {"foo 1234567890", "1:5: unexpected number \"1234567890\""},
    {"foo 12345678901", "1:5: unexpected number \"1234567890\"..."},
    {"foo 5m", "1:5: unexpected duration \"5m\""},
    {"foo \"b\"", "1:5: unexpected string \"\\\"b\\\"\""},
    {"foo \"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"",
     "1:5: unexpected string \"\\\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
     "\xc3\xa9\\\"\"..."},
    {"foo == == 1", "1:8: unexpected <op:==>"},
    {"foo % ATAN2 x", "1:7: unexpected <op:ATAN2>"},
    {"@ 1", "1:1: unexpected <op:@>"},
    {"foo SUM", "1:5: unexpected <aggr:SUM>"},
    {"bool", "1:1: unexpected <bool>"},
    {"on", "1:1: unexpected <on>"},
    {"foo start", "1:5: unexpected \"start\""},
    {"foo = 1", "1:5: unexpected \"=\""},
    {"by (x)", "1:4: unexpected \"(\""},
    {"a:b(x)", "1:4: unexpected \"(\""},
    {"foo and", "1:8: unexpected end of input"},
    {"a\n+ \n", "3:1: unexpected end of input"},
    {"(foo + ) bar", "1:8: unexpected \")\""},
    {"()", "1:2: unexpected \")\""},
    {"sum foo", "1:5: unexpected identifier \"foo\""},
    {"sum(foo) bar", "1:10: unexpected identifier \"bar\""},
    {"a + on(x) on(y) b", "1:11: unexpected <on>"},
    {"a + group_left b", "1:5: unexpected <group_left>"},
    {"a + on(x) bool b", "1:11: unexpected <bool>"},
    {"sum(foo bar)", "1:9: unexpected identifier \"bar\" in aggregation"},
    {"sum by (a) foo", "1:12: unexpected identifier \"foo\" in aggregation"},
    {"sum(rate((a b)))", "1:13: unexpected identifier \"b\" in aggregation"},
    {"sum(a) + rate(b c)", "1:17: unexpected identifier \"c\""},
    {"sum by foo", "1:8: unexpected identifier \"foo\" in grouping opts, "
                   "expected \"(\""},
    {"sum(a) without", "1:15: unexpected end of input in grouping opts, "
                       "expected \"(\""},
    {"sum by (a b) (x)", "1:11: unexpected identifier \"b\" in grouping "
                         "opts, expected \",\" or \")\""},
    {"sum by (a,,", "1:11: unexpected \",\" in grouping opts, expected label"},
    {"sum by (inf) (x)",
     "1:9: unexpected number \"inf\" in grouping opts, expected label"},
    {"(a + on(x) group_left )",
     "1:23: unexpected \")\" in grouping opts, expected \"(\""},
    {"foo offset", "1:11: unexpected end of input in offset, expected "
                   "number, duration, step(), or range()"},
    {"foo offset - foo", "1:14: unexpected identifier \"foo\" in offset, "
                         "expected number, duration, step(), or range()"},
    {"foo offset (5m) + bar",
     "1:19: unexpected identifier \"bar\" in offset, expected number, "
     "duration, step(), or range()"},
    {"foo @ x", "1:7: unexpected identifier \"x\" in @, expected timestamp"},
    {"foo @ - - 5", "1:9: unexpected <op:-> in @, expected timestamp"},
    {"foo @ start(5)",
     "1:13: unexpected number \"5\" in @, expected timestamp"},
    {"sum(foo[5m +])", "1:13: unexpected \"]\" in subquery or range "
                       "selector, expected number, duration, step(), or "
                       "range()"},
    {"foo[5m 5m]", "1:8: unexpected duration \"5m\" in subquery or range, "
                   "expected \":\" or \"]\""},
    {"foo[5m:+]", "1:9: unexpected \"]\" in subquery selector, expected "
                  "number, duration, step(), range(), or \"]\""},
    {"foo[5m:1m 2", "1:11: unexpected number \"2\" in subquery selector, "
                    "expected \"]\""},
    {"{a=\"b\" c", "1:8: unexpected identifier \"c\" in label matching, "
                   "expected \",\" or \"}\""},
    {"{\"foo\" c", "1:8: unexpected identifier \"c\" in label matching, "
                   "expected \",\" or \"}\""},
    {"sum({a=b})", "1:8: unexpected identifier \"b\" in label matching, "
                   "expected string"},
    {"{a b}", "1:4: unexpected identifier \"b\" in label matching, expected "
              "label matching operator"},
    {"{a=\"b\",,}", "1:8: unexpected \",\" in label matching, expected "
                    "identifier or \"}\""},
    {"{a==}", "1:4: unexpected \"=\" in label matching, expected string"},
};

static void
unexpected_tokens_are_named_in_their_context(void)
{
    check_wrong(unexpected_tokens, NLT_COUNT(unexpected_tokens),
                NLT_PQL_F_ALL);
}

#define NEEDS_SELECTOR                                                        \
    " modifier must be preceded by an instant vector selector or range "      \
    "vector selector or a subquery"

static const wrong_t grammar_errors[] = {
    {"sum by (\"\") (x)", "1:9: invalid label name for grouping: \"\""},
    {"sum by (a, \"\\xff\") (x)",
     "1:12: invalid label name for grouping: \"\\xff\""},
    {"1 + Rate(foo[5m])", "1:5: unknown function with name \"Rate\""},
    {"sum()", "1:1: no arguments for aggregate expression provided"},
    {"sum(1,2,3)", "1:1: wrong number of arguments for aggregate expression "
                   "provided, expected 1, got 3"},
    {"topk(x) by (y)", "1:1: wrong number of arguments for aggregate "
                       "expression provided, expected 2, got 1"},
    {"rate(foo,)", "1:9: trailing commas not allowed in function call args"},
    {"sum(foo,=", "1:8: trailing commas not allowed in function call args"},
    {"foo[0]", "1:5: duration must be greater than 0"},
    {"foo[-5m]", "1:5: duration must be greater than 0"},
    {"foo[(0)]", "1:6: duration must be greater than 0"},
    {"foo[5m:0s]", "1:8: duration must be greater than 0"},
    {"foo[1e10]", "1:5: duration out of range"},
    {"foo offset -1e10", "1:12: duration out of range"},
    {"1[5m]", "1:2: ranges only allowed for vector selectors"},
    {"foo[5m][5m]", "1:8: ranges only allowed for vector selectors"},
    {"foo offset 5m [5m]", "1:15: no offset modifiers allowed before range"},
    {"foo @ 5 [5m]", "1:9: no @ modifiers allowed before range"},
    {"1 + (foo) offset 5m", "1:5: offset" NEEDS_SELECTOR},
    {"foo offset 5m offset 6m", "1:1: offset may not be set multiple times"},
    {"(foo) @ 5", "1:1: @" NEEDS_SELECTOR},
    {"sum(x) @ end()", "1:1: @" NEEDS_SELECTOR},
    {"rate(foo[5m] @ 3 @ start())",
     "1:6: @ <timestamp> may not be set multiple times"},
    {"1 @ NaN", "1:1: timestamp out of bounds for @ modifier: NaN"},
    {"foo @ -Inf", "1:1: timestamp out of bounds for @ modifier: -Inf"},
    {"foo @ 1e19", "1:1: timestamp out of bounds for @ modifier: "
                   "10000000000000000000.000000"},
    {"foo[5m/0]", "1:7: division by zero"},
    {"foo[5m%(0)]", "1:7: modulo by zero"},
    {"foo anchored smoothed", "1:1: anchored and smoothed modifiers cannot "
                              "be used together"},
    {"1 + a[5m:1m] anchored",
     "1:5: anchored modifier is not supported for subqueries"},
    {"(a) smoothed", "1:1: smoothed modifier not implemented"},
    {"1 + 0x", "1:5: error parsing number: strconv.ParseFloat: parsing "
               "\"0x\": invalid syntax"},
    {"1e1000", "1:1: error parsing number: strconv.ParseFloat: parsing "
               "\"1e1000\": value out of range"},
    {"0xFFFFFFFFFFFFFFFF",
     "1:1: error parsing number: strconv.ParseFloat: parsing "
     "\"0xFFFFFFFFFFFFFFFF\": invalid syntax"},
    {"foo[1m1h]", "1:5: not a valid duration string: \"1m1h\""},
    {"1 + 1hs", "1:5: unknown unit \"hs\" in duration \"1hs\""},
    {"9999999y", "1:1: duration out of range"},
    {"x{a=~\"(\"}", "1:3: error parsing regexp: missing closing ): `(`"},
};

static void
grammar_actions_have_their_errors(void)
{
    check_wrong(grammar_errors, NLT_COUNT(grammar_errors), NLT_PQL_F_ALL);
}

static const wrong_t disabled[] = {
    {"mad_over_time(x[1m])", "1:1: function \"mad_over_time\" is not "
                             "enabled"},
    {"1 + LIMITK(1, x)",
     "1:5: limitk() is experimental and must be enabled with "
     "--enable-feature=promql-experimental-functions"},
    {"foo[5m + 1]", "1:5: experimental duration expression is not enabled"},
    {"foo[(5m)]", "1:6: experimental duration expression is not enabled"},
    {"foo[5m:step()]", "1:8: experimental duration expression is not enabled"},
    {"foo anchored", "1:1: anchored modifier is experimental and not enabled"},
    {"1 smoothed", "1:1: smoothed modifier is experimental and not enabled"},
    {"1 + (a + fill(0) b)",
     "1:6: binop fill modifiers are experimental and not enabled"},
};

static void
features_can_be_off(void)
{
    check_wrong(disabled, NLT_COUNT(disabled), 0);
}

/* The first recorded error is shown, and a token is looked at late. */
static const wrong_t first_errors[] = {
    {"unknown(foo) \"", "1:1: unknown function with name \"unknown\""},
    {"unknown(foo \"", "1:13: unterminated quoted string"},
    {"sum() \"", "1:7: unterminated quoted string"},
    {"sum by (a) () \"", "1:1: no arguments for aggregate expression "
                         "provided"},
    {"{a=~\"(\" x", "1:2: error parsing regexp: missing closing ): `(`"},
    {"1 offset 5m \"", "1:1: offset" NEEDS_SELECTOR},
    {"1 offset (5m) \"", "1:15: unterminated quoted string"},
    {"1[5m] !", "1:2: ranges only allowed for vector selectors"},
    {"foo[0 !", "1:7: unexpected character after '!': '\xef\xbf\xbd'"},
    {"foo[0 5]", "1:5: duration must be greater than 0"},
    {"1 @ 5 \"", "1:1: @" NEEDS_SELECTOR},
    {"0x \"", "1:1: error parsing number: strconv.ParseFloat: parsing "
              "\"0x\": invalid syntax"},
    {"rate(foo, \"", "1:11: unterminated quoted string"},
    {"(a + on(x) group_left )) ]",
     "1:23: unexpected \")\" in grouping opts, expected \"(\""},
    {"a + on(x) group_left )", "1:23: unexpected right parenthesis ')'"},
    {"(\"a\" + 1", "1:9: unclosed left parenthesis"},
};

static void
the_first_recorded_error_is_shown(void)
{
    check_wrong(first_errors, NLT_COUNT(first_errors), NLT_PQL_F_ALL);
}

static const wrong_t type_errors[] = {
    {"sum(1)", "1:5: expected type instant vector in aggregation "
               "expression, got scalar"},
    {"topk(\"a\", x)", "1:6: expected type scalar in aggregation parameter, "
                       "got string"},
    {"count_values(1, x)", "1:14: expected type string in aggregation "
                           "parameter, got scalar"},
    {"topk(x, 1)", "1:9: expected type instant vector in aggregation "
                   "expression, got scalar"},
    {"rate(foo)", "1:6: expected type range vector in call to function "
                  "\"rate\", got instant vector"},
    {"rate(foo[5m], 1)",
     "1:1: expected 1 argument(s) in call to \"rate\", got 2"},
    {"1 + label_join(foo, \"a\")", "1:5: expected at least 3 argument(s) in "
                                   "call to \"label_join\", got 2"},
    {"round()", "1:1: expected at least 1 argument(s) in call to \"round\", "
                "got 0"},
    {"round(a,1,2)", "1:1: expected at most 2 argument(s) in call to "
                     "\"round\", got 3"},
    {"label_join(a,\"b\",\"c\",\"d\",1)",
     "1:26: expected type string in call to function \"label_join\", got "
     "scalar"},
    {"abs(rate(foo))", "1:10: expected type range vector in call to "
                       "function \"rate\", got instant vector"},
    {"info(a, b)", "1:9: expected label selectors only, got vector selector "
                   "instead"},
    {"info(a, ({b=\"c\"}))", "1:9: expected label selectors only"},
    {"info(a, 1)", "1:9: expected type instant vector in call to function "
                   "\"info\", got scalar"},
    {"info(1, b)", "1:9: expected label selectors only, got vector selector "
                   "instead"},
    {"a + bool b",
     "1:3: bool modifier can only be used on comparison operators"},
    {"1 == 2", "1:3: comparisons between scalars must use BOOL modifier"},
    {"a + on(b) group_left(b) c",
     "1:3: label \"b\" must not occur in ON and GROUP clause at once"},
    /* the operator is looked for behind the blanks after its left side, */
    {"a # n\n + bool b",
     "1:3: bool modifier can only be used on comparison operators"},
    /* and ends of calls are those of the ')' that are not taken yet */
    {"sum by (b) (abs(a) + bool b)",
     "1:12: bool modifier can only be used on comparison operators"},
    {"a + on(b) (b) + abs(a) + bool b",
     "1:15: bool modifier can only be used on comparison operators"},
    {"sum(a) by (b) + bool b",
     "1:15: bool modifier can only be used on comparison operators"},
    {"sum by (a, without) (b)",
     "1:12: unexpected <without> in grouping opts, expected label"},
    {"a + \"b\"", "1:5: binary expression must contain only scalar and "
                  "instant vector types"},
    {"a[5m] + \"b\"", "1:1: binary expression must contain only scalar and "
                      "instant vector types"},
    {"(1 + on(a) b)", "1:2: vector matching only allowed between instant "
                      "vectors"},
    {"a + fill(0) 1", "1:1: filling in missing series only allowed between "
                      "instant vectors"},
    {"a and fill(0) b", "1:1: filling in missing series not allowed for set "
                        "operators"},
    {"a or on(b) group_left c",
     "1:1: no grouping allowed for \"or\" operation"},
    {"a unless 1", "1:1: set operator \"unless\" not allowed in binary "
                   "scalar expression"},
    {"1 + -\"a\"", "1:5: unary expression only allowed on expressions of "
                   "type scalar or instant vector, got \"string\""},
    {"-(a[5m])", "1:1: unary expression only allowed on expressions of type "
                 "scalar or instant vector, got \"range vector\""},
    {"a[5m:1m][5m:1m]",
     "1:1: subquery is only allowed on instant vector, got matrix instead"},
    {"1[5m:1m]",
     "1:1: subquery is only allowed on instant vector, got scalar instead"},
    {"1 + a{__name__=~\"b.*\"}",
     "1:5: metric name must not be set twice: \"a\" or \"b.*\""},
    {"a{\"b\"}", "1:1: metric name must not be set twice: \"a\" or \"b\""},
    {"a + {}", "1:5: vector selector must contain at least one non-empty "
               "matcher"},
    {"{a=~\".*\",b!=\"c\",d=\"\",e!~\".+\",\"\"}",
     "1:1: vector selector must contain at least one non-empty matcher"},
    {"(1 == 2) + \"a\"", "1:4: comparisons between scalars must use BOOL "
                         "modifier"},
};

static void
types_are_checked_children_first(void)
{
    check_wrong(type_errors, NLT_COUNT(type_errors), NLT_PQL_F_ALL);
}

/* ---- trees ---- */

static nlt_pool_t pool;
static nlt_err_t err;

static nlt_pql_node_t *
parse(const char *text)
{
    nlt_pql_node_t *tree;

    if (nlt_pql_parse(&pool, nlt_test_str(text), NLT_PQL_F_ALL, &tree, &err)
        != NLT_OK) {
        printf("# %s: %s\n", text, err.text);
        nlt_test_fail(__FILE__, __LINE__, "parses");
        exit(1);
    }
    return tree;
}

static void
check_number(const char *text, double want)
{
    nlt_pql_node_t *n = parse(text);

    NLT_CHECK_INT(n->kind, NLT_PQL_N_NUMBER);
    NLT_CHECK_INT(n->type, NLT_PQL_SCALAR);
    NLT_CHECK_INT(n->start, 0);
    NLT_CHECK_BITS(n->u.number.value, want);
}

static void
numbers_are_read_as_go_reads_them(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    check_number("1", 1);
    check_number("-1", -1);
    check_number("- -+1", 1);
    check_number("-0", -0.0);
    check_number("0x1F", 31);
    check_number("0x_1F", 31);
    check_number("017", 15);
    check_number("0_7", 7);
    check_number("09.5", 9.5);
    check_number("08", 8);
    check_number("1_0.5", 10.5);
    check_number("1_0e1_0", 1e11);
    check_number("9223372036854775807", 9223372036854775807.0);
    check_number("9223372036854775808", 9223372036854775808.0);
    check_number(".5", 0.5);
    check_number("5.", 5);
    check_number("1e-5", 1e-5);
    check_number("-iNf", -INFINITY);
    check_number("1h30m", 5400);
    check_number("5ms", 0.005);
    NLT_CHECK(isnan(parse("nan")->u.number.value));
    NLT_CHECK(parse("-5m")->u.number.is_duration);
    NLT_CHECK(!parse("300")->u.number.is_duration);
    nlt_pool_deinit(&pool);
}

static void
strings_are_unescaped(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_STR(parse("\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"'\"")->u.string,
                  "\a\b\f\n\r\t\v\\\"'");
    NLT_CHECK_STR(parse("'\\x41\\101\\u00e9\\U0001F600\\''")->u.string,
                  "AA\xc3\xa9\xf0\x9f\x98\x80'");
    NLT_CHECK_STR(parse("`\\n\"\n`")->u.string, "\\n\"\n");
    NLT_CHECK_STR(parse("\"\\xc3\\xff\"")->u.string, "\xc3\xff");
    NLT_CHECK_STR(parse("\"\"")->u.string, "");
    nlt_pool_deinit(&pool);
}

/* "(a + (b * c))" of operators and names; for shapes only. */
static void
shape(nlt_buf_t *b, const nlt_pql_node_t *n)
{
    switch (n->kind) {
    case NLT_PQL_N_BINARY:
        nlt_buf_add_c(b, "(");
        shape(b, n->u.binary.lhs);
        nlt_buf_addf(b, " %s ", nlt_pql_op_text(n->u.binary.op));
        shape(b, n->u.binary.rhs);
        nlt_buf_add_c(b, ")");
        break;
    case NLT_PQL_N_UNARY:
        nlt_buf_add_c(b, n->u.unary.negate ? "-" : "+");
        shape(b, n->u.unary.expr);
        break;
    case NLT_PQL_N_VECTOR:
        nlt_buf_add_str(b, n->u.vector.name);
        if (n->u.vector.shift.has_offset) {
            nlt_buf_addf(b, "<%lld>", (long long) n->u.vector.shift.offset.ms);
        }
        break;
    default:
        nlt_buf_addf(b, "?");
        break;
    }
}

static void
check_shape(const char *text, const char *want)
{
    nlt_buf_t b;

    nlt_buf_init(&b, &nlt_mem_libc, 4096);
    shape(&b, parse(text));
    NLT_CHECK_STR(nlt_buf_str(&b), want);
    nlt_buf_deinit(&b);
}

static void
operators_bind_as_documented(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    check_shape("a + b * c ^ d", "(a + (b * (c ^ d)))");
    check_shape("a ^ b ^ c", "(a ^ (b ^ c))");
    check_shape("a - b - c", "((a - b) - c)");
    check_shape("a % b atan2 c / d", "(((a % b) atan2 c) / d)");
    check_shape("a or b and c unless d", "(a or ((b and c) unless d))");
    check_shape("a == b + c", "(a == (b + c))");
    check_shape("a > b </ c >/ d", "(((a > b) </ c) >/ d)");
    check_shape("-a ^ b", "-(a ^ b)");
    check_shape("-a * b", "(-a * b)");
    check_shape("a ^ -b ^ c", "(a ^ -(b ^ c))");
    check_shape("a * -b ^ c * d", "((a * -(b ^ c)) * d)");
    check_shape("--a", "--a");
    check_shape("a + b offset 5m * c", "(a + (b<300000> * c))");
    check_shape("a offset -2 * b", "(a<-2000> * b)");
    check_shape("a offset 2 ^ b", "(a<2000> ^ b)");
    check_shape("a offset -(2) - b", "(a<-2000> - b)");
    nlt_pool_deinit(&pool);
}

static void
keywords_are_names_where_a_name_can_stand(void)
{
    static const char *const names[] = {
        "sum",      "by",    "without", "offset",  "and",       "or",
        "unless",   "start", "end",     "step",    "range",     "min_of",
        "anchored", "fill",  "topk",    "limitk",  "fill_left", "smoothed",
        "max_of",   "group", "foo",     "foo:bar", ":x"};

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    for (size_t i = 0; i < NLT_COUNT(names); i++) {
        nlt_pql_node_t *n = parse(names[i]);

        NLT_CHECK_INT(n->kind, NLT_PQL_N_VECTOR);
        NLT_CHECK_STR(n->u.vector.name, names[i]);
    }
    check_shape("offset offset 1s", "offset<1000>");
    check_shape("and and and", "(and and and)");
    check_shape("a + fill", "(a + fill)");
    check_shape("fill + fill(0) fill", "(fill + fill)");
    nlt_pql_node_t *n =
        parse("sum(sum) by (bool, on, atan2, group_left, sum, start)");

    NLT_CHECK_INT(n->u.aggr.grouping.n, 6);
    NLT_CHECK_STR(n->u.aggr.grouping.v[2], "atan2");
    nlt_pool_deinit(&pool);
}

static void
selectors_keep_matchers_and_shift(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_pql_node_t *n = parse(" m{a!=\"1\",\"b c\"=~'2',} @ -1.5 offset 1w");
    const nlt_pql_vector_t *v = &n->u.vector;

    NLT_CHECK_INT(n->start, 1);
    NLT_CHECK_INT(n->end, 39);
    NLT_CHECK_INT(v->n_matchers, 3);
    NLT_CHECK_STR(v->name, "m");
    NLT_CHECK_INT(v->matchers[0].op, NLT_MATCH_NE);
    NLT_CHECK_INT(v->matchers[1].op, NLT_MATCH_RE);
    NLT_CHECK_STR(v->matchers[1].name, "b c");
    NLT_CHECK_STR(v->matchers[2].name, "__name__");
    NLT_CHECK_STR(v->matchers[2].value, "m");
    NLT_CHECK_INT(v->shift.at, NLT_PQL_AT_TIME);
    NLT_CHECK_INT(v->shift.at_ms, -1500);
    NLT_CHECK_INT(v->shift.offset.ms, 604800000);

    n = parse("{\"m.x\", \"l.y\"=`v`}");
    NLT_CHECK_INT(n->u.vector.name.len, 0);
    NLT_CHECK_STR(n->u.vector.matchers[0].name, "__name__");
    NLT_CHECK_STR(n->u.vector.matchers[0].value, "m.x");

    n = parse("rate(m[5m] offset 1m @ end())");
    n = n->u.call.args[0];
    NLT_CHECK_INT(n->kind, NLT_PQL_N_MATRIX);
    NLT_CHECK_INT(n->u.matrix.range.ms, 300000);
    NLT_CHECK_INT(n->u.matrix.vector->u.vector.shift.at, NLT_PQL_AT_END);
    NLT_CHECK_INT(n->u.matrix.vector->u.vector.shift.offset.ms, 60000);

    n = parse("(a + b)[1h:] offset 0s");
    NLT_CHECK_INT(n->kind, NLT_PQL_N_SUBQUERY);
    NLT_CHECK_INT(n->u.subquery.step.ms, 0);
    NLT_CHECK(!n->u.subquery.shift.has_offset);
    NLT_CHECK_INT(parse("m[0.0001]")->u.matrix.range.ms, 1);
    nlt_pool_deinit(&pool);
}

static void
binary_modifiers_are_kept(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_pql_binary_t *b =
        &parse("a == bool on (x, y) group_right (z) fill_right(-1) "
               "fill_left(2) b")
             ->u.binary;

    NLT_CHECK(b->return_bool && b->on && b->has_group);
    NLT_CHECK_INT(b->op_pos, 2);
    NLT_CHECK_INT(b->card, NLT_PQL_CARD_ONE_TO_MANY);
    NLT_CHECK_STR(b->labels.v[1], "y");
    NLT_CHECK_STR(b->include.v[0], "z");
    NLT_CHECK_BITS(b->fill_left, 2);
    NLT_CHECK_BITS(b->fill_right, -1);
    b = &parse("a and ignoring () b")->u.binary;
    NLT_CHECK_INT(b->card, NLT_PQL_CARD_MANY_TO_MANY);
    b = &parse("1 + on () group_left b")->u.binary;
    NLT_CHECK(!b->has_matching && !b->has_group);
    NLT_CHECK_INT(parse("1 > bool 2")->type, NLT_PQL_SCALAR);
    NLT_CHECK_INT(parse("1 > a")->type, NLT_PQL_VECTOR);
    nlt_pool_deinit(&pool);
}

static void
info_may_select_everything(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_pql_node_t *n = parse("info(a, {})");

    NLT_CHECK_INT(n->u.call.n_args, 2);
    NLT_CHECK_INT(n->u.call.args[1]->u.vector.n_matchers, 0);
    NLT_CHECK_INT(parse("start()")->type, NLT_PQL_SCALAR);
    NLT_CHECK_STR(nlt_test_str(parse("STEP()")->u.call.func->name), "step");
    nlt_pool_deinit(&pool);
}

/* ---- durations ---- */

typedef struct {
    const char *text;  /* a range or offset */
    const char *error; /* or NULL: */
    int64_t ms;
} duration_t;

static void
duration_expressions_are_resolved(void)
{
    /* step() is 10 s, range() 60 s. */
    static const duration_t t[] = {
        {"m[step()]", NULL, 10000},
        {"m[1+(STEP()-5)*2]", NULL, 11000},
        {"m[(((8 - 2) / 3) * 7s) % 4]", NULL, 2000},
        {"m[2^3^0]", NULL, 2000},
        {"m[min_of(step(), range()) + 1ms]", NULL, 10001},
        {"m[max_of(step(), range())]", NULL, 60000},
        {"m[5m - 299.9999]", NULL, 1},
        {"m offset -step()", NULL, -10000},
        {"m offset -(step() + 2)", NULL, -12000},
        {"m offset - -range()", NULL, 60000},
        {"m offset (5) - step()", NULL, -5000},
        {"m offset +(step()*0)", NULL, 0},
        {"m[step() - 10]", "2:13: duration must be greater than 0", 0},
        {"m[(5m - step() * 60)]", "3:19: duration must be greater than 0", 0},
        {"m[1/(step()-10s)]", "2:15: division by zero", 0},
        {"m[1 + 5%(step()-10s)]", "6:19: modulo by zero", 0},
        {"m[0/(1 + 10 * step()) / (10 - step())]", "2:36: division by zero",
         0},
        {"m[(-step())^0.5]", "3:15: duration is NaN or infinite", 0},
        {"m offset (9e99^9)", "10:16: duration out of range", 0},
        {"m offset (9e9^9*step())", "10:22: duration is out of range", 0},
        {"m offset NaN", "9:12: duration is NaN or infinite", 0},
        {"m offset (9e9^99*step())", "10:23: duration is NaN or infinite", 0},
    };

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    for (size_t i = 0; i < NLT_COUNT(t); i++) {
        nlt_pql_node_t *n;
        int64_t ms = 77;

        if (nlt_pql_parse(&pool, nlt_test_str(t[i].text), NLT_PQL_F_ALL, &n,
                          &err)
            != NLT_OK) {
            NLT_CHECK(t[i].error && strstr(t[i].error, "out of range"));
            continue;
        }
        nlt_rc_t rc = nlt_pql_duration_resolve(n->kind == NLT_PQL_N_MATRIX
                                                   ? &n->u.matrix.range
                                                   : &n->u.vector.shift.offset,
                                               10000, 60000, &ms, &err);

        if (t[i].error == NULL) {
            NLT_CHECK_INT(rc, NLT_OK);
            NLT_CHECK_INT(ms, t[i].ms);
        } else {
            NLT_CHECK_INT(rc, NLT_EINVAL);
            NLT_CHECK_STR(((nlt_str_t){err.len, err.text}), t[i].error);
            NLT_CHECK_INT(ms, 77);
        }
    }
    nlt_pool_deinit(&pool);
}

/* ---- bounds ---- */

static nlt_rc_t
parse_repeated(const char *before, const char *unit, size_t n,
               const char *after)
{
    nlt_pql_node_t *tree;
    nlt_buf_t b;
    nlt_rc_t rc;

    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
    nlt_buf_init(&b, &nlt_mem_libc, 64 << 20);
    nlt_buf_add_c(&b, before);
    for (size_t i = 0; i < n; i++) {
        nlt_buf_add_c(&b, unit);
    }
    nlt_buf_add_c(&b, after);
    rc = nlt_pql_parse(&pool, nlt_buf_str(&b), NLT_PQL_F_ALL, &tree, &err);
    nlt_buf_deinit(&b);
    nlt_pool_deinit(&pool);
    return rc;
}

static void
depth_and_size_are_bounded(void)
{
    NLT_CHECK_INT(parse_repeated("1", "+1", NLT_PQL_DEPTH_MAX - 1, ""),
                  NLT_OK);
    NLT_CHECK_INT(parse_repeated("1", "+1", NLT_PQL_DEPTH_MAX, ""),
                  NLT_EINVAL);
    NLT_CHECK(strstr(err.text, "nested more than") != NULL);
    NLT_CHECK_INT(parse_repeated("", "-", NLT_PQL_DEPTH_MAX - 1, "a"), NLT_OK);
    NLT_CHECK_INT(parse_repeated("", "-", 100000, "a"), NLT_EINVAL);
    NLT_CHECK_INT(parse_repeated("", "(", 500000, ""), NLT_EINVAL);
    NLT_CHECK_INT(parse_repeated("a[", "(", 500000, ""), NLT_EINVAL);
    NLT_CHECK_INT(parse_repeated("a[1", "^1", 100000, "]"), NLT_EINVAL);
    NLT_CHECK_INT(parse_repeated("a[1", "-1", 100000, "]"), NLT_EINVAL);
    NLT_CHECK_INT(parse_repeated("a[1m", ":][1m", 100000, ":]"), NLT_EINVAL);
    NLT_CHECK_INT(parse_repeated("a", " offset 0", 50000, ""), NLT_OK);
    NLT_CHECK_INT(parse_repeated("f(1", ",1", NLT_PQL_NODES_MAX, ")"),
                  NLT_EINVAL);
    NLT_CHECK(strstr(err.text, "parts") != NULL);
    NLT_CHECK_INT(parse_repeated("", " ", NLT_PQL_TEXT_MAX, "a"), NLT_EINVAL);
    NLT_CHECK(strstr(err.text, "longer than") != NULL);
}

static void
every_failing_allocation_is_enomem(void)
{
    static const char text[] =
        "sum by (a, b, c, d, e) (rate(m{a=\"\\x41\",b=~\"x+\",c=\"d\",e=\"f\","
        "g=\"h\"}[step() + 1] offset -min_of(1,2))) + on (x) group_left (y) "
        "label_replace(n, \"a\", \"b\", \"c\", \"d\")";
    nlt_test_mem_t mem;
    int fail_at = 0, n_refused = 0;

    do {
        nlt_pool_t p;
        nlt_pql_node_t *tree;

        nlt_test_mem_init(&mem, fail_at++);
        nlt_pool_init(&p, &mem.mem, 1 << 20);
        nlt_rc_t rc =
            nlt_pql_parse(&p, NLT_STR(text), NLT_PQL_F_ALL, &tree, &err);

        /* A regex can do without its machine code. */
        NLT_CHECK(rc == NLT_OK || (rc == NLT_ENOMEM && mem.failed));
        n_refused += rc == NLT_ENOMEM;
        NLT_CHECK((tree != NULL) == (rc == NLT_OK));
        nlt_pool_deinit(&p);
        NLT_CHECK_INT(mem.bytes, 0);
    } while (mem.failed > 0 && fail_at < 500);
    NLT_CHECK(n_refused > 0 && fail_at < 500);
}

/* The pool's budget, at every size: the same from inside. */
static void
every_budget_is_respected(void)
{
    static const char text[] =
        "sum by (a, b) (rate(m{a=\"\\x41\",b=~\"x+\"}[step()] offset 1)) + n";
    nlt_rc_t rc = NLT_ENOMEM;

    for (size_t budget = 0; budget < 1 << 20 && rc != NLT_OK; budget += 512) {
        nlt_pool_t p;
        nlt_pql_node_t *tree;

        nlt_pool_init(&p, &nlt_mem_libc, budget);
        rc = nlt_pql_parse(&p, NLT_STR(text), NLT_PQL_F_ALL, &tree, &err);
        NLT_CHECK(rc == NLT_OK || rc == NLT_ENOMEM);
        nlt_pool_deinit(&p);
    }
    NLT_CHECK_INT(rc, NLT_OK);
}

/* ---- match[] ---- */

static void
lone_selectors(void)
{
    static const wrong_t t[] = {
        {"", "unknown position: parse error: unexpected end of input"},
        {"1", "1:1: parse error: unexpected number \"1\""},
        {"a[5m]", "1:2: parse error: unexpected \"[\""},
        {"a offset 5m", "1:3: parse error: unexpected <offset>"},
        {"a{b", "1:4: parse error: unexpected end of input inside braces"},
        {"sum(a)", "1:4: parse error: unexpected \"(\""},
        {"(a)", "1:1: parse error: unexpected \"(\""},
    };
    nlt_matcher_t *m;
    size_t n;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    for (size_t i = 0; i < NLT_COUNT(t); i++) {
        NLT_CHECK_INT(nlt_pql_parse_selector(&pool, nlt_test_str(t[i].text),
                                             &m, &n, &err),
                      NLT_EINVAL);
        NLT_CHECK_STR(((nlt_str_t){err.len, err.text}), t[i].error);
        NLT_CHECK_INT(n, 0);
    }
    NLT_CHECK_INT(nlt_pql_parse_selector(&pool, NLT_STR("up{a=~\"b\"} # c"),
                                         &m, &n, &err),
                  NLT_OK);
    NLT_CHECK_INT(n, 2);
    NLT_CHECK_STR(m[0].name, "a");
    NLT_CHECK_STR(m[1].value, "up");
    NLT_CHECK_INT(nlt_pql_parse_selector(&pool, NLT_STR("{}"), &m, &n, &err),
                  NLT_OK);
    NLT_CHECK_INT(n, 0);
    NLT_CHECK_INT(
        nlt_pql_parse_selector(&pool, NLT_STR("sum{\"b\"}"), &m, &n, &err),
        NLT_OK);
    NLT_CHECK_INT(n, 2);
    nlt_pool_deinit(&pool);
}

int
main(void)
{
    NLT_TEST(unexpected_tokens_are_named_in_their_context);
    NLT_TEST(grammar_actions_have_their_errors);
    NLT_TEST(features_can_be_off);
    NLT_TEST(the_first_recorded_error_is_shown);
    NLT_TEST(types_are_checked_children_first);
    NLT_TEST(numbers_are_read_as_go_reads_them);
    NLT_TEST(strings_are_unescaped);
    NLT_TEST(operators_bind_as_documented);
    NLT_TEST(keywords_are_names_where_a_name_can_stand);
    NLT_TEST(selectors_keep_matchers_and_shift);
    NLT_TEST(binary_modifiers_are_kept);
    NLT_TEST(info_may_select_everything);
    NLT_TEST(duration_expressions_are_resolved);
    NLT_TEST(depth_and_size_are_bounded);
    NLT_TEST(every_failing_allocation_is_enomem);
    NLT_TEST(every_budget_is_respected);
    NLT_TEST(lone_selectors);
    return nlt_test_done();
}

/*
 * nlt_pql_lex_test.c - tokens in their three places, and errors of the lexer
 * with their positions.
 */
#include "nlt_mem.h"
#include "nlt_pql_lex.h"
#include "nlt_test.h"

/* The kinds of all tokens as letters of their text, for short tables. */
static const char *
name_of(nlt_pql_token_kind_t kind)
{
    static const char *const names[] = {
#define NAME(name, text, class, power, metric) [NLT_PQL_T_##name] = #name,
        NLT_PQL_TOKENS(NAME)
#undef NAME
    };

    return names[kind];
}

/* "NUMBER@0 ADD@2 END@4": kinds and positions. */
static void
check_tokens(const char *text, const char *want)
{
    char got[1024];
    size_t n = 0;
    nlt_pql_lex_t lex;
    nlt_pql_token_t tok;

    nlt_pql_lex_init(&lex, nlt_test_str(text));
    do {
        tok = nlt_pql_lex_next(&lex);
        n += (size_t) snprintf(got + n, sizeof(got) - n, "%s%s@%d",
                               n ? " " : "", name_of(tok.kind), (int) tok.pos);
    } while (tok.kind != NLT_PQL_T_END && tok.kind != NLT_PQL_T_ERROR
             && n < sizeof(got) - 64);
    NLT_CHECK_STR(nlt_test_str(got), want);
}

/* The first error of a text and where it is. */
static void
check_error_n(const char *text, size_t len, int pos, const char *want)
{
    nlt_pql_lex_t lex;
    nlt_pql_token_t tok;
    nlt_buf_t b;

    nlt_pql_lex_init(&lex, (nlt_str_t){len, text});
    do {
        tok = nlt_pql_lex_next(&lex);
    } while (tok.kind != NLT_PQL_T_END && tok.kind != NLT_PQL_T_ERROR);
    NLT_CHECK_INT(tok.kind, NLT_PQL_T_ERROR);
    nlt_buf_init(&b, &nlt_mem_libc, 4096);
    if (tok.kind == NLT_PQL_T_ERROR) {
        nlt_pql_lex_error(&lex, &b);
    }
    NLT_CHECK_STR(nlt_buf_str(&b), want);
    NLT_CHECK_INT(tok.pos, pos);
    nlt_buf_deinit(&b);
}

static void
check_error(const char *text, int pos, const char *want)
{
    check_error_n(text, strlen(text), pos, want);
}

static void
words_are_keywords_in_any_case_outside_braces(void)
{
    check_tokens("sum BY (a)", "SUM@0 BY@4 LEFT_PAREN@7 IDENT@8 "
                               "RIGHT_PAREN@9 END@10");
    check_tokens("a:b :c Group_Left groupleft",
                 "METRIC_IDENT@0 METRIC_IDENT@4 GROUP_LEFT@7 IDENT@18 END@27");
    check_tokens("{sum=\"by\"}", "LEFT_BRACE@0 IDENT@1 ASSIGN@4 STRING@5 "
                                 "RIGHT_BRACE@9 END@10");
    check_tokens("inf NaN iNF infx",
                 "NUMBER@0 NUMBER@4 NUMBER@8 IDENT@12 END@16");
    check_tokens("min_of MAX_OF start end step range",
                 "MIN_OF@0 MAX_OF@7 START@14 END_OF@20 STEP@24 RANGE@29 "
                 "END@34");
}

static void
every_word_of_the_list_is_found(void)
{
    for (int k = 0; k < NLT_PQL_TOKEN_KINDS; k++) {
        const nlt_pql_token_info_t *info =
            nlt_pql_token_info((nlt_pql_token_kind_t) k);
        nlt_pql_lex_t lex;

        if (info->word) {
            nlt_pql_lex_init(&lex, nlt_test_str(info->text));
            NLT_CHECK_INT(nlt_pql_lex_next(&lex).kind, k);
            NLT_CHECK_INT(nlt_pql_lex_next(&lex).kind, NLT_PQL_T_END);
        }
    }
}

static void
operators_are_as_long_as_they_can_be(void)
{
    check_tokens("<=<</>=>/>==!=", "LE@0 LT@2 TRIM_UPPER@3 GE@5 TRIM_LOWER@7 "
                                   "GE@9 ASSIGN@11 NE@12 END@14");
    check_tokens("+-*/%^@,=", "ADD@0 SUB@1 MUL@2 DIV@3 MOD@4 POW@5 AT@6 "
                              "COMMA@7 ASSIGN@8 END@9");
    check_tokens("{=~!~!==", "LEFT_BRACE@0 MATCH_RE@1 MATCH_NRE@3 NE@5 "
                             "ASSIGN@7 ERROR@8");
}

static void
numbers_and_durations_are_told_apart(void)
{
    check_tokens("1 1.5 .5 5. 1e5 1E-5 0x1F 1_000",
                 "NUMBER@0 NUMBER@2 NUMBER@6 NUMBER@9 NUMBER@12 NUMBER@16 "
                 "NUMBER@21 NUMBER@26 END@31");
    check_tokens("5m 1h30m 1d 5ms 1y2w3d4h5m6s7ms",
                 "DURATION@0 DURATION@3 DURATION@9 DURATION@12 DURATION@16 "
                 "END@31");
    check_error("5x", 0, "bad number or duration syntax: \"5\"");
    check_error("5m5", 0, "bad number or duration syntax: \"5m5\"");
    check_error("a 1.2.3", 2, "bad number or duration syntax: \"1.2.\"");
    check_error("1mm", 0, "bad number or duration syntax: \"1mm\"");
    check_error("1e", 0, "bad number or duration syntax: \"1e\"");
    check_error("0xg", 0, "bad number or duration syntax: \"0x\"");
    check_error("1__0", 0, "bad number or duration syntax: \"1__\"");
    check_error("0x1ee", 0, "bad number or duration syntax: \"0x1ee\"");
    check_error("1d1y", 0, "bad number or duration syntax: \"1d1\"");
}

static void
brackets_have_a_language_of_their_own(void)
{
    check_tokens("a[ (STEP()-1m)*2: 5m ]",
                 "IDENT@0 LEFT_BRACKET@1 LEFT_PAREN@3 STEP@4 LEFT_PAREN@8 "
                 "RIGHT_PAREN@9 SUB@10 DURATION@11 RIGHT_PAREN@13 MUL@14 "
                 "NUMBER@15 COLON@16 DURATION@18 RIGHT_BRACKET@21 END@22");
    check_tokens("a[min_of(step(),1)] # x",
                 "IDENT@0 LEFT_BRACKET@1 MIN_OF@2 LEFT_PAREN@8 STEP@9 "
                 "LEFT_PAREN@13 RIGHT_PAREN@14 COMMA@15 NUMBER@16 "
                 "RIGHT_PAREN@17 RIGHT_BRACKET@18 END@23");
    check_error("a[", 2, "unexpected end of input in duration expression");
    check_error("a[sum]", 2,
                "unexpected character in duration expression: 's'");
    check_error("a[#", 2, "unexpected character in duration expression: '#'");
    check_error("a[:5m]", 3,
                "unexpected colon before duration in duration "
                "expression");
    check_error("a[5m:1m:1m]", 7, "unexpected colon ':'");
    check_error("a[5m:x]", 5, "unexpected character: 'x', expected ':'");
    check_error("a[5m stop]", 5, "unexpected character: 's', expected ':'");
    check_error("a[5m] b[step()::1m]", 16,
                "unexpected repeated colon in duration expression");
    check_error("a[5m[", 4, "unexpected left bracket '['");
    check_error("a[5m", 4, "unclosed left bracket");
    check_error("a]", 1, "unexpected right bracket ']'");
}

static void
errors_of_braces(void)
{
    check_error("{a", 2, "unexpected end of input inside braces");
    check_error("{a!}", 2,
                "unexpected character after '!' inside braces: "
                "'}'");
    check_error("{{", 1, "unexpected left brace '{'");
    check_error("{a~", 2, "unexpected character inside braces: '~'");
    check_error("a}", 1, "unexpected character: '}'");
}

static void
errors_outside(void)
{
    check_error("(a", 2, "unclosed left parenthesis");
    check_error("a)", 2, "unexpected right parenthesis ')'");
    check_error("a=~b", 1, "unexpected character after '=': '~'");
    check_error("a!~b", 1, "unexpected character after '!': '~'");
    check_error("a!", 1,
                "unexpected character after '!': "
                "'\xef\xbf\xbd'");
    check_error("\xc3\xa9", 0, "unexpected character: '\xc3\xa9'");
    check_error(" \xff", 1, "unexpected character: '\xef\xbf\xbd'");
    check_error_n("a\0b", 3, 1, "unexpected character: '\\x00'");
}

static void
strings_and_their_escapes(void)
{
    check_tokens("\"\\\"\\x41\\101\\u00e9\\U0001F600\\\\\" '\\'' `\\`",
                 "STRING@0 STRING@31 STRING@36 END@39");
    check_error("\"a", 0, "unterminated quoted string");
    check_error("\"a\nb\"", 0, "unterminated quoted string");
    check_error("`a", 0, "unterminated raw string");
    check_error("a \"\xff\"", 2, "invalid UTF-8 rune");
    check_error("`\xef\xbf\xbd`", 0, "invalid UTF-8 rune");
    check_error("\"\\", 0, "escape sequence not terminated");
    check_error("\"\\x4", 0, "escape sequence not terminated");
    check_error("\"\\q\"", 0, "unknown escape sequence U+0071 'q'");
    check_error("'\\\"'", 0, "unknown escape sequence U+0022 '\"'");
    check_error("\"\\\n\"", 0, "unknown escape sequence U+000A");
    check_error("\"\\x4\"", 0,
                "illegal character U+0022 '\"' in escape sequence");
    check_error("\"\\400\"", 0,
                "escape sequence is an invalid Unicode code point");
    check_error("\"\\ud800\"", 0,
                "escape sequence is an invalid Unicode code point");
    check_error("\"\\U00110000\"", 0,
                "escape sequence is an invalid Unicode code point");
}

static void
comments_end_at_the_line(void)
{
    check_tokens("a # b\n+ c#d", "IDENT@0 ADD@6 IDENT@8 END@11");
    check_tokens("{ # }\r a}", "LEFT_BRACE@0 IDENT@7 RIGHT_BRACE@8 END@9");
    check_tokens("# only", "END@6");
}

static void
positions_are_lines_and_byte_columns(void)
{
    nlt_str_t text = NLT_STR("ab\n\xc3\xa9x\n");
    const size_t want[][3] = {{0, 1, 1}, {2, 1, 3}, {3, 2, 1},
                              {5, 2, 3}, {6, 2, 4}, {7, 3, 1}};

    for (size_t i = 0; i < NLT_COUNT(want); i++) {
        size_t line, column;

        nlt_pql_position(text, want[i][0], &line, &column);
        NLT_CHECK_INT(line, want[i][1]);
        NLT_CHECK_INT(column, want[i][2]);
    }
}

int
main(void)
{
    NLT_TEST(words_are_keywords_in_any_case_outside_braces);
    NLT_TEST(every_word_of_the_list_is_found);
    NLT_TEST(operators_are_as_long_as_they_can_be);
    NLT_TEST(numbers_and_durations_are_told_apart);
    NLT_TEST(brackets_have_a_language_of_their_own);
    NLT_TEST(errors_of_braces);
    NLT_TEST(errors_outside);
    NLT_TEST(strings_and_their_escapes);
    NLT_TEST(comments_end_at_the_line);
    NLT_TEST(positions_are_lines_and_byte_columns);
    return nlt_test_done();
}

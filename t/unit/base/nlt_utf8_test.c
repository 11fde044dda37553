/* nlt_utf8_test.c - every code point, hostile bytes, and Go's quotes. */
#include "nlt_utf8.h"
#include "nlt_test.h"

static void
every_code_point_goes_there_and_back(void)
{
    for (uint32_t rune = 0; rune < 0x110400; rune++) {
        char out[4];
        uint32_t back;
        nlt_str_t s = {nlt_utf8_encode(out, rune), out};
        bool valid = rune < 0x110000 && (rune < 0xd800 || rune > 0xdfff);

        NLT_CHECK(nlt_utf8_valid(s));
        NLT_CHECK_INT(nlt_utf8_decode(s, &back), s.len);
        NLT_CHECK_INT(back, valid ? rune : 0xfffd);
        for (size_t n = 1; n < s.len; n++) {
            NLT_CHECK(!nlt_utf8_valid((nlt_str_t){n, out}));
            NLT_CHECK_INT(nlt_utf8_decode((nlt_str_t){n, out}, &back), 1);
            NLT_CHECK_INT(back, 0xfffd);
        }
    }
}

static void
invalid_bytes_are_refused_wherever_they_stand(void)
{
    static const char *const bad[] = {
        "\x80",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
        "\xe2\x28\xa1",
        "\xe2\x82\x28",
    };

    for (size_t i = 0; i < NLT_COUNT(bad); i++) {
        char s[40];
        size_t len = strlen(bad[i]);

        for (size_t at = 0; at < 20; at++) {
            memset(s, 'x', sizeof(s));
            memcpy(s + at, bad[i], len);
            NLT_CHECK(!nlt_utf8_valid((nlt_str_t){30, s}));
            NLT_CHECK(nlt_utf8_valid((nlt_str_t){at, s}));
        }
    }
    NLT_CHECK(nlt_utf8_valid((nlt_str_t){0, NULL}));
    NLT_CHECK(nlt_utf8_valid(NLT_STR("12345678\xc3\xa9"
                                     "12345678")));
}

static void
check_quote(nlt_str_t s, const char *want)
{
    nlt_buf_t b;

    nlt_buf_init(&b, &nlt_mem_libc, 1000);
    nlt_utf8_quote(&b, s);
    NLT_CHECK_STR(nlt_buf_str(&b), want);
    nlt_buf_deinit(&b);
}

static void
quotes_are_those_of_go(void)
{
    check_quote(NLT_STR(""), "\"\"");
    check_quote(NLT_STR("a'\"\\b"), "\"a'\\\"\\\\b\"");
    check_quote(NLT_STR("\a\b\f\n\r\t\v"), "\"\\a\\b\\f\\n\\r\\t\\v\"");
    check_quote((nlt_str_t){2, "\0\x1f"}, "\"\\x00\\x1f\"");
    check_quote(NLT_STR("\x7f"), "\"\\x7f\"");
    check_quote(NLT_STR("\xff\xc3"), "\"\\xff\\xc3\"");
    check_quote(NLT_STR("\xc3\xa9\xe4\xb8\x96"), "\"\xc3\xa9\xe4\xb8\x96\"");
    check_quote(NLT_STR("\xc2\x80"), "\"\\u0080\"");
    check_quote(NLT_STR("\xc2\xa0"), "\"\\u00a0\"");
    check_quote(NLT_STR("\xe2\x80\xa8"), "\"\\u2028\"");
    check_quote(NLT_STR("\xef\xbb\xbf"), "\"\\ufeff\"");
    check_quote(NLT_STR("\xef\xbf\xbd"), "\"\xef\xbf\xbd\"");
    check_quote(NLT_STR("\xf0\x9f\x98\x80"), "\"\xf0\x9f\x98\x80\"");
    check_quote(NLT_STR("\xf4\x8f\xbf\xbf"), "\"\\U0010ffff\"");
    check_quote(NLT_STR("\xf3\xa0\x80\x81"), "\"\\U000e0001\"");
}

static void
check_quote_rune(uint32_t rune, const char *want)
{
    nlt_buf_t b;

    nlt_buf_init(&b, &nlt_mem_libc, 1000);
    nlt_utf8_quote_rune(&b, rune);
    NLT_CHECK_STR(nlt_buf_str(&b), want);
    nlt_buf_deinit(&b);
}

static void
quoted_runes_are_those_of_go(void)
{
    check_quote_rune('x', "'x'");
    check_quote_rune('\'', "'\\''");
    check_quote_rune('"', "'\"'");
    check_quote_rune('\n', "'\\n'");
    check_quote_rune(0, "'\\x00'");
    check_quote_rune(0xe9, "'\xc3\xa9'");
    check_quote_rune(0x110000, "'\xef\xbf\xbd'");
    check_quote_rune(0xd800, "'\xef\xbf\xbd'");
}

static void
printable_follows_the_categories(void)
{
    size_t n = 0;

    NLT_CHECK(nlt_utf8_printable(' ') && nlt_utf8_printable('~'));
    NLT_CHECK(!nlt_utf8_printable(0x1f) && !nlt_utf8_printable(0x7f));
    NLT_CHECK(!nlt_utf8_printable(0xa0) && nlt_utf8_printable(0xa1));
    NLT_CHECK(!nlt_utf8_printable(0xad) && nlt_utf8_printable(0xae));
    NLT_CHECK(!nlt_utf8_printable(0x378) && nlt_utf8_printable(0x377));
    NLT_CHECK(!nlt_utf8_printable(0x3000) && nlt_utf8_printable(0x3001));
    NLT_CHECK(!nlt_utf8_printable(0xe000) && !nlt_utf8_printable(0xffff));
    NLT_CHECK(nlt_utf8_printable(0x10000) && !nlt_utf8_printable(0x1000c));
    NLT_CHECK(nlt_utf8_printable(0x323af) && !nlt_utf8_printable(0x323b0));
    NLT_CHECK(!nlt_utf8_printable(0x10ffff) && !nlt_utf8_printable(0x110000));
    for (uint32_t rune = 0; rune < 0x110000; rune++) {
        n += nlt_utf8_printable(rune);
    }
    /* Letters, marks, numbers, punctuation, symbols of 15.0, and space. */
    NLT_CHECK_INT(n, 148998);
}

int
main(void)
{
    NLT_TEST(every_code_point_goes_there_and_back);
    NLT_TEST(invalid_bytes_are_refused_wherever_they_stand);
    NLT_TEST(quotes_are_those_of_go);
    NLT_TEST(quoted_runes_are_those_of_go);
    NLT_TEST(printable_follows_the_categories);
    return nlt_test_done();
}

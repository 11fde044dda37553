/*
 * nlt_regex_test.c - errors as RE2 says them, and matching against a slow
 * twin: random trees, printed as patterns and evaluated by sets of positions.
 */
#include "nlt_regex.h"
#include "nlt_buf.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

/* ---- errors ---- */

static const char *
error_of(const char *pattern)
{
    static nlt_err_t err;
    nlt_pool_t pool;
    nlt_regex_t *re;

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_rc_t rc = nlt_regex_compile(&pool, nlt_test_str(pattern), &re, &err);
    nlt_regex_destroy(re);
    nlt_pool_deinit(&pool);
    if (rc == NLT_OK) {
        return "ok";
    }
    const char *head = "error parsing regexp: ";
    NLT_CHECK(strncmp(err.text, head, strlen(head)) == 0);
    return err.text + strlen(head);
}

/* Compared with promtool 3.5 once; the texts are its. */
static const char *const errors[][2] = {
    {"(", "missing closing ): `(`"},
    {"x(a", "missing closing ): `x(a`"},
    {")", "unexpected ): `)`"},
    {"a)b", "unexpected ): `a)b`"},
    {"a[bc", "missing closing ]: `[bc`"},
    {"[]", "missing closing ]: `[]`"},
    {"*", "missing argument to repetition operator: `*`"},
    {"(*)", "missing argument to repetition operator: `*`"},
    {"a|+?", "missing argument to repetition operator: `+?`"},
    {"a**", "invalid nested repetition operator: `**`"},
    {"a+?*b", "invalid nested repetition operator: `+?*`"},
    {"a{2}{3}", "invalid nested repetition operator: `{2}{3}`"},
    {"a{1001}", "invalid repeat count: `{1001}`"},
    {"a{2,1}", "invalid repeat count: `{2,1}`"},
    {"(a{100}){11}", "invalid repeat count: `{11}`"},
    {"(a{100}){10}", "ok"},
    {"((a{0}){100}){20}", "invalid repeat count: `{20}`"},
    {"a{,5}", "ok"},
    {"a{01}", "ok"},
    {"a{", "ok"},
    {"[z-a]", "invalid character class range: `z-a`"},
    {"[[:foo:]]", "invalid character class range: `[:foo:]`"},
    {"[a-\\d]", "invalid escape sequence: `\\d`"},
    {"\\pX", "invalid character class range: `\\pX`"},
    {"\\p{greek}", "invalid character class range: `\\p{greek}`"},
    {"\\p{Greek", "invalid character class range: `\\p{Greek`"},
    {"\\q", "invalid escape sequence: `\\q`"},
    {"\\8", "invalid escape sequence: `\\8`"},
    {"\\1", "invalid escape sequence: `\\1`"},
    {"\\xg1", "invalid escape sequence: `\\xg1`"},
    {"\\x{110000}", "invalid escape sequence: `\\x{110000`"},
    {"\\C", "invalid escape sequence: `\\C`"},
    {"\\Z", "invalid escape sequence: `\\Z`"},
    {"(?P<n", "invalid named capture: `(?P<n`"},
    {"(?P<a-b>c)", "invalid named capture: `(?P<a-b>`"},
    {"(?P=n)", "invalid or unsupported Perl syntax: `(?P`"},
    {"(?=a)", "invalid or unsupported Perl syntax: `(?=`"},
    {"(?!a)", "invalid or unsupported Perl syntax: `(?!`"},
    {"(?<!a)", "invalid named capture: `(?<!a)`"},
    {"(?>a)", "invalid or unsupported Perl syntax: `(?>`"},
    {"(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"},
    {"(?", "invalid or unsupported Perl syntax: `(?`"},
    {"a++", "invalid nested repetition operator: `++`"},
    {"\\", "trailing backslash at end of expression: ``"},
    {"a\xff"
     "b",
     "invalid UTF-8: `\xff"
     "b`"},
    {"(?#x)", "invalid or unsupported Perl syntax: `(?#`"},
    {"[[.a.]]", "ok"},
    {"\\p{Greek}\\P{^Han}[\\pL\\PN]", "ok"},
    {"(?P<n>a)(?<m>b)", "ok"},
};

static void
errors_have_the_texts_of_re2(void)
{
    for (size_t i = 0; i < NLT_COUNT(errors); i++) {
        const char *got = error_of(errors[i][0]);

        if (strcmp(got, errors[i][1]) != 0) {
            printf("# pattern %s\n", errors[i][0]);
        }
        NLT_CHECK_STR(nlt_test_str(got), errors[i][1]);
    }
}

static void
deep_and_large_patterns_are_refused(void)
{
    char *deep = malloc(8001);
    nlt_str_t text;

    memset(deep, '(', 3000);
    memset(deep + 3000, ')', 3000);
    deep[6000] = '\0';
    text = nlt_test_str(error_of(deep));
    NLT_CHECK(text.len > 20
              && memcmp(text.data, "expression nests too deeply", 27) == 0);
    memset(deep, '(', 900);
    memset(deep + 900, ')', 900);
    deep[1800] = '\0';
    NLT_CHECK_STR(nlt_test_str(error_of(deep)), "ok");
    /* 8000 / 7 times 1000 times nothing small: Go's own bound is far. */
    deep[0] = '\0';
    for (int i = 0; i < 1000; i++) {
        strcat(deep, "(ab.){9}");
    }
    text = nlt_test_str(error_of(deep));
    NLT_CHECK(text.len >= 2);
    free(deep);
    NLT_CHECK_STR(
        nlt_test_str(error_of("((((a{10}){10}){10}b{1000}){1}.{1000}){1}")),
        "ok");
}

/* ---- matching ---- */

/* 1 yes, 0 no, -1 error. */
static int
matches(const char *pattern, const char *s)
{
    nlt_pool_t pool;
    nlt_regex_t *re;
    nlt_err_t err;
    int answer = -1;

    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    if (nlt_regex_compile(&pool, nlt_test_str(pattern), &re, &err) == NLT_OK) {
        nlt_rc_t rc = nlt_regex_match(re, nlt_test_str(s));

        answer = rc == NLT_OK ? 1 : rc == NLT_EOF ? 0 : -1;
    } else {
        printf("# %s: %s\n", pattern, err.text);
    }
    nlt_regex_destroy(re);
    nlt_pool_deinit(&pool);
    return answer;
}

static const struct {
    const char *pattern;
    const char *yes[4];
    const char *no[4];
} cases[] = {
    {"", {""}, {"a"}},
    {"foo", {"foo"}, {"fo", "fooo", "xfoo", ""}},
    {"^foo$", {"foo"}, {"foo\n", "xfoo"}},
    {"foo|bar", {"foo", "bar"}, {"foobar", "", "ba"}},
    {"(?:foo|bar)baz?", {"fooba", "barbaz"}, {"foo", "baz"}},
    {"a[12]", {"a1", "a2"}, {"a", "a3", "a12"}},
    {".*", {"", "a", "a\nb"}, {NULL}},
    {".+", {"a", "\n", "\xc3\xa9"}, {""}},
    {"foo.*", {"foo", "foobar", "foo\n"}, {"fo", "xfoo"}},
    {".*foo", {"foo", "xfoo"}, {"foox", "fo"}},
    {".*foo.*", {"foo", "xfoox"}, {"fo", "of"}},
    {"a.*a", {"aa", "aba"}, {"a", "ab"}},
    {"a.+a", {"aba", "aaa"}, {"aa", "a"}},
    {".+.+", {"ab", "\xc3\xa9x"}, {"\xc3\xa9", "a"}},
    {"a.*b.*a", {"aba", "axbxa"}, {"aa", "ab", "ba"}},
    {"a.*|b.*c", {"a", "axx", "bc", "bxc"}, {"b", "xc"}},
    {"(?i)Foo", {"foo", "FOO", "fOo"}, {"fo"}},
    {"(?i:a)b", {"ab", "Ab"}, {"aB"}},
    {"(?i)k", {"k", "K", "\xe2\x84\xaa"}, {"x"}},
    {"(?i)\\W", {"-", "\xc3\xa9"}, {"\xe2\x84\xaa", "k"}},
    {"(?i)[[:^lower:]]", {"1"}, {"A", "a"}},
    {"(?-s).", {"a"}, {"\n"}},
    {"(?m)a$\n^b", {"a\nb"}, {"ab"}},
    {"(?m)a\n^", {"a\n"}, {"a"}},
    {"(?m)^a$\n?^?$", {"a", "a\n"}, {"ab"}},
    {"a$b", {NULL}, {"ab", "a"}},
    {"a^b", {NULL}, {"ab", "b"}},
    {"(?:^a|b)(?:c$|d)", {"ac", "bd"}, {"a", "acd"}},
    {"(?:x|)^a", {"a"}, {"xa"}},
    {"\\Aa\\z", {"a"}, {"a\n"}},
    {"\\Qa.b\\E.", {"a.bc"}, {"axbc", "a.b"}},
    {"\\Qa*", {"a*"}, {"aa"}},
    {"\\d+\\s\\w", {"12 x", "1\ta"}, {"1\vx", "x x"}},
    {"\\D", {"x", "\xc3\xa9"}, {"1"}},
    {"[[:alpha:]-]+", {"a-b"}, {"1", ""}},
    {"[^[:space:]]", {"a"}, {"\v", " "}},
    {"\\pN", {"1", "\xc2\xbd"}, {"a"}},
    {"\\p{Greek}+", {"\xce\xb1"}, {"a"}},
    {"\\x41\\x{e9}\\101\\a",
     {"A\xc3\xa9"
      "A\a"},
     {"A"}},
    {"a{,2}", {"a{,2}"}, {"aa"}},
    {"a{2,3}", {"aa", "aaa"}, {"a", "aaaa"}},
    {"(a|b)*c", {"c", "abac"}, {"abx"}},
    {"x(?:)*y", {"xy"}, {"x"}},
    {"(?:\\b)*a", {"a"}, {"b"}},
    {"[]a]", {"]", "a"}, {"b"}},
    {"[^\\x00-\\x{10FFFF}]", {NULL}, {"a", ""}},
    {"\\x{d800}|a", {"a"}, {"b"}},
    {"[a-]#x", {"-#x", "a#x"}, {"b#x"}},
    {"\xc3\xa9*", {"", "\xc3\xa9\xc3\xa9"}, {"\xc3"}},
};

static void
patterns_mean_what_re2_means(void)
{
    for (size_t i = 0; i < NLT_COUNT(cases); i++) {
        for (size_t k = 0; k < 4; k++) {
            const char *yes = cases[i].yes[k], *no = cases[i].no[k];

            if (yes != NULL && matches(cases[i].pattern, yes) != 1) {
                printf("# %s should match '%s'\n", cases[i].pattern, yes);
                nlt_test_fail(__FILE__, __LINE__, "no match");
            }
            if (no != NULL && matches(cases[i].pattern, no) != 0) {
                printf("# %s should not match '%s'\n", cases[i].pattern, no);
                nlt_test_fail(__FILE__, __LINE__, "match");
            }
        }
    }
}

/* ---- the twin ---- */

typedef struct {
    char kind; /* c . [ | & * + ? 2 ( ^ $ */
    int a, b;  /* children */
    char from, to;
} tree_t;

static tree_t trees[256];
static int n_trees;

static int
grow(int depth)
{
    static const char leaves[] = "ccc.[";
    static const char inner[] = "ccc.[||&&&&*+?2((S";
    tree_t t = {0};
    int self;

    t.kind = depth == 0 || n_trees > 200
                 ? leaves[nlt_test_below(sizeof(leaves) - 1)]
                 : inner[nlt_test_below(sizeof(inner) - 1)];
    t.from = (char) ('a' + nlt_test_below(3));
    t.to = (char) (t.from + (char) nlt_test_below(2));
    if (strchr("|&*+?2(", t.kind) != NULL) {
        t.a = grow(depth - 1);
    }
    if (strchr("|&", t.kind) != NULL) {
        t.b = grow(depth - 1);
    }
    self = n_trees++;
    trees[self] = t;
    return self;
}

static void
show(int i, nlt_buf_t *b)
{
    tree_t t = trees[i];

    switch (t.kind) {
    case 'c':
        nlt_buf_add_byte(b, (uint8_t) t.from);
        break;
    case '.':
        nlt_buf_add_byte(b, '.');
        break;
    case 'S':
        nlt_buf_add_c(b, ".*");
        break;
    case '[':
        nlt_buf_addf(b, "[%c-%c]", t.from, t.to);
        break;
    case '|':
        nlt_buf_add_c(b, "(?:");
        show(t.a, b);
        nlt_buf_add_byte(b, '|');
        show(t.b, b);
        nlt_buf_add_byte(b, ')');
        break;
    case '&':
        show(t.a, b);
        show(t.b, b);
        break;
    case '(':
        nlt_buf_add_byte(b, '(');
        show(t.a, b);
        nlt_buf_add_byte(b, ')');
        break;
    default:
        nlt_buf_add_c(b, "(?:");
        show(t.a, b);
        nlt_buf_add_c(b, t.kind == '2' ? "){1,2}" : ")");
        if (t.kind != '2') {
            nlt_buf_add_byte(b, (uint8_t) t.kind);
        }
    }
}

/* Where a match of tree i that begins at any bit of `from` may end. */
static uint32_t
ends(int i, uint32_t from, const char *s, unsigned n)
{
    tree_t t = trees[i];
    uint32_t out = 0, step;

    switch (t.kind) {
    case 'c':
    case '.':
    case '[':
        for (unsigned k = 0; k < n; k++) {
            bool in = t.kind == '.' || s[k] == t.from
                      || (t.kind == '[' && s[k] >= t.from && s[k] <= t.to);

            if ((from >> k & 1) && in) {
                out |= 2u << k;
            }
        }
        return out;
    case 'S':
        for (unsigned k = 0; k <= n; k++) {
            out |= from >> k & 1 ? ~0u << k : 0;
        }
        return out & ((2u << n) - 1);
    case '|':
        return ends(t.a, from, s, n) | ends(t.b, from, s, n);
    case '&':
        return ends(t.b, ends(t.a, from, s, n), s, n);
    case '(':
        return ends(t.a, from, s, n);
    case '?':
        return from | ends(t.a, from, s, n);
    case '2':
        step = ends(t.a, from, s, n);
        return step | ends(t.a, step, s, n);
    default: /* * and + */
        out = t.kind == '*' ? from : 0;
        step = from;
        for (unsigned k = 0; k <= n + 1; k++) {
            step = ends(t.a, step, s, n);
            out |= step;
        }
        return out;
    }
}

static void
random_patterns_match_as_their_slow_twin_does(void)
{
    nlt_buf_t b;
    unsigned yes = 0, lists = 0, limits = 0;

    (void) nlt_test_seed();
    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    for (int round = 0; round < 4000; round++) {
        nlt_pool_t pool;
        nlt_regex_t *re;
        nlt_err_t err;
        const nlt_str_t *literals;

        n_trees = 0;
        int root = grow(5);
        nlt_buf_reset(&b);
        show(root, &b);
        nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
        nlt_rc_t rc = nlt_regex_compile(&pool, nlt_buf_str(&b), &re, &err);
        NLT_CHECK_INT(rc, NLT_OK);
        if (rc != NLT_OK) {
            printf("# %.*s: %s\n", (int) b.len, b.data, err.text);
            nlt_pool_deinit(&pool);
            continue;
        }
        lists += nlt_regex_literals(re, &literals) > 0;
        nlt_str_t head = nlt_regex_prefix(re);
        for (int k = 0; k < 20; k++) {
            char s[8];
            unsigned n = (unsigned) nlt_test_below(sizeof(s) + 1);
            nlt_captures_t groups;

            for (unsigned i = 0; i < n; i++) {
                s[i] = (char) ('a' + nlt_test_below(4));
            }
            bool want = ends(root, 1, s, n) >> n & 1;
            rc = nlt_regex_match(re, (nlt_str_t){n, s});
            limits += rc == NLT_ELIMIT;
            if (rc == NLT_ELIMIT) {
                continue; /* exponential, and says so */
            }
            NLT_CHECK_INT(rc, want ? NLT_OK : NLT_EOF);
            if (rc != (want ? NLT_OK : NLT_EOF)) {
                printf("# %.*s on %.*s\n", (int) b.len, b.data, (int) n, s);
            }
            nlt_rc_t rc2 = nlt_regex_capture(re, (nlt_str_t){n, s}, &groups);
            NLT_CHECK(rc2 == rc || rc2 == NLT_ELIMIT);
            limits += rc2 == NLT_ELIMIT;
            yes += want;
            NLT_CHECK(
                !want || head.len == 0
                || (head.len <= n && memcmp(s, head.data, head.len) == 0));
        }
        nlt_regex_destroy(re);
        nlt_pool_deinit(&pool);
    }
    nlt_buf_deinit(&b);
    printf("# %u matches, %u lists, %u limits\n", yes, lists, limits);
    NLT_CHECK(yes > 1000 && lists > 100 && limits < 100);
}

/* ---- the rest of the interface ---- */

static void
groups_are_found_by_number_and_name(void)
{
    nlt_pool_t pool;
    nlt_regex_t *re;
    nlt_captures_t g;

    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    NLT_CHECK_INT(nlt_regex_compile(
                      &pool, NLT_STR("(?P<host>[^:]+)(:(?P<port>\\d+))?(x)?"),
                      &re, NULL),
                  NLT_OK);
    NLT_CHECK_INT(nlt_regex_group(re, NLT_STR("host")), 1);
    NLT_CHECK_INT(nlt_regex_group(re, NLT_STR("port")), 3);
    NLT_CHECK_INT(nlt_regex_group(re, NLT_STR("nope")), -1);
    NLT_CHECK_INT(nlt_regex_capture(re, NLT_STR("a.b:90"), &g), NLT_OK);
    NLT_CHECK_INT(g.n, 5);
    NLT_CHECK_STR(g.group[0], "a.b:90");
    NLT_CHECK_STR(g.group[1], "a.b");
    NLT_CHECK_STR(g.group[2], ":90");
    NLT_CHECK_STR(g.group[3], "90");
    NLT_CHECK(g.group[4].data == NULL);
    NLT_CHECK_INT(nlt_regex_capture(re, NLT_STR(":"), &g), NLT_EOF);
    nlt_regex_destroy(re);

    /* A list that also has groups. */
    NLT_CHECK_INT(nlt_regex_compile(&pool, NLT_STR("a(b|c)"), &re, NULL),
                  NLT_OK);
    NLT_CHECK_INT(nlt_regex_capture(re, NLT_STR("ac"), &g), NLT_OK);
    NLT_CHECK_INT(g.n, 2);
    NLT_CHECK_STR(g.group[1], "c");
    NLT_CHECK_INT(nlt_regex_capture(re, NLT_STR("ad"), &g), NLT_EOF);
    nlt_regex_destroy(re);
    nlt_pool_deinit(&pool);
}

/* What literals and prefix of a pattern are: "a,b" and "a". */
static void
check_plan(const char *pattern, const char *literals, const char *prefix)
{
    nlt_pool_t pool;
    nlt_regex_t *re;
    const nlt_str_t *v;
    char text[200] = "";

    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    NLT_CHECK_INT(nlt_regex_compile(&pool, nlt_test_str(pattern), &re, NULL),
                  NLT_OK);
    size_t n = nlt_regex_literals(re, &v);
    for (size_t i = 0; i < n; i++) {
        strncat(text, v[i].data, v[i].len);
        strcat(text, i + 1 < n ? "," : "");
    }
    NLT_CHECK_STR(nlt_test_str(text), literals);
    NLT_CHECK_STR(nlt_regex_prefix(re), prefix);
    nlt_regex_destroy(re);
    nlt_pool_deinit(&pool);
}

static void
literals_and_prefixes_are_seen(void)
{
    check_plan("foo", "foo", "foo");
    check_plan("^foo$", "foo", "foo");
    check_plan("b|a|b", "a,b", "");
    check_plan("(^b$|^a$)", "a,b", "");
    check_plan("x(?:b|a)?y", "xay,xby,xy", "x");
    check_plan("fo[ob]", "fob,foo", "fo");
    check_plan("foo.*", "", "foo");
    check_plan("(foo|fob).*", "", "fo");
    check_plan("foo\\d+", "", "foo");
    check_plan("(foo)+", "", "foo");
    check_plan("foo?", "fo,foo", "fo");
    check_plan("(?i)foo", "", "");
    check_plan("a(?i)foo", "", "a");
    check_plan("(?i)12", "12", "12");
    check_plan("a$b", "", "a");
    check_plan("a\\.b", "a.b", "a.b");
}

static void
catastrophic_patterns_end_in_elimit(void)
{
    nlt_pool_t pool;
    nlt_regex_t *re;
    char s[4096];

    memset(s, 'a', sizeof(s));
    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    NLT_CHECK_INT(nlt_regex_compile(&pool, NLT_STR("(a|aa)*[bc]"), &re, NULL),
                  NLT_OK);
    NLT_CHECK_INT(nlt_regex_match(re, (nlt_str_t){sizeof(s), s}), NLT_ELIMIT);
    nlt_regex_destroy(re);
    nlt_pool_deinit(&pool);
}

static void
every_failing_allocation_is_an_error(void)
{
    static const char *const patterns[] = {
        "a|b|c", "x(.*)y", "[a-z]+(?P<n>\\d{2,3})*|\\pL\\p{Greek}", "a.*b|c"};

    for (size_t i = 0; i < NLT_COUNT(patterns); i++) {
        bool done = false;

        for (int fail = 0; !done && fail < 200; fail++) {
            nlt_test_mem_t mem;
            nlt_pool_t pool;
            nlt_regex_t *re;
            nlt_err_t err;

            nlt_test_mem_init(&mem, fail);
            nlt_pool_init(&pool, &mem.mem, 16 << 20);
            nlt_rc_t rc =
                nlt_regex_compile(&pool, nlt_test_str(patterns[i]), &re, &err);
            if (rc == NLT_OK) {
                nlt_captures_t g;

                rc = nlt_regex_capture(re, NLT_STR("xby"), &g);
                done = mem.failed == 0;
                NLT_CHECK(rc == NLT_OK || rc == NLT_EOF || mem.failed > 0);
                NLT_CHECK(rc != NLT_ELIMIT);
            } else {
                NLT_CHECK_INT(rc, NLT_ENOMEM);
                NLT_CHECK(re == NULL && err.len > 0);
            }
            nlt_regex_destroy(re);
            nlt_pool_deinit(&pool);
            NLT_CHECK_INT(mem.bytes, 0);
        }
        NLT_CHECK(done);
    }
}

int
main(void)
{
    NLT_TEST(errors_have_the_texts_of_re2);
    NLT_TEST(deep_and_large_patterns_are_refused);
    NLT_TEST(patterns_mean_what_re2_means);
    NLT_TEST(random_patterns_match_as_their_slow_twin_does);
    NLT_TEST(groups_are_found_by_number_and_name);
    NLT_TEST(literals_and_prefixes_are_seen);
    NLT_TEST(catastrophic_patterns_end_in_elimit);
    NLT_TEST(every_failing_allocation_is_an_error);
    return nlt_test_done();
}

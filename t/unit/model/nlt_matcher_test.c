/* nlt_matcher_test.c - matchers, and room for samples. */
#include "nlt_source.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

static void
all_four_operators_match(void)
{
    static const struct {
        nlt_match_op_t op;
        const char *value;
        const char *yes, *no;
    } cases[] = {
        {NLT_MATCH_EQ, "a", "a", ""},
        {NLT_MATCH_EQ, "", "", "a"},
        {NLT_MATCH_NE, "a", "", "a"},
        {NLT_MATCH_RE, "a|b", "b", "ab"},
        {NLT_MATCH_RE, "a?", "", "b"},
        {NLT_MATCH_NRE, "a|b", "ab", "b"},
        {NLT_MATCH_NRE, ".+", "", "x"},
        {NLT_MATCH_RE, "\\d+", "12", "1x"},
        {NLT_MATCH_NRE, "\\d+", "1x", "12"},
    };

    for (size_t i = 0; i < NLT_COUNT(cases); i++) {
        nlt_pool_t pool;
        nlt_matcher_t m = {cases[i].op,
                           NLT_STR("l"),
                           {strlen(cases[i].value), cases[i].value},
                           NULL};

        nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
        NLT_CHECK_INT(nlt_matcher_compile(&pool, &m, NULL), NLT_OK);
        nlt_str_t yes = {strlen(cases[i].yes), cases[i].yes};
        nlt_str_t no = {strlen(cases[i].no), cases[i].no};
        NLT_CHECK_INT(nlt_matcher_test(&m, yes), NLT_OK);
        NLT_CHECK_INT(nlt_matcher_test(&m, no), NLT_EOF);
        nlt_matcher_release(&m);
        nlt_matcher_release(&m);
        nlt_pool_deinit(&pool);
    }
}

static void
a_set_has_to_match_all(void)
{
    nlt_label_t v[] = {{NLT_METRIC_NAME, NLT_STR("up")},
                       {NLT_STR("job"), NLT_STR("x")}};
    nlt_labels_t set = {v, 2};
    nlt_matcher_t m[] = {
        {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("up"), NULL},
        {NLT_MATCH_RE, NLT_STR("job"), NLT_STR("(a|aa)*[bc]|x"), NULL},
        {NLT_MATCH_EQ, NLT_STR("none"), NLT_STR(""), NULL},
    };
    nlt_pool_t pool;
    char hard[2000];

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    for (int i = 0; i < 3; i++) {
        NLT_CHECK_INT(nlt_matcher_compile(&pool, &m[i], NULL), NLT_OK);
    }
    NLT_CHECK_INT(nlt_matchers_test(m, 3, set), NLT_OK);
    NLT_CHECK_INT(nlt_matchers_test(m, 0, set), NLT_OK);
    v[1].value = NLT_STR("y");
    NLT_CHECK_INT(nlt_matchers_test(m, 3, set), NLT_EOF);
    /* A limit is neither yes nor no, also when negated. */
    memset(hard, 'a', sizeof(hard));
    v[1].value = (nlt_str_t){sizeof(hard), hard};
    NLT_CHECK_INT(nlt_matchers_test(m, 3, set), NLT_ELIMIT);
    m[1].op = NLT_MATCH_NRE;
    NLT_CHECK_INT(nlt_matchers_test(m, 3, set), NLT_ELIMIT);
    nlt_matcher_release(&m[1]);
    nlt_pool_deinit(&pool);
}

static void
errors_come_from_the_regex(void)
{
    nlt_matcher_t m = {NLT_MATCH_RE, NLT_STR("a"), NLT_STR("("), NULL};
    nlt_pool_t pool;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_matcher_compile(&pool, &m, &err), NLT_EINVAL);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "error parsing regexp: missing closing ): `(`");
    NLT_CHECK(m.re == NULL);
    nlt_matcher_release(&m);
    nlt_pool_deinit(&pool);
}

static void
matchers_print(void)
{
    nlt_matcher_t m = {NLT_MATCH_NRE, NLT_STR("a"), NLT_STR("x\"y"), NULL};
    nlt_buf_t b;

    nlt_buf_init(&b, &nlt_mem_libc, 1000);
    nlt_matcher_print(&b, &m);
    m.op = NLT_MATCH_EQ;
    m.name = NLT_STR("a b");
    nlt_matcher_print(&b, &m);
    NLT_CHECK_STR(nlt_buf_str(&b), "a!~\"x\\\"y\"\"a b\"=\"x\\\"y\"");
    NLT_CHECK(strcmp(nlt_match_op_text(NLT_MATCH_NE), "!=") == 0);
    NLT_CHECK(strcmp(nlt_match_op_text(NLT_MATCH_RE), "=~") == 0);
    nlt_buf_deinit(&b);
}

static void
samples_survive_growth(void)
{
    nlt_test_mem_t mem;
    nlt_pool_t pool;
    nlt_samples_t s = {0};
    size_t n = 0;

    nlt_test_mem_init(&mem, -1);
    nlt_pool_init(&pool, &mem.mem, 1 << 20);
    s.pool = &pool;
    while (nlt_samples_reserve(&s, n + 1)) {
        s.t_ms[n] = (int64_t) n;
        s.v[n] = (double) n / 2;
        s.n = ++n;
        (void) nlt_pool_alloc(&pool, n % 100 == 0);
    }
    NLT_CHECK(n > 10000 && pool.over_budget);
    for (size_t i = 0; i < n; i++) {
        NLT_CHECK_INT(s.t_ms[i], i);
        NLT_CHECK_BITS(s.v[i], (double) i / 2);
    }
    NLT_CHECK(!nlt_samples_reserve(&s, SIZE_MAX));
    NLT_CHECK(!nlt_samples_reserve(&s, SIZE_MAX / 16));
    NLT_CHECK(nlt_samples_reserve(&s, 1));
    nlt_pool_deinit(&pool);
    NLT_CHECK_INT(mem.bytes, 0);
}

int
main(void)
{
    NLT_TEST(all_four_operators_match);
    NLT_TEST(a_set_has_to_match_all);
    NLT_TEST(errors_come_from_the_regex);
    NLT_TEST(matchers_print);
    NLT_TEST(samples_survive_growth);
    return nlt_test_done();
}

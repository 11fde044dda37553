/*
 * nlt_pql_print_test.c - canonical text, and that it reads back to the same
 * tree: for a table, for random expressions, and for every expression of the
 * acceptance scripts when they are there.
 */
#include <dirent.h>

#include "nlt_pql_parse.h"
#include "nlt_test.h"
#include "nlt_test_pql.h"

#define SCRIPTS "../shared/promqltest"

/*
 * Parses and prints text into out; the printed text must parse to an equal
 * tree and print the same.  false: text does not parse, err says why.
 */
static bool
round_trip(nlt_str_t text, nlt_buf_t *out, nlt_err_t *err)
{
    nlt_pool_t pool;
    nlt_pql_node_t *tree, *again;
    nlt_buf_t second;
    bool ok;

    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    ok = nlt_pql_parse(&pool, text, NLT_PQL_F_ALL, &tree, err) == NLT_OK;
    if (ok) {
        nlt_pql_print(out, tree);
        nlt_err_t e = {.len = 0};
        nlt_rc_t rc =
            nlt_pql_parse(&pool, nlt_buf_str(out), NLT_PQL_F_ALL, &again, &e);

        NLT_CHECK_INT(rc, NLT_OK);
        if (rc != NLT_OK || !nlt_test_pql_eq(tree, again)) {
            printf("# %.*s\n# printed %.*s\n# %s\n", NLT_FMT(text),
                   NLT_FMT(nlt_buf_str(out)), e.text);
            nlt_test_fail(__FILE__, __LINE__, "reads back to the same tree");
        } else {
            nlt_buf_init(&second, &nlt_mem_libc, 1 << 20);
            nlt_pql_print(&second, again);
            NLT_CHECK(nlt_str_eq(nlt_buf_str(out), nlt_buf_str(&second)));
            nlt_buf_deinit(&second);
        }
    }
    nlt_pool_deinit(&pool);
    return ok;
}

/* Pairs: as written, as printed. */
static const char *const canonical[][2] = {
    {"SUM(rate( http_total{ code='500' }[300s] offset 60 )) BY (job)>3",
     "sum by (job) (rate(http_total{code=\"500\"}[5m] offset 1m)) > 3"},
    {"sum by () (x)", "sum(x)"},
    {"sum without () (x)", "sum without () (x)"},
    {"sum(x) by (\"a b\", c, \"inf\")", "sum by (\"a b\", c, \"inf\") (x)"},
    {"sum(x) by (a:b)", "sum by (a:b) (x)"},
    {"topk(3,x)", "topk(3, x)"},
    {"COUNT_values('v', foo)", "count_values(\"v\", foo)"},
    {"foo{}", "foo"},
    {"foo{z=\"1\",a=~\"b\",\"c d\"!=\"\\n\"}",
     "foo{\"c d\"!=\"\\n\",a=~\"b\",z=\"1\"}"},
    {"{\"foo.bar\", a!~`b`}", "{__name__=\"foo.bar\",a!~\"b\"}"},
    {"foo offset 5m @ 3", "foo @ 3.000 offset 5m"},
    {"rate(foo[90m] offset -1m @ start())",
     "rate(foo[1h30m] @ start() offset -1m)"},
    {"foo[1h:] offset 0s", "foo[1h:]"},
    {"foo[1h:5m] @ -1.5", "foo[1h:5m] @ -1.500"},
    {"foo offset 5m [5m:1m]", "foo offset 5m[5m:1m]"},
    {"(foo)", "(foo)"},
    {"- -foo", "--foo"},
    {"-2 ^ 2", "-2 ^ 2"},
    {"- - 1", "1"},
    {"0x10 + 1e3 - Inf ^ NaN", "16 + 1000 - Inf ^ NaN"},
    {"a * iNf", "a * +Inf"},
    {"365d * -36h", "1y * -1d12h"},
    {"a AND ON(x) b", "a and on (x) b"},
    {"a * on() b", "a * on () b"},
    {"a * ignoring() b", "a * b"},
    {"a * ignoring() group_left b", "a * ignoring () group_left () b"},
    {"a == BOOL ignoring(x) group_right(y,z) b",
     "a == bool ignoring (x) group_right (y, z) b"},
    {"a + fill(1) b", "a + fill (1) b"},
    {"a + on(x) fill_right(-1e9) fill_left(Inf) b",
     "a + on (x) fill_left (+Inf) fill_right (-1e+09) b"},
    {"a atan2 b </ c", "a atan2 b </ c"},
    {"increase(m[5m] smoothed offset 1m)",
     "increase(m[5m] smoothed offset 1m)"},
    {"m @ 5 anchored", "m anchored @ 5.000"},
    {"m[5m*2+1]", "m[5m * 2 + 1]"},
    {"m[((STEP()+1))*2:-(-range())]", "m[(step() + 1) * 2:-(-range())]"},
    {"m offset -min_of(1m,step())", "m offset -min_of(1m, step())"},
    {"m offset (5) - step()", "m offset (5 - step())"},
    {"m offset (step()+1) @ 3 * 2", "m @ 3.000 offset +(step() + 1) * 2"},
    {"info(m, {})", "info(m, {})"},
    {"'a\"b\\xff' # c", "\"a\\\"b\\xff\""},
};

static void
text_is_canonical(void)
{
    for (size_t i = 0; i < NLT_COUNT(canonical); i++) {
        nlt_err_t err = {.len = 0};
        nlt_buf_t b;

        nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
        NLT_CHECK(round_trip(nlt_test_str(canonical[i][0]), &b, &err));
        NLT_CHECK_STR(nlt_buf_str(&b), canonical[i][1]);
        nlt_buf_deinit(&b);
    }
}

static void
a_full_buffer_is_remembered(void)
{
    nlt_pool_t pool;
    nlt_pql_node_t *tree;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_pql_parse(&pool, NLT_STR("m{a=\"b\",c=\"d\"} + 1"),
                                NLT_PQL_F_ALL, &tree, NULL),
                  NLT_OK);
    for (size_t max = 0; max < 19; max++) {
        nlt_buf_t b;

        nlt_buf_init(&b, &nlt_mem_libc, max);
        nlt_pql_print(&b, tree);
        NLT_CHECK(b.rc == NLT_ETOOBIG || (b.rc == NLT_OK && max == 18));
        nlt_buf_deinit(&b);
    }
    nlt_pool_deinit(&pool);
}

/* ---- random expressions ---- */

static nlt_buf_t gen;

static void
put(const char *s)
{
    nlt_buf_add_c(&gen, s);
}

/* One of the strings, which are separated by '|'. */
static void
put_one(const char *choices)
{
    size_t n = 1;

    for (const char *c = choices; *c; c++) {
        n += *c == '|';
    }
    for (size_t k = nlt_test_below(n); k > 0; k--) {
        choices = strchr(choices, '|') + 1;
    }
    nlt_buf_add(&gen, choices, strcspn(choices, "|"));
}

static bool
chance(unsigned percent)
{
    return nlt_test_below(100) < percent;
}

static void
put_duration_expr(int depth)
{
    if (depth == 0 || chance(30)) {
        put_one("5m|1|1h30m|0.5|step()|range()|1w|2ms");
        return;
    }
    switch (nlt_test_below(4)) {
    case 0:
        put("(");
        put_duration_expr(depth - 1);
        put(")");
        break;
    case 1:
        put_one("-|+");
        put_duration_expr(depth - 1);
        break;
    case 2:
        put_one("min_of(|max_of(");
        put_duration_expr(depth - 1);
        put(",");
        put_duration_expr(depth - 1);
        put(")");
        break;
    default:
        put_duration_expr(depth - 1);
        put_one("+|-|*|^| / | % ");
        put_duration_expr(depth - 1);
        break;
    }
}

static void
put_range(void)
{
    if (chance(60)) {
        put_one("5m|300|1h30m5s|0.25|1e3|2y");
    } else {
        put("1s*(");
        put_duration_expr(3);
        put(")");
    }
}

static void
put_shift(void)
{
    bool at = chance(20);

    if (at && chance(50)) {
        put_one(" @ 17.5| @ start()| @ end()| @ -1h| @ +3");
        at = false;
    }
    if (chance(25)) {
        put(" offset ");
        if (chance(60)) {
            put_one("5m|-5m|3|+0.5|0|-1y|step()|-range()|min_of(1m,step())");
        } else {
            put_one("|-|+|- -");
            put("(");
            put_duration_expr(3);
            put(")");
        }
    }
    if (at) {
        put_one(" @ 17.5| @ start()| @ end()| @ 1e9");
    }
}

static void
put_selector(void)
{
    put_one("m|a:b|sum|by|offset|and|start|fill|{\"q r\"}|{\"x\",a!=\"b\"}|"
            "m{}|m{a=\"1\"}|m{z=~'.',a!~`b+`,\"c d\"=\"\\n\"}|{a=\"1\",}|"
            "m{a=\"1\",a=\"1\",A=\"\"}|NaN_");
}

static void put_vector(int depth);

static void
put_scalar(int depth)
{
    if (depth == 0 || chance(40)) {
        put_one("1|0x1f|017|-1|1e-9|Inf|NaN|5m|time()|pi()|1_000.5|-0|2");
        return;
    }
    put("(");
    put_scalar(depth - 1);
    put_one("+|-|*|/|%|^| atan2 | == bool | < bool ");
    put_scalar(depth - 1);
    put(")");
}

static void
put_labels(void)
{
    put_one("()|(a)|(a,b,)|(\"a b\",c)|(sum,by,bool)|(\"nan\",\"Inf\")");
}

static void
put_operator(void)
{
    if (chance(30)) {
        put_one(" and | or | unless ");
        if (chance(40)) {
            put_one("on|ignoring");
            put_labels();
        }
    } else {
        put_one("+|-|*|/|%|^| atan2 |==|!=bool|>|< bool |</|>/");
        if (chance(40)) {
            put_one(" on|  ignoring");
            put_labels();
            if (chance(40)) {
                put_one("group_left|group_right|group_left()|"
                        "group_right(z, \"y x\")");
            }
        }
        if (chance(20)) {
            put_one(" fill(1)| fill(-Inf)| fill_left(0) fill_right(NaN)|"
                    " fill_right(1e9)");
        }
    }
    put(" ");
}

static void
put_aggregation(int depth)
{
    bool before = chance(40);

    put_one("sum|avg|count|quantile|topk|limitk");
    bool param = memchr("ek", gen.data[gen.len - 1], 2) != NULL;

    if (before) {
        put_one(" by| without");
        put_labels();
    }
    put("(");
    if (param) {
        put_scalar(depth - 1);
        put(",");
    }
    put_vector(depth - 1);
    put(")");
    if (!before && chance(40)) {
        put_one("by|without");
        put_labels();
    }
}

static void
put_vector(int depth)
{
    switch (depth > 0 ? nlt_test_below(8) : 0) {
    case 1:
        put("(");
        put_vector(depth - 1);
        put(")");
        break;
    case 2:
        put_one("-|+");
        put_vector(depth - 1);
        break;
    case 3:
    case 4:
        put_vector(depth - 1);
        put_operator();
        put_vector(depth - 1);
        break;
    case 5:
        put_aggregation(depth);
        break;
    case 6:
        put_one("rate(m|increase(m{a=\"b\"}|avg_over_time(x");
        put("[");
        put_range();
        put_one("]|] anchored|] smoothed");
        put_shift();
        put(")");
        break;
    case 7:
        put("max_over_time((");
        put_vector(depth - 1);
        put(")[");
        put_range();
        put(":");
        if (chance(50)) {
            put_range();
        }
        put("]");
        put_shift();
        put(")");
        break;
    default:
        put_selector();
        put_shift();
        break;
    }
}

static void
random_expressions_read_back(void)
{
    size_t n_parsed = 0;

    (void) nlt_test_seed();
    for (int i = 0; i < 4000; i++) {
        nlt_err_t err;
        nlt_buf_t b;

        nlt_buf_init(&gen, &nlt_mem_libc, 1 << 20);
        nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
        put_vector((int) nlt_test_below(6));
        n_parsed += round_trip(nlt_buf_str(&gen), &b, &err);
        nlt_buf_deinit(&b);
        nlt_buf_deinit(&gen);
    }
    /* The generator knows nothing of types and lets a few errors through. */
    printf("# %zu of 4000 parsed\n", n_parsed);
    NLT_CHECK(n_parsed > 2000);
}

/* ---- the acceptance scripts ---- */

/* The expression of an "eval ..." line, or NULL. */
static char *
expression_of(char *line)
{
    int words = 0;

    line += strspn(line, " \t");
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "eval instant at ", 16) == 0) {
        words = 4;
    } else if (strncmp(line, "eval range from ", 16) == 0) {
        words = 8;
    } else {
        return NULL;
    }
    while (words-- > 0) {
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    return line;
}

static size_t
check_script(const char *name)
{
    char path[512], line[4096];
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", SCRIPTS, name);
    f = fopen(path, "r");
    NLT_CHECK(f != NULL);
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        char *text = expression_of(line);
        nlt_err_t err;
        nlt_buf_t b;

        if (text == NULL) {
            continue;
        }
        nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
        if (!round_trip(nlt_test_str(text), &b, &err)) {
            printf("# %s: %s\n# %s\n", name, text, err.text);
            nlt_test_fail(__FILE__, __LINE__,
                          "every expression of the scripts parses");
        }
        nlt_buf_deinit(&b);
        n++;
    }
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

static void
every_expression_of_the_scripts_reads_back(void)
{
    DIR *dir = opendir(SCRIPTS);
    size_t n = 0;

    if (dir == NULL) {
        printf("# no %s: nothing to read\n", SCRIPTS);
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        size_t len = strlen(e->d_name);

        if (len > 5 && strcmp(e->d_name + len - 5, ".test") == 0) {
            n += check_script(e->d_name);
        }
    }
    closedir(dir);
    printf("# %zu expressions\n", n);
    NLT_CHECK(n > 1000);
}

int
main(void)
{
    NLT_TEST(text_is_canonical);
    NLT_TEST(a_full_buffer_is_remembered);
    NLT_TEST(random_expressions_read_back);
    NLT_TEST(every_expression_of_the_scripts_reads_back);
    return nlt_test_done();
}

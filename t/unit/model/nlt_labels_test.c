/* nlt_labels_test.c - label sets. */
#include "nlt_labels.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

static nlt_label_t
label(const char *name, const char *value)
{
    return (nlt_label_t){{strlen(name), name}, {strlen(value), value}};
}

static void
labels_are_found_by_name(void)
{
    nlt_label_t v[] = {label("__name__", "up"), label("a", "1"),
                       label("ab", "2"), label("\xc3\xa9", "3")};
    nlt_labels_t l = {v, NLT_COUNT(v)};

    NLT_CHECK_STR(nlt_labels_get(l, NLT_METRIC_NAME), "up");
    NLT_CHECK_STR(nlt_labels_get(l, NLT_STR("a")), "1");
    NLT_CHECK_STR(nlt_labels_get(l, NLT_STR("\xc3\xa9")), "3");
    NLT_CHECK_STR(nlt_labels_get(l, NLT_STR("aa")), "");
    NLT_CHECK_STR(nlt_labels_get((nlt_labels_t){NULL, 0}, NLT_STR("a")), "");
}

static void
order_is_by_label_then_length(void)
{
    nlt_label_t a[] = {label("a", "1"), label("b", "1")};
    nlt_label_t b[] = {label("a", "1"), label("b", "2")};
    nlt_label_t c[] = {label("a", "\xff")};
    nlt_labels_t la = {a, 2}, lb = {b, 2}, lc = {c, 1}, shorter = {a, 1};

    NLT_CHECK(nlt_labels_cmp(la, la) == 0 && nlt_labels_eq(la, la));
    NLT_CHECK(nlt_labels_cmp(la, lb) < 0 && !nlt_labels_eq(la, lb));
    NLT_CHECK(nlt_labels_cmp(lc, lb) > 0); /* bytes are unsigned */
    NLT_CHECK(nlt_labels_cmp(shorter, la) < 0 && !nlt_labels_eq(shorter, la));
    NLT_CHECK(nlt_labels_hash(la) != nlt_labels_hash(lb));
    NLT_CHECK(nlt_labels_hash(la) != nlt_labels_hash(shorter));
}

static void
borders_between_strings_count_in_the_hash(void)
{
    nlt_label_t a[] = {label("ab", "c")}, b[] = {label("a", "bc")};

    NLT_CHECK(nlt_labels_hash((nlt_labels_t){a, 1})
              != nlt_labels_hash((nlt_labels_t){b, 1}));
}

/* Short strings are hashed in pieces: no byte of any length is left out. */
static void
each_byte_counts_in_the_hash(void)
{
    for (size_t len = 0; len < 40; len++) {
        char text[48] = {0}, name[48];

        memset(name, 'n', sizeof(name));
        nlt_label_t l[2] = {{{len, name}, {len, text}},
                            {NLT_STR("z"), NLT_STR("1")}};
        uint64_t h = nlt_labels_hash((nlt_labels_t){l, 2});

        l[0].value.len = len + 1;
        NLT_CHECK(nlt_labels_hash((nlt_labels_t){l, 2}) != h);
        l[0].value.len = len;
        for (size_t i = 0; i < len; i++) {
            text[i] = 'x';
            NLT_CHECK(nlt_labels_hash((nlt_labels_t){l, 2}) != h);
            text[i] = 0;
            name[i] = 'x';
            NLT_CHECK(nlt_labels_hash((nlt_labels_t){l, 2}) != h);
            name[i] = 'n';
        }
        NLT_CHECK(nlt_labels_hash((nlt_labels_t){l, 2}) == h);
    }
}

static void
what_is_alike_is_counted_from_the_beginning(void)
{
    nlt_label_t a[] = {{NLT_STR("a"), NLT_STR("1")},
                       {NLT_STR("b"), NLT_STR("2")},
                       {NLT_STR("c"), NLT_STR("3")}};
    nlt_label_t b[] = {{NLT_STR("a"), NLT_STR("1")},
                       {NLT_STR("b"), NLT_STR("3")},
                       {NLT_STR("c"), NLT_STR("3")}};
    nlt_labels_t la = {a, 3}, lb = {b, 3};

    NLT_CHECK_INT(nlt_labels_alike(la, lb, 3), 1);
    NLT_CHECK_INT(nlt_labels_alike(la, la, 3), 3);
    NLT_CHECK_INT(nlt_labels_alike(la, la, 2), 2);
    NLT_CHECK_INT(nlt_labels_alike(la, (nlt_labels_t){b, 1}, 3), 1);
    NLT_CHECK_INT(nlt_labels_alike((nlt_labels_t){NULL, 0}, lb, 3), 0);
    b[0].name = NLT_STR("x");
    NLT_CHECK_INT(nlt_labels_alike(la, lb, 3), 0);
    NLT_CHECK_INT(nlt_labels_from(la, 1).n, 2);
    NLT_CHECK(nlt_labels_eq(nlt_labels_from(la, 2), (nlt_labels_t){a + 2, 1}));
}

static void
normalizing_sorts_drops_and_tells_duplicates(void)
{
    (void) nlt_test_seed();
    for (int round = 0; round < 3000; round++) {
        nlt_label_t v[80];
        char names[80][4];
        size_t n = nlt_test_below(round % 2 ? 10 : 80), want = 0;
        bool dup = false;
        nlt_str_t got;

        for (size_t i = 0; i < n; i++) {
            size_t len = 1 + nlt_test_below(3);

            for (size_t k = 0; k < len; k++) {
                names[i][k] = (char) (nlt_test_below(3) * 100);
            }
            v[i].name = (nlt_str_t){len, names[i]};
            v[i].value = nlt_test_below(4) ? NLT_STR("x") : NLT_STR("");
            want += v[i].value.len;
            for (size_t k = 0; k < i; k++) {
                dup = dup || nlt_str_eq(v[k].name, v[i].name);
            }
        }
        NLT_CHECK_INT(nlt_labels_normalize(v, n, &got), want);
        NLT_CHECK_INT(got.data != NULL, dup);
        for (size_t i = 1; i < want; i++) {
            NLT_CHECK(nlt_str_cmp(v[i - 1].name, v[i].name) <= 0);
        }
    }
}

static void
copies_are_deep(void)
{
    char text[] = "ab";
    nlt_label_t v[] = {{{1, text}, {1, text + 1}}};
    nlt_labels_t copy;
    nlt_pool_t pool;
    nlt_test_mem_t mem;

    nlt_test_mem_init(&mem, -1);
    nlt_pool_init(&pool, &mem.mem, 100000);
    NLT_CHECK(nlt_labels_copy(&pool, (nlt_labels_t){v, 1}, &copy));
    memset(text, 'x', 2);
    NLT_CHECK_STR(nlt_labels_get(copy, NLT_STR("a")), "b");
    NLT_CHECK(nlt_labels_copy(&pool, (nlt_labels_t){NULL, 0}, &copy));
    NLT_CHECK_INT(copy.n, 0);
    nlt_pool_deinit(&pool);
    nlt_test_mem_init(&mem, 0);
    nlt_pool_init(&pool, &mem.mem, 100000);
    NLT_CHECK(!nlt_labels_copy(&pool, (nlt_labels_t){v, 1}, &copy));
    NLT_CHECK_INT(copy.n, 0);
    nlt_pool_deinit(&pool);
}

static void
sets_print_as_prometheus_prints_them(void)
{
    nlt_label_t v[] = {label("__name__", "up"), label("a", "x\"\n"),
                       label("b.c", "1")};
    nlt_buf_t b;

    nlt_buf_init(&b, &nlt_mem_libc, 1000);
    nlt_labels_print(&b, (nlt_labels_t){v, 3});
    NLT_CHECK_STR(nlt_buf_str(&b),
                  "{__name__=\"up\", a=\"x\\\"\\n\", \"b.c\"=\"1\"}");
    nlt_buf_reset(&b);
    nlt_labels_print(&b, (nlt_labels_t){NULL, 0});
    NLT_CHECK_STR(nlt_buf_str(&b), "{}");
    nlt_buf_deinit(&b);
}

static void
legacy_names_need_no_quotes(void)
{
    NLT_CHECK(nlt_label_name_is_legacy(NLT_STR("_aZ09")));
    NLT_CHECK(!nlt_label_name_is_legacy(NLT_STR("0a")));
    NLT_CHECK(!nlt_label_name_is_legacy(NLT_STR("a:b")));
    NLT_CHECK(!nlt_label_name_is_legacy(NLT_STR("")));
    NLT_CHECK(!nlt_label_name_is_legacy(NLT_STR("a.b")));
    NLT_CHECK(nlt_metric_name_is_legacy(NLT_STR(":a:b")));
    NLT_CHECK(!nlt_metric_name_is_legacy(NLT_STR("1a")));
    NLT_CHECK(!nlt_metric_name_is_legacy(NLT_STR("\xc3\xa9")));
}

int
main(void)
{
    NLT_TEST(labels_are_found_by_name);
    NLT_TEST(order_is_by_label_then_length);
    NLT_TEST(borders_between_strings_count_in_the_hash);
    NLT_TEST(each_byte_counts_in_the_hash);
    NLT_TEST(what_is_alike_is_counted_from_the_beginning);
    NLT_TEST(normalizing_sorts_drops_and_tells_duplicates);
    NLT_TEST(copies_are_deep);
    NLT_TEST(sets_print_as_prometheus_prints_them);
    NLT_TEST(legacy_names_need_no_quotes);
    return nlt_test_done();
}

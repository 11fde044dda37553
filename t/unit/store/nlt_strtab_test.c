/*
 * nlt_strtab_test.c - strings in order, against the C library's sort.
 */
#include "nlt_test.h"

#include "nlt_strtab.h"

#define N_MAX 4000

static nlt_str_t v[N_MAX];
static char room[N_MAX][64];

static int
by_string(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
    int c = nlt_str_cmp(v[x], v[y]);

    return c ? c : (x > y) - (x < y);
}

/* Some have much in common, some end within others, some have zeros. */
static void
make(size_t n, unsigned kind)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = 0, more;

        if (kind & 1) {
            len = (size_t) snprintf(room[i], sizeof(room[i]),
                                    "production-eu-west-1/pod-%u-",
                                    (unsigned) nlt_test_below(3));
        }
        more = nlt_test_below(kind & 2 ? 30 : 5);
        for (size_t k = 0; k < more; k++) {
            room[i][len++] = kind & 4 ? (char) nlt_test_below(256)
                                      : "ab\0c"[nlt_test_below(4)];
        }
        v[i] = (nlt_str_t){len, room[i]};
    }
}

static void
strings_are_ordered(void)
{
    static uint32_t want[N_MAX];
    static nlt_str_t ordered[N_MAX];

    for (unsigned round = 0; round < 200; round++) {
        size_t n = nlt_test_below(round % 10 ? 300 : N_MAX) + 1;
        nlt_pool_t pool;
        uint32_t *got;

        nlt_pool_init(&pool, &nlt_mem_libc, 1u << 20);
        make(n, round % 8);
        for (uint32_t i = 0; i < n; i++) {
            want[i] = i;
        }
        qsort(want, n, sizeof(want[0]), by_string);
        got = nlt_strings_order(&pool, v, n);
        NLT_CHECK(got && memcmp(got, want, n * sizeof(want[0])) == 0);
        /* and stay as they are */
        for (uint32_t i = 0; i < n; i++) {
            ordered[i] = v[want[i]];
        }
        got = nlt_strings_order(&pool, ordered, n);
        for (uint32_t i = 0; got && i < n; i++) {
            NLT_CHECK_INT(got[i], i);
        }
        nlt_pool_deinit(&pool);
    }
}

static void
no_strings_are_in_order(void)
{
    nlt_pool_t pool;

    nlt_pool_init(&pool, &nlt_mem_libc, 1u << 20);
    NLT_CHECK(nlt_strings_order(&pool, NULL, 0) != NULL);
    nlt_pool_deinit(&pool);
}

static void
small_budget_gives_nothing(void)
{
    nlt_pool_t pool;

    nlt_pool_init(&pool, &nlt_mem_libc, 10000);
    make(1000, 0);
    NLT_CHECK(nlt_strings_order(&pool, v, 1000) == NULL);
    nlt_pool_deinit(&pool);
}

static void
a_table_has_each_string_once(void)
{
    nlt_strtab_t t;
    nlt_pool_t pool;
    uint32_t *order;

    nlt_pool_init(&pool, &nlt_mem_libc, 1u << 20);
    nlt_strtab_init(&t, &pool);
    make(2000, 1);
    for (size_t i = 0; i < 2000; i++) {
        uint32_t no = UINT32_MAX;
        bool is_new, again;

        NLT_CHECK(nlt_strtab_add(&t, v[i], &no, &is_new));
        NLT_CHECK(no < t.n && nlt_str_eq(t.v[no], v[i]));
        NLT_CHECK(nlt_strtab_add(&t, v[i], &no, &again) && !again);
    }
    order = nlt_strtab_order(&t);
    for (size_t i = 1; order && i < t.n; i++) {
        NLT_CHECK(nlt_str_cmp(t.v[order[i - 1]], t.v[order[i]]) < 0);
    }
    NLT_CHECK(order != NULL && t.n < 2000);
    nlt_pool_deinit(&pool);
}

int
main(void)
{
    NLT_TEST(strings_are_ordered);
    NLT_TEST(no_strings_are_in_order);
    NLT_TEST(small_budget_gives_nothing);
    NLT_TEST(a_table_has_each_string_once);
    return nlt_test_done();
}

/*
 * nlt_postings_twin_test.c - set operations against arrays of flags.
 */
#include "nlt_postings.h"
#include "nlt_test.h"

#define SPACE 4096

typedef struct {
    bool has[SPACE];
    uint32_t v[SPACE];
    size_t n;
} set_t;

/* A random set: sparse, dense, in runs, empty or full. */
static void
make_set(set_t *s)
{
    static const unsigned one_in[] = {1, 2, 3, 50, 1000, SPACE + 1};
    uint64_t rare = one_in[nlt_test_below(NLT_COUNT(one_in))];
    uint64_t lo = nlt_test_below(SPACE), hi = lo + nlt_test_below(SPACE);
    bool runs = nlt_test_below(3) == 0;

    s->n = 0;
    for (uint32_t i = 0; i < SPACE; i++) {
        s->has[i] = runs ? i >= lo && i < hi : nlt_test_below(rare) == 0;
        if (rare > SPACE) {
            s->has[i] = false;
        }
        if (s->has[i]) {
            s->v[s->n++] = i;
        }
    }
}

static nlt_postings_t
list_of(const set_t *s)
{
    return (nlt_postings_t){s->v, s->n};
}

static void
check_is(const bool *want, const uint32_t *got, size_t n)
{
    size_t k = 0;

    for (uint32_t i = 0; i < SPACE; i++) {
        if (want[i]) {
            NLT_CHECK(k < n && got[k] == i);
            k++;
        }
    }
    NLT_CHECK_INT(n, k);
}

static void
operations_agree_with_flags(void)
{
    static set_t a, b, c;
    static uint32_t out[2 * SPACE];
    static bool want[SPACE];

    for (int round = 0; round < 300; round++) {
        make_set(&a);
        make_set(&b);
        c = a;
        for (size_t i = 0; i < SPACE; i++) {
            want[i] = a.has[i] && b.has[i];
        }
        check_is(want, out,
                 nlt_postings_intersect(list_of(&a), list_of(&b), out));
        check_is(want, c.v,
                 nlt_postings_intersect(list_of(&c), list_of(&b), c.v));
        c = b;
        check_is(want, c.v,
                 nlt_postings_intersect(list_of(&a), list_of(&c), c.v));
        c = a;
        for (size_t i = 0; i < SPACE; i++) {
            want[i] = a.has[i] && !b.has[i];
        }
        check_is(want, out,
                 nlt_postings_subtract(list_of(&a), list_of(&b), out));
        check_is(want, c.v,
                 nlt_postings_subtract(list_of(&c), list_of(&b), c.v));
        for (size_t i = 0; i < SPACE; i++) {
            want[i] = a.has[i] || b.has[i];
        }
        check_is(want, out, nlt_postings_union(list_of(&a), list_of(&b), out));
    }
}

static void
seek_agrees_with_a_walk(void)
{
    static set_t a;

    for (int round = 0; round < 300; round++) {
        make_set(&a);
        for (int k = 0; k < 50; k++) {
            size_t from = nlt_test_below(a.n + 2), want = from;
            uint32_t x = (uint32_t) nlt_test_below(SPACE + 1);

            while (want < a.n && a.v[want] < x) {
                want++;
            }
            want = want > a.n ? a.n : want;
            NLT_CHECK_INT(nlt_postings_seek(a.v, a.n, from, x), want);
        }
    }
}

static void
union_of_many_agrees_with_flags(void)
{
    static set_t sets[24];
    static bool want[SPACE];
    static uint32_t out[SPACE];

    for (int round = 0; round < 100; round++) {
        nlt_postings_t lists[24], got;
        size_t n = nlt_test_below(25);
        /* lie together, or far apart */
        uint32_t step = round % 2 ? 1 : UINT32_MAX / SPACE;
        nlt_pool_t pool;

        nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
        memset(want, 0, sizeof(want));
        for (size_t i = 0; i < n; i++) {
            make_set(&sets[i]);
            lists[i] = list_of(&sets[i]);
            for (size_t k = 0; k < SPACE; k++) {
                want[k] |= sets[i].has[k];
            }
            for (size_t k = 0; k < sets[i].n; k++) {
                sets[i].v[k] *= step;
            }
        }
        NLT_CHECK(nlt_postings_union_many(&pool, lists, n, &got));
        NLT_CHECK(got.n <= SPACE);
        for (size_t k = 0; k < got.n; k++) {
            NLT_CHECK(got.v[k] % step == 0);
            out[k] = got.v[k] / step;
        }
        check_is(want, out, got.n);
        nlt_pool_deinit(&pool);
    }
}

static void
union_of_many_says_when_memory_is_out(void)
{
    static set_t a, b;
    nlt_postings_t lists[2], got;
    nlt_pool_t pool;

    for (uint32_t i = 0; i < SPACE; i++) {
        a.v[i] = b.v[i] = i;
    }
    a.n = b.n = SPACE;
    lists[0] = list_of(&a);
    lists[1] = list_of(&b);
    nlt_pool_init(&pool, &nlt_mem_libc, 16384);
    NLT_CHECK(!nlt_postings_union_many(&pool, lists, 2, &got));
    nlt_pool_deinit(&pool);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(operations_agree_with_flags);
    NLT_TEST(seek_agrees_with_a_walk);
    NLT_TEST(union_of_many_agrees_with_flags);
    NLT_TEST(union_of_many_says_when_memory_is_out);
    return nlt_test_done();
}

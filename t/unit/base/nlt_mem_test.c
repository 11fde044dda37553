/* nlt_mem_test.c - pools: budget, growth, marks; a slow twin for all. */
#include "nlt_mem.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

static void
pool_never_takes_more_than_its_budget(void)
{
    nlt_test_mem_t mem;
    nlt_pool_t pool;
    size_t n = 0;

    nlt_test_mem_init(&mem, -1);
    nlt_pool_init(&pool, &mem.mem, 100000);
    NLT_CHECK(nlt_pool_alloc(&pool, 0) != NULL);
    NLT_CHECK_INT(mem.bytes, 0);
    while (nlt_pool_alloc(&pool, 100) != NULL) {
        n += 100;
        NLT_CHECK(mem.bytes <= 100000 && mem.bytes == pool.used_bytes);
    }
    NLT_CHECK(pool.over_budget);
    NLT_CHECK(n > 80000); /* the last pages are cut to fit */
    NLT_CHECK(nlt_pool_alloc(&pool, 0) != NULL);
    nlt_pool_deinit(&pool);
    NLT_CHECK_INT(mem.bytes, 0);
    NLT_CHECK(!pool.over_budget);
    NLT_CHECK(nlt_pool_alloc(&pool, 90000) != NULL);
    NLT_CHECK(nlt_pool_alloc(&pool, 90000) == NULL);
    nlt_pool_deinit(&pool);
    NLT_CHECK_INT(mem.bytes, 0);
}

static void
scratch_in_a_loop_takes_the_same_page(void)
{
    nlt_test_mem_t mem;
    nlt_pool_t pool;
    size_t first = 0;

    nlt_test_mem_init(&mem, -1);
    nlt_pool_init(&pool, &mem.mem, 64 << 20);
    for (int i = 0; i < 100; i++) {
        nlt_pool_mark_t mark = nlt_pool_mark(&pool);

        NLT_CHECK(nlt_pool_alloc(&pool, 100) != NULL);
        first = i == 0 ? mem.bytes : first;
        NLT_CHECK_INT(mem.bytes, first);
        nlt_pool_rewind(&pool, mark);
    }
    nlt_pool_deinit(&pool);
}

static void
absurd_sizes_fail(void)
{
    nlt_pool_t pool;

    nlt_pool_init(&pool, &nlt_mem_libc, SIZE_MAX);
    NLT_CHECK(nlt_pool_alloc(&pool, SIZE_MAX) == NULL);
    NLT_CHECK(nlt_pool_alloc(&pool, SIZE_MAX - 40) == NULL);
    NLT_CHECK(nlt_pool_array(&pool, SIZE_MAX / 2, 3) == NULL);
    void *p = nlt_pool_alloc(&pool, 8);
    NLT_CHECK(nlt_pool_grow(&pool, p, 8, SIZE_MAX - 20) == NULL);
    NLT_CHECK(nlt_pool_array(&pool, 4, 4) != NULL);
    nlt_pool_deinit(&pool);
}

static void
failing_mem_is_not_over_budget(void)
{
    nlt_test_mem_t mem;
    nlt_pool_t pool;

    nlt_test_mem_init(&mem, 1);
    nlt_pool_init(&pool, &mem.mem, 1 << 20);
    NLT_CHECK(nlt_pool_alloc(&pool, 10) != NULL);
    NLT_CHECK(nlt_pool_alloc(&pool, 100000) == NULL);
    NLT_CHECK(!pool.over_budget);
    NLT_CHECK(nlt_pool_alloc(&pool, 10) != NULL);
    nlt_pool_deinit(&pool);
    NLT_CHECK(nlt_mem_zalloc(&mem.mem, 4) == NULL);
    NLT_CHECK_INT(mem.bytes, 0);
}

static void
grow_in_place_and_elsewhere(void)
{
    nlt_test_mem_t mem;
    nlt_pool_t pool;
    char *p, *q;

    nlt_test_mem_init(&mem, -1);
    nlt_pool_init(&pool, &mem.mem, 64 << 20);
    p = nlt_pool_grow(&pool, NULL, 0, 10);
    memset(p, 'x', 10);
    q = nlt_pool_grow(&pool, p, 10, 1000);
    NLT_CHECK(q == p);
    (void) nlt_pool_alloc(&pool, 1);
    q = nlt_pool_grow(&pool, p, 1000, 2000);
    NLT_CHECK(q != p && memcmp(q, "xxxxxxxxxx", 10) == 0);
    /* A large one gives its old page back. */
    size_t size = 1 << 20;
    p = nlt_pool_alloc(&pool, size);
    memset(p, 'y', size);
    size_t before = mem.bytes;
    p = nlt_pool_grow(&pool, p, size, 2 * size);
    NLT_CHECK(p[0] == 'y' && p[size - 1] == 'y');
    NLT_CHECK_INT(mem.bytes, before + size);
    nlt_pool_deinit(&pool);
    NLT_CHECK_INT(mem.bytes, 0);
}

static void
a_large_block_grown_across_a_mark_stays(void)
{
    nlt_test_mem_t mem;
    nlt_pool_t pool;
    size_t size = 100000;

    nlt_test_mem_init(&mem, -1);
    nlt_pool_init(&pool, &mem.mem, 1 << 20);
    char *p = nlt_pool_alloc(&pool, size);
    nlt_pool_mark_t mark = nlt_pool_mark(&pool);
    p = nlt_pool_grow(&pool, p, size, 2 * size);
    memset(p, 'x', 2 * size);
    nlt_pool_rewind(&pool, mark);
    NLT_CHECK(pool.used_bytes > 2 * size);
    NLT_CHECK(p[0] == 'x' && p[2 * size - 1] == 'x');
    nlt_pool_deinit(&pool);
}

static void
strings_are_copied(void)
{
    nlt_test_mem_t mem;
    nlt_pool_t pool;

    nlt_test_mem_init(&mem, -1);
    nlt_pool_init(&pool, &mem.mem, 20000);
    NLT_CHECK_STR(nlt_pool_str(&pool, NLT_STR("abc")), "abc");
    NLT_CHECK(nlt_pool_str(&pool, (nlt_str_t){0, NULL}).data != NULL);
    NLT_CHECK(nlt_pool_str(&pool, (nlt_str_t){1 << 20, "x"}).data == NULL);
    char *z = nlt_pool_zalloc(&pool, 33);
    NLT_CHECK(z[0] == 0 && z[32] == 0);
    nlt_pool_deinit(&pool);
}

#define SLOTS 64

typedef struct {
    unsigned char *p;
    size_t n;
    unsigned char fill;
    int depth; /* marks alive when it was made */
} slot_t;

static void
check_slot(const slot_t *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->p[i] != s->fill) {
            nlt_test_fail(__FILE__, __LINE__, "bytes changed");
            return;
        }
    }
}

/* Every block keeps its bytes until it is rewound; marks nest. */
static void
random_use_keeps_every_byte(void)
{
    nlt_test_mem_t mem;
    nlt_pool_t pool;
    slot_t slots[SLOTS];
    nlt_pool_mark_t marks[8];
    size_t used[8];
    int depth = 0, n = 0;

    (void) nlt_test_seed();
    nlt_test_mem_init(&mem, -1);
    nlt_pool_init(&pool, &mem.mem, 256 << 20);
    for (int round = 0; round < 20000; round++) {
        uint64_t dice = nlt_test_below(100);
        size_t size = nlt_test_below(10) == 0 ? nlt_test_below(40000)
                                              : nlt_test_below(300);

        if (dice < 60 && n < SLOTS) {
            slot_t s = {nlt_pool_alloc(&pool, size), size,
                        (unsigned char) nlt_test_rand(), depth};

            NLT_CHECK(s.p != NULL && (size == 0 || (uintptr_t) s.p % 16 == 0));
            memset(s.p, s.fill, size);
            slots[n++] = s;
        } else if (dice < 75 && n > 0) {
            slot_t *s = &slots[nlt_test_below((uint64_t) n)];

            if (s->depth == depth) {
                s->p = nlt_pool_grow(&pool, s->p, s->n, s->n + size);
                check_slot(s);
                s->n += size;
                memset(s->p, s->fill, s->n);
            }
        } else if (dice < 82 && depth < 8) {
            used[depth] = pool.used_bytes;
            marks[depth++] = nlt_pool_mark(&pool);
        } else if (dice < 95 && depth > 0) {
            nlt_pool_rewind(&pool, marks[--depth]);
            NLT_CHECK_INT(pool.used_bytes, used[depth]);
            while (n > 0 && slots[n - 1].depth > depth) {
                n--;
            }
        } else if (dice == 99 && n == SLOTS) {
            nlt_pool_deinit(&pool);
            n = depth = 0;
        }
        for (int i = 0; i < n; i++) {
            check_slot(&slots[i]);
        }
        NLT_CHECK_INT(mem.bytes, pool.used_bytes);
    }
    nlt_pool_deinit(&pool);
    NLT_CHECK_INT(mem.bytes, 0);
}

int
main(void)
{
    NLT_TEST(pool_never_takes_more_than_its_budget);
    NLT_TEST(scratch_in_a_loop_takes_the_same_page);
    NLT_TEST(absurd_sizes_fail);
    NLT_TEST(failing_mem_is_not_over_budget);
    NLT_TEST(grow_in_place_and_elsewhere);
    NLT_TEST(a_large_block_grown_across_a_mark_stays);
    NLT_TEST(strings_are_copied);
    NLT_TEST(random_use_keeps_every_byte);
    return nlt_test_done();
}

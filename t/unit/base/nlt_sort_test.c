/* nlt_sort_test.c - the heap sort against insertion. */
#include "nlt_sort.h"
#include "nlt_test.h"

typedef struct {
    uint32_t key;
    uint32_t serial; /* told apart when keys are equal */
} item_t;

#define N_MAX 200

/* ctx points to -1 for the reverse order. */
static bool
less(const item_t *a, const item_t *b, const void *ctx)
{
    const int *direction = ctx;

    return *direction > 0 ? a->key < b->key : a->key > b->key;
}

NLT_HEAP_SORT(sort_items, item_t, less);

static void
check_sorted(const item_t *v, size_t n, int direction)
{
    bool seen[N_MAX] = {false};

    for (size_t i = 0; i < n; i++) {
        NLT_CHECK(i == 0 || !less(&v[i], &v[i - 1], &direction));
        NLT_CHECK(v[i].serial < n && !seen[v[i].serial]);
        seen[v[i].serial % N_MAX] = true;
    }
}

static void
every_length_comes_out_in_order(void)
{
    item_t v[N_MAX];

    for (size_t n = 0; n < N_MAX; n++) {
        for (int keys = 1; keys <= 1000; keys *= 10) {
            int direction = nlt_test_below(2) ? 1 : -1;

            for (size_t i = 0; i < n; i++) {
                v[i].key = (uint32_t) nlt_test_below((uint64_t) keys);
                v[i].serial = (uint32_t) i;
            }
            sort_items(v, n, &direction);
            check_sorted(v, n, direction);
        }
    }
}

static void
sorted_and_reversed_input_stays_whole(void)
{
    item_t v[N_MAX];

    for (int direction = -1; direction <= 1; direction += 2) {
        for (uint32_t i = 0; i < N_MAX; i++) {
            v[i] = (item_t){i, i};
        }
        sort_items(v, N_MAX, &direction);
        check_sorted(v, N_MAX, direction);
    }
}

int
main(void)
{
    nlt_test_seed();
    NLT_TEST(every_length_comes_out_in_order);
    NLT_TEST(sorted_and_reversed_input_stays_whole);
    return nlt_test_done();
}

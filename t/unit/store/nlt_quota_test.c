/*
 * nlt_quota_test.c - sliding windows against a list of everything that was
 * counted; the table against hostile keys.
 */
#include "nlt_test.h"

#include "nlt_quota.h"

#define EVENTS 20000

static struct {
    uint64_t t_ms, n;
} events[EVENTS];

/* What happened in (t - window, t], from the list. */
static uint64_t
model_sum(size_t n, uint64_t t_ms, uint64_t window_ms)
{
    uint64_t sum = 0;

    while (n-- > 0 && events[n].t_ms + window_ms > t_ms) {
        sum += events[n].n;
    }
    return sum;
}

static void
window_counts_at_least_its_length_and_a_part_more(void)
{
    static const uint32_t windows[] = {
        NLT_WINDOW_MS_MIN, 1000, 10000, 999, 60000, NLT_WINDOW_HOUR_MS};

    for (size_t k = 0; k < sizeof(windows) / sizeof(windows[0]); k++) {
        uint32_t w_ms = windows[k];
        uint64_t t = 1 + nlt_test_rand() % 1000000000;
        uint64_t part = (w_ms + 30) / 31, sum;
        nlt_window_t w = {0};

        for (size_t i = 0; i < EVENTS; i++) {
            /* now and then a long silence: old parts must not come back */
            t += nlt_test_rand() % (nlt_test_rand() % 50 ? part : 40 * part);
            events[i].t_ms = t;
            events[i].n = nlt_test_rand() % 3000;
            nlt_window_add(&w, t, w_ms, events[i].n);
            sum = nlt_window_sum(&w, t, w_ms);
            NLT_CHECK(sum >= model_sum(i + 1, t, w_ms));
            NLT_CHECK(sum <= model_sum(i + 1, t, 32 * part));
        }
        t += 32 * part;
        NLT_CHECK_INT(nlt_window_sum(&w, t, w_ms), 0);
    }
}

static void
who_is_held_to_a_limit_never_has_more_of_it(void)
{
    const uint64_t max = 50000;
    const uint32_t w_ms = 10000;
    nlt_window_t w = {0};
    uint64_t t = 12345, taken = 0, refused = 0;
    size_t n = 0;

    while (n < EVENTS) {
        t += nlt_test_rand() % 20;
        events[n].n = 1 + nlt_test_rand() % 500;
        events[n].t_ms = t;
        if (nlt_window_sum(&w, t, w_ms) + events[n].n > max) {
            refused++;
            continue;
        }
        nlt_window_add(&w, t, w_ms, events[n].n);
        taken += events[n].n;
        n++;
        NLT_CHECK(model_sum(n, t, w_ms) <= max);
    }
    NLT_CHECK(refused > 0);
    /* and nearly all of it, as it asks for about 25 times as much */
    NLT_CHECK(taken * w_ms * 100 >= max * (t - 12345) * 94);
}

static void
wait_ends_when_there_is_room(void)
{
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t w_ms = 1000 + (uint32_t) (nlt_test_rand() % 100000);
        uint64_t t = 1 + nlt_test_rand() % 1000000, max, wait;
        nlt_window_t w = {0};

        for (unsigned k = 0; k < 50; k++) {
            t += nlt_test_rand() % (w_ms / 20);
            nlt_window_add(&w, t, w_ms, nlt_test_rand() % 100);
        }
        max = 1 + nlt_test_rand() % 3000;
        wait = nlt_window_wait(&w, t, w_ms, max);
        NLT_CHECK(nlt_window_sum(&w, t + wait, w_ms) < max);
        NLT_CHECK(wait == 0 || nlt_window_sum(&w, t + wait - 1, w_ms) >= max);
    }
}

static void
a_clock_that_is_a_part_behind_counts_now(void)
{
    nlt_window_t w = {0};

    nlt_window_add(&w, 100000, 1000, 5);
    nlt_window_add(&w, 99990, 1000, 7);
    NLT_CHECK_INT(nlt_window_sum(&w, 100000, 1000), 12);
    NLT_CHECK_INT(nlt_window_sum(&w, 99960, 1000), 12);
}

static void
counts_saturate(void)
{
    nlt_window_t w = {0};

    nlt_window_add(&w, 1000, 1000, UINT64_MAX / 2);
    nlt_window_add(&w, 1000, 1000, 5);
    NLT_CHECK_INT(nlt_window_sum(&w, 1000, 1000), (INT64_C(1) << 36) - 1);
    NLT_CHECK_INT(nlt_window_sum(&w, 100000, 1000), 0);
}

static nlt_quotas_t *
table(size_t size)
{
    void *p = aligned_alloc(64, size);

    if (p == NULL) {
        abort();
    }
    memset(p, 0, size);
    return nlt_quotas_init(p, size);
}

static void
keys_have_quotas_of_their_own(void)
{
    static nlt_quota_t *q[1000];
    nlt_quotas_t *t = table(16u << 20);
    char key[32];

    NLT_CHECK((16u << 20) / sizeof(nlt_quota_t) > 25000);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        q[i] = nlt_quotas_get(t, nlt_test_str(key), 1, 5);
        nlt_window_add(&q[i]->samples, 5, 1000, (uint64_t) i);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        NLT_CHECK(nlt_quotas_get(t, nlt_test_str(key), 1, 6) == q[i]);
        NLT_CHECK_INT(nlt_window_sum(&q[i]->samples, 5, 1000), i);
        NLT_CHECK(nlt_quotas_get(t, nlt_test_str(key), 2, 6) != q[i]);
    }
    free(t);
}

static void
hostile_keys_are_keys(void)
{
    nlt_quotas_t *t = table(1u << 20);
    char *big = calloc(1, 1u << 20);
    nlt_str_t a = {1u << 20, big}, b = {(1u << 20) - 1, big}, none = {0, ""};

    NLT_CHECK(nlt_quotas_get(t, a, 1, 5) == nlt_quotas_get(t, a, 1, 6));
    NLT_CHECK(nlt_quotas_get(t, a, 1, 5) != nlt_quotas_get(t, b, 1, 6));
    NLT_CHECK(nlt_quotas_get(t, none, 1, 5) != nlt_quotas_get(t, b, 1, 6));
    free(big);
    free(t);
}

static void
the_least_used_key_makes_room(void)
{
    nlt_quotas_t *t = table(20032); /* two sets or so */
    nlt_quota_t *mine = nlt_quotas_get(t, NLT_STR("mine"), 1, 1);
    char key[32];
    uint64_t room;

    nlt_window_add(&mine->samples, 1, 1000, 7);
    NLT_CHECK(nlt_quota_grow(mine, 1, 5));
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        nlt_quota_t *q =
            nlt_quotas_get(t, nlt_test_str(key), 1, (uint64_t) i + 2);

        /* one that is new has nothing of whose place it took */
        NLT_CHECK_INT(nlt_window_sum(&q->samples, 1, 1000), 0);
        NLT_CHECK_INT(nlt_quota_active(q, 1), 0);
        nlt_window_add(&q->samples, 1, 1000, 7);
        NLT_CHECK(nlt_quota_grow(q, 1, 5));
        /* who keeps coming keeps its own */
        NLT_CHECK(i % 2
                  || nlt_quotas_get(t, NLT_STR("mine"), 1, (uint64_t) i + 2)
                         == mine);
    }
    NLT_CHECK_INT(nlt_window_sum(&mine->samples, 1, 1000), 7);
    /* all but those that there is room for; not those of long ago */
    room = 1001 - nlt_quotas_forgotten(t);
    NLT_CHECK(room >= 2 && room <= 20032 / sizeof(nlt_quota_t));
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "later %d", i);
        (void) nlt_quotas_get(t, nlt_test_str(key), 1, UINT64_C(9000000));
    }
    NLT_CHECK_INT(nlt_quotas_forgotten(t), 1001 + 100 - 2 * room);
    free(t);
}

static void
series_are_counted_by_arena(void)
{
    nlt_quota_t q = {0};

    for (int i = 0; i < 10; i++) {
        NLT_CHECK(nlt_quota_grow(&q, 3, 10));
    }
    NLT_CHECK(!nlt_quota_grow(&q, 3, 10));
    nlt_quota_shrink(&q, 3);
    NLT_CHECK(nlt_quota_grow(&q, 3, 10));
    NLT_CHECK_INT(nlt_quota_active(&q, 3), 10);
    NLT_CHECK(nlt_quota_grow(&q, 4, 10));
    NLT_CHECK_INT(nlt_quota_active(&q, 4), 1);
    nlt_quota_shrink(&q, 3); /* of the old one: nothing happens */
    NLT_CHECK_INT(nlt_quota_active(&q, 4), 1);
}

static void
a_refusal_is_told_every_ten_seconds(void)
{
    nlt_quota_t q = {0};
    uint64_t n = 0, told = 0, sum = 0;

    for (uint64_t t = 5; t < 60000; t += 10) {
        if (nlt_quota_tell(&q, t, &n)) {
            told++;
            sum += n;
        }
    }
    NLT_CHECK_INT(told, 6);
    NLT_CHECK_INT(sum, 5001);
}

static void
a_table_needs_room(void)
{
    static uint64_t small[64];

    NLT_CHECK(nlt_quotas_init(small, sizeof(small)) == NULL);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(window_counts_at_least_its_length_and_a_part_more);
    NLT_TEST(who_is_held_to_a_limit_never_has_more_of_it);
    NLT_TEST(wait_ends_when_there_is_room);
    NLT_TEST(a_clock_that_is_a_part_behind_counts_now);
    NLT_TEST(counts_saturate);
    NLT_TEST(keys_have_quotas_of_their_own);
    NLT_TEST(hostile_keys_are_keys);
    NLT_TEST(the_least_used_key_makes_room);
    NLT_TEST(series_are_counted_by_arena);
    NLT_TEST(a_refusal_is_told_every_ten_seconds);
    NLT_TEST(a_table_needs_room);
    return nlt_test_done();
}

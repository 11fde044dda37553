/*
 * nlt_head_test.c - one process: create, register, append, select, read.
 */
#include "nlt_test.h"

#include "nlt_ahead.h"
#include "nlt_head_fixture.h"
#include "nlt_head_pairs.h"
#include "nlt_xhash.h"

#define T0 INT64_C(1700000000000)

static nlt_head_t *
make(fixture_t *f, uint64_t memory)
{
    nlt_head_t *h = NULL;
    nlt_err_t err;

    fixture_open(f, memory);
    if (nlt_head_create(&f->conf, 1, &h, &err) != NLT_OK) {
        printf("# %s\n", err.text);
        exit(2);
    }
    return h;
}

static uint32_t
series_of(nlt_head_t *h, nlt_arena_t *a, const char *name, const char *job,
          const char *instance)
{
    nlt_label_t v[3] = {
        {NLT_STR("__name__"), {strlen(name), name}},
        {NLT_STR("instance"), {strlen(instance), instance}},
        {NLT_STR("job"), {strlen(job), job}},
    };
    uint32_t series = 0;

    NLT_CHECK_INT(fixture_register(h, a, 0, (nlt_labels_t){v, 3}, &series),
                  NLT_OK);
    return series;
}

static size_t
read_all(const nlt_arena_t *a, uint32_t series, int64_t t_min, int64_t t_max,
         nlt_read_t what, nlt_samples_t *out)
{
    nlt_err_t err;

    out->n = 0;
    NLT_CHECK_INT(nlt_arena_read(a, series, what, t_min, t_max, out, &err),
                  NLT_OK);
    return out->n;
}

static void
append_and_read_back_one_series(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_append_result_t result;
    nlt_pool_t pool;
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_samples_t out = {.pool = &pool};
    uint32_t s;

    NLT_CHECK(a != NULL);
    s = series_of(h, a, "up", "node", "a:9100");
    NLT_CHECK_INT(s, 1);
    NLT_CHECK_INT(series_of(h, a, "up", "node", "a:9100"), 1);
    NLT_CHECK_INT(series_of(h, a, "up", "node", "b:9100"), 2);

    for (int i = 0; i < 3000; i++) {
        NLT_CHECK_INT(fixture_append(a, s, T0 + i * 15000, i * 1.25, &result),
                      NLT_OK);
        NLT_CHECK_INT(result, NLT_APPEND_OK);
    }
    NLT_CHECK_INT(read_all(a, s, INT64_MIN, INT64_MAX, NLT_READ_ALL, &out),
                  3000);
    for (int i = 0; i < 3000; i++) {
        NLT_CHECK_INT(out.t_ms[i], T0 + i * 15000);
        NLT_CHECK_BITS(out.v[i], i * 1.25);
    }
    NLT_CHECK_INT(read_all(a, s, T0 + 15000, T0 + 45000, NLT_READ_ALL, &out),
                  3);
    NLT_CHECK_INT(read_all(a, s, T0, T0 + 45001, NLT_READ_NEWEST, &out), 1);
    NLT_CHECK_INT(out.t_ms[0], T0 + 45000);
    NLT_CHECK_INT(read_all(a, s, T0 + 1, T0 + 14999, NLT_READ_NEWEST, &out),
                  0);
    NLT_CHECK_INT(read_all(a, s, T0 + 1, T0 + 14999, NLT_READ_ALL, &out), 0);
    NLT_CHECK_INT(read_all(a, 2, INT64_MIN, INT64_MAX, NLT_READ_ALL, &out), 0);
    NLT_CHECK_INT(atomic_load(&nlt_arena_header(a)->t_min_ms), T0);
    NLT_CHECK_INT(atomic_load(&nlt_arena_header(a)->t_max_ms),
                  T0 + 2999 * 15000);
    NLT_CHECK_INT(atomic_load(&nlt_arena_header(a)->n_samples), 3000);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(h)->t_newest_ms),
                  T0 + 2999 * 15000);

    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

/* Chunks of every length; a range may begin anywhere in one. */
static void
ranges_over_many_chunks_are_exact(void)
{
    enum {
        N = 20000
    };
    static int64_t t[N];
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_append_result_t result;
    nlt_pool_t pool;
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_samples_t out = {.pool = &pool};
    uint32_t s = series_of(h, a, "up", "node", "a:9100");
    int64_t now = T0;

    for (size_t i = 0; i < N; i++) {
        /* Steady, late, with gaps, or at two paces in one chunk. */
        size_t part = i / 1000 % 4;

        now += part == 1   ? 15000 + (int64_t) nlt_test_below(3000)
               : part == 2 ? 1000 + 90000 * (nlt_test_below(50) == 0)
               : part == 3 ? (i % 200 < 100 ? 5000 : 60000)
                           : 60000;
        t[i] = now;
        NLT_CHECK_INT(fixture_append(a, s, t[i], (double) i, &result), NLT_OK);
    }
    for (unsigned round = 0; round < 600; round++) {
        size_t lo = nlt_test_below(N), hi = lo, n;
        int64_t t_min, t_max;

        hi += nlt_test_below(round % 2 ? N - lo : 4000);
        hi = hi < N ? hi : N - 1;
        t_min = t[lo] - (int64_t) nlt_test_below(2);
        t_max = t[hi] + (int64_t) nlt_test_below(2);
        n = read_all(a, s, t_min, t_max, NLT_READ_ALL, &out);
        NLT_CHECK_INT(n, hi - lo + 1);
        for (size_t i = 0; i < n; i++) {
            if (out.t_ms[i] != t[lo + i] || out.v[i] != (double) (lo + i)) {
                NLT_CHECK_INT(out.t_ms[i], t[lo + i]);
                break;
            }
        }
    }
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

/* A sample more for some series: steady, with gaps, or back in time. */
static void
grow(nlt_arena_t *a, const uint32_t *series, int64_t *last, size_t n,
     uint64_t back_of)
{
    nlt_append_result_t result;

    for (size_t i = 0; i < n; i++) {
        bool back = nlt_test_below(back_of) == 0;
        int64_t t;

        if (i % 8 == 7 || nlt_test_below(2)) {
            continue; /* some have none */
        }
        t = last[i] + 60000 + (nlt_test_below(200) == 0 ? 900000 : 0);
        last[i] = back ? last[i] : t;
        NLT_CHECK_INT(fixture_append(a, series[i], back ? t - 100000 : t,
                                     (double) nlt_test_below(1000), &result),
                      NLT_OK);
    }
}

typedef struct {
    const nlt_arena_t *a;
    const uint32_t *series;
} ahead_set_t;

static size_t
ahead_refs(const void *of, size_t idx, nlt_ahead_ref_t *refs)
{
    const ahead_set_t *set = of;

    refs[0] = (nlt_ahead_ref_t){.arena = set->a, .id = set->series[idx]};
    return 1;
}

/* What was decoded ahead makes no difference, also if it is old by then. */
static void
reading_ahead_is_as_reading(void)
{
    enum {
        N = 150
    };
    static uint32_t series[N];
    static int64_t last[N];
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_pool_t pool;
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_samples_t ahead = {.pool = &pool}, plain = {.pool = &pool};
    ahead_set_t set = {a, series};
    size_t some = 0, found = 0;

    for (size_t i = 0; i < N; i++) {
        char instance[16];

        (void) snprintf(instance, sizeof(instance), "%zu", i);
        series[i] = series_of(h, a, "up", "node", instance);
        last[i] = T0;
    }
    for (unsigned round = 0; round < 300; round++) {
        nlt_read_t what = round % 3 ? NLT_READ_ALL : NLT_READ_NEWEST;
        int64_t t_min, t_max, from;

        grow(a, series, last, N, 10000);
        t_max = last[round % 7] + (int64_t) nlt_test_below(900000) - 450000;
        t_min =
            t_max - (int64_t) nlt_test_below(round % 2 ? 900000 : 20000000);
        for (size_t i = 0; i < N; i++) {
            if (round % 5 == 0) { /* as the first read of a query */
                ahead = (nlt_samples_t){.pool = &pool, .ahead = ahead.ahead};
            }
            from = t_min - (nlt_test_below(50) ? 0 : 9000000);
            if (nlt_ahead_read(&ahead, &set, i, N, ahead_refs, what, from,
                               t_max)) {
                found += ahead.n > 0;
            } else {
                read_all(a, series[i], from, t_max, what, &ahead);
            }
            read_all(a, series[i], from, t_max, what, &plain);
            NLT_CHECK_INT(ahead.n, plain.n);
            NLT_CHECK(ahead.n == 0
                      || (memcmp(ahead.t_ms, plain.t_ms, ahead.n * 8) == 0
                          && memcmp(ahead.v, plain.v, ahead.n * 8) == 0));
            some += ahead.n > 0;
            if (round % 7 == 0 && nlt_test_below(20) == 0) {
                grow(a, series, last, N, 200);
            }
        }
    }
    NLT_CHECK(some > 1000);
    NLT_CHECK(found > 1000);
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
equal_time_keeps_the_first_value(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_append_result_t result;
    nlt_pool_t pool;
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_samples_t out = {.pool = &pool};
    uint32_t s = series_of(h, a, "up", "node", "a:9100");
    nlt_head_sample_t check[2] = {{s, 0, T0, nlt_bits_of(1)},
                                  {s, 0, T0 + 5, nlt_bits_of(8)}};
    uint64_t there = 0;

    NLT_CHECK_INT(nlt_arena_check(a, check, 2, &there), 2);
    (void) !fixture_append(a, s, T0, 1, &result);
    (void) !fixture_append(a, s, T0 + 5, 7, &result);
    (void) !fixture_append(a, s, T0 + 5, 7, &result);
    NLT_CHECK_INT(result, NLT_APPEND_DUPLICATE);
    (void) !fixture_append(a, s, T0 + 5, 8, &result);
    NLT_CHECK_INT(result, NLT_APPEND_CONFLICT);
    (void) !fixture_append(a, s, T0, 1, &result);
    NLT_CHECK_INT(result, NLT_APPEND_DUPLICATE);
    (void) !fixture_append(a, s, T0, 2, &result);
    NLT_CHECK_INT(result, NLT_APPEND_CONFLICT);
    (void) !fixture_append(a, s, T0 + 3, 3, &result);
    NLT_CHECK_INT(result, NLT_APPEND_OOO);
    (void) !fixture_append(a, s, T0 + 3, 3, &result);
    NLT_CHECK_INT(result, NLT_APPEND_DUPLICATE);
    (void) !fixture_append(a, s, T0 + 3, 4, &result);
    NLT_CHECK_INT(result, NLT_APPEND_CONFLICT);
    NLT_CHECK_INT(nlt_arena_check(a, check, 2, &there), 1);
    NLT_CHECK_INT(there, nlt_bits_of(7));

    NLT_CHECK_INT(read_all(a, s, INT64_MIN, INT64_MAX, NLT_READ_ALL, &out), 3);
    NLT_CHECK_INT(out.t_ms[1], T0 + 3);
    NLT_CHECK_BITS(out.v[1], 3);
    NLT_CHECK_BITS(out.v[2], 7);
    NLT_CHECK_INT(read_all(a, s, T0, T0 + 4, NLT_READ_NEWEST, &out), 1);
    NLT_CHECK_INT(out.t_ms[0], T0 + 3);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(h)->counters.samples_duplicate),
                  3);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(h)->counters.samples_conflict), 3);

    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

/* What a writer remembers counts for readers only while it is not at work. */
static void
newest_is_not_what_a_writer_is_about_to_say(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_append_result_t result;
    nlt_pool_t pool;
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_samples_t out = {.pool = &pool};
    uint32_t s = series_of(h, a, "up", "node", "a:9100");
    nlt_arena_series_t *e = nlt_arena_series(a, s);
    nlt_stripe_t *st = &a->hdr->stripes[nlt_stripe_of(s)];

    (void) !fixture_append(a, s, T0, 1, &result);
    (void) !fixture_append(a, s, T0 + 5, 7, &result);
    NLT_CHECK_INT(read_all(a, s, T0, T0 + 9, NLT_READ_NEWEST, &out), 1);
    NLT_CHECK_INT(out.t_ms[0], T0 + 5);
    NLT_CHECK_BITS(out.v[0], 7);

    atomic_store(&st->in_flight, s);
    e->enc.t_ms = T0 + 8;
    e->enc.v_bits = nlt_bits_of(3);
    NLT_CHECK_INT(read_all(a, s, T0, T0 + 9, NLT_READ_NEWEST, &out), 1);
    NLT_CHECK_INT(out.t_ms[0], T0 + 5);
    NLT_CHECK_BITS(out.v[0], 7);
    /* One that is published already, but not in the entry. */
    atomic_store(&st->in_flight, 0);
    e->enc.count++;
    NLT_CHECK_INT(read_all(a, s, T0, T0 + 9, NLT_READ_NEWEST, &out), 1);
    NLT_CHECK_INT(out.t_ms[0], T0 + 5);

    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
chunks_are_cut_at_two_hours(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_append_result_t result;
    uint32_t s = series_of(h, a, "up", "node", "a:9100");
    uint64_t before;

    /* Also before 1970, where division rounds the wrong way. */
    (void) !fixture_append(a, s, -NLT_BORDER_MS - 1, 1, &result);
    before = atomic_load(&nlt_arena_header(a)->used_bytes);
    (void) !fixture_append(a, s, -NLT_BORDER_MS, 1, &result);
    NLT_CHECK(atomic_load(&nlt_arena_header(a)->used_bytes) > before);
    before = atomic_load(&nlt_arena_header(a)->used_bytes);
    (void) !fixture_append(a, s, -1, 1, &result);
    NLT_CHECK_INT(atomic_load(&nlt_arena_header(a)->used_bytes), before);
    (void) !fixture_append(a, s, 0, 1, &result);
    NLT_CHECK(atomic_load(&nlt_arena_header(a)->used_bytes) > before);

    nlt_head_detach(h);
    fixture_close(&f);
}

static size_t
select_n(const nlt_arena_t *a, nlt_pool_t *pool, const nlt_matcher_t *m,
         size_t n, uint32_t **out)
{
    nlt_err_t err;
    size_t found = 0;

    NLT_CHECK_INT(nlt_arena_select(a, pool, 0, m, n, out, &found, &err),
                  NLT_OK);
    return found;
}

static void
select_follows_matchers(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_pool_t pool;
    nlt_str_t *names;
    uint32_t *v;
    size_t n;

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    for (int i = 0; i < 100; i++) {
        char instance[32];

        (void) snprintf(instance, sizeof(instance), "host%d", i);
        series_of(h, a, i % 2 ? "up" : "down", i % 10 ? "node" : "db",
                  instance);
    }
    nlt_matcher_t up = {NLT_MATCH_EQ, NLT_STR("__name__"), NLT_STR("up"),
                        NULL};
    nlt_matcher_t db = {NLT_MATCH_EQ, NLT_STR("job"), NLT_STR("db"), NULL};
    nlt_matcher_t notdb = {NLT_MATCH_NE, NLT_STR("job"), NLT_STR("db"), NULL};
    nlt_matcher_t nolabel = {NLT_MATCH_EQ, NLT_STR("zone"), NLT_STR(""), NULL};
    nlt_matcher_t zone = {NLT_MATCH_NE, NLT_STR("zone"), NLT_STR(""), NULL};
    nlt_matcher_t m[2];

    NLT_CHECK_INT(select_n(a, &pool, NULL, 0, &v), 100);
    NLT_CHECK_INT(v[0], 1);
    NLT_CHECK_INT(v[99], 100);
    NLT_CHECK_INT(select_n(a, &pool, &up, 1, &v), 50);
    NLT_CHECK_INT(select_n(a, &pool, &db, 1, &v), 10);
    NLT_CHECK_INT(select_n(a, &pool, &notdb, 1, &v), 90);
    m[0] = up;
    m[1] = db;
    NLT_CHECK_INT(select_n(a, &pool, m, 2, &v), 0);
    m[1] = notdb;
    NLT_CHECK_INT(select_n(a, &pool, m, 2, &v), 50);
    m[1] = nolabel;
    NLT_CHECK_INT(select_n(a, &pool, m, 2, &v), 50);
    m[1] = zone;
    NLT_CHECK_INT(select_n(a, &pool, m, 2, &v), 0);
    NLT_CHECK_INT(select_n(a, &pool, &nolabel, 1, &v), 100);

    NLT_CHECK_STR(nlt_arena_label(a, 1, NLT_STR("job")), "db");
    NLT_CHECK_STR(nlt_arena_label(a, 2, NLT_STR("instance")), "host1");
    NLT_CHECK_STR(nlt_arena_label(a, 2, NLT_STR("nothing")), "");
    NLT_CHECK_INT(nlt_arena_label_names(a, &pool, 0, &names, &n), NLT_OK);
    NLT_CHECK_INT(n, 3);
    NLT_CHECK_INT(
        nlt_arena_label_values(a, &pool, 0, NLT_STR("job"), &names, &n),
        NLT_OK);
    NLT_CHECK_INT(n, 2);
    NLT_CHECK_INT(nlt_arena_label_names(a, &pool, 1, &names, &n), NLT_OK);
    NLT_CHECK_INT(n, 0);

    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
far_back_the_first_value_wins_on_reading(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_append_result_t result;
    nlt_pool_t pool;
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_samples_t out = {.pool = &pool};
    uint32_t s = series_of(h, a, "up", "node", "a:9100");
    size_t n = 0;

    /* More chunks in order than are searched for duplicates, ... */
    for (int i = 0; i < 70 * 480; i++, n++) {
        (void) !fixture_append(a, s, T0 + i, 1, &result);
    }
    (void) !fixture_append(a, s, T0 + INT64_C(10000000), 1, &result);
    n++;
    /* ... and out of order. */
    for (int i = 0; i < 80 * 32; i++, n++) {
        (void) !fixture_append(a, s, T0 + 5000000 - i, 2, &result);
        NLT_CHECK_INT(result, NLT_APPEND_OOO);
    }
    (void) !fixture_append(a, s, T0 + 5000000, 3, &result);
    NLT_CHECK_INT(result, NLT_APPEND_OOO);
    (void) !fixture_append(a, s, T0, 3, &result);
    NLT_CHECK_INT(result, NLT_APPEND_OOO);
    NLT_CHECK_INT(read_all(a, s, INT64_MIN, INT64_MAX, NLT_READ_ALL, &out), n);
    NLT_CHECK_BITS(out.v[0], 1);
    NLT_CHECK_INT(read_all(a, s, T0, T0 + 5000000, NLT_READ_NEWEST, &out), 1);
    NLT_CHECK_BITS(out.v[0], 2);
    NLT_CHECK_INT(read_all(a, s, T0, T0, NLT_READ_NEWEST, &out), 1);
    NLT_CHECK_BITS(out.v[0], 1);
    /* Also when the wrong ones have left the raw buffer for a chunk. */
    for (int i = 0; i < 32; i++) {
        (void) !fixture_append(a, s, T0 + 6000000 - i, 2, &result);
    }
    NLT_CHECK_INT(read_all(a, s, T0, T0 + 5000000, NLT_READ_NEWEST, &out), 1);
    NLT_CHECK_BITS(out.v[0], 2);

    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
numbers_are_known_by_their_canonical_keys(void)
{
    enum {
        N = 300
    };
    static nlt_hash128_t keys[N + 1];
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    uint32_t no;

    for (uint32_t i = 1; i <= N; i++) {
        char text[16];
        nlt_label_t v[] = {{NLT_METRIC_NAME, NLT_STR("m")},
                           {NLT_STR("i"), {0, text}}};
        nlt_labels_t l = {v, 2};

        v[1].value.len = (size_t) snprintf(text, sizeof(text), "%u", i);
        keys[i] = fixture_key(nlt_head_ctl(h), 0, l);
        nlt_hash128_t raw = {keys[i].lo + 1, keys[i].hi};

        NLT_CHECK(!nlt_arena_is(a, i, keys[i]));
        NLT_CHECK_INT(nlt_arena_register(a, 0, l, keys[i], raw, &no), NLT_OK);
        NLT_CHECK_INT(no, i);
        NLT_CHECK_INT(nlt_arena_find(a, raw), i);
        NLT_CHECK(!nlt_arena_is(a, i, raw));
    }
    for (uint32_t i = 1; i <= N; i++) {
        NLT_CHECK(nlt_arena_is(a, i, keys[i]));
        NLT_CHECK(!nlt_arena_is(a, i, keys[i % N + 1]));
        /* 96 bits count, as in the hash table */
        for (unsigned bit = 0; bit < 96; bit += 5) {
            nlt_hash128_t other = keys[i];

            *(bit < 64 ? &other.lo : &other.hi) ^= UINT64_C(1) << bit % 64;
            NLT_CHECK(!nlt_arena_is(a, i, other));
        }
        nlt_arena_prefetch_behind(a, i);
    }
    NLT_CHECK(!nlt_arena_is(a, 0, keys[1]));
    NLT_CHECK(!nlt_arena_is(a, N + 1, keys[1]));
    NLT_CHECK(!nlt_arena_is(a, UINT32_MAX, keys[1]));
    nlt_arena_prefetch_behind(a, UINT32_MAX);
    nlt_head_detach(h);
    fixture_close(&f);
}

/* Pairs are taken from the series before, but not from another tenant. */
static void
series_share_pairs_only_within_a_tenant(void)
{
    nlt_label_t v[] = {{NLT_METRIC_NAME, NLT_STR("m")},
                       {NLT_STR("job"), NLT_STR("node")}};
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    uint32_t *found, no;
    size_t n;
    nlt_pool_t pool;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    for (uint32_t tenant = 0; tenant < 4; tenant++) {
        NLT_CHECK_INT(
            fixture_register(h, a, tenant, (nlt_labels_t){v, 2}, &no), NLT_OK);
        v[1].name = NLT_STR("jot");
        NLT_CHECK_INT(
            fixture_register(h, a, tenant, (nlt_labels_t){v, 2}, &no), NLT_OK);
        v[1].name = NLT_STR("job");
    }
    for (uint32_t tenant = 0; tenant < 4; tenant++) {
        NLT_CHECK_INT(
            nlt_arena_select(a, &pool, tenant, NULL, 0, &found, &n, NULL),
            NLT_OK);
        NLT_CHECK_INT(n, 2);
        NLT_CHECK_INT(found[0], 2 * tenant + 1);
        NLT_CHECK_STR(nlt_arena_label(a, found[0], NLT_STR("job")), "node");
        NLT_CHECK_STR(nlt_arena_label(a, found[1], NLT_STR("job")), "");
        NLT_CHECK_STR(nlt_arena_label(a, found[1], NLT_STR("jot")), "node");
        nlt_matcher_t named = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"),
                               NULL};

        NLT_CHECK_INT(
            nlt_arena_select(a, &pool, tenant, &named, 1, &found, &n, NULL),
            NLT_OK);
        NLT_CHECK_INT(n, 2);
        for (uint32_t k = 0; k < 2; k++) {
            nlt_matcher_t m = {NLT_MATCH_EQ, NLT_STR("job"), NLT_STR("node"),
                               NULL};

            m.name = k ? NLT_STR("jot") : m.name;
            NLT_CHECK_INT(
                nlt_arena_select(a, &pool, tenant, &m, 1, &found, &n, NULL),
                NLT_OK);
            NLT_CHECK_INT(n, 1);
            NLT_CHECK_INT(found[0], 2 * tenant + 1 + k);
        }
    }
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
hash_finds_every_key_through_many_splits(void)
{
    enum {
        N = 100000
    };
    static nlt_xhash_key_t keys[N];
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_xhash_root_t root;
    bool settled;
    uint32_t i;

    NLT_CHECK(nlt_xhash_init(a, &root));
    for (i = 0; i < N; i++) {
        keys[i].lo = nlt_test_rand();
        keys[i].hi = (uint32_t) nlt_test_rand();
        /* Uneven, so that some segments are deeper than others. */
        keys[i].lo >>= i % 2 ? 5 : 0;
        NLT_CHECK(nlt_xhash_insert(a, &root, keys[i], i + 1));
        if (i % 16 == 0) {
            uint32_t k = (uint32_t) nlt_test_below(i + 1);

            NLT_CHECK_INT(nlt_xhash_find(a, &root, keys[k]), k + 1);
        }
    }
    NLT_CHECK_INT(root.n, N);
    NLT_CHECK(root.n_segments > N / NLT_XHASH_SLOTS_MAX);
    NLT_CHECK(root.n_segments < N / 100);
    for (i = 0; i < N; i++) {
        nlt_xhash_key_t other = {keys[i].lo, keys[i].hi + 1};

        NLT_CHECK_INT(nlt_xhash_find(a, &root, keys[i]), i + 1);
        NLT_CHECK_INT(nlt_xhash_find_settled(a, &root, other, &settled), 0);
        NLT_CHECK(settled);
    }
    /* Keys that no split tells apart: refused, and the rest is unharmed. */
    for (i = 0; i < 300; i++) {
        nlt_xhash_key_t same = {42, i};

        if (!nlt_xhash_insert(a, &root, same, i + 1)) {
            break;
        }
    }
    NLT_CHECK(i >= 100 && i <= NLT_XHASH_SLOTS_MAX);
    for (i = 0; i < N; i++) {
        NLT_CHECK_INT(nlt_xhash_find(a, &root, keys[i]), i + 1);
    }
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
postings_give_back_what_was_added(void)
{
    enum {
        N = 5000
    };
    static uint32_t numbers[N];
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);

    /* A tenant's names hang on its root, which registration makes first. */
    NLT_CHECK(nlt_arena_pair_intern(a, 0, NLT_STR(""), NLT_STR(""), NULL) > 0);
    for (unsigned width = 1; width <= 18; width++) {
        char text[16];
        nlt_arena_posting_t at;
        nlt_arena_walk_t w;
        uint32_t pair, x = 0;

        (void) snprintf(text, sizeof(text), "%u", width);
        pair = nlt_arena_pair_intern(a, 0, NLT_STR("width"),
                                     (nlt_str_t){strlen(text), text}, NULL);
        NLT_CHECK(pair > 0);
        for (unsigned i = 0; i < N; i++) {
            x += 1 + (uint32_t) nlt_test_below(1u << width);
            numbers[i] = x;
            NLT_CHECK(nlt_arena_postings_room(a, pair, x, &at));
            /* Asking twice, as after a failed attempt, does no harm. */
            NLT_CHECK(nlt_arena_postings_room(a, pair, x, &at));
            nlt_arena_postings_add(&at, x);
        }
        nlt_arena_walk_begin(&w, a, nlt_arena_pair(a, pair));
        for (unsigned i = 0; i < N; i++) {
            NLT_CHECK_INT(nlt_arena_walk_next(&w), numbers[i]);
        }
        NLT_CHECK_INT(nlt_arena_walk_next(&w), 0);
        NLT_CHECK_INT(nlt_arena_walk_next(&w), 0);
    }
    nlt_head_detach(h);
    fixture_close(&f);
}

/* More labels than publish() has places for; and shared ones are found by
 * name, wherever the series before has them. */
static void
series_of_many_labels_are_in_all_their_postings(void)
{
    enum {
        N = 150
    };
    static char text[N][16];
    nlt_label_t v[N];
    fixture_t f;
    nlt_head_t *h = make(&f, NLT_HEAD_MEMORY_MIN);
    nlt_arena_t *a = nlt_head_active(h);
    unsigned from[] = {0, 0, 1, 20, 100, 149, 0};
    uint32_t before = 0;

    for (unsigned i = 0; i < N; i++) {
        v[i].name.data = v[i].value.data = text[i];
        v[i].name.len = v[i].value.len =
            (size_t) snprintf(text[i], sizeof(text[i]), "l%03u", i);
    }
    for (unsigned k = 0; k < NLT_COUNT(from); k++) {
        uint32_t series;

        v[N - 1].value = (nlt_str_t){1, &"abcdefg"[k]};
        NLT_CHECK_INT(
            fixture_register(h, a, 0, (nlt_labels_t){v + from[k], N - from[k]},
                             &series),
            NLT_OK);
        NLT_CHECK_INT(series, ++before);
    }
    for (unsigned i = 0; i < N - 1; i++) {
        uint32_t pair = nlt_arena_pair_find(a, 0, v[i].name, v[i].value);
        nlt_arena_walk_t w;

        NLT_CHECK(pair != 0);
        nlt_arena_walk_begin(&w, a, nlt_arena_pair(a, pair));
        for (unsigned k = 0; k < NLT_COUNT(from); k++) {
            if (from[k] <= i) {
                NLT_CHECK_INT(nlt_arena_walk_next(&w), k + 1);
            }
        }
        NLT_CHECK_INT(nlt_arena_walk_next(&w), 0);
    }
    NLT_CHECK_INT(atomic_load(&nlt_arena_header(a)->n_pairs),
                  1 + N - 1 + NLT_COUNT(from));
    nlt_head_detach(h);
    fixture_close(&f);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(append_and_read_back_one_series);
    NLT_TEST(ranges_over_many_chunks_are_exact);
    NLT_TEST(reading_ahead_is_as_reading);
    NLT_TEST(equal_time_keeps_the_first_value);
    NLT_TEST(newest_is_not_what_a_writer_is_about_to_say);
    NLT_TEST(chunks_are_cut_at_two_hours);
    NLT_TEST(select_follows_matchers);
    NLT_TEST(far_back_the_first_value_wins_on_reading);
    NLT_TEST(numbers_are_known_by_their_canonical_keys);
    NLT_TEST(series_share_pairs_only_within_a_tenant);
    NLT_TEST(hash_finds_every_key_through_many_splits);
    NLT_TEST(postings_give_back_what_was_added);
    NLT_TEST(series_of_many_labels_are_in_all_their_postings);
    return nlt_test_done();
}

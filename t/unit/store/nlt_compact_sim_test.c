/*
 * nlt_compact_sim_test.c - weeks and years of flushes through the planner.
 *
 * No samples, only what the MANIFEST says of blocks: flushes add blocks in
 * the windows of nlt_compact_window(), plans are carried out, and what counts
 * is how many blocks there are, how often a sample was copied, and that it
 * comes to an end.
 */
#include "nlt_compact_plan.h"
#include "nlt_flush.h"
#include "nlt_retention.h"
#include "nlt_test.h"

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define NOW    (INT64_C(1700006400000))

static const uint8_t store_id[NLT_STORE_ID_BYTES] = {7};

typedef struct {
    nlt_manifest_t m;
    int64_t now_ms;
    int64_t newest_ms;
    int64_t retention_ms;
    uint64_t arena;
    uint64_t written; /* samples flushed */
    uint64_t copied;  /* samples out of merges */
    size_t most;      /* blocks at any time */
    size_t depth;     /* most blocks over one instant, at rest */
    unsigned merges;
    uint64_t serial;
} sim_t;

static sim_t
sim(int64_t retention_ms)
{
    sim_t s = {
        .now_ms = NOW, .newest_ms = INT64_MIN, .retention_ms = retention_ms};

    nlt_manifest_init(&s.m, &nlt_mem_libc, store_id);
    return s;
}

static void
name(sim_t *s, nlt_manifest_block_t *b)
{
    /* A name that is not used yet; the time in it is true. */
    nlt_flush_ulid(store_id, ++s->serial, b->t_min_ms, s->now_ms, &b->ulid);
}

/* n samples in [from, end), which lie in one window, from the arena. */
static void
flushed(sim_t *s, int64_t from, int64_t end, uint64_t n)
{
    nlt_manifest_block_t b = {.t_min_ms = from,
                              .t_end_ms = end,
                              .arena = s->arena,
                              .level = 1,
                              .n_samples = n,
                              .bytes = 2 * n + 3000};

    name(s, &b);
    NLT_CHECK_INT(nlt_manifest_add_block(&s->m, &b), NLT_OK);
    s->written += n;
    s->newest_ms = nlt_max_i64(s->newest_ms, end - 1);
    s->most = s->m.n_blocks > s->most ? s->m.n_blocks : s->most;
}

/* An even spread of n samples over [from, to), in the windows of a flush. */
static void
spread(sim_t *s, int64_t from, int64_t to, uint64_t n)
{
    for (int64_t t = from; t < to;) {
        int64_t start, end;

        nlt_compact_window(s->now_ms, s->retention_ms, t, &start, &end);
        end = nlt_min_i64(end, to);
        flushed(s, t, end,
                1
                    + (uint64_t) ((double) n * (double) (end - t)
                                  / (double) (to - from)));
        t = end;
    }
}

static void
carry_out(sim_t *s, const nlt_compact_plan_t *p)
{
    nlt_manifest_block_t r = {
        .t_min_ms = p->t_min_ms, .t_end_ms = INT64_MIN, .level = p->level};

    NLT_CHECK(p->n >= 2 && p->n <= NLT_COMPACT_BLOCKS_MAX);
    NLT_CHECK(nlt_compact_keeps_order(&s->m, p->idx, p->n, s->now_ms));
    for (size_t k = p->n; k-- > 0;) {
        const nlt_manifest_block_t *b = &s->m.blocks[p->idx[k]];

        r.t_end_ms = nlt_max_i64(r.t_end_ms, b->t_end_ms);
        r.arena = b->arena > r.arena ? b->arena : r.arena;
        r.n_samples += b->n_samples;
        NLT_CHECK(k == 0 || p->idx[k] > p->idx[k - 1]);
        nlt_manifest_remove_block(&s->m, p->idx[k]);
    }
    r.bytes = 2 * r.n_samples + 3000;
    name(s, &r);
    NLT_CHECK_INT(nlt_manifest_add_block(&s->m, &r), NLT_OK);
    s->copied += r.n_samples;
    s->merges++;
}

/* Up to `most` merges; false: there was nothing to do. */
static bool
compact(sim_t *s, size_t most)
{
    nlt_compact_in_t in = {.now_ms = s->now_ms,
                           .newest_ms = s->newest_ms,
                           .retention_ms = s->retention_ms,
                           .free_bytes = UINT64_MAX};
    size_t bound = s->m.n_blocks;

    for (size_t i = 0; i < most; i++) {
        nlt_compact_plan_t p;
        nlt_pool_t pool;

        nlt_pool_init(&pool, &nlt_mem_libc, 64u << 20);
        NLT_CHECK_INT(nlt_compact_plan(&s->m, &in, &pool, &p), NLT_OK);
        nlt_pool_deinit(&pool);
        if (p.why == NLT_COMPACT_NONE) {
            return i > 0;
        }
        carry_out(s, &p);
        NLT_CHECK(i < bound);
        if (i >= bound) {
            return true; /* for ever, it seems */
        }
    }
    return true;
}

static void
retain(sim_t *s)
{
    nlt_manifest_block_t gone[64];

    (void) nlt_retention_take(
        &s->m, nlt_retention_border(s->now_ms, s->newest_ms, s->retention_ms),
        gone, 64);
}

/* Everything there is to do, with quiet in between. */
static void
rest(sim_t *s)
{
    bool more = true;

    for (int i = 0; more && i < 1000; i++) {
        s->now_ms += NLT_COMPACT_QUIET_MS + 1;
        more = compact(s, SIZE_MAX);
    }
    NLT_CHECK(!more);
    s->depth = 0;
    for (size_t i = 0; i < s->m.n_blocks; i++) {
        size_t n = 0;

        for (size_t k = 0; k < s->m.n_blocks; k++) {
            n += s->m.blocks[k].t_min_ms <= s->m.blocks[i].t_min_ms
                 && s->m.blocks[i].t_min_ms < s->m.blocks[k].t_end_ms;
        }
        s->depth = n > s->depth ? n : s->depth;
    }
}

static double
amplification(const sim_t *s)
{
    return (double) s->copied / (double) s->written;
}

static void
report(const char *what, const sim_t *s)
{
    printf("# %s: %zu blocks, at most %zu, %zu over one instant; %u merges "
           "copied each sample %.2f times\n",
           what, s->m.n_blocks, s->most, s->depth, s->merges,
           amplification(s));
}

/* Live data; `early` flushes each two hours; late data now and then. */
static void
live(sim_t *s, int days, unsigned early, bool late)
{
    for (int64_t i = 0; i < days * 12 * (int64_t) early; i++) {
        int64_t step = 2 * HOUR / early, from = s->now_ms;

        s->now_ms += step;
        s->arena++;
        spread(s, from, s->now_ms, 1000000 / early);
        if (late) {
            int64_t back = (int64_t) nlt_test_below(30 * DAY);

            spread(s, s->now_ms - back - 20 * MINUTE, s->now_ms - back, 500);
        }
        retain(s);
        (void) compact(s, SIZE_MAX);
        s->now_ms += NLT_COMPACT_QUIET_MS + 1;
        (void) compact(s, SIZE_MAX);
        s->now_ms -= NLT_COMPACT_QUIET_MS + 1;
        if (s->m.n_blocks > 2000) {
            NLT_CHECK(false);
            return;
        }
    }
    rest(s);
}

/* A retention of 15 days: 16 days at most, and the parts of the last one. */
static void
weeks_of_live_data_are_few_blocks(void)
{
    sim_t s = sim(15 * DAY);

    live(&s, 40, 1, false);
    report("15 days", &s);
    NLT_CHECK(s.m.n_blocks <= 16 + 3 + 8);
    NLT_CHECK(s.most <= 16 + 3 + 8);
    NLT_CHECK(s.depth == 1);
    NLT_CHECK(amplification(&s) <= 2.01);
    nlt_manifest_deinit(&s.m);
}

static void
a_year_of_live_data_is_few_blocks(void)
{
    sim_t s = sim(366 * DAY);

    live(&s, 400, 1, false);
    report("a year", &s);
    NLT_CHECK(s.m.n_blocks <= 12 + 4 + 8 + 3 + 8);
    NLT_CHECK(s.depth == 1);
    NLT_CHECK(amplification(&s) <= 4.01);
    nlt_manifest_deinit(&s.m);
}

/* Ten arenas in each window. */
static void
early_flushes_cost_one_copy_more(void)
{
    sim_t s = sim(15 * DAY);

    live(&s, 40, 10, false);
    report("15 days, early", &s);
    NLT_CHECK(s.m.n_blocks <= 16 + 3 + 4 * NLT_COMPACT_GROUP_MAX);
    NLT_CHECK(s.most <= 16 + 3 + 5 * NLT_COMPACT_GROUP_MAX);
    NLT_CHECK(s.depth <= NLT_COMPACT_RUN_MIN + 1);
    NLT_CHECK(amplification(&s) <= 4);
    nlt_manifest_deinit(&s.m);
}

static void
late_data_does_not_copy_large_blocks(void)
{
    sim_t s = sim(15 * DAY);

    live(&s, 40, 1, true);
    report("15 days, late", &s);
    NLT_CHECK(s.m.n_blocks <= 4 * (16 + 3 + 8));
    NLT_CHECK(s.depth <= 5);
    NLT_CHECK(amplification(&s) <= 2.5);
    nlt_manifest_deinit(&s.m);
    s = sim(366 * DAY);
    live(&s, 200, 1, true);
    report("a year, late", &s);
    NLT_CHECK(s.m.n_blocks <= 4 * 35);
    NLT_CHECK(s.depth <= 5);
    NLT_CHECK(amplification(&s) <= 4.5);
    nlt_manifest_deinit(&s.m);
}

/*
 * Arenas that are full after a few seconds, live data in each; one merge, or
 * as many as there are, between two flushes.
 */
typedef enum {
    BY_SERIES, /* each arena has the whole year */
    ANY_ORDER, /* some days of it */
    BY_TIME,   /* the next two days */
    BACKWARDS  /* of time */
} order_t;

static void
backfill(sim_t *s, order_t order, unsigned flushes, size_t merges)
{
    const int64_t year = 365 * DAY, first = s->now_ms - year;

    for (unsigned i = 0; i < flushes; i++) {
        int64_t from = s->now_ms;

        s->now_ms += 7000;
        s->arena++;
        switch (order) {
        case BY_SERIES:
            spread(s, first, from - DAY, 1000000);
            break;
        case ANY_ORDER:
            for (int k = 0; k < 3; k++) {
                int64_t at = first + (int64_t) nlt_test_below(year - DAY);

                spread(s, at, at + HOUR, 300000);
            }
            break;
        case BY_TIME:
            spread(s, first + year * i / flushes,
                   first + year * (i + 1) / flushes, 1000000);
            break;
        case BACKWARDS:
            spread(s, from - year * (i + 1) / flushes,
                   from - year * i / flushes, 1000000);
            break;
        }
        spread(s, from, s->now_ms, 1000);
        (void) compact(s, merges);
    }
    report("  then", s);
    rest(s);
}

static void
a_year_of_backfill_in_any_order_is_few_blocks(void)
{
    static const char *const names[] = {"series by series", "any order",
                                        "by time", "backwards"};

    for (int order = BY_SERIES; order <= BACKWARDS; order++) {
        for (int slow = 0; slow < 2; slow++) {
            sim_t s = sim(400 * DAY);
            char what[64];

            backfill(&s, (order_t) order, 300, slow ? 8 : SIZE_MAX);
            (void) snprintf(what, sizeof(what), "%s%s", names[order],
                            slow ? ", slowly" : "");
            report(what, &s);
            NLT_CHECK(s.m.n_blocks <= 3 * (13 + 4 + 8 + 3 + 8));
            NLT_CHECK(s.most <= 200);
            NLT_CHECK(s.depth <= 4);
            NLT_CHECK(amplification(&s) <= 7);
            nlt_manifest_deinit(&s.m);
        }
    }
}

/* Blocks of Prometheus: 54 hours each, across our borders; then more. */
static void
imports_of_odd_ranges_become_few_blocks(void)
{
    sim_t s = sim(400 * DAY);

    live(&s, 3, 1, false);
    s.arena = 0;
    for (int64_t t = NOW - 300 * DAY; t < NOW; t += 54 * HOUR) {
        for (int twice = 0; twice < 2; twice++) {
            flushed(&s, t, t + 54 * HOUR, 5000000);
        }
    }
    for (int64_t t = NOW - 300 * DAY; t < NOW - 200 * DAY; t += 2 * HOUR) {
        flushed(&s, t, t + 2 * HOUR, 100000);
    }
    flushed(&s, NOW - 390 * DAY, NOW - 10 * DAY, 1000000);
    rest(&s);
    report("imports", &s);
    NLT_CHECK(s.m.n_blocks <= 60);
    NLT_CHECK(s.depth <= 5);
    nlt_manifest_deinit(&s.m);
}

/* With a limit for the size of the store no block gets near it. */
static void
a_limit_of_bytes_bounds_each_block(void)
{
    sim_t s = sim(400 * DAY);
    const uint64_t most = 50000000;

    for (unsigned i = 0; i < 12 * 60; i++) {
        int64_t from = s.now_ms;
        nlt_compact_in_t in;
        nlt_compact_plan_t p = {.why = NLT_COMPACT_LEVEL};
        nlt_pool_t pool;

        s.now_ms += 2 * HOUR;
        s.arena++;
        spread(&s, from, s.now_ms, 500000);
        in = (nlt_compact_in_t){.now_ms = s.now_ms + HOUR,
                                .newest_ms = s.newest_ms,
                                .retention_ms = s.retention_ms,
                                .free_bytes = UINT64_MAX,
                                .bytes_max = most};
        while (p.why != NLT_COMPACT_NONE) {
            nlt_pool_init(&pool, &nlt_mem_libc, 64u << 20);
            NLT_CHECK_INT(nlt_compact_plan(&s.m, &in, &pool, &p), NLT_OK);
            nlt_pool_deinit(&pool);
            if (p.why != NLT_COMPACT_NONE) {
                NLT_CHECK(p.bytes <= most);
                carry_out(&s, &p);
            }
        }
    }
    report("small store", &s);
    NLT_CHECK(s.m.n_blocks <= 2 * s.written * 2 / most + 20);
    nlt_manifest_deinit(&s.m);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(weeks_of_live_data_are_few_blocks);
    NLT_TEST(a_year_of_live_data_is_few_blocks);
    NLT_TEST(early_flushes_cost_one_copy_more);
    NLT_TEST(late_data_does_not_copy_large_blocks);
    NLT_TEST(a_year_of_backfill_in_any_order_is_few_blocks);
    NLT_TEST(imports_of_odd_ranges_become_few_blocks);
    NLT_TEST(a_limit_of_bytes_bounds_each_block);
    return nlt_test_done();
}

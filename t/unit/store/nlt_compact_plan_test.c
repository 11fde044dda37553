/*
 * nlt_compact_plan_test.c - plans by cases, and the order of values against a
 * model that knows who wins at every time.
 */
#include <time.h>

#include "nlt_compact_plan.h"
#include "nlt_flush.h"
#include "nlt_test.h"

#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)
#define NOW  (INT64_C(1700006400000)) /* a multiple of 24 h, not of 8 d */

static const uint8_t store_id[NLT_STORE_ID_BYTES] = {7};

/* ---- blocks ---- */

/* A ULID of that time; `tail` sets blocks of one time apart. */
static nlt_ulid_t
ulid(int64_t ms, unsigned tail)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    nlt_ulid_t u;

    memset(u.c, '0', sizeof(u.c));
    u.c[NLT_ULID_LEN] = '\0';
    for (int i = 0; i < 10; i++) {
        u.c[i] = digits[(uint64_t) ms >> (45 - 5 * i) & 31];
    }
    for (int i = NLT_ULID_LEN - 1; tail != 0; i--, tail >>= 5) {
        u.c[i] = digits[tail & 31];
    }
    return u;
}

static unsigned next_tail;

static nlt_manifest_block_t
block(uint64_t arena, int64_t from, int64_t end, uint64_t bytes)
{
    return (nlt_manifest_block_t){.ulid = ulid(NOW - HOUR, ++next_tail),
                                  .t_min_ms = from,
                                  .t_end_ms = end,
                                  .arena = arena,
                                  .level = 1,
                                  .n_samples = bytes / 2,
                                  .bytes = bytes};
}

static void
add(nlt_manifest_t *m, nlt_manifest_block_t b)
{
    NLT_CHECK_INT(nlt_manifest_add_block(m, &b), NLT_OK);
}

static nlt_manifest_t
empty(void)
{
    nlt_manifest_t m;

    nlt_manifest_init(&m, &nlt_mem_libc, store_id);
    return m;
}

static nlt_compact_in_t
now_in(int64_t retention)
{
    return (nlt_compact_in_t){.now_ms = NOW,
                              .newest_ms = NOW,
                              .retention_ms = retention,
                              .free_bytes = UINT64_MAX};
}

static nlt_compact_plan_t
plan(const nlt_manifest_t *m, const nlt_compact_in_t *in)
{
    nlt_compact_plan_t p;
    nlt_pool_t pool;

    nlt_pool_init(&pool, &nlt_mem_libc, 64u << 20);
    NLT_CHECK_INT(nlt_compact_plan(m, in, &pool, &p), NLT_OK);
    nlt_pool_deinit(&pool);
    return p;
}

/* Are the sources exactly these? */
static bool
takes(const nlt_compact_plan_t *p, size_t n, const size_t *idx)
{
    return p->n == n && memcmp(p->idx, idx, n * sizeof(*idx)) == 0;
}

#define TAKES(p, ...)                                                         \
    takes((p), sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t),              \
          (size_t[]){__VA_ARGS__})

/* ---- ranges ---- */

static void
ranges_follow_the_retention(void)
{
    static const struct {
        int64_t retention;
        unsigned highest;
    } want[] = {
        {HOUR, 1},      {7 * HOUR, 1},  {8 * HOUR, 2},   {23 * HOUR, 2},
        {DAY, 3},       {15 * DAY, 3},  {79 * DAY, 3},   {80 * DAY, 4},
        {319 * DAY, 4}, {320 * DAY, 5}, {9000 * DAY, 5}, {INT64_MAX, 5},
    };

    for (size_t i = 0; i < NLT_COUNT(want); i++) {
        unsigned level = 1;

        while (nlt_compact_range(level + 1, want[i].retention) != 0) {
            NLT_CHECK_INT(nlt_compact_range(level + 1, want[i].retention)
                              % nlt_compact_range(level, want[i].retention),
                          0);
            level++;
        }
        NLT_CHECK_INT(level, want[i].highest);
    }
    NLT_CHECK_INT(nlt_compact_range(0, DAY), 0);
    NLT_CHECK_INT(nlt_compact_range(6, INT64_MAX), 0);
}

/* What is flushed now is of the same group as what is there already. */
static void
windows_are_those_of_groups(void)
{
    for (int i = 0; i < 3000; i++) {
        int64_t now = NOW + (int64_t) nlt_test_below(200 * DAY);
        int64_t t = now - 6 * HOUR - (int64_t) nlt_test_below(400 * DAY);
        int64_t start, end;
        nlt_compact_in_t in = now_in(400 * DAY);
        nlt_manifest_t m = empty();
        nlt_compact_plan_t p;

        nlt_compact_window(now, in.retention_ms, t, &start, &end);
        NLT_CHECK(start <= t && t < end && end <= now);
        add(&m, block(1, start, start + 1, 1000));
        add(&m, block(2, t, t + 1, 1000));
        add(&m, block(3, end - 1, end, 1000));
        add(&m, block(4, end, end + 1, 1000));
        add(&m, block(4, start - 1, start, 1000));
        in.now_ms = in.newest_ms = now;
        p = plan(&m, &in);
        NLT_CHECK(end - start == 2 * HOUR || TAKES(&p, 0, 1, 2));
        nlt_manifest_deinit(&m);
    }
}

/* ---- cases ---- */

static void
nothing_is_planned_for_nothing(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    nlt_compact_plan_t p = plan(&m, &in);

    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    NLT_CHECK(!p.starved);
    /* One block, of any age, is well as it is. */
    add(&m, block(1, NOW - 100 * DAY, NOW - 99 * DAY, 1000));
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    /* Data of one instant, an empty clock: nothing overflows. */
    add(&m, block(2, INT64_MIN, INT64_MIN + 1, 1000));
    add(&m, block(2, INT64_MAX - 1, INT64_MAX, 1000));
    add(&m, block(2, INT64_MIN, INT64_MAX, 1000));
    in.newest_ms = INT64_MIN;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    in.newest_ms = INT64_MAX;
    in.now_ms = INT64_MAX;
    p = plan(&m, &in);
    nlt_manifest_deinit(&m);
}

static void
levels_wait_until_their_window_is_over(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    nlt_compact_plan_t p;

    /* The last four blocks of a window of 8 h that ends at NOW. */
    for (unsigned i = 0; i < 3; i++) {
        add(&m, block(1 + i, NOW - (8 - 2 * i) * HOUR,
                      NOW - (6 - 2 * i) * HOUR, 1000));
    }
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    in.now_ms = in.newest_ms = NOW + 2 * HOUR - 1;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    in.now_ms = in.newest_ms = NOW + 2 * HOUR;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_LEVEL);
    NLT_CHECK(TAKES(&p, 0, 1, 2));
    NLT_CHECK_INT(p.level, 2);
    NLT_CHECK_INT(p.bytes, 3000);
    NLT_CHECK_INT(p.t_min_ms, NOW - 8 * HOUR);
    /* A clock that runs ahead, or data of tomorrow, changes nothing. */
    in.newest_ms = NOW;
    in.now_ms = NOW + 100 * DAY;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    in.newest_ms = NOW + 100 * DAY;
    in.now_ms = NOW;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    nlt_manifest_deinit(&m);
}

static void
pairs_wait_until_it_is_quiet(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    nlt_manifest_block_t b = block(2, NOW - 50 * DAY, NOW - 49 * DAY, 1000);
    nlt_compact_plan_t p;

    add(&m, block(1, NOW - 50 * DAY, NOW - 49 * DAY, 1000));
    b.ulid = ulid(NOW - NLT_COMPACT_QUIET_MS, 1);
    add(&m, b);
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    in.now_ms++;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_OVERLAP);
    NLT_CHECK(TAKES(&p, 0, 1));
    /* Four do not wait, and the smallest that will do are enough. */
    add(&m, block(3, NOW - 50 * DAY, NOW - 49 * DAY, 900000));
    for (unsigned i = 0; i < 4; i++) {
        b = block(4 + i, NOW - 50 * DAY, NOW - 49 * DAY, 70000);
        b.ulid = ulid(NOW, 2 + i);
        add(&m, b);
    }
    p = plan(&m, &in);
    NLT_CHECK(TAKES(&p, 3, 4, 5, 6));
    NLT_CHECK_INT(p.level, 3);
    nlt_manifest_deinit(&m);
}

static void
a_large_block_is_not_copied_for_a_small_one(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    nlt_compact_plan_t p;

    add(&m, block(1, NOW - 50 * DAY, NOW - 49 * DAY, 40000001));
    add(&m, block(2, NOW - 50 * DAY, NOW - 49 * DAY, 10000000));
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    m.blocks[0].bytes = 40000000;
    p = plan(&m, &in);
    NLT_CHECK(TAKES(&p, 0, 1));
    /* Below 1 MiB it is not the copying that costs. */
    m.blocks[0].bytes = 4 << 20;
    m.blocks[1].bytes = 1;
    p = plan(&m, &in);
    NLT_CHECK(TAKES(&p, 0, 1));
    m.blocks[0].bytes++;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    /* Too many are, whatever it costs. */
    m.blocks[0].bytes = 1 << 20;
    for (unsigned i = 0; i < NLT_COMPACT_GROUP_MAX - 1; i++) {
        add(&m, block(3 + i, NOW - 50 * DAY, NOW - 49 * DAY, 1 << 20));
    }
    for (size_t i = 0; i < m.n_blocks; i++) {
        m.blocks[i].bytes = UINT64_C(1) << (20 + 2 * i);
    }
    p = plan(&m, &in);
    NLT_CHECK_INT(m.n_blocks, NLT_COMPACT_GROUP_MAX + 1);
    NLT_CHECK_INT(p.n, 8);
    in.now_ms = NOW - HOUR; /* and nothing is quiet */
    p = plan(&m, &in);
    NLT_CHECK_INT(p.n, 8);
    nlt_manifest_remove_block(&m, 8);
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    nlt_manifest_deinit(&m);
}

static void
no_room_no_plan(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    nlt_compact_plan_t p;

    for (unsigned i = 0; i < 8; i++) {
        add(&m, block(1 + i, NOW - 50 * DAY, NOW - 49 * DAY, 1 << 20));
    }
    in.free_bytes = 8 << 20;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.n, 8);
    /* As many as there is room for. */
    in.free_bytes = (8 << 20) - 1;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.n, 7);
    NLT_CHECK(!p.starved);
    in.free_bytes = (2 << 20) - 1;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    NLT_CHECK(p.starved);
    /* Not for a limit of the size: there is no work then. */
    in.free_bytes = UINT64_MAX;
    in.bytes_max = (2 << 20) - 1;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    NLT_CHECK(!p.starved);
    in.bytes_max = 5 << 20;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.n, 5);
    nlt_manifest_deinit(&m);
}

static void
deletes_come_first_and_skipped_ones_stay(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    bool dirty[6] = {false, false, false, false, true, true};
    bool skip[6] = {false};
    nlt_compact_plan_t p;

    for (unsigned i = 0; i < 6; i++) {
        add(&m, block(1 + i, NOW - 50 * DAY, NOW - 49 * DAY, 1000));
    }
    in.dirty = dirty;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_DELETES);
    NLT_CHECK(TAKES(&p, 4));
    in.skip = skip;
    skip[4] = true;
    p = plan(&m, &in);
    NLT_CHECK(TAKES(&p, 5));
    skip[5] = true;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_OVERLAP);
    NLT_CHECK(TAKES(&p, 0, 1, 2, 3));
    /* What is skipped stands in between, and overlaps. */
    skip[1] = true;
    p = plan(&m, &in);
    NLT_CHECK(TAKES(&p, 2, 3));
    in.free_bytes = 999;
    memset(skip, 0, sizeof(skip));
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    NLT_CHECK(p.starved);
    nlt_manifest_deinit(&m);
}

/* A block of n bytes, of that format, whose merging is out of question. */
static nlt_manifest_block_t
lone(uint64_t arena, int day, uint64_t bytes, bool dense)
{
    nlt_manifest_block_t b =
        block(arena, NOW - day * DAY, NOW - day * DAY + DAY, bytes);

    b.dense = dense;
    return b;
}

static void
the_other_format_is_rewritten_when_nothing_is_merged(void)
{
    for (int dense = 0; dense < 2; dense++) {
        nlt_manifest_t m = empty();
        nlt_compact_in_t in = now_in(15 * DAY);
        nlt_manifest_block_t b;
        nlt_compact_plan_t p;
        bool skip[6] = {false};

        in.dense = dense;
        add(&m, lone(1, 9, 3000, !dense));
        add(&m, lone(2, 8, 1000, dense));
        add(&m, lone(3, 7, 2000, !dense));
        b = lone(4, 6, 500, !dense); /* nothing in it has a format */
        b.n_histograms = b.n_samples;
        add(&m, b);
        b = lone(5, 5, 4000, !dense); /* floats beside histograms have */
        b.n_histograms = 7;
        add(&m, b);
        p = plan(&m, &in);
        NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
        in.convert = true;
        p = plan(&m, &in);
        NLT_CHECK_INT(p.why, NLT_COMPACT_FORMAT);
        NLT_CHECK(TAKES(&p, 2));
        NLT_CHECK_INT(p.bytes, 2000);
        skip[2] = true;
        in.skip = skip;
        p = plan(&m, &in);
        NLT_CHECK(TAKES(&p, 0));
        skip[0] = true;
        p = plan(&m, &in);
        NLT_CHECK(TAKES(&p, 4));
        /* Portable ones are larger: there must be room. */
        in.free_bytes = 4000;
        p = plan(&m, &in);
        NLT_CHECK_INT(p.why, dense ? NLT_COMPACT_FORMAT : NLT_COMPACT_NONE);
        NLT_CHECK_INT(p.starved, !dense);
        in.free_bytes = 4 * 4000;
        p = plan(&m, &in);
        NLT_CHECK_INT(p.why, NLT_COMPACT_FORMAT);
        /* Merging goes first, and gives the format on the way. */
        in.skip = NULL;
        add(&m, lone(6, 9, 3000, !dense));
        p = plan(&m, &in);
        NLT_CHECK_INT(p.why, NLT_COMPACT_OVERLAP);
        nlt_manifest_deinit(&m);
    }
}

/* The later block of a pair in the middle would come to stand elsewhere. */
static void
another_format_changes_no_order_of_values(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(15 * DAY);
    nlt_compact_plan_t p;

    /* Imports that begin alike, in the order of their names. */
    add(&m, lone(0, 9, 1000, false));
    add(&m, lone(0, 9, 900, true));
    add(&m, lone(0, 9, 8000, false));
    m.blocks[0].n_histograms = m.blocks[2].n_histograms = 1;
    in.dense = in.convert = true;
    p = plan(&m, &in);
    /* The first cannot go behind the others; the last is as it is there. */
    NLT_CHECK_INT(p.why, NLT_COMPACT_FORMAT);
    NLT_CHECK(TAKES(&p, 2));
    m.blocks[2].dense = 1;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    nlt_manifest_deinit(&m);
}

static void
histograms_that_overlap_are_left_alone(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    nlt_compact_plan_t p;

    for (unsigned i = 0; i < 4; i++) {
        nlt_manifest_block_t b =
            block(0, NOW - 50 * DAY + 2 * i * HOUR,
                  NOW - 50 * DAY + (2 + 2 * i) * HOUR, 1000);

        b.n_histograms = 1;
        add(&m, b);
    }
    add(&m, block(7, NOW - 50 * DAY, NOW - 49 * DAY, 1000));
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_LEVEL);
    NLT_CHECK(TAKES(&p, 0, 1, 2, 3));
    m.blocks[2].t_min_ms--;
    p = plan(&m, &in);
    NLT_CHECK(TAKES(&p, 0, 1) || TAKES(&p, 2, 3));
    nlt_manifest_deinit(&m);
}

static void
ties_are_not_parted_at_the_end(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    nlt_compact_plan_t p;

    /* Imports that begin at one time; the last one is large. */
    for (unsigned i = 0; i < 7; i++) {
        add(&m, block(0, NOW - 50 * DAY, NOW - 49 * DAY,
                      i == 6 ? 64 << 20 : 1000));
    }
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    /* The first one: what is made stands after it, as they did. */
    m.blocks[0].bytes = 64 << 20;
    m.blocks[6].bytes = 1000;
    p = plan(&m, &in);
    NLT_CHECK(TAKES(&p, 1, 2, 3, 4, 5, 6));
    /* Unless its ULID is one of the future. */
    for (size_t i = 0; i < 7; i++) {
        m.blocks[i].ulid = ulid(NOW + DAY, (unsigned) i);
    }
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    nlt_manifest_deinit(&m);
    /* A run ends before the one that cannot be parted from the next. */
    for (unsigned i = 0; i < 4; i++) {
        add(&m, block(0, NOW - 50 * DAY + i * HOUR, NOW - 49 * DAY, 1000));
    }
    add(&m, block(0, NOW - 50 * DAY + 9 * HOUR, NOW - 49 * DAY, 1000));
    add(&m, block(0, NOW - 50 * DAY + 9 * HOUR, NOW - 49 * DAY, 64 << 20));
    p = plan(&m, &in);
    NLT_CHECK(TAKES(&p, 0, 1, 2, 3));
    nlt_manifest_deinit(&m);
}

static void
blocks_wider_than_the_highest_range_join_their_equals(void)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(15 * DAY);
    nlt_compact_plan_t p;

    add(&m, block(0, NOW - 100 * DAY, NOW - 50 * DAY, 1000));
    add(&m, block(0, NOW - 99 * DAY, NOW - 50 * DAY, 1000));
    add(&m, block(4, NOW - 60 * DAY, NOW - 59 * DAY, 1000));
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_OVERLAP);
    NLT_CHECK(TAKES(&p, 0, 1));
    /* Neighbours do not: whole blocks are what the retention removes. */
    m.blocks[0].t_end_ms = NOW - 99 * DAY;
    p = plan(&m, &in);
    NLT_CHECK_INT(p.why, NLT_COMPACT_NONE);
    nlt_manifest_deinit(&m);
}

static void
the_oldest_go_by_their_end(void)
{
    nlt_manifest_t m = empty();
    size_t idx[8];

    add(&m, block(1, NOW - 9 * DAY, NOW - 2 * DAY, 100));
    add(&m, block(2, NOW - 5 * DAY, NOW - 4 * DAY, 100));
    add(&m, block(3, NOW - 8 * DAY, NOW - 4 * DAY, 100));
    add(&m, block(4, NOW - 5 * HOUR, NOW - 3 * HOUR, 100));
    NLT_CHECK_INT(nlt_compact_oldest(&m, NOW - DAY, 0, idx, 8), 0);
    NLT_CHECK_INT(nlt_compact_oldest(&m, NOW - DAY, 1, idx, 8), 1);
    NLT_CHECK_INT(idx[0], 1);
    NLT_CHECK_INT(nlt_compact_oldest(&m, NOW - DAY, 201, idx, 8), 3);
    NLT_CHECK_INT(idx[1], 2);
    NLT_CHECK_INT(idx[2], 0);
    NLT_CHECK_INT(nlt_compact_oldest(&m, NOW - DAY, 9999, idx, 8), 3);
    NLT_CHECK_INT(nlt_compact_oldest(&m, NOW - DAY, 9999, idx, 2), 2);
    NLT_CHECK_INT(nlt_compact_oldest(&m, INT64_MAX, 9999, idx, 8), 4);
    nlt_manifest_deinit(&m);
}

/* ---- the order of values ---- */

#define TIMES  12 /* instants of the model, an hour each */
#define BLOCKS 10

/* What a block has at each instant: a value, or 0.  Some are deleted. */
typedef struct {
    nlt_ulid_t ulid;
    unsigned value[TIMES];
} content_t;

typedef struct {
    nlt_manifest_t m;
    content_t c[BLOCKS * 4];
    size_t n;
} world_t;

static unsigned *
values_of(world_t *w, const nlt_manifest_block_t *b)
{
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->c[i].ulid.c, b->ulid.c) == 0) {
            return w->c[i].value;
        }
    }
    return NULL;
}

static void
winners(world_t *w, unsigned *out)
{
    for (size_t t = 0; t < TIMES; t++) {
        out[t] = 0;
        for (size_t i = 0; i < w->m.n_blocks && out[t] == 0; i++) {
            out[t] = values_of(w, &w->m.blocks[i])[t];
        }
    }
}

/* Few arenas and starts, so that blocks are alike in all ways. */
static void
make_world(world_t *w, int64_t unit)
{
    size_t n = 2 + nlt_test_below(BLOCKS - 1);
    unsigned value = 0;

    w->m = empty();
    w->n = 0;
    for (size_t i = 0; i < n; i++) {
        size_t from = nlt_test_below(TIMES), len, at = from;
        nlt_manifest_block_t b;

        len = 1 + nlt_test_below(TIMES - from);
        len = nlt_test_below(2) ? 1 : len;
        b = block(nlt_test_below(4), NOW - 50 * DAY + (int64_t) from * unit,
                  NOW - 50 * DAY + (int64_t) (from + len) * unit,
                  1000 + nlt_test_below(3) * 100000);
        b.ulid = ulid(NOW - 2 + (int64_t) nlt_test_below(4), ++next_tail);
        memset(&w->c[w->n], 0, sizeof(w->c[w->n]));
        w->c[w->n].ulid = b.ulid;
        for (; at < from + len; at++) {
            w->c[w->n].value[at] = nlt_test_below(3) ? ++value : 0;
        }
        w->n++;
        add(&w->m, b);
    }
}

/*
 * Merges, as nlt_compact_blocks() and the helper do: the first source wins,
 * and a delete that concerns all of them takes out what it likes, also the
 * first and last samples.
 */
static void
merge(world_t *w, const size_t *idx, size_t n)
{
    nlt_manifest_block_t r = {.ulid = ulid(NOW, ++next_tail),
                              .t_min_ms = INT64_MAX,
                              .t_end_ms = INT64_MIN,
                              .level = 2};
    content_t *c = &w->c[w->n++];

    memset(c, 0, sizeof(*c));
    c->ulid = r.ulid;
    for (size_t k = 0; k < n; k++) {
        const nlt_manifest_block_t *b = &w->m.blocks[idx[k]];
        const unsigned *v = values_of(w, b);

        for (size_t t = 0; t < TIMES; t++) {
            c->value[t] = c->value[t] ? c->value[t] : v[t];
        }
        r.t_min_ms = nlt_min_i64(r.t_min_ms, b->t_min_ms);
        r.t_end_ms = nlt_max_i64(r.t_end_ms, b->t_end_ms);
        r.arena = b->arena > r.arena ? b->arena : r.arena;
        r.bytes += b->bytes;
        r.n_samples += b->n_samples;
    }
    for (size_t k = n; k-- > 0;) {
        nlt_manifest_remove_block(&w->m, idx[k]);
    }
    add(&w->m, r);
}

/* Random sets: what the rule lets through must change no winner. */
static void
a_set_that_keeps_order_changes_no_winner(void)
{
    unsigned kept = 0, refused = 0, needless = 0;

    for (int round = 0; round < 60000; round++) {
        world_t w;
        unsigned before[TIMES], after[TIMES];
        size_t idx[BLOCKS], n = 0;
        bool keeps;

        make_world(&w, HOUR);
        for (size_t i = 0; i < w.m.n_blocks; i++) {
            if (nlt_test_below(3) == 0) {
                idx[n++] = i;
            }
        }
        if (n > 0) {
            winners(&w, before);
            keeps = nlt_compact_keeps_order(&w.m, idx, n, NOW);
            merge(&w, idx, n);
            winners(&w, after);
            if (keeps) {
                kept++;
                NLT_CHECK(memcmp(before, after, sizeof(before)) == 0);
            } else {
                refused++;
                needless += memcmp(before, after, sizeof(before)) == 0;
            }
        }
        nlt_manifest_deinit(&w.m);
    }
    printf("# %u kept, %u refused, %u of them by bad luck\n", kept, refused,
           needless);
    /* It is no rule that lets everything through, or nothing. */
    NLT_CHECK(kept > 10000);
    NLT_CHECK(refused - needless > 3000);
}

/* The planner's own plans, to the end. */
static void
plans_change_no_winner(void)
{
    unsigned n_plans = 0, left = 0;

    for (int round = 0; round < 20000; round++) {
        world_t w;
        unsigned before[TIMES], after[TIMES];
        bool dirty[BLOCKS * 4];
        nlt_compact_in_t in = now_in(365 * DAY);
        nlt_compact_plan_t p;
        size_t steps = 0;

        make_world(&w, nlt_test_below(2) ? HOUR : 5 * DAY);
        in.newest_ms = NOW;
        winners(&w, before);
        for (;;) {
            /* The merge happens at NOW, quiet is judged later. */
            memset(dirty, 0, sizeof(dirty));
            if (steps == 0) {
                dirty[nlt_test_below(w.m.n_blocks)] = true;
                in.dirty = dirty;
            } else {
                in.dirty = NULL;
            }
            in.now_ms = NOW;
            p = plan(&w.m, &in);
            if (p.why == NLT_COMPACT_NONE && steps++ > 0) {
                break;
            }
            if (p.why == NLT_COMPACT_NONE) {
                continue;
            }
            steps++;
            n_plans++;
            NLT_CHECK(nlt_compact_keeps_order(&w.m, p.idx, p.n, NOW));
            merge(&w, p.idx, p.n);
            winners(&w, after);
            NLT_CHECK(memcmp(before, after, sizeof(before)) == 0);
            NLT_CHECK(steps < BLOCKS + 3);
        }
        left += (unsigned) w.m.n_blocks;
        nlt_manifest_deinit(&w.m);
    }
    printf("# %u plans, %.1f blocks left of a world\n", n_plans,
           left / 20000.0);
    NLT_CHECK(n_plans > 20000);
}

/* ---- cost ---- */

static double
seconds_of(size_t n, bool wide)
{
    nlt_manifest_t m = empty();
    nlt_compact_in_t in = now_in(365 * DAY);
    clock_t start;
    double s;

    /* The list is filled by hand: adding searches. */
    NLT_CHECK_INT(nlt_manifest_copy(&m, &m), NLT_OK);
    m.blocks = nlt_mem_zalloc(m.mem, n * sizeof(*m.blocks));
    m.blocks_cap = n;
    for (size_t i = 0; i < n; i++) {
        int64_t from = NOW - (int64_t) nlt_test_below(400 * DAY);

        m.blocks[i] = block(1 + i / 3, from,
                            from + 1 + (int64_t) nlt_test_below(2 * DAY),
                            1 + nlt_test_below(1u << 30));
        if (wide && i % 512 == 0) {
            m.blocks[i].t_end_ms += 99 * DAY;
        }
        if (i % 3 != 0 && m.blocks[i].t_min_ms < m.blocks[i - 1].t_min_ms) {
            m.blocks[i].t_min_ms = m.blocks[i - 1].t_min_ms;
            m.blocks[i].t_end_ms =
                nlt_max_i64(m.blocks[i].t_end_ms, from + 3 * DAY);
        }
    }
    m.n_blocks = n;
    start = clock();
    for (int i = 0; i < 5; i++) {
        (void) plan(&m, &in);
    }
    s = (double) (clock() - start) / CLOCKS_PER_SEC / 5;
    nlt_manifest_deinit(&m);
    return s;
}

static void
planning_is_fast_however_many_blocks(void)
{
    double few = seconds_of(NLT_MANIFEST_BLOCKS_MAX / 8, true);
    double many = seconds_of(NLT_MANIFEST_BLOCKS_MAX, true);

    printf("# %.1f ms for %u blocks, %.1f ms for %u\n", few * 1e3,
           NLT_MANIFEST_BLOCKS_MAX / 8, many * 1e3, NLT_MANIFEST_BLOCKS_MAX);
    /* Eight times as many: squares would be 64 times. */
    NLT_CHECK(many < 30 * few + 0.01);
    NLT_CHECK(many < 2);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(ranges_follow_the_retention);
    NLT_TEST(windows_are_those_of_groups);
    NLT_TEST(nothing_is_planned_for_nothing);
    NLT_TEST(levels_wait_until_their_window_is_over);
    NLT_TEST(pairs_wait_until_it_is_quiet);
    NLT_TEST(a_large_block_is_not_copied_for_a_small_one);
    NLT_TEST(no_room_no_plan);
    NLT_TEST(deletes_come_first_and_skipped_ones_stay);
    NLT_TEST(the_other_format_is_rewritten_when_nothing_is_merged);
    NLT_TEST(another_format_changes_no_order_of_values);
    NLT_TEST(histograms_that_overlap_are_left_alone);
    NLT_TEST(ties_are_not_parted_at_the_end);
    NLT_TEST(blocks_wider_than_the_highest_range_join_their_equals);
    NLT_TEST(the_oldest_go_by_their_end);
    NLT_TEST(a_set_that_keeps_order_changes_no_winner);
    NLT_TEST(plans_change_no_winner);
    NLT_TEST(planning_is_fast_however_many_blocks);
    return nlt_test_done();
}

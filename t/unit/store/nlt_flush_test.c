/*
 * nlt_flush_test.c - sealed arenas as blocks.
 */
#include <errno.h>

#include "nlt_test.h"

#include "nlt_block.h"
#include "nlt_compact_plan.h"
#include "nlt_chunk_file.h"
#include "nlt_flush.h"
#include "nlt_head_fixture.h"
#include "nlt_limits.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS  (24 * HOUR_MS)

/* A Tuesday, 13:20: borders at 12:00 and 14:00. */
#define NOW_MS INT64_C(1700054400000)

static const uint8_t store_id[NLT_STORE_ID_BYTES] = {7, 7, 7};

static void
windows_are_longer_the_older(void)
{
    /* 13:20: nothing that ended after 11:20 is over. */
    static const struct {
        int64_t ago_ms;
        int64_t hours;
    } want[] = {
        {0, 2},
        {3 * HOUR_MS, 2}, /* 10:20, of 8:00 to 16:00 */
        {6 * HOUR_MS, 8}, /* 7:20 */
        {13 * HOUR_MS, 8},
        {14 * HOUR_MS, 24}, /* yesterday */
        {30 * HOUR_MS, 24},
        {8 * DAY_MS, 8 * 24},
        {40 * DAY_MS, 32 * 24},
        {NOW_MS + 1, 32 * 24}, /* before 1970 */
    };
    int64_t start, end;

    for (size_t i = 0; i < NLT_COUNT(want); i++) {
        int64_t t = NOW_MS - want[i].ago_ms, range = want[i].hours * HOUR_MS;

        nlt_compact_window(NOW_MS, INT64_MAX, t, &start, &end);
        NLT_CHECK_INT(end - start, range);
        NLT_CHECK_INT(start % range, 0);
        NLT_CHECK(start <= t && t < end);
        /* Never longer than blocks may become. */
        nlt_compact_window(NOW_MS, 15 * DAY_MS, t, &start, &end);
        NLT_CHECK_INT(end - start, nlt_min_i64(range, DAY_MS));
    }
    nlt_compact_window(NOW_MS, INT64_MAX, INT64_MIN, &start, &end);
    NLT_CHECK(start == INT64_MIN && end > start);
    nlt_compact_window(INT64_MAX, INT64_MAX, INT64_MAX, &start, &end);
    NLT_CHECK(start < INT64_MAX && end == INT64_MAX);
}

static void
windows_of_ten_years_are_few_and_without_gaps(void)
{
    static const int64_t retention[] = {15 * DAY_MS, 100 * DAY_MS,
                                        4000 * DAY_MS};

    for (size_t i = 0; i < NLT_COUNT(retention); i++) {
        int64_t t = NOW_MS - nlt_min_i64(retention[i], 3653 * DAY_MS);
        int64_t start, end;
        size_t n = 0;

        for (; t <= NOW_MS; t = end, n++) {
            int64_t other, last;

            nlt_compact_window(NOW_MS, retention[i], t, &start, &end);
            NLT_CHECK(n == 0 ? start <= t : start == t);
            NLT_CHECK(end > t);
            /* All of the window says so. */
            nlt_compact_window(NOW_MS, retention[i], end - 1, &other, &last);
            NLT_CHECK(other == start && last == end);
        }
        printf("# %zu windows\n", n);
        NLT_CHECK(n < 140);
    }
}

static void
chunks_have_360_to_720_samples(void)
{
    NLT_CHECK_INT(nlt_flush_chunks(1), 1);
    NLT_CHECK_INT(nlt_flush_chunks(720), 1);
    NLT_CHECK_INT(nlt_flush_chunks(721), 2);
    NLT_CHECK_INT(nlt_flush_chunks(1080), 2);
    for (size_t n = 721; n < 5000; n++) {
        size_t k = nlt_flush_chunks(n);

        NLT_CHECK(n / k >= 360 && (n + k - 1) / k <= 720);
    }
}

static void
block_names_tell_whose_they_are(void)
{
    uint8_t other[NLT_STORE_ID_BYTES] = {8};
    nlt_block_meta_t meta = {.t_min_ms = 123, .arena = 4, .ours = true};
    nlt_ulid_t again;

    nlt_flush_ulid(store_id, 4, 123, NOW_MS, &meta.ulid);
    NLT_CHECK(nlt_ulid_valid((nlt_str_t){NLT_ULID_LEN, meta.ulid.c}));
    NLT_CHECK(nlt_flush_owns(store_id, &meta));
    NLT_CHECK(!nlt_flush_owns(other, &meta));
    meta.arena = 5;
    NLT_CHECK(!nlt_flush_owns(store_id, &meta));
    meta.arena = 4;
    meta.t_min_ms = 124;
    NLT_CHECK(!nlt_flush_owns(store_id, &meta));
    meta.t_min_ms = 123;
    meta.ulid.c[NLT_ULID_LEN - 1] ^= 1;
    NLT_CHECK(!nlt_flush_owns(store_id, &meta));
    /* Names sort by time, as ULIDs do. */
    nlt_flush_ulid(store_id, 4, 123, NOW_MS, &meta.ulid);
    nlt_flush_ulid(store_id, 1, 0, NOW_MS + 1, &again);
    NLT_CHECK(strcmp(meta.ulid.c, again.c) < 0);
    NLT_CHECK_INT(nlt_ulid_new(NOW_MS, &again), NLT_OK);
    NLT_CHECK(memcmp(meta.ulid.c, again.c, 10) == 0);
}

/* ---- flushing ---- */

typedef struct {
    fixture_t fx;
    nlt_head_t *head;
    nlt_manifest_t m;
    char path[40];
    int fd;
    int polls_left; /* then the flush is canceled; < 0: never */
    const nlt_delete_list_t *deletes;
} flush_fx_t;

static nlt_rc_t
poll_cb(void *ctx)
{
    flush_fx_t *f = ctx;

    return f->polls_left < 0 || f->polls_left-- > 0 ? NLT_OK : NLT_ECANCELED;
}

static void
setup(flush_fx_t *f)
{
    nlt_err_t err;

    memset(f, 0, sizeof(*f));
    f->polls_left = -1;
    fixture_open(&f->fx, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f->fx.conf, 3, &f->head, &err), NLT_OK);
    nlt_head_set_state(f->head, NLT_HEAD_OPEN);
    nlt_manifest_init(&f->m, &nlt_mem_libc, store_id);
    (void) snprintf(f->path, sizeof(f->path), "/tmp/nlt-flush-XXXXXX");
    NLT_CHECK(mkdtemp(f->path) != NULL);
    f->fd = open(f->path, O_RDONLY | O_DIRECTORY);
}

static void
teardown(flush_fx_t *f)
{
    nlt_err_t err;

    nlt_manifest_deinit(&f->m);
    nlt_head_detach(f->head);
    fixture_close(&f->fx);
    close(f->fd);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, f->path, &err),
                  NLT_OK);
}

/* m{i="<i>"} gets samples at t0, t0 + step, ..: value i + k / 8. */
static void
fill(flush_fx_t *f, unsigned i, int64_t t0, int64_t step, unsigned n)
{
    nlt_arena_t *a = nlt_head_active(f->head);
    char text[16];
    nlt_label_t v[2] = {{NLT_METRIC_NAME, NLT_STR("m")}, {NLT_STR("i"), {0}}};
    nlt_append_result_t result;
    uint32_t series;

    v[1].value.len = (size_t) snprintf(text, sizeof(text), "%u", i);
    v[1].value.data = text;
    NLT_CHECK_INT(
        fixture_register(f->head, a, 0, (nlt_labels_t){v, 2}, &series),
        NLT_OK);
    for (unsigned k = 0; k < n; k++) {
        NLT_CHECK_INT(fixture_append(a, series, t0 + step * (int64_t) k,
                                     i + k / 8.0, &result),
                      NLT_OK);
    }
}

static bool dense; /* what is flushed, in the tests that follow */

static nlt_rc_t
flush(flush_fx_t *f, size_t *n_blocks)
{
    nlt_flush_conf_t conf = {
        .env = &nlt_env_posix,
        .blocks_fd = f->fd,
        .store_id = store_id,
        .now_ms = NOW_MS,
        .deletes = f->deletes,
        .retention_ms = 15 * DAY_MS,
        .dense = dense,
        .poll = poll_cb,
        .poll_ctx = f,
    };
    uint64_t no;
    nlt_err_t err = {.text = ""};
    nlt_arena_t *a;
    nlt_rc_t rc;

    if (!atomic_load(&nlt_arena_header(nlt_head_active(f->head))->sealed)
        && nlt_arena_no(nlt_head_active(f->head)) == 3) {
        NLT_CHECK_INT(nlt_head_prepare(f->head, &err), NLT_OK);
        NLT_CHECK_INT(nlt_head_rotate(f->head, &no, &err), NLT_OK);
        NLT_CHECK_INT(no, 3);
    }
    a = nlt_head_pin_arena(f->head, 3);
    NLT_CHECK(a != NULL);
    rc = nlt_flush_arena(&conf, a, &f->m, n_blocks, &err);
    if (rc != NLT_OK && rc != NLT_ECANCELED) {
        printf("# %s\n", err.text);
    }
    nlt_head_unpin_arena(f->head, a);
    return rc;
}

static bool
count_cb(void *ctx, const char *name)
{
    (void) name;
    ++*(size_t *) ctx;
    return true;
}

static size_t
entries(const flush_fx_t *f)
{
    size_t n = 0;

    NLT_CHECK_INT(nlt_io_posix.list(NULL, f->fd, count_cb, &n), 0);
    return n;
}

static void
flush_writes_sorted_series_in_windows(void)
{
    flush_fx_t f;
    size_t n_blocks = 0, samples = 0, series = 0;
    int64_t border = NOW_MS - NOW_MS % NLT_BORDER_MS;

    setup(&f);
    for (unsigned i = 0; i < 30; i++) {
        /* 3 h of 15 s across a border; some with a day of last week. */
        fill(&f, i * 7 % 30, border - 2 * HOUR_MS + i, 15000, 720);
        if (i % 3 == 0) {
            fill(&f, i * 7 % 30, NOW_MS - 7 * NLT_DAY_MS, 60000, 2000);
        }
    }
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    NLT_CHECK_INT(f.m.n_blocks, n_blocks);
    NLT_CHECK_INT(entries(&f), n_blocks);
    /* A week ago: 13:20 to 22:40 of the next day: two days.  Now: two. */
    NLT_CHECK_INT(n_blocks, 4);
    for (size_t b = 0; b < f.m.n_blocks; b++) {
        const nlt_manifest_block_t *info = &f.m.blocks[b];
        int64_t start, end;
        nlt_block_series_t *id;
        nlt_block_t *block;
        nlt_pool_t pool;
        nlt_err_t err;
        size_t n;

        nlt_compact_window(NOW_MS, 15 * DAY_MS, info->t_min_ms, &start, &end);
        NLT_CHECK(info->t_end_ms <= end);
        NLT_CHECK_INT(info->arena, 3);
        NLT_CHECK_INT(info->dense, dense);
        NLT_CHECK(info->bytes > 100);
        nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
        NLT_CHECK_INT(
            nlt_block_open(&nlt_env_posix, f.fd, info->ulid.c, &block, &err),
            NLT_OK);
        NLT_CHECK_INT(nlt_block_validate(block, &pool, &err), NLT_OK);
        NLT_CHECK(nlt_flush_owns(store_id, nlt_block_meta(block)));
        NLT_CHECK_INT(nlt_block_select(block, &pool, NULL, 0, &id, &n, &err),
                      NLT_OK);
        NLT_CHECK_INT(n, info->n_series);
        for (size_t i = 0; i < n; i++) {
            nlt_block_raw_chunk_t *c;
            size_t n_chunks;

            NLT_CHECK_INT(
                nlt_block_chunks(block, id[i], &pool, &c, &n_chunks, &err),
                NLT_OK);
            for (size_t k = 0; k < n_chunks; k++) {
                unsigned count = (unsigned) ((uint8_t) c[k].data.data[0] << 8
                                             | (uint8_t) c[k].data.data[1]);

                NLT_CHECK(dense || count <= NLT_FLUSH_CHUNK_SAMPLES);
                NLT_CHECK(n_chunks == 1 || (!dense && count >= 240));
                NLT_CHECK_INT(c[k].encoding,
                              dense ? NLT_CHUNK_DENSE : NLT_CHUNK_XOR);
                NLT_CHECK(c[k].t_min_ms >= start && c[k].t_max_ms < end);
            }
        }
        samples += info->n_samples;
        series += n;
        nlt_block_close(block);
        nlt_pool_deinit(&pool);
    }
    NLT_CHECK_INT(samples, 30 * 720 + 10 * 2000);
    NLT_CHECK_INT(series, 30 + 30 + 10 + 10);
    teardown(&f);
}

/* Hours of the block that has t, 0 when there is none. */
static int64_t
hours_at(const flush_fx_t *f, int64_t t)
{
    for (size_t b = 0; b < f->m.n_blocks; b++) {
        if (f->m.blocks[b].t_min_ms <= t && t < f->m.blocks[b].t_end_ms) {
            return (f->m.blocks[b].t_end_ms - f->m.blocks[b].t_min_ms)
                   / HOUR_MS;
        }
    }
    return 0;
}

/* NOW_MS is 13:20 of a day, so the day and its last windows are not over. */
static void
a_backlog_of_a_day_is_one_block(void)
{
    const int64_t day = NOW_MS - NOW_MS % NLT_DAY_MS;
    size_t n_blocks = 0, samples = 0;
    flush_fx_t f;

    /* All of today and half of yesterday, which is over. */
    setup(&f);
    for (unsigned i = 0; i < 10; i++) {
        fill(&f, i, day - 12 * HOUR_MS + i, 60000, 12 * 60);
        fill(&f, i, day + i, 60000, (size_t) (NOW_MS - day) / 60000);
    }
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    NLT_CHECK_INT(n_blocks, 2);
    NLT_CHECK_INT(hours_at(&f, day - HOUR_MS), 11);
    NLT_CHECK_INT(hours_at(&f, day + HOUR_MS), (NOW_MS - day) / HOUR_MS);
    for (size_t b = 0; b < f.m.n_blocks; b++) {
        samples += f.m.blocks[b].n_samples;
        NLT_CHECK_INT(f.m.blocks[b].n_series, 10);
    }
    NLT_CHECK_INT(samples, 10 * (12 * 60 + (NOW_MS - day) / 60000));
    NLT_CHECK_INT(entries(&f), n_blocks);
    teardown(&f);
    /* A few late samples of this morning are no backlog. */
    setup(&f);
    for (unsigned i = 0; i < 10; i++) {
        fill(&f, i, NOW_MS - 100 * 60000, 60000, 100);
        fill(&f, i, day + i * HOUR_MS / 4, 60000, 3);
    }
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    NLT_CHECK_INT(hours_at(&f, NOW_MS - 60000), 1);
    NLT_CHECK(hours_at(&f, day) <= 2);
    teardown(&f);
    /* Nor is one an hour, from dawn till now. */
    setup(&f);
    for (unsigned i = 0; i < 10; i++) {
        fill(&f, i, day + i, HOUR_MS, 13);
    }
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    NLT_CHECK(n_blocks >= 3);
    teardown(&f);
    /* Nor are three hours in a row, which a slow rotation may bring. */
    setup(&f);
    for (unsigned i = 0; i < 10; i++) {
        fill(&f, i, NOW_MS - 190 * 60000, 60000, 190);
    }
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    NLT_CHECK(n_blocks >= 2);
    teardown(&f);
}

static void
flush_of_an_empty_arena_makes_no_block(void)
{
    flush_fx_t f;
    size_t n_blocks = 77;

    setup(&f);
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    NLT_CHECK_INT(n_blocks, 0);
    NLT_CHECK_INT(entries(&f), 0);
    teardown(&f);
}

/* ---- deletes ---- */

static nlt_matcher_t some[] = {
    {NLT_MATCH_RE, {1, "i"}, {3, "1|2"}, NULL},
    {NLT_MATCH_EQ, {1, "i"}, {1, "3"}, NULL},
    {NLT_MATCH_EQ, {1, "i"}, {1, "4"}, NULL},
};
static nlt_delete_set_t sets[] = {{&some[0], 1}, {&some[1], 1}, {&some[2], 1}};

/* Is the string a symbol of any block? */
static bool
has_value(flush_fx_t *f, const char *value)
{
    bool found = false;

    for (size_t b = 0; b < f->m.n_blocks; b++) {
        nlt_block_t *block;
        nlt_str_t *v;
        nlt_pool_t pool;
        nlt_err_t err;
        size_t n;

        nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
        NLT_CHECK_INT(nlt_block_open(&nlt_env_posix, f->fd,
                                     f->m.blocks[b].ulid.c, &block, &err),
                      NLT_OK);
        NLT_CHECK_INT(nlt_block_validate(block, &pool, &err), NLT_OK);
        NLT_CHECK_INT(
            nlt_block_label_values(block, NLT_STR("i"), &pool, &v, &n, &err),
            NLT_OK);
        for (size_t i = 0; i < n; i++) {
            found |= nlt_str_eq(v[i], nlt_test_str(value));
        }
        nlt_block_close(block);
        nlt_pool_deinit(&pool);
    }
    return found;
}

static void
deleted_samples_are_not_flushed(void)
{
    nlt_delete_t rules[] = {
        /* all of 1 and 2; half of 3; of 4 later arenas and tenants only */
        {5, 0, INT64_MIN, INT64_MAX, 3, &sets[0], 1},
        {6, 0, NOW_MS - HOUR_MS / 2, NOW_MS, 9, &sets[1], 1},
        {8, 0, INT64_MIN, INT64_MAX, 2, &sets[2], 1},
        {9, 1, INT64_MIN, INT64_MAX, 3, &sets[2], 1},
    };
    nlt_delete_list_t l = {.last = 11, .v = rules, .n = NLT_COUNT(rules)};
    size_t n_blocks, samples = 0;
    flush_fx_t f;

    setup(&f);
    f.deletes = &l;
    for (unsigned i = 0; i < 6; i++) {
        fill(&f, i, NOW_MS - HOUR_MS + 1, 60000, 60);
    }
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    for (size_t b = 0; b < f.m.n_blocks; b++) {
        NLT_CHECK_INT(f.m.blocks[b].deletes, 11);
        NLT_CHECK_INT(f.m.blocks[b].level, 1);
        samples += f.m.blocks[b].n_samples;
    }
    NLT_CHECK_INT(samples, 3 * 60 + 30);
    NLT_CHECK(has_value(&f, "0") && has_value(&f, "3") && has_value(&f, "4"));
    NLT_CHECK(!has_value(&f, "1") && !has_value(&f, "2"));
    teardown(&f);
}

static void
arena_of_which_nothing_is_left_makes_no_block(void)
{
    nlt_delete_set_t every = {NULL, 0};
    nlt_delete_t rule = {1, 0, INT64_MIN, INT64_MAX, 3, &every, 1};
    nlt_delete_list_t l = {.last = 1, .v = &rule, .n = 1};
    size_t n_blocks = 77;
    flush_fx_t f;

    setup(&f);
    f.deletes = &l;
    fill(&f, 1, NOW_MS - HOUR_MS, 60000, 60);
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    NLT_CHECK_INT(n_blocks, 0);
    NLT_CHECK_INT(entries(&f), 0);
    teardown(&f);
}

/* What cannot be told now is left to the block. */
static void
rule_whose_expression_takes_too_long_stays_in_force(void)
{
    nlt_matcher_t hard = {NLT_MATCH_RE, {1, "x"}, {11, "(a+)+(b|c)"}, NULL};
    nlt_delete_set_t set = {&hard, 1};
    nlt_delete_t rules[] = {
        {5, 0, INT64_MIN, INT64_MAX, 3, &sets[0], 1},
        {6, 0, INT64_MIN, INT64_MAX, 3, &set, 1},
    };
    nlt_delete_list_t l = {.last = 6, .v = rules, .n = 2};
    char text[4000];
    nlt_label_t v = {NLT_STR("x"), {sizeof(text), text}};
    nlt_append_result_t result;
    uint32_t series;
    size_t n_blocks;
    flush_fx_t f;

    hard.value = NLT_STR("(a+)+(b|c)");
    memset(text, 'a', sizeof(text));
    setup(&f);
    f.deletes = &l;
    fill(&f, 1, NOW_MS - HOUR_MS, 60000, 3);
    NLT_CHECK_INT(fixture_register(f.head, nlt_head_active(f.head), 0,
                                   (nlt_labels_t){&v, 1}, &series),
                  NLT_OK);
    NLT_CHECK_INT(
        fixture_append(nlt_head_active(f.head), series, NOW_MS, 1, &result),
        NLT_OK);
    NLT_CHECK_INT(flush(&f, &n_blocks), NLT_OK);
    NLT_CHECK_INT(n_blocks, 1);
    NLT_CHECK_INT(f.m.blocks[0].deletes, 5);
    NLT_CHECK_INT(f.m.blocks[0].n_samples, 1);
    teardown(&f);
}

/* Wherever it is interrupted, nothing stays; then it succeeds. */
static void
flush_canceled_anywhere_leaves_nothing(void)
{
    flush_fx_t f;
    size_t n_blocks, canceled = 0;
    nlt_rc_t rc;

    setup(&f);
    for (unsigned i = 0; i < 700; i++) {
        fill(&f, i, NOW_MS - 3 * HOUR_MS, 600000, 18);
    }
    do {
        f.polls_left = (int) canceled;
        rc = flush(&f, &n_blocks);
        if (rc != NLT_OK) {
            NLT_CHECK_INT(rc, NLT_ECANCELED);
            NLT_CHECK_INT(f.m.n_blocks, 0);
            NLT_CHECK_INT(entries(&f), 0);
        }
    } while (rc != NLT_OK && ++canceled < 1000);
    NLT_CHECK(canceled >= 8);
    NLT_CHECK_INT(f.m.n_blocks, 2);
    NLT_CHECK_INT(entries(&f), 2);
    teardown(&f);
}

int
main(void)
{
    NLT_TEST(windows_are_longer_the_older);
    NLT_TEST(windows_of_ten_years_are_few_and_without_gaps);
    NLT_TEST(chunks_have_360_to_720_samples);
    NLT_TEST(block_names_tell_whose_they_are);
    for (int format = 0; format < 2; format++) {
        dense = format == 1;
        printf("# %s\n", dense ? "dense" : "portable");
        NLT_TEST(flush_writes_sorted_series_in_windows);
        NLT_TEST(a_backlog_of_a_day_is_one_block);
        NLT_TEST(flush_of_an_empty_arena_makes_no_block);
        NLT_TEST(deleted_samples_are_not_flushed);
        NLT_TEST(arena_of_which_nothing_is_left_makes_no_block);
        NLT_TEST(rule_whose_expression_takes_too_long_stays_in_force);
        NLT_TEST(flush_canceled_anywhere_leaves_nothing);
    }
    return nlt_test_done();
}

/*
 * nlt_store_test.c - the life of a store and its helper.
 */
#include "nlt_store_fixture.h"

#include <dirent.h>

/* 16 series, 15 s apart, ending at now. */
static void
write_some(fx_t *fx, unsigned n_samples)
{
    for (unsigned k = 0; k < n_samples; k++) {
        for (unsigned no = 0; no < 16; no++) {
            int64_t t = fx->now_ms - 15000 * (int64_t) (n_samples - 1 - k);

            NLT_CHECK_INT(fx_write(fx, no, t, no + k / 10.0), NLT_OK);
        }
    }
}

static size_t
count_entries(const fx_t *fx, const char *dir)
{
    char path[128];
    size_t n = 0;
    struct dirent *e;
    DIR *d;

    (void) snprintf(path, sizeof(path), "%s/%s", fx->path, dir);
    d = opendir(path);
    while (d != NULL && (e = readdir(d)) != NULL) {
        n += e->d_name[0] != '.';
    }
    if (d != NULL) {
        closedir(d);
    }
    return n;
}

static bool
check_all(fx_t *fx)
{
    return fx_check(fx, INT64_MIN, INT64_MAX);
}

static void
store_serves_what_was_written(void)
{
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 20);
    NLT_CHECK(check_all(&fx));
    NLT_CHECK(fx_check(&fx, FX_NOW - 100000, FX_NOW - 30000));
    NLT_CHECK_INT(fx_write(&fx, 3, FX_NOW - 7777, 1), NLT_OK);
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

static void
flush_moves_samples_to_blocks(void)
{
    fx_t fx;
    nlt_store_gauges_t g;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 20);
    NLT_CHECK(fx_flush(&fx));
    nlt_store_gauges(fx.store, &g);
    NLT_CHECK_INT(g.blocks, 1);
    NLT_CHECK_INT(g.block_samples, 320);
    NLT_CHECK_INT(g.active_samples, 0);
    NLT_CHECK_INT(g.newest_ms, FX_NOW);
    NLT_CHECK_INT(count_entries(&fx, "blocks"), 1);
    NLT_CHECK(check_all(&fx));
    /* Late samples beside and into what is in the block. */
    NLT_CHECK_INT(fx_write(&fx, 3, FX_NOW - 7777, 1), NLT_OK);
    NLT_CHECK_INT(fx_write(&fx, 3, FX_NOW - 15000, 99), NLT_OK);
    NLT_CHECK_INT(fx_write(&fx, 40, FX_NOW - 15000, 4), NLT_OK);
    fx.now_ms += 15000;
    write_some(&fx, 1);
    NLT_CHECK(check_all(&fx));
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK_INT(count_entries(&fx, "blocks"), 2);
    /* The logs of the active and of the next arena. */
    NLT_CHECK_INT(count_entries(&fx, "wal"), 2);
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

static void
reopen_finds_head_and_blocks(void)
{
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 10);
    NLT_CHECK(fx_flush(&fx));
    fx.now_ms += 600000;
    write_some(&fx, 10);
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(
        atomic_load(&nlt_store_ctl(fx.store)->counters.replayed_samples), 0);
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

static void
lost_head_is_replayed(void)
{
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 10);
    NLT_CHECK(fx_flush(&fx));
    fx.now_ms += 600000;
    write_some(&fx, 30);
    for (int round = 0; round < 3; round++) {
        fx_close(&fx);
        fx_remove_head(&fx);
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK_INT(
            atomic_load(&nlt_store_ctl(fx.store)->counters.replayed_samples),
            480 + 16 * round);
        NLT_CHECK(check_all(&fx));
        fx.now_ms += 15000;
        write_some(&fx, 1);
        fx_step(&fx, 2);
        NLT_CHECK_INT(count_entries(&fx, "wal"), 2);
    }
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

/* Stops the helper between rotation and flush. */
static void
sealed_arena_is_flushed_after_restart(void)
{
    fx_t fx;
    int cancel = 1;

    for (int lost = 0; lost < 2; lost++) {
        fx_init(&fx);
        NLT_CHECK(fx_start(&fx));
        fx_step(&fx, 3);
        write_some(&fx, 10);
        nlt_helper_flush_soon(fx.helper);
        for (int i = 0; i < 5; i++) {
            (void) nlt_helper_step(fx.helper, &cancel);
        }
        fx.now_ms += 15000;
        nlt_store_tick(fx.store);
        write_some(&fx, 1);
        NLT_CHECK_INT(count_entries(&fx, "blocks"), 0);
        NLT_CHECK(count_entries(&fx, "wal") >= 2);
        NLT_CHECK(check_all(&fx));
        fx_close(&fx);
        if (lost) {
            fx_remove_head(&fx);
        }
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK(check_all(&fx));
        fx_step(&fx, 5);
        NLT_CHECK_INT(count_entries(&fx, "blocks"), lost ? 0 : 1);
        NLT_CHECK_INT(count_entries(&fx, "wal"), 2);
        NLT_CHECK(check_all(&fx));
        fx_deinit(&fx);
    }
}

static void
one_process_holds_the_lease(void)
{
    fx_t fx;
    nlt_helper_t *second = NULL;
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(nlt_helper_open(&fx.env, &fx.conf, &second, &err),
                  NLT_AGAIN);
    NLT_CHECK(second == NULL);
    nlt_helper_close(fx.helper);
    fx.helper = NULL;
    NLT_CHECK_INT(nlt_helper_open(&fx.env, &fx.conf, &fx.helper, &err),
                  NLT_OK);
    write_some(&fx, 2);
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

static void
scribble(const fx_t *fx, const char *name)
{
    char path[128];
    int fd;

    (void) snprintf(path, sizeof(path), "%s/%s", fx->path, name);
    fd = open(path, O_WRONLY);
    NLT_CHECK(fd >= 0);
    NLT_CHECK_INT(pwrite(fd, "X", 1, 30), 1);
    close(fd);
}

/* Nothing is removed when the list of what counts cannot be trusted. */
static void
damaged_or_lost_manifest_is_refused(void)
{
    char from[128], to[128];
    fx_t fx;

    for (int lost = 0; lost < 2; lost++) {
        fx_init(&fx);
        NLT_CHECK(fx_start(&fx));
        write_some(&fx, 5);
        NLT_CHECK(fx_flush(&fx));
        fx_close(&fx);
        fx_remove_head(&fx);
        (void) snprintf(from, sizeof(from), "%s/MANIFEST", fx.path);
        (void) snprintf(to, sizeof(to), "%s/saved", fx.path);
        if (lost) {
            NLT_CHECK_INT(rename(from, to), 0);
        } else {
            scribble(&fx, "MANIFEST");
        }
        fx.fault.fail_at = 1000000000; /* expected: says nothing */
        NLT_CHECK(!fx_start(&fx));
        NLT_CHECK_INT(count_entries(&fx, "blocks"), 1);
        NLT_CHECK(count_entries(&fx, "wal") >= 1);
        if (lost) {
            NLT_CHECK_INT(rename(to, from), 0);
            fx_close(&fx);
            NLT_CHECK(fx_start(&fx));
            NLT_CHECK(check_all(&fx));
        }
        fx_deinit(&fx);
    }
}

static void
arena_is_rotated_by_age(void)
{
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 5);
    fx_step(&fx, 3);
    NLT_CHECK_INT(count_entries(&fx, "blocks"), 0);
    fx.now_ms += 2 * FX_HOUR;
    fx_step(&fx, 5);
    NLT_CHECK_INT(count_entries(&fx, "blocks"), 1);
    NLT_CHECK(check_all(&fx));
    /* An empty one is not. */
    fx.now_ms += 4 * FX_HOUR;
    fx_step(&fx, 5);
    NLT_CHECK_INT(count_entries(&fx, "blocks"), 1);
    fx_deinit(&fx);
}

static void
retention_removes_blocks_but_not_from_running_queries(void)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
    nlt_select_t sel = {&m, 1, INT64_MIN, INT64_MAX};
    nlt_store_gauges_t g;
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0};
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 5);
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK_INT(nlt_view_open(fx.store, 0, NULL, &view, &err), NLT_OK);
    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    got.pool = &pool;
    NLT_CHECK_INT(
        view.source.ops->select(&view.source, &pool, &sel, &set, &err),
        NLT_OK);
    NLT_CHECK_INT(set->n, 16);

    /* A clock far ahead alone deletes nothing (D12). */
    fx.now_ms += 365 * 24 * FX_HOUR;
    fx.mono_ns += 100 * INT64_C(1000000000);
    fx_step(&fx, 5);
    NLT_CHECK_INT(count_entries(&fx, "blocks"), 1);

    /* New data does. */
    write_some(&fx, 1);
    fx.mono_ns += 100 * INT64_C(1000000000);
    fx_step(&fx, 5);
    nlt_store_gauges(fx.store, &g);
    NLT_CHECK_INT(g.oldest_ms, fx.now_ms);
    NLT_CHECK_INT(count_entries(&fx, "blocks"), 1);
    NLT_CHECK_INT(atomic_load(&nlt_store_ctl(fx.store)->t_oldest_ms),
                  fx.now_ms - fx.conf.retention_ms);
    NLT_CHECK_INT(view.source.ops->read(set, 7, NLT_READ_ALL, INT64_MIN,
                                        INT64_MAX, &got, &err),
                  NLT_OK);
    NLT_CHECK_INT(got.n, 5);
    view.source.ops->close(set);
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);

    for (unsigned no = 0; no < 16; no++) {
        fx_series_t *s = &fx.series[no];

        s->v[0] = s->v[s->n - 1];
        s->n = 1;
    }
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

/* Mappings of files of the store. */
static size_t
count_maps(const fx_t *fx)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    size_t n = 0;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        n += strstr(line, fx->root) != NULL;
    }
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

static size_t
count_fds(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");

    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n;
}

/* Two months of rotations; blocks come and go. */
static void
nothing_leaks_over_many_rotations(void)
{
    size_t fds = 0, maps = 0;
    fx_t fx;

    fx_init(&fx);
    fx.conf.retention_ms = 48 * FX_HOUR;
    NLT_CHECK(fx_start(&fx));
    for (int i = 0; i < 80; i++) {
        for (unsigned no = 0; no < 4; no++) {
            NLT_CHECK_INT(fx_write(&fx, no, fx.now_ms, i), NLT_OK);
        }
        if (i % 16 == 15) {
            NLT_CHECK(fx_check(&fx, fx.now_ms - 20 * FX_HOUR, fx.now_ms));
        }
        fx.now_ms += 4 * FX_HOUR;
        fx.mono_ns += 100 * INT64_C(1000000000);
        fx_step(&fx, 4);
        /* Merging makes a cycle of a day: six of these. */
        if (i == 79 - 36) {
            fds = count_fds();
            maps = count_maps(&fx);
        }
    }
    NLT_CHECK_INT(count_fds(), fds);
    NLT_CHECK_INT(count_maps(&fx), maps);
    NLT_CHECK(maps > 4);
    NLT_CHECK(count_entries(&fx, "blocks") <= 14);
    NLT_CHECK_INT(count_entries(&fx, "wal"), 2);
    fx_deinit(&fx);
}

static void
promtool_reads_flushed_blocks(void)
{
    char command[256];
    fx_t fx;

    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        printf("# skipped: promtool is not installed\n");
        return;
    }
    fx_init(&fx);
    fx.conf.dense = false;
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 1000);
    NLT_CHECK(fx_flush(&fx));
    (void) snprintf(
        command, sizeof(command),
        "promtool tsdb list %s/blocks | grep -c '^01' | grep -qx 3", fx.path);
    NLT_CHECK_INT(system(command), 0);
    (void) snprintf(command, sizeof(command),
                    "promtool tsdb analyze %s/blocks | grep -q "
                    "'Series: 16'",
                    fx.path);
    NLT_CHECK_INT(system(command), 0);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(store_serves_what_was_written);
    NLT_TEST(flush_moves_samples_to_blocks);
    NLT_TEST(reopen_finds_head_and_blocks);
    NLT_TEST(lost_head_is_replayed);
    NLT_TEST(sealed_arena_is_flushed_after_restart);
    NLT_TEST(one_process_holds_the_lease);
    NLT_TEST(damaged_or_lost_manifest_is_refused);
    NLT_TEST(arena_is_rotated_by_age);
    NLT_TEST(retention_removes_blocks_but_not_from_running_queries);
    NLT_TEST(nothing_leaks_over_many_rotations);
    NLT_TEST(promtool_reads_flushed_blocks);
    return nlt_test_done();
}

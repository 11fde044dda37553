/*
 * nlt_helper_compact_test.c - merging inside of a store that runs: what goes
 * on meanwhile, what makes a merge give up, and who sees what.
 */
#include "nlt_store_fixture.h"

#include <dirent.h>

#include "nlt_manifest.h"

#define SECOND INT64_C(1000000000)

/* ---- something that happens at a chosen call ---- */

typedef struct {
    fx_t *fx;
    bool (*at)(const char *name); /* which open; NULL: none */
    void (*act)(fx_t *fx);        /* once */
    bool no_space;                /* writes of blocks fail */
} hook_t;

static hook_t hook;

static bool
is_new_block(const char *name)
{
    return strstr(name, ".tmp-for-creation") != NULL;
}

static bool
is_block(const char *name)
{
    return strlen(name) == NLT_ULID_LEN;
}

static int
hooked_open(void *ctx, int dir_fd, const char *name, int flags, unsigned mode)
{
    if (hook.at != NULL && hook.at(name)) {
        hook.at = NULL;
        hook.act(hook.fx);
    }
    return fx_open(ctx, dir_fd, name, flags, mode);
}

static ssize_t
hooked_write(void *ctx, int fd, const void *p, size_t n)
{
    char link[64], path[256];
    ssize_t len;

    (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = '\0';
    if (hook.no_space && is_new_block(path)) {
        return -ENOSPC;
    }
    return fx_write_fd(ctx, fd, p, n);
}

static void
start(fx_t *fx)
{
    fx_init(fx);
    hook = (hook_t){.fx = fx};
    fx->io.open = hooked_open;
    fx->io.write = hooked_write;
    NLT_CHECK(fx_start(fx));
}

/* ---- what there is ---- */

static nlt_manifest_t
manifest(fx_t *fx)
{
    nlt_manifest_t m = {.mem = &nlt_mem_libc};
    nlt_err_t err;
    int fd = open(fx->path, O_RDONLY | O_DIRECTORY);

    NLT_CHECK_INT(nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    (void) close(fd);
    return m;
}

static size_t
n_blocks(fx_t *fx)
{
    nlt_manifest_t m = manifest(fx);
    size_t n = m.n_blocks;

    nlt_manifest_deinit(&m);
    return n;
}

static size_t
entries(fx_t *fx, const char *dir)
{
    char path[128];
    struct dirent *e;
    size_t n = 0;
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

static const nlt_head_counters_t *
counters(fx_t *fx)
{
    return &nlt_store_ctl(fx->store)->counters;
}

static bool
check_all(fx_t *fx)
{
    return fx_check(fx, INT64_MIN, INT64_MAX);
}

/* A block of samples around t, of all series, some of them there before. */
static void
one_block(fx_t *fx, int64_t t, unsigned round)
{
    for (unsigned no = 0; no < FX_SERIES; no++) {
        for (unsigned k = 0; k < 5; k++) {
            NLT_CHECK_INT(fx_write(fx, no, t + (int64_t) (k + 3 * round) * 777,
                                   no * 100 + k + round * 0.5),
                          NLT_OK);
        }
    }
    NLT_CHECK(fx_flush(fx));
}

/* n blocks of one day, which a merge would make one; nothing is quiet yet. */
static void
overlapping_blocks(fx_t *fx, unsigned n)
{
    int64_t t = fx->now_ms - 5 * 24 * FX_HOUR;

    for (unsigned i = 0; i < n; i++) {
        one_block(fx, t, i);
    }
    NLT_CHECK_INT(n_blocks(fx), n);
    /* Their day is over when there is later data. */
    NLT_CHECK_INT(fx_write(fx, 0, fx->now_ms, -1), NLT_OK);
}

/* From here on two blocks are enough. */
static void
be_quiet(fx_t *fx)
{
    fx->now_ms += 6000;
    fx->mono_ns += 2 * SECOND;
}

/* Steps until so many merges were done; false: they were not. */
static bool
merges(fx_t *fx, uint64_t n)
{
    for (int i = 0; i < 50; i++) {
        if (atomic_load(&counters(fx)->compactions) >= n) {
            return true;
        }
        fx_step(fx, 1);
    }
    return false;
}

/* ---- tests ---- */

static void
overlapping_blocks_become_one(void)
{
    nlt_manifest_t m;
    fx_t fx;

    start(&fx);
    overlapping_blocks(&fx, 3);
    NLT_CHECK(check_all(&fx));
    be_quiet(&fx);
    NLT_CHECK(merges(&fx, 1));
    NLT_CHECK(check_all(&fx));
    m = manifest(&fx);
    NLT_CHECK_INT(m.n_blocks, 1);
    NLT_CHECK_INT(entries(&fx, "blocks"), 1);
    NLT_CHECK(m.blocks[0].level > 1);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compaction_blocks), 3);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compaction_samples),
                  m.blocks[0].n_samples);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compaction_bytes),
                  m.blocks[0].bytes);
    NLT_CHECK(atomic_load(&counters(&fx)->compaction_ns) > 0);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compaction_errors), 0);
    nlt_manifest_deinit(&m);
    /* It is left alone from now on, also by those who open it anew. */
    fx_step(&fx, 50);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compactions), 1);
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(check_all(&fx));
    NLT_CHECK_INT(n_blocks(&fx), 1);
    fx_deinit(&fx);
}

static uint64_t flushes_before;

static void
fill_an_arena(fx_t *fx)
{
    for (unsigned no = 0; no < FX_SERIES; no++) {
        NLT_CHECK_INT(fx_write(fx, no, fx->now_ms, no), NLT_OK);
    }
    flushes_before = atomic_load(&counters(fx)->flushes);
    nlt_helper_flush_soon(fx->helper);
    fx->mono_ns += SECOND;
}

static void
an_arena_that_is_sealed_meanwhile_does_not_wait(void)
{
    fx_t fx;

    start(&fx);
    overlapping_blocks(&fx, 3);
    be_quiet(&fx);
    hook.at = is_new_block;
    hook.act = fill_an_arena;
    while (atomic_load(&counters(&fx)->compactions) == 0) {
        (void) nlt_helper_step(fx.helper, NULL);
        NLT_CHECK(atomic_load(&counters(&fx)->compactions) == 0
                  || atomic_load(&counters(&fx)->flushes)
                         == flushes_before + 1);
        fx.mono_ns += SECOND / 10;
        if (fx.mono_ns > 1000 * SECOND) {
            break;
        }
    }
    NLT_CHECK(hook.at == NULL);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compactions), 1);
    NLT_CHECK_INT(n_blocks(&fx), 2);
    nlt_store_tick(fx.store);
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

static void
let_days_pass(fx_t *fx, int days)
{
    fx->now_ms += days * 24 * FX_HOUR;
    NLT_CHECK_INT(fx_write(fx, 0, fx->now_ms, 1), NLT_OK);
    fx->mono_ns += 2 * SECOND;
}

static void
let_12_days_pass(fx_t *fx)
{
    let_days_pass(fx, 12);
}

static void
let_2_days_pass(fx_t *fx)
{
    let_days_pass(fx, 2);
}

static void
a_merge_whose_source_expires_is_given_up(void)
{
    int64_t oldest;
    fx_t fx;

    start(&fx);
    overlapping_blocks(&fx, 3);
    be_quiet(&fx);
    hook.at = is_new_block;
    hook.act = let_12_days_pass;
    fx_step(&fx, 10);
    NLT_CHECK(hook.at == NULL);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compactions), 0);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compaction_errors), 0);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->blocks_removed), 3);
    NLT_CHECK_INT(entries(&fx, "blocks"), n_blocks(&fx));
    oldest = atomic_load(&nlt_store_ctl(fx.store)->t_oldest_ms);
    NLT_CHECK(fx_check(&fx, oldest, INT64_MAX));
    fx_deinit(&fx);
}

/* Blocks that are no source go before the merge is at its end. */
static void
others_expire_while_a_merge_runs(void)
{
    int64_t oldest;
    fx_t fx;

    start(&fx);
    one_block(&fx, fx.now_ms - 14 * 24 * FX_HOUR, 0);
    one_block(&fx, fx.now_ms - 5 * 24 * FX_HOUR, 0);
    one_block(&fx, fx.now_ms - 5 * 24 * FX_HOUR, 1);
    NLT_CHECK_INT(fx_write(&fx, 0, fx.now_ms, -1), NLT_OK);
    be_quiet(&fx);
    hook.at = is_new_block;
    hook.act = let_2_days_pass;
    while (atomic_load(&counters(&fx)->compactions) == 0
           && fx.mono_ns < 1000 * SECOND) {
        (void) nlt_helper_step(fx.helper, NULL);
        fx.mono_ns += SECOND / 10;
    }
    NLT_CHECK(hook.at == NULL);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compactions), 1);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->blocks_removed), 1);
    fx_step(&fx, 5);
    oldest = atomic_load(&nlt_store_ctl(fx.store)->t_oldest_ms);
    NLT_CHECK(fx_check(&fx, oldest, INT64_MAX));
    fx_deinit(&fx);
}

static void
merge_now(fx_t *fx)
{
    uint64_t before = atomic_load(&counters(fx)->compactions);

    for (int i = 0; i < 20; i++) {
        (void) nlt_helper_step(fx->helper, NULL);
        fx->mono_ns += SECOND / 10;
    }
    NLT_CHECK_INT(atomic_load(&counters(fx)->compactions), before + 1);
}

/*
 * A process has read the MANIFEST, and before it opens the blocks they are
 * merged and removed.
 */
static void
a_reader_that_comes_too_late_looks_again(void)
{
    nlt_store_t *late = NULL, *early;
    nlt_err_t err;
    fx_t fx;

    start(&fx);
    overlapping_blocks(&fx, 2);
    NLT_CHECK_INT(
        nlt_store_open(&fx.env, &fx.conf, NLT_ROLE_WORKER, &late, &err),
        NLT_OK);
    nlt_store_tick(late);
    one_block(&fx, fx.now_ms - 5 * 24 * FX_HOUR, 7);
    be_quiet(&fx);
    hook.at = is_block;
    hook.act = merge_now;
    early = fx.store;
    fx.store = late;
    NLT_CHECK(check_all(&fx));
    NLT_CHECK(hook.at == NULL);
    nlt_store_close(early);
    NLT_CHECK_INT(n_blocks(&fx), 2);
    fx_deinit(&fx);
}

static void
a_full_disk_stops_merging_for_a_while(void)
{
    fx_t fx;

    start(&fx);
    overlapping_blocks(&fx, 3);
    be_quiet(&fx);
    hook.no_space = true;
    fx_step(&fx, 100);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compactions), 0);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compaction_errors), 1);
    NLT_CHECK_INT(entries(&fx, "blocks"), 3);
    NLT_CHECK(check_all(&fx));
    hook.no_space = false;
    fx.mono_ns += 61 * SECOND;
    NLT_CHECK(merges(&fx, 1));
    NLT_CHECK(check_all(&fx));
    /* One that is full already is not asked to hold a copy. */
    one_block(&fx, fx.now_ms - 5 * 24 * FX_HOUR, 9);
    fx.fault.has_free = true;
    fx.fault.free_bytes = 1000;
    be_quiet(&fx);
    fx_step(&fx, 100);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compactions), 1);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compaction_errors), 1);
    fx.fault.free_bytes = 1 << 30;
    NLT_CHECK(merges(&fx, 2));
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

/* Changes the last byte of the chunks of the first block. */
static void
damage(fx_t *fx)
{
    nlt_manifest_t m = manifest(fx);
    char path[256];
    struct stat st;
    uint8_t byte;
    int fd;

    (void) snprintf(path, sizeof(path), "%s/blocks/%s/chunks/000001", fx->path,
                    m.blocks[0].ulid.c);
    fd = open(path, O_RDWR);
    NLT_CHECK_INT(fstat(fd, &st), 0);
    NLT_CHECK_INT(pread(fd, &byte, 1, st.st_size - 1), 1);
    byte ^= 1;
    NLT_CHECK_INT(pwrite(fd, &byte, 1, st.st_size - 1), 1);
    (void) close(fd);
    nlt_manifest_deinit(&m);
}

static void
a_damaged_source_is_moved_aside_and_others_are_merged(void)
{
    nlt_manifest_t m;
    fx_t fx;

    start(&fx);
    overlapping_blocks(&fx, 3);
    damage(&fx);
    be_quiet(&fx);
    NLT_CHECK(merges(&fx, 1));
    m = manifest(&fx);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compaction_errors), 1);
    NLT_CHECK_INT(m.n_blocks, 1);
    NLT_CHECK_INT(m.n_damaged, 1);
    NLT_CHECK_INT(entries(&fx, "quarantine"), 1);
    NLT_CHECK_INT(entries(&fx, "blocks"), 1);
    nlt_manifest_deinit(&m);
    fx_deinit(&fx);
}

static void
take_time(fx_t *fx)
{
    fx->mono_ns += SECOND;
}

/* A helper that has to go leaves a merge that the next one makes anew. */
static void
a_merge_that_is_cancelled_is_made_by_the_next_helper(void)
{
    int cancel = 1;
    fx_t fx;

    start(&fx);
    overlapping_blocks(&fx, 3);
    be_quiet(&fx);
    hook.at = is_new_block;
    hook.act = take_time;
    for (int i = 0; i < 20; i++) {
        (void) nlt_helper_step(fx.helper, &cancel);
        fx.mono_ns += SECOND / 10;
    }
    NLT_CHECK_INT(atomic_load(&counters(&fx)->compactions), 0);
    NLT_CHECK_INT(entries(&fx, "blocks"), 3);
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(merges(&fx, 1));
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

/* Samples of series 0, one in each of n windows of 32 days. */
static void
many_blocks(fx_t *fx, unsigned n, int64_t offset)
{
    for (unsigned i = 2; i < n + 2; i++) {
        int64_t t = fx->now_ms - 32 * 24 * FX_HOUR * (int64_t) i;

        NLT_CHECK_INT(fx_write(fx, 0, t + offset, i), NLT_OK);
    }
    nlt_helper_flush_soon(fx->helper);
}

static void
many_blocks_are_merged_before_there_are_more(void)
{
    const unsigned n = 520;
    uint64_t flushes = 0;
    fx_t fx;

    fx_init(&fx);
    hook = (hook_t){.fx = &fx};
    fx.conf.retention_ms = 600 * 32 * 24 * FX_HOUR;
    NLT_CHECK(fx_start(&fx));
    for (unsigned round = 0; round < 3; round++) {
        many_blocks(&fx, n, 1000 * round);
        be_quiet(&fx);
        for (int i = 0; i < 2000 && flushes <= round; i++) {
            fx_step(&fx, 1);
            flushes = atomic_load(&counters(&fx)->flushes);
        }
        NLT_CHECK_INT(flushes, round + 1);
        /* Not three blocks a window, and no more than one flush too many. */
        NLT_CHECK(n_blocks(&fx) < 1000 + n);
    }
    NLT_CHECK(atomic_load(&counters(&fx)->compactions) > 0);
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

/* ---- the format of blocks ---- */

/* How many blocks are dense; all must be as large as they are said to be. */
static size_t
n_dense(fx_t *fx)
{
    nlt_manifest_t m = manifest(fx);
    size_t n = 0;

    for (size_t i = 0; i < m.n_blocks; i++) {
        n += m.blocks[i].dense;
    }
    nlt_manifest_deinit(&m);
    return n;
}

/* Closes it and begins anew with that format. */
static void
again_as(fx_t *fx, bool dense)
{
    fx_close(fx);
    fx->conf.dense = dense;
    NLT_CHECK(fx_start(fx));
    be_quiet(fx);
}

static bool
converts(fx_t *fx, uint64_t n)
{
    for (int i = 0; i < 300 && atomic_load(&counters(fx)->conversions) < n;
         i++) {
        fx_step(fx, 1);
    }
    return atomic_load(&counters(fx)->conversions) == n;
}

/* One block on each of n days, of all series, each with its sample now. */
static void
lone_blocks(fx_t *fx, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        one_block(fx, fx->now_ms - (2 + i) * 24 * FX_HOUR, i);
    }
    NLT_CHECK_INT(fx_write(fx, 0, fx->now_ms, -1), NLT_OK);
    NLT_CHECK_INT(n_blocks(fx), n);
}

static void
blocks_get_the_format_that_is_said_and_back(void)
{
    for (unsigned n_tenants = 0; n_tenants <= 4; n_tenants += 4) {
        fx_t fx;

        fx_init(&fx);
        hook = (hook_t){.fx = &fx};
        fx.n_tenants = n_tenants;
        fx.conf.dense = false;
        NLT_CHECK(fx_start(&fx));
        lone_blocks(&fx, 4);
        NLT_CHECK_INT(n_dense(&fx), 0);
        again_as(&fx, true);
        NLT_CHECK(converts(&fx, 4));
        NLT_CHECK_INT(n_dense(&fx), 4);
        NLT_CHECK(check_all(&fx));
        NLT_CHECK_INT(entries(&fx, "blocks"), 4);
        /* What is flushed and merged from now on is dense, too. */
        one_block(&fx, fx.now_ms - 2 * 24 * FX_HOUR, 9);
        NLT_CHECK_INT(n_dense(&fx), n_blocks(&fx));
        be_quiet(&fx);
        NLT_CHECK(merges(&fx, 5));
        NLT_CHECK_INT(n_dense(&fx), n_blocks(&fx));
        NLT_CHECK(check_all(&fx));
        fx_step(&fx, 50);
        NLT_CHECK_INT(atomic_load(&counters(&fx)->conversions), 4);
        again_as(&fx, false);
        for (int i = 0; i < 300 && n_dense(&fx) > 0; i++) {
            fx_step(&fx, 1);
        }
        NLT_CHECK_INT(n_dense(&fx), 0);
        NLT_CHECK(check_all(&fx));
        /* An older version would see what it knows. */
        fx_close(&fx);
        fx_remove_head(&fx);
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK(check_all(&fx));
        fx_deinit(&fx);
    }
}

/* Whoever is stopped half way leaves what was there. */
static void
a_conversion_that_is_cancelled_leaves_the_block(void)
{
    int cancel = 1;
    fx_t fx;

    fx_init(&fx);
    hook = (hook_t){.fx = &fx};
    fx.io.open = hooked_open;
    fx.conf.dense = false;
    NLT_CHECK(fx_start(&fx));
    lone_blocks(&fx, 2);
    again_as(&fx, true);
    hook.at = is_new_block;
    hook.act = take_time;
    for (int i = 0; i < 50; i++) {
        (void) nlt_helper_step(fx.helper, &cancel);
        fx.mono_ns += SECOND / 10;
    }
    NLT_CHECK(hook.at == NULL);
    NLT_CHECK_INT(atomic_load(&counters(&fx)->conversions), 0);
    NLT_CHECK_INT(entries(&fx, "blocks"), 2);
    NLT_CHECK_INT(n_dense(&fx), 0);
    NLT_CHECK(check_all(&fx));
    NLT_CHECK(converts(&fx, 2));
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

/* A conversion that takes a second is followed by a second of rest. */
static void
conversions_take_half_of_the_time_at_most(void)
{
    int64_t began, done[3];
    fx_t fx;

    fx_init(&fx);
    hook = (hook_t){.fx = &fx};
    fx.io.open = hooked_open;
    fx.conf.dense = false;
    NLT_CHECK(fx_start(&fx));
    lone_blocks(&fx, 3);
    again_as(&fx, true);
    for (unsigned i = 0; i < 3; i++) {
        hook.at = is_new_block;
        hook.act = take_time;
        began = fx.mono_ns;
        NLT_CHECK(converts(&fx, i + 1));
        NLT_CHECK(hook.at == NULL);
        done[i] = fx.mono_ns;
        NLT_CHECK(i == 0 || done[i] - began >= 2 * SECOND);
    }
    fx_deinit(&fx);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(overlapping_blocks_become_one);
    NLT_TEST(an_arena_that_is_sealed_meanwhile_does_not_wait);
    NLT_TEST(a_merge_whose_source_expires_is_given_up);
    NLT_TEST(others_expire_while_a_merge_runs);
    NLT_TEST(a_reader_that_comes_too_late_looks_again);
    NLT_TEST(a_full_disk_stops_merging_for_a_while);
    NLT_TEST(a_damaged_source_is_moved_aside_and_others_are_merged);
    NLT_TEST(a_merge_that_is_cancelled_is_made_by_the_next_helper);
    NLT_TEST(blocks_get_the_format_that_is_said_and_back);
    NLT_TEST(a_conversion_that_is_cancelled_leaves_the_block);
    NLT_TEST(conversions_take_half_of_the_time_at_most);
    NLT_TEST(many_blocks_are_merged_before_there_are_more);
    return nlt_test_done();
}

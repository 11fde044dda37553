/*
 * nlt_store_sync_test.c - logs that cannot be written or synced.
 *
 * The disk does what a real one does after a failed sync: what was not synced
 * before is lost, once, and the next sync of the same file says that all is
 * well.  Whoever believes that loses samples when the head goes.
 */
#include <dirent.h>
#include <errno.h>

#include "nlt_store_fixture.h"

#define LOG_HEADER 56

static struct {
    unsigned syncs;
    unsigned fail_at; /* number of the sync that fails; 0: none */
    struct {
        uint64_t inode;
        int64_t len;
    } synced[64];
    size_t n;
    int write_fails;   /* errno of writes to logs */
    size_t full_after; /* bytes of them; 0: not full */
} disk;

static bool
is_log(int fd)
{
    char path[64], name[256];
    ssize_t n;

    (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, name, sizeof(name) - 1);
    name[n > 0 ? n : 0] = '\0';
    return strstr(name, ".wal") != NULL;
}

/* Bytes of the file of fd that a good sync covers. */
static int64_t *
synced_bytes(int fd)
{
    struct stat st = {.st_ino = 0};

    NLT_CHECK_INT(fstat(fd, &st), 0);
    for (size_t i = 0; i < disk.n; i++) {
        if (disk.synced[i].inode == (uint64_t) st.st_ino) {
            return &disk.synced[i].len;
        }
    }
    NLT_CHECK(disk.n < NLT_COUNT(disk.synced));
    disk.synced[disk.n].inode = (uint64_t) st.st_ino;
    disk.synced[disk.n].len = LOG_HEADER; /* synced when it is made */
    return &disk.synced[disk.n++].len;
}

static int
lossy_sync(void *ctx, int fd)
{
    (void) ctx;
    if (!is_log(fd)) {
        return 0;
    }
    if (++disk.syncs == disk.fail_at) {
        NLT_CHECK_INT(ftruncate(fd, *synced_bytes(fd)), 0);
        return -EIO;
    }
    *synced_bytes(fd) = nlt_io_posix.size(NULL, fd);
    return 0;
}

static ssize_t
failing_write(void *ctx, int fd, const void *p, size_t n)
{
    (void) ctx;
    if (disk.full_after != 0 && is_log(fd)) {
        n = n < disk.full_after - 1 ? n : disk.full_after - 1;
        disk.full_after -= n;
        return n > 0 ? nlt_io_posix.write(NULL, fd, p, n) : -ENOSPC;
    }
    return disk.write_fails && is_log(fd) ? -disk.write_fails
                                          : nlt_io_posix.write(NULL, fd, p, n);
}

static void
init(fx_t *fx, int64_t wal_sync_ms)
{
    fx_init(fx);
    memset(&disk, 0, sizeof(disk));
    fx->io.fdatasync = lossy_sync;
    fx->io.write = failing_write;
    fx->conf.wal_sync_ms = wal_sync_ms;
}

static unsigned
write_some(fx_t *fx, unsigned n, int64_t *t)
{
    unsigned acked = 0;

    for (; n > 0; n--, *t += 1000) {
        for (unsigned no = 0; no < 8; no++) {
            acked += fx_write(fx, no, *t, no + (double) (*t % 977)) == NLT_OK;
        }
    }
    return acked;
}

static bool
check_all(fx_t *fx)
{
    return fx_check(fx, INT64_MIN, INT64_MAX);
}

/* The machine stops: what was not synced is gone, and so is the head. */
static bool
power_loss(fx_t *fx)
{
    char path[128];
    struct dirent *e;
    DIR *d;

    fx_close(fx);
    fx_remove_head(fx);
    (void) snprintf(path, sizeof(path), "%s/wal", fx->path);
    d = opendir(path);
    while (d != NULL && (e = readdir(d)) != NULL) {
        int fd = openat(dirfd(d), e->d_name, O_RDWR);

        if (fd >= 0 && is_log(fd)) {
            NLT_CHECK_INT(ftruncate(fd, *synced_bytes(fd)), 0);
        }
        if (fd >= 0) {
            (void) close(fd);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    return fx_start(fx);
}

static uint64_t
failed_logs(fx_t *fx)
{
    nlt_store_gauges_t g;

    nlt_store_gauges(fx->store, &g);
    return g.failed_logs;
}

/* ---- tests ---- */

static void
a_sync_that_fails_makes_a_block_at_once(void)
{
    static const int64_t mode[] = {1000, NLT_WAL_SYNC_ALWAYS};

    for (size_t i = 0; i < NLT_COUNT(mode); i++) {
        fx_t fx;
        int64_t t = FX_NOW - FX_HOUR;

        init(&fx, mode[i]);
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK_INT(write_some(&fx, 10, &t), 80);
        /* The helper's next sync. */
        disk.fail_at = disk.syncs + 1;
        fx.mono_ns += 2000000000;
        (void) nlt_helper_step(fx.helper, NULL);
        NLT_CHECK(disk.syncs >= disk.fail_at);
        NLT_CHECK_INT(failed_logs(&fx), 1);
        /* Rotated in the same step: writes go on, in another log. */
        nlt_store_tick(fx.store);
        NLT_CHECK_INT(write_some(&fx, 10, &t), 80);
        fx_step(&fx, 2);
        NLT_CHECK_INT(failed_logs(&fx), 0);
        NLT_CHECK_INT(nlt_store_ctl(fx.store)->counters.flushes, 1);
        NLT_CHECK(nlt_store_ctl(fx.store)->counters.wal_errors > 0);
        fx_step(&fx, 20);
        NLT_CHECK(power_loss(&fx));
        NLT_CHECK(check_all(&fx));
        fx_deinit(&fx);
    }
}

static void
a_write_that_fails_makes_a_block_at_once(void)
{
    static const int64_t mode[] = {1000, NLT_WAL_SYNC_OFF,
                                   NLT_WAL_SYNC_ALWAYS};

    for (size_t i = 0; i < NLT_COUNT(mode); i++) {
        fx_t fx;
        int64_t t = FX_NOW - FX_HOUR;

        init(&fx, mode[i]);
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK_INT(write_some(&fx, 10, &t), 80);
        /* A full disk is no reason: it gets room again. */
        disk.write_fails = ENOSPC;
        NLT_CHECK_INT(write_some(&fx, 1, &t), 0);
        NLT_CHECK_INT(failed_logs(&fx), 0);
        disk.write_fails = 0;
        NLT_CHECK_INT(write_some(&fx, 1, &t), 8);
        disk.write_fails = EIO;
        NLT_CHECK_INT(write_some(&fx, 1, &t), 0);
        NLT_CHECK_INT(failed_logs(&fx), 1);
        disk.write_fails = 0;
        NLT_CHECK_INT(write_some(&fx, 1, &t), 0);
        fx_step(&fx, 1);
        NLT_CHECK_INT(write_some(&fx, 10, &t), 80);
        NLT_CHECK(check_all(&fx));
        fx_step(&fx, 20);
        NLT_CHECK_INT(failed_logs(&fx), 0);
        /* Nobody syncs the second log in that mode. */
        NLT_CHECK(mode[i] != NLT_WAL_SYNC_OFF || fx_flush(&fx));
        NLT_CHECK(power_loss(&fx));
        NLT_CHECK(check_all(&fx));
        fx_deinit(&fx);
    }
}

/* Each sync of a start after power loss fails once. */
static void
a_replay_whose_sync_fails_begins_again_elsewhere(void)
{
    unsigned n_syncs = 1;

    for (unsigned k = 1; k <= n_syncs; k++) {
        fx_t fx;
        int64_t t = FX_NOW - FX_HOUR;

        init(&fx, 1000);
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK_INT(write_some(&fx, 10, &t), 80);
        fx_step(&fx, 20);
        disk.syncs = 0;
        disk.fail_at = k;
        NLT_CHECK(power_loss(&fx));
        n_syncs = n_syncs < disk.syncs ? disk.syncs : n_syncs;
        NLT_CHECK(check_all(&fx));
        fx_step(&fx, 20);
        NLT_CHECK_INT(failed_logs(&fx), 0);
        NLT_CHECK_INT(write_some(&fx, 1, &t), 8);
        fx_step(&fx, 20);
        disk.fail_at = 0;
        NLT_CHECK(power_loss(&fx));
        NLT_CHECK(check_all(&fx));
        fx_deinit(&fx);
    }
    printf("# %u syncs\n", n_syncs);
    NLT_CHECK(n_syncs >= 1);
}

/* The log that is written anew has all of it, though half was there already.
 */
static void
a_replay_that_finds_the_disk_full_begins_again(void)
{
    int64_t t = FX_NOW - FX_HOUR;
    nlt_store_status_t status;
    nlt_store_gauges_t g;
    nlt_err_t err;
    fx_t fx;

    init(&fx, 1000);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(write_some(&fx, 40, &t), 320);
    fx_step(&fx, 20);
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK_INT(nlt_helper_open(&fx.env, &fx.conf, &fx.helper, &err),
                  NLT_OK);
    NLT_CHECK_INT(
        nlt_store_open(&fx.env, &fx.conf, NLT_ROLE_WORKER, &fx.store, &err),
        NLT_OK);
    disk.full_after = 100; /* bytes of logs: a header, and part of the rest */
    fx_step(&fx, 100);
    nlt_store_status(fx.store, &status);
    NLT_CHECK(!status.ready);
    disk.full_after = 0;
    fx_step(&fx, 30);
    nlt_store_status(fx.store, &status);
    NLT_CHECK(status.ready);
    NLT_CHECK(check_all(&fx));
    /* What was read in vain is not there, nor in the way. */
    nlt_store_gauges(fx.store, &g);
    NLT_CHECK_INT(g.active_samples, 320);
    NLT_CHECK_INT(nlt_store_ctl(fx.store)->counters.samples_duplicate, 0);
    NLT_CHECK(power_loss(&fx));
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

static void
an_idle_log_is_left_alone(void)
{
    fx_t fx;
    int64_t t = FX_NOW - FX_HOUR;
    unsigned n;

    init(&fx, 1000);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 2, &t);
    fx_step(&fx, 20);
    n = disk.syncs;
    NLT_CHECK(n > 0);
    fx_step(&fx, 50);
    NLT_CHECK_INT(disk.syncs, n);
    write_some(&fx, 1, &t);
    fx_step(&fx, 20);
    NLT_CHECK_INT(disk.syncs, n + 1);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(a_sync_that_fails_makes_a_block_at_once);
    NLT_TEST(a_write_that_fails_makes_a_block_at_once);
    NLT_TEST(a_replay_whose_sync_fails_begins_again_elsewhere);
    NLT_TEST(a_replay_that_finds_the_disk_full_begins_again);
    NLT_TEST(an_idle_log_is_left_alone);
    return nlt_test_done();
}

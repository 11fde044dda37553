/*
 * nlt_ingest_sync_test.c - group commit: wal_sync=always.
 *
 * The disk counts syncs, notes how long the log was at each, and fails on
 * command.  What was synced is what the log had when the sync began: the test
 * compares it with what the requests wrote.
 */
#include <errno.h>
#include <sys/stat.h>

#include "nlt_test.h"

#include "nlt_ingest_fixture.h"

static struct {
    unsigned syncs;
    int fails;         /* errno of every sync */
    int64_t synced[8]; /* length of the log when the last good sync began,
                        * by arena number */
} disk;

static uint64_t
arena_of(int fd)
{
    char path[64], name[256];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, name, sizeof(name) - 1);
    name[n > 0 ? n : 0] = '\0';
    return strrchr(name, '/') ? strtoull(strrchr(name, '/') + 1, NULL, 16) : 0;
}

static int
count_sync(void *ctx, int fd)
{
    (void) ctx;
    disk.syncs++;
    if (disk.fails) {
        return -disk.fails;
    }
    disk.synced[arena_of(fd) % 8] = nlt_io_posix.size(NULL, fd);
    return 0;
}

static void
bed_open_always(bed_t *t)
{
    bed_open(t, NLT_HEAD_MEMORY_MIN);
    memset(&disk, 0, sizeof(disk));
    t->io.fdatasync = count_sync;
    t->conf.sync = true;
}

static int64_t
log_bytes(const bed_t *t, uint64_t arena)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%016llx.wal", t->f.path,
             (unsigned long long) arena);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* A request with one sample of series `name`, run until it waits. */
static nlt_ingest_req_t *
begin_one(bed_t *t, const char *name, int64_t t_ms)
{
    nlt_ingest_req_t *r = NULL;

    add(t, name, t_ms, 1);
    NLT_CHECK_INT(nlt_ingest_begin(t->in, &t->conf, rwb_snappy(&t->b), &r),
                  NLT_OK);
    NLT_CHECK_INT(nlt_ingest_run(r, &t->res), NLT_AGAIN);
    NLT_CHECK(nlt_ingest_waits(r));
    rwb_reset(&t->b);
    return r;
}

/* Does it still wait? */
static bool
still_waits(bed_t *t, nlt_ingest_req_t *r)
{
    return nlt_ingest_run(r, &t->res) == NLT_AGAIN && nlt_ingest_waits(r);
}

/* Runs a request that does not wait any more: its status. */
static int
answer(bed_t *t, nlt_ingest_req_t *r)
{
    memset(&t->res, 0, sizeof(t->res));
    return nlt_ingest_run(r, &t->res) == NLT_OK ? t->res.status : 0;
}

static void
sync_all(bed_t *t)
{
    NLT_CHECK_INT(nlt_ingest_sync_begin(t->in), NLT_OK);
    nlt_ingest_sync_run(t->in);
    nlt_ingest_sync_end(t->in);
}

static nlt_head_counters_t *
counters(const bed_t *t)
{
    return &nlt_head_ctl(t->head)->counters;
}

/* ---- tests ---- */

static void
many_requests_share_a_sync_and_none_is_answered_before(void)
{
    enum {
        ROUNDS = 10,
        N = 20
    };
    nlt_ingest_req_t *r[2][N];
    bed_t t;
    unsigned in_time = 0;

    bed_open_always(&t);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_EOF);
    for (unsigned i = 0; i < N; i++) {
        r[0][i] = begin_one(&t, "m", NOW + i);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        nlt_ingest_req_t **mine = r[round % 2], **next = r[(round + 1) % 2];
        int64_t wrote = log_bytes(&t, 1);

        NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_OK);
        NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_AGAIN);
        nlt_ingest_sync_run(t.in);
        /* These finish while the sync runs: it is not theirs. */
        for (unsigned i = 0; i < N; i++) {
            next[i] = begin_one(&t, "m", NOW + N * (round + 1) + i);
            in_time += still_waits(&t, mine[i]);
        }
        nlt_ingest_sync_end(t.in);
        NLT_CHECK(disk.synced[1] >= wrote);
        for (unsigned i = 0; i < N; i++) {
            NLT_CHECK(still_waits(&t, next[i]));
            NLT_CHECK_INT(answer(&t, mine[i]), 204);
        }
    }
    NLT_CHECK_INT(in_time, ROUNDS * N);
    NLT_CHECK_INT(disk.syncs, ROUNDS);
    NLT_CHECK_INT(counters(&t)->wal_fsyncs, ROUNDS);
    NLT_CHECK_INT(counters(&t)->wal_sync_waits, (ROUNDS + 1) * N);
    NLT_CHECK_INT(counters(&t)->requests_ok, ROUNDS * N);
    sync_all(&t);
    for (unsigned i = 0; i < N; i++) {
        NLT_CHECK_INT(answer(&t, r[0][i]), 204);
    }
    NLT_CHECK_INT(nlt_ingest_requests(t.in), 0);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_EOF);
    check_logged(&t, 1);
    bed_close(&t);
}

static void
a_request_that_met_a_rotation_needs_both_logs(void)
{
    nlt_ingest_req_t *r;
    bed_t t;
    unsigned slices = 0;

    bed_open_always(&t);
    for (unsigned i = 0; i < 60000; i++) {
        char name[16];

        snprintf(name, sizeof(name), "m%u", i % 3000);
        add(&t, name, NOW + i / 3000, i);
    }
    NLT_CHECK_INT(nlt_ingest_begin(t.in, &t.conf, rwb_snappy(&t.b), &r),
                  NLT_OK);
    while (nlt_ingest_run(r, &t.res) == NLT_AGAIN && !nlt_ingest_waits(r)) {
        if (log_bytes(&t, 1) > 1000 && slices++ == 0) {
            rotate(&t, 2);
        }
    }
    NLT_CHECK(nlt_ingest_waits(r));
    NLT_CHECK(log_bytes(&t, 2) > 1000);
    rwb_reset(&t.b);
    /* Another request in between must not close the older log. */
    nlt_ingest_req_t *other = begin_one(&t, "n", NOW);

    nlt_ingest_tick(t.in);
    sync_all(&t);
    NLT_CHECK_INT(disk.syncs, 2);
    NLT_CHECK_INT(disk.synced[1], log_bytes(&t, 1));
    NLT_CHECK_INT(disk.synced[2], log_bytes(&t, 2));
    NLT_CHECK_INT(answer(&t, r), 204);
    NLT_CHECK_INT(answer(&t, other), 204);
    check_logged(&t, 2);
    bed_close(&t);
}

/* The descriptors of this process that are logs. */
static unsigned
open_logs(void)
{
    unsigned n = 0;

    for (int fd = 3; fd < 100; fd++) {
        n += arena_of(fd) != 0;
    }
    return n;
}

static void
logs_are_let_go_when_nobody_waits(void)
{
    bed_t t;
    nlt_err_t err;
    nlt_ingest_req_t *r[4];

    bed_open_always(&t);
    r[0] = begin_one(&t, "m", NOW);
    rotate(&t, 2);
    r[1] = begin_one(&t, "m", NOW + 1);
    nlt_ingest_tick(t.in);
    NLT_CHECK_INT(open_logs(), 2);
    /* The client of the first goes; the log is still owed to nobody else, but
     * one that waits may not be told apart, so it is synced. */
    nlt_ingest_cancel(r[0]);
    NLT_CHECK_INT(nlt_ingest_requests(t.in), 1);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_OK);
    /* Not closed under the thread's hands, whatever happens to the arena. */
    NLT_CHECK_INT(nlt_head_retire(t.head, 1, &err), NLT_OK);
    nlt_ingest_tick(t.in);
    NLT_CHECK_INT(open_logs(), 2);
    nlt_ingest_sync_run(t.in);
    NLT_CHECK_INT(disk.syncs, 2);
    nlt_ingest_sync_end(t.in);
    nlt_ingest_tick(t.in);
    NLT_CHECK_INT(open_logs(), 1);
    NLT_CHECK_INT(answer(&t, r[1]), 204);
    /* An arena that went into blocks meanwhile needs no sync. */
    r[2] = begin_one(&t, "m", NOW + 2);
    rotate(&t, 3);
    NLT_CHECK_INT(nlt_head_retire(t.head, 2, &err), NLT_OK);
    NLT_CHECK(still_waits(&t, r[2]));
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_EOF);
    NLT_CHECK_INT(disk.syncs, 2);
    NLT_CHECK_INT(answer(&t, r[2]), 204);
    nlt_ingest_tick(t.in);
    NLT_CHECK_INT(open_logs(), 0);
    bed_close(&t);
}

static void
a_sync_that_fails_is_told_to_all_who_waited(void)
{
    nlt_head_ctl_t *ctl;
    bed_t t;
    nlt_ingest_req_t *r[4];

    bed_open_always(&t);
    ctl = nlt_head_ctl(t.head);
    r[0] = begin_one(&t, "m", NOW);
    r[1] = begin_one(&t, "m", NOW + 1);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_OK);
    r[2] = begin_one(&t, "m", NOW + 2);
    disk.fails = EIO;
    nlt_ingest_sync_run(t.in);
    disk.fails = 0;
    /* Others know before this process's event loop does. */
    NLT_CHECK(nlt_head_log_failed(ctl, 1));
    NLT_CHECK(still_waits(&t, r[0]));
    nlt_ingest_sync_end(t.in);
    for (unsigned i = 0; i < 3; i++) {
        NLT_CHECK_INT(answer(&t, r[i]), 500);
        NLT_CHECK(strstr(t.res.err.text, "log of arena 1: cannot sync"));
    }
    NLT_CHECK_INT(counters(&t)->requests_ok, 0);
    NLT_CHECK_INT(counters(&t)->wal_errors, 1);
    /* Never retried on that file, and nobody writes to it. */
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_EOF);
    NLT_CHECK_INT(disk.syncs, 1);
    int64_t size = log_bytes(&t, 1);

    add(&t, "m", NOW + 3, 1);
    NLT_CHECK_INT(send_body(&t, rwb_snappy(&t.b)), 503);
    NLT_CHECK_INT(t.res.retry_after_s, 1);
    NLT_CHECK_INT(log_bytes(&t, 1), size);
    rwb_reset(&t.b);
    /* The next arena takes them again. */
    rotate(&t, 2);
    r[0] = begin_one(&t, "m", NOW + 1);
    sync_all(&t);
    NLT_CHECK_INT(answer(&t, r[0]), 204);
    NLT_CHECK_INT(disk.syncs, 2);
    check_logged(&t, 2);
    bed_close(&t);
}

static nlt_head_ctl_t *fails_after_write;

/* While this process writes, another one finds that it cannot sync. */
static ssize_t
write_and_fail(void *ctx, int fd, const void *p, size_t n)
{
    ssize_t rc = nlt_io_posix.write(ctx, fd, p, n);

    nlt_head_fail_log(fails_after_write, arena_of(fd));
    return rc;
}

static void
what_another_process_could_not_sync_is_not_acknowledged(void)
{
    nlt_head_ctl_t *ctl;
    bed_t t;
    nlt_err_t err;
    nlt_ingest_req_t *r;

    bed_open_always(&t);
    ctl = nlt_head_ctl(t.head);
    /* Found while it waits, though its own sync went well. */
    r = begin_one(&t, "m", NOW);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_OK);
    nlt_ingest_sync_run(t.in);
    nlt_head_fail_log(ctl, 1);
    nlt_ingest_sync_end(t.in);
    NLT_CHECK_INT(answer(&t, r), 500);
    /* Found before its sync. */
    rotate(&t, 2);
    r = begin_one(&t, "m", NOW + 1);
    nlt_head_fail_log(ctl, 2);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_EOF);
    NLT_CHECK_INT(disk.syncs, 1);
    NLT_CHECK_INT(answer(&t, r), 500);
    NLT_CHECK(strstr(t.res.err.text, "log of arena 2"));
    /* A block makes up for the log. */
    rotate(&t, 3);
    r = begin_one(&t, "m", NOW + 2);
    nlt_head_fail_log(ctl, 3);
    NLT_CHECK_INT(nlt_head_retire(t.head, 1, &err), NLT_OK);
    NLT_CHECK(nlt_head_reap(t.head));
    rotate(&t, 4);
    NLT_CHECK_INT(nlt_head_retire(t.head, 3, &err), NLT_OK);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_EOF);
    NLT_CHECK_INT(answer(&t, r), 204);
    /* Numbers rise; what is set for an old arena changes nothing. */
    nlt_head_fail_log(ctl, 2);
    NLT_CHECK(nlt_head_log_failed(ctl, 3));
    NLT_CHECK(!nlt_head_log_failed(ctl, 4));
    /* Also without wal_sync=always a request does not rely on a failed log:
     * one that has written when its failure is found, and the next one. */
    t.conf.sync = false;
    add(&t, "m", NOW + 4, 1);
    NLT_CHECK_INT(send_body(&t, rwb_snappy(&t.b)), 204);
    fails_after_write = ctl;
    t.io.write = write_and_fail;
    NLT_CHECK_INT(send_body(&t, rwb_snappy(&t.b)), 503);
    t.io.write = nlt_io_posix.write;
    NLT_CHECK_INT(send(&t), 503);
    bed_close(&t);
}

static void
a_sync_that_cannot_be_run_leaves_requests_waiting(void)
{
    bed_t t;
    nlt_ingest_req_t *r[2];

    bed_open_always(&t);
    r[0] = begin_one(&t, "m", NOW);
    r[1] = begin_one(&t, "m", NOW + 1);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_OK);
    nlt_ingest_sync_cancel(t.in);
    NLT_CHECK(still_waits(&t, r[0]));
    nlt_ingest_expire(r[0], "no thread", &t.res);
    NLT_CHECK_INT(t.res.status, 503);
    NLT_CHECK(t.res.retry_after_s > 0);
    NLT_CHECK(says(&t, "no thread"));
    sync_all(&t);
    NLT_CHECK_INT(answer(&t, r[1]), 204);
    NLT_CHECK_INT(nlt_ingest_requests(t.in), 0);
    bed_close(&t);
}

static void
a_head_that_dies_meanwhile_does_not_take_the_ingester_along(void)
{
    bed_t t;
    nlt_ingest_req_t *r;

    bed_open_always(&t);
    r = begin_one(&t, "m", NOW);
    NLT_CHECK_INT(nlt_ingest_sync_begin(t.in), NLT_OK);
    nlt_head_set_state(t.head, NLT_HEAD_DEAD);
    /* The client goes; the thread is still there. */
    nlt_ingest_cancel(r);
    NLT_CHECK_INT(nlt_ingest_requests(t.in), 1);
    nlt_ingest_sync_run(t.in);
    nlt_ingest_sync_end(t.in);
    NLT_CHECK_INT(nlt_ingest_requests(t.in), 0);
    bed_close(&t);
    /* What was logged before the death is in the log that is replayed. */
    bed_open_always(&t);
    r = begin_one(&t, "m", NOW);
    nlt_head_set_state(t.head, NLT_HEAD_DEAD);
    sync_all(&t);
    NLT_CHECK_INT(answer(&t, r), 204);
    bed_close(&t);
}

static void
requests_that_log_nothing_wait_for_nothing(void)
{
    bed_t t;

    bed_open_always(&t);
    NLT_CHECK_INT(send(&t), 204);
    NLT_CHECK_INT(send_body(&t, NLT_STR("?")), 400);
    add(&t, "m", NOW + 86400000, 1);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK_INT(disk.syncs, 0);
    NLT_CHECK_INT(nlt_ingest_requests(t.in), 0);
    bed_close(&t);
}

int
main(void)
{
    NLT_TEST(many_requests_share_a_sync_and_none_is_answered_before);
    NLT_TEST(a_request_that_met_a_rotation_needs_both_logs);
    NLT_TEST(logs_are_let_go_when_nobody_waits);
    NLT_TEST(a_sync_that_fails_is_told_to_all_who_waited);
    NLT_TEST(what_another_process_could_not_sync_is_not_acknowledged);
    NLT_TEST(a_sync_that_cannot_be_run_leaves_requests_waiting);
    NLT_TEST(a_head_that_dies_meanwhile_does_not_take_the_ingester_along);
    NLT_TEST(requests_that_log_nothing_wait_for_nothing);
    return nlt_test_done();
}

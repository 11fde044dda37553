/*
 * nlt_helper_retain_test.c - retention=, retention_size= and min_free= of a
 * store that runs.
 */
#include "nlt_store_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "nlt_filenames.h"
#include "nlt_manifest.h"
#include "nlt_rw_build.h"
#include "nlt_store_dir.h"

#define MIB (INT64_C(1) << 20)

/* What the MANIFEST says now. */
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

static uint64_t
all_bytes(fx_t *fx)
{
    nlt_manifest_t m = manifest(fx);
    uint64_t bytes = 0;

    for (size_t i = 0; i < m.n_blocks; i++) {
        bytes += m.blocks[i].bytes;
    }
    nlt_manifest_deinit(&m);
    return bytes;
}

static uint64_t
log_bytes(fx_t *fx)
{
    char wal[80];
    uint64_t *no, bytes = 0;
    size_t n = 0;
    nlt_pool_t pool;
    nlt_err_t err;
    int fd;

    (void) snprintf(wal, sizeof(wal), "%s/wal", fx->path);
    fd = open(wal, O_RDONLY | O_DIRECTORY);
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_store_dir_logs(&nlt_env_posix, fd, &pool, &no, &n, &err),
                  NLT_OK);
    for (size_t i = 0; i < n; i++) {
        bytes += nlt_store_dir_log_bytes(&nlt_env_posix, fd, no[i]);
    }
    nlt_pool_deinit(&pool);
    (void) close(fd);
    return bytes;
}

static int64_t
oldest_end(fx_t *fx)
{
    nlt_manifest_t m = manifest(fx);
    int64_t end = INT64_MAX;

    for (size_t i = 0; i < m.n_blocks; i++) {
        end = nlt_min_i64(end, m.blocks[i].t_end_ms);
    }
    nlt_manifest_deinit(&m);
    return end;
}

/* n samples of each series, the last one at t. */
static void
write_some(fx_t *fx, int64_t t, unsigned n)
{
    for (unsigned no = 0; no < 8; no++) {
        for (unsigned k = 0; k < n; k++) {
            NLT_CHECK_INT(fx_write(fx, no, t - 1000 * (int64_t) (n - 1 - k),
                                   k * 0.37 * no),
                          NLT_OK);
        }
    }
}

/* One block of them. */
static void
one_block(fx_t *fx, int64_t t, unsigned n)
{
    write_some(fx, t, n);
    NLT_CHECK(fx_flush(fx));
}

/* Status of a request with one sample; its text in *err. */
static int
send_one(fx_t *fx, nlt_ingest_result_t *res)
{
    nlt_ingest_conf_t conf = {.labels = {64, 1024, 4096},
                              .decoded_max = 1u << 20};
    nlt_ingest_req_t *r;
    rwb_t b;

    rwb_init(&b);
    rwb_label(&b, "__name__", "other");
    rwb_sample(&b, fx->now_ms, 1);
    rwb_end(&b);
    NLT_CHECK_INT(nlt_ingest_begin(nlt_store_ingest(fx->store), &conf,
                                   rwb_snappy(&b), &r),
                  NLT_OK);
    while (nlt_ingest_run(r, res) == NLT_AGAIN) {
    }
    rwb_free(&b);
    return res->status;
}

static void
an_expired_block_goes_within_seconds(void)
{
    fx_t fx;
    int64_t start, t;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    t = fx.now_ms - 15 * 24 * FX_HOUR + 60000;
    one_block(&fx, t, 1);
    one_block(&fx, t + 30 * FX_HOUR, 1);
    one_block(&fx, fx.now_ms, 1);
    NLT_CHECK_INT(n_blocks(&fx), 3);
    /* The border follows the clock and the data. */
    fx.now_ms += 60000;
    NLT_CHECK_INT(fx_write(&fx, 1, fx.now_ms, 1), NLT_OK);
    fx_step(&fx, 20);
    NLT_CHECK_INT(n_blocks(&fx), 3);
    fx.now_ms += 1;
    NLT_CHECK_INT(fx_write(&fx, 1, fx.now_ms, 1), NLT_OK);
    start = fx.mono_ns;
    while (n_blocks(&fx) == 3
           && fx.mono_ns < start + 60 * INT64_C(1000000000)) {
        fx_step(&fx, 1);
    }
    printf("# after %.1f s\n", (double) (fx.mono_ns - start) / 1e9);
    NLT_CHECK_INT(n_blocks(&fx), 2);
    NLT_CHECK(fx.mono_ns < start + 3 * INT64_C(1000000000));
    NLT_CHECK(fx_check(&fx, t + 1, INT64_MAX));
    fx_deinit(&fx);
}

/* Is it in blocks/? */
static bool
is_on_disk(fx_t *fx, const char *ulid)
{
    char path[160];

    (void) snprintf(path, sizeof(path), "%s/blocks/%s", fx->path, ulid);
    return access(path, F_OK) == 0;
}

/* Of two that expire at once the first one cannot be removed. */
static void
a_block_that_will_not_go_keeps_no_other(void)
{
    fx_t fx;
    nlt_manifest_t m;
    char path[160];
    int64_t t;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    t = fx.now_ms - 15 * 24 * FX_HOUR + 60000;
    one_block(&fx, t, 1);
    one_block(&fx, t + 30 * FX_HOUR, 1);
    one_block(&fx, fx.now_ms, 1);
    m = manifest(&fx);
    NLT_CHECK_INT(m.n_blocks, 3);
    /* What it would be called on its way out is taken. */
    (void) snprintf(path, sizeof(path), "%s/blocks/%s" NLT_SUFFIX_BLOCK_GONE,
                    fx.path, m.blocks[0].ulid.c);
    NLT_CHECK_INT(mkdir(path, 0700), 0);
    (void) snprintf(path, sizeof(path),
                    "%s/blocks/%s" NLT_SUFFIX_BLOCK_GONE "/x", fx.path,
                    m.blocks[0].ulid.c);
    NLT_CHECK_INT(mkdir(path, 0700), 0);
    fx.now_ms += 31 * FX_HOUR;
    NLT_CHECK_INT(fx_write(&fx, 1, fx.now_ms, 1), NLT_OK);
    fx_step(&fx, 20);
    NLT_CHECK(oldest_end(&fx) > t + 30 * FX_HOUR + 1);
    NLT_CHECK(is_on_disk(&fx, m.blocks[0].ulid.c));
    NLT_CHECK(!is_on_disk(&fx, m.blocks[1].ulid.c));
    /* The next start is rid of it. */
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(!is_on_disk(&fx, m.blocks[0].ulid.c));
    nlt_manifest_deinit(&m);
    fx_deinit(&fx);
}

static void
retention_size_removes_the_oldest(void)
{
    const int64_t day = 24 * FX_HOUR;
    fx_t fx;
    uint64_t one, log;
    int64_t t;

    fx_init(&fx);
    fx.conf.dense = false; /* sizes are counted out */
    NLT_CHECK(fx_start(&fx));
    t = fx.now_ms - 14 * day;
    write_some(&fx, t, 200);
    log = log_bytes(&fx);
    NLT_CHECK(fx_flush(&fx));
    one = all_bytes(&fx);
    NLT_CHECK(one > 2000);
    fx_close(&fx);
    /* Five blocks and a log, which becomes the sixth; not a seventh. */
    fx.conf.retention_bytes = 6 * one + log + one / 2;
    NLT_CHECK(fx_start(&fx));
    for (int i = 1; i < 12; i++) {
        one_block(&fx, t + i * day, 200);
        NLT_CHECK(all_bytes(&fx) + log_bytes(&fx) <= fx.conf.retention_bytes);
        NLT_CHECK_INT(oldest_end(&fx), t + (i < 6 ? 0 : i - 5) * day + 1);
    }
    NLT_CHECK_INT(n_blocks(&fx), 6);
    /* A log counts while it grows, not only when it is flushed. */
    for (int i = 0; log_bytes(&fx) < log + 3 * one; i++) {
        write_some(&fx, fx.now_ms - 20000 + i * 100, 1);
        fx_step(&fx, 1);
    }
    fx_step(&fx, 20);
    NLT_CHECK_INT(n_blocks(&fx), 3);
    NLT_CHECK(all_bytes(&fx) + log_bytes(&fx) <= fx.conf.retention_bytes);
    NLT_CHECK_INT(oldest_end(&fx), t + 9 * day + 1);
    fx_deinit(&fx);
}

static void
a_new_size_holds_but_not_for_the_newest_hours(void)
{
    fx_t fx;
    int64_t t;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    t = fx.now_ms - 9 * FX_HOUR;
    one_block(&fx, t, 50);
    one_block(&fx, t + 5 * FX_HOUR, 50);
    one_block(&fx, fx.now_ms, 50);
    fx_close(&fx);
    fx.conf.retention_bytes = 1;
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 30);
    NLT_CHECK_INT(n_blocks(&fx), 1);
    NLT_CHECK_INT(oldest_end(&fx), fx.now_ms + 1);
    fx_deinit(&fx);
}

/* Three blocks of old days, one of yesterday, one of now. */
static void
start_with_days(fx_t *fx)
{
    fx_init(fx);
    fx->fault.has_free = true;
    fx->fault.free_bytes = 100 * MIB;
    fx->conf.min_free_bytes = 10 * MIB;
    NLT_CHECK(fx_start(fx));
    for (int64_t days = 12; days > 3; days -= 3) {
        one_block(fx, fx->now_ms - days * 24 * FX_HOUR, 200);
    }
    one_block(fx, fx->now_ms - 20 * FX_HOUR, 200);
    one_block(fx, fx->now_ms, 200);
    NLT_CHECK_INT(n_blocks(fx), 5);
}

static void
min_free_removes_the_oldest_but_no_more_than_it_must(void)
{
    fx_t fx;

    start_with_days(&fx);
    fx_step(&fx, 40);
    NLT_CHECK_INT(n_blocks(&fx), 5);
    /* A byte too little: one block, though its bytes come back later. */
    fx.fault.free_bytes = 10 * MIB - 1;
    fx_step(&fx, 50);
    NLT_CHECK_INT(n_blocks(&fx), 4);
    NLT_CHECK_INT(oldest_end(&fx), fx.now_ms - 9 * 24 * FX_HOUR + 1);
    NLT_CHECK_INT(atomic_load(&nlt_store_ctl(fx.store)->disk_low), 0);
    /* They did not: the next one, after a while. */
    fx_step(&fx, 100);
    NLT_CHECK_INT(n_blocks(&fx), 3);
    fx.fault.free_bytes = 10 * MIB;
    fx_step(&fx, 200);
    NLT_CHECK_INT(n_blocks(&fx), 3);
    NLT_CHECK(fx_check(&fx, fx.now_ms - 7 * 24 * FX_HOUR, INT64_MAX));
    fx_deinit(&fx);
}

static void
writes_are_refused_while_the_disk_is_low(void)
{
    nlt_ingest_result_t res;
    fx_t fx;

    start_with_days(&fx);
    NLT_CHECK_INT(send_one(&fx, &res), 204);
    fx.fault.free_bytes = 1;
    fx_step(&fx, 400);
    /* What has samples of the newest day stays. */
    NLT_CHECK_INT(n_blocks(&fx), 2);
    NLT_CHECK_INT(send_one(&fx, &res), 503);
    NLT_CHECK(res.retry_after_s > 0);
    res.err.text[res.err.len] = '\0';
    NLT_CHECK(strstr(res.err.text, "min_free=") != NULL);
    NLT_CHECK(fx_check(&fx, fx.now_ms - 24 * FX_HOUR, INT64_MAX));
    /* Not known is not low. */
    fx.fault.free_bytes = -EIO;
    fx_step(&fx, 20);
    NLT_CHECK_INT(send_one(&fx, &res), 204);
    fx.fault.free_bytes = 1;
    fx_step(&fx, 20);
    NLT_CHECK_INT(send_one(&fx, &res), 503);
    fx.fault.free_bytes = 10 * MIB;
    fx_step(&fx, 20);
    NLT_CHECK_INT(send_one(&fx, &res), 204);
    /* A reload without the parameter takes the refusal away. */
    fx.fault.free_bytes = 1;
    fx_step(&fx, 20);
    NLT_CHECK_INT(send_one(&fx, &res), 503);
    fx_close(&fx);
    fx.conf.min_free_bytes = 0;
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 20);
    NLT_CHECK_INT(send_one(&fx, &res), 204);
    NLT_CHECK_INT(n_blocks(&fx), 2);
    fx_deinit(&fx);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(an_expired_block_goes_within_seconds);
    NLT_TEST(a_block_that_will_not_go_keeps_no_other);
    NLT_TEST(retention_size_removes_the_oldest);
    NLT_TEST(a_new_size_holds_but_not_for_the_newest_hours);
    NLT_TEST(min_free_removes_the_oldest_but_no_more_than_it_must);
    NLT_TEST(writes_are_refused_while_the_disk_is_low);
    return nlt_test_done();
}

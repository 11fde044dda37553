/*
 * nlt_wal_test.c - the log: what is written comes back, what is damaged does
 * not, and failures of the disk are told.
 */
#include <errno.h>
#include <math.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_filenames.h"
#include "nlt_remote_write.h"
#include "nlt_test.h"
#include "nlt_wal_frame.h"
#include "nlt_wal_samples.h"

#define T0 INT64_C(1700000000000)

static const uint8_t store_id[NLT_WAL_ID_BYTES] = "0123456789abcdef";
static int dir_fd;

/* ---- a reader that remembers ---- */

#define SEEN_MAX 200000

static struct {
    uint32_t series[4096], tenant[4096];
    char labels[4096][64];
    size_t n_series;
    nlt_wal_sample_t samples[SEEN_MAX];
    size_t n_samples;
    uint64_t place[4096];
    nlt_wal_stats_t stats;
    nlt_err_t err;
} seen;

static nlt_rc_t
on_series(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t canonical)
{
    size_t n = seen.n_series++, len = canonical.len < 63 ? canonical.len : 63;

    (void) ctx;
    if (n < 4096) {
        seen.series[n] = series;
        seen.tenant[n] = tenant;
        seen.place[n] = seen.stats.place;
        memcpy(seen.labels[n], canonical.data, len);
        seen.labels[n][len] = '\0';
    }
    return NLT_OK;
}

static nlt_rc_t
on_samples(void *ctx, const nlt_wal_sample_t *s, size_t n)
{
    (void) ctx;
    for (size_t i = 0; i < n && seen.n_samples < SEEN_MAX; i++) {
        seen.samples[seen.n_samples++] = s[i];
    }
    return NLT_OK;
}

static const nlt_wal_read_cb_t callbacks = {.series = on_series,
                                            .samples = on_samples};

static nlt_rc_t
read_bytes(const void *data, size_t size)
{
    memset(&seen, 0, sizeof(seen));
    return nlt_wal_read(&nlt_env_posix, data, size, store_id, &callbacks,
                        &seen.stats, &seen.err);
}

/* The whole log of an arena in a static buffer. */
static nlt_str_t
load(uint64_t arena)
{
    static char data[8 << 20];
    char name[NLT_WAL_NAME_SIZE];

    nlt_wal_name(name, arena);
    int fd = openat(dir_fd, name, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, data, sizeof(data));

    if (fd >= 0) {
        close(fd);
    }
    return (nlt_str_t){n > 0 ? (size_t) n : 0, data};
}

static nlt_rc_t
read_log(uint64_t arena)
{
    nlt_str_t s = load(arena);

    return read_bytes(s.data, s.len);
}

static nlt_wal_t *
new_log(const nlt_env_t *env, uint64_t arena)
{
    nlt_wal_t *w = NULL;
    nlt_err_t err;

    NLT_CHECK_INT(
        nlt_wal_create(&nlt_env_posix, dir_fd, store_id, arena, T0, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_wal_open(env, dir_fd, arena, &w, &err), NLT_OK);
    return w;
}

static void
commit_ok(nlt_wal_t *w)
{
    nlt_err_t err;
    size_t bytes;

    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_OK);
}

/* ---- tests ---- */

static void
series_records_are_found_again_by_their_place(void)
{
    enum {
        N = 4000
    };
    nlt_wal_t *w = new_log(&nlt_env_posix, 30);
    nlt_wal_seek_t seek;
    nlt_str_t data, labels;
    uint32_t tenant;

    /* Frames of all kinds: long and short, compressed and not. */
    for (uint32_t i = 1; i <= N; i++) {
        char text[60];
        int n = snprintf(text, sizeof(text), "%0*u", 10 + (int) (i % 45), i);

        if (i == 1 || i % 700 < 3) {
            nlt_wal_begin(w);
        }
        nlt_wal_add_series(w, i, i % 3, (nlt_str_t){(size_t) n, text});
        if (i == N || (i + 1) % 700 < 3) {
            commit_ok(w);
        }
    }
    nlt_wal_close(w);
    NLT_CHECK_INT(read_log(30), NLT_OK);
    NLT_CHECK_INT(seen.n_series, N);
    data = load(30);
    NLT_CHECK_INT(nlt_wal_seek_begin(&seek, &nlt_env_posix,
                                     (const uint8_t *) data.data, data.len),
                  NLT_OK);
    for (unsigned round = 0; round < 3 * N; round++) {
        /* In order, then in any. */
        size_t i = round < N ? round : (size_t) nlt_test_below(N);

        NLT_CHECK(seen.place[i] != 0);
        NLT_CHECK_INT(
            nlt_wal_series_at(&seek, seen.place[i], &tenant, &labels), NLT_OK);
        NLT_CHECK_INT(tenant, seen.tenant[i]);
        NLT_CHECK_STR(labels, seen.labels[i]);
    }
    /* What is no place. */
    NLT_CHECK_INT(nlt_wal_series_at(&seek, 0, &tenant, &labels), NLT_EDATA);
    NLT_CHECK_INT(
        nlt_wal_series_at(&seek, seen.place[9] + 65000, &tenant, &labels),
        NLT_EDATA);
    NLT_CHECK_INT(
        nlt_wal_series_at(&seek, seen.place[9] + (3 << 16), &tenant, &labels),
        NLT_EDATA);
    NLT_CHECK_INT(
        nlt_wal_series_at(&seek, (uint64_t) data.len << 16, &tenant, &labels),
        NLT_EDATA);
    NLT_CHECK_INT(nlt_wal_series_at(&seek, seen.place[9], &tenant, &labels),
                  NLT_OK);
    NLT_CHECK_STR(labels, seen.labels[9]);
    nlt_wal_seek_end(&seek);
}


static void
what_is_written_comes_back(void)
{
    nlt_wal_t *w = new_log(&nlt_env_posix, 1);
    nlt_err_t err;
    size_t bytes = 0;

    nlt_wal_begin(w);
    nlt_wal_add_series(w, 1, 0, NLT_STR("labels of one"));
    nlt_wal_add_series(w, 70000, 5, NLT_STR("labels of two"));
    nlt_wal_add_sample(w, 1, T0, nlt_bits_of(1.5));
    nlt_wal_add_sample(w, 70000, T0 - 7, NLT_STALE_NAN_BITS);
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_OK);
    NLT_CHECK(bytes > 0);
    NLT_CHECK_INT(nlt_wal_sync(w, &err), NLT_OK);
    nlt_wal_close(w);

    NLT_CHECK_INT(read_log(1), NLT_OK);
    NLT_CHECK_INT(seen.stats.arena_no, 1);
    NLT_CHECK_INT(seen.stats.frames, 3);
    NLT_CHECK_INT(seen.stats.skips, 0);
    NLT_CHECK_INT(seen.n_series, 2);
    NLT_CHECK_INT(seen.series[1], 70000);
    NLT_CHECK_INT(seen.tenant[1], 5);
    NLT_CHECK(strcmp(seen.labels[0], "labels of one") == 0);
    NLT_CHECK(strcmp(seen.labels[1], "labels of two") == 0);
    NLT_CHECK_INT(seen.n_samples, 2);
    NLT_CHECK_INT(seen.samples[1].series, 70000);
    NLT_CHECK_INT(seen.samples[1].t_ms, T0 - 7);
    NLT_CHECK(seen.samples[1].v_bits == NLT_STALE_NAN_BITS);
}

static void
create_leaves_an_existing_log_alone(void)
{
    nlt_wal_t *w = new_log(&nlt_env_posix, 2);
    nlt_err_t err;

    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 1, T0, 0);
    commit_ok(w);
    nlt_wal_close(w);
    NLT_CHECK_INT(
        nlt_wal_create(&nlt_env_posix, dir_fd, store_id, 2, T0 + 5, &err),
        NLT_OK);
    NLT_CHECK_INT(read_log(2), NLT_OK);
    NLT_CHECK_INT(seen.n_samples, 1);
}

static void
a_missing_log_and_a_foreign_one_are_told(void)
{
    char from[NLT_WAL_NAME_SIZE], to[NLT_WAL_NAME_SIZE];
    nlt_wal_t *w = NULL;
    nlt_err_t err;
    nlt_str_t s;

    NLT_CHECK_INT(nlt_wal_open(&nlt_env_posix, dir_fd, 999, &w, &err),
                  NLT_ENOENT);
    NLT_CHECK(strstr(err.text, "arena 999") != NULL);
    nlt_wal_close(new_log(&nlt_env_posix, 3));
    nlt_wal_name(from, 3);
    nlt_wal_name(to, 4);
    NLT_CHECK_INT(linkat(dir_fd, from, dir_fd, to, 0), 0);
    NLT_CHECK_INT(nlt_wal_open(&nlt_env_posix, dir_fd, 4, &w, &err),
                  NLT_EDATA);

    s = load(3);
    memset(&seen, 0, sizeof(seen));
    NLT_CHECK_INT(nlt_wal_read(&nlt_env_posix, (const uint8_t *) s.data, s.len,
                               (const uint8_t *) "another store id",
                               &callbacks, &seen.stats, &err),
                  NLT_EDATA);
}

static void
sample_forms_are_exact_and_short(void)
{
    static const struct {
        double v;
        size_t bytes; /* after a sample of another value */
    } cases[] = {{0.0, 1},
                 {1, 2},
                 {-1, 2},
                 {127, 2},
                 {128, 3},
                 {-128, 2},
                 {1e6, 4},
                 {1.5, 3},
                 {0.1, 2},
                 {-12.345, 3},
                 {0.000123, 2},
                 {1e-9, 3},
                 {1e300, 9},
                 {-0.0, 2},
                 {0x1p62, 3},
                 {0x1p40, 3},
                 {M_PI, 9},
                 {4294967296, 3},
                 {1700000000, 5},
                 {123456.789, 5},
                 {5e-324, 9},
                 {1.0 / 3, 9},
                 {-0.25, 3},
                 {1e15, 8},
                 {9007199254740993.0, 5}};

    for (size_t i = 0; i < NLT_COUNT(cases); i++) {
        nlt_wal_prev_t put = {6, T0, 12345}, get = put;
        uint8_t bytes[NLT_WAL_SAMPLE_BYTES_MAX];
        nlt_wal_sample_t s;
        size_t n =
            nlt_wal_sample_put(&put, bytes, 7, T0, nlt_bits_of(cases[i].v));
        nlt_reader_t r = nlt_reader(bytes, n);

        if (n > cases[i].bytes) {
            printf("# %.17g takes %zu bytes\n", cases[i].v, n);
        }
        NLT_CHECK(n <= cases[i].bytes);
        NLT_CHECK_INT(nlt_wal_sample_get(&get, &r, &s), NLT_OK);
        NLT_CHECK_INT(nlt_reader_left(&r), 0);
        NLT_CHECK_INT(s.series, 7);
        NLT_CHECK_INT(s.t_ms, T0);
        NLT_CHECK_BITS(nlt_double_of(s.v_bits), cases[i].v);
    }
}

static double
random_value(void)
{
    static const double scales[] = {1, 1e-3, 1e-6, 1e-9, 1e-2, 1e3, 0x1p-20};
    double v;

    switch (nlt_test_below(4)) {
    case 0:
        return nlt_double_of(nlt_test_rand());
    case 1:
        return nlt_double_of(nlt_test_rand() << nlt_test_below(64));
    default:
        v = (double) (int64_t) (nlt_test_rand() >> nlt_test_below(64));
        return (nlt_test_rand() & 1 ? v : -v)
               * scales[nlt_test_below(NLT_COUNT(scales))];
    }
}

static void
random_samples_keep_every_bit(void)
{
    static uint8_t bytes[1000 * NLT_WAL_SAMPLE_BYTES_MAX];
    static nlt_wal_sample_t want[1000];
    nlt_wal_prev_t put, get;
    nlt_wal_sample_t s;

    for (unsigned round = 0; round < 200; round++) {
        size_t len = 0;

        put = get = (nlt_wal_prev_t){0};
        for (size_t i = 0; i < 1000; i++) {
            uint64_t r = nlt_test_rand();

            s.series = r & 1 ? put.series + 1 : (uint32_t) (r >> 32);
            s.series += s.series == 0;
            s.t_ms = r & 2 ? put.t_ms : (int64_t) nlt_test_rand();
            s.v_bits = r & 4 ? put.v_bits : nlt_bits_of(random_value());
            want[i] = s;
            len += nlt_wal_sample_put(&put, bytes + len, s.series, s.t_ms,
                                      s.v_bits);
        }
        nlt_reader_t rd = nlt_reader(bytes, len);
        for (size_t i = 0; i < 1000; i++) {
            if (nlt_wal_sample_get(&get, &rd, &s) != NLT_OK
                || s.series != want[i].series || s.t_ms != want[i].t_ms
                || s.v_bits != want[i].v_bits) {
                nlt_test_fail(__FILE__, __LINE__,
                              "a sample came back changed");
                return;
            }
        }
        NLT_CHECK_INT(nlt_reader_left(&rd), 0);
    }
}

static void
broken_samples_are_refused(void)
{
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {{"", 0},
               {"\x31", 1},                     /* reserved class 49 */
               {"\x3f", 1},                     /* reserved class 63 */
               {"\x02\x01", 2},                 /* mantissa cut off */
               {"\x1c\x17\x01", 3},             /* exponent 23 */
               {"\x80\x00\x00", 3},             /* series 0 */
               {"\x80\x01", 2},                 /* series -1 */
               {"\xa4\x80\x80\x80\x80\x20", 6}, /* series 2^32 */
               {"\x40\x80", 2}};                /* time cut off */

    for (size_t i = 0; i < NLT_COUNT(bad); i++) {
        nlt_reader_t r = nlt_reader(bad[i].p, bad[i].n);
        nlt_wal_prev_t prev = {0};
        nlt_wal_sample_t s;

        NLT_CHECK_INT(nlt_wal_sample_get(&prev, &r, &s), NLT_EDATA);
    }
}

/* A log cut anywhere gives a prefix of what was in it. */
static void
a_torn_tail_is_skipped(void)
{
    nlt_wal_t *w = new_log(&nlt_env_posix, 5);
    size_t ends[11] = {load(5).len}, whole = 0;
    nlt_str_t s;

    for (uint32_t i = 1; i <= 10; i++) {
        nlt_wal_begin(w);
        nlt_wal_add_sample(w, i, T0, nlt_bits_of(i));
        commit_ok(w);
        ends[i] = load(5).len;
    }
    nlt_wal_close(w);
    s = load(5);
    for (size_t n = ends[0]; n < s.len; n++) {
        whole += n == ends[whole + 1];
        NLT_CHECK_INT(read_bytes(s.data, n), NLT_OK);
        NLT_CHECK_INT(seen.n_samples, whole);
        NLT_CHECK_INT(seen.stats.skipped_bytes, n - ends[whole]);
        for (size_t i = 0; i < seen.n_samples; i++) {
            NLT_CHECK_INT(seen.samples[i].series, i + 1);
        }
    }
}

/* Frames behind a torn one are found again, those before it stay. */
static void
reading_goes_on_behind_a_torn_frame(void)
{
    static char torn[1 << 16];
    nlt_wal_t *w = new_log(&nlt_env_posix, 6);
    size_t cut, rest;
    nlt_str_t s;

    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 1, T0, nlt_bits_of(1));
    commit_ok(w);
    size_t first = load(6).len;
    nlt_wal_begin(w);
    for (uint32_t i = 100; i < 200; i++) {
        nlt_wal_add_sample(w, i, T0, nlt_bits_of(i));
    }
    commit_ok(w);
    size_t second = load(6).len;
    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 2, T0, nlt_bits_of(2));
    commit_ok(w);
    nlt_wal_close(w);

    s = load(6);
    rest = s.len - second;
    for (cut = first + 1; cut < second; cut++) {
        memcpy(torn, s.data, cut);
        memcpy(torn + cut, s.data + second, rest);
        NLT_CHECK_INT(read_bytes(torn, cut + rest), NLT_OK);
        NLT_CHECK_INT(seen.n_samples, 2);
        NLT_CHECK_INT(seen.samples[0].series, 1);
        NLT_CHECK_INT(seen.samples[1].series, 2);
        NLT_CHECK_INT(seen.stats.skips, 1);
        NLT_CHECK_INT(seen.stats.skipped_bytes, cut - first);
    }
}

/* Label bytes are the sender's: a frame in them must never be believed. */
static void
a_frame_hidden_in_a_label_is_not_read(void)
{
    uint8_t forged[3][64];
    nlt_wal_prev_t prev = {0};
    nlt_wal_t *w = new_log(&nlt_env_posix, 7);
    char name[NLT_WAL_NAME_SIZE];
    size_t n;
    nlt_str_t s;

    for (unsigned i = 0; i < 3; i++) {
        prev = (nlt_wal_prev_t){0};
        memset(forged[i], 0, 64);
        n = nlt_wal_sample_put(&prev, forged[i] + NLT_WAL_HEADER_LEN, 66, T0,
                               nlt_bits_of(666));
        /* Without a seed, with a guessed one; and a header of version 9. */
        nlt_wal_frame_put(forged[i], i == 2 ? NLT_WAL_HEADER : NLT_WAL_SAMPLES,
                          0, (uint32_t) n, 1, i * 12345);
        if (i == 2) {
            forged[i][4] = 9;
            nlt_put_le32(forged[i] + 20, nlt_crc32c(0, forged[i], 20));
        }
    }
    nlt_wal_name(name, 7);
    int fd = openat(dir_fd, name, O_WRONLY);
    for (uint32_t i = 0; i < 3; i++) {
        /* Written alone it is too short for compression; then its checksum
         * is spoilt, as a torn write would. */
        size_t before = load(7).len;

        nlt_wal_begin(w);
        nlt_wal_add_series(w, i + 1, 0, (nlt_str_t){64, (char *) forged[i]});
        commit_ok(w);
        NLT_CHECK_INT(pwrite(fd, "xxxx", 4, (off_t) before + 20), 4);
    }
    close(fd);
    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 1, T0, nlt_bits_of(5));
    commit_ok(w);
    nlt_wal_close(w);
    s = load(7);
    NLT_CHECK_INT(read_bytes(s.data, s.len), NLT_OK);
    NLT_CHECK_INT(seen.n_samples, 1);
    NLT_CHECK_INT(seen.samples[0].series, 1);
}

static void
a_later_version_is_refused_not_skipped(void)
{
    uint8_t log[256];
    nlt_wal_t *w = new_log(&nlt_env_posix, 8);
    uint32_t seed = nlt_wal_seed(store_id);
    nlt_str_t s;

    nlt_wal_close(w);
    s = load(8);
    memcpy(log, s.data, s.len);
    memset(log + s.len, 0, 64);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *p = log + s.len;

        nlt_wal_frame_put(p, i == 1 ? (nlt_wal_type_t) 9 : NLT_WAL_SAMPLES,
                          i == 2 ? 2 : 0, 4, 1, seed);
        if (i == 0) {
            p[4] = 2;
            nlt_put_le32(p + 20, nlt_crc32c(seed, p, 20));
        }
        NLT_CHECK_INT(read_bytes(log, s.len + 28), NLT_EVERSION);
    }
}

static void
large_batches_are_split_into_frames(void)
{
    static char labels[61440];
    nlt_wal_t *w = new_log(&nlt_env_posix, 9);
    nlt_err_t err;
    size_t bytes;

    for (size_t i = 0; i < sizeof(labels); i++) {
        labels[i] = (char) nlt_test_rand();
    }
    nlt_wal_begin(w);
    for (uint32_t i = 1; i <= 40; i++) {
        nlt_wal_add_series(w, i, 0, (nlt_str_t){sizeof(labels), labels});
    }
    for (uint32_t i = 1; i <= 150000; i++) {
        nlt_wal_add_sample(w, i, T0 + i, nlt_bits_of(i / 7.0));
    }
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_OK);
    NLT_CHECK_INT(load(9).len, bytes + 56);
    nlt_wal_close(w);
    NLT_CHECK_INT(read_log(9), NLT_OK);
    NLT_CHECK_INT(seen.stats.skips, 0);
    NLT_CHECK_INT(seen.n_series, 40);
    NLT_CHECK_INT(seen.n_samples, 150000);
    for (uint32_t i = 1; i <= seen.n_samples; i++) {
        if (seen.samples[i - 1].series != i
            || seen.samples[i - 1].v_bits != nlt_bits_of(i / 7.0)) {
            nlt_test_fail(__FILE__, __LINE__, "samples in order");
            break;
        }
    }
}

/* ---- a disk that fails ---- */

static struct {
    size_t write_at_most; /* bytes of the next writes */
    int writes_until;     /* then: */
    int fail_with;
    int sync_fails;
} disk;

static ssize_t
bad_write(void *ctx, int fd, const void *p, size_t n)
{
    if (disk.fail_with && disk.writes_until-- <= 0) {
        return -disk.fail_with;
    }
    if (disk.write_at_most && n > disk.write_at_most) {
        n = disk.write_at_most;
    }
    return nlt_io_posix.write(ctx, fd, p, n);
}

static int
bad_sync(void *ctx, int fd)
{
    return disk.sync_fails ? -disk.sync_fails
                           : nlt_io_posix.fdatasync(ctx, fd);
}

static const nlt_env_t *
bad_env(void)
{
    static nlt_env_t env;
    static nlt_io_t io;

    io = nlt_io_posix;
    io.write = bad_write;
    io.fdatasync = bad_sync;
    env = nlt_env_posix;
    env.io = &io;
    memset(&disk, 0, sizeof(disk));
    return &env;
}

static void
a_full_disk_is_told_apart_from_a_broken_one(void)
{
    static const struct {
        int errnum;
        nlt_rc_t rc;
    } cases[] = {{ENOSPC, NLT_EFULL}, {EDQUOT, NLT_EFULL}, {EIO, NLT_EIO}};
    nlt_wal_t *w = new_log(bad_env(), 10);
    nlt_err_t err;
    size_t bytes;

    for (size_t i = 0; i < NLT_COUNT(cases); i++) {
        disk.fail_with = cases[i].errnum;
        nlt_wal_begin(w);
        nlt_wal_add_sample(w, 1, T0, 0);
        NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), cases[i].rc);
        NLT_CHECK(strstr(err.text, "arena 10") != NULL);
    }
    /* A full disk gets room again; a broken file stays broken. */
    disk.fail_with = 0;
    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 1, T0, 0);
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_EIO);
    NLT_CHECK_INT(nlt_wal_sync(w, &err), NLT_EIO);
    nlt_wal_close(w);
    w = new_log(bad_env(), 10);
    disk.fail_with = ENOSPC;
    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 1, T0, 0);
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_EFULL);
    disk.fail_with = 0;
    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 1, T0, 0);
    commit_ok(w);
    nlt_wal_close(w);
}

/* Another process may write behind a short write: frames stay whole. */
static void
a_short_write_is_continued_with_a_whole_frame(void)
{
    nlt_wal_t *w = new_log(bad_env(), 11);
    uint32_t n = 60000;

    disk.write_at_most = 100001;
    nlt_wal_begin(w);
    for (uint32_t i = 1; i <= n; i++) {
        nlt_wal_add_sample(w, i, T0, nlt_bits_of(i / 7.0));
    }
    commit_ok(w);
    nlt_wal_close(w);
    NLT_CHECK_INT(read_log(11), NLT_OK);
    NLT_CHECK(seen.stats.skips > 0);
    NLT_CHECK_INT(seen.n_samples, n);
    for (uint32_t i = 1; i <= seen.n_samples; i++) {
        if (seen.samples[i - 1].series != i) {
            nlt_test_fail(__FILE__, __LINE__, "samples in order, each once");
            break;
        }
    }
}

static void
writes_that_stay_short_end(void)
{
    nlt_wal_t *w = new_log(bad_env(), 12);
    nlt_err_t err;
    size_t bytes;

    disk.write_at_most = 10;
    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 1, T0, 0);
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_EIO);
    nlt_wal_close(w);
}

static void
after_a_failed_sync_the_log_is_dead(void)
{
    nlt_wal_t *w = new_log(bad_env(), 13);
    nlt_err_t err;
    size_t bytes;

    disk.sync_fails = EIO;
    NLT_CHECK_INT(nlt_wal_sync(w, &err), NLT_EIO);
    disk.sync_fails = 0;
    NLT_CHECK_INT(nlt_wal_sync(w, &err), NLT_EIO);
    nlt_wal_begin(w);
    nlt_wal_add_sample(w, 1, T0, 0);
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_EIO);
    nlt_wal_close(w);
}

static void
names_of_logs_are_told_from_others(void)
{
    char name[NLT_WAL_NAME_SIZE];
    uint64_t no = 0;

    nlt_wal_name(name, 0x1234abcdef);
    NLT_CHECK_STR(((nlt_str_t){strlen(name), name}), "0000001234abcdef.wal");
    NLT_CHECK(nlt_wal_name_parse(name, &no));
    NLT_CHECK(no == 0x1234abcdef);
    NLT_CHECK(!nlt_wal_name_parse("0000001234abcdef.wal.tmp", &no));
    NLT_CHECK(!nlt_wal_name_parse("0000000000000000.wal", &no));
    NLT_CHECK(!nlt_wal_name_parse("0000001234ABCDEF.wal", &no));
    NLT_CHECK(!nlt_wal_name_parse("", &no));
}

int
main(void)
{
    char dir[] = "/tmp/nlt-wal-XXXXXX", cmd[64];

    (void) nlt_test_seed();
    if (mkdtemp(dir) == NULL || (dir_fd = open(dir, O_DIRECTORY)) < 0) {
        perror("mkdtemp");
        return 1;
    }
    NLT_TEST(names_of_logs_are_told_from_others);
    NLT_TEST(sample_forms_are_exact_and_short);
    NLT_TEST(random_samples_keep_every_bit);
    NLT_TEST(broken_samples_are_refused);
    NLT_TEST(what_is_written_comes_back);
    NLT_TEST(create_leaves_an_existing_log_alone);
    NLT_TEST(a_missing_log_and_a_foreign_one_are_told);
    NLT_TEST(a_torn_tail_is_skipped);
    NLT_TEST(reading_goes_on_behind_a_torn_frame);
    NLT_TEST(a_frame_hidden_in_a_label_is_not_read);
    NLT_TEST(a_later_version_is_refused_not_skipped);
    NLT_TEST(large_batches_are_split_into_frames);
    NLT_TEST(a_full_disk_is_told_apart_from_a_broken_one);
    NLT_TEST(a_short_write_is_continued_with_a_whole_frame);
    NLT_TEST(writes_that_stay_short_end);
    NLT_TEST(after_a_failed_sync_the_log_is_dead);
    NLT_TEST(series_records_are_found_again_by_their_place);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    return system(cmd) != 0 || nlt_test_done();
}

/*
 * bench_backfill.c - a year of history through a whole store, in JSON lines.
 *
 *   bench_backfill [order] [series] [step s] [memory MiB] [directory]
 *
 *   order   series (one after the other, the default), any (weeks of series
 *           in any order), time (all series, day by day)
 *
 * This process writes requests of up to 4000 samples as fast as they are
 * taken, 1000 live series once a second beside them, and waits a moment when
 * it is told 503.  The helper is a process of its own, as in nginx.  Then it
 * waits until nothing is merged any more and reads everything back.
 *
 * helper_mib is memory of the helper itself (RssAnon): at rest, and at most.
 * stall_ms is the longest time in which nothing was taken.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nlt_rw_build.h"
#include "nlt_store.h"

#define DAY_MS INT64_C(86400000)
#define LIVE   1000
#define BATCH  4000

typedef struct {
    nlt_store_conf_t conf;
    nlt_store_t *store;
    pid_t helper;
    const char *order;
    char root[512];
    char path[600];
    char head[600];
    unsigned n_series;
    int64_t step_ms;
    int64_t t0;
    unsigned n;      /* samples of a series */
    uint64_t live_n; /* live samples taken */
    int64_t live_ns;
    int64_t taken_ns;
    int64_t stall_ns;
    uint64_t refused;
    double anon_rest;
    double anon_peak;
    double head_peak;
    uint64_t blocks_peak;
    int64_t watched_ns;
    rwb_t b;
} bench_t;

static const nlt_env_t *env = &nlt_env_posix;

static void
die(const char *what, const char *why)
{
    fprintf(stderr, "bench_backfill: %s: %s\n", what, why);
    exit(1);
}

static uint64_t
mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A counter with noise: about two bytes a sample, like real ones. */
static double
value(unsigned series, unsigned i)
{
    return (double) (i * 10 + mix(series * 1000003u + i) % 10) + series;
}

/* ---- the helper ---- */

static void
quiet_log(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    (void) ctx;
    if (level < NLT_LOG_NOTICE || getenv("BENCH_LOG") != NULL) {
        fprintf(stderr, "# %.*s\n", (int) len, text);
    }
}

static void
run_helper(bench_t *x)
{
    nlt_env_t e = nlt_env_posix;
    nlt_helper_t *h;
    nlt_err_t err;

    e.log = quiet_log;
    if (nlt_helper_open(&e, &x->conf, &h, &err) != NLT_OK) {
        die("helper", err.text);
    }
    for (;;) {
        int64_t ms = nlt_helper_step(h, NULL);

        if (ms > 0) {
            (void) usleep((useconds_t) (ms > 50 ? 50 : ms) * 1000);
        }
    }
}

/* Memory of the helper itself, in MiB. */
static double
helper_anon(const bench_t *x)
{
    char path[64], line[256];
    double mib = 0;
    FILE *f;

    (void) snprintf(path, sizeof(path), "/proc/%d/status", (int) x->helper);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        long kib;

        if (sscanf(line, "RssAnon: %ld", &kib) == 1) {
            mib = (double) kib / 1024;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return mib;
}

static void
watch(bench_t *x)
{
    int64_t now = nlt_mono_ns(env);
    nlt_store_gauges_t g;
    double mib;

    if (now - x->watched_ns < 20000000) {
        return;
    }
    x->watched_ns = now;
    nlt_store_tick(x->store);
    nlt_store_gauges(x->store, &g);
    mib = helper_anon(x);
    x->anon_peak = mib > x->anon_peak ? mib : x->anon_peak;
    mib = (double) g.head_bytes / (1 << 20);
    x->head_peak = mib > x->head_peak ? mib : x->head_peak;
    x->blocks_peak = g.blocks > x->blocks_peak ? g.blocks : x->blocks_peak;
}

/* ---- writing ---- */

static int
send_once(bench_t *x, nlt_ingest_result_t *res)
{
    nlt_ingest_conf_t conf = {.labels = {64, 1024, 4096},
                              .decoded_max = 32u << 20};
    nlt_ingest_t *in = nlt_store_ingest(x->store);
    nlt_ingest_req_t *r;

    if (in == NULL) {
        return 503;
    }
    if (nlt_ingest_begin(in, &conf, rwb_snappy(&x->b), &r) != NLT_OK) {
        die("ingest", "no memory");
    }
    while (nlt_ingest_run(r, res) == NLT_AGAIN) {
        nlt_store_tick(x->store);
    }
    return res->status;
}

static void
send_all(bench_t *x)
{
    nlt_ingest_result_t res = {.status = 0};
    int64_t now;
    int status;

    while ((status = send_once(x, &res)) != 204) {
        if (status != 503) {
            die("write", res.err.text);
        }
        x->refused++;
        (void) usleep(2000);
        watch(x);
    }
    now = nlt_mono_ns(env);
    if (x->taken_ns != 0 && now - x->taken_ns > x->stall_ns) {
        x->stall_ns = now - x->taken_ns;
    }
    x->taken_ns = now;
    rwb_reset(&x->b);
    watch(x);
}

static void
begin_series(bench_t *x, const char *name, unsigned no)
{
    char text[16];

    rwb_label(&x->b, "__name__", name);
    (void) snprintf(text, sizeof(text), "host-%u", no / 100);
    rwb_label(&x->b, "instance", text);
    rwb_label(&x->b, "job", "node");
    (void) snprintf(text, sizeof(text), "%u", no);
    rwb_label(&x->b, "no", text);
}

static void
live(bench_t *x)
{
    int64_t now = nlt_mono_ns(env), ms = nlt_now_ms(env);

    if (now - x->live_ns < 1000000000) {
        return;
    }
    x->live_ns = now;
    for (unsigned no = 0; no < LIVE; no++) {
        begin_series(x, "live", no);
        rwb_sample(&x->b, ms, no);
        rwb_end(&x->b);
    }
    send_all(x);
    x->live_n += LIVE;
}

/* Samples [from, to) of a series. */
static void
piece(bench_t *x, unsigned no, unsigned from, unsigned to)
{
    to = to < x->n ? to : x->n;
    while (from < to) {
        unsigned end = from + BATCH < to ? from + BATCH : to;

        begin_series(x, "history", no);
        for (; from < end; from++) {
            rwb_sample(&x->b, x->t0 + x->step_ms * from, value(no, from));
        }
        rwb_end(&x->b);
        if (x->b.request.len > BATCH * 20) {
            send_all(x);
        }
        live(x);
    }
}

static void
write_history(bench_t *x)
{
    unsigned week = (unsigned) (7 * DAY_MS / x->step_ms);
    unsigned weeks = (x->n + week - 1) / week;
    unsigned day = (unsigned) (DAY_MS / x->step_ms);

    if (strcmp(x->order, "series") == 0) {
        for (unsigned no = 0; no < x->n_series; no++) {
            piece(x, no, 0, x->n);
        }
    } else if (strcmp(x->order, "any") == 0) {
        uint64_t all = (uint64_t) weeks * x->n_series, k = 0, p = 1;

        /* A permutation: multiples of a prime that does not divide it. */
        p = all % 1000000007u == 0 ? 998244353u : 1000000007u;
        for (uint64_t i = 0; i < all; i++) {
            k = (k + p) % all;
            piece(x, (unsigned) (k / weeks), (unsigned) (k % weeks) * week,
                  (unsigned) (k % weeks) * week + week);
        }
    } else {
        for (unsigned from = 0; from < x->n; from += day) {
            for (unsigned no = 0; no < x->n_series; no++) {
                piece(x, no, from, from + day);
            }
        }
    }
    if (x->b.request.len > 0) {
        send_all(x);
    }
}

/* ---- the end ---- */

/* Until no merge ended for eight seconds. */
static void
wait_for_rest(bench_t *x)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl(x->store);
    uint64_t before = UINT64_MAX;
    nlt_err_t err;
    int still = 0;

    (void) !nlt_store_flush_soon(x->store, &err);
    while (still < 80) {
        uint64_t n = atomic_load(&ctl->counters.compactions)
                     + atomic_load(&ctl->counters.flushes);

        still = n == before ? still + 1 : 0;
        before = n;
        (void) usleep(100000);
        watch(x);
    }
}

/* Samples of all series of that name that are right. */
static uint64_t
right_samples(bench_t *x)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("history"),
                       NULL};
    nlt_select_t sel = {&m, 1, x->t0, INT64_MAX};
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0};
    nlt_pool_t pool, samples;
    nlt_view_t view;
    nlt_err_t err;
    uint64_t n = 0;

    if (nlt_view_open(x->store, 0, NULL, &view, &err) != NLT_OK) {
        die("view", err.text);
    }
    nlt_pool_init(&pool, &nlt_mem_libc, (size_t) 4 << 30);
    nlt_pool_init(&samples, &nlt_mem_libc, (size_t) 4 << 30);
    got.pool = &samples;
    if (view.source.ops->select(&view.source, &pool, &sel, &set, &err)
        != NLT_OK) {
        die("select", err.text);
    }
    for (size_t i = 0; i < set->n; i++) {
        nlt_str_t s = view.source.ops->label(set, i, NLT_STR("no"));
        unsigned no = 0;

        for (size_t k = 0; k < s.len; k++) {
            no = no * 10 + (unsigned) (s.data[k] - '0');
        }
        got.n = 0;
        if (view.source.ops->read(set, i, NLT_READ_ALL, x->t0, INT64_MAX, &got,
                                  &err)
            != NLT_OK) {
            die("read", err.text);
        }
        for (size_t k = 0; k < got.n; k++) {
            n += got.n == x->n
                 && got.t_ms[k] == x->t0 + x->step_ms * (int64_t) k
                 && nlt_bits_of(got.v[k])
                        == nlt_bits_of(value(no, (unsigned) k));
        }
    }
    view.source.ops->close(set);
    nlt_pool_deinit(&samples);
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    return n;
}

static unsigned
count_maps(void)
{
    char line[512];
    unsigned n = 0;
    FILE *f = fopen("/proc/self/maps", "r");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        n += strstr(line, "/blocks/") != NULL;
    }
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

static void
start(bench_t *x)
{
    nlt_store_status_t status = {.ready = false};
    nlt_err_t err;

    if (mkdtemp(x->root) == NULL) {
        die(x->root, "cannot be made");
    }
    (void) snprintf(x->path, sizeof(x->path), "%s/store", x->root);
    (void) snprintf(x->head, sizeof(x->head), "/dev/shm%s",
                    strrchr(x->root, '/'));
    (void) mkdir(x->path, 0700);
    (void) mkdir(x->head, 0700);
    x->conf.path = x->path;
    x->conf.head_path = x->head;
    if (nlt_store_prepare_dir(env, &x->conf, &err) != NLT_OK) {
        die("store", err.text);
    }
    x->helper = fork();
    if (x->helper == 0) {
        run_helper(x);
    }
    if (nlt_store_open(env, &x->conf, NLT_ROLE_WORKER, &x->store, &err)
        != NLT_OK) {
        die("store", err.text);
    }
    while (!status.ready) {
        (void) usleep(10000);
        nlt_store_tick(x->store);
        nlt_store_status(x->store, &status);
    }
    (void) usleep(200000);
    x->anon_rest = helper_anon(x);
}

int
main(int argc, char **argv)
{
    bench_t x = {.order = argc > 1 ? argv[1] : "series"};
    int64_t now = nlt_now_ms(env), began, sent;
    nlt_store_gauges_t g;
    const nlt_head_counters_t *c;
    uint64_t samples, right;
    double send_s, rest_s;
    nlt_err_t err;
    int status;

    setenv("MALLOC_ARENA_MAX", "1", 1);
    x.n_series = argc > 2 ? (unsigned) atoi(argv[2]) : 200;
    x.step_ms = 1000 * (argc > 3 ? atoi(argv[3]) : 300);
    x.conf.memory_bytes = (uint64_t) (argc > 4 ? atoi(argv[4]) : 32) << 20;
    (void) snprintf(x.root, sizeof(x.root), "%s/nlt-backfill-XXXXXX",
                    argc > 5 ? argv[5] : "/tmp");
    x.conf.retention_ms = 800 * DAY_MS;
    x.conf.wal_sync_ms = 1000;
    x.conf.arena_age_ms = 7200000;
    x.n = (unsigned) (365 * DAY_MS / x.step_ms);
    x.t0 = (now - 365 * DAY_MS) / x.step_ms * x.step_ms;
    samples = (uint64_t) x.n * x.n_series;
    start(&x);
    rwb_init(&x.b);
    began = nlt_mono_ns(env);
    write_history(&x);
    sent = nlt_mono_ns(env);
    wait_for_rest(&x);
    send_s = (double) (sent - began) / 1e9;
    rest_s = (double) (nlt_mono_ns(env) - sent) / 1e9 - 8;
    nlt_store_gauges(x.store, &g);
    c = &nlt_store_ctl(x.store)->counters;
    right = right_samples(&x);
    printf("{\"bench\":\"backfill\",\"order\":\"%s\",\"samples\":%llu,"
           "\"right\":%llu,\"send_s\":%.1f,\"rest_s\":%.1f,"
           "\"refused\":%llu,\"stall_ms\":%.0f,\"flushes\":%llu,"
           "\"merges\":%llu,\"copied_per_sample\":%.2f,\"merge_s\":%.1f,"
           "\"blocks_most\":%llu,\"blocks\":%llu,\"maps\":%u,"
           "\"bytes_per_sample\":%.2f,\"head_mib_most\":%.1f,"
           "\"helper_mib_rest\":%.1f,\"helper_mib_most\":%.1f}\n",
           x.order, (unsigned long long) samples, (unsigned long long) right,
           send_s, rest_s, (unsigned long long) x.refused,
           (double) x.stall_ns / 1e6, (unsigned long long) c->flushes,
           (unsigned long long) c->compactions,
           (double) c->compaction_samples / (double) (samples + x.live_n),
           (double) c->compaction_ns / 1e9, (unsigned long long) x.blocks_peak,
           (unsigned long long) g.blocks, count_maps(),
           (double) g.block_bytes / (double) (samples + x.live_n), x.head_peak,
           x.anon_rest, x.anon_peak);
    nlt_store_close(x.store);
    (void) kill(x.helper, SIGKILL);
    (void) waitpid(x.helper, &status, 0);
    rwb_free(&x.b);
    (void) !nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, x.root, &err);
    (void) !nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, x.head, &err);
    return right == samples ? 0 : 1;
}

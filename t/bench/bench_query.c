/*
 * bench_query.c - what a query costs inside of core, from text to JSON.
 *
 *   bench_query [targets] [samples] [blocks] [only] [runs]
 *               default 40 targets of 500 series, 240 samples of 15 s each;
 *               blocks: 1 flushes them to portable blocks first, 2 to dense
 *               ones; only: one query, run once, or as often as told (within
 *               a second), or "all"
 *
 * Series look like those of node exporters and HTTP services: counters of
 * seconds, integers and histograms, gauges; one scrape in ten is up to 5 ms
 * late.  One JSON line a query: the least processor time of some runs, and
 * the bytes of the answer.  One thread.  For instruction counts, with a
 * file for each query (the second run of two, which has no first touches):
 *
 *   valgrind --tool=callgrind --collect-atstart=no --toggle-collect=run_once
 *       --dump-after=run_once bench_query 2 60 0 all 2
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "nightlight.h"
#include "nlt_hash.h"
#include "nlt_rw_build.h"

#define PER_TARGET 500
#define STEP_MS    15000
#define END        INT64_C(1700006400000)

typedef struct {
    nlt_env_t env;
    nlt_store_conf_t conf;
    nlt_store_t *store;
    nlt_helper_t *helper;
    char root[64], path[96], head_path[96];
    unsigned n_series, n_samples;
} bench_t;

static uint64_t rnd_state = 1;

static uint64_t
rnd(uint64_t n)
{
    rnd_state =
        rnd_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (rnd_state >> 33) % n;
}

static double
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

static int64_t
test_now(void *ctx)
{
    (void) ctx;
    return END + 60000;
}

static void
die(const char *what)
{
    fprintf(stderr, "bench_query: %s\n", what);
    exit(1);
}

/* ---- data ---- */

static void
add_labels(rwb_t *b, unsigned i)
{
    static const char *const modes[] = {"idle",    "iowait", "irq",    "nice",
                                        "softirq", "steal",  "system", "user"};
    static const char *const les[] = {"0.005", "0.01", "0.05", "0.1",
                                      "0.5",   "1",    "5",    "+Inf"};
    unsigned target = i / PER_TARGET, k = i % PER_TARGET, kind = k % 4;
    char name[64], cpu[16], instance[32];

    snprintf(cpu, sizeof(cpu), "%u", k / 32);
    snprintf(instance, sizeof(instance), "10.0.%u.%u:9100", target / 256,
             target % 256);
    snprintf(name, sizeof(name), "%s",
             kind == 0   ? "cpu_seconds_total"
             : kind == 1 ? "request_duration_seconds_bucket"
             : kind == 2 ? "memory_bytes"
                         : "requests_total");
    rwb_label(b, "__name__", name);
    rwb_label(b, "cluster", "production-eu-west-1");
    rwb_label(b, "cpu", cpu);
    rwb_label(b, "datacenter", "dc1");
    rwb_label(b, "env", "prod");
    rwb_label(b, "instance", instance);
    rwb_label(b, "job", target % 3 ? "node" : "service");
    if (kind == 1) {
        rwb_label(b, "le", les[k / 4 % 8]);
    } else {
        rwb_label(b, "mode", modes[k / 4 % 8]);
    }
    rwb_label(b, "region", "eu-west-1");
    rwb_label(b, "team", "infrastructure");
}

/* The value after one more step. */
static double
next_value(unsigned i, double v)
{
    switch (i % 4) {
    case 0:
        return v + (double) rnd(15000) / 1000;
    case 1:
        return v + (double) (rnd(3) ? 0 : rnd(40));
    case 2:
        return (double) (1000000 + rnd(4096)) * 4096;
    default:
        return v + (double) rnd(500);
    }
}

static void
send(bench_t *x, rwb_t *b)
{
    const nlt_ingest_conf_t conf = {.labels = {64, 1024, 4096},
                                    .decoded_max = 32u << 20};
    nlt_ingest_result_t res;
    nlt_ingest_req_t *r;

    if (nlt_ingest_begin(nlt_store_ingest(x->store), &conf, rwb_snappy(b), &r)
        != NLT_OK) {
        die("begin");
    }
    while (nlt_ingest_run(r, &res) == NLT_AGAIN) {
    }
    if (res.status != 204) {
        die(res.err.text);
    }
    rwb_reset(b);
}

static void
ingest(bench_t *x)
{
    double *v = calloc(x->n_series, sizeof(*v));
    int64_t t0 = END - (int64_t) x->n_samples * STEP_MS;
    rwb_t b;

    if (v == NULL) {
        die("no memory");
    }
    rwb_init(&b);
    for (unsigned round = 1; round <= x->n_samples; round++) {
        int64_t late = 0;

        for (unsigned i = 0; i < x->n_series; i++) {
            if (i % PER_TARGET == 0) {
                late = rnd(10) ? 0 : (int64_t) rnd(6);
            }
            v[i] = next_value(i, v[i]);
            add_labels(&b, i);
            rwb_sample(&b, t0 + (int64_t) round * STEP_MS + late, v[i]);
            rwb_end(&b);
            if (i % PER_TARGET == PER_TARGET - 1) {
                send(x, &b);
            }
        }
    }
    rwb_free(&b);
    free(v);
}

static void
ready(bench_t *x)
{
    nlt_store_status_t status = {.ready = false};

    for (int i = 0; i < 1000 && !status.ready; i++) {
        (void) nlt_helper_step(x->helper, NULL);
        nlt_store_tick(x->store);
        nlt_store_status(x->store, &status);
    }
    if (!status.ready) {
        die("not ready");
    }
}

static void
flush(bench_t *x)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl(x->store);
    uint64_t before = atomic_load(&ctl->counters.flushes);

    nlt_helper_flush_soon(x->helper);
    for (int i = 0; i < 1000; i++) {
        (void) nlt_helper_step(x->helper, NULL);
        nlt_store_tick(x->store);
        ctl = nlt_store_ctl(x->store);
        if (ctl && atomic_load(&ctl->counters.flushes) > before) {
            ready(x);
            return;
        }
    }
    die("no flush");
}

/* ---- queries ---- */

typedef struct {
    const char *id;
    const char *path;
    const char *args; /* escaped */
    int step_s;       /* 0: at the end only */
} query_t;

#define ONE "%7Binstance%3D%2210.0.0.0:9100%22%7D"
#define ALL "%7Bcluster%3D~%22.%2B%22%7D"

static const query_t queries[] = {
    {"instant_one", "query", "query=cpu_seconds_total" ONE, 0},
    {"instant_rate", "query",
     "query=sum%20by(mode)(rate(cpu_seconds_total[5m]))", 0},
    {"instant_last_all", "query",
     "query=sum%20by(job)(last_over_time(" ALL "[5m]))", 0},
    {"instant_quantile", "query",
     "query=histogram_quantile(0.9,sum%20by(le,job)(rate("
     "request_duration_seconds_bucket[5m])))",
     0},
    {"instant_raw", "query", "query=memory_bytes", 0},
    {"range_rate", "query_range",
     "query=sum%20by(mode)(rate(cpu_seconds_total[5m]))", 60},
    {"range_rate_wide", "query_range",
     "query=sum%20by(le)(rate(request_duration_seconds_bucket[5m]))", 300},
    {"range_last_all", "query_range",
     "query=sum%20by(job)(last_over_time(" ALL "[5m]))", 300},
    {"range_max", "query_range",
     "query=max%20by(job)(max_over_time(memory_bytes[10m]))", 60},
    {"range_avg", "query_range",
     "query=max%20by(job)(avg_over_time(memory_bytes[10m]))", 60},
    {"range_avg_wide", "query_range",
     "query=max%20by(job)(avg_over_time(memory_bytes[1h]))", 300},
    {"range_stddev", "query_range",
     "query=max%20by(job)(stddev_over_time(memory_bytes[1h]))", 300},
    {"range_deriv", "query_range",
     "query=max%20by(job)(deriv(memory_bytes[1h]))", 300},
    {"range_quantile", "query_range",
     "query=max%20by(job)(quantile_over_time(0.9,memory_bytes[1h]))", 300},
    {"range_changes", "query_range",
     "query=max%20by(job)(changes(memory_bytes[1h]))", 300},
    {"range_raw", "query_range", "query=memory_bytes" ONE, 60},
    {"day_last", "query", "query=sum(last_over_time(requests_total[1d]))", 0},
    {"day_sum", "query", "query=sum(sum_over_time(requests_total[1d]))", 0},
    {"day_rate", "query", "query=sum(rate(cpu_seconds_total[1d]))", 0},
    {"day_count", "query", "query=sum(count_over_time(memory_bytes[1d]))", 0},
    {"day_avg", "query", "query=sum(avg_over_time(requests_total[1d]))", 0},
    {"day_deriv", "query", "query=sum(deriv(requests_total[1d]))", 0},
    {"day_stddev", "query", "query=sum(stddev_over_time(requests_total[1d]))",
     0},
    {"label_values", "label/instance/values", "", 1},
    {"series", "series", "match[]=" ONE, 1},
};

/* What is to be known of an answer. */
typedef struct {
    size_t bytes;
    uint32_t crc; /* two builds that give the same digits agree in it */
} answer_t;

/* Processor time of one run; a function of its own for callgrind. */
__attribute__((noinline)) static double
run_once(bench_t *x, const query_t *q, answer_t *answer)
{
    static char out[65536];
    const nlt_api_conf_t conf = {.timeout_ms = 600000,
                                 .samples_max = 500000000,
                                 .series_max = 50000000,
                                 .memory_max = UINT64_C(1) << 30,
                                 .lookback_ms = 300000};
    int64_t start_s = (END - (int64_t) x->n_samples * STEP_MS) / 1000;
    char args[1024];
    size_t len = 0;
    nlt_api_t *api;
    nlt_rc_t rc;
    double from, spent = 0;
    int n;

    n = snprintf(args, sizeof(args), "%s&time=%lld", q->args,
                 (long long) (END / 1000 - 2));
    if (q->step_s) {
        n = snprintf(args, sizeof(args), "%s&start=%lld&end=%lld&step=%d",
                     q->args, (long long) start_s,
                     (long long) (END / 1000 - 2), q->step_s);
    }
    nlt_api_request_t req = {.kind = NLT_API_QUERY,
                             .method = NLT_HTTP_GET,
                             .suffix = {strlen(q->path), q->path},
                             .args = {(size_t) n, args}};

    from = now_ns();
    if (nlt_api_create(&x->env, x->store, &conf, &req, &api) != NLT_OK) {
        die("create");
    }
    nlt_api_run(api);
    if (nlt_api_answer(api)->status != 200) {
        (void) nlt_api_render(api, out, sizeof(out) - 1, &len);
        out[len] = '\0';
        die(out);
    }
    *answer = (answer_t){0, 0};
    do {
        rc = nlt_api_render(api, out, sizeof(out), &len);
        answer->bytes += len;
        spent += now_ns() - from;
        answer->crc = nlt_crc32c(answer->crc, out, len);
        from = now_ns();
    } while (rc == NLT_AGAIN);
    nlt_api_destroy(api);
    return spent + now_ns() - from;
}

static void
run(bench_t *x, const query_t *q, int runs)
{
    double best = 0, spent = 0;
    answer_t answer = {0, 0};

    for (int i = 0; i < runs && spent < 1e9; i++) {
        double ns = run_once(x, q, &answer);

        best = i == 0 || ns < best ? ns : best;
        spent += ns;
    }
    printf("{\"bench\":\"query\",\"what\":\"%s\",\"series\":%u,"
           "\"samples\":%u,\"value\":%.1f,\"unit\":\"us\",\"bytes\":%zu,"
           "\"crc\":\"%08x\"}\n",
           q->id, x->n_series, x->n_samples, best / 1000, answer.bytes,
           answer.crc);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    bench_t x = {.root = "/dev/shm/nlt-bench-XXXXXX"};
    const char *only = argc > 4 ? argv[4] : NULL;
    int runs = argc > 5 ? atoi(argv[5]) : only ? 1 : 400;
    nlt_err_t err;

    only = only && strcmp(only, "all") == 0 ? NULL : only;

    x.n_series = (argc > 1 ? (unsigned) atoi(argv[1]) : 40) * PER_TARGET;
    x.n_samples = argc > 2 ? (unsigned) atoi(argv[2]) : 240;
    if (x.n_series == 0 || x.n_samples == 0 || mkdtemp(x.root) == NULL) {
        die("bad arguments");
    }
    snprintf(x.path, sizeof(x.path), "%s/data", x.root);
    snprintf(x.head_path, sizeof(x.head_path), "%s/head", x.root);
    x.env = nlt_env_posix;
    x.env.now_ms = test_now;
    x.conf = (nlt_store_conf_t){.path = x.path,
                                .head_path = x.head_path,
                                .memory_bytes = UINT64_C(4) << 30,
                                .retention_ms = INT64_C(60) * 86400000,
                                .wal_sync_ms = NLT_WAL_SYNC_OFF,
                                .arena_age_ms = INT64_C(86400000),
                                .dense = argc > 3 && atoi(argv[3]) == 2};
    if (mkdir(x.path, 0700) != 0
        || nlt_store_prepare_dir(&x.env, &x.conf, &err) != NLT_OK
        || nlt_helper_open(&x.env, &x.conf, &x.helper, &err) != NLT_OK
        || nlt_store_open(&x.env, &x.conf, NLT_ROLE_WORKER, &x.store, &err)
               != NLT_OK) {
        die("cannot open the store");
    }
    ready(&x);
    ingest(&x);
    if (argc > 3 && atoi(argv[3])) {
        flush(&x);
    }
    for (size_t i = 0; i < NLT_COUNT(queries); i++) {
        if (only == NULL || strcmp(only, queries[i].id) == 0) {
            run(&x, &queries[i], runs);
        }
    }
    nlt_store_close(x.store);
    nlt_helper_close(x.helper);
    return nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, x.root, &err) != NLT_OK;
}

/*
 * bench_ingest.c - what a remote_write sample costs from body to log.
 *
 *   bench_ingest [targets] [rounds] [series a request] [version] [shape]
 *                default 40 targets of 500 series, 60 rounds, 500 a request,
 *                both versions of remote_write (0), shape "usual"
 *
 * Bodies look like those of Prometheus scraping node exporters: 500 series a
 * target, 11 labels, one sample each, every 15 s; half counters, a quarter
 * gauges of three digits, a quarter constant.  Those of 2.0 carry metadata
 * with each series, as senders do.  Bodies are made before the
 * clock runs.  The log goes to the directory of the head (tmpfs), so that
 * the processor is measured and not the disk.  One thread.
 *
 * Shapes: "few" labels (3), "many" (26), "long" values of 300 bytes,
 * "mixed" (each round in another order), "block" (20 samples a series).
 *
 * Of requests the median, the 99th percentile and the longest are told: what
 * a sender waits is a multiple of it, as many as wait for the same worker.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nlt_ingest.h"
#include "nlt_rw2_build.h"
#include "nlt_rw_build.h"

#define PER_TARGET 500
#define BLOCK      20 /* samples of shape "block" */

static enum {
    USUAL,
    FEW,
    MANY,
    LONG,
    MIXED,
    BLOCKS
} shape;

static const char *const shapes[] = {"usual", "few",   "many",
                                     "long",  "mixed", "block"};
#define T0 INT64_C(1700000000000)

static int64_t clock_ms = T0;

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
    return clock_ms;
}

static void
die(const char *what)
{
    fprintf(stderr, "bench_ingest: %s\n", what);
    exit(1);
}

/* A request of either version. */
typedef struct {
    int version;
    rwb_t v1;
    rw2b_t v2;
} builder_t;

static void
label(builder_t *b, const char *name, const char *value)
{
    if (b->version == 2) {
        rw2b_label(&b->v2, name, value);
    } else {
        rwb_label(&b->v1, name, value);
    }
}

static void
add_samples(builder_t *b, int64_t t_ms, double v)
{
    unsigned n = shape == BLOCKS ? BLOCK : 1;

    for (unsigned i = 0; i < n; i++, t_ms += 15000 / BLOCK) {
        if (b->version == 2) {
            rw2b_sample(&b->v2, t_ms, v + i);
        } else {
            rwb_sample(&b->v1, t_ms, v + i);
        }
    }
}

/* Labels of shapes "many" and "long", behind all others. */
static void
more_labels(builder_t *b, unsigned target)
{
    char name[32], value[301];

    if (shape == LONG) {
        memset(value, 'x', sizeof(value) - 1);
        snprintf(value, 16, "%u", target);
        value[strlen(value)] = '-';
        value[300] = '\0';
        label(b, "url", value);
    }
    for (unsigned i = 0; shape == MANY && i < 15; i++) {
        snprintf(name, sizeof(name), "x%02u_label", i);
        snprintf(value, sizeof(value), "value-%u", target % (i + 1));
        label(b, name, value);
    }
}

static void
end_series(builder_t *b, unsigned k, int64_t t_ms, double v)
{
    char help[64];

    add_samples(b, t_ms, v);
    if (b->version != 2) {
        rwb_end(&b->v1);
        return;
    }
    snprintf(help, sizeof(help), "What node_metric_%u_seconds_total says.",
             k / 16);
    rw2b_metadata(&b->v2, 1, help, "");
    rw2b_end(&b->v2);
}

/* Series i at round `round`, with its labels in the order of senders. */
static void
add_series(builder_t *b, unsigned i, unsigned round)
{
    static const char *const modes[] = {"idle",    "iowait", "irq",    "nice",
                                        "softirq", "steal",  "system", "user"};
    unsigned target = i / PER_TARGET, k = i % PER_TARGET;
    char text[64];
    double v;

    snprintf(text, sizeof(text), "node_metric_%u_seconds_total",
             shape == FEW ? k : k / 16);
    label(b, "__name__", text);
    if (shape != FEW) {
        label(b, "cluster", "production-eu-west-1");
        snprintf(text, sizeof(text), "%u", k / 8 % 64);
        label(b, "cpu", text);
        label(b, "datacenter", "dc1");
        label(b, "env", "prod");
    }
    snprintf(text, sizeof(text), "10.%u.%u.7:9100", target / 256,
             target % 256);
    label(b, "instance", text);
    label(b, "job", "node");
    if (shape != FEW) {
        label(b, "mode", modes[k % 8]);
        snprintf(text, sizeof(text), "rack-%u", target / 20);
        label(b, "rack", text);
        label(b, "region", "eu-west-1");
        label(b, "team", "infrastructure");
    }
    more_labels(b, target);
    switch (k % 4) {
    case 0:
        v = k * 1e6 + round * 15.0 * (1 + k % 7);
        break;
    case 1:
        v = k * 1000 + round * 15.01 + (k * round % 13) / 100.0;
        break;
    case 2:
        v = (k * 37 + round * 11) % 1000 / 10.0;
        break;
    default:
        v = k;
    }
    end_series(b, k, T0 + round * 15000, v);
}

typedef struct {
    char *p;
    size_t n;
} body_t;

/* The bodies of one round. */
static size_t
make_bodies(builder_t *b, body_t *bodies, unsigned n_series,
            unsigned per_request, unsigned round)
{
    size_t n = 0;

    for (unsigned i = 0; i < n_series;) {
        unsigned end = i + per_request < n_series ? i + per_request : n_series;

        rwb_reset(&b->v1);
        rw2b_reset(&b->v2);
        for (; i < end; i++) {
            /* 7919 is a prime, and no factor of a number of series. */
            uint64_t at = (uint64_t) i * 7919 + round * 104729ull;

            add_series(
                b, shape == MIXED && round ? (unsigned) (at % n_series) : i,
                round);
        }
        nlt_str_t s =
            b->version == 2 ? rw2b_snappy(&b->v2) : rwb_snappy(&b->v1);
        bodies[n].p = malloc(s.len);
        bodies[n].n = s.len;
        if (bodies[n].p == NULL) {
            die("no memory");
        }
        memcpy(bodies[n++].p, s.data, s.len);
    }
    return n;
}

/* What requests took, us. */
typedef struct {
    double *v;
    size_t n;
} times_t;

static int
by_time(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static void
send_bodies(nlt_ingest_t *in, const body_t *bodies, size_t n, int version,
            times_t *times)
{
    const nlt_ingest_conf_t conf = {.labels = {64, 1024, 4096},
                                    .decoded_max = 32u << 20,
                                    .version = version};
    nlt_ingest_result_t res;
    nlt_ingest_req_t *r;

    for (size_t i = 0; i < n; i++) {
        double start = now_ns();

        if (nlt_ingest_begin(in, &conf, (nlt_str_t){bodies[i].n, bodies[i].p},
                             &r)
            != NLT_OK) {
            die("begin");
        }
        while (nlt_ingest_run(r, &res) == NLT_AGAIN) {
        }
        if (res.status != 204) {
            die(res.err.text);
        }
        times->v[times->n++] = (now_ns() - start) / 1e3;
    }
}

static void
emit(int version, const char *what, unsigned n_series, double value,
     const char *unit)
{
    printf("{\"bench\":\"ingest\",\"version\":%d,\"what\":\"%s\","
           "\"shape\":\"%s\",\"series\":%u,\"value\":%.1f,"
           "\"unit\":\"%s\"}\n",
           version, what, shapes[shape], n_series, value, unit);
    fflush(stdout);
}

/* Empties it. */
static void
emit_times(int version, const char *what, unsigned n_series, times_t *times)
{
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"median", 0.5}, {"p99", 0.99}, {"longest", 1}};
    char text[64];

    qsort(times->v, times->n, sizeof(*times->v), by_time);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        size_t at = (size_t) (quantiles[i].share * (double) (times->n - 1));

        snprintf(text, sizeof(text), "request of %s, %s", what,
                 quantiles[i].name);
        emit(version, text, n_series, times->v[at], "us");
    }
    times->n = 0;
}

static void
run(nlt_ingest_t *in, nlt_head_t *head, unsigned n_series, unsigned rounds,
    unsigned per_request, int version)
{
    nlt_head_counters_t *c = &nlt_head_ctl(head)->counters;
    body_t *bodies = calloc(n_series, sizeof(*bodies));
    times_t times = {calloc((size_t) n_series * rounds, sizeof(*times.v)), 0};
    double start, spent = 0;
    uint64_t wal = 0;
    builder_t b = {.version = version};

    if (bodies == NULL || times.v == NULL) {
        die("no memory");
    }
    rwb_init(&b.v1);
    rw2b_init(&b.v2);
    for (unsigned round = 0; round < rounds; round++) {
        size_t n = make_bodies(&b, bodies, n_series, per_request, round);

        clock_ms = T0 + round * 15000;
        start = now_ns();
        send_bodies(in, bodies, n, version, &times);
        if (round == 0) {
            emit(version, "new series", n_series,
                 (now_ns() - start) / n_series, "ns");
            emit(version, "log of new series", n_series,
                 (double) atomic_load(&c->wal_bytes) / n_series, "B/series");
            wal = atomic_load(&c->wal_bytes);
            emit_times(version, "new series", n_series, &times);
        } else {
            spent += now_ns() - start;
        }
        for (size_t i = 0; i < n; i++) {
            free(bodies[i].p);
        }
    }
    double samples =
        (double) n_series * (rounds - 1) * (shape == BLOCKS ? BLOCK : 1);

    emit(version, "sample", n_series, spent / samples, "ns");
    emit(version, "log of a sample", n_series,
         (double) (atomic_load(&c->wal_bytes) - wal) / samples, "B/sample");
    emit_times(version, "known series", n_series, &times);
    free(times.v);
    free(bodies);
    rwb_free(&b.v1);
    rw2b_free(&b.v2);
}

/* A store of its own for a version. */
static void
bench(unsigned targets, unsigned rounds, unsigned per_request, int version)
{
    char path[] = "/dev/shm/nlt-bench-XXXXXX", cmd[64];
    nlt_env_t env = nlt_env_posix;
    nlt_head_conf_t conf = {.env = &env,
                            .memory_bytes = UINT64_C(3) << 30,
                            .role = NLT_ROLE_HELPER};
    nlt_ingest_t *in = NULL;
    nlt_head_t *head = NULL;
    nlt_err_t err;

    env.now_ms = test_now;
    if (mkdtemp(path) == NULL) {
        die("no directory");
    }
    conf.dir_fd = open(path, O_RDONLY | O_DIRECTORY);
    if (nlt_head_create(&conf, 1, &head, &err) != NLT_OK
        || nlt_wal_create(&env, conf.dir_fd, conf.store_id, 1, T0, &err)
               != NLT_OK
        || nlt_ingest_create(&env, head, conf.dir_fd, &in, &err) != NLT_OK) {
        die(err.text);
    }
    nlt_head_set_state(head, NLT_HEAD_OPEN);
    run(in, head, targets * PER_TARGET, rounds, per_request, version);
    nlt_ingest_destroy(in);
    nlt_head_detach(head);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", path);
    if (system(cmd) != 0) {
        die("cannot remove the directory");
    }
}

int
main(int argc, char **argv)
{
    unsigned targets = argc > 1 ? (unsigned) atoi(argv[1]) : 40;
    unsigned rounds = argc > 2 ? (unsigned) atoi(argv[2]) : 60;
    unsigned per_request = argc > 3 ? (unsigned) atoi(argv[3]) : 500;
    int version = argc > 4 ? atoi(argv[4]) : 0;

    for (size_t i = 0; argc > 5 && strcmp(argv[5], shapes[shape]) != 0; i++) {
        if (i == sizeof(shapes) / sizeof(shapes[0])) {
            die("no such shape");
        }
        shape = i;
    }
    if (targets == 0 || rounds < 2 || per_request == 0) {
        die("bad arguments");
    }
    for (int v = 1; v <= 2; v++) {
        if (version == 0 || version == v) {
            bench(targets, rounds, per_request, v);
        }
    }
    return 0;
}

/*
 * bench_ingest.c - what a remote_write sample costs from body to log.
 *
 *   bench_ingest [targets] [rounds] [series a request]
 *                default 40 targets of 500 series, 60 rounds, 500 a request
 *
 * Bodies look like those of Prometheus scraping node exporters: 500 series a
 * target, 11 labels, one sample each, every 15 s; half counters, a quarter
 * gauges of three digits, a quarter constant.  Bodies are made before the
 * clock runs.  The log goes to the directory of the head (tmpfs), so that
 * the processor is measured and not the disk.  One thread.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nlt_ingest.h"
#include "nlt_rw_build.h"

#define PER_TARGET 500
#define T0         INT64_C(1700000000000)

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

/* Series i at round `round`, with its labels in the order of senders. */
static void
add_series(rwb_t *b, unsigned i, unsigned round)
{
    static const char *const modes[] = {"idle",    "iowait", "irq",    "nice",
                                        "softirq", "steal",  "system", "user"};
    unsigned target = i / PER_TARGET, k = i % PER_TARGET;
    char text[64];
    double v;

    snprintf(text, sizeof(text), "node_metric_%u_seconds_total", k / 16);
    rwb_label(b, "__name__", text);
    rwb_label(b, "cluster", "production-eu-west-1");
    snprintf(text, sizeof(text), "%u", k / 8 % 64);
    rwb_label(b, "cpu", text);
    rwb_label(b, "datacenter", "dc1");
    rwb_label(b, "env", "prod");
    snprintf(text, sizeof(text), "10.%u.%u.7:9100", target / 256,
             target % 256);
    rwb_label(b, "instance", text);
    rwb_label(b, "job", "node");
    rwb_label(b, "mode", modes[k % 8]);
    snprintf(text, sizeof(text), "rack-%u", target / 20);
    rwb_label(b, "rack", text);
    rwb_label(b, "region", "eu-west-1");
    rwb_label(b, "team", "infrastructure");
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
    rwb_sample(b, T0 + round * 15000, v);
    rwb_end(b);
}

typedef struct {
    char *p;
    size_t n;
} body_t;

/* The bodies of one round. */
static size_t
make_bodies(body_t *bodies, unsigned n_series, unsigned per_request,
            unsigned round)
{
    size_t n = 0;
    rwb_t b;

    rwb_init(&b);
    for (unsigned i = 0; i < n_series;) {
        unsigned end = i + per_request < n_series ? i + per_request : n_series;

        rwb_reset(&b);
        for (; i < end; i++) {
            add_series(&b, i, round);
        }
        nlt_str_t s = rwb_snappy(&b);
        bodies[n].p = malloc(s.len);
        bodies[n].n = s.len;
        if (bodies[n].p == NULL) {
            die("no memory");
        }
        memcpy(bodies[n++].p, s.data, s.len);
    }
    rwb_free(&b);
    return n;
}

static void
send_bodies(nlt_ingest_t *in, const body_t *bodies, size_t n)
{
    const nlt_ingest_conf_t conf = {{64, 1024, 4096}, 32u << 20, 0, false};
    nlt_ingest_result_t res;
    nlt_ingest_req_t *r;

    for (size_t i = 0; i < n; i++) {
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
    }
}

static void
emit(const char *what, unsigned n_series, double value, const char *unit)
{
    printf("{\"bench\":\"ingest\",\"what\":\"%s\",\"series\":%u,"
           "\"value\":%.1f,\"unit\":\"%s\"}\n",
           what, n_series, value, unit);
    fflush(stdout);
}

static void
run(nlt_ingest_t *in, nlt_head_t *head, unsigned n_series, unsigned rounds,
    unsigned per_request)
{
    nlt_head_counters_t *c = &nlt_head_ctl(head)->counters;
    body_t *bodies = calloc(n_series, sizeof(*bodies));
    double start, spent = 0;
    uint64_t wal = 0;

    if (bodies == NULL) {
        die("no memory");
    }
    for (unsigned round = 0; round < rounds; round++) {
        size_t n = make_bodies(bodies, n_series, per_request, round);

        clock_ms = T0 + round * 15000;
        start = now_ns();
        send_bodies(in, bodies, n);
        if (round == 0) {
            emit("new series", n_series, (now_ns() - start) / n_series, "ns");
            emit("log of new series", n_series,
                 (double) atomic_load(&c->wal_bytes) / n_series, "B/series");
            wal = atomic_load(&c->wal_bytes);
        } else {
            spent += now_ns() - start;
        }
        for (size_t i = 0; i < n; i++) {
            free(bodies[i].p);
        }
    }
    double samples = (double) n_series * (rounds - 1);

    emit("sample", n_series, spent / samples, "ns");
    emit("log of a sample", n_series,
         (double) (atomic_load(&c->wal_bytes) - wal) / samples, "B/sample");
    free(bodies);
}

int
main(int argc, char **argv)
{
    unsigned targets = argc > 1 ? (unsigned) atoi(argv[1]) : 40;
    unsigned rounds = argc > 2 ? (unsigned) atoi(argv[2]) : 60;
    unsigned per_request = argc > 3 ? (unsigned) atoi(argv[3]) : 500;
    char path[] = "/dev/shm/nlt-bench-XXXXXX", cmd[64];
    nlt_env_t env = nlt_env_posix;
    nlt_head_conf_t conf = {.env = &env,
                            .memory_bytes = UINT64_C(3) << 30,
                            .role = NLT_ROLE_HELPER};
    nlt_ingest_t *in = NULL;
    nlt_head_t *head = NULL;
    nlt_err_t err;

    env.now_ms = test_now;
    if (targets == 0 || rounds < 2 || per_request == 0
        || mkdtemp(path) == NULL) {
        die("bad arguments");
    }
    conf.dir_fd = open(path, O_RDONLY | O_DIRECTORY);
    if (nlt_head_create(&conf, 1, &head, &err) != NLT_OK
        || nlt_wal_create(&env, conf.dir_fd, conf.store_id, 1, T0, &err)
               != NLT_OK
        || nlt_ingest_create(&env, head, conf.dir_fd, &in, &err) != NLT_OK) {
        die(err.text);
    }
    nlt_head_set_state(head, NLT_HEAD_OPEN);
    run(in, head, targets * PER_TARGET, rounds, per_request);
    nlt_ingest_destroy(in);
    nlt_head_detach(head);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", path);
    return system(cmd) != 0;
}

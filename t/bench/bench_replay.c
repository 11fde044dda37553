/*
 * bench_replay.c - what reading a log back into the head costs.
 *
 *   bench_replay [series] [rounds]       default 100000 series, 120 rounds
 *
 * The log is what a worker writes of that many series scraped so many times:
 * a quarter constant, the rest counters and gauges, 2000 samples a request.
 * Head and logs lie on tmpfs, so the processor is measured and not the disk.
 * One thread.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nlt_num.h"
#include "nlt_remote_write.h"
#include "nlt_replay.h"

#define PER_REQUEST 2000
#define T0          INT64_C(1700000000000)

static double
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

static void
die(const char *what)
{
    fprintf(stderr, "bench_replay: %s\n", what);
    exit(1);
}

static void
emit(const char *what, unsigned n_series, double value, const char *unit)
{
    printf("{\"bench\":\"replay\",\"what\":\"%s\",\"series\":%u,"
           "\"value\":%.1f,\"unit\":\"%s\"}\n",
           what, n_series, value, unit);
    fflush(stdout);
}

static nlt_str_t
text(char *buf, size_t size, const char *fmt, unsigned n)
{
    return (nlt_str_t){(size_t) snprintf(buf, size, fmt, n), buf};
}

static void
add_series(nlt_wal_t *w, nlt_buf_t *canonical, unsigned i)
{
    char cpu[32], instance[32], name[64];
    nlt_label_t v[] = {
        {NLT_METRIC_NAME,
         text(name, sizeof(name), "node_metric_%u_seconds_total", i % 32)},
        {NLT_STR("cluster"), NLT_STR("production-eu-west-1")},
        {NLT_STR("cpu"), text(cpu, sizeof(cpu), "%u", i / 8 % 64)},
        {NLT_STR("datacenter"), NLT_STR("dc1")},
        {NLT_STR("env"), NLT_STR("prod")},
        {NLT_STR("instance"),
         text(instance, sizeof(instance), "10.0.7.%u:9100", i / 500)},
        {NLT_STR("job"), NLT_STR("node")},
        {NLT_STR("mode"), NLT_STR("system")},
        {NLT_STR("region"), NLT_STR("eu-west-1")},
        {NLT_STR("series"), {0, NULL}},
        {NLT_STR("team"), NLT_STR("infrastructure")},
    };
    char series[16];

    v[9].value = text(series, sizeof(series), "%u", i);
    nlt_buf_reset(canonical);
    nlt_rw_canonical(canonical, (nlt_labels_t){v, sizeof(v) / sizeof(v[0])});
    nlt_wal_add_series(w, i + 1, 0, nlt_buf_str(canonical));
}

static double
value(unsigned i, unsigned round)
{
    switch (i % 4) {
    case 0:
        return i * 1e3 + round * 15.0 * (1 + i % 7);
    case 1:
        return i * 10 + round * 15.01 + (i * round % 13) / 100.0;
    case 2:
        return (i * 37 + round * 11) % 1000 / 10.0;
    default:
        return i;
    }
}

static void
write_log(const nlt_env_t *env, const nlt_head_conf_t *conf, unsigned n_series,
          unsigned rounds)
{
    nlt_wal_t *w = NULL;
    nlt_buf_t canonical;
    nlt_err_t err;
    size_t bytes;

    nlt_buf_init(&canonical, env->mem, 1u << 20);
    if (nlt_wal_create(env, conf->dir_fd, conf->store_id, 1, T0, &err)
            != NLT_OK
        || nlt_wal_open(env, conf->dir_fd, 1, &w, &err) != NLT_OK) {
        die(err.text);
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < n_series; i++) {
            if (i % PER_REQUEST == 0) {
                nlt_wal_begin(w);
                for (unsigned k = i;
                     round == 0 && k < n_series && k < i + PER_REQUEST; k++) {
                    add_series(w, &canonical, k);
                }
            }
            nlt_wal_add_sample(w, i + 1, T0 + round * 15000,
                               nlt_bits_of(value(i, round)));
            if ((i % PER_REQUEST == PER_REQUEST - 1 || i == n_series - 1)
                && nlt_wal_commit(w, &bytes, &err) != NLT_OK) {
                die(err.text);
            }
        }
    }
    nlt_wal_close(w);
    nlt_buf_deinit(&canonical);
}

static nlt_rc_t
no_room(void *ctx, nlt_err_t *err)
{
    (void) ctx;
    return nlt_err_set(err, NLT_EFULL, "the arena is too small");
}

int
main(int argc, char **argv)
{
    unsigned n_series = argc > 1 ? (unsigned) atoi(argv[1]) : 100000;
    unsigned rounds = argc > 2 ? (unsigned) atoi(argv[2]) : 120;
    char path[] = "/dev/shm/nlt-bench-XXXXXX", cmd[64];
    const nlt_env_t *env = &nlt_env_posix;
    nlt_head_conf_t conf = {.env = env,
                            .memory_bytes = UINT64_C(3) << 30,
                            .role = NLT_ROLE_HELPER};
    nlt_replay_stats_t stats;
    nlt_head_t *head = NULL;
    double start, spent, samples;
    nlt_err_t err;

    if (n_series == 0 || rounds < 1 || mkdtemp(path) == NULL) {
        die("bad arguments");
    }
    conf.dir_fd = open(path, O_RDONLY | O_DIRECTORY);
    if (nlt_head_create(&conf, 2, &head, &err) != NLT_OK
        || nlt_wal_create(env, conf.dir_fd, conf.store_id, 2, T0, &err)
               != NLT_OK) {
        die(err.text);
    }
    write_log(env, &conf, n_series, rounds);
    nlt_replay_conf_t replay = {.env = env,
                                .head = head,
                                .wal_fd = conf.dir_fd,
                                .store_id = conf.store_id,
                                .make_room = no_room};
    start = now_ns();
    if (nlt_replay_log(&replay, 1, &stats, &err) != NLT_OK) {
        die(err.text);
    }
    spent = now_ns() - start;
    samples = (double) n_series * rounds;
    if (stats.samples != (uint64_t) samples) {
        die("samples are missing");
    }
    emit("sample", n_series, spent / samples, "ns");
    emit("all", n_series, spent / 1e6, "ms");
    emit("log", n_series, (double) stats.bytes / samples, "B/sample");
    nlt_head_detach(head);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", path);
    return system(cmd) != 0;
}

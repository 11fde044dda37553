/*
 * bench_head.c - what the head costs, in JSON lines.
 *
 *   bench_head [series]      default 100000; 1000000 needs about 1 GiB
 *
 * Series look like those of node exporters: 1000 a machine, 11 labels, of
 * which most are the same within a machine.  Samples are 15 s apart: three in
 * eight series are counters that step by a small varying amount, one is a
 * gauge with three digits, four never change; that makes about 2.3 bytes a
 * sample, like scrapes of real exporters.
 *
 * Memory is what the arena's bump pointer moved by, over the number of
 * series.  Times are the processor's, of one thread.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nlt_env.h"
#include "nlt_head.h"

#define LABELS 11
#define T0     INT64_C(1700000000000)

static double
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

static void
emit(const char *what, uint32_t series, double value, const char *unit)
{
    printf("{\"bench\":\"head\",\"what\":\"%s\",\"series\":%u,"
           "\"value\":%.1f,\"unit\":\"%s\"}\n",
           what, series, value, unit);
    fflush(stdout);
}

static void
die(const char *what, nlt_rc_t rc)
{
    fprintf(stderr, "bench_head: %s: %s\n", what, nlt_rc_text(rc));
    exit(1);
}

/* Labels of series i, in caller's text of LABELS * 32 bytes. */
static void
labels_of(uint32_t i, char (*text)[32], nlt_label_t *v)
{
    static const char *const names[LABELS] = {
        "__name__", "cluster", "cpu",  "datacenter", "device", "env",
        "instance", "job",     "mode", "region",     "zone"};
    uint32_t machine = i / 1000, k = i % 1000;

    snprintf(text[0], 32, "node_metric_%u_total", k / 4);
    snprintf(text[1], 32, "cluster-%u", machine / 50);
    snprintf(text[2], 32, "%u", k % 4);
    snprintf(text[3], 32, "dc%u", machine / 200);
    snprintf(text[4], 32, "sd%c", 'a' + (int) (k / 4 % 6));
    snprintf(text[5], 32, "production");
    snprintf(text[6], 32, "host-%05u:9100", machine);
    snprintf(text[7], 32, "node");
    snprintf(text[8], 32, "mode%u", k / 4 % 8);
    snprintf(text[9], 32, "eu-%u", machine / 500);
    snprintf(text[10], 32, "z%u", machine % 3);
    for (size_t j = 0; j < LABELS; j++) {
        v[j].name = (nlt_str_t){strlen(names[j]), names[j]};
        v[j].value = (nlt_str_t){strlen(text[j]), text[j]};
    }
}

static double
value_of(uint32_t series, uint32_t step)
{
    uint32_t r = (series * 2654435761u) ^ (step * 2246822519u);

    switch (series & 7) {
    case 0:
    case 1:
    case 2:
        return (double) (series * 10 + step * 20 + (r >> 28));
    case 3:
        return (double) (r >> 22) / 10.0;
    default:
        return (double) series;
    }
}

static nlt_hash128_t
key_of(const nlt_head_ctl_t *ctl, const nlt_label_t *v)
{
    char buf[512];
    size_t n = 0;

    for (size_t j = 0; j < LABELS; j++) {
        memcpy(buf + n, v[j].name.data, v[j].name.len);
        n += v[j].name.len;
        buf[n++] = '\0';
        memcpy(buf + n, v[j].value.data, v[j].value.len);
        n += v[j].value.len;
        buf[n++] = '\0';
    }
    return nlt_head_key(ctl, 0, buf, n);
}

static uint64_t
used(const nlt_arena_t *a)
{
    return atomic_load(&nlt_arena_header(a)->used_bytes);
}

#define BLOCK 1000

static nlt_hash128_t *
bench_register(nlt_head_t *h, nlt_arena_t *a, uint32_t n)
{
    static char text[BLOCK][LABELS][32];
    static nlt_label_t v[BLOCK][LABELS];
    nlt_hash128_t *keys = calloc(n, sizeof(*keys));
    double begin, in_register = 0;

    for (uint32_t from = 0; from < n; from += BLOCK) {
        for (uint32_t i = 0; i < BLOCK; i++) {
            labels_of(from + i, text[i], v[i]);
            keys[from + i] = key_of(nlt_head_ctl(h), v[i]);
        }
        begin = now_ns();
        for (uint32_t i = 0; i < BLOCK; i++) {
            uint32_t series;
            nlt_hash128_t key = keys[from + i];
            nlt_rc_t rc = nlt_arena_register(
                a, 0, (nlt_labels_t){v[i], LABELS}, key, key, &series);

            if (rc != NLT_OK) {
                die("register", rc);
            }
        }
        in_register += now_ns() - begin;
    }
    emit("register_11_labels", n, in_register / n, "ns/series");

    begin = now_ns();
    for (uint32_t i = 0; i < n; i++) {
        if (i + 8 < n) {
            nlt_arena_prefetch_key(a, keys[i + 8]);
        }
        if (nlt_arena_find(a, keys[i]) != i + 1) {
            die("find", NLT_EBUG);
        }
    }
    emit("find", n, (now_ns() - begin) / n, "ns/series");
    return keys;
}

/* Appends one sample to each of n series in batches of 2000; ns in all. */
static double
scrape(nlt_arena_t *a, uint32_t n, uint32_t step, bool by_machine)
{
    static nlt_head_sample_t s[2000];
    double total = 0;
    size_t done;

    for (uint32_t from = 0; from < n; from += 2000) {
        uint32_t k = n - from < 2000 ? n - from : 2000;

        for (uint32_t i = 0; i < k; i++) {
            /* Round robin takes the same metric of every machine in turn. */
            uint32_t x = from + i;
            uint32_t series =
                by_machine ? x : x % (n / 1000) * 1000 + x / (n / 1000);

            s[i] = (nlt_head_sample_t){
                series + 1, 0, T0 + (int64_t) step * 15000 + series % 100,
                nlt_bits_of(value_of(series, step))};
        }
        double begin = now_ns();
        nlt_rc_t rc = nlt_arena_append(a, s, k, &done);

        total += now_ns() - begin;
        if (rc != NLT_OK) {
            die("append", rc);
        }
    }
    return total;
}

static void
bench_append(nlt_arena_t *a, uint32_t n, uint64_t before)
{
    double sequential = 0, robin = 0;

    for (uint32_t step = 0; step < 60; step++) {
        if (step == 10) {
            emit("memory_10_samples", n, (double) (used(a) - before) / n,
                 "bytes/series");
        }
        if (step % 2 == 0) {
            sequential += scrape(a, n, step, true);
        } else {
            robin += scrape(a, n, step, false);
        }
    }
    emit("memory_60_samples", n, (double) (used(a) - before) / n,
         "bytes/series");
    emit("append_sequential", n, sequential / 30 / n, "ns/sample");
    emit("append_round_robin", n, robin / 30 / n, "ns/sample");
}

static void
bench_read(nlt_arena_t *a, uint32_t n)
{
    nlt_pool_t pool;
    nlt_samples_t out = {.pool = &pool};
    double begin;
    size_t total = 0;

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    begin = now_ns();
    for (uint32_t i = 1; i <= n; i++) {
        out.n = 0;
        nlt_rc_t rc = nlt_arena_read(a, i, NLT_READ_ALL, INT64_MIN, INT64_MAX,
                                     &out, NULL);

        if (rc != NLT_OK) {
            die("read", rc);
        }
        total += out.n;
    }
    emit("read_all_60_samples", n, (now_ns() - begin) / (double) total,
         "ns/sample");
    begin = now_ns();
    for (uint32_t i = 1; i <= n; i++) {
        out.n = 0;
        nlt_rc_t rc = nlt_arena_read(a, i, NLT_READ_NEWEST, INT64_MIN,
                                     INT64_MAX, &out, NULL);

        if (rc != NLT_OK || out.n != 1) {
            die("read newest", rc);
        }
    }
    emit("read_newest_60_samples", n, (now_ns() - begin) / n, "ns/series");
    nlt_pool_deinit(&pool);
}

static void
bench_select(nlt_arena_t *a, uint32_t n)
{
    nlt_matcher_t m[2] = {
        {NLT_MATCH_EQ, NLT_STR("__name__"), NLT_STR("node_metric_7_total"),
         NULL},
        {NLT_MATCH_EQ, NLT_STR("job"), NLT_STR("node"), NULL},
    };
    nlt_pool_t pool;
    uint32_t *v;
    size_t found = 0;
    double begin = now_ns();

    for (int i = 0; i < 10; i++) {
        nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
        nlt_rc_t rc = nlt_arena_select(a, &pool, 0, m, 2, &v, &found, NULL);

        if (rc != NLT_OK || found != n / 1000 * 4) {
            die("select", rc);
        }
        nlt_pool_deinit(&pool);
    }
    emit("select_name_and_job", n, (now_ns() - begin) / 10 / (double) found,
         "ns/found");
}

static void
bench_carry(nlt_head_t *h, const nlt_hash128_t *keys, uint32_t n)
{
    nlt_arena_t *a, *from;
    uint64_t sealed;
    double begin;
    nlt_err_t err;

    if (nlt_head_prepare(h, &err) != NLT_OK
        || nlt_head_rotate(h, &sealed, &err) != NLT_OK) {
        fprintf(stderr, "bench_head: %s\n", err.text);
        exit(1);
    }
    a = nlt_head_active(h);
    from = nlt_head_previous(h);
    begin = now_ns();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t series, old = nlt_arena_find(from, keys[i]);
        nlt_rc_t rc = nlt_arena_carry(a, from, old, keys[i], &series);

        if (rc != NLT_OK) {
            die("carry", rc);
        }
    }
    emit("carry_11_labels", n, (now_ns() - begin) / n, "ns/series");
}

int
main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t) strtoul(argv[1], NULL, 10) : 100000;
    char path[] = "/dev/shm/nlt-bench-XXXXXX";
    nlt_head_conf_t conf = {.env = &nlt_env_posix,
                            .memory_bytes = (uint64_t) n * 2048 + (64 << 20),
                            .role = NLT_ROLE_HELPER};
    nlt_head_t *h;
    nlt_hash128_t *keys;
    nlt_err_t err;
    uint64_t before;

    n = n / 1000 * 1000;
    if (n == 0 || mkdtemp(path) == NULL) {
        fprintf(stderr, "usage: bench_head [series >= 1000]\n");
        return 2;
    }
    conf.dir_fd = open(path, O_RDONLY | O_DIRECTORY);
    memset(conf.store_id, 1, sizeof(conf.store_id));
    if (nlt_head_create(&conf, 1, &h, &err) != NLT_OK) {
        fprintf(stderr, "bench_head: %s\n", err.text);
        return 1;
    }
    nlt_arena_t *a = nlt_head_active(h);

    before = used(a);
    keys = bench_register(h, a, n);
    emit("memory_registered", n, (double) (used(a) - before) / n,
         "bytes/series");
    bench_append(a, n, before);
    bench_read(a, n);
    bench_select(a, n);
    bench_carry(h, keys, n);
    nlt_head_detach(h);
    /* A second handle marks it dead and removes the files. */
    if (nlt_head_create(&conf, 1, &h, &err) == NLT_OK) {
        char name[64];

        nlt_head_detach(h);
        (void) snprintf(name, sizeof(name), "exec rm -rf %s", path);
        (void) !system(name);
    }
    free(keys);
    return 0;
}

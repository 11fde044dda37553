/*
 * bench_compact.c - what merging blocks costs, in JSON lines.
 *
 *   bench_compact [series] [directory] [case]   default 100000, /tmp, all
 *
 * Sources look like a day of scrapes every 15 s: 12 blocks of two hours, the
 * same series in each, labels as node exporters have them (1000 a machine, 11
 * labels).  480 samples of 500 series are encoded once and shared by all, so
 * that making the sources does not take longer than merging them.
 *
 *   copy      one chunk of 480 samples a series and block: copied
 *   parts     two parts of each two hours, of 173 and 307 samples: joined
 *   minutes   scrapes every minute, 120 samples: joined by fours
 *   ha        each two hours twice, the second one 7 s later: merged
 *
 * ns are of the processor, one thread, kernel included (page cache, no wait
 * for the disk); peak is what nlt_mem_t gave out at most; longest_ms_unpolled
 * is the time in which a merge cannot be ended, with the disk in it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "nlt_block_write.h"
#include "nlt_compact.h"
#include "nlt_xor.h"

#define LABELS  11
#define KINDS   500
#define WINDOW  480
#define BLOCKS  24
#define T0      INT64_C(1699999200000) /* a border of two hours */
#define STEP_MS 15000

typedef struct {
    nlt_mem_t mem;
    size_t now;
    size_t peak;
} counted_t;

static void *
counted_alloc(void *ctx, size_t size)
{
    counted_t *c = ctx;

    c->now += size;
    c->peak = c->now > c->peak ? c->now : c->peak;
    return malloc(size);
}

static void
counted_free(void *ctx, void *p, size_t size)
{
    ((counted_t *) ctx)->now -= size;
    free(p);
}

static uint64_t state = 1;

static uint64_t
rnd(uint64_t n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (state >> 33) % n;
}

static void
die(const char *what, const char *why)
{
    fprintf(stderr, "bench_compact: %s: %s\n", what, why);
    exit(1);
}

static double
cpu_ns(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return ((double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec)) * 1e9
           + ((double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec)) * 1e3;
}

static double
wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

/* Values of a kind of series: a counter, a gauge, or always the same. */
static void
values_of(size_t kind, double *v, size_t n)
{
    double x = (double) rnd(100000), step = 1 + (double) rnd(200);

    for (size_t i = 0; i < n; i++) {
        x += kind % 8 < 3 ? (double) (uint64_t) (step * (double) rnd(100) / 50)
                          : 0;
        v[i] = kind % 8 == 3 ? (double) rnd(1000) / 10 : x;
    }
}

/* Names in order of their text, so that series come in label order. */
static void
labels_of(uint32_t i, char (*text)[32], nlt_label_t *v)
{
    static const char *const names[LABELS] = {
        "__name__", "cluster", "cpu",  "datacenter", "device", "env",
        "instance", "job",     "mode", "region",     "zone"};
    uint32_t machines = 100, k = i / machines, machine = i % machines;

    snprintf(text[0], 32, "node_metric_%05u", k / 4);
    snprintf(text[1], 32, "cluster-%02u", 1u);
    snprintf(text[2], 32, "%u", k % 4);
    snprintf(text[3], 32, "dc1");
    snprintf(text[4], 32, "eth0");
    snprintf(text[5], 32, "production");
    snprintf(text[6], 32, "host-%06u.example:9100", machine);
    snprintf(text[7], 32, "node");
    snprintf(text[8], 32, "user");
    snprintf(text[9], 32, "eu-west-1");
    snprintf(text[10], 32, "zone-a");
    for (size_t l = 0; l < LABELS; l++) {
        v[l].name = (nlt_str_t){strlen(names[l]), names[l]};
        v[l].value = (nlt_str_t){strlen(text[l]), text[l]};
    }
}

static int
cmp_str(const void *a, const void *b)
{
    return nlt_str_cmp(*(const nlt_str_t *) a, *(const nlt_str_t *) b);
}

static void
write_symbols(nlt_block_writer_t *w, uint32_t n_series, nlt_err_t *err)
{
    size_t n = 0, k = 0, cap = (size_t) n_series * LABELS * 2;
    nlt_str_t *all = malloc(cap * sizeof(*all));

    for (uint32_t i = 0; i < n_series; i++) {
        char text[LABELS][32];
        nlt_label_t v[LABELS];

        labels_of(i, text, v);
        for (size_t l = 0; l < LABELS; l++) {
            if (i == 0) {
                all[n++] = v[l].name;
            }
            /* Few are new: of each run of series the first. */
            if (i == 0 || (l == 0 && i % 400 == 0) || (l == 2 && i < 400)
                || (l == 6 && i < 100)) {
                all[n++] =
                    (nlt_str_t){v[l].value.len, strdup(v[l].value.data)};
            }
        }
    }
    qsort(all, n, sizeof(*all), cmp_str);
    for (size_t i = 0; i < n; i++) {
        if (k == 0 || !nlt_str_eq(all[k - 1], all[i])) {
            all[k++] = all[i];
        }
    }
    if (nlt_block_writer_symbols(w, all, k, err) != NLT_OK) {
        die("symbols", err->text);
    }
    free(all);
}

/* Samples [from, from + n) of a window that begins at t, of all kinds. */
typedef struct {
    int64_t t;
    int64_t step_ms;
    size_t n;
} part_t;

static void
write_block(const nlt_env_t *env, int dir_fd, const part_t *part,
            uint32_t n_series, nlt_compact_source_t *out, uint64_t arena)
{
    static uint8_t bytes[KINDS][16 << 10];
    static size_t len[KINDS];
    nlt_block_meta_t meta = {.t_min_ms = part->t,
                             .t_end_ms =
                                 part->t + (int64_t) part->n * part->step_ms,
                             .arena = arena};
    nlt_block_writer_t *w = NULL;
    nlt_block_t *b = NULL;
    nlt_err_t err;

    for (size_t k = 0; k < KINDS; k++) {
        int64_t t[WINDOW];
        double v[WINDOW];

        values_of(k, v, part->n);
        for (size_t i = 0; i < part->n; i++) {
            t[i] = part->t + (int64_t) i * part->step_ms;
        }
        len[k] = nlt_xor_encode_chunk(t, v, part->n, 16, bytes[k]);
    }
    if (nlt_ulid_new(1, &meta.ulid) != NLT_OK
        || nlt_block_writer_open(env, dir_fd, &meta, &w, &err) != NLT_OK) {
        die("open", err.text);
    }
    write_symbols(w, n_series, &err);
    for (uint32_t i = 0; i < n_series; i++) {
        char text[LABELS][32];
        nlt_label_t v[LABELS];
        nlt_block_chunk_t c = {
            .t_min_ms = part->t,
            .t_max_ms = part->t + (int64_t) (part->n - 1) * part->step_ms,
            .encoding = 1,
            .n_samples = (uint32_t) part->n,
            .data = {len[i % KINDS], (const char *) bytes[i % KINDS]}};

        labels_of(i, text, v);
        if (nlt_block_writer_series(w, (nlt_labels_t){v, LABELS}, &c, 1, &err)
            != NLT_OK) {
            die("series", err.text);
        }
    }
    if (nlt_block_writer_finish(w, &meta, &err) != NLT_OK
        || nlt_block_open(env, dir_fd, meta.ulid.c, &b, &err) != NLT_OK) {
        die("finish", err.text);
    }
    *out = (nlt_compact_source_t){.block = b,
                                  .info = {.ulid = meta.ulid,
                                           .t_min_ms = meta.t_min_ms,
                                           .t_end_ms = meta.t_end_ms,
                                           .arena = arena,
                                           .n_samples = meta.n_samples,
                                           .bytes = meta.bytes}};
}

/* When it was asked last, and the longest time between. */
static double polled_ns, longest_ns;

static nlt_rc_t
poll_cb(void *ctx)
{
    double now = wall_ns();

    (void) ctx;
    longest_ns = now - polled_ns > longest_ns ? now - polled_ns : longest_ns;
    polled_ns = now;
    return NLT_OK;
}

static const char *only; /* case to run; NULL: all */

static void
run(const char *what, int dir_fd, const part_t *parts, size_t n,
    uint32_t n_series)
{
    static const uint8_t store_id[NLT_STORE_ID_BYTES] = {1};
    counted_t mem = {.mem = {counted_alloc, counted_free, &mem}};
    nlt_env_t env = nlt_env_posix;
    nlt_compact_source_t src[BLOCKS];
    nlt_manifest_block_t out;
    nlt_err_t err = {.text = ""};
    uint64_t samples = 0, bytes = 0;
    double cpu, wall;

    if (only && strcmp(only, what) != 0) {
        return;
    }
    env.mem = &mem.mem;
    for (size_t i = 0; i < n; i++) {
        write_block(&env, dir_fd, &parts[i], n_series, &src[i], i + 1);
        samples += src[i].info.n_samples;
        bytes += src[i].info.bytes;
    }
    nlt_compact_conf_t conf = {.env = &env,
                               .blocks_fd = dir_fd,
                               .store_id = store_id,
                               .now_ms = T0,
                               .t_oldest_ms = INT64_MIN,
                               .level = 2,
                               .poll = poll_cb};
    size_t before = mem.now;

    mem.peak = mem.now;
    cpu = cpu_ns();
    wall = polled_ns = wall_ns();
    longest_ns = 0;
    if (nlt_compact_blocks(&conf, src, n, &out, NULL, &err) != NLT_OK) {
        die(what, err.text);
    }
    (void) poll_cb(NULL);
    cpu = cpu_ns() - cpu;
    wall = wall_ns() - wall;
    printf("{\"bench\":\"compact\",\"what\":\"%s\",\"blocks\":%zu,"
           "\"series\":%u,\"samples\":%llu,\"cpu_ns_per_sample\":%.2f,"
           "\"wall_ns_per_sample\":%.2f,\"bytes_per_sample_before\":%.3f,"
           "\"bytes_per_sample\":%.3f,\"peak_mib\":%.1f,"
           "\"cpu_us_per_series\":%.2f,\"longest_ms_unpolled\":%.0f}\n",
           what, n, n_series, (unsigned long long) samples,
           cpu / (double) samples, wall / (double) samples,
           (double) bytes / (double) samples,
           (double) out.bytes / (double) out.n_samples,
           (double) (mem.peak - before) / (1 << 20),
           cpu / (double) n_series / 1000, longest_ns / 1e6);
    fflush(stdout);
    for (size_t i = 0; i < n; i++) {
        nlt_block_t *b = (nlt_block_t *) (uintptr_t) src[i].block;

        nlt_block_close(b);
        if (nlt_io_remove_tree(&nlt_io_posix, dir_fd, src[i].info.ulid.c, &err)
            != NLT_OK) {
            die("remove", err.text);
        }
    }
    if (nlt_io_remove_tree(&nlt_io_posix, dir_fd, out.ulid.c, &err)
        != NLT_OK) {
        die("remove", err.text);
    }
}

int
main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t) strtoul(argv[1], NULL, 10) : 100000;
    char name[256];
    part_t parts[BLOCKS];
    int fd;

    snprintf(name, sizeof(name), "%s/bench-compact-XXXXXX",
             argc > 2 ? argv[2] : "/tmp");
    only = argc > 3 ? argv[3] : NULL;
    if (n == 0 || mkdtemp(name) == NULL) {
        die(name, "cannot make a directory there");
    }
    fd = open(name, O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < 12; i++) {
        parts[i] =
            (part_t){T0 + (int64_t) i * WINDOW * STEP_MS, STEP_MS, WINDOW};
    }
    run("copy", fd, parts, 12, n);
    for (size_t i = 0; i < 12; i++) {
        parts[i].n = WINDOW / 4;
        parts[i].step_ms = 4 * STEP_MS;
    }
    run("minutes", fd, parts, 12, n);
    for (size_t i = 0; i < 12; i++) {
        int64_t t = T0 + (int64_t) (i / 2) * WINDOW * STEP_MS;

        parts[i] = i % 2 ? (part_t){t + 173 * STEP_MS, STEP_MS, 307}
                         : (part_t){t, STEP_MS, 173};
    }
    run("parts", fd, parts, 12, n);
    for (size_t i = 0; i < 12; i++) {
        int64_t t = T0 + (int64_t) (i / 2) * WINDOW * STEP_MS;

        parts[i] = (part_t){t + (i % 2 ? 7000 : 0), STEP_MS, WINDOW};
    }
    run("ha", fd, parts, 12, n);
    close(fd);
    rmdir(name);
    return 0;
}

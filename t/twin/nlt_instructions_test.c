/*
 * nlt_instructions_test.c - how many instructions the hot paths take.
 *
 * A guard against slow changes that is no timing: the test runs itself under
 * callgrind, which counts the instructions of each function measured_*() here,
 * and holds them, per sample, against the numbers recorded below.  More than
 * MARGIN percent above them fails: either something got slower by accident,
 * or it was meant, and then the number is recorded anew, with its reason in
 * the commit.  Far below is only said.
 *
 * Numbers are those of gcc 12 with -O2 and of the libraries of Debian 12;
 * with another compiler, a sanitizer, or without valgrind nothing is counted.
 * Chunks are decoded in the lanes of AVX2, which valgrind has.
 * The input is always the same, but for the keys of hashes, which are secret
 * and change nothing that matters.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nightlight.h"
#include "nlt_rw2_build.h"
#include "nlt_pql_fn.h"
#include "nlt_rw_build.h"
#include "nlt_test.h"
#include "nlt_xor.h"

#define MARGIN 15 /* percent */

/* Keeps its name, which callgrind knows it by. */
#ifdef __clang__
#define MEASURED __attribute__((noinline))
#else
#define MEASURED __attribute__((noipa))
#endif

#define N_SERIES 500
#define ROUNDS   6
#define T0       INT64_C(1700000000000)
#define STEP_MS  15000
#define N_CHUNK  240
#define N_STEPS  40 /* windows of N_WINDOW samples in a chunk */
#define N_WINDOW 120

static const struct {
    const char *what;
    unsigned n;        /* samples, or series, that are measured */
    unsigned recorded; /* instructions for each */
} paths[] = {
    {"measured_new_1", N_SERIES, 9960},
    {"measured_new_2", N_SERIES, 14070},
    {"measured_write_1", N_SERIES *(ROUNDS - 1), 2120},
    {"measured_write_2", N_SERIES *(ROUNDS - 1), 2420},
    {"measured_append", N_SERIES *(ROUNDS - 1), 334},
    {"measured_encode", N_CHUNK, 97},
    {"measured_encode_tight", N_CHUNK, 245},
    {"measured_decode", N_CHUNK, 54},
    {"measured_instant", N_SERIES, 1952},
    {"measured_range", N_SERIES *ROUNDS, 709},
    {"measured_one", 1, 22930},
    {"measured_raw", N_SERIES, 4952},
    {"measured_raw_range", N_SERIES *ROUNDS, 1460},
    {"measured_values", N_SERIES, 862},
    {"measured_windows", N_STEPS *N_WINDOW, 28},
    {"measured_series", N_SERIES, 4010},
    {"measured_block_one", 1, 30240},
    {"measured_block_values", N_SERIES, 1207},
    {"measured_block_series", N_SERIES, 4240},
};

/* ---- what is measured ---- */

typedef struct {
    nlt_env_t env;
    nlt_store_conf_t conf;
    nlt_store_t *store;
    nlt_helper_t *helper;
    char root[64], path[96], head_path[96];
} fixture_t;

static int64_t
test_now(void *ctx)
{
    (void) ctx;
    return T0 + ROUNDS * STEP_MS;
}

static void
need(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "nlt_instructions_test: %s\n", what);
        exit(1);
    }
}

static void
write_body(fixture_t *f, nlt_str_t body, int version)
{
    const nlt_ingest_conf_t conf = {.labels = {64, 1024, 4096},
                                    .decoded_max = 32u << 20,
                                    .version = version};
    nlt_ingest_result_t res;
    nlt_ingest_req_t *r;

    need(nlt_ingest_begin(nlt_store_ingest(f->store), &conf, body, &r)
             == NLT_OK,
         "begin");
    while (nlt_ingest_run(r, &res) == NLT_AGAIN) {
    }
    need(res.status == 204, res.err.text);
}

MEASURED static void
measured_new_1(fixture_t *f, nlt_str_t body)
{
    write_body(f, body, 1);
}

MEASURED static void
measured_new_2(fixture_t *f, nlt_str_t body)
{
    write_body(f, body, 2);
}

MEASURED static void
measured_write_1(fixture_t *f, nlt_str_t body)
{
    write_body(f, body, 1);
}

MEASURED static void
measured_write_2(fixture_t *f, nlt_str_t body)
{
    write_body(f, body, 2);
}

MEASURED static void
measured_append(nlt_arena_t *a, nlt_head_sample_t *s, size_t n)
{
    size_t done;

    need(nlt_arena_append(a, s, n, &done) == NLT_OK && done == n, "append");
}

MEASURED static size_t
measured_encode(const int64_t *t_ms, const double *v, uint8_t *out)
{
    return nlt_xor_encode_chunk(t_ms, v, N_CHUNK, 0, out);
}

MEASURED static size_t
measured_encode_tight(const int64_t *t_ms, const double *v, uint8_t *out)
{
    return nlt_xor_encode_chunk(t_ms, v, N_CHUNK, 16, out);
}

MEASURED static void
measured_decode(const uint8_t *p, size_t len, int64_t *t_ms, double *v)
{
    need(nlt_xor_decode(p, len, N_CHUNK, t_ms, v, NULL, NULL) == NLT_OK,
         "decode");
}

static void
query(fixture_t *f, const char *path, const char *args)
{
    static char out[65536];
    const nlt_api_conf_t conf = {.timeout_ms = 600000,
                                 .samples_max = 500000000,
                                 .series_max = 50000000,
                                 .memory_max = UINT64_C(1) << 30,
                                 .lookback_ms = 300000};
    const nlt_api_request_t req = {.kind = NLT_API_QUERY,
                                   .method = NLT_HTTP_GET,
                                   .suffix = {strlen(path), path},
                                   .args = {strlen(args), args}};
    nlt_api_t *api;
    size_t len = 0, sum = 0;
    nlt_rc_t rc;

    need(nlt_api_create(&f->env, f->store, &conf, &req, &api) == NLT_OK,
         "query");
    nlt_api_run(api);
    need(nlt_api_answer(api)->status == 200, args);
    do {
        rc = nlt_api_render(api, out, sizeof(out), &len);
        sum += len;
    } while (rc == NLT_AGAIN);
    need(rc == NLT_OK && sum > 100, "answer");
    nlt_api_destroy(api);
}

MEASURED static void
measured_instant(fixture_t *f)
{
    query(f, "query",
          "query=sum%20by(mode)(last_over_time(v1[5m]))&time=1700000080");
}

MEASURED static void
measured_range(fixture_t *f)
{
    query(f, "query_range",
          "query=sum%20by(mode)(rate(v1[1m]))&start=1700000000&"
          "end=1700000080&step=15");
}

MEASURED static void
measured_one(fixture_t *f)
{
    query(f, "query", "query=v1%7Bcpu%3D%227%22%7D&time=1700000080");
}

MEASURED static void
measured_raw(fixture_t *f)
{
    query(f, "query", "query=v1&time=1700000080");
}

MEASURED static void
measured_raw_range(fixture_t *f)
{
    query(f, "query_range",
          "query=v1&start=1700000000&end=1700000075&step=15");
}

MEASURED static void
measured_values(fixture_t *f)
{
    query(f, "label/cpu/values", "match%5B%5D=v1");
}

MEASURED static void
measured_series(fixture_t *f)
{
    query(f, "series", "match%5B%5D=v1&start=1700000000&end=1700000080");
}

/* The same over a block. */

MEASURED static void
measured_block_one(fixture_t *f)
{
    query(f, "query", "query=v1%7Bcpu%3D%227%22%7D&time=1700000080");
}

MEASURED static void
measured_block_values(fixture_t *f)
{
    query(f, "label/cpu/values", "match%5B%5D=v1");
}

MEASURED static void
measured_block_series(fixture_t *f)
{
    query(f, "series", "match%5B%5D=v1&start=1700000000&end=1700000080");
}

/* Sums over overlapping windows; with the vectors of AVX2, as most have. */
MEASURED static void
measured_windows(nlt_pql_fctx_t *f, const nlt_pql_steps_t *s, double *out,
                 uint64_t *present)
{
    nlt_pql_steps_avg_over_time(f, s, out, present);
    nlt_pql_steps_stddev_over_time(f, s, out, present);
    nlt_pql_steps_deriv(f, s, out, present);
}

/* ---- input ---- */

static double
value(unsigned i, unsigned round)
{
    switch (i % 4) {
    case 0:
        return i * 1e6 + round * 15.0 * (1 + i % 7);
    case 1:
        return i * 1000 + round * 15.01 + (i * round % 13) / 100.0;
    case 2:
        return (i * 37 + round * 11) % 1000 / 10.0;
    default:
        return i;
    }
}

static void
label(rwb_t *b1, rw2b_t *b2, const char *name, const char *text)
{
    if (b1) {
        rwb_label(b1, name, text);
    } else {
        rw2b_label(b2, name, text);
    }
}

/* One of the two builders. */
static void
add_round(rwb_t *b1, rw2b_t *b2, unsigned round)
{
    static const char *const modes[] = {"idle", "system", "user"};
    char text[32];

    for (unsigned i = 0; i < N_SERIES; i++) {
        label(b1, b2, "__name__", b1 ? "v1" : "v2");
        label(b1, b2, "cluster", "production-eu-west-1");
        (void) snprintf(text, sizeof(text), "%u", i);
        label(b1, b2, "cpu", text);
        label(b1, b2, "datacenter", "dc1");
        label(b1, b2, "instance", "10.0.0.7:9100");
        label(b1, b2, "job", "node");
        label(b1, b2, "mode", modes[i % 3]);
        label(b1, b2, "region", "eu-west-1");
        if (b1) {
            rwb_sample(b1, T0 + round * STEP_MS, value(i, round));
            rwb_end(b1);
        } else {
            rw2b_sample(b2, T0 + round * STEP_MS, value(i, round));
            rw2b_end(b2);
        }
    }
}

static void
count_writes(fixture_t *f)
{
    rwb_t b1;
    rw2b_t b2;

    rwb_init(&b1);
    rw2b_init(&b2);
    for (unsigned round = 0; round < ROUNDS; round++) {
        rwb_reset(&b1);
        add_round(&b1, NULL, round);
        if (round == 0) {
            measured_new_1(f, rwb_snappy(&b1));
        } else {
            measured_write_1(f, rwb_snappy(&b1));
        }
        rw2b_reset(&b2);
        add_round(NULL, &b2, round);
        if (round == 0) {
            measured_new_2(f, rw2b_snappy(&b2));
        } else {
            measured_write_2(f, rw2b_snappy(&b2));
        }
    }
    rwb_free(&b1);
    rw2b_free(&b2);
}

/* Into an arena of its own. */
static void
count_append(const fixture_t *f)
{
    static nlt_head_sample_t s[N_SERIES];
    nlt_head_conf_t conf = {
        .env = &f->env, .memory_bytes = 24u << 20, .role = NLT_ROLE_HELPER};
    nlt_head_t *h = NULL;
    nlt_arena_t *a;
    nlt_err_t err;

    conf.dir_fd = open(f->root, O_RDONLY | O_DIRECTORY);
    need(nlt_head_create(&conf, 1, &h, &err) == NLT_OK, "a head");
    nlt_head_set_state(h, NLT_HEAD_OPEN);
    a = nlt_head_active(h);
    need(a != NULL, "an arena");
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < N_SERIES; i++) {
            char text[16];
            nlt_label_t l = {NLT_STR("l"), {0, text}};
            nlt_hash128_t key;

            l.value.len = (size_t) snprintf(text, sizeof(text), "%u", i);
            key = nlt_head_key(nlt_head_ctl(h), 0, text, l.value.len);
            s[i].t_ms = T0 + round * STEP_MS;
            s[i].v_bits = nlt_bits_of(value(i, round));
            need(round > 0
                     || nlt_arena_register(a, 0, (nlt_labels_t){&l, 1}, key,
                                           key, &s[i].series)
                            == NLT_OK,
                 "a series");
        }
        if (round == 0) {
            size_t done;

            need(nlt_arena_append(a, s, N_SERIES, &done) == NLT_OK, "first");
        } else {
            measured_append(a, s, N_SERIES);
        }
    }
    nlt_head_detach(h);
    (void) close(conf.dir_fd);
}

static void
count_codec(void)
{
    static int64_t t_ms[N_CHUNK];
    static double v[N_CHUNK];
    static uint8_t out[2 + (N_CHUNK + 1) * NLT_XOR_SAMPLE_BYTES_MAX];
    size_t len;

    for (unsigned i = 0; i < N_CHUNK; i++) {
        t_ms[i] = T0 + i * STEP_MS + (i % 10 == 3 ? i % 5 : 0);
        v[i] = value(i / 60 + 1, i);
    }
    len = measured_encode_tight(t_ms, v, out);
    measured_decode(out + 2, len - 2, t_ms, v);
    len = measured_encode(t_ms, v, out);
    need(len > 2, "encode");
}

static void
count_windows(void)
{
    static int64_t t_ms[N_CHUNK];
    static double v[N_CHUNK], out[N_STEPS];
    static uint32_t lo[N_STEPS], hi[N_STEPS];
    uint64_t present[N_STEPS / 64 + 1] = {0};
    nlt_pql_fctx_t f = {.rc = NLT_OK};
    const nlt_pql_steps_t s = {.t_ms = t_ms,
                               .v = v,
                               .n = N_CHUNK,
                               .lo = lo,
                               .hi = hi,
                               .n_steps = N_STEPS};

    for (unsigned i = 0; i < N_CHUNK; i++) {
        t_ms[i] = T0 + i * STEP_MS;
        v[i] = value(1, i);
    }
    for (uint32_t i = 0; i < N_STEPS; i++) {
        lo[i] = 3 * i;
        hi[i] = lo[i] + N_WINDOW;
    }
    measured_windows(&f, &s, out, present);
}

/* All there is becomes a block. */
static void
flush(fixture_t *f)
{
    nlt_head_counters_t *c = &nlt_store_ctl(f->store)->counters;
    uint64_t before = atomic_load(&c->flushes);

    nlt_helper_flush_soon(f->helper);
    for (int i = 0; i < 1000 && atomic_load(&c->flushes) == before; i++) {
        (void) nlt_helper_step(f->helper, NULL);
        nlt_store_tick(f->store);
    }
    need(atomic_load(&c->flushes) > before, "a flush");
}

static void
count_block(fixture_t *f)
{
    flush(f);
    for (int i = 0; i < 2; i++) {
        query(f, "query", "query=v1&time=1700000080");
    }
    measured_block_one(f);
    measured_block_values(f);
    measured_block_series(f);
}

/* What runs under callgrind. */
static int
measure(void)
{
    fixture_t f = {.root = "/dev/shm/nlt-instr-XXXXXX"};
    nlt_store_status_t status = {.ready = false};
    nlt_err_t err;

    need(mkdtemp(f.root) != NULL, "a directory");
    (void) snprintf(f.path, sizeof(f.path), "%s/data", f.root);
    (void) snprintf(f.head_path, sizeof(f.head_path), "%s/head", f.root);
    f.env = nlt_env_posix;
    f.env.now_ms = test_now;
    f.conf = (nlt_store_conf_t){.path = f.path,
                                .head_path = f.head_path,
                                .memory_bytes = UINT64_C(64) << 20,
                                .retention_ms = INT64_C(60) * 86400000,
                                .wal_sync_ms = NLT_WAL_SYNC_OFF,
                                .arena_age_ms = INT64_C(86400000)};
    need(
        mkdir(f.path, 0700) == 0
            && nlt_store_prepare_dir(&f.env, &f.conf, &err) == NLT_OK
            && nlt_helper_open(&f.env, &f.conf, &f.helper, &err) == NLT_OK
            && nlt_store_open(&f.env, &f.conf, NLT_ROLE_WORKER, &f.store, &err)
                   == NLT_OK,
        "open the store");
    for (int i = 0; i < 1000 && !status.ready; i++) {
        (void) nlt_helper_step(f.helper, NULL);
        nlt_store_tick(f.store);
        nlt_store_status(f.store, &status);
    }
    need(status.ready, "not ready");
    count_writes(&f);
    for (int i = 0; i < 2; i++) {
        /* The first ones allocate what the next ones find. */
        query(&f, "query", "query=v1&time=1700000080");
    }
    measured_instant(&f);
    measured_range(&f);
    measured_one(&f);
    measured_raw(&f);
    measured_raw_range(&f);
    measured_values(&f);
    measured_series(&f);
    count_block(&f);
    count_append(&f);
    count_codec();
    count_windows();
    nlt_store_close(f.store);
    nlt_helper_close(f.helper);
    return nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, f.root, &err) != NLT_OK;
}

/* ---- the guard ---- */

static const char *self;
static char dir[] = "/tmp/nlt-instr-XXXXXX";

/* Why nothing can be counted here, or NULL. */
static const char *
unable(void)
{
#if defined(__clang__) || defined(__SANITIZE_ADDRESS__)                       \
    || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)                 \
    || !defined(__x86_64__) || __GNUC__ != 12
    return "numbers are of gcc 12, x86_64, without sanitizers";
#else
    return system("valgrind --version > /dev/null 2>&1") == 0
               ? NULL
               : "valgrind is not installed";
#endif
}

/* Adds the file of one dump to counts[]. */
static void
add_dump(const char *name, uint64_t *counts)
{
    char line[512], what[64] = "";
    FILE *file = fopen(name, "r");

    NLT_CHECK(file != NULL);
    while (file && fgets(line, sizeof(line), file)) {
        unsigned long long n;

        if (sscanf(line, "desc: Trigger: --dump-after=%63s", what) == 1
            || sscanf(line, "totals: %llu", &n) != 1) {
            continue;
        }
        for (size_t i = 0; i < NLT_COUNT(paths); i++) {
            counts[i] += strcmp(paths[i].what, what) == 0 ? n : 0;
        }
    }
    if (file) {
        (void) fclose(file);
    }
}

static void
hot_paths_take_no_more_instructions_than_recorded(void)
{
    uint64_t counts[NLT_COUNT(paths)] = {0};
    char cmd[2048], name[64];
    int n, status;

    NLT_CHECK(mkdtemp(dir) != NULL);
    n = snprintf(cmd, sizeof(cmd),
                 "valgrind --tool=callgrind --collect-atstart=no "
                 "'--toggle-collect=measured_*' "
                 "--log-file=%s/log --callgrind-out-file=%s/out",
                 dir, dir);
    for (size_t i = 0; i < NLT_COUNT(paths); i++) {
        n += snprintf(cmd + n, sizeof(cmd) - (size_t) n, " --dump-after=%s",
                      paths[i].what);
    }
    n += snprintf(cmd + n, sizeof(cmd) - (size_t) n, " '%s' measure", self);
    NLT_CHECK((size_t) n < sizeof(cmd));
    status = system(cmd);
    NLT_CHECK_INT(status, 0);
    for (unsigned i = 1; i < 1000; i++) {
        (void) snprintf(name, sizeof(name), "%s/out.%u", dir, i);
        if (access(name, R_OK) != 0) {
            break;
        }
        add_dump(name, counts);
        (void) unlink(name);
    }
    for (size_t i = 0; i < NLT_COUNT(paths); i++) {
        uint64_t each = counts[i] / paths[i].n;
        uint64_t most = paths[i].recorded * (100 + MARGIN) / 100;

        printf("# %s: %llu instructions, recorded %u\n", paths[i].what,
               (unsigned long long) each, paths[i].recorded);
        NLT_CHECK(each > 0);
        NLT_CHECK(each <= most);
        if (each < paths[i].recorded * (100u - MARGIN) / 100) {
            printf("# that is less: record it\n");
        }
    }
    (void) snprintf(name, sizeof(name), "%s/out", dir);
    (void) unlink(name);
    (void) snprintf(name, sizeof(name), "%s/log", dir);
    (void) unlink(name);
    NLT_CHECK_INT(rmdir(dir), 0);
}

int
main(int argc, char **argv)
{
    const char *why;

    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "measure") == 0) {
        return measure();
    }
    why = unable();
    if (why != NULL) {
        printf("1..0 # SKIP %s\n", why);
        return 0;
    }
    NLT_TEST(hot_paths_take_no_more_instructions_than_recorded);
    return nlt_test_done();
}

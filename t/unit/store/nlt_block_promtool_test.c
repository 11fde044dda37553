/*
 * nlt_block_promtool_test.c - Prometheus's own tool opens what we write.
 *
 * Without promtool in the path there is nothing to ask, and the tests say so.
 */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_block_write.h"
#include "nlt_test.h"
#include "nlt_xor.h"

#define N_SERIES  40
#define N_SAMPLES 700
#define CHUNK     240
#define T0_MS     INT64_C(1699999200000) /* a border of two hours */
#define SPAN_MS   (4 * 3600 * 1000)

static char dir_name[] = "/tmp/nlt-block-promtool-XXXXXX";
static nlt_block_meta_t meta;
static int64_t sample_t[N_SERIES][N_SAMPLES];
static double sample_v[N_SERIES][N_SAMPLES];
static char instance[N_SERIES][16];

static double
value_of(size_t s, size_t i)
{
    static const double odd[] = {-0.0, 5e-324, 1.7976931348623157e308, 1e21};

    switch (s % 5) {
    case 0:
        return (double) (i * 7 % 50);
    case 1:
        return i % 50 == 3 ? nlt_double_of(NLT_STALE_NAN_BITS)
                           : (double) i / 3;
    case 2:
        return i % 9 ? (double) (i % 9) : odd[i / 9 % 4];
    case 3:
        return i % 20 ? 42 : (i % 40 ? INFINITY : -INFINITY);
    default:
        return 0.1 * (double) (s + i * i % 1000);
    }
}

static nlt_rc_t
write_series(nlt_block_writer_t *w, size_t s, nlt_err_t *err)
{
    static uint8_t bytes[N_SAMPLES * (NLT_XOR_SAMPLE_BYTES_MAX + 1)];
    nlt_label_t labels[3] = {
        {NLT_METRIC_NAME, NLT_STR("m\xc3\xa9tric")},
        {NLT_STR("instance"), {strlen(instance[s]), instance[s]}},
        {NLT_STR("job"), s % 2 ? NLT_STR("odd") : NLT_STR("even")}};
    nlt_block_chunk_t chunks[N_SAMPLES / CHUNK + 1];
    size_t n = 0, used = 0;

    for (size_t i = 0; i < N_SAMPLES; i++) {
        sample_t[s][i] = T0_MS + (int64_t) (i * 15000 + (i * i + s) % 11);
        sample_v[s][i] = value_of(s, i);
    }
    for (size_t i = 0; i < N_SAMPLES; i += CHUNK) {
        size_t k = i + CHUNK < N_SAMPLES ? CHUNK : N_SAMPLES - i;
        size_t len = nlt_xor_encode_chunk(sample_t[s] + i, sample_v[s] + i, k,
                                          s % 4 ? 16 : 0, bytes + used);

        chunks[n++] = (nlt_block_chunk_t){sample_t[s][i],
                                          sample_t[s][i + k - 1],
                                          1,
                                          (uint32_t) k,
                                          {len, (const char *) bytes + used}};
        used += len;
    }
    return nlt_block_writer_series(w, (nlt_labels_t){labels, 3}, chunks, n,
                                   err);
}

static nlt_rc_t
write_block(int dir_fd, nlt_err_t *err)
{
    nlt_str_t symbols[N_SERIES + 6];
    size_t n = 0;
    nlt_block_writer_t *w;
    nlt_rc_t rc;

    meta = (nlt_block_meta_t){.t_min_ms = T0_MS, .t_end_ms = T0_MS + SPAN_MS};
    rc = nlt_ulid_new(T0_MS, &meta.ulid);
    if (rc == NLT_OK) {
        rc = nlt_block_writer_open(&nlt_env_posix, dir_fd, &meta, &w, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    symbols[n++] = NLT_METRIC_NAME;
    symbols[n++] = NLT_STR("even");
    for (size_t s = 0; s < N_SERIES; s++) {
        snprintf(instance[s], sizeof(instance[s]), "host%02zu", s);
        symbols[n++] = (nlt_str_t){strlen(instance[s]), instance[s]};
    }
    symbols[n++] = NLT_STR("instance");
    symbols[n++] = NLT_STR("job");
    symbols[n++] = NLT_STR("m\xc3\xa9tric");
    symbols[n++] = NLT_STR("odd");
    rc = nlt_block_writer_symbols(w, symbols, n, err);
    for (size_t s = 0; s < N_SERIES && rc == NLT_OK; s++) {
        rc = write_series(w, s, err);
    }
    if (rc != NLT_OK) {
        nlt_block_writer_abort(w);
        return rc;
    }
    return nlt_block_writer_finish(w, &meta, err);
}

/* Runs promtool tsdb ARGS; a stream of what it says. */
static FILE *
promtool(const char *args)
{
    char cmd[512];

    snprintf(cmd, sizeof(cmd), "promtool tsdb %s 2>&1", args);
    return popen(cmd, "r");
}

static bool
says(FILE *f, const char *what, int *status)
{
    char line[4096];
    bool found = false;

    while (fgets(line, sizeof(line), f)) {
        found |= strstr(line, what) != NULL;
    }
    *status = pclose(f);
    return found;
}

static void
promtool_lists_the_block(void)
{
    char args[256];
    int status;

    snprintf(args, sizeof(args), "list %s", dir_name);
    NLT_CHECK(says(promtool(args), meta.ulid.c, &status));
    NLT_CHECK_INT(status, 0);
}

static void
promtool_analyzes_the_block(void)
{
    char args[256];
    int status;

    snprintf(args, sizeof(args), "analyze %s %s", dir_name, meta.ulid.c);
    NLT_CHECK(says(promtool(args), "Series: 40", &status));
    NLT_CHECK_INT(status, 0);
}

/* {labels} value time, sample by sample. */
static void
promtool_dumps_every_sample(void)
{
    char args[256], line[4096], labels[256];
    size_t s = 0, i = 0;
    FILE *f;

    snprintf(args, sizeof(args), "dump %s", dir_name);
    f = promtool(args);
    while (fgets(line, sizeof(line), f)) {
        char *close = strrchr(line, '}'), *end;

        if (close == NULL || s == N_SERIES) {
            NLT_CHECK(close != NULL && s < N_SERIES);
            printf("# %s", line);
            break;
        }
        snprintf(labels, sizeof(labels),
                 "{__name__=\"m\xc3\xa9tric\", instance=\"%s\", job=\"%s\"}",
                 instance[s], s % 2 ? "odd" : "even");
        NLT_CHECK(strncmp(line, labels, strlen(labels)) == 0);

        double v = strtod(close + 1, &end);

        if (isnan(sample_v[s][i])) {
            NLT_CHECK(isnan(v));
        } else {
            NLT_CHECK_BITS(v, sample_v[s][i]);
        }
        NLT_CHECK_INT(strtoll(end, NULL, 10), sample_t[s][i]);
        i++;
        if (i == N_SAMPLES) {
            i = 0;
            s++;
        }
    }
    NLT_CHECK_INT(pclose(f), 0);
    NLT_CHECK_INT(s, N_SERIES);
}

int
main(void)
{
    nlt_err_t err;
    int dir_fd;

    if (system("promtool --version >/dev/null 2>&1") != 0) {
        printf("1..0 # SKIP promtool is not installed\n");
        return 0;
    }
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    if (mkdirat(dir_fd, "wal", 0700) != 0) { /* promtool wants one */
        return 1;
    }
    if (write_block(dir_fd, &err) != NLT_OK) {
        printf("Bail out! %s\n", err.text);
        return 1;
    }
    NLT_TEST(promtool_lists_the_block);
    NLT_TEST(promtool_analyzes_the_block);
    NLT_TEST(promtool_dumps_every_sample);
    if (getenv("NLT_TEST_KEEP")) {
        printf("# kept: %s\n", dir_name);
    } else if (nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, dir_name, &err)
               != NLT_OK) {
        printf("# %s\n", err.text);
    }
    close(dir_fd);
    return nlt_test_done();
}

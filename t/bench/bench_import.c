/*
 * bench_import.c - what it costs to take a block from import/, and how long
 * the helper's other work has to wait meanwhile.
 *
 *   bench_import [series] [samples a series] [directory]
 *                default 100000, 240, /tmp
 *
 * Series have 10 labels, 500 of an instance; samples are counters every 15 s.
 * One import links its files, one copies them.  `gap` is the longest time
 * between two calls of poll, `sync` of it the longest that the disk took.
 * One thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "nlt_block.h"
#include "nlt_block_write.h"
#include "nlt_import.h"
#include "nlt_xor.h"

#define T0         INT64_C(1700000000000)
#define N_LABELS   10
#define A_INSTANCE 500

static int64_t skew_ns; /* makes blocks settle at once */
static double last_poll, gap_max, sync_max;
static nlt_io_t io;

static double
now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static int64_t
skewed_mono(void *ctx)
{
    (void) ctx;
    return (int64_t) (now_s() * 1e9) + skew_ns;
}

static int64_t
bench_now(void *ctx)
{
    (void) ctx;
    return T0 + 24 * 3600 * 1000;
}

static void
die(const char *what, const nlt_err_t *err)
{
    fprintf(stderr, "bench_import: %s: %s\n", what, err->text);
    exit(1);
}

static nlt_rc_t
poll_cb(void *ctx)
{
    double now = now_s();

    (void) ctx;
    gap_max = now - last_poll > gap_max ? now - last_poll : gap_max;
    last_poll = now;
    return NLT_OK;
}

static int
timed_fsync(void *ctx, int fd)
{
    double begin = now_s();
    int rc = nlt_io_posix.fsync(ctx, fd);

    sync_max = now_s() - begin > sync_max ? now_s() - begin : sync_max;
    return rc;
}

static int
no_link(void *ctx, int dir_fd, const char *name, int to_fd,
        const char *to_name)
{
    (void) ctx, (void) dir_fd, (void) name, (void) to_fd, (void) to_name;
    return -EXDEV;
}

/* ---- the block ---- */

static const char *const names[N_LABELS] = {
    "__name__", "az",  "code",   "env",    "handler",
    "instance", "job", "method", "region", "zone"};

/* Value of label l of series i; series ascend in label order. */
static nlt_str_t
value_of(unsigned i, unsigned l, char *out)
{
    unsigned metric = i / 5000, rest = i % 5000;
    size_t n;

    switch (l) {
    case 0:
        n = (size_t) sprintf(out, "metric_%05u_total", metric);
        break;
    case 4:
        n = (size_t) sprintf(out, "/api/v1/handler_%03u", rest % A_INSTANCE);
        break;
    case 5:
        n = (size_t) sprintf(out, "host-%04u:9100", rest / A_INSTANCE);
        break;
    default:
        n = (size_t) sprintf(out, "%s-value", names[l]);
        break;
    }
    return (nlt_str_t){n, out};
}

static int
cmp_str(const void *a, const void *b)
{
    return nlt_str_cmp(*(const nlt_str_t *) a, *(const nlt_str_t *) b);
}

static void
write_symbols(nlt_block_writer_t *w, unsigned n_series)
{
    size_t cap = n_series / 5000 + A_INSTANCE + 1100, n = 0, k = 0;
    char(*text)[48] = malloc(cap * sizeof(*text));
    nlt_str_t *sym = malloc(cap * sizeof(*sym));
    nlt_err_t err;

    for (unsigned l = 0; l < N_LABELS; l++) {
        sym[n++] = (nlt_str_t){strlen(names[l]), names[l]};
        if (l != 0 && l != 4 && l != 5) {
            sym[n] = value_of(0, l, text[n]);
            n++;
        }
    }
    for (unsigned i = 0; i < n_series; i += 5000, n++) {
        sym[n] = value_of(i, 0, text[n]);
    }
    for (unsigned i = 0; i < A_INSTANCE; i++, n++) {
        sym[n] = value_of(i, 4, text[n]);
    }
    for (unsigned i = 0; i < 5000; i += A_INSTANCE, n++) {
        sym[n] = value_of(i, 5, text[n]);
    }
    qsort(sym, n, sizeof(*sym), cmp_str);
    for (size_t i = 0; i < n; i++) {
        if (k == 0 || !nlt_str_eq(sym[k - 1], sym[i])) {
            sym[k++] = sym[i];
        }
    }
    if (nlt_block_writer_symbols(w, sym, k, &err) != NLT_OK) {
        die("symbols", &err);
    }
    free(sym);
    free(text);
}

/* Label order: metric, ..., handler, instance. */
static unsigned
in_order(unsigned k)
{
    unsigned metric = k / 5000, rest = k % 5000;

    return metric * 5000 + rest % 10 * A_INSTANCE + rest / 10;
}

static nlt_ulid_t
write_block(int dir_fd, unsigned n_series, unsigned n_samples)
{
    nlt_block_meta_t meta = {
        .t_min_ms = T0,
        .t_end_ms = T0 + 15000 * (int64_t) n_samples,
        .level = 1,
    };
    int64_t *t = malloc(n_samples * sizeof(*t));
    double *v = malloc(n_samples * sizeof(*v));
    uint8_t *out = malloc(nlt_xor_chunk_bytes_max(n_samples));
    nlt_label_t labels[N_LABELS];
    char text[N_LABELS][48];
    nlt_block_writer_t *w;
    nlt_err_t err;

    if (nlt_ulid_new(T0, &meta.ulid) != NLT_OK
        || nlt_block_writer_open(&nlt_env_posix, dir_fd, &meta, &w, &err)
               != NLT_OK) {
        die("block", &err);
    }
    write_symbols(w, n_series);
    for (unsigned k = 0; k < n_series; k++) {
        unsigned i = in_order(k);
        nlt_block_chunk_t c;

        for (unsigned l = 0; l < N_LABELS; l++) {
            labels[l].name = (nlt_str_t){strlen(names[l]), names[l]};
            labels[l].value = value_of(i, l, text[l]);
        }
        for (unsigned s = 0; s < n_samples; s++) {
            t[s] = T0 + 15000 * (int64_t) s + (i * 7 + s * 13) % 20;
            v[s] = 1000.0 * i + s * (i % 97 + 1) + (s * i) % 11;
        }
        c = (nlt_block_chunk_t){
            t[0], t[n_samples - 1], 1, n_samples, {0, (const char *) out}};
        c.data.len = nlt_xor_encode_chunk(t, v, n_samples, 0, out);
        if (nlt_block_writer_series(w, (nlt_labels_t){labels, N_LABELS}, &c, 1,
                                    &err)
            != NLT_OK) {
            die("series", &err);
        }
    }
    if (nlt_block_writer_finish(w, &meta, &err) != NLT_OK) {
        die("finish", &err);
    }
    free(out);
    free(v);
    free(t);
    return meta.ulid;
}

/* ---- measuring ---- */

static void
report(const char *what, double seconds, unsigned n_series, unsigned n_samples,
       uint64_t bytes)
{
    printf("{\"bench\":\"import\",\"what\":\"%s\",\"series\":%u,"
           "\"samples\":%.0f,\"bytes\":%llu,\"seconds\":%.3f,"
           "\"us_per_series\":%.2f,\"gap_ms\":%.1f,\"sync_ms\":%.1f}\n",
           what, n_series, (double) n_series * n_samples,
           (unsigned long long) bytes, seconds, seconds * 1e6 / n_series,
           gap_max * 1e3, sync_max * 1e3);
}

static void
check(int dir_fd, const nlt_ulid_t *u, const char *what, unsigned n_series,
      unsigned n_samples)
{
    nlt_block_t *b;
    nlt_pool_t pool;
    nlt_err_t err;
    double begin;

    nlt_pool_init(&pool, &nlt_mem_libc, 512 << 20);
    if (nlt_block_open(&nlt_env_posix, dir_fd, u->c, &b, &err) != NLT_OK) {
        die("open", &err);
    }
    begin = last_poll = now_s();
    gap_max = sync_max = 0;
    if (nlt_block_check(b, &pool, poll_cb, NULL, NULL, &err) != NLT_OK) {
        die("check", &err);
    }
    (void) poll_cb(NULL);
    report(what, now_s() - begin, n_series, n_samples, pool.used_bytes);
    nlt_block_close(b);
    nlt_pool_deinit(&pool);
}

static void
take(const nlt_env_t *env, int dir_fd, int blocks_fd, const char *what,
     unsigned n_series, unsigned n_samples)
{
    nlt_import_conf_t conf = {env, dir_fd, blocks_fd, 0, {0}};
    nlt_manifest_t m;
    nlt_import_look_t look = {&m, INT64_MIN, poll_cb, NULL};
    nlt_import_result_t r;
    nlt_import_t *im;
    nlt_err_t err;
    double begin;

    nlt_manifest_init(&m, env->mem, NULL);
    if (nlt_import_create(&conf, &im, &err) != NLT_OK
        || nlt_import_look(im, &look, &r, &err) != NLT_OK) {
        die("look", &err);
    }
    skew_ns += 3000000000;
    begin = last_poll = now_s();
    gap_max = sync_max = 0;
    if (nlt_import_look(im, &look, &r, &err) != NLT_OK || !r.found
        || nlt_import_done(im, r.block.ulid.c, &err) != NLT_OK) {
        die("take", &err);
    }
    (void) poll_cb(NULL);
    report(what, now_s() - begin, n_series, n_samples, r.block.bytes);
    nlt_import_destroy(im);
    nlt_manifest_deinit(&m);
}

int
main(int argc, char **argv)
{
    unsigned n_series = argc > 1 ? (unsigned) atoi(argv[1]) : 100000;
    unsigned n_samples = argc > 2 ? (unsigned) atoi(argv[2]) : 240;
    char dir[200];
    int fd, import_fd, blocks_fd;
    nlt_env_t env = nlt_env_posix;
    nlt_err_t err;
    nlt_ulid_t u;

    snprintf(dir, sizeof(dir), "%s/nlt-bench-XXXXXX",
             argc > 3 ? argv[3] : "/tmp");
    if (mkdtemp(dir) == NULL || (fd = open(dir, O_RDONLY | O_DIRECTORY)) < 0) {
        perror(dir);
        return 1;
    }
    (void) mkdirat(fd, "import", 0700);
    (void) mkdirat(fd, "blocks", 0700);
    import_fd = openat(fd, "import", O_RDONLY | O_DIRECTORY);
    blocks_fd = openat(fd, "blocks", O_RDONLY | O_DIRECTORY);
    io = nlt_io_posix;
    io.fsync = timed_fsync;
    env.io = &io;
    env.mono_ns = skewed_mono;
    env.now_ms = bench_now;
    u = write_block(import_fd, n_series, n_samples);
    check(import_fd, &u, "check", n_series, n_samples);
    take(&env, fd, blocks_fd, "linked", n_series, n_samples);
    (void) write_block(import_fd, n_series, n_samples);
    io.link = no_link;
    take(&env, fd, blocks_fd, "copied", n_series, n_samples);
    if (nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, dir, &err) != NLT_OK) {
        die("remove", &err);
    }
    return 0;
}

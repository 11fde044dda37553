/*
 * nlt_golden_test.c - files of every version on disk are read for ever.
 *
 * t/golden/NAME.hex has the bytes of files as a released version wrote them:
 *
 *     # for people
 *     == chunks/000001
 *     85bd40dd 01000000 ...
 *
 * A new version of a format gets a file of its own; the old ones stay as they
 * are.  `nlt_golden_test.t --write` shows what the present program writes, to
 * make one of.  MANIFEST, DELETES, METADATA and tombstones are text or a few
 * bytes, and have theirs in the tests of their own.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_block.h"
#include "nlt_block_dense.h"
#include "nlt_block_write.h"
#include "nlt_filenames.h"
#include "nlt_hash.h"
#include "nlt_test.h"
#include "nlt_wal.h"
#include "nlt_xor.h"

#define ARENA 7
#define T0    INT64_C(1767225600000) /* 2026-01-01 */
#define ULID  "01KDVDQD0000000000G0XDENXX"
#define DENSE "01KDVDQD0000000000G0XDENXY" /* a block of dense chunks */

static const uint8_t store_id[NLT_WAL_ID_BYTES] = "nightlight test";
static char dir_name[] = "/tmp/nlt-golden-XXXXXX";
static int dir_fd;
static nlt_err_t err;

/* Values that a codec could lose: bits are compared. */
static const uint64_t values[] = {
    0x4029000000000000, /* 12.5 */
    0x3fb999999999999a, /* 0.1 */
    0x7ff0000000000002, /* stale */
    0x7ff8000000000001, /* NaN */
    0xfff0000000000000, /* -Inf */
    0x8000000000000000, /* -0 */
    0x0000000000000001, /* the smallest */
    0x4340000000000001, /* 2^53 + 2 */
};

#define N NLT_COUNT(values)

static const char canonical[] = "\x0a\x0e\x0a\x08__name__\x12\x02up"
                                "\x0a\x0a\x0a\x03job\x12\x03"
                                "api";

/* ---- hex ---- */

/* Writes the files of NAME.hex below dir_fd; false: there is none. */
static bool
unpack(const char *name)
{
    char path[256], line[4096], file[256] = "";
    int fd = -1;
    FILE *f;

    (void) snprintf(path, sizeof(path), "t/golden/%s.hex", name);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "== %255s", file) == 1) {
            if (fd >= 0) {
                (void) close(fd);
            }
            fd = openat(dir_fd, file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
            NLT_CHECK(fd >= 0);
            continue;
        }
        for (const char *p = line; line[0] != '#' && *p != '\n'; p++) {
            unsigned byte;
            uint8_t b;

            if (*p != ' ' && sscanf(p, "%2x", &byte) == 1) {
                b = (uint8_t) byte;
                NLT_CHECK_INT(write(fd, &b, 1), 1);
                p++;
            }
        }
    }
    if (fd >= 0) {
        (void) close(fd);
    }
    if (f != NULL) {
        (void) fclose(f);
    }
    return f != NULL;
}

static void
show(const char *name)
{
    int c, n = 0, fd = openat(dir_fd, name, O_RDONLY);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");

    printf("== %s\n", name);
    while (f != NULL && (c = fgetc(f)) != EOF) {
        printf("%02x%s", (unsigned) c,
               ++n % 32 == 0 ? "\n"
               : n % 4 == 0  ? " "
                             : "");
    }
    printf(n % 32 ? "\n" : "");
    if (f != NULL) {
        (void) fclose(f);
    }
}

/* ---- the log ---- */

typedef struct {
    size_t n_series;
    size_t n;
    bool right;
} seen_t;

static nlt_rc_t
on_series(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t labels)
{
    seen_t *s = ctx;

    s->n_series++;
    s->right &=
        series == 3 && tenant == 0 && nlt_str_eq(labels, NLT_STR(canonical));
    return NLT_OK;
}

static nlt_rc_t
on_samples(void *ctx, const nlt_wal_sample_t *v, size_t n)
{
    seen_t *s = ctx;

    for (size_t i = 0; i < n; i++, s->n++) {
        s->right &= s->n < N && v[i].series == 3
                    && v[i].t_ms == T0 + 15000 * (int64_t) s->n
                    && v[i].v_bits == values[s->n];
    }
    return NLT_OK;
}

static void
log_of_version_1_is_read(void)
{
    static uint8_t data[4096];
    seen_t seen = {.right = true};
    nlt_wal_read_cb_t cb = {
        .ctx = &seen, .series = on_series, .samples = on_samples};
    nlt_wal_stats_t stats;
    char name[NLT_WAL_NAME_SIZE];
    ssize_t n;
    int fd;

    NLT_CHECK(unpack("wal-1"));
    nlt_wal_name(name, ARENA);
    fd = openat(dir_fd, name, O_RDONLY);
    n = read(fd, data, sizeof(data));
    NLT_CHECK(n > 0);
    (void) close(fd);
    NLT_CHECK_INT(nlt_wal_read(&nlt_env_posix, data, (size_t) n, store_id, &cb,
                               &stats, &err),
                  NLT_OK);
    NLT_CHECK_INT(stats.skipped_bytes, 0);
    NLT_CHECK_INT(stats.arena_no, ARENA);
    NLT_CHECK_INT(seen.n_series, 1);
    NLT_CHECK_INT(seen.n, N);
    NLT_CHECK(seen.right);
}

static void
write_log(void)
{
    char name[NLT_WAL_NAME_SIZE];
    nlt_wal_t *w;
    size_t bytes;

    NLT_CHECK_INT(
        nlt_wal_create(&nlt_env_posix, dir_fd, store_id, ARENA, T0, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_wal_open(&nlt_env_posix, dir_fd, ARENA, &w, &err),
                  NLT_OK);
    nlt_wal_begin(w);
    nlt_wal_add_series(w, 3, 0, NLT_STR(canonical));
    for (size_t i = 0; i < N; i++) {
        nlt_wal_add_sample(w, 3, T0 + 15000 * (int64_t) i, values[i]);
    }
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_OK);
    nlt_wal_close(w);
    nlt_wal_name(name, ARENA);
    show(name);
}

/* ---- exemplars and metadata in the log ---- */

static const nlt_wal_exemplar_t exemplars[] = {
    {3,
     T0,
     0x3fe0000000000000,
     {12, "\x08trace_id\x02"
          "ab"}},
    {3, T0 - 1, 0x7ff8000000000001, {0, NULL}},
};

static const nlt_wal_metadata_t families[] = {
    {0, 1, T0, {2, "up"}, {5, "Up\xc3\xa9."}, {0, NULL}},
    {4000000000, 7, -5, {1, "s"}, {0, NULL}, {7, "seconds"}},
};

static nlt_rc_t
on_exemplar(void *ctx, const nlt_wal_exemplar_t *x)
{
    seen_t *s = ctx;
    const nlt_wal_exemplar_t *w = &exemplars[s->n_series++];

    s->right &= x->series == w->series && x->t_ms == w->t_ms
                && x->v_bits == w->v_bits && nlt_str_eq(x->labels, w->labels);
    return NLT_OK;
}

static nlt_rc_t
on_metadata(void *ctx, const nlt_wal_metadata_t *x)
{
    seen_t *s = ctx;
    const nlt_wal_metadata_t *w = &families[s->n++];

    s->right &= x->tenant == w->tenant && x->type == w->type
                && x->t_ms == w->t_ms && nlt_str_eq(x->name, w->name)
                && nlt_str_eq(x->help, w->help)
                && nlt_str_eq(x->unit, w->unit);
    return NLT_OK;
}

static nlt_rc_t
no_series(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t labels)
{
    (void) ctx;
    (void) series;
    (void) tenant;
    (void) labels;
    return NLT_EBUG;
}

static void
exemplars_and_metadata_of_version_1_are_read(void)
{
    static uint8_t data[4096];
    seen_t seen = {.right = true};
    nlt_wal_read_cb_t cb = {.ctx = &seen,
                            .series = no_series,
                            .exemplar = on_exemplar,
                            .metadata = on_metadata};
    nlt_wal_stats_t stats;
    char name[NLT_WAL_NAME_SIZE];
    ssize_t n;
    int fd;

    NLT_CHECK(unpack("wal-1-side"));
    nlt_wal_name(name, ARENA + 1);
    fd = openat(dir_fd, name, O_RDONLY);
    n = read(fd, data, sizeof(data));
    NLT_CHECK(n > 0);
    (void) close(fd);
    NLT_CHECK_INT(nlt_wal_read(&nlt_env_posix, data, (size_t) n, store_id, &cb,
                               &stats, &err),
                  NLT_OK);
    NLT_CHECK_INT(stats.skipped_bytes, 0);
    NLT_CHECK_INT(stats.exemplars, NLT_COUNT(exemplars));
    NLT_CHECK_INT(stats.metadata, NLT_COUNT(families));
    NLT_CHECK_INT(seen.n_series, NLT_COUNT(exemplars));
    NLT_CHECK_INT(seen.n, NLT_COUNT(families));
    NLT_CHECK(seen.right);
}

static void
write_side(void)
{
    char name[NLT_WAL_NAME_SIZE];
    nlt_wal_t *w;
    size_t bytes;

    NLT_CHECK_INT(
        nlt_wal_create(&nlt_env_posix, dir_fd, store_id, ARENA + 1, T0, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_wal_open(&nlt_env_posix, dir_fd, ARENA + 1, &w, &err),
                  NLT_OK);
    nlt_wal_begin(w);
    for (size_t i = 0; i < NLT_COUNT(exemplars); i++) {
        nlt_wal_add_exemplar(w, &exemplars[i]);
        nlt_wal_add_metadata(w, &families[i]);
    }
    NLT_CHECK_INT(nlt_wal_commit(w, &bytes, &err), NLT_OK);
    nlt_wal_close(w);
    nlt_wal_name(name, ARENA + 1);
    show(name);
}

/* ---- a block ---- */

static void
read_block(const char *name, const char *ulid, uint8_t encoding)
{
    nlt_matcher_t m = {
        .name = NLT_STR("job"), .op = NLT_MATCH_EQ, .value = NLT_STR("api")};
    nlt_block_series_t *id = NULL;
    nlt_samples_t s = {.n = 0};
    nlt_labels_t labels = {NULL, 0};
    nlt_block_raw_chunk_t *c = NULL;
    nlt_block_t *b = NULL;
    size_t n = 0, n_chunks = 0;
    nlt_pool_t pool;
    char chunks[64];

    (void) snprintf(chunks, sizeof(chunks), "%s/chunks", ulid);
    NLT_CHECK_INT(mkdirat(dir_fd, ulid, 0700), 0);
    NLT_CHECK_INT(mkdirat(dir_fd, chunks, 0700), 0);
    NLT_CHECK(unpack(name));
    nlt_pool_init(&pool, &nlt_mem_libc, 16u << 20);
    s.pool = &pool;
    NLT_CHECK_INT(nlt_block_open(&nlt_env_posix, dir_fd, ulid, &b, &err),
                  NLT_OK);
    if (b == NULL) {
        printf("# %s\n", err.text);
        return;
    }
    NLT_CHECK_INT(nlt_block_validate(b, &pool, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_select(b, &pool, &m, 1, &id, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK_INT(nlt_block_labels(b, id[0], &pool, &labels, &err), NLT_OK);
    NLT_CHECK_INT(labels.n, 2);
    NLT_CHECK_STR(labels.v[0].value, "up");
    NLT_CHECK_INT(nlt_block_chunks(b, id[0], &pool, &c, &n_chunks, &err),
                  NLT_OK);
    NLT_CHECK_INT(n_chunks, 1);
    NLT_CHECK_INT(c[0].encoding, encoding);
    NLT_CHECK_INT(nlt_block_read(b, id[0], INT64_MIN, INT64_MAX, &s, &err),
                  NLT_OK);
    NLT_CHECK_INT(s.n, N);
    for (size_t i = 0; i < s.n && i < N; i++) {
        NLT_CHECK_INT(s.t_ms[i], T0 + 15000 * (int64_t) i);
        NLT_CHECK(nlt_bits_of(s.v[i]) == values[i]);
    }
    nlt_block_close(b);
    nlt_pool_deinit(&pool);
}

static void
block_of_version_1_is_read(void)
{
    read_block("block-1", ULID, 1);
}

static void
dense_block_of_version_1_is_read(void)
{
    read_block("block-dense-1", DENSE, NLT_CHUNK_DENSE);
}

static void
show_file(const char *ulid, const char *name)
{
    char path[64];

    (void) snprintf(path, sizeof(path), "%s/%s", ulid, name);
    show(path);
}

static void
write_block(const char *ulid, bool dense)
{
    static nlt_dense_work_t work;
    static const nlt_str_t symbols[] = {NLT_STR("__name__"), NLT_STR("api"),
                                        NLT_STR("job"), NLT_STR("up")};
    nlt_label_t l[] = {{NLT_STR("__name__"), NLT_STR("up")},
                       {NLT_STR("job"), NLT_STR("api")}};
    nlt_block_meta_t meta = {.t_min_ms = T0,
                             .t_end_ms = T0 + 15000 * ((int64_t) N - 1) + 1,
                             .level = 1,
                             .arena = ARENA};
    int64_t t[N];
    double v[N];
    static uint8_t bytes[8192];
    nlt_block_writer_t *w;

    for (size_t i = 0; i < N; i++) {
        t[i] = T0 + 15000 * (int64_t) i;
        v[i] = nlt_double_of(values[i]);
    }
    memcpy(meta.ulid.c, ulid, NLT_ULID_LEN);

    nlt_block_chunk_t c = {
        t[0],
        t[N - 1],
        1,
        N,
        {nlt_xor_encode_chunk(t, v, N, 16, bytes), (const char *) bytes}};

    if (dense) {
        c = nlt_block_dense_encode(&work, t, v, N, bytes);
    }

    NLT_CHECK_INT(
        nlt_block_writer_open(&nlt_env_posix, dir_fd, &meta, &w, &err),
        NLT_OK);
    NLT_CHECK_INT(
        nlt_block_writer_symbols(w, symbols, NLT_COUNT(symbols), &err),
        NLT_OK);
    NLT_CHECK_INT(
        nlt_block_writer_series(w, (nlt_labels_t){l, 2}, &c, 1, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_writer_finish(w, &meta, &err), NLT_OK);
    show_file(ulid, "meta.json");
    show_file(ulid, "index");
    show_file(ulid, "chunks/000001");
    show_file(ulid, "tombstones");
}

int
main(int argc, char **argv)
{
    nlt_err_t gone;
    int rc = 0;

    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    if (argc > 1 && strcmp(argv[1], "--write") == 0) {
        write_log();
        write_side();
        write_block(ULID, false);
        write_block(DENSE, true);
    } else {
        NLT_TEST(log_of_version_1_is_read);
        NLT_TEST(exemplars_and_metadata_of_version_1_are_read);
        NLT_TEST(block_of_version_1_is_read);
        NLT_TEST(dense_block_of_version_1_is_read);
        rc = nlt_test_done();
    }
    (void) close(dir_fd);
    (void) !nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, dir_name, &gone);
    return rc;
}

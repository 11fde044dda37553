/*
 * nlt_replay_test.c - logs read back into the head.
 */
#include "nlt_delete_fixture.h"

#include "nlt_filenames.h"
#include "nlt_guard.h"
#include "nlt_manifest.h"
#include "nlt_replay.h"
#include "nlt_test_mem.h"

/* ---- canonical bytes ---- */

static void
add_label(nlt_buf_t *b, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);

    nlt_buf_add_byte(b, 0x0a);
    nlt_buf_add_uvarint(b, n + v + 4);
    nlt_buf_add_byte(b, 0x0a);
    nlt_buf_add_uvarint(b, n);
    nlt_buf_add_c(b, name);
    nlt_buf_add_byte(b, 0x12);
    nlt_buf_add_uvarint(b, v);
    nlt_buf_add_c(b, value);
}

static nlt_rc_t
labels_of(nlt_buf_t *b, nlt_pool_t *pool, nlt_labels_t *out)
{
    nlt_rc_t rc = nlt_replay_labels(nlt_buf_str(b), pool, out);

    nlt_buf_reset(b);
    return rc;
}

static void
canonical_bytes_become_labels(void)
{
    nlt_pool_t pool;
    nlt_labels_t l = {NULL, 0};
    nlt_buf_t b;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(labels_of(&b, &pool, &l), NLT_OK);
    NLT_CHECK_INT(l.n, 0);
    add_label(&b, "__name__", "up");
    add_label(&b, "job", "x y");
    NLT_CHECK_INT(labels_of(&b, &pool, &l), NLT_OK);
    NLT_CHECK_INT(l.n, 2);
    NLT_CHECK_STR(l.v[0].name, "__name__");
    NLT_CHECK_STR(l.v[1].value, "x y");
    /* Not canonical: order, doubles, empty names and values, cut off. */
    add_label(&b, "b", "1");
    add_label(&b, "a", "1");
    NLT_CHECK_INT(labels_of(&b, &pool, &l), NLT_EDATA);
    add_label(&b, "a", "1");
    add_label(&b, "a", "2");
    NLT_CHECK_INT(labels_of(&b, &pool, &l), NLT_EDATA);
    add_label(&b, "", "1");
    NLT_CHECK_INT(labels_of(&b, &pool, &l), NLT_EDATA);
    add_label(&b, "a", "");
    NLT_CHECK_INT(labels_of(&b, &pool, &l), NLT_EDATA);
    for (size_t cut = 1; cut < 7; cut++) {
        add_label(&b, "a", "1");
        b.len = cut;
        NLT_CHECK_INT(labels_of(&b, &pool, &l), NLT_EDATA);
    }
    add_label(&b, "a", "1");
    b.data[2] = 0x1a;
    NLT_CHECK_INT(labels_of(&b, &pool, &l), NLT_EDATA);
    nlt_buf_deinit(&b);
    nlt_pool_deinit(&pool);
}

/* ---- a log larger than an arena ---- */

#define WIDE 1000

static nlt_rc_t
write_wide(fx_t *fx, unsigned no, int64_t t_ms)
{
    char text[WIDE];
    nlt_label_t labels[2] = {{NLT_METRIC_NAME, NLT_STR("wide")},
                             {NLT_STR("v"), {WIDE, text}}};
    nlt_ingest_own_t s = {.labels = {labels, 2}, .t_ms = t_ms, .v = no};
    nlt_err_t err = {.text = ""};
    nlt_rc_t rc;

    memset(text, 'x', sizeof(text));
    (void) !snprintf(text, sizeof(text), "%06u", no);
    text[6] = '.';
    rc = nlt_ingest_own(nlt_store_ingest(fx->store), 0, &s, 1, &err);
    if (rc != NLT_OK) {
        printf("# %u: %s\n", no, err.text);
    }
    return rc;
}

/* All n series with their two samples, each once. */
static bool
has_wide(fx_t *fx, unsigned n)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("wide"), NULL};
    nlt_select_t sel = {&m, 1, INT64_MIN, INT64_MAX};
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0};
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err = {.text = ""};
    size_t sum = 0, wrong = 0;

    if (nlt_view_open(fx->store, 0, NULL, &view, &err) != NLT_OK) {
        return false;
    }
    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
    got.pool = &pool;
    if (view.source.ops->select(&view.source, &pool, &sel, &set, &err)
        == NLT_OK) {
        wrong += set->n != n;
        for (size_t i = 0; i < set->n; i++) {
            wrong += view.source.ops->read(set, i, NLT_READ_ALL, INT64_MIN,
                                           INT64_MAX, &got, &err)
                         != NLT_OK
                     || got.n != 2 || got.v[0] != got.v[1];
            sum += got.n > 0 ? (size_t) got.v[0] : 0;
        }
        printf("# %zu series, %zu wrong, %zu arenas\n", set->n, wrong,
               view.head.n);
    } else {
        printf("# %s\n", err.text);
        wrong++;
    }
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    return wrong == 0 && sum == (size_t) n * (n - 1) / 2;
}

static void
log_larger_than_an_arena_is_replayed_into_several(void)
{
    enum {
        N = 16000
    };
    fx_t fx;

    fx_init(&fx);
    fx.conf.memory_bytes = 144u << 20;
    NLT_CHECK(fx_start(&fx));
    for (unsigned i = 0; i < N; i++) {
        if (write_wide(&fx, i, FX_NOW - 1000) != NLT_OK) {
            NLT_CHECK(false);
            break;
        }
    }
    for (unsigned i = 0; i < N; i++) {
        if (write_wide(&fx, i, FX_NOW) != NLT_OK) {
            NLT_CHECK(false);
            break;
        }
    }
    NLT_CHECK(has_wide(&fx, N));
    fx_close(&fx);
    fx_remove_head(&fx);
    fx.conf.memory_bytes = NLT_HEAD_MEMORY_MIN;
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(atomic_load(&nlt_store_ctl(fx.store)->counters.flushes) > 0);
    NLT_CHECK(has_wide(&fx, N));
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 5);
    NLT_CHECK(has_wide(&fx, N));
    fx_deinit(&fx);
}

/* ---- memory ---- */

static struct {
    nlt_test_mem_t mem;
    int64_t head; /* most bytes of head files */
    int head_fd;
    unsigned calls;
} used;

static bool
add_blocks(void *ctx, const char *name)
{
    struct stat st;

    if (fstatat(used.head_fd, name, &st, 0) == 0) {
        *(int64_t *) ctx += (int64_t) st.st_blocks * 512;
    }
    return true;
}

/* Every look at the clock is one at the files, too: long work polls. */
static int64_t
watching_mono(void *ctx)
{
    int64_t sum = 0;

    if (used.calls++ % 8 == 0) {
        (void) nlt_io_posix.list(NULL, used.head_fd, add_blocks, &sum);
        used.head = nlt_max_i64(used.head, sum);
    }
    return fx_mono(ctx);
}

static void
watch(fx_t *fx)
{
    fx_init(fx);
    memset(&used, 0, sizeof(used));
    nlt_test_mem_init(&used.mem, -1);
    used.head_fd = open(fx->head_path, O_RDONLY | O_DIRECTORY);
    fx->env.mem = &used.mem.mem;
    fx->env.mono_ns = watching_mono;
}

static void
unwatch(fx_t *fx)
{
    fx_deinit(fx);
    (void) close(used.head_fd);
    NLT_CHECK_INT(used.mem.bytes, 0);
}

static void
replay_needs_no_more_memory_than_writing(void)
{
    enum {
        N = 16000
    };
    size_t peak;
    fx_t fx;

    /* Written into a small head: arenas fill up and are flushed. */
    watch(&fx);
    NLT_CHECK(fx_start(&fx));
    for (unsigned i = 0; i < 2 * N; i++) {
        NLT_CHECK_INT(write_wide(&fx, i % N, FX_NOW - 1000 + i / N), NLT_OK);
        if (i % 100 == 0) {
            fx_step(&fx, 1);
        }
    }
    NLT_CHECK(nlt_store_ctl(fx.store)->counters.flushes > 1);
    NLT_CHECK(used.head <= NLT_HEAD_MEMORY_MIN + (1 << 20));
    peak = used.mem.peak;
    printf("# writing: %zu KiB, head %lld KiB\n", peak >> 10,
           (long long) used.head >> 10);
    unwatch(&fx);

    /* Written into a large head, and read back into the small one. */
    watch(&fx);
    fx.conf.memory_bytes = 6 * NLT_HEAD_MEMORY_MIN;
    NLT_CHECK(fx_start(&fx));
    for (unsigned i = 0; i < 2 * N; i++) {
        NLT_CHECK_INT(write_wide(&fx, i % N, FX_NOW - 1000 + i / N), NLT_OK);
    }
    NLT_CHECK_INT(nlt_store_ctl(fx.store)->counters.flushes, 0);
    fx_close(&fx);
    fx_remove_head(&fx);
    (void) close(used.head_fd);
    used.head_fd = open(fx.head_path, O_RDONLY | O_DIRECTORY);
    used.head = 0;
    used.mem.peak = used.mem.bytes;
    fx.conf.memory_bytes = NLT_HEAD_MEMORY_MIN;
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(nlt_store_ctl(fx.store)->counters.flushes > 0);
    printf("# replay: %zu KiB, head %lld KiB\n", used.mem.peak >> 10,
           (long long) used.head >> 10);
    NLT_CHECK(used.head <= NLT_HEAD_MEMORY_MIN + (1 << 20));
    NLT_CHECK(used.mem.peak <= peak + 12 * N + (2u << 20));
    NLT_CHECK(has_wide(&fx, N));
    unwatch(&fx);
}

/* ---- what is deleted ---- */

/* A rule about {name=~value} of arenas up to 1, as a worker writes it. */
static void
write_rule(fx_t *fx, nlt_str_t name, nlt_str_t value, int64_t t_min,
           int64_t t_max)
{
    nlt_matcher_t m = {NLT_MATCH_RE, name, value, NULL};
    nlt_delete_set_t set = {&m, 1};
    nlt_delete_t d = {.t_min_ms = t_min,
                      .t_max_ms = t_max,
                      .arena_max = 1,
                      .sets = &set,
                      .n_sets = 1};
    int fd = open(fx->path, O_RDONLY | O_DIRECTORY);
    nlt_manifest_t m_id;
    nlt_err_t err;

    nlt_manifest_init(&m_id, &nlt_mem_libc, NULL);
    NLT_CHECK_INT(nlt_manifest_load(&m_id, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_deletes_add(&nlt_env_posix, fd, m_id.store_id, &d, &err),
                  NLT_OK);
    nlt_manifest_deinit(&m_id);
    close(fd);
}

/* Series in the active arena, with samples or not. */
static uint64_t
registered(fx_t *fx)
{
    nlt_store_gauges_t g;

    nlt_store_gauges(fx->store, &g);
    return g.active_series;
}

static void
deleted_samples_are_not_replayed(void)
{
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    for (unsigned no = 0; no < 4; no++) {
        for (int i = 0; i < 20; i++) {
            NLT_CHECK_INT(fx_write(&fx, no, FX_NOW - 1000 * i, no), NLT_OK);
        }
    }
    fx_close(&fx);
    fx_remove_head(&fx);
    write_rule(&fx, NLT_STR("i"), NLT_STR("1"), INT64_MIN, INT64_MAX);
    write_rule(&fx, NLT_STR("i"), NLT_STR("2|3"), FX_NOW - 5500, FX_NOW - 900);
    write_rule(&fx, NLT_STR("i"), NLT_STR("3"), FX_NOW - 6000, FX_NOW - 6000);
    fx_model_delete(&fx, 1u << 1, INT64_MIN, INT64_MAX, false);
    fx_model_delete(&fx, 3u << 2, FX_NOW - 5500, FX_NOW - 900, false);
    fx_model_delete(&fx, 1u << 3, FX_NOW - 6000, FX_NOW - 6000, false);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    /* Not even the name of the one of which nothing is left. */
    NLT_CHECK_INT(registered(&fx), 3);
    /* From what was logged again, too: its arena is not under the rules. */
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    NLT_CHECK_INT(fx_write(&fx, 1, FX_NOW - 3000, 9), NLT_OK);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
}

/* When one arena is not enough, the log is read again from the start. */
static void
deleted_samples_of_a_large_log_are_not_replayed(void)
{
    enum {
        N = 16000
    };
    fx_t fx;

    fx_init(&fx);
    fx.conf.memory_bytes = 144u << 20;
    NLT_CHECK(fx_start(&fx));
    for (unsigned i = 0; i < 2 * N; i++) {
        if (write_wide(&fx, i % N, i < N ? FX_NOW - 1000 : FX_NOW) != NLT_OK) {
            NLT_CHECK(false);
            break;
        }
    }
    fx_close(&fx);
    fx_remove_head(&fx);
    fx.conf.memory_bytes = NLT_HEAD_MEMORY_MIN;
    write_rule(&fx, NLT_STR("v"), NLT_STR("01[4-9].*"), INT64_MIN, INT64_MAX);
    write_rule(&fx, NLT_STR("v"), NLT_STR("01[4-9].*"), INT64_MIN, INT64_MAX);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(has_wide(&fx, 14000));
    fx_deinit(&fx);
}

/* An arena that fills up is rotated before writes fail. */
static void
full_arenas_are_flushed_while_writing(void)
{
    enum {
        N = 24000
    };
    unsigned refused = 0;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    for (unsigned i = 0; i < N; i++) {
        refused += write_wide(&fx, i, FX_NOW - 1000) != NLT_OK
                   || write_wide(&fx, i, FX_NOW) != NLT_OK;
        if (i % 100 == 0) {
            fx_step(&fx, 1);
        }
    }
    NLT_CHECK_INT(refused, 0);
    NLT_CHECK(has_wide(&fx, N));
    fx_deinit(&fx);
}

/* A log of another store is kept, aside, and the store starts. */
static void
foreign_log_is_set_aside(void)
{
    static const uint8_t other[NLT_STORE_ID_BYTES] = {0xee};
    char name[NLT_WAL_NAME_SIZE], path[160];
    nlt_err_t err;
    fx_t fx;
    int fd;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(fx_write(&fx, 1, FX_NOW, 1), NLT_OK);
    fx_close(&fx);
    fx_remove_head(&fx);
    (void) snprintf(path, sizeof(path), "%s/wal", fx.path);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    NLT_CHECK_INT(nlt_wal_create(&nlt_env_posix, fd, other, 77, FX_NOW, &err),
                  NLT_OK);
    close(fd);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    nlt_wal_name(name, 77);
    (void) snprintf(path, sizeof(path), "%s/quarantine/%s", fx.path, name);
    NLT_CHECK_INT(access(path, F_OK), 0);
    fx_deinit(&fx);
}

/* ---- a disk that does not give a page, and later does ---- */

static struct {
    uint8_t *bytes;
    int64_t len;
    unsigned looks;
} kept;

/* The log that replay has open is short when it is read for the first time. */
static int64_t
size_and_cut(void *ctx, int fd)
{
    int64_t size = fx_size(ctx, fd);

    if (size < 8192 || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) {
        return size;
    }
    if (kept.looks++ == 0) {
        kept.len = size;
        kept.bytes = malloc((size_t) size);
        NLT_CHECK_INT(pread(fd, kept.bytes, (size_t) size, 0), size);
        NLT_CHECK_INT(ftruncate(fd, 4096), 0);
    }
    return size;
}

static unsigned n_complaints;

static void
mend_when_complained(void *ctx, nlt_log_level_t level, const char *text,
                     size_t len)
{
    fx_t *fx = ctx;
    char path[256];
    int fd;

    fx_log(ctx, level, text, len);
    if (strstr(text, "does not give all pages of the log") == NULL) {
        return;
    }
    n_complaints++;
    (void) snprintf(path, sizeof(path), "%s/wal/%s", fx->path,
                    "0000000000000001.wal");
    fd = open(path, O_WRONLY);
    NLT_CHECK_INT(pwrite(fd, kept.bytes, (size_t) kept.len, 0), kept.len);
    (void) close(fd);
}

static void
a_page_that_is_not_given_is_not_taken_for_a_torn_one(void)
{
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    for (unsigned i = 0; i < 500; i++) {
        NLT_CHECK_INT(fx_write(&fx, i % 16, FX_NOW - 100000 + i, i), NLT_OK);
    }
    fx_close(&fx);
    fx_remove_head(&fx);
    memset(&kept, 0, sizeof(kept));
    fx.io.size = size_and_cut;
    fx.env.log = mend_when_complained;
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(n_complaints, 1);
    NLT_CHECK(kept.looks >= 2);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    NLT_CHECK_INT(
        atomic_load(&nlt_store_ctl(fx.store)->counters.wal_skipped_bytes), 0);
    free(kept.bytes);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_CHECK(nlt_guard_install());
    NLT_TEST(canonical_bytes_become_labels);
    NLT_TEST(log_larger_than_an_arena_is_replayed_into_several);
    NLT_TEST(replay_needs_no_more_memory_than_writing);
    NLT_TEST(deleted_samples_are_not_replayed);
    NLT_TEST(deleted_samples_of_a_large_log_are_not_replayed);
    NLT_TEST(full_arenas_are_flushed_while_writing);
    NLT_TEST(foreign_log_is_set_aside);
    NLT_TEST(a_page_that_is_not_given_is_not_taken_for_a_torn_one);
    return nlt_test_done();
}

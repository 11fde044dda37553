/*
 * nlt_store_trouble_test.c - what operators and accidents do to a store:
 * head= is changed, files of the head are removed or damaged, memory= is
 * changed, files appear that nobody expects.
 */
#include "nlt_store_fixture.h"

#include <dirent.h>

#include "nlt_rw_build.h"
#include "nlt_term.h"

static bool
check_all(fx_t *fx)
{
    return fx_check(fx, INT64_MIN, INT64_MAX);
}

/* n samples of each of 8 series, from *t on. */
static void
write_some(fx_t *fx, unsigned n, int64_t *t)
{
    for (; n > 0; n--, *t += 1000) {
        for (unsigned no = 0; no < 8; no++) {
            NLT_CHECK_INT(fx_write(fx, no, *t, no + (double) (*t % 977)),
                          NLT_OK);
        }
    }
}

/* Status of a whole request with one sample of series 0. */
static int
send_one(fx_t *fx, int64_t t_ms, double v)
{
    nlt_ingest_conf_t conf = {.labels = {64, 1024, 4096},
                              .decoded_max = 1u << 20};
    nlt_ingest_result_t res = {.status = 0};
    nlt_ingest_t *in = nlt_store_ingest(fx->store);
    nlt_ingest_req_t *r;
    rwb_t b;

    if (in == NULL) {
        return 0;
    }
    rwb_init(&b);
    rwb_label(&b, "__name__", "m");
    rwb_label(&b, "i", "0");
    rwb_sample(&b, t_ms, v);
    rwb_end(&b);
    NLT_CHECK_INT(nlt_ingest_begin(in, &conf, rwb_snappy(&b), &r), NLT_OK);
    while (nlt_ingest_run(r, &res) == NLT_AGAIN) {
    }
    rwb_free(&b);
    return res.status;
}

/* Calls back for each file of the head; returns how many there are. */
static size_t
each_head_file(const char *dir, void (*f)(const char *path, const char *name))
{
    char path[512];
    size_t n = 0;
    struct dirent *e;
    DIR *d = opendir(dir);

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, "head.", 5) != 0) {
            continue;
        }
        n++;
        (void) snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (f != NULL) {
            f(path, e->d_name);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    return n;
}

static bool
is_arena(const char *name)
{
    const char *end = strrchr(name, '.');

    return end[1] >= '0' && end[1] <= '9';
}

static void
remove_file(const char *path, const char *name)
{
    (void) name;
    NLT_CHECK_INT(unlink(path), 0);
}

static void
remove_arena(const char *path, const char *name)
{
    NLT_CHECK(!is_arena(name) || unlink(path) == 0);
}

static void
cut_arena(const char *path, const char *name)
{
    NLT_CHECK(!is_arena(name) || truncate(path, 100) == 0);
}

static int64_t arena_size_seen;

static void
note_arena_size(const char *path, const char *name)
{
    struct stat st;

    if (is_arena(name) && stat(path, &st) == 0) {
        arena_size_seen = nlt_max_i64(arena_size_seen, st.st_size);
    }
}

/* Size of the largest arena file. */
static int64_t
arena_size(const fx_t *fx)
{
    arena_size_seen = 0;
    (void) each_head_file(fx->head_path, note_arena_size);
    return arena_size_seen;
}

/* ---- terms ---- */

static void
a_term_begins_where_it_is_mapped(void)
{
    const _Atomic uint64_t *term;
    char path[NLT_TERM_PATH_MAX];
    nlt_err_t err;
    fx_t fx;
    int fd;

    fx_init(&fx);
    fd = open(fx.path, O_RDONLY | O_DIRECTORY);
    NLT_CHECK_INT(nlt_term_open(&fx.env, fd, &term, &err), NLT_OK);
    NLT_CHECK_INT(*term, 0);
    nlt_term_head_path(&fx.env, fd, path);
    NLT_CHECK(path[0] == '\0');
    NLT_CHECK_INT(nlt_term_begin(&fx.env, fd, "/some/where", &err), NLT_OK);
    NLT_CHECK_INT(nlt_term_begin(&fx.env, fd, "/else", &err), NLT_OK);
    NLT_CHECK_INT(*term, 2);
    nlt_term_head_path(&fx.env, fd, path);
    NLT_CHECK(strcmp(path, "/else") == 0);
    /* Preparing again changes nothing. */
    NLT_CHECK_INT(nlt_store_prepare_dir(&fx.env, &fx.conf, &err), NLT_OK);
    NLT_CHECK_INT(*term, 2);
    nlt_term_close(term);
    /* One that is cut off is refused, and made anew. */
    NLT_CHECK_INT(unlinkat(fd, "term", 0), 0);
    NLT_CHECK_INT(nlt_term_open(&fx.env, fd, &term, &err), NLT_EIO);
    NLT_CHECK_INT(close(openat(fd, "term", O_CREAT | O_RDWR, 0600)), 0);
    NLT_CHECK_INT(nlt_term_open(&fx.env, fd, &term, &err), NLT_EDATA);
    NLT_CHECK(term == NULL);
    NLT_CHECK_INT(nlt_store_prepare_dir(&fx.env, &fx.conf, &err), NLT_OK);
    NLT_CHECK_INT(nlt_term_open(&fx.env, fd, &term, &err), NLT_OK);
    NLT_CHECK_INT(*term, 0);
    nlt_term_close(term);
    /* One that is longer is of a later program. */
    (void) snprintf(path, sizeof(path), "%s/term", fx.path);
    NLT_CHECK_INT(truncate(path, NLT_TERM_BYTES + 1), 0);
    NLT_CHECK_INT(nlt_term_open(&fx.env, fd, &term, &err), NLT_EVERSION);
    NLT_CHECK_INT(nlt_store_prepare_dir(&fx.env, &fx.conf, &err),
                  NLT_EVERSION);
    NLT_CHECK(strstr(err.text, "\"term\" has 4105 bytes") != NULL);
    (void) close(fd);
    fx_deinit(&fx);
}

/* A second process of the same store whose head= is its own. */
static void
init_elsewhere(fx_t *other, const fx_t *fx)
{
    fx_init(other);
    other->now_ms = fx->now_ms;
    memcpy(other->path, fx->path, sizeof(other->path));
}

static struct {
    fx_t *other;
    bool armed;
} intruder;

/* Between apply and log another process makes a head and reads the logs. */
static ssize_t
write_too_late(void *ctx, int fd, const void *p, size_t n)
{
    if (intruder.armed) {
        intruder.armed = false;
        NLT_CHECK(fx_start(intruder.other));
    }
    return fx_write_fd(ctx, fd, p, n);
}

static void
what_is_logged_after_the_replay_is_not_acknowledged(void)
{
    fx_t fx, other;
    struct {
        __typeof__(fx.series) series;
    } own; /* other's model, while it borrows that of fx */
    int64_t t = FX_NOW - FX_HOUR;

    fx_init(&fx);
    init_elsewhere(&other, &fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 10, &t);
    NLT_CHECK_INT(send_one(&fx, t, 0), 204);
    fx_model_add(&fx, 0, t, 0, false);
    /* The helper of this one leaves, as after a reload. */
    nlt_helper_close(fx.helper);
    fx.helper = NULL;
    fx.io.write = write_too_late;
    intruder.other = &other;
    intruder.armed = true;
    NLT_CHECK_INT(send_one(&fx, t + 1000, 1), 503);
    NLT_CHECK(!intruder.armed);
    fx.io.write = fx_write_fd;
    NLT_CHECK_INT(send_one(&fx, t + 2000, 2), 503);
    NLT_CHECK_INT(fx_write(&other, 9, t, 5), NLT_OK);
    fx_model_add(&fx, 9, t, 5, false);
    memcpy(&own, &other.series, sizeof(own));
    memcpy(other.series, fx.series, sizeof(fx.series));
    NLT_CHECK(check_all(&other));
    memcpy(&other.series, &own, sizeof(own));
    /* The old one does not come back, the files of its head are gone. */
    nlt_store_tick(fx.store);
    nlt_store_tick(fx.store);
    NLT_CHECK(nlt_store_ingest(fx.store) == NULL);
    NLT_CHECK(each_head_file(fx.head_path, NULL) <= 1);
    fx_close(&fx);
    fx_deinit(&other);
    fx_deinit(&fx);
}

static void
a_head_left_behind_is_not_taken_up_again(void)
{
    fx_t fx, other;
    int64_t t = FX_NOW - FX_HOUR;
    char keep[256], command[700];

    fx_init(&fx);
    init_elsewhere(&other, &fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 5, &t);
    fx_close(&fx);
    /* A copy of the head, as if the directory could not be reached. */
    (void) snprintf(keep, sizeof(keep), "%s/keep", fx.root);
    (void) snprintf(command, sizeof(command), "cp -r %s %s", fx.head_path,
                    keep);
    NLT_CHECK_INT(system(command), 0);
    NLT_CHECK(fx_start(&other));
    NLT_CHECK_INT(fx_write(&other, 3, t, 7), NLT_OK);
    fx_model_add(&fx, 3, t, 7, false);
    fx_close(&other);
    (void) snprintf(command, sizeof(command), "rm -r %s && mv %s %s",
                    fx.head_path, keep, fx.head_path);
    NLT_CHECK_INT(system(command), 0);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(check_all(&fx));
    write_some(&fx, 5, &t);
    NLT_CHECK(check_all(&fx));
    NLT_CHECK(each_head_file(other.head_path, NULL) <= 1);
    fx_deinit(&other);
    fx_deinit(&fx);
}

/* ---- files of the head ---- */

static void
a_head_whose_files_go_is_rebuilt(void)
{
    void (*const harm[])(const char *, const char *) = {remove_file,
                                                        remove_arena};

    for (size_t i = 0; i < NLT_COUNT(harm); i++) {
        nlt_store_status_t status = {.ready = false};
        fx_t fx;
        int64_t t = FX_NOW - FX_HOUR;

        fx_init(&fx);
        NLT_CHECK(fx_start(&fx));
        write_some(&fx, 10, &t);
        NLT_CHECK(each_head_file(fx.head_path, harm[i]) >= 3);
        NLT_CHECK_INT(fx_write(&fx, 1, t, 5), NLT_OK);
        fx_step(&fx, 1);
        for (int k = 0; k < 50 && !status.ready; k++) {
            fx_step(&fx, 1);
            nlt_store_status(fx.store, &status);
        }
        NLT_CHECK(status.ready);
        NLT_CHECK(each_head_file(fx.head_path, NULL) >= 3);
        NLT_CHECK(check_all(&fx));
        t += 1000;
        write_some(&fx, 10, &t);
        NLT_CHECK(check_all(&fx));
        fx_deinit(&fx);
    }
}

static void
a_damaged_arena_does_not_stop_the_start(void)
{
    void (*const harm[])(const char *, const char *) = {cut_arena,
                                                        remove_arena};

    for (size_t i = 0; i < NLT_COUNT(harm); i++) {
        fx_t fx;
        int64_t t = FX_NOW - FX_HOUR;

        fx_init(&fx);
        NLT_CHECK(fx_start(&fx));
        write_some(&fx, 10, &t);
        fx_close(&fx);
        NLT_CHECK(each_head_file(fx.head_path, harm[i]) >= 3);
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK(check_all(&fx));
        write_some(&fx, 1, &t);
        fx_deinit(&fx);
    }
}

/* ---- memory= ---- */

static void
memory_that_is_changed_is_used(void)
{
    static const uint64_t size[] = {NLT_HEAD_MEMORY_MIN,
                                    4 * (uint64_t) NLT_HEAD_MEMORY_MIN,
                                    NLT_HEAD_MEMORY_MIN};
    fx_t fx;
    int64_t t = FX_NOW - FX_HOUR;

    fx_init(&fx);
    for (size_t i = 0; i < NLT_COUNT(size); i++) {
        fx.conf.memory_bytes = size[i];
        NLT_CHECK(fx_start(&fx));
        write_some(&fx, 3, &t);
        fx_step(&fx, 20);
        NLT_CHECK(check_all(&fx));
        /* All arenas, so the large ones have gone again, too. */
        NLT_CHECK(arena_size(&fx) <= (int64_t) size[i] / 3);
        NLT_CHECK(arena_size(&fx)
                  > (int64_t) (size[i] - size[i] / 256) / 3 - 65536);
        write_some(&fx, 3, &t);
        fx_close(&fx);
    }
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

/* ---- what must not pile up ---- */

/* Files that this process has open and that have no name any more. */
static size_t
nameless_logs(void)
{
    char path[64], to[512];
    size_t n = 0;

    for (int fd = 3; fd < 256; fd++) {
        ssize_t len;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        len = readlink(path, to, sizeof(to) - 1);
        to[len > 0 ? len : 0] = '\0';
        n += strstr(to, ".wal") != NULL && strstr(to, "(deleted)") != NULL;
    }
    return n;
}

static long n_syncs;

static int
count_sync(void *ctx, int fd)
{
    n_syncs++;
    return fx_fsync(ctx, fd);
}

static void
writers_let_go_of_logs_and_leave_syncing_to_the_helper(void)
{
    fx_t fx;
    int64_t t = FX_NOW - FX_HOUR;

    fx_init(&fx);
    fx.conf.wal_sync_ms = NLT_WAL_SYNC_OFF;
    fx.io.fdatasync = count_sync;
    NLT_CHECK(fx_start(&fx));
    n_syncs = 0;
    for (int i = 0; i < 4; i++) {
        write_some(&fx, 2, &t);
        NLT_CHECK(fx_flush(&fx));
        fx_step(&fx, 1);
        /* Also without another write. */
        NLT_CHECK_INT(nameless_logs(), 0);
    }
    NLT_CHECK_INT(n_syncs, 0);
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

static size_t n_lines;

static void
count_lines(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    n_lines += level <= NLT_LOG_WARN;
    fx_log(ctx, level, text, len);
}

static void
trouble_that_lasts_is_logged_once(void)
{
    char path[256];
    nlt_err_t err;
    fx_t fx;
    int64_t t = FX_NOW - FX_HOUR;
    int fd;

    fx_init(&fx);
    fx.env.log = count_lines;
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 2, &t);
    NLT_CHECK(fx_flush(&fx));
    /* A block that is gone: said once, though it is looked for again. */
    (void) snprintf(path, sizeof(path), "%s/blocks", fx.path);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, path, &err),
                  NLT_OK);
    NLT_CHECK_INT(mkdir(path, 0700), 0);
    fx_close(&fx);
    n_lines = 0;
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 30);
    NLT_CHECK_INT(n_lines, 1);
    /* A MANIFEST that cannot be read, in a new generation. */
    (void) snprintf(path, sizeof(path), "%s/MANIFEST", fx.path);
    fd = open(path, O_WRONLY | O_TRUNC);
    NLT_CHECK_INT(write(fd, "what?\n", 6), 6);
    (void) close(fd);
    atomic_fetch_add(&nlt_store_ctl(fx.store)->manifest_gen, 1);
    n_lines = 0;
    fx_step(&fx, 30);
    NLT_CHECK_INT(n_lines, 1);
    fx_deinit(&fx);
}

/* ---- files that nobody expects ---- */

static void
strange_files_among_the_logs_are_no_trouble(void)
{
    char path[256];
    fx_t fx;
    int64_t t = FX_NOW - FX_HOUR;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 3, &t);
    fx_close(&fx);
    fx_remove_head(&fx);
    (void) snprintf(path, sizeof(path), "%s/wal/0000000000000099.wal",
                    fx.path);
    NLT_CHECK_INT(mkdir(path, 0700), 0);
    (void) snprintf(path, sizeof(path), "%s/wal/0000000000000098.wal",
                    fx.path);
    NLT_CHECK_INT(symlink("/etc/passwd", path), 0);
    (void) snprintf(path, sizeof(path), "%s/wal/ffffffffffffffff.wal",
                    fx.path);
    NLT_CHECK_INT(close(open(path, O_CREAT | O_RDWR, 0600)), 0);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(check_all(&fx));
    NLT_CHECK_INT(access(path, F_OK), 0);
    (void) snprintf(path, sizeof(path), "%s/quarantine/0000000000000099.wal",
                    fx.path);
    NLT_CHECK_INT(access(path, F_OK), 0);
    write_some(&fx, 3, &t);
    NLT_CHECK(fx_flush(&fx));
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(check_all(&fx));
    fx_deinit(&fx);
}

static void
a_lost_store_id_is_in_the_manifest(void)
{
    char path[256];
    nlt_err_t err;
    fx_t fx;
    int64_t t = FX_NOW - FX_HOUR;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    write_some(&fx, 3, &t);
    fx_close(&fx);
    (void) snprintf(path, sizeof(path), "%s/store.id", fx.path);
    NLT_CHECK_INT(unlink(path), 0);
    NLT_CHECK_INT(nlt_store_prepare_dir(&fx.env, &fx.conf, &err), NLT_OK);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(check_all(&fx));
    fx_close(&fx);
    /* Who lost both gets no new identity for the old data. */
    NLT_CHECK_INT(unlink(path), 0);
    (void) snprintf(path, sizeof(path), "%s/MANIFEST", fx.path);
    NLT_CHECK_INT(truncate(path, 30), 0);
    NLT_CHECK_INT(nlt_store_prepare_dir(&fx.env, &fx.conf, &err), NLT_EDATA);
    NLT_CHECK(strstr(err.text, "\"store.id\" is missing, and MANIFEST")
              != NULL);
    (void) snprintf(path, sizeof(path), "%s/store.id", fx.path);
    NLT_CHECK_INT(access(path, F_OK), -1);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(a_term_begins_where_it_is_mapped);
    NLT_TEST(what_is_logged_after_the_replay_is_not_acknowledged);
    NLT_TEST(a_head_left_behind_is_not_taken_up_again);
    NLT_TEST(a_head_whose_files_go_is_rebuilt);
    NLT_TEST(a_damaged_arena_does_not_stop_the_start);
    NLT_TEST(memory_that_is_changed_is_used);
    NLT_TEST(writers_let_go_of_logs_and_leave_syncing_to_the_helper);
    NLT_TEST(trouble_that_lasts_is_logged_once);
    NLT_TEST(strange_files_among_the_logs_are_no_trouble);
    NLT_TEST(a_lost_store_id_is_in_the_manifest);
    return nlt_test_done();
}

/*
 * nlt_import_test.c - blocks in import/ are served, or said to be bad.
 */
#include "nlt_import_fixture.h"
#include "nlt_tombstones.h"

/* ---- what is good ---- */

static void
a_block_is_served_within_seconds(void)
{
    bx_spec_t x = spec(1);
    nlt_ulid_t u;

    begin();
    NLT_CHECK_INT(fx_write(&fx, 3, FX_NOW - 1000, 7), NLT_OK);
    u = bx_write(import_fd, &x);
    expect(&x);
    tenths(40);
    NLT_CHECK(answers());
    NLT_CHECK_INT(n_imported(), 1);
    NLT_CHECK_INT(n_refused(), 0);
    NLT_CHECK_INT(n_entries(import_fd), 0);
    NLT_CHECK_INT(n_entries(blocks_fd), 1);

    nlt_manifest_block_t b = line_of(&u);

    NLT_CHECK_INT(b.arena, 0);
    NLT_CHECK_INT(b.n_samples, 500);
    NLT_CHECK_INT(b.n_series, 10);
    NLT_CHECK_INT(b.n_histograms, 0);
    NLT_CHECK_INT(b.t_min_ms, x.t_min_ms);
    NLT_CHECK_INT(b.t_end_ms, x.t_min_ms + 49 * x.step_ms + 1);
    NLT_CHECK(b.bytes > 1000);
    restart();
    NLT_CHECK(answers());
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(answers());
    end();
}

/* Gives the files of a block in import/ to somebody else. */
static void
chown_block(nlt_ulid_t u)
{
    static const char *const files[] = {"",           "/index",
                                        "/meta.json", "/tombstones",
                                        "/chunks",    "/chunks/000001"};

    for (size_t i = 0; i < NLT_COUNT(files); i++) {
        char path[80];

        (void) snprintf(path, sizeof(path), "%s%s", u.c, files[i]);
        NLT_CHECK_INT(fchownat(import_fd, path, 12345, 12345, 0), 0);
    }
}

static void
files_of_ours_are_linked_others_copied(void)
{
    bx_spec_t x = spec(1), y = spec(2), z = spec(3);
    char path[80];
    struct stat before, after;
    nlt_ulid_t u;

    begin();
    u = bx_write(import_fd, &x);
    (void) snprintf(path, sizeof(path), "%s/chunks/000001", u.c);
    NLT_CHECK_INT(fstatat(import_fd, path, &before, 0), 0);
    tenths(40);
    NLT_CHECK_INT(fstatat(blocks_fd, path, &after, 0), 0);
    NLT_CHECK_INT(after.st_ino, before.st_ino);
    NLT_CHECK_INT(after.st_nlink, 1);

    /* One that others may write would change under our feet. */
    y.first = 20;
    u = bx_write(import_fd, &y);
    z.first = 30;
    if (geteuid() == 0) {
        chown_block(bx_write(import_fd, &z));
    }
    (void) snprintf(path, sizeof(path), "%s/chunks/000001", u.c);
    NLT_CHECK_INT(fchmodat(import_fd, path, 0666, 0), 0);
    NLT_CHECK_INT(fstatat(import_fd, path, &before, 0), 0);
    tenths(40);
    NLT_CHECK_INT(fstatat(blocks_fd, path, &after, 0), 0);
    NLT_CHECK(after.st_ino != before.st_ino);
    NLT_CHECK_INT(after.st_size, before.st_size);
    NLT_CHECK_INT(after.st_mode & 0777, 0600);
    if (geteuid() == 0) {
        u = bx_ulid(3);
        (void) snprintf(path, sizeof(path), "%s/index", u.c);
        NLT_CHECK_INT(fstatat(blocks_fd, path, &after, 0), 0);
        NLT_CHECK_INT(after.st_uid, 0);
        expect(&z);
    }
    expect(&x);
    expect(&y);
    NLT_CHECK(answers());
    NLT_CHECK_INT(n_entries(import_fd), 0);
    end();
}

static void
imported_samples_count_as_the_oldest(void)
{
    bx_spec_t x = spec(5);

    begin();
    /* Another value at a time of the block, in a block of ours. */
    NLT_CHECK_INT(
        nlt_ingest_own(
            nlt_store_ingest(fx.store), 0,
            &(nlt_ingest_own_t){
                .labels = {(nlt_label_t[]){{NLT_STR("__name__"), NLT_STR("m")},
                                           {NLT_STR("i"), NLT_STR("4")}},
                           2},
                .t_ms = x.t_min_ms + 15000,
                .v = -1},
            1, &(nlt_err_t){.len = 0}),
        NLT_OK);
    NLT_CHECK(fx_flush(&fx));
    (void) bx_write(import_fd, &x);
    expect(&x);
    tenths(40);
    NLT_CHECK(answers());
    end();
}

static void
histograms_are_kept_and_do_not_disturb(void)
{
    bx_spec_t x = spec(1);
    nlt_ulid_t u;

    begin();
    x.n_hist = 3;
    x.encoding = 3;
    u = bx_write(import_fd, &x);
    expect(&x);
    tenths(40);
    NLT_CHECK(answers());
    NLT_CHECK_INT(line_of(&u).n_samples, 506);
    NLT_CHECK_INT(line_of(&u).n_histograms, 6);
    NLT_CHECK_INT(line_of(&u).n_series, 13);

    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("n"), NULL};
    nlt_select_t sel = {&m, 1, INT64_MIN, INT64_MAX};
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0};
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    got.pool = &pool;
    NLT_CHECK_INT(nlt_view_open(fx.store, 0, NULL, &view, &err), NLT_OK);
    NLT_CHECK_INT(
        view.source.ops->select(&view.source, &pool, &sel, &set, &err),
        NLT_OK);
    NLT_CHECK_INT(set->n, 3);
    for (size_t i = 0; i < set->n; i++) {
        NLT_CHECK_INT(view.source.ops->read(set, i, NLT_READ_ALL, INT64_MIN,
                                            INT64_MAX, &got, &err),
                      NLT_OK);
        NLT_CHECK_INT(got.n, 0);
        NLT_CHECK_INT(view.source.ops->read(set, i, NLT_READ_NEWEST, INT64_MIN,
                                            INT64_MAX, &got, &err),
                      NLT_OK);
        NLT_CHECK_INT(got.n, 0);

        /* But that they are there is known, from two chunks' times. */
        bool yes;

        NLT_CHECK_INT(view.source.ops->histograms(set, i, x.t_min_ms + 1,
                                                  FX_NOW, &yes, &err),
                      NLT_OK);
        NLT_CHECK(yes);
        NLT_CHECK_INT(view.source.ops->histograms(set, i,
                                                  x.t_min_ms + x.step_ms + 1,
                                                  FX_NOW, &yes, &err),
                      NLT_OK);
        NLT_CHECK(!yes);
    }
    view.source.ops->close(set);
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    end();
}

static void
tombstones_of_others_hold(void)
{
    bx_spec_t x = spec(1);
    nlt_interval_t gone = {x.t_min_ms + 10 * x.step_ms,
                           x.t_min_ms + 29 * x.step_ms};
    uint32_t *id;
    size_t n;
    nlt_ulid_t u;
    nlt_block_t *b;
    nlt_buf_t file;
    nlt_pool_t pool;
    nlt_err_t err;

    begin();
    u = bx_write(import_fd, &x);
    NLT_CHECK_INT(nlt_block_open(&nlt_env_posix, import_fd, u.c, &b, &err),
                  NLT_OK);
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &id, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 10);
    nlt_buf_init(&file, &nlt_mem_libc, 1 << 20);
    nlt_tombstones_begin(&file);
    nlt_tombstones_add(&file, id[4], &gone);
    nlt_tombstones_end(&file);
    bx_put(import_fd, &u, "tombstones", file.data, file.len);
    nlt_buf_deinit(&file);
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
    for (unsigned s = 0; s < x.n; s++) {
        for (unsigned k = 0; k < x.n_samples; k++) {
            if (s != 4 || k < 10 || k > 29) {
                fx_model_add(&fx, s, x.t_min_ms + k * x.step_ms,
                             bx_value(&x, s, k), false);
            }
        }
    }
    tenths(40);
    NLT_CHECK(answers());
    end();
}

static void
many_blocks_are_all_taken(void)
{
    begin();
    for (unsigned no = 0; no < 30; no++) {
        bx_spec_t x = spec(no);

        x.t_min_ms += no * 600000; /* they overlap */
        x.n = 3 + no % 5;
        x.first = no % 7;
        (void) bx_write(import_fd, &x);
    }
    /* Of equal times the block that begins first wins. */
    for (unsigned no = 0; no < 30; no++) {
        bx_spec_t x = spec(no);

        x.t_min_ms += no * 600000;
        x.n = 3 + no % 5;
        x.first = no % 7;
        expect(&x);
    }
    tenths(80);
    NLT_CHECK_INT(n_imported(), 30);
    NLT_CHECK_INT(n_entries(import_fd), 0);
    NLT_CHECK(answers());
    end();
}

/* ---- copies that are not finished ---- */

static void
a_growing_copy_is_left_alone_until_it_is_whole(void)
{
    bx_spec_t x = spec(1);
    nlt_buf_t index;
    nlt_ulid_t u;

    begin();
    nlt_buf_init(&index, &nlt_mem_libc, 1 << 20);
    u = bx_write(import_fd, &x);
    bx_get(import_fd, &u, "index", &index);
    /* It grows every 1.5 s, then stalls for 8, and then it is whole. */
    for (size_t n = 0; n < index.len; n += index.len / 6 + 1) {
        bx_put(import_fd, &u, "index", index.data, n);
        tenths(15);
    }
    NLT_CHECK_INT(n_imported(), 0);
    bx_put(import_fd, &u, "index", index.data, index.len - 1);
    tenths(80);
    NLT_CHECK_INT(n_refused(), 0);
    NLT_CHECK_INT(n_imported(), 0);
    NLT_CHECK_INT(n_entries(blocks_fd), 0);
    bx_put(import_fd, &u, "index", index.data, index.len);
    tenths(15);
    NLT_CHECK_INT(n_imported(), 0);
    tenths(25);
    expect(&x);
    NLT_CHECK_INT(n_imported(), 1);
    NLT_CHECK(answers());
    nlt_buf_deinit(&index);
    end();
}

static void
missing_files_are_waited_for(void)
{
    static const char *const files[] = {"index", "meta.json", "chunks/000001"};

    begin();
    for (unsigned i = 0; i < NLT_COUNT(files); i++) {
        bx_spec_t x = spec(10 + i);
        char path[80];
        nlt_buf_t file;
        nlt_ulid_t u;

        x.first = 10 * i;
        u = bx_write(import_fd, &x);
        nlt_buf_init(&file, &nlt_mem_libc, 1 << 20);
        bx_get(import_fd, &u, files[i], &file);
        (void) snprintf(path, sizeof(path), "%s/%s", u.c, files[i]);
        NLT_CHECK_INT(unlinkat(import_fd, path, 0), 0);
        tenths(60);
        NLT_CHECK_INT(n_imported(), i);
        bx_put(import_fd, &u, files[i], file.data, file.len);
        tenths(40);
        NLT_CHECK_INT(n_imported(), i + 1);
        expect(&x);
        nlt_buf_deinit(&file);
    }
    NLT_CHECK_INT(n_refused(), 0);
    NLT_CHECK(answers());
    end();
}

/* ---- refusing ---- */

static void
what_stays_broken_is_refused_once_and_stays_where_it_is(void)
{
    bx_spec_t x = spec(1);
    nlt_ulid_t u;

    begin();
    u = bx_write(import_fd, &x);
    flip(&u, "chunks/000001", -20);
    tenths(90);
    NLT_CHECK(!exists(import_fd, &u, ".refused"));
    tenths(20);
    NLT_CHECK(says(&u, "checksum mismatch in the chunk"));
    NLT_CHECK(exists(import_fd, &u, ""));
    NLT_CHECK_INT(n_refused(), 1);
    NLT_CHECK_INT(n_entries(blocks_fd), 0);
    tenths(300);
    NLT_CHECK_INT(n_refused(), 1);
    restart();
    tenths(150);
    NLT_CHECK_INT(n_refused(), 1);

    /* Whoever removes the note asks again. */
    char note[80];

    (void) snprintf(note, sizeof(note), "%s.refused", u.c);
    NLT_CHECK_INT(unlinkat(import_fd, note, 0), 0);
    tenths(150);
    NLT_CHECK_INT(n_refused(), 2);
    NLT_CHECK(exists(import_fd, &u, ".refused"));

    /* Repaired, it is taken, and the note goes. */
    flip(&u, "chunks/000001", -20);
    tenths(40);
    expect(&x);
    NLT_CHECK(answers());
    NLT_CHECK_INT(n_entries(import_fd), 0);

    /* So does the note of one that is taken away. */
    x = spec(2);
    u = bx_write(import_fd, &x);
    flip(&u, "index", -1);
    tenths(150);
    NLT_CHECK_INT(n_entries(import_fd), 2);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, import_fd, u.c, NULL),
                  NLT_OK);
    tenths(20);
    NLT_CHECK_INT(n_entries(import_fd), 0);
    end();
}

/* Makes the encoding of the last chunk another one, with a right checksum. */
static void
set_encoding(const nlt_ulid_t *u, uint8_t encoding)
{
    const size_t data = sizeof("\0\2\0\xf3histogram") - 1;
    nlt_buf_t f;
    uint8_t *p;

    nlt_buf_init(&f, &nlt_mem_libc, 1 << 20);
    bx_get(import_fd, u, "chunks/000001", &f);
    p = (uint8_t *) f.data + f.len - 4 - data - 1;
    NLT_CHECK_INT(*p, 2);
    *p = encoding;
    nlt_put_be32(p + 1 + data, nlt_crc32c(0, p, 1 + data));
    bx_put(import_fd, u, "chunks/000001", f.data, f.len);
    nlt_buf_deinit(&f);
}

/* What is done to a good block, and what is said of it then. */
typedef struct {
    const char *says;
    void (*spoil)(const nlt_ulid_t *u);
    void (*shape)(bx_spec_t *x);
} bad_t;

static void
as_index_3(const nlt_ulid_t *u)
{
    nlt_buf_t f;

    nlt_buf_init(&f, &nlt_mem_libc, 1 << 20);
    bx_get(import_fd, u, "index", &f);
    f.data[4] = 3;
    bx_put(import_fd, u, "index", f.data, f.len);
    nlt_buf_deinit(&f);
}

static void
as_index_1(const nlt_ulid_t *u)
{
    nlt_buf_t f;

    nlt_buf_init(&f, &nlt_mem_libc, 1 << 20);
    bx_get(import_fd, u, "index", &f);
    f.data[4] = 1;
    bx_put(import_fd, u, "index", f.data, f.len);
    nlt_buf_deinit(&f);
}

static void
as_xor2(const nlt_ulid_t *u)
{
    set_encoding(u, 4);
}

static void
as_link(const nlt_ulid_t *u)
{
    char name[80];

    (void) snprintf(name, sizeof(name), "elsewhere-%s", u->c);
    NLT_CHECK_INT(renameat(import_fd, u->c, blocks_fd, name), 0);
    (void) snprintf(name, sizeof(name), "../blocks/elsewhere-%s", u->c);
    NLT_CHECK_INT(symlinkat(name, import_fd, u->c), 0);
}

static void
as_file(const nlt_ulid_t *u)
{
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, import_fd, u->c, NULL),
                  NLT_OK);
    close(openat(import_fd, u->c, O_CREAT | O_WRONLY, 0600));
}

static void
with_linked_index(const nlt_ulid_t *u)
{
    char a[80], b[80];

    (void) snprintf(a, sizeof(a), "%s/index", u->c);
    (void) snprintf(b, sizeof(b), "%s/index-elsewhere", u->c);
    NLT_CHECK_INT(renameat(import_fd, a, import_fd, b), 0);
    NLT_CHECK_INT(symlinkat("index-elsewhere", import_fd, a), 0);
}

static void
with_pipe(const nlt_ulid_t *u)
{
    char path[80];

    (void) snprintf(path, sizeof(path), "%s/chunks/000001", u->c);
    NLT_CHECK_INT(unlinkat(import_fd, path, 0), 0);
    NLT_CHECK_INT(mkfifoat(import_fd, path, 0600), 0);
}

static void
with_linked_chunks(const nlt_ulid_t *u)
{
    char a[80], b[80];

    (void) snprintf(a, sizeof(a), "%s/chunks", u->c);
    (void) snprintf(b, sizeof(b), "%s/chunks-elsewhere", u->c);
    NLT_CHECK_INT(renameat(import_fd, a, import_fd, b), 0);
    NLT_CHECK_INT(symlinkat("chunks-elsewhere", import_fd, a), 0);
}

static void
by_another_name(const nlt_ulid_t *u)
{
    nlt_pool_t pool;
    nlt_block_meta_t meta;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    meta = bx_meta(import_fd, u, &pool);
    nlt_pool_deinit(&pool);
    meta.ulid = bx_ulid(999);
    meta.n_sources = meta.n_parents = 0;
    NLT_CHECK_INT(mkdirat(import_fd, meta.ulid.c, 0700), 0);
    bx_put_meta(import_fd, &meta);
    char from[80], to[80];

    (void) snprintf(from, sizeof(from), "%s/meta.json", meta.ulid.c);
    (void) snprintf(to, sizeof(to), "%s/meta.json", u->c);
    NLT_CHECK_INT(renameat(import_fd, from, import_fd, to), 0);
    NLT_CHECK_INT(unlinkat(import_fd, meta.ulid.c, AT_REMOVEDIR), 0);
}

static void
with_bad_tombstones(const nlt_ulid_t *u)
{
    /* series 2, 0..100, a wrong checksum */
    static const uint8_t file[] = {0x01, 0x30, 0xba, 0x30, 1,    2,   0,
                                   0xc8, 0x01, 0x9c, 0xab, 0x14, 0x01};

    bx_put(import_fd, u, "tombstones", file, sizeof(file));
}

static void
with_wrong_stats(const nlt_ulid_t *u)
{
    nlt_pool_t pool;
    nlt_block_meta_t meta;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    meta = bx_meta(import_fd, u, &pool);
    meta.n_samples++;
    bx_put_meta(import_fd, &meta);
    nlt_pool_deinit(&pool);
}

static void
with_unnamed_block(const nlt_ulid_t *u)
{
    NLT_CHECK_INT(mkdirat(blocks_fd, u->c, 0700), 0);
}

static void
shape_hist(bx_spec_t *x)
{
    x->n_hist = 1;
}

static void
shape_future(bx_spec_t *x)
{
    x->t_min_ms = FX_NOW;
}

static void
shape_old(bx_spec_t *x)
{
    x->t_min_ms = FX_NOW - 30 * 24 * FX_HOUR;
}

static void
shape_forged(bx_spec_t *x)
{
    x->forged = true;
}

static const bad_t bad[] = {
    {"format version 3, only 2", as_index_3, NULL},
    {"format version 1, only 2", as_index_1, NULL},
    {"has encoding 4, only 1 to 3", as_xor2, shape_hist},
    {"is no directory", as_link, NULL},
    {"is no directory", as_file, NULL},
    {"index is no plain file", with_linked_index, NULL},
    {"000001 is no plain file", with_pipe, NULL},
    {"chunks is no directory", with_linked_chunks, NULL},
    {"meta.json belongs to block", by_another_name, NULL},
    {"tombstones", with_bad_tombstones, NULL},
    {"meta.json counts 10 series", with_wrong_stats, NULL},
    {"has a directory of this name", with_unnamed_block, NULL},
    {"samples of the future", NULL, shape_future},
    {"ends before the retention", NULL, shape_old},
    {"name that begins with NUL", NULL, shape_forged},
};

static void
every_kind_of_bad_block_is_refused_with_its_reason(void)
{
    bx_spec_t good = spec(0);
    nlt_ulid_t u[NLT_COUNT(bad)];

    begin();
    /* There is data of now, so the retention has a border. */
    NLT_CHECK_INT(fx_write(&fx, 1, FX_NOW - 1000, 7), NLT_OK);
    for (unsigned i = 0; i < NLT_COUNT(bad); i++) {
        bx_spec_t x = spec(100 + i);

        if (bad[i].shape) {
            bad[i].shape(&x);
        }
        u[i] = bx_write(import_fd, &x);
        if (bad[i].spoil) {
            bad[i].spoil(&u[i]);
        }
    }
    (void) bx_write(import_fd, &good);
    expect(&good);
    tenths(200);
    for (unsigned i = 0; i < NLT_COUNT(bad); i++) {
        NLT_CHECK(says(&u[i], bad[i].says));
        NLT_CHECK(!is_served(&u[i]));
        NLT_CHECK(exists(import_fd, &u[i], ""));
    }
    NLT_CHECK_INT(n_refused(), NLT_COUNT(bad));
    NLT_CHECK_INT(n_imported(), 1); /* and they keep no good one waiting */
    NLT_CHECK(answers());
    end();
}

static int
open_forbidden(void *ctx, int dir, const char *name, int flags, unsigned mode)
{
    struct stat a, b;

    if (strcmp(name, bx_ulid(1).c) == 0 && fstat(dir, &a) == 0
        && fstat(import_fd, &b) == 0 && a.st_ino == b.st_ino) {
        return -EACCES;
    }
    return nlt_io_posix.open(ctx, dir, name, flags, mode);
}

static void
what_may_not_be_read_is_refused(void)
{
    bx_spec_t x = spec(1);
    nlt_ulid_t u;

    begin();
    fx.io.open = open_forbidden;
    u = bx_write(import_fd, &x);
    tenths(90);
    NLT_CHECK_INT(n_refused(), 0);
    tenths(30);
    NLT_CHECK_INT(n_refused(), 1);
    NLT_CHECK(says(&u, "Permission denied"));
    fx.io.open = fx_open; /* chmod, without a change of the directory */
    char note[80];

    (void) snprintf(note, sizeof(note), "%s.refused", u.c);
    NLT_CHECK_INT(unlinkat(import_fd, note, 0), 0);
    tenths(60);
    expect(&x);
    NLT_CHECK(answers());
    end();
}

static void
names_that_are_no_blocks_are_left_alone(void)
{
    begin();
    NLT_CHECK_INT(
        mkdirat(import_fd, "20260102T150405Z-0123456789abcdef", 0700), 0);
    NLT_CHECK_INT(mkdirat(import_fd, "01hf7yat000000000000000001", 0700), 0);
    NLT_CHECK_INT(mkdirat(import_fd, ".rsync", 0700), 0);
    close(openat(import_fd, "notes.txt", O_CREAT | O_WRONLY, 0600));
    tenths(200);
    NLT_CHECK_INT(n_refused(), 0);
    NLT_CHECK_INT(n_entries(import_fd), 4);
    end();
}

int
main(void)
{
    NLT_TEST(a_block_is_served_within_seconds);
    NLT_TEST(files_of_ours_are_linked_others_copied);
    NLT_TEST(imported_samples_count_as_the_oldest);
    NLT_TEST(histograms_are_kept_and_do_not_disturb);
    NLT_TEST(tombstones_of_others_hold);
    NLT_TEST(many_blocks_are_all_taken);
    NLT_TEST(a_growing_copy_is_left_alone_until_it_is_whole);
    NLT_TEST(missing_files_are_waited_for);
    NLT_TEST(what_stays_broken_is_refused_once_and_stays_where_it_is);
    NLT_TEST(every_kind_of_bad_block_is_refused_with_its_reason);
    NLT_TEST(what_may_not_be_read_is_refused);
    NLT_TEST(names_that_are_no_blocks_are_left_alone);
    return nlt_test_done();
}

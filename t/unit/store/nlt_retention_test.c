/*
 * nlt_retention_test.c - the border, and what start-up removes.
 */
#include "nlt_test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_flush.h"
#include "nlt_retention.h"

static const uint8_t store_id[NLT_STORE_ID_BYTES] = {1, 2, 3};

static void
border_follows_the_older_of_clock_and_data(void)
{
    NLT_CHECK_INT(nlt_retention_border(1000, 900, 100), 800);
    NLT_CHECK_INT(nlt_retention_border(1000, 5000, 100), 900);
    NLT_CHECK_INT(nlt_retention_border(1000, INT64_MIN, 100), 900);
    NLT_CHECK_INT(nlt_retention_border(INT64_MIN + 5, 0, 100), INT64_MIN);
}

static nlt_manifest_block_t
block(uint64_t arena, int64_t t_min, int64_t t_end)
{
    nlt_manifest_block_t b = {
        .t_min_ms = t_min, .t_end_ms = t_end, .arena = arena};

    nlt_flush_ulid(store_id, arena, t_min, 1700000000000, &b.ulid);
    return b;
}

static void
whole_blocks_before_the_border_are_taken(void)
{
    nlt_manifest_t m;
    nlt_manifest_block_t out[8];

    nlt_manifest_init(&m, &nlt_mem_libc, store_id);
    for (int i = 0; i < 6; i++) {
        nlt_manifest_block_t b =
            block((uint64_t) (6 - i), i * 100, i * 100 + 150);

        NLT_CHECK_INT(nlt_manifest_add_block(&m, &b), NLT_OK);
    }
    NLT_CHECK_INT(nlt_retention_take(&m, 149, out, 8), 0);
    NLT_CHECK_INT(nlt_retention_take(&m, 150, out, 8), 1);
    NLT_CHECK_INT(out[0].t_end_ms, 150);
    NLT_CHECK_INT(nlt_retention_take(&m, 500, out, 2), 2);
    NLT_CHECK_INT(nlt_retention_take(&m, 500, out, 2), 1);
    NLT_CHECK_INT(m.n_blocks, 2);
    NLT_CHECK_INT(nlt_retention_take(&m, INT64_MIN, out, 8), 0);
    nlt_manifest_deinit(&m);
}

/* ---- directories ---- */

static char path[40];
static int dir_fd;

static void
make_file(const char *dir, const char *name, const char *text)
{
    int fd, sub = openat(dir_fd, dir, O_RDONLY | O_DIRECTORY);

    if (sub < 0) {
        NLT_CHECK_INT(mkdirat(dir_fd, dir, 0700), 0);
        sub = openat(dir_fd, dir, O_RDONLY | O_DIRECTORY);
    }
    fd = openat(sub, name, O_WRONLY | O_CREAT, 0600);
    NLT_CHECK_INT(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    close(sub);
}

static bool
exists(const char *name)
{
    return faccessat(dir_fd, name, F_OK, 0) == 0;
}

/* A directory whose meta.json is that of b, written by `id`. */
static nlt_manifest_block_t
make_block(const uint8_t *id, uint64_t arena)
{
    nlt_manifest_block_t b = {.t_min_ms = 5, .t_end_ms = 9, .arena = arena};
    nlt_block_meta_t meta = {.t_min_ms = 5,
                             .t_end_ms = 9,
                             .n_samples = 1,
                             .n_float_samples = 1,
                             .n_series = 1,
                             .n_chunks = 1,
                             .level = 1,
                             .arena = arena};
    nlt_buf_t json;

    nlt_flush_ulid(id, arena, 5, 1700000000000, &b.ulid);
    meta.ulid = b.ulid;
    nlt_buf_init(&json, &nlt_mem_libc, 1 << 20);
    nlt_block_meta_print(&json, &meta);
    nlt_buf_add_byte(&json, 0);
    make_file(b.ulid.c, "meta.json", json.data);
    make_file(b.ulid.c, "index", "12345");
    nlt_buf_deinit(&json);
    return b;
}

static void
open_dir(void)
{
    (void) snprintf(path, sizeof(path), "/tmp/nlt-retention-XXXXXX");
    NLT_CHECK(mkdtemp(path) != NULL);
    dir_fd = open(path, O_RDONLY | O_DIRECTORY);
}

static void
close_dir(void)
{
    nlt_err_t err;

    close(dir_fd);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, path, &err),
                  NLT_OK);
}

static void
only_our_uncommitted_blocks_are_removed(void)
{
    static const uint8_t other_id[NLT_STORE_ID_BYTES] = {9};
    nlt_manifest_t m;
    nlt_manifest_block_t committed, lost, imported;
    nlt_block_dirs_stats_t stats;
    nlt_err_t err;

    open_dir();
    committed = make_block(store_id, 1);
    lost = make_block(store_id, 2);
    imported = make_block(other_id, 2);
    make_file("01J00000000000000000000000.tmp-for-creation", "x", "y");
    make_file("01J00000000000000000000001.tmp-for-deletion", "x", "y");
    make_file("01J00000000000000000000002", "no-meta", "y");
    make_file("lost+found", "x", "y");
    make_file("01J00000000000000000000003.backup", "x", "y");
    nlt_manifest_init(&m, &nlt_mem_libc, store_id);
    NLT_CHECK_INT(nlt_manifest_add_block(&m, &committed), NLT_OK);

    NLT_CHECK_INT(
        nlt_block_dirs_clean(&nlt_env_posix, dir_fd, &m, true, &stats, &err),
        NLT_OK);
    NLT_CHECK_INT(stats.removed, 1);
    NLT_CHECK(exists(lost.ulid.c));
    NLT_CHECK_INT(
        nlt_block_dirs_clean(&nlt_env_posix, dir_fd, &m, false, &stats, &err),
        NLT_OK);
    NLT_CHECK_INT(stats.removed, 3);
    NLT_CHECK_INT(stats.foreign, 2);
    NLT_CHECK(exists(committed.ulid.c));
    NLT_CHECK(!exists(lost.ulid.c));
    NLT_CHECK(exists(imported.ulid.c));
    NLT_CHECK(!exists("01J00000000000000000000000.tmp-for-creation"));
    NLT_CHECK(!exists("01J00000000000000000000001.tmp-for-deletion"));
    NLT_CHECK(exists("01J00000000000000000000002"));
    NLT_CHECK(exists("01J00000000000000000000003.backup"));
    NLT_CHECK(exists("lost+found"));

    NLT_CHECK(nlt_block_dir_bytes(&nlt_env_posix, dir_fd, committed.ulid.c)
              > 100);
    NLT_CHECK_INT(
        nlt_block_dir_remove(&nlt_env_posix, dir_fd, committed.ulid.c, &err),
        NLT_OK);
    NLT_CHECK(!exists(committed.ulid.c));
    NLT_CHECK_INT(
        nlt_block_dir_remove(&nlt_env_posix, dir_fd, committed.ulid.c, &err),
        NLT_OK);
    nlt_manifest_deinit(&m);
    close_dir();
}

int
main(void)
{
    NLT_TEST(border_follows_the_older_of_clock_and_data);
    NLT_TEST(whole_blocks_before_the_border_are_taken);
    NLT_TEST(only_our_uncommitted_blocks_are_removed);
    return nlt_test_done();
}

/*
 * nlt_block_file_test.c - a block is there whole or not at all, and says
 * what is wrong with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_block.h"
#include "nlt_block_write.h"
#include "nlt_test.h"
#include "nlt_xor.h"

static char dir_name[] = "/tmp/nlt-block-file-XXXXXX";
static int dir_fd;
static int fail_at; /* the call to the disk that fails; 0: none */
static int n_calls;
static nlt_io_t failing_io;
static nlt_env_t env;
static int n_warnings;
static nlt_err_t err;

static bool
fails(void)
{
    return ++n_calls == fail_at;
}

static int
failing_open(void *ctx, int at, const char *name, int flags, unsigned mode)
{
    return fails() ? -EMFILE : nlt_io_posix.open(ctx, at, name, flags, mode);
}

static ssize_t
failing_write(void *ctx, int fd, const void *p, size_t n)
{
    return fails() ? -ENOSPC : nlt_io_posix.write(ctx, fd, p, n);
}

static int
failing_fsync(void *ctx, int fd)
{
    return fails() ? -EIO : nlt_io_posix.fsync(ctx, fd);
}

static int
failing_mkdir(void *ctx, int at, const char *name, unsigned mode)
{
    return fails() ? -EACCES : nlt_io_posix.mkdir(ctx, at, name, mode);
}

static int
failing_rename(void *ctx, int at, const char *from, const char *to)
{
    return fails() ? -EIO : nlt_io_posix.rename(ctx, at, from, to);
}

static void
count_log(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    (void) ctx;
    (void) text;
    (void) len;
    n_warnings += level == NLT_LOG_WARN;
}

/* One series {a="b"} with a chunk of two samples at 10 and 20. */
static nlt_rc_t
write_block(nlt_block_meta_t *meta)
{
    nlt_str_t symbols[2] = {NLT_STR("a"), NLT_STR("b")};
    nlt_label_t l = {NLT_STR("a"), NLT_STR("b")};
    int64_t t[2] = {10, 20};
    double v[2] = {1, 2};
    uint8_t bytes[64];
    size_t len = nlt_xor_encode_chunk(t, v, 2, 0, bytes);
    nlt_block_chunk_t c = {10, 20, 1, 2, {len, (const char *) bytes}};
    nlt_block_writer_t *w;
    nlt_rc_t rc;

    *meta = (nlt_block_meta_t){.t_min_ms = 0, .t_end_ms = 100};
    NLT_CHECK_INT(nlt_ulid_new(1, &meta->ulid), NLT_OK);
    rc = nlt_block_writer_open(&env, dir_fd, meta, &w, &err);
    if (rc != NLT_OK) {
        return rc;
    }
    rc = nlt_block_writer_symbols(w, symbols, 2, &err);
    if (rc == NLT_OK) {
        rc = nlt_block_writer_series(w, (nlt_labels_t){&l, 1}, &c, 1, &err);
    }
    if (rc != NLT_OK) {
        nlt_block_writer_abort(w);
        return rc;
    }
    return nlt_block_writer_finish(w, meta, &err);
}

static bool
count_entry(void *ctx, const char *name)
{
    (void) name;
    ++*(int *) ctx;
    return true;
}

static int
n_entries(void)
{
    int n = 0;

    NLT_CHECK_INT(nlt_io_posix.list(NULL, dir_fd, count_entry, &n), 0);
    return n;
}

static void
remove_block(const nlt_block_meta_t *meta)
{
    NLT_CHECK_INT(
        nlt_io_remove_tree(&nlt_io_posix, dir_fd, meta->ulid.c, &err), NLT_OK);
}

static void
nothing_is_left_whichever_call_fails(void)
{
    nlt_block_meta_t meta;
    int n;

    fail_at = 0;
    n_calls = 0;
    NLT_CHECK_INT(write_block(&meta), NLT_OK);
    NLT_CHECK_INT(n_entries(), 1);
    NLT_CHECK_INT(meta.n_series, 1);
    NLT_CHECK_INT(meta.n_samples, 2);
    remove_block(&meta);
    n = n_calls;
    NLT_CHECK(n > 15);
    for (int i = 1; i <= n; i++) {
        nlt_rc_t rc;

        fail_at = i;
        n_calls = 0;
        rc = write_block(&meta);
        fail_at = 0;
        NLT_CHECK_INT(rc, NLT_EIO);
        if (rc != NLT_EIO || n_entries() != 0) {
            printf("# call %d of %d\n", i, n);
            NLT_CHECK_INT(n_entries(), 0);
        }
    }
}

static void
blocks_without_series_are_not_written(void)
{
    nlt_block_meta_t meta = {.t_min_ms = 0, .t_end_ms = 100};
    nlt_str_t a = NLT_STR("a");
    nlt_block_writer_t *w;

    NLT_CHECK_INT(nlt_ulid_new(1, &meta.ulid), NLT_OK);
    NLT_CHECK_INT(nlt_block_writer_open(&env, dir_fd, &meta, &w, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_block_writer_symbols(w, &a, 1, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_writer_finish(w, &meta, &err), NLT_EINVAL);
    NLT_CHECK_INT(n_entries(), 0);
}

static void
chunks_outside_the_block_are_refused(void)
{
    nlt_block_meta_t meta = {.t_min_ms = 0, .t_end_ms = 20};
    nlt_str_t symbols[2] = {NLT_STR("a"), NLT_STR("b")};
    nlt_label_t l = {NLT_STR("a"), NLT_STR("b")};
    nlt_block_chunk_t c = {10, 20, 1, 2, NLT_STR("\0\2xx")};
    nlt_block_writer_t *w;

    NLT_CHECK_INT(nlt_ulid_new(1, &meta.ulid), NLT_OK);
    NLT_CHECK_INT(nlt_block_writer_open(&env, dir_fd, &meta, &w, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_block_writer_symbols(w, symbols, 2, &err), NLT_OK);
    NLT_CHECK_INT(
        nlt_block_writer_series(w, (nlt_labels_t){&l, 1}, &c, 1, &err),
        NLT_EINVAL);
    c.t_max_ms = 19;
    c.n_samples = 3;
    NLT_CHECK_INT(
        nlt_block_writer_series(w, (nlt_labels_t){&l, 1}, &c, 1, &err),
        NLT_EINVAL);
    nlt_block_writer_abort(w);
    NLT_CHECK_INT(n_entries(), 0);
}

/* Overwrites one byte of a file of the block; gives what it was. */
static uint8_t
poke(const nlt_block_meta_t *meta, const char *file, off_t at, uint8_t byte)
{
    char path[128];
    uint8_t was = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", meta->ulid.c, file);
    fd = openat(dir_fd, path, O_RDWR);
    NLT_CHECK_INT(pread(fd, &was, 1, at), 1);
    NLT_CHECK_INT(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    return was;
}

static nlt_rc_t
open_and_validate(const nlt_block_meta_t *meta)
{
    nlt_block_t *b;
    nlt_pool_t pool;
    nlt_rc_t rc = nlt_block_open(&env, dir_fd, meta->ulid.c, &b, &err);

    if (rc == NLT_OK) {
        nlt_pool_init(&pool, &nlt_mem_libc, 8 << 20);
        rc = nlt_block_validate(b, &pool, &err);
        nlt_pool_deinit(&pool);
        nlt_block_close(b);
    }
    return rc;
}

static void
any_changed_byte_but_padding_is_found_and_located(void)
{
    static const char *const files[] = {"index", "chunks/000001", "tombstones",
                                        "meta.json"};
    nlt_block_meta_t meta;
    size_t n_unsealed = 0;

    NLT_CHECK_INT(write_block(&meta), NLT_OK);
    NLT_CHECK_INT(open_and_validate(&meta), NLT_OK);
    for (size_t f = 0; f < NLT_COUNT(files); f++) {
        char path[128];
        struct stat st;

        snprintf(path, sizeof(path), "%s/%s", meta.ulid.c, files[f]);
        NLT_CHECK_INT(fstatat(dir_fd, path, &st, 0), 0);
        for (off_t i = 0; i < st.st_size; i++) {
            uint8_t was = poke(&meta, files[f], i, 0x7e);

            if (was == 0 && open_and_validate(&meta) == NLT_OK) {
                /* between sections of the index, or after the version */
                NLT_CHECK(f < 2);
            } else if (f == 3 && strchr("nightlightchecksum", was)
                       && open_and_validate(&meta) == NLT_OK) {
                n_unsealed++;
            } else {
                NLT_CHECK(open_and_validate(&meta) != NLT_OK);
                NLT_CHECK(strncmp(err.text, "block ", 6) == 0);
                NLT_CHECK(strncmp(err.text + 6, meta.ulid.c, 26) == 0);
            }
            (void) poke(&meta, files[f], i, was);
        }
    }
    /* Who damages the name of the checksum's key only takes it away. */
    NLT_CHECK_INT(n_unsealed, strlen("nightlight") + strlen("checksum"));
    remove_block(&meta);
}

static void
other_tombstone_versions_are_refused_by_name(void)
{
    nlt_block_meta_t meta;

    NLT_CHECK_INT(write_block(&meta), NLT_OK);
    (void) poke(&meta, "tombstones", 4, 2);
    NLT_CHECK_INT(open_and_validate(&meta), NLT_EVERSION);
    NLT_CHECK(strstr(err.text, "tombstones: format version 2") != NULL);
    remove_block(&meta);
}

static void
missing_tombstones_are_none(void)
{
    nlt_block_meta_t meta;
    char path[64];

    NLT_CHECK_INT(write_block(&meta), NLT_OK);
    snprintf(path, sizeof(path), "%s/tombstones", meta.ulid.c);
    NLT_CHECK_INT(unlinkat(dir_fd, path, 0), 0);
    NLT_CHECK_INT(open_and_validate(&meta), NLT_OK);
    remove_block(&meta);
}

static void
missing_parts_are_named(void)
{
    static const char *const parts[] = {"index", "chunks/000001", "meta.json"};

    for (size_t i = 0; i < NLT_COUNT(parts); i++) {
        nlt_block_meta_t meta;
        char path[128];

        NLT_CHECK_INT(write_block(&meta), NLT_OK);
        snprintf(path, sizeof(path), "%s/%s", meta.ulid.c, parts[i]);
        NLT_CHECK_INT(unlinkat(dir_fd, path, 0), 0);
        NLT_CHECK(open_and_validate(&meta) != NLT_OK);
        NLT_CHECK(err.len > 0);
        remove_block(&meta);
    }
}

static void
only_names_of_blocks_are_opened(void)
{
    nlt_block_t *b;

    NLT_CHECK_INT(nlt_block_open(&env, dir_fd, "../x", &b, &err), NLT_ENOENT);
    NLT_CHECK_INT(
        nlt_block_open(&env, dir_fd, "01HF7YAT000000000000000000", &b, &err),
        NLT_ENOENT);
}

int
main(void)
{
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    failing_io = nlt_io_posix;
    failing_io.open = failing_open;
    failing_io.write = failing_write;
    failing_io.fsync = failing_fsync;
    failing_io.mkdir = failing_mkdir;
    failing_io.rename = failing_rename;
    env = nlt_env_posix;
    env.io = &failing_io;
    env.log = count_log;
    NLT_TEST(nothing_is_left_whichever_call_fails);
    NLT_TEST(blocks_without_series_are_not_written);
    NLT_TEST(chunks_outside_the_block_are_refused);
    NLT_TEST(any_changed_byte_but_padding_is_found_and_located);
    NLT_TEST(other_tombstone_versions_are_refused_by_name);
    NLT_TEST(missing_tombstones_are_none);
    NLT_TEST(missing_parts_are_named);
    NLT_TEST(only_names_of_blocks_are_opened);
    close(dir_fd);
    rmdir(dir_name);
    return nlt_test_done();
}

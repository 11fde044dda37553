/* nlt_io_test.c - files in a temporary directory, and a disk that fails. */
#include "nlt_io.h"
#include "nlt_env.h"
#include "nlt_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir_name[] = "/tmp/nlt_io_test.XXXXXX";
static int dir_fd;

static void
put(const char *name, const char *text)
{
    nlt_err_t err;

    NLT_CHECK_INT(nlt_io_replace_file(&nlt_io_posix, dir_fd, name, text,
                                      strlen(text), &err),
                  NLT_OK);
}

static bool
exists(const char *name)
{
    struct stat st;

    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
replaced_files_read_back(void)
{
    struct stat st;
    nlt_buf_t b;
    nlt_err_t err;

    nlt_buf_init(&b, &nlt_mem_libc, 100000);
    put("f", "first");
    put("f", "second and longer");
    NLT_CHECK_INT(nlt_io_read_file(&nlt_io_posix, dir_fd, "f", &b, &err),
                  NLT_OK);
    NLT_CHECK_STR(nlt_buf_str(&b), "second and longer");
    NLT_CHECK(!exists("f.tmp"));
    NLT_CHECK_INT(fstatat(dir_fd, "f", &st, 0), 0);
    NLT_CHECK_INT(st.st_mode & 0777, 0600);
    put("f", "");
    NLT_CHECK_INT(nlt_io_read_file(&nlt_io_posix, dir_fd, "f", &b, &err),
                  NLT_OK);
    NLT_CHECK_STR(nlt_buf_str(&b), "second and longer"); /* appended nothing */
    nlt_buf_deinit(&b);
}

static void
reading_says_what_is_wrong(void)
{
    nlt_buf_t b;
    nlt_err_t err;

    nlt_buf_init(&b, &nlt_mem_libc, 10);
    NLT_CHECK_INT(nlt_io_read_file(&nlt_io_posix, dir_fd, "nope", &b, &err),
                  NLT_ENOENT);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "open \"nope\": No such file or directory");
    put("ten", "0123456789");
    NLT_CHECK_INT(nlt_io_read_file(&nlt_io_posix, dir_fd, "ten", &b, &err),
                  NLT_OK);
    nlt_buf_reset(&b);
    put("eleven", "0123456789x");
    NLT_CHECK_INT(nlt_io_read_file(&nlt_io_posix, dir_fd, "eleven", &b, &err),
                  NLT_ETOOBIG);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "\"eleven\" is longer than 10 bytes");
    nlt_buf_deinit(&b);
    NLT_CHECK_INT(nlt_io_read_file(&nlt_io_posix, dir_fd, ".", &b, &err),
                  NLT_EIO);
    nlt_buf_deinit(&b);
}

static void
trees_go_without_following_links(void)
{
    nlt_err_t err;
    char deep[64] = "";

    put("outside", "stays");
    NLT_CHECK_INT(mkdirat(dir_fd, "t", 0700), 0);
    NLT_CHECK_INT(mkdirat(dir_fd, "t/a", 0700), 0);
    NLT_CHECK_INT(mkdirat(dir_fd, "t/a/b", 0700), 0);
    NLT_CHECK_INT(mkdirat(dir_fd, "o", 0700), 0);
    put("o/kept", "x");
    for (int i = 0; i < 100; i++) {
        char name[32];

        snprintf(name, sizeof(name), "t/a/file%d", i);
        NLT_CHECK_INT(symlinkat("../../outside", dir_fd, name), 0);
    }
    NLT_CHECK_INT(symlinkat("../../o", dir_fd, "t/a/link"), 0);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, "t", &err),
                  NLT_OK);
    NLT_CHECK(!exists("t") && exists("outside") && exists("o/kept"));
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, "t", &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, "outside", &err),
                  NLT_OK);
    NLT_CHECK(!exists("outside"));

    /* Ten levels are too many; what is bounded still goes. */
    for (int i = 0; i < 10; i++) {
        strcat(deep, i > 0 ? "/d" : "d");
        NLT_CHECK_INT(mkdirat(dir_fd, deep, 0700), 0);
    }
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, "d", &err),
                  NLT_ELIMIT);
    NLT_CHECK(exists("d"));
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, "d/d/d/d", &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, "d", &err),
                  NLT_OK);
}

/* As if the name became a link between our two calls. */
static int
unlink_says_directory(void *ctx, int dir, const char *name)
{
    (void) ctx;
    (void) dir;
    (void) name;
    return -EISDIR;
}

static void
a_link_in_place_of_a_directory_is_not_entered(void)
{
    nlt_io_t io = nlt_io_posix;
    nlt_err_t err;

    io.unlink = unlink_says_directory;
    NLT_CHECK_INT(mkdirat(dir_fd, "target", 0700), 0);
    NLT_CHECK_INT(mkdirat(dir_fd, "target/sub", 0700), 0);
    NLT_CHECK_INT(symlinkat("target", dir_fd, "swapped"), 0);
    NLT_CHECK_INT(nlt_io_remove_tree(&io, dir_fd, "swapped", &err), NLT_EIO);
    NLT_CHECK(exists("target/sub") && exists("swapped"));
}

static bool
count_cb(void *ctx, const char *name)
{
    int *n = ctx;

    NLT_CHECK(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    return ++*n < 3;
}

static void
listing_stops_when_told(void)
{
    int n = 0;

    NLT_CHECK_INT(mkdirat(dir_fd, "l", 0700), 0);
    put("l/1", "");
    put("l/2", "");
    int fd = nlt_io_posix.open(NULL, dir_fd, "l", O_RDONLY | O_DIRECTORY, 0);
    NLT_CHECK_INT(nlt_io_posix.list(NULL, fd, count_cb, &n), 0);
    NLT_CHECK_INT(n, 2);
    put("l/3", "");
    put("l/4", "");
    n = 0;
    NLT_CHECK_INT(nlt_io_posix.list(NULL, fd, count_cb, &n), 0);
    NLT_CHECK_INT(n, 3);
    NLT_CHECK_INT(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    NLT_CHECK_INT(nlt_io_posix.close(NULL, fd), 0);
    NLT_CHECK_INT(nlt_io_posix.close(NULL, fd), -EBADF);
}

static void
maps_share_the_file(void)
{
    const nlt_io_t *io = &nlt_io_posix;
    const uint8_t *r;
    uint8_t *w;
    nlt_err_t err;
    int fd = io->open(NULL, dir_fd, "m", O_RDWR | O_CREAT, 0600);

    NLT_CHECK_INT(nlt_map_shared(fd, 0, &w, &err), NLT_EINVAL);
    NLT_CHECK_INT(nlt_map_read(-1, 10, &r, &err), NLT_EIO);
    NLT_CHECK(r == NULL);
    NLT_CHECK_INT(io->allocate(NULL, fd, 0, 8192), 0);
    NLT_CHECK_INT(io->size(NULL, fd), 8192);
    NLT_CHECK_INT(nlt_map_shared(fd, 8192, &w, &err), NLT_OK);
    NLT_CHECK_INT(nlt_map_read(fd, 8192, &r, &err), NLT_OK);
    w[5000] = 77;
    NLT_CHECK_INT(r[5000], 77);
    nlt_unmap(r, 8192);
    nlt_unmap(w, 8192);
    NLT_CHECK_INT(io->truncate(NULL, fd, 100), 0);
    NLT_CHECK_INT(io->size(NULL, fd), 100);
    NLT_CHECK_INT(io->fdatasync(NULL, fd), 0);
    NLT_CHECK_INT(io->close(NULL, fd), 0);
}

static void
names_are_told_apart_without_opening_them(void)
{
    const nlt_io_t *io = &nlt_io_posix;
    nlt_io_stat_t dir, file, link;

    NLT_CHECK_INT(mkdirat(dir_fd, "s", 0750), 0);
    put("s/file", "12345");
    NLT_CHECK_INT(symlinkat("file", dir_fd, "s/link"), 0);
    NLT_CHECK_INT(io->stat(NULL, dir_fd, "s", &dir), 0);
    NLT_CHECK(S_ISDIR(dir.mode) && (dir.mode & 0777) == 0750);
    NLT_CHECK_INT(io->stat(NULL, dir_fd, "s/file", &file), 0);
    NLT_CHECK(S_ISREG(file.mode));
    NLT_CHECK_INT(file.size, 5);
    NLT_CHECK_INT(file.uid, geteuid());
    NLT_CHECK_INT(io->stat(NULL, dir_fd, "s/link", &link), 0);
    NLT_CHECK(S_ISLNK(link.mode));
    NLT_CHECK(link.ino != file.ino && link.dev == file.dev);
    NLT_CHECK_INT(io->stat(NULL, dir_fd, "s/none", &link), -ENOENT);
    struct timespec t[2] = {{7, 5}, {7, 5}};
    NLT_CHECK_INT(utimensat(dir_fd, "s/file", t, 0), 0);
    NLT_CHECK_INT(io->stat(NULL, dir_fd, "s/file", &file), 0);
    NLT_CHECK_INT(file.mtime_ns, 7000000005);
}

/* ---- a disk that fails at the n-th call and writes little ---- */

typedef struct {
    int calls;
    int fail_at;
    bool synced_file;
    bool synced_dir;
} disk_t;

static bool
fails(void *ctx)
{
    disk_t *d = ctx;

    return d->calls++ == d->fail_at;
}

static int
bad_open(void *ctx, int dir, const char *name, int flags, unsigned mode)
{
    return fails(ctx) ? -EMFILE
                      : nlt_io_posix.open(NULL, dir, name, flags, mode);
}

static int
bad_close(void *ctx, int fd)
{
    int rc = nlt_io_posix.close(NULL, fd);

    return fails(ctx) ? -EIO : rc;
}

static ssize_t
bad_write(void *ctx, int fd, const void *p, size_t n)
{
    return fails(ctx) ? -ENOSPC
                      : nlt_io_posix.write(NULL, fd, p, n > 3 ? 3 : n);
}

static int
bad_fsync(void *ctx, int fd)
{
    return fails(ctx) ? -EIO : nlt_io_posix.fsync(NULL, fd);
}

static int
bad_rename(void *ctx, int dir, const char *from, const char *to)
{
    return fails(ctx) ? -EIO : nlt_io_posix.rename(NULL, dir, from, to);
}

static int
plain_unlink(void *ctx, int dir, const char *name)
{
    (void) ctx;
    return nlt_io_posix.unlink(NULL, dir, name);
}

static void
a_failed_replacement_leaves_old_or_new(void)
{
    disk_t disk = {0, 0, false, false};
    nlt_io_t io = nlt_io_posix;
    nlt_rc_t rc = NLT_EIO;
    int turn;

    io.open = bad_open;
    io.close = bad_close;
    io.write = bad_write;
    io.fsync = bad_fsync;
    io.rename = bad_rename;
    io.unlink = plain_unlink;
    io.ctx = &disk;
    put("r", "old");
    for (turn = 0; turn < 50 && rc != NLT_OK; turn++) {
        nlt_err_t err;
        nlt_buf_t b;

        disk.calls = 0;
        disk.fail_at = turn;
        rc = nlt_io_replace_file(&io, dir_fd, "r", "brand new", 9, &err);
        NLT_CHECK(rc == NLT_OK || (rc == NLT_EIO && err.len > 0));
        nlt_buf_init(&b, &nlt_mem_libc, 100);
        NLT_CHECK_INT(nlt_io_read_file(&nlt_io_posix, dir_fd, "r", &b, NULL),
                      NLT_OK);
        NLT_CHECK(
            nlt_str_eq(nlt_buf_str(&b), NLT_STR("brand new"))
            || (rc != NLT_OK && nlt_str_eq(nlt_buf_str(&b), NLT_STR("old"))));
        nlt_buf_deinit(&b);
        NLT_CHECK(!exists("r.tmp"));
    }
    NLT_CHECK_INT(rc, NLT_OK);
    /* open, 3 writes, fsync, close, rename, open dir, fsync, close, none. */
    NLT_CHECK(turn >= 9);
}

/* ---- env ---- */

static char logged[NLT_ERR_TEXT_MAX + 1];
static size_t logged_len;

static void
log_cb(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    (void) ctx;
    (void) level;
    memcpy(logged, text, len);
    logged_len = len;
}

static void
log_lines_are_single_and_bounded(void)
{
    nlt_env_t env = nlt_env_posix;
    char s[3000];

    env.log = log_cb;
    nlt_log(&env, NLT_LOG_WARN, "a %s", "b\nc\x7f");
    NLT_CHECK_STR(((nlt_str_t){logged_len, logged}), "a b c ");
    memset(s, 'x', sizeof(s));
    s[sizeof(s) - 1] = '\0';
    nlt_log(&env, NLT_LOG_WARN, "%s", s);
    NLT_CHECK(logged_len < NLT_ERR_TEXT_MAX);
    NLT_CHECK(memcmp(logged + logged_len - 3, "...", 3) == 0);
    NLT_CHECK(nlt_now_ms(&env) > INT64_C(1700000000000));
    int64_t before = nlt_mono_ns(&env);
    NLT_CHECK(nlt_mono_ns(&env) >= before);
}

static size_t n_written, n_synced, most_unsynced;

static ssize_t
count_write(void *ctx, int fd, const void *p, size_t n)
{
    (void) ctx;
    (void) fd;
    (void) p;
    n = n > 100000 ? 100000 : n; /* short, as it may be */
    n_written += n;
    return (ssize_t) n;
}

static int
count_sync(void *ctx, int fd)
{
    size_t unsynced = n_written - n_synced;

    (void) fd;
    most_unsynced = unsynced > most_unsynced ? unsynced : most_unsynced;
    n_synced = n_written;
    return ctx ? -EIO : 0;
}

static void
long_files_are_synced_as_they_grow(void)
{
    nlt_io_t io = nlt_io_posix;
    static uint8_t bytes[300000];
    uint64_t unsynced = 0;
    nlt_err_t err;
    int failing;

    io.write = count_write;
    io.fdatasync = count_sync;
    for (int i = 0; i < 1000; i++) {
        NLT_CHECK_INT(
            nlt_io_write_paced(&io, 7, bytes, sizeof(bytes), &unsynced, &err),
            NLT_OK);
        NLT_CHECK_INT(unsynced, n_written - n_synced);
        NLT_CHECK(unsynced < NLT_IO_PACE_BYTES);
    }
    NLT_CHECK_INT(n_written, 1000 * sizeof(bytes));
    NLT_CHECK(most_unsynced >= NLT_IO_PACE_BYTES
              && most_unsynced < NLT_IO_PACE_BYTES + sizeof(bytes));
    io.ctx = &failing;
    unsynced = NLT_IO_PACE_BYTES;
    NLT_CHECK_INT(nlt_io_write_paced(&io, 7, bytes, 1, &unsynced, &err),
                  NLT_EIO);
}

int
main(void)
{
    if (mkdtemp(dir_name) == NULL
        || (dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY)) < 0) {
        printf("Bail out! no temporary directory\n");
        return 1;
    }
    NLT_TEST(replaced_files_read_back);
    NLT_TEST(reading_says_what_is_wrong);
    NLT_TEST(trees_go_without_following_links);
    NLT_TEST(a_link_in_place_of_a_directory_is_not_entered);
    NLT_TEST(listing_stops_when_told);
    NLT_TEST(maps_share_the_file);
    NLT_TEST(names_are_told_apart_without_opening_them);
    NLT_TEST(a_failed_replacement_leaves_old_or_new);
    NLT_TEST(long_files_are_synced_as_they_grow);
    NLT_TEST(log_lines_are_single_and_bounded);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, dir_name, NULL),
                  NLT_OK);
    return nlt_test_done();
}

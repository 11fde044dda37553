/*
 * flip_test.c - every byte of a store's files is changed, every file cut off
 * at every length.
 *
 * A store has blocks of two flushes, rules of deletes, and a log that is still
 * needed.  One byte of one file changes; the store is opened and asked for
 * everything.  Whatever byte it was:
 *
 *   - nothing crashes, no value is wrong, no sample is there that was not sent
 *   - only samples of that file are missing, and if any is, a line of the log
 *     says that something is damaged
 *   - the store starts, but for damage in MANIFEST, DELETES and store.id,
 * where it says by name what keeps it from that
 *
 * Damage that nobody notices because nothing depends on the byte is only
 * allowed where docs/formats/ say that there is no checksum: silent_ok().
 *
 * With the head that survived, bytes of its control file change.  It has no
 * checksum, as it is never read by another boot; so there a change may be
 * noticed or not, but nothing may be wrong or lost.
 *
 * NLT_FAULT_FULL=1 goes through everything; otherwise a sample is taken.
 * An argument runs the tests that have it in their name.
 */
#include "nlt_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fl_story.h"
#include "fl_tree.h"
#include "nlt_block.h"
#include "nlt_deletes.h"
#include "nlt_filenames.h"
#include "nlt_manifest.h"
#include "nlt_wal_frame.h"

#define FAULTS_MAX 5

enum {
    HOME_LOG,
    HOME_FIRST,
    HOME_SECOND,
    HOME_SAID, /* of metadata alone */
    HOMES
};

static bool full;

static struct {
    char root[48];
    char disk_path[96];
    char head_path[96];
    fl_disk_t disk; /* the store at rest */
    int64_t now_ms;
    size_t
        end_of[HOMES]; /* rows of the flushes, in the order they were sent */
    fl_ledger_t all;   /* what is there */
    fl_ledger_t rest[HOMES];      /* what is there when one home is damaged */
    char first[NLT_ULID_LEN + 1]; /* a block of the first flush */
    unsigned n_faults;
} fix;

/* ---- what is being tried, for a crash ---- */

static char trying[256];

static void
on_crash(int sig)
{
    (void) !write(1, trying, strlen(trying));
    (void) signal(sig, SIG_DFL);
    (void) raise(sig);
}

/* ---- the store at rest ---- */

static void
write_some(fl_story_t *t, unsigned first, int64_t t_ms)
{
    for (unsigned k = 0; k < 12; k++) {
        NLT_CHECK(fl_store_write(&t->s, &t->ledger, k % FL_WRITERS, first, 5,
                                 t_ms + 15000 * (int64_t) k));
    }
}

static void
add_rule(fl_store_t *s)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_STR("job"), NLT_STR("api"), NULL};
    nlt_delete_set_t set = {&m, 1};
    nlt_delete_t d = {.t_min_ms = 0,
                      .t_max_ms = FL_NOW,
                      .arena_max = 1000,
                      .sets = &set,
                      .n_sets = 1};
    nlt_manifest_t man;
    nlt_err_t err;
    int fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    nlt_manifest_init(&man, &nlt_mem_libc, NULL);
    NLT_CHECK_INT(nlt_manifest_load(&man, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    NLT_CHECK(man.n_blocks >= 2);
    memcpy(fix.first, man.blocks[0].ulid.c, sizeof(fix.first));
    NLT_CHECK_INT(nlt_deletes_add(&nlt_env_posix, fd, man.store_id, &d, &err),
                  NLT_OK);
    nlt_manifest_deinit(&man);
    (void) close(fd);
}

static void
make_store(void)
{
    fl_story_t t = {.n_imports = 0};
    nlt_err_t err;

    fl_room_make(fix.root, sizeof(fix.root));
    fl_room_dir(fix.root, "disk", fix.disk_path, sizeof(fix.disk_path));
    fl_room_dir(fix.root, "head", fix.head_path, sizeof(fix.head_path));
    fl_store_init(&t.s, fix.root, "disk", NULL, 1000);
    NLT_CHECK(fl_store_start(&t.s, FL_WRITERS, &err));
    write_some(&t, 0, FL_NOW - 10 * FL_HOUR);
    NLT_CHECK(fl_store_flush(&t.s));
    fix.end_of[HOME_FIRST] = t.ledger.n;
    write_some(&t, 3, FL_NOW - 5 * FL_HOUR);
    NLT_CHECK(fl_store_flush(&t.s));
    fix.end_of[HOME_SECOND] = t.ledger.n;
    add_rule(&t.s);
    write_some(&t, 6, FL_NOW - FL_HOUR);
    fix.end_of[HOME_LOG] = t.ledger.n;
    for (int h = 0; h < HOMES; h++) {
        size_t from = h == HOME_FIRST    ? 0
                      : h == HOME_SECOND ? fix.end_of[HOME_FIRST]
                      : h == HOME_LOG    ? fix.end_of[HOME_SECOND]
                                         : fix.end_of[h];

        fl_ledger_copy(&fix.rest[h], &t.ledger);
        for (size_t i = from; i < fix.end_of[h]; i++) {
            fix.rest[h].v[i].must = SIZE_MAX;
        }
        fl_ledger_sort(&fix.rest[h]);
    }
    fl_ledger_forget(&fix.rest[HOME_SAID]);
    fl_ledger_copy(&fix.all, &t.ledger);
    fl_ledger_sort(&fix.all);
    fix.now_ms = t.s.now_ms;
    fl_store_close(&t.s);
    fl_ledger_deinit(&t.ledger);
    fl_disk_init(&fix.disk, fix.disk_path);
}

static void
drop_store(void)
{
    for (int h = 0; h < HOMES; h++) {
        fl_ledger_deinit(&fix.rest[h]);
    }
    fl_ledger_deinit(&fix.all);
    fl_disk_deinit(&fix.disk);
    fl_room_remove(fix.root);
}

/* Path of a file below the store's directory; false: it is none. */
static bool
path_of(unsigned ino, char *out, size_t size)
{
    const fl_disk_t *d = &fix.disk;
    char below[256] = "";

    while (ino != 1) {
        const fl_entry_t *e = NULL;
        char rest[256];

        for (size_t i = 0; i < d->n_base; i++) {
            if (d->base[i].ino == ino) {
                e = &d->base[i];
            }
        }
        if (e == NULL) {
            return false;
        }
        if (e->dir == 1) { /* data */
            (void) snprintf(out, size, "%s", below);
            return true;
        }
        memcpy(rest, below, sizeof(rest));
        (void) snprintf(below, sizeof(below), "%s%s%.120s", e->name,
                        rest[0] ? "/" : "", rest);
        ino = e->dir;
    }
    return false;
}

/* ---- one trial ---- */

typedef struct {
    bool started;
    fl_verdict_t v; /* against everything */
    bool rest_is_there;
    unsigned n_said; /* log lines that say that something is wrong */
    char why[NLT_ERR_TEXT_MAX];
} outcome_t;

static unsigned n_said;

static void
count_line(void *ctx, nlt_log_level_t level, const char *text, size_t len)
{
    fl_store_t *s = ctx;

    n_said += level <= NLT_LOG_WARN;
    if (level <= NLT_LOG_ERROR) {
        (void) snprintf(s->last_log, sizeof(s->last_log), "%.*s", (int) len,
                        text);
    }
    if (getenv("NLT_TEST_VERBOSE") != NULL) {
        printf("# log %d: %.*s\n", (int) level, (int) len, text);
    }
}

/* Readers of what no query of ours has read. */
static bool
readers_object(const char *name, const char *path)
{
    nlt_err_t err;
    char dir[300];
    bool fine = true;
    int fd;

    (void) snprintf(dir, sizeof(dir), "%s/%s/data", fix.root, name);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (strcmp(path, NLT_FILE_DELETES) == 0) {
        nlt_delete_list_t *l;

        fine = nlt_deletes_load(&nlt_env_posix, fd, NULL, &l, &err) == NLT_OK;
        if (fine) {
            nlt_deletes_free(&nlt_env_posix, l);
        }
    } else if (strncmp(path, NLT_DIR_BLOCKS "/", 7) == 0) {
        char block[NLT_ULID_LEN + 1];
        nlt_block_t *b;
        nlt_pool_t pool;
        int blocks_fd = openat(fd, NLT_DIR_BLOCKS, O_RDONLY | O_DIRECTORY);

        (void) snprintf(block, sizeof(block), "%s",
                        path + strlen(NLT_DIR_BLOCKS "/"));
        nlt_pool_init(&pool, &nlt_mem_libc, 64u << 20);
        fine = nlt_block_open(&nlt_env_posix, blocks_fd, block, &b, &err)
               == NLT_OK;
        if (fine) {
            fine = nlt_block_validate(b, &pool, &err) == NLT_OK;
            nlt_block_close(b);
        }
        nlt_pool_deinit(&pool);
        (void) close(blocks_fd);
    }
    (void) close(fd);
    return !fine;
}

static void
open_and_ask(const char *name, const char *path, int home, outcome_t *o)
{
    nlt_err_t err = {.rc = NLT_OK};
    fl_verdict_t v;
    fl_store_t s;
    nlt_head_ctl_t *ctl;

    memset(o, 0, sizeof(*o));
    n_said = 0;
    fl_store_init(&s, fix.root, name, NULL, 1000);
    s.now_ms = fix.now_ms;
    s.env.log = count_line;
    if (readers_object(name, path)) {
        n_said++;
    }
    o->started = fl_store_start(&s, 1, &err);
    if (o->started) {
        /* The helper has its own look at a head; then it may be another. */
        fl_store_steps(&s, 4);
        o->started = fl_store_wait(&s, &err);
    }
    if (o->started) {
        (void) fl_store_check(&s, &fix.all, 0, false, &o->v);
        o->rest_is_there = fl_store_check(&s, &fix.rest[home], 0, false, &v);
        (void) snprintf(o->why, sizeof(o->why), "%s", v.first);
        fl_store_steps(&s, 4); /* the helper looks at what is suspect */
        ctl = nlt_store_ctl(s.store[0]);
        n_said +=
            ctl != NULL && atomic_load(&ctl->counters.wal_skipped_bytes) > 0;
    } else {
        (void) snprintf(o->why, sizeof(o->why), "%.200s", err.text);
    }
    fl_store_close(&s);
    o->n_said = n_said;
}

/* ---- what may happen ---- */

typedef struct {
    const char *path; /* below the store */
    const uint8_t *p;
    size_t len;
    int home; /* whose samples it has */
} victim_t;

static bool
is_in(const char *path, const char *part)
{
    return strstr(path, part) != NULL;
}

/* May the store refuse to start, saying this? */
static bool
refusal_ok(const victim_t *f, const char *why)
{
    static const char *const names[] = {NLT_MANIFEST_NAME, NLT_FILE_DELETES,
                                        NLT_FILE_STORE_ID};

    for (size_t i = 0; i < NLT_COUNT(names); i++) {
        if (strcmp(f->path, names[i]) == 0) {
            /* Another id is an id: then the MANIFEST is not of it. */
            return is_in(why, names[i]) || is_in(why, NLT_MANIFEST_NAME);
        }
    }
    return false;
}

/* Where a text begins in a file. */
static size_t
position(const victim_t *f, const char *text)
{
    const uint8_t *at = memmem(f->p, f->len, text, strlen(text));

    return at ? (size_t) (at - f->p) : SIZE_MAX;
}

/*
 * May a change of this byte go unnoticed?  docs/formats/ say where there is no
 * checksum.
 */
static bool
silent_ok(const victim_t *f, size_t off)
{
    if (strcmp(f->path, NLT_FILE_TERM) == 0
        || strcmp(f->path, NLT_FILE_USERS) == 0) {
        return true;
    }
    if (is_in(f->path, "/chunks/")) {
        return off >= 5 && off < 8; /* padding of the header */
    }
    if (is_in(f->path, "/index")) {
        return off >= 5 && f->p[off] == 0; /* padding of series, postings */
    }
    if (is_in(f->path, "/meta.json")) {
        /* A key of ours that is called otherwise is gone; its own checksum
         * stands behind all that it covers. */
        size_t ours = position(f, "\"nightlight\"");

        return (off > ours && off < ours + strlen("\"nightlight\"") - 1)
               || off > position(f, "\"checksum\"");
    }
    return false;
}

/* Does a frame of the log end here? */
static bool
ends_frame(const victim_t *f, size_t off)
{
    size_t at = 0;
    nlt_wal_frame_t w;

    while (at < off && nlt_wal_frame_peek(f->p + at, f->len - at, &w)) {
        at += NLT_WAL_HEADER_LEN + w.body_len;
    }
    return at == off;
}

/* A file that was cut may look like a shorter one. */
static bool
silent_cut_ok(const victim_t *f, size_t len)
{
    if (is_in(f->path, NLT_SUFFIX_WAL)) {
        return ends_frame(f, len);
    }
    if (is_in(f->path, "/meta.json")) {
        return len == f->len - 1 && f->p[len] == '\n';
    }
    return strcmp(f->path, NLT_FILE_TERM) == 0
           || strcmp(f->path, NLT_FILE_USERS) == 0;
}

static void
judge(const victim_t *f, const char *what, size_t off, const outcome_t *o,
      bool silence_ok)
{
    const char *fault = NULL;

    if (!o->started) {
        fault = refusal_ok(f, o->why) ? NULL : "it does not start";
    } else if (o->v.wrong + o->v.alien + o->v.twice > 0) {
        fault = "something is wrong";
    } else if (!o->rest_is_there) {
        fault = "more is missing than was damaged";
    } else if (o->n_said == 0 && !silence_ok) {
        fault = o->v.lost > 0 ? "it lost samples and said nothing"
                              : "it went unnoticed";
    }
    if (fault != NULL) {
        NLT_CHECK(!"damage does harm");
        printf("# %s, %s %zu of %zu: %s (%s; %s)\n", f->path, what, off,
               f->len, fault, o->v.first, o->why);
        fix.n_faults++;
    }
}

/* ---- all of a file ---- */

static void
put_tree(void)
{
    fl_tree_t *t = fl_tree_create(&fix.disk, 0, FL_LOSS_ALL, 0);
    char path[96];

    fl_room_dir(fix.root, "bad", path, sizeof(path));
    fl_tree_write(t, path);
    fl_tree_destroy(t);
}

static int
open_victim(const victim_t *f)
{
    char path[400];
    int fd;

    (void) snprintf(path, sizeof(path), "%s/bad/data/%s", fix.root, f->path);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        fl_die("cannot open", path);
    }
    return fd;
}

static void
flip(const victim_t *f, size_t off, uint8_t mask)
{
    uint8_t byte = f->p[off] ^ mask;
    outcome_t o;
    int fd;

    put_tree();
    fd = open_victim(f);
    NLT_CHECK_INT(pwrite(fd, &byte, 1, (off_t) off), 1);
    (void) close(fd);
    (void) snprintf(trying, sizeof(trying), "# crash: %s, byte %zu ^ %02x\n",
                    f->path, off, mask);
    fl_room_remove(fix.head_path);
    NLT_CHECK_INT(mkdir(fix.head_path, 0700), 0);
    open_and_ask("bad", f->path, f->home, &o);
    judge(f, "byte", off, &o, silent_ok(f, off));
}

static void
cut(const victim_t *f, size_t len)
{
    outcome_t o;
    int fd;

    put_tree();
    fd = open_victim(f);
    NLT_CHECK_INT(ftruncate(fd, (off_t) len), 0);
    (void) close(fd);
    (void) snprintf(trying, sizeof(trying), "# crash: %s, cut to %zu\n",
                    f->path, len);
    fl_room_remove(fix.head_path);
    NLT_CHECK_INT(mkdir(fix.head_path, 0700), 0);
    open_and_ask("bad", f->path, f->home, &o);
    judge(f, "cut to", len, &o, silent_cut_ok(f, len));
}

/* Calls f for each file that wants(path); gives their count. */
static unsigned
each_file(bool (*wants)(const char *path), void (*f)(const victim_t *f))
{
    unsigned n = 0;

    for (unsigned ino = 1; ino < fix.disk.n_inodes; ino++) {
        char path[256];
        victim_t v = {.path = path,
                      .p = fix.disk.inode[ino].base,
                      .len = fix.disk.inode[ino].base_len};

        if (fix.disk.inode[ino].is_dir || !path_of(ino, path, sizeof(path))
            || !wants(path)) {
            continue;
        }
        v.home = is_in(path, fix.first)             ? HOME_FIRST
                 : is_in(path, NLT_DIR_BLOCKS "/")  ? HOME_SECOND
                 : !strcmp(path, NLT_FILE_METADATA) ? HOME_SAID
                                                    : HOME_LOG;
        f(&v);
        n++;
    }
    return n;
}

/* Steps through `len` positions: all of them, or about n. */
static size_t
stride(size_t len, size_t n)
{
    return full || len <= n ? 1 : len / n;
}

static void
flip_all(const victim_t *f)
{
    /* Most of `term` is a path. */
    size_t step = stride(f->len, strcmp(f->path, NLT_FILE_TERM) ? 40 : 4);
    size_t off = (size_t) nlt_test_below(step);

    for (; off < f->len && fix.n_faults < FAULTS_MAX; off += step) {
        flip(f, off, (uint8_t) (1u << nlt_test_below(8)));
        if (full) {
            flip(f, off, (uint8_t) (1 + nlt_test_below(255)));
        }
    }
}

static void
cut_all(const victim_t *f)
{
    size_t step = stride(f->len, strcmp(f->path, NLT_FILE_TERM) ? 25 : 4);
    size_t len = (size_t) nlt_test_below(step);

    for (; len < f->len && fix.n_faults < FAULTS_MAX; len += step) {
        cut(f, len);
    }
}

static bool
wants_log(const char *path)
{
    return is_in(path, NLT_SUFFIX_WAL);
}

static bool
wants_block(const char *path)
{
    return is_in(path, NLT_DIR_BLOCKS "/");
}

static bool
wants_other(const char *path)
{
    return !wants_log(path) && !wants_block(path) && !is_in(path, "lock");
}

static void
with_store(bool (*wants)(const char *path), unsigned at_least)
{
    make_store();
    NLT_CHECK(each_file(wants, flip_all) >= at_least);
    (void) each_file(wants, cut_all);
    drop_store();
    fix.n_faults = 0;
}

/* ---- the head's control file ---- */

/* Files of the head as the store left them. */
static struct {
    char name[64];
    off_t size;
    uint8_t *p; /* up to its last data */
    size_t len;
} head[8];
static size_t n_head;

static void
keep_head(void)
{
    DIR *dir = opendir(fix.head_path);
    const struct dirent *e;

    n_head = 0;
    while (dir != NULL && (e = readdir(dir)) != NULL) {
        struct stat st;
        off_t at = 0, data;
        int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC);

        if (strncmp(e->d_name, "head.", 5) != 0 || fd < 0
            || fstat(fd, &st) < 0) {
            (void) close(fd);
            continue;
        }
        while ((data = lseek(fd, at, SEEK_DATA)) >= 0) {
            at = lseek(fd, data, SEEK_HOLE);
        }
        head[n_head].size = st.st_size;
        head[n_head].len = (size_t) at;
        head[n_head].p = malloc((size_t) at + 1);
        (void) snprintf(head[n_head].name, sizeof(head[n_head].name), "%.63s",
                        e->d_name);
        NLT_CHECK(pread(fd, head[n_head].p, (size_t) at, 0) == at);
        (void) close(fd);
        n_head++;
    }
    (void) closedir(dir);
}

static void
forget_head(void)
{
    while (n_head > 0) {
        free(head[--n_head].p);
    }
}

/* The head as it was, but for one byte of its control file. */
static void
put_head(size_t off, uint8_t mask)
{
    fl_room_remove(fix.head_path);
    NLT_CHECK_INT(mkdir(fix.head_path, 0700), 0);
    for (size_t i = 0; i < n_head; i++) {
        char path[300];
        bool ctl = strstr(head[i].name, ".ctl") != NULL;
        int fd;

        (void) snprintf(path, sizeof(path), "%s/%.63s", fix.head_path,
                        head[i].name);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        head[i].p[ctl ? off : 0] ^= ctl ? mask : 0;
        if (pwrite(fd, head[i].p, head[i].len, 0) != (ssize_t) head[i].len
            || ftruncate(fd, head[i].size) < 0) {
            fl_die("cannot write", path);
        }
        head[i].p[ctl ? off : 0] ^= ctl ? mask : 0;
        (void) close(fd);
    }
}

static void
flip_head(size_t off, uint8_t mask)
{
    /* What says where metadata lies in memory has no checksum. */
    victim_t f = {.path = "the head's control file", .home = HOME_SAID};
    outcome_t o;

    put_tree();
    put_head(off, mask);
    (void) snprintf(trying, sizeof(trying), "# crash: head, byte %zu ^ %02x\n",
                    off, mask);
    open_and_ask("bad", f.path, f.home, &o);
    if (o.started && o.v.lost > 0) {
        o.rest_is_there = false;
    }
    judge(&f, "byte", off, &o, true);
}

static void
a_byte_of_the_heads_control_file(void)
{
    size_t len = 0, step, off;

    make_store();
    keep_head();
    for (size_t i = 0; i < n_head; i++) {
        len = strstr(head[i].name, ".ctl") ? head[i].len : len;
    }
    NLT_CHECK(len > 10000);
    step = stride(len, 300);
    for (off = (size_t) nlt_test_below(step);
         off < len && fix.n_faults < FAULTS_MAX; off += step) {
        flip_head(off, (uint8_t) (1 + nlt_test_below(255)));
    }
    forget_head();
    drop_store();
    fix.n_faults = 0;
}

/* ---- tests ---- */

static void
ask_about(const victim_t *f)
{
    outcome_t o;

    put_tree();
    fl_room_remove(fix.head_path);
    NLT_CHECK_INT(mkdir(fix.head_path, 0700), 0);
    open_and_ask("bad", f->path, f->home, &o);
    NLT_CHECK(o.started);
    NLT_CHECK(o.rest_is_there);
    NLT_CHECK_INT(o.v.lost, 0);
    NLT_CHECK_INT(o.n_said, 0);
}

static bool
wants_any(const char *path)
{
    (void) path;
    return true;
}

static void
a_sound_store_says_nothing(void)
{
    make_store();
    NLT_CHECK(each_file(wants_any, ask_about) > 12);
    drop_store();
}

static void
a_byte_of_a_log(void)
{
    with_store(wants_log, 1);
}

static void
a_byte_of_a_block(void)
{
    with_store(wants_block, 8);
}

static void
a_byte_of_manifest_deletes_id_or_term(void)
{
    with_store(wants_other, 4);
}

int
main(int argc, char **argv)
{
    full = getenv("NLT_FAULT_FULL") != NULL;
    (void) nlt_test_seed();
    (void) signal(SIGSEGV, on_crash);
    (void) signal(SIGBUS, on_crash);
    (void) signal(SIGABRT, on_crash);
    FL_TEST(a_sound_store_says_nothing);
    FL_TEST(a_byte_of_a_log);
    FL_TEST(a_byte_of_a_block);
    FL_TEST(a_byte_of_manifest_deletes_id_or_term);
    FL_TEST(a_byte_of_the_heads_control_file);
    return nlt_test_done();
}

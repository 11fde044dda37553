/*
 * fl_disk.c - the recording and failing table of calls.
 */
#include "fl_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void
fl_die(const char *what, const char *name)
{
    printf("Bail out! laboratory: %s: %s\n", what, name);
    (void) fflush(stdout);
    abort();
}

static void *
grow(void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return p;
    }
    *cap = *cap ? 2 * *cap : 64;
    p = realloc(p, *cap * size);
    if (p == NULL) {
        fl_die("memory", "grow");
    }
    return p;
}

/* ---- names and inodes ---- */

static fl_entry_t *
find(const fl_disk_t *d, unsigned dir, const char *name)
{
    for (size_t i = 0; i < d->n_entries; i++) {
        if (d->entry[i].dir == dir && strcmp(d->entry[i].name, name) == 0) {
            return &d->entry[i];
        }
    }
    return NULL;
}

static unsigned
inode_new(fl_disk_t *d, bool is_dir, unsigned parent)
{
    size_t cap = d->inodes_cap;

    d->inode = grow(d->inode, d->n_inodes + 1, &cap, sizeof(*d->inode));
    d->inodes_cap = (unsigned) cap;
    if (d->n_inodes == 0) {
        d->n_inodes = 1; /* 0 is none */
    }
    d->inode[d->n_inodes] = (fl_inode_t){.is_dir = is_dir, .parent = parent};
    return d->n_inodes++;
}

static fl_entry_t
entry_of(unsigned dir, const char *name, unsigned ino)
{
    fl_entry_t e = {.dir = dir, .ino = ino};

    if (strlen(name) >= sizeof(e.name)) {
        fl_die("name too long", name);
    }
    memcpy(e.name, name, strlen(name) + 1);
    return e;
}

static void
assign(fl_disk_t *d, const fl_entry_t *e)
{
    fl_entry_t *at = find(d, e->dir, e->name);

    if (at != NULL && e->ino == 0) {
        *at = d->entry[--d->n_entries];
    } else if (at != NULL) {
        at->ino = e->ino;
    } else if (e->ino != 0) {
        d->entry =
            grow(d->entry, d->n_entries, &d->entries_cap, sizeof(*d->entry));
        d->entry[d->n_entries++] = *e;
    }
}

/* A name below a directory: where its last part lies, and what it is. */
typedef struct {
    unsigned dir; /* 0: not below our root */
    unsigned ino; /* 0: not there */
    char name[FL_NAME_MAX];
} place_t;

static unsigned
dir_of_fd(const fl_disk_t *d, int fd)
{
    return fd >= 0 && (size_t) fd < d->n_fds ? d->fd[fd].ino : 0;
}

static place_t
resolve(const fl_disk_t *d, int dir_fd, const char *path)
{
    size_t root = strlen(d->root);
    place_t p = {.dir = 0};
    unsigned at;

    if (path[0] == '/') {
        if (strncmp(path, d->root, root) != 0
            || (path[root] != '/' && path[root] != '\0')) {
            return p;
        }
        path += root;
        at = 1;
    } else {
        at = dir_of_fd(d, dir_fd);
    }
    if (at == 0) {
        return p;
    }
    p.dir = p.ino = at;
    for (;;) {
        size_t n;
        fl_entry_t *e;

        path += strspn(path, "/");
        n = strcspn(path, "/");
        if (n == 0) {
            return p;
        }
        if (n >= sizeof(p.name)) {
            fl_die("name too long", path);
        }
        if (p.ino == 0 || !d->inode[p.ino].is_dir) {
            return (place_t){.dir = 0};
        }
        if (n == 1 && path[0] == '.') {
            path += n;
            continue;
        }
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            p.ino = p.dir = d->inode[p.ino].parent;
            path += n;
            if (p.ino == 0) {
                return p;
            }
            continue;
        }
        p.dir = p.ino;
        memcpy(p.name, path, n);
        p.name[n] = '\0';
        e = find(d, p.dir, p.name);
        p.ino = e ? e->ino : 0;
        path += n;
    }
}

/* ---- noting ---- */

static fl_change_t *
note(fl_disk_t *d, fl_kind_t kind, unsigned ino)
{
    d->change = grow(d->change, d->n, &d->cap, sizeof(*d->change));
    d->change[d->n] = (fl_change_t){.kind = kind, .ino = ino};
    return &d->change[d->n++];
}

static void
note_names(fl_disk_t *d, fl_entry_t a, const fl_entry_t *b)
{
    fl_change_t *c = note(d, FL_NAME, a.ino);

    c->entry[0] = a;
    c->n_entries = 1;
    assign(d, &c->entry[0]);
    if (b != NULL) {
        c->entry[1] = *b;
        c->n_entries = 2;
        assign(d, &c->entry[1]);
    }
}

static void
note_size(fl_disk_t *d, unsigned ino, uint64_t size)
{
    if (d->inode[ino].size != size) {
        note(d, FL_SIZE, ino)->off = size;
        d->inode[ino].size = size;
    }
}

static void
note_write(fl_disk_t *d, int fd, const void *p, size_t n)
{
    fl_fd_t *f = &d->fd[fd];
    fl_inode_t *i = &d->inode[f->ino];
    fl_change_t *c = note(d, FL_WRITE, f->ino);

    c->off = f->append ? i->size : f->pos;
    c->len = n;
    c->data = malloc(n + 1);
    if (c->data == NULL) {
        fl_die("memory", "write");
    }
    memcpy(c->data, p, n);
    f->pos = c->off + n;
    if (f->pos > i->size) {
        i->size = f->pos;
    }
}

static void
note_fd(fl_disk_t *d, int fd, unsigned ino, int flags)
{
    while ((size_t) fd >= d->n_fds) {
        size_t cap = d->n_fds;

        d->fd = grow(d->fd, d->n_fds, &cap, sizeof(*d->fd));
        memset(d->fd + d->n_fds, 0, (cap - d->n_fds) * sizeof(*d->fd));
        d->n_fds = cap;
    }
    d->fd[fd] = (fl_fd_t){.ino = ino, .append = (flags & O_APPEND) != 0};
}

/* ---- the table ---- */

/* With the mutex taken: does this call fail? */
static bool
trips(fl_disk_t *d, bool changes)
{
    const fl_plan_t *p = &d->plan;
    long n;
    bool fails;

    if (p->spares_reads && !changes) {
        return false;
    }
    n = ++d->calls;
    fails =
        p->fail_at != 0 && (p->transient ? n == p->fail_at : n >= p->fail_at);
    d->hit |= fails;
    return fails;
}

static int
failure(const fl_disk_t *d)
{
    return d->plan.sys != 0 ? d->plan.sys : -EIO;
}

static fl_disk_t *
enter(void *ctx)
{
    fl_disk_t *d = ctx;

    (void) pthread_mutex_lock(&d->mutex);
    return d;
}

static int64_t
leave(fl_disk_t *d, int64_t rc)
{
    (void) pthread_mutex_unlock(&d->mutex);
    return rc;
}

static int
disk_open(void *ctx, int dir_fd, const char *name, int flags, unsigned mode)
{
    fl_disk_t *d = enter(ctx);
    place_t at = resolve(d, dir_fd, name);
    bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
    int fd = trips(d, changes)
                 ? failure(d)
                 : nlt_io_posix.open(NULL, dir_fd, name, flags, mode);

    if (fd < 0) {
        return (int) leave(d, fd);
    }
    if (at.dir == 0) {
        note_fd(d, fd, 0, flags);
        return (int) leave(d, fd);
    }
    if (at.ino == 0) {
        at.ino = inode_new(d, false, 0);
        note_names(d, entry_of(at.dir, at.name, at.ino), NULL);
    } else if (flags & O_TRUNC) {
        note_size(d, at.ino, 0);
    }
    note_fd(d, fd, at.ino, flags);
    return (int) leave(d, fd);
}

/* Closing always works, or a test would run out of descriptors. */
static int
disk_close(void *ctx, int fd)
{
    fl_disk_t *d = enter(ctx);

    if (fd >= 0 && (size_t) fd < d->n_fds) {
        d->fd[fd].ino = 0;
    }
    return (int) leave(d, nlt_io_posix.close(NULL, fd));
}

static ssize_t
disk_read(void *ctx, int fd, void *p, size_t n, int64_t off)
{
    fl_disk_t *d = enter(ctx);
    ssize_t rc =
        trips(d, false) ? failure(d) : nlt_io_posix.read(NULL, fd, p, n, off);

    return leave(d, rc);
}

static ssize_t
disk_write(void *ctx, int fd, const void *p, size_t n)
{
    fl_disk_t *d = enter(ctx);
    ssize_t fails = 0, rc;

    if (trips(d, true)) {
        bool first = d->calls == d->plan.fail_at;

        fails = failure(d);
        if (!first || n < 2 || !(d->plan.torn || d->plan.shortens)) {
            return leave(d, fails);
        }
        n /= 2;
        if (d->plan.shortens) {
            fails = 0;
        }
    }
    rc = nlt_io_posix.write(NULL, fd, p, n);
    if (rc > 0 && dir_of_fd(d, fd) != 0) {
        note_write(d, fd, p, (size_t) rc);
    }
    return leave(d, fails < 0 ? fails : rc);
}

static int
disk_fsync(void *ctx, int fd)
{
    fl_disk_t *d = enter(ctx);

    bool fails = trips(d, true);

    if (dir_of_fd(d, fd) != 0) {
        (void) note(d, fails ? FL_SYNC_FAILED : FL_SYNC, dir_of_fd(d, fd));
    }
    return (int) leave(d, fails ? failure(d) : 0);
}

static int
disk_truncate(void *ctx, int fd, int64_t size)
{
    fl_disk_t *d = enter(ctx);
    int rc =
        trips(d, true) ? failure(d) : nlt_io_posix.truncate(NULL, fd, size);

    if (rc >= 0 && dir_of_fd(d, fd) != 0) {
        note_size(d, dir_of_fd(d, fd), (uint64_t) size);
    }
    return (int) leave(d, rc);
}

static int
disk_allocate(void *ctx, int fd, int64_t off, int64_t len)
{
    fl_disk_t *d = enter(ctx);
    int rc = trips(d, true) ? failure(d)
                            : nlt_io_posix.allocate(NULL, fd, off, len);
    unsigned ino = dir_of_fd(d, fd);

    if (rc >= 0 && ino != 0 && (uint64_t) (off + len) > d->inode[ino].size) {
        note_size(d, ino, (uint64_t) (off + len));
    }
    return (int) leave(d, rc);
}

static int64_t
disk_size(void *ctx, int fd)
{
    fl_disk_t *d = enter(ctx);

    return leave(d,
                 trips(d, false) ? failure(d) : nlt_io_posix.size(NULL, fd));
}

static int
disk_stat(void *ctx, int dir_fd, const char *name, nlt_io_stat_t *out)
{
    fl_disk_t *d = enter(ctx);

    return (int) leave(d, trips(d, false)
                              ? failure(d)
                              : nlt_io_posix.stat(NULL, dir_fd, name, out));
}

static int
disk_mkdir(void *ctx, int dir_fd, const char *name, unsigned mode)
{
    fl_disk_t *d = enter(ctx);
    place_t at = resolve(d, dir_fd, name);
    int rc = trips(d, true) ? failure(d)
                            : nlt_io_posix.mkdir(NULL, dir_fd, name, mode);

    if (rc >= 0 && at.dir != 0) {
        unsigned ino = inode_new(d, true, at.dir);

        note_names(d, entry_of(at.dir, at.name, ino), NULL);
    }
    return (int) leave(d, rc);
}

static int
disk_rename(void *ctx, int dir_fd, const char *from, const char *to)
{
    fl_disk_t *d = enter(ctx);
    place_t a = resolve(d, dir_fd, from), b = resolve(d, dir_fd, to);
    int rc = trips(d, true) ? failure(d)
                            : nlt_io_posix.rename(NULL, dir_fd, from, to);

    if (rc >= 0 && a.dir != 0 && b.dir != 0) {
        fl_entry_t gone = entry_of(a.dir, a.name, 0);

        note_names(d, entry_of(b.dir, b.name, a.ino), &gone);
        if (d->inode[a.ino].is_dir) {
            d->inode[a.ino].parent = b.dir;
        }
    } else if (rc >= 0 && (a.dir != 0 || b.dir != 0)) {
        fl_die("rename across the border", to);
    }
    return (int) leave(d, rc);
}

static int
disk_link(void *ctx, int dir_fd, const char *name, int to_fd,
          const char *to_name)
{
    fl_disk_t *d = enter(ctx);
    place_t a = resolve(d, dir_fd, name), b = resolve(d, to_fd, to_name);
    int rc = trips(d, true)
                 ? failure(d)
                 : nlt_io_posix.link(NULL, dir_fd, name, to_fd, to_name);

    if (rc >= 0 && b.dir != 0) {
        note_names(d, entry_of(b.dir, b.name, a.ino), NULL);
    }
    return (int) leave(d, rc);
}

static int
disk_remove(void *ctx, int dir_fd, const char *name, bool dir)
{
    fl_disk_t *d = enter(ctx);
    place_t at = resolve(d, dir_fd, name);
    int rc = trips(d, true) ? failure(d)
             : dir          ? nlt_io_posix.rmdir(NULL, dir_fd, name)
                            : nlt_io_posix.unlink(NULL, dir_fd, name);

    if (rc >= 0 && at.dir != 0) {
        note_names(d, entry_of(at.dir, at.name, 0), NULL);
    }
    return (int) leave(d, rc);
}

static int
disk_unlink(void *ctx, int dir_fd, const char *name)
{
    return disk_remove(ctx, dir_fd, name, false);
}

static int
disk_rmdir(void *ctx, int dir_fd, const char *name)
{
    return disk_remove(ctx, dir_fd, name, true);
}

static int64_t
disk_free_bytes(void *ctx, int fd)
{
    fl_disk_t *d = enter(ctx);

    return leave(d, trips(d, false) ? failure(d)
                                    : nlt_io_posix.free_bytes(NULL, fd));
}

/* The callback may come back through the table: not under the mutex. */
static int
disk_list(void *ctx, int dir_fd, bool (*cb)(void *cb_ctx, const char *name),
          void *cb_ctx)
{
    fl_disk_t *d = enter(ctx);
    bool fails = trips(d, false);

    (void) leave(d, 0);
    return fails ? failure(d) : nlt_io_posix.list(NULL, dir_fd, cb, cb_ctx);
}

nlt_io_t
fl_disk_io(fl_disk_t *d)
{
    return (nlt_io_t){.open = disk_open,
                      .close = disk_close,
                      .read = disk_read,
                      .write = disk_write,
                      .fsync = disk_fsync,
                      .fdatasync = disk_fsync,
                      .truncate = disk_truncate,
                      .allocate = disk_allocate,
                      .size = disk_size,
                      .stat = disk_stat,
                      .mkdir = disk_mkdir,
                      .rename = disk_rename,
                      .link = disk_link,
                      .unlink = disk_unlink,
                      .rmdir = disk_rmdir,
                      .free_bytes = disk_free_bytes,
                      .list = disk_list,
                      .ctx = d};
}

/* ---- what was there before ---- */

typedef struct {
    fl_disk_t *d;
    unsigned dir;
    int fd;
} scan_t;

static bool
scan_cb(void *ctx, const char *name)
{
    scan_t *s = ctx;
    int fd = nlt_io_posix.open(NULL, s->fd, name, O_RDONLY | O_NOFOLLOW, 0);
    struct stat st;
    unsigned ino;
    fl_entry_t e;

    if (fd < 0 || fstat(fd, &st) < 0) {
        fl_die("cannot look at", name);
    }
    ino = inode_new(s->d, S_ISDIR(st.st_mode), s->dir);
    e = entry_of(s->dir, name, ino);
    assign(s->d, &e);
    if (S_ISDIR(st.st_mode)) {
        scan_t below = {s->d, ino, fd};

        (void) nlt_io_posix.list(NULL, fd, scan_cb, &below);
    } else {
        fl_inode_t *i = &s->d->inode[ino];

        i->size = i->base_len = (size_t) st.st_size;
        i->base = malloc(i->base_len + 1);
        if (i->base == NULL
            || nlt_io_posix.read(NULL, fd, i->base, i->base_len, 0)
                   != (ssize_t) i->base_len) {
            fl_die("cannot read", name);
        }
    }
    (void) nlt_io_posix.close(NULL, fd);
    return true;
}

void
fl_disk_init(fl_disk_t *d, const char *root)
{
    scan_t s = {d, 1, -1};

    memset(d, 0, sizeof(*d));
    (void) snprintf(d->root, sizeof(d->root), "%s", root);
    (void) pthread_mutex_init(&d->mutex, NULL);
    (void) inode_new(d, true, 0);
    s.fd = nlt_io_posix.open(NULL, AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0);
    if (s.fd < 0) {
        fl_die("cannot open", root);
    }
    (void) nlt_io_posix.list(NULL, s.fd, scan_cb, &s);
    (void) nlt_io_posix.close(NULL, s.fd);
    d->n_base = d->n_entries;
    d->base = malloc((d->n_base + 1) * sizeof(*d->base));
    if (d->base == NULL) {
        fl_die("memory", "names");
    }
    if (d->n_base > 0) {
        memcpy(d->base, d->entry, d->n_base * sizeof(*d->base));
    }
}

void
fl_disk_deinit(fl_disk_t *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->change[i].data);
    }
    for (unsigned i = 1; i < d->n_inodes; i++) {
        free(d->inode[i].base);
    }
    free(d->change);
    free(d->inode);
    free(d->entry);
    free(d->base);
    free(d->fd);
    (void) pthread_mutex_destroy(&d->mutex);
}

void
fl_disk_rot(fl_disk_t *d, const char *path, uint64_t off, uint8_t mask)
{
    fl_disk_t *locked = enter(d);
    place_t at = resolve(d, AT_FDCWD, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    fl_change_t *c;
    uint8_t byte;

    if (at.ino == 0 || fd < 0 || pread(fd, &byte, 1, (off_t) off) != 1) {
        fl_die("cannot rot", path);
    }
    byte ^= mask;
    if (pwrite(fd, &byte, 1, (off_t) off) != 1) {
        fl_die("cannot rot", path);
    }
    (void) close(fd);
    c = note(d, FL_WRITE, at.ino);
    c->off = off;
    c->len = 1;
    c->data = malloc(1);
    if (c->data == NULL) {
        fl_die("memory", "rot");
    }
    c->data[0] = byte;
    (void) note(d, FL_SYNC, at.ino);
    (void) leave(locked, 0);
}

void
fl_disk_plan(fl_disk_t *d, fl_plan_t plan)
{
    d->plan = plan;
    d->calls = 0;
    d->hit = false;
}

/* ---- asking ---- */

/* A name that the inode has had; "" of the root. */
static const char *
name_of(const fl_disk_t *d, unsigned ino)
{
    for (size_t i = d->n; i > 0; i--) {
        const fl_change_t *c = &d->change[i - 1];

        for (unsigned k = 0; c->kind == FL_NAME && k < c->n_entries; k++) {
            if (c->entry[k].ino == ino) {
                return c->entry[k].name;
            }
        }
    }
    for (size_t i = 0; i < d->n_base; i++) {
        if (d->base[i].ino == ino) {
            return d->base[i].name;
        }
    }
    return "";
}

bool
fl_disk_is_named(const fl_disk_t *d, unsigned ino, const char *suffix)
{
    const char *name = name_of(d, ino);
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

size_t
fl_disk_safe_at(const fl_disk_t *d, unsigned ino, size_t changes)
{
    bool lost = false;

    for (size_t i = changes; i < d->n; i++) {
        const fl_change_t *c = &d->change[i];

        if (c->kind == FL_SYNC && c->ino == ino && !lost) {
            return i + 1;
        }
        lost |= c->kind == FL_SYNC_FAILED && c->ino == ino;
        if (c->kind == FL_NAME && c->n_entries == 1 && c->entry[0].ino == 0
            && strcmp(c->entry[0].name, name_of(d, ino)) == 0) {
            return i + 1;
        }
    }
    return SIZE_MAX;
}

void
fl_disk_describe(const fl_disk_t *d, size_t i, char *buf, size_t size)
{
    const fl_change_t *c = &d->change[i];

    switch (c->kind) {
    case FL_WRITE:
        (void) snprintf(buf, size, "write %s [%llu, +%zu)", name_of(d, c->ino),
                        (unsigned long long) c->off, c->len);
        break;
    case FL_SIZE:
        (void) snprintf(buf, size, "size %s = %llu", name_of(d, c->ino),
                        (unsigned long long) c->off);
        break;
    case FL_SYNC:
    case FL_SYNC_FAILED:
        (void) snprintf(buf, size, "sync %s%s%s", name_of(d, c->ino),
                        d->inode[c->ino].is_dir ? "/" : "",
                        c->kind == FL_SYNC ? "" : ", failed");
        break;
    case FL_NAME:
        (void) snprintf(buf, size, "%s %s%s%s in %s/",
                        c->n_entries == 2      ? "rename"
                        : c->entry[0].ino == 0 ? "remove"
                                               : "create",
                        c->n_entries == 2 ? c->entry[1].name : "",
                        c->n_entries == 2 ? " to " : "", c->entry[0].name,
                        name_of(d, c->entry[0].dir));
        break;
    }
}

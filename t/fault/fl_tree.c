/*
 * fl_tree.c - plays a record back, up to a point, and forgets parts of it.
 */
#include "fl_tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_hash.h"

#define SECTOR 512u
#define PAGE   4096u

const char *const fl_loss_names[FL_LOSSES] = {
    "nothing unsynced", "everything", "names without data",
    "names and sizes",  "data only",  "names in order",
    "some of each",
};

typedef struct {
    uint8_t *p;
    size_t len;
} bytes_t;

struct fl_tree_s {
    const fl_disk_t *d;
    size_t n;
    fl_loss_t kind;
    uint64_t rand;
    size_t *synced; /* by inode: changes before this one are safe */
    bool *safe;     /* by change, of data */
    size_t cut;     /* FL_LOSS_JOURNAL: names before it are kept */
    unsigned odds;  /* of 8, that something unsynced is kept */
    bytes_t *file;  /* by inode */
    fl_entry_t *entry;
    size_t n_entries, cap;
    uint64_t sum;
};

static uint64_t
chance(fl_tree_t *t, uint64_t below)
{
    t->rand += UINT64_C(0x9e3779b97f4a7c15);
    return nlt_mix64(t->rand) % below;
}

static bool
kept_by_chance(fl_tree_t *t)
{
    return chance(t, 8) < t->odds;
}

/* ---- names ---- */

static void
assign(fl_tree_t *t, const fl_entry_t *e)
{
    for (size_t i = 0; i < t->n_entries; i++) {
        if (t->entry[i].dir == e->dir
            && strcmp(t->entry[i].name, e->name) == 0) {
            if (e->ino != 0) {
                t->entry[i].ino = e->ino;
            } else {
                t->entry[i] = t->entry[--t->n_entries];
            }
            return;
        }
    }
    if (e->ino == 0) {
        return;
    }
    if (t->n_entries == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->entry = realloc(t->entry, t->cap * sizeof(*t->entry));
        if (t->entry == NULL) {
            fl_die("memory", "names");
        }
    }
    t->entry[t->n_entries++] = *e;
}

/* A directory has one name: the one before goes, whatever was lost. */
static void
take_name_away(fl_tree_t *t, unsigned ino)
{
    for (size_t i = 0; i < t->n_entries; i++) {
        if (t->entry[i].ino == ino) {
            t->entry[i] = t->entry[--t->n_entries];
            return;
        }
    }
}

static bool
name_is_kept(fl_tree_t *t, size_t i)
{
    const fl_change_t *c = &t->d->change[i];
    bool safe = true;

    for (unsigned k = 0; k < c->n_entries; k++) {
        safe &= t->synced[c->entry[k].dir] > i;
    }
    switch (t->kind) {
    case FL_LOSS_NONE:
    case FL_LOSS_DATA:
        return safe;
    case FL_LOSS_JOURNAL:
        return safe || i < t->cut;
    case FL_LOSS_RANDOM:
        return safe || kept_by_chance(t);
    default:
        return true;
    }
}

static void
play_names(fl_tree_t *t)
{
    for (size_t i = 0; i < t->d->n_base; i++) {
        assign(t, &t->d->base[i]);
    }
    for (size_t i = 0; i < t->n; i++) {
        const fl_change_t *c = &t->d->change[i];

        if (c->kind != FL_NAME || !name_is_kept(t, i)) {
            continue;
        }
        if (c->n_entries == 2 && t->d->inode[c->ino].is_dir) {
            take_name_away(t, c->ino);
        }
        for (unsigned k = 0; k < c->n_entries; k++) {
            assign(t, &c->entry[k]);
        }
    }
}

/* ---- data ---- */

static void
resize(bytes_t *b, size_t len)
{
    if (len > b->len) {
        b->p = realloc(b->p, len);
        if (b->p == NULL) {
            fl_die("memory", "data");
        }
        memset(b->p + b->len, 0, len - b->len);
    }
    b->len = len;
}

static void
apply(bytes_t *b, const fl_change_t *c)
{
    if (c->kind == FL_SIZE) {
        resize(b, (size_t) c->off);
        return;
    }
    if (c->off + c->len > b->len) {
        resize(b, (size_t) c->off + c->len);
    }
    if (c->len > 0) {
        memcpy(b->p + c->off, c->data, c->len);
    }
}

/* Puts one sector of the page cache onto the disk, whose size stays. */
static void
write_back(bytes_t *disk, const bytes_t *cache, size_t sector)
{
    size_t from = sector * SECTOR, to = from + SECTOR;

    to = to < disk->len ? to : disk->len;
    for (size_t i = from; i < to; i++) {
        disk->p[i] = i < cache->len ? cache->p[i] : 0;
    }
}

/* One of the sizes that an unsynced file may have. */
static size_t
some_size(fl_tree_t *t, size_t before, const size_t *sizes, size_t n)
{
    size_t at = (size_t) chance(t, n + 1);
    size_t size = at == 0 ? before : sizes[at - 1];
    size_t least = at <= 1 ? before : sizes[at - 2];

    if (at > 0 && size > least + PAGE && chance(t, 2) == 0) {
        size_t pages = (size - least) / PAGE;

        size = (least / PAGE + 1 + (size_t) chance(t, pages)) * PAGE;
        size = size < sizes[at - 1] ? size : sizes[at - 1];
    }
    return size;
}

/* Sectors of the page cache that a write touched go to the disk. */
static void
write_sectors(fl_tree_t *t, bytes_t *disk, const bytes_t *cache,
              const fl_change_t *c, bool all)
{
    if (c->len == 0) {
        return;
    }
    for (size_t s = (size_t) c->off / SECTOR;
         s <= (size_t) (c->off + c->len - 1) / SECTOR; s++) {
        if (all || kept_by_chance(t)) {
            write_back(disk, cache, s);
        }
    }
}

/*
 * What is left of a file by its changes pend[0..n), some of which are safe,
 * over the content b, which is.
 */
static void
lose_data(fl_tree_t *t, bytes_t *b, const size_t *pend, size_t n)
{
    const fl_change_t *change = t->d->change;
    bool by_chance = fl_loss_has_chance(t->kind);
    bytes_t cache = {NULL, 0}, disk = {NULL, 0};
    size_t *sizes = malloc((n + 1) * sizeof(*sizes));
    size_t n_sizes = 0, size = b->len, most = b->len, before = b->len;

    if (sizes == NULL) {
        fl_die("memory", "sizes");
    }
    resize(&cache, b->len);
    resize(&disk, b->len);
    if (b->len > 0) {
        memcpy(cache.p, b->p, b->len);
        memcpy(disk.p, b->p, b->len);
    }
    for (size_t i = 0; i < n; i++) {
        const fl_change_t *c = &change[pend[i]];
        bool safe = t->safe[pend[i]];

        apply(&cache, c);
        most = cache.len > most ? cache.len : most;
        resize(&disk, most);
        if (safe) {
            before = size = cache.len;
            n_sizes = 0;
        } else {
            sizes[n_sizes++] = cache.len;
        }
        if (c->kind == FL_WRITE && (safe || by_chance)) {
            write_sectors(t, &disk, &cache, c, safe);
        }
    }
    if (t->kind == FL_LOSS_ZEROS) {
        size = cache.len;
    } else if (by_chance) {
        size = some_size(t, before, sizes, n_sizes);
    }
    resize(&disk, size);
    free(cache.p);
    free(sizes);
    free(b->p);
    *b = disk;
}

static void
play_data(fl_tree_t *t, unsigned ino)
{
    const fl_disk_t *d = t->d;
    bytes_t *b = &t->file[ino];
    size_t *pend = malloc((t->n + 1) * sizeof(*pend)), n = 0;
    bool all = t->kind == FL_LOSS_ALL || t->kind == FL_LOSS_DATA;

    if (pend == NULL) {
        fl_die("memory", "changes");
    }
    resize(b, d->inode[ino].base_len);
    if (b->len > 0) {
        memcpy(b->p, d->inode[ino].base, b->len);
    }
    for (size_t i = 0; i < t->n; i++) {
        const fl_change_t *c = &d->change[i];

        if (c->ino != ino || (c->kind != FL_WRITE && c->kind != FL_SIZE)) {
            continue;
        }
        if (all || (n == 0 && t->safe[i])) {
            apply(b, c);
        } else {
            pend[n++] = i;
        }
    }
    if (n > 0) {
        lose_data(t, b, pend, n);
    }
    free(pend);
}

/* Which changes are safe, by the syncs behind them. */
static void
find_safe(fl_tree_t *t)
{
    const fl_disk_t *d = t->d;
    bool *good = calloc(d->n_inodes, sizeof(*good)); /* next sync of it */

    t->synced = calloc(d->n_inodes, sizeof(*t->synced));
    t->safe = calloc(t->n + 1, sizeof(*t->safe));
    if (good == NULL || t->synced == NULL || t->safe == NULL) {
        fl_die("memory", "tree");
    }
    for (size_t i = t->n; i > 0; i--) {
        const fl_change_t *c = &d->change[i - 1];

        if (c->kind == FL_SYNC && t->synced[c->ino] == 0) {
            t->synced[c->ino] = i;
        }
        if (c->kind == FL_SYNC || c->kind == FL_SYNC_FAILED) {
            good[c->ino] = c->kind == FL_SYNC;
        }
        t->safe[i - 1] = good[c->ino];
    }
    free(good);
}

/* ---- the tree ---- */

static int
by_name(const void *a, const void *b)
{
    const fl_entry_t *x = a, *y = b;

    return x->dir != y->dir ? (x->dir < y->dir ? -1 : 1)
                            : strcmp(x->name, y->name);
}

/* The sum of a directory, by names and contents, not by numbers. */
static uint64_t
sum_of(const fl_tree_t *t, unsigned dir)
{
    uint64_t sum = 1;

    for (size_t i = 0; i < t->n_entries; i++) {
        const fl_entry_t *e = &t->entry[i];

        if (e->dir == dir) {
            sum = nlt_hash64(e->name, strlen(e->name), sum);
            sum +=
                t->d->inode[e->ino].is_dir
                    ? sum_of(t, e->ino)
                    : nlt_hash64(t->file[e->ino].p, t->file[e->ino].len, sum);
        }
    }
    return nlt_mix64(sum);
}

fl_tree_t *
fl_tree_create(const fl_disk_t *d, size_t n, fl_loss_t kind, uint64_t seed)
{
    fl_tree_t *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        fl_die("memory", "tree");
    }
    *t = (fl_tree_t){.d = d, .n = n, .kind = kind, .rand = seed};
    t->file = calloc(d->n_inodes, sizeof(*t->file));
    if (t->file == NULL) {
        fl_die("memory", "tree");
    }
    find_safe(t);
    t->odds = (unsigned) chance(t, 9);
    t->cut = (size_t) chance(t, n + 1);
    play_names(t);
    for (unsigned ino = 1; ino < d->n_inodes; ino++) {
        if (!d->inode[ino].is_dir) {
            play_data(t, ino);
        }
    }
    if (t->n_entries > 0) {
        qsort(t->entry, t->n_entries, sizeof(*t->entry), by_name);
    }
    t->sum = sum_of(t, 1);
    return t;
}

void
fl_tree_destroy(fl_tree_t *t)
{
    for (unsigned ino = 0; ino < t->d->n_inodes; ino++) {
        free(t->file[ino].p);
    }
    free(t->file);
    free(t->synced);
    free(t->safe);
    free(t->entry);
    free(t);
}

uint64_t
fl_tree_sum(const fl_tree_t *t)
{
    return t->sum;
}

static void
write_file(int dir_fd, const char *name, const bytes_t *b)
{
    int fd =
        openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0
        || (b->len > 0 && write(fd, b->p, b->len) != (ssize_t) b->len)) {
        fl_die("cannot write", name);
    }
    (void) close(fd);
}

static void
write_dir(const fl_tree_t *t, unsigned dir, int dir_fd)
{
    for (size_t i = 0; i < t->n_entries; i++) {
        const fl_entry_t *e = &t->entry[i];
        int fd;

        if (e->dir != dir) {
            continue;
        }
        if (!t->d->inode[e->ino].is_dir) {
            write_file(dir_fd, e->name, &t->file[e->ino]);
            continue;
        }
        if (mkdirat(dir_fd, e->name, 0700) < 0
            || (fd = openat(dir_fd, e->name,
                            O_RDONLY | O_DIRECTORY | O_CLOEXEC))
                   < 0) {
            fl_die("cannot make", e->name);
        }
        write_dir(t, e->ino, fd);
        (void) close(fd);
    }
}

void
fl_tree_write(const fl_tree_t *t, const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        fl_die("cannot open", dir);
    }
    write_dir(t, 1, fd);
    (void) close(fd);
}

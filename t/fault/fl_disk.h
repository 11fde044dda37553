/*
 * fl_disk.h - a disk that remembers, fails on command, and loses power.
 *
 * An nlt_io_t that passes every call on to a real directory and notes what
 * changes below it: writes, sizes, names, syncs.  Afterwards it can say what
 * a power loss behind any of these changes may leave (fl_tree.h).
 *
 * Threads: the table may be used from any thread, the rest by one at a time.
 */
#ifndef FL_DISK_H
#define FL_DISK_H

#include <pthread.h>

#include "nlt_io.h"

#define FL_NAME_MAX 128

/*
 * A sync that failed is noted too: what it should have made safe stays unsafe
 * for ever, also when a later sync of the same file succeeds, because kernels
 * count the pages as clean after the failure.
 */
typedef enum {
    FL_WRITE,
    FL_SIZE,
    FL_NAME,
    FL_SYNC,
    FL_SYNC_FAILED
} fl_kind_t;

/* `name` in directory dir is now inode ino; 0: it is not there. */
typedef struct {
    unsigned dir;
    unsigned ino;
    char name[FL_NAME_MAX];
} fl_entry_t;

typedef struct {
    fl_kind_t kind;
    unsigned ino; /* written, sized, synced */
    uint64_t off; /* of a write; new size of FL_SIZE */
    size_t len;
    uint8_t *data;
    unsigned n_entries; /* of FL_NAME: 1, or 2 of a rename */
    fl_entry_t entry[2];
} fl_change_t;

/* A file or directory, for ever; inode 1 is the root, 0 is none. */
typedef struct {
    bool is_dir;
    unsigned parent; /* of a directory */
    uint64_t size;   /* now */
    uint8_t *base;   /* content before the first change */
    size_t base_len;
} fl_inode_t;

typedef struct {
    unsigned ino; /* 0: not ours */
    bool append;
    uint64_t pos;
} fl_fd_t;

/* Which calls fail.  They are counted from 1. */
typedef struct {
    long fail_at;      /* first call that fails; 0: none does */
    bool transient;    /* only that one fails */
    int sys;           /* what it says; 0: -EIO */
    bool spares_reads; /* only calls that change something count and fail */
    bool torn;         /* a write that fails leaves half of its bytes */
    bool shortens;     /* the first write that would fail is only short */
} fl_plan_t;

typedef struct {
    char root[128]; /* absolute */
    pthread_mutex_t mutex;
    fl_change_t *change;
    size_t n, cap;
    fl_inode_t *inode;
    unsigned n_inodes, inodes_cap;
    fl_entry_t *entry; /* all names as they are now */
    size_t n_entries, entries_cap;
    size_t n_base; /* of these, before the first change */
    fl_entry_t *base;
    fl_fd_t *fd;
    size_t n_fds;
    fl_plan_t plan;
    long calls;
    bool hit;
} fl_disk_t;

/* A disk of what is below root, an absolute path; all of it counts as safe. */
void fl_disk_init(fl_disk_t *d, const char *root);
void fl_disk_deinit(fl_disk_t *d);

/* The table; d stays in place while it is used. */
nlt_io_t fl_disk_io(fl_disk_t *d);

/* A byte of a file changes on the medium itself, for good. */
void fl_disk_rot(fl_disk_t *d, const char *path, uint64_t off, uint8_t mask);

/* From now on; the count of calls begins again. */
void fl_disk_plan(fl_disk_t *d, fl_plan_t plan);

/* Has the file had a name that ends in suffix? */
bool fl_disk_is_named(const fl_disk_t *d, unsigned ino, const char *suffix);

/*
 * Number of changes after which what the file had after `changes` of them is
 * safe, because it was synced or its last name was taken away (so whoever did
 * that says that it is safe elsewhere); SIZE_MAX: not yet.
 */
size_t fl_disk_safe_at(const fl_disk_t *d, unsigned ino, size_t changes);

/* What a change was, for people. */
void fl_disk_describe(const fl_disk_t *d, size_t i, char *buf, size_t size);

/* Infrastructure of the laboratory itself failed. */
_Noreturn void fl_die(const char *what, const char *name);

#endif

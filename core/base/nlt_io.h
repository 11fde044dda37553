/*
 * nlt_io.h - files, through a table of calls that a test can replace.
 *
 * Floor 0 (base); uses nlt_mem, nlt_buf.
 * Threads: the POSIX table may be used from any thread.
 *
 * Every system call that touches the store's disk goes through an nlt_io_t,
 * so that the crash laboratory can count, fail, tear and forget them one by
 * one.  Calls follow the kernel's: they return a value >= 0, or -errno.  They
 * never retry on EINTR's behalf of others: EINTR is retried inside.  All
 * opened files are O_CLOEXEC.  Names are NUL-terminated and relative to an
 * open directory, so that a moved store keeps working and no path is built
 * twice.  Memory mappings do not go through the table (their faults are the
 * kernel's); they are made with nlt_map.
 */
#ifndef NLT_BASE_IO_H
#define NLT_BASE_IO_H

#include <sys/types.h>

#include "nlt_buf.h"

typedef struct nlt_io_s nlt_io_t;

/* What is known of a name without opening it. */
typedef struct {
    unsigned mode; /* kind and permissions, as st_mode */
    uint32_t uid;  /* whose it is */
    uint64_t dev;
    uint64_t ino;
    int64_t size;     /* bytes */
    int64_t mtime_ns; /* last change of the content, Unix nanoseconds */
    int64_t ctime_ns; /* last change of that, or of names and permissions */
} nlt_io_stat_t;

struct nlt_io_s {
    /* fd of name below dir_fd; flags and mode as open(2). */
    int (*open)(void *ctx, int dir_fd, const char *name, int flags,
                unsigned mode);
    int (*close)(void *ctx, int fd);
    ssize_t (*read)(void *ctx, int fd, void *p, size_t n, int64_t off);
    /* Appends or writes at the descriptor's position; may write less. */
    ssize_t (*write)(void *ctx, int fd, const void *p, size_t n);
    int (*fsync)(void *ctx, int fd);
    int (*fdatasync)(void *ctx, int fd);
    /*
     * Begins to write [off, off + len) back and waits for it, so that a later
     * fsync has little left to do.  A hint: promises nothing, may be NULL.
     */
    void (*write_back)(void *ctx, int fd, int64_t off, int64_t len);
    int (*truncate)(void *ctx, int fd, int64_t size);
    /* Reserves disk or tmpfs pages for [off, off + len). */
    int (*allocate)(void *ctx, int fd, int64_t off, int64_t len);
    int64_t (*size)(void *ctx, int fd);
    /* Of a link: of itself, not of what it leads to. */
    int (*stat)(void *ctx, int dir_fd, const char *name, nlt_io_stat_t *out);
    int (*mkdir)(void *ctx, int dir_fd, const char *name, unsigned mode);
    int (*rename)(void *ctx, int dir_fd, const char *from, const char *to);
    /* A second name, to_name below to_fd, for the file `name`. */
    int (*link)(void *ctx, int dir_fd, const char *name, int to_fd,
                const char *to_name);
    int (*unlink)(void *ctx, int dir_fd, const char *name);
    int (*rmdir)(void *ctx, int dir_fd, const char *name);
    /* Bytes that an ordinary user may still write to fd's file system. */
    int64_t (*free_bytes)(void *ctx, int fd);
    /*
     * Calls cb for each entry of dir_fd but . and .., in no order, until it
     * returns false.
     */
    int (*list)(void *ctx, int dir_fd,
                bool (*cb)(void *cb_ctx, const char *name), void *cb_ctx);
    void *ctx;
};

extern const nlt_io_t nlt_io_posix;

/* Writes all n bytes or says why not (errno in err's text). */
NLT_CHECKED nlt_rc_t nlt_io_write_all(const nlt_io_t *io, int fd,
                                      const void *p, size_t n, nlt_err_t *err);

/* After so many bytes a long file is synced in between. */
#define NLT_IO_PACE_BYTES (16u << 20)

/*
 * The same for a part of a long file: when NLT_IO_PACE_BYTES of it are not on
 * the disk yet, as counted in *unsynced, they are synced.  One fsync at the
 * end of half a gigabyte would take seconds on a slow disk, in which its
 * thread does nothing else, and everybody's small syncs wait behind it.
 */
NLT_CHECKED nlt_rc_t nlt_io_write_paced(const nlt_io_t *io, int fd,
                                        const void *p, size_t n,
                                        uint64_t *unsynced, nlt_err_t *err);

/*
 * The whole file into out (appended).  NLT_ENOENT, NLT_ETOOBIG when longer
 * than the buffer may get, NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_io_read_file(const nlt_io_t *io, int dir_fd,
                                      const char *name, nlt_buf_t *out,
                                      nlt_err_t *err);

/*
 * Puts a file in place atomically and durably: writes name.tmp, fsyncs it,
 * renames it over name, fsyncs the directory.  mode 0600.
 */
NLT_CHECKED nlt_rc_t nlt_io_replace_file(const nlt_io_t *io, int dir_fd,
                                         const char *name, const void *p,
                                         size_t n, nlt_err_t *err);

/* Makes the entries of a directory durable: fsync of it.  NLT_EIO. */
NLT_CHECKED nlt_rc_t nlt_io_sync_dir(const nlt_io_t *io, int dir_fd,
                                     nlt_err_t *err);

/*
 * Removes name below dir_fd with everything in it; a missing one is fine.
 * Does not follow links; at most 8 levels deep.
 */
NLT_CHECKED nlt_rc_t nlt_io_remove_tree(const nlt_io_t *io, int dir_fd,
                                        const char *name, nlt_err_t *err);

/*
 * Maps len bytes of fd read-only and shared at *out, len > 0.  NLT_EIO with
 * errno in the text.  Unmap with nlt_unmap().
 */
NLT_CHECKED nlt_rc_t nlt_map_read(int fd, size_t len, const uint8_t **out,
                                  nlt_err_t *err);

/* Maps len bytes of fd readable, writable and shared. */
NLT_CHECKED nlt_rc_t nlt_map_shared(int fd, size_t len, uint8_t **out,
                                    nlt_err_t *err);

/*
 * Pages that lie whole in [p, p + len) of such a mapping leave the memory of
 * this process; they come back when they are read again.
 */
void nlt_map_forget(const void *p, size_t len);

/* Takes back what nlt_map_read() or nlt_map_shared() gave for len. */
void nlt_unmap(const void *p, size_t len);

#endif

/*
 * nightlight-inspect - an offline look at a store; changes nothing.
 *
 * usage: nightlight-inspect [--head=DIR] STORE
 *
 * Exit: 0 everything checks out, 1 something does not, 2 could not look.
 */
#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "nlt_filenames.h"
#include "nlt_guard.h"
#include "nlt_time.h"

#define HEAD_DIR "/dev/shm" /* default of head= */

static void
    NLT_PRINTF(2, 0) line(const char *before, const char *fmt, va_list args)
{
    printf("%s", before);
    vprintf(fmt, args);
    printf("\n");
}

void
inspect_fault(inspect_t *in, const char *fmt, ...)
{
    va_list args;

    in->n_faults++;
    va_start(args, fmt);
    line("  CORRUPT: ", fmt, args);
    va_end(args);
}

void
inspect_left_over(inspect_t *in, const char *fmt, ...)
{
    va_list args;

    in->n_left_over++;
    va_start(args, fmt);
    line("  left over: ", fmt, args);
    va_end(args);
}

void
inspect_repair(inspect_t *in, const char *fmt, ...)
{
    va_list args;

    (void) in;
    va_start(args, fmt);
    line("    would repair: ", fmt, args);
    va_end(args);
}

void
inspect_no_start(inspect_t *in, const char *fmt, ...)
{
    va_list args;

    in->no_start = true;
    va_start(args, fmt);
    line("    would not start: ", fmt, args);
    va_end(args);
}

const char *
inspect_range(char out[RANGE_TEXT], int64_t t_min_ms, int64_t t_max_ms)
{
    char from[40], to[40];

    if (t_min_ms > t_max_ms) {
        return "no samples";
    }
    (void) nlt_time_print_rfc3339(from, t_min_ms);
    (void) nlt_time_print_rfc3339(to, t_max_ms);
    (void) snprintf(out, RANGE_TEXT, "%s .. %s", from, to);
    return out;
}

bool
inspect_exists(const inspect_t *in, int dir_fd, const char *name)
{
    nlt_io_stat_t st;

    return in->env->io->stat(in->env->io->ctx, dir_fd, name, &st) == 0;
}

/* ---- directories ---- */

typedef struct {
    nlt_pool_t *pool;
    const char **v;
    size_t n;
    size_t cap;
} names_t;

static bool
names_cb(void *ctx, const char *name)
{
    names_t *l = ctx;
    nlt_str_t copy =
        nlt_pool_str(l->pool, (nlt_str_t){strlen(name) + 1, name});

    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        void *v = nlt_pool_grow(l->pool, (void *) l->v, l->cap * sizeof(*l->v),
                                cap * sizeof(*l->v));

        if (v == NULL) {
            return false;
        }
        l->v = v;
        l->cap = cap;
    }
    if (copy.data == NULL) {
        return false;
    }
    l->v[l->n++] = copy.data;
    return true;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

size_t
inspect_list(inspect_t *in, const char *dir, nlt_pool_t *pool,
             const char ***names)
{
    const nlt_io_t *io = in->env->io;
    names_t l = {.pool = pool};
    int fd = io->open(io->ctx, in->dir.dir_fd, dir, O_RDONLY | O_DIRECTORY, 0);
    int sys = fd < 0 ? fd : io->list(io->ctx, fd, names_cb, &l);

    if (sys < 0) {
        printf("%s/\n", dir);
        inspect_fault(in, "%s", strerror(-sys));
        inspect_repair(in, "makes the directory if it is not there");
    }
    if (fd >= 0) {
        (void) io->close(io->ctx, fd);
    }
    if (l.n > 0) {
        qsort((void *) l.v, l.n, sizeof(*l.v), compare_names);
    }
    *names = l.v;
    return l.n;
}

static int
open_below(inspect_t *in, const char *name)
{
    int fd = in->env->io->open(in->env->io->ctx, in->dir.dir_fd, name,
                               O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0) {
        printf("%s/\n", name);
        inspect_fault(in, "%s", strerror(-fd));
        inspect_repair(in, "makes the directory if it is not there");
    }
    return fd;
}

/* The directory and the id; without them there is nothing to look at. */
static bool
open_store(inspect_t *in, const char *path, const char *head, nlt_err_t *err)
{
    const nlt_io_t *io = in->env->io;

    in->dir = (nlt_store_dir_t){-1, -1, -1, -1, NULL, {0}};
    in->path = path;
    in->dir.dir_fd =
        io->open(io->ctx, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (in->dir.dir_fd < 0) {
        (void) nlt_err_set_errno(err, NLT_EIO, -in->dir.dir_fd,
                                 "directory \"%s\"", path);
        return false;
    }
    if (nlt_store_dir_id(in->env, in->dir.dir_fd, in->dir.store_id, err)
        != NLT_OK) {
        return false;
    }
    in->dir.head_fd =
        io->open(io->ctx, AT_FDCWD, head, O_RDONLY | O_DIRECTORY, 0);
    if (in->dir.head_fd < 0) {
        (void) nlt_err_set_errno(err, NLT_EIO, -in->dir.head_fd,
                                 "directory \"%s\"", head);
        return false;
    }
    return true;
}

static void
inspect_all(inspect_t *in)
{
    printf("store %s\n", in->path);
    in->dir.wal_fd = open_below(in, NLT_DIR_WAL);
    in->dir.blocks_fd = open_below(in, NLT_DIR_BLOCKS);
    nlt_manifest_init(&in->manifest, in->env->mem, in->dir.store_id);
    inspect_head_first(in);
    inspect_manifest(in);
    inspect_deletes(in);
    inspect_tenants(in);
    inspect_metadata(in);
    inspect_term(in);
    if (in->dir.wal_fd >= 0) {
        inspect_logs(in);
    }
    if (in->dir.blocks_fd >= 0) {
        inspect_blocks(in);
    }
    inspect_dirs(in);
    inspect_head(in);
    nlt_manifest_deinit(&in->manifest);
    printf("%s: %u logs, %u blocks, %u arenas, %u faults, %u left over%s\n",
           in->n_faults ? "CORRUPT" : "ok", in->n_logs, in->n_blocks,
           in->n_arenas, in->n_faults, in->n_left_over,
           in->no_start ? "; would not start" : "");
}

int
main(int argc, char **argv)
{
    inspect_t in = {.env = &nlt_env_posix};
    const char *head = HEAD_DIR, *path = NULL;
    nlt_err_t err = {.text = ""};

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--head=", 7) == 0) {
            head = argv[i] + 7;
        } else if (argv[i][0] == '-' || path) {
            path = NULL;
            break;
        } else {
            path = argv[i];
        }
    }
    if (path == NULL) {
        fprintf(stderr, "usage: nightlight-inspect [--head=DIR] STORE\n"
                        "DIR is that of head=, by default " HEAD_DIR "\n");
        return 2;
    }
    (void) nlt_guard_install();
    if (!open_store(&in, path, head, &err)) {
        fprintf(stderr, "nightlight-inspect: %s\n", err.text);
        nlt_store_dir_close(in.env, &in.dir);
        return 2;
    }
    inspect_all(&in);
    nlt_store_dir_close(in.env, &in.dir);
    return in.n_faults ? 1 : 0;
}

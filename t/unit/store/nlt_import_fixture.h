/*
 * nlt_import_fixture.h - a store with import/, for its two tests.
 */
#ifndef NLT_IMPORT_FIXTURE_H
#define NLT_IMPORT_FIXTURE_H

#include "nlt_block_fixture.h"
#include "nlt_import.h"
#include "nlt_manifest.h"
#include "nlt_store_fixture.h"

static fx_t fx;
static int import_fd;
static int blocks_fd;

static inline void
begin(void)
{
    fx_init(&fx);
    fx.conf.dense = false; /* a block would get another name */
    NLT_CHECK(fx_start(&fx));
    char path[80];

    (void) snprintf(path, sizeof(path), "%s/import", fx.path);
    import_fd = open(path, O_RDONLY | O_DIRECTORY);
    (void) snprintf(path, sizeof(path), "%s/blocks", fx.path);
    blocks_fd = open(path, O_RDONLY | O_DIRECTORY);
}

static inline void
end(void)
{
    close(import_fd);
    close(blocks_fd);
    fx_deinit(&fx);
}

/* Stops the processes and starts them again; the head survives. */
static inline void
restart(void)
{
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
}

/* So many tenths of a second. */
static inline void
tenths(int n)
{
    fx_step(&fx, n);
}

/* A block of ten series two days ago, fifty samples each. */
static inline bx_spec_t
spec(unsigned no)
{
    return (bx_spec_t){.no = no,
                       .n = 10,
                       .n_samples = 50,
                       .t_min_ms = FX_NOW - 48 * FX_HOUR,
                       .step_ms = 15000,
                       .base = no * 1000};
}

/* The model gets what the block has. */
static inline void
expect(const bx_spec_t *x)
{
    for (unsigned s = x->first; s < x->first + x->n; s++) {
        for (unsigned k = 0; k < x->n_samples; k++) {
            fx_model_add(&fx, s, x->t_min_ms + k * x->step_ms,
                         bx_value(x, s, k), false);
        }
    }
}

static inline bool
count_cb(void *ctx, const char *name)
{
    (void) name;
    ++*(int *) ctx;
    return true;
}

static inline int
n_entries(int dir_fd)
{
    int n = 0;

    NLT_CHECK_INT(nlt_io_posix.list(NULL, dir_fd, count_cb, &n), 0);
    return n;
}

static inline bool
exists(int dir_fd, const nlt_ulid_t *u, const char *suffix)
{
    char name[80];
    struct stat st;

    (void) snprintf(name, sizeof(name), "%.26s%s", u->c, suffix);
    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline uint64_t
n_imported(void)
{
    return atomic_load(&nlt_store_ctl(fx.store)->counters.blocks_imported);
}

static inline uint64_t
n_refused(void)
{
    return atomic_load(&nlt_store_ctl(fx.store)->counters.imports_refused);
}

/* The line of the MANIFEST; level 0 when there is none. */
static inline nlt_manifest_block_t
line_of(const nlt_ulid_t *u)
{
    nlt_manifest_block_t b = {.level = 0};
    nlt_manifest_t m;
    nlt_err_t err;
    int fd = open(fx.path, O_RDONLY | O_DIRECTORY);

    nlt_manifest_init(&m, &nlt_mem_libc, NULL);
    NLT_CHECK_INT(nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    if (nlt_manifest_find(&m, u->c) < m.n_blocks) {
        b = m.blocks[nlt_manifest_find(&m, u->c)];
    }
    nlt_manifest_deinit(&m);
    close(fd);
    return b;
}

static inline bool
is_served(const nlt_ulid_t *u)
{
    return line_of(u).level > 0;
}

/* Does the note say so? */
static inline bool
says(const nlt_ulid_t *u, const char *what)
{
    char name[80];
    nlt_buf_t text;
    nlt_err_t err;
    bool found;

    (void) snprintf(name, sizeof(name), "%.26s.refused", u->c);
    nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
    (void) !nlt_io_read_file(&nlt_io_posix, import_fd, name, &text, &err);
    nlt_buf_add_byte(&text, '\0');
    found = strstr(text.data, what) != NULL;
    if (!found) {
        printf("# \"%s\", not \"%s\"\n", text.data, what);
    }
    nlt_buf_deinit(&text);
    return found;
}

static inline bool
answers(void)
{
    return fx_check(&fx, INT64_MIN, INT64_MAX);
}

/* Flips a bit of a file's byte, from its end when at < 0. */
static inline void
flip(const nlt_ulid_t *u, const char *file, off_t at)
{
    char path[80];
    struct stat st;
    uint8_t byte;
    int fd;

    (void) snprintf(path, sizeof(path), "%s/%s", u->c, file);
    fd = openat(import_fd, path, O_RDWR);
    NLT_CHECK_INT(fstat(fd, &st), 0);
    at += at < 0 ? st.st_size : 0;
    NLT_CHECK_INT(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    NLT_CHECK_INT(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

#endif

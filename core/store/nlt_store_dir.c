/*
 * nlt_store_dir.c - what lies in a store's directory, made and opened.
 */
#include "nlt_store_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "nlt_filenames.h"
#include "nlt_manifest.h"
#include "nlt_term.h"

/* 32 hex digits and a newline. */
#define ID_TEXT_LEN (2 * NLT_STORE_ID_BYTES + 1)

static int
open_dir(const nlt_env_t *env, int dir_fd, const char *name, nlt_err_t *err)
{
    int fd =
        env->io->open(env->io->ctx, dir_fd, name, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0) {
        (void) nlt_err_set_errno(err, NLT_EIO, -fd, "directory \"%s\"", name);
    }
    return fd;
}

static nlt_rc_t
make_dir(const nlt_env_t *env, int dir_fd, const char *name, nlt_err_t *err)
{
    int sys = env->io->mkdir(env->io->ctx, dir_fd, name, 0700);

    return sys < 0 && sys != -EEXIST
               ? nlt_err_set_errno(err, NLT_EIO, -sys, "mkdir \"%s\"", name)
               : NLT_OK;
}

nlt_rc_t
nlt_store_dir_again(const nlt_env_t *env, int dir_fd, const char *c_name,
                    nlt_err_t *err)
{
    int sys = env->io->mkdir(env->io->ctx, dir_fd, c_name, 0700);

    if (sys == -EEXIST) {
        return NLT_OK;
    }
    return sys < 0
               ? nlt_err_set_errno(err, sys == -ENOSPC ? NLT_EFULL : NLT_EIO,
                                   -sys, "mkdir \"%s\"", c_name)
               : nlt_io_sync_dir(env->io, dir_fd, err);
}

static int
hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

nlt_rc_t
nlt_store_dir_id(const nlt_env_t *env, int dir_fd, uint8_t *id, nlt_err_t *err)
{
    nlt_buf_t text;
    nlt_rc_t rc;

    nlt_buf_init(&text, env->mem, 4096);
    rc = nlt_io_read_file(env->io, dir_fd, NLT_FILE_STORE_ID, &text, err);
    if (rc == NLT_OK
        && (text.len != ID_TEXT_LEN || text.data[ID_TEXT_LEN - 1] != '\n')) {
        rc = NLT_EDATA;
    }
    for (size_t i = 0; rc == NLT_OK && i + 1 < ID_TEXT_LEN; i++) {
        int d = hex_digit(text.data[i]);

        if (d < 0) {
            rc = NLT_EDATA;
            break;
        }
        id[i / 2] = (uint8_t) (i % 2 ? id[i / 2] | d : d << 4);
    }
    nlt_buf_deinit(&text);
    if (rc == NLT_EDATA || rc == NLT_ETOOBIG) {
        rc = nlt_err_set(err, NLT_EDATA,
                         "\"" NLT_FILE_STORE_ID "\" is damaged");
    }
    return rc;
}

static nlt_rc_t
write_id(const nlt_env_t *env, int dir_fd, const uint8_t *id, nlt_err_t *err)
{
    static const char digits[] = "0123456789abcdef";
    char text[ID_TEXT_LEN];

    for (size_t i = 0; i < NLT_STORE_ID_BYTES; i++) {
        text[2 * i] = digits[id[i] >> 4];
        text[2 * i + 1] = digits[id[i] & 15];
    }
    text[ID_TEXT_LEN - 1] = '\n';
    return nlt_io_replace_file(env->io, dir_fd, NLT_FILE_STORE_ID, text,
                               sizeof(text), err);
}

/*
 * The id of a store whose store.id is missing: a new one, unless the MANIFEST
 * knows it.  To invent another for data that is there would disown it.
 */
static nlt_rc_t
find_id(const nlt_env_t *env, int dir_fd, uint8_t *id, nlt_err_t *err)
{
    nlt_manifest_t m;
    nlt_err_t why;
    nlt_rc_t rc;

    nlt_manifest_init(&m, env->mem, NULL);
    rc = nlt_manifest_load(&m, env, dir_fd, NULL, &why);
    memcpy(id, m.store_id, NLT_STORE_ID_BYTES);
    nlt_manifest_deinit(&m);
    if (rc == NLT_ENOENT) {
        return nlt_random_bytes(id, NLT_STORE_ID_BYTES)
                   ? NLT_OK
                   : nlt_err_set(err, NLT_EIO,
                                 "the kernel gave no random bytes");
    }
    if (rc != NLT_OK) {
        return nlt_err_set(
            err, rc, "\"" NLT_FILE_STORE_ID "\" is missing, and %s", why.text);
    }
    nlt_log_todo(env, NLT_LOG_WARN,
                 "see who removed it: it must never be in two stores",
                 "\"" NLT_FILE_STORE_ID
                 "\" was missing and is written anew from the MANIFEST");
    return NLT_OK;
}

/*
 * Makes the name of the store's directory itself durable, whoever made it: a
 * power loss must not take it with everything in it.  Who may not look into
 * the parent did not make it.
 */
static nlt_rc_t
sync_parent(const nlt_env_t *env, int dir_fd, nlt_err_t *err)
{
    const nlt_io_t *io = env->io;
    int fd = io->open(io->ctx, dir_fd, "..", O_RDONLY | O_DIRECTORY, 0);
    nlt_rc_t rc;

    if (fd == -EACCES) {
        return NLT_OK;
    }
    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "open \"..\"");
    }
    rc = nlt_io_sync_dir(io, fd, err);
    (void) io->close(io->ctx, fd);
    return rc;
}

static nlt_rc_t
prepare_locked(const nlt_env_t *env, int fd, nlt_err_t *err)
{
    uint8_t id[NLT_STORE_ID_BYTES];
    nlt_err_t missing;
    static const char *const dirs[] = {NLT_DIR_WAL, NLT_DIR_BLOCKS,
                                       NLT_DIR_IMPORT, NLT_DIR_SNAPSHOTS,
                                       NLT_DIR_QUARANTINE};
    nlt_rc_t rc = sync_parent(env, fd, err);

    for (size_t i = 0; rc == NLT_OK && i < NLT_COUNT(dirs); i++) {
        rc = make_dir(env, fd, dirs[i], err);
    }
    if (rc == NLT_OK) {
        rc = nlt_term_prepare(env, fd, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    rc = nlt_store_dir_id(env, fd, id, &missing);
    if (rc == NLT_ENOENT) {
        rc = find_id(env, fd, id, err);
        return rc == NLT_OK ? write_id(env, fd, id, err) : rc;
    }
    return rc == NLT_OK ? rc : nlt_err_set(err, rc, "%s", missing.text);
}

/* Puts the path in front of an error that names only a file below it. */
static nlt_rc_t
with_path(const nlt_store_conf_t *conf, nlt_rc_t rc, nlt_err_t *err)
{
    if (rc != NLT_OK && err != NULL) {
        nlt_err_t inner = *err;

        (void) nlt_err_set(err, rc, "\"%s\": %s", conf->path, inner.text);
    }
    return rc;
}

nlt_rc_t
nlt_store_prepare_dir(const nlt_env_t *env, const nlt_store_conf_t *conf,
                      nlt_err_t *err)
{
    nlt_rc_t rc;
    int fd = open_dir(env, AT_FDCWD, conf->path, err);

    if (fd < 0) {
        return NLT_EIO;
    }
    if (flock(fd, LOCK_EX) < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, errno, "flock");
    } else {
        rc = prepare_locked(env, fd, err);
    }
    (void) env->io->close(env->io->ctx, fd);
    rc = with_path(conf, rc, err);
    if (rc == NLT_OK && conf->head_path != NULL) {
        rc = make_dir(env, AT_FDCWD, conf->head_path, err);
    }
    return rc;
}

void
nlt_store_dir_close(const nlt_env_t *env, nlt_store_dir_t *d)
{
    int fds[] = {d->dir_fd, d->wal_fd, d->blocks_fd, d->head_fd};

    nlt_term_close(d->term);
    for (size_t i = 0; i < NLT_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            (void) env->io->close(env->io->ctx, fds[i]);
        }
    }
    *d = (nlt_store_dir_t){-1, -1, -1, -1, NULL, {0}};
}

nlt_rc_t
nlt_store_dir_open(const nlt_env_t *env, const nlt_store_conf_t *conf,
                   nlt_store_dir_t *d, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_EIO;

    *d = (nlt_store_dir_t){-1, -1, -1, -1, NULL, {0}};
    d->dir_fd = open_dir(env, AT_FDCWD, conf->path, err);
    if (d->dir_fd < 0) {
        return rc;
    }
    d->head_fd = open_dir(env, AT_FDCWD, conf->head_path, err);
    if (d->head_fd < 0) {
        nlt_store_dir_close(env, d);
        return rc;
    }
    d->wal_fd = open_dir(env, d->dir_fd, NLT_DIR_WAL, err);
    if (d->wal_fd >= 0) {
        d->blocks_fd = open_dir(env, d->dir_fd, NLT_DIR_BLOCKS, err);
    }
    if (d->blocks_fd >= 0) {
        rc = nlt_store_dir_id(env, d->dir_fd, d->store_id, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_term_open(env, d->dir_fd, &d->term, err);
    }
    if (rc != NLT_OK) {
        nlt_store_dir_close(env, d);
    }
    return with_path(conf, rc, err);
}

static bool
copy_path(const char *from, char *to)
{
    size_t n = from ? strlen(from) : 0;

    if (n == 0 || n >= NLT_STORE_PATH_MAX) {
        return false;
    }
    memcpy(to, from, n + 1);
    return true;
}

nlt_rc_t
nlt_store_conf_copy(const nlt_store_conf_t *conf, nlt_store_conf_t *out,
                    char *path, char *head_path, nlt_err_t *err)
{
    if (!copy_path(conf->path, path)
        || !copy_path(conf->head_path, head_path)) {
        return nlt_err_set(err, NLT_EINVAL,
                           "a path is missing or longer than %d bytes",
                           NLT_STORE_PATH_MAX - 1);
    }
    if (conf->memory_bytes < NLT_HEAD_MEMORY_MIN || conf->retention_ms <= 0
        || conf->arena_age_ms <= 0) {
        return nlt_err_set(err, NLT_EINVAL,
                           "memory, retention or arena age is too small");
    }
    *out = *conf;
    out->path = path;
    out->head_path = head_path;
    return NLT_OK;
}

/* ---- logs ---- */

typedef struct {
    nlt_pool_t *pool;
    uint64_t *v;
    size_t n;
    size_t cap;
    bool failed;
} logs_t;

static bool
logs_cb(void *ctx, const char *name)
{
    logs_t *l = ctx;
    uint64_t no;

    if (!nlt_wal_name_parse(name, &no)) {
        return true;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        uint64_t *v = nlt_pool_grow(l->pool, l->v, l->cap * sizeof(*v),
                                    cap * sizeof(*v));

        if (v == NULL) {
            l->failed = true;
            return false;
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = no;
    return true;
}

nlt_rc_t
nlt_store_dir_logs(const nlt_env_t *env, int wal_fd, nlt_pool_t *pool,
                   uint64_t **out, size_t *n, nlt_err_t *err)
{
    logs_t l = {.pool = pool};
    int sys = env->io->list(env->io->ctx, wal_fd, logs_cb, &l);

    if (sys < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -sys, "list logs");
    }
    if (l.failed) {
        return nlt_err_set(err, NLT_ENOMEM, "list logs: no memory");
    }
    /* Few: insertion sort. */
    for (size_t i = 1; i < l.n; i++) {
        uint64_t v = l.v[i];
        size_t j = i;

        for (; j > 0 && l.v[j - 1] > v; j--) {
            l.v[j] = l.v[j - 1];
        }
        l.v[j] = v;
    }
    *out = l.v;
    *n = l.n;
    return NLT_OK;
}

uint64_t
nlt_store_dir_log_bytes(const nlt_env_t *env, int wal_fd, uint64_t arena_no)
{
    char name[NLT_WAL_NAME_SIZE];
    int64_t size;
    int fd;

    nlt_wal_name(name, arena_no);
    fd = env->io->open(env->io->ctx, wal_fd, name, O_RDONLY, 0);
    if (fd < 0) {
        return 0;
    }
    size = env->io->size(env->io->ctx, fd);
    (void) env->io->close(env->io->ctx, fd);
    return size > 0 ? (uint64_t) size : 0;
}

/*
 * nlt_retention.c - the border, and the directories below blocks/.
 */
#include "nlt_retention.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "nlt_filenames.h"
#include "nlt_flush.h"

#define META_BYTES_MAX (1u << 20)

int64_t
nlt_retention_border(int64_t now_ms, int64_t newest_ms, int64_t retention_ms)
{
    int64_t from =
        newest_ms == INT64_MIN ? now_ms : nlt_min_i64(now_ms, newest_ms);
    int64_t border;

    return __builtin_sub_overflow(from, retention_ms, &border) ? INT64_MIN
                                                               : border;
}

size_t
nlt_retention_take(nlt_manifest_t *m, int64_t border_ms,
                   nlt_manifest_block_t *out, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n_blocks && n < cap;) {
        if (m->blocks[i].t_end_ms <= border_ms) {
            out[n++] = m->blocks[i];
            nlt_manifest_remove_block(m, i);
        } else {
            i++;
        }
    }
    return n;
}

nlt_rc_t
nlt_block_dir_remove(const nlt_env_t *env, int blocks_fd, const char *ulid,
                     nlt_err_t *err)
{
    char gone[NLT_ULID_LEN + sizeof(NLT_SUFFIX_BLOCK_GONE)];
    int sys;

    (void) snprintf(gone, sizeof(gone), "%.*s" NLT_SUFFIX_BLOCK_GONE,
                    NLT_ULID_LEN, ulid);
    sys = env->io->rename(env->io->ctx, blocks_fd, ulid, gone);
    if (sys < 0 && sys != -ENOENT) {
        return nlt_err_set_errno(err, NLT_EIO, -sys, "rename block \"%s\"",
                                 ulid);
    }
    /*
     * Before its files go: a power loss that undid the rename, but not the
     * removal of meta.json, would leave a directory that nobody knows.
     */
    if (sys >= 0) {
        nlt_rc_t rc = nlt_io_sync_dir(env->io, blocks_fd, err);

        if (rc != NLT_OK) {
            return rc;
        }
    }
    return nlt_io_remove_tree(env->io, blocks_fd, gone, err);
}

/* ---- bytes ---- */

typedef struct {
    const nlt_io_t *io;
    int fd;
    uint64_t bytes;
} bytes_t;

static bool
bytes_cb(void *ctx, const char *name)
{
    bytes_t *b = ctx;
    int fd = b->io->open(b->io->ctx, b->fd, name, O_RDONLY | O_NOFOLLOW, 0);

    if (fd >= 0) {
        int64_t size = b->io->size(b->io->ctx, fd);

        b->bytes += size > 0 ? (uint64_t) size : 0;
        (void) b->io->close(b->io->ctx, fd);
    }
    return true;
}

uint64_t
nlt_block_dir_bytes(const nlt_env_t *env, int blocks_fd, const char *ulid)
{
    const nlt_io_t *io = env->io;
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    bytes_t b = {.io = io};
    int fd = io->open(io->ctx, blocks_fd, ulid, flags, 0);

    if (fd < 0) {
        return 0;
    }
    b.fd = fd;
    (void) io->list(io->ctx, fd, bytes_cb, &b);
    b.fd = io->open(io->ctx, fd, "chunks", flags, 0);
    if (b.fd >= 0) {
        (void) io->list(io->ctx, b.fd, bytes_cb, &b);
        (void) io->close(io->ctx, b.fd);
    }
    (void) io->close(io->ctx, fd);
    return b.bytes;
}

/* ---- leftovers ---- */

#define NAME_MAX_BYTES (NLT_ULID_LEN + sizeof(NLT_SUFFIX_BLOCK_TMP))

/* Names are collected first: a directory is not changed while it is read. */
typedef struct {
    nlt_pool_t pool;
    char (*name)[NAME_MAX_BYTES];
    size_t n;
    size_t cap;
    bool failed;
} names_t;

static bool
is_temporary(const char *suffix)
{
    return strcmp(suffix, NLT_SUFFIX_BLOCK_TMP) == 0
           || strcmp(suffix, NLT_SUFFIX_BLOCK_GONE) == 0;
}

static bool
names_cb(void *ctx, const char *name)
{
    names_t *l = ctx;
    size_t len = strlen(name);

    if (len < NLT_ULID_LEN || len >= NAME_MAX_BYTES
        || !nlt_ulid_valid((nlt_str_t){NLT_ULID_LEN, name})
        || (name[NLT_ULID_LEN] != '\0'
            && !is_temporary(name + NLT_ULID_LEN))) {
        return true;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        void *p = nlt_pool_grow(&l->pool, l->name, l->cap * sizeof(*l->name),
                                cap * sizeof(*l->name));

        if (p == NULL) {
            l->failed = true;
            return false;
        }
        l->name = p;
        l->cap = cap;
    }
    memcpy(l->name[l->n++], name, len + 1);
    return true;
}

/* 32 hex digits and a newline. */
#define OWNER_LEN (2 * NLT_STORE_ID_BYTES + 1)

static void
owner_text(char out[OWNER_LEN], const uint8_t *store_id)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < NLT_STORE_ID_BYTES; i++) {
        out[2 * i] = digits[store_id[i] >> 4];
        out[2 * i + 1] = digits[store_id[i] & 15];
    }
    out[OWNER_LEN - 1] = '\n';
}

nlt_rc_t
nlt_block_dir_mark(const nlt_env_t *env, int dir_fd, const char *ulid,
                   const uint8_t *store_id, nlt_err_t *err)
{
    const nlt_io_t *io = env->io;
    char text[OWNER_LEN];
    nlt_rc_t rc;
    int fd = io->open(io->ctx, dir_fd, ulid,
                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "open block \"%s\"", ulid);
    }
    owner_text(text, store_id);
    rc = nlt_io_replace_file(io, fd, NLT_FILE_BLOCK_OWNER, text, sizeof(text),
                             err);
    (void) io->close(io->ctx, fd);
    return rc;
}

/* Does the block of this directory say that it is of the store? */
static bool
is_marked(const nlt_env_t *env, int fd, const uint8_t *store_id)
{
    char want[OWNER_LEN];
    nlt_buf_t text;
    nlt_err_t err;
    bool ours;

    owner_text(want, store_id);
    nlt_buf_init(&text, env->mem, OWNER_LEN);
    ours = nlt_io_read_file(env->io, fd, NLT_FILE_BLOCK_OWNER, &text, &err)
               == NLT_OK
           && text.len == sizeof(want)
           && memcmp(text.data, want, sizeof(want)) == 0;
    nlt_buf_deinit(&text);
    return ours;
}

bool
nlt_block_dir_is_ours(const nlt_env_t *env, int blocks_fd, const char *ulid,
                      const uint8_t *store_id, nlt_pool_t *pool)
{
    const nlt_io_t *io = env->io;
    int fd = io->open(io->ctx, blocks_fd, ulid,
                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    nlt_block_meta_t meta;
    nlt_buf_t json;
    nlt_err_t err;
    bool ours;

    if (fd < 0) {
        return false;
    }
    nlt_buf_init(&json, env->mem, META_BYTES_MAX);
    ours = nlt_io_read_file(io, fd, "meta.json", &json, &err) == NLT_OK
           && nlt_block_meta_parse(pool, nlt_buf_str(&json), &meta, &err)
                  == NLT_OK
           && strcmp(meta.ulid.c, ulid) == 0
           && nlt_flush_owns(store_id, &meta);
    ours = ours || is_marked(env, fd, store_id);
    nlt_buf_deinit(&json);
    (void) io->close(io->ctx, fd);
    return ours;
}

static nlt_rc_t
clean_one(const nlt_env_t *env, int blocks_fd, const nlt_manifest_t *m,
          const char *name, bool dry, nlt_pool_t *pool,
          nlt_block_dirs_stats_t *stats, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    if (name[NLT_ULID_LEN] != '\0') {
        if (!dry) {
            rc = nlt_io_remove_tree(env->io, blocks_fd, name, err);
            stats->removed += rc == NLT_OK;
        }
        return rc;
    }
    if (nlt_manifest_find(m, name) < m->n_blocks
        || nlt_manifest_find_damaged(m, name) < m->n_damaged) {
        return NLT_OK;
    }
    if (nlt_block_dir_is_ours(env, blocks_fd, name, m->store_id, pool)) {
        if (!dry) {
            rc = nlt_block_dir_remove(env, blocks_fd, name, err);
        }
        stats->removed += rc == NLT_OK;
        return rc;
    }
    if (stats->foreign++ == 0) {
        memcpy(stats->first_foreign.c, name, NLT_ULID_LEN + 1);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_block_dirs_clean(const nlt_env_t *env, int blocks_fd,
                     const nlt_manifest_t *m, bool dry,
                     nlt_block_dirs_stats_t *stats, nlt_err_t *err)
{
    names_t l = {.n = 0};
    nlt_rc_t rc = NLT_OK;
    int sys;

    *stats = (nlt_block_dirs_stats_t){.removed = 0};
    nlt_pool_init(&l.pool, env->mem, 64u << 20);
    sys = env->io->list(env->io->ctx, blocks_fd, names_cb, &l);
    if (sys < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, -sys, "list blocks");
    } else if (l.failed) {
        rc = nlt_err_set(err, NLT_ENOMEM, "list blocks: no memory");
    }
    for (size_t i = 0; rc == NLT_OK && i < l.n; i++) {
        nlt_pool_mark_t mark = nlt_pool_mark(&l.pool);

        rc = clean_one(env, blocks_fd, m, l.name[i], dry, &l.pool, stats, err);
        nlt_pool_rewind(&l.pool, mark);
    }
    nlt_pool_deinit(&l.pool);
    return rc;
}

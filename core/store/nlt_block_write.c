/*
 * nlt_block_write.c - puts index, chunks, tombstones and meta.json together.
 *
 * All file names are used relative to the temporary directory's descriptor.
 * The directory gets its name only when everything in it is on the disk.
 */
#include "nlt_block_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "nlt_block_dense.h"
#include "nlt_bytes.h"
#include "nlt_chunk_file.h"
#include "nlt_hash.h"
#include "nlt_index_file_write.h"
#include "nlt_retention.h"
#include "nlt_tombstones.h"

#define TMP_SUFFIX     ".tmp-for-creation"
#define TMP_NAME_BYTES 64
#define BUF_MAX        (SIZE_MAX / 4)

struct nlt_block_writer_s {
    const nlt_env_t *env;
    int parent_fd; /* borrowed */
    int dir_fd;    /* of the temporary directory; -1: not open */
    int chunks_fd;
    int index_fd;
    bool created; /* the temporary directory exists */
    char tmp_name[TMP_NAME_BYTES];
    nlt_block_meta_t meta; /* sources and parents are borrowed */
    nlt_index_writer_t *index;
    nlt_chunk_writer_t chunks;
    nlt_block_dense_t *dense; /* NULL until the first dense chunk */
    nlt_buf_t refs;           /* nlt_index_chunk_t of the current series */
    nlt_buf_t tombstones;
};

static void
close_fd(nlt_block_writer_t *w, int *fd)
{
    if (*fd >= 0) {
        (void) w->env->io->close(w->env->io->ctx, *fd);
        *fd = -1;
    }
}

/* Frees everything but what is on the disk. */
static void
destroy(nlt_block_writer_t *w)
{
    nlt_index_writer_close(w->index);
    nlt_block_dense_destroy(w->dense);
    nlt_chunk_writer_deinit(&w->chunks);
    nlt_buf_deinit(&w->refs);
    nlt_buf_deinit(&w->tombstones);
    close_fd(w, &w->index_fd);
    close_fd(w, &w->chunks_fd);
    close_fd(w, &w->dir_fd);
    nlt_mem_free(w->env->mem, w, sizeof(*w));
}

void
nlt_block_writer_abort(nlt_block_writer_t *w)
{
    nlt_err_t err;

    if (w == NULL) {
        return;
    }
    /* Best effort: a start removes what is left under this name. */
    if (w->created
        && nlt_io_remove_tree(w->env->io, w->parent_fd, w->tmp_name, &err)
               != NLT_OK) {
        nlt_log_todo(w->env, NLT_LOG_WARN, "the next start removes it",
                     "cannot remove unfinished block %s: %s", w->tmp_name,
                     err.text);
    }
    destroy(w);
}

static nlt_rc_t
make_dir(nlt_block_writer_t *w, int at_fd, const char *name, int *fd,
         nlt_err_t *err)
{
    const nlt_io_t *io = w->env->io;
    int rc = io->mkdir(io->ctx, at_fd, name, 0700);

    if (rc < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -rc, "cannot create %s", name);
    }
    *fd =
        io->open(io->ctx, at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (*fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -*fd, "cannot open %s", name);
    }
    return NLT_OK;
}

static nlt_rc_t
create_files(nlt_block_writer_t *w, nlt_err_t *err)
{
    const nlt_io_t *io = w->env->io;
    nlt_rc_t rc = nlt_io_remove_tree(io, w->parent_fd, w->tmp_name, err);

    if (rc != NLT_OK) {
        return rc;
    }
    w->created = true;
    rc = make_dir(w, w->parent_fd, w->tmp_name, &w->dir_fd, err);
    if (rc == NLT_OK) {
        rc = make_dir(w, w->dir_fd, "chunks", &w->chunks_fd, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    w->index_fd = io->open(io->ctx, w->dir_fd, "index",
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (w->index_fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -w->index_fd,
                                 "cannot create the index of %s", w->tmp_name);
    }
    nlt_chunk_writer_init(&w->chunks, w->env, w->chunks_fd, 0);
    return nlt_index_writer_open(w->env->mem, io, w->index_fd, &w->index, err);
}

nlt_rc_t
nlt_block_writer_open(const nlt_env_t *env, int dir_fd,
                      const nlt_block_meta_t *meta, nlt_block_writer_t **out,
                      nlt_err_t *err)
{
    nlt_block_writer_t *w;
    nlt_rc_t rc;

    *out = NULL;
    if (!nlt_ulid_valid((nlt_str_t){strlen(meta->ulid.c), meta->ulid.c})
        || meta->t_end_ms <= meta->t_min_ms) {
        return nlt_err_set(err, NLT_EINVAL,
                           "block without a valid name or time range");
    }
    w = nlt_mem_zalloc(env->mem, sizeof(*w));
    if (w == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory writing a block");
    }
    w->env = env;
    w->parent_fd = dir_fd;
    w->dir_fd = w->chunks_fd = w->index_fd = -1;
    w->meta = *meta;
    w->meta.n_samples = w->meta.n_float_samples = 0;
    w->meta.n_histogram_samples = w->meta.n_tombstones = 0;
    w->meta.n_series = w->meta.n_chunks = w->meta.bytes = 0;
    w->meta.level = meta->level ? meta->level : 1;
    w->meta.dense = false;
    nlt_chunk_writer_init(&w->chunks, env, -1, 0);
    nlt_buf_init(&w->refs, env->mem, BUF_MAX);
    nlt_buf_init(&w->tombstones, env->mem, NLT_TOMBSTONES_BYTES_MAX);
    nlt_tombstones_begin(&w->tombstones);
    (void) snprintf(w->tmp_name, sizeof(w->tmp_name), "%s" TMP_SUFFIX,
                    meta->ulid.c);
    rc = create_files(w, err);
    if (rc != NLT_OK) {
        nlt_block_writer_abort(w);
        return rc;
    }
    *out = w;
    return NLT_OK;
}

void
nlt_block_writer_poll(nlt_block_writer_t *w, nlt_rc_t (*poll)(void *ctx),
                      void *ctx)
{
    nlt_index_writer_poll(w->index, poll, ctx);
}

nlt_rc_t
nlt_block_writer_symbols(nlt_block_writer_t *w, const nlt_str_t *symbols,
                         size_t n, nlt_err_t *err)
{
    return nlt_index_writer_symbols(w->index, symbols, n, err);
}

static nlt_rc_t
add_chunk(nlt_block_writer_t *w, const nlt_block_chunk_t *c, nlt_err_t *err)
{
    nlt_index_chunk_t ref = {c->t_min_ms, c->t_max_ms, 0};
    nlt_rc_t rc;

    if (c->t_min_ms < w->meta.t_min_ms || c->t_max_ms >= w->meta.t_end_ms) {
        return nlt_err_set(
            err, NLT_EINVAL,
            "chunk of %lld..%lld outside the block's %lld..%lld",
            (long long) c->t_min_ms, (long long) c->t_max_ms,
            (long long) w->meta.t_min_ms, (long long) w->meta.t_end_ms);
    }
    if (!nlt_chunk_known(c->encoding)
        || (c->encoding != NLT_CHUNK_DENSE
            && (c->data.len < 3 || c->n_samples == 0
                || c->n_samples != nlt_be16(c->data.data)))) {
        return nlt_err_set(err, NLT_EINVAL,
                           "chunk of encoding %u, %zu bytes and %u samples is "
                           "none",
                           c->encoding, c->data.len, c->n_samples);
    }
    rc = c->encoding == NLT_CHUNK_DENSE
             ? nlt_block_dense_add(&w->dense, w->env->mem, &w->chunks, c,
                                   &ref.ref, err)
             : nlt_chunk_writer_add(&w->chunks, c->encoding, c->data, &ref.ref,
                                    err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_buf_add(&w->refs, &ref, sizeof(ref));
    w->meta.n_chunks++;
    w->meta.n_samples += c->n_samples;
    w->meta.dense |= c->encoding == NLT_CHUNK_DENSE;
    if (nlt_chunk_is_float(c->encoding)) {
        w->meta.n_float_samples += c->n_samples;
    } else {
        w->meta.n_histogram_samples += c->n_samples;
    }
    return NLT_OK;
}

/* Chunks to their file; where they are goes to w->refs. */
static nlt_rc_t
add_chunks(nlt_block_writer_t *w, const nlt_block_chunk_t *chunks,
           size_t n_chunks, nlt_err_t *err)
{
    nlt_buf_reset(&w->refs);
    for (size_t i = 0; i < n_chunks; i++) {
        nlt_rc_t rc = add_chunk(w, &chunks[i], err);

        if (rc != NLT_OK) {
            return rc;
        }
    }
    return w->refs.rc == NLT_OK
               ? NLT_OK
               : nlt_err_set(err, NLT_ENOMEM, "out of memory writing a block");
}

nlt_rc_t
nlt_block_writer_series(nlt_block_writer_t *w, nlt_labels_t labels,
                        const nlt_block_chunk_t *chunks, size_t n_chunks,
                        nlt_err_t *err)
{
    nlt_rc_t rc = add_chunks(w, chunks, n_chunks, err);
    const void *at = w->refs.data;

    if (rc == NLT_OK) {
        rc = nlt_index_writer_series(w->index, labels, at, n_chunks, err);
    }
    w->meta.n_series += rc == NLT_OK;
    return rc;
}

nlt_rc_t
nlt_block_writer_refs(nlt_block_writer_t *w, const uint32_t *refs,
                      size_t n_labels, const nlt_block_chunk_t *chunks,
                      size_t n_chunks, nlt_err_t *err)
{
    nlt_rc_t rc = add_chunks(w, chunks, n_chunks, err);
    const void *at = w->refs.data;

    if (rc == NLT_OK) {
        rc =
            nlt_index_writer_refs(w->index, refs, n_labels, at, n_chunks, err);
    }
    w->meta.n_series += rc == NLT_OK;
    return rc;
}

nlt_rc_t
nlt_block_writer_tombstone(nlt_block_writer_t *w,
                           const nlt_interval_t *interval, nlt_err_t *err)
{
    uint32_t id = nlt_index_writer_last(w->index);

    if (id == 0) {
        return nlt_err_set(err, NLT_EINVAL, "tombstone before any series");
    }
    if (w->meta.n_tombstones == NLT_TOMBSTONES_MAX) {
        return nlt_err_set(err, NLT_EFULL, "too many tombstones");
    }
    nlt_tombstones_add(&w->tombstones, id, interval);
    w->meta.n_tombstones++;
    return w->tombstones.rc == NLT_OK
               ? NLT_OK
               : nlt_err_set(err, w->tombstones.rc, "no room for tombstones");
}

/* Syncs and closes a file or directory. */
static nlt_rc_t
sync_close(nlt_block_writer_t *w, int *fd, const char *what, nlt_err_t *err)
{
    const nlt_io_t *io = w->env->io;
    int e = io->fsync(io->ctx, *fd), c = io->close(io->ctx, *fd);

    *fd = -1;
    if (e < 0 || c < 0) {
        return nlt_err_set_errno(err, NLT_EIO, e < 0 ? -e : -c,
                                 "cannot sync %s of %s", what, w->tmp_name);
    }
    return NLT_OK;
}

static nlt_rc_t
write_file(nlt_block_writer_t *w, const char *name, const void *p, size_t n,
           nlt_err_t *err)
{
    const nlt_io_t *io = w->env->io;
    int fd = io->open(io->ctx, w->dir_fd, name,
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    nlt_rc_t rc;

    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "cannot create %s of %s",
                                 name, w->tmp_name);
    }
    rc = nlt_io_write_all(io, fd, p, n, err);
    if (rc != NLT_OK) {
        close_fd(w, &fd);
        return rc;
    }
    return sync_close(w, &fd, name, err);
}

static nlt_rc_t
write_meta(nlt_block_writer_t *w, nlt_err_t *err)
{
    nlt_buf_t b;
    nlt_rc_t rc;

    nlt_buf_init(&b, w->env->mem, 1u << 20);
    nlt_block_meta_print(&b, &w->meta);
    w->meta.bytes += b.len;
    rc = b.rc == NLT_OK
             ? write_file(w, "meta.json", b.data, b.len, err)
             : nlt_err_set(err, b.rc, "cannot print meta.json of a block");
    nlt_buf_deinit(&b);
    return rc;
}

/* Everything up to the rename. */
static nlt_rc_t
complete(nlt_block_writer_t *w, nlt_err_t *err)
{
    uint64_t size_bytes = 0;
    nlt_rc_t rc;

    if (w->meta.n_series == 0) {
        return nlt_err_set(err, NLT_EINVAL, "block without series");
    }
    rc = nlt_chunk_writer_finish(&w->chunks, err);
    if (rc == NLT_OK) {
        nlt_tombstones_end(&w->tombstones);
        w->meta.bytes = w->chunks.total + w->tombstones.len;
        rc = nlt_index_writer_finish(w->index, &size_bytes, err);
        w->meta.bytes += size_bytes;
    }
    if (rc == NLT_OK) {
        rc = sync_close(w, &w->index_fd, "index", err);
    }
    if (rc == NLT_OK) {
        rc =
            w->tombstones.rc == NLT_OK
                ? write_file(w, "tombstones", w->tombstones.data,
                             w->tombstones.len, err)
                : nlt_err_set(err, w->tombstones.rc, "no room for tombstones");
    }
    if (rc == NLT_OK) {
        rc = write_meta(w, err);
    }
    if (rc == NLT_OK) {
        rc = sync_close(w, &w->chunks_fd, "chunks", err);
    }
    return rc == NLT_OK ? sync_close(w, &w->dir_fd, "directory", err) : rc;
}

static nlt_rc_t
publish(nlt_block_writer_t *w, nlt_err_t *err)
{
    const nlt_io_t *io = w->env->io;
    int e = io->rename(io->ctx, w->parent_fd, w->tmp_name, w->meta.ulid.c);
    nlt_rc_t rc;

    if (e < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -e, "cannot rename %s",
                                 w->tmp_name);
    }
    w->created = false;
    rc = nlt_io_sync_dir(io, w->parent_fd, err);
    if (rc != NLT_OK
        && nlt_block_dir_remove(w->env, w->parent_fd, w->meta.ulid.c, NULL)
               != NLT_OK) {
        nlt_log_todo(w->env, NLT_LOG_ERROR, "the next start removes it",
                     "cannot remove block %s that was not finished",
                     w->meta.ulid.c);
    }
    return rc;
}

nlt_rc_t
nlt_block_writer_finish(nlt_block_writer_t *w, nlt_block_meta_t *meta,
                        nlt_err_t *err)
{
    nlt_rc_t rc = complete(w, err);

    if (rc == NLT_OK) {
        rc = publish(w, err);
    }
    if (rc != NLT_OK) {
        nlt_block_writer_abort(w);
        return rc;
    }
    *meta = w->meta;
    destroy(w);
    return NLT_OK;
}

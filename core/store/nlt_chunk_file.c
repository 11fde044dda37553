/*
 * nlt_chunk_file.c - writes chunks in order, reads them anywhere.
 */
#include "nlt_chunk_file.h"

#include <fcntl.h>

#include "nlt_bytes.h"
#include "nlt_hash.h"

#define FLUSH_BYTES (256u << 10)
#define FILES_MAX   999999u
#define LENGTH_MAX  (NLT_CHUNK_FILE_BYTES_MAX / 2)

void
nlt_chunk_file_name(char out[NLT_CHUNK_FILE_NAME_BYTES], uint32_t idx)
{
    idx++;
    out[6] = '\0';
    for (int i = 5; i >= 0; i--) {
        out[i] = (char) ('0' + idx % 10);
        idx /= 10;
    }
}

nlt_rc_t
nlt_chunk_file_check(const void *data, size_t len, nlt_err_t *err)
{
    nlt_reader_t r = nlt_reader(data, len);
    uint32_t magic = nlt_read_be32(&r);
    uint8_t version = nlt_read_u8(&r);

    if (len < NLT_CHUNK_FILE_HEADER_BYTES) {
        return nlt_err_set(err, NLT_EDATA, "chunk file of %zu bytes", len);
    }
    if (magic != NLT_CHUNK_FILE_MAGIC) {
        return nlt_err_set_at(err, NLT_EDATA, 0,
                              "chunk file begins with %08x, not with %08x",
                              magic, NLT_CHUNK_FILE_MAGIC);
    }
    if (version != NLT_CHUNK_FILE_VERSION) {
        return nlt_err_set_at(err, NLT_EVERSION, 4,
                              "chunk file of format version %u, only %d can "
                              "be read",
                              version, NLT_CHUNK_FILE_VERSION);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_chunk_file_get(const void *data, size_t len, uint64_t off,
                   nlt_chunk_view_t *out, uint64_t *end, nlt_err_t *err)
{
    const uint8_t *base = data;
    nlt_reader_t r;
    uint64_t n;

    if (off < NLT_CHUNK_FILE_HEADER_BYTES || off >= len) {
        return nlt_err_set_at(err, NLT_EDATA, (int64_t) off,
                              "chunk at offset %llu of a file of %zu bytes",
                              (unsigned long long) off, len);
    }
    r = nlt_reader(base + off, (size_t) (len - off));
    n = nlt_read_uvarint(&r);
    if (r.failed || nlt_reader_left(&r) < 5 || n > nlt_reader_left(&r) - 5) {
        return nlt_err_set_at(err, NLT_EDATA, (int64_t) off,
                              "chunk at offset %llu leaves the file of %zu "
                              "bytes",
                              (unsigned long long) off, len);
    }
    if (nlt_crc32c(0, r.p, (size_t) n + 1) != nlt_be32(r.p + n + 1)) {
        return nlt_err_set_at(err, NLT_EDATA, (int64_t) off,
                              "checksum mismatch in the chunk at offset %llu",
                              (unsigned long long) off);
    }
    out->encoding = r.p[0];
    out->data = (nlt_str_t){(size_t) n, (const char *) r.p + 1};
    if (end) {
        *end = (uint64_t) (r.p - base) + n + 5;
    }
    return NLT_OK;
}

void
nlt_chunk_writer_init(nlt_chunk_writer_t *w, const nlt_env_t *env, int dir_fd,
                      uint64_t bytes_max)
{
    *w = (nlt_chunk_writer_t){.io = env->io, .dir_fd = dir_fd, .fd = -1};
    w->bytes_max = bytes_max ? bytes_max : NLT_CHUNK_FILE_BYTES_MAX;
    nlt_buf_init(&w->out, env->mem, 2 * (size_t) NLT_CHUNK_FILE_BYTES_MAX);
}

static nlt_rc_t
flush(nlt_chunk_writer_t *w, nlt_err_t *err)
{
    nlt_rc_t rc;

    if (w->out.rc != NLT_OK) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory writing chunks");
    }
    rc = nlt_io_write_paced(w->io, w->fd, w->out.data, w->out.len,
                            &w->unsynced, err);
    nlt_buf_reset(&w->out);
    return rc;
}

nlt_rc_t
nlt_chunk_writer_finish(nlt_chunk_writer_t *w, nlt_err_t *err)
{
    nlt_rc_t rc;
    int e;

    if (w->fd < 0) {
        return NLT_OK;
    }
    rc = flush(w, err);
    if (rc == NLT_OK) {
        e = w->io->fsync(w->io->ctx, w->fd);
        if (e < 0) {
            rc = nlt_err_set_errno(err, NLT_EIO, -e, "fsync of chunk file %u",
                                   w->n_files);
        }
    }
    e = w->io->close(w->io->ctx, w->fd);
    w->fd = -1;
    if (rc == NLT_OK && e < 0) {
        rc = nlt_err_set_errno(err, NLT_EIO, -e, "close of chunk file %u",
                               w->n_files);
    }
    return rc;
}

static nlt_rc_t
begin_file(nlt_chunk_writer_t *w, nlt_err_t *err)
{
    char name[NLT_CHUNK_FILE_NAME_BYTES];
    nlt_rc_t rc = nlt_chunk_writer_finish(w, err);

    if (rc != NLT_OK) {
        return rc;
    }
    if (w->n_files >= FILES_MAX) {
        return nlt_err_set(err, NLT_EFULL, "more than %u chunk files",
                           FILES_MAX);
    }
    nlt_chunk_file_name(name, w->n_files);
    w->fd = w->io->open(w->io->ctx, w->dir_fd, name,
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (w->fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -w->fd,
                                 "cannot create chunk file %s", name);
    }
    w->n_files++;
    w->unsynced = 0;
    w->pos = NLT_CHUNK_FILE_HEADER_BYTES;
    w->total += NLT_CHUNK_FILE_HEADER_BYTES;
    nlt_buf_add_be32(&w->out, NLT_CHUNK_FILE_MAGIC);
    nlt_buf_add_be32(&w->out, (uint32_t) NLT_CHUNK_FILE_VERSION << 24);
    return NLT_OK;
}

nlt_rc_t
nlt_chunk_writer_add(nlt_chunk_writer_t *w, uint8_t encoding, nlt_str_t data,
                     uint64_t *ref, nlt_err_t *err)
{
    uint8_t head[NLT_UVARINT_BYTES_MAX + 1];
    size_t n_head = nlt_put_uvarint(head, data.len), len;
    nlt_rc_t rc;

    if (data.len > LENGTH_MAX) {
        return nlt_err_set(err, NLT_EFULL, "chunk of %zu bytes", data.len);
    }
    head[n_head++] = encoding;
    len = n_head + data.len + 4;
    if (w->fd < 0
        || (w->pos + len > w->bytes_max
            && w->pos > NLT_CHUNK_FILE_HEADER_BYTES)) {
        rc = begin_file(w, err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    *ref = (uint64_t) (w->n_files - 1) << 32 | w->pos;
    nlt_buf_add(&w->out, head, n_head);
    nlt_buf_add_str(&w->out, data);
    nlt_buf_add_be32(
        &w->out, nlt_crc32c(nlt_crc32c(0, &encoding, 1), data.data, data.len));
    w->pos += len;
    w->total += len;
    return w->out.len < FLUSH_BYTES && w->out.rc == NLT_OK ? NLT_OK
                                                           : flush(w, err);
}

void
nlt_chunk_writer_deinit(nlt_chunk_writer_t *w)
{
    if (w->fd >= 0) {
        (void) w->io->close(w->io->ctx, w->fd);
        w->fd = -1;
    }
    nlt_buf_deinit(&w->out);
}

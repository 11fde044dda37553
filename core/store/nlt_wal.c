/*
 * nlt_wal.c - writes the log.
 *
 * A batch lies in one buffer as it will lie in the file: finished frames,
 * and at the end the one that is being filled, its header still empty.
 *
 *   buf  [frame][frame]...[..header..|body so far]
 *                         ^frame_off              ^len
 */
#include <errno.h>
#include <fcntl.h>

#include "nlt_filenames.h"
#include "nlt_limits.h"
#include "nlt_remote_write.h"
#include "nlt_wal_frame.h"
#include "nlt_wal_samples.h"

/* Room behind a batch for the frame that crosses its border, and for the
 * compression of that frame. */
#define BUF_MAX (NLT_WAL_BATCH_BYTES + 4 * NLT_WAL_FRAME_MAX)

/* Bodies below this are not worth a try at compression. */
#define SNAPPY_MIN 128

/* Short writes in a row that did not even finish one frame. */
#define STALLED_MAX 3

/* A series record besides its labels: three uvarints. */
#define SERIES_RECORD_MAX (5 + 5 + 5)

/* Records of exemplars and metadata besides their texts, likewise. */
#define EXEMPLAR_RECORD_MAX (5 + 10 + 8 + 5)
#define METADATA_RECORD_MAX (5 + 1 + 10 + 3 * 5)
#define TENANT_RECORD_MAX   (5 + 5)

_Static_assert(NLT_SERIES_BYTES_MAX + SERIES_RECORD_MAX <= NLT_WAL_BODY_MAX,
               "every series record fits in a frame");

struct nlt_wal_s {
    const nlt_env_t *env;
    uint64_t arena_no;
    uint32_t seed;
    int fd;
    bool dead; /* a write or sync failed: the file is not trusted */
    nlt_buf_t buf;
    size_t frame_off;    /* of the open frame in buf */
    nlt_wal_type_t type; /* of the open frame; 0: none is open */
    uint32_t records;    /* in it */
    nlt_wal_prev_t prev; /* sample before, in it */
    nlt_rc_t rc;         /* first failure of the batch */
    nlt_err_t err;
    size_t written; /* bytes of the batch in the file */
};

/* ---- files ---- */

static nlt_rc_t
io_error(nlt_err_t *err, int rc, const char *what, uint64_t arena_no)
{
    bool full = rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;

    return nlt_err_set_errno(err, full ? NLT_EFULL : NLT_EIO, -rc,
                             "log of arena %llu: cannot %s",
                             (unsigned long long) arena_no, what);
}

nlt_rc_t
nlt_wal_create(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
               uint64_t arena_no, int64_t now_ms, nlt_err_t *err)
{
    uint8_t frame[NLT_WAL_HEADER_LEN + NLT_WAL_HEADER_BODY];
    uint8_t *body = frame + NLT_WAL_HEADER_LEN;
    char name[NLT_WAL_NAME_SIZE];
    int fd;

    nlt_wal_name(name, arena_no);
    fd = env->io->open(env->io->ctx, dir_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd >= 0) {
        (void) env->io->close(env->io->ctx, fd);
        /* Who made it may have died before its name was safe. */
        return nlt_io_sync_dir(env->io, dir_fd, err);
    }
    if (fd != -ENOENT) {
        return io_error(err, fd, "open", arena_no);
    }
    memcpy(body, store_id, NLT_WAL_ID_BYTES);
    nlt_put_le64(body + NLT_WAL_ID_BYTES, arena_no);
    nlt_put_le64(body + NLT_WAL_ID_BYTES + 8, (uint64_t) now_ms);
    nlt_wal_frame_put(frame, NLT_WAL_HEADER, 0, NLT_WAL_HEADER_BODY, 1, 0);
    /* Renamed into place: a log without its first frame never shows. */
    return nlt_io_replace_file(env->io, dir_fd, name, frame, sizeof(frame),
                               err);
}

/* Reads the first frame, for the seed. */
static nlt_rc_t
read_header(nlt_wal_t *w, nlt_err_t *err)
{
    uint8_t frame[NLT_WAL_HEADER_LEN + NLT_WAL_HEADER_BODY];
    const uint8_t *body = frame + NLT_WAL_HEADER_LEN;
    const nlt_io_t *io = w->env->io;
    nlt_wal_frame_t f;
    ssize_t n;

    n = io->read(io->ctx, w->fd, frame, sizeof(frame), 0);
    if (n < 0) {
        return io_error(err, (int) n, "read", w->arena_no);
    }
    if ((size_t) n < sizeof(frame)
        || !nlt_wal_frame_get(frame, (size_t) n, 0, &f)
        || f.type != NLT_WAL_HEADER || f.body_len != NLT_WAL_HEADER_BODY) {
        return nlt_err_set(err, NLT_EDATA,
                           "log of arena %llu: its first frame is damaged",
                           (unsigned long long) w->arena_no);
    }
    if (f.version != NLT_WAL_VERSION) {
        return nlt_err_set(err, NLT_EVERSION,
                           "log of arena %llu: frames of version %u, only %d "
                           "can be written",
                           (unsigned long long) w->arena_no, f.version,
                           NLT_WAL_VERSION);
    }
    if (nlt_le64(body + NLT_WAL_ID_BYTES) != w->arena_no) {
        return nlt_err_set(
            err, NLT_EDATA, "log of arena %llu: it says to be of arena %llu",
            (unsigned long long) w->arena_no,
            (unsigned long long) nlt_le64(body + NLT_WAL_ID_BYTES));
    }
    w->seed = nlt_wal_seed(body);
    return NLT_OK;
}

nlt_rc_t
nlt_wal_open(const nlt_env_t *env, int dir_fd, uint64_t arena_no,
             nlt_wal_t **out, nlt_err_t *err)
{
    char name[NLT_WAL_NAME_SIZE];
    nlt_wal_t *w;
    nlt_rc_t rc;

    *out = NULL;
    w = nlt_mem_zalloc(env->mem, sizeof(*w));
    if (w == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    w->env = env;
    w->arena_no = arena_no;
    nlt_buf_init(&w->buf, env->mem, BUF_MAX);
    nlt_wal_name(name, arena_no);
    w->fd = env->io->open(env->io->ctx, dir_fd, name,
                          O_RDWR | O_APPEND | O_NOFOLLOW, 0);
    if (w->fd < 0) {
        rc = io_error(err, w->fd, "open", arena_no);
        if (w->fd == -ENOENT) {
            rc = NLT_ENOENT;
            if (err != NULL) {
                err->rc = rc;
            }
        }
        nlt_mem_free(env->mem, w, sizeof(*w));
        return rc;
    }
    rc = read_header(w, err);
    if (rc != NLT_OK) {
        nlt_wal_close(w);
        return rc;
    }
    *out = w;
    return NLT_OK;
}

void
nlt_wal_close(nlt_wal_t *w)
{
    const nlt_env_t *env;

    if (w == NULL) {
        return;
    }
    env = w->env;
    (void) env->io->close(env->io->ctx, w->fd);
    nlt_buf_deinit(&w->buf);
    nlt_mem_free(env->mem, w, sizeof(*w));
}

uint64_t
nlt_wal_arena(const nlt_wal_t *w)
{
    return w->arena_no;
}

int64_t
nlt_wal_bytes(const nlt_wal_t *w)
{
    return w->env->io->size(w->env->io->ctx, w->fd);
}

/* ---- batches ---- */

static void
fail(nlt_wal_t *w, nlt_rc_t rc, const char *what)
{
    if (w->rc == NLT_OK) {
        w->rc = nlt_err_set(&w->err, rc, "log of arena %llu: %s",
                            (unsigned long long) w->arena_no, what);
    }
}

/* Bytes of the whole frames at the beginning of n bytes at p. */
static size_t
whole_frames(const char *p, size_t n)
{
    size_t off = 0;

    while (n - off >= NLT_WAL_HEADER_LEN) {
        size_t len = NLT_WAL_HEADER_LEN + nlt_le32(p + off + 8);

        if (len > n - off) {
            break;
        }
        off += len;
    }
    return off;
}

/* Writes the finished frames and empties the buffer. */
static void
write_out(nlt_wal_t *w)
{
    const nlt_io_t *io = w->env->io;
    size_t off = 0, whole;
    unsigned stalled = 0;
    ssize_t n;

    while (w->rc == NLT_OK && off < w->buf.len) {
        n = io->write(io->ctx, w->fd, w->buf.data + off, w->buf.len - off);
        if (n < 0) {
            w->rc = io_error(&w->err, (int) n, "write", w->arena_no);
            w->dead = w->rc == NLT_EIO;
            break;
        }
        w->written += (size_t) n;
        if ((size_t) n == w->buf.len - off) {
            break;
        }
        whole = whole_frames(w->buf.data + off, (size_t) n);
        off += whole;
        stalled = whole ? 0 : stalled + 1;
        if (stalled == STALLED_MAX) {
            fail(w, NLT_EIO, "writes stay short");
        }
    }
    nlt_buf_reset(&w->buf);
}

/* Compresses the body of the open frame when that makes it smaller. */
static uint8_t
compress(nlt_wal_t *w, size_t body_off, size_t *body_len)
{
    size_t n = *body_len;
    char *room;

    if (w->type == NLT_WAL_SAMPLES || n < SNAPPY_MIN) {
        return 0;
    }
    room = nlt_buf_reserve(&w->buf, nlt_snappy_bound(n));
    if (room == NULL) {
        return 0;
    }
    n = nlt_snappy_encode((nlt_str_t){n, w->buf.data + body_off}, room);
    if (n == 0 || n >= *body_len) {
        return 0;
    }
    memmove(w->buf.data + body_off, room, n);
    w->buf.len = body_off + n;
    *body_len = n;
    return NLT_WAL_F_SNAPPY;
}

/* Finishes the open frame; writes out when much is waiting. */
static void
close_frame(nlt_wal_t *w)
{
    size_t body_off = w->frame_off + NLT_WAL_HEADER_LEN, body_len;
    uint8_t flags;

    if (w->type == 0 || w->buf.rc != NLT_OK) {
        return;
    }
    body_len = w->buf.len - body_off;
    flags = compress(w, body_off, &body_len);
    if (w->buf.rc == NLT_OK) {
        nlt_wal_frame_put((uint8_t *) w->buf.data + w->frame_off, w->type,
                          flags, (uint32_t) body_len, w->records, w->seed);
    }
    w->type = 0;
    if (w->buf.len >= NLT_WAL_BATCH_BYTES) {
        write_out(w);
    }
}

/*
 * Room for a record of at most n bytes in an open frame of the given type,
 * or NULL.
 */
static char *
room_for(nlt_wal_t *w, nlt_wal_type_t type, size_t n)
{
    char *p;

    if (w->type != type || w->buf.len - w->frame_off + n > NLT_WAL_FRAME_MAX) {
        close_frame(w);
        w->frame_off = w->buf.len;
        w->type = type;
        w->records = 0;
        w->prev = (nlt_wal_prev_t){0};
        /* The frame's header is written when it is closed. */
        p = nlt_buf_reserve(&w->buf, NLT_WAL_HEADER_LEN);
        if (p == NULL) {
            return NULL;
        }
        memset(p, 0, NLT_WAL_HEADER_LEN);
        nlt_buf_advance(&w->buf, NLT_WAL_HEADER_LEN);
    }
    return w->rc == NLT_OK ? nlt_buf_reserve(&w->buf, n) : NULL;
}

void
nlt_wal_begin(nlt_wal_t *w)
{
    nlt_buf_reset(&w->buf);
    w->type = 0;
    w->rc = NLT_OK;
    w->written = 0;
    if (w->dead) {
        fail(w, NLT_EIO, "an earlier write or sync has failed");
    }
}

void
nlt_wal_add_series(nlt_wal_t *w, uint32_t series, uint32_t tenant,
                   nlt_str_t canonical)
{
    char *p, *start;

    if (canonical.len > NLT_SERIES_BYTES_MAX || series == 0) {
        fail(w, NLT_EBUG, "a series that cannot be logged");
        return;
    }
    start = room_for(w, NLT_WAL_SERIES, canonical.len + SERIES_RECORD_MAX);
    if (start == NULL) {
        return;
    }
    p = start;
    p += nlt_put_uvarint(p, series);
    p += nlt_put_uvarint(p, tenant);
    p = nlt_put_uvarint_str(p, canonical);
    nlt_buf_advance(&w->buf, (size_t) (p - start));
    w->records++;
}

void
nlt_wal_add_sample(nlt_wal_t *w, uint32_t series, int64_t t_ms,
                   uint64_t v_bits)
{
    char *p = room_for(w, NLT_WAL_SAMPLES, NLT_WAL_SAMPLE_BYTES_MAX);

    if (nlt_unlikely(p == NULL)) {
        return;
    }
    nlt_buf_advance(&w->buf, nlt_wal_sample_put(&w->prev, (uint8_t *) p,
                                                series, t_ms, v_bits));
    w->records++;
}

void
nlt_wal_add_exemplar(nlt_wal_t *w, const nlt_wal_exemplar_t *x)
{
    char *p, *start;

    if (x->labels.len > NLT_WAL_TEXT_MAX || x->series == 0) {
        fail(w, NLT_EBUG, "an exemplar that cannot be logged");
        return;
    }
    start =
        room_for(w, NLT_WAL_EXEMPLARS, x->labels.len + EXEMPLAR_RECORD_MAX);
    if (start == NULL) {
        return;
    }
    p = start;
    p += nlt_put_uvarint(p, x->series);
    p += nlt_put_varint(p, x->t_ms);
    nlt_put_le64(p, x->v_bits);
    p = nlt_put_uvarint_str(p + 8, x->labels);
    nlt_buf_advance(&w->buf, (size_t) (p - start));
    w->records++;
}

void
nlt_wal_add_metadata(nlt_wal_t *w, const nlt_wal_metadata_t *m)
{
    size_t texts = m->name.len + m->help.len + m->unit.len;
    char *p, *start;

    if (texts > NLT_WAL_TEXT_MAX) {
        fail(w, NLT_EBUG, "metadata that cannot be logged");
        return;
    }
    start = room_for(w, NLT_WAL_METADATA, texts + METADATA_RECORD_MAX);
    if (start == NULL) {
        return;
    }
    p = start;
    p += nlt_put_uvarint(p, m->tenant);
    *p++ = (char) m->type;
    p += nlt_put_varint(p, m->t_ms);
    p = nlt_put_uvarint_str(
        nlt_put_uvarint_str(nlt_put_uvarint_str(p, m->name), m->help),
        m->unit);
    nlt_buf_advance(&w->buf, (size_t) (p - start));
    w->records++;
}

void
nlt_wal_add_tenant(nlt_wal_t *w, uint32_t tenant, nlt_str_t name)
{
    char *p, *start;

    if (name.len > NLT_WAL_TEXT_MAX || tenant == 0) {
        fail(w, NLT_EBUG, "a tenant that cannot be logged");
        return;
    }
    start = room_for(w, NLT_WAL_TENANTS, name.len + TENANT_RECORD_MAX);
    if (start == NULL) {
        return;
    }
    p = start;
    p += nlt_put_uvarint(p, tenant);
    p = nlt_put_uvarint_str(p, name);
    nlt_buf_advance(&w->buf, (size_t) (p - start));
    w->records++;
}

nlt_rc_t
nlt_wal_commit(nlt_wal_t *w, size_t *bytes, nlt_err_t *err)
{
    close_frame(w);
    if (w->rc == NLT_OK && w->buf.rc != NLT_OK) {
        fail(w, NLT_ENOMEM, "out of memory");
    }
    write_out(w);
    *bytes = w->written;
    if (w->rc != NLT_OK && err != NULL) {
        *err = w->err;
    }
    return w->rc;
}

nlt_rc_t
nlt_wal_sync_aside(const nlt_wal_t *w, nlt_err_t *err)
{
    int rc = w->env->io->fdatasync(w->env->io->ctx, w->fd);

    if (rc < 0) {
        (void) io_error(err, rc, "sync", w->arena_no);
        if (err != NULL) {
            err->rc = NLT_EIO;
        }
        return NLT_EIO;
    }
    return NLT_OK;
}

void
nlt_wal_give_up(nlt_wal_t *w)
{
    w->dead = true;
}

nlt_rc_t
nlt_wal_sync(nlt_wal_t *w, nlt_err_t *err)
{
    nlt_rc_t rc;

    if (w->dead) {
        return nlt_err_set(err, NLT_EIO,
                           "log of arena %llu: an earlier write or sync has "
                           "failed",
                           (unsigned long long) w->arena_no);
    }
    rc = nlt_wal_sync_aside(w, err);
    w->dead = rc != NLT_OK;
    return rc;
}

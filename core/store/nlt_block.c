/*
 * nlt_block.c - opens a block and reads series, chunks and samples.
 */
#include "nlt_block_priv.h"

#include <errno.h>
#include <fcntl.h>

#include "nlt_hash.h"

#define META_BYTES_MAX (1u << 20)
#define SEGMENTS_MAX   999999u

/* Lists of meta.json, and 56 bytes for each tombstone that there may be. */
#define POOL_BYTES ((256u << 10) + 56ul * NLT_TOMBSTONES_MAX)

nlt_rc_t
nlt_block_done(const nlt_block_t *b, nlt_rc_t rc, nlt_err_t *err)
{
    char text[NLT_ERR_TEXT_MAX];

    if (nlt_guard_hit(&b->hit)) {
        return nlt_err_set(err, NLT_EDATA,
                           "block %s: pages of its files are gone: one was "
                           "cut short, or the disk does not give them",
                           b->name.c);
    }
    if (rc == NLT_OK || err == NULL) {
        return rc;
    }
    memcpy(text, err->text, sizeof(text));
    text[sizeof(text) - 1] = '\0';
    return nlt_err_set_at(err, rc, err->pos, "block %s: %s", b->name.c, text);
}

const char *
nlt_block_reason(const char *name, const nlt_err_t *err)
{
    static const char block[] = "block ";
    const char *p = err->text;

    if (strncmp(p, block, sizeof(block) - 1) != 0
        || strncmp(p + sizeof(block) - 1, name, NLT_ULID_LEN) != 0
        || strncmp(p + sizeof(block) - 1 + NLT_ULID_LEN, ": ", 2) != 0) {
        return p;
    }
    return p + sizeof(block) - 1 + NLT_ULID_LEN + 2;
}

/* Maps a file below dir_fd; NLT_ENOENT without complaint when missing. */
static nlt_rc_t
map_file(nlt_block_t *b, int dir_fd, const char *name, nlt_guard_t *out,
         nlt_err_t *err)
{
    const nlt_io_t *io = b->env->io;
    int fd = io->open(io->ctx, dir_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    int64_t size;
    nlt_rc_t rc;

    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOENT ? NLT_ENOENT : NLT_EIO,
                                 -fd, "cannot open %s", name);
    }
    size = io->size(io->ctx, fd);
    if (size <= 0) {
        rc = size < 0 ? nlt_err_set_errno(err, NLT_EIO, (int) -size,
                                          "cannot stat %s", name)
                      : nlt_err_set(err, NLT_EDATA, "%s is empty", name);
    } else {
        rc = nlt_guard_map(out, fd, (size_t) size, &b->hit, err);
    }
    (void) io->close(io->ctx, fd); /* the mapping stays */
    return rc;
}

static nlt_rc_t
open_meta(nlt_block_t *b, int dir_fd, nlt_err_t *err)
{
    nlt_buf_t text;
    nlt_rc_t rc;

    nlt_buf_init(&text, b->env->mem, META_BYTES_MAX);
    rc = nlt_io_read_file(b->env->io, dir_fd, "meta.json", &text, err);
    if (rc == NLT_OK) {
        rc = nlt_block_meta_parse(&b->pool, nlt_buf_str(&text), &b->meta, err);
    }
    nlt_buf_deinit(&text);
    if (rc == NLT_OK && memcmp(&b->meta.ulid, &b->name, sizeof(b->name))) {
        rc = nlt_err_set(err, NLT_EDATA, "meta.json belongs to block %s",
                         b->meta.ulid.c);
    }
    /* Anything unreadable but a lack of memory or disk is a fault of it. */
    return rc == NLT_ETOOBIG ? nlt_err_set(
               err, NLT_EDATA, "meta.json exceeds %u bytes", META_BYTES_MAX)
                             : rc;
}

static nlt_rc_t
open_tombstones(nlt_block_t *b, int dir_fd, nlt_err_t *err)
{
    nlt_buf_t buf;
    nlt_rc_t rc;

    nlt_buf_init(&buf, b->env->mem, NLT_TOMBSTONES_BYTES_MAX);
    rc = nlt_io_read_file(b->env->io, dir_fd, "tombstones", &buf, err);
    if (rc == NLT_OK) {
        rc = nlt_tombstones_parse(&b->pool, nlt_buf_str(&buf), &b->tombstones,
                                  err);
    }
    nlt_buf_deinit(&buf);
    return rc == NLT_ENOENT ? NLT_OK : rc;
}

/* Room for one more segment. */
static bool
grow_segments(nlt_block_t *b)
{
    size_t cap = b->n_segments_cap ? 2 * b->n_segments_cap : 4;
    nlt_guard_t **v;

    if (b->n_segments < b->n_segments_cap) {
        return true;
    }
    v = nlt_mem_zalloc(b->env->mem, cap * sizeof(*v));
    if (v == NULL) {
        return false;
    }
    if (b->n_segments > 0) {
        memcpy(v, b->segments, b->n_segments * sizeof(*v));
    }
    nlt_mem_free(b->env->mem, b->segments, b->n_segments_cap * sizeof(*v));
    b->segments = v;
    b->n_segments_cap = cap;
    return true;
}

/* Maps the next segment; NLT_ENOENT: that was the last one. */
static nlt_rc_t
open_segment(nlt_block_t *b, int chunks_fd, nlt_err_t *err)
{
    char name[NLT_CHUNK_FILE_NAME_BYTES];
    nlt_guard_t *g = nlt_mem_zalloc(b->env->mem, sizeof(*g));
    nlt_rc_t rc;

    if (g == NULL || !grow_segments(b)) {
        nlt_mem_free(b->env->mem, g, sizeof(*g));
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    nlt_chunk_file_name(name, (uint32_t) b->n_segments);
    rc = map_file(b, chunks_fd, name, g, err);
    if (rc != NLT_OK) {
        nlt_mem_free(b->env->mem, g, sizeof(*g));
        return rc;
    }
    b->segments[b->n_segments++] = g;
    return nlt_chunk_file_check(g->p, g->len, err);
}

static nlt_rc_t
open_segments(nlt_block_t *b, int dir_fd, nlt_err_t *err)
{
    const nlt_io_t *io = b->env->io;
    int fd = io->open(io->ctx, dir_fd, "chunks",
                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    nlt_rc_t rc = NLT_OK;

    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOENT ? NLT_EDATA : NLT_EIO, -fd,
                                 "cannot open chunks");
    }
    while (rc == NLT_OK && b->n_segments < SEGMENTS_MAX) {
        rc = open_segment(b, fd, err);
    }
    (void) io->close(io->ctx, fd);
    return rc == NLT_ENOENT ? NLT_OK : rc; /* after the last number */
}

static nlt_rc_t
open_files(nlt_block_t *b, int dir_fd, nlt_err_t *err)
{
    nlt_rc_t rc = open_meta(b, dir_fd, err);

    if (rc == NLT_OK) {
        rc = map_file(b, dir_fd, "index", &b->index_map, err);
        rc = rc == NLT_ENOENT ? NLT_EDATA : rc;
    }
    if (rc == NLT_OK) {
        rc = nlt_index_file_open(b->env->mem, b->index_map.p, b->index_map.len,
                                 &b->index, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_find_tenants(b, err);
    }
    if (rc == NLT_OK) {
        rc = open_segments(b, dir_fd, err);
    }
    return rc == NLT_OK ? open_tombstones(b, dir_fd, err) : rc;
}

nlt_rc_t
nlt_block_open(const nlt_env_t *env, int dir_fd, const char *name,
               nlt_block_t **out, nlt_err_t *err)
{
    const nlt_io_t *io = env->io;
    nlt_block_t *b;
    nlt_rc_t rc;
    int fd;

    *out = NULL;
    if (!nlt_ulid_valid((nlt_str_t){strlen(name), name})) {
        return nlt_err_set(err, NLT_ENOENT, "\"%s\" is no name of a block",
                           name);
    }
    fd = io->open(io->ctx, dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                  0);
    if (fd < 0) {
        return nlt_err_set_errno(err, fd == -ENOENT ? NLT_ENOENT : NLT_EIO,
                                 -fd, "cannot open block %s", name);
    }
    b = nlt_mem_zalloc(env->mem, sizeof(*b));
    if (b == NULL) {
        (void) io->close(io->ctx, fd);
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for block %s",
                           name);
    }
    b->env = env;
    nlt_pool_init(&b->pool, env->mem, POOL_BYTES);
    memcpy(b->name.c, name, NLT_ULID_LEN);
    rc = nlt_block_done(b, open_files(b, fd, err), err);
    (void) io->close(io->ctx, fd);
    if (rc != NLT_OK) {
        nlt_block_close(b);
        return rc;
    }
    *out = b;
    return NLT_OK;
}

void
nlt_block_close(nlt_block_t *b)
{
    if (b == NULL) {
        return;
    }
    nlt_index_file_close(b->index);
    nlt_guard_unmap(&b->index_map);
    for (size_t i = 0; i < b->n_segments; i++) {
        nlt_guard_unmap(b->segments[i]);
        nlt_mem_free(b->env->mem, b->segments[i], sizeof(nlt_guard_t));
    }
    nlt_mem_free(b->env->mem, b->segments,
                 b->n_segments_cap * sizeof(*b->segments));
    nlt_pool_deinit(&b->pool);
    nlt_mem_free(b->env->mem, b, sizeof(*b));
}

nlt_rc_t
nlt_block_intact(const nlt_block_t *b, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    if (!nlt_index_file_ends(b->index)) {
        rc = nlt_err_set(err, NLT_EDATA, "index was cut short");
    }
    return nlt_block_done(b, rc, err);
}

const nlt_block_meta_t *
nlt_block_meta(const nlt_block_t *b)
{
    return &b->meta;
}

const nlt_tombstones_t *
nlt_block_tombstones(const nlt_block_t *b)
{
    return &b->tombstones;
}

nlt_rc_t
nlt_block_labels(const nlt_block_t *b, nlt_block_series_t id, nlt_pool_t *pool,
                 nlt_labels_t *out, nlt_err_t *err)
{
    nlt_index_series_t s;
    nlt_rc_t rc = nlt_index_series_open(b->index, id, &s, err);
    nlt_label_t *v;
    size_t n = 0;

    *out = (nlt_labels_t){NULL, 0};
    if (rc != NLT_OK) {
        return nlt_block_done(b, rc, err);
    }
    v = nlt_pool_array(pool, (size_t) s.n_labels, sizeof(*v));
    if (v == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for labels");
    }
    n = (size_t) s.n_labels;
    rc = nlt_index_series_labels(&s, v, err);
    if (rc == NLT_OK) {
        *out = (nlt_labels_t){v, n};
    }
    return nlt_block_done(b, rc, err);
}

nlt_rc_t
nlt_block_label(const nlt_block_t *b, nlt_block_series_t id, nlt_str_t name,
                nlt_str_t *out, nlt_err_t *err)
{
    uint64_t want = nlt_block_symbol(b, name), value = 0;
    nlt_index_series_t s;
    nlt_rc_t rc;

    *out = (nlt_str_t){0, NULL};
    if (want == 0) {
        return nlt_block_done(b, NLT_OK, err);
    }
    rc = nlt_index_series_open(b->index, id, &s, err);
    if (rc == NLT_OK) {
        rc = nlt_index_series_values(&s, &want, 1, &value, err);
    }
    if (rc == NLT_OK && value != 0) {
        rc = nlt_index_file_symbol(b->index, value - 1, out, err);
    }
    return nlt_block_done(b, rc, err);
}

uint64_t
nlt_block_symbol(const nlt_block_t *b, nlt_str_t s)
{
    uint64_t ref;

    return nlt_index_file_find_symbol(b->index, s, &ref) ? ref + 1 : 0;
}

bool
nlt_block_label_nos(const nlt_block_t *b, nlt_block_series_t id,
                    const uint64_t *names, size_t n, uint64_t *out)
{
    nlt_index_series_t s;
    nlt_err_t err;

    if (nlt_index_series_open(b->index, id, &s, &err) != NLT_OK
        || nlt_index_series_values(&s, names, n, out, &err) != NLT_OK) {
        memset(out, 0, n * sizeof(*out));
        return false;
    }
    return !nlt_guard_hit(&b->hit);
}

/* The chunk that the index names, of an encoding that has a meaning; `times`:
 * a dense one with its column of times. */
static nlt_rc_t
get_chunk(const nlt_block_t *b, const nlt_index_chunk_t *c, bool times,
          nlt_chunk_view_t *out, nlt_err_t *err)
{
    uint64_t seg = c->ref >> 32;
    nlt_rc_t rc;
    nlt_err_t inner;

    if (seg >= b->n_segments) {
        return nlt_err_set(err, NLT_EDATA,
                           "chunk in chunk file %llu, but there are %zu",
                           (unsigned long long) seg + 1, b->n_segments);
    }
    rc = nlt_chunk_file_get(b->segments[seg]->p, b->segments[seg]->len,
                            c->ref & UINT32_MAX, out, NULL, &inner);
    if (rc == NLT_OK && out->encoding == NLT_CHUNK_DENSE && !b->meta.dense) {
        /* So what is copied as portable is. */
        rc = nlt_err_set(&inner, NLT_EDATA,
                         "chunk at offset %llu is dense, but not the block",
                         (unsigned long long) (c->ref & UINT32_MAX));
    }
    if (rc == NLT_OK && times && out->encoding == NLT_CHUNK_DENSE) {
        rc = nlt_block_dense_times(b, c, out, &inner);
    }
    if (rc == NLT_OK && !nlt_chunk_known(out->encoding)) {
        rc = nlt_err_set(&inner, NLT_EVERSION,
                         "chunk at offset %llu has encoding %u, only 1 to 3 "
                         "and 128 can be read",
                         (unsigned long long) (c->ref & UINT32_MAX),
                         out->encoding);
    }
    return rc == NLT_OK
               ? NLT_OK
               : nlt_err_set_at(err, rc, inner.pos, "chunk file %06llu: %s",
                                (unsigned long long) seg + 1, inner.text);
}

nlt_rc_t
nlt_block_get_chunk(const nlt_block_t *b, const nlt_index_chunk_t *c,
                    nlt_chunk_view_t *out, nlt_err_t *err)
{
    return get_chunk(b, c, true, out, err);
}

nlt_rc_t
nlt_block_decode_chunk(const nlt_index_chunk_t *c,
                       const nlt_chunk_view_t *view, nlt_samples_t *out,
                       nlt_err_t *err)
{
    return nlt_block_decode_state(c, view, out, NULL, NULL, err);
}

nlt_rc_t
nlt_block_decode_state(const nlt_index_chunk_t *c,
                       const nlt_chunk_view_t *view, nlt_samples_t *out,
                       nlt_xor_state_t *end, uint64_t *n_bits, nlt_err_t *err)
{
    const char *fault = NULL;
    uint32_t n = view->data.len < 2 ? 0 : nlt_be16(view->data.data);
    int64_t *t;
    nlt_rc_t rc;

    if (n > 0 && !nlt_samples_reserve(out, out->n + n)) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for %u samples", n);
    }
    t = out->t_ms + out->n;
    if (n == 0) {
        fault = "is empty";
    } else if (view->encoding == NLT_CHUNK_DENSE) {
        fault = nlt_block_dense_decode(c, view, n, t, out->v + out->n);
    } else {
        rc = nlt_xor_decode_rising((const uint8_t *) view->data.data + 2,
                                   view->data.len - 2, n, t, out->v + out->n,
                                   end, n_bits);
        if (rc != NLT_OK && rc != NLT_EORDER) {
            fault = "ends early";
        } else if (rc == NLT_EORDER || t[0] < c->t_min_ms
                   || t[n - 1] > c->t_max_ms) {
            fault = "has samples where the index has none";
        }
    }
    if (fault) {
        return nlt_err_set_at(err, NLT_EDATA, (int64_t) (c->ref & UINT32_MAX),
                              "chunk file %06llu: chunk at offset %llu %s",
                              (unsigned long long) (c->ref >> 32) + 1,
                              (unsigned long long) (c->ref & UINT32_MAX),
                              fault);
    }
    out->n += n;
    return NLT_OK;
}

/* Drops the samples from index `from` on that lie outside the range. */
static void
trim(nlt_samples_t *s, size_t from, int64_t t_min_ms, int64_t t_max_ms)
{
    size_t lo = from, hi = s->n;

    while (lo < hi && s->t_ms[lo] < t_min_ms) {
        lo++;
    }
    while (hi > lo && s->t_ms[hi - 1] > t_max_ms) {
        hi--;
    }
    if (lo > from && hi > lo) {
        memmove(s->t_ms + from, s->t_ms + lo, (hi - lo) * sizeof(*s->t_ms));
        memmove(s->v + from, s->v + lo, (hi - lo) * sizeof(*s->v));
    }
    s->n = from + (hi - lo);
}

static nlt_rc_t
read_chunk(const nlt_block_t *b, const nlt_index_chunk_t *c, int64_t t_min_ms,
           int64_t t_max_ms, nlt_times_t *shared, nlt_samples_t *out,
           nlt_err_t *err)
{
    nlt_chunk_view_t view;
    size_t from = out->n;
    nlt_rc_t rc = get_chunk(b, c, false, &view, err);

    if (rc != NLT_OK) {
        return rc;
    }
    if (view.encoding == NLT_CHUNK_DENSE) {
        return nlt_block_dense_read(b, c, &view, NLT_READ_ALL, t_min_ms,
                                    t_max_ms, shared, out, err);
    }
    if (!nlt_chunk_is_float(view.encoding)) {
        return NLT_OK; /* a histogram */
    }
    rc = nlt_block_decode_chunk(c, &view, out, err);
    if (rc == NLT_OK && (c->t_min_ms < t_min_ms || c->t_max_ms > t_max_ms)) {
        trim(out, from, t_min_ms, t_max_ms);
    }
    return rc;
}

nlt_rc_t
nlt_block_read_shared(const nlt_block_t *b, nlt_block_series_t id,
                      int64_t t_min_ms, int64_t t_max_ms, nlt_times_t *shared,
                      nlt_samples_t *out, nlt_err_t *err)
{
    const nlt_interval_t *gone;
    size_t n_gone, from = out->n;
    nlt_index_series_t s;
    nlt_rc_t rc = nlt_index_series_open(b->index, id, &s, err);

    gone = nlt_tombstones_of(&b->tombstones, id, &n_gone);
    if (rc == NLT_OK) {
        rc = nlt_index_series_chunks(&s, err);
    }
    while (rc == NLT_OK && s.n_chunks > 0) {
        nlt_index_chunk_t c;

        rc = nlt_index_series_chunk(&s, &c, err);
        if (rc == NLT_OK && c.t_min_ms > t_max_ms) {
            break;
        }
        if (rc == NLT_OK && c.t_max_ms >= t_min_ms) {
            rc = read_chunk(b, &c, t_min_ms, t_max_ms, shared, out, err);
        }
    }
    if (n_gone > 0) {
        nlt_intervals_cut(gone, n_gone, out, from);
    }
    return nlt_block_done(b, rc, err);
}

/* The last chunk that overlaps the range; *any: there is one. */
static nlt_rc_t
last_chunk(const nlt_block_t *b, nlt_block_series_t id, int64_t t_min_ms,
           int64_t t_max_ms, nlt_index_chunk_t *out, bool *any, nlt_err_t *err)
{
    nlt_index_series_t s;
    nlt_rc_t rc = nlt_index_series_open(b->index, id, &s, err);

    *any = false;
    if (rc == NLT_OK) {
        rc = nlt_index_series_chunks(&s, err);
    }
    while (rc == NLT_OK && s.n_chunks > 0) {
        nlt_index_chunk_t c;

        rc = nlt_index_series_chunk(&s, &c, err);
        if (rc != NLT_OK || c.t_min_ms > t_max_ms) {
            break;
        }
        *out = c;
        *any = c.t_max_ms >= t_min_ms;
    }
    return rc;
}

/*
 * The newest sample of a chunk, if that is the newest of the range; *found:
 * so it is, and in out unless it is before the range.
 */
static nlt_rc_t
newest_of(const nlt_block_t *b, const nlt_index_chunk_t *c, int64_t t_min_ms,
          int64_t t_max_ms, nlt_times_t *shared, nlt_samples_t *out,
          bool *found, nlt_err_t *err)
{
    size_t from = out->n, n;
    nlt_chunk_view_t view;
    nlt_rc_t rc = get_chunk(b, c, false, &view, err);

    *found = false;
    if (rc != NLT_OK || !nlt_chunk_is_float(view.encoding)) {
        return rc;
    }
    if (view.encoding == NLT_CHUNK_DENSE) {
        rc = nlt_block_dense_read(b, c, &view, NLT_READ_NEWEST, t_min_ms,
                                  t_max_ms, shared, out, err);
        *found = out->n > from;
        return rc;
    }
    rc = nlt_block_decode_chunk(c, &view, out, err);
    for (n = out->n; n > from && out->t_ms[n - 1] > t_max_ms; n--) {
    }
    out->n = from;
    *found = rc == NLT_OK && n > from;
    if (*found && out->t_ms[n - 1] >= t_min_ms) {
        out->t_ms[from] = out->t_ms[n - 1];
        out->v[from] = out->v[n - 1];
        out->n++;
    }
    return rc;
}

nlt_rc_t
nlt_block_read_newest(const nlt_block_t *b, nlt_block_series_t id,
                      int64_t t_min_ms, int64_t t_max_ms, nlt_times_t *shared,
                      nlt_samples_t *out, nlt_err_t *err)
{
    nlt_index_chunk_t c;
    bool any, found = false;
    size_t n_gone;
    nlt_rc_t rc;

    (void) nlt_tombstones_of(&b->tombstones, id, &n_gone);
    if (n_gone > 0) {
        return nlt_block_read_shared(b, id, t_min_ms, t_max_ms, shared, out,
                                     err);
    }
    rc = last_chunk(b, id, t_min_ms, t_max_ms, &c, &any, err);
    if (rc == NLT_OK && any) {
        rc = newest_of(b, &c, t_min_ms, t_max_ms, shared, out, &found, err);
    }
    /* What is before histograms, or not where the index says. */
    return rc == NLT_OK && any && !found ? nlt_block_read_shared(
               b, id, t_min_ms, t_max_ms, shared, out, err)
                                         : nlt_block_done(b, rc, err);
}

nlt_rc_t
nlt_block_read(const nlt_block_t *b, nlt_block_series_t id, int64_t t_min_ms,
               int64_t t_max_ms, nlt_samples_t *out, nlt_err_t *err)
{
    return nlt_block_read_shared(b, id, t_min_ms, t_max_ms, NULL, out, err);
}

nlt_rc_t
nlt_block_overlaps(const nlt_block_t *b, nlt_block_series_t id,
                   int64_t t_min_ms, int64_t t_max_ms, bool *out,
                   nlt_err_t *err)
{
    const nlt_interval_t *gone;
    size_t n_gone;

    gone = nlt_tombstones_of(&b->tombstones, id, &n_gone);
    return nlt_block_has_more(b, id, t_min_ms, t_max_ms, gone, n_gone, out,
                              err);
}

/* Is a part of the chunk in the range and in none of the intervals? */
static bool
shows(const nlt_index_chunk_t *c, int64_t t_min_ms, int64_t t_max_ms,
      const nlt_interval_t *gone, size_t n_gone)
{
    return c->t_max_ms >= t_min_ms
           && !nlt_intervals_cover(gone, n_gone,
                                   nlt_max_i64(c->t_min_ms, t_min_ms),
                                   nlt_min_i64(c->t_max_ms, t_max_ms));
}

nlt_rc_t
nlt_block_has_more(const nlt_block_t *b, nlt_block_series_t id,
                   int64_t t_min_ms, int64_t t_max_ms,
                   const nlt_interval_t *gone, size_t n_gone, bool *out,
                   nlt_err_t *err)
{
    nlt_index_series_t s;
    nlt_rc_t rc = nlt_index_series_open(b->index, id, &s, err);

    *out = false;
    if (rc == NLT_OK) {
        rc = nlt_index_series_chunks(&s, err);
    }
    while (rc == NLT_OK && s.n_chunks > 0 && !*out) {
        nlt_index_chunk_t c;

        rc = nlt_index_series_chunk(&s, &c, err);
        if (rc == NLT_OK && c.t_min_ms > t_max_ms) {
            break;
        }
        *out = rc == NLT_OK && shows(&c, t_min_ms, t_max_ms, gone, n_gone);
    }
    return nlt_block_done(b, rc, err);
}

nlt_rc_t
nlt_block_has_histograms(const nlt_block_t *b, nlt_block_series_t id,
                         int64_t t_min_ms, int64_t t_max_ms,
                         const nlt_interval_t *gone, size_t n_gone, bool *out,
                         nlt_err_t *err)
{
    const nlt_interval_t *own;
    size_t n_own;
    nlt_index_series_t s;
    nlt_rc_t rc = nlt_index_series_open(b->index, id, &s, err);

    *out = false;
    own = nlt_tombstones_of(&b->tombstones, id, &n_own);
    if (rc == NLT_OK) {
        rc = nlt_index_series_chunks(&s, err);
    }
    while (rc == NLT_OK && s.n_chunks > 0 && !*out) {
        nlt_index_chunk_t c;
        nlt_chunk_view_t view;

        rc = nlt_index_series_chunk(&s, &c, err);
        if (rc == NLT_OK && c.t_min_ms > t_max_ms) {
            break;
        }
        if (rc == NLT_OK && shows(&c, t_min_ms, t_max_ms, own, n_own)
            && shows(&c, t_min_ms, t_max_ms, gone, n_gone)) {
            rc = get_chunk(b, &c, false, &view, err);
            *out = rc == NLT_OK && !nlt_chunk_is_float(view.encoding);
        }
    }
    return nlt_block_done(b, rc, err);
}

nlt_rc_t
nlt_block_has_floats(const nlt_block_t *b, nlt_block_series_t id,
                     int64_t t_min_ms, int64_t t_max_ms, bool alone, bool *out,
                     nlt_err_t *err)
{
    nlt_index_series_t s;
    size_t n_gone;
    nlt_rc_t rc = nlt_index_series_open(b->index, id, &s, err);

    *out = false;
    (void) nlt_tombstones_of(&b->tombstones, id, &n_gone);
    if (rc == NLT_OK) {
        rc = nlt_index_series_chunks(&s, err);
    }
    while (rc == NLT_OK && n_gone == 0 && s.n_chunks > 0 && !*out) {
        nlt_index_chunk_t c;
        nlt_chunk_view_t view;

        rc = nlt_index_series_chunk(&s, &c, err);
        if (rc == NLT_OK && c.t_min_ms > t_max_ms) {
            break;
        }
        if (rc == NLT_OK
            && ((c.t_min_ms >= t_min_ms && c.t_min_ms <= t_max_ms)
                || (c.t_max_ms >= t_min_ms && c.t_max_ms <= t_max_ms))) {
            rc = alone ? NLT_OK : get_chunk(b, &c, false, &view, err);
            *out =
                rc == NLT_OK && (alone || nlt_chunk_is_float(view.encoding));
        }
    }
    return nlt_block_done(b, rc, err);
}

nlt_rc_t
nlt_block_chunks(const nlt_block_t *b, nlt_block_series_t id, nlt_pool_t *pool,
                 nlt_block_raw_chunk_t **out, size_t *n, nlt_err_t *err)
{
    nlt_index_series_t s;
    nlt_block_raw_chunk_t *v = NULL;
    size_t k = 0;
    nlt_rc_t rc = nlt_index_series_open(b->index, id, &s, err);

    *out = NULL;
    *n = 0;
    if (rc == NLT_OK) {
        rc = nlt_index_series_chunks(&s, err);
    }
    if (rc == NLT_OK) {
        v = nlt_pool_array(pool, (size_t) s.n_chunks, sizeof(*v));
        if (v == NULL) {
            rc = nlt_err_set(err, NLT_ENOMEM, "out of memory for chunks");
        }
    }
    while (rc == NLT_OK && s.n_chunks > 0) {
        nlt_index_chunk_t c;
        nlt_chunk_view_t view;

        rc = nlt_index_series_chunk(&s, &c, err);
        if (rc == NLT_OK) {
            rc = nlt_block_get_chunk(b, &c, &view, err);
        }
        if (rc == NLT_OK) {
            v[k++] = (nlt_block_raw_chunk_t){c.t_min_ms, c.t_max_ms,
                                             view.encoding, view.data};
        }
    }
    if (rc != NLT_OK) {
        return nlt_block_done(b, rc, err);
    }
    *out = v;
    *n = k;
    return nlt_block_done(b, NLT_OK, err);
}

nlt_rc_t
nlt_block_label_names(const nlt_block_t *b, nlt_pool_t *pool, nlt_str_t **out,
                      size_t *n, nlt_err_t *err)
{
    size_t k = nlt_index_file_n_names(b->index);
    nlt_str_t *v = nlt_pool_array(pool, k, sizeof(*v));

    *out = v;
    *n = 0;
    if (v == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for label names");
    }
    for (size_t i = 0; i < k; i++) {
        v[i] = nlt_index_file_name(b->index, i);
    }
    *n = k;
    return nlt_block_done(b, NLT_OK, err);
}

nlt_rc_t
nlt_block_label_values(const nlt_block_t *b, nlt_str_t name, nlt_pool_t *pool,
                       nlt_str_t **out, size_t *n, nlt_err_t *err)
{
    nlt_index_values_t it = nlt_index_file_values(b->index, name);
    nlt_str_t *v = nlt_pool_array(pool, it.left, sizeof(*v));
    size_t k = 0;

    *out = v;
    *n = 0;
    if (v == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for label values");
    }
    while (name.len > 0 && nlt_index_values_next(&it)) {
        v[k++] = it.value;
    }
    *n = k;
    return nlt_block_done(b, NLT_OK, err);
}

/*
 * fuzz_dense_block.c - dense chunks of a block whose bytes were changed, with
 * checksums made right, through the readers of blocks.
 *
 *   byte 0       model of the values (nlt_dense_models.h)
 *   byte 1, 2    how many, little-endian, modulo 1600
 *   byte 3       seed; its low bits choose how the times lie
 *   byte 4       how many changes, modulo 8; 6 bytes for each:
 *                what (0 set, 1 flip, 2 insert, 3 remove, 4 repeat; + 8 the
 *                times, not the values), place (2, modulo the length; + 128
 *                of `what` counts from the beginning, modulo 40), value,
 *                number, unused
 *   rest         ranges, 4 bytes each: where they begin and end, in 65536ths
 *                of the chunk's range
 *
 * Whatever comes: no access outside, samples ascend and lie in the range; a
 * chunk that can be read whole reads the same in parts, with kept times and
 * without, and by the slow reader; one that was not changed reads as it was
 * written.
 */
#include "nlt_block_priv.h"
#include "nlt_bytes.h"
#include "nlt_dense.h"
#include "nlt_dense_models.h"
#include "nlt_dense_slow.h"
#include "nlt_hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_MAX     1600
#define SLOW_MAX  700 /* values that the slow reader is asked for */
#define BYTES_MAX (32 * N_MAX + 8192)

static nlt_dense_work_t work;
static double v[N_MAX];
static int64_t t[N_MAX];
static uint8_t part[2][BYTES_MAX]; /* times, values; as in the segment */
static size_t part_len[2];

static void
demand(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void
make_times(unsigned shape, size_t n)
{
    int64_t at = INT64_C(1700000000000);

    for (size_t i = 0; i < n; i++) {
        at += shape == 0   ? 15000
              : shape == 1 ? 15000 + (int64_t) model_rand(11) - 5
              : shape == 2 ? 1 + (int64_t) model_rand(1u << 20)
                           : 60000 * (1 + (int64_t) (model_rand(100) == 0));
        t[i] = at;
    }
}

/* What follows length and encoding of both chunks. */
static void
make_parts(size_t n)
{
    uint8_t *p = part[0];

    nlt_put_be16(p, (uint16_t) n);
    part_len[0] = 2 + nlt_dense_encode_times(&work, t, n, p + 2);
    p = part[1];
    nlt_put_be16(p, (uint16_t) n);
    p[2] = NLT_CHUNK_FILE_HEADER_BYTES; /* the times come first */
    part_len[1] = 3 + nlt_dense_encode_values(&work, v, n, p + 3);
}

static void
change(const uint8_t *how)
{
    unsigned which = how[0] & 8 ? 0 : 1;
    uint8_t *p = part[which];
    size_t *len = &part_len[which], at = (size_t) (how[1] | how[2] << 8);

    if (*len < 4 || *len + 300 > BYTES_MAX) {
        return;
    }
    at %= how[0] & 128 && *len > 40 ? 40 : *len;
    switch (how[0] & 7) {
    case 0:
        p[at] = how[3];
        break;
    case 1:
        p[at] ^= (uint8_t) (1u << (how[3] & 7));
        break;
    case 2:
        memmove(p + at + 1, p + at, *len - at);
        p[at] = how[3];
        (*len)++;
        break;
    case 3:
        memmove(p + at, p + at + 1, *len - at - 1);
        (*len)--;
        break;
    case 4:
        memmove(p + at + how[4], p + at, *len - at);
        memset(p + at, how[3], how[4]);
        *len += how[4];
        break;
    default:
        break;
    }
}

static void
put_chunk(nlt_buf_t *out, uint8_t encoding, const uint8_t *p, size_t len)
{
    nlt_buf_add_uvarint(out, len);
    nlt_buf_add(out, &encoding, 1);
    nlt_buf_add(out, p, len);
    nlt_buf_add_be32(out, nlt_crc32c(nlt_crc32c(0, &encoding, 1), p, len));
}

/* Is s what `all` has in the range? */
static bool
is_part_of(const nlt_samples_t *all, const nlt_samples_t *s, int64_t lo,
           int64_t hi)
{
    size_t from = 0, to = all->n;

    while (from < to && all->t_ms[from] < lo) {
        from++;
    }
    while (to > from && all->t_ms[to - 1] > hi) {
        to--;
    }
    return s->n == to - from
           && (s->n == 0
               || (memcmp(s->t_ms, all->t_ms + from, s->n * sizeof(*s->t_ms))
                       == 0
                   && memcmp(s->v, all->v + from, s->n * sizeof(*s->v)) == 0));
}

typedef struct {
    nlt_block_t block; /* with one segment and nothing else */
    nlt_guard_t *segment;
    nlt_guard_t guard;
    nlt_index_chunk_t chunk;
    nlt_pool_t pool;
    nlt_samples_t all;
    nlt_rc_t rc; /* of reading all */
} fake_t;

static void
read_range(fake_t *f, const nlt_chunk_view_t *view, int64_t lo, int64_t hi,
           nlt_times_t *shared)
{
    nlt_samples_t s = {.pool = &f->pool}, one = {.pool = &f->pool};
    nlt_err_t err;
    nlt_rc_t rc;

    if (f->chunk.t_min_ms > hi || f->chunk.t_max_ms < lo) {
        return;
    }
    rc = nlt_block_dense_read(&f->block, &f->chunk, view, NLT_READ_ALL, lo, hi,
                              shared, &s, &err);
    demand(rc == NLT_OK || rc == NLT_EDATA);
    demand(rc == NLT_OK || s.n == 0);
    for (size_t i = 0; i < s.n; i++) {
        demand(s.t_ms[i] >= f->chunk.t_min_ms
               && s.t_ms[i] <= f->chunk.t_max_ms);
        demand(i == 0 || s.t_ms[i] > s.t_ms[i - 1]);
    }
    if (f->rc == NLT_OK) {
        demand(rc == NLT_OK && is_part_of(&f->all, &s, lo, hi));
        rc = nlt_block_dense_read(&f->block, &f->chunk, view, NLT_READ_NEWEST,
                                  lo, hi, shared, &one, &err);
        demand(rc == NLT_OK && one.n == (s.n > 0));
        demand(one.n == 0
               || (one.t_ms[0] == s.t_ms[s.n - 1]
                   && memcmp(one.v, s.v + s.n - 1, sizeof(*s.v)) == 0));
    }
}

/* What could be read whole, read by the other reader. */
static void
read_slowly(const fake_t *f, const nlt_chunk_view_t *view)
{
    static double other[SLOW_MAX];
    static int64_t other_t[SLOW_MAX];
    nlt_reader_t r = nlt_reader(view->data.data, view->data.len);
    size_t n = nlt_read_be16(&r);

    (void) nlt_read_uvarint(&r);
    if (f->rc != NLT_OK || n > SLOW_MAX) {
        return;
    }
    demand(n == f->all.n);
    demand(slow_values(r.p, nlt_reader_left(&r), n, other)
           && memcmp(other, f->all.v, n * sizeof(*other)) == 0);
    demand(slow_times((const uint8_t *) view->times.data, view->times.len, n,
                      other_t)
           && memcmp(other_t, f->all.t_ms, n * sizeof(*other_t)) == 0);
}

static void
read_all(fake_t *f, const uint8_t *data, size_t size)
{
    nlt_chunk_view_t view;
    nlt_times_t shared;
    nlt_err_t err;
    nlt_rc_t rc;
    int64_t span = f->chunk.t_max_ms - f->chunk.t_min_ms;

    rc = nlt_block_get_chunk(&f->block, &f->chunk, &view, &err);
    demand(rc == NLT_OK || rc == NLT_EDATA);
    if (rc != NLT_OK) {
        f->rc = rc;
        rc = nlt_chunk_file_get(f->guard.p, f->guard.len, f->chunk.ref, &view,
                                NULL, &err);
        demand(rc == NLT_OK);
    } else {
        f->rc = nlt_block_decode_chunk(&f->chunk, &view, &f->all, &err);
        read_slowly(f, &view);
    }
    nlt_times_init(&shared, &nlt_mem_libc);
    for (; size >= 4; data += 4, size -= 4) {
        int64_t lo = f->chunk.t_min_ms + span * nlt_be16(data) / 65536;
        int64_t hi = f->chunk.t_min_ms + span * nlt_be16(data + 2) / 65536;

        hi = hi < lo ? lo : hi;
        read_range(f, &view, lo, hi, NULL);
        read_range(f, &view, lo, hi, &shared);
    }
    read_range(f, &view, INT64_MIN, INT64_MAX, &shared);
    nlt_times_deinit(&shared);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fake_t f = {.rc = NLT_OK};
    size_t n, n_changes;
    nlt_buf_t out;
    uint8_t *exact;

    if (size < 5) {
        return 0;
    }
    n = (size_t) (data[1] | data[2] << 8) % N_MAX + 1;
    n_changes = data[4] % 8;
    model_state = data[3];
    model_values((model_t) (data[0] % M_END), v, n);
    make_times(data[3] % 4, n);
    make_parts(n);
    data += 5;
    size -= 5;
    for (size_t i = 0; i < n_changes && size >= 6; i++, size -= 6, data += 6) {
        change(data);
    }
    nlt_buf_init(&out, &nlt_mem_libc, 4 * BYTES_MAX);
    nlt_buf_add_be32(&out, NLT_CHUNK_FILE_MAGIC);
    nlt_buf_add_be32(&out, (uint32_t) NLT_CHUNK_FILE_VERSION << 24);
    put_chunk(&out, NLT_CHUNK_TIMES, part[0], part_len[0]);
    f.chunk = (nlt_index_chunk_t){
        .t_min_ms = t[0], .t_max_ms = t[n - 1], .ref = out.len};
    put_chunk(&out, NLT_CHUNK_DENSE, part[1], part_len[1]);
    exact = malloc(out.len); /* so that a sanitizer sees a read behind it */
    demand(exact != NULL && out.rc == NLT_OK);
    memcpy(exact, out.data, out.len);
    f.guard.p = exact;
    f.guard.len = out.len;
    f.segment = &f.guard;
    f.block.segments = &f.segment;
    f.block.n_segments = 1;
    f.block.meta.dense = true;
    nlt_pool_init(&f.pool, &nlt_mem_libc, 64 << 20);
    f.all.pool = &f.pool;
    read_all(&f, data, size);
    if (n_changes == 0) {
        demand(f.rc == NLT_OK && f.all.n == n
               && memcmp(f.all.t_ms, t, n * sizeof(*t)) == 0
               && memcmp(f.all.v, v, n * sizeof(*v)) == 0);
    }
    nlt_pool_deinit(&f.pool);
    nlt_buf_deinit(&out);
    free(exact);
    return 0;
}

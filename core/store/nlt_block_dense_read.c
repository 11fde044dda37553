/*
 * nlt_block_dense_read.c - dense chunks in a block, read.
 *
 * Which samples of a chunk lie in a range is a question to its times.  A
 * column is looked at in parts, the segments it is made of: the first guess
 * is where the range would be if samples were evenly spaced, which they are,
 * nearly; then part by part from there.  What was decoded of a column is
 * kept for the series that come next (nlt_times.h).
 */
#include "nlt_block_priv.h"
#include "nlt_bytes.h"
#include "nlt_dense.h"

/* Values, and the place of their times. */
typedef struct {
    const nlt_block_t *b;
    const nlt_index_chunk_t *c;
    uint32_t n;
    uint64_t ref; /* of the times */
    nlt_str_t values;
} chunk_t;

static nlt_rc_t
open_chunk(const nlt_block_t *b, const nlt_index_chunk_t *c,
           const nlt_chunk_view_t *view, chunk_t *out, nlt_err_t *err)
{
    nlt_reader_t r = nlt_reader(view->data.data, view->data.len);

    *out = (chunk_t){.b = b, .c = c};
    out->n = nlt_read_be16(&r);
    out->ref = nlt_read_uvarint(&r);
    if (r.failed || out->n == 0 || out->n > NLT_DENSE_SAMPLES_MAX
        || out->ref >= c->ref || out->ref >> 32 >= b->n_segments) {
        return nlt_err_set(err, NLT_EDATA,
                           "dense chunk at offset %llu is none",
                           (unsigned long long) (c->ref & UINT32_MAX));
    }
    out->values = (nlt_str_t){nlt_reader_left(&r), (const char *) r.p};
    return NLT_OK;
}

/* The column that the chunk names, checksum verified. */
static nlt_rc_t
get_times(const chunk_t *k, nlt_str_t *out, nlt_err_t *err)
{
    const nlt_guard_t *g = k->b->segments[k->ref >> 32];
    nlt_chunk_view_t times = {.encoding = 0};
    nlt_rc_t rc = nlt_chunk_file_get(g->p, g->len, k->ref & UINT32_MAX, &times,
                                     NULL, err);

    if (rc == NLT_OK
        && (times.encoding != NLT_CHUNK_TIMES || times.data.len < 3
            || nlt_be16(times.data.data) != k->n)) {
        rc = nlt_err_set(err, NLT_EDATA,
                         "dense chunk at offset %llu has no times",
                         (unsigned long long) (k->c->ref & UINT32_MAX));
    }
    if (rc == NLT_OK) {
        *out = (nlt_str_t){times.data.len - 2, times.data.data + 2};
    }
    return rc;
}

nlt_rc_t
nlt_block_dense_times(const nlt_block_t *b, const nlt_index_chunk_t *c,
                      nlt_chunk_view_t *view, nlt_err_t *err)
{
    chunk_t k;
    nlt_rc_t rc = open_chunk(b, c, view, &k, err);

    return rc == NLT_OK ? get_times(&k, &view->times, err) : rc;
}

/* Do they ascend? */
static bool
ascend(const int64_t *t_ms, size_t n)
{
    bool ok = true;

    for (size_t i = 1; i < n; i++) {
        ok &= t_ms[i] > t_ms[i - 1];
    }
    return ok;
}

const char *
nlt_block_dense_split(const nlt_index_chunk_t *c, const nlt_chunk_view_t *view,
                      uint32_t n, int64_t *t_ms, nlt_str_t *values)
{
    nlt_reader_t r = nlt_reader(view->data.data, view->data.len);

    (void) nlt_read_be16(&r);
    (void) nlt_read_uvarint(&r);
    *values = (nlt_str_t){nlt_reader_left(&r), (const char *) r.p};
    if (view->times.data == NULL || values->len == 0
        || nlt_dense_decode_times((const uint8_t *) view->times.data,
                                  view->times.len, n, 0, n, t_ms)
               != NLT_OK) {
        return "cannot be decoded";
    }
    return !ascend(t_ms, n) || t_ms[0] < c->t_min_ms
                   || t_ms[n - 1] > c->t_max_ms
               ? "has samples where the index has none"
               : NULL;
}

const char *
nlt_block_dense_decode(const nlt_index_chunk_t *c,
                       const nlt_chunk_view_t *view, uint32_t n, int64_t *t_ms,
                       double *v)
{
    nlt_str_t values;
    const char *fault = nlt_block_dense_split(c, view, n, t_ms, &values);

    return fault ? fault
           : nlt_dense_decode_values((const uint8_t *) values.data, values.len,
                                     n, 0, n, v)
                   != NLT_OK
               ? "cannot be decoded"
               : NULL;
}

/* ---- ranges ---- */

/* The times of a chunk, part by part. */
typedef struct {
    const chunk_t *chunk;
    nlt_times_t *shared; /* NULL: nothing is kept */
    nlt_times_key_t key; /* no: of the part in hand */
    nlt_str_t column;    /* data NULL: not looked for yet */
    const int64_t *t_ms; /* the part in hand, `len` of them from `first` on */
    size_t first;
    size_t len;
    nlt_err_t *err;
    int64_t room[NLT_TIMES_PART];
} times_t;

#define NO_PART UINT32_MAX

static nlt_rc_t
fault(const times_t *x, const char *what)
{
    const nlt_index_chunk_t *c = x->chunk->c;

    return nlt_err_set_at(x->err, NLT_EDATA, (int64_t) (c->ref & UINT32_MAX),
                          "chunk file %06llu: chunk at offset %llu %s",
                          (unsigned long long) (c->ref >> 32) + 1,
                          (unsigned long long) (c->ref & UINT32_MAX), what);
}

/* Number of the part that index i is in. */
static uint32_t
part_of(size_t i)
{
    return i == 0 ? 0 : (uint32_t) ((i - 1) / NLT_DENSE_SEGMENT);
}

/* Takes part `no` in hand. */
static nlt_rc_t
take(times_t *x, uint32_t no)
{
    size_t end = 1 + (size_t) (no + 1) * NLT_DENSE_SEGMENT;
    nlt_rc_t rc;

    if (x->key.no == no) {
        return NLT_OK;
    }
    x->key.no = no;
    x->first = no == 0 ? 0 : 1 + (size_t) no * NLT_DENSE_SEGMENT;
    x->len = (end < x->chunk->n ? end : x->chunk->n) - x->first;
    x->t_ms = x->shared != NULL ? nlt_times_find(x->shared, &x->key) : NULL;
    if (x->t_ms != NULL) {
        return NLT_OK;
    }
    if (x->column.data == NULL) {
        rc = get_times(x->chunk, &x->column, x->err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    rc = nlt_dense_decode_times((const uint8_t *) x->column.data,
                                x->column.len, x->chunk->n, x->first,
                                x->first + x->len, x->room);
    if (rc != NLT_OK) {
        return fault(x, "cannot be decoded");
    }
    if (!ascend(x->room, x->len)) {
        return fault(x, "has samples where the index has none");
    }
    x->t_ms = x->room;
    if (x->shared != NULL) {
        nlt_times_keep(x->shared, &x->key, x->room, x->len);
    }
    return NLT_OK;
}

/* Index of the first time >= t, in a part that has it. */
static size_t
first_in_part(const times_t *x, int64_t t)
{
    size_t lo = 0, n = x->len;

    while (n > lo) {
        size_t mid = lo + (n - lo) / 2;

        if (x->t_ms[mid] < t) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    return x->first + lo;
}

/* Where t would be if the samples lay evenly. */
static size_t
guess(const chunk_t *k, int64_t t)
{
    double span = (double) k->c->t_max_ms - (double) k->c->t_min_ms;
    double at = (double) t - (double) k->c->t_min_ms;

    return span <= 0 ? 0 : (size_t) (at / span * (double) (k->n - 1));
}

/* Index of the first time >= t, which is in (t_min, t_max] of the chunk. */
static nlt_rc_t
find(times_t *x, int64_t t, size_t *out)
{
    uint32_t lo = 0, hi = part_of(x->chunk->n - 1);
    uint32_t at = part_of(guess(x->chunk, t));

    for (at = at < hi ? at : hi;;) {
        nlt_rc_t rc = take(x, at);

        if (rc != NLT_OK) {
            return rc;
        }
        if (x->t_ms[x->len - 1] < t && at < hi) {
            lo = ++at;
        } else if (x->t_ms[0] >= t && at > lo) {
            hi = --at;
        } else {
            *out = first_in_part(x, t);
            return NLT_OK;
        }
    }
}

/* Times [from, to) to `out`. */
static nlt_rc_t
copy_times(times_t *x, size_t from, size_t to, int64_t *out)
{
    const nlt_index_chunk_t *c = x->chunk->c;

    for (size_t i = from; i < to;) {
        nlt_rc_t rc = take(x, part_of(i));
        size_t end;

        if (rc != NLT_OK) {
            return rc;
        }
        end = x->first + x->len < to ? x->first + x->len : to;
        memcpy(out + (i - from), x->t_ms + (i - x->first),
               (end - i) * sizeof(*out));
        if (i > from && out[i - from] <= out[i - from - 1]) {
            return fault(x, "has samples where the index has none");
        }
        i = end;
    }
    if (out[0] < c->t_min_ms || out[to - from - 1] > c->t_max_ms) {
        return fault(x, "has samples where the index has none");
    }
    return NLT_OK;
}

nlt_rc_t
nlt_block_dense_read(const nlt_block_t *b, const nlt_index_chunk_t *c,
                     const nlt_chunk_view_t *view, nlt_read_t what,
                     int64_t t_min_ms, int64_t t_max_ms, nlt_times_t *shared,
                     nlt_samples_t *out, nlt_err_t *err)
{
    size_t from = 0, to;
    chunk_t k;
    times_t x;
    nlt_rc_t rc = open_chunk(b, c, view, &k, err);

    if (rc != NLT_OK) {
        return rc;
    }
    to = k.n;
    x.chunk = &k;
    x.shared = shared;
    x.key = (nlt_times_key_t){(const char *) b->segments[k.ref >> 32]->p
                                  + (k.ref & UINT32_MAX),
                              k.n, NO_PART};
    x.column.data = NULL;
    x.err = err;
    if (c->t_max_ms > t_max_ms) {
        rc = find(&x, t_max_ms + 1, &to);
    }
    if (rc == NLT_OK && what == NLT_READ_NEWEST) {
        from = to > 0 ? to - 1 : 0;
    } else if (rc == NLT_OK && c->t_min_ms < t_min_ms) {
        rc = find(&x, t_min_ms, &from);
    }
    if (rc != NLT_OK || from >= to) {
        return rc;
    }
    if (!nlt_samples_reserve(out, out->n + (to - from))) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for %zu samples",
                           to - from);
    }
    rc = copy_times(&x, from, to, out->t_ms + out->n);
    if (rc == NLT_OK
        && nlt_dense_decode_values((const uint8_t *) k.values.data,
                                   k.values.len, k.n, from, to,
                                   out->v + out->n)
               != NLT_OK) {
        rc = fault(&x, "cannot be decoded");
    }
    if (rc == NLT_OK
        && (what != NLT_READ_NEWEST || out->t_ms[out->n] >= t_min_ms)) {
        out->n += to - from;
    }
    return rc;
}

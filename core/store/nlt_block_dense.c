/*
 * nlt_block_dense.c - dense chunks in a block, written and read.
 */
#include "nlt_block_dense.h"

#include "nlt_block_priv.h"
#include "nlt_bytes.h"
#include "nlt_dense.h"
#include "nlt_hash.h"

#define SLOTS     1024
#define BYTES_MAX (1u << 20)

/* Times that were written; direct-mapped by hash. */
typedef struct {
    uint64_t hash;
    uint64_t ref;
    uint8_t *p; /* as encoded; NULL: the slot is free */
    uint32_t len;
    uint32_t n;
} slot_t;

struct nlt_block_dense_s {
    const nlt_mem_t *mem;
    nlt_buf_t out;
    slot_t slots[SLOTS];
    int64_t t_ms[NLT_DENSE_SAMPLES_MAX];  /* to be written */
    int64_t again[NLT_DENSE_SAMPLES_MAX]; /* of a slot */
    nlt_dense_work_t work;
};

void
nlt_block_dense_destroy(nlt_block_dense_t *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        nlt_mem_free(d->mem, d->slots[i].p, d->slots[i].len);
    }
    nlt_buf_deinit(&d->out);
    nlt_mem_free(d->mem, d, sizeof(*d));
}

static nlt_rc_t
no_memory(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOMEM, "out of memory writing a block");
}

/* Are these the times of the slot? */
static bool
same(nlt_block_dense_t *d, const slot_t *s, uint64_t hash, uint32_t n)
{
    return s->p != NULL && s->hash == hash && s->n == n
           && nlt_dense_decode_times(s->p, s->len, n, 0, n, d->again) == NLT_OK
           && memcmp(d->again, d->t_ms, n * sizeof(*d->t_ms)) == 0;
}

/* Where d->t_ms is in the block; writes it if it is nowhere. */
static nlt_rc_t
place_times(nlt_block_dense_t *d, nlt_chunk_writer_t *w, uint32_t n,
            uint64_t *ref, nlt_err_t *err)
{
    uint64_t hash = nlt_hash64(d->t_ms, n * sizeof(*d->t_ms), 0);
    slot_t *s = &d->slots[hash % SLOTS];
    uint8_t *p;
    size_t len;
    nlt_rc_t rc;

    if (same(d, s, hash, n)) {
        *ref = s->ref;
        return NLT_OK;
    }
    nlt_buf_reset(&d->out);
    nlt_buf_add_be16(&d->out, (uint16_t) n);
    p = (uint8_t *) nlt_buf_reserve(&d->out, nlt_dense_bytes_max(n));
    if (p == NULL) {
        return no_memory(err);
    }
    len = nlt_dense_encode_times(&d->work, d->t_ms, n, p);
    nlt_buf_advance(&d->out, len);
    rc = nlt_chunk_writer_add(w, NLT_CHUNK_TIMES, nlt_buf_str(&d->out), ref,
                              err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_mem_free(d->mem, s->p, s->len);
    *s = (slot_t){hash, *ref, nlt_mem_zalloc(d->mem, len), (uint32_t) len, n};
    if (s->p == NULL) {
        s->len = 0;
        return no_memory(err);
    }
    memcpy(s->p, d->out.data + 2, len);
    return NLT_OK;
}

nlt_rc_t
nlt_block_dense_add(nlt_block_dense_t **dense, const nlt_mem_t *mem,
                    nlt_chunk_writer_t *w, const nlt_block_chunk_t *c,
                    uint64_t *ref, nlt_err_t *err)
{
    nlt_block_dense_t *d = *dense;
    size_t n_times = c->n_samples * sizeof(*d->t_ms);
    uint64_t times;
    nlt_rc_t rc;

    if (c->n_samples == 0 || c->n_samples > NLT_DENSE_SAMPLES_MAX
        || c->data.len <= n_times) {
        return nlt_err_set(err, NLT_EINVAL,
                           "dense chunk of %u samples and %zu bytes is none",
                           c->n_samples, c->data.len);
    }
    if (d == NULL) {
        *dense = d = nlt_mem_zalloc(mem, sizeof(*d));
        if (d == NULL) {
            return no_memory(err);
        }
        d->mem = mem;
        nlt_buf_init(&d->out, mem, BYTES_MAX);
    }
    memcpy(d->t_ms, c->data.data + (c->data.len - n_times), n_times);
    rc = place_times(d, w, c->n_samples, &times, err);
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_buf_reset(&d->out);
    nlt_buf_add_be16(&d->out, (uint16_t) c->n_samples);
    nlt_buf_add_uvarint(&d->out, times);
    nlt_buf_add(&d->out, c->data.data, c->data.len - n_times);
    if (d->out.rc != NLT_OK) {
        return no_memory(err);
    }
    return nlt_chunk_writer_add(w, NLT_CHUNK_DENSE, nlt_buf_str(&d->out), ref,
                                err);
}

/* ---- reading ---- */

/* What follows the count and the reference in a dense chunk. */
static nlt_reader_t
open_chunk(const nlt_chunk_view_t *view, uint32_t *n, uint64_t *times)
{
    nlt_reader_t r = nlt_reader(view->data.data, view->data.len);

    *n = nlt_read_be16(&r);
    *times = nlt_read_uvarint(&r);
    return r;
}

nlt_rc_t
nlt_block_dense_times(const nlt_block_t *b, const nlt_index_chunk_t *c,
                      nlt_chunk_view_t *view, nlt_err_t *err)
{
    nlt_chunk_view_t times = {.encoding = 0};
    uint64_t ref, seg;
    uint32_t n;
    nlt_reader_t r = open_chunk(view, &n, &ref);
    nlt_rc_t rc;

    seg = ref >> 32;
    if (r.failed || n == 0 || n > NLT_DENSE_SAMPLES_MAX || ref >= c->ref
        || seg >= b->n_segments) {
        return nlt_err_set(err, NLT_EDATA,
                           "dense chunk at offset %llu is none",
                           (unsigned long long) (c->ref & UINT32_MAX));
    }
    rc = nlt_chunk_file_get(b->segments[seg]->p, b->segments[seg]->len,
                            ref & UINT32_MAX, &times, NULL, err);
    if (rc == NLT_OK
        && (times.encoding != NLT_CHUNK_TIMES || times.data.len < 3
            || nlt_be16(times.data.data) != n)) {
        rc = nlt_err_set(err, NLT_EDATA,
                         "dense chunk at offset %llu has no times",
                         (unsigned long long) (c->ref & UINT32_MAX));
    }
    if (rc == NLT_OK) {
        view->times = (nlt_str_t){times.data.len - 2, times.data.data + 2};
    }
    return rc;
}

const char *
nlt_block_dense_decode(const nlt_index_chunk_t *c,
                       const nlt_chunk_view_t *view, uint32_t n, int64_t *t_ms,
                       double *v)
{
    uint64_t ref;
    uint32_t count;
    nlt_reader_t r = open_chunk(view, &count, &ref);

    if (view->times.data == NULL
        || nlt_dense_decode_times((const uint8_t *) view->times.data,
                                  view->times.len, n, 0, n, t_ms)
               != NLT_OK
        || nlt_dense_decode_values(r.p, nlt_reader_left(&r), n, 0, n, v)
               != NLT_OK) {
        return "cannot be decoded";
    }
    for (uint32_t i = 1; i < n; i++) {
        if (t_ms[i] <= t_ms[i - 1]) {
            return "has samples where the index has none";
        }
    }
    return t_ms[0] < c->t_min_ms || t_ms[n - 1] > c->t_max_ms
               ? "has samples where the index has none"
               : NULL;
}

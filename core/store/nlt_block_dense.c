/*
 * nlt_block_dense.c - dense chunks in a block, written.
 */
#include "nlt_block_dense.h"

#include "nlt_block_priv.h"
#include "nlt_bytes.h"
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

nlt_block_chunk_t
nlt_block_dense_encode(nlt_dense_work_t *work, const int64_t *t_ms,
                       const double *v, size_t n, uint8_t *out)
{
    size_t len = nlt_dense_encode_values(work, v, n, out);

    memcpy(out + len, t_ms, n * sizeof(*t_ms));
    return (nlt_block_chunk_t){
        .t_min_ms = t_ms[0],
        .t_max_ms = t_ms[n - 1],
        .encoding = NLT_CHUNK_DENSE,
        .n_samples = (uint32_t) n,
        .data = {len + n * sizeof(*t_ms), (const char *) out},
    };
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

/*
 * nlt_compact_chunks.c - the chunks of one series, copied, joined or merged.
 *
 * Chunks come by time.  One that overlaps no other and is not cut is held
 * back as it is, with the neighbours that would still fit in one chunk with
 * it; a single one that is held is copied, several become one: as bits
 * (nlt_xor_join) where their windows were chosen well, else by encoding them
 * anew.  Chunks that overlap, or are cut, are decoded into one ascending
 * list: each comes with a first time that is not before any sample that was
 * encoded already, so that only the end of the list has to be merged with it,
 * and the beginning of a long list can be encoded meanwhile.
 */
#include "nlt_block_dense.h"
#include "nlt_bytes.h"
#include "nlt_compact_priv.h"
#include "nlt_flush.h"
#include "nlt_xor.h"

#define LOOKAHEAD  16
#define HOLD_BYTES (1u << 30)
#define NEW_BYTES  (1u << 30)

/*
 * Chunks of this many samples are joined as bits: 9 ns a sample instead of 45,
 * and 0.2 % larger than if they were encoded as a whole, 0.5 % at this size.
 */
#define JOIN_MIN 30

/* Chunks that are encoded while the list still grows, at a time. */
#define STREAM_CHUNKS 8

void
nlt_compact_chunks_init(nlt_compact_chunks_t *j, const nlt_mem_t *mem,
                        nlt_err_t *err)
{
    *j = (nlt_compact_chunks_t){.err = err, .mem = mem};
    nlt_pool_init(&j->hold, mem, HOLD_BYTES);
    nlt_buf_init(&j->bytes, mem, NEW_BYTES);
    j->in.pool = j->acc.pool = &j->hold;
}

void
nlt_compact_chunks_deinit(nlt_compact_chunks_t *j)
{
    nlt_buf_deinit(&j->bytes);
    nlt_pool_deinit(&j->hold);
    nlt_mem_free(j->mem, j->work, sizeof(*j->work));
}

static nlt_rc_t
no_memory(nlt_compact_chunks_t *j)
{
    return nlt_err_set(j->err, NLT_ENOMEM,
                       "compaction: no memory for samples");
}

nlt_rc_t
nlt_compact_chunks_dense(nlt_compact_chunks_t *j)
{
    j->work = nlt_mem_zalloc(j->mem, sizeof(*j->work));
    return j->work ? NLT_OK : no_memory(j);
}

static nlt_rc_t
add_out(nlt_compact_chunks_t *j, nlt_block_chunk_t c)
{
    if (j->n_out == j->out_cap) {
        size_t cap = j->out_cap ? 2 * j->out_cap : 64;
        nlt_block_chunk_t *v = nlt_pool_grow(
            &j->hold, j->out, j->out_cap * sizeof(*v), cap * sizeof(*v));

        if (v == NULL) {
            return no_memory(j);
        }
        j->out = v;
        j->out_cap = cap;
    }
    j->out[j->n_out++] = c;
    return NLT_OK;
}

static nlt_rc_t
copy(nlt_compact_chunks_t *j, const nlt_compact_chunk_t *c)
{
    return add_out(j, (nlt_block_chunk_t){.t_min_ms = c->c.t_min_ms,
                                          .t_max_ms = c->c.t_max_ms,
                                          .encoding = c->view.encoding,
                                          .n_samples = c->n_samples,
                                          .data = c->view.data});
}

/* The same as a dense chunk: its values, and its times behind them. */
static nlt_rc_t
encode_dense(nlt_compact_chunks_t *j, size_t from, size_t n)
{
    char *p = nlt_buf_reserve(&j->bytes, nlt_block_dense_bytes_max(n));
    nlt_block_chunk_t c;

    if (p == NULL) {
        return no_memory(j);
    }
    c = nlt_block_dense_encode(j->work, j->acc.t_ms + from, j->acc.v + from, n,
                               (uint8_t *) p);
    nlt_buf_advance(&j->bytes, c.data.len);
    c.data.data = NULL;
    return add_out(j, c);
}

/*
 * The samples [from, from + n) of acc become a chunk.  Its bytes are behind
 * those of the one before, in a buffer that moves when it grows: data is set
 * by place_new().
 */
static nlt_rc_t
encode(nlt_compact_chunks_t *j, size_t from, size_t n)
{
    char *p;
    size_t len;

    if (j->work != NULL) {
        return encode_dense(j, from, n);
    }
    p = nlt_buf_reserve(&j->bytes, nlt_xor_chunk_bytes_max(n));
    if (p == NULL) {
        return no_memory(j);
    }
    len = nlt_xor_encode_chunk(j->acc.t_ms + from, j->acc.v + from, n,
                               LOOKAHEAD, (uint8_t *) p);
    nlt_buf_advance(&j->bytes, len);
    return add_out(j, (nlt_block_chunk_t){
                          .t_min_ms = j->acc.t_ms[from],
                          .t_max_ms = j->acc.t_ms[from + n - 1],
                          .encoding = NLT_CHUNK_XOR,
                          .n_samples = (uint32_t) n,
                          .data = {len, NULL},
                      });
}

static void
place_new(nlt_compact_chunks_t *j)
{
    const char *p = j->bytes.data;

    for (size_t i = 0; i < j->n_out; i++) {
        if (j->out[i].data.data == NULL) {
            j->out[i].data.data = p;
            p += j->out[i].data.len;
        }
    }
}

/* Samples that fit into one chunk of the result. */
static size_t
chunk_max(const nlt_compact_chunks_t *j)
{
    return j->work ? NLT_DENSE_SAMPLES_MAX : NLT_COMPACT_CHUNK_MAX;
}

/* All of acc becomes chunks of equal size. */
static nlt_rc_t
flush_acc(nlt_compact_chunks_t *j)
{
    const size_t max = chunk_max(j);
    size_t n = j->acc.n <= max ? j->acc.n > 0
               : j->work       ? (j->acc.n + max - 1) / max
                               : nlt_flush_chunks(j->acc.n);
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0, from = 0; i < n && rc == NLT_OK; i++) {
        size_t to = j->acc.n * (i + 1) / n;

        rc = encode(j, from, to - from);
        from = to;
    }
    j->acc.n = 0;
    return rc;
}

/*
 * Encodes the beginning of a long acc: samples before t will not be joined by
 * others any more.  Two chunks' worth stay, to be split evenly at the end.
 */
static nlt_rc_t
stream_acc(nlt_compact_chunks_t *j, int64_t t)
{
    const size_t size =
        j->work ? NLT_DENSE_SAMPLES_MAX : NLT_FLUSH_CHUNK_SAMPLES;
    nlt_samples_t *a = &j->acc;
    size_t n = a->n, from = 0;
    nlt_rc_t rc = NLT_OK;

    if (n < STREAM_CHUNKS * size) {
        return NLT_OK;
    }
    while (n > 0 && a->t_ms[n - 1] >= t) {
        n--;
    }
    while (n - from >= 2 * size && rc == NLT_OK) {
        rc = encode(j, from, size);
        from += size;
    }
    a->n -= from;
    memmove(a->t_ms, a->t_ms + from, a->n * sizeof(*a->t_ms));
    memmove(a->v, a->v + from, a->n * sizeof(*a->v));
    memmove(j->who, j->who + from, a->n * sizeof(*j->who));
    return rc;
}

/* Room for n more samples in acc, and who wrote them. */
static bool
reserve(nlt_compact_chunks_t *j, size_t n)
{
    if (!nlt_samples_reserve(&j->acc, j->acc.n + n)) {
        return false;
    }
    if (j->who_cap < j->acc.cap) {
        uint32_t *v = nlt_pool_grow(&j->hold, j->who, j->who_cap * sizeof(*v),
                                    j->acc.cap * sizeof(*v));

        if (v == NULL) {
            return false;
        }
        j->who = v;
        j->who_cap = j->acc.cap;
    }
    return true;
}

/*
 * Merges j->in, of `source`, into acc, from the ends down, so that it is done
 * in place; where times are equal one of the two is left out, and the gap is
 * closed afterwards.
 */
static nlt_rc_t
merge_in(nlt_compact_chunks_t *j, uint32_t source)
{
    nlt_samples_t *acc = &j->acc;
    const nlt_samples_t *in = &j->in;
    size_t a = acc->n, b = in->n, end = a + b, w = end;

    if (!reserve(j, b)) {
        return no_memory(j);
    }
    while (b > 0) {
        int64_t t = in->t_ms[b - 1];
        bool later = a > 0 && acc->t_ms[a - 1] > t;
        bool equal = a > 0 && acc->t_ms[a - 1] == t;

        w--;
        if (later || (equal && j->who[a - 1] <= source)) {
            acc->t_ms[w] = acc->t_ms[a - 1];
            acc->v[w] = acc->v[a - 1];
            j->who[w] = j->who[a - 1];
        } else {
            acc->t_ms[w] = t;
            acc->v[w] = in->v[b - 1];
            j->who[w] = source;
        }
        a -= later || equal;
        b -= !later;
    }
    acc->n = a + (end - w);
    if (w > a) {
        memmove(acc->t_ms + a, acc->t_ms + w, (end - w) * sizeof(*acc->t_ms));
        memmove(acc->v + a, acc->v + w, (end - w) * sizeof(*acc->v));
        memmove(j->who + a, j->who + w, (end - w) * sizeof(*j->who));
    }
    return NLT_OK;
}

/* The samples of a chunk into j->in. */
static nlt_rc_t
decode(nlt_compact_chunks_t *j, const nlt_compact_chunk_t *c,
       nlt_xor_state_t *end, uint64_t *n_bits)
{
    nlt_rc_t rc;

    j->in.n = 0;
    rc = nlt_block_decode_state(&c->c, &c->view, &j->in, end, n_bits, j->err);
    if (rc != NLT_OK) {
        j->damaged = c->source;
    }
    return rc;
}

/* Decodes a chunk, cuts it, and merges what is left into acc. */
static nlt_rc_t
take(nlt_compact_chunks_t *j, const nlt_compact_chunk_t *c)
{
    nlt_rc_t rc;

    rc = decode(j, c, NULL, NULL);
    if (rc != NLT_OK) {
        return rc;
    }
    if (c->n_cuts > 0) {
        nlt_intervals_cut(c->cuts, c->n_cuts, &j->in, 0);
    }
    return merge_in(j, c->source);
}

static nlt_rc_t
take_held(nlt_compact_chunks_t *j)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; i < j->n_held && rc == NLT_OK; i++) {
        rc = take(j, &j->held[i]);
    }
    j->n_held = j->held_samples = 0;
    return rc;
}

/* What is held becomes one chunk without being encoded anew. */
static nlt_rc_t
join_held(nlt_compact_chunks_t *j)
{
    char *p =
        nlt_buf_reserve(&j->bytes, nlt_xor_chunk_bytes_max(j->held_samples));
    nlt_xor_join_t joined;
    size_t len = 0, n = j->n_held;

    if (p == NULL) {
        return no_memory(j);
    }
    nlt_xor_join_init(&joined);
    for (size_t i = 0; i < n; i++) {
        nlt_str_t data = j->held[i].view.data;
        nlt_xor_state_t end;
        uint64_t n_bits;
        nlt_rc_t rc = decode(j, &j->held[i], &end, &n_bits);

        if (rc != NLT_OK) {
            return rc;
        }
        len = nlt_xor_join(&joined, (const uint8_t *) data.data + 2, &end,
                           n_bits, j->in.t_ms, j->in.v, (uint8_t *) p);
    }
    nlt_buf_advance(&j->bytes, len);
    j->n_held = j->held_samples = 0;
    return add_out(j, (nlt_block_chunk_t){
                          .t_min_ms = j->held[0].c.t_min_ms,
                          .t_max_ms = j->held[n - 1].c.t_max_ms,
                          .encoding = NLT_CHUNK_XOR,
                          .n_samples = joined.s.count,
                          .data = {len, NULL},
                      });
}

/* Are parts so long that choosing windows for the whole would gain little? */
static bool
joins_well(const nlt_compact_chunks_t *j)
{
    for (size_t i = 0; i < j->n_held; i++) {
        if (!j->held[i].ours) {
            return false;
        }
    }
    return j->held_samples >= j->n_held * JOIN_MIN;
}

/* What is held or decoded goes out; only one of them is not empty. */
static nlt_rc_t
flush(nlt_compact_chunks_t *j)
{
    nlt_rc_t rc = NLT_OK;

    if (j->n_held == 1) {
        j->n_held = j->held_samples = 0;
        return copy(j, j->held);
    }
    if (j->n_held > 1) {
        if (joins_well(j)) {
            return join_held(j);
        }
        rc = take_held(j);
    }
    return rc == NLT_OK ? flush_acc(j) : rc;
}

/*
 * A long dense chunk as it is.  Its times are in another chunk of its source,
 * so the writer gets them anew, and finds that it has them.
 */
static nlt_rc_t
copy_dense(nlt_compact_chunks_t *j, const nlt_compact_chunk_t *c)
{
    size_t n_times = c->n_samples * sizeof(*j->in.t_ms);
    const char *fault;
    nlt_str_t values;
    char *p;

    if (!nlt_samples_reserve(&j->in, c->n_samples)) {
        return no_memory(j);
    }
    fault = nlt_block_dense_split(&c->c, &c->view, c->n_samples, j->in.t_ms,
                                  &values);
    if (fault != NULL) {
        j->damaged = c->source;
        return nlt_err_set(j->err, NLT_EDATA, "chunk at offset %llu %s",
                           (unsigned long long) (c->c.ref & UINT32_MAX),
                           fault);
    }
    p = nlt_buf_reserve(&j->bytes, values.len + n_times);
    if (p == NULL) {
        return no_memory(j);
    }
    memcpy(p, values.data, values.len);
    memcpy(p + values.len, j->in.t_ms, n_times);
    nlt_buf_advance(&j->bytes, values.len + n_times);
    return add_out(
        j, (nlt_block_chunk_t){.t_min_ms = j->in.t_ms[0],
                               .t_max_ms = j->in.t_ms[c->n_samples - 1],
                               .encoding = NLT_CHUNK_DENSE,
                               .n_samples = c->n_samples,
                               .data = {values.len + n_times, NULL}});
}

/* n chunks that overlap, or one that is cut. */
static nlt_rc_t
add_merged(nlt_compact_chunks_t *j, const nlt_compact_chunk_t *v, size_t n)
{
    nlt_rc_t rc =
        j->held_samples < NLT_COMPACT_COPY_MIN ? take_held(j) : flush(j);

    for (size_t i = 0; i < n && rc == NLT_OK; i++) {
        if (!nlt_chunk_is_float(v[i].view.encoding)) {
            return nlt_err_set(j->err, NLT_ELIMIT,
                               "compaction: native histograms overlap other "
                               "samples of their series");
        }
        rc = stream_acc(j, v[i].t_min_ms);
        if (rc == NLT_OK) {
            rc = take(j, &v[i]);
        }
    }
    return rc;
}

/* A chunk that overlaps no other and is left as it is. */
static nlt_rc_t
add_whole(nlt_compact_chunks_t *j, const nlt_compact_chunk_t *c)
{
    bool fits =
        j->acc.n + j->held_samples + c->n_samples <= NLT_COMPACT_CHUNK_MAX;
    bool is_float = nlt_chunk_is_float(c->view.encoding);
    nlt_rc_t rc = NLT_OK;

    if (j->work && c->view.encoding == NLT_CHUNK_DENSE
        && c->n_samples >= NLT_COMPACT_DENSE_MIN
        && c->n_samples <= NLT_DENSE_SAMPLES_MAX) {
        rc = flush(j);
        return rc == NLT_OK ? copy_dense(j, c) : rc;
    }
    if (is_float && (j->work || c->view.encoding == NLT_CHUNK_DENSE)) {
        return add_merged(j, c, 1);
    }

    if (is_float && fits && j->acc.n > 0) {
        return take(j, c);
    }
    if (!is_float || !fits) {
        rc = flush(j);
    }
    if (rc != NLT_OK || !is_float) {
        return rc == NLT_OK ? copy(j, c) : rc;
    }
    if (j->n_held == 0) {
        j->held = c;
    }
    j->n_held++;
    j->held_samples += c->n_samples;
    return NLT_OK;
}

nlt_rc_t
nlt_compact_chunks_merge(nlt_compact_chunks_t *j, const nlt_compact_chunk_t *v,
                         size_t n)
{
    nlt_rc_t rc = NLT_OK;

    nlt_buf_reset(&j->bytes);
    j->n_out = j->acc.n = j->n_held = j->held_samples = 0;
    for (size_t i = 0, end; i < n && rc == NLT_OK; i = end) {
        int64_t t_max = v[i].t_max_ms;

        for (end = i + 1; end < n && v[end].t_min_ms <= t_max; end++) {
            t_max = nlt_max_i64(t_max, v[end].t_max_ms);
        }
        rc = end == i + 1 && v[i].n_cuts == 0 ? add_whole(j, &v[i])
                                              : add_merged(j, v + i, end - i);
    }
    if (rc == NLT_OK) {
        rc = flush(j);
    }
    place_new(j);
    return rc;
}

/*
 * nlt_index_file_write.c - sections of the index, front to back.
 *
 * Order of a section: length, content, checksum of the content.  Lengths
 * come first, so a section whose length is not known beforehand (symbols, one
 * series) is built in memory, the others are counted first and then streamed
 * through a running checksum.
 */
#include "nlt_index_file_write_priv.h"

#include "nlt_hash.h"

#define OUT_BYTES    (256u << 10) /* written to the file at a time */
#define SYMBOLS_MAX  (UINT32_MAX - 64)
#define PAIRS_MAX    (NLT_INDEX_LAST_LABEL - 1)
#define BUF_MAX      (SIZE_MAX / 4)
#define SERIES_STEP  16
#define SYMBOL_EMPTY UINT32_MAX

static void
add_u32(nlt_buf_t *b, uint32_t v)
{
    nlt_buf_add(b, &v, sizeof(v));
}

nlt_rc_t
nlt_index_writer_no_memory(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOMEM, "out of memory writing an index");
}

nlt_rc_t
nlt_index_writer_ask(nlt_index_writer_t *w, nlt_err_t *err)
{
    nlt_rc_t rc = w->poll ? w->poll(w->poll_ctx) : NLT_OK;

    return rc == NLT_OK ? rc : nlt_err_set(err, rc, "index interrupted");
}

nlt_rc_t
nlt_index_writer_flush(nlt_index_writer_t *w, nlt_err_t *err)
{
    size_t n = w->n_out;
    nlt_rc_t rc = nlt_index_writer_ask(w, err);

    if (rc != NLT_OK) {
        return rc;
    }
    w->n_out = 0;
    return n ? nlt_io_write_paced(w->io, w->fd, w->out, n, &w->unsynced, err)
             : NLT_OK;
}

nlt_rc_t
nlt_index_writer_emit(nlt_index_writer_t *w, const void *p, size_t n,
                      nlt_err_t *err)
{
    nlt_rc_t rc;

    w->crc = nlt_crc32c(w->crc, p, n);
    w->pos += n;
    if (n > OUT_BYTES - w->n_out) {
        rc = nlt_index_writer_flush(w, err);
        if (rc != NLT_OK) {
            return rc;
        }
        if (n > OUT_BYTES) {
            return nlt_io_write_paced(w->io, w->fd, p, n, &w->unsynced, err);
        }
    }
    memcpy(w->out + w->n_out, p, n);
    w->n_out += n;
    return NLT_OK;
}

nlt_rc_t
nlt_index_writer_emit_be32(nlt_index_writer_t *w, uint32_t v, nlt_err_t *err)
{
    uint8_t b[4];

    nlt_put_be32(b, v);
    return nlt_index_writer_emit(w, b, sizeof(b), err);
}

nlt_rc_t
nlt_index_writer_emit_padding(nlt_index_writer_t *w, uint64_t align,
                              nlt_err_t *err)
{
    static const uint8_t zero[SERIES_STEP];
    uint64_t to = nlt_align_u64(w->pos, align);

    return to > w->pos
               ? nlt_index_writer_emit(w, zero, (size_t) (to - w->pos), err)
               : NLT_OK;
}

nlt_rc_t
nlt_index_writer_begin_section(nlt_index_writer_t *w, uint64_t content_len,
                               const char *what, nlt_err_t *err)
{
    nlt_rc_t rc;

    if (content_len > UINT32_MAX) {
        return nlt_err_set(err, NLT_EFULL, "%s of an index would exceed 4 GiB",
                           what);
    }
    rc = nlt_index_writer_emit_be32(w, (uint32_t) content_len, err);
    w->crc = 0;
    return rc;
}

nlt_rc_t
nlt_index_writer_end_section(nlt_index_writer_t *w, nlt_err_t *err)
{
    return nlt_index_writer_emit_be32(w, w->crc, err);
}

nlt_rc_t
nlt_index_writer_open(const nlt_mem_t *mem, const nlt_io_t *io, int fd,
                      nlt_index_writer_t **out, nlt_err_t *err)
{
    uint8_t header[5];
    nlt_index_writer_t *w = nlt_mem_zalloc(mem, sizeof(*w));

    *out = NULL;
    if (w == NULL) {
        return nlt_index_writer_no_memory(err);
    }
    w->mem = mem;
    w->io = io;
    w->fd = fd;
    nlt_buf_init(&w->series, mem, BUF_MAX);
    nlt_buf_init(&w->symbols, mem, SYMBOLS_MAX);
    nlt_buf_init(&w->ids, mem, BUF_MAX);
    nlt_buf_init(&w->log, mem, BUF_MAX);
    nlt_buf_init(&w->pairs, mem, BUF_MAX);
    nlt_buf_init(&w->prev, mem, BUF_MAX);
    nlt_buf_init(&w->next, mem, BUF_MAX);
    w->out = mem->alloc(mem->ctx, OUT_BYTES);
    if (w->out == NULL) {
        nlt_index_writer_close(w);
        return nlt_index_writer_no_memory(err);
    }
    nlt_put_be32(header, NLT_INDEX_MAGIC);
    header[4] = NLT_INDEX_VERSION;
    memcpy(w->out, header, sizeof(header));
    w->n_out = sizeof(header);
    w->pos = sizeof(header);
    *out = w;
    return NLT_OK;
}

void
nlt_index_writer_close(nlt_index_writer_t *w)
{
    if (w == NULL) {
        return;
    }
    nlt_buf_deinit(&w->series);
    nlt_buf_deinit(&w->symbols);
    nlt_buf_deinit(&w->ids);
    nlt_buf_deinit(&w->log);
    nlt_buf_deinit(&w->pairs);
    nlt_buf_deinit(&w->prev);
    nlt_buf_deinit(&w->next);
    nlt_mem_free(w->mem, w->symbol_off, w->n_symbols * sizeof(uint32_t));
    nlt_mem_free(w->mem, w->symbol_slots,
                 w->n_symbol_slots * sizeof(uint32_t));
    nlt_mem_free(w->mem, w->pair_slots, w->n_pair_slots * sizeof(uint32_t));
    nlt_mem_free(w->mem, w->out, OUT_BYTES);
    nlt_mem_free(w->mem, w, sizeof(*w));
}

void
nlt_index_writer_poll(nlt_index_writer_t *w, nlt_rc_t (*poll)(void *ctx),
                      void *ctx)
{
    w->poll = poll;
    w->poll_ctx = ctx;
}

nlt_str_t
nlt_index_writer_symbol_at(const nlt_index_writer_t *w, uint32_t ref)
{
    const char *p = w->symbols.data + w->symbol_off[ref];
    nlt_reader_t r = nlt_reader(p, w->symbols.len - w->symbol_off[ref]);

    return nlt_read_uvarint_str(&r);
}

static uint64_t
symbol_hash(nlt_str_t s)
{
    return nlt_hash64(s.len ? s.data : "", s.len, 0);
}

/* Made when the first string is looked up. */
static nlt_rc_t
make_symbol_table(nlt_index_writer_t *w, nlt_err_t *err)
{
    size_t n_slots = 16;

    while (n_slots < w->n_symbols * 2) {
        n_slots *= 2;
    }
    w->symbol_slots = w->mem->alloc(w->mem->ctx, n_slots * sizeof(uint32_t));
    if (w->symbol_slots == NULL) {
        return nlt_index_writer_no_memory(err);
    }
    w->n_symbol_slots = n_slots;
    memset(w->symbol_slots, 0xff, n_slots * sizeof(uint32_t));
    for (size_t i = 0; i < w->n_symbols; i++) {
        uint64_t slot =
            symbol_hash(nlt_index_writer_symbol_at(w, (uint32_t) i));

        while (w->symbol_slots[slot & (n_slots - 1)] != SYMBOL_EMPTY) {
            slot++;
        }
        w->symbol_slots[slot & (n_slots - 1)] = (uint32_t) i;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_index_writer_symbols(nlt_index_writer_t *w, const nlt_str_t *symbols,
                         size_t n, nlt_err_t *err)
{
    nlt_rc_t rc;

    if (w->n_symbols || n == 0 || n >= SYMBOL_EMPTY) {
        return nlt_err_set(err, NLT_EINVAL, "symbols of an index: %zu of them",
                           n);
    }
    w->symbol_off = nlt_mem_zalloc(w->mem, n * sizeof(uint32_t));
    if (w->symbol_off == NULL) {
        return nlt_index_writer_no_memory(err);
    }
    w->n_symbols = n;
    nlt_buf_add_be32(&w->symbols, 0); /* the length, known at the end */
    nlt_buf_add_be32(&w->symbols, (uint32_t) n);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && nlt_str_cmp(symbols[i - 1], symbols[i]) >= 0) {
            return nlt_err_set(err, NLT_EORDER,
                               "symbol %zu \"%.*s\" is not after \"%.*s\"", i,
                               NLT_FMT(symbols[i]), NLT_FMT(symbols[i - 1]));
        }
        w->symbol_off[i] = (uint32_t) w->symbols.len;
        nlt_buf_add_uvarint(&w->symbols, symbols[i].len);
        nlt_buf_add_str(&w->symbols, symbols[i]);
    }
    if (w->symbols.rc != NLT_OK) {
        return w->symbols.rc == NLT_ETOOBIG ? nlt_err_set(
                   err, NLT_EFULL, "symbols of an index would exceed 4 GiB")
                                            : nlt_index_writer_no_memory(err);
    }
    nlt_put_be32(w->symbols.data, (uint32_t) (w->symbols.len - 4));
    w->symbols_off = w->pos;
    rc = nlt_index_writer_emit(w, w->symbols.data, 4, err);
    if (rc == NLT_OK) {
        w->crc = 0;
        rc = nlt_index_writer_emit(w, w->symbols.data + 4, w->symbols.len - 4,
                                   err);
    }
    if (rc == NLT_OK) {
        rc = nlt_index_writer_end_section(w, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_index_writer_emit_padding(w, SERIES_STEP, err);
    }
    w->series_off = w->pos;
    return rc;
}

static bool
find_symbol(const nlt_index_writer_t *w, nlt_str_t s, uint32_t *out)
{
    uint64_t slot = symbol_hash(s);

    for (;; slot++) {
        uint32_t ref = w->symbol_slots[slot & (w->n_symbol_slots - 1)];

        if (ref == SYMBOL_EMPTY) {
            return false;
        }
        if (nlt_str_eq(nlt_index_writer_symbol_at(w, ref), s)) {
            *out = ref;
            return true;
        }
    }
}

/*
 * Ordinals of name and value; most labels equal the one at the same place in
 * the series before, so that is tried first.
 */
static nlt_rc_t
label_refs(nlt_index_writer_t *w, nlt_labels_t labels, size_t i,
           uint32_t refs[2], nlt_err_t *err)
{
    bool has_prev = 2 * i + 1 < nlt_index_n_u32(&w->prev);
    const uint32_t *prev = has_prev ? nlt_index_u32(&w->prev) + 2 * i : refs;
    const nlt_label_t *l = &labels.v[i];

    if (has_prev
        && nlt_str_eq(nlt_index_writer_symbol_at(w, prev[0]), l->name)) {
        refs[0] = prev[0];
    } else if (!find_symbol(w, l->name, &refs[0])) {
        return nlt_err_set(err, NLT_EINVAL, "label name \"%.*s\" is no symbol",
                           NLT_FMT(l->name));
    }
    if (has_prev
        && nlt_str_eq(nlt_index_writer_symbol_at(w, prev[1]), l->value)) {
        refs[1] = prev[1];
    } else if (!find_symbol(w, l->value, &refs[1])) {
        return nlt_err_set(err, NLT_EINVAL,
                           "label value \"%.*s\" is no symbol",
                           NLT_FMT(l->value));
    }
    return NLT_OK;
}

static uint64_t
pair_hash(uint32_t name, uint32_t value)
{
    return nlt_mix64((uint64_t) name << 32 | value);
}

static nlt_rc_t
grow_pair_slots(nlt_index_writer_t *w, nlt_err_t *err)
{
    size_t n = w->n_pair_slots ? w->n_pair_slots * 2 : 1024;
    uint32_t *slots = nlt_mem_zalloc(w->mem, n * sizeof(uint32_t));
    const nlt_index_pair_t *pairs = nlt_index_writer_pairs(w);
    size_t n_pairs = w->pairs.len / sizeof(nlt_index_pair_t);

    if (slots == NULL) {
        return nlt_index_writer_no_memory(err);
    }
    for (size_t i = 0; i < n_pairs; i++) {
        uint64_t slot = pair_hash(pairs[i].name, pairs[i].value);

        while (slots[slot & (n - 1)]) {
            slot++;
        }
        slots[slot & (n - 1)] = (uint32_t) (i + 1);
    }
    nlt_mem_free(w->mem, w->pair_slots, w->n_pair_slots * sizeof(uint32_t));
    w->pair_slots = slots;
    w->n_pair_slots = n;
    return NLT_OK;
}

/* Logs that the current series has the label; counts it. */
static nlt_rc_t
log_pair(nlt_index_writer_t *w, const uint32_t refs[2], bool last,
         nlt_err_t *err)
{
    size_t n_pairs = w->pairs.len / sizeof(nlt_index_pair_t);
    uint64_t slot = pair_hash(refs[0], refs[1]);
    uint32_t idx;
    nlt_rc_t rc;

    if ((n_pairs + 1) * 2 > w->n_pair_slots) {
        rc = grow_pair_slots(w, err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    for (;; slot++) {
        idx = w->pair_slots[slot & (w->n_pair_slots - 1)];
        if (idx == 0) {
            break;
        }
        const nlt_index_pair_t *p = &nlt_index_writer_pairs(w)[idx - 1];

        if (p->name == refs[0] && p->value == refs[1]) {
            break;
        }
    }
    if (idx == 0) {
        nlt_index_pair_t p = {.name = refs[0], .value = refs[1]};

        if (n_pairs >= PAIRS_MAX) {
            return nlt_err_set(err, NLT_EFULL, "too many different labels");
        }
        nlt_buf_add(&w->pairs, &p, sizeof(p));
        if (w->pairs.rc != NLT_OK) {
            return nlt_index_writer_no_memory(err);
        }
        idx = (uint32_t) n_pairs + 1;
        w->pair_slots[slot & (w->n_pair_slots - 1)] = idx;
    }
    nlt_index_writer_pairs(w)[idx - 1].n++;
    add_u32(&w->log, (idx - 1) | (last ? NLT_INDEX_LAST_LABEL : 0));
    return NLT_OK;
}

/* Order of label lists by ordinals, as nlt_labels_cmp(). */
static int
cmp_refs(const nlt_buf_t *a, const nlt_buf_t *b)
{
    const uint32_t *x = nlt_index_u32(a), *y = nlt_index_u32(b);
    size_t na = nlt_index_n_u32(a), nb = nlt_index_n_u32(b);

    for (size_t i = 0; i < na && i < nb; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return (na > nb) - (na < nb);
}

/* Fills w->next with the ordinals of the labels and checks their order. */
static nlt_rc_t
take_labels(nlt_index_writer_t *w, nlt_labels_t labels, nlt_err_t *err)
{
    nlt_rc_t rc;

    nlt_buf_reset(&w->next);
    if (w->symbol_slots == NULL) {
        rc = make_symbol_table(w, err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    for (size_t i = 0; i < labels.n; i++) {
        uint32_t refs[2] = {0, 0};

        if (labels.v[i].name.len == 0 || labels.v[i].value.len == 0) {
            return nlt_err_set(err, NLT_EINVAL,
                               "series with an empty label \"%.*s\"",
                               NLT_FMT(labels.v[i].name));
        }
        rc = label_refs(w, labels, i, refs, err);
        if (rc != NLT_OK) {
            return rc;
        }
        if (i > 0 && nlt_index_u32(&w->next)[2 * i - 2] >= refs[0]) {
            return nlt_err_set(err, NLT_EORDER,
                               "label \"%.*s\" of a series is out of order",
                               NLT_FMT(labels.v[i].name));
        }
        add_u32(&w->next, refs[0]);
        add_u32(&w->next, refs[1]);
        if (w->next.rc != NLT_OK) {
            return nlt_index_writer_no_memory(err);
        }
    }
    return NLT_OK;
}

/* The same of ordinals that the caller knows. */
static nlt_rc_t
take_refs(nlt_index_writer_t *w, const uint32_t *refs, size_t n_labels,
          nlt_err_t *err)
{
    for (size_t i = 0; i < 2 * n_labels; i++) {
        if (refs[i] >= w->n_symbols) {
            return nlt_err_set(err, NLT_EINVAL, "ordinal %u among %zu symbols",
                               refs[i], w->n_symbols);
        }
        if (nlt_index_writer_symbol_at(w, refs[i]).len == 0) {
            return nlt_err_set(err, NLT_EINVAL, "series with an empty label");
        }
        if (i >= 2 && i % 2 == 0 && refs[i - 2] >= refs[i]) {
            return nlt_err_set(err, NLT_EORDER,
                               "label %zu of a series is out of order", i / 2);
        }
    }
    nlt_buf_reset(&w->next);
    nlt_buf_add(&w->next, refs, 2 * n_labels * sizeof(*refs));
    return w->next.rc == NLT_OK ? NLT_OK : nlt_index_writer_no_memory(err);
}

/* Appends the chunk list to the entry. */
static nlt_rc_t
add_chunks(nlt_buf_t *b, const nlt_index_chunk_t *c, size_t n, nlt_err_t *err)
{
    nlt_buf_add_uvarint(b, n);
    for (size_t i = 0; i < n; i++) {
        if (c[i].t_max_ms < c[i].t_min_ms
            || (i > 0
                && (c[i].t_min_ms <= c[i - 1].t_max_ms
                    || c[i].ref < c[i - 1].ref))) {
            return nlt_err_set(err, NLT_EORDER,
                               "chunk %zu of a series is out of order", i);
        }
        if (i == 0) {
            nlt_buf_add_varint(b, c[i].t_min_ms);
        } else {
            nlt_buf_add_uvarint(b, (uint64_t) c[i].t_min_ms
                                       - (uint64_t) c[i - 1].t_max_ms);
        }
        nlt_buf_add_uvarint(b, (uint64_t) c[i].t_max_ms
                                   - (uint64_t) c[i].t_min_ms);
        if (i == 0) {
            nlt_buf_add_uvarint(b, c[i].ref);
        } else {
            nlt_buf_add_varint(b, (int64_t) (c[i].ref - c[i - 1].ref));
        }
    }
    return NLT_OK;
}

/* Writes w->series as the entry at a 16-byte border. */
static nlt_rc_t
emit_series(nlt_index_writer_t *w, nlt_err_t *err)
{
    uint8_t len[NLT_UVARINT_BYTES_MAX];
    size_t n_len = nlt_put_uvarint(len, w->series.len);
    nlt_rc_t rc = nlt_index_writer_emit_padding(w, SERIES_STEP, err);

    if (rc != NLT_OK) {
        return rc;
    }
    if (w->pos / SERIES_STEP > UINT32_MAX) {
        return nlt_err_set(err, NLT_EFULL, "series of an index exceed 64 GiB");
    }
    add_u32(&w->ids, (uint32_t) (w->pos / SERIES_STEP));
    if (w->ids.rc != NLT_OK) {
        return nlt_index_writer_no_memory(err);
    }
    rc = nlt_index_writer_emit(w, len, n_len, err);
    if (rc == NLT_OK) {
        w->crc = 0;
        rc = nlt_index_writer_emit(w, w->series.data, w->series.len, err);
    }
    return rc == NLT_OK ? nlt_index_writer_end_section(w, err) : rc;
}

/* The series whose ordinals are in w->next. */
static nlt_rc_t
add_series(nlt_index_writer_t *w, const nlt_index_chunk_t *chunks,
           size_t n_chunks, nlt_err_t *err)
{
    size_t n_labels = nlt_index_n_u32(&w->next) / 2;
    nlt_buf_t swap;
    nlt_rc_t rc;

    if (cmp_refs(&w->prev, &w->next) >= 0) {
        return nlt_err_set(err, NLT_EORDER,
                           "a series is not after the one before");
    }
    nlt_buf_reset(&w->series);
    nlt_buf_add_uvarint(&w->series, n_labels);
    for (size_t i = 0; i < n_labels; i++) {
        const uint32_t *refs = nlt_index_u32(&w->next) + 2 * i;

        nlt_buf_add_uvarint(&w->series, refs[0]);
        nlt_buf_add_uvarint(&w->series, refs[1]);
    }
    rc = add_chunks(&w->series, chunks, n_chunks, err);
    for (size_t i = 0; i < n_labels && rc == NLT_OK; i++) {
        rc = log_pair(w, nlt_index_u32(&w->next) + 2 * i, i + 1 == n_labels,
                      err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (w->series.rc != NLT_OK || w->log.rc != NLT_OK) {
        return nlt_index_writer_no_memory(err);
    }
    swap = w->prev;
    w->prev = w->next;
    w->next = swap;
    return emit_series(w, err);
}

static nlt_rc_t
check_counts(const nlt_index_writer_t *w, size_t n_labels, size_t n_chunks,
             nlt_err_t *err)
{
    return w->n_symbols > 0 && n_labels > 0 && n_chunks > 0
               ? NLT_OK
               : nlt_err_set(
                   err, NLT_EINVAL, "series with %zu labels and %zu chunks%s",
                   n_labels, n_chunks, w->n_symbols ? "" : " before symbols");
}

nlt_rc_t
nlt_index_writer_series(nlt_index_writer_t *w, nlt_labels_t labels,
                        const nlt_index_chunk_t *chunks, size_t n_chunks,
                        nlt_err_t *err)
{
    nlt_rc_t rc = check_counts(w, labels.n, n_chunks, err);

    if (rc == NLT_OK) {
        rc = take_labels(w, labels, err);
    }
    return rc == NLT_OK ? add_series(w, chunks, n_chunks, err) : rc;
}

nlt_rc_t
nlt_index_writer_refs(nlt_index_writer_t *w, const uint32_t *refs,
                      size_t n_labels, const nlt_index_chunk_t *chunks,
                      size_t n_chunks, nlt_err_t *err)
{
    nlt_rc_t rc = check_counts(w, n_labels, n_chunks, err);

    if (rc == NLT_OK) {
        rc = take_refs(w, refs, n_labels, err);
    }
    return rc == NLT_OK ? add_series(w, chunks, n_chunks, err) : rc;
}

uint32_t
nlt_index_writer_last(const nlt_index_writer_t *w)
{
    size_t n = nlt_index_n_u32(&w->ids);

    return n ? nlt_index_u32(&w->ids)[n - 1] : 0;
}

/*
 * nlt_index_file_finish.c - postings, their table and the TOC.
 *
 * The log of labels in series order becomes lists in label order by counting
 * sort: of some million numbers at a time, for each of which the log is gone
 * through once.
 */
#include "nlt_index_file_write_priv.h"

#include "nlt_hash.h"

#define POSTINGS_MAX (1u << 21) /* sorted at a time */

static nlt_rc_t
emit_postings(nlt_index_writer_t *w, const uint32_t *ids, size_t n,
              nlt_err_t *err)
{
    nlt_rc_t rc = nlt_index_writer_emit_padding(w, 4, err);

    if (rc == NLT_OK) {
        rc = nlt_index_writer_begin_section(w, 4 + 4 * (uint64_t) n,
                                            "a postings list", err);
    }
    if (rc == NLT_OK) {
        rc = nlt_index_writer_emit_be32(w, (uint32_t) n, err);
    }
    for (size_t i = 0; i < n && rc == NLT_OK;) {
        uint8_t b[1024];
        size_t k = 0;

        while (k < sizeof(b) && i < n) {
            nlt_put_be32(b + k, ids[i++]);
            k += 4;
        }
        rc = nlt_index_writer_emit(w, b, k, err);
    }
    return rc == NLT_OK ? nlt_index_writer_end_section(w, err) : rc;
}

static uint64_t
pair_key(const nlt_index_pair_t *p)
{
    return (uint64_t) p->name << 32 | p->value;
}

/*
 * Sorts indexes of pairs by name and value: merging runs of 1, 2, 4, ...
 * from order to scratch and back.  *out gets the one with the result.
 */
static nlt_rc_t
sort_pairs(nlt_index_writer_t *w, uint32_t *order, uint32_t *scratch,
           uint32_t **out, nlt_err_t *err)
{
    const nlt_index_pair_t *pairs = nlt_index_writer_pairs(w);
    size_t n = w->pairs.len / sizeof(nlt_index_pair_t);
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t) i;
    }
    for (size_t run = 1; run < n && rc == NLT_OK; run *= 2) {
        uint32_t *swap = order;

        for (size_t lo = 0; lo < n; lo += 2 * run) {
            size_t mid = lo + run < n ? lo + run : n;
            size_t hi = mid + run < n ? mid + run : n;
            size_t i = lo, j = mid;

            for (size_t k = lo; k < hi; k++) {
                bool left = j == hi
                            || (i < mid
                                && pair_key(&pairs[order[i]])
                                       < pair_key(&pairs[order[j]]));

                scratch[k] = left ? order[i++] : order[j++];
            }
        }
        order = scratch;
        scratch = swap;
        rc = nlt_index_writer_ask(w, err);
    }
    *out = order;
    return rc;
}

/*
 * Writes the lists of the pairs order[from..): as many as fit in POSTINGS_MAX
 * numbers, at least one.  *to gets the end.  rank is order's inverse.
 */
static nlt_rc_t
emit_batch(nlt_index_writer_t *w, const uint32_t *order, const uint32_t *rank,
           size_t from, size_t *to, nlt_err_t *err)
{
    nlt_index_pair_t *pairs = nlt_index_writer_pairs(w);
    size_t n_pairs = w->pairs.len / sizeof(nlt_index_pair_t), end = from,
           total = 0;
    const uint32_t *log = nlt_index_u32(&w->log),
                   *ids = nlt_index_u32(&w->ids);
    size_t n_log = nlt_index_n_u32(&w->log), series = 0, at = 0;
    uint32_t *lists;
    nlt_rc_t rc = nlt_index_writer_ask(w, err);

    if (rc != NLT_OK) {
        return rc;
    }
    while (end < n_pairs
           && (end == from || total + pairs[order[end]].n <= POSTINGS_MAX)) {
        pairs[order[end]].cursor = (uint32_t) total;
        total += pairs[order[end]].n;
        end++;
    }
    lists = w->mem->alloc(w->mem->ctx, total * sizeof(uint32_t));
    if (lists == NULL) {
        return nlt_index_writer_no_memory(err);
    }
    for (size_t i = 0; i < n_log; i++) {
        uint32_t idx = log[i] & ~NLT_INDEX_LAST_LABEL;

        if (rank[idx] >= from && rank[idx] < end) {
            lists[pairs[idx].cursor++] = ids[series];
        }
        series += (log[i] & NLT_INDEX_LAST_LABEL) != 0;
    }
    for (size_t k = from; k < end && rc == NLT_OK; k++) {
        nlt_index_pair_t *p = &pairs[order[k]];

        p->off = nlt_align_u64(w->pos, 4);
        rc = emit_postings(w, lists + at, p->n, err);
        at += p->n;
    }
    nlt_mem_free(w->mem, lists, total * sizeof(uint32_t));
    *to = end;
    return rc;
}

static nlt_rc_t
emit_entry(nlt_index_writer_t *w, nlt_str_t name, nlt_str_t value,
           uint64_t off, nlt_err_t *err)
{
    nlt_buf_t *b = &w->series;

    nlt_buf_reset(b);
    nlt_buf_add_byte(b, 2); /* strings in the key */
    nlt_buf_add_uvarint(b, name.len);
    nlt_buf_add_str(b, name);
    nlt_buf_add_uvarint(b, value.len);
    nlt_buf_add_str(b, value);
    nlt_buf_add_uvarint(b, off);
    return b->rc == NLT_OK ? nlt_index_writer_emit(w, b->data, b->len, err)
                           : nlt_index_writer_no_memory(err);
}

static nlt_rc_t
emit_table(nlt_index_writer_t *w, const uint32_t *order, nlt_err_t *err)
{
    static const nlt_str_t none = {0, NULL};
    const nlt_index_pair_t *pairs = nlt_index_writer_pairs(w);
    size_t n = w->pairs.len / sizeof(nlt_index_pair_t);
    uint64_t len = 4 + 3 + nlt_uvarint_len(w->postings_off);
    nlt_rc_t rc;

    for (size_t i = 0; i < n; i++) {
        size_t name = nlt_index_writer_symbol_at(w, pairs[i].name).len;
        size_t value = nlt_index_writer_symbol_at(w, pairs[i].value).len;

        len += 1 + nlt_uvarint_len(name) + name + nlt_uvarint_len(value)
               + value + nlt_uvarint_len(pairs[i].off);
    }
    rc = nlt_index_writer_emit_padding(w, 4, err);
    w->table_off = w->pos;
    if (rc == NLT_OK) {
        rc = nlt_index_writer_begin_section(w, len, "the table of postings",
                                            err);
    }
    if (rc == NLT_OK) {
        rc = nlt_index_writer_emit_be32(w, (uint32_t) n + 1, err);
    }
    if (rc == NLT_OK) {
        rc = emit_entry(w, none, none, w->postings_off, err);
    }
    for (size_t i = 0; i < n && rc == NLT_OK; i++) {
        const nlt_index_pair_t *p = &pairs[order[i]];

        rc = emit_entry(w, nlt_index_writer_symbol_at(w, p->name),
                        nlt_index_writer_symbol_at(w, p->value), p->off, err);
    }
    return rc == NLT_OK ? nlt_index_writer_end_section(w, err) : rc;
}

static nlt_rc_t
emit_toc(nlt_index_writer_t *w, nlt_err_t *err)
{
    uint8_t b[NLT_INDEX_TOC_BYTES];

    nlt_put_be64(b, w->symbols_off);
    nlt_put_be64(b + 8, w->series_off);
    nlt_put_be64(b + 16, 0); /* label indices: none */
    nlt_put_be64(b + 24, 0); /* their table */
    nlt_put_be64(b + 32, w->postings_off);
    nlt_put_be64(b + 40, w->table_off);
    nlt_put_be32(b + 48, nlt_crc32c(0, b, 48));
    return nlt_index_writer_emit(w, b, sizeof(b), err);
}

nlt_rc_t
nlt_index_writer_finish(nlt_index_writer_t *w, uint64_t *size_bytes,
                        nlt_err_t *err)
{
    size_t n = w->pairs.len / sizeof(nlt_index_pair_t), at = 0;
    uint32_t *space, *order, *rank;
    nlt_rc_t rc;

    if (w->n_symbols == 0) {
        return nlt_err_set(err, NLT_EINVAL, "index without symbols");
    }
    space = w->mem->alloc(w->mem->ctx, (3 * n + 1) * sizeof(uint32_t));
    if (space == NULL) {
        return nlt_index_writer_no_memory(err);
    }
    rank = space + 2 * n;
    rc = sort_pairs(w, space, space + n, &order, err);
    for (size_t i = 0; i < n && rc == NLT_OK; i++) {
        rank[order[i]] = (uint32_t) i;
    }
    w->postings_off = nlt_align_u64(w->pos, 4);
    if (rc == NLT_OK) {
        rc = emit_postings(w, nlt_index_u32(&w->ids), nlt_index_n_u32(&w->ids),
                           err);
    }
    while (at < n && rc == NLT_OK) {
        rc = emit_batch(w, order, rank, at, &at, err);
    }
    if (rc == NLT_OK) {
        rc = emit_table(w, order, err);
    }
    nlt_mem_free(w->mem, space, (3 * n + 1) * sizeof(uint32_t));
    if (rc == NLT_OK) {
        rc = emit_toc(w, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_index_writer_flush(w, err);
    }
    if (size_bytes) {
        *size_bytes = w->pos;
    }
    return rc;
}

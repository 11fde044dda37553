/*
 * nlt_index_file_series.c - reads series entries, and checks a whole index.
 */
#include "nlt_hash.h"
#include "nlt_index_file_priv.h"

static nlt_rc_t
bad_series(const nlt_index_series_t *s, const char *what, nlt_err_t *err)
{
    int64_t pos = (int64_t) s->id * NLT_INDEX_SERIES_STEP;

    return nlt_err_set_at(err, NLT_EDATA, pos,
                          "index: %s in series %u at offset %lld", what, s->id,
                          (long long) pos);
}

nlt_rc_t
nlt_index_series_open(const nlt_index_file_t *ix, uint32_t id,
                      nlt_index_series_t *s, nlt_err_t *err)
{
    uint64_t off = (uint64_t) id * NLT_INDEX_SERIES_STEP, len;
    nlt_reader_t r;

    *s = (nlt_index_series_t){.ix = ix, .id = id, .first_chunk = true};
    if (off < ix->series_off || off >= ix->series_end) {
        return bad_series(s, "place outside the section", err);
    }
    r = nlt_reader(ix->data + off, (size_t) (ix->series_end - off));
    len = nlt_read_uvarint(&r);
    if (r.failed || nlt_reader_left(&r) < 4 || nlt_reader_left(&r) - 4 < len) {
        return bad_series(s, "wrong length", err);
    }
    if (nlt_crc32c(0, r.p, len) != nlt_be32(r.p + len)) {
        return bad_series(s, "checksum mismatch", err);
    }
    s->r = nlt_reader(r.p, len);
    s->n_labels = nlt_read_uvarint(&s->r);
    if (s->r.failed || s->n_labels > nlt_reader_left(&s->r) / 2) {
        return bad_series(s, "wrong number of labels", err);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_index_series_refs(nlt_index_series_t *s, uint64_t *name_ref,
                      uint64_t *value_ref, nlt_err_t *err)
{
    *name_ref = nlt_read_uvarint(&s->r);
    *value_ref = nlt_read_uvarint(&s->r);
    s->n_labels--;
    return s->r.failed ? bad_series(s, "labels cut short", err) : NLT_OK;
}

nlt_rc_t
nlt_index_series_label(nlt_index_series_t *s, nlt_label_t *out, nlt_err_t *err)
{
    uint64_t name, value;
    nlt_rc_t rc = nlt_index_series_refs(s, &name, &value, err);

    if (rc == NLT_OK) {
        rc = nlt_index_file_symbol(s->ix, name, &out->name, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_index_file_symbol(s->ix, value, &out->value, err);
    }
    return rc;
}

nlt_rc_t
nlt_index_series_chunks(nlt_index_series_t *s, nlt_err_t *err)
{
    while (s->n_labels > 0) {
        uint64_t name, value;
        nlt_rc_t rc = nlt_index_series_refs(s, &name, &value, err);

        if (rc != NLT_OK) {
            return rc;
        }
    }
    s->n_chunks = nlt_read_uvarint(&s->r);
    if (s->r.failed || s->n_chunks > nlt_reader_left(&s->r) / 3) {
        s->n_chunks = 0;
        return bad_series(s, "wrong number of chunks", err);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_index_series_chunk(nlt_index_series_t *s, nlt_index_chunk_t *out,
                       nlt_err_t *err)
{
    nlt_index_chunk_t *c = &s->chunk;
    uint64_t gap = 0, span;

    if (s->first_chunk) {
        c->t_min_ms = nlt_read_varint(&s->r);
        span = nlt_read_uvarint(&s->r);
        c->ref = nlt_read_uvarint(&s->r);
    } else {
        gap = nlt_read_uvarint(&s->r);
        if (gap == 0 || gap > (uint64_t) INT64_MAX - (uint64_t) c->t_max_ms) {
            return bad_series(s, "chunk not after the one before", err);
        }
        c->t_min_ms = (int64_t) ((uint64_t) c->t_max_ms + gap);
        span = nlt_read_uvarint(&s->r);
        c->ref += (uint64_t) nlt_read_varint(&s->r);
    }
    s->first_chunk = false;
    s->n_chunks--;
    if (s->r.failed) {
        return bad_series(s, "chunks cut short", err);
    }
    if (span > (uint64_t) INT64_MAX - (uint64_t) c->t_min_ms) {
        return bad_series(s, "chunk that ends after all time", err);
    }
    c->t_max_ms = (int64_t) ((uint64_t) c->t_min_ms + span);
    *out = *c;
    return NLT_OK;
}

static nlt_rc_t
validate_symbols(const nlt_index_file_t *ix, nlt_err_t *err)
{
    nlt_str_t last = {0, NULL}, s;

    for (uint64_t i = 0; i < ix->n_symbols; i++) {
        nlt_rc_t rc = nlt_index_file_symbol(ix, i, &s, err);

        if (rc != NLT_OK) {
            return rc;
        }
        if (i > 0 && nlt_str_cmp(last, s) >= 0) {
            return nlt_index_corrupt(ix, (const uint8_t *) s.data,
                                     "symbols out of order", err);
        }
        last = s;
    }
    return NLT_OK;
}

/*
 * One series after `last` (when it is not 0): labels sorted and without
 * empty ones, greater than those of last, chunks readable.
 */
static nlt_rc_t
validate_series(const nlt_index_file_t *ix, uint32_t id, uint32_t last,
                nlt_index_validate_cb chunk_cb, void *ctx, uint64_t *n_labels,
                uint64_t *end, nlt_err_t *err)
{
    nlt_index_series_t s, prev;
    nlt_label_t a = {{0, NULL}, {0, NULL}}, b, before;
    nlt_rc_t rc = nlt_index_series_open(ix, id, &s, err);
    bool greater = last == 0;

    if (rc == NLT_OK && last) {
        rc = nlt_index_series_open(ix, last, &prev, err);
    }
    if (rc == NLT_OK && s.n_labels == 0) {
        return bad_series(&s, "no labels", err);
    }
    while (rc == NLT_OK && s.n_labels > 0) {
        before = a;
        *n_labels += 1;
        rc = nlt_index_series_label(&s, &a, err);
        if (rc == NLT_OK
            && (a.name.len == 0 || a.value.len == 0
                || nlt_str_cmp(before.name, a.name) >= 0)) {
            return bad_series(&s, "empty or unsorted label", err);
        }
        if (rc == NLT_OK && !greater && prev.n_labels == 0) {
            greater = true;
        }
        if (rc == NLT_OK && !greater) {
            rc = nlt_index_series_label(&prev, &b, err);
            int c = rc == NLT_OK ? nlt_str_cmp(b.name, a.name) : 0;

            c = c || rc != NLT_OK ? c : nlt_str_cmp(b.value, a.value);
            if (c > 0) {
                break;
            }
            greater = c < 0;
        }
    }
    if (rc == NLT_OK && !greater) {
        return bad_series(&s, "labels not after those before", err);
    }
    if (rc == NLT_OK) {
        rc = nlt_index_series_chunks(&s, err);
    }
    if (rc == NLT_OK && s.n_chunks == 0) {
        return bad_series(&s, "no chunks", err);
    }
    while (rc == NLT_OK && s.n_chunks > 0) {
        nlt_index_chunk_t c;

        rc = nlt_index_series_chunk(&s, &c, err);
        if (rc == NLT_OK && chunk_cb) {
            rc = chunk_cb(ctx, id, &c, err);
        }
    }
    if (rc == NLT_OK && nlt_reader_left(&s.r) > 0) {
        return bad_series(&s, "bytes behind the chunks", err);
    }
    *end = (uint64_t) (s.r.end - ix->data) + 4;
    return rc;
}

static nlt_rc_t
validate_all_series(const nlt_index_file_t *ix, nlt_postings_t all,
                    nlt_index_validate_cb chunk_cb, void *ctx,
                    uint64_t *n_labels, nlt_err_t *err)
{
    uint64_t end = ix->series_off;

    for (size_t i = 0; i < all.n; i++) {
        uint64_t off = (uint64_t) all.v[i] * NLT_INDEX_SERIES_STEP;
        nlt_rc_t rc;

        if (off != nlt_align_u64(end, NLT_INDEX_SERIES_STEP)) {
            return nlt_index_corrupt(
                ix, ix->data + end, "series that is in no postings list", err);
        }
        rc = validate_series(ix, all.v[i], i ? all.v[i - 1] : 0, chunk_cb, ctx,
                             n_labels, &end, err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return ix->series_end - end < NLT_INDEX_SERIES_STEP
               ? NLT_OK
               : nlt_index_corrupt(ix, ix->data + end,
                                   "bytes behind the last series", err);
}

static nlt_rc_t
series_has_label(const nlt_index_file_t *ix, uint32_t id, nlt_str_t name,
                 nlt_str_t value, nlt_err_t *err)
{
    nlt_index_series_t s;
    nlt_rc_t rc = nlt_index_series_open(ix, id, &s, err);

    while (rc == NLT_OK && s.n_labels > 0) {
        nlt_label_t l;

        rc = nlt_index_series_label(&s, &l, err);
        if (rc == NLT_OK && nlt_str_eq(l.name, name)) {
            return nlt_str_eq(l.value, value)
                       ? NLT_OK
                       : bad_series(&s, "another value than its postings say",
                                    err);
        }
    }
    return rc == NLT_OK ? bad_series(&s, "no label as its postings say", err)
                        : rc;
}

/*
 * Lists are strictly ascending and pairs occur once.  If every member of
 * every list is right, and there are as many as the series have labels, then
 * none is missing either.
 */
static nlt_rc_t
validate_postings(const nlt_index_file_t *ix, nlt_pool_t *pool,
                  uint64_t n_labels, nlt_err_t *err)
{
    uint64_t n = 0;

    for (size_t i = 0; i < nlt_index_file_n_names(ix); i++) {
        nlt_str_t name = nlt_index_file_name(ix, i);
        nlt_index_values_t it = nlt_index_file_values(ix, name);

        while (nlt_index_values_next(&it)) {
            nlt_pool_mark_t mark = nlt_pool_mark(pool);
            nlt_postings_t list;
            nlt_rc_t rc = nlt_index_file_postings_at(ix, pool, it.postings_off,
                                                     &list, err);

            for (size_t k = 0; k < list.n && rc == NLT_OK; k++) {
                rc = series_has_label(ix, list.v[k], name, it.value, err);
            }
            n += list.n;
            nlt_pool_rewind(pool, mark);
            if (rc != NLT_OK) {
                return rc;
            }
        }
    }
    return n == n_labels
               ? NLT_OK
               : nlt_err_set(err, NLT_EDATA,
                             "index: series have %llu labels, postings %llu",
                             (unsigned long long) n_labels,
                             (unsigned long long) n);
}

nlt_rc_t
nlt_index_file_validate(const nlt_index_file_t *ix, nlt_pool_t *pool,
                        nlt_index_validate_cb chunk_cb, void *ctx,
                        nlt_err_t *err)
{
    static const nlt_str_t none = {0, NULL};
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    uint64_t n_labels = 0;
    nlt_postings_t all = {0};
    nlt_rc_t rc = validate_symbols(ix, err);

    if (rc == NLT_OK) {
        rc = nlt_index_file_postings(ix, pool, none, none, &all, err);
    }
    if (rc == NLT_OK) {
        rc = validate_all_series(ix, all, chunk_cb, ctx, &n_labels, err);
    }
    if (rc == NLT_OK) {
        rc = validate_postings(ix, pool, n_labels, err);
    }
    nlt_pool_rewind(pool, mark);
    return rc;
}

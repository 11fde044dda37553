/*
 * nlt_index_file_series.c - reads series entries, and checks a whole index.
 */
#include "nlt_hash.h"
#include "nlt_index_file_priv.h"
#include "nlt_utf8.h"

/* Length, one label, one chunk, checksum: less is padding. */
#define SERIES_BYTES_MIN 12

static nlt_rc_t
bad_series(const nlt_index_series_t *s, const char *what, nlt_err_t *err)
{
    int64_t pos = (int64_t) s->id * NLT_INDEX_SERIES_STEP;

    return nlt_err_set_at(err, NLT_EDATA, pos,
                          "index: %s in series %u at offset %lld", what, s->id,
                          (long long) pos);
}

/* Number of the entry at or behind off; 0 when none can be there. */
static uint32_t
id_at(const nlt_index_file_t *ix, uint64_t off)
{
    off = nlt_align_u64(off, NLT_INDEX_SERIES_STEP);
    return off < ix->series_end && ix->series_end - off >= SERIES_BYTES_MIN
               ? (uint32_t) (off / NLT_INDEX_SERIES_STEP)
               : 0;
}

uint32_t
nlt_index_file_first(const nlt_index_file_t *ix)
{
    return id_at(ix, ix->series_off);
}

uint32_t
nlt_index_series_next(const nlt_index_series_t *s)
{
    /* Behind the content is its checksum. */
    return id_at(s->ix, (uint64_t) (s->r.end - s->ix->data) + 4);
}

nlt_index_span_t
nlt_index_file_span(const nlt_index_file_t *ix)
{
    return (nlt_index_span_t){
        (uint32_t) (ix->series_off / NLT_INDEX_SERIES_STEP),
        (uint32_t) (ix->series_end / NLT_INDEX_SERIES_STEP) + 1};
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
nlt_index_series_cut_short(const nlt_index_series_t *s, nlt_err_t *err)
{
    return bad_series(s, "labels cut short", err);
}

static inline nlt_rc_t
symbol(const nlt_index_file_t *ix, uint64_t ref, nlt_str_t *out,
       nlt_err_t *err)
{
    return nlt_index_symbol_cached(ix, ref, out)
               ? NLT_OK
               : nlt_index_file_symbol(ix, ref, out, err);
}

nlt_rc_t
nlt_index_series_labels(nlt_index_series_t *s, nlt_label_t *out,
                        nlt_err_t *err)
{
    nlt_reader_t r = s->r;

    for (; s->n_labels > 0; s->n_labels--, out++) {
        uint64_t name = nlt_read_uvarint(&r), value = nlt_read_uvarint(&r);
        nlt_rc_t rc;

        if (r.failed) {
            return nlt_index_series_cut_short(s, err);
        }
        rc = symbol(s->ix, name, &out->name, err);
        if (rc == NLT_OK) {
            rc = symbol(s->ix, value, &out->value, err);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    s->r = r;
    return NLT_OK;
}

nlt_rc_t
nlt_index_series_values(nlt_index_series_t *s, const uint64_t *names, size_t n,
                        uint64_t *out, nlt_err_t *err)
{
    nlt_reader_t r = s->r;
    uint64_t n_labels = s->n_labels;
    size_t left = n;

    memset(out, 0, n * sizeof(*out));
    for (; n_labels > 0 && left > 0; n_labels--) {
        uint64_t name = nlt_read_uvarint(&r) + 1;
        uint64_t value = nlt_read_uvarint(&r) + 1;

        for (size_t i = 0; i < n; i++) {
            if (names[i] == name && name != 0) {
                out[i] = value;
                left--;
            }
        }
    }
    s->r = r;
    s->n_labels = n_labels;
    return r.failed ? nlt_index_series_cut_short(s, err) : NLT_OK;
}

nlt_rc_t
nlt_index_series_chunks(nlt_index_series_t *s, nlt_err_t *err)
{
    nlt_skip_uvarints(&s->r, 2 * s->n_labels);
    s->n_labels = 0;
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

/* ---- the whole index ---- */

#define POLL_SYMBOLS  65536
#define POLL_SERIES   256
#define POLL_POSTINGS 4096

typedef struct {
    const nlt_index_file_t *ix;
    nlt_pool_t *pool;
    const nlt_index_check_t *check;
    uint64_t n_labels; /* of all series */
    uint64_t n_polled; /* postings since the last poll */
    bool empty_symbol; /* number 0 is the empty string */
    nlt_err_t *err;
} checker_t;

static nlt_rc_t
poll_check(const checker_t *ch)
{
    return ch->check->poll ? ch->check->poll(ch->check->ctx) : NLT_OK;
}

static nlt_rc_t
validate_symbols(checker_t *ch)
{
    const nlt_index_file_t *ix = ch->ix;
    nlt_reader_t r = nlt_reader(ix->symbols + 4, ix->symbols_len - 4);
    nlt_str_t last = {0, NULL}, s;
    nlt_rc_t rc = NLT_OK;

    for (uint64_t i = 0; rc == NLT_OK && i < ix->n_symbols; i++) {
        s = nlt_read_uvarint_str(&r);
        if (i > 0 && nlt_str_cmp(last, s) >= 0) {
            return nlt_index_corrupt(ix, (const uint8_t *) s.data,
                                     "symbols out of order", ch->err);
        }
        if (!nlt_utf8_valid(s)) {
            return nlt_index_corrupt(ix, (const uint8_t *) s.data,
                                     "symbol that is not UTF-8", ch->err);
        }
        ch->empty_symbol |= s.len == 0;
        last = s;
        if (i % POLL_SYMBOLS == 0) {
            rc = poll_check(ch);
        }
    }
    return rc;
}

/*
 * Labels of s are sorted and have a name and a value, and are greater than
 * those of prev, unless that is NULL.  Symbols ascend, so their ordinals are
 * compared.
 */
static nlt_rc_t
validate_labels(checker_t *ch, nlt_index_series_t *s, nlt_index_series_t *prev)
{
    uint64_t name, value, before = 0, b_name, b_value;
    bool first = true, greater = prev == NULL;
    nlt_rc_t rc = NLT_OK;

    if (s->n_labels == 0) {
        return bad_series(s, "no labels", ch->err);
    }
    for (; rc == NLT_OK && s->n_labels > 0; first = false, before = name) {
        ch->n_labels++;
        rc = nlt_index_series_refs(s, &name, &value, ch->err);
        if (rc != NLT_OK) {
            return rc;
        }
        if (name >= ch->ix->n_symbols || value >= ch->ix->n_symbols) {
            return bad_series(s, "reference to a symbol that is not there",
                              ch->err);
        }
        if ((ch->empty_symbol && (name == 0 || value == 0))
            || (!first && before >= name)) {
            return bad_series(s, "empty or unsorted label", ch->err);
        }
        greater |= prev != NULL && prev->n_labels == 0;
        if (!greater) {
            rc = nlt_index_series_refs(prev, &b_name, &b_value, ch->err);
            if (b_name > name || (b_name == name && b_value > value)) {
                break;
            }
            greater = b_name != name || b_value != value;
        }
    }
    return rc == NLT_OK && !greater
               ? bad_series(s, "labels not after those before", ch->err)
               : rc;
}

/* One series after `last` (when it is not 0), and its chunks. */
static nlt_rc_t
validate_series(checker_t *ch, uint32_t id, uint32_t last, uint64_t *end)
{
    nlt_index_series_t s, prev;
    nlt_rc_t rc = nlt_index_series_open(ch->ix, id, &s, ch->err);

    if (rc == NLT_OK && last) {
        rc = nlt_index_series_open(ch->ix, last, &prev, ch->err);
    }
    if (rc == NLT_OK) {
        rc = validate_labels(ch, &s, last ? &prev : NULL);
    }
    if (rc == NLT_OK) {
        rc = nlt_index_series_chunks(&s, ch->err);
    }
    if (rc == NLT_OK && s.n_chunks == 0) {
        return bad_series(&s, "no chunks", ch->err);
    }
    while (rc == NLT_OK && s.n_chunks > 0) {
        nlt_index_chunk_t c;

        rc = nlt_index_series_chunk(&s, &c, ch->err);
        if (rc == NLT_OK && ch->check->chunk) {
            rc = ch->check->chunk(ch->check->ctx, id, &c, ch->err);
        }
    }
    if (rc == NLT_OK && nlt_reader_left(&s.r) > 0) {
        return bad_series(&s, "bytes behind the chunks", ch->err);
    }
    *end = (uint64_t) (s.r.end - ch->ix->data) + 4;
    return rc;
}

static nlt_rc_t
validate_all_series(checker_t *ch)
{
    static const nlt_str_t none = {0, NULL};
    const nlt_index_file_t *ix = ch->ix;
    uint64_t end = ix->series_off;
    nlt_postings_t all;
    nlt_rc_t rc =
        nlt_index_file_postings(ix, ch->pool, none, none, &all, ch->err);

    for (size_t i = 0; rc == NLT_OK && i < all.n; i++) {
        uint64_t off = (uint64_t) all.v[i] * NLT_INDEX_SERIES_STEP;

        if (off != nlt_align_u64(end, NLT_INDEX_SERIES_STEP)) {
            return nlt_index_corrupt(ix, ix->data + end,
                                     "series that is in no postings list",
                                     ch->err);
        }
        rc = validate_series(ch, all.v[i], i ? all.v[i - 1] : 0, &end);
        if (rc == NLT_OK && i % POLL_SERIES == 0) {
            rc = poll_check(ch);
        }
    }
    return rc != NLT_OK || ix->series_end - end < NLT_INDEX_SERIES_STEP
               ? rc
               : nlt_index_corrupt(ix, ix->data + end,
                                   "bytes behind the last series", ch->err);
}

static nlt_rc_t
series_has_label(const nlt_index_file_t *ix, uint32_t id, uint64_t name,
                 uint64_t value, nlt_err_t *err)
{
    nlt_index_series_t s;
    uint64_t name_ref, value_ref;
    nlt_rc_t rc = nlt_index_series_open(ix, id, &s, err);

    while (rc == NLT_OK && s.n_labels > 0) {
        rc = nlt_index_series_refs(&s, &name_ref, &value_ref, err);
        if (rc == NLT_OK && name_ref == name) {
            return value_ref == value
                       ? NLT_OK
                       : bad_series(&s, "another value than its postings say",
                                    err);
        }
    }
    return rc == NLT_OK ? bad_series(&s, "no label as its postings say", err)
                        : rc;
}

/* Every member of the list of a pair has it; *n of them. */
static nlt_rc_t
validate_list(checker_t *ch, uint64_t name, const nlt_index_values_t *it,
              uint64_t *n)
{
    const nlt_index_file_t *ix = ch->ix;
    nlt_pool_mark_t mark = nlt_pool_mark(ch->pool);
    nlt_postings_t list;
    uint64_t value;
    nlt_rc_t rc;

    if (!nlt_index_file_find_symbol(ix, it->value, &value)) {
        return nlt_index_corrupt(ix, (const uint8_t *) it->value.data,
                                 "postings of a value that is no symbol",
                                 ch->err);
    }
    rc = nlt_index_file_postings_at(ix, ch->pool, it->postings_off, &list,
                                    ch->err);
    for (size_t k = 0; k < list.n && rc == NLT_OK; k++) {
        rc = series_has_label(ix, list.v[k], name, value, ch->err);
        if (rc == NLT_OK && ++ch->n_polled % POLL_POSTINGS == 0) {
            rc = poll_check(ch);
        }
    }
    *n += list.n;
    nlt_pool_rewind(ch->pool, mark);
    return rc;
}

/*
 * Lists are strictly ascending and pairs occur once.  If every member of
 * every list is right, and there are as many as the series have labels, then
 * none is missing either.
 */
static nlt_rc_t
validate_postings(checker_t *ch)
{
    const nlt_index_file_t *ix = ch->ix;
    uint64_t n = 0;

    for (size_t i = 0; i < nlt_index_file_n_names(ix); i++) {
        nlt_str_t text = nlt_index_file_name(ix, i);
        nlt_index_values_t it = nlt_index_file_values(ix, text);
        uint64_t name;
        nlt_rc_t rc = NLT_OK;

        if (!nlt_index_file_find_symbol(ix, text, &name)) {
            return nlt_index_corrupt(ix, (const uint8_t *) text.data,
                                     "postings of a name that is no symbol",
                                     ch->err);
        }
        while (rc == NLT_OK && nlt_index_values_next(&it)) {
            rc = validate_list(ch, name, &it, &n);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return n == ch->n_labels
               ? NLT_OK
               : nlt_err_set(ch->err, NLT_EDATA,
                             "index: series have %llu labels, postings %llu",
                             (unsigned long long) ch->n_labels,
                             (unsigned long long) n);
}

nlt_rc_t
nlt_index_file_validate(const nlt_index_file_t *ix, nlt_pool_t *pool,
                        const nlt_index_check_t *check, nlt_err_t *err)
{
    static const nlt_index_check_t nothing = {NULL, NULL, NULL};
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    checker_t ch = {
        .ix = ix,
        .pool = pool,
        .check = check ? check : &nothing,
        .err = err,
    };
    nlt_rc_t rc = validate_symbols(&ch);

    if (rc == NLT_OK) {
        rc = validate_all_series(&ch);
    }
    if (rc == NLT_OK) {
        rc = validate_postings(&ch);
    }
    nlt_pool_rewind(pool, mark);
    return rc;
}

/*
 * nlt_index_file.c - opens an index, finds symbols, values and postings.
 *
 * All tables of the file are strings of varying length behind each other, so
 * the open index notes the place of every n-th entry as an offset into its
 * section; sections have 32-bit lengths, hence offsets fit in 32 bits.
 */
#include "nlt_index_file.h"

#include "nlt_hash.h"
#include "nlt_index_file_priv.h"

static nlt_rc_t
out_of_memory(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOMEM, "out of memory opening an index");
}

nlt_rc_t
nlt_index_corrupt(const nlt_index_file_t *ix, const uint8_t *at,
                  const char *what, nlt_err_t *err)
{
    int64_t pos = at ? (int64_t) (at - ix->data) : -1;

    return nlt_err_set_at(err, NLT_EDATA, pos, "index: %s at offset %lld",
                          what, (long long) pos);
}

/*
 * The content of the section at off: be32 length, content, be32 checksum of
 * the content, all before the TOC.
 */
static nlt_rc_t
open_section(const nlt_index_file_t *ix, uint64_t off, const char *what,
             nlt_reader_t *out, nlt_err_t *err)
{
    const uint8_t *p;
    uint64_t len;

    if (off < NLT_INDEX_HEADER_BYTES || off > ix->toc_off
        || ix->toc_off - off < 8) {
        return nlt_err_set_at(err, NLT_EDATA, (int64_t) off,
                              "index: %s begins outside the file, at "
                              "offset %llu of %zu",
                              what, (unsigned long long) off, ix->len);
    }
    p = ix->data + off;
    len = nlt_be32(p);
    if (len > ix->toc_off - off - 8) {
        return nlt_err_set_at(err, NLT_EDATA, (int64_t) off,
                              "index: %s at offset %llu is said to have %llu "
                              "bytes and would leave the file",
                              what, (unsigned long long) off,
                              (unsigned long long) len);
    }
    if (nlt_crc32c(0, p + 4, len) != nlt_be32(p + 4 + len)) {
        return nlt_err_set_at(err, NLT_EDATA, (int64_t) off,
                              "index: checksum mismatch in %s at offset %llu",
                              what, (unsigned long long) off);
    }
    *out = nlt_reader(p + 4, len);
    return NLT_OK;
}

bool
nlt_index_file_ends(const nlt_index_file_t *ix)
{
    const uint8_t *toc = ix->data + ix->toc_off;

    return nlt_crc32c(0, toc, 48) == nlt_be32(toc + 48);
}

static nlt_rc_t
open_header(nlt_index_file_t *ix, nlt_err_t *err)
{
    uint64_t after[5];
    const uint8_t *toc;

    if (ix->len < NLT_INDEX_HEADER_BYTES + NLT_INDEX_TOC_BYTES) {
        return nlt_err_set(err, NLT_EDATA, "index: only %zu bytes", ix->len);
    }
    if (nlt_be32(ix->data) != NLT_INDEX_MAGIC) {
        return nlt_err_set_at(err, NLT_EDATA, 0,
                              "index: begins with %08x, not with %08x",
                              nlt_be32(ix->data), NLT_INDEX_MAGIC);
    }
    if (ix->data[4] != NLT_INDEX_VERSION) {
        return nlt_err_set_at(err, NLT_EVERSION, 4,
                              "index: format version %u, only %d can be read",
                              ix->data[4], NLT_INDEX_VERSION);
    }
    ix->toc_off = ix->len - NLT_INDEX_TOC_BYTES;
    toc = ix->data + ix->toc_off;
    if (!nlt_index_file_ends(ix)) {
        return nlt_index_corrupt(
            ix, toc, "checksum mismatch in the table of contents", err);
    }
    ix->symbols_off = nlt_be64(toc);
    ix->series_off = nlt_be64(toc + 8);
    after[0] = nlt_be64(toc + 16);
    after[1] = nlt_be64(toc + 24);
    after[2] = nlt_be64(toc + 32);
    after[3] = nlt_be64(toc + 40);
    after[4] = ix->toc_off;
    ix->table_off = after[3];
    if (ix->series_off < NLT_INDEX_HEADER_BYTES
        || ix->series_off > ix->toc_off) {
        return nlt_index_corrupt(ix, toc + 8, "series outside the file", err);
    }
    /* The series end where whatever follows them begins. */
    ix->series_end = ix->toc_off;
    for (size_t i = 0; i < NLT_COUNT(after); i++) {
        if (after[i] > ix->series_off && after[i] < ix->series_end) {
            ix->series_end = after[i];
        }
    }
    return NLT_OK;
}

static nlt_rc_t
open_symbols(nlt_index_file_t *ix, nlt_err_t *err)
{
    nlt_reader_t r;
    nlt_rc_t rc = open_section(ix, ix->symbols_off, "symbol table", &r, err);
    uint32_t n;

    if (rc != NLT_OK) {
        return rc;
    }
    ix->symbols = r.p;
    ix->symbols_len = nlt_reader_left(&r);
    n = nlt_read_be32(&r);
    if (n > nlt_reader_left(&r)) {
        return nlt_index_corrupt(ix, ix->symbols, "too many symbols", err);
    }
    ix->n_symbol_notes =
        ((size_t) n + NLT_INDEX_SYMBOLS_SPARSE - 1) / NLT_INDEX_SYMBOLS_SPARSE;
    if (ix->n_symbol_notes) {
        ix->symbol_notes =
            nlt_mem_zalloc(ix->mem, ix->n_symbol_notes * sizeof(uint32_t));
        if (ix->symbol_notes == NULL) {
            return out_of_memory(err);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (i % NLT_INDEX_SYMBOLS_SPARSE == 0) {
            ix->symbol_notes[i / NLT_INDEX_SYMBOLS_SPARSE] =
                (uint32_t) (r.p - ix->symbols);
        }
        (void) nlt_read_uvarint_str(&r);
    }
    if (r.failed || nlt_reader_left(&r) > 0) {
        return nlt_index_corrupt(ix, ix->symbols,
                                 "symbols that do not fill their table", err);
    }
    ix->n_symbols = n;
    return NLT_OK;
}

/* One entry of the table of postings; false when there is none. */
static inline bool
read_entry(nlt_reader_t *r, nlt_str_t *name, nlt_str_t *value, uint64_t *off)
{
    uint64_t n_keys = nlt_read_uvarint(r);

    *name = nlt_read_uvarint_str(r);
    *value = nlt_read_uvarint_str(r);
    *off = nlt_read_uvarint(r);
    return !r->failed && n_keys == 2;
}

/*
 * Walks the table; counts names and notes, and when `fill`, writes them into
 * arrays that a first walk has measured.
 */
static nlt_rc_t
walk_table(nlt_index_file_t *ix, nlt_reader_t r, bool fill, nlt_err_t *err)
{
    uint32_t n = nlt_read_be32(&r);
    nlt_str_t name, value, last_name = {0, NULL}, last_value = {0, NULL};
    size_t n_names = 0, n_notes = 0, n_values = 0;
    uint64_t off;

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *at = r.p;
        int c;

        if (!read_entry(&r, &name, &value, &off)) {
            return nlt_index_corrupt(ix, at, "malformed table of postings",
                                     err);
        }
        c = i ? nlt_str_cmp(last_name, name) : -1;
        if (c > 0 || (c == 0 && nlt_str_cmp(last_value, value) >= 0)) {
            return nlt_index_corrupt(ix, at, "table of postings out of order",
                                     err);
        }
        if (c != 0) {
            if (fill) {
                ix->names[n_names].name = name;
                ix->names[n_names].first = at;
                ix->names[n_names].first_note = n_notes;
            }
            n_names++;
            n_values = 0;
        }
        if (n_values % NLT_INDEX_VALUES_SPARSE == 0) {
            if (fill) {
                ix->value_notes[n_notes] = (uint32_t) (at - ix->table);
            }
            n_notes++;
        }
        n_values++;
        if (fill) {
            ix->names[n_names - 1].n_values = n_values;
        }
        last_name = name;
        last_value = value;
    }
    if (r.failed || nlt_reader_left(&r) > 0) {
        return nlt_index_corrupt(ix, ix->table,
                                 "entries that do not fill the table of "
                                 "postings",
                                 err);
    }
    ix->n_names = n_names;
    ix->n_value_notes = n_notes;
    return NLT_OK;
}

static nlt_rc_t
open_table(nlt_index_file_t *ix, nlt_err_t *err)
{
    nlt_reader_t r;
    nlt_rc_t rc =
        open_section(ix, ix->table_off, "table of postings", &r, err);

    if (rc != NLT_OK) {
        return rc;
    }
    ix->table = r.p;
    ix->table_end = r.end;
    rc = walk_table(ix, r, false, err);
    if (rc != NLT_OK || ix->n_names == 0) {
        return rc;
    }
    ix->names =
        nlt_mem_zalloc(ix->mem, ix->n_names * sizeof(nlt_index_name_t));
    ix->value_notes =
        nlt_mem_zalloc(ix->mem, ix->n_value_notes * sizeof(uint32_t));
    if (ix->names == NULL || ix->value_notes == NULL) {
        return out_of_memory(err);
    }
    return walk_table(ix, r, true, err);
}

nlt_rc_t
nlt_index_file_open(const nlt_mem_t *mem, const void *data, size_t len,
                    nlt_index_file_t **out, nlt_err_t *err)
{
    nlt_index_file_t *ix = nlt_mem_zalloc(mem, sizeof(*ix));
    nlt_rc_t rc;

    *out = NULL;
    if (ix == NULL) {
        return out_of_memory(err);
    }
    ix->mem = mem;
    ix->data = data;
    ix->len = len;
    ix->symbol_cache =
        nlt_mem_zalloc(mem, NLT_INDEX_CACHE * sizeof(*ix->symbol_cache));
    rc = ix->symbol_cache == NULL ? out_of_memory(err) : open_header(ix, err);
    if (rc == NLT_OK) {
        rc = open_symbols(ix, err);
    }
    if (rc == NLT_OK) {
        rc = open_table(ix, err);
    }
    if (rc != NLT_OK) {
        nlt_index_file_close(ix);
        return rc;
    }
    *out = ix;
    return NLT_OK;
}

void
nlt_index_file_close(nlt_index_file_t *ix)
{
    if (ix == NULL) {
        return;
    }
    nlt_mem_free(ix->mem, ix->symbol_notes,
                 ix->n_symbol_notes * sizeof(uint32_t));
    nlt_mem_free(ix->mem, (void *) (uintptr_t) ix->symbol_cache,
                 NLT_INDEX_CACHE * sizeof(*ix->symbol_cache));
    nlt_mem_free(ix->mem, ix->value_notes,
                 ix->n_value_notes * sizeof(uint32_t));
    nlt_mem_free(ix->mem, ix->names, ix->n_names * sizeof(nlt_index_name_t));
    nlt_mem_free(ix->mem, ix, sizeof(*ix));
}

size_t
nlt_index_file_n_symbols(const nlt_index_file_t *ix)
{
    return ix->n_symbols;
}

nlt_reader_t
nlt_index_file_symbols(const nlt_index_file_t *ix)
{
    return nlt_reader(ix->symbols + 4, ix->symbols_len - 4);
}

/* A reader that stands before symbol number 8 * note. */
static nlt_reader_t
symbols_from(const nlt_index_file_t *ix, size_t note)
{
    uint32_t off = ix->symbol_notes[note];

    return nlt_reader(ix->symbols + off, ix->symbols_len - off);
}

/* One that stands before symbol ref. */
static nlt_reader_t
symbol_at(const nlt_index_file_t *ix, uint64_t ref)
{
    nlt_reader_t r = symbols_from(ix, (size_t) ref / NLT_INDEX_SYMBOLS_SPARSE);

    for (uint64_t i = ref % NLT_INDEX_SYMBOLS_SPARSE; i > 0; i--) {
        /* Nearly all are short. */
        if (nlt_likely(nlt_reader_left(&r) > 128 && *r.p < 128)) {
            r.p += *r.p + 1;
        } else {
            (void) nlt_read_uvarint_str(&r);
        }
    }
    return r;
}

nlt_rc_t
nlt_index_file_symbol(const nlt_index_file_t *ix, uint64_t ref, nlt_str_t *out,
                      nlt_err_t *err)
{
    nlt_reader_t r;

    if (nlt_index_symbol_cached(ix, ref, out)) {
        return NLT_OK;
    }
    if (ref >= ix->n_symbols) {
        return nlt_err_set(err, NLT_EDATA,
                           "index: reference to symbol %llu of %zu",
                           (unsigned long long) ref, ix->n_symbols);
    }
    r = symbol_at(ix, ref);
    atomic_store_explicit(&ix->symbol_cache[ref % NLT_INDEX_CACHE],
                          (ref + 1) << 32 | (uint64_t) (r.p - ix->symbols),
                          memory_order_relaxed);
    *out = nlt_read_uvarint_str(&r);
    return NLT_OK; /* the open index has seen that they fill their table */
}

bool
nlt_index_file_find_symbol(const nlt_index_file_t *ix, nlt_str_t s,
                           uint64_t *ref)
{
    size_t lo = 0, hi = ix->n_symbol_notes;
    nlt_reader_t r;

    /* The last note whose symbol is not greater than s. */
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        r = symbols_from(ix, mid);
        if (nlt_str_cmp(nlt_read_uvarint_str(&r), s) <= 0) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    if (hi == 0) {
        return false;
    }
    r = symbols_from(ix, lo);
    for (size_t i = lo * NLT_INDEX_SYMBOLS_SPARSE,
                end = i + NLT_INDEX_SYMBOLS_SPARSE;
         i < ix->n_symbols && i < end; i++) {
        if (nlt_str_eq(nlt_read_uvarint_str(&r), s)) {
            *ref = i;
            return true;
        }
    }
    return false;
}

/* The first names[] entry is the empty name of "all series", if any is. */
static size_t
first_name(const nlt_index_file_t *ix)
{
    return ix->n_names > 0 && ix->names[0].name.len == 0;
}

size_t
nlt_index_file_n_names(const nlt_index_file_t *ix)
{
    return ix->n_names - first_name(ix);
}

nlt_str_t
nlt_index_file_name(const nlt_index_file_t *ix, size_t idx)
{
    return ix->names[first_name(ix) + idx].name;
}

static const nlt_index_name_t *
find_name(const nlt_index_file_t *ix, nlt_str_t name)
{
    size_t lo = 0, hi = ix->n_names;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = nlt_str_cmp(ix->names[mid].name, name);

        if (c == 0) {
            return &ix->names[mid];
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

size_t
nlt_index_file_n_values(const nlt_index_file_t *ix, nlt_str_t name)
{
    const nlt_index_name_t *n = find_name(ix, name);

    return n ? n->n_values : 0;
}

nlt_index_values_t
nlt_index_file_values(const nlt_index_file_t *ix, nlt_str_t name)
{
    const nlt_index_name_t *n = find_name(ix, name);
    nlt_index_values_t it = {.left = 0};

    if (n) {
        it.r = nlt_reader(n->first, (size_t) (ix->table_end - n->first));
        it.left = n->n_values;
    }
    return it;
}

bool
nlt_index_values_next(nlt_index_values_t *it)
{
    nlt_str_t name;

    if (it->left == 0) {
        return false;
    }
    it->left--;
    return read_entry(&it->r, &name, &it->value, &it->postings_off);
}

uint64_t
nlt_index_file_find_postings(const nlt_index_file_t *ix, nlt_str_t name,
                             nlt_str_t value)
{
    const nlt_index_name_t *n = find_name(ix, name);
    size_t lo = 0, hi;
    nlt_index_values_t it;

    if (n == NULL) {
        return 0;
    }
    hi = (n->n_values + NLT_INDEX_VALUES_SPARSE - 1) / NLT_INDEX_VALUES_SPARSE;
    for (;;) {
        size_t mid = lo + (hi - lo) / 2;
        const uint8_t *p = ix->table + ix->value_notes[n->first_note + mid];

        it.r = nlt_reader(p, (size_t) (ix->table_end - p));
        it.left = n->n_values - mid * NLT_INDEX_VALUES_SPARSE;
        if (hi - lo == 1) {
            break;
        }
        if (!nlt_index_values_next(&it)) {
            return 0;
        }
        if (nlt_str_cmp(it.value, value) <= 0) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    for (size_t i = 0; i < NLT_INDEX_VALUES_SPARSE; i++) {
        int c;

        if (!nlt_index_values_next(&it)) {
            return 0;
        }
        c = nlt_str_cmp(it.value, value);
        if (c >= 0) {
            return c == 0 ? it.postings_off : 0;
        }
    }
    return 0;
}

size_t
nlt_index_file_postings_n(const nlt_index_file_t *ix, uint64_t postings_off)
{
    /* Length, number, numbers: see postings_at(). */
    return postings_off < NLT_INDEX_HEADER_BYTES
                   || postings_off > ix->toc_off - 8
               ? 0
               : nlt_be32(ix->data + postings_off + 4);
}

nlt_rc_t
nlt_index_file_postings(const nlt_index_file_t *ix, nlt_pool_t *pool,
                        nlt_str_t name, nlt_str_t value, nlt_postings_t *out,
                        nlt_err_t *err)
{
    uint64_t off = nlt_index_file_find_postings(ix, name, value);

    *out = (nlt_postings_t){NULL, 0};
    return off ? nlt_index_file_postings_at(ix, pool, off, out, err) : NLT_OK;
}

nlt_rc_t
nlt_index_file_postings_at(const nlt_index_file_t *ix, nlt_pool_t *pool,
                           uint64_t postings_off, nlt_postings_t *out,
                           nlt_err_t *err)
{
    nlt_reader_t r;
    nlt_rc_t rc = open_section(ix, postings_off, "postings list", &r, err);
    uint32_t n, *v, last = 0;
    bool bad = false;

    *out = (nlt_postings_t){NULL, 0};
    if (rc != NLT_OK) {
        return rc;
    }
    n = nlt_read_be32(&r);
    if (nlt_reader_left(&r) != (size_t) n * 4) {
        return nlt_index_corrupt(ix, ix->data + postings_off,
                                 "postings list of the wrong length", err);
    }
    v = nlt_pool_array(pool, n, sizeof(uint32_t));
    if (v == NULL) {
        return nlt_err_set(err, NLT_ENOMEM,
                           "out of memory for %u series of an index", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        v[i] = nlt_be32(r.p + (size_t) i * 4);
        /* No series has number 0: the header is there. */
        bad |= v[i] <= last;
        last = v[i];
    }
    if (bad) {
        return nlt_index_corrupt(ix, ix->data + postings_off,
                                 "postings list out of order", err);
    }
    *out = (nlt_postings_t){v, n};
    return NLT_OK;
}

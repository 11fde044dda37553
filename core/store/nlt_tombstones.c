/*
 * nlt_tombstones.c - tombstones, read and written.
 */
#include "nlt_tombstones.h"

#include "nlt_bytes.h"
#include "nlt_hash.h"
#include "nlt_sort.h"

#define MAGIC      0x0130ba30u
#define VERSION    1
#define HEADER_LEN 5
#define CRC_LEN    4

typedef struct {
    uint32_t id;
    nlt_interval_t interval;
} entry_t;

static bool
id_before(const entry_t *a, const entry_t *b, const void *ctx)
{
    (void) ctx;
    return a->id < b->id;
}

NLT_HEAP_SORT(sort_entries, entry_t, id_before);

/* Magic, version, checksum; leaves the entries in r. */
static nlt_rc_t
check_frame(nlt_reader_t *r, nlt_err_t *err)
{
    uint32_t magic = nlt_read_be32(r);
    uint8_t version = nlt_read_u8(r);

    if (r->failed || magic != MAGIC) {
        return nlt_err_set(err, NLT_EDATA, "tombstones: begins with %08x",
                           magic);
    }
    if (version != VERSION) {
        return nlt_err_set(err, NLT_EVERSION,
                           "tombstones: format version %u, only %d can be "
                           "read",
                           version, VERSION);
    }
    if (nlt_reader_left(r) < CRC_LEN
        || nlt_crc32c(0, r->p, nlt_reader_left(r) - CRC_LEN)
               != nlt_be32(r->end - CRC_LEN)) {
        return nlt_err_set(err, NLT_EDATA, "tombstones: checksum mismatch");
    }
    r->end -= CRC_LEN;
    return NLT_OK;
}

/* The next entry; false: it deletes nothing. */
static bool
next_entry(nlt_reader_t *r, entry_t *e)
{
    uint64_t id = nlt_read_uvarint(r);

    e->interval.t_min_ms = nlt_read_varint(r);
    e->interval.t_max_ms = nlt_read_varint(r);
    e->id = (uint32_t) id;
    return !r->failed && id <= UINT32_MAX
           && e->interval.t_min_ms <= e->interval.t_max_ms;
}

/* Counts the entries, all and those that delete something. */
static nlt_rc_t
count(nlt_reader_t r, size_t *n, nlt_err_t *err)
{
    size_t all = 0;
    entry_t e;

    *n = 0;
    while (nlt_reader_left(&r) > 0) {
        *n += next_entry(&r, &e);
        all++;
    }
    if (r.failed) {
        return nlt_err_set(err, NLT_EDATA, "tombstones: an entry is cut off");
    }
    return all <= NLT_TOMBSTONES_MAX
               ? NLT_OK
               : nlt_err_set(err, NLT_ELIMIT, "tombstones: more than %u",
                             NLT_TOMBSTONES_MAX);
}

/* Entries in order of series become runs of joined intervals. */
static void
group(const entry_t *e, size_t n, nlt_tombstones_t *t)
{
    size_t at = 0;

    for (size_t i = 0; i < n;) {
        size_t from = at, k = 0;

        t->id[t->n] = e[i].id;
        t->first[t->n++] = from;
        for (; i < n && e[i].id == t->id[t->n - 1]; i++) {
            t->v[from + k++] = e[i].interval;
        }
        at = from + nlt_intervals_join(t->v + from, k);
    }
    t->first[t->n] = at;
}

nlt_rc_t
nlt_tombstones_parse(nlt_pool_t *pool, nlt_str_t bytes, nlt_tombstones_t *out,
                     nlt_err_t *err)
{
    nlt_reader_t r = nlt_reader(bytes.data, bytes.len);
    nlt_rc_t rc = check_frame(&r, err);
    nlt_tombstones_t t = {.n = 0};
    nlt_pool_mark_t mark;
    size_t n = 0, i = 0;
    entry_t *e;

    *out = t;
    if (rc == NLT_OK) {
        rc = count(r, &n, err);
    }
    if (rc != NLT_OK || n == 0) {
        return rc;
    }
    t.id = nlt_pool_array(pool, n, sizeof(*t.id));
    t.first = nlt_pool_array(pool, n + 1, sizeof(*t.first));
    t.v = nlt_pool_array(pool, n, sizeof(*t.v));
    mark = nlt_pool_mark(pool);
    e = nlt_pool_array(pool, n, sizeof(*e));
    if (t.id == NULL || t.first == NULL || t.v == NULL || e == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "tombstones: out of memory");
    }
    while (i < n) {
        i += next_entry(&r, &e[i]);
    }
    sort_entries(e, n, NULL);
    group(e, n, &t);
    nlt_pool_rewind(pool, mark);
    *out = t;
    return NLT_OK;
}

const nlt_interval_t *
nlt_tombstones_of(const nlt_tombstones_t *t, uint32_t id, size_t *n)
{
    size_t lo = 0, hi = t->n;

    *n = 0;
    while (hi > lo) {
        size_t mid = lo + (hi - lo) / 2;

        if (t->id[mid] < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == t->n || t->id[lo] != id) {
        return NULL;
    }
    *n = t->first[lo + 1] - t->first[lo];
    return t->v + t->first[lo];
}

/* ---- writing ---- */

void
nlt_tombstones_begin(nlt_buf_t *out)
{
    nlt_buf_add_be32(out, MAGIC);
    nlt_buf_add_byte(out, VERSION);
}

void
nlt_tombstones_add(nlt_buf_t *out, uint32_t id, const nlt_interval_t *interval)
{
    nlt_buf_add_uvarint(out, id);
    nlt_buf_add_varint(out, interval->t_min_ms);
    nlt_buf_add_varint(out, interval->t_max_ms);
}

void
nlt_tombstones_end(nlt_buf_t *out)
{
    if (out->rc == NLT_OK) {
        nlt_buf_add_be32(
            out, nlt_crc32c(0, out->data + HEADER_LEN, out->len - HEADER_LEN));
    }
}

/*
 * nlt_compact.c - which series and symbols stay, and the merge by labels.
 *
 * Each source is walked twice, in the order of its index.  The first walk
 * finds out what stays: a bit for each series that does not, a mark for each
 * symbol that is used.  The marks then become ordinals in the result: the
 * tables of symbols are sorted, so they are merged side by side.  With them a
 * label set is a short list of numbers that compares like its strings and
 * that the writer of the index takes as it is.
 */
#include "nlt_compact.h"

#include <errno.h>
#include <fcntl.h>

#include "nlt_compact_priv.h"
#include "nlt_flush.h"
#include "nlt_limits.h"
#include "nlt_sort.h"

#define UNUSED     UINT32_MAX /* in rank[] */
#define POLL_WORK  256        /* series and chunks */
#define NAME_TRIES 1000

typedef struct {
    const nlt_block_t *block;
    const nlt_manifest_block_t *info;
    nlt_compact_rules_t rules;
    nlt_index_span_t span;
    uint8_t *gone;  /* bit by number - span.first: nothing stays; NULL: none */
    uint32_t *rank; /* of each symbol: UNUSED, or its ordinal in the result */

    /* The second walk. */
    nlt_index_series_t s; /* stands behind the labels */
    uint32_t next;        /* the one after it; 0: none */
    bool has;
    uint32_t *vec;  /* ordinals of name, value, ..: room for vec_cap */
    uint32_t *last; /* of the series before, likewise */
    size_t n_vec;
    size_t n_last;
    size_t vec_cap;
} source_t;

typedef struct {
    const nlt_compact_conf_t *conf;
    source_t *src;
    size_t n;
    size_t damaged;
    nlt_err_t *err;
    nlt_cutter_t cutter;
    nlt_pool_t keep;
    nlt_samples_t samples;
    int64_t t_min_ms; /* of the result; max < min: nothing */
    int64_t t_max_ms;
    nlt_compact_chunks_t chunks;
    nlt_compact_chunk_t *in; /* of the series in hand */
    size_t n_in;
    size_t in_cap;
    nlt_buf_t dead;  /* nlt_interval_t: tombstones of it */
    uint32_t *group; /* sources that have it */
    uint64_t polled;
} compact_t;

static nlt_rc_t
no_memory(compact_t *c)
{
    return nlt_err_set(c->err, NLT_ENOMEM, "compaction: no memory");
}

static nlt_rc_t
poll_work(compact_t *c, uint64_t work)
{
    uint64_t before = c->polled / POLL_WORK;
    nlt_rc_t rc = NLT_OK;

    c->polled += work;
    if (c->conf->poll && c->polled / POLL_WORK != before) {
        rc = c->conf->poll(c->conf->poll_ctx);
    }
    return rc == NLT_OK ? rc
                        : nlt_err_set(c->err, rc, "compaction interrupted");
}

/* A failure while reading source i. */
static nlt_rc_t
failed(compact_t *c, const source_t *s, nlt_rc_t rc)
{
    if (rc == NLT_EDATA) {
        c->damaged = (size_t) (s - c->src);
        return nlt_block_done(s->block, rc, c->err);
    }
    return rc;
}

/* Was all there that was read of the sources? */
static nlt_rc_t
check_sources(compact_t *c)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; i < c->n && rc == NLT_OK; i++) {
        rc = nlt_block_intact(c->src[i].block, c->err);
        c->damaged = rc == NLT_OK ? c->damaged : i;
    }
    return rc;
}

static nlt_rc_t
malformed(compact_t *c, const source_t *s, const char *what)
{
    return failed(c, s,
                  nlt_err_set(c->err, NLT_EDATA, "index: %s in series %u",
                              what, s->s.id));
}

/* ---- first walk ---- */

/* Counts what is left of a chunk into the result's times. */
static nlt_rc_t
scan_chunk(compact_t *c, source_t *s, const nlt_index_chunk_t *chunk,
           bool *stays)
{
    int64_t t_min = chunk->t_min_ms, t_max = chunk->t_max_ms;
    nlt_chunk_view_t view;
    nlt_rc_t rc;

    switch (nlt_compact_rules_chunk(&s->rules, &t_min, &t_max)) {
    case NLT_COMPACT_CHUNK_GONE:
        return NLT_OK;
    case NLT_COMPACT_CHUNK_STAYS:
        break;
    case NLT_COMPACT_CHUNK_CUT:
        rc = nlt_block_get_chunk(s->block, chunk, &view, c->err);
        if (rc != NLT_OK) {
            return rc;
        }
        t_min = chunk->t_min_ms;
        t_max = chunk->t_max_ms;
        if (!nlt_chunk_is_float(view.encoding)) {
            break;
        }
        c->samples.n = 0;
        rc = nlt_block_decode_chunk(chunk, &view, &c->samples, c->err);
        if (rc != NLT_OK) {
            return rc;
        }
        nlt_intervals_cut(s->rules.v, s->rules.n, &c->samples, 0);
        if (c->samples.n == 0) {
            return NLT_OK;
        }
        t_min = c->samples.t_ms[0];
        t_max = c->samples.t_ms[c->samples.n - 1];
    }
    *stays = true;
    c->t_min_ms = nlt_min_i64(c->t_min_ms, t_min);
    c->t_max_ms = nlt_max_i64(c->t_max_ms, t_max);
    return NLT_OK;
}

static nlt_rc_t
set_gone(compact_t *c, source_t *s, uint32_t id)
{
    uint32_t at = id - s->span.first;

    if (s->gone == NULL) {
        s->gone =
            nlt_pool_zalloc(&c->keep, (s->span.end - s->span.first) / 8 + 1);
        if (s->gone == NULL) {
            return no_memory(c);
        }
    }
    s->gone[at / 8] |= (uint8_t) (1u << at % 8);
    return NLT_OK;
}

static bool
is_gone(const source_t *s, uint32_t id)
{
    uint32_t at = id - s->span.first;

    return s->gone && (s->gone[at / 8] >> at % 8 & 1);
}

/* Does the first label of the series stay behind? */
static bool
strips(const compact_t *c)
{
    return c->conf->tenant != NULL && *c->conf->tenant != 0;
}

/* Marks the symbols of a series whose labels come next. */
static nlt_rc_t
mark_symbols(compact_t *c, source_t *s, nlt_index_series_t *at)
{
    size_t n = nlt_index_file_n_symbols(s->block->index);
    bool skip = strips(c);

    while (at->n_labels > 0) {
        uint64_t name, value;
        nlt_rc_t rc = nlt_index_series_refs(at, &name, &value, c->err);

        if (rc != NLT_OK) {
            return failed(c, s, rc);
        }
        if (name >= n || value >= n) {
            return malformed(c, s, "reference to no symbol");
        }
        if (skip) {
            skip = false;
            continue;
        }
        s->rank[name] = s->rank[value] = 0;
    }
    return NLT_OK;
}

/* The series s->next; steps to the one after it. */
static nlt_rc_t
scan_series(compact_t *c, source_t *s)
{
    uint32_t id = s->next;
    nlt_rc_t rc = nlt_index_series_open(s->block->index, id, &s->s, c->err);
    nlt_index_series_t labels = s->s;
    bool stays = false, wanted = nlt_compact_rules_want(&s->rules, id);
    uint64_t work = 1;

    if (rc == NLT_OK) {
        s->next = nlt_index_series_next(&s->s);
        rc = nlt_index_series_chunks(&s->s, c->err);
    }
    nlt_compact_rules_series(&s->rules, id);
    while (rc == NLT_OK && wanted && s->s.n_chunks > 0) {
        nlt_index_chunk_t chunk;

        rc = nlt_index_series_chunk(&s->s, &chunk, c->err);
        if (rc == NLT_OK) {
            rc = scan_chunk(c, s, &chunk, &stays);
        }
        work += s->rules.n > 0;
    }
    if (rc != NLT_OK) {
        return failed(c, s, rc);
    }
    rc = stays ? mark_symbols(c, s, &labels) : set_gone(c, s, id);
    return rc == NLT_OK ? poll_work(c, work) : rc;
}

static nlt_rc_t
scan_source(compact_t *c, source_t *s, const nlt_compact_source_t *given)
{
    size_t n = nlt_index_file_n_symbols(given->block->index);
    nlt_rc_t rc;

    s->block = given->block;
    s->info = &given->info;
    s->span = nlt_index_file_span(s->block->index);
    rc = nlt_compact_rules_init(&s->rules, &c->cutter, given, c->conf,
                                &c->keep, c->err);
    if (rc != NLT_OK) {
        return failed(c, s, rc);
    }
    s->rank = nlt_pool_array(&c->keep, n, sizeof(*s->rank));
    if (s->rank == NULL) {
        return no_memory(c);
    }
    memset(s->rank, 0xff, n * sizeof(*s->rank));
    s->next = nlt_index_file_first(s->block->index);
    while (rc == NLT_OK && s->next) {
        rc = scan_series(c, s);
    }
    return rc;
}

/* ---- symbols ---- */

/* Stands on a symbol of a source that is used. */
typedef struct {
    nlt_reader_t r;
    size_t i; /* of the one after it */
    size_t n;
    nlt_str_t s;
    bool has;
} symbols_t;

static nlt_rc_t
next_symbol(compact_t *c, const source_t *s, symbols_t *y)
{
    y->has = false;
    while (y->i < y->n && !y->has) {
        nlt_str_t last = y->s;

        y->s = nlt_read_uvarint_str(&y->r);
        if (y->r.failed || (y->i > 0 && nlt_str_cmp(last, y->s) >= 0)) {
            return failed(c, s,
                          nlt_err_set(c->err, NLT_EDATA,
                                      "index: symbol %zu out of order", y->i));
        }
        y->has = s->rank[y->i++] != UNUSED;
    }
    return NLT_OK;
}

/* Makes ordinals of the marks and appends the symbols, each once, to out. */
static nlt_rc_t
rank_symbols(compact_t *c, nlt_buf_t *out)
{
    symbols_t *y = nlt_pool_array(&c->keep, c->n, sizeof(*y));
    nlt_rc_t rc = y ? NLT_OK : no_memory(c);
    uint32_t ordinal = 0;

    for (size_t i = 0; i < c->n && rc == NLT_OK; i++) {
        y[i] =
            (symbols_t){.r = nlt_index_file_symbols(c->src[i].block->index),
                        .n = nlt_index_file_n_symbols(c->src[i].block->index)};
        rc = next_symbol(c, &c->src[i], &y[i]);
    }
    while (rc == NLT_OK) {
        nlt_str_t min = {0, NULL};
        bool any = false;

        for (size_t i = 0; i < c->n; i++) {
            if (y[i].has && (!any || nlt_str_cmp(y[i].s, min) < 0)) {
                min = y[i].s;
                any = true;
            }
        }
        if (!any) {
            break;
        }
        nlt_buf_add(out, &min, sizeof(min));
        for (size_t i = 0; i < c->n && rc == NLT_OK; i++) {
            if (y[i].has && nlt_str_eq(y[i].s, min)) {
                c->src[i].rank[y[i].i - 1] = ordinal;
                rc = next_symbol(c, &c->src[i], &y[i]);
            }
        }
        if (rc == NLT_OK) {
            rc = ++ordinal % 64 == 0 ? poll_work(c, 1) : NLT_OK;
        }
    }
    return rc == NLT_OK && out->rc != NLT_OK ? no_memory(c) : rc;
}

static nlt_rc_t
write_symbols(compact_t *c, nlt_block_writer_t *w)
{
    nlt_buf_t out;
    nlt_rc_t rc;

    nlt_buf_init(&out, c->conf->env->mem, SIZE_MAX / 4);
    rc = rank_symbols(c, &out);
    if (rc == NLT_OK) {
        const void *symbols = out.data;

        rc = nlt_block_writer_symbols(w, symbols, out.len / sizeof(nlt_str_t),
                                      c->err);
    }
    nlt_buf_deinit(&out);
    return rc;
}

/* ---- second walk ---- */

static int
cmp_vec(const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
    for (size_t i = 0; i < na && i < nb; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return (na > nb) - (na < nb);
}

static nlt_rc_t
reserve_vec(compact_t *c, source_t *s, uint64_t n)
{
    size_t cap = s->vec_cap ? s->vec_cap : 64;

    while (cap < n) {
        cap *= 2;
    }
    if (cap > s->vec_cap) {
        uint32_t *vec = nlt_pool_grow(
            &c->keep, s->vec, s->vec_cap * sizeof(*vec), cap * sizeof(*vec));
        uint32_t *last = nlt_pool_grow(
            &c->keep, s->last, s->vec_cap * sizeof(*vec), cap * sizeof(*vec));

        if (vec == NULL || last == NULL) {
            return no_memory(c);
        }
        s->vec = vec;
        s->last = last;
        s->vec_cap = cap;
    }
    return NLT_OK;
}

/* Reads the labels of the series that s->s has opened. */
static nlt_rc_t
read_labels(compact_t *c, source_t *s)
{
    uint32_t *swap = s->last;
    bool skip = strips(c);
    size_t n = 0;
    nlt_rc_t rc;

    s->last = s->vec;
    s->n_last = s->n_vec;
    s->vec = swap;
    rc = reserve_vec(c, s, 2 * s->s.n_labels);
    while (rc == NLT_OK && s->s.n_labels > 0) {
        uint64_t name, value;

        rc = nlt_index_series_refs(&s->s, &name, &value, c->err);
        if (rc != NLT_OK) {
            return failed(c, s, rc);
        }
        if (skip) {
            skip = false;
            continue;
        }
        /* In range, as the first walk has seen. */
        s->vec[n++] = s->rank[name];
        s->vec[n++] = s->rank[value];
        if (n > 2 && s->vec[n - 2] <= s->vec[n - 4]) {
            return malformed(c, s, "labels out of order");
        }
    }
    s->n_vec = n;
    if (rc == NLT_OK
        && (n == 0 || cmp_vec(s->last, s->n_last, s->vec, n) >= 0)) {
        return malformed(c, s, "no labels, or not after those before,");
    }
    return rc;
}

/* Goes to the next series that stays. */
static nlt_rc_t
advance(compact_t *c, source_t *s)
{
    s->has = false;
    while (s->next && !s->has) {
        nlt_rc_t rc =
            nlt_index_series_open(s->block->index, s->next, &s->s, c->err);

        if (rc != NLT_OK) {
            return failed(c, s, rc);
        }
        s->has = !is_gone(s, s->next);
        s->next = nlt_index_series_next(&s->s);
    }
    return s->has ? read_labels(c, s) : NLT_OK;
}

/* The sources whose series is the least of all; returns how many. */
static size_t
least(compact_t *c)
{
    const source_t *min = NULL;
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        const source_t *s = &c->src[i];
        int cmp = !s->has ? 1
                  : min   ? cmp_vec(s->vec, s->n_vec, min->vec, min->n_vec)
                          : -1;

        if (cmp < 0) {
            min = s;
            n = 0;
        }
        if (cmp <= 0) {
            c->group[n++] = (uint32_t) i;
        }
    }
    return n;
}

static bool
reserve_in(compact_t *c, size_t n)
{
    if (n > c->in_cap) {
        size_t cap = c->in_cap ? c->in_cap : 64;

        while (cap < n) {
            cap *= 2;
        }
        nlt_compact_chunk_t *v = nlt_pool_grow(
            &c->keep, c->in, c->in_cap * sizeof(*v), cap * sizeof(*v));

        if (v == NULL) {
            return false;
        }
        c->in = v;
        c->in_cap = cap;
    }
    return true;
}

/* Histograms cannot be cut: what is deleted of one becomes tombstones. */
static nlt_rc_t
add_dead(compact_t *c, const source_t *s, const nlt_index_chunk_t *chunk)
{
    for (size_t i = 0; i < s->rules.n; i++) {
        nlt_interval_t iv = {
            nlt_max_i64(s->rules.v[i].t_min_ms, chunk->t_min_ms),
            nlt_min_i64(s->rules.v[i].t_max_ms, chunk->t_max_ms)};

        if (iv.t_min_ms <= iv.t_max_ms) {
            nlt_buf_add(&c->dead, &iv, sizeof(iv));
        }
    }
    return c->dead.rc == NLT_OK ? NLT_OK : no_memory(c);
}

/* Adds the chunk that the index names, unless nothing of it stays. */
static nlt_rc_t
gather_chunk(compact_t *c, const source_t *s, const nlt_index_chunk_t *chunk)
{
    nlt_compact_chunk_t *in = &c->in[c->n_in];
    nlt_compact_fate_t fate;
    nlt_rc_t rc;

    *in = (nlt_compact_chunk_t){.c = *chunk,
                                .t_min_ms = chunk->t_min_ms,
                                .t_max_ms = chunk->t_max_ms,
                                .source = (uint32_t) (s - c->src),
                                .ours = s->block->meta.ours};
    fate = nlt_compact_rules_chunk(&s->rules, &in->t_min_ms, &in->t_max_ms);
    if (fate == NLT_COMPACT_CHUNK_GONE) {
        return NLT_OK;
    }
    rc = nlt_block_get_chunk(s->block, chunk, &in->view, c->err);
    if (rc != NLT_OK) {
        return rc;
    }
    in->n_samples = in->view.data.len < 3 ? 0 : nlt_be16(in->view.data.data);
    if (in->n_samples == 0) {
        return nlt_err_set(c->err, NLT_EDATA,
                           "chunk of encoding %u with %u samples",
                           in->view.encoding, in->n_samples);
    }
    if (fate == NLT_COMPACT_CHUNK_CUT
        && !nlt_chunk_is_float(in->view.encoding)) {
        in->t_min_ms = chunk->t_min_ms;
        in->t_max_ms = chunk->t_max_ms;
        rc = add_dead(c, s, chunk);
        if (rc != NLT_OK) {
            return rc;
        }
    } else if (fate == NLT_COMPACT_CHUNK_CUT) {
        in->cuts = s->rules.v;
        in->n_cuts = s->rules.n;
    }
    c->n_in++;
    return NLT_OK;
}

static nlt_rc_t
gather_source(compact_t *c, source_t *s)
{
    nlt_rc_t rc = nlt_index_series_chunks(&s->s, c->err);

    if (rc == NLT_OK && !reserve_in(c, c->n_in + (size_t) s->s.n_chunks)) {
        return no_memory(c);
    }
    nlt_compact_rules_series(&s->rules, s->s.id);
    while (rc == NLT_OK && s->s.n_chunks > 0) {
        nlt_index_chunk_t chunk;

        rc = nlt_index_series_chunk(&s->s, &chunk, c->err);
        if (rc == NLT_OK) {
            rc = gather_chunk(c, s, &chunk);
        }
    }
    return failed(c, s, rc);
}

static bool
chunk_less(const nlt_compact_chunk_t *a, const nlt_compact_chunk_t *b,
           const void *ctx)
{
    (void) ctx;
    return a->t_min_ms != b->t_min_ms ? a->t_min_ms < b->t_min_ms
                                      : a->source < b->source;
}

NLT_HEAP_SORT(sort_chunks, nlt_compact_chunk_t, chunk_less);

static void
sort_in(compact_t *c)
{
    for (size_t i = 1; i < c->n_in; i++) {
        if (chunk_less(&c->in[i], &c->in[i - 1], NULL)) {
            sort_chunks(c->in, c->n_in, NULL);
            return;
        }
    }
}

static nlt_rc_t
write_series(compact_t *c, nlt_block_writer_t *w, size_t n_group)
{
    const source_t *first = &c->src[c->group[0]];
    nlt_rc_t rc = NLT_OK;

    c->n_in = 0;
    nlt_buf_reset(&c->dead);
    for (size_t i = 0; i < n_group && rc == NLT_OK; i++) {
        rc = gather_source(c, &c->src[c->group[i]]);
    }
    if (rc == NLT_OK) {
        sort_in(c);
        rc = nlt_compact_chunks_merge(&c->chunks, c->in, c->n_in);
        if (rc == NLT_EDATA) {
            rc = failed(c, &c->src[c->chunks.damaged], rc);
        }
    }
    if (rc == NLT_OK) {
        rc = nlt_block_writer_refs(w, first->vec, first->n_vec / 2,
                                   c->chunks.out, c->chunks.n_out, c->err);
    }
    for (size_t at = 0; at < c->dead.len && rc == NLT_OK;
         at += sizeof(nlt_interval_t)) {
        nlt_interval_t iv;

        memcpy(&iv, c->dead.data + at, sizeof(iv));
        rc = nlt_block_writer_tombstone(w, &iv, c->err);
    }
    return rc == NLT_OK ? poll_work(c, 1 + c->n_in) : rc;
}

static nlt_rc_t
write_all(compact_t *c, nlt_block_writer_t *w)
{
    nlt_rc_t rc = write_symbols(c, w);
    size_t n;

    for (size_t i = 0; i < c->n && rc == NLT_OK; i++) {
        c->src[i].next = nlt_index_file_first(c->src[i].block->index);
        rc = advance(c, &c->src[i]);
    }
    while (rc == NLT_OK && (n = least(c)) > 0) {
        rc = write_series(c, w, n);
        for (size_t i = 0; i < n && rc == NLT_OK; i++) {
            rc = advance(c, &c->src[c->group[i]]);
        }
    }
    return rc;
}

/* ---- the block ---- */

static bool
ulid_less(const nlt_ulid_t *a, const nlt_ulid_t *b, const void *ctx)
{
    (void) ctx;
    return strcmp(a->c, b->c) < 0;
}

NLT_HEAP_SORT(sort_ulids, nlt_ulid_t, ulid_less);

/*
 * Parents are the sources; the fresh blocks that these were made of are the
 * result's.  When there are more than the format's reader takes, the oldest
 * are left out.
 */
static nlt_rc_t
set_lineage(compact_t *c, nlt_block_meta_t *meta)
{
    size_t n = 0, k = 0;
    nlt_ulid_t *v;

    for (size_t i = 0; i < c->n; i++) {
        n += c->src[i].block->meta.n_sources + 1;
    }
    v = nlt_pool_array(&c->keep, n, sizeof(*v));
    meta->parents = nlt_pool_array(&c->keep, c->n, sizeof(*v));
    if (v == NULL || meta->parents == NULL) {
        return no_memory(c);
    }
    n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const nlt_block_meta_t *m = &c->src[i].block->meta;

        meta->parents[i] = m->ulid;
        if (m->n_sources == 0) {
            v[n++] = m->ulid;
        }
        for (size_t s = 0; s < m->n_sources; s++) {
            v[n++] = m->sources[s];
        }
    }
    sort_ulids(v, n, NULL);
    for (size_t i = 0; i < n; i++) {
        if (k == 0 || strcmp(v[k - 1].c, v[i].c) != 0) {
            v[k++] = v[i];
        }
    }
    meta->n_parents = c->n;
    meta->n_sources = k < NLT_BLOCK_SOURCES_MAX ? k : NLT_BLOCK_SOURCES_MAX;
    meta->sources = v + (k - meta->n_sources);
    return NLT_OK;
}

/* A name that nothing has: a clock that stands still gives none anew. */
static nlt_rc_t
choose_name(compact_t *c, nlt_block_meta_t *meta)
{
    const nlt_io_t *io = c->conf->env->io;

    for (int64_t i = 0; i < NAME_TRIES; i++) {
        int fd;

        nlt_flush_ulid(c->conf->store_id, meta->arena, meta->t_min_ms,
                       c->conf->now_ms + i, &meta->ulid);
        fd = io->open(io->ctx, c->conf->blocks_fd, meta->ulid.c,
                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (fd == -ENOENT) {
            return NLT_OK;
        }
        if (fd < 0) {
            return nlt_err_set_errno(c->err, NLT_EIO, -fd,
                                     "compaction: cannot look for %s",
                                     meta->ulid.c);
        }
        (void) io->close(io->ctx, fd);
    }
    return nlt_err_set(c->err, NLT_EBUG, "compaction: no name is free");
}

static nlt_rc_t
write_block(compact_t *c, nlt_block_meta_t *meta)
{
    nlt_block_writer_t *w = NULL;
    nlt_rc_t rc;

    for (size_t i = 0; i < c->n; i++) {
        meta->arena = c->src[i].info->arena > meta->arena
                          ? c->src[i].info->arena
                          : meta->arena;
    }
    rc = set_lineage(c, meta);
    if (rc == NLT_OK) {
        rc = choose_name(c, meta);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_writer_open(c->conf->env, c->conf->blocks_fd, meta, &w,
                                   c->err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_block_writer_poll(w, c->conf->poll, c->conf->poll_ctx);
    rc = write_all(c, w);
    if (rc == NLT_OK) {
        rc = check_sources(c);
    }
    if (rc != NLT_OK) {
        nlt_block_writer_abort(w);
        return rc;
    }
    return nlt_block_writer_finish(w, meta, c->err);
}

static nlt_rc_t
compact(compact_t *c, const nlt_compact_source_t *sources,
        nlt_manifest_block_t *out)
{
    const nlt_compact_conf_t *conf = c->conf;
    nlt_block_meta_t meta = {.level = conf->level};
    uint64_t deletes = conf->deletes ? conf->deletes->last : 0;
    nlt_rc_t rc = NLT_OK;

    c->src = nlt_pool_zalloc(&c->keep, c->n * sizeof(*c->src));
    c->group = nlt_pool_array(&c->keep, c->n, sizeof(*c->group));
    if (c->src == NULL || c->group == NULL) {
        return no_memory(c);
    }
    for (size_t i = 0; i < c->n && rc == NLT_OK; i++) {
        rc = scan_source(c, &c->src[i], &sources[i]);
        deletes = sources[i].info.deletes > deletes ? sources[i].info.deletes
                                                    : deletes;
    }
    if (rc == NLT_OK) {
        rc = check_sources(c);
    }
    if (rc != NLT_OK || c->t_max_ms < c->t_min_ms) {
        return rc;
    }
    /* Whatever was cut off: the order of blocks follows it. */
    meta.t_min_ms = sources[0].info.t_min_ms;
    for (size_t i = 1; i < c->n; i++) {
        meta.t_min_ms = nlt_min_i64(meta.t_min_ms, sources[i].info.t_min_ms);
    }
    meta.t_min_ms = nlt_min_i64(meta.t_min_ms, c->t_min_ms);
    meta.t_end_ms = c->t_max_ms < INT64_MAX ? c->t_max_ms + 1 : INT64_MAX;
    rc = write_block(c, &meta);
    if (rc != NLT_OK) {
        return rc;
    }
    *out = (nlt_manifest_block_t){
        .ulid = meta.ulid,
        .t_min_ms = meta.t_min_ms,
        .t_end_ms = meta.t_end_ms,
        .arena = meta.arena,
        .deletes = deletes,
        .level = meta.level,
        .n_samples = meta.n_samples,
        .n_histograms = meta.n_histogram_samples,
        .n_series = meta.n_series,
        .bytes = meta.bytes,
        .dense = meta.dense,
    };
    return NLT_OK;
}

nlt_rc_t
nlt_compact_blocks(const nlt_compact_conf_t *conf,
                   const nlt_compact_source_t *sources, size_t n,
                   nlt_manifest_block_t *out, size_t *damaged, nlt_err_t *err)
{
    compact_t c = {.conf = conf,
                   .n = n,
                   .err = err,
                   .t_min_ms = INT64_MAX,
                   .t_max_ms = INT64_MIN};
    nlt_rc_t rc;

    *out = (nlt_manifest_block_t){.n_samples = 0};
    nlt_pool_init(&c.keep, conf->env->mem,
                  nlt_compact_budget(sources, n, conf->deletes));
    nlt_cutter_init(&c.cutter, conf->env->mem, conf->deletes, NLT_TENANTS_ALL);
    c.samples.pool = &c.keep;
    nlt_compact_chunks_init(&c.chunks, conf->env->mem, err);
    nlt_buf_init(&c.dead, conf->env->mem, SIZE_MAX / 4);
    rc = conf->dense ? nlt_compact_chunks_dense(&c.chunks) : NLT_OK;
    if (rc == NLT_OK) {
        rc = compact(&c, sources, out);
    }
    nlt_buf_deinit(&c.dead);
    nlt_compact_chunks_deinit(&c.chunks);
    nlt_cutter_deinit(&c.cutter);
    nlt_pool_deinit(&c.keep);
    if (rc == NLT_EDATA && damaged) {
        *damaged = c.damaged;
    }
    return rc;
}

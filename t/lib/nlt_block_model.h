/*
 * nlt_block_model.h - blocks made from arrays, for tests of who reads them.
 *
 * A model of a block is what a person would write down: per series its label
 * set, chosen by number from a small sorted universe, and its chunks with
 * their samples.  bm_write() makes a real block of it; bm_merge() says what
 * several of them hold together, by sorting all samples.
 */
#ifndef NLT_BLOCK_MODEL_H
#define NLT_BLOCK_MODEL_H

#include <fcntl.h>
#include <unistd.h>

#include "nlt_block.h"
#include "nlt_block_write.h"
#include "nlt_bytes.h"
#include "nlt_chunk_file.h"
#include "nlt_compact.h"
#include "nlt_test.h"
#include "nlt_tombstones.h"
#include "nlt_xor.h"

#define BM_LABELS_MAX 4
#define BM_SETS       60

typedef struct {
    nlt_label_t v[BM_LABELS_MAX];
    size_t n;
    char text[BM_LABELS_MAX][24];
} bm_set_t;

static bm_set_t bm_sets[BM_SETS];

static inline nlt_labels_t
bm_labels(size_t set)
{
    return (nlt_labels_t){bm_sets[set].v, bm_sets[set].n};
}

static inline int
bm_cmp_sets(const void *a, const void *b)
{
    const bm_set_t *x = a, *y = b;

    return nlt_labels_cmp((nlt_labels_t){x->v, x->n},
                          (nlt_labels_t){y->v, y->n});
}

static inline void
bm_add_label(bm_set_t *s, const char *name)
{
    s->v[s->n].name = nlt_test_str(name);
    s->v[s->n].value = nlt_test_str(s->text[s->n]);
    s->n++;
}

/* m0 .. m4 with i="0" .. and, for some, z="x0" .. */
static inline void
bm_init(void)
{
    for (unsigned k = 0; k < BM_SETS; k++) {
        bm_set_t *s = &bm_sets[k];

        s->n = 0;
        snprintf(s->text[0], sizeof(s->text[0]), "m%u", k % 5);
        snprintf(s->text[1], sizeof(s->text[1]), "%u", k);
        snprintf(s->text[2], sizeof(s->text[2]), "x%u", k % 3);
        bm_add_label(s, "__name__");
        bm_add_label(s, "i");
        if (k % 4) {
            bm_add_label(s, "z");
        }
    }
    qsort(bm_sets, BM_SETS, sizeof(bm_sets[0]), bm_cmp_sets);
    for (size_t k = 0; k < BM_SETS; k++) { /* strings moved with their set */
        for (size_t l = 0; l < bm_sets[k].n; l++) {
            bm_sets[k].v[l].value.data = bm_sets[k].text[l];
        }
    }
}

typedef struct bm_block_s bm_block_t;

typedef struct {
    bool histogram; /* then data is all there is */
    int64_t t_min_ms;
    int64_t t_max_ms;
    const int64_t *t_ms;
    const double *v;
    size_t n;
    nlt_str_t data; /* as it is in the block; set by bm_write() for floats */
    const bm_block_t *block; /* set by bm_write() */
} bm_chunk_t;

typedef struct {
    size_t set; /* in bm_sets */
    bm_chunk_t *chunks;
    size_t n_chunks;
} bm_series_t;

typedef struct {
    size_t set;
    nlt_interval_t interval;
} bm_tombstone_t;

struct bm_block_s {
    bm_series_t *series; /* sets ascending */
    size_t n_series;
    bm_tombstone_t *tombstones;
    size_t n_tombstones;
    nlt_block_t *block;
    nlt_manifest_block_t info;
};

static inline int
bm_cmp_str(const void *a, const void *b)
{
    return nlt_str_cmp(*(const nlt_str_t *) a, *(const nlt_str_t *) b);
}

/* All strings of these sets, sorted, each once; returns how many. */
static inline size_t
bm_symbols(const size_t *sets, size_t n, nlt_str_t *out)
{
    size_t all = 0, k = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t l = 0; l < bm_sets[sets[i]].n; l++) {
            out[all++] = bm_sets[sets[i]].v[l].name;
            out[all++] = bm_sets[sets[i]].v[l].value;
        }
    }
    qsort(out, all, sizeof(*out), bm_cmp_str);
    for (size_t i = 0; i < all; i++) {
        if (k == 0 || !nlt_str_eq(out[k - 1], out[i])) {
            out[k++] = out[i];
        }
    }
    return k;
}

static inline void
bm_chunk_encode(bm_chunk_t *c, unsigned lookahead, nlt_pool_t *pool)
{
    uint8_t *p;

    if (c->histogram) {
        return;
    }
    p = nlt_pool_alloc(pool, nlt_xor_chunk_bytes_max(c->n));
    c->t_min_ms = c->t_ms[0];
    c->t_max_ms = c->t_ms[c->n - 1];
    c->data.len = nlt_xor_encode_chunk(c->t_ms, c->v, c->n, lookahead, p);
    c->data.data = (const char *) p;
}

static inline nlt_rc_t
bm_write_series(nlt_block_writer_t *w, const bm_series_t *s, nlt_pool_t *pool,
                nlt_err_t *err)
{
    nlt_block_chunk_t *v = nlt_pool_array(pool, s->n_chunks, sizeof(*v));

    for (size_t i = 0; i < s->n_chunks; i++) {
        v[i] = (nlt_block_chunk_t){.t_min_ms = s->chunks[i].t_min_ms,
                                   .t_max_ms = s->chunks[i].t_max_ms,
                                   .encoding = s->chunks[i].histogram
                                                   ? NLT_CHUNK_HISTOGRAM
                                                   : NLT_CHUNK_XOR,
                                   .n_samples = (uint32_t) s->chunks[i].n,
                                   .data = s->chunks[i].data};
    }
    return nlt_block_writer_series(w, bm_labels(s->set), v, s->n_chunks, err);
}

/* Puts the tombstones into the block that is open, and opens it again. */
static inline nlt_rc_t
bm_write_tombstones(bm_block_t *b, const nlt_env_t *env, int dir_fd,
                    const char *ulid, nlt_pool_t *pool, nlt_err_t *err)
{
    nlt_buf_t buf;
    uint32_t *ids;
    size_t n;
    int fd = openat(dir_fd, ulid, O_RDONLY | O_DIRECTORY);
    nlt_rc_t rc = nlt_block_select(b->block, pool, NULL, 0, &ids, &n, err);

    nlt_buf_init(&buf, env->mem, 1u << 20);
    nlt_tombstones_begin(&buf);
    for (size_t i = 0; rc == NLT_OK && i < b->n_tombstones; i++) {
        for (size_t s = 0; s < n; s++) {
            if (b->series[s].set == b->tombstones[i].set) {
                nlt_tombstones_add(&buf, ids[s], &b->tombstones[i].interval);
            }
        }
    }
    nlt_tombstones_end(&buf);
    if (rc == NLT_OK) {
        rc = nlt_io_replace_file(env->io, fd, "tombstones", buf.data, buf.len,
                                 err);
    }
    nlt_buf_deinit(&buf);
    close(fd);
    nlt_block_close(b->block);
    b->block = NULL;
    return rc == NLT_OK ? nlt_block_open(env, dir_fd, ulid, &b->block, err)
                        : rc;
}

/*
 * Writes the block below dir_fd, of info.arena and info.level, and opens it.
 * The rest of info is filled in.
 */
static inline void
bm_write(bm_block_t *b, const nlt_env_t *env, int dir_fd, unsigned lookahead,
         nlt_pool_t *pool)
{
    nlt_str_t symbols[BM_SETS * BM_LABELS_MAX * 2];
    size_t sets[BM_SETS];
    nlt_block_meta_t meta = {.t_min_ms = INT64_MAX,
                             .t_end_ms = INT64_MIN,
                             .arena = b->info.arena,
                             .level = (unsigned) b->info.level};
    nlt_block_writer_t *w = NULL;
    nlt_err_t err = {.text = ""};
    nlt_rc_t rc;

    for (size_t i = 0; i < b->n_series; i++) {
        sets[i] = b->series[i].set;
        for (size_t k = 0; k < b->series[i].n_chunks; k++) {
            bm_chunk_t *c = &b->series[i].chunks[k];

            bm_chunk_encode(c, lookahead, pool);
            c->block = b;
            meta.t_min_ms = nlt_min_i64(meta.t_min_ms, c->t_min_ms);
            meta.t_end_ms = nlt_max_i64(meta.t_end_ms, c->t_max_ms + 1);
        }
    }
    rc = nlt_ulid_new(1700000000000, &meta.ulid);
    if (rc == NLT_OK) {
        rc = nlt_block_writer_open(env, dir_fd, &meta, &w, &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_writer_symbols(
            w, symbols, bm_symbols(sets, b->n_series, symbols), &err);
    }
    for (size_t i = 0; i < b->n_series && rc == NLT_OK; i++) {
        rc = bm_write_series(w, &b->series[i], pool, &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_writer_finish(w, &meta, &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_open(env, dir_fd, meta.ulid.c, &b->block, &err);
    }
    if (rc == NLT_OK && b->n_tombstones > 0) {
        rc = bm_write_tombstones(b, env, dir_fd, meta.ulid.c, pool, &err);
    }
    if (rc != NLT_OK) {
        printf("Bail out! block of a model: %s\n", err.text);
        exit(1);
    }
    b->info.ulid = meta.ulid;
    b->info.t_min_ms = meta.t_min_ms;
    b->info.t_end_ms = meta.t_end_ms;
    b->info.n_samples = meta.n_samples;
    b->info.n_histograms = meta.n_histogram_samples;
    b->info.n_series = meta.n_series;
}

typedef struct {
    int64_t t_ms;
    double v;
    size_t source;
} bm_sample_t;

typedef struct {
    bm_sample_t *v; /* by time, each once */
    size_t n;
    const bm_chunk_t **histograms; /* by time */
    size_t n_histograms;
} bm_merged_t;

static inline int
bm_cmp_samples(const void *a, const void *b)
{
    const bm_sample_t *x = a, *y = b;

    if (x->t_ms != y->t_ms) {
        return x->t_ms < y->t_ms ? -1 : 1;
    }
    return x->source < y->source ? -1 : x->source > y->source;
}

static inline int
bm_cmp_chunks(const void *a, const void *b)
{
    const bm_chunk_t *x = *(const bm_chunk_t *const *) a;
    const bm_chunk_t *y = *(const bm_chunk_t *const *) b;

    return x->t_min_ms < y->t_min_ms ? -1 : x->t_min_ms > y->t_min_ms;
}

/* Is the sample deleted in this source? */
static inline bool
bm_is_deleted(const nlt_delete_list_t *l, const bm_block_t *b, size_t set,
              int64_t t_ms)
{
    for (size_t i = 0; i < b->n_tombstones; i++) {
        const bm_tombstone_t *x = &b->tombstones[i];

        if (x->set == set && t_ms >= x->interval.t_min_ms
            && t_ms <= x->interval.t_max_ms) {
            return true;
        }
    }
    for (size_t i = 0; l && i < l->n; i++) {
        const nlt_delete_t *d = &l->v[i];

        if (d->number <= b->info.deletes || d->arena_max < b->info.arena
            || t_ms < d->t_min_ms || t_ms > d->t_max_ms) {
            continue;
        }
        for (size_t k = 0; k < d->n_sets; k++) {
            if (nlt_matchers_test(d->sets[k].matchers, d->sets[k].n,
                                  bm_labels(set))
                == NLT_OK) {
                return true;
            }
        }
    }
    return false;
}

/* Everything that n blocks have of one set, the first of them first. */
static inline bm_merged_t
bm_merge(bm_block_t *const *blocks, size_t n, size_t set, int64_t t_oldest_ms,
         const nlt_delete_list_t *deletes, nlt_pool_t *pool)
{
    bm_merged_t m = {NULL, 0, NULL, 0};
    size_t all = 0, chunks = 0, k = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t s = 0; s < blocks[i]->n_series; s++) {
            const bm_series_t *series = &blocks[i]->series[s];

            for (size_t c = 0; series->set == set && c < series->n_chunks;
                 c++) {
                all += series->chunks[c].n;
                chunks++;
            }
        }
    }
    m.v = nlt_pool_array(pool, all, sizeof(*m.v));
    m.histograms = nlt_pool_array(pool, chunks, sizeof(*m.histograms));
    all = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t s = 0; s < blocks[i]->n_series; s++) {
            const bm_series_t *series = &blocks[i]->series[s];

            for (size_t c = 0; series->set == set && c < series->n_chunks;
                 c++) {
                const bm_chunk_t *chunk = &series->chunks[c];

                /* Histograms go as a whole or not at all. */
                if (chunk->histogram) {
                    bool stays = false;

                    for (int64_t t = chunk->t_min_ms; t <= chunk->t_max_ms;
                         t++) {
                        stays |= t >= t_oldest_ms
                                 && !bm_is_deleted(deletes, blocks[i], set, t);
                    }
                    if (stays) {
                        m.histograms[m.n_histograms++] = chunk;
                    }
                    continue;
                }
                for (size_t j = 0; j < chunk->n; j++) {
                    if (chunk->t_ms[j] >= t_oldest_ms
                        && !bm_is_deleted(deletes, blocks[i], set,
                                          chunk->t_ms[j])) {
                        m.v[all++] =
                            (bm_sample_t){chunk->t_ms[j], chunk->v[j], i};
                    }
                }
            }
        }
    }
    qsort(m.v, all, sizeof(*m.v), bm_cmp_samples);
    for (size_t i = 0; i < all; i++) {
        if (k == 0 || m.v[k - 1].t_ms != m.v[i].t_ms) {
            m.v[k++] = m.v[i];
        }
    }
    m.n = k;
    qsort(m.histograms, m.n_histograms, sizeof(*m.histograms), bm_cmp_chunks);
    return m;
}

#endif

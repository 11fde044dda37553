/*
 * nlt_block_fixture.h - blocks as others would write them, for tests: series
 * {__name__="m", i="N"} with samples at regular times, histograms behind them,
 * and a meta.json without our own key.
 */
#ifndef NLT_BLOCK_FIXTURE_H
#define NLT_BLOCK_FIXTURE_H

#include "nlt_test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_block.h"
#include "nlt_block_dense.h"
#include "nlt_block_write.h"
#include "nlt_bytes.h"
#include "nlt_xor.h"

#define BX_SERIES_MAX  4096
#define BX_SAMPLES_MAX 240

typedef struct {
    unsigned no;    /* of its ULID */
    unsigned first; /* series i="first" and on */
    unsigned n;
    unsigned n_samples; /* of each, of floats */
    int64_t t_min_ms;
    int64_t step_ms;
    double base;      /* sample k of series s is base + 100 s + k */
    unsigned n_hist;  /* so many more series, of histograms */
    uint8_t encoding; /* of those; 0: 2 */
    unsigned level;   /* 0: 1 */
    const nlt_ulid_t *sources;
    size_t n_sources;
    const nlt_ulid_t *parents;
    size_t n_parents;
    bool dense;  /* floats are in dense chunks */
    bool forged; /* instead of __name__ a name that begins with NUL */
} bx_spec_t;

static inline double
bx_value(const bx_spec_t *x, unsigned s, unsigned k)
{
    return x->base + 100 * s + k;
}

static inline nlt_ulid_t
bx_ulid(unsigned no)
{
    nlt_ulid_t u;

    (void) snprintf(u.c, sizeof(u.c), "01HF7YAT00000000000000%04u",
                    no % 10000);
    return u;
}

/* Replaces a file of a block. */
static inline void
bx_put(int dir_fd, const nlt_ulid_t *u, const char *file, const void *p,
       size_t n)
{
    char path[80];
    int fd;

    (void) snprintf(path, sizeof(path), "%s/%s", u->c, file);
    (void) unlinkat(dir_fd, path, 0);
    fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    NLT_CHECK(fd >= 0);
    NLT_CHECK_INT(write(fd, p, n), n);
    close(fd);
}

/* Appends the content of a file of a block to out. */
static inline void
bx_get(int dir_fd, const nlt_ulid_t *u, const char *file, nlt_buf_t *out)
{
    char path[80];
    nlt_err_t err;

    (void) snprintf(path, sizeof(path), "%s/%s", u->c, file);
    NLT_CHECK_INT(nlt_io_read_file(&nlt_io_posix, dir_fd, path, out, &err),
                  NLT_OK);
}

/* Writes meta.json as Prometheus does, without a key of ours. */
static inline void
bx_put_meta(int dir_fd, const nlt_block_meta_t *meta)
{
    nlt_buf_t json;

    nlt_buf_init(&json, &nlt_mem_libc, 1 << 20);
    nlt_block_meta_print(&json, meta);
    for (size_t i = 0; i < json.len; i++) {
        if (strncmp(json.data + i, ",\n  \"nightlight\"", 16) == 0) {
            json.len = i;
        }
    }
    nlt_buf_add_c(&json, "\n}\n");
    bx_put(dir_fd, &meta->ulid, "meta.json", json.data, json.len);
    nlt_buf_deinit(&json);
}

/* The parsed meta.json; lists in the pool. */
static inline nlt_block_meta_t
bx_meta(int dir_fd, const nlt_ulid_t *u, nlt_pool_t *pool)
{
    nlt_block_meta_t meta = {.level = 0};
    nlt_buf_t json;
    nlt_err_t err;

    nlt_buf_init(&json, &nlt_mem_libc, 1 << 20);
    bx_get(dir_fd, u, "meta.json", &json);
    NLT_CHECK_INT(nlt_block_meta_parse(pool, nlt_buf_str(&json), &meta, &err),
                  NLT_OK);
    nlt_buf_deinit(&json);
    return meta;
}

/* Label values sort as text, so numbers have leading zeros beyond 9 ... but
 * the fixture of stores has none: series go in the order of their texts. */
static inline int
bx_cmp_no(const void *a, const void *b)
{
    char x[12], y[12];

    (void) snprintf(x, sizeof(x), "%u", *(const unsigned *) a);
    (void) snprintf(y, sizeof(y), "%u", *(const unsigned *) b);
    return strcmp(x, y);
}

static inline int
bx_cmp_str(const void *a, const void *b)
{
    return nlt_str_cmp(*(const nlt_str_t *) a, *(const nlt_str_t *) b);
}

static inline nlt_block_chunk_t
bx_chunk(const bx_spec_t *x, const int64_t *t, const double *v, unsigned n,
         uint8_t *out)
{
    static nlt_dense_work_t work;

    if (x->dense) {
        return nlt_block_dense_encode(&work, t, v, n, out);
    }
    return (nlt_block_chunk_t){
        t[0],
        t[n - 1],
        1,
        n,
        {nlt_xor_encode_chunk(t, v, n, 0, out), (const char *) out}};
}

/* Two chunks of half the samples each. */
static inline nlt_rc_t
bx_floats(nlt_block_writer_t *w, const bx_spec_t *x, unsigned s,
          nlt_labels_t labels, nlt_err_t *err)
{
    static uint8_t out[2][BX_SAMPLES_MAX * 40 + 4096];
    int64_t t[BX_SAMPLES_MAX];
    double v[BX_SAMPLES_MAX];
    nlt_block_chunk_t c[2];
    size_t n_chunks = 0;

    for (unsigned k = 0; k < x->n_samples; k++) {
        t[k] = x->t_min_ms + k * x->step_ms;
        v[k] = bx_value(x, s, k);
    }
    for (unsigned from = 0; from < x->n_samples;) {
        unsigned n =
            n_chunks == 0 ? (x->n_samples + 1) / 2 : x->n_samples - from;

        c[n_chunks] = bx_chunk(x, t + from, v + from, n, out[n_chunks]);
        n_chunks++;
        from += n;
    }
    return nlt_block_writer_series(w, labels, c, n_chunks, err);
}

/* Two samples, of which nobody here knows more than their number. */
static inline nlt_rc_t
bx_histogram(nlt_block_writer_t *w, const bx_spec_t *x, nlt_labels_t labels,
             nlt_err_t *err)
{
    static const char data[] = "\0\2\0\xf3histogram";
    nlt_block_chunk_t c = {x->t_min_ms,
                           x->t_min_ms + x->step_ms,
                           x->encoding ? x->encoding : 2,
                           2,
                           {sizeof(data) - 1, data}};

    return nlt_block_writer_series(w, labels, &c, 1, err);
}

static inline nlt_rc_t
bx_write_series(nlt_block_writer_t *w, const bx_spec_t *x, nlt_err_t *err)
{
    static char text[2 * BX_SERIES_MAX][12];
    static unsigned no[2 * BX_SERIES_MAX];
    static nlt_str_t symbols[2 * BX_SERIES_MAX + 4];
    unsigned n = x->n + x->n_hist;
    size_t n_symbols = 0;
    nlt_label_t labels[2] = {{NLT_STR("__name__"), NLT_STR("m")},
                             {NLT_STR("i"), {0, NULL}}};
    nlt_rc_t rc;

    for (unsigned s = 0; s < n; s++) {
        no[s] = x->first + s;
    }
    qsort(no, x->n, sizeof(*no), bx_cmp_no);
    qsort(no + x->n, x->n_hist, sizeof(*no), bx_cmp_no);
    for (unsigned s = 0; s < n; s++) {
        (void) snprintf(text[s], sizeof(text[s]), "%u", no[s]);
        symbols[n_symbols++] = nlt_test_str(text[s]);
    }
    if (x->forged) {
        labels[0].name = NLT_STR("\0t");
    }
    symbols[n_symbols++] = labels[0].name;
    symbols[n_symbols++] = NLT_STR("i");
    symbols[n_symbols++] = NLT_STR("m");
    if (x->n_hist) {
        symbols[n_symbols++] = NLT_STR("n");
    }
    qsort(symbols, n_symbols, sizeof(symbols[0]), bx_cmp_str);
    rc = nlt_block_writer_symbols(w, symbols, n_symbols, err);
    for (unsigned s = 0; s < n && rc == NLT_OK; s++) {
        labels[0].value = s < x->n ? NLT_STR("m") : NLT_STR("n");
        labels[1].value = nlt_test_str(text[s]);
        rc = s < x->n ? bx_floats(w, x, no[s], (nlt_labels_t){labels, 2}, err)
                      : bx_histogram(w, x, (nlt_labels_t){labels, 2}, err);
    }
    return rc;
}

/* Writes the block below dir_fd. */
static inline nlt_ulid_t
bx_write(int dir_fd, const bx_spec_t *x)
{
    nlt_ulid_t *lists =
        malloc((x->n_sources + x->n_parents + 1) * sizeof(*lists));
    nlt_block_meta_t meta = {
        .ulid = bx_ulid(x->no),
        .t_min_ms = x->t_min_ms,
        .t_end_ms =
            x->t_min_ms + (x->n_samples > 2 ? x->n_samples : 2) * x->step_ms,
        .level = x->level ? x->level : 1,
        .sources = lists,
        .n_sources = x->n_sources,
        .parents = lists + x->n_sources,
        .n_parents = x->n_parents,
    };
    nlt_block_writer_t *w;
    nlt_err_t err;
    nlt_rc_t rc;

    for (size_t i = 0; i < x->n_sources; i++) {
        meta.sources[i] = x->sources[i];
    }
    for (size_t i = 0; i < x->n_parents; i++) {
        meta.parents[i] = x->parents[i];
    }
    rc = nlt_block_writer_open(&nlt_env_posix, dir_fd, &meta, &w, &err);
    if (rc == NLT_OK) {
        rc = bx_write_series(w, x, &err);
        if (rc == NLT_OK) {
            rc = nlt_block_writer_finish(w, &meta, &err);
        } else {
            nlt_block_writer_abort(w);
        }
    }
    if (rc != NLT_OK) {
        printf("# block %s: %s\n", meta.ulid.c, err.text);
    }
    NLT_CHECK_INT(rc, NLT_OK);
    if (!x->dense) { /* which is in the key of ours */
        bx_put_meta(dir_fd, &meta);
    }
    free(lists);
    return meta.ulid;
}

#endif

/*
 * nlt_block_twin_test.c - blocks against arrays: what was written comes back,
 * and matchers select what a walk over all series selects.
 */
#include <fcntl.h>
#include <unistd.h>

#include "nlt_block_strings.h"
#include "nlt_block_write.h"
#include "nlt_test.h"
#include "nlt_xor.h"

#define SERIES_MAX  600
#define LABELS_MAX  6
#define SAMPLES_MAX 400
#define DAY_MS      (24 * 3600 * 1000)

typedef struct {
    nlt_label_t labels[LABELS_MAX];
    size_t n_labels;
    int64_t t[SAMPLES_MAX];
    double v[SAMPLES_MAX];
    size_t n;
} series_t;

typedef struct {
    series_t series[SERIES_MAX];
    size_t n;
} twin_t;

static twin_t twin;
static char dir_name[] = "/tmp/nlt-block-twin-XXXXXX";
static int dir_fd;

static const char *const names[] = {"__name__", "code", "env",
                                    "instance", "job",  "z\xc3\xa9"};
static char values[LABELS_MAX][80][24];

/* Value k of label l: few of some labels, many of others. */
static nlt_str_t
value_of(size_t l, uint64_t k)
{
    static const unsigned n_values[LABELS_MAX] = {5, 3, 2, 80, 12, 40};
    unsigned i = (unsigned) (k % n_values[l]);
    char *s = values[l][i];

    snprintf(s, sizeof(values[l][0]), "%c%u-%s", (int) ('a' + i % 7), i,
             names[l]);
    return nlt_test_str(s);
}

static double
random_value(double last)
{
    switch (nlt_test_below(8)) {
    case 0:
        return nlt_double_of(nlt_test_rand());
    case 1:
        return nlt_double_of(NLT_STALE_NAN_BITS);
    case 2:
    case 3:
        return last;
    default:
        return (double) nlt_test_below(1000) / 10;
    }
}

static int
cmp_series(const void *a, const void *b)
{
    const series_t *x = a, *y = b;

    return nlt_labels_cmp((nlt_labels_t){x->labels, x->n_labels},
                          (nlt_labels_t){y->labels, y->n_labels});
}

static void
make_series(series_t *s)
{
    int64_t t = (int64_t) nlt_test_below(DAY_MS / 2);
    double last = 1;

    s->n_labels = 0;
    for (size_t l = 0; l < LABELS_MAX; l++) {
        if (l == 0 || nlt_test_below(3) > 0) {
            s->labels[s->n_labels++] = (nlt_label_t){
                nlt_test_str(names[l]), value_of(l, nlt_test_rand())};
        }
    }
    s->n = 1 + nlt_test_below(SAMPLES_MAX);
    for (size_t i = 0; i < s->n; i++) {
        last = random_value(last);
        s->t[i] = t;
        s->v[i] = last;
        t += nlt_test_below(20) ? 15000 + (int64_t) nlt_test_below(10)
                                : 1 + (int64_t) nlt_test_below(300000);
        if (t >= DAY_MS) {
            s->n = i + 1;
        }
    }
}

static void
make_twin(size_t n)
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        make_series(&twin.series[i]);
    }
    qsort(twin.series, n, sizeof(series_t), cmp_series);
    for (size_t i = 0; i < n; i++) {
        if (k == 0 || cmp_series(&twin.series[k - 1], &twin.series[i]) != 0) {
            twin.series[k++] = twin.series[i];
        }
    }
    twin.n = k;
}

static int
cmp_str(const void *a, const void *b)
{
    return nlt_str_cmp(*(const nlt_str_t *) a, *(const nlt_str_t *) b);
}

static nlt_rc_t
write_symbols(nlt_block_writer_t *w, nlt_err_t *err)
{
    static nlt_str_t sym[SERIES_MAX * LABELS_MAX * 2];
    size_t n = 0, k = 0;

    for (size_t i = 0; i < twin.n; i++) {
        for (size_t j = 0; j < twin.series[i].n_labels; j++) {
            sym[n++] = twin.series[i].labels[j].name;
            sym[n++] = twin.series[i].labels[j].value;
        }
    }
    qsort(sym, n, sizeof(sym[0]), cmp_str);
    for (size_t i = 0; i < n; i++) {
        if (k == 0 || !nlt_str_eq(sym[k - 1], sym[i])) {
            sym[k++] = sym[i];
        }
    }
    return nlt_block_writer_symbols(w, sym, k, err);
}

static nlt_rc_t
write_series(nlt_block_writer_t *w, const series_t *s, nlt_err_t *err)
{
    static uint8_t bytes[SAMPLES_MAX * (NLT_XOR_SAMPLE_BYTES_MAX + 16)];
    nlt_block_chunk_t chunks[SAMPLES_MAX];
    size_t n_chunks = 0, used = 0;
    unsigned ahead = nlt_test_below(2) ? 16 : 0;

    for (size_t i = 0; i < s->n;) {
        size_t n = 1 + nlt_test_below(150), len;

        n = n < s->n - i ? n : s->n - i;
        len = nlt_xor_encode_chunk(s->t + i, s->v + i, n, ahead, bytes + used);
        chunks[n_chunks++] =
            (nlt_block_chunk_t){s->t[i],
                                s->t[i + n - 1],
                                1,
                                (uint32_t) n,
                                {len, (const char *) bytes + used}};
        used += len;
        i += n;
    }
    return nlt_block_writer_series(w, (nlt_labels_t){s->labels, s->n_labels},
                                   chunks, n_chunks, err);
}

static nlt_block_t *
write_and_open(nlt_block_meta_t *meta)
{
    nlt_block_writer_t *w;
    nlt_block_t *b = NULL;
    nlt_err_t err = {.len = 0};
    nlt_rc_t rc;

    *meta = (nlt_block_meta_t){.t_min_ms = 0, .t_end_ms = DAY_MS, .arena = 7};
    NLT_CHECK_INT(nlt_ulid_new(1700000000000, &meta->ulid), NLT_OK);
    rc = nlt_block_writer_open(&nlt_env_posix, dir_fd, meta, &w, &err);
    if (rc == NLT_OK) {
        rc = write_symbols(w, &err);
    }
    for (size_t i = 0; i < twin.n && rc == NLT_OK; i++) {
        rc = write_series(w, &twin.series[i], &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_writer_finish(w, meta, &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_open(&nlt_env_posix, dir_fd, meta->ulid.c, &b, &err);
    }
    if (rc != NLT_OK) {
        printf("# %s\n", err.text);
    }
    NLT_CHECK_INT(rc, NLT_OK);
    return b;
}

static void
check_series(const nlt_block_t *b, nlt_pool_t *pool, uint32_t id,
             const series_t *s)
{
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    nlt_samples_t out = {.pool = pool};
    nlt_labels_t labels;
    nlt_err_t err;
    bool overlaps;

    NLT_CHECK_INT(nlt_block_labels(b, id, pool, &labels, &err), NLT_OK);
    NLT_CHECK(nlt_labels_eq(labels, (nlt_labels_t){s->labels, s->n_labels}));
    for (size_t l = 0; l < LABELS_MAX; l++) {
        nlt_str_t got;

        NLT_CHECK_INT(
            nlt_block_label(b, id, nlt_test_str(names[l]), &got, &err),
            NLT_OK);
        NLT_CHECK(
            nlt_str_eq(got, nlt_labels_get(labels, nlt_test_str(names[l]))));
    }
    for (int k = 0; k < 4; k++) {
        int64_t lo = k ? (int64_t) nlt_test_below(DAY_MS) : INT64_MIN;
        int64_t hi = k ? lo + (int64_t) nlt_test_below(DAY_MS / 4) : INT64_MAX;
        size_t n = 0;

        if (k == 3) { /* borders of samples count in */
            lo = s->t[nlt_test_below(s->n)];
            hi = s->t[nlt_test_below(s->n)];
        }
        out.n = 0;
        NLT_CHECK_INT(nlt_block_read(b, id, lo, hi, &out, &err), NLT_OK);
        for (size_t i = 0; i < s->n; i++) {
            if (s->t[i] >= lo && s->t[i] <= hi) {
                NLT_CHECK(n < out.n && out.t_ms[n] == s->t[i]);
                NLT_CHECK(n < out.n
                          && nlt_bits_of(out.v[n]) == nlt_bits_of(s->v[i]));
                n++;
            }
        }
        NLT_CHECK_INT(out.n, n);
        NLT_CHECK_INT(nlt_block_overlaps(b, id, lo, hi, &overlaps, &err),
                      NLT_OK);
        NLT_CHECK(overlaps || n == 0);
    }
    nlt_pool_rewind(pool, mark);
}

/* A matcher that hits something, or nothing, of every kind. */
static void
make_matcher(nlt_matcher_t *m, char *text, size_t size)
{
    size_t l = nlt_test_below(LABELS_MAX);
    nlt_str_t v = value_of(l, nlt_test_rand());

    m->re = NULL;
    m->op = (nlt_match_op_t) nlt_test_below(4);
    m->name = nlt_test_below(12) ? nlt_test_str(names[l]) : NLT_STR("nosuch");
    if (m->op == NLT_MATCH_RE || m->op == NLT_MATCH_NRE) {
        switch (nlt_test_below(7)) {
        case 0:
            snprintf(text, size, ".*");
            break;
        case 1:
            snprintf(text, size, ".+");
            break;
        case 2:
            snprintf(text, size, "[a-c].*");
            break;
        case 3:
            snprintf(text, size, "%c.*", (int) ('a' + nlt_test_below(7)));
            break;
        case 4:
            snprintf(text, size, "%.*s|", NLT_FMT(v));
            break;
        case 5:
            snprintf(text, size, "%.*s", NLT_FMT(v));
            break;
        default:
            snprintf(text, size, "%.*s|a0-%s|none", NLT_FMT(v), names[l]);
            break;
        }
    } else {
        snprintf(text, size, "%s", nlt_test_below(5) ? v.data : "");
    }
    m->value = nlt_test_str(text);
}

static void
check_select(const nlt_block_t *b, const uint32_t *ids)
{
    nlt_pool_t pool;
    nlt_matcher_t m[3];
    char text[3][128];
    size_t n_m = nlt_test_below(4), n, k = 0;
    uint32_t *got;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    for (size_t i = 0; i < n_m; i++) {
        make_matcher(&m[i], text[i], sizeof(text[i]));
        NLT_CHECK_INT(nlt_matcher_compile(&pool, &m[i], &err), NLT_OK);
    }
    NLT_CHECK_INT(nlt_block_select(b, &pool, m, n_m, &got, &n, &err), NLT_OK);
    for (size_t i = 0; i < twin.n; i++) {
        const series_t *s = &twin.series[i];

        if (nlt_matchers_test(m, n_m, (nlt_labels_t){s->labels, s->n_labels})
            == NLT_OK) {
            NLT_CHECK(k < n && got[k] == ids[i]);
            k++;
        }
    }
    if (n != k) {
        for (size_t i = 0; i < n_m; i++) {
            printf("# %.*s %s '%s'\n", NLT_FMT(m[i].name),
                   nlt_match_op_text(m[i].op), text[i]);
        }
    }
    NLT_CHECK_INT(n, k);
    for (size_t i = 0; i < n_m; i++) {
        nlt_matcher_release(&m[i]);
    }
    nlt_pool_deinit(&pool);
}

static void
check_names_and_values(const nlt_block_t *b, nlt_pool_t *pool)
{
    nlt_str_t *got;
    size_t n, total = 0;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_block_label_names(b, pool, &got, &n, &err), NLT_OK);
    for (size_t l = 0; l < LABELS_MAX; l++) {
        nlt_str_t *v;
        size_t k;
        bool has[80] = {false};
        size_t want = 0;

        for (size_t i = 0; i < twin.n; i++) {
            const series_t *s = &twin.series[i];
            nlt_str_t x =
                nlt_labels_get((nlt_labels_t){s->labels, s->n_labels},
                               nlt_test_str(names[l]));

            if (x.len > 0) {
                size_t idx = (size_t) atoi(x.data + 1);

                want += !has[idx];
                has[idx] = true;
            }
        }
        NLT_CHECK_INT(nlt_block_label_values(b, nlt_test_str(names[l]), pool,
                                             &v, &k, &err),
                      NLT_OK);
        NLT_CHECK_INT(k, want);
        for (size_t i = 1; i < k; i++) {
            NLT_CHECK(nlt_str_cmp(v[i - 1], v[i]) < 0);
        }
        for (size_t i = 0; i < k; i++) {
            NLT_CHECK(has[atoi(v[i].data + 1)]);
        }
        if (k > 0) {
            NLT_CHECK(total < n
                      && nlt_str_eq(got[total], nlt_test_str(names[l])));
            total++;
        }
    }
    NLT_CHECK_INT(n, total);
}

typedef struct {
    nlt_str_t v[100];
    size_t n;
} found_t;

static nlt_rc_t
found_cb(void *ctx, nlt_str_t text)
{
    found_t *f = ctx;

    NLT_CHECK(f->n < NLT_COUNT(f->v));
    for (size_t i = 0; i < f->n; i++) {
        NLT_CHECK(!nlt_str_eq(f->v[i], text)); /* each once */
    }
    f->v[f->n++] = text;
    return NLT_OK;
}

/* Series of which all are asked, or every third one. */
static unsigned one_in;

static nlt_rc_t
counts_cb(void *ctx, uint32_t id, bool *yes, nlt_err_t *err)
{
    (void) ctx;
    (void) err;
    *yes = id % one_in == 0;
    return NLT_OK;
}

static bool
has_string(const series_t *s, const nlt_str_t *name, nlt_str_t text)
{
    for (size_t i = 0; i < s->n_labels; i++) {
        if (name == NULL ? nlt_str_eq(s->labels[i].name, text)
                         : nlt_str_eq(s->labels[i].name, *name)
                               && nlt_str_eq(s->labels[i].value, text)) {
            return true;
        }
    }
    return false;
}

/* What some series have, asked for in two parts. */
static void
check_strings(const nlt_block_t *b, nlt_pool_t *pool, const uint32_t *ids,
              const nlt_str_t *name)
{
    size_t from = nlt_test_below(twin.n),
           n = 1 + nlt_test_below(twin.n - from), half = n / 2, want = 0;
    nlt_block_strings_t s;
    found_t f = {.n = 0};
    const nlt_block_strings_to_t to = {counts_cb, found_cb, &f};
    nlt_err_t err;

    one_in = nlt_test_below(2) ? 1 : 3;
    NLT_CHECK_INT(nlt_block_strings_init(&s, b, name, pool, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_strings_of(&s, ids + from, half, &to, &err),
                  NLT_OK);
    NLT_CHECK_INT(
        nlt_block_strings_of(&s, ids + from + half, n - half, &to, &err),
        NLT_OK);
    for (size_t i = 0; i < f.n; i++) {
        bool has = false;

        for (size_t k = from; k < from + n && !has; k++) {
            has = ids[k] % one_in == 0
                  && has_string(&twin.series[k], name, f.v[i]);
        }
        NLT_CHECK(has);
    }
    for (size_t k = from; k < from + n; k++) {
        const series_t *x = &twin.series[k];

        for (size_t i = 0; i < x->n_labels; i++) {
            nlt_str_t text =
                name == NULL ? x->labels[i].name : x->labels[i].value;
            bool has =
                ids[k] % one_in != 0
                || (name != NULL && !nlt_str_eq(x->labels[i].name, *name));

            for (size_t j = 0; j < f.n && !has; j++) {
                has = nlt_str_eq(f.v[j], text);
            }
            NLT_CHECK(has);
            want++;
        }
    }
    NLT_CHECK(want > 0);
}

static void
check_all_strings(const nlt_block_t *b, nlt_pool_t *pool, const uint32_t *ids)
{
    nlt_str_t none = NLT_STR("nosuch");

    check_strings(b, pool, ids, NULL);
    check_strings(b, pool, ids, &none);
    for (size_t l = 0; l < LABELS_MAX; l++) {
        nlt_str_t name = nlt_test_str(names[l]);

        check_strings(b, pool, ids, &name);
    }
}

static void
check_round(size_t n)
{
    nlt_block_meta_t meta;
    nlt_block_t *b;
    nlt_pool_t pool;
    nlt_err_t err;
    uint32_t *ids;
    size_t n_ids;

    make_twin(n);
    b = write_and_open(&meta);
    if (b == NULL) {
        return;
    }
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    nlt_rc_t rc = nlt_block_validate(b, &pool, &err);
    if (rc != NLT_OK) {
        printf("# %s\n", err.text);
    }
    NLT_CHECK_INT(rc, NLT_OK);
    NLT_CHECK_INT(nlt_block_meta(b)->n_series, twin.n);
    NLT_CHECK_INT(nlt_block_meta(b)->arena, 7);
    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &ids, &n_ids, &err),
                  NLT_OK);
    NLT_CHECK_INT(n_ids, twin.n);
    for (size_t i = 0; i < twin.n && i < n_ids; i++) {
        check_series(b, &pool, ids[i], &twin.series[i]);
    }
    for (int i = 0; i < 60; i++) {
        check_select(b, ids);
    }
    check_names_and_values(b, &pool);
    check_all_strings(b, &pool, ids);
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, meta.ulid.c, &err),
                  NLT_OK);
}

static void
blocks_agree_with_arrays(void)
{
    check_round(1);
    check_round(2);
    check_round(33);
    check_round(200);
    check_round(SERIES_MAX);
}

int
main(void)
{
    (void) nlt_test_seed();
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    NLT_TEST(blocks_agree_with_arrays);
    close(dir_fd);
    rmdir(dir_name);
    return nlt_test_done();
}

/*
 * nlt_ahead_twin_test.c - series read ahead, of one or more blocks, against
 * sorted arrays and against reading them one by one.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_ahead.h"
#include "nlt_block_model.h"
#include "nlt_block_priv.h"
#include "nlt_hash.h"

#define BLOCKS  3
#define CHUNKS  9
#define SAMPLES 700
#define T0      INT64_C(1700000000000)
#define PAGE    4096

static char root[] = "/tmp/nlt-ahead-XXXXXX";
static int dir_fd;

static void
remove_block(const char *ulid)
{
    nlt_err_t err;

    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, ulid, &err),
                  NLT_OK);
}

/* ---- blocks ---- */

typedef struct {
    bm_block_t b[BLOCKS];
    bm_block_t *all[BLOCKS];
    size_t n;
    nlt_pool_t pool;
} data_t;

static void
make_chunk(bm_chunk_t *c, int64_t *t, nlt_pool_t *pool)
{
    size_t n = 1 + nlt_test_below(nlt_test_below(4) ? SAMPLES : 8);
    int64_t *t_ms = nlt_pool_array(pool, n, sizeof(*t_ms));
    double *v = nlt_pool_array(pool, n, sizeof(*v));
    unsigned kind = (unsigned) nlt_test_below(3);

    *c = (bm_chunk_t){.t_ms = t_ms, .v = v, .n = n};
    for (size_t i = 0; i < n; i++) {
        *t += 15000 + (nlt_test_below(10) ? 0 : (int64_t) nlt_test_below(9));
        *t += nlt_test_below(300) ? 0 : 500000;
        t_ms[i] = *t;
        v[i] = kind == 0   ? (double) nlt_test_below(100)
               : kind == 1 ? (double) i * 3
                           : nlt_double_of(nlt_test_rand());
    }
}

static void
make_histogram(bm_chunk_t *c, int64_t *t, size_t len, nlt_pool_t *pool)
{
    char *p = nlt_pool_zalloc(pool, len);

    p[1] = 1; /* sample */
    *c = (bm_chunk_t){.histogram = true,
                      .t_min_ms = *t + 1,
                      .t_max_ms = *t + 1,
                      .n = 1,
                      .data = {len, p}};
    *t += 1;
}

/* Chunks of series from *t on; the first has a histogram before them. */
static void
make_series(bm_series_t *s, int64_t *t, bool first, nlt_pool_t *pool)
{
    size_t n = nlt_test_below(CHUNKS), k = 0;

    s->chunks = nlt_pool_array(pool, n + 2, sizeof(*s->chunks));
    if (first || nlt_test_below(30) == 0) {
        make_histogram(&s->chunks[k++], t, 100, pool);
    }
    while (k < n || k == 0) {
        make_chunk(&s->chunks[k++], t, pool);
    }
    s->n_chunks = k;
}

static size_t
segment_bytes(const bm_block_t *b)
{
    char name[80];
    struct stat st;

    (void) snprintf(name, sizeof(name), "%s/chunks/000001", b->info.ulid.c);
    NLT_CHECK_INT(fstatat(dir_fd, name, &st, 0), 0);
    return (size_t) st.st_size;
}

/* Moves the mapping of the segment to where nothing is behind it. */
static void
fence(bm_block_t *b)
{
    nlt_guard_t *g = b->block->segments[0];
    size_t len = (g->len + PAGE - 1) / PAGE * PAGE;
    uint8_t *at =
        mmap(NULL, len + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    NLT_CHECK(at != MAP_FAILED);
    NLT_CHECK(mremap((void *) (uintptr_t) g->p, len, len,
                     MREMAP_MAYMOVE | MREMAP_FIXED, at)
              == at);
    g->p = at;
}

/*
 * Writes it, and again so that the segment ends `behind` bytes before the end
 * of a page: its last stream then has no more readable bytes behind it.
 */
static void
write_block(data_t *d, bm_block_t *b, size_t behind)
{
    bm_chunk_t *h = &b->series[0].chunks[0];
    int64_t t = h->t_min_ms - 1;
    size_t bytes, len;

    bm_write(b, &nlt_env_posix, dir_fd, 16, &d->pool);
    if (!h->histogram) {
        return;
    }
    bytes = segment_bytes(b) - 99 + 128; /* the length gets a byte more */
    len = 128 + (2 * PAGE - behind - bytes % PAGE) % PAGE;
    nlt_block_close(b->block);
    remove_block(b->info.ulid.c);
    make_histogram(h, &t, len, &d->pool);
    bm_write(b, &nlt_env_posix, dir_fd, 16, &d->pool);
    fence(b);
    NLT_CHECK_INT((segment_bytes(b) + behind) % PAGE, 0);
}

static void
make(data_t *d, bool overlap)
{
    int64_t at[BM_SETS];

    memset(d, 0, sizeof(*d));
    nlt_pool_init(&d->pool, &nlt_mem_libc, 256 << 20);
    d->n = 1 + nlt_test_below(BLOCKS);
    for (size_t i = 0; i < BM_SETS; i++) {
        at[i] = T0 + (int64_t) nlt_test_below(15000);
    }
    for (size_t i = 0; i < d->n; i++) {
        bm_block_t *b = &d->b[i];

        d->all[i] = b;
        b->series = nlt_pool_array(&d->pool, BM_SETS, sizeof(*b->series));
        for (size_t k = 0; k < BM_SETS; k++) {
            int64_t back = overlap ? (int64_t) nlt_test_below(4000000) : 0;

            if (nlt_test_below(8) == 0) {
                continue; /* not in this one */
            }
            at[k] = i > 0 ? at[k] - back : at[k];
            b->series[b->n_series].set = k;
            make_series(&b->series[b->n_series], &at[k], b->n_series == 0,
                        &d->pool);
            b->n_series++;
        }
        if (nlt_test_below(4) == 0) {
            b->tombstones = nlt_pool_zalloc(&d->pool, sizeof(bm_tombstone_t));
            b->tombstones[b->n_tombstones++] = (bm_tombstone_t){
                b->series[3].set, {T0 + 100000, T0 + 3000000}};
        }
        write_block(d, b, nlt_test_below(2) ? 0 : nlt_test_below(140));
    }
}

static void
drop(data_t *d)
{
    for (size_t i = 0; i < d->n; i++) {
        nlt_block_close(d->b[i].block);
        remove_block(d->b[i].info.ulid.c);
    }
    nlt_pool_deinit(&d->pool);
}

static size_t
refs_of(const void *of, size_t idx, nlt_ahead_ref_t *refs)
{
    const data_t *d = of;
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++) {
        const bm_block_t *b = &d->b[i];
        nlt_pool_t pool;
        uint32_t *id;
        size_t n_ids;
        nlt_err_t err;

        nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
        NLT_CHECK_INT(
            nlt_block_select(b->block, &pool, NULL, 0, &id, &n_ids, &err),
            NLT_OK);
        NLT_CHECK_INT(n_ids, b->n_series);
        for (size_t k = 0; k < b->n_series; k++) {
            if (b->series[k].set == idx) {
                refs[n++] = (nlt_ahead_ref_t){NULL, b->block, id[k]};
            }
        }
        nlt_pool_deinit(&pool);
    }
    return n;
}

/* ---- reading ---- */

/* What the blocks have of a set in a range; all, or the newest. */
static void
expect(data_t *d, size_t set, nlt_read_t what, int64_t t_min, int64_t t_max,
       const nlt_samples_t *got)
{
    nlt_pool_mark_t mark = nlt_pool_mark(&d->pool);
    bm_merged_t m = bm_merge(d->all, d->n, set, INT64_MIN, NULL, &d->pool);
    size_t lo = 0, hi = m.n;

    while (lo < hi && m.v[lo].t_ms < t_min) {
        lo++;
    }
    while (hi > lo && m.v[hi - 1].t_ms > t_max) {
        hi--;
    }
    if (what == NLT_READ_NEWEST && hi > lo) {
        lo = hi - 1;
    }
    NLT_CHECK_INT(got->n, hi - lo);
    for (size_t i = 0; i < got->n && got->n == hi - lo; i++) {
        if (got->t_ms[i] != m.v[lo + i].t_ms
            || nlt_bits_of(got->v[i]) != nlt_bits_of(m.v[lo + i].v)) {
            NLT_CHECK_INT(got->t_ms[i], m.v[lo + i].t_ms);
            NLT_CHECK_INT(nlt_bits_of(got->v[i]), nlt_bits_of(m.v[lo + i].v));
            break;
        }
    }
    nlt_pool_rewind(&d->pool, mark);
}

/* The last of a range, of one block read the ordinary way. */
static void
newest_is_last(const data_t *d, size_t idx, int64_t t_min, int64_t t_max,
               nlt_pool_t *pool)
{
    nlt_ahead_ref_t ref[NLT_AHEAD_PARTS];
    size_t n = refs_of(d, idx, ref);

    for (size_t i = 0; i < n; i++) {
        nlt_samples_t all = {.pool = pool}, one = {.pool = pool};
        nlt_err_t err;

        NLT_CHECK_INT(
            nlt_block_read(ref[i].block, ref[i].id, t_min, t_max, &all, &err),
            NLT_OK);
        NLT_CHECK_INT(nlt_block_read_newest(ref[i].block, ref[i].id, t_min,
                                            t_max, NULL, &one, &err),
                      NLT_OK);
        NLT_CHECK_INT(one.n > 0, all.n > 0);
        if (all.n > 0 && one.n > 0) {
            NLT_CHECK_INT(one.t_ms[one.n - 1], all.t_ms[all.n - 1]);
            NLT_CHECK_INT(nlt_bits_of(one.v[one.n - 1]),
                          nlt_bits_of(all.v[all.n - 1]));
        }
    }
}

/* One pass over all series; how many were read ahead. */
static size_t
pass(data_t *d, nlt_samples_t *out)
{
    nlt_read_t what = nlt_test_below(3) ? NLT_READ_ALL : NLT_READ_NEWEST;
    int64_t span = (int64_t) nlt_test_below(2) ? 400000 : 100000000;
    int64_t t_min = T0 + (int64_t) nlt_test_below(20000000);
    int64_t t_max = t_min + (int64_t) nlt_test_below((uint64_t) span);
    size_t n = 0;

    for (size_t i = 0; i < BM_SETS; i++) {
        if (nlt_ahead_read(out, d, i, BM_SETS, refs_of, what, t_min, t_max)) {
            expect(d, i, what, t_min, t_max, out);
            n++;
        }
    }
    return n;
}

static void
what_is_read_ahead_is_what_is_there(void)
{
    for (unsigned round = 0; round < 8; round++) {
        static data_t d;
        bool overlap = round % 4 == 3;
        nlt_pool_t pool;
        size_t n = 0;

        nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
        make(&d, overlap);
        for (unsigned i = 0; i < 12; i++) {
            nlt_samples_t out = {.pool = &pool};

            n += pass(&d, &out);
            n += pass(&d, &out);
            for (size_t k = 0; k < BM_SETS; k++) {
                int64_t t_min = T0 + (int64_t) nlt_test_below(20000000);

                newest_is_last(&d, k, t_min,
                               t_min + (int64_t) nlt_test_below(8000000),
                               &d.pool);
            }
        }
        /* All but those with tombstones, histograms or an overlap. */
        NLT_CHECK(n > (overlap ? 100 : 24 * BM_SETS * 7 / 10));
        nlt_pool_deinit(&pool);
        drop(&d);
    }
}

/* The budget of a query is not spent on what was not asked for. */
static void
little_memory_is_left_alone(void)
{
    static data_t d;
    nlt_pool_t pool;
    nlt_samples_t out = {.pool = &pool};

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    make(&d, false);
    NLT_CHECK(nlt_pool_alloc(&pool, 64 << 10) != NULL);
    NLT_CHECK(!nlt_ahead_read(&out, &d, 0, BM_SETS, refs_of, NLT_READ_ALL, T0,
                              INT64_MAX));
    NLT_CHECK(out.ahead == NULL);
    nlt_pool_deinit(&pool);

    nlt_pool_init(&pool, &nlt_mem_libc, 3 << 20);
    out = (nlt_samples_t){.pool = &pool};
    for (size_t i = 0; i < BM_SETS; i++) {
        (void) nlt_ahead_read(&out, &d, i, BM_SETS, refs_of, NLT_READ_ALL, T0,
                              INT64_MAX);
    }
    NLT_CHECK(!pool.over_budget);
    nlt_pool_deinit(&pool);
    drop(&d);
}

/* ---- hostile bytes ---- */

/* Changes bits of a chunk in its file, and its checksum with them. */
static void
forge(const bm_block_t *b, const bm_chunk_t *c)
{
    char name[80];
    size_t bytes = segment_bytes(b), at = 0;
    uint8_t *p = nlt_mem_zalloc(&nlt_mem_libc, bytes);
    int fd;

    (void) snprintf(name, sizeof(name), "%s/chunks/000001", b->info.ulid.c);
    fd = openat(dir_fd, name, O_RDWR);
    NLT_CHECK_INT(pread(fd, p, bytes, 0), bytes);
    while (at + c->data.len < bytes
           && memcmp(p + at, c->data.data, c->data.len) != 0) {
        at++;
    }
    for (unsigned k = 0; k < 3; k++) {
        size_t i = at + 2 + nlt_test_below(c->data.len - 2);

        p[i] = (uint8_t) (p[i] ^ 1u << nlt_test_below(8));
    }
    nlt_put_be32(p + at + c->data.len,
                 nlt_crc32c(0, p + at - 1, c->data.len + 1));
    NLT_CHECK_INT(pwrite(fd, p, bytes, 0), bytes);
    close(fd);
    nlt_mem_free(&nlt_mem_libc, p, bytes);
}

/* Reading ahead believes what reading one by one believes, and no more. */
static void
a_forged_chunk_is_as_without(void)
{
    size_t ok = 0, bad = 0;

    for (unsigned round = 0; round < 6; round++) {
        static data_t d;
        nlt_pool_t pool;
        nlt_samples_t out = {.pool = &pool}, plain = {.pool = &pool};

        nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
        for (make(&d, false); d.n > 1 || d.b[0].n_tombstones > 0;
             make(&d, false)) {
            drop(&d);
        }
        for (size_t i = 0; i < d.b[0].n_series; i++) {
            bm_series_t *s = &d.b[0].series[i];

            for (size_t k = 0; k < s->n_chunks && i % 2 == 0; k++) {
                if (!s->chunks[k].histogram && nlt_test_below(3) == 0) {
                    forge(&d.b[0], &s->chunks[k]);
                }
            }
        }
        for (size_t i = 0; i < BM_SETS; i++) {
            nlt_ahead_ref_t ref[NLT_AHEAD_PARTS];
            nlt_err_t err;
            nlt_rc_t rc = NLT_OK;
            bool got = nlt_ahead_read(&out, &d, i, BM_SETS, refs_of,
                                      NLT_READ_ALL, T0 + 900000, INT64_MAX);

            plain.n = 0;
            if (refs_of(&d, i, ref) > 0) {
                rc = nlt_block_read(ref[0].block, ref[0].id, T0 + 900000,
                                    INT64_MAX, &plain, &err);
            }
            if (!got) {
                bad += rc != NLT_OK;
                continue;
            }
            NLT_CHECK_INT(rc, NLT_OK);
            NLT_CHECK_INT(out.n, plain.n);
            NLT_CHECK(out.n == 0
                      || (memcmp(out.t_ms, plain.t_ms, out.n * 8) == 0
                          && memcmp(out.v, plain.v, out.n * 8) == 0));
            ok += out.n > 0;
        }
        nlt_pool_deinit(&pool);
        drop(&d);
    }
    NLT_CHECK(ok > 100);
    NLT_CHECK(bad > 10);
}

int
main(void)
{
    (void) nlt_test_seed();
    bm_init();
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    dir_fd = open(root, O_RDONLY | O_DIRECTORY);
    NLT_TEST(what_is_read_ahead_is_what_is_there);
    NLT_TEST(little_memory_is_left_alone);
    NLT_TEST(a_forged_chunk_is_as_without);
    close(dir_fd);
    rmdir(root);
    return nlt_test_done();
}

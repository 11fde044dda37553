/*
 * nlt_block_dense_test.c - dense chunks of a block, read in parts: each range
 * gives what a search through all samples gives, with and without times that
 * are kept, by one thread and by several; and no more is decoded than asked.
 */
#include "nlt_block_model.h"

#include <pthread.h>

#include "nlt_block_priv.h"
#include "nlt_dense.h"
#include "nlt_dense_models.h"
#include "nlt_store_fault.h"
#include "nlt_test_mem.h"

#define T0       INT64_C(1700000000000)
#define SERIES   24
#define N_MAX    7000
#define THREADS  3
#define SHAPES   6
#define CHUNK_AT 4000 /* samples behind are a chunk of their own */

static char dir_name[] = "/dev/shm/nlt-block-dense-XXXXXX";
static int dir_fd;
static nlt_pool_t pool;
static nlt_block_t *block;
static uint32_t *ids;
static int64_t times[SHAPES][N_MAX];
static double values[SERIES][N_MAX];
static const size_t counts[SHAPES] = {1, 2, 513, 514, 5760, N_MAX};
static nlt_dense_work_t work;
static nlt_err_t err;

static size_t
count_of(size_t series)
{
    return counts[series % SHAPES];
}

/* Scraped with jitter; now and then a target was away for hours. */
static void
make_times(size_t shape)
{
    int64_t t = T0;

    for (size_t i = 0; i < counts[shape]; i++) {
        t += shape % 2
                 ? 1 + (int64_t) model_rand(60000)
                 : 15000 + (model_rand(10) ? 0 : (int64_t) model_rand(4));
        t += shape > 2 && model_rand(1000) == 0 ? 36000000 : 0;
        times[shape][i] = t;
    }
}

/* Chunk of [from, to) of a series; junk: a byte that belongs to nothing. */
static nlt_block_chunk_t
chunk(size_t series, size_t from, size_t to, bool junk)
{
    size_t n = to - from;
    const int64_t *t = times[series % SHAPES] + from;
    char *p = nlt_pool_alloc(&pool, nlt_dense_bytes_max(n) + 1 + 8 * n);
    size_t len = nlt_dense_encode_values(&work, values[series] + from, n,
                                         (uint8_t *) p);

    p[len] = 0;
    len += junk;
    memcpy(p + len, t, n * sizeof(*t));
    return (nlt_block_chunk_t){.t_min_ms = t[0],
                               .t_max_ms = t[n - 1],
                               .encoding = NLT_CHUNK_DENSE,
                               .n_samples = (uint32_t) n,
                               .data = {len + n * sizeof(*t), p}};
}

static nlt_rc_t
write_series(nlt_block_writer_t *w, size_t i, bool junk)
{
    size_t n = count_of(i), cut = n < CHUNK_AT ? n : CHUNK_AT;
    nlt_block_chunk_t c[2] = {chunk(i, 0, cut, junk)};

    if (cut < n) {
        c[1] = chunk(i, cut, n, junk);
    }
    return nlt_block_writer_series(w, bm_labels(i), c, 1 + (cut < n), &err);
}

static void
setup(bool junk)
{
    nlt_str_t symbols[BM_SETS * BM_LABELS_MAX * 2];
    nlt_block_meta_t meta = {.t_min_ms = T0, .t_end_ms = INT64_MAX};
    size_t sets[SERIES], n;
    nlt_block_writer_t *w = NULL;
    nlt_rc_t rc;

    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
    for (size_t i = 0; i < SHAPES; i++) {
        make_times(i);
    }
    for (size_t i = 0; i < SERIES; i++) {
        sets[i] = i;
        model_values((model_t) (i % M_END), values[i], count_of(i));
    }
    rc = nlt_ulid_new(T0, &meta.ulid);
    if (rc == NLT_OK) {
        rc = nlt_block_writer_open(&nlt_env_posix, dir_fd, &meta, &w, &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_writer_symbols(w, symbols,
                                      bm_symbols(sets, SERIES, symbols), &err);
    }
    for (size_t i = 0; i < SERIES && rc == NLT_OK; i++) {
        rc = write_series(w, i, junk);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_writer_finish(w, &meta, &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_open(&nlt_env_posix, dir_fd, meta.ulid.c, &block, &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_select(block, &pool, NULL, 0, &ids, &n, &err);
    }
    if (rc != NLT_OK) {
        printf("Bail out! a dense block: %s\n", err.text);
        exit(1);
    }
    NLT_CHECK_INT(n, SERIES);
}

static void
teardown(void)
{
    nlt_ulid_t ulid = nlt_block_meta(block)->ulid;

    nlt_block_close(block);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, ulid.c, &err),
                  NLT_OK);
    nlt_pool_deinit(&pool);
}

/* Does a series read in the range as a walk over its samples says? */
static bool
reads_right(size_t i, int64_t lo, int64_t hi, nlt_times_t *shared,
            nlt_samples_t *s)
{
    const int64_t *t = times[i % SHAPES];
    size_t from = 0, to = count_of(i);
    nlt_err_t e;

    while (from < to && t[from] < lo) {
        from++;
    }
    while (to > from && t[to - 1] > hi) {
        to--;
    }
    s->n = 0;
    return nlt_block_read_shared(block, ids[i], lo, hi, shared, s, &e)
               == NLT_OK
           && s->n == to - from
           && (s->n == 0
               || (memcmp(s->t_ms, t + from, s->n * sizeof(*t)) == 0
                   && memcmp(s->v, values[i] + from, s->n * sizeof(*s->v))
                          == 0));
}

/* A range that often begins or ends at a sample, or a millisecond beside. */
static void
some_range(uint64_t r, size_t i, int64_t *lo, int64_t *hi)
{
    const int64_t *t = times[i % SHAPES];
    size_t n = count_of(i), a = r % n, b = a + (r >> 16) % (n - a);

    *lo = t[a] + (int64_t) (r >> 32) % 3 - 1;
    *hi = t[b] + (int64_t) (r >> 40) % 3 - 1;
    if ((r >> 48) % 8 == 0) {
        *lo = INT64_MIN;
    } else if ((r >> 48) % 8 == 1) {
        *hi = INT64_MAX;
    }
}

static void
each_range_reads_as_a_walk_over_all_samples(void)
{
    nlt_samples_t s = {.pool = NULL};
    nlt_times_t shared;

    setup(false);
    s.pool = &pool;
    nlt_times_init(&shared, &nlt_mem_libc);
    NLT_CHECK_INT(nlt_block_validate(block, &pool, &err), NLT_OK);
    for (int round = 0; round < 4000; round++) {
        size_t i = model_rand(SERIES);
        int64_t lo, hi;
        bool ok;

        some_range(model_u64(), i, &lo, &hi);
        ok = reads_right(i, lo, hi, round % 2 ? &shared : NULL, &s);
        if (!ok) {
            printf("# series %zu, %lld to %lld\n", i, (long long) lo,
                   (long long) hi);
        }
        NLT_CHECK(ok);
    }
    nlt_times_deinit(&shared);
    teardown();
}

/*
 * Each chunk ends with a byte too many, so its last segment is refused, and
 * with it the whole chunk; but not who asks for the hour before.
 */
static void
other_segments_are_not_looked_at(void)
{
    nlt_samples_t s = {.pool = NULL};
    int refused = 0;

    setup(true);
    s.pool = &pool;
    for (size_t i = 4; i < SERIES; i += SHAPES) {
        const int64_t *t = times[i % SHAPES];

        refused += !reads_right(i, INT64_MIN, INT64_MAX, NULL, &s);
        s = (nlt_samples_t){.pool = &pool};
        NLT_CHECK(reads_right(i, t[1000], t[1240], NULL, &s));
        NLT_CHECK(reads_right(i, t[CHUNK_AT], t[CHUNK_AT + 200], NULL, &s));
        NLT_CHECK(s.cap < 1000);
    }
    NLT_CHECK(refused > 1); /* all that have segments */
    teardown();
}

/* Memory for one column's parts, less, and none: the same samples. */
static void
without_memory_nothing_is_kept_and_all_is_read(void)
{
    nlt_samples_t s = {.pool = NULL};

    setup(false);
    s.pool = &pool;
    for (int fail_at = 0; fail_at < 14; fail_at++) {
        nlt_test_mem_t mem;
        nlt_times_t shared;

        nlt_test_mem_init(&mem, fail_at);
        nlt_times_init(&shared, &mem.mem);
        for (size_t i = 4; i < SERIES; i += SHAPES) {
            NLT_CHECK(reads_right(i, INT64_MIN, INT64_MAX, &shared, &s));
        }
        nlt_times_deinit(&shared);
        NLT_CHECK_INT(mem.bytes, 0);
    }
    teardown();
}

/* The second series of a column finds its parts; no more than the bound. */
static void
parts_are_kept_once_and_bounded(void)
{
    /* Only compared and hashed: the same wherever the test is loaded. */
    const void *column = (const void *) (uintptr_t) 0x7f0000001040;
    static int64_t t[NLT_TIMES_PART];
    nlt_times_t shared;
    nlt_test_mem_t mem;
    nlt_samples_t s = {.pool = NULL};
    size_t bytes, found = 0;

    /* A writer forgets times when others hash to their slot: not these. */
    model_state = 1;
    setup(false);
    s.pool = &pool;
    nlt_test_mem_init(&mem, -1);
    nlt_times_init(&shared, &mem.mem);
    NLT_CHECK(reads_right(4, INT64_MIN, INT64_MAX, &shared, &s));
    bytes = mem.bytes;
    NLT_CHECK(bytes >= 5760 * sizeof(int64_t));
    NLT_CHECK(reads_right(4 + SHAPES, INT64_MIN, INT64_MAX, &shared, &s));
    NLT_CHECK_INT(mem.bytes, bytes);
    for (uint32_t i = 0; i < 3 * NLT_TIMES_PARTS_MAX; i++) {
        nlt_times_key_t k = {column, 1, i};

        t[0] = i;
        nlt_times_keep(&shared, &k, t, NLT_TIMES_PART);
    }
    for (uint32_t i = 0; i < 3 * NLT_TIMES_PARTS_MAX; i++) {
        nlt_times_key_t k = {column, 1, i};
        const int64_t *p = nlt_times_find(&shared, &k);

        NLT_CHECK(p == NULL || p[0] == i);
        found += p != NULL;
    }
    NLT_CHECK(found > NLT_TIMES_PARTS_MAX * 9 / 10);
    NLT_CHECK(mem.peak < (NLT_TIMES_PARTS_MAX + 1) * 8 * 520 + 32768);
    nlt_times_deinit(&shared);
    NLT_CHECK_INT(mem.bytes, 0);
    teardown();
}

/* It takes no more than it said. */
static void
kept_times_have_a_limit(void)
{
    static const size_t sizes[] = {0, 20000, 50000, 1000000, 64000000};
    const void *column = (const void *) (uintptr_t) 0x7f0000001040;
    static int64_t t[NLT_TIMES_PART];

    for (size_t s = 0; s < NLT_COUNT(sizes); s++) {
        nlt_test_mem_t mem;
        nlt_times_t kept;
        size_t bytes;

        nlt_test_mem_init(&mem, -1);
        nlt_times_init(&kept, &mem.mem);
        bytes = nlt_times_limit(&kept, sizes[s]);
        NLT_CHECK(bytes <= sizes[s]);
        NLT_CHECK((bytes > 0) == (sizes[s] > 20000));
        for (uint32_t i = 0; i < 3 * NLT_TIMES_PARTS_MAX; i++) {
            nlt_times_keep(&kept, &(nlt_times_key_t){column, 1, i}, t,
                           NLT_TIMES_PART);
        }
        NLT_CHECK(mem.peak <= bytes + 4096); /* one that finds no slot */
        NLT_CHECK(bytes < 20000 || mem.bytes > bytes * 9 / 10);
        nlt_times_deinit(&kept);
        NLT_CHECK_INT(mem.bytes, 0);
    }
}

typedef struct {
    pthread_t thread;
    nlt_times_t *shared;
    uint64_t seed;
    unsigned wrong;
} reader_t;

static void *
read_some(void *arg)
{
    reader_t *r = arg;
    nlt_pool_t own;
    nlt_samples_t s = {.pool = &own};

    nlt_pool_init(&own, &nlt_mem_libc, 16 << 20);
    for (int round = 0; round < 1500; round++) {
        uint64_t x = nlt_mix64(r->seed + (uint64_t) round);
        size_t i = (x >> 56) % SERIES;
        int64_t lo, hi;

        some_range(x, i, &lo, &hi);
        r->wrong += !reads_right(i, lo, hi, r->shared, &s);
    }
    nlt_pool_deinit(&own);
    return NULL;
}

static void
threads_share_what_is_kept(void)
{
    reader_t r[THREADS];
    nlt_times_t shared;

    setup(false);
    nlt_times_init(&shared, &nlt_mem_libc);
    for (size_t i = 0; i < THREADS; i++) {
        r[i] = (reader_t){.shared = &shared, .seed = model_u64()};
        NLT_CHECK(pthread_create(&r[i].thread, NULL, read_some, &r[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        NLT_CHECK(pthread_join(r[i].thread, NULL) == 0);
        NLT_CHECK_INT(r[i].wrong, 0);
    }
    nlt_times_deinit(&shared);
    teardown();
}

int
main(void)
{
    bm_init();
    model_state = nlt_test_seed();
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    NLT_TEST(each_range_reads_as_a_walk_over_all_samples);
    NLT_TEST(other_segments_are_not_looked_at);
    NLT_TEST(without_memory_nothing_is_kept_and_all_is_read);
    NLT_TEST(parts_are_kept_once_and_bounded);
    NLT_TEST(kept_times_have_a_limit);
    NLT_TEST(threads_share_what_is_kept);
    close(dir_fd);
    rmdir(dir_name);
    return nlt_test_done();
}

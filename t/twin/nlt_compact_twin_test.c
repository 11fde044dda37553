/*
 * nlt_compact_twin_test.c - merged blocks against sorted arrays.
 *
 * Random sources in every order: whatever overlaps, repeats, is deleted or
 * too old, the result has the samples that a sort of all of them leaves, bit
 * for bit, and is a valid block.
 */
#include <errno.h>

#include "nlt_block_model.h"
#include "nlt_block_priv.h"
#include "nlt_flush.h"

#define SOURCES_MAX 5
#define NOW_MS      INT64_C(1700000000000)
#define STEP_MS     1000

static char dir_name[] = "/tmp/nlt-compact-twin-XXXXXX";
static int dir_fd;
static const uint8_t store_id[NLT_STORE_ID_BYTES] = {5, 5};
static bool grid; /* all times are multiples of STEP_MS, most without gaps */
static uint64_t n_overlaps, n_deleted, n_tombstones, n_dead, n_histograms,
    n_refused, n_empty, n_dense;

static double
random_value(double last)
{
    switch (nlt_test_below(8)) {
    case 0:
        return nlt_double_of(nlt_test_rand());
    case 1:
        return nlt_double_of(NLT_STALE_NAN_BITS);
    case 2:
        return nlt_double_of(UINT64_C(0x7ff8000000000000)
                             + nlt_test_below(1000));
    case 3:
    case 4:
        return last;
    default:
        return (double) nlt_test_below(1000) / 10;
    }
}

/* A chunk of floats from *t on; *t goes behind it. */
static bm_chunk_t
make_floats(int64_t *t, nlt_pool_t *pool)
{
    static const size_t sizes[] = {1, 3, 20, 120, 239, 240, 480, 600, 3000};
    size_t n = 1 + nlt_test_below(sizes[nlt_test_below(NLT_COUNT(sizes))]);
    int64_t *times = nlt_pool_array(pool, n, sizeof(*times));
    double *v = nlt_pool_array(pool, n, sizeof(*v)), last = 1;
    bool aligned = grid || nlt_test_below(2) > 0;

    for (size_t i = 0; i < n; i++) {
        last = random_value(last);
        times[i] = *t;
        v[i] = last;
        *t += nlt_test_below(30) == 0
                  ? (int64_t) nlt_test_below(200) * STEP_MS + STEP_MS
              : aligned ? STEP_MS - *t % STEP_MS
                        : 1 + (int64_t) nlt_test_below(2 * STEP_MS);
    }
    return (bm_chunk_t){.t_ms = times, .v = v, .n = n};
}

/* Bytes that nobody decodes. */
static bm_chunk_t
make_histogram(int64_t *t, nlt_pool_t *pool)
{
    size_t len = 3 + nlt_test_below(60);
    uint8_t *p = nlt_pool_alloc(pool, len);
    bm_chunk_t c = {.histogram = true,
                    .t_min_ms = *t,
                    .t_max_ms = *t + (int64_t) nlt_test_below(6000),
                    .n = 1 + nlt_test_below(100),
                    .data = {len, (const char *) p}};

    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t) nlt_test_rand();
    }
    nlt_put_be16(p, (uint16_t) c.n);
    *t = c.t_max_ms + 1;
    return c;
}

static void
make_series(bm_series_t *s, size_t set, int64_t from, bool histograms,
            nlt_pool_t *pool)
{
    int64_t t = from + (int64_t) nlt_test_below(grid ? 5 : 500) * STEP_MS;

    s->set = set;
    s->n_chunks = 1 + nlt_test_below(6);
    s->chunks = nlt_pool_array(pool, s->n_chunks, sizeof(*s->chunks));
    for (size_t i = 0; i < s->n_chunks; i++) {
        s->chunks[i] = histograms && nlt_test_below(4) == 0
                           ? make_histogram(&t, pool)
                           : make_floats(&t, pool);
        t += nlt_test_below(3) ? !grid
                               : (int64_t) nlt_test_below(600) * STEP_MS;
    }
}

/* At least one series of the universe. */
static void
make_block(bm_block_t *b, int64_t from, bool histograms, nlt_pool_t *pool)
{
    uint64_t one_of = 1 + nlt_test_below(8);

    b->series = nlt_pool_array(pool, BM_SETS, sizeof(*b->series));
    b->n_series = 0;
    while (b->n_series == 0) {
        for (size_t set = 0; set < BM_SETS; set++) {
            if (nlt_test_below(one_of) == 0) {
                make_series(&b->series[b->n_series++], set, from, histograms,
                            pool);
            }
        }
    }
    b->n_tombstones = nlt_test_below(3) ? 0 : 1 + nlt_test_below(20);
    b->tombstones =
        nlt_pool_zalloc(pool, (b->n_tombstones + 1) * sizeof(*b->tombstones));
    for (size_t i = 0; i < b->n_tombstones; i++) {
        const bm_series_t *of = &b->series[nlt_test_below(b->n_series)];
        const bm_chunk_t *c = &of->chunks[nlt_test_below(of->n_chunks)];
        int64_t t = from + (int64_t) nlt_test_below(3000) * STEP_MS;

        /* Into the middle of a chunk, often. */
        if (c->histogram) {
            t = c->t_min_ms
                + (int64_t) nlt_test_below(
                    (uint64_t) (c->t_max_ms - c->t_min_ms + 1));
        }
        b->tombstones[i] = (bm_tombstone_t){
            .set = of->set,
            .interval = {t, t + (int64_t) nlt_test_below(5000)}};
    }
    n_tombstones += b->n_tombstones;
    b->info = (nlt_manifest_block_t){
        .arena = nlt_test_below(6), .deletes = nlt_test_below(3), .level = 1};
    bm_write(b, &nlt_env_posix, dir_fd, nlt_test_below(2) ? 16 : 0, pool);
}

static void
make_matcher(nlt_matcher_t *m, nlt_pool_t *pool)
{
    static const nlt_matcher_t some[] = {
        {NLT_MATCH_EQ, {8, "__name__"}, {2, "m1"}, NULL},
        {NLT_MATCH_EQ, {1, "i"}, {2, "17"}, NULL},
        {NLT_MATCH_EQ, {1, "z"}, {0, ""}, NULL},
        {NLT_MATCH_NE, {1, "z"}, {2, "x1"}, NULL},
        {NLT_MATCH_RE, {1, "i"}, {5, "1.|2."}, NULL},
        {NLT_MATCH_NRE, {8, "__name__"}, {6, "m[0-3]"}, NULL},
        {NLT_MATCH_EQ, {6, "nosuch"}, {1, "x"}, NULL},
    };
    nlt_err_t err;

    *m = some[nlt_test_below(NLT_COUNT(some))];
    NLT_CHECK_INT(nlt_matcher_compile(pool, m, &err), NLT_OK);
}

static nlt_delete_list_t *
make_deletes(int64_t from, nlt_pool_t *pool)
{
    nlt_delete_list_t *l = nlt_pool_zalloc(pool, sizeof(*l));

    l->n = nlt_test_below(5);
    l->last = 2 + l->n;
    l->v = nlt_pool_zalloc(pool, 8 * sizeof(*l->v));
    for (size_t i = 0; i < l->n; i++) {
        nlt_delete_t *d = &l->v[i];

        d->number = i + 1 + nlt_test_below(2);
        d->arena_max = nlt_test_below(7);
        d->t_min_ms = nlt_test_below(4) == 0
                          ? INT64_MIN
                          : from + (int64_t) nlt_test_below(3000) * STEP_MS;
        d->t_max_ms = nlt_test_below(4) == 0
                          ? INT64_MAX
                          : nlt_max_i64(d->t_min_ms, from)
                                + (int64_t) nlt_test_below(1000) * STEP_MS;
        d->n_sets = 1 + nlt_test_below(2);
        d->sets = nlt_pool_zalloc(pool, d->n_sets * sizeof(*d->sets));
        for (size_t k = 0; k < d->n_sets; k++) {
            d->sets[k].n = nlt_test_below(3);
            d->sets[k].matchers =
                nlt_pool_zalloc(pool, 3 * sizeof(nlt_matcher_t));
            for (size_t j = 0; j < d->sets[k].n; j++) {
                make_matcher(&d->sets[k].matchers[j], pool);
            }
        }
    }
    return l;
}

static void
free_deletes(nlt_delete_list_t *l)
{
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < l->v[i].n_sets; k++) {
            for (size_t j = 0; j < l->v[i].sets[k].n; j++) {
                nlt_matcher_release(&l->v[i].sets[k].matchers[j]);
            }
        }
    }
}

/* Do histograms of the set overlap anything? */
static bool
is_refused(const bm_merged_t *m)
{
    for (size_t i = 0; i < m->n_histograms; i++) {
        const bm_chunk_t *h = m->histograms[i];

        if (i > 0 && m->histograms[i - 1]->t_max_ms >= h->t_min_ms) {
            return true;
        }
        for (size_t k = 0; k < m->n; k++) {
            if (m->v[k].t_ms >= h->t_min_ms && m->v[k].t_ms <= h->t_max_ms) {
                return true;
            }
        }
    }
    return false;
}

/* Tombstones say just what is deleted of a chunk of histograms. */
static void
check_dead(const nlt_block_t *b, uint32_t id, size_t set, const bm_chunk_t *c,
           int64_t t_oldest, const nlt_delete_list_t *deletes)
{
    size_t n, bad = 0;
    const nlt_interval_t *v = nlt_tombstones_of(&b->tombstones, id, &n);

    for (int64_t t = c->t_min_ms; t <= c->t_max_ms; t++) {
        bool dead = t < t_oldest || bm_is_deleted(deletes, c->block, set, t);

        bad += dead != nlt_intervals_cover(v, n, t, t);
        n_dead += dead;
    }
    NLT_CHECK_INT(bad, 0);
}

static void
check_series(const nlt_block_t *b, uint32_t id, size_t set,
             const bm_merged_t *want, int64_t t_oldest,
             const nlt_delete_list_t *deletes, nlt_pool_t *pool)
{
    nlt_samples_t got = {.pool = pool};
    nlt_block_raw_chunk_t *c;
    size_t n, h = 0, bad = 0, n_floats = 0, n_small = 0;
    nlt_labels_t labels;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_block_labels(b, id, pool, &labels, &err), NLT_OK);
    NLT_CHECK(nlt_labels_eq(labels, bm_labels(set)));
    NLT_CHECK_INT(nlt_block_read(b, id, INT64_MIN, INT64_MAX, &got, &err),
                  NLT_OK);
    NLT_CHECK_INT(got.n, want->n);
    for (size_t i = 0; i < got.n && i < want->n; i++) {
        bad += got.t_ms[i] != want->v[i].t_ms
               || nlt_bits_of(got.v[i]) != nlt_bits_of(want->v[i].v);
    }
    NLT_CHECK_INT(bad, 0);
    NLT_CHECK_INT(nlt_block_chunks(b, id, pool, &c, &n, &err), NLT_OK);
    for (size_t i = 0; i < n; i++) {
        if (c[i].encoding == NLT_CHUNK_DENSE) {
            n_dense++;
            continue;
        }
        if (c[i].encoding == NLT_CHUNK_XOR) {
            n_floats++;
            n_small += nlt_be16(c[i].data.data) < NLT_COMPACT_COPY_MIN;
            continue;
        }
        NLT_CHECK(h < want->n_histograms
                  && nlt_str_eq(c[i].data, want->histograms[h]->data)
                  && c[i].t_min_ms == want->histograms[h]->t_min_ms
                  && c[i].t_max_ms == want->histograms[h]->t_max_ms);
        check_dead(b, id, set, want->histograms[h], t_oldest, deletes);
        h++;
    }
    NLT_CHECK_INT(h, want->n_histograms);
    /* No two neighbours that would fit in one: small ones stand between
     * large ones or histograms. */
    NLT_CHECK(n_small <= n_floats / 2 + 1 + h);
}

/* The block that was written, and nothing else of it but what is expected. */
static void
check_block(const nlt_manifest_block_t *out, const bm_merged_t *want,
            uint64_t n_samples, uint64_t n_hist, int64_t t_oldest,
            const nlt_delete_list_t *deletes, nlt_pool_t *pool)
{
    nlt_str_t symbols[BM_SETS * BM_LABELS_MAX * 2];
    size_t sets[BM_SETS], n_sets = 0, n;
    nlt_block_t *b;
    uint32_t *ids;
    nlt_err_t err = {.text = ""};
    nlt_rc_t rc =
        nlt_block_open(&nlt_env_posix, dir_fd, out->ulid.c, &b, &err);

    if (rc == NLT_OK) {
        rc = nlt_block_validate(b, pool, &err);
    }
    if (rc != NLT_OK) {
        printf("# %s\n", err.text);
    }
    NLT_CHECK_INT(rc, NLT_OK);
    if (rc != NLT_OK) {
        return;
    }
    for (size_t set = 0; set < BM_SETS; set++) {
        if (want[set].n + want[set].n_histograms > 0) {
            sets[n_sets++] = set;
        }
    }
    NLT_CHECK(nlt_flush_owns(store_id, nlt_block_meta(b)));
    NLT_CHECK_INT(nlt_block_meta(b)->arena, out->arena);
    NLT_CHECK_INT(nlt_block_meta(b)->level, 3);
    NLT_CHECK_INT(out->n_samples, n_samples);
    NLT_CHECK_INT(out->n_histograms, n_hist);
    NLT_CHECK_INT(out->n_series, n_sets);
    NLT_CHECK(out->bytes > 0);
    NLT_CHECK_INT(nlt_index_file_n_symbols(b->index),
                  bm_symbols(sets, n_sets, symbols));
    NLT_CHECK_INT(nlt_block_select(b, pool, NULL, 0, &ids, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, n_sets);
    for (size_t i = 0; i < n && i < n_sets; i++) {
        check_series(b, ids[i], sets[i], &want[sets[i]], t_oldest, deletes,
                     pool);
    }
    nlt_block_close(b);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, out->ulid.c, &err),
                  NLT_OK);
}

/* Merges the blocks in the given order. */
static void
check_order(bm_block_t *const *order, size_t n, int64_t t_oldest,
            const nlt_delete_list_t *deletes)
{
    nlt_compact_source_t src[SOURCES_MAX];
    nlt_compact_conf_t conf = {.env = &nlt_env_posix,
                               .blocks_fd = dir_fd,
                               .store_id = store_id,
                               .now_ms = NOW_MS,
                               .t_oldest_ms = t_oldest,
                               .deletes = deletes,
                               .level = 3,
                               .dense = nlt_test_below(2)};
    bm_merged_t want[BM_SETS];
    nlt_manifest_block_t out;
    nlt_pool_t pool;
    nlt_err_t err = {.text = ""};
    uint64_t n_samples = 0, n_hist = 0, arena = 0;
    int64_t t_min = INT64_MAX, t_max = INT64_MIN;
    bool refused = false;
    nlt_rc_t rc;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 30);
    for (size_t i = 0; i < n; i++) {
        src[i] = (nlt_compact_source_t){order[i]->block, order[i]->info};
        arena = arena > order[i]->info.arena ? arena : order[i]->info.arena;
        t_min = nlt_min_i64(t_min, order[i]->info.t_min_ms);
    }
    for (size_t set = 0; set < BM_SETS; set++) {
        bm_merged_t *m = &want[set];

        *m = bm_merge(order, n, set, t_oldest, deletes, &pool);
        refused |= is_refused(m);
        n_samples += m->n;
        for (size_t i = 0; i < m->n_histograms; i++) {
            n_hist += m->histograms[i]->n;
            t_max = nlt_max_i64(t_max, m->histograms[i]->t_max_ms);
        }
        if (m->n > 0) {
            t_max = nlt_max_i64(t_max, m->v[m->n - 1].t_ms);
        }
    }
    n_histograms += n_hist;
    rc = nlt_compact_blocks(&conf, src, n, &out, NULL, &err);
    if (rc == NLT_ELIMIT && n_hist > 0) {
        /* Gaps inside chunks may make it refuse what would do. */
        n_refused++;
    } else if (rc != NLT_OK || refused) {
        printf("# %s\n", err.text);
        NLT_CHECK_INT(rc, refused ? NLT_ELIMIT : NLT_OK);
    } else if (n_samples + n_hist == 0) {
        n_empty++;
        NLT_CHECK_INT(out.n_samples, 0);
    } else {
        NLT_CHECK_INT(out.arena, arena);
        NLT_CHECK_INT(out.deletes, deletes->last);
        NLT_CHECK_INT(out.t_min_ms, t_min);
        NLT_CHECK_INT(out.t_end_ms, t_max + 1);
        check_block(&out, want, n_samples + n_hist, n_hist, t_oldest, deletes,
                    &pool);
    }
    nlt_pool_deinit(&pool);
}

/*
 * The first k blocks are merged first, the result then with the others: what
 * comes out is that of all at once, though some samples were in chunks that
 * were joined, copied and merged twice.
 */
static void
check_steps(bm_block_t *const *order, size_t n, int64_t t_oldest,
            const nlt_delete_list_t *deletes)
{
    size_t k = 1 + nlt_test_below(n - 1);
    nlt_compact_source_t src[SOURCES_MAX];
    nlt_compact_conf_t conf = {.env = &nlt_env_posix,
                               .blocks_fd = dir_fd,
                               .store_id = store_id,
                               .now_ms = NOW_MS,
                               .t_oldest_ms = t_oldest,
                               .deletes = deletes,
                               .level = 2,
                               .dense = nlt_test_below(2)};
    bm_merged_t want[BM_SETS];
    nlt_manifest_block_t first, out;
    nlt_block_t *b = NULL;
    nlt_pool_t pool;
    nlt_err_t err = {.text = ""};
    uint64_t n_samples = 0;
    nlt_rc_t rc;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 30);
    for (size_t i = 0; i < n; i++) {
        src[i] = (nlt_compact_source_t){order[i]->block, order[i]->info};
    }
    for (size_t set = 0; set < BM_SETS; set++) {
        want[set] = bm_merge(order, n, set, t_oldest, deletes, &pool);
        n_samples += want[set].n;
    }
    rc = nlt_compact_blocks(&conf, src, k, &first, NULL, &err);
    if (rc == NLT_OK && first.n_samples > 0) {
        rc = nlt_block_open(&nlt_env_posix, dir_fd, first.ulid.c, &b, &err);
        src[k - 1] = (nlt_compact_source_t){b, first};
        k--;
    }
    if (rc == NLT_OK && n > k) {
        conf.level = 3;
        conf.dense = nlt_test_below(2);
        rc = nlt_compact_blocks(&conf, src + k, n - k, &out, NULL, &err);
    }
    if (rc != NLT_OK) {
        printf("# %s\n", err.text);
    }
    NLT_CHECK_INT(rc, NLT_OK);
    NLT_CHECK_INT(out.n_samples, n_samples);
    if (rc == NLT_OK && n_samples > 0) {
        check_block(&out, want, n_samples, 0, t_oldest, deletes, &pool);
    }
    if (b != NULL) {
        nlt_block_close(b);
        NLT_CHECK_INT(
            nlt_io_remove_tree(&nlt_io_posix, dir_fd, first.ulid.c, &err),
            NLT_OK);
    }
    nlt_pool_deinit(&pool);
}

/* All orders of v[k ..]. */
static void
check_orders(bm_block_t **v, size_t k, size_t n, int64_t t_oldest,
             const nlt_delete_list_t *deletes)
{
    if (k == n) {
        check_order(v, n, t_oldest, deletes);
    }
    for (size_t i = k; i < n; i++) {
        bm_block_t *x = v[k];

        v[k] = v[i];
        v[i] = x;
        check_orders(v, k + 1, n, t_oldest, deletes);
        v[i] = v[k];
        v[k] = x;
    }
}

static void
check_round(size_t n, int64_t spread, bool histograms, bool with_deletes)
{
    bm_block_t blocks[SOURCES_MAX], *v[SOURCES_MAX];
    int64_t from = NOW_MS, t_oldest;
    nlt_delete_list_t none = {.last = 2}, *deletes = &none;
    nlt_pool_t pool;
    nlt_err_t err;

    grid = nlt_test_below(2);
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 30);
    for (size_t i = 0; i < n; i++) {
        v[i] = &blocks[i];
        make_block(v[i], from + (int64_t) i * spread, histograms, &pool);
        n_overlaps += i > 0 && v[i]->info.t_min_ms < v[i - 1]->info.t_end_ms;
    }
    if (with_deletes) {
        deletes = make_deletes(from, &pool);
        n_deleted += deletes->n;
    }
    t_oldest = nlt_test_below(3)
                   ? INT64_MIN
                   : from + (int64_t) nlt_test_below(3000) * STEP_MS;
    if (n <= 3) {
        check_orders(v, 0, n, t_oldest, deletes);
    } else {
        check_order(v, n, t_oldest, deletes);
    }
    if (n > 1 && !histograms) {
        check_steps(v, n, t_oldest, deletes);
    }
    free_deletes(deletes);
    for (size_t i = 0; i < n; i++) {
        nlt_block_close(v[i]->block);
        NLT_CHECK_INT(
            nlt_io_remove_tree(&nlt_io_posix, dir_fd, v[i]->info.ulid.c, &err),
            NLT_OK);
    }
    nlt_pool_deinit(&pool);
}

static void
merged_blocks_agree_with_sorted_arrays(void)
{
    for (int i = 0; i < 10; i++) {
        check_round(1 + nlt_test_below(SOURCES_MAX), 0, false, false);
        check_round(1 + nlt_test_below(SOURCES_MAX), 2000 * STEP_MS, false,
                    false);
    }
}

static void
deletes_leave_samples_out_of_each_source_by_its_own_rules(void)
{
    for (int i = 0; i < 10; i++) {
        check_round(1 + nlt_test_below(SOURCES_MAX), 0, false, true);
        check_round(1 + nlt_test_below(3), 3000 * STEP_MS, true, true);
    }
    NLT_CHECK(n_dense > 0);
    NLT_CHECK(n_deleted > 0 && n_tombstones > 0);
}

static void
histograms_are_copied_or_refused(void)
{
    for (int i = 0; i < 6; i++) {
        check_round(1, 0, true, false);
        check_round(1 + nlt_test_below(SOURCES_MAX), 30000 * STEP_MS, true,
                    false);
        check_round(2, 500 * STEP_MS, true, false);
    }
    NLT_CHECK(n_histograms > 0);
}

int
main(void)
{
    (void) nlt_test_seed();
    bm_init();
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    NLT_TEST(merged_blocks_agree_with_sorted_arrays);
    NLT_TEST(deletes_leave_samples_out_of_each_source_by_its_own_rules);
    NLT_TEST(histograms_are_copied_or_refused);
    printf("# overlaps %" PRIu64 ", deletes %" PRIu64 ", tombstones %" PRIu64
           ", dead ms %" PRIu64 ", histograms %" PRIu64 ", refused %" PRIu64
           ", empty %" PRIu64 "\n",
           n_overlaps, n_deleted, n_tombstones, n_dead, n_histograms,
           n_refused, n_empty);
    close(dir_fd);
    rmdir(dir_name);
    return nlt_test_done();
}

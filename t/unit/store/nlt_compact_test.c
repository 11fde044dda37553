/*
 * nlt_compact_test.c - several blocks become one.
 */
#include "nlt_compact_fixture.h"

static void
large_chunks_are_copied_byte_for_byte(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_raw_chunk_t *c;
    size_t n;

    setup();
    add(1, 0, 1, row(0, 480, 2), 2);
    add(2, 0, 1, row(960, 300, 3), 3);
    c = chunks_of(merged(&conf), 0, &n);
    NLT_CHECK_INT(n, 5);
    for (size_t i = 0; i < n && i < 5; i++) {
        const bm_chunk_t *was = i < 2 ? &block[0].series[0].chunks[i]
                                      : &block[1].series[0].chunks[i - 2];

        NLT_CHECK(nlt_str_eq(c[i].data, was->data));
        NLT_CHECK_INT(c[i].t_min_ms, was->t_min_ms);
        NLT_CHECK_INT(c[i].t_max_ms, was->t_max_ms);
    }
    teardown();
}

static void
small_neighbours_become_one_chunk(void)
{
    static const unsigned want[] = {480, 480, 360};
    nlt_compact_conf_t conf = conf_of(NULL);

    setup();
    add(1, 0, 1, row(0, 120, 5), 5);
    add(2, 0, 1, row(600, 120, 6), 6);
    check_counts(merged(&conf), want, 3);
    teardown();
}

/* What a rotation between two borders leaves: parts of one window. */
static void
parts_of_a_window_become_one_chunk(void)
{
    static const unsigned want[] = {481, 480};
    nlt_compact_conf_t conf = conf_of(NULL);

    setup();
    add(1, 0, 1, row(0, 173, 1), 1);
    add(2, 0, 1, row(173, 308, 1), 1);
    add(2, 0, 1, row(481, 172, 1), 1);
    add(3, 0, 1, row(653, 308, 1), 1);
    check_counts(merged(&conf), want, 2);
    teardown();
}

/* Of another program: its encoder did not look ahead. */
static void
small_chunks_of_others_are_encoded_anew(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    uint8_t whole[512 * NLT_XOR_SAMPLE_BYTES_MAX];
    nlt_block_raw_chunk_t *c;
    int64_t t[480];
    double v[480];
    size_t n, len, apart = 0;

    setup();
    for (size_t i = 0; i < 480; i++) {
        t[i] = T0_MS + (int64_t) i * 15000;
        v[i] = i % 50 ? (double) (i * 7 % 1000) / 10 : 1e9;
    }
    len = nlt_xor_encode_chunk(t, v, 480, 16, whole);
    for (size_t i = 0; i < 4; i++) {
        bm_chunk_t *part = nlt_pool_zalloc(&pool, sizeof(*part));

        *part = (bm_chunk_t){.t_ms = t + i * 120, .v = v + i * 120, .n = 120};
        add(i + 1, 0, 1, part, 1);
    }
    c = chunks_of(merged(&conf), 0, &n);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK(!nlt_str_eq(c[0].data, (nlt_str_t){len, (char *) whole}));
    apart = c[0].data.len;
    NLT_CHECK(apart >= len && apart < len + len / 50);
    n_blocks--;
    nlt_block_close(block[4].block);
    NLT_CHECK_INT(
        nlt_io_remove_tree(&nlt_io_posix, dir_fd, block[4].info.ulid.c, &err),
        NLT_OK);
    block[2].block->meta.ours = false;
    c = chunks_of(merged(&conf), 0, &n);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK(nlt_str_eq(c[0].data, (nlt_str_t){len, (char *) whole}));
    teardown();
}

static void
merged_samples_are_split_evenly(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_raw_chunk_t *c;
    size_t n, sum = 0;

    setup();
    /* Odd and even half seconds, for a long time. */
    add(1, 0, 1, row(0, 400, 50), 50);
    for (size_t i = 0; i < 50; i++) {
        int64_t *t = nlt_pool_array(&pool, 400, sizeof(*t));
        bm_chunk_t *c0 = &block[0].series[0].chunks[i];

        for (size_t k = 0; k < 400; k++) {
            t[k] = c0->t_ms[k] + 500;
        }
        c0[0].t_ms = t;
    }
    add(2, 0, 1, block[0].series[0].chunks, 50);
    c = chunks_of(merged(&conf), 0, &n);
    for (size_t i = 0; i < n; i++) {
        unsigned count = nlt_be16(c[i].data.data);

        NLT_CHECK(count >= 360 && count <= NLT_FLUSH_CHUNK_SAMPLES);
        sum += count;
    }
    NLT_CHECK_INT(sum, 2 * 50 * 400);
    NLT_CHECK(n <= sum / NLT_FLUSH_CHUNK_SAMPLES + 2);
    teardown();
}

/* To dense chunks and back: samples as before, chunks that share times. */
static void
dense_and_back_changes_no_sample(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_samples_t was = {.pool = &pool}, is = {.pool = &pool};
    nlt_block_raw_chunk_t *c;
    nlt_block_t *b;
    uint32_t *ids;
    size_t n;

    setup();
    for (unsigned k = 1; k <= 3; k++) {
        add(1, 0, k, row(0, 480, 20), 20);
    }
    add(2, 0, 1, row(480 * 20, 100, 3), 3);
    NLT_CHECK_INT(
        nlt_block_select(block[0].block, &pool, NULL, 0, &ids, &n, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_block_read(block[0].block, ids[0], INT64_MIN, INT64_MAX,
                                 &was, &err),
                  NLT_OK);
    for (int round = 0; round < 2; round++) {
        conf.dense = round == 0;
        b = merged(&conf);
        c = chunks_of(b, 0, &n);
        NLT_CHECK_INT(c[0].encoding,
                      conf.dense ? NLT_CHUNK_DENSE : NLT_CHUNK_XOR);
        NLT_CHECK_INT(nlt_block_meta(b)->dense, conf.dense);
        NLT_CHECK_INT(block[n_blocks - 1].info.dense, conf.dense);
        NLT_CHECK_INT(nlt_block_validate(b, &pool, &err), NLT_OK);
        NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &ids, &n, &err),
                      NLT_OK);
        is.n = 0;
        NLT_CHECK_INT(nlt_block_read(b, ids[0], INT64_MIN, was.t_ms[was.n - 1],
                                     &is, &err),
                      NLT_OK);
        NLT_CHECK_INT(is.n, was.n);
        NLT_CHECK(memcmp(is.t_ms, was.t_ms, was.n * sizeof(*was.t_ms)) == 0);
        NLT_CHECK(memcmp(is.v, was.v, was.n * sizeof(*was.v)) == 0);
    }
    teardown();
}

/* Block i is not there any more. */
static void
drop(size_t i)
{
    nlt_block_close(block[i].block);
    NLT_CHECK_INT(
        nlt_io_remove_tree(&nlt_io_posix, dir_fd, block[i].info.ulid.c, &err),
        NLT_OK);
    n_blocks--;
    memmove(block + i, block + i + 1, (n_blocks - i) * sizeof(*block));
}

/*
 * Long dense chunks are copied, by their own kind, with times that the block
 * has once; short ones, and what is cut, are encoded anew.
 */
static void
long_dense_chunks_are_copied(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_raw_chunk_t *a, *b, *c;
    nlt_delete_list_t rules;
    nlt_delete_t rule;
    nlt_delete_set_t set;
    nlt_matcher_t m;
    size_t n;

    setup();
    conf.dense = true;
    add(1, 0, 2, row(0, 500, 10), 10);
    first = 0;
    a = chunks_of(merged(&conf), 0, &n); /* one chunk of 5000 */
    NLT_CHECK_INT(n, 1);
    add(2, 0, 2, row(5000, 500, 12), 12);
    first = 2;
    b = chunks_of(merged(&conf), 0, &n); /* and one of 6000 */
    NLT_CHECK_INT(n, 1);
    add(2, 0, 2, row(11000, 300, 2), 2);
    first = 0;
    drop(0); /* of the blocks now: the dense two and the last */
    drop(1);
    c = chunks_of(merged(&conf), 1, &n);
    NLT_CHECK_INT(n, 3);
    NLT_CHECK_INT(c[0].data.len, a[0].data.len);
    NLT_CHECK(memcmp(c[0].data.data + 8, a[0].data.data + 8, c[0].data.len - 8)
              == 0);
    NLT_CHECK(memcmp(c[1].data.data + 8, b[0].data.data + 8, c[1].data.len - 8)
              == 0);
    NLT_CHECK_INT(c[2].encoding, NLT_CHUNK_DENSE);
    NLT_CHECK_INT(nlt_be16(c[2].data.data), 600);
    /* Two series, three columns of times. */
    NLT_CHECK(block[3].info.bytes
              < 2 * (a[0].data.len + b[0].data.len + c[2].data.len) + 3000);
    rules = one_rule(&rule, &set, &m);
    rule.t_min_ms = T0_MS + 1000000;
    rule.t_max_ms = T0_MS + 1009000;
    conf.deletes = &rules;
    first = 3;
    c = chunks_of(merged(&conf), 0, &n);
    NLT_CHECK_INT(nlt_block_meta(block[4].block)->n_samples, 2 * (11600 - 10));
    teardown();
}

/* What a block says of itself decides how its files are handed on. */
static void
a_portable_block_has_no_dense_chunk(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_manifest_block_t out;
    nlt_samples_t s = {.pool = &pool};
    nlt_block_t *b;
    uint32_t *ids;
    size_t n;

    setup();
    add(1, 0, 2, row(0, 480, 3), 3);
    conf.dense = true;
    b = merged(&conf);
    b->meta.dense = false;
    NLT_CHECK_INT(nlt_block_validate(b, &pool, &err), NLT_EDATA);
    NLT_CHECK(strstr(err.text, "is dense, but not the block") != NULL);
    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &ids, &n, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_read(b, ids[0], INT64_MIN, INT64_MAX, &s, &err),
                  NLT_EDATA);
    NLT_CHECK_INT(merge(&conf, &out, NULL), NLT_EDATA);
    teardown();
}

/* Histograms are as they were; a block that has only them is portable. */
static void
histograms_have_no_dense_form(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    bm_chunk_t c[2];
    const nlt_block_meta_t *m;
    nlt_block_raw_chunk_t *raw;
    size_t n;

    setup();
    c[1] = (bm_chunk_t){.histogram = true,
                        .t_min_ms = T0_MS + 300 * INT64_C(1000),
                        .t_max_ms = T0_MS + 400 * INT64_C(1000),
                        .n = 100,
                        .data = {12, "\0\x64histogram."}};
    add(1, 0, 1, &c[1], 1);
    conf.dense = true;
    m = nlt_block_meta(merged(&conf));
    NLT_CHECK(!m->dense);
    NLT_CHECK_INT(m->n_histogram_samples, 100);
    teardown();
    setup();
    c[0] = floats(T0_MS, 300, 1000);
    add(1, 0, 1, c, 2);
    m = nlt_block_meta(merged(&conf));
    NLT_CHECK(m->dense);
    raw = chunks_of(block[1].block, 0, &n);
    NLT_CHECK_INT(n, 2);
    NLT_CHECK_INT(raw[0].encoding, NLT_CHUNK_DENSE);
    NLT_CHECK_INT(raw[1].encoding, NLT_CHUNK_HISTOGRAM);
    NLT_CHECK(nlt_str_eq(raw[1].data, c[1].data));
    teardown();
}

static double
value_at(const nlt_block_t *b, int64_t t)
{
    nlt_samples_t s = {.pool = &pool};
    uint32_t *ids;
    size_t n;

    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &ids, &n, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_read(b, ids[0], t, t, &s, &err), NLT_OK);
    NLT_CHECK_INT(s.n, 1);
    return s.n ? s.v[0] : -1;
}

/* Where one ends another begins: one sample, of the source that is first. */
static void
the_first_source_wins_at_equal_times(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_t *b;
    bm_chunk_t c[2];

    setup();
    c[0] = floats(T0_MS, 300, 1000);
    c[1] = floats(T0_MS + 299 * INT64_C(1000), 300, 2000);
    add(1, 0, 1, &c[1], 1);
    add(2, 0, 1, &c[0], 1);
    b = merged(&conf);
    NLT_CHECK_INT(nlt_block_meta(b)->n_samples, 599);
    NLT_CHECK_BITS(value_at(b, T0_MS + 299 * INT64_C(1000)), 2000);
    NLT_CHECK_BITS(value_at(b, T0_MS + 298 * INT64_C(1000)), 1298);
    NLT_CHECK_INT(block[2].info.arena, 2);
    teardown();
}

static bool
has_ulid(const nlt_ulid_t *v, size_t n, const nlt_ulid_t *u)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(v[i].c, u->c) == 0) {
            return true;
        }
    }
    return false;
}

static void
the_result_knows_whose_it_is_and_what_it_came_from(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    const nlt_block_meta_t *m;
    uint8_t other[NLT_STORE_ID_BYTES] = {6, 2};

    setup();
    add(0, 0, 1, row(0, 10, 1), 1);
    add(0, 0, 1, row(10, 10, 1), 1);
    block[1].info.deletes = 4;
    m = nlt_block_meta(merged(&conf)); /* arena 0 */
    NLT_CHECK_INT(m->arena, 0);
    NLT_CHECK(nlt_flush_owns(store_id, m));
    NLT_CHECK(!nlt_flush_owns(other, m));
    NLT_CHECK_INT(m->level, 2);
    NLT_CHECK_INT(m->n_parents, 2);
    NLT_CHECK_INT(m->n_sources, 2);
    NLT_CHECK_INT(block[2].info.deletes, 4);
    NLT_CHECK_INT(block[2].info.level, 2);
    add(9, 0, 1, row(20, 10, 1), 1);
    conf.level = 3;
    m = nlt_block_meta(merged(&conf)); /* of all four */
    NLT_CHECK_INT(m->level, 3);
    NLT_CHECK_INT(m->arena, 9);
    NLT_CHECK(nlt_flush_owns(store_id, m));
    NLT_CHECK_INT(m->n_parents, 4);
    for (size_t i = 0; i < 4; i++) {
        NLT_CHECK(has_ulid(m->parents, 4, &block[i].info.ulid));
        NLT_CHECK(has_ulid(m->sources, m->n_sources, &block[i].info.ulid)
                  == (i != 2));
    }
    NLT_CHECK_INT(m->n_sources, 3);
    NLT_CHECK_INT(m->t_min_ms, T0_MS);
    NLT_CHECK_INT(m->t_end_ms, T0_MS + 29001);
    teardown();
}

/* A block that says it came from many, as one of a year would. */
static void
too_many_sources_are_cut_to_the_newest(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    const nlt_block_meta_t *m;
    nlt_ulid_t last = {{0}};

    setup();
    add(1, 0, 1, row(0, 10, 1), 1);
    add(2, 0, 1, row(10, 10, 1), 1);
    for (size_t b = 0; b < 2; b++) {
        nlt_block_meta_t *own = &block[b].block->meta;

        own->n_sources = 700;
        own->sources = nlt_pool_array(&pool, 700, sizeof(nlt_ulid_t));
        for (size_t i = 0; i < 700; i++) {
            nlt_flush_ulid(store_id, 1, 0, (int64_t) (2 * i + b),
                           &own->sources[i]);
            last = own->sources[i];
        }
    }
    m = nlt_block_meta(merged(&conf));
    NLT_CHECK_INT(m->n_sources, NLT_BLOCK_SOURCES_MAX);
    NLT_CHECK(strcmp(m->sources[NLT_BLOCK_SOURCES_MAX - 1].c, last.c) == 0);
    for (size_t i = 1; i < m->n_sources; i++) {
        NLT_CHECK(strcmp(m->sources[i - 1].c, m->sources[i].c) < 0);
    }
    teardown();
}

static void
tests(void)
{
    NLT_TEST(large_chunks_are_copied_byte_for_byte);
    NLT_TEST(small_neighbours_become_one_chunk);
    NLT_TEST(parts_of_a_window_become_one_chunk);
    NLT_TEST(small_chunks_of_others_are_encoded_anew);
    NLT_TEST(merged_samples_are_split_evenly);
    NLT_TEST(dense_and_back_changes_no_sample);
    NLT_TEST(long_dense_chunks_are_copied);
    NLT_TEST(a_portable_block_has_no_dense_chunk);
    NLT_TEST(histograms_have_no_dense_form);
    NLT_TEST(the_first_source_wins_at_equal_times);
    NLT_TEST(the_result_knows_whose_it_is_and_what_it_came_from);
    NLT_TEST(too_many_sources_are_cut_to_the_newest);
}

int
main(void)
{
    return run(tests);
}

/*
 * nlt_compact_deletes_test.c - what is left out of a merge.
 */
#include "nlt_compact_fixture.h"

static void
what_was_deleted_leaves_no_name_behind(void)
{
    nlt_matcher_t m;
    nlt_delete_set_t set;
    nlt_delete_t d;
    nlt_delete_list_t l = one_rule(&d, &set, &m);
    nlt_compact_conf_t conf = conf_of(&l);
    nlt_str_t *v;
    nlt_block_t *b;
    size_t n;

    setup();
    add(2, 0, BM_SETS, row(0, 300, 2), 2);
    b = merged(&conf);
    NLT_CHECK_INT(block[1].info.n_series, BM_SETS - BM_SETS / 5);
    NLT_CHECK_INT(block[1].info.deletes, 5);
    NLT_CHECK_INT(
        nlt_block_label_values(b, NLT_METRIC_NAME, &pool, &v, &n, &err),
        NLT_OK);
    NLT_CHECK_INT(n, 4);
    NLT_CHECK_STR(v[0], "m1");
    NLT_CHECK(
        !nlt_index_file_find_symbol(b->index, NLT_STR("m0"), &(uint64_t){0}));
    teardown();
}

static void
tombstones_are_applied_and_gone(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_t *b;
    nlt_samples_t s = {.pool = &pool};
    uint32_t *ids;
    size_t n;

    setup();
    tombstones[0] = (bm_tombstone_t){
        0, {T0_MS + 100 * INT64_C(1000), T0_MS + 399 * INT64_C(1000)}};
    tombstones[1] = (bm_tombstone_t){1, {INT64_MIN, INT64_MAX}};
    n_tombstones = 2;
    add(0, 0, 3, row(0, 300, 2), 2);
    n_tombstones = 0;
    add(1, 0, 1, row(350, 10, 1), 1); /* not deleted in this one */
    b = merged(&conf);
    NLT_CHECK_INT(b->tombstones.n, 0);
    NLT_CHECK_INT(nlt_block_meta(b)->n_tombstones, 0);
    NLT_CHECK_INT(nlt_block_meta(b)->n_series, 2);
    NLT_CHECK_INT(nlt_block_meta(b)->n_samples, 100 + 10 + 200 + 600);
    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &ids, &n, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_read(b, ids[0], INT64_MIN, INT64_MAX, &s, &err),
                  NLT_OK);
    NLT_CHECK_INT(s.n, 310);
    NLT_CHECK_INT(s.t_ms[100], T0_MS + 350 * INT64_C(1000));
    NLT_CHECK_INT(s.t_ms[110], T0_MS + 400 * INT64_C(1000));
    teardown();
}

/* Three chunks of histograms, 10 ms each, from t on. */
static bm_chunk_t *
histograms(int64_t t)
{
    bm_chunk_t *c = nlt_pool_array(&pool, 3, sizeof(*c));

    for (int i = 0; i < 3; i++) {
        c[i] = (bm_chunk_t){.histogram = true,
                            .t_min_ms = t + 10 * i,
                            .t_max_ms = t + 10 * i + 9,
                            .n = 5,
                            .data = NLT_STR("\0\5bits")};
    }
    return c;
}

static void
check_dead(const nlt_block_t *b, int64_t t_min, int64_t t_max)
{
    const nlt_interval_t *iv;
    uint32_t *ids;
    size_t n;

    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &ids, &n, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_meta(b)->n_tombstones, 1);
    iv = nlt_tombstones_of(&b->tombstones, ids[n - 1], &n);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK_INT(iv[0].t_min_ms, t_min);
    NLT_CHECK_INT(iv[0].t_max_ms, t_max);
}

/* They cannot be cut, but it is not forgotten what is deleted of them. */
static void
histograms_deleted_in_part_get_tombstones(void)
{
    nlt_matcher_t m;
    nlt_delete_set_t set;
    nlt_delete_t d;
    nlt_delete_list_t l = one_rule(&d, &set, &m);
    nlt_compact_conf_t conf = conf_of(&l);
    nlt_block_t *b;

    setup();
    set.n = 0;
    d.t_min_ms = T0_MS + 5;
    d.t_max_ms = T0_MS + 19;
    add(0, 3, 1, row(0, 300, 2), 2);
    block[0].info.deletes = 5;
    add(2, 8, 1, histograms(T0_MS), 3);
    b = merged(&conf);
    NLT_CHECK_INT(nlt_block_meta(b)->n_chunks, 2 + 2); /* 480 + 120 */
    NLT_CHECK_INT(nlt_block_meta(b)->n_histogram_samples, 10);
    check_dead(b, T0_MS + 5, T0_MS + 9);
    /* Rewritten they are still there, until all of it is deleted. */
    first = 2;
    conf.deletes = NULL;
    check_dead(merged(&conf), T0_MS + 5, T0_MS + 9);
    first = 3;
    conf.deletes = &l;
    d.number = l.last = 6;
    d.t_min_ms = T0_MS;
    d.t_max_ms = T0_MS + 4;
    block[3].info.arena = 2;
    b = merged(&conf);
    NLT_CHECK_INT(nlt_block_meta(b)->n_histogram_samples, 5);
    NLT_CHECK_INT(nlt_block_meta(b)->n_tombstones, 0);
    teardown();
}

static void
nothing_is_written_when_nothing_is_left(void)
{
    nlt_matcher_t m;
    nlt_delete_set_t set;
    nlt_delete_t d;
    nlt_delete_list_t l = one_rule(&d, &set, &m);
    nlt_compact_conf_t conf = conf_of(&l);
    nlt_manifest_block_t out;

    setup();
    set.n = 0; /* every series */
    add(1, 0, 3, row(0, 300, 2), 2);
    add(2, 0, 3, row(100, 300, 2), 2);
    NLT_CHECK_INT(merge(&conf, &out, NULL), NLT_OK);
    NLT_CHECK_INT(out.n_samples, 0);
    NLT_CHECK_INT(entries(), 2);
    teardown();
}

static void
samples_past_the_retention_are_left_out(void)
{
    static const unsigned want[] = {350}; /* 50 and 300 */
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_t *b;

    setup();
    add(1, 0, 1, row(0, 300, 3), 3);
    conf.t_oldest_ms = T0_MS + 550 * INT64_C(1000);
    b = merged(&conf);
    check_counts(b, want, 1);
    NLT_CHECK_INT(nlt_block_meta(b)->n_samples, 350);
    /* The order of blocks stays. */
    NLT_CHECK_INT(nlt_block_meta(b)->t_min_ms, T0_MS);
    NLT_CHECK_INT(block[1].info.t_min_ms, T0_MS);
    NLT_CHECK_INT(block[1].info.t_end_ms, T0_MS + 899001);
    teardown();
}

static void
a_block_is_dirty_if_a_rule_is_about_it(void)
{
    nlt_matcher_t m;
    nlt_delete_set_t set;
    nlt_delete_t d;
    nlt_delete_list_t l = one_rule(&d, &set, &m);
    nlt_compact_source_t s;
    bool dirty = false;

    setup();
    add(2, 0, BM_SETS, row(0, 300, 2), 2);
    s = (nlt_compact_source_t){block[0].block, block[0].info};
#define CHECK_DIRTY(want)                                                     \
    NLT_CHECK_INT(nlt_compact_is_dirty(&nlt_env_posix, &s, &l, &dirty, &err), \
                  NLT_OK);                                                    \
    NLT_CHECK_INT(dirty, want)
    CHECK_DIRTY(true);
    d.t_min_ms = T0_MS + 599 * INT64_C(1000);
    CHECK_DIRTY(true);
    d.t_min_ms++;
    CHECK_DIRTY(false);
    d.t_min_ms = INT64_MIN;
    d.t_max_ms = T0_MS - 1;
    CHECK_DIRTY(false);
    d.t_max_ms++;
    CHECK_DIRTY(true);
    m.value = NLT_STR("m9");
    CHECK_DIRTY(false);
    m.value = NLT_STR("m1");
    s.info.deletes = 5; /* made after it */
    CHECK_DIRTY(false);
    s.info.deletes = 4;
    CHECK_DIRTY(true);
    s.info.arena = 3; /* written after it */
    CHECK_DIRTY(false);
#undef CHECK_DIRTY
    teardown();
}

static void
tests(void)
{
    NLT_TEST(what_was_deleted_leaves_no_name_behind);
    NLT_TEST(tombstones_are_applied_and_gone);
    NLT_TEST(histograms_deleted_in_part_get_tombstones);
    NLT_TEST(nothing_is_written_when_nothing_is_left);
    NLT_TEST(samples_past_the_retention_are_left_out);
    NLT_TEST(a_block_is_dirty_if_a_rule_is_about_it);
}

int
main(void)
{
    return run(tests);
}

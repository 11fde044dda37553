/*
 * nlt_source_test.c - one answer out of blocks and arenas.
 */
#include "nlt_store_fixture.h"

typedef struct {
    fx_t fx;
    nlt_pool_t pool;
    nlt_view_t view;
} src_t;

/* Series 0..5 in a block, 3..8 in the arena, at different times. */
static void
setup(src_t *s)
{
    nlt_err_t err;

    fx_init(&s->fx);
    NLT_CHECK(fx_start(&s->fx));
    for (unsigned no = 0; no < 6; no++) {
        for (int k = 0; k < 4; k++) {
            NLT_CHECK_INT(fx_write(&s->fx, no, FX_NOW - 60000 + 10000 * k,
                                   no + k * 0.25),
                          NLT_OK);
        }
    }
    NLT_CHECK(fx_flush(&s->fx));
    for (unsigned no = 3; no < 9; no++) {
        /* Before, between, equal to and after what the block has. */
        NLT_CHECK_INT(fx_write(&s->fx, no, FX_NOW - 65000, 7), NLT_OK);
        NLT_CHECK_INT(fx_write(&s->fx, no, FX_NOW - 50000, 8), NLT_OK);
        NLT_CHECK_INT(fx_write(&s->fx, no, FX_NOW - 45000, 9), NLT_OK);
        NLT_CHECK_INT(fx_write(&s->fx, no, FX_NOW - 5000, 10), NLT_OK);
    }
    nlt_pool_init(&s->pool, &nlt_mem_libc, 16 << 20);
    NLT_CHECK_INT(nlt_view_open(s->fx.store, 0, NULL, &s->view, &err), NLT_OK);
}

static void
teardown(src_t *s)
{
    nlt_pool_deinit(&s->pool);
    nlt_view_close(&s->view);
    fx_deinit(&s->fx);
}

static nlt_rc_t
do_select(src_t *s, const nlt_matcher_t *m, size_t n, int64_t t_min,
          int64_t t_max, nlt_series_set_t **set, nlt_err_t *err)
{
    nlt_select_t sel = {m, n, t_min, t_max};

    return s->view.source.ops->select(&s->view.source, &s->pool, &sel, set,
                                      err);
}

static void
series_of_block_and_arena_are_one(void)
{
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0};
    nlt_labels_t labels;
    nlt_err_t err;
    src_t s;

    setup(&s);
    got.pool = &s.pool;
    NLT_CHECK(fx_check(&s.fx, INT64_MIN, INT64_MAX));
    NLT_CHECK_INT(do_select(&s, NULL, 0, INT64_MIN, INT64_MAX, &set, &err),
                  NLT_OK);
    NLT_CHECK_INT(set->n, 9);
    for (size_t i = 0; i < set->n; i++) {
        unsigned no = fx_series_no(set, i);

        NLT_CHECK_INT(s.view.source.ops->labels(set, i, &s.pool, &labels),
                      NLT_OK);
        NLT_CHECK_INT(labels.n, 2);
        NLT_CHECK_STR(labels.v[0].value, "m");
        NLT_CHECK_STR(s.view.source.ops->label(set, i, NLT_STR("none")), "");
        NLT_CHECK_INT(s.view.source.ops->read(set, i, NLT_READ_ALL, INT64_MIN,
                                              INT64_MAX, &got, &err),
                      NLT_OK);
        NLT_CHECK_INT(got.n, no < 3 ? 4 : no < 6 ? 7 : 4);
        if (no >= 3 && no < 6) {
            /* -65 -60 -50 -45 -40 -30 -5: the block's own at -50. */
            NLT_CHECK_BITS(got.v[2], no + 0.25);
            NLT_CHECK_BITS(got.v[3], 9);
        }
    }
    teardown(&s);
}

static void
ranges_choose_the_parts(void)
{
    nlt_matcher_t three = {NLT_MATCH_EQ, NLT_STR("i"), NLT_STR("3"), NULL};
    nlt_series_set_t *set;
    nlt_err_t err;
    src_t s;

    setup(&s);
    /* The block ends at -30 s. */
    NLT_CHECK_INT(do_select(&s, NULL, 0, FX_NOW - 29999, FX_NOW, &set, &err),
                  NLT_OK);
    NLT_CHECK_INT(set->n, 6);
    NLT_CHECK_INT(do_select(&s, NULL, 0, FX_NOW - 30000, FX_NOW, &set, &err),
                  NLT_OK);
    NLT_CHECK_INT(set->n, 9);
    NLT_CHECK_INT(do_select(&s, NULL, 0, FX_NOW + 1, FX_NOW + 2, &set, &err),
                  NLT_OK);
    NLT_CHECK_INT(set->n, 0);
    NLT_CHECK_INT(do_select(&s, NULL, 0, FX_NOW, FX_NOW - 1, &set, &err),
                  NLT_OK);
    NLT_CHECK_INT(set->n, 0);
    NLT_CHECK_INT(do_select(&s, &three, 1, INT64_MIN, INT64_MAX, &set, &err),
                  NLT_OK);
    NLT_CHECK_INT(set->n, 1);
    NLT_CHECK(fx_check(&s.fx, FX_NOW - 50000, FX_NOW - 50000));
    NLT_CHECK(fx_check(&s.fx, FX_NOW - 44000, FX_NOW - 6000));
    teardown(&s);
}

/*
 * Of a block that has something of nearly all series in the range, those that
 * have nothing are told apart by who reads them, and where nobody reads.
 */
static void
a_few_series_without_samples_are_told_apart(void)
{
    nlt_matcher_t all = {NLT_MATCH_EQ, NLT_STR("__name__"), NLT_STR("m"),
                         NULL};
    nlt_select_t sel = {&all, 1, FX_NOW - 100000, FX_NOW};
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0};
    nlt_str_t *values;
    size_t n, empty = 0, budget = 16 << 20;
    nlt_err_t err;
    src_t s;

    fx_init(&s.fx);
    NLT_CHECK(fx_start(&s.fx));
    for (unsigned no = 0; no < FX_SERIES; no++) {
        NLT_CHECK_INT(
            fx_write(&s.fx, no, FX_NOW - (no % 32 ? 60000 : 600000), no),
            NLT_OK);
    }
    NLT_CHECK(fx_flush(&s.fx));
    nlt_pool_init(&s.pool, &nlt_mem_libc, 16 << 20);
    NLT_CHECK_INT(nlt_view_open(s.fx.store, 0, NULL, &s.view, &err), NLT_OK);
    got.pool = &s.pool;
    NLT_CHECK_INT(
        do_select(&s, &all, 1, sel.t_min_ms, sel.t_max_ms, &set, &err),
        NLT_OK);
    for (size_t i = 0; i < set->n; i++) {
        unsigned no = fx_series_no(set, i);
        nlt_read_t what = i % 3 == 0   ? NLT_READ_ALL
                          : i % 3 == 1 ? NLT_READ_NEWEST
                                       : NLT_READ_ANY;

        NLT_CHECK_INT(s.view.source.ops->read(set, i, what, sel.t_min_ms,
                                              sel.t_max_ms, &got, &err),
                      NLT_OK);
        NLT_CHECK_INT(got.n, no % 32 ? 1 : 0);
        empty += got.n == 0;
    }
    NLT_CHECK_INT(set->n - empty, FX_SERIES - 2);
    /* What dense blocks keep of times counts, once. */
    budget -= s.pool.budget_bytes;
    NLT_CHECK_INT(budget > 0, nlt_test_dense());
    NLT_CHECK(budget <= (16 << 20) / 16);
    NLT_CHECK_INT(
        do_select(&s, &all, 1, sel.t_min_ms, sel.t_max_ms, &set, &err),
        NLT_OK);
    NLT_CHECK_INT(s.pool.budget_bytes, (16 << 20) - budget);
    NLT_CHECK_INT(s.view.source.ops->label_values(&s.view.source, &s.pool,
                                                  NLT_STR("i"), &sel, &values,
                                                  &n, &err),
                  NLT_OK);
    NLT_CHECK_INT(n, FX_SERIES - 2);
    teardown(&s);
}

static bool
is_list(const nlt_str_t *v, size_t n, const char *want)
{
    char text[256] = "";

    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(text);

        (void) snprintf(text + at, sizeof(text) - at, "%.*s ", NLT_FMT(v[i]));
    }
    if (strcmp(text, want) != 0) {
        printf("# got \"%s\", want \"%s\"\n", text, want);
    }
    return strcmp(text, want) == 0;
}

static void
names_and_values_are_united(void)
{
    nlt_matcher_t three = {NLT_MATCH_EQ, NLT_STR("i"), NLT_STR("3"), NULL};
    nlt_matcher_t none = {NLT_MATCH_EQ, NLT_STR("i"), NLT_STR("x"), NULL};
    nlt_select_t all = {NULL, 0, INT64_MIN, INT64_MAX};
    nlt_select_t late = {NULL, 0, FX_NOW - 29999, FX_NOW};
    nlt_select_t one = {&three, 1, INT64_MIN, INT64_MAX};
    nlt_select_t no = {&none, 1, INT64_MIN, INT64_MAX};
    const nlt_source_ops_t *ops;
    const nlt_source_t *src;
    nlt_str_t *v;
    nlt_err_t err;
    size_t n;
    src_t s;

    setup(&s);
    src = &s.view.source;
    ops = src->ops;
    NLT_CHECK_INT(ops->label_names(src, &s.pool, &all, &v, &n, &err), NLT_OK);
    NLT_CHECK(is_list(v, n, "__name__ i "));
    NLT_CHECK_INT(
        ops->label_values(src, &s.pool, NLT_STR("i"), &all, &v, &n, &err),
        NLT_OK);
    NLT_CHECK(is_list(v, n, "0 1 2 3 4 5 6 7 8 "));
    NLT_CHECK_INT(
        ops->label_values(src, &s.pool, NLT_STR("i"), &late, &v, &n, &err),
        NLT_OK);
    NLT_CHECK(is_list(v, n, "3 4 5 6 7 8 "));
    NLT_CHECK_INT(
        ops->label_values(src, &s.pool, NLT_STR("i"), &one, &v, &n, &err),
        NLT_OK);
    NLT_CHECK(is_list(v, n, "3 "));
    NLT_CHECK_INT(ops->label_names(src, &s.pool, &no, &v, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 0);
    NLT_CHECK_INT(
        ops->label_values(src, &s.pool, NLT_STR("zz"), &all, &v, &n, &err),
        NLT_OK);
    NLT_CHECK_INT(n, 0);
    teardown(&s);
}

static void
canceled_query_ends(void)
{
    nlt_select_t sel = {NULL, 0, INT64_MIN, INT64_MAX};
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0};
    nlt_str_t *v;
    nlt_err_t err;
    nlt_view_t view;
    int cancel = 0;
    size_t n;
    src_t s;

    setup(&s);
    got.pool = &s.pool;
    NLT_CHECK_INT(nlt_view_open(s.fx.store, 0, &cancel, &view, &err), NLT_OK);
    NLT_CHECK_INT(
        view.source.ops->select(&view.source, &s.pool, &sel, &set, &err),
        NLT_OK);
    cancel = 1;
    NLT_CHECK_INT(
        view.source.ops->read(set, 0, NLT_READ_ALL, 0, INT64_MAX, &got, &err),
        NLT_ECANCELED);
    NLT_CHECK_INT(
        view.source.ops->select(&view.source, &s.pool, &sel, &set, &err),
        NLT_ECANCELED);
    NLT_CHECK_INT(view.source.ops->label_names(&view.source, &s.pool, &sel, &v,
                                               &n, &err),
                  NLT_ECANCELED);
    nlt_view_close(&view);
    teardown(&s);
}

static void
small_budget_is_an_error(void)
{
    nlt_select_t sel = {NULL, 0, INT64_MIN, INT64_MAX};
    nlt_series_set_t *set;
    nlt_pool_t small;
    nlt_err_t err;
    unsigned refused = 0;
    src_t s;

    setup(&s);
    for (size_t budget = 64; budget < 20000; budget += 64) {
        nlt_rc_t rc;

        nlt_pool_init(&small, &nlt_mem_libc, budget);
        rc = s.view.source.ops->select(&s.view.source, &small, &sel, &set,
                                       &err);
        NLT_CHECK(rc == NLT_OK || rc == NLT_ENOMEM);
        NLT_CHECK(rc != NLT_OK || set->n == 9);
        refused += rc != NLT_OK;
        nlt_pool_deinit(&small);
    }
    NLT_CHECK(refused > 0 && refused < 300);
    teardown(&s);
}

static void
a_block_that_cannot_be_opened_is_missed_by_queries_that_need_it(void)
{
    nlt_series_set_t *set;
    nlt_str_t *warning;
    char path[256];
    size_t n;
    nlt_err_t err;
    src_t s;

    setup(&s);
    nlt_view_close(&s.view);
    fx_close(&s.fx);
    (void) snprintf(path, sizeof(path), "echo x > $(ls -d %s/blocks/*)/index",
                    s.fx.path);
    NLT_CHECK_INT(system(path), 0);
    NLT_CHECK(fx_start(&s.fx));
    NLT_CHECK_INT(nlt_view_open(s.fx.store, 0, NULL, &s.view, &err), NLT_OK);
    NLT_CHECK_INT(do_select(&s, NULL, 0, FX_NOW - 29999, FX_NOW, &set, &err),
                  NLT_OK);
    NLT_CHECK_INT(set->n, 6);
    NLT_CHECK_INT(nlt_view_warnings(&s.view, &s.pool, &warning, &n, &err),
                  NLT_OK);
    NLT_CHECK_INT(n, 0);
    NLT_CHECK_INT(do_select(&s, NULL, 0, INT64_MIN, INT64_MAX, &set, &err),
                  NLT_OK);
    NLT_CHECK_INT(set->n, 6);
    NLT_CHECK_INT(nlt_view_warnings(&s.view, &s.pool, &warning, &n, &err),
                  NLT_OK);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK(strncmp(warning[0].data, "block 01", 8) == 0);
    teardown(&s);
}

static void
store_without_a_head_is_not_ready(void)
{
    nlt_store_status_t status;
    nlt_view_t view;
    nlt_err_t err;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK_INT(
        nlt_store_open(&fx.env, &fx.conf, NLT_ROLE_WORKER, &fx.store, &err),
        NLT_OK);
    nlt_store_tick(fx.store);
    nlt_store_status(fx.store, &status);
    NLT_CHECK(!status.ready && status.reason[0] != '\0');
    NLT_CHECK(nlt_store_ingest(fx.store) == NULL);
    NLT_CHECK_INT(nlt_view_open(fx.store, 0, NULL, &view, &err),
                  NLT_ENOTREADY);
    NLT_CHECK(err.len > 20);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(series_of_block_and_arena_are_one);
    NLT_TEST(ranges_choose_the_parts);
    NLT_TEST(a_few_series_without_samples_are_told_apart);
    NLT_TEST(names_and_values_are_united);
    NLT_TEST(canceled_query_ends);
    NLT_TEST(small_budget_is_an_error);
    NLT_TEST(a_block_that_cannot_be_opened_is_missed_by_queries_that_need_it);
    NLT_TEST(store_without_a_head_is_not_ready);
    return nlt_test_done();
}

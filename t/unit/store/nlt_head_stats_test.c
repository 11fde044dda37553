/*
 * nlt_head_stats_test.c - counts of series by names and pairs: against a
 * count of all label sets, over several arenas that share series.
 */
#include "nlt_head_stats.h"
#include "nlt_test.h"

#include "nlt_head_fixture.h"

#define T0 INT64_C(1700000000000)

/* What the head should hold: label sets, each once. */
typedef struct {
    nlt_labels_t v[512];
    size_t n;
} model_t;

static nlt_head_t *
make(fixture_t *f)
{
    nlt_head_t *h = NULL;
    nlt_err_t err;

    fixture_open(f, NLT_HEAD_MEMORY_MIN);
    if (nlt_head_create(&f->conf, 1, &h, &err) != NLT_OK) {
        printf("# %s\n", err.text);
        exit(2);
    }
    return h;
}

static nlt_str_t
text(nlt_pool_t *pool, const char *prefix, unsigned i)
{
    char s[32];
    int n = snprintf(s, sizeof(s), "%s%u", prefix, i);

    return nlt_pool_str(pool, (nlt_str_t){(size_t) n, s});
}

/* Series i of a small world: three metrics, five jobs, an id of its own. */
static nlt_labels_t
labels_of(nlt_pool_t *pool, unsigned i)
{
    nlt_label_t *v = nlt_pool_array(pool, 3, sizeof(*v));

    v[0] = (nlt_label_t){NLT_STR("__name__"), text(pool, "m", i % 3)};
    v[1] = (nlt_label_t){NLT_STR("id"), text(pool, "a long one ", i)};
    v[2] = (nlt_label_t){NLT_STR("job"), text(pool, "j", i % 5)};
    /* every fourth has no job */
    return (nlt_labels_t){v, i % 4 == 0 ? 2 : 3};
}

/* Registers series [from, to) in the active arena, a sample each. */
static void
add(nlt_head_t *h, nlt_pool_t *pool, unsigned from, unsigned to,
    uint32_t tenant, model_t *model)
{
    nlt_arena_t *a = nlt_head_active(h);

    for (unsigned i = from; i < to; i++) {
        nlt_labels_t l = labels_of(pool, i);
        nlt_append_result_t result;
        uint32_t series = 0;

        NLT_CHECK_INT(fixture_register(h, a, tenant, l, &series), NLT_OK);
        NLT_CHECK_INT(fixture_append(a, series, T0 + (int64_t) i, 1, &result),
                      NLT_OK);
        for (size_t k = 0; model != NULL; k++) {
            if (k == model->n) {
                model->v[model->n++] = l;
                break;
            }
            if (nlt_labels_eq(model->v[k], l)) {
                break;
            }
        }
    }
}

static void
rotate(nlt_head_t *h)
{
    nlt_err_t err;
    uint64_t sealed;

    NLT_CHECK_INT(nlt_head_prepare(h, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_rotate(h, &sealed, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_refresh(h, &err), NLT_OK);
}

static nlt_head_stats_t
stats(nlt_head_t *h, nlt_pool_t *pool, uint32_t tenant, size_t limit,
      nlt_rc_t want)
{
    nlt_head_view_t view;
    nlt_head_stats_t st;
    nlt_err_t err;

    nlt_head_pin(h, &view);
    NLT_CHECK_INT(nlt_head_stats(&view, tenant, limit, pool, NULL, &st, &err),
                  want);
    nlt_head_unpin(h, &view);
    return st;
}

/* Series of the model with a value of a label; data NULL: any value. */
static uint64_t
count(const model_t *m, nlt_str_t name, nlt_str_t value)
{
    uint64_t n = 0;

    for (size_t i = 0; i < m->n; i++) {
        nlt_str_t v = nlt_labels_get(m->v[i], name);

        n += v.len > 0 && (value.data == NULL || nlt_str_eq(v, value));
    }
    return n;
}

/* Descending, names ascending where equal. */
static void
check_order(const nlt_stat_list_t *l)
{
    for (size_t i = 1; i < l->n; i++) {
        const nlt_stat_t *a = &l->v[i - 1], *b = &l->v[i];
        int c = nlt_str_cmp(a->name, b->name);

        if (c == 0) {
            c = nlt_str_cmp(a->value, b->value);
        }
        NLT_CHECK(a->n > b->n || (a->n == b->n && c < 0));
    }
}

static void
check_against(const nlt_head_stats_t *st, const model_t *m)
{
    uint64_t bytes = 0;

    NLT_CHECK_INT((int64_t) st->n_series, (int64_t) m->n);
    for (size_t i = 0; i < st->series_by_pair.n; i++) {
        const nlt_stat_t *s = &st->series_by_pair.v[i];

        NLT_CHECK_INT((int64_t) s->n, (int64_t) count(m, s->name, s->value));
    }
    for (size_t i = 0; i < st->series_by_metric.n; i++) {
        const nlt_stat_t *s = &st->series_by_metric.v[i];

        NLT_CHECK_INT((int64_t) s->n,
                      (int64_t) count(m, NLT_METRIC_NAME, s->name));
    }
    check_order(&st->series_by_pair);
    check_order(&st->series_by_metric);
    check_order(&st->values_by_name);
    check_order(&st->bytes_by_name);
    NLT_CHECK_INT((int64_t) st->n_pairs, (int64_t) st->series_by_pair.n);
    for (size_t i = 0; i < m->n; i++) {
        bytes += nlt_labels_get(m->v[i], NLT_STR("id")).len + 2 + 2;
    }
    for (size_t i = 0; i < st->bytes_by_name.n; i++) {
        const nlt_stat_t *s = &st->bytes_by_name.v[i];

        if (nlt_str_eq(s->name, NLT_STR("id"))) {
            NLT_CHECK_INT((int64_t) s->n, (int64_t) bytes);
        }
    }
}

static void
an_empty_head_has_nothing(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_pool_t pool;
    nlt_head_stats_t st;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    st = stats(h, &pool, 0, 10, NLT_OK);
    NLT_CHECK_INT((int64_t) st.n_series, 0);
    NLT_CHECK_INT((int64_t) st.n_pairs, 0);
    NLT_CHECK_INT((int64_t) st.n_chunks, 0);
    NLT_CHECK_INT(st.t_min_ms, INT64_MAX);
    NLT_CHECK_INT(st.t_max_ms, INT64_MIN);
    NLT_CHECK_INT((int64_t) st.series_by_pair.n, 0);
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
series_of_several_arenas_count_once(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_pool_t pool;
    nlt_head_stats_t st;
    model_t *m = calloc(1, sizeof(*m));

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    add(h, &pool, 0, 200, 0, m);
    add(h, &pool, 500, 510, 7, NULL); /* of another tenant */
    st = stats(h, &pool, 0, 1000, NLT_OK);
    check_against(&st, m);
    NLT_CHECK_INT((int64_t) st.values_by_name.v[0].n, 200); /* of id */

    rotate(h);
    add(h, &pool, 150, 260, 0, m); /* 50 of them were there */
    st = stats(h, &pool, 0, 1000, NLT_OK);
    check_against(&st, m);
    NLT_CHECK_INT((int64_t) st.n_chunks, 200 + 110);
    NLT_CHECK_INT(st.t_min_ms, T0);
    NLT_CHECK_INT(st.t_max_ms, T0 + 509);

    rotate(h);
    add(h, &pool, 0, 10, 0, m);
    add(h, &pool, 250, 300, 0, m);
    st = stats(h, &pool, 0, 1000, NLT_OK);
    check_against(&st, m);
    NLT_CHECK_INT((int64_t) m->n, 300);
    NLT_CHECK_INT((int64_t) st.values_by_name.n, 3);

    st = stats(h, &pool, 7, 1000, NLT_OK);
    NLT_CHECK_INT((int64_t) st.n_series, 10);
    st = stats(h, &pool, 8, 1000, NLT_OK);
    NLT_CHECK_INT((int64_t) st.n_series, 0);
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
    free(m);
}

static void
check_prefix(const nlt_stat_list_t *cut, const nlt_stat_list_t *all,
             size_t limit)
{
    NLT_CHECK_INT((int64_t) cut->n,
                  (int64_t) (all->n < limit ? all->n : limit));
    for (size_t i = 0; i < cut->n; i++) {
        NLT_CHECK(cut->v[i].n == all->v[i].n
                  && nlt_str_eq(cut->v[i].name, all->v[i].name)
                  && nlt_str_eq(cut->v[i].value, all->v[i].value));
    }
}

static void
a_limit_leaves_the_first(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_pool_t pool;
    nlt_head_stats_t all, cut;

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    add(h, &pool, 0, 97, 0, NULL);
    all = stats(h, &pool, 0, 10000, NLT_OK);
    NLT_CHECK_INT((int64_t) all.series_by_pair.n, 97 + 3 + 5);
    check_order(&all.series_by_pair);
    for (size_t limit = 1; limit < 110; limit++) {
        cut = stats(h, &pool, 0, limit, NLT_OK);
        check_prefix(&cut.series_by_pair, &all.series_by_pair, limit);
        check_prefix(&cut.series_by_metric, &all.series_by_metric, limit);
        check_prefix(&cut.values_by_name, &all.values_by_name, limit);
        check_prefix(&cut.bytes_by_name, &all.bytes_by_name, limit);
    }
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
lists_are_cut_and_the_budget_holds(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_pool_t pool;
    nlt_head_view_t view;
    nlt_head_stats_t st;
    nlt_err_t err;
    int cancel = 1;

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    add(h, &pool, 0, 2000, 0, NULL);
    st = stats(h, &pool, 0, 2, NLT_OK);
    NLT_CHECK_INT((int64_t) st.series_by_pair.n, 2);
    NLT_CHECK_INT((int64_t) st.series_by_metric.n, 2);
    NLT_CHECK_INT((int64_t) st.values_by_name.n, 2);
    NLT_CHECK_INT((int64_t) st.bytes_by_name.n, 2);
    NLT_CHECK_INT((int64_t) st.series_by_pair.v[0].n, 667);
    check_order(&st.series_by_pair);

    nlt_head_pin(h, &view);
    NLT_CHECK_INT(nlt_head_stats(&view, 0, 2, &pool, &cancel, &st, &err),
                  NLT_ECANCELED);
    nlt_pool_deinit(&pool);
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 16);
    NLT_CHECK_INT(nlt_head_stats(&view, 0, 2, &pool, NULL, &st, &err),
                  NLT_ENOMEM);
    nlt_head_unpin(h, &view);
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
chunks_out_of_order_count(void)
{
    fixture_t f;
    nlt_head_t *h = make(&f);
    nlt_arena_t *a = nlt_head_active(h);
    nlt_pool_t pool;
    nlt_append_result_t result;
    uint32_t series = 0;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(fixture_register(h, a, 0, labels_of(&pool, 1), &series),
                  NLT_OK);
    NLT_CHECK_INT((int64_t) stats(h, &pool, 0, 1, NLT_OK).n_chunks, 0);
    for (int64_t i = 0; i < 481; i++) {
        NLT_CHECK_INT(fixture_append(a, series, T0 + i, 1, &result), NLT_OK);
    }
    NLT_CHECK_INT((int64_t) stats(h, &pool, 0, 1, NLT_OK).n_chunks, 2);
    for (int64_t i = 0; i < 33; i++) {
        NLT_CHECK_INT(fixture_append(a, series, T0 - 1 - i, 1, &result),
                      NLT_OK);
        NLT_CHECK_INT((int64_t) stats(h, &pool, 0, 1, NLT_OK).n_chunks,
                      i < 32 ? 3 : 4);
    }
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

int
main(void)
{
    NLT_TEST(an_empty_head_has_nothing);
    NLT_TEST(series_of_several_arenas_count_once);
    NLT_TEST(a_limit_leaves_the_first);
    NLT_TEST(lists_are_cut_and_the_budget_holds);
    NLT_TEST(chunks_out_of_order_count);
    return nlt_test_done();
}

/*
 * nlt_store_twin_test.c - the whole store against sorted arrays.
 *
 * Random writes (live, late, doubled, contradicting), deletes and what is
 * written again after them, time that passes, flushes, merges, restarts with
 * and without the head: the view must always answer what the arrays say.  A
 * delete takes out of an array what is in it then.
 */
#include "store/nlt_delete_fixture.h"

static int64_t
some_time(const fx_t *fx)
{
    switch (nlt_test_below(10)) {
    case 0:
        return fx->now_ms - (int64_t) nlt_test_below(5 * 24 * FX_HOUR);
    case 1:
    case 2:
        return fx->now_ms - (int64_t) nlt_test_below(4 * FX_HOUR);
    default:
        return fx->now_ms - (int64_t) nlt_test_below(30000);
    }
}

static double
some_value(void)
{
    static const double odd[] = {0.0, -0.0, 1e300, 5e-324, -1};
    uint64_t r = nlt_test_below(20);

    return r < NLT_COUNT(odd) ? odd[r]
           : r == 6           ? nlt_double_of(NLT_STALE_NAN_BITS)
                              : (double) nlt_test_below(1000) / 4;
}

static void
write_batch(fx_t *fx)
{
    size_t n = 1 + nlt_test_below(200);

    for (size_t i = 0; i < n; i++) {
        unsigned no = (unsigned) nlt_test_below(FX_SERIES);
        const fx_series_t *s = &fx->series[no];
        int64_t t = some_time(fx);
        double v = some_value();

        /* Now and then one that is there, equal or not. */
        if (s->n > 0 && nlt_test_below(8) == 0) {
            const fx_sample_t *old = &s->v[nlt_test_below(s->n)];

            t = old->t_ms;
            v = nlt_test_below(2) ? old->v : v;
        }
        (void) fx_write(fx, no, t, v);
    }
}

/* Some series, some time; often what was deleted is written again. */
static void
delete_some(fx_t *fx)
{
    uint64_t mask = nlt_test_below(6) == 0 ? ~UINT64_C(0)
                                           : nlt_test_rand() & nlt_test_rand();
    int64_t a = nlt_test_below(5) == 0 ? INT64_MIN : some_time(fx);
    int64_t b = nlt_test_below(5) == 0 ? INT64_MAX : some_time(fx);
    int64_t t_min = nlt_min_i64(a, b), t_max = nlt_max_i64(a, b);
    int64_t again[32];
    unsigned no = (unsigned) nlt_test_below(FX_SERIES);
    const fx_series_t *s = &fx->series[no];
    size_t n = 0;
    nlt_err_t err;

    mask |= UINT64_C(1) << no;
    for (size_t i = 0; i < s->n && n < NLT_COUNT(again); i++) {
        if (s->v[i].t_ms >= t_min && s->v[i].t_ms <= t_max) {
            again[n++] = s->v[i].t_ms;
        }
    }
    NLT_CHECK_INT(fx_delete(fx, mask, t_min, t_max, &err), NLT_OK);
    for (size_t i = 0; i < n; i += 1 + nlt_test_below(2)) {
        (void) fx_write(fx, no, again[i], some_value());
    }
}

static void
restart(fx_t *fx, bool lose_head)
{
    fx_close(fx);
    if (lose_head) {
        fx_remove_head(fx);
    }
    NLT_CHECK(fx_start(fx));
}

static void
run(unsigned n_tenants)
{
    fx_t fx;
    unsigned flushes = 0, restarts = 0, lost = 0, deletes = 0, cleans = 0;
    nlt_err_t err;

    fx_init(&fx);
    fx.n_tenants = n_tenants;
    fx.conf.retention_ms = 365 * 24 * FX_HOUR;
    NLT_CHECK(fx_start(&fx));
    for (int i = 0; i < 150; i++) {
        uint64_t r = nlt_test_below(20);

        write_batch(&fx);
        if (r < 2) {
            NLT_CHECK(fx_flush(&fx));
            flushes++;
        } else if (r < 4) {
            restart(&fx, false);
            restarts++;
        } else if (r < 6) {
            restart(&fx, true);
            lost++;
        } else if (r < 8) {
            fx.now_ms += (int64_t) nlt_test_below(3 * FX_HOUR);
            fx_step(&fx, 1);
        } else if (r < 11) {
            delete_some(&fx);
            deletes++;
        } else if (r < 12) {
            NLT_CHECK_INT(fx_clean(&fx, &err), NLT_OK);
            NLT_CHECK_INT(fx_rules(&fx), 0);
            cleans++;
        } else {
            fx.now_ms += (int64_t) nlt_test_below(60000);
        }
        if (i % 5 == 4) {
            int64_t a = some_time(&fx), b = some_time(&fx);

            NLT_CHECK(fx_check(&fx, nlt_min_i64(a, b), nlt_max_i64(a, b)));
        }
        if (i % 25 == 24) {
            NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
        }
    }
    restart(&fx, true);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    printf("# %u flushes, %u restarts, %u lost heads, %u deletes, %u "
           "cleanings\n",
           flushes, restarts, lost, deletes, cleans);
    fx_deinit(&fx);
}

static void
store_answers_like_sorted_arrays(void)
{
    run(0);
}

static void
tenants_answer_like_stores_of_their_own(void)
{
    run(4);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(store_answers_like_sorted_arrays);
    NLT_TEST(tenants_answer_like_stores_of_their_own);
    return nlt_test_done();
}

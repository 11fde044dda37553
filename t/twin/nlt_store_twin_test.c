/*
 * nlt_store_twin_test.c - the whole store against sorted arrays.
 *
 * Random writes (live, late, doubled, contradicting), time that passes,
 * flushes, restarts with and without the head: the view must always answer
 * what the arrays say.
 */
#include "store/nlt_store_fixture.h"

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
store_answers_like_sorted_arrays(void)
{
    fx_t fx;
    unsigned flushes = 0, restarts = 0, lost = 0;

    fx_init(&fx);
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
    printf("# %u flushes, %u restarts, %u lost heads\n", flushes, restarts,
           lost);
    fx_deinit(&fx);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(store_answers_like_sorted_arrays);
    return nlt_test_done();
}

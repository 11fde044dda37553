/*
 * nlt_pql_steps_test.c - all windows of a series at once, against window by
 * window: every function of the table that knows both, bit for bit.
 */
#include "nlt_pql_edges.h"
#include "nlt_pql_fn.h"
#include "nlt_test.h"

#define SAMPLES_MAX 300
#define STEPS_MAX   200

typedef struct {
    nlt_pool_t pool;
    nlt_pql_annots_t annots;
    nlt_pql_fctx_t f;
    nlt_err_t err;
    int64_t t_ms[SAMPLES_MAX];
    double v[SAMPLES_MAX];
    uint32_t work[SAMPLES_MAX];
    uint32_t lo[STEPS_MAX], hi[STEPS_MAX];
    double out[STEPS_MAX];
    uint64_t present[STEPS_MAX / 64 + 1];
    double params[2][STEPS_MAX];
    const double *param_of[2];
    nlt_pql_steps_t s;
    unsigned kind; /* of values */
    nlt_pql_stretch_t stretch;
    double factor[(STEPS_MAX / 64 + 1) * 64];
    double squares[(STEPS_MAX / 64 + 1) * 64];
    uint64_t stretched[STEPS_MAX / 64 + 1];
} fix_t;

static const int32_t arg_pos[] = {5};

static void
open_fix(fix_t *x)
{
    memset(x, 0, sizeof(*x));
    nlt_pool_init(&x->pool, &nlt_mem_libc, 1 << 20);
    nlt_pql_annots_init(&x->annots, &x->pool);
    x->f = (nlt_pql_fctx_t){.annots = &x->annots,
                            .arg_pos = arg_pos,
                            .err = &x->err,
                            .scratch = &x->pool};
}

/* Values where order of comparison and addition shows. */
static double
random_value(unsigned kind, double prev)
{
    static const double odd[] = {0.0, -0.0,  NAN,    INFINITY, -INFINITY,
                                 1,   1e300, -1e300, 0.1,      3};

    switch (kind) {
    case 0: /* a counter with resets */
        return nlt_test_below(9) ? prev + (double) nlt_test_below(1000) / 7
                                 : (double) nlt_test_below(10) / 3;
    case 1: /* a counter without */
        return prev + (double) nlt_test_below(1000) / 7;
    case 2:
        return (double) nlt_test_below(5) - 2;
    case 3:
        return nlt_test_below(2) ? 0.0 : -0.0;
    case 4: /* the smallest changes there are */
        return prev + 5e-324 * (double) nlt_test_below(3);
    case 5: /* where a sum rounds at every addition */
        return ldexp((double) nlt_test_below(1 << 30) - (1 << 29),
                     (int) nlt_test_below(120) - 60);
    case 6: /* seldom out of the ordinary, or out of range */
        return nlt_test_below(60)
                   ? (double) nlt_test_below(1000000) / 100
                   : odd[nlt_test_below(sizeof(odd) / sizeof(odd[0]))];
    case 7: /* sums overflow, here and there */
        return ldexp((double) nlt_test_below(1 << 30) - (1 << 28), 993);
    case 8: /* subnormal */
        return ldexp((double) nlt_test_below(1 << 20) - (1 << 19), -1074);
    case 9:
        return nlt_test_below(50) ? prev : prev + 0.1;
    default:
        return odd[nlt_test_below(sizeof(odd) / sizeof(odd[0]))];
    }
}

static void
random_values(fix_t *x)
{
    for (size_t i = 0; i < x->s.n; i++) {
        x->v[i] = random_value(x->kind, i ? x->v[i - 1] : 0);
    }
}

static void
random_series(fix_t *x)
{
    uint64_t gap = 1 + nlt_test_below(3);
    int64_t t = 100000;

    x->s = (nlt_pql_steps_t){.t_ms = x->t_ms, .v = x->v, .work = x->work};
    x->s.n = 1 + nlt_test_below(SAMPLES_MAX);
    for (size_t i = 0; i < x->s.n; i++) {
        t += 1000 + (int64_t) nlt_test_below(gap);
        if (nlt_test_below(40) == 0) {
            t += (int64_t) nlt_test_below(100000);
        }
        x->t_ms[i] = t;
    }
    x->kind = (unsigned) nlt_test_below(11);
    random_values(x);
}

static void
find_windows(fix_t *x)
{
    nlt_pql_steps_t *s = &x->s;

    for (size_t i = 0; i < s->n_steps; i++) {
        int64_t end = s->end_ms + (int64_t) i * s->step_ms;
        uint32_t lo = 0, hi = 0;

        while (hi < s->n && s->t_ms[hi] <= end) {
            hi++;
        }
        while (lo < hi && s->t_ms[lo] <= end - s->range_ms) {
            lo++;
        }
        x->lo[i] = lo;
        x->hi[i] = hi;
    }
    s->lo = x->lo;
    s->hi = x->hi;
    s->eval_ms = s->end_ms + (int64_t) nlt_test_below(100000);
    if (nlt_test_below(10) == 0) { /* further than a double's digits */
        s->eval_ms -= INT64_C(1) << nlt_test_below(62);
    }
    for (size_t k = 0; k < 2; k++) {
        x->param_of[k] = x->params[k];
        for (size_t i = 0; i < s->n_steps; i++) {
            x->params[k][i] = random_value(6, 0);
        }
    }
    s->params = x->param_of;
}

/* Which NaN comes of adding up is the compiler's affair. */
static bool
same(const nlt_pql_func_t *fn, double a, double b)
{
    return nlt_bits_of(a) == nlt_bits_of(b)
           || (fn->each && isnan(a) && isnan(b));
}

static void
random_steps(fix_t *x)
{
    nlt_pql_steps_t *s = &x->s;

    s->n_steps = 1 + nlt_test_below(STEPS_MAX);
    s->step_ms = 1 + (int64_t) nlt_test_below(nlt_test_below(2) ? 500 : 20000);
    s->range_ms = nlt_test_below(2)
                      ? s->step_ms * (1 + (int64_t) nlt_test_below(8))
                      : 1 + (int64_t) nlt_test_below(60000);
    s->end_ms = 90000 + (int64_t) nlt_test_below(200000);
    find_windows(x);
}

static void
check_func(fix_t *x, const nlt_pql_func_t *fn)
{
    const nlt_pql_steps_t *s = &x->s;

    memset(x->present, 0, sizeof(x->present));
    fn->steps(&x->f, s, x->out, x->present);
    for (size_t i = 0; i < s->n_steps; i++) {
        const double params[2] = {x->params[0][i], x->params[1][i]};
        nlt_pql_window_t w = {.params = params,
                              .eval_ms = s->eval_ms + (int64_t) i * s->step_ms,
                              .t_ms = s->t_ms + s->lo[i],
                              .v = s->v + s->lo[i],
                              .n = s->hi[i] - s->lo[i],
                              .range_end_ms =
                                  s->end_ms + (int64_t) i * s->step_ms};
        double want = 0;
        bool has;

        w.range_start_ms = w.range_end_ms - s->range_ms;
        has = w.n > 0 && fn->range(&x->f, &w, &want);
        if (has != nlt_pql_has(x->present, i)
            || (has && !same(fn, want, x->out[i]))) {
            printf("# %s, step %zu of %zu, samples %u..%u: %g, not %g\n",
                   fn->name, i, s->n_steps, s->lo[i], s->hi[i], x->out[i],
                   want);
            nlt_test_fail(__FILE__, __LINE__, "differs");
            return;
        }
    }
}

/*
 * What is kept of the times of a series, once found and once for other
 * values, which may be limited where the first were not.
 */
static void
check_kept(fix_t *x, const nlt_pql_func_t *fn)
{
    x->stretch = (nlt_pql_stretch_t){
        .factor = x->factor, .squares = x->squares, .present = x->stretched};
    x->s.stretch = &x->stretch;
    check_func(x, fn);
    NLT_CHECK(x->stretch.known);
    x->kind = (unsigned) nlt_test_below(11);
    random_values(x);
    check_func(x, fn);
    x->s.stretch = NULL;
}

static void
all_windows_at_once_give_the_same_bits(void)
{
    size_t n_funcs, n_steps_funcs = 0;
    const nlt_pql_func_t *table = nlt_pql_func_table(&n_funcs);
    fix_t x;

    open_fix(&x);
    (void) nlt_test_seed();
    for (int round = 0; round < 3000; round++) {
        random_series(&x);
        random_steps(&x);
        n_steps_funcs = 0;
        for (size_t i = 0; i < n_funcs; i++) {
            if (table[i].steps) {
                check_func(&x, &table[i]);
                n_steps_funcs++;
            }
            if (table[i].stretches) {
                check_kept(&x, &table[i]);
            }
        }
    }
    NLT_CHECK(n_steps_funcs >= 19);
    nlt_pool_deinit(&x.pool);
}

static void
samples_are_counted_up_to_each_step(void)
{
    fix_t x;

    open_fix(&x);
    (void) nlt_test_seed();
    for (int round = 0; round < 3000; round++) {
        uint32_t got[STEPS_MAX];

        random_series(&x);
        random_steps(&x);
        nlt_pql_count_upto(x.t_ms, x.s.n, x.s.end_ms, x.s.step_ms, x.s.n_steps,
                           got);
        if (memcmp(got, x.hi, x.s.n_steps * sizeof(*got)) != 0) {
            nlt_test_fail(__FILE__, __LINE__, "another number");
        }
    }
    nlt_pool_deinit(&x.pool);
}

static void
open_ctx(nlt_pql_ctx_t *ctx, fix_t *x)
{
    memset(ctx, 0, sizeof(*ctx));
    ctx->pool = &x->pool;
}

static void
edges_are_kept_while_times_are_the_same(void)
{
    nlt_pql_ctx_t ctx;
    fix_t x;
    int n_kept = 0;

    (void) nlt_test_seed();
    for (int round = 0; round < 500; round++) {
        nlt_pql_edges_t e = {0};

        open_fix(&x);
        open_ctx(&ctx, &x);
        random_series(&x);
        random_steps(&x);
        NLT_CHECK_INT(nlt_pql_edges_open(&ctx, x.s.n_steps, round % 4, &e),
                      NLT_OK);
        for (int k = 0; k < 6; k++) {
            nlt_pql_steps_t s = x.s;
            uint64_t n_seen = 0;

            nlt_pql_edges_find(&ctx, &e, &s);
            for (size_t i = 0; i < s.n_steps; i++) {
                n_seen += x.hi[i] - x.lo[i];
            }
            NLT_CHECK(memcmp(s.lo, x.lo, s.n_steps * sizeof(*s.lo)) == 0);
            NLT_CHECK(memcmp(s.hi, x.hi, s.n_steps * sizeof(*s.hi)) == 0);
            NLT_CHECK_INT(e.n_seen, n_seen);
            NLT_CHECK(round % 4 > 0 || s.stretch == NULL);
            if (s.stretch) {
                /* As a function would: all of it hangs on the times. */
                n_kept += s.stretch->known;
                NLT_CHECK(!s.stretch->known
                          || s.stretch->factor[0] == (double) x.t_ms[0]);
                s.stretch->known = true;
                s.stretch->factor[0] = (double) x.t_ms[0];
            }
            if (nlt_test_below(2)) { /* another time, or another number */
                size_t at = nlt_test_below(x.s.n);

                x.s.n -= x.s.n > 1 && nlt_test_below(2);
                x.t_ms[at] -= at == 0 || x.t_ms[at] > x.t_ms[at - 1] + 1;
                find_windows(&x);
            }
        }
        nlt_pool_deinit(&x.pool);
    }
    NLT_CHECK(n_kept > 300);
}

static void
no_samples_and_no_steps_are_nothing_to_count(void)
{
    int64_t t_ms[] = {5};
    uint32_t out[2] = {7, 7};

    nlt_pql_count_upto(t_ms, 0, 0, 10, 2, out);
    NLT_CHECK_INT(out[0], 0);
    NLT_CHECK_INT(out[1], 0);
    nlt_pql_count_upto(t_ms, 1, 0, 10, 0, out);
    NLT_CHECK_INT(out[0], 0);
}

int
main(void)
{
    NLT_TEST(all_windows_at_once_give_the_same_bits);
    NLT_TEST(samples_are_counted_up_to_each_step);
    NLT_TEST(edges_are_kept_while_times_are_the_same);
    NLT_TEST(no_samples_and_no_steps_are_nothing_to_count);
    return nlt_test_done();
}

/*
 * nlt_pql_fn_hist_test.c - classic histograms.
 */
#include "nlt_pql_fn.h"
#include "nlt_test.h"

#define INF INFINITY

static nlt_pql_fixed_t fixed;

static double
quantile(double q, const nlt_pql_bucket_t *b, size_t n)
{
    nlt_pql_bucket_t copy[16];

    memcpy(copy, b, n * sizeof(*b));
    return nlt_pql_bucket_quantile(q, copy, n, &fixed);
}

static double
fraction(double lower, double upper, const nlt_pql_bucket_t *b, size_t n)
{
    nlt_pql_bucket_t copy[16];

    memcpy(copy, b, n * sizeof(*b));
    return nlt_pql_bucket_fraction(lower, upper, copy, n);
}

static const nlt_pql_bucket_t plain[] = {
    {0.1, 5}, {0.2, 7}, {1, 10}, {INF, 12}};

static void
near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-14 * fabs(want))) {
        NLT_CHECK_BITS(got, want);
    }
}

static void
quantile_is_linear_in_its_bucket(void)
{
    near(quantile(0.25, plain, 4), 0.1 * 3 / 5);    /* rank 3 of 5 */
    near(quantile(0.5, plain, 4), 0.1 + 0.1 * 0.5); /* rank 6: half */
    near(quantile(0.75, plain, 4), 0.2 + 0.8 * 2 / 3);
    NLT_CHECK_BITS(quantile(0, plain, 4), 0);
    NLT_CHECK(!fixed.forced);
}

static void
quantile_in_last_bucket_is_its_lower_bound(void)
{
    NLT_CHECK_BITS(quantile(0.99, plain, 4), 1);
    NLT_CHECK_BITS(quantile(1, plain, 4), 1);
}

static void
quantile_in_first_bucket_of_negatives_is_its_bound(void)
{
    const nlt_pql_bucket_t b[] = {{-1, 5}, {1, 6}, {INF, 6}};

    NLT_CHECK_BITS(quantile(0.5, b, 3), -1);
    near(quantile(1, b, 3), 1);
}

static void
quantile_of_broken_histograms_is_nan(void)
{
    const nlt_pql_bucket_t no_inf[] = {{1, 5}, {2, 6}};
    const nlt_pql_bucket_t only_inf[] = {{INF, 5}};
    const nlt_pql_bucket_t twice_inf[] = {{INF, 5}, {INF, 5}};
    const nlt_pql_bucket_t empty[] = {{1, 0}, {INF, 0}};

    NLT_CHECK(isnan(quantile(0.5, no_inf, 2)));
    NLT_CHECK(isnan(quantile(0.5, only_inf, 1)));
    NLT_CHECK(isnan(quantile(0.5, twice_inf, 2)));
    NLT_CHECK(isnan(quantile(0.5, empty, 2)));
    NLT_CHECK(isnan(quantile(NAN, plain, 4)));
    NLT_CHECK_BITS(quantile(-1, plain, 4), -INF);
    NLT_CHECK_BITS(quantile(2, plain, 4), INF);
}

static void
order_and_doubled_bounds_do_not_matter(void)
{
    const nlt_pql_bucket_t b[] = {{INF, 6}, {1, 10},  {0.1, 2},
                                  {0.2, 7}, {INF, 6}, {0.1, 3}};

    near(quantile(0.5, b, 6), quantile(0.5, plain, 4));
    near(fraction(0.1, 0.2, b, 6), 2.0 / 12);
}

static void
decreasing_counts_are_raised_and_told(void)
{
    const nlt_pql_bucket_t b[] = {
        {1, 10}, {2, 4}, {3, 20}, {4, 15}, {INF, 20}};

    /* raised: 10 10 20 20 20; rank 15 is half way in (2, 3] */
    near(quantile(0.75, b, 5), 2.5);
    NLT_CHECK(fixed.forced);
    NLT_CHECK_BITS(fixed.bucket_min, 2);
    NLT_CHECK_BITS(fixed.bucket_max, 4);
    NLT_CHECK_BITS(fixed.max_diff, 6);
}

static void
float_noise_is_flattened_silently(void)
{
    const nlt_pql_bucket_t b[] = {
        {1, 10}, {2, 10 - 1e-12}, {3, 10 + 1e-12}, {INF, 20}};

    NLT_CHECK_BITS(quantile(0.5, b, 4), 1);
    NLT_CHECK(!fixed.forced);
}

static void
fraction_counts_between(void)
{
    near(fraction(0, 0.1, plain, 4), 5.0 / 12);
    near(fraction(0.05, 0.6, plain, 4), (8.5 - 2.5) / 12);
    NLT_CHECK_BITS(fraction(-INF, INF, plain, 4), 1);
    NLT_CHECK_BITS(fraction(1, 1, plain, 4), 0);
    NLT_CHECK_BITS(fraction(2, 1, plain, 4), 0);
    NLT_CHECK_BITS(fraction(-5, -1, plain, 4), 0);
    /* nothing is known inside of (1, +Inf] */
    near(fraction(0, 100, plain, 4), 10.0 / 12);
    NLT_CHECK(isnan(fraction(NAN, 1, plain, 4)));
    NLT_CHECK(isnan(fraction(0, 1, plain, 3)));
}

int
main(void)
{
    NLT_TEST(quantile_is_linear_in_its_bucket);
    NLT_TEST(quantile_in_last_bucket_is_its_lower_bound);
    NLT_TEST(quantile_in_first_bucket_of_negatives_is_its_bound);
    NLT_TEST(quantile_of_broken_histograms_is_nan);
    NLT_TEST(order_and_doubled_bounds_do_not_matter);
    NLT_TEST(decreasing_counts_are_raised_and_told);
    NLT_TEST(float_noise_is_flattened_silently);
    NLT_TEST(fraction_counts_between);
    return nlt_test_done();
}

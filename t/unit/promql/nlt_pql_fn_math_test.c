/*
 * nlt_pql_fn_math_test.c - functions of one number, and of dates.
 */
#include "nlt_pql_fn.h"
#include "nlt_test.h"

static double
map(nlt_pql_map_fn_t fn, double v)
{
    double out = -12345;

    NLT_CHECK(fn(v, 0, NULL, 0, &out));
    return out;
}

static double
map1(nlt_pql_map_fn_t fn, double v, double param)
{
    double out = -12345;

    NLT_CHECK(fn(v, 0, &param, 1, &out));
    return out;
}

static void
sgn_keeps_zero_and_nan(void)
{
    NLT_CHECK_BITS(map(nlt_pql_fn_sgn, 7.5), 1);
    NLT_CHECK_BITS(map(nlt_pql_fn_sgn, -INFINITY), -1);
    NLT_CHECK_BITS(map(nlt_pql_fn_sgn, -0.0), -0.0);
    NLT_CHECK(isnan(map(nlt_pql_fn_sgn, NAN)));
}

static void
round_takes_ties_up(void)
{
    NLT_CHECK_BITS(map(nlt_pql_fn_round, 2.5), 3);
    NLT_CHECK_BITS(map(nlt_pql_fn_round, -2.5), -2);
    NLT_CHECK_BITS(map1(nlt_pql_fn_round, 17, 5), 15);
    NLT_CHECK_BITS(map1(nlt_pql_fn_round, 18, 5), 20);
    NLT_CHECK_BITS(map1(nlt_pql_fn_round, 0.00123, 0.001), 0.001);
    NLT_CHECK(isnan(map1(nlt_pql_fn_round, 1, 0)));
}

static void
clamp_holds_between(void)
{
    double out = 0, params[] = {-1, 2}, crossed[] = {2, -1};

    NLT_CHECK(nlt_pql_fn_clamp(5, 0, params, 2, &out));
    NLT_CHECK_BITS(out, 2);
    NLT_CHECK(nlt_pql_fn_clamp(-5, 0, params, 2, &out));
    NLT_CHECK_BITS(out, -1);
    NLT_CHECK(nlt_pql_fn_clamp(NAN, 0, params, 2, &out));
    NLT_CHECK(isnan(out));
    NLT_CHECK(!nlt_pql_fn_clamp(0, 0, crossed, 2, &out));
    NLT_CHECK_BITS(map1(nlt_pql_fn_clamp_max, 5, 3), 3);
    NLT_CHECK_BITS(map1(nlt_pql_fn_clamp_min, 5, 7), 7);
    NLT_CHECK(isnan(map1(nlt_pql_fn_clamp_min, 5, NAN)));
}

static void
deciding_infinity_beats_nan(void)
{
    NLT_CHECK_BITS(nlt_pql_max(INFINITY, NAN), INFINITY);
    NLT_CHECK(isnan(nlt_pql_max(-INFINITY, NAN)));
    NLT_CHECK_BITS(nlt_pql_min(NAN, -INFINITY), -INFINITY);
    NLT_CHECK(isnan(nlt_pql_min(1, NAN)));
    NLT_CHECK_BITS(nlt_pql_max(-0.0, 0.0), 0.0);
    NLT_CHECK_BITS(nlt_pql_min(0.0, -0.0), -0.0);
    NLT_CHECK_BITS(nlt_pql_max(2, 3), 3);
    NLT_CHECK_BITS(nlt_pql_min(2, 3), 2);
}

static void
degrees_and_radians_are_inverse(void)
{
    NLT_CHECK_BITS(map(nlt_pql_fn_deg, 3.14159265358979323846), 180);
    NLT_CHECK_BITS(map(nlt_pql_fn_rad, 180), 3.14159265358979323846);
}

static void
each_name_calls_its_own_function(void)
{
    static const struct {
        nlt_pql_map_fn_t fn;
        double in, out;
    } want[] = {
        {nlt_pql_fn_abs, -3, 3},
        {nlt_pql_fn_ceil, 1.2, 2},
        {nlt_pql_fn_floor, 1.8, 1},
        {nlt_pql_fn_sqrt, 9, 3},
        {nlt_pql_fn_exp, 1, 2.718281828459045},
        {nlt_pql_fn_ln, 10, 2.302585092994046},
        {nlt_pql_fn_log2, 8, 3},
        {nlt_pql_fn_log10, 1000, 3},
        {nlt_pql_fn_sin, 1, 0.8414709848078965},
        {nlt_pql_fn_cos, 1, 0.5403023058681398},
        {nlt_pql_fn_tan, 1, 1.5574077246549023},
        {nlt_pql_fn_asin, 0.5, 0.5235987755982989},
        {nlt_pql_fn_acos, 0.5, 1.0471975511965979},
        {nlt_pql_fn_atan, 1, 0.7853981633974483},
        {nlt_pql_fn_sinh, 1, 1.1752011936438014},
        {nlt_pql_fn_cosh, 1, 1.5430806348152437},
        {nlt_pql_fn_tanh, 1, 0.7615941559557649},
        {nlt_pql_fn_asinh, 1, 0.881373587019543},
        {nlt_pql_fn_acosh, 2, 1.3169578969248166},
        {nlt_pql_fn_atanh, 0.5, 0.5493061443340548},
    };

    for (size_t i = 0; i < NLT_COUNT(want); i++) {
        double got = map(want[i].fn, want[i].in);

        if (!(fabs(got - want[i].out) <= 4e-16 * fabs(want[i].out))) {
            NLT_CHECK_BITS(got, want[i].out);
        }
    }
}

/* 2024-02-29 23:58:59 UTC, a Thursday, the 60th day. */
static void
dates_are_taken_apart_in_utc(void)
{
    double t = 1709251139.9;

    NLT_CHECK_BITS(map(nlt_pql_fn_year, t), 2024);
    NLT_CHECK_BITS(map(nlt_pql_fn_month, t), 2);
    NLT_CHECK_BITS(map(nlt_pql_fn_day_of_month, t), 29);
    NLT_CHECK_BITS(map(nlt_pql_fn_day_of_week, t), 4);
    NLT_CHECK_BITS(map(nlt_pql_fn_day_of_year, t), 60);
    NLT_CHECK_BITS(map(nlt_pql_fn_days_in_month, t), 29);
    NLT_CHECK_BITS(map(nlt_pql_fn_hour, t), 23);
    NLT_CHECK_BITS(map(nlt_pql_fn_minute, t), 58);
    NLT_CHECK_BITS(map(nlt_pql_fn_year, -1), 1969);
    NLT_CHECK_BITS(map(nlt_pql_fn_year, -0.5), 1970);
}

static void
dates_of_anything_stay_in_bounds(void)
{
    double odd[] = {NAN, INFINITY, -INFINITY, 1e300, -1e300};

    for (size_t i = 0; i < NLT_COUNT(odd); i++) {
        double m = map(nlt_pql_fn_month, odd[i]);

        NLT_CHECK(m >= 1 && m <= 12);
    }
}

static void
floats_are_no_native_histograms(void)
{
    double out;

    NLT_CHECK(!nlt_pql_fn_histogram_only(1, 0, NULL, 0, &out));
}

int
main(void)
{
    NLT_TEST(sgn_keeps_zero_and_nan);
    NLT_TEST(round_takes_ties_up);
    NLT_TEST(clamp_holds_between);
    NLT_TEST(deciding_infinity_beats_nan);
    NLT_TEST(degrees_and_radians_are_inverse);
    NLT_TEST(each_name_calls_its_own_function);
    NLT_TEST(dates_are_taken_apart_in_utc);
    NLT_TEST(dates_of_anything_stay_in_bounds);
    NLT_TEST(floats_are_no_native_histograms);
    return nlt_test_done();
}

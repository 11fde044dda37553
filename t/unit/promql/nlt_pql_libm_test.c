/*
 * nlt_pql_libm_test.c - elementary functions against what Prometheus prints.
 *
 * The values are answers of a Prometheus 3.5 (x86-64 with FMA) to queries
 * such as sin(vector(0.5)); each function has some for which libm has
 * another last digit.
 */
#include <math.h>

#include "nlt_pql_libm.h"
#include "nlt_test.h"

static void
same(double got, double want, const char *what, double x)
{
    if (memcmp(&got, &want, sizeof(got)) != 0) {
        printf("# %s(%.17g): %.17g, not %.17g\n", what, x, got, want);
        NLT_CHECK(false);
    }
}

static const struct {
    const char *name;
    double (*fn)(double);
    double x, want;
} digits[] = {
    {"exp", nlt_pql_exp, 1, 2.718281828459045},
    {"exp", nlt_pql_exp, -1, 0.36787944117144233},
    {"exp", nlt_pql_exp, 45.123, 39506622896066570000.0},
    {"exp", nlt_pql_exp, 700.5, 1.6721859620674987e+304},
    {"exp", nlt_pql_exp, -700.25, 7.678723813110872e-305},
    {"exp", nlt_pql_exp, -744.9, 5e-324},
    {"exp", nlt_pql_exp, 709.7, INFINITY},
    {"exp", nlt_pql_exp, 0.001, 1.0010005001667084},
    {"exp", nlt_pql_exp, 23.1184, 10969669684.741093},
    {"exp", nlt_pql_exp, -1.71227, 0.18045569290715224},
    {"exp", nlt_pql_exp, -45.3273, 2.0634964707379156e-20},
    {"ln", nlt_pql_log, 2, 0.6931471805599453},
    {"ln", nlt_pql_log, 0.1, -2.3025850929940455},
    {"ln", nlt_pql_log, 12345.678, 9.421061321291832},
    {"ln", nlt_pql_log, 5e-324, -709.0895657128241},
    {"ln", nlt_pql_log, 1e+300, 690.7755278982137},
    {"ln", nlt_pql_log, 0.999999, -0.000001000000500029089},
    {"ln", nlt_pql_log, 29.1094, 3.3710611460713924},
    {"ln", nlt_pql_log, 47.4356, 3.859373001652796},
    {"ln", nlt_pql_log, 19.8733, 2.989377122290909},
    {"log2", nlt_pql_log2, 3, 1.5849625007211563},
    {"log2", nlt_pql_log2, 8, 3},
    {"log2", nlt_pql_log2, 0.1, -3.321928094887362},
    {"log2", nlt_pql_log2, 1e-310, -1029.7977094150824},
    {"log2", nlt_pql_log2, 12345.678, 13.59171844813855},
    {"log2", nlt_pql_log2, 0.293586, -1.7681449217067176},
    {"log2", nlt_pql_log2, 87.6939, 6.454404586977869},
    {"log2", nlt_pql_log2, 44.2238, 5.466751091222267},
    {"log10", nlt_pql_log10, 1000, 3},
    {"log10", nlt_pql_log10, 3, 0.4771212547196624},
    {"log10", nlt_pql_log10, 0.1, -0.9999999999999999},
    {"log10", nlt_pql_log10, 1e+300, 300},
    {"log10", nlt_pql_log10, 5e-324, -307.9536855642528},
    {"log10", nlt_pql_log10, 72.8047, 1.8621594166506457},
    {"log10", nlt_pql_log10, 56.1975, 1.749716995989801},
    {"log10", nlt_pql_log10, 54.2436, 1.7343485047574656},
    {"sin", nlt_pql_sin, 0.5, 0.479425538604203},
    {"sin", nlt_pql_sin, 1, 0.8414709848078965},
    {"sin", nlt_pql_sin, -2.5, -0.5984721441039564},
    {"sin", nlt_pql_sin, 1000000.0, -0.34999350217129294},
    {"sin", nlt_pql_sin, 1000000000000000.0, 0.8582727931702359},
    {"sin", nlt_pql_sin, 1e+300, -0.8178819121159087},
    {"sin", nlt_pql_sin, 3.14159, 0.0000026535897933527304},
    {"sin", nlt_pql_sin, -1.47953, -0.9958381188806736},
    {"sin", nlt_pql_sin, 28.182, 0.09220273876671356},
    {"sin", nlt_pql_sin, 8.82004, 0.5685465289176206},
    {"cos", nlt_pql_cos, 0.5, 0.8775825618903728},
    {"cos", nlt_pql_cos, 1, 0.5403023058681398},
    {"cos", nlt_pql_cos, -2.5, -0.8011436155469337},
    {"cos", nlt_pql_cos, 1000000.0, 0.9367521275331447},
    {"cos", nlt_pql_cos, 1000000000000000.0, -0.5131937377869702},
    {"cos", nlt_pql_cos, 1e+300, -0.5753861119575491},
    {"cos", nlt_pql_cos, 0.0543657, 0.9985225492852619},
    {"cos", nlt_pql_cos, 0.762442, 0.7231515050146062},
    {"cos", nlt_pql_cos, 0.442737, 0.9035824795379163},
    {"tan", nlt_pql_tan, 0.5, 0.5463024898437905},
    {"tan", nlt_pql_tan, 1, 1.557407724654902},
    {"tan", nlt_pql_tan, -2.5, 0.7470222972386603},
    {"tan", nlt_pql_tan, 1000000.0, -0.373624453987599},
    {"tan", nlt_pql_tan, 1000000000000000.0, -1.6724147821275832},
    {"tan", nlt_pql_tan, 1.5707963, 37320539.63435483},
    {"tan", nlt_pql_tan, 1.71676, -6.802295890577397},
    {"tan", nlt_pql_tan, 22.8621, 1.1876156164686427},
    {"tan", nlt_pql_tan, -1.98816, 2.2552278541774933},
    {"asin", nlt_pql_asin, 0.3, 0.3046926540153975},
    {"asin", nlt_pql_asin, 0.75, 0.848062078981481},
    {"asin", nlt_pql_asin, -0.99, -1.4292568534704693},
    {"asin", nlt_pql_asin, -0.332315, -0.33875700978997314},
    {"asin", nlt_pql_asin, -0.698686, -0.77355918377885},
    {"asin", nlt_pql_asin, -0.501497, -0.5253282265937115},
    {"acos", nlt_pql_acos, 0.3, 1.266103672779499},
    {"acos", nlt_pql_acos, 0.75, 0.7227342478134156},
    {"acos", nlt_pql_acos, -0.99, 3.0000531802653656},
    {"acos", nlt_pql_acos, 0, 1.5707963267948966},
    {"acos", nlt_pql_acos, -0.235137, 1.8081558444647912},
    {"acos", nlt_pql_acos, 0.489587, 1.0591802854703243},
    {"acos", nlt_pql_acos, -0.338478, 1.9160952803681581},
    {"atan", nlt_pql_atan, 0.3, 0.2914567944778671},
    {"atan", nlt_pql_atan, 0.7, 0.6107259643892086},
    {"atan", nlt_pql_atan, 5, 1.3734007669450157},
    {"atan", nlt_pql_atan, -10000000000.0, -1.5707963266948965},
    {"atan", nlt_pql_atan, -0.83763, -0.6972686614951287},
    {"atan", nlt_pql_atan, -39.3389, -1.5453816688071305},
    {"atan", nlt_pql_atan, 1.35672, 0.9356207642242069},
    {"sinh", nlt_pql_sinh, 0.3, 0.3045202934471426},
    {"sinh", nlt_pql_sinh, -0.4, -0.41075232580281557},
    {"sinh", nlt_pql_sinh, 5, 74.20321057778875},
    {"sinh", nlt_pql_sinh, 22, 1792456423.0657957},
    {"sinh", nlt_pql_sinh, -700, -5.0711602736750225e+303},
    {"sinh", nlt_pql_sinh, 14.2081, 740405.1530228434},
    {"sinh", nlt_pql_sinh, 1.88835, 3.2285672226502875},
    {"sinh", nlt_pql_sinh, -39.9737, -114637666069082130.0},
    {"cosh", nlt_pql_cosh, 0.3, 1.0453385141288605},
    {"cosh", nlt_pql_cosh, 5, 74.20994852478785},
    {"cosh", nlt_pql_cosh, 22, 1792456423.0657957},
    {"cosh", nlt_pql_cosh, -700, 5.0711602736750225e+303},
    {"cosh", nlt_pql_cosh, 19.1759, 106403903.30965541},
    {"cosh", nlt_pql_cosh, -9.18835, 4891.248319195861},
    {"cosh", nlt_pql_cosh, -15.1553, 1909119.7299963422},
    {"tanh", nlt_pql_tanh, 0.3, 0.2913126124515909},
    {"tanh", nlt_pql_tanh, 0.7, 0.6043677771171635},
    {"tanh", nlt_pql_tanh, -5, -0.9999092042625951},
    {"tanh", nlt_pql_tanh, 50, 1},
    {"tanh", nlt_pql_tanh, -0.354386, -0.3402595198834083},
    {"tanh", nlt_pql_tanh, -0.803779, -0.6661441414883322},
    {"tanh", nlt_pql_tanh, 0.649527, 0.5713514594829273},
    {"asinh", nlt_pql_asinh, 0.3, 0.29567304756342244},
    {"asinh", nlt_pql_asinh, 1e-05, 0.000009999999999833334},
    {"asinh", nlt_pql_asinh, 3, 1.8184464592320668},
    {"asinh", nlt_pql_asinh, -10000000000.0, -23.7189981105004},
    {"asinh", nlt_pql_asinh, -5.75487, -2.450658210868699},
    {"asinh", nlt_pql_asinh, -5.93302, -2.480708176986112},
    {"asinh", nlt_pql_asinh, -2.55421, -1.6671781926997373},
    {"acosh", nlt_pql_acosh, 1.1, 0.4435682543851154},
    {"acosh", nlt_pql_acosh, 1.9, 1.2571958266003804},
    {"acosh", nlt_pql_acosh, 5, 2.2924316695611777},
    {"acosh", nlt_pql_acosh, 10000000000.0, 23.7189981105004},
    {"acosh", nlt_pql_acosh, 21.1024, 3.7419720802557634},
    {"acosh", nlt_pql_acosh, 24.4589, 3.8897231822002762},
    {"acosh", nlt_pql_acosh, 2.77184, 1.6784057329307265},
    {"atanh", nlt_pql_atanh, 0.3, 0.30951960420311175},
    {"atanh", nlt_pql_atanh, -0.7, -0.8673005276940531},
    {"atanh", nlt_pql_atanh, 1e-05, 0.000010000000000333335},
    {"atanh", nlt_pql_atanh, 0.999, 3.8002011672501994},
};

static void
functions_have_the_digits_of_prometheus(void)
{
    for (size_t i = 0; i < NLT_COUNT(digits); i++) {
        same(digits[i].fn(digits[i].x), digits[i].want, digits[i].name,
             digits[i].x);
    }
}

static void
functions_of_two_have_them_too(void)
{
    static const struct {
        const char *name;
        double (*fn)(double, double);
        double a, b, want;
    } t[] = {
        {"pow", nlt_pql_pow, 2, 0.3, 1.2311444133449163},
        {"pow", nlt_pql_pow, 10, -3, 0.001},
        {"pow", nlt_pql_pow, 0.0022006815312212496, 60,
         3.5762833782787125e-160},
        {"pow", nlt_pql_pow, 1.5, 1000.7, 1.6387886107032333e+176},
        {"pow", nlt_pql_pow, -3, 5, -243},
        {"pow", nlt_pql_pow, 7, 0.5, 2.6457513110645907},
        {"pow", nlt_pql_pow, 7, -0.5, 0.3779644730092272},
        {"pow", nlt_pql_pow, 1.0001, 1000000.0, 2.6747109930566795e+43},
        {"pow", nlt_pql_pow, 10, 308.2, 1.584893192461073e+308},
        {"pow", nlt_pql_pow, 3, -700, 0},
        {"atan2", nlt_pql_atan2, 1, 2, 0.4636476090008061},
        {"atan2", nlt_pql_atan2, -1, 2, -0.4636476090008061},
        {"atan2", nlt_pql_atan2, 1, -2, 2.677945044588987},
        {"atan2", nlt_pql_atan2, -1, -2, -2.677945044588987},
        {"atan2", nlt_pql_atan2, 5400, 1700000327.032,
         0.0000031764699771614752},
        {"atan2", nlt_pql_atan2, 3, 0, 1.5707963267948966},
    };

    for (size_t i = 0; i < NLT_COUNT(t); i++) {
        same(t[i].fn(t[i].a, t[i].b), t[i].want, t[i].name, t[i].a);
    }
}

/* At least one value in each table where the usual library is different. */
static void
the_difference_from_libm_is_real(void)
{
    NLT_CHECK(nlt_pql_log(5e-324) != log(5e-324));
    NLT_CHECK(isinf(nlt_pql_exp(709.7)) && isfinite(exp(709.7)));
}

static void
special_values_are_those_of_ieee(void)
{
    static double (*const odd[])(double) = {
        nlt_pql_sin,  nlt_pql_tan,  nlt_pql_asin,  nlt_pql_atan,
        nlt_pql_sinh, nlt_pql_tanh, nlt_pql_asinh, nlt_pql_atanh};

    for (size_t i = 0; i < NLT_COUNT(odd); i++) {
        double minus = odd[i](-0.0), plus = odd[i](0.0);

        NLT_CHECK(minus == 0 && signbit(minus));
        NLT_CHECK(plus == 0 && !signbit(plus));
        NLT_CHECK(isnan(odd[i](NAN)));
    }
    NLT_CHECK(nlt_pql_exp(-INFINITY) == 0 && isinf(nlt_pql_exp(INFINITY)));
    NLT_CHECK(isinf(nlt_pql_log(0)) && isnan(nlt_pql_log(-1)));
    NLT_CHECK(isnan(nlt_pql_sin(INFINITY)) && isnan(nlt_pql_cos(-INFINITY)));
    NLT_CHECK(isnan(nlt_pql_acos(1.5)) && isnan(nlt_pql_acosh(0.5)));
    NLT_CHECK(isinf(nlt_pql_atanh(1)) && isnan(nlt_pql_atanh(2)));
    NLT_CHECK(nlt_pql_tanh(INFINITY) == 1 && isinf(nlt_pql_cosh(-INFINITY)));
    NLT_CHECK(nlt_pql_pow(NAN, 0) == 1 && nlt_pql_pow(1, NAN) == 1);
    NLT_CHECK(nlt_pql_pow(-1, INFINITY) == 1 && isnan(nlt_pql_pow(-2, 0.5)));
    NLT_CHECK(isinf(nlt_pql_pow(0, -1)) && nlt_pql_pow(2, -INFINITY) == 0);
    NLT_CHECK(isinf(nlt_pql_pow(2, 1e19)) && nlt_pql_pow(2, -1e19) == 0);
    NLT_CHECK(nlt_pql_atan2(0.0, -1) > 3 && nlt_pql_atan2(-0.0, -1) < -3);
}

int
main(void)
{
    NLT_TEST(functions_have_the_digits_of_prometheus);
    NLT_TEST(functions_of_two_have_them_too);
    NLT_TEST(the_difference_from_libm_is_real);
    NLT_TEST(special_values_are_those_of_ieee);
    return nlt_test_done();
}

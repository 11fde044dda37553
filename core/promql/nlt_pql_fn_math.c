/*
 * nlt_pql_fn_math.c - functions of one number.
 *
 * The sign of zero is kept where IEEE keeps it.
 */
#include "nlt_pql_fn.h"
#include "nlt_pql_libm.h"

#define PI 3.14159265358979323846

#define SIMPLE(name, expr)                                                    \
    NLT_PQL_MAP_FN(name)                                                      \
    {                                                                         \
        (void) eval_ms;                                                       \
        (void) params;                                                        \
        (void) n_params;                                                      \
        *out = (expr);                                                        \
        return true;                                                          \
    }

SIMPLE(abs, fabs(v))
SIMPLE(acos, nlt_pql_acos(v))
SIMPLE(acosh, nlt_pql_acosh(v))
SIMPLE(asin, nlt_pql_asin(v))
SIMPLE(asinh, nlt_pql_asinh(v))
SIMPLE(atan, nlt_pql_atan(v))
SIMPLE(atanh, nlt_pql_atanh(v))
SIMPLE(ceil, ceil(v))
SIMPLE(cos, nlt_pql_cos(v))
SIMPLE(cosh, nlt_pql_cosh(v))
SIMPLE(deg, v * 180 / PI)
SIMPLE(exp, nlt_pql_exp(v))
SIMPLE(floor, floor(v))
SIMPLE(ln, nlt_pql_log(v))
SIMPLE(log10, nlt_pql_log10(v))
SIMPLE(log2, nlt_pql_log2(v))
SIMPLE(rad, v *PI / 180)
SIMPLE(sgn, v<0 ? -1 : v> 0 ? 1 : v)
SIMPLE(sin, nlt_pql_sin(v))
SIMPLE(sinh, nlt_pql_sinh(v))
SIMPLE(sqrt, sqrt(v))
SIMPLE(tan, nlt_pql_tan(v))
SIMPLE(tanh, nlt_pql_tanh(v))
SIMPLE(clamp_max, nlt_pql_min(params[0], v))
SIMPLE(clamp_min, nlt_pql_max(params[0], v))

double
nlt_pql_max(double a, double b)
{
    if ((isinf(a) && a > 0) || (isinf(b) && b > 0)) {
        return INFINITY;
    }
    if (isnan(a) || isnan(b)) {
        return NAN;
    }
    if (a == 0 && b == 0) {
        return signbit(a) ? b : a;
    }
    return a > b ? a : b;
}

double
nlt_pql_min(double a, double b)
{
    if ((isinf(a) && a < 0) || (isinf(b) && b < 0)) {
        return -INFINITY;
    }
    if (isnan(a) || isnan(b)) {
        return NAN;
    }
    if (a == 0 && b == 0) {
        return signbit(a) ? a : b;
    }
    return a < b ? a : b;
}

/* params: minimum, maximum; crossed ones leave nothing. */
NLT_PQL_MAP_FN(clamp)
{
    (void) eval_ms;
    (void) n_params;
    if (params[1] < params[0]) {
        return false;
    }
    *out = nlt_pql_max(params[0], nlt_pql_min(params[1], v));
    return true;
}

/*
 * Ties go up.  Multiplying by the inverse is what Prometheus does: it makes
 * round(x, 0.1) better than dividing by 0.1 would.
 */
NLT_PQL_MAP_FN(round)
{
    double inverse = 1.0 / (n_params > 0 ? params[0] : 1.0);

    (void) eval_ms;
    *out = floor(v * inverse + 0.5) / inverse;
    return true;
}

/*
 * nlt_pql_fn_math.c - functions of one number.
 *
 * NaN and Inf go through libm, which answers as Go does.  The sign of zero is
 * kept where IEEE keeps it.
 */
#include "nlt_pql_fn.h"

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
SIMPLE(acos, acos(v))
SIMPLE(acosh, acosh(v))
SIMPLE(asin, asin(v))
SIMPLE(asinh, asinh(v))
SIMPLE(atan, atan(v))
SIMPLE(atanh, atanh(v))
SIMPLE(ceil, ceil(v))
SIMPLE(cos, cos(v))
SIMPLE(cosh, cosh(v))
SIMPLE(deg, v * 180 / PI)
SIMPLE(exp, exp(v))
SIMPLE(floor, floor(v))
SIMPLE(ln, log(v))
SIMPLE(log10, log10(v))
SIMPLE(log2, log2(v))
SIMPLE(rad, v *PI / 180)
SIMPLE(sgn, v<0 ? -1 : v> 0 ? 1 : v)
SIMPLE(sin, sin(v))
SIMPLE(sinh, sinh(v))
SIMPLE(sqrt, sqrt(v))
SIMPLE(tan, tan(v))
SIMPLE(tanh, tanh(v))
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

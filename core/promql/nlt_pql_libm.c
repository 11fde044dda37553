/*
 * nlt_pql_libm.c - elementary functions with Prometheus's last digit.
 *
 * The order of operations is all that matters here: a "simplification" of an
 * expression changes digits.  Polynomials are evaluated by Horner's rule.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "nlt_pql_libm.h"

#define PI         3.14159265358979323846
#define FOUR_BY_PI 1.27323954473516268615107010698140931
#define LN2        0.693147180559945309417232121458176568
#define LOG2_E     1.44269504088896340735992468100189214
#define LOG10_E    0.434294481903251827651128918916605082
#define SQRT2      1.41421356237309504880168872420969808

/* ln 2 in two parts, the first with zeros at its end. */
#define LN2_HI 6.93147180369123816490e-01
#define LN2_LO 1.90821492927058770002e-10

static uint64_t
bits_of(double x)
{
    uint64_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

static double
from_bits(uint64_t u)
{
    double x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

/* c[0] x^(n-1) + ... + c[n-1] */
static double
poly(double x, const double *c, size_t n)
{
    double v = c[0];

    for (size_t i = 1; i < n; i++) {
        v = v * x + c[i];
    }
    return v;
}

#define POLY(x, c) poly(x, c, sizeof(c) / sizeof((c)[0]))

/* ---- exp, log, pow ---- */

/*
 * x = k ln 2 + r; Taylor's series of e^(r/16) - 1 and four times the rule
 * e^2y - 1 = (e^y - 1) (e^y - 1 + 2).  Fused where the peer fuses.
 */
double
nlt_pql_exp(double x)
{
    static const double taylor[] = {2.4801587301587301587e-5,
                                    1.9841269841269841270e-4,
                                    1.3888888888888888889e-3,
                                    8.3333333333333333333e-3,
                                    4.1666666666666666667e-2,
                                    1.6666666666666666667e-1,
                                    0.5,
                                    1.0};
    double k, r, v;

    if (!isfinite(x)) {
        return exp(x);
    }
    if (x > 7.1e+02) {
        return INFINITY;
    }
    if (x < -7.5e+02) {
        return 0;
    }
    k = nearbyint(x * LOG2_E);
    if (k > 1023) { /* a little early, as there */
        return INFINITY;
    }
    r = fma(-k, 0.69314718055966295651160180568695068359375, x);
    r = fma(-k, 0.28235290563031577122588448175013436025525412068e-12, r);
    r *= 0.0625;
    v = taylor[0];
    for (size_t i = 1; i < sizeof(taylor) / sizeof(taylor[0]); i++) {
        v = fma(v, r, taylor[i]);
    }
    r *= v;
    for (int i = 0; i < 3; i++) {
        r *= r + 2.0;
    }
    return ldexp(fma(r, r + 2.0, 1.0), (int) k);
}

/*
 * x = 2^k (1 + f) with 1 + f around 1, s = f / (2 + f), and a polynomial of
 * s^2 whose even and odd terms are summed apart.
 */
double
nlt_pql_log(double x)
{
    double f, s, s2, s4, r, hfsq, k;
    int exponent;

    if (!isfinite(x) || x <= 0) {
        return log(x);
    }
    /* a subnormal is taken as if it had its hidden bit */
    exponent = (int) (bits_of(x) >> 52) - 1022;
    f = from_bits((bits_of(x) & ((UINT64_C(1) << 52) - 1))
                  | UINT64_C(0x3fe0000000000000));
    if (f < SQRT2 / 2) {
        f *= 2;
        exponent--;
    }
    f -= 1;
    k = exponent;
    s = f / (2 + f);
    s2 = s * s;
    s4 = s2 * s2;
    r = s2
            * (6.666666666666735130e-01
               + s4
                     * (2.857142874366239149e-01
                        + s4
                              * (1.818357216161805012e-01
                                 + s4 * 1.479819860511658591e-01)))
        + s4
              * (3.999999999940941908e-01
                 + s4
                       * (2.222219843214978396e-01
                          + s4 * 1.531383769920937332e-01));
    hfsq = 0.5 * f * f;
    return k * LN2_HI - ((hfsq - (s * (hfsq + r) + k * LN2_LO)) - f);
}

double
nlt_pql_log2(double x)
{
    int exponent;
    double f;

    if (!isfinite(x) || x <= 0) {
        return log2(x);
    }
    f = frexp(x, &exponent);
    /* powers of two are exact */
    return f == 0.5 ? exponent - 1 : nlt_pql_log(f) * LOG2_E + exponent;
}

double
nlt_pql_log10(double x)
{
    return nlt_pql_log(x) * LOG10_E;
}

/* ln(1 + x); the digits of x that 1 + x loses are put back as c. */
static double
log_1p(double x)
{
    static const double p[] = {
        1.479819860511658591e-01, 1.531383769920937332e-01,
        1.818357216161805012e-01, 2.222219843214978396e-01,
        2.857142874366239149e-01, 3.999999999940941908e-01,
        6.666666666666735130e-01};
    double size = fabs(x), f = 0, c = 0, hfsq, s, z, r;
    uint64_t mantissa = 0;
    int k = 1;

    if (!isfinite(x) || x <= -1) {
        return log1p(x);
    }
    if (size < SQRT2 - 1) {
        if (size < 0x1p-29) {
            return size < 0x1p-54 ? x : x - x * x * 0.5;
        }
        if (x > SQRT2 / 2 - 1) {
            k = 0;
            f = x;
            mantissa = 1;
        }
    }
    if (k != 0) {
        double u = size < 0x1p53 ? 1.0 + x : x;

        mantissa = bits_of(u);
        k = (int) (mantissa >> 52) - 1023;
        if (size < 0x1p53) {
            c = k > 0 ? 1.0 - (u - x) : x - (u - 1.0);
            c /= u;
        }
        mantissa &= (UINT64_C(1) << 52) - 1;
        if (mantissa < UINT64_C(0x0006a09e667f3bcd)) {
            u = from_bits(mantissa | UINT64_C(0x3ff0000000000000));
        } else {
            k++;
            u = from_bits(mantissa | UINT64_C(0x3fe0000000000000));
            mantissa = ((UINT64_C(1) << 52) - mantissa) >> 2;
        }
        f = u - 1.0;
    }
    hfsq = 0.5 * f * f;
    if (mantissa == 0) { /* |f| < 2^-20 */
        if (f == 0) {
            return k == 0 ? 0 : k * LN2_HI + (c + k * LN2_LO);
        }
        r = hfsq * (1.0 - 0.66666666666666666 * f);
        return k == 0 ? f - r : k * LN2_HI - ((r - (k * LN2_LO + c)) - f);
    }
    s = f / (2.0 + f);
    z = s * s;
    r = z * POLY(z, p);
    if (k == 0) {
        return f - (hfsq - s * (hfsq + r));
    }
    return k * LN2_HI - ((hfsq - (s * (hfsq + r) + (k * LN2_LO + c))) - f);
}

/*
 * By squaring for the integer part of y, mantissa and exponent apart, and by
 * exp and log for a rest of at most a half.
 */
double
nlt_pql_pow(double x, double y)
{
    double whole, rest, v = 1, m;
    int64_t exponent = 0, e;
    int e_x;

    if (y == 0 || y == 1 || x == 0 || x == 1 || !isfinite(x) || !isfinite(y)) {
        return pow(x, y);
    }
    if (y == 0.5 || y == -0.5) {
        return y > 0 ? sqrt(x) : 1 / sqrt(x);
    }
    rest = modf(fabs(y), &whole);
    if ((rest != 0 && x < 0) || whole >= 0x1p63) {
        return pow(x, y);
    }
    if (rest != 0) {
        if (rest > 0.5) {
            rest--;
            whole++;
        }
        v = nlt_pql_exp(rest * nlt_pql_log(x));
    }
    m = frexp(x, &e_x);
    e = e_x;
    for (int64_t i = (int64_t) whole; i != 0; i >>= 1) {
        if (e < -(1 << 12) || e > 1 << 12) { /* 0 or infinite for certain */
            exponent += e;
            break;
        }
        if (i & 1) {
            v *= m;
            exponent += e;
        }
        m *= m;
        e *= 2;
        if (m < .5) {
            m += m;
            e--;
        }
    }
    if (y < 0) {
        v = 1 / v;
        exponent = -exponent;
    }
    return ldexp(v, exponent > 99999    ? 99999
                    : exponent < -99999 ? -99999
                                        : (int) exponent);
}

/* ---- sin, cos, tan ---- */

/* 4 / pi in binary, 1 before the point. */
static const uint64_t four_over_pi[] = {
    UINT64_C(0x0000000000000001), UINT64_C(0x45f306dc9c882a53),
    UINT64_C(0xf84eafa3ea69bb81), UINT64_C(0xb6c52b3278872083),
    UINT64_C(0xfca2c757bd778ac3), UINT64_C(0x6e48dc74849ba5c0),
    UINT64_C(0x0c925dd413a32439), UINT64_C(0xfc3bd63962534e7d),
    UINT64_C(0xd1046bea5d768909), UINT64_C(0xd338e04d68befc82),
    UINT64_C(0x7323ac7306a673e9), UINT64_C(0x3908bf177bf25076),
    UINT64_C(0x3ff12fffbc0b301f), UINT64_C(0xde5e2316b414da3e),
    UINT64_C(0xda6cfd9e4f96136e), UINT64_C(0x9e8c7ecd3cbfd45a),
    UINT64_C(0xea4f758fd7cbe2f6), UINT64_C(0x7a0e73ef14a525d4),
    UINT64_C(0xd7f6bf623f1aba10), UINT64_C(0xac06608df8f6d757)};

static uint64_t
digits(unsigned at, unsigned shift)
{
    return four_over_pi[at] << shift
           | (shift ? four_over_pi[at + 1] >> (64 - shift) : 0);
}

/* Payne and Hanek: x mod pi/4 by the digits of 4/pi that matter. */
static unsigned
reduce_large(double x, double *z)
{
    uint64_t m = bits_of(x), hi, lo, e;
    int exponent = (int) (m >> 52 & 0x7ff) - 1023 - 52;
    unsigned at = (unsigned) (exponent + 61) / 64;
    unsigned shift = (unsigned) (exponent + 61) % 64;
    unsigned j, zeros;
    unsigned __int128 product;

    m &= (UINT64_C(1) << 52) - 1;
    m |= UINT64_C(1) << 52;
    product = (unsigned __int128) digits(at + 1, shift) * m;
    product +=
        (uint64_t) ((unsigned __int128) digits(at + 2, shift) * m >> 64);
    product += (unsigned __int128) (digits(at, shift) * m) << 64;
    hi = (uint64_t) (product >> 64);
    lo = (uint64_t) product;
    j = (unsigned) (hi >> 61);
    hi = hi << 3 | lo >> 61;
    zeros = hi ? (unsigned) __builtin_clzll(hi) : 64;
    e = 1023 - (zeros + 1);
    hi = zeros + 1 < 64 ? hi << (zeros + 1) | lo >> (64 - (zeros + 1)) : lo;
    hi = hi >> 12 | e << 52;
    *z = from_bits(hi);
    if (j & 1) {
        j = (j + 1) & 7;
        *z -= 1;
    }
    *z *= PI / 4;
    return j;
}

/* x >= 0: the octant (even) and what is left, within pi/4. */
static unsigned
octant(double x, double *z)
{
    uint64_t j;
    double y;

    if (x >= 0x1p29) {
        return reduce_large(x, z);
    }
    j = (uint64_t) (x * FOUR_BY_PI);
    j += j & 1;
    y = (double) j;
    *z = ((x - y * 7.85398125648498535156e-1) - y * 3.77489470793079817668e-8)
         - y * 2.69515142907905952645e-15;
    return j & 7;
}

static double
sin_near(double z)
{
    static const double p[] = {
        1.58962301576546568060e-10, -2.50507477628578072866e-8,
        2.75573136213857245213e-6,  -1.98412698295895385996e-4,
        8.33333333332211858878e-3,  -1.66666666666666307295e-1};
    double zz = z * z;

    return z + z * zz * POLY(zz, p);
}

static double
cos_near(double z)
{
    static const double p[] = {
        -1.13585365213876817300e-11, 2.08757008419747316778e-9,
        -2.75573141792967388112e-7,  2.48015872888517045348e-5,
        -1.38888888888730564116e-3,  4.16666666666665929218e-2};
    double zz = z * z;

    return 1.0 - 0.5 * zz + zz * zz * POLY(zz, p);
}

double
nlt_pql_sin(double x)
{
    double z, v;
    unsigned j;

    if (!isfinite(x) || x == 0) {
        return sin(x);
    }
    j = octant(fabs(x), &z);
    v = (j & 3) == 2 ? cos_near(z) : sin_near(z);
    return (j > 3) != (x < 0) ? -v : v;
}

double
nlt_pql_cos(double x)
{
    double z, v;
    unsigned j;

    if (!isfinite(x)) {
        return cos(x);
    }
    j = octant(fabs(x), &z);
    v = (j & 3) == 2 ? sin_near(z) : cos_near(z);
    return (j > 3) != ((j & 3) > 1) ? -v : v;
}

double
nlt_pql_tan(double x)
{
    static const double p[] = {-1.30936939181383734205e4,
                               1.15351664838587416140e6,
                               -1.79565251976484877988e7};
    static const double q[] = {
        1.0, 1.36812963470692954678e4, -1.32089234440210967447e6,
        2.50083801823357915839e7, -5.38695755929454629881e7};
    double z, zz, v;
    unsigned j;

    if (!isfinite(x) || x == 0) {
        return tan(x);
    }
    j = octant(fabs(x), &z);
    zz = z * z;
    v = zz > 1e-14 ? z + z * (zz * POLY(zz, p) / POLY(zz, q)) : z;
    if (j & 2) {
        v = -1 / v;
    }
    return x < 0 ? -v : v;
}

/* ---- their inverses ---- */

/* 0 <= x <= 0.66 */
static double
atan_near(double x)
{
    static const double p[] = {
        -8.750608600031904122785e-01, -1.615753718733365076637e+01,
        -7.500855792314704667340e+01, -1.228866684490136173410e+02,
        -6.485021904942025371773e+01};
    static const double q[] = {1.0,
                               +2.485846490142306297962e+01,
                               +1.650270098316988542046e+02,
                               +4.328810604912902668951e+02,
                               +4.853903996359136964868e+02,
                               +1.945506571482613964425e+02};
    double z = x * x;

    z = z * POLY(z, p) / POLY(z, q);
    return x * z + x;
}

/* x >= 0; pi/2 is a little more than its double. */
static double
atan_positive(double x)
{
    const double more = 6.123233995736765886130e-17;

    if (x <= 0.66) {
        return atan_near(x);
    }
    if (x > 2.41421356237309504880) {
        return PI / 2 - atan_near(1 / x) + more;
    }
    return PI / 4 + atan_near((x - 1) / (x + 1)) + 0.5 * more;
}

double
nlt_pql_atan(double x)
{
    if (x == 0 || isnan(x)) {
        return x;
    }
    return x > 0 ? atan_positive(x) : -atan_positive(-x);
}

double
nlt_pql_atan2(double y, double x)
{
    double angle;

    if (isnan(x) || isnan(y) || y == 0 || x == 0 || isinf(x) || isinf(y)) {
        return atan2(y, x);
    }
    angle = nlt_pql_atan(y / x);
    if (x < 0) {
        return angle <= 0 ? angle + PI : angle - PI;
    }
    return angle;
}

double
nlt_pql_asin(double x)
{
    double size = fabs(x), v;

    if (isnan(x) || x == 0 || size > 1) {
        return asin(x);
    }
    v = sqrt(1 - size * size);
    v = size > 0.7 ? PI / 2 - atan_positive(v / size)
                   : atan_positive(size / v);
    return x < 0 ? -v : v;
}

double
nlt_pql_acos(double x)
{
    return PI / 2 - nlt_pql_asin(x);
}

/* ---- hyperbolic ---- */

double
nlt_pql_sinh(double x)
{
    static const double p[] = {-0.2630563213397497062819489e+2,
                               -0.2894211355989563807284660366e+4,
                               -0.8991272022039509355398013511e+5,
                               -0.6307673640497716991184787251e+6};
    static const double q[] = {1.0, -0.173678953558233699533450911e+3,
                               0.1521517378790019070696485176e+5,
                               -0.6307673640497716991212077277e+6};
    double size = x < 0 ? -x : x, v; /* -0 stays, and comes back */

    if (size > 21) {
        v = nlt_pql_exp(size) * 0.5;
    } else if (size > 0.5) {
        double e = nlt_pql_exp(size);

        v = (e - 1 / e) * 0.5;
    } else {
        double sq = size * size;

        v = POLY(sq, p) * size;
        v = v / POLY(sq, q);
    }
    return x < 0 ? -v : v;
}

double
nlt_pql_cosh(double x)
{
    double size = fabs(x), e = nlt_pql_exp(size);

    return size > 21 ? e * 0.5 : (e + 1 / e) * 0.5;
}

double
nlt_pql_tanh(double x)
{
    static const double p[] = {-9.64399179425052238628e-1,
                               -9.92877231001918586564e1,
                               -1.61468768441708447952e3};
    static const double q[] = {1.0, 1.12811678491632931402e2,
                               2.23548839060100448583e3,
                               4.84406305325125486048e3};
    double size = fabs(x);

    if (size > 0.5 * 8.8029691931113054295988e+01) {
        return x < 0 ? -1 : 1;
    }
    if (size >= 0.625) {
        double v = 1 - 2 / (nlt_pql_exp(2 * size) + 1);

        return x < 0 ? -v : v;
    }
    if (x == 0) {
        return x;
    }
    double s = x * x;

    return x + x * s * POLY(s, p) / POLY(s, q);
}

double
nlt_pql_asinh(double x)
{
    double size = fabs(x), v;

    if (!isfinite(x)) {
        return x;
    }
    if (size > 0x1p28) {
        v = nlt_pql_log(size) + LN2;
    } else if (size > 2) {
        v = nlt_pql_log(2 * size + 1 / (sqrt(size * size + 1) + size));
    } else if (size < 0x1p-28) {
        v = size;
    } else {
        v = log_1p(size + size * size / (1 + sqrt(1 + size * size)));
    }
    return signbit(x) ? -v : v;
}

double
nlt_pql_acosh(double x)
{
    if (!(x > 1)) {
        return acosh(x);
    }
    if (x >= 0x1p28) {
        return nlt_pql_log(x) + LN2;
    }
    if (x > 2) {
        return nlt_pql_log(2 * x - 1 / (x + sqrt(x * x - 1)));
    }
    double t = x - 1;

    return log_1p(t + sqrt(2 * t + t * t));
}

double
nlt_pql_atanh(double x)
{
    double size = fabs(x), v;

    if (!(size < 1)) {
        return atanh(x);
    }
    if (size < 0x1p-28) {
        v = size;
    } else if (size < 0.5) {
        v = size + size;
        v = 0.5 * log_1p(v + v * size / (1 - size));
    } else {
        v = 0.5 * log_1p((size + size) / (1 - size));
    }
    return signbit(x) ? -v : v;
}

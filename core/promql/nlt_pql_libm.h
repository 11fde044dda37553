/*
 * nlt_pql_libm.h - elementary functions with Prometheus's last digit.
 *
 * Floor 3 (promql); uses base.
 * Follows: the published algorithms that Go's math package has chosen (Cephes
 * by S. L. Moshier for circular functions, FDLIBM for logarithms, N. Shibata's
 * series for exp); differs: nothing that was seen, on a machine with FMA.
 * Memory: none.  Threads: pure.
 *
 * libm is correct to the last bit nearly always and Go is not, so for one
 * value in five or so the two print another last digit.  The digits that
 * Prometheus prints are the contract, hence these functions: each does the
 * same operations in the same order.  Arithmetic and sqrt() are exact in both
 * worlds and need nothing; floor(), fmod() and kin neither.
 *
 * Special values (NaN, Inf, zeros, outside the domain) as in C's Annex F,
 * except where noted.
 */
#ifndef NLT_PROMQL_PQL_LIBM_H
#define NLT_PROMQL_PQL_LIBM_H

/* e^x.  O(1), as all of these. */
double nlt_pql_exp(double x);

/* Logarithms: natural, binary, decimal. */
double nlt_pql_log(double x);
double nlt_pql_log2(double x);
double nlt_pql_log10(double x);

/* x^y. */
double nlt_pql_pow(double x, double y);

/* Circular functions of radians, arguments of any size. */
double nlt_pql_sin(double x);
double nlt_pql_cos(double x);
double nlt_pql_tan(double x);
double nlt_pql_asin(double x);
double nlt_pql_acos(double x);
double nlt_pql_atan(double x);

/* The angle of (x, y); atan2(y, x). */
double nlt_pql_atan2(double y, double x);

/* Hyperbolic functions. */
double nlt_pql_sinh(double x);
double nlt_pql_cosh(double x);
double nlt_pql_tanh(double x);
double nlt_pql_asinh(double x);
double nlt_pql_acosh(double x);
double nlt_pql_atanh(double x);

#endif

/*
 * nlt_pql_lanes_x.h - the kernels of nlt_pql_lanes.h, for one width.
 *
 * Included by nlt_pql_lanes.c once an instruction set, with these defined:
 *
 *   KERNEL(name)  name of a function of this set
 *   TARGET        attribute of a function of this set
 *   WIDE          doubles in a vector that it has instructions for: 2 or 4
 *
 * A template, since compilers take wider vectors apart before they know for
 * which instructions they are.  No vector crosses a function's border.
 */

/* clang-format off */
#if WIDE == 2
typedef v2d_t KERNEL(vec_t);
typedef v2u_t KERNEL(bits_t);
#define LOAD(p, at) {(p)[(at)[0]], (p)[(at)[1]]}
#else
typedef v4d_t KERNEL(vec_t);
typedef v4u_t KERNEL(bits_t);
#define LOAD(p, at) {(p)[(at)[0]], (p)[(at)[1]], (p)[(at)[2]], (p)[(at)[3]]}
#endif
/* clang-format on */

#define VEC  KERNEL(vec_t)
#define BITS KERNEL(bits_t)

/* Adds x to the sums s with the compensations c. */
#define ADD(s, c, x)                                                          \
    do {                                                                      \
        VEC t_ = (s) + (x), b_ = t_ - (s);                                    \
                                                                              \
        (c) += ((s) - (t_ - b_)) + ((x) -b_);                                 \
        (s) = t_;                                                             \
    } while (0)

#define N_SUM  (NLT_PQL_LANES_SUM / WIDE)
#define N_VAR  (NLT_PQL_LANES_VAR / WIDE)
#define N_LINE (NLT_PQL_LANES_LINE / WIDE)

TARGET static void
KERNEL(sum)(const double *v, const size_t *at, size_t n,
            nlt_pql_lane_sums_t *out)
{
    VEC s[N_SUM] = {{0}}, c[N_SUM] = {{0}};

    for (size_t j = 0; j < n; j++, v++) {
        EACH(g, N_SUM)
        {
            VEC x = LOAD(v, at + g * WIDE);

            ADD(s[g], c[g], x);
        }
    }
    memcpy(out->sum, s, sizeof(s));
    memcpy(out->c, c, sizeof(c));
}

TARGET static void
KERNEL(variance)(const double *v, const size_t *at, size_t n,
                 nlt_pql_lane_sums_t *mean, nlt_pql_lane_sums_t *m2)
{
    VEC s[N_VAR] = {{0}}, c[N_VAR] = {{0}};
    VEC s2[N_VAR] = {{0}}, c2[N_VAR] = {{0}};
    double count = 0;

    for (size_t j = 0; j < n; j++, v++) {
        count++;
        EACH(g, N_VAR)
        {
            VEC x = LOAD(v, at + g * WIDE);
            VEC delta = x - (s[g] + c[g]);
            VEC term = delta / count;

            ADD(s[g], c[g], term);
            term = delta * (x - (s[g] + c[g]));
            ADD(s2[g], c2[g], term);
        }
    }
    memcpy(mean->sum, s, sizeof(s));
    memcpy(mean->c, c, sizeof(c));
    memcpy(m2->sum, s2, sizeof(s2));
    memcpy(m2->c, c2, sizeof(c2));
}

TARGET static inline __attribute__((always_inline)) void
KERNEL(line_of)(const int64_t *t_ms, const double *v, const size_t *at,
                const int64_t *origin_ms, size_t n, nlt_pql_lane_lines_t *out,
                bool only_y)
{
    const uint64_t *t = (const uint64_t *) t_ms;
    VEC sx[N_LINE] = {{0}}, cx[N_LINE] = {{0}};
    VEC sy[N_LINE] = {{0}}, cy[N_LINE] = {{0}};
    VEC sxy[N_LINE] = {{0}}, cxy[N_LINE] = {{0}};
    VEC sxx[N_LINE] = {{0}}, cxx[N_LINE] = {{0}};
    VEC first[N_LINE];
    BITS varies[N_LINE] = {{0}}, less[N_LINE];

    EACH(g, N_LINE)
    {
        first[g] = (VEC) LOAD(v, at + g * WIDE);
        for (size_t k = 0; k < WIDE; k++) {
            less[g][k] = BIG_BITS - (uint64_t) origin_ms[g * WIDE + k];
        }
    }
    for (size_t j = 0; j < n; j++, v++, t++) {
        EACH(g, N_LINE)
        {
            VEC y = LOAD(v, at + g * WIDE);
            BITS at_ms = LOAD(t, at + g * WIDE);
            VEC x = ((VEC) (at_ms + less[g]) - BIG) / 1e3;
            VEC xy = x * y;

            varies[g] |= (BITS) (y != first[g]);
            ADD(sy[g], cy[g], y);
            ADD(sxy[g], cxy[g], xy);
            if (!only_y) {
                VEC xx = x * x;

                ADD(sx[g], cx[g], x);
                ADD(sxx[g], cxx[g], xx);
            }
        }
    }
    if (!only_y) {
        memcpy(out->x.sum, sx, sizeof(sx));
        memcpy(out->x.c, cx, sizeof(cx));
        memcpy(out->xx.sum, sxx, sizeof(sxx));
        memcpy(out->xx.c, cxx, sizeof(cxx));
    }
    memcpy(out->y.sum, sy, sizeof(sy));
    memcpy(out->y.c, cy, sizeof(cy));
    memcpy(out->xy.sum, sxy, sizeof(sxy));
    memcpy(out->xy.c, cxy, sizeof(cxy));
    memcpy(out->varies, varies, sizeof(varies));
}

TARGET static void
KERNEL(line)(const int64_t *t_ms, const double *v, const size_t *at,
             const int64_t *origin_ms, size_t n, nlt_pql_lane_lines_t *out)
{
    KERNEL(line_of)(t_ms, v, at, origin_ms, n, out, false);
}

TARGET static void
KERNEL(line_y)(const int64_t *t_ms, const double *v, const size_t *at,
               const int64_t *origin_ms, size_t n, nlt_pql_lane_lines_t *out)
{
    KERNEL(line_of)(t_ms, v, at, origin_ms, n, out, true);
}

static const nlt_pql_lanes_t KERNEL(set) = {KERNEL(sum), KERNEL(variance),
                                            KERNEL(line), KERNEL(line_y)};

#undef N_SUM
#undef N_VAR
#undef N_LINE
#undef ADD
#undef VEC
#undef BITS
#undef LOAD

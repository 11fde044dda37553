/*
 * nlt_dense_fit.c - encoder of dense chunks: which decimals values are.
 *
 * The exponent is guessed from 64 values, tried on all, and where some fail
 * that one more digit would mend, tried again with it.  What still fails is
 * an exception of ten bytes; if these are many, the values are not decimals.
 */
#include "nlt_dense_fit.h"
#include "nlt_dense_priv.h"

#define SAMPLE 64  /* values that the exponent is guessed from */
#define RUN    192 /* neighbours that BIN and ULP are compared on */

/* Of 2^-54, which is less than half of 10^-15. */
#define TINY_BITS UINT64_C(0x3c90000000000000)

/* Bits of an exception, and of a digit more for each value. */
#define EXCEPTION_BITS 80.0
#define DIGIT_BITS     1.66

/* Is it so near to 0 that its nearest X is 0 for every e?  0 itself is not. */
static inline bool
is_tiny(double v)
{
    return (nlt_bits_of(v) << 1) - 1 < (TINY_BITS << 1) - 1;
}

/* The nearest X; false where there is none in 62 bits. */
static inline bool
nearest(double v, unsigned e, int64_t *x)
{
    double y;

    if (nlt_unlikely(is_tiny(v))) {
        *x = 0; /* not by arithmetic: that of denormals is very slow */
        return true;
    }
    y = v * nlt_dense_pow10[e];
    if (!(y < 4e18 && y > -4e18)) {
        return false;
    }
    *x = (int64_t) (y + (y < 0 ? -0.5 : 0.5));
    return true;
}

static inline bool
is_decimal(double v, unsigned e, int64_t *x)
{
    return nearest(v, e, x)
           && nlt_bits_of((double) *x / nlt_dense_pow10[e]) == nlt_bits_of(v);
}

static inline bool
is_special(double v)
{
    uint64_t u = nlt_bits_of(v);

    for (size_t i = 0; i < NLT_DENSE_RAW; i++) {
        if (u == nlt_dense_special[i]) {
            return true;
        }
    }
    return false;
}

static unsigned
guess(const double *v, size_t n)
{
    size_t k = n < SAMPLE ? n : SAMPLE;
    double best = 1e300;
    unsigned best_e = 0;

    for (unsigned e = 0; e < 16; e++) {
        size_t fails = 0;
        double cost;
        int64_t x;

        for (size_t i = 0; i < k; i++) {
            double y = v[i * n / k];

            fails += !is_decimal(y, e, &x) && !is_special(y);
        }
        cost = EXCEPTION_BITS * (double) fails + DIGIT_BITS * (double) (e * k);
        if (cost < best) {
            best = cost;
            best_e = e;
        }
        if (fails == 0) {
            break;
        }
    }
    return best_e;
}

/* Fills x, and odd with what is no decimal; how many those are. */
static size_t
scale(nlt_dense_work_t *w, const double *v, size_t n, unsigned e)
{
    size_t n_odd = 0;
    uint64_t last = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t x;

        if (nlt_likely(is_decimal(v[i], e, &x))) {
            last = (uint64_t) x;
        } else {
            w->odd[n_odd++] = (uint16_t) i;
        }
        w->x[i] = last;
    }
    return n_odd;
}

/* The exponent that the first of the exceptions need; e: none helps. */
static unsigned
exponent_of_odd(const nlt_dense_work_t *w, const double *v, size_t n_odd,
                unsigned e)
{
    unsigned most = e;
    int64_t x;

    for (size_t i = 0; i < n_odd && i < 32; i++) {
        unsigned k = most;

        while (k < 16 && !is_decimal(v[w->odd[i]], k, &x)) {
            k++;
        }
        most = k < 16 ? k : most;
    }
    return most;
}

/* Bits of changes between neighbours: of raw bits, or of decimals and ulps. */
static double
cost_of(const double *v, size_t n, bool ulp, unsigned e)
{
    uint64_t last = 0, last_y = 0;
    double bits = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t x = nlt_bits_of(v[i]), y = 0;
        int64_t near;

        if (ulp) {
            if (!nearest(v[i], e, &near)) {
                bits += EXCEPTION_BITS;
                continue;
            }
            y = x - nlt_bits_of((double) near / nlt_dense_pow10[e]);
            x = (uint64_t) near;
        }
        bits += nlt_dense_bits(nlt_zigzag((int64_t) (x - last)));
        if (y != last_y || y != 0) {
            bits += nlt_dense_bits(nlt_zigzag((int64_t) y)) + 1;
        }
        last = x;
        last_y = y;
    }
    return bits;
}

/* Fills x and y for ULP; odd: what has no nearest decimal, and -0. */
static size_t
scale_ulp(nlt_dense_work_t *w, const double *v, size_t n, unsigned e)
{
    size_t n_odd = 0;
    uint64_t x = 0, y = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t near;

        if (nearest(v[i], e, &near) && !is_special(v[i])) {
            x = (uint64_t) near;
            y = nlt_bits_of(v[i])
                - nlt_bits_of((double) near / nlt_dense_pow10[e]);
        } else {
            w->odd[n_odd++] = (uint16_t) i;
        }
        w->x[i] = x;
        w->y[i] = y;
    }
    return n_odd;
}

/* Not decimals: their bits, or sums of decimals. */
static unsigned
fit_others(nlt_dense_work_t *w, const double *v, size_t n, unsigned *e,
           size_t *n_odd)
{
    size_t k = n < RUN ? n : RUN, at = (n - k) / 2;
    double best = cost_of(v + at, k, false, 0);
    unsigned domain = NLT_DENSE_BIN;

    for (unsigned i = 1; i < 16; i++) {
        double cost = cost_of(v + at, k, true, i) + (double) k;

        if (cost < best) {
            best = cost;
            domain = NLT_DENSE_ULP;
            *e = i;
        }
    }
    *n_odd = 0;
    if (domain == NLT_DENSE_ULP) {
        *n_odd = scale_ulp(w, v, n, *e);
        return domain;
    }
    *e = 0;
    memcpy(w->x, v, n * sizeof(*v));
    return domain;
}

/* Chooses the domain; x, y and odd are filled for it. */
static unsigned
fit(nlt_dense_work_t *w, const double *v, size_t n, unsigned *e, size_t *n_odd)
{
    size_t raw = 0;
    unsigned more;

    *e = guess(v, n);
    *n_odd = scale(w, v, n, *e);
    if (*n_odd > 0) {
        more = exponent_of_odd(w, v, *n_odd, *e);
        if (more > *e
            && EXCEPTION_BITS * (double) *n_odd
                   > DIGIT_BITS * (double) (more - *e) * (double) n) {
            size_t before = *n_odd;

            *n_odd = scale(w, v, n, more);
            if (*n_odd < before) {
                *e = more;
            } else {
                *n_odd = scale(w, v, n, *e);
            }
        }
    }
    for (size_t i = 0; i < *n_odd; i++) {
        raw += !is_special(v[w->odd[i]]);
    }
    if (raw > n / 24 + 1) {
        return fit_others(w, v, n, e, n_odd);
    }
    /* before the first decimal there is none to repeat: repeat the first */
    for (size_t i = 0; i < *n_odd && w->odd[i] == i; i++) {
        if (i + 1 == *n_odd || w->odd[i + 1] != i + 1) {
            for (size_t k = 0; k <= i && i + 1 < n; k++) {
                w->x[k] = w->x[i + 1];
            }
        }
    }
    return NLT_DENSE_DEC;
}

static void
put_runs(nlt_dense_out_t *o, const uint16_t *odd, size_t n_odd,
         const double *v)
{
    size_t n_runs = 0, end = 0;

    for (int write = 0; write < 2; write++) {
        if (write) {
            nlt_dense_put_uv(o, n_runs);
        }
        for (size_t i = 0, k; i < n_odd; i = k) {
            uint64_t bits = nlt_bits_of(v[odd[i]]);
            uint8_t class = 0;

            for (k = i + 1; k < n_odd && odd[k] == odd[k - 1] + 1
                            && nlt_bits_of(v[odd[k]]) == bits;
                 k++) {
            }
            if (!write) {
                n_runs++;
                continue;
            }
            while (class < NLT_DENSE_RAW && bits != nlt_dense_special[class]) {
                class ++;
            }
            nlt_dense_put_uv(o, odd[i] - end);
            *o->p++ = (uint8_t) (class | (k - i > 1 ? 8 : 0));
            if (k - i > 1) {
                nlt_dense_put_uv(o, k - i);
            }
            if (class == NLT_DENSE_RAW) {
                nlt_put_le64(o->p, bits);
                o->p += 8;
            }
            end = odd[i] + (k - i);
        }
    }
}

size_t
nlt_dense_encode_values(nlt_dense_work_t *w, const double *v, size_t n,
                        uint8_t *out)
{
    nlt_dense_out_t o = {out, 0, 0};
    size_t n_odd;
    unsigned e, domain = fit(w, v, n, &e, &n_odd);

    *o.p++ = (uint8_t) (domain | (n_odd ? 8 : 0) | e << 4);
    if (n_odd > 0) {
        put_runs(&o, w->odd, n_odd, v);
    }
    if (domain == NLT_DENSE_ULP) {
        uint8_t *body = o.p + NLT_UVARINT_BYTES_MAX;
        nlt_dense_out_t x = {body, 0, 0};

        nlt_dense_put_column(&x, w, w->x, n, true);
        nlt_dense_put_uv(&o, (uint64_t) (x.p - body));
        memmove(o.p, body, (size_t) (x.p - body));
        o.p += x.p - body;
        nlt_dense_put_column(&o, w, w->y, n, true);
        return (size_t) (o.p - out);
    }
    nlt_dense_put_column(&o, w, w->x, n, true);
    return (size_t) (o.p - out);
}

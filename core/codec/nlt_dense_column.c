/*
 * nlt_dense_column.c - encoder of dense columns: which residual, which mode.
 *
 * Of the four residuals the one with the fewest bits around its mean is
 * taken, then of the modes the one that costs least.  A Huffman column must
 * save half a bit a number, since it takes twice as long to decode.
 */
#include "nlt_dense_priv.h"

/* What a Huffman column must save. */
#define HUFF_SAVES_PER 2 /* a bit for so many numbers */

static uint64_t
gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t c = a % b;

        a = b;
        b = c;
    }
    return a;
}

/* Division without a remainder, by multiplication. */
typedef struct {
    uint64_t g;
    uint64_t inverse; /* of its odd part, modulo 2^64 */
    uint64_t limit;   /* the largest quotient by the odd part */
    unsigned zeros;
} divisor_t;

static divisor_t
divisor(uint64_t g)
{
    unsigned zeros = (unsigned) __builtin_ctzll(g);
    uint64_t odd = g >> zeros, inv = odd;

    for (int i = 0; i < 5; i++) {
        inv *= 2 - odd * inv;
    }
    return (divisor_t){g, inv, UINT64_MAX / odd, zeros};
}

static inline bool
divides(const divisor_t *d, uint64_t x)
{
    return (x & nlt_dense_low(d->zeros)) == 0
           && (x >> d->zeros) * d->inverse <= d->limit;
}

/* The greatest common divisor of all steps; 1 where one of them wraps. */
static divisor_t
common_step(const uint64_t *x, size_t n)
{
    divisor_t d = {0, 0, 0, 0};
    int64_t least = (int64_t) x[0], most = (int64_t) x[0], span;

    for (size_t i = 1; i < n; i++) {
        least = (int64_t) x[i] < least ? (int64_t) x[i] : least;
        most = (int64_t) x[i] > most ? (int64_t) x[i] : most;
    }
    if (__builtin_sub_overflow(most, least, &span)) {
        return divisor(1);
    }
    for (size_t i = 1; i < n && d.g != 1; i++) {
        uint64_t step = (int64_t) x[i] > (int64_t) x[i - 1] ? x[i] - x[i - 1]
                                                            : x[i - 1] - x[i];

        if (step != 0 && (d.g == 0 || !divides(&d, step))) {
            d = divisor(gcd(step, d.g));
        }
    }
    return d;
}

/* r[0..n-2] of xs[0..n-1] for residual t; d1 and slope are what it needs. */
static void
residuals(const uint64_t *xs, size_t n, unsigned t, uint64_t slope,
          uint64_t *r)
{
    switch (t) {
    case NLT_DENSE_T0:
        memcpy(r, xs + 1, (n - 1) * sizeof(*r));
        break;
    case NLT_DENSE_T1:
        for (size_t i = 1; i < n; i++) {
            r[i - 1] = xs[i] - xs[i - 1];
        }
        break;
    case NLT_DENSE_T2:
        r[0] = 0;
        for (size_t i = 2; i < n; i++) {
            r[i - 1] = xs[i] - 2 * xs[i - 1] + xs[i - 2];
        }
        break;
    default:
        for (size_t i = 1; i < n; i++) {
            r[i - 1] = xs[i] - i * slope;
        }
        break;
    }
}

static double
sum_of(const uint64_t *r, size_t n)
{
    double sum[4] = {0, 0, 0, 0};
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        for (size_t k = 0; k < 4; k++) {
            sum[k] += (double) (int64_t) r[i + k];
        }
    }
    for (; i < n; i++) {
        sum[0] += (double) (int64_t) r[i];
    }
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

/* Bits of all n numbers around their mean. */
static uint64_t
spread(const uint64_t *r, size_t n)
{
    double sum = sum_of(r, n) / (double) n;
    uint64_t bits = 0, mean;

    mean = sum > -9e18 && sum < 9e18 ? (uint64_t) (int64_t) sum : 0;
    for (size_t i = 0; i < n; i++) {
        bits += nlt_dense_bits(2 * nlt_zigzag((int64_t) (r[i] - mean)) + 1);
    }
    return bits;
}

/* The number that more than half of them are, if one is. */
static uint64_t
majority(const uint64_t *r, size_t n, size_t *n_others)
{
    uint64_t c = 0;
    size_t lead = 0;

    for (size_t i = 0; i < n; i++) {
        c = lead == 0 ? r[i] : c;
        lead = lead == 0 || r[i] == c ? lead + 1 : lead - 1;
    }
    *n_others = 0;
    for (size_t i = 0; i < n; i++) {
        *n_others += r[i] != c;
    }
    return c;
}

/* What is chosen for a column. */
typedef struct {
    unsigned mode;
    unsigned t;
    bool flat;
    uint64_t slope;
    uint64_t c;
    uint64_t bits;           /* what it costs */
    nlt_dense_width_t width; /* flat */
    nlt_dense_huff_t huff;
} plan_t;

/*
 * Can more than n - others of n residuals be equal?  Each other one is unequal
 * to at most two neighbours.
 */
static bool
mostly_equal(const uint64_t *xs, size_t n, unsigned t, size_t others)
{
    size_t unequal = 0, i = t + 1;

    while (i < n) {
        size_t end = n - i < 256 ? n : i + 256;

        if (t == NLT_DENSE_T0) {
            for (; i < end; i++) {
                unequal += i > 1 && xs[i] != xs[i - 1];
            }
        } else {
            for (; i < end; i++) {
                unequal += xs[i] - xs[i - 1] != xs[i - 1] - xs[i - 2];
            }
        }
        if (unequal > 2 * others) {
            return false;
        }
    }
    return true;
}

/* A list of what is not usual, if there are few of those; its bits. */
static uint64_t
plan_sparse(plan_t *plan, const uint64_t *xs, size_t n, uint64_t *r)
{
    uint64_t best = UINT64_MAX;

    for (unsigned t = NLT_DENSE_T0; t <= NLT_DENSE_T1; t++) {
        size_t others;
        uint64_t c, bits;

        if (!mostly_equal(xs, n, t, (n - 1) / 6)) {
            continue;
        }
        residuals(xs, n, t, 0, r);
        c = majority(r, n - 1, &others);
        if (others > NLT_DENSE_EVENTS || others > (n - 1) / 6) {
            continue;
        }
        bits = 8 * 8;
        for (size_t i = 0; i < n - 1; i++) {
            if (r[i] != c) {
                bits += nlt_dense_bits(nlt_zigzag((int64_t) (r[i] - c))) + 7;
            }
        }
        if (bits < best) {
            best = bits;
            plan->t = t;
            plan->c = c;
            plan->mode = NLT_DENSE_SPARSE;
        }
    }
    return best;
}

static void
plan_dense(plan_t *plan, const uint64_t *xs, size_t n, uint64_t *r)
{
    uint64_t best = UINT64_MAX, blocks = 0, flat, packed;

    plan->slope = (uint64_t) ((int64_t) xs[n - 1] / (int64_t) (n - 1));
    for (unsigned t = NLT_DENSE_T0; t <= NLT_DENSE_T3; t++) {
        uint64_t bits;

        residuals(xs, n, t, plan->slope, r);
        bits = spread(r, n - 1);
        if (bits < best) {
            best = bits;
            plan->t = t;
        }
    }
    residuals(xs, n, plan->t, plan->slope, r);
    n--;
    plan->mode = NLT_DENSE_PACK;
    plan->width = nlt_dense_width(r, n);
    flat = plan->width.bits;
    if (plan->width.patched) {
        flat += 8 * (n / NLT_DENSE_SEGMENT);
    }
    for (size_t i = 0; i < n; i += NLT_DENSE_BLOCK) {
        size_t k = n - i < NLT_DENSE_BLOCK ? n - i : NLT_DENSE_BLOCK;
        nlt_dense_width_t w = nlt_dense_width(r + i, k);

        blocks +=
            w.bits + 8 + 8 * nlt_uvarint_len(nlt_zigzag((int64_t) w.base));
    }
    plan->flat = flat <= blocks;
    packed = plan->flat ? flat : blocks;
    if (packed > n + n / HUFF_SAVES_PER && n >= 64) {
        nlt_dense_huff(&plan->huff, r, n);
        if (plan->huff.bits < packed
            && packed - plan->huff.bits >= n / HUFF_SAVES_PER) {
            plan->mode = NLT_DENSE_HUFF;
            packed = plan->huff.bits;
        }
    }
    plan->bits = packed;
}

static void
put_segment(nlt_dense_out_t *o, const plan_t *plan, const uint64_t *r,
            size_t n)
{
    if (plan->mode == NLT_DENSE_HUFF) {
        nlt_dense_put_codes(o, &plan->huff, r, n);
        return;
    }
    if (plan->flat) {
        nlt_dense_put_packed(o, r, n, &plan->width);
        return;
    }
    for (size_t i = 0; i < n; i += NLT_DENSE_BLOCK) {
        size_t k = n - i < NLT_DENSE_BLOCK ? n - i : NLT_DENSE_BLOCK;
        nlt_dense_width_t w = nlt_dense_width(r + i, k);

        nlt_dense_put_sv(o, w.base);
        *o->p++ = (uint8_t) (w.width | (w.patched ? 128 : 0));
        nlt_dense_put_packed(o, r + i, k, &w);
    }
}

/* Directory and segments; these are written first, then moved up to it. */
static void
put_segments(nlt_dense_out_t *o, const plan_t *plan, const uint64_t *xs,
             const uint64_t *r, size_t n)
{
    uint8_t *body = o->p + NLT_DENSE_SEGS_MAX * 3 * NLT_UVARINT_BYTES_MAX;
    uint64_t x = 0, delta = plan->t == NLT_DENSE_T2 ? xs[1] : 0;
    nlt_dense_out_t to = {body, 0, 0};

    for (size_t i = 0; i < n; i += NLT_DENSE_SEGMENT) {
        bool last = n - i <= NLT_DENSE_SEGMENT;
        size_t k = last ? n - i : NLT_DENSE_SEGMENT;
        uint8_t *from = to.p;

        put_segment(&to, plan, r + i, k);
        if (last) {
            break;
        }
        nlt_dense_put_uv(o, (uint64_t) (to.p - from));
        if (plan->t == NLT_DENSE_T1 || plan->t == NLT_DENSE_T2) {
            nlt_dense_put_sv(o, xs[i + k] - x);
            x = xs[i + k];
        }
        if (plan->t == NLT_DENSE_T2) {
            uint64_t d = xs[i + k] - xs[i + k - 1];

            nlt_dense_put_sv(o, d - delta);
            delta = d;
        }
    }
    memmove(o->p, body, (size_t) (to.p - body));
    o->p += to.p - body;
}

static void
put_events(nlt_dense_out_t *o, nlt_dense_work_t *w, uint64_t c, size_t n)
{
    uint64_t gap[NLT_DENSE_EVENTS], event[NLT_DENSE_EVENTS];
    uint8_t list[32 * NLT_DENSE_EVENTS + 1024];
    nlt_dense_out_t to = {list, 0, 0};
    size_t n_events = 0, last = 0;

    for (size_t i = 0; i < n; i++) {
        if (w->r[i] != c) {
            gap[n_events] = i - last;
            event[n_events++] = w->r[i] - c;
            last = i + 1;
        }
    }
    nlt_dense_put_uv(o, n_events);
    if (n_events == 0) {
        return;
    }
    nlt_dense_put_column(&to, w, gap, n_events, false);
    nlt_dense_put_uv(o, (uint64_t) (to.p - list));
    memcpy(o->p, list, (size_t) (to.p - list));
    o->p += to.p - list;
    nlt_dense_put_column(o, w, event, n_events, false);
}

static void
put_head(nlt_dense_out_t *o, const plan_t *plan, uint64_t x0, uint64_t g,
         uint64_t d1)
{
    bool huff = plan->mode == NLT_DENSE_HUFF;
    bool z =
        huff ? plan->huff.zigzag : plan->mode == NLT_DENSE_PACK && plan->flat;

    *o->p++ = (uint8_t) (plan->mode | plan->t << 2 | (z ? 16 : 0)
                         | (huff ? plan->huff.k / 2 << 5 : 0));
    nlt_dense_put_sv(o, x0);
    nlt_dense_put_uv(o, g);
    if (plan->t == NLT_DENSE_T2) {
        nlt_dense_put_sv(o, d1);
    }
    if (plan->t == NLT_DENSE_T3) {
        nlt_dense_put_sv(o, plan->slope);
    }
    if (huff) {
        nlt_dense_put_sv(o, plan->huff.c);
        nlt_dense_put_table(o, &plan->huff);
    } else if (plan->mode == NLT_DENSE_SPARSE) {
        nlt_dense_put_sv(o, plan->c);
    } else if (plan->flat) {
        nlt_dense_put_sv(o, plan->width.base);
        *o->p++ =
            (uint8_t) (plan->width.width | (plan->width.patched ? 128 : 0));
    }
}

void
nlt_dense_put_column(nlt_dense_out_t *o, nlt_dense_work_t *w,
                     const uint64_t *x, size_t n, bool sparse)
{
    divisor_t d = common_step(x, n);
    uint64_t x0 = x[0], bits = UINT64_MAX;
    plan_t plan = {.mode = NLT_DENSE_CONST};

    if (d.g == 0) {
        *o->p++ = NLT_DENSE_CONST;
        nlt_dense_put_sv(o, x0);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        w->xs[i] = (uint64_t) ((int64_t) (x[i] - x0) >> d.zeros) * d.inverse;
    }
    if (sparse) {
        bits = plan_sparse(&plan, w->xs, n, w->r);
    }
    /* A list is decoded fastest: it need not be the shortest by far. */
    if (bits > n / 2) {
        plan_t other = {.mode = NLT_DENSE_PACK};

        plan_dense(&other, w->xs, n, w->r);
        if (other.bits < bits) {
            plan = other;
        }
    }
    put_head(o, &plan, x0, d.g, n > 1 ? w->xs[1] : 0);
    residuals(w->xs, n, plan.t, plan.slope, w->r);
    if (plan.mode == NLT_DENSE_SPARSE) {
        put_events(o, w, plan.c, n - 1);
        return;
    }
    put_segments(o, &plan, w->xs, w->r, n - 1);
}

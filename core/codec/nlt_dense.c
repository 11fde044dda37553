/*
 * nlt_dense.c - decoder of dense chunks, and both ways of times.
 *
 *   values   u8: domain 0-1 | exceptions 3 | e 4-7
 *            [exceptions: uv n, runs]  [ULP: uv bytes of X]
 *            column X  [ULP: column Y]
 *   times    one column
 */
#include "nlt_dense_fit.h"
#include "nlt_dense_priv.h"

const double nlt_dense_pow10[16] = {1e0,  1e1,  1e2,  1e3, 1e4,  1e5,
                                    1e6,  1e7,  1e8,  1e9, 1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15};

const uint64_t nlt_dense_special[NLT_DENSE_RAW] = {
    UINT64_C(0x7ff0000000000002), /* stale marker */
    UINT64_C(0x7ff8000000000001), /* Prometheus's NaN */
    UINT64_C(0x7ff0000000000000), /* +Inf */
    UINT64_C(0xfff0000000000000), /* -Inf */
    UINT64_C(0x8000000000000000), /* -0 */
};

/* A run of exceptions of one value. */
typedef struct {
    size_t at;
    size_t len;
    uint64_t bits;
} run_t;

/* The next run after the one that ended at `end`; NLT_EDATA. */
static nlt_rc_t
read_run(nlt_reader_t *r, size_t n, size_t end, run_t *run)
{
    uint64_t gap = nlt_read_uvarint(r), len = 1;
    uint8_t class = nlt_read_u8(r);

    if (class & 8) {
        len = nlt_read_uvarint(r);
    }
    if (r->failed || (class & 7) > NLT_DENSE_RAW || gap >= n - end
        || len > n - end - gap || len == 0) {
        return NLT_EDATA;
    }
    run->at = end + gap;
    run->len = len;
    run->bits = (class & 7) == NLT_DENSE_RAW ? nlt_read_le64(r)
                                             : nlt_dense_special[class & 7];
    return r->failed ? NLT_EDATA : NLT_OK;
}

/* Puts the exceptions that lie in [from, to) into v. */
static nlt_rc_t
apply_runs(nlt_reader_t r, uint64_t n_runs, size_t n, size_t from, size_t to,
           double *v)
{
    run_t run = {0, 0, 0};

    for (uint64_t i = 0; i < n_runs; i++) {
        nlt_rc_t rc = read_run(&r, n, run.at + run.len, &run);
        size_t at = run.at > from ? run.at : from;
        size_t end = run.at + run.len < to ? run.at + run.len : to;

        if (rc != NLT_OK) {
            return rc;
        }
        for (; at < end; at++) {
            memcpy(v + (at - from), &run.bits, sizeof(run.bits));
        }
    }
    return NLT_OK;
}

typedef double pair_t __attribute__((vector_size(16)));

/* n scaled numbers to values. */
static void
scale_down(const uint64_t *x, size_t n, unsigned e, double *out)
{
    pair_t by = {nlt_dense_pow10[e], nlt_dense_pow10[e]};
    size_t i = 0;

    if (e == 0) {
        for (; i < n; i++) {
            out[i] = (double) (int64_t) x[i];
        }
        return;
    }
    for (; i + 2 <= n; i += 2) {
        pair_t q = {(double) (int64_t) x[i], (double) (int64_t) x[i + 1]};

        q /= by;
        memcpy(out + i, &q, sizeof(q));
    }
    if (i < n) {
        out[i] = (double) (int64_t) x[i] / by[0];
    }
}

/* An open chunk. */
typedef struct {
    unsigned domain;
    unsigned e;
    nlt_dense_column_t x;
    nlt_dense_column_t y; /* ULP */
    uint64_t n_runs;
    nlt_reader_t runs;
} chunk_t;

static nlt_rc_t
open_values(chunk_t *c, const uint8_t *p, size_t len, size_t n)
{
    nlt_reader_t r = nlt_reader(p, len);
    uint8_t head = nlt_read_u8(&r);
    run_t run = {0, 0, 0};
    nlt_str_t x;

    c->domain = head & 3;
    c->e = head >> 4;
    c->n_runs = 0;
    if (c->domain > NLT_DENSE_ULP) {
        return NLT_EDATA;
    }
    if (head & 8) {
        c->n_runs = nlt_read_uvarint(&r);
        c->runs = r;
        if (c->n_runs > n) {
            return NLT_EDATA;
        }
        for (uint64_t i = 0; i < c->n_runs; i++) {
            if (read_run(&r, n, run.at + run.len, &run) != NLT_OK) {
                return NLT_EDATA;
            }
        }
    }
    if (c->domain != NLT_DENSE_ULP) {
        return nlt_dense_open(&c->x, r.p, nlt_reader_left(&r), n, true);
    }
    x = nlt_read_uvarint_str(&r);
    if (x.data == NULL
        || nlt_dense_open(&c->x, (const uint8_t *) x.data, x.len, n, true)
               != NLT_OK) {
        return NLT_EDATA;
    }
    return nlt_dense_open(&c->y, r.p, nlt_reader_left(&r), n, true);
}

/* n numbers of the columns to values. */
static void
convert(const chunk_t *c, const uint64_t *x, const uint64_t *y, size_t n,
        double *out)
{
    if (c->domain == NLT_DENSE_BIN) {
        memcpy(out, x, n * sizeof(*out));
        return;
    }
    scale_down(x, n, c->e, out);
    if (c->domain == NLT_DENSE_ULP) {
        for (size_t i = 0; i < n; i++) {
            uint64_t bits;

            memcpy(&bits, out + i, sizeof(bits));
            bits += y[i];
            memcpy(out + i, &bits, sizeof(bits));
        }
    }
}

/* The part of segment s, numbers 1 + s * 512 and on, that [from, to) has. */
static void
window(size_t s, size_t n, size_t from, size_t to, size_t *lo, size_t *hi)
{
    size_t first = 1 + s * NLT_DENSE_SEGMENT;

    *lo = from > first ? from - first : 0;
    *hi = to - first < n ? to - first : n;
}

/* Values [lo, hi) of segment s. */
static nlt_rc_t
decode_segment(const chunk_t *c, size_t s, size_t lo, size_t hi, double *v)
{
    uint64_t x[NLT_DENSE_SEGMENT], y[NLT_DENSE_SEGMENT];
    nlt_rc_t rc = nlt_dense_segment(&c->x, s, hi, x);

    if (rc == NLT_OK && c->domain == NLT_DENSE_ULP) {
        rc = nlt_dense_segment(&c->y, s, hi, y);
    }
    if (rc == NLT_OK) {
        convert(c, x + lo, y + lo, hi - lo, v);
    }
    return rc;
}

/* Values [from, to). */
static nlt_rc_t
decode_segments(const chunk_t *c, size_t from, size_t to, double *v)
{
    nlt_rc_t rc = NLT_OK;

    if (from == 0) {
        convert(c, &c->x.x0, &c->y.x0, 1, v);
    }
    for (size_t s = from > 0 ? (from - 1) / NLT_DENSE_SEGMENT : 0;
         rc == NLT_OK && 1 + s * NLT_DENSE_SEGMENT < to; s++) {
        size_t lo, hi;

        window(s, nlt_dense_segment_len(&c->x, s), from, to, &lo, &hi);
        rc = decode_segment(c, s, lo, hi,
                            v + (1 + s * NLT_DENSE_SEGMENT - from + lo));
    }
    return rc;
}

/*
 * Do values stay as they are from event to event, or have one value but for
 * the events?
 */
static bool
is_steps(const chunk_t *c)
{
    const nlt_dense_column_t *x = &c->x;

    return c->domain != NLT_DENSE_ULP
           && (x->mode == NLT_DENSE_CONST
               || (x->mode == NLT_DENSE_SPARSE
                   && (x->t == NLT_DENSE_T0
                       || (x->t == NLT_DENSE_T1 && x->c == 0))));
}

static void
fill(const chunk_t *c, uint64_t x, double *v, size_t n)
{
    double one;
    size_t i = 0;

    convert(c, &x, NULL, 1, &one);

    pair_t two = {one, one};

    for (; i + 2 <= n; i += 2) {
        memcpy(v + i, &two, sizeof(two));
    }
    if (i < n) {
        v[i] = one;
    }
}

/* Values [from, to) of such a chunk, without columns of numbers. */
static void
decode_steps(const chunk_t *c, size_t from, size_t to, double *v)
{
    const nlt_dense_column_t *x = &c->x;
    bool t1 = x->t == NLT_DENSE_T1;
    size_t n_events = x->mode == NLT_DENSE_CONST ? 0 : x->n_events, e = 0;
    uint64_t xs = t1 ? 0 : x->c;

    if (n_events == 0) {
        fill(c, x->mode == NLT_DENSE_CONST ? x->x0 : x->x0 + x->g * xs, v,
             to - from);
    }
    /* an event of residual k is one of number k + 1 */
    for (; e < n_events && x->at[e] + 1u < from + t1; e++) {
        xs += t1 ? x->event[e] : 0;
    }
    for (size_t at = from; n_events > 0 && at < to; e++) {
        size_t next = e < n_events ? x->at[e] + 1u : to;

        next = next < to ? next : to;
        fill(c, x->x0 + x->g * xs, v + (at - from), next - at);
        at = next;
        if (e == n_events || at == to) {
            break;
        }
        if (t1) {
            xs += x->event[e];
        } else {
            fill(c, x->x0 + x->g * (xs + x->event[e]), v + (at - from), 1);
            at++;
        }
    }
    if (from == 0) {
        fill(c, x->x0, v, 1);
    }
}

nlt_rc_t
nlt_dense_decode_values(const uint8_t *p, size_t len, size_t n, size_t from,
                        size_t to, double *v)
{
    chunk_t c;
    nlt_rc_t rc;

    if (n == 0 || n > NLT_DENSE_SAMPLES_MAX || from >= to || to > n) {
        return NLT_EINVAL;
    }
    rc = open_values(&c, p, len, n);
    if (rc == NLT_OK && is_steps(&c)) {
        decode_steps(&c, from, to, v);
    } else if (rc == NLT_OK) {
        rc = decode_segments(&c, from, to, v);
    }
    if (rc == NLT_OK && c.n_runs > 0) {
        rc = apply_runs(c.runs, c.n_runs, n, from, to, v);
    }
    return rc == NLT_OK ? NLT_OK : NLT_EDATA;
}

nlt_rc_t
nlt_dense_decode_times(const uint8_t *p, size_t len, size_t n, size_t from,
                       size_t to, int64_t *t_ms)
{
    uint64_t x[NLT_DENSE_SEGMENT];
    nlt_dense_column_t c;
    nlt_rc_t rc;

    if (n == 0 || n > NLT_DENSE_SAMPLES_MAX || from >= to || to > n) {
        return NLT_EINVAL;
    }
    rc = nlt_dense_open(&c, p, len, n, true);
    if (rc == NLT_OK && from == 0) {
        t_ms[0] = (int64_t) c.x0;
    }
    for (size_t s = from > 0 ? (from - 1) / NLT_DENSE_SEGMENT : 0;
         rc == NLT_OK && 1 + s * NLT_DENSE_SEGMENT < to; s++) {
        size_t lo, hi;
        int64_t *to_t = t_ms + (1 + s * NLT_DENSE_SEGMENT - from);

        window(s, nlt_dense_segment_len(&c, s), from, to, &lo, &hi);
        rc = nlt_dense_segment(&c, s, hi, x);
        if (rc == NLT_OK) {
            memcpy(to_t + lo, x + lo, (hi - lo) * sizeof(*x));
        }
    }
    return rc == NLT_OK ? NLT_OK : NLT_EDATA;
}

size_t
nlt_dense_encode_times(nlt_dense_work_t *w, const int64_t *t_ms, size_t n,
                       uint8_t *out)
{
    nlt_dense_out_t o = {out, 0, 0};

    memcpy(w->x, t_ms, n * sizeof(*t_ms));
    nlt_dense_put_column(&o, w, w->x, n, true);
    return (size_t) (o.p - out);
}

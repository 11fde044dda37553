/*
 * nlt_postings.c - merging and galloping over sorted lists.
 */
#include "nlt_postings.h"

/* From this ratio of lengths on, galloping wins over merging. */
#define GALLOP_RATIO 16

/* From so many lists on, and up to so many words of bits for a number, a bit
 * for each number wins over merging again and again. */
#define BITS_LISTS 8
#define BITS_WORDS 4

size_t
nlt_postings_seek(const uint32_t *v, size_t n, size_t from, uint32_t x)
{
    size_t step = 1, lo = from, hi;

    if (from >= n || v[from] >= x) {
        return from < n ? from : n;
    }
    /* v[lo] < x holds from here on. */
    while (step < n - lo && v[lo + step] < x) {
        lo += step;
        step *= 2;
    }
    hi = step < n - lo ? lo + step : n;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (v[mid] < x) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return hi;
}

static size_t
intersect_gallop(nlt_postings_t small, nlt_postings_t big, uint32_t *out)
{
    size_t n = 0, at = 0;

    for (size_t i = 0; i < small.n; i++) {
        uint32_t x = small.v[i];

        at = nlt_postings_seek(big.v, big.n, at, x);
        if (at == big.n) {
            break;
        }
        if (big.v[at] == x) {
            /* Written at n <= i and n <= at: nothing unread is lost. */
            out[n++] = x;
            at++;
        }
    }
    return n;
}

size_t
nlt_postings_intersect(nlt_postings_t a, nlt_postings_t b, uint32_t *out)
{
    size_t i = 0, j = 0, n = 0;

    if (a.n > b.n) {
        nlt_postings_t t = a;

        a = b;
        b = t;
    }
    if (b.n / GALLOP_RATIO >= a.n) {
        return intersect_gallop(a, b, out);
    }
    while (i < a.n && j < b.n) {
        uint32_t x = a.v[i], y = b.v[j];

        if (x == y) {
            out[n++] = x;
        }
        i += x <= y;
        j += y <= x;
    }
    return n;
}

/* Few to take away from many: the stretches between them move as a whole. */
static size_t
subtract_few(nlt_postings_t a, nlt_postings_t b, uint32_t *out)
{
    size_t n = 0, at = 0;

    for (size_t j = 0; j < b.n && at < a.n; j++) {
        size_t hit = nlt_postings_seek(a.v, a.n, at, b.v[j]);

        if (hit > at) {
            memmove(out + n, a.v + at, (hit - at) * sizeof(uint32_t));
            n += hit - at;
        }
        at = hit + (hit < a.n && a.v[hit] == b.v[j]);
    }
    if (at < a.n) {
        memmove(out + n, a.v + at, (a.n - at) * sizeof(uint32_t));
        n += a.n - at;
    }
    return n;
}

size_t
nlt_postings_subtract(nlt_postings_t a, nlt_postings_t b, uint32_t *out)
{
    size_t n = 0, at = 0;
    bool gallop = b.n / GALLOP_RATIO >= a.n;

    if (a.n / GALLOP_RATIO >= b.n) {
        return subtract_few(a, b, out);
    }
    for (size_t i = 0; i < a.n; i++) {
        uint32_t x = a.v[i];

        if (gallop) {
            at = nlt_postings_seek(b.v, b.n, at, x);
        } else {
            while (at < b.n && b.v[at] < x) {
                at++;
            }
        }
        if (at == b.n || b.v[at] != x) {
            out[n++] = x;
        }
    }
    return n;
}

size_t
nlt_postings_union(nlt_postings_t a, nlt_postings_t b, uint32_t *out)
{
    size_t i = 0, j = 0, n = 0;

    while (i < a.n && j < b.n) {
        uint32_t x = a.v[i], y = b.v[j];

        out[n++] = x < y ? x : y;
        i += x <= y;
        j += y <= x;
    }
    if (i < a.n) {
        memcpy(out + n, a.v + i, (a.n - i) * sizeof(uint32_t));
        n += a.n - i;
    }
    if (j < b.n) {
        memcpy(out + n, b.v + j, (b.n - j) * sizeof(uint32_t));
        n += b.n - j;
    }
    return n;
}

/*
 * Many lists, none empty, by a bit for each number between the least and the
 * greatest of them.  False, and nothing done, when there are too many bits for
 * that, or no memory.
 */
static bool
union_bits(nlt_pool_t *pool, const nlt_postings_t *lists, size_t n,
           size_t total, uint32_t *out, size_t *n_out)
{
    uint32_t lo = UINT32_MAX, hi = 0;
    size_t n_words, k = 0;
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    uint64_t *bits;

    for (size_t i = 0; i < n; i++) {
        uint32_t last = lists[i].v[lists[i].n - 1];

        lo = lists[i].v[0] < lo ? lists[i].v[0] : lo;
        hi = last > hi ? last : hi;
    }
    n_words = (size_t) (hi - lo) / 64 + 1;
    if (n < BITS_LISTS || n_words / BITS_WORDS > total) {
        return false;
    }
    bits = nlt_pool_zalloc(pool, n_words * sizeof(*bits));
    if (bits == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < lists[i].n; j++) {
            uint32_t x = lists[i].v[j] - lo;

            bits[x / 64] |= UINT64_C(1) << x % 64;
        }
    }
    for (size_t i = 0; i < n_words; i++) {
        for (uint64_t left = bits[i]; left != 0; left &= left - 1) {
            out[k++] =
                lo + (uint32_t) (i * 64) + (uint32_t) __builtin_ctzll(left);
        }
    }
    nlt_pool_rewind(pool, mark);
    *n_out = k;
    return true;
}

bool
nlt_postings_union_many(nlt_pool_t *pool, nlt_postings_t *lists, size_t n,
                        nlt_postings_t *out)
{
    uint32_t *half[2];
    size_t total = 0, k = 0;
    unsigned side = 0;

    for (size_t i = 0; i < n; i++) {
        if (lists[i].n > 0) {
            total += lists[i].n;
            lists[k++] = lists[i];
        }
    }
    *out = k ? lists[0] : (nlt_postings_t){NULL, 0};
    if (k < 2) {
        return true;
    }
    half[0] = nlt_pool_array(pool, total, sizeof(uint32_t));
    if (half[0] == NULL) {
        return false;
    }
    if (union_bits(pool, lists, k, total, half[0], &out->n)) {
        out->v = half[0];
        return true;
    }
    half[1] = k > 2 ? nlt_pool_array(pool, total, sizeof(uint32_t)) : half[0];
    if (half[1] == NULL) {
        return false;
    }
    /* Each round merges neighbours from wherever they are into one half. */
    while (k > 1) {
        uint32_t *to = half[side];
        size_t m = 0;

        for (size_t i = 0; i < k; i += 2) {
            nlt_postings_t b =
                i + 1 < k ? lists[i + 1] : (nlt_postings_t){NULL, 0};
            size_t len = nlt_postings_union(lists[i], b, to);

            lists[m++] = (nlt_postings_t){to, len};
            to += len;
        }
        k = m;
        side ^= 1;
    }
    *out = lists[0];
    return true;
}

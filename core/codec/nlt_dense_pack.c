/*
 * nlt_dense_pack.c - how many bits numbers take, and writing them so.
 */
#include "nlt_dense_priv.h"

/*
 * How many of n numbers have each length.  In four tables: most are as long as
 * the one before, and would wait for its count.
 */
static void
count_lens(const uint64_t *r, size_t n, uint64_t base, bool zigzag,
           uint32_t *lens)
{
    uint16_t part[4][65] = {{0}};
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        for (size_t k = 0; k < 4; k++) {
            uint64_t u = r[i + k] - base;

            part[k][nlt_dense_bits(zigzag ? nlt_zigzag((int64_t) u) : u)]++;
        }
    }
    for (; i < n; i++) {
        uint64_t u = r[i] - base;

        part[0][nlt_dense_bits(zigzag ? nlt_zigzag((int64_t) u) : u)]++;
    }
    for (size_t b = 0; b < 65; b++) {
        lens[b] = (uint32_t) part[0][b] + part[1][b] + part[2][b] + part[3][b];
    }
}

/* The cheapest width of r - base by their bit lengths. */
static nlt_dense_width_t
width_of(const uint64_t *r, size_t n, uint64_t base)
{
    uint32_t lens[65];
    nlt_dense_width_t best = {base, 0, false, UINT64_MAX};
    unsigned top = 64;
    size_t longer = 0;

    count_lens(r, n, base, false, lens);
    while (top > 0 && lens[top] == 0) {
        top--;
    }
    for (unsigned w = top;; w--) {
        uint64_t bits = n * w + (longer ? 8 : 0);

        for (unsigned b = w + 1; b <= top && longer > 0; b++) {
            bits += (uint64_t) lens[b] * (8 + 8 * ((b - w + 6) / 7));
        }
        if (bits < best.bits) {
            best = (nlt_dense_width_t){base, w, longer > 0, bits};
        }
        longer += lens[w];
        if (w == 0 || longer > n / 8 + 1) {
            return best;
        }
    }
}

/* A number in the middle of them, cheaply: the median of nine. */
static uint64_t
middle(const uint64_t *r, size_t n)
{
    int64_t v[9];

    for (size_t i = 0; i < 9; i++) {
        int64_t x = (int64_t) r[i * (n - 1) / 8];
        size_t k = i;

        for (; k > 0 && v[k - 1] > x; k--) {
            v[k] = v[k - 1];
        }
        v[k] = x;
    }
    return (uint64_t) v[4];
}

/*
 * The least of all but the few that are far from the middle: where a counter
 * starts anew, one step would else set the base for all.  What lies below
 * wraps, and is a patch of ten bytes.
 */
static uint64_t
base_without_outliers(const uint64_t *r, size_t n)
{
    uint32_t lens[65];
    uint64_t mid = middle(r, n), limit, base = INT64_MAX;
    unsigned top = 64;
    size_t longer = 0;

    count_lens(r, n, mid, true, lens);
    while (top > 0 && longer + lens[top] <= n / 32 + 1) {
        longer += lens[top--];
    }
    limit = nlt_dense_low(top);
    for (size_t i = 0; i < n; i++) {
        if (nlt_zigzag((int64_t) (r[i] - mid)) <= limit
            && (int64_t) r[i] < (int64_t) base) {
            base = r[i];
        }
    }
    return base;
}

nlt_dense_width_t
nlt_dense_width(const uint64_t *r, size_t n)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    nlt_dense_width_t best, other;
    uint64_t base;

    for (size_t i = 0; i < n; i++) {
        int64_t v = (int64_t) r[i];

        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    if (n < 16 || (uint64_t) most - (uint64_t) least < 4) {
        return width_of(r, n, (uint64_t) least);
    }
    best = width_of(r, n, (uint64_t) least);
    base = base_without_outliers(r, n);
    if (base == (uint64_t) least) {
        return best;
    }
    other = width_of(r, n, base);
    return other.bits < best.bits ? other : best;
}

void
nlt_dense_put_packed(nlt_dense_out_t *o, const uint64_t *r, size_t n,
                     const nlt_dense_width_t *w)
{
    uint64_t mask = nlt_dense_low(w->width);

    if (w->patched) {
        size_t n_patches = 0, last = 0;

        for (size_t i = 0; i < n; i++) {
            n_patches += r[i] - w->base > mask;
        }
        nlt_dense_put_uv(o, n_patches);
        for (size_t i = 0; i < n && n_patches > 0; i++) {
            if (r[i] - w->base > mask) {
                nlt_dense_put_uv(o, i - last);
                nlt_dense_put_uv(o, (r[i] - w->base) >> w->width);
                last = i + 1;
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        nlt_dense_put_bits(o, (r[i] - w->base) & mask, w->width);
    }
    nlt_dense_put_flush(o);
}

/*
 * nlt_dense_huff.c - numbers as Huffman codes of their leading bits.
 *
 * A number is a symbol, which says its length and its k + 1 leading bits, and
 * the rest of its bits as they are:
 *
 *     u < 2^(k+1)   symbol u
 *     else          raw = bits(u) - (k+1); symbol (raw << k) + (u >> raw)
 *
 * With k = 4 there are 16 symbols an octave.  Codes are canonical, at most 9
 * bits, sent low bit first, so that the next nine bits name an entry of a
 * table of 512.
 */
#include "nlt_dense_priv.h"

static inline unsigned
symbol_of(uint64_t u, unsigned k, unsigned *raw)
{
    unsigned bits = nlt_dense_bits(u);

    *raw = bits > k + 1 ? bits - (k + 1) : 0;
    return (*raw << k) + (unsigned) (u >> *raw);
}

/* Bits behind a symbol. */
static inline unsigned
raw_of(unsigned symbol, unsigned k)
{
    return symbol < (2u << k) ? 0 : (symbol >> k) - 1;
}

/* log2 to 1/100, without a library: an estimate may be no more than that. */
static double
about_log2(double x)
{
    uint64_t bits;
    double f;
    int e;

    memcpy(&bits, &x, sizeof(bits));
    e = (int) (bits >> 52) - 1023;
    bits = (bits & nlt_dense_low(52)) | UINT64_C(0x3ff0000000000000);
    memcpy(&f, &bits, sizeof(f));
    f -= 1;
    return e + f * (1.3465 - 0.3465 * f);
}

/* What n numbers cost, from how often their symbols of k occur. */
static double
entropy(const uint32_t *count, unsigned k, size_t n)
{
    double bits = 0;
    size_t used = 0;

    for (unsigned s = 0; s < NLT_DENSE_SYMBOLS; s++) {
        if (count[s] > 0) {
            bits +=
                count[s] * (about_log2((double) n / count[s]) + raw_of(s, k));
            used++;
        }
    }
    return used < 2 || used > NLT_DENSE_CODES / 2 ? 1e300
                                                  : bits + 4.0 * (double) used;
}

/* The same counts with fewer leading bits. */
static void
coarser(const uint32_t *count, uint32_t *out, unsigned k)
{
    memset(out, 0, NLT_DENSE_SYMBOLS * sizeof(*out));
    for (unsigned s = 0; s < NLT_DENSE_SYMBOLS; s++) {
        unsigned raw = raw_of(s, 4), raw_k;

        if (count[s] > 0) {
            out[symbol_of((uint64_t) (s - (raw << 4)) << raw, k, &raw_k)] +=
                count[s];
        }
    }
}

/* Codes of at most 9 bits: a plain tree, then mended until 9 is enough. */
static void
mend(uint8_t *depth, size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        depth[i] =
            depth[i] > NLT_DENSE_CODE_BITS ? NLT_DENSE_CODE_BITS : depth[i];
        sum += NLT_DENSE_CODES >> depth[i];
    }
    /* the rarest come first: they are lengthened, the others shortened */
    while (sum > NLT_DENSE_CODES) {
        for (uint8_t d = NLT_DENSE_CODE_BITS - 1; d > 0; d--) {
            for (size_t i = 0; i < n && sum > NLT_DENSE_CODES; i++) {
                if (depth[i] == d) {
                    depth[i]++;
                    sum -= NLT_DENSE_CODES >> depth[i];
                }
            }
        }
    }
    while (sum < NLT_DENSE_CODES) {
        for (size_t i = n; i-- > 0;) {
            uint32_t more = NLT_DENSE_CODES >> depth[i];

            if (depth[i] > 1 && more <= NLT_DENSE_CODES - sum) {
                depth[i]--;
                sum += more;
            }
        }
    }
}

/* Lengths of codes for symbols that occur `count` times; 2..256 of them. */
static void
lengths(const uint32_t *count, uint8_t *len)
{
    uint64_t key[NLT_DENSE_CODES / 2];
    uint32_t sum[NLT_DENSE_CODES];
    uint16_t up[NLT_DENSE_CODES];
    uint8_t depth[NLT_DENSE_CODES];
    size_t n = 0, leaf = 0, node, made;

    for (unsigned s = 0; s < NLT_DENSE_SYMBOLS; s++) {
        if (count[s] > 0) {
            uint64_t x = (uint64_t) count[s] << 16 | s;
            size_t k = n++;

            for (; k > 0 && key[k - 1] > x; k--) {
                key[k] = key[k - 1];
            }
            key[k] = x;
        }
    }
    for (size_t i = 0; i < n; i++) {
        sum[i] = (uint32_t) (key[i] >> 16);
    }
    node = n;
    for (made = n; made < 2 * n - 1; made++) {
        sum[made] = 0;
        for (int i = 0; i < 2; i++) {
            size_t least = leaf < n && (node >= made || sum[leaf] <= sum[node])
                               ? leaf++
                               : node++;

            sum[made] += sum[least];
            up[least] = (uint16_t) made;
        }
    }
    depth[2 * n - 2] = 0;
    for (size_t i = 2 * n - 2; i-- > 0;) {
        depth[i] = (uint8_t) (depth[up[i]] + 1);
    }
    mend(depth, n);
    for (size_t i = 0; i < n; i++) {
        len[key[i] & 0xffff] = depth[i];
    }
}

/* The code after c among those of len bits, low bit first. */
static inline uint32_t
code_after(uint32_t c, unsigned len)
{
    uint32_t bit = 1u << (len - 1);

    for (; c & bit; bit >>= 1) {
        c ^= bit;
    }
    return c | bit;
}

void
nlt_dense_codes(const uint8_t *len, size_t n, uint16_t *code)
{
    uint32_t next[NLT_DENSE_CODE_BITS + 1] = {0}, at = 0;

    for (size_t s = 0; s < n; s++) {
        next[len[s]]++;
    }
    for (unsigned l = 1; l <= NLT_DENSE_CODE_BITS; l++) {
        uint32_t count = next[l];

        next[l] = 0;
        for (unsigned b = 0; b < NLT_DENSE_CODE_BITS; b++) {
            next[l] |= ((at >> b) & 1) << (NLT_DENSE_CODE_BITS - 1 - b);
        }
        at += count * (NLT_DENSE_CODES >> l); /* in units of the longest */
    }
    for (size_t s = 0; s < n; s++) {
        if (len[s] > 0) {
            code[s] = (uint16_t) next[len[s]];
            next[len[s]] = code_after(next[len[s]], len[s]);
        }
    }
}

/* How n numbers would do as u; h gets it if it is better. */
static void
try_kind(nlt_dense_huff_t *h, double *best, uint32_t *best_count,
         const uint64_t *r, size_t n, uint64_t c, bool zigzag)
{
    uint32_t count[NLT_DENSE_SYMBOLS] = {0}, fewer[NLT_DENSE_SYMBOLS];
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t u = zigzag ? nlt_zigzag((int64_t) (r[i] - c)) : r[i] - c;
        unsigned raw, s = symbol_of(u, 4, &raw);

        all |= u;
        count[s & (NLT_DENSE_SYMBOLS - 1)]++;
    }
    if (nlt_dense_bits(all) > NLT_DENSE_RAW_MAX) {
        return;
    }
    for (unsigned k = 0; k <= 4; k += 2) {
        const uint32_t *p = count;
        double bits;

        if (k < 4) {
            coarser(count, fewer, k);
            p = fewer;
        }
        bits = entropy(p, k, n);
        if (bits < *best) {
            *best = bits;
            memcpy(best_count, p, sizeof(count));
            h->c = c;
            h->k = k;
            h->zigzag = zigzag;
        }
    }
}

void
nlt_dense_huff(nlt_dense_huff_t *h, const uint64_t *r, size_t n)
{
    uint32_t count[NLT_DENSE_SYMBOLS];
    double best = 1e299;
    int64_t least = INT64_MAX, most = INT64_MIN;

    h->bits = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        least = (int64_t) r[i] < least ? (int64_t) r[i] : least;
        most = (int64_t) r[i] > most ? (int64_t) r[i] : most;
    }
    if ((uint64_t) most - (uint64_t) least > nlt_dense_low(42)) {
        return;
    }
    try_kind(h, &best, count, r, n, (uint64_t) least, false);
    try_kind(h, &best, count, r, n,
             (uint64_t) least + ((uint64_t) most - (uint64_t) least) / 2,
             true);
    if (least < 0 && most > 0) {
        try_kind(h, &best, count, r, n, 0, true);
    }
    if (best >= 1e299) {
        return;
    }
    memset(h->len, 0, sizeof(h->len));
    lengths(count, h->len);
    nlt_dense_codes(h->len, NLT_DENSE_SYMBOLS, h->code);
    h->bits = 0;
    for (unsigned s = 0; s < NLT_DENSE_SYMBOLS; s++) {
        if (h->len[s] > 0) {
            h->first = h->bits == 0 ? (uint16_t) s : h->first;
            h->last = (uint16_t) s;
            h->bits += (uint64_t) count[s] * (h->len[s] + raw_of(s, h->k)) + 4;
        }
    }
    h->bits += 32 + n / 16;
}

/* Nibbles: a length, or 12..15 for runs of absent symbols. */
void
nlt_dense_put_table(nlt_dense_out_t *o, const nlt_dense_huff_t *h)
{
    nlt_dense_put_uv(o, h->first);
    nlt_dense_put_uv(o, (uint64_t) h->last - h->first);
    for (unsigned s = h->first; s <= h->last;) {
        unsigned absent = 0, take = 1, nibble = h->len[s];

        while (s + absent <= h->last && h->len[s + absent] == 0) {
            absent++;
        }
        for (unsigned run = 0; run < 4; run++) {
            if (absent >= (3u << run)) {
                take = 3u << run;
                nibble = 12 + run;
            }
        }
        nlt_dense_put_bits(o, nibble, 4);
        s += take;
    }
    nlt_dense_put_flush(o);
}

static inline uint64_t
number(const nlt_dense_huff_t *h, uint64_t r)
{
    return h->zigzag ? nlt_zigzag((int64_t) (r - h->c)) : r - h->c;
}

void
nlt_dense_put_codes(nlt_dense_out_t *o, const nlt_dense_huff_t *h,
                    const uint64_t *r, size_t n)
{
    size_t n_streams = n < 64 ? 1 : 4, q = (n + n_streams - 1) / n_streams;
    unsigned raw, s;

    for (size_t k = 0; k + 1 < n_streams; k++) {
        size_t bits = 0;

        for (size_t i = k * q; i < (k + 1) * q; i++) {
            s = symbol_of(number(h, r[i]), h->k, &raw);
            bits += h->len[s] + raw;
        }
        nlt_dense_put_uv(o, (bits + 7) / 8);
    }
    for (size_t k = 0; k < n_streams; k++) {
        for (size_t i = k * q; i < n && i < (k + 1) * q; i++) {
            uint64_t u = number(h, r[i]);

            s = symbol_of(u, h->k, &raw);
            nlt_dense_put_bits(
                o, h->code[s] | (u & nlt_dense_low(raw)) << h->len[s],
                h->len[s] + raw);
        }
        nlt_dense_put_flush(o);
    }
}

/* ---- reading ---- */

static nlt_rc_t
read_lengths(nlt_reader_t *r, uint8_t *len, size_t n)
{
    size_t s = 0;
    uint8_t byte = 0;

    for (unsigned half = 0; s < n; half ^= 1) {
        unsigned nibble;

        byte = half ? (uint8_t) (byte >> 4) : nlt_read_u8(r);
        nibble = byte & 15;
        if (nibble < 12) {
            len[s++] = (uint8_t) nibble;
            if (nibble > NLT_DENSE_CODE_BITS) {
                return NLT_EDATA;
            }
            continue;
        }
        for (unsigned i = 3u << (nibble - 12); i > 0 && s < n; i--) {
            len[s++] = 0;
        }
    }
    return r->failed ? NLT_EDATA : NLT_OK;
}

nlt_rc_t
nlt_dense_read_table(nlt_reader_t *r, unsigned k, uint64_t base,
                     nlt_dense_column_t *c)
{
    uint8_t len[NLT_DENSE_SYMBOLS];
    uint16_t code[NLT_DENSE_SYMBOLS];
    uint64_t first = nlt_read_uvarint(r), n = nlt_read_uvarint(r) + 1;
    uint32_t sum = 0;

    if (r->failed || k > 4 || first >= NLT_DENSE_SYMBOLS || n == 0
        || n > NLT_DENSE_SYMBOLS - first
        || raw_of((unsigned) (first + n - 1), k) > NLT_DENSE_RAW_MAX
        || read_lengths(r, len, n) != NLT_OK) {
        return NLT_EDATA;
    }
    for (size_t i = 0; i < n; i++) {
        sum += len[i] ? NLT_DENSE_CODES >> len[i] : 0;
    }
    if (sum != NLT_DENSE_CODES) {
        return NLT_EDATA;
    }
    nlt_dense_codes(len, n, code);
    c->code_bits = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned s = (unsigned) (first + i), raw = raw_of(s, k);
        unsigned bits = len[i] + raw;
        nlt_dense_code_t e = {base + ((uint64_t) (s - (raw << k)) << raw),
                              len[i] | bits << 8 | nlt_dense_low(raw) << 16};

        if (len[i] == 0) {
            continue;
        }
        c->code_bits = c->code_bits > bits ? c->code_bits : bits;
        for (uint32_t at = code[i]; at < NLT_DENSE_CODES; at += 1u << len[i]) {
            c->table[at] = e;
        }
    }
    return NLT_OK;
}

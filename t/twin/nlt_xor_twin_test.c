/*
 * nlt_xor_twin_test.c - XOR chunks against an encoder that writes '0' and '1'
 * as the format's description says, and look-ahead against the best possible.
 */
#include <math.h>

#include "nlt_bytes.h"
#include "nlt_test.h"
#include "nlt_xor.h"
#include "nlt_xor_plan.h"

#define N_MAX 700

static int64_t t_ms[N_MAX];
static double v[N_MAX];
static char bits[N_MAX * 160];
static size_t n_bits;

static void
write_bits(uint64_t x, unsigned n)
{
    while (n-- > 0) {
        bits[n_bits++] = x >> n & 1 ? '1' : '0';
    }
}

static void
write_varint(uint64_t u)
{
    do {
        write_bits((u & 0x7f) | (u >= 0x80 ? 0x80 : 0), 8);
        u >>= 7;
    } while (u);
}

static void
model_dod(int64_t d)
{
    static const struct {
        const char *prefix;
        unsigned n;
    } forms[] = {{"10", 14}, {"110", 17}, {"1110", 20}};

    if (d == 0) {
        write_bits(0, 1);
        return;
    }
    for (size_t i = 0; i < NLT_COUNT(forms); i++) {
        double half = ldexp(1, (int) forms[i].n - 1);

        if ((double) d >= -(half - 1) && (double) d <= half) {
            for (const char *p = forms[i].prefix; *p; p++) {
                write_bits(*p == '1', 1);
            }
            write_bits((uint64_t) d, forms[i].n);
            return;
        }
    }
    write_bits(15, 4);
    write_bits((uint64_t) d, 64);
}

/* The greedy encoder; *lead < 0 before the first window. */
static void
model_value(uint64_t x, int *lead, int *trail)
{
    int l = 0, t = 0;

    if (x == 0) {
        write_bits(0, 1);
        return;
    }
    while (l < 31 && !(x >> (63 - l) & 1)) {
        l++;
    }
    while (!(x >> t & 1)) {
        t++;
    }
    if (*lead >= 0 && l >= *lead && t >= *trail) {
        write_bits(2, 2);
    } else {
        *lead = l;
        *trail = t;
        write_bits(3, 2);
        write_bits((uint64_t) l, 5);
        write_bits((uint64_t) (64 - l - t) & 63, 6);
    }
    write_bits(x >> *trail, (unsigned) (64 - *lead - *trail));
}

static void
model_encode(size_t n)
{
    int lead = -1, trail = 0;
    uint64_t delta = 0;

    n_bits = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t b = nlt_bits_of(v[i]);

        if (i == 0) {
            write_varint(((uint64_t) t_ms[0] << 1)
                         ^ (t_ms[0] < 0 ? UINT64_MAX : 0));
            write_bits(b, 64);
            continue;
        }
        uint64_t d = (uint64_t) t_ms[i] - (uint64_t) t_ms[i - 1];

        if (i == 1) {
            write_varint(d);
        } else {
            model_dod((int64_t) (d - delta));
        }
        delta = d;
        model_value(b ^ nlt_bits_of(v[i - 1]), &lead, &trail);
    }
}

static void
make_samples(size_t n)
{
    uint64_t kind = nlt_test_below(7), steps = nlt_test_below(4);
    int64_t t = (int64_t) (nlt_test_rand() >> (1 + nlt_test_below(50)));
    double x = 100;

    t = steps == 3 ? -t / 2 : t / 2;
    for (size_t i = 0; i < n; i++) {
        t_ms[i] = t;
        t +=
            steps == 0 ? 15000
            : steps == 1
                ? 15000 + (int64_t) nlt_test_below(10)
                : 1 + (int64_t) (nlt_test_rand() >> (20 + nlt_test_below(44)));
        switch (kind) {
        case 0:
            x += (double) nlt_test_below(30);
            break;
        case 1:
            x = (double) nlt_test_below(1000) / 10;
            break;
        case 2:
            x = nlt_double_of(nlt_test_rand());
            break;
        case 3:
            x = nlt_test_below(10) ? x : (double) nlt_test_below(5);
            break;
        case 4:
            x = nlt_double_of(nlt_bits_of(x)
                              ^ nlt_test_rand() >> nlt_test_below(64));
            break;
        case 5:
            x = nlt_double_of(nlt_bits_of(x)
                              ^ nlt_test_rand() << nlt_test_below(64));
            break;
        default:
            x = nlt_test_below(40) ? (double) nlt_test_below(100) : 0.1;
            break;
        }
        v[i] = x;
    }
}

static void
check_decodes(const uint8_t *p, size_t len, size_t n)
{
    static int64_t t2[N_MAX];
    static double v2[N_MAX];
    uint8_t *exact = malloc(len); /* so that ASan sees any overrun */

    memcpy(exact, p, len);
    NLT_CHECK_INT(nlt_be16(exact), n);
    NLT_CHECK_INT(
        nlt_xor_decode(exact + 2, len - 2, (uint32_t) n, t2, v2, NULL, NULL),
        NLT_OK);
    NLT_CHECK(memcmp(t_ms, t2, n * sizeof(*t2)) == 0);
    NLT_CHECK(memcmp(v, v2, n * sizeof(*v2)) == 0);
    free(exact);
}

static void
greedy_chunks_agree_with_the_description(void)
{
    static uint8_t p[N_MAX * NLT_XOR_SAMPLE_BYTES_MAX + 16];

    for (int round = 0; round < 400; round++) {
        size_t n = 1 + nlt_test_below(nlt_test_below(8) ? 40 : N_MAX), len;

        make_samples(n);
        model_encode(n);
        len = nlt_xor_encode_chunk(t_ms, v, n, 0, p);
        NLT_CHECK_INT(len, 2 + (n_bits + 7) / 8);
        for (size_t i = 0; i < n_bits; i++) {
            if ((p[2 + i / 8] >> (7 - i % 8) & 1) != (bits[i] == '1')) {
                printf("# bit %zu of %zu samples differs\n", i, n);
                NLT_CHECK(0);
                break;
            }
        }
        check_decodes(p, len, n);
    }
}

/* Bits of the values with the best windows of all: every run is tried. */
static size_t
best_value_bits(size_t n)
{
    static unsigned best[N_MAX + 1];
    static uint64_t x[N_MAX];
    size_t k = 0, same = 0;

    for (size_t i = 1; i < n; i++) {
        uint64_t d = nlt_bits_of(v[i]) ^ nlt_bits_of(v[i - 1]);

        if (d) {
            x[k++] = d;
        } else {
            same++;
        }
    }
    best[0] = 0;
    for (size_t e = 1; e <= k; e++) {
        uint64_t any = 0;

        best[e] = UINT32_MAX;
        for (size_t j = e; j-- > 0;) {
            any |= x[j];
            unsigned lead = (unsigned) __builtin_clzll(any);
            unsigned width =
                64 - (lead > 31 ? 31 : lead) - (unsigned) __builtin_ctzll(any);
            unsigned cost = best[j] + 11 + (unsigned) (e - j) * (2 + width);

            best[e] = cost < best[e] ? cost : best[e];
        }
    }
    return best[k] + same;
}

/* Bits of the values in a chunk: all but what the model says of the times. */
static size_t
time_bits(size_t n)
{
    uint64_t delta = 0;

    n_bits = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t d = i ? (uint64_t) t_ms[i] - (uint64_t) t_ms[i - 1] : 0;

        if (i == 0) {
            write_varint(nlt_zigzag(t_ms[0]));
            n_bits += 64;
        } else if (i == 1) {
            write_varint(d);
        } else {
            model_dod((int64_t) (d - delta));
        }
        delta = d;
    }
    return n_bits;
}

static void
look_ahead_decodes_and_is_near_the_best(void)
{
    static uint8_t p[N_MAX * NLT_XOR_SAMPLE_BYTES_MAX + 16];
    size_t best_total = 0, ahead_total = 0;

    for (int round = 0; round < 300; round++) {
        size_t n = 1 + nlt_test_below(N_MAX), len, best;
        unsigned ahead = (unsigned) (1 + nlt_test_below(70));

        make_samples(n);
        len = nlt_xor_encode_chunk(t_ms, v, n, ahead, p);
        check_decodes(p, len, n);
        best = 2 + (time_bits(n) + best_value_bits(n) + 7) / 8;
        NLT_CHECK(len >= best);
        len = nlt_xor_encode_chunk(t_ms, v, n, 16, p);
        check_decodes(p, len, n);
        NLT_CHECK(len >= best);
        best_total += best;
        ahead_total += len;
    }
    printf("# best %zu bytes, 16 ahead %zu\n", best_total, ahead_total);
    NLT_CHECK(ahead_total < best_total + best_total / 5000);
}

static nlt_xor_window_t
random_window(unsigned kind)
{
    unsigned leading = (unsigned) nlt_test_below(32);

    switch (kind) {
    case 0:
        return nlt_xor_window(leading,
                              (unsigned) nlt_test_below(64 - leading));
    case 1:
        return nlt_xor_window(8 + leading % 5,
                              30 + (unsigned) nlt_test_below(10));
    case 2:
        return nlt_test_below(20) ? nlt_xor_window(12, 48)
                                  : nlt_xor_window(0, leading % 2);
    case 3:
        return nlt_xor_window(0, 0); /* as dear as can be */
    default:
        return nlt_xor_window(31, leading % 2 ? 32 : 0);
    }
}

/* Runs in lanes against one after the other. */
static void
plans_in_lanes_are_those_made_plainly(void)
{
    static nlt_xor_plan_t a, b;

    for (int round = 0; round < 3000; round++) {
        size_t n = nlt_test_below(round % 10 ? 60 : NLT_XOR_PLAN_MAX + 1);
        unsigned kind = (unsigned) nlt_test_below(6);
        nlt_xor_window_t before = NLT_XOR_WINDOW_NONE;

        if (nlt_test_below(3)) {
            before = random_window((unsigned) nlt_test_below(5));
        }
        for (size_t i = 0; i < n; i++) {
            a.window[i] = b.window[i] =
                random_window(kind < 5 ? kind : (unsigned) nlt_test_below(5));
        }
        nlt_xor_plan(&a, n, before, NLT_XOR_PLAN_RUN);
        nlt_xor_plan_plainly(&b, n, before, NLT_XOR_PLAN_RUN);
        NLT_CHECK(memcmp(a.window, b.window, n * sizeof(*a.window)) == 0);
        NLT_CHECK(memcmp(a.end, b.end, (n + 1) * sizeof(*a.end)) == 0);
        NLT_CHECK(memcmp(a.from + 1, b.from + 1, n * sizeof(*a.from)) == 0);
    }
}

/* Parts of any length, of either encoder, appended to each other. */
static void
joined_chunks_hold_what_their_parts_held(void)
{
    for (int round = 0; round < 2000; round++) {
        size_t n = 1 + nlt_test_below(nlt_test_below(4) ? 40 : N_MAX);
        size_t room = nlt_xor_chunk_bytes_max(n), len = 0, parts = 0;
        size_t apart = 0, part_max = 1 + nlt_test_below(n);
        uint8_t *out = malloc(room);
        nlt_xor_state_t state;
        nlt_xor_join_t j;
        uint64_t bits_out;

        make_samples(n);
        memset(out, 0xff, room);
        nlt_xor_join_init(&j);
        for (size_t i = 0, k; i < n; i += k) {
            static uint8_t p[N_MAX * NLT_XOR_SAMPLE_BYTES_MAX + 16];
            static int64_t t2[N_MAX];
            static double v2[N_MAX];
            nlt_xor_state_t end;
            uint64_t n_stream;
            size_t part;

            k = 1 + nlt_test_below(part_max);
            k = k < n - i ? k : n - i;
            part = nlt_xor_encode_chunk(t_ms + i, v + i, k,
                                        nlt_test_below(2) ? 16 : 0, p);
            if (nlt_test_below(2)) {
                p[part - 1] |= 1; /* perhaps padding: means nothing */
                p[part] = 0xff;
            }
            if (nlt_xor_decode(p + 2, part - 2, (uint32_t) k, t2, v2, &end,
                               &n_stream)
                    != NLT_OK
                || nlt_bits_of(v2[k - 1]) != nlt_bits_of(v[i + k - 1])) {
                p[part - 1] &= 0xfe; /* it was not */
                NLT_CHECK_INT(nlt_xor_decode(p + 2, part - 2, (uint32_t) k, t2,
                                             v2, &end, &n_stream),
                              NLT_OK);
            }
            len = nlt_xor_join(&j, p + 2, &end, n_stream, t2, v2, out);
            apart += part;
            parts++;
        }
        check_decodes(out, len, n);
        NLT_CHECK_INT(nlt_xor_decode(out + 2, len - 2, (uint32_t) n, t_ms, v,
                                     &state, &bits_out),
                      NLT_OK);
        NLT_CHECK(memcmp(&state, &j.s, sizeof(state)) == 0);
        NLT_CHECK_INT(bits_out + 16, j.n_bits);
        if (j.n_bits & 7) { /* zeros behind the last bit */
            NLT_CHECK_INT(out[len - 1] & 0xffu >> (j.n_bits & 7), 0);
        }
        NLT_CHECK(len <= room && len <= apart + 30 * parts);
        free(out);
    }
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(greedy_chunks_agree_with_the_description);
    NLT_TEST(look_ahead_decodes_and_is_near_the_best);
    NLT_TEST(plans_in_lanes_are_those_made_plainly);
    NLT_TEST(joined_chunks_hold_what_their_parts_held);
    return nlt_test_done();
}

/*
 * nlt_xor_test.c - XOR chunks against bit strings written by hand.
 */
#include "nlt_bytes.h"
#include "nlt_test.h"
#include "nlt_xor.h"

/* Packs '0' and '1' (blanks ignored) into bytes; the number of bits. */
static size_t
pack(const char *bits, uint8_t *out)
{
    size_t n = 0;

    for (; *bits; bits++) {
        if (*bits == ' ') {
            continue;
        }
        if (n % 8 == 0) {
            out[n / 8] = 0;
        }
        out[n / 8] = (uint8_t) (out[n / 8] | (*bits == '1') << (7 - n % 8));
        n++;
    }
    return n;
}

/* The n lowest bits of v, highest first, at the end of a string. */
static void
add_bits(char *s, uint64_t v, unsigned n)
{
    s += strlen(s);
    while (n-- > 0) {
        *s++ = v >> n & 1 ? '1' : '0';
    }
    *s = '\0';
}

/* Encodes with nlt_xor_encode and nlt_xor_put; the number of bits. */
static uint64_t
encode(const int64_t *t, const double *v, size_t n, uint8_t *out)
{
    nlt_xor_state_t s;
    nlt_xor_bits_t b;
    uint64_t pos = 0;

    nlt_xor_state_init(&s);
    for (size_t i = 0; i < n; i++) {
        nlt_xor_encode(&s, t[i], nlt_bits_of(v[i]), &b);
        nlt_xor_put(out, pos, &b);
        pos += b.n_bits;
    }
    return pos;
}

/* Both directions: samples <-> bit string. */
static void
check_vector(const int64_t *t, const double *v, uint32_t n, const char *bits)
{
    uint8_t want[512], got[512], exact[512];
    int64_t t2[16];
    double v2[16];
    size_t n_bits = pack(bits, want), len = (n_bits + 7) / 8;
    uint64_t end = 0;

    memset(got, 0xff, sizeof(got));
    NLT_CHECK_INT(encode(t, v, n, got), n_bits);
    NLT_CHECK(memcmp(got, want, len) == 0);
    NLT_CHECK_INT(nlt_xor_decode(want, len, n, t2, v2, NULL, &end), NLT_OK);
    NLT_CHECK_INT(end, n_bits);
    for (uint32_t i = 0; i < n; i++) {
        NLT_CHECK_INT(t2[i], t[i]);
        NLT_CHECK_BITS(v2[i], v[i]);
    }
    /* As a whole chunk, greedy: the same bits behind the count. */
    NLT_CHECK_INT(nlt_xor_encode_chunk(t, v, n, 0, exact), len + 2);
    NLT_CHECK_INT(nlt_be16(exact), n);
    NLT_CHECK(memcmp(exact + 2, want, len) == 0);
}

#define ONE_BITS                                                              \
    "00111111 11110000 00000000 00000000 00000000 00000000 00000000 00000000"

static void
one_sample_is_varint_and_raw_bits(void)
{
    int64_t t[1] = {-65};
    double v[1] = {1.0};

    /* zig-zag 129 = 0x81 0x01 */
    check_vector(t, v, 1, "10000001 00000001 " ONE_BITS);
}

static void
steady_series_costs_two_bits_a_sample(void)
{
    int64_t t[4] = {1, 201, 401, 601};
    double v[4] = {1, 1, 1, 1};

    check_vector(t, v, 4,
                 "00000010 " ONE_BITS " 11001000 00000001 0  0 0  0 0");
}

static void
windows_open_are_reused_and_change(void)
{
    int64_t t[5] = {0, 1, 2, 3, 4};
    /* 3ff0.., 4000.., 4008.., 4010.., 4010000000000001 */
    double v[5] = {1.0, 2.0, 3.0, 4.0, nlt_double_of(0x4010000000000001)};

    /*
     * xor 7ff0..: leading 1, 11 bits wide, trailing 52;
     * xor 0008..: leading 12, trailing 51 < 52: new window, 1 bit wide;
     * xor 0018..: leading 11 < 12: new window, 2 bits wide;
     * xor 1: leading 63 -> 31, 33 bits wide.
     */
    check_vector(t, v, 5,
                 "00000000 " ONE_BITS " 00000001"
                 " 11 00001 001011 11111111111"
                 " 0 11 01100 000001 1"
                 " 0 11 01011 000010 11"
                 " 0 11 11111 100001 00000000000000000000000000000000 1");
}

static void
old_window_covers_a_narrower_change(void)
{
    int64_t t[3] = {0, 1, 2};
    double v[3] = {1.0, 2.0, nlt_double_of(0x4000000000000000 ^ (1ull << 53))};

    check_vector(t, v, 3,
                 "00000000 " ONE_BITS " 00000001"
                 " 11 00001 001011 11111111111"
                 " 0 10 00000000010");
}

static void
sixty_four_significant_bits_are_written_as_zero(void)
{
    int64_t t[2] = {0, 1};
    double v[2] = {nlt_double_of(0), nlt_double_of(UINT64_C(1) << 63 | 1)};
    char bits[256] = "00000000 ";

    add_bits(bits, 0, 64);
    strcat(bits, "00000001 11 00000 000000 ");
    add_bits(bits, UINT64_C(1) << 63 | 1, 64);
    check_vector(t, v, 2, bits);
}

/* A third sample whose delta of delta is dod, in the field expected. */
static void
check_dod(int64_t dod, const char *prefix, unsigned n_bits)
{
    int64_t t[3] = {0, INT64_C(1) << 40, 0};
    double v[3] = {1, 1, 1};
    char bits[512] = "00000000 " ONE_BITS;

    t[2] = 2 * t[1] + dod;
    /* 2^40 as LEB128: five groups of zero, then 2^5 */
    strcat(bits, "10000000 10000000 10000000 10000000 10000000 00100000 0");
    strcat(bits, prefix);
    add_bits(bits, (uint64_t) dod, n_bits);
    strcat(bits, " 0");
    check_vector(t, v, 3, bits);
}

static void
steps_use_asymmetric_ranges(void)
{
    check_dod(1, "10", 14);
    check_dod(-1, "10", 14);
    check_dod(8192, "10", 14);
    check_dod(-8191, "10", 14);
    check_dod(8193, "110", 17);
    check_dod(-8192, "110", 17);
    check_dod(65536, "110", 17);
    check_dod(-65535, "110", 17);
    check_dod(65537, "1110", 20);
    check_dod(-65536, "1110", 20);
    check_dod(524288, "1110", 20);
    check_dod(-524287, "1110", 20);
    check_dod(524289, "1111", 64);
    check_dod(-524288, "1111", 64);
    check_dod(-(INT64_C(1) << 39), "1111", 64);
}

static void
check_round_trip(const int64_t *t, const double *v, size_t n, unsigned ahead)
{
    uint8_t *p = malloc(nlt_xor_chunk_bytes_max(n));
    int64_t *t2 = malloc(n * sizeof(int64_t));
    double *v2 = malloc(n * sizeof(double));
    size_t len = nlt_xor_encode_chunk(t, v, n, ahead, p);

    NLT_CHECK(len <= nlt_xor_chunk_bytes_max(n));
    NLT_CHECK_INT(nlt_be16(p), n);
    NLT_CHECK_INT(
        nlt_xor_decode(p + 2, len - 2, (uint32_t) n, t2, v2, NULL, NULL),
        NLT_OK);
    NLT_CHECK(memcmp(t, t2, n * sizeof(int64_t)) == 0);
    NLT_CHECK(memcmp(v, v2, n * sizeof(double)) == 0);
    free(p);
    free(t2);
    free(v2);
}

static void
any_step_and_any_bits_come_back(void)
{
    int64_t t[9] = {
        INT64_MIN,     INT64_MIN + 1, -1,       0, 1, 1700000000000,
        1700000000001, INT64_MAX - 1, INT64_MAX};
    double v[9] = {nlt_double_of(NLT_STALE_NAN_BITS),
                   nlt_double_of(NLT_NORMAL_NAN_BITS),
                   nlt_double_of(UINT64_C(0xfff8000000000abc)),
                   nlt_double_of(UINT64_C(0x7ff0000000000000)),
                   nlt_double_of(UINT64_C(0xfff0000000000000)),
                   0.0,
                   -0.0,
                   5e-324,
                   1.7976931348623157e308};
    int64_t two[2] = {INT64_MIN, INT64_MAX};
    double far[2] = {nlt_double_of(0), nlt_double_of(UINT64_MAX)};

    check_round_trip(t, v, 9, 0);
    check_round_trip(t, v, 9, 16);
    check_round_trip(two, far, 2, 0);
    check_round_trip(two, far, 2, 16);
}

static void
longest_sample_fits_its_maximum(void)
{
    nlt_xor_state_t s;
    nlt_xor_bits_t b;

    nlt_xor_state_init(&s);
    nlt_xor_encode(&s, INT64_MIN, 0, &b);
    NLT_CHECK_INT(b.n_bits, 80 + 64);
    nlt_xor_encode(&s, INT64_MAX, UINT64_MAX, &b);
    NLT_CHECK_INT(b.n_bits, 80 + 77);
    NLT_CHECK(b.n_bits <= 8 * NLT_XOR_SAMPLE_BYTES_MAX);
}

static void
chunk_holds_65535_samples(void)
{
    static int64_t t[NLT_XOR_SAMPLES_MAX];
    static double v[NLT_XOR_SAMPLES_MAX];

    for (size_t i = 0; i < NLT_XOR_SAMPLES_MAX; i++) {
        t[i] = (int64_t) (i * 15000 + i % 7);
        v[i] = (double) (i * i % 1001) / 10;
    }
    check_round_trip(t, v, NLT_XOR_SAMPLES_MAX, 0);
    check_round_trip(t, v, NLT_XOR_SAMPLES_MAX, 16);
}

static void
put_assigns_and_leaves_its_neighbours(void)
{
    nlt_xor_bits_t b = {{UINT64_C(0x8000000000000001), UINT64_MAX, 0}, 71};

    for (unsigned pos = 0; pos < 24; pos++) {
        uint8_t p[16], q[16];
        unsigned end = pos + 71;

        /* What a dead writer left: all ones, or anything. */
        memset(p, 0xff, sizeof(p));
        memset(q, 0x5a, sizeof(q));
        nlt_xor_put(p, pos, &b);
        nlt_xor_put(q, pos, &b);
        for (unsigned i = 0; i < 128; i++) {
            bool bp = p[i / 8] >> (7 - i % 8) & 1;
            bool bq = q[i / 8] >> (7 - i % 8) & 1;

            if (i < pos || i >= (end + 7) / 8 * 8) {
                NLT_CHECK(bp);
                NLT_CHECK_INT(bq, 0x5a >> (7 - i % 8) & 1);
            } else if (i < end) {
                bool want = i == pos || i - pos >= 63;

                NLT_CHECK_INT(bp, want);
                NLT_CHECK_INT(bq, want);
            }
        }
    }
}

static void
decoding_leaves_the_state_of_the_encoder(void)
{
    int64_t t[40], t2[40];
    double v[40], v2[40];
    uint8_t p[40 * NLT_XOR_SAMPLE_BYTES_MAX];

    for (uint32_t n = 1; n <= 39; n++) {
        nlt_xor_state_t s, d;
        nlt_xor_bits_t b;
        uint64_t pos, end;

        for (uint32_t i = 0; i < 40; i++) {
            t[i] = i * 10 + i % 3;
            v[i] = (double) (i * 37 % 11);
        }
        pos = encode(t, v, n, p);
        memset(&d, 0x77, sizeof(d));
        NLT_CHECK_INT(nlt_xor_decode(p, (pos + 7) / 8, n, t2, v2, &d, &end),
                      NLT_OK);
        NLT_CHECK_INT(end, pos);
        nlt_xor_encode(&d, t[n], nlt_bits_of(v[n]), &b);
        nlt_xor_put(p, end, &b);
        s = d;
        NLT_CHECK_INT(nlt_xor_decode(p, (end + b.n_bits + 7) / 8, n + 1, t2,
                                     v2, &d, NULL),
                      NLT_OK);
        NLT_CHECK(memcmp(t, t2, (n + 1) * sizeof(int64_t)) == 0);
        NLT_CHECK(memcmp(v, v2, (n + 1) * sizeof(double)) == 0);
        NLT_CHECK_INT(d.t_ms, s.t_ms);
        NLT_CHECK_INT(d.delta, s.delta);
        NLT_CHECK_INT(d.count, s.count);
        NLT_CHECK_INT(d.leading, s.leading);
        NLT_CHECK_INT(d.trailing, s.trailing);
    }
}

static void
cut_streams_are_refused(void)
{
    int64_t t[100], t2[104];
    double v[100], v2[104];
    uint8_t p[2 + 101 * NLT_XOR_SAMPLE_BYTES_MAX];

    for (size_t i = 0; i < 100; i++) {
        t[i] = (int64_t) (i * i * i);
        v[i] = (double) i / 3;
    }
    size_t len = nlt_xor_encode_chunk(t, v, 100, 0, p) - 2;

    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *q = malloc(cut + 1);

        memcpy(q, p + 2, cut);
        NLT_CHECK_INT(nlt_xor_decode(q, cut, 100, t2, v2, NULL, NULL),
                      NLT_EDATA);
        free(q);
    }
    NLT_CHECK_INT(nlt_xor_decode(p + 2, len, 100, t2, v2, NULL, NULL), NLT_OK);
    /* Seven bits of padding can pass for three samples, not for four. */
    NLT_CHECK_INT(nlt_xor_decode(p + 2, len, 104, t2, v2, NULL, NULL),
                  NLT_EDATA);
    NLT_CHECK_INT(nlt_xor_decode(p + 2, 0, 0, t2, v2, NULL, NULL), NLT_OK);
}

static void
impossible_windows_are_refused(void)
{
    uint8_t p[64];
    int64_t t[3];
    double v[3];
    size_t n;

    /* "old window" before there was one */
    n = pack("00000000 " ONE_BITS " 00000001 10 11111111 11111111 11111111"
             "11111111 11111111 11111111 11111111 11111111",
             p);
    NLT_CHECK_INT(nlt_xor_decode(p, (n + 7) / 8, 2, t, v, NULL, NULL),
                  NLT_EDATA);
    /* leading 31 and 34 significant bits are 65 */
    n = pack("00000000 " ONE_BITS " 00000001 11 11111 100010 11111111"
             "11111111 11111111 11111111 11111111 11111111 11111111",
             p);
    NLT_CHECK_INT(nlt_xor_decode(p, (n + 7) / 8, 2, t, v, NULL, NULL),
                  NLT_EDATA);
    /* a varint of eleven bytes */
    memset(p, 0xff, sizeof(p));
    NLT_CHECK_INT(nlt_xor_decode(p, sizeof(p), 1, t, v, NULL, NULL),
                  NLT_EDATA);
}

static void
look_ahead_narrows_windows_again(void)
{
    int64_t t[200];
    double v[200];
    uint8_t p[4096];
    size_t greedy, ahead;

    for (size_t i = 0; i < 200; i++) {
        t[i] = (int64_t) i * 1000;
        /* one value of full precision, then small integers */
        v[i] = i == 1 ? 0.1 : (double) (100 + i % 5);
    }
    greedy = nlt_xor_encode_chunk(t, v, 200, 0, p);
    ahead = nlt_xor_encode_chunk(t, v, 200, 16, p);
    NLT_CHECK(greedy > 1000); /* stays at more than 50 bits a sample */
    NLT_CHECK(ahead < 300);
    check_round_trip(t, v, 200, 16);
    check_round_trip(t, v, 200, 1);
    check_round_trip(t, v, 200, NLT_XOR_LOOKAHEAD_MAX + 1);
}

/* How a chunk of these times is taken by the one that demands an order. */
static nlt_rc_t
decode_times(const int64_t *t_ms, size_t n)
{
    uint8_t p[8 + 8 * NLT_XOR_SAMPLE_BYTES_MAX];
    int64_t t2[8];
    double v[8] = {1, 2, 2, 3}, v2[8];
    size_t len = nlt_xor_encode_chunk(t_ms, v, n, 0, p);
    nlt_rc_t rc = nlt_xor_decode_rising(p + 2, len - 2, (uint32_t) n, t2, v2,
                                        NULL, NULL);

    NLT_CHECK_INT(
        nlt_xor_decode(p + 2, len - 2, (uint32_t) n, t2, v2, NULL, NULL),
        NLT_OK);
    NLT_CHECK(memcmp(t_ms, t2, n * sizeof(*t_ms)) == 0);
    return rc;
}

#define TIMES(...)                                                            \
    decode_times((const int64_t[]){__VA_ARGS__},                              \
                 sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void
times_that_do_not_rise_are_refused_if_asked(void)
{
    NLT_CHECK_INT(TIMES(5), NLT_OK);
    NLT_CHECK_INT(TIMES(5, 6, 7, 8), NLT_OK);
    NLT_CHECK_INT(TIMES(-5, 6, 7, 9000, 9001), NLT_OK);
    NLT_CHECK_INT(TIMES(INT64_MIN, 0, INT64_MAX), NLT_OK);
    NLT_CHECK_INT(TIMES(INT64_MAX - 2, INT64_MAX - 1, INT64_MAX), NLT_OK);
    NLT_CHECK_INT(TIMES(5, 5), NLT_EORDER);
    NLT_CHECK_INT(TIMES(5, 4), NLT_EORDER);
    NLT_CHECK_INT(TIMES(5, 6, 6), NLT_EORDER);
    NLT_CHECK_INT(TIMES(5, 6, 5, 7), NLT_EORDER);
    NLT_CHECK_INT(TIMES(INT64_MAX - 1, INT64_MAX, INT64_MIN), NLT_EORDER);
    NLT_CHECK_INT(TIMES(0, INT64_MAX, -2, INT64_MAX), NLT_EORDER);
}

int
main(void)
{
    NLT_TEST(one_sample_is_varint_and_raw_bits);
    NLT_TEST(steady_series_costs_two_bits_a_sample);
    NLT_TEST(windows_open_are_reused_and_change);
    NLT_TEST(old_window_covers_a_narrower_change);
    NLT_TEST(sixty_four_significant_bits_are_written_as_zero);
    NLT_TEST(steps_use_asymmetric_ranges);
    NLT_TEST(any_step_and_any_bits_come_back);
    NLT_TEST(longest_sample_fits_its_maximum);
    NLT_TEST(chunk_holds_65535_samples);
    NLT_TEST(put_assigns_and_leaves_its_neighbours);
    NLT_TEST(decoding_leaves_the_state_of_the_encoder);
    NLT_TEST(cut_streams_are_refused);
    NLT_TEST(impossible_windows_are_refused);
    NLT_TEST(look_ahead_narrows_windows_again);
    NLT_TEST(times_that_do_not_rise_are_refused_if_asked);
    return nlt_test_done();
}

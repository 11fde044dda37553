/*
 * nlt_num_test.c - digits against a slow twin made of printf and strtod, the
 * powers of ten against long arithmetic, layouts and syntax against lists.
 */
#include "nlt_num.h"
#include "nlt_decimal.h"
#include "nlt_test.h"

#include <math.h>

/* ---- layouts ---- */

static const struct {
    double v;
    const char *sample, *g, *plain;
} layouts[] = {
    {0, "0", "0", "0"},
    {-0.0, "-0", "-0", "-0"},
    {1, "1", "1", "1"},
    {-1.5, "-1.5", "-1.5", "-1.5"},
    {100000, "100000", "100000", "100000"},
    {1e6, "1000000", "1e+06", "1000000"},
    {1234567, "1234567", "1.234567e+06", "1234567"},
    {0.0001, "0.0001", "0.0001", "0.0001"},
    {0.00001, "0.00001", "1e-05", "0.00001"},
    {1e-6, "0.000001", "1e-06", "0.000001"},
    {1e-7, "1e-07", "1e-07", "0.0000001"},
    {9.99e-7, "9.99e-07", "9.99e-07", "0.000000999"},
    {1e20, "100000000000000000000", "1e+20", "100000000000000000000"},
    {1e21, "1e+21", "1e+21", "1000000000000000000000"},
    {123456789012345678e3, "123456789012345680000", "1.2345678901234568e+20",
     "123456789012345680000"},
    {0x1p-44, "5.684341886080802e-14", "5.684341886080802e-14",
     "0.00000000000005684341886080802"},
    {5e-324, "5e-324", "5e-324", NULL},
    {1.7976931348623157e308, "1.7976931348623157e+308",
     "1.7976931348623157e+308", NULL},
    {INFINITY, "+Inf", "+Inf", "+Inf"},
    {-INFINITY, "-Inf", "-Inf", "-Inf"},
    {NAN, "NaN", "NaN", "NaN"},
};

static void
layouts_are_those_of_go(void)
{
    char out[NLT_NUM_PLAIN_MAX];

    for (size_t i = 0; i < NLT_COUNT(layouts); i++) {
        double v = layouts[i].v;

        NLT_CHECK_STR(((nlt_str_t){nlt_num_sample(out, v), out}),
                      layouts[i].sample);
        NLT_CHECK_STR(((nlt_str_t){nlt_num_g(out, v), out}), layouts[i].g);
        if (layouts[i].plain != NULL) {
            NLT_CHECK_STR(((nlt_str_t){nlt_num_plain(out, v), out}),
                          layouts[i].plain);
        }
    }
    NLT_CHECK_INT(nlt_num_plain(out, -5e-324), 1 + 2 + 324);
    NLT_CHECK_INT(nlt_num_plain(out, 1.7976931348623157e308), 309);
}

static void
fixed_rounds_exactly(void)
{
    char out[NLT_NUM_PLAIN_MAX];

    NLT_CHECK_STR(((nlt_str_t){nlt_num_fixed(out, 0.125, 2), out}), "0.12");
    NLT_CHECK_STR(((nlt_str_t){nlt_num_fixed(out, 0.375, 2), out}), "0.38");
    NLT_CHECK_STR(((nlt_str_t){nlt_num_fixed(out, -1.005, 2), out}), "-1.00");
    NLT_CHECK_STR(((nlt_str_t){nlt_num_fixed(out, 2.5, 0), out}), "2");
    NLT_CHECK_STR(((nlt_str_t){nlt_num_fixed(out, -0.0, 1), out}), "-0.0");
    NLT_CHECK_STR(((nlt_str_t){nlt_num_fixed(out, NAN, 3), out}), "NaN");
    NLT_CHECK_INT(nlt_num_fixed(out, -1.7976931348623157e308, 99), 331);
}

/* ---- digits ---- */

/* The shortest digits by trying; of each length the closest first. */
static void
slow_digits(char *out, double v)
{
    for (int n = 0; n < 17; n++) {
        char mid[40];
        char *e;

        snprintf(mid, sizeof(mid), "%.*e", n, v);
        if (strtod(mid, NULL) == v) {
            strcpy(out, mid);
            return;
        }
        /* One up or down in the last place, when there is no carry. */
        e = strchr(mid, 'e');
        for (int step = -1; step <= 1; step += 2) {
            char c = (char) (e[-1] + step);
            char keep = e[-1];

            if (c >= '0' && c <= '9' && n > 0) {
                e[-1] = c;
                if (strtod(mid, NULL) == v) {
                    strcpy(out, mid);
                    return;
                }
                e[-1] = keep;
            }
        }
    }
    strcpy(out, "none");
}

/* The digits of a positive number, written as printf's %e writes them. */
static size_t
digits_as_e(char *out, double v)
{
    char plain[NLT_NUM_PLAIN_MAX], digits[NLT_NUM_PLAIN_MAX];
    size_t len = nlt_num_plain(plain, v), n = 0, point = len, last = 1;
    int first = -1;

    for (size_t i = 0; i < len; i++) {
        if (plain[i] == '.') {
            point = i;
        } else if (n > 0 || plain[i] != '0') {
            first = first < 0 ? (int) i : first;
            digits[n++] = plain[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        last = digits[i] != '0' ? i + 1 : last;
    }
    return (size_t) snprintf(out, NLT_NUM_TEXT_MAX + 1, "%c%s%.*se%+03d",
                             digits[0], last > 1 ? "." : "", (int) last - 1,
                             digits + 1,
                             (int) point - first - (first < (int) point));
}

static double
random_double(int kind)
{
    uint64_t b = nlt_test_rand() >> 1;

    switch (kind) {
    case 0:
        return (double) nlt_test_below(10000000)
               / pow(10, (double) nlt_test_below(9));
    case 1:
        return nlt_double_of(b % 2047 << 52); /* powers of two */
    case 2:
        return nlt_double_of((b % 2047 << 52) + nlt_test_below(5) - 2);
    case 3:
        return nlt_double_of(b & ((UINT64_C(1) << nlt_test_below(53)) - 1));
    case 4:
        return ldexp((double) (b >> 10), (int) nlt_test_below(120) - 90);
    case 5:
        return (double) b;
    default:
        return nlt_double_of(b);
    }
}

static void
digits_are_shortest_and_read_back(void)
{
    (void) nlt_test_seed();
    for (int i = 0; i < 60000; i++) {
        double v = random_double(i % 8), back;
        char got[NLT_NUM_TEXT_MAX + 1], want[64];

        if (!isfinite(v) || v <= 0) {
            continue;
        }
        slow_digits(want, v);
        size_t n = digits_as_e(got, v);
        got[n] = '\0';
        NLT_CHECK_STR(((nlt_str_t){n, got}), want);
        NLT_CHECK_INT(nlt_num_parse((nlt_str_t){n, got}, &back), 0);
        NLT_CHECK_BITS(back, v);
        n = nlt_num_sample(got, v);
        NLT_CHECK_INT(nlt_num_parse((nlt_str_t){n, got}, &back), 0);
        NLT_CHECK_BITS(back, v);
    }
}

static void
reading_equals_strtod(void)
{
    (void) nlt_test_seed();
    for (int i = 0; i < 100000; i++) {
        char s[1200];
        double got, want;
        int n = 0, digits;

        switch (i % 4) {
        case 0: /* random digits, point and exponent anywhere */
            digits = 1 + (int) nlt_test_below(nlt_test_below(40) + 1);
            for (int k = 0; k < digits; k++) {
                s[n++] = (char) ('0' + (char) nlt_test_below(10));
                if (k == digits / 2 && (i & 4)) {
                    s[n++] = '.';
                }
            }
            snprintf(s + n, 20, "e%d", (int) nlt_test_below(700) - 360);
            break;
        case 1: /* exactly between two doubles, or next to that */
        {
            uint64_t b = nlt_test_rand() % (UINT64_C(0x7fe) << 52);
            double v = nlt_double_of(b);

            if (i & 8) {
                v = ldexp((double) (b >> 11), (int) nlt_test_below(80) - 60);
            }
            long double mid =
                ((long double) v + (long double) nextafter(v, INFINITY)) / 2;
            n = snprintf(s, sizeof(s), "%.780Le", mid);
            char *e = strchr(s, 'e');
            if (i & 16) {
                e[-1] = (char) (i & 32 ? '1' : e[-1]);
            }
            break;
        }
        case 2: /* seventeen digits */
            snprintf(s, sizeof(s), "%.17g", random_double(i % 7));
            break;
        default: /* what metrics look like */
            snprintf(s, sizeof(s), "%llu.%03llu",
                     (unsigned long long) nlt_test_below(10000000),
                     (unsigned long long) nlt_test_below(1000));
        }
        want = strtod(s, NULL);
        if (isnan(want)) {
            continue;
        }
        int rc = nlt_num_parse(nlt_test_str(s), &got);
        NLT_CHECK_INT(rc, isinf(want) ? 2 : 0);
        NLT_CHECK_BITS(got, want);
        if (nlt_bits_of(got) != nlt_bits_of(want)) {
            printf("# %s\n", s);
        }
    }
}

/* ---- powers of ten ---- */

#define WORDS 40

typedef struct {
    uint64_t w[WORDS]; /* least first */
} big_t;

static int
top_bit(const big_t *a)
{
    for (int i = WORDS; i-- > 0;) {
        if (a->w[i] != 0) {
            return i * 64 + 63 - __builtin_clzll(a->w[i]);
        }
    }
    return -1;
}

static void
big_mul(big_t *a, uint64_t by)
{
    unsigned __int128 carry = 0;

    for (int i = 0; i < WORDS; i++) {
        carry += (unsigned __int128) a->w[i] * by;
        a->w[i] = (uint64_t) carry;
        carry >>= 64;
    }
}

static void
big_div(big_t *a, uint64_t by)
{
    unsigned __int128 rest = 0;

    for (int i = WORDS; i-- > 0;) {
        rest = rest << 64 | a->w[i];
        a->w[i] = (uint64_t) (rest / by);
        rest %= by;
    }
}

static void
check_power(const big_t *a, int k)
{
    uint64_t hi, lo, want[2] = {0, 0};
    int top = top_bit(a);

    for (int i = 0; i < 128; i++) {
        int bit = top - i;

        if (bit >= 0 && (a->w[bit / 64] >> bit % 64 & 1)) {
            want[i / 64] |= UINT64_C(1) << (63 - i % 64);
        }
    }
    nlt_decimal_power(k, &hi, &lo);
    NLT_CHECK(hi == want[0] && lo == want[1]);
}

static void
all_powers_of_ten_are_exact(void)
{
    big_t a = {{1}};

    for (int k = 0; k <= 324; k++) {
        check_power(&a, k);
        big_mul(&a, 10);
    }
    /* 2^2559 / 10^k by repeated division: floor of floor is floor. */
    memset(&a, 0, sizeof(a));
    a.w[WORDS - 1] = UINT64_C(1) << 63;
    for (int k = 0; k >= -342; k--) {
        check_power(&a, k);
        big_div(&a, 10);
    }
}

/* ---- syntax ---- */

static const struct {
    const char *text;
    int rc;
    double v;
} parses[] = {
    {"", 1, 0},
    {"+", 1, 0},
    {".", 1, 0},
    {"1.", 0, 1},
    {".5", 0, 0.5},
    {"+1.5e3", 0, 1500},
    {"-0", 0, -0.0},
    {"1e", 1, 0},
    {"1e+", 1, 0},
    {"e5", 1, 0},
    {"1e5x", 1, 0},
    {" 1", 1, 0},
    {"1 ", 1, 0},
    {"1_000", 1, 0},
    {"1.2.3", 1, 0},
    {"--1", 1, 0},
    {"1e400", 2, INFINITY},
    {"-1e400", 2, -INFINITY},
    {"1e99999999999999999999", 2, INFINITY},
    {"1e-99999999999999999999", 0, 0},
    {"0e99999999999999999999", 0, 0},
    {"1.7976931348623157e308", 0, 1.7976931348623157e308},
    {"1.7976931348623158e308", 0, 1.7976931348623157e308},
    {"1.7976931348623159e308", 2, INFINITY},
    {"2.4703282292062327e-324", 0, 0},
    {"2.4703282292062328e-324", 0, 5e-324},
    {"4.9e-324", 0, 5e-324},
    {"2.2250738585072011e-308", 0, 2.2250738585072011e-308},
    {"9007199254740993", 0, 9007199254740992},
    {"9007199254740993.0000000000000000000000000000001", 0, 9007199254740994},
    {"inf", 0, INFINITY},
    {"+Inf", 0, INFINITY},
    {"-INFINITY", 0, -INFINITY},
    {"infin", 1, 0},
    {"+nan", 1, 0},
    {"0x", 1, 0},
    {"0x1", 1, 0},
    {"0x1p", 1, 0},
    {"0xp1", 1, 0},
    {"0x1p4", 0, 16},
    {"0X1.8P+1", 0, 3},
    {"-0x.8p0", 0, -0.5},
    {"0x1p-1074", 0, 5e-324},
    {"0x1p-1075", 0, 0},
    {"0x1.8p-1075", 0, 5e-324},
    {"0x1p1024", 2, INFINITY},
    {"0x1.fffffffffffff8p1023", 2, INFINITY},
    {"0x1.fffffffffffff7p1023", 0, 1.7976931348623157e308},
    {"0x10000000000000000000000001p0", 0, 0x1p100},
    {"0x1.00000000000008p0", 0, 1},
    {"0x1.000000000000080000000000000001p0", 0, 0x1.0000000000001p0},
    {"0x1.2.3p1", 1, 0},
};

static void
syntax_is_that_of_go(void)
{
    double v;

    for (size_t i = 0; i < NLT_COUNT(parses); i++) {
        int rc = nlt_num_parse(nlt_test_str(parses[i].text), &v);

        if (rc != parses[i].rc) {
            printf("# %s\n", parses[i].text);
        }
        NLT_CHECK_INT(rc, parses[i].rc);
        if (rc != 1) {
            NLT_CHECK_BITS(v, parses[i].v);
        }
    }
    NLT_CHECK_INT(nlt_num_parse(NLT_STR("NaN"), &v), 0);
    NLT_CHECK(nlt_bits_of(v) == NLT_NORMAL_NAN_BITS);
    NLT_CHECK_INT(nlt_num_parse((nlt_str_t){3, "12345"}, &v), 0);
    NLT_CHECK_BITS(v, 123);
}

static void
integers_are_read_whole(void)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t v;
    } ints[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"+7", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"1.0", false, 0},
        {"1 ", false, 0},
    };

    for (size_t i = 0; i < NLT_COUNT(ints); i++) {
        int64_t v = 0;

        NLT_CHECK_INT(nlt_num_parse_i64(nlt_test_str(ints[i].text), &v),
                      ints[i].ok);
        NLT_CHECK_INT(v, ints[i].v);
    }
}

int
main(void)
{
    NLT_TEST(layouts_are_those_of_go);
    NLT_TEST(fixed_rounds_exactly);
    NLT_TEST(all_powers_of_ten_are_exact);
    NLT_TEST(digits_are_shortest_and_read_back);
    NLT_TEST(reading_equals_strtod);
    NLT_TEST(syntax_is_that_of_go);
    NLT_TEST(integers_are_read_whole);
    return nlt_test_done();
}

/* nlt_hash_test.c - published vectors, and the two CRCs against each other. */
#include "nlt_hash.h"
#include "nlt_test.h"

static void
crc32c_gives_the_published_values(void)
{
    uint8_t b[32];

    /* RFC 3720, B.4. */
    memset(b, 0, sizeof(b));
    NLT_CHECK_INT(nlt_crc32c(0, b, 32), 0x8a9136aa);
    memset(b, 0xff, sizeof(b));
    NLT_CHECK_INT(nlt_crc32c(0, b, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) {
        b[i] = (uint8_t) i;
    }
    NLT_CHECK_INT(nlt_crc32c(0, b, 32), 0x46dd794e);
    NLT_CHECK_INT(nlt_crc32c_portable(0, b, 32), 0x46dd794e);
    NLT_CHECK_INT(nlt_crc32c(0, "123456789", 9), 0xe3069283);
    NLT_CHECK_INT(nlt_crc32c(0, "", 0), 0);
}

/* A bit at a time: what CRC-32C is defined by. */
static uint32_t
slow_crc(const uint8_t *p, size_t n)
{
    uint32_t c = ~0u;

    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) {
            c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
        }
    }
    return ~c;
}

static void
both_crcs_equal_the_slow_one(void)
{
    static uint8_t b[20000];

    (void) nlt_test_seed();
    for (size_t i = 0; i < sizeof(b); i++) {
        b[i] = (uint8_t) nlt_test_rand();
    }
    for (int i = 0; i < 600; i++) {
        size_t n = nlt_test_below(i < 300 ? 1200 : sizeof(b) - 64);
        size_t off = nlt_test_below(64), cut = nlt_test_below(n + 1);
        uint32_t want = slow_crc(b + off, n);

        NLT_CHECK_INT(nlt_crc32c(0, b + off, n), want);
        NLT_CHECK_INT(nlt_crc32c_portable(0, b + off, n), want);
        uint32_t c = nlt_crc32c(0, b + off, cut);
        NLT_CHECK_INT(nlt_crc32c(c, b + off + cut, n - cut), want);
        c = nlt_crc32c_portable(0, b + off, cut);
        NLT_CHECK_INT(nlt_crc32c_portable(c, b + off + cut, n - cut), want);
    }
}

static void
fill_random(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t) nlt_test_rand();
    }
}

static void
hashes_depend_on_all_they_are_given(void)
{
    uint8_t secret[NLT_HASH_SECRET_BYTES], other[NLT_HASH_SECRET_BYTES];
    uint8_t s[600];

    (void) nlt_test_seed();
    NLT_CHECK(nlt_hash64(NULL, 0, 1) != nlt_hash64(NULL, 0, 2));
    for (size_t n = 1; n < sizeof(s); n++) {
        fill_random(secret, sizeof(secret));
        fill_random(other, sizeof(other));
        fill_random(s, n);
        nlt_hash128_t a = nlt_hash128(s, n, secret);
        nlt_hash128_t b = nlt_hash128(s, n, other);
        uint64_t h = nlt_hash64(s, n, 0);

        NLT_CHECK(h != nlt_hash64(s, n, 1));
        NLT_CHECK(a.lo != b.lo && a.hi != b.hi);
        s[nlt_test_below(n)] ^= (uint8_t) (1 << nlt_test_below(8));
        b = nlt_hash128(s, n, secret);
        NLT_CHECK(a.lo != b.lo && a.hi != b.hi);
        NLT_CHECK(h != nlt_hash64(s, n, 0));
        a = nlt_hash128(s, n, secret);
        NLT_CHECK(a.lo == b.lo && a.hi == b.hi);
    }
    NLT_CHECK(nlt_mix64(1) != nlt_mix64(2));
}

static void
random_bytes_differ(void)
{
    uint8_t a[64], b[64];

    memset(a, 0, sizeof(a));
    memset(b, 0, sizeof(b));
    NLT_CHECK(nlt_random_bytes(a, sizeof(a)));
    NLT_CHECK(nlt_random_bytes(b, sizeof(b)));
    NLT_CHECK(memcmp(a, b, sizeof(a)) != 0);
    NLT_CHECK(nlt_random_bytes(a, 0));
}

int
main(void)
{
    NLT_TEST(crc32c_gives_the_published_values);
    NLT_TEST(both_crcs_equal_the_slow_one);
    NLT_TEST(hashes_depend_on_all_they_are_given);
    NLT_TEST(random_bytes_differ);
    return nlt_test_done();
}

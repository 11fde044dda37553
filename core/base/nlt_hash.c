/*
 * nlt_hash.c - xxHash inlined, CRC-32C by hardware or by table, randomness.
 *
 * CRC by hardware: the crc32 instruction takes 8 bytes with a latency of
 * three cycles but starts one every cycle, so three independent streams run
 * side by side over three neighbouring stretches of LANE bytes, or a third of
 * what is left.  Joining them means "advance a CRC over 2 * LANE (or LANE)
 * zero bytes", which is a multiplication by x^(8 * distance) modulo the
 * polynomial: one carry-less multiplication by a constant and one more crc32
 * to reduce.
 *
 * CRC by table: eight tables, eight bytes a step.  CRC is linear, so each
 * table follows from the eight entries at powers of two; the compiler makes
 * the tables from those 64 numbers.
 */
#include "nlt_hash.h"

#include <errno.h>
#include <sys/random.h>

#include "nlt_bytes.h"

/* xxHash's header does not compile without warnings under our flags. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#define XXH_INLINE_ALL
#include <xxhash.h>
#pragma GCC diagnostic pop

uint64_t
nlt_hash64(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t
nlt_xxh64(const void *p, size_t n)
{
    return XXH64(p, n, 0);
}

nlt_hash128_t
nlt_hash128(const void *p, size_t n, const uint8_t *secret)
{
    XXH128_hash_t h =
        XXH3_128bits_withSecret(p, n, secret, NLT_HASH_SECRET_BYTES);

    return (nlt_hash128_t){h.low64, h.high64};
}

/* Entry i of a table whose entries at 1, 2, 4 .. 128 are given. */
#define CRC_1(i, a, b, c, d, e, f, g, h)                                      \
    (((i) &1 ? (a) : 0) ^ ((i) &2 ? (b) : 0) ^ ((i) &4 ? (c) : 0)             \
     ^ ((i) &8 ? (d) : 0) ^ ((i) &16 ? (e) : 0) ^ ((i) &32 ? (f) : 0)         \
     ^ ((i) &64 ? (g) : 0) ^ ((i) &128 ? (h) : 0))
#define CRC_4(i, ...)                                                         \
    CRC_1((i), __VA_ARGS__), CRC_1((i) + 1, __VA_ARGS__),                     \
        CRC_1((i) + 2, __VA_ARGS__), CRC_1((i) + 3, __VA_ARGS__)
#define CRC_16(i, ...)                                                        \
    CRC_4((i), __VA_ARGS__), CRC_4((i) + 4, __VA_ARGS__),                     \
        CRC_4((i) + 8, __VA_ARGS__), CRC_4((i) + 12, __VA_ARGS__)
#define CRC_64(i, ...)                                                        \
    CRC_16((i), __VA_ARGS__), CRC_16((i) + 16, __VA_ARGS__),                  \
        CRC_16((i) + 32, __VA_ARGS__), CRC_16((i) + 48, __VA_ARGS__)
#define CRC_256(...)                                                          \
    {                                                                         \
        CRC_64(0, __VA_ARGS__), CRC_64(64, __VA_ARGS__),                      \
            CRC_64(128, __VA_ARGS__), CRC_64(192, __VA_ARGS__)                \
    }

/* crc_table[k][byte]: the byte, followed by k zero bytes. */
static const uint32_t crc_table[8][256] = {
    CRC_256(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f,
            0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    CRC_256(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181,
            0x7f8be302, 0xff17c604, 0xfbc3faf9),
    CRC_256(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a,
            0xe144fb14, 0xc76580d9, 0x8b277743),
    CRC_256(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d,
            0xd725148b, 0xaba65fe7, 0x52a0c93f),
    CRC_256(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3,
            0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    CRC_256(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e,
            0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    CRC_256(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6,
            0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    CRC_256(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4,
            0x0d006599, 0x1a00cb32, 0x34019664),
};

uint32_t
nlt_crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    const uint8_t *b = p;

    crc = ~crc;
    for (; n >= 8; n -= 8, b += 8) {
        uint64_t w = nlt_le64(b) ^ crc;

        crc = crc_table[7][w & 0xff] ^ crc_table[6][w >> 8 & 0xff]
              ^ crc_table[5][w >> 16 & 0xff] ^ crc_table[4][w >> 24 & 0xff]
              ^ crc_table[3][w >> 32 & 0xff] ^ crc_table[2][w >> 40 & 0xff]
              ^ crc_table[1][w >> 48 & 0xff] ^ crc_table[0][w >> 56];
    }
    for (; n > 0; n--) {
        crc = crc >> 8 ^ crc_table[0][(crc ^ *b++) & 0xff];
    }
    return ~crc;
}

#if defined(__x86_64__)

#include <immintrin.h>

/* Bytes of one of the three streams, and x^(8 * distance - 33) mod P. */
#define LANE_LONG      1024u
#define LANE_LONG_ONE  0x170076fau
#define LANE_LONG_TWO  0xa51b6135u
#define LANE_SHORT     128u
#define LANE_SHORT_ONE 0x0d3b6092u
#define LANE_SHORT_TWO 0xb9e02b86u

/* The same for distances of 8, 16, .. 256 bytes: what is left is cut into
 * three, unless it is less than so much. */
static const uint32_t crc_shift[32] = {
    0x00000001u, 0x493c7d27u, 0xf20c0dfeu, 0xba4fc28eu, 0x3da6d0cbu,
    0xddc0152bu, 0x1c291d04u, 0x9e4addf8u, 0x740eef02u, 0x39d3b296u,
    0x083a6eecu, 0x0715ce53u, 0xc49f4f67u, 0x47db8317u, 0x2ad91c30u,
    0x0d3b6092u, 0x6992cea2u, 0xc96cfdc0u, 0x7e908048u, 0x878a92a7u,
    0x1b3d8f29u, 0xdaece73eu, 0xf1d0f55eu, 0xab7aff2au, 0xa87ab8a8u,
    0x2162d385u, 0x8462d800u, 0x83348832u, 0x71d111a8u, 0x299847d5u,
    0xffd852c6u, 0xb9e02b86u,
};
#define LEAST_OF_THREE 64u

__attribute__((target("sse4.2,pclmul"))) static inline uint32_t
crc_advance(uint32_t crc, uint32_t by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t) crc),
                                           _mm_cvtsi64_si128((int64_t) by), 0);
    uint64_t low = (uint64_t) _mm_cvtsi128_si64(product);

    return (uint32_t) _mm_crc32_u64(0, low);
}

/* Three streams of lane bytes each, joined. */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t
crc_three(uint32_t crc, const uint8_t *b, size_t lane, uint32_t one,
          uint32_t two)
{
    uint64_t c0 = crc, c1 = 0, c2 = 0;

    for (size_t i = 0; i < lane; i += 8) {
        c0 = _mm_crc32_u64(c0, nlt_le64(b + i));
        c1 = _mm_crc32_u64(c1, nlt_le64(b + lane + i));
        c2 = _mm_crc32_u64(c2, nlt_le64(b + 2 * lane + i));
    }
    return crc_advance((uint32_t) c0, two) ^ crc_advance((uint32_t) c1, one)
           ^ (uint32_t) c2;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t
crc_hardware(uint32_t crc, const uint8_t *b, size_t n)
{
    crc = ~crc;
    for (; n >= 3 * LANE_LONG; n -= 3 * LANE_LONG, b += 3 * LANE_LONG) {
        crc = crc_three(crc, b, LANE_LONG, LANE_LONG_ONE, LANE_LONG_TWO);
    }
    for (; n >= 3 * LANE_SHORT; n -= 3 * LANE_SHORT, b += 3 * LANE_SHORT) {
        crc = crc_three(crc, b, LANE_SHORT, LANE_SHORT_ONE, LANE_SHORT_TWO);
    }
    if (n >= LEAST_OF_THREE) {
        size_t words = n / 24;

        crc = crc_three(crc, b, 8 * words, crc_shift[words - 1],
                        crc_shift[2 * words - 1]);
        b += 24 * words;
        n -= 24 * words;
    }
    uint64_t c = crc;

    for (; n >= 8; n -= 8, b += 8) {
        c = _mm_crc32_u64(c, nlt_le64(b));
    }
    crc = (uint32_t) c;
    if (n & 4) {
        crc = _mm_crc32_u32(crc, nlt_le32(b));
        b += 4;
    }
    if (n & 2) {
        crc = _mm_crc32_u16(crc, (uint16_t) (b[0] | b[1] << 8));
        b += 2;
    }
    if (n & 1) {
        crc = _mm_crc32_u8(crc, *b);
    }
    return ~crc;
}

#endif

uint32_t
nlt_crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
    if (nlt_likely(__builtin_cpu_supports("sse4.2")
                   && __builtin_cpu_supports("pclmul"))) {
        return crc_hardware(crc, p, n);
    }
#endif
    return nlt_crc32c_portable(crc, p, n);
}

bool
nlt_random_bytes(void *p, size_t n)
{
    uint8_t *to = p;

    while (n > 0) {
        ssize_t got = getrandom(to, n, 0);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        to += got;
        n -= (size_t) got;
    }
    return true;
}

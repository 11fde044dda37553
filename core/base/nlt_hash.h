/*
 * nlt_hash.h - the hashes of the project.
 *
 * Floor 0 (base); uses xxHash (inlined, no symbols of it leave the module).
 *
 * nlt_hash64() is for tables inside one process and one request, over data
 * that an attacker cannot aim (or where a collision only costs time).
 * nlt_hash128() is keyed with a secret of the store: two different inputs
 * that collide in it cannot be found without the key, so equality of it may
 * stand for equality of the input (D7).
 */
#ifndef NLT_BASE_HASH_H
#define NLT_BASE_HASH_H

#include "nlt_types.h"

typedef struct {
    uint64_t lo;
    uint64_t hi;
} nlt_hash128_t;

/* Bytes of secret that key nlt_hash128(); XXH3 wants at least 136. */
#define NLT_HASH_SECRET_BYTES 192

/* 64-bit hash of n bytes with a seed.  About 0.1 ns a byte. */
uint64_t nlt_hash64(const void *p, size_t n, uint64_t seed);

/* XXH64 with seed 0: the hash that Prometheus uses.  About 0.1 ns a byte. */
uint64_t nlt_xxh64(const void *p, size_t n);

/* Keyed 128-bit hash; secret has NLT_HASH_SECRET_BYTES bytes. */
nlt_hash128_t nlt_hash128(const void *p, size_t n, const uint8_t *secret);

/*
 * CRC-32C (Castagnoli), continued from crc (0 to begin).  Uses SSE4.2 and
 * PCLMUL where the processor has them; about 0.1 ns a byte then, 2
 * without.
 */
uint32_t nlt_crc32c(uint32_t crc, const void *p, size_t n);

/* The same by tables on any processor; tests compare the two. */
uint32_t nlt_crc32c_portable(uint32_t crc, const void *p, size_t n);

/* Mixes a number well; for tables keyed by numbers. */
static inline uint64_t
nlt_mix64(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    return x;
}

/* Fills p with n random bytes of the kernel; false when it gave none. */
NLT_CHECKED bool nlt_random_bytes(void *p, size_t n);

#endif

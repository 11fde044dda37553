/*
 * nlt_types.h - the few words that every file of core speaks.
 *
 * Floor 0 (base); uses nothing.
 *
 * Core is plain C11 for 64-bit little-endian Linux.  Strings are counted,
 * never NUL-terminated, unless a parameter says "path" or "c_".  Time is
 * always signed 64-bit Unix milliseconds; ranges of time are inclusive at
 * both ends.  Sample values are IEEE 754 doubles whose bits are kept as they
 * came, payload of NaN included.
 */
#ifndef NLT_BASE_TYPES_H
#define NLT_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The result must be looked at: set on every function that can fail. */
#define NLT_CHECKED __attribute__((warn_unused_result))

#define NLT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define nlt_likely(x)   __builtin_expect(!!(x), 1)
#define nlt_unlikely(x) __builtin_expect(!!(x), 0)

#define NLT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A counted string; borrows its bytes.  {0, NULL} is the empty string. */
typedef struct {
    size_t len; /* bytes */
    const char *data;
} nlt_str_t;

/* An nlt_str_t of a string literal. */
#define NLT_STR(literal) ((nlt_str_t){sizeof(literal) - 1, (literal)})

/* Are both strings the same bytes?  O(length). */
static inline bool
nlt_str_eq(nlt_str_t a, nlt_str_t b)
{
    return a.len == b.len
           && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Order by unsigned bytes, as Prometheus sorts; < 0, 0 or > 0. */
static inline int
nlt_str_cmp(nlt_str_t a, nlt_str_t b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;

    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static inline int64_t
nlt_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline uint32_t
nlt_max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static inline int64_t
nlt_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t
nlt_align_u64(uint64_t n, uint64_t power_of_two)
{
    return (n + power_of_two - 1) & ~(power_of_two - 1);
}

/* The bits of a double, and back: never through an arithmetic operation. */
static inline uint64_t
nlt_bits_of(double v)
{
    uint64_t b;

    memcpy(&b, &v, sizeof(b));
    return b;
}

static inline double
nlt_double_of(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* The stale marker and the ordinary NaN, as Prometheus writes them. */
#define NLT_STALE_NAN_BITS  UINT64_C(0x7ff0000000000002)
#define NLT_NORMAL_NAN_BITS UINT64_C(0x7ff8000000000001)

static inline bool
nlt_is_stale(double v)
{
    return nlt_bits_of(v) == NLT_STALE_NAN_BITS;
}

#endif

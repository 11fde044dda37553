/*
 * nlt_pql_lanes.c - the kernels, for the vectors that every processor has
 * (two doubles) and for those of AVX2 (four).
 *
 * Eight doubles, of AVX-512, gain nothing more: gathering the lanes takes
 * the time then.
 */
#include <stdbool.h>
#include <string.h>

#include "nlt_pql_lanes.h"

typedef double v2d_t __attribute__((vector_size(16)));
typedef uint64_t v2u_t __attribute__((vector_size(16)));
typedef double v4d_t __attribute__((vector_size(32)));
typedef uint64_t v4u_t __attribute__((vector_size(32)));

/*
 * A whole number i of less than 2^51 becomes a double without a conversion,
 * which there is none for in vectors: the bits of 1.5 * 2^52 plus i are those
 * of the double 1.5 * 2^52 + i.
 */
#define BIG      0x1.8p52
#define BIG_BITS UINT64_C(0x4338000000000000)

/* A loop that has to be unrolled, for arrays of vectors to be registers. */
#define EACH(g, n) _Pragma("GCC unroll 8") for (size_t g = 0; g < (n); g++)

#define KERNEL(name) plain_##name
#define TARGET
#define WIDE 2
#include "nlt_pql_lanes_x.h"
#undef KERNEL
#undef TARGET
#undef WIDE

#if defined(__x86_64__)

#define KERNEL(name) avx2_##name
#define TARGET       __attribute__((target("avx2")))
#define WIDE         4
#include "nlt_pql_lanes_x.h"

const nlt_pql_lanes_t *
nlt_pql_lanes(void)
{
    return __builtin_cpu_supports("avx2") ? &avx2_set : &plain_set;
}

#else

const nlt_pql_lanes_t *
nlt_pql_lanes(void)
{
    return &plain_set;
}

#endif

const nlt_pql_lanes_t *
nlt_pql_lanes_at(size_t i)
{
    if (i == 0) {
        return &plain_set;
    }
    return i == 1 && nlt_pql_lanes() != &plain_set ? nlt_pql_lanes() : NULL;
}

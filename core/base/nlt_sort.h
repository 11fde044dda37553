/*
 * nlt_sort.h - heap sort of any type: no memory, no slow input.
 *
 * Floor 0 (base); uses nlt_types.
 *
 * qsort() may allocate, and the quick sorts that do not are quadratic for
 * somebody who chooses the input.  What is sorted in core is sorted in place
 * by this one; callers for whom short or sorted input is the rule look for
 * that first.  A macro, so that the comparison is inlined.
 */
#ifndef NLT_BASE_SORT_H
#define NLT_BASE_SORT_H

#include "nlt_types.h"

/*
 * Defines  static void name(type *v, size_t n, const void *ctx),  which sorts
 * v[0..n) ascending in O(n log n); not stable.  less is
 *
 *     static bool less(const type *a, const type *b, const void *ctx)
 *
 * a strict weak order.  ctx is handed through.
 */
#define NLT_HEAP_SORT(name, type, less)                                       \
    /* v[i] goes down a heap of n that is one but for it. */                  \
    static void name##_sift(type *v, size_t i, size_t n, const void *ctx)     \
    {                                                                         \
        type x = v[i];                                                        \
                                                                              \
        for (size_t child; (child = 2 * i + 1) < n; i = child) {              \
            if (child + 1 < n && less(&v[child], &v[child + 1], ctx)) {       \
                child++;                                                      \
            }                                                                 \
            if (!less(&x, &v[child], ctx)) {                                  \
                break;                                                        \
            }                                                                 \
            v[i] = v[child];                                                  \
        }                                                                     \
        v[i] = x;                                                             \
    }                                                                         \
                                                                              \
    static void name(type *v, size_t n, const void *ctx)                      \
    {                                                                         \
        for (size_t i = n / 2; i-- > 0;) {                                    \
            name##_sift(v, i, n, ctx);                                        \
        }                                                                     \
        for (size_t end = n; end-- > 1;) {                                    \
            type x = v[0];                                                    \
                                                                              \
            v[0] = v[end];                                                    \
            v[end] = x;                                                       \
            name##_sift(v, 0, end, ctx);                                      \
        }                                                                     \
    }                                                                         \
    _Static_assert(sizeof(type) > 0, "takes the semicolon")

#endif

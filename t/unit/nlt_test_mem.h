/*
 * nlt_test_mem.h - an allocator that fails on request and counts.
 *
 * Fails the allocation number fail_at (from 0) and all later ones; -1: none.
 * A test that loops over fail_at until nothing failed has been through every
 * failing allocation of what it does.  `bytes` must be 0 at the end, and each
 * free must name the size that was allocated.
 */
#ifndef NLT_TEST_MEM_H
#define NLT_TEST_MEM_H

#include "nlt_mem.h"
#include "nlt_test.h"

typedef struct {
    nlt_mem_t mem;
    int fail_at;
    int calls;
    int failed;
    size_t bytes; /* alive */
    size_t peak;  /* of them, ever; may be set back */
} nlt_test_mem_t;

static inline void *
nlt_test_mem_alloc(void *ctx, size_t size)
{
    nlt_test_mem_t *m = ctx;
    size_t *p;

    if (m->fail_at >= 0 && m->calls++ >= m->fail_at) {
        m->failed++;
        return NULL;
    }
    p = malloc(size + 16);
    if (p == NULL) {
        abort();
    }
    *p = size;
    m->bytes += size;
    m->peak = m->bytes > m->peak ? m->bytes : m->peak;
    memset(p + 2, 0xa5, size);
    return p + 2;
}

static inline void
nlt_test_mem_free(void *ctx, void *p, size_t size)
{
    nlt_test_mem_t *m = ctx;
    size_t *q = (size_t *) p - 2;

    if (*q != size) {
        printf("# freed %zu bytes of %zu\n", size, *q);
        abort();
    }
    m->bytes -= size;
    free(q);
}

static inline void
nlt_test_mem_init(nlt_test_mem_t *m, int fail_at)
{
    *m = (nlt_test_mem_t){
        {nlt_test_mem_alloc, nlt_test_mem_free, m}, fail_at, 0, 0, 0, 0};
}

#endif

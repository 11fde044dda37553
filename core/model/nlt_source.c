/*
 * nlt_source.c - what all sources share: room for samples.
 */
#include "nlt_source.h"

#define SAMPLES_MIN 64u

bool
nlt_samples_reserve(nlt_samples_t *s, size_t cap)
{
    size_t want = s->cap * 2 < SAMPLES_MIN ? SAMPLES_MIN : s->cap * 2;
    size_t half;
    int64_t *t_ms;

    if (cap <= s->cap) {
        return true;
    }
    want = want < cap ? cap : want;
    if (want > PTRDIFF_MAX / 16) {
        return false;
    }
    /*
     * One block for both arrays, so that growing it may give a large old one
     * back.  Samples move: the values lie behind the times.
     */
    half = want * sizeof(int64_t);
    t_ms = nlt_pool_grow(s->pool, s->t_ms, s->cap * 16, want * 16);
    if (t_ms == NULL && want > cap) {
        want = cap;
        half = want * sizeof(int64_t);
        t_ms = nlt_pool_grow(s->pool, s->t_ms, s->cap * 16, want * 16);
    }
    if (t_ms == NULL) {
        return false;
    }
    /* The old values still follow the old times; cap of them, for the caller
     * may count in n only what it has finished. */
    char *base = (char *) t_ms;
    memmove(base + half, base + s->cap * sizeof(int64_t),
            s->cap * sizeof(double));
    s->t_ms = t_ms;
    s->v = (double *) (void *) (base + half);
    s->cap = want;
    return true;
}

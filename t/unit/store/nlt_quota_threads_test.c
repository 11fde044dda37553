/*
 * nlt_quota_threads_test.c - nothing that is counted gets lost between
 * threads, and no limit of series is passed.
 */
#include "nlt_test.h"

#include <pthread.h>

#include "nlt_quota.h"

#define THREADS 4
#define ADDS    50000
#define KEYS    50

static nlt_quotas_t *table;
static _Atomic uint64_t grown[KEYS];

static nlt_quota_t *
quota(unsigned k, uint64_t t_ms)
{
    char key[16];

    snprintf(key, sizeof(key), "k%u", k);
    return nlt_quotas_get(table, nlt_test_str(key), 1, t_ms);
}

static void *
work(void *arg)
{
    uint64_t r = nlt_mix64((uintptr_t) arg + 1), n;

    for (unsigned i = 0; i < ADDS; i++) {
        unsigned k = i % KEYS;
        nlt_quota_t *q = quota(k, 1000 + i / 100);

        r = nlt_mix64(r + i);
        nlt_window_add(&q->samples, 1000 + i / 100, 3600000, 3);
        (void) nlt_window_sum(&q->samples, 1000 + i / 100, 3600000);
        if (nlt_quota_grow(q, 7, 300)) {
            if (r % 4 == 0) {
                nlt_quota_shrink(q, 7);
            } else {
                atomic_fetch_add(&grown[k], 1);
            }
        }
        (void) nlt_quota_tell(q, 1000 + i / 100, &n);
    }
    return NULL;
}

static void
nothing_is_lost_between_threads(void)
{
    pthread_t th[THREADS];
    size_t size = 1u << 20;
    void *p = aligned_alloc(64, size);

    memset(p, 0, size);
    table = nlt_quotas_init(p, size);
    for (size_t i = 0; i < THREADS; i++) {
        NLT_CHECK_INT(
            pthread_create(&th[i], NULL, work, (void *) (uintptr_t) i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(th[i], NULL);
    }
    for (unsigned k = 0; k < KEYS; k++) {
        nlt_quota_t *q = quota(k, 2000);

        NLT_CHECK_INT(nlt_window_sum(&q->samples, 2000, 3600000),
                      (long long) 3 * THREADS * ADDS / KEYS);
        NLT_CHECK_INT(nlt_quota_active(q, 7), grown[k]);
        NLT_CHECK_INT(grown[k], 300);
    }
    free(p);
}

int
main(void)
{
    NLT_TEST(nothing_is_lost_between_threads);
    return nlt_test_done();
}

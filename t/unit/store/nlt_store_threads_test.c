/*
 * nlt_store_threads_test.c - queries in threads while the event loop writes,
 * arenas rotate, blocks come and the head is given up once.
 */
#include "nlt_store_fixture.h"

#include <pthread.h>

#define N_SERIES 8
#define ROUNDS   400

typedef struct {
    fx_t *fx;
    _Atomic size_t acked; /* samples of each series, all acknowledged */
    _Atomic bool stop;
    _Atomic unsigned bad;
    _Atomic unsigned views;
} shared_t;

/* One view: every series has at least what was acknowledged before. */
static void
look(shared_t *sh)
{
    size_t want = atomic_load(&sh->acked);
    nlt_select_t sel = {NULL, 0, INT64_MIN, INT64_MAX};
    nlt_samples_t got = {.n = 0};
    nlt_series_set_t *set;
    nlt_pool_t pool;
    nlt_view_t view;
    nlt_err_t err;

    if (nlt_view_open(sh->fx->store, 0, NULL, &view, &err) != NLT_OK) {
        return;
    }
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    got.pool = &pool;
    if (view.source.ops->select(&view.source, &pool, &sel, &set, &err)
            != NLT_OK
        || (want > 0 && set->n != N_SERIES)) {
        atomic_fetch_add(&sh->bad, 1);
        set = NULL;
    }
    for (size_t i = 0; set != NULL && i < set->n; i++) {
        bool good = view.source.ops->read(set, i, NLT_READ_ALL, INT64_MIN,
                                          INT64_MAX, &got, &err)
                        == NLT_OK
                    && got.n >= want;

        for (size_t k = 0; good && k < got.n; k++) {
            good = got.v[k] == (double) k;
        }
        atomic_fetch_add(&sh->bad, !good);
    }
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    atomic_fetch_add(&sh->views, 1);
}

static void *
reader(void *ctx)
{
    shared_t *sh = ctx;

    while (!atomic_load(&sh->stop)) {
        look(sh);
    }
    return NULL;
}

/* Writes round k of all series, however long the head takes to be ready. */
static void
write_round(fx_t *fx, unsigned k)
{
    for (unsigned no = 0; no < N_SERIES; no++) {
        int tries = 0;

        while (fx_write(fx, no, FX_NOW + 1000 * (int64_t) k, k) != NLT_OK
               && ++tries < 5000) {
            fx_step(fx, 1);
        }
        NLT_CHECK(tries < 5000);
    }
}

static void
threads_see_every_acknowledged_sample(void)
{
    pthread_t thread[2];
    fx_t fx;
    shared_t sh = {.fx = &fx};

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    for (size_t i = 0; i < NLT_COUNT(thread); i++) {
        NLT_CHECK_INT(pthread_create(&thread[i], NULL, reader, &sh), 0);
    }
    for (unsigned k = 0; k < ROUNDS; k++) {
        write_round(&fx, k);
        atomic_store(&sh.acked, k + 1);
        if (k % 20 == 19) {
            nlt_helper_flush_soon(fx.helper);
        }
        if (k == ROUNDS / 2) {
            nlt_head_ctl_t *ctl = nlt_store_ctl(fx.store);

            atomic_store(&ctl->state, NLT_HEAD_DEAD);
        }
        fx_step(&fx, 1);
    }
    while (atomic_load(&sh.views) < 20) {
        fx_step(&fx, 1);
    }
    atomic_store(&sh.stop, true);
    for (size_t i = 0; i < NLT_COUNT(thread); i++) {
        NLT_CHECK_INT(pthread_join(thread[i], NULL), 0);
    }
    printf("# %u views\n", atomic_load(&sh.views));
    NLT_CHECK_INT(atomic_load(&sh.bad), 0);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(threads_see_every_acknowledged_sample);
    return nlt_test_done();
}

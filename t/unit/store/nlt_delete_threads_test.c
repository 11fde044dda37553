/*
 * nlt_delete_threads_test.c - deletes in one thread, queries in others, while
 * the event loop writes and the helper seals, flushes and merges.
 *
 * Round k is one sample of each series.  A delete takes all rounds that were
 * acknowledged when it was asked for, so at any time
 *
 *     gone <= started <= acked
 *      |         |         '- rounds that were acknowledged
 *      |         '- that some delete was asked for
 *      '- of which some delete was acknowledged
 *
 * and a view sees no round below the `gone` of before, and every one between
 * the `started` of afterwards and the `acked` of before.
 */
#include "nlt_delete_fixture.h"

#include <pthread.h>
#include <sched.h>

#define N_SERIES 8
#define ROUNDS   400

typedef struct {
    fx_t *fx;
    _Atomic size_t acked;
    _Atomic size_t started;
    _Atomic size_t gone;
    _Atomic bool stop;
    _Atomic unsigned bad;
    _Atomic unsigned views;
    _Atomic unsigned deletes;
    _Atomic unsigned cleans;
} shared_t;

static void
look(shared_t *sh)
{
    size_t gone = atomic_load(&sh->gone), acked = atomic_load(&sh->acked);
    nlt_select_t sel = {NULL, 0, INT64_MIN, INT64_MAX};
    nlt_samples_t got = {.n = 0};
    size_t started, n_found = 0, rounds[ROUNDS] = {0};
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
        != NLT_OK) {
        atomic_fetch_add(&sh->bad, 1);
        set = NULL;
    }
    for (size_t i = 0; set != NULL && i < set->n; i++) {
        bool good = view.source.ops->read(set, i, NLT_READ_ALL, INT64_MIN,
                                          INT64_MAX, &got, &err)
                    == NLT_OK;

        for (size_t k = 0; good && k < got.n; k++) {
            size_t round = (size_t) got.v[k];

            good = round >= gone && round < ROUNDS;
            rounds[good ? round : 0]++;
        }
        atomic_fetch_add(&sh->bad, !good);
        n_found += got.n > 0;
    }
    started = atomic_load(&sh->started);
    for (size_t k = started; k < acked; k++) {
        atomic_fetch_add(&sh->bad, rounds[k] != N_SERIES);
    }
    nlt_pool_deinit(&pool);
    nlt_view_close(&view);
    atomic_fetch_add(&sh->views, n_found > 0);
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

/* The helper is in the main thread. */
static nlt_rc_t
yield_cb(void *ctx)
{
    shared_t *sh = ctx;

    (void) sched_yield();
    return atomic_load(&sh->stop) ? NLT_ECANCELED : NLT_OK;
}

static void *
deleter(void *ctx)
{
    shared_t *sh = ctx;
    const nlt_store_wait_t wait = {yield_cb, yield_cb, sh};
    nlt_matcher_t m = {NLT_MATCH_RE, NLT_STR("i"), NLT_STR("\\d"), NULL};
    nlt_delete_set_t set = {&m, 1};
    nlt_err_t err;

    while (!atomic_load(&sh->stop)) {
        size_t acked = atomic_load(&sh->acked);
        nlt_delete_t d = {.t_min_ms = INT64_MIN,
                          .t_max_ms = FX_NOW + 1000 * (int64_t) acked - 500,
                          .sets = &set,
                          .n_sets = 1};
        nlt_rc_t rc;

        atomic_store(&sh->started, acked);
        rc = nlt_store_delete(sh->fx->store, &d, &wait, &err);
        if (rc == NLT_OK) {
            atomic_store(&sh->gone, acked);
            atomic_fetch_add(&sh->deletes, 1);
        } else if (rc != NLT_ECANCELED && rc != NLT_AGAIN) {
            printf("# delete: %s\n", err.text);
            atomic_fetch_add(&sh->bad, 1);
        }
        rc = atomic_load(&sh->deletes) % 4 == 3
                 ? nlt_store_clean(sh->fx->store, &wait, &err)
                 : NLT_AGAIN;
        atomic_fetch_add(&sh->cleans, rc == NLT_OK);
    }
    return NULL;
}

static void
threads_see_deletes_and_what_comes_after_them(void)
{
    pthread_t thread[3];
    fx_t fx;
    shared_t sh = {.fx = &fx};
    int spare = 0;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    for (size_t i = 0; i < NLT_COUNT(thread); i++) {
        NLT_CHECK_INT(
            pthread_create(&thread[i], NULL, i == 0 ? deleter : reader, &sh),
            0);
    }
    for (unsigned k = 0; k < ROUNDS; k++) {
        for (unsigned no = 0; no < N_SERIES; no++) {
            NLT_CHECK_INT(fx_write(&fx, no, FX_NOW + 1000 * (int64_t) k, k),
                          NLT_OK);
        }
        atomic_store(&sh.acked, k + 1);
        fx_step(&fx, 1);
        (void) sched_yield();
    }
    while ((atomic_load(&sh.views) < 20 || atomic_load(&sh.deletes) < 5
            || atomic_load(&sh.cleans) < 1)
           && ++spare < 2000000) {
        fx_step(&fx, 1);
        if (spare % 64 == 0) {
            /* There may be nothing left to look at. */
            atomic_fetch_add(&sh.views, atomic_load(&sh.gone) == ROUNDS);
        }
    }
    atomic_store(&sh.stop, true);
    for (size_t i = 0; i < NLT_COUNT(thread); i++) {
        NLT_CHECK_INT(pthread_join(thread[i], NULL), 0);
    }
    printf("# %u views, %u deletes, %u cleanings\n", atomic_load(&sh.views),
           atomic_load(&sh.deletes), atomic_load(&sh.cleans));
    NLT_CHECK_INT(atomic_load(&sh.bad), 0);
    NLT_CHECK(atomic_load(&sh.deletes) > 0);
    NLT_CHECK(atomic_load(&sh.cleans) > 0);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(threads_see_deletes_and_what_comes_after_them);
    return nlt_test_done();
}

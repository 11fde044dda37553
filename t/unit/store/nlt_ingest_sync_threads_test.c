/*
 * nlt_ingest_sync_threads_test.c - group commit with a thread that syncs.
 *
 * The main thread is an event loop: requests come, logs rotate, arenas go,
 * clients leave; the other one syncs, slowly, and now and then the disk
 * fails.  Also run under TSan.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "nlt_test.h"

#include "nlt_ingest_fixture.h"

#define WAITING_MAX 64
#define REQUESTS    4000

static struct {
    bed_t bed;
    _Atomic int turn; /* 0: none, 1: a sync is to be run, 2: it was, 3: end */
    _Atomic bool fails;
    _Atomic unsigned syncs;
} sh;

static int
slow_sync(void *ctx, int fd)
{
    (void) ctx;
    (void) fd;
    for (unsigned i = 0; i < 3; i++) {
        sched_yield();
    }
    atomic_fetch_add(&sh.syncs, 1);
    return atomic_load(&sh.fails) ? -EIO : 0;
}

static void *
sync_thread(void *ctx)
{
    int turn;

    (void) ctx;
    while ((turn = atomic_load(&sh.turn)) != 3) {
        if (turn == 1) {
            nlt_ingest_sync_run(sh.bed.in);
            atomic_store(&sh.turn, 2);
        }
        sched_yield();
    }
    return NULL;
}

typedef struct {
    nlt_ingest_req_t *r[WAITING_MAX];
    unsigned begun[WAITING_MAX]; /* syncs that had begun when it logged */
    size_t n;
    unsigned n_begun; /* syncs begun */
    unsigned n_ended;
    unsigned by_status[6];
} loop_t;

/* Runs all that wait; who is answered well was in a sync that has ended. */
static void
wake(loop_t *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        nlt_ingest_result_t res;

        if (nlt_ingest_run(l->r[i], &res) == NLT_AGAIN) {
            l->r[n] = l->r[i];
            l->begun[n++] = l->begun[i];
            continue;
        }
        l->by_status[res.status / 100]++;
        NLT_CHECK(res.status == 204 || res.status == 500);
        if (res.status == 204) {
            NLT_CHECK(l->n_ended > l->begun[i]);
        }
    }
    l->n = n;
}

/* One round of the event loop's part of a sync. */
static void
drive(loop_t *l)
{
    if (atomic_load(&sh.turn) == 2) {
        atomic_store(&sh.turn, 0);
        nlt_ingest_sync_end(sh.bed.in);
        l->n_ended = l->n_begun;
        wake(l);
    }
    if (atomic_load(&sh.turn) == 0 && l->n > 0) {
        nlt_rc_t rc = nlt_ingest_sync_begin(sh.bed.in);

        NLT_CHECK(rc == NLT_OK || rc == NLT_EOF);
        l->n_begun++;
        if (rc == NLT_OK) {
            atomic_store(&sh.turn, 1);
        } else {
            l->n_ended = l->n_begun;
            wake(l);
        }
    }
}

static void
request(loop_t *l, unsigned i)
{
    nlt_ingest_result_t res;
    nlt_ingest_req_t *r;
    bed_t *t = &sh.bed;

    add(t, "m", NOW + i, i);
    NLT_CHECK_INT(nlt_ingest_begin(t->in, &t->conf, rwb_snappy(&t->b), &r),
                  NLT_OK);
    if (nlt_ingest_run(r, &res) == NLT_OK) {
        NLT_CHECK_INT(res.status, 503); /* its log has failed */
        l->by_status[5]++;
    } else if (nlt_test_below(10) == 0) {
        nlt_ingest_cancel(r);
    } else {
        l->r[l->n] = r;
        l->begun[l->n++] = l->n_begun;
    }
    rwb_reset(&t->b);
}

static void
requests_and_syncs_side_by_side(void)
{
    pthread_t thread;
    loop_t l = {.n = 0};
    uint64_t arena = 1;
    bed_t *t = &sh.bed;
    nlt_err_t err;

    bed_open(t, NLT_HEAD_MEMORY_MIN);
    t->io.fdatasync = slow_sync;
    t->conf.sync = true;
    NLT_CHECK_INT(pthread_create(&thread, NULL, sync_thread, NULL), 0);
    for (unsigned i = 0; i < REQUESTS; i++) {
        /* Sometimes clients wait for each other, sometimes they do not. */
        size_t most = 1 + (size_t) nlt_test_below(WAITING_MAX);

        request(&l, i);
        drive(&l);
        while (l.n >= most) {
            sched_yield();
            drive(&l);
        }
        if (i % 97 == 0) {
            nlt_ingest_tick(t->in);
        }
        if (i % 300 == 150) {
            atomic_store(&sh.fails, nlt_test_below(2) == 0);
        }
        if (i % 300 == 299) {
            atomic_store(&sh.fails, false);
            rotate(t, ++arena);
            NLT_CHECK_INT(nlt_head_retire(t->head, arena - 1, &err), NLT_OK);
            nlt_ingest_tick(t->in);
            NLT_CHECK(nlt_head_reap(t->head));
        }
    }
    atomic_store(&sh.fails, false);
    rotate(t, ++arena);
    while (l.n > 0 || atomic_load(&sh.turn) != 0) {
        drive(&l);
        sched_yield();
    }
    atomic_store(&sh.turn, 3);
    NLT_CHECK_INT(pthread_join(thread, NULL), 0);
    printf("# %u syncs; answers: %u x 2xx, %u x 5xx\n", sh.syncs,
           l.by_status[2], l.by_status[5]);
    NLT_CHECK(l.by_status[2] > REQUESTS / 10);
    NLT_CHECK(sh.syncs < l.by_status[2]);
    NLT_CHECK_INT(nlt_ingest_requests(t->in), 0);
    bed_close(t);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(requests_and_syncs_side_by_side);
    return nlt_test_done();
}

/*
 * nlt_turns_threads_test.c - many that take turns at once: no bound is passed,
 * nobody is forgotten.
 */
#include "nlt_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "nlt_turns.h"

#define THREADS 4
#define ROUNDS  3000
#define KEYS    3
#define TOTAL   2

static nlt_turns_t *turns;
static _Atomic int running[KEYS], running_all, most, woken[THREADS];

static void
wake_up(const nlt_turns_wake_t *wake)
{
    for (unsigned i = 0; i < THREADS; i++) {
        if (wake->process[0] >> i & 1) {
            atomic_store(&woken[i], 1);
        }
    }
}

/* Runs one ticket, as soon as it has been woken for it. */
static void
one(uint32_t self, uint64_t key)
{
    nlt_turns_ask_t q = {.key = key + 1,
                         .running_max = 1,
                         .room_max = 1,
                         .total_max = TOTAL,
                         .waiting_max = 100};
    nlt_turns_wake_t wake = {{0}};
    uint32_t ticket;
    bool over;
    int n;

    atomic_store(&woken[self], 0);
    if (nlt_turns_ask(turns, self, &q, &ticket, &over, &wake) != NLT_OK) {
        NLT_CHECK(false);
        return;
    }
    wake_up(&wake);
    while (atomic_load(&woken[self]) == 0) {
        sched_yield();
    }
    /* one has a ticket only, so it was woken for this one */
    NLT_CHECK(nlt_turns_granted(turns, ticket));
    NLT_CHECK_INT(atomic_fetch_add(&running[key], 1), 0);
    n = atomic_fetch_add(&running_all, 1) + 1;
    NLT_CHECK(n <= TOTAL);
    if (n > atomic_load(&most)) {
        atomic_store(&most, n);
    }
    sched_yield();
    atomic_fetch_sub(&running_all, 1);
    atomic_fetch_sub(&running[key], 1);
    wake = (nlt_turns_wake_t){{0}};
    nlt_turns_end(turns, self, ticket, &wake);
    wake_up(&wake);
}

static void *
work(void *arg)
{
    uint64_t r = (uintptr_t) arg + 1;
    nlt_turns_wake_t wake = {{0}};
    uint32_t self;

    if (nlt_turns_join(turns, &self) != NLT_OK || self >= THREADS) {
        NLT_CHECK(false);
        return NULL;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        one(self, (r >> 33) % KEYS);
        if (i % 64 == 0) {
            NLT_CHECK_INT(nlt_turns_bury(turns, self, &wake), 0);
            wake_up(&wake);
        }
    }
    nlt_turns_leave(turns, self, &wake);
    wake_up(&wake);
    return NULL;
}

static void
everybody_gets_a_turn(void)
{
    pthread_t th[THREADS];
    size_t size = (nlt_turns_bytes() + 63) / 64 * 64;
    void *p = aligned_alloc(64, size);
    nlt_turns_load_t load;

    memset(p, 0, size);
    turns = nlt_turns_init(p);
    for (size_t i = 0; i < THREADS; i++) {
        NLT_CHECK_INT(
            pthread_create(&th[i], NULL, work, (void *) (uintptr_t) i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(th[i], NULL);
    }
    NLT_CHECK(most >= 1);
    nlt_turns_load(turns, &load);
    NLT_CHECK_INT(load.n_waiting, 0);
    NLT_CHECK_INT(load.n_granted, 0);
    NLT_CHECK_INT(load.n_processes, 0);
    free(p);
}

int
main(void)
{
    NLT_TEST(everybody_gets_a_turn);
    return nlt_test_done();
}

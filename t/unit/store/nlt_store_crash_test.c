/*
 * nlt_store_crash_test.c - a store that is stopped at every single point.
 *
 * The scenario writes, flushes, writes again, rotates, merges blocks.  It is
 * run again and again, and the disk fails from call 1, 2, 3 .. on, as if the
 * machine had stopped there; then the store is opened with a good disk, with
 * the head that survived or without it.  Every acknowledged sample must be
 * there, once, and nothing that was never written.
 */
#include "nlt_store_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static void
write_round(fx_t *fx, unsigned round)
{
    for (unsigned k = 0; k < 3; k++) {
        for (unsigned no = 0; no < 6; no++) {
            int64_t t = fx->now_ms - 45000 + 15000 * (int64_t) k;

            (void) fx_write(fx, no + round % 3, t, round * 10 + k);
        }
    }
    /* Late, out of order, and one that is there already. */
    (void) fx_write(fx, 1, fx->now_ms - 3 * FX_HOUR, round);
    (void) fx_write(fx, 2, fx->now_ms - 40000, round + 0.5);
    (void) fx_write(fx, 2, fx->now_ms - 45000, round * 10);
    /* Of a day that is over, some of it again and again: to be merged. */
    for (unsigned no = 0; no < 4; no++) {
        int64_t t = FX_NOW - 72 * FX_HOUR + 1000 * (int64_t) (no + round);

        (void) fx_write(fx, 3 + no % 2, t, (double) (t % 997000) * 0.25);
    }
}

/* What a day looks like; goes on whatever fails. */
static void
scenario(fx_t *fx)
{
    for (unsigned round = 0; round < 3; round++) {
        write_round(fx, round);
        if (round != 1) {
            nlt_helper_flush_soon(fx->helper);
        }
        fx_step(fx, 4);
        fx->now_ms += 60000;
        fx->mono_ns += 70 * INT64_C(1000000000);
    }
    /* It is quiet now: two blocks of that day become one. */
    fx_step(fx, 4);
    write_round(fx, 3);
}

/* The scenario has in it what shall be interrupted. */
static void
scenario_flushes_and_merges(void)
{
    const nlt_head_counters_t *c;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    scenario(&fx);
    c = &nlt_store_ctl(fx.store)->counters;
    NLT_CHECK(atomic_load(&c->flushes) >= 2);
    NLT_CHECK(atomic_load(&c->compactions) >= 1);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
}

static bool
recovers(fx_t *fx, bool head_lost)
{
    bool good;

    fx_close(fx);
    fx->fault = (fx_fault_t){.calls = 0};
    if (head_lost) {
        fx_remove_head(fx);
    }
    good = fx_start(fx) && fx_check(fx, INT64_MIN, INT64_MAX);
    if (!good) {
        return false;
    }
    /* And goes on living. */
    fx->now_ms += 60000;
    write_round(fx, 4);
    return fx_check(fx, INT64_MIN, INT64_MAX) && fx_flush(fx)
           && fx_check(fx, INT64_MIN, INT64_MAX);
}

/* Runs the scenario with call n failing; false when n was never reached. */
static bool
run_once(long n, bool transient, bool head_lost, bool *good)
{
    fx_t fx;
    bool hit;

    fx_init(&fx);
    fx.fault = (fx_fault_t){.fail_at = n, .transient = transient};
    if (fx_start(&fx) || transient) {
        if (fx.store != NULL && fx.helper != NULL) {
            scenario(&fx);
        }
    }
    hit = fx.fault.hit;
    *good = recovers(&fx, head_lost);
    fx_deinit(&fx);
    return hit;
}

static void
every_call(bool transient, bool head_lost)
{
    /* Every third call, from a random one on; NLT_TEST_FULL: every call. */
    long step = getenv("NLT_TEST_FULL") != NULL ? 1 : 3;
    long n = 1 + (long) nlt_test_below((uint64_t) step);
    unsigned bad = 0;
    bool good = true;

    for (; run_once(n, transient, head_lost, &good) && bad < 3; n += step) {
        if (!good) {
            printf("# failed at call %ld\n", n);
            bad++;
        }
    }
    printf("# up to call %ld\n", n - step);
    NLT_CHECK(n > 100);
    NLT_CHECK(good);
    NLT_CHECK_INT(bad, 0);
}

static void
crash_at_any_call_loses_nothing_with_the_head(void)
{
    every_call(false, false);
}

static void
crash_at_any_call_loses_nothing_without_the_head(void)
{
    every_call(false, true);
}

static void
hiccup_at_any_call_loses_nothing(void)
{
    every_call(true, false);
}

static void
hiccup_and_lost_head_lose_nothing(void)
{
    every_call(true, true);
}

/* ---- kill -9 ---- */

typedef struct {
    _Atomic unsigned acked; /* samples 0 .. acked - 1 are acknowledged */
} shared_t;

/* Sample i of the child. */
static void
nth(const fx_t *fx, unsigned i, unsigned *no, int64_t *t, double *v)
{
    *no = i % 7;
    *t = fx->now_ms - FX_HOUR + 1000 * (int64_t) (i / 7);
    *v = i;
}

static void
child(fx_t *fx, shared_t *sh)
{
    if (!fx_start(fx)) {
        _exit(3);
    }
    for (unsigned i = atomic_load(&sh->acked);; i++) {
        unsigned no;
        int64_t t;
        double v;

        nth(fx, i, &no, &t, &v);
        /* An arena that a writer died in takes no new series: the next. */
        while (fx_write(fx, no, t, v) != NLT_OK) {
            fx_step(fx, 1);
        }
        atomic_store(&sh->acked, i + 1);
        if (i % 97 == 0) {
            nlt_helper_flush_soon(fx->helper);
        }
        if (i % 10 == 0) {
            fx_step(fx, 1);
        }
    }
}

static void
kill_9_loses_nothing(void)
{
    fx_t fx;
    shared_t *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned in_model = 0;

    fx_init(&fx);
    for (unsigned round = 0; round < 12; round++) {
        unsigned want =
            atomic_load(&sh->acked) + 20 + (unsigned) nlt_test_below(400);
        int status, polls = 0;
        pid_t pid = fork();

        if (pid == 0) {
            child(&fx, sh);
        }
        /* A deadline of ten seconds, should the child hang. */
        while (atomic_load(&sh->acked) < want && ++polls < 50000
               && waitpid(pid, &status, WNOHANG) == 0) {
            usleep(200);
        }
        NLT_CHECK(polls < 50000);
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, &status, 0);
        /* One more than was acknowledged may have been written. */
        for (; in_model < atomic_load(&sh->acked) + 1; in_model++) {
            unsigned no;
            int64_t t;
            double v;

            nth(&fx, in_model, &no, &t, &v);
            fx_model_add(&fx, no, t, v, true);
        }
        for (unsigned i = 0; i < atomic_load(&sh->acked); i++) {
            unsigned no;
            int64_t t;
            double v;

            nth(&fx, i, &no, &t, &v);
            fx_model_add(&fx, no, t, v, false);
        }
        if (round % 4 == 3) {
            fx_remove_head(&fx);
        }
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
        fx_close(&fx);
    }
    printf("# %u samples over 12 kills\n", atomic_load(&sh->acked));
    fx_deinit(&fx);
    munmap(sh, sizeof(*sh));
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(scenario_flushes_and_merges);
    NLT_TEST(crash_at_any_call_loses_nothing_with_the_head);
    NLT_TEST(crash_at_any_call_loses_nothing_without_the_head);
    NLT_TEST(hiccup_at_any_call_loses_nothing);
    NLT_TEST(hiccup_and_lost_head_lose_nothing);
    NLT_TEST(kill_9_loses_nothing);
    return nlt_test_done();
}

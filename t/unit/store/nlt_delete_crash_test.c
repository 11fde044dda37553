/*
 * nlt_delete_crash_test.c - deletes in a store that is stopped at every point.
 *
 * The scenario writes, deletes in the head and in blocks, writes again what
 * was deleted, has it taken off the disk.  It is run again and again, and the
 * disk fails from call 1, 2, 3 .. on, as if the machine had stopped there, or
 * at that call only.  Then the store is opened with a good disk, with the head
 * that survived or from the logs alone.  A delete that was acknowledged holds;
 * one that was not, holds or does not; nothing else is missing.
 */
#include "nlt_delete_fixture.h"

static void
write_round(fx_t *fx, unsigned round)
{
    for (unsigned k = 0; k < 3; k++) {
        for (unsigned no = 0; no < 4; no++) {
            (void) fx_write(fx, no, fx->now_ms - 45000 + 15000 * (int64_t) k,
                            round * 10 + k);
        }
    }
}

/*
 * What was deleted is written again only when it is known that it was: else
 * nobody could say which of the values must be there.
 */
static void
delete_and_write_again(fx_t *fx, uint64_t mask, int64_t t_min, int64_t t_max,
                       double v)
{
    nlt_err_t err;

    if (fx_delete(fx, mask, t_min, t_max, &err) != NLT_OK) {
        return;
    }
    for (unsigned no = 0; no < 4; no++) {
        if (mask >> no & 1) {
            (void) fx_write(fx, no, t_min, v);
        }
    }
}

static void
scenario(fx_t *fx)
{
    int64_t t0 = fx->now_ms - 45000;
    nlt_err_t err;

    write_round(fx, 0);
    nlt_helper_flush_soon(fx->helper);
    fx_step(fx, 3);
    fx->now_ms += 60000;
    write_round(fx, 1);
    /* Of the head and of a block; written again. */
    delete_and_write_again(fx, 3, t0, t0 + 75000, 100);
    /* Of what was just written. */
    delete_and_write_again(fx, 2, t0, t0, 200);
    fx_step(fx, 2);
    fx->now_ms += 60000;
    write_round(fx, 2);
    if (fx->store != NULL && nlt_store_ctl(fx->store) != NULL) {
        (void) !fx_clean(fx, &err);
    }
    (void) !fx_delete(fx, 8, INT64_MIN, INT64_MAX, &err);
    (void) fx_write(fx, 0, fx->now_ms + 1, 5);
}

static bool
recovers(fx_t *fx, bool head_lost)
{
    nlt_err_t err;
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
    /* And goes on: what is under a rule goes, all else stays. */
    fx->now_ms += 60000;
    write_round(fx, 3);
    good = fx_delete(fx, 1, fx->now_ms - 45000, fx->now_ms - 45000, &err)
               == NLT_OK
           && fx_check(fx, INT64_MIN, INT64_MAX)
           && fx_clean(fx, &err) == NLT_OK && fx_rules(fx) == 0
           && fx_check(fx, INT64_MIN, INT64_MAX);
    if (!good) {
        printf("# %s\n", err.text);
        return false;
    }
    /* Once more from the logs alone. */
    fx_close(fx);
    fx_remove_head(fx);
    return fx_start(fx) && fx_check(fx, INT64_MIN, INT64_MAX);
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
    /* Every ninth call, from a random one on; NLT_TEST_FULL: every call. */
    long step = getenv("NLT_TEST_FULL") != NULL ? 1 : 9;
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
    NLT_CHECK(n > 200);
    NLT_CHECK(good);
    NLT_CHECK_INT(bad, 0);
}

static void
crash_at_any_call_keeps_deletes_with_the_head(void)
{
    every_call(false, false);
}

static void
crash_at_any_call_keeps_deletes_without_the_head(void)
{
    every_call(false, true);
}

static void
hiccup_at_any_call_keeps_deletes(void)
{
    every_call(true, false);
}

static void
hiccup_and_lost_head_keep_deletes(void)
{
    every_call(true, true);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(crash_at_any_call_keeps_deletes_with_the_head);
    NLT_TEST(crash_at_any_call_keeps_deletes_without_the_head);
    NLT_TEST(hiccup_at_any_call_keeps_deletes);
    NLT_TEST(hiccup_and_lost_head_keep_deletes);
    return nlt_test_done();
}

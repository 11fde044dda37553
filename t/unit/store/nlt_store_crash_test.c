/*
 * nlt_store_crash_test.c - a process that writes and flushes is killed, again
 * and again, at any instant; the next one has everything that was
 * acknowledged.  (Failing disks and power losses: t/fault/.)
 */
#include "nlt_store_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

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
    NLT_TEST(kill_9_loses_nothing);
    return nlt_test_done();
}

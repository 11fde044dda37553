/*
 * nlt_helper_test.c - the helper's life: the lease, its successor, and
 * SIGKILL at every disk call of everything that it does.
 */
#include "nlt_block_fixture.h"
#include "nlt_delete_fixture.h"
#include "nlt_store_fixture.h"

#include <sys/mman.h>
#include <sys/wait.h>

/* ---- the lease ---- */

static void
a_second_helper_gets_again(void)
{
    nlt_helper_t *second = NULL;
    nlt_err_t err;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(fx_write(&fx, 1, FX_NOW, 1), NLT_OK);
    for (int i = 0; i < 3; i++) {
        NLT_CHECK_INT(nlt_helper_open(&fx.env, &fx.conf, &second, &err),
                      NLT_AGAIN);
        NLT_CHECK(second == NULL);
        NLT_CHECK(strstr(err.text, fx.path) != NULL);
        fx_step(&fx, 1);
    }
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    nlt_helper_close(fx.helper);
    fx.helper = NULL;
    NLT_CHECK_INT(nlt_helper_open(&fx.env, &fx.conf, &second, &err), NLT_OK);
    fx.helper = second;
    fx_step(&fx, 5);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
}

static void
a_helper_knows_whether_it_is_awaited(void)
{
    nlt_store_conf_t nowhere;
    nlt_err_t err;
    fx_t fx;
    int fd[3];
    pid_t pid;
    int status;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(!nlt_helper_is_awaited(fx.helper));
    for (size_t i = 0; i < 2; i++) {
        NLT_CHECK_INT(nlt_helper_announce(&fx.env, &fx.conf, &fd[i], &err),
                      NLT_OK);
        NLT_CHECK(nlt_helper_is_awaited(fx.helper));
    }
    nlt_helper_withdraw(&fx.env, fd[0]);
    NLT_CHECK(nlt_helper_is_awaited(fx.helper));
    nlt_helper_withdraw(&fx.env, fd[1]);
    NLT_CHECK(!nlt_helper_is_awaited(fx.helper));
    nlt_helper_withdraw(&fx.env, -1);
    /* One that dies waits no more. */
    pid = fork();
    if (pid == 0) {
        if (nlt_helper_announce(&fx.env, &fx.conf, &fd[2], &err) == NLT_OK) {
            _exit(nlt_helper_is_awaited(fx.helper) ? 7 : 1);
        }
        _exit(2);
    }
    NLT_CHECK(waitpid(pid, &status, 0) == pid);
    NLT_CHECK_INT(WEXITSTATUS(status), 7);
    NLT_CHECK(!nlt_helper_is_awaited(fx.helper));
    nowhere = fx.conf;
    nowhere.path = "/nowhere";
    NLT_CHECK_INT(nlt_helper_announce(&fx.env, &nowhere, &fd[2], &err),
                  NLT_EIO);
    fx_deinit(&fx);
}

/* Logs that are being read are read to the end, unless that fails. */
static void
a_head_that_is_being_made_is_not_handed_over(void)
{
    unsigned recovering = 0;
    int64_t t = FX_NOW - FX_HOUR;
    nlt_err_t err;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(!nlt_helper_is_recovering(fx.helper));
    for (unsigned k = 0; k < 3; k++, t += 1000) {
        NLT_CHECK_INT(fx_write(&fx, 1, t, k), NLT_OK);
    }
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK_INT(nlt_helper_open(&fx.env, &fx.conf, &fx.helper, &err),
                  NLT_OK);
    for (int i = 0; i < 20; i++) {
        (void) nlt_helper_step(fx.helper, NULL);
        if (nlt_helper_is_recovering(fx.helper) && recovering++ == 0) {
            /* Its next step fails: another configuration may do better. */
            fx.fault.transient = true;
            fx.fault.fail_at = fx.fault.calls + 1;
            (void) nlt_helper_step(fx.helper, NULL);
            NLT_CHECK(fx.fault.hit);
            NLT_CHECK(!nlt_helper_is_recovering(fx.helper));
        }
    }
    NLT_CHECK(recovering > 0);
    NLT_CHECK(!nlt_helper_is_recovering(fx.helper));
    NLT_CHECK_INT(
        nlt_store_open(&fx.env, &fx.conf, NLT_ROLE_WORKER, &fx.store, &err),
        NLT_OK);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
}

/* ---- SIGKILL at every disk call ---- */

#define LEDGER_MAX 4096

/* What the child wrote and deleted, in memory that both have. */
typedef struct {
    struct {
        unsigned no;
        int64_t t_ms;
        double v;
        uint64_t deletes; /* these series up to t_ms; 0: it is a sample */
        _Atomic bool acked;
    } e[LEDGER_MAX];
    _Atomic size_t n;
    _Atomic int64_t now_ms;
    _Atomic unsigned step;
} ledger_t;

static ledger_t *ledger;

/* A new line, not acknowledged; its index. */
static size_t
enter(unsigned no, int64_t t_ms, double v)
{
    size_t i = atomic_load(&ledger->n);

    if (i == LEDGER_MAX) {
        _exit(4);
    }
    ledger->e[i].no = no;
    ledger->e[i].t_ms = t_ms;
    ledger->e[i].v = v;
    ledger->e[i].deletes = 0;
    ledger->e[i].acked = false;
    atomic_store(&ledger->n, i + 1);
    return i;
}

static void
put(fx_t *fx, unsigned no, int64_t t_ms, double v)
{
    size_t i = enter(no, t_ms, v);

    ledger->e[i].acked = fx_write(fx, no, t_ms, v) == NLT_OK;
}

static void
forward(fx_t *fx, int64_t ms)
{
    fx->now_ms += ms;
    fx->mono_ns += ms > FX_HOUR ? 70 * INT64_C(1000000000) : ms * 1000000;
    atomic_store(&ledger->now_ms, fx->now_ms);
}

static void
step_write(fx_t *fx)
{
    for (unsigned k = 0; k < 3; k++) {
        for (unsigned no = 0; no < 6; no++) {
            put(fx, no, fx->now_ms, (double) (fx->now_ms % 1000000) + no);
        }
        forward(fx, 15000);
    }
}

static void
step_late(fx_t *fx)
{
    for (unsigned no = 0; no < 9; no += 2) {
        put(fx, no, fx->now_ms - 5 * FX_HOUR + no, no);
        put(fx, no, fx->now_ms - 40000 + no, no + 0.5);
    }
}

static void
step_flush(fx_t *fx)
{
    (void) fx_flush(fx);
}

/* A counter of the head. */
static uint64_t
counter(const fx_t *fx, size_t off)
{
    const nlt_head_counters_t *c = &nlt_store_ctl(fx->store)->counters;

    return atomic_load(
        (const _Atomic uint64_t *) (const void *) ((const char *) c + off));
}

#define COUNTER(fx, name) counter(fx, offsetof(nlt_head_counters_t, name))

/* Steps until one is more than it was. */
static void
until_more(fx_t *fx, size_t off, uint64_t was)
{
    for (int i = 0; i < 100 && counter(fx, off) <= was; i++) {
        fx_step(fx, 1);
    }
    if (counter(fx, off) <= was) {
        _exit(6);
    }
}

/* Blocks that overlap, since some samples came late: several are merged. */
static void
step_compact(fx_t *fx)
{
    uint64_t was = COUNTER(fx, compactions);

    for (int i = 0; i < 8 && COUNTER(fx, compactions) <= was; i++) {
        forward(fx, 1000);
        step_late(fx);
        step_flush(fx);
    }
    until_more(fx, offsetof(nlt_head_counters_t, compactions), was);
}

/* Some series go, in the head and in blocks, and then from the disk. */
static void
step_delete(fx_t *fx)
{
    size_t i = enter(0, fx->now_ms, 0);
    nlt_err_t err;

    ledger->e[i].deletes = 1u << 1 | 1u << 4;
    ledger->e[i].acked =
        fx_delete(fx, ledger->e[i].deletes, INT64_MIN, fx->now_ms, &err)
        == NLT_OK;
    if (!ledger->e[i].acked || fx_clean(fx, &err) != NLT_OK) {
        _exit(7);
    }
    forward(fx, 1000);
}

static void
step_handover(fx_t *fx)
{
    nlt_err_t err;

    nlt_helper_close(fx->helper);
    if (nlt_helper_open(&fx->env, &fx->conf, &fx->helper, &err) != NLT_OK) {
        _exit(5);
    }
    fx_step(fx, 5);
}

/* The head is given up and made anew from the logs. */
static void
step_replay(fx_t *fx)
{
    nlt_store_status_t status = {.ready = false};

    nlt_head_ctl_t *ctl = nlt_store_ctl(fx->store);

    if (ctl != NULL) {
        atomic_store(&ctl->state, NLT_HEAD_DEAD);
    }
    for (int i = 0; i < 200 && !status.ready; i++) {
        fx_step(fx, 1);
        nlt_store_status(fx->store, &status);
    }
}

/* A block that somebody else wrote: it is promised once it is there. */
static void
step_import(fx_t *fx)
{
    bx_spec_t x = {.no = 1,
                   .first = 20,
                   .n = 2,
                   .n_samples = 10,
                   .t_min_ms = fx->now_ms - 48 * FX_HOUR,
                   .step_ms = 15000,
                   .base = 1000};
    char path[80];
    int fd;

    (void) snprintf(path, sizeof(path), "%s/import", fx->path);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    (void) bx_write(fd, &x);
    (void) close(fd);
    for (unsigned s = x.first; s < x.first + x.n; s++) {
        for (unsigned k = 0; k < x.n_samples; k++) {
            size_t i =
                enter(s, x.t_min_ms + k * x.step_ms, bx_value(&x, s, k));

            ledger->e[i].acked = true;
        }
    }
    until_more(fx, offsetof(nlt_head_counters_t, blocks_imported), 0);
}

static void
step_retention(fx_t *fx)
{
    uint64_t was = COUNTER(fx, blocks_removed);

    forward(fx, 16 * 24 * FX_HOUR);
    put(fx, 1, fx->now_ms, 1);
    until_more(fx, offsetof(nlt_head_counters_t, blocks_removed), was);
}

/* All that a helper does, one after the other; add what it learns. */
static const struct {
    const char *name;
    void (*run)(fx_t *fx);
} steps[] = {
    {"write", step_write},         {"flush", step_flush},
    {"late", step_late},           {"write", step_write},
    {"handover", step_handover},   {"flush", step_flush},
    {"compact", step_compact},     {"write", step_write},
    {"replay", step_replay},       {"write", step_write},
    {"delete", step_delete},       {"write", step_write},
    {"flush", step_flush},         {"import", step_import},
    {"replay", step_replay},       {"compact", step_compact},
    {"retention", step_retention}, {"write", step_write},
};

/* Lives until call n; exits with 0 if there are not so many. */
static void
child(fx_t *fx, long n)
{
    fx->fault = (fx_fault_t){.fail_at = n, .kills = true};
    if (!fx_start(fx)) {
        _exit(3);
    }
    for (unsigned i = 0; i < NLT_COUNT(steps); i++) {
        atomic_store(&ledger->step, i);
        steps[i].run(fx);
    }
    _exit(0);
}

static bool
as_in_the_ledger(fx_t *fx)
{
    /* What retention may have removed is not looked at. */
    return fx_check(fx, fx->now_ms - fx->conf.retention_ms, INT64_MAX);
}

/* Kills at call n; *good: nothing is lost.  False: n is beyond the end. */
static bool
kill_at(long n, bool head_lost, bool *good)
{
    fx_t fx;
    int status = -1;
    pid_t pid;

    fx_init(&fx);
    atomic_store(&ledger->n, 0);
    atomic_store(&ledger->step, 0);
    atomic_store(&ledger->now_ms, fx.now_ms);
    pid = fork();
    if (pid == 0) {
        child(&fx, n);
    }
    NLT_CHECK(waitpid(pid, &status, 0) == pid);
    for (size_t i = 0; i < atomic_load(&ledger->n); i++) {
        if (ledger->e[i].deletes != 0) {
            fx_model_delete(&fx, ledger->e[i].deletes, INT64_MIN,
                            ledger->e[i].t_ms, !ledger->e[i].acked);
        } else {
            fx_model_add(&fx, ledger->e[i].no, ledger->e[i].t_ms,
                         ledger->e[i].v, !ledger->e[i].acked);
        }
    }
    fx.now_ms = atomic_load(&ledger->now_ms);
    if (head_lost) {
        fx_remove_head(&fx);
    }
    *good =
        (status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        && fx_start(&fx);
    if (*good) {
        fx_step(&fx, 50); /* what is in import/ has its time */
        *good = as_in_the_ledger(&fx);
    }
    if (*good) {
        NLT_CHECK_INT(fx_write(&fx, 3, fx.now_ms + 1000, 3), NLT_OK);
        *good = fx_flush(&fx) && as_in_the_ledger(&fx);
    }
    fx_deinit(&fx);
    return status != 0;
}

static void
killed_at_any_call_it_loses_nothing(void)
{
    /* Every fifth call, from a random one on; NLT_TEST_FULL: every call, with
     * and without the head. */
    bool full = getenv("NLT_TEST_FULL") != NULL, more = true;
    long stride = full ? 1 : 5;
    long n = 1 + (long) nlt_test_below((uint64_t) stride);
    unsigned bad = 0, in_step[NLT_COUNT(steps)] = {0};

    ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NLT_CHECK(ledger != MAP_FAILED);
    for (; more && bad < 3; n += stride) {
        for (int lost = 0; more && lost <= full; lost++) {
            bool head_lost = full ? lost : n / stride % 2 == 1, good;

            more = kill_at(n, head_lost, &good);
            in_step[atomic_load(&ledger->step)]++;
            if (!good) {
                printf("# killed at call %ld, in \"%s\"%s\n", n,
                       steps[atomic_load(&ledger->step)].name,
                       head_lost ? ", head lost" : "");
                bad++;
            }
        }
    }
    printf("# up to call %ld\n", n - stride);
    NLT_CHECK_INT(bad, 0);
    for (size_t i = 0; i < NLT_COUNT(steps); i++) {
        NLT_CHECK(in_step[i] > 0);
    }
    munmap(ledger, sizeof(*ledger));
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(a_second_helper_gets_again);
    NLT_TEST(a_helper_knows_whether_it_is_awaited);
    NLT_TEST(a_head_that_is_being_made_is_not_handed_over);
    NLT_TEST(killed_at_any_call_it_loses_nothing);
    return nlt_test_done();
}

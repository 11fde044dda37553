/*
 * nlt_helper_quit_test.c - long work that is told to end, at many moments.
 *
 * What counts is how much the helper still works after it was told, in
 * processor time of its thread, so that a busy machine does not matter; what
 * the disk needs for a sync comes on top.
 */
#include "nlt_store_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#define N_SERIES  120000
#define N_SAMPLES 4
#define BATCH     4000

/*
 * A second is what it may take at the most; leave most of it to the disk.
 * With ASan everything takes about four times as long, and nobody waits.
 */
#ifdef __SANITIZE_ADDRESS__
#define QUIT_MS 1000
#else
#define QUIT_MS 250
#endif

typedef struct {
    nlt_helper_t *helper;
    int cancel;
    _Atomic int64_t used_ns; /* of its processor time, at its end */
} stepper_t;

static int64_t
cpu_ns(clockid_t clock)
{
    struct timespec ts = {0, 0};

    (void) clock_gettime(clock, &ts);
    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void *
stepper(void *ctx)
{
    stepper_t *s = ctx;

    while (!__atomic_load_n(&s->cancel, __ATOMIC_ACQUIRE)) {
        (void) nlt_helper_step(s->helper, &s->cancel);
    }
    s->used_ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

/* Steps for after_ms of processor time; how long it goes on after cancel. */
static int64_t
quit_ms(fx_t *fx, int64_t after_ms)
{
    stepper_t s = {.helper = fx->helper};
    pthread_t thread;
    clockid_t clock;
    int64_t told;

    NLT_CHECK_INT(pthread_create(&thread, NULL, stepper, &s), 0);
    NLT_CHECK_INT(pthread_getcpuclockid(thread, &clock), 0);
    while ((told = cpu_ns(clock)) < after_ms * 1000000) {
        sched_yield();
    }
    __atomic_store_n(&s.cancel, 1, __ATOMIC_RELEASE);
    NLT_CHECK_INT(pthread_join(thread, NULL), 0);
    return (s.used_ns - told) / 1000000;
}

static int64_t
real_mono(void *ctx)
{
    (void) ctx;
    return nlt_mono_ns(&nlt_env_posix);
}

static void
open_helper(fx_t *fx)
{
    nlt_err_t err;

    NLT_CHECK_INT(nlt_helper_open(&fx->env, &fx->conf, &fx->helper, &err),
                  NLT_OK);
}

/* Series with long labels, N_SAMPLES of each. */
static void
fill(fx_t *fx, unsigned n_series, int64_t t_ms)
{
    static nlt_label_t labels[BATCH][3];
    static nlt_ingest_own_t s[BATCH];
    static char text[BATCH][32];
    nlt_err_t err;

    for (unsigned k = 0; k < N_SAMPLES; k++) {
        for (unsigned i = 0; i < n_series; i++) {
            unsigned b = i % BATCH;
            int n = snprintf(text[b], sizeof(text[b]), "instance-%u", i);

            labels[b][0] = (nlt_label_t){NLT_METRIC_NAME, NLT_STR("m")};
            labels[b][1] =
                (nlt_label_t){NLT_STR("instance"), {(size_t) n, text[b]}};
            labels[b][2] = (nlt_label_t){NLT_STR("job"), NLT_STR("quit")};
            s[b] =
                (nlt_ingest_own_t){{labels[b], 3}, t_ms + 15000 * k, i * 1.25};
            if (b == BATCH - 1) {
                NLT_CHECK_INT(nlt_ingest_own(nlt_store_ingest(fx->store), 0, s,
                                             BATCH, &err),
                              NLT_OK);
            }
        }
    }
}

static uint64_t
flushes(const fx_t *fx)
{
    return nlt_store_ctl(fx->store)->counters.flushes;
}

static uint64_t
compactions(const fx_t *fx)
{
    return nlt_store_ctl(fx->store)->counters.compactions;
}

static bool
add_size(void *ctx, const char *name)
{
    struct {
        int fd;
        int64_t bytes;
    } *sum = ctx;
    struct stat st;

    if (fstatat(sum->fd, name, &st, 0) == 0) {
        sum->bytes += st.st_size;
    }
    return true;
}

static int64_t
log_bytes(const fx_t *fx)
{
    char path[80];
    struct {
        int fd;
        int64_t bytes;
    } sum = {.bytes = 0};

    (void) snprintf(path, sizeof(path), "%s/wal", fx->path);
    sum.fd = open(path, O_RDONLY | O_DIRECTORY);
    NLT_CHECK_INT(nlt_io_posix.list(NULL, sum.fd, add_size, &sum), 0);
    (void) close(sum.fd);
    return sum.bytes;
}

/* Tells the work to end later and later, until it was done before that. */
static void
work_is_ended_soon_wherever_it_is(void)
{
    int64_t after, most = 0, ms, bytes, most_bytes = 0;
    unsigned n_replay = 0, n_flush = 0;
    nlt_store_status_t status = {.ready = false};
    fx_t fx;

    fx_init(&fx);
    fx.env.mono_ns = real_mono;
    fx.conf.memory_bytes = UINT64_C(256) << 20;
    NLT_CHECK(fx_start(&fx));
    fill(&fx, N_SERIES, FX_NOW - 60000);

    fx_close(&fx);
    fx_remove_head(&fx);
    bytes = log_bytes(&fx);
    for (after = 2; !status.ready && after < 100000; after += 2 + after / 3) {
        nlt_err_t err;

        open_helper(&fx);
        ms = quit_ms(&fx, after);
        most = nlt_max_i64(most, ms);
        NLT_CHECK_INT(nlt_store_open(&fx.env, &fx.conf, NLT_ROLE_WORKER,
                                     &fx.store, &err),
                      NLT_OK);
        nlt_store_status(fx.store, &status);
        n_replay++;
        most_bytes = nlt_max_i64(most_bytes, log_bytes(&fx));
        if (!status.ready) {
            fx_close(&fx);
        }
    }
    NLT_CHECK(status.ready);
    NLT_CHECK(nlt_store_ctl(fx.store)->counters.replayed_samples
              >= N_SERIES * N_SAMPLES);
    printf("# replay: %u times, at most %lld ms; logs of %lld bytes, at most "
           "%lld\n",
           n_replay, (long long) most, (long long) bytes,
           (long long) most_bytes);
    /* Starts that do not live long enough do not fill the disk. */
    NLT_CHECK(most_bytes <= 2 * bytes);
    NLT_CHECK(n_replay > 5);
    NLT_CHECK(most < QUIT_MS);

    for (after = 2, most = 0; flushes(&fx) == 0 && after < 100000;
         after += 2 + after / 3) {
        nlt_helper_close(fx.helper);
        open_helper(&fx);
        nlt_helper_flush_soon(fx.helper);
        ms = quit_ms(&fx, after);
        most = nlt_max_i64(most, ms);
        n_flush++;
    }
    printf("# flush: %u times, at most %lld ms\n", n_flush, (long long) most);
    NLT_CHECK_INT(flushes(&fx), 1);
    NLT_CHECK(n_flush > 5);
    NLT_CHECK(most < QUIT_MS);
    fx_deinit(&fx);
}

static void
a_merge_is_ended_soon_wherever_it_is(void)
{
    int64_t after, most = 0, ms;
    unsigned n = 0;
    fx_t fx;

    fx_init(&fx);
    fx.conf.memory_bytes = UINT64_C(128) << 20;
    NLT_CHECK(fx_start(&fx));
    /* Late samples of the same two hours: blocks that are merged. */
    for (unsigned i = 0; i < 4; i++) {
        fill(&fx, N_SERIES / 3, FX_NOW - 5 * FX_HOUR + 60000 * i);
        nlt_helper_flush_soon(fx.helper);
        for (int k = 0; k < 50 && flushes(&fx) <= i; k++) {
            (void) nlt_helper_step(fx.helper, NULL);
            nlt_store_tick(fx.store);
        }
        NLT_CHECK_INT(flushes(&fx), i + 1);
    }
    NLT_CHECK_INT(compactions(&fx), 0);
    fx.env.mono_ns = real_mono;
    for (after = 2; compactions(&fx) == 0 && after < 100000;
         after += 2 + after / 3) {
        nlt_helper_close(fx.helper);
        open_helper(&fx);
        ms = quit_ms(&fx, after);
        most = nlt_max_i64(most, ms);
        n++;
    }
    printf("# merge: %u times, at most %lld ms\n", n, (long long) most);
    NLT_CHECK_INT(compactions(&fx), 1);
    NLT_CHECK(n > 5);
    NLT_CHECK(most < QUIT_MS);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(work_is_ended_soon_wherever_it_is);
    NLT_TEST(a_merge_is_ended_soon_wherever_it_is);
    return nlt_test_done();
}

/*
 * nlt_ingest_v2_threads_test.c - an arena is sealed in the middle of a batch
 * of remote_write 2.0: the rest goes on in the next one, and what was found
 * before stays as it was.
 */
#include <pthread.h>

#include "nlt_test.h"

#include "nlt_ingest_fixture.h"
#include "nlt_rw2_build.h"

#define SERIES   1000
#define PAIRS    7
#define ATTEMPTS 400

typedef struct {
    bed_t t;
    nlt_head_t *head; /* of the sealer: a handle is for one thread */
    _Atomic bool go;
    int64_t wait_ns; /* before the seal */
    bool ok;
} race_t;

static int64_t
clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void *
sealer(void *arg)
{
    race_t *r = arg;
    uint64_t sealed;
    nlt_err_t err;

    while (!atomic_load(&r->go)) {
    }
    for (int64_t until = clock_ns() + r->wait_ns; clock_ns() < until;) {
    }
    r->ok = nlt_head_rotate(r->head, &sealed, &err) == NLT_OK;
    return NULL;
}

/* Each series twice at one time with other values, and some in the future:
 * looked at again, the second would be in conflict with the first. */
static void
fill(rw2b_t *b, int64_t t_ms)
{
    char text[16];

    rw2b_reset(b);
    for (unsigned i = 0; i < SERIES; i++) {
        snprintf(text, sizeof(text), "s%u", i);
        rw2b_label(b, "__name__", text);
        for (unsigned k = 0; k < PAIRS; k++) {
            rw2b_sample(b, t_ms + k, i);
            rw2b_sample(b, t_ms + k, i + 1);
        }
        if (i % 100 == 0) {
            rw2b_sample(b, NOW + 600001, 1);
        }
        rw2b_end(b);
    }
}

/* Did the seal fall into the append? */
static bool
one_race(void)
{
    race_t r = {.ok = false};
    uint64_t n[NLT_HEAD_ARENAS] = {0}, before;
    nlt_head_view_t view;
    int64_t start;
    pthread_t thread;
    nlt_err_t err;
    rw2b_t b;

    bed_open(&r.t, NLT_HEAD_MEMORY_MIN);
    r.t.conf.version = 2;
    NLT_CHECK_INT(nlt_wal_create(&r.t.env, r.t.f.conf.dir_fd,
                                 r.t.f.conf.store_id, 2, NOW, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_head_attach(&r.t.f.conf, &r.head, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_prepare(r.head, &err), NLT_OK);
    rw2b_init(&b);
    fill(&b, NOW - 100);
    NLT_CHECK_INT(send_body(&r.t, rw2b_snappy(&b)), 400);
    fill(&b, NOW - 50);
    nlt_str_t body = rw2b_snappy(&b);

    start = clock_ns();
    NLT_CHECK_INT(send_body(&r.t, body), 400);
    r.wait_ns = (int64_t) nlt_test_below((uint64_t) (clock_ns() - start));
    before = nlt_arena_header(nlt_head_active(r.t.head))->n_samples;
    fill(&b, NOW);
    body = rw2b_snappy(&b);
    NLT_CHECK_INT(pthread_create(&thread, NULL, sealer, &r), 0);
    atomic_store(&r.go, true);
    NLT_CHECK_INT(send_body(&r.t, body), 400);
    NLT_CHECK_INT(pthread_join(thread, NULL), 0);
    NLT_CHECK(r.ok);

    NLT_CHECK_INT(r.t.res.written_samples, 2 * PAIRS * SERIES);
    unsigned lines = 1;
    for (size_t i = 0; i < r.t.res.text.len; i++) {
        lines += r.t.res.text.data[i] == '\n';
    }
    NLT_CHECK_INT(lines, SERIES / 100);
    NLT_CHECK_INT(
        atomic_load(&nlt_head_ctl(r.t.head)->counters.samples_too_new),
        3 * SERIES / 100);
    rows_t rows = rows_of_head(r.t.head);
    NLT_CHECK_INT(rows.n, 3 * PAIRS * SERIES);
    rows_free(&rows);
    check_logged(&r.t, 2);

    /* Does the first arena have some of it, and the second the rest? */
    nlt_head_pin(r.t.head, &view);
    for (size_t k = 0; k < view.n; k++) {
        n[nlt_arena_no(view.arena[k]) - 1] =
            nlt_arena_header(view.arena[k])->n_samples;
    }
    nlt_head_unpin(r.t.head, &view);
    nlt_head_detach(r.head);
    rw2b_free(&b);
    bed_close(&r.t);
    return n[0] > before && n[1] > 0;
}

static void
a_seal_in_the_middle_of_a_batch_changes_nothing(void)
{
    unsigned hits = 0;

    (void) nlt_test_seed();
    for (unsigned i = 0; i < ATTEMPTS && hits < 2; i++) {
        hits += one_race();
    }
    NLT_CHECK(hits > 0);
    printf("# %u seals in the middle\n", hits);
}

int
main(void)
{
    NLT_TEST(a_seal_in_the_middle_of_a_batch_changes_nothing);
    return nlt_test_done();
}

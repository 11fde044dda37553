/*
 * nlt_head_fork_test.c - writers that are killed at any instant.
 *
 * Several processes append to the same series of one head and register new
 * ones; a reader reads all the while; the parent, as helper, kills writers
 * with SIGKILL at random instants, starts them anew, and rotates when it must
 * (registration died with its holder, or the arena is half full).  A writer
 * notes in a ledger, which no death can touch, what it was told is in.
 *
 * Then every noted sample must be there, once, with its value; nothing may be
 * there that nobody wrote; no arena has two series of one label set; nothing
 * was a conflict.  NLT_TEST_KILLS sets how many deaths (default 120).
 */
#include "nlt_test.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../unit/store/nlt_head_fixture.h"

#define WRITERS 4
#define SERIES  700
#define K_MAX   6000 /* samples of a series by one writer */
#define BATCH   48
#define T0      INT64_C(1700000000000)

typedef struct {
    _Atomic int stop;
    _Atomic uint64_t progress[WRITERS];
    _Atomic uint64_t reader_rounds;
    _Atomic uint16_t acked[WRITERS][SERIES];
} ledger_t;

static ledger_t *ledger;
static fixture_t fx;
/* What the parent has seen in arenas: a bit per sample. */
static uint64_t seen[SERIES][WRITERS][(K_MAX + 63) / 64];

/* Sample k of writer w: unique times, interleaved, over several borders. */
static int64_t
time_of(unsigned w, unsigned k)
{
    return T0 + (int64_t) k * 70000 + w;
}

static double
value_of(unsigned i, int64_t t_ms)
{
    uint64_t x = ((uint64_t) i << 40) ^ (uint64_t) (t_ms - T0);

    /* Every third series has all bits random, others small numbers. */
    x = nlt_mix64(x);
    return i % 3 ? (double) (x % 1000) : nlt_double_of(x);
}

typedef struct {
    char text[16];
    nlt_label_t v[2];
} room_t;

static nlt_labels_t
labels_of(unsigned i, room_t *r)
{
    (void) snprintf(r->text, sizeof(r->text), "%u", i);
    r->v[0] = (nlt_label_t){NLT_STR("__name__"), NLT_STR("m")};
    r->v[1] = (nlt_label_t){NLT_STR("i"), {strlen(r->text), r->text}};
    return (nlt_labels_t){r->v, 2};
}

static unsigned
index_of(const nlt_arena_t *a, uint32_t series)
{
    nlt_str_t s = nlt_arena_label(a, series, NLT_STR("i"));
    unsigned i = 0;

    for (size_t k = 0; k < s.len; k++) {
        i = i * 10 + (unsigned) (s.data[k] - '0');
    }
    return s.len && s.len < 5 && i < SERIES ? i : SERIES;
}

/* ---- writer ---- */

static uint32_t
resolve(nlt_head_t *h, nlt_arena_t *a, unsigned i)
{
    room_t room;
    nlt_labels_t l = labels_of(i, &room);
    nlt_hash128_t key = fixture_key(nlt_head_ctl(h), 0, l);
    uint32_t series = nlt_arena_find(a, key), old;
    nlt_arena_t *from;

    if (series) {
        return series;
    }
    from = nlt_head_previous(h);
    old = from ? nlt_arena_find(from, key) : 0;
    if (old) {
        (void) !nlt_arena_carry(a, from, old, key, &series);
    } else {
        (void) !nlt_arena_register(a, 0, l, key, key, &series);
    }
    return series;
}

static void
write_batch(nlt_head_t *h, unsigned w)
{
    nlt_head_sample_t s[BATCH];
    unsigned index[BATCH];
    unsigned first = (unsigned) nlt_test_below(SERIES);
    nlt_arena_t *a = nlt_head_active(h);
    size_t n = 0, done = 0;

    for (unsigned j = 0; a && j < BATCH; j++) {
        unsigned i = (first + j) % SERIES;
        unsigned k = atomic_load(&ledger->acked[w][i]);
        int64_t t = time_of(w, k);
        uint32_t series = k < K_MAX ? resolve(h, a, i) : 0;

        if (series) {
            index[n] = i;
            s[n++] =
                (nlt_head_sample_t){series, 0, t, nlt_bits_of(value_of(i, t))};
        }
    }
    if (n > 0) {
        (void) !nlt_arena_append(a, s, n, &done);
    } else {
        (void) sched_yield(); /* wait for a rotation */
    }
    for (size_t j = 0; j < done; j++) {
        if (s[j].result == NLT_APPEND_PENDING
            || s[j].result == NLT_APPEND_CONFLICT) {
            _exit(3);
        }
        (void) atomic_fetch_add(&ledger->acked[w][index[j]], 1);
    }
    (void) atomic_fetch_add(&ledger->progress[w], done + 1);
}

static pid_t
start_writer(unsigned w, uint64_t seed)
{
    pid_t pid = fork();

    if (pid == 0) {
        nlt_head_t *h;

        nlt_test_rand_state = seed;
        if (nlt_head_attach(&fx.conf, &h, NULL) != NLT_OK) {
            _exit(2);
        }
        while (!atomic_load(&ledger->stop)) {
            write_batch(h, w);
        }
        nlt_head_detach(h);
        _exit(0);
    }
    return pid;
}

/* ---- reading ---- */

/* The newest sample, which has a way of its own: whole, and not older than
 * one that was there before. */
static bool
check_newest(const nlt_arena_t *a, uint32_t series, unsigned i,
             nlt_samples_t *out)
{
    int64_t before = out->n ? out->t_ms[out->n - 1] : INT64_MIN;

    for (unsigned tries = 0; tries < 20; tries++) {
        size_t had = before != INT64_MIN;

        out->n = 0;
        if (nlt_arena_read(a, series, NLT_READ_NEWEST, INT64_MIN, INT64_MAX,
                           out, NULL)
                != NLT_OK
            || out->n > 1 || out->n < had) {
            return false;
        }
        if (out->n == 1
            && (out->t_ms[0] < before
                || nlt_bits_of(out->v[0])
                       != nlt_bits_of(value_of(i, out->t_ms[0])))) {
            return false;
        }
        before = out->n ? out->t_ms[0] : before;
    }
    return true;
}

/* Checks one series; with mark, notes what is in it.  False: wrong. */
static bool
check_series(const nlt_arena_t *a, uint32_t series, nlt_samples_t *out,
             bool mark)
{
    unsigned i = index_of(a, series);

    out->n = 0;
    if (i == SERIES
        || nlt_arena_read(a, series, NLT_READ_ALL, INT64_MIN, INT64_MAX, out,
                          NULL)
               != NLT_OK) {
        return false;
    }
    for (size_t k = 0; k < out->n; k++) {
        int64_t t = out->t_ms[k];
        unsigned w = (unsigned) ((t - T0) % 70000);
        unsigned no = (unsigned) ((t - T0) / 70000);

        if ((k > 0 && t <= out->t_ms[k - 1]) || w >= WRITERS || no >= K_MAX
            || nlt_bits_of(out->v[k]) != nlt_bits_of(value_of(i, t))) {
            return false;
        }
        if (mark) {
            seen[i][w][no / 64] |= UINT64_C(1) << (no % 64);
        }
    }
    return check_newest(a, series, i, out);
}

/* Every series of an arena; false: wrong, or a label set twice. */
static bool
check_arena(const nlt_arena_t *a, nlt_pool_t *pool, bool mark)
{
    nlt_samples_t out = {.pool = pool};
    uint8_t there[SERIES] = {0};
    uint32_t *v;
    size_t n;

    if (nlt_arena_select(a, pool, 0, NULL, 0, &v, &n, NULL) != NLT_OK) {
        return false;
    }
    for (size_t k = 0; k < n; k++) {
        unsigned i = index_of(a, v[k]);

        if (i == SERIES || there[i]++ || !check_series(a, v[k], &out, mark)) {
            printf("# arena %llu, series %u (i=%u) is wrong\n",
                   (unsigned long long) nlt_arena_no(a), v[k], i);
            fflush(stdout);
            return false;
        }
    }
    return true;
}

static pid_t
start_reader(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        nlt_head_t *h;
        bool ok = nlt_head_attach(&fx.conf, &h, NULL) == NLT_OK;

        while (ok && !atomic_load(&ledger->stop)) {
            nlt_head_view_t view;
            nlt_pool_t pool;

            nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
            nlt_head_pin(h, &view);
            ok = view.complete;
            for (size_t k = 0; ok && k < view.n; k++) {
                ok = check_arena(view.arena[k], &pool, false);
            }
            nlt_head_unpin(h, &view);
            nlt_pool_deinit(&pool);
            (void) atomic_fetch_add(&ledger->reader_rounds, 1);
        }
        _exit(ok ? 0 : 1);
    }
    return pid;
}

/* ---- parent ---- */

static unsigned rotations, breaks;
static uint64_t sealed_before; /* still there, to carry series from */

/* Rotates when it is time, checks what was sealed, retires what was before. */
static void
maintain(nlt_head_t *h, bool force)
{
    nlt_arena_t *a = nlt_head_active(h);
    const nlt_arena_header_t *hdr = a ? nlt_arena_header(a) : NULL;
    bool broken = hdr && atomic_load(&hdr->registration_broken);
    nlt_err_t err = {.text = ""};
    uint64_t sealed;
    nlt_pool_t pool;

    if (!force && a && !broken
        && atomic_load(&hdr->used_bytes) < hdr->size_bytes / 2) {
        return;
    }
    if (sealed_before) {
        NLT_CHECK_INT(nlt_head_retire(h, sealed_before, &err), NLT_OK);
        sealed_before = 0;
    }
    (void) nlt_head_reap(h);
    if (nlt_head_prepare(h, &err) != NLT_OK) {
        return; /* the reader holds the last one: soon */
    }
    rotations++;
    breaks += broken;
    NLT_CHECK_INT(nlt_head_rotate(h, &sealed, &err), NLT_OK);
    a = nlt_head_pin_arena(h, sealed);
    NLT_CHECK(a != NULL);
    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
    NLT_CHECK(a && check_arena(a, &pool, true));
    nlt_pool_deinit(&pool);
    nlt_head_unpin_arena(h, a);
    sealed_before = sealed;
}

/* Until writer w has gone `by` further; false: it did not. */
static bool
wait_for_progress(nlt_head_t *h, unsigned w, uint64_t by)
{
    uint64_t until = atomic_load(&ledger->progress[w]) + by;
    int64_t deadline = nlt_mono_ns(&nlt_env_posix) + INT64_C(30000000000);

    while (atomic_load(&ledger->progress[w]) < until) {
        maintain(h, false);
        if (nlt_mono_ns(&nlt_env_posix) > deadline) {
            return false;
        }
        (void) sched_yield();
    }
    return true;
}

static void
kill_writers(nlt_head_t *h, unsigned kills)
{
    pid_t pid[WRITERS], reader = start_reader();
    int status;

    for (unsigned w = 0; w < WRITERS; w++) {
        pid[w] = start_writer(w, nlt_test_rand());
    }
    for (unsigned n = 0; n < kills; n++) {
        unsigned w = (unsigned) nlt_test_below(WRITERS);
        volatile unsigned spin = (unsigned) nlt_test_below(3000);

        NLT_CHECK(wait_for_progress(h, w, nlt_test_below(400)));
        if (nlt_test_below(3) == 0) {
            maintain(h, true); /* then they register, and die doing that */
        }
        while (spin > 0) {
            spin--;
        }
        NLT_CHECK_INT(kill(pid[w], SIGKILL), 0);
        NLT_CHECK_INT(waitpid(pid[w], &status, 0), pid[w]);
        NLT_CHECK(WIFSIGNALED(status));
        (void) nlt_head_reap(h);
        pid[w] = start_writer(w, nlt_test_rand());
    }
    /* It goes on after all that. */
    for (unsigned w = 0; w < WRITERS; w++) {
        NLT_CHECK(wait_for_progress(h, w, 100));
    }
    atomic_store(&ledger->stop, 1);
    for (unsigned w = 0; w < WRITERS; w++) {
        NLT_CHECK_INT(waitpid(pid[w], &status, 0), pid[w]);
        NLT_CHECK_INT(status, 0);
    }
    NLT_CHECK_INT(waitpid(reader, &status, 0), reader);
    NLT_CHECK_INT(status, 0);
}

static void
nothing_noted_is_lost_when_writers_are_killed(void)
{
    const char *env = getenv("NLT_TEST_KILLS");
    unsigned kills = env ? (unsigned) strtoul(env, NULL, 10) : 120;
    nlt_head_counters_t *c;
    uint64_t noted = 0, lost = 0, extra = 0;
    nlt_head_t *h;
    nlt_err_t err;

    ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fixture_open(&fx, 96 << 20);
    NLT_CHECK_INT(nlt_head_create(&fx.conf, 1, &h, &err), NLT_OK);
    nlt_head_set_state(h, NLT_HEAD_OPEN);
    kill_writers(h, kills);

    maintain(h, true);
    for (unsigned i = 0; i < SERIES; i++) {
        for (unsigned w = 0; w < WRITERS; w++) {
            unsigned acked = atomic_load(&ledger->acked[w][i]);

            noted += acked;
            for (unsigned k = 0; k < K_MAX; k++) {
                bool there = seen[i][w][k / 64] >> (k % 64) & 1;

                lost += k < acked && !there;
                /* One may be in that its writer did not live to note. */
                extra += k > acked && there;
            }
        }
    }
    c = &nlt_head_ctl(h)->counters;
    NLT_CHECK_INT(lost, 0);
    NLT_CHECK_INT(extra, 0);
    NLT_CHECK_INT(atomic_load(&c->samples_conflict), 0);
    NLT_CHECK(noted > 1000);
    NLT_CHECK(atomic_load(&c->recoveries) > 0 || kills < 50);
    NLT_CHECK(atomic_load(&ledger->reader_rounds) > 0);
    printf("# %u kills: %llu samples noted, %llu recoveries, %u rotations, "
           "%u for a dead registrar, %llu rounds of reading\n",
           kills, (unsigned long long) noted,
           (unsigned long long) atomic_load(&c->recoveries), rotations, breaks,
           (unsigned long long) atomic_load(&ledger->reader_rounds));
    nlt_head_detach(h);
    fixture_close(&fx);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(nothing_noted_is_lost_when_writers_are_killed);
    return nlt_test_done();
}

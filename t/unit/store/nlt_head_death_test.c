/*
 * nlt_head_death_test.c - a process dies at a chosen machine instruction.
 *
 * A child appends one sample or registers one series and dies in it
 * (nlt_dying.h).  Then the parent reads without a lock, goes on writing, and
 * compares.
 */
#include "nlt_dying.h"

#include "nlt_head_fixture.h"
#include "nlt_head_priv.h"
#include "nlt_limits.h"
#include "nlt_xhash.h"

#define T0 INT64_C(1700000000000)

/* With sanitizers the way is longer, and a fork takes 20 ms. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif
#if defined(SANITIZED)
#define STEP_AGAIN 0
#define ROUNDS     160
#else
#define STEP_AGAIN 1
#define ROUNDS     800
#endif

/* ---- samples ---- */

typedef struct {
    nlt_arena_t *a;
    uint32_t series;
    int64_t t_ms;
    double v;
} append_t;

static void
append_cb(void *ctx)
{
    append_t *w = ctx;
    nlt_append_result_t result;

    (void) !fixture_append(w->a, w->series, w->t_ms, w->v, &result);
}

#define SAMPLES_MAX 20000
static int64_t model_t[SAMPLES_MAX];
static double model_v[SAMPLES_MAX];
static size_t model_n;

static void
model_insert(int64_t t_ms, double v)
{
    size_t i = model_n;

    while (i > 0 && model_t[i - 1] > t_ms) {
        i--;
    }
    memmove(model_t + i + 1, model_t + i, (model_n - i) * sizeof(*model_t));
    memmove(model_v + i + 1, model_v + i, (model_n - i) * sizeof(*model_v));
    model_t[i] = t_ms;
    model_v[i] = v;
    model_n++;
}

/* Is what is read the model?  Values by their bits. */
static bool
equals_model(const nlt_samples_t *out)
{
    return out->n == model_n
           && memcmp(out->t_ms, model_t, model_n * sizeof(*model_t)) == 0
           && memcmp(out->v, model_v, model_n * sizeof(*model_v)) == 0;
}

static bool
model_has(int64_t t_ms)
{
    for (size_t i = 0; i < model_n; i++) {
        if (model_t[i] == t_ms) {
            return true;
        }
    }
    return false;
}

static bool
read_series(append_t *w, nlt_samples_t *out)
{
    out->n = 0;
    return nlt_arena_read(w->a, w->series, NLT_READ_ALL, INT64_MIN, INT64_MAX,
                          out, NULL)
           == NLT_OK;
}

enum {
    IN_ORDER,
    NEW_CHUNK,
    OUT_OF_ORDER,
    RAW_FULL,
    KINDS
};

/* Is the raw buffer full, so that the next old sample empties it? */
static bool
raw_is_full(const append_t *w)
{
    const nlt_arena_series_t *e = nlt_arena_series(w->a, w->series);
    const nlt_arena_ooo_t *o =
        nlt_arena_at(w->a, atomic_load(&e->ooo), sizeof(*o));

    return o && atomic_load(&o->n) == NLT_OOO_RAW_MAX;
}

static void
next_sample(append_t *w, int kind)
{
    w->v = nlt_test_below(3) ? nlt_double_of(nlt_test_rand())
                             : (double) nlt_test_below(5);
    do {
        int64_t newest = model_n ? model_t[model_n - 1] : T0;

        w->t_ms = kind == IN_ORDER ? newest + 1 + (int64_t) nlt_test_below(9)
                  : kind == NEW_CHUNK
                      ? newest + NLT_BORDER_MS
                      : newest - 1 - (int64_t) nlt_test_below(100000);
    } while (model_has(w->t_ms));
}

static void
samples_survive_death_at_any_instruction(void)
{
    sites_t *sites[KINDS] = {new_sites(), new_sites(), new_sites(),
                             new_sites()};
    unsigned deaths = 0;
    fixture_t f;
    nlt_head_t *h;
    nlt_err_t err;
    nlt_pool_t pool;
    nlt_samples_t out = {.pool = &pool};
    append_t w;
    nlt_label_t v[1] = {{NLT_STR("__name__"), NLT_STR("x")}};

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    w.a = nlt_head_active(h);
    NLT_CHECK_INT(fixture_register(h, w.a, 0, (nlt_labels_t){v, 1}, &w.series),
                  NLT_OK);
    for (int i = 0; i < ROUNDS; i++) {
        int kind = (int) nlt_test_below(20);
        bool died;

        kind = kind < 8    ? IN_ORDER
               : kind < 12 ? NEW_CHUNK
               : kind < 15 ? OUT_OF_ORDER
                           : RAW_FULL;
        while (kind == RAW_FULL && !raw_is_full(&w)) {
            next_sample(&w, OUT_OF_ORDER);
            append_cb(&w);
            model_insert(w.t_ms, w.v);
        }
        if (raw_is_full(&w) && kind == OUT_OF_ORDER) {
            kind = RAW_FULL;
        }
        next_sample(&w, kind);
        died = die_somewhere(append_cb, &w, sites[kind], NULL,
                             STEP_AGAIN && i % 250 < 3);
        deaths += died;
        NLT_CHECK(read_series(&w, &out));
        if (out.n == model_n + 1) {
            model_insert(w.t_ms, w.v);
        } else {
            NLT_CHECK(died);
        }
        NLT_CHECK(equals_model(&out));

        /* Whoever comes next goes on. */
        next_sample(&w, nlt_test_below(4) ? IN_ORDER : OUT_OF_ORDER);
        append_cb(&w);
        model_insert(w.t_ms, w.v);
        NLT_CHECK(read_series(&w, &out));
        NLT_CHECK(equals_model(&out));
    }
    printf("# %u deaths at %u + %u + %u + %u places, %llu recoveries\n",
           deaths, sites[IN_ORDER]->n, sites[NEW_CHUNK]->n,
           sites[OUT_OF_ORDER]->n, sites[RAW_FULL]->n,
           (unsigned long long) atomic_load(
               &nlt_head_ctl(h)->counters.recoveries));
    NLT_CHECK(deaths > ROUNDS / 2);
    NLT_CHECK(atomic_load(&nlt_head_ctl(h)->counters.recoveries)
              > ROUNDS / 10);
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

/* ---- registration ---- */

typedef struct {
    char text[2][24];
    nlt_label_t v[3];
} room_t;

typedef struct {
    nlt_head_t *h;
    nlt_arena_t *a;
    unsigned i;
    nlt_rc_t rc;
    uint32_t series;
    /* Made beforehand, so that only the head is died in. */
    room_t room;
    nlt_labels_t labels;
    nlt_hash128_t key;
} newcomer_t;

static nlt_labels_t
labels_of(unsigned i, room_t *r)
{
    (void) snprintf(r->text[0], sizeof(r->text[0]), "%u", i);
    (void) snprintf(r->text[1], sizeof(r->text[1]), "job%u", i % 7);
    r->v[0] = (nlt_label_t){NLT_STR("__name__"), NLT_STR("m")};
    r->v[1] = (nlt_label_t){NLT_STR("i"), {strlen(r->text[0]), r->text[0]}};
    r->v[2] = (nlt_label_t){NLT_STR("job"), {strlen(r->text[1]), r->text[1]}};
    return (nlt_labels_t){r->v, 3};
}

static void
register_cb(void *ctx)
{
    newcomer_t *w = ctx;

    w->rc = nlt_arena_register(w->a, 0, w->labels, w->key, w->key, &w->series);
}

static void
make_newcomer(newcomer_t *w, unsigned i)
{
    w->i = i;
    w->labels = labels_of(i, &w->room);
    w->key = fixture_key(nlt_head_ctl(w->h), 0, w->labels);
}

/* The series that match one label, by every way a query has. */
static size_t
select_one(const nlt_arena_t *a, nlt_str_t name, const char *value,
           uint32_t *first)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, name, {strlen(value), value}, NULL};
    uint32_t *v;
    nlt_pool_t pool;
    size_t n = 0;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 24);
    NLT_CHECK_INT(nlt_arena_select(a, &pool, 0, &m, 1, &v, &n, NULL), NLT_OK);
    *first = n ? v[0] : 0;
    nlt_pool_deinit(&pool);
    return n;
}

/* Everything registered before is still selected, and nothing half. */
static void
check_registered(newcomer_t *w, unsigned n, unsigned *extra)
{
    room_t room;
    uint32_t first;
    size_t jobs = 0;

    for (unsigned i = n > 40 ? n - 40 : 0; i < n; i++) {
        nlt_labels_t l = labels_of(i, &room);

        NLT_CHECK_INT(select_one(w->a, NLT_STR("i"), room.text[0], &first), 1);
        NLT_CHECK(nlt_str_eq(nlt_arena_label(w->a, first, NLT_STR("job")),
                             l.v[2].value));
    }
    (void) labels_of(n, &room);
    *extra = (unsigned) select_one(w->a, NLT_STR("i"), room.text[0], &first);
    for (unsigned job = 0; job < 7; job++) {
        char text[8];

        (void) snprintf(text, sizeof(text), "job%u", job);
        jobs += select_one(w->a, NLT_STR("job"), text, &first);
    }
    NLT_CHECK(*extra <= 1);
    NLT_CHECK_INT(jobs, n + *extra);
    NLT_CHECK_INT(select_one(w->a, NLT_STR("__name__"), "m", &first),
                  n + *extra);
    NLT_CHECK_INT(atomic_load(&nlt_arena_header(w->a)->n_series), n + *extra);
}

enum {
    PLAIN,
    SPLIT_PAIRS,
    SPLIT_HASHES,
    FILLS
};

/* Registers some series, or so many that the next one splits a segment. */
static unsigned
fill(newcomer_t *w, int kind)
{
    const nlt_arena_header_t *hdr = nlt_arena_header(w->a);
    unsigned some = (unsigned) nlt_test_below(20);

    make_newcomer(w, 0);
    while (kind == PLAIN         ? w->i < some
           : kind == SPLIT_PAIRS ? hdr->by_pair.n < NLT_XHASH_SLOTS_MAX
                                 : hdr->by_hash.n < NLT_XHASH_SLOTS_MAX) {
        register_cb(w);
        NLT_CHECK_INT(w->rc, NLT_OK);
        NLT_CHECK_INT(w->series, w->i + 1);
        make_newcomer(w, w->i + 1);
    }
    return w->i;
}

static void
registration_survives_death_at_any_instruction(void)
{
    unsigned deaths = 0, broken = 0;
    sites_t *sites[FILLS] = {new_sites(), new_sites(), new_sites()};
    fixture_t f;
    newcomer_t w;
    nlt_err_t err;
    uint64_t sealed;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &w.h, &err), NLT_OK);
    for (int round = 0; round < ROUNDS / 4; round++) {
        int kind = round % FILLS;
        unsigned n;
        unsigned extra;
        bool died, is_broken;

        w.a = nlt_head_active(w.h);
        NLT_CHECK(w.a != NULL);
        n = fill(&w, kind);
        died = die_somewhere(register_cb, &w, sites[kind],
                             kind == PLAIN ? NULL : sites[PLAIN],
                             STEP_AGAIN && round < 2 * FILLS);
        deaths += died;

        check_registered(&w, n, &extra);
        NLT_CHECK(died || extra == 1);
        register_cb(&w);
        is_broken =
            atomic_load(&nlt_arena_header(w.a)->registration_broken) != 0;
        broken += is_broken;
        NLT_CHECK(died || !is_broken);
        if (w.rc == NLT_OK) {
            /* Found by hash: then it is whole. */
            check_registered(&w, n, &extra);
            NLT_CHECK_INT(extra, 1);
        } else {
            NLT_CHECK_INT(w.rc, NLT_EFULL);
            NLT_CHECK(is_broken);
        }
        /* Samples of what can be found still go in. */
        for (unsigned i = 0; i < n; i += 7) {
            nlt_append_result_t result;

            NLT_CHECK_INT(fixture_append(w.a, i + 1, T0, 1, &result), NLT_OK);
        }
        NLT_CHECK_INT(nlt_head_prepare(w.h, &err), NLT_OK);
        NLT_CHECK_INT(nlt_head_rotate(w.h, &sealed, &err), NLT_OK);
        NLT_CHECK_INT(nlt_head_retire(w.h, sealed, &err), NLT_OK);
        (void) nlt_head_reap(w.h);
    }
    printf("# %u deaths at %u + %u + %u places, %u left the registration "
           "broken\n",
           deaths, sites[PLAIN]->n, sites[SPLIT_PAIRS]->n,
           sites[SPLIT_HASHES]->n, broken);
    NLT_CHECK(deaths > ROUNDS / 16);
    NLT_CHECK(broken > ROUNDS / 40);
    nlt_head_detach(w.h);
    fixture_close(&f);
}

int
main(void)
{
    (void) nlt_test_seed();
    stepped = new_sites();
    NLT_TEST(samples_survive_death_at_any_instruction);
    NLT_TEST(registration_survives_death_at_any_instruction);
    return nlt_test_done();
}

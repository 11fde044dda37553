/*
 * nlt_head_twin_test.c - the head against plain arrays, on random data.
 *
 * The twin keeps every series of every arena as an unsorted array of the
 * samples that were taken.  The head is written through one mapping and read
 * through another at a different address; both must give the same and equal
 * the twin: samples of random ranges, results of random matchers, labels,
 * names and values.  Rotation carries series over half of the time.
 */
#include "nlt_test.h"

#include "../unit/store/nlt_head_fixture.h"
#include "nlt_head_strings.h"

#define T0         INT64_C(1700000000000)
#define SERIES_MAX 400
#define STEPS      60000

typedef struct {
    unsigned metric, job, instance; /* instance 0: no such label */
    uint32_t tenant;
    uint32_t number; /* in the active arena, 0: not registered */
    int64_t *t_ms;
    double *v;
    size_t n, cap;
    int64_t newest;
} twin_t;

static twin_t twins[SERIES_MAX];
static size_t n_twins;

typedef struct {
    nlt_label_t v[3];
    char text[3][16];
    nlt_labels_t l;
} label_room_t;

static nlt_labels_t
labels_of(const twin_t *tw, label_room_t *r)
{
    size_t n = 0;

    (void) snprintf(r->text[0], 16, "metric%u", tw->metric);
    (void) snprintf(r->text[1], 16, "host%u", tw->instance);
    (void) snprintf(r->text[2], 16, "job%u", tw->job);
    r->v[n++] =
        (nlt_label_t){NLT_STR("__name__"), {strlen(r->text[0]), r->text[0]}};
    if (tw->instance) {
        r->v[n++] = (nlt_label_t){NLT_STR("instance"),
                                  {strlen(r->text[1]), r->text[1]}};
    }
    r->v[n++] =
        (nlt_label_t){NLT_STR("job"), {strlen(r->text[2]), r->text[2]}};
    return (nlt_labels_t){r->v, n};
}

static double
random_value(unsigned kind)
{
    switch (kind % 4) {
    case 0:
        return (double) nlt_test_below(3);
    case 1:
        return (double) nlt_test_below(100000) / 10;
    case 2:
        return nlt_double_of(NLT_STALE_NAN_BITS);
    default:
        return nlt_double_of(nlt_test_rand()); /* NaN payloads and all */
    }
}

/* What the twin says to a sample; takes it if it should. */
static nlt_append_result_t
twin_append(twin_t *tw, int64_t t_ms, double v)
{
    nlt_append_result_t result = NLT_APPEND_OK;

    for (size_t i = 0; i < tw->n; i++) {
        if (tw->t_ms[i] == t_ms) {
            return nlt_bits_of(tw->v[i]) == nlt_bits_of(v)
                       ? NLT_APPEND_DUPLICATE
                       : NLT_APPEND_CONFLICT;
        }
    }
    if (tw->n > 0 && t_ms < tw->newest) {
        result = NLT_APPEND_OOO;
    } else {
        tw->newest = t_ms;
    }
    if (tw->n == tw->cap) {
        tw->cap = tw->cap ? 2 * tw->cap : 64;
        tw->t_ms = realloc(tw->t_ms, tw->cap * sizeof(*tw->t_ms));
        tw->v = realloc(tw->v, tw->cap * sizeof(*tw->v));
    }
    tw->t_ms[tw->n] = t_ms;
    tw->v[tw->n++] = v;
    return result;
}

static void
register_twin(nlt_head_t *h, twin_t *tw, nlt_arena_t *a)
{
    label_room_t room;
    nlt_labels_t l = labels_of(tw, &room);
    nlt_hash128_t key = fixture_key(nlt_head_ctl(h), tw->tenant, l);
    nlt_arena_t *from = nlt_head_previous(h);
    uint32_t old = from ? nlt_arena_find(from, key) : 0;
    nlt_rc_t rc;

    NLT_CHECK_INT(nlt_arena_find(a, key), tw->number);
    if (old && nlt_test_below(2)) {
        rc = nlt_arena_carry(a, from, old, key, &tw->number);
    } else {
        rc = nlt_arena_register(a, tw->tenant, l, key, key, &tw->number);
    }
    NLT_CHECK_INT(rc, NLT_OK);
    NLT_CHECK(tw->number > 0);
}

static void
append_batch(nlt_arena_t *a, twin_t **by, size_t n)
{
    nlt_head_sample_t s[64];
    nlt_append_result_t want[64];
    size_t done = 0;

    for (size_t i = 0; i < n; i++) {
        twin_t *tw = by[i];
        unsigned what = (unsigned) nlt_test_below(100);
        double v = random_value((unsigned) (tw - twins));
        int64_t t = tw->newest;

        if (tw->n == 0) {
            t = T0 + (int64_t) nlt_test_below(100000);
        } else if (what < 80) {
            t += 1 + (int64_t) nlt_test_below(what < 2 ? 4000000 : 15000);
        } else if (what < 95) {
            t -= (int64_t) nlt_test_below(tw->metric == 1 ? 1000 : 3000000);
        } else {
            size_t k = nlt_test_below(tw->n);

            t = tw->t_ms[k];
            v = what < 98 ? tw->v[k] : v;
        }
        s[i] = (nlt_head_sample_t){tw->number, NLT_APPEND_PENDING, t,
                                   nlt_bits_of(v)};
        want[i] = twin_append(tw, t, v);
    }
    NLT_CHECK_INT(nlt_arena_append(a, s, n, &done), NLT_OK);
    NLT_CHECK_INT(done, n);
    for (size_t i = 0; i < n; i++) {
        /* Far back the head does not look for equals; readers do. */
        if (s[i].result != NLT_APPEND_OOO || want[i] == NLT_APPEND_OK) {
            NLT_CHECK_INT(s[i].result, want[i]);
        }
    }
}

/* Position in the range of the twin's sample at t, by counting. */
static void
compare_range(const nlt_arena_t *a, const twin_t *tw, int64_t t_min,
              int64_t t_max, nlt_samples_t *out)
{
    size_t n = 0, before = nlt_test_below(3) ? 0 : out->n;
    int64_t newest = INT64_MIN;
    double newest_v = 0;

    if (before > 1000) {
        before = 0;
    }
    out->n = before;
    NLT_CHECK_INT(
        nlt_arena_read(a, tw->number, NLT_READ_ALL, t_min, t_max, out, NULL),
        NLT_OK);
    for (size_t i = before + 1; i < out->n; i++) {
        NLT_CHECK(out->t_ms[i] > out->t_ms[i - 1]);
    }
    for (size_t i = 0; i < tw->n; i++) {
        size_t lo = before, hi = out->n;

        if (tw->t_ms[i] < t_min || tw->t_ms[i] > t_max) {
            continue;
        }
        n++;
        if (tw->t_ms[i] > newest) {
            newest = tw->t_ms[i];
            newest_v = tw->v[i];
        }
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;

            if (out->t_ms[mid] < tw->t_ms[i]) {
                lo = mid + 1;
            } else {
                hi = mid;
            }
        }
        NLT_CHECK(lo < out->n && out->t_ms[lo] == tw->t_ms[i]);
        if (lo < out->n) {
            NLT_CHECK_BITS(out->v[lo], tw->v[i]);
        }
    }
    NLT_CHECK_INT(out->n - before, n);
    out->n = 0;
    NLT_CHECK_INT(nlt_arena_read(a, tw->number, NLT_READ_NEWEST, t_min, t_max,
                                 out, NULL),
                  NLT_OK);
    NLT_CHECK_INT(out->n, n > 0);
    if (out->n == 1) {
        NLT_CHECK_INT(out->t_ms[0], newest);
        NLT_CHECK_BITS(out->v[0], newest_v);
    }
    out->n = 0;
    NLT_CHECK_INT(
        nlt_arena_read(a, tw->number, NLT_READ_ANY, t_min, t_max, out, NULL),
        NLT_OK);
    NLT_CHECK_INT(out->n, n > 0);
}

static void
compare_samples(const nlt_arena_t *a, nlt_samples_t *out, bool all)
{
    for (size_t i = 0; i < n_twins; i++) {
        const twin_t *tw = &twins[i];

        if (tw->number == 0 || (!all && nlt_test_below(20))) {
            continue;
        }
        compare_range(a, tw, INT64_MIN, INT64_MAX, out);
        if (tw->n > 0) {
            int64_t lo = tw->t_ms[nlt_test_below(tw->n)];
            int64_t hi = tw->t_ms[nlt_test_below(tw->n)];

            compare_range(a, tw, lo + (int64_t) nlt_test_below(3) - 1,
                          hi + (int64_t) nlt_test_below(3) - 1, out);
        }
    }
}

static nlt_matcher_t
random_matcher(char *text)
{
    static const char *const names[] = {"__name__", "instance", "job",
                                        "absent"};
    static const char *const regexes[] = {"metric[1-3]", "host.*", ".*",
                                          ".+",          "",       "job1|job3",
                                          "job.|host2.", "absent?"};
    static const char *const stems[] = {"metric", "host", "job", "x"};
    size_t k = nlt_test_below(4);
    nlt_matcher_t m = {(nlt_match_op_t) nlt_test_below(4),
                       {strlen(names[k]), names[k]},
                       {0, ""},
                       NULL};

    if (m.op == NLT_MATCH_RE || m.op == NLT_MATCH_NRE) {
        const char *re = regexes[nlt_test_below(NLT_COUNT(regexes))];

        m.value = (nlt_str_t){strlen(re), re};
    } else if (nlt_test_below(5)) {
        (void) snprintf(text, 16, "%s%u", stems[k],
                        (unsigned) nlt_test_below(12));
        m.value = (nlt_str_t){strlen(text), text};
    }
    return m;
}

static void
compare_select(const nlt_arena_t *a)
{
    nlt_matcher_t m[3];
    char text[3][16];
    size_t n_m = nlt_test_below(4), n = 0, want = 0;
    uint32_t tenant = (uint32_t) nlt_test_below(3), *v;
    nlt_pool_t pool;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    for (size_t i = 0; i < n_m; i++) {
        m[i] = random_matcher(text[i]);
        if (m[i].op == NLT_MATCH_RE || m[i].op == NLT_MATCH_NRE) {
            NLT_CHECK_INT(nlt_matcher_compile(&pool, &m[i], &err), NLT_OK);
        }
    }
    NLT_CHECK_INT(nlt_arena_select(a, &pool, tenant, m, n_m, &v, &n, &err),
                  NLT_OK);
    for (size_t i = 1; i < n; i++) {
        NLT_CHECK(v[i] > v[i - 1]);
    }
    for (size_t i = 0; i < n_twins; i++) {
        const twin_t *tw = &twins[i];
        label_room_t room;
        bool found = false;

        if (tw->number == 0 || tw->tenant != tenant
            || nlt_matchers_test(m, n_m, labels_of(tw, &room)) != NLT_OK) {
            continue;
        }
        want++;
        for (size_t k = 0; k < n; k++) {
            found |= v[k] == tw->number;
        }
        NLT_CHECK(found);
    }
    NLT_CHECK_INT(n, want);
    for (size_t i = 0; i < n_m; i++) {
        nlt_matcher_release(&m[i]);
    }
    nlt_pool_deinit(&pool);
}

typedef struct {
    nlt_str_t v[SERIES_MAX];
    size_t n;
} found_t;

static nlt_rc_t
found_cb(void *ctx, nlt_str_t text)
{
    found_t *f = ctx;

    for (size_t i = 0; i < f->n; i++) {
        if (nlt_str_eq(f->v[i], text)) {
            return NLT_OK; /* names may come again */
        }
    }
    f->v[f->n++] = text;
    return NLT_OK;
}

/* Names, or values of a label, that some series of a tenant have. */
static void
compare_strings(const nlt_arena_t *a, uint32_t tenant, const nlt_str_t *name)
{
    static found_t got, want;
    static uint32_t id[SERIES_MAX];
    nlt_arena_strings_t s;
    nlt_pool_t pool;
    size_t n = 0;

    nlt_pool_init(&pool, &nlt_mem_libc, 1u << 20);
    got.n = want.n = 0;
    for (size_t i = 0; i < n_twins; i++) {
        label_room_t room;
        nlt_labels_t l;

        if (twins[i].number == 0 || twins[i].tenant != tenant
            || nlt_test_below(3) == 0) {
            continue;
        }
        id[n++] = twins[i].number;
        l = labels_of(&twins[i], &room);
        if (name != NULL) {
            nlt_str_t text = nlt_pool_str(&pool, nlt_labels_get(l, *name));

            if (text.len > 0) {
                (void) !found_cb(&want, text);
            }
        }
        for (size_t k = 0; name == NULL && k < l.n; k++) {
            (void) !found_cb(&want, nlt_pool_str(&pool, l.v[k].name));
        }
    }
    NLT_CHECK_INT(nlt_arena_strings_init(&s, a, tenant, name, &pool), NLT_OK);
    for (size_t i = 0; i < n; i += 50) {
        NLT_CHECK_INT(nlt_arena_strings_of(&s, id + i, n - i < 50 ? n - i : 50,
                                           found_cb, &got),
                      NLT_OK);
    }
    NLT_CHECK_INT(got.n, want.n);
    for (size_t i = 0; i < want.n; i++) {
        NLT_CHECK_INT(found_cb(&got, want.v[i]), NLT_OK);
    }
    NLT_CHECK_INT(got.n, want.n);
    nlt_pool_deinit(&pool);
}

static void
compare_labels(const nlt_arena_t *a)
{
    const nlt_str_t asked[] = {NLT_STR("job"), NLT_STR("instance"),
                               NLT_STR("__name__"), NLT_STR("nothing")};

    nlt_pool_t pool;
    nlt_str_t *names;
    size_t n, want = 0;
    bool jobs[12] = {false};

    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    for (size_t i = 0; i < n_twins; i++) {
        const twin_t *tw = &twins[i];
        label_room_t room;
        nlt_labels_t l, wanted = labels_of(tw, &room);

        if (tw->number == 0) {
            continue;
        }
        NLT_CHECK_INT(nlt_arena_labels(a, tw->number, &pool, &l), NLT_OK);
        NLT_CHECK(nlt_labels_eq(l, wanted));
        NLT_CHECK_INT(nlt_arena_tenant(a, tw->number), tw->tenant);
        NLT_CHECK(
            nlt_str_eq(nlt_arena_label(a, tw->number, NLT_STR("instance")),
                       nlt_labels_get(wanted, NLT_STR("instance"))));
        jobs[tw->job] |= tw->tenant == 1;
    }
    for (uint32_t tenant = 0; tenant < 3; tenant++) {
        compare_strings(a, tenant, NULL);
        for (size_t i = 0; i < NLT_COUNT(asked); i++) {
            compare_strings(a, tenant, &asked[i]);
        }
    }
    for (size_t i = 0; i < NLT_COUNT(jobs); i++) {
        want += jobs[i];
    }
    NLT_CHECK_INT(
        nlt_arena_label_values(a, &pool, 1, NLT_STR("job"), &names, &n),
        NLT_OK);
    NLT_CHECK_INT(n, want);
    for (size_t i = 0; i < n; i++) {
        unsigned job = 0;

        for (size_t k = 3; k < names[i].len; k++) {
            job = job * 10 + (unsigned) (names[i].data[k] - '0');
        }
        NLT_CHECK(job < NLT_COUNT(jobs) && jobs[job]);
    }
    nlt_pool_deinit(&pool);
}

static void
new_twin(void)
{
    twin_t tw = {.metric = (unsigned) nlt_test_below(6),
                 .job = (unsigned) nlt_test_below(12),
                 .instance = (unsigned) nlt_test_below(30),
                 .tenant = (uint32_t) nlt_test_below(3)};

    for (size_t i = 0; i < n_twins; i++) {
        if (twins[i].metric == tw.metric && twins[i].job == tw.job
            && twins[i].instance == tw.instance
            && twins[i].tenant == tw.tenant) {
            return;
        }
    }
    if (n_twins < SERIES_MAX) {
        twins[n_twins++] = tw;
    }
}

/* Seals; the twins of the old arena are compared a last time, and go. */
static void
rotate(nlt_head_t *h, nlt_head_t *r, nlt_samples_t *out)
{
    nlt_arena_t *old;
    nlt_err_t err;
    uint64_t sealed = 0;

    NLT_CHECK_INT(nlt_head_prepare(h, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_rotate(h, &sealed, &err), NLT_OK);
    old = nlt_head_pin_arena(r, sealed);
    compare_samples(old, out, true);
    compare_labels(old);
    nlt_head_unpin_arena(r, old);
    for (size_t i = 0; i < n_twins; i++) {
        twins[i].number = 0;
        twins[i].n = 0;
    }
    if (sealed > 1) {
        NLT_CHECK_INT(nlt_head_retire(h, sealed - 1, &err), NLT_OK);
    }
    NLT_CHECK_INT(nlt_head_refresh(r, &err), NLT_OK);
    (void) nlt_head_reap(h);
}

static void
head_equals_its_twin(void)
{
    fixture_t f;
    nlt_head_t *h, *r;
    nlt_err_t err;
    nlt_pool_t pool;
    nlt_samples_t out = {.pool = &pool};

    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &r, &err), NLT_OK);
    new_twin();
    for (int step = 0; step < STEPS / 32; step++) {
        nlt_arena_t *a = nlt_head_active(h);
        const nlt_arena_t *b = nlt_head_active(r);
        twin_t *by[64];
        size_t n = 0, size = 1 + nlt_test_below(64);
        /* Now and then one series gets a long run. */
        size_t only = nlt_test_below(4) ? SERIES_MAX : nlt_test_below(n_twins);

        NLT_CHECK((const void *) nlt_arena_header(a)
                  != (const void *) nlt_arena_header(b));
        if (nlt_test_below(3) == 0) {
            new_twin();
        }
        while (n < size) {
            twin_t *tw =
                &twins[only < n_twins ? only : nlt_test_below(n_twins)];

            if (tw->number == 0 || nlt_test_below(50) == 0) {
                register_twin(h, tw, a);
            }
            by[n++] = tw;
        }
        append_batch(a, by, n);
        if (step % 20 == 0) {
            compare_samples(nlt_test_below(2) ? a : b, &out, false);
        }
        if (step % 5 == 0) {
            compare_select(nlt_test_below(2) ? a : b);
        }
        if (step % 100 == 0) {
            compare_labels(b);
        }
        if (step % 600 == 599) {
            rotate(h, r, &out);
        }
    }
    compare_samples(nlt_head_active(h), &out, true);
    compare_samples(nlt_head_active(r), &out, true);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(h)->counters.recoveries), 0);
    printf("# %zu series, %llu samples, %llu of them out of order\n", n_twins,
           (unsigned long long) atomic_load(
               &nlt_head_ctl(h)->counters.samples_appended),
           (unsigned long long) atomic_load(
               &nlt_head_ctl(h)->counters.samples_ooo));
    for (size_t i = 0; i < n_twins; i++) {
        free(twins[i].t_ms);
        free(twins[i].v);
    }
    nlt_pool_deinit(&pool);
    nlt_head_detach(r);
    nlt_head_detach(h);
    fixture_close(&f);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(head_equals_its_twin);
    return nlt_test_done();
}

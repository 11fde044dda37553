/*
 * nlt_head_corrupt_test.c - a head whose bytes somebody scribbled over.
 *
 * Answers may be wrong or errors, but every call must come back, in time,
 * and touch nothing outside of the mapping.  Locks are left alone: nothing
 * can be done about those.
 */
#include "nlt_test.h"

#include "nlt_head_fixture.h"
#include "nlt_head_priv.h"
#include "nlt_head_strings.h"

#define T0     INT64_C(1700000000000)
#define SERIES 300

static nlt_labels_t
labels_of(unsigned i, char (*text)[16], nlt_label_t *v)
{
    (void) snprintf(text[0], 16, "metric%u", i % 5);
    (void) snprintf(text[1], 16, "%u", i);
    v[0] = (nlt_label_t){NLT_STR("__name__"), {strlen(text[0]), text[0]}};
    v[1] = (nlt_label_t){NLT_STR("i"), {strlen(text[1]), text[1]}};
    return (nlt_labels_t){v, 2};
}

static void
fill(nlt_head_t *h, nlt_arena_t *a)
{
    for (unsigned i = 0; i < SERIES; i++) {
        char text[2][16];
        nlt_label_t v[2];
        nlt_append_result_t result;
        uint32_t s;

        NLT_CHECK_INT(fixture_register(h, a, 0, labels_of(i, text, v), &s),
                      NLT_OK);
        for (unsigned k = 0; k < 40 + i % 70; k++) {
            int64_t t = T0 + (int64_t) k * 300000;

            t -= i % 2 && k % 3 == 2 ? 700001 : 0;
            NLT_CHECK_INT(fixture_append(a, s, t,
                                         nlt_double_of(nlt_test_rand()),
                                         &result),
                          NLT_OK);
        }
    }
}

static nlt_rc_t
hash_cb(void *ctx, nlt_str_t text)
{
    (void) ctx;
    (void) nlt_hash64(text.data, text.len, 0);
    return NLT_OK;
}

/* Everything a reader can ask; what it answers does not matter. */
static void
read_everything(const nlt_arena_t *a)
{
    static const nlt_match_op_t ops[] = {NLT_MATCH_EQ, NLT_MATCH_NE,
                                         NLT_MATCH_EQ};
    nlt_pool_t pool;
    nlt_samples_t out = {.pool = &pool};
    nlt_labels_t l;
    nlt_str_t *names;
    uint32_t *v;
    size_t n;

    nlt_pool_init(&pool, &nlt_mem_libc, 8 << 20);
    for (uint32_t s = 1; s <= SERIES + 1; s++) {
        out.n = 0;
        (void) !nlt_arena_read(a, s, NLT_READ_ALL, INT64_MIN, T0 + 5000000,
                               &out, NULL);
        /* Whoever merges and searches relies on this much. */
        for (size_t i = 1; i < out.n; i++) {
            NLT_CHECK(out.t_ms[i] > out.t_ms[i - 1]);
        }
        NLT_CHECK(out.n == 0 || out.t_ms[out.n - 1] <= T0 + 5000000);
        out.n = 0;
        (void) !nlt_arena_read(a, s, NLT_READ_NEWEST, T0, T0 + 5000000, &out,
                               NULL);
        NLT_CHECK(out.n <= 1);
        if (nlt_arena_labels(a, s, &pool, &l) == NLT_OK) {
            (void) nlt_labels_hash(l);
        }
        (void) nlt_arena_label(a, s, NLT_STR("i"));
    }
    for (size_t i = 0; i < NLT_COUNT(ops); i++) {
        nlt_matcher_t m = {ops[i], i ? NLT_STR("i") : NLT_STR("__name__"),
                           i < 2 ? NLT_STR("metric1") : NLT_STR(""), NULL};

        (void) !nlt_arena_select(a, &pool, 0, &m, 1, &v, &n, NULL);
    }
    for (size_t i = 0; i < 2; i++) {
        const nlt_str_t name = NLT_STR("i");
        nlt_arena_strings_t strings;
        uint32_t all[SERIES];

        for (uint32_t s = 0; s < SERIES; s++) {
            all[s] = s + 1;
        }
        if (nlt_arena_strings_init(&strings, a, 0, i ? &name : NULL, &pool)
            == NLT_OK) {
            (void) !nlt_arena_strings_of(&strings, all, SERIES, hash_cb, NULL);
        }
    }
    (void) !nlt_arena_label_names(a, &pool, 0, &names, &n);
    if (nlt_arena_label_values(a, &pool, 0, NLT_STR("i"), &names, &n)
        == NLT_OK) {
        for (size_t i = 0; i < n; i++) {
            (void) nlt_hash64(names[i].data, names[i].len, 0);
        }
    }
    nlt_pool_deinit(&pool);
}

static void
write_everything(nlt_head_t *h, nlt_arena_t *a)
{
    for (unsigned i = 0; i < SERIES; i += 7) {
        char text[2][16];
        nlt_label_t v[2];
        nlt_append_result_t result;
        uint32_t s;

        if (fixture_register(h, a, 0, labels_of(i + SERIES - 20, text, v), &s)
            != NLT_OK) {
            s = i + 1;
        }
        (void) !fixture_append(a, s, T0 + 40000000, 1, &result);
        (void) !fixture_append(a, i + 1, T0 + 100, 1, &result);
        (void) !fixture_append(a, i + 1, T0 + 90000000, 1, &result);
    }
}

/* Overwrites a few words with what hurts most. */
static void
scribble(uint8_t *p, size_t from, size_t to)
{
    for (size_t n = 1 + nlt_test_below(12); n > 0; n--) {
        size_t at = (from + nlt_test_below(to - from)) & ~(size_t) 3;
        uint32_t word;

        memcpy(&word, p + at, sizeof(word));
        switch (nlt_test_below(5)) {
        case 0:
            word = (uint32_t) nlt_test_rand();
            break;
        case 1:
            word ^= 1u << nlt_test_below(32);
            break;
        case 2:
            word = UINT32_MAX >> nlt_test_below(32);
            break;
        case 3:
            word = (uint32_t) nlt_test_below(to / 8); /* some offset */
            break;
        default:
            word = 0;
        }
        memcpy(p + at, &word, sizeof(word));
    }
}

static void
scribbled_arena_harms_nobody(void)
{
    fixture_t f;
    nlt_head_t *h;
    nlt_err_t err;
    nlt_arena_t *a;
    uint8_t *whole;
    size_t used, first = offsetof(nlt_arena_header_t, by_hash);
    size_t locks = offsetof(nlt_arena_header_t, registration);
    size_t arrays = offsetof(nlt_arena_header_t, series_seg);
    size_t heap = sizeof(nlt_arena_header_t);

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    a = nlt_head_active(h);
    fill(h, a);
    used = (size_t) atomic_load(&nlt_arena_header(a)->used_bytes);
    whole = malloc(a->size);
    memcpy(whole, a->base, a->size);
    for (int round = 0; round < 1500; round++) {
        switch (nlt_test_below(6)) {
        case 0:
            scribble(a->base, first, locks);
            break;
        case 1:
            scribble(a->base, arrays, offsetof(nlt_arena_header_t, stripes));
            break;
        case 2: /* series entries: the first segment behind the tables */
            scribble(a->base, a->hdr->series_seg[0].u * (size_t) 8,
                     a->hdr->series_seg[0].u * (size_t) 8 + SERIES * 64);
            break;
        default:
            scribble(a->base, heap, used);
        }
        read_everything(a);
        if (round % 2) {
            write_everything(h, a);
            read_everything(a);
        }
        /* All but the locks, as it was. */
        memcpy(a->base, whole, locks);
        memcpy(a->base + arrays, whole + arrays, a->size - arrays);
        atomic_store(a->used_seen, 0);
    }
    read_everything(a);
    free(whole);
    nlt_head_detach(h);
    fixture_close(&f);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(scribbled_arena_harms_nobody);
    return nlt_test_done();
}

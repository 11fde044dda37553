/*
 * nlt_head_match_test.c - a series is the one that references name if, and
 * only if, its labels are theirs byte by byte.
 *
 * Random label sets of a small alphabet, so that names, values and whole
 * halves of sets repeat, in two arenas that number their pairs differently;
 * random symbol tables in which a text may stand several times.
 */
#include "nlt_test.h"
#include "nlt_head_fixture.h"
#include "nlt_head_match.h"
#include "nlt_labels.h"

#define SETS     40
#define LABELS   5
#define SYMBOLS  60
#define REQUESTS 60

static char texts[12][24];

/* One of them that is not empty; some differ in their last byte alone. */
static nlt_str_t
text(void)
{
    unsigned i = (unsigned) nlt_test_below(NLT_COUNT(texts));

    return (nlt_str_t){strlen(texts[i]), texts[i]};
}

typedef struct {
    nlt_label_t v[LABELS];
    uint32_t n;
    uint32_t tenant;
    uint32_t no[2]; /* in the two arenas */
} set_t;

static int
by_name(const void *a, const void *b)
{
    return nlt_str_cmp(((const nlt_label_t *) a)->name,
                       ((const nlt_label_t *) b)->name);
}

static void
random_set(set_t *set)
{
    uint32_t n = 1 + (uint32_t) nlt_test_below(LABELS), kept = 1;

    for (uint32_t i = 0; i < n; i++) {
        set->v[i] = (nlt_label_t){text(), text()};
    }
    qsort(set->v, n, sizeof(set->v[0]), by_name);
    for (uint32_t i = 1; i < n; i++) {
        if (!nlt_str_eq(set->v[i].name, set->v[kept - 1].name)) {
            set->v[kept++] = set->v[i];
        }
    }
    set->n = kept;
    set->tenant = (uint32_t) nlt_test_below(2);
}

/* A number of s, of those that it has. */
static uint32_t
symbol(const nlt_rw2_symbols_t *symbols, nlt_str_t s)
{
    uint32_t i = (uint32_t) nlt_test_below(SYMBOLS);

    while (!nlt_str_eq(nlt_rw2_symbol(symbols, i), s)) {
        i = (i + 1) % SYMBOLS;
    }
    return i;
}

/* Each text at least once. */
static void
random_symbols(char *base, nlt_rw2_symbol_t *v)
{
    uint32_t at = 0, first = (uint32_t) nlt_test_below(SYMBOLS);

    for (uint32_t i = 0; i < SYMBOLS; i++) {
        nlt_str_t s = {strlen(texts[i % NLT_COUNT(texts)]),
                       texts[i % NLT_COUNT(texts)]};

        s = i < NLT_COUNT(texts) ? s : text();
        memcpy(base + at, s.data, s.len);
        v[(first + i) % SYMBOLS] = (nlt_rw2_symbol_t){at, (uint32_t) s.len};
        at += (uint32_t) s.len;
    }
}

static void
ask(nlt_arena_t *a, unsigned arena, const set_t *sets,
    const nlt_rw2_symbols_t *symbols, nlt_head_symbol_t *known)
{
    const set_t *s = &sets[nlt_test_below(SETS)];
    uint32_t refs[2 * LABELS + 2];

    for (uint32_t i = 0; i < s->n; i++) {
        refs[2 * i] = symbol(symbols, s->v[i].name);
        refs[2 * i + 1] = symbol(symbols, s->v[i].value);
    }
    for (unsigned k = 0; k < SETS; k++) {
        bool same = sets[k].tenant == s->tenant
                    && nlt_labels_eq((nlt_labels_t){sets[k].v, sets[k].n},
                                     (nlt_labels_t){s->v, s->n});

        NLT_CHECK_INT(nlt_arena_is_by_refs(a, sets[k].no[arena], s->tenant,
                                           symbols, known, refs, 2 * s->n),
                      same);
        NLT_CHECK(!nlt_arena_is_by_refs(a, sets[k].no[arena], s->tenant,
                                        symbols, known, refs, 2 * s->n - 1));
    }
    /* Nor is it one with a label out of the table, or one that is not there.
     */
    NLT_CHECK(!nlt_arena_is_by_refs(a, 0, s->tenant, symbols, known, refs,
                                    2 * s->n));
    NLT_CHECK(!nlt_arena_is_by_refs(a, SETS + 1, s->tenant, symbols, known,
                                    refs, 2 * s->n));
    refs[nlt_test_below(2 * s->n)] =
        nlt_test_below(2) ? SYMBOLS : UINT32_MAX - 1;
    NLT_CHECK(!nlt_arena_is_by_refs(a, s->no[arena], s->tenant, symbols, known,
                                    refs, 2 * s->n));
}

static void
a_series_is_known_by_its_labels_alone(void)
{
    static set_t sets[SETS];
    static char base[SYMBOLS * sizeof(texts[0])];
    nlt_rw2_symbol_t v[SYMBOLS];
    nlt_head_symbol_t known[SYMBOLS];
    nlt_rw2_symbols_t symbols = {base, v, SYMBOLS};
    fixture_t f[2];
    nlt_head_t *h[2];
    nlt_arena_t *a[2];
    nlt_err_t err;

    for (unsigned i = 0; i < NLT_COUNT(texts); i++) {
        (void) snprintf(texts[i], sizeof(texts[i]), "%.*s%c",
                        (int) (i % 3) * 9, "a longer one than of 16",
                        'a' + (int) i);
    }
    for (unsigned i = 0; i < 2; i++) {
        fixture_open(&f[i], NLT_HEAD_MEMORY_MIN);
        h[i] = NULL;
        NLT_CHECK_INT(nlt_head_create(&f[i].conf, 1, &h[i], &err), NLT_OK);
        a[i] = nlt_head_active(h[i]);
    }
    for (unsigned k = 0; k < SETS; k++) {
        random_set(&sets[k]);
    }
    for (unsigned k = 0; k < SETS; k++) {
        for (unsigned i = 0; i < 2; i++) {
            set_t *s = &sets[i ? SETS - 1 - k : k];

            NLT_CHECK_INT(fixture_register(h[i], a[i], s->tenant,
                                           (nlt_labels_t){s->v, s->n},
                                           &s->no[i]),
                          NLT_OK);
        }
    }
    for (unsigned k = 0; k < REQUESTS; k++) {
        random_symbols(base, v);
        for (unsigned turn = 0; turn < 2; turn++) {
            nlt_head_symbols_forget(known, SYMBOLS);
            for (unsigned i = 0; i < 20; i++) {
                ask(a[turn], turn, sets, &symbols, known);
            }
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        nlt_head_detach(h[i]);
        fixture_close(&f[i]);
    }
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(a_series_is_known_by_its_labels_alone);
    return nlt_test_done();
}

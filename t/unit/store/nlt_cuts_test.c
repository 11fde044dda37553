/*
 * nlt_cuts_test.c - rules translated to series, against one by one.
 */
#include "nlt_test.h"

#include "nlt_cuts.h"
#include "nlt_flush.h"
#include "nlt_head_fixture.h"

#define N_SERIES 24
#define N_RULES  6
#define ARENA    5
#define NOW_MS   INT64_C(1700054400000)

static const uint8_t store_id[NLT_STORE_ID_BYTES] = {7};

typedef struct {
    fixture_t fx;
    nlt_head_t *head;
    nlt_arena_t *arena; /* pinned, sealed */
    nlt_pool_t pool;
    char path[40];
    int fd;
    nlt_block_t *block; /* of the arena */
    nlt_manifest_block_t info;
} fx_t;

/* Series n: {a="<n % 4>", b="<n / 4>"}, values of one letter. */
static void
labels_of(unsigned n, nlt_label_t v[2])
{
    static const char digits[] = "01234567";

    v[0] = (nlt_label_t){NLT_STR("a"), {1, digits + n % 4}};
    v[1] = (nlt_label_t){NLT_STR("b"), {1, digits + n / 4}};
}

static void
write_blocks(fx_t *f)
{
    nlt_flush_conf_t conf = {.env = &nlt_env_posix,
                             .blocks_fd = f->fd,
                             .store_id = store_id,
                             .now_ms = NOW_MS};
    nlt_manifest_t m;
    size_t n;
    nlt_err_t err;

    nlt_manifest_init(&m, &nlt_mem_libc, store_id);
    NLT_CHECK_INT(nlt_flush_arena(&conf, f->arena, &m, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 1);
    f->info = m.blocks[0];
    NLT_CHECK_INT(
        nlt_block_open(&nlt_env_posix, f->fd, f->info.ulid.c, &f->block, &err),
        NLT_OK);
    nlt_manifest_deinit(&m);
}

static void
setup(fx_t *f)
{
    nlt_arena_t *a;
    uint64_t no;
    nlt_err_t err;

    memset(f, 0, sizeof(*f));
    fixture_open(&f->fx, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f->fx.conf, ARENA, &f->head, &err), NLT_OK);
    nlt_pool_init(&f->pool, &nlt_mem_libc, 64 << 20);
    a = nlt_head_active(f->head);
    for (unsigned n = 0; n < N_SERIES; n++) {
        nlt_label_t v[2];
        nlt_append_result_t result;
        uint32_t series;

        labels_of(n, v);
        NLT_CHECK_INT(
            fixture_register(f->head, a, 0, (nlt_labels_t){v, 2}, &series),
            NLT_OK);
        NLT_CHECK_INT(fixture_append(a, series, NOW_MS - 100, 1, &result),
                      NLT_OK);
        NLT_CHECK_INT(fixture_append(a, series, NOW_MS, 2, &result), NLT_OK);
    }
    NLT_CHECK_INT(nlt_head_prepare(f->head, &err), NLT_OK);
    NLT_CHECK_INT(nlt_head_rotate(f->head, &no, &err), NLT_OK);
    f->arena = nlt_head_pin_arena(f->head, ARENA);
    NLT_CHECK(f->arena != NULL);
    (void) snprintf(f->path, sizeof(f->path), "/tmp/nlt-cuts-XXXXXX");
    NLT_CHECK(mkdtemp(f->path) != NULL);
    f->fd = open(f->path, O_RDONLY | O_DIRECTORY);
    write_blocks(f);
}

static void
teardown(fx_t *f)
{
    nlt_err_t err;

    nlt_block_close(f->block);
    nlt_pool_deinit(&f->pool);
    nlt_head_unpin_arena(f->head, f->arena);
    nlt_head_detach(f->head);
    fixture_close(&f->fx);
    close(f->fd);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, f->path, &err),
                  NLT_OK);
}

/* ---- random rules ---- */

static nlt_matcher_t
some_matcher(void)
{
    static const nlt_str_t value[] = {{1, "1"},     {1, "2"},  {0, NULL},
                                      {5, "[0-2]"}, {2, "1|"}, {2, ".+"}};
    nlt_matcher_t m = {.op = (nlt_match_op_t) nlt_test_below(4)};

    m.name = nlt_test_below(8) == 0   ? NLT_STR("c")
             : nlt_test_below(2) == 0 ? NLT_STR("a")
                                      : NLT_STR("b");
    m.value = value[nlt_test_below(NLT_COUNT(value))];
    return m;
}

static nlt_delete_list_t *
some_rules(void)
{
    nlt_delete_list_t *l = nlt_deletes_empty(&nlt_env_posix, 1 << 20);

    for (unsigned i = 0; i < N_RULES; i++) {
        nlt_delete_t *d = &l->v[l->n++];

        *d = (nlt_delete_t){
            .number = 10 + i,
            .tenant = nlt_test_below(8) == 0,
            .t_min_ms = NOW_MS - 200 + (int64_t) nlt_test_below(300),
            .arena_max = ARENA - 1 + nlt_test_below(3),
            .n_sets = 1 + nlt_test_below(2),
        };
        d->t_max_ms = d->t_min_ms + (int64_t) nlt_test_below(60);
        d->sets = nlt_pool_array(&l->pool, d->n_sets, sizeof(*d->sets));
        for (size_t k = 0; k < d->n_sets; k++) {
            nlt_delete_set_t *s = &d->sets[k];

            s->n = nlt_test_below(3);
            s->matchers = nlt_pool_array(&l->pool, s->n, sizeof(*s->matchers));
            for (size_t j = 0; j < s->n; j++) {
                s->matchers[j] = some_matcher();
            }
        }
    }
    l->last = 9 + N_RULES;
    return l;
}

/* Does the matcher match the labels?  Compiled for this once. */
static bool
matches(const nlt_matcher_t *m, nlt_labels_t labels)
{
    nlt_matcher_t copy = *m;
    nlt_pool_t pool;
    bool yes;

    nlt_pool_init(&pool, &nlt_mem_libc, 32 << 20);
    NLT_CHECK_INT(nlt_matcher_compile(&pool, &copy, NULL), NLT_OK);
    yes = nlt_matcher_test(&copy, nlt_labels_get(labels, m->name)) == NLT_OK;
    nlt_matcher_release(&copy);
    nlt_pool_deinit(&pool);
    return yes;
}

static bool
all_match(const nlt_matcher_t *m, size_t n, nlt_labels_t labels)
{
    for (size_t i = 0; i < n; i++) {
        if (!matches(&m[i], labels)) {
            return false;
        }
    }
    return true;
}

/* What is cut out of a series, the slow way. */
static size_t
want_of(const nlt_delete_list_t *l, unsigned n, uint64_t deletes,
        nlt_interval_t *out)
{
    size_t n_out = 0;
    nlt_label_t v[2];

    labels_of(n, v);
    for (size_t i = 0; i < l->n; i++) {
        const nlt_delete_t *d = &l->v[i];
        bool hit = false;

        for (size_t k = 0; k < d->n_sets; k++) {
            hit |= all_match(d->sets[k].matchers, d->sets[k].n,
                             (nlt_labels_t){v, 2});
        }
        if (hit && d->tenant == 0 && d->arena_max >= ARENA
            && d->number > deletes) {
            out[n_out++] = (nlt_interval_t){d->t_min_ms, d->t_max_ms};
        }
    }
    return nlt_intervals_join(out, n_out);
}

/* Within the samples' range: rules beyond it are passed over in a part. */
static size_t
clip(nlt_interval_t *v, size_t n)
{
    size_t out = 0;

    for (size_t i = 0; i < n; i++) {
        if (v[i].t_max_ms >= NOW_MS - 100 && v[i].t_min_ms <= NOW_MS) {
            v[out].t_min_ms = nlt_max_i64(v[i].t_min_ms, NOW_MS - 100);
            v[out++].t_max_ms = nlt_min_i64(v[i].t_max_ms, NOW_MS);
        }
    }
    return out;
}

static bool
same(const nlt_interval_t *a, size_t n_a, const nlt_interval_t *b, size_t n_b)
{
    bool good = n_a == n_b;

    for (size_t i = 0; good && i < n_a; i++) {
        good =
            a[i].t_min_ms == b[i].t_min_ms && a[i].t_max_ms == b[i].t_max_ms;
    }
    return good;
}

/* Which of ours is series `id` of the arena or block? */
static unsigned
number_of(const fx_t *f, bool block, uint32_t id, nlt_pool_t *pool)
{
    nlt_labels_t l;
    nlt_err_t err;

    NLT_CHECK_INT(block ? nlt_block_labels(f->block, id, pool, &l, &err)
                        : nlt_arena_labels(f->arena, id, pool, &l),
                  NLT_OK);
    return (unsigned) (l.v[0].value.data[0] - '0')
           + 4 * (unsigned) (l.v[1].value.data[0] - '0');
}

static void
check_part(fx_t *f, nlt_cutter_t *c, bool block, const nlt_select_t *sel)
{
    nlt_pool_mark_t mark = nlt_pool_mark(&f->pool);
    uint64_t deletes = block ? 11 : 0;
    uint32_t *id;
    size_t n;
    nlt_cuts_t cuts;
    nlt_err_t err;

    if (block) {
        NLT_CHECK_INT(
            nlt_block_select(f->block, &f->pool, NULL, 0, &id, &n, &err),
            NLT_OK);
        NLT_CHECK_INT(nlt_cutter_block(c, &f->pool, f->block, ARENA, deletes,
                                       sel, &cuts, &err),
                      NLT_OK);
    } else {
        NLT_CHECK_INT(
            nlt_arena_select(f->arena, &f->pool, 0, NULL, 0, &id, &n, &err),
            NLT_OK);
        NLT_CHECK_INT(
            nlt_cutter_arena(c, &f->pool, f->arena, sel, &cuts, &err), NLT_OK);
    }
    NLT_CHECK_INT(n, N_SERIES);
    for (size_t i = 0; i < n; i++) {
        nlt_interval_t got[NLT_DELETES_MAX], want[NLT_DELETES_MAX];
        unsigned no = number_of(f, block, id[i], &f->pool);
        size_t n_got = nlt_cuts_of(&cuts, id[i], got), n_want;
        nlt_label_t v[2];

        labels_of(no, v);
        n_want = want_of(c->list, no, deletes, want);
        if (sel != NULL
            && !all_match(sel->matchers, sel->n_matchers,
                          (nlt_labels_t){v, 2})) {
            n_want = 0;
        }
        n_got = clip(got, n_got);
        n_want = clip(want, n_want);
        NLT_CHECK(same(got, n_got, want, n_want));
    }
    nlt_pool_rewind(&f->pool, mark);
}

static void
check_labels(nlt_cutter_t *c)
{
    for (unsigned no = 0; no < N_SERIES; no++) {
        nlt_interval_t got[NLT_DELETES_MAX], want[NLT_DELETES_MAX];
        size_t n_got, n_want;
        nlt_label_t v[2];
        nlt_err_t err;

        labels_of(no, v);
        NLT_CHECK_INT(nlt_cutter_labels(c, ARENA, (nlt_labels_t){v, 2}, got,
                                        &n_got, &err),
                      NLT_OK);
        n_want = want_of(c->list, no, 0, want);
        NLT_CHECK(same(got, n_got, want, n_want));
    }
}

static void
rules_cut_what_one_by_one_would(void)
{
    fx_t f;

    setup(&f);
    for (int round = 0; round < 300; round++) {
        nlt_delete_list_t *l = some_rules();
        nlt_matcher_t m[2] = {some_matcher(), some_matcher()};
        nlt_select_t sel = {m, nlt_test_below(3), INT64_MIN, INT64_MAX};
        nlt_cutter_t c;

        for (size_t i = 0; i < sel.n_matchers; i++) {
            NLT_CHECK_INT(nlt_matcher_compile(&f.pool, &m[i], NULL), NLT_OK);
        }
        nlt_cutter_init(&c, &nlt_mem_libc, l, 0);
        NLT_CHECK_INT(c.applied, 9 + N_RULES);
        check_part(&f, &c, false, NULL);
        check_part(&f, &c, true, NULL);
        check_part(&f, &c, false, &sel);
        check_part(&f, &c, true, &sel);
        check_labels(&c);
        NLT_CHECK_INT(c.applied, 9 + N_RULES);
        nlt_cutter_deinit(&c);
        for (size_t i = 0; i < sel.n_matchers; i++) {
            nlt_matcher_release(&m[i]);
        }
        nlt_deletes_free(&nlt_env_posix, l);
    }
    teardown(&f);
}

static void
no_rules_cut_nothing(void)
{
    fx_t f;
    nlt_cutter_t c;
    nlt_cuts_t cuts;
    nlt_err_t err;

    setup(&f);
    nlt_cutter_init(&c, &nlt_mem_libc, NULL, 0);
    NLT_CHECK_INT(nlt_cutter_arena(&c, &f.pool, f.arena, NULL, &cuts, &err),
                  NLT_OK);
    NLT_CHECK_INT(cuts.n, 0);
    NLT_CHECK_INT(c.applied, 0);
    nlt_cutter_deinit(&c);
    teardown(&f);
}

/* A rule whose range the query does not meet costs and says nothing. */
static void
rules_of_other_times_are_passed_over(void)
{
    static const nlt_delete_set_t every = {NULL, 0};
    fx_t f;
    nlt_delete_list_t *l = nlt_deletes_empty(&nlt_env_posix, 0);
    nlt_select_t sel = {NULL, 0, NOW_MS - 50, NOW_MS};
    nlt_cutter_t c;
    nlt_cuts_t cuts;
    nlt_err_t err;

    setup(&f);
    l->v[l->n++] = (nlt_delete_t){1,
                                  0,
                                  NOW_MS - 100,
                                  NOW_MS - 51,
                                  ARENA,
                                  (nlt_delete_set_t *) (uintptr_t) &every,
                                  1};
    l->last = 1;
    nlt_cutter_init(&c, &nlt_mem_libc, l, 0);
    NLT_CHECK_INT(nlt_cutter_arena(&c, &f.pool, f.arena, &sel, &cuts, &err),
                  NLT_OK);
    NLT_CHECK_INT(cuts.n, 0);
    sel.t_min_ms--;
    NLT_CHECK_INT(nlt_cutter_arena(&c, &f.pool, f.arena, &sel, &cuts, &err),
                  NLT_OK);
    NLT_CHECK_INT(cuts.n, 1);
    NLT_CHECK_INT(cuts.v[0].n, N_SERIES);
    nlt_cutter_deinit(&c);
    nlt_deletes_free(&nlt_env_posix, l);
    teardown(&f);
}

/* Who answers is told; who writes goes on, and says which rule stays. */
static void
expression_over_its_limits_fails_or_stays(void)
{
    nlt_matcher_t m[] = {{NLT_MATCH_RE, {1, "a"}, {9, "(a+)+(b|c)"}, NULL},
                         {NLT_MATCH_EQ, {1, "a"}, {1, "x"}, NULL}};
    nlt_delete_set_t hard[] = {{&m[0], 1}}, easy[] = {{&m[1], 1}};
    nlt_delete_list_t *l = nlt_deletes_empty(&nlt_env_posix, 0);
    nlt_interval_t got[NLT_DELETES_MAX];
    char text[4000];
    nlt_label_t v = {NLT_STR("a"), {sizeof(text), text}};
    nlt_labels_t labels = {&v, 1};
    nlt_cutter_t c;
    size_t n;
    nlt_err_t err;

    m[0].value = NLT_STR("(a+)+(b|c)");
    memset(text, 'a', sizeof(text));
    l->v[l->n++] = (nlt_delete_t){3, 0, 0, 9, ARENA, easy, 1};
    l->v[l->n++] = (nlt_delete_t){5, 0, 0, 9, ARENA, hard, 1};
    l->v[l->n++] = (nlt_delete_t){8, 0, 20, 29, ARENA, easy, 1};
    l->last = 8;
    nlt_cutter_init(&c, &nlt_mem_libc, l, 0);
    NLT_CHECK_INT(nlt_cutter_labels(&c, ARENA, labels, got, &n, &err),
                  NLT_ELIMIT);
    NLT_CHECK(strstr(err.text, "delete 5") != NULL);
    c.lenient = true;
    NLT_CHECK_INT(nlt_cutter_labels(&c, ARENA, labels, got, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 0);
    NLT_CHECK_INT(c.applied, 4);
    v.value = NLT_STR("x");
    NLT_CHECK_INT(nlt_cutter_labels(&c, ARENA, labels, got, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 2);
    nlt_cutter_deinit(&c);
    nlt_deletes_free(&nlt_env_posix, l);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(rules_cut_what_one_by_one_would);
    NLT_TEST(no_rules_cut_nothing);
    NLT_TEST(rules_of_other_times_are_passed_over);
    NLT_TEST(expression_over_its_limits_fails_or_stays);
    return nlt_test_done();
}

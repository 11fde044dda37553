/*
 * nlt_tenants_test.c - names and numbers of tenants in shared memory.
 */
#include "nlt_dying.h"

#include "nlt_head_fixture.h"
#include "nlt_tenants.h"

/* Format 1 is read for ever. */
#define EXAMPLE_1                                                             \
    "nightlight-tenants 1 fbd04437\n"                                         \
    "store 30313233343536373839616263646566 ed836216\n"                       \
    "next 5 9b8bd6e5\n"                                                       \
    "tenant 1 61636d65 e7b21317\n"                                            \
    "tenant 4 2e2e 8a1f3a9b\n"                                                \
    "end 5 5b1ce7e2\n"

#define EXAMPLE                                                               \
    "nightlight-tenants 2 e880b7c3\n"                                         \
    "store 30313233343536373839616263646566 8c816194\n"                       \
    "next 5 283bbb36\n"                                                       \
    "known 4 e35a0d1e\n"                                                      \
    "tenant 1 61636d65 ce7489f0\n"                                            \
    "tenant 4 2e2e 4ce535a0\n"                                                \
    "end 6 7957d0d8\n"

static const uint8_t store_of_others[17] = "0123456789abcdeX";

static nlt_str_t
name_of(char *buf, unsigned i)
{
    return (nlt_str_t){(size_t) sprintf(buf, "tenant-%u", i), buf};
}

/* What the rest must be is said by rc alone. */
static nlt_rc_t
have(nlt_tenants_t *t, const char *name, uint32_t limit, uint32_t *number)
{
    nlt_err_t err;

    return nlt_tenants_have(t, nlt_test_str(name), limit, number, &err);
}

static void
names_have_one_number_each(void)
{
    fixture_t f;
    nlt_head_t *h, *other;
    nlt_tenants_t *t;
    uint32_t a, b, n;
    nlt_err_t err;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    t = nlt_head_tenants(h);
    NLT_CHECK_INT(nlt_tenants_find(t, NLT_STR("a")), 0);
    NLT_CHECK_INT(have(t, "a", 2, &a), NLT_OK);
    NLT_CHECK_INT(have(t, "b", 2, &b), NLT_OK);
    NLT_CHECK_INT(a, 1);
    NLT_CHECK_INT(b, 2);
    NLT_CHECK_INT(have(t, "a", 2, &n), NLT_OK);
    NLT_CHECK_INT(n, a);
    NLT_CHECK_INT(have(t, "c", 2, &n), NLT_ELIMIT);
    NLT_CHECK_INT(n, 0);
    NLT_CHECK_INT(nlt_tenants_find(t, NLT_STR("c")), 0);
    NLT_CHECK_INT(nlt_tenants_count(t), 2);
    /* The default tenant has no name. */
    NLT_CHECK(nlt_tenants_lives(t, 0));
    NLT_CHECK_STR(nlt_tenant_name(nlt_tenants_slot(t, 0)), "");
    NLT_CHECK_INT(nlt_tenants_find(t, NLT_STR("")), 0);
    NLT_CHECK(!nlt_tenants_lives(t, 3));
    NLT_CHECK(nlt_tenants_slot(t, 3) == NULL);
    NLT_CHECK(nlt_tenants_slot(t, UINT32_MAX) == NULL);
    /* Another process has the same. */
    f.conf.role = NLT_ROLE_WORKER;
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &other, &err), NLT_OK);
    NLT_CHECK_INT(nlt_tenants_find(nlt_head_tenants(other), NLT_STR("b")), b);
    NLT_CHECK_INT(have(nlt_head_tenants(other), "c", 3, &n), NLT_OK);
    NLT_CHECK_INT(nlt_tenants_find(t, NLT_STR("c")), 3);
    nlt_head_detach(other);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
what_is_no_name_is_refused(void)
{
    static const struct {
        nlt_str_t name;
        bool ok;
    } v[] = {
        {{1, "a"}, true},
        {{2, ".."}, true},
        {{1, "/"}, true},
        {{3, "a b"}, true},
        {{2, "\xc3\xa9"}, true},
        {{15, "CN=Zo\xc3\xab,O=Acme\\"}, true},
        {{0, ""}, false},
        {{1, "\0"}, false},
        {{3, "a\0b"}, false},
        {{2, "a\n"}, false},
        {{2, "a\x7f"}, false},
        {{2, "\xc2\x85"}, false}, /* U+0085 */
        {{1, "\xff"}, false},
        {{2, "\xc0\xaf"}, false}, /* overlong '/' */
        {{3, "\xed\xa0\x80"}, false},
        {{1, "\xc3"}, false},
    };
    static char big[1 << 20];
    nlt_err_t err;

    for (size_t i = 0; i < NLT_COUNT(v); i++) {
        NLT_CHECK_INT(nlt_tenant_name_check(v[i].name, &err),
                      v[i].ok ? NLT_OK : NLT_EINVAL);
    }
    memset(big, 'x', sizeof(big));
    NLT_CHECK_INT(nlt_tenant_name_check((nlt_str_t){128, big}, &err), NLT_OK);
    NLT_CHECK_INT(nlt_tenant_name_check((nlt_str_t){129, big}, &err),
                  NLT_EINVAL);
    NLT_CHECK_INT(nlt_tenant_name_check((nlt_str_t){sizeof(big), big}, &err),
                  NLT_EINVAL);
}

static void
a_removed_name_gets_a_new_number(void)
{
    fixture_t f;
    nlt_head_t *h;
    nlt_tenants_t *t;
    uint32_t a, b, n;
    nlt_err_t err;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    t = nlt_head_tenants(h);
    NLT_CHECK_INT(have(t, "a", 2, &a), NLT_OK);
    NLT_CHECK_INT(have(t, "b", 2, &b), NLT_OK);
    NLT_CHECK_INT(nlt_tenants_remove(t, NLT_STR("a"), &n, &err), NLT_OK);
    NLT_CHECK_INT(n, a);
    NLT_CHECK_INT(nlt_tenants_remove(t, NLT_STR("a"), &n, &err), NLT_ENOENT);
    NLT_CHECK(!nlt_tenants_lives(t, a));
    NLT_CHECK_INT(nlt_tenants_find(t, NLT_STR("a")), 0);
    NLT_CHECK_INT(nlt_tenants_find(t, NLT_STR("b")), b);
    NLT_CHECK_INT(nlt_tenants_count(t), 1);
    NLT_CHECK_INT(have(t, "a", 2, &n), NLT_OK);
    NLT_CHECK_INT(n, 3);
    /* A number that was used up is not given by a log either. */
    NLT_CHECK_INT(nlt_tenants_put(t, a, NLT_STR("x"), &err), NLT_EEXIST);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
numbers_of_before_come_back(void)
{
    fixture_t f;
    nlt_head_t *h;
    nlt_tenants_t *t;
    uint32_t n;
    nlt_err_t err;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    t = nlt_head_tenants(h);
    NLT_CHECK_INT(nlt_tenants_put(t, 7, NLT_STR("g"), &err), NLT_OK);
    NLT_CHECK_INT(nlt_tenants_put(t, 3, NLT_STR("c"), &err), NLT_OK);
    NLT_CHECK_INT(nlt_tenants_put(t, 3, NLT_STR("c"), &err), NLT_OK);
    NLT_CHECK_INT(nlt_tenants_put(t, 3, NLT_STR("d"), &err), NLT_EEXIST);
    NLT_CHECK_INT(nlt_tenants_put(t, 4, NLT_STR("c"), &err), NLT_EEXIST);
    NLT_CHECK_INT(nlt_tenants_put(t, 0, NLT_STR("z"), &err), NLT_EDATA);
    NLT_CHECK_INT(nlt_tenants_put(t, 5, NLT_STR("\n"), &err), NLT_EDATA);
    NLT_CHECK_INT(nlt_tenants_put(t, NLT_TENANTS_NUMBERS, NLT_STR("z"), &err),
                  NLT_EDATA);
    NLT_CHECK_INT(nlt_tenants_count(t), 2);
    NLT_CHECK_INT(have(t, "h", 9, &n), NLT_OK);
    NLT_CHECK_INT(n, 8);
    nlt_tenants_skip(t, 20);
    NLT_CHECK_INT(have(t, "i", 9, &n), NLT_OK);
    NLT_CHECK_INT(n, 20);
    /* Not below what is logged. */
    NLT_CHECK(!nlt_tenants_logged(t, n, 5));
    nlt_tenants_set_logged(t, n, 5);
    NLT_CHECK(nlt_tenants_logged(t, n, 5));
    nlt_tenants_set_logged(t, n, 4);
    NLT_CHECK(!nlt_tenants_logged(t, n, 4));
    NLT_CHECK(nlt_tenants_logged(t, n, 5));
    NLT_CHECK(nlt_tenants_logged(t, 0, 5));
    nlt_head_detach(h);
    fixture_close(&f);
}

/*
 * What is written while logs are still being read does not say that those who
 * are to come were deleted.
 */
static void
a_file_of_half_a_replay_denies_nobody(void)
{
    for (int is_whole = 0; is_whole < 2; is_whole++) {
        fixture_t f;
        nlt_head_t *h;
        uint32_t n, next;
        nlt_err_t err;
        int fd;

        fixture_open(&f, NLT_HEAD_MEMORY_MIN);
        NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
        fd = f.conf.dir_fd;
        NLT_CHECK_INT(
            nlt_tenants_put(nlt_head_tenants(h), 5, NLT_STR("e"), &err),
            NLT_OK);
        NLT_CHECK_INT(nlt_tenants_save(nlt_head_tenants(h), fd,
                                       f.conf.store_id, is_whole != 0, &err),
                      NLT_OK);
        nlt_head_detach(h);
        NLT_CHECK_INT(nlt_head_remove(&f.conf, &err), NLT_OK);
        NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
        NLT_CHECK_INT(nlt_tenants_load(nlt_head_tenants(h), fd,
                                       f.conf.store_id, &next, &err),
                      NLT_OK);
        NLT_CHECK_INT(next, 6);
        NLT_CHECK_INT(
            nlt_tenants_replay(nlt_head_tenants(h), 3, NLT_STR("c"), &n, &err),
            NLT_OK);
        NLT_CHECK_INT(n, is_whole ? 0 : 3);
        NLT_CHECK_INT(unlinkat(fd, "TENANTS", 0), 0);
        nlt_head_detach(h);
        fixture_close(&f);
    }
}

/* All numbers of a store, and not one more. */
static void
ten_thousand_are_cheap_and_numbers_end(void)
{
    fixture_t f;
    nlt_head_t *h;
    nlt_tenants_t *t;
    uint32_t n, wrong = 0;
    char buf[32];
    int64_t ns;
    nlt_err_t err;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    t = nlt_head_tenants(h);
    ns = nlt_mono_ns(&nlt_env_posix);
    for (unsigned i = 1; i <= 10000; i++) {
        wrong +=
            nlt_tenants_have(t, name_of(buf, i), 10000, &n, &err) != NLT_OK
            || n != i;
    }
    ns = nlt_mono_ns(&nlt_env_posix) - ns;
    printf("# 10000 tenants: %lld ns and %llu bytes each\n",
           (long long) ns / 10000,
           (unsigned long long) nlt_tenants_reserved(t) / 10000);
    NLT_CHECK_INT(wrong, 0);
    NLT_CHECK(nlt_tenants_reserved(t) <= nlt_tenants_bytes(10000));
    NLT_CHECK(nlt_tenants_reserved(t) < 6000000);
    for (unsigned i = 1; i <= 10000; i++) {
        wrong += nlt_tenants_find(t, name_of(buf, i)) != i;
    }
    NLT_CHECK_INT(wrong, 0);
    nlt_tenants_skip(t, NLT_TENANTS_NUMBERS - 1);
    NLT_CHECK_INT(have(t, "last", 20000, &n), NLT_OK);
    NLT_CHECK_INT(n, NLT_TENANTS_NUMBERS - 1);
    NLT_CHECK_INT(have(t, "no more", 20000, &n), NLT_ELIMIT);
    NLT_CHECK_INT(nlt_tenants_find(t, NLT_STR("last")),
                  NLT_TENANTS_NUMBERS - 1);
    nlt_head_detach(h);
    fixture_close(&f);
}

/* The example of docs/formats/tenants.md. */
static void
the_file_says_what_the_table_has(void)
{
    static const uint8_t id[17] = "0123456789abcdef";
    nlt_tenants_list_t l;
    nlt_tenants_t *t;
    nlt_pool_t pool;
    nlt_head_t *h;
    nlt_buf_t b;
    fixture_t f;
    uint32_t n;
    nlt_err_t err;
    size_t good = 0;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    t = nlt_head_tenants(h);
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(have(t, "acme", 9, &n), NLT_OK);
    NLT_CHECK_INT(have(t, "b", 9, &n), NLT_OK);
    NLT_CHECK_INT(have(t, "c", 9, &n), NLT_OK);
    NLT_CHECK_INT(have(t, "..", 9, &n), NLT_OK);
    NLT_CHECK_INT(nlt_tenants_remove(t, NLT_STR("b"), &n, &err), NLT_OK);
    NLT_CHECK_INT(nlt_tenants_remove(t, NLT_STR("c"), &n, &err), NLT_OK);
    nlt_tenants_print(t, nlt_tenants_end(t), nlt_tenants_end(t) - 1, id, &b);
    NLT_CHECK_STR(nlt_buf_str(&b), EXAMPLE);
    NLT_CHECK_INT(nlt_tenants_parse(nlt_buf_str(&b), id, &pool, &l, &err),
                  NLT_OK);
    NLT_CHECK_INT(l.next, 5);
    NLT_CHECK_INT(l.known, 4);
    NLT_CHECK_INT(l.n, 2);
    NLT_CHECK_INT(l.v[1].number, 4);
    NLT_CHECK_STR(l.v[1].name, "..");
    NLT_CHECK_INT(nlt_tenants_parse(NLT_STR(EXAMPLE_1), id, &pool, &l, &err),
                  NLT_OK);
    NLT_CHECK_INT(l.next, 5);
    NLT_CHECK_INT(l.known, 5);
    NLT_CHECK_INT(l.n, 2);
    NLT_CHECK_INT(
        nlt_tenants_parse(nlt_buf_str(&b), store_of_others, &pool, &l, &err),
        NLT_EDATA);
    /* Every flipped bit and every cut is seen. */
    for (size_t i = 0; i < b.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            b.data[i] ^= (char) (1 << bit);
            good += nlt_tenants_parse(nlt_buf_str(&b), id, &pool, &l, &err)
                    == NLT_OK;
            b.data[i] ^= (char) (1 << bit);
        }
        good += nlt_tenants_parse((nlt_str_t){i, b.data}, id, &pool, &l, &err)
                == NLT_OK;
    }
    NLT_CHECK_INT(good, 0);
    nlt_buf_deinit(&b);
    nlt_pool_deinit(&pool);
    nlt_head_detach(h);
    fixture_close(&f);
}

typedef struct {
    nlt_tenants_t *t;
    unsigned i;
    bool remove;
} work_arg_t;

static void
work_cb(void *ctx)
{
    work_arg_t *w = ctx;
    char buf[32];
    uint32_t n;

    if (w->remove) {
        (void) !nlt_tenants_remove(w->t, name_of(buf, w->i), &n, NULL);
    } else {
        (void) !nlt_tenants_have(w->t, name_of(buf, w->i), UINT32_MAX, &n,
                                 NULL);
    }
}

/*
 * Each name has one number or none, no number has two names, and the count is
 * that of the names, wherever a maker or remover died.
 */
static void
check_table(nlt_tenants_t *t)
{
    uint32_t live = 0, wrong = 0;

    for (uint32_t no = 1; no < nlt_tenants_end(t); no++) {
        nlt_tenant_t *slot = nlt_tenants_slot(t, no);

        if (slot == NULL) {
            wrong++;
        } else if (nlt_tenants_lives(t, no)) {
            live++;
            wrong += nlt_tenants_find(t, nlt_tenant_name(slot)) != no;
        }
    }
    NLT_CHECK_INT(wrong, 0);
    NLT_CHECK_INT(live, nlt_tenants_count(t));
}

/* No breakpoint can be put where the kernel's clock is. */
static int64_t
still_clock(void *ctx)
{
    (void) ctx;
    return 1;
}

static void
makers_and_removers_may_die_anywhere(void)
{
    nlt_env_t env = nlt_env_posix;
    sites_t *sites[2] = {new_sites(), new_sites()};
    unsigned deaths = 0, i = 0;
    uint32_t n, last = 0;
    nlt_tenants_t *t;
    nlt_head_t *h;
    char buf[32];
    fixture_t f;
    nlt_err_t err;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    env.now_ms = still_clock;
    f.conf.env = &env;
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    t = nlt_head_tenants(h);
    for (unsigned round = 0; round < 300; round++) {
        work_arg_t w = {t, i, round % 3 == 2};
        uint32_t before = nlt_tenants_find(t, name_of(buf, i)), after;

        deaths += die_somewhere(work_cb, &w, sites[w.remove], NULL, false);
        /* A reader needs no repair. */
        after = nlt_tenants_find(t, name_of(buf, i));
        NLT_CHECK(after == before || (w.remove ? after == 0 : before == 0));
        NLT_CHECK_INT(nlt_tenants_have(t, name_of(buf, 1000000 + round),
                                       UINT32_MAX, &n, &err),
                      NLT_OK);
        NLT_CHECK(n > last);
        last = n;
        if (after != 0) {
            NLT_CHECK_INT(nlt_tenants_find(t, name_of(buf, i)), after);
        }
        check_table(t);
        i += w.remove;
    }
    printf("# %u deaths at %u and %u places\n", deaths, sites[0]->n,
           sites[1]->n);
    NLT_CHECK(deaths > 100);
    nlt_head_detach(h);
    fixture_close(&f);
}

static void
a_lost_table_is_a_lost_head(void)
{
    fixture_t f;
    nlt_head_t *h, *other;
    char name[80] = "head.";
    nlt_err_t err;

    fixture_open(&f, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_head_create(&f.conf, 1, &h, &err), NLT_OK);
    for (int i = 0; i < 16; i++) {
        strcat(name, "a5");
    }
    strcat(name, ".tenants");
    NLT_CHECK(!nlt_head_is_lost(h));
    NLT_CHECK_INT(unlinkat(f.conf.dir_fd, name, 0), 0);
    NLT_CHECK(nlt_head_is_lost(h));
    NLT_CHECK_INT(nlt_head_attach(&f.conf, &other, &err), NLT_EDATA);
    nlt_head_detach(h);
    fixture_close(&f);
}

int
main(void)
{
    (void) nlt_test_seed();
    stepped = new_sites();
    NLT_TEST(names_have_one_number_each);
    NLT_TEST(what_is_no_name_is_refused);
    NLT_TEST(a_removed_name_gets_a_new_number);
    NLT_TEST(numbers_of_before_come_back);
    NLT_TEST(a_file_of_half_a_replay_denies_nobody);
    NLT_TEST(ten_thousand_are_cheap_and_numbers_end);
    NLT_TEST(the_file_says_what_the_table_has);
    NLT_TEST(makers_and_removers_may_die_anywhere);
    NLT_TEST(a_lost_table_is_a_lost_head);
    return nlt_test_done();
}

/*
 * nlt_deletes_test.c - rules as text, on disk, in a process; intervals.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_deletes.h"
#include "nlt_filenames.h"
#include "nlt_store_fault.h"
#include "nlt_hash.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

static const uint8_t store_id[NLT_STORE_ID_BYTES] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

/* ---- a few rules ---- */

static nlt_matcher_t api[] = {{NLT_MATCH_EQ, {3, "job"}, {3, "api"}, NULL}};
static nlt_matcher_t up[] = {
    {NLT_MATCH_RE, {8, "__name__"}, {3, "u.*"}, NULL},
    {NLT_MATCH_NE, {4, "zone"}, {0, NULL}, NULL},
    {NLT_MATCH_NRE, {1, "x"}, {6, "a\n\xc3\xa9 b"}, NULL},
};
static nlt_delete_set_t two[] = {{api, 1}, {up, 3}};
static nlt_delete_set_t one[] = {{api, 1}};
static nlt_delete_set_t all[] = {{NULL, 0}};

static nlt_delete_list_t
sample(nlt_delete_t v[3])
{
    v[0] = (nlt_delete_t){.number = 3,
                          .t_min_ms = INT64_MIN,
                          .t_max_ms = INT64_MAX,
                          .arena_max = 12,
                          .sets = two,
                          .n_sets = 2};
    v[1] = (nlt_delete_t){.number = 4,
                          .tenant = 7,
                          .t_min_ms = -5,
                          .t_max_ms = 1718000000000,
                          .arena_max = 12,
                          .sets = all,
                          .n_sets = 1};
    v[2] = (nlt_delete_t){.number = 9,
                          .t_min_ms = 17,
                          .t_max_ms = 17,
                          .arena_max = 40,
                          .sets = one,
                          .n_sets = 1};
    return (nlt_delete_list_t){.last = 11, .v = v, .n = 3};
}

static bool
same_matcher(const nlt_matcher_t *a, const nlt_matcher_t *b)
{
    return a->op == b->op && nlt_str_eq(a->name, b->name)
           && nlt_str_eq(a->value, b->value);
}

static bool
same_rule(const nlt_delete_t *a, const nlt_delete_t *b)
{
    bool good = a->number == b->number && a->tenant == b->tenant
                && a->t_min_ms == b->t_min_ms && a->t_max_ms == b->t_max_ms
                && a->arena_max == b->arena_max && a->n_sets == b->n_sets;

    for (size_t i = 0; good && i < a->n_sets; i++) {
        good = a->sets[i].n == b->sets[i].n;
        for (size_t k = 0; good && k < a->sets[i].n; k++) {
            good =
                same_matcher(&a->sets[i].matchers[k], &b->sets[i].matchers[k]);
        }
    }
    return good;
}

static bool
same(const nlt_delete_list_t *a, const nlt_delete_list_t *b)
{
    bool good = a->n == b->n && a->last == b->last;

    for (size_t i = 0; good && i < a->n; i++) {
        good = same_rule(&a->v[i], &b->v[i]);
    }
    return good;
}

/* ---- text ---- */

static void
text_reads_back(void)
{
    nlt_delete_t v[3];
    nlt_delete_list_t want = sample(v), *got;
    nlt_buf_t text;
    nlt_err_t err;

    nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
    nlt_deletes_print(&want, store_id, &text);
    NLT_CHECK_INT(text.rc, NLT_OK);
    NLT_CHECK_INT(nlt_deletes_parse(&nlt_env_posix, nlt_buf_str(&text),
                                    store_id, &got, &err),
                  NLT_OK);
    NLT_CHECK(got != NULL && same(got, &want));
    nlt_deletes_free(&nlt_env_posix, got);
    nlt_buf_deinit(&text);
}

/* The format is a contract: this text must be read for ever. */
static const char golden[] =
    "nightlight-deletes 1 e26e1790\n"
    "store 00112233445566778899aabbccddeeff 2cc1f895\n"
    "next 12 52a0f115\n"
    "delete 3 0 -9223372036854775808 9223372036854775807 12 2 963be18b\n"
    "set 1 ffe04791\n"
    "match = 6a6f62 617069 d84efcb9\n"
    "set 3 25e41187\n"
    "match =~ 5f5f6e616d655f5f 752e2a fc21b71b\n"
    "match != 7a6f6e65 - 4caa3825\n"
    "match !~ 78 610ac3a92062 e4df7977\n"
    "delete 4 7 -5 1718000000000 12 1 64d8e2c1\n"
    "set 0 c94a21a1\n"
    "delete 9 0 17 17 40 1 7f832ac6\n"
    "set 1 6f9bc09d\n"
    "match = 6a6f62 617069 82b996ed\n"
    "end 15 108965ef\n";

static void
text_of_format_1_is_read_and_written(void)
{
    nlt_delete_t v[3];
    nlt_delete_list_t want = sample(v), *got;
    nlt_buf_t text;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_deletes_parse(&nlt_env_posix, nlt_test_str(golden),
                                    store_id, &got, &err),
                  NLT_OK);
    NLT_CHECK(got != NULL && same(got, &want));
    nlt_deletes_free(&nlt_env_posix, got);
    nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
    nlt_deletes_print(&want, store_id, &text);
    NLT_CHECK_STR(nlt_buf_str(&text), golden);
    nlt_buf_deinit(&text);
}

static nlt_rc_t
parse(const char *text, size_t len, nlt_err_t *err)
{
    nlt_delete_list_t *got;
    nlt_rc_t rc = nlt_deletes_parse(&nlt_env_posix, (nlt_str_t){len, text},
                                    store_id, &got, err);

    NLT_CHECK((rc == NLT_OK) == (got != NULL));
    nlt_deletes_free(&nlt_env_posix, got);
    return rc;
}

static void
every_damage_is_refused(void)
{
    size_t n = sizeof(golden) - 1;
    char *bad = malloc(n);
    nlt_err_t err;

    for (size_t i = 0; i < n; i++) {
        NLT_CHECK(parse(golden, i, &err) == NLT_EDATA); /* cut off */
        for (int bit = 0; bit < 8; bit++) {
            memcpy(bad, golden, n);
            bad[i] = (char) (bad[i] ^ 1 << bit);
            if (parse(bad, n, &err) == NLT_OK) {
                printf("# byte %zu bit %d is not seen\n", i, bit);
                NLT_CHECK(false);
            }
        }
    }
    free(bad);
}

/* Lines with right checksums that do not belong together. */
static nlt_rc_t
parse_lines(const char *const *line, size_t n, nlt_err_t *err)
{
    nlt_buf_t text;
    char end[32];
    uint32_t crc = 0;
    nlt_rc_t rc;

    (void) snprintf(end, sizeof(end), "end %zu", n);
    nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
    for (size_t i = 0; i <= n; i++) {
        const char *s = i < n ? line[i] : end;

        crc = nlt_crc32c(crc, s, strlen(s));
        nlt_buf_addf(&text, "%s %08x\n", s, crc);
    }
    rc = parse(text.data, text.len, err);
    nlt_buf_deinit(&text);
    return rc;
}

#define HEAD                                                                  \
    "nightlight-deletes 1", "store 00112233445566778899aabbccddeeff", "next 9"

static void
nonsense_is_refused(void)
{
    static const char *const bad[][8] = {
        {HEAD, "delete 9 0 0 0 1 1", "set 0"},  /* not below next */
        {HEAD, "delete 0 0 0 0 1 1", "set 0"},  /* no number */
        {HEAD, "delete 1 0 0 -1 1 1", "set 0"}, /* ends before it begins */
        {HEAD, "delete 1 0 0 0 1 0"},           /* no set */
        {HEAD, "delete 1 0 0 0 1 65", "set 0"}, /* too many */
        {HEAD, "delete 1 0 0 0 1 2", "set 0"},  /* one is missing */
        {HEAD, "delete 1 0 0 0 1 1", "set 0", "set 0"},
        {HEAD, "delete 1 0 0 0 1 1", "set 1"},
        {HEAD, "delete 1 0 0 0 1 1", "set 257"},
        {HEAD, "delete 1 0 0 0 1 1", "set 1", "match == 61 62"},
        {HEAD, "delete 1 0 0 0 1 1", "set 1", "match = 6 62"},
        {HEAD, "delete 1 0 0 0 1 1", "set 1", "match = 6A 62"},
        {HEAD, "delete 1 0 0 0 1 1", "set 0", "match = 61 62"},
        {HEAD, "delete 2 0 0 0 1 1", "set 0", "delete 2 0 0 0 1 1", "set 0"},
        {HEAD, "delete 1 4294967296 0 0 1 1", "set 0"},
        {HEAD, "set 0"},
        {HEAD, "undelete 1"},
        {"nightlight-deletes 1", "store 0011", "next 9"},
        {"nightlight-deletes 1", "store 00112233445566778899aabbccddeeff",
         "next 0"},
        {"nightlight-deletes 1", "store 00112233445566778899aabbccddeeff"},
        {"nightlight-manifest 1", "store 00112233445566778899aabbccddeeff",
         "next 9"},
        {"nightlight-deletes 1", "store 10112233445566778899aabbccddeeff",
         "next 9"},
    };
    static const char *const good[] = {HEAD, "delete 1 0 0 0 1 1", "set 1",
                                       "match = 61 -"};
    static const char *const later[] = {"nightlight-deletes 2", "whatever"};
    nlt_err_t err;

    for (size_t i = 0; i < NLT_COUNT(bad); i++) {
        size_t n = 0;

        while (n < 8 && bad[i][n] != NULL) {
            n++;
        }
        err.text[0] = '\0';
        if (parse_lines(bad[i], n, &err) != NLT_EDATA
            || strncmp(err.text, "DELETES ", 8) != 0) {
            printf("# case %zu: %s\n", i, err.text);
            NLT_CHECK(false);
        }
    }
    NLT_CHECK_INT(parse_lines(good, NLT_COUNT(good), &err), NLT_OK);
    NLT_CHECK_INT(parse_lines(later, 2, &err), NLT_EVERSION);
    NLT_CHECK(strstr(err.text, "format 2") != NULL);
}

static void
nothing_leaks_without_memory(void)
{
    nlt_err_t err;

    for (int n = 0; n < 1000; n++) {
        nlt_env_t env = nlt_env_posix;
        nlt_delete_list_t *got;
        nlt_test_mem_t mem;
        nlt_rc_t rc;

        nlt_test_mem_init(&mem, n);
        env.mem = &mem.mem;
        rc = nlt_deletes_parse(&env, nlt_test_str(golden), store_id, &got,
                               &err);
        nlt_deletes_free(&env, got);
        NLT_CHECK_INT(mem.bytes, 0);
        if (rc == NLT_OK) {
            NLT_CHECK(n > 1);
            break;
        }
        NLT_CHECK_INT(rc, NLT_ENOMEM);
    }
}

/* ---- the file ---- */

static int dir_fd = -1;
static char dir_name[64];

static void
make_dir(void)
{
    (void) snprintf(dir_name, sizeof(dir_name), "/tmp/nlt-deletes-XXXXXX");
    NLT_CHECK(mkdtemp(dir_name) != NULL);
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    NLT_CHECK(dir_fd >= 0);
}

static void
remove_dir(void)
{
    nlt_err_t err;

    (void) close(dir_fd);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, dir_name, &err),
                  NLT_OK);
}

static nlt_rc_t
add(const nlt_env_t *env, nlt_delete_t *d, nlt_err_t *err)
{
    return nlt_deletes_add(env, dir_fd, store_id, d, err);
}

static bool
is_even(void *ctx, const nlt_delete_t *d)
{
    (void) ctx;
    return d->number % 2 == 0;
}

static bool
is_any(void *ctx, const nlt_delete_t *d)
{
    (void) ctx;
    (void) d;
    return true;
}

static void
rules_come_and_go_and_numbers_rise(void)
{
    const nlt_env_t *env = &nlt_env_posix;
    nlt_delete_t v[3];
    nlt_delete_list_t want = sample(v), *got;
    nlt_err_t err;
    size_t n;

    make_dir();
    NLT_CHECK_INT(nlt_deletes_load(env, dir_fd, store_id, &got, &err), NLT_OK);
    NLT_CHECK(got->n == 0 && got->last == 0);
    nlt_deletes_free(env, got);
    for (size_t i = 0; i < 3; i++) {
        v[i].number = 0;
        NLT_CHECK_INT(add(env, &v[i], &err), NLT_OK);
        NLT_CHECK_INT(v[i].number, i + 1);
    }
    want.last = 3;
    NLT_CHECK_INT(nlt_deletes_load(env, dir_fd, store_id, &got, &err), NLT_OK);
    NLT_CHECK(same(got, &want));
    nlt_deletes_free(env, got);
    NLT_CHECK_INT(
        nlt_deletes_drop(env, dir_fd, store_id, is_even, NULL, &n, &err),
        NLT_OK);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK_INT(
        nlt_deletes_drop(env, dir_fd, store_id, is_even, NULL, &n, &err),
        NLT_OK);
    NLT_CHECK_INT(n, 0);
    NLT_CHECK_INT(
        nlt_deletes_drop(env, dir_fd, store_id, is_any, NULL, &n, &err),
        NLT_OK);
    NLT_CHECK_INT(n, 2);
    /* A number is not used again, and a higher one may be asked for. */
    v[0].number = 0;
    NLT_CHECK_INT(add(env, &v[0], &err), NLT_OK);
    NLT_CHECK_INT(v[0].number, 4);
    v[0].number = 20;
    NLT_CHECK_INT(add(env, &v[0], &err), NLT_OK);
    NLT_CHECK_INT(v[0].number, 20);
    v[0].number = 0;
    NLT_CHECK_INT(add(env, &v[0], &err), NLT_OK);
    NLT_CHECK_INT(v[0].number, 21);
    remove_dir();
}

static void
too_much_is_refused(void)
{
    const nlt_env_t *env = &nlt_env_posix;
    nlt_delete_t v[3];
    nlt_matcher_t bad = {NLT_MATCH_RE, {1, "a"}, {2, "(b"}, NULL};
    nlt_matcher_t many[NLT_DELETE_MATCHERS_MAX + 1];
    nlt_delete_set_t set = {many, NLT_COUNT(many)};
    nlt_err_t err;

    make_dir();
    (void) sample(v);
    v[0].sets = &set;
    v[0].n_sets = 1;
    for (size_t i = 0; i < NLT_COUNT(many); i++) {
        many[i] = api[0];
    }
    NLT_CHECK_INT(add(env, &v[0], &err), NLT_ELIMIT);
    set = (nlt_delete_set_t){&bad, 1};
    NLT_CHECK_INT(add(env, &v[0], &err), NLT_EINVAL);
    NLT_CHECK(strstr(err.text, "error parsing regexp") != NULL);
    bad = (nlt_matcher_t){
        NLT_MATCH_EQ,
        {NLT_DELETE_BYTES_MAX, calloc(1, NLT_DELETE_BYTES_MAX)},
        {1, "b"},
        NULL};
    NLT_CHECK_INT(add(env, &v[0], &err), NLT_ELIMIT);
    free((void *) (uintptr_t) bad.name.data);
    v[0].n_sets = 0;
    NLT_CHECK_INT(add(env, &v[0], &err), NLT_EINVAL);
    NLT_CHECK(faccessat(dir_fd, NLT_FILE_DELETES, F_OK, 0) < 0);
    for (size_t i = 0; i < NLT_DELETES_MAX; i++) {
        v[2].number = 0;
        NLT_CHECK_INT(add(env, &v[2], &err), NLT_OK);
    }
    NLT_CHECK_INT(add(env, &v[2], &err), NLT_AGAIN);
    remove_dir();
}

/* After each failing call the file has the rule, or has it not. */
static void
failing_disk_leaves_a_whole_file(void)
{
    fx_fault_t fault = {.calls = 0};
    nlt_io_t io = fx_fault_io(&fault);
    nlt_env_t env = nlt_env_posix;
    nlt_delete_t v[3];
    size_t had = 0;
    nlt_err_t err;

    make_dir();
    env.io = &io;
    for (long n = 1; n < 1000; n++) {
        nlt_delete_list_t *got;
        nlt_rc_t rc;

        (void) sample(v);
        v[0].number = 0;
        fault = (fx_fault_t){.fail_at = n};
        rc = add(&env, &v[0], &err);
        NLT_CHECK_INT(
            nlt_deletes_load(&nlt_env_posix, dir_fd, store_id, &got, &err),
            NLT_OK);
        NLT_CHECK(got->n == had || got->n == had + 1);
        NLT_CHECK(rc != NLT_OK || got->n == had + 1);
        had = got->n;
        nlt_deletes_free(&nlt_env_posix, got);
        if (!fault.hit) {
            NLT_CHECK_INT(rc, NLT_OK);
            NLT_CHECK(n > 5);
            break;
        }
        NLT_CHECK_INT(rc, NLT_EIO);
    }
    remove_dir();
}

static void
one_has_the_lock(void)
{
    const nlt_env_t *env = &nlt_env_posix;
    int lock, other;
    nlt_err_t err;

    make_dir();
    NLT_CHECK_INT(nlt_deletes_lock(env, dir_fd, &lock, &err), NLT_OK);
    NLT_CHECK_INT(nlt_deletes_lock(env, dir_fd, &other, &err), NLT_AGAIN);
    nlt_deletes_unlock(env, other);
    nlt_deletes_unlock(env, lock);
    NLT_CHECK_INT(nlt_deletes_lock(env, dir_fd, &lock, &err), NLT_OK);
    nlt_deletes_unlock(env, lock);
    remove_dir();
}

static int
no_space(void *ctx, int fd, const char *name, int flags, mode_t mode)
{
    (void) ctx, (void) fd, (void) name, (void) flags, (void) mode;
    return -ENOSPC;
}

/* The lock is a file too; a full disk passes, so it is not NLT_EIO. */
static void
a_lock_that_has_no_room_is_a_full_disk(void)
{
    nlt_env_t env = nlt_env_posix;
    nlt_io_t io = *env.io;
    int lock;
    nlt_err_t err;

    io.open = no_space;
    env.io = &io;
    make_dir();
    NLT_CHECK_INT(nlt_deletes_lock(&env, dir_fd, &lock, &err), NLT_EFULL);
    remove_dir();
}

/* ---- the rules as a process has them ---- */

static void
lists_are_read_again_when_the_generation_moves(void)
{
    const nlt_env_t *env = &nlt_env_posix;
    nlt_delete_t v[3];
    const nlt_delete_list_t *a, *b, *c;
    nlt_deletes_t *s;
    nlt_err_t err;

    make_dir();
    (void) sample(v);
    NLT_CHECK_INT(nlt_deletes_create(env, dir_fd, store_id, &s, &err), NLT_OK);
    NLT_CHECK_INT(nlt_deletes_acquire(s, 5, &a, &err), NLT_OK);
    NLT_CHECK_INT(a->n, 0);
    NLT_CHECK_INT(add(env, &v[0], &err), NLT_OK);
    NLT_CHECK_INT(nlt_deletes_acquire(s, 5, &b, &err), NLT_OK);
    NLT_CHECK(b == a);
    NLT_CHECK_INT(nlt_deletes_acquire(s, 6, &c, &err), NLT_OK);
    NLT_CHECK_INT(c->n, 1);
    NLT_CHECK_INT(a->n, 0); /* it is held */
    nlt_deletes_release(s, a);
    nlt_deletes_release(s, b);
    nlt_deletes_release(s, c);
    NLT_CHECK_INT(add(env, &v[1], &err), NLT_OK);
    nlt_deletes_forget(s);
    NLT_CHECK_INT(nlt_deletes_acquire(s, 6, &c, &err), NLT_OK);
    NLT_CHECK_INT(c->n, 2);
    nlt_deletes_release(s, c);
    /* Who cannot read them gets none, and may ask again. */
    NLT_CHECK_INT(renameat(dir_fd, NLT_FILE_DELETES, dir_fd, "x"), 0);
    NLT_CHECK_INT(mkdirat(dir_fd, NLT_FILE_DELETES, 0700), 0);
    NLT_CHECK_INT(nlt_deletes_acquire(s, 7, &c, &err), NLT_EIO);
    NLT_CHECK(c == NULL);
    NLT_CHECK_INT(unlinkat(dir_fd, NLT_FILE_DELETES, AT_REMOVEDIR), 0);
    NLT_CHECK_INT(renameat(dir_fd, "x", dir_fd, NLT_FILE_DELETES), 0);
    NLT_CHECK_INT(nlt_deletes_acquire(s, 7, &c, &err), NLT_OK);
    NLT_CHECK_INT(c->n, 2);
    nlt_deletes_release(s, c);
    nlt_deletes_destroy(s);
    remove_dir();
}

static void
parts_are_under_the_rules_made_for_them(void)
{
    nlt_delete_t d = {.number = 7, .arena_max = 41};

    NLT_CHECK(nlt_delete_concerns(&d, 41, 0));  /* an arena */
    NLT_CHECK(!nlt_delete_concerns(&d, 42, 0)); /* the one after it */
    NLT_CHECK(nlt_delete_concerns(&d, 41, 6));
    NLT_CHECK(!nlt_delete_concerns(&d, 41, 7)); /* a block made after it */
    NLT_CHECK(nlt_delete_concerns(&d, 0, 6));   /* imported before it */
    NLT_CHECK(!nlt_delete_concerns(&d, 0, 9));
}

/* ---- intervals ---- */

static void
intervals_are_joined(void)
{
    nlt_interval_t v[] = {
        {10, 20}, {INT64_MIN, -5},
        {21, 25}, {40, 50},
        {45, 46}, {INT64_MAX - 1, INT64_MAX},
        {27, 27}, {INT64_MAX, INT64_MAX},
        {-9, -7},
    };
    static const nlt_interval_t want[] = {{INT64_MIN, -5},
                                          {10, 25},
                                          {27, 27},
                                          {40, 50},
                                          {INT64_MAX - 1, INT64_MAX}};
    size_t n = nlt_intervals_join(v, NLT_COUNT(v));

    NLT_CHECK_INT(n, NLT_COUNT(want));
    for (size_t i = 0; i < n && i < NLT_COUNT(want); i++) {
        NLT_CHECK_INT(v[i].t_min_ms, want[i].t_min_ms);
        NLT_CHECK_INT(v[i].t_max_ms, want[i].t_max_ms);
    }
    NLT_CHECK_INT(nlt_intervals_join(v, 0), 0);
    NLT_CHECK(nlt_intervals_cover(v, n, 10, 25));
    NLT_CHECK(nlt_intervals_cover(v, n, 12, 12));
    NLT_CHECK(!nlt_intervals_cover(v, n, 12, 27));
    NLT_CHECK(!nlt_intervals_cover(v, n, 9, 12));
    NLT_CHECK(!nlt_intervals_cover(v, n, 30, 31));
    NLT_CHECK(nlt_intervals_cover(v, n, INT64_MIN, -5));
    NLT_CHECK(!nlt_intervals_cover(v, 0, 1, 1));
}

/* Against looking at every interval for every sample. */
static void
samples_are_cut_like_one_by_one(void)
{
    for (int round = 0; round < 2000; round++) {
        int64_t t_ms[64];
        double val[64];
        nlt_interval_t v[6], joined[6];
        size_t n = nlt_test_below(64), k = nlt_test_below(7), want = 0;
        size_t from = nlt_test_below(n + 1);
        int64_t t = -40, left[64];
        nlt_samples_t s = {.t_ms = t_ms, .v = val, .n = n, .cap = 64};

        for (size_t i = 0; i < n; i++) {
            t += 1 + (int64_t) nlt_test_below(4);
            t_ms[i] = t;
            val[i] = (double) t;
        }
        for (size_t i = 0; i < k; i++) {
            v[i].t_min_ms = -45 + (int64_t) nlt_test_below(200);
            v[i].t_max_ms = v[i].t_min_ms + (int64_t) nlt_test_below(30);
            joined[i] = v[i];
        }
        for (size_t i = 0; i < n; i++) {
            bool in = false;

            for (size_t j = 0; j < k; j++) {
                in = in
                     || (t_ms[i] >= v[j].t_min_ms && t_ms[i] <= v[j].t_max_ms);
            }
            if (i < from || !in) {
                left[want++] = t_ms[i];
            }
        }
        nlt_intervals_cut(joined, nlt_intervals_join(joined, k), &s, from);
        NLT_CHECK_INT(s.n, want);
        for (size_t i = 0; i < want; i++) {
            NLT_CHECK_INT(s.t_ms[i], left[i]);
            NLT_CHECK(s.v[i] == (double) left[i]);
        }
    }
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(text_reads_back);
    NLT_TEST(text_of_format_1_is_read_and_written);
    NLT_TEST(every_damage_is_refused);
    NLT_TEST(nonsense_is_refused);
    NLT_TEST(nothing_leaks_without_memory);
    NLT_TEST(rules_come_and_go_and_numbers_rise);
    NLT_TEST(too_much_is_refused);
    NLT_TEST(failing_disk_leaves_a_whole_file);
    NLT_TEST(one_has_the_lock);
    NLT_TEST(a_lock_that_has_no_room_is_a_full_disk);
    NLT_TEST(lists_are_read_again_when_the_generation_moves);
    NLT_TEST(parts_are_under_the_rules_made_for_them);
    NLT_TEST(intervals_are_joined);
    NLT_TEST(samples_are_cut_like_one_by_one);
    return nlt_test_done();
}

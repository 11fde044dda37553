/*
 * nlt_import_life_test.c - blocks in import/ that come again, that are made of
 * each other, that meet trouble, and a store that stops meanwhile.
 */
#include "nlt_import_fixture.h"

/* ---- the same block again ---- */

static void
a_block_that_is_served_is_refused(void)
{
    bx_spec_t x = spec(1);
    nlt_ulid_t u;

    begin();
    u = bx_write(import_fd, &x);
    tenths(40);
    NLT_CHECK(is_served(&u));
    x.base = 7; /* another content by the same name */
    (void) bx_write(import_fd, &x);
    tenths(40);
    NLT_CHECK(says(&u, "a block of this name is served already"));
    x = spec(1);
    expect(&x);
    NLT_CHECK(answers());
    end();
}

/* Takes a block off the MANIFEST, as compaction does; the head is lost. */
static void
forget_block(const nlt_ulid_t *u)
{
    nlt_manifest_t m;
    nlt_err_t err;
    int fd = open(fx.path, O_RDONLY | O_DIRECTORY);

    fx_close(&fx);
    nlt_manifest_init(&m, &nlt_mem_libc, NULL);
    NLT_CHECK_INT(nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    nlt_manifest_remove_block(&m, nlt_manifest_find(&m, u->c));
    NLT_CHECK_INT(nlt_manifest_store(&m, &nlt_env_posix, fd, &err), NLT_OK);
    nlt_manifest_deinit(&m);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, blocks_fd, u->c, NULL),
                  NLT_OK);
    close(fd);
    NLT_CHECK(fx_start(&fx));
}

static void
a_block_that_went_away_may_come_back(void)
{
    bx_spec_t x = spec(1);
    nlt_ulid_t u;

    begin();
    u = bx_write(import_fd, &x);
    tenths(40);
    forget_block(&u);
    tenths(40);
    NLT_CHECK(answers()); /* it does not by itself */
    (void) bx_write(import_fd, &x);
    expect(&x);
    tenths(40);
    NLT_CHECK(answers());
    end();
}

/* ---- lineage ---- */

static nlt_ulid_t family[3];

/* The child of blocks 1 and 2: their samples, other values. */
static bx_spec_t
child_spec(void)
{
    bx_spec_t x = spec(3);

    family[0] = bx_ulid(1);
    family[1] = bx_ulid(2);
    x.n_samples = 200;
    x.level = 2;
    x.sources = family;
    x.n_sources = 2;
    return x;
}

static bx_spec_t
parent_spec(unsigned no)
{
    bx_spec_t x = spec(no);

    x.n_samples = 100;
    x.t_min_ms += (no - 1) * 100 * x.step_ms;
    return x;
}

static void
a_child_is_taken_and_its_parents_are_refused(void)
{
    bx_spec_t a = parent_spec(1), b = parent_spec(2), c = child_spec();
    nlt_ulid_t u[3];

    begin();
    u[0] = bx_write(import_fd, &a);
    u[1] = bx_write(import_fd, &b);
    tenths(18);
    u[2] = bx_write(import_fd, &c); /* is still being copied, as it seems */
    tenths(60);
    NLT_CHECK(is_served(&u[2]));
    for (int i = 0; i < 2; i++) {
        NLT_CHECK(!is_served(&u[i]));
        NLT_CHECK(says(&u[i], "which was made of it"));
        NLT_CHECK(says(&u[i], u[2].c));
    }
    expect(&c);
    NLT_CHECK(answers());
    end();
}

static void
parents_of_a_broken_child_are_taken(void)
{
    bx_spec_t a = parent_spec(1), b = parent_spec(2), c = child_spec();
    nlt_ulid_t u[3];

    begin();
    u[0] = bx_write(import_fd, &a);
    u[1] = bx_write(import_fd, &b);
    u[2] = bx_write(import_fd, &c);
    flip(&u[2], "index", 30);
    tenths(200);
    NLT_CHECK(exists(import_fd, &u[2], ".refused"));
    NLT_CHECK(is_served(&u[0]) && is_served(&u[1]));
    expect(&a);
    expect(&b);
    NLT_CHECK(answers());
    end();
}

static void
a_child_of_all_served_parents_is_refused(void)
{
    bx_spec_t a = parent_spec(1), b = parent_spec(2), c = child_spec();
    nlt_ulid_t u;

    begin();
    (void) bx_write(import_fd, &a);
    (void) bx_write(import_fd, &b);
    tenths(50);
    u = bx_write(import_fd, &c);
    tenths(50);
    NLT_CHECK(says(&u, "all that it was made of is served already"));
    expect(&a);
    expect(&b);
    NLT_CHECK(answers());
    end();
}

static void
a_child_with_more_takes_the_place_of_served_parents(void)
{
    bx_spec_t a = parent_spec(1), c = child_spec();
    nlt_ulid_t u[2];

    begin();
    u[0] = bx_write(import_fd, &a);
    tenths(50);
    NLT_CHECK(is_served(&u[0]));
    u[1] = bx_write(import_fd, &c);
    tenths(50);
    NLT_CHECK(is_served(&u[1]));
    NLT_CHECK(!is_served(&u[0]));
    NLT_CHECK(!exists(blocks_fd, &u[0], ""));
    expect(&c);
    NLT_CHECK(answers());
    end();
}

static void
named_parents_wait_too_and_a_circle_does_not_wait_for_ever(void)
{
    bx_spec_t a = spec(1), b = spec(2);
    nlt_ulid_t one = bx_ulid(1), two = bx_ulid(2), u[2];

    begin();
    a.parents = &two;
    a.n_parents = 1;
    b.parents = &one;
    b.n_parents = 1;
    u[0] = bx_write(import_fd, &a);
    u[1] = bx_write(import_fd, &b);
    tenths(60);
    NLT_CHECK(is_served(&u[0]) != is_served(&u[1]));
    NLT_CHECK_INT(n_refused(), 1);
    end();

    /* A block written anew without what was deleted names the old one. */
    begin();
    a.n_parents = 0;
    u[0] = bx_write(import_fd, &a);
    u[1] = bx_write(import_fd, &b);
    tenths(60);
    NLT_CHECK(is_served(&u[1]));
    NLT_CHECK(says(&u[0], "which was made of it"));
    end();
}

static void
halves_of_one_block_are_both_taken(void)
{
    bx_spec_t a = spec(1), b = spec(2);

    begin();
    (void) child_spec(); /* names the family */
    b.first = 30;
    a.sources = b.sources = family;
    a.n_sources = b.n_sources = 2;
    (void) bx_write(import_fd, &a);
    (void) bx_write(import_fd, &b);
    tenths(60);
    expect(&a);
    expect(&b);
    NLT_CHECK(answers());
    end();
}

/* ---- meanwhile ---- */

static int (*real_link)(void *ctx, int dir_fd, const char *name, int to_fd,
                        const char *to_name);
static int link_result; /* of links, instead of linking */

/* Somebody asks for a flush while a block is being taken in. */
static int
link_and_ask(void *ctx, int dir_fd, const char *name, int to_fd,
             const char *to_name)
{
    if (strcmp(name, "index") == 0) {
        NLT_CHECK_INT(fx_write(&fx, 1, FX_NOW - 5000, 5), NLT_OK);
        NLT_CHECK_INT(nlt_store_flush_soon(fx.store, &(nlt_err_t){.len = 0}),
                      NLT_OK);
    }
    fx.mono_ns += 1000000000;
    return link_result ? link_result
                       : real_link(ctx, dir_fd, name, to_fd, to_name);
}

static void
an_arena_is_flushed_while_a_block_is_checked(void)
{
    bx_spec_t x = spec(1);

    begin();
    real_link = fx.io.link;
    fx.io.link = link_and_ask;
    x.n = 60;
    (void) bx_write(import_fd, &x);
    for (int i = 0; i < 100 && n_imported() == 0; i++) {
        NLT_CHECK_INT(atomic_load(&nlt_store_ctl(fx.store)->counters.flushes),
                      0);
        tenths(1);
    }
    NLT_CHECK_INT(n_imported(), 1);
    NLT_CHECK_INT(atomic_load(&nlt_store_ctl(fx.store)->counters.flushes), 1);
    expect(&x);
    NLT_CHECK(answers());
    end();
}

static void
where_links_cannot_be_files_are_copied(void)
{
    static const int codes[] = {-EXDEV, -EPERM, -EMLINK, -EOPNOTSUPP};

    begin();
    real_link = fx.io.link;
    fx.io.link = link_and_ask;
    for (unsigned i = 0; i < NLT_COUNT(codes); i++) {
        bx_spec_t x = spec(i);

        x.first = 10 * i;
        link_result = codes[i];
        (void) bx_write(import_fd, &x);
        tenths(40);
        expect(&x);
    }
    link_result = 0;
    NLT_CHECK_INT(n_imported(), 4);
    NLT_CHECK_INT(n_entries(import_fd), 0);
    NLT_CHECK(answers());
    end();
}

static int64_t
no_room(void *ctx, int fd)
{
    (void) ctx;
    (void) fd;
    return 1000;
}

static void
a_full_disk_is_no_fault_of_the_block(void)
{
    bx_spec_t x = spec(1);

    begin();
    real_link = fx.io.link;
    fx.io.link = link_and_ask;
    link_result = -EXDEV;
    fx.io.free_bytes = no_room;
    (void) bx_write(import_fd, &x);
    tenths(200);
    NLT_CHECK_INT(n_imported(), 0);
    NLT_CHECK_INT(n_refused(), 0);
    NLT_CHECK_INT(n_entries(import_fd), 1);
    fx.io.free_bytes = nlt_io_posix.free_bytes;
    tenths(350);
    link_result = 0;
    NLT_CHECK_INT(n_imported(), 1);
    expect(&x);
    NLT_CHECK(answers());
    end();
}

static int
refuse_rmdir(void *ctx, int dir_fd, const char *name)
{
    struct stat a, b;

    /* Only below import/, as if it belonged to root. */
    NLT_CHECK_INT(fstat(dir_fd, &a), 0);
    NLT_CHECK_INT(fstat(import_fd, &b), 0);
    return a.st_ino == b.st_ino ? -EACCES
                                : nlt_io_posix.rmdir(ctx, dir_fd, name);
}

static void
what_cannot_be_removed_never_comes_back(void)
{
    bx_spec_t x = spec(1);
    nlt_ulid_t u;

    begin();
    fx.io.rmdir = refuse_rmdir;
    u = bx_write(import_fd, &x);
    tenths(40);
    NLT_CHECK(is_served(&u));
    NLT_CHECK(exists(import_fd, &u, ".adopted"));
    NLT_CHECK(!exists(import_fd, &u, ""));
    forget_block(&u);
    tenths(100);
    NLT_CHECK(!is_served(&u));
    NLT_CHECK(answers());
    end();
}

/* ---- the machine stops at any call to the disk ---- */

/* After a crash the block is either served or still there to be served. */
static bool
comes_through(const bx_spec_t *x, long fail_at, bool transient, bool *hit)
{
    bool good;

    begin();
    expect(x);
    (void) bx_write(import_fd, x);
    tenths(15);
    fx.fault = (fx_fault_t){.fail_at = fail_at, .transient = transient};
    tenths(15);
    *hit = fx.fault.hit;
    if (!transient) {
        fx_close(&fx);
    }
    fx.fault = (fx_fault_t){.calls = 0};
    good = transient || fx_start(&fx);
    tenths(transient ? 360 : 60); /* trouble is tried again after 30 s */
    good = good && answers();
    if (good) {
        restart();
        good = answers() && n_entries(blocks_fd) == 1
               && n_entries(import_fd) == 0;
    }
    if (!good) {
        printf("# call %ld, %s: %d blocks, %d in import/\n", fail_at,
               transient ? "once" : "and all after it", n_entries(blocks_fd),
               n_entries(import_fd));
    }
    end();
    return good;
}

static void
a_crash_at_any_call_loses_and_doubles_nothing(void)
{
    bx_spec_t x = spec(1);
    bool hit = true;
    long n = 0;

    x.n = 2;
    for (int transient = 0; transient < 2; transient++) {
        long at;

        for (at = 1, hit = true; hit; at++) {
            NLT_CHECK(comes_through(&x, at, transient, &hit));
        }
        n += at;
    }
    NLT_CHECK(n > 150);
    printf("# %ld calls\n", n);
}

int
main(void)
{
    NLT_TEST(a_block_that_is_served_is_refused);
    NLT_TEST(a_block_that_went_away_may_come_back);
    NLT_TEST(a_child_is_taken_and_its_parents_are_refused);
    NLT_TEST(parents_of_a_broken_child_are_taken);
    NLT_TEST(a_child_of_all_served_parents_is_refused);
    NLT_TEST(a_child_with_more_takes_the_place_of_served_parents);
    NLT_TEST(named_parents_wait_too_and_a_circle_does_not_wait_for_ever);
    NLT_TEST(halves_of_one_block_are_both_taken);
    NLT_TEST(an_arena_is_flushed_while_a_block_is_checked);
    NLT_TEST(where_links_cannot_be_files_are_copied);
    NLT_TEST(a_full_disk_is_no_fault_of_the_block);
    NLT_TEST(what_cannot_be_removed_never_comes_back);
    NLT_TEST(a_crash_at_any_call_loses_and_doubles_nothing);
    return nlt_test_done();
}

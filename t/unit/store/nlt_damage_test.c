/*
 * nlt_damage_test.c - queries and merges that meet a damaged block.
 */
#include "nlt_damage_fixture.h"

#include "nlt_compact.h"

/* ---- a query meets damage ---- */

static void
a_damaged_chunk_leaves_its_block_out_of_the_answer(void)
{
    ask_t a;
    dm_t d;

    setup(&d);
    NLT_CHECK_INT(ask_all(&d, &a), WHOLE);
    NLT_CHECK_INT(a.n_warnings, 0);
    NLT_CHECK_INT(a.rounds, 1);
    poke(&d, "chunks/000001", -20, "damage", 6);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK_INT(a.rounds, 2);
    NLT_CHECK(warns_of(&a, &d, "is damaged"));
    NLT_CHECK(strstr(a.warning, "missing: chunk file 000001: checksum")
              != NULL);
    /* Queries after it know, and those of other times do not care. */
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK_INT(a.rounds, 1);
    NLT_CHECK(warns_of(&a, &d, "is damaged"));
    NLT_CHECK_INT(ask(&d, &a, FX_NOW - FX_HOUR, FX_NOW), WHOLE);
    NLT_CHECK_INT(a.n_warnings, 0);
    NLT_CHECK_INT(ask(&d, &a, OLD, OLD + FX_HOUR), WHOLE);
    NLT_CHECK_INT(a.n_warnings, 0);
    teardown(&d);
}

static void
a_view_keeps_to_what_it_began_with(void)
{
    nlt_view_t first, second;
    nlt_err_t err;
    ask_t a;
    dm_t d;

    setup(&d);
    NLT_CHECK_INT(nlt_view_open(d.fx.store, 0, NULL, &first, &err), NLT_OK);
    poke(&d, "chunks/000001", -20, "damage", 6);
    NLT_CHECK_INT(nlt_view_open(d.fx.store, 0, NULL, &second, &err), NLT_OK);
    NLT_CHECK_INT(ask_view(&d, &first, &a, INT64_MIN, INT64_MAX), WITHOUT);
    NLT_CHECK_INT(ask_view(&d, &second, &a, INT64_MIN, INT64_MAX), WITHOUT);
    NLT_CHECK_INT(a.n_warnings, 1);
    /* A mapping outlives the names: the block is in quarantine by now. */
    fx_step(&d.fx, 3);
    NLT_CHECK(exists(&d.fx, "quarantine", d.ulid));
    NLT_CHECK_INT(ask_view(&d, &first, &a, INT64_MIN, INT64_MAX), WITHOUT);
    NLT_CHECK_INT(a.n_warnings, 1);
    nlt_view_close(&first);
    nlt_view_close(&second);
    teardown(&d);
}

/*
 * Of files at rest: symbols and table of postings are verified at open.  Some
 * bytes have no checksum, or are not read: then the answer is whole.
 */
static void
any_flipped_byte_is_all_or_nothing(void)
{
    static const char *const file[] = {"index", "chunks/000001"};
    unsigned without = 0;

    nlt_test_seed();
    for (int round = 0; round < 60; round++) {
        const char *f = file[round % 2];
        uint8_t byte = 0;
        ask_t a;
        dm_t d;

        setup(&d);
        long at = (long) nlt_test_below((uint64_t) size_of(&d, f));
        char path[320];
        FILE *in;

        (void) snprintf(path, sizeof(path), "%s/%s", d.path, f);
        in = fopen(path, "rb");
        NLT_CHECK(in != NULL && fseek(in, at, SEEK_SET) == 0
                  && fread(&byte, 1, 1, in) == 1 && fclose(in) == 0);
        byte ^= (uint8_t) (1 + nlt_test_below(255));
        fx_close(&d.fx);
        poke(&d, f, at, &byte, 1);
        NLT_CHECK(fx_start(&d.fx));
        answer_t what = ask_all(&d, &a);

        if (what == WRONG || (what == WITHOUT) != (a.n_warnings == 1)) {
            printf("# %s at %ld: answer %d, %zu warnings\n", f, at, what,
                   a.n_warnings);
            NLT_CHECK(false);
        }
        without += what == WITHOUT;
        teardown(&d);
    }
    printf("# %u of 60 found\n", without);
    NLT_CHECK(without > 20);
}

static void
any_truncation_is_all_or_nothing(void)
{
    static const char *const file[] = {"index", "chunks/000001"};

    for (int round = 0; round < 40; round++) {
        const char *f = file[round % 2];
        ask_t a;
        dm_t d;

        setup(&d);
        long to = (long) nlt_test_below((uint64_t) size_of(&d, f));

        to = round < 6 ? 0 : to;
        cut(&d, f, to);
        NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
        NLT_CHECK(warns_of(&a, &d, "is damaged"));
        fx_step(&d.fx, 3);
        NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
        NLT_CHECK(exists(&d.fx, "quarantine", d.ulid));
        NLT_CHECK(!exists(&d.fx, "blocks", d.ulid));
        teardown(&d);
    }
}

static nlt_rc_t
names_and_values(nlt_view_t *v, nlt_pool_t *pool, size_t *n_names,
                 size_t *n_values, nlt_err_t *err)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
    nlt_select_t all = {NULL, 0, INT64_MIN, INT64_MAX};
    nlt_select_t some = {&m, 1, INT64_MIN, INT64_MAX};
    nlt_str_t *out;
    nlt_rc_t rc =
        v->source.ops->label_names(&v->source, pool, &all, &out, n_names, err);

    if (rc == NLT_OK) {
        rc = v->source.ops->label_values(&v->source, pool, NLT_STR("i"), &some,
                                         &out, n_values, err);
    }
    return rc;
}

static void
names_and_values_go_without_the_block_too(void)
{
    size_t n_names, n_values, n_warnings, rounds = 0;
    nlt_view_t view;
    nlt_str_t *w;
    nlt_pool_t pool;
    nlt_err_t err;
    nlt_rc_t rc;
    dm_t d;

    setup(&d);
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    cut(&d, "index", 0);
    NLT_CHECK_INT(nlt_view_open(d.fx.store, 0, NULL, &view, &err), NLT_OK);
    do {
        rounds++;
        rc = names_and_values(&view, &pool, &n_names, &n_values, &err);
    } while (nlt_view_again(&view));
    NLT_CHECK_INT(rc, NLT_OK);
    NLT_CHECK_INT(rounds, 2);
    NLT_CHECK_INT(n_names, 2);
    NLT_CHECK_INT(n_values, 12);
    NLT_CHECK_INT(nlt_view_warnings(&view, &pool, &w, &n_warnings, &err),
                  NLT_OK);
    NLT_CHECK_INT(n_warnings, 1);
    nlt_view_close(&view);
    nlt_pool_deinit(&pool);
    teardown(&d);
}

/* What is deleted stays deleted, in the block and in what is left. */
static void
deletes_hold_when_an_answer_is_made_again(void)
{
    static const char *const file[] = {"chunks/000001", "index"};

    for (size_t i = 0; i < NLT_COUNT(file); i++) {
        nlt_err_t err;
        ask_t a;
        dm_t d;

        setup(&d);
        NLT_CHECK_INT(fx_delete(&d.fx, 0x2a, OLD + 300000, MID + 300000, &err),
                      NLT_OK);
        NLT_CHECK_INT(fx_delete(&d.fx, 0x1, MID, FX_NOW, &err), NLT_OK);
        for (size_t k = 0; k < FX_SERIES; k++) {
            free(d.without[k].v);
            d.without[k] = (fx_series_t){.v = NULL};
        }
        copy_model(&d, MID, MID + FX_HOUR);
        NLT_CHECK_INT(ask_all(&d, &a), WHOLE);
        find_block(&d, MID);
        cut(&d, file[i], 100);
        NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
        NLT_CHECK_INT(a.rounds, 2);
        NLT_CHECK(warns_of(&a, &d, "is damaged"));
        fx_step(&d.fx, 5);
        NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
        NLT_CHECK(warns_of(&a, &d, "is damaged"));
        teardown(&d);
    }
}

/* ---- merges ---- */

static void
a_merge_of_a_block_that_is_cut_short_leaves_nothing(void)
{
    static const char *const file[] = {"chunks/000001", "index"};

    for (size_t i = 0; i < NLT_COUNT(file); i++) {
        nlt_compact_source_t src[2];
        nlt_block_t *b[2] = {NULL, NULL};
        nlt_manifest_block_t out;
        nlt_delete_list_t none = {.n = 0};
        size_t damaged = 99, before;
        nlt_manifest_t m;
        nlt_err_t err;
        dm_t d;

        setup(&d);
        int dir_fd = open(d.fx.path, O_RDONLY | O_DIRECTORY);
        int blocks_fd = openat(dir_fd, "blocks", O_RDONLY | O_DIRECTORY);
        nlt_compact_conf_t conf = {.env = &d.fx.env,
                                   .blocks_fd = blocks_fd,
                                   .now_ms = FX_NOW,
                                   .t_oldest_ms = INT64_MIN,
                                   .deletes = &none,
                                   .level = 2};

        nlt_manifest_init(&m, &nlt_mem_libc, NULL);
        NLT_CHECK_INT(nlt_manifest_load(&m, &d.fx.env, dir_fd, NULL, &err),
                      NLT_OK);
        conf.store_id = m.store_id;
        NLT_CHECK_INT(m.n_blocks, 2);
        for (size_t k = 0; k < 2; k++) {
            src[k].info = m.blocks[k];
            NLT_CHECK_INT(nlt_block_open(&d.fx.env, blocks_fd,
                                         m.blocks[k].ulid.c, &b[k], &err),
                          NLT_OK);
            src[k].block = b[k];
        }
        before = count_in(&d.fx, "blocks");
        cut(&d, file[i], 100);
        NLT_CHECK_INT(nlt_compact_blocks(&conf, src, 2, &out, &damaged, &err),
                      NLT_EDATA);
        NLT_CHECK(damaged < 2
                  && strcmp(src[damaged].info.ulid.c, d.ulid) == 0);
        NLT_CHECK(strstr(err.text, d.ulid) != NULL);
        NLT_CHECK_INT(count_in(&d.fx, "blocks"), before);
        /* Whether it has what was deleted is not known any more, either. */
        if (i == 1) {
            bool dirty;

            NLT_CHECK_INT(nlt_compact_is_dirty(&d.fx.env, &src[damaged], &none,
                                               &dirty, &err),
                          NLT_EDATA);
        }
        nlt_block_close(b[0]);
        nlt_block_close(b[1]);
        nlt_manifest_deinit(&m);
        (void) close(blocks_fd);
        (void) close(dir_fd);
        teardown(&d);
    }
}

int
main(void)
{
    NLT_CHECK(nlt_guard_install());
    NLT_TEST(a_damaged_chunk_leaves_its_block_out_of_the_answer);
    NLT_TEST(a_view_keeps_to_what_it_began_with);
    NLT_TEST(any_flipped_byte_is_all_or_nothing);
    NLT_TEST(any_truncation_is_all_or_nothing);
    NLT_TEST(names_and_values_go_without_the_block_too);
    NLT_TEST(deletes_hold_when_an_answer_is_made_again);
    NLT_TEST(a_merge_of_a_block_that_is_cut_short_leaves_nothing);
    return nlt_test_done();
}

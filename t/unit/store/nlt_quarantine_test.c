/*
 * nlt_quarantine_test.c - what becomes of blocks that somebody complained
 * about.
 */
#include "nlt_damage_fixture.h"

#include "nlt_bytes.h"
#include "nlt_hash.h"
#include "nlt_suspects.h"

/* ---- the helper ---- */

static void
a_damaged_block_goes_to_quarantine_once_and_stays_missed(void)
{
    char command[512];
    ask_t a;
    dm_t d;

    setup(&d);
    poke(&d, "chunks/000001", -20, "damage", 6);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    fx_step(&d.fx, 1);
    NLT_CHECK(exists(&d.fx, "quarantine", d.ulid));
    NLT_CHECK(!exists(&d.fx, "blocks", d.ulid));
    NLT_CHECK_INT(nlt_store_ctl(d.fx.store)->counters.blocks_quarantined, 1);
    fx_step(&d.fx, 100);
    NLT_CHECK_INT(n_lines, 1);
    NLT_CHECK(strstr(last_line, d.ulid) != NULL
              && strstr(last_line, "checksum mismatch") != NULL
              && strstr(last_line, "480 samples") != NULL
              && strstr(last_line, "quarantine/") != NULL
              && strstr(last_line, "import/") != NULL);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK(warns_of(&a, &d, "is damaged"));
    NLT_CHECK_INT(ask(&d, &a, FX_NOW - FX_HOUR, FX_NOW), WHOLE);
    NLT_CHECK_INT(a.n_warnings, 0);
    /* Also after a start, with the head and without. */
    for (int i = 0; i < 2; i++) {
        fx_close(&d.fx);
        if (i == 1) {
            fx_remove_head(&d.fx);
        }
        NLT_CHECK(fx_start(&d.fx));
        NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
        NLT_CHECK(warns_of(&a, &d, "is damaged"));
    }
    /* Until somebody removes it. */
    (void) snprintf(command, sizeof(command), "rm -r %s/quarantine/%s",
                    d.fx.path, d.ulid);
    NLT_CHECK_INT(system(command), 0);
    fx_step(&d.fx, 100);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK_INT(a.n_warnings, 0);
    teardown(&d);
}

static void
a_block_that_cannot_be_opened_at_start_is_quarantined(void)
{
    ask_t a;
    dm_t d;

    setup(&d);
    fx_close(&d.fx);
    poke(&d, "index", 0, "x", 1);
    NLT_CHECK(fx_start(&d.fx));
    /* Without a query: the tick has told the helper. */
    fx_step(&d.fx, 5);
    NLT_CHECK(exists(&d.fx, "quarantine", d.ulid));
    NLT_CHECK_INT(n_lines, 1);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK(warns_of(&a, &d, "is damaged"));
    teardown(&d);
}

static void
a_sound_block_that_was_complained_about_stays(void)
{
    uint8_t good[6];
    char path[320];
    FILE *f;
    ask_t a;
    dm_t d;

    setup(&d);
    (void) snprintf(path, sizeof(path), "%s/chunks/000001", d.path);
    f = fopen(path, "rb");
    NLT_CHECK(f != NULL && fseek(f, -20, SEEK_END) == 0
              && fread(good, 1, 6, f) == 6 && fclose(f) == 0);
    poke(&d, "chunks/000001", -20, "damage", 6);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    poke(&d, "chunks/000001", -20, good, 6);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    fx_step(&d.fx, 1);
    NLT_CHECK_INT(ask_all(&d, &a), WHOLE);
    NLT_CHECK_INT(a.n_warnings, 0);
    NLT_CHECK(exists(&d.fx, "blocks", d.ulid));
    NLT_CHECK_INT(n_lines, 1);
    NLT_CHECK(strstr(last_line, "is sound") != NULL);
    NLT_CHECK_INT(nlt_store_ctl(d.fx.store)->counters.blocks_quarantined, 0);
    teardown(&d);
}

static void
a_directory_that_is_not_there_may_come_back(void)
{
    char there[320], away[320];
    nlt_store_gauges_t g;
    ask_t a;
    dm_t d;

    setup(&d);
    (void) snprintf(there, sizeof(there), "%s/blocks", d.fx.path);
    (void) snprintf(away, sizeof(away), "%s/blocks.away", d.fx.path);
    fx_close(&d.fx);
    NLT_CHECK_INT(rename(there, away), 0);
    NLT_CHECK_INT(mkdir(there, 0700), 0);
    NLT_CHECK(fx_start(&d.fx));
    fx_step(&d.fx, 1000);
    /* Both blocks are missed, none is given up, each was said once. */
    NLT_CHECK_INT(ask_all(&d, &a), WRONG);
    NLT_CHECK_INT(a.n_warnings, 2);
    NLT_CHECK(strstr(a.warning, "cannot be opened") != NULL);
    NLT_CHECK_INT(n_lines, 2);
    nlt_store_gauges(d.fx.store, &g);
    NLT_CHECK_INT(g.blocks_left_out, 2);
    NLT_CHECK_INT(rmdir(there), 0);
    NLT_CHECK_INT(rename(away, there), 0);
    fx_close(&d.fx); /* its directories are held by descriptor */
    NLT_CHECK(fx_start(&d.fx));
    NLT_CHECK_INT(ask_all(&d, &a), WHOLE);
    NLT_CHECK_INT(a.n_warnings, 0);
    teardown(&d);
}

static void
a_block_of_a_newer_format_is_not_read_and_not_moved(void)
{
    const uint8_t version = 9;
    ask_t a;
    dm_t d;

    setup(&d);
    fx_close(&d.fx);
    poke(&d, "index", 4, &version, 1);
    NLT_CHECK(fx_start(&d.fx));
    fx_step(&d.fx, 1000);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK(warns_of(&a, &d, "has a newer format"));
    NLT_CHECK(strstr(a.warning, "format version 9") != NULL);
    NLT_CHECK(exists(&d.fx, "blocks", d.ulid));
    NLT_CHECK_INT(n_lines, 1);
    NLT_CHECK(strstr(last_line, "newer format") != NULL);
    teardown(&d);
}

/* A chunk of encoding 9 whose checksum is right. */
static void
a_chunk_of_a_newer_encoding_is_not_read_and_not_moved(void)
{
    uint8_t chunk[4096], be[4];
    char path[320];
    size_t n;
    FILE *f;
    ask_t a;
    dm_t d;

    setup(&d);
    (void) snprintf(path, sizeof(path), "%s/chunks/000001", d.path);
    f = fopen(path, "rb");
    NLT_CHECK(f != NULL && fseek(f, 8, SEEK_SET) == 0);
    n = fread(chunk, 1, sizeof(chunk), f);
    NLT_CHECK(fclose(f) == 0);

    nlt_reader_t r = nlt_reader(chunk, n);
    size_t len = (size_t) nlt_read_uvarint(&r);

    if (d.fx.conf.dense) { /* that was the column of times */
        (void) nlt_read_bytes(&r, 1 + len + 4);
        len = (size_t) nlt_read_uvarint(&r);
    }
    size_t head = (size_t) (r.p - chunk);

    chunk[head] = 9;
    nlt_put_be32(be, nlt_crc32c(0, chunk + head, len + 1));
    poke(&d, "chunks/000001", 8 + (long) head, &chunk[head], 1);
    poke(&d, "chunks/000001", 8 + (long) (head + 1 + len), be, 4);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK(warns_of(&a, &d, "has a newer format"));
    fx_step(&d.fx, 1000);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK(warns_of(&a, &d, "has a newer format"));
    NLT_CHECK(exists(&d.fx, "blocks", d.ulid));
    NLT_CHECK_INT(n_lines, 1);
    teardown(&d);
}

static void
one_in_quarantine_already_makes_no_trouble(void)
{
    char path[512];
    ask_t a;
    dm_t d;

    setup(&d);
    (void) snprintf(path, sizeof(path),
                    "mkdir -p %s/quarantine/%s/chunks; echo > "
                    "%s/quarantine/%s/index",
                    d.fx.path, d.ulid, d.fx.path, d.ulid);
    NLT_CHECK_INT(system(path), 0);
    cut(&d, "index", 100);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    fx_step(&d.fx, 2);
    NLT_CHECK(!exists(&d.fx, "blocks", d.ulid));
    (void) snprintf(path, sizeof(path), "%s/quarantine/%s.2", d.fx.path,
                    d.ulid);
    NLT_CHECK_INT(access(path, F_OK), 0);
    teardown(&d);
}

/* ---- at every call of the disk ---- */

/* false when call n was never reached. */
static bool
fail_at(long n, bool transient, bool head_lost)
{
    bool hit;
    ask_t a;
    dm_t d;

    setup(&d);
    cut(&d, "chunks/000001", 100);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    d.fx.fault = (fx_fault_t){.fail_at = n, .transient = transient};
    fx_step(&d.fx, 4);
    hit = d.fx.fault.hit;
    d.fx.fault = (fx_fault_t){.calls = 0};
    if (!transient) {
        fx_close(&d.fx);
        if (head_lost) {
            fx_remove_head(&d.fx);
        }
        NLT_CHECK(fx_start(&d.fx));
    }
    fx_step(&d.fx, 2);
    d.fx.mono_ns += 40 * INT64_C(1000000000);
    answer_t what = ask_all(&d, &a);

    NLT_CHECK_INT(what, WITHOUT);
    NLT_CHECK(warns_of(&a, &d, "is damaged"));
    fx_step(&d.fx, 4);
    NLT_CHECK_INT(ask_all(&d, &a), WITHOUT);
    NLT_CHECK(warns_of(&a, &d, "is damaged"));
    /* Wherever it stopped, the block is moved, and nothing is thrown away. */
    NLT_CHECK_INT(count_in(&d.fx, "quarantine"), 1);
    NLT_CHECK_INT(count_in(&d.fx, "blocks"), 1);
    teardown(&d);
    return hit;
}

static void
a_crash_or_a_hiccup_at_any_call_ends_in_quarantine(void)
{
    for (int mode = 0; mode < 3; mode++) {
        long n = 1;
        int before = nlt_test_failed_checks;

        while (fail_at(n, mode == 2, mode == 1)
               && nlt_test_failed_checks == before) {
            n++;
        }
        printf("# mode %d: %ld calls\n", mode, n);
        NLT_CHECK(n > 20);
    }
}

/* ---- the mailbox ---- */

static void
suspects_are_posted_once_and_few_at_a_time(void)
{
    nlt_head_ctl_t *ctl = calloc(1, sizeof(*ctl));
    nlt_ulid_t name[NLT_HEAD_SUSPECTS + 1], got;

    for (size_t i = 0; i <= NLT_HEAD_SUSPECTS; i++) {
        NLT_CHECK_INT(nlt_ulid_new((int64_t) i, &name[i]), NLT_OK);
    }
    NLT_CHECK(!nlt_suspects_first(ctl, &got));
    nlt_suspects_post(ctl, name[0].c);
    nlt_suspects_post(ctl, name[0].c);
    NLT_CHECK(nlt_suspects_first(ctl, &got));
    NLT_CHECK(strcmp(got.c, name[0].c) == 0);
    nlt_suspects_clear(ctl, name[1].c);
    NLT_CHECK(nlt_suspects_first(ctl, &got));
    nlt_suspects_clear(ctl, name[0].c);
    NLT_CHECK(!nlt_suspects_first(ctl, &got));
    for (size_t i = 0; i <= NLT_HEAD_SUSPECTS; i++) {
        nlt_suspects_post(ctl, name[i].c);
    }
    for (size_t i = 0; i < NLT_HEAD_SUSPECTS; i++) {
        NLT_CHECK(nlt_suspects_first(ctl, &got));
        nlt_suspects_clear(ctl, got.c);
    }
    NLT_CHECK(!nlt_suspects_first(ctl, &got));
    /* Half written, and rubbish. */
    ctl->suspects[0].turn = 1;
    nlt_suspects_post(ctl, name[0].c);
    NLT_CHECK(nlt_suspects_first(ctl, &got));
    nlt_suspects_reset(ctl);
    NLT_CHECK_INT(ctl->suspects[0].turn, 0);
    NLT_CHECK_INT(ctl->suspects[1].turn, 2);
    memset(ctl->suspects, 0xa5, sizeof(ctl->suspects));
    NLT_CHECK(!nlt_suspects_first(ctl, &got));
    nlt_suspects_post(ctl, name[0].c);
    NLT_CHECK(nlt_suspects_first(ctl, &got));
    free(ctl);
}

int
main(void)
{
    NLT_CHECK(nlt_guard_install());
    NLT_TEST(a_damaged_block_goes_to_quarantine_once_and_stays_missed);
    NLT_TEST(a_block_that_cannot_be_opened_at_start_is_quarantined);
    NLT_TEST(a_sound_block_that_was_complained_about_stays);
    NLT_TEST(a_directory_that_is_not_there_may_come_back);
    NLT_TEST(a_block_of_a_newer_format_is_not_read_and_not_moved);
    NLT_TEST(a_chunk_of_a_newer_encoding_is_not_read_and_not_moved);
    NLT_TEST(one_in_quarantine_already_makes_no_trouble);
    NLT_TEST(a_crash_or_a_hiccup_at_any_call_ends_in_quarantine);
    NLT_TEST(suspects_are_posted_once_and_few_at_a_time);
    return nlt_test_done();
}

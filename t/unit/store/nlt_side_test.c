/*
 * nlt_side_test.c - exemplars and metadata in the life of a store.
 */
#include "nlt_store_fixture.h"

#include "nlt_head_side.h"
#include "nlt_ingest_side.h"
#include "nlt_store.h"

/* The series that exemplars belong to has a sample, in the active arena. */
static uint32_t
series_no(fx_t *fx, nlt_arena_t **a)
{
    nlt_ingest_t *in = nlt_store_ingest(fx->store);
    uint32_t *v = NULL;
    nlt_pool_t pool;
    nlt_err_t err;
    uint32_t no;
    size_t n = 0;

    *a = nlt_head_active(in->head);
    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_arena_select(*a, &pool, 0, NULL, 0, &v, &n, &err),
                  NLT_OK);
    no = n > 0 ? v[0] : 0;
    nlt_pool_deinit(&pool);
    return no;
}

static nlt_rc_t
send(fx_t *fx, int64_t t_ms, const char *trace, const char *help, bool *wrote)
{
    nlt_ingest_t *in = nlt_store_ingest(fx->store);
    nlt_label_t l = {NLT_STR("trace_id"), nlt_test_str(trace)};
    nlt_metadata_t m = {0, NLT_METADATA_COUNTER, NLT_STR("m"),
                        nlt_test_str(help), NLT_STR("s")};
    nlt_arena_t *a;
    nlt_err_t err;
    uint32_t no;

    NLT_CHECK_INT(fx_write(fx, 1, fx->now_ms, 1), NLT_OK);
    fx->now_ms += 1000;
    no = series_no(fx, &a);
    NLT_CHECK(no > 0);
    NLT_CHECK_INT(nlt_ingest_side_begin(in, a, 0), NLT_OK);
    if (trace[0] != '\0') {
        (void) nlt_ingest_side_exemplar(in, no, (nlt_labels_t){&l, 1}, t_ms,
                                        nlt_bits_of(0.5));
    }
    if (help[0] != '\0') {
        nlt_ingest_side_metadata(in, &m);
    }
    return nlt_ingest_side_end(in, wrote, &err);
}

/* "m{i=1}: a b; help" */
static const char *
content(fx_t *fx)
{
    static char text[2000];
    nlt_exemplar_set_t all = {NULL, 0};
    nlt_exemplar_query_t q = {0, INT64_MIN, INT64_MAX, &all, 1, NULL};
    nlt_exemplar_series_t *v = NULL;
    nlt_metadata_list_t l;
    nlt_pool_t pool;
    nlt_err_t err;
    size_t n = 0, at = 0;

    nlt_pool_init(&pool, &nlt_mem_libc, 16 << 20);
    NLT_CHECK_INT(nlt_store_exemplars(fx->store, &q, &pool, &v, &n, &err),
                  NLT_OK);
    for (size_t i = 0; i < n; i++) {
        at += (size_t) snprintf(
            text + at, sizeof(text) - at,
            "%.*s%.*s:", NLT_FMT(nlt_labels_get(v[i].labels, NLT_METRIC_NAME)),
            NLT_FMT(nlt_labels_get(v[i].labels, NLT_STR("i"))));
        for (size_t k = 0; k < v[i].n; k++) {
            at += (size_t) snprintf(text + at, sizeof(text) - at, " %.*s",
                                    NLT_FMT(v[i].v[k].labels.v[0].value));
        }
    }
    NLT_CHECK_INT(nlt_store_metadata(fx->store, 0, (nlt_str_t){0, NULL}, &pool,
                                     &l, &err),
                  NLT_OK);
    at += (size_t) snprintf(text + at, sizeof(text) - at, ";");
    for (size_t i = 0; i < l.n; i++) {
        at += (size_t) snprintf(text + at, sizeof(text) - at, " %.*s=%.*s",
                                NLT_FMT(l.v[i].name), NLT_FMT(l.v[i].help));
    }
    nlt_pool_deinit(&pool);
    return text;
}

#define CHECK_CONTENT(fx, want) NLT_CHECK_STR(nlt_test_str(content(fx)), want)

static void
begin(fx_t *fx)
{
    fx_init(fx);
    fx->conf.exemplar_bytes = 256 << 10;
    NLT_CHECK(fx_start(fx));
}

static void
they_survive_processes_and_the_loss_of_the_head(void)
{
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    NLT_CHECK(wrote);
    NLT_CHECK_INT(send(&fx, FX_NOW - 5000, "older", "second", &wrote), NLT_OK);
    CHECK_CONTENT(&fx, "m1: older a; m=second");
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    CHECK_CONTENT(&fx, "m1: older a; m=second");
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    CHECK_CONTENT(&fx, "m1: older a; m=second");
    /* they were logged again: the first log is gone */
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    CHECK_CONTENT(&fx, "m1: older a; m=second");
    fx_deinit(&fx);
}

static void
what_is_known_is_not_logged(void)
{
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    NLT_CHECK(wrote);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    NLT_CHECK(!wrote);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "other", &wrote), NLT_OK);
    NLT_CHECK(wrote);
    CHECK_CONTENT(&fx, "m1: a; m=other");
    NLT_CHECK_INT(
        atomic_load(&nlt_store_ctl(fx.store)->counters.exemplars_duplicate),
        2);
    NLT_CHECK_INT(
        atomic_load(&nlt_store_ctl(fx.store)->counters.exemplars_added), 1);
    NLT_CHECK_INT(
        atomic_load(&nlt_store_ctl(fx.store)->counters.metadata_updates), 2);
    fx_deinit(&fx);
}

static void
metadata_outlives_the_logs(void)
{
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    NLT_CHECK(fx_flush(&fx));
    CHECK_CONTENT(&fx, "m1: a; m=first");
    NLT_CHECK_INT(send(&fx, FX_NOW, "b", "", &wrote), NLT_OK);
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    /* the exemplar of the arena that is in blocks is gone */
    CHECK_CONTENT(&fx, "m1: b; m=first");
    /* newer than the file is what the log says */
    NLT_CHECK_INT(send(&fx, FX_NOW, "", "newer", &wrote), NLT_OK);
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    CHECK_CONTENT(&fx, "m1: b; m=newer");
    fx_deinit(&fx);
}

static void
families_not_heard_of_for_the_retention_go(void)
{
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    NLT_CHECK(fx_flush(&fx));
    fx.now_ms += fx.conf.retention_ms + 2 * FX_HOUR;
    NLT_CHECK_INT(send(&fx, fx.now_ms, "b", "", &wrote), NLT_OK);
    fx_step(&fx, 3);
    /* looked at when something has changed: another family */
    {
        nlt_ingest_t *in = nlt_store_ingest(fx.store);
        nlt_metadata_t m = {0, 1, NLT_STR("n"), NLT_STR("new"), NLT_STR("")};
        nlt_arena_t *a;
        nlt_err_t err;

        (void) series_no(&fx, &a);
        NLT_CHECK_INT(nlt_ingest_side_begin(in, a, 0), NLT_OK);
        nlt_ingest_side_metadata(in, &m);
        NLT_CHECK_INT(nlt_ingest_side_end(in, &wrote, &err), NLT_OK);
    }
    NLT_CHECK_INT(fx_write(&fx, 1, fx.now_ms, 1), NLT_OK);
    NLT_CHECK(fx_flush(&fx));
    CHECK_CONTENT(&fx, "m1: a b; n=new");
    fx_deinit(&fx);
}

static void
another_size_moves_them(void)
{
    nlt_helper_t *helper;
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    /* a reload: another helper, while this process lives on */
    helper = fx.helper;
    nlt_helper_close(helper);
    fx.helper = NULL;
    fx.conf.exemplar_bytes = 128 << 10;
    NLT_CHECK_INT(nlt_helper_open(&fx.env, &fx.conf, &fx.helper, NULL),
                  NLT_OK);
    fx_step(&fx, 10);
    CHECK_CONTENT(&fx, "m1: a; m=first");
    NLT_CHECK_INT(send(&fx, FX_NOW + 1, "b", "second", &wrote), NLT_OK);
    CHECK_CONTENT(&fx, "m1: a b; m=second");
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    CHECK_CONTENT(&fx, "m1: a b; m=second");
    fx_close(&fx);
    fx.conf.exemplar_bytes = 0;
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 10); /* the head was open before the helper came to it */
    CHECK_CONTENT(&fx, "; m=second");
    NLT_CHECK_INT(send(&fx, FX_NOW + 2, "c", "third", &wrote), NLT_OK);
    CHECK_CONTENT(&fx, "; m=third");
    fx_deinit(&fx);
}

static void
write_file(fx_t *fx, const char *name, const char *text)
{
    char path[200];
    FILE *f;

    (void) snprintf(path, sizeof(path), "%s/%s", fx->path, name);
    f = fopen(path, "w");
    NLT_CHECK(f != NULL);
    if (f != NULL) {
        (void) fputs(text, f);
        (void) fclose(f);
    }
}

static void
a_file_that_cannot_be_used_is_set_aside(void)
{
    static const char *const texts[] = {"nightlight-metadata 1 00000000\n", "",
                                        "\n"};
    char path[200];
    bool wrote;
    fx_t fx;

    begin(&fx);
    for (size_t i = 0; i < NLT_COUNT(texts); i++) {
        NLT_CHECK_INT(send(&fx, FX_NOW, "a", i % 2 ? "one" : "two", &wrote),
                      NLT_OK);
        NLT_CHECK(fx_flush(&fx));
        fx_close(&fx);
        fx_remove_head(&fx);
        write_file(&fx, "METADATA", texts[i]);
        NLT_CHECK(fx_start(&fx));
        CHECK_CONTENT(&fx, ";");
        (void) snprintf(path, sizeof(path), "%s/quarantine/METADATA", fx.path);
        NLT_CHECK_INT(access(path, F_OK), 0);
        (void) unlink(path);
    }
    fx_deinit(&fx);
}

static void
a_stash_that_was_emptied_does_not_empty_the_file(void)
{
    nlt_stash_t *s;
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    NLT_CHECK(fx_flush(&fx));
    s = nlt_head_metadata(nlt_store_ingest(fx.store)->head);
    nlt_stash_reset(s);
    CHECK_CONTENT(&fx, "m1: a;");
    NLT_CHECK_INT(send(&fx, FX_NOW, "b", "", &wrote), NLT_OK);
    NLT_CHECK(fx_flush(&fx));
    CHECK_CONTENT(&fx, "m1: a b; m=first");
    fx_deinit(&fx);
}

static void
without_its_side_file_a_head_is_lost(void)
{
    char path[300];
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    (void) snprintf(path, sizeof(path), "rm %s/head.*.side.*", fx.head_path);
    NLT_CHECK_INT(system(path), 0);
    fx_step(&fx, 60);
    NLT_CHECK(nlt_store_ingest(fx.store) != NULL);
    CHECK_CONTENT(&fx, "m1: a; m=first");
    fx_deinit(&fx);
}

static void
what_could_not_be_logged_is_not_there(void)
{
    nlt_ingest_t *in;
    nlt_label_t l = {NLT_STR("trace_id"), NLT_STR("x")};
    nlt_arena_t *a;
    nlt_err_t err;
    uint32_t no;
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    in = nlt_store_ingest(fx.store);
    no = series_no(&fx, &a);
    NLT_CHECK_INT(nlt_ingest_side_begin(in, a, 0), NLT_OK);
    NLT_CHECK_INT(
        nlt_ingest_side_exemplar(in, no, (nlt_labels_t){&l, 1}, FX_NOW, 0),
        NLT_EXEMPLAR_OK);
    nlt_wal_give_up(in->log->wal);
    NLT_CHECK_INT(nlt_ingest_side_end(in, &wrote, &err), NLT_EIO);
    NLT_CHECK(!wrote);
    CHECK_CONTENT(&fx, "m1: a; m=first");
    fx_deinit(&fx);
}

static void
times_have_the_bounds_of_samples(void)
{
    nlt_ingest_t *in;
    nlt_label_t l = {NLT_STR("trace_id"), NLT_STR("x")};
    nlt_labels_t ls = {&l, 1};
    int64_t oldest;
    nlt_arena_t *a;
    nlt_err_t err;
    uint32_t no;
    bool wrote;
    fx_t fx;

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    fx_step(&fx, 2);
    in = nlt_store_ingest(fx.store);
    no = series_no(&fx, &a);
    oldest = atomic_load(&in->ctl->t_oldest_ms);
    NLT_CHECK_INT(nlt_ingest_side_begin(in, a, 0), NLT_OK);
    NLT_CHECK_INT(nlt_ingest_side_exemplar(in, no, ls, oldest - 1, 0),
                  NLT_EXEMPLAR_OUT_OF_BOUNDS);
    NLT_CHECK_INT(nlt_ingest_side_exemplar(in, no, ls, oldest, 0),
                  NLT_EXEMPLAR_OK);
    NLT_CHECK_INT(nlt_ingest_side_exemplar(in, no, ls, fx.now_ms + 600001, 0),
                  NLT_EXEMPLAR_OUT_OF_BOUNDS);
    NLT_CHECK_INT(nlt_ingest_side_exemplar(in, no, ls, fx.now_ms + 600000, 0),
                  NLT_EXEMPLAR_OK);
    NLT_CHECK_INT(nlt_ingest_side_end(in, &wrote, &err), NLT_OK);
    CHECK_CONTENT(&fx, "m1: x a x; m=first");
    NLT_CHECK_INT(atomic_load(&in->ctl->counters.exemplars_refused), 2);
    fx_deinit(&fx);
}

static void
more_than_a_batch_is_logged_in_between(void)
{
    nlt_ingest_t *in;
    nlt_arena_t *a;
    nlt_err_t err;
    uint32_t no;
    bool wrote;
    fx_t fx;
    static char help[8000];

    begin(&fx);
    NLT_CHECK_INT(send(&fx, FX_NOW, "a", "first", &wrote), NLT_OK);
    in = nlt_store_ingest(fx.store);
    no = series_no(&fx, &a);
    NLT_CHECK_INT(nlt_ingest_side_begin(in, a, 0), NLT_OK);
    memset(help, 'h', sizeof(help) - 1);
    for (int i = 0; i < 200; i++) {
        nlt_metadata_t m = {
            0, 1, NLT_STR("m"), {sizeof(help) - 1, help}, NLT_STR("")};

        help[0] = (char) ('a' + i % 20);
        nlt_ingest_side_metadata(in, &m);
        nlt_ingest_side_metadata(in, &m); /* the same: once */
    }
    NLT_CHECK_INT(nlt_ingest_side_end(in, &wrote, &err), NLT_OK);
    NLT_CHECK(wrote);
    NLT_CHECK(in->side != NULL && no > 0);
    NLT_CHECK_INT(atomic_load(&in->ctl->counters.metadata_updates), 201);
    NLT_CHECK(!nlt_ingest_side_said(in, 7, 99));
    NLT_CHECK(nlt_ingest_side_said(in, 7, 99));
    NLT_CHECK(!nlt_ingest_side_said(in, 7, 98));
    NLT_CHECK(!nlt_ingest_side_said(in, 7 + 65536, 98));
    NLT_CHECK(!nlt_ingest_side_said(in, 7, 98));
    fx.now_ms += NLT_METADATA_SEEN_MS;
    NLT_CHECK_INT(nlt_ingest_side_begin(in, a, 0), NLT_OK);
    NLT_CHECK(!nlt_ingest_side_said(in, 7, 98));
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(they_survive_processes_and_the_loss_of_the_head);
    NLT_TEST(what_is_known_is_not_logged);
    NLT_TEST(metadata_outlives_the_logs);
    NLT_TEST(families_not_heard_of_for_the_retention_go);
    NLT_TEST(another_size_moves_them);
    NLT_TEST(a_file_that_cannot_be_used_is_set_aside);
    NLT_TEST(a_stash_that_was_emptied_does_not_empty_the_file);
    NLT_TEST(without_its_side_file_a_head_is_lost);
    NLT_TEST(what_could_not_be_logged_is_not_there);
    NLT_TEST(times_have_the_bounds_of_samples);
    NLT_TEST(more_than_a_batch_is_logged_in_between);
    return nlt_test_done();
}

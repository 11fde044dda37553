/*
 * nlt_ingest_test.c - requests in, head and log out.
 */
#include <errno.h>

#include "nlt_test.h"

#include "nlt_ingest_fixture.h"
#include "nlt_limits.h"
#include "nlt_replay.h"

/* ---- tests ---- */

static void
a_request_is_in_head_and_log(void)
{
    static const uint64_t odd[] = {
        NLT_STALE_NAN_BITS,           NLT_NORMAL_NAN_BITS,
        UINT64_C(0x7ff8000000000abc), UINT64_C(0x7ff0000000000000),
        UINT64_C(0xfff0000000000000), UINT64_C(0x8000000000000000)};
    rows_t rows;
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    add(&t, "up", NOW, 1.5);
    rwb_label(&t.b, "__name__", "odd");
    for (size_t i = 0; i < NLT_COUNT(odd); i++) {
        rwb_sample_bits(&t.b, NOW + (int64_t) i, odd[i]);
    }
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 204);
    NLT_CHECK_INT(t.res.samples, 1 + NLT_COUNT(odd));
    NLT_CHECK_INT(t.res.series, 2);
    rows = rows_of_head(t.head);
    NLT_CHECK_INT(rows.n, 1 + NLT_COUNT(odd));
    NLT_CHECK(
        strcmp(rows.v[rows.n - 1].labels, "{__name__=\"up\", job=\"test\"}")
        == 0);
    for (size_t i = 0; i < NLT_COUNT(odd); i++) {
        NLT_CHECK(rows.v[i].bits == odd[i]);
    }
    rows_free(&rows);
    check_logged(&t, 1);
    bed_close(&t);
}

static void
broken_bodies_are_400(void)
{
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(send_body(&t, NLT_STR("")), 400);
    NLT_CHECK(says(&t, "s2: corrupt input"));
    NLT_CHECK_INT(send_body(&t, NLT_STR("\xff\xff\xff\xff")), 400);
    NLT_CHECK(says(&t, "s2: corrupt input"));
    NLT_CHECK_INT(send_body(&t, NLT_STR("\xff\xff\xff\xff\x0f\x00")), 400);
    NLT_CHECK(says(&t, "decoded size exceeds the 33554432 bytes limit "
                       "(nightlight_write_max_decoded)"));
    /* Snappy of nothing is an empty request. */
    NLT_CHECK_INT(send_body(&t, NLT_STR("\x00")), 204);
    nlt_buf_add_str(&t.b.request, NLT_STR("\x0a\x05zz"));
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(says(&t, "unexpected EOF"));
    /* A good series first, broken labels behind it: nothing is applied. */
    add(&t, "good", NOW, 1);
    nlt_buf_add_str(&t.b.series, NLT_STR("\x0a\x02\x0a\x05"));
    rwb_sample(&t.b, NOW, 1);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(says(&t, "unexpected EOF"));
    NLT_CHECK_INT(count_rows(&t), 0);
    NLT_CHECK_INT(nlt_arena_header(nlt_head_active(t.head))->n_series, 0);
    bed_close(&t);
}

/* A worker may know of a longer retention before the helper does. */
static void
what_a_longer_retention_would_take_is_asked_for_again(void)
{
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    t.conf.retention_ms = 2 * 86400000;
    add(&t, "past", NOW - 86400001, 1);
    NLT_CHECK_INT(send(&t), 503);
    NLT_CHECK(says(&t, "the longer retention does not hold yet for series "
                       "{__name__=\"past\", job=\"test\"}"));
    NLT_CHECK_INT(count_rows(&t), 0);

    atomic_store(&nlt_head_ctl(t.head)->t_oldest_ms, NOW - 2 * 86400000);
    add(&t, "past", NOW - 86400001, 1);
    NLT_CHECK_INT(send(&t), 204);
    add(&t, "past", NOW - 2 * 86400000 - 1, 1);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(says(&t, "too old sample for series {__name__=\"past\", "
                       "job=\"test\"}"));
    bed_close(&t);
}

static void
a_refused_request_leaves_nothing_behind(void)
{
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    add(&t, "good", NOW, 1);
    add(&t, "future", NOW + 600001, 1);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(says(&t, "out of bounds: timestamp is too far in the future "
                       "for series {__name__=\"future\", job=\"test\"}"));
    add(&t, "good", NOW, 1);
    add(&t, "past", NOW - 86400001, 1);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(says(&t, "too old sample for series {__name__=\"past\", "
                       "job=\"test\"}"));
    NLT_CHECK_INT(count_rows(&t), 0);
    NLT_CHECK_INT(nlt_arena_header(nlt_head_active(t.head))->n_series, 0);

    /* The borders themselves are fine. */
    add(&t, "future", NOW + 600000, 1);
    add(&t, "past", NOW - 86400000, 1);
    NLT_CHECK_INT(send(&t), 204);

    add(&t, "dup", NOW, 1);
    NLT_CHECK_INT(send(&t), 204);
    add(&t, "good", NOW, 1);
    add(&t, "dup", NOW, 1234567.5);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(says(&t, "duplicate sample for timestamp 1700000000000; "
                       "overrides not allowed: existing 1, new value "
                       "1.2345675e+06 for series {__name__=\"dup\", "
                       "job=\"test\"}"));
    NLT_CHECK_INT(count_rows(&t), 3);
    check_logged(&t, 1);
    bed_close(&t);
}

static void
duplicates_and_old_samples_are_accepted(void)
{
    rows_t rows;
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    add(&t, "m", NOW, 1);
    add(&t, "m", NOW, 2); /* same request: the first one is kept */
    add(&t, "m", NOW - 5000, 3);
    NLT_CHECK_INT(send(&t), 204);
    add(&t, "m", NOW, 1);
    add(&t, "m", NOW - 60000, 4);
    NLT_CHECK_INT(send(&t), 204);
    rows = rows_of_head(t.head);
    NLT_CHECK_INT(rows.n, 3);
    NLT_CHECK(rows.v[0].bits == nlt_bits_of(4));
    NLT_CHECK(rows.v[1].bits == nlt_bits_of(3));
    NLT_CHECK(rows.v[2].bits == nlt_bits_of(1));
    rows_free(&rows);
    check_logged(&t, 1);
    bed_close(&t);
}

static void
invalid_label_sets_are_skipped(void)
{
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    rwb_label(&t.b, "job", "nameless");
    rwb_sample(&t.b, NOW, 1);
    rwb_end(&t.b);
    add(&t, "good", NOW, 1);
    rwb_label(&t.b, "__name__", "twice");
    rwb_label(&t.b, "a", "1");
    rwb_label(&t.b, "a", "2");
    rwb_sample(&t.b, NOW + 100000000, 1); /* not even its time is judged */
    rwb_end(&t.b);
    rwb_sample(&t.b, NOW, 1);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 204);
    NLT_CHECK_INT(t.res.samples, 1);
    NLT_CHECK_INT(t.res.series, 4);
    NLT_CHECK_INT(t.res.skipped_series, 3);
    NLT_CHECK_INT(count_rows(&t), 1);
    check_logged(&t, 1);
    bed_close(&t);
}

static void
limits_are_told_with_series_and_limit(void)
{
    static char big[1 << 20];
    char name[8];
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    memset(big, 'x', sizeof(big));
    add(&t, "good", NOW, 1);
    rwb_label(&t.b, "__name__", "m");
    rwb_label_n(&t.b, NLT_STR("big"), (nlt_str_t){sizeof(big), big});
    rwb_sample(&t.b, NOW, 1);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(strstr(t.res.err.text,
                     "value of label \"big\" has 1048576 bytes, limit is 4096 "
                     "(nightlight_max_label_value) "
                     "for series {__name__=\"m\", big=\"xxx")
              != NULL);
    rwb_label(&t.b, "__name__", "m");
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "l%u", i);
        rwb_label(&t.b, name, "v");
    }
    rwb_sample(&t.b, NOW, 1);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(strstr(t.res.err.text,
                     "10001 labels, limit is 64 (nightlight_max_labels) for "
                     "series "
                     "{__name__=\"m\"")
              != NULL);
    NLT_CHECK_INT(count_rows(&t), 0);
    bed_close(&t);
}

/* All orders of a label set are one series, and cost no memory. */
static void
permutations_are_one_series(void)
{
    const char *names[11] = {"__name__", "a", "b", "c", "d", "e",
                             "f",        "g", "h", "i", "j"};
    const nlt_arena_header_t *hdr;
    uint64_t used = 0;
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    hdr = nlt_arena_header(nlt_head_active(t.head));
    for (unsigned k = 0; k < 3000; k++) {
        for (unsigned i = 10; i > 0; i--) {
            size_t j = nlt_test_below(i + 1);
            const char *x = names[i];

            names[i] = names[j];
            names[j] = x;
        }
        for (unsigned i = 0; i < 11; i++) {
            rwb_label(&t.b, names[i], "v");
        }
        rwb_sample(&t.b, NOW, 1);
        rwb_end(&t.b);
        if (k == 99) {
            NLT_CHECK_INT(send(&t), 204);
            used = hdr->used_bytes;
        }
    }
    NLT_CHECK_INT(send(&t), 204);
    NLT_CHECK_INT(hdr->n_series, 1);
    NLT_CHECK_INT(hdr->used_bytes, used);
    NLT_CHECK_INT(count_rows(&t), 1);
    NLT_CHECK(nlt_head_ctl(t.head)->counters.aliases_created
              <= NLT_ALIASES_PER_SERIES_MAX);
    bed_close(&t);
}

static void
fill_large(bed_t *t, unsigned n_series, unsigned n_samples)
{
    char name[16];

    for (unsigned i = 0; i < n_series; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        rwb_label(&t->b, "__name__", name);
        rwb_label(&t->b, "job", "large");
        for (unsigned k = 0; k < n_samples; k++) {
            rwb_sample(&t->b, NOW + k, i + k / 8.0);
        }
        rwb_end(&t->b);
    }
}

static void
a_large_request_goes_in_slices(void)
{
    bed_t t;

    bed_open(&t, 96u << 20);
    fill_large(&t, 40000, 1);
    fill_large(&t, 3, 30000);
    NLT_CHECK_INT(send(&t), 204);
    NLT_CHECK(t.slices > 20);
    NLT_CHECK_INT(t.res.samples, 40000 + 90000);
    NLT_CHECK_INT(t.res.series, 40003);
    NLT_CHECK_INT(count_rows(&t), 40000 + 89997);
    check_logged(&t, 1);

    /* One conflict at the very end, and nothing of it is applied. */
    for (unsigned i = 0; i < 40000; i++) {
        add(&t, "fresh", NOW + i % 7, 1);
    }
    rwb_label(&t.b, "__name__", "m39999");
    rwb_label(&t.b, "job", "large");
    rwb_sample(&t.b, NOW, 5);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK_INT(count_rows(&t), 40000 + 89997);
    bed_close(&t);
}

/* Whenever the arena is rotated, every sample is there, and logged. */
static void
a_rotation_between_slices_loses_nothing(void)
{
    for (unsigned at = 2; at <= 40; at += 7) {
        bed_t t;

        bed_open(&t, 48u << 20);
        fill_large(&t, 20000, 1);
        fill_large(&t, 1, 20000);
        NLT_CHECK_INT(send_body_rotating(&t, rwb_snappy(&t.b), 2, at), 204);
        if (t.slices < at) {
            bed_close(&t);
            break;
        }
        NLT_CHECK_INT(t.res.samples, 40000);
        NLT_CHECK_INT(count_rows(&t), 20000 + 19999);
        check_logged(&t, 2);
        bed_close(&t);
    }
}

#define RISING 12000 /* series of a request, all in one batch */

/* Series i has its one sample at a time that rises with i. */
static void
fill_rising(bed_t *t, unsigned round)
{
    char name[16];

    for (unsigned i = 0; i < RISING; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        rwb_label(&t->b, "__name__", name);
        rwb_sample(&t->b, NOW + round * RISING + i, i);
        rwb_end(&t->b);
    }
}

/* Rotates when a time has been appended, in the midst of a batch. */
typedef struct {
    nlt_head_t *head;
    int64_t at_ms[2];
    _Atomic bool over;
} rotator_t;

static void *
rotate_in_time(void *arg)
{
    rotator_t *r = arg;
    uint64_t sealed;
    nlt_err_t err;

    for (unsigned i = 0; i < 2; i++) {
        const nlt_arena_header_t *hdr =
            nlt_arena_header(nlt_head_active(r->head));

        while (atomic_load(&hdr->t_max_ms) < r->at_ms[i]
               && !atomic_load(&r->over)) {
        }
        NLT_CHECK_INT(nlt_head_rotate(r->head, &sealed, &err), NLT_OK);
        if (i == 0) {
            NLT_CHECK_INT(nlt_head_prepare(r->head, &err), NLT_OK);
        }
    }
    return NULL;
}

/*
 * The arena is sealed at any instruction of a request.  What is counted as
 * accepted is there and logged, and counted once.
 */
static void
a_rotation_at_any_time_loses_nothing(void)
{
    for (unsigned k = 0; k < 6; k++) {
        rotator_t r = {0};
        pthread_t thread;
        nlt_err_t err;
        bed_t t;

        bed_open(&t, 48u << 20);
        for (uint64_t no = 2; no <= 3; no++) {
            NLT_CHECK_INT(nlt_wal_create(&t.env, t.f.conf.dir_fd,
                                         t.f.conf.store_id, no, NOW, &err),
                          NLT_OK);
        }
        NLT_CHECK_INT(nlt_head_attach(&t.f.conf, &r.head, &err), NLT_OK);
        NLT_CHECK_INT(nlt_head_prepare(r.head, &err), NLT_OK);
        r.at_ms[0] = NOW + (int64_t) nlt_test_below(RISING);
        r.at_ms[1] = NOW + RISING + (int64_t) nlt_test_below(RISING);
        NLT_CHECK_INT(pthread_create(&thread, NULL, rotate_in_time, &r), 0);
        for (unsigned round = 0; round < 3; round++) {
            fill_rising(&t, round);
            NLT_CHECK_INT(send(&t), 204);
            NLT_CHECK_INT(t.res.samples, RISING);
        }
        atomic_store(&r.over, true);
        pthread_join(thread, NULL);
        NLT_CHECK_INT(count_rows(&t), RISING * 3);
        check_logged(&t, 3);
        nlt_head_detach(r.head);
        bed_close(&t);
    }
}

static void
series_are_carried_to_the_next_arena(void)
{
    nlt_head_counters_t *c;
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    c = &nlt_head_ctl(t.head)->counters;
    fill_large(&t, 1000, 1);
    NLT_CHECK_INT(send(&t), 204);
    rotate(&t, 2);
    for (unsigned i = 0; i < 2; i++) {
        fill_large(&t, 1000, 2);
        NLT_CHECK_INT(send(&t), 204);
    }
    NLT_CHECK_INT(c->series_created, 1000);
    NLT_CHECK_INT(c->series_carried, 1000);
    NLT_CHECK_INT(count_rows(&t), 2000);
    check_logged(&t, 2);

    /* What the arena before has must not be contradicted. */
    rotate(&t, 3);
    rwb_label(&t.b, "__name__", "m7");
    rwb_label(&t.b, "job", "large");
    rwb_sample(&t.b, NOW + 1, 99);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK_INT(count_rows(&t), 2000);
    bed_close(&t);
}

static void
disk_trouble_is_not_acknowledged(void)
{
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    add(&t, "m", NOW, 1);
    disk_fails = ENOSPC;
    NLT_CHECK_INT(send_body(&t, rwb_snappy(&t.b)), 503);
    NLT_CHECK(t.res.retry_after_s > 0);
    NLT_CHECK_INT(t.res.samples, 0);
    disk_fails = EIO;
    NLT_CHECK_INT(send_body(&t, rwb_snappy(&t.b)), 500);
    disk_fails = 0;
    /* After EIO the file is not trusted, and every process knows. */
    NLT_CHECK_INT(send_body(&t, rwb_snappy(&t.b)), 503);
    NLT_CHECK_INT(t.res.retry_after_s, 1);
    NLT_CHECK(nlt_head_log_failed(nlt_head_ctl(t.head), 1));
    NLT_CHECK(!nlt_head_log_failed(nlt_head_ctl(t.head), 2));
    rotate(&t, 2);
    /* It is in the head already, and must be logged all the same. */
    NLT_CHECK_INT(send(&t), 204);
    check_logged(&t, 2);
    bed_close(&t);
}

static void
a_head_that_is_not_open_is_503(void)
{
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    add(&t, "m", NOW, 1);
    nlt_head_set_state(t.head, NLT_HEAD_REPLAYING);
    NLT_CHECK_INT(send_body(&t, rwb_snappy(&t.b)), 503);
    NLT_CHECK_INT(t.res.retry_after_s, 1);
    nlt_head_set_state(t.head, NLT_HEAD_DEAD);
    NLT_CHECK_INT(send_body(&t, rwb_snappy(&t.b)), 503);
    bed_close(&t);
}

/* New series are refused first; those that are known go on. */
static void
full_memory_refuses_new_series_only(void)
{
    char name[32];
    unsigned i;
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    add(&t, "known", NOW, 1);
    NLT_CHECK_INT(send(&t), 204);
    for (i = 0; i < 200; i++) {
        for (unsigned k = 0; k < 1000; k++) {
            snprintf(name, sizeof(name), "s%u_%u", i, k);
            add(&t, name, NOW, 1);
        }
        if (send(&t) != 204) {
            break;
        }
    }
    NLT_CHECK_INT(t.res.status, 503);
    NLT_CHECK(t.res.retry_after_s > 0);
    NLT_CHECK(says(&t, "memory= is used up: no room for new series"));
    add(&t, "known", NOW + 1, 2);
    NLT_CHECK_INT(send(&t), 204);
    add(&t, "never_seen", NOW, 1);
    add(&t, "known", NOW + 2, 3);
    NLT_CHECK_INT(send(&t), 503);
    add(&t, "known", NOW + 2, 99);
    NLT_CHECK_INT(send(&t), 400); /* the known one had been taken */
    check_logged(&t, 1);
    bed_close(&t);
}

/* A histogram without buckets into the series: valid when zero == count. */
static void
add_histogram(bed_t *t, uint64_t count, uint64_t zero)
{
    nlt_buf_t *b = &t->b.series;

    nlt_buf_add_str(b, NLT_STR("\x22\x0b\x78"));
    nlt_buf_add_uvarint(b, NOW);
    nlt_buf_add_byte(b, 0x08);
    nlt_buf_add_byte(b, (uint8_t) count);
    nlt_buf_add_byte(b, 0x30);
    nlt_buf_add_byte(b, (uint8_t) zero);
    nlt_buf_add_str(b, NLT_STR("\x1a\x00")); /* an exemplar too */
}

static void
histograms_and_exemplars_are_passed_over(void)
{
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    rwb_label(&t.b, "__name__", "h");
    add_histogram(&t, 5, 5);
    rwb_end(&t.b);
    add(&t, "m", NOW, 1);
    NLT_CHECK_INT(send(&t), 204);
    NLT_CHECK_INT(t.res.skipped_histograms, 1);
    NLT_CHECK_INT(t.res.samples, 1);
    NLT_CHECK_INT(nlt_arena_header(nlt_head_active(t.head))->n_series, 1);
    NLT_CHECK_INT(
        atomic_load(&nlt_head_ctl(t.head)->counters.histograms_not_stored), 1);
    bed_close(&t);
}

/* As in Prometheus; one of a series with invalid labels is not looked at. */
static void
an_invalid_histogram_refuses_a_1_0_request(void)
{
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    add(&t, "m", NOW, 1);
    rwb_label(&t.b, "no", "name");
    add_histogram(&t, 5, 4);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 204);
    add(&t, "m", NOW + 1, 1);
    rwb_label(&t.b, "__name__", "h");
    add_histogram(&t, 5, 4);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(says(&t, "4 observations found in buckets, but the Count field "
                       "is 5: histogram's observation count should equal the "
                       "number of observations found in the buckets (in "
                       "absence of NaN) for series {__name__=\"h\"}"));
    NLT_CHECK_INT(count_rows(&t), 1);
    NLT_CHECK_INT(
        atomic_load(&nlt_head_ctl(t.head)->counters.histograms_invalid), 1);
    bed_close(&t);
}

static void
own_samples_take_the_same_way(void)
{
    nlt_label_t v[2] = {{NLT_METRIC_NAME, NLT_STR("own")},
                        {NLT_STR("x"), NLT_STR("y")}};
    nlt_ingest_own_t s[2] = {{{v, 2}, NOW, 1}, {{v, 1}, NOW, 2}};
    nlt_err_t err;
    bed_t t;

    bed_open(&t, NLT_HEAD_MEMORY_MIN);
    NLT_CHECK_INT(nlt_ingest_own(t.in, 0, s, 2, &err), NLT_OK);
    s[0].t_ms = s[1].t_ms = NOW + 1000;
    NLT_CHECK_INT(nlt_ingest_own(t.in, 0, s, 2, &err), NLT_OK);
    NLT_CHECK_INT(count_rows(&t), 4);
    check_logged(&t, 1);
    disk_fails = EIO;
    s[0].t_ms = NOW + 2000;
    NLT_CHECK_INT(nlt_ingest_own(t.in, 0, s, 2, &err), NLT_EIO);
    bed_close(&t);
}

/* Requests of any shape against a list that keeps what came first. */
static void
random_requests_match_a_list(void)
{
    rows_t want = {0}, got;
    nlt_arena_t *a;
    bed_t t;

    bed_open(&t, 48u << 20);
    for (unsigned k = 0; k < 300; k++) {
        size_t series = nlt_test_below(40);

        for (size_t i = 0; i < series; i++) {
            unsigned id = (unsigned) nlt_test_below(60), n = 0;
            int64_t at = NOW + k * 1000;
            char value[8], text[64];

            snprintf(value, sizeof(value), "%u", id);
            snprintf(text, sizeof(text), "{__name__=\"m\", id=\"%s\"}", value);
            if (id % 3 == 0) {
                rwb_label(&t.b, "__name__", "m");
            }
            if (nlt_test_below(8) == 0) {
                rwb_label(&t.b, "gone", "");
            }
            if (nlt_test_below(8) == 0) {
                rwb_sample(&t.b, at, id);
                row_add(&want, (nlt_str_t){strlen(text), text}, at,
                        nlt_bits_of(id));
            }
            rwb_label(&t.b, "id", value);
            if (id % 3) {
                rwb_label(&t.b, "__name__", "m");
            }
            for (n = 1 + (unsigned) nlt_test_below(3); n; n--) {
                at -= (int64_t) nlt_test_below(3) * 1500;
                rwb_sample(&t.b, at, id);
                row_add(&want, (nlt_str_t){strlen(text), text}, at,
                        nlt_bits_of(id));
            }
            rwb_end(&t.b);
        }
        NLT_CHECK_INT(send(&t), 204);
        if (k == 100 || k == 200) {
            rotate(&t, k / 100 + 1);
        }
    }
    rows_settle(&want);
    got = rows_of_head(t.head);
    NLT_CHECK(rows_equal(&want, &got));
    rows_free(&got);
    check_logged(&t, 3);
    a = nlt_head_active(t.head);
    NLT_CHECK(nlt_arena_header(a)->n_series <= 60);
    rows_free(&want);
    bed_close(&t);
}

static nlt_rc_t
no_poll(void *ctx)
{
    (void) ctx;
    return NLT_OK;
}

/* The log alone makes an equal head. */
static void
replay_gives_the_same_head(void)
{
    rows_t before, after;
    nlt_replay_stats_t stats;
    nlt_err_t err;
    bed_t t, u;

    bed_open(&t, 48u << 20);
    fill_large(&t, 3000, 7);
    NLT_CHECK_INT(send(&t), 204);
    for (unsigned i = 0; i < 50; i++) {
        add(&t, i & 1 ? "odd" : "even", NOW - i * 1000, i);
    }
    NLT_CHECK_INT(send(&t), 204);
    before = rows_of_head(t.head);
    NLT_CHECK_INT(before.n, 21050);

    bed_open(&u, 48u << 20);
    NLT_CHECK_INT(linkat(t.f.conf.dir_fd, "0000000000000001.wal",
                         u.f.conf.dir_fd, "0000000000000009.wal", 0),
                  0);
    nlt_replay_conf_t conf = {.env = &u.env,
                              .head = u.head,
                              .wal_fd = u.f.conf.dir_fd,
                              .store_id = u.f.conf.store_id,
                              .poll = no_poll};
    NLT_CHECK_INT(nlt_replay_log(&conf, 9, &stats, &err), NLT_OK);
    after = rows_of_head(u.head);
    NLT_CHECK(rows_equal(&before, &after));
    rows_free(&before);
    rows_free(&after);
    bed_close(&u);
    bed_close(&t);
}

int
main(void)
{
    (void) nlt_test_seed();
    NLT_TEST(a_request_is_in_head_and_log);
    NLT_TEST(broken_bodies_are_400);
    NLT_TEST(a_refused_request_leaves_nothing_behind);
    NLT_TEST(what_a_longer_retention_would_take_is_asked_for_again);
    NLT_TEST(duplicates_and_old_samples_are_accepted);
    NLT_TEST(invalid_label_sets_are_skipped);
    NLT_TEST(limits_are_told_with_series_and_limit);
    NLT_TEST(permutations_are_one_series);
    NLT_TEST(a_large_request_goes_in_slices);
    NLT_TEST(a_rotation_between_slices_loses_nothing);
    NLT_TEST(a_rotation_at_any_time_loses_nothing);
    NLT_TEST(series_are_carried_to_the_next_arena);
    NLT_TEST(disk_trouble_is_not_acknowledged);
    NLT_TEST(a_head_that_is_not_open_is_503);
    NLT_TEST(full_memory_refuses_new_series_only);
    NLT_TEST(histograms_and_exemplars_are_passed_over);
    NLT_TEST(an_invalid_histogram_refuses_a_1_0_request);
    NLT_TEST(own_samples_take_the_same_way);
    NLT_TEST(random_requests_match_a_list);
    NLT_TEST(replay_gives_the_same_head);
    return nlt_test_done();
}

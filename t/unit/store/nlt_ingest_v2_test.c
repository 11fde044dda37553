/*
 * nlt_ingest_v2_test.c - remote_write 2.0: the good part of a request is
 * kept, the rest is told, and the counts are exact.
 */
#include <errno.h>

#include "nlt_test.h"

#include "nlt_ingest_fixture.h"
#include "nlt_limits.h"
#include "nlt_rw2_build.h"

static rw2b_t b;

static void
open2(bed_t *t)
{
    bed_open(t, NLT_HEAD_MEMORY_MIN);
    t->conf.version = 2;
    rw2b_init(&b);
}

static void
close2(bed_t *t)
{
    bed_close(t);
    rw2b_free(&b);
}

static int
send2(bed_t *t)
{
    int status = send_body(t, rw2b_snappy(&b));

    rw2b_reset(&b);
    return status;
}

static void
name(const char *metric)
{
    rw2b_label(&b, "__name__", metric);
}

static void
add2(const char *metric, int64_t t_ms, double v)
{
    name(metric);
    rw2b_label(&b, "job", "test");
    rw2b_sample(&b, t_ms, v);
    rw2b_end(&b);
}

static bool
has(const bed_t *t, const char *part)
{
    return memmem(t->res.text.data, t->res.text.len, part, strlen(part))
           != NULL;
}

/* Is that the text of the answer, and as many samples were written? */
static void
told(const bed_t *t, uint64_t written, const char *text)
{
    NLT_CHECK_INT(t->res.written_samples, written);
    NLT_CHECK_STR(t->res.text, text);
}

static void
a_request_is_in_head_and_log(void)
{
    rows_t rows;
    bed_t t;

    open2(&t);
    add2("up", NOW, 1.5);
    name("odd");
    rw2b_sample_bits(&b, NOW, NLT_STALE_NAN_BITS);
    rw2b_sample_bits(&b, NOW + 1, UINT64_C(0x7ff8000000000abc));
    rw2b_metadata(&b, 1, "help", "unit");
    rw2b_end(&b);
    NLT_CHECK_INT(send2(&t), 204);
    told(&t, 3, "");
    NLT_CHECK_INT(t.res.series, 2);
    rows = rows_of_head(t.head);
    NLT_CHECK_INT(rows.n, 3);
    NLT_CHECK(strcmp(rows.v[2].labels, "{__name__=\"up\", job=\"test\"}")
              == 0);
    NLT_CHECK(rows.v[0].bits == NLT_STALE_NAN_BITS);
    rows_free(&rows);
    check_logged(&t, 1);
    close2(&t);
}

/* Symbols in another order, labels in another order, 1.0: one series. */
static void
one_label_set_is_one_series_however_it_comes(void)
{
    const nlt_head_counters_t *c;
    bed_t t;

    open2(&t);
    c = &nlt_head_ctl(t.head)->counters;
    add2("up", NOW, 1);
    NLT_CHECK_INT(send2(&t), 204);
    NLT_CHECK_INT(atomic_load(&c->aliases_created), 1); /* of 2.0 */
    /* Other numbers: found without a new alias. */
    (void) rw2b_symbol(&b, "test");
    (void) rw2b_symbol(&b, "x");
    (void) rw2b_symbol_new(&b, NLT_STR("test"));
    add2("up", NOW + 1, 2);
    NLT_CHECK_INT(send2(&t), 204);
    NLT_CHECK_INT(atomic_load(&c->aliases_created), 1);
    rw2b_label(&b, "job", "test");
    rw2b_label(&b, "nothing", "");
    name("up");
    rw2b_sample(&b, NOW + 2, 3);
    rw2b_end(&b);
    NLT_CHECK_INT(send2(&t), 204);
    NLT_CHECK_INT(atomic_load(&c->aliases_created), 2);
    t.conf.version = 1;
    add(&t, "up", NOW + 3, 4);
    NLT_CHECK_INT(send(&t), 204);
    NLT_CHECK_INT(nlt_arena_header(nlt_head_active(t.head))->n_series, 1);
    NLT_CHECK_INT(count_rows(&t), 4);
    /* Name and value exchanged are another set. */
    t.conf.version = 2;
    rw2b_label(&b, "__name__", "m");
    rw2b_label(&b, "a", "b");
    rw2b_sample(&b, NOW, 1);
    rw2b_end(&b);
    rw2b_label(&b, "__name__", "m");
    rw2b_label(&b, "b", "a");
    rw2b_sample(&b, NOW, 2);
    rw2b_end(&b);
    NLT_CHECK_INT(send2(&t), 204);
    NLT_CHECK_INT(nlt_arena_header(nlt_head_active(t.head))->n_series, 3);
    close2(&t);
}

static void
the_good_rest_is_kept(void)
{
    rows_t rows;
    bed_t t;

    open2(&t);
    add2("dup", NOW, 1);
    NLT_CHECK_INT(send2(&t), 204);
    add2("good", NOW, 1);
    add2("future", NOW + 600001, 1);
    add2("past", NOW - 86400001, 1);
    name("dup");
    rw2b_label(&b, "job", "test");
    rw2b_sample(&b, NOW, 1234567.5);
    rw2b_sample(&b, NOW + 1, 2);
    rw2b_end(&b);
    name("mixed");
    rw2b_sample(&b, NOW + 600001, 1);
    rw2b_sample(&b, NOW + 1, 2);
    rw2b_sample(&b, NOW + 600002, 3);
    rw2b_sample(&b, NOW + 3, 4);
    rw2b_end(&b);
    add2("last", NOW, 1);
    NLT_CHECK_INT(send2(&t), 400);
    told(&t, 5,
         "out of bounds: timestamp is too far in the future for series "
         "{__name__=\"future\", job=\"test\"}\n"
         "too old sample for series {__name__=\"past\", job=\"test\"}\n"
         "out of bounds: timestamp is too far in the future for series "
         "{__name__=\"mixed\"}\n"
         "out of bounds: timestamp is too far in the future for series "
         "{__name__=\"mixed\"}\n"
         "duplicate sample for timestamp 1700000000000; overrides not "
         "allowed: existing 1, new value 1.2345675e+06 for series "
         "{__name__=\"dup\", job=\"test\"}");
    rows = rows_of_head(t.head);
    NLT_CHECK_INT(rows.n, 6);
    NLT_CHECK(rows.v[0].bits == nlt_bits_of(1)); /* dup */
    NLT_CHECK(rows.v[1].bits == nlt_bits_of(2));
    NLT_CHECK(strcmp(rows.v[2].labels, "{__name__=\"good\", job=\"test\"}")
              == 0);
    NLT_CHECK(strcmp(rows.v[4].labels, "{__name__=\"mixed\"}") == 0
              && rows.v[4].bits == nlt_bits_of(2)
              && rows.v[5].bits == nlt_bits_of(4));
    rows_free(&rows);
    NLT_CHECK_INT(atomic_load(&nlt_head_ctl(t.head)->counters.samples_too_new),
                  3);
    NLT_CHECK_INT(
        atomic_load(&nlt_head_ctl(t.head)->counters.samples_conflict), 1);
    NLT_CHECK_INT(
        atomic_load(&nlt_head_ctl(t.head)->counters.requests_partial), 1);
    check_logged(&t, 1);
    close2(&t);
}

static void
bad_labels_and_references_are_told(void)
{
    bed_t t;

    open2(&t);
    add2("good", NOW, 1);
    rw2b_label(&b, "job", "nameless");
    rw2b_sample(&b, NOW + 100000000, 1);
    rw2b_end(&b);
    name("");
    rw2b_sample(&b, NOW, 1);
    rw2b_end(&b);
    name("twice");
    rw2b_label(&b, "a", "1");
    rw2b_label(&b, "a", "2");
    rw2b_sample(&b, NOW, 1);
    rw2b_end(&b);
    name("odd");
    rw2b_ref(&b, 1);
    rw2b_sample(&b, NOW, 1);
    rw2b_sample(&b, NOW + 1, 1);
    rw2b_end(&b);
    name("outside");
    rw2b_ref(&b, 1);
    rw2b_ref(&b, 99);
    rw2b_sample(&b, NOW, 1);
    rw2b_end(&b);
    name("help");
    rw2b_field(&b.rest, 0x2a, NLT_STR("\x18\x60"));
    rw2b_sample(&b, NOW, 1);
    rw2b_end(&b);
    name("empty");
    rw2b_exemplar(&b, "trace", "x", NOW, 1);
    rw2b_end(&b);
    name("utf8");
    rw2b_label(&b, "x", "\xff");
    rw2b_sample(&b, NOW, 1);
    rw2b_end(&b);
    add2("last", NOW, 1);
    NLT_CHECK_INT(send2(&t), 400);
    told(&t, 2,
         "invalid metric name or labels, got {job=\"nameless\"}\n"
         "invalid metric name or labels, got {}\n"
         "invalid labels for series, labels {__name__=\"twice\", a=\"1\", "
         "a=\"2\"}, duplicated label a\n"
         "parsing labels for series [1 10 1]: invalid labelRefs length 3\n"
         "parsing labels for series [1 11 1 99]: labelRefs 1 (name) = 99 "
         "(value) outside of symbols table (size 19)\n"
         "parsing metadata for series [1 12]: metadata help_ref 96 outside of "
         "symbols table (size 19)\n"
         "invalid metric name or labels, got {__name__=\"utf8\", "
         "x=\"\\xff\"}\n"
         "TimeSeries must contain at least one sample or histogram for series "
         "{__name__=\"empty\"}");
    NLT_CHECK_INT(t.res.skipped_series, 7);
    NLT_CHECK_INT(count_rows(&t), 2);
    NLT_CHECK_INT(nlt_arena_header(nlt_head_active(t.head))->n_series, 2);
    /* Of a known series too: what metadata refers to is always checked. */
    name("good");
    rw2b_label(&b, "job", "test");
    rw2b_field(&b.rest, 0x2a, NLT_STR("\x20\x60"));
    rw2b_sample(&b, NOW + 1, 1);
    rw2b_end(&b);
    NLT_CHECK_INT(send2(&t), 400);
    told(&t, 0,
         "parsing metadata for series [1 2 3 4]: metadata unit_ref 96 outside "
         "of symbols table (size 5)");
    /* Limits are told with their number. */
    name("m");
    for (unsigned i = 0; i < 200; i++) {
        rw2b_label(&b, "a", "b");
    }
    rw2b_sample(&b, NOW, 1);
    rw2b_end(&b);
    add2("good", NOW + 2, 1);
    NLT_CHECK_INT(send2(&t), 400);
    NLT_CHECK(has(&t, "201 labels, limit is 64 (nightlight_max_labels) for "
                      "series "));
    NLT_CHECK_INT(t.res.written_samples, 1);
    check_logged(&t, 1);
    close2(&t);
}

static void
histograms_are_judged_and_told(void)
{
    const nlt_head_counters_t *c;
    bed_t t;

    open2(&t);
    c = &nlt_head_ctl(t.head)->counters;
    add2("m", NOW, 1);
    name("h");
    rw2b_histogram(&b, 3, 3, NOW);
    rw2b_histogram(&b, 4, 4, NOW + 1);
    rw2b_end(&b);
    name("bad");
    rw2b_histogram(&b, 3, 2, NOW);
    rw2b_end(&b);
    name("both");
    rw2b_sample(&b, NOW, 1);
    rw2b_histogram(&b, 3, 3, NOW + 600001);
    rw2b_end(&b);
    NLT_CHECK_INT(send2(&t), 400);
    told(&t, 2,
         "native histograms are not stored yet, 2 not taken for series "
         "{__name__=\"h\"}\n"
         "2 observations found in buckets, but the Count field is 3: "
         "histogram's observation count should equal the number of "
         "observations found in the buckets (in absence of NaN) for series "
         "{__name__=\"bad\"}\n"
         "out of bounds: timestamp is too far in the future for series "
         "{__name__=\"both\"}");
    NLT_CHECK_INT(t.res.written_histograms, 0);
    NLT_CHECK_INT(atomic_load(&c->histograms_not_stored), 2);
    NLT_CHECK_INT(atomic_load(&c->histograms_invalid), 1);
    NLT_CHECK_INT(nlt_arena_header(nlt_head_active(t.head))->n_series, 2);
    close2(&t);
}

static void
broken_bytes_refuse_the_request(void)
{
    bed_t t;

    open2(&t);
    add2("good", NOW, 1);
    nlt_buf_add_str(&b.series, NLT_STR("\x2a\x05zz"));
    NLT_CHECK_INT(send2(&t), 400);
    NLT_CHECK(says(&t, "unexpected EOF"));
    NLT_CHECK_INT(t.res.written_samples, 0);
    add2("good", NOW, 1);
    name("bad");
    rw2b_field(&b.rest, 0x1a, NLT_STR("\x10\x01"));
    rw2b_end(&b);
    NLT_CHECK_INT(send2(&t), 400);
    NLT_CHECK(says(&t, "proto: wrong wireType = 0 for field CountFloat"));
    NLT_CHECK_INT(count_rows(&t), 0);
    /* Nothing, and a request of 1.0, are empty requests. */
    NLT_CHECK_INT(send_body(&t, NLT_STR("\x00")), 204);
    add(&t, "of_1_0", NOW, 1);
    NLT_CHECK_INT(send(&t), 204);
    NLT_CHECK_INT(count_rows(&t), 0);
    close2(&t);
}

/* In one request only what is committed counts, and the first one stays. */
static void
conflicts_inside_of_a_request_are_counted_as_written(void)
{
    bed_t t;

    open2(&t);
    name("m");
    rw2b_sample(&b, NOW, 1);
    rw2b_sample(&b, NOW, 2);
    rw2b_sample(&b, NOW - 5, 3);
    rw2b_end(&b);
    NLT_CHECK_INT(send2(&t), 204);
    told(&t, 3, "");
    NLT_CHECK_INT(count_rows(&t), 2);
    check_logged(&t, 1);
    close2(&t);
}

static void
fault_texts_are_bounded(void)
{
    char metric[32], end[32];
    bed_t t;

    open2(&t);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(metric, sizeof(metric), "future_%u", i);
        add2(metric, NOW + 600001, 1);
        snprintf(metric, sizeof(metric), "good_%u", i);
        add2(metric, NOW, 1);
    }
    NLT_CHECK_INT(send2(&t), 400);
    NLT_CHECK_INT(t.res.written_samples, 3000);
    NLT_CHECK(t.res.text.len > 8000 && t.res.text.len < 10000);
    unsigned lines = 1;
    for (size_t i = 0; i < t.res.text.len; i++) {
        lines += t.res.text.data[i] == '\n';
    }
    snprintf(end, sizeof(end), "\nand %u more", 3000 - (lines - 1));
    NLT_CHECK(has(&t, end));
    NLT_CHECK_INT(count_rows(&t), 3000);
    close2(&t);
}

/* Several batches, faults in each; and rotations at every slice. */
static void
large_requests_are_applied_in_parts(void)
{
    unsigned n = 3 * NLT_INGEST_BATCH, bad = 0;
    char metric[32];
    nlt_str_t body;
    bed_t t;

    for (unsigned at = 0; at < 9; at++) {
        open2(&t);
        if (at == 0) {
            /* Symbols behind the series. */
            add2("first", NOW, 1);
        }
        bad = 0;
        for (unsigned i = 0; i < n; i++) {
            snprintf(metric, sizeof(metric), "m%u", i % 5000);
            name(metric);
            rw2b_sample(&b, NOW + i / 5000 + (i % 7 == 3 ? 700000 : 0), i);
            bad += i % 7 == 3;
            rw2b_end(&b);
        }
        body = rw2b_snappy(&b);
        NLT_CHECK_INT(send_body_rotating(&t, body, at ? 2 : 0, at), 400);
        NLT_CHECK(t.slices > 8);
        NLT_CHECK_INT(t.res.written_samples, n - bad + (at == 0));
        NLT_CHECK_INT(
            atomic_load(&nlt_head_ctl(t.head)->counters.requests_partial), 1);
        if (at == 0) {
            NLT_CHECK_INT(
                atomic_load(&nlt_head_ctl(t.head)->counters.samples_too_new),
                bad);
        }
        NLT_CHECK_INT(count_rows(&t), n - bad + (at == 0));
        close2(&t);
    }
}

/* Arena 2 takes over, and has the numbers of series and pairs that arena 1
 * has, for others: x0, x1, ... */
static void
take_over(bed_t *t, unsigned n)
{
    nlt_ingest_result_t res = t->res;
    unsigned slices = t->slices;
    char metric[32];

    rotate(t, 2);
    t->conf.version = 1;
    for (unsigned i = 0; i < n; i++) {
        snprintf(metric, sizeof(metric), "x%u", i);
        add(t, metric, NOW, -1);
    }
    NLT_CHECK_INT(send(t), 204);
    t->conf.version = 2;
    t->res = res;
    t->slices = slices;
}

/* Sends b, in the middle of which arena 2 takes over; false: it was over. */
static bool
send_taken_over(bed_t *t, unsigned n, unsigned at)
{
    nlt_ingest_req_t *r;
    bool taken = false;

    NLT_CHECK_INT(nlt_ingest_begin(t->in, &t->conf, rw2b_snappy(&b), &r),
                  NLT_OK);
    for (t->slices = 1; nlt_ingest_run(r, &t->res) != NLT_OK; t->slices++) {
        if (t->slices == at) {
            take_over(t, n);
            taken = true;
        }
    }
    NLT_CHECK_INT(t->res.status, 204);
    return taken;
}

/* Series are found by their numbers; those of one arena say nothing in the
 * next, neither of series nor of pairs nor of one that is half done. */
static void
numbers_mean_nothing_in_the_next_arena(void)
{
    bool taken = true;

    for (unsigned k = 0; k < 40 && taken; k++) {
        bool one = k % 4 == 0; /* long series, and an earlier one last */
        unsigned n = one ? 2 : 5 + k % 4, rounds = one ? 0 : 4000;
        unsigned strangers = 0, at = 1 + k / 4, more = one ? 40001 : 0;
        char metric[32];
        rows_t rows;
        bed_t t;

        open2(&t);
        for (unsigned i = 0; i < n; i++) {
            snprintf(metric, sizeof(metric), "m%u", i);
            add2(metric, NOW, i);
        }
        NLT_CHECK_INT(send2(&t), 204);
        for (unsigned j = 0; j < rounds; j++) {
            for (unsigned i = 0; i < n; i++) {
                snprintf(metric, sizeof(metric), "m%u", i);
                add2(metric, NOW + 1 + j, i);
            }
        }
        if (one) {
            name("m1");
            rw2b_label(&b, "job", "test");
            for (unsigned j = 1; j < more; j++) {
                rw2b_sample(&b, NOW + j, j);
            }
            rw2b_end(&b);
            add2("m0", NOW + 1, 0);
        }
        taken = send_taken_over(&t, n, at);
        rows = rows_of_head(t.head);
        NLT_CHECK_INT(rows.n, n * (rounds + 1 + taken) + more);
        for (size_t i = 0; i < rows.n; i++) {
            strangers += strstr(rows.v[i].labels, "\"x") != NULL;
        }
        NLT_CHECK_INT(strangers, taken ? n : 0);
        rows_free(&rows);
        close2(&t);
    }
}

/*
 * Labels of a batch are made canonical once and kept, as far as there is room
 * for them; the others are made again.  All are in the log.
 */
static void
more_labels_than_are_kept_are_logged(void)
{
    unsigned n = 16000; /* of more than NLT_INGEST_KEPT_MAX / n bytes */
    char metric[32];
    bed_t t;

    open2(&t);
    for (unsigned i = 0; i < n; i++) {
        snprintf(metric, sizeof(metric), "m%05u", i);
        rw2b_label(&b, "region", "somewhere far away where it is warm");
        name(metric);
        rw2b_label(&b, "job", "the label set of this one is not sorted");
        rw2b_sample(&b, NOW, i);
        rw2b_end(&b);
    }
    NLT_CHECK_INT(send2(&t), 204);
    NLT_CHECK_INT(count_rows(&t), n);
    check_logged(&t, 1);
    close2(&t);
}

static void
symbol_tables_have_a_limit(void)
{
    bed_t t;
    size_t n = NLT_RW2_SYMBOLS_MAX;

    open2(&t);
    nlt_buf_reset(&b.symbols);
    for (size_t i = 0; i < n; i++) {
        nlt_buf_add_str(&b.symbols, NLT_STR("\x22\x00"));
    }
    add2("m", NOW, 1); /* outside of it by two */
    NLT_CHECK_INT(send2(&t), 400);
    NLT_CHECK(says(&t, "more than 1048576 symbols"));
    nlt_buf_reset(&b.symbols);
    b.n_symbols = 0;
    memset(b.seen, 0, RW2B_SLOTS * sizeof(*b.seen));
    for (size_t i = 0; i < n - 4; i++) {
        nlt_buf_add_str(&b.symbols, NLT_STR("\x22\x00"));
    }
    b.n_symbols = (uint32_t) n - 4;
    add2("m", NOW, 1);
    NLT_CHECK_INT(send2(&t), 204);
    told(&t, 1, "");
    NLT_CHECK(t.slices > 3);
    NLT_CHECK_INT(count_rows(&t), 1);
    close2(&t);
}

static void
a_full_disk_is_503_and_nothing_is_written(void)
{
    bed_t t;

    open2(&t);
    disk_fails = ENOSPC;
    add2("m", NOW, 1);
    add2("bad", NOW + 700000, 1);
    NLT_CHECK_INT(send2(&t), 503);
    NLT_CHECK_INT(t.res.written_samples, 0);
    disk_fails = 0;
    add2("m", NOW, 1);
    NLT_CHECK_INT(send2(&t), 204);
    told(&t, 1, "");
    close2(&t);
}

int
main(void)
{
    NLT_TEST(a_request_is_in_head_and_log);
    NLT_TEST(one_label_set_is_one_series_however_it_comes);
    NLT_TEST(the_good_rest_is_kept);
    NLT_TEST(bad_labels_and_references_are_told);
    NLT_TEST(histograms_are_judged_and_told);
    NLT_TEST(broken_bytes_refuse_the_request);
    NLT_TEST(conflicts_inside_of_a_request_are_counted_as_written);
    NLT_TEST(fault_texts_are_bounded);
    NLT_TEST(large_requests_are_applied_in_parts);
    NLT_TEST(numbers_mean_nothing_in_the_next_arena);
    NLT_TEST(more_labels_than_are_kept_are_logged);
    NLT_TEST(symbol_tables_have_a_limit);
    NLT_TEST(a_full_disk_is_503_and_nothing_is_written);
    return nlt_test_done();
}

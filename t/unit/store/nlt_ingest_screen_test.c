/*
 * nlt_ingest_screen_test.c - stamped labels, drop rules and limits of series
 * in requests of both versions, of one batch and of several, and across
 * rotations; and that what is refused is not looked at twice.
 */
#include "nlt_test.h"

#include "nlt_ingest_fixture.h"
#include "nlt_limits.h"
#include "nlt_rw2_build.h"
#include "nlt_tenants.h"

#define MANY (NLT_INGEST_BATCH + 5000)

static rw2b_t b2;
static nlt_quota_t quota;
static nlt_ingest_quota_t limit;
static nlt_ingest_drop_t drop;
static nlt_matcher_t matcher;
static nlt_label_t stamps[2];
static nlt_ingest_screen_t screen;

static void
open_screen(bed_t *t, int version)
{
    bed_open(t, 96u << 20);
    rw2b_init(&b2);
    memset(&quota, 0, sizeof(quota));
    t->conf.version = version;
    screen = (nlt_ingest_screen_t){.over_status = 429};
    limit = (nlt_ingest_quota_t){.quota = &quota};
    matcher = (nlt_matcher_t){
        .op = NLT_MATCH_EQ, .name = NLT_STR("odd"), .value = NLT_STR("1")};
    drop = (nlt_ingest_drop_t){&matcher, 1, NLT_STR("{odd=\"1\"}")};
    t->conf.screen = &screen;
}

static void
close_screen(bed_t *t)
{
    rw2b_free(&b2);
    bed_close(t);
}

static void
add_one(bed_t *t, const char *metric, int i, int64_t t_ms)
{
    char n[16];

    snprintf(n, sizeof(n), "%d", i);
    if (t->conf.version == 2) {
        rw2b_label(&b2, "__name__", metric);
        rw2b_label(&b2, "i", n);
        rw2b_label(&b2, "odd", i % 2 ? "1" : "0");
        rw2b_sample(&b2, t_ms, i);
        rw2b_end(&b2);
        return;
    }
    rwb_label(&t->b, "__name__", metric);
    rwb_label(&t->b, "i", n);
    rwb_label(&t->b, "odd", i % 2 ? "1" : "0");
    rwb_sample(&t->b, t_ms, i);
    rwb_end(&t->b);
}

static nlt_str_t
body(bed_t *t)
{
    return t->conf.version == 2 ? rw2b_snappy(&b2) : rwb_snappy(&t->b);
}

/* One sample of each of n series; rotates as send_body_rotating(). */
static int
send_n(bed_t *t, int n, int64_t t_ms, uint64_t rotate_to, unsigned at)
{
    int status;

    for (int i = 0; i < n; i++) {
        add_one(t, "m", i, t_ms);
    }
    status = send_body_rotating(t, body(t), rotate_to, at);
    rw2b_reset(&b2);
    rwb_reset(&t->b);
    return status;
}

static uint64_t
counter(const _Atomic uint64_t *c)
{
    return atomic_load(c);
}

static void
what_is_dropped_is_counted_and_the_rest_kept(void)
{
    for (int version = 1; version <= 2; version++) {
        for (int n = 10; n <= MANY; n += MANY - 10) {
            const nlt_head_counters_t *c;
            bed_t t;

            open_screen(&t, version);
            screen.drops = &drop;
            screen.n_drops = 1;
            c = &nlt_head_ctl(t.head)->counters;
            NLT_CHECK_INT(send_n(&t, n, NOW, 0, 0), 204);
            NLT_CHECK_INT(count_rows(&t), n / 2);
            NLT_CHECK_INT(counter(&c->samples_dropped), n / 2);
            NLT_CHECK_INT(t.res.seen, n);
            NLT_CHECK_INT(send_n(&t, n, NOW + 1, 0, 0), 204);
            NLT_CHECK_INT(count_rows(&t), n);
            NLT_CHECK_INT(counter(&c->samples_dropped), n);
            NLT_CHECK_INT(counter(&c->series_created), n / 2);
            /* another location knows nothing of the rule */
            t.conf.screen = NULL;
            NLT_CHECK_INT(send_n(&t, n, NOW + 2, 0, 0), 204);
            NLT_CHECK_INT(counter(&c->series_created), n);
            NLT_CHECK_INT(count_rows(&t), 2 * n);
            check_logged(&t, 1);
            /* a series that is known is not safe from a new rule */
            t.conf.screen = &screen;
            NLT_CHECK_INT(send_n(&t, n, NOW + 3, 0, 0), 204);
            NLT_CHECK_INT(count_rows(&t), 2 * n + n / 2);
            close_screen(&t);
        }
    }
}

/* What the tenant's counters say. */
static void
check_tenant(bed_t *t, uint64_t samples, uint64_t refused, uint64_t ok,
             uint64_t not_ok)
{
    const nlt_tenant_counters_t *c =
        &nlt_tenants_slot(nlt_head_tenants(t->head), 0)->counters;

    NLT_CHECK_INT(c->samples, samples);
    NLT_CHECK_INT(c->samples_refused, refused);
    NLT_CHECK_INT(c->requests_ok, ok);
    NLT_CHECK_INT(c->requests_refused, not_ok);
    NLT_CHECK_INT(c->written_ms, NOW);
    NLT_CHECK(c->bytes_received > 0);
}

static void
series_over_a_limit_are_left_out_and_told(void)
{
    for (int version = 1; version <= 2; version++) {
        for (int n = 100; n <= MANY; n += MANY - 100) {
            const nlt_head_counters_t *c;
            bed_t t;

            open_screen(&t, version);
            screen.quotas = &limit;
            screen.n_quotas = 1;
            limit.active_max = 60;
            c = &nlt_head_ctl(t.head)->counters;
            NLT_CHECK_INT(send_n(&t, 60, NOW, 0, 0), 204);
            NLT_CHECK_INT(send_n(&t, n, NOW + 1, 0, 0), 429);
            NLT_CHECK(t.res.retry_after_s > 0);
            NLT_CHECK_INT(t.res.samples, 60);
            NLT_CHECK(strstr(t.res.err.text,
                             "over the limit of 60 active series "
                             "(nightlight_limit_series active=)")
                      != NULL);
            NLT_CHECK(strstr(t.res.err.text, "{__name__=\"m\", i=\"60\"")
                      != NULL);
            if (version == 2) {
                NLT_CHECK_INT(t.res.written_samples, 60);
            }
            NLT_CHECK_INT(counter(&c->samples_over_series), n - 60);
            NLT_CHECK_INT(count_rows(&t), 120);
            screen.over_status = 204;
            NLT_CHECK_INT(send_n(&t, n, NOW + 2, 0, 0), 204);
            NLT_CHECK_INT(count_rows(&t), 180);
            NLT_CHECK_INT(counter(&c->samples_over_series), 2 * (n - 60));
            check_tenant(&t, 180, (uint64_t) (2 * (n - 60)), 2, 1);
            check_logged(&t, 1);
            close_screen(&t);
        }
    }
}

static void
a_rotation_counts_active_series_anew_and_new_ones_not(void)
{
    for (int version = 1; version <= 2; version++) {
        bed_t t;

        open_screen(&t, version);
        screen.quotas = &limit;
        screen.n_quotas = 1;
        limit.active_max = 1000;
        limit.created_max = 150;
        NLT_CHECK_INT(send_n(&t, 100, NOW, 0, 0), 204);
        NLT_CHECK_INT(nlt_quota_active(&quota, 1), 100);
        NLT_CHECK_INT(send_n(&t, 100, NOW + 1, 2, 1), 204);
        NLT_CHECK_INT(nlt_quota_active(&quota, 2), 100);
        /* carried over, they were not new */
        NLT_CHECK_INT(send_n(&t, 160, NOW + 2, 0, 0), 429);
        NLT_CHECK_INT(t.res.samples, 150);
        NLT_CHECK(
            strstr(t.res.err.text, "over the limit of 150 new series per hour")
            != NULL);
        NLT_CHECK_INT(nlt_quota_active(&quota, 2), 150);
        check_logged(&t, 2);
        close_screen(&t);
    }
}

static void
a_rotation_within_a_request_drops_no_more_and_no_less(void)
{
    for (unsigned at = 1; at < 12; at++) {
        const nlt_head_counters_t *c;
        bed_t t;

        open_screen(&t, 1 + (int) (at % 2));
        screen.drops = &drop;
        screen.n_drops = 1;
        c = &nlt_head_ctl(t.head)->counters;
        NLT_CHECK_INT(send_n(&t, MANY, NOW, 2, at), 204);
        NLT_CHECK_INT(count_rows(&t), MANY / 2);
        NLT_CHECK_INT(counter(&c->samples_dropped), MANY / 2);
        check_logged(&t, t.slices >= at ? 2 : 1);
        close_screen(&t);
    }
}

/* A matcher that says how often it was asked would need a hook; the work that
 * a request is charged with is as good: slices of a large one. */
/* Without a quota: what the arena has of the tenant, whoever wrote it. */
static void
series_of_a_tenant_are_counted_in_the_head(void)
{
    for (int version = 1; version <= 2; version++) {
        nlt_tenant_counters_t *of;
        bed_t t;

        open_screen(&t, version);
        of = &nlt_tenants_slot(nlt_head_tenants(t.head), 0)->counters;
        NLT_CHECK_INT(send_n(&t, 5, NOW, 0, 0), 204);
        limit = (nlt_ingest_quota_t){.active_max = 8};
        screen.quotas = &limit;
        screen.n_quotas = 1;
        NLT_CHECK_INT(send_n(&t, 20, NOW + 1, 0, 0), 429);
        NLT_CHECK_INT(count_rows(&t), 13);
        NLT_CHECK_INT(counter(&of->series_created), 8);
        NLT_CHECK_INT(counter(&of->samples), 13);
        NLT_CHECK_INT(counter(&of->refused[NLT_TENANT_SERIES]), 12);
        NLT_CHECK_INT(counter(&of->refused[NLT_TENANT_REQUEST]), 0);
        NLT_CHECK_INT(counter(&of->samples_refused), 12);
        /* what is only tried is counted, and taken */
        screen.dry_run = true;
        NLT_CHECK_INT(send_n(&t, 30, NOW + 2, 0, 0), 204);
        NLT_CHECK_INT(count_rows(&t), 43);
        NLT_CHECK_INT(
            counter(
                &nlt_head_ctl(t.head)->counters.dry_run_samples_over_series),
            22);
        screen.dry_run = false;
        /* the next arena begins from none */
        NLT_CHECK_INT(send_n(&t, 30, NOW + 3, 2, 1), 429);
        NLT_CHECK_INT(counter(&of->series_created), 30);
        close_screen(&t);
    }
}

static void
what_is_refused_is_not_looked_at_twice(void)
{
    for (int version = 1; version <= 2; version++) {
        for (int by_rule = 0; by_rule < 2; by_rule++) {
            unsigned first, known;
            bed_t t;

            open_screen(&t, version);
            matcher.op = NLT_MATCH_NE;
            matcher.value = NLT_STR("2");
            screen.over_status = 204;
            screen.drops = &drop;
            screen.n_drops = (size_t) by_rule;
            screen.quotas = &limit;
            screen.n_quotas = 1;
            limit.active_max = 1;
            NLT_CHECK_INT(send_n(&t, MANY, NOW, 0, 0), 204);
            first = t.slices;
            NLT_CHECK_INT(send_n(&t, MANY, NOW + 1, 0, 0), 204);
            known = t.slices;
            NLT_CHECK(known <= 8);
            NLT_CHECK(first >= 2 * known);
            NLT_CHECK_INT(count_rows(&t), by_rule ? 0 : 2);
            close_screen(&t);
        }
    }
}

static void
stamps_cost_a_known_series_nothing(void)
{
    for (int version = 1; version <= 2; version++) {
        const nlt_head_counters_t *c;
        rows_t rows;
        bed_t t;

        open_screen(&t, version);
        stamps[0] =
            (nlt_label_t){NLT_STR("__tenant_id__"), NLT_STR("certificate")};
        stamps[1] = (nlt_label_t){NLT_STR("odd"), NLT_STR("")};
        screen.stamps = stamps;
        screen.n_stamps = 2;
        c = &nlt_head_ctl(t.head)->counters;
        NLT_CHECK_INT(send_n(&t, 1, NOW, 0, 0), 204);
        rows = rows_of_head(t.head);
        NLT_CHECK_INT(rows.n, 1);
        NLT_CHECK(strcmp(rows.v[0].labels,
                         "{__name__=\"m\", __tenant_id__=\"certificate\", "
                         "i=\"0\"}")
                  == 0);
        rows_free(&rows);
        NLT_CHECK_INT(send_n(&t, MANY, NOW, 0, 0), 204);
        NLT_CHECK(t.slices > 10);
        NLT_CHECK_INT(counter(&c->aliases_created), MANY);
        NLT_CHECK_INT(send_n(&t, MANY, NOW + 1, 0, 0), 204);
        NLT_CHECK(t.slices <= 6);
        NLT_CHECK_INT(counter(&c->aliases_created), MANY);
        NLT_CHECK_INT(counter(&c->series_created), MANY);
        /* and carried over without a look at its labels */
        NLT_CHECK_INT(send_n(&t, MANY, NOW + 2, 2, 1), 204);
        NLT_CHECK_INT(counter(&c->series_created), MANY);
        check_logged(&t, 2);
        close_screen(&t);
    }
}

static void
labels_that_are_too_long_with_the_stamps_are_refused(void)
{
    static char big[NLT_SERIES_BYTES_MAX - 200];
    bed_t t;

    open_screen(&t, 1);
    memset(big, 'x', sizeof(big));
    t.conf.labels.value_bytes_max = NLT_SERIES_BYTES_MAX;
    stamps[0] = (nlt_label_t){NLT_STR("a"), {300, big}};
    screen.stamps = stamps;
    screen.n_stamps = 1;
    rwb_label(&t.b, "__name__", "m");
    rwb_label_n(&t.b, NLT_STR("big"), (nlt_str_t){sizeof(big), big});
    rwb_sample(&t.b, NOW, 1);
    rwb_end(&t.b);
    NLT_CHECK_INT(send(&t), 400);
    NLT_CHECK(strstr(t.res.err.text, "with those of nightlight_label")
              != NULL);
    NLT_CHECK_INT(count_rows(&t), 0);
    close_screen(&t);
}

int
main(void)
{
    NLT_TEST(what_is_dropped_is_counted_and_the_rest_kept);
    NLT_TEST(series_over_a_limit_are_left_out_and_told);
    NLT_TEST(a_rotation_counts_active_series_anew_and_new_ones_not);
    NLT_TEST(a_rotation_within_a_request_drops_no_more_and_no_less);
    NLT_TEST(series_of_a_tenant_are_counted_in_the_head);
    NLT_TEST(what_is_refused_is_not_looked_at_twice);
    NLT_TEST(stamps_cost_a_known_series_nothing);
    NLT_TEST(labels_that_are_too_long_with_the_stamps_are_refused);
    return nlt_test_done();
}

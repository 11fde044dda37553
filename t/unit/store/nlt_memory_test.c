/*
 * nlt_memory_test.c - what memory= makes a store do, stage by stage: flush
 * early, refuse new series, refuse everything; and back again.
 */
#include "nlt_store_fixture.h"

#include "nlt_rw_build.h"

#define MINUTE 60000
#define WIDE   2000

/* ---- a disk on which no block can be written ---- */

static bool no_blocks;

static int
mkdir_unless_blocked(void *ctx, int dir_fd, const char *name, unsigned mode)
{
    return no_blocks && strstr(name, ".tmp-for-creation") != NULL
               ? -ENOSPC
               : fx_mkdir(ctx, dir_fd, name, mode);
}

/* ---- requests ---- */

static rwb_t rwb;
static unsigned n_pauses;

static nlt_ingest_result_t
send_request(fx_t *fx)
{
    nlt_ingest_conf_t conf = {.labels = {64, 1024, 4096},
                              .decoded_max = 32u << 20};
    nlt_ingest_result_t res = {.status = 0};
    nlt_ingest_t *in = nlt_store_ingest(fx->store);
    nlt_ingest_req_t *r;

    NLT_CHECK(in != NULL);
    if (in != NULL) {
        NLT_CHECK_INT(nlt_ingest_begin(in, &conf, rwb_snappy(&rwb), &r),
                      NLT_OK);
        while (nlt_ingest_run(r, &res) == NLT_AGAIN) {
            fx->mono_ns += nlt_ingest_pause_ms(r) * INT64_C(1000000);
            n_pauses += nlt_ingest_pause_ms(r) > 0;
        }
    }
    rwb_reset(&rwb);
    return res;
}

/* A sample of each of the series that the model knows. */
static void
add_known(int64_t t_ms, double v)
{
    for (unsigned no = 0; no < FX_SERIES; no++) {
        char text[16];

        (void) snprintf(text, sizeof(text), "%u", no);
        rwb_label(&rwb, "__name__", "m");
        rwb_label(&rwb, "i", text);
        rwb_sample(&rwb, t_ms, v + no);
        rwb_end(&rwb);
    }
}

static void
note_known(fx_t *fx, int64_t t_ms, double v, bool maybe)
{
    for (unsigned no = 0; no < FX_SERIES; no++) {
        fx_model_add(fx, no, t_ms, v + no, maybe);
    }
}

/* A sample of each, with values that do not compress. */
static nlt_ingest_result_t
send_known(fx_t *fx, int64_t *t_ms)
{
    double v = (double) nlt_test_below(UINT64_C(1) << 52) / 3;
    nlt_ingest_result_t res;

    *t_ms += 10;
    add_known(*t_ms, v);
    res = send_request(fx);
    note_known(fx, *t_ms, v, res.status != 204);
    return res;
}

static unsigned n_new;

/* Series that nobody has seen, of 2 KB each. */
static nlt_ingest_result_t
send_new(fx_t *fx, unsigned n, int64_t t_ms)
{
    char text[WIDE + 1];

    memset(text, 'x', WIDE);
    text[WIDE] = '\0';
    for (unsigned i = 0; i < n; i++) {
        (void) !snprintf(text, 9, "%08u", n_new++);
        text[8] = '.';
        rwb_label(&rwb, "__name__", "new");
        rwb_label(&rwb, "v", text);
        rwb_sample(&rwb, t_ms, i);
        rwb_end(&rwb);
    }
    return send_request(fx);
}

static nlt_memory_stage_t
stage(fx_t *fx)
{
    nlt_store_gauges_t g;

    nlt_store_gauges(fx->store, &g);
    return g.memory_stage;
}

static void
stages_come_in_order_and_go_again(void)
{
    const nlt_head_counters_t *c;
    nlt_ingest_result_t res;
    int64_t t = FX_NOW - 30 * MINUTE;
    uint64_t before;
    fx_t fx;

    nlt_test_seed();
    rwb_init(&rwb);
    fx_init(&fx);
    fx.io.mkdir = mkdir_unless_blocked;
    no_blocks = true;
    NLT_CHECK(fx_start(&fx));
    c = &nlt_store_ctl(fx.store)->counters;
    NLT_CHECK_INT(send_known(&fx, &t).status, 204);
    fx_step(&fx, 1);
    NLT_CHECK_INT(stage(&fx), NLT_MEMORY_OK);

    /* 1: arenas are sealed early, nothing is refused. */
    while (c->early_flushes < 2) {
        NLT_CHECK_INT(send_new(&fx, 50, t).status, 204);
        NLT_CHECK_INT(send_known(&fx, &t).status, 204);
        fx_step(&fx, 1);
        if (c->early_flushes > 0) {
            NLT_CHECK_INT(stage(&fx), NLT_MEMORY_FLUSHING);
        }
    }
    NLT_CHECK(c->flush_errors > 0);
    NLT_CHECK_INT(c->series_refused, 0);
    NLT_CHECK_INT(c->requests_failed, 0);

    /* 2: three arenas are in use; new series are refused, known ones not. */
    do {
        NLT_CHECK_INT(send_known(&fx, &t).status, 204);
        res = send_new(&fx, 50, t);
        fx_step(&fx, 1);
    } while (res.status == 204);
    NLT_CHECK_INT(res.status, 503);
    NLT_CHECK(res.retry_after_s > 0);
    NLT_CHECK(strstr(res.err.text, "no room for new series") != NULL);
    NLT_CHECK_INT(stage(&fx), NLT_MEMORY_NO_SERIES);
    NLT_CHECK(c->series_refused > 0);
    NLT_CHECK_INT(send_known(&fx, &t).status, 204);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    /* Known ones in the same request are taken too. */
    before = c->samples_appended;
    t += 10;
    add_known(t, 5);
    note_known(&fx, t, 5, true);
    NLT_CHECK_INT(send_new(&fx, 1, t).status, 503);
    NLT_CHECK_INT(c->samples_appended - before, FX_SERIES);

    NLT_CHECK_INT(n_pauses, 0);

    /* 3: all is refused, at once and as a whole. */
    do {
        res = send_known(&fx, &t);
        if (t % 1000 == 0) {
            fx_step(&fx, 1);
        }
    } while (res.status == 204 && t < FX_NOW + 9 * MINUTE);
    NLT_CHECK_INT(res.status, 503);
    NLT_CHECK(res.retry_after_s > 0);
    NLT_CHECK(strstr(res.err.text, "no room for samples") != NULL);
    NLT_CHECK_INT(stage(&fx), NLT_MEMORY_NO_SAMPLES);
    fx_step(&fx, 1);
    NLT_CHECK_INT(atomic_load(&nlt_store_ctl(fx.store)->memory_stage),
                  NLT_MEMORY_NO_SAMPLES);
    before = c->samples_no_room;
    NLT_CHECK_INT(send_known(&fx, &t).status, 503);
    NLT_CHECK_INT(c->samples_no_room - before, FX_SERIES);
    before = c->samples_appended;
    NLT_CHECK_INT(send_known(&fx, &t).status, 503);
    NLT_CHECK_INT(c->samples_appended, before);
    NLT_CHECK_INT(fx_write(&fx, 1, t, 1), NLT_EFULL);
    /* Queries do not care. */
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));

    /* And back, by itself. */
    no_blocks = false;
    for (int i = 0; i < 100 && stage(&fx) != NLT_MEMORY_OK; i++) {
        fx_step(&fx, 1);
    }
    NLT_CHECK_INT(stage(&fx), NLT_MEMORY_OK);
    NLT_CHECK_INT(send_known(&fx, &t).status, 204);
    NLT_CHECK_INT(send_new(&fx, 10, t).status, 204);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
    rwb_free(&rwb);
}

/* A helper that is stuck seals nothing: one arena has to do. */
static void
a_stuck_helper_leads_through_the_stages_too(void)
{
    int64_t t = FX_NOW - 30 * MINUTE;
    nlt_memory_stage_t last = NLT_MEMORY_OK;
    unsigned seen = 1u << NLT_MEMORY_OK;
    fx_t fx;

    rwb_init(&rwb);
    n_pauses = 0;
    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 5);
    while (last != NLT_MEMORY_NO_SAMPLES && t < FX_NOW + 9 * MINUTE) {
        if (last < NLT_MEMORY_NO_SERIES) {
            (void) send_new(&fx, 50, t);
        }
        (void) send_known(&fx, &t);
        NLT_CHECK(stage(&fx) >= last);
        last = stage(&fx);
        seen |= 1u << last;
    }
    NLT_CHECK_INT(seen, 15);
    /* The first request without room has waited for the helper, others not. */
    NLT_CHECK(n_pauses > 200 && n_pauses < 400);
    for (int i = 0; i < 20; i++) {
        fx_step(&fx, 1);
    }
    NLT_CHECK_INT(stage(&fx), NLT_MEMORY_OK);
    NLT_CHECK_INT(send_known(&fx, &t).status, 204);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
    rwb_free(&rwb);
}

/* Whoever is faster than the helper waits for it, and is not refused. */
static void
a_request_without_room_waits_for_the_next_arena(void)
{
    nlt_ingest_conf_t conf = {.labels = {64, 1024, 4096},
                              .decoded_max = 32u << 20};
    nlt_ingest_result_t res = {.status = 0};
    int64_t t = FX_NOW - 30 * MINUTE;
    unsigned waits = 0;
    nlt_ingest_req_t *r;
    fx_t fx;

    rwb_init(&rwb);
    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 5);
    NLT_CHECK_INT(send_known(&fx, &t).status, 204);
    while (stage(&fx) < NLT_MEMORY_NO_SERIES) {
        NLT_CHECK_INT(send_new(&fx, 1, t).status, 204);
    }
    rwb_label(&rwb, "__name__", "patient");
    rwb_sample(&rwb, t, 7);
    rwb_end(&rwb);
    NLT_CHECK_INT(nlt_ingest_begin(nlt_store_ingest(fx.store), &conf,
                                   rwb_snappy(&rwb), &r),
                  NLT_OK);
    for (int i = 0; i < 40 && nlt_ingest_run(r, &res) == NLT_AGAIN; i++) {
        fx.mono_ns += 5000000;
        waits += nlt_ingest_pause_ms(r) > 0;
        if (i == 20) {
            fx_step(&fx, 2);
        }
    }
    NLT_CHECK(waits >= 20 && waits < 25);
    NLT_CHECK_INT(res.status, 204);
    NLT_CHECK_INT(res.samples, 1);
    NLT_CHECK_INT(nlt_store_ctl(fx.store)->counters.series_refused, 0);
    rwb_reset(&rwb);
    NLT_CHECK_INT(send_known(&fx, &t).status, 204);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
    rwb_free(&rwb);
}

int
main(void)
{
    NLT_TEST(stages_come_in_order_and_go_again);
    NLT_TEST(a_stuck_helper_leads_through_the_stages_too);
    NLT_TEST(a_request_without_room_waits_for_the_next_arena);
    return nlt_test_done();
}

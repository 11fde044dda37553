/*
 * nlt_api_try_test.c - brief requests, tried with a time to end.
 *
 * The clock of the fixture goes on by 1 us with each look at it.
 */
#include "store/nlt_store_fixture.h"
#include "store/nlt_store_check.h"

#include "nlt_api.h"

#define SECONDS "1700054" /* of FX_NOW, but for the last three digits */

static const char *const asked[][2] = {
    {"query", "query=m&time=" SECONDS "400"},
    {"query", "query=m%7Bi%3D%223%22%7D&time=" SECONDS "390"},
    {"query", "query=sum(rate(m%5B1m%5D))&time=" SECONDS "400&stats="},
    {"query_range", "query=m&start=" SECONDS "340&end=" SECONDS "400&step=15"},
    {"query_range", "query=topk(2,m%5B1m%5D)&start=1&end=2&step=1"},
    {"series", "match%5B%5D=m"},
    {"series", "match%5B%5D=m&start=" SECONDS "300&limit=3"},
    {"labels", ""},
    {"labels", "match%5B%5D=%7Bi%3D%225%22%7D"},
    {"label/i/values", ""},
    {"label/__name__/values", "start=" SECONDS "000"},
};

static nlt_api_t *
create(fx_t *fx, const char *path, const char *args, const char *form)
{
    const nlt_api_conf_t conf = {.timeout_ms = 600000,
                                 .samples_max = 1000000,
                                 .series_max = 1000000,
                                 .memory_max = 64u << 20,
                                 .lookback_ms = 300000};
    const nlt_api_request_t req = {
        .kind = NLT_API_QUERY,
        .method = form ? NLT_HTTP_POST : NLT_HTTP_GET,
        .suffix = nlt_test_str(path),
        .args = nlt_test_str(args),
        .form = nlt_test_str(form ? form : ""),
        .content_type = NLT_STR("application/x-www-form-urlencoded")};
    nlt_api_t *a = NULL;

    NLT_CHECK_INT(nlt_api_create(&fx->env, fx->store, &conf, &req, &a),
                  NLT_OK);
    return a;
}

static nlt_buf_t
body(nlt_api_t *a)
{
    char part[4096];
    nlt_buf_t b;
    nlt_rc_t rc = NLT_AGAIN;
    size_t len;

    nlt_buf_init(&b, &nlt_mem_libc, 1u << 20);
    while (rc == NLT_AGAIN) {
        rc = nlt_api_render(a, part, sizeof(part), &len);
        nlt_buf_add(&b, part, len);
    }
    NLT_CHECK_INT(rc, NLT_OK);
    return b;
}

static void
setup(fx_t *fx)
{
    fx_init(fx);
    NLT_CHECK(fx_start(fx));
    for (unsigned no = 0; no < FX_SERIES; no++) {
        for (unsigned k = 0; k < 6; k++) {
            NLT_CHECK_INT(fx_write(fx, no, FX_NOW - 50000 + 10000 * k, k + no),
                          NLT_OK);
        }
    }
}

static const nlt_head_counters_t *
counters(const fx_t *fx)
{
    return &nlt_store_ctl(fx->store)->counters;
}

static uint64_t
ended(const fx_t *fx)
{
    uint64_t n = 0;

    for (size_t i = 0; i < NLT_COUNT(counters(fx)->outcomes); i++) {
        n += counters(fx)->outcomes[i];
    }
    return n;
}

static void
what_was_tried_is_answered_as_ever(void)
{
    fx_t fx;

    setup(&fx);
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        uint64_t before = ended(&fx), at_once = counters(&fx)->queries_at_once;
        nlt_api_t *want = create(&fx, asked[i][0], asked[i][1], NULL);
        nlt_api_t *got = create(&fx, asked[i][0], asked[i][1], NULL);
        bool good;

        NLT_CHECK(nlt_api_digest(got) != 0);
        nlt_api_run(want);
        good = nlt_api_answer(want)->status == 200;
        NLT_CHECK_INT(good, i != 4);
        NLT_CHECK_INT(nlt_api_try(got, 1000000000, false), good);
        NLT_CHECK_INT(counters(&fx)->queries_at_once, at_once + good);
        if (good) {
            nlt_buf_t a = body(want), b = body(got);

            NLT_CHECK_INT(nlt_api_answer(got)->status, 200);
            NLT_CHECK(a.len > 30
                      && nlt_str_eq(nlt_buf_str(&a), nlt_buf_str(&b)));
            nlt_buf_deinit(&a);
            nlt_buf_deinit(&b);
        }
        nlt_api_destroy(want);
        nlt_api_destroy(got);
        NLT_CHECK_INT(ended(&fx), before + 1 + good);
    }
    fx_deinit(&fx);
}

static void
what_takes_too_long_is_given_up(void)
{
    const char *const longer[][2] = {
        {"query", "query=sum(rate(m%5B1m%5D))&time=" SECONDS "400"},
        {"query_range",
         "query=m&start=" SECONDS "340&end=" SECONDS "400&step=1"},
        {"labels", "match%5B%5D=m"}};
    fx_t fx;

    setup(&fx);
    for (size_t i = 0; i < NLT_COUNT(longer); i++) {
        uint64_t before = ended(&fx);
        nlt_api_t *a = create(&fx, longer[i][0], longer[i][1], NULL);

        /* its time is up when it first looks at the clock */
        NLT_CHECK(!nlt_api_try(a, 1, true));
        nlt_api_destroy(a);
        NLT_CHECK_INT(ended(&fx), before);
        NLT_CHECK_INT(counters(&fx)->queries_at_once, 0);
    }
    fx_deinit(&fx);
}

static bool
needs_block(nlt_api_t *a)
{
    nlt_api_cost_t cost;

    nlt_api_cost(a, &cost);
    return cost.needs_block;
}

/* ... without leave to read it. */
static void
what_needs_a_block_is_given_up(void)
{
    fx_t fx;

    setup(&fx);
    NLT_CHECK(fx_flush(&fx));
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        nlt_api_t *a = create(&fx, asked[i][0], asked[i][1], NULL);

        NLT_CHECK(!nlt_api_try(a, 1000000000, false));
        NLT_CHECK_INT(needs_block(a), i != 4);
        nlt_api_destroy(a);
    }
    /* what begins behind it does not */
    NLT_CHECK_INT(fx_write(&fx, 1, FX_NOW + 3 * FX_HOUR, 1), NLT_OK);
    fx.now_ms += 4 * FX_HOUR;

    nlt_api_t *a = create(&fx, "query", "query=m&time=1700065200", NULL);

    NLT_CHECK(nlt_api_try(a, 1000000000, false));
    NLT_CHECK(!needs_block(a));
    nlt_api_destroy(a);
    fx_deinit(&fx);
}

static void
blocks_are_read_by_who_may(void)
{
    fx_t fx;

    setup(&fx);
    NLT_CHECK(fx_flush(&fx));
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        nlt_api_t *want = create(&fx, asked[i][0], asked[i][1], NULL);
        nlt_api_t *got = create(&fx, asked[i][0], asked[i][1], NULL);
        nlt_api_t *late = create(&fx, asked[i][0], asked[i][1], NULL);
        bool good;

        nlt_api_run(want);
        good = nlt_api_answer(want)->status == 200;
        NLT_CHECK_INT(good, i != 4);
        NLT_CHECK_INT(needs_block(want), good);
        NLT_CHECK_INT(nlt_api_try(got, 1000000000, true), good);
        NLT_CHECK_INT(needs_block(got), good);
        if (good) {
            nlt_buf_t a = body(want), b = body(got);

            NLT_CHECK(a.len > 30
                      && nlt_str_eq(nlt_buf_str(&a), nlt_buf_str(&b)));
            nlt_buf_deinit(&a);
            nlt_buf_deinit(&b);
        }
        /* the clock is looked at there, too */
        NLT_CHECK(!nlt_api_try(late, 1, true));
        nlt_api_destroy(want);
        nlt_api_destroy(got);
        nlt_api_destroy(late);
    }
    fx_deinit(&fx);
}

static uint64_t
digest(fx_t *fx, const char *path, const char *args, const char *form)
{
    nlt_api_t *a = create(fx, path, args, form);
    uint64_t d = nlt_api_digest(a);

    nlt_api_destroy(a);
    return d;
}

static void
alike_is_what_differs_in_times_only(void)
{
    fx_t fx;
    uint64_t d;

    setup(&fx);
    d = digest(&fx, "query", "query=m&time=1", NULL);
    NLT_CHECK(d != 0);
    NLT_CHECK(d == digest(&fx, "query", "query=m&time=1700000000.5", NULL));
    NLT_CHECK(d == digest(&fx, "query", "query=m", NULL));
    NLT_CHECK(d == digest(&fx, "query", "", "query=m"));
    NLT_CHECK(d != digest(&fx, "query", "query=n&time=1", NULL));
    NLT_CHECK(d != digest(&fx, "query", "query=m&lookback_delta=1h", NULL));
    NLT_CHECK(d != digest(&fx, "query_range", "query=m", NULL));

    d = digest(&fx, "query_range", "query=m&start=100&end=3700&step=15", NULL);
    NLT_CHECK(d
              == digest(&fx, "query_range", "start=0&query=m&end=3601&step=15",
                        NULL));
    NLT_CHECK(d
              != digest(&fx, "query_range", "query=m&start=0&end=7200&step=15",
                        NULL));
    NLT_CHECK(d
              != digest(&fx, "query_range", "query=m&start=0&end=3600&step=1",
                        NULL));
    NLT_CHECK_INT(digest(&fx, "status/buildinfo", "", NULL), 0);
    NLT_CHECK_INT(digest(&fx, "federate", "match%5B%5D=m", NULL), 0);
    NLT_CHECK_INT(digest(&fx, "nosuch", "", NULL), 0);
    fx_deinit(&fx);
}

/* Also what a query lays aside for times of dense blocks. */
static void
memory_that_is_only_tried_is_compared(void)
{
    const nlt_api_conf_t conf = {.timeout_ms = 600000,
                                 .samples_max = 10000000,
                                 .series_max = 1000000,
                                 .memory_max = 256u << 20,
                                 .lookback_ms = 300000,
                                 .tried = {.memory_max = 1u << 20}};
    const nlt_api_request_t req = {
        .kind = NLT_API_QUERY,
        .method = NLT_HTTP_GET,
        .suffix = NLT_STR("query_range"),
        .args = NLT_STR("query=quantile(0.5,m)&start=" SECONDS
                        "000&end=" SECONDS "500&step=0.05")};

    for (int dense = 0; dense <= 1; dense++) {
        nlt_api_t *a = NULL;
        nlt_api_cost_t cost;
        fx_t fx;

        fx_init(&fx);
        fx.conf.dense = dense;
        NLT_CHECK(fx_start(&fx));
        for (unsigned no = 0; no < FX_SERIES; no++) {
            NLT_CHECK_INT(fx_write(&fx, no, FX_NOW, no), NLT_OK);
        }
        NLT_CHECK(fx_flush(&fx));
        NLT_CHECK_INT(nlt_api_create(&fx.env, fx.store, &conf, &req, &a),
                      NLT_OK);
        nlt_api_run(a);
        NLT_CHECK_INT(nlt_api_answer(a)->status, 200);
        nlt_api_cost(a, &cost);
        NLT_CHECK(cost.used.memory_max > 2u << 20);
        NLT_CHECK(cost.used.memory_max < 32u << 20);
        NLT_CHECK_INT(cost.over_tried, 1u << NLT_QUERY_LIMIT_MEMORY);
        nlt_api_destroy(a);
        fx_deinit(&fx);
    }
}

int
main(void)
{
    NLT_TEST(what_was_tried_is_answered_as_ever);
    NLT_TEST(what_takes_too_long_is_given_up);
    NLT_TEST(what_needs_a_block_is_given_up);
    NLT_TEST(blocks_are_read_by_who_may);
    NLT_TEST(alike_is_what_differs_in_times_only);
    NLT_TEST(memory_that_is_only_tried_is_compared);
    return nlt_test_done();
}

/*
 * nlt_api_delete_test.c - what a tenant asks for while its head is rebuilt.
 */
#include "store/nlt_store_fixture.h"

#include "nlt_api.h"
#include "nlt_store_tenants.h"

static const struct {
    nlt_api_kind_t kind;
    const char *path;
    const char *args;
    int empty; /* status for a tenant of whom there is nothing */
} asked[] = {
    {NLT_API_ADMIN, "tsdb/delete_series", "match%5B%5D=m", 204},
    {NLT_API_QUERY, "query", "query=m&time=1700054400", 200},
    {NLT_API_QUERY, "series", "match%5B%5D=m", 200},
    {NLT_API_QUERY, "query_exemplars", "query=m", 200},
    {NLT_API_QUERY, "metadata", "", 200},
};

static int
status_of(fx_t *fx, size_t i, uint32_t tenant)
{
    const nlt_api_conf_t conf = {.timeout_ms = 600000,
                                 .samples_max = 1000000,
                                 .series_max = 1000000,
                                 .memory_max = 64u << 20,
                                 .lookback_ms = 300000,
                                 .tenant = tenant};
    const nlt_api_request_t req = {.kind = asked[i].kind,
                                   .method = asked[i].kind == NLT_API_ADMIN
                                                 ? NLT_HTTP_POST
                                                 : NLT_HTTP_GET,
                                   .suffix = nlt_test_str(asked[i].path),
                                   .args = nlt_test_str(asked[i].args)};
    nlt_api_t *a = NULL;
    int status;

    NLT_CHECK_INT(nlt_api_create(&fx->env, fx->store, &conf, &req, &a),
                  NLT_OK);
    nlt_api_run(a);
    status = nlt_api_answer(a)->status;
    nlt_api_destroy(a);
    return status;
}

static void
nothing_is_said_of_a_tenant_nobody_could_look_up(void)
{
    nlt_label_t label = {NLT_METRIC_NAME, NLT_STR("m")};
    nlt_ingest_own_t s = {.labels = {&label, 1}, .t_ms = FX_NOW, .v = 1};
    nlt_store_status_t status = {.ready = false};
    uint32_t number = 0, then;
    nlt_err_t err;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(nlt_tenants_have(nlt_store_tenants(fx.store), NLT_STR("a"),
                                   10, &number, &err),
                  NLT_OK);
    NLT_CHECK_INT(
        nlt_ingest_own(nlt_store_ingest(fx.store), number, &s, 1, &err),
        NLT_OK);

    atomic_store(&nlt_store_ctl(fx.store)->state, NLT_HEAD_DEAD);
    nlt_store_tick(fx.store);
    then = nlt_store_find_tenant(fx.store, NLT_STR("a"));
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        NLT_CHECK_INT(status_of(&fx, i, then), 503);
    }
    for (int i = 0; i < 200 && !status.ready; i++) {
        fx_step(&fx, 1);
        nlt_store_status(fx.store, &status);
    }
    NLT_CHECK(status.ready);
    /* As of a request that waited for a thread meanwhile. */
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        NLT_CHECK_INT(status_of(&fx, i, then), 503);
        NLT_CHECK_INT(status_of(&fx, i, NLT_TENANT_NOBODY), asked[i].empty);
    }
    NLT_CHECK_INT(nlt_store_find_tenant(fx.store, NLT_STR("a")), number);
    NLT_CHECK_INT(nlt_store_find_tenant(fx.store, NLT_STR("b")),
                  NLT_TENANT_NOBODY);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(nothing_is_said_of_a_tenant_nobody_could_look_up);
    return nlt_test_done();
}

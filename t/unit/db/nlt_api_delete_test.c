/*
 * nlt_api_delete_test.c - what a tenant asks for while its head is rebuilt,
 * or of a head that has been replaced since its name was looked up.
 */
#include "store/nlt_store_fixture.h"

#include "nlt_api.h"
#include "nlt_store_tenants.h"

static const struct {
    nlt_api_kind_t kind;
    const char *path;
    const char *args;
    int empty; /* status for a tenant of whom there is nothing */
    int known; /* for one that there is */
} asked[] = {
    {NLT_API_ADMIN, "tsdb/delete_series", "match%5B%5D=m", 204, 499},
    {NLT_API_QUERY, "query", "query=m&time=1700054400", 200, 200},
    {NLT_API_QUERY, "series", "match%5B%5D=m", 200, 200},
    {NLT_API_QUERY, "query_exemplars", "query=m", 200, 200},
    {NLT_API_QUERY, "metadata", "", 200, 200},
    {NLT_API_ADMIN, "tsdb/snapshot", "skip_head=true", 200, 200},
};

static int
status_of(fx_t *fx, size_t i, uint32_t tenant, uint64_t term)
{
    const nlt_api_conf_t conf = {.timeout_ms = 600000,
                                 .samples_max = 1000000,
                                 .series_max = 1000000,
                                 .memory_max = 64u << 20,
                                 .lookback_ms = 300000,
                                 .tenant = tenant,
                                 .tenant_term = term};
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
    if (i == 0) {
        nlt_api_cancel(a); /* once it waits for the helper, for ever here */
    }
    nlt_api_run(a);
    status = nlt_api_answer(a)->status;
    nlt_api_destroy(a);
    return status;
}

/* Number of a tenant that is made if it is not there. */
static uint32_t
have(fx_t *fx, const char *name)
{
    uint32_t number = 0;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_tenants_have(nlt_store_tenants(fx->store),
                                   nlt_test_str(name), 10, &number, &err),
                  NLT_OK);
    return number;
}

static void
write_one(fx_t *fx, uint32_t tenant)
{
    nlt_label_t label = {NLT_METRIC_NAME, NLT_STR("m")};
    nlt_ingest_own_t s = {.labels = {&label, 1}, .t_ms = FX_NOW, .v = 1};
    nlt_err_t err;

    NLT_CHECK_INT(
        nlt_ingest_own(nlt_store_ingest(fx->store), tenant, &s, 1, &err),
        NLT_OK);
}

static void
give_up_the_head(fx_t *fx)
{
    atomic_store(&nlt_store_ctl(fx->store)->state, NLT_HEAD_DEAD);
}

static void
have_another_head(fx_t *fx)
{
    nlt_store_status_t status = {.ready = false};

    for (int i = 0; i < 200 && !status.ready; i++) {
        fx_step(fx, 1);
        nlt_store_status(fx->store, &status);
    }
    NLT_CHECK(status.ready);
}

static void
nothing_is_said_of_a_tenant_nobody_could_look_up(void)
{
    uint64_t term;
    uint32_t number, then;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    number = have(&fx, "a");
    write_one(&fx, number);
    give_up_the_head(&fx);
    nlt_store_tick(fx.store);
    then = nlt_store_find_tenant(fx.store, NLT_STR("a"), &term);
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        NLT_CHECK_INT(status_of(&fx, i, then, term), 503);
    }
    have_another_head(&fx);
    /* As of a request that waited for a thread meanwhile. */
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        NLT_CHECK_INT(status_of(&fx, i, then, term), 503);
        NLT_CHECK_INT(status_of(&fx, i, NLT_TENANT_NOBODY, 0), asked[i].empty);
    }
    NLT_CHECK_INT(nlt_store_find_tenant(fx.store, NLT_STR("a"), &term),
                  number);
    NLT_CHECK_INT(nlt_store_find_tenant(fx.store, NLT_STR("b"), &term),
                  NLT_TENANT_NOBODY);
    fx_deinit(&fx);
}

/* Before a tick has noticed, too. */
static void
a_head_that_was_given_up_is_not_asked(void)
{
    uint64_t term;
    uint32_t number, then;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    number = have(&fx, "a");
    write_one(&fx, number);
    then = nlt_store_find_tenant(fx.store, NLT_STR("a"), &term);
    NLT_CHECK_INT(then, number);
    NLT_CHECK(term != 0);
    give_up_the_head(&fx);
    NLT_CHECK(nlt_store_tenants(fx.store) == NULL);
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        NLT_CHECK_INT(status_of(&fx, i, then, term), 503);
        NLT_CHECK_INT(status_of(&fx, i, number, 0), 503);
    }
    NLT_CHECK_INT(nlt_store_find_tenant(fx.store, NLT_STR("b"), &term),
                  NLT_TENANT_UNKNOWN);
    fx_deinit(&fx);
}

/* A name that was neither saved nor logged is forgotten with its head. */
static void
a_number_stands_for_nobody_else_in_the_next_head(void)
{
    uint64_t term, next_term;
    uint32_t number, then;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    number = have(&fx, "a");
    then = nlt_store_find_tenant(fx.store, NLT_STR("a"), &term);
    NLT_CHECK_INT(then, number);
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        NLT_CHECK_INT(status_of(&fx, i, then, term), asked[i].empty);
    }
    give_up_the_head(&fx);
    have_another_head(&fx);
    NLT_CHECK_INT(have(&fx, "b"), number);
    write_one(&fx, number);
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        NLT_CHECK_INT(status_of(&fx, i, then, term), 503);
    }
    NLT_CHECK_INT(nlt_store_find_tenant(fx.store, NLT_STR("b"), &next_term),
                  number);
    NLT_CHECK(next_term > term);
    for (size_t i = 0; i < NLT_COUNT(asked); i++) {
        NLT_CHECK_INT(status_of(&fx, i, number, next_term), asked[i].known);
    }
    fx_deinit(&fx);
}

/* What a deletion waits for: the head is replaced meanwhile, once. */
typedef struct {
    fx_t *fx;
    int n;
} replace_t;

static nlt_rc_t
replace_cb(void *ctx)
{
    replace_t *r = ctx;

    if (r->n++ == 0) {
        give_up_the_head(r->fx);
    }
    fx_step(r->fx, 5);
    return r->n < 100 ? NLT_OK : NLT_ETIMEOUT;
}

static nlt_rc_t
go_on_cb(void *ctx)
{
    (void) ctx;
    return NLT_OK;
}

/* Changes counted by one head say nothing of what the next one has saved. */
static void
a_tenant_is_not_deleted_until_its_own_head_says_so(void)
{
    fx_t fx;
    replace_t r = {&fx, 0};
    const nlt_store_wait_t wait = {replace_cb, go_on_cb, &r};
    nlt_err_t err;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    (void) have(&fx, "a"); /* without samples: nothing else is waited for */
    NLT_CHECK_INT(nlt_store_remove_tenant(fx.store, NLT_STR("a"), &wait, &err),
                  NLT_ENOTREADY);
    have_another_head(&fx);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(nothing_is_said_of_a_tenant_nobody_could_look_up);
    NLT_TEST(a_head_that_was_given_up_is_not_asked);
    NLT_TEST(a_number_stands_for_nobody_else_in_the_next_head);
    NLT_TEST(a_tenant_is_not_deleted_until_its_own_head_says_so);
    return nlt_test_done();
}

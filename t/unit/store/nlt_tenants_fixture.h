/*
 * nlt_tenants_fixture.h - writes as a tenant, and reads what one has.
 */
#ifndef NLT_TENANTS_FIXTURE_H
#define NLT_TENANTS_FIXTURE_H

#include "nlt_store_fixture.h"
#include "nlt_store_tenants.h"

#define FOREVER 1000000u

/* Writes n samples of a tenant, who is made if need be; its number. */
static uint32_t
tx_put(fx_t *fx, nlt_str_t name, const nlt_ingest_own_t *v, size_t n)
{
    uint32_t number = 0;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_tenants_have(nlt_store_tenants(fx->store), name, FOREVER,
                                   &number, &err),
                  NLT_OK);
    NLT_CHECK_INT(
        nlt_ingest_own(nlt_store_ingest(fx->store), number, v, n, &err),
        NLT_OK);
    return number;
}

/* Gives each value of the metric m that the tenant has to `each`. */
static void
tx_read(fx_t *fx, uint32_t number, void (*each)(void *ctx, double v),
        void *ctx)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, NLT_METRIC_NAME, NLT_STR("m"), NULL};
    nlt_select_t sel = {&m, 1, INT64_MIN, INT64_MAX};
    nlt_series_set_t *set;
    nlt_samples_t got = {.n = 0};
    nlt_pool_t pool;
    nlt_view_t v;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_view_open(fx->store, number, NULL, &v, &err), NLT_OK);
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    got.pool = &pool;
    NLT_CHECK_INT(v.source.ops->select(&v.source, &pool, &sel, &set, &err),
                  NLT_OK);
    for (size_t i = 0; i < set->n; i++) {
        got.n = 0;
        NLT_CHECK_INT(v.source.ops->read(set, i, NLT_READ_ALL, INT64_MIN,
                                         INT64_MAX, &got, &err),
                      NLT_OK);
        for (size_t k = 0; k < got.n; k++) {
            each(ctx, got.v[k]);
        }
    }
    v.source.ops->close(set);
    nlt_pool_deinit(&pool);
    nlt_view_close(&v);
}

#endif

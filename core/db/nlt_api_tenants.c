/*
 * nlt_api_tenants.c - tenants: who there is, and deleting one.
 */
#include "nlt_api.h"

static void
add_tenant(nlt_buf_t *b, const nlt_tenant_info_t *t)
{
    nlt_buf_add_c(b, "{\"name\":");
    nlt_json_string(b, t->name, true);
    nlt_buf_addf(
        b,
        ",\"number\":%u,\"series\":%llu,\"samples\":%llu,"
        "\"created\":%lld,\"written\":%lld,\"queried\":%lld}",
        t->number, (unsigned long long) t->series,
        (unsigned long long) t->samples, (long long) t->created_ms / 1000,
        (long long) t->written_ms / 1000, (long long) t->queried_ms / 1000);
}

void
nlt_api_run_tenants(nlt_api_t *a)
{
    nlt_tenant_info_t *v;
    size_t n;
    nlt_buf_t *b;
    nlt_err_t err;

    err.rc = nlt_store_list_tenants(a->store, &a->pool, &v, &n, &err);
    if (err.rc != NLT_OK) {
        nlt_api_fail_rc(a, &err);
        return;
    }
    b = nlt_api_begin_text(a);
    nlt_buf_add_c(b, "{\"status\":\"success\",\"data\":{\"tenants\":[");
    for (size_t i = 0; i < n; i++) {
        nlt_buf_add_c(b, i > 0 ? "," : "");
        add_tenant(b, &v[i]);
    }
    nlt_buf_addf(b, "],\"limit\":%u}}", nlt_store_conf(a->store)->tenants);
    nlt_api_end_text(a);
}

/* ---- delete ---- */

void
nlt_api_run_delete_tenant(nlt_api_t *a)
{
    const nlt_store_wait_t wait = nlt_api_wait(a);
    nlt_str_t name = nlt_api_param(a, "name");
    nlt_err_t err;

    if (nlt_tenant_name_check(name, &err) != NLT_OK) {
        nlt_api_bad_param(a, "name", "%s", err.text);
        return;
    }
    err.rc = nlt_store_remove_tenant(a->store, name, &wait, &err);
    switch (err.rc) {
    case NLT_OK:
        a->answer.status = 204;
        break;
    case NLT_ENOENT:
        nlt_api_fail(a, "not_found", 404, "%s", err.text);
        break;
    case NLT_ETIMEOUT:
        nlt_api_fail(a, "timeout", 503,
                     "the name is free, its data is being deleted");
        break;
    case NLT_EDATA:
    case NLT_EIO:
    case NLT_EVERSION:
        nlt_log_todo(a->env, NLT_LOG_ERROR, nlt_rc_todo(err.rc),
                     "deleting a tenant failed: %s", err.text);
        nlt_api_fail(a, "internal", 500, "%s", err.text);
        break;
    case NLT_ECANCELED:
        nlt_api_fail(a, "canceled", 499, "request was canceled");
        break;
    default:
        nlt_api_fail(a, "unavailable", 503, "%s", err.text);
        a->answer.retry_after_s = 5;
    }
}

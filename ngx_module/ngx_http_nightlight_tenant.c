
/*
 * ngx_http_nightlight_tenant.c - whose a request is: nightlight_tenant.
 *
 * The value is evaluated once a request, before anything else of it is looked
 * at.  A name that is none is refused and never stands for another tenant, the
 * default one least of all: a map without a matching line, a missing
 * certificate and a forgotten auth_basic all make an empty value.
 */


#include "ngx_http_nightlight.h"


ngx_int_t
ngx_http_nightlight_tenant(ngx_http_request_t *r,
    ngx_http_nightlight_loc_conf_t *nlcf, ngx_str_t *name, nlt_err_t *err)
{
    ngx_http_nightlight_record_t  *rec;

    ngx_str_null(name);

    if (nlcf->tenant == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_http_complex_value(r, nlcf->tenant, name) != NGX_OK) {
        (void) nlt_err_set(err, NLT_ENOMEM, "%s", nlt_rc_text(NLT_ENOMEM));
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (name->len == 0) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "nightlight: \"nightlight_tenant\" is empty for this "
                      "request, it is refused; see what its value is made of "
                      "(a map without a line for it, no certificate, no "
                      "user)");

        (void) nlt_err_set(err, NLT_EINVAL,
                           "no tenant: \"nightlight_tenant\" is empty for "
                           "this request");
        return NGX_HTTP_FORBIDDEN;
    }

    if (nlt_tenant_name_check(ngx_http_nightlight_str(name), err) != NLT_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "nightlight: \"nightlight_tenant\": %s, the request is "
                      "refused; see what its value is made of", err->text);

        return NGX_HTTP_BAD_REQUEST;
    }

    rec = ngx_http_nightlight_record(r);
    if (rec) {
        rec->tenant = *name;
    }

    return NGX_DECLINED;
}


ngx_uint_t
ngx_http_nightlight_tenant_write(nlt_store_t *store,
    ngx_http_nightlight_loc_conf_t *nlcf, ngx_str_t *name, uint32_t *number,
    nlt_err_t *err)
{
    nlt_rc_t        rc;
    nlt_str_t       s;
    nlt_tenants_t  *tenants;

    *number = 0;

    if (name->data == NULL) {
        return 0;
    }

    s = ngx_http_nightlight_str(name);
    tenants = nlt_store_tenants(store);

    if (tenants == NULL) {
        (void) nlt_err_set(err, NLT_ENOTREADY, "the store is not ready");
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (!nlcf->tenant_create) {
        *number = nlt_tenants_find(tenants, s);

        if (*number) {
            return 0;
        }

        (void) nlt_err_set(err, NLT_ENOENT,
                           "there is no such tenant, and "
                           "\"nightlight_tenant_create\" is off here");
        return NGX_HTTP_FORBIDDEN;
    }

    rc = nlt_tenants_have(tenants, s, (uint32_t) nlcf->store->tenants, number,
                          err);

    switch (rc) {

    case NLT_OK:
        return 0;

    case NLT_EINVAL:
        return NGX_HTTP_BAD_REQUEST;

    case NLT_ELIMIT:
        return NGX_HTTP_TOO_MANY_REQUESTS;

    default:
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }
}

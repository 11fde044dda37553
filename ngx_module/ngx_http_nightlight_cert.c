
/*
 * ngx_http_nightlight_cert.c - when certificates of clients end.
 *
 * Looked at with the first request of a connection: what nginx has as
 * $ssl_client_v_end goes to the counters of the tenant, which keep the latest.
 */


#include "ngx_http_nightlight.h"


void
ngx_http_nightlight_cert(ngx_http_request_t *r, nlt_store_t *store,
    uint32_t tenant)
{
#if (NGX_HTTP_SSL)

    u_char                      date[64], *p;
    time_t                      end;
    ngx_str_t                   name = ngx_string("ssl_client_v_end");
    ngx_str_t                   verify = ngx_string("ssl_client_verify");
    ngx_uint_t                  hash;
    ngx_http_variable_value_t  *v;

    /* a stream of HTTP/2 may be the first before it is counted */

    if (r->connection->requests > 1 || r->connection->ssl == NULL) {
        return;
    }

    hash = ngx_hash_key(verify.data, verify.len);
    v = ngx_http_get_variable(r, &verify, hash);

    if (v == NULL || v->not_found || v->len != 7
        || ngx_strncmp(v->data, "SUCCESS", 7) != 0)
    {
        return;
    }

    hash = ngx_hash_key(name.data, name.len);
    v = ngx_http_get_variable(r, &name, hash);

    if (v == NULL || v->not_found || v->len == 0 || v->len > 40) {
        return;
    }

    /* "Nov  6 08:49:37 2027 GMT": with a day of the week it is asctime's */

    p = ngx_cpymem(date, "Sun ", 4);
    p = ngx_cpymem(p, v->data, v->len);

    end = ngx_parse_http_time(date, p - date);

    if (end != NGX_ERROR) {
        nlt_store_saw_certificate(store, tenant, (int64_t) end);
    }

#endif
}

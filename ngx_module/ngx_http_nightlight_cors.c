
/*
 * ngx_http_nightlight_cors.c - what tells a browser that a page from elsewhere
 * may read an answer.
 *
 * Prometheus sends the origin back that asks, whichever it is; so do we, until
 * nightlight_cors says something else: a value with variables, by request, so
 * that a "map" can say who may.  Credentials are never allowed, so a browser
 * sends neither its client certificate nor a password along.
 */


#include "ngx_http_nightlight.h"


ngx_int_t
ngx_http_nightlight_cors(ngx_http_request_t *r)
{
    u_char                          *p;
    ngx_uint_t                       i;
    ngx_str_t                        origin, value;
    ngx_http_nightlight_loc_conf_t  *nlcf;

    static const char  *headers[][2] = {
        { "Access-Control-Allow-Headers",
          "Accept, Authorization, Content-Type, Origin" },
        { "Access-Control-Allow-Methods", "GET, POST, OPTIONS" },
        { "Access-Control-Expose-Headers", "Date" },
    };

    nlcf = ngx_http_get_module_loc_conf(r, ngx_http_nightlight_module);

    origin = ngx_http_nightlight_header(r, "Origin");
    value = origin;

    if (nlcf->cors) {
        if (ngx_http_complex_value(r, nlcf->cors, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (value.len == 3 && ngx_strncmp(value.data, "off", 3) == 0) {
            return NGX_OK;
        }
    }

    /* the answer to another origin is another one */

    if (ngx_http_nightlight_add_header(r, "Vary", "Origin") != NGX_OK) {
        return NGX_ERROR;
    }

    if (origin.len == 0 || value.len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, value.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(p, value.data, value.len) = '\0';

    if (ngx_http_nightlight_add_header(r, "Access-Control-Allow-Origin",
                                       (char *) p)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (ngx_http_nightlight_add_header(r, headers[i][0], headers[i][1])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}

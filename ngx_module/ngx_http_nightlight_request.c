
/*
 * ngx_http_nightlight_request.c - what core is told of a request.
 */


#include "ngx_http_nightlight.h"


/*
 * What follows the location's prefix.  Where there is none, because the
 * location is an exact one or the URI was rewritten inside of it: what
 * follows the last "/v1/", or else the last part.
 */

ngx_str_t
ngx_http_nightlight_suffix(ngx_http_request_t *r)
{
    u_char                          *p, *start;
    ngx_str_t                        suffix;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_nightlight_loc_conf_t  *nlcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    nlcf = ngx_http_get_module_loc_conf(r, ngx_http_nightlight_module);

    suffix = r->uri;

    if (!nlcf->exact && suffix.len >= clcf->name.len
        && ngx_strncmp(suffix.data, clcf->name.data, clcf->name.len) == 0)
    {
        suffix.data += clcf->name.len;
        suffix.len -= clcf->name.len;

        if (suffix.len && suffix.data[0] == '/') {
            suffix.data++;
            suffix.len--;
        }

        return suffix;
    }

    start = NULL;

    for (p = suffix.data + suffix.len; p > suffix.data; p--) {

        if (p[-1] != '/') {
            continue;
        }

        if (start == NULL) {
            start = p;
        }

        if (p - suffix.data >= 4 && ngx_strncmp(p - 4, "/v1/", 4) == 0) {
            start = p;
            break;
        }
    }

    if (start) {
        suffix.len -= start - suffix.data;
        suffix.data = start;
    }

    return suffix;
}


nlt_str_t
ngx_http_nightlight_accept(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Accept") - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) "Accept",
                               sizeof("Accept") - 1) == 0)
        {
            return ngx_http_nightlight_str(&h[i].value);
        }
    }

    return (nlt_str_t) { 0, NULL };
}


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


ngx_str_t
ngx_http_nightlight_header(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_str_t         none = ngx_null_string;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return none;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return h[i].value;
        }
    }
}


/* Does the request want healthy and ready as JSON?  As core looks at it. */

static ngx_uint_t
ngx_http_nightlight_wants_json(ngx_http_request_t *r)
{
    nlt_str_t  accept;
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) "format", 6, &value) == NGX_OK
        && value.len == 4 && ngx_strncmp(value.data, "json", 4) == 0)
    {
        return 1;
    }

    value = ngx_http_nightlight_header(r, "Accept");
    accept = ngx_http_nightlight_str(&value);

    return accept.len
           && ngx_strlcasestrn((u_char *) accept.data,
                               (u_char *) accept.data + accept.len,
                               (u_char *) "application/json", 15)
              != NULL;
}


/* The reason is for those who look after it. */

ngx_int_t
ngx_http_nightlight_no_store(ngx_http_request_t *r,
    ngx_http_nightlight_loc_conf_t *nlcf)
{
    u_char                          text[NLT_ERR_TEXT_MAX + 64];
    u_char                          json[6 * sizeof(text) + 64];
    u_char                         *p, *last;
    ngx_http_nightlight_runtime_t  *rt;

    rt = nlcf->store->runtime;

    last = ngx_cpymem(text, "the store cannot be opened",
                      sizeof("the store cannot be opened") - 1);

    if (nlcf->handler == NGX_HTTP_NIGHTLIGHT_STATUS && rt && rt->err.len) {
        last = ngx_slprintf(last, text + sizeof(text), ": %*s", rt->err.len,
                            rt->err.text);
    }

    ngx_http_nightlight_record_outcome(ngx_http_nightlight_record(r),
                                       "not_ready");

    if (nlcf->handler == NGX_HTTP_NIGHTLIGHT_STATUS
        && ngx_http_nightlight_wants_json(r))
    {
        p = ngx_sprintf(json, "{\"ready\":false,\"reasons\":[\"");
        p = (u_char *) ngx_escape_json(p, text, last - text);
        p = ngx_sprintf(p, "\"],\"notes\":[]}");

        return ngx_http_nightlight_send_type(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 NLT_STR("application/json"),
                                 (nlt_str_t) { p - json, (char *) json }, 1);
    }

    return ngx_http_nightlight_send_text(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                            (nlt_str_t) { last - text, (char *) text }, 1);
}


void
ngx_http_nightlight_request(ngx_http_request_t *r, ngx_str_t *form,
    ngx_http_nightlight_handler_e handler, nlt_api_request_t *req)
{
    ngx_str_t  suffix, accept;

    ngx_memzero(req, sizeof(nlt_api_request_t));

    switch (handler) {

    case NGX_HTTP_NIGHTLIGHT_ADMIN:
        req->kind = NLT_API_ADMIN;
        break;

    case NGX_HTTP_NIGHTLIGHT_STATUS:
        req->kind = NLT_API_STATUS;
        break;

    case NGX_HTTP_NIGHTLIGHT_METRICS:
        req->kind = NLT_API_METRICS;
        break;

    default:
        req->kind = NLT_API_QUERY;
    }

    switch (r->method) {

    case NGX_HTTP_GET:
        req->method = NLT_HTTP_GET;
        break;

    case NGX_HTTP_HEAD:
        req->method = NLT_HTTP_HEAD;
        break;

    case NGX_HTTP_POST:
        req->method = NLT_HTTP_POST;
        break;

    case NGX_HTTP_PUT:
        req->method = NLT_HTTP_PUT;
        break;

    case NGX_HTTP_DELETE:
        req->method = NLT_HTTP_DELETE;
        break;

    case NGX_HTTP_OPTIONS:
        req->method = NLT_HTTP_OPTIONS;
        break;

    default:
        req->method = NLT_HTTP_OTHER;
    }

    suffix = ngx_http_nightlight_suffix(r);

    req->suffix = ngx_http_nightlight_str(&suffix);
    req->args = ngx_http_nightlight_str(&r->args);
    req->form = ngx_http_nightlight_str(form);

    accept = ngx_http_nightlight_header(r, "Accept");
    req->accept = ngx_http_nightlight_str(&accept);

    if (r->headers_in.content_type) {
        req->content_type =
                ngx_http_nightlight_str(&r->headers_in.content_type->value);
    }
}


/*
 * ngx_http_nightlight_value.c - limits that may differ by request.
 */


#include "ngx_http_nightlight.h"


#define NGX_HTTP_NIGHTLIGHT_TELL         10000   /* ms */
#define NGX_HTTP_NIGHTLIGHT_SHOWN_VALUE  64


static ngx_int_t
ngx_http_nightlight_value_parse(ngx_http_nightlight_bounds_t *bounds,
    ngx_str_t *text, uint64_t *number)
{
    off_t   n;
    size_t  len;

    len = text->len;

    switch (bounds->unit) {

    case NGX_HTTP_NIGHTLIGHT_TIME:
        n = (off_t) ngx_parse_time(text, 0);
        break;

    case NGX_HTTP_NIGHTLIGHT_SIZE:
        n = ngx_parse_offset(text);
        break;

    case NGX_HTTP_NIGHTLIGHT_RATE:
        if (len > 2 && ngx_strncmp(text->data + len - 2, "/s", 2) == 0) {
            len -= 2;
        }

        /* fall through */

    default:
        n = ngx_atoof(text->data, len);
    }

    if (n < 0 || (uint64_t) n < bounds->min || (uint64_t) n > bounds->max) {
        return NGX_ERROR;
    }

    *number = (uint64_t) n;

    return NGX_OK;
}


char *
ngx_http_nightlight_value_read(ngx_conf_t *cf,
    ngx_http_nightlight_bounds_t *bounds, ngx_str_t *arg,
    ngx_http_nightlight_value_t *value)
{
    ngx_str_t                          v;
    ngx_http_compile_complex_value_t   ccv;

    v = *arg;

    if (ngx_http_script_variables_count(&v) == 0) {

        if (ngx_http_nightlight_value_parse(bounds, &v, &value->number)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "nightlight: \"%s\" must be %s, not \"%V\"",
                               bounds->name, bounds->what, arg);
            return NGX_CONF_ERROR;
        }

        value->complex = NULL;

        return NGX_CONF_OK;
    }

    value->complex = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (value->complex == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &v;
    ccv.complex_value = value->complex;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


uint64_t
ngx_http_nightlight_value(ngx_http_request_t *r,
    ngx_http_nightlight_bounds_t *bounds, ngx_http_nightlight_value_t *value,
    uint64_t standard)
{
    uint64_t   number;
    ngx_str_t  text;

    if (value->complex == NULL) {
        return value->number == NGX_HTTP_NIGHTLIGHT_UNSET ? standard
                                                          : value->number;
    }

    if (ngx_http_complex_value(r, value->complex, &text) != NGX_OK
        || text.len == 0)
    {
        return standard;
    }

    if (ngx_http_nightlight_value_parse(bounds, &text, &number) == NGX_OK) {
        return number;
    }

    if (bounds->told == 0
        || (ngx_msec_int_t) (ngx_current_msec - bounds->told)
           >= NGX_HTTP_NIGHTLIGHT_TELL)
    {
        bounds->told = ngx_current_msec ? ngx_current_msec : 1;
        text.len = ngx_min(text.len, NGX_HTTP_NIGHTLIGHT_SHOWN_VALUE);

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "nightlight: \"%s\" must be %s, but its variables make "
                      "it \"%V\", so the default holds for this request; "
                      "correct where they come from, such as a map",
                      bounds->name, bounds->what, &text);
    }

    return standard;
}


void
ngx_http_nightlight_value_merge(ngx_http_nightlight_value_t *conf,
    ngx_http_nightlight_value_t *prev, uint64_t standard)
{
    if (!ngx_http_nightlight_value_is_set(conf)) {
        *conf = *prev;
    }

    if (!ngx_http_nightlight_value_is_set(conf)) {
        conf->number = standard;
    }
}


char *
ngx_http_nightlight_value_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t                    *arg;
    ngx_http_nightlight_value_t  *value;

    value = (ngx_http_nightlight_value_t *) (p + cmd->offset);
    arg = cf->args->elts;

    if (ngx_http_nightlight_value_is_set(value)) {
        return "is duplicate";
    }

    return ngx_http_nightlight_value_read(cf, cmd->post, &arg[1], value);
}


/*
 * ngx_http_nightlight_value.h - limits that may differ by request.
 *
 * "nightlight_query_memory 64m" is a number that "nginx -t" has looked at;
 * "nightlight_query_memory $memory_of_tenant" is looked at when a request
 * comes.  There an empty value means the default, and so does one that is no
 * value at all, which the error log tells once in 10 seconds: a mistake in a
 * map neither stops requests nor takes a limit away.
 */


#ifndef _NGX_HTTP_NIGHTLIGHT_VALUE_H_INCLUDED_
#define _NGX_HTTP_NIGHTLIGHT_VALUE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define NGX_HTTP_NIGHTLIGHT_UNSET     UINT64_MAX

#define NGX_HTTP_NIGHTLIGHT_TIME_MAX  (366LL * 24 * 3600 * 1000)


typedef struct {
    ngx_http_complex_value_t        *complex;    /* NULL: it is a number */
    uint64_t                         number;     /* or .._UNSET */
} ngx_http_nightlight_value_t;


typedef enum {
    NGX_HTTP_NIGHTLIGHT_TIME,                    /* milliseconds */
    NGX_HTTP_NIGHTLIGHT_SIZE,                    /* bytes, or a number with
                                                    k or m */
    NGX_HTTP_NIGHTLIGHT_NUMBER,
    NGX_HTTP_NIGHTLIGHT_RATE                     /* a number, or number/s */
} ngx_http_nightlight_unit_e;


/* What a directive, or a parameter of one, takes. */

typedef struct {
    const char                      *name;
    ngx_http_nightlight_unit_e       unit;
    uint64_t                         min;
    uint64_t                         max;
    uint64_t                         standard;   /* where it is not there */
    const char                      *what;       /* "a time from ... to ..." */
    ngx_msec_t                       told;       /* of this process */
} ngx_http_nightlight_bounds_t;


/*
 * Reads an argument: a number is checked now.  Errors are logged with name
 * and value.
 */
char *ngx_http_nightlight_value_read(ngx_conf_t *cf,
    ngx_http_nightlight_bounds_t *bounds, ngx_str_t *arg,
    ngx_http_nightlight_value_t *value);

/*
 * What it is for this request; standard where the value is empty or wrong.
 * Never fails.
 */
uint64_t ngx_http_nightlight_value(ngx_http_request_t *r,
    ngx_http_nightlight_bounds_t *bounds, ngx_http_nightlight_value_t *value,
    uint64_t standard);

static ngx_inline ngx_int_t
ngx_http_nightlight_value_is_set(ngx_http_nightlight_value_t *value)
{
    return value->complex != NULL
           || value->number != NGX_HTTP_NIGHTLIGHT_UNSET;
}

/* An inner level's value, the outer one's, or the standard of bounds. */
void ngx_http_nightlight_value_merge(ngx_http_nightlight_value_t *conf,
    ngx_http_nightlight_value_t *prev, uint64_t standard);

/* Setter of a directive whose cmd->post is its bounds. */
char *ngx_http_nightlight_value_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_NIGHTLIGHT_VALUE_H_INCLUDED_ */

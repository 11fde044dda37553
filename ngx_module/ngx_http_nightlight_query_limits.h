
/*
 * ngx_http_nightlight_query_limits.h - limits of one query: time, samples,
 * series, memory.
 */


#ifndef _NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS_H_INCLUDED_
#define _NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS_H_INCLUDED_


#include "ngx_http_nightlight.h"


/* The directives; cmd->offset is a nlt_query_limit_t. */
char *ngx_http_nightlight_query_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Queries of one tenant or key that wait. */
#define NGX_HTTP_NIGHTLIGHT_WAITING  1024

char *ngx_http_nightlight_concurrency(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Its memory: in the master, in a worker that begins, and that ends. */
ngx_int_t ngx_http_nightlight_queue_init(ngx_cycle_t *cycle);
ngx_int_t ngx_http_nightlight_queue_init_process(ngx_cycle_t *cycle);
void ngx_http_nightlight_queue_exit_process(void);

/* What holds for this request. */
void ngx_http_nightlight_query_limits(ngx_http_request_t *r,
    ngx_http_nightlight_loc_conf_t *nlcf, nlt_api_conf_t *conf);

/* Tells which limits it would have been refused for. */
void ngx_http_nightlight_query_tell(ngx_http_request_t *r,
    nlt_api_conf_t *conf, const nlt_api_cost_t *cost);

void ngx_http_nightlight_query_limits_create(
    ngx_http_nightlight_loc_conf_t *conf);
void ngx_http_nightlight_query_limits_merge(
    ngx_http_nightlight_loc_conf_t *prev,
    ngx_http_nightlight_loc_conf_t *conf);


#endif /* _NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS_H_INCLUDED_ */


/*
 * ngx_http_nightlight_exit.c - a process that has to leave at once.
 *
 * A process that is told to terminate ends its thread pools before it comes
 * to the modules of http, and that waits for the tasks that run: for minutes,
 * if they are queries; the master's patience is a second, then it kills.  So
 * a module of the core type stands before ngx_thread_pool_module (the order
 * is given in "config") and tells the running queries to end.
 */


#include "ngx_http_nightlight.h"


static void ngx_nightlight_exit_process(ngx_cycle_t *cycle);


static ngx_core_module_t  ngx_nightlight_exit_module_ctx = {
    ngx_string("nightlight exit"),
    NULL,
    NULL
};


ngx_module_t  ngx_nightlight_exit_module = {
    NGX_MODULE_V1,
    &ngx_nightlight_exit_module_ctx,        /* module context */
    NULL,                                   /* module directives */
    NGX_CORE_MODULE,                        /* module type */
    NULL,                                   /* init master */
    NULL,                                   /* init module */
    NULL,                                   /* init process */
    NULL,                                   /* init thread */
    NULL,                                   /* exit thread */
    ngx_nightlight_exit_process,            /* exit process */
    NULL,                                   /* exit master */
    NGX_MODULE_V1_PADDING
};


static void
ngx_nightlight_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_nightlight_api_exit();
}

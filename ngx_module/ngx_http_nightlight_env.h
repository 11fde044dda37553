
/*
 * ngx_http_nightlight_env.h - what core gets from an nginx process: memory,
 * clocks, and the cycle's log.
 */


#ifndef _NGX_HTTP_NIGHTLIGHT_ENV_H_INCLUDED_
#define _NGX_HTTP_NIGHTLIGHT_ENV_H_INCLUDED_


#include <nightlight.h>


/* For clocks and memory; lines that are logged by it name no store. */
extern const nlt_env_t  ngx_http_nightlight_env;

/*
 * The same for what is opened at path, which has to live as long: all that
 * core logs of it begins with the path.
 */
void ngx_http_nightlight_env_init(nlt_env_t *env, const char *path);

/* Gives about size bytes back that nobody needed for a second. */
void ngx_http_nightlight_mem_trim(size_t size);


#endif /* _NGX_HTTP_NIGHTLIGHT_ENV_H_INCLUDED_ */


/*
 * ngx_http_nightlight_limits.h - limits of writing: what the directives of a
 * location say, what is counted for a request.
 */


#ifndef _NGX_HTTP_NIGHTLIGHT_LIMITS_H_INCLUDED_
#define _NGX_HTTP_NIGHTLIGHT_LIMITS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <nightlight.h>

#include "ngx_http_nightlight_value.h"


typedef struct {
    ngx_http_complex_value_t         key;
    nlt_quotas_t                    *table;
    uint64_t                         forgotten;  /* keys, as told */
    ngx_msec_t                       told;
} ngx_http_nightlight_zone_t;


typedef struct {
    ngx_str_t                        name;
    ngx_http_complex_value_t         value;
} ngx_http_nightlight_label_t;


typedef struct {
    ngx_shm_zone_t                  *zone;
    ngx_http_nightlight_value_t      rate;
    uint64_t                         standard;   /* where it has no value */
    uint32_t                         window;     /* ms */
} ngx_http_nightlight_rate_t;


typedef struct {
    ngx_shm_zone_t                  *zone;
    ngx_http_nightlight_value_t      active;
    ngx_http_nightlight_value_t      created;
    uint64_t                         standard;
} ngx_http_nightlight_series_t;


/* A request's part of one ngx_http_nightlight_rate_t. */

struct ngx_http_nightlight_charge_s {
    ngx_http_nightlight_rate_t      *rate;
    nlt_quota_t                     *quota;
    ngx_str_t                        key;
    uint64_t                         per_second;
    uint64_t                         max;        /* samples in a window */
};


/* What a location limits, adds and keeps out. */

typedef struct {
    ngx_array_t                     *labels;    /* nightlight_label */
    ngx_array_t                     *drops;     /* of nlt_ingest_drop_t */
    ngx_array_t                     *rates;     /* nightlight_limit_samples */
    ngx_array_t                     *series;    /* nightlight_limit_series */
    ngx_uint_t                       series_status;
    ngx_msec_t                       age_max;   /* 0: none */
    ngx_msec_t                       future_max;
    ngx_flag_t                       dry_run;
    ngx_uint_t                       labels_off;    /* not the outer ones */
    ngx_uint_t                       drops_off;

    /* of a request and its labels */
    ngx_http_nightlight_value_t      decoded_max;
    ngx_http_nightlight_value_t      labels_max;
    ngx_http_nightlight_value_t      label_name_max;
    ngx_http_nightlight_value_t      label_value_max;
} ngx_http_nightlight_limits_conf_t;


typedef struct ngx_http_nightlight_charge_s  ngx_http_nightlight_charge_t;


/* The same of a request. */

typedef struct {
    ngx_http_nightlight_charge_t    *charges;
    ngx_uint_t                       ncharges;
    uint64_t                         charged;   /* samples, so far */
    nlt_ingest_screen_t             *screen;    /* NULL: nothing */
    unsigned                         dry_run:1;
    unsigned                         counted:1; /* as over, once */
} ngx_http_nightlight_limits_t;


/* What directives take. */
extern ngx_http_nightlight_bounds_t  ngx_http_nightlight_decoded_bounds;
extern ngx_http_nightlight_bounds_t  ngx_http_nightlight_labels_bounds;
extern ngx_http_nightlight_bounds_t  ngx_http_nightlight_label_name_bounds;
extern ngx_http_nightlight_bounds_t  ngx_http_nightlight_label_value_bounds;
extern ngx_http_nightlight_bounds_t  ngx_http_nightlight_rate_bounds;
extern ngx_http_nightlight_bounds_t  ngx_http_nightlight_active_bounds;
extern ngx_http_nightlight_bounds_t  ngx_http_nightlight_created_bounds;

/* Directives of limits_conf.c. */
char *ngx_http_nightlight_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_nightlight_limit_samples(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_nightlight_limit_series(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_nightlight_label(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_nightlight_drop(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

void ngx_http_nightlight_limits_create(
    ngx_http_nightlight_limits_conf_t *conf);
char *ngx_http_nightlight_limits_merge(ngx_conf_t *cf,
    ngx_http_nightlight_limits_conf_t *prev,
    ngx_http_nightlight_limits_conf_t *conf);

/*
 * Evaluates keys and values for a request to a store; lim is zeroed.
 * NGX_ERROR.
 */
ngx_int_t ngx_http_nightlight_limits_begin(ngx_http_request_t *r,
    ngx_http_nightlight_limits_conf_t *conf, ngx_str_t *store,
    ngx_http_nightlight_limits_t *lim);

/*
 * Is there no room for a sample?  NGX_DECLINED: refuse it with 429 and *err,
 * for *wait seconds.  Counted and logged.  ingest may be NULL.
 */
ngx_int_t ngx_http_nightlight_limits_over(ngx_http_request_t *r,
    ngx_http_nightlight_limits_t *lim, nlt_ingest_t *ingest, nlt_err_t *err,
    ngx_uint_t *wait);

/*
 * The limits of one request and of its labels, for core; what is only tried
 * goes to the screen.
 */
void ngx_http_nightlight_limits_shape(ngx_http_request_t *r,
    ngx_http_nightlight_limits_conf_t *conf,
    ngx_http_nightlight_limits_t *lim, nlt_ingest_conf_t *out);

/* Throws away what has come of the body of a refused request. */
void ngx_http_nightlight_limits_drain(ngx_http_request_t *r);

/*
 * Charges the samples that a request has decoded so far: what of them is not
 * yet.  After each slice of it, since others of its key may come in between.
 */
void ngx_http_nightlight_limits_charge(ngx_http_nightlight_limits_t *lim,
    uint64_t samples);

/* X-RateLimit-*: of the limit that has the least room. */
ngx_int_t ngx_http_nightlight_limits_headers(ngx_http_request_t *r,
    ngx_http_nightlight_limits_t *lim);


#endif /* _NGX_HTTP_NIGHTLIGHT_LIMITS_H_INCLUDED_ */

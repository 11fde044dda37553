
/*
 * ngx_http_nightlight_module.c - directives and configuration.
 *
 * All of it can be checked by "nginx -t" without touching live data: paths
 * are looked at, never opened for writing, and every refusal names file and
 * line.  Stores may be declared after the locations that use them; names are
 * resolved when locations are merged.
 */


#include "ngx_http_nightlight_query_limits.h"


#define NGX_HTTP_NIGHTLIGHT_BODY_MIN      (64 * 1024)


static void *ngx_http_nightlight_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_nightlight_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_nightlight_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_nightlight_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void ngx_http_nightlight_inherit(ngx_conf_t *cf,
    ngx_http_nightlight_loc_conf_t *prev,
    ngx_http_nightlight_loc_conf_t *conf);
static char *ngx_http_nightlight_check_query(ngx_conf_t *cf,
    ngx_http_nightlight_loc_conf_t *nlcf);
static char *ngx_http_nightlight_location(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_nightlight_features(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_nightlight_msec_or_off(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_nightlight_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_nightlight_init_process(ngx_cycle_t *cycle);
static void ngx_http_nightlight_exit_process(ngx_cycle_t *cycle);


nlt_api_server_t  ngx_http_nightlight_server;

/*
 * When the configuration was read for the first time; workers have it from
 * the master.
 */

static int64_t  ngx_http_nightlight_started;


static ngx_conf_enum_t  ngx_http_nightlight_series_statuses[] = {
    { ngx_string("429"), NGX_HTTP_TOO_MANY_REQUESTS },
    { ngx_string("400"), NGX_HTTP_BAD_REQUEST },
    { ngx_string("204"), NGX_HTTP_NO_CONTENT },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_nightlight_commands[] = {

    { ngx_string("nightlight_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_nightlight_store,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_self"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12|NGX_CONF_TAKE3,
      ngx_http_nightlight_self,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_write"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_location,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_NIGHTLIGHT_WRITE,
      NULL },

    { ngx_string("nightlight_query"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_location,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_NIGHTLIGHT_QUERY,
      NULL },

    { ngx_string("nightlight_admin"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_location,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_NIGHTLIGHT_ADMIN,
      NULL },

    { ngx_string("nightlight_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_location,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_NIGHTLIGHT_STATUS,
      NULL },

    { ngx_string("nightlight_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_location,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_NIGHTLIGHT_METRICS,
      NULL },

    { ngx_string("nightlight_tenant"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, tenant),
      NULL },

    { ngx_string("nightlight_tenant_create"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, tenant_create),
      NULL },

    { ngx_string("nightlight_query_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_nightlight_query_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      NLT_QUERY_LIMIT_TIME,
      NULL },

    { ngx_string("nightlight_query_max_samples"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_nightlight_query_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      NLT_QUERY_LIMIT_SAMPLES,
      NULL },

    { ngx_string("nightlight_query_max_series"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_nightlight_query_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      NLT_QUERY_LIMIT_SERIES,
      NULL },

    { ngx_string("nightlight_query_memory"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_nightlight_query_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      NLT_QUERY_LIMIT_MEMORY,
      NULL },

    { ngx_string("nightlight_lookback"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, lookback),
      NULL },

    { ngx_string("nightlight_promql_features"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_nightlight_features,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_cors"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, cors),
      NULL },

    { ngx_string("nightlight_query_concurrency"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_nightlight_concurrency,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_slow_query"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_nightlight_slow,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_write_max_decoded"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, limits.decoded_max),
      &ngx_http_nightlight_decoded_bounds },

    { ngx_string("nightlight_max_labels"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, limits.labels_max),
      &ngx_http_nightlight_labels_bounds },

    { ngx_string("nightlight_max_label_name"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, limits.label_name_max),
      &ngx_http_nightlight_label_name_bounds },

    { ngx_string("nightlight_max_label_value"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, limits.label_value_max),
      &ngx_http_nightlight_label_value_bounds },

    { ngx_string("nightlight_limit_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_nightlight_limit_zone,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_limit_samples"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_nightlight_limit_samples,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_limit_series"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_nightlight_limit_series,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_limit_series_status"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, limits.series_status),
      ngx_http_nightlight_series_statuses },

    { ngx_string("nightlight_limit_dry_run"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, limits.dry_run),
      NULL },

    { ngx_string("nightlight_max_sample_age"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_msec_or_off,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, limits.age_max),
      NULL },

    { ngx_string("nightlight_max_sample_future"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_msec_or_off,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, limits.future_max),
      NULL },

    { ngx_string("nightlight_label"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_nightlight_label,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_drop"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_nightlight_drop,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_nightlight_module_ctx = {
    ngx_http_nightlight_add_variables,      /* preconfiguration */
    NULL,                                   /* postconfiguration */

    ngx_http_nightlight_create_main_conf,   /* create main configuration */
    ngx_http_nightlight_init_main_conf,     /* init main configuration */

    NULL,                                   /* create server configuration */
    NULL,                                   /* merge server configuration */

    ngx_http_nightlight_create_loc_conf,    /* create location configuration */
    ngx_http_nightlight_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_nightlight_module = {
    NGX_MODULE_V1,
    &ngx_http_nightlight_module_ctx,        /* module context */
    ngx_http_nightlight_commands,           /* module directives */
    NGX_HTTP_MODULE,                        /* module type */
    NULL,                                   /* init master */
    ngx_http_nightlight_init_module,        /* init module */
    ngx_http_nightlight_init_process,       /* init process */
    NULL,                                   /* init thread */
    NULL,                                   /* exit thread */
    ngx_http_nightlight_exit_process,       /* exit process */
    NULL,                                   /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_nightlight_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_nightlight_main_conf_t  *nmcf;

    nmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_nightlight_main_conf_t));
    if (nmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&nmcf->stores, cf->pool, 2,
                       sizeof(ngx_http_nightlight_store_t *))
        != NGX_OK)
    {
        return NULL;
    }

    nmcf->read_ms = nlt_now_ms(&ngx_http_nightlight_env);

    if (ngx_http_nightlight_started == 0) {
        ngx_http_nightlight_started = nmcf->read_ms;
    }

    return nmcf;
}


static char *
ngx_http_nightlight_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_nightlight_main_conf_t *nmcf = conf;

    ngx_str_t  name = ngx_string("default");

    if (nmcf->stores.nelts == 0) {
        return NGX_CONF_OK;
    }

    nmcf->threads = ngx_thread_pool_add(cf, &name);
    if (nmcf->threads == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_nightlight_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_nightlight_loc_conf_t  *nlcf;

    nlcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_nightlight_loc_conf_t));
    if (nlcf == NULL) {
        return NULL;
    }

    nlcf->lookback = NGX_CONF_UNSET_MSEC;
    nlcf->features = NGX_CONF_UNSET_UINT;
    nlcf->running_max.number = NGX_HTTP_NIGHTLIGHT_UNSET;
    nlcf->waiting_max = NGX_HTTP_NIGHTLIGHT_WAITING;
    nlcf->queue_status = NGX_HTTP_SERVICE_UNAVAILABLE;
    nlcf->tenant_create = NGX_CONF_UNSET;
    nlcf->slow = NGX_CONF_UNSET_MSEC;

    ngx_http_nightlight_query_limits_create(nlcf);
    ngx_http_nightlight_limits_create(&nlcf->limits);

    return nlcf;
}


/*
 * The body limits of a write location against each other; core's directives
 * are merged already.
 */

static char *
ngx_http_nightlight_check_body(ngx_conf_t *cf,
    ngx_http_nightlight_loc_conf_t *nlcf)
{
    uint64_t                   decoded;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* what depends on the request, or is only tried, may be anything */

    decoded = nlcf->limits.decoded_max.complex || nlcf->limits.dry_run
              ? NLT_WRITE_DECODED_MAX : nlcf->limits.decoded_max.number;

    if (clcf->client_max_body_size == 0
        || clcf->client_max_body_size > (off_t) decoded)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: \"client_max_body_size\" of the location "
                      "with \"nightlight_write\" in %s:%ui must not be larger "
                      "than \"nightlight_write_max_decoded\" (%uL bytes): "
                      "such requests would be read and then refused",
                      nlcf->file, nlcf->line, decoded);
        return NGX_CONF_ERROR;
    }

    if (clcf->client_max_body_size < NGX_HTTP_NIGHTLIGHT_BODY_MIN) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: \"client_max_body_size\" of the location "
                      "with \"nightlight_write\" in %s:%ui is below 64k: "
                      "ordinary remote_write requests would be refused",
                      nlcf->file, nlcf->line);
        return NGX_CONF_ERROR;
    }

    /*
     * The default buffer of two pages would send most bodies through a
     * temporary file.  nginx allocates no more than the Content-Length.
     */

    if (clcf->client_body_buffer_size == (size_t) 2 * ngx_pagesize) {
        clcf->client_body_buffer_size =
                                     (size_t) clcf->client_max_body_size + 1;
    }

    return NGX_CONF_OK;
}


/* What is inherited as a whole, or not at all. */

static void
ngx_http_nightlight_merge_sets(ngx_http_nightlight_loc_conf_t *prev,
    ngx_http_nightlight_loc_conf_t *conf)
{
    if (!conf->queue_set) {
        conf->running_max = prev->running_max;
        conf->waiting_max = prev->waiting_max;
        conf->queue_wait = prev->queue_wait;
        conf->queue_status = prev->queue_status;
        conf->queue_key = prev->queue_key;
        conf->queue_dry_run = prev->queue_dry_run;
    }

    if (conf->slow == NGX_CONF_UNSET_MSEC) {
        conf->slow_file = prev->slow_file;
    }

    ngx_conf_merge_msec_value(conf->slow, prev->slow,
                              NGX_HTTP_NIGHTLIGHT_SLOW_OFF);
}


static char *
ngx_http_nightlight_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_nightlight_loc_conf_t *prev = parent;
    ngx_http_nightlight_loc_conf_t *conf = child;

    ngx_uint_t                        i;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_nightlight_store_t     **store;
    ngx_http_nightlight_main_conf_t  *nmcf;

    ngx_conf_merge_msec_value(conf->lookback, prev->lookback, 300000);
    ngx_conf_merge_uint_value(conf->features, prev->features,
                              NLT_PQL_F_DEFAULT);

    ngx_http_nightlight_merge_sets(prev, conf);
    ngx_http_nightlight_query_limits_merge(prev, conf);

    if (ngx_http_nightlight_limits_merge(cf, &prev->limits, &conf->limits)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_nightlight_inherit(cf, prev, conf);

    if (conf->handler == NGX_HTTP_NIGHTLIGHT_NONE) {
        return NGX_CONF_OK;
    }

    if (ngx_http_nightlight_check_query(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    nmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_nightlight_module);
    store = nmcf->stores.elts;

    for (i = 0; i < nmcf->stores.nelts; i++) {
        if (store[i]->name.len == conf->store_name.len
            && ngx_strncmp(store[i]->name.data, conf->store_name.data,
                           conf->store_name.len)
               == 0)
        {
            conf->store = store[i];
            break;
        }
    }

    if (conf->store == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: unknown store \"%V\" in %s:%ui, declare "
                      "it with \"nightlight_store\"",
                      &conf->store_name, conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

#if (NGX_PCRE)
    if (clcf->regex) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: the handler in %s:%ui cannot be used in a "
                      "location given by a regular expression: it routes on "
                      "what follows the location's prefix",
                      conf->file, conf->line);
        return NGX_CONF_ERROR;
    }
#endif

    if (clcf->named) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: the handler in %s:%ui cannot be used in a "
                      "named location", conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    if (conf->handler == NGX_HTTP_NIGHTLIGHT_WRITE) {
        return ngx_http_nightlight_check_body(cf, conf);
    }

    return NGX_CONF_OK;
}


/*
 * "if" and "limit_except" make a location of their own inside of the one they
 * stand in, and a request is handed over to it: it has to be able to do what
 * the outer one does.
 */

static void
ngx_http_nightlight_inherit(ngx_conf_t *cf,
    ngx_http_nightlight_loc_conf_t *prev, ngx_http_nightlight_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->cors == NULL) {
        conf->cors = prev->cors;
    }

    if (conf->tenant == NULL) {
        conf->tenant = prev->tenant;
    }

    if (conf->tenant_create == NGX_CONF_UNSET) {
        conf->tenant_create = prev->tenant_create == NGX_CONF_UNSET
                              ? 1 : prev->tenant_create;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (!clcf->noname) {
        conf->exact = clcf->exact_match;
        return;
    }

    if (conf->handler != NGX_HTTP_NIGHTLIGHT_NONE
        || prev->handler == NGX_HTTP_NIGHTLIGHT_NONE)
    {
        return;
    }

    conf->handler = prev->handler;
    conf->store_name = prev->store_name;
    conf->file = prev->file;
    conf->line = prev->line;
    conf->exact = prev->exact;

    if (clcf->lmt_excpt && clcf->handler == NULL) {
        clcf->handler = conf->handler == NGX_HTTP_NIGHTLIGHT_WRITE
                        ? ngx_http_nightlight_write_handler
                        : ngx_http_nightlight_api_handler;
    }
}


static char *
ngx_http_nightlight_check_query(ngx_conf_t *cf,
    ngx_http_nightlight_loc_conf_t *nlcf)
{
    /* later it is nanoseconds in 64 bits */

    if (nlcf->lookback == 0
        || nlcf->lookback > (ngx_msec_t) NGX_HTTP_NIGHTLIGHT_TIME_MAX)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: \"nightlight_lookback\" must not be zero "
                      "nor longer than a year in %s:%ui",
                      nlcf->file, nlcf->line);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_nightlight_location(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (nlcf->handler != NGX_HTTP_NIGHTLIGHT_NONE) {
        return "cannot stand beside another nightlight handler in one "
               "location";
    }

    value = cf->args->elts;

    nlcf->handler = cmd->offset;
    nlcf->store_name = value[1];
    nlcf->file = cf->conf_file->file.name.data;
    nlcf->line = cf->conf_file->line;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    clcf->handler = nlcf->handler == NGX_HTTP_NIGHTLIGHT_WRITE
                    ? ngx_http_nightlight_write_handler
                    : ngx_http_nightlight_api_handler;

    return NGX_CONF_OK;
}


/* "off" is 0: no such limit, but what the store has. */

static char *
ngx_http_nightlight_msec_or_off(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t   *value;
    ngx_msec_t  *field;

    field = (ngx_msec_t *) (p + cmd->offset);
    value = cf->args->elts;

    if (*field == NGX_CONF_UNSET_MSEC
        && ngx_strcmp(value[1].data, "off") == 0)
    {
        *field = 0;
        return NGX_CONF_OK;
    }

    return ngx_conf_set_msec_slot(cf, cmd, conf);
}


static char *
ngx_http_nightlight_features(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    size_t                    n;
    ngx_str_t                *value;
    ngx_uint_t                i, j;
    const nlt_pql_feature_t  *feature;

    if (nlcf->features != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    nlcf->features = 0;
    value = cf->args->elts;
    feature = nlt_pql_feature_table(&n);

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "none") == 0) {
            continue;
        }

        if (ngx_strcmp(value[i].data, "all") == 0) {
            nlcf->features |= NLT_PQL_F_ALL;
            continue;
        }

        for (j = 0; j < n; j++) {
            if (ngx_strcmp(value[i].data, feature[j].name) == 0) {
                break;
            }
        }

        if (j == n) {
            return ngx_http_nightlight_param_error(cf, &value[i],
                                                   "unknown feature");
        }

        nlcf->features |= feature[j].bit;
    }

    return NGX_CONF_OK;
}


static void
ngx_http_nightlight_init_server(ngx_cycle_t *cycle,
    ngx_http_nightlight_main_conf_t *nmcf)
{
    nlt_api_server_t  *server;

    server = &ngx_http_nightlight_server;

    server->conf_file.len = cycle->conf_file.len;
    server->conf_file.data = (char *) cycle->conf_file.data;
    server->cwd.len = cycle->prefix.len
                      - (cycle->prefix.len > 1);    /* the slash */
    server->cwd.data = (char *) cycle->prefix.data;
    server->hostname.len = cycle->hostname.len;
    server->hostname.data = (char *) cycle->hostname.data;
    server->t_start_ms = ngx_http_nightlight_started;
    server->t_config_ms = nmcf->read_ms;
    server->n_cpus = (unsigned) ngx_ncpu;
    server->n_queries = (unsigned) ngx_http_nightlight_queries_max();
}


static ngx_int_t
ngx_http_nightlight_init_module(ngx_cycle_t *cycle)
{
    ngx_http_nightlight_main_conf_t  *nmcf;

    nmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_nightlight_module);

    if (nmcf == NULL || nmcf->stores.nelts == 0) {
        return NGX_OK;
    }

    return ngx_http_nightlight_queue_init(cycle);
}


static ngx_int_t
ngx_http_nightlight_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                        i;
    ngx_http_nightlight_store_t     **store;
    ngx_http_nightlight_main_conf_t  *nmcf;

    nmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_nightlight_module);
    if (nmcf == NULL || nmcf->stores.nelts == 0) {
        return NGX_OK;
    }

    /*
     * Workers and the helper, but not the master: it unloads modules when the
     * configuration changes, and a handler must not be left behind.
     */

    if (!nlt_guard_install()) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "nightlight: no handler of SIGBUS: a block file that is "
                      "cut short ends the process; restart nginx");
    }

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    if (ngx_process == NGX_PROCESS_SINGLE) {
        store = nmcf->stores.elts;

        for (i = 0; i < nmcf->stores.nelts; i++) {
            if (ngx_http_nightlight_helper_start(store[i]) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    /*
     * A store that cannot be opened is not the end of the worker: nginx has
     * other work, and a worker that exits in init_process is never respawned.
     */

    ngx_http_nightlight_init_server(cycle, nmcf);

    ngx_http_nightlight_store_init_process(cycle, nmcf);

    ngx_http_nightlight_help_init_process();

    return ngx_http_nightlight_queue_init_process(cycle);
}


static void
ngx_http_nightlight_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_nightlight_queue_exit_process();
    ngx_http_nightlight_store_exit_process();
    ngx_http_nightlight_helper_stop();
}

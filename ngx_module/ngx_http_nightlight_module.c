
/*
 * ngx_http_nightlight_module.c - directives and configuration.
 *
 * All of it can be checked by "nginx -t" without touching live data: paths
 * are looked at, never opened for writing, and every refusal names file and
 * line.  Stores may be declared after the locations that use them; names are
 * resolved when locations are merged.
 */


#include "ngx_http_nightlight.h"

#include <sys/statvfs.h>


#define NGX_HTTP_NIGHTLIGHT_BODY_MIN   (64 * 1024)
#define NGX_HTTP_NIGHTLIGHT_HEAD       "/dev/shm"


static void *ngx_http_nightlight_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_nightlight_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_nightlight_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_nightlight_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_nightlight_store(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_nightlight_store_param(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store, ngx_str_t *arg);
static char *ngx_http_nightlight_store_check(ngx_conf_t *cf,
    ngx_http_nightlight_main_conf_t *nmcf, ngx_http_nightlight_store_t *store);
static char *ngx_http_nightlight_store_add(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store);
static char *ngx_http_nightlight_location(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_nightlight_self(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_nightlight_features(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_nightlight_unsupported(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_nightlight_init_process(ngx_cycle_t *cycle);
static void ngx_http_nightlight_exit_process(ngx_cycle_t *cycle);


static ngx_conf_num_bounds_t  ngx_http_nightlight_labels_bounds = {
    ngx_conf_check_num_bounds, 1, 1024
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
      ngx_http_nightlight_unsupported,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("nightlight_query_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, timeout),
      NULL },

    { ngx_string("nightlight_query_max_samples"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, samples_max),
      NULL },

    { ngx_string("nightlight_query_memory"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, memory_max),
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

    { ngx_string("nightlight_write_max_decoded"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, decoded_max),
      NULL },

    { ngx_string("nightlight_max_labels"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, labels_max),
      &ngx_http_nightlight_labels_bounds },

    { ngx_string("nightlight_max_label_name"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, label_name_max),
      NULL },

    { ngx_string("nightlight_max_label_value"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_nightlight_loc_conf_t, label_value_max),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_nightlight_module_ctx = {
    NULL,                                   /* preconfiguration */
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
    NULL,                                   /* init module */
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

    nlcf->timeout = NGX_CONF_UNSET_MSEC;
    nlcf->samples_max = NGX_CONF_UNSET_SIZE;
    nlcf->memory_max = NGX_CONF_UNSET_SIZE;
    nlcf->lookback = NGX_CONF_UNSET_MSEC;
    nlcf->features = NGX_CONF_UNSET_UINT;
    nlcf->decoded_max = NGX_CONF_UNSET_SIZE;
    nlcf->labels_max = NGX_CONF_UNSET_UINT;
    nlcf->label_name_max = NGX_CONF_UNSET_SIZE;
    nlcf->label_value_max = NGX_CONF_UNSET_SIZE;

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
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (nlcf->decoded_max < NGX_HTTP_NIGHTLIGHT_BODY_MIN
        || nlcf->decoded_max > NLT_WRITE_DECODED_MAX)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: \"nightlight_write_max_decoded\" must be "
                      "from 64k to 32m in %s:%ui", nlcf->file, nlcf->line);
        return NGX_CONF_ERROR;
    }

    if (clcf->client_max_body_size == 0
        || clcf->client_max_body_size > (off_t) nlcf->decoded_max)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: \"client_max_body_size\" of the location "
                      "with \"nightlight_write\" in %s:%ui must not be larger "
                      "than \"nightlight_write_max_decoded\" (%uz bytes): "
                      "such requests would be read and then refused",
                      nlcf->file, nlcf->line, nlcf->decoded_max);
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


static char *
ngx_http_nightlight_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_nightlight_loc_conf_t *prev = parent;
    ngx_http_nightlight_loc_conf_t *conf = child;

    ngx_uint_t                        i;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_nightlight_store_t     **store;
    ngx_http_nightlight_main_conf_t  *nmcf;

    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 120000);
    ngx_conf_merge_size_value(conf->samples_max, prev->samples_max, 50000000);
    ngx_conf_merge_size_value(conf->memory_max, prev->memory_max,
                              256 * 1024 * 1024);
    ngx_conf_merge_msec_value(conf->lookback, prev->lookback, 300000);
    ngx_conf_merge_uint_value(conf->features, prev->features,
                              NLT_PQL_F_DEFAULT);
    ngx_conf_merge_size_value(conf->decoded_max, prev->decoded_max,
                              NLT_WRITE_DECODED_MAX);
    ngx_conf_merge_uint_value(conf->labels_max, prev->labels_max,
                              NLT_LABELS_PER_SERIES_DEFAULT);
    ngx_conf_merge_size_value(conf->label_name_max, prev->label_name_max,
                              NLT_LABEL_NAME_BYTES_DEFAULT);
    ngx_conf_merge_size_value(conf->label_value_max, prev->label_value_max,
                              NLT_LABEL_VALUE_BYTES_DEFAULT);

    if (conf->handler == NGX_HTTP_NIGHTLIGHT_NONE) {
        return NGX_CONF_OK;
    }

    if (conf->timeout == 0 || conf->lookback == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "nightlight: \"nightlight_query_timeout\" and "
                      "\"nightlight_lookback\" must not be zero in %s:%ui",
                      conf->file, conf->line);
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


static char *
ngx_http_nightlight_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_nightlight_main_conf_t *nmcf = conf;

    char                          *rv;
    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_http_nightlight_store_t   *store, **p;

    value = cf->args->elts;
    p = nmcf->stores.elts;

    for (i = 0; i < nmcf->stores.nelts; i++) {
        if (p[i]->name.len == value[1].len
            && ngx_strncmp(p[i]->name.data, value[1].data, value[1].len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "nightlight: duplicate store \"%V\", first "
                               "declared in %s:%ui",
                               &value[1], p[i]->file, p[i]->line);
            return NGX_CONF_ERROR;
        }
    }

    store = ngx_pcalloc(cf->pool, sizeof(ngx_http_nightlight_store_t));
    if (store == NULL) {
        return NGX_CONF_ERROR;
    }

    store->name = value[1];
    store->memory = NGX_CONF_UNSET;
    store->retention = NGX_CONF_UNSET;
    store->wal_sync = NGX_CONF_UNSET;
    store->file = cf->conf_file->file.name.data;
    store->line = cf->conf_file->line;

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_nightlight_store_param(cf, store, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    rv = ngx_http_nightlight_store_check(cf, nmcf, store);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    p = ngx_array_push(&nmcf->stores);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = store;

    return ngx_http_nightlight_store_add(cf, store);
}


/* The value of a "name=value" parameter, if it is this one. */

static ngx_int_t
ngx_http_nightlight_param(ngx_str_t *arg, const char *name, ngx_str_t *value)
{
    size_t  len;

    len = ngx_strlen(name);

    if (arg->len < len || ngx_strncmp(arg->data, name, len) != 0) {
        return 0;
    }

    value->data = arg->data + len;
    value->len = arg->len - len;

    return 1;
}


static char *
ngx_http_nightlight_param_error(ngx_conf_t *cf, ngx_str_t *arg,
    const char *what)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "nightlight: invalid parameter \"%V\": %s", arg, what);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_nightlight_store_param(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store, ngx_str_t *arg)
{
    ngx_int_t  n;
    ngx_str_t  v;

    if (ngx_http_nightlight_param(arg, "path=", &v)) {
        if (v.len == 0) {
            return ngx_http_nightlight_param_error(cf, arg, "empty path");
        }

        store->path = v;
        return ngx_conf_full_name(cf->cycle, &store->path, 0) == NGX_OK
               ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    if (ngx_http_nightlight_param(arg, "head=", &v)) {
        if (v.len == 0) {
            return ngx_http_nightlight_param_error(cf, arg, "empty path");
        }

        store->head = v;
        return ngx_conf_full_name(cf->cycle, &store->head, 0) == NGX_OK
               ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    if (ngx_http_nightlight_param(arg, "memory=", &v)) {
        store->memory = ngx_parse_offset(&v);

        return store->memory == NGX_ERROR
               ? ngx_http_nightlight_param_error(cf, arg,
                                             "not a size such as 512m or 4g")
               : NGX_CONF_OK;
    }

    if (ngx_http_nightlight_param(arg, "retention=", &v)) {
        n = ngx_parse_time(&v, 1);

        if (n == NGX_ERROR || n < 60) {
            return ngx_http_nightlight_param_error(cf, arg,
                             "not a time such as 15d or 1y, of 1m or more");
        }

        store->retention = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_nightlight_param(arg, "wal_sync=", &v)) {

        if (v.len == 3 && ngx_strncmp(v.data, "off", 3) == 0) {
            store->wal_sync = NLT_WAL_SYNC_OFF;
            return NGX_CONF_OK;
        }

        if (v.len == 6 && ngx_strncmp(v.data, "always", 6) == 0) {
            return ngx_http_nightlight_param_error(cf, arg,
                                           "not supported by this version");
        }

        n = ngx_parse_time(&v, 0);

        if (n == NGX_ERROR || n < 10) {
            return ngx_http_nightlight_param_error(cf, arg,
                       "not \"off\" or an interval such as 1s, of 10ms or more");
        }

        store->wal_sync = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_nightlight_param(arg, "retention_size=", &v)
        || ngx_http_nightlight_param(arg, "min_free=", &v)
        || ngx_http_nightlight_param(arg, "tenants=", &v))
    {
        return ngx_http_nightlight_param_error(cf, arg,
                                           "not supported by this version");
    }

    return ngx_http_nightlight_param_error(cf, arg, "unknown parameter");
}


static char *
ngx_http_nightlight_check_dir(ngx_conf_t *cf, ngx_str_t *path,
    const char *what, ngx_uint_t leaf_may_miss)
{
    u_char           *slash;
    ngx_str_t         parent;
    ngx_file_info_t   fi;

    if (ngx_file_info(path->data, &fi) != NGX_FILE_ERROR) {

        if (!ngx_is_dir(&fi)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "nightlight: %s \"%V\" is not a directory",
                               what, path);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (ngx_errno != NGX_ENOENT || !leaf_may_miss) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "nightlight: cannot use %s \"%V\"", what, path);
        return NGX_CONF_ERROR;
    }

    parent.data = ngx_pnalloc(cf->temp_pool, path->len + 1);
    if (parent.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(parent.data, path->data, path->len + 1);

    slash = (u_char *) ngx_strrchr(parent.data, '/');

    if (slash == NULL || slash == parent.data) {
        return NGX_CONF_OK;
    }

    *slash = '\0';

    if (ngx_file_info(parent.data, &fi) == NGX_FILE_ERROR
        || !ngx_is_dir(&fi))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: cannot create %s \"%V\": there is no "
                           "directory \"%s\"", what, path, parent.data);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_nightlight_store_check(ngx_conf_t *cf,
    ngx_http_nightlight_main_conf_t *nmcf, ngx_http_nightlight_store_t *store)
{
    off_t             size;
    struct statvfs    fs;
    ngx_file_info_t   fi;

    if (store->path.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: store \"%V\" has no \"path=\"",
                           &store->name);
        return NGX_CONF_ERROR;
    }

    while (store->path.len > 1
           && store->path.data[store->path.len - 1] == '/')
    {
        store->path.data[--store->path.len] = '\0';
    }

    if (ngx_http_nightlight_check_dir(cf, &store->path, "path", 1)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (store->head.len == 0) {

        /* tmpfs where there is one: the kernel writes nothing back */

        if (ngx_file_info((u_char *) NGX_HTTP_NIGHTLIGHT_HEAD, &fi)
            != NGX_FILE_ERROR && ngx_is_dir(&fi))
        {
            ngx_str_set(&store->head, NGX_HTTP_NIGHTLIGHT_HEAD);

        } else {
            store->head = store->path;
        }
    }

    if (store->head.data != store->path.data
        && ngx_http_nightlight_check_dir(cf, &store->head, "head", 0)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(store->memory, 256 * 1024 * 1024);
    ngx_conf_init_value(store->retention, 15 * 24 * 3600);
    ngx_conf_init_value(store->wal_sync, 1000);

    if (store->memory < (off_t) NLT_HEAD_MEMORY_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: store \"%V\": memory=%OM is too "
                           "little, at least %uM are needed",
                           &store->name, store->memory >> 20,
                           (ngx_uint_t) NLT_HEAD_MEMORY_MIN >> 20);
        return NGX_CONF_ERROR;
    }

    if (statvfs((char *) store->head.data, &fs) == 0) {
        size = (off_t) fs.f_blocks * (off_t) fs.f_frsize;

        if (size < store->memory) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "nightlight: store \"%V\": memory=%OM does "
                               "not fit into the file system of \"%V\", which "
                               "has %OM: give less, or another \"head=\"",
                               &store->name, store->memory >> 20,
                               &store->head, size >> 20);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* Registers the directory: its manager callback makes the helper process. */

static char *
ngx_http_nightlight_store_add(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store)
{
    ngx_path_t  *path;

    path = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    path->name = store->path;
    path->manager = ngx_http_nightlight_manager;
    path->data = store;
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;

    return ngx_add_path(cf, &path) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
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


/* nightlight_self store [interval] [instance=name] */

static char *
ngx_http_nightlight_self(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_nightlight_main_conf_t *nmcf = conf;

    ngx_int_t                      n;
    ngx_str_t                     *value, v;
    ngx_uint_t                     i;
    ngx_http_nightlight_store_t   *store, **p;

    value = cf->args->elts;
    p = nmcf->stores.elts;
    store = NULL;

    for (i = 0; i < nmcf->stores.nelts; i++) {
        if (p[i]->name.len == value[1].len
            && ngx_strncmp(p[i]->name.data, value[1].data, value[1].len) == 0)
        {
            store = p[i];
        }
    }

    if (store == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: unknown store \"%V\", it must be "
                           "declared before \"nightlight_self\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (store->self) {
        return "is duplicate for this store";
    }

    store->self = 5000;
    ngx_str_set(&store->instance, "nginx");

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_nightlight_param(&value[i], "instance=", &v)
            && v.len > 0 && v.len <= 256)
        {
            store->instance = v;
            continue;
        }

        n = ngx_parse_time(&value[i], 0);

        if (n == NGX_ERROR || n < 100) {
            return ngx_http_nightlight_param_error(cf, &value[i],
                  "not an interval such as 5s, of 100ms or more, or instance=");
        }

        store->self = n;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_nightlight_features(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i, j;

    static const struct {
        ngx_str_t   name;
        ngx_uint_t  bit;
    } features[] = {
        { ngx_string("none"), 0 },
        { ngx_string("all"), NLT_PQL_F_ALL },
        { ngx_string("experimental-functions"), NLT_PQL_F_FUNCTIONS },
        { ngx_string("duration-expr"), NLT_PQL_F_DURATION_EXPR },
        { ngx_string("extended-range-selectors"), NLT_PQL_F_EXTENDED },
        { ngx_string("binop-fill-modifiers"), NLT_PQL_F_FILL },
        { ngx_string("delayed-name-removal"), NLT_PQL_F_DELAYED_NAME }
    };

    if (nlcf->features != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    nlcf->features = 0;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (j = 0; j < sizeof(features) / sizeof(features[0]); j++) {
            if (features[j].name.len == value[i].len
                && ngx_strncmp(features[j].name.data, value[i].data,
                               value[i].len)
                   == 0)
            {
                break;
            }
        }

        if (j == sizeof(features) / sizeof(features[0])) {
            return ngx_http_nightlight_param_error(cf, &value[i],
                                                   "unknown feature");
        }

        nlcf->features |= features[j].bit;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_nightlight_unsupported(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return "is not supported by this version";
}


static ngx_int_t
ngx_http_nightlight_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                        i;
    ngx_http_nightlight_store_t     **store;
    ngx_http_nightlight_main_conf_t  *nmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    nmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_nightlight_module);
    if (nmcf == NULL || nmcf->stores.nelts == 0) {
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

    ngx_http_nightlight_store_init_process(cycle, nmcf);

    return NGX_OK;
}


static void
ngx_http_nightlight_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_nightlight_store_exit_process();
    ngx_http_nightlight_helper_stop();
}


/*
 * ngx_http_nightlight_conf.c - the directives nightlight_store and
 * nightlight_self: what a store is, checked without touching it.
 */


#include "ngx_http_nightlight.h"

#include <sys/statvfs.h>


#define NGX_HTTP_NIGHTLIGHT_HEAD       "/dev/shm"


static char *ngx_http_nightlight_store_param(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store, ngx_str_t *arg);
static char *ngx_http_nightlight_store_check(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store);
static char *ngx_http_nightlight_store_check_keeps(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store);
static char *ngx_http_nightlight_store_add(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store);


char *
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
    store->retention_size = NGX_CONF_UNSET;
    store->min_free = NGX_CONF_UNSET;
    store->exemplars = NGX_CONF_UNSET;
    store->tenants = NGX_CONF_UNSET;
    store->wal_sync = NGX_CONF_UNSET;
    store->dense = NGX_CONF_UNSET;
    store->file = cf->conf_file->file.name.data;
    store->line = cf->conf_file->line;

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_nightlight_store_param(cf, store, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    rv = ngx_http_nightlight_store_check(cf, store);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ngx_http_nightlight_store_check_keeps(cf, store);
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


ngx_int_t
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


char *
ngx_http_nightlight_param_error(ngx_conf_t *cf, ngx_str_t *arg,
    const char *what)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "nightlight: invalid parameter \"%V\": %s", arg, what);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_nightlight_exemplars_param(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store, ngx_str_t *arg, ngx_str_t *v)
{
    if (v->len == 3 && ngx_strncmp(v->data, "off", 3) == 0) {
        store->exemplars = 0;
        return NGX_CONF_OK;
    }

    store->exemplars = ngx_parse_offset(v);

    return store->exemplars < (off_t) NLT_STASH_BYTES_MIN
           ? ngx_http_nightlight_param_error(cf, arg,
                          "not a size such as 16m, 64k or more, or \"off\"")
           : NGX_CONF_OK;
}


static char *
ngx_http_nightlight_wal_sync_param(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store, ngx_str_t *arg, ngx_str_t *v)
{
    ngx_int_t  n;

    if (v->len == 3 && ngx_strncmp(v->data, "off", 3) == 0) {
        store->wal_sync = NLT_WAL_SYNC_OFF;
        return NGX_CONF_OK;
    }

    if (v->len == 6 && ngx_strncmp(v->data, "always", 6) == 0) {
        store->wal_sync = NLT_WAL_SYNC_ALWAYS;
        return NGX_CONF_OK;
    }

    n = ngx_parse_time(v, 0);

    if (n == NGX_ERROR || n < 10) {
        return ngx_http_nightlight_param_error(cf, arg,
                     "not \"always\", \"off\" or an interval such as 1s, "
                     "10ms or more");
    }

    store->wal_sync = n;
    return NGX_CONF_OK;
}


static char *
ngx_http_nightlight_format_param(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store, ngx_str_t *arg, ngx_str_t *v)
{
    store->dense = v->len == 5 && ngx_strncmp(v->data, "dense", 5) == 0;

    return !store->dense
           && (v->len != 8 || ngx_strncmp(v->data, "portable", 8) != 0)
           ? ngx_http_nightlight_param_error(cf, arg,
                                        "not \"portable\" or \"dense\"")
           : NGX_CONF_OK;
}


/* [name:]time; a name may have colons, a time has none */

static char *
ngx_http_nightlight_tenant_retention_param(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store, ngx_str_t *arg, ngx_str_t *v)
{
    size_t              i;
    ngx_int_t           n;
    ngx_str_t           name, time;
    nlt_err_t           err;
    ngx_uint_t          k;
    nlt_tenant_keep_t  *keep;

    ngx_str_null(&name);
    time = *v;

    for (i = v->len; i > 0; i--) {
        if (v->data[i - 1] == ':') {
            name.data = v->data;
            name.len = i - 1;
            time.data = v->data + i;
            time.len = v->len - i;
            break;
        }
    }

    n = ngx_parse_time(&time, 1);

    if (n == NGX_ERROR || n < 60) {
        return ngx_http_nightlight_param_error(cf, arg,
                     "not a time such as 15d or 1y, of 1m or more, or a "
                     "tenant, a colon and such a time");
    }

    if (name.data
        && nlt_tenant_name_check((nlt_str_t) { name.len, (char *) name.data },
                                 &err)
           != NLT_OK)
    {
        return ngx_http_nightlight_param_error(cf, arg,
                                               "not the name of a tenant");
    }

    if (store->keeps == NULL) {
        store->keeps = ngx_array_create(cf->pool, 4,
                                        sizeof(nlt_tenant_keep_t));
        if (store->keeps == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    keep = store->keeps->elts;

    for (k = 0; k < store->keeps->nelts; k++) {
        if (keep[k].name.len == name.len
            && ngx_memcmp(keep[k].name.data, name.data, name.len) == 0)
        {
            return ngx_http_nightlight_param_error(cf, arg,
                                                   "given twice");
        }
    }

    keep = ngx_array_push(store->keeps);
    if (keep == NULL) {
        return NGX_CONF_ERROR;
    }

    keep->name = (nlt_str_t) { name.len, name.data ? (char *) name.data : "" };
    keep->ms = (int64_t) n * 1000;

    return NGX_CONF_OK;
}


static char *
ngx_http_nightlight_store_param(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store, ngx_str_t *arg)
{
    ngx_int_t  n;
    ngx_str_t  v;

    if (ngx_strlchr(arg->data, arg->data + arg->len, '$')) {
        return ngx_http_nightlight_param_error(cf, arg,
                                               "variables cannot be used");
    }

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

    if (ngx_http_nightlight_param(arg, "tenant_retention=", &v)) {
        return ngx_http_nightlight_tenant_retention_param(cf, store, arg, &v);
    }

    if (ngx_http_nightlight_param(arg, "retention_size=", &v)) {
        store->retention_size = ngx_parse_offset(&v);

        return store->retention_size <= 0
               ? ngx_http_nightlight_param_error(cf, arg,
                                             "not a size such as 50g or 512m")
               : NGX_CONF_OK;
    }

    if (ngx_http_nightlight_param(arg, "min_free=", &v)) {
        store->min_free = ngx_parse_offset(&v);

        return store->min_free <= 0
               ? ngx_http_nightlight_param_error(cf, arg,
                                             "not a size such as 1g or 512m")
               : NGX_CONF_OK;
    }

    if (ngx_http_nightlight_param(arg, "exemplars=", &v)) {
        return ngx_http_nightlight_exemplars_param(cf, store, arg, &v);
    }

    if (ngx_http_nightlight_param(arg, "wal_sync=", &v)) {
        return ngx_http_nightlight_wal_sync_param(cf, store, arg, &v);
    }

    if (ngx_http_nightlight_param(arg, "block_format=", &v)) {
        return ngx_http_nightlight_format_param(cf, store, arg, &v);
    }

    if (ngx_http_nightlight_param(arg, "tenants=", &v)) {
        store->tenants = ngx_atoi(v.data, v.len);

        return store->tenants < 1
               || store->tenants > (ngx_int_t) NLT_TENANTS_MAX
               ? ngx_http_nightlight_param_error(cf, arg,
                                                 "not a number from 1 to "
                                                 "100000")
               : NGX_CONF_OK;
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

    slash = (u_char *) strrchr((char *) parent.data, '/');

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


/* A reserve that the file system can never have would refuse all writes. */

static char *
ngx_http_nightlight_check_min_free(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store)
{
    off_t            size;
    u_char          *slash;
    struct statvfs   fs;

    if (store->min_free == 0) {
        return NGX_CONF_OK;
    }

    if (statvfs((char *) store->path.data, &fs) != 0) {

        /* it is not there yet: its parent was checked before */

        slash = (u_char *) strrchr((char *) store->path.data, '/');

        if (slash == NULL || slash == store->path.data) {
            return NGX_CONF_OK;
        }

        *slash = '\0';
        size = statvfs((char *) store->path.data, &fs);
        *slash = '/';

        if (size != 0) {
            return NGX_CONF_OK;
        }
    }

    size = (off_t) fs.f_blocks * (off_t) fs.f_frsize;

    if (store->min_free >= size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: store \"%V\": min_free=%OM can never "
                           "be free on the file system of \"%V\", which has "
                           "%OM", &store->name, store->min_free >> 20,
                           &store->path, size >> 20);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Sorts what tenants have for themselves; none is more than the store's. */

static char *
ngx_http_nightlight_store_check_keeps(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store)
{
    ngx_uint_t          i;
    nlt_tenant_keep_t  *keep;

    if (store->keeps == NULL) {
        return NGX_CONF_OK;
    }

    keep = store->keeps->elts;

    for (i = 0; i < store->keeps->nelts; i++) {
        if (keep[i].ms > (int64_t) store->retention * 1000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "nightlight: store \"%V\": a "
                               "tenant_retention= is longer than retention=, "
                               "which bounds it",
                               &store->name);
            return NGX_CONF_ERROR;
        }
    }

    nlt_tenant_keeps_sort(keep, store->keeps->nelts);

    return NGX_CONF_OK;
}


static char *
ngx_http_nightlight_check_parts(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store)
{
    if (store->tenants == NGX_CONF_UNSET) {
        store->tenants = (ngx_int_t) NLT_TENANTS_DEFAULT;

    } else if ((off_t) nlt_tenants_bytes((uint32_t) store->tenants)
               > store->memory / 8)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: store \"%V\": tenants=%i need %uLM, "
                           "more than an eighth of memory=%OM",
                           &store->name, store->tenants,
                           nlt_tenants_bytes((uint32_t) store->tenants) >> 20,
                           store->memory >> 20);
        return NGX_CONF_ERROR;
    }

    if (store->exemplars > store->memory / 4) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: store \"%V\": exemplars=%OM is more "
                           "than a quarter of memory=%OM, which it is part of",
                           &store->name, store->exemplars >> 20,
                           store->memory >> 20);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_nightlight_store_check(ngx_conf_t *cf,
    ngx_http_nightlight_store_t *store)
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
    ngx_conf_init_value(store->retention_size, 0);
    ngx_conf_init_value(store->min_free, 0);
    ngx_conf_init_value(store->wal_sync, 1000);
    ngx_conf_init_value(store->dense, 0);
    ngx_conf_init_value(store->exemplars, store->memory / 64);

    if (store->memory < (off_t) NLT_HEAD_MEMORY_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: store \"%V\": memory=%OM is too "
                           "little, at least %uM are needed",
                           &store->name, store->memory >> 20,
                           (ngx_uint_t) NLT_HEAD_MEMORY_MIN >> 20);
        return NGX_CONF_ERROR;
    }

    if (store->retention_size && store->retention_size < store->memory) {

        /* the logs of a full head would leave nothing for blocks */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: store \"%V\": retention_size=%OM is "
                           "less than memory=%OM, which bounds its logs",
                           &store->name, store->retention_size >> 20,
                           store->memory >> 20);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_nightlight_check_min_free(cf, store) != NGX_CONF_OK
        || ngx_http_nightlight_check_parts(cf, store) != NGX_CONF_OK)
    {
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


/* nightlight_self store [interval] [instance=name] */

char *
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
                    "not an interval such as 5s, 100ms or more, or instance=");
        }

        store->self = n;
    }

    return NGX_CONF_OK;
}

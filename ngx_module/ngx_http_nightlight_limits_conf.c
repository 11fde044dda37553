
/*
 * ngx_http_nightlight_limits_conf.c - the directives of limits of writing, and
 * their zones.
 *
 * A zone is shared memory with windows by key (core/store/nlt_quota.h); its
 * table stays where it is across reloads.
 */


#include "ngx_http_nightlight.h"


#define NGX_HTTP_NIGHTLIGHT_ZONE_MIN      (64 * 1024)
#define NGX_HTTP_NIGHTLIGHT_DROP_MEMORY   (64 << 20)


ngx_http_nightlight_bounds_t  ngx_http_nightlight_decoded_bounds = {
    "nightlight_write_max_decoded", NGX_HTTP_NIGHTLIGHT_SIZE,
    64 * 1024, NLT_WRITE_DECODED_MAX, NLT_WRITE_DECODED_MAX,
    "a size from 64k to 32m", 0
};

ngx_http_nightlight_bounds_t  ngx_http_nightlight_labels_bounds = {
    "nightlight_max_labels", NGX_HTTP_NIGHTLIGHT_NUMBER,
    1, 1024, NLT_LABELS_PER_SERIES_DEFAULT, "a number from 1 to 1024", 0
};

ngx_http_nightlight_bounds_t  ngx_http_nightlight_label_name_bounds = {
    "nightlight_max_label_name", NGX_HTTP_NIGHTLIGHT_SIZE,
    1, NLT_SERIES_BYTES_MAX, NLT_LABEL_NAME_BYTES_DEFAULT,
    "a size from 1 to 60k", 0
};

ngx_http_nightlight_bounds_t  ngx_http_nightlight_label_value_bounds = {
    "nightlight_max_label_value", NGX_HTTP_NIGHTLIGHT_SIZE,
    1, NLT_SERIES_BYTES_MAX, NLT_LABEL_VALUE_BYTES_DEFAULT,
    "a size from 1 to 60k", 0
};

ngx_http_nightlight_bounds_t  ngx_http_nightlight_rate_bounds = {
    "nightlight_limit_samples rate=", NGX_HTTP_NIGHTLIGHT_RATE,
    1, 1000000000, 0, "a number of samples a second, 1 to 1000000000", 0
};

ngx_http_nightlight_bounds_t  ngx_http_nightlight_active_bounds = {
    "nightlight_limit_series active=", NGX_HTTP_NIGHTLIGHT_NUMBER,
    1, 1000000000, 0, "a number of series, 1 to 1000000000", 0
};

ngx_http_nightlight_bounds_t  ngx_http_nightlight_created_bounds = {
    "nightlight_limit_series created=", NGX_HTTP_NIGHTLIGHT_NUMBER,
    1, 1000000000, 0, "a number of series, 1 to 1000000000", 0
};


static ngx_int_t ngx_http_nightlight_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_nightlight_drop_cleanup(void *data);


static char  ngx_http_nightlight_off_error[] =
                                "cannot stand beside \"off\" in one place";


/* ---- directives ---- */

/* nightlight_limit_zone key zone=name:size */

char *
ngx_http_nightlight_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    u_char                            *p;
    ssize_t                            size;
    ngx_str_t                         *value, name, s;
    ngx_shm_zone_t                    *shm_zone;
    ngx_http_nightlight_zone_t        *zone;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_nightlight_zone_t));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));
    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = &zone->key;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (!ngx_http_nightlight_param(&value[2], "zone=", &name)) {
        return ngx_http_nightlight_param_error(cf, &value[2],
                                               "not zone=name:size");
    }

    p = (u_char *) ngx_strchr(name.data, ':');

    if (p == NULL || p == name.data) {
        return ngx_http_nightlight_param_error(cf, &value[2],
                                               "not zone=name:size");
    }

    s.data = p + 1;
    s.len = name.data + name.len - s.data;
    name.len = p - name.data;
    size = ngx_parse_size(&s);

    if (size < (ssize_t) NGX_HTTP_NIGHTLIGHT_ZONE_MIN) {
        return ngx_http_nightlight_param_error(cf, &value[2],
                                      "not a size such as 10m, 64k or more");
    }

    shm_zone = ngx_shared_memory_add(cf, &name, size,
                                     &ngx_http_nightlight_module);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "nightlight: zone \"%V\" is defined already",
                           &name);
        return NGX_CONF_ERROR;
    }

    shm_zone->init = ngx_http_nightlight_zone_init;
    shm_zone->data = zone;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_nightlight_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_nightlight_zone_t *ozone = data;

    void                        *p;
    size_t                       size;
    ngx_slab_pool_t             *shpool;
    ngx_http_nightlight_zone_t  *zone;

    zone = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (ozone) {

        /* another key only means that other keys are looked up */

        zone->table = ozone->table;
        return NGX_OK;
    }

    if (shm_zone->shm.exists) {
        zone->table = shpool->data;
        return NGX_OK;
    }

    /* one piece, as large as the zone gives beside its own tables */

    shpool->log_nomem = 0;
    p = NULL;

    for (size = (shpool->end - shpool->start) & ~(ngx_pagesize - 1);
         size >= ngx_pagesize;
         size -= ngx_pagesize)
    {
        p = ngx_slab_calloc(shpool, size);
        if (p) {
            break;
        }
    }

    zone->table = p ? nlt_quotas_init(p, size) : NULL;

    if (zone->table == NULL) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "nightlight: zone \"%V\" is too small; raise its size",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    shpool->data = zone->table;

    return NGX_OK;
}


/*
 * "off" alone: nothing of an outer level holds here, so *list is an empty one.
 * NGX_DECLINED: it is not "off"; NGX_ERROR: it stands beside others, or there
 * is no memory.
 */

static ngx_int_t
ngx_http_nightlight_limit_off(ngx_conf_t *cf, ngx_array_t **list, size_t size)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") != 0) {
        return *list && (*list)->nelts == 0 ? NGX_ERROR : NGX_DECLINED;
    }

    if (*list || cf->args->nelts != 2) {
        return NGX_ERROR;
    }

    *list = ngx_array_create(cf->pool, 1, size);

    return *list ? NGX_OK : NGX_ERROR;
}


/* The zone of "zone=name"; NULL: it was logged. */

static ngx_shm_zone_t *
ngx_http_nightlight_zone_ref(ngx_conf_t *cf, ngx_str_t *arg, ngx_str_t *name)
{
    if (name->len == 0) {
        (void) ngx_http_nightlight_param_error(cf, arg, "empty name");
        return NULL;
    }

    /* one that nobody defines is nginx's error, "zero size" */

    return ngx_shared_memory_add(cf, name, 0, &ngx_http_nightlight_module);
}


/* A value with variables has to have a number that holds without them. */

static char *
ngx_http_nightlight_limit_default(ngx_uint_t needed,
    ngx_http_nightlight_value_t *standard)
{
    if (standard->complex) {
        return "takes no variables in \"default=\"";
    }

    if (needed && standard->number == NGX_HTTP_NIGHTLIGHT_UNSET) {
        return "needs \"default=\" beside a value with variables, for when "
               "they have none";
    }

    return NGX_CONF_OK;
}


/* nightlight_limit_samples zone=name rate=N [default=N] [window=10s] */

char *
ngx_http_nightlight_limit_samples(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    ngx_int_t                    n;
    ngx_str_t                   *value, v;
    ngx_uint_t                   i;
    ngx_http_nightlight_rate_t  *rate;
    ngx_http_nightlight_value_t  standard;

    value = cf->args->elts;

    n = ngx_http_nightlight_limit_off(cf, &nlcf->limits.rates,
                                      sizeof(ngx_http_nightlight_rate_t));

    if (n != NGX_DECLINED) {
        return n == NGX_OK ? NGX_CONF_OK : ngx_http_nightlight_off_error;
    }

    if (nlcf->limits.rates == NULL) {
        nlcf->limits.rates = ngx_array_create(cf->pool, 1,
                                          sizeof(ngx_http_nightlight_rate_t));
        if (nlcf->limits.rates == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    rate = ngx_array_push(nlcf->limits.rates);
    if (rate == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(rate, sizeof(ngx_http_nightlight_rate_t));
    rate->window = 10000;
    rate->rate.number = NGX_HTTP_NIGHTLIGHT_UNSET;
    standard.complex = NULL;
    standard.number = NGX_HTTP_NIGHTLIGHT_UNSET;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_nightlight_param(&value[i], "zone=", &v)) {
            rate->zone = ngx_http_nightlight_zone_ref(cf, &value[i], &v);
            if (rate->zone == NULL) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_http_nightlight_param(&value[i], "rate=", &v)) {

            if (ngx_http_nightlight_value_read(cf,
                                 &ngx_http_nightlight_rate_bounds, &v,
                                 &rate->rate)
                != NGX_CONF_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_http_nightlight_param(&value[i], "default=", &v)) {

            if (ngx_http_nightlight_value_read(cf,
                                 &ngx_http_nightlight_rate_bounds, &v,
                                 &standard)
                != NGX_CONF_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_http_nightlight_param(&value[i], "window=", &v)) {
            n = ngx_parse_time(&v, 0);

            if (n == NGX_ERROR || n < 1000
                || n > (ngx_int_t) NLT_WINDOW_MS_MAX)
            {
                return ngx_http_nightlight_param_error(cf, &value[i],
                                               "not a time from 1s to 1h");
            }

            rate->window = n;
            continue;
        }

        return ngx_http_nightlight_param_error(cf, &value[i],
                                               "unknown parameter");
    }

    if (rate->zone == NULL || !ngx_http_nightlight_value_is_set(&rate->rate))
    {
        return "needs \"zone=\" and \"rate=\"";
    }

    rate->standard = standard.number;

    return ngx_http_nightlight_limit_default(rate->rate.complex != NULL,
                                             &standard);
}


/*
 * nightlight_limit_series [zone=name] [active=N] [created=N] [default=N], or
 * off
 */

char *
ngx_http_nightlight_limit_series(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    ngx_int_t                      off;
    ngx_str_t                     *value, v;
    ngx_uint_t                     i;
    ngx_http_nightlight_value_t    standard, *what;
    ngx_http_nightlight_series_t  *series;
    ngx_http_nightlight_bounds_t  *bounds;

    value = cf->args->elts;

    off = ngx_http_nightlight_limit_off(cf, &nlcf->limits.series,
                                        sizeof(ngx_http_nightlight_series_t));

    if (off != NGX_DECLINED) {
        return off == NGX_OK ? NGX_CONF_OK : ngx_http_nightlight_off_error;
    }

    if (nlcf->limits.series == NULL) {
        nlcf->limits.series = ngx_array_create(cf->pool, 1,
                                        sizeof(ngx_http_nightlight_series_t));
        if (nlcf->limits.series == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    series = ngx_array_push(nlcf->limits.series);
    if (series == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(series, sizeof(ngx_http_nightlight_series_t));
    series->active.number = NGX_HTTP_NIGHTLIGHT_UNSET;
    series->created.number = NGX_HTTP_NIGHTLIGHT_UNSET;
    standard.complex = NULL;
    standard.number = NGX_HTTP_NIGHTLIGHT_UNSET;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_nightlight_param(&value[i], "zone=", &v)) {
            series->zone = ngx_http_nightlight_zone_ref(cf, &value[i], &v);
            if (series->zone == NULL) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        bounds = &ngx_http_nightlight_active_bounds;

        if (ngx_http_nightlight_param(&value[i], "active=", &v)) {
            what = &series->active;

        } else if (ngx_http_nightlight_param(&value[i], "created=", &v)) {
            what = &series->created;
            bounds = &ngx_http_nightlight_created_bounds;

        } else if (ngx_http_nightlight_param(&value[i], "default=", &v)) {
            what = &standard;

        } else {
            return ngx_http_nightlight_param_error(cf, &value[i],
                                                   "unknown parameter");
        }

        if (ngx_http_nightlight_value_read(cf, bounds, &v, what)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (!ngx_http_nightlight_value_is_set(&series->active)
        && !ngx_http_nightlight_value_is_set(&series->created))
    {
        return "needs \"active=\" or \"created=\"";
    }

    if (series->zone == NULL
        && ngx_http_nightlight_value_is_set(&series->created))
    {
        return "needs \"zone=\" beside \"created=\"";
    }

    series->standard = standard.number;

    return ngx_http_nightlight_limit_default(series->active.complex
                                             || series->created.complex,
                                             &standard);
}


/* nightlight_label name=value */

char *
ngx_http_nightlight_label(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    u_char                            *p;
    ngx_int_t                          off;
    ngx_str_t                         *value, v;
    ngx_uint_t                         i;
    ngx_http_nightlight_label_t       *label;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    off = ngx_http_nightlight_limit_off(cf, &nlcf->limits.labels,
                                        sizeof(ngx_http_nightlight_label_t));

    if (off != NGX_DECLINED) {
        nlcf->limits.labels_off = 1;
        return off == NGX_OK ? NGX_CONF_OK : ngx_http_nightlight_off_error;
    }
    p = (u_char *) ngx_strchr(value[1].data, '=');

    if (p == NULL || p == value[1].data) {
        return ngx_http_nightlight_param_error(cf, &value[1],
                                               "not name=value");
    }

    if (nlcf->limits.labels == NULL) {
        nlcf->limits.labels = ngx_array_create(cf->pool, 2,
                                         sizeof(ngx_http_nightlight_label_t));
        if (nlcf->limits.labels == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    v.data = value[1].data;
    v.len = p - value[1].data;

    if (!nlt_label_name_is_legacy(ngx_http_nightlight_str(&v))
        || (v.len == 8 && ngx_strncmp(v.data, "__name__", 8) == 0))
    {
        return ngx_http_nightlight_param_error(cf, &value[1],
                           "not a name of a label, [a-zA-Z_][a-zA-Z0-9_]*, "
                           "other than __name__");
    }

    label = nlcf->limits.labels->elts;

    for (i = 0; i < nlcf->limits.labels->nelts; i++) {
        if (label[i].name.len == v.len
            && ngx_strncmp(label[i].name.data, v.data, v.len) == 0)
        {
            return ngx_http_nightlight_param_error(cf, &value[1],
                                                   "duplicate name");
        }
    }

    label = ngx_array_push(nlcf->limits.labels);
    if (label == NULL) {
        return NGX_CONF_ERROR;
    }

    label->name = v;

    v.data = p + 1;
    v.len = value[1].data + value[1].len - v.data;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));
    ccv.cf = cf;
    ccv.value = &v;
    ccv.complex_value = &label->value;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


/* nightlight_drop selector ... */

char *
ngx_http_nightlight_drop(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    size_t               j, n;
    nlt_err_t            err;
    ngx_int_t            off;
    ngx_str_t           *value;
    ngx_uint_t           i;
    nlt_pool_t          *pool;
    nlt_matcher_t       *m;
    nlt_ingest_drop_t   *drop;
    ngx_pool_cleanup_t  *cln;

    value = cf->args->elts;

    off = ngx_http_nightlight_limit_off(cf, &nlcf->limits.drops,
                                        sizeof(nlt_ingest_drop_t));

    if (off != NGX_DECLINED) {
        nlcf->limits.drops_off = 1;
        return off == NGX_OK ? NGX_CONF_OK : ngx_http_nightlight_off_error;
    }

    if (nlcf->limits.drops == NULL) {
        nlcf->limits.drops = ngx_array_create(cf->pool, 2,
                                              sizeof(nlt_ingest_drop_t));
        if (nlcf->limits.drops == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 1; i < cf->args->nelts; i++) {

        cln = ngx_pool_cleanup_add(cf->pool, sizeof(nlt_pool_t));
        if (cln == NULL) {
            return NGX_CONF_ERROR;
        }

        pool = cln->data;
        nlt_pool_init(pool, &nlt_mem_libc, NGX_HTTP_NIGHTLIGHT_DROP_MEMORY);
        cln->handler = ngx_http_nightlight_drop_cleanup;

        if (nlt_pql_parse_selector(pool, ngx_http_nightlight_str(&value[i]),
                                   &m, &n, &err)
            != NLT_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "nightlight: invalid selector \"%V\": %s",
                               &value[i], err.text);
            return NGX_CONF_ERROR;
        }

        if (n == 0) {
            return ngx_http_nightlight_param_error(cf, &value[i],
                                   "a selector without matchers would drop "
                                   "everything");
        }

        for (j = 0; j < n; j++) {

            if (nlt_matcher_compile(pool, &m[j], &err) != NLT_OK) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "nightlight: invalid selector \"%V\": %s",
                                   &value[i], err.text);
                return NGX_CONF_ERROR;
            }

            cln = ngx_pool_cleanup_add(cf->pool, 0);
            if (cln == NULL) {
                nlt_matcher_release(&m[j]);
                return NGX_CONF_ERROR;
            }

            cln->handler = (ngx_pool_cleanup_pt) nlt_matcher_release;
            cln->data = &m[j];
        }

        drop = ngx_array_push(nlcf->limits.drops);
        if (drop == NULL) {
            return NGX_CONF_ERROR;
        }

        drop->matchers = m;
        drop->n = n;
        drop->text = ngx_http_nightlight_str(&value[i]);
    }

    return NGX_CONF_OK;
}


/* Cleanups run last first: the matchers are released already. */

static void
ngx_http_nightlight_drop_cleanup(void *data)
{
    nlt_pool_deinit(data);
}


/* ---- configuration ---- */

void
ngx_http_nightlight_limits_create(ngx_http_nightlight_limits_conf_t *conf)
{
    conf->dry_run = NGX_CONF_UNSET;
    conf->series_status = NGX_CONF_UNSET_UINT;
    conf->age_max = NGX_CONF_UNSET_MSEC;
    conf->future_max = NGX_CONF_UNSET_MSEC;
    conf->decoded_max.number = NGX_HTTP_NIGHTLIGHT_UNSET;
    conf->labels_max.number = NGX_HTTP_NIGHTLIGHT_UNSET;
    conf->label_name_max.number = NGX_HTTP_NIGHTLIGHT_UNSET;
    conf->label_value_max.number = NGX_HTTP_NIGHTLIGHT_UNSET;
}


/* A level's own labels come on top of the outer ones, sorted by name. */

static ngx_int_t
ngx_http_nightlight_merge_labels(ngx_conf_t *cf, ngx_array_t *prev,
    ngx_array_t **conf)
{
    ngx_uint_t                    i, j, n;
    ngx_http_nightlight_label_t  *from, *to, tmp;

    if (*conf == NULL) {
        *conf = prev;
        return NGX_OK;
    }

    n = (*conf)->nelts;
    from = prev ? prev->elts : NULL;

    for (i = 0; prev && i < prev->nelts; i++) {
        to = (*conf)->elts;

        for (j = 0; j < n; j++) {
            if (nlt_str_eq(ngx_http_nightlight_str(&to[j].name),
                           ngx_http_nightlight_str(&from[i].name)))
            {
                break;
            }
        }

        if (j < n) {
            continue;
        }

        to = ngx_array_push(*conf);
        if (to == NULL) {
            return NGX_ERROR;
        }

        *to = from[i];
    }

    to = (*conf)->elts;

    for (i = 1; i < (*conf)->nelts; i++) {
        for (j = i; j > 0; j--) {
            if (nlt_str_cmp(ngx_http_nightlight_str(&to[j - 1].name),
                            ngx_http_nightlight_str(&to[j].name)) <= 0)
            {
                break;
            }

            tmp = to[j];
            to[j] = to[j - 1];
            to[j - 1] = tmp;
        }
    }

    return NGX_OK;
}


char *
ngx_http_nightlight_limits_merge(ngx_conf_t *cf,
    ngx_http_nightlight_limits_conf_t *prev,
    ngx_http_nightlight_limits_conf_t *conf)
{
    ngx_uint_t          i;
    nlt_ingest_drop_t  *from, *to;

    ngx_conf_merge_value(conf->dry_run, prev->dry_run, 0);
    ngx_conf_merge_uint_value(conf->series_status, prev->series_status,
                              NGX_HTTP_TOO_MANY_REQUESTS);
    ngx_conf_merge_msec_value(conf->age_max, prev->age_max, 0);
    ngx_conf_merge_msec_value(conf->future_max, prev->future_max, 0);

    ngx_http_nightlight_value_merge(&conf->decoded_max, &prev->decoded_max,
                                 ngx_http_nightlight_decoded_bounds.standard);
    ngx_http_nightlight_value_merge(&conf->labels_max, &prev->labels_max,
                                  ngx_http_nightlight_labels_bounds.standard);
    ngx_http_nightlight_value_merge(&conf->label_name_max,
                              &prev->label_name_max,
                              ngx_http_nightlight_label_name_bounds.standard);
    ngx_http_nightlight_value_merge(&conf->label_value_max,
                             &prev->label_value_max,
                             ngx_http_nightlight_label_value_bounds.standard);

    if (conf->rates == NULL) {
        conf->rates = prev->rates;
    }

    if (conf->series == NULL) {
        conf->series = prev->series;
    }

    if (conf->drops == NULL) {
        conf->drops = prev->drops;

    } else if (prev->drops && !conf->drops_off) {
        from = prev->drops->elts;

        for (i = 0; i < prev->drops->nelts; i++) {
            to = ngx_array_push(conf->drops);
            if (to == NULL) {
                return NGX_CONF_ERROR;
            }

            *to = from[i];
        }
    }

    if (ngx_http_nightlight_merge_labels(cf,
                                       conf->labels_off ? NULL : prev->labels,
                                       &conf->labels)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * ngx_http_nightlight_query_limits.c - limits of one query: time, samples,
 * series, memory.
 *
 *     nightlight_query_memory 256m;              this holds
 *     nightlight_query_memory $memory dry_run;   this is tried beside it
 *
 * What is tried never refuses: core compares when the query has ended, counts
 * it, and the log names it.  Without a line that holds in the same place, that
 * of the outer level holds, or the default: trying a limit takes none away.
 */


#include "ngx_http_nightlight_query_limits.h"


static ngx_http_nightlight_bounds_t
    ngx_http_nightlight_query_bounds[NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS] =
{
    { "nightlight_query_timeout", NGX_HTTP_NIGHTLIGHT_TIME,
      1, NGX_HTTP_NIGHTLIGHT_TIME_MAX, 120000,
      "a time from 1ms to 366d", 0 },

    { "nightlight_query_max_samples", NGX_HTTP_NIGHTLIGHT_SIZE,
      1, NGX_MAX_INT_T_VALUE, 50000000,
      "a number of samples from 1 on", 0 },

    { "nightlight_query_max_series", NGX_HTTP_NIGHTLIGHT_SIZE,
      1, NGX_MAX_INT_T_VALUE, 5000000,
      "a number of series from 1 on", 0 },

    { "nightlight_query_memory", NGX_HTTP_NIGHTLIGHT_SIZE,
      64 * 1024, NGX_MAX_INT_T_VALUE / 4, 256 * 1024 * 1024,
      "a size such as 64m, 64k or more", 0 },
};


/* nightlight_query_* value [dry_run] */

char *
ngx_http_nightlight_query_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    ngx_str_t                    *arg;
    ngx_http_nightlight_value_t  *value;

    arg = cf->args->elts;
    value = &nlcf->query[cmd->offset];

    if (cf->args->nelts == 3) {

        if (ngx_strcmp(arg[2].data, "dry_run") != 0) {
            return ngx_http_nightlight_param_error(cf, &arg[2],
                                                   "unknown, not dry_run");
        }

        value = &nlcf->tried[cmd->offset];
    }

    if (ngx_http_nightlight_value_is_set(value)) {
        return "is duplicate";
    }

    return ngx_http_nightlight_value_read(cf,
                             &ngx_http_nightlight_query_bounds[cmd->offset],
                             &arg[1], value);
}


void
ngx_http_nightlight_query_limits_create(ngx_http_nightlight_loc_conf_t *conf)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS; i++) {
        conf->query[i].number = NGX_HTTP_NIGHTLIGHT_UNSET;
        conf->tried[i].number = NGX_HTTP_NIGHTLIGHT_UNSET;
    }
}


void
ngx_http_nightlight_query_limits_merge(ngx_http_nightlight_loc_conf_t *prev,
    ngx_http_nightlight_loc_conf_t *conf)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS; i++) {

        /* a limit of one's own that holds ends what the outer level tries */

        if (!ngx_http_nightlight_value_is_set(&conf->query[i])) {
            ngx_http_nightlight_value_merge(&conf->tried[i], &prev->tried[i],
                                            NGX_HTTP_NIGHTLIGHT_UNSET);
        }

        ngx_http_nightlight_value_merge(&conf->query[i], &prev->query[i],
                             ngx_http_nightlight_query_bounds[i].standard);
    }
}


void
ngx_http_nightlight_query_limits(ngx_http_request_t *r,
    ngx_http_nightlight_loc_conf_t *nlcf, nlt_api_conf_t *conf)
{
    uint64_t                       hold[NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS];
    uint64_t                       tried[NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS];
    ngx_uint_t                     i;
    ngx_http_nightlight_bounds_t  *bounds;

    for (i = 0; i < NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS; i++) {
        bounds = &ngx_http_nightlight_query_bounds[i];

        hold[i] = ngx_http_nightlight_value(r, bounds, &nlcf->query[i],
                                            bounds->standard);
        tried[i] = ngx_http_nightlight_value(r, bounds, &nlcf->tried[i], 0);
    }

    conf->timeout_ms = (int64_t) hold[NLT_QUERY_LIMIT_TIME];
    conf->samples_max = hold[NLT_QUERY_LIMIT_SAMPLES];
    conf->series_max = hold[NLT_QUERY_LIMIT_SERIES];
    conf->memory_max = (size_t) hold[NLT_QUERY_LIMIT_MEMORY];

    conf->tried.timeout_ms = (int64_t) tried[NLT_QUERY_LIMIT_TIME];
    conf->tried.samples_max = tried[NLT_QUERY_LIMIT_SAMPLES];
    conf->tried.series_max = tried[NLT_QUERY_LIMIT_SERIES];
    conf->tried.memory_max = (size_t) tried[NLT_QUERY_LIMIT_MEMORY];
}


void
ngx_http_nightlight_query_tell(ngx_http_request_t *r, nlt_api_conf_t *conf,
    const nlt_api_cost_t *cost)
{
    uint64_t    used[NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS];
    uint64_t    tried[NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS];
    ngx_uint_t  i;

    static const char  *units[] = { "ms", "samples", "series", "bytes" };

    if (cost->over_tried == 0) {
        return;
    }

    used[NLT_QUERY_LIMIT_TIME] = (uint64_t) cost->used.timeout_ms;
    used[NLT_QUERY_LIMIT_SAMPLES] = cost->used.samples_max;
    used[NLT_QUERY_LIMIT_SERIES] = cost->used.series_max;
    used[NLT_QUERY_LIMIT_MEMORY] = cost->used.memory_max;

    tried[NLT_QUERY_LIMIT_TIME] = (uint64_t) conf->tried.timeout_ms;
    tried[NLT_QUERY_LIMIT_SAMPLES] = conf->tried.samples_max;
    tried[NLT_QUERY_LIMIT_SERIES] = conf->tried.series_max;
    tried[NLT_QUERY_LIMIT_MEMORY] = conf->tried.memory_max;

    for (i = 0; i < NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS; i++) {

        if (cost->over_tried & 1u << i) {
            ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                          "nightlight: query would be refused, but for "
                          "dry_run: it took %uL %s, and \"%s\" is %uL; raise "
                          "that before it holds, or see who asks for so much",
                          used[i], units[i],
                          ngx_http_nightlight_query_bounds[i].name, tried[i]);
        }
    }
}

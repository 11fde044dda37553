
/*
 * ngx_http_nightlight_record.c - what logs tell of a request: variables for
 * the access log, and the log of slow queries.
 *
 * The record lies in the pool of the request, where it is found by the
 * address of its cleanup handler: it has to outlive jobs, contexts and
 * redirects to error pages, since nginx writes its log after all of them.
 */


#include "ngx_http_nightlight.h"


#define NGX_HTTP_NIGHTLIGHT_SLOW_LINE   8192
#define NGX_HTTP_NIGHTLIGHT_SLOW_TEXT   2048    /* of a query, in the file */
#define NGX_HTTP_NIGHTLIGHT_SLOW_ERROR  512     /* in the error log */
#define NGX_HTTP_NIGHTLIGHT_SLOW_WORD   64      /* of any other parameter */
#define NGX_HTTP_NIGHTLIGHT_SLOW_TENANT 128


#define ngx_http_nightlight_variable(name, field, kind)                       \
    { ngx_string("nightlight_" name), NULL,                                   \
      ngx_http_nightlight_variable_##kind,                                    \
      offsetof(ngx_http_nightlight_record_t, field),                          \
      NGX_HTTP_VAR_NOCACHEABLE, 0 }


static void ngx_http_nightlight_record_cleanup(void *data);
static ngx_int_t ngx_http_nightlight_variable_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_nightlight_variable_count(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_nightlight_variable_ms(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_nightlight_variables[] = {

    ngx_http_nightlight_variable("store", store, text),
    ngx_http_nightlight_variable("tenant", tenant, text),
    ngx_http_nightlight_variable("outcome", outcome, text),
    ngx_http_nightlight_variable("samples", samples, count),
    ngx_http_nightlight_variable("series", series, count),
    ngx_http_nightlight_variable("decoded_bytes", decoded, count),
    ngx_http_nightlight_variable("samples_read", read, count),
    ngx_http_nightlight_variable("query_memory", memory, count),
    ngx_http_nightlight_variable("query_ms", busy_ns, ms),
    ngx_http_nightlight_variable("queue_ms", queue_ns, ms),
    ngx_http_nightlight_variable("cancelled", cancelled, count),

      ngx_http_null_variable
};


ngx_int_t
ngx_http_nightlight_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_nightlight_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static void
ngx_http_nightlight_record_cleanup(void *data)
{
    /* its address is what a record is known by */
}


static ngx_http_nightlight_record_t *
ngx_http_nightlight_record_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_nightlight_record_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


ngx_http_nightlight_record_t *
ngx_http_nightlight_record(ngx_http_request_t *r)
{
    ngx_uint_t                       i;
    ngx_pool_cleanup_t              *cln;
    ngx_http_nightlight_record_t    *rec;
    ngx_http_nightlight_loc_conf_t  *nlcf;

    rec = ngx_http_nightlight_record_find(r);
    if (rec) {
        return rec;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_nightlight_record_t));
    if (cln == NULL) {
        return NULL;
    }

    nlcf = ngx_http_get_module_loc_conf(r, ngx_http_nightlight_module);

    rec = cln->data;
    ngx_memzero(rec, sizeof(ngx_http_nightlight_record_t));

    uint64_t  *counts[] = { &rec->samples, &rec->series, &rec->decoded,
                            &rec->read, &rec->memory, &rec->queue_ns,
                            &rec->busy_ns };

    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        *counts[i] = NGX_HTTP_NIGHTLIGHT_UNKNOWN;
    }

    rec->store = nlcf->store->name;

    cln->handler = ngx_http_nightlight_record_cleanup;

    return rec;
}


void
ngx_http_nightlight_record_outcome(ngx_http_nightlight_record_t *rec,
    const char *outcome)
{
    if (rec) {
        rec->outcome.data = (u_char *) outcome;
        rec->outcome.len = ngx_strlen(outcome);
    }
}


/* ---- variables ---- */

static ngx_int_t
ngx_http_nightlight_variable_set(ngx_http_variable_value_t *v, u_char *data,
    size_t len)
{
    v->len = (unsigned) len;
    v->data = data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_nightlight_variable_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                     *s;
    ngx_http_nightlight_record_t  *rec;

    rec = ngx_http_nightlight_record_find(r);
    s = rec ? (ngx_str_t *) ((u_char *) rec + data) : NULL;

    if (s == NULL || s->data == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_nightlight_variable_set(v, s->data, s->len);
}


static ngx_int_t
ngx_http_nightlight_variable_count(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                        *p;
    uint64_t                       n;
    ngx_http_nightlight_record_t  *rec;

    rec = ngx_http_nightlight_record_find(r);
    n = rec ? *(uint64_t *) ((u_char *) rec + data)
            : NGX_HTTP_NIGHTLIGHT_UNKNOWN;

    if (n == NGX_HTTP_NIGHTLIGHT_UNKNOWN) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_nightlight_variable_set(v, p,
                                            ngx_sprintf(p, "%uL", n) - p);
}


/* Milliseconds with three digits behind the point. */

static ngx_int_t
ngx_http_nightlight_variable_ms(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                        *p, *last;
    uint64_t                       ns;
    ngx_http_nightlight_record_t  *rec;

    rec = ngx_http_nightlight_record_find(r);
    ns = rec ? *(uint64_t *) ((u_char *) rec + data)
             : NGX_HTTP_NIGHTLIGHT_UNKNOWN;

    if (ns == NGX_HTTP_NIGHTLIGHT_UNKNOWN) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN + 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_sprintf(p, "%uL.%03uL", ns / 1000000, ns / 1000 % 1000);

    return ngx_http_nightlight_variable_set(v, p, last - p);
}


/* ---- slow queries ---- */

/* nightlight_slow_query time [path] | off */

char *
ngx_http_nightlight_slow(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (nlcf->slow != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        nlcf->slow = NGX_HTTP_NIGHTLIGHT_SLOW_OFF;
        return NGX_CONF_OK;
    }

    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR) {
        return ngx_http_nightlight_param_error(cf, &value[1],
                                        "not a time such as 5s or \"off\"");
    }

    nlcf->slow = n;

    if (cf->args->nelts == 3) {

        if (ngx_strlchr(value[2].data, value[2].data + value[2].len, '$')) {
            return ngx_http_nightlight_param_error(cf, &value[2],
                                                   "variables cannot be used");
        }

        nlcf->slow_file = ngx_conf_open_file(cf->cycle, &value[2]);
        if (nlcf->slow_file == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/*
 * At most max bytes of s, in quotes, so that a line stays one: what is not
 * printable is \xXX, and "..." says that there was more.
 */

static u_char *
ngx_http_nightlight_slow_quote(u_char *p, u_char *last, nlt_str_t s,
    size_t max)
{
    size_t  i;
    u_char  c;

    *p++ = '"';

    for (i = 0; i < s.len && i < max && last - p > 16; i++) {
        c = (u_char) s.data[i];

        if (c < 0x20 || c == 0x7f) {
            p = ngx_sprintf(p, "\\x%02Xd", (ngx_int_t) c);
            continue;
        }

        if (c == '"' || c == '\\') {
            *p++ = '\\';
        }

        *p++ = c;
    }

    if (i < s.len) {
        p = ngx_cpymem(p, "...", 3);
    }

    *p++ = '"';

    return p;
}


static u_char *
ngx_http_nightlight_slow_params(u_char *p, u_char *last, const nlt_api_t *api,
    size_t max)
{
    size_t       i;
    nlt_str_t    value;

    static const struct {
        const char  *param;
        const char  *key;
    } names[] = {
        { "query", "query" },
        { "match[]", "match" },
        { "time", "time" },
        { "start", "start" },
        { "end", "end" },
        { "step", "step" }
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {

        value = nlt_api_request_param(api, names[i].param);

        if (value.data) {
            p = ngx_slprintf(p, last, " %s=", names[i].key);

            /* times would do with less, but are whatever a client sends */

            p = ngx_http_nightlight_slow_quote(p, last, value,
                               i < 2 ? max : NGX_HTTP_NIGHTLIGHT_SLOW_WORD);
        }
    }

    return p;
}


void
ngx_http_nightlight_slow_query(ngx_http_request_t *r, nlt_api_t *api,
    const nlt_api_cost_t *cost)
{
    size_t                           max;
    int64_t                          ms;
    u_char                          *p, *last;
    u_char                           line[NGX_HTTP_NIGHTLIGHT_SLOW_LINE];
    ngx_str_t                        suffix;
    ngx_http_nightlight_record_t    *rec;
    ngx_http_nightlight_loc_conf_t  *nlcf;

    nlcf = ngx_http_get_module_loc_conf(r, ngx_http_nightlight_module);

    ms = (cost->queue_ns + cost->busy_ns) / 1000000;

    if (nlcf->slow == NGX_HTTP_NIGHTLIGHT_SLOW_OFF
        || ms < (int64_t) nlcf->slow || !nlt_api_is_counted(api))
    {
        return;
    }

    nlt_api_count_slow(api);

    rec = ngx_http_nightlight_record(r);
    suffix = ngx_http_nightlight_suffix(r);

    p = line;
    last = line + sizeof(line) - 1;
    max = NGX_HTTP_NIGHTLIGHT_SLOW_ERROR;

    if (nlcf->slow_file) {
        p = ngx_slprintf(p, last, "%V client=%V ",
                         &ngx_cached_http_log_iso8601,
                         &r->connection->addr_text);
        max = NGX_HTTP_NIGHTLIGHT_SLOW_TEXT;
    }

    p = ngx_slprintf(p, last, "seconds=%L.%03L queue=%L.%03L outcome=%s "
                     "samples=%uL series=%uL memory=%uL store=%V",
                     ms / 1000, ms % 1000, cost->queue_ns / 1000000000,
                     cost->queue_ns / 1000000 % 1000,
                     nlt_outcome_text(cost->outcome), cost->samples_read,
                     cost->series_read, cost->memory_bytes,
                     &nlcf->store->name);

    if (rec && rec->tenant.data) {
        p = ngx_slprintf(p, last, " tenant=");
        p = ngx_http_nightlight_slow_quote(p, last,
                                      ngx_http_nightlight_str(&rec->tenant),
                                      NGX_HTTP_NIGHTLIGHT_SLOW_TENANT);
    }

    p = ngx_slprintf(p, last, " path=");
    p = ngx_http_nightlight_slow_quote(p, last,
                                       ngx_http_nightlight_str(&suffix),
                                       NGX_HTTP_NIGHTLIGHT_SLOW_WORD);

    p = ngx_http_nightlight_slow_params(p, last, api, max);

    if (nlcf->slow_file == NULL) {
        /* tidy: allow logs, a record: what to do is up to who reads it */
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "nightlight: slow query: %*s", p - line, line);
        return;
    }

    *p++ = LF;

    if (ngx_write_fd(nlcf->slow_file->fd, line, p - line) != p - line) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, ngx_errno,
                      "nightlight: cannot write to the log of slow queries "
                      "\"%V\"; make room, or see to its permissions",
                      &nlcf->slow_file->name);
    }
}


/*
 * ngx_http_nightlight_store.c - the stores that this process has open.
 *
 * One runtime per path, for the life of the process.  A store that is not
 * ready (no head yet, WAL replay going on) is ticked often, a ready one once
 * a second.  All timers are cancelable: a worker that shuts down does not
 * wait for them.
 */


#include "ngx_http_nightlight.h"


#define NGX_HTTP_NIGHTLIGHT_TICK_NOT_READY   50
#define NGX_HTTP_NIGHTLIGHT_TICK_READY       1000

#define NGX_HTTP_NIGHTLIGHT_TRIM             (16 * 1024 * 1024)
#define NGX_HTTP_NIGHTLIGHT_KEEP             (64 * 1024 * 1024)


static void ngx_http_nightlight_env_log(void *ctx, nlt_log_level_t level,
    const char *text, size_t len);
static int64_t ngx_http_nightlight_env_now(void *ctx);
static int64_t ngx_http_nightlight_env_mono(void *ctx);
static ngx_http_nightlight_runtime_t *ngx_http_nightlight_runtime_find(
    ngx_http_nightlight_store_t *store);
static void ngx_http_nightlight_store_tick(ngx_event_t *ev);
static void ngx_http_nightlight_self_tick(ngx_event_t *ev);


/*
 * Under AddressSanitizer large pieces are malloc()ed too, or it would not see
 * who uses them when they are gone.
 */

#if (__SANITIZE_ADDRESS__)

#define ngx_http_nightlight_mem  nlt_mem_libc

#else

static nlt_chunks_t  ngx_http_nightlight_chunks =
    NLT_CHUNKS_INIT(&nlt_mem_libc, NGX_HTTP_NIGHTLIGHT_KEEP);

static const nlt_mem_t  ngx_http_nightlight_mem = {
    nlt_chunks_alloc, nlt_chunks_free, &ngx_http_nightlight_chunks
};

#endif


const nlt_env_t  ngx_http_nightlight_env = {
    &ngx_http_nightlight_mem,
    &nlt_io_posix,
    ngx_http_nightlight_env_now,
    ngx_http_nightlight_env_mono,
    ngx_http_nightlight_env_log,
    NULL
};


static ngx_http_nightlight_runtime_t  *ngx_http_nightlight_runtimes;


static void
ngx_http_nightlight_env_log(void *ctx, nlt_log_level_t level, const char *text,
    size_t len)
{
    static const ngx_uint_t  levels[] = {
        NGX_LOG_ALERT, NGX_LOG_CRIT, NGX_LOG_ERR, NGX_LOG_WARN,
        NGX_LOG_NOTICE, NGX_LOG_INFO, NGX_LOG_DEBUG
    };

    /*
     * The cache manager's event loop sleeps for an hour, and the time of log
     * lines is as old as its last round.
     */

    if (ngx_process == NGX_PROCESS_HELPER) {
        ngx_time_update();
    }

    if (level == NLT_LOG_DEBUG) {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "nightlight: %*s", len, text);
        return;
    }

    /* tidy: allow logs, nlt_log_todo() has been asked */
    ngx_log_error(levels[level], ngx_cycle->log, 0,
                  "nightlight: store \"%s\": %*s", ctx ? (char *) ctx : "-",
                  len, text);
}


void
ngx_http_nightlight_env_init(nlt_env_t *env, const char *path)
{
    *env = ngx_http_nightlight_env;
    env->ctx = (void *) path;
}


static int64_t
ngx_http_nightlight_env_now(void *ctx)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static int64_t
ngx_http_nightlight_env_mono(void *ctx)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


/* A copy in one piece: the array, then the names. */

static nlt_tenant_keep_t *
ngx_http_nightlight_keeps_copy(ngx_array_t *keeps)
{
    char               *p;
    size_t              size;
    ngx_uint_t          i;
    nlt_tenant_keep_t  *keep, *copy;

    keep = keeps->elts;
    size = keeps->nelts * sizeof(nlt_tenant_keep_t);

    for (i = 0; i < keeps->nelts; i++) {
        size += keep[i].name.len;
    }

    copy = ngx_alloc(size, ngx_cycle->log);
    if (copy == NULL) {
        return NULL;
    }

    p = (char *) (copy + keeps->nelts);

    for (i = 0; i < keeps->nelts; i++) {
        copy[i].ms = keep[i].ms;
        copy[i].name.len = keep[i].name.len;
        copy[i].name.data = p;

        p = (char *) ngx_cpymem(p, keep[i].name.data, keep[i].name.len);
    }

    return copy;
}


ngx_int_t
ngx_http_nightlight_store_conf(ngx_http_nightlight_store_t *store,
    nlt_store_conf_t *conf)
{
    ngx_memzero(conf, sizeof(nlt_store_conf_t));

    conf->path = (const char *) store->path.data;
    conf->head_path = (const char *) store->head.data;
    conf->memory_bytes = (uint64_t) store->memory;
    conf->retention_ms = (int64_t) store->retention * 1000;
    conf->retention_bytes = (uint64_t) store->retention_size;
    conf->min_free_bytes = (uint64_t) store->min_free;
    conf->wal_sync_ms = store->wal_sync;
    conf->dense = store->dense;
    conf->exemplar_bytes = (uint64_t) store->exemplars;
    conf->tenants = (uint32_t) store->tenants;
    conf->arena_age_ms = NLT_BORDER_MS;

    /* the configuration's pool goes with its cycle, who has this does not */

    if (store->keeps) {
        conf->tenant_keeps = ngx_http_nightlight_keeps_copy(store->keeps);
        if (conf->tenant_keeps == NULL) {
            return NGX_ERROR;
        }

        conf->n_tenant_keeps = store->keeps->nelts;
    }

    return NGX_OK;
}


static char *
ngx_http_nightlight_strdup(const char *s)
{
    char    *p;
    size_t   len;

    len = ngx_strlen(s) + 1;

    p = ngx_alloc(len, ngx_cycle->log);
    if (p) {
        ngx_memcpy(p, s, len);
    }

    return p;
}


static ngx_http_nightlight_runtime_t *
ngx_http_nightlight_runtime_find(ngx_http_nightlight_store_t *store)
{
    ngx_http_nightlight_runtime_t  *rt;

    for (rt = ngx_http_nightlight_runtimes; rt; rt = rt->next) {
        if (ngx_strcmp(rt->conf.path, store->path.data) == 0) {
            return rt;
        }
    }

    rt = ngx_calloc(sizeof(ngx_http_nightlight_runtime_t), ngx_cycle->log);
    if (rt == NULL) {
        return NULL;
    }

    if (ngx_http_nightlight_store_conf(store, &rt->conf) != NGX_OK) {
        ngx_free(rt);
        return NULL;
    }

    /* the configuration's pool goes with its cycle, the runtime does not */

    rt->conf.path = ngx_http_nightlight_strdup(rt->conf.path);
    rt->conf.head_path = ngx_http_nightlight_strdup(rt->conf.head_path);

    if (rt->conf.path == NULL || rt->conf.head_path == NULL) {
        ngx_free((void *) rt->conf.path);
        ngx_free((void *) rt->conf.head_path);
        ngx_free((void *) rt->conf.tenant_keeps);
        ngx_free(rt);
        return NULL;
    }

    ngx_http_nightlight_env_init(&rt->env, rt->conf.path);

    rt->timer.handler = ngx_http_nightlight_store_tick;
    rt->timer.data = rt;
    rt->timer.log = ngx_cycle->log;
    rt->timer.cancelable = 1;

    rt->self.handler = ngx_http_nightlight_self_tick;
    rt->self.data = rt;
    rt->self.log = ngx_cycle->log;
    rt->self.cancelable = 1;

    rt->next = ngx_http_nightlight_runtimes;
    ngx_http_nightlight_runtimes = rt;

    ngx_http_nightlight_store_tick(&rt->timer);

    return rt;
}


static void
ngx_http_nightlight_runtime_open(ngx_http_nightlight_runtime_t *rt)
{
    nlt_err_t  err;

    if (nlt_store_prepare_dir(&rt->env, &rt->conf, &err) != NLT_OK
        || nlt_store_open(&rt->env, &rt->conf, NLT_ROLE_WORKER, &rt->store,
                          &err)
            != NLT_OK)
    {
        rt->store = NULL;

        /* said once for each new reason, not once a tick */

        if (ngx_strcmp(rt->err.text, err.text) != 0) {
            rt->err = err;
            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                          "nightlight: cannot open store \"%s\": %s; %s",
                          rt->conf.path, err.text, nlt_rc_todo(err.rc));
        }
    }
}


/* Gives memory back that queries have left, once a second. */

void
ngx_http_nightlight_mem_trim(size_t size)
{
#if !(__SANITIZE_ADDRESS__)

    int64_t         now;
    static int64_t  last;

    now = nlt_mono_ns(&ngx_http_nightlight_env);

    if (now - __atomic_load_n(&last, __ATOMIC_RELAXED) < 900000000) {
        return;
    }

    __atomic_store_n(&last, now, __ATOMIC_RELAXED);

    nlt_chunks_trim(&ngx_http_nightlight_chunks, size);

#endif
}


static void
ngx_http_nightlight_store_tick(ngx_event_t *ev)
{
    ngx_msec_t                      next;
    nlt_store_status_t              status;
    ngx_http_nightlight_runtime_t  *rt = ev->data;

    if (rt->store == NULL) {
        ngx_http_nightlight_runtime_open(rt);
    }

    next = NGX_HTTP_NIGHTLIGHT_TICK_READY;

    rt->ticked = ngx_current_msec;

    ngx_http_nightlight_mem_trim(NGX_HTTP_NIGHTLIGHT_TRIM);

    if (rt->store) {
        nlt_store_tick(rt->store);
        rt->load.t_config_ms = ngx_http_nightlight_server.t_config_ms;
        nlt_store_set_load(rt->store, &rt->load);
        nlt_store_status(rt->store, &status);

        rt->ready = status.ready;

        if (!status.ready) {
            next = NGX_HTTP_NIGHTLIGHT_TICK_NOT_READY;
        }
    }

    /* also while the worker shuts down: its last requests need it */

    ngx_add_timer(ev, next);
}


nlt_store_t *
ngx_http_nightlight_store_get(ngx_http_nightlight_store_t *store)
{
    ngx_http_nightlight_runtime_t  *rt;

    if (store->runtime == NULL) {
        store->runtime = ngx_http_nightlight_runtime_find(store);
    }

    rt = store->runtime;

    if (rt == NULL) {
        return NULL;
    }

    /*
     * Workers attach each at its own tick.  Who was told "ready" by one of
     * them must not meet another one that has not looked yet.
     */

    if (!rt->ready && rt->store && rt->ticked != ngx_current_msec) {
        ngx_http_nightlight_store_tick(&rt->timer);
    }

    return rt->store;
}


void
ngx_http_nightlight_store_init_process(ngx_cycle_t *cycle,
    ngx_http_nightlight_main_conf_t *nmcf)
{
    ngx_uint_t                       i;
    ngx_http_nightlight_store_t    **store;
    ngx_http_nightlight_runtime_t   *rt;

    store = nmcf->stores.elts;

    for (i = 0; i < nmcf->stores.nelts; i++) {

        (void) ngx_http_nightlight_store_get(store[i]);
        rt = store[i]->runtime;

        if (rt == NULL || store[i]->self == 0 || ngx_worker != 0) {
            continue;
        }

        rt->self_interval = store[i]->self;
        rt->instance = store[i]->instance;

        ngx_add_timer(&rt->self, 100);
    }
}


void
ngx_http_nightlight_store_exit_process(void)
{
    ngx_http_nightlight_runtime_t  *rt, *next;

    for (rt = ngx_http_nightlight_runtimes; rt; rt = next) {
        next = rt->next;

        if (rt->timer.timer_set) {
            ngx_del_timer(&rt->timer);
        }

        if (rt->self.timer_set) {
            ngx_del_timer(&rt->self);
        }

        if (rt->store) {
            nlt_store_close(rt->store);
        }

        ngx_free((void *) rt->conf.path);
        ngx_free((void *) rt->conf.head_path);
        ngx_free((void *) rt->conf.tenant_keeps);
        ngx_free(rt);
    }

    ngx_http_nightlight_runtimes = NULL;
}


void
ngx_http_nightlight_conn(nlt_self_conn_t *conn)
{
    ngx_core_conf_t  *ccf;

    ngx_memzero(conn, sizeof(nlt_self_conn_t));

#if (NGX_STAT_STUB)
    conn->accepted = *ngx_stat_accepted;
    conn->handled = *ngx_stat_handled;
    conn->active = *ngx_stat_active;
    conn->requests = *ngx_stat_requests;
    conn->reading = *ngx_stat_reading;
    conn->writing = *ngx_stat_writing;
    conn->waiting = *ngx_stat_waiting;
#endif

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);
    conn->workers = ngx_process == NGX_PROCESS_SINGLE
                    ? 1 : (uint64_t) ccf->worker_processes;
    conn->t_start_ms = ngx_http_nightlight_server.t_start_ms;
    conn->t_config_ms = ngx_http_nightlight_server.t_config_ms;
    conn->server_version = NGINX_VERSION;
}


static void
ngx_http_nightlight_self_tick(ngx_event_t *ev)
{
    nlt_err_t                       err;
    nlt_rc_t                        rc;
    ngx_msec_t                      next;
    nlt_self_conn_t                 conn;
    ngx_http_nightlight_runtime_t  *rt = ev->data;

    /* the worker that takes over after a reload writes on */

    if (ngx_exiting) {
        return;
    }

    next = rt->self_interval;
    rc = NLT_ENOTREADY;

    if (rt->store) {
        ngx_http_nightlight_conn(&conn);

        rc = nlt_self_write(rt->store, &rt->env,
                            (nlt_str_t) { rt->instance.len,
                                          (char *) rt->instance.data },
                            0, &conn, &err);
    }

    if (rc == NLT_ENOTREADY) {
        next = ngx_min(next, 100);

    } else if (rc != NLT_OK
               && ngx_current_msec - rt->self_warned > 60000)
    {
        rt->self_warned = ngx_current_msec;
        ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                      "nightlight: own metrics not written to store \"%s\": "
                      "%s; %s", rt->conf.path, err.text, nlt_rc_todo(rc));
    }

    ngx_add_timer(ev, next);
}

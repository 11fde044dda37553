
/*
 * ngx_http_nightlight_helper.c - the helper process.
 *
 * nginx's cache manager process calls ngx_http_nightlight_manager() because
 * the store's directory is registered as a path with a manager.  The process
 * is shared with proxy_cache, so the callback only starts one thread per
 * store, once, and then sleeps; the thread drives nlt_helper_step().
 *
 * Signals are blocked in the thread: nginx's handlers must run in the main
 * thread.  Two helpers may exist at once (reload, USR2): the lease inside
 * nlt_helper_open() lets one work, the other announces itself and asks again
 * and again.
 *
 * The process leaves by exit(), without exit_process, so an atexit() handler
 * ends the threads.  One that is awaited by a newer helper finishes its step,
 * or reloads faster than a flush would keep all flushes from their end; one
 * that is not is cancelled, and what it was at is done again by the next
 * helper, whenever that comes.
 */


#include "ngx_http_nightlight.h"

#include <pthread.h>
#include <signal.h>


#define NGX_HTTP_NIGHTLIGHT_LEASE_RETRY   50      /* ms */
#define NGX_HTTP_NIGHTLIGHT_OPEN_RETRY    1000
#define NGX_HTTP_NIGHTLIGHT_IDLE          3600000

/*
 * A new helper is forked 100 ms before the old one is told to leave, and may
 * need longer than that to announce itself.
 */

#define NGX_HTTP_NIGHTLIGHT_SUCCESSOR     400     /* ms without one: cancel */
#define NGX_HTTP_NIGHTLIGHT_HANDOVER      600000  /* a step that hangs */
#define NGX_HTTP_NIGHTLIGHT_LOOK          50


typedef struct ngx_http_nightlight_thread_s  ngx_http_nightlight_thread_t;

struct ngx_http_nightlight_thread_s {
    ngx_http_nightlight_thread_t    *next;
    nlt_store_conf_t                 conf;
    nlt_env_t                        env;        /* logs conf.path */
    pthread_t                        tid;
    pthread_cond_t                   wakeup;
    int                              waits;      /* fd: for the lease, or -1 */
    int                              cancel;     /* the step is to end */
    pthread_mutex_t                  mutex;      /* of what follows */
    nlt_helper_t                    *helper;     /* NULL: has not the lease */
    unsigned                         leaving:1;  /* no step is to begin */
    unsigned                         ended:1;
    char                             last_error[NLT_ERR_TEXT_MAX];
};


static void *ngx_http_nightlight_thread(void *data);
static nlt_helper_t *ngx_http_nightlight_thread_open(
    ngx_http_nightlight_thread_t *t, int64_t *wait);
static void ngx_http_nightlight_thread_await(ngx_http_nightlight_thread_t *t,
    int64_t start);
static void ngx_http_nightlight_thread_wait(ngx_http_nightlight_thread_t *t,
    int64_t ms);


static ngx_http_nightlight_thread_t  *ngx_http_nightlight_threads;


ngx_msec_t
ngx_http_nightlight_manager(void *data)
{
    ngx_http_nightlight_store_t *store = data;

    if (ngx_http_nightlight_helper_start(store) != NGX_OK) {
        return NGX_HTTP_NIGHTLIGHT_OPEN_RETRY;
    }

    return NGX_HTTP_NIGHTLIGHT_IDLE;
}


ngx_int_t
ngx_http_nightlight_helper_start(ngx_http_nightlight_store_t *store)
{
    int                            err;
    sigset_t                       set, old;
    pthread_condattr_t             attr;
    ngx_http_nightlight_thread_t  *t;

    for (t = ngx_http_nightlight_threads; t; t = t->next) {
        if (ngx_strcmp(t->conf.path, store->path.data) == 0) {
            return NGX_OK;
        }
    }

    t = ngx_calloc(sizeof(ngx_http_nightlight_thread_t), ngx_cycle->log);
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->waits = -1;

    if (ngx_http_nightlight_store_conf(store, &t->conf) != NGX_OK) {
        ngx_free(t);
        return NGX_ERROR;
    }

    t->conf.path = strdup(t->conf.path);
    t->conf.head_path = strdup(t->conf.head_path);

    if (t->conf.path == NULL || t->conf.head_path == NULL) {
        err = NGX_ENOMEM;
        goto failed;
    }

    ngx_http_nightlight_env_init(&t->env, t->conf.path);

    (void) pthread_mutex_init(&t->mutex, NULL);
    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&t->wakeup, &attr);
    (void) pthread_condattr_destroy(&attr);

    (void) sigfillset(&set);
    (void) pthread_sigmask(SIG_BLOCK, &set, &old);

    err = pthread_create(&t->tid, NULL, ngx_http_nightlight_thread, t);

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (err) {
        goto failed;
    }

    if (ngx_http_nightlight_threads == NULL) {
        (void) atexit(ngx_http_nightlight_helper_stop);
    }

    t->next = ngx_http_nightlight_threads;
    ngx_http_nightlight_threads = t;

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, err,
                  "nightlight: cannot start the helper thread of store "
                  "\"%V\", which is tried again; raise the limits of threads "
                  "and memory of nginx", &store->name);

    free((void *) t->conf.path);
    free((void *) t->conf.head_path);
    ngx_free((void *) t->conf.tenant_keeps);
    ngx_free(t);

    return NGX_ERROR;
}


void
ngx_http_nightlight_helper_stop(void)
{
    int64_t                        start;
    ngx_http_nightlight_thread_t  *t, *next;

    for (t = ngx_http_nightlight_threads; t; t = t->next) {
        (void) pthread_mutex_lock(&t->mutex);
        t->leaving = 1;
        (void) pthread_cond_signal(&t->wakeup);
        (void) pthread_mutex_unlock(&t->mutex);
    }

    start = nlt_mono_ns(&ngx_http_nightlight_env);

    for (t = ngx_http_nightlight_threads; t; t = next) {
        next = t->next;

        ngx_http_nightlight_thread_await(t, start);

        (void) pthread_join(t->tid, NULL);
        (void) pthread_cond_destroy(&t->wakeup);
        (void) pthread_mutex_destroy(&t->mutex);

        free((void *) t->conf.path);
        free((void *) t->conf.head_path);
        ngx_free((void *) t->conf.tenant_keeps);
        ngx_free(t);
    }

    ngx_http_nightlight_threads = NULL;
}


/*
 * Until the thread has ended, or there is no reason to wait.  TERM comes as a
 * signal, if at all: nobody reads the channel to the master any more.  But
 * when nginx stops, the newer helper goes at once, and is not seen any more.
 */

static void
ngx_http_nightlight_thread_await(ngx_http_nightlight_thread_t *t,
    int64_t start)
{
    int64_t  now, seen;

    seen = start;

    (void) pthread_mutex_lock(&t->mutex);

    while (!t->ended) {

        now = nlt_mono_ns(&ngx_http_nightlight_env);

        if (t->helper && nlt_helper_is_awaited(t->helper)) {
            seen = now;
        }

        if (ngx_terminate
            || now - seen > NGX_HTTP_NIGHTLIGHT_SUCCESSOR * 1000000LL
            || now - start > NGX_HTTP_NIGHTLIGHT_HANDOVER * 1000000LL)
        {
            __atomic_store_n(&t->cancel, 1, __ATOMIC_RELEASE);
            break;
        }

        ngx_http_nightlight_thread_wait(t, NGX_HTTP_NIGHTLIGHT_LOOK);
    }

    (void) pthread_mutex_unlock(&t->mutex);
}


static void *
ngx_http_nightlight_thread(void *data)
{
    ngx_http_nightlight_thread_t *t = data;

    int64_t        wait;
    nlt_helper_t  *helper;

    wait = 0;
    helper = NULL;

    (void) pthread_mutex_lock(&t->mutex);

    for ( ;; ) {

        t->helper = helper;

        if (t->leaving
            && (t->cancel || helper == NULL
                || !nlt_helper_is_recovering(helper)))
        {
            break;
        }

        if (wait > 0) {
            ngx_http_nightlight_thread_wait(t, wait);
            wait = 0;
            continue;
        }

        (void) pthread_mutex_unlock(&t->mutex);

        if (helper) {
            wait = nlt_helper_step(helper, &t->cancel);

            if (wait > 0) {
                ngx_http_nightlight_mem_trim(NGX_MAX_SIZE_T_VALUE);
            }

        } else {
            helper = ngx_http_nightlight_thread_open(t, &wait);
        }

        (void) pthread_mutex_lock(&t->mutex);
    }

    t->helper = NULL;

    (void) pthread_mutex_unlock(&t->mutex);

    nlt_helper_close(helper);
    nlt_helper_withdraw(&t->env, t->waits);

    (void) pthread_mutex_lock(&t->mutex);
    t->ended = 1;
    (void) pthread_cond_signal(&t->wakeup);
    (void) pthread_mutex_unlock(&t->mutex);

    return NULL;
}


/* The helper with the lease, or NULL: try again after *wait ms. */

static nlt_helper_t *
ngx_http_nightlight_thread_open(ngx_http_nightlight_thread_t *t, int64_t *wait)
{
    nlt_rc_t       rc;
    nlt_err_t      err;
    ngx_uint_t     level;
    nlt_helper_t  *helper;

    helper = NULL;

    rc = nlt_store_prepare_dir(&t->env, &t->conf, &err);

    if (rc == NLT_OK) {
        rc = nlt_helper_open(&t->env, &t->conf, &helper, &err);
    }

    if (rc == NLT_OK) {
        nlt_helper_withdraw(&t->env, t->waits);
        t->waits = -1;
        *wait = 0;
        return helper;
    }

    if (rc == NLT_AGAIN) {
        *wait = NGX_HTTP_NIGHTLIGHT_LEASE_RETRY;

        if (t->waits != -1) {
            return NULL;
        }

        rc = nlt_helper_announce(&t->env, &t->conf, &t->waits, &err);

        if (rc == NLT_OK || rc == NLT_AGAIN) {
            return NULL;
        }
    }

    *wait = NGX_HTTP_NIGHTLIGHT_OPEN_RETRY;

    if (ngx_strcmp(t->last_error, err.text) != 0) {
        ngx_cpystrn((u_char *) t->last_error, (u_char *) err.text,
                    NLT_ERR_TEXT_MAX);
        level = (rc == NLT_ENOTREADY) ? NGX_LOG_WARN : NGX_LOG_CRIT;

        ngx_log_error(level, ngx_cycle->log, 0,
                      "nightlight: helper of store \"%s\": %s; %s",
                      t->conf.path, err.text, nlt_rc_todo(rc));
    }

    return NULL;
}


/* Waits for a signal from the other thread, with the mutex. */

static void
ngx_http_nightlight_thread_wait(ngx_http_nightlight_thread_t *t, int64_t ms)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    ts.tv_sec += (time_t) (ms / 1000);
    ts.tv_nsec += (long) (ms % 1000) * 1000000;

    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }

    (void) pthread_cond_timedwait(&t->wakeup, &t->mutex, &ts);
}

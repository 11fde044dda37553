
/*
 * ngx_http_nightlight_queue.c - whose turn it is: jobs before their threads.
 *
 * No more jobs of a worker run at once than the machine has cores, and one.
 * The others wait, those of each key in a queue of its own; a key is a tenant
 * of a store, or what key= of nightlight_query_concurrency says.  Keys that
 * have somebody waiting take turns, whatever the length of their queues, and
 * none has more jobs in threads than its limit:
 *
 *     turns:   a ------> b ------> c          a: 1 runs of 1: skipped
 *              |         |         |          b: its first one is next,
 *            3 jobs    1 job    500 jobs         then b goes behind c
 *
 * So who asks for little waits for a thread to become free, never for the
 * queue of another.  A key is there as long as one of its jobs is.  All of it
 * belongs to the event loop.
 */


#include "ngx_http_nightlight_job.h"
#include "ngx_http_nightlight_query_limits.h"


#define NGX_HTTP_NIGHTLIGHT_QUEUE_MAX    2048
#define NGX_HTTP_NIGHTLIGHT_QUEUE_BYTES  (64 * 1024 * 1024)
#define NGX_HTTP_NIGHTLIGHT_RETRY        100     /* ms */


struct ngx_http_nightlight_key_s {
    ngx_str_node_t                   sn;         /* by name */
    ngx_queue_t                      turn;       /* if anybody waits */
    ngx_queue_t                      waiting;    /* jobs */
    ngx_uint_t                       n_waiting;
    ngx_uint_t                       n_running;
    ngx_uint_t                       n_jobs;     /* that name it */
};


static void ngx_http_nightlight_queue_next(void);
static void ngx_http_nightlight_queue_retry(ngx_event_t *ev);


static ngx_rbtree_t       ngx_http_nightlight_keys;
static ngx_rbtree_node_t  ngx_http_nightlight_keys_sentinel;
static ngx_queue_t        ngx_http_nightlight_turns;
static ngx_queue_t        ngx_http_nightlight_running;
static ngx_uint_t         ngx_http_nightlight_n_waiting;
static ngx_uint_t         ngx_http_nightlight_n_running;
static size_t             ngx_http_nightlight_waiting_size;
static ngx_event_t        ngx_http_nightlight_retry;


/* nightlight_query_concurrency number [queue=number] [key=value] [dry_run] */

char *
ngx_http_nightlight_concurrency(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    ngx_int_t                          n;
    ngx_str_t                         *value, v;
    ngx_uint_t                         i;
    ngx_http_compile_complex_value_t   ccv;

    if (nlcf->running_max != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n == 0) {
        return ngx_http_nightlight_param_error(cf, &value[1],
                                               "not a number from 1 on");
    }

    nlcf->running_max = n;
    nlcf->waiting_max = NGX_HTTP_NIGHTLIGHT_WAITING;

    for (i = 2; i < cf->args->nelts; i++) {
        v = value[i];

        if (v.len > 6 && ngx_strncmp(v.data, "queue=", 6) == 0) {

            n = ngx_atoi(v.data + 6, v.len - 6);

            if (n == NGX_ERROR || n > NGX_HTTP_NIGHTLIGHT_QUEUE_MAX) {
                return ngx_http_nightlight_param_error(cf, &value[i],
                                                "not a number up to 2048");
            }

            nlcf->waiting_max = n;
            continue;
        }

        if (v.len > 4 && ngx_strncmp(v.data, "key=", 4) == 0) {

            nlcf->queue_key = ngx_palloc(cf->pool,
                                         sizeof(ngx_http_complex_value_t));
            if (nlcf->queue_key == NULL) {
                return NGX_CONF_ERROR;
            }

            v.data += 4;
            v.len -= 4;

            ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

            ccv.cf = cf;
            ccv.value = &v;
            ccv.complex_value = nlcf->queue_key;

            if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strcmp(v.data, "dry_run") == 0) {
            nlcf->queue_dry_run = 1;
            continue;
        }

        return ngx_http_nightlight_param_error(cf, &value[i],
                                        "unknown, not queue=, key=, dry_run");
    }

    return NGX_CONF_OK;
}


/* ---- keys ---- */

/*
 * A name is the store and either a tenant or a value, which never look alike.
 * Its key, if there is one; name->data is NULL when there was no memory.
 */

static ngx_http_nightlight_key_t *
ngx_http_nightlight_queue_find(ngx_http_nightlight_job_t *job, uint32_t tenant,
    ngx_str_t *name, uint32_t *hash)
{
    u_char     *p;
    ngx_str_t   value;

    name->data = NULL;

    value.data = (u_char *) &tenant;
    value.len = sizeof(uint32_t);

    if (job->conf->queue_key
        && ngx_http_complex_value(job->out.request, job->conf->queue_key,
                                  &value)
           != NGX_OK)
    {
        return NULL;
    }

    name->len = sizeof(void *) + 2 + value.len;
    name->data = ngx_pnalloc(job->out.request->pool, name->len);
    if (name->data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(name->data, &job->runtime, sizeof(void *));
    *p++ = (u_char) (job->conf->handler == NGX_HTTP_NIGHTLIGHT_ADMIN);
    *p++ = job->conf->queue_key != NULL;
    ngx_memcpy(p, value.data, value.len);

    *hash = ngx_crc32_short(name->data, name->len);

    return (ngx_http_nightlight_key_t *)
               ngx_str_rbtree_lookup(&ngx_http_nightlight_keys, name, *hash);
}


/* NULL: no memory. */

static ngx_http_nightlight_key_t *
ngx_http_nightlight_queue_key(ngx_http_nightlight_job_t *job, uint32_t tenant)
{
    uint32_t                    hash;
    ngx_str_t                   name;
    ngx_http_nightlight_key_t  *key;

    key = ngx_http_nightlight_queue_find(job, tenant, &name, &hash);

    if (key || name.data == NULL) {
        return key;
    }

    key = ngx_calloc(sizeof(ngx_http_nightlight_key_t) + name.len,
                     job->out.request->connection->log);
    if (key == NULL) {
        return NULL;
    }

    key->sn.node.key = hash;
    key->sn.str.len = name.len;
    key->sn.str.data = (u_char *) (key + 1);
    ngx_memcpy(key->sn.str.data, name.data, name.len);

    ngx_queue_init(&key->waiting);
    ngx_rbtree_insert(&ngx_http_nightlight_keys, &key->sn.node);

    return key;
}


void
ngx_http_nightlight_queue_forget(ngx_http_nightlight_job_t *job)
{
    ngx_http_nightlight_key_t  *key;

    key = job->key;
    job->key = NULL;

    if (key && --key->n_jobs == 0) {
        ngx_rbtree_delete(&ngx_http_nightlight_keys, &key->sn.node);
        ngx_free(key);
    }
}


/*
 * How many jobs of its key may run beside this one, itself included; told: as
 * the directive has it, also when it is only tried.
 */

static ngx_uint_t
ngx_http_nightlight_queue_limit(ngx_http_nightlight_job_t *job,
    ngx_uint_t told)
{
    ngx_uint_t  max;

    max = ngx_http_nightlight_queries_max();

    if (job->conf->handler == NGX_HTTP_NIGHTLIGHT_ADMIN
        || (job->conf->queue_dry_run && !told))
    {
        return max;
    }

    if (job->conf->running_max == NGX_CONF_UNSET_UINT) {

        /* one thread is left for others */

        return max - 1;
    }

    return job->conf->running_max;
}


/* ---- in and out ---- */

/* The limit of a key that is reached, or NGX_OK. */

static ngx_int_t
ngx_http_nightlight_queue_check(ngx_http_nightlight_job_t *job,
    ngx_http_nightlight_key_t *key, char *why, size_t size)
{
    ngx_uint_t                       limit;
    ngx_http_nightlight_loc_conf_t  *nlcf;

    nlcf = job->conf;

    if (ngx_http_nightlight_n_waiting >= NGX_HTTP_NIGHTLIGHT_QUEUE_MAX
        || ngx_http_nightlight_waiting_size + job->size
           > NGX_HTTP_NIGHTLIGHT_QUEUE_BYTES)
    {
        *ngx_snprintf((u_char *) why, size - 1,
                      "too many queries wait for a thread: a worker has room "
                      "for %ui, and for 64 MB of parameters",
                      (ngx_uint_t) NGX_HTTP_NIGHTLIGHT_QUEUE_MAX) = '\0';
        return NGX_DECLINED;
    }

    limit = ngx_http_nightlight_queue_limit(job, nlcf->queue_dry_run);

    if (key->n_waiting < nlcf->waiting_max
        || (key->n_waiting == 0 && key->n_running < limit
            && ngx_http_nightlight_n_running
               < ngx_http_nightlight_queries_max()))
    {
        return NGX_OK;
    }

    *ngx_snprintf((u_char *) why, size - 1,
                  "too many queries of this %s: nightlight_query_concurrency "
                  "lets %ui of them run at once in a worker, and %ui wait",
                  nlcf->queue_key ? "key" : "tenant", limit,
                  nlcf->waiting_max) = '\0';

    return nlcf->queue_dry_run ? NGX_AGAIN : NGX_DECLINED;
}


static void
ngx_http_nightlight_queue_init(void)
{
    if (ngx_http_nightlight_turns.next == NULL) {
        ngx_queue_init(&ngx_http_nightlight_turns);
        ngx_queue_init(&ngx_http_nightlight_running);
        ngx_rbtree_init(&ngx_http_nightlight_keys,
                        &ngx_http_nightlight_keys_sentinel,
                        ngx_str_rbtree_insert_value);
    }
}


ngx_uint_t
ngx_http_nightlight_queue_is_free(ngx_http_nightlight_job_t *job,
    uint32_t tenant)
{
    uint32_t                    hash;
    ngx_str_t                   name;
    ngx_http_nightlight_key_t  *key;

    if (ngx_http_nightlight_n_waiting) {
        return 0;
    }

    if (ngx_http_nightlight_n_running == 0) {
        return 1;
    }

    key = ngx_http_nightlight_queue_find(job, tenant, &name, &hash);

    return key ? key->n_running < ngx_http_nightlight_queue_limit(job, 1)
               : name.data != NULL;
}


ngx_int_t
ngx_http_nightlight_queue_post(ngx_http_nightlight_job_t *job,
    uint32_t tenant, char *why, size_t size)
{
    ngx_int_t                   rc;
    ngx_log_t                  *log;
    ngx_http_nightlight_key_t  *key;

    log = job->out.request->connection->log;

    ngx_http_nightlight_queue_init();

    key = ngx_http_nightlight_queue_key(job, tenant);
    if (key == NULL) {
        return NGX_ERROR;
    }

    job->key = key;
    key->n_jobs++;

    rc = ngx_http_nightlight_queue_check(job, key, why, size);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "nightlight: query refused with 503: %s; "
                      "nightlight_slow_query tells which are dear", why);
        return NGX_DECLINED;
    }

    if (rc == NGX_AGAIN) {
        nlt_api_count_dry_run(job->out.api, NLT_QUERY_LIMIT_QUEUE);
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "nightlight: query would be refused with 503, but for "
                      "dry_run: %s; nightlight_slow_query tells which are "
                      "dear", why);
    }

    ngx_http_nightlight_queue_wait(job);

    return NGX_OK;
}


void
ngx_http_nightlight_queue_wait(ngx_http_nightlight_job_t *job)
{
    ngx_http_request_t         *r;
    ngx_http_nightlight_key_t  *key;

    r = job->out.request;
    key = job->key;

    job->queued = 1;

    if (key->n_waiting++ == 0) {
        ngx_queue_insert_tail(&ngx_http_nightlight_turns, &key->turn);
    }

    ngx_queue_insert_tail(&key->waiting, &job->queue);
    ngx_http_nightlight_n_waiting++;
    ngx_http_nightlight_waiting_size += job->size;
    ngx_http_nightlight_queue_load(job, 0, 1, 0);

    r->read_event_handler = ngx_http_test_reading;

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);
    }

    /* core looks at the time too; this also keeps the worker from leaving */

    ngx_add_timer(&job->timer,
                  (ngx_msec_t) job->limits.timeout_ms
                  + NGX_HTTP_NIGHTLIGHT_GRACE);

    ngx_http_nightlight_queue_next();
}


void
ngx_http_nightlight_queue_leave(ngx_http_nightlight_job_t *job)
{
    ngx_queue_remove(&job->queue);
    job->queued = 0;

    if (--job->key->n_waiting == 0) {
        ngx_queue_remove(&job->key->turn);
    }

    ngx_http_nightlight_n_waiting--;
    ngx_http_nightlight_waiting_size -= job->size;
    ngx_http_nightlight_queue_load(job, 0, -1, 0);
}


void
ngx_http_nightlight_queue_done(ngx_http_nightlight_job_t *job)
{
    ngx_queue_remove(&job->queue);
    job->running = 0;
    job->key->n_running--;
    ngx_http_nightlight_n_running--;
    ngx_http_nightlight_queue_load(job, -1, 0, 0);

    ngx_http_nightlight_queue_next();
}


/* The first job of the first key that may have one more in a thread. */

static ngx_http_nightlight_job_t *
ngx_http_nightlight_queue_first(void)
{
    ngx_queue_t                *q;
    ngx_http_nightlight_job_t  *job;
    ngx_http_nightlight_key_t  *key;

    for (q = ngx_queue_head(&ngx_http_nightlight_turns);
         q != ngx_queue_sentinel(&ngx_http_nightlight_turns);
         q = ngx_queue_next(q))
    {
        key = ngx_queue_data(q, ngx_http_nightlight_key_t, turn);
        job = ngx_queue_data(ngx_queue_head(&key->waiting),
                             ngx_http_nightlight_job_t, queue);

        if (key->n_running < ngx_http_nightlight_queue_limit(job, 0)) {
            return job;
        }
    }

    return NULL;
}


/* Hands waiting jobs to threads while there are free cores. */

static void
ngx_http_nightlight_queue_next(void)
{
    ngx_http_nightlight_job_t  *job;
    ngx_http_nightlight_key_t  *key;

    while (ngx_http_nightlight_n_running < ngx_http_nightlight_queries_max()) {

        job = ngx_http_nightlight_queue_first();

        if (job == NULL) {
            return;
        }

        ngx_memzero(&job->task, sizeof(ngx_thread_task_t));

        job->task.ctx = job;
        job->task.handler = ngx_http_nightlight_api_thread;
        job->task.event.data = job;
        job->task.event.handler = ngx_http_nightlight_api_done;

        if (ngx_thread_task_post(job->threads, &job->task) != NGX_OK) {

            /* the pool's queue is full: after our next end, or if it is
             * full of others' tasks, a little later */

            if (ngx_http_nightlight_n_running == 0
                && !ngx_http_nightlight_retry.timer_set)
            {
                ngx_http_nightlight_retry.handler =
                                             ngx_http_nightlight_queue_retry;
                ngx_http_nightlight_retry.log = ngx_cycle->log;
                ngx_http_nightlight_retry.cancelable = 1;

                ngx_add_timer(&ngx_http_nightlight_retry,
                              NGX_HTTP_NIGHTLIGHT_RETRY);
            }

            return;
        }

        ngx_http_nightlight_queue_leave(job);

        key = job->key;

        if (key->n_waiting) {
            ngx_queue_remove(&key->turn);
            ngx_queue_insert_tail(&ngx_http_nightlight_turns, &key->turn);
        }

        key->n_running++;
        job->running = 1;
        job->out.request->main->blocked++;
        ngx_queue_insert_tail(&ngx_http_nightlight_running, &job->queue);
        ngx_http_nightlight_n_running++;
        ngx_http_nightlight_queue_load(job, 1, 0, 0);
    }
}


static void
ngx_http_nightlight_queue_retry(ngx_event_t *ev)
{
    ngx_http_nightlight_queue_next();
}


void
ngx_http_nightlight_queue_load(ngx_http_nightlight_job_t *job,
    ngx_int_t running, ngx_int_t waiting, off_t held)
{
    ngx_http_nightlight_runtime_t  *rt;

    rt = job->runtime;

    rt->load.n_running += (uint32_t) running;
    rt->load.n_waiting += (uint32_t) waiting;
    rt->load.held_bytes += (uint64_t) held;

    if (rt->store) {
        nlt_store_set_load(rt->store, &rt->load);
    }
}


void
ngx_http_nightlight_api_exit(void)
{
    ngx_queue_t                *q;
    ngx_http_nightlight_job_t  *job;

    if (ngx_http_nightlight_running.next == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ngx_http_nightlight_running);
         q != ngx_queue_sentinel(&ngx_http_nightlight_running);
         q = ngx_queue_next(q))
    {
        job = ngx_queue_data(q, ngx_http_nightlight_job_t, queue);
        nlt_api_cancel(job->out.api);
    }
}

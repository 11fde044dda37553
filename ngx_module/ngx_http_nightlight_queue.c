
/*
 * ngx_http_nightlight_queue.c - whose turn it is: jobs before their threads.
 *
 * No more jobs of the server run at once than the machine has cores, and one.
 * The others wait, and keys that have somebody waiting take turns; a key is a
 * tenant of a store, or what key= of nightlight_query_concurrency says.  Who
 * is next, and how many of each key run, is decided for all workers together
 * in memory that they share (core/store/nlt_turns.h):
 *
 *     worker 1                shared                     worker 2
 *     job --- ticket -------> [ a: 1 runs, 2 wait ]
 *                             [ b: 1 waits        ] <------- ticket --- job
 *     its thread is done ---> b is granted ---- eventfd ---> the job begins
 *
 * So who asks for little waits for a thread to become free, never for the
 * queue of another.  A job stays in the worker that has its connection; only
 * its ticket is shared.
 *
 * A worker is woken by an eventfd, one for each process, which the master
 * makes before it starts workers, so that all have all of them: a channel of
 * nginx would be there too, but its handler takes nginx's own messages only.
 * What is granted by a process that dies before it could wake, or that was
 * started before there was this eventfd, is seen by a timer, which runs in
 * each worker that has somebody waiting.  The same timer looks for workers
 * that have died, whose tickets are free then; so does every worker that
 * starts.
 *
 * The memory is the master's own and not a zone: it lives as long as this
 * module in this master does, and no other version of the module can get it.
 * An upgrade (USR2) begins with new memory: until the old workers have gone,
 * both count apart.  All of it but the tickets belongs to the event loop.
 */


#include "ngx_http_nightlight_job.h"
#include "ngx_http_nightlight_query_limits.h"

#include <ngx_channel.h>

#include <sys/eventfd.h>


#define NGX_HTTP_NIGHTLIGHT_QUEUE_BYTES  (64 * 1024 * 1024)
#define NGX_HTTP_NIGHTLIGHT_RETRY        100     /* ms */
#define NGX_HTTP_NIGHTLIGHT_LOOK         250     /* ms */
#define NGX_HTTP_NIGHTLIGHT_FDS_MIN      16
#define NGX_HTTP_NIGHTLIGHT_FDS_MAX      256


static void ngx_http_nightlight_queue_run(void);
static void ngx_http_nightlight_queue_wake(nlt_turns_wake_t *wake);
static void ngx_http_nightlight_queue_look(ngx_event_t *ev);
static void ngx_http_nightlight_queue_woken(ngx_event_t *ev);


static ngx_http_nightlight_bounds_t  ngx_http_nightlight_running_bounds = {
    "nightlight_query_concurrency", NGX_HTTP_NIGHTLIGHT_NUMBER,
    1, NLT_TURNS_RUNNING, 0, "a number from 1 to 512", 0
};


/* Of the master, and of those that it forks. */

static nlt_turns_t  *ngx_http_nightlight_turns;
static int           ngx_http_nightlight_fds[NGX_HTTP_NIGHTLIGHT_FDS_MAX];
static ngx_uint_t    ngx_http_nightlight_nfds;

/* Of this process. */

static uint32_t      ngx_http_nightlight_number = NLT_TURNS_NONE;
static ngx_queue_t   ngx_http_nightlight_waiting;
static ngx_queue_t   ngx_http_nightlight_running;
static size_t        ngx_http_nightlight_waiting_size;
static ngx_event_t   ngx_http_nightlight_look;


/* key=value */

static char *
ngx_http_nightlight_concurrency_key(ngx_conf_t *cf,
    ngx_http_nightlight_loc_conf_t *nlcf, ngx_str_t *v)
{
    ngx_http_compile_complex_value_t   ccv;

    nlcf->queue_key = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (nlcf->queue_key == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = v;
    ccv.complex_value = nlcf->queue_key;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


static char *
ngx_http_nightlight_concurrency_param(ngx_conf_t *cf,
    ngx_http_nightlight_loc_conf_t *nlcf, ngx_str_t *arg)
{
    ngx_int_t  n;
    ngx_str_t  v;

    if (ngx_http_nightlight_param(arg, "queue=", &v)) {

        n = ngx_atoi(v.data, v.len);

        if (n == NGX_ERROR || n > NLT_TURNS_WAITING) {
            return ngx_http_nightlight_param_error(cf, arg,
                                                "not a number up to 2048");
        }

        nlcf->waiting_max = n;

        return NGX_CONF_OK;
    }

    if (ngx_http_nightlight_param(arg, "wait=", &v)) {

        n = ngx_parse_time(&v, 0);

        if (n == NGX_ERROR || n == 0) {
            return ngx_http_nightlight_param_error(cf, arg,
                                                "not a time such as 10s");
        }

        nlcf->queue_wait = n;

        return NGX_CONF_OK;
    }

    if (ngx_http_nightlight_param(arg, "status=", &v)) {

        n = ngx_atoi(v.data, v.len);

        if (n != NGX_HTTP_SERVICE_UNAVAILABLE
            && n != NGX_HTTP_TOO_MANY_REQUESTS)
        {
            return ngx_http_nightlight_param_error(cf, arg, "not 503 or 429");
        }

        nlcf->queue_status = n;

        return NGX_CONF_OK;
    }

    if (ngx_http_nightlight_param(arg, "key=", &v)) {
        return ngx_http_nightlight_concurrency_key(cf, nlcf, &v);
    }

    if (ngx_strcmp(arg->data, "dry_run") == 0) {
        nlcf->queue_dry_run = 1;
        return NGX_CONF_OK;
    }

    return ngx_http_nightlight_param_error(cf, arg,
                                        "unknown, not queue=, wait=, status=, "
                                        "key=, dry_run");
}


/*
 * nightlight_query_concurrency number | off [queue=number] [wait=time]
 *     [status=503|429] [key=value] [dry_run]
 */

char *
ngx_http_nightlight_concurrency(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_nightlight_loc_conf_t *nlcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;

    if (nlcf->queue_set) {
        return "is duplicate";
    }

    value = cf->args->elts;

    nlcf->queue_set = 1;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return cf->args->nelts == 2 ? NGX_CONF_OK
                                    : "takes no parameters beside \"off\"";
    }

    if (ngx_http_nightlight_value_read(cf,
                                       &ngx_http_nightlight_running_bounds,
                                       &value[1], &nlcf->running_max)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_nightlight_concurrency_param(cf, nlcf, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* ---- life ---- */

/*
 * Called in the master for each configuration, before workers are started.
 * An error here would end a master that reloads, so there is none: workers
 * without this memory refuse queries.
 */

ngx_int_t
ngx_http_nightlight_queue_init(ngx_cycle_t *cycle)
{
    int               fd;
    void             *p;
    ngx_int_t         n;
    ngx_core_conf_t  *ccf;

    if (ngx_http_nightlight_turns == NULL) {

        p = mmap(NULL, nlt_turns_bytes(), PROT_READ|PROT_WRITE,
                 MAP_ANON|MAP_SHARED, -1, 0);

        if (p == MAP_FAILED) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "nightlight: no memory for queues of queries, which "
                          "workers refuse now: mmap(%uz) failed; make room "
                          "and reload", nlt_turns_bytes());
            return NGX_OK;
        }

        ngx_http_nightlight_turns = nlt_turns_init(p);

        if (ngx_http_nightlight_turns == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "nightlight: no robust mutexes, or no random bytes, "
                          "for queues of queries, which workers refuse now; "
                          "use a kernel that has them");
            return NGX_OK;
        }
    }

    /* workers of two generations, and of one more that is slow to go */

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    n = ngx_max(3 * ccf->worker_processes, NGX_HTTP_NIGHTLIGHT_FDS_MIN);
    n = ngx_min(n, NGX_HTTP_NIGHTLIGHT_FDS_MAX);

    while (ngx_http_nightlight_nfds < (ngx_uint_t) n) {

        fd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (fd == -1) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                          "nightlight: eventfd() failed, some workers take "
                          "up to %d ms to see whose turn it is; raise the "
                          "master's limit of open files (LimitNOFILE=)",
                          NGX_HTTP_NIGHTLIGHT_LOOK);
            break;
        }

        ngx_http_nightlight_fds[ngx_http_nightlight_nfds++] = fd;
    }

    return NGX_OK;
}


/* Frees what dead workers had. */

static void
ngx_http_nightlight_queue_bury(void)
{
    uint32_t          dead;
    nlt_turns_wake_t  wake;

    ngx_memzero(&wake, sizeof(nlt_turns_wake_t));

    dead = nlt_turns_bury(ngx_http_nightlight_turns,
                          ngx_http_nightlight_number, &wake);
    ngx_http_nightlight_queue_wake(&wake);

    if (dead) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "nightlight: queries of %uD worker%s that died make "
                      "room for others", dead, dead == 1 ? "" : "s");
    }
}


/* A worker begins. */

ngx_int_t
ngx_http_nightlight_queue_init_process(ngx_cycle_t *cycle)
{
    int       fd;
    uint64_t  n;

    ngx_queue_init(&ngx_http_nightlight_waiting);
    ngx_queue_init(&ngx_http_nightlight_running);

    if (ngx_http_nightlight_turns == NULL) {
        return NGX_OK;
    }

    /* it may be here in place of one that has died */

    ngx_http_nightlight_queue_bury();

    if (nlt_turns_join(ngx_http_nightlight_turns, &ngx_http_nightlight_number)
        != NLT_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "nightlight: no place among the workers that share "
                      "queues of queries, so this one refuses queries; have "
                      "fewer workers, or restart when old ones do not end");
        ngx_http_nightlight_number = NLT_TURNS_NONE;
        return NGX_OK;
    }

    if (ngx_http_nightlight_number >= ngx_http_nightlight_nfds
        || ngx_process == NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    /* what was meant for who had this number before */

    fd = ngx_http_nightlight_fds[ngx_http_nightlight_number];

    (void) !read(fd, &n, sizeof(uint64_t));

    return ngx_add_channel_event(cycle, fd, NGX_READ_EVENT,
                                 ngx_http_nightlight_queue_woken);
}


void
ngx_http_nightlight_queue_exit_process(void)
{
    nlt_turns_wake_t  wake;

    if (ngx_http_nightlight_number == NLT_TURNS_NONE) {
        return;
    }

    ngx_memzero(&wake, sizeof(nlt_turns_wake_t));

    nlt_turns_leave(ngx_http_nightlight_turns, ngx_http_nightlight_number,
                    &wake);
    ngx_http_nightlight_queue_wake(&wake);

    ngx_http_nightlight_number = NLT_TURNS_NONE;
}


/* Tells other processes that something of theirs has been granted. */

static void
ngx_http_nightlight_queue_wake(nlt_turns_wake_t *wake)
{
    uint32_t  i;
    uint64_t  one, word;

    one = 1;

    for (i = 0; i < ngx_http_nightlight_nfds; i++) {
        word = wake->process[i / 64];

        if (word == 0) {
            i |= 63;
            continue;
        }

        if ((word >> i % 64 & 1) == 0 || i == ngx_http_nightlight_number) {
            continue;
        }

        /* it fails when there are 2^64 already: then it is awake */

        (void) !write(ngx_http_nightlight_fds[i], &one, sizeof(uint64_t));
    }
}


static void
ngx_http_nightlight_queue_woken(ngx_event_t *ev)
{
    uint64_t           n;
    ngx_connection_t  *c;

    c = ev->data;

    (void) !read(c->fd, &n, sizeof(uint64_t));

    ngx_http_nightlight_queue_run();
}


/* ---- keys ---- */

/*
 * A name is the store and either a tenant or a value, which never look alike.
 * 0: no memory.
 */

static uint64_t
ngx_http_nightlight_queue_key(ngx_http_nightlight_job_t *job, uint32_t tenant)
{
    u_char     *p, *name;
    size_t      len;
    ngx_str_t   value, *path;

    value.data = (u_char *) &tenant;
    value.len = sizeof(uint32_t);

    if (job->conf->queue_key
        && ngx_http_complex_value(job->out.request, job->conf->queue_key,
                                  &value)
           != NGX_OK)
    {
        return 0;
    }

    path = &job->conf->store->path;

    len = path->len + 3 + value.len;

    name = ngx_pnalloc(job->out.request->pool, len);
    if (name == NULL) {
        return 0;
    }

    p = ngx_cpymem(name, path->data, path->len);
    *p++ = '\0';
    *p++ = (u_char) (job->conf->handler == NGX_HTTP_NIGHTLIGHT_ADMIN);
    *p++ = job->conf->queue_key != NULL;
    ngx_memcpy(p, value.data, value.len);

    return nlt_turns_key(ngx_http_nightlight_turns, name, len);
}


/* How many jobs of its key may run beside this one, itself included. */

static uint32_t
ngx_http_nightlight_queue_limit(ngx_http_nightlight_job_t *job)
{
    uint32_t  standard;

    /* one thread is left for others */

    standard = (uint32_t) ngx_http_nightlight_queries_max() - 1;

    if (job->conf->handler == NGX_HTTP_NIGHTLIGHT_ADMIN) {
        return standard + 1;
    }

    return (uint32_t) ngx_http_nightlight_value(job->out.request,
                                         &ngx_http_nightlight_running_bounds,
                                         &job->conf->running_max, standard);
}


/* ---- in and out ---- */

/* NLT_OK: job->ticket is granted, or waits. */

static nlt_rc_t
ngx_http_nightlight_queue_ask(ngx_http_nightlight_job_t *job, bool *over)
{
    nlt_rc_t          rc;
    nlt_turns_ask_t   ask;
    nlt_turns_wake_t  wake;

    ngx_memzero(&wake, sizeof(nlt_turns_wake_t));
    ngx_memzero(&ask, sizeof(nlt_turns_ask_t));

    ask.key = job->key;
    ask.room_max = job->running_max;
    ask.total_max = (uint32_t) ngx_http_nightlight_queries_max();
    ask.waiting_max = (uint32_t) job->conf->waiting_max;
    ask.running_max = job->conf->queue_dry_run ? ask.total_max
                                               : job->running_max;
    ask.forced = job->conf->queue_dry_run;
    ask.again = job->more;

    rc = nlt_turns_ask(ngx_http_nightlight_turns, ngx_http_nightlight_number,
                       &ask, &job->ticket, over, &wake);

    ngx_http_nightlight_queue_wake(&wake);

    return rc;
}


static void
ngx_http_nightlight_queue_end(ngx_http_nightlight_job_t *job)
{
    nlt_turns_wake_t  wake;

    ngx_memzero(&wake, sizeof(nlt_turns_wake_t));

    nlt_turns_end(ngx_http_nightlight_turns, ngx_http_nightlight_number,
                  job->ticket, &wake);
    job->ticket = NLT_TURNS_NONE;

    ngx_http_nightlight_queue_wake(&wake);
}


/* NGX_DECLINED: refused, why says for which limit. */

static ngx_int_t
ngx_http_nightlight_queue_enter(ngx_http_nightlight_job_t *job, char *why,
    size_t size)
{
    bool      over;
    nlt_rc_t  rc;

    over = false;

    rc = ngx_http_nightlight_waiting_size + job->size
         > NGX_HTTP_NIGHTLIGHT_QUEUE_BYTES
         ? NLT_EFULL : ngx_http_nightlight_queue_ask(job, &over);

    if (over) {
        *ngx_snprintf((u_char *) why, size - 1,
                      "too many queries of this %s: "
                      "nightlight_query_concurrency lets %uD of them run at "
                      "once, and %ui wait",
                      job->conf->queue_key ? "key" : "tenant",
                      job->running_max, job->conf->waiting_max) = '\0';

        return rc == NLT_OK ? NGX_AGAIN : NGX_DECLINED;
    }

    if (rc != NLT_OK) {
        *ngx_snprintf((u_char *) why, size - 1,
                      "too many queries wait for a thread: there is room for "
                      "%ui, and in a worker for 64 MB of parameters",
                      (ngx_uint_t) NLT_TURNS_WAITING) = '\0';

        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* Called by any thread. */

ngx_uint_t
ngx_http_nightlight_queue_help(uint32_t max)
{
    return ngx_http_nightlight_number != NLT_TURNS_NONE
           && nlt_turns_help_begin(ngx_http_nightlight_turns,
                                   ngx_http_nightlight_number, max);
}


void
ngx_http_nightlight_queue_helped(void)
{
    nlt_turns_help_end(ngx_http_nightlight_turns, ngx_http_nightlight_number);
}


ngx_uint_t
ngx_http_nightlight_queue_is_free(ngx_http_nightlight_job_t *job,
    uint32_t tenant)
{
    if (ngx_http_nightlight_number == NLT_TURNS_NONE
        || !ngx_queue_empty(&ngx_http_nightlight_waiting))
    {
        return 0;
    }

    job->key = ngx_http_nightlight_queue_key(job, tenant);

    return job->key
           && nlt_turns_is_free(ngx_http_nightlight_turns, job->key,
                                ngx_http_nightlight_queue_limit(job));
}


ngx_int_t
ngx_http_nightlight_queue_post(ngx_http_nightlight_job_t *job,
    uint32_t tenant, char *why, size_t size)
{
    ngx_int_t   rc;
    ngx_log_t  *log;

    log = job->out.request->connection->log;

    if (ngx_http_nightlight_number == NLT_TURNS_NONE) {
        return NGX_ERROR;
    }

    if (job->key == 0) {
        job->key = ngx_http_nightlight_queue_key(job, tenant);
        if (job->key == 0) {
            return NGX_ERROR;
        }
    }

    job->running_max = ngx_http_nightlight_queue_limit(job);

    rc = ngx_http_nightlight_queue_enter(job, why, size);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "nightlight: query refused with %ui: %s; "
                      "nightlight_slow_query tells which are dear",
                      job->conf->queue_status, why);
        return NGX_DECLINED;
    }

    if (rc == NGX_AGAIN) {
        nlt_api_count_dry_run(job->out.api, NLT_QUERY_LIMIT_QUEUE);
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "nightlight: query would be refused with %ui, but for "
                      "dry_run: %s; nightlight_slow_query tells which are "
                      "dear", job->conf->queue_status, why);
    }

    ngx_http_nightlight_queue_wait(job);

    return NGX_OK;
}


void
ngx_http_nightlight_queue_wait(ngx_http_nightlight_job_t *job)
{
    bool                 over;
    ngx_msec_t           timeout;
    ngx_http_request_t  *r;

    r = job->out.request;

    if (job->ticket == NLT_TURNS_NONE) {

        /* if there is none for it, the timer asks again */

        (void) ngx_http_nightlight_queue_ask(job, &over);
    }

    job->queued = 1;

    ngx_queue_insert_tail(&ngx_http_nightlight_waiting, &job->queue);
    ngx_http_nightlight_waiting_size += job->size;
    ngx_http_nightlight_queue_load(job, 0, 1, 0);

    r->read_event_handler = ngx_http_test_reading;

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);
    }

    /* core looks at the time too; this also keeps the worker from leaving */

    timeout = (ngx_msec_t) job->limits.timeout_ms + NGX_HTTP_NIGHTLIGHT_GRACE;
    job->until = ngx_current_msec + timeout;

    if (!job->more && job->conf->queue_wait
        && job->conf->queue_wait < (ngx_msec_t) job->limits.timeout_ms)
    {
        timeout = job->conf->queue_wait;
        job->hurried = 1;
    }

    ngx_add_timer(&job->timer, timeout);

    ngx_http_nightlight_queue_run();
}


static void
ngx_http_nightlight_queue_remove(ngx_http_nightlight_job_t *job)
{
    ngx_queue_remove(&job->queue);
    job->queued = 0;

    ngx_http_nightlight_waiting_size -= job->size;
    ngx_http_nightlight_queue_load(job, 0, -1, 0);
}


void
ngx_http_nightlight_queue_leave(ngx_http_nightlight_job_t *job)
{
    ngx_http_nightlight_queue_remove(job);
    ngx_http_nightlight_queue_end(job);

    ngx_http_nightlight_queue_run();
}


void
ngx_http_nightlight_queue_done(ngx_http_nightlight_job_t *job)
{
    ngx_queue_remove(&job->queue);
    job->running = 0;
    ngx_http_nightlight_queue_load(job, -1, 0, 0);
    ngx_http_nightlight_queue_end(job);

    ngx_http_nightlight_queue_run();
}


/* Looks again in a while, if anybody waits here. */

static void
ngx_http_nightlight_queue_look_later(ngx_msec_t ms)
{
    ngx_event_t  *ev;

    ev = &ngx_http_nightlight_look;

    if (ngx_queue_empty(&ngx_http_nightlight_waiting) || ev->timer_set) {
        return;
    }

    ev->handler = ngx_http_nightlight_queue_look;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, ms);
}


static void
ngx_http_nightlight_queue_look(ngx_event_t *ev)
{
    bool                        over;
    ngx_queue_t                *q;
    ngx_http_nightlight_job_t  *job;

    ngx_http_nightlight_queue_bury();

    for (q = ngx_queue_head(&ngx_http_nightlight_waiting);
         q != ngx_queue_sentinel(&ngx_http_nightlight_waiting);
         q = ngx_queue_next(q))
    {
        job = ngx_queue_data(q, ngx_http_nightlight_job_t, queue);

        if (job->ticket == NLT_TURNS_NONE
            && ngx_http_nightlight_queue_ask(job, &over) != NLT_OK)
        {
            break;
        }
    }

    ngx_http_nightlight_queue_run();
}


/* NGX_DECLINED: the pool's queue is full of others' tasks. */

static ngx_int_t
ngx_http_nightlight_queue_begin(ngx_http_nightlight_job_t *job)
{
    ngx_memzero(&job->task, sizeof(ngx_thread_task_t));

    job->task.ctx = job;
    job->task.handler = ngx_http_nightlight_api_thread;
    job->task.event.data = job;
    job->task.event.handler = ngx_http_nightlight_api_done;

    if (ngx_thread_task_post(job->threads, &job->task) != NGX_OK) {
        return NGX_DECLINED;
    }

    /* it leaves the queue and keeps its ticket */

    ngx_http_nightlight_queue_remove(job);

    if (job->hurried) {
        job->hurried = 0;
        ngx_add_timer(&job->timer,
                      ngx_max((ngx_msec_int_t) (job->until - ngx_current_msec),
                              1));
    }

    job->running = 1;
    job->out.request->main->blocked++;
    ngx_queue_insert_tail(&ngx_http_nightlight_running, &job->queue);
    ngx_http_nightlight_queue_load(job, 1, 0, 0);

    return NGX_OK;
}


/* Hands jobs whose turn it is to threads. */

static void
ngx_http_nightlight_queue_run(void)
{
    ngx_msec_t                  later;
    ngx_queue_t                *q, *next;
    ngx_http_nightlight_job_t  *job;

    later = NGX_HTTP_NIGHTLIGHT_LOOK;

    for (q = ngx_queue_head(&ngx_http_nightlight_waiting);
         q != ngx_queue_sentinel(&ngx_http_nightlight_waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_queue_data(q, ngx_http_nightlight_job_t, queue);

        if (nlt_turns_granted(ngx_http_nightlight_turns, job->ticket)
            && ngx_http_nightlight_queue_begin(job) != NGX_OK)
        {
            later = NGX_HTTP_NIGHTLIGHT_RETRY;
            break;
        }
    }

    ngx_http_nightlight_queue_look_later(later);
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

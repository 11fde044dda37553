
/*
 * ngx_http_nightlight_query.c - location handlers of the HTTP API.
 *
 * Core answers; this file carries the request to a thread and the answer
 * back.  A job is one request on its way:
 *
 *   handler -> [body of a POST] -> job -> queue -> thread: nlt_api_run()
 *                                                      |
 *   output filters <- nlt_api_render() in parts <- event loop: done
 *                                                      |
 *   when they are taken, and it is not all: queue -> thread: nlt_api_more()
 *
 * Threads belong to nginx's pool "default", but no more jobs of all workers
 * run at once than the machine has cores; the rest wait, and beyond the end of
 * the queue are refused with 503.
 *
 * A job outlives its request if the client goes away while the thread runs:
 * request and connection are then kept by r->main->blocked until the thread
 * is done, which nlt_api_cancel() makes soon.  What waits is bounded: requests
 * by number and bytes, answers that slow clients take by bytes, and there the
 * slowest has to go.  A timer that is not
 * cancelable keeps a worker that shuts down from leaving before its jobs.
 * Threads touch neither the request nor its pool.
 */


#include "ngx_http_nightlight_job.h"
#include "ngx_http_nightlight_query_limits.h"

#include <sys/resource.h>
#include <sys/syscall.h>


#define NGX_HTTP_NIGHTLIGHT_HELD_MAX     4       /* times query_memory */
#define NGX_HTTP_NIGHTLIGHT_NICE         5
#define NGX_HTTP_NIGHTLIGHT_IDLE         3000    /* ms */


static void ngx_http_nightlight_api_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_nightlight_api_start(ngx_http_request_t *r,
    ngx_str_t *form);
static ngx_int_t ngx_http_nightlight_api_create(
    ngx_http_nightlight_job_t *job, nlt_store_t *store,
    const nlt_api_conf_t *conf, const nlt_api_request_t *req);
static ngx_int_t ngx_http_nightlight_api_refuse(
    ngx_http_nightlight_job_t *job, nlt_store_t *store,
    const nlt_api_conf_t *conf, const nlt_api_request_t *req,
    ngx_int_t status, const nlt_err_t *why);
static ngx_int_t ngx_http_nightlight_api_begin(ngx_http_nightlight_job_t *job,
    nlt_store_t *store, const nlt_api_conf_t *conf,
    const nlt_api_request_t *req);
static ngx_int_t ngx_http_nightlight_api_post(ngx_http_nightlight_job_t *job,
    uint32_t tenant);
static void ngx_http_nightlight_api_hold(ngx_http_nightlight_job_t *job);
static void ngx_http_nightlight_api_unhold(ngx_http_nightlight_job_t *job);
static void ngx_http_nightlight_api_timeout(ngx_event_t *ev);
static void ngx_http_nightlight_api_waited(ngx_http_nightlight_job_t *job);
static void ngx_http_nightlight_api_cleanup(void *data);
static void ngx_http_nightlight_api_account(ngx_http_nightlight_job_t *job);
static void ngx_http_nightlight_api_free(ngx_http_nightlight_job_t *job);
static void ngx_http_nightlight_api_writer(ngx_http_request_t *r);


/* Answers that wait for their readers, slowest first: event loop only. */

static ngx_queue_t  ngx_http_nightlight_held;
static size_t       ngx_http_nightlight_held_size;


ngx_int_t
ngx_http_nightlight_subrequest(ngx_http_request_t *r)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "nightlight: location \"%V\" cannot answer subrequests of "
                  "other modules; have them ask a proxy_pass to it",
                  &r->uri);

    return NGX_HTTP_NOT_FOUND;
}


ngx_int_t
ngx_http_nightlight_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_str_t                        none = ngx_null_string;
    ngx_http_nightlight_loc_conf_t  *nlcf;

    if (r != r->main) {
        return ngx_http_nightlight_subrequest(r);
    }

    nlcf = ngx_http_get_module_loc_conf(r, ngx_http_nightlight_module);

    if ((r->method == NGX_HTTP_POST || r->method == NGX_HTTP_PUT)
        && (nlcf->handler == NGX_HTTP_NIGHTLIGHT_QUERY
            || nlcf->handler == NGX_HTTP_NIGHTLIGHT_ADMIN))
    {
        rc = ngx_http_read_client_request_body(r,
                                               ngx_http_nightlight_api_body);

        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    }

    /* who waits for "100 Continue" keeps a body that nobody wants */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_nightlight_api_start(r, &none);

    if (rc == NGX_AGAIN) {
        r->main->count++;
        return NGX_DONE;
    }

    return rc;
}


static void
ngx_http_nightlight_api_body(ngx_http_request_t *r)
{
    size_t     size;
    ngx_int_t  rc;
    ngx_str_t  form;

    rc = ngx_http_nightlight_body(r, &form, &size);

    if (rc == NGX_DECLINED) {

        /*
         * A form that nginx has put into a file: at most NLT_API_REQUEST_MAX
         * bytes that were written a moment ago, so they come from memory.
         */

        if (size > NLT_API_REQUEST_MAX) {
            ngx_http_finalize_request(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE);
            return;
        }

        form.len = size;
        form.data = ngx_pnalloc(r->pool, size);

        if (form.data == NULL
            || ngx_http_nightlight_body_read(r, form.data, size) != 0)
        {
            rc = NGX_ERROR;

        } else {
            rc = NGX_OK;
        }
    }

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    rc = ngx_http_nightlight_api_start(r, &form);

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
    }
}


/*
 * NGX_AGAIN: the job runs or waits, the request is kept; otherwise what the
 * handler has to return.
 */

static ngx_int_t
ngx_http_nightlight_api_start(ngx_http_request_t *r, ngx_str_t *form)
{
    nlt_err_t                         why;
    ngx_int_t                         refused;
    ngx_str_t                         tenant = ngx_null_string;
    nlt_store_t                      *store;
    nlt_api_request_t                 req;
    ngx_http_cleanup_t               *cln;
    ngx_http_nightlight_job_t        *job;
    ngx_http_nightlight_loc_conf_t   *nlcf;
    ngx_http_nightlight_main_conf_t  *nmcf;

    nlcf = ngx_http_get_module_loc_conf(r, ngx_http_nightlight_module);
    nmcf = ngx_http_get_module_main_conf(r, ngx_http_nightlight_module);

    store = ngx_http_nightlight_store_get(nlcf->store);

    if (store == NULL) {
        return ngx_http_nightlight_no_store(r, nlcf);
    }

    if (nlcf->handler == NGX_HTTP_NIGHTLIGHT_QUERY
        || nlcf->handler == NGX_HTTP_NIGHTLIGHT_ADMIN)
    {
        refused = ngx_http_nightlight_tenant(r, nlcf, &tenant, &why);

    } else {
        refused = NGX_DECLINED;
    }

    cln = ngx_http_cleanup_add(r, 0);
    job = ngx_calloc(sizeof(ngx_http_nightlight_job_t), r->connection->log);

    if (cln == NULL || job == NULL) {
        if (job) {
            ngx_free(job);
        }

        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    job->out.request = r;
    job->record = ngx_http_nightlight_record(r);
    job->conf = nlcf;
    job->runtime = nlcf->store->runtime;
    job->threads = nmcf->threads;
    job->ticket = NLT_TURNS_NONE;

    job->timer.handler = ngx_http_nightlight_api_timeout;
    job->timer.data = job;
    job->timer.log = r->connection->log;

    cln->handler = ngx_http_nightlight_api_cleanup;
    cln->data = job;

    ngx_http_nightlight_query_limits(r, nlcf, &job->limits);

    job->limits.lookback_ms = nlcf->lookback;
    job->limits.features = nlcf->features;
    job->limits.tenant = refused != NGX_DECLINED ? NLT_TENANT_NOBODY
                         : tenant.data
                           ? nlt_store_find_tenant(store,
                                           ngx_http_nightlight_str(&tenant),
                                           &job->limits.tenant_term)
                           : 0;
    job->limits.store_name = ngx_http_nightlight_str(&nlcf->store->name);
    job->limits.server = &ngx_http_nightlight_server;
    job->limits.help = ngx_http_nightlight_help_get(job);
    ngx_http_nightlight_server.leaving = ngx_exiting || ngx_terminate;

    ngx_http_nightlight_cert(r, store, job->limits.tenant);

    ngx_http_nightlight_request(r, form, nlcf->handler, &req);

    job->size = req.args.len + req.form.len;

    /* browsers ask with OPTIONS, and never say who they are */

    if (refused != NGX_DECLINED && r->method != NGX_HTTP_OPTIONS) {
        return ngx_http_nightlight_api_refuse(job, store, &job->limits, &req,
                                              refused, &why);
    }

    return ngx_http_nightlight_api_begin(job, store, &job->limits, &req);
}


static ngx_int_t
ngx_http_nightlight_api_create(ngx_http_nightlight_job_t *job,
    nlt_store_t *store, const nlt_api_conf_t *conf,
    const nlt_api_request_t *req)
{
    nlt_rc_t  rc;

    rc = nlt_api_create(&job->runtime->env, store, conf, req,
                        &job->out.api);

    if (rc != NLT_OK) {
        job->out.api = NULL;
        return rc == NLT_ETOOBIG ? NGX_HTTP_REQUEST_ENTITY_TOO_LARGE
                                 : NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_http_set_ctx(job->out.request, job, ngx_http_nightlight_module);

    return NGX_OK;
}


/* A request of which nobody knows whose it is: JSON where that is answered. */

static ngx_int_t
ngx_http_nightlight_api_refuse(ngx_http_nightlight_job_t *job,
    nlt_store_t *store, const nlt_api_conf_t *conf,
    const nlt_api_request_t *req, ngx_int_t status, const nlt_err_t *why)
{
    ngx_int_t  rc;

    rc = ngx_http_nightlight_api_create(job, store, conf, req);

    if (rc != NGX_OK) {
        return rc;
    }

    nlt_api_refuse_sender(job->out.api, (int) status, why->text);

    job->out.request->write_event_handler = ngx_http_nightlight_api_writer;

    return ngx_http_nightlight_send(&job->out);
}


/* Answers at once what can be; otherwise it is for a thread. */

static ngx_int_t
ngx_http_nightlight_api_begin(ngx_http_nightlight_job_t *job,
    nlt_store_t *store, const nlt_api_conf_t *conf,
    const nlt_api_request_t *req)
{
    ngx_int_t            answered;
    nlt_self_conn_t      conn;
    ngx_http_request_t  *r;

    r = job->out.request;

    answered = ngx_http_nightlight_api_create(job, store, conf, req);

    if (answered != NGX_OK) {
        return answered;
    }

    if (nlt_api_is_quick(job->out.api)) {
        ngx_http_nightlight_conn(&conn);
        nlt_api_set_conn(job->out.api, &conn);
        nlt_api_run(job->out.api);
        r->write_event_handler = ngx_http_nightlight_api_writer;
        return ngx_http_nightlight_send(&job->out);
    }

    if (ngx_http_nightlight_brief(job, store, conf, req)) {
        r->write_event_handler = ngx_http_nightlight_api_writer;

        answered = ngx_http_nightlight_send(&job->out);

        if (answered == NGX_AGAIN) {
            ngx_http_nightlight_api_waits(&job->out);
        }

        return answered;
    }

    if (job->out.api == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    return ngx_http_nightlight_api_post(job, conf->tenant);
}


static ngx_int_t
ngx_http_nightlight_api_post(ngx_http_nightlight_job_t *job, uint32_t tenant)
{
    char                 why[NLT_ERR_TEXT_MAX];
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = job->out.request;

    r->write_event_handler = ngx_http_nightlight_api_writer;

    rc = ngx_http_nightlight_queue_post(job, tenant, why, sizeof(why));

    if (rc == NGX_DECLINED) {
        nlt_api_refuse(job->out.api, NLT_OUTCOME_LIMIT_QUEUE,
                       (int) job->conf->queue_status, why);

        return ngx_http_nightlight_send(&job->out);
    }

    return rc == NGX_OK ? NGX_AGAIN : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


void
ngx_http_nightlight_api_nice(void)
{
    pid_t  tid;

    /* queries give way to ingestion; other tasks of the pool do not care */

    tid = (pid_t) syscall(SYS_gettid);

    (void) setpriority(PRIO_PROCESS, (id_t) tid, NGX_HTTP_NIGHTLIGHT_NICE);
}


void
ngx_http_nightlight_api_thread(void *data, ngx_log_t *log)
{
    ngx_http_nightlight_job_t *job = data;

    long  before;

    ngx_http_nightlight_api_nice();

    before = ngx_http_nightlight_brief_faults();

    if (job->more) {
        nlt_api_more(job->out.api);

    } else {
        nlt_api_run(job->out.api);
    }

    job->faults = ngx_http_nightlight_brief_faults() - before;
}


void
ngx_http_nightlight_api_done(ngx_event_t *ev)
{
    ngx_http_nightlight_job_t *job = ev->data;

    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = job->out.request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->main->blocked--;

    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

    ngx_http_nightlight_queue_done(job);

    if (job->gone) {

        /* the client left; nginx has swapped in its finalizer */

        ngx_http_nightlight_api_free(job);
        c->write->handler(c->write);
        return;
    }

    if (job->more) {
        ngx_http_nightlight_send_more(&job->out);
        ngx_http_run_posted_requests(c);
        return;
    }

    ngx_http_nightlight_brief_was(job);

    rc = ngx_http_nightlight_send(&job->out);

    if (rc == NGX_AGAIN) {
        ngx_http_nightlight_api_waits(&job->out);

    } else if (rc == NGX_DECLINED) {
        ngx_http_nightlight_api_again(&job->out);

    } else {
        ngx_http_finalize_request(r, rc);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * The answer waits for its reader and holds memory meanwhile.  If all of them
 * hold too much, the one that has not been read from for the longest time is
 * broken off.
 */

static void
ngx_http_nightlight_api_hold(ngx_http_nightlight_job_t *job)
{
    size_t                      max;
    ngx_queue_t                *q;
    ngx_connection_t           *c;
    ngx_http_nightlight_job_t  *slow;

    if (ngx_http_nightlight_held.next == NULL) {
        ngx_queue_init(&ngx_http_nightlight_held);
    }

    job->held = 1;
    job->size = nlt_api_bytes(job->out.api);
    ngx_queue_insert_tail(&ngx_http_nightlight_held, &job->queue);
    ngx_http_nightlight_held_size += job->size;
    ngx_http_nightlight_queue_load(job, 0, 0, (off_t) job->size);

    max = NGX_HTTP_NIGHTLIGHT_HELD_MAX * job->limits.memory_max;

    while (ngx_http_nightlight_held_size > max) {

        q = ngx_queue_head(&ngx_http_nightlight_held);
        slow = ngx_queue_data(q, ngx_http_nightlight_job_t, queue);

        if (slow == job) {
            return;
        }

        ngx_queue_remove(q);
        slow->held = 0;
        ngx_http_nightlight_held_size -= slow->size;
        ngx_http_nightlight_queue_load(slow, 0, 0, -(off_t) slow->size);

        c = slow->out.request->connection;

        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "nightlight: an answer of %uz bytes is broken off, "
                      "because it is read too slowly; have the client ask "
                      "for less, or raise nightlight_query_memory",
                      slow->size);

        c->error = 1;
        ngx_post_event(c->write, &ngx_posted_events);
    }
}


void
ngx_http_nightlight_api_waits(ngx_http_nightlight_out_t *out)
{
    ngx_http_nightlight_job_t  *job;

    job = (ngx_http_nightlight_job_t *)
              ((u_char *) out - offsetof(ngx_http_nightlight_job_t, out));

    if (!job->held) {
        ngx_http_nightlight_api_hold(job);
    }

    ngx_add_timer(&job->timer, NGX_HTTP_NIGHTLIGHT_IDLE);
}


/* A job that is under way is never refused: there are as many as clients. */

void
ngx_http_nightlight_api_again(ngx_http_nightlight_out_t *out)
{
    ngx_http_nightlight_job_t  *job;

    job = (ngx_http_nightlight_job_t *)
              ((u_char *) out - offsetof(ngx_http_nightlight_job_t, out));

    ngx_http_nightlight_api_unhold(job);

    out->work = 0;
    job->more = 1;
    job->size = 0;

    ngx_http_nightlight_queue_wait(job);
}


static void
ngx_http_nightlight_api_unhold(ngx_http_nightlight_job_t *job)
{
    if (job->held) {
        ngx_queue_remove(&job->queue);
        job->held = 0;
        ngx_http_nightlight_held_size -= job->size;
        ngx_http_nightlight_queue_load(job, 0, 0, -(off_t) job->size);
    }
}


/* What logs tell of it; its request has not been logged yet. */

static void
ngx_http_nightlight_api_account(ngx_http_nightlight_job_t *job)
{
    nlt_api_cost_t                 cost;
    ngx_http_request_t            *r;
    ngx_http_nightlight_record_t  *rec;

    r = job->out.request;
    rec = job->record;

    nlt_api_cost(job->out.api, &cost);

    if (rec) {

        /* an answer without a body is never rendered to its end */

        rec->cancelled = job->gone && !r->header_only;

        ngx_http_nightlight_record_outcome(rec,
                                           nlt_outcome_text(cost.outcome));

        if (nlt_api_is_counted(job->out.api)) {
            rec->read = cost.samples_read;
            rec->series = cost.series_read;
            rec->memory = cost.memory_bytes;
            rec->queue_ns = (uint64_t) cost.queue_ns;
            rec->busy_ns = (uint64_t) cost.busy_ns;
        }
    }

    ngx_http_nightlight_query_tell(r, &job->limits, &cost);
    ngx_http_nightlight_slow_query(r, job->out.api, &cost);
}


/* Called once the last part is rendered, and when the job ends. */

void
ngx_http_nightlight_api_rendered(ngx_http_nightlight_out_t *out)
{
    ngx_http_nightlight_job_t  *job;

    job = (ngx_http_nightlight_job_t *)
              ((u_char *) out - offsetof(ngx_http_nightlight_job_t, out));

    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

    ngx_http_nightlight_api_unhold(job);

    if (out->api) {
        ngx_http_nightlight_api_account(job);
    }

    nlt_api_destroy(out->api);
    out->api = NULL;
}


static void
ngx_http_nightlight_api_timeout(ngx_event_t *ev)
{
    ngx_http_nightlight_job_t *job = ev->data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (job->running) {
        nlt_api_expire(job->out.api);
        ngx_add_timer(ev, 1000);
        return;
    }

    if (!job->queued) {

        /* the client sleeps */

        nlt_api_idle(job->out.api);
        return;
    }

    ngx_http_nightlight_queue_leave(job);

    r = job->out.request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_log_error(NGX_LOG_ERR, c->log, 0,
                  "nightlight: query waited for a thread until its %s; "
                  "nightlight_slow_query tells which are dear",
                  job->hurried ? "wait= of nightlight_query_concurrency"
                               : "timeout");

    if (job->more) {

        /* it is too late to say so to the client */

        ngx_http_finalize_request(r, NGX_ERROR);
        ngx_http_run_posted_requests(c);
        return;
    }

    ngx_http_nightlight_api_waited(job);

    ngx_http_finalize_request(r, ngx_http_nightlight_send(&job->out));

    ngx_http_run_posted_requests(c);
}


/* A job that never ran is answered. */

static void
ngx_http_nightlight_api_waited(ngx_http_nightlight_job_t *job)
{
    char  why[NLT_ERR_TEXT_MAX];

    if (!job->hurried) {
        nlt_api_refuse(job->out.api, NLT_OUTCOME_TIMEOUT,
                       NGX_HTTP_SERVICE_UNAVAILABLE,
                       "query timed out in query queue");
        return;
    }

    *ngx_snprintf((u_char *) why, sizeof(why) - 1,
                  "query waited for %M ms: nightlight_query_concurrency lets "
                  "%uD of this %s run at once, and wait no longer",
                  job->conf->queue_wait, job->running_max,
                  job->conf->queue_key ? "key" : "tenant") = '\0';

    nlt_api_refuse(job->out.api, NLT_OUTCOME_LIMIT_QUEUE,
                   (int) job->conf->queue_status, why);
}


static void
ngx_http_nightlight_api_cleanup(void *data)
{
    ngx_http_nightlight_job_t *job = data;

    job->gone = 1;

    if (job->queued) {
        ngx_http_nightlight_queue_leave(job);
    }

    if (job->running) {
        nlt_api_cancel(job->out.api);
        return;
    }

    ngx_http_nightlight_api_free(job);
}


static void
ngx_http_nightlight_api_free(ngx_http_nightlight_job_t *job)
{
    ngx_http_nightlight_api_rendered(&job->out);
    ngx_free(job);
}


static void
ngx_http_nightlight_api_writer(ngx_http_request_t *r)
{
    ngx_http_nightlight_job_t  *job;

    job = ngx_http_get_module_ctx(r, ngx_http_nightlight_module);

    /* nothing to write before the thread is done */

    if (job->queued || job->running) {
        return;
    }

    if (job->held) {
        ngx_queue_remove(&job->queue);
        ngx_queue_insert_tail(&ngx_http_nightlight_held, &job->queue);
    }

    ngx_http_nightlight_send_more(&job->out);
}

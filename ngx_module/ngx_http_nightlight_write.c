
/*
 * ngx_http_nightlight_write.c - location handler of remote_write.
 *
 * Headers are judged before the body is read.  Decoding and appending happen
 * in the event loop, in slices: between two slices of a large request other
 * connections are served.  The timer that carries a request from slice to
 * slice is not cancelable, so a worker that shuts down finishes it first.  The
 * same timer bounds how long a request waits for a sync (wal_sync=always).
 */


#include "ngx_http_nightlight.h"


#define NGX_HTTP_NIGHTLIGHT_SYNC_TIMEOUT  30000   /* as senders have it */



typedef struct {
    ngx_http_request_t              *request;
    ngx_http_nightlight_loc_conf_t  *conf;
    nlt_ingest_t                    *owner;      /* of ingest */
    nlt_ingest_req_t                *ingest;
    ngx_http_nightlight_record_t    *record;     /* NULL: no memory */
    ngx_event_t                      event;
    ngx_http_nightlight_waiter_t     waiter;     /* for a sync */
    int                              version;    /* of remote_write */
    ngx_http_nightlight_limits_t     limits;
    ngx_str_t                        tenant;     /* data NULL: default */
    uint32_t                         number;     /* of it */

    /* of a body that lies in a file */
    ngx_thread_task_t               *task;
    u_char                          *copy;
    size_t                           size;
    ngx_err_t                        err;

    unsigned                         reading:1;  /* in a thread */
    unsigned                         gone:1;     /* cleanup has run */
    unsigned                         answered:1;
} ngx_http_nightlight_write_ctx_t;


static void ngx_http_nightlight_write_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_nightlight_write_stats(ngx_http_request_t *r,
    nlt_ingest_result_t *res);
static void ngx_http_nightlight_write_read(void *data, ngx_log_t *log);
static void ngx_http_nightlight_write_read_done(ngx_event_t *ev);
static void ngx_http_nightlight_write_begin(
    ngx_http_nightlight_write_ctx_t *ctx, ngx_str_t *body);
static void ngx_http_nightlight_write_step(
    ngx_http_nightlight_write_ctx_t *ctx);
static void ngx_http_nightlight_write_timer(ngx_event_t *ev);
static void ngx_http_nightlight_write_wake(void *data);
static void ngx_http_nightlight_write_expire(void *data, const char *why);
static void ngx_http_nightlight_write_finish(
    ngx_http_nightlight_write_ctx_t *ctx, nlt_ingest_result_t *res);
static void ngx_http_nightlight_write_cleanup(void *data);


/* Another method than POST: as the rest of the API answers it. */

static ngx_int_t
ngx_http_nightlight_write_method(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    if (r->method == NGX_HTTP_OPTIONS) {

        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }

        if (ngx_http_nightlight_cors(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        r->headers_out.status = NGX_HTTP_NO_CONTENT;
        r->header_only = 1;

        rc = ngx_http_send_header(r);

        return rc == NGX_AGAIN ? NGX_OK : rc;
    }

    if (ngx_http_nightlight_add_header(r, "Allow", "OPTIONS, POST") != NGX_OK
        || ngx_http_nightlight_add_header(r, "X-Content-Type-Options",
                                          "nosniff")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_nightlight_send_text(r, NGX_HTTP_NOT_ALLOWED,
                                         NLT_STR("Method Not Allowed"), 0);
}


ngx_int_t
ngx_http_nightlight_write_handler(ngx_http_request_t *r)
{
    int                               version;
    nlt_err_t                         err;
    ngx_int_t                         rc;
    ngx_str_t                         type, encoding, tenant;
    ngx_uint_t                        wait;
    nlt_store_t                      *store;
    nlt_ingest_result_t               none;
    ngx_http_nightlight_record_t     *rec;
    ngx_http_nightlight_loc_conf_t   *nlcf;
    ngx_http_nightlight_write_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_nightlight_subrequest(r);
    }

    rec = ngx_http_nightlight_record(r);
    ngx_http_nightlight_record_outcome(rec, "refused");

    if (r->method != NGX_HTTP_POST) {
        return ngx_http_nightlight_write_method(r);
    }

    nlcf = ngx_http_get_module_loc_conf(r, ngx_http_nightlight_module);

    rc = ngx_http_nightlight_tenant(r, nlcf, &tenant, &err);
    if (rc != NGX_DECLINED) {
        return ngx_http_nightlight_send_text(r, (ngx_uint_t) rc,
                                    (nlt_str_t) { err.len, err.text }, 0);
    }

    encoding = ngx_http_nightlight_header(r, "Content-Encoding");
    type = ngx_http_nightlight_header(r, "Content-Type");

    if (nlt_rw_negotiate((nlt_str_t) { type.len, (char *) type.data },
                         (nlt_str_t) { encoding.len, (char *) encoding.data },
                         &version, &err)
        != NLT_OK)
    {
        ngx_memzero(&none, sizeof(nlt_ingest_result_t));

        if (version == 2
            && ngx_http_nightlight_write_stats(r, &none) != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_nightlight_send_text(r,
                                          NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                          (nlt_str_t) { err.len, err.text },
                                          0);
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_nightlight_write_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_nightlight_limits_begin(r, &nlcf->limits, &nlcf->store->name,
                                         &ctx->limits)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    store = ctx->limits.ncharges ? ngx_http_nightlight_store_get(nlcf->store)
                                 : NULL;

    if (ngx_http_nightlight_limits_over(r, &ctx->limits,
                                        store ? nlt_store_ingest(store) : NULL,
                                        &err, &wait)
        == NGX_DECLINED)
    {
        /* the body is thrown away as it comes, and the connection kept */

        r->expect_tested = 1;
        ngx_http_nightlight_limits_drain(r);

        ngx_memzero(&none, sizeof(nlt_ingest_result_t));

        if ((version == 2
             && ngx_http_nightlight_write_stats(r, &none) != NGX_OK)
            || ngx_http_nightlight_limits_headers(r, &ctx->limits) != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_nightlight_send_text(r, NGX_HTTP_TOO_MANY_REQUESTS,
                                          (nlt_str_t) { err.len, err.text },
                                          wait);
    }

    ctx->version = version;
    ctx->record = rec;
    ctx->tenant = tenant;
    ngx_http_set_ctx(r, ctx, ngx_http_nightlight_module);

    rc = ngx_http_read_client_request_body(r, ngx_http_nightlight_write_body);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


static void
ngx_http_nightlight_write_body(ngx_http_request_t *r)
{
    size_t                            size;
    ngx_int_t                         rc;
    ngx_str_t                         body;
    ngx_http_cleanup_t               *cln;
    ngx_http_nightlight_write_ctx_t  *ctx;
    ngx_http_nightlight_main_conf_t  *nmcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_nightlight_module);
    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ctx->request = r;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_nightlight_module);

    ctx->event.handler = ngx_http_nightlight_write_timer;
    ctx->event.data = ctx;
    ctx->event.log = r->connection->log;

    ctx->waiter.wake = ngx_http_nightlight_write_wake;
    ctx->waiter.expire = ngx_http_nightlight_write_expire;
    ctx->waiter.data = ctx;

    cln->handler = ngx_http_nightlight_write_cleanup;
    cln->data = ctx;

    rc = ngx_http_nightlight_body(r, &body, &size);

    if (rc == NGX_OK) {
        ngx_http_nightlight_write_begin(ctx, &body);
        return;
    }

    if (rc == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    /* NGX_DECLINED: the body is in a file, which a thread reads */

    nmcf = ngx_http_get_module_main_conf(r, ngx_http_nightlight_module);

    ctx->size = size;
    ctx->copy = ngx_alloc(size ? size : 1, r->connection->log);
    ctx->task = ngx_thread_task_alloc(r->pool, 0);

    if (ctx->copy == NULL || ctx->task == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ctx->task->ctx = ctx;
    ctx->task->handler = ngx_http_nightlight_write_read;
    ctx->task->event.data = ctx;
    ctx->task->event.handler = ngx_http_nightlight_write_read_done;

    if (ngx_thread_task_post(nmcf->threads, ctx->task) != NGX_OK) {
        ngx_http_finalize_request(r, ngx_http_nightlight_send_text(r,
                                  NGX_HTTP_SERVICE_UNAVAILABLE,
                                  NLT_STR("too many bodies are being read"),
                                  1));
        return;
    }

    /* keeps request and worker alive until the thread is done */

    ctx->reading = 1;
    r->main->blocked++;
    r->write_event_handler = ngx_http_request_empty_handler;
    r->read_event_handler = ngx_http_block_reading;
    ngx_add_timer(&ctx->event, 60000);
}


static void
ngx_http_nightlight_write_read(void *data, ngx_log_t *log)
{
    ngx_http_nightlight_write_ctx_t *ctx = data;

    ctx->err = ngx_http_nightlight_body_read(ctx->request, ctx->copy,
                                             ctx->size);
}


static void
ngx_http_nightlight_write_read_done(ngx_event_t *ev)
{
    ngx_http_nightlight_write_ctx_t *ctx = ev->data;

    ngx_str_t            body;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ctx->reading = 0;
    r->main->blocked--;

    if (ctx->event.timer_set) {
        ngx_del_timer(&ctx->event);
    }

    if (ctx->gone) {

        /* nginx has swapped in its finalizer meanwhile */

        ngx_free(ctx->copy);
        ctx->copy = NULL;

        c->write->handler(c->write);
        return;
    }

    if (ctx->err) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ctx->err,
                      "nightlight: cannot read the body from its temporary "
                      "file; see to the disk of client_body_temp_path");
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);

    } else {
        body.data = ctx->copy;
        body.len = ctx->size;
        ngx_http_nightlight_write_begin(ctx, &body);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_nightlight_write_begin(ngx_http_nightlight_write_ctx_t *ctx,
    ngx_str_t *body)
{
    nlt_rc_t              rc;
    nlt_err_t             err;
    ngx_uint_t            wait;
    ngx_uint_t            status_code;
    nlt_store_t          *store;
    nlt_ingest_t         *ingest;
    nlt_ingest_conf_t     conf;
    nlt_store_status_t    status;
    nlt_ingest_result_t   res;

    store = ngx_http_nightlight_store_get(ctx->conf->store);
    ingest = store ? nlt_store_ingest(store) : NULL;

    if (ingest == NULL) {
        ngx_memzero(&res, sizeof(nlt_ingest_result_t));
        res.status = NGX_HTTP_SERVICE_UNAVAILABLE;
        res.retry_after_s = 1;

        if (store) {
            nlt_store_status(store, &status);
            (void) nlt_err_set(&res.err, NLT_ENOTREADY, "not ready: %s",
                               status.reason);
        } else {
            (void) nlt_err_set(&res.err, NLT_ENOTREADY,
                               "the store cannot be opened");
        }

        ngx_http_nightlight_write_finish(ctx, &res);
        return;
    }

    /* others of the same key may have been decoded while its body came */

    if (ngx_http_nightlight_limits_over(ctx->request, &ctx->limits, ingest,
                                        &err, &wait)
        == NGX_DECLINED)
    {
        ngx_memzero(&res, sizeof(nlt_ingest_result_t));
        res.status = NGX_HTTP_TOO_MANY_REQUESTS;
        res.retry_after_s = (int) wait;
        res.err = err;

        ngx_http_nightlight_write_finish(ctx, &res);
        return;
    }

    ngx_memzero(&res, sizeof(nlt_ingest_result_t));
    status_code = ngx_http_nightlight_tenant_write(store, ctx->conf,
                                                   &ctx->tenant, &ctx->number,
                                                   &res.err);

    if (status_code) {
        res.status = (int) status_code;
        res.retry_after_s = status_code == NGX_HTTP_SERVICE_UNAVAILABLE;

        ngx_http_nightlight_write_finish(ctx, &res);
        return;
    }

    ngx_http_nightlight_limits_shape(ctx->request, &ctx->conf->limits,
                                     &ctx->limits, &conf);
    conf.tenant = ctx->number;
    conf.sync = ctx->conf->store->wal_sync == NLT_WAL_SYNC_ALWAYS;
    conf.version = ctx->version;
    conf.retention_ms = (int64_t) ctx->conf->store->retention * 1000;

    ctx->owner = ingest;

    ngx_http_nightlight_cert(ctx->request, store, conf.tenant);

    rc = nlt_ingest_begin(ingest, &conf,
                          (nlt_str_t) { body->len, (char *) body->data },
                          &ctx->ingest);

    if (rc != NLT_OK) {
        ctx->ingest = NULL;
        ngx_memzero(&res, sizeof(nlt_ingest_result_t));
        res.status = NGX_HTTP_SERVICE_UNAVAILABLE;
        res.retry_after_s = 1;
        (void) nlt_err_set(&res.err, rc, "%s", nlt_rc_text(rc));

        ngx_http_nightlight_write_finish(ctx, &res);
        return;
    }

    ctx->request->read_event_handler = ngx_http_block_reading;
    ctx->request->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_nightlight_write_step(ctx);
}


static void
ngx_http_nightlight_write_timer(ngx_event_t *ev)
{
    ngx_http_nightlight_write_ctx_t *ctx = ev->data;

    ngx_connection_t  *c;

    if (ctx->ingest == NULL) {

        /* a thread is still reading the body: keep the worker alive */

        ngx_add_timer(ev, 60000);
        return;
    }

    if (ctx->waiter.sync) {
        ngx_http_nightlight_sync_leave(&ctx->waiter);
        ngx_http_nightlight_write_expire(ctx,
                                   "the disk takes too long to sync the log");
        return;
    }

    c = ctx->request->connection;

    ngx_http_set_log_request(c->log, ctx->request);

    ngx_http_nightlight_write_step(ctx);

    ngx_http_run_posted_requests(c);
}


/*
 * The next slice, after all others have had their turn.  A timer of no time
 * would not do: nginx runs it again before it looks at any connection.  But
 * there has to be one, since it keeps a worker that shuts down from leaving.
 */

static void
ngx_http_nightlight_write_later(ngx_http_nightlight_write_ctx_t *ctx,
    ngx_msec_t pause)
{
    if (pause) {
        if (ctx->event.timer_set) {
            ngx_del_timer(&ctx->event);
        }

        ngx_add_timer(&ctx->event, pause);
        return;
    }

    if (!ctx->event.timer_set) {
        ngx_add_timer(&ctx->event, 60000);
    }

    ngx_post_event(&ctx->event, &ngx_posted_next_events);
}


static void
ngx_http_nightlight_write_quiet(ngx_http_nightlight_write_ctx_t *ctx)
{
    if (ctx->event.timer_set) {
        ngx_del_timer(&ctx->event);
    }

    if (ctx->event.posted) {
        ngx_delete_posted_event(&ctx->event);
    }
}


static void
ngx_http_nightlight_write_step(ngx_http_nightlight_write_ctx_t *ctx)
{
    nlt_ingest_result_t               res;
    ngx_http_nightlight_main_conf_t  *nmcf;

    if (nlt_ingest_run(ctx->ingest, &res) == NLT_AGAIN) {

        ngx_http_nightlight_limits_charge(&ctx->limits,
                                          nlt_ingest_seen(ctx->ingest));

        if (!nlt_ingest_waits(ctx->ingest)) {
            ngx_http_nightlight_write_later(ctx,
                                           nlt_ingest_pause_ms(ctx->ingest));
            return;
        }

        /* a sync that began before this request was logged wakes it in vain */

        if (!ctx->event.timer_set) {
            ngx_add_timer(&ctx->event, NGX_HTTP_NIGHTLIGHT_SYNC_TIMEOUT);
        }

        nmcf = ngx_http_get_module_main_conf(ctx->request,
                                             ngx_http_nightlight_module);

        ngx_http_nightlight_sync_wait(&ctx->waiter, ctx->conf->store->runtime,
                                      ctx->owner, nmcf->threads);
        return;
    }

    ngx_http_nightlight_write_quiet(ctx);

    ctx->ingest = NULL;

    ngx_http_nightlight_write_finish(ctx, &res);
}


/* A sync has ended. */

static void
ngx_http_nightlight_write_wake(void *data)
{
    ngx_http_nightlight_write_ctx_t *ctx = data;

    ngx_connection_t  *c;

    c = ctx->request->connection;

    ngx_http_set_log_request(c->log, ctx->request);

    ngx_http_nightlight_write_step(ctx);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_nightlight_write_expire(void *data, const char *why)
{
    ngx_http_nightlight_write_ctx_t *ctx = data;

    ngx_connection_t     *c;
    nlt_ingest_result_t   res;

    c = ctx->request->connection;

    ngx_http_set_log_request(c->log, ctx->request);

    ngx_http_nightlight_write_quiet(ctx);

    nlt_ingest_expire(ctx->ingest, why, &res);
    ctx->ingest = NULL;

    ngx_http_nightlight_write_finish(ctx, &res);

    ngx_http_run_posted_requests(c);
}


/* What was written, to a 2.0 sender. */

static ngx_int_t
ngx_http_nightlight_write_stats(ngx_http_request_t *r,
    nlt_ingest_result_t *res)
{
    size_t        i;
    u_char        value[NGX_INT64_LEN + 1];
    const char   *names[] = { "X-Prometheus-Remote-Write-Samples-Written",
                              "X-Prometheus-Remote-Write-Histograms-Written",
                              "X-Prometheus-Remote-Write-Exemplars-Written" };
    uint64_t      values[] = { res->written_samples, res->written_histograms,
                               res->written_exemplars };

    for (i = 0; i < 3; i++) {

        *ngx_sprintf(value, "%uL", values[i]) = '\0';

        if (ngx_http_nightlight_add_header(r, names[i], (char *) value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_nightlight_write_record(ngx_http_nightlight_record_t *rec,
    nlt_ingest_result_t *res)
{
    if (rec == NULL) {
        return;
    }

    rec->samples = res->status < 400 ? res->samples : res->written_samples;
    rec->series = res->series;
    rec->decoded = res->decoded_bytes;

    ngx_http_nightlight_record_outcome(rec, res->status < 400 ? "ok"
                                            : res->status >= 500 ? "failed"
                                            : res->written_samples ? "partial"
                                            : "refused");
}


static void
ngx_http_nightlight_write_finish(ngx_http_nightlight_write_ctx_t *ctx,
    nlt_ingest_result_t *res)
{
    nlt_str_t            text;
    ngx_int_t            rc;
    ngx_uint_t           level;
    ngx_http_request_t  *r;

    r = ctx->request;
    ctx->answered = 1;

    ngx_http_nightlight_write_record(ctx->record, res);

    ngx_http_nightlight_limits_charge(&ctx->limits, res->seen);

    if (ngx_http_nightlight_limits_headers(r, &ctx->limits) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (res->skipped_histograms) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "nightlight: %uL native histograms of a remote_write "
                      "request are not stored yet", res->skipped_histograms);
    }

    if (ctx->version == 2
        && ngx_http_nightlight_write_stats(r, res) != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (res->status == NGX_HTTP_NO_CONTENT) {
        r->headers_out.status = NGX_HTTP_NO_CONTENT;
        r->header_only = 1;

        rc = ngx_http_send_header(r);
        ngx_http_finalize_request(r, rc);
        return;
    }

    level = res->status < 500 ? NGX_LOG_INFO : NGX_LOG_ERR;

    if (res->written_samples) {
        ngx_log_error(level, r->connection->log, 0,
                      "nightlight: remote_write refused in part, %uL samples "
                      "were taken: %s; %s", res->written_samples,
                      res->err.text, nlt_rc_todo(res->err.rc));

    } else {
        ngx_log_error(level, r->connection->log, 0,
                      "nightlight: remote_write refused with %d: %s; %s",
                      res->status, res->err.text, nlt_rc_todo(res->err.rc));
    }

    text.len = res->err.len;
    text.data = res->err.text;

    if (res->text.len) {
        text = res->text;
    }

    rc = ngx_http_nightlight_send_text(r, res->status, text,
                                       res->retry_after_s);
    ngx_http_finalize_request(r, rc);
}


static void
ngx_http_nightlight_write_cleanup(void *data)
{
    ngx_http_nightlight_write_ctx_t *ctx = data;

    ctx->gone = 1;

    if (!ctx->answered && ctx->record) {
        ctx->record->cancelled = 1;
        ngx_http_nightlight_record_outcome(ctx->record, "canceled");
    }

    if (ctx->reading) {

        /* the timer keeps the worker until the thread is done */

        return;
    }

    ngx_http_nightlight_sync_leave(&ctx->waiter);

    ngx_http_nightlight_write_quiet(ctx);

    if (ctx->ingest) {

        /* the work was done for it, whoever went away */

        ngx_http_nightlight_limits_charge(&ctx->limits,
                                          nlt_ingest_seen(ctx->ingest));
    }

    nlt_ingest_cancel(ctx->ingest);
    ctx->ingest = NULL;

    if (ctx->copy) {
        ngx_free(ctx->copy);
        ctx->copy = NULL;
    }
}

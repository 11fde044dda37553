
/*
 * ngx_http_nightlight_sync.c - group commit of writes: wal_sync=always.
 *
 * Requests that have been logged wait in a queue of their store.  A sync
 * begins when the events of this round have been handled, so that all of them
 * share it, and runs in a thread of nginx's pool "default"; whoever is logged
 * meanwhile waits for the next one, which begins when this one has ended.
 *
 *     logged -> queue -> [posted] nlt_ingest_sync_begin()
 *                            thread: nlt_ingest_sync_run()
 *     204   <-  queue  <-  done: nlt_ingest_sync_end()  -> begin again
 *
 * The thread knows the store's ingester and nothing of requests, so a request
 * may go at any time.  Core keeps the ingester as long as a sync of it has not
 * ended; a worker ends its threads before it closes stores.
 */


#include "ngx_http_nightlight.h"


static void ngx_http_nightlight_sync_begin(ngx_event_t *ev);
static void ngx_http_nightlight_sync_thread(void *data, ngx_log_t *log);
static void ngx_http_nightlight_sync_done(ngx_event_t *ev);
static void ngx_http_nightlight_sync_wake(ngx_http_nightlight_sync_t *sync,
    const char *why);


void
ngx_http_nightlight_sync_wait(ngx_http_nightlight_waiter_t *w,
    ngx_http_nightlight_runtime_t *rt, nlt_ingest_t *ingest,
    ngx_thread_pool_t *threads)
{
    ngx_http_nightlight_sync_t  *sync;

    sync = &rt->sync;

    if (sync->waiting.next == NULL) {
        ngx_queue_init(&sync->waiting);

        sync->begin.handler = ngx_http_nightlight_sync_begin;
        sync->begin.data = sync;
        sync->begin.log = ngx_cycle->log;
    }

    /*
     * All that wait belong to one ingester: it is replaced only when it has no
     * requests, and so has none in the queue.
     */

    sync->ingest = ingest;
    sync->threads = threads;

    w->sync = sync;
    ngx_queue_insert_tail(&sync->waiting, &w->queue);

    if (!sync->running && !sync->begin.posted) {
        ngx_post_event(&sync->begin, &ngx_posted_events);
    }
}


void
ngx_http_nightlight_sync_leave(ngx_http_nightlight_waiter_t *w)
{
    if (w->sync) {
        ngx_queue_remove(&w->queue);
        w->sync = NULL;
    }
}


static void
ngx_http_nightlight_sync_begin(ngx_event_t *ev)
{
    ngx_http_nightlight_sync_t *sync = ev->data;

    if (sync->running || ngx_queue_empty(&sync->waiting)) {
        return;
    }

    switch (nlt_ingest_sync_begin(sync->ingest)) {

    case NLT_OK:
        break;

    case NLT_EOF:

        /* all of it went into blocks, or has failed */

        ngx_http_nightlight_sync_wake(sync, NULL);
        return;

    default:
        return;
    }

    ngx_memzero(&sync->task, sizeof(ngx_thread_task_t));

    sync->task.ctx = sync->ingest;
    sync->task.handler = ngx_http_nightlight_sync_thread;
    sync->task.event.data = sync;
    sync->task.event.handler = ngx_http_nightlight_sync_done;
    sync->task.event.log = ngx_cycle->log;

    if (ngx_thread_task_post(sync->threads, &sync->task) != NGX_OK) {

        /* the pool's queue is full, and it has said so in the log */

        nlt_ingest_sync_cancel(sync->ingest);
        ngx_http_nightlight_sync_wake(sync,
                                  "no thread is free to sync the log");
        return;
    }

    sync->running = 1;
}


static void
ngx_http_nightlight_sync_thread(void *data, ngx_log_t *log)
{
    nlt_ingest_sync_run(data);
}


static void
ngx_http_nightlight_sync_done(ngx_event_t *ev)
{
    ngx_http_nightlight_sync_t *sync = ev->data;

    sync->running = 0;

    nlt_ingest_sync_end(sync->ingest);

    /* who was logged meanwhile waits again, and so begins the next one */

    ngx_http_nightlight_sync_wake(sync, NULL);
}


/*
 * Each of those that wait now looks for itself, or expires, if there is a
 * reason.  Others may come and go meanwhile: an answer can end a connection
 * with more requests on it, or begin the next request of a client.
 */

static void
ngx_http_nightlight_sync_wake(ngx_http_nightlight_sync_t *sync,
    const char *why)
{
    ngx_queue_t                    now, *q;
    ngx_http_nightlight_waiter_t  *w;

    ngx_queue_init(&now);

    if (!ngx_queue_empty(&sync->waiting)) {
        ngx_queue_add(&now, &sync->waiting);
        ngx_queue_init(&sync->waiting);
    }

    while (!ngx_queue_empty(&now)) {
        q = ngx_queue_head(&now);
        w = ngx_queue_data(q, ngx_http_nightlight_waiter_t, queue);

        ngx_queue_remove(q);
        w->sync = NULL;

        if (why) {
            w->expire(w->data, why);

        } else {
            w->wake(w->data);
        }
    }
}


/*
 * ngx_http_nightlight_help.c - more threads for a query that runs.
 *
 * A query whose series take long asks for others to make some of their rows
 * (core/promql/nlt_pql_crew.h).  It gets a task of the pool it runs in itself,
 * as long as there are fewer queries and such tasks, of all workers, than the
 * process may use processors: so queries come first, and on a busy machine
 * each has its own thread and no more.
 *
 * The task is posted from a thread of the pool: ngx_thread_task_post() takes
 * the pool's mutex for all it does, and that is all it needs.  What it says
 * when it is done comes to the event loop, which frees it.  The query does not
 * wait for that: it says that it wants no help any more, and a task that has
 * not begun by then begins with that.  So neither a client that leaves nor a
 * worker that has to go knows of these tasks; a worker ends its pools only
 * when the tasks in them have been run, and then does not care for the memory
 * of those whose end it has not heard of.
 */


#include "ngx_http_nightlight_job.h"

#include <sched.h>


typedef struct {
    ngx_thread_task_t   task;
    nlt_help_call_t    *call;
} ngx_http_nightlight_hand_t;


static bool ngx_http_nightlight_help_post(void *ctx, nlt_help_call_t *call);
static void ngx_http_nightlight_help_thread(void *data, ngx_log_t *log);
static void ngx_http_nightlight_help_done(ngx_event_t *ev);


/* Of this process. */

static ngx_uint_t  ngx_http_nightlight_help_max;


/* A worker begins. */

void
ngx_http_nightlight_help_init_process(void)
{
    int        n;
    cpu_set_t  set;

    /* worker_cpu_affinity binds a worker's threads too */

    n = sched_getaffinity(0, sizeof(cpu_set_t), &set) == 0
        ? CPU_COUNT(&set) : (int) ngx_ncpu;

    n = ngx_min(n, (int) ngx_ncpu);

    ngx_http_nightlight_help_max = n > 1 ? n - 1 : 0;
}


const nlt_help_t *
ngx_http_nightlight_help_get(ngx_http_nightlight_job_t *job)
{
    nlt_help_t  *help;

    if (ngx_http_nightlight_help_max == 0) {
        return NULL;
    }

    help = &job->help;

    help->post = ngx_http_nightlight_help_post;
    help->ctx = job->threads;
    help->mem = ngx_http_nightlight_env.mem;
    help->n_max = (unsigned) ngx_http_nightlight_help_max;
    help->worth_ns = NGX_HTTP_NIGHTLIGHT_HELP_WORTH;

    return help;
}


/* In the thread of a query. */

static bool
ngx_http_nightlight_help_post(void *ctx, nlt_help_call_t *call)
{
    ngx_thread_pool_t *threads = ctx;

    ngx_http_nightlight_hand_t  *hand;

    if (!ngx_http_nightlight_queue_help(ngx_http_nightlight_help_max + 1)) {
        return false;
    }

    hand = ngx_calloc(sizeof(ngx_http_nightlight_hand_t), ngx_cycle->log);

    if (hand) {
        hand->call = call;
        hand->task.ctx = hand;
        hand->task.handler = ngx_http_nightlight_help_thread;
        hand->task.event.data = hand;
        hand->task.event.handler = ngx_http_nightlight_help_done;

        if (ngx_thread_task_post(threads, &hand->task) == NGX_OK) {
            return true;
        }

        ngx_free(hand);
    }

    ngx_http_nightlight_queue_helped();

    return false;
}


static void
ngx_http_nightlight_help_thread(void *data, ngx_log_t *log)
{
    ngx_http_nightlight_hand_t *hand = data;

    ngx_http_nightlight_api_nice();

    nlt_help_run(hand->call);

    ngx_http_nightlight_queue_helped();
}


static void
ngx_http_nightlight_help_done(ngx_event_t *ev)
{
    ngx_free(ev->data);
}

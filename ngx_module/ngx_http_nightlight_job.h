
/*
 * ngx_http_nightlight_job.h - jobs of the HTTP API on their way to threads.
 *
 *   query.c   what becomes of a job: the request before, the answer behind it
 *   queue.c   whose turn it is
 *   brief.c   which need no thread
 *   help.c    which may have more than one
 */


#ifndef _NGX_HTTP_NIGHTLIGHT_JOB_H_INCLUDED_
#define _NGX_HTTP_NIGHTLIGHT_JOB_H_INCLUDED_


#include "ngx_http_nightlight.h"


#define NGX_HTTP_NIGHTLIGHT_GRACE        50      /* ms */

/* ns of work; 0, for tests, has every query ask for help as soon as it can */

#ifndef NGX_HTTP_NIGHTLIGHT_HELP_WORTH
#define NGX_HTTP_NIGHTLIGHT_HELP_WORTH   750000
#endif


typedef struct ngx_http_nightlight_job_s  ngx_http_nightlight_job_t;

struct ngx_http_nightlight_job_s {
    ngx_queue_t                      queue;      /* waiting, running, held */
    ngx_thread_task_t                task;
    ngx_http_nightlight_out_t        out;        /* request, api, position */
    ngx_http_nightlight_loc_conf_t  *conf;
    nlt_api_conf_t                   limits;     /* of this request */
    ngx_http_nightlight_runtime_t   *runtime;
    ngx_http_nightlight_record_t    *record;     /* NULL: no memory */
    ngx_thread_pool_t               *threads;
    nlt_help_t                       help;       /* in those */
    ngx_event_t                      timer;

    uint64_t                         key;        /* whose: nlt_turns_key() */
    uint32_t                         ticket;     /* or NLT_TURNS_NONE */
    uint32_t                         running_max;    /* of its key */
    ngx_msec_t                       until;      /* its time is up */
    size_t                           size;       /* of request or answer */
    uint64_t                         digest;     /* of its like; 0: none */
    long                             faults;     /* that waited for a disk */

    unsigned                         queued:1;
    unsigned                         hurried:1;  /* timer is of wait= */
    unsigned                         running:1;  /* in a thread */
    unsigned                         held:1;     /* for its reader */
    unsigned                         more:1;     /* not the first time */
    unsigned                         gone:1;     /* cleanup has run */
};


/*
 * A new job: puts it among those of its tenant, or of what key= says.
 *   NGX_OK        it waits, or runs already
 *   NGX_DECLINED  there is no room; why says which limit it was
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_http_nightlight_queue_post(ngx_http_nightlight_job_t *job,
    uint32_t tenant, char *why, size_t size);

/*
 * May it run at once, in the event loop?  When nobody waits in this worker,
 * and its key has less in threads than its limit.
 */
ngx_uint_t ngx_http_nightlight_queue_is_free(ngx_http_nightlight_job_t *job,
    uint32_t tenant);

/* A job that goes on waits again; it is never refused. */
void ngx_http_nightlight_queue_wait(ngx_http_nightlight_job_t *job);

/* It waits no more, and has not run. */
void ngx_http_nightlight_queue_leave(ngx_http_nightlight_job_t *job);

/* Its thread is done: the next one begins. */
void ngx_http_nightlight_queue_done(ngx_http_nightlight_job_t *job);

/* Adds to what this process says of itself in the metrics. */
void ngx_http_nightlight_queue_load(ngx_http_nightlight_job_t *job,
    ngx_int_t running, ngx_int_t waiting, off_t held);

/*
 * May one thread more work for a query that runs, beside all those of fewer
 * than max?  If so, it says when it has: any thread.
 */
ngx_uint_t ngx_http_nightlight_queue_help(uint32_t max);
void ngx_http_nightlight_queue_helped(void);

/* ---- help.c ---- */

/* What a job may ask; NULL: there is none to be had.  As long as the job. */
const nlt_help_t *ngx_http_nightlight_help_get(ngx_http_nightlight_job_t *job);

/* ---- brief.c ---- */

/*
 * Tries a job in the event loop, if others like it have been brief and there
 * is time for it now: is it answered?  If not, and req is what it was made of,
 * job->out.api is a new one, or NULL for want of memory.
 */
ngx_uint_t ngx_http_nightlight_brief(ngx_http_nightlight_job_t *job,
    nlt_store_t *store, const nlt_api_conf_t *conf,
    const nlt_api_request_t *req);

/* A thread has run it for the first time: what has it cost? */
void ngx_http_nightlight_brief_was(ngx_http_nightlight_job_t *job);

/* Page faults so far for which the calling thread had to wait for a disk. */
long ngx_http_nightlight_brief_faults(void);

/* ---- query.c ---- */

/* Has this thread give way to the event loops. */
void ngx_http_nightlight_api_nice(void);

/* The work, in a thread, and what follows in the event loop. */
void ngx_http_nightlight_api_thread(void *data, ngx_log_t *log);
void ngx_http_nightlight_api_done(ngx_event_t *ev);


#endif /* _NGX_HTTP_NIGHTLIGHT_JOB_H_INCLUDED_ */

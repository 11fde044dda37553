
/*
 * ngx_http_nightlight_brief.c - which queries need no thread.
 *
 * The way to a thread and back costs a query some 60 us of processor time,
 * most of it the kernel's: twice what the evaluation of a single series takes.
 * So a query that is sure to be brief is answered where it arrives, in the
 * event loop.  It is if one of the last two like it (nlt_api_digest(): the
 * same text, step and length of range) was brief, wherever that ran; what is
 * not known goes to a thread and is known afterwards.
 *
 * Four bounds keep the event loop free: a query is given up when it takes
 * longer all the same, and then a thread does it, and its like for a while;
 * one turn of the loop gives queries no more than TURN; nobody is overtaken
 * who waits for a thread, and no limit of nightlight_query_concurrency passed;
 * and nothing is read but the head, which is memory.
 */


#include "ngx_http_nightlight_job.h"


#define NGX_HTTP_NIGHTLIGHT_BRIEF        500000  /* ns */
#define NGX_HTTP_NIGHTLIGHT_BRIEF_STOP   1500000
#define NGX_HTTP_NIGHTLIGHT_BRIEF_TURN   1000000
#define NGX_HTTP_NIGHTLIGHT_BRIEF_SKIP   100     /* runs */
#define NGX_HTTP_NIGHTLIGHT_BRIEF_KINDS  2048    /* a power of two */


typedef struct {
    uint64_t                         digest;
    uint32_t                         last;       /* ns */
    uint32_t                         before;     /* that */
    uint32_t                         skip;       /* runs not to try */
} ngx_http_nightlight_kind_t;


/* Event loop only; a kind that comes takes the place of another. */

static ngx_http_nightlight_kind_t
    ngx_http_nightlight_kinds[NGX_HTTP_NIGHTLIGHT_BRIEF_KINDS];
static ngx_msec_t  ngx_http_nightlight_turn;
static int64_t     ngx_http_nightlight_turn_spent;


static ngx_http_nightlight_kind_t *
ngx_http_nightlight_kind(uint64_t digest)
{
    return &ngx_http_nightlight_kinds[(digest >> 1)
                                      % NGX_HTTP_NIGHTLIGHT_BRIEF_KINDS];
}


static int64_t
ngx_http_nightlight_brief_busy(ngx_http_nightlight_job_t *job)
{
    nlt_api_cost_t  cost;

    nlt_api_cost(job->out.api, &cost);

    return cost.busy_ns;
}


void
ngx_http_nightlight_brief_was(ngx_http_nightlight_job_t *job)
{
    int64_t                      busy;
    ngx_http_nightlight_kind_t  *k;

    if (job->digest == 0) {
        return;
    }

    k = ngx_http_nightlight_kind(job->digest);

    if (k->digest != job->digest) {
        k->digest = job->digest;
        k->last = NGX_MAX_UINT32_VALUE;
        k->skip = 0;
    }

    busy = ngx_http_nightlight_brief_busy(job);

    k->before = k->last;
    k->last = (uint32_t) ngx_min(busy, (int64_t) NGX_MAX_UINT32_VALUE);

    if (k->skip) {
        k->skip--;
    }
}


/* Does a job look brief, and is there time for it now? */

static ngx_uint_t
ngx_http_nightlight_brief_may(ngx_http_nightlight_job_t *job, uint32_t tenant)
{
    ngx_http_nightlight_kind_t  *k;

    job->digest = nlt_api_digest(job->out.api);

    if (job->digest == 0) {
        return 0;
    }

    k = ngx_http_nightlight_kind(job->digest);

    if (k->digest != job->digest || k->skip
        || ngx_min(k->last, k->before) > NGX_HTTP_NIGHTLIGHT_BRIEF)
    {
        return 0;
    }

    if (ngx_http_nightlight_turn != ngx_current_msec) {
        ngx_http_nightlight_turn = ngx_current_msec;
        ngx_http_nightlight_turn_spent = 0;
    }

    return ngx_http_nightlight_turn_spent < NGX_HTTP_NIGHTLIGHT_BRIEF_TURN
           && ngx_http_nightlight_queue_is_free(job, tenant);
}


ngx_uint_t
ngx_http_nightlight_brief(ngx_http_nightlight_job_t *job, nlt_store_t *store,
    const nlt_api_conf_t *conf, const nlt_api_request_t *req)
{
    ngx_uint_t  done;

    if (!ngx_http_nightlight_brief_may(job, conf->tenant)) {
        return 0;
    }

    done = nlt_api_try(job->out.api, NGX_HTTP_NIGHTLIGHT_BRIEF_STOP);

    ngx_http_nightlight_turn_spent += ngx_http_nightlight_brief_busy(job);

    if (done) {
        ngx_http_nightlight_brief_was(job);
        return 1;
    }

    ngx_http_nightlight_kind(job->digest)->skip =
                                            NGX_HTTP_NIGHTLIGHT_BRIEF_SKIP;

    nlt_api_destroy(job->out.api);

    if (nlt_api_create(&job->runtime->env, store, conf, req,
                       &job->out.api)
        != NLT_OK)
    {
        job->out.api = NULL;
    }

    return 0;
}

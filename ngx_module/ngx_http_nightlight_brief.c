
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
 * and nothing is read that may be on the disk only.
 *
 * The head is memory.  Blocks are files, and mapped: whether a page of them is
 * in memory shows when it is touched.  They are read here if the last query
 * like it that did had no fault that waited for the disk, which the
 * kernel counts; that is looked at again after each.  If one has to wait all
 * the same, pages are being thrown out: its like go to threads for a while,
 * and for COLD all queries of this worker that read blocks.
 */


#include "ngx_http_nightlight_job.h"

#include <sys/resource.h>


#define NGX_HTTP_NIGHTLIGHT_BRIEF        500000  /* ns */
#define NGX_HTTP_NIGHTLIGHT_BRIEF_STOP   1500000
#define NGX_HTTP_NIGHTLIGHT_BRIEF_TURN   1000000
#define NGX_HTTP_NIGHTLIGHT_BRIEF_SKIP   100     /* runs */
#define NGX_HTTP_NIGHTLIGHT_BRIEF_COLD   1000    /* ms */
#define NGX_HTTP_NIGHTLIGHT_BRIEF_KINDS  2048    /* a power of two */


typedef struct {
    uint64_t                         digest;
    uint32_t                         last;       /* ns */
    uint32_t                         before;     /* that */
    uint32_t                         skip;       /* runs not to try */
    uint8_t                          blocks;     /* some were read */
    uint8_t                          waited;     /* last time, for the disk */
} ngx_http_nightlight_kind_t;


/* Event loop only; a kind that comes takes the place of another. */

static ngx_http_nightlight_kind_t
    ngx_http_nightlight_kinds[NGX_HTTP_NIGHTLIGHT_BRIEF_KINDS];
static ngx_msec_t  ngx_http_nightlight_turn;
static int64_t     ngx_http_nightlight_turn_spent;
static ngx_msec_t  ngx_http_nightlight_cold;    /* until then; 0: it is not */


/* Faults of this thread that waited for a disk. */

long
ngx_http_nightlight_brief_faults(void)
{
    struct rusage  ru;

    return getrusage(RUSAGE_THREAD, &ru) == 0 ? ru.ru_majflt : 0;
}


static ngx_http_nightlight_kind_t *
ngx_http_nightlight_kind(uint64_t digest)
{
    return &ngx_http_nightlight_kinds[(digest >> 1)
                                      % NGX_HTTP_NIGHTLIGHT_BRIEF_KINDS];
}


void
ngx_http_nightlight_brief_was(ngx_http_nightlight_job_t *job)
{
    nlt_api_cost_t               cost;
    ngx_http_nightlight_kind_t  *k;

    if (job->digest == 0) {
        return;
    }

    k = ngx_http_nightlight_kind(job->digest);

    if (k->digest != job->digest) {
        k->digest = job->digest;
        k->last = NGX_MAX_UINT32_VALUE;
        k->skip = 0;
        k->blocks = 0;
    }

    nlt_api_cost(job->out.api, &cost);

    k->before = k->last;
    k->last = (uint32_t) ngx_min(cost.busy_ns, (int64_t) NGX_MAX_UINT32_VALUE);

    if (cost.needs_block) {
        k->blocks = 1;
        k->waited = job->faults > 0;
    }

    if (k->skip) {
        k->skip--;
    }
}


/* May it read blocks?  Nothing is known of a kind that has not yet. */

static ngx_uint_t
ngx_http_nightlight_brief_blocks(ngx_http_nightlight_kind_t *k)
{
    if (ngx_http_nightlight_cold
        && (ngx_msec_int_t) (ngx_current_msec - ngx_http_nightlight_cold) >= 0)
    {
        ngx_http_nightlight_cold = 0;
    }

    return k->blocks && !k->waited && ngx_http_nightlight_cold == 0;
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

    if (k->blocks && !ngx_http_nightlight_brief_blocks(k)) {
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
    long                         before;
    ngx_uint_t                   done, blocks;
    nlt_api_cost_t               cost;
    ngx_http_nightlight_kind_t  *k;

    if (!ngx_http_nightlight_brief_may(job, conf->tenant)) {
        return 0;
    }

    k = ngx_http_nightlight_kind(job->digest);
    blocks = k->blocks;

    before = blocks ? ngx_http_nightlight_brief_faults() : 0;

    done = nlt_api_try(job->out.api, NGX_HTTP_NIGHTLIGHT_BRIEF_STOP, blocks);

    job->faults = blocks ? ngx_http_nightlight_brief_faults() - before : 0;

    nlt_api_cost(job->out.api, &cost);

    ngx_http_nightlight_turn_spent += cost.busy_ns;

    if (done) {
        ngx_http_nightlight_brief_was(job);
    }

    if (job->faults > 0) {
        ngx_http_nightlight_cold = ngx_current_msec
                                   + NGX_HTTP_NIGHTLIGHT_BRIEF_COLD;
        ngx_http_nightlight_cold += ngx_http_nightlight_cold == 0;
    }

    /* what only lacked leave to read blocks will have it from a thread */

    if (job->faults > 0 || (!done && (blocks || !cost.needs_block))) {
        k->skip = NGX_HTTP_NIGHTLIGHT_BRIEF_SKIP;
    }

    if (done) {
        return 1;
    }

    nlt_api_destroy(job->out.api);

    if (nlt_api_create(&job->runtime->env, store, conf, req,
                       &job->out.api)
        != NLT_OK)
    {
        job->out.api = NULL;
    }

    return 0;
}

/*
 * nightlight.h - the whole of core for those who embed it.
 *
 * Floor 4 (db); the only header that the nginx module and the tools include.
 *
 * A program opens a db, ticks it from a timer, and hands it HTTP requests:
 * bodies of remote_write from its event loop, API requests from a thread.
 * Core decides what the answer is, status and bytes; the program moves them.
 *
 *     event loop                              thread of a pool
 *     ----------                              ----------------
 *     nlt_db_open
 *     nlt_db_tick            (timer)
 *     nlt_db_write_begin/run (remote_write)
 *     nlt_api_create ---- post ------------>  nlt_api_run
 *     nlt_api_render  <--- completion ------
 *       ... until it says done, or needs_work ->  nlt_api_more
 *     nlt_api_destroy
 *     nlt_db_close
 *
 * and, in one process beside them:  nlt_helper_open, nlt_helper_step ...
 */
#ifndef NLT_NIGHTLIGHT_H
#define NLT_NIGHTLIGHT_H

#include "nlt_chunks.h"
#include "nlt_env.h"
#include "nlt_guard.h"
#include "nlt_help.h"
#include "nlt_limits.h"
#include "nlt_pql_parse.h"
#include "nlt_store.h"
#include "nlt_store_tenants.h"
#include "nlt_time.h"
#include "nlt_turns.h"

#define NLT_VERSION "0.1.0"

/* ---- reading side: the HTTP API ---- */

typedef struct nlt_api_s nlt_api_t;

/* What the embedding program knows of itself. */
typedef struct {
    nlt_str_t conf_file;
    nlt_str_t cwd; /* where it runs */
    nlt_str_t hostname;
    int64_t t_start_ms;  /* when it began */
    bool leaving;        /* this process takes no new connections */
    int64_t t_config_ms; /* when its configuration was read */
    unsigned n_cpus;
    unsigned n_queries; /* of all processes at once, at most */
} nlt_api_server_t;

/*
 * Limits that are only tried: who goes beyond is served and counted.  0: none
 * of this kind.
 */
typedef struct {
    int64_t timeout_ms;
    uint64_t samples_max;
    uint64_t series_max;
    size_t memory_max; /* compared with pages, so up to 1 MB too strict */
} nlt_api_tried_t;

/* Limits of a location (directives). */
typedef struct {
    int64_t timeout_ms;   /* nightlight_query_timeout, 2m */
    uint64_t samples_max; /* nightlight_query_max_samples, 50M */
    uint64_t series_max;  /* nightlight_query_max_series, 5M */
    size_t memory_max;    /* nightlight_query_memory, 256m */
    int64_t lookback_ms;  /* nightlight_lookback, 5m */
    nlt_api_tried_t tried;
    unsigned features; /* nlt_pql_features_t */
    uint32_t tenant;
    uint64_t tenant_term; /* of nlt_store_find_tenant(); 0: in any head */
    nlt_str_t store_name; /* borrowed until destroy */
    const nlt_api_server_t *server; /* likewise; NULL: not known */
    const nlt_help_t *help;         /* likewise; NULL: nobody helps */
} nlt_api_conf_t;

typedef enum {
    NLT_HTTP_GET,
    NLT_HTTP_HEAD,
    NLT_HTTP_POST,
    NLT_HTTP_PUT,
    NLT_HTTP_DELETE,
    NLT_HTTP_OPTIONS,
    NLT_HTTP_OTHER
} nlt_http_method_t;

/*
 * Which handler a location has.  Handlers route on what follows the
 * location's prefix.
 */
typedef enum {
    NLT_API_QUERY,  /* query, query_range, series, labels, label/N/values,
                       status/buildinfo, ... */
    NLT_API_ADMIN,  /* tsdb/snapshot, delete_series, clean_tombstones */
    NLT_API_STATUS, /* healthy, ready */
    NLT_API_METRICS /* own metrics, text exposition */
} nlt_api_kind_t;

typedef struct {
    nlt_api_kind_t kind;
    nlt_http_method_t method;
    nlt_str_t suffix;       /* of the path, unescaped: "query_range" */
    nlt_str_t args;         /* query string, still escaped */
    nlt_str_t content_type; /* of the body */
    nlt_str_t form;         /* body of a POST form */
    nlt_str_t accept;       /* Accept header; may be empty */
} nlt_api_request_t;

/*
 * Makes a job.  Copies the request (at most NLT_API_REQUEST_MAX bytes) and
 * conf; s is retained.  NLT_ENOMEM, NLT_ETOOBIG.  Event loop.
 */
#define NLT_API_REQUEST_MAX (4u << 20)
NLT_CHECKED nlt_rc_t nlt_api_create(const nlt_env_t *env, nlt_store_t *s,
                                    const nlt_api_conf_t *conf,
                                    const nlt_api_request_t *req,
                                    nlt_api_t **out);

/*
 * Is the answer quick and free of I/O (an error, healthy, buildinfo)?  Then
 * run() may be called in the event loop.
 */
bool nlt_api_is_quick(const nlt_api_t *a);

/*
 * Computes the answer: reads, evaluates, keeps the result in the job's pool.
 * Any thread.  Never fails: an error is an answer too.  After it, status and
 * headers are known.
 */
void nlt_api_run(nlt_api_t *a);

/*
 * What requests have in common that will cost about the same: their path,
 * tenant and parameters, but of times only how far apart they are.  0 if
 * nlt_api_try() is not for them.  O(bytes of the request).
 */
uint64_t nlt_api_digest(const nlt_api_t *a);

/*
 * The same as nlt_api_run(), in the event loop, for a request whose like (by
 * nlt_api_digest()) has been cheap.  true: answered.  false: it was not done
 * within budget_ns, was no success, or needs a block, whose pages may have to
 * come from the disk, and blocks is false (nlt_api_cost() tells); then nothing
 * has happened, and the job can only be destroyed: another one of the same
 * request is for a thread.
 *
 * It may take longer than budget_ns by what passes between two looks at the
 * clock: the samples of one series in one block, one list of the index, 64
 * series or 1024 values; and by what the disk takes for one page.
 */
NLT_CHECKED bool nlt_api_try(nlt_api_t *a, int64_t budget_ns, bool blocks);

/* Makes a running job end soon with status 499.  Any thread, any time. */
void nlt_api_cancel(nlt_api_t *a);

/* The same with status 503 and "timeout".  Any thread, any time. */
void nlt_api_expire(nlt_api_t *a);

typedef struct {
    int status;
    nlt_str_t content_type;
    nlt_str_t content_encoding; /* of the body, else empty */
    nlt_str_t allow;            /* of 405, else empty */
    int retry_after_s;          /* > 0: send the header */
    bool has_body;              /* to HEAD as to GET: its length is sent */
    bool cors;                  /* browsers may have it: send their headers */
    bool nosniff;               /* X-Content-Type-Options: nosniff */
    uint64_t samples_read;      /* for variables and metrics */
    uint64_t series_read;       /* of query and query_range */
    uint64_t help;              /* threads that it was given beside its own */
    int64_t elapsed_ns;         /* from create() to the end of run() */
} nlt_api_answer_t;

/* What a request has cost so far, whether it is answered or not. */
typedef struct {
    nlt_outcome_t outcome;
    uint64_t samples_read;
    uint64_t series_read;
    uint64_t memory_bytes; /* that the job holds, or held when it ended */
    int64_t queue_ns;      /* until a thread began, or until now */
    int64_t busy_ns;       /* that threads worked on it */
    bool needs_block;      /* not all of it is in the head */
    unsigned over_tried;   /* 1 << nlt_query_limit_t: what it went beyond */
    nlt_api_tried_t used;  /* the most that it had of each */
} nlt_api_cost_t;

/* Not while run() or more() is running. */
void nlt_api_cost(const nlt_api_t *a, nlt_api_cost_t *out);

/* "ok", "timeout", ...; as docs/METRICS.md has them. */
const char *nlt_outcome_text(nlt_outcome_t outcome);

/*
 * A request that never came to a thread ends so: counts it, and makes it the
 * answer, 503 or 429 with `text`.  In place of run().  Event loop.
 */
void nlt_api_refuse(nlt_api_t *a, nlt_outcome_t outcome, int status,
                    const char *text);

/*
 * Likewise for a request of whom nobody knows whose it is: 400, 403 or 500.
 * Not counted as a query.
 */
void nlt_api_refuse_sender(nlt_api_t *a, int status, const char *text);

/*
 * The value of a parameter of the request, unescaped, for logs; data NULL
 * when it is missing, or nobody has looked at them.  After run().
 */
nlt_str_t nlt_api_request_param(const nlt_api_t *a, const char *name);

/* Is it one that is counted as a query? */
bool nlt_api_is_counted(const nlt_api_t *a);

/* Counts it as slow. */
void nlt_api_count_slow(nlt_api_t *a);

/* Counts it as one that a limit would have refused.  Event loop. */
void nlt_api_count_dry_run(nlt_api_t *a, nlt_query_limit_t limit);

/* After run().  Strings live until destroy. */
const nlt_api_answer_t *nlt_api_answer(const nlt_api_t *a);

/*
 * Writes the next part of the body into out (cap >= 4096): *len bytes.
 * NLT_AGAIN: there is more; NLT_OK: that was the last; another code: broken,
 * close the connection; the reason is in the log.  Work is bounded by cap, so
 * the event loop may call it.
 */
nlt_rc_t nlt_api_render(nlt_api_t *a, char *out, size_t cap, size_t *len);

/*
 * Is all that was made of the body rendered, and more has to be made?  Then
 * nlt_api_more() has to run in a thread before render() goes on.
 */
bool nlt_api_needs_work(const nlt_api_t *a);

/* Makes more of the body.  Any thread.  What goes wrong render() says. */
void nlt_api_more(nlt_api_t *a);

/*
 * Nobody has taken anything for some seconds: lets go of arenas and blocks,
 * to look for them again later.  Not while run() or more() is running; cheap,
 * event loop.
 */
void nlt_api_idle(nlt_api_t *a);

/* Memory that the job holds.  Not while run() is running. */
size_t nlt_api_bytes(const nlt_api_t *a);

/* Not while run() is running.  NULL is allowed. */
void nlt_api_destroy(nlt_api_t *a);

/* ---- own metrics ---- */

/* What the embedding program knows about its connections. */
typedef struct {
    uint64_t accepted, handled, active, requests, reading, writing, waiting;
    uint64_t workers;
    int64_t t_start_ms; /* when the program began */
    int64_t t_config_ms;
    const char *server_version; /* static; NULL: not known */
} nlt_self_conn_t;

/*
 * Writes the store's own metrics and the connection counters as samples of
 * time now into the store itself, with labels job="nightlight" and
 * instance=`instance`.  Event loop; about 350 series.  NLT_ENOTREADY and the
 * codes of nlt_ingest_own().
 */
NLT_CHECKED nlt_rc_t nlt_self_write(nlt_store_t *s, const nlt_env_t *env,
                                    nlt_str_t instance, uint32_t tenant,
                                    const nlt_self_conn_t *conn,
                                    nlt_err_t *err);

/*
 * Connection counters that /metrics shows; the embedding program refreshes
 * them before nlt_api_run() of NLT_API_METRICS.
 */
void nlt_api_set_conn(nlt_api_t *a, const nlt_self_conn_t *conn);

#endif

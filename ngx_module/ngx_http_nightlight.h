
/*
 * ngx_http_nightlight.h - what the files of the nginx glue share.
 *
 * Floor 5 (ngx_module): the only floor that knows nginx.  It moves bytes and
 * time between nginx and core; what a request means is decided in core.
 *
 *   module.c   directives of locations, life of the processes
 *   conf.c     the directives nightlight_store and nightlight_self
 *   store.c    the stores that this process has open, their timers
 *   helper.c   the manager callback and the thread of the helper process
 *   body.c     a request body in one piece, whatever nginx made of it
 *   write.c    location handler of remote_write
 *   limits.c   limits of writing, stamped labels, drop rules
 *   limits_conf.c  their directives and zones
 *   query_limits.c  limits of one query
 *   value.c    limits that may differ by request
 *   sync.c     group commit of writes: wal_sync=always
 *   request.c  what core is told of a request
 *   tenant.c   whose a request is
 *   query.c    location handlers of the HTTP API: jobs in the thread pool
 *   queue.c    whose turn it is: jobs before their threads
 *   brief.c    which of them need no thread
 *   help.c     which of them may have more than one
 *   send.c     answers on their way out
 *   record.c   what logs tell of a request: variables, slow queries
 *   cert.c     when certificates of clients end
 *   exit.c     ends running queries of a process that leaves at once
 *
 * Configuration structures live in the cycle's pool and are thrown away at
 * reload; what a process has open (ngx_http_nightlight_runtime_t) is kept in
 * a list of the process, found by path, because with "master_process off" a
 * reload changes the configuration under a running process.
 */


#ifndef _NGX_HTTP_NIGHTLIGHT_H_INCLUDED_
#define _NGX_HTTP_NIGHTLIGHT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <nightlight.h>

#include "ngx_http_nightlight_env.h"
#include "ngx_http_nightlight_value.h"
#include "ngx_http_nightlight_limits.h"


typedef struct ngx_http_nightlight_runtime_s  ngx_http_nightlight_runtime_t;


/* One nightlight_store directive. */

typedef struct {
    ngx_str_t                        name;
    ngx_str_t                        path;       /* NUL-terminated */
    ngx_str_t                        head;       /* NUL-terminated */
    off_t                            memory;
    time_t                           retention;  /* seconds */
    ngx_array_t                     *keeps;      /* nlt_tenant_keep_t */
    off_t                            retention_size;    /* 0: no limit */
    off_t                            min_free;
    off_t                            exemplars;
    ngx_int_t                        tenants;
    ngx_int_t                        wal_sync;   /* ms, or NLT_WAL_SYNC_* */
    ngx_flag_t                       dense;      /* block_format= */

    ngx_msec_t                       self;       /* 0: off */
    ngx_str_t                        instance;   /* of own metrics */

    u_char                          *file;       /* where it was written */
    ngx_uint_t                       line;

    ngx_http_nightlight_runtime_t   *runtime;    /* of this process */
} ngx_http_nightlight_store_t;


typedef struct {
    ngx_array_t                      stores;   /* of pointers to them */
    ngx_thread_pool_t               *threads;
    int64_t                          read_ms;  /* when it was */
} ngx_http_nightlight_main_conf_t;


/* nlt_query_limit_t without the queue: time, samples, series, memory. */
#define NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS  NLT_QUERY_LIMIT_QUEUE


typedef enum {
    NGX_HTTP_NIGHTLIGHT_NONE = 0,
    NGX_HTTP_NIGHTLIGHT_WRITE,
    NGX_HTTP_NIGHTLIGHT_QUERY,
    NGX_HTTP_NIGHTLIGHT_ADMIN,
    NGX_HTTP_NIGHTLIGHT_STATUS,
    NGX_HTTP_NIGHTLIGHT_METRICS
} ngx_http_nightlight_handler_e;


typedef struct {
    ngx_http_nightlight_handler_e    handler;
    ngx_str_t                        store_name;
    u_char                          *file;
    ngx_uint_t                       line;
    ngx_http_nightlight_store_t     *store;
    ngx_uint_t                       exact;     /* location = uri */

    /* by nlt_query_limit_t; those that are only tried may be not set */
    ngx_http_nightlight_value_t      query[NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS];
    ngx_http_nightlight_value_t      tried[NGX_HTTP_NIGHTLIGHT_QUERY_LIMITS];
    ngx_msec_t                       lookback;
    ngx_uint_t                       features;

    /* nightlight_query_concurrency */
    ngx_http_nightlight_value_t      running_max;
    ngx_uint_t                       waiting_max;
    ngx_msec_t                       queue_wait;    /* 0: its timeout */
    ngx_uint_t                       queue_status;
    ngx_uint_t                       queue_set;     /* here, or "off" */
    ngx_http_complex_value_t        *queue_key;     /* NULL: the tenant */
    ngx_uint_t                       queue_dry_run;
    ngx_http_complex_value_t        *cors;      /* NULL: any origin */
    ngx_http_complex_value_t        *tenant;    /* NULL: the default one */
    ngx_flag_t                       tenant_create;
    ngx_msec_t                       slow;      /* or .._SLOW_OFF */
    ngx_open_file_t                 *slow_file; /* NULL: the error log */

    ngx_http_nightlight_limits_conf_t  limits;
} ngx_http_nightlight_loc_conf_t;


/*
 * Group commit of one store in this process: one sync at a time in a thread,
 * and the requests that wait for it or for the next one.
 */

typedef struct {
    ngx_queue_t                      waiting;
    nlt_ingest_t                    *ingest;     /* of those that wait */
    ngx_thread_pool_t               *threads;
    ngx_thread_task_t                task;
    ngx_event_t                      begin;      /* posted */
    unsigned                         running:1;  /* task is in a thread */
} ngx_http_nightlight_sync_t;


/* A request that has been logged; lies in its write context. */

typedef struct {
    ngx_queue_t                      queue;
    ngx_http_nightlight_sync_t      *sync;       /* NULL: it does not wait */
    /* its part of the log is synced, or will not be: look again */
    void                           (*wake)(void *data);
    /* no sync of it: answer with 503; the text says why */
    void                           (*expire)(void *data, const char *why);
    void                            *data;
} ngx_http_nightlight_waiter_t;


/* What this process has open of one store. */

struct ngx_http_nightlight_runtime_s {
    ngx_http_nightlight_runtime_t   *next;
    nlt_store_conf_t                 conf;      /* own copies of the paths */
    nlt_env_t                        env;       /* logs conf.path */
    nlt_store_t                     *store;     /* NULL: could not be opened */
    nlt_err_t                        err;       /* why */
    ngx_event_t                      timer;
    ngx_msec_t                       ticked;    /* ngx_current_msec then */
    unsigned                         ready:1;   /* at that time */
    ngx_event_t                      self;
    ngx_msec_t                       self_interval;
    ngx_str_t                        instance;
    ngx_msec_t                       self_warned;
    ngx_http_nightlight_sync_t       sync;
    nlt_head_load_t                  load;      /* queries of this process */
};


extern ngx_module_t  ngx_http_nightlight_module;
extern ngx_module_t  ngx_nightlight_exit_module;


/* Directives and what they share. */
char *ngx_http_nightlight_store(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_nightlight_self(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* The value of a "name=value" parameter, if it is this one ("name="). */
ngx_int_t ngx_http_nightlight_param(ngx_str_t *arg, const char *name,
    ngx_str_t *value);
char *ngx_http_nightlight_param_error(ngx_conf_t *cf, ngx_str_t *arg,
    const char *what);


/* What this process is; since init_process. */
extern nlt_api_server_t  ngx_http_nightlight_server;

/* Queries that all workers together evaluate at once. */
#define ngx_http_nightlight_queries_max()  ((ngx_uint_t) ngx_ncpu + 1)


/*
 * The open store of this process, opened now if need be; NULL when there is
 * none (then runtime->err says why, if there is a runtime).
 */
nlt_store_t *ngx_http_nightlight_store_get(ngx_http_nightlight_store_t *store);

/* Opens the stores of the configuration and starts their timers. */
void ngx_http_nightlight_store_init_process(ngx_cycle_t *cycle,
    ngx_http_nightlight_main_conf_t *nmcf);
void ngx_http_nightlight_store_exit_process(void);

/* Fills core's configuration of a store; strings are borrowed. */
ngx_int_t ngx_http_nightlight_store_conf(ngx_http_nightlight_store_t *store,
    nlt_store_conf_t *conf);

/* nginx's connection counters, zero where it was built without them. */
void ngx_http_nightlight_conn(nlt_self_conn_t *conn);


/* ngx_path_t manager: starts the helper thread once, then only sleeps. */
ngx_msec_t ngx_http_nightlight_manager(void *data);

/* Starts the helper thread of a store in this process (no master). */
ngx_int_t ngx_http_nightlight_helper_start(ngx_http_nightlight_store_t *store);

/* Cancels and joins all helper threads of this process. */
void ngx_http_nightlight_helper_stop(void);


/*
 * The request body in one piece, after ngx_http_read_client_request_body().
 *   NGX_OK       *body is filled; may point into nginx's buffer
 *   NGX_DECLINED it lies in a temporary file: *size bytes of room are needed,
 *                ngx_http_nightlight_body_read() does it, from a thread
 *   NGX_ERROR    out of memory
 */
ngx_int_t ngx_http_nightlight_body(ngx_http_request_t *r, ngx_str_t *body,
    size_t *size);

/* Reads the whole body, buffers and file, into p (size bytes); 0 or errno. */
ngx_err_t ngx_http_nightlight_body_read(ngx_http_request_t *r, u_char *p,
    size_t size);


/*
 * Puts a request whose writes to `ingest` are logged among those that wait,
 * and sees to it that a sync begins.  One of its handlers is called later,
 * unless it leaves before; it is out of the queue then.
 */
void ngx_http_nightlight_sync_wait(ngx_http_nightlight_waiter_t *w,
    ngx_http_nightlight_runtime_t *rt, nlt_ingest_t *ingest,
    ngx_thread_pool_t *threads);

/* It waits no more: the client has gone.  May be called at any time. */
void ngx_http_nightlight_sync_leave(ngx_http_nightlight_waiter_t *w);


ngx_int_t ngx_http_nightlight_write_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_nightlight_api_handler(ngx_http_request_t *r);

/* What is left of the path behind the location's prefix. */
ngx_str_t ngx_http_nightlight_suffix(ngx_http_request_t *r);

/* Fills what core is told of an API request; strings are borrowed. */
void ngx_http_nightlight_request(ngx_http_request_t *r, ngx_str_t *form,
    ngx_http_nightlight_handler_e handler, nlt_api_request_t *req);

/* Answers with 503: there is no store; as the location's handler does. */
ngx_int_t ngx_http_nightlight_no_store(ngx_http_request_t *r,
    ngx_http_nightlight_loc_conf_t *nlcf);

/* The first header of the request of this name; len 0: there is none. */
ngx_str_t ngx_http_nightlight_header(ngx_http_request_t *r, const char *name);

static ngx_inline nlt_str_t
ngx_http_nightlight_str(ngx_str_t *s)
{
    return (nlt_str_t) { s->len, (char *) s->data };
}

/* Refuses a subrequest: says so in the log, returns 404. */
ngx_int_t ngx_http_nightlight_subrequest(ngx_http_request_t *r);

/* A worker begins: for how many processors is there work? */
void ngx_http_nightlight_help_init_process(void);

/*
 * Makes all jobs that threads of this process work on end soon.  The process
 * leaves at once: their requests are not answered.
 */
void ngx_http_nightlight_api_exit(void);

/*
 * The answer of a job that has run: header, then the body in parts as the
 * client takes them.  What the handler has to return; NGX_AGAIN: the write
 * handler goes on; NGX_DECLINED: ngx_http_nightlight_api_again() does.
 */
typedef struct {
    ngx_http_request_t              *request;
    nlt_api_t                       *api;
    ngx_chain_t                     *ready;  /* rendered before the header */
    ngx_chain_t                     *free;
    ngx_chain_t                     *busy;
    ngx_uint_t                       parts;
    unsigned                         last:1; /* rendered to the end */
    unsigned                         work:1; /* more has to be made */
    unsigned                         turn:1; /* it is the others' turn */
} ngx_http_nightlight_out_t;

ngx_int_t ngx_http_nightlight_send(ngx_http_nightlight_out_t *out);

/* Goes on with it, from a write event handler; finalizes the request. */
void ngx_http_nightlight_send_more(ngx_http_nightlight_out_t *out);

/* The answer is rendered to its end: gives out->api back. */
void ngx_http_nightlight_api_rendered(ngx_http_nightlight_out_t *out);

/* It waits for the client. */
void ngx_http_nightlight_api_waits(ngx_http_nightlight_out_t *out);

/* All that was made is sent: has a thread make more. */
void ngx_http_nightlight_api_again(ngx_http_nightlight_out_t *out);


/*
 * What logs tell of a request.  Numbers that do not apply to its kind, or
 * that it did not come to, are unknown, and "-" in a log.
 */
#define NGX_HTTP_NIGHTLIGHT_UNKNOWN  UINT64_MAX

typedef struct {
    ngx_str_t                        store;
    ngx_str_t                        tenant;    /* data NULL: none */
    ngx_str_t                        outcome;
    uint64_t                         samples;   /* accepted */
    uint64_t                         series;    /* written, or read */
    uint64_t                         decoded;   /* bytes of a write */
    uint64_t                         read;      /* samples, by a query */
    uint64_t                         memory;    /* of a query, bytes */
    uint64_t                         queue_ns;
    uint64_t                         busy_ns;   /* of threads */
    uint64_t                         cancelled; /* 1: the client left */
} ngx_http_nightlight_record_t;

/* The record of a request, made if need be; NULL: no memory. */
ngx_http_nightlight_record_t *ngx_http_nightlight_record(
    ngx_http_request_t *r);

/* outcome is static; rec may be NULL. */
void ngx_http_nightlight_record_outcome(ngx_http_nightlight_record_t *rec,
    const char *outcome);

/* Notes when the certificate of the client ends, once a connection. */
void ngx_http_nightlight_cert(ngx_http_request_t *r, nlt_store_t *store,
    uint32_t tenant);

ngx_int_t ngx_http_nightlight_add_variables(ngx_conf_t *cf);

/*
 * Whose a request is: *name, data NULL for the default tenant, and
 * NGX_DECLINED; otherwise the status to refuse the request with, and why.
 */
ngx_int_t ngx_http_nightlight_tenant(ngx_http_request_t *r,
    ngx_http_nightlight_loc_conf_t *nlcf, ngx_str_t *name, nlt_err_t *err);

/* Its number, for a writer; 0, or the status to refuse with and why. */
ngx_uint_t ngx_http_nightlight_tenant_write(nlt_store_t *store,
    ngx_http_nightlight_loc_conf_t *nlcf, ngx_str_t *name, uint32_t *number,
    nlt_err_t *err);

#define NGX_HTTP_NIGHTLIGHT_SLOW_OFF  ((ngx_msec_t) NGX_MAX_INT_T_VALUE)
char *ngx_http_nightlight_slow(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Logs and counts it, if it is a query that took that long. */
void ngx_http_nightlight_slow_query(ngx_http_request_t *r, nlt_api_t *api,
    const nlt_api_cost_t *cost);

/* A short text/plain answer; returns what the handler has to return. */
ngx_int_t ngx_http_nightlight_send_text(ngx_http_request_t *r,
    ngx_uint_t status, nlt_str_t text, ngx_uint_t retry_after);

/* The same of another content type, which is static. */
ngx_int_t ngx_http_nightlight_send_type(ngx_http_request_t *r,
    ngx_uint_t status, nlt_str_t type, nlt_str_t text,
    ngx_uint_t retry_after);

/* Adds the headers of CORS to the answer of an API request. */
ngx_int_t ngx_http_nightlight_cors(ngx_http_request_t *r);

/* Adds a response header; value is copied. */
ngx_int_t ngx_http_nightlight_add_header(ngx_http_request_t *r,
    const char *key, const char *value);


#endif /* _NGX_HTTP_NIGHTLIGHT_H_INCLUDED_ */

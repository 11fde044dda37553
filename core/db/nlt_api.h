/*
 * nlt_api.h - inside of the HTTP API: what its files share.
 *
 * Floor 4 (db); uses store, promql, wire.
 *
 *   nlt_api.c        a job's life: create, route, run, render, destroy
 *   nlt_api_form.c   parameters
 *   nlt_api_multipart.c  fields of multipart forms
 *   nlt_api_query.c  query, query_range
 *   nlt_api_range.c  large answers of query_range
 *   nlt_api_meta.c   series, labels, label/<name>/values
 *   nlt_api_parse.c  format_query, parse_query
 *   nlt_api_rules.c  targets, rules, alerts and other lists that are empty
 *   nlt_api_side.c   query_exemplars, metadata
 *   nlt_api_status.c status/config, flags, runtimeinfo and others like them
 *   nlt_api_tsdb.c   status/tsdb, status/tsdb/blocks
 *   nlt_api_read*.c  read (remote_read)
 *   nlt_api_federate.c  federate
 *   nlt_api_flow.c   answers that are made while they are sent
 *   nlt_api_admin.c  tsdb/snapshot
 *   nlt_api_delete.c tsdb/delete_series, tsdb/clean_tombstones
 *   nlt_api_tenants.c tenants, tenants/delete
 *   nlt_api_text.c   healthy, ready, metrics and other fixed ones
 *   nlt_self.c       the list of own metrics, as text and as samples
 *
 * A handler fills a->answer and a->json; it cannot fail, because an error is
 * an answer: nlt_api_fail() makes it one.
 */
#ifndef NLT_DB_API_H
#define NLT_DB_API_H

#include "nightlight.h"
#include "nlt_api_flow.h"
#include "nlt_api_json.h"
#include "nlt_pql.h"
#include "nlt_remote_read.h"

/* One request may carry this many parameters. */
#define NLT_API_PARAMS_MAX 10000

typedef struct {
    nlt_str_t name; /* unescaped, in the pool */
    nlt_str_t value;
} nlt_api_param_t;

/* Why a job has to end. */
#define NLT_API_CANCELED 1 /* nobody waits for the answer */
#define NLT_API_EXPIRED  2 /* its time is up */

typedef struct nlt_api_route_s nlt_api_route_t;

struct nlt_api_s {
    const nlt_env_t *env;
    nlt_store_t *store;
    nlt_api_conf_t conf;
    nlt_api_request_t req; /* strings copied into the pool */
    const nlt_api_route_t *route;
    nlt_str_t path_arg; /* <name> of label/<name>/values */
    nlt_pool_t pool;
    size_t extra_bytes; /* that it may have beside the evaluation */
    int cancel;         /* 0, or one of below, set by another thread */
    nlt_api_param_t *params;
    size_t n_params;
    nlt_self_conn_t conn;
    nlt_view_t view;
    bool view_open;
    int64_t stop_ns;  /* of nlt_api_try(): it must have ended; 0: no try */
    bool head_only;   /* likewise: without blocks */
    bool needs_block; /* a view that is closed did */
    int64_t start_ns;
    int64_t run_ns;        /* when a thread began; 0: none has */
    int64_t busy_ns;       /* that threads worked on it */
    nlt_api_tried_t used;  /* the most of each so far */
    unsigned over_tried;   /* bits of limits that are only tried */
    nlt_outcome_t outcome; /* so far */
    bool counted;          /* it is in the metrics */
    nlt_api_answer_t answer;
    nlt_annots_t annots;
    nlt_json_stream_t json;
    const nlt_rr_piece_t *pieces; /* the body, if not NULL, in place of json */
    size_t taken;                 /* of the first of them */
    nlt_api_flow_t flow;          /* likewise, if it has ops */
    nlt_buf_t text;               /* of short answers */
};

typedef void (*nlt_api_handler_t)(nlt_api_t *a);

/* Methods as a bit set. */
#define NLT_API_M_GET  1u
#define NLT_API_M_POST 2u
#define NLT_API_M_HEAD 4u
#define NLT_API_M_PUT  8u

/* Of a route. */
#define NLT_API_QUICK                                                         \
    1u                   /* no samples, no locks: may run in the event loop   \
                          */
#define NLT_API_PLAIN 2u /* no JSON, and nothing for browsers: no CORS */
#define NLT_API_TRIED 4u /* nlt_api_try() may be tried */
#define NLT_API_STORE 8u /* of all of the store: not for a tenant */
#define NLT_API_WAITS                                                         \
    16u /* for longer than a head may be held: looks at the term itself */

struct nlt_api_route_s {
    nlt_api_kind_t kind;
    const char *path;
    unsigned methods;
    unsigned flags;
    nlt_api_handler_t run;
    size_t time; /* offset of its histogram in nlt_head_counters_t; 0: it is
                    not counted */
};

/* ---- answers ---- */

/*
 * {"status":"error",...}; status as the type says (see docs/API.md).  Plain
 * text where Prometheus answers so.
 */
void nlt_api_fail(nlt_api_t *a, const char *type, int status, const char *fmt,
                  ...) NLT_PRINTF(4, 5);

/* invalid parameter "name": text  (400 bad_data). */
void nlt_api_bad_param(nlt_api_t *a, const char *name, const char *fmt, ...)
    NLT_PRINTF(3, 4);

/* 503 timeout: text, and the directive that says how long it may take. */
void nlt_api_fail_timeout(nlt_api_t *a, const char *text);

/* An error of store or PromQL by its code. */
void nlt_api_fail_rc(nlt_api_t *a, const nlt_err_t *err);

/* What a->text holds is the whole body. */
void nlt_api_text(nlt_api_t *a, int status, const char *content_type);

/* a->json's content fields are set: answers 200 with them. */
void nlt_api_json(nlt_api_t *a);

/* 200 and {"status":"success","data":json}. */
void nlt_api_data(nlt_api_t *a, const char *json);

/* a->text, empty, with room for much; end makes it the body of JSON, 200. */
nlt_buf_t *nlt_api_begin_text(nlt_api_t *a);
/* 422 when it did not fit. */
void nlt_api_end_text(nlt_api_t *a);

/*
 * Opens a->view, unless it is open, and has eval() answer from it.  A code
 * other than NLT_OK becomes the answer, with the text of err.  When a block
 * turns out damaged, what eval() made is forgotten (the pool goes back to
 * where it was) and it is called again, to be answered without the block; what
 * is missing then stands in the warnings.  eval() closes its sets.
 */
typedef nlt_rc_t (*nlt_api_eval_t)(nlt_api_t *a, void *ctx, nlt_err_t *err);
void nlt_api_over_view(nlt_api_t *a, nlt_api_eval_t eval, void *ctx);

/* Opens a->view, unless it is open. */
NLT_CHECKED nlt_rc_t nlt_api_open_view(nlt_api_t *a, nlt_err_t *err);
/* Closes it, if it is. */
void nlt_api_close_view(nlt_api_t *a);

/* How a request waits for the helper: in a thread, until it is canceled
 * (NLT_ECANCELED) or its time is up (NLT_ETIMEOUT).  As long as a lives. */
nlt_store_wait_t nlt_api_wait(nlt_api_t *a);

/* Notes what was held at once, or selected, for limits that are tried. */
void nlt_api_note_samples(nlt_api_t *a, uint64_t n);
void nlt_api_note_series(nlt_api_t *a, uint64_t n);
void nlt_api_note_memory(nlt_api_t *a, size_t bytes);

/* ---- parameters ---- */

/*
 * Parses query string and form into a->params; body before query string, but
 * the fields of a multipart form behind it, as Go merges them.  false:
 * answered.
 */
bool nlt_api_parse_params(nlt_api_t *a);

/* The first value of a parameter; data NULL when it is missing. */
nlt_str_t nlt_api_param(const nlt_api_t *a, const char *name);

/* The same, empty when it is missing. */
nlt_str_t nlt_api_param_text(const nlt_api_t *a, const char *name);

/* The limit parameter: 0 none.  false: answered (H11). */
bool nlt_api_param_limit(nlt_api_t *a, size_t *limit);

/* An optional time, def when missing.  false: answered (H1). */
bool
nlt_api_param_time(nlt_api_t *a, const char *name, int64_t def, int64_t *out);

/* The first 500 bytes, which is what error texts have of a parameter. */
nlt_str_t nlt_api_cut(nlt_str_t s);

/* Go's %q of that; in the pool. */
nlt_str_t nlt_api_quote(nlt_api_t *a, nlt_str_t s);

/* What Go's strconv.ParseBool takes. */
bool nlt_api_parse_bool(nlt_str_t s, bool *out);

/*
 * What Go says of a text that is no int64: "invalid syntax", or "value out of
 * range".
 */
const char *nlt_api_integer_error(nlt_str_t s);

/*
 * Are all match[] selectors with one matcher at least that does not accept the
 * empty string?  false: answered (H8, H10 without the name of the parameter).
 */
bool nlt_api_check_matches(nlt_api_t *a);

/*
 * A label name as it may stand in a path: of U__ names "__" is "_" and "_2e_"
 * is '.'; anything else that is not valid in the scheme leaves the name as it
 * is.  In the pool, or s.
 */
nlt_str_t nlt_api_unescape_name(nlt_pool_t *pool, nlt_str_t s);

/* Says behind the text of a limit which directive or parameter it was. */
nlt_rc_t nlt_api_name_limit(const nlt_api_t *a, const nlt_pql_query_t *q,
                            nlt_rc_t rc, nlt_err_t *err);

/* Handlers: each computes the whole answer of its route, see above. */
void nlt_api_run_query(nlt_api_t *a);
void nlt_api_run_query_range(nlt_api_t *a);
void nlt_api_run_series(nlt_api_t *a);
void nlt_api_run_labels(nlt_api_t *a);
void nlt_api_run_label_values(nlt_api_t *a);
void nlt_api_run_buildinfo(nlt_api_t *a);
void nlt_api_run_config(nlt_api_t *a);
void nlt_api_run_flags(nlt_api_t *a);
void nlt_api_run_runtimeinfo(nlt_api_t *a);
void nlt_api_run_walreplay(nlt_api_t *a);
void nlt_api_run_features(nlt_api_t *a);
void nlt_api_run_self_metrics(nlt_api_t *a);
void nlt_api_run_tsdb(nlt_api_t *a);
void nlt_api_run_blocks(nlt_api_t *a);
void nlt_api_run_query_exemplars(nlt_api_t *a);
void nlt_api_run_metadata(nlt_api_t *a);
void nlt_api_run_parse_query(nlt_api_t *a);
void nlt_api_run_format_query(nlt_api_t *a);
void nlt_api_run_targets(nlt_api_t *a);
void nlt_api_run_targets_metadata(nlt_api_t *a);
void nlt_api_run_scrape_pools(nlt_api_t *a);
void nlt_api_run_scrape_pool_config(nlt_api_t *a);
void nlt_api_run_relabel_steps(nlt_api_t *a);
void nlt_api_run_alertmanagers(nlt_api_t *a);
void nlt_api_run_rules(nlt_api_t *a);
void nlt_api_run_alerts(nlt_api_t *a);
void nlt_api_run_notifications(nlt_api_t *a);
void nlt_api_run_healthy(nlt_api_t *a);
void nlt_api_run_ready(nlt_api_t *a);
void nlt_api_run_flush(nlt_api_t *a);
void nlt_api_run_flush_wait(nlt_api_t *a);
void nlt_api_run_drain(nlt_api_t *a);
void nlt_api_run_resume(nlt_api_t *a);
void nlt_api_run_metrics(nlt_api_t *a);
void nlt_api_run_snapshot(nlt_api_t *a);
void nlt_api_run_delete_series(nlt_api_t *a);
void nlt_api_run_clean_tombstones(nlt_api_t *a);
void nlt_api_run_tenants(nlt_api_t *a);
void nlt_api_run_delete_tenant(nlt_api_t *a);
void nlt_api_run_read(nlt_api_t *a);
void nlt_api_run_federate(nlt_api_t *a);

/* Has somebody asked this program to be drained? */
bool nlt_api_is_draining(const nlt_api_t *a);

/* ---- own metrics ---- */

#define NLT_SELF_LABELS_MAX 2

typedef enum {
    NLT_SELF_GAUGE,
    NLT_SELF_COUNTER,
    NLT_SELF_HISTOGRAM
} nlt_self_type_t;

/* One sample; those of a family follow each other. */
typedef struct {
    const char *name;   /* of the family */
    const char *suffix; /* "", or what histograms have: "_bucket", ... */
    const char *help;
    nlt_self_type_t type;
    nlt_label_t label[NLT_SELF_LABELS_MAX];
    size_t n_labels;
    double value;
} nlt_self_metric_t;

/* In pool, as are its labels. */
typedef struct {
    nlt_pool_t *pool;
    nlt_self_metric_t *v;
    size_t n, cap;
    bool failed;
} nlt_self_list_t;

/*
 * Reads all counters and gauges into *l, empty but for its pool.  NLT_ENOMEM.
 * About 20 us.
 */
NLT_CHECKED nlt_rc_t nlt_self_collect(nlt_store_t *s,
                                      const nlt_self_conn_t *conn,
                                      nlt_self_list_t *l);

#endif

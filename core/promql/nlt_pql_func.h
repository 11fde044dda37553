/*
 * nlt_pql_func.h - THE table of PromQL functions.
 *
 * Floor 3 (promql); uses base, model, nlt_pql_ast.
 *
 * One row a function: parser, type check, evaluator and documentation read
 * this row, so nothing has to be kept equal.  The implementation is one of a
 * few kinds; most are pure and know neither storage nor clock.
 *
 *   RANGE    window of samples in, at most one value out   rate, max_over_time
 *   MAP      one value in (and scalar parameters), one out abs, clamp, hour
 *   SPECIAL  whole vectors in: done by name in the evaluator
 *                                absent, sort, label_replace, scalar, time,
 *                                histogram_quantile, info ...
 */
#ifndef NLT_PROMQL_PQL_FUNC_H
#define NLT_PROMQL_PQL_FUNC_H

#include "nlt_pql_annot.h"
#include "nlt_pql_ast.h"

#define NLT_PQL_ARGS_MAX 5

/*
 * One window of one series: samples with t in (t_eval - range, t_eval],
 * shifted by offset and @ already, stale markers removed, time ascending.
 * Never empty when a function is called.
 *
 * Of an anchored selector the window also has the samples of one lookback
 * before its left edge, t in (range_start - lookback, range_end]; of a
 * smoothed one also those of one lookback after its right edge.  The edges
 * below stay those of the range itself.
 */
typedef struct {
    const int64_t *t_ms;
    const double *v;
    const int64_t *st_ms; /* start times, 0: unknown; NULL: there are none */
    size_t n;
    int64_t range_start_ms; /* exclusive left edge */
    int64_t range_end_ms;   /* inclusive right edge: evaluation time less
                               offset, or the @ time */
    int64_t eval_ms;        /* the step's own time (predict_linear) */
    const double *params;   /* values of the scalar arguments at this step,
                               in order of the arguments */
    nlt_str_t metric_name;  /* of the series, may be empty; only set for
                               functions that want it */
    bool anchored, smoothed;
} nlt_pql_window_t;

/*
 * What a function may tell besides its value.  Annotations go through
 * `annots`; pos is the byte position of the argument they are about
 * (arg_pos[i] is where argument i starts).
 */
typedef struct {
    nlt_pql_annots_t *annots;
    const int32_t *arg_pos;
    int32_t call_pos;
    uint32_t rank; /* of the call */
    nlt_err_t *err;
    nlt_pool_t *scratch; /* marked and rewound around each call */
    nlt_rc_t rc;         /* set to fail the whole query; err has the text */
    /* Name that the last note was about: spares formatting the same note at
     * every step.  Zeroed by the evaluator once a call node, else private to
     * the functions. */
    nlt_str_t noted;
} nlt_pql_fctx_t;

/* What a note about argument i is about. */
static inline nlt_pql_place_t
nlt_pql_arg_place(const nlt_pql_fctx_t *f, size_t i)
{
    return (nlt_pql_place_t){f->arg_pos[i], f->rank};
}

/* Returns true and *out, or false for "no value at this step". */
typedef bool (*nlt_pql_range_fn_t)(nlt_pql_fctx_t *f,
                                   const nlt_pql_window_t *w, double *out);

/*
 * What rate and its relatives, or a regression, found out about the windows of
 * a series from its times alone; holds for the next one while its times are
 * the same.
 */
typedef struct {
    bool known;        /* cleared by the evaluator when times change */
    double *factor;    /* of each step, in whole blocks of 64; of a regression
                          the sum of x */
    double *squares;   /* likewise, of a regression the sum of x * x */
    uint64_t *present; /* steps that have a value */
    double near;
} nlt_pql_stretch_t;

/*
 * All windows of one series at once: window i has the samples [lo[i], hi[i]),
 * ends at end_ms + i * step_ms and begins range_ms before that.  Neither
 * anchored nor smoothed.  lo and hi never fall from one window to the next;
 * a window may be empty.
 */
typedef struct {
    const int64_t *t_ms;
    const double *v;
    size_t n;
    const uint32_t *lo;
    const uint32_t *hi;
    size_t n_steps; /* of lo, hi, the results */
    int64_t end_ms;
    int64_t step_ms;
    int64_t range_ms;
    int64_t eval_ms; /* the first step's own time; it goes by step_ms too */
    const double *const *params; /* of each scalar argument its values at the
                                    steps: params[k][i] */
    nlt_str_t metric_name;
    uint32_t *work;             /* room for n numbers */
    nlt_pql_stretch_t *stretch; /* or NULL: nothing is kept */
} nlt_pql_steps_t;

/*
 * What a RANGE function says of every window, in one pass over the samples
 * or, where each window has to be gone through, several at a time: the same
 * bits.  out[n_steps]; present has all bits clear and gets one for
 * each value.
 */
typedef void (*nlt_pql_steps_fn_t)(nlt_pql_fctx_t *f, const nlt_pql_steps_t *s,
                                   double *out, uint64_t *present);

/*
 * One value in, one out; params as above.  false: the element is dropped.
 * The input is a NaN, Inf or anything else as stored.
 */
typedef bool (*nlt_pql_map_fn_t)(double v, int64_t eval_ms,
                                 const double *params, size_t n_params,
                                 double *out);

typedef enum {
    NLT_PQL_FK_RANGE,
    NLT_PQL_FK_MAP,
    NLT_PQL_FK_SPECIAL,
    NLT_PQL_FK_NONE /* parses and type-checks; evaluation says "not
                       supported" by name (native histogram functions) */
} nlt_pql_func_kind_t;

/* The evaluator's own dispatch for FK_SPECIAL. */
typedef enum {
    NLT_PQL_SP_NONE,
    NLT_PQL_SP_ABSENT,
    NLT_PQL_SP_ABSENT_OVER_TIME,
    NLT_PQL_SP_END,
    NLT_PQL_SP_HISTOGRAM_FRACTION,
    NLT_PQL_SP_HISTOGRAM_QUANTILE,
    NLT_PQL_SP_HISTOGRAM_QUANTILES,
    NLT_PQL_SP_INFO,
    NLT_PQL_SP_LABEL_JOIN,
    NLT_PQL_SP_LABEL_REPLACE,
    NLT_PQL_SP_MAX_OF,
    NLT_PQL_SP_MIN_OF,
    NLT_PQL_SP_PI,
    NLT_PQL_SP_RANGE,
    NLT_PQL_SP_SCALAR,
    NLT_PQL_SP_SORT,
    NLT_PQL_SP_SORT_DESC,
    NLT_PQL_SP_SORT_BY_LABEL,
    NLT_PQL_SP_SORT_BY_LABEL_DESC,
    NLT_PQL_SP_START,
    NLT_PQL_SP_STEP,
    NLT_PQL_SP_TIME,
    NLT_PQL_SP_TIMESTAMP,
    NLT_PQL_SP_VECTOR
} nlt_pql_special_t;

typedef struct nlt_pql_func_s {
    const char *name;
    nlt_pql_type_t args[NLT_PQL_ARGS_MAX]; /* NLT_PQL_NONE ends them */
    /* Prometheus's convention: 0 exact; n > 0: the last argument type occurs
     * 0 to n times; -1: it may repeat without bound or be absent.  So with
     * any variadic at least n_types - 1 arguments are required. */
    int variadic;
    nlt_pql_type_t ret;
    bool experimental;
    bool keeps_name; /* result keeps __name__ (last_over_time, ...) */
    bool anchored;   /* takes an anchored range */
    bool smoothed;   /* takes a smoothed range */
    bool newest;     /* needs no more of a range than its newest sample */
    bool counter;    /* wants metric_name: notes one that is no counter's */
    bool stretches;  /* steps makes use of nlt_pql_stretch_t */
    bool each;       /* `steps` costs what all windows hold together, so it is
                        called for some at a time */
    nlt_pql_func_kind_t kind;
    nlt_pql_range_fn_t range;
    nlt_pql_steps_fn_t steps; /* of RANGE: or NULL, then window by window */
    nlt_pql_map_fn_t map;
    nlt_pql_special_t special;
    const char *doc; /* one line */
} nlt_pql_func_t;

/* The row of a name, or NULL.  O(log n). */
const nlt_pql_func_t *nlt_pql_func_find(nlt_str_t name);

/*
 * May a call of f have an argument with these modifiers?  NLT_EEXEC with
 * Prometheus's text (messages.md E26, E27) when not.
 */
NLT_CHECKED nlt_rc_t nlt_pql_func_edges(const nlt_pql_func_t *f, bool anchored,
                                        bool smoothed, nlt_err_t *err);

/* The whole table, sorted by name. */
const nlt_pql_func_t *nlt_pql_func_table(size_t *n);

#endif

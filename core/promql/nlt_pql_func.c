/*
 * nlt_pql_func.c - THE table.
 *
 * Sorted by name, because it is searched by bisection; a unit test holds the
 * order.  The macros keep a row on two lines: what is written, what it does.
 */
#include "nlt_pql_fn.h"

#define S NLT_PQL_SCALAR
#define V NLT_PQL_VECTOR
#define M NLT_PQL_MATRIX
#define T NLT_PQL_STRING

/* clang-format off */

#define ARGS(...) {__VA_ARGS__}
#define NO_ARGS   {NLT_PQL_NONE}

/* A function of one range vector (and scalars), by its own name. */
#define RANGE(fn, args_, doc_)                                                \
    {.name = #fn, .args = args_, .ret = V, .kind = NLT_PQL_FK_RANGE,          \
     .range = nlt_pql_fn_##fn, .doc = doc_}

/* The same that also knows how to do all steps at once. */
#define RANGE_STEPS(fn, doc_)                                                 \
    {.name = #fn, .args = ARGS(M), .ret = V, .kind = NLT_PQL_FK_RANGE,        \
     .range = nlt_pql_fn_##fn, .steps = nlt_pql_steps_##fn, .doc = doc_}

/* The same, but each window costs. */
#define RANGE_EACH(fn, args_, doc_)                                           \
    {.name = #fn, .args = args_, .ret = V, .kind = NLT_PQL_FK_RANGE,          \
     .range = nlt_pql_fn_##fn, .steps = nlt_pql_steps_##fn, .each = true,     \
     .doc = doc_}

/* The same, and sums of times are kept. */
#define RANGE_LINE(fn, args_, doc_)                                           \
    {.name = #fn, .args = args_, .ret = V, .kind = NLT_PQL_FK_RANGE,          \
     .range = nlt_pql_fn_##fn, .steps = nlt_pql_steps_##fn, .each = true,     \
     .stretches = true, .doc = doc_}

/* RANGE_STEPS that also keeps the metric name; newest_: nlt_pql_func_t. */
#define RANGE_NAME(fn, newest_, doc_)                                         \
    {.name = #fn, .args = ARGS(M), .ret = V, .kind = NLT_PQL_FK_RANGE,        \
     .range = nlt_pql_fn_##fn, .steps = nlt_pql_steps_##fn,                   \
     .keeps_name = true, .newest = newest_, .doc = doc_}

/* RANGE_STEPS over anchored ranges too, and smoothed ones if smoothed_: those
 * that stretch a change. */
#define RANGE_EDGES(fn, smoothed_, counter_, doc_)                            \
    {.name = #fn, .args = ARGS(M), .ret = V, .kind = NLT_PQL_FK_RANGE,        \
     .range = nlt_pql_fn_##fn, .steps = nlt_pql_steps_##fn, .anchored = true, \
     .smoothed = smoothed_, .stretches = smoothed_, .counter = counter_,      \
     .doc = doc_}

#define RANGE_EXP(fn, args_, doc_)                                            \
    {.name = #fn, .args = args_, .ret = V, .kind = NLT_PQL_FK_RANGE,          \
     .range = nlt_pql_fn_##fn, .experimental = true, .doc = doc_}

/* A function of each value; var_ is the variadic number. */
#define MAP(fn, args_, var_, doc_)                                            \
    {.name = #fn, .args = args_, .variadic = var_, .ret = V,                  \
     .kind = NLT_PQL_FK_MAP, .map = nlt_pql_fn_##fn, .doc = doc_}

/* Looks at native histograms only, drops floats. */
#define HIST(name_, doc_)                                                     \
    {.name = name_, .args = ARGS(V), .ret = V, .kind = NLT_PQL_FK_MAP,        \
     .map = nlt_pql_fn_histogram_only, .doc = doc_}

#define SPECIAL(name_, sp_, args_, var_, ret_, doc_)                          \
    {.name = name_, .args = args_, .variadic = var_, .ret = ret_,             \
     .kind = NLT_PQL_FK_SPECIAL, .special = NLT_PQL_SP_##sp_, .doc = doc_}

/* The same, its result keeps the metric name. */
#define SPECIAL_NAME(name_, sp_, args_, var_, ret_, doc_)                     \
    {.name = name_, .args = args_, .variadic = var_, .ret = ret_,             \
     .kind = NLT_PQL_FK_SPECIAL, .special = NLT_PQL_SP_##sp_,                 \
     .keeps_name = true, .doc = doc_}

#define SPECIAL_EXP(name_, sp_, args_, var_, ret_, keeps_, doc_)              \
    {.name = name_, .args = args_, .variadic = var_, .ret = ret_,             \
     .kind = NLT_PQL_FK_SPECIAL, .special = NLT_PQL_SP_##sp_,                 \
     .experimental = true, .keeps_name = keeps_, .doc = doc_}

static const nlt_pql_func_t table[] = {
    MAP(abs, ARGS(V), 0, "absolute value"),
    SPECIAL("absent", ABSENT, ARGS(V), 0, V,
            "1 when the vector is empty, labels from its matchers"),
    SPECIAL("absent_over_time", ABSENT_OVER_TIME, ARGS(M), 0, V,
            "1 when the range has no sample, labels from its matchers"),
    MAP(acos, ARGS(V), 0, "arc cosine, radians"),
    MAP(acosh, ARGS(V), 0, "inverse hyperbolic cosine"),
    MAP(asin, ARGS(V), 0, "arc sine, radians"),
    MAP(asinh, ARGS(V), 0, "inverse hyperbolic sine"),
    MAP(atan, ARGS(V), 0, "arc tangent, radians"),
    MAP(atanh, ARGS(V), 0, "inverse hyperbolic tangent"),
    RANGE_EACH(avg_over_time, ARGS(M), "average of the range's values"),
    MAP(ceil, ARGS(V), 0, "rounded up to an integer"),
    RANGE_EDGES(changes, false, false,
                "how often the value changed in the range"),
    MAP(clamp, ARGS(V, S, S), 0, "held between a minimum and a maximum"),
    MAP(clamp_max, ARGS(V, S), 0, "held below a maximum"),
    MAP(clamp_min, ARGS(V, S), 0, "held above a minimum"),
    MAP(cos, ARGS(V), 0, "cosine of radians"),
    MAP(cosh, ARGS(V), 0, "hyperbolic cosine"),
    RANGE_STEPS(count_over_time, "number of samples in the range"),
    MAP(day_of_month, ARGS(V), 1, "1 to 31, of Unix seconds in UTC"),
    MAP(day_of_week, ARGS(V), 1, "0 (Sunday) to 6"),
    MAP(day_of_year, ARGS(V), 1, "1 to 366"),
    MAP(days_in_month, ARGS(V), 1, "28 to 31"),
    MAP(deg, ARGS(V), 0, "radians to degrees"),
    RANGE_EDGES(delta, true, false,
                "last less first of a gauge, extrapolated"),
    RANGE_LINE(deriv, ARGS(M), "slope per second by linear regression"),
    RANGE_EXP(double_exponential_smoothing, ARGS(M, S, S),
              "smoothed value with trend; factors between 0 and 1"),
    SPECIAL_EXP("end", END, NO_ARGS, 0, S, false,
                "end of the query, Unix seconds"),
    MAP(exp, ARGS(V), 0, "e to the power of the value"),
    RANGE_NAME(first_over_time, false, "oldest value in the range"),
    MAP(floor, ARGS(V), 0, "rounded down to an integer"),
    HIST("histogram_avg", "mean of a native histogram"),
    HIST("histogram_count", "observations of a native histogram"),
    SPECIAL("histogram_fraction", HISTOGRAM_FRACTION, ARGS(S, S, V), 0, V,
            "fraction of observations between two values"),
    SPECIAL("histogram_quantile", HISTOGRAM_QUANTILE, ARGS(S, V), 0, V,
            "quantile of a histogram"),
    SPECIAL_EXP("histogram_quantiles", HISTOGRAM_QUANTILES,
                ARGS(V, T, S, S), 9, V, false,
                "several quantiles, each labelled with its value"),
    HIST("histogram_stddev", "standard deviation of a native histogram"),
    HIST("histogram_stdvar", "variance of a native histogram"),
    HIST("histogram_sum", "sum of a native histogram"),
    MAP(hour, ARGS(V), 1, "0 to 23"),
    RANGE_STEPS(idelta, "difference of the last two samples"),
    RANGE_EDGES(increase, true, true,
                "increase of a counter, extrapolated"),
    SPECIAL_EXP("info", INFO, ARGS(V, V), 1, V, true,
                "adds labels of info metrics of the same target"),
    RANGE_STEPS(irate, "rate of a counter from its last two samples"),
    SPECIAL_NAME("label_join", LABEL_JOIN, ARGS(V, T, T, T), -1, V,
                 "joins label values into a label"),
    SPECIAL_NAME("label_replace", LABEL_REPLACE, ARGS(V, T, T, T, T), 0, V,
                 "sets a label from a regular expression on another"),
    RANGE_NAME(last_over_time, true, "newest value in the range"),
    MAP(ln, ARGS(V), 0, "natural logarithm"),
    MAP(log10, ARGS(V), 0, "decimal logarithm"),
    MAP(log2, ARGS(V), 0, "binary logarithm"),
    RANGE_EXP(mad_over_time, ARGS(M), "median absolute deviation"),
    SPECIAL_EXP("max_of", MAX_OF, ARGS(S, S), 0, S, false,
                "greater of two numbers"),
    RANGE_STEPS(max_over_time, "greatest value in the range"),
    SPECIAL_EXP("min_of", MIN_OF, ARGS(S, S), 0, S, false,
                "smaller of two numbers"),
    RANGE_STEPS(min_over_time, "smallest value in the range"),
    MAP(minute, ARGS(V), 1, "0 to 59"),
    MAP(month, ARGS(V), 1, "1 to 12"),
    SPECIAL("pi", PI, NO_ARGS, 0, S, "3.14159..."),
    RANGE_LINE(predict_linear, ARGS(M, S),
               "value in so many seconds by linear regression"),
    RANGE_STEPS(present_over_time, "1 when the range has a sample"),
    RANGE(quantile_over_time, ARGS(S, M), "quantile of the range's values"),
    MAP(rad, ARGS(V), 0, "degrees to radians"),
    SPECIAL_EXP("range", RANGE, NO_ARGS, 0, S, false,
                "length of the query, seconds"),
    RANGE_EDGES(rate, true, true,
                "increase of a counter per second, extrapolated"),
    RANGE_EDGES(resets, false, false,
                "how often the value fell in the range"),
    MAP(round, ARGS(V, S), 1, "rounded to a multiple, 1 by default"),
    SPECIAL("scalar", SCALAR, ARGS(V), 0, S,
            "value of a vector of one element, else NaN"),
    MAP(sgn, ARGS(V), 0, "-1, 0 or 1 by the sign"),
    MAP(sin, ARGS(V), 0, "sine of radians"),
    MAP(sinh, ARGS(V), 0, "hyperbolic sine"),
    SPECIAL_NAME("sort", SORT, ARGS(V), 0, V, "ascending by value"),
    SPECIAL_EXP("sort_by_label", SORT_BY_LABEL, ARGS(V, T), -1, V, true,
                "ascending by labels in natural order"),
    SPECIAL_EXP("sort_by_label_desc", SORT_BY_LABEL_DESC, ARGS(V, T), -1, V,
                true, "descending by labels in natural order"),
    SPECIAL_NAME("sort_desc", SORT_DESC, ARGS(V), 0, V,
                 "descending by value"),
    MAP(sqrt, ARGS(V), 0, "square root"),
    SPECIAL_EXP("start", START, NO_ARGS, 0, S, false,
                "start of the query, Unix seconds"),
    {.name = "start_timestamp", .args = ARGS(V), .ret = V,
     .experimental = true, .kind = NLT_PQL_FK_NONE,
     .doc = "when the counter of a sample started, Unix seconds"},
    RANGE_EACH(stddev_over_time, ARGS(M), "population standard deviation"),
    RANGE_EACH(stdvar_over_time, ARGS(M), "population variance"),
    SPECIAL_EXP("step", STEP, NO_ARGS, 0, S, false,
                "step of the query, seconds"),
    RANGE_EACH(sum_over_time, ARGS(M), "sum of the range's values"),
    MAP(tan, ARGS(V), 0, "tangent of radians"),
    MAP(tanh, ARGS(V), 0, "hyperbolic tangent"),
    SPECIAL("time", TIME, NO_ARGS, 0, S, "evaluation time, Unix seconds"),
    SPECIAL("timestamp", TIMESTAMP, ARGS(V), 0, V,
            "time of each sample, Unix seconds"),
    RANGE_EXP(ts_of_first_over_time, ARGS(M), "time of the oldest sample"),
    RANGE_EXP(ts_of_last_over_time, ARGS(M), "time of the newest sample"),
    RANGE_EXP(ts_of_max_over_time, ARGS(M), "time of the last maximum"),
    RANGE_EXP(ts_of_min_over_time, ARGS(M), "time of the last minimum"),
    SPECIAL("vector", VECTOR, ARGS(S), 0, V,
            "a scalar as a vector without labels"),
    MAP(year, ARGS(V), 1, "of Unix seconds in UTC"),
};

/* clang-format on */

const nlt_pql_func_t *
nlt_pql_func_find(nlt_str_t name)
{
    size_t lo = 0, hi = NLT_COUNT(table);

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const char *c_name = table[mid].name;
        int c = nlt_str_cmp(name, (nlt_str_t){strlen(c_name), c_name});

        if (c == 0) {
            return &table[mid];
        }
        if (c < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

/* Says which functions would take the modifier. */
static nlt_rc_t
refuse_edges(const nlt_pql_func_t *f, const char *word, bool smoothed,
             nlt_err_t *err)
{
    char names[256];
    size_t len = 0;

    for (size_t i = 0; i < NLT_COUNT(table); i++) {
        size_t n = strlen(table[i].name);

        if ((smoothed ? table[i].smoothed : table[i].anchored)
            && len + n + 2 < sizeof(names)) {
            memcpy(names + len, len ? ", " : "", len ? 2 : 0);
            len += len ? 2 : 0;
            memcpy(names + len, table[i].name, n);
            len += n;
        }
    }
    return nlt_err_set(err, NLT_EEXEC,
                       "%s modifier can only be used with: %.*s - not with %s",
                       word, (int) len, names, f->name);
}

nlt_rc_t
nlt_pql_func_edges(const nlt_pql_func_t *f, bool anchored, bool smoothed,
                   nlt_err_t *err)
{
    if (anchored && !f->anchored) {
        return refuse_edges(f, "anchored", false, err);
    }
    if (smoothed && !f->smoothed) {
        return refuse_edges(f, "smoothed", true, err);
    }
    return NLT_OK;
}

const nlt_pql_func_t *
nlt_pql_func_table(size_t *n)
{
    *n = NLT_COUNT(table);
    return table;
}

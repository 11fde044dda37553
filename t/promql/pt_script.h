/*
 * pt_script.h - the words of promqltest scripts: series, values, numbers.
 *
 * All parsers take one trimmed line, put what they make into a pool and
 * return false with a text in *why when the line is wrong.
 */
#ifndef NLT_T_PROMQL_PT_SCRIPT_H
#define NLT_T_PROMQL_PT_SCRIPT_H

#include "nlt_labels.h"

typedef enum {
    NLT_PT_GAP,
    NLT_PT_FLOAT,
    NLT_PT_HISTOGRAM
} nlt_pt_kind_t;

typedef struct {
    nlt_pt_kind_t kind;
    double v;
} nlt_pt_value_t;

typedef struct {
    nlt_labels_t labels;
    nlt_pt_value_t *values;
    size_t n;
    bool start_times; /* a `series@st` line: v is the start time's distance
                         from the time of the sample, in ms */
} nlt_pt_series_t;

/*
 * `metric{a="b"} 1 2+1x3 _ _x2 stale {{count:1}}x2`: a series and its
 * values, sequences written out.
 */
bool nlt_pt_series(nlt_pool_t *pool, nlt_str_t line, nlt_pt_series_t *out,
                   const char **why);

/* A lone number, as the expected result of a scalar. */
bool nlt_pt_number(nlt_str_t line, double *out);

/* A quoted string ("..", '..' or `..`) at the start of s; *used bytes. */
bool
nlt_pt_unquote(nlt_pool_t *pool, nlt_str_t s, nlt_str_t *out, size_t *used);

/* s without blanks around it. */
nlt_str_t nlt_pt_trim(nlt_str_t s);

/*
 * Takes the first word from *rest (which loses it and the blanks behind it).
 * Empty at the end.
 */
nlt_str_t nlt_pt_word(nlt_str_t *rest);

/* Does s begin with a word (followed by a blank or the end)?  Any case. */
bool nlt_pt_starts(nlt_str_t s, const char *word);

#endif

/*
 * nlt_value.h - the answer of a query, and its annotations.
 *
 * Floor 1 (model); uses base, nlt_labels.
 *
 * Lives in model so that the JSON writer needs no PromQL header and PromQL
 * no JSON.  A result is series-major: each series has one row of n_steps
 * values and one bit per step that says whether there is a value.
 *
 *     step_t_ms(i) = t_start_ms + i * step_ms
 *     series[s].v[i]            value at step i, valid iff
 *     series[s].present[i / 64] >> (i % 64) & 1
 *
 * An instant vector is the case n_steps = 1.  A range vector (the raw
 * samples of an instant query for `m[5m]`) has its own times per series.
 * Everything is in the query's pool.
 */
#ifndef NLT_MODEL_VALUE_H
#define NLT_MODEL_VALUE_H

#include "nlt_labels.h"

typedef enum {
    NLT_VALUE_SCALAR, /* series[0].v, no labels; present at every step */
    NLT_VALUE_VECTOR, /* n_steps == 1 for instant queries */
    NLT_VALUE_MATRIX, /* range query result, or raw samples: see t_ms */
    NLT_VALUE_STRING
} nlt_value_type_t;

typedef struct {
    nlt_labels_t labels;
    double *v;
    uint64_t *present; /* NULL: all n present */
    int64_t *t_ms;     /* own times (raw range vector), or NULL: the grid */
    size_t n;          /* length of v: n_steps, or the number of samples */
} nlt_value_series_t;

typedef struct {
    nlt_value_type_t type;
    int64_t t_start_ms;
    int64_t step_ms;
    size_t n_steps;
    nlt_value_series_t *series;
    size_t n_series;
    nlt_str_t string;
} nlt_value_t;

static inline bool
nlt_value_has(const nlt_value_series_t *s, size_t i)
{
    return s->present == NULL || (s->present[i / 64] >> (i % 64) & 1);
}

/*
 * Warnings and infos of one query: complete texts ("PromQL warning: ...
 * (1:5)"), in the query's pool.  At most 10 of each are shown; how many more
 * there were is counted.
 */
typedef struct nlt_annot_s nlt_annot_t;

struct nlt_annot_s {
    nlt_annot_t *next;
    nlt_str_t text;
};

typedef struct {
    nlt_annot_t *warnings; /* in order of first occurrence */
    nlt_annot_t *infos;
    size_t n_warnings;
    size_t n_infos;
} nlt_annots_t;

#endif

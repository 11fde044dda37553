/*
 * pt_expect.h - what an eval expects, and comparing an answer with it.
 */
#ifndef NLT_T_PROMQL_PT_EXPECT_H
#define NLT_T_PROMQL_PT_EXPECT_H

#include "nlt_buf.h"
#include "nlt_value.h"
#include "pt_script.h"

typedef enum {
    NLT_PT_WARN,
    NLT_PT_INFO,
    NLT_PT_FAIL,
    NLT_PT_N_NOTES
} nlt_pt_note_t;

/* `expect warn`, `expect warn msg:..` or `expect warn regex:..` */
typedef struct {
    enum {
        NLT_PT_ANY,
        NLT_PT_MSG,
        NLT_PT_REGEX
    } how;
    nlt_str_t text;
} nlt_pt_pattern_t;

typedef struct {
    nlt_pt_series_t series;
    size_t pos; /* 1 for the first line */
} nlt_pt_want_t;

typedef struct {
    nlt_pool_t *pool;
    nlt_pt_want_t *want;
    size_t n_want;
    size_t cap_want;
    bool is_scalar; /* a lone number was expected */
    double scalar;
    bool is_string;
    nlt_str_t string;
    nlt_pt_pattern_t *notes[NLT_PT_N_NOTES];
    size_t n_notes[NLT_PT_N_NOTES];
    bool no_warn;
    bool no_info;
    bool ordered;
    /* The grid of expected values: of a range query, or of `expect range
     * vector`. */
    bool is_matrix;
    int64_t t_start_ms;
    int64_t t_end_ms;
    int64_t step_ms;
} nlt_pt_expect_t;

/*
 * Takes one line of the block behind `eval`.  false: *why says what is wrong
 * with it.  *last is set when the line ends the block.
 */
bool nlt_pt_expect_line(nlt_pt_expect_t *e, nlt_str_t line, bool *last,
                        const char **why);

/* Adds `expect <kind>` without a text, as eval_warn and kin mean it. */
bool nlt_pt_expect_note(nlt_pt_expect_t *e, nlt_pt_note_t kind,
                        nlt_pt_pattern_t pattern);

/* The value of an instant query; false and a text in what. */
bool nlt_pt_check_instant(const nlt_pt_expect_t *e, const nlt_value_t *v,
                          nlt_buf_t *what);

/* A matrix against the expected grid. */
bool nlt_pt_check_matrix(const nlt_pt_expect_t *e, const nlt_value_t *v,
                         nlt_buf_t *what);

/* One step of a matrix against what is expected of the instant query. */
bool nlt_pt_check_step(const nlt_pt_expect_t *e, const nlt_value_t *v,
                       size_t step, nlt_buf_t *what);

bool nlt_pt_check_annots(const nlt_pt_expect_t *e, const nlt_annots_t *a,
                         nlt_buf_t *what);

/* The text of a failed query against `expect fail`. */
bool
nlt_pt_check_fail(const nlt_pt_expect_t *e, nlt_str_t text, nlt_buf_t *what);

/* Equal for the language's purposes: 1e-6 relative, NaN equals NaN. */
bool nlt_pt_almost_equal(double a, double b);

/* from A to B step S, in ms. */
bool nlt_pt_range(nlt_str_t *rest, int64_t *start_ms, int64_t *end_ms,
                  int64_t *step_ms);

#endif

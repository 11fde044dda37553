/*
 * nlt_pql_ast.h - the syntax tree of a PromQL expression.
 *
 * Floor 3 (promql); uses base, model.
 *
 * The parser builds it in a pool, check types it, plan reads it; after check
 * nobody writes it.  Strings borrow from the pool (unescaped literals) or
 * from the query text, which must live as long.  Positions are byte offsets
 * [start, end) into the query text, for error messages and annotations.
 *
 *     sum by (job) (rate(http_total{code="500"}[5m] offset 1m)) > 3
 *
 *     BINARY >
 *       |-- AGGR sum by (job)
 *       |     `-- CALL rate
 *       |           `-- MATRIX range 5m
 *       |                 `-- VECTOR http_total{code="500"} offset 1m
 *       `-- NUMBER 3
 *
 * offset and @ always sit on the VECTOR or the SUBQUERY they modify, also
 * when they were written after a range.
 */
#ifndef NLT_PROMQL_PQL_AST_H
#define NLT_PROMQL_PQL_AST_H

#include "nlt_matcher.h"

typedef struct nlt_pql_node_s nlt_pql_node_t;
struct nlt_pql_func_s;

/* Types of expressions; NONE before check. */
typedef enum {
    NLT_PQL_NONE,
    NLT_PQL_SCALAR,
    NLT_PQL_VECTOR,
    NLT_PQL_MATRIX,
    NLT_PQL_STRING
} nlt_pql_type_t;

typedef enum {
    NLT_PQL_N_NUMBER,
    NLT_PQL_N_STRING,
    NLT_PQL_N_VECTOR,   /* instant vector selector */
    NLT_PQL_N_MATRIX,   /* range over a VECTOR */
    NLT_PQL_N_SUBQUERY, /* range and step over any vector expression */
    NLT_PQL_N_CALL,
    NLT_PQL_N_AGGR,
    NLT_PQL_N_BINARY,
    NLT_PQL_N_UNARY,
    NLT_PQL_N_PAREN
} nlt_pql_kind_t;

typedef enum {
    NLT_PQL_OP_ADD,
    NLT_PQL_OP_SUB,
    NLT_PQL_OP_MUL,
    NLT_PQL_OP_DIV,
    NLT_PQL_OP_MOD,
    NLT_PQL_OP_POW,
    NLT_PQL_OP_ATAN2,
    NLT_PQL_OP_EQ,
    NLT_PQL_OP_NE,
    NLT_PQL_OP_GT,
    NLT_PQL_OP_LT,
    NLT_PQL_OP_GE,
    NLT_PQL_OP_LE,
    NLT_PQL_OP_AND,
    NLT_PQL_OP_OR,
    NLT_PQL_OP_UNLESS,
    NLT_PQL_OP_TRIM_UPPER, /* </ */
    NLT_PQL_OP_TRIM_LOWER  /* >/ */
} nlt_pql_op_t;

typedef enum {
    NLT_PQL_AGGR_SUM,
    NLT_PQL_AGGR_AVG,
    NLT_PQL_AGGR_MIN,
    NLT_PQL_AGGR_MAX,
    NLT_PQL_AGGR_GROUP,
    NLT_PQL_AGGR_COUNT,
    NLT_PQL_AGGR_STDDEV,
    NLT_PQL_AGGR_STDVAR,
    NLT_PQL_AGGR_TOPK,
    NLT_PQL_AGGR_BOTTOMK,
    NLT_PQL_AGGR_COUNT_VALUES,
    NLT_PQL_AGGR_QUANTILE,
    NLT_PQL_AGGR_LIMITK,
    NLT_PQL_AGGR_LIMIT_RATIO
} nlt_pql_aggr_t;

/* A list of label names, as written. */
typedef struct {
    const nlt_str_t *v;
    size_t n;
} nlt_pql_names_t;

/*
 * A length of time: a literal, or (experimental) an expression of NUMBER,
 * UNARY, BINARY, PAREN and CALL (step, range, min_of, max_of) nodes which is
 * resolved when the range and step of the query are known.
 */
typedef struct {
    int64_t ms;
    nlt_pql_node_t *expr; /* NULL: ms is the value */
    bool positive;        /* zero or less is an error: ranges and steps */
} nlt_pql_duration_t;

typedef enum {
    NLT_PQL_AT_NONE,
    NLT_PQL_AT_TIME,  /* @ 1234.5 */
    NLT_PQL_AT_START, /* @ start() */
    NLT_PQL_AT_END
} nlt_pql_at_kind_t;

/* offset and @ of a VECTOR or SUBQUERY. */
typedef struct {
    nlt_pql_duration_t offset; /* as written; may be negative */
    bool has_offset;
    nlt_pql_at_kind_t at;
    int64_t at_ms; /* of AT_TIME */
} nlt_pql_shift_t;

typedef struct {
    double value;
    bool is_duration; /* written as one: "5m"; prints back as one */
} nlt_pql_number_t;

typedef struct {
    nlt_str_t name;          /* written before the braces, or empty */
    nlt_matcher_t *matchers; /* in written order, then __name__ = name */
    size_t n_matchers;       /* not yet compiled */
    nlt_pql_shift_t shift;
    bool anchored;
    bool smoothed;
} nlt_pql_vector_t;

typedef struct {
    nlt_pql_node_t *vector; /* N_VECTOR */
    nlt_pql_duration_t range;
} nlt_pql_matrix_t;

typedef struct {
    nlt_pql_node_t *expr;
    nlt_pql_duration_t range;
    nlt_pql_duration_t step; /* ms 0 and no expr: the default step */
    nlt_pql_shift_t shift;
} nlt_pql_subquery_t;

typedef struct {
    const struct nlt_pql_func_s *func; /* row of THE table */
    nlt_pql_node_t **args;
    size_t n_args;
} nlt_pql_call_t;

typedef struct {
    nlt_pql_aggr_t op;
    nlt_pql_node_t *param; /* of topk, quantile, ...; else NULL */
    nlt_pql_node_t *expr;
    nlt_pql_names_t grouping;
    bool without;
    bool has_grouping; /* by () was written, even if empty */
} nlt_pql_aggr_node_t;

typedef enum {
    NLT_PQL_CARD_ONE_TO_ONE,
    NLT_PQL_CARD_MANY_TO_ONE, /* group_left */
    NLT_PQL_CARD_ONE_TO_MANY, /* group_right */
    NLT_PQL_CARD_MANY_TO_MANY /* set operators */
} nlt_pql_card_t;

typedef struct {
    nlt_pql_op_t op;
    nlt_pql_node_t *lhs;
    nlt_pql_node_t *rhs;
    int32_t op_pos;    /* of the operator token */
    bool return_bool;  /* bool modifier */
    bool has_matching; /* on or ignoring was written */
    bool on;           /* labels are those of on(); else of ignoring() */
    nlt_pql_names_t labels;
    nlt_pql_card_t card;
    bool has_group;          /* group_left or group_right was written */
    nlt_pql_names_t include; /* group_left(these) */
    bool fill_left_set, fill_right_set; /* experimental fill modifiers */
    double fill_left, fill_right;
} nlt_pql_binary_t;

typedef struct {
    bool negate; /* '-'; '+' changes nothing */
    nlt_pql_node_t *expr;
} nlt_pql_unary_t;

struct nlt_pql_node_s {
    nlt_pql_kind_t kind;
    nlt_pql_type_t type;
    int32_t start; /* position range in the text */
    int32_t end;
    int32_t height; /* levels from here down to the deepest leaf, 1 for a
                       leaf, at most NLT_PQL_DEPTH_MAX: recursion over a
                       tree is bounded */
    union {
        nlt_pql_number_t number;
        nlt_str_t string;
        nlt_pql_vector_t vector;
        nlt_pql_matrix_t matrix;
        nlt_pql_subquery_t subquery;
        nlt_pql_call_t call;
        nlt_pql_aggr_node_t aggr;
        nlt_pql_binary_t binary;
        nlt_pql_unary_t unary;
        nlt_pql_node_t *paren;
    } u;
};

/* "+", "atan2", "unless", "</". */
const char *nlt_pql_op_text(nlt_pql_op_t op);

/* "sum", "count_values". */
const char *nlt_pql_aggr_text(nlt_pql_aggr_t op);

/* "scalar", "instant vector", "range vector", "string", "none". */
const char *nlt_pql_type_text(nlt_pql_type_t type);

static inline bool
nlt_pql_op_is_comparison(nlt_pql_op_t op)
{
    return op >= NLT_PQL_OP_EQ && op <= NLT_PQL_OP_LE;
}

static inline bool
nlt_pql_op_is_set(nlt_pql_op_t op)
{
    return op >= NLT_PQL_OP_AND && op <= NLT_PQL_OP_UNLESS;
}

/* node without the parentheses around it. */
nlt_pql_node_t *nlt_pql_unparen(nlt_pql_node_t *node);

#endif

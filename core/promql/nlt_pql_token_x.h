/*
 * nlt_pql_token_x.h - THE list of PromQL's tokens.
 *
 * Floor 3 (promql); uses nothing.
 *
 * One X-macro row a token: lexer, parser, printer and error texts read it.
 * The operators stand in the order of nlt_pql_op_t and the aggregations in
 * the order of nlt_pql_aggr_t, so that one becomes the other by subtraction
 * (asserted where it is done).
 *
 * Columns:
 *   name    of the enum constant, after NLT_PQL_T_
 *   text    as written (words in lower case; the lexer ignores case), or ""
 *   class   how error texts name it: END, NAME, LITERAL, PUNCT ("x"), OP
 *           (<op:x>), AGGR (<aggr:x>), KEYWORD (<x>), WORD ("x")
 *   power   how strongly it binds as a binary operator; 0: it is none
 *   metric  1 if the word is a metric name where an expression may begin
 */
#ifndef NLT_PROMQL_PQL_TOKEN_X_H
#define NLT_PROMQL_PQL_TOKEN_X_H

/* clang-format off */

#define NLT_PQL_TOKENS(X)                          \
    X(END,           "",             END,     0, 0) \
    X(ERROR,         "",             END,     0, 0) \
    X(IDENT,         "",             NAME,    0, 1) \
    X(METRIC_IDENT,  "",             NAME,    0, 1) \
    X(NUMBER,        "",             LITERAL, 0, 0) \
    X(DURATION,      "",             LITERAL, 0, 0) \
    X(STRING,        "",             LITERAL, 0, 0) \
    X(LEFT_PAREN,    "(",            PUNCT,   0, 0) \
    X(RIGHT_PAREN,   ")",            PUNCT,   0, 0) \
    X(LEFT_BRACE,    "{",            PUNCT,   0, 0) \
    X(RIGHT_BRACE,   "}",            PUNCT,   0, 0) \
    X(LEFT_BRACKET,  "[",            PUNCT,   0, 0) \
    X(RIGHT_BRACKET, "]",            PUNCT,   0, 0) \
    X(COMMA,         ",",            PUNCT,   0, 0) \
    X(COLON,         ":",            PUNCT,   0, 0) \
    X(ASSIGN,        "=",            PUNCT,   0, 0) \
    X(ADD,           "+",            OP,      4, 0) \
    X(SUB,           "-",            OP,      4, 0) \
    X(MUL,           "*",            OP,      5, 0) \
    X(DIV,           "/",            OP,      5, 0) \
    X(MOD,           "%",            OP,      5, 0) \
    X(POW,           "^",            OP,      6, 0) \
    X(ATAN2,         "atan2",        OP,      5, 0) \
    X(EQ,            "==",           OP,      3, 0) \
    X(NE,            "!=",           OP,      3, 0) \
    X(GT,            ">",            OP,      3, 0) \
    X(LT,            "<",            OP,      3, 0) \
    X(GE,            ">=",           OP,      3, 0) \
    X(LE,            "<=",           OP,      3, 0) \
    X(AND,           "and",          OP,      2, 1) \
    X(OR,            "or",           OP,      1, 1) \
    X(UNLESS,        "unless",       OP,      2, 1) \
    X(TRIM_UPPER,    "</",           OP,      3, 0) \
    X(TRIM_LOWER,    ">/",           OP,      3, 0) \
    X(MATCH_RE,      "=~",           OP,      0, 0) \
    X(MATCH_NRE,     "!~",           OP,      0, 0) \
    X(AT,            "@",            OP,      0, 0) \
    X(SUM,           "sum",          AGGR,    0, 1) \
    X(AVG,           "avg",          AGGR,    0, 1) \
    X(MIN,           "min",          AGGR,    0, 1) \
    X(MAX,           "max",          AGGR,    0, 1) \
    X(GROUP,         "group",        AGGR,    0, 1) \
    X(COUNT,         "count",        AGGR,    0, 1) \
    X(STDDEV,        "stddev",       AGGR,    0, 1) \
    X(STDVAR,        "stdvar",       AGGR,    0, 1) \
    X(TOPK,          "topk",         AGGR,    0, 1) \
    X(BOTTOMK,       "bottomk",      AGGR,    0, 1) \
    X(COUNT_VALUES,  "count_values", AGGR,    0, 1) \
    X(QUANTILE,      "quantile",     AGGR,    0, 1) \
    X(LIMITK,        "limitk",       AGGR,    0, 1) \
    X(LIMIT_RATIO,   "limit_ratio",  AGGR,    0, 1) \
    X(BOOL,          "bool",         KEYWORD, 0, 0) \
    X(BY,            "by",           KEYWORD, 0, 1) \
    X(WITHOUT,       "without",      KEYWORD, 0, 1) \
    X(ON,            "on",           KEYWORD, 0, 0) \
    X(IGNORING,      "ignoring",     KEYWORD, 0, 0) \
    X(GROUP_LEFT,    "group_left",   KEYWORD, 0, 0) \
    X(GROUP_RIGHT,   "group_right",  KEYWORD, 0, 0) \
    X(OFFSET,        "offset",       KEYWORD, 0, 1) \
    X(ANCHORED,      "anchored",     KEYWORD, 0, 1) \
    X(SMOOTHED,      "smoothed",     KEYWORD, 0, 1) \
    X(FILL,          "fill",         KEYWORD, 0, 1) \
    X(FILL_LEFT,     "fill_left",    KEYWORD, 0, 1) \
    X(FILL_RIGHT,    "fill_right",   KEYWORD, 0, 1) \
    X(START,         "start",        WORD,    0, 1) \
    X(END_OF,        "end",          WORD,    0, 1) \
    X(STEP,          "step",         WORD,    0, 1) \
    X(RANGE,         "range",        WORD,    0, 1) \
    X(MIN_OF,        "min_of",       WORD,    0, 1) \
    X(MAX_OF,        "max_of",       WORD,    0, 1)

/* clang-format on */

#endif

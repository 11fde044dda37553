/*
 * nlt_limits.h - every built-in maximum of core in one place, with its reason.
 *
 * Floor 0 (base); uses nothing.
 *
 * A number here is a bound that protects the process, or the default of a
 * limit that a directive can change; formats have their own constants beside
 * the code that reads them.
 */
#ifndef NLT_BASE_LIMITS_H
#define NLT_BASE_LIMITS_H

/* remote_write: Prometheus's own receiver takes 32 MiB, both ways. */
#define NLT_WRITE_BODY_MAX    (32u << 20)
#define NLT_WRITE_DECODED_MAX (32u << 20)

/* Symbols of one remote_write 2.0 request: each costs 24 bytes while it is
 * worked on, and may come in two. */
#define NLT_RW2_SYMBOLS_MAX (1u << 20)

/* Labels of one series and bytes of one label: defaults of directives. */
#define NLT_LABELS_PER_SERIES_DEFAULT 64u
#define NLT_LABEL_NAME_BYTES_DEFAULT  1024u
#define NLT_LABEL_VALUE_BYTES_DEFAULT 4096u

/*
 * All labels of one series, serialised: a series record must fit in one WAL
 * record (64 KiB) beside its header.
 */
#define NLT_SERIES_BYTES_MAX 61440u

/* Raw spellings remembered for one series: permutations are no bomb. */
#define NLT_ALIASES_PER_SERIES_MAX 4u

/* A sample may lie this far ahead of the clock, as in Prometheus. */
#define NLT_FUTURE_MS_MAX (10 * 60 * 1000)

/* Chunks and blocks are cut at borders of two hours. */
#define NLT_BORDER_MS (2 * 60 * 60 * 1000)

/* PromQL: text, nesting and nodes; a dashboard's worst is far below. */
#define NLT_PQL_TEXT_MAX  (1u << 20)
#define NLT_PQL_DEPTH_MAX 256u
#define NLT_PQL_NODES_MAX 100000u

/* Points per series of a range query, as in Prometheus. */
#define NLT_QUERY_POINTS_MAX 11000

#endif

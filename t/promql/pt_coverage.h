/*
 * pt_coverage.h - which parts of PromQL the scripts have used.
 *
 * promqltest --coverage FILE... runs the files and then prints a TAP line
 * for every function, aggregator, operator and modifier there is: ok when
 * some eval that passed, and did not expect to fail, has it.  The lists come
 * from the tables of the language itself, so what is added there without a
 * script is found.
 */
#ifndef NLT_PT_COVERAGE_H
#define NLT_PT_COVERAGE_H

#include "nlt_pql_ast.h"

#define NLT_PT_PARTS_MAX  512
#define NLT_PT_NAME_BYTES 48

typedef struct {
    char names[NLT_PT_PARTS_MAX][NLT_PT_NAME_BYTES];
    size_t n;
} nlt_pt_seen_t;

/* Notes all parts of a tree. */
void nlt_pt_seen_add(nlt_pt_seen_t *seen, const nlt_pql_node_t *node);

/* Prints the TAP lines and the plan; true when nothing is missing. */
bool nlt_pt_seen_report(const nlt_pt_seen_t *seen);

#endif

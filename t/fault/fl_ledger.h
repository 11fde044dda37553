/*
 * fl_ledger.h - which samples must be there, which may, and what they are.
 *
 * A row is one sample that was sent once.  `tried` and `must` are positions in
 * the record of a disk (numbers of changes): a power loss at a position before
 * `tried` cannot leave the sample, one at `must` or behind may not lose it.
 * The value is a function of series and time, so a wrong one cannot look
 * right, and sending a sample twice is harmless.
 */
#ifndef FL_LEDGER_H
#define FL_LEDGER_H

#include "nlt_source.h"

#define FL_SERIES_MAX 4096u

typedef struct {
    unsigned series;
    int64_t t_ms;
    size_t tried;
    size_t must;   /* SIZE_MAX: may be lost */
    size_t doomed; /* its delete was asked for: may be gone behind it */
    size_t gone;   /* its delete was answered: may not be there */
    /* acknowledged, the log written between these positions; 0, 0: not */
    size_t log_from, log_to;
} fl_row_t;

/*
 * Metadata of one family is said again and again, each time with the next
 * number as help.  What the store knows is the number that was said last, or a
 * later one that was sent.
 */
#define FL_FAMILY   "fl"
#define FL_SAID_MAX 256u

typedef struct {
    size_t tried, must;
    size_t log_from, log_to;
} fl_said_t;

typedef struct {
    fl_row_t *v;
    size_t n, cap;
    int64_t t_max_ms;
    fl_said_t said[FL_SAID_MAX]; /* number i + 1 */
    unsigned n_said;
} fl_ledger_t;

double fl_value(unsigned series, int64_t t_ms);

void fl_ledger_deinit(fl_ledger_t *l);

/* A copy, in a ledger that is empty or was used before. */
void fl_ledger_copy(fl_ledger_t *to, const fl_ledger_t *from);

/* A row, until the next one is added. */
fl_row_t *
fl_ledger_add(fl_ledger_t *l, unsigned series, int64_t t_ms, size_t tried);

/* The next number to be said; 0: there are enough. */
unsigned fl_ledger_say(fl_ledger_t *l, size_t tried);

/* Before anything below. */
void fl_ledger_sort(fl_ledger_t *l);

typedef struct {
    size_t lost;  /* that must be there */
    size_t wrong; /* value */
    size_t alien; /* nobody sent it, or not yet */
    size_t twice; /* not in order of time */
    size_t found;
    char first[160]; /* the first of these, for people */
} fl_verdict_t;

/*
 * What one series of the store has against its rows at a position.  Those
 * before t_border_ms may have been removed.
 */
void fl_ledger_compare(const fl_ledger_t *l, unsigned series,
                       const nlt_samples_t *got, size_t at,
                       int64_t t_border_ms, fl_verdict_t *v);

/* Metadata that was said need not be there any more: its file is damaged. */
void fl_ledger_forget(fl_ledger_t *l);

/* May the store know this number (0: nothing) at a position?  Why not in v. */
bool fl_ledger_said(const fl_ledger_t *l, unsigned number, size_t at,
                    fl_verdict_t *v);

/* Of rows of a series in [t_min, t_max]: a delete was asked for. */
void fl_ledger_doom(fl_ledger_t *l, unsigned series, int64_t t_min_ms,
                    int64_t t_max_ms, size_t at);

/* It was answered; it is about what was sent by `from`. */
void fl_ledger_bury(fl_ledger_t *l, unsigned series, int64_t t_min_ms,
                    int64_t t_max_ms, size_t from, size_t at);

/*
 * What is in `got` of a series stays, and what is not there because a delete
 * was perhaps done stays away, from position 0 on.
 */
void fl_ledger_hold(fl_ledger_t *l, unsigned series, const nlt_samples_t *got);

#endif

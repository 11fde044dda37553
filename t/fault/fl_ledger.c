/*
 * fl_ledger.c - rows, sorted, and the comparison.
 */
#include "fl_ledger.h"

#include <stdio.h>
#include <stdlib.h>

#include "fl_disk.h"
#include "nlt_hash.h"

/* Whole numbers, fractions, all bits, and what has bits of its own. */
double
fl_value(unsigned series, int64_t t_ms)
{
    uint64_t x = nlt_mix64((uint64_t) t_ms * 8191 + series);

    switch (series % 4) {
    case 0:
        return (double) (x % 1000000);
    case 1:
        return (double) (t_ms % 1000000) / 8;
    case 2:
        return x % 16 == 0 ? nlt_double_of(NLT_STALE_NAN_BITS)
                           : (double) (x % 1000) / 100;
    default:
        /* Exponents in the middle: no NaN by chance. */
        return nlt_double_of((x & ~(UINT64_C(1) << 62)) | UINT64_C(1) << 61);
    }
}

void
fl_ledger_deinit(fl_ledger_t *l)
{
    free(l->v);
    *l = (fl_ledger_t){.v = NULL};
}

void
fl_ledger_copy(fl_ledger_t *to, const fl_ledger_t *from)
{
    if (to->cap < from->n) {
        free(to->v);
        to->cap = from->n;
        to->v = malloc(to->cap * sizeof(*to->v));
        if (to->v == NULL) {
            fl_die("memory", "ledger");
        }
    }
    if (from->n > 0) {
        memcpy(to->v, from->v, from->n * sizeof(*to->v));
    }
    to->n = from->n;
    to->t_max_ms = from->t_max_ms;
    memcpy(to->said, from->said, sizeof(to->said));
    to->n_said = from->n_said;
}

unsigned
fl_ledger_say(fl_ledger_t *l, size_t tried)
{
    if (l->n_said == FL_SAID_MAX) {
        return 0;
    }
    l->said[l->n_said] = (fl_said_t){.tried = tried, .must = SIZE_MAX};
    return ++l->n_said;
}

void
fl_ledger_forget(fl_ledger_t *l)
{
    for (unsigned i = 0; i < l->n_said; i++) {
        l->said[i].must = SIZE_MAX;
    }
}

bool
fl_ledger_said(const fl_ledger_t *l, unsigned number, size_t at,
               fl_verdict_t *v)
{
    unsigned least = 0, most = 0;

    for (unsigned i = 0; i < l->n_said; i++) {
        least = l->said[i].must <= at ? i + 1 : least;
        most = l->said[i].tried <= at ? i + 1 : most;
    }
    if (number >= least && number <= most) {
        return true;
    }
    (void) snprintf(v->first, sizeof(v->first),
                    "metadata number %u, not %u to %u", number, least, most);
    return false;
}

fl_row_t *
fl_ledger_add(fl_ledger_t *l, unsigned series, int64_t t_ms, size_t tried)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 1024;
        l->v = realloc(l->v, l->cap * sizeof(*l->v));
        if (l->v == NULL) {
            fl_die("memory", "ledger");
        }
    }
    if (l->n == 0 || t_ms > l->t_max_ms) {
        l->t_max_ms = t_ms;
    }
    l->v[l->n] = (fl_row_t){.series = series,
                            .t_ms = t_ms,
                            .tried = tried,
                            .must = SIZE_MAX,
                            .doomed = SIZE_MAX,
                            .gone = SIZE_MAX};
    return &l->v[l->n++];
}

static int
cmp(const void *pa, const void *pb)
{
    const fl_row_t *a = pa, *b = pb;

    if (a->series != b->series) {
        return a->series < b->series ? -1 : 1;
    }
    return (a->t_ms > b->t_ms) - (a->t_ms < b->t_ms);
}

void
fl_ledger_sort(fl_ledger_t *l)
{
    if (l->n > 0) {
        qsort(l->v, l->n, sizeof(*l->v), cmp);
    }
}

/* First row of a series. */
static size_t
begin_of(const fl_ledger_t *l, unsigned series)
{
    size_t from = 0, to = l->n;

    while (from < to) {
        size_t mid = from + (to - from) / 2;

        if (l->v[mid].series < series) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return from;
}

static void
say(fl_verdict_t *v, const char *what, unsigned series, int64_t t_ms)
{
    if (v->first[0] == '\0') {
        (void) snprintf(v->first, sizeof(v->first), "series %u, t %lld: %s",
                        series, (long long) t_ms, what);
    }
}

/* The rows of one time, [*i, end): may it be there, must it? */
static void
judge(const fl_ledger_t *l, size_t *i, size_t at, bool *may, bool *must)
{
    const fl_row_t *first = &l->v[*i];

    *may = *must = false;
    for (; *i < l->n && l->v[*i].series == first->series
           && l->v[*i].t_ms == first->t_ms;
         (*i)++) {
        const fl_row_t *row = &l->v[*i];

        *may |= row->tried <= at && row->gone > at;
        *must |= row->must <= at && row->doomed >= at;
    }
}

void
fl_ledger_compare(const fl_ledger_t *l, unsigned series,
                  const nlt_samples_t *got, size_t at, int64_t t_border_ms,
                  fl_verdict_t *v)
{
    size_t j = 0;

    for (size_t i = begin_of(l, series);
         i < l->n && l->v[i].series == series;) {
        int64_t t = l->v[i].t_ms;
        bool may, must;

        judge(l, &i, at, &may, &must);
        for (; j < got->n && got->t_ms[j] < t; j++) {
            v->alien++;
            say(v, "nobody sent it", series, got->t_ms[j]);
        }
        if (j == got->n || got->t_ms[j] != t) {
            if (must && t >= t_border_ms) {
                v->lost++;
                say(v, "lost", series, t);
            }
            continue;
        }
        if (!may) {
            v->alien++;
            say(v, "not sent yet", series, t);
        }
        if (nlt_bits_of(got->v[j]) != nlt_bits_of(fl_value(series, t))) {
            v->wrong++;
            say(v, "wrong value", series, t);
        }
        v->found++;
        j++;
        if (j < got->n && got->t_ms[j] <= t) {
            v->twice++;
            say(v, "twice", series, t);
            return;
        }
    }
    if (j < got->n) {
        v->alien += got->n - j;
        say(v, "nobody sent it", series, got->t_ms[j]);
    }
}

static bool
is_about(const fl_row_t *row, unsigned series, int64_t t_min_ms,
         int64_t t_max_ms)
{
    return row->series == series && row->t_ms >= t_min_ms
           && row->t_ms <= t_max_ms;
}

void
fl_ledger_doom(fl_ledger_t *l, unsigned series, int64_t t_min_ms,
               int64_t t_max_ms, size_t at)
{
    for (size_t i = 0; i < l->n; i++) {
        fl_row_t *row = &l->v[i];

        if (is_about(row, series, t_min_ms, t_max_ms) && row->doomed > at) {
            row->doomed = at;
        }
    }
}

void
fl_ledger_bury(fl_ledger_t *l, unsigned series, int64_t t_min_ms,
               int64_t t_max_ms, size_t from, size_t at)
{
    for (size_t i = 0; i < l->n; i++) {
        fl_row_t *row = &l->v[i];

        if (is_about(row, series, t_min_ms, t_max_ms) && row->tried <= from
            && row->gone > at) {
            row->gone = at;
        }
    }
}

void
fl_ledger_hold(fl_ledger_t *l, unsigned series, const nlt_samples_t *got)
{
    size_t j = 0;

    for (size_t i = begin_of(l, series); i < l->n && l->v[i].series == series;
         i++) {
        while (j < got->n && got->t_ms[j] < l->v[i].t_ms) {
            j++;
        }
        if (j < got->n && got->t_ms[j] == l->v[i].t_ms) {
            l->v[i].must = 0;
            l->v[i].doomed = SIZE_MAX;
        } else if (l->v[i].doomed == 0) {
            l->v[i].gone = 0;
        }
    }
}

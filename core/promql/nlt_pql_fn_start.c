/*
 * nlt_pql_fn_start.c - rates of counters whose samples know their start.
 *
 * A counter's start time says when it was zero.  Where it lies between two
 * samples, the later one counts from zero again, also if it is not smaller;
 * where it lies inside of the window and before the first sample, there was a
 * zero at that time, and nothing is extrapolated to the left.
 *
 *     range_start      start      t0            t1         range_end
 *          |             o--------x-------------x              |
 *                        0       v0            v1
 *
 *     v1 - v0 + v0, over t1 - start, stretched to the right only
 */
#include "nlt_pql_fn.h"

/* Was the counter started anew between samples i - 1 and i? */
static bool
started_before(const nlt_pql_window_t *w, size_t i)
{
    int64_t start = w->st_ms[i], prev = w->t_ms[i - 1];

    if (start == 0 || start >= w->t_ms[i]) {
        return false;
    }
    /*
     * A start at the time of the sample before is a delta if that one had a
     * start of its own; else it only says that nobody knows the start.
     */
    return start > prev
           || (start == prev && w->st_ms[i - 1] != 0
               && w->st_ms[i - 1] < prev);
}

bool
nlt_pql_started_increase(const nlt_pql_window_t *w, double *out)
{
    size_t n = w->n;
    int64_t first_ms = w->t_ms[0], last_ms = w->t_ms[n - 1];
    double change = w->v[n - 1] - w->v[0];
    double average =
        n > 1 ? (double) (last_ms - first_ms) / 1000 / (double) (n - 1) : 0;
    double to_start = (double) (first_ms - w->range_start_ms) / 1000;
    double to_end = (double) (w->range_end_ms - last_ms) / 1000;
    bool zero_inside = w->st_ms[0] != 0 && w->st_ms[0] > w->range_start_ms
                       && w->st_ms[0] < first_ms;

    if (n < 2 && !zero_inside) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        if (w->v[i] < w->v[i - 1] || started_before(w, i)) {
            change += w->v[i - 1];
        }
    }
    if (zero_inside) {
        change += w->v[0];
        first_ms = w->st_ms[0];
        to_start = 0;
    } else if (to_start >= average * 1.1) {
        to_start = average / 2;
    }

    double span = (double) (last_ms - first_ms) / 1000;

    if (!zero_inside && change > 0 && w->v[0] >= 0) {
        double to_zero = span * (w->v[0] / change);

        to_start = to_zero < to_start ? to_zero : to_start;
    }
    if (to_end >= average * 1.1) {
        to_end = average / 2;
    }
    *out = change * ((span + to_start + to_end) / span);
    return true;
}

bool
nlt_pql_started_irate(const nlt_pql_window_t *w, double *out)
{
    size_t i = w->n - 1;

    if (i == 0) {
        return false;
    }
    double change = w->v[i] - w->v[i - 1];

    if (change < 0 || started_before(w, i)) {
        change = w->v[i];
    }
    *out = change / ((double) (w->t_ms[i] - w->t_ms[i - 1]) / 1000);
    return true;
}

/*
 * nlt_intervals.c - intervals of time, and samples that lie in them.
 */
#include "nlt_intervals.h"

#include "nlt_sort.h"

static bool
begins_before(const nlt_interval_t *a, const nlt_interval_t *b,
              const void *ctx)
{
    (void) ctx;
    return a->t_min_ms < b->t_min_ms;
}

NLT_HEAP_SORT(sort_intervals, nlt_interval_t, begins_before);

size_t
nlt_intervals_join(nlt_interval_t *v, size_t n)
{
    size_t out = 0;

    sort_intervals(v, n, NULL);
    for (size_t i = 0; i < n; i++) {
        nlt_interval_t *last = &v[out - (out > 0)];

        if (out > 0
            && (last->t_max_ms == INT64_MAX
                || v[i].t_min_ms <= last->t_max_ms + 1)) {
            last->t_max_ms = nlt_max_i64(last->t_max_ms, v[i].t_max_ms);
        } else {
            v[out++] = v[i];
        }
    }
    return out;
}

size_t
nlt_intervals_find(const nlt_interval_t *v, size_t n, int64_t t_ms)
{
    size_t lo = 0;

    while (n > lo) {
        size_t mid = lo + (n - lo) / 2;

        if (v[mid].t_max_ms < t_ms) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    return lo;
}

bool
nlt_intervals_cover(const nlt_interval_t *v, size_t n, int64_t t_min_ms,
                    int64_t t_max_ms)
{
    size_t i = nlt_intervals_find(v, n, t_min_ms);

    /* They are joined: what one does not cover, two do not either. */
    return i < n && v[i].t_min_ms <= t_min_ms && v[i].t_max_ms >= t_max_ms;
}

void
nlt_intervals_cut(const nlt_interval_t *v, size_t n, nlt_samples_t *s,
                  size_t from)
{
    size_t at = from, k = 0;

    if (from < s->n) {
        k = nlt_intervals_find(v, n, s->t_ms[from]);
    }
    if (k == n) {
        return;
    }
    for (size_t i = from; i < s->n; i++) {
        while (k < n && v[k].t_max_ms < s->t_ms[i]) {
            k++;
        }
        if (k == n || s->t_ms[i] < v[k].t_min_ms) {
            s->t_ms[at] = s->t_ms[i];
            s->v[at++] = s->v[i];
        }
    }
    s->n = at;
}

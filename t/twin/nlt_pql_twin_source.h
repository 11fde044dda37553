/*
 * nlt_pql_twin_source.h - random series in an array, and a source over them.
 *
 * For nlt_pql_eval_test.c, which defines everything once.  Labels are small
 * numbers, indices into `values`; series have gaps, resets, stale markers
 * and NaN.
 */
#ifndef NLT_T_TWIN_PQL_TWIN_SOURCE_H
#define NLT_T_TWIN_PQL_TWIN_SOURCE_H

#include <math.h>

#include "nlt_source.h"
#include "nlt_test.h"

#define N_LABELS   3
#define SERIES_MAX 12
#define POINTS_MAX 80

static const char *const values[N_LABELS][4] = {
    {"", "m", "n", ""}, {"", "x", "y", ""}, {"", "p", "q", "r"}};
static const char *const names[N_LABELS] = {"__name__", "a", "b"};

typedef struct {
    int l[N_LABELS];
    int64_t t[POINTS_MAX];
    double v[POINTS_MAX];
    size_t n;
} series_t;

static series_t data[SERIES_MAX];
static size_t n_data;

/* ---- the source: an array ---- */

typedef struct {
    nlt_series_set_t set;
    size_t idx[SERIES_MAX];
} set_t;

static size_t
labels_of(const int *l, nlt_label_t *out)
{
    size_t n = 0;

    for (int i = 0; i < N_LABELS; i++) {
        if (l[i]) {
            out[n++] = (nlt_label_t){nlt_test_str(names[i]),
                                     nlt_test_str(values[i][l[i]])};
        }
    }
    return n;
}

static nlt_rc_t
src_select(const nlt_source_t *src, nlt_pool_t *pool, const nlt_select_t *sel,
           nlt_series_set_t **out, nlt_err_t *err)
{
    set_t *s = nlt_pool_zalloc(pool, sizeof(*s));

    (void) err;
    if (s == NULL) {
        return NLT_ENOMEM;
    }
    s->set.source = src;
    for (size_t i = 0; i < n_data; i++) {
        nlt_label_t v[N_LABELS];
        nlt_labels_t l = {v, labels_of(data[i].l, v)};

        if (nlt_matchers_test(sel->matchers, sel->n_matchers, l) == NLT_OK) {
            s->idx[s->set.n++] = i;
        }
    }
    *out = &s->set;
    return NLT_OK;
}

static const series_t *
series_at(const nlt_series_set_t *set, size_t idx)
{
    return &data[((const set_t *) set)->idx[idx]];
}

static nlt_str_t
src_label(const nlt_series_set_t *set, size_t idx, nlt_str_t name)
{
    for (int i = 0; i < N_LABELS; i++) {
        if (nlt_str_eq(name, nlt_test_str(names[i]))) {
            return nlt_test_str(values[i][series_at(set, idx)->l[i]]);
        }
    }
    return (nlt_str_t){0, NULL};
}

/* Two numbers for each value, and none for one series. */
static nlt_rc_t
src_keys_open(const nlt_series_set_t *set, const nlt_str_t *n, size_t n_names,
              nlt_pool_t *pool, void **out)
{
    size_t *no = nlt_pool_zalloc(pool, (n_names + 1) * sizeof(*no));
    bool any = false;

    (void) set;
    if (no == NULL) {
        return NLT_ENOMEM;
    }
    no[0] = n_names;
    for (size_t k = 0; k < n_names; k++) {
        for (size_t i = 0; i < N_LABELS; i++) {
            if (nlt_str_eq(n[k], nlt_test_str(names[i]))) {
                no[k + 1] = i + 1;
                any = true;
            }
        }
    }
    *out = any ? no : NULL;
    return NLT_OK;
}

static bool
src_keys(const nlt_series_set_t *set, const void *keys, size_t idx,
         uint64_t *out)
{
    const size_t *no = keys;
    const series_t *s = series_at(set, idx);

    for (size_t k = 0; k < no[0]; k++) {
        uint64_t l = no[k + 1] ? (uint64_t) s->l[no[k + 1] - 1] : 0;

        out[k] = l ? l | (idx & 1) << 8 : 0;
    }
    return idx != 3;
}

static nlt_rc_t
src_labels(const nlt_series_set_t *set, size_t idx, nlt_pool_t *pool,
           nlt_labels_t *out)
{
    nlt_label_t *v = nlt_pool_array(pool, N_LABELS, sizeof(*v));

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    *out = (nlt_labels_t){v, labels_of(series_at(set, idx)->l, v)};
    return NLT_OK;
}

static nlt_rc_t
src_read(const nlt_series_set_t *set, size_t idx, nlt_read_t what,
         int64_t t_min, int64_t t_max, nlt_samples_t *out, nlt_err_t *err)
{
    const series_t *s = series_at(set, idx);

    (void) err;
    if (!nlt_samples_reserve(out, POINTS_MAX)) {
        return NLT_ENOMEM;
    }
    out->n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->t[i] >= t_min && s->t[i] <= t_max) {
            if (what == NLT_READ_NEWEST) {
                out->n = 0;
            }
            out->t_ms[out->n] = s->t[i];
            out->v[out->n++] = s->v[i];
        }
    }
    return NLT_OK;
}

static void
src_close(nlt_series_set_t *set)
{
    (void) set;
}

static const nlt_source_ops_t src_ops = {.select = src_select,
                                         .label = src_label,
                                         .keys_open = src_keys_open,
                                         .keys = src_keys,
                                         .labels = src_labels,
                                         .read = src_read,
                                         .close = src_close};

static bool
same(const int *a, const int *b)
{
    return memcmp(a, b, N_LABELS * sizeof(*a)) == 0;
}

static void
make_data(void)
{
    n_data = 0;
    for (size_t k = 0; k < SERIES_MAX; k++) {
        series_t *s = &data[n_data];
        int64_t t = 1000 * (int64_t) nlt_test_below(300);
        bool dup = false;
        double v = (double) nlt_test_below(20);

        s->l[0] = 1 + (int) nlt_test_below(2);
        s->l[1] = (int) nlt_test_below(3);
        s->l[2] = (int) nlt_test_below(4);
        for (size_t i = 0; i < n_data; i++) {
            dup |= same(s->l, data[i].l);
        }
        if (dup) {
            continue;
        }
        s->n = 0;
        while (s->n < POINTS_MAX && t < 700000) {
            s->t[s->n] = t;
            v = nlt_test_below(8)
                    ? v + (double) nlt_test_below(1000000) / 100000
                    : 0;
            s->v[s->n++] = nlt_test_below(20) ? v
                           : nlt_test_below(6)
                               ? nlt_double_of(NLT_STALE_NAN_BITS)
                               : NAN;
            t += nlt_test_below(12)
                     ? 1000 * (1 + (int64_t) nlt_test_below(20))
                     : 1000 * (1 + (int64_t) nlt_test_below(150));
        }
        n_data++;
    }
}

#endif

/*
 * mem_source.c - linear scans over arrays of series.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mem_source.h"

typedef struct {
    nlt_series_set_t head;
    nlt_mem_source_t *m;
    size_t *idx; /* into m->series, head.n of them */
} set_t;

static void *
grow(void *p, size_t *cap, size_t size)
{
    *cap = *cap ? *cap * 2 : 16;
    p = realloc(p, *cap * size);
    if (p == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return p;
}

static nlt_str_t
copy_str(nlt_str_t s)
{
    char *p = malloc(s.len + 1);

    if (p == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    if (s.len) {
        memcpy(p, s.data, s.len);
    }
    return (nlt_str_t){s.len, p};
}

static nlt_mem_series_t *
find_or_make(nlt_mem_source_t *m, nlt_labels_t labels)
{
    nlt_mem_series_t *s;
    nlt_label_t *v;

    for (size_t i = 0; i < m->n; i++) {
        if (nlt_labels_eq(m->series[i].labels, labels)) {
            return &m->series[i];
        }
    }
    if (m->n == m->cap) {
        m->series = grow(m->series, &m->cap, sizeof(*m->series));
    }
    s = &m->series[m->n++];
    v = calloc(labels.n + 1, sizeof(*v));
    if (v == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    for (size_t i = 0; i < labels.n; i++) {
        v[i].name = copy_str(labels.v[i].name);
        v[i].value = copy_str(labels.v[i].value);
    }
    *s = (nlt_mem_series_t){.labels = {v, labels.n}};
    return s;
}

void
nlt_mem_source_add(nlt_mem_source_t *m, nlt_labels_t labels,
                   nlt_mem_point_t point)
{
    nlt_mem_series_t *s = find_or_make(m, labels);
    size_t at = s->n;

    while (at > 0 && s->points[at - 1].t_ms > point.t_ms) {
        at--;
    }
    if (at > 0 && s->points[at - 1].t_ms == point.t_ms) {
        return;
    }
    if (s->n == s->cap) {
        s->points = grow(s->points, &s->cap, sizeof(*s->points));
    }
    memmove(s->points + at + 1, s->points + at,
            (s->n - at) * sizeof(*s->points));
    s->points[at] = point;
    s->n++;
}

/* Is there a point in the range? */
static bool
has_points(const nlt_mem_series_t *s, int64_t t_min_ms, int64_t t_max_ms)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->points[i].t_ms >= t_min_ms && s->points[i].t_ms <= t_max_ms) {
            return true;
        }
    }
    return false;
}

static nlt_rc_t
select_series(const nlt_source_t *src, nlt_pool_t *pool,
              const nlt_select_t *sel, nlt_series_set_t **out, nlt_err_t *err)
{
    nlt_mem_source_t *m = src->ctx;
    set_t *set = nlt_pool_zalloc(pool, sizeof(*set));
    size_t *idx = nlt_pool_array(pool, m->n, sizeof(*idx));

    if (set == NULL || idx == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    *set = (set_t){.head.source = src, .m = m, .idx = idx};
    for (size_t i = 0; i < m->n; i++) {
        nlt_rc_t rc = nlt_matchers_test(sel->matchers, sel->n_matchers,
                                        m->series[i].labels);

        if (rc != NLT_OK && rc != NLT_EOF) {
            return nlt_err_set(err, rc, "match limit of a regex was hit");
        }
        if (rc == NLT_OK
            && has_points(&m->series[i], sel->t_min_ms, sel->t_max_ms)) {
            idx[set->head.n++] = i;
        }
    }
    *out = &set->head;
    return NLT_OK;
}

static const nlt_mem_series_t *
series_of(const nlt_series_set_t *head, size_t idx)
{
    const set_t *set = (const set_t *) (const void *) head;

    return &set->m->series[set->idx[idx]];
}

static nlt_str_t
label_of(const nlt_series_set_t *set, size_t idx, nlt_str_t name)
{
    return nlt_labels_get(series_of(set, idx)->labels, name);
}

static nlt_rc_t
labels_of(const nlt_series_set_t *set, size_t idx, nlt_pool_t *pool,
          nlt_labels_t *out)
{
    nlt_labels_t l = series_of(set, idx)->labels;
    nlt_label_t *v = nlt_pool_array(pool, l.n, sizeof(*v));

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    memcpy(v, l.v, l.n * sizeof(*v));
    *out = (nlt_labels_t){v, l.n};
    return NLT_OK;
}

static nlt_rc_t
read_samples(const nlt_series_set_t *head, size_t idx, nlt_read_t what,
             int64_t t_min_ms, int64_t t_max_ms, nlt_samples_t *out,
             nlt_err_t *err)
{
    const set_t *set = (const set_t *) (const void *) head;
    const nlt_mem_series_t *s = series_of(head, idx);
    bool histogram = false;

    out->n = 0;
    out->st_ms = NULL;
    for (size_t i = 0; i < s->n && out->st_ms == NULL; i++) {
        if (s->points[i].st_ms) {
            out->st_ms = nlt_pool_array(out->pool, s->n, sizeof(*out->st_ms));
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        const nlt_mem_point_t *p = &s->points[i];

        if (p->t_ms < t_min_ms || p->t_ms > t_max_ms) {
            continue;
        }
        if (what == NLT_READ_NEWEST) {
            out->n = 0;
            histogram = false;
        }
        if (p->histogram) {
            histogram = true;
            continue;
        }
        if (!nlt_samples_reserve(out, out->n + 1)) {
            return nlt_err_set(err, NLT_ENOMEM, "out of memory");
        }
        if (out->st_ms) {
            out->st_ms[out->n] = p->st_ms;
        }
        out->t_ms[out->n] = p->t_ms;
        out->v[out->n++] = p->v;
    }
    set->m->met_histogram |= histogram;
    return NLT_OK;
}

static void
close_set(nlt_series_set_t *set)
{
    (void) set;
}

static int
cmp_str(const void *a, const void *b)
{
    return nlt_str_cmp(*(const nlt_str_t *) a, *(const nlt_str_t *) b);
}

/* Names of labels, or values of the one called `name` if it has data. */
static nlt_rc_t
list_strings(const nlt_source_t *src, nlt_pool_t *pool, nlt_str_t name,
             const nlt_select_t *sel, nlt_str_t **out, size_t *n,
             nlt_err_t *err)
{
    nlt_series_set_t *set;
    nlt_rc_t rc = select_series(src, pool, sel, &set, err);
    size_t total = 0, unique = 0;

    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t i = 0; i < set->n; i++) {
        total += series_of(set, i)->labels.n;
    }
    nlt_str_t *v = nlt_pool_array(pool, total, sizeof(*v));

    if (v == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    total = 0;
    for (size_t i = 0; i < set->n; i++) {
        nlt_labels_t l = series_of(set, i)->labels;

        for (size_t k = 0; k < l.n; k++) {
            if (name.data == NULL) {
                v[total++] = l.v[k].name;
            } else if (nlt_str_eq(l.v[k].name, name)) {
                v[total++] = l.v[k].value;
            }
        }
    }
    qsort(v, total, sizeof(*v), cmp_str);
    for (size_t i = 0; i < total; i++) {
        if (unique == 0 || !nlt_str_eq(v[unique - 1], v[i])) {
            v[unique++] = v[i];
        }
    }
    *out = v;
    *n = unique;
    return NLT_OK;
}

static nlt_rc_t
label_names(const nlt_source_t *src, nlt_pool_t *pool, const nlt_select_t *sel,
            nlt_str_t **out, size_t *n, nlt_err_t *err)
{
    return list_strings(src, pool, (nlt_str_t){0, NULL}, sel, out, n, err);
}

static nlt_rc_t
label_values(const nlt_source_t *src, nlt_pool_t *pool, nlt_str_t name,
             const nlt_select_t *sel, nlt_str_t **out, size_t *n,
             nlt_err_t *err)
{
    if (name.data == NULL) {
        name.data = "";
    }
    return list_strings(src, pool, name, sel, out, n, err);
}

static const nlt_source_ops_t ops = {
    .select = select_series,
    .label = label_of,
    .labels = labels_of,
    .read = read_samples,
    .close = close_set,
    .label_names = label_names,
    .label_values = label_values,
};

void
nlt_mem_source_init(nlt_mem_source_t *m)
{
    *m = (nlt_mem_source_t){.source = {.ops = &ops}};
    m->source.ctx = m;
}

static void
free_const(const void *p)
{
    free((void *) (uintptr_t) p);
}

void
nlt_mem_source_clear(nlt_mem_source_t *m)
{
    for (size_t i = 0; i < m->n; i++) {
        nlt_mem_series_t *s = &m->series[i];

        for (size_t k = 0; k < s->labels.n; k++) {
            free_const(s->labels.v[k].name.data);
            free_const(s->labels.v[k].value.data);
        }
        free_const(s->labels.v);
        free(s->points);
    }
    free(m->series);
    nlt_mem_source_init(m);
}

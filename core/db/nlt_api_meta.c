/*
 * nlt_api_meta.c - series, labels, label/<name>/values.
 */
#include <stdlib.h>

#include "nlt_api.h"

/* As Prometheus: whatever the store can have. */
#define TIME_MIN (INT64_MIN / 4)
#define TIME_MAX (INT64_MAX / 4)

typedef struct {
    nlt_select_t *v; /* one per match[]; one empty one when there is none */
    size_t n;
} selects_t;

static void
release(selects_t *s)
{
    for (size_t i = 0; i < s->n; i++) {
        for (size_t j = 0; j < s->v[i].n_matchers; j++) {
            /* made here, const only for the source */
            nlt_matcher_release(
                (nlt_matcher_t *) (uintptr_t) &s->v[i].matchers[j]);
        }
    }
}

/* Does the selector have a matcher that does not match the empty string? */
static bool
has_non_empty(const nlt_select_t *s)
{
    for (size_t i = 0; i < s->n_matchers; i++) {
        if (nlt_matcher_test(&s->matchers[i], (nlt_str_t){0, NULL})
            == NLT_EOF) {
            return true;
        }
    }
    return false;
}

static void
bad_match(nlt_api_t *a, const char *text, bool wrap)
{
    if (wrap) {
        nlt_api_bad_param(a, "match[]", "%s", text);
    } else {
        nlt_api_fail(a, "bad_data", 400, "%s", text);
    }
}

static bool
add_select(nlt_api_t *a, selects_t *out, nlt_str_t text, bool wrap)
{
    nlt_select_t *sel = &out->v[out->n];
    nlt_matcher_t *m = NULL;
    size_t n = 0;
    nlt_err_t err;
    nlt_rc_t rc = nlt_pql_parse_selector(&a->pool, text, &m, &n, &err);

    sel->matchers = m;
    out->n++;
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        rc = nlt_matcher_compile(&a->pool, &m[i], &err);
        sel->n_matchers = i + (rc == NLT_OK);
    }
    if (rc == NLT_OK) {
        return true;
    }
    if (rc != NLT_EINVAL) {
        nlt_api_fail_rc(a, &err);
    } else {
        bad_match(a, err.text, wrap);
    }
    return false;
}

/* All match[] as selectors; out is released when false: answered. */
static bool
parse_matches(nlt_api_t *a, selects_t *out, bool wrap)
{
    nlt_str_t name = NLT_STR("match[]");

    out->n = 0;
    out->v =
        nlt_pool_zalloc(&a->pool, (a->n_params + 1) * sizeof(nlt_select_t));
    if (out->v == NULL) {
        nlt_api_fail(a, "execution", 422, "out of memory");
        return false;
    }
    for (size_t i = 0; i < a->n_params; i++) {
        if (nlt_str_eq(a->params[i].name, name)
            && !add_select(a, out, a->params[i].value, wrap)) {
            release(out);
            return false;
        }
    }
    for (size_t i = 0; i < out->n; i++) {
        if (!has_non_empty(&out->v[i])) {
            bad_match(a, "match[] must contain at least one non-empty matcher",
                      wrap);
            release(out);
            return false;
        }
    }
    return true;
}

/* match[], start, end.  wrap: errors name the parameter (H10). */
static bool
parse_selects(nlt_api_t *a, selects_t *out, bool wrap)
{
    int64_t t_min, t_max;

    if (!nlt_api_param_time(a, "start", TIME_MIN, &t_min)
        || !nlt_api_param_time(a, "end", TIME_MAX, &t_max)
        || !parse_matches(a, out, wrap)) {
        return false;
    }
    if (out->n == 0) {
        out->n = 1;
    }
    for (size_t i = 0; i < out->n; i++) {
        out->v[i].t_min_ms = t_min;
        out->v[i].t_max_ms = t_max;
    }
    return true;
}

bool
nlt_api_check_matches(nlt_api_t *a)
{
    selects_t sels;
    bool good = parse_matches(a, &sels, false);

    if (good) {
        release(&sels);
    }
    return good;
}

static bool
truncate(nlt_api_t *a, size_t limit, size_t *n)
{
    nlt_annot_t *w;

    if (limit == 0 || *n <= limit) {
        return true;
    }
    *n = limit;
    w = nlt_pool_zalloc(&a->pool, sizeof(*w));
    if (w == NULL) {
        return false;
    }
    w->text = NLT_STR("results truncated due to limit");
    a->annots.warnings = w;
    return true;
}

static int
compare_strings(const void *a, const void *b)
{
    return nlt_str_cmp(*(const nlt_str_t *) a, *(const nlt_str_t *) b);
}

/* Lists that come sorted, as one source gives them, are not sorted again. */
static void
sort(void *v, size_t n, size_t size,
     int (*compare)(const void *, const void *))
{
    const char *p = v;

    for (size_t i = 1; i < n; i++) {
        if (compare(p + (i - 1) * size, p + i * size) > 0) {
            qsort(v, n, size, compare);
            return;
        }
    }
}

static size_t
unique_strings(nlt_str_t *v, size_t n)
{
    size_t out = 0;

    sort(v, n, sizeof(*v), compare_strings);
    for (size_t i = 0; i < n; i++) {
        if (out == 0 || !nlt_str_eq(v[out - 1], v[i])) {
            v[out++] = v[i];
        }
    }
    return out;
}

/*
 * Has series i of the set a sample in the range?  Blocks know that of whole
 * series, the head does not, and its arenas take samples of any age.  Where
 * something is deleted, parts of series are.
 */
static nlt_rc_t
in_range(const nlt_api_t *a, const nlt_series_set_t *set, size_t i,
         const nlt_select_t *sel, nlt_samples_t *room, bool *yes,
         nlt_err_t *err)
{
    bool deleted = a->view.deletes->n > 0;
    nlt_rc_t rc = NLT_OK;

    *yes = true;
    if (sel->t_min_ms > TIME_MIN || sel->t_max_ms < TIME_MAX || deleted) {
        rc = set->source->ops->read(set, i, NLT_READ_ANY, sel->t_min_ms,
                                    sel->t_max_ms, room, err);
        *yes = rc == NLT_OK && room->n > 0;
    }
    if (rc == NLT_OK && !*yes && set->source->ops->histograms != NULL) {
        rc = set->source->ops->histograms(set, i, sel->t_min_ms, sel->t_max_ms,
                                          yes, err);
    }
    return rc;
}

/*
 * Makes room in an array of the pool for n elements, twice the room it had:
 * there may be thousands of selectors.
 */
static void *
make_room(nlt_api_t *a, void *v, size_t *cap, size_t n, size_t size)
{
    size_t to = n < *cap * 2 ? *cap * 2 : n;

    if (n <= *cap && v != NULL) {
        return v;
    }
    v = nlt_pool_grow(&a->pool, v, *cap * size, to * size);
    *cap = to;
    return v;
}

/* What a job asks for. */
typedef struct {
    selects_t sels;
    size_t limit;
    nlt_str_t name; /* its values; data NULL: names of labels */
    size_t n_given; /* of series: label sets so far */
    nlt_samples_t room;
} ask_t;

static void
series_begin(nlt_api_t *a)
{
    ask_t *ask = a->flow.ctx;

    nlt_walk_deinit(&a->flow.walk);
    nlt_walk_init(&a->flow.walk, a->env->mem, a->conf.memory_max, ask->sels.v,
                  ask->sels.n, 0, nlt_labels_cmp);
    a->annots = (nlt_annots_t){.warnings = NULL};
    ask->n_given = 0;
}

static void
series_end(nlt_api_t *a)
{
    ask_t *ask = a->flow.ctx;

    release(&ask->sels);
    ask->sels.n = 0;
}

/* The next label set; NLT_EOF also at the limit, then with a warning. */
static nlt_rc_t
add_labels(nlt_api_t *a, ask_t *ask, nlt_err_t *err)
{
    nlt_buf_t *b = &a->flow.buf;
    nlt_walk_item_t item;
    bool yes = false;
    nlt_rc_t rc = nlt_walk_next(&a->flow.walk, &a->view.source, &item, err);

    if (rc == NLT_OK) {
        rc = in_range(a, item.set, item.idx, item.sel, &ask->room, &yes, err);
    }
    if (rc != NLT_OK || !yes) {
        return rc;
    }
    if (ask->limit > 0 && ask->n_given == ask->limit) {
        size_t n = ask->n_given + 1;

        return truncate(a, ask->limit, &n)
                   ? NLT_EOF
                   : nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    if (ask->n_given++ > 0) {
        nlt_buf_add_byte(b, ',');
    }
    nlt_json_labels(b, item.labels);
    return NLT_OK;
}

static nlt_rc_t
series_make(nlt_api_t *a, nlt_err_t *err)
{
    ask_t *ask = a->flow.ctx;
    nlt_buf_t *b = &a->flow.buf;
    nlt_rc_t rc = NLT_OK;

    if (ask->n_given == 0) {
        nlt_buf_add_c(b, "{\"status\":\"success\",\"data\":[");
    }
    while (rc == NLT_OK && b->len < NLT_API_FLOW_BYTES) {
        rc = add_labels(a, ask, err);
    }
    if (rc == NLT_EOF) {
        nlt_rc_t end = nlt_api_flow_missing(a, err);

        nlt_buf_add_byte(b, ']');
        nlt_json_annots(b, &a->annots);
        nlt_buf_add_byte(b, '}');
        rc = end == NLT_OK ? NLT_EOF : end;
    }
    return rc;
}

static const nlt_api_flow_ops_t series_ops = {
    .begin = series_begin,
    .make = series_make,
    .end = series_end,
    .missing_is_told = true,
};

void
nlt_api_run_series(nlt_api_t *a)
{
    ask_t *ask = nlt_pool_zalloc(&a->pool, sizeof(*ask));

    if (ask == NULL) {
        nlt_api_fail(a, "execution", 422, "out of memory");
        return;
    }
    if (nlt_api_param(a, "match[]").data == NULL) {
        nlt_api_fail(a, "bad_data", 400, "no match[] parameter provided");
        return;
    }
    if (!nlt_api_param_limit(a, &ask->limit)
        || !parse_selects(a, &ask->sels, true)) {
        return;
    }
    ask->room.pool = &a->pool;
    a->answer.status = 200;
    a->answer.content_type = NLT_STR("application/json");
    nlt_api_flow_run(a, &series_ops, ask);
}

/* Names or values of a label, over all selectors. */
static nlt_rc_t
strings_eval(nlt_api_t *a, void *ctx, nlt_err_t *err)
{
    const ask_t *ask = ctx;
    const selects_t *sels = &ask->sels;
    const nlt_source_t *src = &a->view.source;
    nlt_str_t *all = NULL;
    size_t n = 0;
    size_t cap = 0;

    for (size_t i = 0; i < sels->n; i++) {
        nlt_str_t *v;
        size_t k;
        nlt_rc_t rc = ask->name.data == NULL
                          ? src->ops->label_names(src, &a->pool, &sels->v[i],
                                                  &v, &k, err)
                          : src->ops->label_values(src, &a->pool, ask->name,
                                                   &sels->v[i], &v, &k, err);

        if (rc != NLT_OK) {
            return rc;
        }
        if (sels->n == 1) {
            /* sorted and unique, as sources give it */
            all = v;
            n = k;
            break;
        }
        all = make_room(a, all, &cap, n + k, sizeof(*all));
        if (all == NULL) {
            return NLT_ENOMEM;
        }
        if (k > 0) {
            memcpy(all + n, v, k * sizeof(*all));
        }
        n += k;
    }
    if (sels->n > 1) {
        n = unique_strings(all, n);
    }
    if (!truncate(a, ask->limit, &n)) {
        return NLT_ENOMEM;
    }
    a->json.kind = NLT_JSON_LIST;
    a->json.list = all;
    a->json.n = n;
    a->json.annots = &a->annots;
    nlt_api_json(a);
    return NLT_OK;
}

static void
run_label_api(nlt_api_t *a, nlt_str_t name)
{
    ask_t ask = {.name = name};

    if (!nlt_api_param_limit(a, &ask.limit)
        || !parse_selects(a, &ask.sels, false)) {
        return;
    }
    nlt_api_over_view(a, strings_eval, &ask);
    release(&ask.sels);
}

void
nlt_api_run_labels(nlt_api_t *a)
{
    run_label_api(a, (nlt_str_t){0, NULL});
}

void
nlt_api_run_label_values(nlt_api_t *a)
{
    nlt_str_t name = nlt_api_unescape_name(&a->pool, a->path_arg);

    if (name.len == 0 || !nlt_utf8_valid(name)) {
        nlt_api_fail(a, "bad_data", 400, "invalid label name: %.*s",
                     NLT_FMT(nlt_api_quote(a, name)));
        return;
    }
    run_label_api(a, name);
}

/*
 * pt_expect.c - comparing answers with what a script expects.
 */
#include <math.h>

#include "nlt_num.h"
#include "nlt_regex.h"
#include "nlt_time.h"
#include "pt_expect.h"

#define EPSILON    1e-6
#define MIN_NORMAL 2.2250738585072014e-308

bool
nlt_pt_almost_equal(double a, double b)
{
    double sum = fabs(a) + fabs(b), diff = fabs(a - b);

    if (nlt_is_stale(a) || nlt_is_stale(b)) {
        return nlt_is_stale(a) && nlt_is_stale(b);
    }
    if ((isnan(a) && isnan(b)) || a == b) {
        return true;
    }
    if (a == 0 || b == 0 || sum < MIN_NORMAL) {
        return diff < EPSILON * MIN_NORMAL;
    }
    return diff / fmin(sum, 1.7976931348623157e308) < EPSILON;
}

/* ---- reading ---- */

static bool
keyword(nlt_str_t *rest, const char *word)
{
    if (!nlt_pt_starts(*rest, word)) {
        return false;
    }
    (void) nlt_pt_word(rest);
    return true;
}

static bool
duration(nlt_str_t *rest, int64_t *ms)
{
    return nlt_time_parse_duration(nlt_pt_word(rest), ms, NULL) == NLT_OK;
}

bool
nlt_pt_range(nlt_str_t *rest, int64_t *start_ms, int64_t *end_ms,
             int64_t *step_ms)
{
    return keyword(rest, "from") && duration(rest, start_ms)
           && keyword(rest, "to") && duration(rest, end_ms)
           && keyword(rest, "step") && duration(rest, step_ms) && *step_ms > 0
           && *end_ms >= *start_ms;
}

bool
nlt_pt_expect_note(nlt_pt_expect_t *e, nlt_pt_note_t kind,
                   nlt_pt_pattern_t pattern)
{
    size_t n = e->n_notes[kind];
    nlt_pt_pattern_t *v = nlt_pool_grow(e->pool, e->notes[kind],
                                        n * sizeof(*v), (n + 1) * sizeof(*v));

    if (v == NULL) {
        return false;
    }
    v[n] = pattern;
    e->notes[kind] = v;
    e->n_notes[kind] = n + 1;
    return true;
}

/* [msg:text] or [regex:text] after `expect warn`. */
static bool
pattern_of(nlt_str_t rest, nlt_pt_pattern_t *out)
{
    *out = (nlt_pt_pattern_t){NLT_PT_ANY, {0, NULL}};
    if (rest.len == 0) {
        return true;
    }
    if (rest.len > 4 && memcmp(rest.data, "msg:", 4) == 0) {
        out->how = NLT_PT_MSG;
        out->text = (nlt_str_t){rest.len - 4, rest.data + 4};
    } else if (rest.len > 6 && memcmp(rest.data, "regex:", 6) == 0) {
        out->how = NLT_PT_REGEX;
        out->text = (nlt_str_t){rest.len - 6, rest.data + 6};
    } else {
        return false;
    }
    out->text = nlt_pt_trim(out->text);
    return true;
}

static bool
expect_word(nlt_pt_expect_t *e, nlt_str_t rest, const char **why)
{
    static const char *const kinds[] = {"warn", "info", "fail"};
    nlt_pt_pattern_t pattern;
    size_t used;

    *why = "unknown expectation";
    for (size_t i = 0; i < NLT_COUNT(kinds); i++) {
        if (keyword(&rest, kinds[i])) {
            return pattern_of(rest, &pattern)
                   && nlt_pt_expect_note(e, (nlt_pt_note_t) i, pattern);
        }
    }
    if (keyword(&rest, "ordered")) {
        e->ordered = true;
    } else if (keyword(&rest, "no_warn")) {
        e->no_warn = true;
    } else if (keyword(&rest, "no_info")) {
        e->no_info = true;
    } else if (keyword(&rest, "string")) {
        e->is_string = true;
        if (!nlt_pt_unquote(e->pool, rest, &e->string, &used)) {
            return false;
        }
        rest.len -= used;
    } else if (keyword(&rest, "range") && keyword(&rest, "vector")) {
        e->is_matrix = true;
        if (!nlt_pt_range(&rest, &e->t_start_ms, &e->t_end_ms, &e->step_ms)) {
            return false;
        }
    } else {
        return false;
    }
    return rest.len == 0;
}

/* Lines of scripts older than `expect`. */
static bool
legacy_line(nlt_pt_expect_t *e, nlt_str_t line, bool *ok)
{
    nlt_pt_pattern_t pattern = {NLT_PT_MSG, {0, NULL}};

    if (keyword(&line, "expected_fail_regexp")) {
        pattern.how = NLT_PT_REGEX;
    } else if (!keyword(&line, "expected_fail_message")) {
        return false;
    }
    pattern.text = line;
    e->n_notes[NLT_PT_FAIL] = 0; /* replaces the one without text */
    *ok = nlt_pt_expect_note(e, NLT_PT_FAIL, pattern);
    return true;
}

bool
nlt_pt_expect_line(nlt_pt_expect_t *e, nlt_str_t line, bool *last,
                   const char **why)
{
    nlt_pt_series_t s;
    size_t at = 0;
    bool ok = true;

    *last = false;
    *why = "out of memory";
    if (keyword(&line, "expect")) {
        return expect_word(e, line, why);
    }
    if (legacy_line(e, line, &ok)) {
        return ok;
    }
    if (nlt_pt_number(line, &e->scalar)) {
        e->is_scalar = true;
        *last = true;
        return true;
    }
    if (!nlt_pt_series(e->pool, line, &s, why)) {
        return false;
    }
    if (s.n != 1 && !e->is_matrix) {
        *why = s.n ? "several values in an instant evaluation"
                   : "series without a value";
        return false;
    }
    while (at < e->n_want
           && !nlt_labels_eq(e->want[at].series.labels, s.labels)) {
        at++;
    }
    if (at == e->cap_want) {
        size_t cap = at * 2 + 8;
        nlt_pt_want_t *w =
            nlt_pool_grow(e->pool, e->want, at * sizeof(*w), cap * sizeof(*w));

        if (w == NULL) {
            return false;
        }
        e->want = w;
        e->cap_want = cap;
    }
    e->want[at] = (nlt_pt_want_t){s, e->n_want + 1};
    e->n_want += at == e->n_want;
    return true;
}

/* ---- saying what differs ---- */

static bool
differ(nlt_buf_t *what, const char *text, const nlt_labels_t *labels)
{
    nlt_buf_add_c(what, text);
    if (labels != NULL) {
        nlt_buf_add_byte(what, ' ');
        nlt_labels_print(what, *labels);
    }
    return false;
}

static void
add_double(nlt_buf_t *what, double v)
{
    char text[NLT_NUM_TEXT_MAX];

    nlt_buf_add(what, text, nlt_num_sample(text, v));
}

static bool
check_value(double got, double want, const nlt_labels_t *labels,
            nlt_buf_t *what)
{
    if (nlt_pt_almost_equal(got, want)) {
        return true;
    }
    nlt_buf_add_c(what, "got ");
    add_double(what, got);
    nlt_buf_add_c(what, ", want ");
    add_double(what, want);
    if (labels != NULL) {
        nlt_buf_add_c(what, " of ");
        nlt_labels_print(what, *labels);
    }
    return false;
}

static const nlt_pt_want_t *
find_want(const nlt_pt_expect_t *e, nlt_labels_t labels)
{
    for (size_t i = 0; i < e->n_want; i++) {
        if (nlt_labels_eq(e->want[i].series.labels, labels)) {
            return &e->want[i];
        }
    }
    return NULL;
}

/* ---- vectors ---- */

static bool
check_element(const nlt_pt_expect_t *e, const nlt_value_series_t *s,
              size_t step, size_t pos, bool *seen, nlt_buf_t *what)
{
    const nlt_pt_want_t *w = find_want(e, s->labels);

    if (w == NULL) {
        (void) differ(what, "unexpected series", &s->labels);
        nlt_buf_add_c(what, " with ");
        add_double(what, s->v[step]);
        return false;
    }
    if (seen[w - e->want]) {
        return differ(what, "series occurs twice:", &s->labels);
    }
    seen[w - e->want] = true;
    if (e->ordered && w->pos != pos) {
        nlt_buf_addf(what, "at position %zu, not %zu:", pos, w->pos);
        return differ(what, "", &s->labels);
    }
    if (w->series.values[0].kind == NLT_PT_HISTOGRAM) {
        return differ(what, "unsupported: native histogram expected of",
                      &s->labels);
    }
    return check_value(s->v[step], w->series.values[0].v, &s->labels, what);
}

static bool
all_seen(const nlt_pt_expect_t *e, const bool *seen, nlt_buf_t *what)
{
    for (size_t i = 0; i < e->n_want; i++) {
        if (!seen[i]) {
            return differ(what,
                          "series not found:", &e->want[i].series.labels);
        }
    }
    return true;
}

static bool
check_vector(const nlt_pt_expect_t *e, const nlt_value_t *v, size_t step,
             nlt_buf_t *what)
{
    bool *seen = nlt_pool_zalloc(e->pool, e->n_want + 1);
    size_t pos = 0;

    if (seen == NULL) {
        return differ(what, "out of memory", NULL);
    }
    if (e->is_scalar || e->is_string) {
        return differ(what, "got a vector, want a scalar or string", NULL);
    }
    for (size_t i = 0; i < v->n_series; i++) {
        const nlt_value_series_t *s = &v->series[i];

        if (step < s->n && nlt_value_has(s, step)
            && !check_element(e, s, step, ++pos, seen, what)) {
            return false;
        }
    }
    return all_seen(e, seen, what);
}

bool
nlt_pt_check_instant(const nlt_pt_expect_t *e, const nlt_value_t *v,
                     nlt_buf_t *what)
{
    switch (v->type) {
    case NLT_VALUE_SCALAR:
        if (!e->is_scalar || v->n_series != 1) {
            return differ(what, "got a scalar", NULL);
        }
        return check_value(v->series[0].v[0], e->scalar, NULL, what);
    case NLT_VALUE_STRING:
        if (!e->is_string || !nlt_str_eq(v->string, e->string)) {
            nlt_buf_addf(what, "got string \"%.*s\"", NLT_FMT(v->string));
            return false;
        }
        return true;
    case NLT_VALUE_VECTOR:
        return check_vector(e, v, 0, what);
    case NLT_VALUE_MATRIX:
        if (!e->is_matrix) {
            return differ(what, "got a range vector", NULL);
        }
        return nlt_pt_check_matrix(e, v, what);
    default:
        return differ(what, "got an unknown type of value", NULL);
    }
}

/* ---- matrices ---- */

static bool
matrix_is_sorted(const nlt_value_t *v, nlt_buf_t *what)
{
    for (size_t i = 1; i < v->n_series; i++) {
        if (nlt_labels_cmp(v->series[i - 1].labels, v->series[i].labels)
            >= 0) {
            return differ(what, "matrix is not sorted at",
                          &v->series[i].labels);
        }
    }
    return true;
}

/* The next value of a row at or after *i; false at its end. */
static bool
next_value(const nlt_value_t *v, const nlt_value_series_t *s, size_t *i,
           int64_t *t_ms)
{
    while (*i < s->n && !nlt_value_has(s, *i)) {
        (*i)++;
    }
    if (*i >= s->n) {
        return false;
    }
    *t_ms = s->t_ms ? s->t_ms[*i] : v->t_start_ms + (int64_t) *i * v->step_ms;
    return true;
}

static bool
check_row(const nlt_pt_expect_t *e, const nlt_value_t *v,
          const nlt_value_series_t *s, const nlt_pt_series_t *want,
          nlt_buf_t *what)
{
    size_t i = 0;
    int64_t t_ms;

    for (size_t k = 0; k < want->n; k++) {
        int64_t want_ms = e->t_start_ms + (int64_t) k * e->step_ms;

        if (want_ms > e->t_end_ms) {
            return differ(what, "more values expected than steps of",
                          &s->labels);
        }
        if (want->values[k].kind == NLT_PT_GAP) {
            continue;
        }
        if (want->values[k].kind == NLT_PT_HISTOGRAM) {
            return differ(what, "unsupported: native histogram expected of",
                          &s->labels);
        }
        if (!next_value(v, s, &i, &t_ms) || t_ms != want_ms) {
            if (i < s->n && t_ms < want_ms) {
                nlt_buf_addf(what, "unexpected value at %lld ms of",
                             (long long) t_ms);
            } else {
                nlt_buf_addf(what, "no value at %lld ms of",
                             (long long) want_ms);
            }
            return differ(what, "", &s->labels);
        }
        if (!check_value(s->v[i], want->values[k].v, &s->labels, what)) {
            nlt_buf_addf(what, " at %lld ms", (long long) t_ms);
            return false;
        }
        i++;
    }
    if (next_value(v, s, &i, &t_ms)) {
        nlt_buf_addf(what, "unexpected value at %lld ms of", (long long) t_ms);
        return differ(what, "", &s->labels);
    }
    return true;
}

bool
nlt_pt_check_matrix(const nlt_pt_expect_t *e, const nlt_value_t *v,
                    nlt_buf_t *what)
{
    bool *seen = nlt_pool_zalloc(e->pool, e->n_want + 1);

    if (seen == NULL) {
        return differ(what, "out of memory", NULL);
    }
    if (v->type != NLT_VALUE_MATRIX) {
        return differ(what, "did not get a matrix", NULL);
    }
    if (e->is_scalar || e->is_string) {
        return differ(what, "got a matrix", NULL);
    }
    if (!matrix_is_sorted(v, what)) {
        return false;
    }
    for (size_t i = 0; i < v->n_series; i++) {
        const nlt_value_series_t *s = &v->series[i];
        const nlt_pt_want_t *w = find_want(e, s->labels);

        if (w == NULL) {
            return differ(what, "unexpected series", &s->labels);
        }
        seen[w - e->want] = true;
        if (!check_row(e, v, s, &w->series, what)) {
            return false;
        }
    }
    return all_seen(e, seen, what);
}

bool
nlt_pt_check_step(const nlt_pt_expect_t *e, const nlt_value_t *v, size_t step,
                  nlt_buf_t *what)
{
    if (v->type != NLT_VALUE_MATRIX) {
        return differ(what, "did not get a matrix", NULL);
    }
    if (!matrix_is_sorted(v, what)) {
        return false;
    }
    if (e->is_scalar) {
        if (v->n_series != 1 || !nlt_value_has(&v->series[0], step)) {
            return differ(what, "no scalar", NULL);
        }
        return check_value(v->series[0].v[step], e->scalar, NULL, what);
    }
    return check_vector(e, v, step, what);
}

/* ---- texts ---- */

static bool
regex_finds(nlt_pool_t *pool, nlt_str_t pattern, nlt_str_t text)
{
    nlt_regex_t *re = NULL;
    nlt_buf_t b;
    bool found = false;

    nlt_buf_init(&b, pool->mem, 65536);
    nlt_buf_add_c(&b, "(?s:.*)(?:");
    nlt_buf_add_str(&b, pattern);
    nlt_buf_add_c(&b, ")(?s:.*)");
    if (b.rc == NLT_OK
        && nlt_regex_compile(pool, nlt_buf_str(&b), &re, NULL) == NLT_OK) {
        found = nlt_regex_match(re, text) == NLT_OK;
    }
    nlt_regex_destroy(re);
    nlt_buf_deinit(&b);
    return found;
}

static bool
matches(const nlt_pt_expect_t *e, const nlt_pt_pattern_t *p, nlt_str_t text)
{
    switch (p->how) {
    case NLT_PT_MSG:
        return nlt_str_eq(p->text, text);
    case NLT_PT_REGEX:
        return regex_finds(e->pool, p->text, text);
    default:
        return true;
    }
}

static bool
check_notes(const nlt_pt_expect_t *e, nlt_pt_note_t kind, const char *name,
            const nlt_annot_t *list, nlt_buf_t *what)
{
    for (size_t i = 0; i < e->n_notes[kind]; i++) {
        const nlt_annot_t *a = list;

        while (a != NULL && !matches(e, &e->notes[kind][i], a->text)) {
            a = a->next;
        }
        if (a == NULL) {
            nlt_buf_addf(what, "expected %s not there: %.*s", name,
                         NLT_FMT(e->notes[kind][i].text));
            if (list != NULL) {
                nlt_buf_addf(what, "; got %.*s", NLT_FMT(list->text));
            }
            return false;
        }
    }
    for (const nlt_annot_t *a = list; a != NULL; a = a->next) {
        size_t i = 0;

        while (i < e->n_notes[kind]
               && !matches(e, &e->notes[kind][i], a->text)) {
            i++;
        }
        if (i == e->n_notes[kind]
            && (i > 0 || (kind == NLT_PT_WARN ? e->no_warn : e->no_info))) {
            nlt_buf_addf(what, "unexpected %s: %.*s", name, NLT_FMT(a->text));
            return false;
        }
    }
    return true;
}

bool
nlt_pt_check_annots(const nlt_pt_expect_t *e, const nlt_annots_t *a,
                    nlt_buf_t *what)
{
    return check_notes(e, NLT_PT_WARN, "warning", a->warnings, what)
           && check_notes(e, NLT_PT_INFO, "info", a->infos, what);
}

bool
nlt_pt_check_fail(const nlt_pt_expect_t *e, nlt_str_t text, nlt_buf_t *what)
{
    for (size_t i = 0; i < e->n_notes[NLT_PT_FAIL]; i++) {
        if (!matches(e, &e->notes[NLT_PT_FAIL][i], text)) {
            nlt_buf_addf(what, "wrong error: %.*s", NLT_FMT(text));
            return false;
        }
    }
    return true;
}

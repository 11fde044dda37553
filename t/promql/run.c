/*
 * run.c - promqltest: runs scripts of Prometheus's test language.
 *
 *     promqltest [--tap] [--verbose] [--features=default|all]
 *                [--samples-max=N] [--wrong] [--coverage] FILE...
 *
 * Each eval of each file is one case.  An instant case is run as written,
 * again with every selector pinned by @ and the evaluation time moved, and
 * all of that as the middle step of a range query; it passes when everything
 * gives the expected answer.  Native histograms are read as if they were not
 * there, which is right for what drops them; a case that has met one and
 * fails, or passes without a value, says so: "unsupported".  Unlike the
 * original, a failed case does not end the file.  With --wrong a case passes
 * when the runner finds fault with it: that is how the runner itself is
 * tested.  With --coverage each part of the language is a case: some eval has
 * to use it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mem_source.h"
#include "nlt_pql.h"
#include "nlt_pql_func.h"
#include "nlt_time.h"
#include "pt_coverage.h"
#include "pt_expect.h"

#define LOOKBACK_MS    300000
#define MINUTE_MS      60000
#define FILE_BYTES_MAX (64u << 20)
#define QUERY_BYTES    ((size_t) 2 << 30)

typedef struct {
    bool tap;
    bool verbose;
    bool wrong;          /* every case must fail */
    nlt_pt_seen_t *seen; /* --coverage, else NULL */
    unsigned features;
    uint64_t samples_max;
    size_t passed;
    size_t failed;
} totals_t;

/* One file. */
typedef struct {
    totals_t *totals;
    const char *file;
    nlt_str_t *lines; /* trimmed, comments blank */
    size_t n;
    size_t at; /* line that is being looked at */
    nlt_mem_source_t data;
    nlt_pool_t pool; /* of the block; emptied after each */
} script_t;

/* One eval. */
typedef struct {
    script_t *s;
    size_t line;
    nlt_str_t expr;
    bool range;
    int64_t at_ms; /* of an instant eval */
    nlt_pt_expect_t want;
    bool met_histogram; /* some run of it has read one */
} eval_t;

/* ---- telling ---- */

static void
report(const eval_t *e, bool ok, nlt_str_t what)
{
    totals_t *t = e->s->totals;

    if (t->wrong) {
        if (t->verbose && !ok) {
            printf("# found: %.*s\n", NLT_FMT(what));
        }
        if (ok) {
            what = NLT_STR("passed although it is wrong");
        }
        ok = !ok;
    }
    if (ok) {
        t->passed++;
    } else {
        t->failed++;
    }
    if (t->tap) {
        printf("%s %zu - %s:%zu\n", ok ? "ok" : "not ok",
               t->passed + t->failed, e->s->file, e->line + 1);
    }
    if (!ok) {
        printf("%s%s:%zu: %.*s\n", t->tap ? "# " : "", e->s->file, e->line + 1,
               NLT_FMT(what));
    }
    if (t->verbose) {
        printf("# %s %.*s\n", ok ? "passed" : "failed", NLT_FMT(e->expr));
    }
}

/* A line that is not in the language: counts as a failed case. */
static void
broken(script_t *s, size_t line, const char *why)
{
    eval_t e = {.s = s, .line = line, .expr = s->lines[line]};

    report(&e, false, (nlt_str_t){strlen(why), why});
}

/* ---- load ---- */

/* Takes lines until a blank one; false at the end of the block. */
static bool
next_line(script_t *s, nlt_str_t *line)
{
    if (s->at + 1 >= s->n || s->lines[s->at + 1].len == 0) {
        return false;
    }
    *line = s->lines[++s->at];
    return true;
}

/* A series of a block, and its line of start times if it has one. */
typedef struct {
    nlt_pt_series_t samples;
    nlt_pt_series_t starts;
} loaded_t;

static void
store_series(script_t *s, const loaded_t *l, int64_t gap_ms)
{
    const nlt_pt_series_t *series = &l->samples;

    for (size_t i = 0; i < series->n; i++) {
        nlt_mem_point_t p = {(int64_t) i * gap_ms, series->values[i].v,
                             series->values[i].kind == NLT_PT_HISTOGRAM, 0};

        if (i < l->starts.n && l->starts.values[i].kind != NLT_PT_GAP) {
            p.st_ms = p.t_ms + (int64_t) l->starts.values[i].v;
        }
        if (series->values[i].kind != NLT_PT_GAP) {
            nlt_mem_source_add(&s->data, series->labels, p);
        }
    }
}

/*
 * What load_with_nhcb makes of a classic series, as far as it is known here:
 * a native histogram of the name without suffix exists at these times.
 */
static void
store_nhcb(script_t *s, const nlt_pt_series_t *series, int64_t gap_ms)
{
    nlt_label_t v[128];
    size_t n = 0;
    bool le = false;

    for (size_t i = 0; i < series->labels.n && n < NLT_COUNT(v); i++) {
        nlt_label_t l = series->labels.v[i];

        if (nlt_str_eq(l.name, NLT_STR("le"))) {
            le = true;
            continue;
        }
        if (nlt_str_eq(l.name, NLT_METRIC_NAME)) {
            nlt_str_t suffix = NLT_STR("_bucket");

            if (l.value.len <= suffix.len
                || memcmp(l.value.data + l.value.len - suffix.len, suffix.data,
                          suffix.len)
                       != 0) {
                return;
            }
            l.value.len -= suffix.len;
        }
        v[n++] = l;
    }
    for (size_t i = 0; le && i < series->n; i++) {
        if (series->values[i].kind == NLT_PT_FLOAT) {
            nlt_mem_source_add(
                &s->data, (nlt_labels_t){v, n},
                (nlt_mem_point_t){(int64_t) i * gap_ms, 0, true, 0});
        }
    }
}

static void
run_load(script_t *s, nlt_str_t rest, bool nhcb)
{
    size_t cap = 0, n = 0;
    loaded_t *all = NULL;
    nlt_pt_series_t one, starts = {0};
    int64_t gap_ms;
    const char *why = "out of memory";
    nlt_str_t line;

    if (nlt_time_parse_duration(nlt_pt_word(&rest), &gap_ms, NULL) != NLT_OK
        || rest.len != 0) {
        broken(s, s->at, "load needs one duration");
        return;
    }
    while (next_line(s, &line)) {
        size_t i = 0;

        if (!nlt_pt_series(&s->pool, line, &one, &why)) {
            broken(s, s->at, why);
            continue;
        }
        if (one.start_times) {
            starts = one;
            continue;
        }
        if (starts.n
            && (starts.n != one.n
                || !nlt_labels_eq(starts.labels, one.labels))) {
            broken(s, s->at, "start times are those of other samples");
        }
        while (i < n && !nlt_labels_eq(all[i].samples.labels, one.labels)) {
            i++;
        }
        if (i == cap) {
            all = nlt_pool_grow(&s->pool, all, cap * sizeof(*all),
                                (cap * 2 + 16) * sizeof(*all));
            cap = cap * 2 + 16;
            if (all == NULL) {
                broken(s, s->at, "out of memory");
                return;
            }
        }
        all[i] = (loaded_t){one, starts};
        starts.n = 0;
        n += i == n;
    }
    for (size_t i = 0; i < n; i++) {
        store_series(s, &all[i], gap_ms);
        if (nhcb) {
            store_nhcb(s, &all[i].samples, gap_ms);
        }
    }
}

/* ---- running queries ---- */

/* A finished query; run_query() makes it, end_query() takes it. */
typedef struct {
    nlt_pool_t pool;
    nlt_rc_t rc;
    nlt_value_t value;
    nlt_annots_t annots;
    nlt_pql_stats_t stats;
    nlt_err_t err;
} answer_t;

static void
run_query(eval_t *e, nlt_str_t text, bool instant, int64_t start_ms,
          int64_t end_ms, int64_t step_ms, answer_t *a)
{
    nlt_pql_query_t q = {
        .text = text,
        .instant = instant,
        .t_start_ms = start_ms,
        .t_end_ms = end_ms,
        .step_ms = step_ms,
        .lookback_ms = LOOKBACK_MS,
        .subquery_step_ms = MINUTE_MS,
        .samples_max = e->s->totals->samples_max,
        .features = e->s->totals->features,
        .env = &nlt_env_posix,
        .source = &e->s->data.source,
    };

    memset(a, 0, sizeof(*a));
    nlt_pool_init(&a->pool, &nlt_mem_libc, QUERY_BYTES);
    e->s->data.met_histogram = false;
    a->rc =
        nlt_pql_run(&a->pool, &q, &a->value, &a->annots, &a->stats, &a->err);
    e->met_histogram |= e->s->data.met_histogram;
}

static void
end_query(answer_t *a)
{
    nlt_pool_deinit(&a->pool);
}

/* Common to all ways of running: errors, annotations, histograms. */
static bool
check_outcome(const eval_t *e, const answer_t *a, nlt_buf_t *what,
              bool *finished)
{
    bool want_fail = e->want.n_notes[NLT_PT_FAIL] > 0;

    *finished = true;
    if (a->rc != NLT_OK) {
        nlt_str_t text = {a->err.len, a->err.text};

        if (want_fail && a->rc != NLT_EINVAL) {
            return nlt_pt_check_fail(&e->want, text, what);
        }
        nlt_buf_addf(what, "query failed: %.*s", NLT_FMT(text));
        return false;
    }
    if (want_fail) {
        nlt_buf_add_c(what, "query should have failed");
        return false;
    }
    *finished = false;
    return nlt_pt_check_annots(&e->want, &a->annots, what);
}

/* ---- what may be rerun, and how ---- */

typedef struct {
    int64_t at_ms;
    bool time_dependent; /* pinning selectors does not pin the result */
    bool grid_dependent; /* knows step or range of the query */
    bool frozen;         /* inside of a pinned subquery */
} pin_t;

static bool
is_one_of(const char *name, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(name, *list) == 0) {
            return true;
        }
    }
    return false;
}

static void
look_at_call(const char *name, pin_t *pin)
{
    static const char *const timely[] = {
        "days_in_month", "day_of_month",   "day_of_week", "day_of_year",
        "hour",          "minute",         "month",       "year",
        "time",          "predict_linear", "timestamp",   NULL};
    static const char *const grid[] = {"step", "range", "start", "end", NULL};

    pin->time_dependent |= !pin->frozen && is_one_of(name, timely);
    pin->grid_dependent |= is_one_of(name, grid);
}

static void pin_node(nlt_pql_node_t *node, pin_t *pin);

static void
pin_shift(nlt_pql_shift_t *shift, pin_t *pin)
{
    if (shift->offset.expr != NULL) {
        pin_node(shift->offset.expr, pin);
    }
    if (shift->at == NLT_PQL_AT_TIME || pin->frozen) {
        return;
    }
    shift->at = NLT_PQL_AT_TIME;
    shift->at_ms = pin->at_ms;
}

/* A pinned subquery pins what is in it; only step() and kin are looked for. */
static void
pin_subquery(nlt_pql_subquery_t *q, pin_t *pin)
{
    bool frozen = pin->frozen;

    pin_shift(&q->shift, pin);
    pin->frozen = true;
    if (q->range.expr != NULL) {
        pin_node(q->range.expr, pin);
    }
    if (q->step.expr != NULL) {
        pin_node(q->step.expr, pin);
    }
    pin_node(q->expr, pin);
    pin->frozen = frozen;
}

/* Pins all selectors that a pinned subquery does not hold already. */
static void
pin_node(nlt_pql_node_t *node, pin_t *pin)
{
    switch (node->kind) {
    case NLT_PQL_N_VECTOR:
        pin_shift(&node->u.vector.shift, pin);
        break;
    case NLT_PQL_N_MATRIX:
        if (node->u.matrix.range.expr != NULL) {
            pin_node(node->u.matrix.range.expr, pin);
        }
        pin_node(node->u.matrix.vector, pin);
        break;
    case NLT_PQL_N_SUBQUERY:
        pin_subquery(&node->u.subquery, pin);
        break;
    case NLT_PQL_N_CALL:
        look_at_call(node->u.call.func->name, pin);
        for (size_t i = 0; i < node->u.call.n_args; i++) {
            pin_node(node->u.call.args[i], pin);
        }
        break;
    case NLT_PQL_N_AGGR:
        if (node->u.aggr.param != NULL) {
            pin_node(node->u.aggr.param, pin);
        }
        pin_node(node->u.aggr.expr, pin);
        break;
    case NLT_PQL_N_BINARY:
        pin_node(node->u.binary.lhs, pin);
        pin_node(node->u.binary.rhs, pin);
        break;
    case NLT_PQL_N_UNARY:
        pin_node(node->u.unary.expr, pin);
        break;
    case NLT_PQL_N_PAREN:
        pin_node(node->u.paren, pin);
        break;
    default:
        break;
    }
}

/* ---- eval instant ---- */

/* The same query as the middle of three steps. */
static bool
check_in_range(eval_t *e, nlt_str_t text, int64_t t_ms, nlt_buf_t *what)
{
    answer_t a;
    bool ok;

    run_query(e, text, false, t_ms - MINUTE_MS, t_ms + MINUTE_MS, MINUTE_MS,
              &a);
    if (a.rc != NLT_OK) {
        nlt_buf_addf(what, "query failed: %s", a.err.text);
        ok = false;
    } else {
        ok = nlt_pt_check_step(&e->want, &a.value, 1, what);
    }
    if (!ok) {
        nlt_buf_addf(what, " (as a range query, %.*s)", NLT_FMT(text));
    }
    end_query(&a);
    return ok;
}

static bool
check_at(eval_t *e, nlt_str_t text, int64_t t_ms, bool also_in_range,
         nlt_buf_t *what)
{
    answer_t a;
    bool finished, ok;

    run_query(e, text, true, t_ms, t_ms, 1, &a);
    ok = check_outcome(e, &a, what, &finished);
    if (ok && !finished) {
        ok = nlt_pt_check_instant(&e->want, &a.value, what);
        if (e->want.ordered || a.value.type == NLT_VALUE_STRING
            || a.value.type == NLT_VALUE_MATRIX) {
            also_in_range = false;
        }
    }
    if (!ok) {
        nlt_buf_addf(what, " (%.*s at %lld ms)", NLT_FMT(text),
                     (long long) t_ms);
    }
    end_query(&a);
    return ok
           && (finished || !also_in_range
               || check_in_range(e, text, t_ms, what));
}

static bool
check_instant(eval_t *e, nlt_buf_t *what)
{
    int64_t t = e->at_ms;
    int64_t times[] = {-10 * t, 0, t / 5, t, 10 * t};
    int64_t times_at_zero[] = {-1000, 0, 1000};
    nlt_pool_t *pool = &e->s->pool;
    nlt_pql_node_t *node;
    pin_t pin = {.at_ms = t};
    nlt_err_t err;
    nlt_buf_t pinned;
    bool ok = true;

    if (nlt_pql_parse(pool, e->expr, e->s->totals->features, &node, &err)
        != NLT_OK) {
        nlt_buf_addf(what, "does not parse: %s", err.text);
        return false;
    }
    pin_node(node, &pin);
    if (!check_at(e, e->expr, t, !pin.grid_dependent, what)) {
        return false;
    }
    if (pin.time_dependent) {
        return true;
    }
    nlt_buf_init(&pinned, &nlt_mem_libc, 1u << 20);
    nlt_pql_print(&pinned, node);
    for (size_t i = 0; ok && i < (t ? NLT_COUNT(times) : 3); i++) {
        ok = check_at(e, nlt_buf_str(&pinned), t ? times[i] : times_at_zero[i],
                      !pin.grid_dependent, what);
    }
    nlt_buf_deinit(&pinned);
    return ok;
}

/* ---- eval range ---- */

static bool
check_range(eval_t *e, nlt_buf_t *what)
{
    answer_t a;
    bool finished, ok;

    run_query(e, e->expr, false, e->want.t_start_ms, e->want.t_end_ms,
              e->want.step_ms, &a);
    ok = check_outcome(e, &a, what, &finished);
    if (ok && !finished) {
        ok = nlt_pt_check_matrix(&e->want, &a.value, what);
    }
    end_query(&a);
    return ok;
}

/* ---- commands ---- */

/* eval[_fail|_warn|_info|_ordered]: the rest behind the first word. */
static bool
eval_word(nlt_pt_expect_t *want, nlt_str_t word)
{
    static const char *const names[] = {"eval_warn", "eval_info", "eval_fail"};
    nlt_pt_pattern_t any = {NLT_PT_ANY, {0, NULL}};

    for (size_t i = 0; i < NLT_COUNT(names); i++) {
        if (nlt_pt_starts(word, names[i])) {
            return nlt_pt_expect_note(want, (nlt_pt_note_t) i, any);
        }
    }
    want->ordered = nlt_pt_starts(word, "eval_ordered");
    return want->ordered || nlt_pt_starts(word, "eval");
}

static bool
eval_head(eval_t *e, nlt_str_t rest)
{
    nlt_str_t word;

    if (!eval_word(&e->want, nlt_pt_word(&rest))) {
        return false;
    }
    word = nlt_pt_word(&rest);
    if (nlt_pt_starts(word, "instant")) {
        if (nlt_pt_starts(rest, "at")) {
            (void) nlt_pt_word(&rest);
            if (nlt_time_parse_duration(nlt_pt_word(&rest), &e->at_ms, NULL)
                != NLT_OK) {
                return false;
            }
        }
    } else if (nlt_pt_starts(word, "range")) {
        e->range = true;
        e->want.is_matrix = true;
        if (!nlt_pt_range(&rest, &e->want.t_start_ms, &e->want.t_end_ms,
                          &e->want.step_ms)) {
            return false;
        }
    } else {
        return false;
    }
    e->expr = rest;
    return rest.len > 0;
}

/* Notes what a case that passed has used, unless it had to fail. */
static void
note_parts(const eval_t *e)
{
    script_t *s = e->s;
    nlt_pql_node_t *node;

    if (s->totals->seen && e->want.n_notes[NLT_PT_FAIL] == 0
        && nlt_pql_parse(&s->pool, e->expr, s->totals->features, &node, NULL)
               == NLT_OK) {
        nlt_pt_seen_add(s->totals->seen, node);
    }
}

static void
run_eval(script_t *s)
{
    eval_t e = {.s = s, .line = s->at, .want = {.pool = &s->pool}};
    const char *why = "malformed eval";
    bool ok = eval_head(&e, s->lines[s->at]), last = false;
    nlt_buf_t what;
    nlt_str_t line;

    while (next_line(s, &line)) {
        ok = ok && !last && nlt_pt_expect_line(&e.want, line, &last, &why);
    }
    nlt_buf_init(&what, &nlt_mem_libc, 65536);
    if (!ok) {
        nlt_buf_add_c(&what, why);
    } else if (e.range) {
        ok = check_range(&e, &what);
    } else {
        ok = check_instant(&e, &what);
    }
    if (ok && e.met_histogram && e.want.n_want == 0) {
        nlt_buf_add_c(&what, "nothing, as expected");
        ok = false; /* nothing may be what is wrong */
    }
    if (ok) {
        note_parts(&e);
    } else if (e.met_histogram) {
        nlt_buf_add_c(&what, "; unsupported: native histogram");
    }
    report(&e, ok, nlt_buf_str(&what));
    nlt_buf_deinit(&what);
}

static void
run_command(script_t *s)
{
    nlt_str_t rest = s->lines[s->at];
    nlt_str_t word = nlt_pt_word(&rest);

    if (nlt_pt_starts(word, "clear")) {
        nlt_mem_source_clear(&s->data);
    } else if (nlt_pt_starts(word, "load")) {
        run_load(s, rest, false);
    } else if (nlt_pt_starts(word, "load_with_nhcb")) {
        run_load(s, rest, true);
    } else if (word.len >= 4 && memcmp(word.data, "eval", 4) == 0) {
        run_eval(s);
    } else {
        broken(s, s->at, "unknown command");
    }
    nlt_pool_deinit(&s->pool);
}

/* ---- files ---- */

static char *
read_whole(const char *file, size_t *len)
{
    FILE *f = fopen(file, "rb");
    char *p = NULL;
    long size;

    if (f != NULL && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0
        && size < (long) FILE_BYTES_MAX && fseek(f, 0, SEEK_SET) == 0
        && (p = malloc((size_t) size + 1)) != NULL) {
        *len = fread(p, 1, (size_t) size, f);
    }
    if (f != NULL) {
        fclose(f);
    }
    return p;
}

static bool
split_lines(script_t *s, const char *text, size_t len)
{
    size_t n = 1, i = 0;

    for (size_t k = 0; k < len; k++) {
        n += text[k] == '\n';
    }
    s->lines = calloc(n, sizeof(*s->lines));
    if (s->lines == NULL) {
        return false;
    }
    while (s->n < n) {
        const char *end = memchr(text + i, '\n', len - i);
        size_t stop = end ? (size_t) (end - text) : len;
        nlt_str_t line = nlt_pt_trim((nlt_str_t){stop - i, text + i});

        if (line.len && line.data[0] == '#') {
            line.len = 0;
        }
        s->lines[s->n++] = line;
        i = stop + (end != NULL);
    }
    return true;
}

static bool
run_file(totals_t *totals, const char *file)
{
    script_t s = {.totals = totals, .file = file};
    size_t len = 0;
    char *text = read_whole(file, &len);

    if (text == NULL || !split_lines(&s, text, len)) {
        fprintf(stderr, "promqltest: cannot read %s\n", file);
        free(text);
        return false;
    }
    nlt_mem_source_init(&s.data);
    nlt_pool_init(&s.pool, &nlt_mem_libc, QUERY_BYTES);
    for (; s.at < s.n; s.at++) {
        if (s.lines[s.at].len) {
            run_command(&s);
        }
    }
    nlt_mem_source_clear(&s.data);
    free(s.lines);
    free(text);
    return true;
}

static bool
option(totals_t *t, const char *arg)
{
    static const char samples[] = "--samples-max=";

    if (strcmp(arg, "--tap") == 0) {
        t->tap = true;
    } else if (strcmp(arg, "--verbose") == 0) {
        t->verbose = true;
    } else if (strcmp(arg, "--coverage") == 0) {
        static nlt_pt_seen_t seen;

        t->seen = &seen;
    } else if (strcmp(arg, "--wrong") == 0) {
        t->wrong = true;
    } else if (strcmp(arg, "--features=default") == 0) {
        t->features = NLT_PQL_F_DEFAULT;
    } else if (strcmp(arg, "--features=all") == 0) {
        t->features = NLT_PQL_F_ALL;
    } else if (strncmp(arg, samples, sizeof(samples) - 1) == 0) {
        t->samples_max = strtoull(arg + sizeof(samples) - 1, NULL, 10);
    } else {
        return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    totals_t t = {.features = NLT_PQL_F_ALL, .samples_max = 50000000};
    bool ok = true;
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!option(&t, argv[i])) {
            i = argc;
        }
    }
    if (i >= argc) {
        fprintf(stderr,
                "usage: promqltest [--tap] [--verbose] "
                "[--features=default|all]\n"
                "                  [--samples-max=N] [--wrong] [--coverage] "
                "FILE...\n");
        return 2;
    }
    for (; i < argc; i++) {
        ok &= run_file(&t, argv[i]);
    }
    if (t.seen) {
        return nlt_pt_seen_report(t.seen) && ok && t.failed == 0 ? 0 : 1;
    }
    printf("%s%zu passed, %zu failed\n", t.tap ? "# " : "", t.passed,
           t.failed);
    if (t.tap) {
        printf("1..%zu\n", t.passed + t.failed);
    }
    return ok && t.failed == 0 ? 0 : 1;
}

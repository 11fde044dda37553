/*
 * nlt_pql_func_test.c - the table of functions holds together.
 */
#include "nlt_pql_func.h"
#include "nlt_test.h"

static void
table_is_sorted_and_complete(void)
{
    size_t n;
    const nlt_pql_func_t *t = nlt_pql_func_table(&n);

    NLT_CHECK_INT(n, 90);
    for (size_t i = 1; i < n; i++) {
        NLT_CHECK(strcmp(t[i - 1].name, t[i].name) < 0);
    }
}

static void
every_name_is_found_and_no_other(void)
{
    size_t n;
    const nlt_pql_func_t *t = nlt_pql_func_table(&n);
    const char *strangers[] = {"", "Rate", "rat", "ratee", "zzz", "aaa"};

    for (size_t i = 0; i < n; i++) {
        NLT_CHECK(nlt_pql_func_find(nlt_test_str(t[i].name)) == &t[i]);
    }
    for (size_t i = 0; i < NLT_COUNT(strangers); i++) {
        NLT_CHECK(nlt_pql_func_find(nlt_test_str(strangers[i])) == NULL);
    }
}

static size_t
count_args(const nlt_pql_func_t *f, nlt_pql_type_t type)
{
    size_t n = 0;

    for (size_t i = 0; i < NLT_PQL_ARGS_MAX; i++) {
        n += f->args[i] == type;
    }
    return n;
}

static void
every_row_fits_its_kind(void)
{
    size_t n;
    const nlt_pql_func_t *t = nlt_pql_func_table(&n);

    for (size_t i = 0; i < n; i++) {
        const nlt_pql_func_t *f = &t[i];
        bool range = f->kind == NLT_PQL_FK_RANGE;
        bool map = f->kind == NLT_PQL_FK_MAP;
        bool special = f->kind == NLT_PQL_FK_SPECIAL;

        NLT_CHECK(range == (f->range != NULL));
        NLT_CHECK(map == (f->map != NULL));
        NLT_CHECK(special == (f->special != NLT_PQL_SP_NONE));
        NLT_CHECK(f->doc != NULL && f->doc[0] != '\0');
        if (range) {
            NLT_CHECK_INT(count_args(f, NLT_PQL_MATRIX), 1);
            NLT_CHECK_INT(f->variadic, 0);
            NLT_CHECK_INT(f->ret, NLT_PQL_VECTOR);
        }
        if (map) {
            NLT_CHECK_INT(f->args[0], NLT_PQL_VECTOR);
            NLT_CHECK_INT(count_args(f, NLT_PQL_VECTOR), 1);
            NLT_CHECK_INT(count_args(f, NLT_PQL_STRING), 0);
        }
    }
}

/* Two rows must not ask the evaluator for the same thing. */
static void
every_special_occurs_once(void)
{
    size_t n, seen[64] = {0};
    const nlt_pql_func_t *t = nlt_pql_func_table(&n);

    for (size_t i = 0; i < n; i++) {
        if (t[i].kind == NLT_PQL_FK_SPECIAL) {
            seen[t[i].special]++;
        }
    }
    for (size_t i = NLT_PQL_SP_NONE + 1; i <= NLT_PQL_SP_VECTOR; i++) {
        NLT_CHECK_INT(seen[i], 1);
    }
}

static void
signatures_are_prometheus_ones(void)
{
    static const struct {
        const char *name;
        int variadic;
        size_t n_args;
        bool experimental;
        bool keeps_name;
    } want[] = {
        {"rate", 0, 1, false, false},
        {"clamp", 0, 3, false, false},
        {"round", 1, 2, false, false},
        {"hour", 1, 1, false, false},
        {"label_join", -1, 4, false, true},
        {"label_replace", 0, 5, false, true},
        {"sort_by_label", -1, 2, true, true},
        {"last_over_time", 0, 1, false, true},
        {"info", 1, 2, true, true},
        {"time", 0, 0, false, false},
        {"mad_over_time", 0, 1, true, false},
        {"histogram_quantiles", 9, 4, true, false},
    };

    for (size_t i = 0; i < NLT_COUNT(want); i++) {
        const nlt_pql_func_t *f =
            nlt_pql_func_find(nlt_test_str(want[i].name));

        NLT_CHECK(f != NULL);
        if (f != NULL) {
            NLT_CHECK_INT(f->variadic, want[i].variadic);
            NLT_CHECK_INT(NLT_PQL_ARGS_MAX - count_args(f, NLT_PQL_NONE),
                          want[i].n_args);
            NLT_CHECK_INT(f->experimental, want[i].experimental);
            NLT_CHECK_INT(f->keeps_name, want[i].keeps_name);
        }
    }
}

static void
edges_are_refused_by_name(void)
{
    const nlt_pql_func_t *avg =
        nlt_pql_func_find(nlt_test_str("avg_over_time"));
    const nlt_pql_func_t *changes = nlt_pql_func_find(nlt_test_str("changes"));
    nlt_err_t err;

    NLT_CHECK_INT(nlt_pql_func_edges(avg, false, false, &err), NLT_OK);
    NLT_CHECK_INT(nlt_pql_func_edges(changes, true, false, &err), NLT_OK);
    NLT_CHECK_INT(nlt_pql_func_edges(avg, true, false, &err), NLT_EEXEC);
    NLT_CHECK(strcmp(err.text, "anchored modifier can only be used with: "
                               "changes, delta, increase, rate, resets - not "
                               "with avg_over_time")
              == 0);
    NLT_CHECK_INT(nlt_pql_func_edges(changes, false, true, &err), NLT_EEXEC);
    NLT_CHECK(strcmp(err.text, "smoothed modifier can only be used with: "
                               "delta, increase, rate - not with changes")
              == 0);
}

int
main(void)
{
    NLT_TEST(table_is_sorted_and_complete);
    NLT_TEST(every_name_is_found_and_no_other);
    NLT_TEST(every_row_fits_its_kind);
    NLT_TEST(every_special_occurs_once);
    NLT_TEST(signatures_are_prometheus_ones);
    NLT_TEST(edges_are_refused_by_name);
    return nlt_test_done();
}

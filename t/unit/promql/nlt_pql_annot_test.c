/*
 * nlt_pql_annot_test.c - notes merge, are numbered, placed and cut.
 */
#include <math.h>

#include "nlt_pql_annot.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"

#define AT(pos) ((nlt_pql_place_t){pos, 0})

static nlt_pool_t pool;
static nlt_pql_annots_t annots;

static void
begin(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 4 << 20);
    nlt_pql_annots_init(&annots, &pool);
}

static nlt_annots_t
render(nlt_str_t query)
{
    nlt_annots_t out;

    NLT_CHECK_INT(nlt_pql_annots_render(&annots, query, &out), NLT_OK);
    NLT_CHECK(!annots.failed);
    return out;
}

/* Number i of a list. */
static nlt_str_t
text_at(const nlt_annot_t *list, size_t i)
{
    while (list != NULL && i-- > 0) {
        list = list->next;
    }
    return list ? list->text : (nlt_str_t){0, NULL};
}

static size_t
length(const nlt_annot_t *list)
{
    size_t n = 0;

    for (; list != NULL; list = list->next) {
        n++;
    }
    return n;
}

static void
equal_texts_merge_and_the_last_position_wins(void)
{
    begin();
    nlt_pql_annots_add(&annots, NLT_PQL_WARNING, AT(0), "bad %s", "thing");
    nlt_pql_annots_add(&annots, NLT_PQL_INFO, AT(1), "bad thing");
    nlt_pql_annots_add(&annots, NLT_PQL_WARNING, AT(1), "other");
    nlt_pql_annots_add(&annots, NLT_PQL_WARNING, AT(6), "bad thing");
    nlt_annots_t out = render(NLT_STR("abc\nde f"));

    NLT_CHECK_INT(out.n_warnings, 2);
    NLT_CHECK_INT(out.n_infos, 1);
    NLT_CHECK_STR(text_at(out.warnings, 0), "PromQL warning: bad thing (2:3)");
    NLT_CHECK_STR(text_at(out.warnings, 1), "PromQL warning: other (1:2)");
    NLT_CHECK_STR(text_at(out.infos, 0), "PromQL info: bad thing (1:2)");
    nlt_pool_deinit(&pool);
}

static void
positions_may_be_missing_or_outside(void)
{
    begin();
    nlt_pql_annots_add(&annots, NLT_PQL_WARNING, AT(-1), "a");
    nlt_pql_annots_add(&annots, NLT_PQL_WARNING, AT(3), "b");
    nlt_pql_annots_add(&annots, NLT_PQL_WARNING, AT(4), "c");
    nlt_annots_t out = render(NLT_STR("foo"));

    NLT_CHECK_STR(text_at(out.warnings, 0), "PromQL warning: a");
    NLT_CHECK_STR(text_at(out.warnings, 1), "PromQL warning: b (1:4)");
    NLT_CHECK_STR(text_at(out.warnings, 2),
                  "PromQL warning: c (invalid position)");
    out = render((nlt_str_t){0, NULL});
    NLT_CHECK_STR(text_at(out.warnings, 1), "PromQL warning: b");
    nlt_pool_deinit(&pool);
}

static void
ten_of_each_level_are_shown(void)
{
    begin();
    for (int i = 0; i < 10; i++) {
        nlt_pql_annots_add(&annots, NLT_PQL_INFO, AT(0), "i%d", i);
    }
    for (int i = 0; i < 11; i++) {
        nlt_pql_annots_add(&annots, NLT_PQL_WARNING, AT(0), "w%d", i);
    }
    nlt_annots_t out = render((nlt_str_t){0, NULL});

    NLT_CHECK_INT(length(out.infos), 10);
    NLT_CHECK_INT(out.n_infos, 10);
    NLT_CHECK_INT(length(out.warnings), 11);
    NLT_CHECK_INT(out.n_warnings, 11);
    NLT_CHECK_STR(text_at(out.warnings, 9), "PromQL warning: w9");
    NLT_CHECK_STR(text_at(out.warnings, 10),
                  "1 more warning annotations omitted");
    nlt_pql_annots_add(&annots, NLT_PQL_INFO, AT(0), "i10");
    nlt_pql_annots_add(&annots, NLT_PQL_INFO, AT(0), "i11");
    out = render((nlt_str_t){0, NULL});
    NLT_CHECK_STR(text_at(out.infos, 10), "2 more info annotations omitted");
    nlt_pool_deinit(&pool);
}

#define MONOTONIC                                                             \
    "PromQL info: input to histogram_quantile needed to be fixed for "        \
    "monotonicity (see "                                                      \
    "https://prometheus.io/docs/prometheus/latest/querying/functions/"        \
    "#histogram_quantile)"

static void
monotonic_notes_accumulate_by_name(void)
{
    begin();
    nlt_pql_annots_monotonic(&annots, AT(5), (nlt_str_t){0, NULL}, 0.5, 2, 100,
                             1000);
    nlt_annots_t out = render(NLT_STR("0123456789"));

    NLT_CHECK_STR(text_at(out.infos, 0),
                  MONOTONIC ", from buckets 0.5 to 2, with a max diff of "
                            "1e+02, over 1 samples from 1970-01-01T00:00:01Z "
                            "to 1970-01-01T00:00:01Z (1:6)");
    nlt_pql_annots_monotonic(&annots, AT(7), (nlt_str_t){0, NULL}, 0.25,
                             INFINITY, 0.125, 61000);
    nlt_pql_annots_monotonic(&annots, AT(7), NLT_STR("m\""), 1, 2, 10, 0);
    nlt_pql_annots_monotonic(&annots, AT(6), (nlt_str_t){0, NULL}, 1, 1, 200.7,
                             -1);
    out = render(NLT_STR("0123456789"));
    NLT_CHECK_INT(out.n_infos, 2);
    NLT_CHECK_STR(text_at(out.infos, 0),
                  MONOTONIC ", from buckets 0.25 to +Inf, with a max diff of "
                            "2e+02, over 3 samples from 1969-12-31T23:59:59Z "
                            "to 1970-01-01T00:01:01Z (1:7)");
    NLT_CHECK_STR(text_at(out.infos, 1),
                  MONOTONIC " for metric name \"m\\\"\", from buckets 1 to 2, "
                            "with a max diff of 10, over 1 samples from "
                            "1970-01-01T00:00:00Z to 1970-01-01T00:00:00Z "
                            "(1:8)");
    nlt_pool_deinit(&pool);
}

/* Many distinct notes stay cheap, and each is counted once. */
static void
many_notes_are_counted(void)
{
    begin();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++) {
            nlt_pql_annots_add(&annots, NLT_PQL_INFO, AT(i), "metric m%d", i);
        }
    }
    NLT_CHECK_INT(annots.n, 5000);
    nlt_annots_t out = render((nlt_str_t){0, NULL});

    NLT_CHECK_STR(text_at(out.infos, 10),
                  "4990 more info annotations omitted");
    nlt_pool_deinit(&pool);
}

static void
exhausted_memory_is_remembered(void)
{
    nlt_test_mem_t mem;
    int fail_at = 0;

    do {
        nlt_annots_t out;

        nlt_test_mem_init(&mem, fail_at++);
        nlt_pool_init(&pool, &mem.mem, 1 << 20);
        nlt_pql_annots_init(&annots, &pool);
        for (int i = 0; i < 300; i++) {
            nlt_pql_annots_add(&annots, NLT_PQL_INFO, AT(i), "metric m%d", i);
            nlt_pql_annots_monotonic(&annots, AT(i), NLT_STR("m"), 1, 2, 3, 4);
        }
        NLT_CHECK(mem.failed == 0 || annots.failed);
        nlt_rc_t rc = nlt_pql_annots_render(&annots, NLT_STR("q"), &out);

        NLT_CHECK(rc == NLT_OK || (rc == NLT_ENOMEM && mem.failed > 0));
        nlt_pool_deinit(&pool);
        NLT_CHECK_INT(mem.bytes, 0);
    } while (mem.failed > 0 && fail_at < 200);
    NLT_CHECK(fail_at > 3 && fail_at < 200);
}

int
main(void)
{
    NLT_TEST(equal_texts_merge_and_the_last_position_wins);
    NLT_TEST(positions_may_be_missing_or_outside);
    NLT_TEST(ten_of_each_level_are_shown);
    NLT_TEST(monotonic_notes_accumulate_by_name);
    NLT_TEST(many_notes_are_counted);
    NLT_TEST(exhausted_memory_is_remembered);
    return nlt_test_done();
}

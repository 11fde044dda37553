/*
 * nlt_rw2_test.c - remote_write 2.0 on the wire: symbols, series, what comes
 * beside samples, and which native histograms are valid.  That the walker
 * reads what protobuf-c reads is t/fuzz/fuzz_rw2.c.
 */
#include <math.h>
#include <stdio.h>

#include "nlt_test.h"

#include "nlt_rw2_build.h"
#include "nlt_rw_histogram.h"
#include "nlt_rw_side.h"

#define T0 INT64_C(1700000000000)

static nlt_rw2_symbol_t symbols[64];
static uint32_t refs[64];

/* Scans a request and walks to its first series. */
static nlt_rc_t
first(nlt_str_t request, nlt_rw2_symbols_t *sy, nlt_rw2_walk_t *w,
      nlt_rw2_series_t *s, nlt_err_t *err)
{
    nlt_rw2_scan_t sc;
    nlt_rc_t rc;

    nlt_rw2_scan_init(&sc, request);
    sc.v = symbols;
    sc.cap = NLT_COUNT(symbols);
    rc = nlt_rw2_scan(&sc, 1000, err);
    if (rc != NLT_OK) {
        return rc;
    }
    *sy = (nlt_rw2_symbols_t){request.data, sc.v, sc.n};
    nlt_rw2_walk_init(w, request, refs, NLT_COUNT(refs));
    return nlt_rw2_walk_next(w, s, err);
}

static void
a_series_is_labels_samples_and_metadata(void)
{
    nlt_rw_metadata_t md;
    nlt_rw2_symbols_t sy;
    nlt_rw2_series_t s;
    nlt_rw_samples_t it;
    nlt_rw2_walk_t w;
    nlt_label_t v[4];
    uint64_t bits;
    int64_t t_ms;
    nlt_err_t err;
    rw2b_t b;
    size_t n;

    rw2b_init(&b);
    rw2b_label(&b, "__name__", "up");
    rw2b_label(&b, "job", "node");
    rw2b_sample(&b, T0, 1.5);
    rw2b_sample(&b, T0 + 1, 2.5);
    rw2b_metadata(&b, NLT_RW_GAUGE, "Is it up?", "bool");
    rw2b_end(&b);
    NLT_CHECK_INT(first(rw2b_request(&b), &sy, &w, &s, &err), NLT_OK);
    NLT_CHECK_INT(sy.n, 7);
    NLT_CHECK_INT(s.n_refs, 4);
    NLT_CHECK_INT(nlt_rw2_labels(&sy, refs, 4, v, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 2);
    NLT_CHECK_STR(v[0].value, "up");
    NLT_CHECK_STR(v[1].name, "job");
    nlt_rw_samples_init(&it, &s.s);
    NLT_CHECK(nlt_rw_samples_next(&it, &t_ms, &bits) && t_ms == T0
              && bits == nlt_bits_of(1.5));
    NLT_CHECK(nlt_rw_samples_next(&it, &t_ms, &bits) && t_ms == T0 + 1);
    NLT_CHECK(!nlt_rw_samples_next(&it, &t_ms, &bits));
    NLT_CHECK_INT(nlt_rw2_metadata(&sy, &s, &md, &err), NLT_OK);
    NLT_CHECK_INT(md.type, NLT_RW_GAUGE);
    NLT_CHECK_STR(md.help, "Is it up?");
    NLT_CHECK_STR(md.unit, "bool");
    NLT_CHECK_INT(nlt_rw2_walk_next(&w, &s, &err), NLT_EOF);
    rw2b_free(&b);
}

static void
references_outside_of_the_table_have_prometheus_texts(void)
{
    nlt_rw_exemplars_t it;
    nlt_rw_exemplar_t ex;
    nlt_rw_metadata_t md;
    nlt_rw2_symbols_t sy;
    nlt_rw2_series_t s;
    nlt_rw2_walk_t w;
    nlt_label_t v[4];
    nlt_err_t err;
    size_t n;

    /* No symbols at all, and a series that names none. */
    NLT_CHECK_INT(first(NLT_STR("\x2a\x00"), &sy, &w, &s, &err), NLT_OK);
    NLT_CHECK_INT(nlt_rw2_metadata(&sy, &s, &md, &err), NLT_EINVAL);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "metadata unit_ref 0 outside of symbols table (size 0)");

    /* Two symbols; odd references; help 2; exemplars good, odd, outside. */
    NLT_CHECK_INT(first(NLT_STR("\x22\x00\x22\x01"
                                "a\x2a\x19\x0a\x03\x00\x01\x01\x2a\x02\x18\x02"
                                "\x22\x04\x0a\x02\x01\x00"
                                "\x22\x02\x08\x01\x22\x04\x0a\x02\x01\x05"),
                        &sy, &w, &s, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_rw2_labels(&sy, refs, s.n_refs, v, &n, &err),
                  NLT_EINVAL);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "invalid labelRefs length 3");
    refs[1] = 2;
    NLT_CHECK_INT(nlt_rw2_labels(&sy, refs, 2, v, &n, &err), NLT_EINVAL);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "labelRefs 0 (name) = 2 (value) outside of symbols table "
                  "(size 2)");
    NLT_CHECK_INT(nlt_rw2_metadata(&sy, &s, &md, &err), NLT_EINVAL);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "metadata help_ref 2 outside of symbols table (size 2)");
    nlt_rw_exemplars_init(&it, s.s.body, &sy);
    NLT_CHECK_INT(nlt_rw_exemplars_next(&it, &ex, v, 4, &err), NLT_OK);
    NLT_CHECK_INT(ex.n_labels, 1);
    NLT_CHECK_STR(v[0].name, "a");
    NLT_CHECK_INT(nlt_rw_exemplars_next(&it, &ex, v, 4, &err), NLT_EINVAL);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "invalid labelRefs length 1");
    NLT_CHECK_INT(nlt_rw_exemplars_next(&it, &ex, v, 4, &err), NLT_EINVAL);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "labelRefs 1 (name) = 5 (value) outside of symbols table "
                  "(size 2)");
    NLT_CHECK_INT(nlt_rw_exemplars_next(&it, &ex, v, 4, &err), NLT_EOF);
}

static void
metadata_of_1_0_is_of_the_request(void)
{
    nlt_str_t rq = NLT_STR("\x1a\x0b\x08\x01\x12\x01m\x22\x01h\x2a\x01u"
                           "\x0a\x00\x1a\x00");
    nlt_rw_metadata_iter_t it;
    nlt_rw_metadata_t md;

    nlt_rw_metadata_init(&it, rq);
    NLT_CHECK(nlt_rw_metadata_next(&it, &md));
    NLT_CHECK_INT(md.type, NLT_RW_COUNTER);
    NLT_CHECK_STR(md.family, "m");
    NLT_CHECK_STR(md.help, "h");
    NLT_CHECK_STR(md.unit, "u");
    NLT_CHECK(nlt_rw_metadata_next(&it, &md));
    NLT_CHECK_INT(md.type + md.help.len, 0);
    NLT_CHECK(!nlt_rw_metadata_next(&it, &md));
}

/* ---- histograms ---- */

static nlt_buf_t h;

static void
num(unsigned no, uint64_t v)
{
    nlt_buf_add_uvarint(&h, no << 3);
    nlt_buf_add_uvarint(&h, v);
}

static void
sint(unsigned no, int64_t v)
{
    num(no, ((uint64_t) v << 1) ^ (uint64_t) (v < 0 ? -1 : 0));
}

static void
dbl(unsigned no, double v)
{
    nlt_buf_add_uvarint(&h, no << 3 | 1);
    nlt_buf_add_le64(&h, nlt_bits_of(v));
}

static void
span(unsigned no, int64_t offset, uint64_t length)
{
    nlt_buf_t outer = h;

    nlt_buf_init(&h, &nlt_mem_libc, 100);
    sint(1, offset);
    num(2, length);
    nlt_buf_t inner = h;

    h = outer;
    nlt_buf_add_uvarint(&h, no << 3 | 2);
    nlt_buf_add_uvarint(&h, inner.len);
    nlt_buf_add_str(&h, nlt_buf_str(&inner));
    nlt_buf_deinit(&inner);
}

/* Is what h says refused with that text (NULL: taken)?  h is empty then. */
static void
judge(const char *text)
{
    const nlt_rw_histogram_t one = {nlt_buf_str(&h), 0};
    nlt_err_t err = {0};
    nlt_rc_t rc = nlt_rw_histogram_validate(&one, &err);

    NLT_CHECK_INT(rc, text ? NLT_EDATA : NLT_OK);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}), text ? text : "");
    nlt_buf_reset(&h);
}

#define SCHEMA   4
#define NEG      8
#define NEG_D    9
#define NEG_C    10
#define POS      11
#define POS_D    12
#define POS_C    13
#define CUSTOM   16
#define CUSTOM_B (-53)

static void
exponential_histograms_are_judged(void)
{
    nlt_buf_init(&h, &nlt_mem_libc, 1000);
    judge(NULL); /* nothing observed */
    num(1, 7), span(POS, -3, 2), span(POS, 5, 1), sint(POS_D, 2);
    sint(POS_D, -1), sint(POS_D, 0), span(NEG, 0, 1), sint(NEG_D, 1),
        num(6, 2);
    judge(NULL); /* 2 1 1, 1, zero 2 */
    num(1, 8), span(POS, 0, 1), sint(POS_D, 7), dbl(3, 1);
    judge("7 observations found in buckets, but the Count field is 8: "
          "histogram's observation count should equal the number of "
          "observations found in the buckets (in absence of NaN)");
    num(1, 8), span(POS, 0, 1), sint(POS_D, 7), dbl(3, NAN);
    judge(NULL); /* one of them was NaN */
    num(1, 6), span(POS, 0, 1), sint(POS_D, 7), dbl(3, NAN);
    judge("7 observations found in buckets, but the Count field is 6: "
          "histogram's observation count should be at least the number of "
          "observations found in the buckets");
    span(POS, 0, 1), span(POS, -2, 1), sint(POS_D, 0), sint(POS_D, 0);
    judge("positive side: span number 2 with offset -2: histogram has a span "
          "whose offset is negative");
    span(NEG, 0, 4294967295), sint(NEG_D, 1);
    judge("negative side: spans need 4294967295 buckets, have 1 buckets: "
          "histogram spans specify different number of buckets than provided");
    span(NEG, 0, 2), sint(NEG_D, 1), sint(NEG_D, -2);
    judge("negative side: bucket number 2 has observation count of -1: "
          "histogram has a bucket whose observation count is negative");
    span(POS, 0, 1), sint(POS_D, -5), dbl(CUSTOM, 1);
    judge("histogram with exponential schema must not have custom bounds");
    span(POS, 0, 1), sint(POS_D, -5);
    judge("positive side: bucket number 1 has observation count of -5: "
          "histogram has a bucket whose observation count is negative");
    for (int schema = -60; schema <= 60; schema++) {
        char text[200];

        snprintf(text, sizeof(text),
                 "histogram has an invalid schema, which must be between -4 "
                 "and 8 for exponential buckets, or -53 for custom buckets, "
                 "got schema %d",
                 schema);
        sint(SCHEMA, schema);
        judge(schema == -53 || (schema >= -4 && schema <= 52) ? NULL : text);
    }
    nlt_buf_deinit(&h);
}

static void
float_histograms_are_judged(void)
{
    nlt_buf_init(&h, &nlt_mem_libc, 1000);
    dbl(2, 99), span(POS, 0, 2), dbl(POS_C, 1.5), dbl(POS_C, 0.5);
    judge(NULL); /* totals are not compared */
    dbl(2, 1), span(POS, 0, 2), dbl(POS_C, 1.5), dbl(POS_C, -0.5);
    judge("positive side: bucket number 2 has observation count of -0.5: "
          "histogram has a bucket whose observation count is negative");
    dbl(2, 1), dbl(7, -1e20);
    judge("zero bucket has observation count of -1e+20: histogram has a "
          "bucket whose observation count is negative");
    dbl(2, -2);
    judge("observation count is  -2: histogram's observation count is "
          "negative");
    /* The other kind of buckets does not count. */
    dbl(2, 1), sint(POS_D, 1);
    judge(NULL);
    num(1, 0), dbl(POS_C, 1);
    judge(NULL);
    nlt_buf_deinit(&h);
}

static void
custom_buckets_are_judged(void)
{
    nlt_buf_init(&h, &nlt_mem_libc, 1000);
    sint(SCHEMA, CUSTOM_B), num(1, 3), dbl(CUSTOM, 1), dbl(CUSTOM, 2);
    span(POS, 1, 2), sint(POS_D, 1), sint(POS_D, 1);
    judge(NULL);
    sint(SCHEMA, CUSTOM_B), num(1, 3), dbl(CUSTOM, 1);
    span(POS, 1, 2), sint(POS_D, 1), sint(POS_D, 1);
    judge("custom buckets: only 1 custom bounds defined which is insufficient "
          "to cover total span length of 3: histogram custom bounds are too "
          "few");
    sint(SCHEMA, CUSTOM_B), dbl(CUSTOM, 2), dbl(CUSTOM, 2);
    judge("custom buckets: previous bound is 2.000000 and current is "
          "2.000000: histogram custom bounds must be in strictly increasing "
          "order");
    sint(SCHEMA, CUSTOM_B), dbl(CUSTOM, 2), dbl(CUSTOM, INFINITY);
    judge("custom buckets: last +Inf bound must not be explicitly defined: "
          "histogram custom bounds must be finite");
    sint(SCHEMA, CUSTOM_B), dbl(CUSTOM, NAN);
    judge("custom buckets: histogram custom bounds must not be NaN");
    sint(SCHEMA, CUSTOM_B), span(POS, -1, 0);
    judge("custom buckets: span number 1 with offset -1: histogram has a span "
          "whose offset is negative");
    sint(SCHEMA, CUSTOM_B), num(6, 1);
    judge("custom buckets: must have zero count of 0");
    sint(SCHEMA, CUSTOM_B), dbl(5, 0.1);
    judge("custom buckets: must have zero threshold of 0");
    sint(SCHEMA, CUSTOM_B), span(NEG, 0, 0);
    judge("custom buckets: must not have negative spans");
    sint(SCHEMA, CUSTOM_B), sint(NEG_D, 0);
    judge("custom buckets: must not have negative buckets");
    nlt_buf_deinit(&h);
}

int
main(void)
{
    NLT_TEST(a_series_is_labels_samples_and_metadata);
    NLT_TEST(references_outside_of_the_table_have_prometheus_texts);
    NLT_TEST(metadata_of_1_0_is_of_the_request);
    NLT_TEST(exponential_histograms_are_judged);
    NLT_TEST(float_histograms_are_judged);
    NLT_TEST(custom_buckets_are_judged);
    return nlt_test_done();
}

/*
 * nlt_api_json_test.c - the JSON that Prometheus's clients see, byte for byte.
 */
#include "nlt_api_json.h"
#include "nlt_test.h"

static nlt_buf_t buf;

static nlt_str_t
text(void)
{
    return nlt_buf_str(&buf);
}

static void
begin(void)
{
    nlt_buf_init(&buf, &nlt_mem_libc, 1u << 20);
}

static void
strings_of_results_escape_only_what_json_demands(void)
{
    begin();
    nlt_json_string(&buf, NLT_STR("a\"b\\c\n\r\t\x01<>&\xc3\xa9\xe2\x80\xa8"),
                    false);
    NLT_CHECK_STR(text(), "\"a\\\"b\\\\c\\n\\r\\t\\u0001<>&\xc3\xa9"
                          "\xe2\x80\xa8\"");
    nlt_buf_deinit(&buf);
}

static void
strings_of_lists_escape_html_too(void)
{
    begin();
    nlt_json_string(&buf, NLT_STR("<a&b>\xe2\x80\xa8\xe2\x80\xa9\xff\xc3\xa9"),
                    true);
    NLT_CHECK_STR(text(), "\"\\u003ca\\u0026b\\u003e\\u2028\\u2029\\ufffd"
                          "\xc3\xa9\"");
    nlt_buf_deinit(&buf);
}

/* Long strings are looked at by words: every place in them. */
static void
any_byte_is_escaped_wherever_it_stands(void)
{
    static const unsigned char odd[] = {'"',  '\\', '\n', 0,    0x1f,
                                        0x20, 0x7f, '<',  0xc3, 0xff};
    char in[24], want[64];

    for (size_t len = 1; len < sizeof(in); len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t k = 0; k < sizeof(odd); k++) {
                const char *esc = odd[k] == '"'    ? "\\\""
                                  : odd[k] == '\\' ? "\\\\"
                                  : odd[k] == '\n' ? "\\n"
                                  : odd[k] == 0    ? "\\u0000"
                                  : odd[k] == 0x1f ? "\\u001f"
                                                   : NULL;
                char same[2] = {(char) odd[k], '\0'};

                memset(in, 'x', sizeof(in));
                in[at] = (char) odd[k];
                (void) snprintf(want, sizeof(want), "\"%.*s%s%.*s\"", (int) at,
                                "xxxxxxxxxxxxxxxxxxxxxxxx", esc ? esc : same,
                                (int) (len - at - 1),
                                "xxxxxxxxxxxxxxxxxxxxxxxx");
                begin();
                nlt_json_string(&buf, (nlt_str_t){len, in}, false);
                NLT_CHECK_STR(text(), want);
                nlt_buf_deinit(&buf);
            }
        }
    }
}

static void
time_of(int64_t t_ms, const char *want)
{
    nlt_buf_reset(&buf);
    nlt_json_time(&buf, t_ms);
    NLT_CHECK_STR(text(), want);
}

static void
times_have_three_decimals_or_none(void)
{
    begin();
    time_of(0, "0");
    time_of(1435781451781, "1435781451.781");
    time_of(1435781451230, "1435781451.230");
    time_of(1435781451000, "1435781451");
    time_of(-1, "-0.001");
    time_of(-1500, "-1.500");
    time_of(INT64_MIN, "-9223372036854775.808");
    time_of(INT64_MAX, "9223372036854775.807");
    nlt_buf_deinit(&buf);
}

static void
errors_have_the_order_of_keys(void)
{
    begin();
    nlt_json_error(&buf, "bad_data", NLT_STR("a < \"b\""));
    NLT_CHECK_STR(text(), "{\"status\":\"error\",\"errorType\":\"bad_data\","
                          "\"error\":\"a \\u003c \\\"b\\\"\"}");
    nlt_buf_deinit(&buf);
}

/* Takes a whole stream in parts of `part` bytes into buf. */
static void
drain(nlt_json_stream_t *s, size_t part)
{
    char out[4096];
    size_t n;
    nlt_rc_t rc;

    nlt_buf_reset(&buf);
    nlt_json_stream_init(s, &nlt_mem_libc);
    do {
        rc = nlt_json_stream_take(s, out, part, &n);
        NLT_CHECK(n <= part);
        NLT_CHECK(rc == NLT_OK || n == part);
        nlt_buf_add(&buf, out, n);
    } while (rc == NLT_AGAIN);
    NLT_CHECK_INT(rc, NLT_OK);
    nlt_json_stream_deinit(s);
}

static const nlt_label_t job[] = {{NLT_STR("__name__"), NLT_STR("m")},
                                  {NLT_STR("job"), NLT_STR("<x>")}};

static void
a_matrix_leaves_out_absent_points(void)
{
    double v[] = {1, 2, 0.5};
    uint64_t present[] = {5};
    nlt_value_series_t series[] = {
        {.labels = {job, 2}, .v = v, .present = present, .n = 3},
        {.labels = {job, 0}, .v = v, .n = 1}};
    nlt_value_t value = {.type = NLT_VALUE_MATRIX,
                         .t_start_ms = 1000,
                         .step_ms = 500,
                         .n_steps = 3,
                         .series = series,
                         .n_series = 2};
    nlt_annot_t info = {NULL, NLT_STR("PromQL info: <i>")};
    nlt_annots_t annots = {.infos = &info};
    nlt_json_stream_t s = {
        .kind = NLT_JSON_VALUE, .value = &value, .annots = &annots};

    begin();
    for (size_t part = 1; part < 400; part += 13) {
        drain(&s, part);
        NLT_CHECK_STR(
            text(),
            "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\","
            "\"result\":[{\"metric\":{\"__name__\":\"m\",\"job\":\"<x>\"},"
            "\"values\":[[1,\"1\"],[2,\"0.5\"]]},"
            "{\"metric\":{},\"values\":[[1,\"1\"]]}]},"
            "\"infos\":[\"PromQL info: \\u003ci\\u003e\"]}");
    }
    nlt_buf_deinit(&buf);
}

/* Texts of times are made once, and are those that each series would have. */
static void
series_of_a_grid_have_its_times(void)
{
    static const int64_t starts[] = {1700000000000, -2500, INT64_MIN / 4};
    static const int64_t steps[] = {15000, 1, 86400000 * INT64_C(365)};
    enum {
        N = 130,
        M = 4
    };
    static double v[M][N];
    static uint64_t present[M][3];

    for (size_t k = 0; k < NLT_COUNT(starts) * NLT_COUNT(steps); k++) {
        nlt_value_series_t series[M];
        nlt_value_t value = {.type = NLT_VALUE_MATRIX,
                             .t_start_ms = starts[k % NLT_COUNT(starts)],
                             .step_ms = steps[k / NLT_COUNT(starts)],
                             .n_steps = N,
                             .series = series,
                             .n_series = M};
        nlt_json_stream_t s = {.kind = NLT_JSON_VALUE, .value = &value};
        nlt_buf_t want;

        nlt_buf_init(&want, &nlt_mem_libc, 1u << 20);
        nlt_buf_add_c(&want,
                      "{\"status\":\"success\",\"data\":{\"resultType\":"
                      "\"matrix\",\"result\":[");
        for (size_t i = 0; i < M; i++) {
            bool any = false;

            series[i] = (nlt_value_series_t){
                .v = v[i], .present = i < 3 ? present[i] : NULL, .n = N};
            nlt_buf_add_c(&want, i ? ",{\"metric\":{},\"values\":["
                                   : "{\"metric\":{},\"values\":[");
            for (size_t j = 0; j < N; j++) {
                bool there = i == 3 || nlt_test_below(3) > 0;

                v[i][j] = (double) nlt_test_below(1000000)
                          / (double) (1 + nlt_test_below(3));
                if (j > 0 && nlt_test_below(2)) { /* the same, or nearly */
                    v[i][j] = nlt_test_below(9) ? v[i][j - 1] : -v[i][j - 1];
                }
                if (j % 64 == 0) {
                    present[i][j / 64] = 0;
                }
                present[i][j / 64] |= (uint64_t) there << j % 64;
                if (there) {
                    if (any) {
                        nlt_buf_add_c(&want, ",");
                    }
                    any = true;
                    nlt_json_point(
                        &want, value.t_start_ms + (int64_t) j * value.step_ms,
                        v[i][j]);
                }
            }
            nlt_buf_add_c(&want, "]}");
        }
        nlt_buf_add(&want, "]}}", 4);
        begin();
        drain(&s, 100 + k);
        NLT_CHECK_STR(text(), want.data);
        nlt_buf_deinit(&want);
        nlt_buf_deinit(&buf);
    }
}

static void
a_vector_has_one_value_and_an_empty_one_no_null(void)
{
    double v[] = {nlt_double_of(NLT_NORMAL_NAN_BITS)};
    nlt_value_series_t series = {.labels = {job, 1}, .v = v, .n = 1};
    nlt_value_t value = {.type = NLT_VALUE_VECTOR,
                         .t_start_ms = 1230,
                         .n_steps = 1,
                         .series = &series,
                         .n_series = 1};
    nlt_json_stream_t s = {.kind = NLT_JSON_VALUE, .value = &value};

    begin();
    drain(&s, 4096);
    NLT_CHECK_STR(text(),
                  "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\""
                  ",\"result\":[{\"metric\":{\"__name__\":\"m\"},\"value\":"
                  "[1.230,\"NaN\"]}]}}");
    value.n_series = 0;
    drain(&s, 4096);
    NLT_CHECK_STR(text(),
                  "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\""
                  ",\"result\":[]}}");
    nlt_buf_deinit(&buf);
}

static void
scalars_are_plain_and_their_time_is_short(void)
{
    double v[] = {1e21};
    nlt_value_series_t series = {.v = v, .n = 1};
    nlt_value_t value = {.type = NLT_VALUE_SCALAR,
                         .t_start_ms = 1230,
                         .n_steps = 1,
                         .series = &series,
                         .n_series = 1};
    nlt_json_stream_t s = {.kind = NLT_JSON_VALUE, .value = &value};

    begin();
    drain(&s, 7);
    NLT_CHECK_STR(text(),
                  "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\""
                  ",\"result\":[1.23,\"1000000000000000000000\"]}}");
    value.type = NLT_VALUE_STRING;
    value.string = NLT_STR("a<b");
    drain(&s, 7);
    NLT_CHECK_STR(text(),
                  "{\"status\":\"success\",\"data\":{\"resultType\":\"string\""
                  ",\"result\":[1.23,\"a\\u003cb\"]}}");
    nlt_buf_deinit(&buf);
}

static void
lists_and_label_sets(void)
{
    nlt_str_t list[] = {NLT_STR("a"), NLT_STR("<")};
    nlt_labels_t sets[] = {{job, 2}, {job, 1}};
    nlt_annot_t w = {NULL, NLT_STR("cut")};
    nlt_annots_t annots = {.warnings = &w};
    nlt_json_stream_t s = {.kind = NLT_JSON_LIST, .list = list, .n = 2};

    begin();
    drain(&s, 5);
    NLT_CHECK_STR(text(), "{\"status\":\"success\",\"data\":[\"a\","
                          "\"\\u003c\"]}");
    s.kind = NLT_JSON_LABELS;
    s.sets = sets;
    s.annots = &annots;
    drain(&s, 5);
    NLT_CHECK_STR(text(), "{\"status\":\"success\",\"data\":[{\"__name__\":"
                          "\"m\",\"job\":\"<x>\"},{\"__name__\":\"m\"}],"
                          "\"warnings\":[\"cut\"]}");
    nlt_buf_deinit(&buf);
}

static void
an_element_over_the_maximum_ends_the_stream_with_its_code(void)
{
    size_t len = 11u << 20;
    char *big = calloc(1, len); /* each byte escapes to six */
    nlt_str_t list[] = {{len, big}};
    nlt_json_stream_t s = {.kind = NLT_JSON_LIST, .list = list, .n = 1};
    char out[4096];
    size_t n;
    nlt_rc_t rc;

    nlt_json_stream_init(&s, &nlt_mem_libc);
    rc = nlt_json_stream_take(&s, out, sizeof(out), &n);
    NLT_CHECK_INT(rc, NLT_ETOOBIG);
    nlt_json_stream_deinit(&s);
    free(big);
}

/* Strings are looked at by words: one byte at each place of each length. */
static void
an_odd_byte_is_found_at_any_place(void)
{
    static const char odd[] = {'"', '\\', '<', '>', '&', 0x01, 0x1f};

    for (size_t len = 1; len <= 26; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t o = 0; o < sizeof(odd); o++) {
                char text[32], plain[64];
                nlt_buf_t b;

                memset(text, 'x', len);
                text[at] = odd[o];
                nlt_buf_init(&b, &nlt_mem_libc, 4096);
                nlt_json_string(&b, (nlt_str_t){len, text}, true);
                NLT_CHECK_INT(b.len, len + 2 + (o < 2 ? 1 : 5));
                memset(plain, 'x', sizeof(plain));
                NLT_CHECK(memcmp(b.data + 1, plain, at) == 0);
                NLT_CHECK(b.data[1 + at] == '\\');
                NLT_CHECK(
                    memcmp(b.data + b.len - (len - at), plain, len - at - 1)
                    == 0);
                nlt_buf_deinit(&b);
            }
        }
    }
}

/* Pairs that may stand as they are go a way of their own. */
static void
label_sets_are_their_strings(void)
{
    static const char from[] = "abcdefghijklmnopqrstuvwxyz_0123456789/-.:";
    static const char odd[] = "\"\\\n\x01\xc3\xa9<&>";

    for (int round = 0; round < 3000; round++) {
        char room[8][2][40];
        nlt_label_t l[8];
        nlt_buf_t got, want;
        size_t n = nlt_test_below(9);

        nlt_buf_init(&got, &nlt_mem_libc, 4096);
        nlt_buf_init(&want, &nlt_mem_libc, 4096);
        nlt_buf_add_byte(&want, '{');
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < 2; k++) {
                size_t len = nlt_test_below(k ? 40 : 20);

                for (size_t c = 0; c < len; c++) {
                    room[i][k][c] =
                        nlt_test_below(60)
                            ? from[nlt_test_below(sizeof(from) - 1)]
                            : odd[nlt_test_below(sizeof(odd) - 1)];
                }
                *(k ? &l[i].value : &l[i].name) = (nlt_str_t){len, room[i][k]};
                nlt_buf_add_c(&want, k ? ":" : i ? "," : "");
                nlt_json_string(&want, (nlt_str_t){len, room[i][k]}, false);
            }
        }
        nlt_buf_add_byte(&want, '}');
        nlt_json_labels(&got, (nlt_labels_t){l, n});
        NLT_CHECK(nlt_str_eq(nlt_buf_str(&got), nlt_buf_str(&want)));
        nlt_buf_deinit(&got);
        nlt_buf_deinit(&want);
    }
}

int
main(void)
{
    NLT_TEST(strings_of_results_escape_only_what_json_demands);
    NLT_TEST(strings_of_lists_escape_html_too);
    NLT_TEST(any_byte_is_escaped_wherever_it_stands);
    NLT_TEST(times_have_three_decimals_or_none);
    NLT_TEST(errors_have_the_order_of_keys);
    NLT_TEST(a_matrix_leaves_out_absent_points);
    NLT_TEST(series_of_a_grid_have_its_times);
    NLT_TEST(label_sets_are_their_strings);
    NLT_TEST(a_vector_has_one_value_and_an_empty_one_no_null);
    NLT_TEST(scalars_are_plain_and_their_time_is_short);
    NLT_TEST(lists_and_label_sets);
    NLT_TEST(an_element_over_the_maximum_ends_the_stream_with_its_code);
    NLT_TEST(an_odd_byte_is_found_at_any_place);
    return nlt_test_done();
}

/* nlt_time_test.c - durations and instants; the calendar against libc's. */
#include "nlt_time.h"
#include "nlt_test.h"

#define NOT_VALID(s) "not a valid duration string: \"" s "\""

static const struct {
    const char *text;
    int64_t ms;
    const char *error; /* NULL: none */
} durations[] = {
    {"0", 0, NULL},
    {"0s", 0, NULL},
    {"1ms", 1, NULL},
    {"5m", 300000, NULL},
    {"1h30m", 5400000, NULL},
    {"1y2w3d4h5m6s7ms", INT64_C(33019506007), NULL},
    {"100000000ms", 100000000, NULL},
    {"292y", INT64_C(292) * 365 * 86400000, NULL},
    {"293y", 0, "duration out of range"},
    {"292y300d", 0, "duration out of range"},
    {"99999999999999999999s", 0, NOT_VALID("99999999999999999999s")},
    {"9999999999999999999s", 0, "duration out of range"},
    {"", 0, "empty duration string"},
    {"1", 0, NOT_VALID("1")},
    {"00", 0, NOT_VALID("00")},
    {"s", 0, NOT_VALID("s")},
    {"-1s", 0, NOT_VALID("-1s")},
    {"1s1", 0, NOT_VALID("1s1")},
    {"1m1h", 0, NOT_VALID("1m1h")},
    {"1m1m", 0, NOT_VALID("1m1m")},
    {"1.5h", 0, "unknown unit \".\" in duration \"1.5h\""},
    {"1x", 0, "unknown unit \"x\" in duration \"1x\""},
    {"5m ", 0, "unknown unit \"m \" in duration \"5m \""},
};

static void
durations_are_read_as_prometheus_reads_them(void)
{
    for (size_t i = 0; i < NLT_COUNT(durations); i++) {
        int64_t ms = -1;
        nlt_err_t err;
        nlt_rc_t rc = nlt_time_parse_duration(nlt_test_str(durations[i].text),
                                              &ms, &err);

        NLT_CHECK_INT(rc, durations[i].error ? NLT_EINVAL : NLT_OK);
        NLT_CHECK_INT(ms, durations[i].ms);
        if (rc != NLT_OK && durations[i].error != NULL) {
            NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                          durations[i].error);
        }
    }
}

static void
durations_print_and_read_back(void)
{
    char out[64];

    NLT_CHECK_STR(((nlt_str_t){nlt_time_print_duration(out, 0), out}), "0s");
    NLT_CHECK_STR(((nlt_str_t){nlt_time_print_duration(out, 5400000), out}),
                  "1h30m");
    NLT_CHECK_STR(
        ((nlt_str_t){nlt_time_print_duration(out, INT64_C(7776000000)), out}),
        "90d");
    NLT_CHECK_STR(
        ((nlt_str_t){nlt_time_print_duration(out, 14 * 86400000), out}), "2w");
    NLT_CHECK_STR(
        ((nlt_str_t){nlt_time_print_duration(out, INT64_C(31536000000)), out}),
        "1y");
    (void) nlt_test_seed();
    for (int i = 0; i < 20000; i++) {
        int64_t ms = (int64_t) (nlt_test_rand() >> (21 + nlt_test_below(40)));
        int64_t back;
        size_t n = nlt_time_print_duration(out, ms);

        NLT_CHECK(n < sizeof(out));
        NLT_CHECK_INT(
            nlt_time_parse_duration((nlt_str_t){n, out}, &back, NULL), NLT_OK);
        NLT_CHECK_INT(back, ms);
    }
}

static const struct {
    const char *text;
    nlt_rc_t rc;
    int64_t ms;
} instants[] = {
    {"0", NLT_OK, 0},
    {"1", NLT_OK, 1000},
    {"1.5", NLT_OK, 1500},
    {"-0.5", NLT_OK, -500},
    {"-1.5", NLT_OK, -1500},
    {"1435781451.781", NLT_OK, INT64_C(1435781451781)},
    {"0.0004", NLT_OK, 0},
    {"0.0005", NLT_OK, 1},
    {"1e3", NLT_OK, 1000000},
    {"1_000.5", NLT_OK, 1000500},
    {"0x_1p4", NLT_OK, 16000},
    {"1__0", NLT_EINVAL, 0},
    {"1_", NLT_EINVAL, 0},
    {"1_.5", NLT_EINVAL, 0},
    {"1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_"
     "1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1",
     NLT_EINVAL, 0},
    {"1e300", NLT_OK, NLT_TIME_INSTANT_MAX_MS},
    {"-Inf", NLT_OK, -NLT_TIME_INSTANT_MAX_MS},
    {"NaN", NLT_EINVAL, 0},
    {"1e400", NLT_EINVAL, 0},
    {"", NLT_EINVAL, 0},
    {"foo", NLT_EINVAL, 0},
    {"30s", NLT_EINVAL, 0},
    {"1970-01-01T00:00:00Z", NLT_OK, 0},
    {"2015-07-01T20:10:51.781Z", NLT_OK, INT64_C(1435781451781)},
    {"2015-07-01T20:10:51.781999999Z", NLT_OK, INT64_C(1435781451781)},
    {"2015-07-01T22:10:51.781+02:00", NLT_OK, INT64_C(1435781451781)},
    {"2015-07-01T18:40:51,781-01:30", NLT_OK, INT64_C(1435781451781)},
    {"0001-01-01T00:00:00Z", NLT_OK, INT64_C(-62135596800000)},
    {"9999-12-31T23:59:59Z", NLT_OK, INT64_C(253402300799000)},
    {"2024-02-29T00:00:00Z", NLT_OK, INT64_C(1709164800000)},
    {"2023-02-29T00:00:00Z", NLT_EINVAL, 0},
    {"2023-13-01T00:00:00Z", NLT_EINVAL, 0},
    {"2023-00-01T00:00:00Z", NLT_EINVAL, 0},
    {"2023-01-01T24:00:00Z", NLT_EINVAL, 0},
    {"2023-01-01T00:60:00Z", NLT_EINVAL, 0},
    {"2023-01-01T00:00:60Z", NLT_EINVAL, 0},
    {"2023-01-01T00:00:00", NLT_EINVAL, 0},
    {"2023-01-01T00:00:00.Z", NLT_EINVAL, 0},
    {"2023-01-01T00:00:00ZZ", NLT_EINVAL, 0},
    {"2023-01-01 00:00:00Z", NLT_EINVAL, 0},
    {"2023-01-01T00:00:00+0200", NLT_EINVAL, 0},
    {"-292273086-05-16T16:47:06Z", NLT_OK, -INT64_C(9223309901257974000)},
    {"292277025-08-18T07:12:54.999999999Z", NLT_OK,
     INT64_C(9223309901257974999)},
};

static void
instants_are_read_as_prometheus_reads_them(void)
{
    for (size_t i = 0; i < NLT_COUNT(instants); i++) {
        int64_t ms = -1;

        NLT_CHECK_INT(
            nlt_time_parse_instant(nlt_test_str(instants[i].text), &ms),
            instants[i].rc);
        NLT_CHECK_INT(ms, instants[i].ms);
        if (ms != instants[i].ms) {
            printf("# %s\n", instants[i].text);
        }
    }
}

static void
no_prefix_of_an_instant_is_read_beyond_its_end(void)
{
    static const char whole[] = "2015-07-01T22:10:51.781+02:00";
    int64_t ms;

    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        char *copy = malloc(n + 1);

        memcpy(copy, whole, n);
        nlt_rc_t rc = nlt_time_parse_instant((nlt_str_t){n, copy}, &ms);
        NLT_CHECK_INT(rc, n > 0 && n <= 4 ? NLT_OK : NLT_EINVAL);
        free(copy);
    }
}

static void
steps_are_seconds_or_durations(void)
{
    static const struct {
        const char *text;
        nlt_rc_t rc;
        int64_t ns;
    } steps[] = {
        {"15", NLT_OK, INT64_C(15000000000)},
        {"0.5", NLT_OK, 500000000},
        {"1m", NLT_OK, INT64_C(60000000000)},
        {"-1", NLT_OK, -1000000000},
        {"0", NLT_OK, 0},
        {"0.0001", NLT_OK, 100000},
        {"1_0", NLT_OK, INT64_C(10000000000)},
        {"-1s", NLT_EINVAL, 0},
        {"", NLT_EINVAL, 0},
        {"_1", NLT_EINVAL, 0},
        {"foo", NLT_EINVAL, 0},
        {"1e400", NLT_EINVAL, 0},
        {"1e10", NLT_ELIMIT, 0},
        {"-1e10", NLT_ELIMIT, 0},
        {"Inf", NLT_ELIMIT, 0},
        {"NaN", NLT_OK, INT64_MIN},
    };

    for (size_t i = 0; i < NLT_COUNT(steps); i++) {
        int64_t ns = -1;

        NLT_CHECK_INT(nlt_time_parse_step(nlt_test_str(steps[i].text), &ns),
                      steps[i].rc);
        NLT_CHECK_INT(ns, steps[i].ns);
    }
}

static void
the_calendar_equals_libc(void)
{
    (void) nlt_test_seed();
    for (int i = 0; i < 50000; i++) {
        int64_t t_s = (int64_t) (nlt_test_rand() >> (12 + nlt_test_below(40)));
        struct tm tm;
        char out[40];

        t_s = i & 1 ? -t_s : t_s;
        time_t t = (time_t) t_s;
        nlt_time_civil_t c =
            nlt_time_civil(t_s * 1000 + (int64_t) nlt_test_below(1000));
        if (gmtime_r(&t, &tm) == NULL) {
            continue;
        }
        NLT_CHECK_INT(c.year, (int64_t) tm.tm_year + 1900);
        NLT_CHECK_INT(c.month, tm.tm_mon + 1);
        NLT_CHECK_INT(c.day, tm.tm_mday);
        NLT_CHECK_INT(c.hour, tm.tm_hour);
        NLT_CHECK_INT(c.minute, tm.tm_min);
        NLT_CHECK_INT(c.second, tm.tm_sec);
        NLT_CHECK_INT(c.weekday, tm.tm_wday);
        NLT_CHECK_INT(c.yearday, tm.tm_yday + 1);
        if (c.year >= 0 && c.year <= 9999) {
            int64_t back;
            size_t n = nlt_time_print_rfc3339(out, t_s * 1000);

            NLT_CHECK_INT(nlt_time_parse_instant((nlt_str_t){n, out}, &back),
                          NLT_OK);
            NLT_CHECK_INT(back, t_s * 1000);
        }
    }
}

static void
extreme_instants_print(void)
{
    char out[40];

    NLT_CHECK_STR(((nlt_str_t){nlt_time_print_rfc3339(out, INT64_MAX), out}),
                  "292278994-08-17T07:12:55Z");
    NLT_CHECK_STR(((nlt_str_t){nlt_time_print_rfc3339(out, INT64_MIN), out}),
                  "-292275055-05-16T16:47:04Z");
    NLT_CHECK_STR(((nlt_str_t){nlt_time_print_rfc3339(out, -1), out}),
                  "1969-12-31T23:59:59Z");
    /* The ends of time that are read as words are these instants. */
    NLT_CHECK_STR(
        ((nlt_str_t){
            nlt_time_print_rfc3339(out, -INT64_C(9223309901257974000)), out}),
        "-292273086-05-16T16:47:06Z");
    NLT_CHECK_STR(
        ((nlt_str_t){nlt_time_print_rfc3339(out, INT64_C(9223309901257974999)),
                     out}),
        "292277025-08-18T07:12:54Z");
    NLT_CHECK_INT(nlt_time_days_in_month(2000, 2), 29);
    NLT_CHECK_INT(nlt_time_days_in_month(1900, 2), 28);
    NLT_CHECK_INT(nlt_time_days_in_month(2023, 12), 31);
    NLT_CHECK_INT(nlt_time_days_in_month(2023, 13), 0);
}

int
main(void)
{
    NLT_TEST(durations_are_read_as_prometheus_reads_them);
    NLT_TEST(durations_print_and_read_back);
    NLT_TEST(instants_are_read_as_prometheus_reads_them);
    NLT_TEST(no_prefix_of_an_instant_is_read_beyond_its_end);
    NLT_TEST(steps_are_seconds_or_durations);
    NLT_TEST(the_calendar_equals_libc);
    NLT_TEST(extreme_instants_print);
    return nlt_test_done();
}

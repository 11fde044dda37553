/*
 * nlt_time.c - durations and instants.
 */
#include "nlt_time.h"

#include <math.h>
#include <stdio.h>

#include "nlt_num.h"

#define MS_PER_DAY INT64_C(86400000)

typedef struct {
    char name[4];
    int64_t ms;
} unit_t;

/* In the order they must come in. */
static const unit_t units[] = {
    {"y", 365 * MS_PER_DAY},
    {"w", 7 * MS_PER_DAY},
    {"d", MS_PER_DAY},
    {"h", 3600000},
    {"m", 60000},
    {"s", 1000},
    {"ms", 1},
};

/* Prometheus counts nanoseconds in an int64: about 292 years. */
#define DURATION_NS_MAX ((uint64_t) INT64_MAX)

/* Reports text with the duration quoted plainly: it is what a user typed. */
static nlt_rc_t
bad_duration(nlt_err_t *err, nlt_str_t s)
{
    return nlt_err_set(err, NLT_EINVAL,
                       "not a valid duration string: \"%.*s\"", NLT_FMT(s));
}

static size_t
unit_of(nlt_str_t name)
{
    size_t i;

    for (i = 0; i < NLT_COUNT(units); i++) {
        if (name.len == strlen(units[i].name)
            && memcmp(name.data, units[i].name, name.len) == 0) {
            break;
        }
    }
    return i;
}

static inline bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

nlt_rc_t
nlt_time_parse_duration(nlt_str_t s, int64_t *out_ms, nlt_err_t *err)
{
    uint64_t total_ns = 0;
    size_t next_unit = 0;
    size_t i = 0;

    *out_ms = 0;
    if (s.len == 0) {
        return nlt_err_set(err, NLT_EINVAL, "empty duration string");
    }
    if (s.len == 1 && s.data[0] == '0') {
        return NLT_OK;
    }
    while (i < s.len) {
        uint64_t v = 0;
        size_t digits = i, name;

        for (; i < s.len && is_digit(s.data[i]); i++) {
            if (__builtin_mul_overflow(v, (uint64_t) 10, &v)
                || __builtin_add_overflow(v, (uint64_t) (s.data[i] - '0'),
                                          &v)) {
                return bad_duration(err, s);
            }
        }
        name = i;
        while (i < s.len && !is_digit(s.data[i])) {
            i++;
        }
        if (digits == name || name == i) {
            return bad_duration(err, s);
        }
        nlt_str_t unit = {i - name, s.data + name};
        size_t u = unit_of(unit);

        if (u == NLT_COUNT(units)) {
            return nlt_err_set(err, NLT_EINVAL,
                               "unknown unit \"%.*s\" in duration \"%.*s\"",
                               NLT_FMT(unit), NLT_FMT(s));
        }
        if (u < next_unit) {
            return bad_duration(err, s);
        }
        next_unit = u + 1;
        if (__builtin_mul_overflow(v, (uint64_t) units[u].ms * 1000000, &v)
            || __builtin_add_overflow(total_ns, v, &total_ns)
            || total_ns > DURATION_NS_MAX) {
            return nlt_err_set(err, NLT_EINVAL, "duration out of range");
        }
    }
    *out_ms = (int64_t) (total_ns / 1000000);
    return NLT_OK;
}

static size_t
put_i64(char *out, int64_t v)
{
    int n = snprintf(out, 24, "%lld", (long long) v);

    return n > 0 ? (size_t) n : 0;
}

size_t
nlt_time_print_duration(char *out, int64_t ms)
{
    size_t n = 0;

    if (ms <= 0) {
        memcpy(out, "0s", 2);
        return 2;
    }
    for (size_t i = 0; i < NLT_COUNT(units); i++) {
        int64_t v = ms / units[i].ms;
        size_t name_len = strlen(units[i].name);

        /* Years and weeks only when they come out even: 90d, not 12w6d. */
        if (v == 0 || (i < 2 && ms % units[i].ms != 0)) {
            continue;
        }
        n += put_i64(out + n, v);
        memcpy(out + n, units[i].name, name_len);
        n += name_len;
        ms -= v * units[i].ms;
    }
    return n;
}

/* Days since 1970-01-01 of a civil date; the calendar's eras of 400 years. */
static int64_t
days_of_civil(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t shifted = month > 2 ? month - 3 : month + 9; /* March is 0 */
    int64_t day_of_year = (153 * shifted + 2) / 5 + day - 1;
    int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static bool
is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int
nlt_time_days_in_month(int64_t year, int month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30,
                                  31, 31, 30, 31, 30, 31};

    if (month < 1 || month > 12) {
        return 0;
    }
    return days[month - 1] + (month == 2 && is_leap(year));
}

nlt_time_civil_t
nlt_time_civil(int64_t t_ms)
{
    nlt_time_civil_t c;
    int64_t day = t_ms / MS_PER_DAY;
    int64_t rest = t_ms % MS_PER_DAY;

    if (rest < 0) {
        day--;
        rest += MS_PER_DAY;
    }
    int64_t weekday = (day + 4) % 7; /* the epoch was a Thursday */
    int64_t z = day + 719468;        /* since 0000-03-01 */
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524
                           - day_of_era / 146096)
                          / 365;
    int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;

    c.day = (int) (day_of_year - (153 * shifted + 2) / 5 + 1);
    c.month = (int) (shifted < 10 ? shifted + 3 : shifted - 9);
    c.year = year_of_era + era * 400 + (c.month <= 2);
    c.weekday = (int) (weekday < 0 ? weekday + 7 : weekday);
    c.yearday = (int) (day - days_of_civil(c.year, 1, 1) + 1);
    rest /= 1000;
    c.hour = (int) (rest / 3600);
    c.minute = (int) (rest / 60 % 60);
    c.second = (int) (rest % 60);
    return c;
}

size_t
nlt_time_print_rfc3339(char *out, int64_t t_ms)
{
    nlt_time_civil_t c = nlt_time_civil(t_ms);
    int n = snprintf(out, 40, "%s%04lld-%02d-%02dT%02d:%02d:%02dZ",
                     c.year < 0 ? "-" : "",
                     (long long) (c.year < 0 ? -c.year : c.year), c.month,
                     c.day, c.hour, c.minute, c.second);

    return n > 0 ? (size_t) n : 0;
}

/* Exactly n digits at *i with a value in [min, max]; moves *i. */
static bool
read_fixed(nlt_str_t s, size_t *i, unsigned n, int min, int max, int *out)
{
    int v = 0;

    if (s.len - *i < n) {
        return false;
    }
    for (unsigned k = 0; k < n; k++) {
        char c = s.data[(*i)++];

        if (!is_digit(c)) {
            return false;
        }
        v = v * 10 + (c - '0');
    }
    *out = v;
    return v >= min && v <= max;
}

static bool
read_char(nlt_str_t s, size_t *i, char c)
{
    return *i < s.len && s.data[(*i)++] == c;
}

/* ".123456789": milliseconds of it; more digits than nine are passed over. */
static bool
read_fraction(nlt_str_t s, size_t *i, int *out_ms)
{
    int ms = 0, weight = 100;
    size_t begin;

    *out_ms = 0;
    if (*i >= s.len || (s.data[*i] != '.' && s.data[*i] != ',')) {
        return true;
    }
    begin = ++*i;
    for (; *i < s.len && is_digit(s.data[*i]); (*i)++) {
        ms += weight * (s.data[*i] - '0');
        weight /= 10;
    }
    *out_ms = ms;
    return *i > begin;
}

/* "Z" or "+hh:mm"; Go lets 24 hours and 60 minutes pass. */
static bool
read_zone(nlt_str_t s, size_t *i, int64_t *out_ms)
{
    int hours, minutes;
    char sign;

    *out_ms = 0;
    if (*i >= s.len) {
        return false;
    }
    sign = s.data[(*i)++];
    if (sign == 'Z') {
        return true;
    }
    if ((sign != '+' && sign != '-') || !read_fixed(s, i, 2, 0, 24, &hours)
        || !read_char(s, i, ':') || !read_fixed(s, i, 2, 0, 60, &minutes)) {
        return false;
    }
    *out_ms = (hours * INT64_C(3600) + minutes * INT64_C(60)) * 1000;
    if (sign == '-') {
        *out_ms = -*out_ms;
    }
    return true;
}

static nlt_rc_t
parse_rfc3339(nlt_str_t s, int64_t *out_ms)
{
    int year, month, day, hour, minute, second, ms;
    int64_t zone_ms;
    size_t i = 0;

    if (!read_fixed(s, &i, 4, 0, 9999, &year) || !read_char(s, &i, '-')
        || !read_fixed(s, &i, 2, 1, 12, &month) || !read_char(s, &i, '-')
        || !read_fixed(s, &i, 2, 1, nlt_time_days_in_month(year, month), &day)
        || !read_char(s, &i, 'T') || !read_fixed(s, &i, 2, 0, 23, &hour)
        || !read_char(s, &i, ':') || !read_fixed(s, &i, 2, 0, 59, &minute)
        || !read_char(s, &i, ':') || !read_fixed(s, &i, 2, 0, 59, &second)
        || !read_fraction(s, &i, &ms) || !read_zone(s, &i, &zone_ms)
        || i != s.len) {
        return NLT_EINVAL;
    }
    *out_ms = days_of_civil(year, month, day) * MS_PER_DAY
              + (hour * INT64_C(3600) + minute * INT64_C(60) + second) * 1000
              + ms - zone_ms;
    return NLT_OK;
}

/* Prometheus's own ends of time, which no RFC 3339 parser takes. */
#define BEGIN_OF_TIME_TEXT NLT_STR("-292273086-05-16T16:47:06Z")
#define END_OF_TIME_TEXT   NLT_STR("292277025-08-18T07:12:54.999999999Z")
#define BEGIN_OF_TIME_MS   INT64_C(-9223309901257974000)
#define END_OF_TIME_MS     INT64_C(9223309901257974999)

/*
 * nlt_num_parse(), but Go takes underscores too, each between two digits or
 * behind 0x.
 */
static int
parse_seconds(nlt_str_t s, double *v)
{
    char plain[64];
    size_t n = 0;
    bool hex = s.len > 2 && (s.data[1] | 0x20) == 'x';

    *v = 0;
    if (s.len == 0 || memchr(s.data, '_', s.len) == NULL) {
        return nlt_num_parse(s, v);
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];

        if (c == '_') {
            char before = i > 0 ? s.data[i - 1] : '_';
            char after = i + 1 < s.len ? s.data[i + 1] : '_';
            bool good = hex ? (nlt_hex_digit(before) >= 0 || i == 2)
                                  && nlt_hex_digit(after) >= 0
                            : is_digit(before) && is_digit(after);

            if (!good) {
                return 1;
            }
        } else if (n == sizeof(plain)) {
            return 1;
        } else {
            plain[n++] = c;
        }
    }
    return nlt_num_parse((nlt_str_t){n, plain}, v);
}

nlt_rc_t
nlt_time_parse_instant(nlt_str_t s, int64_t *out_ms)
{
    const double limit_s = (double) (INT64_MAX / 1000 - 1);
    double v, whole, fraction;
    int rc = parse_seconds(s, &v);

    *out_ms = 0;
    if (rc == 2 || (rc == 0 && isnan(v))) {
        return NLT_EINVAL;
    }
    if (nlt_str_eq(s, BEGIN_OF_TIME_TEXT)) {
        *out_ms = BEGIN_OF_TIME_MS;
        return NLT_OK;
    }
    if (nlt_str_eq(s, END_OF_TIME_TEXT)) {
        *out_ms = END_OF_TIME_MS;
        return NLT_OK;
    }
    if (rc != 0) {
        return parse_rfc3339(s, out_ms);
    }
    if (v >= limit_s || v <= -limit_s) {
        *out_ms = v > 0 ? NLT_TIME_INSTANT_MAX_MS : -NLT_TIME_INSTANT_MAX_MS;
        return NLT_OK;
    }
    /* The same steps as Prometheus takes, so that halves fall alike. */
    fraction = modf(v, &whole);
    fraction = round(fraction * 1000) / 1000;
    int64_t ns = (int64_t) (fraction * 1e9);
    int64_t ms = ns / 1000000 - (ns % 1000000 < 0);

    *out_ms = (int64_t) whole * 1000 + ms;
    return NLT_OK;
}

nlt_rc_t
nlt_time_parse_step(nlt_str_t s, int64_t *out_ns)
{
    double v;
    int rc = parse_seconds(s, &v);

    *out_ns = 0;
    if (rc != 0) {
        int64_t ms;
        nlt_rc_t bad = nlt_time_parse_duration(s, &ms, NULL);

        *out_ns = ms * 1000000;
        return bad;
    }
    v *= 1e9;
    if (v > 0x1p63 || v < -0x1p63) {
        return NLT_ELIMIT;
    }
    /* 2^63 itself and NaN become the smallest number, as in Go on amd64. */
    *out_ns = v >= -0x1p63 && v < 0x1p63 ? (int64_t) v : INT64_MIN;
    return NLT_OK;
}

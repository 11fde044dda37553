/*
 * nlt_pql_fn_time.c - parts of the date, in UTC, of a value in seconds.
 */
#include "nlt_pql_fn.h"
#include "nlt_time.h"

/* Seconds whose milliseconds fit an int64: 292 million years both ways. */
#define SECONDS_MAX 9.2e15

/*
 * The day 0000-03-01 of the calendar that goes on both ways, 400 years at a
 * time, is FAR_YEARS years after second 0 of the far past.
 */
#define FAR_YEARS   INT64_C(292277022400)
#define FAR_SECONDS UINT64_C(9223372028741760000) /* its distance to 1970 */

/*
 * What is so far from today that milliseconds do not reach it: seconds are
 * counted from the far past, and before it, from the far future.
 */
static nlt_time_civil_t
far_civil(int64_t seconds)
{
    uint64_t s = (uint64_t) seconds + FAR_SECONDS;
    uint64_t day = s / 86400, time = s % 86400;
    uint64_t year = day / 146097 * 400, y, d = day % 146097;
    nlt_time_civil_t c;

    /* years begin in March here, so that a leap day is the last one */
    y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    d -= 365 * y + y / 4 - y / 100;
    c.month = (int) ((5 * d + 2) / 153);
    c.day = (int) (d - (153 * (uint64_t) c.month + 2) / 5 + 1);
    c.month += c.month < 10 ? 3 : -9;
    year += y + (c.month <= 2);
    c.year = (int64_t) year - FAR_YEARS;
    c.hour = (int) (time / 3600);
    c.minute = (int) (time / 60 % 60);
    c.second = (int) (time % 60);
    c.weekday = (int) ((day + 3) % 7);
    c.yearday = c.day;
    for (int m = 1; m < c.month; m++) {
        c.yearday += nlt_time_days_in_month(c.year, m);
    }
    return c;
}

/*
 * The fraction is cut off towards zero, as Go converts to integer; what no
 * int64 holds (NaN, Inf) means the smallest one there.
 */
static nlt_time_civil_t
civil(double seconds)
{
    if (seconds > -SECONDS_MAX && seconds < SECONDS_MAX) {
        return nlt_time_civil((int64_t) seconds * 1000);
    }
    return far_civil(fabs(seconds) < 0x1p63 ? (int64_t) seconds : INT64_MIN);
}

#define PART(name, expr)                                                      \
    NLT_PQL_MAP_FN(name)                                                      \
    {                                                                         \
        nlt_time_civil_t c = civil(v);                                        \
                                                                              \
        (void) eval_ms;                                                       \
        (void) params;                                                        \
        (void) n_params;                                                      \
        *out = (double) (expr);                                               \
        return true;                                                          \
    }

PART(day_of_month, c.day)
PART(day_of_week, c.weekday)
PART(day_of_year, c.yearday)
PART(days_in_month, nlt_time_days_in_month(c.year, c.month))
PART(hour, c.hour)
PART(minute, c.minute)
PART(month, c.month)
PART(year, c.year)

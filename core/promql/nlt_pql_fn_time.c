/*
 * nlt_pql_fn_time.c - parts of the date, in UTC, of a value in seconds.
 */
#include "nlt_pql_fn.h"
#include "nlt_time.h"

/* Seconds whose milliseconds fit an int64: 292 million years both ways. */
#define SECONDS_MAX 9.2e15

/*
 * The fraction is cut off towards zero, as Go converts to integer; what no
 * int64 holds (NaN, Inf) means the smallest one there, the far past here.
 */
static nlt_time_civil_t
civil(double seconds)
{
    double s = trunc(seconds);

    if (!(s > -SECONDS_MAX && s < SECONDS_MAX)) {
        s = s >= SECONDS_MAX ? SECONDS_MAX : -SECONDS_MAX;
    }
    return nlt_time_civil((int64_t) s * 1000);
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

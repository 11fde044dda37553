/*
 * nlt_time.h - durations and instants as Prometheus's API and PromQL read
 * and print them.
 *
 * Floor 0 (base); uses nlt_rc, nlt_num.
 */
#ifndef NLT_BASE_TIME_H
#define NLT_BASE_TIME_H

#include "nlt_rc.h"

/*
 * "1y2w3d4h5m6s7ms", units in that order, each at most once, integers only;
 * "0" is allowed.  Years have 365 days.  NLT_EINVAL with Prometheus's texts
 * (messages.md G25): not a valid duration string, unknown unit, empty
 * duration string, duration out of range.  *out_ms >= 0.
 */
NLT_CHECKED nlt_rc_t nlt_time_parse_duration(nlt_str_t s, int64_t *out_ms,
                                             nlt_err_t *err);

/* Prints ms >= 0 in the same form, "0s" for 0; the length (< 64). */
size_t nlt_time_print_duration(char *out, int64_t ms);

/* Where instants saturate, both ways. */
#define NLT_TIME_INSTANT_MAX_MS ((INT64_MAX / 1000 - 1) * 1000)

/*
 * An API parameter of time: float seconds (rounded to ms; between digits there
 * may be underscores) or RFC 3339 with
 * nanoseconds, or Prometheus's own texts for the ends of time.  NLT_EINVAL
 * without text: the caller names the parameter.  Seconds beyond
 * +-(2^63 / 1000 - 1) saturate at NLT_TIME_INSTANT_MAX_MS; NaN is refused.
 */
NLT_CHECKED nlt_rc_t nlt_time_parse_instant(nlt_str_t s, int64_t *out_ms);

/* An API parameter of duration: float seconds or the form above, in ns.
 * NLT_EINVAL: neither; NLT_ELIMIT: overflows int64 nanoseconds. */
NLT_CHECKED nlt_rc_t nlt_time_parse_step(nlt_str_t s, int64_t *out_ns);

/* "2006-01-02T15:04:05Z" of Unix milliseconds; the length (< 40). */
size_t nlt_time_print_rfc3339(char *out, int64_t t_ms);

/* Civil UTC fields of Unix milliseconds, any int64. */
typedef struct {
    int64_t year;
    int month;   /* 1..12 */
    int day;     /* 1..31 */
    int hour;    /* 0..23 */
    int minute;  /* 0..59 */
    int second;  /* 0..59 */
    int weekday; /* 0 is Sunday */
    int yearday; /* 1..366 */
} nlt_time_civil_t;

/* The fields of an instant, rounded down to seconds.  O(1). */
nlt_time_civil_t nlt_time_civil(int64_t t_ms);

/* Days of a month, 28..31. */
int nlt_time_days_in_month(int64_t year, int month);

#endif

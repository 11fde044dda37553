#include "nlt_decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

nlt_decimal_t
nlt_decimal_shortest(double v)
{
    char room[40];
    nlt_decimal_t d = {0, 0};

    for (int prec = 0; prec < 17; prec++) {
        snprintf(room, sizeof(room), "%.*e", prec, v);
        if (strtod(room, NULL) == v || prec == 16) {
            char *e = strchr(room, 'e');

            d.exp10 = atoi(e + 1) - prec;
            for (char *p = room; p < e; p++) {
                if (*p >= '0' && *p <= '9') {
                    d.digits = d.digits * 10 + (uint64_t) (*p - '0');
                }
            }
            break;
        }
    }
    while (d.digits % 10 == 0) {
        d.digits /= 10;
        d.exp10++;
    }
    return d;
}

double
nlt_decimal_read(nlt_str_t s, int64_t exp10)
{
    char room[900];

    snprintf(room, sizeof(room), "%.*se%lld",
             (int) (s.len > 800 ? 800 : s.len), s.data, (long long) exp10);
    return strtod(room, NULL);
}

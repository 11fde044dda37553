/*
 * nlt_sample.h - one float sample.
 *
 * Floor 1 (model); uses base.
 */
#ifndef NLT_MODEL_SAMPLE_H
#define NLT_MODEL_SAMPLE_H

#include "nlt_types.h"

typedef struct {
    int64_t t_ms;
    double v;
} nlt_sample_t;

#endif

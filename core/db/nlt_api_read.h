/*
 * nlt_api_read.h - inside of remote_read: what its two files share.
 *
 * Floor 4 (db); uses wire, store.
 *
 *   nlt_api_read.c         the request, and answers of samples
 *   nlt_api_read_stream.c  answers of chunks, a part at a time
 */
#ifndef NLT_DB_API_READ_H
#define NLT_DB_API_READ_H

#include "nlt_api.h"
#include "nlt_remote_read.h"
#include "nlt_remote_write.h"

/* One request; in the job's pool. */
typedef struct {
    nlt_rr_request_t req;
    nlt_rr_type_t type;
    nlt_select_t *sels; /* one of each query */
    size_t n_compiled;  /* queries whose matchers are to be released */
} nlt_api_read_t;

/* Are only the label sets wanted? */
static inline bool
nlt_api_read_only_names(const nlt_rr_query_t *q)
{
    return nlt_str_eq(q->func, NLT_STR("series"));
}

/* Answers with a flow of frames. */
void nlt_api_read_stream(nlt_api_t *a, nlt_api_read_t *r);

/* Gives the matchers back; may be called twice. */
void nlt_api_read_release(nlt_api_read_t *r);

#endif

/*
 * nlt_api_multipart.h - forms as multipart/form-data, what `curl -F` sends.
 *
 * Floor 4 (db); uses base.
 * Follows: RFC 7578, as Go's mime/multipart reads it; differs: a
 * Content-Transfer-Encoding is not undone.
 *
 *     preamble
 *     --boundary
 *     Content-Disposition: form-data; name="query"
 *
 *     up
 *     --boundary--
 */
#ifndef NLT_DB_API_MULTIPART_H
#define NLT_DB_API_MULTIPART_H

#include "nlt_mem.h"

/* Parts of one form, as in Go. */
#define NLT_MULTIPART_PARTS_MAX 1000

typedef struct {
    nlt_str_t name;  /* in the pool */
    nlt_str_t value; /* in the body */
} nlt_multipart_field_t;

/*
 * The fields of a body, in the pool; files are passed over.  NLT_ENOENT: its
 * type is another one, or has no boundary; NLT_EDATA: it is broken, or has too
 * many parts; NLT_ENOMEM.  O(length).
 */
NLT_CHECKED nlt_rc_t nlt_multipart_read(nlt_pool_t *pool, nlt_str_t type,
                                        nlt_str_t body,
                                        nlt_multipart_field_t **out,
                                        size_t *n);

#endif

/*
 * nlt_api_json.h - the JSON of Prometheus's HTTP API, rendered in parts.
 *
 * Floor 2 (wire); uses base, model.
 * Contract: byte for byte what Prometheus sends, see docs/API.md.
 *
 * An answer may be far larger than the memory it should take to send it, so
 * nothing renders a whole one: a stream holds a position in the result and
 * emits one element at a time (a label set, a point) into a small buffer,
 * from which the caller takes as much as it can send.  Beside it are, at most,
 * the texts of a grid's times, 24 bytes each.
 *
 *   {"status":"success","data":{"resultType":"matrix","result":[
 *      {"metric":{...},"values":[[t,"v"],[t,"v"]]},...]},"warnings":[...]}
 *
 * Two kinds of strings: those of query results and label sets escape only
 * what JSON demands; lists, errors and warnings also escape < > & and
 * U+2028/9, because Go's standard encoder does so there.
 */
#ifndef NLT_WIRE_API_JSON_H
#define NLT_WIRE_API_JSON_H

#include "nlt_buf.h"
#include "nlt_value.h"

/*
 * Longest single element.  A stored label set needs 360 KiB with all its bytes
 * escaped; label_join() and count_values() can make longer ones.
 */
#define NLT_JSON_ELEMENT_MAX (64u << 20)

typedef enum {
    NLT_JSON_TEXT,  /* bytes that are complete already */
    NLT_JSON_VALUE, /* the result of a query */
    NLT_JSON_LIST,  /* strings */
    NLT_JSON_LABELS /* label sets */
} nlt_json_kind_t;

typedef struct {
    nlt_json_kind_t kind;
    nlt_str_t text;             /* of TEXT */
    const nlt_value_t *value;   /* of VALUE */
    nlt_str_t stats;            /* of VALUE: ,"stats":... or empty */
    const nlt_str_t *list;      /* of LIST */
    const nlt_labels_t *sets;   /* of LABELS */
    size_t n;                   /* of LIST and LABELS */
    const nlt_annots_t *annots; /* may be NULL */

    /* position */
    nlt_buf_t buf;  /* rendered, not yet taken */
    size_t taken;   /* of buf */
    unsigned phase; /* 0 begin, 1 elements, 2 end, 3 done */
    size_t idx;     /* element */
    size_t point;   /* in the element */
    bool open;      /* the element has begun */
    bool any;       /* the element has had a point */
    char *times;    /* texts of those of the steps, or NULL */
    size_t n_times; /* of them */
} nlt_json_stream_t;

/* Sets the position to the beginning; the content fields are set before. */
void nlt_json_stream_init(nlt_json_stream_t *s, const nlt_mem_t *mem);
void nlt_json_stream_deinit(nlt_json_stream_t *s);

/*
 * Puts up to cap bytes into out.  NLT_AGAIN: there is more; NLT_OK: that was
 * the end; NLT_ENOMEM, NLT_ETOOBIG: cannot go on.  O(cap).
 */
NLT_CHECKED nlt_rc_t nlt_json_stream_take(nlt_json_stream_t *s, char *out,
                                          size_t cap, size_t *len);

/* Appends "text" with quotes; html: also < > & U+2028 U+2029 and invalid
 * UTF-8, as Go's encoding/json. */
void nlt_json_string(nlt_buf_t *b, nlt_str_t s, bool html);

/* The same without the quotes. */
void nlt_json_chars(nlt_buf_t *b, nlt_str_t s, bool html);

/* Appends {"a":"b",...}. */
void nlt_json_labels(nlt_buf_t *b, nlt_labels_t labels);

/* Appends seconds with exactly three decimals unless they are zero. */
void nlt_json_time(nlt_buf_t *b, int64_t t_ms);

/* Appends a point of a vector or matrix: [t,"v"]. */
void nlt_json_point(nlt_buf_t *b, int64_t t_ms, double v);

/* Appends ,"warnings":[...],"infos":[...] as far as there are any. */
void nlt_json_annots(nlt_buf_t *b, const nlt_annots_t *annots);

/* Appends an error answer:
 * {"status":"error","errorType":"bad_data","error":"..."}. */
void nlt_json_error(nlt_buf_t *b, const char *type, nlt_str_t text);

#endif

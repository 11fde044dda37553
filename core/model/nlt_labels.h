/*
 * nlt_labels.h - a label set: what identifies a series.
 *
 * Floor 1 (model); uses base.
 * Follows: prometheus model/labels; differs: nothing that can be seen.
 *
 * A label set is an array of name/value pairs sorted by name (unsigned
 * bytes), names unique, no empty value: an empty value means that the label
 * is absent.  The metric name is the label __name__.  Sets borrow their
 * strings; who made the array says how long they live.
 */
#ifndef NLT_MODEL_LABELS_H
#define NLT_MODEL_LABELS_H

#include "nlt_utf8.h"

#define NLT_METRIC_NAME NLT_STR("__name__")

/* A label of the store's own (nlt_block_tenant.h); names of labels that begin
 * with NUL are taken from nobody. */
#define NLT_TENANT_NAME NLT_STR("\0t")

typedef struct {
    nlt_str_t name;
    nlt_str_t value;
} nlt_label_t;

typedef struct {
    const nlt_label_t *v; /* n of them, sorted by name */
    size_t n;
} nlt_labels_t;

/* Value of a label, the empty string when absent.  O(log n). */
nlt_str_t nlt_labels_get(nlt_labels_t l, nlt_str_t name);

/* Order of series: label by label, name then value; the shorter first. */
int nlt_labels_cmp(nlt_labels_t a, nlt_labels_t b);

/* How many labels they have in common at the beginning, up to max. */
size_t nlt_labels_alike(nlt_labels_t a, nlt_labels_t b, size_t max);

/* A set without its first n labels, n <= l.n. */
static inline nlt_labels_t
nlt_labels_from(nlt_labels_t l, size_t n)
{
    return n == 0 ? l : (nlt_labels_t){l.v + n, l.n - n};
}

/* Are both sets the same labels?  O(bytes). */
bool nlt_labels_eq(nlt_labels_t a, nlt_labels_t b);

/* Unkeyed hash of names and values, for tables inside one query. */
uint64_t nlt_labels_hash(nlt_labels_t l);

/* Deep copy into a pool; false when it is out of memory. */
NLT_CHECKED bool
nlt_labels_copy(nlt_pool_t *pool, nlt_labels_t l, nlt_labels_t *out);

/*
 * Sorts v in place by name; equal names end up side by side in no particular
 * order.  O(n log n) for any input, O(n) for a sorted one.
 */
void nlt_labels_sort(nlt_label_t *v, size_t n);

/*
 * Sorts v in place by name, drops empty values, and returns the new count.
 * *dup is set to the first name that occurs twice (data NULL if none).
 */
size_t nlt_labels_normalize(nlt_label_t *v, size_t n, nlt_str_t *dup);

/* Appends {__name__="foo", a="x"} as Prometheus prints label sets (%s). */
void nlt_labels_print(nlt_buf_t *b, nlt_labels_t l);

/* A name of [a-zA-Z_][a-zA-Z0-9_]*, which needs no quotes? */
bool nlt_label_name_is_legacy(nlt_str_t name);

/* The same with ':' allowed, for metric names. */
bool nlt_metric_name_is_legacy(nlt_str_t name);

#endif

/*
 * nlt_pql_annot.h - collects warnings and infos while a query runs.
 *
 * Floor 3 (promql); uses base, model.
 * Contract: messages.md part 1 of the project's reference: keyed by text
 * without position, the last place wins, at most 10 + 10 are shown.
 */
#ifndef NLT_PROMQL_PQL_ANNOT_H
#define NLT_PROMQL_PQL_ANNOT_H

#include "nlt_value.h"

typedef enum {
    NLT_PQL_WARNING,
    NLT_PQL_INFO
} nlt_pql_level_t;

typedef struct nlt_pql_note_s nlt_pql_note_t;

typedef struct {
    nlt_pool_t *pool;      /* of the query; notes live in it */
    nlt_pql_note_t *notes; /* in order of first occurrence */
    nlt_pql_note_t *last;
    nlt_pql_note_t **buckets; /* by hash of the text; NULL while empty */
    size_t n;
    bool failed; /* the pool ran out: some note is missing */
} nlt_pql_annots_t;

/*
 * What a note is about: a byte offset into the query text, or -1 for "no
 * position", and the rank of the node that tells it, in the order in which
 * Prometheus evaluates nodes.  Of notes with the same text the one of the
 * highest rank gives the position, among those the last.
 */
typedef struct {
    int32_t pos;
    uint32_t rank;
} nlt_pql_place_t;

/* No notes yet; pool is retained.  Allocates nothing. */
void nlt_pql_annots_init(nlt_pql_annots_t *a, nlt_pool_t *pool);

/*
 * Adds one note (text without "PromQL warning: " and position), unless the
 * same text is there already; then at most its place is replaced.  Texts
 * longer than NLT_ERR_TEXT_MAX are cut.  O(text), so that a note for each of a
 * million series costs no more than formatting it.
 */
void nlt_pql_annots_add(nlt_pql_annots_t *a, nlt_pql_level_t level,
                        nlt_pql_place_t place, const char *fmt, ...)
    NLT_PRINTF(4, 5);

/*
 * The note about a histogram_quantile input forced to be monotonic (A2),
 * which merges ranges and counts instead of texts: one note a name, with the
 * smallest bucket_min, the largest bucket_max and max_diff, the number of
 * calls and the span of their times.  name may be empty: it is not shown
 * then.
 */
void
nlt_pql_annots_monotonic(nlt_pql_annots_t *a, nlt_pql_place_t place,
                         nlt_str_t name, double bucket_min, double bucket_max,
                         double max_diff, int64_t t_ms);

/*
 * Adds to `to` the note that follows `after` in `from`, the first one for
 * NULL; such as nlt_pql_annots_add() makes, and not a monotonic one.  Returns
 * it; NULL: there is none.
 */
const nlt_pql_note_t *
nlt_pql_annots_take(nlt_pql_annots_t *to, const nlt_pql_annots_t *from,
                    const nlt_pql_note_t *after);

/*
 * The final texts, with prefixes and " (line:col)" of positions in `query`
 * (empty: no suffix), cut at 10 and 10 with "N more ..." lines.  In the
 * pool; the counts of *out are those of its lists.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_pql_annots_render(nlt_pql_annots_t *a,
                                           nlt_str_t query, nlt_annots_t *out);

#endif

/*
 * nlt_head_match.h - is a series of an arena the one that a request means?
 *
 * Floor 3 (store); uses nlt_head.h, nlt_rw2.h.
 *
 * remote_write 2.0 names labels by numbers of symbols.  The same name and
 * value come in many series of a request, and are one pair in the arena: so
 * text is compared once for each pair of a request, and numbers after that.
 * Nothing is hashed, and nothing left to luck: a series is the one if its
 * labels are the same bytes in the same order.
 */
#ifndef NLT_STORE_HEAD_MATCH_H
#define NLT_STORE_HEAD_MATCH_H

#include "nlt_head.h"
#include "nlt_rw2.h"

/*
 * What is known of a symbol of a request.  As a value of the label that
 * symbol `name` names, it is this pair of the arena; UINT32_MAX: not known.
 */
typedef struct {
    nlt_hash128_t key; /* of its bytes, for callers; 0: not hashed yet */
    uint32_t name;
    uint32_t pair;
} nlt_head_symbol_t;

/* Nothing is known of the pairs of n symbols: before the first use, and before
 * that with another arena. */
void nlt_head_symbols_forget(nlt_head_symbol_t *known, uint32_t n);

/*
 * Has series `no` of a, which there may not be, the tenant and just the labels
 * that n references name?  known has symbols->n entries, and learns.  false
 * also for references that are odd, outside of the table, or not sorted by
 * name, and where the arena is corrupt.  About 10 instructions a label.
 * Writer's thread; no lock.
 */
bool nlt_arena_is_by_refs(const nlt_arena_t *a, uint32_t no, uint32_t tenant,
                          const nlt_rw2_symbols_t *symbols,
                          nlt_head_symbol_t *known, const uint32_t *refs,
                          uint32_t n);

#endif

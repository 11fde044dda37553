/*
 * nlt_head_match.c - is a series of an arena the one that a request means?
 */
#include "nlt_head_match.h"

#include "nlt_head_pairs.h"

void
nlt_head_symbols_forget(nlt_head_symbol_t *known, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        known[i].name = UINT32_MAX;
        known[i].pair = UINT32_MAX;
    }
}

/* Is `pair` this label?  Then that is known from now on. */
static bool
learn(const nlt_arena_t *a, uint32_t pair, const nlt_rw2_symbols_t *symbols,
      nlt_head_symbol_t *known, uint32_t name, uint32_t value)
{
    const nlt_arena_pair_t *p = nlt_arena_pair(a, pair);

    if (p == NULL || name >= symbols->n
        || !nlt_str_eq(nlt_arena_pair_value(a, p),
                       nlt_rw2_symbol(symbols, value))
        || !nlt_str_eq(nlt_arena_pair_name(a, p),
                       nlt_rw2_symbol(symbols, name))) {
        return false;
    }
    known[value].name = name;
    known[value].pair = pair;
    return true;
}

bool
nlt_arena_is_by_refs(const nlt_arena_t *a, uint32_t no, uint32_t tenant,
                     const nlt_rw2_symbols_t *symbols,
                     nlt_head_symbol_t *known, const uint32_t *refs,
                     uint32_t n)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, no);
    const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(a, e) : NULL;

    if (nlt_unlikely(l == NULL || l->tenant != tenant
                     || (uint64_t) l->n * 2 != n)) {
        return false;
    }
    for (uint32_t i = 0; i < n / 2; i++) {
        uint32_t name = refs[2 * i], value = refs[2 * i + 1];

        if (nlt_unlikely(value >= symbols->n)) {
            return false;
        }
        if (nlt_unlikely(known[value].pair != l->pair[i]
                         || known[value].name != name)
            && !learn(a, l->pair[i], symbols, known, name, value)) {
            return false;
        }
    }
    return true;
}

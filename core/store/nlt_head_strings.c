/*
 * nlt_head_strings.c - see the header.
 */
#include "nlt_head_strings.h"

#include "nlt_head_pairs.h"

nlt_rc_t
nlt_arena_strings_init(nlt_arena_strings_t *s, const nlt_arena_t *a,
                       uint32_t tenant, const nlt_str_t *name,
                       nlt_pool_t *pool)
{
    const nlt_arena_header_t *h = nlt_arena_header(a);

    *s = (nlt_arena_strings_t){.a = a, .names = name == NULL};
    if (name != NULL) {
        s->name = nlt_arena_name_no(a, tenant, *name);
    }
    /* pairs have numbers from 1 on */
    s->n_seen =
        atomic_load_explicit(&h->n_pairs, memory_order_acquire) / 64 * 64 + 64;
    s->seen = nlt_pool_zalloc(pool, s->n_seen / 8);
    return s->seen != NULL ? NLT_OK : NLT_ENOMEM;
}

/* Is it the first time?  What came after init() always is. */
static inline bool
is_new(nlt_arena_strings_t *s, uint32_t pair)
{
    uint64_t bit = UINT64_C(1) << pair % 64;

    if (pair >= s->n_seen) {
        return true;
    }
    if (s->seen[pair / 64] & bit) {
        return false;
    }
    s->seen[pair / 64] |= bit;
    return true;
}

static nlt_rc_t
names_of(nlt_arena_strings_t *s, const nlt_arena_labels_t *l,
         nlt_rc_t (*add)(void *ctx, nlt_str_t text), void *ctx)
{
    nlt_rc_t rc = NLT_OK;

    for (uint32_t i = 0; rc == NLT_OK && i < l->n; i++) {
        if (is_new(s, l->pair[i])) {
            const nlt_arena_pair_t *p = nlt_arena_pair(s->a, l->pair[i]);

            rc = p ? add(ctx, nlt_arena_pair_name(s->a, p)) : NLT_EDATA;
        }
    }
    return rc;
}

static inline bool
is_at(const nlt_arena_strings_t *s, const nlt_arena_labels_t *l, uint32_t i)
{
    const nlt_arena_pair_t *p =
        i < l->n ? nlt_arena_pair(s->a, l->pair[i]) : NULL;

    return p != NULL && p->name.u == s->name;
}

static nlt_rc_t
value_of(nlt_arena_strings_t *s, const nlt_arena_labels_t *l,
         nlt_rc_t (*add)(void *ctx, nlt_str_t text), void *ctx)
{
    if (!is_at(s, l, s->place)) {
        uint32_t i = 0;

        while (i < l->n && !is_at(s, l, i)) {
            i++;
        }
        if (i == l->n) {
            return NLT_OK;
        }
        s->place = i;
    }
    if (!is_new(s, l->pair[s->place])) {
        return NLT_OK;
    }
    return add(ctx, nlt_arena_pair_value(
                        s->a, nlt_arena_pair(s->a, l->pair[s->place])));
}

nlt_rc_t
nlt_arena_strings_of(nlt_arena_strings_t *s, const uint32_t *series, size_t n,
                     nlt_rc_t (*add)(void *ctx, nlt_str_t text), void *ctx)
{
    nlt_rc_t rc = NLT_OK;

    if (!s->names && s->name == 0) {
        return NLT_OK;
    }
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        const nlt_arena_series_t *e = nlt_arena_series(s->a, series[i]);
        const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(s->a, e) : NULL;

        nlt_arena_labels_fetch(s->a, series, n, i);
        if (l == NULL) {
            return NLT_EDATA;
        }
        rc = s->names ? names_of(s, l, add, ctx) : value_of(s, l, add, ctx);
    }
    return rc;
}

/*
 * nlt_head_labels.c - labels of a series, as text and as numbers.
 */
#include "nlt_head_pairs.h"
#include "nlt_head_side.h"


nlt_rc_t
nlt_arena_labels(const nlt_arena_t *a, uint32_t series, nlt_pool_t *pool,
                 nlt_labels_t *out)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(a, e) : NULL;
    nlt_label_t *v;

    *out = (nlt_labels_t){NULL, 0};
    if (l == NULL) {
        return NLT_EDATA;
    }
    v = nlt_pool_array(pool, l->n, sizeof(*v));
    if (v == NULL) {
        return NLT_ENOMEM;
    }
    for (uint32_t i = 0; i < l->n; i++) {
        const nlt_arena_pair_t *p = nlt_arena_pair(a, l->pair[i]);

        if (p == NULL) {
            return NLT_EDATA;
        }
        v[i].name = nlt_arena_pair_name(a, p);
        v[i].value = nlt_arena_pair_value(a, p);
    }
    *out = (nlt_labels_t){v, l->n};
    return NLT_OK;
}

nlt_str_t
nlt_arena_label(const nlt_arena_t *a, uint32_t series, nlt_str_t name)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(a, e) : NULL;

    for (uint32_t i = 0; l && i < l->n; i++) {
        const nlt_arena_pair_t *p = nlt_arena_pair(a, l->pair[i]);
        int order;

        if (p == NULL) {
            break;
        }
        order = nlt_str_cmp(nlt_arena_pair_name(a, p), name);
        if (order == 0) {
            return nlt_arena_pair_value(a, p);
        }
        if (order > 0) {
            break; /* sorted */
        }
    }
    return (nlt_str_t){0, NULL};
}

bool
nlt_arena_key(const nlt_arena_t *a, uint32_t series, nlt_hash128_t *key)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(a, e) : NULL;

    if (l == NULL) {
        return false;
    }
    key->lo = l->key[0] | (uint64_t) l->key[1] << 32;
    key->hi = l->key[2];
    return true;
}

uint32_t
nlt_arena_name_no(const nlt_arena_t *a, uint32_t tenant, nlt_str_t name)
{
    const nlt_arena_name_t *n =
        name.len ? nlt_arena_name_find(a, tenant, name) : NULL;

    return n ? (uint32_t) (((const uint8_t *) n - a->base) >> 3) : 0;
}

bool
nlt_arena_label_nos(const nlt_arena_t *a, uint32_t series,
                    const uint64_t *names, size_t n, uint64_t *out)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(a, e) : NULL;
    size_t left = n;

    memset(out, 0, n * sizeof(*out));
    for (uint32_t i = 0; l && i < l->n && left > 0; i++) {
        const nlt_arena_pair_t *p = nlt_arena_pair(a, l->pair[i]);

        if (p == NULL) {
            return false;
        }
        for (size_t k = 0; k < n; k++) {
            if (p->name.u == names[k]) {
                out[k] = l->pair[i];
                left--;
            }
        }
    }
    return l != NULL;
}

uint32_t
nlt_arena_tenant(const nlt_arena_t *a, uint32_t series)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(a, e) : NULL;

    return l ? l->tenant : 0;
}

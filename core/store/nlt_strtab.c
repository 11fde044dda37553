/*
 * nlt_strtab.c - open addressing over an array of strings; merge sort.
 */
#include "nlt_strtab.h"

#include "nlt_hash.h"

#define SLOTS_MIN 64

void
nlt_strtab_init(nlt_strtab_t *t, nlt_pool_t *pool)
{
    *t = (nlt_strtab_t){.pool = pool};
}

static bool
grow_slots(nlt_strtab_t *t)
{
    size_t n = t->n_slots ? t->n_slots * 2 : SLOTS_MIN;
    uint32_t *slot = nlt_pool_array(t->pool, n, sizeof(*slot));

    if (slot == NULL || n > UINT32_MAX) {
        return false;
    }
    memset(slot, 0, n * sizeof(*slot));
    for (size_t i = 0; i < t->n; i++) {
        size_t at = t->hash[i] & (n - 1);

        while (slot[at] != 0) {
            at = (at + 1) & (n - 1);
        }
        slot[at] = (uint32_t) i + 1;
    }
    t->slot = slot;
    t->n_slots = n;
    return true;
}

static bool
grow_strings(nlt_strtab_t *t)
{
    size_t cap = t->cap ? t->cap * 2 : SLOTS_MIN / 2;
    nlt_str_t *v =
        nlt_pool_grow(t->pool, t->v, t->cap * sizeof(*v), cap * sizeof(*v));
    uint32_t *hash;

    if (v == NULL) {
        return false;
    }
    t->v = v;
    hash = nlt_pool_grow(t->pool, t->hash, t->cap * sizeof(*hash),
                         cap * sizeof(*hash));
    if (hash == NULL) {
        return false;
    }
    t->hash = hash;
    t->cap = cap;
    return true;
}

bool
nlt_strtab_add(nlt_strtab_t *t, nlt_str_t s, uint32_t *no, bool *is_new)
{
    uint32_t h = (uint32_t) nlt_hash64(s.data, s.len, 0);
    size_t at;

    if (2 * (t->n + 1) > t->n_slots && !grow_slots(t)) {
        return false;
    }
    for (at = h & (t->n_slots - 1); t->slot[at] != 0;
         at = (at + 1) & (t->n_slots - 1)) {
        uint32_t i = t->slot[at] - 1;

        if (t->hash[i] == h && nlt_str_eq(t->v[i], s)) {
            *no = i;
            if (is_new != NULL) {
                *is_new = false;
            }
            return true;
        }
    }
    if (t->n == t->cap && !grow_strings(t)) {
        return false;
    }
    t->v[t->n] = s;
    t->hash[t->n] = h;
    *no = (uint32_t) t->n++;
    t->slot[at] = *no + 1;
    if (is_new != NULL) {
        *is_new = true;
    }
    return true;
}

static int
cmp_strings(const void *ctx, uint32_t a, uint32_t b)
{
    const nlt_strtab_t *t = ctx;

    return nlt_str_cmp(t->v[a], t->v[b]);
}

uint32_t *
nlt_strtab_order(const nlt_strtab_t *t)
{
    uint32_t *order = nlt_pool_array(t->pool, t->n, sizeof(*order));
    uint32_t *tmp = nlt_pool_array(t->pool, t->n, sizeof(*tmp));

    if (order == NULL || tmp == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < t->n; i++) {
        order[i] = (uint32_t) i;
    }
    if (nlt_sort_u32(order, t->n, tmp, cmp_strings, t, NULL, NULL) != NLT_OK) {
        return NULL;
    }
    return order;
}

nlt_rc_t
nlt_sort_u32(uint32_t *v, size_t n, uint32_t *tmp,
             int (*cmp)(const void *ctx, uint32_t a, uint32_t b),
             const void *ctx, nlt_rc_t (*poll)(void *ctx), void *poll_ctx)
{
    uint32_t *from = v, *to = tmp;
    size_t work = 0;

    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n;
            size_t hi = mid + width < n ? mid + width : n;
            size_t i = lo, j = mid;

            for (size_t k = lo; k < hi; k++) {
                bool left =
                    i < mid && (j >= hi || cmp(ctx, from[i], from[j]) <= 0);

                to[k] = left ? from[i++] : from[j++];
            }
            work += hi - lo;
            if (poll != NULL && work >= 65536) {
                nlt_rc_t rc = poll(poll_ctx);

                if (rc != NLT_OK) {
                    return rc;
                }
                work = 0;
            }
        }
        uint32_t *swap = from;

        from = to;
        to = swap;
    }
    if (from != v && n > 0) {
        memcpy(v, from, n * sizeof(*v));
    }
    return NLT_OK;
}

/*
 * nlt_tenant_keep.c - a search by name, and a difference.
 */
#include "nlt_tenant_keep.h"

#include "nlt_sort.h"

static bool
keep_less(const nlt_tenant_keep_t *a, const nlt_tenant_keep_t *b,
          const void *ctx)
{
    (void) ctx;
    return nlt_str_cmp(a->name, b->name) < 0;
}

NLT_HEAP_SORT(sort_keeps, nlt_tenant_keep_t, keep_less);

void
nlt_tenant_keeps_sort(nlt_tenant_keep_t *v, size_t n)
{
    sort_keeps(v, n, NULL);
}

static const nlt_tenant_keep_t *
find(const nlt_tenant_keeps_t *k, nlt_str_t name)
{
    size_t lo = 0, hi = k->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = nlt_str_cmp(k->v[mid].name, name);

        if (c == 0) {
            return &k->v[mid];
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

int64_t
nlt_tenant_keep_ms(const nlt_tenant_keeps_t *k, const nlt_tenants_t *tenants,
                   uint32_t tenant)
{
    const nlt_tenant_keep_t *keep = NULL;
    const nlt_tenant_t *slot;

    if (tenant == 0 || k->n == 0) {
        return k->store_ms;
    }
    slot = nlt_tenants_slot(tenants, tenant);
    if (slot != NULL) {
        keep = find(k, nlt_tenant_name(slot));
    }
    if (keep == NULL) {
        keep = find(k, (nlt_str_t){0, NULL});
    }
    return keep == NULL ? k->store_ms : nlt_min_i64(keep->ms, k->store_ms);
}

int64_t
nlt_tenant_border(const nlt_tenant_keeps_t *k, const nlt_tenants_t *tenants,
                  uint32_t tenant, int64_t t_oldest_ms)
{
    int64_t less = k->store_ms - nlt_tenant_keep_ms(k, tenants, tenant);
    int64_t border;

    return t_oldest_ms == INT64_MIN
                   || __builtin_add_overflow(t_oldest_ms, less, &border)
               ? t_oldest_ms
               : border;
}

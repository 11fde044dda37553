/*
 * nlt_block_owners.c - one pass over the values of the private label.
 */
#include "nlt_block_owners.h"

#include "nlt_block_priv.h"
#include "nlt_block_tenant.h"

static nlt_rc_t
add_owner(const nlt_block_t *b, nlt_pool_t *pool, const nlt_index_values_t *it,
          nlt_block_owner_t *out, nlt_err_t *err)
{
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    nlt_postings_t list;
    nlt_rc_t rc = nlt_index_file_postings_at(b->index, pool, it->postings_off,
                                             &list, err);

    if (rc == NLT_OK && list.n == 0) {
        rc = nlt_err_set(err, NLT_EDATA, "index: a tenant without series");
    }
    if (rc == NLT_OK) {
        *out = (nlt_block_owner_t){
            .tenant = nlt_tenant_of_text(it->value),
            .last = list.v[list.n - 1],
            .n_series = list.n,
        };
    }
    nlt_pool_rewind(pool, mark);
    return rc;
}

nlt_rc_t
nlt_block_owners(const nlt_block_t *b, nlt_pool_t *pool,
                 nlt_block_owner_t **out, size_t *n, nlt_err_t *err)
{
    nlt_index_values_t it = nlt_index_file_values(b->index, NLT_TENANT_NAME);
    nlt_block_owner_t *v;
    nlt_rc_t rc = NLT_OK;

    *out = NULL;
    *n = 0;
    if (it.left == 0) {
        return NLT_OK;
    }
    v = nlt_pool_array(pool, it.left, sizeof(*v));
    if (v == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for tenants");
    }
    while (rc == NLT_OK && it.left > 0) {
        rc = nlt_index_values_next(&it)
                 ? add_owner(b, pool, &it, &v[*n], err)
                 : nlt_err_set(err, NLT_EDATA, "index: tenants are cut short");
        if (rc == NLT_OK && *n > 0 && v[*n].last <= v[*n - 1].last) {
            rc = nlt_err_set(err, NLT_EDATA,
                             "index: series of tenants are mixed");
        }
        *n += rc == NLT_OK;
    }
    *out = v;
    return nlt_block_done(b, rc, err);
}

size_t
nlt_block_owner_of(const nlt_block_owner_t *v, size_t n, nlt_block_series_t id)
{
    size_t lo = 0;

    while (lo < n) {
        size_t mid = lo + (n - lo) / 2;

        if (v[mid].last < id) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    return lo;
}

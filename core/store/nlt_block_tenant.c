/*
 * nlt_block_tenant.c - the private label of a tenant's series.
 */
#include "nlt_block_tenant.h"

#include "nlt_block_priv.h"

nlt_str_t
nlt_tenant_text(uint32_t tenant, char buf[NLT_TENANT_TEXT_BYTES])
{
    size_t at = NLT_TENANT_TEXT_BYTES;

    do {
        buf[--at] = (char) ('0' + tenant % 10);
        tenant /= 10;
    } while (tenant != 0);
    return (nlt_str_t){NLT_TENANT_TEXT_BYTES - at, buf + at};
}

uint32_t
nlt_tenant_of_text(nlt_str_t text)
{
    uint64_t no = 0;

    for (size_t i = 0; i < text.len && no < UINT32_MAX; i++) {
        char c = text.data[i];

        no =
            c >= '0' && c <= '9' ? 10 * no + (uint64_t) (c - '0') : UINT32_MAX;
    }
    return no == 0 || no > UINT32_MAX ? UINT32_MAX : (uint32_t) no;
}

nlt_labels_t
nlt_tenant_strip(nlt_labels_t labels)
{
    if (labels.n > 0 && nlt_str_eq(labels.v[0].name, NLT_TENANT_NAME)) {
        labels.v++;
        labels.n--;
    }
    return labels;
}

bool
nlt_block_has_private(const nlt_block_t *b)
{
    nlt_str_t name = nlt_index_file_n_names(b->index) > 0
                         ? nlt_index_file_name(b->index, 0)
                         : (nlt_str_t){0, NULL};

    return name.len > 0 && name.data[0] == '\0';
}

bool
nlt_block_has_tenants(const nlt_block_t *b)
{
    return b->tenants_end > 0;
}

/* The last series of the last value: all up to it have the label. */
nlt_rc_t
nlt_block_find_tenants(nlt_block_t *b, nlt_err_t *err)
{
    nlt_index_values_t it = nlt_index_file_values(b->index, NLT_TENANT_NAME);
    nlt_postings_t list;
    nlt_pool_t pool;
    nlt_rc_t rc;

    if (it.left == 0) {
        return NLT_OK;
    }
    while (it.left > 0) {
        if (!nlt_index_values_next(&it)) {
            return nlt_err_set(err, NLT_EDATA, "index: tenants are cut short");
        }
    }
    nlt_pool_init(&pool, b->env->mem, b->index_map.len + (1u << 20));
    rc = nlt_index_file_postings_at(b->index, &pool, it.postings_off, &list,
                                    err);
    if (rc == NLT_OK && list.n == 0) {
        rc = nlt_err_set(err, NLT_EDATA, "index: a tenant without series");
    }
    if (rc == NLT_OK) {
        b->tenants_end = list.v[list.n - 1];
    }
    nlt_pool_deinit(&pool);
    return rc;
}

/* Copies matchers but for those of the private name; *none: one of them does
 * not match a series without the label. */
static nlt_rc_t
public_matchers(const nlt_matcher_t *m, size_t n, nlt_matcher_t *out,
                size_t *n_out, bool *none, nlt_err_t *err)
{
    *none = false;
    for (size_t i = 0; i < n; i++) {
        nlt_rc_t rc;

        if (!nlt_str_eq(m[i].name, NLT_TENANT_NAME)) {
            out[(*n_out)++] = m[i];
            continue;
        }
        rc = nlt_matcher_test(&m[i], (nlt_str_t){0, NULL});
        if (rc != NLT_OK && rc != NLT_EOF) {
            return nlt_matcher_failed(&m[i], rc, err);
        }
        *none |= rc == NLT_EOF;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_block_tenant_select(const nlt_block_t *b, nlt_pool_t *pool,
                        uint32_t tenant, const nlt_matcher_t *matchers,
                        size_t n_matchers, const nlt_block_poll_t *poll,
                        nlt_block_series_t **out, size_t *n, nlt_err_t *err)
{
    char text[NLT_TENANT_TEXT_BYTES];
    nlt_matcher_t *m;
    size_t n_m = 0, skip;
    bool none;
    nlt_rc_t rc;

    *out = NULL;
    *n = 0;
    if (!nlt_block_has_tenants(b)) {
        return tenant == 0 ? nlt_block_select_polled(
                   b, pool, matchers, n_matchers, poll, out, n, err)
                           : NLT_OK;
    }
    m = nlt_pool_array(pool, n_matchers + 1, sizeof(*m));
    if (m == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    if (tenant != 0) {
        m[n_m++] = (nlt_matcher_t){NLT_MATCH_EQ, NLT_TENANT_NAME,
                                   nlt_tenant_text(tenant, text), NULL};
    }
    rc = public_matchers(matchers, n_matchers, m, &n_m, &none, err);
    if (rc == NLT_OK && !none) {
        rc = nlt_block_select_polled(b, pool, m, n_m, poll, out, n, err);
    }
    if (rc != NLT_OK || tenant != 0 || *n == 0) {
        return rc;
    }
    skip = nlt_postings_seek(*out, *n, 0, b->tenants_end);
    skip += skip < *n && (*out)[skip] == b->tenants_end;
    *out += skip;
    *n -= skip;
    return NLT_OK;
}

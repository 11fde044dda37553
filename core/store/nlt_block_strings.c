/*
 * nlt_block_strings.c - texts of the symbols that series of a block name.
 */
#include "nlt_block_strings.h"

#include "nlt_block_priv.h"
#include "nlt_block_tenant.h"

nlt_rc_t
nlt_block_strings_init(nlt_block_strings_t *s, const nlt_block_t *b,
                       const nlt_str_t *name, nlt_pool_t *pool, nlt_err_t *err)
{
    nlt_str_t tenant = NLT_TENANT_NAME;

    *s = (nlt_block_strings_t){
        .b = b,
        .names = name == NULL,
        .n_seen = nlt_index_file_n_symbols(b->index),
    };
    if (name == NULL) {
        s->name = nlt_block_symbol(b, tenant);
    } else if (!nlt_str_eq(*name, tenant)) {
        s->name = nlt_block_symbol(b, *name);
    }
    s->seen = nlt_pool_zalloc(pool, (s->n_seen / 64 + 1) * sizeof(*s->seen));
    return s->seen != NULL
               ? NLT_OK
               : nlt_err_set(err, NLT_ENOMEM, "out of memory for labels");
}

static nlt_rc_t
add_symbol(nlt_block_strings_t *s, uint64_t ref,
           nlt_rc_t (*add)(void *ctx, nlt_str_t text), void *ctx,
           nlt_err_t *err)
{
    uint64_t bit = UINT64_C(1) << ref % 64;
    nlt_str_t text;
    nlt_rc_t rc;

    if (ref < s->n_seen) {
        if (s->seen[ref / 64] & bit) {
            return NLT_OK;
        }
        s->seen[ref / 64] |= bit;
    }
    rc = nlt_index_file_symbol(s->b->index, ref, &text, err);
    return rc == NLT_OK && text.len > 0 ? add(ctx, text) : rc;
}

static nlt_rc_t
add_series(nlt_block_strings_t *s, nlt_block_series_t id,
           nlt_rc_t (*add)(void *ctx, nlt_str_t text), void *ctx,
           nlt_err_t *err)
{
    nlt_index_series_t series;
    nlt_rc_t rc = nlt_index_series_open(s->b->index, id, &series, err);

    while (rc == NLT_OK && series.n_labels > 0) {
        uint64_t name, value;

        rc = nlt_index_series_refs(&series, &name, &value, err);
        if (rc != NLT_OK) {
            break;
        }
        if (s->names) {
            rc = name + 1 != s->name ? add_symbol(s, name, add, ctx, err)
                                     : NLT_OK;
        } else if (name + 1 == s->name) {
            return add_symbol(s, value, add, ctx, err);
        }
    }
    return rc;
}

nlt_rc_t
nlt_block_strings_of(nlt_block_strings_t *s, const nlt_block_series_t *id,
                     size_t n, nlt_rc_t (*add)(void *ctx, nlt_str_t text),
                     void *ctx, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    if (!s->names && s->name == 0) {
        return NLT_OK;
    }
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        rc = add_series(s, id[i], add, ctx, err);
    }
    return nlt_block_done(s->b, rc, err);
}

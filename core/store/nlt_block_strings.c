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

/* Of a number that is none nothing was seen: it is looked up and refused. */
static inline bool
is_new(const nlt_block_strings_t *s, uint64_t ref)
{
    return ref >= s->n_seen || !(s->seen[ref / 64] >> ref % 64 & 1);
}

static nlt_rc_t
add_symbol(nlt_block_strings_t *s, uint64_t ref,
           const nlt_block_strings_to_t *to, nlt_err_t *err)
{
    nlt_str_t text;
    nlt_rc_t rc;

    if (ref < s->n_seen) {
        s->seen[ref / 64] |= UINT64_C(1) << ref % 64;
    }
    rc = nlt_index_file_symbol(s->b->index, ref, &text, err);
    return rc == NLT_OK && text.len > 0 ? to->add(to->ctx, text) : rc;
}

/* The value of one series. */
static nlt_rc_t
add_value(nlt_block_strings_t *s, nlt_index_series_t *series,
          const nlt_block_strings_to_t *to, nlt_err_t *err)
{
    uint64_t value;
    bool yes = false;
    nlt_rc_t rc = nlt_index_series_values(series, &s->name, 1, &value, err);

    if (rc != NLT_OK || value == 0 || !is_new(s, value - 1)) {
        return rc;
    }
    rc = to->counts(to->ctx, series->id, &yes, err);
    return rc == NLT_OK && yes ? add_symbol(s, value - 1, to, err) : rc;
}

/* The names of one series. */
static nlt_rc_t
add_names(nlt_block_strings_t *s, nlt_index_series_t *series,
          const nlt_block_strings_to_t *to, nlt_err_t *err)
{
    bool asked = false, yes = false;
    nlt_rc_t rc = NLT_OK;

    while (rc == NLT_OK && series->n_labels > 0) {
        uint64_t name, value;

        rc = nlt_index_series_refs(series, &name, &value, err);
        if (rc != NLT_OK || name + 1 == s->name || !is_new(s, name)) {
            continue;
        }
        if (!asked) {
            rc = to->counts(to->ctx, series->id, &yes, err);
            asked = true;
        }
        if (rc == NLT_OK && !yes) {
            break;
        }
        rc = rc == NLT_OK ? add_symbol(s, name, to, err) : rc;
    }
    return rc;
}

nlt_rc_t
nlt_block_strings_of(nlt_block_strings_t *s, const nlt_block_series_t *id,
                     size_t n, const nlt_block_strings_to_t *to,
                     nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    if (!s->names && s->name == 0) {
        return NLT_OK;
    }
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        nlt_index_series_t series;

        rc = nlt_index_series_open(s->b->index, id[i], &series, err);
        if (rc == NLT_OK) {
            rc = s->names ? add_names(s, &series, to, err)
                          : add_value(s, &series, to, err);
        }
    }
    return nlt_block_done(s->b, rc, err);
}

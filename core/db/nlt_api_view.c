/*
 * nlt_api_view.c - what a job evaluates over: one view of the store.
 */
#include "nlt_api.h"

/* What the answer misses stands behind the warnings that it has. */
static nlt_rc_t
add_missing(nlt_api_t *a, nlt_err_t *err)
{
    nlt_annot_t **end = &a->annots.warnings;
    nlt_str_t *text;
    size_t n;
    nlt_rc_t rc = nlt_view_warnings(&a->view, &a->pool, &text, &n, err);

    while (*end != NULL) {
        end = &(*end)->next;
    }
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        *end = nlt_pool_zalloc(&a->pool, sizeof(**end));
        if (*end == NULL) {
            return nlt_err_set(err, NLT_ENOMEM, "out of memory");
        }
        (*end)->text = text[i];
        end = &(*end)->next;
        a->annots.n_warnings++;
    }
    return rc;
}

nlt_rc_t
nlt_api_open_view(nlt_api_t *a, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    if (!a->view_open) {
        rc =
            nlt_view_open(a->store, a->conf.tenant, &a->cancel, &a->view, err);
        a->view_open = rc == NLT_OK;
        a->view.stop_ns = a->stop_ns;
        a->view.head_only = a->head_only;
    }
    return rc;
}

void
nlt_api_close_view(nlt_api_t *a)
{
    if (a->view_open) {
        a->needs_block |= a->view.needs_block;
        nlt_view_close(&a->view);
        a->flow.view_ns = 0;
        a->view_open = false;
    }
}

void
nlt_api_over_view(nlt_api_t *a, nlt_api_eval_t eval, void *ctx)
{
    nlt_pool_mark_t mark;
    nlt_err_t err;
    nlt_rc_t rc;

    rc = nlt_api_open_view(a, &err);
    if (rc != NLT_OK) {
        nlt_api_fail_rc(a, &err);
        return;
    }
    mark = nlt_pool_mark(&a->pool);
    do {
        nlt_pool_rewind(&a->pool, mark);
        a->annots = (nlt_annots_t){.warnings = NULL};
        a->answer = (nlt_api_answer_t){.status = 0};
        a->outcome = NLT_OUTCOME_OK;
        nlt_err_clear(&err);
        rc = eval(a, ctx, &err);
    } while (nlt_view_again(&a->view));
    if (rc == NLT_OK && a->answer.status == 200) {
        rc = add_missing(a, &err);
    }
    if (rc != NLT_OK) {
        err.rc = rc;
        nlt_api_fail_rc(a, &err);
    }
}

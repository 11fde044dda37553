/*
 * nlt_api_flow.c - see the header.
 */
#include "nlt_api.h"

/* The largest part: a frame of remote_read, or labels of one series. */
#define PART_MAX (64u << 20)

static nlt_rc_t
open_view(nlt_api_t *a, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_api_open_view(a, err);

    if (a->flow.view_ns == 0) {
        a->flow.view_ns = nlt_mono_ns(a->env);
    }
    return rc;
}

/*
 * A part must not miss what a damaged block had: who copies data by it would
 * lose it without a word.
 */
static nlt_rc_t
is_whole(nlt_api_t *a, nlt_rc_t rc, nlt_err_t *err)
{
    nlt_str_t *text;
    size_t n;
    nlt_rc_t missing;

    if (a->flow.ops->missing_is_told) {
        return rc;
    }
    missing = nlt_view_warnings(&a->view, &a->pool, &text, &n, err);
    if (missing != NLT_OK) {
        return missing;
    }
    return n > 0 ? nlt_err_set(err, NLT_EDATA, "%.*s", NLT_FMT(text[0])) : rc;
}

static nlt_rc_t
make(nlt_api_t *a, nlt_err_t *err)
{
    nlt_api_flow_t *f = &a->flow;
    nlt_rc_t rc;

    nlt_buf_reset(&f->buf);
    f->taken = 0;
    rc = f->ops->make(a, err);
    if ((rc == NLT_OK || rc == NLT_EOF) && f->buf.rc != NLT_OK) {
        rc = nlt_err_set(err, f->buf.rc, "a part of the answer: %s",
                         nlt_rc_text(f->buf.rc));
    }
    return rc;
}

void
nlt_api_flow_run(nlt_api_t *a, const nlt_api_flow_ops_t *ops, void *ctx)
{
    nlt_api_flow_t *f = &a->flow;
    nlt_err_t err;
    nlt_rc_t rc;

    f->ops = ops;
    f->ctx = ctx;
    nlt_buf_init(&f->buf, a->env->mem, PART_MAX);
    rc = open_view(a, &err);
    if (rc == NLT_OK) {
        do {
            f->unfinished = false;
            ops->begin(a);
            nlt_err_clear(&err);
            rc = make(a, &err);
            if (rc != NLT_OK && rc != NLT_EOF) {
                /* sets are closed before the view is asked */
                nlt_walk_deinit(&f->walk);
            }
        } while (nlt_view_again(&a->view));
        if (rc == NLT_OK || rc == NLT_EOF) {
            rc = is_whole(a, rc, &err);
        }
    }
    f->done = rc == NLT_EOF;
    if (rc != NLT_OK && rc != NLT_EOF) {
        bool open = a->view_open;

        /* run() counts the query and closes the view */
        a->view_open = false;
        nlt_api_flow_end(a);
        a->view_open = open;
        err.rc = rc;
        nlt_api_fail_rc(a, &err);
    } else {
        a->answer.has_body = true;
        if (f->done) {
            nlt_walk_deinit(&f->walk);
        }
    }
}

/* Closes the view; the walk goes on with another one. */
static void
forget_view(nlt_api_t *a)
{
    nlt_rc_t rc = nlt_walk_forget(&a->flow.walk, a->flow.unfinished);

    if (a->flow.rc == NLT_OK) {
        a->flow.rc = rc;
    }
    nlt_api_close_view(a);
}

void
nlt_api_flow_more(nlt_api_t *a)
{
    nlt_api_flow_t *f = &a->flow;
    nlt_err_t err;
    nlt_rc_t rc = open_view(a, &err);

    if (rc == NLT_OK) {
        rc = make(a, &err);
        if (nlt_view_again(&a->view)) {
            rc = nlt_err_set(&err, NLT_EDATA,
                             "a block has turned out damaged on the way");
        }
        if (rc == NLT_OK || rc == NLT_EOF) {
            rc = is_whole(a, rc, &err);
        }
    }
    f->done = rc == NLT_EOF;
    if (rc == NLT_ECANCELED
        && __atomic_load_n(&a->cancel, __ATOMIC_RELAXED) == NLT_API_EXPIRED) {
        rc = nlt_err_set(&err, NLT_ETIMEOUT,
                         "a part of it took longer than "
                         "nightlight_query_timeout allows (%lld ms)",
                         (long long) a->conf.timeout_ms);
    }
    if (rc != NLT_OK && rc != NLT_EOF) {
        f->rc = rc;
        a->outcome = rc == NLT_ECANCELED  ? NLT_OUTCOME_CANCELED
                     : rc == NLT_ETIMEOUT ? NLT_OUTCOME_TIMEOUT
                                          : NLT_OUTCOME_ERROR;
        if (rc != NLT_ECANCELED) {
            nlt_log_todo(a->env, NLT_LOG_ERROR, nlt_rc_todo(err.rc),
                         "answer of \"%.*s\" broken off: %s",
                         NLT_FMT(a->req.suffix), err.text);
        }
    }
    if (rc != NLT_OK) {
        nlt_walk_deinit(&f->walk);
        nlt_api_close_view(a);
    } else if (nlt_mono_ns(a->env) - f->view_ns > NLT_API_FLOW_VIEW_NS) {
        forget_view(a);
    }
}

void
nlt_api_idle(nlt_api_t *a)
{
    if (a->flow.ops != NULL && a->view_open) {
        nlt_log(a->env, NLT_LOG_INFO,
                "answer of \"%.*s\" waits for its client and lets go of the "
                "store",
                NLT_FMT(a->req.suffix));
        forget_view(a);
    }
}

bool
nlt_api_needs_work(const nlt_api_t *a)
{
    const nlt_api_flow_t *f = &a->flow;

    return f->ops != NULL && !f->done && f->rc == NLT_OK
           && f->taken == f->buf.len;
}

nlt_rc_t
nlt_api_flow_take(nlt_api_t *a, char *out, size_t cap, size_t *len)
{
    nlt_api_flow_t *f = &a->flow;
    size_t n = f->buf.len - f->taken;

    *len = 0;
    if (f->rc != NLT_OK) {
        return f->rc;
    }
    n = n < cap ? n : cap;
    if (n > 0) {
        memcpy(out, f->buf.data + f->taken, n);
    }
    f->taken += n;
    *len = n;
    return f->done && f->taken == f->buf.len ? NLT_OK : NLT_AGAIN;
}

void
nlt_api_flow_end(nlt_api_t *a)
{
    nlt_api_flow_t *f = &a->flow;

    if (f->ops == NULL) {
        return;
    }
    nlt_walk_deinit(&f->walk);
    nlt_api_close_view(a);
    f->ops->end(a);
    f->ops = NULL;
    nlt_buf_deinit(&f->buf);
}

nlt_rc_t
nlt_api_flow_note(nlt_api_t *a, nlt_annot_t **list, const nlt_annot_t *more)
{
    for (; more != NULL; more = more->next) {
        nlt_annot_t **end = list;

        while (*end != NULL && !nlt_str_eq((*end)->text, more->text)) {
            end = &(*end)->next;
        }
        if (*end != NULL) {
            continue;
        }
        *end = nlt_pool_zalloc(&a->pool, sizeof(**end));
        if (*end == NULL) {
            return NLT_ENOMEM;
        }
        (*end)->text = nlt_pool_str(&a->pool, more->text);
    }
    return NLT_OK;
}

nlt_rc_t
nlt_api_flow_missing(nlt_api_t *a, nlt_err_t *err)
{
    nlt_str_t *text;
    size_t n;
    nlt_rc_t rc = nlt_view_warnings(&a->view, &a->pool, &text, &n, err);

    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        nlt_annot_t one = {.text = text[i]};

        rc = nlt_api_flow_note(a, &a->annots.warnings, &one);
    }
    return rc;
}

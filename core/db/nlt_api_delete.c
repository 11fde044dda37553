/*
 * nlt_api_delete.c - delete_series, clean_tombstones.
 *
 * They wait for the helper, so they run in a thread, and no longer than a
 * query may.
 */
#include <poll.h>

#include "nlt_api.h"

#define PAUSE_MS 20

/* Tells the client to come back when a flush may be through. */
#define RETRY_LATER_S 5

/* ---- waiting ---- */

static nlt_rc_t
poll_cb(void *ctx)
{
    nlt_api_t *a = ctx;

    switch (__atomic_load_n(&a->cancel, __ATOMIC_RELAXED)) {
    case 0:
        return NLT_OK;
    case NLT_API_EXPIRED:
        return NLT_ETIMEOUT;
    default:
        return NLT_ECANCELED;
    }
}

static nlt_rc_t
pause_cb(void *ctx)
{
    (void) poll(NULL, 0, PAUSE_MS);
    return poll_cb(ctx);
}

nlt_store_wait_t
nlt_api_wait(nlt_api_t *a)
{
    return (nlt_store_wait_t){pause_cb, poll_cb, a};
}

/*
 * What went wrong.  `late` says what holds after a timeout.  All that passes
 * by itself is 503, so that the client tries again.
 */
static void
fail(nlt_api_t *a, const nlt_err_t *err, const char *late)
{
    switch (err->rc) {
    case NLT_EINVAL:
        nlt_api_fail(a, "bad_data", 400, "%s", err->text);
        break;
    case NLT_ELIMIT:
        nlt_api_fail(a, "execution", 422, "%s", err->text);
        break;
    case NLT_ETIMEOUT:
        nlt_api_fail(a, "timeout", 503, "%s", late);
        break;
    case NLT_ECANCELED:
        nlt_api_fail(a, "canceled", 499, "request was canceled");
        break;
    case NLT_ENOTREADY:
        nlt_api_fail(a, "unavailable", 503, "%s", err->text);
        break;
    case NLT_AGAIN:
    case NLT_EFULL:
    case NLT_ENOMEM:
        nlt_api_fail(a, "unavailable", 503, "%s", err->text);
        a->answer.retry_after_s = RETRY_LATER_S;
        break;
    default:
        nlt_log_todo(a->env, NLT_LOG_ERROR, nlt_rc_todo(err->rc),
                     "delete failed: %s", err->text);
        nlt_api_fail(a, "internal", 500, "%s", err->text);
    }
}

static void
done(nlt_api_t *a)
{
    a->answer.status = 204;
}

/* ---- delete_series ---- */

static bool
add_set(nlt_api_t *a, nlt_delete_t *d, nlt_str_t text)
{
    nlt_delete_set_t *set = &d->sets[d->n_sets];
    nlt_err_t err;
    nlt_rc_t rc =
        nlt_pql_parse_selector(&a->pool, text, &set->matchers, &set->n, &err);

    if (rc == NLT_EINVAL) {
        nlt_api_bad_param(a, "match[]", "%s", err.text);
        return false;
    }
    if (rc != NLT_OK) {
        nlt_api_fail_rc(a, &err);
        return false;
    }
    d->n_sets++;
    return true;
}

/* match[], start, end; false: answered. */
static bool
parse_delete(nlt_api_t *a, nlt_delete_t *d)
{
    nlt_str_t name = NLT_STR("match[]");

    *d = (nlt_delete_t){.tenant = a->conf.tenant};
    if (nlt_api_param(a, "match[]").data == NULL) {
        nlt_api_fail(a, "bad_data", 400, "no match[] parameter provided");
        return false;
    }
    if (!nlt_api_param_time(a, "start", INT64_MIN, &d->t_min_ms)
        || !nlt_api_param_time(a, "end", INT64_MAX, &d->t_max_ms)) {
        return false;
    }
    d->sets = nlt_pool_array(&a->pool, a->n_params, sizeof(*d->sets));
    if (d->sets == NULL) {
        nlt_api_fail(a, "execution", 422, "out of memory");
        return false;
    }
    for (size_t i = 0; i < a->n_params; i++) {
        if (nlt_str_eq(a->params[i].name, name)
            && !add_set(a, d, a->params[i].value)) {
            return false;
        }
    }
    return true;
}

void
nlt_api_run_delete_series(nlt_api_t *a)
{
    const nlt_store_wait_t wait = nlt_api_wait(a);
    nlt_delete_t d;
    nlt_err_t err;

    if (!parse_delete(a, &d)) {
        return;
    }
    if (d.t_min_ms > d.t_max_ms /* nothing, as in Prometheus */
        || d.tenant == NLT_TENANT_NOBODY) {
        done(a);
        return;
    }
    err.rc = nlt_store_delete(a->store, &d, &wait, &err);
    if (err.rc == NLT_OK) {
        done(a);
    } else {
        fail(a, &err, "delete timed out, nothing was deleted");
    }
}

/* ---- clean_tombstones ---- */

void
nlt_api_run_clean_tombstones(nlt_api_t *a)
{
    const nlt_store_wait_t wait = nlt_api_wait(a);
    nlt_err_t err;

    err.rc = nlt_store_clean(a->store, &wait, &err);
    if (err.rc == NLT_OK) {
        done(a);
    } else {
        fail(a, &err, "blocks are still being rewritten");
    }
}

/*
 * nlt_api_admin.c - what changes the store as a whole: snapshots, flush.
 */
#include "nlt_api.h"
#include "nlt_snapshot.h"

/* What Go's strconv.ParseBool takes; missing or empty: false. */
static bool
param_bool(nlt_api_t *a, const char *name, bool *out)
{
    nlt_str_t s = nlt_api_param(a, name);

    *out = false;
    if (s.len == 0 || nlt_api_parse_bool(s, out)) {
        return true;
    }
    nlt_api_bad_param(a, name,
                      "unable to parse boolean: strconv.ParseBool: parsing "
                      "%.*s: invalid syntax",
                      NLT_FMT(nlt_api_quote(a, s)));
    return false;
}

/* format=: portable, which is what others read, or dense. */
static bool
param_format(nlt_api_t *a, bool *dense)
{
    nlt_str_t s = nlt_api_param(a, "format");

    *dense = nlt_str_eq(s, NLT_STR("dense"));
    if (*dense || s.len == 0 || nlt_str_eq(s, NLT_STR("portable"))) {
        return true;
    }
    nlt_api_bad_param(a, "format", "%.*s is not \"portable\" or \"dense\"",
                      NLT_FMT(nlt_api_quote(a, s)));
    return false;
}

void
nlt_api_run_flush_wait(nlt_api_t *a)
{
    nlt_err_t err;

    err.rc =
        nlt_snapshot_flush(a->store, &a->cancel, a->conf.timeout_ms, &err);
    if (err.rc == NLT_OK) {
        a->answer.status = 204;
    } else {
        nlt_api_fail_rc(a, &err);
    }
}

void
nlt_api_run_snapshot(nlt_api_t *a)
{
    char name[NLT_SNAPSHOT_NAME_SIZE];
    nlt_snapshot_conf_t conf = {.tenant = a->conf.tenant,
                                .term = a->conf.tenant_term,
                                .cancel = &a->cancel,
                                .timeout_ms = a->conf.timeout_ms};
    nlt_err_t err;

    if (!param_bool(a, "skip_head", &conf.skip_head)
        || !param_format(a, &conf.as_is)) {
        return;
    }
    switch (nlt_snapshot_create(a->store, &conf, name, &err)) {
    case NLT_OK:
        nlt_buf_reset(&a->text);
        nlt_buf_addf(&a->text,
                     "{\"status\":\"success\",\"data\":{\"name\":\"%s\"}}",
                     name);
        nlt_api_text(a, 200, "application/json");
        break;
    case NLT_ECANCELED:
    case NLT_ETIMEOUT:
    case NLT_ENOTREADY:
        nlt_api_fail_rc(a, &err);
        break;
    default:
        nlt_log_todo(a->env, NLT_LOG_ERROR, nlt_rc_todo(err.rc),
                     "snapshot failed: %s", err.text);
        nlt_api_fail(a, "internal", 500, "create snapshot: %s", err.text);
    }
}

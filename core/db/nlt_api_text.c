/*
 * nlt_api_text.c - answers that read no samples.
 */
#include "nlt_api.h"
#include "nlt_num.h"

#define JSON_TYPE "application/json"
#define TEXT_TYPE "text/plain; charset=utf-8"

/* Is the answer to be JSON?  format=json, or an Accept that names it. */
static bool
wants_json(const nlt_api_t *a)
{
    static const char type[] = "application/json";
    nlt_str_t accept = a->req.accept;

    if (nlt_str_eq(nlt_api_param_text(a, "format"), NLT_STR("json"))) {
        return true;
    }
    for (size_t i = 0; i + sizeof(type) - 1 <= accept.len; i++) {
        if (memcmp(accept.data + i, type, sizeof(type) - 1) == 0) {
            return true;
        }
    }
    return false;
}

void
nlt_api_run_healthy(nlt_api_t *a)
{
    bool json = wants_json(a);

    nlt_buf_reset(&a->text);
    nlt_buf_add_c(&a->text,
                  json ? "{\"healthy\":true}\n" : "Nightlight is Healthy.\n");
    nlt_api_text(a, 200, json ? JSON_TYPE : TEXT_TYPE);
}

bool
nlt_api_is_draining(const nlt_api_t *a)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl_hold(a->store);
    bool draining = false;

    if (ctl != NULL) {
        int64_t drained = atomic_load(&ctl->drained_ms);

        draining = drained != 0 && a->conf.server != NULL
                   && drained == a->conf.server->t_start_ms;
        nlt_store_ctl_release(a->store);
    }
    return draining;
}

/*
 * Does this process shut down, and none takes over?  After a reload or an
 * upgrade there are some that go by a newer configuration, and who asks an old
 * one is not to turn away from them.
 */
static bool
is_leaving(const nlt_api_t *a)
{
    nlt_store_gauges_t g;

    if (a->conf.server == NULL || !a->conf.server->leaving) {
        return false;
    }
    nlt_store_gauges(a->store, &g);
    return g.load.t_config_ms <= a->conf.server->t_config_ms;
}

/* {"ready":...,"reasons":[...],"notes":[...]}; "" is no entry. */
static void
ready_json(nlt_api_t *a, bool ready, const char *reason, const char *note)
{
    nlt_buf_t *b = &a->text;

    nlt_buf_add_c(b, ready ? "{\"ready\":true,\"reasons\":["
                           : "{\"ready\":false,\"reasons\":[");
    if (!ready) {
        nlt_json_string(b, (nlt_str_t){strlen(reason), reason}, true);
    }
    nlt_buf_add_c(b, "],\"notes\":[");
    if (note[0] != '\0') {
        nlt_json_string(b, (nlt_str_t){strlen(note), note}, true);
    }
    nlt_buf_add_c(b, "]}\n");
}

void
nlt_api_run_ready(nlt_api_t *a)
{
    static const char draining[] =
        "draining: this server is about to be stopped";
    static const char leaving[] =
        "shutting down: this server is being stopped";
    char note[NLT_STORE_REASON_MAX] = "";
    const char *reason;
    nlt_store_status_t st;
    bool json = wants_json(a), ready;

    nlt_store_status(a->store, &st);
    if (st.ready) {
        nlt_store_note(a->store, note);
    }
    ready = st.ready;
    reason = st.reason;
    if (ready && is_leaving(a)) {
        ready = false;
        reason = leaving;
    } else if (ready && nlt_api_is_draining(a)) {
        ready = false;
        reason = draining;
    }
    nlt_buf_reset(&a->text);
    if (json) {
        ready_json(a, ready, reason, note);
    } else if (!ready) {
        nlt_buf_addf(&a->text, "Service Unavailable: %s\n", reason);
    } else {
        nlt_buf_add_c(&a->text, "Nightlight is Ready.\n");
        nlt_buf_addf(&a->text, note[0] != '\0' ? "%s\n" : "%s", note);
    }
    nlt_api_text(a, ready ? 200 : 503, json ? JSON_TYPE : TEXT_TYPE);
    if (!ready) {
        a->outcome = NLT_OUTCOME_NOT_READY;
        a->answer.retry_after_s = 1;
    }
}

/* Who drains is known by when it began: the head outlives it. */
static void
set_drained(nlt_api_t *a, int64_t drained_ms)
{
    nlt_head_ctl_t *ctl = nlt_store_ctl_hold(a->store);

    if (ctl == NULL) {
        nlt_api_fail(a, "unavailable", 503,
                     "the store is not ready, and says so to whoever asks");
        return;
    }
    atomic_store(&ctl->drained_ms, drained_ms);
    nlt_store_ctl_release(a->store);
    nlt_log(a->env, NLT_LOG_NOTICE,
            drained_ms != 0 ? "\"%.*s\" is drained: ready says no, "
                              "until resume or the next start"
                            : "\"%.*s\" is not drained any more",
            NLT_FMT(a->conf.store_name));
    a->answer.status = 204;
}

void
nlt_api_run_drain(nlt_api_t *a)
{
    set_drained(a, a->conf.server != NULL ? a->conf.server->t_start_ms : 0);
}

void
nlt_api_run_resume(nlt_api_t *a)
{
    set_drained(a, 0);
}

void
nlt_api_run_flush(nlt_api_t *a)
{
    nlt_err_t err;

    if (nlt_store_flush_soon(a->store, &err) != NLT_OK) {
        nlt_api_fail_rc(a, &err);
        return;
    }
    a->answer.status = 204;
}

/* {name="value",...} of text exposition. */
static void
add_labels(nlt_buf_t *b, const nlt_self_metric_t *m)
{
    for (size_t i = 0; i < m->n_labels; i++) {
        nlt_str_t v = m->label[i].value;

        nlt_buf_add_c(b, i == 0 ? "{" : ",");
        nlt_buf_add_str(b, m->label[i].name);
        nlt_buf_add_c(b, "=\"");
        for (size_t k = 0; k < v.len; k++) {
            if (v.data[k] == '\n') {
                nlt_buf_add_c(b, "\\n");
                continue;
            }
            if (v.data[k] == '"' || v.data[k] == '\\') {
                nlt_buf_add_byte(b, '\\');
            }
            nlt_buf_add_byte(b, (uint8_t) v.data[k]);
        }
        nlt_buf_add_byte(b, '"');
    }
    if (m->n_labels > 0) {
        nlt_buf_add_byte(b, '}');
    }
}

void
nlt_api_run_metrics(nlt_api_t *a)
{
    static const char *const type[] = {"gauge", "counter", "histogram"};
    nlt_self_list_t l = {.pool = &a->pool};
    const char *family = "";
    nlt_buf_t *b = nlt_api_begin_text(a);

    if (nlt_self_collect(a->store, &a->conn, &l) != NLT_OK) {
        nlt_api_fail(a, "execution", 422, "out of memory");
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        const nlt_self_metric_t *m = &l.v[i];
        char value[NLT_NUM_TEXT_MAX];
        size_t len = nlt_num_sample(value, m->value);

        if (strcmp(family, m->name) != 0) {
            family = m->name;
            nlt_buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help,
                         m->name, type[m->type]);
        }
        nlt_buf_addf(b, "%s%s", m->name, m->suffix);
        add_labels(b, m);
        nlt_buf_addf(b, " %.*s\n", (int) len, value);
    }
    nlt_api_text(a, 200, "text/plain; version=0.0.4; charset=utf-8");
}

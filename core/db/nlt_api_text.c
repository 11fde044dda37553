/*
 * nlt_api_text.c - answers that read no samples.
 */
#include "nlt_api.h"
#include "nlt_num.h"

void
nlt_api_run_healthy(nlt_api_t *a)
{
    nlt_buf_reset(&a->text);
    nlt_buf_add_c(&a->text, "Nightlight is Healthy.\n");
    nlt_api_text(a, 200, "text/plain; charset=utf-8");
}

void
nlt_api_run_ready(nlt_api_t *a)
{
    nlt_store_status_t st;

    nlt_store_status(a->store, &st);
    nlt_buf_reset(&a->text);
    if (st.ready) {
        char note[NLT_STORE_REASON_MAX];

        nlt_buf_add_c(&a->text, "Nightlight is Ready.\n");
        nlt_store_note(a->store, note);
        if (note[0] != '\0') {
            nlt_buf_addf(&a->text, "%s\n", note);
        }
        nlt_api_text(a, 200, "text/plain; charset=utf-8");
        return;
    }
    nlt_buf_addf(&a->text, "Service Unavailable: %s\n", st.reason);
    nlt_api_text(a, 503, "text/plain; charset=utf-8");
    a->answer.retry_after_s = 1;
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

void
nlt_api_run_metrics(nlt_api_t *a)
{
    nlt_self_metric_t m[NLT_SELF_METRICS_MAX];
    size_t n = nlt_self_collect(a->store, a->env, &a->conn, m);

    nlt_buf_reset(&a->text);
    for (size_t i = 0; i < n; i++) {
        char value[NLT_NUM_TEXT_MAX];
        size_t len = nlt_num_sample(value, m[i].value);

        nlt_buf_addf(&a->text, "# HELP %s %s\n# TYPE %s %s\n%s %.*s\n",
                     m[i].name, m[i].help, m[i].name,
                     m[i].counter ? "counter" : "gauge", m[i].name, (int) len,
                     value);
    }
    nlt_api_text(a, 200, "text/plain; version=0.0.4; charset=utf-8");
}

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
    a->outcome = NLT_OUTCOME_NOT_READY;
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

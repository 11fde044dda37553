/*
 * nlt_api_federate.c - the newest sample of each series, as text exposition.
 *
 * Sorted by metric name, with the time of each sample and instance="" where
 * there is no instance, so that the scraper does not add its own.  Names that
 * the client does not understand are escaped as it asks for in Accept.
 */
#include <math.h>

#include "nlt_api.h"
#include "nlt_num.h"

typedef enum {
    ESCAPE_UNDERSCORES, /* what is not legacy becomes '_' */
    ESCAPE_DOTS,        /* '.' "_dot_", '_' "__" */
    ESCAPE_VALUES,      /* U__ and hexadecimal numbers */
    ESCAPE_NONE         /* the client reads UTF-8 */
} escape_t;

typedef struct {
    nlt_select_t *sels;
    size_t n;
    size_t n_compiled;
    int64_t now_ms;
    escape_t escape;
    nlt_buf_t name; /* of the family that is open */
    bool any;       /* there is one */
    nlt_pool_t pool;
    nlt_samples_t samples;
} federate_t;

/* ---- what the client takes ---- */

static nlt_str_t
trim(nlt_str_t s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }
    while (s.len > 0
           && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* Cuts what is before the next sep off *rest. */
static nlt_str_t
cut(nlt_str_t *rest, char sep)
{
    const char *at = rest->len > 0 ? memchr(rest->data, sep, rest->len) : NULL;
    size_t n = at != NULL ? (size_t) (at - rest->data) : rest->len;
    nlt_str_t part = {n, rest->data};

    rest->data += n + (at != NULL);
    rest->len -= n + (at != NULL);
    return trim(part);
}

static bool
is(nlt_str_t s, const char *text)
{
    return nlt_str_eq(s, (nlt_str_t){strlen(text), text});
}

/* One clause of Accept. */
typedef struct {
    nlt_str_t type;
    nlt_str_t version;
    nlt_str_t escaping;
    double q;
} clause_t;

static clause_t
parse_clause(nlt_str_t text)
{
    clause_t c = {.q = 1};

    c.type = cut(&text, ';');
    while (text.len > 0) {
        nlt_str_t value = cut(&text, ';');
        nlt_str_t name = cut(&value, '=');

        value = trim(value);
        if (is(name, "q")) {
            /* NaN has no place in an order */
            if (nlt_num_parse(value, &c.q) != 0 || isnan(c.q)) {
                c.q = 1;
            }
        } else if (is(name, "version")) {
            c.version = value;
        } else if (is(name, "escaping")) {
            c.escaping = value;
        }
    }
    return c;
}

/* Does the client like a, number i of its clauses, better than b, number k? */
static bool
is_before(const clause_t *a, size_t i, const clause_t *b, size_t k)
{
    return a->q > b->q || (a->q == b->q && i < k);
}

/* The text format by the clause that the client likes best; false: none. */
static bool
find_text(nlt_str_t accept, clause_t *out, size_t *at)
{
    bool found = false;

    for (size_t i = 0; accept.len > 0; i++) {
        clause_t c = parse_clause(cut(&accept, ','));

        if (is(c.type, "text/plain")
            && (c.version.len == 0 || is(c.version, "0.0.4"))
            && (!found || is_before(&c, i, out, *at))) {
            *out = c;
            *at = i;
            found = true;
        }
    }
    return found;
}

/*
 * Of the clauses in the order in which the client likes them, up to the first
 * that names the text format, the last one that names an escaping says which.
 * What else it would take (protobuf) there is not.  Two passes over the
 * header, whatever is in it.
 */
static void
negotiate(nlt_api_t *a, federate_t *f)
{
    static const char *const names[] = {
        [ESCAPE_UNDERSCORES] = "underscores",
        [ESCAPE_DOTS] = "dots",
        [ESCAPE_VALUES] = "values",
        [ESCAPE_NONE] = "allow-utf-8",
    };
    nlt_str_t accept = a->req.accept;
    clause_t text = {.q = 0}, last = {.q = HUGE_VAL};
    size_t text_at = 0, last_at = 0;
    bool has_text = find_text(accept, &text, &text_at);
    nlt_err_t type;

    f->escape = ESCAPE_UNDERSCORES;
    for (size_t i = 0; accept.len > 0; i++) {
        clause_t c = parse_clause(cut(&accept, ','));

        if ((has_text && is_before(&text, text_at, &c, i))
            || is_before(&c, i, &last, last_at)) {
            continue;
        }
        for (size_t k = 0; k < NLT_COUNT(names); k++) {
            if (is(c.escaping, names[k])) {
                f->escape = (escape_t) k;
                last = c;
                last_at = i;
            }
        }
    }
    (void) nlt_err_set(&type, NLT_OK,
                       "text/plain; version=0.0.4; charset=utf-8; escaping=%s",
                       names[f->escape]);
    a->answer.content_type =
        nlt_pool_str(&a->pool, (nlt_str_t){type.len, type.text});
}

/* ---- text ---- */

static bool
is_legacy_byte(unsigned char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'
           || c == ':' || (!first && c >= '0' && c <= '9');
}

/* One character of a name that needs escaping. */
static void
add_escaped(nlt_buf_t *b, escape_t escape, nlt_str_t rest, bool first,
            size_t n, uint32_t rune)
{
    unsigned char c = (unsigned char) rest.data[0];
    bool legacy = n == 1 && is_legacy_byte(c, first);

    if (escape == ESCAPE_DOTS) {
        if (c == '_') {
            nlt_buf_add_c(b, "__");
        } else if (c == '.') {
            nlt_buf_add_c(b, "_dot_");
        } else if (legacy) {
            nlt_buf_add_byte(b, c);
        } else {
            nlt_buf_add_c(b, "__");
        }
    } else if (escape == ESCAPE_VALUES) {
        if (c == '_') {
            nlt_buf_add_c(b, "__");
        } else if (legacy) {
            nlt_buf_add_byte(b, c);
        } else {
            nlt_buf_addf(b, "_%x_", (unsigned) rune);
        }
    } else {
        nlt_buf_add_byte(b, legacy ? c : '_');
    }
}

/*
 * A name as the client can read it.  Names that everybody reads stay as they
 * are.
 */
static void
add_name(nlt_buf_t *b, escape_t escape, nlt_str_t name)
{
    bool legacy = nlt_metric_name_is_legacy(name);

    if (escape == ESCAPE_NONE && !legacy) {
        nlt_buf_add_byte(b, '"');
        for (size_t i = 0; i < name.len; i++) {
            if (name.data[i] == '"' || name.data[i] == '\\') {
                nlt_buf_add_byte(b, '\\');
            }
            if (name.data[i] == '\n') {
                nlt_buf_add_c(b, "\\n");
            } else {
                nlt_buf_add_byte(b, (uint8_t) name.data[i]);
            }
        }
        nlt_buf_add_byte(b, '"');
        return;
    }
    if (legacy) {
        nlt_buf_add_str(b, name);
        return;
    }
    if (escape == ESCAPE_VALUES) {
        nlt_buf_add_c(b, "U__");
    }
    for (size_t i = 0; i < name.len;) {
        nlt_str_t rest = {name.len - i, name.data + i};
        uint32_t rune;
        size_t n = nlt_utf8_decode(rest, &rune);

        add_escaped(b, escape, rest, i == 0, n, rune);
        i += n;
    }
}

static void
add_value(nlt_buf_t *b, nlt_str_t value)
{
    size_t run = 0;

    nlt_buf_add_c(b, "=\"");
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];

        if (c != '"' && c != '\\' && c != '\n') {
            continue;
        }
        nlt_buf_add(b, value.data + run, i - run);
        nlt_buf_add_byte(b, '\\');
        nlt_buf_add_byte(b, c == '\n' ? 'n' : (uint8_t) c);
        run = i + 1;
    }
    nlt_buf_add(b, value.data + run, value.len - run);
    nlt_buf_add_byte(b, '"');
}

/* A name that cannot stand in front of the braces stands first in them. */
static bool
is_inside(const federate_t *f, nlt_str_t name)
{
    return f->escape == ESCAPE_NONE && !nlt_metric_name_is_legacy(name);
}

static void
add_line(nlt_buf_t *b, const federate_t *f, nlt_labels_t labels, int64_t t_ms,
         double v)
{
    char text[NLT_NUM_TEXT_MAX];
    nlt_str_t name = nlt_buf_str(&f->name);
    char separator = '{';

    if (is_inside(f, name)) {
        nlt_buf_add_byte(b, '{');
        separator = ',';
    }
    add_name(b, f->escape, name);
    for (size_t i = 0; i < labels.n; i++) {
        if (nlt_str_eq(labels.v[i].name, NLT_METRIC_NAME)) {
            continue;
        }
        nlt_buf_add_byte(b, (uint8_t) separator);
        separator = ',';
        add_name(b, f->escape, labels.v[i].name);
        add_value(b, labels.v[i].value);
    }
    if (nlt_labels_get(labels, NLT_STR("instance")).len == 0) {
        nlt_buf_add_byte(b, (uint8_t) separator);
        nlt_buf_add_c(b, "instance=\"\"");
    }
    nlt_buf_add_c(b, "} ");
    /* Go's writer has no negative zero */
    nlt_buf_add(b, text, nlt_num_g(text, v == 0 ? 0 : v));
    nlt_buf_add_byte(b, ' ');
    nlt_buf_add_i64(b, t_ms);
    nlt_buf_add_byte(b, '\n');
}

/* ---- the flow ---- */

/* By metric name, then as all labels are. */
static int
by_name(nlt_labels_t x, nlt_labels_t y)
{
    int c = nlt_str_cmp(nlt_labels_get(x, NLT_METRIC_NAME),
                        nlt_labels_get(y, NLT_METRIC_NAME));

    return c != 0 ? c : nlt_labels_cmp(x, y);
}

static void
federate_begin(nlt_api_t *a)
{
    federate_t *f = a->flow.ctx;

    nlt_walk_deinit(&a->flow.walk);
    nlt_walk_init(&a->flow.walk, a->env->mem, a->conf.memory_max, f->sels,
                  f->n, a->conf.series_max, by_name);
    f->any = false;
}

static nlt_rc_t
add_series(nlt_api_t *a, federate_t *f, const nlt_walk_item_t *item,
           nlt_err_t *err)
{
    nlt_str_t name = nlt_labels_get(item->labels, NLT_METRIC_NAME);
    nlt_buf_t *b = &a->flow.buf;
    nlt_rc_t rc;

    if (name.len == 0) {
        return NLT_OK;
    }
    rc = item->set->source->ops->read(item->set, item->idx, NLT_READ_NEWEST,
                                      item->sel->t_min_ms, item->sel->t_max_ms,
                                      &f->samples, err);
    if (rc != NLT_OK || f->samples.n == 0 || nlt_is_stale(f->samples.v[0])) {
        return rc;
    }
    a->answer.samples_read++;
    if (!f->any || !nlt_str_eq(nlt_buf_str(&f->name), name)) {
        nlt_buf_reset(&f->name);
        nlt_buf_add_str(&f->name, name);
        f->any = true;
        nlt_buf_add_c(b, "# TYPE ");
        add_name(b, f->escape, name);
        nlt_buf_add_c(b, " untyped\n");
    }
    add_line(b, f, item->labels, f->samples.t_ms[0], f->samples.v[0]);
    return f->name.rc;
}

static nlt_rc_t
federate_make(nlt_api_t *a, nlt_err_t *err)
{
    federate_t *f = a->flow.ctx;
    nlt_rc_t rc = NLT_OK;

    while (rc == NLT_OK && a->flow.buf.len < NLT_API_FLOW_BYTES) {
        nlt_walk_item_t item;

        rc = nlt_walk_next(&a->flow.walk, &a->view.source, &item, err);
        if (rc == NLT_OK) {
            rc = add_series(a, f, &item, err);
        }
    }
    nlt_api_note_memory(a, f->pool.peak_bytes);
    return rc;
}

static void
release(federate_t *f)
{
    for (size_t i = 0; i < f->n_compiled; i++) {
        for (size_t j = 0; j < f->sels[i].n_matchers; j++) {
            /* made here, const only for the source */
            nlt_matcher_release(
                (nlt_matcher_t *) (uintptr_t) &f->sels[i].matchers[j]);
        }
    }
    f->n_compiled = 0;
}

static void
federate_end(nlt_api_t *a)
{
    federate_t *f = a->flow.ctx;

    release(f);
    nlt_buf_deinit(&f->name);
    nlt_pool_deinit(&f->pool);
}

static const nlt_api_flow_ops_t federate_ops = {
    .begin = federate_begin,
    .make = federate_make,
    .end = federate_end,
};

/* ---- the request ---- */

static nlt_rc_t
add_select(nlt_api_t *a, federate_t *f, nlt_str_t text, nlt_err_t *err)
{
    nlt_select_t *sel = &f->sels[f->n++];
    nlt_matcher_t *m = NULL;
    size_t n = 0;
    nlt_rc_t rc = nlt_pql_parse_selector(&a->pool, text, &m, &n, err);

    *sel = (nlt_select_t){.matchers = m,
                          .t_min_ms = f->now_ms - a->conf.lookback_ms,
                          .t_max_ms = f->now_ms};
    f->n_compiled = f->n;
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        rc = nlt_matcher_compile(&a->pool, &m[i], err);
        sel->n_matchers += rc == NLT_OK;
    }
    return rc;
}

void
nlt_api_run_federate(nlt_api_t *a)
{
    federate_t *f = nlt_pool_zalloc(&a->pool, sizeof(*f));
    nlt_rc_t rc = NLT_OK;
    nlt_err_t err;

    if (f != NULL) {
        f->sels = nlt_pool_array(&a->pool, a->n_params, sizeof(*f->sels));
    }
    if (f == NULL || f->sels == NULL) {
        nlt_api_fail(a, "execution", 422, "out of memory");
        return;
    }
    f->now_ms = nlt_now_ms(a->env);
    for (size_t i = 0; rc == NLT_OK && i < a->n_params; i++) {
        if (is(a->params[i].name, "match[]")) {
            rc = add_select(a, f, a->params[i].value, &err);
        }
    }
    if (rc != NLT_OK) {
        release(f);
        nlt_api_fail_rc(a, &err);
        return;
    }
    nlt_buf_init(&f->name, a->env->mem, 1u << 20);
    nlt_pool_init(&f->pool, a->env->mem, a->conf.memory_max);
    f->samples.pool = &f->pool;
    negotiate(a, f);
    a->answer.status = 200;
    nlt_api_flow_run(a, &federate_ops, f);
}

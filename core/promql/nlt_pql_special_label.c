/*
 * nlt_pql_special_label.c - label_replace, label_join.
 */
#include "nlt_pql_special.h"

/* A replaced or joined value is at most this long. */
#define VALUE_MAX (1u << 20)

typedef struct {
    nlt_pql_iter_t op;
    nlt_pql_iter_t *child;
    bool join;
    nlt_str_t dst;
    nlt_str_t text; /* replacement, or separator */
    nlt_str_t *src;
    size_t n_src;
    nlt_matcher_t re; /* of replace */
    nlt_buf_t buf;
} label_t;

static nlt_str_t
arg_string(const nlt_pql_plan_t *plan, size_t i)
{
    return nlt_pql_string_value(plan->kids[i]);
}

/* The value of $1, ${1}, $name or ${name} at s; *used bytes of s. */
static nlt_str_t
group_value(const label_t *e, nlt_str_t s, const nlt_captures_t *caps,
            size_t *used)
{
    bool brace = s.len > 1 && s.data[1] == '{';
    size_t at = brace ? 2 : 1, end = at;
    nlt_str_t name;
    int64_t index;
    bool digits = true;

    while (end < s.len
           && ((s.data[end] >= '0' && s.data[end] <= '9')
               || (s.data[end] >= 'a' && s.data[end] <= 'z')
               || (s.data[end] >= 'A' && s.data[end] <= 'Z')
               || s.data[end] == '_')) {
        digits = digits && s.data[end] >= '0' && s.data[end] <= '9';
        end++;
    }
    name = (nlt_str_t){end - at, s.data + at};
    *used = 0;
    if (name.len == 0 || (brace && (end == s.len || s.data[end] != '}'))) {
        return (nlt_str_t){0, NULL}; /* malformed: a plain '$' */
    }
    *used = end + brace;
    if (digits) {
        if (name.len > 9 || !nlt_num_parse_i64(name, &index)) {
            return (nlt_str_t){0, NULL};
        }
    } else {
        index = nlt_regex_group(e->re.re, name);
    }
    if (index < 0 || (size_t) index >= caps->n) {
        return (nlt_str_t){0, NULL};
    }
    return caps->group[index];
}

/* Go's Regexp.Expand of e->text into e->buf. */
static void
expand(label_t *e, const nlt_captures_t *caps)
{
    nlt_str_t s = e->text;

    nlt_buf_reset(&e->buf);
    while (s.len) {
        size_t used = 1;

        if (s.data[0] != '$') {
            nlt_buf_add(&e->buf, s.data, 1);
        } else if (s.len > 1 && s.data[1] == '$') {
            nlt_buf_add(&e->buf, "$", 1);
            used = 2;
        } else {
            nlt_str_t v = group_value(e, s, caps, &used);

            if (used == 0) {
                nlt_buf_add(&e->buf, "$", 1);
                used = 1;
            } else {
                nlt_buf_add_str(&e->buf, v);
            }
        }
        s.data += used;
        s.len -= used;
    }
}

/* The new value into e->buf; NLT_EOF: the row stays as it is. */
static nlt_rc_t
new_value(label_t *e, const nlt_pql_row_t *row)
{
    nlt_captures_t caps;
    nlt_rc_t rc;

    if (!e->join) {
        rc = nlt_regex_capture(e->re.re, nlt_pql_row_label(row, e->src[0]),
                               &caps);
        if (rc == NLT_OK) {
            expand(e, &caps);
        }
        if (rc == NLT_ELIMIT) {
            return nlt_pql_eval_err(e->op.ctx, NLT_EEXEC,
                                    "regular expression in label_replace() "
                                    "takes too long");
        }
        return rc;
    }
    nlt_buf_reset(&e->buf);
    for (size_t i = 0; i < e->n_src; i++) {
        if (i) {
            nlt_buf_add_str(&e->buf, e->text);
        }
        nlt_buf_add_str(&e->buf, nlt_pql_row_label(row, e->src[i]));
    }
    return NLT_OK;
}

static nlt_rc_t
label_next(nlt_pql_iter_t *op, nlt_pql_row_t *row)
{
    label_t *e = (label_t *) op;
    nlt_pql_edit_t edit;
    nlt_labels_t l = {NULL, 0};
    nlt_str_t value = {0, NULL};
    nlt_rc_t rc = e->child->next(e->child, row);

    if (rc == NLT_OK) {
        rc = new_value(e, row);
        if (rc == NLT_EOF) {
            return NLT_OK;
        }
    }
    if (rc == NLT_OK && e->buf.rc != NLT_OK) {
        rc = NLT_ENOMEM;
    }
    if (rc == NLT_OK) {
        rc = nlt_pql_row_labels(op->ctx, row, op->ctx->pool, &l);
    }
    if (rc == NLT_OK) {
        value = nlt_pool_str(op->ctx->pool, nlt_buf_str(&e->buf));
        if ((value.len && value.data == NULL)
            || !nlt_pql_edit_init(op->ctx->pool, l, 1, &edit)) {
            rc = NLT_ENOMEM;
        }
    }
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_pql_edit_set(&edit, e->dst, value);
    row->set = NULL;
    row->labels = (nlt_labels_t){edit.v, edit.n};
    if (nlt_str_eq(e->dst, NLT_METRIC_NAME)) {
        row->drop_name = false;
    }
    return nlt_pql_poll(op->ctx, 16);
}

static nlt_rc_t
check_name(nlt_pql_ctx_t *ctx, nlt_str_t name, const char *what,
           const char *func)
{
    if (name.len && nlt_utf8_valid(name)) {
        return NLT_OK;
    }
    return nlt_pql_eval_err(ctx, NLT_EEXEC,
                            "invalid %s label name in %s(): %.*s", what, func,
                            NLT_FMT(name));
}

static nlt_rc_t
init_replace(label_t *e, const nlt_pql_plan_t *plan)
{
    nlt_pql_ctx_t *ctx = e->op.ctx;
    nlt_err_t err;
    nlt_rc_t rc;

    e->dst = arg_string(plan, 1);
    e->text = arg_string(plan, 2);
    e->src[0] = arg_string(plan, 3);
    e->n_src = 1;
    e->re =
        (nlt_matcher_t){NLT_MATCH_RE, e->src[0], arg_string(plan, 4), NULL};
    memset(&err, 0, sizeof(err));
    rc = nlt_matcher_compile(ctx->pool, &e->re, &err);
    if (rc == NLT_EINVAL) {
        return nlt_pql_eval_err(
            ctx, NLT_EEXEC,
            "invalid regular expression in label_replace(): "
            "%.*s",
            NLT_FMT(e->re.value));
    }
    if (rc != NLT_OK) {
        return rc;
    }
    rc = nlt_pql_own_matcher(ctx, &e->re);
    return rc != NLT_OK
               ? rc
               : check_name(ctx, e->dst, "destination", "label_replace");
}

static nlt_rc_t
init_join(label_t *e, const nlt_pql_plan_t *plan)
{
    nlt_rc_t rc = NLT_OK;

    e->join = true;
    e->dst = arg_string(plan, 1);
    e->text = arg_string(plan, 2);
    for (size_t i = 3; rc == NLT_OK && i < plan->n_kids; i++) {
        e->src[e->n_src++] = arg_string(plan, i);
        rc =
            check_name(e->op.ctx, arg_string(plan, i), "source", "label_join");
    }
    return rc != NLT_OK
               ? rc
               : check_name(e->op.ctx, e->dst, "destination", "label_join");
}

nlt_rc_t
nlt_pql_open_label(nlt_pql_ctx_t *ctx, const nlt_pql_plan_t *plan,
                   nlt_pql_iter_t **out)
{
    label_t *e = nlt_pql_iter_new(ctx, plan, sizeof(*e), label_next);
    bool replace = plan->ast->u.call.func->special == NLT_PQL_SP_LABEL_REPLACE;
    bool unique;
    nlt_rc_t rc;

    if (e == NULL) {
        return NLT_ENOMEM;
    }
    e->src = nlt_pool_array(ctx->pool, plan->n_kids, sizeof(*e->src));
    if (e->src == NULL) {
        return NLT_ENOMEM;
    }
    nlt_buf_init(&e->buf, &ctx->mem, VALUE_MAX);
    rc = replace ? init_replace(e, plan) : init_join(e, plan);
    if (rc == NLT_OK) {
        rc = nlt_pql_open(ctx, plan->kids[0], &e->child);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    *out = &e->op;
    unique = e->child->unique && !nlt_pql_is_meta(e->dst);
    rc = nlt_pql_merge(out, false);
    (*out)->unique = unique;
    return rc;
}

/*
 * nlt_deletes_text.c - DELETES as text.
 */
#include "nlt_deletes.h"

#include "nlt_lines.h"
#include "nlt_num.h"

#define FORMAT 1

/* ---- writing ---- */

static void
print_set(nlt_lines_out_t *l, const nlt_delete_set_t *set)
{
    nlt_buf_addf(l->out, "set %zu", set->n);
    nlt_lines_end_line(l);
    for (size_t i = 0; i < set->n; i++) {
        const nlt_matcher_t *m = &set->matchers[i];

        nlt_buf_addf(l->out, "match %s ", nlt_match_op_text(m->op));
        nlt_lines_add_hex(l->out, m->name.data, m->name.len);
        nlt_buf_add_byte(l->out, ' ');
        nlt_lines_add_hex(l->out, m->value.data, m->value.len);
        nlt_lines_end_line(l);
    }
}

void
nlt_deletes_print(const nlt_delete_list_t *l, const uint8_t *store_id,
                  nlt_buf_t *out)
{
    nlt_lines_out_t lines;

    nlt_lines_begin_file(&lines, out, "deletes", FORMAT, store_id);
    nlt_buf_addf(out, "next %llu", (unsigned long long) l->last + 1);
    nlt_lines_end_line(&lines);
    for (size_t i = 0; i < l->n; i++) {
        const nlt_delete_t *d = &l->v[i];

        nlt_buf_addf(out, "delete %llu %u %lld %lld %llu %zu",
                     (unsigned long long) d->number, d->tenant,
                     (long long) d->t_min_ms, (long long) d->t_max_ms,
                     (unsigned long long) d->arena_max, d->n_sets);
        nlt_lines_end_line(&lines);
        for (size_t k = 0; k < d->n_sets; k++) {
            print_set(&lines, &d->sets[k]);
        }
    }
    nlt_lines_finish(&lines);
}

/* ---- reading ---- */

typedef struct {
    nlt_lines_in_t in;
    nlt_delete_list_t *l;
    const uint8_t *store_id; /* NULL: any */
    nlt_delete_t *d;         /* the one being read */
    size_t n_sets;           /* of it, begun */
    size_t n_matchers;       /* of it, all sets announced so far */
    size_t matchers_left;    /* of the set being read */
    nlt_delete_set_t *set;
} parse_t;

static nlt_rc_t
no_memory(parse_t *p)
{
    return nlt_err_set(p->in.err, NLT_ENOMEM, "DELETES: out of memory");
}

/* The first three lines have fixed places. */
static nlt_rc_t
parse_head(parse_t *p)
{
    nlt_lines_in_t *in = &p->in;
    uint64_t v = 0;

    if (in->n < 3) {
        return nlt_lines_head(in, "deletes", FORMAT, p->store_id);
    }
    if (!nlt_lines_is(in, "next", 2) || !nlt_lines_count(in->word[1], &v)
        || v == 0) {
        return nlt_lines_bad(in, "not the next number");
    }
    p->l->last = v - 1;
    return NLT_OK;
}

static nlt_rc_t
parse_delete(parse_t *p)
{
    nlt_lines_in_t *in = &p->in;
    const nlt_str_t *w = in->word;
    nlt_delete_list_t *l = p->l;
    nlt_delete_t d = {.number = 0};
    uint64_t tenant, n_sets;

    if (!nlt_lines_count(w[1], &d.number) || !nlt_lines_count(w[2], &tenant)
        || !nlt_num_parse_i64(w[3], &d.t_min_ms)
        || !nlt_num_parse_i64(w[4], &d.t_max_ms)
        || !nlt_lines_count(w[5], &d.arena_max)
        || !nlt_lines_count(w[6], &n_sets) || tenant > UINT32_MAX
        || d.t_min_ms > d.t_max_ms || n_sets == 0
        || n_sets > NLT_DELETE_SETS_MAX) {
        return nlt_lines_bad(in, "a number of the delete is wrong");
    }
    if (d.number > l->last || d.number == 0
        || (l->n > 0 && d.number <= l->v[l->n - 1].number)) {
        return nlt_lines_bad(in, "deletes are not in order");
    }
    if (l->n == NLT_DELETES_MAX) {
        return nlt_lines_bad(in, "too many deletes");
    }
    d.tenant = (uint32_t) tenant;
    d.n_sets = (size_t) n_sets;
    d.sets = nlt_pool_array(&l->pool, d.n_sets, sizeof(*d.sets));
    if (d.sets == NULL) {
        return no_memory(p);
    }
    memset(d.sets, 0, d.n_sets * sizeof(*d.sets));
    l->v[l->n] = d;
    p->d = &l->v[l->n++];
    p->n_sets = 0;
    p->n_matchers = 0;
    return NLT_OK;
}

static nlt_rc_t
parse_set(parse_t *p)
{
    uint64_t n;

    if (!nlt_lines_count(p->in.word[1], &n)
        || n > NLT_DELETE_MATCHERS_MAX - p->n_matchers) {
        return nlt_lines_bad(&p->in, "too many matchers");
    }
    p->set = &p->d->sets[p->n_sets++];
    p->set->matchers =
        nlt_pool_array(&p->l->pool, (size_t) n, sizeof(nlt_matcher_t));
    p->n_matchers += (size_t) n;
    p->matchers_left = (size_t) n;
    return p->set->matchers != NULL ? NLT_OK : no_memory(p);
}

static bool
parse_op(nlt_str_t word, nlt_match_op_t *out)
{
    for (nlt_match_op_t op = NLT_MATCH_EQ; op <= NLT_MATCH_NRE; op++) {
        const char *text = nlt_match_op_text(op);

        if (nlt_str_eq(word, (nlt_str_t){strlen(text), text})) {
            *out = op;
            return true;
        }
    }
    return false;
}

/* A word of hex digits as a string in the list's pool. */
static nlt_rc_t
parse_text(parse_t *p, nlt_str_t word, nlt_str_t *out)
{
    size_t n = nlt_lines_hex_len(word);
    char *text;

    if (n > NLT_DELETE_BYTES_MAX) {
        return nlt_lines_bad(&p->in, "not a name or value in hex");
    }
    text = nlt_pool_alloc(&p->l->pool, n);
    if (text == NULL) {
        return no_memory(p);
    }
    if (n > 0) {
        nlt_lines_hex(word, text);
    }
    *out = (nlt_str_t){n, text};
    return NLT_OK;
}

static nlt_rc_t
parse_match(parse_t *p)
{
    nlt_matcher_t m = {.re = NULL};
    nlt_rc_t rc;

    if (!parse_op(p->in.word[1], &m.op)) {
        return nlt_lines_bad(&p->in, "unknown operator");
    }
    rc = parse_text(p, p->in.word[2], &m.name);
    if (rc == NLT_OK) {
        rc = parse_text(p, p->in.word[3], &m.value);
    }
    if (rc == NLT_OK) {
        p->set->matchers[p->set->n++] = m;
        p->matchers_left--;
    }
    return rc;
}

/* Is the delete that was begun complete? */
static bool
is_whole(const parse_t *p)
{
    return p->d == NULL
           || (p->n_sets == p->d->n_sets && p->matchers_left == 0);
}

static nlt_rc_t
parse_line(parse_t *p)
{
    nlt_lines_in_t *in = &p->in;

    if (in->n <= 3) {
        return parse_head(p);
    }
    if (nlt_lines_is(in, "delete", 7) && is_whole(p)) {
        return parse_delete(p);
    }
    if (nlt_lines_is(in, "set", 2) && !is_whole(p) && p->matchers_left == 0) {
        return parse_set(p);
    }
    if (nlt_lines_is(in, "match", 4) && p->matchers_left > 0) {
        return parse_match(p);
    }
    return nlt_lines_bad(in, "unknown record, or not in its place");
}

static nlt_rc_t
parse_all(parse_t *p)
{
    nlt_rc_t rc;

    while ((rc = nlt_lines_next(&p->in)) == NLT_OK) {
        rc = parse_line(p);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    if (rc != NLT_EOF) {
        return rc;
    }
    return p->in.n > 3 && is_whole(p) ? NLT_OK
                                      : nlt_lines_bad(&p->in, "cut off");
}

nlt_delete_list_t *
nlt_deletes_empty(const nlt_env_t *env, size_t bytes)
{
    nlt_delete_list_t *l = nlt_mem_zalloc(env->mem, sizeof(*l));

    if (l == NULL) {
        return NULL;
    }
    l->refs = 1;
    nlt_pool_init(&l->pool, env->mem, bytes + (1u << 20));
    l->v = nlt_pool_array(&l->pool, NLT_DELETES_MAX, sizeof(*l->v));
    if (l->v == NULL) {
        nlt_deletes_free(env, l);
        return NULL;
    }
    return l;
}

nlt_rc_t
nlt_deletes_parse(const nlt_env_t *env, nlt_str_t text,
                  const uint8_t *store_id, nlt_delete_list_t **out,
                  nlt_err_t *err)
{
    parse_t p = {.in = {.name = "DELETES", .text = text, .err = err},
                 .store_id = store_id};
    nlt_rc_t rc;

    *out = NULL;
    /* A matcher is larger than the shortest line of one. */
    p.l = nlt_deletes_empty(env, 16 * text.len);
    rc = p.l == NULL ? no_memory(&p) : parse_all(&p);
    if (rc != NLT_OK) {
        nlt_deletes_free(env, p.l);
        return rc;
    }
    *out = p.l;
    return NLT_OK;
}

void
nlt_deletes_free(const nlt_env_t *env, nlt_delete_list_t *l)
{
    if (l != NULL) {
        nlt_pool_deinit(&l->pool);
        nlt_mem_free(env->mem, l, sizeof(*l));
    }
}

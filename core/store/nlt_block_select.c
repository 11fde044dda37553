/*
 * nlt_block_select.c - series of a block by matchers.
 *
 * A matcher either demands a label or allows its absence, which is told by
 * what it says to the empty value:
 *
 *     refuses ""   a="x"  a=~"x.*"  a!=""   intersect with the series of all
 *                                           values that match
 *     takes ""     a!="x" a=~".*"   a=""    subtract the series of all values
 *                                           that do not match
 *
 * Demands come first, equalities and alternations of literals before those
 * that must look at every value, so that the set is small early.  Once it is
 * much smaller than the number of values of a label, the series' own label is
 * looked at instead of the values.
 */
#include "nlt_block_priv.h"

/* Reading one label of a series costs about as much as so many values. */
#define SERIES_COST 4

typedef struct {
    const nlt_block_t *b;
    nlt_pool_t *pool;
    uint32_t *v; /* series so far; meaningless until known */
    size_t n;
    bool known;
    nlt_err_t *err;
} select_t;

static nlt_rc_t
out_of_memory(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOMEM, "out of memory selecting series");
}

/* NLT_OK: matches, NLT_EOF: does not, else a failure that err describes. */
static nlt_rc_t
test(const nlt_matcher_t *m, nlt_str_t value, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_matcher_test(m, value);

    if (rc != NLT_OK && rc != NLT_EOF) {
        return nlt_matcher_failed(m, rc, err);
    }
    return rc;
}

/* A growing array of lists, and their union. */
typedef struct {
    nlt_postings_t *v;
    size_t n;
    size_t cap;
} lists_t;

static nlt_rc_t
add_list(select_t *s, lists_t *l, nlt_postings_t list)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        nlt_postings_t *v = nlt_pool_grow(s->pool, l->v, l->cap * sizeof(*v),
                                          cap * sizeof(*v));

        if (v == NULL) {
            return out_of_memory(s->err);
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = list;
    return NLT_OK;
}

static nlt_rc_t
add_literal(select_t *s, lists_t *l, nlt_str_t name, nlt_str_t value)
{
    nlt_postings_t list;
    nlt_rc_t rc;

    /* Empty name and value would be "all series", not a label. */
    if (name.len == 0 || value.len == 0) {
        return NLT_OK;
    }
    rc = nlt_index_file_postings(s->b->index, s->pool, name, value, &list,
                                 s->err);
    return rc == NLT_OK ? add_list(s, l, list) : rc;
}

/* The literal values of a matcher, if that is all it has. */
static size_t
literals_of(const nlt_matcher_t *m, const nlt_str_t **out)
{
    if (m->op == NLT_MATCH_EQ || m->op == NLT_MATCH_NE) {
        *out = &m->value;
        return 1;
    }
    return nlt_regex_literals(m->re, out);
}

static bool
is_negative(const nlt_matcher_t *m)
{
    return m->op == NLT_MATCH_NE || m->op == NLT_MATCH_NRE;
}

/* All values of the label for which the matcher says `want`. */
static nlt_rc_t
add_by_scan(select_t *s, lists_t *l, const nlt_matcher_t *m, nlt_rc_t want)
{
    nlt_index_values_t it = nlt_index_file_values(s->b->index, m->name);

    while (m->name.len > 0 && nlt_index_values_next(&it)) {
        nlt_postings_t list;
        nlt_rc_t rc = test(m, it.value, s->err);

        if (rc != NLT_OK && rc != NLT_EOF) {
            return rc;
        }
        if (rc != want) {
            continue;
        }
        rc = nlt_index_file_postings_at(s->b->index, s->pool, it.postings_off,
                                        &list, s->err);
        if (rc == NLT_OK) {
            rc = add_list(s, l, list);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/*
 * Union of the series whose value of m's label gets the answer `want`
 * (NLT_OK or NLT_EOF).  The literals of a matcher are the values that match,
 * or for a negative one those that do not.
 */
static nlt_rc_t
collect(select_t *s, const nlt_matcher_t *m, nlt_rc_t want,
        nlt_postings_t *out)
{
    const nlt_str_t *lit = NULL;
    size_t n = literals_of(m, &lit);
    lists_t lists = {NULL, 0, 0};
    nlt_rc_t rc = NLT_OK;

    if (n > 0 && is_negative(m) == (want == NLT_EOF)) {
        for (size_t i = 0; i < n && rc == NLT_OK; i++) {
            rc = add_literal(s, &lists, m->name, lit[i]);
        }
    } else {
        rc = add_by_scan(s, &lists, m, want);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    return nlt_postings_union_many(s->pool, lists.v, lists.n, out)
               ? NLT_OK
               : out_of_memory(s->err);
}

/* Keeps those of the set whose own label matches. */
static nlt_rc_t
filter(select_t *s, const nlt_matcher_t *m)
{
    size_t kept = 0;
    nlt_str_t last = {0, NULL};
    nlt_rc_t answer = test(m, last, s->err);

    for (size_t i = 0; i < s->n; i++) {
        nlt_str_t value;
        nlt_rc_t rc = nlt_block_label(s->b, s->v[i], m->name, &value, s->err);

        if (rc != NLT_OK) {
            return rc;
        }
        /* One symbol has one place; neighbours often share it. */
        if (value.data != last.data) {
            answer = test(m, value, s->err);
            last = value;
        }
        if (answer != NLT_OK && answer != NLT_EOF) {
            return answer;
        }
        s->v[kept] = s->v[i];
        kept += answer == NLT_OK;
    }
    s->n = kept;
    return NLT_OK;
}

/* The set becomes a copy of the list. */
static nlt_rc_t
begin_with(select_t *s, nlt_postings_t list)
{
    s->v = nlt_pool_array(s->pool, list.n, sizeof(uint32_t));
    if (s->v == NULL) {
        return out_of_memory(s->err);
    }
    if (list.n > 0) {
        memcpy(s->v, list.v, list.n * sizeof(uint32_t));
    }
    s->n = list.n;
    s->known = true;
    return NLT_OK;
}

static nlt_rc_t
apply(select_t *s, const nlt_matcher_t *m, bool demands)
{
    nlt_postings_t list;
    const nlt_str_t *lit;
    nlt_rc_t rc;

    if (s->known
        && s->n < nlt_index_file_n_values(s->b->index, m->name) / SERIES_COST
        && (literals_of(m, &lit) == 0 || is_negative(m) == demands)) {
        return filter(s, m);
    }
    rc = collect(s, m, demands ? NLT_OK : NLT_EOF, &list);
    if (rc != NLT_OK) {
        return rc;
    }
    if (!s->known) {
        return begin_with(s, list);
    }
    nlt_postings_t set = {s->v, s->n};

    s->n = demands ? nlt_postings_intersect(set, list, s->v)
                   : nlt_postings_subtract(set, list, s->v);
    return NLT_OK;
}

/* In which round a matcher is applied: cheap demands, others, exclusions. */
static nlt_rc_t
round_of(select_t *s, const nlt_matcher_t *m, int *out)
{
    const nlt_str_t *lit;
    nlt_rc_t rc = test(m, (nlt_str_t){0, NULL}, s->err);

    if (rc == NLT_OK) {
        *out = 2;
        return NLT_OK;
    }
    *out = is_negative(m) || literals_of(m, &lit) == 0 ? 1 : 0;
    return rc == NLT_EOF ? NLT_OK : rc;
}

static nlt_rc_t
apply_rounds(select_t *s, const nlt_matcher_t *m, size_t n)
{
    static const nlt_str_t none = {0, NULL};
    nlt_postings_t all;
    nlt_rc_t rc;

    for (int round = 0; round < 3; round++) {
        if (round == 2 && !s->known) {
            rc = nlt_index_file_postings(s->b->index, s->pool, none, none,
                                         &all, s->err);
            if (rc == NLT_OK) {
                rc = begin_with(s, all);
            }
            if (rc != NLT_OK) {
                return rc;
            }
        }
        for (size_t i = 0; i < n; i++) {
            int r;

            rc = round_of(s, &m[i], &r);
            if (rc == NLT_OK && r == round) {
                rc = apply(s, &m[i], round < 2);
            }
            if (rc != NLT_OK || (s->known && s->n == 0)) {
                return rc;
            }
        }
    }
    return NLT_OK;
}

nlt_rc_t
nlt_block_select(const nlt_block_t *b, nlt_pool_t *pool,
                 const nlt_matcher_t *matchers, size_t n_matchers,
                 nlt_block_series_t **out, size_t *n, nlt_err_t *err)
{
    select_t s = {.b = b, .pool = pool, .err = err};
    nlt_rc_t rc = apply_rounds(&s, matchers, n_matchers);

    *out = NULL;
    *n = 0;
    if (rc == NLT_OK || rc == NLT_EDATA) {
        rc = nlt_block_done(b, rc, err);
    }
    if (rc == NLT_OK) {
        *out = s.v;
        *n = s.n;
    }
    return rc;
}

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
 * that must look at every value, and of those the one with the fewest series,
 * so that the set is small early.  Once it is, and the lists of a matcher are
 * long, or the values of its label many, the labels of the series are looked
 * at instead: by number of the name's symbol, and the text of a value only
 * when it is not the one of the series before.  A list that is not used is not
 * read; how long it is stands before it.
 */
#include "nlt_block_priv.h"

/* Looking at a label of a series costs about as much as testing so many
 * values, or reading and intersecting so many numbers of lists. */
#define SERIES_PER_VALUE 4
#define SERIES_PER_ENTRY 32

/* Between two polls. */
#define POLL_EVERY 1024

typedef enum {
    ROUND_LITERALS, /* demands, of which the values are known */
    ROUND_DEMANDS,
    ROUND_EXCLUSIONS,
} round_t;

/* One matcher. */
typedef struct {
    const nlt_matcher_t *m;
    round_t round;
    const nlt_str_t *literals; /* whose lists are to be united; or all values
                                  have to be looked at: NULL */
    uint64_t *lists;           /* offsets of the lists of literals */
    size_t n_lists;
    size_t size; /* entries of these lists, or number of values */
} step_t;

typedef struct {
    const nlt_block_t *b;
    nlt_pool_t *pool;
    uint32_t *v; /* series so far; meaningless until known */
    size_t n;
    bool known;
    const nlt_block_poll_t *poll;
    size_t n_polled; /* series and values since it was asked */
    nlt_err_t *err;
} select_t;

static nlt_rc_t
poll_now(select_t *s)
{
    s->n_polled = 0;
    return s->poll != NULL ? s->poll->poll(s->poll->ctx, s->err) : NLT_OK;
}

static nlt_rc_t
poll_some(select_t *s)
{
    return ++s->n_polled < POLL_EVERY ? NLT_OK : poll_now(s);
}

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

/* ---- by lists ---- */

/* A growing array of lists. */
typedef struct {
    nlt_postings_t *v;
    size_t n;
    size_t cap;
} lists_t;

/* Adds the list at an offset. */
static nlt_rc_t
add_list(select_t *s, lists_t *l, uint64_t off)
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
    return nlt_index_file_postings_at(s->b->index, s->pool, off, &l->v[l->n++],
                                      s->err);
}

static nlt_rc_t
add_literals(select_t *s, lists_t *l, const step_t *step)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; rc == NLT_OK && i < step->n_lists; i++) {
        rc = add_list(s, l, step->lists[i]);
    }
    return rc;
}

/* Those of all values of the label for which the matcher says `want`. */
static nlt_rc_t
add_by_scan(select_t *s, lists_t *l, const nlt_matcher_t *m, nlt_rc_t want)
{
    nlt_index_values_t it = nlt_index_file_values(s->b->index, m->name);

    while (m->name.len > 0 && nlt_index_values_next(&it)) {
        nlt_rc_t rc = poll_some(s), answer;

        if (rc != NLT_OK) {
            return rc;
        }
        answer = test(m, it.value, s->err);
        if (answer != NLT_OK && answer != NLT_EOF) {
            return answer;
        }
        if (answer == want) {
            rc = add_list(s, l, it.postings_off);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/*
 * Union of the series whose value of the label gets the answer `want` (NLT_OK
 * or NLT_EOF).
 */
static nlt_rc_t
collect(select_t *s, const step_t *step, nlt_rc_t want, nlt_postings_t *out)
{
    lists_t lists = {NULL, 0, 0};
    nlt_rc_t rc = step->literals != NULL
                      ? add_literals(s, &lists, step)
                      : add_by_scan(s, &lists, step->m, want);

    if (rc != NLT_OK) {
        return rc;
    }
    return nlt_postings_union_many(s->pool, lists.v, lists.n, out)
               ? NLT_OK
               : out_of_memory(s->err);
}

/* ---- by labels ---- */

/* What the matcher says to a value of which the number is known. */
typedef struct {
    const nlt_matcher_t *m;
    uint64_t name; /* number of its symbol + 1, or 0 */
    uint64_t last; /* of the value that was tested last, likewise */
    nlt_rc_t then; /* what it was answered; of 0: who has not the label */
} filter_t;

/* NLT_OK: series id matches, NLT_EOF: it does not. */
static nlt_rc_t
ask(select_t *s, filter_t *f, uint32_t id)
{
    nlt_index_series_t series;
    nlt_rc_t rc = nlt_index_series_open(s->b->index, id, &series, s->err);
    uint64_t value = 0;
    nlt_str_t text = {0, NULL};

    if (rc == NLT_OK && f->name != 0) {
        rc = nlt_index_series_values(&series, &f->name, 1, &value, s->err);
    }
    /* One symbol has one number; neighbours often share it. */
    if (rc != NLT_OK || value == f->last) {
        return rc != NLT_OK ? rc : f->then;
    }
    if (value != 0) {
        rc = nlt_index_file_symbol(s->b->index, value - 1, &text, s->err);
    }
    if (rc == NLT_OK) {
        f->then = test(f->m, text, s->err);
        f->last = value;
        rc = f->then;
    }
    return rc;
}

/* Keeps those of the set whose own label matches. */
static nlt_rc_t
filter(select_t *s, const nlt_matcher_t *m)
{
    filter_t f = {.m = m, .name = nlt_block_symbol(s->b, m->name)};
    size_t kept = 0;

    f.then = test(m, (nlt_str_t){0, NULL}, s->err);
    for (size_t i = 0; i < s->n; i++) {
        nlt_rc_t rc = poll_some(s);

        if (rc == NLT_OK) {
            rc = ask(s, &f, s->v[i]);
        }
        if (rc != NLT_OK && rc != NLT_EOF) {
            return rc;
        }
        s->v[kept] = s->v[i];
        kept += rc == NLT_OK;
    }
    s->n = kept;
    return NLT_OK;
}

/* ---- matchers ---- */

/* The set becomes the list, which lies in the pool for nobody else. */
static void
begin_with(select_t *s, nlt_postings_t list)
{
    s->v = (uint32_t *) (uintptr_t) list.v;
    s->n = list.n;
    s->known = true;
}

static bool
is_few(const select_t *s, const step_t *step)
{
    return s->n < step->size
                      / (step->literals != NULL ? SERIES_PER_ENTRY
                                                : SERIES_PER_VALUE);
}

static nlt_rc_t
apply(select_t *s, const step_t *step)
{
    bool demands = step->round != ROUND_EXCLUSIONS;
    nlt_postings_t set = {s->v, s->n}, list;
    nlt_rc_t rc;

    if (s->known && is_few(s, step)) {
        return filter(s, step->m);
    }
    rc = collect(s, step, demands ? NLT_OK : NLT_EOF, &list);
    if (rc != NLT_OK) {
        return rc;
    }
    if (!s->known) {
        begin_with(s, list);
    } else {
        s->n = demands ? nlt_postings_intersect(set, list, s->v)
                       : nlt_postings_subtract(set, list, s->v);
    }
    return NLT_OK;
}

static bool
is_negative(const nlt_matcher_t *m)
{
    return m->op == NLT_MATCH_NE || m->op == NLT_MATCH_NRE;
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

/* Finds the lists of n literals. */
static nlt_rc_t
find_lists(select_t *s, step_t *step, size_t n)
{
    const nlt_index_file_t *ix = s->b->index;

    step->lists = nlt_pool_array(s->pool, n, sizeof(*step->lists));
    if (step->lists == NULL) {
        return out_of_memory(s->err);
    }
    for (size_t i = 0; i < n; i++) {
        nlt_str_t value = step->literals[i];
        uint64_t off;

        /* Empty name and value would be "all series", not a label. */
        if (step->m->name.len == 0 || value.len == 0) {
            continue;
        }
        off = nlt_index_file_find_postings(ix, step->m->name, value);
        if (off != 0) {
            step->lists[step->n_lists++] = off;
            step->size += nlt_index_file_postings_n(ix, off);
        }
    }
    return NLT_OK;
}

/*
 * The literals of a matcher are the values that match, or for a negative one
 * those that do not.
 */
static nlt_rc_t
prepare(select_t *s, const nlt_matcher_t *m, step_t *step)
{
    nlt_rc_t rc = test(m, (nlt_str_t){0, NULL}, s->err);
    const nlt_str_t *literals = NULL;
    size_t n;

    if (rc != NLT_OK && rc != NLT_EOF) {
        return rc;
    }
    *step = (step_t){.m = m};
    n = is_negative(m) == (rc == NLT_OK) ? literals_of(m, &literals) : 0;
    step->round = rc == NLT_OK ? ROUND_EXCLUSIONS
                  : n > 0      ? ROUND_LITERALS
                               : ROUND_DEMANDS;
    if (n > 0) {
        step->literals = literals;
        return find_lists(s, step, n);
    }
    step->size = nlt_index_file_n_values(s->b->index, m->name);
    return NLT_OK;
}

/* The one to apply before others; the first of equals. */
static bool
comes_before(const step_t *a, const step_t *b)
{
    return a->round != b->round ? a->round < b->round : a->size < b->size;
}

static nlt_rc_t
begin_with_all(select_t *s)
{
    static const nlt_str_t none = {0, NULL};
    nlt_postings_t all;
    nlt_rc_t rc = nlt_index_file_postings(s->b->index, s->pool, none, none,
                                          &all, s->err);

    if (rc == NLT_OK) {
        begin_with(s, all);
    }
    return rc;
}

static nlt_rc_t
apply_all(select_t *s, const nlt_matcher_t *m, size_t n)
{
    step_t *steps = nlt_pool_array(s->pool, n, sizeof(*steps));
    nlt_rc_t rc = poll_now(s);

    if (steps == NULL) {
        return out_of_memory(s->err);
    }
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        rc = prepare(s, &m[i], &steps[i]);
    }
    for (size_t i = 0; rc == NLT_OK && i < n && !(s->known && s->n == 0);
         i++) {
        size_t next = i;
        step_t step;

        for (size_t k = i + 1; k < n; k++) {
            next = comes_before(&steps[k], &steps[next]) ? k : next;
        }
        step = steps[next];
        steps[next] = steps[i];
        if (step.round == ROUND_EXCLUSIONS && !s->known) {
            rc = begin_with_all(s);
        }
        if (rc == NLT_OK) {
            rc = poll_now(s);
        }
        if (rc == NLT_OK) {
            rc = apply(s, &step);
        }
    }
    if (rc == NLT_OK && !s->known) {
        rc = begin_with_all(s);
    }
    return rc;
}

nlt_rc_t
nlt_block_select(const nlt_block_t *b, nlt_pool_t *pool,
                 const nlt_matcher_t *matchers, size_t n_matchers,
                 nlt_block_series_t **out, size_t *n, nlt_err_t *err)
{
    return nlt_block_select_polled(b, pool, matchers, n_matchers, NULL, out, n,
                                   err);
}

nlt_rc_t
nlt_block_select_polled(const nlt_block_t *b, nlt_pool_t *pool,
                        const nlt_matcher_t *matchers, size_t n_matchers,
                        const nlt_block_poll_t *poll, nlt_block_series_t **out,
                        size_t *n, nlt_err_t *err)
{
    select_t s = {.b = b, .pool = pool, .poll = poll, .err = err};
    nlt_rc_t rc = apply_all(&s, matchers, n_matchers);

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

/*
 * nlt_head_select.c - matchers to series, names and values of labels.
 *
 * A result is the intersection of what matchers that need the label select,
 * less what those that accept its absence exclude.  Two ways to do a matcher:
 *
 *   check   look at the label of each candidate: good for few candidates
 *   mark    set a bit per posting of every value that matches: good for many
 *
 * The equality with the fewest postings gives the first candidates; without
 * one all series of the tenant are (the postings of its root pair).  All
 * further matchers only take candidates away.
 */
#include "nlt_head_pairs.h"

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire

/* One candidate's label costs about as much as this many postings. */
#define CHECK_COST 24

typedef struct {
    const nlt_arena_t *a;
    nlt_pool_t *pool;
    uint32_t tenant;
    uint32_t n_series; /* higher numbers came after us */
    uint32_t *v;       /* candidates, ascending */
    size_t n;
    uint64_t *bits; /* n_series + 1 of them, made when first needed */
} select_t;

/* The postings of a pair as first candidates. */
static nlt_rc_t
take_pair(select_t *s, uint32_t pair)
{
    const nlt_arena_pair_t *p = nlt_arena_pair(s->a, pair);
    nlt_arena_walk_t w;
    size_t cap;

    s->n = 0;
    if (p == NULL) {
        return NLT_OK;
    }
    nlt_arena_walk_begin(&w, s->a, p);
    cap = w.left < s->n_series ? w.left : s->n_series;
    s->v = nlt_pool_array(s->pool, cap, sizeof(*s->v));
    if (s->v == NULL) {
        return NLT_ENOMEM;
    }
    for (uint32_t x; s->n < cap && (x = nlt_arena_walk_next(&w)) != 0;) {
        if (x > s->n_series) {
            break;
        }
        s->v[s->n++] = x;
    }
    return NLT_OK;
}

/* Does a matcher accept a value?  NLT_OK, NLT_EOF, NLT_ELIMIT. */
static nlt_rc_t
test(const nlt_matcher_t *m, nlt_str_t value)
{
    if (m->op == NLT_MATCH_EQ) {
        return nlt_str_eq(m->value, value) ? NLT_OK : NLT_EOF;
    }
    if (m->op == NLT_MATCH_NE) {
        return nlt_str_eq(m->value, value) ? NLT_EOF : NLT_OK;
    }
    return nlt_matcher_test(m, value);
}

/* The pair of a series that has a name, or 0. */
static uint32_t
pair_of(const nlt_arena_t *a, uint32_t series, uint32_t name_off)
{
    const nlt_arena_series_t *e = nlt_arena_series(a, series);
    const nlt_arena_labels_t *l = e ? nlt_arena_labels_of(a, e) : NULL;

    for (uint32_t i = 0; l && i < l->n; i++) {
        const nlt_arena_pair_t *p = nlt_arena_pair(a, l->pair[i]);

        if (p && p->name.u == name_off) {
            return l->pair[i];
        }
    }
    return 0;
}

/* Keeps the candidates whose label a matcher accepts, one by one. */
static nlt_rc_t
check_each(select_t *s, const nlt_matcher_t *m, const nlt_arena_name_t *name,
           bool absent_ok)
{
    /* Neighbours often have the same value: remember the last answers. */
    struct {
        uint32_t pair;
        bool ok;
    } memo[64] = {{0, false}};
    uint32_t off =
        name ? (uint32_t) (((const uint8_t *) name - s->a->base) >> 3) : 0;
    size_t kept = 0;

    for (size_t i = 0; i < s->n; i++) {
        uint32_t pair = off ? pair_of(s->a, s->v[i], off) : 0;
        uint32_t k = pair & 63;
        bool ok = absent_ok;

        if (pair && memo[k].pair == pair) {
            ok = memo[k].ok;
        } else if (pair) {
            const nlt_arena_pair_t *p = nlt_arena_pair(s->a, pair);
            nlt_rc_t rc = p ? test(m, nlt_arena_pair_value(s->a, p)) : NLT_EOF;

            if (rc != NLT_OK && rc != NLT_EOF) {
                return rc;
            }
            ok = rc == NLT_OK;
            memo[k].pair = pair;
            memo[k].ok = ok;
        }
        if (ok) {
            s->v[kept++] = s->v[i];
        }
    }
    s->n = kept;
    return NLT_OK;
}

static nlt_rc_t
clear_bits(select_t *s)
{
    size_t words = (size_t) s->n_series / 64 + 1;

    if (s->bits == NULL) {
        s->bits = nlt_pool_array(s->pool, words, sizeof(*s->bits));
        if (s->bits == NULL) {
            return NLT_ENOMEM;
        }
    }
    memset(s->bits, 0, words * sizeof(*s->bits));
    return NLT_OK;
}

static void
mark_pair(select_t *s, const nlt_arena_pair_t *p)
{
    nlt_arena_walk_t w;

    nlt_arena_walk_begin(&w, s->a, p);
    for (uint32_t x; (x = nlt_arena_walk_next(&w)) != 0;) {
        if (x > s->n_series) {
            break;
        }
        s->bits[x / 64] |= UINT64_C(1) << (x % 64);
    }
}

/* Keeps candidates whose bit is `keep`. */
static void
filter_bits(select_t *s, bool keep)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->n; i++) {
        uint32_t x = s->v[i];

        if ((bool) (s->bits[x / 64] >> (x % 64) & 1) == keep) {
            s->v[kept++] = x;
        }
    }
    s->n = kept;
}

/* Calls back for each pair of a name until it returns other than NLT_OK. */
typedef nlt_rc_t (*pair_cb_t)(void *ctx, const nlt_arena_pair_t *p);

static nlt_rc_t
each_pair(const nlt_arena_t *a, const nlt_arena_name_t *name, pair_cb_t cb,
          void *ctx)
{
    uint32_t pair = atomic_load_explicit(&name->first_pair, ACQUIRE);

    while (pair) {
        const nlt_arena_pair_t *p = nlt_arena_pair(a, pair);
        nlt_rc_t rc;

        /* Older pairs have lower numbers: no circles. */
        if (p == NULL || p->next_of_name >= pair) {
            return NLT_EDATA;
        }
        if (atomic_load_explicit(&p->n, ACQUIRE) > 0) {
            rc = cb(ctx, p);
            if (rc != NLT_OK) {
                return rc;
            }
        }
        pair = p->next_of_name;
    }
    return NLT_OK;
}

typedef struct {
    select_t *s;
    const nlt_matcher_t *m;
    bool accepted; /* mark the values that are accepted, or the others */
} mark_t;

static nlt_rc_t
mark_cb(void *ctx, const nlt_arena_pair_t *p)
{
    mark_t *mk = ctx;
    nlt_rc_t rc = test(mk->m, nlt_arena_pair_value(mk->s->a, p));

    if (rc != NLT_OK && rc != NLT_EOF) {
        return rc;
    }
    if ((rc == NLT_OK) == mk->accepted) {
        mark_pair(mk->s, p);
    }
    return NLT_OK;
}

/*
 * Applies one matcher to the candidates.  absent_ok: it accepts the empty
 * value, and thus series without the label.
 */
static nlt_rc_t
apply(select_t *s, const nlt_matcher_t *m, bool absent_ok)
{
    const nlt_arena_name_t *name =
        nlt_arena_name_find(s->a, s->tenant, m->name);
    bool one_value =
        (m->op == NLT_MATCH_EQ || m->op == NLT_MATCH_NE) && m->value.len > 0;
    const nlt_arena_pair_t *p = NULL;
    mark_t mk = {s, m, !absent_ok};
    uint64_t cost = 0;
    nlt_rc_t rc;

    if (name == NULL) {
        s->n = absent_ok ? s->n : 0;
        return NLT_OK;
    }
    if (one_value) {
        p = nlt_arena_pair(
            s->a, nlt_arena_pair_find(s->a, s->tenant, m->name, m->value));
        if (p == NULL) {
            s->n = absent_ok ? s->n : 0;
            return NLT_OK;
        }
        cost = atomic_load_explicit(&p->n, RELAXED);
    } else {
        /* Every value is tested, and at worst all series are marked. */
        cost = (uint64_t) atomic_load_explicit(&name->n_pairs, RELAXED)
                   * CHECK_COST
               + s->n_series;
    }
    cost += s->n_series / 64;
    if ((uint64_t) s->n * CHECK_COST <= cost) {
        return check_each(s, m, name, absent_ok);
    }
    rc = clear_bits(s);
    if (rc == NLT_OK && p) {
        mark_pair(s, p);
    } else if (rc == NLT_OK) {
        rc = each_pair(s->a, name, mark_cb, &mk);
    }
    if (rc == NLT_OK) {
        filter_bits(s, !absent_ok);
    }
    return rc;
}

/* The equality with the fewest postings; n_matchers if there is none. */
static size_t
best_equality(const select_t *s, const nlt_matcher_t *m, size_t n,
              uint32_t *pair)
{
    size_t best = n;
    uint32_t fewest = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        const nlt_arena_pair_t *p;
        uint32_t number, count;

        if (m[i].op != NLT_MATCH_EQ || m[i].value.len == 0
            || m[i].name.len == 0) {
            continue;
        }
        number = nlt_arena_pair_find(s->a, s->tenant, m[i].name, m[i].value);
        p = nlt_arena_pair(s->a, number);
        count = p ? atomic_load_explicit(&p->n, RELAXED) : 0;
        if (best == n || count < fewest) {
            best = i;
            fewest = count;
            *pair = number;
        }
    }
    return best;
}

nlt_rc_t
nlt_arena_select(const nlt_arena_t *a, nlt_pool_t *pool, uint32_t tenant,
                 const nlt_matcher_t *matchers, size_t n_matchers,
                 uint32_t **out, size_t *n, nlt_err_t *err)
{
    /* n_series first: whatever is up to it has all of its postings. */
    select_t s = {.a = a,
                  .pool = pool,
                  .tenant = tenant,
                  .n_series =
                      atomic_load_explicit(&a->hdr->n_series, ACQUIRE)};
    uint32_t pair = 0;
    size_t base = best_equality(&s, matchers, n_matchers, &pair);
    size_t at = 0; /* the matcher that failed */
    nlt_rc_t rc;

    *out = NULL;
    *n = 0;
    if (base == n_matchers) {
        pair = nlt_arena_pair_find(a, tenant, NLT_STR(""), NLT_STR(""));
    }
    rc = take_pair(&s, pair);
    for (size_t i = 0; rc == NLT_OK && s.n > 0 && i < n_matchers; i++) {
        nlt_rc_t absent;

        if (i == base) {
            continue;
        }
        at = i;
        absent = test(&matchers[i], NLT_STR(""));
        if (absent != NLT_OK && absent != NLT_EOF) {
            rc = absent;
        } else if (matchers[i].name.len == 0) {
            s.n = absent == NLT_OK ? s.n : 0; /* no label has that name */
        } else {
            rc = apply(&s, &matchers[i], absent == NLT_OK);
        }
    }
    if (rc == NLT_ELIMIT) {
        return nlt_matcher_failed(&matchers[at], rc, err);
    }
    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "select in head arena %llu: %s",
                           (unsigned long long) a->no, nlt_rc_text(rc));
    }
    *out = s.v;
    *n = s.n;
    return NLT_OK;
}

/* ---- names and values ---- */

typedef struct {
    const nlt_arena_t *a;
    nlt_pool_t *pool;
    nlt_str_t *v;
    size_t n;
    size_t cap;
} strings_t;

static nlt_rc_t
add_string(strings_t *s, nlt_str_t text)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 32;
        nlt_str_t *v = nlt_pool_grow(s->pool, s->v, s->cap * sizeof(*v),
                                     cap * sizeof(*v));

        if (v == NULL) {
            return NLT_ENOMEM;
        }
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = text;
    return NLT_OK;
}

static nlt_rc_t
value_cb(void *ctx, const nlt_arena_pair_t *p)
{
    strings_t *s = ctx;

    return add_string(s, nlt_arena_pair_value(s->a, p));
}

static nlt_rc_t
found_cb(void *ctx, const nlt_arena_pair_t *p)
{
    (void) ctx;
    (void) p;
    return NLT_EOF;
}

uint64_t
nlt_arena_tenant_series(const nlt_arena_t *a, uint32_t tenant)
{
    const nlt_arena_pair_t *p = nlt_arena_pair(
        a, nlt_arena_pair_find(a, tenant, NLT_STR(""), NLT_STR("")));

    return p != NULL ? atomic_load_explicit(&p->n, memory_order_relaxed) : 0;
}

nlt_rc_t
nlt_arena_label_names(const nlt_arena_t *a, nlt_pool_t *pool, uint32_t tenant,
                      nlt_str_t **out, size_t *n)
{
    const nlt_arena_name_t *name = nlt_arena_name_find(a, tenant, NLT_STR(""));
    uint32_t off = name ? atomic_load_explicit(&name->next, ACQUIRE) : 0;
    strings_t s = {.a = a, .pool = pool};
    nlt_rc_t rc = NLT_OK;

    while (off && rc == NLT_OK) {
        uint32_t older;

        name = nlt_arena_name_at(a, off);
        older = name ? atomic_load_explicit(&name->next, ACQUIRE) : 0;
        /* Older names have lower offsets: no circles. */
        if (name == NULL || older >= off) {
            rc = NLT_EDATA;
        } else if (each_pair(a, name, found_cb, NULL) == NLT_EOF) {
            rc = add_string(&s, (nlt_str_t){name->len, name->text});
        }
        off = older;
    }
    *out = s.v;
    *n = rc == NLT_OK ? s.n : 0;
    return rc;
}

nlt_rc_t
nlt_arena_label_values(const nlt_arena_t *a, nlt_pool_t *pool, uint32_t tenant,
                       nlt_str_t name, nlt_str_t **out, size_t *n)
{
    const nlt_arena_name_t *entry =
        name.len ? nlt_arena_name_find(a, tenant, name) : NULL;
    strings_t s = {.a = a, .pool = pool};
    nlt_rc_t rc = entry ? each_pair(a, entry, value_cb, &s) : NLT_OK;

    *out = s.v;
    *n = rc == NLT_OK ? s.n : 0;
    return rc;
}

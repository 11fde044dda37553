/*
 * nlt_cuts.c - rules, compiled and translated to series of a part.
 */
#include "nlt_cuts.h"

#include "nlt_block_tenant.h"
#include "nlt_postings.h"

/* Of compiled expressions; each has 16 MiB of its own beside it. */
#define COMPILED_MAX (64u << 20)

size_t
nlt_cuts_of(const nlt_cuts_t *c, uint32_t id,
            nlt_interval_t out[NLT_DELETES_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        const nlt_cut_t *cut = &c->v[i];
        size_t at = nlt_postings_seek(cut->id, cut->n, 0, id);

        if (at < cut->n && cut->id[at] == id) {
            out[n++] = cut->interval;
        }
    }
    return n > 1 ? nlt_intervals_join(out, n) : n;
}

/* ---- compiled rules ---- */

void
nlt_cutter_init(nlt_cutter_t *c, const nlt_mem_t *mem,
                const nlt_delete_list_t *list, uint32_t tenant)
{
    *c = (nlt_cutter_t){.list = list,
                        .tenant = tenant,
                        .applied = list != NULL ? list->last : 0};
    nlt_pool_init(&c->pool, mem, COMPILED_MAX);
}

static void
release_set(nlt_delete_set_t *set)
{
    for (size_t i = 0; i < set->n; i++) {
        nlt_matcher_release(&set->matchers[i]);
    }
}

void
nlt_cutter_deinit(nlt_cutter_t *c)
{
    for (size_t i = 0; c->v != NULL && i < c->list->n; i++) {
        for (size_t k = 0; c->compiled[i] && k < c->v[i].n_sets; k++) {
            release_set(&c->v[i].sets[k]);
        }
    }
    c->v = NULL;
    nlt_pool_deinit(&c->pool);
}

static nlt_rc_t
no_memory(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOMEM, "deletes: no memory");
}

/* Copies a set and compiles it; what was compiled counts in to->n. */
static nlt_rc_t
compile_set(nlt_cutter_t *c, const nlt_delete_set_t *from,
            nlt_delete_set_t *to, nlt_err_t *err)
{
    to->n = 0;
    to->matchers = nlt_pool_array(&c->pool, from->n, sizeof(*to->matchers));
    if (to->matchers == NULL) {
        return no_memory(err);
    }
    for (; to->n < from->n; to->n++) {
        nlt_matcher_t *m = &to->matchers[to->n];
        nlt_rc_t rc;

        *m = from->matchers[to->n];
        rc = nlt_matcher_compile(&c->pool, m, err);
        if (rc != NLT_OK) {
            /* It did compile when the rule was written.  Not NLT_EDATA: that
             * would pass for a fault of the part. */
            return rc == NLT_EINVAL ? NLT_EBUG : rc;
        }
    }
    return NLT_OK;
}

/* Rule i with compiled matchers. */
static nlt_rc_t
compile(nlt_cutter_t *c, size_t i, const nlt_delete_t **out, nlt_err_t *err)
{
    const nlt_delete_t *d = &c->list->v[i];
    nlt_rc_t rc = NLT_OK;

    if (c->v == NULL) {
        c->compiled =
            nlt_pool_zalloc(&c->pool, c->list->n * sizeof(*c->compiled));
        c->v = c->compiled == NULL
                   ? NULL
                   : nlt_pool_array(&c->pool, c->list->n, sizeof(*c->v));
        if (c->v == NULL) {
            return no_memory(err);
        }
    }
    if (!c->compiled[i]) {
        nlt_delete_set_t *sets =
            nlt_pool_array(&c->pool, d->n_sets, sizeof(*sets));

        if (sets == NULL) {
            return no_memory(err);
        }
        c->v[i] = *d;
        c->v[i].sets = sets;
        c->v[i].n_sets = 0;
        c->compiled[i] = true;
        for (size_t k = 0; k < d->n_sets && rc == NLT_OK; k++) {
            c->v[i].n_sets++;
            rc = compile_set(c, &d->sets[k], &sets[k], err);
        }
        if (rc != NLT_OK) {
            for (size_t k = 0; k < c->v[i].n_sets; k++) {
                release_set(&sets[k]);
            }
            c->compiled[i] = false;
            return rc;
        }
    }
    *out = &c->v[i];
    return NLT_OK;
}

/* ---- cutting ---- */

/* A part, whatever it is. */
typedef struct {
    const nlt_arena_t *arena; /* one of the two */
    const nlt_block_t *block;
    uint64_t no;      /* its highest arena */
    uint64_t deletes; /* applied to it */
    int64_t t_min_ms; /* of its samples that matter, inclusive */
    int64_t t_max_ms;
    const nlt_select_t *sel; /* or NULL */
} part_t;

static bool
applies(const nlt_cutter_t *c, const nlt_delete_t *d, const part_t *p)
{
    return (d->tenant == c->tenant || c->tenant == NLT_TENANTS_ALL)
           && nlt_delete_concerns(d, p->no, p->deletes)
           && d->t_min_ms <= p->t_max_ms && d->t_max_ms >= p->t_min_ms;
}

/* Series that one set and the part's own matchers select. */
static nlt_rc_t
select_set(uint32_t tenant, nlt_pool_t *pool, const part_t *p,
           const nlt_delete_set_t *set, nlt_postings_t *out, nlt_err_t *err)
{
    const nlt_matcher_t *m = set->matchers;
    size_t n = set->n, n_own = p->sel != NULL ? p->sel->n_matchers : 0;
    uint32_t *id = NULL;
    nlt_rc_t rc;

    if (n_own > 0) {
        nlt_matcher_t *both = nlt_pool_array(pool, n + n_own, sizeof(*both));

        if (both == NULL) {
            return no_memory(err);
        }
        memcpy(both, p->sel->matchers, n_own * sizeof(*both));
        if (n > 0) {
            memcpy(both + n_own, m, n * sizeof(*both));
        }
        m = both;
        n += n_own;
    }
    rc =
        p->arena != NULL
            ? nlt_arena_select(p->arena, pool, tenant, m, n, &id, &out->n, err)
            : nlt_block_tenant_select(p->block, pool, tenant, m, n, NULL, &id,
                                      &out->n, err);
    out->v = id;
    return rc;
}

/* Series that rule d is about. */
static nlt_rc_t
select_rule(nlt_pool_t *pool, const part_t *p, const nlt_delete_t *d,
            nlt_postings_t *out, nlt_err_t *err)
{
    nlt_postings_t *lists = nlt_pool_array(pool, d->n_sets, sizeof(*lists));
    nlt_rc_t rc = lists == NULL ? no_memory(err) : NLT_OK;

    for (size_t i = 0; i < d->n_sets && rc == NLT_OK; i++) {
        rc = select_set(d->tenant, pool, p, &d->sets[i], &lists[i], err);
    }
    if (rc == NLT_OK
        && !nlt_postings_union_many(pool, lists, d->n_sets, out)) {
        rc = no_memory(err);
    }
    return rc;
}

/* May rule d be passed over for this failure?  Then it stays in force. */
static bool
pass_over(nlt_cutter_t *c, const nlt_delete_t *d, nlt_rc_t rc)
{
    if (!c->lenient || rc != NLT_ELIMIT) {
        return false;
    }
    c->applied = d->number - 1 < c->applied ? d->number - 1 : c->applied;
    return true;
}

static nlt_rc_t
cut_part(nlt_cutter_t *c, nlt_pool_t *pool, const part_t *p, nlt_cuts_t *out,
         nlt_err_t *err)
{
    *out = (nlt_cuts_t){.n = 0};
    for (size_t i = 0; c->list != NULL && i < c->list->n; i++) {
        const nlt_delete_t *d = &c->list->v[i];
        nlt_postings_t found = {.n = 0};
        nlt_rc_t rc;

        if (!applies(c, d, p)) {
            continue;
        }
        rc = compile(c, i, &d, err);
        if (rc == NLT_OK) {
            rc = select_rule(pool, p, d, &found, err);
        }
        if (pass_over(c, d, rc)) {
            continue;
        }
        if (rc == NLT_OK && found.n > 0 && out->v == NULL) {
            out->v = nlt_pool_array(pool, c->list->n, sizeof(*out->v));
            rc = out->v == NULL ? no_memory(err) : NLT_OK;
        }
        if (rc != NLT_OK) {
            return rc;
        }
        if (found.n > 0) {
            out->v[out->n++] =
                (nlt_cut_t){{d->t_min_ms, d->t_max_ms}, found.v, found.n};
        }
    }
    return NLT_OK;
}

/* Narrows the part to what sel asks for. */
static void
narrow(part_t *p)
{
    if (p->sel != NULL) {
        p->t_min_ms = nlt_max_i64(p->t_min_ms, p->sel->t_min_ms);
        p->t_max_ms = nlt_min_i64(p->t_max_ms, p->sel->t_max_ms);
    }
}

nlt_rc_t
nlt_cutter_arena(nlt_cutter_t *c, nlt_pool_t *pool, const nlt_arena_t *a,
                 const nlt_select_t *sel, nlt_cuts_t *out, nlt_err_t *err)
{
    const nlt_arena_header_t *h = nlt_arena_header(a);
    part_t p = {.arena = a,
                .no = nlt_arena_no(a),
                .t_min_ms = atomic_load(&h->t_min_ms),
                .t_max_ms = atomic_load(&h->t_max_ms),
                .sel = sel};

    narrow(&p);
    return cut_part(c, pool, &p, out, err);
}

nlt_rc_t
nlt_cutter_block(nlt_cutter_t *c, nlt_pool_t *pool, const nlt_block_t *b,
                 uint64_t arena, uint64_t deletes, const nlt_select_t *sel,
                 nlt_cuts_t *out, nlt_err_t *err)
{
    const nlt_block_meta_t *meta = nlt_block_meta(b);
    part_t p = {.block = b,
                .no = arena,
                .deletes = deletes,
                .t_min_ms = meta->t_min_ms,
                .t_max_ms = meta->t_end_ms - 1,
                .sel = sel};

    narrow(&p);
    return cut_part(c, pool, &p, out, err);
}

/* Does any set of d match the labels?  NLT_OK, NLT_EOF, or a failure. */
static nlt_rc_t
test_rule(const nlt_delete_t *d, nlt_labels_t labels)
{
    nlt_rc_t rc = NLT_EOF;

    for (size_t i = 0; i < d->n_sets && rc == NLT_EOF; i++) {
        rc = nlt_matchers_test(d->sets[i].matchers, d->sets[i].n, labels);
    }
    return rc;
}

nlt_rc_t
nlt_cutter_labels(nlt_cutter_t *c, uint64_t arena, nlt_labels_t labels,
                  nlt_interval_t out[NLT_DELETES_MAX], size_t *n,
                  nlt_err_t *err)
{
    const part_t p = {
        .no = arena, .t_min_ms = INT64_MIN, .t_max_ms = INT64_MAX};

    *n = 0;
    for (size_t i = 0; c->list != NULL && i < c->list->n; i++) {
        const nlt_delete_t *d = &c->list->v[i];
        nlt_rc_t rc;

        if (!applies(c, d, &p)) {
            continue;
        }
        rc = compile(c, i, &d, err);
        if (rc == NLT_OK) {
            rc = test_rule(d, labels);
            if (rc != NLT_OK && rc != NLT_EOF) {
                (void) nlt_err_set(err, rc, "delete %llu: %s",
                                   (unsigned long long) d->number,
                                   nlt_rc_text(rc));
            }
        }
        if (rc == NLT_OK) {
            out[(*n)++] = (nlt_interval_t){d->t_min_ms, d->t_max_ms};
        } else if (rc != NLT_EOF && !pass_over(c, d, rc)) {
            return rc;
        }
    }
    *n = nlt_intervals_join(out, *n);
    return NLT_OK;
}

/*
 * nlt_store_part.c - arenas and blocks behind one face.
 */
#include "nlt_store_part.h"

#include "nlt_block_tenant.h"

#define POLL_EVERY 1024

nlt_rc_t
nlt_part_poll(const nlt_source_t *src, nlt_err_t *err)
{
    const nlt_view_t *v = nlt_part_view(src);

    if ((src->cancel != NULL && __atomic_load_n(src->cancel, __ATOMIC_RELAXED))
        || (v->stop_ns != 0 && nlt_mono_ns(v->store->env) >= v->stop_ns)) {
        return nlt_err_set(err, NLT_ECANCELED, "query was canceled");
    }
    return NLT_OK;
}

nlt_rc_t
nlt_part_over_budget(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOMEM,
                       "query needs more memory than it may use");
}

static const nlt_manifest_block_t *
info_of(const nlt_part_t *p)
{
    const nlt_block_list_t *list = p->view->blocks;

    return &list->v[p->idx]->info;
}

/* ---- finding ---- */

static void
add_block(nlt_view_t *v, size_t idx, int64_t t_min, int64_t t_max,
          nlt_part_t *parts, size_t *n)
{
    const nlt_block_list_t *list = v->blocks;
    const nlt_manifest_block_t *info = &list->v[idx]->info;
    const nlt_block_t *block = list->v[idx]->block;

    if (nlt_view_uses(v, idx, t_min, t_max)) {
        parts[(*n)++] = (nlt_part_t){
            .view = v,
            .block = block,
            .idx = idx,
            .whole = info->t_min_ms >= t_min && info->t_end_ms - 1 <= t_max
                     && nlt_block_tombstones(block)->n == 0,
        };
    }
}

static void
add_arena(nlt_view_t *v, const nlt_arena_t *a, int64_t t_min, int64_t t_max,
          nlt_part_t *parts, size_t *n)
{
    const nlt_arena_header_t *h = nlt_arena_header(a);

    if (atomic_load(&h->n_samples) > 0 && atomic_load(&h->t_max_ms) >= t_min
        && atomic_load(&h->t_min_ms) <= t_max) {
        parts[(*n)++] = (nlt_part_t){.view = v, .arena = a};
    }
}

nlt_rc_t
nlt_parts_find(nlt_view_t *v, nlt_pool_t *pool, int64_t t_min, int64_t t_max,
               nlt_part_t **out, size_t *n, nlt_err_t *err)
{
    const nlt_block_list_t *list = v->blocks;
    nlt_part_t *parts =
        nlt_pool_array(pool, list->n + v->head.n, sizeof(*parts));

    *n = 0;
    *out = parts;
    if (parts == NULL) {
        return nlt_part_over_budget(err);
    }
    t_min = nlt_max_i64(t_min, v->t_oldest_ms);
    if (t_min > t_max) {
        return NLT_OK;
    }
    nlt_view_misses(v, t_min, t_max);
    for (size_t i = 0; i < list->n; i++) {
        add_block(v, i, t_min, t_max, parts, n);
    }
    v->needs_block |= *n > 0;
    if (v->head_only && *n > 0) {
        return nlt_err_set(err, NLT_ECANCELED, "query needs a block");
    }
    for (size_t i = 0; i < v->head.n; i++) {
        add_arena(v, v->head.arena[i], t_min, t_max, parts, n);
    }
    return NLT_OK;
}

/* ---- selecting ---- */

nlt_rc_t
nlt_part_met(const nlt_part_t *p, nlt_rc_t rc, const nlt_err_t *err)
{
    return rc == NLT_OK || p->block == NULL
               ? rc
               : nlt_view_met(p->view, p->idx, rc, err);
}

/* nlt_part_poll() for the parts of it. */
static nlt_rc_t
poll_cb(void *ctx, nlt_err_t *err)
{
    const nlt_view_t *v = ctx;

    return nlt_part_poll(&v->source, err);
}

static nlt_rc_t
select_ids(const nlt_part_t *p, nlt_pool_t *pool, const nlt_matcher_t *m,
           size_t n_m, uint32_t **id, size_t *n, nlt_err_t *err)
{
    const nlt_block_poll_t poll = {poll_cb, p->view};
    nlt_rc_t rc =
        p->arena != NULL
            ? nlt_arena_select(p->arena, pool, p->view->tenant, m, n_m, id, n,
                               err)
            : nlt_block_tenant_select(p->block, pool, p->view->tenant, m, n_m,
                                      &poll, id, n, err);

    return nlt_part_met(p, rc, err);
}

/* Has series id of an arena samples in the range that are not deleted? */
static bool
arena_may_have(const nlt_part_t *p, int64_t t_min, int64_t t_max,
               const nlt_interval_t *gone, size_t n_gone)
{
    const nlt_arena_header_t *h = nlt_arena_header(p->arena);

    return !nlt_intervals_cover(gone, n_gone,
                                nlt_max_i64(t_min, atomic_load(&h->t_min_ms)),
                                nlt_min_i64(t_max, atomic_load(&h->t_max_ms)));
}

/* May series id have samples in the range?  From index and times. */
static nlt_rc_t
may_have(const nlt_part_t *p, uint32_t id, int64_t t_min, int64_t t_max,
         bool *yes, nlt_err_t *err)
{
    nlt_interval_t gone[NLT_DELETES_MAX];
    size_t n_gone = p->cuts.n > 0 ? nlt_cuts_of(&p->cuts, id, gone) : 0;
    nlt_rc_t rc = NLT_OK;

    *yes = true;
    if (p->arena != NULL) {
        *yes = n_gone == 0 || arena_may_have(p, t_min, t_max, gone, n_gone);
        return NLT_OK;
    }
    if (!p->whole) {
        rc = nlt_block_overlaps(p->block, id, t_min, t_max, yes, err);
    }
    if (rc == NLT_OK && *yes && n_gone > 0) {
        rc = nlt_block_has_more(p->block, id, t_min, t_max, gone, n_gone, yes,
                                err);
    }
    return nlt_part_met(p, rc, err);
}

/* So many series are looked at, and so many of them may be empty. */
#define SOME       64u
#define SOME_EMPTY 4u

/* May nearly all series of a block have samples in the range? */
static bool
most_have(const nlt_part_t *p, int64_t t_min, int64_t t_max)
{
    size_t empty = 0;

    if (p->n < SOME || p->block == NULL || p->cuts.n > 0
        || nlt_block_tombstones(p->block)->n > 0) {
        return false;
    }
    for (size_t i = 0; i < SOME; i++) {
        bool yes = false;

        if (nlt_block_overlaps(p->block, p->id[p->n / SOME * i], t_min, t_max,
                               &yes, NULL)
            != NLT_OK) {
            return false;
        }
        empty += !yes;
    }
    return empty <= SOME_EMPTY;
}

/* Keeps the series that may have samples in the range. */
static nlt_rc_t
drop_empty(const nlt_source_t *src, nlt_part_t *p, int64_t t_min,
           int64_t t_max, nlt_err_t *err)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++) {
        bool yes;
        nlt_rc_t rc = may_have(p, p->id[i], t_min, t_max, &yes, err);

        if (rc == NLT_OK && i % POLL_EVERY == 0) {
            rc = nlt_part_poll(src, err);
        }
        if (rc != NLT_OK) {
            return rc;
        }
        if (yes) {
            p->id[n++] = p->id[i];
        }
    }
    p->n = n;
    return NLT_OK;
}

static nlt_rc_t
find_cuts(nlt_part_t *p, nlt_pool_t *pool, const nlt_select_t *sel,
          nlt_err_t *err)
{
    nlt_view_t *v = p->view;
    nlt_select_t range = *sel;
    nlt_rc_t rc;

    range.t_min_ms = nlt_max_i64(sel->t_min_ms, v->t_oldest_ms);
    if (p->arena != NULL) {
        rc = nlt_cutter_arena(&v->cutter, pool, p->arena, &range, &p->cuts,
                              err);
    } else {
        rc = nlt_cutter_block(&v->cutter, pool, p->block, info_of(p)->arena,
                              info_of(p)->deletes, &range, &p->cuts, err);
    }
    return nlt_part_met(p, rc, err);
}

nlt_rc_t
nlt_part_may_have(const nlt_part_t *p, uint32_t id, const nlt_select_t *sel,
                  bool *yes, nlt_err_t *err)
{
    return may_have(p, id, nlt_max_i64(sel->t_min_ms, p->view->t_oldest_ms),
                    sel->t_max_ms, yes, err);
}

nlt_rc_t
nlt_part_select_all(const nlt_source_t *src, nlt_pool_t *pool,
                    const nlt_select_t *sel, nlt_part_t *p, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_part_poll(src, err);

    if (rc == NLT_OK) {
        rc = select_ids(p, pool, sel->matchers, sel->n_matchers, &p->id, &p->n,
                        err);
    }
    if (rc == NLT_OK && p->n > 0) {
        rc = find_cuts(p, pool, sel, err);
    }
    return rc;
}

nlt_rc_t
nlt_part_select(const nlt_source_t *src, nlt_pool_t *pool,
                const nlt_select_t *sel, bool exact, nlt_part_t *p,
                nlt_err_t *err)
{
    int64_t t_min = nlt_max_i64(sel->t_min_ms, p->view->t_oldest_ms);
    nlt_rc_t rc = nlt_part_select_all(src, pool, sel, p, err);

    if (rc == NLT_OK && (p->cuts.n > 0 || (p->block != NULL && !p->whole))
        && (exact || !most_have(p, t_min, sel->t_max_ms))) {
        rc = drop_empty(src, p, t_min, sel->t_max_ms, err);
    }
    return rc;
}

/* Series that a rule or a tombstone is about, in the pool. */
static nlt_rc_t
touched(const nlt_part_t *p, nlt_pool_t *pool, nlt_postings_t *out,
        nlt_err_t *err)
{
    nlt_postings_t *lists =
        nlt_pool_array(pool, p->cuts.n + 1, sizeof(*lists));
    size_t n = 0;

    if (lists == NULL) {
        return nlt_part_over_budget(err);
    }
    for (size_t i = 0; i < p->cuts.n; i++) {
        lists[n++] = (nlt_postings_t){p->cuts.v[i].id, p->cuts.v[i].n};
    }
    if (p->block != NULL) {
        const nlt_tombstones_t *t = nlt_block_tombstones(p->block);

        lists[n++] = (nlt_postings_t){t->id, t->n};
    }
    return nlt_postings_union_many(pool, lists, n, out)
               ? NLT_OK
               : nlt_part_over_budget(err);
}

nlt_rc_t
nlt_part_gone(const nlt_source_t *src, nlt_pool_t *pool,
              const nlt_select_t *sel, nlt_part_t *p, nlt_postings_t *out,
              nlt_err_t *err)
{
    int64_t t_min = nlt_max_i64(sel->t_min_ms, p->view->t_oldest_ms);
    nlt_postings_t all;
    uint32_t *gone;
    nlt_rc_t rc = find_cuts(p, pool, sel, err);

    *out = (nlt_postings_t){NULL, 0};
    if (rc == NLT_OK) {
        rc = touched(p, pool, &all, err);
    }
    if (rc != NLT_OK || all.n == 0) {
        return rc;
    }
    gone = nlt_pool_array(pool, all.n, sizeof(*gone));
    if (gone == NULL) {
        return nlt_part_over_budget(err);
    }
    out->v = gone;
    for (size_t i = 0; i < all.n && rc == NLT_OK; i++) {
        bool yes = true;

        rc = may_have(p, all.v[i], t_min, sel->t_max_ms, &yes, err);
        if (rc == NLT_OK && i % POLL_EVERY == 0) {
            rc = nlt_part_poll(src, err);
        }
        if (!yes) {
            gone[out->n++] = all.v[i];
        }
    }
    return rc;
}

nlt_rc_t
nlt_part_with(const nlt_part_t *p, nlt_pool_t *pool, nlt_str_t name,
              nlt_str_t value, nlt_postings_t *out, nlt_err_t *err)
{
    nlt_matcher_t m = {NLT_MATCH_EQ, name, value, NULL};
    uint32_t *id = NULL;
    nlt_rc_t rc = select_ids(p, pool, &m, 1, &id, &out->n, err);

    out->v = id;
    return rc;
}

bool
nlt_part_is_shared(const nlt_part_t *p)
{
    return p->block != NULL
           && (p->view->tenant != 0 || nlt_block_has_tenants(p->block));
}

/* ---- labels ---- */

nlt_rc_t
nlt_part_labels(const nlt_part_t *p, uint32_t id, nlt_pool_t *pool,
                nlt_labels_t *out, nlt_err_t *err)
{
    nlt_err_t own;
    nlt_rc_t rc;

    if (p->arena == NULL) {
        err = err ? err : &own;
        rc = nlt_block_labels(p->block, id, pool, out, err);
        if (rc == NLT_OK) {
            *out = nlt_tenant_strip(*out);
        }
        return nlt_part_met(p, rc, err);
    }
    rc = nlt_arena_labels(p->arena, id, pool, out);
    return rc == NLT_OK ? rc
                        : nlt_err_set(err, rc, "labels of series %u: %s", id,
                                      nlt_rc_text(rc));
}

nlt_rc_t
nlt_part_strings(const nlt_part_t *p, nlt_pool_t *pool, const nlt_str_t *name,
                 nlt_str_t **out, size_t *n, nlt_err_t *err)
{
    uint32_t tenant = p->view->tenant;
    nlt_rc_t rc;

    if (p->arena != NULL && name == NULL) {
        rc = nlt_arena_label_names(p->arena, pool, tenant, out, n);
    } else if (p->arena != NULL) {
        rc = nlt_arena_label_values(p->arena, pool, tenant, *name, out, n);
    } else if (name == NULL) {
        rc = nlt_block_label_names(p->block, pool, out, n, err);
    } else {
        rc = nlt_block_label_values(p->block, *name, pool, out, n, err);
    }
    return rc == NLT_ENOMEM ? nlt_part_over_budget(err)
                            : nlt_part_met(p, rc, err);
}

/* ---- samples ---- */

static nlt_rc_t
read_all(const nlt_part_t *p, uint32_t id, nlt_read_t what, int64_t t_min,
         int64_t t_max, nlt_samples_t *out, nlt_err_t *err)
{
    nlt_rc_t rc = p->arena != NULL ? nlt_arena_read(p->arena, id, what, t_min,
                                                    t_max, out, err)
                  : what == NLT_READ_NEWEST
                      ? nlt_block_read_newest(p->block, id, t_min, t_max,
                                              &p->view->times, out, err)
                      : nlt_block_read_shared(p->block, id, t_min, t_max,
                                              &p->view->times, out, err);

    return nlt_part_met(p, rc, err);
}

/*
 * The newest sample that is in none of the intervals: while the newest one is
 * in one, look before it.
 */
static nlt_rc_t
read_newest(const nlt_part_t *p, uint32_t id, int64_t t_min, int64_t t_max,
            const nlt_interval_t *gone, size_t n_gone, nlt_samples_t *out,
            nlt_err_t *err)
{
    size_t from = out->n;

    while (t_min <= t_max) {
        nlt_rc_t rc = read_all(p, id, NLT_READ_NEWEST, t_min, t_max, out, err);
        size_t i;

        if (rc != NLT_OK || out->n == from) {
            return rc;
        }
        i = nlt_intervals_find(gone, n_gone, out->t_ms[out->n - 1]);
        if (i == n_gone || gone[i].t_min_ms > out->t_ms[out->n - 1]) {
            return NLT_OK;
        }
        out->n = from;
        if (gone[i].t_min_ms == INT64_MIN) {
            return NLT_OK;
        }
        t_max = gone[i].t_min_ms - 1;
    }
    return NLT_OK;
}

/* One sample without its value, if a block has a chunk that begins or ends in
 * the range. */
static nlt_rc_t
read_any(const nlt_part_t *p, uint32_t id, int64_t t_min, int64_t t_max,
         nlt_samples_t *out, bool *found, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_part_met(
        p,
        nlt_block_has_floats(p->block, id, t_min, t_max,
                             info_of(p)->n_histograms == 0, found, err),
        err);

    if (rc == NLT_OK && *found) {
        if (!nlt_samples_reserve(out, out->n + 1)) {
            return nlt_part_over_budget(err);
        }
        out->t_ms[out->n] = t_min;
        out->v[out->n++] = 0;
    }
    return rc;
}

nlt_rc_t
nlt_part_read(const nlt_part_t *p, uint32_t id, nlt_read_t what, int64_t t_min,
              int64_t t_max, nlt_samples_t *out, nlt_err_t *err)
{
    nlt_interval_t gone[NLT_DELETES_MAX];
    size_t from = out->n, n_gone = 0;
    nlt_rc_t rc;

    if (nlt_unlikely(p->cuts.n > 0)) {
        n_gone = nlt_cuts_of(&p->cuts, id, gone);
    }
    if (n_gone > 0 && what == NLT_READ_ANY) {
        what = NLT_READ_NEWEST; /* must be looked at */
    }
    if (what == NLT_READ_ANY && p->block != NULL) {
        bool found;

        rc = read_any(p, id, t_min, t_max, out, &found, err);
        if (rc != NLT_OK || found) {
            return rc;
        }
    }
    if (n_gone > 0 && what == NLT_READ_NEWEST) {
        return read_newest(p, id, t_min, t_max, gone, n_gone, out, err);
    }
    rc = read_all(p, id, what, t_min, t_max, out, err);
    if (n_gone > 0) {
        nlt_intervals_cut(gone, n_gone, out, from);
    }
    return rc;
}

nlt_rc_t
nlt_part_histograms(const nlt_part_t *p, uint32_t id, int64_t t_min,
                    int64_t t_max, bool *out, nlt_err_t *err)
{
    const nlt_block_list_t *list = p->view->blocks;
    nlt_interval_t gone[NLT_DELETES_MAX];
    size_t n_gone;

    *out = false;
    if (p->block == NULL || list->v[p->idx]->info.n_histograms == 0) {
        return NLT_OK;
    }
    n_gone = nlt_cuts_of(&p->cuts, id, gone);
    return nlt_part_met(p,
                        nlt_block_has_histograms(p->block, id, t_min, t_max,
                                                 gone, n_gone, out, err),
                        err);
}

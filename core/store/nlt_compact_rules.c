/*
 * nlt_compact_rules.c - deletes and retention as intervals of each series.
 *
 * The matchers of a rule are asked once, of the index; what they select is
 * kept as a list of numbers or, when that would be longer, as bits.
 */
#include "nlt_compact_priv.h"
#include "nlt_sort.h"

static nlt_rc_t
no_memory(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOMEM, "compaction: no memory for deletes");
}

static bool
interval_less(const nlt_interval_t *a, const nlt_interval_t *b,
              const void *ctx)
{
    (void) ctx;
    return a->t_min_ms < b->t_min_ms;
}

NLT_HEAP_SORT(sort_intervals, nlt_interval_t, interval_less);

/* Sorts intervals and joins those that touch; returns how many are left. */
static size_t
join(nlt_interval_t *v, size_t n)
{
    size_t k = 0;

    sort_intervals(v, n, NULL);
    for (size_t i = 1; i < n; i++) {
        if (v[k].t_max_ms == INT64_MAX || v[i].t_min_ms <= v[k].t_max_ms + 1) {
            v[k].t_max_ms = nlt_max_i64(v[k].t_max_ms, v[i].t_max_ms);
        } else {
            v[++k] = v[i];
        }
    }
    return n ? k + 1 : 0;
}

void
nlt_compact_cut(const nlt_interval_t *v, size_t n, nlt_samples_t *s)
{
    size_t kept = 0, k = 0;

    for (size_t i = 0; i < s->n; i++) {
        while (k < n && v[k].t_max_ms < s->t_ms[i]) {
            k++;
        }
        if (k == n || v[k].t_min_ms > s->t_ms[i]) {
            s->t_ms[kept] = s->t_ms[i];
            s->v[kept] = s->v[i];
            kept++;
        }
    }
    s->n = kept;
}

/*
 * The series of the block that a set of matchers selects; they are compiled
 * here, since a compiled expression serves one thread.
 */
static nlt_rc_t
select_set(const nlt_block_t *b, const nlt_delete_set_t *set, nlt_pool_t *pool,
           uint32_t **ids, size_t *n, nlt_err_t *err)
{
    nlt_matcher_t *m = nlt_pool_array(pool, set->n, sizeof(*m));
    size_t compiled = 0;
    nlt_rc_t rc = m ? NLT_OK : no_memory(err);

    *n = 0;
    while (rc == NLT_OK && compiled < set->n) {
        m[compiled] = (nlt_matcher_t){.op = set->matchers[compiled].op,
                                      .name = set->matchers[compiled].name,
                                      .value = set->matchers[compiled].value};
        rc = nlt_matcher_compile(pool, &m[compiled], err);
        compiled += rc == NLT_OK;
    }
    if (rc == NLT_OK) {
        rc = nlt_block_select(b, pool, m, set->n, ids, n, err);
    }
    for (size_t i = 0; i < compiled; i++) {
        nlt_matcher_release(&m[i]);
    }
    return rc;
}

static nlt_rc_t
add_hits(nlt_compact_rules_t *r, const nlt_delete_t *d, const uint32_t *ids,
         size_t n, nlt_pool_t *keep, nlt_err_t *err)
{
    nlt_compact_hits_t h = {.when = {d->t_min_ms, d->t_max_ms}};
    size_t n_bits = (size_t) (r->span.end - r->span.first) + 1;

    if (r->n_hits == r->hits_cap) {
        size_t cap = r->hits_cap ? 2 * r->hits_cap : 4;
        nlt_compact_hits_t *v = nlt_pool_grow(
            keep, r->hits, r->hits_cap * sizeof(*v), cap * sizeof(*v));

        if (v == NULL) {
            return no_memory(err);
        }
        r->hits = v;
        r->hits_cap = cap;
    }
    if (n * sizeof(*ids) * 8 < n_bits) {
        uint32_t *v = nlt_pool_array(keep, n, sizeof(*v));

        if (v == NULL) {
            return no_memory(err);
        }
        memcpy(v, ids, n * sizeof(*v));
        h.ids = v;
        h.n = n;
    } else {
        uint8_t *bits = nlt_pool_zalloc(keep, n_bits / 8 + 1);

        if (bits == NULL) {
            return no_memory(err);
        }
        for (size_t i = 0; i < n; i++) {
            uint32_t at = ids[i] - r->span.first;

            if (ids[i] < r->span.first || at >= n_bits) {
                return nlt_block_done(
                    r->block,
                    nlt_err_set(err, NLT_EDATA,
                                "postings name series %u, which is not there",
                                ids[i]),
                    err);
            }
            bits[at / 8] |= (uint8_t) (1u << at % 8);
        }
        h.bits = bits;
    }
    r->hits[r->n_hits++] = h;
    return NLT_OK;
}

/* Is the rule about samples that this source may have? */
static bool
concerns(const nlt_delete_t *d, const nlt_manifest_block_t *info)
{
    /* Blocks are of tenant 0 so far. */
    return d->tenant == 0 && nlt_delete_concerns(d, info->arena, info->deletes)
           && d->t_min_ms < info->t_end_ms && d->t_max_ms >= info->t_min_ms;
}

nlt_rc_t
nlt_compact_rules_init(nlt_compact_rules_t *r,
                       const nlt_compact_source_t *source, int64_t t_oldest_ms,
                       const nlt_delete_list_t *deletes, nlt_pool_t *keep,
                       nlt_pool_t *scratch, nlt_err_t *err)
{
    size_t n = deletes ? deletes->n : 0;
    nlt_rc_t rc = NLT_OK;

    *r = (nlt_compact_rules_t){.block = source->block,
                               .span =
                                   nlt_index_file_span(source->block->index),
                               .t_oldest_ms = t_oldest_ms};
    for (size_t i = 0; i < n && rc == NLT_OK; i++) {
        const nlt_delete_t *d = &deletes->v[i];

        if (!concerns(d, &source->info)) {
            continue;
        }
        for (size_t k = 0; k < d->n_sets && rc == NLT_OK; k++) {
            nlt_pool_mark_t mark = nlt_pool_mark(scratch);
            uint32_t *ids;
            size_t n_ids = 0;

            rc = select_set(source->block, &d->sets[k], scratch, &ids, &n_ids,
                            err);
            if (rc == NLT_OK && n_ids > 0) {
                rc = add_hits(r, d, ids, n_ids, keep, err);
            }
            nlt_pool_rewind(scratch, mark);
        }
    }
    if (rc == NLT_OK) {
        r->cuts = nlt_pool_array(keep, r->n_hits + 1, sizeof(*r->cuts));
        rc = r->cuts ? NLT_OK : no_memory(err);
    }
    return rc;
}

static bool
has_hit(const nlt_compact_hits_t *h, uint32_t at, uint32_t id)
{
    size_t lo = 0, hi = h->n;

    if (h->bits) {
        return h->bits[at / 8] >> at % 8 & 1;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (h->ids[mid] < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < h->n && h->ids[lo] == id;
}

void
nlt_compact_rules_series(nlt_compact_rules_t *r, uint32_t id)
{
    size_t n = 0;

    if (r->t_oldest_ms > r->block->meta.t_min_ms) {
        r->cuts[n++] = (nlt_interval_t){INT64_MIN, r->t_oldest_ms - 1};
    }
    for (size_t i = 0; i < r->n_hits; i++) {
        if (has_hit(&r->hits[i], id - r->span.first, id)) {
            r->cuts[n++] = r->hits[i].when;
        }
    }
    r->n_cuts = join(r->cuts, n);
}

nlt_compact_fate_t
nlt_compact_rules_chunk(const nlt_compact_rules_t *r, int64_t *t_min_ms,
                        int64_t *t_max_ms)
{
    nlt_compact_fate_t fate = NLT_COMPACT_CHUNK_STAYS;

    for (size_t i = 0; i < r->n_cuts; i++) {
        const nlt_interval_t *iv = &r->cuts[i];

        if (iv->t_max_ms < *t_min_ms || iv->t_min_ms > *t_max_ms) {
            continue;
        }
        if (iv->t_min_ms <= *t_min_ms && iv->t_max_ms >= *t_max_ms) {
            return NLT_COMPACT_CHUNK_GONE;
        }
        fate = NLT_COMPACT_CHUNK_CUT;
        if (iv->t_min_ms <= *t_min_ms) {
            *t_min_ms = iv->t_max_ms + 1;
        } else if (iv->t_max_ms >= *t_max_ms) {
            *t_max_ms = iv->t_min_ms - 1;
        }
    }
    return fate;
}

nlt_rc_t
nlt_compact_is_dirty(const nlt_env_t *env, const nlt_compact_source_t *source,
                     const nlt_delete_list_t *deletes, bool *dirty,
                     nlt_err_t *err)
{
    nlt_pool_t pool;
    nlt_rc_t rc = NLT_OK;

    *dirty = false;
    nlt_pool_init(&pool, env->mem, nlt_compact_budget(source, 1));
    for (size_t i = 0; i < deletes->n && rc == NLT_OK && !*dirty; i++) {
        const nlt_delete_t *d = &deletes->v[i];

        for (size_t k = 0; concerns(d, &source->info) && k < d->n_sets
                           && rc == NLT_OK && !*dirty;
             k++) {
            nlt_pool_mark_t mark = nlt_pool_mark(&pool);
            uint32_t *ids;
            size_t n = 0;

            rc = select_set(source->block, &d->sets[k], &pool, &ids, &n, err);
            for (size_t s = 0; s < n && rc == NLT_OK && !*dirty; s++) {
                rc = nlt_block_overlaps(source->block, ids[s], d->t_min_ms,
                                        d->t_max_ms, dirty, err);
            }
            nlt_pool_rewind(&pool, mark);
        }
    }
    nlt_pool_deinit(&pool);
    return rc == NLT_OK ? nlt_block_intact(source->block, err) : rc;
}

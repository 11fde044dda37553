/*
 * nlt_store_source.c - head and blocks as one source.
 *
 * A view holds parts: the blocks, oldest first (the order of the MANIFEST),
 * then the arenas, oldest first.  A set of series is what each part found,
 * united by label set:
 *
 *     parts   block A {3, 9, 12}   block B {4, 7}   arena 5 {1, 2}
 *     refs    A3 A9 A12 B4 B7 a1 a2        each with its next, newer one
 *     series  0: A3 -> B4 -> a2   1: A9   2: A12 -> a1   3: B7
 *
 * A part that turns out damaged fails, and nlt_store_view.c begins again
 * without it.
 *
 * When a single part found anything (the usual dashboard of the last hour)
 * there is nothing to unite: no labels are looked at and there are no refs.
 * Otherwise series are united by keys of 128 bits (nlt_series_key.h), with
 * scratch that is given back at once.
 */
#include "nlt_store_part.h"

#include "nlt_ahead.h"
#include "nlt_series_key.h"
#include "nlt_xor_many.h"

#define POLL_EVERY 1024

typedef struct {
    uint32_t part;
    uint32_t id;
    uint32_t next; /* index + 1 of the series' ref in a newer part, or 0 */
} ref_t;

typedef struct {
    nlt_series_set_t set; /* first: it is what callers see */
    const nlt_view_t *view;
    nlt_part_t *part; /* oldest first */
    size_t n_parts;
    ref_t *ref;      /* NULL: series i is part[0].id[i] */
    uint32_t *first; /* [set.n] index of the oldest ref */
} set_t;

/* ---- uniting ---- */

typedef struct {
    set_t *set;
    const nlt_source_t *src;
    nlt_series_keys_t keys;
    nlt_hash128_t *key; /* of series i */
    uint32_t *last;     /* index of the newest ref of series i */
    uint32_t *slot;     /* series + 1, or 0 */
    size_t n_slots;
    nlt_err_t *err;
} unite_t;

/* Hangs ref `at`, of this key, onto its series, a new one if it is the first.
 */
static void
unite_ref(unite_t *u, uint32_t at, nlt_hash128_t key)
{
    set_t *s = u->set;
    size_t i = key.lo & (u->n_slots - 1);

    for (; u->slot[i] != 0; i = (i + 1) & (u->n_slots - 1)) {
        uint32_t no = u->slot[i] - 1;

        /* Two series of one part are never the same one. */
        if (u->key[no].lo == key.lo && u->key[no].hi == key.hi
            && s->ref[u->last[no]].part != s->ref[at].part) {
            s->ref[u->last[no]].next = at + 1;
            u->last[no] = at;
            return;
        }
    }
    u->key[s->set.n] = key;
    u->last[s->set.n] = at;
    s->first[s->set.n] = at;
    u->slot[i] = (uint32_t) ++s->set.n;
}

static nlt_rc_t
unite_all(unite_t *u)
{
    set_t *s = u->set;
    uint32_t at = 0;

    for (size_t p = 0; p < s->n_parts; p++) {
        const nlt_part_t *part = &s->part[p];

        nlt_series_keys_begin(&u->keys, part->block, part->arena);
        for (size_t i = 0; i < part->n; i++, at++) {
            nlt_hash128_t key;
            nlt_rc_t rc;

            nlt_series_keys_fetch(&u->keys, part->id, part->n, i);
            rc = nlt_series_key(&u->keys, part->id[i], &key, u->err);

            rc = nlt_part_met(part, rc, u->err);
            if (rc == NLT_OK && at % POLL_EVERY == 0) {
                rc = nlt_part_poll(u->src, u->err);
            }
            if (rc != NLT_OK) {
                return rc;
            }
            s->ref[at] = (ref_t){(uint32_t) p, part->id[i], 0};
            unite_ref(u, at, key);
        }
    }
    return NLT_OK;
}

static nlt_rc_t
unite(const nlt_source_t *src, nlt_pool_t *pool, set_t *s, size_t total,
      nlt_err_t *err)
{
    unite_t u = {.set = s, .src = src, .err = err, .n_slots = 64};
    nlt_pool_mark_t mark;
    nlt_rc_t rc;

    if (total >= UINT32_MAX / 4) {
        return nlt_part_over_budget(err);
    }
    while (u.n_slots < 2 * total) {
        u.n_slots *= 2;
    }
    s->ref = nlt_pool_array(pool, total, sizeof(*s->ref));
    s->first = nlt_pool_array(pool, total, sizeof(*s->first));
    mark = nlt_pool_mark(pool);
    u.key = nlt_pool_array(pool, total, sizeof(*u.key));
    u.last = nlt_pool_array(pool, total, sizeof(*u.last));
    u.slot = nlt_pool_array(pool, u.n_slots, sizeof(*u.slot));
    rc = nlt_series_keys_init(&u.keys, nlt_head_ctl(s->view->store->head),
                              total, pool);
    if (s->ref == NULL || s->first == NULL || u.key == NULL || u.last == NULL
        || u.slot == NULL || rc != NLT_OK) {
        return nlt_part_over_budget(err);
    }
    memset(u.slot, 0, u.n_slots * sizeof(*u.slot));
    rc = unite_all(&u);
    nlt_pool_rewind(pool, mark);
    return rc;
}

/*
 * What is kept of dense blocks' times belongs to the memory that the query
 * may use: a sixteenth of what is left of that at most, once a view.
 */
static void
reserve_times(nlt_view_t *v, nlt_pool_t *pool, const nlt_part_t *part,
              size_t n)
{
    for (size_t i = 0; i < n && !v->times.limited; i++) {
        if (part[i].block != NULL && nlt_block_meta(part[i].block)->dense) {
            pool->budget_bytes -= nlt_times_limit(
                &v->times, (pool->budget_bytes - pool->used_bytes) / 16);
        }
    }
}

static nlt_rc_t
source_select(const nlt_source_t *src, nlt_pool_t *pool,
              const nlt_select_t *sel, nlt_series_set_t **out, nlt_err_t *err)
{
    nlt_view_t *v = nlt_part_view(src);
    set_t *s = nlt_pool_zalloc(pool, sizeof(*s));
    size_t n_parts = 0, total = 0;
    nlt_rc_t rc;

    if (s == NULL) {
        return nlt_part_over_budget(err);
    }
    s->set.source = src;
    s->view = v;
    rc = nlt_parts_find(v, pool, sel->t_min_ms, sel->t_max_ms, &s->part,
                        &n_parts, err);
    for (size_t i = 0; rc == NLT_OK && i < n_parts; i++) {
        nlt_part_t p = s->part[i];

        /* What is older than the retention has to be told apart. */
        rc = nlt_part_select(src, pool, sel, sel->t_min_ms < v->t_oldest_ms,
                             &p, err);
        if (rc == NLT_OK && p.n > 0) {
            s->part[s->n_parts++] = p;
            total += p.n;
        }
    }
    reserve_times(v, pool, s->part, s->n_parts);
    if (rc == NLT_OK && s->n_parts > 1) {
        rc = unite(src, pool, s, total, err);
    } else {
        s->set.n = total;
    }
    if (rc == NLT_OK) {
        *out = &s->set;
    }
    return rc;
}

static void
source_close(nlt_series_set_t *set)
{
    (void) set; /* everything is in the caller's pool or held by the view */
}

/* ---- one series ---- */

static const set_t *
set_of(const nlt_series_set_t *set)
{
    return (const set_t *) (const void *) set;
}

/* The oldest ref of series idx. */
static ref_t
first_ref(const set_t *s, size_t idx)
{
    return s->ref == NULL ? (ref_t){0, s->part[0].id[idx], 0}
                          : s->ref[s->first[idx]];
}

/* The refs of series idx, oldest first, into r (room for n_parts). */
static size_t
refs_of(const set_t *s, size_t idx, ref_t *r)
{
    size_t n = 1;

    for (r[0] = first_ref(s, idx); r[n - 1].next != 0; n++) {
        r[n] = s->ref[r[n - 1].next - 1];
    }
    return n;
}

/* The ref whose labels are cheapest to read: one in an arena, if any. */
static ref_t
label_ref(const set_t *s, size_t idx)
{
    ref_t r = first_ref(s, idx);

    while (s->part[r.part].arena == NULL && r.next != 0) {
        r = s->ref[r.next - 1];
    }
    return r;
}

static nlt_str_t
block_label(const set_t *s, const ref_t *r, nlt_str_t name)
{
    const nlt_part_t *p = &s->part[r->part];
    nlt_str_t value = {0, NULL};
    nlt_err_t err;

    if (nlt_str_eq(name, NLT_TENANT_NAME)
        || nlt_part_met(
               p, nlt_block_label(p->block, r->id, name, &value, &err), &err)
               != NLT_OK) {
        return (nlt_str_t){0, NULL};
    }
    return value;
}

static nlt_str_t
source_label(const nlt_series_set_t *set, size_t idx, nlt_str_t name)
{
    const set_t *s = set_of(set);
    ref_t r = label_ref(s, idx);
    const nlt_part_t *p = &s->part[r.part];

    return p->arena != NULL ? nlt_arena_label(p->arena, r.id, name)
                            : block_label(s, &r, name);
}

/* Names as numbers, for each part a row of n; one behind it says n. */
typedef struct {
    size_t n;
    uint64_t names[];
} keys_t;

/* Numbers of pairs and symbols have less bits. */
#define KEY_PART_BITS 40

static nlt_rc_t
source_keys_open(const nlt_series_set_t *set, const nlt_str_t *names, size_t n,
                 nlt_pool_t *pool, void **out)
{
    const set_t *s = set_of(set);
    uint64_t any = 0;
    keys_t *keys;
    size_t bytes;

    *out = NULL;
    if (__builtin_mul_overflow(s->n_parts, n, &bytes)
        || __builtin_mul_overflow(bytes, sizeof(keys->names[0]), &bytes)
        || __builtin_add_overflow(bytes, sizeof(*keys), &bytes)) {
        return NLT_ENOMEM;
    }
    keys = nlt_pool_alloc(pool, bytes);
    if (keys == NULL) {
        return NLT_ENOMEM;
    }
    keys->n = n;
    for (size_t i = 0; i < s->n_parts; i++) {
        const nlt_part_t *p = &s->part[i];

        for (size_t k = 0; k < n; k++) {
            uint64_t no =
                nlt_str_eq(names[k], NLT_TENANT_NAME) ? 0
                : p->arena != NULL
                    ? nlt_arena_name_no(p->arena, s->view->tenant, names[k])
                    : nlt_block_symbol(p->block, names[k]);

            keys->names[i * n + k] = no;
            any |= no;
        }
    }
    *out = any ? keys : NULL;
    return NLT_OK;
}

static bool
source_keys(const nlt_series_set_t *set, const void *ctx, size_t idx,
            uint64_t *out)
{
    const set_t *s = set_of(set);
    const keys_t *keys = ctx;
    ref_t r = label_ref(s, idx);
    const nlt_part_t *p = &s->part[r.part];
    const uint64_t *names = keys->names + r.part * keys->n;
    bool ok = p->arena != NULL
                  ? nlt_arena_label_nos(p->arena, r.id, names, keys->n, out)
                  : nlt_block_label_nos(p->block, r.id, names, keys->n, out);

    for (size_t k = 0; ok && k < keys->n; k++) {
        if (out[k] != 0) {
            ok = out[k] >> KEY_PART_BITS == 0;
            out[k] |= (uint64_t) r.part << KEY_PART_BITS;
        }
    }
    return ok;
}

static nlt_rc_t
source_labels(const nlt_series_set_t *set, size_t idx, nlt_pool_t *pool,
              nlt_labels_t *out)
{
    const set_t *s = set_of(set);
    ref_t r = label_ref(s, idx);

    return nlt_part_labels(&s->part[r.part], r.id, pool, out, NULL);
}

/* ---- samples ---- */

/* First index in [0, n) with t_ms >= t, or n. */
static size_t
lower_bound(const int64_t *t_ms, size_t n, int64_t t)
{
    size_t lo = 0;

    while (n > lo) {
        size_t mid = lo + (n - lo) / 2;

        if (t_ms[mid] < t) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    return lo;
}

/*
 * out has two ascending runs, [0, at) of older parts and [at, n) of a newer
 * one: one run, the older winning where times are equal.  Only what overlaps
 * is moved.
 */
static nlt_rc_t
merge_runs(nlt_samples_t *out, size_t at, nlt_err_t *err)
{
    size_t from, n_old, i = 0, j = at, k;
    nlt_pool_mark_t mark;
    int64_t *t;
    double *v;

    if (at == 0 || at == out->n || out->t_ms[at] > out->t_ms[at - 1]) {
        return NLT_OK;
    }
    from = lower_bound(out->t_ms, at, out->t_ms[at]);
    n_old = at - from;
    mark = nlt_pool_mark(out->pool);
    t = nlt_pool_array(out->pool, n_old, sizeof(*t));
    v = nlt_pool_array(out->pool, n_old, sizeof(*v));
    if (t == NULL || v == NULL) {
        nlt_pool_rewind(out->pool, mark);
        return nlt_part_over_budget(err);
    }
    memcpy(t, out->t_ms + from, n_old * sizeof(*t));
    memcpy(v, out->v + from, n_old * sizeof(*v));
    for (k = from; i < n_old || j < out->n; k++) {
        if (i < n_old && (j == out->n || t[i] <= out->t_ms[j])) {
            j += j < out->n && t[i] == out->t_ms[j];
            out->t_ms[k] = t[i];
            out->v[k] = v[i++];
        } else {
            out->t_ms[k] = out->t_ms[j];
            out->v[k] = out->v[j++];
        }
    }
    out->n = k;
    nlt_pool_rewind(out->pool, mark);
    return NLT_OK;
}

static nlt_rc_t
read_all(const set_t *s, size_t idx, int64_t t_min, int64_t t_max,
         nlt_samples_t *out, nlt_err_t *err)
{
    uint32_t next;

    if (s->ref == NULL) {
        return nlt_part_read(&s->part[0], s->part[0].id[idx], NLT_READ_ALL,
                             t_min, t_max, out, err);
    }
    for (next = s->first[idx] + 1; next != 0;) {
        const ref_t *r = &s->ref[next - 1];
        size_t before = out->n;
        nlt_rc_t rc = nlt_part_read(&s->part[r->part], r->id, NLT_READ_ALL,
                                    t_min, t_max, out, err);

        if (rc == NLT_OK) {
            rc = merge_runs(out, before, err);
        }
        if (rc != NLT_OK) {
            return rc;
        }
        next = r->next;
    }
    return NLT_OK;
}

/*
 * Newest part first, because it nearly always has the newest sample; then
 * older parts need only look at what is as new or newer.  At equal times the
 * older part wins, so they look at the same time too.
 */
static nlt_rc_t
read_newest(const set_t *s, size_t idx, nlt_read_t what, int64_t t_min,
            int64_t t_max, nlt_samples_t *out, nlt_err_t *err)
{
    nlt_pool_mark_t mark;
    ref_t *refs;
    bool found = false;
    int64_t t = t_min;
    double v = 0;
    nlt_samples_t one = {.pool = out->pool};
    nlt_rc_t rc;

    if (s->ref == NULL) {
        rc = nlt_part_read(&s->part[0], s->part[0].id[idx], what, t_min, t_max,
                           out, err);
        if (rc == NLT_OK && out->n > 1) { /* of a block */
            out->t_ms[0] = out->t_ms[out->n - 1];
            out->v[0] = out->v[out->n - 1];
            out->n = 1;
        }
        return rc;
    }
    mark = nlt_pool_mark(out->pool);
    refs = nlt_pool_array(out->pool, s->n_parts, sizeof(*refs));
    rc = refs == NULL ? nlt_part_over_budget(err) : NLT_OK;

    for (size_t i = rc == NLT_OK ? refs_of(s, idx, refs) : 0;
         rc == NLT_OK && i-- > 0;) {
        one.n = 0;
        rc = nlt_part_read(&s->part[refs[i].part], refs[i].id, what, t, t_max,
                           &one, err);
        if (rc == NLT_OK && one.n > 0) {
            t = one.t_ms[one.n - 1];
            v = one.v[one.n - 1];
            found = true;
            if (what == NLT_READ_ANY) {
                break;
            }
        }
    }
    nlt_pool_rewind(out->pool, mark);
    if (rc != NLT_OK || !found) {
        return rc;
    }
    if (!nlt_samples_reserve(out, 1)) {
        return nlt_part_over_budget(err);
    }
    out->t_ms[0] = t;
    out->v[0] = v;
    out->n = 1;
    return NLT_OK;
}

/* Series are read in order, nearly always: begins with those from idx on. */
static void
read_ahead(const set_t *s, size_t idx, int64_t t_min)
{
    uint32_t id[NLT_ARENA_AHEAD];
    size_t n = s->set.n - idx, k = 0;
    const nlt_arena_t *a = NULL;

    n = n < NLT_ARENA_AHEAD ? n : NLT_ARENA_AHEAD;
    if (s->ref == NULL) {
        a = s->part[0].arena;
        if (a != NULL) {
            nlt_arena_read_ahead(a, s->part[0].id + idx, n, t_min);
        }
        return;
    }
    /* Those of one arena, the newest that the first series is in. */
    for (size_t i = idx; i < idx + n; i++) {
        ref_t r = label_ref(s, i);

        if (s->part[r.part].arena != NULL
            && (a == NULL || a == s->part[r.part].arena)) {
            a = s->part[r.part].arena;
            id[k++] = r.id;
        }
    }
    if (a != NULL) {
        nlt_arena_read_ahead(a, id, k, t_min);
    }
}

/* The parts of series idx, for nlt_ahead.c; none if it has deletes. */
static size_t
ahead_refs(const void *of, size_t idx, nlt_ahead_ref_t *out)
{
    const set_t *s = of;
    ref_t r = first_ref(s, idx);
    size_t n = 0;

    for (;; r = s->ref[r.next - 1]) {
        const nlt_part_t *p = &s->part[r.part];

        if (n == NLT_AHEAD_PARTS || nlt_part_is_cut(p, r.id)) {
            return 0;
        }
        out[n++] = (nlt_ahead_ref_t){p->arena, p->block, r.id};
        if (r.next == 0) {
            return n;
        }
    }
}

static nlt_rc_t
source_read(const nlt_series_set_t *set, size_t idx, nlt_read_t what,
            int64_t t_min, int64_t t_max, nlt_samples_t *out, nlt_err_t *err)
{
    const set_t *s = set_of(set);

    out->n = 0;
    if (nlt_part_poll(set->source, err) != NLT_OK) {
        return NLT_ECANCELED;
    }
    if (atomic_load_explicit(&s->view->again, memory_order_relaxed)) {
        return nlt_err_set(err, NLT_EDATA, "a block is damaged");
    }
    t_min = nlt_max_i64(t_min, s->view->t_oldest_ms);
    if (t_min > t_max) {
        return NLT_OK;
    }
    if (idx % NLT_ARENA_AHEAD == 0) {
        read_ahead(s, idx, t_min);
    }
    if (what != NLT_READ_ANY && nlt_xor_many_lanes()
        && nlt_ahead_read(out, s, idx, set->n, ahead_refs, what, t_min,
                          t_max)) {
        return NLT_OK;
    }
    return what == NLT_READ_ALL
               ? read_all(s, idx, t_min, t_max, out, err)
               : read_newest(s, idx, what, t_min, t_max, out, err);
}

static nlt_rc_t
source_histograms(const nlt_series_set_t *set, size_t idx, int64_t t_min,
                  int64_t t_max, bool *out, nlt_err_t *err)
{
    const set_t *s = set_of(set);
    ref_t r = first_ref(s, idx);
    nlt_rc_t rc;

    t_min = nlt_max_i64(t_min, s->view->t_oldest_ms);
    for (;;) {
        rc = nlt_part_histograms(&s->part[r.part], r.id, t_min, t_max, out,
                                 err);
        if (rc != NLT_OK || *out || r.next == 0) {
            return rc;
        }
        r = s->ref[r.next - 1];
    }
}

const nlt_source_ops_t nlt_store_source_ops = {
    .select = source_select,
    .label = source_label,
    .labels = source_labels,
    .keys_open = source_keys_open,
    .keys = source_keys,
    .read = source_read,
    .histograms = source_histograms,
    .close = source_close,
    .label_names = nlt_store_label_names,
    .label_values = nlt_store_label_values,
};

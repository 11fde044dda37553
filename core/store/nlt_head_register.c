/*
 * nlt_head_register.c - new series, and series carried from arena to arena.
 *
 * Under the registration lock, in this order:
 *
 *   1 label block and its pairs      can run out of room; leaves unused bytes
 *   2 room in all postings           likewise
 *   3 series entry
 *   4 postings, the tenant's root pair included
 *   5 n_series                       readers: the number is complete
 *   6 hash slot                      writers: it can be found
 *
 * Readers ignore numbers beyond n_series, so a series whose postings are
 * being written is in no result at all rather than in wrong ones.
 */
#include <errno.h>

#include "nlt_head_pairs.h"
#include "nlt_head_stats.h"

#include "nlt_xhash.h"

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

/* Labels of one series: what fits in NLT_SERIES_BYTES_MAX at 6 bytes each. */
#define LABELS_MAX (NLT_SERIES_BYTES_MAX / 6)

/* Places of postings that are remembered from room to adding. */
#define POSTINGS_MAX 64

/* How far ahead label blocks are fetched; entries twice as far. */
#define BEHIND 8

nlt_hash128_t
nlt_head_key(const nlt_head_ctl_t *ctl, uint32_t tenant, const void *bytes,
             size_t n)
{
    nlt_hash128_t h = nlt_hash128(bytes, n, ctl->secret);

    /* The hash is keyed, so nobody can aim at a difference of two mixes. */
    if (tenant) {
        h.lo ^= nlt_mix64(tenant);
        h.hi ^= nlt_mix64(~(uint64_t) tenant);
    }
    return h;
}

uint32_t
nlt_arena_find(const nlt_arena_t *a, nlt_hash128_t key)
{
    return nlt_xhash_find(a, &a->hdr->by_hash, nlt_xhash_key(key));
}

/* Label block of an entry, as far as its key goes. */
static inline const nlt_arena_labels_t *
label_key(const nlt_arena_t *a, const nlt_arena_series_t *e)
{
    return e ? nlt_arena_at(a, e->labels.u, sizeof(nlt_arena_labels_t)) : NULL;
}

bool
nlt_arena_is(const nlt_arena_t *a, uint32_t no, nlt_hash128_t canonical)
{
    const nlt_arena_labels_t *l = label_key(a, nlt_arena_series(a, no));

    return l != NULL && l->key[0] == (uint32_t) canonical.lo
           && l->key[1] == (uint32_t) (canonical.lo >> 32)
           && l->key[2] == (uint32_t) canonical.hi;
}

void
nlt_arena_prefetch_behind(const nlt_arena_t *a, uint32_t series)
{
    const nlt_arena_labels_t *l =
        label_key(a, nlt_arena_series(a, series + BEHIND));

    if (nlt_likely(l != NULL)) {
        __builtin_prefetch(l);
    }
    nlt_arena_prefetch_series(a, series + 2 * BEHIND);
}

void
nlt_arena_prefetch_key(const nlt_arena_t *a, nlt_hash128_t key)
{
    nlt_xhash_prefetch(a, &a->hdr->by_hash, nlt_xhash_key(key));
}

void
nlt_arena_prefetch_series(const nlt_arena_t *a, uint32_t series)
{
    nlt_arena_series_t *e = nlt_arena_series(a, series);

    if (nlt_likely(e != NULL)) {
        __builtin_prefetch(e, 1);
    }
}

bool
nlt_registration_lock(nlt_arena_t *a, bool *broken)
{
    int e = pthread_mutex_lock(&a->hdr->registration);

    if (e == EOWNERDEAD) {
        atomic_store_explicit(&a->hdr->registration_broken, 1, RELEASE);
        e = pthread_mutex_consistent(&a->hdr->registration);
    }
    if (e != 0) {
        return false;
    }
    *broken = atomic_load_explicit(&a->hdr->registration_broken, ACQUIRE) != 0;
    return true;
}

void
nlt_registration_unlock(nlt_arena_t *a)
{
    (void) pthread_mutex_unlock(&a->hdr->registration);
}

static void
count(_Atomic uint64_t *counter)
{
    (void) atomic_fetch_add_explicit(counter, 1, RELAXED);
}

/*
 * One more key of a series that is there.  A failure is no error: the next
 * request misses again and comes back here.
 */
static void
add_alias(nlt_arena_t *a, uint32_t series, nlt_xhash_key_t raw)
{
    nlt_arena_series_t *e = nlt_arena_series(a, series);

    if (e == NULL || e->n_aliases >= NLT_ALIASES_PER_SERIES_MAX
        || nlt_xhash_find(a, &a->hdr->by_hash, raw) != 0) {
        return;
    }
    if (nlt_xhash_insert(a, &a->hdr->by_hash, raw, series)) {
        e->n_aliases++;
        count(&a->ctl->counters.aliases_created);
    }
}

/* Where series number `series` goes; its segment is allocated when new. */
static nlt_arena_series_t *
series_room(nlt_arena_t *a, uint32_t series)
{
    uint32_t s = series >> NLT_SERIES_SEG_BITS;
    uint64_t bytes = sizeof(nlt_arena_series_t) << NLT_SERIES_SEG_BITS;
    nlt_arena_series_t *seg;

    if (s >= NLT_SERIES_SEG_MAX) {
        return NULL;
    }
    if (a->hdr->series_seg[s].u == 0) {
        a->hdr->series_seg[s] =
            nlt_arena_alloc(a, bytes, 64, nlt_arena_limit_series(a));
    }
    seg = nlt_arena_at(a, a->hdr->series_seg[s].u, bytes);
    return seg ? seg + (series & ((1u << NLT_SERIES_SEG_BITS) - 1)) : NULL;
}

/* A label block for n pairs, not filled. */
static nlt_arena_labels_t *
new_labels(nlt_arena_t *a, uint32_t tenant, size_t n, nlt_xhash_key_t key,
           nlt_off_t *off)
{
    size_t bytes = sizeof(nlt_arena_labels_t) + n * sizeof(uint32_t);
    nlt_arena_labels_t *l;

    *off = nlt_arena_alloc(a, bytes, 8, nlt_arena_limit_series(a));
    l = nlt_arena_at(a, off->u, bytes);
    if (l == NULL) {
        return NULL;
    }
    l->key[0] = (uint32_t) key.lo;
    l->key[1] = (uint32_t) (key.lo >> 32);
    l->key[2] = key.hi;
    l->tenant = tenant;
    l->n = (uint32_t) n;
    return l;
}

/* Steps 2 to 6 for a filled label block; the new number, or 0. */
static uint32_t
publish(nlt_arena_t *a, const nlt_arena_labels_t *l, nlt_off_t off,
        uint32_t root, nlt_xhash_key_t key)
{
    uint32_t series = atomic_load_explicit(&a->hdr->n_series, RELAXED) + 1;
    nlt_arena_series_t *e = series_room(a, series);
    nlt_arena_posting_t at[POSTINGS_MAX], of_root;
    bool room = e != NULL && nlt_xhash_room(a, &a->hdr->by_hash, key)
                && nlt_arena_postings_room(a, root, series, &of_root);

    for (uint32_t i = 0; room && i < l->n; i++) {
        room = nlt_arena_postings_room(a, l->pair[i], series,
                                       &at[i % POSTINGS_MAX]);
    }
    if (!room) {
        return 0;
    }
    memset(e, 0, sizeof(*e));
    nlt_xor_state_init(&e->enc);
    e->labels = off;
    for (uint32_t i = 0; i < l->n; i++) {
        /* Of more labels, the places are found again: there is room. */
        if (nlt_likely(l->n <= POSTINGS_MAX)
            || nlt_arena_postings_room(a, l->pair[i], series,
                                       &at[i % POSTINGS_MAX])) {
            nlt_arena_postings_add(&at[i % POSTINGS_MAX], series);
        }
    }
    nlt_arena_postings_add(&of_root, series);
    atomic_store_explicit(&a->hdr->n_series, series, RELEASE);
    if (!nlt_xhash_insert(a, &a->hdr->by_hash, key, series)) {
        return 0; /* cannot be: there was room */
    }
    return series;
}

/*
 * What register and carry begin with; NLT_OK: go on, the lock is held.
 * Beyond limit bytes no series is added.
 */
static nlt_rc_t
begin(nlt_arena_t *a, uint64_t limit, nlt_xhash_key_t canonical,
      nlt_xhash_key_t raw, uint32_t *series)
{
    bool broken, alias = raw.lo != canonical.lo || raw.hi != canonical.hi;
    nlt_rc_t rc = NLT_OK;

    *series = 0;
    if (!nlt_registration_lock(a, &broken)) {
        return NLT_EDATA;
    }
    *series = nlt_xhash_find(a, &a->hdr->by_hash, canonical);
    if (atomic_load_explicit(&a->hdr->sealed, ACQUIRE)) {
        rc = NLT_EEXIST;
    } else if (*series) {
        if (alias && !broken) {
            add_alias(a, *series, raw);
        }
    } else if (broken
               || atomic_load_explicit(&a->hdr->used_bytes, RELAXED)
                      >= limit) {
        rc = NLT_EFULL;
    }
    if (rc != NLT_OK || *series) {
        nlt_registration_unlock(a);
        if (rc == NLT_EFULL) {
            count(&a->ctl->counters.series_refused);
        }
    }
    return rc;
}

/* What they end with; unlocks. */
static nlt_rc_t
end(nlt_arena_t *a, uint32_t series, nlt_xhash_key_t canonical,
    nlt_xhash_key_t raw, _Atomic uint64_t *counter)
{
    if (series && (raw.lo != canonical.lo || raw.hi != canonical.hi)) {
        add_alias(a, series, raw);
    }
    nlt_registration_unlock(a);
    if (series == 0) {
        count(&a->ctl->counters.series_refused);
        return NLT_EFULL;
    }
    count(counter);
    return NLT_OK;
}

/* The root pair of a tenant; 0: no room. */
static uint32_t
root_of(nlt_arena_t *a, uint32_t tenant)
{
    if (nlt_unlikely(a->root == 0 || a->root_tenant != tenant)) {
        a->root =
            nlt_arena_pair_intern(a, tenant, NLT_STR(""), NLT_STR(""), NULL);
        a->root_tenant = tenant;
    }
    return a->root;
}

/*
 * Pairs of the labels into l; false: no room.  Series of one target come one
 * after the other and share most of their pairs: to compare with those of the
 * series before, sorted by name as well, costs a sixth of a lookup.
 */
static bool
intern_pairs(nlt_arena_t *a, uint32_t tenant, nlt_labels_t labels,
             nlt_arena_labels_t *l)
{
    const nlt_arena_series_t *e =
        a->registered ? nlt_arena_series(a, a->registered) : NULL;
    const nlt_arena_labels_t *before = e ? nlt_arena_labels_of(a, e) : NULL;
    uint32_t n = before && before->tenant == tenant ? before->n : 0, k = 0;

    for (uint32_t i = 0; i < labels.n; i++) {
        const nlt_arena_pair_t *p = NULL;
        int order = -1;

        for (; k < n; k++) {
            p = nlt_arena_pair(a, before->pair[k]);
            if (nlt_unlikely(p == NULL)) {
                continue;
            }
            order = nlt_str_cmp(nlt_arena_pair_name(a, p), labels.v[i].name);
            if (nlt_likely(order >= 0)) {
                break;
            }
        }
        if (nlt_likely(order == 0)
            && nlt_str_eq(nlt_arena_pair_value(a, p), labels.v[i].value)) {
            l->pair[i] = before->pair[k++];
            continue;
        }
        l->pair[i] =
            nlt_arena_pair_intern(a, tenant, labels.v[i].name,
                                  labels.v[i].value, order == 0 ? p : NULL);
        if (l->pair[i] == 0) {
            return false;
        }
    }
    return true;
}

nlt_rc_t
nlt_arena_register(nlt_arena_t *a, uint32_t tenant, nlt_labels_t labels,
                   nlt_hash128_t canonical, nlt_hash128_t raw,
                   uint32_t *series)
{
    nlt_xhash_key_t key = nlt_xhash_key(canonical);
    nlt_xhash_key_t alias = nlt_xhash_key(raw);
    nlt_arena_labels_t *l;
    uint32_t root;
    nlt_off_t off = {0};
    nlt_rc_t rc;

    if (labels.n > LABELS_MAX) {
        *series = 0;
        return NLT_EINVAL;
    }
    rc = begin(a, nlt_arena_limit_new(a), key, alias, series);
    if (rc != NLT_OK || *series) {
        return rc;
    }
    root = root_of(a, tenant);
    l = root ? new_labels(a, tenant, labels.n, key, &off) : NULL;
    if (l && intern_pairs(a, tenant, labels, l)) {
        *series = publish(a, l, off, root, key);
        a->registered = *series;
    }
    return end(a, *series, key, alias, &a->ctl->counters.series_created);
}

uint32_t
nlt_arena_registered(const nlt_arena_t *a)
{
    return a->registered;
}

/* ---- carry ---- */

/* The table of pair numbers of the arena before, made at the first need. */
static uint32_t *
remap_table(nlt_arena_t *a, const nlt_arena_t *from, uint32_t *n)
{
    nlt_arena_header_t *hdr = a->hdr;

    if (hdr->remap_from != from->no) {
        /* `from` is sealed but for an instant during a rotation; pairs that
         * come in that instant are beyond the table and go by their text. */
        uint32_t pairs =
            atomic_load_explicit(&from->hdr->n_pairs, ACQUIRE) + 1;
        nlt_off_t off = nlt_arena_alloc(a, (uint64_t) pairs * sizeof(uint32_t),
                                        64, nlt_arena_limit_series(a));

        if (off.u == 0) {
            return NULL;
        }
        hdr->remap = off;
        hdr->remap_n = pairs;
        hdr->remap_from = from->no;
    }
    *n = hdr->remap_n;
    return nlt_arena_at(a, hdr->remap.u, (uint64_t) *n * sizeof(uint32_t));
}

/* The pair here that is pair `old` of the arena before; 0: no room. */
static uint32_t
carry_pair(nlt_arena_t *a, const nlt_arena_t *from, uint32_t old,
           uint32_t *remap, uint32_t remap_n)
{
    const nlt_arena_pair_t *p;
    uint32_t pair;

    if (nlt_likely(old < remap_n && remap[old] != 0)) {
        return remap[old];
    }
    p = nlt_arena_pair(from, old);
    if (p == NULL) {
        return 0;
    }
    pair = nlt_arena_pair_intern(a, p->tenant, nlt_arena_pair_name(from, p),
                                 nlt_arena_pair_value(from, p), NULL);
    if (old < remap_n) {
        remap[old] = pair;
    }
    return pair;
}

static nlt_xhash_key_t
canonical_key(const nlt_arena_labels_t *l)
{
    return (nlt_xhash_key_t){l->key[0] | (uint64_t) l->key[1] << 32,
                             l->key[2]};
}

nlt_rc_t
nlt_arena_carry(nlt_arena_t *a, const nlt_arena_t *from, uint32_t from_series,
                nlt_hash128_t raw, uint32_t *series)
{
    const nlt_arena_series_t *old = nlt_arena_series(from, from_series);
    const nlt_arena_labels_t *from_l;
    nlt_xhash_key_t key, alias = nlt_xhash_key(raw);
    nlt_arena_labels_t *l;
    uint32_t root, *remap, remap_n = 0;
    nlt_off_t off = {0};
    nlt_rc_t rc;

    *series = 0;
    from_l = old ? nlt_arena_labels_of(from, old) : NULL;
    if (from_l == NULL || from_l->n > LABELS_MAX) {
        return NLT_EDATA;
    }
    key = canonical_key(from_l);
    for (uint32_t i = 0; i < from_l->n; i++) {
        __builtin_prefetch(nlt_arena_pair(from, from_l->pair[i]));
    }
    rc = begin(a, nlt_arena_limit_series(a), key, alias, series);
    if (rc != NLT_OK || *series) {
        return rc;
    }
    remap = remap_table(a, from, &remap_n);
    root = root_of(a, from_l->tenant);
    l = root ? new_labels(a, from_l->tenant, from_l->n, key, &off) : NULL;
    for (uint32_t i = 0; l && i < from_l->n; i++) {
        l->pair[i] =
            carry_pair(a, from, from_l->pair[i], remap, remap ? remap_n : 0);
        if (l->pair[i] == 0) {
            l = NULL;
        }
    }
    if (l) {
        *series = publish(a, l, off, root, key);
    }
    return end(a, *series, key, alias, &a->ctl->counters.series_carried);
}

uint32_t
nlt_arena_find_carried(const nlt_arena_t *a, const nlt_arena_t *from,
                       uint32_t from_series)
{
    const nlt_arena_series_t *old = nlt_arena_series(from, from_series);
    const nlt_arena_labels_t *l = old ? nlt_arena_labels_of(from, old) : NULL;

    if (l == NULL) {
        return 0;
    }
    return nlt_xhash_find(a, &a->hdr->by_hash, canonical_key(l));
}

bool
nlt_arena_series_logged(const nlt_arena_t *a, uint32_t series)
{
    nlt_arena_series_t *e = nlt_arena_series(a, series);

    return e && (atomic_load_explicit(&e->flags, ACQUIRE) & NLT_SERIES_LOGGED);
}

void
nlt_arena_series_set_logged(nlt_arena_t *a, uint32_t series)
{
    nlt_arena_series_t *e = nlt_arena_series(a, series);

    if (e) {
        (void) atomic_fetch_or_explicit(&e->flags, NLT_SERIES_LOGGED, RELEASE);
    }
}

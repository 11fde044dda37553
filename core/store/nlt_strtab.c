/*
 * nlt_strtab.c - open addressing over an array of strings; two sorts.
 *
 * Strings are sorted by eight bytes at a time: what all of them begin with is
 * left out, the next eight bytes are a number, and numbers are sorted by
 * radix, those bytes of them only in which they differ.  Those that are equal
 * so far are sorted in the same way by what follows, a few levels deep; what
 * is still equal then, or is few, by comparing.
 */
#include "nlt_strtab.h"

#include "nlt_bytes.h"
#include "nlt_hash.h"

#define SLOTS_MIN 64

void
nlt_strtab_init(nlt_strtab_t *t, nlt_pool_t *pool)
{
    *t = (nlt_strtab_t){.pool = pool};
}

static bool
grow_slots(nlt_strtab_t *t)
{
    size_t n = t->n_slots ? t->n_slots * 2 : SLOTS_MIN;
    uint32_t *slot = nlt_pool_array(t->pool, n, sizeof(*slot));

    if (slot == NULL || n > UINT32_MAX) {
        return false;
    }
    memset(slot, 0, n * sizeof(*slot));
    for (size_t i = 0; i < t->n; i++) {
        size_t at = t->hash[i] & (n - 1);

        while (slot[at] != 0) {
            at = (at + 1) & (n - 1);
        }
        slot[at] = (uint32_t) i + 1;
    }
    t->slot = slot;
    t->n_slots = n;
    return true;
}

static bool
grow_strings(nlt_strtab_t *t)
{
    size_t cap = t->cap ? t->cap * 2 : SLOTS_MIN / 2;
    nlt_str_t *v =
        nlt_pool_grow(t->pool, t->v, t->cap * sizeof(*v), cap * sizeof(*v));
    uint32_t *hash;

    if (v == NULL) {
        return false;
    }
    t->v = v;
    hash = nlt_pool_grow(t->pool, t->hash, t->cap * sizeof(*hash),
                         cap * sizeof(*hash));
    if (hash == NULL) {
        return false;
    }
    t->hash = hash;
    t->cap = cap;
    return true;
}

bool
nlt_strtab_add(nlt_strtab_t *t, nlt_str_t s, uint32_t *no, bool *is_new)
{
    uint32_t h = (uint32_t) nlt_hash64(s.data, s.len, 0);
    size_t at;

    if (2 * (t->n + 1) > t->n_slots && !grow_slots(t)) {
        return false;
    }
    for (at = h & (t->n_slots - 1); t->slot[at] != 0;
         at = (at + 1) & (t->n_slots - 1)) {
        uint32_t i = t->slot[at] - 1;

        if (t->hash[i] == h && nlt_str_eq(t->v[i], s)) {
            *no = i;
            if (is_new != NULL) {
                *is_new = false;
            }
            return true;
        }
    }
    if (t->n == t->cap && !grow_strings(t)) {
        return false;
    }
    t->v[t->n] = s;
    t->hash[t->n] = h;
    *no = (uint32_t) t->n++;
    t->slot[at] = *no + 1;
    if (is_new != NULL) {
        *is_new = true;
    }
    return true;
}

/* ---- sorting strings ---- */

typedef struct {
    uint64_t key;
    uint32_t no;
} keyed_t;

/* Below this many comparing is quicker. */
#define RADIX_MIN 48

/* How often eight more bytes are looked at, before strings are compared. */
#define LEVELS_MAX 6

static int
cmp_strings(const void *ctx, uint32_t a, uint32_t b)
{
    const nlt_str_t *v = ctx;

    return nlt_str_cmp(v[a], v[b]);
}

/* How many bytes all of them have in common, the first `from` being known. */
static size_t
common_prefix(const nlt_str_t *v, const keyed_t *k, size_t n, size_t from)
{
    nlt_str_t first = v[k[0].no];
    size_t len = first.len;

    for (size_t i = 1; i < n && len > from; i++) {
        nlt_str_t s = v[k[i].no];
        size_t at = from;

        len = s.len < len ? s.len : len;
        while (at < len && s.data[at] == first.data[at]) {
            at++;
        }
        len = at;
    }
    return len > from ? len : from;
}

/* Eight bytes as a number that is ordered as they are; behind the end 0. */
static uint64_t
key_at(nlt_str_t s, size_t from)
{
    uint64_t key = 0;
    size_t left = s.len > from ? s.len - from : 0;

    if (left >= 8) {
        return nlt_be64(s.data + from);
    }
    for (size_t i = 0; i < left; i++) {
        key |= (uint64_t) (uint8_t) s.data[from + i] << (56 - 8 * i);
    }
    return key;
}

/* Sorts by key; tmp has room for n. */
static void
radix_sort(keyed_t *k, keyed_t *tmp, size_t n)
{
    keyed_t *from = k, *to = tmp;
    uint64_t differ = 0;

    for (size_t i = 1; i < n; i++) {
        differ |= k[i].key ^ k[0].key;
    }
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint32_t at[256] = {0}, sum = 0;
        keyed_t *swap = from;

        if ((differ >> shift & 255) == 0) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            at[from[i].key >> shift & 255]++;
        }
        for (size_t i = 0; i < 256; i++) {
            uint32_t here = at[i];

            at[i] = sum;
            sum += here;
        }
        for (size_t i = 0; i < n; i++) {
            to[at[from[i].key >> shift & 255]++] = from[i];
        }
        from = to;
        to = swap;
    }
    if (from != k) {
        memcpy(k, from, n * sizeof(*k));
    }
}

static void
compare_sort(const nlt_str_t *v, keyed_t *k, keyed_t *tmp, size_t n)
{
    uint32_t *no = (uint32_t *) (void *) tmp;

    for (size_t i = 0; i < n; i++) {
        no[i] = k[i].no;
    }
    if (nlt_sort_u32(no, n, no + n, cmp_strings, v, NULL, NULL) != NLT_OK) {
        return; /* cannot be without a poll */
    }
    for (size_t i = 0; i < n; i++) {
        k[i].no = no[i];
    }
}

static void
sort_level(const nlt_str_t *v, keyed_t *k, keyed_t *tmp, size_t n, size_t from,
           unsigned level)
{
    if (n < RADIX_MIN || level == LEVELS_MAX) {
        compare_sort(v, k, tmp, n);
        return;
    }
    from = common_prefix(v, k, n, from);
    for (size_t i = 0; i < n; i++) {
        k[i].key = key_at(v[k[i].no], from);
    }
    radix_sort(k, tmp, n);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && k[end].key == k[i].key; end++) {
        }
        if (end > i + 1) {
            /* equal may also mean: one ends where another has a zero */
            sort_level(v, k + i, tmp, end - i, from, level + 1);
        }
    }
}

/* Lists of blocks are. */
static bool
are_ordered(const nlt_str_t *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (nlt_str_cmp(v[i - 1], v[i]) > 0) {
            return false;
        }
    }
    return true;
}

uint32_t *
nlt_strings_order(nlt_pool_t *pool, const nlt_str_t *v, size_t n)
{
    uint32_t *order = nlt_pool_array(pool, n, sizeof(*order));
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    keyed_t *k = nlt_pool_array(pool, n, 2 * sizeof(*k));

    if (order == NULL || k == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        k[i].no = (uint32_t) i;
    }
    if (!are_ordered(v, n)) {
        sort_level(v, k, k + n, n, 0, 0);
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = k[i].no;
    }
    nlt_pool_rewind(pool, mark);
    return order;
}

uint32_t *
nlt_strtab_order(const nlt_strtab_t *t)
{
    return nlt_strings_order(t->pool, t->v, t->n);
}

nlt_rc_t
nlt_sort_u32(uint32_t *v, size_t n, uint32_t *tmp,
             int (*cmp)(const void *ctx, uint32_t a, uint32_t b),
             const void *ctx, nlt_rc_t (*poll)(void *ctx), void *poll_ctx)
{
    uint32_t *from = v, *to = tmp;
    size_t work = 0;

    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n;
            size_t hi = mid + width < n ? mid + width : n;
            size_t i = lo, j = mid;

            for (size_t k = lo; k < hi; k++) {
                bool left =
                    i < mid && (j >= hi || cmp(ctx, from[i], from[j]) <= 0);

                to[k] = left ? from[i++] : from[j++];
            }
            work += hi - lo;
            if (poll != NULL && work >= 65536) {
                nlt_rc_t rc = poll(poll_ctx);

                if (rc != NLT_OK) {
                    return rc;
                }
                work = 0;
            }
        }
        uint32_t *swap = from;

        from = to;
        to = swap;
    }
    if (from != v && n > 0) {
        memcpy(v, from, n * sizeof(*v));
    }
    return NLT_OK;
}

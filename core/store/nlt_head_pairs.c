/*
 * nlt_head_pairs.c - label names, label pairs and their postings.
 *
 * Names and pairs are found through one hash table under keys of different
 * shape: a pair leads to its number, a name to its offset.  Everything here
 * that writes does so under the registration lock.
 */
#include "nlt_head_pairs.h"

#include "nlt_bytes.h"
#include "nlt_xhash.h"

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

/* Postings blocks grow by half, from 8 bytes to this. */
#define POSTINGS_CAP_MAX 2040

/*
 * Key of a pair, or of a name when value is NULL.  Short ones are hashed in
 * one go; of long ones each part is hashed first.
 */
static nlt_xhash_key_t
key_of(const nlt_arena_t *a, uint32_t tenant, nlt_str_t name,
       const nlt_str_t *value)
{
    const uint8_t *secret = a->ctl->secret;
    uint8_t buf[256];
    size_t n = 0, value_len = value ? value->len : 0;

    buf[n++] = value ? 'p' : 'n';
    nlt_put_le32(buf + n, tenant);
    n += 4;
    if (name.len + value_len <= sizeof(buf) - 16) {
        nlt_put_le32(buf + n, (uint32_t) name.len);
        n += 4;
        if (name.len) {
            memcpy(buf + n, name.data, name.len);
            n += name.len;
        }
        if (value_len) {
            memcpy(buf + n, value->data, value_len);
            n += value_len;
        }
    } else {
        nlt_hash128_t part = nlt_hash128(name.data, name.len, secret);

        nlt_put_le32(buf + n, UINT32_MAX);
        n += 4;
        memcpy(buf + n, &part, sizeof(part));
        n += sizeof(part);
        if (value) {
            part = nlt_hash128(value->data, value->len, secret);
            memcpy(buf + n, &part, sizeof(part));
            n += sizeof(part);
        }
    }
    return nlt_xhash_key(nlt_hash128(buf, n, secret));
}

/* For an arena whose writer died in a split: looks at every pair. */
static uint32_t
scan_pairs(const nlt_arena_t *a, uint32_t tenant, nlt_str_t name,
           const nlt_str_t *value)
{
    uint32_t n = atomic_load_explicit(&a->hdr->n_pairs, ACQUIRE);
    uint32_t max = (NLT_PAIR_SEG_MAX << NLT_PAIR_SEG_BITS) - 1;

    n = n < max ? n : max;
    for (uint32_t i = 1; i <= n; i++) {
        const nlt_arena_pair_t *p = nlt_arena_pair(a, i);

        if (p && p->tenant == tenant
            && nlt_str_eq(nlt_arena_pair_name(a, p), name)
            && (value == NULL
                || nlt_str_eq(nlt_arena_pair_value(a, p), *value))) {
            return i;
        }
    }
    return 0;
}

uint32_t
nlt_arena_pair_find(const nlt_arena_t *a, uint32_t tenant, nlt_str_t name,
                    nlt_str_t value)
{
    bool settled;
    uint32_t pair = nlt_xhash_find_settled(
        a, &a->hdr->by_pair, key_of(a, tenant, name, &value), &settled);

    if (nlt_unlikely(!settled)) {
        return scan_pairs(a, tenant, name, &value);
    }
    return pair;
}

nlt_arena_name_t *
nlt_arena_name_find(const nlt_arena_t *a, uint32_t tenant, nlt_str_t name)
{
    bool settled;
    uint32_t off = nlt_xhash_find_settled(
        a, &a->hdr->by_pair, key_of(a, tenant, name, NULL), &settled);

    if (nlt_unlikely(!settled)) {
        const nlt_arena_pair_t *p =
            nlt_arena_pair(a, scan_pairs(a, tenant, name, NULL));

        return p ? nlt_arena_name_at(a, p->name.u) : NULL;
    }
    return nlt_arena_name_at(a, off);
}

/* ---- interning ---- */

static nlt_arena_name_t *
new_name(nlt_arena_t *a, uint32_t tenant, nlt_str_t name)
{
    nlt_off_t off = nlt_arena_alloc(a, sizeof(nlt_arena_name_t) + name.len, 8,
                                    nlt_arena_limit_series(a));
    nlt_arena_name_t *entry =
        nlt_arena_at(a, off.u, sizeof(*entry) + name.len);
    nlt_arena_name_t *root = NULL;

    if (entry == NULL) {
        return NULL;
    }
    if (name.len) {
        bool settled;

        root = nlt_arena_name_at(
            a, nlt_xhash_find_settled(a, &a->hdr->by_pair,
                                      key_of(a, tenant, NLT_STR(""), NULL),
                                      &settled));
        if (root == NULL) {
            return NULL; /* the root is interned first, see below */
        }
        memcpy(entry->text, name.data, name.len);
    }
    entry->tenant = tenant;
    entry->len = (uint32_t) name.len;
    if (!nlt_xhash_insert(a, &a->hdr->by_pair, key_of(a, tenant, name, NULL),
                          off.u)) {
        return NULL;
    }
    if (root) {
        atomic_store_explicit(
            &entry->next, atomic_load_explicit(&root->next, RELAXED), RELAXED);
        atomic_store_explicit(&root->next, off.u, RELEASE);
    }
    (void) atomic_fetch_add_explicit(&a->hdr->n_names, 1, RELAXED);
    return entry;
}

/* Room for pair number `pair`; its segment is allocated when it is new. */
static nlt_arena_pair_t *
pair_room(nlt_arena_t *a, uint32_t pair)
{
    uint32_t s = pair >> NLT_PAIR_SEG_BITS;
    uint64_t bytes = sizeof(nlt_arena_pair_t) << NLT_PAIR_SEG_BITS;
    nlt_arena_pair_t *seg;

    if (s >= NLT_PAIR_SEG_MAX) {
        return NULL;
    }
    if (a->hdr->pair_seg[s].u == 0) {
        a->hdr->pair_seg[s] =
            nlt_arena_alloc(a, bytes, 64, nlt_arena_limit_series(a));
    }
    seg = nlt_arena_at(a, a->hdr->pair_seg[s].u, bytes);
    return seg ? seg + (pair & ((1u << NLT_PAIR_SEG_BITS) - 1)) : NULL;
}

static nlt_off_t
new_text(nlt_arena_t *a, nlt_str_t text)
{
    nlt_off_t off = nlt_arena_alloc(a, sizeof(nlt_arena_str_t) + text.len, 8,
                                    nlt_arena_limit_series(a));
    nlt_arena_str_t *s =
        nlt_arena_at(a, off.u, sizeof(nlt_arena_str_t) + text.len);

    if (s == NULL) {
        return (nlt_off_t){0};
    }
    s->len = (uint32_t) text.len;
    if (text.len) {
        memcpy(s->text, text.data, text.len);
    }
    return off;
}

static uint32_t
new_pair(nlt_arena_t *a, uint32_t tenant, nlt_str_t name, nlt_str_t value,
         nlt_xhash_key_t key, const nlt_arena_pair_t *like)
{
    uint32_t pair = atomic_load_explicit(&a->hdr->n_pairs, RELAXED) + 1;
    nlt_arena_pair_t *p = pair_room(a, pair);
    nlt_arena_name_t *entry = like ? nlt_arena_name_at(a, like->name.u)
                                   : nlt_arena_name_find(a, tenant, name);
    nlt_off_t text;

    if (entry == NULL) {
        entry = new_name(a, tenant, name);
    }
    if (p == NULL || entry == NULL
        || !nlt_xhash_room(a, &a->hdr->by_pair, key)) {
        return 0;
    }
    text = new_text(a, value);
    if (text.u == 0) {
        return 0;
    }
    *p = (nlt_arena_pair_t){
        .name = {(uint32_t) (((uint8_t *) entry - a->base) >> 3)},
        .value = text,
        .tenant = tenant,
        .next_of_name = atomic_load_explicit(&entry->first_pair, RELAXED),
    };
    /* The number exists before the hash leads to it. */
    atomic_store_explicit(&a->hdr->n_pairs, pair, RELEASE);
    if (!nlt_xhash_insert(a, &a->hdr->by_pair, key, pair)) {
        return 0; /* cannot be: there was room */
    }
    atomic_store_explicit(&entry->first_pair, pair, RELEASE);
    (void) atomic_fetch_add_explicit(&entry->n_pairs, 1, RELAXED);
    return pair;
}

uint32_t
nlt_arena_pair_intern(nlt_arena_t *a, uint32_t tenant, nlt_str_t name,
                      nlt_str_t value, const nlt_arena_pair_t *like)
{
    nlt_xhash_key_t key = key_of(a, tenant, name, &value);
    uint32_t pair = nlt_xhash_find(a, &a->hdr->by_pair, key);

    return pair ? pair : new_pair(a, tenant, name, value, key, like);
}

/* ---- postings ---- */

static inline nlt_arena_postings_t *
block_at(const nlt_arena_t *a, uint32_t off)
{
    nlt_arena_postings_t *b = nlt_arena_at(a, off, sizeof(*b));

    if (nlt_unlikely(b == NULL
                     || !nlt_arena_at(a, off, sizeof(*b) + b->cap))) {
        return NULL;
    }
    return b;
}

/*
 * Links between blocks are set while readers, who have no lock, may look:
 * one who sees a link too early ignores it, for n says how far to go.
 */
static void
link_to(nlt_off_t *link, nlt_off_t off)
{
    __atomic_store_n(&link->u, off.u, __ATOMIC_RELEASE);
}

static uint32_t
link_of(const nlt_off_t *link)
{
    return __atomic_load_n(&link->u, __ATOMIC_ACQUIRE);
}

/* A new block behind `tail`, which is NULL or full. */
static nlt_arena_postings_t *
new_block(nlt_arena_t *a, nlt_arena_pair_t *p, nlt_arena_postings_t *tail)
{
    nlt_arena_postings_t *fresh;
    uint32_t cap = 8;
    nlt_off_t off;

    if (tail) {
        cap = (tail->cap + tail->cap / 2u + 8) & ~7u;
        cap = cap < POSTINGS_CAP_MAX ? cap : POSTINGS_CAP_MAX;
    }
    off =
        nlt_arena_alloc(a, sizeof(*fresh) + cap, 8, nlt_arena_limit_series(a));
    fresh = nlt_arena_at(a, off.u, sizeof(*fresh) + cap);
    if (fresh == NULL) {
        return NULL;
    }
    fresh->cap = (uint16_t) cap;
    link_to(tail ? &tail->next : &p->first_block, off);
    p->tail_block = off;
    return fresh;
}

/* Has block b room for one more posting of p? */
static inline bool
fits(const nlt_arena_postings_t *b, const nlt_arena_pair_t *p, uint32_t series)
{
    return atomic_load_explicit(&b->used, RELAXED)
               + nlt_uvarint_len(series - p->last)
           <= b->cap;
}

bool
nlt_arena_postings_room(nlt_arena_t *a, uint32_t pair, uint32_t series,
                        nlt_arena_posting_t *at)
{
    nlt_arena_pair_t *p = nlt_arena_pair(a, pair);

    *at = (nlt_arena_posting_t){p, NULL};
    if (nlt_unlikely(p == NULL)) {
        return false;
    }
    if (atomic_load_explicit(&p->n, RELAXED) == 0) {
        return true; /* the first one sits in the pair */
    }
    if (p->tail_block.u) {
        at->tail = block_at(a, p->tail_block.u);
        if (at->tail == NULL) {
            return false;
        }
        if (nlt_likely(fits(at->tail, p, series))) {
            return true;
        }
    }
    at->tail = new_block(a, p, at->tail);
    return at->tail != NULL;
}

void
nlt_arena_postings_add(const nlt_arena_posting_t *at, uint32_t series)
{
    nlt_arena_pair_t *p = at->pair;
    nlt_arena_postings_t *tail = at->tail;
    uint32_t n = atomic_load_explicit(&p->n, RELAXED), used;

    if (tail == NULL) {
        p->first = series;
    } else {
        if (nlt_unlikely(!fits(tail, p, series))) {
            return; /* cannot be after nlt_arena_postings_room() */
        }
        used = atomic_load_explicit(&tail->used, RELAXED);
        used +=
            (uint32_t) nlt_put_uvarint(tail->bytes + used, series - p->last);
        atomic_store_explicit(&tail->used, (uint16_t) used, RELEASE);
    }
    p->last = series;
    atomic_store_explicit(&p->n, n + 1, RELEASE);
}

void
nlt_arena_walk_begin(nlt_arena_walk_t *w, const nlt_arena_t *a,
                     const nlt_arena_pair_t *p)
{
    *w = (nlt_arena_walk_t){.a = a};
    w->left = atomic_load_explicit(&p->n, ACQUIRE);
    w->first = p->first;
    w->next_block = link_of(&p->first_block);
}

/* To the next block that has bytes; false at the end or where corrupt. */
static bool
walk_block(nlt_arena_walk_t *w)
{
    uint32_t before = 0;

    /* Blocks are allocated in order, so offsets rise: no circles. */
    do {
        before = w->next_block;
        w->block = block_at(w->a, w->next_block);
        if (w->block == NULL) {
            return false;
        }
        w->used = atomic_load_explicit(&w->block->used, ACQUIRE);
        w->used = w->used < w->block->cap ? w->used : w->block->cap;
        w->pos = 0;
        w->next_block = link_of(&w->block->next);
        if (w->next_block && w->next_block <= before) {
            w->next_block = 0;
        }
    } while (w->used == 0);
    return true;
}

uint32_t
nlt_arena_walk_next(nlt_arena_walk_t *w)
{
    uint32_t diff = 0;
    unsigned shift = 0;

    if (w->left == 0) {
        return 0;
    }
    w->left--;
    if (w->value == 0) {
        w->value = w->first;
        return w->value;
    }
    if (w->pos == w->used) {
        if (!walk_block(w)) {
            w->left = 0;
            return 0;
        }
    }
    for (;;) {
        uint8_t b = w->block->bytes[w->pos++];

        diff |= (uint32_t) (b & 0x7f) << shift;
        shift += 7;
        if (b < 0x80) {
            break;
        }
        if (w->pos == w->used || shift > 28) {
            w->left = 0;
            return 0;
        }
    }
    if (diff == 0 || diff > UINT32_MAX - w->value) {
        w->left = 0; /* must rise */
        return 0;
    }
    w->value += diff;
    return w->value;
}

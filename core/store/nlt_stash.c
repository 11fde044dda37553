/*
 * nlt_stash.c - putting and removing.
 *
 * A function that is given the lock begins a change and ends it; in between
 * everything may be half done.  Damage that is met is remembered, and the
 * stash is emptied when the lock is given back, so that no path has to undo
 * anything.
 */
#include "nlt_stash_priv.h"

#define RELAXED memory_order_relaxed

/* ---- cells ---- */

void *
nlt_stash_cell(nlt_stash_t *s, uint32_t i, nlt_stash_kind_t kind)
{
    uint32_t *c;

    if (nlt_unlikely(
            i == 0 || i > atomic_load_explicit(&s->hdr->n_bumped, RELAXED))) {
        nlt_stash_damaged(s);
        return NULL;
    }
    c = (uint32_t *) (void *) (s->cells + (size_t) i * NLT_STASH_CELL);
    if (nlt_unlikely(*c != kind)) {
        nlt_stash_damaged(s);
        return NULL;
    }
    return c;
}

static nlt_stash_tenant_cell_t *
tenant_at(nlt_stash_t *s, uint32_t i)
{
    return nlt_stash_cell(s, i, NLT_STASH_TENANT);
}

static nlt_stash_group_cell_t *
group_at(nlt_stash_t *s, uint32_t i)
{
    return nlt_stash_cell(s, i, NLT_STASH_GROUP);
}

static nlt_stash_item_cell_t *
item_at(nlt_stash_t *s, uint32_t i)
{
    return nlt_stash_cell(s, i, NLT_STASH_ITEM);
}

static nlt_stash_text_cell_t *
text_at(nlt_stash_t *s, uint32_t i)
{
    return nlt_stash_cell(s, i, NLT_STASH_TEXT);
}

/* A cell, all zeros but for its kind; 0: damaged, since room was made. */
static uint32_t
take(nlt_stash_t *s, nlt_stash_kind_t kind)
{
    nlt_stash_header_t *h = s->hdr;
    uint32_t i = h->free, *c;

    if (i != 0) {
        c = nlt_stash_cell(s, i, NLT_STASH_FREE);
        if (c == NULL) {
            return 0;
        }
        h->free = c[1];
        (void) atomic_fetch_sub_explicit(&h->n_free, 1, RELAXED);
    } else {
        i = atomic_load_explicit(&h->n_bumped, RELAXED) + 1;
        if (i > atomic_load_explicit(&h->n_backed, RELAXED)) {
            nlt_stash_damaged(s);
            return 0;
        }
        atomic_store_explicit(&h->n_bumped, i, RELAXED);
        c = (uint32_t *) (void *) (s->cells + (size_t) i * NLT_STASH_CELL);
    }
    memset(c, 0, NLT_STASH_CELL);
    *c = kind;
    return i;
}

/* c is cell i. */
static void
give(nlt_stash_t *s, void *c, uint32_t i)
{
    uint32_t *w = c;

    w[0] = NLT_STASH_FREE;
    w[1] = s->hdr->free;
    s->hdr->free = i;
    (void) atomic_fetch_add_explicit(&s->hdr->n_free, 1, RELAXED);
}

/* ---- texts ---- */

static uint32_t
text_put(nlt_stash_t *s, nlt_str_t text)
{
    uint32_t first = 0, *link = &first;

    for (size_t at = 0; at < text.len; at += NLT_STASH_TEXT_BYTES) {
        size_t n = text.len - at;
        uint32_t i = take(s, NLT_STASH_TEXT);
        nlt_stash_text_cell_t *c = i ? text_at(s, i) : NULL;

        if (c == NULL) {
            return 0;
        }
        n = n < NLT_STASH_TEXT_BYTES ? n : NLT_STASH_TEXT_BYTES;
        memcpy(c->bytes, text.data + at, n);
        *link = i;
        link = &c->next;
    }
    return first;
}

/* Frees a text; how many cells it had. */
static uint32_t
text_give(nlt_stash_t *s, uint32_t text, uint32_t len)
{
    uint32_t n = nlt_stash_text_cells(len);

    for (uint32_t k = 0; k < n; k++) {
        nlt_stash_text_cell_t *c = text_at(s, text);
        uint32_t next;

        if (c == NULL) {
            return k;
        }
        next = c->next;
        give(s, c, text);
        text = next;
    }
    return n;
}

bool
nlt_stash_text_get(nlt_stash_t *s, uint32_t text, uint32_t len, char *out)
{
    for (uint32_t at = 0; at < len; at += NLT_STASH_TEXT_BYTES) {
        const nlt_stash_text_cell_t *c = text_at(s, text);
        uint32_t n = len - at;

        if (c == NULL) {
            return false;
        }
        memcpy(out + at, c->bytes,
               n < NLT_STASH_TEXT_BYTES ? n : NLT_STASH_TEXT_BYTES);
        text = c->next;
    }
    return true;
}

static bool
text_is(nlt_stash_t *s, uint32_t text, uint32_t len, nlt_str_t is)
{
    if (len != is.len) {
        return false;
    }
    for (uint32_t at = 0; at < len; at += NLT_STASH_TEXT_BYTES) {
        const nlt_stash_text_cell_t *c = text_at(s, text);
        uint32_t n = len - at;

        n = n < NLT_STASH_TEXT_BYTES ? n : NLT_STASH_TEXT_BYTES;
        if (c == NULL || memcmp(c->bytes, is.data + at, n) != 0) {
            return false;
        }
        text = c->next;
    }
    return true;
}

/* ---- the heap: the tenant with the most cells is on top ---- */

static nlt_stash_tenant_cell_t *
heap_tenant(nlt_stash_t *s, uint32_t at)
{
    return at < atomic_load_explicit(&s->hdr->n_tenants, RELAXED)
                   && at < s->n_heap
               ? tenant_at(s, s->heap[at])
               : NULL;
}

static void
heap_swap(nlt_stash_t *s, uint32_t a, uint32_t b)
{
    nlt_stash_tenant_cell_t *ta = heap_tenant(s, a), *tb = heap_tenant(s, b);
    uint32_t was = s->heap[a];

    if (ta == NULL || tb == NULL) {
        nlt_stash_damaged(s);
        return;
    }
    s->heap[a] = s->heap[b];
    s->heap[b] = was;
    ta->heap = b;
    tb->heap = a;
}

/* Cells of the tenant at a place; none beyond the end. */
static uint64_t
heap_cells(nlt_stash_t *s, uint32_t at)
{
    const nlt_stash_tenant_cell_t *t = heap_tenant(s, at);

    return t ? (uint64_t) t->cells + 1 : 0;
}

/* The tenant at a place has more or fewer cells than it had. */
static void
heap_moved(nlt_stash_t *s, uint32_t at)
{
    while (at > 0 && heap_cells(s, at) > heap_cells(s, (at - 1) / 2)) {
        heap_swap(s, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t most = at;

        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (heap_cells(s, child) > heap_cells(s, most)) {
                most = child;
            }
        }
        if (most == at) {
            return;
        }
        heap_swap(s, at, most);
        at = most;
    }
}

/* ---- tenants ---- */

static uint32_t
find_tenant(nlt_stash_t *s, uint32_t number)
{
    uint32_t i = *nlt_stash_head_of_tenant(s, number), steps = 0;

    while (i != 0) {
        uint32_t *c =
            i <= atomic_load_explicit(&s->hdr->n_bumped, RELAXED)
                    && ++steps <= s->n_cells
                ? (uint32_t *) (void *) (s->cells
                                         + (size_t) i * NLT_STASH_CELL)
                : NULL;

        if (c == NULL
            || (c[0] != NLT_STASH_TENANT && c[0] != NLT_STASH_GROUP)) {
            nlt_stash_damaged(s);
            return 0;
        }
        if (c[0] == NLT_STASH_TENANT && c[2] == number) {
            return i;
        }
        i = c[1];
    }
    return 0;
}

/* Finds or makes it; 0: damaged. */
static uint32_t
have_tenant(nlt_stash_t *s, uint32_t number)
{
    uint32_t *head = nlt_stash_head_of_tenant(s, number);
    uint32_t i = find_tenant(s, number), at;
    nlt_stash_tenant_cell_t *t;

    if (i != 0 || atomic_load_explicit(&s->hdr->damaged, RELAXED)) {
        return i;
    }
    at = atomic_load_explicit(&s->hdr->n_tenants, RELAXED);
    i = take(s, NLT_STASH_TENANT);
    t = i ? tenant_at(s, i) : NULL;
    if (t == NULL || at >= s->n_heap) {
        nlt_stash_damaged(s);
        return 0;
    }
    t->number = number;
    t->heap = at;
    t->next = *head;
    *head = i;
    s->heap[at] = i;
    atomic_store_explicit(&s->hdr->n_tenants, at + 1, RELAXED);
    return i;
}

/* Takes cell i out of a chain. */
static void
unchain(nlt_stash_t *s, uint32_t *link, uint32_t i)
{
    uint32_t steps = 0;

    while (*link != i) {
        uint32_t at = *link;

        if (at == 0 || at > s->n_cells || ++steps > s->n_cells) {
            nlt_stash_damaged(s);
            return;
        }
        link = (uint32_t *) (void *) (s->cells + (size_t) at * NLT_STASH_CELL)
               + 1;
    }
    *link =
        ((uint32_t *) (void *) (s->cells + (size_t) i * NLT_STASH_CELL))[1];
}

/* Its cells have changed by so many; it goes with the last one. */
static void
charge(nlt_stash_t *s, uint32_t tenant, int64_t cells)
{
    nlt_stash_tenant_cell_t *t = tenant_at(s, tenant);
    uint32_t at, last;

    if (t == NULL) {
        return;
    }
    t->cells = (uint32_t) ((int64_t) t->cells + cells);
    heap_moved(s, t->heap);
    if (t->cells != 0) {
        return;
    }
    at = t->heap;
    last = atomic_load_explicit(&s->hdr->n_tenants, RELAXED) - 1;
    heap_swap(s, at, last);
    atomic_store_explicit(&s->hdr->n_tenants, last, RELAXED);
    if (at < last) {
        heap_moved(s, at);
    }
    unchain(s, nlt_stash_head_of_tenant(s, t->number), tenant);
    give(s, t, tenant);
}

/* ---- groups ---- */

uint32_t
nlt_stash_find(nlt_stash_t *s, nlt_hash128_t key)
{
    uint32_t i = *nlt_stash_head_of(s, key), steps = 0;

    while (i != 0) {
        const uint32_t *c =
            i <= atomic_load_explicit(&s->hdr->n_bumped, RELAXED)
                    && ++steps <= s->n_cells
                ? (const uint32_t *) (const void *) (s->cells
                                                     + (size_t) i
                                                           * NLT_STASH_CELL)
                : NULL;

        if (c == NULL
            || (c[0] != NLT_STASH_TENANT && c[0] != NLT_STASH_GROUP)) {
            nlt_stash_damaged(s);
            return 0;
        }
        if (c[0] == NLT_STASH_GROUP) {
            const nlt_stash_group_cell_t *g = (const void *) c;

            if (g->key.lo == key.lo && g->key.hi == key.hi) {
                return i;
            }
        }
        i = c[1];
    }
    return 0;
}

/* Finds or makes it; *made counts cells. */
static uint32_t
have_group(nlt_stash_t *s, const nlt_stash_new_t *n, uint32_t tenant,
           uint32_t *made)
{
    uint32_t *head = nlt_stash_head_of(s, n->key);
    uint32_t i = nlt_stash_find(s, n->key);
    nlt_stash_group_cell_t *g;

    if (i != 0 || atomic_load_explicit(&s->hdr->damaged, RELAXED)) {
        return i;
    }
    i = take(s, NLT_STASH_GROUP);
    g = i ? group_at(s, i) : NULL;
    if (g == NULL) {
        return 0;
    }
    g->key = n->key;
    g->tenant = tenant;
    g->len = (uint32_t) n->group.len;
    g->text = text_put(s, n->group);
    g->next = *head;
    *head = i;
    *made += 1 + nlt_stash_text_cells(n->group.len);
    (void) atomic_fetch_add_explicit(&s->hdr->n_groups, 1, RELAXED);
    return i;
}

/* ---- items ---- */

/* Takes item i out of its tenant's queue. */
static void
dequeue(nlt_stash_t *s, nlt_stash_tenant_cell_t *t, nlt_stash_item_cell_t *it)
{
    nlt_stash_item_cell_t *older =
        it->q_older ? item_at(s, it->q_older) : NULL;
    nlt_stash_item_cell_t *newer =
        it->q_newer ? item_at(s, it->q_newer) : NULL;

    *(older ? &older->q_newer : &t->oldest) = it->q_newer;
    *(newer ? &newer->q_older : &t->newest) = it->q_older;
}

/* Puts it at the newest end. */
static void
enqueue(nlt_stash_t *s, nlt_stash_tenant_cell_t *t, uint32_t i,
        nlt_stash_item_cell_t *it)
{
    nlt_stash_item_cell_t *before = t->newest ? item_at(s, t->newest) : NULL;

    it->q_older = t->newest;
    it->q_newer = 0;
    *(before ? &before->q_newer : &t->oldest) = i;
    t->newest = i;
}

static void
remove_item(nlt_stash_t *s, uint32_t i)
{
    nlt_stash_item_cell_t *it = item_at(s, i);
    nlt_stash_group_cell_t *g = it ? group_at(s, it->group) : NULL;
    nlt_stash_tenant_cell_t *t = g ? tenant_at(s, g->tenant) : NULL;
    nlt_stash_item_cell_t *older, *newer;
    uint32_t gi, tenant;
    int64_t cells;

    if (t == NULL) {
        return;
    }
    gi = it->group;
    tenant = g->tenant;
    older = it->older ? item_at(s, it->older) : NULL;
    newer = it->newer ? item_at(s, it->newer) : NULL;
    *(older ? &older->newer : &g->oldest) = it->newer;
    *(newer ? &newer->older : &g->newest) = it->older;
    g->n--;
    dequeue(s, t, it);
    cells = 1 + (int64_t) text_give(s, it->text, it->len);
    give(s, it, i);
    (void) atomic_fetch_sub_explicit(&s->hdr->n_items, 1, RELAXED);
    if (g->n == 0) {
        cells += 1 + (int64_t) text_give(s, g->text, g->len);
        unchain(s, nlt_stash_head_of(s, g->key), gi);
        give(s, g, gi);
        (void) atomic_fetch_sub_explicit(&s->hdr->n_groups, 1, RELAXED);
    }
    charge(s, tenant, -cells);
}

/* ---- putting ---- */

/* The oldest item of who has the most; false: there is none, or damage. */
static bool
evict(nlt_stash_t *s, uint32_t number, uint32_t need)
{
    uint32_t own = find_tenant(s, number);
    const nlt_stash_tenant_cell_t *most = heap_tenant(s, 0), *t;

    t = own ? tenant_at(s, own) : NULL;
    if (t != NULL && most != NULL
        && (uint64_t) t->cells + need >= most->cells) {
        most = t;
    }
    if (most == NULL || most->oldest == 0
        || atomic_load_explicit(&s->hdr->damaged, RELAXED)) {
        nlt_stash_damaged(s);
        return false;
    }
    remove_item(s, most->oldest);
    (void) atomic_fetch_add_explicit(&s->hdr->evicted, 1, RELAXED);
    return true;
}

static void
put_locked(nlt_stash_t *s, const nlt_stash_new_t *n, uint32_t need)
{
    uint32_t tenant, group, i, made = 0;
    nlt_stash_tenant_cell_t *t;
    nlt_stash_group_cell_t *g;
    nlt_stash_item_cell_t *it, *before;

    while (n->only && (group = nlt_stash_find(s, n->key)) != 0
           && (g = group_at(s, group)) != NULL
           && !atomic_load_explicit(&s->hdr->damaged, RELAXED)) {
        remove_item(s, g->oldest);
    }
    while (nlt_stash_available(s) < need) {
        if (!evict(s, n->tenant, need)) {
            return;
        }
    }
    tenant = have_tenant(s, n->tenant);
    group = tenant ? have_group(s, n, tenant, &made) : 0;
    i = group ? take(s, NLT_STASH_ITEM) : 0;
    t = i ? tenant_at(s, tenant) : NULL;
    g = t ? group_at(s, group) : NULL;
    it = g ? item_at(s, i) : NULL;
    if (it == NULL) {
        nlt_stash_damaged(s);
        return;
    }
    it->group = group;
    it->t_ms = n->t_ms;
    it->v_bits = n->v_bits;
    it->serial = atomic_fetch_add_explicit(&s->hdr->serial, 1, RELAXED) + 1;
    it->len = (uint32_t) n->text.len;
    it->text = text_put(s, n->text);
    made += 1 + nlt_stash_text_cells(n->text.len);
    before = g->newest ? item_at(s, g->newest) : NULL;
    it->older = g->newest;
    *(before ? &before->newer : &g->oldest) = i;
    g->newest = i;
    g->n++;
    enqueue(s, t, i, it);
    (void) atomic_fetch_add_explicit(&s->hdr->n_items, 1, RELAXED);
    charge(s, tenant, made);
}

nlt_rc_t
nlt_stash_put(nlt_stash_t *s, const nlt_stash_new_t *n)
{
    uint64_t need = 3 + (uint64_t) nlt_stash_text_cells(n->group.len)
                    + nlt_stash_text_cells(n->text.len);

    if (need > s->n_cells / 4) {
        return NLT_ETOOBIG;
    }
    nlt_stash_back(s, (uint32_t) need * 4);
    if (need > atomic_load_explicit(&s->hdr->n_backed, RELAXED) / 4) {
        return NLT_ETOOBIG; /* no memory for more cells now */
    }
    if (!nlt_stash_lock(s)) {
        return NLT_ENOTREADY;
    }
    nlt_stash_change_begin(s);
    put_locked(s, n, (uint32_t) need);
    nlt_stash_change_end(s);
    nlt_stash_unlock(s);
    return NLT_OK;
}

/* ---- one group ---- */

bool
nlt_stash_has(nlt_stash_t *s, nlt_hash128_t key, int64_t t_ms, uint64_t v_bits,
              nlt_str_t text)
{
    const nlt_stash_group_cell_t *g;
    uint32_t i;
    bool found = false;

    if (!nlt_stash_lock(s)) {
        return false;
    }
    i = nlt_stash_find(s, key);
    g = i ? group_at(s, i) : NULL;
    i = g ? g->newest : 0;
    for (int k = 0; k < NLT_STASH_LOOK && i != 0 && !found; k++) {
        const nlt_stash_item_cell_t *it = item_at(s, i);

        if (it == NULL) {
            break;
        }
        found = it->t_ms == t_ms && it->v_bits == v_bits
                && text_is(s, it->text, it->len, text);
        i = it->older;
    }
    nlt_stash_unlock(s);
    return found;
}

/* The newest item of a group, or NULL. */
static nlt_stash_item_cell_t *
newest_of(nlt_stash_t *s, nlt_hash128_t key, uint32_t *cell)
{
    uint32_t i = nlt_stash_find(s, key);
    const nlt_stash_group_cell_t *g = i ? group_at(s, i) : NULL;

    *cell = g ? g->newest : 0;
    return g ? item_at(s, g->newest) : NULL;
}

bool
nlt_stash_newest(nlt_stash_t *s, nlt_hash128_t key, int64_t *t_ms,
                 uint64_t *v_bits)
{
    const nlt_stash_item_cell_t *it;
    uint32_t i;

    if (!nlt_stash_lock(s)) {
        return false;
    }
    it = newest_of(s, key, &i);
    if (it != NULL) {
        *t_ms = it->t_ms;
        *v_bits = it->v_bits;
    }
    nlt_stash_unlock(s);
    return it != NULL;
}

void
nlt_stash_touch(nlt_stash_t *s, nlt_hash128_t key, int64_t t_ms)
{
    nlt_stash_item_cell_t *it;
    nlt_stash_group_cell_t *g;
    nlt_stash_tenant_cell_t *t;
    uint32_t i;

    if (!nlt_stash_lock(s)) {
        return;
    }
    it = newest_of(s, key, &i);
    g = it ? group_at(s, it->group) : NULL;
    t = g ? tenant_at(s, g->tenant) : NULL;
    if (t != NULL) {
        nlt_stash_change_begin(s);
        it->t_ms = t_ms;
        dequeue(s, t, it);
        enqueue(s, t, i, it);
        nlt_stash_change_end(s);
    }
    nlt_stash_unlock(s);
}

size_t
nlt_stash_cut(nlt_stash_t *s, nlt_hash128_t key, int64_t t_min_ms,
              int64_t t_max_ms)
{
    const nlt_stash_group_cell_t *g;
    uint32_t i, left;
    size_t n = 0;

    if (!nlt_stash_lock(s)) {
        return 0;
    }
    nlt_stash_change_begin(s);
    i = nlt_stash_find(s, key);
    g = i ? group_at(s, i) : NULL;
    i = g ? g->oldest : 0;
    left = g ? g->n : 0;
    while (i != 0 && left-- > 0) {
        const nlt_stash_item_cell_t *it = item_at(s, i);
        uint32_t newer = it ? it->newer : 0;

        if (it != NULL && it->t_ms >= t_min_ms && it->t_ms <= t_max_ms) {
            remove_item(s, i);
            n++;
        }
        i = newer;
    }
    nlt_stash_change_end(s);
    nlt_stash_unlock(s);
    return n;
}

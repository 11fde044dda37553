/*
 * nlt_stash_read.c - a stash as readers, tests and the helper see it.
 */
#include "nlt_stash_priv.h"

#define RELAXED memory_order_relaxed

/* ---- pages ---- */

/* Copies a text into the page.  false: no room (or damage: *len is 0). */
static bool
page_text(nlt_stash_t *s, nlt_stash_page_t *p, uint32_t text, uint32_t len,
          nlt_str_t *out)
{
    char *at = p->bytes + p->used;

    if (len > sizeof(p->bytes)) {
        nlt_stash_damaged(s);
        return false;
    }
    if (len > sizeof(p->bytes) - p->used
        || !nlt_stash_text_get(s, text, len, at)) {
        return false;
    }
    p->used += len;
    *out = (nlt_str_t){len, at};
    return true;
}

/* false: the page is full, or the stash damaged. */
static bool
add_group(nlt_stash_t *s, nlt_stash_page_t *p, const nlt_stash_group_cell_t *g,
          uint32_t number)
{
    nlt_stash_group_t *out = &p->u.group[p->n];

    if (p->n == NLT_STASH_PAGE_N
        || !page_text(s, p, g->text, g->len, &out->text)) {
        return false;
    }
    out->key = g->key;
    out->tenant = number;
    out->n_items = g->n;
    p->n++;
    return true;
}

/* Groups of one chain, from w->skip on; false: there was no room for all. */
static bool
add_chain(nlt_stash_t *s, nlt_stash_walk_t *w, uint32_t tenant,
          nlt_stash_page_t *p)
{
    uint32_t i = s->heads[w->head], pos = 0;

    for (; i != 0 && pos <= s->n_cells; pos++) {
        const nlt_stash_group_cell_t *g;
        const nlt_stash_tenant_cell_t *t;
        const uint32_t *c =
            i <= atomic_load_explicit(&s->hdr->n_bumped, RELAXED)
                ? (const void *) (s->cells + (size_t) i * NLT_STASH_CELL)
                : NULL;

        if (c == NULL
            || (c[0] != NLT_STASH_GROUP && c[0] != NLT_STASH_TENANT)) {
            nlt_stash_damaged(s);
            return true;
        }
        i = c[1];
        if (c[0] == NLT_STASH_TENANT || pos < w->skip) {
            continue;
        }
        g = (const void *) c;
        t = nlt_stash_cell(s, g->tenant, NLT_STASH_TENANT);
        if (t == NULL) {
            return true;
        }
        if ((tenant == NLT_STASH_ANY_TENANT || tenant == t->number)
            && !add_group(s, p, g, t->number)) {
            w->skip = pos;
            return atomic_load_explicit(&s->hdr->damaged, RELAXED) != 0;
        }
    }
    return true;
}

nlt_rc_t
nlt_stash_groups(nlt_stash_t *s, nlt_stash_walk_t *w, uint32_t tenant,
                 nlt_stash_page_t *p)
{
    uint32_t chains = 0;

    p->n = 0;
    p->used = 0;
    if (w->head >= s->n_heads) {
        return NLT_EOF;
    }
    if (!nlt_stash_lock(s)) {
        return NLT_ENOTREADY;
    }
    /* Empty chains cost, too. */
    while (w->head < s->n_heads && chains++ < 16 * NLT_STASH_PAGE_N) {
        if (!add_chain(s, w, tenant, p)) {
            break;
        }
        w->head++;
        w->skip = 0;
    }
    nlt_stash_unlock(s);
    return NLT_OK;
}

/* Is item i still the one that a walk was at? */
static const nlt_stash_item_cell_t *
same_item(nlt_stash_t *s, const nlt_stash_at_t *at, uint32_t group)
{
    const nlt_stash_item_cell_t *it =
        at->cell != 0
                && at->cell <= atomic_load_explicit(&s->hdr->n_bumped, RELAXED)
            ? (const void *) (s->cells + (size_t) at->cell * NLT_STASH_CELL)
            : NULL;

    return it != NULL && it->kind == NLT_STASH_ITEM && it->group == group
                   && it->serial == at->serial
               ? it
               : NULL;
}

static void
add_items(nlt_stash_t *s, nlt_stash_at_t *at, uint32_t group,
          nlt_stash_page_t *p)
{
    const nlt_stash_group_cell_t *g =
        nlt_stash_cell(s, group, NLT_STASH_GROUP);
    const nlt_stash_item_cell_t *it = same_item(s, at, group);
    uint32_t i = it ? it->newer : g ? g->oldest : 0, steps = 0;

    while (i != 0 && p->n < NLT_STASH_PAGE_N && steps++ <= s->n_cells) {
        nlt_stash_item_t *out = &p->u.item[p->n];

        it = nlt_stash_cell(s, i, NLT_STASH_ITEM);
        if (it == NULL) {
            return;
        }
        if (it->serial > at->serial) {
            if (!page_text(s, p, it->text, it->len, &out->text)) {
                return;
            }
            out->serial = it->serial;
            out->t_ms = it->t_ms;
            out->v_bits = it->v_bits;
            p->n++;
            at->cell = i;
            at->serial = it->serial;
        }
        i = it->newer;
    }
}

nlt_rc_t
nlt_stash_items(nlt_stash_t *s, nlt_hash128_t key, nlt_stash_at_t *at,
                nlt_stash_page_t *p)
{
    uint32_t group;

    p->n = 0;
    p->used = 0;
    if (!nlt_stash_lock(s)) {
        return NLT_ENOTREADY;
    }
    group = nlt_stash_find(s, key);
    if (group != 0) {
        add_items(s, at, group, p);
    }
    nlt_stash_unlock(s);
    return p->n > 0 ? NLT_OK : NLT_EOF;
}

/* ---- moving ---- */

/* The queue of one tenant; the lock of `from` is held. */
static void
move_queue(nlt_stash_t *from, const nlt_stash_tenant_cell_t *t,
           nlt_stash_t *to, char *group_text, char *text)
{
    uint32_t i = t->oldest, steps = 0;

    while (i != 0 && steps++ <= from->n_cells) {
        const nlt_stash_item_cell_t *it =
            nlt_stash_cell(from, i, NLT_STASH_ITEM);
        const nlt_stash_group_cell_t *g =
            it ? nlt_stash_cell(from, it->group, NLT_STASH_GROUP) : NULL;
        nlt_stash_new_t n;

        if (g == NULL || g->len > NLT_STASH_PAGE_BYTES / 2
            || it->len > NLT_STASH_PAGE_BYTES / 2
            || !nlt_stash_text_get(from, g->text, g->len, group_text)
            || !nlt_stash_text_get(from, it->text, it->len, text)) {
            return;
        }
        n = (nlt_stash_new_t){
            .key = g->key,
            .tenant = t->number,
            .group = {g->len, group_text},
            .t_ms = it->t_ms,
            .v_bits = it->v_bits,
            .text = {it->len, text},
        };
        /* What does not fit there stays behind. */
        if (nlt_stash_put(to, &n) == NLT_ENOTREADY) {
            return;
        }
        i = it->q_newer;
    }
}

void
nlt_stash_move(nlt_stash_t *from, nlt_stash_t *to, nlt_stash_page_t *page)
{
    char *text = page->bytes + sizeof(page->bytes) / 2;
    uint32_t n;

    if (!nlt_stash_lock(from)) {
        return;
    }
    n = atomic_load_explicit(&from->hdr->n_tenants, RELAXED);
    for (uint32_t i = 0; i < n && i < from->n_heap; i++) {
        const nlt_stash_tenant_cell_t *t =
            nlt_stash_cell(from, from->heap[i], NLT_STASH_TENANT);

        if (t != NULL) {
            move_queue(from, t, to, page->bytes, text);
        }
    }
    atomic_store(&from->hdr->moved, 1);
    nlt_stash_unlock(from);
}

/* ---- check ---- */

typedef struct {
    nlt_stash_t *s;
    uint8_t *seen; /* a byte a cell */
    nlt_err_t *err;
    uint32_t n_seen;
    uint32_t n_groups;
    uint32_t n_items;
} check_t;

static nlt_rc_t
bad(check_t *k, const char *what, uint32_t cell)
{
    return nlt_err_set(k->err, NLT_EDATA, "stash: cell %u: %s", cell, what);
}

/* Cell i of that kind, met for the first time. */
static const void *
meet(check_t *k, uint32_t i, nlt_stash_kind_t kind)
{
    const void *c = nlt_stash_cell(k->s, i, kind);

    if (c == NULL || k->seen[i]) {
        return NULL;
    }
    k->seen[i] = 1;
    k->n_seen++;
    return c;
}

static bool
meet_text(check_t *k, uint32_t i, uint32_t len, uint32_t *cells)
{
    uint32_t n = nlt_stash_text_cells(len);

    *cells += n;
    while (n-- > 0) {
        const nlt_stash_text_cell_t *c = meet(k, i, NLT_STASH_TEXT);

        if (c == NULL) {
            return false;
        }
        i = c->next;
    }
    return true;
}

/* The items of group i; *cells is what they take, with the group. */
static nlt_rc_t
check_group(check_t *k, uint32_t i, const nlt_stash_group_cell_t *g,
            uint32_t *cells)
{
    uint32_t at = g->oldest, before = 0, n = 0;
    uint64_t serial = 0;

    *cells = 1;
    if (!meet_text(k, g->text, g->len, cells)) {
        return bad(k, "text of a group", i);
    }
    for (; at != 0; n++) {
        const nlt_stash_item_cell_t *it = meet(k, at, NLT_STASH_ITEM);

        if (it == NULL || it->group != i || it->older != before
            || it->serial <= serial) {
            return bad(k, "an item is not in its group", at);
        }
        ++*cells;
        if (!meet_text(k, it->text, it->len, cells)) {
            return bad(k, "text of an item", at);
        }
        serial = it->serial;
        before = at;
        at = it->newer;
    }
    k->n_groups++;
    k->n_items += n;
    return n == g->n && n > 0 && g->newest == before
               ? NLT_OK
               : bad(k, "a group with another number of items", i);
}

static nlt_rc_t
check_chain(check_t *k, uint32_t head, uint32_t *sums)
{
    nlt_stash_t *s = k->s;
    uint32_t i = s->heads[head], cells;

    while (i != 0) {
        const nlt_stash_group_cell_t *g;
        const uint32_t *c =
            i <= atomic_load_explicit(&s->hdr->n_bumped, RELAXED)
                ? (const void *) (s->cells + (size_t) i * NLT_STASH_CELL)
                : NULL;

        if (c == NULL || meet(k, i, c[0]) == NULL) {
            return bad(k, "a chain leads nowhere", i);
        }
        if (c[0] == NLT_STASH_GROUP) {
            const nlt_stash_tenant_cell_t *t;
            nlt_rc_t rc;

            g = (const void *) c;
            t = nlt_stash_cell(s, g->tenant, NLT_STASH_TENANT);
            if (t == NULL || t->heap >= s->n_heap
                || nlt_stash_head_of(s, g->key) != &s->heads[head]) {
                return bad(k, "a group in the wrong chain", i);
            }
            rc = check_group(k, i, g, &cells);
            if (rc != NLT_OK) {
                return rc;
            }
            sums[t->heap] += cells;
        } else if (c[0] != NLT_STASH_TENANT
                   || nlt_stash_head_of_tenant(s, c[2]) != &s->heads[head]) {
            return bad(k, "not a cell for a chain", i);
        }
        i = c[1];
    }
    return NLT_OK;
}

static nlt_rc_t
check_tenant(check_t *k, uint32_t at, const uint32_t *sums, uint32_t *items)
{
    nlt_stash_t *s = k->s;
    uint32_t cell = s->heap[at], i, before = 0;
    const nlt_stash_tenant_cell_t *t = nlt_stash_cell(s, cell,
                                                      NLT_STASH_TENANT),
                                  *up;

    if (t == NULL || t->heap != at || !k->seen[cell]) {
        return bad(k, "the heap has something else", cell);
    }
    if (t->cells != sums[at] || t->cells == 0) {
        return bad(k, "a tenant has another number of cells", cell);
    }
    up = at > 0 ? nlt_stash_cell(s, s->heap[(at - 1) / 2], NLT_STASH_TENANT)
                : t;
    if (up == NULL || up->cells < t->cells) {
        return bad(k, "the heap is none", cell);
    }
    for (i = t->oldest; i != 0; ++*items) {
        const nlt_stash_item_cell_t *it = nlt_stash_cell(s, i, NLT_STASH_ITEM);
        const nlt_stash_group_cell_t *g =
            it ? nlt_stash_cell(s, it->group, NLT_STASH_GROUP) : NULL;

        if (g == NULL || g->tenant != cell || it->q_older != before
            || *items > k->n_items) {
            return bad(k, "a queue", i);
        }
        before = i;
        i = it->q_newer;
    }
    return t->newest == before ? NLT_OK : bad(k, "end of a queue", cell);
}

static nlt_rc_t
check_all(check_t *k, uint32_t *sums)
{
    nlt_stash_t *s = k->s;
    nlt_stash_header_t *h = s->hdr;
    uint32_t n_tenants = atomic_load(&h->n_tenants), queued = 0, n_free = 0;
    nlt_rc_t rc = NLT_OK;

    for (uint32_t i = 0; i < s->n_heads && rc == NLT_OK; i++) {
        rc = check_chain(k, i, sums);
    }
    for (uint32_t i = 0; i < n_tenants && rc == NLT_OK; i++) {
        rc = check_tenant(k, i, sums, &queued);
    }
    for (uint32_t i = h->free; i != 0 && rc == NLT_OK; n_free++) {
        const uint32_t *c = meet(k, i, NLT_STASH_FREE);

        if (c == NULL) {
            return bad(k, "the free list", i);
        }
        i = c[1];
    }
    if (rc == NLT_OK
        && (queued != k->n_items || k->n_items != atomic_load(&h->n_items)
            || k->n_groups != atomic_load(&h->n_groups)
            || n_free != atomic_load(&h->n_free)
            || k->n_seen != atomic_load(&h->n_bumped))) {
        rc = bad(k, "counts do not agree", 0);
    }
    return rc;
}

nlt_rc_t
nlt_stash_check(nlt_stash_t *s, const nlt_mem_t *mem, nlt_err_t *err)
{
    size_t n_seen = (size_t) s->n_cells + 1;
    size_t n_sums = (size_t) s->n_heap * sizeof(uint32_t);
    uint32_t *sums = nlt_mem_zalloc(mem, n_sums);
    check_t k = {.s = s, .seen = nlt_mem_zalloc(mem, n_seen), .err = err};
    nlt_rc_t rc = NLT_ENOMEM;

    if (sums != NULL && k.seen != NULL) {
        rc = NLT_ENOTREADY;
        if (nlt_stash_lock(s)) {
            rc = check_all(&k, sums);
            /* What was found shall be seen, not swept away. */
            atomic_store(&s->hdr->damaged, 0);
            nlt_stash_unlock(s);
        }
    }
    nlt_mem_free(mem, sums, n_sums);
    nlt_mem_free(mem, k.seen, n_seen);
    return rc;
}

/* ---- forgetting ---- */

/* One walk, which what it removes may lead past others. */
static size_t
forget_once(nlt_stash_t *s, bool (*lives)(const void *ctx, uint32_t tenant),
            const void *ctx, nlt_stash_page_t *page)
{
    nlt_stash_walk_t w = {0, 0};
    size_t n = 0;

    while (nlt_stash_groups(s, &w, NLT_STASH_ANY_TENANT, page) == NLT_OK) {
        for (size_t i = 0; i < page->n; i++) {
            if (!lives(ctx, page->u.group[i].tenant)) {
                n += nlt_stash_cut(s, page->u.group[i].key, INT64_MIN,
                                   INT64_MAX);
            }
        }
    }
    return n;
}

size_t
nlt_stash_forget(nlt_stash_t *s,
                 bool (*lives)(const void *ctx, uint32_t tenant),
                 const void *ctx, nlt_stash_page_t *page)
{
    size_t n = 0, more;

    do {
        more = forget_once(s, lives, ctx, page);
        n += more;
    } while (more > 0);
    return n;
}

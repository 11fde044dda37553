/*
 * nlt_store_gather.c - names and values of labels.
 *
 * With matchers, or in a block that several tenants share, the labels of each
 * series that matches are looked at, by their numbers.  Without,
 * parts have lists of what occurs in them, and the list of a part that is the
 * only one is the answer once it is sorted; of a part in which series are
 * deleted, each string of those is asked whether a series that is there has it
 * too, and the others are taken as they are.  So it costs for what is deleted,
 * not for all there is.
 */
#include "nlt_store_part.h"

#include "nlt_block_strings.h"
#include "nlt_head_strings.h"
#include "nlt_strtab.h"

#define SCRATCH_MAX (8u << 20)
#define POLL_EVERY  1024
#define POLL_TEXTS  64 /* series of which all labels are looked up */

typedef struct {
    const nlt_source_t *src;
    nlt_pool_t *pool;
    nlt_pool_t scratch;
    nlt_strtab_t found;
    const nlt_str_t *list; /* instead of it: all there is, each once */
    size_t n_list;
    size_t n_parts;
    const nlt_str_t *name; /* values of this label; NULL: all names */
    nlt_err_t *err;
} gather_t;

static nlt_rc_t
add(gather_t *g, nlt_strtab_t *to, nlt_str_t s)
{
    uint32_t no;

    return nlt_strtab_add(to, s, &no, NULL) ? NLT_OK
                                            : nlt_part_over_budget(g->err);
}

/* Adds what a series has of what is asked for. */
static nlt_rc_t
add_series(gather_t *g, const nlt_part_t *p, uint32_t id, nlt_strtab_t *to)
{
    nlt_pool_mark_t mark = nlt_pool_mark(&g->scratch);
    nlt_labels_t labels;
    nlt_rc_t rc = nlt_part_labels(p, id, &g->scratch, &labels, g->err);

    if (rc == NLT_OK && g->name != NULL) {
        nlt_str_t value = nlt_labels_get(labels, *g->name);

        if (value.len > 0) {
            rc = add(g, to, value);
        }
    } else if (rc == NLT_OK) {
        for (size_t i = 0; rc == NLT_OK && i < labels.n; i++) {
            rc = add(g, to, labels.v[i].name);
        }
    }
    nlt_pool_rewind(&g->scratch, mark);
    return rc;
}

static nlt_rc_t
add_all_series(gather_t *g, const nlt_part_t *p, const uint32_t *id, size_t n,
               nlt_strtab_t *to)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        rc = add_series(g, p, id[i], to);
        if (rc == NLT_OK && i % POLL_TEXTS == 0) {
            rc = nlt_part_poll(g->src, g->err);
        }
    }
    return rc;
}

static nlt_rc_t
found_cb(void *ctx, nlt_str_t s)
{
    gather_t *g = ctx;

    return add(g, &g->found, s);
}

/* The same of an arena, by numbers. */
static nlt_rc_t
add_arena_series(gather_t *g, const nlt_part_t *p)
{
    nlt_arena_strings_t s;
    nlt_rc_t rc = nlt_arena_strings_init(&s, p->arena, p->view->tenant,
                                         g->name, g->pool);

    for (size_t i = 0; rc == NLT_OK && i < p->n; i += POLL_EVERY) {
        size_t n = p->n - i < POLL_EVERY ? p->n - i : POLL_EVERY;

        rc = nlt_arena_strings_of(&s, p->id + i, n, found_cb, g);
        if (rc == NLT_EDATA) {
            return nlt_err_set(g->err, rc, "labels of series of an arena: %s",
                               nlt_rc_text(rc));
        }
        if (rc == NLT_OK) {
            rc = nlt_part_poll(g->src, g->err);
        }
    }
    return rc == NLT_ENOMEM ? nlt_part_over_budget(g->err) : rc;
}

/* The same of a block, of whose series all that match are given. */
typedef struct {
    gather_t *g;
    const nlt_part_t *p;
    const nlt_select_t *sel;
} of_block_t;

static nlt_rc_t
counts_cb(void *ctx, uint32_t id, bool *yes, nlt_err_t *err)
{
    const of_block_t *of = ctx;

    return nlt_part_may_have(of->p, id, of->sel, yes, err);
}

static nlt_rc_t
found_in_block_cb(void *ctx, nlt_str_t s)
{
    const of_block_t *of = ctx;

    return add(of->g, &of->g->found, s);
}

static nlt_rc_t
add_block_series(gather_t *g, const nlt_part_t *p, const nlt_select_t *sel)
{
    of_block_t of = {g, p, sel};
    const nlt_block_strings_to_t to = {counts_cb, found_in_block_cb, &of};
    nlt_pool_mark_t mark = nlt_pool_mark(&g->scratch);
    nlt_block_strings_t s;
    nlt_rc_t rc =
        nlt_block_strings_init(&s, p->block, g->name, &g->scratch, g->err);

    for (size_t i = 0; rc == NLT_OK && i < p->n; i += POLL_EVERY) {
        size_t n = p->n - i < POLL_EVERY ? p->n - i : POLL_EVERY;

        rc = nlt_block_strings_of(&s, p->id + i, n, &to, g->err);
        rc = nlt_part_met(p, rc, g->err);
        if (rc == NLT_OK) {
            rc = nlt_part_poll(g->src, g->err);
        }
    }
    nlt_pool_rewind(&g->scratch, mark);
    return rc == NLT_ENOMEM ? nlt_part_over_budget(g->err) : rc;
}

/* ---- parts in which series are deleted ---- */

/* Has a series with this value of a label that is there? */
static nlt_rc_t
has_pair(gather_t *g, const nlt_part_t *p, nlt_str_t name, nlt_str_t value,
         nlt_postings_t gone, bool *yes)
{
    nlt_pool_mark_t mark = nlt_pool_mark(g->pool);
    nlt_postings_t with;
    nlt_rc_t rc = nlt_part_with(p, g->pool, name, value, &with, g->err);
    size_t at = 0;

    *yes = false;
    for (size_t i = 0; rc == NLT_OK && i < with.n && !*yes; i++) {
        at = nlt_postings_seek(gone.v, gone.n, at, with.v[i]);
        *yes = at == gone.n || gone.v[at] != with.v[i];
    }
    nlt_pool_rewind(g->pool, mark);
    return rc;
}

/* Has a series with this label that is there? */
static nlt_rc_t
has_name(gather_t *g, const nlt_part_t *p, nlt_str_t name, nlt_postings_t gone,
         bool *yes)
{
    nlt_pool_mark_t mark = nlt_pool_mark(g->pool);
    nlt_str_t *v = NULL;
    size_t n = 0;
    nlt_rc_t rc = nlt_part_strings(p, g->pool, &name, &v, &n, g->err);

    *yes = false;
    for (size_t i = 0; rc == NLT_OK && i < n && !*yes; i++) {
        rc = nlt_part_poll(g->src, g->err);
        if (rc == NLT_OK) {
            rc = has_pair(g, p, name, v[i], gone, yes);
        }
    }
    nlt_pool_rewind(g->pool, mark);
    return rc;
}

/* The strings of a part's list that a series has which is there. */
static nlt_rc_t
add_living(gather_t *g, const nlt_part_t *p, const nlt_str_t *v, size_t n,
           nlt_postings_t gone)
{
    nlt_strtab_t doubtful;
    nlt_rc_t rc;

    nlt_strtab_init(&doubtful, g->pool);
    rc = add_all_series(g, p, gone.v, gone.n, &doubtful);
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        bool is_new = true, yes = true;
        uint32_t no;

        if (!nlt_strtab_add(&doubtful, v[i], &no, &is_new)) {
            return nlt_part_over_budget(g->err);
        }
        if (!is_new && g->name != NULL) {
            rc = has_pair(g, p, *g->name, v[i], gone, &yes);
        } else if (!is_new) {
            rc = has_name(g, p, v[i], gone, &yes);
        }
        if (rc == NLT_OK && yes) {
            rc = add(g, &g->found, v[i]);
        }
    }
    return rc;
}

/* ---- parts ---- */

static nlt_rc_t
add_list(gather_t *g, nlt_part_t *p, const nlt_select_t *sel)
{
    nlt_postings_t gone;
    nlt_str_t *v = NULL;
    size_t n = 0;
    nlt_rc_t rc = nlt_part_gone(g->src, g->pool, sel, p, &gone, g->err);

    if (rc == NLT_OK) {
        rc = nlt_part_strings(p, g->pool, g->name, &v, &n, g->err);
    }
    if (rc == NLT_OK && gone.n > 0) {
        return add_living(g, p, v, n, gone);
    }
    if (rc == NLT_OK && g->n_parts == 1) {
        g->list = v;
        g->n_list = n;
        return NLT_OK;
    }
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        rc = add(g, &g->found, v[i]);
    }
    return rc;
}

static nlt_rc_t
add_part(gather_t *g, nlt_part_t *p, const nlt_select_t *sel)
{
    nlt_rc_t rc = nlt_part_poll(g->src, g->err);

    if (rc != NLT_OK) {
        return rc;
    }
    if (sel->n_matchers == 0 && !nlt_part_is_shared(p)) {
        return add_list(g, p, sel);
    }
    if (p->arena != NULL) {
        rc = nlt_part_select(g->src, g->pool, sel, true, p, g->err);
        return rc == NLT_OK ? add_arena_series(g, p) : rc;
    }
    rc = nlt_part_select_all(g->src, g->pool, sel, p, g->err);
    return rc == NLT_OK ? add_block_series(g, p, sel) : rc;
}

/* The strings found, sorted, copied into the pool. */
static nlt_rc_t
result(gather_t *g, nlt_str_t **out, size_t *n)
{
    const nlt_str_t *found = g->list != NULL ? g->list : g->found.v;
    size_t k = g->list != NULL ? g->n_list : g->found.n, bytes = 0;
    uint32_t *order = nlt_strings_order(g->pool, found, k);
    nlt_str_t *v = nlt_pool_array(g->pool, k, sizeof(*v));
    char *text;

    for (size_t i = 0; i < k; i++) {
        bytes += found[i].len;
    }
    text = nlt_pool_alloc(g->pool, bytes);
    if (order == NULL || v == NULL || text == NULL) {
        return nlt_part_over_budget(g->err);
    }
    for (size_t i = 0; i < k; i++) {
        nlt_str_t s = found[order[i]];

        if (s.len > 0) {
            memcpy(text, s.data, s.len);
        }
        v[i] = (nlt_str_t){s.len, text};
        text += s.len;
    }
    *out = v;
    *n = k;
    return NLT_OK;
}

static nlt_rc_t
gather(const nlt_source_t *src, nlt_pool_t *pool, const nlt_str_t *name,
       const nlt_select_t *sel, nlt_str_t **out, size_t *n, nlt_err_t *err)
{
    nlt_view_t *v = nlt_part_view(src);
    gather_t g = {.src = src, .pool = pool, .name = name, .err = err};
    nlt_part_t *parts;
    size_t n_parts = 0;
    nlt_rc_t rc;

    *n = 0;
    nlt_strtab_init(&g.found, pool);
    nlt_pool_init(&g.scratch, v->store->env->mem, SCRATCH_MAX);
    /* A first page that no rewind gives back. */
    (void) nlt_pool_alloc(&g.scratch, 1);
    rc = nlt_parts_find(v, pool, sel->t_min_ms, sel->t_max_ms, &parts,
                        &n_parts, err);
    g.n_parts = n_parts;
    for (size_t i = 0; rc == NLT_OK && i < n_parts; i++) {
        rc = add_part(&g, &parts[i], sel);
    }
    if (rc == NLT_OK) {
        rc = result(&g, out, n);
    }
    nlt_pool_deinit(&g.scratch);
    return rc;
}

nlt_rc_t
nlt_store_label_names(const nlt_source_t *src, nlt_pool_t *pool,
                      const nlt_select_t *sel, nlt_str_t **out, size_t *n,
                      nlt_err_t *err)
{
    return gather(src, pool, NULL, sel, out, n, err);
}

nlt_rc_t
nlt_store_label_values(const nlt_source_t *src, nlt_pool_t *pool,
                       nlt_str_t name, const nlt_select_t *sel,
                       nlt_str_t **out, size_t *n, nlt_err_t *err)
{
    return gather(src, pool, &name, sel, out, n, err);
}

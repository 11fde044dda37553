/*
 * nlt_walk.c - see the header.
 */
#include "nlt_walk.h"

#include <stdlib.h>

/* Items that are collected before the larger half of them is dropped. */
#define ROOM (2 * (size_t) NLT_WALK_BATCH)

/* Label arrays that are held before it is dropped even so. */
#define CHOSEN_BYTES (16u << 20)

#define POLL_EVERY 4096

void
nlt_walk_init(nlt_walk_t *w, const nlt_mem_t *mem, size_t memory_max,
              const nlt_select_t *sels, size_t n, uint64_t series_max,
              nlt_walk_cmp_t cmp)
{
    *w = (nlt_walk_t){.mem = mem,
                      .sels = sels,
                      .n_sels = n,
                      .cmp = cmp,
                      .series_max = series_max};
    nlt_pool_init(&w->sets, mem, memory_max);
    nlt_pool_init(&w->chosen[0], mem, memory_max);
    nlt_pool_init(&w->chosen[1], mem, memory_max);
    nlt_pool_init(&w->kept, mem, memory_max);
}

/* Gives back the batch; last borrowed from it. */
static void
drop_batch(nlt_walk_t *w)
{
    while (w->n_sets > 0) {
        nlt_series_set_t *set = w->set[--w->n_sets];

        set->source->ops->close(set);
    }
    nlt_mem_free(w->mem, w->item, ROOM * sizeof(*w->item));
    w->item = NULL;
    w->n = 0;
    w->at = 0;
    w->have = false;
    nlt_pool_deinit(&w->sets);
    nlt_pool_deinit(&w->chosen[0]);
    nlt_pool_deinit(&w->chosen[1]);
}

void
nlt_walk_deinit(nlt_walk_t *w)
{
    drop_batch(w);
    nlt_pool_deinit(&w->kept);
}

size_t
nlt_walk_bytes(const nlt_walk_t *w)
{
    return w->sets.used_bytes + w->chosen[0].used_bytes
           + w->chosen[1].used_bytes + w->kept.used_bytes
           + (w->item != NULL ? ROOM * sizeof(*w->item) : 0);
}

static int
compare(const void *a, const void *b, void *ctx)
{
    const nlt_walk_item_t *x = a, *y = b;
    const nlt_walk_t *w = ctx;
    int c = w->cmp(nlt_labels_from(x->labels, w->alike),
                   nlt_labels_from(y->labels, w->alike));

    /* of equal ones the first selector's comes first, and stays */
    return c != 0 ? c : (x->sel > y->sel) - (x->sel < y->sel);
}

/* Is all in order, and nothing there twice?  So a block gives its series. */
static bool
is_sorted(const nlt_walk_t *w)
{
    for (size_t i = 1; i < w->n; i++) {
        if (w->cmp(nlt_labels_from(w->item[i - 1].labels, w->alike),
                   nlt_labels_from(w->item[i].labels, w->alike))
            >= 0) {
            return false;
        }
    }
    return true;
}

/* Sorts what was collected; what occurs twice is left out. */
static void
sort_batch(nlt_walk_t *w)
{
    size_t n = 0;

    /* what all begin with need not be looked at */
    w->alike = w->n > 0 && w->cmp == nlt_labels_cmp ? w->item[0].labels.n : 0;
    for (size_t i = 1; i < w->n && w->alike > 0; i++) {
        w->alike =
            nlt_labels_alike(w->item[0].labels, w->item[i].labels, w->alike);
    }
    if (is_sorted(w)) {
        return;
    }
    qsort_r(w->item, w->n, sizeof(*w->item), compare, w);
    for (size_t i = 0; i < w->n; i++) {
        if (n == 0 || w->cmp(w->item[n - 1].labels, w->item[i].labels) != 0) {
            w->item[n++] = w->item[i];
        }
    }
    w->n = n;
}

/*
 * Drops the larger half, and with it all that is larger than *bound from now
 * on.  The label arrays of what stays move to the other pool.
 */
static nlt_rc_t
make_room(nlt_walk_t *w, nlt_labels_t *bound, nlt_err_t *err)
{
    nlt_pool_t *to = &w->chosen[1 - w->which];

    sort_batch(w);
    if (w->n > 1) {
        w->n /= 2;
        w->complete = false;
    }
    for (size_t i = 0; i < w->n; i++) {
        nlt_labels_t *l = &w->item[i].labels;
        nlt_label_t *v = nlt_pool_array(to, l->n, sizeof(*v));

        if (v == NULL) {
            return nlt_err_set(err, NLT_ENOMEM, "out of memory");
        }
        memcpy(v, l->v, l->n * sizeof(*v));
        l->v = v;
    }
    if (!w->complete) {
        *bound = w->item[w->n - 1].labels;
    }
    nlt_pool_deinit(&w->chosen[w->which]);
    w->which = 1 - w->which;
    return NLT_OK;
}

/* Looks at one series: is it behind the last one, and not over the bound? */
static nlt_rc_t
consider(nlt_walk_t *w, const nlt_walk_item_t *from, const nlt_labels_t *bound,
         nlt_err_t *err)
{
    const nlt_series_set_t *set = from->set;
    nlt_pool_t *pool = &w->chosen[w->which];
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    nlt_walk_item_t item = *from;
    nlt_rc_t rc = set->source->ops->labels(set, item.idx, pool, &item.labels);
    int c;

    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "labels of a series: %s", nlt_rc_text(rc));
    }
    c = w->begun ? w->cmp(item.labels, w->last) : 1;
    if (c < 0 || (c == 0 && !w->again)
        || (!w->complete && w->cmp(item.labels, *bound) > 0)) {
        nlt_pool_rewind(pool, mark);
    } else {
        w->item[w->n++] = item;
    }
    return NLT_OK;
}

static nlt_rc_t
consider_all(nlt_walk_t *w, const nlt_series_set_t *set,
             const nlt_select_t *sel, nlt_labels_t *bound, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; rc == NLT_OK && i < set->n; i++) {
        nlt_walk_item_t item = {.set = set, .sel = sel, .idx = i};

        if (w->n == ROOM
            || (w->n > 1 && w->chosen[w->which].used_bytes > CHOSEN_BYTES)) {
            rc = make_room(w, bound, err);
        }
        if (rc == NLT_OK) {
            rc = consider(w, &item, bound, err);
        }
        if (i % POLL_EVERY == 0 && set->source->cancel != NULL
            && __atomic_load_n(set->source->cancel, __ATOMIC_RELAXED)) {
            rc = nlt_err_set(err, NLT_ECANCELED, "query was canceled");
        }
    }
    return rc;
}

/* Chooses the next batch. */
static nlt_rc_t
fill(nlt_walk_t *w, const nlt_source_t *src, nlt_err_t *err)
{
    nlt_labels_t bound = {NULL, 0};
    uint64_t total = 0;
    nlt_rc_t rc = NLT_OK;

    w->item = w->mem->alloc(w->mem->ctx, ROOM * sizeof(*w->item));
    w->set = nlt_pool_array(&w->sets, w->n_sels, sizeof(*w->set));
    if (w->item == NULL || w->set == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    w->have = true;
    w->complete = true;
    for (size_t i = 0; rc == NLT_OK && i < w->n_sels; i++) {
        nlt_series_set_t *set;

        if (w->sels[i].n_matchers == 0) {
            continue; /* see nlt_walk_init() */
        }
        rc = src->ops->select(src, &w->sets, &w->sels[i], &set, err);
        if (rc != NLT_OK) {
            break;
        }
        w->set[w->n_sets++] = set;
        total += set->n;
        if (w->series_max > 0 && total > w->series_max) {
            rc = nlt_err_set(err, NLT_ELIMIT,
                             "query selects too many series "
                             "(nightlight_query_max_series is %llu)",
                             (unsigned long long) w->series_max);
        } else {
            rc = consider_all(w, set, &w->sels[i], &bound, err);
        }
    }
    sort_batch(w);
    w->selected = total > w->selected ? total : w->selected;
    if (nlt_walk_bytes(w) > w->peak_bytes) {
        w->peak_bytes = nlt_walk_bytes(w);
    }
    return rc;
}

nlt_rc_t
nlt_walk_next(nlt_walk_t *w, const nlt_source_t *src, nlt_walk_item_t *out,
              nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    if (w->have && w->at == w->n) {
        if (w->complete) {
            return NLT_EOF;
        }
        if (nlt_walk_forget(w, false) != NLT_OK) {
            return nlt_err_set(err, NLT_ENOMEM, "out of memory");
        }
    }
    if (!w->have) {
        rc = fill(w, src, err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    if (w->at == w->n) {
        return NLT_EOF;
    }
    *out = w->item[w->at++];
    return NLT_OK;
}

nlt_rc_t
nlt_walk_forget(nlt_walk_t *w, bool unfinished)
{
    nlt_rc_t rc = NLT_OK;

    if (w->have && w->at > 0) {
        nlt_pool_deinit(&w->kept);
        w->begun = true;
        w->again = unfinished;
        if (!nlt_labels_copy(&w->kept, w->item[w->at - 1].labels, &w->last)) {
            rc = NLT_ENOMEM;
        }
    }
    drop_batch(w);
    return rc;
}

/*
 * nlt_store_view.c - what one query may read, and what it has to do without.
 *
 * A view has marks of the blocks of its list.  OUT is copied from what the
 * process knows when the view is opened and stays as it is while the query
 * runs, whatever others find out meanwhile.  What the query itself meets is
 * written to the process's entry, and `again` says that its answer is void;
 * then the marks are taken anew.
 */
#include "nlt_store_priv.h"

static const nlt_block_list_t *
list_of(const nlt_view_t *v)
{
    return v->blocks;
}

static size_t
marks_of(const nlt_block_list_t *list)
{
    return list->n + list->n_damaged;
}

/*
 * The order is what makes a view whole.  Rules first: one that is gone when
 * we look had nothing left that could be met afterwards.  Arenas second: one
 * that is retired after this stays mapped; of one that was retired before, the
 * generation already counts the blocks.
 */
static nlt_rc_t
take(nlt_view_t *v, nlt_head_t *head, nlt_err_t *err)
{
    nlt_store_t *s = v->store;
    nlt_head_ctl_t *ctl = nlt_head_ctl(head);
    const nlt_tenant_keeps_t keeps = nlt_store_keeps(&s->conf);
    nlt_rc_t rc = nlt_deletes_acquire(
        s->deletes, atomic_load(&ctl->deletes_gen), &v->deletes, err);

    if (rc != NLT_OK) {
        return rc;
    }
    nlt_head_pin(head, &v->head);
    rc = nlt_block_set_reload(s->blocks, atomic_load(&ctl->manifest_gen), err);
    if (rc != NLT_OK) {
        nlt_head_unpin(head, &v->head);
        nlt_deletes_release(s->deletes, v->deletes);
        return rc;
    }
    v->blocks = nlt_block_set_acquire(s->blocks);
    v->t_oldest_ms =
        nlt_tenant_border(&keeps, nlt_head_tenants(head), v->tenant,
                          atomic_load(&ctl->t_oldest_ms));
    nlt_cutter_init(&v->cutter, s->env->mem, v->deletes, v->tenant);
    return NLT_OK;
}

/* Nothing was used yet; who is left out, for this view too. */
static void
set_marks(nlt_view_t *v)
{
    const nlt_block_list_t *list = list_of(v);

    for (size_t i = 0; i < marks_of(list); i++) {
        v->marks[i] = i >= list->n || nlt_block_entry_is_out(list->v[i])
                          ? NLT_VIEW_OUT
                          : 0;
    }
}

nlt_rc_t
nlt_view_open(nlt_store_t *s, uint32_t tenant, const int *cancel,
              nlt_view_t *out, nlt_err_t *err)
{
    nlt_head_t *head = nlt_store_hold_for(s, tenant);
    size_t n;
    nlt_rc_t rc;

    if (head == NULL) {
        return nlt_store_not_ready(s, err);
    }
    *out = (nlt_view_t){.store = s, .tenant = tenant};
    nlt_times_init(&out->times, s->env->mem);
    rc = take(out, head, err);
    if (rc != NLT_OK) {
        nlt_store_let_go(s);
        return rc;
    }
    out->source = (nlt_source_t){&nlt_store_source_ops, out, cancel};
    n = marks_of(list_of(out));
    out->marks = n > 0 ? nlt_mem_zalloc(s->env->mem, n) : NULL;
    if (n > 0 && out->marks == NULL) {
        nlt_view_close(out);
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for a view");
    }
    set_marks(out);
    return NLT_OK;
}

void
nlt_view_close(nlt_view_t *v)
{
    nlt_mem_free(v->store->env->mem, v->marks, marks_of(list_of(v)));
    nlt_times_deinit(&v->times);
    nlt_cutter_deinit(&v->cutter);
    nlt_block_set_release(v->store->blocks, v->blocks);
    nlt_head_unpin(v->store->head, &v->head);
    nlt_deletes_release(v->store->deletes, v->deletes);
    nlt_store_let_go(v->store);
    *v = (nlt_view_t){.store = NULL};
}

/* ---- what is used and what is missed ---- */

bool
nlt_view_uses(nlt_view_t *v, size_t idx, int64_t t_min, int64_t t_max)
{
    const nlt_manifest_block_t *info = &list_of(v)->v[idx]->info;

    if (info->t_end_ms <= t_min || info->t_min_ms > t_max) {
        return false;
    }
    if (v->marks[idx] & NLT_VIEW_OUT) {
        v->marks[idx] |= NLT_VIEW_MISSED;
        return false;
    }
    v->marks[idx] |= NLT_VIEW_USED;
    return true;
}

void
nlt_view_misses(nlt_view_t *v, int64_t t_min, int64_t t_max)
{
    const nlt_block_list_t *list = list_of(v);

    for (size_t i = 0; i < list->n_damaged; i++) {
        const nlt_manifest_damaged_t *d = &list->damaged[i];

        if (d->t_end_ms > t_min && d->t_min_ms <= t_max) {
            v->marks[list->n + i] |= NLT_VIEW_MISSED;
        }
    }
}

size_t
nlt_view_n_blocks(const nlt_view_t *v)
{
    return list_of(v)->n;
}

const nlt_block_meta_t *
nlt_view_block_meta(const nlt_view_t *v, size_t i)
{
    return v->marks[i] & NLT_VIEW_OUT
               ? NULL
               : nlt_block_meta(list_of(v)->v[i]->block);
}

/* ---- damage ---- */

nlt_rc_t
nlt_view_met(const nlt_view_t *v, size_t idx, nlt_rc_t rc,
             const nlt_err_t *err)
{
    nlt_err_t why;

    if (rc == NLT_EDATA || rc == NLT_EVERSION) {
        why = *err;
        why.rc = rc;
        nlt_block_set_leave_out(v->store->blocks, list_of(v)->v[idx], &why);
        /* The view is const to those who read; this is not what they read. */
        atomic_store((_Atomic bool *) (uintptr_t) &v->again, true);
    }
    return rc;
}

bool
nlt_view_again(nlt_view_t *v)
{
    const nlt_block_list_t *list = list_of(v);
    bool again = false;

    for (size_t i = 0; i < list->n; i++) {
        nlt_block_entry_t *e = list->v[i];
        nlt_err_t why;

        if (!(v->marks[i] & NLT_VIEW_USED)) {
            continue;
        }
        if (nlt_block_intact(e->block, &why) != NLT_OK) {
            nlt_block_set_leave_out(v->store->blocks, e, &why);
        } else if (!nlt_block_entry_is_out(e)) {
            continue;
        }
        again = true;
    }
    if (again) {
        set_marks(v);
        atomic_store(&v->again, false);
        nlt_store_report(v->store, nlt_head_ctl(v->store->head));
    }
    return again;
}

/* ---- warnings ---- */

/* The text about block i of the marks. */
static void
warning(const nlt_view_t *v, size_t i, nlt_err_t *text)
{
    const nlt_block_list_t *list = list_of(v);
    const nlt_block_entry_t *e;

    if (i >= list->n) {
        (void) nlt_err_set(text, NLT_EDATA,
                           "block %s is damaged, its samples are missing: it "
                           "was moved to quarantine/",
                           list->damaged[i - list->n].ulid.c);
        return;
    }
    e = list->v[i];
    (void) nlt_err_set(text, NLT_EDATA,
                       "block %s %s, its samples are missing: %s",
                       e->info.ulid.c,
                       e->error.rc == NLT_EDATA      ? "is damaged"
                       : e->error.rc == NLT_EVERSION ? "has a newer format"
                                                     : "cannot be opened",
                       e->error.text);
}

static bool
add_text(nlt_pool_t *pool, const nlt_err_t *text, nlt_str_t *v, size_t *n)
{
    v[*n] = nlt_pool_str(pool, (nlt_str_t){text->len, text->text});
    return v[(*n)++].data != NULL;
}

nlt_rc_t
nlt_view_warnings(const nlt_view_t *v, nlt_pool_t *pool, nlt_str_t **out,
                  size_t *n, nlt_err_t *err)
{
    nlt_str_t *w = NULL;
    size_t missed = 0, k = 0;
    nlt_err_t text;
    bool good = true;

    *out = NULL;
    *n = 0;
    for (size_t i = 0; good && i < marks_of(list_of(v)); i++) {
        if (!(v->marks[i] & NLT_VIEW_MISSED)
            || missed++ >= NLT_VIEW_WARNINGS_MAX) {
            continue;
        }
        if (w == NULL) {
            w = nlt_pool_array(pool, NLT_VIEW_WARNINGS_MAX + 1, sizeof(*w));
        }
        warning(v, i, &text);
        good = w != NULL && add_text(pool, &text, w, &k);
    }
    if (good && missed > k) {
        (void) nlt_err_set(&text, NLT_EDATA, "%zu more blocks are missing",
                           missed - k);
        good = add_text(pool, &text, w, &k);
    }
    if (!good) {
        return nlt_err_set(err, NLT_ENOMEM, "out of memory for warnings");
    }
    *out = w;
    *n = k;
    return NLT_OK;
}

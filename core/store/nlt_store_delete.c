/*
 * nlt_store_delete.c - delete series, and ask for them to be gone.
 *
 *     lock ---> look at the active arena
 *                 |                    \
 *                 | has such samples    has none
 *                 v                      v
 *               ask the helper to       arenas up to the
 *               seal it, wait           one before it
 *                 |                      |
 *                 '-----> try the rule on all that it is about
 *                              |
 *                         write it, count deletes_gen up
 *                              |
 *                         is the head still the store's?  Then: deleted
 *
 * nlt_deletes.h says why in this order.
 */
#include "nlt_store_priv.h"

#include "nlt_cuts.h"
#include "nlt_manifest.h"

/* So long it may be impossible to seal, because three arenas are in use. */
#define STUCK_NS (5 * INT64_C(1000000000))

#define POOL_MAX (256u << 20)

typedef struct {
    nlt_store_t *s;
    nlt_head_t *head;
    nlt_delete_t *d;
    const nlt_store_wait_t *wait;
    nlt_err_t *err;
} delete_t;

static nlt_rc_t
not_ready(nlt_err_t *err)
{
    return nlt_err_set(err, NLT_ENOTREADY,
                       "store is not ready: the head is being replaced");
}

/* Once more around a loop that waits for another process. */
static nlt_rc_t
pause(const delete_t *x)
{
    nlt_rc_t rc;

    if (nlt_head_is_dead(x->head)) {
        return not_ready(x->err);
    }
    rc = x->wait->pause(x->wait->ctx);
    return rc == NLT_OK ? rc : nlt_err_set(x->err, rc, "%s", nlt_rc_text(rc));
}

/* ---- the active arena ---- */

/*
 * The number of the active arena, 0 while there is not exactly one: then one
 * is just being sealed, and writers may be in either.
 */
static uint64_t
active_arena(const nlt_head_ctl_t *ctl)
{
    uint64_t found = 0;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        uint64_t no = atomic_load(&ctl->arenas[i].no);

        if (no == 0
            || atomic_load(&ctl->arenas[i].state) != NLT_ARENA_ACTIVE) {
            continue;
        }
        if (found != 0) {
            return 0;
        }
        found = no;
    }
    return found;
}

/* Are all arenas up to `no` complete, so that no sample comes to them? */
static bool
is_sealed(const nlt_head_ctl_t *ctl, uint64_t no)
{
    uint64_t active = active_arena(ctl);

    return active > no;
}

/* Is none free, so that the helper cannot begin another arena now? */
static bool
is_stuck(const nlt_head_ctl_t *ctl)
{
    size_t used = 0;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        uint32_t state = atomic_load(&ctl->arenas[i].state);

        if (atomic_load(&ctl->arenas[i].no) == 0 || state == NLT_ARENA_NONE) {
            continue;
        }
        if (state == NLT_ARENA_READY) {
            return false;
        }
        used++;
    }
    return used >= 3;
}

/* Has one of n series a sample in the times of the delete? */
static nlt_rc_t
has_sample(const delete_t *x, const nlt_arena_t *a, const uint32_t *id,
           size_t n, nlt_pool_t *pool, bool *yes)
{
    nlt_samples_t out = {.pool = pool};

    for (size_t i = 0; i < n && !*yes; i++) {
        nlt_rc_t rc;

        out.n = 0;
        rc = nlt_arena_read(a, id[i], NLT_READ_NEWEST, x->d->t_min_ms,
                            x->d->t_max_ms, &out, x->err);
        if (rc == NLT_OK && i % 256 == 0) {
            rc = x->wait->poll(x->wait->ctx);
        }
        if (rc != NLT_OK) {
            return nlt_err_set(x->err, rc, "%s", nlt_rc_text(rc));
        }
        *yes = out.n > 0;
    }
    return NLT_OK;
}

static nlt_rc_t
look_at_set(const delete_t *x, const nlt_arena_t *a, nlt_delete_set_t *set,
            nlt_pool_t *pool, bool *yes)
{
    size_t compiled = 0, n = 0;
    uint32_t *id = NULL;
    nlt_rc_t rc = NLT_OK;

    for (; rc == NLT_OK && compiled < set->n; compiled += rc == NLT_OK) {
        rc = nlt_matcher_compile(pool, &set->matchers[compiled], x->err);
    }
    if (rc == NLT_OK) {
        rc = nlt_arena_select(a, pool, x->d->tenant, set->matchers, set->n,
                              &id, &n, x->err);
    }
    for (size_t i = 0; i < compiled; i++) {
        nlt_matcher_release(&set->matchers[i]);
    }
    return rc == NLT_OK ? has_sample(x, a, id, n, pool, yes) : rc;
}

/* Has arena a any sample that the delete is about? */
static nlt_rc_t
look_at_arena(const delete_t *x, const nlt_arena_t *a, bool *yes)
{
    const nlt_arena_header_t *h = nlt_arena_header(a);
    nlt_pool_t pool;
    nlt_rc_t rc = NLT_OK;

    *yes = false;
    if (x->d->t_max_ms < atomic_load(&h->t_min_ms)
        || x->d->t_min_ms > atomic_load(&h->t_max_ms)) {
        return NLT_OK;
    }
    nlt_pool_init(&pool, x->s->env->mem, POOL_MAX);
    for (size_t i = 0; rc == NLT_OK && i < x->d->n_sets && !*yes; i++) {
        rc = look_at_set(x, a, &x->d->sets[i], &pool, yes);
    }
    nlt_pool_deinit(&pool);
    return rc;
}

/* Waits until arena `no` is sealed. */
static nlt_rc_t
seal(const delete_t *x, uint64_t no)
{
    nlt_head_ctl_t *ctl = nlt_head_ctl(x->head);
    int64_t stuck_ns = 0;

    while (!is_sealed(ctl, no)) {
        int64_t now = nlt_mono_ns(x->s->env);
        nlt_rc_t rc;

        /* Whoever else wants one sealed wants the same one, or a later. */
        atomic_store(&ctl->seal_asked, no);
        if (!is_stuck(ctl)) {
            stuck_ns = 0;
        } else if (stuck_ns == 0) {
            stuck_ns = now;
        } else if (now - stuck_ns > STUCK_NS) {
            return nlt_err_set(x->err, NLT_AGAIN,
                               "three arenas are in use, waiting for blocks "
                               "to be written or for queries to end");
        }
        rc = pause(x);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return NLT_OK;
}

/* Draws the line: d->arena_max, and everything up to it complete. */
static nlt_rc_t
draw_line(delete_t *x)
{
    nlt_head_ctl_t *ctl = nlt_head_ctl(x->head);
    nlt_rc_t rc = NLT_OK;

    while (rc == NLT_OK) {
        uint64_t no = active_arena(ctl);
        nlt_arena_t *a = no != 0 ? nlt_head_pin_arena(x->head, no) : NULL;
        bool has;

        if (a == NULL) {
            rc = pause(x);
            continue;
        }
        rc = look_at_arena(x, a, &has);
        nlt_head_unpin_arena(x->head, a);
        if (rc == NLT_OK && has) {
            rc = seal(x, no);
        }
        x->d->arena_max = has ? no : no - 1;
        break;
    }
    return rc;
}

/* ---- can it be carried out? ---- */

/* Of a part that cannot be read nothing is known, and nothing is answered. */
static bool
refuses(nlt_rc_t rc)
{
    return rc == NLT_ELIMIT || rc == NLT_ENOMEM || rc == NLT_EBUG;
}

static nlt_rc_t
try_arenas(const delete_t *x, nlt_cutter_t *c)
{
    nlt_head_view_t view;
    nlt_rc_t rc = NLT_OK;

    nlt_head_pin(x->head, &view);
    for (size_t i = 0; i < view.n && !refuses(rc); i++) {
        nlt_pool_t pool;
        nlt_cuts_t cuts;

        nlt_pool_init(&pool, x->s->env->mem, POOL_MAX);
        rc = nlt_cutter_arena(c, &pool, view.arena[i], NULL, &cuts, x->err);
        nlt_pool_deinit(&pool);
    }
    nlt_head_unpin(x->head, &view);
    return refuses(rc) ? rc : NLT_OK;
}

static nlt_rc_t
try_block(const delete_t *x, nlt_cutter_t *c, const nlt_block_entry_t *e)
{
    nlt_pool_t pool;
    nlt_cuts_t cuts;
    nlt_rc_t rc;

    if (e->block == NULL || nlt_block_entry_is_out(e)) {
        return NLT_OK;
    }
    nlt_pool_init(&pool, x->s->env->mem, POOL_MAX);
    rc = nlt_cutter_block(c, &pool, e->block, e->info.arena, e->info.deletes,
                          NULL, &cuts, x->err);
    nlt_pool_deinit(&pool);
    if (refuses(rc)) {
        return rc;
    }
    rc = x->wait->poll(x->wait->ctx);
    return rc == NLT_OK ? rc : nlt_err_set(x->err, rc, "%s", nlt_rc_text(rc));
}

static nlt_rc_t
try_blocks(const delete_t *x, nlt_cutter_t *c)
{
    nlt_store_t *s = x->s;
    nlt_head_ctl_t *ctl = nlt_head_ctl(x->head);
    nlt_block_list_t *list;
    nlt_rc_t rc = nlt_block_set_reload(
        s->blocks, atomic_load(&ctl->manifest_gen), x->err);

    if (rc != NLT_OK) {
        return rc;
    }
    list = nlt_block_set_acquire(s->blocks);
    for (size_t i = 0; i < list->n && rc == NLT_OK; i++) {
        rc = try_block(x, c, list->v[i]);
    }
    nlt_block_set_release(s->blocks, list);
    return rc;
}

/*
 * Selects once what the rule is about.  An expression that exceeds its limits
 * on a value that is there would have every query of it fail for as long as
 * the rule is in force, and no block with it could be merged: for ever.
 * Arenas come before blocks, as for readers.
 */
static nlt_rc_t
try_rule(const delete_t *x)
{
    nlt_delete_t rule = *x->d;
    nlt_delete_list_t list = {.last = UINT64_MAX, .v = &rule, .n = 1};
    nlt_cutter_t cutter;
    nlt_rc_t rc;

    rule.number = UINT64_MAX; /* the newest */
    nlt_cutter_init(&cutter, x->s->env->mem, &list, rule.tenant);
    rc = try_arenas(x, &cutter);
    if (rc == NLT_OK) {
        rc = try_blocks(x, &cutter);
    }
    nlt_cutter_deinit(&cutter);
    return rc;
}

/* ---- the rule ---- */

/*
 * Above all numbers that blocks have had applied, should DELETES be lost.  The
 * MANIFEST is read for it: a process's list keeps what it said of a block
 * when that was opened, and the helper counts up since.
 */
static nlt_rc_t
lowest_number(delete_t *x)
{
    nlt_store_t *s = x->s;
    nlt_manifest_t m;
    nlt_rc_t rc;

    nlt_manifest_init(&m, s->env->mem, s->dir.store_id);
    rc = nlt_manifest_load(&m, s->env, s->dir.dir_fd, s->dir.store_id, x->err);
    x->d->number = 1;
    for (size_t i = 0; rc == NLT_OK && i < m.n_blocks; i++) {
        uint64_t applied = m.blocks[i].deletes;

        x->d->number = applied >= x->d->number ? applied + 1 : x->d->number;
    }
    nlt_manifest_deinit(&m);
    return rc == NLT_ENOENT ? nlt_err_set(x->err, NLT_EIO, "no MANIFEST") : rc;
}

static nlt_rc_t
write_rule(delete_t *x)
{
    nlt_store_t *s = x->s;
    nlt_head_ctl_t *ctl = nlt_head_ctl(x->head);
    nlt_rc_t rc = lowest_number(x);

    if (rc == NLT_OK) {
        rc = nlt_deletes_add(s->env, s->dir.dir_fd, s->dir.store_id, x->d,
                             x->err);
        /* Also after a failure: the rule may be there. */
        atomic_fetch_add(&ctl->deletes_gen, 1);
    }
    if (rc == NLT_OK && nlt_head_is_dead(x->head)) {
        /* The logs may have been replayed before the rule was written. */
        rc = not_ready(x->err);
    }
    if (rc == NLT_OK) {
        atomic_fetch_add(&ctl->counters.deletes, 1);
    }
    return rc;
}

static nlt_rc_t
delete_locked(delete_t *x)
{
    nlt_rc_t rc = draw_line(x);

    if (rc == NLT_OK) {
        rc = try_rule(x);
    }
    return rc == NLT_OK ? write_rule(x) : rc;
}

static nlt_rc_t
take_lock(const delete_t *x, int *lock)
{
    nlt_rc_t rc;

    while ((rc = nlt_deletes_lock(x->s->env, x->s->dir.dir_fd, lock, x->err))
           == NLT_AGAIN) {
        rc = pause(x);
        if (rc != NLT_OK) {
            break;
        }
    }
    return rc;
}

nlt_rc_t
nlt_store_delete(nlt_store_t *s, nlt_delete_t *d, const nlt_store_wait_t *wait,
                 nlt_err_t *err)
{
    delete_t x = {.s = s, .d = d, .wait = wait, .err = err};
    int lock;
    nlt_rc_t rc = nlt_delete_check(s->env, d, err);

    if (rc != NLT_OK) {
        return rc;
    }
    x.head = nlt_store_hold_for(s, d->tenant);
    if (x.head == NULL) {
        return nlt_err_set(err, NLT_ENOTREADY, "store is not ready");
    }
    rc = take_lock(&x, &lock);
    if (rc == NLT_OK) {
        rc = delete_locked(&x);
        nlt_deletes_unlock(s->env, lock);
    }
    nlt_store_let_go(s);
    return rc;
}

/* ---- cleaning ---- */

/* Is nothing left of rules up to `last`, and of tombstones? */
static nlt_rc_t
is_clean(const delete_t *x, uint64_t last, bool *yes)
{
    nlt_store_t *s = x->s;
    nlt_head_ctl_t *ctl = nlt_head_ctl(x->head);
    const nlt_delete_list_t *rules;
    nlt_block_list_t *list;
    nlt_rc_t rc = nlt_deletes_acquire(
        s->deletes, atomic_load(&ctl->deletes_gen), &rules, x->err);

    if (rc != NLT_OK) {
        return rc;
    }
    *yes = rules->n == 0 || rules->v[0].number > last;
    nlt_deletes_release(s->deletes, rules);
    rc = nlt_block_set_reload(s->blocks, atomic_load(&ctl->manifest_gen),
                              x->err);
    if (rc != NLT_OK) {
        return rc;
    }
    list = nlt_block_set_acquire(s->blocks);
    for (size_t i = 0; i < list->n; i++) {
        const nlt_block_t *b = list->v[i]->block;

        *yes &= b == NULL || nlt_block_tombstones(b)->n == 0;
    }
    nlt_block_set_release(s->blocks, list);
    return NLT_OK;
}

static nlt_rc_t
clean(const delete_t *x)
{
    nlt_head_ctl_t *ctl = nlt_head_ctl(x->head);
    const nlt_delete_list_t *rules;
    bool done = false;
    uint64_t last;
    nlt_rc_t rc = nlt_deletes_acquire(
        x->s->deletes, atomic_load(&ctl->deletes_gen), &rules, x->err);

    if (rc != NLT_OK) {
        return rc;
    }
    last = rules->last;
    nlt_deletes_release(x->s->deletes, rules);
    rc = is_clean(x, last, &done);
    while (rc == NLT_OK && !done) {
        /* Again and again: a helper that dies forgets it. */
        atomic_store(&ctl->clean_asked, 1);
        rc = pause(x);
        if (rc == NLT_OK) {
            rc = is_clean(x, last, &done);
        }
    }
    return rc;
}

nlt_rc_t
nlt_store_clean(nlt_store_t *s, const nlt_store_wait_t *wait, nlt_err_t *err)
{
    delete_t x = {.s = s, .wait = wait, .err = err};
    nlt_rc_t rc;

    x.head = nlt_store_hold(s);
    if (x.head == NULL) {
        return nlt_err_set(err, NLT_ENOTREADY, "store is not ready");
    }
    rc = clean(&x);
    nlt_store_let_go(s);
    return rc;
}

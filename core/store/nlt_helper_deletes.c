/*
 * nlt_helper_deletes.c - rules of deletes until nothing is under them.
 *
 *     blocks under a rule --no such sample--> counted up in the MANIFEST
 *            '-----------------dirty--------> rewritten, now or after a while
 *     rules without a block, an arena or a log  ------> taken off DELETES
 *
 * A block that is dirty is rewritten after a while only, so that many deletes
 * cost one rewriting: samples that nobody sees cost nobody but the disk.  Who
 * asks to clean, or so many rules that one more may be refused soon, makes it
 * urgent.
 */
#include "nlt_helper_priv.h"

#include "nlt_block.h"
#include "nlt_compact.h"
#include "nlt_suspects.h"

/* So long a dirty block waits for more deletes. */
#define DIRTY_MS (10 * 60 * 1000)

/* So often the file is read, should somebody have died who changed it. */
#define LOOK_MS (60 * 1000)

void
nlt_helper_deletes_end(nlt_helper_t *h)
{
    nlt_deletes_destroy(h->deletes);
    nlt_mem_free(h->env->mem, h->dirt.v, h->dirt.cap * sizeof(*h->dirt.v));
    h->deletes = NULL;
    h->dirt = (nlt_helper_dirt_t){.n = 0};
}

/* A damaged DELETES is no damage of an arena, a block or a log. */
static nlt_rc_t
not_theirs(nlt_rc_t rc)
{
    return rc == NLT_EDATA || rc == NLT_EVERSION ? NLT_EIO : rc;
}

nlt_rc_t
nlt_helper_rules(nlt_helper_t *h, const nlt_delete_list_t **out,
                 nlt_err_t *err)
{
    return not_theirs(nlt_deletes_acquire(
        h->deletes, atomic_load(&nlt_helper_ctl(h)->deletes_gen), out, err));
}

nlt_rc_t
nlt_helper_beyond_rules(nlt_helper_t *h, uint64_t *arena_no, nlt_err_t *err)
{
    nlt_delete_list_t *l;
    nlt_rc_t rc =
        nlt_deletes_load(h->env, h->dir.dir_fd, h->dir.store_id, &l, err);

    if (rc != NLT_OK) {
        return not_theirs(rc);
    }
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].arena_max >= *arena_no
            && l->v[i].arena_max < NLT_ARENA_NO_MAX - 1) {
            *arena_no = l->v[i].arena_max + 1;
        }
    }
    nlt_deletes_free(h->env, l);
    return NLT_OK;
}

/* ---- which blocks are dirty ---- */

typedef struct {
    nlt_helper_t *h;
    const nlt_delete_list_t *rules;
    bool *dirty; /* by block of h->manifest */
    bool *clean; /* it was found to be, and is not counted up yet */
    size_t n_dirty;
    size_t n_clean;
    nlt_err_t *err;
} survey_t;

static bool
is_known(const nlt_helper_t *h, const char *ulid)
{
    for (size_t i = 0; i < h->dirt.n; i++) {
        if (strcmp(h->dirt.v[i].c, ulid) == 0) {
            return true;
        }
    }
    return false;
}

/* Is the block under a rule?  *overlaps: under one that meets its times. */
static bool
is_under(const nlt_delete_list_t *rules, const nlt_manifest_block_t *b,
         bool *overlaps)
{
    bool under = false;

    *overlaps = false;
    for (size_t i = 0; i < rules->n; i++) {
        const nlt_delete_t *d = &rules->v[i];

        if (nlt_delete_concerns(d, b->arena, b->deletes)) {
            under = true;
            *overlaps |=
                d->t_min_ms < b->t_end_ms && d->t_max_ms >= b->t_min_ms;
        }
    }
    return under;
}

/* Looks into block i.  What cannot be told is left as it is. */
static nlt_rc_t
look_into(survey_t *s, size_t i)
{
    nlt_helper_t *h = s->h;
    nlt_compact_source_t source = {.info = h->manifest.blocks[i]};
    nlt_block_t *b;
    bool dirty = false;
    nlt_err_t why;
    nlt_rc_t rc =
        nlt_block_open(h->env, h->dir.blocks_fd, source.info.ulid.c, &b, &why);

    if (rc == NLT_OK) {
        source.block = b;
        rc = nlt_compact_is_dirty(h->env, &source, s->rules, &dirty, &why);
        dirty |= h->dirt.urgent && nlt_block_tombstones(b)->n > 0;
        nlt_block_close(b);
    }
    if (rc == NLT_ENOMEM) {
        return nlt_err_set(s->err, rc, "deletes: %s", why.text);
    }
    if (rc != NLT_OK) {
        why.rc = rc;
        nlt_helper_complain(h, "deletes", &why);
        if (rc == NLT_EDATA) {
            nlt_suspects_post(nlt_helper_ctl(h), source.info.ulid.c);
        }
        return NLT_OK;
    }
    s->dirty[i] = dirty;
    s->clean[i] = !dirty;
    return NLT_OK;
}

static nlt_rc_t
survey_block(survey_t *s, size_t i)
{
    const nlt_manifest_block_t *b = &s->h->manifest.blocks[i];
    bool overlaps, under = is_under(s->rules, b, &overlaps);
    nlt_rc_t rc;

    /* Only imported blocks have tombstones. */
    if (!under && !(s->h->dirt.urgent && b->arena == 0)) {
        return NLT_OK;
    }
    if (is_known(s->h, b->ulid.c)) {
        s->dirty[i] = true;
    } else if (under && !overlaps && b->arena != 0) {
        s->clean[i] = true;
    } else {
        rc = look_into(s, i);
        if (rc == NLT_OK) {
            rc = nlt_helper_poll_cb(s->h);
        }
        if (rc != NLT_OK) {
            return rc;
        }
    }
    s->clean[i] &= under;
    s->n_dirty += s->dirty[i];
    s->n_clean += s->clean[i];
    return NLT_OK;
}

/* Remembers the dirty ones, and since when there are any. */
static nlt_rc_t
remember(survey_t *s)
{
    nlt_helper_t *h = s->h;
    nlt_helper_dirt_t *d = &h->dirt;
    nlt_ulid_t *v = NULL;

    if (s->n_dirty > 0) {
        v = nlt_mem_zalloc(h->env->mem, s->n_dirty * sizeof(*v));
        if (v == NULL) {
            return nlt_err_set(s->err, NLT_ENOMEM, "deletes: no memory");
        }
    }
    nlt_mem_free(h->env->mem, d->v, d->cap * sizeof(*v));
    d->v = v;
    d->cap = s->n_dirty;
    d->n = 0;
    for (size_t i = 0; i < h->manifest.n_blocks; i++) {
        if (s->dirty[i]) {
            v[d->n++] = h->manifest.blocks[i].ulid;
        }
    }
    if (d->n == 0) {
        d->since_ns = 0;
        d->urgent = false;
    } else if (d->since_ns == 0) {
        d->since_ns = nlt_mono_ns(h->env);
    }
    return NLT_OK;
}

static nlt_rc_t
survey(survey_t *s)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; rc == NLT_OK && i < s->h->manifest.n_blocks; i++) {
        rc = survey_block(s, i);
    }
    return rc == NLT_OK ? remember(s) : rc;
}

/* Counts up what was found clean. */
static nlt_rc_t
count_up(survey_t *s)
{
    nlt_helper_t *h = s->h;
    nlt_manifest_t next = {.mem = h->env->mem};
    nlt_rc_t rc;

    if (s->n_clean == 0) {
        return NLT_OK;
    }
    rc = nlt_manifest_copy(&next, &h->manifest);
    if (rc != NLT_OK) {
        return nlt_err_set(s->err, rc, "deletes: no memory");
    }
    for (size_t i = 0; i < next.n_blocks; i++) {
        if (s->clean[i]) {
            next.blocks[i].deletes = s->rules->last;
        }
    }
    rc = nlt_helper_commit(h, &next, s->err);
    nlt_manifest_deinit(&next);
    return rc;
}

/* ---- rules that are done ---- */

/*
 * Nothing is under it: arenas up to it are in blocks and have left the head,
 * where queries would still find them, and no block is under it.
 */
static bool
is_done(void *ctx, const nlt_delete_t *d)
{
    const nlt_helper_t *h = ctx;

    if (d->arena_max >= h->manifest.floor) {
        return false;
    }
    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        uint64_t no = atomic_load(&nlt_helper_ctl(h)->arenas[i].no);

        if (no != 0 && no <= d->arena_max
            && nlt_head_holds(nlt_helper_ctl(h), no)) {
            return false;
        }
    }
    for (size_t i = 0; i < h->manifest.n_blocks; i++) {
        const nlt_manifest_block_t *b = &h->manifest.blocks[i];

        if (nlt_delete_concerns(d, b->arena, b->deletes)) {
            return false;
        }
    }
    return true;
}

static nlt_rc_t
drop_done(nlt_helper_t *h, const nlt_delete_list_t *rules, nlt_err_t *err)
{
    size_t n = 0;
    int lock;
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; i < rules->n; i++) {
        n += is_done(h, &rules->v[i]);
    }
    if (n == 0) {
        return NLT_OK;
    }
    rc = nlt_deletes_lock(h->env, h->dir.dir_fd, &lock, err);
    if (rc != NLT_OK) {
        return rc;
    }
    rc = nlt_deletes_drop(h->env, h->dir.dir_fd, h->dir.store_id, is_done, h,
                          &n, err);
    nlt_deletes_unlock(h->env, lock);
    /* Also after a failure: either state may be on the disk. */
    atomic_fetch_add(&nlt_helper_ctl(h)->deletes_gen, 1);
    if (rc == NLT_OK) {
        nlt_log(h->env, NLT_LOG_NOTICE, "%zu deletes are done", n);
    }
    return not_theirs(rc);
}

/* ---- once a second ---- */

/* Has somebody changed the file and died before he said so? */
static void
look_at_file(nlt_helper_t *h)
{
    const nlt_delete_list_t *before, *now;
    nlt_err_t err;

    if (nlt_helper_rules(h, &before, &err) != NLT_OK) {
        return;
    }
    nlt_deletes_forget(h->deletes);
    if (nlt_helper_rules(h, &now, &err) == NLT_OK) {
        if (now->last != before->last || now->n != before->n) {
            atomic_fetch_add(&nlt_helper_ctl(h)->deletes_gen, 1);
        }
        nlt_deletes_release(h->deletes, now);
    }
    nlt_deletes_release(h->deletes, before);
}

static bool
is_due(const nlt_helper_t *h, const nlt_delete_list_t *rules)
{
    return h->dirt.n > 0
           && (h->dirt.urgent || rules->n >= NLT_DELETES_MAX / 2
               || nlt_helper_older(h, h->dirt.since_ns, DIRTY_MS));
}

static nlt_rc_t
tend(nlt_helper_t *h, const nlt_delete_list_t *rules, uint64_t deletes_gen,
     bool *did, nlt_err_t *err)
{
    size_t n = h->manifest.n_blocks;
    survey_t s = {.h = h, .rules = rules, .err = err};
    nlt_pool_t pool;
    nlt_rc_t rc;

    nlt_pool_init(&pool, h->env->mem, 2 * NLT_MANIFEST_BLOCKS_MAX + 65536);
    s.dirty = nlt_pool_zalloc(&pool, n);
    s.clean = nlt_pool_zalloc(&pool, n);
    rc = s.dirty == NULL || s.clean == NULL
             ? nlt_err_set(err, NLT_ENOMEM, "deletes: no memory")
             : survey(&s);
    if (rc == NLT_OK) {
        rc = count_up(&s);
    }
    if (rc == NLT_OK) {
        rc = drop_done(h, rules, err);
        if (rc == NLT_AGAIN) { /* somebody deletes */
            nlt_pool_deinit(&pool);
            return NLT_OK;
        }
    }
    if (rc == NLT_OK) {
        h->dirt.deletes_gen = deletes_gen;
        h->dirt.generation = h->manifest.generation;
    }
    if (rc == NLT_OK && is_due(h, rules)) {
        rc = nlt_helper_compact(h, s.dirty, did, err);
    }
    nlt_pool_deinit(&pool);
    return rc;
}

nlt_rc_t
nlt_helper_tend_deletes(nlt_helper_t *h, bool *did, nlt_err_t *err)
{
    nlt_helper_dirt_t *d = &h->dirt;
    nlt_head_ctl_t *ctl = nlt_helper_ctl(h);
    const nlt_delete_list_t *rules;
    uint64_t deletes_gen;
    nlt_rc_t rc;

    *did = false;
    if (nlt_helper_older(h, d->settled_ns, LOOK_MS)) {
        d->settled_ns = nlt_mono_ns(h->env);
        look_at_file(h);
    }
    d->urgent |= atomic_exchange(&ctl->clean_asked, 0) != 0;
    deletes_gen = atomic_load(&ctl->deletes_gen);
    rc = nlt_helper_rules(h, &rules, err);
    if (rc != NLT_OK) {
        return rc;
    }
    if (d->urgent || is_due(h, rules)
        || (rules->n > 0
            && (d->deletes_gen != deletes_gen
                || d->generation != h->manifest.generation))) {
        rc = tend(h, rules, deletes_gen, did, err);
    }
    nlt_deletes_release(h->deletes, rules);
    return rc;
}

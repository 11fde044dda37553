/*
 * nlt_block_set.c - counted lists of counted blocks.
 */
#include "nlt_block_set.h"

#include <pthread.h>

/* MANIFESTs that are read one after the other while blocks go and come. */
#define RELOADS_MAX 8

struct nlt_block_set_s {
    const nlt_env_t *env;
    int dir_fd;
    int blocks_fd;
    uint8_t store_id[NLT_STORE_ID_BYTES];
    pthread_mutex_t loading; /* held while a list is built; taken first */
    pthread_mutex_t mutex;   /* the fields below, and all refs */
    nlt_block_list_t *list;
    uint64_t generation;
    bool loaded;
    bool retry; /* a block could not be opened for now */
};

/* Gives the list back; entries keep no reference of it any more. */
static void
list_destroy(const nlt_env_t *env, nlt_block_list_t *l)
{
    nlt_mem_free(env->mem, l->v, l->n * sizeof(l->v[0]));
    nlt_mem_free(env->mem, l->damaged, l->n_damaged * sizeof(l->damaged[0]));
    nlt_mem_free(env->mem, l, sizeof(*l));
}

/* Room for the blocks of m; what it says of damaged ones.  NULL: no memory. */
static nlt_block_list_t *
list_create(const nlt_env_t *env, const nlt_manifest_t *m)
{
    nlt_block_list_t *l = nlt_mem_zalloc(env->mem, sizeof(*l));

    if (l == NULL) {
        return NULL;
    }
    l->n = m->n_blocks;
    l->n_damaged = m->n_damaged;
    l->refs = 1;
    if (l->n > 0) {
        l->v = nlt_mem_zalloc(env->mem, l->n * sizeof(l->v[0]));
    }
    if (l->n_damaged > 0) {
        size_t bytes = l->n_damaged * sizeof(l->damaged[0]);

        l->damaged = nlt_mem_zalloc(env->mem, bytes);
        if (l->damaged != NULL) {
            memcpy(l->damaged, m->damaged, bytes);
        }
    }
    if ((l->n > 0 && l->v == NULL)
        || (l->n_damaged > 0 && l->damaged == NULL)) {
        list_destroy(env, l);
        return NULL;
    }
    return l;
}

static void
entry_destroy(const nlt_env_t *env, nlt_block_entry_t *e)
{
    if (e->block != NULL) {
        nlt_block_close(e->block);
    }
    nlt_mem_free(env->mem, e, sizeof(*e));
}

nlt_rc_t
nlt_block_set_create(const nlt_env_t *env, int dir_fd, int blocks_fd,
                     const uint8_t *store_id, nlt_block_set_t **out,
                     nlt_err_t *err)
{
    nlt_block_set_t *set = nlt_mem_zalloc(env->mem, sizeof(*set));
    const nlt_manifest_t none = {.n_blocks = 0};

    *out = NULL;
    if (set == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "block set: no memory");
    }
    set->env = env;
    set->dir_fd = dir_fd;
    set->blocks_fd = blocks_fd;
    memcpy(set->store_id, store_id, sizeof(set->store_id));
    set->list = list_create(env, &none);
    if (set->list == NULL) {
        nlt_mem_free(env->mem, set, sizeof(*set));
        return nlt_err_set(err, NLT_ENOMEM, "block set: no memory");
    }
    (void) pthread_mutex_init(&set->loading, NULL);
    (void) pthread_mutex_init(&set->mutex, NULL);
    *out = set;
    return NLT_OK;
}

void
nlt_block_set_destroy(nlt_block_set_t *set)
{
    if (set == NULL) {
        return;
    }
    nlt_block_set_release(set, set->list);
    (void) pthread_mutex_destroy(&set->mutex);
    (void) pthread_mutex_destroy(&set->loading);
    nlt_mem_free(set->env->mem, set, sizeof(*set));
}

nlt_block_list_t *
nlt_block_set_acquire(nlt_block_set_t *set)
{
    nlt_block_list_t *l;

    (void) pthread_mutex_lock(&set->mutex);
    l = set->list;
    l->refs++;
    (void) pthread_mutex_unlock(&set->mutex);
    return l;
}

void
nlt_block_set_release(nlt_block_set_t *set, nlt_block_list_t *l)
{
    size_t n_dead = 0;
    bool last;

    (void) pthread_mutex_lock(&set->mutex);
    last = --l->refs == 0;
    if (last) {
        /* Blocks that no other list has move to the front. */
        for (size_t i = 0; i < l->n; i++) {
            if (--l->v[i]->refs == 0) {
                l->v[n_dead++] = l->v[i];
            }
        }
    }
    (void) pthread_mutex_unlock(&set->mutex);
    if (last) {
        for (size_t i = 0; i < n_dead; i++) {
            entry_destroy(set->env, l->v[i]);
        }
        list_destroy(set->env, l);
    }
}

/*
 * The entry of the current list for this block, or NULL; only for who holds
 * `loading`, because nobody else replaces the list.
 */
static nlt_block_entry_t *
find(nlt_block_set_t *set, const nlt_manifest_block_t *info)
{
    for (size_t i = 0; i < set->list->n; i++) {
        nlt_block_entry_t *e = set->list->v[i];

        if (strcmp(e->info.ulid.c, info->ulid.c) == 0) {
            return e;
        }
    }
    return NULL;
}

static void
leave_out(nlt_block_entry_t *e, const nlt_err_t *why)
{
    (void) nlt_err_set_at(&e->error, why->rc, why->pos, "%s",
                          nlt_block_reason(e->info.ulid.c, why));
    atomic_store_explicit(&e->left_out, true, memory_order_release);
}

/*
 * Nothing is logged: the helper says it once for all processes.  *again: the
 * failure may pass, so it shall be tried again.
 */
static nlt_block_entry_t *
open_entry(nlt_block_set_t *set, const nlt_manifest_block_t *info, bool *again,
           bool *failed)
{
    nlt_block_entry_t *e = nlt_mem_zalloc(set->env->mem, sizeof(*e));
    nlt_err_t why;
    nlt_rc_t rc;

    if (e == NULL) {
        return NULL;
    }
    e->info = *info;
    rc = nlt_block_open(set->env, set->blocks_fd, info->ulid.c, &e->block,
                        &why);
    if (rc != NLT_OK) {
        e->block = NULL;
        *failed = true;
        *again |= rc != NLT_EDATA && rc != NLT_EVERSION;
        leave_out(e, &why);
    }
    return e;
}

/* Is the entry as good as a new one? */
static bool
may_stay(const nlt_block_entry_t *e)
{
    return !nlt_block_entry_is_out(e) || e->error.rc == NLT_EVERSION;
}

/* Fills l, which has room for the blocks of m; entries get no reference. */
static nlt_rc_t
fill(nlt_block_set_t *set, const nlt_manifest_t *m, nlt_block_list_t *l,
     bool *again, bool *failed)
{
    for (size_t i = 0; i < m->n_blocks; i++) {
        nlt_block_entry_t *e = find(set, &m->blocks[i]);

        if (e == NULL || !may_stay(e)) {
            e = open_entry(set, &m->blocks[i], again, failed);
        }
        if (e == NULL) {
            return NLT_ENOMEM;
        }
        l->v[i] = e;
    }
    return NLT_OK;
}

/* Gives back a list that never became current. */
static void
discard(nlt_block_set_t *set, nlt_block_list_t *l)
{
    for (size_t i = 0; i < l->n && l->v[i] != NULL; i++) {
        if (l->v[i]->refs == 0) {
            entry_destroy(set->env, l->v[i]);
        }
    }
    list_destroy(set->env, l);
}

/* The list of the MANIFEST that is there now, whose generation is given. */
static nlt_rc_t
load_once(nlt_block_set_t *set, nlt_block_list_t **out, bool *again,
          bool *failed, uint64_t *generation, nlt_err_t *err)
{
    nlt_manifest_t m;
    nlt_block_list_t *l;
    nlt_rc_t rc;

    *out = NULL;
    nlt_manifest_init(&m, set->env->mem, set->store_id);
    rc = nlt_manifest_load(&m, set->env, set->dir_fd, set->store_id, err);
    if (rc != NLT_OK && rc != NLT_ENOENT) {
        return rc;
    }
    *generation = m.generation;
    l = list_create(set->env, &m);
    rc = l == NULL ? NLT_ENOMEM : fill(set, &m, l, again, failed);
    nlt_manifest_deinit(&m);
    if (rc != NLT_OK) {
        if (l != NULL) {
            discard(set, l);
        }
        return nlt_err_set(err, rc, "block list: no memory");
    }
    *out = l;
    return NLT_OK;
}

/*
 * A block that cannot be opened may have been merged or removed since the
 * MANIFEST was read: then there is another MANIFEST, since that comes first.
 */
static nlt_rc_t
load(nlt_block_set_t *set, nlt_block_list_t **out, bool *again, nlt_err_t *err)
{
    uint64_t generation = 0, before = 0;
    nlt_rc_t rc;

    for (int i = 0; i < RELOADS_MAX; i++) {
        bool failed = false;

        *again = false;
        rc = load_once(set, out, again, &failed, &generation, err);
        if (rc != NLT_OK || !failed || (i > 0 && generation == before)) {
            return rc;
        }
        before = generation;
        if (i + 1 < RELOADS_MAX) {
            discard(set, *out);
        }
    }
    return NLT_OK;
}

static nlt_rc_t
reload_locked(nlt_block_set_t *set, uint64_t generation, nlt_err_t *err)
{
    nlt_block_list_t *l = NULL, *old;
    bool again = false;
    nlt_rc_t rc = load(set, &l, &again, err);

    if (rc != NLT_OK) {
        return rc;
    }
    (void) pthread_mutex_lock(&set->mutex);
    for (size_t i = 0; i < l->n; i++) {
        l->v[i]->refs++;
    }
    old = set->list;
    set->list = l;
    set->generation = generation;
    set->loaded = true;
    set->retry = again;
    (void) pthread_mutex_unlock(&set->mutex);
    nlt_block_set_release(set, old);
    return NLT_OK;
}

static bool
is_current(nlt_block_set_t *set, uint64_t generation)
{
    bool current;

    (void) pthread_mutex_lock(&set->mutex);
    current = set->loaded && set->generation == generation;
    (void) pthread_mutex_unlock(&set->mutex);
    return current;
}

nlt_rc_t
nlt_block_set_reload(nlt_block_set_t *set, uint64_t generation, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    if (is_current(set, generation)) {
        return NLT_OK;
    }
    (void) pthread_mutex_lock(&set->loading);
    if (!is_current(set, generation)) {
        rc = reload_locked(set, generation, err);
    }
    (void) pthread_mutex_unlock(&set->loading);
    return rc;
}

void
nlt_block_set_forget(nlt_block_set_t *set)
{
    (void) pthread_mutex_lock(&set->mutex);
    set->loaded = false;
    (void) pthread_mutex_unlock(&set->mutex);
}

void
nlt_block_set_retry(nlt_block_set_t *set)
{
    (void) pthread_mutex_lock(&set->mutex);
    set->loaded &= !set->retry;
    (void) pthread_mutex_unlock(&set->mutex);
}

void
nlt_block_set_leave_out(nlt_block_set_t *set, nlt_block_entry_t *e,
                        const nlt_err_t *why)
{
    (void) pthread_mutex_lock(&set->mutex);
    if (!nlt_block_entry_is_out(e)) {
        leave_out(e, why);
    }
    (void) pthread_mutex_unlock(&set->mutex);
}

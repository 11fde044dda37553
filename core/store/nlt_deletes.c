/*
 * nlt_deletes.c - the file DELETES, and the rules as a process has them.
 */
#include "nlt_deletes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>

#include "nlt_filenames.h"

/* ---- the file ---- */

nlt_rc_t
nlt_deletes_load(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
                 nlt_delete_list_t **out, nlt_err_t *err)
{
    nlt_buf_t text;
    nlt_rc_t rc;

    *out = NULL;
    nlt_buf_init(&text, env->mem, NLT_DELETES_BYTES_MAX);
    rc = nlt_io_read_file(env->io, dir_fd, NLT_FILE_DELETES, &text, err);
    if (rc == NLT_OK) {
        rc = nlt_deletes_parse(env, nlt_buf_str(&text), store_id, out, err);
    } else if (rc == NLT_ENOENT) {
        *out = nlt_deletes_empty(env, 0);
        rc = *out != NULL
                 ? NLT_OK
                 : nlt_err_set(err, NLT_ENOMEM, "DELETES: out of memory");
    } else if (rc == NLT_ETOOBIG) {
        rc = nlt_err_set(err, NLT_EDATA, "DELETES is longer than %u bytes",
                         NLT_DELETES_BYTES_MAX);
    }
    nlt_buf_deinit(&text);
    return rc;
}

nlt_rc_t
nlt_deletes_lock(const nlt_env_t *env, int dir_fd, int *lock, nlt_err_t *err)
{
    int fd = env->io->open(env->io->ctx, dir_fd, NLT_FILE_DELETES_LOCK,
                           O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    nlt_rc_t rc;

    *lock = -1;
    if (fd < 0) {
        return nlt_err_set_errno(
            err, fd == -ENOSPC || fd == -EDQUOT ? NLT_EFULL : NLT_EIO, -fd,
            "open \"" NLT_FILE_DELETES_LOCK "\"");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *lock = fd;
        return NLT_OK;
    }
    rc = nlt_err_set_errno(err, errno == EWOULDBLOCK ? NLT_AGAIN : NLT_EIO,
                           errno, "lock \"" NLT_FILE_DELETES_LOCK "\"");
    (void) env->io->close(env->io->ctx, fd);
    return rc;
}

void
nlt_deletes_unlock(const nlt_env_t *env, int lock)
{
    if (lock >= 0) {
        (void) env->io->close(env->io->ctx, lock);
    }
}

/* Compiles a set once, to see whether it can be. */
static nlt_rc_t
check_set(const nlt_env_t *env, const nlt_delete_set_t *set, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_OK;

    for (size_t i = 0; i < set->n && rc == NLT_OK; i++) {
        nlt_matcher_t m = set->matchers[i];
        nlt_pool_t pool;

        m.re = NULL;
        nlt_pool_init(&pool, env->mem, 32u << 20);
        rc = nlt_matcher_compile(&pool, &m, err);
        if (rc == NLT_OK) {
            nlt_matcher_release(&m);
        }
        nlt_pool_deinit(&pool);
    }
    return rc;
}

nlt_rc_t
nlt_delete_check(const nlt_env_t *env, const nlt_delete_t *d, nlt_err_t *err)
{
    size_t n = 0, bytes = 0;
    nlt_rc_t rc = NLT_OK;

    if (d->n_sets == 0 || d->t_min_ms > d->t_max_ms) {
        return nlt_err_set(err, NLT_EINVAL, "a delete of nothing");
    }
    for (size_t i = 0; i < d->n_sets; i++) {
        n += d->sets[i].n;
        for (size_t k = 0; k < d->sets[i].n; k++) {
            bytes += d->sets[i].matchers[k].name.len
                     + d->sets[i].matchers[k].value.len;
        }
    }
    if (d->n_sets > NLT_DELETE_SETS_MAX || n > NLT_DELETE_MATCHERS_MAX
        || bytes > NLT_DELETE_BYTES_MAX) {
        return nlt_err_set(err, NLT_ELIMIT,
                           "a delete may have %u selectors, %u matchers and "
                           "%u bytes of them, and this one has %zu, %zu and "
                           "%zu",
                           NLT_DELETE_SETS_MAX, NLT_DELETE_MATCHERS_MAX,
                           NLT_DELETE_BYTES_MAX, d->n_sets, n, bytes);
    }
    for (size_t i = 0; i < d->n_sets && rc == NLT_OK; i++) {
        rc = check_set(env, &d->sets[i], err);
    }
    return rc;
}

static nlt_rc_t
store(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
      const nlt_delete_list_t *l, nlt_err_t *err)
{
    nlt_buf_t text;
    nlt_rc_t rc;

    nlt_buf_init(&text, env->mem, NLT_DELETES_BYTES_MAX);
    nlt_deletes_print(l, store_id, &text);
    rc = text.rc != NLT_OK
             ? nlt_err_set(err, text.rc, "DELETES: %s", nlt_rc_text(text.rc))
             : nlt_io_replace_file(env->io, dir_fd, NLT_FILE_DELETES,
                                   text.data, text.len, err);
    nlt_buf_deinit(&text);
    return rc;
}

nlt_rc_t
nlt_deletes_add(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
                nlt_delete_t *d, nlt_err_t *err)
{
    nlt_delete_list_t *l = NULL;
    nlt_rc_t rc = nlt_delete_check(env, d, err);

    if (rc == NLT_OK) {
        rc = nlt_deletes_load(env, dir_fd, store_id, &l, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    if (l->n == NLT_DELETES_MAX) {
        rc = nlt_err_set(err, NLT_AGAIN,
                         "%u deletes are waiting for blocks to be rewritten",
                         NLT_DELETES_MAX);
    } else {
        l->last = l->last + 1 > d->number ? l->last + 1 : d->number;
        d->number = l->last;
        l->v[l->n++] = *d;
        rc = store(env, dir_fd, store_id, l, err);
    }
    nlt_deletes_free(env, l);
    return rc;
}

nlt_rc_t
nlt_deletes_drop(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
                 bool (*gone)(void *ctx, const nlt_delete_t *d), void *ctx,
                 size_t *n, nlt_err_t *err)
{
    nlt_delete_list_t *l;
    size_t kept = 0;
    nlt_rc_t rc = nlt_deletes_load(env, dir_fd, store_id, &l, err);

    *n = 0;
    if (rc != NLT_OK) {
        return rc;
    }
    for (size_t i = 0; i < l->n; i++) {
        if (!gone(ctx, &l->v[i])) {
            l->v[kept++] = l->v[i];
        }
    }
    if (kept < l->n) {
        *n = l->n - kept;
        l->n = kept;
        rc = store(env, dir_fd, store_id, l, err);
    }
    nlt_deletes_free(env, l);
    return rc;
}

/* ---- the rules as a process has them ---- */

struct nlt_deletes_s {
    const nlt_env_t *env;
    int dir_fd;
    uint8_t store_id[NLT_STORE_ID_BYTES];
    pthread_mutex_t mutex;   /* the fields below, and all refs */
    nlt_delete_list_t *list; /* NULL: not loaded */
    uint64_t generation;     /* it was loaded for, or a later one */
};

nlt_rc_t
nlt_deletes_create(const nlt_env_t *env, int dir_fd, const uint8_t *store_id,
                   nlt_deletes_t **out, nlt_err_t *err)
{
    nlt_deletes_t *s = nlt_mem_zalloc(env->mem, sizeof(*s));

    *out = s;
    if (s == NULL) {
        return nlt_err_set(err, NLT_ENOMEM, "deletes: no memory");
    }
    s->env = env;
    s->dir_fd = dir_fd;
    memcpy(s->store_id, store_id, sizeof(s->store_id));
    (void) pthread_mutex_init(&s->mutex, NULL);
    return NLT_OK;
}

void
nlt_deletes_destroy(nlt_deletes_t *s)
{
    if (s == NULL) {
        return;
    }
    nlt_deletes_free(s->env, s->list);
    (void) pthread_mutex_destroy(&s->mutex);
    nlt_mem_free(s->env->mem, s, sizeof(*s));
}

static void
release_locked(nlt_deletes_t *s, nlt_delete_list_t *l)
{
    if (l != NULL && --l->refs == 0) {
        nlt_deletes_free(s->env, l);
    }
}

nlt_rc_t
nlt_deletes_acquire(nlt_deletes_t *s, uint64_t generation,
                    const nlt_delete_list_t **out, nlt_err_t *err)
{
    nlt_delete_list_t *l;
    nlt_rc_t rc = NLT_OK;

    *out = NULL;
    /* The file is read under the mutex: who comes meanwhile needs it too. */
    (void) pthread_mutex_lock(&s->mutex);
    if (s->list == NULL || s->generation != generation) {
        rc = nlt_deletes_load(s->env, s->dir_fd, s->store_id, &l, err);
        if (rc == NLT_OK) {
            release_locked(s, s->list);
            s->list = l;
            s->generation = generation;
        }
    }
    if (rc == NLT_OK) {
        s->list->refs++;
        *out = s->list;
    }
    (void) pthread_mutex_unlock(&s->mutex);
    return rc;
}

void
nlt_deletes_release(nlt_deletes_t *s, const nlt_delete_list_t *l)
{
    (void) pthread_mutex_lock(&s->mutex);
    release_locked(s, (nlt_delete_list_t *) (uintptr_t) l);
    (void) pthread_mutex_unlock(&s->mutex);
}

void
nlt_deletes_forget(nlt_deletes_t *s)
{
    (void) pthread_mutex_lock(&s->mutex);
    release_locked(s, s->list);
    s->list = NULL;
    (void) pthread_mutex_unlock(&s->mutex);
}

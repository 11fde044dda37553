/*
 * nlt_snapshot.c - waits for the head, links blocks, writes tombstones.
 */
#include "nlt_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>

#include "nlt_block_clone.h"
#include "nlt_block_tenant.h"
#include "nlt_compact.h"
#include "nlt_cuts.h"
#include "nlt_filenames.h"
#include "nlt_sort.h"
#include "nlt_store_priv.h"
#include "nlt_time.h"

#define WAIT_MS       10
#define ASK_AGAIN_MS  1000
#define TRIES_MAX     100 /* beginnings because of blocks that went away */
#define CUTS_POOL_MAX (256u << 20)
#define TMP_SIZE      (NLT_SNAPSHOT_NAME_SIZE + sizeof(NLT_SUFFIX_TMP))

typedef struct {
    nlt_store_t *s;
    const nlt_env_t *env;
    uint32_t tenant;
    uint64_t term;       /* of the head it was looked up in; 0: any */
    bool as_is;          /* dense blocks stay dense */
    int64_t t_oldest_ms; /* of the tenant's own retention */
    bool is_shared;      /* the store has, or had, several tenants */
    const int *cancel;
    int64_t end_ns;
    int dir_fd; /* snapshots/ */
    int tmp_fd; /* the one being made */
    char tmp[TMP_SIZE];
    nlt_err_t *err;
} snapshot_t;

/* May it go on? */
static nlt_rc_t
poll_cb(void *ctx)
{
    snapshot_t *sn = ctx;

    if (sn->cancel != NULL
        && __atomic_load_n(sn->cancel, __ATOMIC_RELAXED) != 0) {
        return nlt_err_set(sn->err, NLT_ECANCELED, "snapshot was canceled");
    }
    if (nlt_mono_ns(sn->env) >= sn->end_ns) {
        return nlt_err_set(sn->err, NLT_ETIMEOUT,
                           "snapshot took longer than it may");
    }
    return NLT_OK;
}

/* Sleeps a moment, unless it is over. */
static nlt_rc_t
wait_a_moment(snapshot_t *sn)
{
    nlt_rc_t rc = poll_cb(sn);

    if (rc == NLT_OK) {
        (void) poll(NULL, 0, WAIT_MS);
    }
    return rc;
}

static nlt_rc_t
not_ready(snapshot_t *sn)
{
    return nlt_store_not_ready(sn->s, sn->err);
}

/* ---- the head ---- */

/* Arenas that must have become blocks: all up to `last` of head `term`. */
typedef struct {
    uint64_t term;
    uint64_t last; /* 0: there are none */
} arenas_t;

static arenas_t
arenas_with_samples(const snapshot_t *sn, nlt_head_t *head)
{
    arenas_t a = {atomic_load(sn->s->dir.term), 0};
    nlt_head_view_t view;

    nlt_head_pin(head, &view);
    for (size_t i = 0; i < view.n; i++) {
        if (atomic_load(&nlt_arena_header(view.arena[i])->n_samples) > 0) {
            a.last = nlt_arena_no(view.arena[i]);
        }
    }
    nlt_head_unpin(head, &view);
    return a;
}

typedef enum {
    GONE,
    SEALED,
    STILL_ACTIVE
} arenas_state_t;

/* Where are the arenas up to a->last? */
static arenas_state_t
arenas_state(nlt_head_ctl_t *ctl, const arenas_t *a)
{
    arenas_state_t state = GONE;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        nlt_head_arena_slot_t *slot = &ctl->arenas[i];
        uint64_t no = atomic_load(&slot->no);

        if (no == 0 || no > a->last) {
            continue;
        }
        switch (atomic_load(&slot->state)) {
        case NLT_ARENA_ACTIVE:
            return STILL_ACTIVE;
        case NLT_ARENA_SEALED:
            state = SEALED;
            break;
        default:
            break;
        }
    }
    return state;
}

/*
 * One look: *done when the head has nothing of before any more.  Asks for the
 * flush, again if the helper that was asked is not there any more.  Without a
 * head, and with a dead one, nothing is known: later looks may find another.
 */
static nlt_rc_t
look_at_head(snapshot_t *sn, arenas_t *a, int64_t *asked_ns, bool *done)
{
    nlt_head_t *head = nlt_store_hold(sn->s);
    nlt_head_ctl_t *ctl;
    arenas_state_t state;

    *done = false;
    if (head == NULL) {
        return a->term == 0 ? not_ready(sn) : NLT_OK;
    }
    if (sn->term != 0 && nlt_head_ctl(head)->term != sn->term) {
        nlt_store_let_go(sn->s);
        return not_ready(sn);
    }
    if (nlt_head_is_dead(head)) {
        nlt_store_let_go(sn->s);
        return NLT_OK;
    }
    ctl = nlt_head_ctl(head);
    if (a->term != atomic_load(sn->s->dir.term)) {
        *a = arenas_with_samples(sn, head);
        *asked_ns = 0;
    }
    state = arenas_state(ctl, a);
    if (state == STILL_ACTIVE
        && (*asked_ns == 0
            || nlt_mono_ns(sn->env) - *asked_ns
                   >= ASK_AGAIN_MS * INT64_C(1000000))) {
        atomic_store(&ctl->flush_asked, 1);
        *asked_ns = nlt_mono_ns(sn->env);
    }
    /* Of a head that died in between the arenas say nothing. */
    *done = state == GONE && !nlt_head_is_dead(head);
    nlt_store_let_go(sn->s);
    return NLT_OK;
}

static nlt_rc_t
wait_for_head(snapshot_t *sn)
{
    arenas_t a = {0, 0};
    int64_t asked_ns = 0;
    bool done = false;
    nlt_rc_t rc = look_at_head(sn, &a, &asked_ns, &done);

    while (rc == NLT_OK && !done) {
        rc = wait_a_moment(sn);
        if (rc == NLT_ETIMEOUT) {
            return nlt_err_set(sn->err, rc,
                               "the head was not written as blocks in time");
        }
        if (rc == NLT_OK) {
            rc = look_at_head(sn, &a, &asked_ns, &done);
        }
    }
    return rc;
}

/* ---- tombstones ---- */

static bool
id_less(const uint32_t *a, const uint32_t *b, const void *ctx)
{
    (void) ctx;
    return *a < *b;
}

NLT_HEAP_SORT(sort_ids, uint32_t, id_less);

/* Series that have anything cut out, ascending, in the pool. */
static nlt_rc_t
cut_series(const nlt_cuts_t *cuts, const nlt_tombstones_t *own,
           nlt_pool_t *pool, uint32_t **out, size_t *n)
{
    size_t total = own->n, k = 0;
    uint32_t *v;

    for (size_t i = 0; i < cuts->n; i++) {
        total += cuts->v[i].n;
    }
    v = nlt_pool_array(pool, total, sizeof(*v));
    if (v == NULL) {
        return NLT_ENOMEM;
    }
    for (size_t i = 0; i < own->n; i++) {
        v[k++] = own->id[i];
    }
    for (size_t i = 0; i < cuts->n; i++) {
        for (size_t j = 0; j < cuts->v[i].n; j++) {
            v[k++] = cuts->v[i].id[j];
        }
    }
    sort_ids(v, k, NULL);
    *n = 0;
    for (size_t i = 0; i < k; i++) {
        if (*n == 0 || v[*n - 1] != v[i]) {
            v[(*n)++] = v[i];
        }
    }
    *out = v;
    return NLT_OK;
}

/* All that is cut out of one series: by its block's own and by rules. */
static nlt_rc_t
add_series(nlt_buf_t *file, uint32_t id, const nlt_cuts_t *cuts,
           const nlt_tombstones_t *own, nlt_pool_t *pool)
{
    nlt_pool_mark_t mark = nlt_pool_mark(pool);
    size_t n_own;
    const nlt_interval_t *o = nlt_tombstones_of(own, id, &n_own);
    nlt_interval_t *v =
        nlt_pool_array(pool, n_own + NLT_DELETES_MAX, sizeof(*v));
    size_t n;

    if (v == NULL) {
        return NLT_ENOMEM;
    }
    n = nlt_cuts_of(cuts, id, v);
    for (size_t i = 0; i < n_own; i++) {
        v[n++] = o[i];
    }
    n = nlt_intervals_join(v, n);
    for (size_t i = 0; i < n; i++) {
        nlt_tombstones_add(file, id, &v[i]);
    }
    nlt_pool_rewind(pool, mark);
    return NLT_OK;
}

static nlt_rc_t
fill_tombstones(const snapshot_t *sn, const nlt_block_t *b,
                const nlt_cuts_t *cuts, nlt_pool_t *pool, nlt_buf_t *file)
{
    const nlt_tombstones_t *own = nlt_block_tombstones(b);
    uint32_t *id;
    size_t n;
    nlt_rc_t rc = cut_series(cuts, own, pool, &id, &n);

    nlt_tombstones_begin(file);
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        rc = add_series(file, id[i], cuts, own, pool);
    }
    nlt_tombstones_end(file);
    rc = rc == NLT_OK ? file->rc : rc;
    return rc == NLT_OK
               ? rc
               : nlt_err_set(sn->err, rc == NLT_ETOOBIG ? NLT_ELIMIT : rc,
                             "tombstones: %s", nlt_rc_text(rc));
}

/* Is any rule about samples of this block? */
static bool
has_rules(const nlt_delete_list_t *rules, const nlt_manifest_block_t *b)
{
    for (size_t i = 0; i < rules->n; i++) {
        if (nlt_delete_concerns(&rules->v[i], b->arena, b->deletes)
            && rules->v[i].t_min_ms < b->t_end_ms
            && rules->v[i].t_max_ms >= b->t_min_ms) {
            return true;
        }
    }
    return false;
}

/*
 * The tombstones file that says what rules mean for the block, into `file`;
 * empty when they mean nothing.
 */
static nlt_rc_t
translate_rules(const snapshot_t *sn, const nlt_block_entry_t *e,
                const nlt_delete_list_t *rules, nlt_buf_t *file)
{
    nlt_cutter_t cutter;
    nlt_cuts_t cuts = {NULL, 0};
    nlt_pool_t pool;
    nlt_rc_t rc;

    if (e->block == NULL || nlt_block_entry_is_out(e)) {
        return nlt_err_set(sn->err, e->error.rc ? e->error.rc : NLT_EDATA,
                           "block %s has deletes, and cannot be read: %s",
                           e->info.ulid.c, e->error.text);
    }
    nlt_pool_init(&pool, sn->env->mem, CUTS_POOL_MAX);
    nlt_cutter_init(&cutter, sn->env->mem, rules, NLT_TENANTS_ALL);
    rc = nlt_cutter_block(&cutter, &pool, e->block, e->info.arena,
                          e->info.deletes, NULL, &cuts, sn->err);
    if (rc == NLT_OK && cuts.n > 0) {
        rc = fill_tombstones(sn, e->block, &cuts, &pool, file);
    }
    nlt_cutter_deinit(&cutter);
    nlt_pool_deinit(&pool);
    return rc;
}

/* ---- one block ---- */

/*
 * Do its files go into the snapshot as they are?  Of one that cannot be read
 * nobody knows whose it is, where there are tenants, nor what is in it.
 */
static bool
is_linked(const snapshot_t *sn, const nlt_block_entry_t *e)
{
    if (e->block == NULL) {
        return sn->tenant == 0 && !sn->is_shared && sn->as_is;
    }
    return sn->tenant == 0 && !nlt_block_has_tenants(e->block)
           && (sn->as_is || !nlt_block_meta(e->block)->dense);
}

/*
 * A block is written anew at the most in four times its bytes (dense to
 * portable is about 3.2), and the store's reserve is not for snapshots.
 */
static nlt_rc_t
check_room(const snapshot_t *sn, const nlt_block_entry_t *e)
{
    const nlt_io_t *io = sn->env->io;
    int64_t bytes = io->free_bytes(io->ctx, sn->tmp_fd);
    uint64_t want = e->info.bytes * (e->info.dense ? 4 : 1);

    if (bytes >= 0 && (uint64_t) bytes < sn->s->conf.min_free_bytes + want) {
        return nlt_err_set(sn->err, NLT_EFULL,
                           "there is no room on the disk for a copy of block "
                           "%s, up to %llu bytes, beside min_free=",
                           e->info.ulid.c, (unsigned long long) want);
    }
    return NLT_OK;
}

/*
 * Writes the tenant's part of a block, or all of it in another format.  One
 * that cannot be read may have something of the tenant, and of others.
 */
static nlt_rc_t
add_part(snapshot_t *sn, const nlt_block_entry_t *e,
         const nlt_delete_list_t *rules)
{
    const nlt_compact_conf_t conf = {
        .env = sn->env,
        .blocks_fd = sn->tmp_fd,
        .store_id = sn->s->dir.store_id,
        .now_ms = nlt_now_ms(sn->env),
        .t_oldest_ms = sn->t_oldest_ms,
        .deletes = rules,
        .level = (unsigned) e->info.level,
        .tenant = &sn->tenant,
        .dense = sn->as_is && e->block && nlt_block_meta(e->block)->dense,
        .poll = poll_cb,
        .poll_ctx = sn,
    };
    const nlt_compact_source_t source = {e->block, e->info};
    nlt_manifest_block_t out;
    nlt_rc_t rc;

    if (e->block == NULL || nlt_block_entry_is_out(e)) {
        return nlt_err_set(sn->err, e->error.rc ? e->error.rc : NLT_EDATA,
                           "block %s: %s", e->info.ulid.c, e->error.text);
    }
    if (sn->tenant != 0 && !nlt_block_has_tenants(e->block)) {
        return NLT_OK;
    }
    rc = check_room(sn, e);
    return rc == NLT_OK
               ? nlt_compact_blocks(&conf, &source, 1, &out, NULL, sn->err)
               : rc;
}

static nlt_rc_t
put_tombstones(const snapshot_t *sn, const char *ulid, const nlt_buf_t *file)
{
    const nlt_io_t *io = sn->env->io;
    int fd = io->open(io->ctx, sn->tmp_fd, ulid, O_RDONLY | O_DIRECTORY, 0);
    nlt_rc_t rc;

    if (fd < 0) {
        return nlt_err_set_errno(sn->err, NLT_EIO, -fd, "open %s", ulid);
    }
    rc = nlt_io_replace_file(io, fd, "tombstones", file->data, file->len,
                             sn->err);
    (void) io->close(io->ctx, fd);
    return rc;
}

static nlt_rc_t
add_block(snapshot_t *sn, const nlt_block_entry_t *e,
          const nlt_delete_list_t *rules)
{
    nlt_block_clone_conf_t clone = {.poll = poll_cb, .poll_ctx = sn};
    const char *ulid = e->info.ulid.c;
    nlt_buf_t file;
    nlt_rc_t rc = poll_cb(sn);

    if (rc == NLT_OK && !is_linked(sn, e)) {
        return add_part(sn, e, rules);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    /* One of a newer format is as good as any for who reads that. */
    if (nlt_block_entry_is_out(e) && e->error.rc != NLT_EVERSION) {
        return nlt_err_set(sn->err, NLT_EDATA, "block %s: %s", ulid,
                           e->error.text);
    }
    nlt_buf_init(&file, sn->env->mem, NLT_TOMBSTONES_BYTES_MAX);
    if (has_rules(rules, &e->info)) {
        rc = translate_rules(sn, e, rules, &file);
    }
    if (rc == NLT_OK) {
        clone.no_tombstones = file.len > 0;
        rc = nlt_block_clone(sn->env, sn->s->dir.blocks_fd, ulid, sn->tmp_fd,
                             ulid, &clone, NULL, sn->err);
    }
    if (rc == NLT_OK && file.len > 0) {
        rc = put_tombstones(sn, ulid, &file);
    }
    nlt_buf_deinit(&file);
    return rc;
}

/* ---- all of them ---- */

/* The list of now, with at least what the head says is committed. */
static nlt_rc_t
current_list(snapshot_t *sn, nlt_block_list_t **out)
{
    nlt_head_t *head = nlt_store_hold_term(sn->s, sn->term);
    const nlt_tenant_keeps_t keeps = nlt_store_keeps(&sn->s->conf);
    nlt_rc_t rc;

    if (head == NULL) {
        return not_ready(sn);
    }
    sn->t_oldest_ms =
        nlt_tenant_border(&keeps, nlt_head_tenants(head), sn->tenant,
                          atomic_load(&nlt_head_ctl(head)->t_oldest_ms));
    sn->is_shared = nlt_tenants_end(nlt_head_tenants(head)) > 1;
    rc = nlt_block_set_reload(sn->s->blocks,
                              atomic_load(&nlt_head_ctl(head)->manifest_gen),
                              sn->err);
    if (rc == NLT_OK) {
        *out = nlt_block_set_acquire(sn->s->blocks);
    }
    nlt_store_let_go(sn->s);
    return rc;
}

/* Rules first, blocks second: see nlt_deletes.h. */
static nlt_rc_t
add_blocks(snapshot_t *sn)
{
    nlt_block_list_t *list = NULL;
    nlt_delete_list_t *rules = NULL;
    nlt_rc_t rc = nlt_deletes_load(sn->env, sn->s->dir.dir_fd,
                                   sn->s->dir.store_id, &rules, sn->err);

    if (rc != NLT_OK) {
        return rc;
    }
    rc = current_list(sn, &list);
    for (size_t i = 0; rc == NLT_OK && i < list->n; i++) {
        rc = add_block(sn, list->v[i], rules);
    }
    if (rc == NLT_OK && list->n_damaged > 0) {
        nlt_log_todo(sn->env, NLT_LOG_WARN,
                     "put good copies into " NLT_DIR_IMPORT
                     "/, and take another one",
                     "a snapshot lacks %zu damaged blocks (%s, ...)",
                     list->n_damaged, list->damaged[0].ulid.c);
    }
    if (list != NULL) {
        nlt_block_set_release(sn->s->blocks, list);
    }
    nlt_deletes_free(sn->env, rules);
    return rc;
}

/* Makes and locks the directory. */
static nlt_rc_t
begin(snapshot_t *sn)
{
    const nlt_io_t *io = sn->env->io;
    int sys = io->mkdir(io->ctx, sn->dir_fd, sn->tmp, 0700);

    if (sys < 0) {
        return nlt_err_set_errno(sn->err, sys == -ENOSPC ? NLT_EFULL : NLT_EIO,
                                 -sys, "mkdir %s", sn->tmp);
    }
    sn->tmp_fd = io->open(io->ctx, sn->dir_fd, sn->tmp,
                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (sn->tmp_fd < 0) {
        return nlt_err_set_errno(sn->err, NLT_EIO, -sn->tmp_fd, "open %s",
                                 sn->tmp);
    }
    return flock(sn->tmp_fd, LOCK_EX | LOCK_NB) < 0
               ? nlt_err_set_errno(sn->err, NLT_EIO, errno, "lock %s", sn->tmp)
               : NLT_OK;
}

static void
give_up(snapshot_t *sn)
{
    nlt_err_t ignored;

    if (sn->tmp_fd >= 0) {
        (void) sn->env->io->close(sn->env->io->ctx, sn->tmp_fd);
        sn->tmp_fd = -1;
    }
    (void) !nlt_io_remove_tree(sn->env->io, sn->dir_fd, sn->tmp, &ignored);
}

static nlt_rc_t
finish(snapshot_t *sn, const char *name)
{
    const nlt_io_t *io = sn->env->io;
    nlt_rc_t rc = nlt_io_sync_dir(io, sn->tmp_fd, sn->err);
    int sys;

    if (rc != NLT_OK) {
        return rc;
    }
    sys = io->rename(io->ctx, sn->dir_fd, sn->tmp, name);
    if (sys < 0) {
        return nlt_err_set_errno(sn->err, NLT_EIO, -sys, "rename %s", sn->tmp);
    }
    rc = nlt_io_sync_dir(io, sn->dir_fd, sn->err);
    if (rc != NLT_OK) {
        /* Whoever asked is told that there is none. */
        (void) io->rename(io->ctx, sn->dir_fd, name, sn->tmp);
    }
    return rc;
}

static nlt_rc_t
make(snapshot_t *sn, const char *name)
{
    nlt_rc_t rc = NLT_ENOENT;

    for (int i = 0; rc == NLT_ENOENT && i < TRIES_MAX; i++) {
        rc = begin(sn);
        if (rc == NLT_OK) {
            rc = add_blocks(sn);
        }
        if (rc == NLT_OK) {
            rc = finish(sn, name);
        }
        if (rc == NLT_OK) {
            (void) sn->env->io->close(sn->env->io->ctx, sn->tmp_fd);
            return NLT_OK;
        }
        give_up(sn);
        if (rc == NLT_ENOENT) {
            nlt_rc_t waited = wait_a_moment(sn);

            rc = waited == NLT_OK ? rc : waited;
        }
    }
    return rc;
}

static bool
make_name(const nlt_env_t *env, char name[NLT_SNAPSHOT_NAME_SIZE])
{
    char now[40];
    uint64_t r;
    size_t k = 0, n = nlt_time_print_rfc3339(now, nlt_now_ms(env));

    if (n != sizeof("2006-01-02T15:04:05Z") - 1
        || !nlt_random_bytes(&r, sizeof(r))) {
        return false; /* a clock beyond the year 9999 */
    }
    for (size_t i = 0; i < n; i++) {
        if (now[i] != '-' && now[i] != ':') {
            name[k++] = now[i];
        }
    }
    (void) snprintf(name + k, NLT_SNAPSHOT_NAME_SIZE - k, "-%016llx",
                    (unsigned long long) (r >> 1));
    return true;
}

static void
count_snapshot(nlt_store_t *s)
{
    nlt_head_t *head = nlt_store_hold(s);

    if (head != NULL) {
        atomic_fetch_add(&nlt_head_ctl(head)->counters.snapshots, 1);
        nlt_store_let_go(s);
    }
}

static int64_t
end_of(const nlt_store_t *s, int64_t timeout_ms)
{
    return nlt_mono_ns(s->env)
           + nlt_min_i64(timeout_ms, INT64_C(1) << 32) * 1000000;
}

nlt_rc_t
nlt_snapshot_flush(nlt_store_t *s, const int *cancel, int64_t timeout_ms,
                   nlt_err_t *err)
{
    snapshot_t sn = {
        .s = s,
        .env = s->env,
        .cancel = cancel,
        .end_ns = end_of(s, timeout_ms),
        .tmp_fd = -1,
        .err = err,
    };

    return wait_for_head(&sn);
}

nlt_rc_t
nlt_snapshot_create(nlt_store_t *s, const nlt_snapshot_conf_t *conf,
                    char name[NLT_SNAPSHOT_NAME_SIZE], nlt_err_t *err)
{
    snapshot_t sn = {
        .s = s,
        .env = s->env,
        .tenant = conf->tenant,
        .term = conf->term,
        .as_is = conf->as_is,
        .cancel = conf->cancel,
        .end_ns = end_of(s, conf->timeout_ms),
        .tmp_fd = -1,
        .err = err,
    };
    nlt_rc_t rc = NLT_OK;

    if (sn.tenant == NLT_TENANT_UNKNOWN) {
        return not_ready(&sn);
    }
    if (!make_name(s->env, name)) {
        return nlt_err_set(err, NLT_EIO, "no name for the snapshot");
    }
    (void) snprintf(sn.tmp, sizeof(sn.tmp), "%s" NLT_SUFFIX_TMP, name);
    if (!conf->skip_head) {
        rc = wait_for_head(&sn);
    }
    if (rc == NLT_OK) {
        rc =
            nlt_store_dir_again(s->env, s->dir.dir_fd, NLT_DIR_SNAPSHOTS, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    sn.dir_fd = s->env->io->open(s->env->io->ctx, s->dir.dir_fd,
                                 NLT_DIR_SNAPSHOTS, O_RDONLY | O_DIRECTORY, 0);
    if (sn.dir_fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -sn.dir_fd,
                                 "open " NLT_DIR_SNAPSHOTS);
    }
    rc = make(&sn, name);
    (void) s->env->io->close(s->env->io->ctx, sn.dir_fd);
    if (rc == NLT_OK) {
        count_snapshot(s);
    }
    return rc == NLT_ENOENT ? NLT_EIO : rc;
}

/* ---- leftovers ---- */

#define CLEAN_MAX 64 /* names at once; the rest at the next start */

typedef struct {
    char name[CLEAN_MAX][64];
    size_t n;
} tmp_names_t;

static bool
tmp_names_cb(void *ctx, const char *name)
{
    tmp_names_t *l = ctx;
    size_t len = strlen(name), suffix = sizeof(NLT_SUFFIX_TMP) - 1;

    if (len > suffix && len < sizeof(l->name[0])
        && strcmp(name + len - suffix, NLT_SUFFIX_TMP) == 0) {
        memcpy(l->name[l->n++], name, len + 1);
    }
    return l->n < CLEAN_MAX;
}

void
nlt_snapshot_clean(const nlt_env_t *env, int dir_fd, size_t *n)
{
    const nlt_io_t *io = env->io;
    tmp_names_t l = {.n = 0};
    int fd = io->open(io->ctx, dir_fd, NLT_DIR_SNAPSHOTS,
                      O_RDONLY | O_DIRECTORY, 0);

    *n = 0;
    if (fd < 0) {
        return;
    }
    (void) io->list(io->ctx, fd, tmp_names_cb, &l);
    for (size_t i = 0; i < l.n; i++) {
        nlt_err_t ignored;
        int tmp = io->open(io->ctx, fd, l.name[i],
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

        if (tmp < 0) {
            continue;
        }
        *n += flock(tmp, LOCK_EX | LOCK_NB) == 0
              && nlt_io_remove_tree(io, fd, l.name[i], &ignored) == NLT_OK;
        (void) io->close(io->ctx, tmp);
    }
    (void) io->close(io->ctx, fd);
}

/*
 * nlt_import_adopt.c - takes one block in, and undoes it.
 */
#include "nlt_import_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "nlt_block.h"
#include "nlt_block_tenant.h"
#include "nlt_filenames.h"
#include "nlt_retention.h"

/* A list of all series is 4 bytes each, and index ids have 32 bits; more than
 * this many megabytes would be a block of 100 million series. */
#define CHECK_POOL_MAX   (512u << 20)
#define LINEAGE_POOL_MAX (4u << 20)
#define NAMES_POOL_MAX   (16u << 20)

/* ---- reasons that need no look into the samples ---- */

/* Appends to im->replaced.  NLT_ENOMEM. */
static nlt_rc_t
add_replaced(nlt_import_t *im, const nlt_ulid_t *u)
{
    const nlt_mem_t *mem = im->conf.env->mem;

    if (im->n_replaced == im->replaced_cap) {
        size_t cap = im->replaced_cap ? 2 * im->replaced_cap : 16;
        nlt_ulid_t *v = nlt_mem_zalloc(mem, cap * sizeof(*v));

        if (v == NULL) {
            return NLT_ENOMEM;
        }
        if (im->n_replaced) {
            memcpy(v, im->replaced, im->n_replaced * sizeof(*v));
        }
        nlt_mem_free(mem, im->replaced, im->replaced_cap * sizeof(*v));
        im->replaced = v;
        im->replaced_cap = cap;
    }
    im->replaced[im->n_replaced++] = *u;
    return NLT_OK;
}

/*
 * Which sources of e the served block with meta m has: counted in *n, each
 * once, by marking them in `have`.
 */
static void
mark_sources(const nlt_import_entry_t *e, const nlt_block_meta_t *m,
             bool *have, size_t *n)
{
    const nlt_ulid_t *v = e->meta.n_sources ? e->meta.sources : &e->ulid;
    size_t n_v = e->meta.n_sources ? e->meta.n_sources : 1;

    for (size_t i = 0; i < n_v; i++) {
        if (!have[i]
            && (memcmp(v[i].c, m->ulid.c, NLT_ULID_LEN) == 0
                || nlt_import_in_list(m->sources, m->n_sources, &v[i]))) {
            have[i] = true;
            *n += 1;
        }
    }
}

/*
 * Compares e with the imported blocks that are served and overlap it.  *why
 * gets the reason to refuse it, in `text`; im->replaced those it replaces.
 */
static nlt_rc_t
check_lineage(nlt_import_t *im, const nlt_import_entry_t *e,
              const nlt_manifest_t *m, char *text, size_t size, nlt_err_t *err)
{
    nlt_pool_t pool;
    size_t n_have = 0, n = e->meta.n_sources ? e->meta.n_sources : 1;
    bool *have;
    nlt_rc_t rc = NLT_OK;

    im->n_replaced = 0;
    nlt_pool_init(&pool, im->conf.env->mem, LINEAGE_POOL_MAX);
    have = nlt_pool_zalloc(&pool, n * sizeof(*have));
    if (have == NULL) {
        rc = NLT_ENOMEM;
    }
    for (size_t i = 0; rc == NLT_OK && i < m->n_blocks && !text[0]; i++) {
        const nlt_manifest_block_t *b = &m->blocks[i];
        nlt_pool_mark_t mark = nlt_pool_mark(&pool);
        nlt_block_meta_t meta;
        nlt_err_t ignored;

        if (b->arena != 0 || b->t_end_ms <= e->meta.t_min_ms
            || b->t_min_ms >= e->meta.t_end_ms
            || nlt_import_read_meta(im, im->conf.blocks_fd, b->ulid.c, &pool,
                                    &meta, &ignored)
                   != NLT_OK) {
            continue;
        }
        if (nlt_import_is_child(&meta, &e->meta)) {
            (void) snprintf(text, size,
                            "its samples are in block %s, which "
                            "was made of it",
                            b->ulid.c);
        } else if (nlt_import_is_child(&e->meta, &meta)) {
            mark_sources(e, &meta, have, &n_have);
            if (b->t_min_ms >= e->meta.t_min_ms
                && b->t_end_ms <= e->meta.t_end_ms) {
                rc = add_replaced(im, &b->ulid);
            }
        }
        nlt_pool_rewind(&pool, mark);
    }
    if (rc == NLT_OK && !text[0] && n_have == n) {
        (void) snprintf(text, size,
                        "all that it was made of is served "
                        "already (block %s, ...)",
                        im->n_replaced ? im->replaced[0].c : "");
    }
    nlt_pool_deinit(&pool);
    return rc == NLT_OK ? rc : nlt_err_set(err, rc, "import: no memory");
}

/* Why e must be refused, before anything of it is read, into text. */
static nlt_rc_t
check_outside(nlt_import_t *im, const nlt_import_entry_t *e,
              const nlt_import_look_t *look, char *text, size_t size,
              nlt_err_t *err)
{
    const nlt_io_t *io = im->conf.env->io;
    const nlt_manifest_t *m = look->manifest;
    nlt_io_stat_t st;
    int sys;

    text[0] = '\0';
    if (nlt_manifest_find(m, e->ulid.c) < m->n_blocks) {
        (void) snprintf(text, size, "a block of this name is served already");
        return NLT_OK;
    }
    sys = io->stat(io->ctx, im->conf.blocks_fd, e->ulid.c, &st);
    if (sys >= 0) {
        (void) snprintf(text, size,
                        NLT_DIR_BLOCKS "/ has a directory of this "
                                       "name that is not served");
        return NLT_OK;
    }
    if (sys != -ENOENT) {
        return nlt_err_set_errno(err, NLT_EIO, -sys,
                                 "look at " NLT_DIR_BLOCKS "/%s", e->ulid.c);
    }
    if (e->meta.t_end_ms <= look->t_oldest_ms) {
        (void) snprintf(text, size, "it ends before the retention begins");
        return NLT_OK;
    }
    return check_lineage(im, e, m, text, size, err);
}

/* ---- staging ---- */

static nlt_rc_t
bad_dir(int sys, const char *what, const char *name, nlt_err_t *err)
{
    return nlt_err_set_errno(
        err, sys == -ENOSPC || sys == -EDQUOT ? NLT_EFULL : NLT_EIO, -sys,
        "%s %s", what, name);
}

/* Makes and opens blocks/<ULID>.tmp-for-creation. */
static nlt_rc_t
open_stage(const nlt_import_t *im, const char *stage, int *fd, nlt_err_t *err)
{
    const nlt_io_t *io = im->conf.env->io;
    int sys;
    nlt_rc_t rc = nlt_io_remove_tree(io, im->conf.blocks_fd, stage, err);

    if (rc != NLT_OK) {
        return rc;
    }
    sys = io->mkdir(io->ctx, im->conf.blocks_fd, stage, 0700);
    if (sys < 0) {
        return bad_dir(sys, "mkdir", stage, err);
    }
    *fd = io->open(io->ctx, im->conf.blocks_fd, stage,
                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    return *fd < 0 ? bad_dir(*fd, "open", stage, err) : NLT_OK;
}

/* What a check of the samples may find; `text` is the reason to refuse. */
static void
check_facts(const nlt_import_t *im, const nlt_block_facts_t *f, char *text,
            size_t size)
{
    if (f->n_series == 0) {
        (void) snprintf(text, size, "it has no samples");
    } else if (f->t_max_ms > nlt_now_ms(im->conf.env) + NLT_IMPORT_AHEAD_MS) {
        (void) snprintf(text, size, "it has samples of the future");
    }
}

/* Checks the copy.  Its own faults are NLT_EDATA or NLT_EVERSION. */
static nlt_rc_t
check_copy(const nlt_import_t *im, const char *ulid, int stage_fd,
           const nlt_import_look_t *look, nlt_manifest_block_t *out,
           nlt_err_t *err)
{
    const nlt_env_t *env = im->conf.env;
    char text[200] = "";
    nlt_block_facts_t facts;
    nlt_block_t *b;
    nlt_pool_t pool;
    nlt_rc_t rc = nlt_block_open(env, stage_fd, ulid, &b, err);

    if (rc != NLT_OK) {
        return rc == NLT_ENOENT ? NLT_EDATA : rc;
    }
    nlt_pool_init(&pool, env->mem, CHECK_POOL_MAX);
    rc = nlt_block_check(b, &pool, look->poll, look->poll_ctx, &facts, err);
    if (rc == NLT_OK && nlt_block_has_private(b)) {
        rc = nlt_err_set(err, NLT_EDATA,
                         "it has a label name that begins "
                         "with NUL");
    }
    nlt_pool_deinit(&pool);
    if (rc == NLT_OK) {
        check_facts(im, &facts, text, sizeof(text));
        *out = (nlt_manifest_block_t){
            .ulid = nlt_block_meta(b)->ulid,
            .t_min_ms = facts.t_min_ms,
            .t_end_ms = facts.t_max_ms + 1,
            .level = nlt_block_meta(b)->level ? nlt_block_meta(b)->level : 1,
            .n_samples = facts.n_floats + facts.n_histograms,
            .n_histograms = facts.n_histograms,
            .n_series = facts.n_series,
            .bytes = nlt_block_dir_bytes(env, stage_fd, ulid),
            .dense = nlt_block_meta(b)->dense,
        };
    }
    nlt_block_close(b);
    return text[0] ? nlt_err_set(err, NLT_EDATA, "%s", text) : rc;
}

/*
 * The copy is good: import/<ULID> becomes .adopting, the copy a directory of
 * blocks/.
 */
static nlt_rc_t
move_in(const nlt_import_t *im, const char *ulid, int dir_fd,
        const char *stage, int stage_fd, nlt_err_t *err)
{
    const nlt_io_t *io = im->conf.env->io;
    char adopting[NLT_IMPORT_NAME_SIZE], from[2 * NLT_IMPORT_NAME_SIZE];
    nlt_rc_t rc;
    int sys;

    nlt_import_name(adopting, ulid, NLT_IMPORT_SUFFIX_ADOPTING);
    (void) snprintf(from, sizeof(from), "%s/%s", stage, ulid);
    sys = io->rename(io->ctx, dir_fd, ulid, adopting);
    if (sys < 0) {
        return bad_dir(sys, "rename " NLT_DIR_IMPORT "/", ulid, err);
    }
    rc = nlt_io_sync_dir(io, dir_fd, err);
    if (rc == NLT_OK) {
        sys = io->rename(io->ctx, im->conf.blocks_fd, from, ulid);
        rc = sys < 0 ? bad_dir(sys, "rename " NLT_DIR_BLOCKS "/", from, err)
                     : nlt_io_sync_dir(io, im->conf.blocks_fd, err);
    }
    /* It moved from one directory to another: both have to say so. */
    return rc == NLT_OK ? nlt_io_sync_dir(io, stage_fd, err) : rc;
}

/* Faults of the block itself, not of our disk or memory. */
static bool
is_its_fault(nlt_rc_t rc)
{
    return rc == NLT_EDATA || rc == NLT_EVERSION || rc == NLT_ENOENT;
}

static nlt_rc_t
take_in(nlt_import_t *im, nlt_import_entry_t *e, int dir_fd,
        const nlt_import_look_t *look, nlt_import_result_t *out,
        nlt_err_t *err)
{
    const nlt_env_t *env = im->conf.env;
    nlt_block_clone_conf_t clone = {
        .durable = true,
        .room_bytes = im->conf.min_free_bytes,
        .poll = look->poll,
        .poll_ctx = look->poll_ctx,
    };
    char stage[NLT_IMPORT_NAME_SIZE];
    nlt_err_t ignored;
    int stage_fd = -1;
    nlt_rc_t rc;

    nlt_import_name(stage, e->ulid.c, NLT_SUFFIX_BLOCK_TMP);
    rc = open_stage(im, stage, &stage_fd, err);
    if (rc == NLT_OK) {
        rc = nlt_block_clone(env, dir_fd, e->ulid.c, stage_fd, e->ulid.c,
                             &clone, &out->copied, err);
    }
    if (rc == NLT_OK) {
        rc = check_copy(im, e->ulid.c, stage_fd, look, &out->block, err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_dir_mark(env, stage_fd, e->ulid.c, im->conf.store_id,
                                err);
    }
    if (rc == NLT_OK) {
        rc = move_in(im, e->ulid.c, dir_fd, stage, stage_fd, err);
        out->undo = rc != NLT_OK;
    }
    if (stage_fd >= 0) {
        (void) env->io->close(env->io->ctx, stage_fd);
    }
    /* Empty by now if all went well. */
    out->undo |=
        nlt_io_remove_tree(env->io, im->conf.blocks_fd, stage, &ignored)
        != NLT_OK;
    return rc;
}

nlt_rc_t
nlt_import_adopt(nlt_import_t *im, nlt_import_entry_t *e, int dir_fd,
                 const nlt_import_look_t *look, nlt_import_result_t *out,
                 nlt_err_t *err)
{
    nlt_block_look_t again;
    nlt_err_t ignored;
    char text[200];
    nlt_rc_t rc = check_outside(im, e, look, text, sizeof(text), err);

    if (rc != NLT_OK) {
        return rc;
    }
    if (text[0]) {
        nlt_import_refuse(im, e, dir_fd, text);
        return NLT_OK;
    }
    rc = take_in(im, e, dir_fd, look, out, err);
    if (rc == NLT_OK) {
        out->found = true;
        out->replaced = im->replaced;
        out->n_replaced = im->n_replaced;
        return NLT_OK;
    }
    if (is_its_fault(rc)) {
        nlt_import_fail(im, e, err->text);
        rc = NLT_OK;
    }
    /* Links to its files have come and gone: that is not a change of it. */
    if (nlt_block_look(im->conf.env, dir_fd, e->ulid.c, &again, &ignored)
            == NLT_OK
        && again.content == e->look.content) {
        e->look = again;
    }
    return rc;
}

/* ---- afterwards ---- */

nlt_rc_t
nlt_import_done(nlt_import_t *im, const char *ulid, nlt_err_t *err)
{
    const nlt_io_t *io = im->conf.env->io;
    char from[NLT_IMPORT_NAME_SIZE], to[NLT_IMPORT_NAME_SIZE];
    int sys, fd = nlt_import_open_dir(im);
    nlt_err_t why;
    nlt_rc_t rc = NLT_OK;

    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "open " NLT_DIR_IMPORT);
    }
    nlt_import_name(from, ulid, NLT_IMPORT_SUFFIX_ADOPTING);
    nlt_import_name(to, ulid, NLT_IMPORT_SUFFIX_ADOPTED);
    if (nlt_io_remove_tree(io, fd, from, &why) != NLT_OK) {
        sys = io->rename(io->ctx, fd, from, to);
        if (sys < 0) {
            rc = nlt_err_set_errno(err, NLT_EIO, -sys,
                                   "rename " NLT_DIR_IMPORT "/%s", from);
        } else {
            nlt_log_todo(
                im->conf.env, NLT_LOG_WARN, "remove it by hand",
                NLT_DIR_IMPORT
                "/%s is not needed any more, but cannot be removed: %s",
                to, why.text);
        }
    }
    nlt_import_name(from, ulid, NLT_IMPORT_SUFFIX_REFUSED);
    (void) io->unlink(io->ctx, fd, from);
    if (rc == NLT_OK) {
        rc = nlt_io_sync_dir(io, fd, err);
    }
    (void) io->close(io->ctx, fd);
    return rc;
}

/* Not in the MANIFEST: the copy goes, the original is one again. */
static nlt_rc_t
undo(nlt_import_t *im, const char *ulid, int dir_fd, nlt_err_t *err)
{
    const nlt_env_t *env = im->conf.env;
    char from[NLT_IMPORT_NAME_SIZE];
    nlt_rc_t rc = nlt_block_dir_remove(env, im->conf.blocks_fd, ulid, err);
    int sys;

    if (rc == NLT_OK) {
        rc = nlt_io_sync_dir(env->io, im->conf.blocks_fd, err);
    }
    if (rc != NLT_OK) {
        return rc;
    }
    nlt_import_name(from, ulid, NLT_IMPORT_SUFFIX_ADOPTING);
    sys = env->io->rename(env->io->ctx, dir_fd, from, ulid);
    if (sys == -EEXIST || sys == -ENOTEMPTY || sys == -ENOTDIR) {
        /* Somebody has put another copy there meanwhile. */
        return nlt_io_remove_tree(env->io, dir_fd, from, err);
    }
    return sys < 0 ? nlt_err_set_errno(err, NLT_EIO, -sys,
                                       "rename " NLT_DIR_IMPORT "/%s", from)
                   : nlt_io_sync_dir(env->io, dir_fd, err);
}

typedef struct {
    nlt_ulid_t ulid;
    bool adopted; /* nothing to decide: it only could not be removed */
} marked_t;

typedef struct {
    nlt_pool_t pool;
    marked_t *v;
    size_t n;
    size_t cap;
    bool failed;
} marked_list_t;

static bool
marked_cb(void *ctx, const char *name)
{
    marked_list_t *l = ctx;
    const char *suffix = name + NLT_ULID_LEN;

    if (strlen(name) < NLT_ULID_LEN
        || !nlt_ulid_valid((nlt_str_t){NLT_ULID_LEN, name})
        || (strcmp(suffix, NLT_IMPORT_SUFFIX_ADOPTING) != 0
            && strcmp(suffix, NLT_IMPORT_SUFFIX_ADOPTED) != 0)) {
        return true;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        void *p = nlt_pool_grow(&l->pool, l->v, l->cap * sizeof(*l->v),
                                cap * sizeof(*l->v));

        l->failed = p == NULL;
        if (p == NULL) {
            return false;
        }
        l->v = p;
        l->cap = cap;
    }
    memcpy(l->v[l->n].ulid.c, name, NLT_ULID_LEN);
    l->v[l->n].ulid.c[NLT_ULID_LEN] = '\0';
    l->v[l->n++].adopted = strcmp(suffix, NLT_IMPORT_SUFFIX_ADOPTED) == 0;
    return true;
}

static void
recover_one(nlt_import_t *im, const nlt_manifest_t *m, const marked_t *mark,
            int dir_fd)
{
    const nlt_env_t *env = im->conf.env;
    const char *ulid = mark->ulid.c;
    char name[NLT_IMPORT_NAME_SIZE];
    nlt_err_t why;
    nlt_rc_t rc;

    if (mark->adopted) {
        nlt_import_name(name, ulid, NLT_IMPORT_SUFFIX_ADOPTED);
        (void) !nlt_io_remove_tree(env->io, dir_fd, name, &why);
        return;
    }
    rc = nlt_manifest_find(m, ulid) < m->n_blocks
             ? nlt_import_done(im, ulid, &why)
             : undo(im, ulid, dir_fd, &why);
    if (rc != NLT_OK) {
        nlt_log_todo(env, NLT_LOG_ERROR, nlt_rc_todo(why.rc),
                     NLT_DIR_IMPORT "/%s: %s", ulid, why.text);
    }
}

nlt_rc_t
nlt_import_recover(nlt_import_t *im, const nlt_manifest_t *m, nlt_err_t *err)
{
    const nlt_env_t *env = im->conf.env;
    marked_list_t l = {.n = 0};
    int fd = nlt_import_open_dir(im);

    im->scan_ns = 0;
    if (fd < 0) {
        return NLT_OK;
    }
    nlt_pool_init(&l.pool, env->mem, NAMES_POOL_MAX);
    (void) env->io->list(env->io->ctx, fd, marked_cb, &l);
    for (size_t i = 0; i < l.n; i++) {
        recover_one(im, m, &l.v[i], fd);
    }
    nlt_pool_deinit(&l.pool);
    (void) env->io->close(env->io->ctx, fd);
    return l.failed ? nlt_err_set(err, NLT_ENOMEM, "import: no memory")
                    : NLT_OK;
}

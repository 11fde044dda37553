/*
 * nlt_helper_suspect.c - blocks that are damaged go to quarantine/.
 *
 * A process that met damage posts the name of the block (nlt_suspects.h); here
 * it is looked at as a whole, and the verdict is
 *
 *     sound       an error that passed: everybody opens it again
 *     damaged     1  MANIFEST without it, with a `damaged` line
 *                 2  blocks/<ULID> renamed to quarantine/<ULID>
 *     newer       of a format that this version does not know: it stays
 *     unreadable  not there, or no memory to look: it stays, and is looked at
 *                 again after a while
 *
 * Only what is read and is wrong is moved: a directory that is not there may
 * be a file system that is not mounted, and comes back.
 *
 * A crash between 1 and 2 leaves a directory in blocks/ that is named by a
 * `damaged` line: it is moved at the next start, and never taken for rubbish.
 * The line stays, and with it the warning of queries, as long as quarantine/
 * has the directory: an operator who removes it has seen it.
 */
#include "nlt_helper_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "nlt_suspects.h"
#include "nlt_time.h"

/* A block is not looked at more often. */
#define VERDICT_MS 30000
#define TEND_MS    5000

/* Postings of one label and samples of one chunk. */
#define CHECK_BYTES (UINT64_C(1) << 30)

/* Names that a block gets when one of it is in quarantine/ already. */
#define COPIES_MAX 100

/* ---- verdicts ---- */

static nlt_helper_verdict_t *
find_verdict(const nlt_helper_t *h, const char *ulid)
{
    for (size_t i = 0; h->verdicts != NULL && i < NLT_HELPER_VERDICTS; i++) {
        if (strcmp(h->verdicts[i].ulid.c, ulid) == 0) {
            return &h->verdicts[i];
        }
    }
    return NULL;
}

/* Remembers rc; true when it is news.  The oldest verdict is forgotten. */
static bool
note_verdict(nlt_helper_t *h, const nlt_ulid_t *ulid, nlt_rc_t rc)
{
    nlt_helper_verdict_t *v = find_verdict(h, ulid->c);
    bool news = v == NULL || v->rc != rc;

    if (h->verdicts == NULL) {
        h->verdicts = nlt_mem_zalloc(h->env->mem, NLT_HELPER_VERDICTS
                                                      * sizeof(*h->verdicts));
    }
    if (v == NULL && h->verdicts != NULL) {
        v = &h->verdicts[h->n_verdicts++ % NLT_HELPER_VERDICTS];
    }
    if (v != NULL) {
        *v = (nlt_helper_verdict_t){*ulid, rc, nlt_mono_ns(h->env)};
    }
    return news;
}

/*
 * The whole block: NLT_OK, NLT_EDATA, NLT_EVERSION, or why not looked at.  It
 * may take minutes; w->rc is NLT_OK unless something else ended it.
 */
static nlt_rc_t
check_block(nlt_helper_t *h, const char *ulid, nlt_helper_watch_t *w,
            nlt_err_t *why)
{
    nlt_block_t *b;
    nlt_pool_t pool;
    nlt_rc_t rc = nlt_block_open(h->env, h->dir.blocks_fd, ulid, &b, why);

    if (rc != NLT_OK) {
        return rc;
    }
    nlt_pool_init(&pool, h->env->mem, CHECK_BYTES);
    rc = nlt_block_check(b, &pool, nlt_helper_watch_cb, w, NULL, why);
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
    return rc;
}

/* ---- moving aside ---- */

static bool
dir_exists(nlt_helper_t *h, const char *dir, const char *ulid)
{
    char path[64];
    nlt_io_stat_t st;

    (void) snprintf(path, sizeof(path), "%s/%s", dir, ulid);
    /* What cannot be told is there. */
    return h->env->io->stat(h->env->io->ctx, h->dir.dir_fd, path, &st)
           != -ENOENT;
}

static nlt_rc_t
sync_quarantine(nlt_helper_t *h, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    int fd = io->open(io->ctx, h->dir.dir_fd, NLT_DIR_QUARANTINE,
                      O_RDONLY | O_DIRECTORY, 0);
    nlt_rc_t rc;

    if (fd < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -fd, "open quarantine/");
    }
    rc = nlt_io_sync_dir(io, fd, err);
    (void) io->close(io->ctx, fd);
    return rc == NLT_OK ? nlt_io_sync_dir(io, h->dir.blocks_fd, err) : rc;
}

/*
 * blocks/<ULID> becomes quarantine/<ULID>, or <ULID>.2 and so on when an
 * earlier one of that name lies there.
 */
static nlt_rc_t
move_aside(nlt_helper_t *h, const char *ulid, nlt_err_t *err)
{
    const nlt_io_t *io = h->env->io;
    char from[64], to[64];
    int sys = -EEXIST;
    nlt_rc_t rc =
        nlt_store_dir_again(h->env, h->dir.dir_fd, NLT_DIR_QUARANTINE, err);

    if (rc != NLT_OK) {
        return rc;
    }
    (void) snprintf(from, sizeof(from), NLT_DIR_BLOCKS "/%s", ulid);
    (void) snprintf(to, sizeof(to), NLT_DIR_QUARANTINE "/%s", ulid);
    for (int i = 2; i <= COPIES_MAX; i++) {
        sys = io->rename(io->ctx, h->dir.dir_fd, from, to);
        if (sys != -EEXIST && sys != -ENOTEMPTY) {
            break;
        }
        (void) snprintf(to, sizeof(to), NLT_DIR_QUARANTINE "/%s.%d", ulid, i);
    }
    if (sys < 0) {
        return nlt_err_set_errno(err, NLT_EIO, -sys, "rename %s to %s", from,
                                 to);
    }
    return sync_quarantine(h, err);
}

void
nlt_helper_finish_quarantine(nlt_helper_t *h)
{
    for (size_t i = 0; i < h->manifest.n_damaged; i++) {
        const char *ulid = h->manifest.damaged[i].ulid.c;
        nlt_err_t err;

        if (dir_exists(h, NLT_DIR_BLOCKS, ulid)
            && move_aside(h, ulid, &err) != NLT_OK) {
            nlt_helper_complain(h, "quarantine", &err);
        }
    }
}

/* ---- judgement ---- */

static void
log_quarantined(nlt_helper_t *h, const nlt_manifest_block_t *b,
                const nlt_err_t *why)
{
    char from[40], to[40];

    (void) nlt_time_print_rfc3339(from, b->t_min_ms);
    (void) nlt_time_print_rfc3339(to, b->t_end_ms);
    nlt_log_todo(
        h->env, NLT_LOG_CRIT,
        "copy a good one into " NLT_DIR_IMPORT
        "/, or remove it from " NLT_DIR_QUARANTINE "/ to accept the loss",
        "block %s is damaged: %s; its %llu samples from %s to %s are missing "
        "now, and it lies in " NLT_DIR_QUARANTINE "/",
        b->ulid.c, nlt_block_reason(b->ulid.c, why),
        (unsigned long long) b->n_samples, from, to);
}

static nlt_rc_t
quarantine(nlt_helper_t *h, const char *ulid, const nlt_err_t *why,
           nlt_err_t *err)
{
    size_t idx = nlt_manifest_find(&h->manifest, ulid);
    nlt_manifest_t next = {.mem = h->env->mem};
    nlt_manifest_block_t b;
    nlt_manifest_damaged_t d;
    nlt_rc_t rc;

    if (idx == h->manifest.n_blocks) {
        return NLT_OK; /* it expired while it was checked */
    }
    b = h->manifest.blocks[idx];
    d = (nlt_manifest_damaged_t){b.ulid, b.t_min_ms, b.t_end_ms};
    rc = nlt_manifest_copy(&next, &h->manifest);
    if (rc == NLT_OK) {
        nlt_manifest_remove_block(&next, idx);
        rc = nlt_manifest_add_damaged(&next, &d);
    }
    rc = rc == NLT_OK ? nlt_helper_commit(h, &next, err)
                      : nlt_err_set(err, rc, "block %s is damaged: %s", ulid,
                                    nlt_rc_text(rc));
    nlt_manifest_deinit(&next);
    if (rc != NLT_OK) {
        return rc;
    }
    atomic_fetch_add(&nlt_helper_ctl(h)->counters.blocks_quarantined, 1);
    log_quarantined(h, &b, why);
    return move_aside(h, ulid, err);
}

/* What is not damage is logged when it is news. */
static void
log_verdict(nlt_helper_t *h, const char *ulid, nlt_rc_t rc,
            const nlt_err_t *why)
{
    if (rc == NLT_OK) {
        nlt_log_todo(h->env, NLT_LOG_WARN,
                     "look for trouble of the memory or the disk",
                     "block %s was found damaged by a query, but is sound: it "
                     "is served again",
                     ulid);
    } else if (rc == NLT_EVERSION) {
        nlt_log_todo(h->env, NLT_LOG_ERROR,
                     "install the version that wrote it",
                     "a block of a newer format stays where it is, but is not "
                     "served: %s",
                     why->text);
    } else {
        nlt_log_todo(
            h->env, NLT_LOG_ERROR, nlt_rc_todo(why->rc),
            "a block is not served as long as it cannot be opened: %s",
            why->text);
    }
}

/*
 * The next block to look at.  Posts of blocks that are gone, or were looked at
 * a moment ago, are taken away: those who miss them post again and again.
 */
static bool
next_suspect(nlt_helper_t *h, nlt_ulid_t *out)
{
    nlt_head_ctl_t *ctl = nlt_helper_ctl(h);

    for (size_t i = 0; i < NLT_HEAD_SUSPECTS; i++) {
        const nlt_helper_verdict_t *last;

        if (!nlt_suspects_first(ctl, out)) {
            return false;
        }
        last = find_verdict(h, out->c);
        if (nlt_manifest_find(&h->manifest, out->c) < h->manifest.n_blocks
            && (last == NULL || nlt_helper_older(h, last->ns, VERDICT_MS))) {
            return true;
        }
        nlt_suspects_clear(ctl, out->c);
    }
    return false;
}

nlt_rc_t
nlt_helper_judge(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_head_ctl_t *ctl = nlt_helper_ctl(h);
    nlt_ulid_t ulid;
    nlt_helper_watch_t w = {.h = h, .since_ns = nlt_mono_ns(h->env)};
    nlt_err_t why = {.text = ""};
    nlt_rc_t rc, verdict;

    if (!next_suspect(h, &ulid)) {
        return NLT_OK;
    }
    verdict = check_block(h, ulid.c, &w, &why);
    if (w.rc != NLT_OK) {
        return nlt_err_set(err, w.rc, "%s", w.err.text);
    }
    if (note_verdict(h, &ulid, verdict) && verdict != NLT_EDATA) {
        log_verdict(h, ulid.c, verdict, &why);
    }
    rc = verdict == NLT_EDATA ? quarantine(h, ulid.c, &why, err) : NLT_OK;
    if (verdict == NLT_OK) {
        atomic_fetch_add(&ctl->manifest_gen, 1);
    }
    nlt_suspects_clear(ctl, ulid.c);
    return rc;
}

/* ---- what operators do in quarantine/ ---- */

nlt_rc_t
nlt_helper_tend_quarantine(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_manifest_t next = {.mem = h->env->mem};
    size_t before = h->manifest.n_damaged;
    nlt_rc_t rc = NLT_OK;

    if (before == 0 || !nlt_helper_older(h, h->tended_ns, TEND_MS)) {
        return NLT_OK;
    }
    h->tended_ns = nlt_mono_ns(h->env);
    nlt_helper_finish_quarantine(h);
    if (nlt_manifest_copy(&next, &h->manifest) != NLT_OK) {
        return nlt_err_set(err, NLT_ENOMEM, "quarantine: no memory");
    }
    for (size_t i = next.n_damaged; i-- > 0;) {
        const char *ulid = next.damaged[i].ulid.c;

        if (!dir_exists(h, NLT_DIR_QUARANTINE, ulid)
            && !dir_exists(h, NLT_DIR_BLOCKS, ulid)) {
            nlt_manifest_remove_damaged(&next, i);
        }
    }
    if (next.n_damaged < before) {
        size_t n = before - next.n_damaged;

        rc = nlt_helper_commit(h, &next, err);
        if (rc == NLT_OK) {
            nlt_log(h->env, NLT_LOG_NOTICE,
                    "%zu damaged blocks were removed from " NLT_DIR_QUARANTINE
                    "/: queries do not miss them any more",
                    n);
        }
    }
    nlt_manifest_deinit(&next);
    return rc;
}

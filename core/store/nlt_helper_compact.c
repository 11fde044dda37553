/*
 * nlt_helper_compact.c - merges blocks while there is nothing better to do.
 *
 *   1  plan                                    nlt_compact_plan.h
 *   2  write the result                        nlt_compact.h
 *      (crash: the MANIFEST does not name it, start removes it)
 *   3  MANIFEST {- sources, + result}
 *   4  remove the directories of the sources
 *      (crash: start removes what the MANIFEST does not name)
 *
 * A merge can take minutes, and nothing waits for it: it asks merge_poll_cb()
 * every few hundred chunks, which syncs and rotates, flushes arenas that were
 * sealed meanwhile and removes what expires, each with a commit of its own.
 * None of that touches the sources: blocks that are added have later arenas
 * than all of them, and if a source has to go, the merge is given up.  So a
 * merge of any length comes to its end however fast samples arrive.
 *
 * A block of the other format (block_format=) is rewritten alone when there is
 * nothing to merge, and for at most half of the time.
 *
 * When there are so many blocks that opening them becomes a burden, merging
 * goes before flushing and importing (NLT_HELPER_BLOCKS_MANY).  Writers then
 * see what they see when memory= is used up for any reason.
 */
#include "nlt_helper_priv.h"

#include "nlt_compact.h"
#include "nlt_compact_plan.h"
#include "nlt_deletes.h"
#include "nlt_suspects.h"

/* A plan that found nothing is not made again sooner, or after a failure. */
#define PLAN_MS     1000
#define FAILED_MS   60000
#define GIVEN_UP_MS 10000

/* A merge may keep a flush waiting so long, if there are many blocks. */
#define FLUSH_WAITS_MS 10000

/* A block that made a merge fail is left alone so long, or longer. */
#define AVOID_MS        60000
#define AVOID_LONG_MS   3600000
#define PLAN_POOL_BYTES (64u << 20)

/* One block of a store that is limited has at most this share of it. */
#define SIZE_SHARE 10

/* ---- blocks to leave alone ---- */

static void
avoid(nlt_helper_t *h, const nlt_manifest_block_t *b, int64_t ms)
{
    nlt_helper_avoid_t *a = &h->avoid[h->n_avoid++ % NLT_HELPER_AVOID];

    *a = (nlt_helper_avoid_t){b->ulid, nlt_mono_ns(h->env) + ms * 1000000};
}

/* In the pool; NULL: none, or no memory to say so. */
static const bool *
to_skip(const nlt_helper_t *h, nlt_pool_t *pool)
{
    int64_t now = nlt_mono_ns(h->env);
    bool *skip = NULL;

    for (size_t i = 0; i < NLT_HELPER_AVOID; i++) {
        const nlt_helper_avoid_t *a = &h->avoid[i];
        size_t at;

        if (a->until_ns <= now) {
            continue;
        }
        at = nlt_manifest_find(&h->manifest, a->ulid.c);
        if (at == h->manifest.n_blocks) {
            continue;
        }
        if (skip == NULL) {
            skip = nlt_pool_zalloc(pool, h->manifest.n_blocks);
        }
        if (skip != NULL) {
            skip[at] = true;
        }
    }
    return skip;
}

static void
pause(nlt_helper_t *h, int64_t ms)
{
    h->compact_after_ns = nlt_mono_ns(h->env) + ms * 1000000;
}

/* ---- in between ---- */

static nlt_rc_t
watch(nlt_helper_t *h, int64_t began_ns, nlt_err_t *err)
{
    nlt_head_arena_slot_t *sealed;
    bool more = false;
    nlt_rc_t rc = NLT_OK;

    if (!nlt_helper_head_is_well(h)) {
        return NLT_ECANCELED;
    }
    sealed = nlt_helper_oldest(h, NLT_ARENA_SEALED);
    if (h->manifest.n_blocks >= NLT_HELPER_BLOCKS_MANY
        && !nlt_helper_older(h, began_ns, FLUSH_WAITS_MS)) {
        sealed = NULL;
    }
    if (sealed != NULL || nlt_helper_retention_is_due(h)) {
        rc = nlt_helper_retain(h, &more, err);
    }
    if (rc == NLT_OK && sealed != NULL && !more) {
        rc = nlt_helper_flush(h, atomic_load(&sealed->no), err);
    }
    if (rc == NLT_OK && h->stage != NLT_HELPER_RUN) {
        rc = NLT_ECANCELED;
    }
    return rc;
}

nlt_rc_t
nlt_helper_watch_cb(void *ctx)
{
    nlt_helper_watch_t *w = ctx;

    if (w->began_ns == 0) {
        w->began_ns = nlt_mono_ns(w->h->env);
    }
    w->rc = nlt_helper_poll_cb(w->h);
    if (w->rc == NLT_OK
        && nlt_helper_older(w->h, w->since_ns, NLT_HELPER_WATCH_MS)) {
        w->since_ns = nlt_mono_ns(w->h->env);
        w->rc = watch(w->h, w->began_ns, &w->err);
    }
    return w->rc;
}

/* ---- one merge ---- */

static void
say_starved(nlt_helper_t *h, bool starved)
{
    if (starved && !h->starved) {
        nlt_log_todo(h->env, NLT_LOG_WARN,
                     "make room, or lower retention= or retention_size=",
                     "blocks are not merged: there is not enough room on the "
                     "disk for a copy of them");
    }
    h->starved = starved;
}

/* Opens the blocks of a plan; *bad is the one that could not be. */
static nlt_rc_t
open_sources(nlt_helper_t *h, const nlt_compact_plan_t *p,
             nlt_compact_source_t *src, nlt_block_t **blocks, size_t *bad,
             nlt_err_t *err)
{
    for (size_t i = 0; i < p->n; i++) {
        nlt_rc_t rc;

        src[i].info = h->manifest.blocks[p->idx[i]];
        rc = nlt_block_open(h->env, h->dir.blocks_fd, src[i].info.ulid.c,
                            &blocks[i], err);
        if (rc != NLT_OK) {
            blocks[i] = NULL;
            *bad = i;
            return rc;
        }
        src[i].block = blocks[i];
    }
    return NLT_OK;
}

/* Steps 3 and 4.  A result of no samples is none. */
static nlt_rc_t
commit(nlt_helper_t *h, const nlt_compact_source_t *src, size_t n,
       const nlt_manifest_block_t *result, nlt_err_t *err)
{
    nlt_manifest_t next = {.mem = h->env->mem};
    nlt_rc_t rc = nlt_manifest_copy(&next, &h->manifest);

    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        size_t at = nlt_manifest_find(&next, src[i].info.ulid.c);

        /* Nothing takes a source away while the merge runs. */
        rc = at < next.n_blocks ? NLT_OK : NLT_EBUG;
        if (rc == NLT_OK) {
            nlt_manifest_remove_block(&next, at);
        }
    }
    if (rc == NLT_OK && result->n_samples > 0) {
        rc = nlt_manifest_add_block(&next, result);
    }
    if (rc != NLT_OK) {
        nlt_err_t why;

        (void) nlt_err_set(err, rc, "compaction: %s", nlt_rc_text(rc));
        if (result->n_samples > 0) {
            (void) !nlt_block_dir_remove(h->env, h->dir.blocks_fd,
                                         result->ulid.c, &why);
        }
        nlt_manifest_deinit(&next);
        return rc;
    }
    rc = nlt_helper_commit(h, &next, err);
    nlt_manifest_deinit(&next);
    for (size_t i = 0; rc == NLT_OK && i < n; i++) {
        nlt_err_t why;

        if (nlt_block_dir_remove(h->env, h->dir.blocks_fd, src[i].info.ulid.c,
                                 &why)
            != NLT_OK) {
            nlt_helper_complain(h, "a merged block stays on the disk", &why);
        }
        nlt_helper_credit(h, src[i].info.bytes);
    }
    return rc;
}

static void
count(nlt_helper_t *h, const nlt_compact_plan_t *p,
      const nlt_manifest_block_t *result, int64_t start_ns)
{
    static const char *const why[] = {"nothing", "deletes", "overlap", "level",
                                      "format"};
    nlt_head_counters_t *c = &nlt_helper_ctl(h)->counters;
    int64_t ns = nlt_mono_ns(h->env) - start_ns;

    atomic_fetch_add(&c->compactions, 1);
    atomic_fetch_add(&c->compaction_blocks, p->n);
    atomic_fetch_add(&c->compaction_samples, result->n_samples);
    atomic_fetch_add(&c->compaction_bytes, result->bytes);
    atomic_fetch_add(&c->compaction_ns, (uint64_t) ns);
    atomic_store(&c->compaction_last_ms, (uint64_t) nlt_now_ms(h->env));
    nlt_head_observe(&c->time_compaction, ns);
    if (p->why == NLT_COMPACT_FORMAT) {
        /* At most half of the time, however many there are. */
        h->convert_after_ns = nlt_mono_ns(h->env) + ns;
        atomic_fetch_add(&c->conversions, 1);
    }
    nlt_log(h->env, NLT_LOG_NOTICE,
            "compaction (%s): %zu blocks are now %s: %llu samples, %llu "
            "bytes, after %lld ms",
            why[p->why], p->n, result->n_samples > 0 ? result->ulid.c : "none",
            (unsigned long long) result->n_samples,
            (unsigned long long) result->bytes, (long long) (ns / 1000000));
}

/* What to do about a merge that failed with rc at source `bad`. */
static void
note_failure(nlt_helper_t *h, const nlt_compact_source_t *src, size_t n,
             size_t bad, nlt_rc_t rc)
{
    atomic_fetch_add(&nlt_helper_ctl(h)->counters.compaction_errors, 1);
    if (rc == NLT_EDATA && bad < n) {
        nlt_suspects_post(nlt_helper_ctl(h), src[bad].info.ulid.c);
    }
    if (bad < n) {
        avoid(h, &src[bad].info,
              rc == NLT_EVERSION ? AVOID_LONG_MS : AVOID_MS);
    } else if (rc == NLT_ELIMIT) {
        for (size_t i = 0; i < n; i++) {
            avoid(h, &src[i].info, AVOID_LONG_MS);
        }
    } else {
        pause(h, FAILED_MS);
    }
}

/*
 * Rules for a merge, read under the lock: nobody has drawn the line of a rule
 * that is not written yet.  A result counts as its newest source, and a rule
 * whose line lies between two sources would not concern it.
 */
static nlt_rc_t
load_rules(nlt_helper_t *h, nlt_delete_list_t **out, nlt_err_t *err)
{
    int lock;
    nlt_rc_t rc = nlt_deletes_lock(h->env, h->dir.dir_fd, &lock, err);

    if (rc == NLT_OK) {
        rc =
            nlt_deletes_load(h->env, h->dir.dir_fd, h->dir.store_id, out, err);
        nlt_deletes_unlock(h->env, lock);
    }
    return rc;
}

/* NLT_AGAIN: somebody deletes. */
static nlt_rc_t
merge(nlt_helper_t *h, const nlt_compact_plan_t *p, int64_t now_ms,
      nlt_err_t *err)
{
    nlt_compact_source_t src[NLT_COMPACT_BLOCKS_MAX];
    nlt_block_t *blocks[NLT_COMPACT_BLOCKS_MAX] = {NULL};
    nlt_manifest_block_t result = {.n_samples = 0};
    nlt_helper_watch_t w = {.h = h, .since_ns = nlt_mono_ns(h->env)};
    nlt_compact_conf_t conf = {
        .env = h->env,
        .blocks_fd = h->dir.blocks_fd,
        .store_id = h->dir.store_id,
        .now_ms = now_ms,
        .t_oldest_ms = atomic_load(&nlt_helper_ctl(h)->t_oldest_ms),
        .tenant_oldest =
            h->conf.n_tenant_keeps > 0 ? nlt_helper_tenant_border : NULL,
        .tenant_ctx = h,
        .level = p->level,
        .dense = h->conf.dense,
        .poll = nlt_helper_watch_cb,
        .poll_ctx = &w,
    };
    int64_t start_ns = nlt_mono_ns(h->env);
    nlt_delete_list_t *deletes = NULL;
    size_t bad = p->n;
    nlt_rc_t rc;

    rc = load_rules(h, &deletes, err);
    if (rc == NLT_AGAIN) {
        return rc;
    }
    if (rc != NLT_OK) {
        note_failure(h, src, p->n, p->n, rc);
        return rc;
    }
    conf.deletes = deletes;
    rc = open_sources(h, p, src, blocks, &bad, err);
    if (rc == NLT_OK) {
        h->merging = src;
        h->n_merging = p->n;
        rc = nlt_compact_blocks(&conf, src, p->n, &result, &bad, err);
        h->merging = NULL;
        h->n_merging = 0;
    }
    if (rc == NLT_OK) {
        rc = commit(h, src, p->n, &result, err);
    }
    for (size_t i = 0; i < p->n && blocks[i] != NULL; i++) {
        nlt_block_close(blocks[i]);
    }
    nlt_deletes_free(h->env, deletes);
    if (rc == NLT_OK) {
        h->starved = false;
        count(h, p, &result, start_ns);
    } else if (w.rc == NLT_OK) {
        note_failure(h, src, p->n, bad, rc);
        if (rc == NLT_EFULL) {
            say_starved(h, true);
            rc = NLT_OK;
        }
    } else if (w.rc == NLT_AGAIN) {
        pause(h, GIVEN_UP_MS);
        rc = NLT_OK;
    } else {
        /* What happened in between, not to the merge. */
        rc = w.rc;
        if (w.err.rc != NLT_OK) {
            *err = w.err;
        }
    }
    return rc;
}

/* ---- planning ---- */

static uint64_t
room(nlt_helper_t *h)
{
    int64_t bytes = h->env->io->free_bytes(h->env->io->ctx, h->dir.blocks_fd);

    return bytes < 0 || (uint64_t) bytes <= h->conf.min_free_bytes
               ? 0
               : (uint64_t) bytes - h->conf.min_free_bytes;
}

nlt_rc_t
nlt_helper_compact(nlt_helper_t *h, const bool *dirty, bool *did,
                   nlt_err_t *err)
{
    nlt_compact_in_t in = {.now_ms = nlt_now_ms(h->env),
                           .newest_ms = nlt_helper_newest_ms(h),
                           .retention_ms = h->conf.retention_ms,
                           .bytes_max = h->conf.retention_bytes / SIZE_SHARE,
                           .dirty = dirty,
                           .dense = h->conf.dense};
    nlt_compact_plan_t p;
    nlt_pool_t pool;
    nlt_rc_t rc;

    *did = false;
    if (nlt_mono_ns(h->env) < h->compact_after_ns
        || (dirty == NULL && h->planned_generation == h->manifest.generation
            && !nlt_helper_older(h, h->planned_ns, PLAN_MS))) {
        return NLT_OK;
    }
    nlt_pool_init(&pool, h->env->mem, PLAN_POOL_BYTES);
    in.free_bytes = room(h);
    in.convert = nlt_mono_ns(h->env) >= h->convert_after_ns;
    in.skip = to_skip(h, &pool);
    rc = nlt_compact_plan(&h->manifest, &in, &pool, &p);
    nlt_pool_deinit(&pool);
    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "compaction: no memory for a plan");
    }
    if (p.why == NLT_COMPACT_NONE) {
        say_starved(h, p.starved);
        h->planned_generation = h->manifest.generation;
        h->planned_ns = nlt_mono_ns(h->env);
        return NLT_OK;
    }
    rc = merge(h, &p, in.now_ms, err);
    *did = rc != NLT_AGAIN;
    return *did ? rc : NLT_OK;
}

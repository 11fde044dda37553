/*
 * nlt_helper_import.c - blocks out of import/: found, committed, announced.
 *
 * Checking a large block takes minutes.  Meanwhile logs are synced and arenas
 * rotated as in a flush, sealed arenas are flushed and expired blocks removed
 * as in a merge: none of it is in the way.
 */
#include "nlt_helper_priv.h"

nlt_rc_t
nlt_helper_import_recover(nlt_helper_t *h, nlt_err_t *err)
{
    if (h->import == NULL) {
        nlt_import_conf_t conf = {
            .env = h->env,
            .dir_fd = h->dir.dir_fd,
            .blocks_fd = h->dir.blocks_fd,
            .min_free_bytes = h->conf.min_free_bytes,
        };
        nlt_rc_t rc;

        memcpy(conf.store_id, h->dir.store_id, sizeof(conf.store_id));
        rc = nlt_import_create(&conf, &h->import, err);
        if (rc != NLT_OK) {
            return rc;
        }
    }
    return nlt_import_recover(h->import, &h->manifest, err);
}

/*
 * The highest number that a delete ever got.  One that is written right after
 * this concerns the block though it was asked for before: nobody can tell.
 */
static nlt_rc_t
last_delete(nlt_helper_t *h, uint64_t *out, nlt_err_t *err)
{
    const nlt_delete_list_t *rules;
    nlt_rc_t rc = nlt_helper_rules(h, &rules, err);

    if (rc != NLT_OK) {
        return rc;
    }
    *out = rules->last;
    for (size_t i = 0; i < h->manifest.n_blocks; i++) {
        if (h->manifest.blocks[i].deletes > *out) {
            *out = h->manifest.blocks[i].deletes;
        }
    }
    nlt_deletes_release(h->deletes, rules);
    return NLT_OK;
}

/* The block of r in place of those that it replaces. */
static nlt_rc_t
commit(nlt_helper_t *h, nlt_import_result_t *r, nlt_err_t *err)
{
    nlt_manifest_t next = {.mem = h->env->mem};
    nlt_rc_t rc = last_delete(h, &r->block.deletes, err);

    if (rc != NLT_OK) {
        return rc;
    }
    rc = nlt_manifest_copy(&next, &h->manifest);

    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "import: no memory");
    }
    for (size_t i = 0; i < r->n_replaced; i++) {
        size_t idx = nlt_manifest_find(&next, r->replaced[i].c);

        if (idx < next.n_blocks) {
            nlt_manifest_remove_block(&next, idx);
        }
    }
    for (size_t i = next.n_damaged; i-- > 0;) {
        if (strcmp(next.damaged[i].ulid.c, r->block.ulid.c) == 0) {
            nlt_manifest_remove_damaged(&next, i);
        }
    }
    rc = nlt_manifest_add_block(&next, &r->block);
    if (rc != NLT_OK) {
        rc = nlt_err_set(err, rc, "import of block %s: %s", r->block.ulid.c,
                         nlt_rc_text(rc));
    } else {
        rc = nlt_helper_commit(h, &next, err);
    }
    nlt_manifest_deinit(&next);
    return rc;
}

/* The block is served; what it came from, and what it replaced, goes. */
static nlt_rc_t
clean_up(nlt_helper_t *h, const nlt_import_result_t *r, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_import_done(h->import, r->block.ulid.c, err);

    for (size_t i = 0; i < r->n_replaced; i++) {
        nlt_rc_t gone = nlt_block_dir_remove(h->env, h->dir.blocks_fd,
                                             r->replaced[i].c, err);

        rc = rc == NLT_OK ? gone : rc;
        nlt_log(h->env, NLT_LOG_NOTICE, "block %s takes the place of %s",
                r->block.ulid.c, r->replaced[i].c);
    }
    return rc;
}

nlt_rc_t
nlt_helper_import(nlt_helper_t *h, bool *more, nlt_err_t *err)
{
    int64_t start_ns = nlt_mono_ns(h->env);
    nlt_helper_watch_t w = {.h = h, .since_ns = start_ns};
    nlt_import_look_t look = {
        .manifest = &h->manifest,
        .t_oldest_ms = atomic_load(&nlt_helper_ctl(h)->t_oldest_ms),
        .poll = nlt_helper_watch_cb,
        .poll_ctx = &w,
    };
    nlt_import_result_t r;
    nlt_rc_t rc = nlt_import_look(h->import, &look, &r, err);

    atomic_fetch_add(&nlt_helper_ctl(h)->counters.imports_refused,
                     r.n_refused);
    /* Many that are refused must not keep the others waiting. */
    *more = r.found || r.n_refused > 0;
    if (rc != NLT_OK && w.rc == rc && rc != NLT_ECANCELED && err != NULL) {
        *err = w.err;
    }
    if (rc == NLT_OK && r.found) {
        rc = commit(h, &r, err);
    }
    if ((r.undo || (rc != NLT_OK && r.found)) && h->stage == NLT_HELPER_RUN) {
        h->stage = NLT_HELPER_LOAD; /* which cleans up */
    }
    if (rc != NLT_OK || !r.found) {
        return rc;
    }
    atomic_fetch_add(&nlt_helper_ctl(h)->counters.blocks_imported, 1);
    nlt_log(h->env, NLT_LOG_NOTICE,
            "block %s is imported: %llu series, %llu samples, %llu of them "
            "histograms; %llu bytes copied, %lld ms",
            r.block.ulid.c, (unsigned long long) r.block.n_series,
            (unsigned long long) r.block.n_samples,
            (unsigned long long) r.block.n_histograms,
            (unsigned long long) r.copied,
            (long long) ((nlt_mono_ns(h->env) - start_ns) / 1000000));
    nlt_helper_update_border(h);
    return clean_up(h, &r, err);
}

/*
 * nlt_helper_side.c - exemplars and metadata, as far as the helper goes.
 */
#include "nlt_helper_priv.h"

#include <stdio.h>

#include "nlt_head_side.h"
#include "nlt_metadata.h"

/* A 256th of memory=, between these. */
#define METADATA_PART      256
#define METADATA_BYTES_MAX (UINT64_C(16) << 20)

uint64_t
nlt_helper_metadata_bytes(const nlt_store_conf_t *conf)
{
    uint64_t bytes = conf->memory_bytes / METADATA_PART;

    return bytes < NLT_STASH_BYTES_MIN  ? NLT_STASH_BYTES_MIN
           : bytes > METADATA_BYTES_MAX ? METADATA_BYTES_MAX
                                        : bytes;
}

void
nlt_helper_side_attached(nlt_helper_t *h)
{
    nlt_err_t err;

    if (nlt_head_side_make(h->head, &err) != NLT_OK) {
        nlt_helper_complain(h, "exemplars and metadata", &err);
    }
    /* What this helper did not write itself it writes once. */
    h->metadata_known = false;
}

/* The file cannot be used: somebody may want to look at it. */
static void
set_aside(nlt_helper_t *h, const nlt_err_t *why)
{
    static const char to[] = NLT_DIR_QUARANTINE "/" NLT_FILE_METADATA;
    int sys;

    nlt_log_todo(h->env, NLT_LOG_CRIT, "nothing, but look for what damaged it",
                 "%s; it is set aside in " NLT_DIR_QUARANTINE
                 "/, and senders will say again what it had",
                 why->text);
    sys = h->env->io->rename(h->env->io->ctx, h->dir.dir_fd, NLT_FILE_METADATA,
                             to);
    if (sys < 0) {
        nlt_err_t err;

        (void) nlt_err_set_errno(&err, NLT_EIO, -sys,
                                 "rename " NLT_FILE_METADATA);
        nlt_helper_complain(h, "metadata", &err);
    }
}

void
nlt_helper_load_metadata(nlt_helper_t *h)
{
    nlt_stash_t *s = nlt_head_metadata(h->head);
    nlt_err_t err;
    nlt_rc_t rc;

    if (s == NULL) {
        return;
    }
    h->metadata_resets = atomic_load(&s->hdr->resets);
    h->metadata_known = true;
    rc = nlt_metadata_load(h->env, h->dir.dir_fd, h->dir.store_id, s,
                           nlt_helper_ctl(h)->secret, &err);
    h->metadata_changes = atomic_load(&s->hdr->changes);
    if (rc == NLT_EDATA || rc == NLT_EVERSION || rc == NLT_EIO) {
        set_aside(h, &err);
    } else if (rc != NLT_OK) {
        h->metadata_known = false;
        nlt_helper_complain(h, "metadata", &err);
    }
}

nlt_rc_t
nlt_helper_save_metadata(nlt_helper_t *h, nlt_err_t *err)
{
    nlt_stash_t *s = nlt_head_metadata(h->head);
    uint64_t changes;
    nlt_rc_t rc;

    if (s == NULL) {
        return NLT_OK;
    }
    if (!h->metadata_known
        || atomic_load(&s->hdr->resets) != h->metadata_resets) {
        /* It was emptied, or may have been: the file knows more. */
        nlt_helper_load_metadata(h);
        if (!h->metadata_known) {
            return nlt_err_set(err, NLT_ENOMEM, "METADATA: no memory");
        }
        h->metadata_changes = 0;
    }
    changes = atomic_load(&s->hdr->changes);
    if (changes == h->metadata_changes) {
        return NLT_OK;
    }
    rc = nlt_metadata_save(h->env, h->dir.dir_fd, h->dir.store_id, s,
                           nlt_helper_ctl(h)->secret,
                           atomic_load(&nlt_helper_ctl(h)->t_oldest_ms), err);
    if (rc == NLT_OK) {
        h->metadata_changes = changes;
    }
    return rc;
}

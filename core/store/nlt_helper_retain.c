/*
 * nlt_helper_retain.c - what has to go: by time, by size, for a disk that is
 * nearly full.
 *
 * Looked at every second, and before each flush.  The MANIFEST comes first,
 * the directories second, as in nlt_retention.h.
 *
 * The bytes of a block come back only when the last process has let go of it,
 * a second or so later, or when a long query ends.  Until then they count as
 * free for min_free=, or one shortage would cost more and more blocks.
 */
#include "nlt_helper_priv.h"

#include "nlt_compact_plan.h"
#include "nlt_flush.h"

#define BATCH    256 /* blocks of one commit */
#define EVERY_MS 1000

/* So long, and up to twice as long, bytes of removed blocks count as free. */
#define CREDIT_MS 6000

/* A sample and a series of a fresh block, about, in bytes. */
#define SAMPLE_BYTES 2
#define DENSE_BYTES  1
#define SERIES_BYTES 300

/* Why blocks go. */
typedef enum {
    PAST_RETENTION,
    OVER_SIZE,
    DISK_LOW
} why_t;

typedef struct {
    why_t why;
    size_t n;
    size_t idx[BATCH]; /* in h->manifest.blocks */
} choice_t;

/* ---- what there is ---- */

static uint64_t
block_bytes(const nlt_helper_t *h)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < h->manifest.n_blocks; i++) {
        bytes += h->manifest.blocks[i].bytes;
    }
    return bytes;
}

/* Logs of the head's arenas, and what the sealed ones will be as blocks. */
static uint64_t
head_bytes(const nlt_helper_t *h)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < NLT_HEAD_ARENAS; i++) {
        const nlt_head_arena_slot_t *s = &nlt_helper_ctl(h)->arenas[i];
        uint64_t no = atomic_load(&s->no);
        uint64_t log = no != 0 && nlt_head_holds(nlt_helper_ctl(h), no)
                           ? nlt_store_dir_log_bytes(h->env, h->dir.wal_fd, no)
                           : 0;

        bytes += log;
        if (log != 0 && atomic_load(&s->state) == NLT_ARENA_SEALED) {
            bytes += nlt_helper_block_estimate(h, no, log);
        }
    }
    return bytes;
}

uint64_t
nlt_helper_block_estimate(const nlt_helper_t *h, uint64_t no, uint64_t log)
{
    nlt_arena_t *a = nlt_head_pin_arena(h->head, no);
    uint64_t bytes = log;

    if (a != NULL) {
        const nlt_arena_header_t *head = nlt_arena_header(a);

        bytes = atomic_load(&head->n_samples)
                    * (h->conf.dense ? DENSE_BYTES : SAMPLE_BYTES)
                + (uint64_t) atomic_load(&head->n_series) * SERIES_BYTES;
        nlt_head_unpin_arena(h->head, a);
    }
    return bytes < log ? bytes : log;
}

int64_t
nlt_helper_newest_ms(const nlt_helper_t *h)
{
    return nlt_max_i64(atomic_load(&nlt_helper_ctl(h)->t_newest_ms),
                       nlt_manifest_newest_ms(&h->manifest));
}

/* ---- what has to go ---- */

static void
choose_expired(const nlt_helper_t *h, choice_t *c)
{
    int64_t border = atomic_load(&nlt_helper_ctl(h)->t_oldest_ms);

    for (size_t i = 0; i < h->manifest.n_blocks && c->n < BATCH; i++) {
        if (h->manifest.blocks[i].t_end_ms <= border) {
            c->idx[c->n++] = i;
        }
    }
}

static void
choose_oldest(const nlt_helper_t *h, int64_t newer_ms, uint64_t over,
              why_t why, choice_t *c)
{
    int64_t keep;

    if (__builtin_sub_overflow(nlt_helper_newest_ms(h), newer_ms, &keep)) {
        keep = INT64_MIN;
    }
    c->why = why;
    c->n = nlt_compact_oldest(&h->manifest, keep, over, c->idx, BATCH);
}

static void
choose_over_size(const nlt_helper_t *h, choice_t *c)
{
    uint64_t bytes = block_bytes(h) + head_bytes(h);

    if (bytes > h->conf.retention_bytes) {
        choose_oldest(h, nlt_compact_range(1, INT64_MAX),
                      bytes - h->conf.retention_bytes, OVER_SIZE, c);
    }
}

/* In two sums, of this while and the one before, so that none grows ever on.
 */
static uint64_t
credit(nlt_helper_t *h)
{
    if (nlt_helper_older(h, h->credit_ns, CREDIT_MS)) {
        bool both = nlt_helper_older(h, h->credit_ns, 2 * CREDIT_MS);

        h->credit_bytes[1] = both ? 0 : h->credit_bytes[0];
        h->credit_bytes[0] = 0;
        h->credit_ns = nlt_mono_ns(h->env);
    }
    return h->credit_bytes[0] + h->credit_bytes[1];
}

/* Bytes that min_free= lacks, counting what was given back just now. */
static uint64_t
lacking(nlt_helper_t *h)
{
    int64_t free_bytes =
        h->env->io->free_bytes(h->env->io->ctx, h->dir.dir_fd);
    uint64_t have;

    if (free_bytes < 0) {
        return 0; /* who cannot ask does not refuse */
    }
    have = (uint64_t) free_bytes + credit(h);
    return have < h->conf.min_free_bytes ? h->conf.min_free_bytes - have : 0;
}

static void
set_disk_low(nlt_helper_t *h, bool low)
{
    if (atomic_exchange(&nlt_helper_ctl(h)->disk_low, low) == low) {
        return;
    }
    if (low) {
        nlt_log_todo(h->env, NLT_LOG_CRIT, "make room on the file system",
                     "less than min_free=%llu bytes is free, and no more old "
                     "blocks can go: writes are refused",
                     (unsigned long long) h->conf.min_free_bytes);
    } else {
        nlt_log(h->env, NLT_LOG_NOTICE,
                "min_free= is free again: writes are taken");
    }
}

/* ---- taking it away ---- */

void
nlt_helper_credit(nlt_helper_t *h, uint64_t bytes)
{
    (void) credit(h);
    h->credit_bytes[0] += bytes;
}

static nlt_rc_t
take_away(nlt_helper_t *h, const choice_t *c, nlt_err_t *err)
{
    static const char *const text[] = {
        "is past the retention",
        "is the oldest, beyond retention_size=",
        "is the oldest, and goes for min_free=",
    };
    nlt_manifest_block_t gone[BATCH];
    nlt_manifest_t next = {.mem = h->env->mem};
    nlt_rc_t rc = nlt_manifest_copy(&next, &h->manifest);

    for (size_t i = 0; i < c->n; i++) {
        gone[i] = h->manifest.blocks[c->idx[i]];
    }
    if (rc != NLT_OK) {
        return nlt_err_set(err, rc, "retention: no memory");
    }
    for (size_t i = 0; i < c->n; i++) {
        nlt_manifest_remove_block(&next,
                                  nlt_manifest_find(&next, gone[i].ulid.c));
    }
    rc = nlt_helper_commit(h, &next, err);
    nlt_manifest_deinit(&next);
    for (size_t i = 0; rc == NLT_OK && i < c->n; i++) {
        nlt_err_t why;

        /* One that will not go must not keep the others on the disk. */
        if (nlt_block_dir_remove(h->env, h->dir.blocks_fd, gone[i].ulid.c,
                                 &why)
            != NLT_OK) {
            nlt_helper_complain(h, "a removed block stays on the disk", &why);
        }
        atomic_fetch_add(&nlt_helper_ctl(h)->counters.blocks_removed, 1);
        nlt_helper_credit(h, gone[i].bytes);
        nlt_log(h->env, NLT_LOG_NOTICE, "block %s %s", gone[i].ulid.c,
                text[c->why]);
    }
    return rc;
}

bool
nlt_helper_retention_is_due(const nlt_helper_t *h)
{
    return nlt_helper_older(h, h->retention_ns, EVERY_MS);
}

/*
 * Is the merge that runs in the way?  Its sources are not taken away, and
 * what it has written so far comes before old blocks when room is short.
 */
static bool
merge_is_in_the_way(const nlt_helper_t *h, const choice_t *c, uint64_t lack)
{
    if (h->n_merging > 0 && lack > 0) {
        return true;
    }
    for (size_t i = 0; i < c->n; i++) {
        for (size_t k = 0; k < h->n_merging; k++) {
            if (strcmp(h->manifest.blocks[c->idx[i]].ulid.c,
                       h->merging[k].info.ulid.c)
                == 0) {
                return true;
            }
        }
    }
    return false;
}

nlt_rc_t
nlt_helper_retain(nlt_helper_t *h, bool *more, nlt_err_t *err)
{
    choice_t c = {.why = PAST_RETENTION};
    uint64_t lack = 0;

    *more = false;
    choose_expired(h, &c);
    if (c.n == 0 && h->conf.retention_bytes != 0) {
        choose_over_size(h, &c);
    }
    if (c.n == 0 && h->conf.min_free_bytes != 0) {
        lack = lacking(h);
        if (lack > 0) {
            choose_oldest(h, NLT_DAY_MS, lack, DISK_LOW, &c);
        }
    }
    if (merge_is_in_the_way(h, &c, lack)) {
        return NLT_AGAIN;
    }
    if (c.n == 0) {
        set_disk_low(h, lack > 0);
        h->retention_ns = nlt_mono_ns(h->env);
        return NLT_OK;
    }
    *more = true;
    return take_away(h, &c, err);
}

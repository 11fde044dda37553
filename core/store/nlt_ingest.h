/*
 * nlt_ingest.h - one remote_write request: apply, log, acknowledge.
 *
 * Floor 3 (store); uses base, model, wire, nlt_head, nlt_wal.
 * Threads: one ingester per process, used by its event loop.  Never blocks
 * but for the page-cache write of the log and brief stripe locks.
 *
 *   body (snappy) --decode--> request --walk--> keys, samples    (all checked)
 *     keys --find--> series numbers      miss: carry over, or parse+register
 *     check: a conflict refuses the request (1.0) or drops its sample (2.0)
 *     append to the active arena         sealed meanwhile: resolve again
 *     log: unlogged series records and all samples, one write
 *     wal_sync=always: wait for a sync that began after it   (see below)
 *     answer 204
 *
 * 1.0.  Time bounds and labels are checked for the whole request before
 * anything is applied, so a refused request leaves no sample behind, as in
 * Prometheus; what can still fail afterwards is memory and disk (503, 500),
 * where the sender sends again, and a repeated sample changes nothing.
 * Every accepted sample is logged, also one that was already there (D5).
 *
 * 2.0.  Only broken bytes refuse a whole request.  What is wrong with a series
 * or a sample drops that and is noted; the good rest is applied, and the
 * answer is 400 with the notes, one a line, and with the exact numbers of what
 * was written.  The label key of a series is made of keyed hashes of its
 * symbols, each hashed once a request, so a series that was seen is found
 * without a look at its labels however its symbols are numbered.
 *
 * A request is worked on in slices, so that a 32 MiB body does not hold the
 * event loop: run() returns NLT_AGAIN after about 20000 samples or 2000 new
 * series.
 *
 * Memory.  Series and samples of a request go through a batch of at most
 * NLT_INGEST_BATCH of each.  A request that fits is decoded once: check the
 * batch, then apply it.  A larger one is walked twice, first to check all of
 * it, then to apply it, so that no request needs memory beyond its decoded
 * body and one batch; in 2.0 also 24 bytes for each symbol, of which there may
 * be NLT_RW2_SYMBOLS_MAX.  Between requests the ingester keeps about 2 MiB.
 *
 * Group commit (wal_sync=always).  A request that has logged its samples
 * waits; the process has one sync under way at a time, in a thread, and each
 * is for all that wait when it begins:
 *
 *     event loop   A logs  B logs          C logs  D logs
 *                      |    begin             |       | end  begin
 *     thread                |--fdatasync--------------||---fdatasync---|
 *     answers                                         A B              C D
 *
 * Every write to a log has a number, and a request waits for that of its last
 * one.  A request that met a rotation wrote to the logs of two arenas; the
 * older log stays open until it is synced, or until its arena is in blocks.
 *
 * After a failed sync (or a failed write) nothing is known about the file, and
 * asking again would only hide that (D5): requests that wait for it get 500,
 * the arena is marked in the control page, no process appends to it or
 * acknowledges what it appended, and the helper rotates and makes it a block.
 * 500, not 503, because it is the disk and an operator must know; who writes
 * between the failure and the rotation gets 503 and "again in a second".
 */
#ifndef NLT_STORE_INGEST_H
#define NLT_STORE_INGEST_H

#include "nlt_head.h"
#include "nlt_matcher.h"
#include "nlt_quota.h"
#include "nlt_remote_write.h"
#include "nlt_wal.h"

/* Series and samples that are worked on together. */
#define NLT_INGEST_BATCH 16384

typedef struct nlt_ingest_s nlt_ingest_t;
typedef struct nlt_ingest_req_s nlt_ingest_req_t;

/* Series that all of them match are not kept: nightlight_drop. */
typedef struct {
    const nlt_matcher_t *matchers; /* compiled */
    size_t n;
    nlt_str_t text; /* as written: two rules of one text do the same */
} nlt_ingest_drop_t;

/*
 * What may be registered in one's name; 0: no such limit.  Without a quota it
 * is the tenant, and active series are those that the head has of it, whoever
 * wrote them and whatever was restarted meanwhile; processes that register at
 * the same moment may go beyond by one each.
 */
typedef struct {
    nlt_quota_t *quota;   /* NULL: by tenant; then created_max is 0 */
    uint64_t active_max;  /* series of the active arena */
    uint64_t created_max; /* new series in an hour */
} nlt_ingest_quota_t;

/*
 * What a location adds to series, and which it keeps out.  All of it is
 * applied to series whose bytes are not known; those that are cost nothing
 * more.  Series over a quota are left out and the rest of the request is
 * taken; the answer is over_status then.
 */
typedef struct {
    const nlt_label_t *stamps; /* sorted by name, unique; they override what
                                  was sent; empty value: there is none */
    size_t n_stamps;
    const nlt_ingest_drop_t *drops;
    size_t n_drops;
    const nlt_ingest_quota_t *quotas;
    size_t n_quotas;
    int over_status;       /* 429, 400, or 204: not told */
    int64_t age_max_ms;    /* of a sample; 0: as the retention has it */
    int64_t future_max_ms; /* 0: NLT_FUTURE_MS_MAX */
    bool dry_run;          /* all but the stamps is only counted */
    nlt_rw_limits_t tried; /* limits of labels that are only counted, or 0 */
    size_t tried_decoded;  /* likewise of a request; 0: none */
} nlt_ingest_screen_t;

typedef struct {
    nlt_rw_limits_t labels;
    size_t decoded_max; /* bytes of a decompressed request */
    uint32_t tenant;    /* number; 0 for the only one */
    bool sync;          /* 204 only when the log is synced */
    int version;        /* of remote_write: 1 or 2; 0 is 1 */
    /*
     * As the caller's configuration has it; 0: not known.  What it would take
     * and the head does not take yet, since no helper with this configuration
     * has moved the border back, is not refused for ever but with 503.
     */
    int64_t retention_ms;
    /* NULL: nothing; borrowed, with all in it, until the request is over */
    const nlt_ingest_screen_t *screen;
} nlt_ingest_conf_t;

typedef struct {
    int status;              /* HTTP: 204, 400, 429, 500, 503 */
    int retry_after_s;       /* of 429 and 503, else 0 */
    uint64_t samples;        /* accepted, also those that were there already */
    uint64_t seen;           /* that were decoded, whatever became of them */
    uint64_t series;         /* time series in the request */
    uint64_t skipped_series; /* with invalid labels (1.0 skips them) */
    uint64_t skipped_histograms; /* native, valid: they are not kept yet */
    uint64_t decoded_bytes;
    /* 2.0: what its three headers say; 0 unless status is 204 or 400 */
    uint64_t written_samples;
    uint64_t written_histograms;
    uint64_t written_exemplars;
    nlt_err_t err;  /* text of the answer when status >= 400, */
    nlt_str_t text; /* or this if it is not empty: one fault a line; borrowed
                       from the ingester until another request is finished */
} nlt_ingest_result_t;

/*
 * One per process.  head is retained; wal_dir_fd is where the logs lie.
 * The ingester opens the log of the active arena as arenas change.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_create(const nlt_env_t *env, nlt_head_t *head,
                                       int wal_dir_fd, nlt_ingest_t **out,
                                       nlt_err_t *err);

/*
 * Frees it; no request may be under way, and no thread in a sync.  NULL is
 * allowed.
 */
void nlt_ingest_destroy(nlt_ingest_t *in);

/*
 * Requests begun and not yet finished, and a sync that has not ended: destroy
 * waits until there is none.
 */
size_t nlt_ingest_requests(const nlt_ingest_t *in);

/*
 * Begins a request; body is the compressed bytes in one piece, borrowed
 * until the request is finished or cancelled.  conf is copied.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_begin(nlt_ingest_t *in,
                                      const nlt_ingest_conf_t *conf,
                                      nlt_str_t body, nlt_ingest_req_t **out);

/*
 * Works on it.  NLT_AGAIN: call again, after nlt_ingest_pause_ms() (other
 * events may run in between) or, if nlt_ingest_waits() then, after the next
 * sync; NLT_OK: finished, *result is filled, the request object is gone.
 *
 * An arena that is nearly full while the next one is ready is about to be
 * sealed: a request that finds no room waits for that, for a second or so,
 * instead of being refused.
 */
nlt_rc_t nlt_ingest_run(nlt_ingest_req_t *req, nlt_ingest_result_t *result);

/* Milliseconds until it makes sense to run it again; 0: at once. */
unsigned nlt_ingest_pause_ms(const nlt_ingest_req_t *req);

/* Has it done all but waiting for a sync?  It holds no buffers then. */
bool nlt_ingest_waits(const nlt_ingest_req_t *req);

/*
 * Ends a request that waits: 503, since it is not known whether its samples
 * would survive.  `why` is the text.  The request object is gone.
 */
void nlt_ingest_expire(nlt_ingest_req_t *req, const char *why,
                       nlt_ingest_result_t *result);

/*
 * A request of a tenant, by name (empty: the default one), was refused, or
 * would have been, for the rate of its samples.
 */
void nlt_ingest_over_rate(nlt_ingest_t *in, nlt_str_t tenant, bool dry_run);

/* Samples that it has decoded so far. */
uint64_t nlt_ingest_seen(const nlt_ingest_req_t *req);

/* Gives up between two calls of run.  NULL is allowed. */
void nlt_ingest_cancel(nlt_ingest_req_t *req);

/* A sample of the store's own metrics. */
typedef struct {
    nlt_labels_t labels; /* sorted, valid */
    int64_t t_ms;
    double v;
} nlt_ingest_own_t;

/*
 * Appends samples of series given by labels: the store's own metrics.
 * Same order of apply, log, done.  n small.  NLT_ENOTREADY (no open head or
 * an arena is just being sealed: try again), NLT_EFULL (memory or disk),
 * NLT_EIO, NLT_ENOMEM; what was appended before a failure stays.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_own(nlt_ingest_t *in, uint32_t tenant,
                                    const nlt_ingest_own_t *s, size_t n,
                                    nlt_err_t *err);

/*
 * Lets go of logs that are not written any more and need no sync: a log is
 * removed once its arena is in blocks, and its bytes stay on the disk as long
 * as somebody has it open.  From a timer, between requests or slices of them.
 */
void nlt_ingest_tick(nlt_ingest_t *in);

/* ---- group commit ---- */

/*
 * Begins a sync of everything that requests wait for.
 *   NLT_OK     call nlt_ingest_sync_run() in a thread, then _end() here
 *   NLT_AGAIN  one is under way; begin again when it has ended
 *   NLT_EOF    nothing needs one: requests that wait can be run
 */
NLT_CHECKED nlt_rc_t nlt_ingest_sync_begin(nlt_ingest_t *in);

/*
 * The sync itself: fdatasync of one log, rarely of two.  A failure is in the
 * control page, for all processes, before it returns.  [the one thread]
 */
void nlt_ingest_sync_run(nlt_ingest_t *in);

/*
 * It has returned: every request that waits is to be run, and some will be
 * finished.  A failure is logged.
 */
void nlt_ingest_sync_end(nlt_ingest_t *in);

/* Takes back a begin whose run could not be called; requests wait on. */
void nlt_ingest_sync_cancel(nlt_ingest_t *in);

#endif

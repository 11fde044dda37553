/*
 * nlt_ingest_priv.h - what the files of the write path share.
 *
 * Floor 3 (store); uses nlt_ingest.h and what it uses.
 *
 *   nlt_ingest.c          the request as a state machine
 *   nlt_ingest_answer.c   its answer; what is wrong with it
 *   nlt_ingest_v2.c       2.0: symbols and their hashes, series, labels
 *   nlt_ingest_load.c     decoded bytes -> batch: walk, hash, find, check
 *   nlt_ingest_apply.c    batch -> arena and log: register, append
 *   nlt_ingest_beside.c   exemplars and metadata of a batch
 *   nlt_ingest_side.c     gathers, logs and puts them
 *   nlt_ingest_log.c      which logs are open; log; sync
 *
 * A batch is two arrays.  Samples lie in the order of the request; a series
 * entry says which of them are its own:
 *
 *   series   [body, key, first 0, n 1][first 1, n 3][first 4, n 1]...
 *   samples  [t v][t v][t v][t v][t v]...
 *
 * Between two calls of run() anything may have happened to the head.  Series
 * numbers are only good for the arena they were found in, so each call looks
 * at the active arena first, and when it is another one than the batch was
 * resolved in, the batch is loaded again from where it began.
 *
 * What a check of 2.0 has dropped of a batch stays dropped when the batch is
 * loaded again, and is not looked at again: samples that were appended already
 * would be found in conflict with themselves.  A bit for each sample of the
 * batch, by its place in the request, says so.
 */
#ifndef NLT_STORE_INGEST_PRIV_H
#define NLT_STORE_INGEST_PRIV_H

#include "nlt_head_match.h"
#include "nlt_ingest_screen.h"
#include "nlt_limits.h"
#include "nlt_rw2.h"

/* Label sets of more labels than this cannot be logged anyway. */
#define NLT_INGEST_LABELS_MAX (NLT_SERIES_BYTES_MAX / 6)
/* Work of one call of run(): samples, and what others cost in samples. */
#define NLT_INGEST_SLICE       20000
#define NLT_INGEST_PARSE_COST  3
#define NLT_INGEST_SCREEN_COST 8 /* labels against rules and quotas */
/* Bytes of labels that cost as much as a sample to check, sort and hash. */
#define NLT_INGEST_LABEL_BYTES 256

/* Labels of a batch, of 2.0 or unsorted, that are made canonical but once. */
#define NLT_INGEST_KEPT_MAX (1u << 20)

/* Decode buffers up to this size, and room for symbols of 2.0, are kept. */
#define NLT_INGEST_KEEP_BYTES   (1u << 20)
#define NLT_INGEST_KEEP_SYMBOLS 16384

/* Text of the faults of a 2.0 request; more of them are only counted. */
#define NLT_INGEST_FAULTS_BYTES 8192
/*
 * nlt_ingest_series_t.side: what the series has beside samples.  The rest of
 * its bits are a hash of 2.0's metadata (type, help, unit), 0 if it has none:
 * the same metadata has the same hash in every request.
 */
#define NLT_INGEST_EXEMPLARS  (1u << 31)
#define NLT_INGEST_HISTOGRAMS (1u << 30)
#define NLT_INGEST_BAD_REFS   (1u << 29) /* 2.0: no labels to be had */
#define NLT_INGEST_HAS_BAD    (1u << 28) /* some samples are dropped */
#define NLT_INGEST_META_MASK  ((1u << 28) - 1)

typedef struct nlt_ingest_series_s {
    nlt_hash128_t key; /* of the label bytes as they came, and of the screen;
                          0 for one of 2.0 that was found without it */
    const char *body;  /* the TimeSeries message */
    uint32_t body_len;
    uint32_t first; /* sample of the batch */
    uint32_t n;     /* samples; 0: it was dropped, or had none */
    uint32_t no;    /* number in the arena; 0: not known there */
    uint32_t prev;  /* number in the arena before, if not known here */
    uint32_t side;  /* see above; in the first entry of a series only */
    uint32_t canonical_len; /* of labels that are ready to be logged; or 0 */
    uint32_t kept;       /* + 1: where in s->kept; 0: body begins with them */
    uint32_t labels_len; /* 1.0: body begins with all labels; or 0 */
} nlt_ingest_series_t;

/* Buffers of one request; kept by the ingester when it is over. */
typedef struct nlt_ingest_scratch_s {
    nlt_ingest_series_t *series;
    size_t n_series;
    size_t series_cap;
    nlt_head_sample_t *samples;
    size_t n_samples;
    size_t samples_cap;
    char *decoded;
    size_t decoded_cap;
    nlt_label_t *labels; /* labels_cap of them, for one series at a time */
    size_t labels_cap;
    nlt_buf_t canonical;
    nlt_buf_t kept; /* canonical labels of new series of the batch */
    /* of 2.0 */
    nlt_rw2_symbols_t symbols;
    nlt_rw2_symbol_t *symbol_v;
    nlt_head_symbol_t *known; /* of them */
    size_t symbols_cap;       /* of both */
    uint32_t *refs;           /* labels_refs of one series */
    nlt_hash128_t *places;    /* random pairs, for keys */
    size_t refs_cap;          /* of both */
    bool any_bad; /* one of these is set, perhaps by the request before */
    uint64_t bad[NLT_INGEST_BATCH / 64];
    char gather[NLT_SERIES_BYTES_MAX + 4096]; /* labels that are scattered */
} nlt_ingest_scratch_t;

/* A log that is open: the one written last, and older ones to be synced. */
typedef struct {
    nlt_wal_t *wal;   /* NULL: the slot is free */
    uint64_t awaited; /* number of the last write that a request waits for */
    bool in_sync;     /* the sync that runs has it: not to be closed */
} nlt_ingest_log_t;

/* A log for the thread; written by that from sync_begin to sync_end. */
typedef struct {
    nlt_ingest_log_t *log; /* for the event loop */
    const nlt_wal_t *wal;
    nlt_rc_t rc;
    nlt_err_t err;
} nlt_ingest_job_t;

struct nlt_ingest_s {
    const nlt_env_t *env;
    nlt_head_t *head;
    nlt_head_ctl_t *ctl;
    int wal_dir_fd;
    nlt_ingest_log_t logs[NLT_HEAD_ARENAS];
    nlt_ingest_log_t *log; /* of the arena written last, or NULL */
    uint32_t naming;    /* tenant whose name is in the open batch; 0: none */
    uint64_t n_writes;  /* to logs, ever: each has a number from 1 on */
    uint64_t durable;   /* writes up to this one are synced, or failed */
    uint64_t failed;    /* who wrote up to this one is not acknowledged */
    nlt_err_t failure;  /* why */
    bool syncing;       /* between sync_begin and sync_end */
    uint64_t sync_upto; /* writes that the sync that runs covers */
    nlt_ingest_job_t jobs[NLT_HEAD_ARENAS];
    size_t n_jobs;
    nlt_ingest_scratch_t *spare;
    nlt_buf_t told;    /* faults of the request that was finished last */
    size_t n_requests; /* begun, not yet finished or cancelled */
    struct nlt_ingest_side_s *side; /* or NULL: none came yet */
    nlt_ingest_refused_t *refused;  /* or NULL: none was */
    uint64_t crowded; /* arena for whose end nobody waits any more, or 0 */
};

/* What was found in the request so far; last those that end one of 1.0. */
typedef struct {
    uint64_t n_skipped;    /* series with invalid labels */
    uint64_t n_histograms; /* valid ones */
    nlt_ingest_left_out_t out;
    uint64_t n_bad_histograms;
    uint64_t n_too_old;
    uint64_t n_too_new;
    uint64_t n_conflicts;
    uint64_t n_faults;
    uint64_t n_untold;  /* of them, those that are not in the text */
    size_t faults_size; /* of the text */
} nlt_ingest_found_t;

typedef struct nlt_ingest_side_s nlt_ingest_side_t; /* nlt_ingest_side.h */

/* Where in the request the next batch begins. */
typedef struct {
    nlt_rw_walk_t walk;
    nlt_rw2_walk_t walk2;    /* the one of the two that is used */
    nlt_rw2_series_t series; /* the one whose samples did not all fit */
    nlt_rw_samples_t samples;
    uint32_t left; /* samples of it that are to come */
    uint32_t no;   /* 2.0: its number, or 0; then key is not set */
    uint32_t side; /* for its entry */
    uint64_t seen; /* samples put into batches so far */
    nlt_hash128_t key;
    nlt_ingest_found_t found;
} nlt_ingest_cursor_t;

typedef enum {
    NLT_INGEST_BEGUN,
    NLT_INGEST_SCANNING, /* 2.0: for symbols */
    NLT_INGEST_LOADING,
    NLT_INGEST_REGISTERING,
    NLT_INGEST_SYNCING, /* all is logged; waits for a sync */
    NLT_INGEST_FINISHED
} nlt_ingest_phase_t;

struct nlt_ingest_req_s {
    nlt_ingest_t *in;
    nlt_ingest_conf_t conf;
    nlt_str_t body;
    nlt_ingest_scratch_t *s; /* NULL in phase SYNCING */
    nlt_ingest_phase_t phase;
    bool applying; /* second walk, or a batch that is the whole request */
    bool eof;      /* the batch reaches the end of the request */
    bool no_room;  /* a series or sample found no memory: 503 at the end */
    uint64_t n_no_room, n_created; /* samples; series */
    bool checked; /* 2.0: the batch is, and s->bad says what was dropped */
    nlt_rw2_scan_t scan;
    nlt_buf_t faults; /* lines of the answer, 2.0 */
    nlt_ingest_cursor_t at;
    nlt_ingest_cursor_t batch; /* where the batch began */
    uint64_t n_batches;        /* before this one, in this walk */
    uint64_t arena_no;         /* that the batch is resolved in; 0: none */
    uint64_t prev_no;          /* the arena before it then; 0: none */
    uint32_t found, astray;    /* last series; how many did not follow */
    uint64_t known_no;         /* arena that s->known is of; 0: none */
    size_t registered;         /* series of the batch looked at for it */
    size_t done;               /* samples of the batch, in earlier arenas */
    uint64_t logged_no;        /* arena whose log it wrote to first; or 0 */
    uint64_t first_write;      /* numbers of its writes; 0: none yet */
    uint64_t last_write;
    const char *shown_body; /* the series that was described last, and how */
    char shown[NLT_INGEST_SHOWN_BYTES];
    nlt_hash128_t seed; /* of keys, by the screen */
    uint64_t who;       /* hash of its quotas */
    nlt_ingest_over_t over;
    int64_t t_hard_min_ms, t_hard_max_ms; /* without the screen */
    int64_t t_min_ms, t_max_ms;
    int64_t t_wanted_ms; /* border by conf.retention_ms; t_min_ms may be
                            later for a moment */
    int64_t begin_ns;
    int64_t wait_until_ns; /* for an active arena; 0: not waiting */
    int64_t room_until_ns; /* for room; 0: did not have to wait yet */
    unsigned pause_ms;     /* before the next call of run() */
    int budget;            /* of this call of run() */
    nlt_ingest_result_t res;
};

/* Numbers behind the series found last that the next one may well have. */
#define NLT_INGEST_NEXT_MAX 3

/* So many series more than not went astray: this request is in no order. */
#define NLT_INGEST_ASTRAY_MAX 8

/* Do its series come in the order of their numbers?  Where labels are stamped
 * or dropped that is not looked for. */
static inline bool
nlt_ingest_is_in_order(const nlt_ingest_req_t *r)
{
    return r->astray < NLT_INGEST_ASTRAY_MAX && (r->seed.lo | r->seed.hi) == 0;
}

/* Did its labels come canonical?  Then its key is the canonical one. */
static inline bool
nlt_ingest_sent_canonical(const nlt_ingest_series_t *e)
{
    return e->canonical_len != 0 && e->kept == 0;
}

/* Exemplars alone?  Prometheus sends them so. */
static inline bool
nlt_ingest_only_exemplars(const nlt_ingest_series_t *e)
{
    uint32_t bad = NLT_INGEST_BAD_REFS | NLT_INGEST_HAS_BAD;

    return e->n == 0
           && (e->side & (NLT_INGEST_EXEMPLARS | bad)) == NLT_INGEST_EXEMPLARS;
}

/* ---- nlt_ingest.c ---- */

/* There is no room in a, or not for new series: is it worth waiting for the
 * next arena?  Then run() has to end with NLT_AGAIN. */
bool nlt_ingest_await_room(nlt_ingest_req_t *r, const nlt_arena_t *a);

/* Empty buffers, the kept ones if there are; NULL: out of memory. */
nlt_ingest_scratch_t *nlt_ingest_scratch_take(nlt_ingest_t *in);
/* Keeps them for the next request, or frees them. */
void nlt_ingest_scratch_give(nlt_ingest_t *in, nlt_ingest_scratch_t *s);

/* Room for n more series and samples; false: out of memory. */
NLT_CHECKED bool nlt_ingest_room(nlt_ingest_t *in, nlt_ingest_scratch_t *s,
                                 size_t n_series, size_t n_samples);

/* An array of at least `need` elements of `size` bytes, doubled; the `used`
 * first ones are kept.  false: out of memory. */
NLT_CHECKED bool nlt_ingest_grow(nlt_ingest_t *in, void **p, size_t *cap,
                                 size_t used, size_t need, size_t size);

/* s->labels has room for conf->labels.labels_max; false: out of memory. */
NLT_CHECKED bool
nlt_ingest_label_room(nlt_ingest_t *in, nlt_ingest_scratch_t *s, size_t n);

/* ---- nlt_ingest_answer.c ---- */

/* Ends the request with an answer; `about` (or NULL) is the series that the
 * text is about and gets " for series {...}".  Returns NLT_ECANCELED. */
nlt_rc_t nlt_ingest_refuse(nlt_ingest_req_t *r, int status, nlt_rc_t rc,
                           const nlt_ingest_series_t *about, const char *fmt,
                           ...) NLT_PRINTF(5, 6);

/*
 * A part of the request is wrong.  1.0: refuses it all with 400, returns
 * NLT_ECANCELED.  2.0: notes it for the answer, returns NLT_OK, and the
 * caller drops the part.
 */
nlt_rc_t nlt_ingest_fault(nlt_ingest_req_t *r, nlt_rc_t rc,
                          const nlt_ingest_series_t *about, const char *fmt,
                          ...) NLT_PRINTF(4, 5);

/* Labels of a series of the batch as {a="b"}, cut to fit. */
void nlt_ingest_describe(nlt_ingest_req_t *r, const nlt_ingest_series_t *e,
                         char text[NLT_INGEST_SHOWN_BYTES]);

/* All is done: 204, 400 with what was noted (2.0), or 429.  NLT_OK. */
nlt_rc_t nlt_ingest_accept(nlt_ingest_req_t *r);

/* Refuses with what nlt_ingest_log() said. */
nlt_rc_t nlt_ingest_refuse_log(nlt_ingest_req_t *r, const nlt_err_t *err);

/* ---- nlt_ingest_load.c ---- */

/*
 * Puts the next series into the batch, finds them in a (and prev, which may
 * be NULL), and, unless r->applying, checks labels, times and conflicts.
 * NLT_OK: the batch is full or the request at its end (r->eof); NLT_AGAIN:
 * the budget is used; NLT_ECANCELED: refused.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_load(nlt_ingest_req_t *r, nlt_arena_t *a,
                                     nlt_arena_t *prev);

/*
 * Parses the labels of a series of the batch into r->s->labels; *key is that
 * of its canonical bytes.  NLT_OK; NLT_EINVAL: invalid, to be
 * dropped (2.0: noted); NLT_EEXIST: a rule drops it; NLT_ECANCELED: refused.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_labels(nlt_ingest_req_t *r,
                                       nlt_ingest_series_t *e,
                                       nlt_labels_t *out, nlt_hash128_t *key);

/* ---- nlt_ingest_apply.c ---- */

/*
 * Gives every series of the batch a number in a; of those that have exemplars
 * alone only the known ones.  NLT_OK; NLT_AGAIN;
 * NLT_EEXIST: a is sealed; NLT_ECANCELED: refused.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_register(nlt_ingest_req_t *r, nlt_arena_t *a,
                                         nlt_arena_t *prev);

/*
 * Appends the samples of the batch from r->done on and logs them.  NLT_OK;
 * NLT_EEXIST: a was sealed, r->done says how far it went; NLT_ECANCELED:
 * refused.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_append(nlt_ingest_req_t *r, nlt_arena_t *a);

/* ---- nlt_ingest_beside.c ---- */

/*
 * Exemplars and metadata of series of the batch whose last sample, or place
 * if they have none, lies in [r->done, to) and is in a; with to SIZE_MAX at
 * the end of a 1.0 request also the metadata of that.  *wrote: something was
 * logged, its number is in in->n_writes.  NLT_OK; NLT_ECANCELED: refused.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_beside(nlt_ingest_req_t *r, nlt_arena_t *a,
                                       size_t to, bool *wrote);

/* ---- nlt_ingest_log.c ---- */

/*
 * Logs samples of arena a that were accepted (results OK, OOO, DUPLICATE),
 * with the records of series that are not logged yet.  *accepted counts
 * them.  `of`, or NULL, has the batch that s was gathered from: labels that
 * are ready there are not made again.  The write's number is in in->n_writes
 * then.  NLT_EIO: the log has failed, and all processes know; NLT_EFULL, also
 * when too many older logs wait for their sync; NLT_ENOMEM, NLT_EDATA,
 * NLT_ENOENT.
 */
NLT_CHECKED nlt_rc_t nlt_ingest_log(nlt_ingest_t *in, nlt_arena_t *a,
                                    const nlt_head_sample_t *s, size_t n,
                                    const nlt_ingest_scratch_t *of,
                                    uint64_t *accepted, nlt_err_t *err);

/* Makes the log of arena a the one that is written, in->log.  NLT_EFULL: too
 * many older logs wait for their sync; as nlt_wal_open(). */
NLT_CHECKED nlt_rc_t nlt_ingest_log_open(nlt_ingest_t *in,
                                         const nlt_arena_t *a, nlt_err_t *err);

/* What became of the writes of a request that waits.  NLT_OK: durable;
 * NLT_AGAIN: not yet; NLT_EIO: they cannot be relied on. */
nlt_rc_t nlt_ingest_durable(const nlt_ingest_req_t *r, nlt_err_t *err);

/* Lets go of all logs. */
void nlt_ingest_close_logs(nlt_ingest_t *in);

static inline void
nlt_ingest_count(_Atomic uint64_t *counter, uint64_t n)
{
    (void) atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif

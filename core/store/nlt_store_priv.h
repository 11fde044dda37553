/*
 * nlt_store_priv.h - inside of a store as one process has it.
 *
 * Floor 3 (store).  Only nlt_store*.c include it.
 *
 * The event loop ticks and writes, threads query.  What they share is the
 * head: it may only be detached when no view is open, so views are counted
 * under the mutex, and once a head is found dead (`leaving`) no new view
 * begins on it.
 */
#ifndef NLT_STORE_STORE_PRIV_H
#define NLT_STORE_STORE_PRIV_H

#include <pthread.h>

#include "nlt_block_set.h"
#include "nlt_store_dir.h"
#include "nlt_suspects.h"

struct nlt_store_s {
    const nlt_env_t *env;
    nlt_store_conf_t conf;
    nlt_head_role_t role;
    char path[NLT_STORE_PATH_MAX];
    char head_path[NLT_STORE_PATH_MAX];
    nlt_store_dir_t dir;
    nlt_block_set_t *blocks;
    nlt_deletes_t *deletes;
    nlt_ingest_t *ingest;  /* event loop only */
    pthread_mutex_t mutex; /* the fields below */
    nlt_head_t *head;      /* NULL: not attached */
    int users_fd;          /* lock of nlt_users.h; -1: not attached */
    bool open;             /* its state was OPEN */
    bool leaving;          /* it is dead: no new views */
    size_t n_views;
    char no_rules[256]; /* why DELETES cannot be read; empty: it can */
    size_t n_rules;     /* of deletes, at the last tick */
    char reason[NLT_STORE_REASON_MAX]; /* why not open; a sentence */
    int64_t looked_ns; /* into the files, for the reason; 0: never */
    char found[NLT_STORE_REASON_MAX]; /* then; empty: nothing wrong */
    char said[NLT_ERR_TEXT_MAX];      /* the last failure of a tick, logged */
};

/*
 * The head for a reader, which holds it until nlt_store_let_go(); NULL while
 * the store is not ready, also when another head has come and no tick has
 * noticed.  [any]
 */
nlt_head_t *nlt_store_hold(nlt_store_t *s);

/* Likewise, for a tenant; NULL too for NLT_TENANT_UNKNOWN.  [any] */
nlt_head_t *nlt_store_hold_for(nlt_store_t *s, uint32_t tenant);

/* Likewise, that of a term alone; 0: whichever it is.  [any] */
nlt_head_t *nlt_store_hold_term(nlt_store_t *s, uint64_t term);
void nlt_store_let_go(nlt_store_t *s);

/* NLT_ENOTREADY, of who found no head, and err says why there is none. */
nlt_rc_t nlt_store_not_ready(nlt_store_t *s, nlt_err_t *err);

/* The gauges of exemplars and metadata.  [any] */
void nlt_store_gauge_side(nlt_head_t *head, nlt_store_gauges_t *out);

/* Tells the helper of all blocks that are left out.  [any] */
void nlt_store_report(nlt_store_t *s, nlt_head_ctl_t *ctl);

/* ---- nlt_store_source.c ---- */

/* Of the source of a view, which is its ctx. */
extern const nlt_source_ops_t nlt_store_source_ops;

/* ---- nlt_store_view.c ---- */

/* Of view->marks[i], block i of the list. */
#define NLT_VIEW_USED   1u /* something was read of it, or may be */
#define NLT_VIEW_OUT    2u /* left out */
#define NLT_VIEW_MISSED 4u /* it would have been used */

/*
 * May block idx of the list be used for [t_min, t_max]?  Notes that it was,
 * or that it is missing.  The thread of select().
 */
bool nlt_view_uses(nlt_view_t *v, size_t idx, int64_t t_min, int64_t t_max);

/* Notes what is in quarantine and overlaps [t_min, t_max]. */
void nlt_view_misses(nlt_view_t *v, int64_t t_min, int64_t t_max);

/*
 * A read of block idx gave rc; damage is remembered, and the answer void.
 * Returns rc.  [any thread]
 */
nlt_rc_t nlt_view_met(const nlt_view_t *v, size_t idx, nlt_rc_t rc,
                      const nlt_err_t *err);

#endif

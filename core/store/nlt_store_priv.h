/*
 * nlt_store_priv.h - inside of a store as one process has it.
 *
 * Floor 3 (store).  Only nlt_store.c and nlt_store_source.c include it.
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

struct nlt_store_s {
    const nlt_env_t *env;
    nlt_store_conf_t conf;
    nlt_head_role_t role;
    char path[NLT_STORE_PATH_MAX];
    char head_path[NLT_STORE_PATH_MAX];
    nlt_store_dir_t dir;
    nlt_block_set_t *blocks;
    nlt_ingest_t *ingest;  /* event loop only */
    pthread_mutex_t mutex; /* the fields below */
    nlt_head_t *head;      /* NULL: not attached */
    bool open;             /* its state was OPEN */
    bool leaving;          /* it is dead: no new views */
    size_t n_views;
    char reason[200];            /* why not open; a sentence */
    char said[NLT_ERR_TEXT_MAX]; /* the last failure of a tick, logged */
};

/*
 * The head for a reader, which holds it until nlt_store_let_go(); NULL while
 * the store is not ready.  [any]
 */
nlt_head_t *nlt_store_hold(nlt_store_t *s);
void nlt_store_let_go(nlt_store_t *s);

#endif

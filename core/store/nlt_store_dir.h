/*
 * nlt_store_dir.h - the directory of a store, opened.
 *
 * Floor 3 (store); uses base, nlt_store.
 * Threads: descriptors may be used by any.
 *
 * All names are relative to descriptors that are opened once, so a store
 * that is renamed while it runs keeps working.  Creating is serialised by a
 * flock on the directory itself: two processes that start together must not
 * invent two identities for one store.
 */
#ifndef NLT_STORE_STORE_DIR_H
#define NLT_STORE_STORE_DIR_H

#include "nlt_store.h"

#define NLT_STORE_PATH_MAX 4096

typedef struct {
    int dir_fd;                   /* path= */
    int wal_fd;                   /* its wal/ */
    int blocks_fd;                /* its blocks/ */
    int head_fd;                  /* head= */
    const _Atomic uint64_t *term; /* see nlt_term.h; mapped */
    uint8_t store_id[NLT_STORE_ID_BYTES];
} nlt_store_dir_t;

/*
 * Opens what nlt_store_prepare_dir() made.  NLT_EIO with path and errno,
 * NLT_EDATA when store.id is damaged.  On failure d is closed.
 */
NLT_CHECKED nlt_rc_t nlt_store_dir_open(const nlt_env_t *env,
                                        const nlt_store_conf_t *conf,
                                        nlt_store_dir_t *d, nlt_err_t *err);

/*
 * The store's id, of NLT_STORE_ID_BYTES, from store.id below dir_fd.
 * NLT_ENOENT, NLT_EDATA, NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_store_dir_id(const nlt_env_t *env, int dir_fd,
                                      uint8_t *id, nlt_err_t *err);

/* Closes what is open; d may be opened again. */
void nlt_store_dir_close(const nlt_env_t *env, nlt_store_dir_t *d);

/*
 * A copy of conf with its two paths in room of NLT_STORE_PATH_MAX bytes
 * each.  NLT_ETOOBIG, NLT_EINVAL (no path, too little memory).
 */
NLT_CHECKED nlt_rc_t nlt_store_conf_copy(const nlt_store_conf_t *conf,
                                         nlt_store_conf_t *out, char *path,
                                         char *head_path, nlt_err_t *err);

/*
 * Makes a directory of the store (NLT_DIR_SNAPSHOTS, ...) once more, durably,
 * if somebody has removed it.  NLT_EIO, NLT_EFULL.
 */
NLT_CHECKED nlt_rc_t nlt_store_dir_again(const nlt_env_t *env, int dir_fd,
                                         const char *c_name, nlt_err_t *err);

/*
 * Numbers of the arenas that have a log in wal_fd, ascending, in the pool.
 * Files of other names are passed over.  NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_store_dir_logs(const nlt_env_t *env, int wal_fd,
                                        nlt_pool_t *pool, uint64_t **out,
                                        size_t *n, nlt_err_t *err);

/* Size of the log of an arena; 0 when there is none. */
uint64_t
nlt_store_dir_log_bytes(const nlt_env_t *env, int wal_fd, uint64_t arena_no);

/* How long samples are kept, by tenant. */
static inline nlt_tenant_keeps_t
nlt_store_keeps(const nlt_store_conf_t *conf)
{
    return (nlt_tenant_keeps_t){conf->tenant_keeps, conf->n_tenant_keeps,
                                conf->retention_ms};
}

#endif

/*
 * nlt_import_priv.h - what the files of the import share.
 *
 * Floor 3 (store); uses nlt_block_clone.  Only nlt_import*.c include it.
 * Threads: the helper's.
 *
 * nlt_import.c sees what lies in import/ and decides what is looked at next
 * and what is refused; nlt_import_adopt.c takes one block in, or undoes it.
 */
#ifndef NLT_STORE_IMPORT_PRIV_H
#define NLT_STORE_IMPORT_PRIV_H

#include "nlt_block_clone.h"
#include "nlt_import.h"

/* "<ULID>.tmp-for-creation/<ULID>" and a NUL, and room. */
#define NLT_IMPORT_NAME_SIZE 80

typedef enum {
    NLT_IMPORT_NEW,     /* not looked into, or not with a result */
    NLT_IMPORT_FAILED,  /* it is bad, but may still be changing: see why */
    NLT_IMPORT_REFUSED, /* and said so */
    NLT_IMPORT_TAKEN
} nlt_import_state_t;

/* One directory. */
typedef struct {
    nlt_ulid_t ulid;
    nlt_import_state_t state;
    nlt_block_look_t look; /* zero: could not be looked at */
    int64_t since_ns;      /* it looks like this; monotonic clock */
    int64_t retry_ns;      /* not before, after trouble */
    bool noted;            /* there is a file that says why */
    bool has_meta;
    nlt_block_meta_t meta; /* sources and parents sorted, in lists */
    nlt_ulid_t *lists;
    size_t n_lists;
    char *why; /* NUL-terminated; NULL: not known, the file says it */
} nlt_import_entry_t;

struct nlt_import_s {
    nlt_import_conf_t conf;
    nlt_import_entry_t *v; /* by ULID */
    size_t n;
    size_t cap;
    int64_t scan_ns;  /* when last; 0: never */
    uint64_t strange; /* hash of names that are no blocks, as last logged */
    size_t n_refused;
    nlt_ulid_t *replaced;
    size_t n_replaced;
    size_t replaced_cap;
};

/* ---- nlt_import.c ---- */

/* Opens import/; < 0: there is none, or -errno. */
int nlt_import_open_dir(const nlt_import_t *im);

/* "<ULID><suffix>" */
void nlt_import_name(char out[NLT_IMPORT_NAME_SIZE], const char *ulid,
                     const char *suffix);

/* The block is bad; said once it has stopped changing.  Keeps a copy. */
void
nlt_import_fail(nlt_import_t *im, nlt_import_entry_t *e, const char *c_why);

/* The block is bad whatever may still be copied: said at once. */
void nlt_import_refuse(nlt_import_t *im, nlt_import_entry_t *e, int dir_fd,
                       const char *c_why);

/*
 * meta.json of directory `ulid` below dir_fd, lists in the pool, sorted.
 * NLT_EDATA also when it may not be read; NLT_ENOENT, NLT_EIO, NLT_ENOMEM,
 * NLT_EVERSION.
 */
NLT_CHECKED nlt_rc_t nlt_import_read_meta(const nlt_import_t *im, int dir_fd,
                                          const char *ulid, nlt_pool_t *pool,
                                          nlt_block_meta_t *out,
                                          nlt_err_t *err);

/*
 * Was `child` made of `parent` and others, as far as the two say?  Lists of
 * both are sorted.
 */
bool nlt_import_is_child(const nlt_block_meta_t *child,
                         const nlt_block_meta_t *parent);

/* Is the ULID in a sorted list? */
bool nlt_import_in_list(const nlt_ulid_t *v, size_t n, const nlt_ulid_t *u);

/* ---- nlt_import_adopt.c ---- */

/*
 * Takes one settled block in: out->found, or e is failed or refused.  Results
 * as nlt_import_look().
 */
NLT_CHECKED nlt_rc_t nlt_import_adopt(nlt_import_t *im, nlt_import_entry_t *e,
                                      int dir_fd,
                                      const nlt_import_look_t *look,
                                      nlt_import_result_t *out,
                                      nlt_err_t *err);

#endif

/*
 * fl_store.h - a store under test: helper and several writers in one process,
 * clocks that stand still, the disk of the laboratory or the real one.
 */
#ifndef FL_STORE_H
#define FL_STORE_H

#include "fl_disk.h"
#include "fl_ledger.h"
#include "nlt_rw_build.h"
#include "nlt_store.h"
#include "nlt_store_tenants.h"

#define FL_WRITERS       3
#define FL_HOUR          INT64_C(3600000)
#define FL_DAY           (24 * FL_HOUR)
#define FL_TENANT_SERIES 1024u
#define FL_NOW           INT64_C(1700054400000)

typedef struct {
    char disk_path[96]; /* what a power loss concerns */
    char path[112];     /* path=, below it */
    char head_path[96]; /* lost with the power */
    nlt_io_t io;
    nlt_env_t env;
    fl_disk_t *disk; /* NULL: the real one */
    int64_t now_ms;
    _Atomic int64_t mono_ns;
    nlt_store_conf_t conf;
    nlt_helper_t *helper;
    nlt_store_t *store[FL_WRITERS];
    /*
     * Writers 1 and 2 are tenants "t1" and "t2", with the same labels as the
     * default one: their series i is number i + FL_TENANT_SERIES * writer.
     */
    bool tenants;
    bool lossless;     /* no power loss will come: acknowledged is safe */
    unsigned n_alerts; /* log lines that say that something is broken */
    char last_log[NLT_ERR_TEXT_MAX];
} fl_store_t;

/* A directory of our own, gone with fl_room_remove(). */
void fl_room_make(char *root, size_t size);
void fl_room_remove(const char *root);

/* An empty directory `name` below root, in whichever state it was. */
void fl_room_dir(const char *root, const char *name, char *out, size_t size);

/*
 * A store in root/name, whose head lies in root/head.  disk: NULL for the real
 * one.  Opens nothing.
 */
void fl_store_init(fl_store_t *s, const char *root, const char *name,
                   fl_disk_t *disk, int64_t wal_sync_ms);

/* Removes the head, as a reboot does. */
void fl_store_reboot(const fl_store_t *s);

/*
 * Makes path= if it is not there, as nginx does, opens n writers and the
 * helper, steps until ready; false: it did not get ready, and why is in err.
 */
bool fl_store_start(fl_store_t *s, unsigned n, nlt_err_t *err);

/* Steps until ready, at most 200 times. */
bool fl_store_wait(fl_store_t *s, nlt_err_t *err);

void fl_store_close(fl_store_t *s);

/* So many steps of helper and writers, 100 ms each. */
void fl_store_steps(fl_store_t *s, unsigned n);

/* Everything in blocks; false: not within 60 steps. */
bool fl_store_flush(fl_store_t *s);

/* Name of a writer's tenant, into buf. */
nlt_str_t fl_store_tenant(unsigned writer, char buf[8]);

/* A request that was sent and may not be answered yet. */
typedef struct {
    nlt_ingest_t *in;
    nlt_ingest_req_t *req; /* it waits for a sync */
    nlt_ingest_result_t result;
    size_t first_row, n; /* in the ledger, which is not sorted meanwhile */
    size_t before;       /* changes when it was sent */
    unsigned said;       /* number in its metadata; 0: it has none */
    rwb_t body;
} fl_post_t;

/*
 * One request by one writer: for each of n series, from `first` on, a sample
 * at t_ms.  Rows go into the ledger.  With wal_sync=always it then waits.
 */
void fl_store_post(fl_store_t *s, fl_ledger_t *l, unsigned writer,
                   unsigned first, unsigned n, int64_t t_ms, fl_post_t *p);

/* Waits for the answer, which the ledger learns; true: acknowledged. */
bool fl_store_finish(fl_store_t *s, fl_ledger_t *l, fl_post_t *p);

/* Both. */
bool fl_store_write(fl_store_t *s, fl_ledger_t *l, unsigned writer,
                    unsigned first, unsigned n, int64_t t_ms);

/* After a run: when each row became safe. */
void fl_store_settle(const fl_store_t *s, fl_ledger_t *l);

/*
 * Compares all that the store answers with the ledger at a position; hold:
 * and notes what was there with fl_ledger_hold().  False: v says why.
 */
bool fl_store_check(fl_store_t *s, fl_ledger_t *l, size_t at, bool hold,
                    fl_verdict_t *v);

/*
 * Is there anything in the directory that nobody needs?  Its name in out.
 * For a store that is ready and has nothing to do.
 */
bool fl_store_litter(const fl_store_t *s, char *out, size_t size);

#endif

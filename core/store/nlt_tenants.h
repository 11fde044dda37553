/*
 * nlt_tenants.h - who there is: names of tenants, their numbers, counters.
 *
 * Floor 3 (store); uses base.
 * Threads: all functions by any, of any process, unless it says [helper].
 *
 * Everywhere in the store a tenant is a number (D8).  This table gives a name
 * its number and keeps what is counted for each tenant.  It is a file of the
 * head, mapped MAP_SHARED by all processes:
 *
 *     head.<id>.tenants   [ header | heads of chains | slot 0, 1, 2 ... ]
 *
 *     heads[hash of name] -> slot -> slot      chains, newest first
 *     slot number = number of the tenant
 *
 * Number 0 is the default tenant, whom a location without nightlight_tenant
 * serves.  It is always there, has no name, and cannot be had by name.
 *
 * A number is given once in the life of a store, to one name.  Who deletes a
 * tenant frees the name; what is written under it from then on has another
 * number, and so nothing comes back, whatever logs and blocks still hold.
 *
 * How names survive (docs/decisions/0011-names-are-logged.md): the log of
 * each arena has {number, name} before the first series of that number
 * (nlt_wal.h, type 7), and before blocks with a number are committed the
 * helper writes all names to the file TENANTS.  At a start file and logs are
 * taken together.  A number below the file's `known` that the file has not is
 * one that was deleted.  That a number is not given twice does not hang on the
 * file: the MANIFEST has the next one too (nlt_manifest.h).
 *
 * Names are found without a lock; making and removing takes one, robust and
 * process-shared, for about a microsecond.  A slot is written before it is
 * put in its chain, and never used again; who finds a holder dead finishes
 * what he began.  Names are bytes to compare and to print, never a path.
 */
#ifndef NLT_STORE_TENANTS_H
#define NLT_STORE_TENANTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "nlt_buf.h"
#include "nlt_env.h"
#include "nlt_hash.h"

#define NLT_TENANT_NAME_MAX 128 /* bytes */

/* Numbers that a store has in its life; tenants at one time (tenants=). */
#define NLT_TENANTS_NUMBERS (1u << 18)
#define NLT_TENANTS_MAX     100000u
#define NLT_TENANTS_DEFAULT 1000u

/* No tenant has this number, nor stands it for any (nlt_stash.h). */
#define NLT_TENANT_NOBODY (UINT32_MAX - 1)

/* Nor this: it was looked up while nobody could know (nlt_store_tenants.h). */
#define NLT_TENANT_UNKNOWN (UINT32_MAX - 2)

#define NLT_TENANTS_HEADS 8192u

/*
 * What is counted of each tenant; relaxed adds, once a batch or a request.
 * They begin anew with a new head, as all counters do.
 */
#define NLT_TENANT_COUNTERS(X)                                                \
    X(samples)         /* accepted, also those that were there already */     \
    X(samples_refused) /* for whatever reason */                              \
    X(series_created)                                                         \
    X(requests_ok) /* of writers */                                           \
    X(requests_refused)                                                       \
    X(bytes_received)                                                         \
    X(queries)                                                                \
    X(query_errors)                                                           \
    X(query_samples)                                                          \
    X(query_ns)

/* Why samples of a tenant were not taken. */
#define NLT_TENANT_REASONS(X)                                                 \
    X(TOO_OLD, "too_old")                                                     \
    X(TOO_NEW, "too_new")                                                     \
    X(CONFLICT, "conflict") /* another value has their time */                \
    X(NO_ROOM, "no_room")                                                     \
    X(SERIES, "series_limit")                                                 \
    X(DROPPED, "dropped")                                                     \
    X(REQUEST, "request") /* refused with all of it, by 4xx */

typedef enum {
#define NLT_TENANT_REASON_ENUM(name, text) NLT_TENANT_##name,
    NLT_TENANT_REASONS(NLT_TENANT_REASON_ENUM)
#undef NLT_TENANT_REASON_ENUM
    NLT_N_TENANT_REASONS
} nlt_tenant_reason_t;

/* Limits of queries, by nlt_query_limit_t. */
#define NLT_TENANT_QUERY_LIMITS 5

typedef struct {
#define NLT_TENANT_COUNTER_FIELD(name) _Atomic uint64_t name;
    NLT_TENANT_COUNTERS(NLT_TENANT_COUNTER_FIELD)
#undef NLT_TENANT_COUNTER_FIELD
    /* newest certificate seen of the tenant: seconds since 1970; 0: none */
    _Atomic int64_t cert_not_after_s;
    _Atomic int64_t written_ms; /* last accepted request; 0: none */
    _Atomic int64_t queried_ms;
    _Atomic uint64_t refused[NLT_N_TENANT_REASONS]; /* samples */
    _Atomic uint64_t query_refused[NLT_TENANT_QUERY_LIMITS];
    _Atomic uint64_t requests_over_rate;
    _Atomic uint64_t requests_over_size;
} nlt_tenant_counters_t;

typedef enum {
    NLT_TENANT_FREE = 0, /* number not given */
    NLT_TENANT_LIVE,
    NLT_TENANT_GONE /* deleted; the number is used up */
} nlt_tenant_state_t;

/* One tenant: eight cache lines, of which the last six are for counting. */
typedef struct {
    _Atomic uint32_t state;  /* nlt_tenant_state_t */
    _Atomic uint32_t next;   /* in the chain; 0 ends it */
    _Atomic uint64_t logged; /* highest arena whose log has its name */
    int64_t created_ms;
    uint32_t name_len;
    char name[NLT_TENANT_NAME_MAX];
    nlt_tenant_counters_t counters;
    _Atomic uint64_t room[12]; /* for more of them */
} nlt_tenant_t;

_Static_assert(sizeof(nlt_tenant_t) <= 512, "ten thousand are five megabytes");

/* A slot's place: nlt_tenant_t and what is left of it. */
#define NLT_TENANT_BYTES 512u

typedef struct {
    uint64_t magic;
    uint8_t store_id[16];
    uint64_t size_bytes;
    pthread_mutex_t lock;        /* robust, process-shared */
    _Atomic uint32_t next;       /* lowest number not given yet */
    _Atomic uint32_t n;          /* that live, the default one not counted */
    _Atomic uint64_t changes;    /* + 1 at each tenant made or removed */
    _Atomic uint64_t saved;      /* of them in TENANTS; helper */
    _Atomic uint64_t removed;    /* `changes` after the last removal */
    _Atomic uint32_t file_next;  /* `next` of the TENANTS of the start, or 0 */
    _Atomic uint32_t file_known; /* `known` of it, or 0 */
    _Atomic uint64_t reserved_bytes;
    _Atomic uint32_t heads[NLT_TENANTS_HEADS];
} nlt_tenants_header_t;

/* The table as one process maps it. */
typedef struct {
    const nlt_env_t *env;
    uint8_t *base; /* NULL: nothing is mapped */
    nlt_tenants_header_t *hdr;
    uint64_t size;
    uint64_t seed; /* of the hash of names */
    int fd;
} nlt_tenants_t;

/* ---- files ---- */

struct nlt_head_s;

/* That of an attached head; valid until it is detached. */
nlt_tenants_t *nlt_head_tenants(struct nlt_head_s *h);

/* CRC of the layout, for that of the head. */
uint32_t nlt_tenants_layout_crc(void);

/*
 * [helper] Makes the file c_name in dir_fd, which must not be there, with the
 * default tenant, and maps it.  secret keys the hash.  NLT_EFULL, NLT_EIO,
 * NLT_ENOMEM, NLT_EBUG.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_create(nlt_tenants_t *t, const nlt_env_t *env,
                                        int dir_fd, const char *c_name,
                                        const uint8_t *store_id,
                                        const uint8_t *secret, nlt_err_t *err);

/* Maps it.  NLT_EDATA: not there, or not what create() made; NLT_EIO. */
NLT_CHECKED nlt_rc_t nlt_tenants_open(nlt_tenants_t *t, const nlt_env_t *env,
                                      int dir_fd, const char *c_name,
                                      const uint8_t *store_id,
                                      const uint8_t *secret, nlt_err_t *err);

/* Unmaps; nothing mapped is allowed. */
void nlt_tenants_close(nlt_tenants_t *t);

/* Bytes that have memory. */
uint64_t nlt_tenants_reserved(const nlt_tenants_t *t);

/* Bytes of memory that so many tenants take. */
uint64_t nlt_tenants_bytes(uint32_t tenants);

/* ---- names ---- */

/*
 * Is it a name: 1 to NLT_TENANT_NAME_MAX bytes of valid UTF-8 without control
 * characters (U+0000-1F, U+7F-9F)?  NLT_EINVAL with what is wrong in err.
 */
NLT_CHECKED nlt_rc_t nlt_tenant_name_check(nlt_str_t name, nlt_err_t *err);

/* Number of a name; 0: there is no such tenant.  Two cache misses. */
uint32_t nlt_tenants_find(const nlt_tenants_t *t, nlt_str_t name);

/*
 * Finds, or makes if fewer than limit are there.  NLT_EINVAL: not a name;
 * NLT_ELIMIT: limit are there, or no number is left; NLT_EFULL: no memory;
 * NLT_EDATA: the lock is corrupt.  err says which, in words for a sender.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_have(nlt_tenants_t *t, nlt_str_t name,
                                      uint32_t limit, uint32_t *number,
                                      nlt_err_t *err);

/*
 * [helper, while the head is being made] Gives a name a number that it had.
 * NLT_OK also when it has it already; NLT_EEXIST: name or number is taken
 * otherwise, or the number is deleted; NLT_EDATA: not a name, or the number
 * is out of range; NLT_EFULL.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_put(nlt_tenants_t *t, uint32_t number,
                                     nlt_str_t name, nlt_err_t *err);

/* [helper] Numbers below next are not given, from now on. */
void nlt_tenants_skip(nlt_tenants_t *t, uint32_t next);

/*
 * The name is free, the number is used up.  NLT_ENOENT: there is no such
 * tenant (any more); NLT_EDATA.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_remove(nlt_tenants_t *t, nlt_str_t name,
                                        uint32_t *number, nlt_err_t *err);

/* [helper] The file is not what it should be: it is written soon. */
void nlt_tenants_touch(nlt_tenants_t *t);

/*
 * All numbers below *next are in the table now, and its changes are those
 * counted.  NLT_EDATA: the lock is corrupt.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_mark(nlt_tenants_t *t, uint32_t *next,
                                      uint64_t *changes, nlt_err_t *err);

/* ---- the file TENANTS (docs/formats/tenants.md) ---- */

#define NLT_TENANTS_FILE_MAX (64u << 20)

/* Of a pool: the file, parsed. */
#define NLT_TENANTS_PARSED_MAX (2 * (size_t) NLT_TENANTS_FILE_MAX)

typedef struct {
    uint32_t number;
    nlt_str_t name;
} nlt_tenants_entry_t;

typedef struct {
    uint32_t next;
    uint32_t known;         /* lower ones that are not in v were deleted */
    nlt_tenants_entry_t *v; /* by number */
    size_t n;
} nlt_tenants_list_t;

/*
 * Appends the text of the file: all that live and are below next.  Of those
 * below known, which is not above next, all that live are in the table.
 */
void nlt_tenants_print(const nlt_tenants_t *t, uint32_t next, uint32_t known,
                       const uint8_t *store_id, nlt_buf_t *out);

/*
 * Parses it into the pool.  store_id NULL: of any store.  NLT_EDATA,
 * NLT_EVERSION, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_parse(nlt_str_t text, const uint8_t *store_id,
                                       nlt_pool_t *pool,
                                       nlt_tenants_list_t *out,
                                       nlt_err_t *err);

/*
 * [helper] Writes the table to the file in dir_fd, atomically and durably.
 * is_whole: no log is to be replayed that may name one more.  NLT_ENOMEM,
 * NLT_EFULL, NLT_EIO, NLT_EDATA.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_save(nlt_tenants_t *t, int dir_fd,
                                      const uint8_t *store_id, bool is_whole,
                                      nlt_err_t *err);

/*
 * Reads it; *out lies in the pool.  No file: *out names nobody, NLT_OK.
 * NLT_EDATA, NLT_EVERSION, NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_read(const nlt_env_t *env, int dir_fd,
                                      const uint8_t *store_id,
                                      nlt_pool_t *pool,
                                      nlt_tenants_list_t *out, nlt_err_t *err);

/*
 * [helper] Puts what the file has into an empty table; *next: its next
 * number.  No file: nothing, and *next is 1.  NLT_EDATA, NLT_EVERSION,
 * NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_load(nlt_tenants_t *t, int dir_fd,
                                      const uint8_t *store_id, uint32_t *next,
                                      nlt_err_t *err);

/*
 * [helper] Number that `number`, of a record {number, name} in a log, has in
 * the table; made if need be.  It is another one only if two logs differ.
 * *out 0: it was deleted.  NLT_EFULL, NLT_EDATA (not a name, lock),
 * NLT_ELIMIT.
 */
NLT_CHECKED nlt_rc_t nlt_tenants_replay(nlt_tenants_t *t, uint32_t number,
                                        nlt_str_t name, uint32_t *out,
                                        nlt_err_t *err);

/* ---- slots ---- */

/*
 * Slot of a number that lives or lived; NULL: it was never given.  Valid
 * while the table is mapped.
 */
nlt_tenant_t *nlt_tenants_slot(const nlt_tenants_t *t, uint32_t number);

/* Does it live?  0 always does.  One load and a cache miss. */
bool nlt_tenants_lives(const nlt_tenants_t *t, uint32_t number);

/* Its name, empty for the default tenant; never changes. */
static inline nlt_str_t
nlt_tenant_name(const nlt_tenant_t *slot)
{
    return (nlt_str_t){slot->name_len <= NLT_TENANT_NAME_MAX ? slot->name_len
                                                             : 0,
                       slot->name};
}

/* Numbers below this may live: for (no = 0; no < end; no++) ... slot(no). */
uint32_t nlt_tenants_end(const nlt_tenants_t *t);

/* How many live, the default one not counted. */
uint32_t nlt_tenants_count(const nlt_tenants_t *t);

/* Is its name in the log of this arena for certain? */
bool
nlt_tenants_logged(const nlt_tenants_t *t, uint32_t number, uint64_t arena_no);

/* It is, from now on. */
void nlt_tenants_set_logged(const nlt_tenants_t *t, uint32_t number,
                            uint64_t arena_no);

#endif

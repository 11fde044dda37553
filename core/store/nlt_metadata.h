/*
 * nlt_metadata.h - type, help and unit of metric families.
 *
 * Floor 3 (store); uses base, nlt_stash, nlt_lines.  Format of the file:
 * docs/formats/metadata.md.
 * Threads: any; the stash has the lock.  The file is the helper's.
 *
 * Senders say again and again what a metric is: remote_write 1.0 once a minute
 * for all families, 2.0 with each series.  Nightlight keeps the newest of each
 * family and tenant, in a stash of a fixed size in the head.
 *
 *     stash group   key   keyed hash of tenant and family
 *                   text  name of the family
 *     stash item    time  when it was last heard of, to NLT_METADATA_SEEN_MS
 *                   value hash of the text: is it what we know already?
 *                   text  {type, uvarint length, help, uvarint length, unit}
 *
 * What changes nothing costs one look into the stash.  What does is logged
 * (type 6 in docs/formats/wal.md), then put.  The log of an arena goes with
 * the arena, and a head may be lost, so the helper writes all of it to the
 * file METADATA before a log goes, if anything has changed, and reads it into
 * each new head before the logs are replayed: what they say is newer.
 *
 *     request --> log --> stash --------flush--------> METADATA --> log gone
 *                           ^------- new head ------------'
 *
 * A family that was not heard of for the retention is left out then and goes.
 */
#ifndef NLT_STORE_METADATA_H
#define NLT_STORE_METADATA_H

#include "nlt_env.h"
#include "nlt_head_layout.h"
#include "nlt_stash.h"

/* Numbers of the wire, the same in remote_write 1.0 and 2.0. */
typedef enum {
    NLT_METADATA_UNKNOWN = 0,
    NLT_METADATA_COUNTER,
    NLT_METADATA_GAUGE,
    NLT_METADATA_HISTOGRAM,
    NLT_METADATA_GAUGEHISTOGRAM,
    NLT_METADATA_SUMMARY,
    NLT_METADATA_INFO,
    NLT_METADATA_STATESET,
    NLT_METADATA_TYPES
} nlt_metadata_type_t;

/* "counter", ...; "unknown" also for what is no type. */
nlt_str_t nlt_metadata_type_text(uint32_t type);

/* Name, help and unit together. */
#define NLT_METADATA_BYTES_MAX 16384u

/* Type and two lengths, each of at most three bytes. */
#define NLT_METADATA_ENCODED_MAX (NLT_METADATA_BYTES_MAX + 8)

/* How exactly it is known when a family was last heard of. */
#define NLT_METADATA_SEEN_MS (INT64_C(3600) * 1000)

typedef struct {
    uint32_t tenant;
    uint32_t type;
    nlt_str_t name; /* of the family; not empty, UTF-8 as the others */
    nlt_str_t help;
    nlt_str_t unit;
} nlt_metadata_t;

/*
 * The family of a series, by its name and the type that 2.0 says: series of
 * histograms and summaries have suffixes that their family has not.  A part
 * of name.
 */
nlt_str_t nlt_metadata_family(nlt_str_t name, uint32_t type);

/* Can it be kept: lengths, UTF-8, a name? */
bool nlt_metadata_valid(const nlt_metadata_t *m);

typedef enum {
    NLT_METADATA_SAME = 0, /* nothing to do */
    NLT_METADATA_OLD,      /* the same, but not heard of for a while */
    NLT_METADATA_NEW       /* to be logged and put */
} nlt_metadata_news_t;

/*
 * Is m, which is valid, news to the stash?  secret: of the head.  *t_ms is
 * when the family was last heard of, INT64_MIN: never.  What is news is to be
 * put with a later time, also when a clock was set back: logs are not replayed
 * in the order in which they were written, and the latest time counts.
 */
nlt_metadata_news_t
nlt_metadata_look(nlt_stash_t *s, const uint8_t *secret,
                  const nlt_metadata_t *m, int64_t now_ms, int64_t *t_ms);

/* Puts it, if it is valid.  Codes as nlt_stash_put(), and NLT_EINVAL. */
NLT_CHECKED nlt_rc_t nlt_metadata_put(nlt_stash_t *s, const uint8_t *secret,
                                      const nlt_metadata_t *m, int64_t t_ms);

/*
 * The same for what a log says: NLT_EORDER, and nothing is put, when the stash
 * has something later.
 */
NLT_CHECKED nlt_rc_t nlt_metadata_replay(nlt_stash_t *s, const uint8_t *secret,
                                         const nlt_metadata_t *m,
                                         int64_t t_ms);

/* It was heard of at t_ms. */
void nlt_metadata_touch(nlt_stash_t *s, const uint8_t *secret,
                        const nlt_metadata_t *m, int64_t t_ms);

/* Is anything known of the family of m? */
bool nlt_metadata_known(nlt_stash_t *s, const uint8_t *secret,
                        const nlt_metadata_t *m);

/* Removes it, if it was last heard of before t_ms. */
void nlt_metadata_forget(nlt_stash_t *s, const uint8_t *secret,
                         const nlt_metadata_t *m, int64_t t_ms);

typedef struct {
    nlt_metadata_t *v;
    int64_t *seen_ms;
    size_t n;
} nlt_metadata_list_t;

/*
 * The families of a tenant (or NLT_STASH_ANY_TENANT), or the one of that name
 * (data not NULL), in the pool, by tenant and name.  NLT_ENOMEM;
 * NLT_ENOTREADY: the stash was just replaced.
 */
NLT_CHECKED nlt_rc_t nlt_metadata_list(nlt_stash_t *s, uint32_t tenant,
                                       nlt_str_t name, nlt_pool_t *pool,
                                       nlt_metadata_list_t *out,
                                       nlt_err_t *err);

/* ---- the file ---- */

#define NLT_METADATA_FILE_MAX (64u << 20)

/* Appends the file's text. */
void nlt_metadata_print(const nlt_metadata_list_t *l, const uint8_t *store_id,
                        nlt_buf_t *out);

/*
 * Parses it into the pool.  store_id NULL: of any store.  NLT_EDATA,
 * NLT_EVERSION, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_metadata_parse(nlt_str_t text,
                                        const uint8_t *store_id,
                                        nlt_pool_t *pool,
                                        nlt_metadata_list_t *out,
                                        nlt_err_t *err);

/*
 * Writes what the stash has to the file in dir_fd, atomically and durably;
 * families last heard of before border_ms go from the stash instead.
 * NLT_ENOMEM, NLT_EFULL, NLT_EIO; NLT_ENOTREADY as above.
 */
NLT_CHECKED nlt_rc_t nlt_metadata_save(const nlt_env_t *env, int dir_fd,
                                       const uint8_t *store_id, nlt_stash_t *s,
                                       const uint8_t *secret,
                                       int64_t border_ms, nlt_err_t *err);

/*
 * Puts what the file has and the stash has not.  No file: nothing.  NLT_EDATA,
 * NLT_EVERSION: nothing is put; NLT_EIO, NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_metadata_load(const nlt_env_t *env, int dir_fd,
                                       const uint8_t *store_id, nlt_stash_t *s,
                                       const uint8_t *secret, nlt_err_t *err);

#endif

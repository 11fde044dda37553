/*
 * nlt_wal.h - the write-ahead log: one file per arena.
 *
 * Floor 3 (store); uses base, wire.  Format: docs/formats/wal.md; it is a
 * documented contract, because the same frames will be shipped to standbys.
 * Threads: one writer object per process; any number of processes append to
 * the same file.
 *
 * The file is a sequence of frames.  Every process appends with one write(2)
 * in O_APPEND mode, so frames of different processes do not mix; but a
 * process killed inside write(2) leaves a torn frame in the middle with good
 * ones behind it.  Therefore frames carry a resync mark and two checksums,
 * and a reader that meets garbage searches for the next mark whose header
 * checks out (D5).  A sender chooses label bytes, and the reader may come to
 * search inside a torn frame of them: so the checksums begin from a value
 * made of the store id, and a frame that somebody hid in a label is none.
 *
 *   frame, little-endian, at any byte offset
 *    0  u32  mark           0x574c4e9b
 *    4  u8   version        1
 *    5  u8   type           1 header, 2 series, 3 samples, 4 delete,
 *                           5 exemplars, 6 metadata, 7 tenants
 *    6  u8   flags          1: body is snappy-compressed
 *    7  u8   zero
 *    8  u32  body length    <= 65536 - 24
 *   12  u32  records        in the body
 *   16  u32  CRC-32C of the body as stored, continued from the seed
 *   20  u32  CRC-32C of bytes 0..19, continued from the seed
 *   24  body
 *
 *   seed    CRC-32C of the store id; 0 in frames of type 1
 *
 *   type 1  once, first: store id 16, arena u64, created_ms i64
 *   type 2  {uvarint series, uvarint tenant, uvarint len, canonical labels}*
 *   type 3  samples: see nlt_wal_samples.h
 *   type 4  reserved for deletes
 *   type 5  {uvarint series, zigzag t_ms, u64 value, uvarint len, labels}*,
 *           labels as nlt_exemplar_encode() has them
 *   type 6  {uvarint tenant, u8 type, zigzag t_ms, uvarint len, name, uvarint
 *           len, help, uvarint len, unit}*
 *
 *   type 7  {uvarint tenant, uvarint len, name}*: before what is of a tenant
 *           other than 0, see nlt_tenants.h
 *
 * Series numbers are those of the arena, given anew in each arena, so a WAL
 * is complete by itself.  A sample whose series record was lost in a torn
 * stretch is dropped at replay and counted; the writer makes that nearly
 * impossible by putting series records in front of samples in one write.
 */
#ifndef NLT_STORE_WAL_H
#define NLT_STORE_WAL_H

#include "nlt_env.h"
#include "nlt_labels.h"

#define NLT_WAL_MARK       0x574c4e9bu
#define NLT_WAL_VERSION    1
#define NLT_WAL_HEADER_LEN 24
#define NLT_WAL_FRAME_MAX  65536
#define NLT_WAL_BODY_MAX   (NLT_WAL_FRAME_MAX - NLT_WAL_HEADER_LEN)
#define NLT_WAL_ID_BYTES   16 /* of a store id */

/* A batch is written out in between when this much of it is waiting. */
#define NLT_WAL_BATCH_BYTES (1u << 20)

typedef enum {
    NLT_WAL_HEADER = 1,
    NLT_WAL_SERIES = 2,
    NLT_WAL_SAMPLES = 3,
    NLT_WAL_DELETE = 4,
    NLT_WAL_EXEMPLARS = 5,
    NLT_WAL_METADATA = 6,
    NLT_WAL_TENANTS = 7
} nlt_wal_type_t;

#define NLT_WAL_F_SNAPPY 1u

/* ---- writing ---- */

typedef struct nlt_wal_s nlt_wal_t;

/*
 * Creates the log of an arena (helper): file with its header frame, synced,
 * directory synced.  An existing file of the same arena is left alone, but
 * its name is synced too: who made it may have died before he could.
 * NLT_EIO, NLT_EFULL (ENOSPC).
 */
NLT_CHECKED nlt_rc_t nlt_wal_create(const nlt_env_t *env, int dir_fd,
                                    const uint8_t *store_id, uint64_t arena_no,
                                    int64_t now_ms, nlt_err_t *err);

/*
 * Opens the log of an arena for appending.  NLT_ENOENT, NLT_EIO; NLT_EDATA
 * when its header frame is damaged or of another arena; NLT_EVERSION;
 * NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_wal_open(const nlt_env_t *env, int dir_fd,
                                  uint64_t arena_no, nlt_wal_t **out,
                                  nlt_err_t *err);

/* NULL is allowed. */
void nlt_wal_close(nlt_wal_t *w);

/* Number of the arena it belongs to. */
uint64_t nlt_wal_arena(const nlt_wal_t *w);

/* Bytes of the file, by all processes; < 0: not known.  One system call. */
int64_t nlt_wal_bytes(const nlt_wal_t *w);

typedef struct {
    uint32_t series;
    int64_t t_ms;
    uint64_t v_bits;
} nlt_wal_sample_t;

/* Series and labels as logged: see the types above. */
typedef struct {
    uint32_t series;
    int64_t t_ms;
    uint64_t v_bits;
    nlt_str_t labels;
} nlt_wal_exemplar_t;

typedef struct {
    uint32_t tenant;
    uint8_t type;
    int64_t t_ms; /* of what is known of a family the latest counts */
    nlt_str_t name;
    nlt_str_t help;
    nlt_str_t unit;
} nlt_wal_metadata_t;

/* Bytes of the texts of one such record. */
#define NLT_WAL_TEXT_MAX 32768

/*
 * A batch is built in memory and written with one write(2); a batch of more
 * than NLT_WAL_BATCH_BYTES with several, each of whole frames.  begin empties
 * it; add_* frame as needed; failures are sticky and reported by commit.
 * Add the series records first.  A canonical label set has at most
 * NLT_SERIES_BYTES_MAX bytes; series numbers are > 0.  Texts of exemplars and
 * metadata have at most NLT_WAL_TEXT_MAX bytes together.
 */
void nlt_wal_begin(nlt_wal_t *w);
void nlt_wal_add_series(nlt_wal_t *w, uint32_t series, uint32_t tenant,
                        nlt_str_t canonical);
void nlt_wal_add_sample(nlt_wal_t *w, uint32_t series, int64_t t_ms,
                        uint64_t v_bits);
void nlt_wal_add_exemplar(nlt_wal_t *w, const nlt_wal_exemplar_t *x);
void nlt_wal_add_metadata(nlt_wal_t *w, const nlt_wal_metadata_t *m);
void nlt_wal_add_tenant(nlt_wal_t *w, uint32_t tenant, nlt_str_t name);

/*
 * Writes the batch.  NLT_OK: all of it is in the page cache (survives kill
 * -9 of everything; power loss after the next sync).  NLT_EFULL (ENOSPC),
 * NLT_EIO: nothing of it may be acknowledged, though some of it may be in
 * the log.  After NLT_EIO commit and sync of this log answer NLT_EIO for ever.
 * *bytes is what was written.  A short write is continued at the
 * frame that it cut, written again as a whole, since other processes may
 * have written behind it.  About 12 ns a sample.
 */
NLT_CHECKED nlt_rc_t nlt_wal_commit(nlt_wal_t *w, size_t *bytes,
                                    nlt_err_t *err);

/*
 * fdatasync.  Never retried on the same file after a failure (D5): from then
 * on commit and sync of this log answer NLT_EIO.
 */
NLT_CHECKED nlt_rc_t nlt_wal_sync(nlt_wal_t *w, nlt_err_t *err);

/*
 * The same by another thread, while the writer goes on: looks at nothing that
 * changes, and so does not know of failures before.  After one the writer
 * calls nlt_wal_give_up().  Covers what was committed before the call.
 */
NLT_CHECKED nlt_rc_t nlt_wal_sync_aside(const nlt_wal_t *w, nlt_err_t *err);

/* Commit and sync of this log answer NLT_EIO from now on. */
void nlt_wal_give_up(nlt_wal_t *w);

/* ---- reading ---- */

typedef struct {
    void *ctx;
    /*
     * Return other than NLT_OK ends the reading with it.  Both NULL: frames
     * are checked (NLT_EVERSION), their records are not looked at.
     */
    nlt_rc_t (*series)(void *ctx, uint32_t series, uint32_t tenant,
                       nlt_str_t canonical);
    nlt_rc_t (*samples)(void *ctx, const nlt_wal_sample_t *s, size_t n);
    /* Called now and then with the bytes read so far; may be NULL. */
    nlt_rc_t (*progress)(void *ctx, uint64_t bytes);
    /* May be NULL: such records are checked and counted.  Texts borrowed. */
    nlt_rc_t (*exemplar)(void *ctx, const nlt_wal_exemplar_t *x);
    nlt_rc_t (*metadata)(void *ctx, const nlt_wal_metadata_t *m);
    nlt_rc_t (*tenant)(void *ctx, uint32_t tenant, nlt_str_t name);
} nlt_wal_read_cb_t;

#define NLT_WAL_SKIPS_NOTED 8

typedef struct {
    uint64_t bytes; /* of the file */
    uint64_t frames;
    uint64_t series;
    uint64_t samples;
    uint64_t exemplars;
    uint64_t metadata;
    uint64_t tenants;
    uint64_t skipped_bytes; /* by resync */
    uint64_t skips;         /* stretches; where the first ones are: */
    struct {
        uint64_t off;
        uint64_t len;
    } skip[NLT_WAL_SKIPS_NOTED];
    uint64_t arena_no;
    uint64_t place; /* of the series record that a callback is about */
} nlt_wal_stats_t;

/*
 * Reads a whole log of size bytes (a mapping, or bytes of a fuzzer) and
 * calls back for every record that checks out.  Bad stretches are skipped
 * and counted, never an error; NLT_EVERSION for a newer frame version, or an
 * unknown type or flag, with a good checksum; NLT_EDATA when the file's
 * header frame is not of store_id (NULL: any; then the frame must be whole).
 * A damaged header frame leaves arena_no 0.  NLT_ENOMEM.  O(size).  Uses at
 * most 256 KiB of mem.
 */
NLT_CHECKED nlt_rc_t nlt_wal_read(const nlt_env_t *env, const uint8_t *data,
                                  size_t size, const uint8_t *store_id,
                                  const nlt_wal_read_cb_t *cb,
                                  nlt_wal_stats_t *stats, nlt_err_t *err);

/*
 * Series records again, by their place: for who cannot keep them all.  A place
 * is (where the frame begins + 1) << 16 | number of the record in it, and so
 * never 0.  The frame looked at last stays decoded: records in the order of
 * the log cost some 10 ns, others some 20 us.
 */
typedef struct {
    const nlt_env_t *env;
    const uint8_t *data; /* the log, as nlt_wal_read() had it */
    size_t size;
    char *plain;    /* NLT_WAL_BODY_MAX bytes */
    uint64_t frame; /* in hand: where it begins + 1; 0: none */
    nlt_str_t body;
    size_t pos; /* in body, of record: */
    uint32_t next;
} nlt_wal_seek_t;

/* Retains data until end.  NLT_ENOMEM. */
NLT_CHECKED nlt_rc_t nlt_wal_seek_begin(nlt_wal_seek_t *s,
                                        const nlt_env_t *env,
                                        const uint8_t *data, size_t size);
void nlt_wal_seek_end(nlt_wal_seek_t *s);

/*
 * The record at a place that nlt_wal_read() of the same bytes gave.  canonical
 * is borrowed until the next call.  NLT_EDATA: it is not there (any more).
 */
NLT_CHECKED nlt_rc_t nlt_wal_series_at(nlt_wal_seek_t *s, uint64_t place,
                                       uint32_t *tenant, nlt_str_t *canonical);

#endif

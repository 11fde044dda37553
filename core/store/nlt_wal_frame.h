/*
 * nlt_wal_frame.h - the frame around the records of the log.
 *
 * Floor 3 (store); uses base, nlt_wal.h, where the layout is drawn.
 * For the writer and the reader of the log only.
 */
#ifndef NLT_STORE_WAL_FRAME_H
#define NLT_STORE_WAL_FRAME_H

#include "nlt_bytes.h"
#include "nlt_hash.h"
#include "nlt_wal.h"

/* Body of a header frame: store id, arena number, creation time. */
#define NLT_WAL_HEADER_BODY (NLT_WAL_ID_BYTES + 8 + 8)

typedef struct {
    uint8_t version;
    uint8_t type; /* nlt_wal_type_t, or a later one */
    uint8_t flags;
    uint32_t body_len;
    uint32_t records;
    uint32_t body_crc;
} nlt_wal_frame_t;

/* What the checksums of a store's logs begin from. */
static inline uint32_t
nlt_wal_seed(const uint8_t *store_id)
{
    return nlt_crc32c(0, store_id, NLT_WAL_ID_BYTES);
}

/* Writes the header in front of the body that lies behind it already. */
static inline void
nlt_wal_frame_put(uint8_t *p, nlt_wal_type_t type, uint8_t flags,
                  uint32_t body_len, uint32_t records, uint32_t seed)
{
    if (type == NLT_WAL_HEADER) {
        seed = 0;
    }
    nlt_put_le32(p, NLT_WAL_MARK);
    p[4] = NLT_WAL_VERSION;
    p[5] = (uint8_t) type;
    p[6] = flags;
    p[7] = 0;
    nlt_put_le32(p + 8, body_len);
    nlt_put_le32(p + 12, records);
    nlt_put_le32(p + 16, nlt_crc32c(seed, p + NLT_WAL_HEADER_LEN, body_len));
    nlt_put_le32(p + 20, nlt_crc32c(seed, p, 20));
}

/*
 * What a frame at p says of itself, if n bytes can hold it; its checksums are
 * not looked at.  Fills *f then.
 */
static inline bool
nlt_wal_frame_peek(const uint8_t *p, size_t n, nlt_wal_frame_t *f)
{
    if (n < NLT_WAL_HEADER_LEN || nlt_le32(p) != NLT_WAL_MARK) {
        return false;
    }
    f->version = p[4];
    f->type = p[5];
    f->flags = p[6];
    f->body_len = nlt_le32(p + 8);
    f->records = nlt_le32(p + 12);
    f->body_crc = nlt_le32(p + 16);
    return f->body_len <= NLT_WAL_BODY_MAX
           && f->body_len <= n - NLT_WAL_HEADER_LEN;
}

/*
 * Is there a whole frame at p, of at most n bytes, both checksums right?
 * Fills *f then.
 */
static inline bool
nlt_wal_frame_get(const uint8_t *p, size_t n, uint32_t seed,
                  nlt_wal_frame_t *f)
{
    if (!nlt_wal_frame_peek(p, n, f)) {
        return false;
    }
    if (f->type == NLT_WAL_HEADER) {
        seed = 0;
    }
    return nlt_crc32c(seed, p, 20) == nlt_le32(p + 20)
           && nlt_crc32c(seed, p + NLT_WAL_HEADER_LEN, f->body_len)
                  == f->body_crc;
}

#endif

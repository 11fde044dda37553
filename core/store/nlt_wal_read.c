/*
 * nlt_wal_read.c - reads the log, whatever happened to it.
 */
#include "nlt_limits.h"
#include "nlt_remote_write.h"
#include "nlt_wal_frame.h"
#include "nlt_wal_samples.h"

#define SAMPLES_AT_ONCE 4096
#define PROGRESS_BYTES  (256u << 10)

/* Of a place, for the record in the frame; a record has three bytes at least
 */
#define PLACE_BITS 16
_Static_assert(NLT_WAL_BODY_MAX / 3 < 1u << PLACE_BITS, "records have places");

typedef struct {
    const nlt_wal_read_cb_t *cb;
    nlt_wal_stats_t *stats;
    uint32_t seed;
    bool stopped;              /* a callback wants no more */
    char *plain;               /* NLT_WAL_BODY_MAX bytes */
    nlt_wal_sample_t *samples; /* SAMPLES_AT_ONCE */
} reading_t;

/* Where the next mark may be, from pos on; size if nowhere. */
static size_t
next_mark(const uint8_t *data, size_t size, size_t pos)
{
    while (size - pos >= NLT_WAL_HEADER_LEN) {
        const uint8_t *at =
            memchr(data + pos, NLT_WAL_MARK & 0xff, size - pos);

        if (at == NULL) {
            break;
        }
        pos = (size_t) (at - data);
        if (size - pos >= 4 && nlt_le32(at) == NLT_WAL_MARK) {
            return pos;
        }
        pos++;
    }
    return size;
}

/* One series record; false: it is none. */
static bool
get_series(nlt_reader_t *r, uint32_t *series, uint32_t *tenant,
           nlt_str_t *canonical)
{
    uint64_t s = nlt_read_uvarint(r);
    uint64_t t = nlt_read_uvarint(r);

    *canonical = nlt_read_uvarint_str(r);
    *series = (uint32_t) s;
    *tenant = (uint32_t) t;
    return !r->failed && s != 0 && s <= UINT32_MAX && t <= UINT32_MAX;
}

/* Records of a series frame; what is wrong with it, if anything. */
static nlt_rc_t
read_series(reading_t *rd, nlt_str_t body, uint32_t records)
{
    nlt_reader_t r = nlt_reader(body.data, body.len);
    nlt_rc_t rc;

    for (; records && nlt_reader_left(&r); records--) {
        uint32_t series, tenant;
        nlt_str_t canonical;

        if (!get_series(&r, &series, &tenant, &canonical)) {
            return NLT_EDATA;
        }
        rd->stats->series++;
        rc = rd->cb->series(rd->cb->ctx, series, tenant, canonical);
        if (rc != NLT_OK) {
            rd->stopped = true;
            return rc;
        }
        rd->stats->place++;
    }
    return records == 0 && nlt_reader_left(&r) == 0 ? NLT_OK : NLT_EDATA;
}

/* Hands out what is in rd->samples. */
static nlt_rc_t
give_samples(reading_t *rd, size_t *n)
{
    nlt_rc_t rc = NLT_OK;

    if (*n) {
        rd->stats->samples += *n;
        rc = rd->cb->samples(rd->cb->ctx, rd->samples, *n);
        rd->stopped = rc != NLT_OK;
        *n = 0;
    }
    return rc;
}

static nlt_rc_t
read_samples(reading_t *rd, nlt_str_t body, uint32_t records)
{
    nlt_reader_t r = nlt_reader(body.data, body.len);
    nlt_wal_prev_t prev = {0};
    nlt_rc_t rc, bad = NLT_OK;
    size_t n = 0;

    for (; records && nlt_reader_left(&r); records--) {
        bad = nlt_wal_sample_get(&prev, &r, &rd->samples[n]);
        if (bad != NLT_OK) {
            break;
        }
        if (++n == SAMPLES_AT_ONCE) {
            rc = give_samples(rd, &n);
            if (rc != NLT_OK) {
                return rc;
            }
        }
    }
    rc = give_samples(rd, &n);
    if (rc != NLT_OK) {
        return rc;
    }
    return bad == NLT_OK && records == 0 && nlt_reader_left(&r) == 0
               ? NLT_OK
               : NLT_EDATA;
}

/* One exemplar; false: it is none. */
static bool
get_exemplar(nlt_reader_t *r, nlt_wal_exemplar_t *x)
{
    uint64_t series = nlt_read_uvarint(r);
    const uint8_t *value;

    x->series = (uint32_t) series;
    x->t_ms = nlt_unzigzag(nlt_read_uvarint(r));
    value = nlt_read_bytes(r, 8);
    x->v_bits = value ? nlt_le64(value) : 0;
    x->labels = nlt_read_uvarint_str(r);
    return !r->failed && series != 0 && series <= UINT32_MAX;
}

static nlt_rc_t
read_exemplars(reading_t *rd, nlt_str_t body, uint32_t records)
{
    nlt_reader_t r = nlt_reader(body.data, body.len);

    for (; records && nlt_reader_left(&r); records--) {
        nlt_wal_exemplar_t x;
        nlt_rc_t rc;

        if (!get_exemplar(&r, &x)) {
            return NLT_EDATA;
        }
        rd->stats->exemplars++;
        rc = rd->cb->exemplar ? rd->cb->exemplar(rd->cb->ctx, &x) : NLT_OK;
        if (rc != NLT_OK) {
            rd->stopped = true;
            return rc;
        }
    }
    return records == 0 && nlt_reader_left(&r) == 0 ? NLT_OK : NLT_EDATA;
}

static nlt_rc_t
read_metadata(reading_t *rd, nlt_str_t body, uint32_t records)
{
    nlt_reader_t r = nlt_reader(body.data, body.len);

    for (; records && nlt_reader_left(&r); records--) {
        uint64_t tenant = nlt_read_uvarint(&r);
        nlt_wal_metadata_t m = {.tenant = (uint32_t) tenant};
        nlt_rc_t rc;

        m.type = nlt_read_u8(&r);
        m.t_ms = nlt_unzigzag(nlt_read_uvarint(&r));
        m.name = nlt_read_uvarint_str(&r);
        m.help = nlt_read_uvarint_str(&r);
        m.unit = nlt_read_uvarint_str(&r);
        if (r.failed || tenant > UINT32_MAX) {
            return NLT_EDATA;
        }
        rd->stats->metadata++;
        rc = rd->cb->metadata ? rd->cb->metadata(rd->cb->ctx, &m) : NLT_OK;
        if (rc != NLT_OK) {
            rd->stopped = true;
            return rc;
        }
    }
    return records == 0 && nlt_reader_left(&r) == 0 ? NLT_OK : NLT_EDATA;
}

static nlt_rc_t
read_tenants(reading_t *rd, nlt_str_t body, uint32_t records)
{
    nlt_reader_t r = nlt_reader(body.data, body.len);

    for (; records && nlt_reader_left(&r); records--) {
        uint64_t tenant = nlt_read_uvarint(&r);
        nlt_str_t name = nlt_read_uvarint_str(&r);
        nlt_rc_t rc;

        if (r.failed || tenant == 0 || tenant > UINT32_MAX) {
            return NLT_EDATA;
        }
        rd->stats->tenants++;
        rc = rd->cb->tenant
                 ? rd->cb->tenant(rd->cb->ctx, (uint32_t) tenant, name)
                 : NLT_OK;
        if (rc != NLT_OK) {
            rd->stopped = true;
            return rc;
        }
    }
    return records == 0 && nlt_reader_left(&r) == 0 ? NLT_OK : NLT_EDATA;
}

/* Is it a type that this program knows? */
static bool
is_known(uint8_t type)
{
    return (type >= NLT_WAL_HEADER && type <= NLT_WAL_SAMPLES)
           || (type >= NLT_WAL_EXEMPLARS && type <= NLT_WAL_TENANTS);
}

/* The body of a frame, decoded into plain if need be; false: it is damaged. */
static bool
plain_body(const uint8_t *p, const nlt_wal_frame_t *f, char *plain,
           nlt_str_t *body)
{
    size_t n;

    *body = (nlt_str_t){f->body_len, (const char *) p + NLT_WAL_HEADER_LEN};
    if (!(f->flags & NLT_WAL_F_SNAPPY)) {
        return true;
    }
    if (nlt_snappy_length(*body, NLT_WAL_BODY_MAX, &n, NULL) != NLT_OK
        || nlt_snappy_decode(*body, plain, n, NULL) != NLT_OK) {
        return false;
    }
    *body = (nlt_str_t){n, plain};
    return true;
}

/*
 * The records of a frame whose checksums are right.  NLT_EDATA still counts
 * as damage: the frame was written wrong.  NLT_EVERSION: not ours to read.
 */
static nlt_rc_t
read_frame(reading_t *rd, const uint8_t *p, const nlt_wal_frame_t *f)
{
    nlt_str_t body;

    if (f->version != NLT_WAL_VERSION || (f->flags & ~NLT_WAL_F_SNAPPY)) {
        return NLT_EVERSION;
    }
    if (rd->cb->series == NULL) {
        return is_known(f->type) ? NLT_OK : NLT_EVERSION;
    }
    if (!plain_body(p, f, rd->plain, &body)) {
        return NLT_EDATA;
    }
    switch (f->type) {
    case NLT_WAL_HEADER:
        return NLT_OK;
    case NLT_WAL_SERIES:
        return read_series(rd, body, f->records);
    case NLT_WAL_SAMPLES:
        return read_samples(rd, body, f->records);
    case NLT_WAL_EXEMPLARS:
        return read_exemplars(rd, body, f->records);
    case NLT_WAL_METADATA:
        return read_metadata(rd, body, f->records);
    case NLT_WAL_TENANTS:
        return read_tenants(rd, body, f->records);
    default:
        return NLT_EVERSION;
    }
}

/* Finds the seed and checks whose log it is. */
static nlt_rc_t
read_first(reading_t *rd, const uint8_t *data, size_t size,
           const uint8_t *store_id, nlt_err_t *err)
{
    const uint8_t *body = data + NLT_WAL_HEADER_LEN;
    nlt_wal_frame_t f;

    if (size && nlt_wal_frame_get(data, size, 0, &f)
        && f.type == NLT_WAL_HEADER && f.body_len >= NLT_WAL_HEADER_BODY) {
        if (store_id != NULL
            && memcmp(store_id, body, NLT_WAL_ID_BYTES) != 0) {
            return nlt_err_set_at(err, NLT_EDATA, 0,
                                  "the log belongs to another store");
        }
        rd->seed = nlt_wal_seed(body);
        rd->stats->arena_no = nlt_le64(body + NLT_WAL_ID_BYTES);
        return NLT_OK;
    }
    if (store_id == NULL) {
        return nlt_err_set_at(err, NLT_EDATA, 0,
                              "the first frame of the log is damaged");
    }
    rd->seed = nlt_wal_seed(store_id);
    return NLT_OK;
}

/* Bytes that are no frame; `on`: they continue a stretch. */
static void
note_skip(nlt_wal_stats_t *st, size_t pos, size_t len, bool on)
{
    st->skips += !on;
    st->skipped_bytes += len;
    if (st->skips <= NLT_WAL_SKIPS_NOTED) {
        if (!on) {
            st->skip[st->skips - 1].off = pos;
        }
        st->skip[st->skips - 1].len += len;
    }
}

static nlt_rc_t
read_all(reading_t *rd, const uint8_t *data, size_t size, nlt_err_t *err)
{
    nlt_wal_stats_t *st = rd->stats;
    size_t pos = 0, told = 0;
    bool in_skip = false;
    nlt_wal_frame_t f;
    nlt_rc_t rc;

    while (pos < size) {
        rc = NLT_EDATA;
        /* A header frame has no seed, anybody can make one: first only. */
        if (nlt_wal_frame_get(data + pos, size - pos, rd->seed, &f)
            && (f.type != NLT_WAL_HEADER || pos == 0)) {
            st->place = ((uint64_t) pos + 1) << PLACE_BITS;
            rc = read_frame(rd, data + pos, &f);
            if (rd->stopped) {
                return nlt_err_set_at(err, rc, (int64_t) pos,
                                      "reading the log was ended: %s",
                                      nlt_rc_text(rc));
            }
            if (rc == NLT_EVERSION) {
                return nlt_err_set_at(
                    err, rc, (int64_t) pos,
                    "the log has a frame of version %u, type %u, flags %u "
                    "at byte %zu: written by a later version",
                    f.version, f.type, f.flags, pos);
            }
        }
        if (rc == NLT_OK) {
            in_skip = false;
            st->frames++;
            pos += NLT_WAL_HEADER_LEN + f.body_len;
        } else {
            size_t next = next_mark(data, size, pos + 1);

            note_skip(st, pos, next - pos, in_skip);
            in_skip = true;
            pos = next;
        }
        if (rd->cb->progress != NULL && pos - told >= PROGRESS_BYTES) {
            told = pos;
            rc = rd->cb->progress(rd->cb->ctx, pos);
            if (rc != NLT_OK) {
                return nlt_err_set(err, rc, "reading the log was ended");
            }
        }
    }
    return NLT_OK;
}

nlt_rc_t
nlt_wal_read(const nlt_env_t *env, const uint8_t *data, size_t size,
             const uint8_t *store_id, const nlt_wal_read_cb_t *cb,
             nlt_wal_stats_t *stats, nlt_err_t *err)
{
    reading_t rd = {.cb = cb, .stats = stats};
    size_t samples_size = SAMPLES_AT_ONCE * sizeof(*rd.samples);
    nlt_rc_t rc;

    *stats = (nlt_wal_stats_t){.bytes = size};
    rc = read_first(&rd, data, size, store_id, err);
    if (rc != NLT_OK) {
        return rc;
    }
    rd.plain = env->mem->alloc(env->mem->ctx, NLT_WAL_BODY_MAX);
    rd.samples = env->mem->alloc(env->mem->ctx, samples_size);
    if (rd.plain != NULL && rd.samples != NULL) {
        rc = read_all(&rd, data, size, err);
    } else {
        rc = nlt_err_set(err, NLT_ENOMEM, "out of memory");
    }
    nlt_mem_free(env->mem, rd.plain, NLT_WAL_BODY_MAX);
    nlt_mem_free(env->mem, rd.samples, samples_size);
    return rc;
}

/* ---- by place ---- */

nlt_rc_t
nlt_wal_seek_begin(nlt_wal_seek_t *s, const nlt_env_t *env,
                   const uint8_t *data, size_t size)
{
    *s = (nlt_wal_seek_t){.env = env, .data = data, .size = size};
    s->plain = env->mem->alloc(env->mem->ctx, NLT_WAL_BODY_MAX);
    return s->plain != NULL ? NLT_OK : NLT_ENOMEM;
}

void
nlt_wal_seek_end(nlt_wal_seek_t *s)
{
    if (s->plain != NULL) {
        nlt_mem_free(s->env->mem, s->plain, NLT_WAL_BODY_MAX);
        s->plain = NULL;
    }
}

/* Takes a frame in hand.  It was read once, checksums and all. */
static bool
take_frame(nlt_wal_seek_t *s, uint64_t frame)
{
    size_t off = (size_t) frame - 1;
    nlt_wal_frame_t f;

    s->frame = 0;
    if (frame == 0 || off >= s->size
        || !nlt_wal_frame_peek(s->data + off, s->size - off, &f)
        || f.type != NLT_WAL_SERIES
        || !plain_body(s->data + off, &f, s->plain, &s->body)) {
        return false;
    }
    s->frame = frame;
    s->pos = 0;
    s->next = 0;
    return true;
}

nlt_rc_t
nlt_wal_series_at(nlt_wal_seek_t *s, uint64_t place, uint32_t *tenant,
                  nlt_str_t *canonical)
{
    uint32_t no = (uint32_t) place & ((1u << PLACE_BITS) - 1), series;
    nlt_reader_t r;

    if ((s->frame != place >> PLACE_BITS || s->next > no)
        && !take_frame(s, place >> PLACE_BITS)) {
        return NLT_EDATA;
    }
    r = nlt_reader(s->body.data + s->pos, s->body.len - s->pos);
    do {
        if (!get_series(&r, &series, tenant, canonical)) {
            s->frame = 0;
            return NLT_EDATA;
        }
    } while (s->next++ < no);
    s->pos = s->body.len - nlt_reader_left(&r);
    return NLT_OK;
}

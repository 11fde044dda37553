/*
 * fuzz_wal.c - the reader of the log on any bytes.
 *
 * The first byte chooses how: bit 0 reads the bytes as a file; otherwise
 * they are the body of one frame (bits 1, 2 and 4: type - 1, bit 3:
 * compressed) that gets right checksums, since no fuzzer guesses a CRC.
 */
#include <stdlib.h>

#include "nlt_exemplars.h"
#include "nlt_metadata.h"
#include "nlt_tenants.h"
#include "nlt_wal_frame.h"
#include "nlt_wal_samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t store_id[NLT_WAL_ID_BYTES] = "0123456789abcdef";

typedef struct {
    nlt_wal_stats_t stats;
    nlt_wal_seek_t seek;
} reading_t;

static nlt_rc_t
on_series(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t labels)
{
    reading_t *rd = ctx;
    nlt_str_t again;
    uint32_t whose;

    if (series == 0) {
        abort();
    }
    /* By its place it is found again. */
    if (nlt_wal_series_at(&rd->seek, rd->stats.place, &whose, &again) != NLT_OK
        || whose != tenant || !nlt_str_eq(again, labels)) {
        abort();
    }
    return NLT_OK;
}

/* What was read can be written and read again. */
static nlt_rc_t
on_samples(void *ctx, const nlt_wal_sample_t *s, size_t n)
{
    nlt_wal_prev_t put = {0}, get = {0};

    (void) ctx;
    for (size_t i = 0; i < n; i++) {
        uint8_t bytes[NLT_WAL_SAMPLE_BYTES_MAX];
        size_t len = nlt_wal_sample_put(&put, bytes, s[i].series, s[i].t_ms,
                                        s[i].v_bits);
        nlt_reader_t r = nlt_reader(bytes, len);
        nlt_wal_sample_t again;

        if (s[i].series == 0 || len > 25
            || nlt_wal_sample_get(&get, &r, &again) != NLT_OK
            || again.series != s[i].series || again.t_ms != s[i].t_ms
            || again.v_bits != s[i].v_bits || nlt_reader_left(&r)) {
            abort();
        }
    }
    return NLT_OK;
}

static nlt_rc_t
on_exemplar(void *ctx, const nlt_wal_exemplar_t *x)
{
    nlt_label_t labels[NLT_EXEMPLAR_LABELS_MAX];
    char again[NLT_EXEMPLAR_BYTES_MAX];
    size_t n, len;

    (void) ctx;
    if (x->series == 0) {
        abort();
    }
    /* Labels that are ones can be written again, to the same length. */
    if (nlt_exemplar_decode(x->labels, labels, &n) == NLT_OK
        && (nlt_exemplar_encode((nlt_labels_t){labels, n}, again, &len)
                != NLT_EXEMPLAR_OK
            || len > x->labels.len)) {
        abort();
    }
    return NLT_OK;
}

static nlt_rc_t
on_metadata(void *ctx, const nlt_wal_metadata_t *m)
{
    const nlt_metadata_t x = {m->tenant, m->type, m->name, m->help, m->unit};

    (void) ctx;
    if (nlt_metadata_valid(&x)
        && nlt_metadata_family(x.name, x.type).len > x.name.len) {
        abort();
    }
    return NLT_OK;
}

static nlt_rc_t
on_tenant(void *ctx, uint32_t tenant, nlt_str_t name)
{
    (void) ctx;
    if (tenant == 0
        || (nlt_tenant_name_check(name, NULL) == NLT_OK
            && (name.len == 0 || name.len > NLT_TENANT_NAME_MAX))) {
        abort();
    }
    return NLT_OK;
}

static nlt_rc_t
read_all(const uint8_t *data, size_t size, nlt_wal_stats_t *stats)
{
    reading_t rd = {.stats = {.bytes = 0}};
    nlt_wal_read_cb_t cb = {.ctx = &rd,
                            .series = on_series,
                            .samples = on_samples,
                            .exemplar = on_exemplar,
                            .metadata = on_metadata,
                            .tenant = on_tenant};
    nlt_err_t err;
    nlt_rc_t rc = nlt_wal_seek_begin(&rd.seek, &nlt_env_posix, data, size);

    if (rc != NLT_OK) {
        abort();
    }
    rc = nlt_wal_read(&nlt_env_posix, data, size, store_id, &cb, &rd.stats,
                      &err);
    nlt_wal_seek_end(&rd.seek);
    *stats = rd.stats;
    return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[NLT_WAL_FRAME_MAX];
    nlt_wal_type_t type;
    nlt_wal_stats_t stats;
    nlt_rc_t rc;

    if (size == 0 || size - 1 > NLT_WAL_BODY_MAX) {
        return 0;
    }
    if (data[0] & 1) {
        rc = read_all(data + 1, size - 1, &stats);
        if (rc == NLT_OK && stats.skipped_bytes > size) {
            abort();
        }
        return 0;
    }
    type = (nlt_wal_type_t) (1 + (data[0] >> 1 & 3) + (data[0] >> 2 & 4));
    memcpy(file + NLT_WAL_HEADER_LEN, data + 1, size - 1);
    for (uint32_t records = 0; records < 300; records = records * 3 + 1) {
        nlt_wal_frame_put(file, (nlt_wal_type_t) type,
                          data[0] >> 3 & NLT_WAL_F_SNAPPY, (uint32_t) size - 1,
                          records, nlt_wal_seed(store_id));
        rc = read_all(file, size - 1 + NLT_WAL_HEADER_LEN, &stats);
        /* EDATA: a header frame of another store. */
        if (rc != NLT_OK && rc != NLT_EVERSION && rc != NLT_EDATA) {
            abort();
        }
    }
    return 0;
}

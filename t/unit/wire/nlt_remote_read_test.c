/*
 * nlt_remote_read_test.c - answers of remote_read, read by protobuf-c and by
 * the snappy library.
 */
#include "nlt_hash.h"
#include "nlt_num.h"
#include "nlt_remote_read.h"
#include "nlt_remote_write.h"
#include "nlt_test.h"
#include "remote_read.pb-c.h"

#define T0 INT64_C(1700000000000)

static nlt_pool_t pool;
static nlt_buf_t buf;

static void
begin(void)
{
    nlt_pool_init(&pool, &nlt_mem_libc, 64u << 20);
    nlt_buf_init(&buf, &nlt_mem_libc, 64u << 20);
}

static void
end(void)
{
    nlt_buf_deinit(&buf);
    nlt_pool_deinit(&pool);
}

/* All pieces of a block, decompressed; in the pool. */
static nlt_str_t
unpack(const nlt_rr_pack_t *p)
{
    nlt_buf_t all;
    nlt_str_t out = {0, NULL};
    nlt_err_t err;
    char *data;

    nlt_buf_init(&all, &nlt_mem_libc, 64u << 20);
    for (const nlt_rr_piece_t *x = p->first; x != NULL; x = x->next) {
        nlt_buf_add(&all, x->data, x->len);
    }
    NLT_CHECK(nlt_snappy_length(nlt_buf_str(&all), 64u << 20, &out.len, &err)
              == NLT_OK);
    data = nlt_pool_alloc(&pool, out.len + 1);
    NLT_CHECK(nlt_snappy_decode(nlt_buf_str(&all), data, out.len, &err)
              == NLT_OK);
    out.data = data;
    nlt_buf_deinit(&all);
    return out;
}

static Prometheus__ReadResponse *
decode(const nlt_rr_pack_t *p)
{
    nlt_str_t raw = unpack(p);
    Prometheus__ReadResponse *r = prometheus__read_response__unpack(
        NULL, raw.len, (const uint8_t *) raw.data);

    NLT_CHECK(r != NULL);
    return r;
}

/* A series with n samples and a label of len bytes into buf. */
static void
make_series(size_t n, size_t len)
{
    static char value[200000];
    int64_t t[1000];
    double v[1000];
    nlt_label_t l[2] = {{NLT_STR("__name__"), NLT_STR("m")},
                        {NLT_STR("x"), {len, value}}};

    for (size_t i = 0; i < sizeof(value); i++) {
        value[i] = (char) ('a' + (i * i + len) % 26);
    }
    for (size_t i = 0; i < n; i++) {
        t[i] = T0 + (int64_t) i * 1000;
        v[i] = (double) (i * 7 % 13) / 3;
    }
    nlt_buf_reset(&buf);
    nlt_rr_add_labels(&buf, (nlt_labels_t){l, 2});
    nlt_rr_add_samples(&buf, t, v, n);
}

static void
an_answer_without_results_is_empty(void)
{
    nlt_rr_pack_t p;

    begin();
    NLT_CHECK(nlt_rr_pack_begin(&p, &pool) == NLT_OK);
    NLT_CHECK(nlt_rr_pack_end(&p) == NLT_OK);
    NLT_CHECK_INT(unpack(&p).len, 0);
    end();
}

static void
results_of_any_length_have_their_own(void)
{
    static const size_t lens[] = {0, 1, 70, 65530, 65536, 130000, 200000};
    Prometheus__ReadResponse *r;
    nlt_rr_pack_t p;

    begin();
    NLT_CHECK(nlt_rr_pack_begin(&p, &pool) == NLT_OK);
    for (size_t q = 0; q < NLT_COUNT(lens); q++) {
        NLT_CHECK(nlt_rr_pack_result(&p) == NLT_OK);
        for (size_t i = 0; i < q; i++) {
            make_series(q * 3, lens[q]);
            NLT_CHECK(nlt_rr_pack_series(&p, nlt_buf_str(&buf)) == NLT_OK);
        }
        NLT_CHECK(nlt_rr_pack_result_end(&p) == NLT_OK);
    }
    NLT_CHECK(nlt_rr_pack_end(&p) == NLT_OK);
    r = decode(&p);
    NLT_CHECK_INT(r->n_results, NLT_COUNT(lens));
    for (size_t q = 0; q < r->n_results; q++) {
        NLT_CHECK_INT(r->results[q]->n_timeseries, q);
        for (size_t i = 0; i < r->results[q]->n_timeseries; i++) {
            Prometheus__TimeSeries *s = r->results[q]->timeseries[i];

            NLT_CHECK_INT(s->n_labels, 2);
            NLT_CHECK_INT(s->labels[1]->value.len, lens[q]);
            NLT_CHECK_INT(s->n_samples, q * 3);
        }
    }
    prometheus__read_response__free_unpacked(r, NULL);
    end();
}

static void
samples_are_bit_for_bit(void)
{
    static const int64_t t[] = {INT64_MIN, -1, 0, 1, T0, INT64_MAX};
    double v[6] = {0, -0.0, 1.5, 0, nlt_double_of(NLT_STALE_NAN_BITS), -1e300};
    Prometheus__TimeSeries *s;

    begin();
    nlt_rr_add_samples(&buf, t, v, 6);
    s = prometheus__time_series__unpack(NULL, buf.len,
                                        (const uint8_t *) buf.data);
    NLT_CHECK(s != NULL);
    NLT_CHECK_INT(s->n_samples, 6);
    for (size_t i = 0; i < 6; i++) {
        NLT_CHECK_INT(s->samples[i]->timestamp, t[i]);
        NLT_CHECK(nlt_bits_of(s->samples[i]->value) == nlt_bits_of(v[i]));
    }
    prometheus__time_series__free_unpacked(s, NULL);
    end();
}

static void
a_frame_is_length_checksum_message(void)
{
    nlt_buf_t series;
    nlt_label_t l = {NLT_STR("a"), NLT_STR("b")};

    begin();
    nlt_buf_init(&series, &nlt_mem_libc, 1u << 20);
    nlt_rr_add_labels(&series, (nlt_labels_t){&l, 1});
    nlt_rr_add_chunk(&series, 0, 0, NLT_STR("one"));
    nlt_rr_add_chunk(&series, -7, T0, NLT_STR("three"));
    nlt_rr_add_frame(&buf, nlt_buf_str(&series), 0);
    nlt_rr_add_frame(&buf, nlt_buf_str(&series), 300);
    nlt_reader_t r = nlt_reader(buf.data, buf.len);

    for (int64_t query = 0; query <= 300; query += 300) {
        uint64_t n = nlt_read_uvarint(&r);
        uint32_t sum = nlt_read_be32(&r);
        const uint8_t *p = nlt_read_bytes(&r, n);
        Prometheus__ChunkedReadResponse *m;

        NLT_CHECK(p != NULL);
        NLT_CHECK(sum == nlt_crc32c_portable(0, p, n));
        m = prometheus__chunked_read_response__unpack(NULL, n, p);
        NLT_CHECK(m != NULL);
        NLT_CHECK_INT(m->query_index, query);
        NLT_CHECK_INT(m->n_chunked_series, 1);
        NLT_CHECK_INT(m->chunked_series[0]->n_labels, 1);
        NLT_CHECK_INT(m->chunked_series[0]->n_chunks, 2);
        NLT_CHECK_INT(m->chunked_series[0]->chunks[1]->min_time_ms, -7);
        NLT_CHECK_INT(m->chunked_series[0]->chunks[1]->max_time_ms, T0);
        NLT_CHECK_INT(m->chunked_series[0]->chunks[1]->type, 1);
        NLT_CHECK_INT(m->chunked_series[0]->chunks[1]->data.len, 5);
        prometheus__chunked_read_response__free_unpacked(m, NULL);
    }
    NLT_CHECK(!r.failed && nlt_reader_left(&r) == 0);
    nlt_buf_deinit(&series);
    end();
}

static void
a_pool_without_room_is_an_error(void)
{
    nlt_rr_pack_t p;
    nlt_rc_t rc = NLT_OK;

    begin();
    make_series(1000, 100000);
    nlt_pool_deinit(&pool);
    nlt_pool_init(&pool, &nlt_mem_libc, 300000);
    NLT_CHECK(nlt_rr_pack_begin(&p, &pool) == NLT_OK);
    NLT_CHECK(nlt_rr_pack_result(&p) == NLT_OK);
    for (int i = 0; rc == NLT_OK && i < 1000; i++) {
        rc = nlt_rr_pack_series(&p, nlt_buf_str(&buf));
    }
    NLT_CHECK_INT(rc, NLT_ENOMEM);
    end();
}

int
main(void)
{
    NLT_TEST(an_answer_without_results_is_empty);
    NLT_TEST(results_of_any_length_have_their_own);
    NLT_TEST(samples_are_bit_for_bit);
    NLT_TEST(a_frame_is_length_checksum_message);
    NLT_TEST(a_pool_without_room_is_an_error);
    return nlt_test_done();
}

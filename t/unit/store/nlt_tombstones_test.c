/*
 * nlt_tombstones_test.c - tombstones as bytes, and applied by a block.
 */
#include <fcntl.h>
#include <unistd.h>

#include "nlt_block.h"
#include "nlt_block_write.h"
#include "nlt_test.h"
#include "nlt_test_mem.h"
#include "nlt_tombstones.h"
#include "nlt_xor.h"

static nlt_rc_t
parse(nlt_pool_t *pool, const void *p, size_t n, nlt_tombstones_t *out,
      nlt_err_t *err)
{
    return nlt_tombstones_parse(pool, (nlt_str_t){n, p}, out, err);
}

/*
 * The layout of Prometheus (docs/formats/block.md): series 3: 0..100,
 * series 21: -5..7.
 */
static const uint8_t golden[] = {0x01, 0x30, 0xba, 0x30, 0x01, 0x03,
                                 0x00, 0xc8, 0x01, 0x15, 0x09, 0x0e,
                                 0x2b, 0x19, 0xae, 0xe8};

static void
entries_are_grouped_and_joined(void)
{
    static const struct {
        uint32_t id;
        nlt_interval_t v;
    } e[] = {{9, {5, 6}},    {3, {50, 60}},
             {9, {1, 3}},    {3, {61, 70}},
             {9, {-9, 100}}, {UINT32_MAX, {INT64_MIN, INT64_MAX}},
             {3, {0, 10}},   {4, {9, 8}}};
    nlt_tombstones_t t;
    const nlt_interval_t *v;
    nlt_pool_t pool;
    nlt_buf_t b;
    size_t n;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    nlt_tombstones_begin(&b);
    for (size_t i = 0; i < NLT_COUNT(e); i++) {
        nlt_tombstones_add(&b, e[i].id, &e[i].v);
    }
    nlt_tombstones_end(&b);
    NLT_CHECK_INT(b.rc, NLT_OK);
    NLT_CHECK_INT(parse(&pool, b.data, b.len, &t, &err), NLT_OK);
    NLT_CHECK_INT(t.n, 3);
    v = nlt_tombstones_of(&t, 3, &n);
    NLT_CHECK_INT(n, 2);
    NLT_CHECK(v[0].t_min_ms == 0 && v[0].t_max_ms == 10);
    NLT_CHECK(v[1].t_min_ms == 50 && v[1].t_max_ms == 70);
    v = nlt_tombstones_of(&t, 9, &n);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK(v[0].t_min_ms == -9 && v[0].t_max_ms == 100);
    v = nlt_tombstones_of(&t, UINT32_MAX, &n);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK(v[0].t_min_ms == INT64_MIN && v[0].t_max_ms == INT64_MAX);
    (void) nlt_tombstones_of(&t, 4, &n); /* ends before it begins */
    NLT_CHECK_INT(n, 0);
    (void) nlt_tombstones_of(&t, 5, &n);
    NLT_CHECK_INT(n, 0);
    nlt_buf_deinit(&b);
    nlt_pool_deinit(&pool);
}

static void
files_of_prometheus_are_read(void)
{
    nlt_tombstones_t t;
    const nlt_interval_t *v;
    nlt_pool_t pool;
    size_t n;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(parse(&pool, golden, sizeof(golden), &t, &err), NLT_OK);
    NLT_CHECK_INT(t.n, 2);
    v = nlt_tombstones_of(&t, 3, &n);
    NLT_CHECK(n == 1 && v[0].t_min_ms == 0 && v[0].t_max_ms == 100);
    v = nlt_tombstones_of(&t, 21, &n);
    NLT_CHECK(n == 1 && v[0].t_min_ms == -5 && v[0].t_max_ms == 7);
    nlt_pool_deinit(&pool);
}

static void
damage_is_refused(void)
{
    uint8_t bad[sizeof(golden)];
    nlt_tombstones_t t;
    nlt_pool_t pool;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    for (size_t i = 0; i < sizeof(golden); i++) {
        NLT_CHECK_INT(parse(&pool, golden, i, &t, &err), NLT_EDATA);
        for (int bit = 0; bit < 8; bit++) {
            nlt_rc_t rc;

            memcpy(bad, golden, sizeof(bad));
            bad[i] = (uint8_t) (bad[i] ^ 1 << bit);
            rc = parse(&pool, bad, sizeof(bad), &t, &err);
            NLT_CHECK_INT(rc, i == 4 ? NLT_EVERSION : NLT_EDATA);
            NLT_CHECK(strncmp(err.text, "tombstones: ", 12) == 0);
        }
    }
    nlt_pool_deinit(&pool);
}

/* An entry that ends early, with a right checksum, and one that is huge. */
static void
nonsense_with_a_checksum_is_harmless(void)
{
    static const char *const entries[] = {"\x03", "\x03\x00", "\xff",
                                          "\x03\x00\xff"};
    nlt_tombstones_t t;
    nlt_pool_t pool;
    nlt_buf_t b;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    for (size_t i = 0; i < NLT_COUNT(entries); i++) {
        nlt_buf_reset(&b);
        nlt_tombstones_begin(&b);
        nlt_buf_add(&b, entries[i], i == 0 || i == 2 ? 1 : i + 1 - (i == 3));
        nlt_tombstones_end(&b);
        NLT_CHECK_INT(parse(&pool, b.data, b.len, &t, &err), NLT_EDATA);
        NLT_CHECK(strstr(err.text, "cut off") != NULL);
    }
    nlt_buf_reset(&b);
    nlt_tombstones_begin(&b);
    nlt_buf_add_uvarint(&b, (uint64_t) UINT32_MAX + 4); /* no series */
    nlt_buf_add_varint(&b, 1);
    nlt_buf_add_varint(&b, 2);
    nlt_tombstones_end(&b);
    NLT_CHECK_INT(parse(&pool, b.data, b.len, &t, &err), NLT_OK);
    NLT_CHECK_INT(t.n, 0);
    nlt_buf_deinit(&b);
    nlt_pool_deinit(&pool);
}

static void
too_many_are_refused(void)
{
    static const nlt_interval_t none = {1, 0};
    nlt_tombstones_t t;
    nlt_pool_t pool;
    nlt_buf_t b;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_buf_init(&b, &nlt_mem_libc, NLT_TOMBSTONES_BYTES_MAX);
    nlt_tombstones_begin(&b);
    for (size_t i = 0; i <= NLT_TOMBSTONES_MAX; i++) {
        nlt_tombstones_add(&b, 1, &none);
    }
    nlt_tombstones_end(&b);
    NLT_CHECK_INT(parse(&pool, b.data, b.len, &t, &err), NLT_ELIMIT);
    nlt_buf_deinit(&b);
    nlt_pool_deinit(&pool);
}

static void
nothing_leaks_without_memory(void)
{
    for (int n = 0; n < 1000; n++) {
        nlt_test_mem_t mem;
        nlt_tombstones_t t;
        nlt_pool_t pool;
        nlt_err_t err;
        nlt_rc_t rc;

        nlt_test_mem_init(&mem, n);
        nlt_pool_init(&pool, &mem.mem, 1 << 20);
        rc = parse(&pool, golden, sizeof(golden), &t, &err);
        nlt_pool_deinit(&pool);
        NLT_CHECK_INT(mem.bytes, 0);
        if (rc == NLT_OK) {
            NLT_CHECK(n > 0);
            break;
        }
        NLT_CHECK_INT(rc, NLT_ENOMEM);
    }
}

/* ---- a block with tombstones ---- */

static char dir_name[] = "/tmp/nlt-tombstones-XXXXXX";
static int dir_fd;

/* {a="b"}, three chunks of ten samples: 0..9, 10..19, 20..29. */
static void
write_block(nlt_block_meta_t *meta)
{
    nlt_str_t symbols[2] = {NLT_STR("a"), NLT_STR("b")};
    nlt_label_t l = {NLT_STR("a"), NLT_STR("b")};
    static uint8_t bytes[3][512];
    nlt_block_chunk_t c[3];
    nlt_block_writer_t *w;
    nlt_err_t err;

    for (int64_t k = 0; k < 3; k++) {
        int64_t t[10];
        double v[10];
        size_t len;

        for (int64_t i = 0; i < 10; i++) {
            t[i] = 10 * k + i;
            v[i] = (double) t[i];
        }
        len = nlt_xor_encode_chunk(t, v, 10, 0, bytes[k]);
        c[k] = (nlt_block_chunk_t){
            t[0], t[9], 1, 10, {len, (const char *) bytes[k]}};
    }
    *meta = (nlt_block_meta_t){.t_min_ms = 0, .t_end_ms = 30};
    NLT_CHECK_INT(nlt_ulid_new(1, &meta->ulid), NLT_OK);
    NLT_CHECK_INT(
        nlt_block_writer_open(&nlt_env_posix, dir_fd, meta, &w, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_writer_symbols(w, symbols, 2, &err), NLT_OK);
    NLT_CHECK_INT(
        nlt_block_writer_series(w, (nlt_labels_t){&l, 1}, c, 3, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_writer_finish(w, meta, &err), NLT_OK);
}

static void
write_tombstones(const nlt_block_meta_t *meta, uint32_t id,
                 const nlt_interval_t *v, size_t n)
{
    char path[64];
    nlt_buf_t b;
    int fd;

    nlt_buf_init(&b, &nlt_mem_libc, 1 << 20);
    nlt_tombstones_begin(&b);
    for (size_t i = 0; i < n; i++) {
        nlt_tombstones_add(&b, id, &v[i]);
    }
    nlt_tombstones_end(&b);
    (void) snprintf(path, sizeof(path), "%s/tombstones", meta->ulid.c);
    fd = openat(dir_fd, path, O_WRONLY | O_TRUNC);
    NLT_CHECK_INT(write(fd, b.data, b.len), (long long) b.len);
    close(fd);
    nlt_buf_deinit(&b);
}

/* The only series of the block. */
static nlt_block_series_t
only_series(const nlt_block_t *b, nlt_pool_t *pool)
{
    nlt_block_series_t *id;
    size_t n;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_block_select(b, pool, NULL, 0, &id, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 1);
    return id[0];
}

static bool
overlaps(const nlt_block_t *b, nlt_block_series_t id, int64_t t_min,
         int64_t t_max)
{
    bool yes;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_block_overlaps(b, id, t_min, t_max, &yes, &err), NLT_OK);
    return yes;
}

static void
block_hides_what_its_tombstones_say(void)
{
    static const nlt_interval_t gone[] = {{5, 22}, {28, 100}};
    nlt_samples_t s = {.n = 0};
    nlt_block_meta_t meta;
    nlt_block_series_t id;
    nlt_pool_t pool;
    nlt_block_t *b;
    nlt_err_t err;

    NLT_CHECK(mkdtemp(dir_name) != NULL);
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    nlt_pool_init(&pool, &nlt_mem_libc, 8 << 20);
    s.pool = &pool;
    write_block(&meta);
    NLT_CHECK_INT(
        nlt_block_open(&nlt_env_posix, dir_fd, meta.ulid.c, &b, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_tombstones(b)->n, 0);
    id = only_series(b, &pool);
    nlt_block_close(b);
    write_tombstones(&meta, id, gone, 2);
    NLT_CHECK_INT(
        nlt_block_open(&nlt_env_posix, dir_fd, meta.ulid.c, &b, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_validate(b, &pool, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_tombstones(b)->n, 1);
    NLT_CHECK_INT(nlt_block_read(b, id, 0, 100, &s, &err), NLT_OK);
    NLT_CHECK_INT(s.n, 10); /* 0..4 and 23..27 */
    NLT_CHECK(s.n == 10 && s.t_ms[4] == 4 && s.t_ms[5] == 23
              && s.t_ms[9] == 27);
    /* What out has already is left alone. */
    NLT_CHECK_INT(nlt_block_read(b, id, 3, 24, &s, &err), NLT_OK);
    NLT_CHECK_INT(s.n, 14);
    NLT_CHECK(s.n == 14 && s.t_ms[9] == 27 && s.t_ms[10] == 3
              && s.t_ms[13] == 24);
    NLT_CHECK(overlaps(b, id, 0, 100));
    NLT_CHECK(!overlaps(b, id, 10, 19)); /* a chunk that is gone */
    NLT_CHECK(!overlaps(b, id, 7, 22));
    NLT_CHECK(overlaps(b, id, 4, 22));
    NLT_CHECK(!overlaps(b, id, 28, 29));
    NLT_CHECK(overlaps(b, id, 27, 29));
    nlt_block_close(b);
    nlt_pool_deinit(&pool);
    close(dir_fd);
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, AT_FDCWD, dir_name, &err),
                  NLT_OK);
}

int
main(void)
{
    NLT_TEST(entries_are_grouped_and_joined);
    NLT_TEST(files_of_prometheus_are_read);
    NLT_TEST(damage_is_refused);
    NLT_TEST(nonsense_with_a_checksum_is_harmless);
    NLT_TEST(too_many_are_refused);
    NLT_TEST(nothing_leaks_without_memory);
    NLT_TEST(block_hides_what_its_tombstones_say);
    return nlt_test_done();
}

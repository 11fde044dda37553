/*
 * nlt_index_file_test.c - the index of a block, written and read.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_hash.h"
#include "nlt_index_file_write.h"
#include "nlt_test.h"

#define N_INSTANCES 100
#define N_SERIES    (2 * N_INSTANCES)

static uint8_t *data;
static size_t len;
static char instances[N_INSTANCES][16];

static int
open_temp(void)
{
    char name[] = "/tmp/nlt-index-XXXXXX";
    int fd = mkstemp(name);

    unlink(name);
    return fd;
}

/* Replaces data and len by the content of fd. */
static void
slurp(int fd)
{
    struct stat st;

    free(data);
    NLT_CHECK_INT(fstat(fd, &st), 0);
    len = (size_t) st.st_size;
    data = malloc(len);
    NLT_CHECK_INT(pread(fd, data, len, 0), len);
    close(fd);
}

static nlt_labels_t
labels_of(nlt_label_t *l, size_t i)
{
    l[0] = (nlt_label_t){NLT_METRIC_NAME,
                         i < N_INSTANCES ? NLT_STR("aa") : NLT_STR("bb")};
    l[1] = (nlt_label_t){NLT_STR("instance"), {5, instances[i % N_INSTANCES]}};
    return (nlt_labels_t){l, 2};
}

static nlt_index_chunk_t
chunk_of(size_t i, size_t k)
{
    int64_t t = (int64_t) (i * 1000 + k * 100) - 500;

    return (nlt_index_chunk_t){t, t + 50, i * 64 + k * 16 + 8};
}

/* Ordinals of labels_of(): the symbols are sorted. */
static void
refs_of(uint32_t *refs, size_t i)
{
    refs[0] = 0;
    refs[1] = i < N_INSTANCES ? 1 : 2;
    refs[2] = N_INSTANCES + 3;
    refs[3] = (uint32_t) (3 + i % N_INSTANCES);
}

static bool by_refs; /* series are written by ordinals */

/* 200 series: two metrics on 100 instances, 1 to 3 chunks each. */
static void
write_index(nlt_index_writer_t *w)
{
    nlt_str_t symbols[N_INSTANCES + 4];
    size_t n = 0;
    nlt_err_t err;

    symbols[n++] = NLT_METRIC_NAME;
    symbols[n++] = NLT_STR("aa");
    symbols[n++] = NLT_STR("bb");
    for (size_t i = 0; i < N_INSTANCES; i++) {
        snprintf(instances[i], sizeof(instances[i]), "i%04zu", i);
        symbols[n++] = (nlt_str_t){5, instances[i]};
    }
    symbols[n++] = NLT_STR("instance");
    NLT_CHECK_INT(nlt_index_writer_symbols(w, symbols, n, &err), NLT_OK);
    for (size_t i = 0; i < N_SERIES; i++) {
        nlt_label_t l[2];
        nlt_index_chunk_t c[3];

        for (size_t k = 0; k < 3; k++) {
            c[k] = chunk_of(i, k);
        }
        if (by_refs) {
            uint32_t refs[4];

            refs_of(refs, i);
            NLT_CHECK_INT(
                nlt_index_writer_refs(w, refs, 2, c, i % 3 + 1, &err), NLT_OK);
            continue;
        }
        NLT_CHECK_INT(
            nlt_index_writer_series(w, labels_of(l, i), c, i % 3 + 1, &err),
            NLT_OK);
    }
}

static void
make_index(void)
{
    nlt_index_writer_t *w;
    uint64_t size;
    nlt_err_t err;
    int fd = open_temp();

    NLT_CHECK_INT(
        nlt_index_writer_open(&nlt_mem_libc, &nlt_io_posix, fd, &w, &err),
        NLT_OK);
    write_index(w);
    NLT_CHECK_INT(nlt_index_writer_finish(w, &size, &err), NLT_OK);
    nlt_index_writer_close(w);
    slurp(fd);
    NLT_CHECK_INT(size, len);
}

static nlt_index_file_t *
open_index(void)
{
    nlt_index_file_t *ix;
    nlt_err_t err;

    make_index();
    NLT_CHECK_INT(nlt_index_file_open(&nlt_mem_libc, data, len, &ix, &err),
                  NLT_OK);
    return ix;
}

static void
smallest_index_has_these_bytes(void)
{
    static const uint8_t want[] = {
        0xba, 0xaa, 0xd7, 0x00, 2, /* magic, version */
        0,    0,    0,    8,    0, 0, 0, 2, 1, 'a', 1, 'b',
        /* checksum, 11 zeros to 32 */
    };
    static const uint8_t series[] = {9, 1, 0, 1, 1, 20, 5, 8};
    static const uint8_t table[] = {
        0, 0, 0, 2, 2, 0, 0, 48, 2, 1, 'a', 1, 'b', 64,
    };
    nlt_str_t symbols[2] = {NLT_STR("a"), NLT_STR("b")};
    nlt_label_t l = {NLT_STR("a"), NLT_STR("b")};
    nlt_index_chunk_t c = {10, 15, 8};
    nlt_index_writer_t *w;
    nlt_err_t err;
    int fd = open_temp();

    NLT_CHECK_INT(
        nlt_index_writer_open(&nlt_mem_libc, &nlt_io_posix, fd, &w, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_index_writer_symbols(w, symbols, 2, &err), NLT_OK);
    NLT_CHECK_INT(
        nlt_index_writer_series(w, (nlt_labels_t){&l, 1}, &c, 1, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_index_writer_finish(w, NULL, &err), NLT_OK);
    nlt_index_writer_close(w);
    slurp(fd);

    NLT_CHECK(memcmp(data, want, sizeof(want)) == 0);
    NLT_CHECK_INT(nlt_be32(data + 17), nlt_crc32c(0, data + 9, 8));
    /* entry of 7 bytes: 1 label 0=1; 1 chunk from 10, 5 long, at 8 */
    NLT_CHECK_INT(data[32], 7);
    NLT_CHECK(memcmp(data + 33, series + 1, 7) == 0);
    NLT_CHECK_INT(nlt_be32(data + 40), nlt_crc32c(0, data + 33, 7));
    /* postings: 4-aligned: all at 44, then a=b */
    NLT_CHECK_INT(nlt_be32(data + 44), 8);
    NLT_CHECK_INT(nlt_be32(data + 48), 1);
    NLT_CHECK_INT(nlt_be32(data + 52), 2);
    NLT_CHECK_INT(nlt_be32(data + 60), 8);
    NLT_CHECK_INT(nlt_be32(data + 76), 14);
    NLT_CHECK(memcmp(data + 80, table, 7) == 0);
    NLT_CHECK_INT(data[80 + 7], 44);
    NLT_CHECK(memcmp(data + 88, table + 8, 5) == 0);
    NLT_CHECK_INT(data[80 + 13], 60);
    NLT_CHECK_INT(len, 80 + 14 + 4 + 52);
    NLT_CHECK_INT(nlt_be64(data + len - 52), 5);
    NLT_CHECK_INT(nlt_be64(data + len - 44), 32);
    NLT_CHECK_INT(nlt_be64(data + len - 36), 0);
    NLT_CHECK_INT(nlt_be64(data + len - 28), 0);
    NLT_CHECK_INT(nlt_be64(data + len - 20), 44);
    NLT_CHECK_INT(nlt_be64(data + len - 12), 76);
}

static void
symbols_are_found_both_ways(void)
{
    nlt_index_file_t *ix = open_index();
    nlt_str_t s;
    uint64_t ref;
    nlt_err_t err;

    NLT_CHECK_INT(nlt_index_file_n_symbols(ix), N_INSTANCES + 4);
    for (uint64_t i = 0; i < N_INSTANCES + 4; i++) {
        NLT_CHECK_INT(nlt_index_file_symbol(ix, i, &s, &err), NLT_OK);
        NLT_CHECK(nlt_index_file_find_symbol(ix, s, &ref));
        NLT_CHECK_INT(ref, i);
    }
    NLT_CHECK_STR(s, "instance");
    NLT_CHECK(!nlt_index_file_find_symbol(ix, NLT_STR("i0007x"), &ref));
    NLT_CHECK(!nlt_index_file_find_symbol(ix, NLT_STR(""), &ref));
    NLT_CHECK(!nlt_index_file_find_symbol(ix, NLT_STR("zz"), &ref));
    NLT_CHECK_INT(nlt_index_file_symbol(ix, UINT64_MAX, &s, &err), NLT_EDATA);
    NLT_CHECK_INT(nlt_index_file_symbol(ix, N_INSTANCES + 4, &s, &err),
                  NLT_EDATA);
    nlt_index_file_close(ix);
}

static void
every_value_has_its_postings(void)
{
    nlt_index_file_t *ix = open_index();
    nlt_postings_t all, list;
    nlt_pool_t pool;
    nlt_err_t err;
    static const char *const missing[] = {"", "i", "i0031x", "i01", "j"};

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_index_file_n_names(ix), 2);
    NLT_CHECK_STR(nlt_index_file_name(ix, 0), "__name__");
    NLT_CHECK_STR(nlt_index_file_name(ix, 1), "instance");
    NLT_CHECK_INT(nlt_index_file_n_values(ix, NLT_STR("instance")),
                  N_INSTANCES);
    NLT_CHECK_INT(nlt_index_file_n_values(ix, NLT_STR("nosuch")), 0);
    NLT_CHECK_INT(nlt_index_file_postings(ix, &pool, NLT_STR(""), NLT_STR(""),
                                          &all, &err),
                  NLT_OK);
    NLT_CHECK_INT(all.n, N_SERIES);
    for (size_t i = 0; i < N_INSTANCES && all.n == N_SERIES; i++) {
        NLT_CHECK_INT(nlt_index_file_postings(ix, &pool, NLT_STR("instance"),
                                              (nlt_str_t){5, instances[i]},
                                              &list, &err),
                      NLT_OK);
        NLT_CHECK_INT(list.n, 2);
        NLT_CHECK(list.n == 2 && list.v[0] == all.v[i]
                  && list.v[1] == all.v[i + N_INSTANCES]);
    }
    for (size_t i = 0; i < NLT_COUNT(missing); i++) {
        nlt_str_t v = {strlen(missing[i]), missing[i]};

        NLT_CHECK_INT(nlt_index_file_postings(ix, &pool, NLT_STR("instance"),
                                              v, &list, &err),
                      NLT_OK);
        NLT_CHECK_INT(list.n, 0);
    }
    nlt_pool_deinit(&pool);
    nlt_index_file_close(ix);
}

static void
series_come_back_with_labels_and_chunks(void)
{
    nlt_index_file_t *ix = open_index();
    nlt_postings_t all;
    nlt_pool_t pool;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_index_file_postings(ix, &pool, NLT_STR(""), NLT_STR(""),
                                          &all, &err),
                  NLT_OK);
    for (size_t i = 0; i < all.n; i++) {
        nlt_index_series_t s;
        nlt_label_t want[2], got[2];
        nlt_index_chunk_t c;
        uint64_t names[2], values[2];
        nlt_str_t text;

        (void) labels_of(want, i);
        NLT_CHECK_INT(nlt_index_series_open(ix, all.v[i], &s, &err), NLT_OK);
        NLT_CHECK_INT(s.n_labels, 2);
        NLT_CHECK_INT(nlt_index_series_labels(&s, got, &err), NLT_OK);
        NLT_CHECK_INT(s.n_labels, 0);
        for (size_t k = 0; k < 2; k++) {
            NLT_CHECK(nlt_str_eq(got[k].name, want[k].name));
            NLT_CHECK(nlt_str_eq(got[k].value, want[k].value));
        }
        /* one that is there, and one that is not */
        NLT_CHECK_INT(nlt_index_series_open(ix, all.v[i], &s, &err), NLT_OK);
        NLT_CHECK(nlt_index_file_find_symbol(ix, want[i % 2].name, &names[1]));
        names[0] = 0;
        names[1]++;
        NLT_CHECK_INT(nlt_index_series_values(&s, names, 2, values, &err),
                      NLT_OK);
        NLT_CHECK_INT(values[0], 0);
        NLT_CHECK_INT(nlt_index_file_symbol(ix, values[1] - 1, &text, &err),
                      NLT_OK);
        NLT_CHECK(nlt_str_eq(text, want[i % 2].value));
        NLT_CHECK_INT(nlt_index_series_chunks(&s, &err), NLT_OK);
        NLT_CHECK_INT(s.n_chunks, i % 3 + 1);
        for (size_t k = 0; k <= i % 3; k++) {
            nlt_index_chunk_t w = chunk_of(i, k);

            NLT_CHECK_INT(nlt_index_series_chunk(&s, &c, &err), NLT_OK);
            NLT_CHECK_INT(c.t_min_ms, w.t_min_ms);
            NLT_CHECK_INT(c.t_max_ms, w.t_max_ms);
            NLT_CHECK_INT(c.ref, w.ref);
        }
    }
    NLT_CHECK_INT(nlt_index_file_validate(ix, &pool, NULL, &err), NLT_OK);
    nlt_pool_deinit(&pool);
    nlt_index_file_close(ix);
}

/* A writer that has symbols a, b, c and series {a="b"}. */
static nlt_index_writer_t *
begun_writer(int *fd)
{
    nlt_str_t symbols[3] = {NLT_STR("a"), NLT_STR("b"), NLT_STR("c")};
    nlt_label_t l = {NLT_STR("a"), NLT_STR("b")};
    nlt_index_chunk_t c = {10, 15, 8};
    nlt_index_writer_t *w;
    nlt_err_t err;

    *fd = open_temp();
    NLT_CHECK_INT(
        nlt_index_writer_open(&nlt_mem_libc, &nlt_io_posix, *fd, &w, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_index_writer_symbols(w, symbols, 3, &err), NLT_OK);
    NLT_CHECK_INT(
        nlt_index_writer_series(w, (nlt_labels_t){&l, 1}, &c, 1, &err),
        NLT_OK);
    return w;
}

static void
check_refused(const char *name, const char *value, nlt_index_chunk_t c0,
              nlt_index_chunk_t c1, nlt_rc_t want)
{
    nlt_label_t l = {{strlen(name), name}, {strlen(value), value}};
    nlt_index_chunk_t c[2] = {c0, c1};
    int fd;
    nlt_index_writer_t *w = begun_writer(&fd);
    nlt_err_t err;

    NLT_CHECK_INT(
        nlt_index_writer_series(w, (nlt_labels_t){&l, 1}, c, 2, &err), want);
    nlt_index_writer_close(w);
    close(fd);
}

static void
writer_refuses_disorder(void)
{
    nlt_index_chunk_t a = {0, 5, 8}, b = {6, 9, 20}, over = {5, 9, 20};
    nlt_index_chunk_t back = {6, 9, 7}, inside_out = {6, 5, 20};
    nlt_str_t symbols[2] = {NLT_STR("b"), NLT_STR("a")};
    nlt_index_writer_t *w;
    nlt_err_t err;
    int fd = open_temp();

    check_refused("a", "c", a, b, NLT_OK);
    check_refused("a", "b", a, b, NLT_EORDER);
    check_refused("a", "a", a, b, NLT_EORDER);
    check_refused("a", "d", a, b, NLT_EINVAL);
    check_refused("", "c", a, b, NLT_EINVAL);
    check_refused("a", "", a, b, NLT_EINVAL);
    check_refused("a", "c", a, over, NLT_EORDER);
    check_refused("a", "c", a, back, NLT_EORDER);
    check_refused("a", "c", a, inside_out, NLT_EORDER);
    NLT_CHECK_INT(
        nlt_index_writer_open(&nlt_mem_libc, &nlt_io_posix, fd, &w, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_index_writer_symbols(w, symbols, 2, &err), NLT_EORDER);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "symbol 1 \"a\" is not after \"b\"");
    nlt_index_writer_close(w);
    close(fd);
}

static void
ordinals_write_the_same_bytes_as_strings(void)
{
    uint8_t *first;
    size_t first_len;

    make_index();
    first = data;
    first_len = len;
    data = NULL;
    by_refs = true;
    make_index();
    by_refs = false;
    NLT_CHECK_INT(len, first_len);
    NLT_CHECK(len == first_len && memcmp(data, first, len) == 0);
    free(first);
}

static void
check_refs_refused(const uint32_t *refs, size_t n, nlt_rc_t want)
{
    static const uint32_t before[] = {1, 2};
    nlt_str_t symbols[4] = {{0, ""}, {1, "a"}, {1, "b"}, {1, "c"}};
    nlt_index_chunk_t c = {0, 5, 8};
    nlt_index_writer_t *w;
    nlt_err_t err;
    int fd = open_temp();

    NLT_CHECK_INT(
        nlt_index_writer_open(&nlt_mem_libc, &nlt_io_posix, fd, &w, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_index_writer_symbols(w, symbols, 4, &err), NLT_OK);
    NLT_CHECK_INT(nlt_index_writer_last(w), 0);
    NLT_CHECK_INT(nlt_index_writer_refs(w, before, 1, &c, 1, &err), NLT_OK);
    NLT_CHECK(nlt_index_writer_last(w) > 0);
    NLT_CHECK_INT(nlt_index_writer_refs(w, refs, n, &c, 1, &err), want);
    nlt_index_writer_close(w);
    close(fd);
}

static void
wrong_ordinals_are_refused(void)
{
    check_refs_refused((uint32_t[]){1, 3}, 1, NLT_OK);
    check_refs_refused((uint32_t[]){1, 2, 2, 2}, 2, NLT_OK);
    check_refs_refused((uint32_t[]){1, 4}, 1, NLT_EINVAL); /* no such */
    check_refs_refused((uint32_t[]){4, 2}, 1, NLT_EINVAL);
    check_refs_refused((uint32_t[]){1, 0}, 1, NLT_EINVAL); /* empty */
    check_refs_refused((uint32_t[]){0, 2}, 1, NLT_EINVAL);
    check_refs_refused((uint32_t[]){1, 2}, 1, NLT_EORDER); /* the same */
    check_refs_refused((uint32_t[]){1, 3, 1, 3}, 2, NLT_EORDER);
    check_refs_refused((uint32_t[]){2, 3, 1, 3}, 2, NLT_EORDER);
    check_refs_refused(NULL, 0, NLT_EINVAL);
}

static void
a_walk_meets_every_series_and_symbol_in_order(void)
{
    static const nlt_str_t none = {0, NULL};
    nlt_index_file_t *ix = open_index();
    nlt_index_span_t span = nlt_index_file_span(ix);
    nlt_reader_t r = nlt_index_file_symbols(ix);
    nlt_postings_t all;
    nlt_pool_t pool;
    nlt_err_t err;
    size_t n = 0;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_index_file_postings(ix, &pool, none, none, &all, &err),
                  NLT_OK);
    for (uint32_t id = nlt_index_file_first(ix); id;) {
        nlt_index_series_t s;

        NLT_CHECK(n < all.n && all.v[n] == id);
        NLT_CHECK(id >= span.first && id < span.end);
        NLT_CHECK_INT(nlt_index_series_open(ix, id, &s, &err), NLT_OK);
        id = nlt_index_series_next(&s);
        n++;
    }
    NLT_CHECK_INT(n, N_SERIES);
    for (uint64_t i = 0; i < nlt_index_file_n_symbols(ix); i++) {
        nlt_str_t want;

        NLT_CHECK_INT(nlt_index_file_symbol(ix, i, &want, &err), NLT_OK);
        NLT_CHECK(nlt_str_eq(nlt_read_uvarint_str(&r), want));
    }
    NLT_CHECK_INT(nlt_reader_left(&r), 0);
    nlt_pool_deinit(&pool);
    nlt_index_file_close(ix);
}

static nlt_rc_t
open_and_validate(const uint8_t *p, size_t n, nlt_err_t *err)
{
    nlt_index_file_t *ix;
    nlt_pool_t pool;
    nlt_rc_t rc = nlt_index_file_open(&nlt_mem_libc, p, n, &ix, err);

    if (rc == NLT_OK) {
        nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
        rc = nlt_index_file_validate(ix, &pool, NULL, err);
        nlt_pool_deinit(&pool);
        nlt_index_file_close(ix);
    }
    return rc;
}

static void
any_flipped_bit_but_in_padding_is_found(void)
{
    size_t missed = 0;
    nlt_err_t err;

    make_index();
    for (size_t i = 0; i < len; i++) {
        data[i] ^= (uint8_t) (1u << (i % 8));
        if (open_and_validate(data, len, &err) == NLT_OK) {
            missed++;
            NLT_CHECK_INT(data[i] ^ 1u << (i % 8), 0);
        }
        data[i] ^= (uint8_t) (1u << (i % 8));
    }
    /* Up to 15 bytes before a series, 3 before a list. */
    NLT_CHECK(missed > 0 && missed < N_SERIES * 15);
}

static void
cut_files_are_refused(void)
{
    nlt_err_t err;

    make_index();
    for (size_t n = 0; n < len; n++) {
        NLT_CHECK_INT(open_and_validate(data, n, &err), NLT_EDATA);
    }
}

static void
other_versions_are_refused_by_name(void)
{
    nlt_err_t err;

    make_index();
    data[4] = 3;
    NLT_CHECK_INT(open_and_validate(data, len, &err), NLT_EVERSION);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "index: format version 3, only 2 can be read");
    data[4] = 1;
    NLT_CHECK_INT(open_and_validate(data, len, &err), NLT_EVERSION);
}

/* Recomputes the checksum of the section at off. */
static void
reseal(uint64_t off)
{
    uint32_t n = nlt_be32(data + off);

    nlt_put_be32(data + off + 4 + n, nlt_crc32c(0, data + off + 4, n));
}

/* Well-sealed nonsense: what a checksum cannot find. */
static void
wrong_postings_with_right_checksums_are_found(void)
{
    uint64_t all;
    nlt_err_t err;

    make_index();
    all = nlt_be64(data + len - 20);
    nlt_put_be32(data + all + 8, nlt_be32(data + all + 12)); /* twice */
    reseal(all);
    NLT_CHECK_INT(open_and_validate(data, len, &err), NLT_EDATA);

    make_index();
    nlt_put_be32(data + all + 8, 1); /* the header is no series */
    reseal(all);
    NLT_CHECK_INT(open_and_validate(data, len, &err), NLT_EDATA);

    make_index(); /* the list of the first pair gets a series of the second */
    uint64_t first = all + 12 + 4 * N_SERIES;
    nlt_put_be32(data + first + 4 + 4 * N_INSTANCES,
                 nlt_be32(data + all + 4 + 4 * N_SERIES));
    reseal(first);
    NLT_CHECK_INT(open_and_validate(data, len, &err), NLT_EDATA);

    make_index(); /* the list of the first pair loses its last series */
    nlt_put_be32(data + first, nlt_be32(data + first) - 4);
    nlt_put_be32(data + first + 4, nlt_be32(data + first + 4) - 1);
    reseal(first);
    NLT_CHECK_INT(open_and_validate(data, len, &err), NLT_EDATA);
}

static void
symbols_that_are_not_text_are_refused(void)
{
    nlt_err_t err;
    uint64_t off;

    make_index();
    off = nlt_be64(data + len - NLT_INDEX_TOC_BYTES);
    data[off + 3 + nlt_be32(data + off)] = 0xff; /* the last letter of all */
    reseal(off);
    NLT_CHECK_INT(open_and_validate(data, len, &err), NLT_EDATA);
    NLT_CHECK(strstr(err.text, "not UTF-8") != NULL);
}

typedef struct {
    int n_chunks;
    int n_polls;
    int end_at; /* the poll that ends it; 0: none */
} count_t;

static nlt_rc_t
count_chunk_cb(void *ctx, uint32_t id, const nlt_index_chunk_t *chunk,
               nlt_err_t *err)
{
    (void) err;
    NLT_CHECK(id > 0 && chunk->t_max_ms >= chunk->t_min_ms);
    ((count_t *) ctx)->n_chunks++;
    return NLT_OK;
}

static nlt_rc_t
count_poll_cb(void *ctx)
{
    count_t *c = ctx;

    return ++c->n_polls == c->end_at ? NLT_ECANCELED : NLT_OK;
}

static void
a_check_sees_every_chunk_and_can_be_ended(void)
{
    nlt_index_file_t *ix = open_index();
    count_t c = {0, 0, 0};
    nlt_index_check_t check = {count_chunk_cb, count_poll_cb, &c};
    nlt_pool_t pool;
    nlt_err_t err;
    int n_polls;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    NLT_CHECK_INT(nlt_index_file_validate(ix, &pool, &check, &err), NLT_OK);
    NLT_CHECK_INT(c.n_chunks, N_SERIES / 3 * 6 + (N_SERIES % 3 > 0)
                                  + 2 * (N_SERIES % 3 > 1));
    n_polls = c.n_polls;
    NLT_CHECK(n_polls >= 2); /* symbols, series */
    for (c.end_at = 1; c.end_at <= n_polls; c.end_at++) {
        c.n_polls = 0;
        NLT_CHECK_INT(nlt_index_file_validate(ix, &pool, &check, &err),
                      NLT_ECANCELED);
        NLT_CHECK_INT(c.n_polls, c.end_at);
    }
    nlt_pool_deinit(&pool);
    nlt_index_file_close(ix);
}

static void
unsorted_postings_are_refused_when_read(void)
{
    nlt_index_file_t *ix = open_index();
    uint64_t all = nlt_be64(data + len - 20);
    nlt_postings_t list;
    nlt_pool_t pool;
    nlt_err_t err;

    nlt_pool_init(&pool, &nlt_mem_libc, 1 << 20);
    nlt_put_be32(data + all + 12, nlt_be32(data + all + 8));
    reseal(all);
    NLT_CHECK_INT(nlt_index_file_postings(ix, &pool, NLT_STR(""), NLT_STR(""),
                                          &list, &err),
                  NLT_EDATA);
    nlt_pool_deinit(&pool);
    nlt_index_file_close(ix);
}

int
main(void)
{
    NLT_TEST(smallest_index_has_these_bytes);
    NLT_TEST(symbols_are_found_both_ways);
    NLT_TEST(every_value_has_its_postings);
    NLT_TEST(series_come_back_with_labels_and_chunks);
    NLT_TEST(writer_refuses_disorder);
    NLT_TEST(ordinals_write_the_same_bytes_as_strings);
    NLT_TEST(wrong_ordinals_are_refused);
    NLT_TEST(a_walk_meets_every_series_and_symbol_in_order);
    NLT_TEST(any_flipped_bit_but_in_padding_is_found);
    NLT_TEST(cut_files_are_refused);
    NLT_TEST(other_versions_are_refused_by_name);
    NLT_TEST(wrong_postings_with_right_checksums_are_found);
    NLT_TEST(symbols_that_are_not_text_are_refused);
    NLT_TEST(a_check_sees_every_chunk_and_can_be_ended);
    NLT_TEST(unsorted_postings_are_refused_when_read);
    free(data);
    return nlt_test_done();
}

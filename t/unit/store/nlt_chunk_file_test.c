/*
 * nlt_chunk_file_test.c - chunk segments.
 */
#include <fcntl.h>
#include <unistd.h>

#include "nlt_bytes.h"
#include "nlt_chunk_file.h"
#include "nlt_hash.h"
#include "nlt_test.h"

static char dir_name[] = "/tmp/nlt-chunks-XXXXXX";
static int dir_fd;

static uint8_t bytes[4096];
static size_t n_bytes;

/* The content of segment idx in bytes[]; false when there is none. */
static bool
read_segment(uint32_t idx)
{
    char name[NLT_CHUNK_FILE_NAME_BYTES];
    int fd;
    ssize_t n;

    nlt_chunk_file_name(name, idx);
    fd = openat(dir_fd, name, O_RDONLY);
    if (fd < 0) {
        return false;
    }
    n = read(fd, bytes, sizeof(bytes));
    n_bytes = n > 0 ? (size_t) n : 0;
    close(fd);
    unlinkat(dir_fd, name, 0);
    return true;
}

static void
names_have_six_digits_from_one(void)
{
    char name[NLT_CHUNK_FILE_NAME_BYTES];

    nlt_chunk_file_name(name, 0);
    NLT_CHECK(strcmp(name, "000001") == 0);
    nlt_chunk_file_name(name, 123455);
    NLT_CHECK(strcmp(name, "123456") == 0);
}

static void
segment_has_these_bytes(void)
{
    static const uint8_t want[] = {0x85, 0xbd, 0x40, 0xdd, 1,   0,  0,
                                   0,    3,    1,    'a',  'b', 'c'};
    nlt_chunk_writer_t w;
    uint64_t ref;
    nlt_err_t err;

    nlt_chunk_writer_init(&w, &nlt_env_posix, dir_fd, 0);
    NLT_CHECK_INT(nlt_chunk_writer_add(&w, 1, NLT_STR("abc"), &ref, &err),
                  NLT_OK);
    NLT_CHECK_INT(ref, 8);
    NLT_CHECK_INT(nlt_chunk_writer_finish(&w, &err), NLT_OK);
    nlt_chunk_writer_deinit(&w);
    NLT_CHECK(read_segment(0));
    NLT_CHECK_INT(n_bytes, sizeof(want) + 4);
    NLT_CHECK(memcmp(bytes, want, sizeof(want)) == 0);
    NLT_CHECK_INT(nlt_be32(bytes + 13), nlt_crc32c(0, "\1abc", 4));
}

static void
segments_are_cut_at_their_maximum(void)
{
    nlt_chunk_writer_t w;
    uint64_t ref[4];
    char big[100];
    nlt_str_t data = {sizeof(big), big};
    nlt_chunk_view_t view;
    uint64_t end;
    nlt_err_t err;

    memset(big, 'x', sizeof(big));
    nlt_chunk_writer_init(&w, &nlt_env_posix, dir_fd, 8 + 2 * 106);
    for (int i = 0; i < 3; i++) {
        NLT_CHECK_INT(nlt_chunk_writer_add(&w, 1, data, &ref[i], &err),
                      NLT_OK);
    }
    NLT_CHECK_INT(nlt_chunk_writer_finish(&w, &err), NLT_OK);
    nlt_chunk_writer_deinit(&w);
    NLT_CHECK_INT(ref[0], 8);
    NLT_CHECK_INT(ref[1], 8 + 106);
    NLT_CHECK_INT(ref[2], (UINT64_C(1) << 32) + 8);
    NLT_CHECK(read_segment(0));
    NLT_CHECK_INT(n_bytes, 8 + 2 * 106);
    NLT_CHECK_INT(nlt_chunk_file_check(bytes, n_bytes, &err), NLT_OK);
    NLT_CHECK_INT(
        nlt_chunk_file_get(bytes, n_bytes, ref[1], &view, &end, &err), NLT_OK);
    NLT_CHECK_INT(end, n_bytes);
    NLT_CHECK_INT(view.encoding, 1);
    NLT_CHECK(nlt_str_eq(view.data, data));
    NLT_CHECK(read_segment(1));
    NLT_CHECK_INT(n_bytes, 8 + 106);
    NLT_CHECK(!read_segment(2));
}

static void
any_flipped_bit_is_found(void)
{
    nlt_chunk_writer_t w;
    uint64_t ref;
    nlt_chunk_view_t view;
    nlt_err_t err;

    nlt_chunk_writer_init(&w, &nlt_env_posix, dir_fd, 0);
    NLT_CHECK_INT(nlt_chunk_writer_add(&w, 2, NLT_STR("abcdef"), &ref, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_chunk_writer_finish(&w, &err), NLT_OK);
    nlt_chunk_writer_deinit(&w);
    NLT_CHECK(read_segment(0));
    for (size_t bit = 0; bit < n_bytes * 8; bit++) {
        if (bit / 8 >= 5 && bit / 8 < 8) {
            continue; /* three bytes that mean nothing */
        }
        bytes[bit / 8] ^= (uint8_t) (1u << bit % 8);
        NLT_CHECK(nlt_chunk_file_check(bytes, n_bytes, &err) != NLT_OK
                  || nlt_chunk_file_get(bytes, n_bytes, ref, &view, NULL, &err)
                         == NLT_EDATA);
        bytes[bit / 8] ^= (uint8_t) (1u << bit % 8);
    }
    for (size_t n = 0; n < n_bytes; n++) {
        NLT_CHECK_INT(nlt_chunk_file_get(bytes, n, ref, &view, NULL, &err),
                      NLT_EDATA);
    }
    NLT_CHECK_INT(nlt_chunk_file_get(bytes, n_bytes, 0, &view, NULL, &err),
                  NLT_EDATA);
    NLT_CHECK_INT(
        nlt_chunk_file_get(bytes, n_bytes, UINT64_MAX, &view, NULL, &err),
        NLT_EDATA);
    bytes[4] = 2;
    NLT_CHECK_INT(nlt_chunk_file_check(bytes, n_bytes, &err), NLT_EVERSION);
}

static size_t n_unsynced;
static int n_syncs;

static ssize_t
no_write(void *ctx, int fd, const void *p, size_t n)
{
    (void) ctx;
    (void) fd;
    (void) p;
    n_unsynced += n;
    return (ssize_t) n;
}

static int
count_sync(void *ctx, int fd)
{
    (void) ctx;
    (void) fd;
    n_unsynced = 0;
    n_syncs++;
    return 0;
}

static void
long_segments_are_synced_as_they_grow(void)
{
    nlt_io_t io = nlt_io_posix;
    nlt_env_t env = nlt_env_posix;
    static char chunk[1000];
    nlt_chunk_writer_t w;
    uint64_t ref;
    nlt_err_t err;

    io.write = no_write;
    io.fdatasync = count_sync;
    env.io = &io;
    nlt_chunk_writer_init(&w, &env, dir_fd, 0);
    for (int i = 0; i < 50000; i++) {
        NLT_CHECK_INT(nlt_chunk_writer_add(&w, 1,
                                           (nlt_str_t){sizeof(chunk), chunk},
                                           &ref, &err),
                      NLT_OK);
        NLT_CHECK(n_unsynced < NLT_IO_PACE_BYTES + (1 << 20));
    }
    NLT_CHECK_INT(nlt_chunk_writer_finish(&w, &err), NLT_OK);
    NLT_CHECK_INT(n_syncs, 2); /* and what finish() does */
    nlt_chunk_writer_deinit(&w);
    NLT_CHECK(read_segment(0));
}

int
main(void)
{
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    NLT_TEST(names_have_six_digits_from_one);
    NLT_TEST(segment_has_these_bytes);
    NLT_TEST(segments_are_cut_at_their_maximum);
    NLT_TEST(any_flipped_bit_is_found);
    NLT_TEST(long_segments_are_synced_as_they_grow);
    close(dir_fd);
    rmdir(dir_name);
    return nlt_test_done();
}

/*
 * nlt_manifest_test.c - the manifest as text, in memory and on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "nlt_manifest.h"
#include "nlt_test.h"

static const uint8_t store_id[NLT_STORE_ID_BYTES] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

/* The n-th made-up block; blocks of an arena rise in time. */
static nlt_manifest_block_t
block(unsigned n, uint64_t arena)
{
    nlt_manifest_block_t b = {
        .t_min_ms = 7200000 * (int64_t) n - 3,
        .t_end_ms = 7200000 * (int64_t) n + 7199990,
        .arena = arena,
        .level = 1,
        .n_samples = 1000 + n,
        .n_series = 10 + n,
        .bytes = 4096 * (uint64_t) n,
    };

    (void) snprintf(b.ulid.c, sizeof(b.ulid.c), "01J%023u", n);
    return b;
}

static nlt_manifest_t
sample(void)
{
    nlt_manifest_t m;

    nlt_manifest_init(&m, &nlt_mem_libc, store_id);
    NLT_CHECK_INT(m.tenants, 1);
    m.tenants = 0; /* format 1 does not say */
    m.generation = 41;
    nlt_manifest_raise_floor(&m, 7);
    NLT_CHECK_INT(nlt_manifest_finish(&m, 9), NLT_OK);
    for (unsigned i = 0; i < 3; i++) {
        nlt_manifest_block_t b = block(i, 5 + i % 2);

        NLT_CHECK_INT(nlt_manifest_add_block(&m, &b), NLT_OK);
    }
    return m;
}

/* The same with all that format 2 has beyond format 1. */
static nlt_manifest_t
sample_2(void)
{
    nlt_manifest_t m = sample();
    nlt_manifest_damaged_t d = {.t_min_ms = -7, .t_end_ms = 12};

    (void) snprintf(d.ulid.c, sizeof(d.ulid.c), "01H%023u", 77u);
    m.blocks[1].deletes = 4;
    m.blocks[1].level = 3;
    m.blocks[1].n_histograms = 17;
    NLT_CHECK_INT(nlt_manifest_add_damaged(&m, &d), NLT_OK);
    NLT_CHECK_INT(nlt_manifest_add_damaged(&m, &d), NLT_EDUP);
    return m;
}

/* And what format 3 has beyond format 2. */
static nlt_manifest_t
sample_3(void)
{
    nlt_manifest_t m = sample_2();

    m.tenants = 262144;
    m.blocks[2].dense = 1;
    return m;
}

static bool
same(const nlt_manifest_t *a, const nlt_manifest_t *b)
{
    return memcmp(a->store_id, b->store_id, sizeof(a->store_id)) == 0
           && a->generation == b->generation && a->floor == b->floor
           && a->tenants == b->tenants && a->n_finished == b->n_finished
           && a->n_blocks == b->n_blocks
           && (a->n_finished == 0
               || memcmp(a->finished, b->finished,
                         a->n_finished * sizeof(*a->finished))
                      == 0)
           && (a->n_blocks == 0
               || memcmp(a->blocks, b->blocks,
                         a->n_blocks * sizeof(*a->blocks))
                      == 0)
           && a->n_damaged == b->n_damaged
           && (a->n_damaged == 0
               || memcmp(a->damaged, b->damaged,
                         a->n_damaged * sizeof(*a->damaged))
                      == 0);
}

static void
manifest_text_reads_back(void)
{
    nlt_manifest_t m = sample_3(), back = {.mem = &nlt_mem_libc};
    nlt_buf_t text;
    nlt_err_t err;

    nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
    nlt_manifest_print(&m, &text);
    NLT_CHECK_INT(text.rc, NLT_OK);
    NLT_CHECK_INT(nlt_manifest_parse(&back, nlt_buf_str(&text), &err), NLT_OK);
    NLT_CHECK(same(&m, &back));
    nlt_manifest_deinit(&back);
    nlt_manifest_deinit(&m);
    nlt_buf_deinit(&text);
}

/* The format is a contract: this text must be read for ever. */
static void
manifest_of_format_1_is_read(void)
{
    static const char text[] =
        "nightlight-manifest 1 36b73bf5\n"
        "store 00112233445566778899aabbccddeeff a21613d2\n"
        "generation 41 1a7392e0\n"
        "floor 7 7ef39207\n"
        "finished 9 9aa5a026\n"
        "block 01J00000000000000000000000 -3 7199990 5 1000 10 0 f23a70f6\n"
        "block 01J00000000000000000000002 14399997 21599990 5 1002 12 8192 "
        "7be56435\n"
        "block 01J00000000000000000000001 7199997 14399990 6 1001 11 4096 "
        "892119f0\n"
        "end 8 bc7fb4ca\n";
    nlt_manifest_t m = sample(), back = {.mem = &nlt_mem_libc};
    nlt_err_t err = {.text = ""};

    NLT_CHECK_INT(nlt_manifest_parse(&back, NLT_STR(text), &err), NLT_OK);
    NLT_CHECK_STR(((nlt_str_t){strlen(err.text), err.text}), "");
    NLT_CHECK(same(&m, &back));
    nlt_manifest_deinit(&back);
    nlt_manifest_deinit(&m);
}

static void
manifest_of_format_2_is_read(void)
{
    static const char text[] =
        "nightlight-manifest 2 25e7c801\n"
        "store 00112233445566778899aabbccddeeff c3141050\n"
        "generation 41 f32cf9ef\n"
        "floor 7 223104db\n"
        "finished 9 64d2da25\n"
        "block 01J00000000000000000000000 -3 7199990 5 0 1 1000 0 10 0 "
        "192dd2e5\n"
        "block 01J00000000000000000000002 14399997 21599990 5 4 3 1002 17 12 "
        "8192 "
        "ab389db0\n"
        "block 01J00000000000000000000001 7199997 14399990 6 0 1 1001 0 11 "
        "4096 "
        "52be74ae\n"
        "damaged 01H00000000000000000000077 -7 12 75623615\n"
        "end 9 5635ef67\n";
    nlt_manifest_t m = sample_2(), back = {.mem = &nlt_mem_libc};
    nlt_err_t err = {.text = ""};

    NLT_CHECK_INT(nlt_manifest_parse(&back, NLT_STR(text), &err), NLT_OK);
    NLT_CHECK_STR(((nlt_str_t){strlen(err.text), err.text}), "");
    NLT_CHECK(same(&m, &back));
    nlt_manifest_deinit(&back);
    nlt_manifest_deinit(&m);
}

static void
manifest_of_format_3_is_read(void)
{
    static const char text[] =
        "nightlight-manifest 3 d78c4b02\n"
        "store 00112233445566778899aabbccddeeff e3ea112e\n"
        "generation 41 57420d45\n"
        "floor 7 1670896f\n"
        "tenants 262144 88e4f85c\n"
        "finished 9 7ff40419\n"
        "block 01J00000000000000000000000 -3 7199990 5 0 1 1000 0 10 0 0 "
        "5cd7c4e5\n"
        "block 01J00000000000000000000002 14399997 21599990 5 4 3 1002 17 12 "
        "8192 0 "
        "ce3e3c61\n"
        "block 01J00000000000000000000001 7199997 14399990 6 0 1 1001 0 11 "
        "4096 1 "
        "33728ba8\n"
        "damaged 01H00000000000000000000077 -7 12 c642de78\n"
        "end 10 5c153638\n";
    static const char beyond[] =
        "nightlight-manifest 3 d78c4b02\n"
        "store 00112233445566778899aabbccddeeff e3ea112e\n"
        "generation 41 57420d45\n"
        "floor 7 1670896f\n"
        "tenants 262145 7a8f7b5f\n"
        "end 5 2b563748\n";
    nlt_manifest_t m = sample_3(), back = {.mem = &nlt_mem_libc};
    nlt_err_t err = {.text = ""};

    NLT_CHECK_INT(nlt_manifest_parse(&back, NLT_STR(text), &err), NLT_OK);
    NLT_CHECK_STR(((nlt_str_t){strlen(err.text), err.text}), "");
    NLT_CHECK(same(&m, &back));
    NLT_CHECK_INT(nlt_manifest_parse(&back, NLT_STR(beyond), &err), NLT_EDATA);
    nlt_manifest_deinit(&back);
    nlt_manifest_deinit(&m);
}

/* Checksums are those of the text, so only the number is what is wrong. */
static void
manifest_of_a_newer_format_is_refused_by_name(void)
{
    static const char text[] = "nightlight-manifest 4 03462fe9\n";
    nlt_manifest_t back = {.mem = &nlt_mem_libc};
    nlt_err_t err = {.text = ""};

    NLT_CHECK_INT(nlt_manifest_parse(&back, NLT_STR(text), &err),
                  NLT_EVERSION);
    NLT_CHECK_STR(((nlt_str_t){err.len, err.text}),
                  "MANIFEST has format 4, this program knows formats up to 3");
}

/* Every byte changed, every cut, every line lost or doubled. */
static void
manifest_damage_is_seen(void)
{
    nlt_manifest_t m = sample_3(), back = {.mem = &nlt_mem_libc};
    nlt_buf_t text;
    nlt_err_t err;
    size_t accepted = 0;
    char *copy;

    nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
    nlt_manifest_print(&m, &text);
    copy = malloc(2 * text.len);
    for (size_t i = 0; i < text.len; i++) {
        memcpy(copy, text.data, text.len);
        copy[i] ^= 1;
        accepted +=
            nlt_manifest_parse(&back, (nlt_str_t){text.len, copy}, &err)
            == NLT_OK;
        accepted +=
            nlt_manifest_parse(&back, (nlt_str_t){i, copy}, &err) == NLT_OK;
    }
    for (size_t i = 0; i < text.len; i++) {
        size_t len;

        if (i > 0 && text.data[i - 1] != '\n') {
            continue;
        }
        len = (size_t) ((char *) memchr(text.data + i, '\n', text.len - i)
                        - (text.data + i))
              + 1;
        memcpy(copy, text.data, i);
        memcpy(copy + i, text.data + i + len, text.len - i - len);
        accepted +=
            nlt_manifest_parse(&back, (nlt_str_t){text.len - len, copy}, &err)
            == NLT_OK;
        memcpy(copy, text.data, i + len);
        memcpy(copy + i + len, text.data + i, text.len - i);
        accepted +=
            nlt_manifest_parse(&back, (nlt_str_t){text.len + len, copy}, &err)
            == NLT_OK;
    }
    NLT_CHECK_INT(accepted, 0);
    NLT_CHECK_INT(back.n_blocks, 0);
    free(copy);
    nlt_manifest_deinit(&back);
    nlt_manifest_deinit(&m);
    nlt_buf_deinit(&text);
}

static void
manifest_floor_swallows_finished_arenas(void)
{
    nlt_manifest_t m;

    nlt_manifest_init(&m, &nlt_mem_libc, store_id);
    NLT_CHECK_INT(m.floor, 1);
    NLT_CHECK_INT(nlt_manifest_finish(&m, 3), NLT_OK);
    NLT_CHECK_INT(nlt_manifest_finish(&m, 2), NLT_OK);
    NLT_CHECK_INT(nlt_manifest_finish(&m, 5), NLT_OK);
    NLT_CHECK_INT(m.n_finished, 3);
    NLT_CHECK(!nlt_manifest_is_finished(&m, 1));
    NLT_CHECK(nlt_manifest_is_finished(&m, 3));
    NLT_CHECK_INT(nlt_manifest_finish(&m, 1), NLT_OK);
    NLT_CHECK_INT(m.floor, 4);
    NLT_CHECK_INT(m.n_finished, 1);
    NLT_CHECK(!nlt_manifest_is_finished(&m, 4));
    NLT_CHECK(nlt_manifest_is_finished(&m, 5));
    nlt_manifest_raise_floor(&m, 5);
    NLT_CHECK_INT(m.floor, 6);
    NLT_CHECK_INT(m.n_finished, 0);
    nlt_manifest_raise_floor(&m, 2);
    NLT_CHECK_INT(m.floor, 6);
    nlt_manifest_deinit(&m);
}

static void
manifest_keeps_blocks_in_merge_order(void)
{
    nlt_manifest_t m;
    nlt_manifest_block_t b;

    nlt_manifest_init(&m, &nlt_mem_libc, store_id);
    for (unsigned i = 20; i-- > 0;) {
        b = block(i, 1 + i * 7 % 5);
        NLT_CHECK_INT(nlt_manifest_add_block(&m, &b), NLT_OK);
    }
    NLT_CHECK_INT(nlt_manifest_add_block(&m, &b), NLT_EDUP);
    NLT_CHECK_INT(m.n_blocks, 20);
    for (size_t i = 1; i < m.n_blocks; i++) {
        const nlt_manifest_block_t *x = &m.blocks[i - 1], *y = x + 1;

        NLT_CHECK(x->arena < y->arena
                  || (x->arena == y->arena && x->t_min_ms < y->t_min_ms));
    }
    b = block(13, 0);
    NLT_CHECK(nlt_manifest_find(&m, b.ulid.c) < m.n_blocks);
    nlt_manifest_remove_block(&m, nlt_manifest_find(&m, b.ulid.c));
    NLT_CHECK_INT(nlt_manifest_find(&m, b.ulid.c), m.n_blocks);
    NLT_CHECK_INT(m.n_blocks, 19);
    NLT_CHECK_INT(nlt_manifest_newest_ms(&m), block(19, 0).t_end_ms - 1);
    nlt_manifest_deinit(&m);
}

static void
manifest_on_disk_is_of_one_store(void)
{
    char path[] = "/tmp/nlt-manifest-XXXXXX";
    nlt_manifest_t m = sample(), back = {.mem = &nlt_mem_libc};
    uint8_t other[NLT_STORE_ID_BYTES] = {1};
    nlt_err_t err;
    int fd;

    NLT_CHECK(mkdtemp(path) != NULL);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    NLT_CHECK_INT(nlt_manifest_load(&back, &nlt_env_posix, fd, store_id, &err),
                  NLT_ENOENT);
    NLT_CHECK_INT(nlt_manifest_store(&m, &nlt_env_posix, fd, &err), NLT_OK);
    NLT_CHECK_INT(m.generation, 42);
    NLT_CHECK_INT(nlt_manifest_load(&back, &nlt_env_posix, fd, store_id, &err),
                  NLT_OK);
    NLT_CHECK(same(&m, &back));
    NLT_CHECK_INT(nlt_manifest_load(&back, &nlt_env_posix, fd, other, &err),
                  NLT_EDATA);
    NLT_CHECK_INT(back.n_blocks, 0);
    NLT_CHECK_INT(unlinkat(fd, NLT_MANIFEST_NAME, 0), 0);
    NLT_CHECK_INT(close(fd), 0);
    NLT_CHECK_INT(rmdir(path), 0);
    nlt_manifest_deinit(&back);
    nlt_manifest_deinit(&m);
}

int
main(void)
{
    NLT_TEST(manifest_text_reads_back);
    NLT_TEST(manifest_of_format_1_is_read);
    NLT_TEST(manifest_of_format_2_is_read);
    NLT_TEST(manifest_of_format_3_is_read);
    NLT_TEST(manifest_of_a_newer_format_is_refused_by_name);
    NLT_TEST(manifest_damage_is_seen);
    NLT_TEST(manifest_floor_swallows_finished_arenas);
    NLT_TEST(manifest_keeps_blocks_in_merge_order);
    NLT_TEST(manifest_on_disk_is_of_one_store);
    return nlt_test_done();
}

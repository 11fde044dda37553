/*
 * nlt_metadata_test.c - metadata in the stash, and the file METADATA.
 */
#include "nlt_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nlt_lines.h"
#include "nlt_metadata.h"

static nlt_stash_t stash;
static nlt_pool_t pool;
static uint8_t secret[NLT_HASH_SECRET_BYTES];
static const uint8_t store_id[NLT_STORE_ID_BYTES] = "0123456789abcdef";
static const nlt_str_t all = {0, NULL};

static nlt_metadata_t
meta(uint32_t tenant, uint32_t type, const char *name, const char *help,
     const char *unit)
{
    return (nlt_metadata_t){tenant, type, nlt_test_str(name),
                            nlt_test_str(help), nlt_test_str(unit)};
}

static void
families_have_no_suffixes(void)
{
#define FAMILY(type, name, want)                                              \
    NLT_CHECK_STR(nlt_metadata_family(NLT_STR(name), type), want)
    FAMILY(NLT_METADATA_HISTOGRAM, "a_bucket", "a");
    FAMILY(NLT_METADATA_HISTOGRAM, "a_sum", "a");
    FAMILY(NLT_METADATA_HISTOGRAM, "a_count", "a");
    FAMILY(NLT_METADATA_HISTOGRAM, "a", "a");
    FAMILY(NLT_METADATA_HISTOGRAM, "_sum", "_sum");
    FAMILY(NLT_METADATA_HISTOGRAM, "a_count_sum", "a_count");
    FAMILY(NLT_METADATA_GAUGEHISTOGRAM, "a_gcount", "a");
    FAMILY(NLT_METADATA_GAUGEHISTOGRAM, "a_count", "a_count");
    FAMILY(NLT_METADATA_SUMMARY, "a_sum", "a");
    FAMILY(NLT_METADATA_SUMMARY, "a_bucket", "a_bucket");
    FAMILY(NLT_METADATA_COUNTER, "a_sum", "a_sum");
    FAMILY(NLT_METADATA_INFO, "a_info", "a_info");
#undef FAMILY
}

static void
what_is_known_is_no_news(void)
{
    nlt_metadata_t m = meta(0, NLT_METADATA_COUNTER, "a", "Help.", "s");
    int64_t t = 1000, known;

    nlt_stash_reset(&stash);
    NLT_CHECK_INT(nlt_metadata_look(&stash, secret, &m, t, &known),
                  NLT_METADATA_NEW);
    NLT_CHECK_INT(nlt_metadata_put(&stash, secret, &m, t), NLT_OK);
    NLT_CHECK_INT(nlt_metadata_look(&stash, secret, &m, t, &known),
                  NLT_METADATA_SAME);
    t += NLT_METADATA_SEEN_MS;
    NLT_CHECK_INT(nlt_metadata_look(&stash, secret, &m, t, &known),
                  NLT_METADATA_OLD);
    nlt_metadata_touch(&stash, secret, &m, t);
    NLT_CHECK_INT(nlt_metadata_look(&stash, secret, &m, t, &known),
                  NLT_METADATA_SAME);
    NLT_CHECK_INT(known, t);
    NLT_CHECK_INT(nlt_metadata_replay(&stash, secret, &m, t - 1), NLT_EORDER);
    NLT_CHECK_INT(nlt_metadata_replay(&stash, secret, &m, t), NLT_OK);
    m.type = NLT_METADATA_GAUGE;
    NLT_CHECK_INT(nlt_metadata_look(&stash, secret, &m, t, &known),
                  NLT_METADATA_NEW);
    m.type = NLT_METADATA_COUNTER;
    m.tenant = 1;
    NLT_CHECK_INT(nlt_metadata_look(&stash, secret, &m, t, &known),
                  NLT_METADATA_NEW);
    m.tenant = 0;
    m.help = m.unit;
    m.unit = NLT_STR("Help.");
    NLT_CHECK_INT(nlt_metadata_look(&stash, secret, &m, t, &known),
                  NLT_METADATA_NEW);
}

static void
the_newest_of_a_family_is_listed(void)
{
    nlt_metadata_t v[] = {
        meta(0, NLT_METADATA_COUNTER, "b", "old", ""),
        meta(0, NLT_METADATA_GAUGE, "a", "\"<é>\n", "bytes"),
        meta(7, NLT_METADATA_INFO, "b", "of another", ""),
        meta(0, NLT_METADATA_SUMMARY, "b", "new", "s"),
    };
    nlt_metadata_list_t l;
    nlt_err_t err;

    nlt_stash_reset(&stash);
    for (size_t i = 0; i < NLT_COUNT(v); i++) {
        NLT_CHECK_INT(nlt_metadata_put(&stash, secret, &v[i], (int64_t) i),
                      NLT_OK);
    }
    NLT_CHECK_INT(nlt_metadata_list(&stash, 0, all, &pool, &l, &err), NLT_OK);
    NLT_CHECK_INT(l.n, 2);
    NLT_CHECK_STR(l.v[0].name, "a");
    NLT_CHECK_STR(l.v[0].help, "\"<é>\n");
    NLT_CHECK_STR(l.v[1].name, "b");
    NLT_CHECK_STR(l.v[1].help, "new");
    NLT_CHECK_INT(l.v[1].type, NLT_METADATA_SUMMARY);
    NLT_CHECK_INT(l.seen_ms[1], 3);
    NLT_CHECK_INT(nlt_metadata_list(&stash, 7, NLT_STR("b"), &pool, &l, &err),
                  NLT_OK);
    NLT_CHECK_INT(l.n, 1);
    NLT_CHECK_INT(nlt_metadata_list(&stash, 7, NLT_STR("a"), &pool, &l, &err),
                  NLT_OK);
    NLT_CHECK_INT(l.n, 0);
}

static void
what_cannot_be_kept_is_not_taken(void)
{
    static char big[NLT_METADATA_BYTES_MAX + 1];
    nlt_metadata_t m = meta(0, 1, "a", "", "");

    m.help = (nlt_str_t){NLT_METADATA_BYTES_MAX - 1, big};
    NLT_CHECK(nlt_metadata_valid(&m));
    m.help.len++;
    NLT_CHECK(!nlt_metadata_valid(&m));
    m.help = (nlt_str_t){SIZE_MAX, big};
    NLT_CHECK(!nlt_metadata_valid(&m));
    m = meta(0, 1, "", "x", "");
    NLT_CHECK_INT(nlt_metadata_put(&stash, secret, &m, 0), NLT_EINVAL);
    m = meta(0, 1, "a", "\xc3", "");
    NLT_CHECK_INT(nlt_metadata_put(&stash, secret, &m, 0), NLT_EINVAL);
}

/* ---- the file ---- */

/* As version 1 writes it: to be read for ever. */
static const char golden[] =
    "nightlight-metadata 1 9b941ee2\n"
    "store 30313233343536373839616263646566 e8a9e4f0\n"
    "family 0 counter 1700000000000 687474705f746f74616c 48c3a96c7020226d6522 "
    "- cd8cdac7\n"
    "family 0 histogram -5 6c6174656e6379 - 7365636f6e6473 6d275cca\n"
    "family 9 unknown 0 61 - - fea84442\n"
    "end 5 48bff6d4\n";

static void
the_file_of_version_1_is_read_and_written(void)
{
    nlt_metadata_list_t l;
    nlt_buf_t out;
    nlt_err_t err = {.text = ""};

    NLT_CHECK_INT(
        nlt_metadata_parse(nlt_test_str(golden), store_id, &pool, &l, &err),
        NLT_OK);
    printf("# %s\n", err.text);
    NLT_CHECK_INT(l.n, 3);
    if (l.n != 3) {
        return;
    }
    NLT_CHECK_STR(l.v[0].name, "http_total");
    NLT_CHECK_STR(l.v[0].help, "Hélp \"me\"");
    NLT_CHECK_INT(l.seen_ms[1], -5);
    NLT_CHECK_INT(l.v[1].type, NLT_METADATA_HISTOGRAM);
    NLT_CHECK_STR(l.v[1].unit, "seconds");
    NLT_CHECK_INT(l.v[2].tenant, 9);
    nlt_buf_init(&out, &nlt_mem_libc, 1 << 20);
    nlt_metadata_print(&l, store_id, &out);
    NLT_CHECK_STR(nlt_buf_str(&out), golden);
    nlt_buf_deinit(&out);
}

static void
no_changed_byte_goes_unseen(void)
{
    char text[sizeof(golden)];
    nlt_metadata_list_t l;
    nlt_err_t err;

    for (size_t i = 0; i + 1 < sizeof(golden); i++) {
        memcpy(text, golden, sizeof(golden));
        text[i] ^= 1;
        NLT_CHECK_INT(
            nlt_metadata_parse(nlt_test_str(text), store_id, &pool, &l, &err),
            NLT_EDATA);
        NLT_CHECK_INT(nlt_metadata_parse((nlt_str_t){i, golden}, store_id,
                                         &pool, &l, &err),
                      NLT_EDATA);
    }
}

/* A file of these lines with checksums that are right. */
static nlt_rc_t
parse_text(const char *const *lines, size_t n, nlt_err_t *err)
{
    nlt_metadata_list_t l;
    nlt_lines_out_t out;
    nlt_buf_t text;
    nlt_rc_t rc;

    nlt_buf_init(&text, &nlt_mem_libc, 1 << 20);
    nlt_lines_begin(&out, &text);
    for (size_t i = 0; i < n; i++) {
        nlt_buf_add_c(&text, lines[i]);
        nlt_lines_end_line(&out);
    }
    nlt_lines_finish(&out);
    rc = nlt_metadata_parse(nlt_buf_str(&text), store_id, &pool, &l, err);
    nlt_buf_deinit(&text);
    return rc;
}

static void
what_is_no_metadata_is_refused(void)
{
    static const char head[] = "nightlight-metadata 1";
    static const char store[] = "store 30313233343536373839616263646566";
    static const char *const bad[][4] = {
        {"nightlight-metadata 1"},
        {"nightlight-deletes 1", store},
        {head, "store 00313233343536373839616263646566"},
        {head, store, "family 0 counter 1 - - -"},
        {head, store, "family 0 counter 1 61 -"},
        {head, store, "family 0 counter 1 61 - - -"},
        {head, store, "family 0 colour 1 61 - -"},
        {head, store, "family 0 counter x 61 - -"},
        {head, store, "family 4294967295 counter 1 61 - -"},
        {head, store, "family 0 counter 1 6 - -"},
        {head, store, "family 0 counter 1 ff - -"},
        {head, store, "species 0 counter 1 61 - -"},
        {head, store, "family 0 counter 1 61 - -",
         "family 0 counter 1 61 - -"},
        {head, store, "family 1 counter 1 61 - -",
         "family 0 counter 1 62 - -"},
    };
    static const char *const newer[] = {"nightlight-metadata 2", "whatever"};
    static const char *const fine[] = {head, store, "family 0 info 1 61 - -"};
    nlt_err_t err;

    for (size_t i = 0; i < NLT_COUNT(bad); i++) {
        size_t n = 0;

        while (n < 4 && bad[i][n] != NULL) {
            n++;
        }
        NLT_CHECK_INT(parse_text(bad[i], n, &err), NLT_EDATA);
    }
    NLT_CHECK_INT(parse_text(newer, 2, &err), NLT_EVERSION);
    NLT_CHECK_INT(parse_text(fine, 3, &err), NLT_OK);
}

static void
saved_and_loaded_it_is_the_same(void)
{
    char dir[] = "/tmp/nlt-metadata-XXXXXX";
    nlt_metadata_t a = meta(0, 1, "a", "file", ""),
                   b = meta(0, 2, "b", "", "");
    nlt_metadata_t newer = meta(0, 3, "a", "log", "");
    nlt_metadata_list_t l;
    nlt_err_t err;
    int fd;

    NLT_CHECK(mkdtemp(dir) != NULL);
    fd = open(dir, O_RDONLY | O_DIRECTORY);
    nlt_stash_reset(&stash);
    /* no file: nothing */
    NLT_CHECK_INT(
        nlt_metadata_load(&nlt_env_posix, fd, store_id, &stash, secret, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_metadata_put(&stash, secret, &a, 50), NLT_OK);
    NLT_CHECK_INT(nlt_metadata_put(&stash, secret, &b, 10), NLT_OK);
    NLT_CHECK_INT(nlt_metadata_save(&nlt_env_posix, fd, store_id, &stash,
                                    secret, 11, &err),
                  NLT_OK);
    /* what was not heard of since the border went, there as here */
    NLT_CHECK(!nlt_metadata_known(&stash, secret, &b));
    nlt_stash_reset(&stash);
    NLT_CHECK_INT(nlt_metadata_put(&stash, secret, &newer, 60), NLT_OK);
    NLT_CHECK_INT(
        nlt_metadata_load(&nlt_env_posix, fd, store_id, &stash, secret, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_metadata_list(&stash, 0, all, &pool, &l, &err), NLT_OK);
    NLT_CHECK_INT(l.n, 1);
    NLT_CHECK_STR(l.v[0].help, "log");
    nlt_stash_reset(&stash);
    NLT_CHECK_INT(
        nlt_metadata_load(&nlt_env_posix, fd, store_id, &stash, secret, &err),
        NLT_OK);
    NLT_CHECK_INT(nlt_metadata_list(&stash, 0, all, &pool, &l, &err), NLT_OK);
    NLT_CHECK_INT(l.n, 1);
    NLT_CHECK_STR(l.v[0].help, "file");
    NLT_CHECK_INT(l.seen_ms[0], 50);
    (void) unlinkat(fd, "METADATA", 0);
    (void) close(fd);
    (void) rmdir(dir);
}

int
main(void)
{
    size_t bytes = 4 * NLT_STASH_BYTES_MIN;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED || nlt_stash_format(base, bytes, NULL) != NLT_OK
        || nlt_stash_open(&stash, base, bytes, NULL, -1, 0, NULL) != NLT_OK
        || !nlt_random_bytes(secret, sizeof(secret))) {
        return 2;
    }
    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
    NLT_TEST(families_have_no_suffixes);
    NLT_TEST(what_is_known_is_no_news);
    NLT_TEST(the_newest_of_a_family_is_listed);
    NLT_TEST(what_cannot_be_kept_is_not_taken);
    NLT_TEST(the_file_of_version_1_is_read_and_written);
    NLT_TEST(no_changed_byte_goes_unseen);
    NLT_TEST(what_is_no_metadata_is_refused);
    NLT_TEST(saved_and_loaded_it_is_the_same);
    nlt_pool_deinit(&pool);
    return nlt_test_done();
}

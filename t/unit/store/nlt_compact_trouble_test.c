/*
 * nlt_compact_trouble_test.c - a merge that fails leaves no trace.
 */
#include "nlt_compact_fixture.h"

/* Sources with something of everything that touches the disk. */
static void
add_some(void)
{
    add(1, 0, BM_SETS, row(0, 120, 4), 4);
    add(2, 5, 20, row(300, 500, 2), 2);
}

static void
sources_are_intact(void)
{
    for (size_t i = 0; i < 2; i++) {
        nlt_block_t *b = NULL;

        NLT_CHECK_INT(nlt_block_open(&nlt_env_posix, dir_fd,
                                     block[i].info.ulid.c, &b, &err),
                      NLT_OK);
        NLT_CHECK_INT(nlt_block_validate(b, &pool, &err), NLT_OK);
        nlt_block_close(b);
    }
}

static void
remove_result(const nlt_manifest_block_t *out)
{
    NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd, out->ulid.c, &err),
                  NLT_OK);
}

/* Of the four files of a small block. */
static int64_t
bytes_of(const char *ulid)
{
    static const char *const files[] = {"index", "chunks/000001", "meta.json",
                                        "tombstones"};
    int64_t n = 0;

    for (size_t i = 0; i < NLT_COUNT(files); i++) {
        char path[128];
        struct stat st = {.st_size = 0};

        snprintf(path, sizeof(path), "%s/%s", ulid, files[i]);
        NLT_CHECK_INT(fstatat(dir_fd, path, &st, 0), 0);
        n += st.st_size;
    }
    return n;
}

static void
nothing_is_left_whichever_call_fails(void)
{
    fx_fault_t fault = {.transient = true};
    nlt_io_t io = fx_fault_io(&fault);
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_manifest_block_t out;
    size_t n_failed = 0;

    setup();
    add_some();
    env.io = &io;
    for (fault.hit = true; fault.hit;) {
        nlt_rc_t rc;

        fault.fail_at++;
        fault.calls = 0;
        fault.hit = false;
        rc = merge(&conf, &out, NULL);
        if (rc == NLT_OK) {
            NLT_CHECK(!fault.hit);
            NLT_CHECK_INT(out.bytes, bytes_of(out.ulid.c));
            NLT_CHECK_INT(entries(), 3);
            remove_result(&out);
        } else {
            NLT_CHECK_INT(rc, NLT_EIO);
            NLT_CHECK_INT(entries(), 2);
            n_failed++;
        }
    }
    NLT_CHECK(n_failed > 20);
    sources_are_intact();
    teardown();
}

static void
no_allocation_that_fails_does_harm(void)
{
    nlt_test_mem_t mem;
    nlt_matcher_t m;
    nlt_delete_set_t set;
    nlt_delete_t d;
    nlt_delete_list_t l = one_rule(&d, &set, &m);
    nlt_compact_conf_t conf = conf_of(&l);
    nlt_manifest_block_t out;
    nlt_rc_t rc;
    int at = 0;

    setup();
    add_some();
    env.mem = &mem.mem;
    do {
        nlt_test_mem_init(&mem, at++);
        rc = merge(&conf, &out, NULL);
        NLT_CHECK_INT(mem.bytes, 0);
        NLT_CHECK(rc == NLT_OK || rc == NLT_ENOMEM);
        NLT_CHECK_INT(entries(), rc == NLT_OK ? 3 : 2);
    } while (rc == NLT_ENOMEM && at < 10000);
    NLT_CHECK(at > 20);
    remove_result(&out);
    teardown();
}

static void
a_merge_canceled_anywhere_leaves_nothing(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_manifest_block_t out;
    nlt_rc_t rc;
    int n = 0;

    setup();
    add(1, 0, BM_SETS, row(0, 40, 40), 40);
    add(2, 0, BM_SETS, row(20, 40, 40), 40);
    do {
        polls_left = n;
        rc = merge(&conf, &out, NULL);
        NLT_CHECK(rc == NLT_OK || rc == NLT_ECANCELED);
        NLT_CHECK_INT(entries(), rc == NLT_OK ? 3 : 2);
    } while (rc != NLT_OK && ++n < 1000);
    /* Asked often: 4800 chunks. */
    NLT_CHECK(n >= 15);
    remove_result(&out);
    teardown();
}

/* Flips a byte in the middle of a file of block i. */
static void
poke(size_t i, const char *file, double where, uint8_t *was)
{
    char path[128];
    struct stat st;
    uint8_t byte;
    off_t at;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", block[i].info.ulid.c, file);
    fd = openat(dir_fd, path, O_RDWR);
    NLT_CHECK_INT(fstat(fd, &st), 0);
    at = (off_t) (where * (double) st.st_size);
    NLT_CHECK_INT(pread(fd, &byte, 1, at), 1);
    *was = byte;
    byte ^= 0x55;
    NLT_CHECK_INT(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void
a_damaged_source_is_named(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_manifest_block_t out;
    size_t n_found = 0;

    setup();
    add_some();
    for (size_t i = 0; i < 2; i++) {
        for (int k = 1; k < 20; k++) {
            size_t damaged = 77;
            uint8_t was;
            nlt_rc_t rc;

            poke(i, k % 2 ? "chunks/000001" : "index", k / 20.0, &was);
            rc = merge(&conf, &out, &damaged);
            /* The mapping is of the file: the byte goes back. */
            poke(i, k % 2 ? "chunks/000001" : "index", k / 20.0, &was);
            if (rc == NLT_OK) {
                /* Postings are not read: the result has new ones. */
                NLT_CHECK(k % 2 == 0);
                remove_result(&out);
                continue;
            }
            NLT_CHECK_INT(rc, NLT_EDATA);
            NLT_CHECK_INT(damaged, i);
            NLT_CHECK(strstr(err.text, block[i].info.ulid.c) != NULL);
            NLT_CHECK_INT(entries(), 2);
            n_found++;
        }
    }
    NLT_CHECK(n_found >= 20);
    sources_are_intact();
    teardown();
}

static void
tests(void)
{
    NLT_TEST(nothing_is_left_whichever_call_fails);
    NLT_TEST(no_allocation_that_fails_does_harm);
    NLT_TEST(a_merge_canceled_anywhere_leaves_nothing);
    NLT_TEST(a_damaged_source_is_named);
}

int
main(void)
{
    return run(tests);
}

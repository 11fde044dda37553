/*
 * nlt_tenants_life_test.c - names of tenants through restarts, lost heads,
 * flushes and damaged files.
 */
#include <dirent.h>

#include "nlt_manifest.h"
#include "nlt_tenants_fixture.h"

/* One sample of one series of a tenant, as a writer does it. */
static uint32_t
put(fx_t *fx, const char *name, int64_t t_ms, double v)
{
    nlt_label_t labels[1] = {{NLT_METRIC_NAME, NLT_STR("m")}};
    nlt_ingest_own_t s = {.labels = {labels, 1}, .t_ms = t_ms, .v = v};

    return tx_put(fx, nlt_test_str(name), &s, 1);
}

static void
add(void *ctx, double v)
{
    double *sum = ctx;

    *sum += v;
}

/* Sum of the samples that a tenant has. */
static double
sum_of(fx_t *fx, uint32_t number)
{
    double sum = 0;

    tx_read(fx, number, add, &sum);
    return sum;
}

static uint32_t
number_of(fx_t *fx, const char *name)
{
    uint64_t term;

    return nlt_store_find_tenant(fx->store, nlt_test_str(name), &term);
}

/* A head that is gone: everything comes from the disk. */
static void
lose_head(fx_t *fx)
{
    fx_close(fx);
    fx_remove_head(fx);
    NLT_CHECK(fx_start(fx));
}

static void
names_come_back_from_the_log(void)
{
    uint32_t a, b;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "a", FX_NOW, 1);
    b = put(&fx, "..", FX_NOW, 2);
    NLT_CHECK_INT(fx_write(&fx, 0, FX_NOW, 4), NLT_OK);
    for (int i = 0; i < 3; i++) {
        lose_head(&fx);
        NLT_CHECK_INT(number_of(&fx, "a"), a);
        NLT_CHECK_INT(number_of(&fx, ".."), b);
        NLT_CHECK_INT(number_of(&fx, "c"), NLT_TENANT_NOBODY);
        NLT_CHECK(sum_of(&fx, a) == 1 + i);
        NLT_CHECK(sum_of(&fx, b) == 2);
        NLT_CHECK(sum_of(&fx, 0) == 4);
        NLT_CHECK(sum_of(&fx, NLT_TENANT_NOBODY) == 0);
        NLT_CHECK_INT(put(&fx, "a", FX_NOW + 1 + i, 1), a);
    }
    NLT_CHECK_INT(put(&fx, "c", FX_NOW, 1), 3);
    fx_deinit(&fx);
}

/* Of one with metadata and no series, too. */
static void
names_come_back_from_the_file(void)
{
    uint32_t a, b;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "a", FX_NOW, 1);
    b = put(&fx, "b", FX_NOW, 2);
    NLT_CHECK(fx_flush(&fx));
    lose_head(&fx);
    NLT_CHECK_INT(number_of(&fx, "a"), a);
    NLT_CHECK_INT(number_of(&fx, "b"), b);
    NLT_CHECK(sum_of(&fx, a) == 1);
    NLT_CHECK(sum_of(&fx, b) == 2);
    NLT_CHECK(sum_of(&fx, 0) == 0);
    NLT_CHECK_INT(put(&fx, "c", FX_NOW, 1), 3);
    /* File and log together; the log says "a" again. */
    NLT_CHECK_INT(put(&fx, "a", FX_NOW + 1, 4), a);
    lose_head(&fx);
    NLT_CHECK_INT(number_of(&fx, "c"), 3);
    NLT_CHECK(sum_of(&fx, a) == 5);
    NLT_CHECK(sum_of(&fx, 3) == 1);
    fx_deinit(&fx);
}

static void
a_deleted_name_does_not_come_back(void)
{
    uint32_t a, n;
    nlt_err_t err;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "a", FX_NOW, 1);
    (void) put(&fx, "b", FX_NOW, 2);
    NLT_CHECK_INT(nlt_tenants_remove(nlt_store_tenants(fx.store), NLT_STR("a"),
                                     &n, &err),
                  NLT_OK);
    NLT_CHECK_INT(n, a);
    /* The helper writes what was removed without a flush. */
    fx_step(&fx, 5);
    NLT_CHECK_INT(number_of(&fx, "a"), NLT_TENANT_NOBODY);
    for (int i = 0; i < 2; i++) {
        lose_head(&fx);
        NLT_CHECK_INT(number_of(&fx, "a"), NLT_TENANT_NOBODY);
        NLT_CHECK_INT(number_of(&fx, "b"), 2);
        NLT_CHECK(sum_of(&fx, a) == 0);
        NLT_CHECK(sum_of(&fx, 2) == 2);
    }
    NLT_CHECK_INT(put(&fx, "a", FX_NOW, 8), 3);
    lose_head(&fx);
    NLT_CHECK_INT(number_of(&fx, "a"), 3);
    NLT_CHECK(sum_of(&fx, 3) == 8);
    NLT_CHECK(sum_of(&fx, a) == 0);
    fx_deinit(&fx);
}

/* The head of a program that lays it out in another way; nobody has it. */
static void
make_head_older(fx_t *fx)
{
    DIR *dir = opendir(fx->head_path);
    struct dirent *e;
    int done = 0, fd;

    NLT_CHECK(dir != NULL);
    while ((e = readdir(dir)) != NULL) {
        uint32_t layout = 0x0badcafe;
        const char *dot = strrchr(e->d_name, '.');

        if (dot == NULL || strcmp(dot, ".ctl") != 0) {
            continue;
        }
        fd = openat(dirfd(dir), e->d_name, O_RDWR);
        NLT_CHECK_INT(pwrite(fd, &layout, sizeof(layout),
                             (off_t) offsetof(nlt_head_ctl_t, layout)),
                      sizeof(layout));
        NLT_CHECK_INT(close(fd), 0);
        done++;
    }
    NLT_CHECK_INT(closedir(dir), 0);
    NLT_CHECK_INT(done, 1);
}

static void
an_older_head_is_made_anew_with_all_tenants(void)
{
    uint32_t a, b, c, n;
    uint64_t before, after;
    nlt_err_t err;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "a", FX_NOW, 1);
    NLT_CHECK(fx_flush(&fx));
    b = put(&fx, "b", FX_NOW, 2);
    NLT_CHECK_INT(put(&fx, "a", FX_NOW + 1, 4), a);
    c = put(&fx, "c", FX_NOW, 8);
    NLT_CHECK_INT(nlt_tenants_remove(nlt_store_tenants(fx.store), NLT_STR("c"),
                                     &n, &err),
                  NLT_OK);
    fx_step(&fx, 5);
    (void) nlt_store_find_tenant(fx.store, NLT_STR("a"), &before);
    fx_close(&fx);
    make_head_older(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(nlt_store_find_tenant(fx.store, NLT_STR("a"), &after), a);
    NLT_CHECK(after > before);
    NLT_CHECK_INT(number_of(&fx, "b"), b);
    NLT_CHECK_INT(number_of(&fx, "c"), NLT_TENANT_NOBODY);
    NLT_CHECK(sum_of(&fx, a) == 5);
    NLT_CHECK(sum_of(&fx, b) == 2);
    NLT_CHECK(sum_of(&fx, c) == 0);
    NLT_CHECK_INT(put(&fx, "d", FX_NOW, 16), c + 1);
    fx_deinit(&fx);
}

/* Changes one byte of a file; false: there is none. */
static bool
flip(fx_t *fx, const char *name, off_t at)
{
    char path[128], c;
    int fd;
    bool ok;

    (void) snprintf(path, sizeof(path), "%s/%s", fx->path, name);
    fd = open(path, O_RDWR);
    ok = fd >= 0 && pread(fd, &c, 1, at) == 1;
    c ^= 1;
    ok = ok && pwrite(fd, &c, 1, at) == 1;
    (void) close(fd);
    return ok;
}

/* Whose data is whose is not guessed. */
static void
a_damaged_file_is_no_start(void)
{
    nlt_store_status_t status;
    uint32_t a;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "a", FX_NOW, 1);
    NLT_CHECK(fx_flush(&fx));
    fx_close(&fx);
    NLT_CHECK(flip(&fx, "TENANTS", 90));
    /* The head survived, and knows. */
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(number_of(&fx, "a"), a);
    fx_close(&fx);
    fx_remove_head(&fx);
    fx.fault.fail_at = INT64_MAX; /* quiet */
    NLT_CHECK(!fx_start(&fx));
    nlt_store_status(fx.store, &status);
    NLT_CHECK(!status.ready);
    NLT_CHECK(strstr(status.reason, "TENANTS") != NULL);
    if (strstr(status.reason, "TENANTS") == NULL) {
        printf("# %s\n", status.reason);
    }
    NLT_CHECK(flip(&fx, "TENANTS", 90));
    fx_close(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(number_of(&fx, "a"), a);
    NLT_CHECK(sum_of(&fx, a) == 1);
    fx_deinit(&fx);
}

/* A file of the store is gone. */
static void
take_away(fx_t *fx, const char *name)
{
    char path[128];

    (void) snprintf(path, sizeof(path), "%s/%s", fx->path, name);
    NLT_CHECK_INT(unlink(path), 0);
}

/* The first start of this program; before, the MANIFEST had no `tenants`. */
static void
make_manifest_older(fx_t *fx)
{
    nlt_manifest_t m = {.mem = &nlt_mem_libc};
    nlt_err_t err;
    int fd = open(fx->path, O_RDONLY | O_DIRECTORY);

    NLT_CHECK_INT(nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    NLT_CHECK_INT(m.tenants, 3);
    m.tenants = 0;
    NLT_CHECK_INT(nlt_manifest_store(&m, &nlt_env_posix, fd, &err), NLT_OK);
    nlt_manifest_deinit(&m);
    NLT_CHECK_INT(close(fd), 0);
}

/* Without TENANTS nobody gets a number under which blocks have something. */
static void
a_lost_file_gives_nothing_to_others(void)
{
    for (int is_older = 0; is_older < 2; is_older++) {
        uint32_t a, b, c, d;
        fx_t fx;

        fx_init(&fx);
        NLT_CHECK(fx_start(&fx));
        a = put(&fx, "a", FX_NOW, 1);
        b = put(&fx, "b", FX_NOW, 2);
        NLT_CHECK(fx_flush(&fx));
        fx_close(&fx);
        fx_remove_head(&fx);
        take_away(&fx, "TENANTS");
        if (is_older) {
            make_manifest_older(&fx);
        }
        fx.fault.fail_at = INT64_MAX; /* quiet */
        NLT_CHECK(fx_start(&fx));
        NLT_CHECK_INT(number_of(&fx, "a"), NLT_TENANT_NOBODY);
        NLT_CHECK_INT(number_of(&fx, "b"), NLT_TENANT_NOBODY);
        c = put(&fx, "c", FX_NOW, 4);
        d = put(&fx, "a", FX_NOW, 8);
        NLT_CHECK(c > b && d > c);
        NLT_CHECK(sum_of(&fx, c) == 4);
        NLT_CHECK(sum_of(&fx, d) == 8);
        /* They are kept: by their numbers they could be read. */
        NLT_CHECK(sum_of(&fx, a) == 1);
        NLT_CHECK(fx_flush(&fx));
        lose_head(&fx);
        NLT_CHECK_INT(number_of(&fx, "c"), c);
        NLT_CHECK_INT(number_of(&fx, "a"), d);
        NLT_CHECK(put(&fx, "e", FX_NOW, 16) > d);
        fx_deinit(&fx);
    }
}

/* One from a backup: who came later has lost his name, not his number. */
static void
an_old_file_gives_nothing_to_others(void)
{
    char from[128], to[128];
    uint32_t a, b;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "a", FX_NOW, 1);
    NLT_CHECK(fx_flush(&fx));
    (void) snprintf(from, sizeof(from), "%s/TENANTS", fx.path);
    (void) snprintf(to, sizeof(to), "%s/backup", fx.path);
    NLT_CHECK_INT(link(from, to), 0);
    b = put(&fx, "b", FX_NOW, 2);
    NLT_CHECK(fx_flush(&fx));
    fx_close(&fx);
    fx_remove_head(&fx);
    NLT_CHECK_INT(rename(to, from), 0);
    fx.fault.fail_at = INT64_MAX; /* quiet */
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(number_of(&fx, "a"), a);
    NLT_CHECK_INT(number_of(&fx, "b"), NLT_TENANT_NOBODY);
    NLT_CHECK_INT(put(&fx, "c", FX_NOW, 4), b + 1);
    fx_deinit(&fx);
}

/* A log still has the name: it is believed, also without the file. */
static void
a_lost_file_does_not_make_logs_liars(void)
{
    uint32_t a, b;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "a", FX_NOW, 1);
    b = put(&fx, "b", FX_NOW, 2);
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK_INT(put(&fx, "b", FX_NOW + 1, 4), b);
    fx_close(&fx);
    fx_remove_head(&fx);
    take_away(&fx, "TENANTS");
    fx.fault.fail_at = INT64_MAX; /* quiet */
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(number_of(&fx, "a"), NLT_TENANT_NOBODY);
    NLT_CHECK_INT(number_of(&fx, "b"), b);
    NLT_CHECK(sum_of(&fx, b) == 6);
    NLT_CHECK(put(&fx, "c", FX_NOW, 8) > a);
    fx_deinit(&fx);
}

/* The head knows: the file is there again before anybody needs it. */
static void
a_head_that_survived_writes_the_file_again(void)
{
    uint32_t a;
    fx_t fx;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "a", FX_NOW, 1);
    NLT_CHECK(fx_flush(&fx));
    fx_close(&fx);
    take_away(&fx, "TENANTS");
    fx.fault.fail_at = INT64_MAX; /* quiet */
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 5);
    lose_head(&fx);
    NLT_CHECK_INT(number_of(&fx, "a"), a);
    NLT_CHECK(sum_of(&fx, a) == 1);
    fx_deinit(&fx);
}

/* A torn name takes what is of it in this log, and nothing of others. */
static void
a_torn_name_is_nobody(void)
{
    char path[160];
    uint8_t bytes[4096];
    ssize_t n;
    uint32_t a;
    fx_t fx;
    int fd;

    fx_init(&fx);
    NLT_CHECK(fx_start(&fx));
    a = put(&fx, "torn", FX_NOW, 1);
    NLT_CHECK_INT(put(&fx, "whole", FX_NOW, 2), a + 1);
    fx_close(&fx);
    (void) snprintf(path, sizeof(path), "%s/wal/0000000000000001.wal",
                    fx.path);
    fd = open(path, O_RDWR);
    n = pread(fd, bytes, sizeof(bytes), 0);
    for (ssize_t i = 0; i + 4 < n; i++) {
        if (memcmp(bytes + i, "torn", 4) == 0) {
            NLT_CHECK_INT(pwrite(fd, "T", 1, i), 1);
        }
    }
    (void) close(fd);
    fx_remove_head(&fx);
    NLT_CHECK(fx_start(&fx));
    NLT_CHECK_INT(number_of(&fx, "torn"), NLT_TENANT_NOBODY);
    NLT_CHECK(sum_of(&fx, number_of(&fx, "whole")) == 2);
    NLT_CHECK(sum_of(&fx, a) == 0);
    NLT_CHECK(sum_of(&fx, 0) == 0);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(names_come_back_from_the_log);
    NLT_TEST(names_come_back_from_the_file);
    NLT_TEST(a_deleted_name_does_not_come_back);
    NLT_TEST(an_older_head_is_made_anew_with_all_tenants);
    NLT_TEST(a_damaged_file_is_no_start);
    NLT_TEST(a_lost_file_gives_nothing_to_others);
    NLT_TEST(an_old_file_gives_nothing_to_others);
    NLT_TEST(a_lost_file_does_not_make_logs_liars);
    NLT_TEST(a_head_that_survived_writes_the_file_again);
    NLT_TEST(a_torn_name_is_nobody);
    return nlt_test_done();
}

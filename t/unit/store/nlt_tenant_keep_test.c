/*
 * nlt_tenant_keep_test.c - a tenant's own retention: what is answered, what
 * merges leave, which blocks are written anew.
 */
#include "nlt_store_fixture.h"

#include "nlt_block_owners.h"
#include "nlt_block_tenant.h"
#include "nlt_compact.h"
#include "nlt_flush.h"
#include "nlt_manifest.h"
#include "nlt_snapshot.h"

#define DAY (24 * FX_HOUR)

static fx_t fx;

/* What the MANIFEST says now. */
static nlt_manifest_t
manifest(void)
{
    nlt_manifest_t m = {.mem = &nlt_mem_libc};
    nlt_err_t err;
    int fd = open(fx.path, O_RDONLY | O_DIRECTORY);

    NLT_CHECK_INT(nlt_manifest_load(&m, &nlt_env_posix, fd, NULL, &err),
                  NLT_OK);
    (void) close(fd);
    return m;
}

static uint64_t
series_in_blocks(void)
{
    nlt_manifest_t m = manifest();
    uint64_t n = 0;

    for (size_t i = 0; i < m.n_blocks; i++) {
        n += m.blocks[i].n_series;
    }
    nlt_manifest_deinit(&m);
    return n;
}

/* Samples of series 0 to 7 at t, t + 1 min, ..; series 1, 3, .. are 3's. */
static void
write_some(int64_t t, unsigned n)
{
    for (unsigned no = 0; no < 8; no++) {
        for (unsigned k = 0; k < n; k++) {
            NLT_CHECK_INT(fx_write(&fx, no, t + k * INT64_C(60000), k + no),
                          NLT_OK);
        }
    }
}

/* The model forgets what tenant 3 has before t. */
static void
forget(int64_t t)
{
    for (unsigned no = 1; no < 8; no += 2) {
        fx_series_t *s = &fx.series[no];
        size_t k = 0;

        for (size_t i = 0; i < s->n; i++) {
            if (s->v[i].t_ms >= t) {
                s->v[k++] = s->v[i];
            }
        }
        s->n = k;
    }
}

static void
begin(const nlt_tenant_keep_t *keep, size_t n)
{
    fx_init(&fx);
    fx.n_tenants = 2;
    fx.conf.tenant_keeps = keep;
    fx.conf.n_tenant_keeps = n;
    NLT_CHECK(fx_start(&fx));
}

static void
the_shorter_of_two_counts(void)
{
    static const struct {
        nlt_tenant_keep_t v[3];
        size_t n;
        int64_t want[4]; /* of tenants 0, 1, 2, 3 */
    } row[] = {
        {{{{0, NULL}, 0}}, 0, {15 * DAY, 15 * DAY, 15 * DAY, 15 * DAY}},
        {{{NLT_STR("tenant 3"), DAY}}, 1, {15 * DAY, 15 * DAY, 15 * DAY, DAY}},
        {{{NLT_STR("tenant 3"), 20 * DAY}},
         1,
         {15 * DAY, 15 * DAY, 15 * DAY, 15 * DAY}},
        {{{NLT_STR("tenant 3"), DAY},
          {NLT_STR(""), 7 * DAY},
          {NLT_STR("tenant 1"), 5}},
         3,
         {15 * DAY, 5, 7 * DAY, DAY}},
        {{{NLT_STR("tenant"), DAY}, {NLT_STR("tenant 33"), 2}},
         2,
         {15 * DAY, 15 * DAY, 15 * DAY, 15 * DAY}},
    };

    begin(NULL, 0);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        nlt_tenant_keep_t v[3];
        nlt_tenant_keeps_t k = {v, row[i].n, 15 * DAY};
        nlt_tenants_t *t = nlt_store_tenants(fx.store);

        memcpy(v, row[i].v, sizeof(v));
        nlt_tenant_keeps_sort(v, row[i].n);
        for (uint32_t no = 0; no < 4; no++) {
            NLT_CHECK_INT(nlt_tenant_keep_ms(&k, t, no), row[i].want[no]);
            NLT_CHECK_INT(nlt_tenant_border(&k, t, no, 1000),
                          1000 + 15 * DAY - row[i].want[no]);
            NLT_CHECK_INT(nlt_tenant_border(&k, t, no, INT64_MIN), INT64_MIN);
        }
        /* A number that nobody has is no one's name. */
        NLT_CHECK_INT(nlt_tenant_keep_ms(&k, t, 4000), row[i].want[2]);
    }
    fx_deinit(&fx);
}

/* In the head and in blocks, to the millisecond. */
static void
nothing_older_is_answered(void)
{
    const nlt_tenant_keep_t keep = {NLT_STR("tenant 3"), 2 * DAY};

    begin(&keep, 1);
    write_some(fx.now_ms - 2 * DAY - 10 * 60000, 20);
    write_some(fx.now_ms, 1);
    fx_step(&fx, 20); /* the border follows what is newest */
    forget(fx.now_ms - 2 * DAY);
    NLT_CHECK_INT(fx.series[1].n, 11);
    NLT_CHECK_INT(fx.series[0].n, 21);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    NLT_CHECK(fx_flush(&fx));
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
}

/* Of a block in which all of the tenant's is past, nobody else's goes. */
static void
a_block_is_written_anew_without_what_is_past(void)
{
    const nlt_tenant_keep_t keep = {NLT_STR("tenant 3"), 2 * DAY};
    nlt_manifest_t m;

    begin(&keep, 1);
    write_some(fx.now_ms - DAY - 600000, 10);
    write_some(fx.now_ms - 120000, 3);
    NLT_CHECK(fx_flush(&fx));
    fx_step(&fx, 300);
    NLT_CHECK_INT(series_in_blocks(), 16);

    fx.now_ms += DAY;
    NLT_CHECK_INT(fx_write(&fx, 0, fx.now_ms, 1), NLT_OK);
    fx_step(&fx, 300);
    forget(fx.now_ms - 2 * DAY);
    NLT_CHECK_INT(series_in_blocks(), 4 + 8 + 1);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    m = manifest();
    NLT_CHECK_INT(m.n_blocks, 3); /* the day has rotated the head */
    NLT_CHECK_INT(m.blocks[0].n_series, 4);
    nlt_manifest_deinit(&m);

    /* What is gone is gone, also when the retention is the store's again. */
    fx_close(&fx);
    fx.conf.n_tenant_keeps = 0;
    NLT_CHECK(fx_start(&fx));
    fx_step(&fx, 300);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
}

/* The clock ran ahead: nothing goes by it alone. */
static void
a_clock_that_runs_ahead_takes_nothing(void)
{
    const nlt_tenant_keep_t keep = {NLT_STR("tenant 3"), 2 * DAY};

    begin(&keep, 1);
    write_some(fx.now_ms - DAY, 3);
    NLT_CHECK(fx_flush(&fx));
    fx.now_ms += 300 * DAY;
    fx_step(&fx, 300);
    NLT_CHECK_INT(series_in_blocks(), 8);
    NLT_CHECK(fx_check(&fx, INT64_MIN, INT64_MAX));
    fx_deinit(&fx);
}

static int64_t
oldest_cb(void *ctx, uint32_t tenant)
{
    NLT_CHECK_INT(tenant, 3);
    return *(int64_t *) ctx;
}

static size_t
samples_of(const nlt_block_t *b, nlt_pool_t *pool, uint32_t tenant,
           int64_t t_min)
{
    nlt_samples_t s = {.pool = pool};
    uint32_t *id;
    nlt_err_t err;
    size_t n, k = 0;

    NLT_CHECK_INT(
        nlt_block_tenant_select(b, pool, tenant, NULL, 0, NULL, &id, &n, &err),
        NLT_OK);
    for (size_t i = 0; i < n; i++) {
        s.n = 0;
        NLT_CHECK_INT(nlt_block_read(b, id[i], INT64_MIN, INT64_MAX, &s, &err),
                      NLT_OK);
        NLT_CHECK(s.n > 0 && s.t_ms[0] >= t_min);
        k += s.n;
    }
    return k;
}

/* A merge cuts each tenant's series at its own border. */
static void
a_merge_leaves_out_what_is_past(void)
{
    int64_t t = FX_NOW - DAY, oldest = t + 4 * 60000;
    nlt_compact_source_t src;
    nlt_compact_conf_t conf = {.env = &nlt_env_posix,
                               .store_id =
                                   (const uint8_t *) "0123456789abcdef",
                               .now_ms = FX_NOW,
                               .t_oldest_ms = t + 60000,
                               .tenant_oldest = oldest_cb,
                               .tenant_ctx = &oldest,
                               .level = 2};
    nlt_manifest_block_t out;
    nlt_block_owner_t *owner;
    nlt_block_t *b, *made;
    nlt_pool_t pool;
    nlt_manifest_t m;
    nlt_err_t err;
    char path[80];
    size_t n;

    begin(NULL, 0);
    nlt_pool_init(&pool, &nlt_mem_libc, 64 << 20);
    write_some(t, 10);
    NLT_CHECK(fx_flush(&fx));
    m = manifest();
    NLT_CHECK_INT(m.n_blocks, 1);
    (void) snprintf(path, sizeof(path), "%s/blocks", fx.path);
    conf.blocks_fd = open(path, O_RDONLY | O_DIRECTORY);
    NLT_CHECK_INT(nlt_block_open(&nlt_env_posix, conf.blocks_fd,
                                 m.blocks[0].ulid.c, &b, &err),
                  NLT_OK);
    src = (nlt_compact_source_t){b, m.blocks[0]};
    NLT_CHECK_INT(nlt_block_owners(b, &pool, &owner, &n, &err), NLT_OK);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK_INT(owner[0].tenant, 3);
    NLT_CHECK_INT(owner[0].n_series, 4);
    NLT_CHECK_INT(nlt_compact_blocks(&conf, &src, 1, &out, NULL, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_block_open(&nlt_env_posix, conf.blocks_fd, out.ulid.c,
                                 &made, &err),
                  NLT_OK);
    NLT_CHECK_INT(nlt_block_validate(made, &pool, &err), NLT_OK);
    NLT_CHECK_INT(samples_of(made, &pool, 0, t + 60000), 4 * 9);
    NLT_CHECK_INT(samples_of(made, &pool, 3, oldest), 4 * 6);
    nlt_block_close(made);
    nlt_block_close(b);
    close(conf.blocks_fd);
    nlt_manifest_deinit(&m);
    nlt_pool_deinit(&pool);
    fx_deinit(&fx);
}

int
main(void)
{
    NLT_TEST(the_shorter_of_two_counts);
    NLT_TEST(nothing_older_is_answered);
    NLT_TEST(a_block_is_written_anew_without_what_is_past);
    NLT_TEST(a_clock_that_runs_ahead_takes_nothing);
    NLT_TEST(a_merge_leaves_out_what_is_past);
    return nlt_test_done();
}

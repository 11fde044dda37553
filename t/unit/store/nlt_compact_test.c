/*
 * nlt_compact_test.c - several blocks become one, or nothing happens.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "nlt_block_model.h"

#include "nlt_block_priv.h"
#include "nlt_flush.h"
#include "nlt_store_fault.h"
#include "nlt_test_mem.h"

#define NOW_MS INT64_C(1700000000000)
#define T0_MS  INT64_C(1699999200000)
#define BLOCKS 16

static char dir_name[] = "/tmp/nlt-compact-XXXXXX";
static int dir_fd;
static const uint8_t store_id[NLT_STORE_ID_BYTES] = {6, 1};
static nlt_pool_t pool;
static nlt_env_t env; /* of the merge */
static bm_block_t block[BLOCKS];
static size_t n_blocks;
static int polls_left; /* < 0: for ever */
static int n_polls;
static nlt_err_t err;

static nlt_rc_t
poll_cb(void *ctx)
{
    (void) ctx;
    n_polls++;
    return polls_left < 0 || polls_left-- > 0 ? NLT_OK : NLT_ECANCELED;
}

static nlt_compact_conf_t
conf_of(const nlt_delete_list_t *deletes)
{
    return (nlt_compact_conf_t){.env = &env,
                                .blocks_fd = dir_fd,
                                .store_id = store_id,
                                .now_ms = NOW_MS,
                                .t_oldest_ms = INT64_MIN,
                                .deletes = deletes,
                                .level = 2,
                                .poll = poll_cb};
}

static void
setup(void)
{
    env = nlt_env_posix;
    n_blocks = 0;
    polls_left = -1;
    n_polls = 0;
    err.text[0] = '\0';
    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
}

static void
teardown(void)
{
    for (size_t i = 0; i < n_blocks; i++) {
        nlt_block_close(block[i].block);
        NLT_CHECK_INT(nlt_io_remove_tree(&nlt_io_posix, dir_fd,
                                         block[i].info.ulid.c, &err),
                      NLT_OK);
    }
    nlt_pool_deinit(&pool);
}

/* n samples from t on, a second apart, of values v, v + 1, .. */
static bm_chunk_t
floats(int64_t t, size_t n, double v)
{
    int64_t *times = nlt_pool_array(&pool, n, sizeof(*times));
    double *values = nlt_pool_array(&pool, n, sizeof(*values));

    for (size_t i = 0; i < n; i++) {
        times[i] = t + (int64_t) i * 1000;
        values[i] = v + (double) i;
    }
    return (bm_chunk_t){.t_ms = times, .v = values, .n = n};
}

/* Seconds [from, from + n) behind T0_MS, for n_chunks chunks in a row. */
static bm_chunk_t *
row(int from, size_t n, size_t n_chunks)
{
    bm_chunk_t *c = nlt_pool_array(&pool, n_chunks, sizeof(*c));

    for (size_t i = 0; i < n_chunks; i++) {
        c[i] = floats(T0_MS + (from + (int) (i * n)) * INT64_C(1000), n,
                      (double) (i * n));
    }
    return c;
}

/* A block of n_series series that all have these chunks. */
static bm_block_t *
add(uint64_t arena, size_t first_set, size_t n_series, bm_chunk_t *chunks,
    size_t n_chunks)
{
    bm_block_t *b = &block[n_blocks++];

    *b = (bm_block_t){.series =
                          nlt_pool_array(&pool, n_series, sizeof(*b->series)),
                      .n_series = n_series,
                      .info = {.arena = arena, .level = 1}};
    for (size_t i = 0; i < n_series; i++) {
        b->series[i] = (bm_series_t){first_set + i, chunks, n_chunks};
    }
    bm_write(b, &nlt_env_posix, dir_fd, 16, &pool);
    return b;
}

static nlt_rc_t
merge(const nlt_compact_conf_t *conf, nlt_manifest_block_t *out,
      size_t *damaged)
{
    nlt_compact_source_t src[BLOCKS];

    for (size_t i = 0; i < n_blocks; i++) {
        src[i] = (nlt_compact_source_t){block[i].block, block[i].info};
    }
    return nlt_compact_blocks(conf, src, n_blocks, out, damaged, &err);
}

static bool
count_cb(void *ctx, const char *name)
{
    (void) name;
    ++*(size_t *) ctx;
    return true;
}

static size_t
entries(void)
{
    size_t n = 0;

    NLT_CHECK_INT(nlt_io_posix.list(NULL, dir_fd, count_cb, &n), 0);
    return n;
}

/* Merges and opens; the result is the last of block[]. */
static nlt_block_t *
merged(const nlt_compact_conf_t *conf)
{
    bm_block_t *b = &block[n_blocks];
    nlt_rc_t rc = merge(conf, &b->info, NULL);

    if (rc == NLT_OK && b->info.n_samples > 0) {
        rc = nlt_block_open(&nlt_env_posix, dir_fd, b->info.ulid.c, &b->block,
                            &err);
    }
    if (rc == NLT_OK) {
        rc = nlt_block_validate(b->block, &pool, &err);
    }
    if (rc != NLT_OK) {
        printf("Bail out! %s\n", err.text);
        exit(1);
    }
    n_blocks++;
    return b->block;
}

static nlt_block_raw_chunk_t *
chunks_of(const nlt_block_t *b, size_t series, size_t *n)
{
    nlt_block_raw_chunk_t *c = NULL;
    uint32_t *ids;
    size_t n_ids;

    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &ids, &n_ids, &err),
                  NLT_OK);
    NLT_CHECK(series < n_ids);
    NLT_CHECK_INT(nlt_block_chunks(b, ids[series], &pool, &c, n, &err),
                  NLT_OK);
    return c;
}

static void
check_counts(const nlt_block_t *b, const unsigned *want, size_t n_want)
{
    size_t n;
    nlt_block_raw_chunk_t *c = chunks_of(b, 0, &n);

    NLT_CHECK_INT(n, n_want);
    for (size_t i = 0; i < n && i < n_want; i++) {
        NLT_CHECK_INT(nlt_be16(c[i].data.data), want[i]);
    }
}

static void
large_chunks_are_copied_byte_for_byte(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_raw_chunk_t *c;
    size_t n;

    setup();
    add(1, 0, 1, row(0, 480, 2), 2);
    add(2, 0, 1, row(960, 300, 3), 3);
    c = chunks_of(merged(&conf), 0, &n);
    NLT_CHECK_INT(n, 5);
    for (size_t i = 0; i < n && i < 5; i++) {
        const bm_chunk_t *was = i < 2 ? &block[0].series[0].chunks[i]
                                      : &block[1].series[0].chunks[i - 2];

        NLT_CHECK(nlt_str_eq(c[i].data, was->data));
        NLT_CHECK_INT(c[i].t_min_ms, was->t_min_ms);
        NLT_CHECK_INT(c[i].t_max_ms, was->t_max_ms);
    }
    teardown();
}

static void
small_neighbours_become_one_chunk(void)
{
    static const unsigned want[] = {480, 480, 360};
    nlt_compact_conf_t conf = conf_of(NULL);

    setup();
    add(1, 0, 1, row(0, 120, 5), 5);
    add(2, 0, 1, row(600, 120, 6), 6);
    check_counts(merged(&conf), want, 3);
    teardown();
}

/* What a rotation between two borders leaves: parts of one window. */
static void
parts_of_a_window_become_one_chunk(void)
{
    static const unsigned want[] = {481, 480};
    nlt_compact_conf_t conf = conf_of(NULL);

    setup();
    add(1, 0, 1, row(0, 173, 1), 1);
    add(2, 0, 1, row(173, 308, 1), 1);
    add(2, 0, 1, row(481, 172, 1), 1);
    add(3, 0, 1, row(653, 308, 1), 1);
    check_counts(merged(&conf), want, 2);
    teardown();
}

/* Of another program: its encoder did not look ahead. */
static void
small_chunks_of_others_are_encoded_anew(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    uint8_t whole[512 * NLT_XOR_SAMPLE_BYTES_MAX];
    nlt_block_raw_chunk_t *c;
    int64_t t[480];
    double v[480];
    size_t n, len, apart = 0;

    setup();
    for (size_t i = 0; i < 480; i++) {
        t[i] = T0_MS + (int64_t) i * 15000;
        v[i] = i % 50 ? (double) (i * 7 % 1000) / 10 : 1e9;
    }
    len = nlt_xor_encode_chunk(t, v, 480, 16, whole);
    for (size_t i = 0; i < 4; i++) {
        bm_chunk_t *part = nlt_pool_zalloc(&pool, sizeof(*part));

        *part = (bm_chunk_t){.t_ms = t + i * 120, .v = v + i * 120, .n = 120};
        add(i + 1, 0, 1, part, 1);
    }
    c = chunks_of(merged(&conf), 0, &n);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK(!nlt_str_eq(c[0].data, (nlt_str_t){len, (char *) whole}));
    apart = c[0].data.len;
    NLT_CHECK(apart >= len && apart < len + len / 50);
    n_blocks--;
    nlt_block_close(block[4].block);
    NLT_CHECK_INT(
        nlt_io_remove_tree(&nlt_io_posix, dir_fd, block[4].info.ulid.c, &err),
        NLT_OK);
    block[2].block->meta.ours = false;
    c = chunks_of(merged(&conf), 0, &n);
    NLT_CHECK_INT(n, 1);
    NLT_CHECK(nlt_str_eq(c[0].data, (nlt_str_t){len, (char *) whole}));
    teardown();
}

static void
merged_samples_are_split_evenly(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_raw_chunk_t *c;
    size_t n, sum = 0;

    setup();
    /* Odd and even half seconds, for a long time. */
    add(1, 0, 1, row(0, 400, 50), 50);
    for (size_t i = 0; i < 50; i++) {
        int64_t *t = nlt_pool_array(&pool, 400, sizeof(*t));
        bm_chunk_t *c0 = &block[0].series[0].chunks[i];

        for (size_t k = 0; k < 400; k++) {
            t[k] = c0->t_ms[k] + 500;
        }
        c0[0].t_ms = t;
    }
    add(2, 0, 1, block[0].series[0].chunks, 50);
    c = chunks_of(merged(&conf), 0, &n);
    for (size_t i = 0; i < n; i++) {
        unsigned count = nlt_be16(c[i].data.data);

        NLT_CHECK(count >= 240 && count <= 480);
        sum += count;
    }
    NLT_CHECK_INT(sum, 2 * 50 * 400);
    NLT_CHECK(n <= sum / 480 + 2);
    teardown();
}

static double
value_at(const nlt_block_t *b, int64_t t)
{
    nlt_samples_t s = {.pool = &pool};
    uint32_t *ids;
    size_t n;

    NLT_CHECK_INT(nlt_block_select(b, &pool, NULL, 0, &ids, &n, &err), NLT_OK);
    NLT_CHECK_INT(nlt_block_read(b, ids[0], t, t, &s, &err), NLT_OK);
    NLT_CHECK_INT(s.n, 1);
    return s.n ? s.v[0] : -1;
}

/* Where one ends another begins: one sample, of the source that is first. */
static void
the_first_source_wins_at_equal_times(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_t *b;
    bm_chunk_t c[2];

    setup();
    c[0] = floats(T0_MS, 300, 1000);
    c[1] = floats(T0_MS + 299 * INT64_C(1000), 300, 2000);
    add(1, 0, 1, &c[1], 1);
    add(2, 0, 1, &c[0], 1);
    b = merged(&conf);
    NLT_CHECK_INT(nlt_block_meta(b)->n_samples, 599);
    NLT_CHECK_BITS(value_at(b, T0_MS + 299 * INT64_C(1000)), 2000);
    NLT_CHECK_BITS(value_at(b, T0_MS + 298 * INT64_C(1000)), 1298);
    NLT_CHECK_INT(block[2].info.arena, 2);
    teardown();
}

static bool
has_ulid(const nlt_ulid_t *v, size_t n, const nlt_ulid_t *u)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(v[i].c, u->c) == 0) {
            return true;
        }
    }
    return false;
}

static void
the_result_knows_whose_it_is_and_what_it_came_from(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    const nlt_block_meta_t *m;
    uint8_t other[NLT_STORE_ID_BYTES] = {6, 2};

    setup();
    add(0, 0, 1, row(0, 10, 1), 1);
    add(0, 0, 1, row(10, 10, 1), 1);
    block[1].info.deletes = 4;
    m = nlt_block_meta(merged(&conf)); /* arena 0 */
    NLT_CHECK_INT(m->arena, 0);
    NLT_CHECK(nlt_flush_owns(store_id, m));
    NLT_CHECK(!nlt_flush_owns(other, m));
    NLT_CHECK_INT(m->level, 2);
    NLT_CHECK_INT(m->n_parents, 2);
    NLT_CHECK_INT(m->n_sources, 2);
    NLT_CHECK_INT(block[2].info.deletes, 4);
    NLT_CHECK_INT(block[2].info.level, 2);
    add(9, 0, 1, row(20, 10, 1), 1);
    conf.level = 3;
    m = nlt_block_meta(merged(&conf)); /* of all four */
    NLT_CHECK_INT(m->level, 3);
    NLT_CHECK_INT(m->arena, 9);
    NLT_CHECK(nlt_flush_owns(store_id, m));
    NLT_CHECK_INT(m->n_parents, 4);
    for (size_t i = 0; i < 4; i++) {
        NLT_CHECK(has_ulid(m->parents, 4, &block[i].info.ulid));
        NLT_CHECK(has_ulid(m->sources, m->n_sources, &block[i].info.ulid)
                  == (i != 2));
    }
    NLT_CHECK_INT(m->n_sources, 3);
    NLT_CHECK_INT(m->t_min_ms, T0_MS);
    NLT_CHECK_INT(m->t_end_ms, T0_MS + 29001);
    teardown();
}

/* A block that says it came from many, as one of a year would. */
static void
too_many_sources_are_cut_to_the_newest(void)
{
    nlt_compact_conf_t conf = conf_of(NULL);
    const nlt_block_meta_t *m;
    nlt_ulid_t last = {{0}};

    setup();
    add(1, 0, 1, row(0, 10, 1), 1);
    add(2, 0, 1, row(10, 10, 1), 1);
    for (size_t b = 0; b < 2; b++) {
        nlt_block_meta_t *own = &block[b].block->meta;

        own->n_sources = 700;
        own->sources = nlt_pool_array(&pool, 700, sizeof(nlt_ulid_t));
        for (size_t i = 0; i < 700; i++) {
            nlt_flush_ulid(store_id, 1, 0, (int64_t) (2 * i + b),
                           &own->sources[i]);
            last = own->sources[i];
        }
    }
    m = nlt_block_meta(merged(&conf));
    NLT_CHECK_INT(m->n_sources, NLT_BLOCK_SOURCES_MAX);
    NLT_CHECK(strcmp(m->sources[NLT_BLOCK_SOURCES_MAX - 1].c, last.c) == 0);
    for (size_t i = 1; i < m->n_sources; i++) {
        NLT_CHECK(strcmp(m->sources[i - 1].c, m->sources[i].c) < 0);
    }
    teardown();
}

/* ---- deletes and retention ---- */

static nlt_delete_list_t
one_rule(nlt_delete_t *d, nlt_delete_set_t *set, nlt_matcher_t *m)
{
    *m = (nlt_matcher_t){
        .op = NLT_MATCH_RE, .name = NLT_METRIC_NAME, .value = NLT_STR("m0")};
    *set = (nlt_delete_set_t){m, 1};
    *d = (nlt_delete_t){.number = 5,
                        .t_min_ms = INT64_MIN,
                        .t_max_ms = INT64_MAX,
                        .arena_max = 2,
                        .sets = set,
                        .n_sets = 1};
    return (nlt_delete_list_t){.last = 5, .v = d, .n = 1};
}

static void
what_was_deleted_leaves_no_name_behind(void)
{
    nlt_matcher_t m;
    nlt_delete_set_t set;
    nlt_delete_t d;
    nlt_delete_list_t l = one_rule(&d, &set, &m);
    nlt_compact_conf_t conf = conf_of(&l);
    nlt_str_t *v;
    nlt_block_t *b;
    size_t n;

    setup();
    add(2, 0, BM_SETS, row(0, 300, 2), 2);
    b = merged(&conf);
    NLT_CHECK_INT(block[1].info.n_series, BM_SETS - BM_SETS / 5);
    NLT_CHECK_INT(block[1].info.deletes, 5);
    NLT_CHECK_INT(
        nlt_block_label_values(b, NLT_METRIC_NAME, &pool, &v, &n, &err),
        NLT_OK);
    NLT_CHECK_INT(n, 4);
    NLT_CHECK_STR(v[0], "m1");
    NLT_CHECK(
        !nlt_index_file_find_symbol(b->index, NLT_STR("m0"), &(uint64_t){0}));
    teardown();
}

static void
nothing_is_written_when_nothing_is_left(void)
{
    nlt_matcher_t m;
    nlt_delete_set_t set;
    nlt_delete_t d;
    nlt_delete_list_t l = one_rule(&d, &set, &m);
    nlt_compact_conf_t conf = conf_of(&l);
    nlt_manifest_block_t out;

    setup();
    set.n = 0; /* every series */
    add(1, 0, 3, row(0, 300, 2), 2);
    add(2, 0, 3, row(100, 300, 2), 2);
    NLT_CHECK_INT(merge(&conf, &out, NULL), NLT_OK);
    NLT_CHECK_INT(out.n_samples, 0);
    NLT_CHECK_INT(entries(), 2);
    teardown();
}

static void
samples_past_the_retention_are_left_out(void)
{
    static const unsigned want[] = {350}; /* 50 and 300 */
    nlt_compact_conf_t conf = conf_of(NULL);
    nlt_block_t *b;

    setup();
    add(1, 0, 1, row(0, 300, 3), 3);
    conf.t_oldest_ms = T0_MS + 550 * INT64_C(1000);
    b = merged(&conf);
    check_counts(b, want, 1);
    NLT_CHECK_INT(nlt_block_meta(b)->n_samples, 350);
    /* The order of blocks stays. */
    NLT_CHECK_INT(nlt_block_meta(b)->t_min_ms, T0_MS);
    NLT_CHECK_INT(block[1].info.t_min_ms, T0_MS);
    NLT_CHECK_INT(block[1].info.t_end_ms, T0_MS + 899001);
    teardown();
}

static void
a_block_is_dirty_if_a_rule_is_about_it(void)
{
    nlt_matcher_t m;
    nlt_delete_set_t set;
    nlt_delete_t d;
    nlt_delete_list_t l = one_rule(&d, &set, &m);
    nlt_compact_source_t s;
    bool dirty = false;

    setup();
    add(2, 0, BM_SETS, row(0, 300, 2), 2);
    s = (nlt_compact_source_t){block[0].block, block[0].info};
#define CHECK_DIRTY(want)                                                     \
    NLT_CHECK_INT(nlt_compact_is_dirty(&nlt_env_posix, &s, &l, &dirty, &err), \
                  NLT_OK);                                                    \
    NLT_CHECK_INT(dirty, want)
    CHECK_DIRTY(true);
    d.t_min_ms = T0_MS + 599 * INT64_C(1000);
    CHECK_DIRTY(true);
    d.t_min_ms++;
    CHECK_DIRTY(false);
    d.t_min_ms = INT64_MIN;
    d.t_max_ms = T0_MS - 1;
    CHECK_DIRTY(false);
    d.t_max_ms++;
    CHECK_DIRTY(true);
    m.value = NLT_STR("m9");
    CHECK_DIRTY(false);
    m.value = NLT_STR("m1");
    s.info.deletes = 5; /* made after it */
    CHECK_DIRTY(false);
    s.info.deletes = 4;
    CHECK_DIRTY(true);
    s.info.arena = 3; /* written after it */
    CHECK_DIRTY(false);
#undef CHECK_DIRTY
    teardown();
}

/* ---- trouble ---- */

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

int
main(void)
{
    bm_init();
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    NLT_TEST(large_chunks_are_copied_byte_for_byte);
    NLT_TEST(small_neighbours_become_one_chunk);
    NLT_TEST(parts_of_a_window_become_one_chunk);
    NLT_TEST(small_chunks_of_others_are_encoded_anew);
    NLT_TEST(merged_samples_are_split_evenly);
    NLT_TEST(the_first_source_wins_at_equal_times);
    NLT_TEST(the_result_knows_whose_it_is_and_what_it_came_from);
    NLT_TEST(too_many_sources_are_cut_to_the_newest);
    NLT_TEST(what_was_deleted_leaves_no_name_behind);
    NLT_TEST(nothing_is_written_when_nothing_is_left);
    NLT_TEST(samples_past_the_retention_are_left_out);
    NLT_TEST(a_block_is_dirty_if_a_rule_is_about_it);
    NLT_TEST(nothing_is_left_whichever_call_fails);
    NLT_TEST(no_allocation_that_fails_does_harm);
    NLT_TEST(a_merge_canceled_anywhere_leaves_nothing);
    NLT_TEST(a_damaged_source_is_named);
    close(dir_fd);
    rmdir(dir_name);
    return nlt_test_done();
}

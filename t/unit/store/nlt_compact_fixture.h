/*
 * nlt_compact_fixture.h - blocks to be merged, for the tests of compaction.
 */
#ifndef NLT_COMPACT_FIXTURE_H
#define NLT_COMPACT_FIXTURE_H

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
static size_t first;   /* of block[] that is merged */
static int polls_left; /* < 0: for ever */
static int n_polls;
static bm_tombstone_t tombstones[2]; /* of the blocks to be added */
static size_t n_tombstones;
static nlt_err_t err;

static inline nlt_rc_t
poll_cb(void *ctx)
{
    (void) ctx;
    n_polls++;
    return polls_left < 0 || polls_left-- > 0 ? NLT_OK : NLT_ECANCELED;
}

static inline nlt_compact_conf_t
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

static inline void
setup(void)
{
    env = nlt_env_posix;
    n_blocks = n_tombstones = first = 0;
    polls_left = -1;
    n_polls = 0;
    err.text[0] = '\0';
    nlt_pool_init(&pool, &nlt_mem_libc, 256 << 20);
}

static inline void
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
static inline bm_chunk_t
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
static inline bm_chunk_t *
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
static inline bm_block_t *
add(uint64_t arena, size_t first_set, size_t n_series, bm_chunk_t *chunks,
    size_t n_chunks)
{
    bm_block_t *b = &block[n_blocks++];

    *b = (bm_block_t){.tombstones = tombstones,
                      .n_tombstones = n_tombstones,
                      .series =
                          nlt_pool_array(&pool, n_series, sizeof(*b->series)),
                      .n_series = n_series,
                      .info = {.arena = arena, .level = 1}};
    for (size_t i = 0; i < n_series; i++) {
        b->series[i] = (bm_series_t){first_set + i, chunks, n_chunks};
    }
    bm_write(b, &nlt_env_posix, dir_fd, 16, &pool);
    return b;
}

static inline nlt_rc_t
merge(const nlt_compact_conf_t *conf, nlt_manifest_block_t *out,
      size_t *damaged)
{
    nlt_compact_source_t src[BLOCKS];

    for (size_t i = first; i < n_blocks; i++) {
        src[i - first] = (nlt_compact_source_t){block[i].block, block[i].info};
    }
    return nlt_compact_blocks(conf, src, n_blocks - first, out, damaged, &err);
}

static inline bool
count_cb(void *ctx, const char *name)
{
    (void) name;
    ++*(size_t *) ctx;
    return true;
}

static inline size_t
entries(void)
{
    size_t n = 0;

    NLT_CHECK_INT(nlt_io_posix.list(NULL, dir_fd, count_cb, &n), 0);
    return n;
}

/* Merges and opens; the result is the last of block[]. */
static inline nlt_block_t *
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

static inline nlt_block_raw_chunk_t *
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

static inline void
check_counts(const nlt_block_t *b, const unsigned *want, size_t n_want)
{
    size_t n;
    nlt_block_raw_chunk_t *c = chunks_of(b, 0, &n);

    NLT_CHECK_INT(n, n_want);
    for (size_t i = 0; i < n && i < n_want; i++) {
        NLT_CHECK_INT(nlt_be16(c[i].data.data), want[i]);
    }
}

/* Rule 5: all times of m0, in arenas up to 2. */
static inline nlt_delete_list_t
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

/* Runs the tests with a directory of their own. */
static inline int
run(void (*tests)(void))
{
    bm_init();
    if (mkdtemp(dir_name) == NULL) {
        return 1;
    }
    dir_fd = open(dir_name, O_RDONLY | O_DIRECTORY);
    tests();
    close(dir_fd);
    rmdir(dir_name);
    return nlt_test_done();
}

#endif

/*
 * inspect_files.c - logs and blocks.
 */
#include "inspect.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "nlt_block.h"
#include "nlt_filenames.h"
#include "nlt_wal.h"

#define POOL_BYTES (UINT64_C(4) << 30)

/* ---- logs ---- */

/* Series numbers that an arena can give. */
#define SERIES_MAX (NLT_SERIES_SEG_MAX << NLT_SERIES_SEG_BITS)

typedef struct {
    uint8_t *known; /* bitmap by series number */
    uint64_t orphans;
    uint64_t too_high;
    int64_t t_min_ms;
    int64_t t_max_ms;
} log_t;

static nlt_rc_t
log_series(void *ctx, uint32_t series, uint32_t tenant, nlt_str_t canonical)
{
    log_t *l = ctx;

    (void) tenant;
    (void) canonical;
    if (series < SERIES_MAX) {
        l->known[series / 8] |= (uint8_t) (1u << series % 8);
    } else {
        l->too_high++;
    }
    return NLT_OK;
}

static nlt_rc_t
log_samples(void *ctx, const nlt_wal_sample_t *s, size_t n)
{
    log_t *l = ctx;

    for (size_t i = 0; i < n; i++) {
        if (s[i].series >= SERIES_MAX
            || !(l->known[s[i].series / 8] >> s[i].series % 8 & 1)) {
            l->orphans++;
        }
        l->t_min_ms = nlt_min_i64(l->t_min_ms, s[i].t_ms);
        l->t_max_ms = nlt_max_i64(l->t_max_ms, s[i].t_ms);
    }
    return NLT_OK;
}

static void
log_report(inspect_t *in, const log_t *l, const nlt_wal_stats_t *st,
           uint64_t arena)
{
    char range[RANGE_TEXT];

    printf("  %llu bytes: %llu frames, %llu series, %llu samples\n  %s\n",
           (unsigned long long) st->bytes, (unsigned long long) st->frames,
           (unsigned long long) st->series, (unsigned long long) st->samples,
           inspect_range(range, l->t_min_ms, l->t_max_ms));
    if (nlt_manifest_is_finished(&in->manifest, arena)) {
        printf("  finished: all of it is in blocks\n");
    }
    if (st->skips > 0) {
        inspect_fault(in, "%llu stretches of %llu bytes do not check out",
                      (unsigned long long) st->skips,
                      (unsigned long long) st->skipped_bytes);
    }
    if (st->arena_no != arena) {
        inspect_fault(in, "its header says arena %llu",
                      (unsigned long long) st->arena_no);
    }
    if (l->orphans > 0 || l->too_high > 0) {
        inspect_fault(in,
                      "%llu samples without a series record, "
                      "%llu series with a number out of range",
                      (unsigned long long) l->orphans,
                      (unsigned long long) l->too_high);
    }
}

static void
inspect_log(inspect_t *in, int wal_fd, uint64_t arena)
{
    const nlt_io_t *io = in->env->io;
    char name[NLT_WAL_NAME_SIZE];
    log_t l = {.t_min_ms = INT64_MAX, .t_max_ms = INT64_MIN};
    nlt_wal_read_cb_t cb = {&l, log_series, log_samples, NULL};
    nlt_wal_stats_t st;
    nlt_err_t err = {.text = ""};
    const uint8_t *data;
    int64_t size;
    nlt_rc_t rc;
    int fd;

    nlt_wal_name(name, arena);
    printf("log " NLT_DIR_WAL "/%s\n", name);
    in->n_logs++;
    fd = io->open(io->ctx, wal_fd, name, O_RDONLY | O_NOFOLLOW, 0);
    size = fd < 0 ? fd : io->size(io->ctx, fd);
    if (size <= 0) {
        inspect_fault(in, "%s", size < 0 ? strerror((int) -size) : "empty");
        goto done;
    }
    rc = nlt_map_read(fd, (size_t) size, &data, &err);
    if (rc != NLT_OK) {
        inspect_fault(in, "%s", err.text);
        goto done;
    }
    l.known = calloc(SERIES_MAX / 8, 1);
    rc = l.known ? nlt_wal_read(in->env, data, (size_t) size, in->dir.store_id,
                                &cb, &st, &err)
                 : nlt_err_set(&err, NLT_ENOMEM, "out of memory");
    if (rc == NLT_OK) {
        log_report(in, &l, &st, arena);
    } else {
        inspect_fault(in, "%s", err.text);
    }
    free(l.known);
    nlt_unmap(data, (size_t) size);

done:
    if (fd >= 0) {
        (void) io->close(io->ctx, fd);
    }
}

void
inspect_logs(inspect_t *in)
{
    int fd = in->dir.wal_fd;
    nlt_err_t err = {.text = ""};
    nlt_pool_t pool;
    uint64_t *arena;
    size_t n;

    nlt_pool_init(&pool, in->env->mem, 64 << 20);
    if (nlt_store_dir_logs(in->env, fd, &pool, &arena, &n, &err) != NLT_OK) {
        inspect_fault(in, NLT_DIR_WAL "/: %s", err.text);
        n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        inspect_log(in, fd, arena[i]);
    }
    nlt_pool_deinit(&pool);
}

/* ---- blocks ---- */

/*
 * What MANIFEST says of a block against what the block says.  One that was
 * imported may have an arena of another store, and more range than samples.
 */
static void
compare_meta(inspect_t *in, const nlt_block_meta_t *meta, size_t idx)
{
    const nlt_manifest_block_t *b = &in->manifest.blocks[idx];
    bool place =
        b->arena == 0
            ? b->t_min_ms >= meta->t_min_ms && b->t_end_ms <= meta->t_end_ms
            : b->t_min_ms == meta->t_min_ms && b->t_end_ms == meta->t_end_ms
                  && b->arena == meta->arena;

    if (!place || b->n_samples != meta->n_samples
        || b->n_series != meta->n_series) {
        inspect_fault(in, "meta.json differs from the MANIFEST");
    }
}

static void
inspect_block(inspect_t *in, const char *name, size_t idx)
{
    const nlt_manifest_t *m = &in->manifest;
    char range[RANGE_TEXT];
    nlt_err_t err = {.text = ""};
    nlt_block_t *b;
    nlt_pool_t pool;

    printf("block " NLT_DIR_BLOCKS "/%s\n", name);
    in->n_blocks++;
    if (idx == m->n_blocks) {
        printf("  not in the MANIFEST: no data of the store\n");
    }
    if (nlt_block_open(in->env, in->dir.blocks_fd, name, &b, &err) != NLT_OK) {
        inspect_fault(in, "%s", err.text);
        return;
    }
    const nlt_block_meta_t *meta = nlt_block_meta(b);

    printf("  level %u, arena %llu: %llu series, %llu chunks, %llu samples\n"
           "  %s\n",
           meta->level, (unsigned long long) meta->arena,
           (unsigned long long) meta->n_series,
           (unsigned long long) meta->n_chunks,
           (unsigned long long) meta->n_samples,
           inspect_range(range, meta->t_min_ms, meta->t_end_ms - 1));
    if (idx < m->n_blocks) {
        compare_meta(in, meta, idx);
    }
    nlt_pool_init(&pool, in->env->mem, POOL_BYTES);
    if (nlt_block_validate(b, &pool, &err) != NLT_OK) {
        inspect_fault(in, "%s", err.text);
    }
    nlt_pool_deinit(&pool);
    nlt_block_close(b);
}

/* What the MANIFEST does not name: reported, but no data. */
static bool
other_block(void *ctx, const char *c_name)
{
    inspect_t *in = ctx;
    const nlt_manifest_t *m = &in->manifest;

    if (!nlt_ulid_valid((nlt_str_t){strlen(c_name), c_name})) {
        printf(NLT_DIR_BLOCKS "/%s\n  not a block\n", c_name);
    } else if (nlt_manifest_find(m, c_name) == m->n_blocks) {
        inspect_block(in, c_name, m->n_blocks);
    }
    return true;
}

void
inspect_blocks(inspect_t *in)
{
    const nlt_io_t *io = in->env->io;
    int sys;

    for (size_t i = 0; i < in->manifest.n_blocks; i++) {
        inspect_block(in, in->manifest.blocks[i].ulid.c, i);
    }
    sys = io->list(io->ctx, in->dir.blocks_fd, other_block, in);
    if (sys < 0) {
        inspect_fault(in, NLT_DIR_BLOCKS "/: %s", strerror(-sys));
    }
}
